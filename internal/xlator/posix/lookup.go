//go:build linux

package posix

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

func (b *Brick) lookup(r *fop.Lookup) (*fop.LookupReply, error) {
	if r.Name == "" || r.Parent.IsZero() {
		return b.lookupGFID(r)
	}
	dir, err := b.parent(r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	defer dir.put()
	reply := &fop.LookupReply{}
	if dotName(r.Name) {
		return b.lookupDot(r, dir)
	}
	var st unix.Stat_t
	o := brickfs.At(dir.fd, r.Name)
	if err := statObj(o, &st); err != nil {
		return b.lookupMissing(dir, err)
	}
	if b.isMeta(&st) {
		return b.lookupMissing(dir, syscall.ENOENT)
	}
	g, err := b.gfidOf(o)
	if err == syscall.ENODATA && r.XData != nil {
		g, err = b.adopt(dir, r, &st)
	}
	if err != nil {
		if err == syscall.ENODATA && r.XData.Bool("gfidless-lookup") {
			reply.Stat = b.iattAt(o, &st, fop.GFID{})
			reply.Stat.Flags &^= fop.IattIno
			reply.Stat.Ino = ^uint64(0)
			reply.XData = b.fill(r.XData, &target{Obj: o, stat: &reply.Stat})
			reply.Parent, err = b.iattDir(dir)
			return reply, err
		}
		if err == syscall.ENOENT {
			return b.lookupMissing(dir, err)
		}
		return nil, err
	}
	in := b.inodes.get(g)
	defer b.inodes.put(in)
	if b.mend(dir, r.Name, in, &st, true) {
		statObj(o, &st)
	}
	if r.XData.Has("glusterfs.clean.writexattr") {
		b.attrs.Remove(o, "trusted.glusterfs.protect.writes")
	}
	reply.Stat = b.iattOf(o, &st, in)
	t := target{Obj: o, stat: &reply.Stat, in: in}
	reply.XData = b.fill(r.XData, &t)
	if t.gone {
		return b.lookupMissing(dir, syscall.ENOENT)
	}
	if b.opt.Load().pgfid && !isDir(&st) {
		b.attrs.Set(o, pgfidKey(dir.gfid), []byte{0, 0, 0, 1}, unix.XATTR_CREATE)
	}
	reply.Parent, err = b.iattDir(dir)
	return reply, err
}

// lookupMissing answers for a name that is not there; the attributes of the
// parent come along with the error.
func (b *Brick) lookupMissing(dir *held, err error) (*fop.LookupReply, error) {
	if err != syscall.ENOENT {
		return nil, err
	}
	parent, e := b.iattDir(dir)
	if e != nil {
		return nil, e
	}
	return &fop.LookupReply{Parent: parent}, err
}

// lookupDot looks up "." and "..", as the disk has them; there is nothing above
// the root.
func (b *Brick) lookupDot(r *fop.Lookup, dir *held) (*fop.LookupReply, error) {
	at := dir
	if r.Name == ".." && dir.gfid != fop.RootGFID {
		parent, _, err := b.readDirHandle(dir.gfid)
		if err == nil {
			at, err = b.directory(parent)
		}
		if err != nil {
			return nil, syscall.ESTALE
		}
		defer at.put()
	}
	stat, err := b.iattDir(at)
	if err != nil {
		return nil, err
	}
	parent, err := b.iattDir(dir)
	if err != nil {
		return nil, err
	}
	in := b.inodes.get(at.gfid)
	defer b.inodes.put(in)
	x := b.fill(r.XData, &target{Obj: brickfs.At(at.fd, "."), stat: &stat, in: in})
	return &fop.LookupReply{ReplyHeader: fop.ReplyHeader{XData: x}, Stat: stat, Parent: parent}, nil
}

func (b *Brick) lookupGFID(r *fop.Lookup) (*fop.LookupReply, error) {
	if r.GFID.IsZero() {
		return nil, syscall.EINVAL
	}
	var p place
	err := b.findHandle(r.GFID, &p)
	if err != nil {
		if (err == syscall.ENOENT || err == syscall.ELOOP) && p.Obj.Name != "" {
			b.dropStaleHandle(r.GFID, false)
		}
		if err == syscall.ENOENT && r.XData.Bool("unlinked-lookup") {
			return b.lookupUnlinked(r)
		}
		if err == syscall.ELOOP || err == syscall.ENOTDIR {
			err = syscall.ENOENT
		}
		return nil, err
	}
	p.in = b.inodes.get(r.GFID)
	defer b.leave(&p)
	reply := &fop.LookupReply{Stat: b.iattOf(p.Obj, &p.st, p.in)}
	t := target{Obj: p.Obj, stat: &reply.Stat, in: p.in}
	reply.XData = b.fill(r.XData, &t)
	if t.gone {
		return nil, syscall.ENOENT
	}
	return reply, nil
}

// lookupUnlinked finds a file that only open files keep alive.
func (b *Brick) lookupUnlinked(r *fop.Lookup) (*fop.LookupReply, error) {
	o := brickfs.At(b.meta, brickfs.Unlinked+"/"+r.GFID.String())
	var st unix.Stat_t
	if err := statObj(o, &st); err != nil {
		return nil, err
	}
	a := b.iattAt(o, &st, r.GFID)
	a.Nlink, a.Ino = 0, st.Ino
	return &fop.LookupReply{ReplyHeader: fop.ReplyHeader{XData: b.fill(r.XData, &target{Obj: o, stat: &a})}, Stat: a}, nil
}

// adopt gives an object without a GFID the one that the client brought. For
// its first second it is nobody's business: its maker may be at work.
func (b *Brick) adopt(dir *held, r *fop.Lookup, st *unix.Stat_t) (fop.GFID, error) {
	if r.XData.Bool("gfidless-lookup") {
		return fop.GFID{}, syscall.ENODATA
	}
	if age := time.Since(time.Unix(st.Ctim.Unix())); age >= 0 && age < time.Second {
		return fop.GFID{}, syscall.ENOENT
	}
	v, _ := r.XData.Get(fop.KeyGFIDReq)
	g, ok := v.GFID()
	if !ok || g.IsZero() {
		return fop.GFID{}, syscall.ENODATA
	}
	defer b.names.lock(dir.gfid, r.Name).Unlock()
	o := brickfs.At(dir.fd, r.Name)
	var again unix.Stat_t
	if err := statObj(o, &again); err != nil {
		return fop.GFID{}, err
	} else if !same(&again, st) {
		return fop.GFID{}, syscall.ENOENT // replaced meanwhile, and as young
	}
	b.at("heal.gfid")
	if err := b.attrs.Set(o, fop.XattrGFID, g[:], unix.XATTR_CREATE); err != nil && err != syscall.EEXIST {
		b.warn("cannot give the object a gfid", g, r.Name, err)
		return fop.GFID{}, syscall.ENODATA
	}
	b.log.Info("gave an object without gfid the client's", "brick", b.dir, "gfid", g.String(), "name", r.Name)
	if !isDir(st) {
		b.addName(o, dir.gfid, r.Name)
	}
	return b.gfidOf(o)
}

// mend sees to it that an object that was reached by name has its handle. It
// reports whether anything was done. With open, a directory is opened for what
// will follow.
func (b *Brick) mend(dir *held, name string, in *inode, st *unix.Stat_t, open bool) bool {
	if !b.suspicious(in, st) {
		return false
	}
	defer b.names.lock(dir.gfid, name).Unlock()
	return b.mendLocked(dir, name, in, st, open)
}

// suspicious reports whether the handle has to be looked at.
func (b *Brick) suspicious(in *inode, st *unix.Stat_t) bool {
	if !isDir(st) {
		in.mu.Lock()
		defer in.mu.Unlock()
		return !in.handled || st.Nlink < 2
	}
	if in.gfid == fop.RootGFID {
		return false
	}
	h := b.dirs.get(in.gfid)
	defer h.put()
	return h == nil || h.dev != uint64(st.Dev) || h.ino != st.Ino
}

// still reports whether a name has the object that it had before it was locked.
func (b *Brick) still(dir *held, name string, g fop.GFID, st *unix.Stat_t) bool {
	var again unix.Stat_t
	o := brickfs.At(dir.fd, name)
	if statObj(o, &again) != nil || !same(&again, st) {
		return false
	}
	have, err := b.gfidOf(o)
	return err == nil && have == g
}

// mendLocked is mend with the name locked.
func (b *Brick) mendLocked(dir *held, name string, in *inode, st *unix.Stat_t, open bool) bool {
	if isDir(st) {
		return b.mendDir(dir, name, in, st, open)
	}
	var have unix.Stat_t
	handle := brickfs.Handle(in.gfid)
	err := unix.Fstatat(b.meta, handle, &have, unix.AT_SYMLINK_NOFOLLOW)
	made := false
	if err == syscall.ENOENT && !b.still(dir, name, in.gfid, st) {
		return false
	}
	if err == syscall.ENOENT {
		b.at("heal.handle")
		if err = b.linkHandle(brickfs.At(dir.fd, name), handle); err == nil {
			made = true
			b.log.Info("made a missing handle", "brick", b.dir, "gfid", in.gfid.String(), "name", name)
		} else {
			b.warn("cannot make a missing handle", in.gfid, name, err)
		}
	} else if err == nil && !same(&have, st) {
		b.warn("two objects have the same gfid; the handle leads to the other one", in.gfid, name, syscall.EEXIST)
		err = syscall.EEXIST
	}
	if err == nil {
		in.mu.Lock()
		in.handled = true
		in.mu.Unlock()
	}
	return made
}

// mendDir is mend for a directory.
func (b *Brick) mendDir(dir *held, name string, in *inode, st *unix.Stat_t, open bool) bool {
	in.handle.Lock()
	defer in.handle.Unlock()
	made := false
	parent, have, err := b.readDirHandle(in.gfid)
	switch {
	case err == nil && parent == dir.gfid && have == name:
	case err == nil && b.leadsTo(parent, have, in.gfid):
		// Two directories with one gfid: an unfinished rename across bricks.
		// The one that has the handle keeps it.
		return false
	case err == syscall.ENOTDIR:
		b.warn("the handle of a directory is something else", in.gfid, name, err)
		return false
	default:
		// A handle is never made for a name that does not have the object.
		if in.gfid == fop.RootGFID || !b.still(dir, name, in.gfid, st) {
			return false
		}
		b.at("heal.handle")
		if err == nil {
			unix.Unlinkat(b.meta, brickfs.Handle(in.gfid), 0)
		}
		if err := b.symlinkHandle(in.gfid, dir.gfid, name); err != nil {
			b.warn("cannot make a missing handle", in.gfid, name, err)
			return false
		}
		b.log.Info("made a missing handle", "brick", b.dir, "gfid", in.gfid.String(), "name", name)
		made = true
	}
	if made || open {
		b.dirs.drop(in.gfid)
	}
	if open {
		if h, err := b.openChild(dir, name, in.gfid); err == nil {
			h.put()
		}
	}
	return made
}

// leadsTo reports whether the entry name of parent is a directory with GFID g.
// When that cannot be found out it says yes.
func (b *Brick) leadsTo(parent fop.GFID, name string, g fop.GFID) bool {
	h, err := b.directory(parent)
	if err != nil {
		return err != syscall.ENOENT && err != syscall.ENOTDIR
	}
	defer h.put()
	var st unix.Stat_t
	o := brickfs.At(h.fd, name)
	if err := statObj(o, &st); err != nil {
		return err != syscall.ENOENT
	}
	have, err := b.gfidOf(o)
	return isDir(&st) && (have == g || err != nil && err != syscall.ENODATA)
}

// dropStaleHandle removes the handle of a directory that is not where the
// handle says. If the parent is not there either, that is left to the next
// lookup by name, unless the directory is known to be gone.
func (b *Brick) dropStaleHandle(g fop.GFID, gone bool) {
	in := b.inodes.get(g)
	defer b.inodes.put(in)
	in.handle.Lock() // a rename in progress has removed the handle itself
	defer in.handle.Unlock()
	handle := brickfs.Handle(g)
	var st unix.Stat_t
	if unix.Fstatat(b.meta, handle, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || !isSymlink(&st) || st.Nlink != 1 {
		return
	}
	parent, name, err := b.readDirHandle(g)
	if err == nil {
		h, err := b.directory(parent)
		if err == nil {
			h.put()
			if b.leadsTo(parent, name, g) {
				return
			}
		} else if !gone || err != syscall.ENOENT {
			return
		}
	}
	b.at("heal.stale")
	unix.Unlinkat(b.meta, handle, 0)
}

// linkHandle makes the hard-link handle of an object.
func (b *Brick) linkHandle(o brickfs.Obj, handle string) error {
	err := unix.Linkat(o.Dir, o.Name, b.meta, handle, 0)
	if err == syscall.ENOENT {
		if err = b.handleDirs(handle); err == nil {
			err = unix.Linkat(o.Dir, o.Name, b.meta, handle, 0)
		}
	}
	return err
}

// symlinkHandle makes the handle of a directory.
func (b *Brick) symlinkHandle(g, parent fop.GFID, name string) error {
	handle, to := brickfs.Handle(g), brickfs.DirTarget(parent, name)
	err := unix.Symlinkat(to, b.meta, handle)
	if err == syscall.ENOENT {
		if err = b.handleDirs(handle); err == nil {
			err = unix.Symlinkat(to, b.meta, handle)
		}
	}
	return err
}

// handleDirs makes the two directories above a handle.
func (b *Brick) handleDirs(handle string) error {
	err := unix.Mkdirat(b.meta, handle[:5], 0o700)
	if err == syscall.ENOENT {
		if err = unix.Mkdirat(b.meta, handle[:2], 0o700); err == nil || err == syscall.EEXIST {
			err = unix.Mkdirat(b.meta, handle[:5], 0o700)
		}
	}
	if err == syscall.EEXIST {
		return nil
	}
	return err
}
