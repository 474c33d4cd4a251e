package fuse

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
)

// bridge turns the kernel's requests into fops. It has one method per request,
// which go-fuse calls with the message decoded; what the methods hand back is on
// its way to the kernel when they return, so a node that they name is counted
// before.
//
// Most requests wait for the bricks whatever the caller's signals: a mkdir that
// says EINTR and is done all the same helps nobody. Waits for locks end.
type bridge struct {
	// Requests that no volume can serve (BMAP, IOCTL, POLL and what the kernel may
	// think of yet) get ENOSYS, on which the kernel stops asking.
	fuse.RawFileSystem

	cfg    *Config
	v      *volume.Volume
	h      fop.Handler
	nodes  *nodes
	groups *groups
	notes  *notifier
	log    *slog.Logger

	files handles[file]
	dirs  handles[dir]
	waits waits

	// memory is that of the data of a request, by its number; see device.
	memory func(unique uint64) fop.Memory

	// changes numbers what is changed through this mount. A listing that was
	// fetched before a node changed says nothing about its attributes any more.
	changes atomic.Uint64
}

func newBridge(cfg *Config, h fop.Handler, root fop.GFID) *bridge {
	b := &bridge{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		cfg:           cfg,
		groups:        newGroups(cfg.GIDTimeout, cfg.ResolveGIDs),
		log:           cfg.Log,
	}
	b.h = regroup{h, b.groups}
	b.v = volume.New(b.h)
	if cfg.ACL {
		b.v = b.v.WithUmask()
	}
	b.notes = newNotifier(b)
	b.nodes = newNodes(root, cfg.LRULimit, b.notes.prune)
	return b
}

// String names the file system to go-fuse.
func (b *bridge) String() string { return "glusterfs" }

var background = context.Background()

// cred says who asks.
func (b *bridge) cred(h *fuse.InHeader) fop.Cred {
	c := fop.Cred{UID: h.Uid, GID: h.Gid, PID: int32(h.Pid), Groups: b.groups.of(&h.Caller)}
	if b.cfg.NoRootSquash {
		c.PID = fop.PIDNoRootSquash
	}
	return c
}

// freshCred is cred for a request where groups decide and no error tells that
// they are old: a set-group-ID bit is dropped in silence.
func (b *bridge) freshCred(h *fuse.InHeader, mode uint32) fop.Cred {
	if mode&fop.ModeSetgid != 0 && h.Uid != 0 {
		b.groups.drop(&h.Caller)
	}
	return b.cred(h)
}

// owned is cred for a request that names the owner of locks.
func (b *bridge) owned(h *fuse.InHeader, owner uint64) fop.Cred {
	c := b.cred(h)
	c.Owner = lockOwner(owner)
	return c
}

func lockOwner(owner uint64) string {
	var o [8]byte
	binary.LittleEndian.PutUint64(o[:], owner)
	return string(o[:])
}

// node finds the node that a request is about. The kernel only names what it
// knows; anything else is stale.
func (b *bridge) node(id uint64) (*node, fuse.Status) {
	if n := b.nodes.get(id); n != nil {
		return n, fuse.OK
	}
	return nil, fuse.Status(syscall.ESTALE)
}

// touch notes that n is about to change, or has changed, through this mount.
func (b *bridge) touch(n *node) { n.changed.Store(b.changes.Add(1)) }

// gone reports whether an error means that the object has no name any more. An
// open file of it may still serve.
func gone(err error) bool {
	e := fop.Errno(err)
	return e == syscall.ENOENT || e == syscall.ESTALE
}

// Lookup finds a name.
func (b *bridge) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir, st := b.node(h.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(h)
	a, err := b.v.Lookup(background, &c, dir.gfid, name)
	if err != nil {
		if fop.Errno(err) == syscall.ENOENT && b.cfg.NegativeTimeout > 0 {
			out.SetEntryTimeout(b.cfg.NegativeTimeout)
			return fuse.OK // node 0: there is none
		}
		return status(err)
	}
	b.entryOut(out, dir, name, &a)
	return fuse.OK
}

// Forget takes back what replies have named.
func (b *bridge) Forget(id, count uint64) { b.nodes.forget(id, count) }

// GetAttr asks for attributes, of the open file if the caller has one.
func (b *bridge) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	if last := n.attr.Load(); last != nil && n.removed.Load() {
		a := *last
		a.Nlink = 0
		b.fill(&out.Attr, &a)
		out.SetTimeout(b.cfg.AttrTimeout)
		return fuse.OK
	}
	c := b.cred(&in.InHeader)
	var a fop.Iatt
	var err error
	if f := b.fileOf(in); f != nil {
		a, err = f.vf.Getattr(background, &c)
	} else if a, err = b.v.Getattr(background, &c, n.gfid); gone(err) {
		if f := n.anyOpen(); f != nil {
			a, err = f.vf.Getattr(background, &c)
			b.letGo(f)
		}
	}
	if err != nil {
		return status(err)
	}
	b.attrOut(out, n, &a)
	return fuse.OK
}

func (b *bridge) fileOf(in *fuse.GetAttrIn) *file {
	if in.Flags()&fuse.FUSE_GETATTR_FH == 0 {
		return nil
	}
	f := b.files.get(in.Fh())
	if f == nil || f.n.id != in.NodeId {
		return nil // a directory's
	}
	return f
}

// SetAttr changes attributes.
func (b *bridge) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	var mode uint32
	if in.Valid&fuse.FATTR_MODE != 0 {
		mode = in.Mode
	}
	c := b.freshCred(&in.InHeader, mode)
	if in.Valid&fuse.FATTR_LOCKOWNER != 0 {
		c.Owner = lockOwner(in.LockOwner)
	}
	valid, want := wanted(in)
	var f *file
	if in.Valid&fuse.FATTR_FH != 0 {
		f = b.files.get(in.Fh)
	}
	b.touch(n)
	defer b.touch(n)
	a, err := b.setattr(&c, n, f, valid, want)
	if gone(err) && f == nil {
		if f := n.anyOpen(); f != nil {
			a, err = b.setattr(&c, n, f, valid, want)
			b.letGo(f)
		}
	}
	if err == nil && in.Valid&fuse.FATTR_KILL_SUIDGID != 0 && a.Mode != 0 {
		n.mode.Store(a.Mode)
		if k, done := b.killPriv(&c, n, f); done {
			a = k
		}
	}
	if err != nil {
		return status(err)
	}
	b.attrOut(out, n, &a)
	return fuse.OK
}

func (b *bridge) setattr(c *fop.Cred, n *node, f *file, valid int32, want fop.Iatt) (fop.Iatt, error) {
	if valid == 0 { // nothing that a brick knows
		return b.v.Getattr(background, c, n.gfid)
	}
	if valid&fop.SetSize != 0 {
		n.writes.Add(1)
	}
	if f != nil && (valid&fop.SetSize == 0 || f.writable()) {
		return f.vf.Setattr(background, c, valid, want)
	}
	return b.v.Setattr(background, c, n.gfid, valid, want)
}

// wanted turns the kernel's attributes to set into the wire's.
func wanted(in *fuse.SetAttrIn) (valid int32, want fop.Iatt) {
	for _, m := range [...]struct {
		kernel uint32
		ours   int32
	}{
		{fuse.FATTR_MODE, fop.SetMode}, {fuse.FATTR_UID, fop.SetUID}, {fuse.FATTR_GID, fop.SetGID}, {fuse.FATTR_SIZE, fop.SetSize},
		{fuse.FATTR_ATIME, fop.SetAtime}, {fuse.FATTR_MTIME, fop.SetMtime}, {fuse.FATTR_CTIME, fop.SetCtime},
		{fuse.FATTR_ATIME_NOW, fop.SetAtimeNow}, {fuse.FATTR_MTIME_NOW, fop.SetMtimeNow},
	} {
		if in.Valid&m.kernel != 0 {
			valid |= m.ours
		}
	}
	want = fop.Iatt{Mode: in.Mode, UID: in.Uid, GID: in.Gid, Size: in.Size,
		Atime: fop.Time{Sec: int64(in.Atime), Nsec: in.Atimensec},
		Mtime: fop.Time{Sec: int64(in.Mtime), Nsec: in.Mtimensec},
		Ctime: fop.Time{Sec: int64(in.Ctime), Nsec: in.Ctimensec}}
	return valid, want
}

// killPriv takes the set-user-ID bit and, of an executable, the set-group-ID bit
// away, as a write by an ordinary user must. Capabilities of the file are dropped
// by the brick's own file system. It reports whether there was anything to do.
func (b *bridge) killPriv(c *fop.Cred, n *node, f *file) (fop.Iatt, bool) {
	mode := n.mode.Load()
	kill := mode & fop.ModeSetuid
	if mode&0o010 != 0 {
		kill |= mode & fop.ModeSetgid
	}
	if mode&fop.ModeFmt != fop.ModeRegular {
		kill = 0
	}
	return b.clearMode(c, n, f, kill)
}

// clearMode takes bits of the mode away, if there are any.
func (b *bridge) clearMode(c *fop.Cred, n *node, f *file, kill uint32) (fop.Iatt, bool) {
	mode := n.mode.Load()
	if kill &= mode; kill == 0 {
		return fop.Iatt{}, false
	}
	// The caller need not own the file.
	root := fop.Cred{PID: c.PID}
	want := fop.Iatt{Mode: mode &^ kill & 0o7777}
	var a fop.Iatt
	var err error
	if f != nil {
		a, err = f.vf.Setattr(background, &root, fop.SetMode, want)
	} else {
		a, err = b.v.Setattr(background, &root, n.gfid, fop.SetMode, want)
	}
	if err != nil {
		b.log.Warn("set-user-ID or set-group-ID bit of a file could not be cleared", "gfid", n.gfid, "err", err)
		return fop.Iatt{}, false
	}
	n.mode.Store(a.Mode)
	b.touch(n)
	return a, true
}

// Access checks permissions where the kernel does not do so itself.
func (b *bridge) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	n, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(&in.InHeader)
	return status(b.v.Access(background, &c, n.gfid, in.Mask))
}

// Readlink returns the target of a symbolic link.
func (b *bridge) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	n, st := b.node(h.NodeId)
	if !st.Ok() {
		return nil, st
	}
	c := b.cred(h)
	target, err := b.v.Readlink(background, &c, n.gfid)
	return []byte(target), status(err)
}

// StatFs asks for the figures of the volume.
func (b *bridge) StatFs(_ <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	n, st := b.node(h.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(h)
	s, err := b.v.Statfs(background, &c, n.gfid)
	if gone(err) { // statfs of a file without a name
		s, err = b.v.Statfs(background, &c, b.nodes.root.gfid)
	}
	if err != nil {
		return status(err)
	}
	*out = fuse.StatfsOut{Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail, Files: s.Files, Ffree: s.Ffree,
		Bsize: uint32(s.Bsize), Frsize: uint32(s.Frsize), NameLen: uint32(s.Namemax)}
	return fuse.OK
}

// Ioctl has no commands.
func (b *bridge) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}
