package conformance

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

func readWriteCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	w := s.write(fd, 0, "0123456789")
	if early := s.opts.WriteBehind && w.Post.IsZero(); !early && (w.Pre.Size != 0 || w.Post.Size != 10 || w.Post.GFID != fd.GFID) {
		s.Errorf("write reports sizes %d and %d of %v", w.Pre.Size, w.Post.Size, w.Post.GFID)
	}
	for _, c := range []struct {
		off  uint64
		size uint32
		want string
		eof  bool
	}{
		{0, 4, "0123", false}, {0, 9, "012345678", false}, {0, 10, "0123456789", true}, {5, 100, "56789", true},
		{10, 5, "", true}, {100, 5, "", true},
	} {
		r := s.read(fd, c.off, c.size)
		if string(r.Data) != c.want || r.EOF != c.eof {
			s.Errorf("read of %d at %d: %q, EOF %v; want %q, %v", c.size, c.off, r.Data, r.EOF, c.want, c.eof)
		}
		if r.Stat.Size != 10 || r.Stat.GFID != fd.GFID {
			s.Errorf("read reports %+v", r.Stat)
		}
	}
	into := []byte("........")
	r, err := fop.Call(s.ctx, s.h, &fop.Read{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: 6, Size: 8, Into: into})
	s.ok(err, "read into a buffer")
	if string(r.Data) != "6789" || string(into[:4]) != "6789" {
		s.Errorf("read into a buffer gave %q, the buffer has %q", r.Data, into)
	}
	_, err = fop.Call(s.ctx, s.h, &fop.Read{Header: s.head(), GFID: fd.GFID, Fd: fd, Size: 0})
	s.fails(err, "read of nothing", syscall.EINVAL)

	s.write(fd, 3, "abc")
	s.contents(fd, "012abc6789")
	s.write(fd, 12, "end")
	s.contents(fd, "012abc6789\x00\x00end")

	big := strings.Repeat("0123456789abcdef", 8192) // 128 KiB
	s.write(fd, 1, big)
	if got := s.read(fd, 1, uint32(len(big))); string(got.Data) != big {
		s.Errorf("%d bytes came back as %d others", len(big), len(got.Data))
	}
}

func anonymousFdCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "hello")
	r, err := fop.Call(s.ctx, s.h, &fop.Read{Header: s.head(), GFID: g, Size: 10})
	s.ok(err, "read without an open file")
	if string(r.Data) != "hello" {
		s.Errorf("read %q", r.Data)
	}
	_, err = fop.Call(s.ctx, s.h, &fop.Write{Header: s.head(), GFID: g, Offset: 5, Data: []byte(" you")})
	s.ok(err, "write without an open file")
	s.fileIs(g, "hello you")
}

func appendCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "begin")
	fd := s.openFile(g, fop.OWronly|fop.OAppend)
	s.write(fd, 0, " end")
	s.fileIs(g, "begin end")
}

func openErrorsCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "contents")
	d := s.mkdir(fop.RootGFID, "d")
	_, err := s.tryOpen(d, fop.OWronly, true)
	s.fails(err, "open of a directory for writing", syscall.EISDIR)
	_, err = fop.Call(s.ctx, s.h, &fop.Opendir{Header: s.head(), GFID: g, Fd: &fop.Fd{GFID: g, Dir: true}})
	s.fails(err, "opendir of a file", syscall.ENOTDIR)

	ro := s.openFile(g, fop.ORdonly)
	_, err = fop.Call(s.ctx, s.h, &fop.Write{Header: s.head(), GFID: g, Fd: ro, Data: []byte("x")})
	s.fails(err, "write to a file open for reading", syscall.EBADF)
	_, err = fop.Call(s.ctx, s.h, &fop.Ftruncate{Header: s.head(), GFID: g, Fd: ro})
	s.fails(err, "ftruncate of a file open for reading", syscall.EBADF, syscall.EINVAL)
	wo := s.openFile(g, fop.OWronly)
	_, err = fop.Call(s.ctx, s.h, &fop.Read{Header: s.head(), GFID: g, Fd: wo, Size: 5})
	s.fails(err, "read of a file open for writing", syscall.EBADF)
	s.fileIs(g, "contents")

	s.release(s.openFile(g, fop.OWronly|fop.OTrunc))
	s.fileIs(g, "")
}

func truncateCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	s.write(fd, 0, "0123456789")
	r, err := fop.Call(s.ctx, s.h, &fop.Truncate{Header: s.head(), GFID: fd.GFID, Offset: 4})
	s.ok(err, "truncate")
	if r.Pre.Size != 10 || r.Post.Size != 4 {
		s.Errorf("truncate reports sizes %d and %d", r.Pre.Size, r.Post.Size)
	}
	s.contents(fd, "0123")
	r, err = fop.Call(s.ctx, s.h, &fop.Ftruncate{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: 8})
	s.ok(err, "ftruncate")
	if r.Pre.Size != 4 || r.Post.Size != 8 {
		s.Errorf("ftruncate reports sizes %d and %d", r.Pre.Size, r.Post.Size)
	}
	s.contents(fd, "0123\x00\x00\x00\x00")
	_, err = fop.Call(s.ctx, s.h, &fop.Truncate{Header: s.head(), GFID: s.mkdir(fop.RootGFID, "d")})
	s.fails(err, "truncate of a directory", syscall.EISDIR)
}

func (s *suite) seek(fd *fop.Fd, off uint64, what int32) (uint64, error) {
	r, err := fop.Call(s.ctx, s.h, &fop.Seek{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: off, What: what})
	if err != nil {
		return 0, err
	}
	return r.Offset, nil
}

func (s *suite) seeks(fd *fop.Fd, off uint64, what int32, want uint64) {
	s.Helper()
	got, err := s.seek(fd, off, what)
	s.ok(err, "seek")
	if got != want {
		s.Errorf("seek %d from %d led to %d, want %d", what, off, got, want)
	}
}

func sparseCase(s *suite) {
	const mib = 1 << 20
	fd := s.create(fop.RootGFID, "f")
	s.write(fd, mib, strings.Repeat("x", 64<<10))
	_, err := fop.Call(s.ctx, s.h, &fop.Ftruncate{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: 3 * mib})
	s.ok(err, "ftruncate")
	a := s.stat(fd.GFID)
	if a.Size != 3*mib || a.Blocks*512 > 2*mib {
		s.Errorf("sparse file of %d bytes uses %d blocks", a.Size, a.Blocks)
	}
	if r := s.read(fd, mib-10, 20); string(r.Data) != strings.Repeat("\x00", 10)+strings.Repeat("x", 10) {
		s.Errorf("the end of a hole reads %q", r.Data)
	}
	s.seeks(fd, 0, fop.SeekHole, 0)
	s.seeks(fd, 0, fop.SeekData, mib)
	s.seeks(fd, mib+5, fop.SeekData, mib+5)
	s.seeks(fd, mib, fop.SeekHole, mib+64<<10)
	_, err = s.seek(fd, 2*mib, fop.SeekData)
	s.fails(err, "seek for data where none is", syscall.ENXIO)
	_, err = s.seek(fd, 3*mib, fop.SeekHole)
	s.fails(err, "seek past the end", syscall.ENXIO)

	_, err = fop.Call(s.ctx, s.h, &fop.Discard{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: mib, Size: 32 << 10})
	s.ok(err, "discard")
	s.seeks(fd, 0, fop.SeekData, mib+32<<10)
	if r := s.read(fd, mib+32<<10-2, 4); string(r.Data) != "\x00\x00xx" {
		s.Errorf("the edge of a discarded range reads %q", r.Data)
	}
	if n := s.stat(fd.GFID).Size; n != 3*mib {
		s.Errorf("discard changed the size to %d", n)
	}
}

func fallocateCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	s.write(fd, 0, "abc")
	call := func(flags uint32, off, size uint64) error {
		_, err := fop.Call(s.ctx, s.h, &fop.Fallocate{Header: s.head(), GFID: fd.GFID, Fd: fd, Flags: flags, Offset: off, Size: size})
		return err
	}
	s.ok(call(1, 0, 64<<10), "fallocate that keeps the size")
	if n := s.stat(fd.GFID).Size; n != 3 {
		s.Errorf("size %d, want 3", n)
	}
	s.ok(call(0, 1, 7), "fallocate")
	s.contents(fd, "abc\x00\x00\x00\x00\x00")
	s.fails(call(0, 0, 0), "fallocate of nothing", syscall.EINVAL)
}

func zerofillCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	s.write(fd, 0, "0123456789")
	call := func(off, size uint64) {
		s.Helper()
		_, err := fop.Call(s.ctx, s.h, &fop.Zerofill{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: off, Size: size})
		s.ok(err, "zerofill")
	}
	call(2, 3)
	s.contents(fd, "01\x00\x00\x0056789")
	call(8, 4)
	s.contents(fd, "01\x00\x00\x00567\x00\x00\x00\x00")
}

func copyRangeCase(s *suite) {
	src, dst := s.create(fop.RootGFID, "src"), s.create(fop.RootGFID, "dst")
	data := strings.Repeat("0123456789abcdef", 4096)
	s.write(src, 0, data)
	for off := 0; off < len(data); {
		r, err := fop.Call(s.ctx, s.h, &fop.CopyFileRange{Header: s.head(), GFID: src.GFID, Fd: src, Dst: dst.GFID, DstFd: dst,
			Offset: uint64(off), DstOffset: uint64(off) + 5, Size: uint32(len(data) - off)})
		s.ok(err, "copy_file_range")
		if r.Size == 0 {
			s.Fatal("nothing copied")
		}
		if r.Stat.GFID != src.GFID || r.PostDst.GFID != dst.GFID {
			s.Errorf("reports %v and %v", r.Stat.GFID, r.PostDst.GFID)
		}
		off += int(r.Size)
	}
	s.contents(dst, "\x00\x00\x00\x00\x00"+data)
	r, err := fop.Call(s.ctx, s.h, &fop.CopyFileRange{Header: s.head(), GFID: src.GFID, Fd: src, Dst: dst.GFID, DstFd: dst, Offset: uint64(len(data)), Size: 10})
	s.ok(err, "copy_file_range from the end")
	if r.Size != 0 {
		s.Errorf("copied %d bytes from past the end", r.Size)
	}
}

func rchecksumCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	s.write(fd, 0, "The quick brown fox")
	r, err := fop.Call(s.ctx, s.h, &fop.Rchecksum{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: 4, Len: 5})
	s.ok(err, "rchecksum")
	var lo, hi uint32
	for _, c := range []byte("quick") {
		lo += uint32(c)
		hi += lo
	}
	if r.Weak != hi<<16|lo {
		s.Errorf("weak checksum %#x, want %#x", r.Weak, hi<<16|lo)
	}
	if strong := sha256.Sum256([]byte("quick")); r.Flags == 1 && !bytes.Equal(r.Strong, strong[:]) {
		s.Errorf("strong checksum %x, want %x", r.Strong, strong)
	}
}

func syncFlushCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	s.write(fd, 0, "abc")
	for _, data := range []uint32{0, 1} {
		r, err := fop.Call(s.ctx, s.h, &fop.Fsync{Header: s.head(), GFID: fd.GFID, Fd: fd, Datasync: data})
		s.ok(err, "fsync")
		if r.Post.Size != 3 || r.Pre.GFID != fd.GFID {
			s.Errorf("fsync reports %+v", r.Post)
		}
	}
	_, err := fop.Call(s.ctx, s.h, &fop.Flush{Header: s.head(), GFID: fd.GFID, Fd: fd})
	s.ok(err, "flush")
	s.contents(fd, "abc") // a flush closes nothing
	dir := s.opendir(fop.RootGFID)
	_, err = fop.Call(s.ctx, s.h, &fop.Fsyncdir{Header: s.head(), GFID: dir.GFID, Fd: dir})
	s.ok(err, "fsyncdir")
}

func writeXDataCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	for _, c := range []struct {
		off  uint64
		want int64
	}{{0, 1}, {3, 1}, {2, 0}} {
		r, err := fop.Call(s.ctx, s.h, &fop.Write{Header: s.head(fop.Pair{Key: fop.KeyWriteAppend, Val: fop.Uint(0)}, fop.Pair{Key: fop.KeyActiveFdCount, Val: fop.Uint(0)}),
			GFID: fd.GFID, Fd: fd, Offset: c.off, Data: []byte("abc")})
		s.ok(err, "write")
		if got := r.XData.Int(fop.KeyWriteAppend); got != c.want {
			s.Errorf("%s is %d for a write at %d, want %d", fop.KeyWriteAppend, got, c.off, c.want)
		}
		if got := r.XData.Int(fop.KeyActiveFdCount); got != 1 {
			s.Errorf("%s is %d, want 1", fop.KeyActiveFdCount, got)
		}
	}
}

func setattrCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	set := func(valid int32, a fop.Iatt) fop.Iatt {
		s.Helper()
		r, err := fop.Call(s.ctx, s.h, &fop.Setattr{Header: s.head(), GFID: fd.GFID, Valid: valid, Stat: a})
		s.ok(err, "setattr")
		return r.Post
	}
	if a := set(fop.SetMode, fop.Iatt{Mode: 0o4751}); a.Mode != fop.ModeRegular|0o4751 {
		s.Errorf("mode %o", a.Mode)
	}
	if a := set(fop.SetUID, fop.Iatt{UID: 11, GID: 99}); a.UID != 11 || a.GID != 0 {
		s.Errorf("owner %d:%d, want 11:0", a.UID, a.GID)
	}
	if a := set(fop.SetGID, fop.Iatt{UID: 99, GID: 12}); a.UID != 11 || a.GID != 12 {
		s.Errorf("owner %d:%d, want 11:12", a.UID, a.GID)
	}
	if a := set(fop.SetUID|fop.SetGID|fop.SetMode, fop.Iatt{UID: 1, GID: 2, Mode: 0o6711}); a.Mode != fop.ModeRegular|0o6711 || a.UID != 1 || a.GID != 2 {
		s.Errorf("mode %o owner %d:%d, want 6711 1:2: the mode comes after the owner", a.Mode, a.UID, a.GID)
	}
	r, err := fop.Call(s.ctx, s.h, &fop.Fsetattr{Header: s.head(), GFID: fd.GFID, Fd: fd, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o600}})
	s.ok(err, "fsetattr")
	if r.Pre.Mode != fop.ModeRegular|0o6711 || r.Post.Mode != fop.ModeRegular|0o600 {
		s.Errorf("fsetattr reports modes %o and %o", r.Pre.Mode, r.Post.Mode)
	}
	// All bits but the size at once, as healers send them: unknown bits mean nothing.
	a := set(^int32(fop.SetSize), fop.Iatt{Mode: fop.ModeRegular | 0o640, UID: 5, GID: 6, Atime: fop.Time{Sec: 7}, Mtime: fop.Time{Sec: 8}})
	if a.Mode != fop.ModeRegular|0o640 || a.UID != 5 || a.GID != 6 {
		s.Errorf("all bits: %+v", a)
	}
	l, err := s.trySymlink(fop.RootGFID, "l", "f")
	s.ok(err, "symlink")
	_, err = fop.Call(s.ctx, s.h, &fop.Setattr{Header: s.head(), GFID: l.Stat.GFID, Valid: fop.SetUID | fop.SetGID, Stat: fop.Iatt{UID: 77, GID: 78}})
	s.ok(err, "setattr of a symlink")
	if a := s.stat(l.Stat.GFID); a.UID != 77 || a.GID != 78 {
		s.Errorf("owner of a symlink %d:%d", a.UID, a.GID)
	}
	if a := s.stat(fd.GFID); a.UID != 5 {
		s.Errorf("setattr followed the symlink")
	}
}

func setattrTimesCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "")
	at, mt := fop.Time{Sec: 1_111_111_111, Nsec: 123_456_789}, fop.Time{Sec: 1_222_222_222, Nsec: 987_654_321}
	_, err := fop.Call(s.ctx, s.h, &fop.Setattr{Header: s.head(), GFID: g, Valid: fop.SetAtime | fop.SetMtime, Stat: fop.Iatt{Atime: at, Mtime: mt}})
	s.ok(err, "setattr")
	if a := s.stat(g); a.Atime != at || a.Mtime != mt {
		s.Errorf("times %v %v, want %v %v", a.Atime, a.Mtime, at, mt)
	}
	mt = fop.Time{Sec: 1_333_333_333}
	_, err = fop.Call(s.ctx, s.h, &fop.Setattr{Header: s.head(), GFID: g, Valid: fop.SetMtime, Stat: fop.Iatt{Mtime: mt}})
	s.ok(err, "setattr")
	if a := s.stat(g); a.Atime != at || a.Mtime != mt {
		s.Errorf("times %v %v, want %v %v", a.Atime, a.Mtime, at, mt)
	}
	// A write moves mtime and ctime.
	fd := s.openFile(g, fop.OWronly)
	before := s.stat(g)
	s.write(fd, 0, "x")
	if a := s.stat(g); !before.Mtime.Less(a.Mtime) || a.Ctime.Less(before.Ctime) {
		s.Errorf("write: mtime %v → %v, ctime %v → %v", before.Mtime, a.Mtime, before.Ctime, a.Ctime)
	}
}

func statfsCase(s *suite) {
	r, err := fop.Call(s.ctx, s.h, &fop.StatfsReq{Header: s.head(), GFID: fop.RootGFID})
	s.ok(err, "statfs")
	f := r.Statfs
	if f.Blocks == 0 || f.Bsize == 0 || f.Frsize == 0 || f.Bavail > f.Blocks || f.Namemax != 255 {
		s.Errorf("statfs: %+v", f)
	}
}
