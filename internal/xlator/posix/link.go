//go:build linux

package posix

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

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
	switch err {
	case nil, syscall.EEXIST:
		return nil
	case syscall.ENOSPC, syscall.E2BIG, syscall.ERANGE:
		// ext4 has room for a few dozen. The name is good without.
		b.warn("no room for the back-pointer", parent, name, err)
		return nil
	}
	b.warn("cannot set the back-pointer", parent, name, err)
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
