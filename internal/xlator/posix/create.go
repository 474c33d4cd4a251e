//go:build linux

package posix

import (
	"encoding/binary"
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
	return n.b.setOwner(n.o, int(n.h.Cred.UID), int(n.gid))
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

func (b *Brick) create(r *fop.Create) (*fop.CreateReply, error) {
	n, err := b.begin("create", &r.Header, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	defer n.end()
	flags := int(r.Flags) &^ (unix.O_DIRECTORY | fop.OExec)
	if r.Flags == 0 {
		flags = unix.O_RDWR | unix.O_EXCL
	}
	mode := b.opt.Load().modeFor(r.Mode&0o7777, false)
	if x, err := n.preop(); err != nil {
		var st unix.Stat_t
		if statObj(n.o, &st) != nil { // an existing file is just opened
			return &fop.CreateReply{ReplyHeader: fop.ReplyHeader{XData: x}}, err
		}
	}
	n.at("entry")
	if b.opt.Load().oDirect {
		flags |= unix.O_DIRECT
	}
	fd, err := brickfs.Openat(n.dir.fd, n.name, flags|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, b.diskMode(mode, false))
	made := err == nil
	if err == syscall.EEXIST && flags&unix.O_EXCL == 0 {
		fd, err = b.openExisting(n, flags)
	}
	if err != nil {
		return nil, err
	}
	n.o.Fd = fd
	if made {
		n.in.fresh()
		if err = n.own(unix.S_IFREG|mode, 0); err == nil {
			n.dress(false)
			err = n.identify(false)
		}
	}
	var stat, post fop.Iatt
	if err == nil {
		stat, post, err = n.finish()
	}
	if err != nil {
		unix.Close(fd)
		if made && flags&unix.O_EXCL != 0 {
			n.undo(0)
		}
		return nil, err
	}
	b.keep(r.Fd, fd, flags, n.in, false)
	return &fop.CreateReply{Stat: stat, PreParent: n.pre, PostParent: post}, nil
}

// openExisting opens the file that a create without O_EXCL met.
func (b *Brick) openExisting(n *birth, flags int) (int, error) {
	o := brickfs.At(n.dir.fd, n.name)
	var st unix.Stat_t
	if err := statObj(o, &st); err != nil {
		return -1, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return -1, syscall.EISDIR
	case unix.S_IFLNK:
		return -1, syscall.ELOOP
	case unix.S_IFREG:
	default:
		return -1, syscall.EINVAL
	}
	g, err := b.gfidOf(o)
	if err == syscall.ENODATA { // half made; it gets the gfid of this request
		if err = b.attrs.Set(o, fop.XattrGFID, n.gfid[:], unix.XATTR_CREATE); err != nil && err != syscall.EEXIST {
			return -1, err
		}
		g, err = b.gfidOf(o)
	}
	if err != nil {
		return -1, err
	}
	b.inodes.put(n.in)
	n.gfid, n.in = g, b.inodes.get(g)
	b.mendLocked(n.dir, n.name, n.in, &st, false)
	return brickfs.Openat(n.dir.fd, n.name, flags|unix.O_NOFOLLOW, 0)
}

func (b *Brick) mknod(r *fop.Mknod) (*fop.EntryReply, error) {
	n, err := b.begin("mknod", &r.Header, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	defer n.end()
	mode := b.opt.Load().modeFor(r.Mode, false)
	if mode&unix.S_IFMT == 0 {
		mode |= unix.S_IFREG
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return nil, syscall.EINVAL
	}
	if r.XData.Has(fop.KeyInternalFop) && n.revive() {
		n.dress(false)
		return n.reply()
	}
	node := mode&unix.S_IFMT | b.diskMode(mode&0o7777, false)
	if b.attrs.Rootless() && (node&unix.S_IFMT == unix.S_IFCHR || node&unix.S_IFMT == unix.S_IFBLK) {
		node = unix.S_IFREG | 0o600 // the record has the type
	}
	n.at("entry")
	err = unix.Mknodat(n.dir.fd, n.name, node, int(r.Rdev))
	if err == syscall.EEXIST && r.XData.Has("force-replace") && b.removeLinkto(n) {
		err = unix.Mknodat(n.dir.fd, n.name, node, int(r.Rdev))
	}
	if err != nil {
		return nil, err
	}
	n.in.fresh()
	if err = n.own(mode, r.Rdev); err == nil {
		n.dress(false)
		err = n.identify(false)
	}
	if err == nil {
		var reply *fop.EntryReply
		if reply, err = n.reply(); err == nil {
			return reply, nil
		}
	}
	n.undo(0)
	return nil, err
}

// revive gives an object that exists already the new name, which is what
// distribute wants when it makes a linkto file for it.
func (n *birth) revive() bool {
	b, handle := n.b, brickfs.Handle(n.gfid)
	var st unix.Stat_t
	if unix.Fstatat(b.meta, handle, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		if isSymlink(&st) {
			return false
		}
		n.at("entry")
		return unix.Linkat(b.meta, handle, n.dir.fd, n.name, 0) == nil
	}
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	if !n.in.unlinked {
		return false
	}
	kept := brickfs.Unlinked + "/" + n.gfid.String()
	n.at("entry")
	if unix.Linkat(b.meta, kept, n.dir.fd, n.name, 0) != nil {
		return false
	}
	n.at("handle")
	if unix.Renameat(b.meta, kept, b.meta, handle) == nil {
		n.in.unlinked, n.in.handled = false, true
	}
	return true
}

// removeLinkto removes the entry that is in the way if it is a linkto file of
// distribute.
func (b *Brick) removeLinkto(n *birth) bool {
	o := brickfs.At(n.dir.fd, n.name)
	var st unix.Stat_t
	if statObj(o, &st) != nil || !isLinkto(&st) {
		return false
	}
	if g, err := b.gfidOf(o); err == nil && st.Nlink == 2 {
		n.at("replace.handle")
		unix.Unlinkat(b.meta, brickfs.Handle(g), 0)
		old := b.inodes.get(g)
		old.reset()
		b.inodes.put(old)
	}
	n.at("replace.entry")
	return unix.Unlinkat(n.dir.fd, n.name, 0) == nil
}

func isLinkto(st *unix.Stat_t) bool { return isRegular(st) && st.Mode&0o7777 == 0o1000 }

func (b *Brick) mkdir(r *fop.Mkdir) (*fop.EntryReply, error) {
	n, err := b.begin("mkdir", &r.Header, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	defer n.end()
	mode := b.opt.Load().modeFor(r.Mode&0o7777, true)
	if n.pre.Mode&unix.S_ISGID != 0 {
		mode |= unix.S_ISGID
	}
	if x, err := n.preop(); err != nil {
		return &fop.EntryReply{ReplyHeader: fop.ReplyHeader{XData: x}}, err
	}
	n.at("entry")
	if err := unix.Mkdirat(n.dir.fd, n.name, b.diskMode(mode, true)); err != nil {
		return nil, err
	}
	fd, err := n.openDir(mode)
	if err == nil {
		n.in.fresh()
		if err = n.own(unix.S_IFDIR|mode, 0); err == nil {
			n.dress(true)
			err = n.identify(true)
		}
		if err == nil {
			var reply *fop.EntryReply
			if reply, err = n.reply(); err == nil {
				var st unix.Stat_t
				if unix.Fstatat(fd, ".", &st, 0) == nil {
					b.dirs.add(n.gfid, fd, &st).put()
				} else {
					unix.Close(fd)
				}
				return reply, nil
			}
		}
		unix.Close(fd)
	}
	n.undo(unix.AT_REMOVEDIR)
	return nil, err
}

// openDir opens the directory just made, for the steps that follow and for the
// cache, and gives it the bits of mode that mkdir(2) does not.
func (n *birth) openDir(mode uint32) (int, error) {
	fd, err := brickfs.Openat(n.dir.fd, n.name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	n.o = brickfs.At(fd, ".")
	if mode&(unix.S_ISUID|unix.S_ISGID) != 0 && !n.b.attrs.Rootless() {
		if err = unix.Fchmodat(fd, ".", mode, 0); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

func (b *Brick) symlink(r *fop.Symlink) (*fop.EntryReply, error) {
	if r.Target == "" {
		return nil, syscall.ENOENT
	}
	n, err := b.begin("symlink", &r.Header, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	defer n.end()
	n.at("entry")
	if err := unix.Symlinkat(r.Target, n.dir.fd, n.name); err != nil {
		return nil, err
	}
	n.in.fresh()
	n.at("times")
	b.touch(n.o, n.in, &r.Time, r.Time.Flags&ownTimes)
	if err = n.own(unix.S_IFLNK|0o777, 0); err == nil {
		n.dress(false)
		err = n.identify(false)
	}
	if err == nil {
		var reply *fop.EntryReply
		if reply, err = n.reply(); err == nil {
			return reply, nil
		}
	}
	n.undo(0)
	return nil, err
}

func (b *Brick) link(r *fop.Link) (*fop.EntryReply, error) {
	dir, err := b.parent(r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	n := &birth{b: b, op: "link", h: &r.Header, dir: dir, name: r.Name, gfid: r.GFID, o: brickfs.At(dir.fd, r.Name)}
	defer dir.put()
	if dotName(r.Name) {
		return nil, syscall.EEXIST
	}
	if err := b.full(&r.Header); err != nil {
		return nil, err
	}
	var p place
	if err := b.find(r.GFID, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	n.in = p.in
	if isDir(&p.st) {
		return nil, syscall.EPERM
	}
	opt := b.opt.Load()
	if opt.maxLinks > 0 && int64(p.st.Nlink)-1 >= opt.maxLinks {
		return nil, syscall.EMLINK
	}
	if n.pre, err = b.iattDir(dir); err != nil {
		return nil, err
	}
	defer b.names.lock(r.Parent, r.Name).Unlock()
	p.in.handle.Lock() // unlink of another name must not count without this one
	defer p.in.handle.Unlock()
	n.at("entry")
	err = unix.Linkat(p.Dir, p.Name, dir.fd, r.Name, 0)
	if err == syscall.EEXIST && r.XData.Has("force-replace") && b.removeLinkto(n) {
		err = unix.Linkat(p.Dir, p.Name, dir.fd, r.Name, 0)
	}
	if err == syscall.ENOENT {
		err = syscall.ESTALE // the last name went away meanwhile
	}
	if err != nil {
		return nil, err
	}
	n.at("name")
	b.countLink(n.o, dir.gfid, +1)
	if int64(p.st.Nlink) <= 500 {
		if err := b.addName(n.o, dir.gfid, r.Name); err != nil {
			b.countLink(n.o, dir.gfid, -1)
			unix.Unlinkat(dir.fd, r.Name, 0)
			return nil, err
		}
	}
	return n.reply()
}

// addName sets the back-pointer for a name.
func (b *Brick) addName(o brickfs.Obj, parent fop.GFID, name string) error {
	if !b.opt.Load().gfid2path {
		return nil
	}
	key, value := brickfs.BackPointer(parent, name)
	err := b.attrs.Set(o, key, []byte(value), unix.XATTR_CREATE)
	if err == syscall.EEXIST {
		err = nil
	}
	if err != nil {
		b.warn("cannot set the back-pointer", parent, name, err)
	}
	return err
}

// removeName removes the back-pointer for a name; one that is not there is fine.
func (b *Brick) removeName(o brickfs.Obj, parent fop.GFID, name string) error {
	key, _ := brickfs.BackPointer(parent, name)
	if err := b.attrs.Remove(o, key); err != nil && err != syscall.ENODATA {
		return err
	}
	return nil
}

func pgfidKey(parent fop.GFID) string { return "trusted.pgfid." + parent.String() }

// countLink keeps the older form of back-pointers, the number of names in each
// directory, where the option wants it.
func (b *Brick) countLink(o brickfs.Obj, parent fop.GFID, by int) {
	if !b.opt.Load().pgfid {
		return
	}
	in := b.inodes.get(parent) // any lock will do that all names in it share
	defer b.inodes.put(in)
	in.op.Lock()
	defer in.op.Unlock()
	var buf [4]byte
	key := pgfidKey(parent)
	n, err := b.attrs.Get(o, key, buf[:])
	count := 0
	if err == nil && n == 4 {
		count = int(binary.BigEndian.Uint32(buf[:]))
	}
	if count += by; count <= 0 {
		b.attrs.Remove(o, key)
		return
	}
	binary.BigEndian.PutUint32(buf[:], uint32(count))
	b.attrs.Set(o, key, buf[:], 0)
}
