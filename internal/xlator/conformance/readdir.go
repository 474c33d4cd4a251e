package conformance

import (
	"fmt"
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

// page reads one page of a directory.
func (s *suite) page(fd *fop.Fd, off uint64, size uint32, plus bool) *fop.ReaddirReply {
	s.Helper()
	var r *fop.ReaddirReply
	var err error
	if plus {
		r, err = fop.Call(s.ctx, s.h, &fop.Readdirp{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: off, Size: size})
	} else {
		r, err = fop.Call(s.ctx, s.h, &fop.Readdir{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: off, Size: size})
	}
	s.ok(err, "readdir")
	return r
}

// list reads a directory from off to its end and returns the entries but . and
// .. by name. An entry that comes twice is an error.
func (s *suite) list(fd *fop.Fd, off uint64, size uint32, plus bool) map[string]fop.Dirent {
	s.Helper()
	all := map[string]fop.Dirent{}
	for pages := 0; ; pages++ {
		r := s.page(fd, off, size, plus)
		for _, e := range r.Entries {
			off = e.Off
			if e.Name == "." || e.Name == ".." {
				continue
			}
			if _, ok := all[e.Name]; ok {
				s.Errorf("%q is listed twice", e.Name)
			}
			all[e.Name] = e
		}
		if r.EOF || len(r.Entries) == 0 {
			return all
		}
		if pages > 100_000 {
			s.Fatal("the listing does not end")
		}
	}
}

func readdirCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	const n = 200
	for i := range n {
		s.touch(d, fmt.Sprintf("file%03d", i), "")
	}
	s.mkdir(d, "sub")
	_, err := s.trySymlink(d, "link", "x")
	s.ok(err, "symlink")
	fd := s.opendir(d)
	for _, size := range []uint32{1, 500, 4096, 128 << 10} {
		if size == 1 {
			r := s.page(fd, 0, size, false)
			if len(r.Entries) > 1 {
				s.Errorf("a page of 1 byte has %d entries", len(r.Entries))
			}
			continue
		}
		all := s.list(fd, 0, size, false)
		if len(all) != n+2 {
			s.Errorf("%d entries in pages of %d bytes, want %d", len(all), size, n+2)
		}
		for name, typ := range map[string]uint32{"file000": 8, "sub": 4, "link": 10} {
			if e, ok := all[name]; !ok || e.Type != typ {
				s.Errorf("%s has type %d, want %d", name, e.Type, typ)
			}
		}
	}
	// Going on in the middle, also from another open directory.
	first := s.page(fd, 0, 4096, false).Entries
	if len(first) < 3 || len(first) >= n {
		s.Fatalf("a page of 4096 bytes has %d entries", len(first))
	}
	rest := s.list(s.opendir(d), first[len(first)-1].Off, 4096, false)
	for _, e := range first {
		if e.Name != "." && e.Name != ".." {
			if _, ok := rest[e.Name]; ok {
				s.Errorf("%s comes again after its cookie", e.Name)
			}
			rest[e.Name] = e
		}
	}
	if len(rest) != n+2 {
		s.Errorf("both parts have %d entries, want %d", len(rest), n+2)
	}
	// The root hides what is the brick's own.
	if _, ok := s.list(s.opendir(fop.RootGFID), 0, 64<<10, false)[".glusterfs"]; ok {
		s.Error("the root shows .glusterfs")
	}
}

func readdirpCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	for i := range 20 {
		s.touch(d, fmt.Sprintf("f%d", i), fmt.Sprintf("%*d", i, 1))
	}
	sub := s.mkdir(d, "sub")
	_, err := s.setxattr(sub, 0, pair("user.colour", "blue"))
	s.ok(err, "setxattr")
	fd := s.opendir(d)
	all := s.list(fd, 0, 2048, true)
	if len(all) != 21 {
		s.Errorf("%d entries, want 21", len(all))
	}
	for name, e := range all {
		a := s.mustLookup(d, name)
		if s.opts.Distributed && a.IsDir() && e.Stat.GFID == a.GFID && e.Stat.Fmt() == a.Fmt() && e.Ino == a.Ino {
			continue
		}
		if s.opts.WriteBehind && e.Stat.IsZero() {
			continue // still being written: it must be looked up
		}
		if e.Stat.GFID != a.GFID || e.Stat.Size != a.Size || e.Stat.Mode != a.Mode || e.Stat.Nlink != a.Nlink || e.Ino != a.Ino {
			s.Errorf("%s is listed as %+v, lookup says %+v", name, e.Stat, a)
		}
	}
	r, err := fop.Call(s.ctx, s.h, &fop.Readdirp{Header: s.head(fop.Pair{Key: "user.colour", Val: fop.Uint(0)}), GFID: d, Fd: fd, Size: 64 << 10})
	s.ok(err, "readdirp with xattrs")
	for _, e := range r.Entries {
		if got := e.XData.Text("user.colour"); e.Name == "sub" && got != "blue" || e.Name[0] == 'f' && got != "" {
			s.Errorf("%s comes with user.colour %q", e.Name, got)
		}
	}
}

func readdirEmptyCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	fd := s.opendir(d)
	r := s.page(fd, 0, 4096, false)
	if !r.EOF && !s.opts.Distributed || len(r.Entries) > 2 {
		s.Errorf("an empty directory has %d entries, EOF %v", len(r.Entries), r.EOF)
	}
	if len(r.Entries) > 0 {
		r = s.page(fd, r.Entries[len(r.Entries)-1].Off, 4096, false)
		if len(r.Entries) != 0 || !r.EOF {
			s.Errorf("after the end come %d entries, EOF %v", len(r.Entries), r.EOF)
		}
	}
	// What is new shows after a rewind.
	s.touch(d, "new", "")
	if all := s.list(fd, 0, 4096, false); len(all) != 1 {
		s.Errorf("after a rewind: %v", all)
	}
}

// readdirChangingCase lists while entries come and go: those that are there all
// the time show exactly once.
func readdirChangingCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	const stay = 150
	for i := range stay {
		s.touch(d, fmt.Sprintf("stay%03d", i), "")
		s.touch(d, fmt.Sprintf("go%03d", i), "")
	}
	fd := s.opendir(d)
	seen := map[string]int{}
	var off uint64
	for turn := 0; ; turn++ {
		r := s.page(fd, off, 2500, false)
		for _, e := range r.Entries {
			seen[e.Name]++
			off = e.Off
		}
		if r.EOF || len(r.Entries) == 0 {
			break
		}
		if turn < stay {
			s.ok(s.tryUnlink(d, fmt.Sprintf("go%03d", turn)), "unlink")
			s.touch(d, fmt.Sprintf("new%03d", turn), "")
		}
	}
	for i := range stay {
		if n := seen[fmt.Sprintf("stay%03d", i)]; n != 1 {
			s.Errorf("stay%03d shows %d times", i, n)
		}
	}
}

func readdirBigCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	const workers, each = 4, 500
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				_, err := fop.Call(s.ctx, s.h, &fop.Mknod{Header: s.newHead(fop.NewGFID()), Parent: d, Name: fmt.Sprintf("w%d-%d", w, i), Mode: fop.ModeRegular | 0o644})
				if err != nil {
					s.Errorf("mknod: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if all := s.list(s.opendir(d), 0, 128<<10, true); len(all) != workers*each {
		s.Errorf("%d entries, want %d", len(all), workers*each)
	}
}
