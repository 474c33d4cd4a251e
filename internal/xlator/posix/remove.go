//go:build linux

package posix

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

func (b *Brick) unlink(r *fop.Unlink) (*fop.RemoveReply, error) {
	dir, err := b.parent(r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	defer dir.put()
	if dotName(r.Name) {
		return nil, syscall.EISDIR
	}
	defer b.names.lock(r.Parent, r.Name).Unlock()
	o := brickfs.At(dir.fd, r.Name)
	g, err := b.gfidOf(o)
	if err != nil && err != syscall.ENODATA {
		return nil, err
	}
	in := b.inodes.get(g)
	defer b.inodes.put(in)
	in.handle.Lock() // other names must not come or go now
	defer in.handle.Unlock()
	var st unix.Stat_t
	if err := statObj(o, &st); err != nil {
		return nil, err
	}
	if isDir(&st) {
		return nil, syscall.EISDIR
	}
	reply := &fop.RemoveReply{}
	if reply.PreParent, err = b.iattDir(dir); err != nil {
		return nil, err
	}
	if err := b.mayUnlink(r, o, &st, in); err != nil {
		return nil, err
	}
	victim := b.iattOf(o, &st, in)
	bg := -1
	if b.opt.Load().backgroundUnlink && isRegular(&st) && st.Nlink <= 2 {
		bg, _ = brickfs.Openat(dir.fd, r.Name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	}
	if err := b.unlinkEntry(r, dir, o, &st, in); err != nil {
		if bg >= 0 {
			unix.Close(bg)
		}
		return nil, err
	}
	if bg >= 0 {
		b.closer.close(bg)
	}
	if victim.Nlink > 1 && !g.IsZero() {
		b.at("unlink.times")
		b.touch(brickfs.At(b.meta, brickfs.Handle(g)), in, &r.Time, r.Time.Flags&ownTimes)
	}
	b.at("unlink.parent")
	b.touchDir(dir, &r.Time)
	if reply.PostParent, err = b.iattDir(dir); err != nil {
		return nil, err
	}
	b.unlinkXData(r, reply, in, &victim)
	return reply, nil
}

// mayUnlink checks the conditions that a client can set.
func (b *Brick) mayUnlink(r *fop.Unlink, o brickfs.Obj, st *unix.Stat_t, in *inode) error {
	if r.XData.Bool("dont-unlink-for-open-fd") {
		in.mu.Lock()
		open := in.fds > 0
		in.mu.Unlock()
		if open {
			return syscall.EBUSY
		}
	}
	if r.XData.Bool("unlink-only-if-dht-linkto-file") {
		n, err := b.attrs.Get(o, fop.XattrLinkto, nil)
		if !isLinkto(st) || err != nil || n == 0 {
			return syscall.EBUSY
		}
	}
	return nil
}

// unlinkEntry takes handle and entry away, in this order.
func (b *Brick) unlinkEntry(r *fop.Unlink, dir *held, o brickfs.Obj, st *unix.Stat_t, in *inode) error {
	if st.Nlink > 2 {
		b.countLink(o, dir.gfid, -1)
		b.at("unlink.name")
		if err := b.removeName(o, dir.gfid, r.Name); err != nil {
			return err
		}
	} else if !in.gfid.IsZero() {
		if st.Nlink == 2 {
			b.at("unlink.handle")
			if err := b.dropHandle(in); err != nil {
				return err
			}
		}
		b.attrs.Forget(o)
		b.files.drop(in.gfid)
		defer in.forget()
	}
	b.at("unlink.entry")
	return unix.Unlinkat(dir.fd, r.Name, 0)
}

// forget drops what was known of an object without names, unless open files
// still need it.
func (in *inode) forget() {
	in.mu.Lock()
	if in.handled = false; in.fds == 0 {
		in.known, in.hasTimes = false, false
	}
	in.mu.Unlock()
}

// dropHandle removes the handle of an object that loses its last name. An open
// file keeps its data in .glusterfs/unlink.
func (b *Brick) dropHandle(in *inode) error {
	handle := brickfs.Handle(in.gfid)
	in.mu.Lock()
	defer in.mu.Unlock()
	var err error
	if in.fds > 0 {
		err = unix.Renameat(b.meta, handle, b.meta, brickfs.Unlinked+"/"+in.gfid.String())
		in.unlinked = in.unlinked || err == nil
	} else {
		err = unix.Unlinkat(b.meta, handle, 0)
	}
	in.handled = false
	if err == syscall.ENOENT {
		return nil
	}
	return err
}

func (b *Brick) unlinkXData(r *fop.Unlink, reply *fop.RemoveReply, in *inode, victim *fop.Iatt) {
	x := fop.NewDict()
	if r.XData.Has(fop.KeyIattInXattr) && victim.IsRegular() {
		post := *victim
		if post.Nlink > 0 {
			post.Nlink--
		}
		in.mu.Lock()
		if in.hasTimes && post.Nlink > 0 {
			post.Ctime = in.times.Ctime
		}
		in.mu.Unlock()
		x.Set(fop.KeyIattInXattr, fop.IattValue(post))
		x.Set(fop.KeyPostStat, fop.IattValue(post))
	}
	links := uint64(0) // of the last link and where nobody asked, as 10.3 has it
	if r.XData.Bool(fop.KeyLinkCount) && victim.Nlink > 1 {
		links = uint64(victim.Nlink)
	}
	x.Set(fop.KeyLinkCount, fop.Uint(links))
	if r.XData.Has("gf_request_link_count") {
		x.Set("gf_response_link_count", fop.Uint(uint64(victim.Nlink)))
	}
	if r.XData.Has("gf_get_file_block_count") {
		x.Set("gf_get_file_block_count", fop.Uint(victim.Blocks))
	}
	reply.XData = x
}

func (b *Brick) rmdir(r *fop.Rmdir) (*fop.RemoveReply, error) {
	dir, err := b.parent(r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	defer dir.put()
	switch r.Name {
	case ".":
		return nil, syscall.EINVAL
	case "..":
		return nil, syscall.ENOTEMPTY
	}
	defer b.names.lock(r.Parent, r.Name).Unlock()
	o := brickfs.At(dir.fd, r.Name)
	var st unix.Stat_t
	if err := statObj(o, &st); err != nil {
		return nil, err
	}
	if !isDir(&st) {
		return nil, syscall.ENOTDIR
	}
	g, err := b.gfidOf(o)
	if err != nil && err != syscall.ENODATA {
		return nil, err
	}
	reply := &fop.RemoveReply{}
	if reply.PreParent, err = b.iattDir(dir); err != nil {
		return nil, err
	}
	in := b.inodes.get(g)
	defer b.inodes.put(in)
	in.handle.Lock()
	defer in.handle.Unlock()
	b.at("rmdir.entry")
	if r.Flags == 0 {
		err = unix.Unlinkat(dir.fd, r.Name, unix.AT_REMOVEDIR)
	} else {
		name := g
		if name.IsZero() {
			name = fop.NewGFID()
		}
		err = unix.Renameat(dir.fd, r.Name, b.meta, brickfs.Landfill+"/"+name.String())
		if err == syscall.EEXIST || err == syscall.ENOTEMPTY {
			err = unix.Renameat(dir.fd, r.Name, b.meta, brickfs.Landfill+"/"+fop.NewGFID().String())
		}
	}
	if err == syscall.EEXIST {
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return nil, err
	}
	b.removeDirHandle(g, dir.gfid, r.Name)
	in.reset()
	b.at("rmdir.parent")
	b.touchDir(dir, &r.Time)
	reply.PostParent, err = b.iattDir(dir)
	return reply, err
}

// removeDirHandle removes the handle of a directory that is gone, if the handle
// led to this very place. inode.handle is held.
func (b *Brick) removeDirHandle(g, parent fop.GFID, name string) {
	if g.IsZero() {
		return
	}
	if p, n, err := b.readDirHandle(g); err == nil && (p != parent || n != name) {
		if h := b.dirs.get(g); h != nil {
			var st unix.Stat_t
			b.statDir(h, &st) // drops it if it was this one
			h.put()
		}
		return
	}
	b.dirs.drop(g)
	b.at("rmdir.handle")
	unix.Unlinkat(b.meta, brickfs.Handle(g), 0)
}
