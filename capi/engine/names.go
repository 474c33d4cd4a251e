//go:build linux && cgo

package main

import (
	"strings"
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
)

// walk says how paths are followed: from the working directory.
func (c *call) walk(l *live) *paths.Walk {
	return &paths.Walk{Cred: &c.cred, CredID: c.id, Root: fop.RootGFID, From: *l.cwd.Load(), Links: maxLinks}
}

// trim takes the slashes off the end of a path: they mean nothing here.
func trim(name string) string {
	if name[len(name)-1] != '/' {
		return name
	}
	if name = strings.TrimRight(name, "/"); name == "" {
		return "/"
	}
	return name
}

// object walks to what must exist and does f there, perhaps twice.
func (c *call) object(l *live, name string, to paths.Aim, needAll bool, f func(paths.Place) error) error {
	w := c.walk(l)
	w.NeedAll = needAll
	return l.names.At(c.ctx, w, trim(name), to, func(p paths.Place) error {
		if !p.Found {
			return syscall.ENOENT
		}
		return f(p)
	})
}

// at is for functions of one path, argument 1, to what must exist.
func (c *call) at(to paths.Aim, needAll bool, f func(*fsys, *live, paths.Place) error) int64 {
	fs, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	name, err := c.path(1)
	if err != nil {
		return c.fail(err)
	}
	return c.done(c.object(l, name, to, needAll, func(p paths.Place) error { return f(fs, l, p) }))
}

// entryAt walks to a name, argument arg, that is to be made, moved or removed,
// and does f there, perhaps twice. For the root, or a path that ends in "." or
// "..", the name is empty.
func (c *call) entryAt(l *live, arg int, f func(paths.Place) error) error {
	name, err := c.path(arg)
	if err != nil {
		return err
	}
	return l.names.At(c.ctx, c.walk(l), trim(name), paths.ToParent, f)
}

// newEntry is for functions that make what argument arg names.
func (c *call) newEntry(arg int, f func(*live, paths.Place) error) int64 {
	_, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	return c.done(c.entryAt(l, arg, func(p paths.Place) error {
		if p.Name == "" {
			return syscall.EEXIST
		}
		return f(l, p)
	}))
}

func (c *call) glfsMkdir() int64 {
	return c.newEntry(1, func(l *live, p paths.Place) error {
		epoch := l.names.Cache.Epoch()
		a, err := l.vol.Mkdir(c.ctx, &c.cred, p.Dir, p.Name, uint32(c.arg(2))&0o7777, 0)
		if err == nil {
			l.names.Cache.Put(p.Dir, p.Name, c.id, epoch, paths.Entry{GFID: a.GFID})
			l.names.Cache.IsEmpty(a.GFID)
		}
		return err
	})
}

func (c *call) glfsMknod() int64 {
	mode := uint32(c.arg(2))
	if !nodeType(mode) {
		return c.fail(syscall.EINVAL)
	}
	return c.newEntry(1, func(l *live, p paths.Place) error {
		_, err := l.vol.Mknod(c.ctx, &c.cred, p.Dir, p.Name, mode, 0, uint64(c.arg(3)))
		return err
	})
}

// nodeType reports whether mknod makes objects of this type.
func nodeType(mode uint32) bool {
	switch mode & fop.ModeFmt {
	case fop.ModeRegular, fop.ModeFIFO, fop.ModeSocket, fop.ModeBlock, fop.ModeChar:
		return true
	}
	return false
}

func (c *call) glfsSymlink() int64 {
	target, err := c.path(1)
	if err != nil {
		return c.fail(err)
	}
	return c.newEntry(2, func(l *live, p paths.Place) error {
		_, err := l.vol.Symlink(c.ctx, &c.cred, p.Dir, p.Name, target)
		return err
	})
}

func (c *call) glfsLink() int64 {
	return c.at(paths.ToLink, true, func(_ *fsys, l *live, old paths.Place) error {
		if old.IsDir {
			return syscall.EISDIR
		}
		return c.entryAt(l, 2, func(p paths.Place) error {
			if p.Name == "" {
				return syscall.EEXIST
			}
			_, err := l.vol.Link(c.ctx, &c.cred, old.GFID, p.Dir, p.Name)
			return err
		})
	})
}

func (c *call) glfsUnlink() int64 {
	_, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	return c.done(c.entryAt(l, 1, func(p paths.Place) error {
		if p.Name == "" {
			return syscall.EISDIR
		}
		err := l.vol.Unlink(c.ctx, &c.cred, p.Dir, p.Name)
		l.names.Cache.Drop(p.Dir, p.Name)
		if fop.Errno(err) == syscall.EPERM { // what some systems say of a directory
			if a, e := l.vol.Lookup(c.ctx, &c.cred, p.Dir, p.Name); e == nil && a.IsDir() {
				err = syscall.EISDIR
			}
		}
		return err
	}))
}

func (c *call) glfsRmdir() int64 {
	_, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	return c.done(c.entryAt(l, 1, func(p paths.Place) error {
		if p.Name == "" {
			if p.Dir.IsRoot() {
				return syscall.EBUSY
			}
			return syscall.EINVAL
		}
		err := l.vol.Rmdir(c.ctx, &c.cred, p.Dir, p.Name)
		l.names.Cache.Drop(p.Dir, p.Name)
		return err
	}))
}

func (c *call) glfsRename() int64 {
	_, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	return c.done(c.entryAt(l, 1, func(old paths.Place) error {
		return c.entryAt(l, 2, func(p paths.Place) error {
			if old.Name == "" || p.Name == "" {
				return syscall.EBUSY
			}
			_, err := l.vol.Rename(c.ctx, &c.cred, old.Dir, old.Name, p.Dir, p.Name)
			l.names.Cache.Drop(old.Dir, old.Name)
			l.names.Cache.Drop(p.Dir, p.Name)
			if fop.Errno(err) == syscall.ENOTDIR { // a directory onto something else
				err = syscall.EISDIR
			}
			return err
		})
	}))
}

func (c *call) glfsReadlink() int64 {
	n := int64(0)
	ret := c.at(paths.ToLink, true, func(_ *fsys, l *live, p paths.Place) (err error) {
		n, err = c.readlink(l, &p.Attr, c.ptr(2), c.arg(3))
		return err
	})
	if ret < 0 {
		return ret
	}
	return n
}

func (c *call) readlink(l *live, a *fop.Iatt, buf unsafe.Pointer, size int64) (int64, error) {
	if !a.IsSymlink() || buf == nil || size < 0 {
		return 0, syscall.EINVAL
	}
	target, err := l.vol.Readlink(c.ctx, &c.cred, a.GFID)
	if err != nil {
		return 0, err
	}
	return int64(copy(bytes(buf, size), target)), nil
}

func (c *call) stat(to paths.Aim) int64 {
	return c.at(to, true, func(f *fsys, _ *live, p paths.Place) error {
		f.putStat(c.ptr(2), &p.Attr)
		return nil
	})
}

func (c *call) glfsStat() int64  { return c.stat(paths.ToTarget) }
func (c *call) glfsLstat() int64 { return c.stat(paths.ToLink) }

func (c *call) glfsStatx() int64 {
	mask := uint32(c.arg(2))
	const all = 0xfff // GLFS_STAT_ALL
	if mask&^all != 0 || c.ptr(3) == nil {
		return c.fail(syscall.EINVAL)
	}
	return c.at(paths.ToTarget, true, func(f *fsys, _ *live, p paths.Place) error {
		f.putGlfsStat(c.ptr(3), &p.Attr)
		return nil
	})
}

func (c *call) glfsAccess() int64 {
	mode := uint32(c.arg(2))
	if mode > 7 {
		return c.fail(syscall.EINVAL)
	}
	return c.at(paths.ToTarget, false, func(_ *fsys, l *live, p paths.Place) error {
		return c.access(l, p.GFID, mode)
	})
}

func (c *call) access(l *live, g fop.GFID, mode uint32) error {
	return l.vol.Access(c.ctx, &c.cred, g, mode)
}

// setattr changes attributes of what argument 1 leads to.
func (c *call) setattr(to paths.Aim, valid int32, want fop.Iatt) int64 {
	return c.at(to, false, func(_ *fsys, l *live, p paths.Place) error {
		if valid == 0 {
			return nil
		}
		_, err := l.vol.Setattr(c.ctx, &c.cred, p.GFID, valid, want)
		return err
	})
}

func (c *call) glfsChmod() int64 {
	return c.setattr(paths.ToTarget, fop.SetMode, fop.Iatt{Mode: uint32(c.arg(2)) & 0o7777})
}

// chown that changes nothing does not even look whether there is something.
func (c *call) chown(to paths.Aim) int64 {
	valid, want := owner(c.arg(2), c.arg(3))
	if valid == 0 {
		if _, _, err := c.mounted(); err != nil {
			return c.fail(err)
		}
		return 0
	}
	return c.setattr(to, valid, want)
}

func (c *call) glfsChown() int64  { return c.chown(paths.ToTarget) }
func (c *call) glfsLchown() int64 { return c.chown(paths.ToLink) }

func (c *call) utimens(to paths.Aim) int64 {
	valid, want, ok := times(c.ptr(2))
	if !ok {
		return c.fail(syscall.EINVAL)
	}
	return c.setattr(to, valid, want)
}

func (c *call) glfsUtimens() int64  { return c.utimens(paths.ToTarget) }
func (c *call) glfsLutimens() int64 { return c.utimens(paths.ToLink) }

func (c *call) glfsSetattr() int64 {
	if c.ptr(2) == nil {
		return c.fail(syscall.EINVAL)
	}
	to := paths.ToLink
	if int32(c.arg(3)) != 0 {
		to = paths.ToTarget
	}
	valid, want := wanted(c.ptr(2))
	return c.setattr(to, valid, want)
}

func (c *call) glfsTruncate() int64 {
	size := c.arg(2)
	if size < 0 {
		return c.fail(syscall.EINVAL)
	}
	return c.at(paths.ToTarget, false, func(_ *fsys, l *live, p paths.Place) error {
		if p.IsDir {
			return syscall.EISDIR
		}
		_, err := l.vol.Truncate(c.ctx, &c.cred, p.GFID, uint64(size))
		return err
	})
}

func (c *call) glfsStatvfs() int64 {
	if c.ptr(2) == nil {
		return c.fail(syscall.EINVAL)
	}
	return c.at(paths.ToTarget, false, func(_ *fsys, l *live, p paths.Place) error {
		return c.statfs(l, p.GFID, c.ptr(2))
	})
}

func (c *call) statfs(l *live, g fop.GFID, buf unsafe.Pointer) error {
	s, err := l.vol.Statfs(c.ctx, &c.cred, g)
	if err == nil {
		putStatvfs(buf, &s)
	}
	return err
}

// The working directory.

func (c *call) glfsChdir() int64 {
	return c.at(paths.ToTarget, false, func(_ *fsys, l *live, p paths.Place) error {
		if !p.IsDir {
			return syscall.ENOTDIR
		}
		chain := way(p)
		l.cwd.Store(&chain)
		return nil
	})
}

// pathOf is the path of a directory.
func pathOf(chain []paths.Dir) string {
	if len(chain) < 2 {
		return "/"
	}
	var b strings.Builder
	for _, d := range chain[1:] {
		b.WriteByte('/')
		b.WriteString(d.Name)
	}
	return b.String()
}

func (c *call) glfsGetcwd() int64 {
	_, l, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	size := c.arg(2)
	if c.ptr(1) == nil || size < 2 {
		return c.fail(syscall.EINVAL)
	}
	name := pathOf(*l.cwd.Load())
	if size <= int64(len(name)) {
		return c.fail(syscall.ERANGE)
	}
	buf := bytes(c.ptr(1), int64(len(name))+1)
	buf[copy(buf, name)] = 0
	return c.arg(1)
}

// pathMax is the size of the buffer that glfs_realpath is given.
const pathMax = 4096

func (c *call) glfsRealpath() int64 {
	var name string
	ret := c.at(paths.ToTarget, false, func(_ *fsys, _ *live, p paths.Place) error {
		name = pathOf(p.Way)
		if p.Name != "" {
			name = strings.TrimSuffix(name, "/") + "/" + p.Name
		}
		return nil
	})
	if ret < 0 {
		return ret
	}
	if buf := c.ptr(2); buf != nil {
		if len(name) > pathMax {
			return c.fail(syscall.ENAMETOOLONG)
		}
		b := bytes(buf, int64(len(name))+1)
		b[copy(b, name)] = 0
		return c.arg(2)
	}
	p := newText(name)
	if p == nil {
		return c.fail(syscall.ENOMEM)
	}
	return int64(uintptr(p))
}
