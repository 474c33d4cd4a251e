//go:build linux && cgo

package main

import (
	"math"
	"sync"
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
)

// maxIO is the most that one call reads or writes, as in GlusterFS.
const maxIO = 1<<30 - 1

// transfer is a read or write as it was asked for.
type transfer struct {
	d    *fd // its o is in use
	vec  [][]byte
	size int64
	off  int64
}

// form says where the arguments of a transfer are: a buffer and its size, or
// vectors and their number; then the offset if there is one.
type form struct {
	write, vector, at bool
}

// begin checks the arguments of a transfer.
func (c *call) begin(how form) (t transfer, err error) {
	if t.d, err = c.file(0); err != nil {
		return t, err
	}
	defer func() {
		if err != nil {
			t.d.o.leave()
		}
	}()
	o := t.d.o
	switch {
	case how.write && (o.f == nil || !o.writable()):
		return t, syscall.EBADF
	case !how.write && o.f == nil:
		return t, o.notFile()
	case !how.write && !o.readable():
		return t, syscall.EBADF
	}
	if how.vector {
		var ok bool
		if t.vec, t.size, ok = vectors(c.ptr(1), int64(int32(c.arg(2)))); !ok {
			return t, syscall.EINVAL
		}
	} else {
		size := c.arg(2)
		if size < 0 || size > maxIO && how.write || size > 0 && c.ptr(1) == nil {
			return t, syscall.EINVAL
		}
		t.size = min(size, maxIO)
		if size > 0 {
			t.vec = [][]byte{bytes(c.ptr(1), t.size)}
		}
	}
	if t.size == 0 && !how.write {
		return t, syscall.EINVAL
	}
	if t.off = t.d.pos.Load(); how.at {
		t.off = c.arg(3)
	}
	if t.off < 0 || t.off > math.MaxInt64-t.size {
		return t, syscall.EINVAL
	}
	return t, nil
}

// read carries out a read. post, if given, gets the attributes after it.
func (c *call) read(t *transfer, post *fop.Iatt) (int64, error) {
	var buf []byte
	if len(t.vec) == 1 {
		buf = t.vec[0]
	} else {
		b := getBuffer(int(t.size))
		defer putBuffer(b)
		buf = (*b)[:t.size]
	}
	n, err := c.readInto(t.d, buf, uint64(t.off), post)
	if err != nil {
		return 0, err
	}
	if len(t.vec) > 1 {
		rest := buf[:n]
		for _, v := range t.vec {
			rest = rest[copy(v, rest):]
		}
	}
	t.d.pos.Store(t.off + int64(n))
	return int64(n), nil
}

func (c *call) readInto(d *fd, buf []byte, off uint64, post *fop.Iatt) (n int, err error) {
	f := d.o.f
	if post == nil || len(buf) > volume.MaxIO {
		if n, _, err = f.ReadAt(c.ctx, &c.cred, buf, off); err == nil && post != nil {
			*post, _ = f.Getattr(c.ctx, &c.cred)
		}
		return n, err
	}
	r, err := fop.Call(c.ctx, d.o.l.vol.Handler(), &fop.Read{Header: fop.Header{Cred: c.cred}, GFID: f.Fd.GFID, Fd: f.Fd, Offset: off,
		Size: uint32(len(buf)), Flags: f.Fd.Flags & fop.ODirect, Into: buf})
	if err != nil {
		return 0, err
	}
	if n = len(r.Data); n > 0 && &r.Data[0] != &buf[0] {
		n = copy(buf, r.Data)
	}
	*post = r.Stat
	if n > 0 && n < len(buf) && !r.EOF {
		m, _, err := f.ReadAt(c.ctx, &c.cred, buf[n:], off+uint64(n))
		if err == nil {
			n += m
		}
	}
	return n, nil
}

// write carries out a write. pre and post, if given, get the attributes before
// and after it, as far as translators tell them.
func (c *call) write(t *transfer, pre, post *fop.Iatt) (int64, error) {
	if t.size == 0 {
		return 0, nil
	}
	buf := t.vec[0]
	if len(t.vec) > 1 {
		b := getBuffer(int(t.size))
		defer putBuffer(b)
		buf = (*b)[:t.size]
		t.gather(buf)
	}
	return c.writeFrom(t, buf, pre, post)
}

// gather puts the vectors into one buffer.
func (t *transfer) gather(buf []byte) {
	for _, v := range t.vec {
		buf = buf[copy(buf, v):]
	}
}

func (c *call) writeFrom(t *transfer, buf []byte, pre, post *fop.Iatt) (int64, error) {
	o := t.d.o
	f := o.f
	o.touched.Store(true)
	n, err := 0, error(nil)
	switch {
	case o.flags&fop.OAppend != 0:
		n, _, err = f.Append(c.ctx, &c.cred, buf)
	case post == nil || len(buf) > volume.MaxIO:
		n, err = f.WriteAt(c.ctx, &c.cred, buf, uint64(t.off))
	default:
		var r *fop.WriteReply
		r, err = fop.Call(c.ctx, o.l.vol.Handler(), &fop.Write{Header: fop.Header{Cred: c.cred}, GFID: f.Fd.GFID, Fd: f.Fd, Offset: uint64(t.off),
			Flags: f.Fd.Flags & (fop.OSync | fop.ODsync | fop.ODirect | fop.OAccmode), Data: buf})
		if err != nil {
			break
		}
		n = min(int(r.Size), len(buf))
		*pre, *post = r.Pre, r.Post
		if n > 0 && n < len(buf) {
			var m int
			m, err = f.WriteAt(c.ctx, &c.cred, buf[n:], uint64(t.off)+uint64(n))
			n += m
		}
	}
	if n == 0 && err != nil {
		return 0, err
	}
	t.d.pos.Store(t.off + int64(n))
	return int64(n), nil
}

// buffers are of 1 MiB at least.
var buffers = sync.Pool{New: func() any { b := make([]byte, volume.MaxIO); return &b }}

func getBuffer(size int) *[]byte {
	if size > volume.MaxIO {
		b := make([]byte, size)
		return &b
	}
	return buffers.Get().(*[]byte)
}

func putBuffer(b *[]byte) {
	if len(*b) == volume.MaxIO {
		buffers.Put(b)
	}
}

// transfer is a read or write that is waited for. pre and post are where their
// struct glfs_stat goes, nil for none.
func (c *call) transfer(how form, pre, post unsafe.Pointer) int64 {
	t, err := c.begin(how)
	if err != nil {
		return c.fail(err)
	}
	defer t.d.o.leave()
	var n int64
	var a, b fop.Iatt
	switch {
	case how.write && pre == nil && post == nil:
		n, err = c.write(&t, nil, nil)
	case how.write:
		n, err = c.write(&t, &a, &b)
	case post == nil:
		n, err = c.read(&t, nil)
	default:
		n, err = c.read(&t, &b)
	}
	if err != nil {
		return c.fail(err)
	}
	t.d.fs.putGlfsStat(pre, &a)
	t.d.fs.putGlfsStat(post, &b)
	return n
}

func (c *call) glfsRead() int64   { return c.transfer(form{}, nil, nil) }
func (c *call) glfsReadv() int64  { return c.transfer(form{vector: true}, nil, nil) }
func (c *call) glfsPread() int64  { return c.transfer(form{at: true}, nil, c.ptr(5)) }
func (c *call) glfsPreadv() int64 { return c.transfer(form{vector: true, at: true}, nil, nil) }
func (c *call) glfsWrite() int64  { return c.transfer(form{write: true}, nil, nil) }
func (c *call) glfsWritev() int64 { return c.transfer(form{write: true, vector: true}, nil, nil) }
func (c *call) glfsPwrite() int64 { return c.transfer(form{write: true, at: true}, c.ptr(5), c.ptr(6)) }
func (c *call) glfsPwritev() int64 {
	return c.transfer(form{write: true, vector: true, at: true}, nil, nil)
}

// glfsLseek moves the offset of a file; quickLseek does what needs no brick.
func (c *call) glfsLseek() int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	off, whence := c.arg(1), int32(c.arg(2))
	const (
		seekSet = iota
		seekCur
		seekEnd
		seekData
		seekHole
	)
	switch whence {
	case seekSet:
		d.pos.Store(off)
	case seekCur:
		off += d.pos.Load()
		d.pos.Store(off)
	case seekEnd:
		a, err := c.fgetattr(d)
		if err != nil {
			return c.fail(err)
		}
		off += int64(a.Size)
		d.pos.Store(off)
	case seekData, seekHole:
		switch {
		case d.o.f == nil:
			return c.fail(syscall.EINVAL)
		case off < 0:
			return c.fail(syscall.ENXIO)
		}
		what := int32(fop.SeekData)
		if whence == seekHole {
			what = fop.SeekHole
		}
		n, err := d.o.f.Seek(c.ctx, &c.cred, uint64(off), what)
		if err != nil {
			return c.fail(err)
		}
		off = int64(n)
		d.pos.Store(off)
	default:
		return c.fail(syscall.EINVAL)
	}
	return off
}

func quickLseek(c *call) (int64, bool) {
	if whence := int32(c.arg(2)); whence > 1 {
		return 0, false
	}
	return c.glfsLseek(), true
}

// change is an operation on an open file that reports attributes.
type change func(c *call, d *fd) (*fop.AttrReply, error)

// changing carries out a change and gives the attributes to the arguments pre
// and post.
func (c *call) changing(do change, pre, post int) int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	r, err := do(c, d)
	if err != nil {
		return c.fail(err)
	}
	if pre > 0 {
		d.fs.putGlfsStat(c.ptr(pre), &r.Pre)
		d.fs.putGlfsStat(c.ptr(post), &r.Post)
	}
	return 0
}

func (c *call) head() fop.Header { return fop.Header{Cred: c.cred} }

func fsync(datasync uint32) change {
	return func(c *call, d *fd) (*fop.AttrReply, error) {
		if d.o.d != nil {
			_, err := fop.Call(c.ctx, d.o.l.vol.Handler(), &fop.Fsyncdir{Header: c.head(), GFID: d.o.gfid, Fd: d.o.d.Fd, Datasync: int32(datasync)})
			return &fop.AttrReply{}, err
		}
		if d.o.f == nil {
			return nil, syscall.EBADF
		}
		return fop.Call(c.ctx, d.o.l.vol.Handler(), &fop.Fsync{Header: c.head(), GFID: d.o.f.Fd.GFID, Fd: d.o.f.Fd, Datasync: datasync})
	}
}

// ranged checks a range of a file that is going to be written.
func (d *fd) ranged(off, size int64) error {
	switch {
	case d.o.f == nil:
		return d.o.notFile()
	case off < 0 || size <= 0 || off > math.MaxInt64-size:
		return syscall.EINVAL
	case !d.o.writable():
		return syscall.EBADF
	}
	d.o.touched.Store(true)
	return nil
}

func ftruncate(size int64) change {
	return func(c *call, d *fd) (*fop.AttrReply, error) {
		if size < 0 || d.o.f == nil || !d.o.writable() {
			return nil, syscall.EINVAL
		}
		d.o.touched.Store(true)
		return fop.Call(c.ctx, d.o.l.vol.Handler(), &fop.Ftruncate{Header: c.head(), GFID: d.o.f.Fd.GFID, Fd: d.o.f.Fd, Offset: uint64(size)})
	}
}

func discard(off, size int64) change {
	return func(c *call, d *fd) (*fop.AttrReply, error) {
		if err := d.ranged(off, size); err != nil {
			return nil, err
		}
		return fop.Call(c.ctx, d.o.l.vol.Handler(), &fop.Discard{Header: c.head(), GFID: d.o.f.Fd.GFID, Fd: d.o.f.Fd, Offset: uint64(off), Size: uint64(size)})
	}
}

func zerofill(off, size int64) change {
	return func(c *call, d *fd) (*fop.AttrReply, error) {
		if err := d.ranged(off, size); err != nil {
			return nil, err
		}
		return fop.Call(c.ctx, d.o.l.vol.Handler(), &fop.Zerofill{Header: c.head(), GFID: d.o.f.Fd.GFID, Fd: d.o.f.Fd, Offset: uint64(off), Size: uint64(size)})
	}
}

func (c *call) glfsFsync() int64     { return c.changing(fsync(0), 1, 2) }
func (c *call) glfsFdatasync() int64 { return c.changing(fsync(1), 1, 2) }
func (c *call) glfsFtruncate() int64 { return c.changing(ftruncate(c.arg(1)), 2, 3) }
func (c *call) glfsDiscard() int64   { return c.changing(discard(c.arg(1), c.arg(2)), 0, 0) }
func (c *call) glfsZerofill() int64  { return c.changing(zerofill(c.arg(1), c.arg(2)), 0, 0) }

func (c *call) glfsFallocate() int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	off, size := c.arg(2), c.arg(3)
	if err := d.ranged(off, size); err != nil {
		return c.fail(err)
	}
	_, err = d.o.f.Allocate(c.ctx, &c.cred, uint64(off), uint64(size), int32(c.arg(1)) != 0)
	return c.done(err)
}

// glfsCopyFileRange copies on the bricks, from and to offsets that are given or
// those of the files.
func (c *call) glfsCopyFileRange() int64 {
	in, err := c.regular(0)
	if err != nil {
		return c.fail(err)
	}
	defer in.o.leave()
	out, err := c.regular(2)
	if err != nil {
		return c.fail(err)
	}
	defer out.o.leave()
	if in.fs != out.fs {
		return c.fail(syscall.EXDEV)
	}
	place := func(d *fd, arg int) int64 {
		if p := (*int64)(c.ptr(arg)); p != nil {
			return *p
		}
		return d.pos.Load()
	}
	from, to, size := place(in, 1), place(out, 3), c.arg(4)
	switch {
	case from < 0 || to < 0 || size < 0 || from > math.MaxInt64-size || to > math.MaxInt64-size || uint32(c.arg(5)) != 0:
		return c.fail(syscall.EINVAL)
	case !in.o.readable() || !out.o.writable() || out.o.flags&fop.OAppend != 0:
		return c.fail(syscall.EBADF)
	case size == 0:
		return 0
	}
	size = min(size, maxIO)
	out.o.touched.Store(true)
	r, err := fop.Call(c.ctx, in.o.l.vol.Handler(), &fop.CopyFileRange{Header: c.head(), GFID: in.o.gfid, Dst: out.o.gfid, Fd: in.o.f.Fd, DstFd: out.o.f.Fd,
		Offset: uint64(from), DstOffset: uint64(to), Size: uint32(size)})
	if err != nil {
		return c.fail(err)
	}
	advance := func(d *fd, arg int, at int64) {
		if p := (*int64)(c.ptr(arg)); p != nil {
			*p = at
		} else {
			d.pos.Store(at)
		}
	}
	advance(in, 1, from+int64(r.Size))
	advance(out, 3, to+int64(r.Size))
	in.fs.putGlfsStat(c.ptr(6), &r.Stat)
	in.fs.putGlfsStat(c.ptr(7), &r.PreDst)
	in.fs.putGlfsStat(c.ptr(8), &r.PostDst)
	return int64(r.Size)
}
