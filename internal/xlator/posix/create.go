//go:build linux

package posix

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

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
	// mkdir(2) takes no setuid and setgid bits but gives those of the directory.
	mode := b.opt.Load().modeFor(r.Mode&0o1777, true)
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
	fd, err := n.openDir()
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
// cache.
func (n *birth) openDir() (int, error) {
	fd, err := brickfs.Openat(n.dir.fd, n.name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	n.o = brickfs.At(fd, ".")
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
