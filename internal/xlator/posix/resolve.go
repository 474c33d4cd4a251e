//go:build linux

package posix

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// place is where an object was found, with its attributes at that time.
type place struct {
	brickfs.Obj
	st  unix.Stat_t
	in  *inode
	dir *held // keeps Obj.Dir open, nil if that is .glusterfs
}

func (b *Brick) leave(p *place) {
	p.dir.put()
	b.inodes.put(p.in)
}

// statObj reads the attributes of an object.
func statObj(o brickfs.Obj, st *unix.Stat_t) error {
	if o.Fd >= 0 {
		return unix.Fstat(o.Fd, st)
	}
	return unix.Fstatat(o.Dir, o.Name, st, unix.AT_SYMLINK_NOFOLLOW)
}

func isDir(st *unix.Stat_t) bool     { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }
func isSymlink(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFLNK }

func same(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// isMeta reports whether st is that of .glusterfs itself.
func (b *Brick) isMeta(st *unix.Stat_t) bool { return same(st, &b.metaStat) }

// gfidOf reads the GFID of an object; ENODATA if it has none or a malformed one.
func (b *Brick) gfidOf(o brickfs.Obj) (g fop.GFID, err error) {
	n, err := b.attrs.Get(o, fop.XattrGFID, g[:])
	if err == syscall.ERANGE || err == nil && (n != 16 || g.IsZero()) {
		return fop.GFID{}, syscall.ENODATA
	}
	return g, err
}

// find finds the object of a fop that names it by GFID. The error is ESTALE if
// there is none.
func (b *Brick) find(g fop.GFID, p *place) error {
	if g.IsZero() {
		return syscall.EINVAL
	}
	if err := b.findHandle(g, p); err != nil {
		if err == syscall.ENOENT || err == syscall.ELOOP || err == syscall.ENOTDIR {
			err = syscall.ESTALE
		}
		return err
	}
	p.in = b.inodes.get(g)
	return nil
}

// findHandle is find without the inode, and with ENOENT.
func (b *Brick) findHandle(g fop.GFID, p *place) error {
	if h := b.cachedDir(g); h != nil {
		if b.statDir(h, &p.st) == nil {
			p.Obj, p.dir = brickfs.At(h.fd, "."), h
			return nil
		}
		h.put()
	}
	p.Obj = brickfs.At(b.meta, brickfs.Handle(g))
	err := statObj(p.Obj, &p.st)
	if err == syscall.ENOENT {
		if name := brickfs.Unlinked + "/" + g.String(); b.isUnlinked(g) {
			p.Obj = brickfs.At(b.meta, name)
			err = statObj(p.Obj, &p.st)
		}
	}
	if err != nil {
		return err
	}
	if !isSymlink(&p.st) || p.st.Nlink != 1 {
		if isDir(&p.st) {
			return syscall.ENOENT // not one of ours
		}
		return nil
	}
	h, err := b.directory(g)
	if err != nil {
		return err
	}
	if err := b.statDir(h, &p.st); err != nil {
		h.put()
		return err
	}
	p.Obj, p.dir = brickfs.At(h.fd, "."), h
	return nil
}

func (b *Brick) isUnlinked(g fop.GFID) bool {
	in := b.inodes.peek(g)
	if in == nil {
		return false
	}
	defer b.inodes.put(in)
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.unlinked
}

// cachedDir returns the directory g if it is open already.
func (b *Brick) cachedDir(g fop.GFID) *held {
	if g == fop.RootGFID {
		return b.root
	}
	return b.dirs.get(g)
}

// statDir reads the attributes of an open directory. ENOENT means that it was
// removed behind our back; then it is dropped from the cache.
func (b *Brick) statDir(h *held, st *unix.Stat_t) error {
	err := unix.Fstatat(h.fd, ".", st, 0)
	if err == nil && st.Nlink == 0 {
		err = syscall.ENOENT
	}
	if err != nil && h.shard != nil {
		b.dirs.drop(h.gfid)
	}
	return err
}

// directory opens the directory g, walking up by the handles to one that is
// open and down again by name. ENOENT: no handle, or one that does not lead to
// g; ENOTDIR: the object is something else.
func (b *Brick) directory(g fop.GFID) (*held, error) {
	if h := b.cachedDir(g); h != nil {
		return h, nil
	}
	type step struct {
		gfid fop.GFID
		name string
	}
	var few [8]step
	chain := few[:0]
	var seen map[fop.GFID]bool
	var at *held
	for cur := g; at == nil; at = b.cachedDir(cur) {
		parent, name, err := b.readDirHandle(cur)
		if err != nil {
			return nil, err
		}
		chain = append(chain, step{cur, name})
		if len(chain) >= 64 { // far from the root; mind circles
			if seen == nil {
				seen = make(map[fop.GFID]bool)
			}
			if seen[cur] {
				return nil, syscall.ELOOP
			}
			seen[cur] = true
		}
		cur = parent
	}
	for i := len(chain) - 1; i >= 0; i-- {
		next, err := b.openChild(at, chain[i].name, chain[i].gfid)
		at.put()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// openChild opens the directory name in parent, which must have GFID g.
func (b *Brick) openChild(parent *held, name string, g fop.GFID) (*held, error) {
	fd, err := brickfs.Openat(parent.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		if err == syscall.ENOTDIR || err == syscall.ELOOP {
			err = syscall.ENOENT // something else has taken the name
		}
		return nil, err
	}
	var st unix.Stat_t
	have, err := b.gfidOf(brickfs.At(fd, "."))
	if err == nil && have != g || err == syscall.ENODATA {
		err = syscall.ENOENT
	}
	if err == nil {
		err = unix.Fstatat(fd, ".", &st, 0)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return b.dirs.add(g, fd, &st), nil
}

// readDirHandle reads the handle of a directory.
func (b *Brick) readDirHandle(g fop.GFID) (parent fop.GFID, name string, err error) {
	var buf [512]byte
	n, err := unix.Readlinkat(b.meta, brickfs.Handle(g), buf[:])
	if err == syscall.EINVAL {
		return parent, "", syscall.ENOTDIR
	}
	if err != nil {
		return parent, "", err
	}
	parent, name, ok := brickfs.ParseDirTarget(string(buf[:n]))
	if !ok {
		var st unix.Stat_t
		if statObj(brickfs.At(b.meta, brickfs.Handle(g)), &st) == nil && st.Nlink > 1 {
			return parent, "", syscall.ENOTDIR // a user's symbolic link
		}
		return parent, "", syscall.ENOENT
	}
	return parent, name, nil
}

// parent opens the directory of an entry fop and checks the name. The errors
// are those with which GlusterFS's server resolves entries: ESTALE for a parent
// that is gone, EPERM for one that is no directory or a name with a slash.
func (b *Brick) parent(g fop.GFID, name string) (*held, error) {
	switch {
	case g.IsZero() || name == "":
		return nil, syscall.EINVAL
	case len(name) > 255:
		return nil, syscall.ENAMETOOLONG
	}
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '/':
			return nil, syscall.EPERM
		case 0:
			return nil, syscall.EINVAL
		}
	}
	if g == fop.RootGFID && name == brickfs.Meta {
		return nil, syscall.EPERM
	}
	h, err := b.directory(g)
	switch err {
	case nil:
		return h, nil
	case syscall.ENOTDIR:
		return nil, syscall.EPERM
	case syscall.ENOENT, syscall.ELOOP:
		return nil, syscall.ESTALE
	}
	return nil, err
}

func dotName(name string) bool { return name == "." || name == ".." }

// entryLocks serialise what this server does to one name: clients of a
// replicated volume do so by themselves, others do not. Stripes, not one lock
// per name.
type entryLocks [1024]sync.Mutex

func (e *entryLocks) stripe(parent fop.GFID, name string) int {
	h := uint32(2166136261)
	for _, c := range parent {
		h = (h ^ uint32(c)) * 16777619
	}
	for i := 0; i < len(name); i++ {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return int(h^h>>16) % len(e)
}

// lock locks one name; unlock the result.
func (e *entryLocks) lock(parent fop.GFID, name string) *sync.Mutex {
	m := &e[e.stripe(parent, name)]
	m.Lock()
	return m
}

// lock2 locks two names and returns how to unlock them.
func (e *entryLocks) lock2(p1 fop.GFID, n1 string, p2 fop.GFID, n2 string) func() {
	i, j := e.stripe(p1, n1), e.stripe(p2, n2)
	if i == j {
		e[i].Lock()
		return e[i].Unlock
	}
	e[min(i, j)].Lock()
	e[max(i, j)].Lock()
	return func() {
		e[i].Unlock()
		e[j].Unlock()
	}
}
