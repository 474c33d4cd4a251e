//go:build linux && cgo

package main

import (
	"strings"
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
)

// object is a glfs_object_t: an object by its gfid.
type object struct {
	fs     *fsys
	gfid   fop.GFID
	mode   uint32   // its type never changes
	parent fop.GFID // the directory that it was found in, zero if unknown
}

func (o *object) typ() uint32 { return o.mode & fop.ModeFmt }
func (o *object) isDir() bool { return o.typ() == fop.ModeDir }

// objectArg finds the glfs_object_t of argument i.
func (c *call) objectArg(i int) (*object, error) {
	if o, ok := handles.get(c.arg(i)).(*object); ok {
		return o, nil
	}
	return nil, syscall.EINVAL
}

// give a new object for what was looked up or made, and its attributes.
func (c *call) newObject(f *fsys, a *fop.Iatt, parent fop.GFID, stat unsafe.Pointer) int64 {
	h := handles.add(&object{fs: f, gfid: a.GFID, mode: a.Mode, parent: parent})
	if h == 0 {
		return c.fail(syscall.ENFILE)
	}
	f.putStat(stat, a)
	return h
}

// by is for functions of a volume and an object.
func (c *call) by(f func(*fsys, *live, *object) error) int64 {
	fs, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	o, err := c.objectArg(1)
	if err != nil {
		return c.fail(err)
	}
	if o.fs != fs {
		return c.fail(syscall.EINVAL)
	}
	err = f(fs, l, o)
	if fop.Errno(err) == syscall.ENOENT { // it had no name that could be missing
		err = syscall.ESTALE
	}
	return c.done(err)
}

// under is for functions that make or remove a name, argument 2, in a directory.
func (c *call) under(f func(fs *fsys, l *live, dir *object, name string) error) int64 {
	fs, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	dir, err := c.objectArg(1)
	if err != nil {
		return c.fail(err)
	}
	name, err := c.name(2)
	if err == nil && dir.fs != fs {
		err = syscall.EINVAL
	}
	if err != nil {
		return c.fail(err)
	}
	return c.done(f(fs, l, dir, name))
}

// name reads argument i, a name without a path.
func (c *call) name(i int) (string, error) {
	name, err := c.path(i)
	switch {
	case err != nil:
		return "", err
	case name == "." || name == ".." || strings.Contains(name, "/"):
		return "", syscall.EINVAL
	}
	return name, nil
}

func (c *call) glfsHClose() int64 {
	if _, ok := handles.get(c.arg(0)).(*object); !ok || handles.remove(c.arg(0)) == nil {
		return c.fail(syscall.EINVAL)
	}
	return 0
}

func (c *call) glfsObjectCopy() int64 {
	o, err := c.objectArg(0)
	if err != nil {
		return c.fail(err)
	}
	same := *o
	h := handles.add(&same)
	if h == 0 {
		return c.fail(syscall.ENFILE)
	}
	return h
}

func (c *call) glfsHExtractHandle() int64 {
	o, err := c.objectArg(0)
	if err != nil {
		return c.fail(err)
	}
	size := int64(int32(c.arg(2)))
	if c.ptr(1) == nil || size == 0 {
		return int64(len(o.gfid))
	}
	if size < int64(len(o.gfid)) {
		return c.fail(syscall.ERANGE)
	}
	return int64(copy(bytes(c.ptr(1), size), o.gfid[:]))
}

func (c *call) glfsHCreateFromHandle() int64 {
	f, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	var g fop.GFID
	if c.ptr(1) == nil || int64(int32(c.arg(2))) != int64(len(g)) {
		return c.fail(syscall.EINVAL)
	}
	if copy(g[:], bytes(c.ptr(1), int64(len(g)))); g.IsZero() {
		return c.fail(syscall.EINVAL)
	}
	a, err := l.vol.LookupGFID(c.ctx, &c.cred, g)
	if err != nil {
		if fop.Errno(err) == syscall.ESTALE {
			err = syscall.ENOENT
		}
		return c.fail(err)
	}
	return c.newObject(f, &a, fop.GFID{}, c.ptr(3))
}

// chainOf finds the directories from the root to the directory g.
func (c *call) chainOf(l *live, g fop.GFID) ([]paths.Dir, error) {
	root := []paths.Dir{{GFID: fop.RootGFID}}
	if g.IsRoot() {
		return root, nil
	}
	val, err := l.vol.Getxattr(c.ctx, &c.cred, g, "glusterfs.ancestry.path")
	if err != nil {
		return nil, err
	}
	var chain []paths.Dir
	name := "/" + strings.Trim(strings.TrimRight(string(val), "\x00"), "/")
	w := c.walk(l)
	err = l.names.At(c.ctx, w, name, paths.ToLink, func(p paths.Place) error {
		if !p.Found || p.GFID != g {
			return syscall.ESTALE // renamed meanwhile
		}
		chain = way(p)
		return nil
	})
	return chain, err
}

func (c *call) glfsHLookupat() int64 {
	f, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	name, err := c.path(2)
	if err != nil {
		return c.fail(err)
	}
	follow := c.arg(4) != 0 && !c.old
	w := c.walk(l)
	w.NeedAll = true
	w.From = nil
	if c.arg(1) != 0 {
		dir, err := c.objectArg(1)
		switch {
		case err != nil:
			return c.fail(err)
		case dir.fs != f:
			return c.fail(syscall.EINVAL)
		case !dir.isDir():
			return c.fail(syscall.ENOTDIR)
		}
		w.From = []paths.Dir{{GFID: dir.gfid}}
		if !dir.gfid.IsRoot() && (follow || strings.Contains(name, "..")) {
			if w.From, err = c.chainOf(l, dir.gfid); err != nil {
				return c.fail(err)
			}
		}
	}
	to := paths.ToLink
	if follow {
		to = paths.ToTarget
	}
	var h int64
	err = l.names.At(c.ctx, w, trim(name), to, func(p paths.Place) error {
		if !p.Found {
			return syscall.ENOENT
		}
		parent := p.Dir
		if p.Name == "" {
			parent = fop.GFID{}
		}
		h = c.newObject(f, &p.Attr, parent, c.ptr(3))
		return nil
	})
	if err != nil {
		return c.fail(err)
	}
	return h
}

// make is under for what makes objects; stat is the number of the argument that
// gets the attributes.
func (c *call) make(stat int, f func(l *live, dir fop.GFID, name string) (fop.Iatt, error)) int64 {
	h := int64(0)
	ret := c.under(func(fs *fsys, l *live, dir *object, name string) error {
		a, err := f(l, dir.gfid, name)
		if err == nil {
			if h = c.newObject(fs, &a, dir.gfid, c.ptr(stat)); h < 0 {
				err = c.err
			}
		}
		return err
	})
	if ret < 0 {
		return ret
	}
	return h
}

func (c *call) glfsHMkdir() int64 {
	return c.make(4, func(l *live, dir fop.GFID, name string) (fop.Iatt, error) {
		return l.vol.Mkdir(c.ctx, &c.cred, dir, name, uint32(c.arg(3))&0o7777, 0)
	})
}

func (c *call) glfsHMknod() int64 {
	mode := uint32(c.arg(3))
	if !nodeType(mode) {
		return c.fail(syscall.EINVAL)
	}
	return c.make(5, func(l *live, dir fop.GFID, name string) (fop.Iatt, error) {
		return l.vol.Mknod(c.ctx, &c.cred, dir, name, mode, 0, uint64(c.arg(4)))
	})
}

func (c *call) glfsHSymlink() int64 {
	target, err := c.path(3)
	if err != nil {
		return c.fail(err)
	}
	return c.make(4, func(l *live, dir fop.GFID, name string) (fop.Iatt, error) {
		return l.vol.Symlink(c.ctx, &c.cred, dir, name, target)
	})
}

func (c *call) glfsHCreat() int64 {
	return c.make(5, func(l *live, dir fop.GFID, name string) (fop.Iatt, error) {
		f, a, err := l.vol.Create(c.ctx, &c.cred, dir, name, uint32(c.arg(3))|fop.OExcl, uint32(c.arg(4))&0o7777, 0)
		if err == nil {
			f.Release(c.ctx, &c.cred)
		}
		return a, err
	})
}

func (c *call) glfsHCreatOpen() int64 {
	out := (*int64)(c.ptr(6))
	if out == nil {
		return c.fail(syscall.EINVAL)
	}
	flags := uint32(c.arg(3))
	var fs *fsys
	if f, err := c.fs(0); err == nil {
		fs = f
	}
	fdh := handle(0)
	ret := c.make(5, func(l *live, dir fop.GFID, name string) (fop.Iatt, error) {
		f, a, err := l.vol.Create(c.ctx, &c.cred, dir, name, flags|fop.OExcl, uint32(c.arg(4))&0o7777, 0)
		if err != nil {
			return a, err
		}
		fdh, err = c.addFd(fs, &opened{l: l.all, gfid: a.GFID, flags: flags, f: f})
		return a, err
	})
	if ret < 0 {
		if d, ok := handles.remove(fdh).(*fd); ok {
			d.shut(c.ctx, &c.cred)
		}
		return ret
	}
	*out = fdh
	return ret
}

func (c *call) glfsHUnlink() int64 {
	return c.under(func(_ *fsys, l *live, dir *object, name string) error {
		err := l.vol.Unlink(c.ctx, &c.cred, dir.gfid, name)
		if e := fop.Errno(err); e == syscall.EISDIR || e == syscall.EPERM {
			if e := l.vol.Rmdir(c.ctx, &c.cred, dir.gfid, name); fop.Errno(e) != syscall.ENOTDIR {
				err = e
			}
		}
		l.names.Cache.Drop(dir.gfid, name)
		return err
	})
}

func (c *call) glfsHLink() int64 {
	return c.by(func(f *fsys, l *live, o *object) error {
		dir, err := c.objectArg(2)
		if err != nil {
			return err
		}
		name, err := c.name(3)
		switch {
		case err != nil:
			return err
		case dir.fs != f:
			return syscall.EINVAL
		case o.isDir():
			return syscall.EISDIR
		}
		_, err = l.vol.Link(c.ctx, &c.cred, o.gfid, dir.gfid, name)
		return err
	})
}

func (c *call) glfsHRename() int64 {
	return c.under(func(f *fsys, l *live, from *object, oldName string) error {
		to, err := c.objectArg(3)
		if err != nil {
			return err
		}
		newName, err := c.name(4)
		if err == nil && to.fs != f {
			err = syscall.EINVAL
		}
		if err != nil {
			return err
		}
		_, err = l.vol.Rename(c.ctx, &c.cred, from.gfid, oldName, to.gfid, newName)
		l.names.Cache.Drop(from.gfid, oldName)
		l.names.Cache.Drop(to.gfid, newName)
		if e := fop.Errno(err); e == syscall.EISDIR || e == syscall.ENOTDIR && from.isDir() && to.isDir() {
			err = syscall.EEXIST // one is a directory and the other is not
		}
		return err
	})
}

func (c *call) glfsHStat() int64 {
	return c.by(func(f *fsys, l *live, o *object) error {
		a, err := l.vol.Getattr(c.ctx, &c.cred, o.gfid)
		if err == nil {
			f.putStat(c.ptr(2), &a)
		}
		return err
	})
}

func (c *call) glfsHGetattrs() int64 {
	return c.by(func(f *fsys, l *live, o *object) error {
		a, err := l.vol.LookupGFID(c.ctx, &c.cred, o.gfid)
		if err == nil {
			f.putStat(c.ptr(2), &a)
		}
		return err
	})
}

func (c *call) glfsHSetattrs() int64 {
	if c.ptr(2) == nil {
		return c.fail(syscall.EINVAL)
	}
	valid, want := wantedStat(c.ptr(2), c.arg(3))
	return c.by(func(_ *fsys, l *live, o *object) error {
		if valid == 0 {
			return nil
		}
		_, err := l.vol.Setattr(c.ctx, &c.cred, o.gfid, valid, want)
		return err
	})
}

func (c *call) glfsHTruncate() int64 {
	size := c.arg(2)
	if size < 0 {
		return c.fail(syscall.EINVAL)
	}
	return c.by(func(_ *fsys, l *live, o *object) error {
		if o.isDir() {
			return syscall.EISDIR
		}
		_, err := l.vol.Truncate(c.ctx, &c.cred, o.gfid, uint64(size))
		return err
	})
}

func (c *call) glfsHAccess() int64 {
	mode := uint32(c.arg(2))
	if mode > 7 {
		return c.fail(syscall.EINVAL)
	}
	return c.by(func(_ *fsys, l *live, o *object) error { return c.access(l, o.gfid, mode) })
}

func (c *call) glfsHReadlink() int64 {
	n := int64(0)
	ret := c.by(func(_ *fsys, l *live, o *object) (err error) {
		n, err = c.readlink(l, &fop.Iatt{GFID: o.gfid, Mode: o.mode}, c.ptr(2), c.arg(3))
		return err
	})
	if ret < 0 {
		return ret
	}
	return n
}

func (c *call) glfsHStatfs() int64 {
	if c.ptr(2) == nil {
		return c.fail(syscall.EINVAL)
	}
	return c.by(func(_ *fsys, l *live, o *object) error { return c.statfs(l, o.gfid, c.ptr(2)) })
}

func (c *call) glfsHGetxattrs() int64 {
	name, ok := text(c.ptr(2))
	if len(name) > 255 {
		return c.fail(syscall.ENAMETOOLONG)
	}
	var val []byte
	ret := c.by(func(_ *fsys, l *live, o *object) (err error) {
		if ok && name != "" {
			g, err := c.ofACL(l, o, name)
			if err == nil {
				val, err = l.vol.Getxattr(c.ctx, &c.cred, g, name)
			}
			return err
		}
		names, err := l.vol.Listxattr(c.ctx, &c.cred, o.gfid)
		val = list(names)
		return err
	})
	if ret < 0 {
		return ret
	}
	return c.give(val, c.ptr(3), c.arg(4))
}

func (c *call) glfsHSetxattrs() int64 {
	name, err := c.xattrName(2)
	if err != nil {
		return c.fail(err)
	}
	val, err := value(c.ptr(3), c.arg(4))
	if err == nil && c.ptr(3) == nil {
		err = syscall.EINVAL
	}
	if err != nil {
		return c.fail(err)
	}
	return c.by(func(_ *fsys, l *live, o *object) error {
		g, err := c.ofACL(l, o, name)
		if err != nil {
			return err
		}
		return l.vol.Setxattr(c.ctx, &c.cred, g, name, val, uint32(c.arg(5)))
	})
}

// ofACL is the object whose attribute is meant: of a symbolic link, which has no
// ACL, what it leads to.
func (c *call) ofACL(l *live, o *object, name string) (fop.GFID, error) {
	if o.typ() != fop.ModeSymlink || name != "glusterfs.posix.acl" && name != "glusterfs.posix.default_acl" {
		return o.gfid, nil
	}
	target, err := l.vol.Readlink(c.ctx, &c.cred, o.gfid)
	if err != nil {
		return o.gfid, err
	}
	w := c.walk(l)
	if !strings.HasPrefix(target, "/") {
		if o.parent.IsZero() {
			return o.gfid, syscall.EINVAL // nobody knows where it begins
		}
		if w.From, err = c.chainOf(l, o.parent); err != nil {
			return o.gfid, err
		}
	}
	g := o.gfid
	err = l.names.At(c.ctx, w, target, paths.ToTarget, func(p paths.Place) error {
		if !p.Found {
			return syscall.ENOENT
		}
		g = p.GFID
		return nil
	})
	return g, err
}

func (c *call) glfsHRemovexattrs() int64 {
	name, err := c.xattrName(2)
	if err != nil {
		return c.fail(err)
	}
	return c.by(func(_ *fsys, l *live, o *object) error { return l.vol.Removexattr(c.ctx, &c.cred, o.gfid, name) })
}

func (c *call) glfsHOpen() int64 {
	flags := uint32(c.arg(2))
	h := handle(0)
	ret := c.by(func(f *fsys, l *live, o *object) (err error) {
		switch o.typ() {
		case fop.ModeDir:
			return syscall.EISDIR
		case fop.ModeRegular:
		default:
			return syscall.EINVAL
		}
		h, err = c.openAt(f, l, &fop.Iatt{GFID: o.gfid, Mode: o.mode}, flags&^fop.OCreate, nil)
		return err
	})
	if ret < 0 {
		return ret
	}
	return h
}

func (c *call) glfsHOpendir() int64 {
	h := handle(0)
	ret := c.by(func(f *fsys, l *live, o *object) (err error) {
		if !o.isDir() {
			return syscall.ENOTDIR
		}
		h, err = c.opendirAt(f, l, o.gfid, nil)
		return err
	})
	if ret < 0 {
		return ret
	}
	return h
}

// anonymous reads or writes a file that is not open. At most maxAnonymous bytes
// go at once: callers ask again for the rest.
func (c *call) anonymous(do func(h fop.Handler, o *object, buf []byte, off uint64) (int, error)) int64 {
	const maxAnonymous = 1 << 20
	size, off := c.arg(3), c.arg(4)
	if size < 0 || off < 0 || c.ptr(2) == nil && size > 0 {
		return c.fail(syscall.EINVAL)
	}
	n := 0
	ret := c.by(func(_ *fsys, l *live, o *object) (err error) {
		switch o.typ() {
		case fop.ModeDir:
			return syscall.EISDIR
		case fop.ModeRegular:
		default:
			return syscall.EINVAL
		}
		buf := bytes(c.ptr(2), size)
		for n < len(buf) {
			m, err := do(l.vol.Handler(), o, buf[n:min(len(buf), n+maxAnonymous)], uint64(off)+uint64(n))
			if err != nil && n == 0 {
				return err
			}
			if n += m; m == 0 || err != nil {
				break
			}
		}
		return nil
	})
	if ret < 0 {
		return ret
	}
	return int64(n)
}

func (c *call) glfsHAnonymousRead() int64 {
	return c.anonymous(func(h fop.Handler, o *object, buf []byte, off uint64) (int, error) {
		r, err := fop.Call(c.ctx, h, &fop.Read{Header: c.head(), GFID: o.gfid, Offset: off, Size: uint32(len(buf))})
		if err != nil {
			return 0, err
		}
		return copy(buf, r.Data), nil
	})
}

func (c *call) glfsHAnonymousWrite() int64 {
	return c.anonymous(func(h fop.Handler, o *object, buf []byte, off uint64) (int, error) {
		r, err := fop.Call(c.ctx, h, &fop.Write{Header: c.head(), GFID: o.gfid, Offset: off, Data: buf})
		if err != nil {
			return 0, err
		}
		return min(int(r.Size), len(buf)), nil
	})
}
