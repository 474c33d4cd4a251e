//go:build linux

package posix

import (
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// birth is a new entry on its way onto the disk. The steps of all entry fops
// that make one are the methods of it, called in the order in which they stand
// here.
type birth struct {
	b    *Brick
	op   string
	h    *fop.Header
	dir  *held
	name string
	gfid fop.GFID
	pre  fop.Iatt // of the directory
	gid  uint32   // of the new object
	o    brickfs.Obj
	in   *inode
	born bool // the GFID was set: the handle is ours to remove again
	lock *sync.Mutex
}

// begin checks what all makers of entries check.
func (b *Brick) begin(op string, h *fop.Header, parent fop.GFID, name string) (*birth, error) {
	v, _ := h.XData.Get(fop.KeyGFIDReq)
	g, ok := v.GFID()
	if !ok || g.IsZero() {
		if op == "mkdir" && ok {
			return nil, syscall.EPERM
		}
		if h.Cred.PID != fop.PIDTrash {
			return nil, syscall.EINVAL
		}
		g = fop.NewGFID()
	}
	if g == fop.RootGFID {
		return nil, syscall.EEXIST
	}
	dir, err := b.parent(parent, name)
	if err != nil {
		return nil, err
	}
	n := &birth{b: b, op: op, h: h, dir: dir, name: name, gfid: g, gid: h.Cred.GID, o: brickfs.At(dir.fd, name)}
	if dotName(name) {
		err = syscall.EEXIST
	} else if err = b.full(h); err == nil {
		n.pre, err = b.iattDir(dir)
	}
	if err != nil {
		dir.put()
		return nil, err
	}
	if n.pre.Mode&unix.S_ISGID != 0 {
		n.gid = n.pre.GID
	}
	n.in = b.inodes.get(g)
	n.lock = b.names.lock(parent, name)
	return n, nil
}

func (n *birth) end() {
	n.lock.Unlock()
	n.dir.put()
	n.b.inodes.put(n.in)
}

func (n *birth) at(step string) {
	if n.b.step != nil {
		n.b.step(n.op + "." + step)
	}
}

// own gives the new object its owner. mode is the wanted one, with type.
func (n *birth) own(mode uint32, rdev uint64) error {
	n.at("owner")
	if n.b.attrs.Rootless() {
		return n.b.setRecord(n.o, record{n.h.Cred.UID, n.gid, mode, rdev})
	}
	var st unix.Stat_t
	if statObj(n.o, &st) == nil && st.Uid == n.h.Cred.UID && st.Gid == n.gid {
		return nil // chown would only cost a transaction
	}
	if err := n.b.setOwner(n.o, int(n.h.Cred.UID), int(n.gid)); err != nil {
		return err
	}
	// chown(2) cleared these bits of a file. Setgid comes back if the caller could
	// have made it for that group himself.
	special := mode & (unix.S_ISUID | unix.S_ISGID)
	if c := &n.h.Cred; c.UID != 0 && !c.InGroup(n.gid) && mode&unix.S_IXGRP != 0 {
		special &^= unix.S_ISGID
	}
	if mode&unix.S_IFMT != unix.S_IFREG || special == 0 {
		return nil
	}
	n.at("mode")
	return n.b.setMode(n.o, mode&0o7777&^(unix.S_ISUID|unix.S_ISGID)|special)
}

// dress sets the attributes that come before the GFID. Failures are only
// logged, as they are in GlusterFS.
func (n *birth) dress(dir bool) {
	b, o := n.b, n.o
	for _, key := range [2]string{fop.XattrACLAccess, fop.XattrACLDefault} {
		if v, ok := n.h.XData.Get(key); ok && len(v.Bytes()) > 0 {
			n.at("acl")
			if err := b.attrs.Set(o, key, v.Bytes(), 0); err != nil {
				b.warn("cannot set the ACL of a new object", n.gfid, n.name, err)
			}
		}
	}
	if !dir {
		b.countLink(o, n.dir.gfid, +1)
		n.at("name")
		b.addName(o, n.dir.gfid, n.name)
	}
	for _, p := range n.h.XData.Pairs() {
		if !settable(p.Key) || p.Key == fop.XattrACLAccess || p.Key == fop.XattrACLDefault {
			continue
		}
		n.at("xattr")
		var err error
		if p.Key == fop.XattrMdata {
			if m, ok := fop.ParseMdata(p.Val.Bytes()); ok {
				err = b.mergeTimes(o, n.in, m)
			}
		} else {
			err = b.attrs.Set(o, p.Key, p.Val.Bytes(), unix.XATTR_CREATE)
		}
		if err != nil {
			b.warn("cannot set "+p.Key+" on a new object", n.gfid, n.name, err)
			break
		}
	}
}

// settable reports whether a key of a maker's XData is to be stored on the new
// object.
func settable(key string) bool {
	switch {
	case key == fop.XattrGFID, key == fop.KeyVolumeID, key == fop.KeyPathinfo,
		strings.HasPrefix(key, fop.XattrGFID2Path):
		return false
	}
	return nameSpace(key)
}

// nameSpace reports whether key is in one of the name spaces of xattrs.
func nameSpace(key string) bool {
	i := strings.IndexByte(key, '.')
	if i < 0 || i == len(key)-1 || len(key) > 255 {
		return false
	}
	switch key[:i] {
	case "trusted", "user", "system", "security":
		return true
	}
	return false
}

// identify sets GFID and handle.
func (n *birth) identify(dir bool) error {
	b := n.b
	n.at("gfid")
	if err := b.attrs.Set(n.o, fop.XattrGFID, n.gfid[:], unix.XATTR_CREATE); err != nil {
		return err
	}
	n.at("handle")
	if dir {
		n.in.handle.Lock()
		defer n.in.handle.Unlock()
		err := b.symlinkHandle(n.gfid, n.dir.gfid, n.name)
		if err == syscall.EEXIST {
			err = n.takeOver()
		}
		n.born = err == nil
		return err
	}
	handle := brickfs.Handle(n.gfid)
	link := brickfs.At(n.dir.fd, n.name)
	err := b.linkHandle(link, handle)
	if err == syscall.EEXIST {
		var have, st unix.Stat_t
		if unix.Fstatat(b.meta, handle, &have, unix.AT_SYMLINK_NOFOLLOW) == nil && statObj(link, &st) == nil && same(&have, &st) {
			err = nil
		}
	}
	if n.born = err == nil; n.born {
		n.in.mu.Lock()
		n.in.handled = true
		n.in.mu.Unlock()
	}
	return err
}

// takeOver points the handle of a directory, which exists already, to the new
// place: two directories with one GFID are the middle of a rename that is done
// on another brick, and the new one is going to stay.
func (n *birth) takeOver() error {
	b := n.b
	var st unix.Stat_t
	handle := brickfs.Handle(n.gfid)
	if err := unix.Fstatat(b.meta, handle, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if !isSymlink(&st) || st.Nlink != 1 {
		return syscall.EEXIST
	}
	b.log.Info("a directory with this gfid exists elsewhere; its handle moves", "brick", b.dir, "gfid", n.gfid.String(), "name", n.name)
	b.dirs.drop(n.gfid)
	if err := unix.Unlinkat(b.meta, handle, 0); err != nil && err != syscall.ENOENT {
		return err
	}
	n.at("handle.again")
	return b.symlinkHandle(n.gfid, n.dir.gfid, n.name)
}

// undo takes the entry back after an error.
func (n *birth) undo(flags int) {
	n.b.attrs.Forget(brickfs.At(n.dir.fd, n.name))
	if n.born {
		unix.Unlinkat(n.b.meta, brickfs.Handle(n.gfid), 0)
	}
	unix.Unlinkat(n.dir.fd, n.name, flags)
	n.in.reset()
	if flags != 0 {
		n.b.dirs.drop(n.gfid)
	}
}

// finish records the times and collects the attributes for the reply.
func (n *birth) finish() (stat, post fop.Iatt, err error) {
	b := n.b
	var st unix.Stat_t
	if err = statObj(n.o, &st); err != nil {
		return
	}
	n.at("times")
	b.touch(n.o, n.in, &n.h.Time, n.h.Time.Flags&ownTimes)
	stat = b.iattOf(n.o, &st, n.in)
	n.at("parent")
	b.touchDir(n.dir, &n.h.Time)
	post, err = b.iattDir(n.dir)
	return
}

func (n *birth) reply() (*fop.EntryReply, error) {
	stat, post, err := n.finish()
	if err != nil {
		return nil, err
	}
	return &fop.EntryReply{Stat: stat, PreParent: n.pre, PostParent: post}, nil
}

// preop fails the fop when an attribute of the directory on disk is not what
// the client thinks; distribute guards its layouts with it.
func (n *birth) preop() (*fop.Dict, error) {
	x := n.h.XData
	v, ok := x.Get("glusterfs.preop.parent.key")
	if !ok {
		return nil, nil
	}
	key := v.Text()
	want := x.Bytes(key)
	have, err := n.b.attrs.Value(brickfs.At(n.dir.fd, "."), key)
	if err != nil && n.op == "mkdir" {
		return nil, err
	}
	if err == nil && string(have) == string(want) {
		h := *n.h
		h.XData = x.Clone()
		h.XData.Delete("glusterfs.preop.parent.key")
		h.XData.Delete(key)
		n.h = &h
		return nil, nil
	}
	return fop.NewDict(fop.Pair{Key: "glusterfs.preop.check.failed", Val: fop.Int(1)}), syscall.EIO
}
