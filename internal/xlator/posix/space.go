//go:build linux

package posix

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

func pause(d time.Duration) {
	if d > 0 {
		time.Sleep(d)
	}
}

// spaceCheck remembers for a while whether the brick's reserve is touched.
type spaceCheck struct {
	when atomic.Int64 // Unix nanoseconds of the last check
	full atomic.Bool
}

const spaceEvery = 5 * time.Second

// full fails with ENOSPC when only the reserve is left, but not for the
// project's own daemons.
func (b *Brick) full(h *fop.Header) error {
	if h.Cred.PID < 0 {
		return nil
	}
	if at := time.Now().UnixNano(); at-b.space.when.Load() > int64(spaceEvery) {
		b.checkSpace(at)
	}
	if b.space.full.Load() && !h.XData.Has(fop.KeyInternalFop) {
		return syscall.ENOSPC
	}
	return nil
}

func (b *Brick) checkSpace(at int64) {
	b.space.when.Store(at)
	var st unix.Statfs_t
	if unix.Fstatfs(b.meta, &st) != nil {
		return
	}
	opt := b.opt.Load()
	full := opt.reserve > 0
	if opt.reservePercent {
		full = full && float64(st.Bfree) <= float64(st.Blocks)*opt.reserve/100
	} else {
		full = full && float64(st.Bfree)*float64(st.Bsize) <= opt.reserve
	}
	if was := b.space.full.Swap(full); full && !was {
		b.log.Warn("the reserve of the brick's file system is reached; writes fail until space is freed", "brick", b.dir)
	}
}

func (b *Brick) statfs(r *fop.StatfsReq) (*fop.StatfsReply, error) {
	var p place
	if err := b.find(r.GFID, &p); err != nil {
		return nil, err
	}
	b.leave(&p)
	var st unix.Statfs_t
	if err := unix.Fstatfs(b.root.fd, &st); err != nil {
		return nil, err
	}
	opt := b.opt.Load()
	frsize := uint64(st.Frsize)
	if frsize == 0 {
		frsize = uint64(st.Bsize)
	}
	s := fop.Statfs{
		Bsize: uint64(st.Bsize), Frsize: frsize, Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree, Favail: st.Ffree,
		Fsid: uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
		Flag: uint64(st.Flags) &^ 0x20, Namemax: uint64(st.Namelen), // 0x20: flags are valid, kernel only
	}
	kept := min(opt.reserved(s.Blocks, frsize), s.Bfree)
	s.Bfree -= kept
	s.Bavail = min(s.Bavail, s.Bfree)
	for _, n := range []*uint64{&s.Blocks, &s.Bfree, &s.Bavail, &s.Files, &s.Ffree, &s.Favail} {
		if *n /= opt.sharedBricks; !opt.statfsSize {
			*n = 0
		}
	}
	return &fop.StatfsReply{Statfs: s}, nil
}

func fallocate(fd int, mode uint32, off, size int64) error {
	for {
		if err := unix.Fallocate(fd, mode, off, size); err != syscall.EINTR {
			return err
		}
	}
}

// change frames a fop that changes the space of a file.
func (b *Brick) change(h *fop.Header, fd *fop.Fd, g fop.GFID, off, size uint64, fits func(pre *fop.Iatt) bool, f func(u *use) error) (*fop.AttrReply, error) {
	if off > 1<<63-1 || size > 1<<63-1-off {
		return nil, syscall.EFBIG
	}
	var u use
	if err := b.use(fd, g, 0, &u); err != nil {
		return nil, err
	}
	defer b.done(&u)
	if h.XData.Has("glusterfs.write-update-atomic") {
		u.in.op.Lock()
		defer u.in.op.Unlock()
	}
	pre, err := b.fstatUse(&u)
	if err != nil {
		return nil, err
	}
	if !fits(&pre) {
		if err := b.full(h); err != nil {
			return nil, err
		}
	}
	if err := f(&u); err != nil {
		return nil, err
	}
	b.touch(brickfs.Open(u.fd), u.in, &h.Time, h.Time.Flags&ownTimes)
	post, err := b.fstatUse(&u)
	return &fop.AttrReply{Pre: pre, Post: post}, err
}

func (b *Brick) fallocate(r *fop.Fallocate) (*fop.AttrReply, error) {
	mode := r.Flags & unix.FALLOC_FL_KEEP_SIZE
	b.checkSpace(time.Now().UnixNano()) // it may take a lot at once
	return b.change(&r.Header, r.Fd, r.GFID, r.Offset, r.Size,
		func(pre *fop.Iatt) bool { return mode != 0 || r.Offset+r.Size <= pre.Size },
		func(u *use) error { return fallocate(u.fd, mode, int64(r.Offset), int64(r.Size)) })
}

func (b *Brick) discard(r *fop.Discard) (*fop.AttrReply, error) {
	return b.change(&r.Header, r.Fd, r.GFID, r.Offset, r.Size,
		func(pre *fop.Iatt) bool { return true },
		func(u *use) error {
			return fallocate(u.fd, unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, int64(r.Offset), int64(r.Size))
		})
}

func (b *Brick) zerofill(r *fop.Zerofill) (*fop.AttrReply, error) {
	return b.change(&r.Header, r.Fd, r.GFID, r.Offset, r.Size,
		func(pre *fop.Iatt) bool { return r.Offset+r.Size <= pre.Size },
		func(u *use) error {
			err := fallocate(u.fd, unix.FALLOC_FL_ZERO_RANGE, int64(r.Offset), int64(r.Size))
			if err == syscall.EOPNOTSUPP || err == syscall.ENOSYS {
				err = writeZeros(u, int64(r.Offset), int64(r.Size))
			}
			if err == nil && u.sync {
				err = unix.Fsync(u.fd)
			}
			return err
		})
}

func writeZeros(u *use, off, size int64) error {
	zeros := aligned(64 << 10)
	for size > 0 {
		n, err := pwrite(u.fd, zeros[:min(size, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, size = off+int64(n), size-int64(n)
	}
	return nil
}

func (b *Brick) seek(r *fop.Seek) (*fop.SeekReply, error) {
	whence := unix.SEEK_DATA
	switch r.What {
	case fop.SeekData:
	case fop.SeekHole:
		whence = unix.SEEK_HOLE
	default:
		return nil, syscall.ENOTSUP
	}
	if r.Offset > 1<<63-1 {
		return nil, syscall.ENXIO
	}
	var u use
	if err := b.use(r.Fd, r.GFID, 0, &u); err != nil {
		return nil, err
	}
	defer b.done(&u)
	off, err := unix.Seek(u.fd, int64(r.Offset), whence)
	if err == syscall.EINVAL || err == syscall.EOPNOTSUPP { // all of it is data
		var st unix.Stat_t
		if err = unix.Fstat(u.fd, &st); err != nil {
			return nil, err
		}
		if off = st.Size; int64(r.Offset) >= st.Size {
			err = syscall.ENXIO
		} else if r.What == fop.SeekData {
			off = int64(r.Offset)
		}
	}
	if err != nil {
		return nil, err
	}
	return &fop.SeekReply{Offset: uint64(off)}, nil
}

func (b *Brick) copyFileRange(r *fop.CopyFileRange) (*fop.CopyFileRangeReply, error) {
	if r.Offset > 1<<63-1-uint64(r.Size) || r.DstOffset > 1<<63-1-uint64(r.Size) {
		return nil, syscall.EFBIG
	}
	var src, dst use
	if err := b.use(r.Fd, r.GFID, 0, &src); err != nil {
		return nil, err
	}
	defer b.done(&src)
	if err := b.use(r.DstFd, r.Dst, 0, &dst); err != nil {
		return nil, err
	}
	defer b.done(&dst)
	if err := b.full(&r.Header); err != nil {
		return nil, err
	}
	o := brickfs.Open(dst.fd)
	if err := b.mayWrite(&r.Header, o); err != nil {
		return nil, err
	}
	if r.XData.Has("glusterfs.write-update-atomic") {
		dst.in.op.Lock()
		defer dst.in.op.Unlock()
	}
	reply := &fop.CopyFileRangeReply{}
	var err error
	if reply.PreDst, err = b.fstatUse(&dst); err != nil {
		return nil, err
	}
	from, to := int64(r.Offset), int64(r.DstOffset)
	n, err := unix.CopyFileRange(src.fd, &from, dst.fd, &to, int(min(r.Size, 1<<30)), int(r.Flags))
	if err == syscall.EXDEV || err == syscall.ENOSYS || err == syscall.EOPNOTSUPP {
		n, err = copyRange(src.fd, int64(r.Offset), dst.fd, int64(r.DstOffset), int(r.Size))
	}
	if err != nil {
		return nil, err
	}
	reply.Size = uint32(n)
	b.touch(o, dst.in, &r.Time, r.Time.Flags&ownTimes)
	if reply.Stat, err = b.fstatUse(&src); err != nil {
		return nil, err
	}
	if reply.PostDst, err = b.fstatUse(&dst); err != nil {
		return nil, err
	}
	if r.XData.Len() > 0 {
		reply.XData = fop.NewDict()
		b.fdCounts(r.XData, dst.in, reply.XData)
	}
	return reply, nil
}

// copyRange copies where the file system cannot do so by itself.
func copyRange(src int, from int64, dst int, to int64, size int) (done int, err error) {
	buf := make([]byte, min(size, 1<<20))
	for done < size {
		n, err := pread(src, buf[:min(len(buf), size-done)], from+int64(done))
		if err == nil && n > 0 {
			n, err = pwrite(dst, buf[:n], to+int64(done))
		}
		if n == 0 && err == nil || err != nil && done > 0 {
			break
		}
		if err != nil {
			return 0, err
		}
		done += n
	}
	return done, nil
}

func (b *Brick) rchecksum(r *fop.Rchecksum) (*fop.RchecksumReply, error) {
	if r.Offset > 1<<63-1 {
		return nil, syscall.EINVAL
	}
	var u use
	if err := b.use(r.Fd, r.GFID, 0, &u); err != nil {
		return nil, err
	}
	defer b.done(&u)
	buf := aligned(int(min(r.Len, maxRead)))
	n, err := pread(u.fd, buf, int64(r.Offset))
	if err != nil {
		return nil, err
	}
	buf = buf[:n]
	reply := &fop.RchecksumReply{Weak: adler32(buf)}
	x := fop.NewDict()
	if r.XData.Has("check-zero-filled") {
		zero := true
		for _, c := range buf {
			zero = zero && c == 0
		}
		x.Set("buf-has-zeroes", fop.Uint(boolNum(zero)))
	}
	if b.opt.Load().fips {
		sum := sha256.Sum256(buf)
		reply.Strong, reply.Flags = sum[:], 1
		x.Set("fips-mode-rchecksum", fop.Int(1))
	} else {
		sum := md5.Sum(buf)
		reply.Strong = append(sum[:], make([]byte, 16)...)
	}
	reply.XData = x
	return reply, nil
}

// adler32 is Adler-32 that begins at 0 instead of 1.
func adler32(data []byte) uint32 {
	var s1, s2 uint32
	for len(data) > 0 {
		part := data[:min(len(data), 5552)]
		for _, c := range part {
			s1 += uint32(c)
			s2 += s1
		}
		s1, s2 = s1%65521, s2%65521
		data = data[len(part):]
	}
	return s2<<16 | s1
}

// put makes a file with its contents, in one request.
func (b *Brick) put(ctx context.Context, r *fop.Put) (*fop.EntryReply, error) {
	fd := &fop.Fd{Flags: fop.ORdwr, PID: r.Cred.PID, From: r.From}
	flags := r.Flags&^fop.OAccmode | fop.ORdwr
	made, err := fop.Call(ctx, b, &fop.Create{Header: r.Header, Parent: r.Parent, Name: r.Name, Mode: r.Mode, Umask: r.Umask, Flags: flags, Fd: fd})
	if err != nil {
		return nil, err
	}
	defer b.release(fd)
	h := r.Header
	h.XData, h.Time = nil, fop.Stamp{}
	g := made.Stat.GFID
	fd.GFID = g
	if len(r.Data) > 0 {
		w, err := fop.Call(ctx, b, &fop.Write{Header: h, GFID: g, Fd: fd, Offset: r.Offset, Flags: r.Flags, Data: r.Data})
		if err != nil {
			return nil, err
		}
		if int(w.Size) < len(r.Data) {
			return nil, syscall.ENOSPC
		}
		made.Stat = w.Post
	}
	if r.Xattr.Len() > 0 {
		if _, err := fop.Call(ctx, b, &fop.Fsetxattr{Header: h, GFID: g, Fd: fd, Dict: r.Xattr}); err != nil {
			return nil, err
		}
	}
	return &fop.EntryReply{Stat: made.Stat, PreParent: made.PreParent, PostParent: made.PostParent}, nil
}
