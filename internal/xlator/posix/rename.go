//go:build linux

package posix

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// side is one end of a rename.
type side struct {
	dir  *held
	name string
	o    brickfs.Obj
	st   unix.Stat_t
	here bool // the entry exists
	in   *inode
}

func (b *Brick) renameSide(s *side, parent fop.GFID, name string) (err error) {
	if s.dir, err = b.parent(parent, name); err != nil {
		return err
	}
	s.name, s.o = name, brickfs.At(s.dir.fd, name)
	if dotName(name) {
		return syscall.EBUSY
	}
	if err = statObj(s.o, &s.st); err != nil {
		return err
	}
	s.here = true
	g, err := b.gfidOf(s.o)
	if err == syscall.ENODATA {
		err = nil
	}
	s.in = b.inodes.get(g)
	return err
}

func (b *Brick) endSide(s *side) {
	s.dir.put()
	b.inodes.put(s.in)
}

func (b *Brick) rename(r *fop.Rename) (*fop.RenameReply, error) {
	var from, to side
	defer b.endSide(&from)
	defer b.endSide(&to)
	defer b.names.lock2(r.OldParent, r.OldName, r.NewParent, r.NewName)()
	if err := b.renameSide(&from, r.OldParent, r.OldName); err != nil {
		return nil, err
	}
	if err := b.renameSide(&to, r.NewParent, r.NewName); err != nil && (err != syscall.ENOENT || to.dir == nil) {
		return nil, err
	}
	reply := &fop.RenameReply{}
	var err error
	if reply.PreOldParent, err = b.iattDir(from.dir); err != nil {
		return nil, err
	}
	if to.dir == from.dir {
		reply.PreNewParent = reply.PreOldParent
	} else if reply.PreNewParent, err = b.iattDir(to.dir); err != nil {
		return nil, err
	}
	x := fop.NewDict()
	if to.here {
		links := uint64(to.st.Nlink)
		if !isDir(&to.st) && links > 0 {
			links--
		}
		if r.XData.Bool(fop.KeyLinkCount) {
			x.Set(fop.KeyLinkCount, fop.Uint(links))
		}
		if r.XData.Has("gf_request_link_count") {
			x.Set("gf_response_link_count", fop.Uint(links))
		}
	}
	switch {
	case to.here && same(&from.st, &to.st):
		// Two names of one object: rename(2) does nothing, and so do we.
		if r.Cred.PID == fop.PIDSelfHeal && !isDir(&from.st) && (from.dir != to.dir || from.name != to.name) {
			err = b.dropName(&from)
		}
	case isDir(&from.st):
		err = b.renameDir(&from, &to)
	default:
		err = b.renameFile(r, &from, &to)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := statObj(to.o, &st); err != nil {
		return nil, err
	}
	b.at("rename.times")
	b.touch(to.o, from.in, &r.Time, r.Time.Flags&ownTimes)
	reply.Stat = b.iattOf(to.o, &st, from.in)
	b.at("rename.parent")
	b.touchDir(from.dir, &r.Time)
	if to.dir != from.dir {
		b.at("rename.newparent")
		b.touchDir(to.dir, &r.Time)
	}
	if reply.PostOldParent, err = b.iattDir(from.dir); err != nil {
		return nil, err
	}
	if to.dir == from.dir {
		reply.PostNewParent = reply.PostOldParent
	} else if reply.PostNewParent, err = b.iattDir(to.dir); err != nil {
		return nil, err
	}
	reply.XData = x
	return reply, nil
}

func (b *Brick) renameFile(r *fop.Rename, from, to *side) error {
	if to.here && isDir(&to.st) {
		return syscall.EISDIR
	}
	if to.here { // other names of the victim must not come or go now
		to.in.handle.Lock()
		defer to.in.handle.Unlock()
		if err := statObj(to.o, &to.st); err != nil {
			return err
		}
	}
	b.countLink(from.o, from.dir.gfid, -1)
	b.at("rename.entry")
	if err := unix.Renameat(from.dir.fd, from.name, to.dir.fd, to.name); err != nil {
		b.countLink(from.o, from.dir.gfid, +1)
		return err
	}
	b.at("rename.oldname")
	if err := b.removeName(to.o, from.dir.gfid, from.name); err != nil {
		b.warn("cannot remove the back-pointer", from.in.gfid, from.name, err)
	}
	b.countLink(to.o, to.dir.gfid, +1)
	b.at("rename.newname")
	b.addName(to.o, to.dir.gfid, to.name)
	if to.here {
		b.at("rename.victim")
		b.buryFile(r, to)
	}
	return nil
}

// dropName takes a name away from a file that has another. A self-heal daemon puts
// a file that must lose a name here into a directory of its own, under its gfid,
// for a while. It takes "done" for just that and forgets the name; but when the
// file is there already, because it has lost another name not long before,
// rename(2) does nothing, and the name would stay for good.
func (b *Brick) dropName(s *side) error {
	s.in.handle.Lock() // other names must not come or go now
	defer s.in.handle.Unlock()
	b.countLink(s.o, s.dir.gfid, -1)
	b.at("rename.oldname")
	if err := b.removeName(s.o, s.dir.gfid, s.name); err != nil {
		b.warn("cannot remove the back-pointer", s.in.gfid, s.name, err)
	}
	b.at("rename.entry")
	return unix.Unlinkat(s.dir.fd, s.name, 0)
}

// buryFile does to the file that a rename has replaced what unlink does to one
// that loses a name.
func (b *Brick) buryFile(r *fop.Rename, v *side) {
	g := v.in.gfid
	if g.IsZero() {
		return
	}
	if v.st.Nlink > 2 {
		left := brickfs.At(b.meta, brickfs.Handle(g))
		b.removeName(left, v.dir.gfid, v.name)
		b.countLink(left, v.dir.gfid, -1)
		// GlusterFS 10.3 leaves the ctime of its other names as it was.
		b.touch(left, v.in, &r.Time, r.Time.Flags&fop.TimeCtime)
		return
	}
	b.attrs.Forget(brickfs.At(b.meta, brickfs.Handle(g)))
	b.files.drop(g)
	if err := b.dropHandle(v.in); err != nil {
		b.warn("cannot remove the handle of a replaced file", g, v.name, err)
	}
	v.in.forget()
}

// renameDir moves a directory. Its descriptor stays in the cache, so that what
// is below it can be reached while it has no handle.
func (b *Brick) renameDir(from, to *side) error {
	if to.here && !isDir(&to.st) {
		return syscall.ENOTDIR
	}
	g := from.in.gfid
	if !g.IsZero() {
		if h, err := b.openChild(from.dir, from.name, g); err == nil {
			defer h.put()
		}
		from.in.handle.Lock()
		defer from.in.handle.Unlock()
		b.at("rename.handle")
		if err := unix.Unlinkat(b.meta, brickfs.Handle(g), 0); err != nil && err != syscall.ENOENT {
			return err
		}
	}
	b.at("rename.entry")
	if err := unix.Renameat(from.dir.fd, from.name, to.dir.fd, to.name); err != nil {
		if !g.IsZero() {
			b.symlinkHandle(g, from.dir.gfid, from.name)
		}
		return err
	}
	if to.here {
		v := to.in.gfid
		b.dirs.drop(v)
		if !v.IsZero() && v != g {
			b.at("rename.victim")
			if p, n, err := b.readDirHandle(v); err == nil && p == to.dir.gfid && n == to.name {
				unix.Unlinkat(b.meta, brickfs.Handle(v), 0)
			}
		}
		to.in.reset()
	}
	if g.IsZero() {
		return nil
	}
	b.at("rename.newhandle")
	if err := b.symlinkHandle(g, to.dir.gfid, to.name); err != nil {
		b.warn("cannot make the handle of a renamed directory", g, to.name, err)
	}
	return nil
}
