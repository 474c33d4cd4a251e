package fuse

import (
	"context"
	"io"
	"math"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
)

// file is an open file of the kernel's.
type file struct {
	vf    *volume.File
	n     *node
	flags uint32

	refs    atomic.Int32  // Release is done with the last
	flushed atomic.Uint64 // n.writes as of the last flush
	flocked atomic.Bool   // flock(2) was used
}

// hold keeps a file open a while longer; it is not if it is closed already.
func (f *file) hold() bool {
	for {
		n := f.refs.Load()
		if n == 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// letGo gives up a hold, and closes the file with the last one.
func (b *bridge) letGo(f *file) {
	if f.refs.Add(-1) > 0 {
		return
	}
	c := fop.Cred{PID: f.vf.Fd.PID}
	if err := f.vf.Release(background, &c); err != nil {
		b.log.Debug("release", "gfid", f.n.gfid, "err", err)
	}
}

func (f *file) writable() bool { return f.flags&fop.OAccmode != fop.ORdonly }

// passedFlags are the flags of open(2) that mean something to a brick.
const passedFlags = fop.OAccmode | fop.OExec | fop.OTrunc | fop.OAppend | fop.ODsync | fop.OSync | fop.ODirect | fop.OLargefile | fop.ONoatime

// openFlags are the flags with which a file is opened on the bricks.
func (b *bridge) openFlags(flags uint32) uint32 {
	flags &= passedFlags
	if b.cfg.DirectIO == DirectIOOff {
		flags &^= fop.ODirect
	}
	if b.cfg.WritebackCache {
		// The kernel reads what it writes in part, and knows where to append.
		flags &^= fop.OAppend
		if flags&fop.OAccmode == fop.OWronly {
			flags = flags&^fop.OAccmode | fop.ORdwr
		}
	}
	return flags
}

// opened answers a request that opened a file.
func (b *bridge) opened(out *fuse.OpenOut, n *node, vf *volume.File, flags uint32) *file {
	f := &file{vf: vf, n: n, flags: flags}
	f.refs.Store(1)
	f.flushed.Store(n.writes.Load())
	n.addOpen(f)
	out.Fh = b.files.add(f)
	switch {
	case vf.Sizeless, b.cfg.DirectIO == DirectIOOn, b.cfg.DirectIO == DirectIOAuto && flags&fop.ODirect != 0:
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES
	case b.cfg.KeepCache:
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	return f
}

// Open opens a file.
func (b *bridge) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(&in.InHeader)
	vf, err := b.v.Open(background, &c, n.gfid, b.openFlags(in.Flags))
	if err != nil {
		return status(err)
	}
	f := b.opened(out, n, vf, in.Flags)
	if in.Flags&fop.OTrunc != 0 {
		b.touch(n)
		n.writes.Add(1)
		if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
			b.killPriv(&c, n, f)
		}
	}
	return fuse.OK
}

// readResult is what was read into the buffer of the reply.
type readResult []byte

func (r readResult) Bytes([]byte) ([]byte, fuse.Status) { return r, fuse.OK }
func (r readResult) Size() int                          { return len(r) }
func (r readResult) Done()                              {}

// Readv is asked to copy the data where it is already.
func (r readResult) Readv(dst [][]byte) (int, fuse.Status) {
	if len(dst) == 1 && len(r) > 0 && len(dst[0]) >= len(r) && &dst[0][0] == &r[0] {
		return len(r), fuse.OK
	}
	n := 0
	for _, d := range dst {
		n += copy(d, r[n:])
	}
	return n, fuse.OK
}

// Read reads straight into the reply.
func (b *bridge) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f := b.files.get(in.Fh)
	if f == nil {
		return nil, fuse.EBADF
	}
	c := b.cred(&in.InHeader)
	if in.ReadFlags&fuse.READ_LOCKOWNER != 0 {
		c.Owner = lockOwner(in.LockOwner)
	}
	n := 0
	for n < len(buf) {
		r, err := fop.Call(background, b.h, &fop.Read{Header: fop.Header{Cred: c}, GFID: f.n.gfid, Fd: f.vf.Fd,
			Offset: in.Offset + uint64(n), Size: uint32(len(buf) - n), Flags: f.vf.Fd.Flags & fop.ODirect, Into: buf[n:]})
		if err != nil {
			return nil, status(err)
		}
		got := len(r.Data)
		if got > 0 && &r.Data[0] != &buf[n] {
			got = copy(buf[n:], r.Data)
		}
		if n += got; got == 0 || r.EOF {
			break
		}
	}
	return readResult(buf[:n]), fuse.OK
}

const writeFlags = fop.OSync | fop.ODsync | fop.ODirect | fop.OAppend | fop.OAccmode

// Write writes. The data is the kernel's message, valid until Write returns, or as
// long as its memory is held.
func (b *bridge) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f := b.files.get(in.Fh)
	if f == nil {
		return 0, fuse.EBADF
	}
	n := f.n
	c := b.cred(&in.InHeader)
	if in.WriteFlags&fuse.WRITE_LOCKOWNER != 0 {
		c.Owner = lockOwner(in.LockOwner)
	}
	q := fop.Write{Header: fop.Header{Cred: c}, GFID: n.gfid, Fd: f.vf.Fd, Flags: f.vf.Fd.Flags & writeFlags}
	if in.Flags&fop.ODsync != 0 { // set since by fcntl(2), perhaps
		q.Flags |= in.Flags & fop.OSync
	}
	if b.memory != nil && len(data) > smallSize {
		q.Memory = b.memory(in.Unique)
	}
	n.writes.Add(1)
	defer b.touch(n)
	done := 0
	for done < len(data) {
		w := q
		w.Offset, w.Data = in.Offset+uint64(done), data[done:]
		r, err := fop.Call(background, b.h, &w)
		if err == nil && (r.Size == 0 || int(r.Size) > len(data)-done) {
			err = io.ErrShortWrite
		}
		if err != nil {
			if done > 0 {
				break // the next write, or the close, hears of it
			}
			return 0, status(err)
		}
		done += int(r.Size)
		if q.Flags&fop.OAppend != 0 && !r.Post.IsZero() && r.Post.Size != in.Offset+uint64(done) {
			// Others append, too: what the kernel has put into its pages for
			// this offset stands elsewhere.
			b.notes.data(n)
		}
	}
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		b.killPriv(&c, n, f)
	}
	return uint32(done), fuse.OK
}

// Writev is Write; ENOSYS would have go-fuse copy messages in several parts, and
// there are none.
func (b *bridge) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if len(data) == 1 {
		return b.Write(cancel, in, data[0])
	}
	return 0, fuse.ENOSYS
}

// Flush is a close(2) of a descriptor. Bricks are asked only if there may be
// something to hear: of writes, or of locks to free.
func (b *bridge) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	f := b.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	writes := f.n.writes.Load()
	if f.flushed.Load() == writes && !f.n.locked.Load() {
		return fuse.OK
	}
	c := b.owned(&in.InHeader, in.LockOwner)
	var ctx context.Context = background
	if b.cfg.FlushHandleInterrupt {
		ctx = until(cancel)
		b.waits.add(in.Unique)
		defer b.waits.remove(in.Unique)
	}
	err := f.vf.Flush(ctx, &c)
	if err != nil {
		return interrupted(ctx, err)
	}
	f.flushed.Store(writes)
	return fuse.OK
}

// Release ends an open file. Nobody waits for it.
func (b *bridge) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	f := b.files.take(in.Fh)
	if f == nil {
		return
	}
	if in.ReleaseFlags&fuse.FUSE_RELEASE_FLOCK_UNLOCK != 0 && f.flocked.Load() {
		c := b.owned(&in.InHeader, in.LockOwner)
		if _, err := f.vf.Lock(background, &c, fop.LkSet, fop.LockUnlock, 0, 0); err != nil {
			b.log.Debug("unlock at release", "gfid", f.n.gfid, "err", err)
		}
	}
	f.n.dropOpen(f)
	b.letGo(f)
}

// Fsync makes a file durable.
func (b *bridge) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f := b.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	c := b.cred(&in.InHeader)
	_, err := f.vf.Fsync(background, &c, in.FsyncFlags&1 != 0)
	return status(err)
}

// Modes of fallocate(2).
const (
	keepSize  = 0x01
	punchHole = 0x02
	zeroRange = 0x10
)

// Fallocate reserves, empties or zeroes a range.
func (b *bridge) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	f := b.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	c := b.cred(&in.InHeader)
	f.n.writes.Add(1)
	defer b.touch(f.n)
	var err error
	switch in.Mode {
	case 0, keepSize:
		_, err = f.vf.Allocate(background, &c, in.Offset, in.Length, in.Mode == keepSize)
	case punchHole | keepSize:
		_, err = f.vf.Discard(background, &c, in.Offset, in.Length)
	case zeroRange:
		_, err = f.vf.Zerofill(background, &c, in.Offset, in.Length)
	case zeroRange | keepSize:
		err = b.zeroWithin(&c, f, in.Offset, in.Length)
	default:
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	return status(err)
}

// zeroWithin zeroes what a range has of the file, and reserves the rest: the
// wire's zerofill would let the file grow.
func (b *bridge) zeroWithin(c *fop.Cred, f *file, off, size uint64) error {
	a, err := f.vf.Getattr(background, c)
	if err != nil {
		return err
	}
	if end := off + size; end > a.Size {
		if _, err := f.vf.Allocate(background, c, off, size, true); err != nil {
			return err
		}
		if off >= a.Size {
			return nil
		}
		size = a.Size - off
	}
	_, err = f.vf.Zerofill(background, c, off, size)
	return err
}

// Lseek finds data and holes.
func (b *bridge) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	f := b.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	var what int32
	switch in.Whence {
	case 3: // SEEK_DATA
		what = fop.SeekData
	case 4: // SEEK_HOLE
		what = fop.SeekHole
	default:
		return fuse.EINVAL
	}
	c := b.cred(&in.InHeader)
	off, err := f.vf.Seek(background, &c, in.Offset, what)
	out.Offset = off
	return status(err)
}

// CopyFileRange copies on the bricks.
func (b *bridge) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	src, dst := b.files.get(in.FhIn), b.files.get(in.FhOut)
	if src == nil || dst == nil {
		return 0, fuse.EBADF
	}
	if in.Flags != 0 {
		return 0, fuse.EINVAL
	}
	c := b.cred(&in.InHeader)
	dst.n.writes.Add(1)
	defer b.touch(dst.n)
	// The reply has 32 bits for the length.
	done, err := dst.vf.CopyRange(background, &c, in.OffOut, src.vf, in.OffIn, min(in.Len, math.MaxInt32&^4095))
	if err != nil && done == 0 {
		return 0, status(err)
	}
	return uint32(done), fuse.OK
}
