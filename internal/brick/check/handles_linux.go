package check

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// openMeta opens a directory below .glusterfs; ok is false if there is none.
func (c *checker) openMeta(name string) (int, bool) {
	fd, err := brickfs.Openat(c.meta, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil && err != syscall.ENOENT {
		c.report(Problem{Kind: Unreadable, Path: path.Join(brickfs.Meta, name), Detail: err.Error()}, "", nil)
	}
	return fd, err == nil
}

// checkHandles walks all handles and compares them with what the names have
// proven.
func (c *checker) checkHandles() error {
	for aa := range 256 {
		top, ok := c.openMeta(fmt.Sprintf("%02x", aa))
		if !ok {
			continue
		}
		c.each(top, func(name string) {
			bb, err := strconv.ParseUint(name, 16, 8)
			if err != nil || fmt.Sprintf("%02x", bb) != name {
				c.report(Problem{Kind: Stray, Path: fmt.Sprintf("%s/%02x/%s", brickfs.Meta, aa, name), Detail: "not a directory of handles"}, "", nil)
				return
			}
			c.checkBucket(uint16(aa)<<8 | uint16(bb))
		})
		unix.Close(top)
		if c.ctx.Err() != nil {
			return nil
		}
	}
	for id, want := range c.seen {
		if want.n > 0 && !c.visited[id] { // the directory went away meanwhile
			c.suspect[uint16(id)] = true
		}
	}
	return c.checkSuspects()
}

// checkBucket checks one directory of handles.
func (c *checker) checkBucket(id uint16) {
	c.visited[id] = true
	bucket := fmt.Sprintf("%02x/%02x", id>>8, id&0xff)
	dir, ok := c.openMeta(bucket)
	if !ok {
		return
	}
	defer unix.Close(dir)
	var have handles
	c.each(dir, func(name string) {
		if g, ok := c.checkHandle(dir, bucket, name); ok {
			have.add(g)
		}
	})
	if have != c.seen[id] {
		c.suspect[id] = true
	}
}

// checkHandle checks one handle by itself. ok means that a name must have
// proven it.
func (c *checker) checkHandle(dir int, bucket, name string) (g fop.GFID, ok bool) {
	c.sum.Handles++
	at := path.Join(brickfs.Meta, bucket, name)
	g, err := fop.ParseGFID(name)
	if err != nil || brickfs.Handle(g) != bucket+"/"+name {
		c.report(Problem{Kind: Stray, Path: at, Detail: "its name is not that of a handle in this place"}, "", nil)
		return g, false
	}
	if g == fop.RootGFID || c.blamed[g] {
		return g, false // reported already
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return g, false
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		c.report(Problem{Kind: Stray, Path: at, Detail: "a handle is never a directory"}, "", nil)
		return g, false
	case st.Mode&unix.S_IFMT == unix.S_IFLNK && st.Nlink == 1:
		return g, c.checkDirHandleTarget(dir, at, name, g)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		c.special[st.Ino] = true
	}
	o := brickfs.At(dir, name)
	have, bad, err := c.gfidOf(o)
	if n := c.nameless[st.Ino]; n != nil {
		c.giveBack(o, g, n)
		delete(c.nameless, st.Ino)
		return g, false
	}
	if st.Nlink == 1 {
		c.report(Problem{Kind: Orphan, Path: at, GFID: g, Detail: fmt.Sprintf("%d bytes without a name", st.Size)},
			"moved it to "+brickfs.Meta+"/"+lost, func() error { return c.toLost(bucket+"/"+name, g) })
		return g, false
	}
	if err != nil || have != g {
		detail := "the object has no GFID"
		if err == nil {
			detail = "the object has the GFID " + have.String()
		} else if bad != "" {
			detail = bad
		}
		c.report(Problem{Kind: WrongHandle, Path: at, GFID: g, Detail: detail}, "removed it", func() error {
			if err != nil || st.Nlink < 3 {
				return syscall.EEXIST // it may be the only way to the object
			}
			return unix.Unlinkat(dir, name, 0)
		})
		return g, false
	}
	return g, true
}

// checkDirHandleTarget checks that a directory's handle leads to it.
func (c *checker) checkDirHandleTarget(dir int, at, name string, g fop.GFID) bool {
	parent, base, target, err := c.readDirHandle(g)
	var st unix.Stat_t
	if err == nil {
		have, ok := c.leads(parent, base, &st)
		if ok && have == g && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return true
		}
		if n := c.nameless[st.Ino]; ok && n != nil && n.dir {
			d, err := c.openDir(parent)
			if err == nil {
				c.giveBack(brickfs.At(d, base), g, n)
				unix.Close(d)
				delete(c.nameless, st.Ino)
				return false
			}
		}
	}
	if err != nil { // not made by a server as a handle: perhaps the last link of a user's symbolic link
		c.report(Problem{Kind: Orphan, Path: at, GFID: g, Detail: "a symbolic link to " + strconv.Quote(target) + " without a name"},
			"moved it to "+brickfs.Meta+"/"+lost, func() error { return c.toLost(brickfs.Handle(g), g) })
		return false
	}
	c.report(Problem{Kind: StaleHandle, Path: at, GFID: g, Detail: "no directory with this GFID at " + strconv.Quote(target), Heals: c.inLandfill()},
		"removed it", func() error { return unix.Unlinkat(dir, name, 0) })
	return false
}

// giveBack sets the GFID that a handle still knows on its object.
func (c *checker) giveBack(o brickfs.Obj, g fop.GFID, n *nameless) {
	c.blamed[g] = true
	c.report(Problem{Kind: n.kind, Path: n.path, GFID: g, Detail: n.detail}, "set the one of its handle", func() error {
		return c.attrs.Set(o, fop.XattrGFID, g[:], 0)
	})
}

// checkSuspects looks at the handles of those buckets where names and handles
// do not agree, for objects that no name leads to.
func (c *checker) checkSuspects() error {
	if len(c.suspect) == 0 {
		return nil
	}
	c.gfids = map[fop.GFID]bool{}
	err := c.walk(c.root, fop.RootGFID, "", func(dir int, parent fop.GFID, at, name string, st *unix.Stat_t) fop.GFID {
		g, _, err := c.gfidOf(brickfs.At(dir, name))
		if err == nil && c.suspect[bucketOf(g)] {
			c.gfids[g] = true
		}
		return g
	})
	if err != nil {
		return err
	}
	for id := range c.suspect {
		bucket := fmt.Sprintf("%02x/%02x", id>>8, id&0xff)
		dir, ok := c.openMeta(bucket)
		if !ok {
			continue
		}
		c.each(dir, func(name string) {
			g, err := fop.ParseGFID(name)
			if err != nil || g == fop.RootGFID || c.gfids[g] || c.blamed[g] {
				return
			}
			var st unix.Stat_t
			if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Nlink == 1 || c.elsewhere(g, st.Ino) {
				return
			}
			c.report(Problem{Kind: Orphan, Path: path.Join(brickfs.Meta, bucket, name), GFID: g,
				Detail: fmt.Sprintf("%d bytes, %d links, none of them a name", st.Size, st.Nlink)}, "", nil)
		})
		unix.Close(dir)
	}
	return nil
}

// elsewhere reports whether an object without name is where such objects belong.
func (c *checker) elsewhere(g fop.GFID, ino uint64) bool {
	for _, d := range []string{brickfs.Unlinked, "quarantine", lost} {
		var st unix.Stat_t
		if unix.Fstatat(c.meta, d+"/"+g.String(), &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Ino == ino {
			return true
		}
	}
	return c.inLandfill()
}

// inLandfill reports whether trees wait to be removed; their files still have
// handles.
func (c *checker) inLandfill() bool {
	some := false
	if dir, ok := c.openMeta(brickfs.Landfill); ok {
		c.each(dir, func(string) { some = true })
		unix.Close(dir)
	}
	return some
}

// checkNameless reports the objects without GFID that no handle knew.
func (c *checker) checkNameless() error {
	for _, n := range c.nameless {
		p := Problem{Kind: n.kind, Path: n.path, Detail: n.detail, Heals: !n.bad}
		var fix func() error
		if c.o.NewGFIDs && !n.parent.IsZero() {
			fix = func() error { return c.newIdentity(n) }
		}
		c.report(p, "gave it a new one", fix)
	}
	return nil
}

func (c *checker) newIdentity(n *nameless) error {
	dir, err := c.openDir(n.parent)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	o := brickfs.At(dir, n.name)
	g := fop.NewGFID()
	if err := c.attrs.Set(o, fop.XattrGFID, g[:], 0); err != nil {
		return err
	}
	if n.dir {
		return c.symlink(brickfs.DirTarget(n.parent, n.name), brickfs.Handle(g))
	}
	key, value := brickfs.BackPointer(n.parent, n.name)
	if err := c.attrs.Set(o, key, []byte(value), 0); err != nil && !c.o.NoBackPointers {
		return err
	}
	return c.link(dir, n.name, brickfs.Handle(g))
}

// checkLinks compares link counts with the names that were found.
func (c *checker) checkLinks() error {
	for ino, l := range c.linked {
		var st unix.Stat_t
		o := brickfs.Handle(l.gfid)
		if unix.Fstatat(c.meta, o, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Ino != ino {
			continue // reported already
		}
		if uint64(st.Nlink) == l.names+1 || c.elsewhere(l.gfid, ino) {
			continue
		}
		c.report(Problem{Kind: LinkCount, Path: l.path, GFID: l.gfid,
			Detail: fmt.Sprintf("%d links, but %d names and a handle", st.Nlink, l.names)}, "", nil)
	}
	return nil
}

// checkStrays looks at what lies beside the handles.
func (c *checker) checkStrays() error {
	if dir, ok := c.openMeta(brickfs.Unlinked); ok {
		c.each(dir, func(name string) { c.checkUnlinked(dir, name) })
		unix.Close(dir)
	}
	for _, kind := range []string{"xattrop", "dirty"} {
		sub := brickfs.Indices + "/" + kind
		dir, ok := c.openMeta(sub)
		if !ok {
			continue
		}
		c.each(dir, func(name string) {
			if strings.HasPrefix(name, kind+"-") {
				return
			}
			at := path.Join(brickfs.Meta, sub, name)
			g, err := fop.ParseGFID(name)
			if err != nil {
				c.report(Problem{Kind: Stray, Path: at, Detail: "neither an index entry nor a base file"}, "", nil)
				return
			}
			var st unix.Stat_t
			if unix.Fstatat(c.meta, brickfs.Handle(g), &st, unix.AT_SYMLINK_NOFOLLOW) == syscall.ENOENT {
				c.report(Problem{Kind: Stray, Path: at, GFID: g, Detail: "index entry of an object that is not there", Heals: true},
					"removed it", func() error { return unix.Unlinkat(dir, name, 0) })
			}
		})
		unix.Close(dir)
	}
	return c.checkSides()
}

// checkUnlinked checks a file that was open when it lost its last name. The
// server empties the directory when it starts; here only those are removed
// whose object has other links.
func (c *checker) checkUnlinked(dir int, name string) {
	at := path.Join(brickfs.Meta, brickfs.Unlinked, name)
	var st unix.Stat_t
	if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	g, err := fop.ParseGFID(name)
	if err != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		c.report(Problem{Kind: Stray, Path: at, Detail: "not the name of a removed file"}, "", nil)
		return
	}
	c.special[st.Ino] = true
	if st.Nlink > 1 {
		c.report(Problem{Kind: Stray, Path: at, GFID: g, Detail: "the removal of the file was not finished; it still has a name", Heals: true},
			"removed this link; the file keeps its name", func() error { return unix.Unlinkat(dir, name, 0) })
	}
}

// checkSides removes side files of objects that are gone.
func (c *checker) checkSides() error {
	if !c.attrs.Rootless() {
		return nil
	}
	if dir, ok := c.openMeta(lost); ok {
		c.each(dir, func(name string) {
			var st unix.Stat_t
			if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
				c.special[st.Ino] = true
			}
		})
		unix.Close(dir)
	}
	for i := range 256 {
		sub := fmt.Sprintf("%s/%02x", brickfs.Side, i)
		dir, ok := c.openMeta(sub)
		if !ok {
			continue
		}
		c.each(dir, func(name string) {
			ino, err := strconv.ParseUint(name, 16, 64)
			if err == nil && c.special[ino] {
				return
			}
			c.report(Problem{Kind: Stray, Path: path.Join(brickfs.Meta, sub, name), Detail: "attributes of an object that is not there", Heals: true},
				"removed it", func() error { return unix.Unlinkat(dir, name, 0) })
		})
		unix.Close(dir)
	}
	return nil
}
