//go:build linux && cgo

package main

import (
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
)

// xattrName reads the name of an attribute, argument i.
func (c *call) xattrName(i int) (string, error) {
	name, ok := text(c.ptr(i))
	switch {
	case !ok || name == "":
		return "", syscall.EINVAL
	case len(name) > 255:
		return "", syscall.ENAMETOOLONG
	}
	return name, nil
}

// give copies a value to the caller's buffer; with none it tells the length.
func (c *call) give(val []byte, buf unsafe.Pointer, size int64) int64 {
	switch {
	case size < 0:
		return c.fail(syscall.EINVAL)
	case buf == nil || size == 0:
		return int64(len(val))
	case size < int64(len(val)):
		return c.fail(syscall.ERANGE)
	}
	return int64(copy(bytes(buf, size), val))
}

// list joins names, a NUL behind each.
func list(names []string) []byte {
	var b []byte
	for _, n := range names {
		b = append(append(b, n...), 0)
	}
	return b
}

func (c *call) getxattr(to paths.Aim) int64 {
	name, err := c.xattrName(2)
	if err != nil {
		return c.fail(err)
	}
	var val []byte
	ret := c.at(to, false, func(_ *fsys, l *live, p paths.Place) (err error) {
		val, err = l.vol.Getxattr(c.ctx, &c.cred, p.GFID, name)
		return err
	})
	if ret < 0 {
		return ret
	}
	return c.give(val, c.ptr(3), c.arg(4))
}

func (c *call) glfsGetxattr() int64  { return c.getxattr(paths.ToTarget) }
func (c *call) glfsLgetxattr() int64 { return c.getxattr(paths.ToLink) }

func (c *call) listxattr(to paths.Aim) int64 {
	var names []string
	ret := c.at(to, false, func(_ *fsys, l *live, p paths.Place) (err error) {
		names, err = l.vol.Listxattr(c.ctx, &c.cred, p.GFID)
		return err
	})
	if ret < 0 {
		return ret
	}
	return c.give(list(names), c.ptr(2), c.arg(3))
}

func (c *call) glfsListxattr() int64  { return c.listxattr(paths.ToTarget) }
func (c *call) glfsLlistxattr() int64 { return c.listxattr(paths.ToLink) }

// value reads what an attribute is to be set to.
func value(buf unsafe.Pointer, size int64) ([]byte, error) {
	const maxValue = 64 << 20
	if size < 0 || size > maxValue || buf == nil && size > 0 {
		return nil, syscall.EINVAL
	}
	return append([]byte{}, bytes(buf, size)...), nil
}

func (c *call) setxattr(to paths.Aim) int64 {
	name, err := c.xattrName(2)
	if err != nil {
		return c.fail(err)
	}
	val, err := value(c.ptr(3), c.arg(4))
	if err != nil {
		return c.fail(err)
	}
	return c.at(to, false, func(_ *fsys, l *live, p paths.Place) error {
		return l.vol.Setxattr(c.ctx, &c.cred, p.GFID, name, val, uint32(c.arg(5)))
	})
}

func (c *call) glfsSetxattr() int64  { return c.setxattr(paths.ToTarget) }
func (c *call) glfsLsetxattr() int64 { return c.setxattr(paths.ToLink) }

func (c *call) removexattr(to paths.Aim) int64 {
	name, err := c.xattrName(2)
	if err != nil {
		return c.fail(err)
	}
	return c.at(to, false, func(_ *fsys, l *live, p paths.Place) error {
		return l.vol.Removexattr(c.ctx, &c.cred, p.GFID, name)
	})
}

func (c *call) glfsRemovexattr() int64  { return c.removexattr(paths.ToTarget) }
func (c *call) glfsLremovexattr() int64 { return c.removexattr(paths.ToLink) }

func (c *call) glfsFgetxattr() int64 {
	name, err := c.xattrName(1)
	if err != nil {
		return c.fail(err)
	}
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	var val []byte
	if d.o.f == nil {
		val, err = d.o.l.vol.Getxattr(c.ctx, &c.cred, d.o.gfid, name)
	} else {
		val, err = d.o.f.Getxattr(c.ctx, &c.cred, name)
	}
	if err != nil {
		return c.fail(err)
	}
	return c.give(val, c.ptr(2), c.arg(3))
}

func (c *call) glfsFlistxattr() int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	names, err := d.o.l.vol.Listxattr(c.ctx, &c.cred, d.o.gfid)
	if err != nil {
		return c.fail(err)
	}
	return c.give(list(names), c.ptr(1), c.arg(2))
}

func (c *call) glfsFsetxattr() int64 {
	name, err := c.xattrName(1)
	if err != nil {
		return c.fail(err)
	}
	val, err := value(c.ptr(2), c.arg(3))
	if err != nil {
		return c.fail(err)
	}
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	if d.o.f == nil {
		err = d.o.l.vol.Setxattr(c.ctx, &c.cred, d.o.gfid, name, val, uint32(c.arg(4)))
	} else {
		err = d.o.f.Setxattr(c.ctx, &c.cred, name, val, uint32(c.arg(4)))
	}
	return c.done(err)
}

func (c *call) glfsFremovexattr() int64 {
	name, err := c.xattrName(1)
	if err != nil {
		return c.fail(err)
	}
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	if d.o.f == nil {
		err = d.o.l.vol.Removexattr(c.ctx, &c.cred, d.o.gfid, name)
	} else {
		err = d.o.f.Removexattr(c.ctx, &c.cred, name)
	}
	return c.done(err)
}

// Locks.

// keyLockMode asks for a mandatory lock (GlusterFS 10.3, features/locks).
const keyLockMode = "glusterfs.lk.lkmode"

func (c *call) glfsPosixLock() int64 { return c.lock(0) }
func (c *call) glfsFileLock() int64 {
	mode := c.arg(3)
	if mode != 0 && mode != 1 {
		return c.fail(syscall.EINVAL)
	}
	return c.lock(uint32(mode))
}

func (c *call) lock(mandatory uint32) int64 {
	d, err := c.regular(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	p := c.ptr(2)
	if p == nil {
		return c.fail(syscall.EINVAL)
	}
	l := readFlock(p)
	req := &fop.Lk{GFID: d.o.gfid, Fd: d.o.f.Fd}
	switch int32(c.arg(1)) {
	case getLock:
		req.Cmd = fop.LkGet
	case setLock:
		req.Cmd = fop.LkSet
	case setLockWait:
		req.Cmd = fop.LkSetWait
	default:
		return c.fail(syscall.EINVAL)
	}
	switch l.typ {
	case readLock:
		req.Type = fop.LockRead
	case writeLock:
		req.Type = fop.LockWrite
	case noLock:
		req.Type = fop.LockUnlock
	default:
		return c.fail(syscall.EINVAL)
	}
	start, size, err := c.lockRange(d, l)
	if err != nil {
		return c.fail(err)
	}
	if owner := d.owner(); owner != "" {
		c.setOwner(owner)
	}
	req.Header = c.head()
	if mandatory != 0 {
		req.XData = fop.NewDict(fop.Pair{Key: keyLockMode, Val: fop.Uint(uint64(mandatory))})
	}
	req.Flock = fop.Flock{Type: req.Type, Start: uint64(start), Len: uint64(size), PID: uint32(c.cred.PID), Owner: c.cred.Owner}
	if req.Cmd != fop.LkGet {
		d.o.touched.Store(true)
	}
	r, err := fop.Call(c.ctx, d.o.l.vol.Handler(), req)
	if err != nil {
		return c.fail(err)
	}
	got := flock{start: int64(r.Flock.Start), size: int64(r.Flock.Len), pid: int32(r.Flock.PID)}
	switch r.Flock.Type {
	case fop.LockRead:
		got.typ = readLock
	case fop.LockWrite:
		got.typ = writeLock
	default:
		got.typ = noLock
	}
	writeFlock(p, got)
	return 0
}

// lockRange makes a range from the beginning of the file of what a struct flock
// says.
func (c *call) lockRange(d *fd, l flock) (start, size int64, err error) {
	start, size = l.start, l.size
	switch l.whence {
	case 0:
	case 1:
		start += d.pos.Load()
	case 2:
		a, err := c.fgetattr(d)
		if err != nil {
			return 0, 0, err
		}
		start += int64(a.Size)
	default:
		return 0, 0, syscall.EINVAL
	}
	if size < 0 {
		start, size = start+size, -size
	}
	if start < 0 || size < 0 || start+size < 0 {
		return 0, 0, syscall.EINVAL
	}
	return start, size, nil
}
