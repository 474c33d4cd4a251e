package fuse

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

// rename flags of Linux.
const (
	renameNoreplace = 1
)

// made answers a request that made an object.
func (b *bridge) made(out *fuse.EntryOut, dir *node, name string, a fop.Iatt, err error) fuse.Status {
	b.touch(dir)
	if err != nil {
		return status(err)
	}
	b.touch(b.entryOut(out, dir, name, &a))
	return fuse.OK
}

// Mknod makes a file, a device, a fifo or a socket.
func (b *bridge) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.freshCred(&in.InHeader, in.Mode)
	a, err := b.v.Mknod(background, &c, dir.gfid, name, in.Mode, in.Umask, uint64(in.Rdev))
	return b.made(out, dir, name, a, err)
}

// Mkdir makes a directory.
func (b *bridge) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.freshCred(&in.InHeader, in.Mode)
	a, err := b.v.Mkdir(background, &c, dir.gfid, name, in.Mode, in.Umask)
	return b.made(out, dir, name, a, err)
}

// Symlink makes a symbolic link.
func (b *bridge) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	dir, st := b.node(h.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(h)
	a, err := b.v.Symlink(background, &c, dir.gfid, name, target)
	return b.made(out, dir, name, a, err)
}

// Link gives an object one more name.
func (b *bridge) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	n, st := b.node(in.Oldnodeid)
	if !st.Ok() {
		return st
	}
	c := b.cred(&in.InHeader)
	b.touch(n)
	a, err := b.v.Link(background, &c, n.gfid, dir.gfid, name)
	return b.made(out, dir, name, a, err)
}

// Unlink removes a name that is not a directory's.
func (b *bridge) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	dir, st := b.node(h.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(h)
	err := b.v.Unlink(background, &c, dir.gfid, name)
	b.touch(dir)
	return status(err)
}

// Rmdir removes an empty directory.
func (b *bridge) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	dir, st := b.node(h.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(h)
	q := &fop.Rmdir{Header: fop.Header{Cred: c}, Parent: dir.gfid, Name: name}
	// The kernel has just looked it up, so that nobody below has to.
	n := b.nodes.dir(dir.id, name)
	if n != nil {
		q.Dir = n.gfid
	}
	err := b.v.Remove(background, q)
	b.touch(dir)
	if err == nil && n != nil {
		n.removed.Store(true)
	}
	return status(err)
}

// Rename moves a name. GlusterFS has no way to exchange two names. That the new
// one must not exist is looked up first: who makes it just then through another
// mount loses it.
func (b *bridge) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	from, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	to, st := b.node(in.Newdir)
	if !st.Ok() {
		return st
	}
	c := b.cred(&in.InHeader)
	switch in.Flags {
	case 0:
	case renameNoreplace:
		switch _, err := b.v.Lookup(background, &c, to.gfid, newName); {
		case err == nil:
			return fuse.Status(syscall.EEXIST)
		case fop.Errno(err) != syscall.ENOENT:
			return status(err)
		}
	default:
		return fuse.EINVAL
	}
	// The kernel has seen the old name, and directories are known by name.
	a, err := b.v.Move(background, &fop.Rename{Header: fop.Header{Cred: c}, OldParent: from.gfid, OldName: oldName,
		NewParent: to.gfid, NewName: newName, File: b.nodes.dir(from.id, oldName) == nil})
	b.touch(from)
	b.touch(to)
	if err != nil {
		return status(err)
	}
	if n := b.nodes.renamed(a.GFID, to.id, newName); n != nil {
		b.touch(n)
	}
	return fuse.OK
}

// Tmpfile fails: bricks cannot make a file without a name. The kernel does not
// ask again and says EOPNOTSUPP, as applications expect.
func (b *bridge) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return fuse.ENOSYS
}

// Create makes a file and opens it. The kernel has just seen that there is none;
// should there be one by now, it is opened as by open(2).
func (b *bridge) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	dir, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.freshCred(&in.InHeader, in.Mode)
	flags := b.openFlags(in.Flags)
	vf, a, err := b.v.Create(background, &c, dir.gfid, name, flags|fop.OExcl, in.Mode, in.Umask)
	if fop.Errno(err) == syscall.EEXIST && in.Flags&fop.OExcl == 0 {
		if a, err = b.v.Lookup(background, &c, dir.gfid, name); err == nil {
			vf, err = b.v.Open(background, &c, a.GFID, flags)
		}
		if err == nil && flags&fop.OTrunc != 0 {
			a, err = vf.Getattr(background, &c)
		}
	}
	b.touch(dir)
	if err != nil {
		return status(err)
	}
	n := b.entryOut(&out.EntryOut, dir, name, &a)
	b.touch(n)
	b.opened(&out.OpenOut, n, vf, in.Flags)
	return fuse.OK
}
