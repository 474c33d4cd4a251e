package check

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// each calls f for every name in the directory fd, which it does not close.
func (c *checker) each(fd int, f func(name string)) error {
	k, err := brickfs.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(k), "")
	defer d.Close()
	for c.ctx.Err() == nil {
		names, err := d.Readdirnames(1024)
		for _, n := range names {
			f(n)
		}
		if err != nil || len(names) == 0 {
			break
		}
	}
	return nil
}

// checkNames walks the tree that clients see.
func (c *checker) checkNames() error {
	return c.walk(c.root, fop.RootGFID, "", c.checkEntry)
}

type visit func(dir int, parent fop.GFID, at, name string, st *unix.Stat_t) (g fop.GFID)

func (c *checker) walk(dir int, g fop.GFID, at string, f visit) error {
	return c.each(dir, func(name string) {
		if at == "" && name == brickfs.Meta {
			return
		}
		where := path.Join(at, name)
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if err != syscall.ENOENT {
				c.report(Problem{Kind: Unreadable, Path: where, Detail: err.Error()}, "", nil)
			}
			return
		}
		child := f(dir, g, where, name, &st)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return
		}
		fd, err := brickfs.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err == nil {
			err = c.walk(fd, child, where, f)
			unix.Close(fd)
		}
		if err != nil {
			c.report(Problem{Kind: Unreadable, Path: where, Detail: err.Error()}, "", nil)
		}
	})
}

// checkEntry checks one name. The zero parent is a directory without GFID.
func (c *checker) checkEntry(dir int, parent fop.GFID, at, name string, st *unix.Stat_t) fop.GFID {
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDir {
		c.sum.Dirs++
	} else {
		c.sum.Files++
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			c.special[st.Ino] = true
		}
	}
	o := brickfs.At(dir, name)
	g, bad, err := c.gfidOf(o)
	if err != nil && err != syscall.ENODATA {
		c.report(Problem{Kind: Unreadable, Path: at, Detail: err.Error()}, "", nil)
		return g
	}
	if err == nil && g == fop.RootGFID {
		bad, err = "it has the GFID of the root", syscall.ENODATA
	}
	if err != nil {
		if c.nameless[st.Ino] == nil {
			n := &nameless{path: at, parent: parent, name: name, dir: isDir, detail: bad, kind: NoGFID}
			if bad != "" {
				n.kind, n.bad = BadGFID, true
			}
			c.nameless[st.Ino] = n
		}
		return fop.GFID{}
	}
	c.checkAttrs(o, at, g, isDir)
	if isDir {
		if !parent.IsZero() {
			c.checkDirHandle(parent, at, name, g, st)
		}
		return g
	}
	c.checkFileHandle(dir, at, name, g, st)
	if !parent.IsZero() {
		c.checkPointers(o, parent, at, name, g, st)
	}
	if st.Nlink != 2 {
		l := c.linked[st.Ino]
		if l == nil {
			l = &linked{path: at, gfid: g}
			c.linked[st.Ino] = l
		}
		l.names++
	}
	return g
}

// checkDirHandle checks the handle of a directory, a symbolic link.
func (c *checker) checkDirHandle(parent fop.GFID, at, name string, g fop.GFID, st *unix.Stat_t) {
	want := brickfs.DirTarget(parent, name)
	p, n, target, err := c.readDirHandle(g)
	handle := brickfs.Handle(g)
	switch {
	case err == nil && target == want:
		c.seen[bucketOf(g)].add(g)
		return
	case err == syscall.ENOENT:
		if c.report(Problem{Kind: NoHandle, Path: at, GFID: g, Heals: true}, "made it", func() error { return c.symlink(want, handle) }) {
			c.seen[bucketOf(g)].add(g)
		}
		return
	case err == syscall.EINVAL && target == "":
		c.report(Problem{Kind: WrongHandle, Path: at, GFID: g, Detail: "the handle of this directory is not a symbolic link"}, "", nil)
		return
	}
	if err == nil {
		var other unix.Stat_t
		if have, ok := c.leads(p, n, &other); ok && have == g && other.Ino != st.Ino {
			c.report(Problem{Kind: DuplicateGFID, Path: at, GFID: g, Detail: "another directory has it too: " + target}, "", nil)
			return
		}
	}
	c.blamed[g] = !c.o.Repair
	fixed := c.report(Problem{Kind: WrongHandle, Path: at, GFID: g, Detail: "the handle leads to " + target}, "set it right", func() error {
		var have unix.Stat_t
		if err := unix.Fstatat(c.meta, handle, &have, unix.AT_SYMLINK_NOFOLLOW); err != nil || have.Nlink != 1 {
			return syscall.EEXIST // a symbolic link of a user
		}
		if err := unix.Unlinkat(c.meta, handle, 0); err != nil {
			return err
		}
		return c.symlink(want, handle)
	})
	if fixed {
		c.seen[bucketOf(g)].add(g)
	}
}

// checkFileHandle checks the handle of anything but a directory, a hard link.
func (c *checker) checkFileHandle(dir int, at, name string, g fop.GFID, st *unix.Stat_t) {
	var have unix.Stat_t
	handle := brickfs.Handle(g)
	err := unix.Fstatat(c.meta, handle, &have, unix.AT_SYMLINK_NOFOLLOW)
	ok := err == nil && have.Ino == st.Ino
	switch {
	case ok:
	case err == syscall.ENOENT:
		if ok = c.report(Problem{Kind: NoHandle, Path: at, GFID: g, Heals: true}, "made it", func() error { return c.link(dir, name, handle) }); ok {
			st.Nlink++
		}
	case err != nil:
		c.report(Problem{Kind: Unreadable, Path: path.Join(brickfs.Meta, handle), Detail: err.Error()}, "", nil)
	default:
		other, _, _ := c.gfidOf(brickfs.At(c.meta, handle))
		if other == g && have.Mode&unix.S_IFMT != unix.S_IFDIR && have.Nlink > 1 {
			c.report(Problem{Kind: DuplicateGFID, Path: at, GFID: g, Detail: "the handle leads to another object with this GFID; one of them has to be removed by hand"}, "", nil)
			return
		}
		ok = c.report(Problem{Kind: WrongHandle, Path: at, GFID: g, Detail: "the handle leads to another object"}, "set it right", func() error {
			if err := c.displace(handle, g, &have); err != nil {
				return err
			}
			return c.link(dir, name, handle)
		})
		if ok {
			st.Nlink++
		}
	}
	if ok && (c.linked[st.Ino] == nil || c.linked[st.Ino].names == 0) {
		c.seen[bucketOf(g)].add(g)
	}
}

// displace takes a wrong handle out of the way without losing data.
func (c *checker) displace(handle string, g fop.GFID, st *unix.Stat_t) error {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return syscall.EISDIR
	case st.Nlink > 1 || st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return unix.Unlinkat(c.meta, handle, 0)
	}
	return c.toLost(handle, g)
}

func (c *checker) toLost(from string, g fop.GFID) error {
	mode := uint32(0o600)
	if c.attrs.Rootless() {
		mode = 0o700
	}
	if err := unix.Mkdirat(c.meta, lost, mode); err != nil && err != syscall.EEXIST {
		return err
	}
	for i := 0; i < 1000; i++ {
		to := lost + "/" + g.String()
		if i > 0 {
			to += fmt.Sprintf(".%d", i)
		}
		if err := unix.Renameat2(c.meta, from, c.meta, to, unix.RENAME_NOREPLACE); err != syscall.EEXIST {
			return err
		}
	}
	return syscall.EEXIST
}

// checkPointers checks the back-pointers of an object, reached by one of its
// names.
func (c *checker) checkPointers(o brickfs.Obj, parent fop.GFID, at, name string, g fop.GFID, st *unix.Stat_t) {
	names, err := c.attrs.List(o)
	if err != nil {
		c.report(Problem{Kind: Unreadable, Path: at, Detail: err.Error()}, "", nil)
		return
	}
	key, value := brickfs.BackPointer(parent, name)
	found, count := false, 0
	for _, n := range names {
		if strings.HasPrefix(n, fop.XattrGFID2Path) {
			count++
			found = found || n == key
		}
	}
	if found {
		v, err := c.attrs.Value(o, key)
		if found = err == nil && string(v) == value; !found && err == nil {
			c.report(Problem{Kind: ExtraPointer, Path: at, GFID: g, Detail: fmt.Sprintf("%s is %q", key, v)}, "removed it", func() error { return c.attrs.Remove(o, key) })
			count--
		}
	}
	if !found && !c.o.NoBackPointers && st.Nlink <= 500 {
		if c.report(Problem{Kind: BackPointer, Path: at, GFID: g}, "made it", func() error { return c.attrs.Set(o, key, []byte(value), unix.XATTR_CREATE) }) {
			count++
		}
	}
	if count < int(st.Nlink) {
		return // one per name at most: the other names are checked by themselves
	}
	for _, n := range names {
		if n == key || !strings.HasPrefix(n, fop.XattrGFID2Path) {
			continue
		}
		v, err := c.attrs.Value(o, n)
		if err != nil {
			continue
		}
		var there unix.Stat_t
		p, base, ok := brickfs.ParseBackPointer(n, v)
		if ok {
			_, ok = c.leads(p, base, &there)
		}
		if !ok || there.Ino != st.Ino {
			c.report(Problem{Kind: ExtraPointer, Path: at, GFID: g, Detail: fmt.Sprintf("%s names %q, which is not this object", n, v)},
				"removed it", func() error { return c.attrs.Remove(o, n) })
		}
	}
}

// checkAttrs checks the attributes that every object can have.
func (c *checker) checkAttrs(o brickfs.Obj, at string, g fop.GFID, dir bool) {
	v, err := c.attrs.Value(o, fop.XattrMdata)
	if err == nil {
		detail := ""
		if m, ok := fop.ParseMdata(v); !ok {
			detail = fmt.Sprintf("%s has %d bytes, must have %d", fop.XattrMdata, len(v), fop.MdataSize)
		} else if v[0] != 1 {
			detail = fmt.Sprintf("%s has the unknown version %d", fop.XattrMdata, v[0])
		} else if max(m.Atime.Nsec, m.Mtime.Nsec, m.Ctime.Nsec) >= 1e9 {
			detail = fop.XattrMdata + " has a time with a billion nanoseconds or more"
		}
		if detail != "" {
			c.report(Problem{Kind: BadTimes, Path: at, GFID: g, Detail: detail}, "removed it; the times are now those of the file system",
				func() error { return c.attrs.Remove(o, fop.XattrMdata) })
		}
	}
	for _, key := range []string{fop.XattrACLAccess, fop.XattrACLDefault} {
		if key == fop.XattrACLDefault && !dir {
			continue
		}
		v, err := c.attrs.Value(o, key)
		if err == nil && !aclWellFormed(v) {
			c.report(Problem{Kind: BadACL, Path: at, GFID: g, Detail: fmt.Sprintf("%s is malformed: %x", key, v)}, "removed it; the mode decides now",
				func() error { return c.attrs.Remove(o, key) })
		}
	}
}

func aclWellFormed(b []byte) bool {
	if len(b) < 4 || len(b)%8 != 4 || binary.LittleEndian.Uint32(b) != 2 {
		return false
	}
	for b = b[4:]; len(b) > 0; b = b[8:] {
		switch binary.LittleEndian.Uint16(b) {
		case 1, 2, 4, 8, 0x10, 0x20:
		default:
			return false
		}
		if binary.LittleEndian.Uint16(b[2:]) > 7 {
			return false
		}
	}
	return true
}
