//go:build linux && cgo

package main

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
	"github.com/wythefs/wythe/internal/volume"
)

// fd is a glfs_fd_t: an open file or directory, with an offset of its own.
type fd struct {
	fs     *fsys
	h      handle
	o      *opened
	pos    atomic.Int64
	lk     atomic.Pointer[string] // see glfs_fd_set_lkowner
	closed atomic.Bool
	dir    listing
	recall atomic.Pointer[recall] // of a lease
}

// opened is what bricks know of it; glfs_dup shares it. One that was opened with
// O_PATH bricks do not know: it stands for the object, whether it may be read or
// not, as the descriptors do that smbd opens of everything.
type opened struct {
	l     *live
	gfid  fop.GFID
	flags uint32
	f     *volume.File // of a file
	d     *volume.Dir  // of a directory
	chain []paths.Dir  // of a directory that was found by a path
	// refs counts the fds and the calls under way. The last one releases it.
	refs    atomic.Int64
	touched atomic.Bool // written or locked: a close has something to tell
}

func (o *opened) use() bool {
	for {
		n := o.refs.Load()
		if n == 0 {
			return false
		}
		if o.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (o *opened) leave() {
	if o.refs.Add(-1) > 0 {
		return
	}
	cred := &fop.Cred{}
	switch {
	case o.d != nil:
		o.d.Close(context.Background(), cred)
	case o.f != nil:
		o.f.Release(context.Background(), cred)
	}
}

// readable and writable are what the flags of the open permit.
func (o *opened) readable() bool { return o.flags&fop.OAccmode != fop.OWronly }
func (o *opened) writable() bool { return o.flags&fop.OAccmode != fop.ORdonly }

// notFile is what is said to who wants data of something else.
func (o *opened) notFile() error {
	if o.d != nil {
		return syscall.EISDIR
	}
	return syscall.EBADF
}

// owner is the lock owner that was set.
func (d *fd) owner() string {
	if p := d.lk.Load(); p != nil {
		return *p
	}
	return ""
}

// file finds the glfs_fd_t of argument i. Its o must be left.
func (c *call) file(i int) (*fd, error) {
	d, ok := handles.get(c.arg(i)).(*fd)
	if !ok || !d.o.use() {
		return nil, syscall.EBADF
	}
	return d, nil
}

// regular is file for what only regular files can.
func (c *call) regular(i int) (*fd, error) {
	d, err := c.file(i)
	if err != nil {
		return nil, err
	}
	if d.o.f == nil {
		d.o.leave()
		return nil, d.o.notFile()
	}
	return d, nil
}

// addFd gives out a new handle for o, which is in use once already.
func (c *call) addFd(f *fsys, o *opened) (handle, error) {
	d := &fd{fs: f, o: o}
	o.refs.Store(1)
	return c.registerFd(d)
}

func (c *call) registerFd(d *fd) (handle, error) {
	if d.h = handles.add(d); d.h == 0 {
		d.o.leave()
		return 0, syscall.ENFILE
	}
	if handles.get(d.fs.h) == nil { // glfs_fini may have missed it
		if handles.remove(d.h) != nil {
			d.shut(c.ctx, &c.cred)
		}
		return 0, syscall.EIO
	}
	return d.h, nil
}

func (c *call) glfsClose() int64 {
	if d := c.closing; d != nil {
		return c.done(d.shut(c.ctx, &c.cred))
	}
	d, ok := handles.get(c.arg(0)).(*fd)
	if !ok || handles.remove(c.arg(0)) == nil {
		return c.fail(syscall.EBADF)
	}
	if owner := d.owner(); owner != "" {
		c.setOwner(owner)
	}
	return c.done(d.shut(c.ctx, &c.cred))
}

// shut ends the use of a handle that is not valid any more.
func (d *fd) shut(ctx context.Context, cred *fop.Cred) error {
	d.closed.Store(true)
	var err error
	if d.o.f != nil && d.o.touched.Load() {
		err = d.o.f.Flush(ctx, cred)
	}
	d.o.leave()
	return err
}

func (c *call) glfsDup() int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	h, err := c.registerFd(&fd{fs: d.fs, o: d.o}) // which keeps the use
	if err != nil {
		return c.fail(err)
	}
	return h
}

// oPath is O_PATH.
const oPath = 0o10000000

// openFlags are those of the fop, without what the library does itself.
func openFlags(flags int64) uint32 { return uint32(flags) &^ (fop.OCreate | fop.OExcl) }

func (c *call) glfsOpen() int64 {
	f, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	name, err := c.path(1)
	if err != nil {
		return c.fail(err)
	}
	flags := uint32(c.arg(2))
	var h handle
	err = c.object(l, name, paths.ToTarget, true, func(p paths.Place) (err error) {
		h, err = c.openAt(f, l, &p.Attr, flags, way(p))
		return err
	})
	if err != nil {
		return c.fail(err)
	}
	return h
}

// way is the directories down to the one that p is.
func way(p paths.Place) []paths.Dir {
	if !p.IsDir {
		return nil
	}
	chain := append([]paths.Dir(nil), p.Way...)
	if p.Name != "" {
		chain = append(chain, paths.Dir{GFID: p.GFID, Name: p.Name})
	}
	return chain
}

// openAt opens an object that was looked up.
func (c *call) openAt(f *fsys, l *live, a *fop.Iatt, flags uint32, chain []paths.Dir) (handle, error) {
	switch {
	case a.IsDir() && (flags&fop.OAccmode != fop.ORdonly || flags&fop.OCreate != 0 && flags&fop.ODirectory == 0):
		return 0, syscall.EISDIR
	case a.IsDir():
		h, err := c.opendirAt(f, l, a.GFID, chain)
		if fop.Errno(err) == syscall.EACCES && flags&oPath != 0 {
			return c.addFd(f, &opened{l: l.all, gfid: a.GFID, flags: flags, chain: chain})
		}
		return h, err
	case flags&fop.ODirectory != 0:
		return 0, syscall.ENOTDIR
	case !a.IsRegular():
		return 0, syscall.EINVAL
	case flags&oPath != 0:
		return c.addFd(f, &opened{l: l.all, gfid: a.GFID, flags: flags})
	}
	vf, err := c.openFile(l, a, openFlags(int64(flags)))
	if err != nil {
		return 0, err
	}
	return c.addFd(f, &opened{l: l.all, gfid: a.GFID, flags: flags, f: vf})
}

// openFile opens a file for calls that may wait. An open can be put off until the
// file is used if nobody could refuse it.
func (c *call) openFile(l *live, a *fop.Iatt, flags uint32) (*volume.File, error) {
	sure := c.mayOpen(a, flags)
	switch {
	case c.quick && !sure:
		return nil, errUnknown
	case c.quick:
		vf := l.all.vol.Unopened(&c.cred, a.GFID, flags)
		_, ok, err := l.s.Known(&fop.Open{Header: c.head(), GFID: a.GFID, Flags: flags, Fd: vf.Fd})
		if !ok {
			err = errUnknown
		}
		if err != nil {
			return nil, err
		}
		return vf, nil
	case sure:
		return l.vol.Open(c.ctx, &c.cred, a.GFID, flags)
	}
	return l.vol.OpenNow(c.ctx, &c.cred, a.GFID, flags)
}

// mayOpen reports whether the caller may open a file for sure. Others than root
// and the owner may, too, but only the brick knows.
func (c *call) mayOpen(a *fop.Iatt, flags uint32) bool {
	if c.cred.UID == 0 {
		return true
	}
	need := uint32(0o400)
	switch {
	case flags&fop.OAccmode == fop.ORdwr:
		need = 0o600
	case flags&fop.OAccmode == fop.OWronly:
		need = 0o200
	}
	return c.cred.UID == a.UID && a.Mode&need == need
}

func (c *call) opendirAt(f *fsys, l *live, g fop.GFID, chain []paths.Dir) (handle, error) {
	d, err := l.vol.Opendir(c.ctx, &c.cred, g)
	if err != nil {
		return 0, err
	}
	return c.addFd(f, &opened{l: l.all, gfid: g, d: d, chain: chain})
}

func (c *call) glfsOpendir() int64 {
	f, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	name, err := c.path(1)
	if err != nil {
		return c.fail(err)
	}
	var h handle
	err = c.object(l, name, paths.ToTarget, false, func(p paths.Place) (err error) {
		if !p.IsDir {
			return syscall.ENOTDIR
		}
		h, err = c.opendirAt(f, l, p.GFID, way(p))
		return err
	})
	if err != nil {
		return c.fail(err)
	}
	return h
}

func (c *call) glfsCreat() int64 {
	f, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	name, err := c.path(1)
	if err != nil {
		return c.fail(err)
	}
	flags, mode := uint32(c.arg(2)), uint32(c.arg(3))
	var h handle
	open := func(p paths.Place) (err error) {
		switch {
		case flags&fop.OExcl != 0:
			return syscall.EEXIST
		case p.IsDir:
			return syscall.EISDIR
		case !p.Attr.IsRegular():
			return syscall.EINVAL
		}
		h, err = c.openAt(f, l, &p.Attr, flags, nil)
		return err
	}
	create := func(p paths.Place) error {
		if p.Name == "" {
			return syscall.EEXIST
		}
		vf, a, err := l.vol.Create(c.ctx, &c.cred, p.Dir, p.Name, flags|fop.OExcl, mode&0o7777, 0)
		if err != nil {
			return err
		}
		h, err = c.addFd(f, &opened{l: l.all, gfid: a.GFID, flags: flags, f: vf})
		return err
	}
	w := c.walk(l)
	w.NeedAll = true
	if err := l.names.OpenOrCreate(c.ctx, w, trim(name), open, create); err != nil {
		return c.fail(err)
	}
	return h
}

func (c *call) glfsFdSetLkowner() int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	size := int64(int32(c.arg(2)))
	if size < 1 || size > 255 || c.ptr(1) == nil {
		return c.fail(syscall.EINVAL)
	}
	owner := string(bytes(c.ptr(1), size))
	d.lk.Store(&owner)
	return 0
}

func (c *call) glfsFstat() int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	a, err := c.fgetattr(d)
	if err != nil {
		return c.fail(err)
	}
	d.fs.putStat(c.ptr(1), &a)
	return 0
}

func (c *call) fgetattr(d *fd) (fop.Iatt, error) {
	switch {
	case d.o.d != nil:
		return d.o.d.Getattr(c.ctx, &c.cred)
	case d.o.f != nil:
		return d.o.f.Getattr(c.ctx, &c.cred)
	}
	return d.o.l.vol.Getattr(c.ctx, &c.cred, d.o.gfid)
}

// fsetattr changes attributes of an open file or directory.
func (c *call) fsetattr(valid int32, want fop.Iatt) int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	if valid == 0 {
		return 0
	}
	if d.o.f == nil {
		_, err = d.o.l.vol.Setattr(c.ctx, &c.cred, d.o.gfid, valid, want)
	} else {
		_, err = d.o.f.Setattr(c.ctx, &c.cred, valid, want)
	}
	return c.done(err)
}

func (c *call) glfsFchmod() int64 {
	return c.fsetattr(fop.SetMode, fop.Iatt{Mode: uint32(c.arg(1)) & 0o7777})
}

func (c *call) glfsFchown() int64 {
	return c.fsetattr(owner(c.arg(1), c.arg(2)))
}

func (c *call) glfsFutimens() int64 {
	valid, want, ok := times(c.ptr(1))
	if !ok {
		return c.fail(syscall.EINVAL)
	}
	return c.fsetattr(valid, want)
}

func (c *call) glfsFsetattr() int64 {
	if c.ptr(1) == nil {
		return c.fail(syscall.EINVAL)
	}
	return c.fsetattr(wanted(c.ptr(1)))
}

// owner is what chown asks for; -1 leaves an id as it is.
func owner(uid, gid int64) (valid int32, want fop.Iatt) {
	if uint32(uid) != ^uint32(0) {
		valid, want.UID = valid|fop.SetUID, uint32(uid)
	}
	if uint32(gid) != ^uint32(0) {
		valid, want.GID = valid|fop.SetGID, uint32(gid)
	}
	return valid, want
}

func (c *call) glfsFchdir() int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	chain := d.o.chain
	if d.o.d == nil && chain == nil {
		return c.fail(syscall.ENOTDIR)
	}
	if chain == nil {
		if chain, err = c.chainOf(d.o.l, d.o.gfid); err != nil {
			return c.fail(err)
		}
	}
	d.o.l.cwd.Store(&chain)
	return 0
}
