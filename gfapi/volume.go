package gfapi

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
	"github.com/wythefs/wythe/internal/volume"
)

// Volume is a mounted volume, or a view of one: see the package comment. Its
// methods follow those of [os.Root] and of package os.
type Volume struct {
	m      *mounted
	ctx    context.Context
	cred   fop.Cred
	credID int
	owned  string // lock owner that the user gave, "" for one per file
	root   fop.GFID
	name   string
}

// mounted is what all views of a mount share.
type mounted struct {
	vol     *volume.Volume
	cache   *paths.Cache
	names   paths.Resolver
	umask   uint32
	timeout time.Duration
	closed  atomic.Bool
	end     func() error  // ends what is below
	opened  atomic.Uint64 // files opened so far

	mu    sync.Mutex
	files map[*File]struct{}
	creds map[string]int
	work  sync.WaitGroup // what goes on in the background
	ended bool           // nothing may be added to work any more
}

// background does f without anybody waiting, but for Unmount.
func (m *mounted) background(f func()) {
	m.mu.Lock()
	if m.ended {
		m.mu.Unlock()
		f()
		return
	}
	m.work.Go(f)
	m.mu.Unlock()
}

// Cred says on whose behalf a view works.
type Cred struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups
	PID      int32    // for the servers' logs and lock listings; 0: this process
	// LockOwner makes all files of the view one owner of locks, 1 to 1024
	// bytes; empty: each open file is an owner of its own.
	LockOwner string
}

func newVolume(h fop.Handler, o *options, end func() error) *Volume {
	m := &mounted{vol: volume.New(h), cache: paths.NewCache(o.entryTimeout), umask: permBits(o.umask), timeout: o.timeout, end: end,
		files: map[*File]struct{}{}, creds: map[string]int{}}
	m.names = paths.Resolver{Vol: m.vol, Cache: m.cache}
	v := &Volume{m: m, ctx: context.Background(), root: fop.RootGFID}
	return v.As(o.cred)
}

// As returns a view that works on behalf of somebody else.
func (v *Volume) As(c Cred) *Volume {
	w := *v
	w.cred = fop.Cred{UID: c.UID, GID: c.GID, PID: c.PID, Groups: append([]uint32(nil), c.Groups...)}
	if w.cred.PID == 0 {
		w.cred.PID = pid
	}
	w.owned = c.LockOwner
	w.credID = v.m.credID(&w.cred)
	return &w
}

// credID numbers the credentials that differ in what servers permit.
func (m *mounted) credID(c *fop.Cred) int {
	key := make([]byte, 0, 64)
	for _, n := range append([]uint32{c.UID, c.GID}, c.Groups...) {
		key = append(key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := m.creds[string(key)]
	if !ok {
		id = len(m.creds)
		m.creds[string(key)] = id
	}
	return id
}

// WithContext returns a view whose operations end, with an error, when ctx
// does. So do those of the files that it opens.
func (v *Volume) WithContext(ctx context.Context) *Volume {
	w := *v
	w.ctx = ctx
	return &w
}

// Sub returns a view of the directory dir, which becomes the root of all paths:
// no path of the view leads out of it. It stays with the directory when that
// is renamed.
func (v *Volume) Sub(dir string) (*Volume, error) {
	ctx, done, err := v.begin()
	if err != nil {
		return nil, pathError("sub", dir, err)
	}
	defer done()
	w := *v
	err = v.object(ctx, dir, paths.ToTarget, false, func(p paths.Place) error {
		if !p.IsDir {
			return syscall.ENOTDIR
		}
		w.root, w.name = p.GFID, dir
		return nil
	})
	if err != nil {
		return nil, pathError("sub", dir, err)
	}
	return &w, nil
}

// OpenRoot is Sub, under the name that [os.Root] has for it. The result need
// not be closed.
func (v *Volume) OpenRoot(name string) (*Volume, error) { return v.Sub(name) }

// Name returns what was given to Mount, or to Sub.
func (v *Volume) Name() string { return v.name }

// Unmount closes all open files and ends the mount, for all views. Operations
// under way fail. The mount's goroutines have ended when it returns.
func (v *Volume) Unmount() error {
	m := v.m
	if m.closed.Swap(true) {
		return nil
	}
	m.mu.Lock()
	open := make([]*File, 0, len(m.files))
	for f := range m.files {
		open = append(open, f)
	}
	m.mu.Unlock()
	for _, f := range open {
		f.Close()
	}
	var err error
	if m.end != nil {
		err = m.end()
	}
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.work.Wait()
	return err
}

var never = func() {}

// begin is the start of every operation: it fails after Unmount, and gives the
// context.
func (v *Volume) begin() (ctx context.Context, done func(), err error) {
	if v.m.closed.Load() {
		return nil, never, fs.ErrClosed
	}
	if err := v.ctx.Err(); err != nil {
		return nil, never, context.Cause(v.ctx)
	}
	if v.m.timeout > 0 {
		ctx, done = context.WithTimeout(v.ctx, v.m.timeout)
		return ctx, done, nil
	}
	return v.ctx, never, nil
}

// do runs an operation on a path and gives its error the usual form.
func (v *Volume) do(op, name string, f func(ctx context.Context) error) error {
	ctx, done, err := v.begin()
	if err == nil {
		err = f(ctx)
		done()
	}
	return pathError(op, name, err)
}

// Stat returns the attributes of an object; the last element of the path is
// followed if it is a symbolic link.
func (v *Volume) Stat(name string) (fs.FileInfo, error) { return v.stat("stat", name, paths.ToTarget) }

// Lstat is Stat that does not follow the last element.
func (v *Volume) Lstat(name string) (fs.FileInfo, error) { return v.stat("lstat", name, paths.ToLink) }

func (v *Volume) stat(op, name string, to paths.Aim) (fi fs.FileInfo, err error) {
	err = v.do(op, name, func(ctx context.Context) error {
		return v.object(ctx, name, to, true, func(p paths.Place) error {
			fi = newInfo(name, &p.Attr)
			return nil
		})
	})
	return fi, err
}

// Mkdir makes a directory with the given permissions (before umask).
func (v *Volume) Mkdir(name string, perm fs.FileMode) error {
	return v.do("mkdir", name, func(ctx context.Context) error {
		return v.entry(ctx, name, func(p paths.Place) error {
			if p.Name == "" {
				return syscall.EEXIST
			}
			epoch := v.m.cache.Epoch()
			a, err := v.m.vol.Mkdir(ctx, &v.cred, p.Dir, p.Name, permBits(perm), v.m.umask)
			if err == nil {
				v.m.cache.Put(p.Dir, p.Name, v.credID, epoch, paths.Entry{GFID: a.GFID})
				v.m.cache.IsEmpty(a.GFID)
			}
			return err
		})
	})
}

// MkdirAll makes a directory and those of its parents that are missing. It does
// nothing if the directory is there.
func (v *Volume) MkdirAll(name string, perm fs.FileMode) error {
	mode := permBits(perm)
	return v.do("mkdir", name, func(ctx context.Context) error {
		return v.at(ctx, name, paths.ToTarget, func(w *paths.Walk) { w.Make = &mode }, func(p paths.Place) error {
			if !p.Found {
				return syscall.ENOENT
			}
			if !p.IsDir {
				return syscall.ENOTDIR
			}
			return nil
		})
	})
}

// Mknod makes a file, named pipe, socket or device, as the type in mode says.
// major and minor are those of a device.
func (v *Volume) Mknod(name string, mode fs.FileMode, major, minor uint32) error {
	return v.do("mknod", name, func(ctx context.Context) error {
		typ := typeBits(mode)
		if typ == 0 {
			return syscall.EINVAL
		}
		return v.entry(ctx, name, func(p paths.Place) error {
			switch {
			case p.Name == "":
				return syscall.EEXIST
			case p.Slash:
				return syscall.ENOENT
			}
			ma, mi := uint64(major), uint64(minor)
			dev := ma&0xfff<<8 | ma&^0xfff<<32 | mi&0xff | mi&^0xff<<12
			_, err := v.m.vol.Mknod(ctx, &v.cred, p.Dir, p.Name, typ|permBits(mode), v.m.umask, dev)
			return err
		})
	})
}

// Symlink makes newname a symbolic link to oldname, which need not exist.
func (v *Volume) Symlink(oldname, newname string) error {
	err := v.do("symlink", newname, func(ctx context.Context) error {
		if oldname == "" {
			return syscall.ENOENT
		}
		if strings.IndexByte(oldname, 0) >= 0 {
			return syscall.EINVAL
		}
		return v.entry(ctx, newname, func(p paths.Place) error {
			switch {
			case p.Name == "":
				return syscall.EEXIST
			case p.Slash:
				return syscall.ENOENT
			}
			_, err := v.m.vol.Symlink(ctx, &v.cred, p.Dir, p.Name, oldname)
			return err
		})
	})
	return relink("symlink", oldname, newname, err)
}

// relink turns the *fs.PathError of do into a *os.LinkError.
func relink(op, oldname, newname string, err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return linkError(op, oldname, newname, pe.Err)
	}
	return err
}

// Readlink returns the target of a symbolic link.
func (v *Volume) Readlink(name string) (target string, err error) {
	err = v.do("readlink", name, func(ctx context.Context) error {
		return v.object(ctx, name, paths.ToLink, false, func(p paths.Place) (err error) {
			if target = p.Target; target != "" {
				return nil
			}
			if p.IsDir || p.Name == "" || !p.Attr.IsSymlink() {
				return syscall.EINVAL
			}
			target, err = v.m.vol.Readlink(ctx, &v.cred, p.GFID)
			return err
		})
	})
	return target, err
}

// Link makes newname a further name of oldname. A symbolic link gets a further
// name itself.
func (v *Volume) Link(oldname, newname string) error {
	err := v.do("link", oldname, func(ctx context.Context) error {
		return v.object(ctx, oldname, paths.ToLink, false, func(old paths.Place) error {
			return v.entry(ctx, newname, func(p paths.Place) error {
				switch {
				case p.Name == "":
					return syscall.EEXIST
				case p.Slash:
					return syscall.ENOENT
				}
				if old.IsDir { // not a thing to leave to a brick
					_, err := v.m.vol.Lookup(ctx, &v.cred, p.Dir, p.Name)
					switch {
					case err == nil:
						err = syscall.EEXIST
					case is(err, syscall.ENOENT):
						err = syscall.EPERM
					}
					return err
				}
				_, err := v.m.vol.Link(ctx, &v.cred, old.GFID, p.Dir, p.Name)
				return err
			})
		})
	})
	return relink("link", oldname, newname, err)
}

// Rename moves oldname to newname. A file replaces a file, a directory an empty
// directory.
func (v *Volume) Rename(oldname, newname string) error {
	err := v.do("rename", oldname, func(ctx context.Context) error {
		return v.entry(ctx, oldname, func(old paths.Place) error {
			return v.entry(ctx, newname, func(p paths.Place) error {
				if old.Name == "" || p.Name == "" {
					return syscall.EBUSY
				}
				if old.Slash || p.Slash {
					a, err := v.m.vol.Lookup(ctx, &v.cred, old.Dir, old.Name)
					if err == nil && !a.IsDir() {
						err = syscall.ENOTDIR
					}
					if err != nil {
						return err
					}
				}
				_, err := v.m.vol.Rename(ctx, &v.cred, old.Dir, old.Name, p.Dir, p.Name)
				if is(err, syscall.EACCES, syscall.EPERM) {
					// Bricks look at permissions first, systems at the name.
					if _, e := v.m.vol.Lookup(ctx, &v.cred, old.Dir, old.Name); is(e, syscall.ENOENT) {
						err = syscall.ENOENT
					}
				}
				v.m.cache.Drop(old.Dir, old.Name)
				v.m.cache.Drop(p.Dir, p.Name)
				return err
			})
		})
	})
	return relink("rename", oldname, newname, err)
}

// Remove removes a name, a directory's only if it is empty.
func (v *Volume) Remove(name string) error {
	return v.do("remove", name, func(ctx context.Context) error {
		return v.entry(ctx, name, func(p paths.Place) error { return v.remove(ctx, p) })
	})
}

func (v *Volume) remove(ctx context.Context, p paths.Place) error {
	if p.Name == "" {
		if p.Dir == v.root {
			return syscall.EBUSY
		}
		return syscall.EINVAL
	}
	defer v.m.cache.Drop(p.Dir, p.Name)
	e, known, _ := v.m.cache.Get(p.Dir, p.Name, v.credID)
	if p.Slash || known && !e.Link {
		err := v.m.vol.Rmdir(ctx, &v.cred, p.Dir, p.Name)
		if p.Slash || !is(err, syscall.ENOTDIR) {
			return err
		}
	}
	err := v.m.vol.Unlink(ctx, &v.cred, p.Dir, p.Name)
	if !is(err, syscall.EISDIR, syscall.EPERM) {
		return err
	}
	if err2 := v.m.vol.Rmdir(ctx, &v.cred, p.Dir, p.Name); !is(err2, syscall.ENOTDIR) {
		return err2
	}
	return err
}

// setattr changes attributes of what a path leads to.
func (v *Volume) setattr(op, name string, to paths.Aim, valid int32, want fop.Iatt) error {
	return v.do(op, name, func(ctx context.Context) error {
		return v.object(ctx, name, to, false, func(p paths.Place) error {
			_, err := v.m.vol.Setattr(ctx, &v.cred, p.GFID, valid, want)
			return err
		})
	})
}

// Chmod changes permissions.
func (v *Volume) Chmod(name string, mode fs.FileMode) error {
	return v.setattr("chmod", name, paths.ToTarget, fop.SetMode, fop.Iatt{Mode: permBits(mode)})
}

// owner is what Chown and its kin ask for; -1 leaves an id as it is.
func owner(uid, gid int) (valid int32, want fop.Iatt) {
	if uid != -1 {
		valid, want.UID = valid|fop.SetUID, uint32(uid)
	}
	if gid != -1 {
		valid, want.GID = valid|fop.SetGID, uint32(gid)
	}
	return valid, want
}

// Chown changes owner and group; -1 leaves one as it is.
func (v *Volume) Chown(name string, uid, gid int) error {
	valid, want := owner(uid, gid)
	return v.setattr("chown", name, paths.ToTarget, valid, want)
}

// Lchown is Chown that does not follow the last element.
func (v *Volume) Lchown(name string, uid, gid int) error {
	valid, want := owner(uid, gid)
	return v.setattr("lchown", name, paths.ToLink, valid, want)
}

// Chtimes sets the times of last access and change; a zero time leaves one as
// it is.
func (v *Volume) Chtimes(name string, atime, mtime time.Time) error {
	valid, want := chtimes(atime, mtime)
	if valid == 0 {
		_, err := v.stat("chtimes", name, paths.ToTarget)
		return err
	}
	return v.setattr("chtimes", name, paths.ToTarget, valid, want)
}

// chtimes says what to set for Chtimes; a zero time is left as it is.
func chtimes(atime, mtime time.Time) (valid int32, want fop.Iatt) {
	if !atime.IsZero() {
		valid, want.Atime = valid|fop.SetAtime, fopTime(atime)
	}
	if !mtime.IsZero() {
		valid, want.Mtime = valid|fop.SetMtime, fopTime(mtime)
	}
	return valid, want
}

// Truncate sets the size of a file.
func (v *Volume) Truncate(name string, size int64) error {
	return v.do("truncate", name, func(ctx context.Context) error {
		if size < 0 {
			return syscall.EINVAL
		}
		return v.object(ctx, name, paths.ToTarget, false, func(p paths.Place) error {
			if p.IsDir {
				return syscall.EISDIR
			}
			_, err := v.m.vol.Truncate(ctx, &v.cred, p.GFID, uint64(size))
			return err
		})
	})
}

// Statfs returns the figures of the file system that has name.
func (v *Volume) Statfs(name string) (st *Statfs, err error) {
	err = v.do("statfs", name, func(ctx context.Context) error {
		return v.object(ctx, name, paths.ToTarget, false, func(p paths.Place) error {
			s, err := v.m.vol.Statfs(ctx, &v.cred, p.GFID)
			if err == nil {
				st = (*Statfs)(&s)
			}
			return err
		})
	})
	return st, err
}

// Flags of Setxattr.
const (
	XattrCreate  = fop.XattrCreate  // fail with EEXIST if it is there
	XattrReplace = fop.XattrReplace // fail with ENODATA if it is not
)

// Getxattr returns the value of an extended attribute, for example "user.note".
// The error is ENODATA if there is none.
func (v *Volume) Getxattr(name, attr string) (val []byte, err error) {
	err = v.do("getxattr", name, func(ctx context.Context) error {
		return v.object(ctx, name, paths.ToTarget, false, func(p paths.Place) (err error) {
			val, err = v.m.vol.Getxattr(ctx, &v.cred, p.GFID, attr)
			return err
		})
	})
	return val, err
}

// Listxattr returns the names of all extended attributes.
func (v *Volume) Listxattr(name string) (attrs []string, err error) {
	err = v.do("listxattr", name, func(ctx context.Context) error {
		return v.object(ctx, name, paths.ToTarget, false, func(p paths.Place) (err error) {
			attrs, err = v.m.vol.Listxattr(ctx, &v.cred, p.GFID)
			return err
		})
	})
	return attrs, err
}

// Setxattr sets an extended attribute; flags are 0, XattrCreate or XattrReplace.
func (v *Volume) Setxattr(name, attr string, val []byte, flags int) error {
	return v.do("setxattr", name, func(ctx context.Context) error {
		if attr == "" || strings.IndexByte(attr, 0) >= 0 {
			return syscall.EINVAL
		}
		return v.object(ctx, name, paths.ToTarget, false, func(p paths.Place) error {
			return v.m.vol.Setxattr(ctx, &v.cred, p.GFID, attr, val, uint32(flags))
		})
	})
}

// Removexattr removes an extended attribute.
func (v *Volume) Removexattr(name, attr string) error {
	return v.do("removexattr", name, func(ctx context.Context) error {
		return v.object(ctx, name, paths.ToTarget, false, func(p paths.Place) error {
			return v.m.vol.Removexattr(ctx, &v.cred, p.GFID, attr)
		})
	})
}
