package fuse

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

// refused says why an attribute is not for this mount, 0 if it is. Without the
// option acl there are no ACLs, without selinux no labels and no capabilities of
// files, and what makes an object one of a volume is out of reach: all but for one
// error as with GlusterFS 10.3's client.
func (b *bridge) refused(name string, get bool) syscall.Errno {
	switch {
	case !b.cfg.ACL && (name == fop.XattrACLAccess || name == fop.XattrACLDefault):
		return syscall.EOPNOTSUPP
	case !b.cfg.SELinux && name == "security.selinux":
		// GlusterFS says ENODATA to who reads it. Programs such as ls take that for
		// one file without a label, and ask for the next one's; this is for all.
		return syscall.EOPNOTSUPP
	case !b.cfg.SELinux && name == "security.capability":
		if get {
			return syscall.ENODATA
		}
		return syscall.EOPNOTSUPP
	case name == fop.XattrGFID || name == fop.KeyVolumeID:
		if get {
			return syscall.ENODATA
		}
		return syscall.EPERM
	}
	return 0
}

// GetXAttr returns an attribute.
func (b *bridge) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dst []byte) (uint32, fuse.Status) {
	n, st := b.node(h.NodeId)
	if !st.Ok() {
		return 0, st
	}
	if e := b.refused(name, true); e != 0 {
		return 0, fuse.Status(e)
	}
	c := b.cred(h)
	val, err := b.v.Getxattr(background, &c, n.gfid, name)
	if gone(err) {
		if f := n.anyOpen(); f != nil {
			val, err = f.vf.Getxattr(background, &c, name)
			b.letGo(f)
		}
	}
	if err != nil {
		return 0, status(err)
	}
	if len(val) > len(dst) {
		return uint32(len(val)), fuse.ERANGE
	}
	return uint32(copy(dst, val)), fuse.OK
}

// ListXAttr lists the names of attributes.
func (b *bridge) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dst []byte) (uint32, fuse.Status) {
	n, st := b.node(h.NodeId)
	if !st.Ok() {
		return 0, st
	}
	c := b.cred(h)
	names, err := b.v.Listxattr(background, &c, n.gfid)
	if gone(err) {
		if f := n.anyOpen(); f != nil {
			names, err = f.vf.Listxattr(background, &c)
			b.letGo(f)
		}
	}
	if err != nil {
		return 0, status(err)
	}
	size, all := 0, dst
	for _, name := range names {
		if b.refused(name, true) != 0 {
			continue
		}
		size += len(name) + 1
		if size <= len(all) {
			dst = dst[copy(dst, name):]
			dst[0] = 0
			dst = dst[1:]
		}
	}
	if size > len(all) {
		return uint32(size), fuse.ERANGE
	}
	return uint32(size), fuse.OK
}

// SetXAttr sets an attribute.
func (b *bridge) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, val []byte) fuse.Status {
	n, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	if e := b.refused(name, false); e != 0 {
		return fuse.Status(e)
	}
	c := b.cred(&in.InHeader)
	defer b.touch(n)
	err := b.v.Setxattr(background, &c, n.gfid, name, val, in.Flags)
	if gone(err) {
		if f := n.anyOpen(); f != nil {
			err = f.vf.Setxattr(background, &c, name, val, in.Flags)
			b.letGo(f)
		}
	}
	if err == nil && in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
		b.clearMode(&c, n, nil, n.mode.Load()&fop.ModeSetgid)
	}
	return status(err)
}

// RemoveXAttr removes an attribute.
func (b *bridge) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	n, st := b.node(h.NodeId)
	if !st.Ok() {
		return st
	}
	if e := b.refused(name, false); e != 0 {
		return fuse.Status(e)
	}
	c := b.cred(h)
	defer b.touch(n)
	err := b.v.Removexattr(background, &c, n.gfid, name)
	if gone(err) {
		if f := n.anyOpen(); f != nil {
			err = f.vf.Removexattr(background, &c, name)
			b.letGo(f)
		}
	}
	return status(err)
}
