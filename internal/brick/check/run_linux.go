package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// lost is where Repair puts what has no name any more.
const lost = "wythe-lost"

// checker is one run.
type checker struct {
	ctx   context.Context
	o     Options
	dir   string
	root  int
	meta  int
	st    unix.Stat_t // of .glusterfs
	rst   unix.Stat_t // of the root
	attrs *brickfs.Attrs
	sum   Summary

	linked   map[uint64]*linked   // by inode: objects with several names
	nameless map[uint64]*nameless // by inode: objects without GFID
	special  map[uint64]bool      // inodes that may have a side file
	seen     [1 << 16]handles     // per directory of handles: those proven right
	visited  [1 << 16]bool
	blamed   map[fop.GFID]bool // handles that were reported while names were checked
	suspect  map[uint16]bool
	gfids    map[fop.GFID]bool // with names, of suspect buckets
}

// handles is a count and a checksum of the handles in one directory.
type handles struct {
	n   uint32
	sum uint64
}

func (b *handles) add(g fop.GFID) {
	b.n++
	b.sum ^= binary.BigEndian.Uint64(g[8:]) ^ binary.BigEndian.Uint64(g[:8])*0x9e3779b97f4a7c15
}

func bucketOf(g fop.GFID) uint16 { return uint16(g[0])<<8 | uint16(g[1]) }

type linked struct {
	names uint64
	path  string
	gfid  fop.GFID
}

type nameless struct {
	path   string
	parent fop.GFID
	name   string
	dir    bool
	detail string
	kind   Kind
	bad    bool // has an attribute, of wrong form
}

// Run checks the brick in dir. The error says why it could not be checked, not
// that it has problems. It fails with EBUSY while this implementation serves
// the brick; that GlusterFS does not is for the caller to know.
func Run(ctx context.Context, dir string, o Options) (Summary, error) {
	c := &checker{
		ctx: ctx, o: o, dir: dir, root: -1, meta: -1,
		linked: map[uint64]*linked{}, nameless: map[uint64]*nameless{}, special: map[uint64]bool{}, suspect: map[uint16]bool{}, blamed: map[fop.GFID]bool{},
	}
	defer c.close()
	if err := c.open(); err != nil {
		return c.sum, err
	}
	for _, pass := range []func() error{c.checkRoot, c.checkNames, c.checkHandles, c.checkNameless, c.checkLinks, c.checkStrays} {
		if err := pass(); err != nil {
			return c.sum, err
		}
		if err := ctx.Err(); err != nil {
			return c.sum, fmt.Errorf("check brick %s: %w", dir, err)
		}
	}
	return c.sum, nil
}

func (c *checker) open() (err error) {
	if c.root, err = brickfs.Openat(unix.AT_FDCWD, c.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return fmt.Errorf("check brick %s: %w", c.dir, err)
	}
	if err := unix.Flock(c.root, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("check brick %s: it is being served; stop its process first: %w", c.dir, syscall.EBUSY)
	}
	if err := unix.Fstat(c.root, &c.rst); err != nil {
		return fmt.Errorf("check brick %s: %w", c.dir, err)
	}
	if c.meta, err = brickfs.Openat(c.root, brickfs.Meta, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
		return fmt.Errorf("check brick %s: it is not a brick: open %s: %w", c.dir, brickfs.Meta, err)
	}
	if err := unix.Fstat(c.meta, &c.st); err != nil {
		return fmt.Errorf("check brick %s: %w", c.dir, err)
	}
	_, err = brickfs.NewAttrs(false, -1).Value(brickfs.Open(c.root), brickfs.Marker)
	c.attrs = brickfs.NewAttrs(err == nil, c.meta)
	if err != nil && os.Geteuid() != 0 {
		return fmt.Errorf("check brick %s: it was made with root's privileges; only root can read its attributes: %w", c.dir, syscall.EPERM)
	}
	return nil
}

func (c *checker) close() {
	for _, fd := range []int{c.meta, c.root} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// report counts and reports a problem after giving fix, unless it is nil, the
// chance to repair it.
func (c *checker) report(p Problem, done string, fix func() error) bool {
	if p.Path == "" {
		p.Path = "."
	}
	if c.o.Repair && fix != nil {
		if err := fix(); err == nil {
			p.Fixed = done
		} else {
			p.Detail += fmt.Sprintf(" (repair failed: %v)", err)
		}
	}
	c.sum.Problems++
	switch {
	case p.Fixed != "":
		c.sum.Fixed++
	case p.Heals:
		c.sum.Heals++
	}
	if c.o.Report != nil {
		c.o.Report(p)
	}
	return p.Fixed != ""
}

// gfidOf reads an object's GFID; bad means that what is there is none.
func (c *checker) gfidOf(o brickfs.Obj) (g fop.GFID, bad string, err error) {
	v, err := c.attrs.Value(o, fop.XattrGFID)
	switch {
	case err != nil:
		return g, "", err
	case len(v) != 16:
		return g, fmt.Sprintf("%s has %d bytes", fop.XattrGFID, len(v)), syscall.ENODATA
	}
	g = fop.GFID(v)
	if g.IsZero() {
		return g, fop.XattrGFID + " is all zeros", syscall.ENODATA
	}
	return g, "", nil
}

func (c *checker) checkRoot() error {
	here := brickfs.Open(c.root)
	v, err := c.attrs.Value(here, fop.XattrGFID)
	if err != nil || fop.RootGFID != (fop.GFID)(pad16(v)) || len(v) != 16 {
		c.report(Problem{Kind: BadRoot, Detail: fmt.Sprintf("%s is %x, must be %x", fop.XattrGFID, v, fop.RootGFID[:])},
			"set it", func() error { return c.attrs.Set(here, fop.XattrGFID, fop.RootGFID[:], 0) })
	}
	if v, err := c.attrs.Value(here, fop.KeyVolumeID); err != nil || len(v) != 16 {
		c.report(Problem{Kind: BadRoot, Detail: fmt.Sprintf("%s is missing or malformed (%x): the brick cannot be told to belong to its volume", fop.KeyVolumeID, v)}, "", nil)
	}
	c.checkAttrs(here, "", fop.RootGFID, true)
	handle := brickfs.Handle(fop.RootGFID)
	var st unix.Stat_t
	err = unix.Fstatat(c.meta, handle, &st, 0)
	if err != nil || st.Ino != c.rst.Ino || st.Dev != c.rst.Dev {
		c.report(Problem{Kind: BadRoot, GFID: fop.RootGFID, Path: path.Join(brickfs.Meta, handle), Detail: "the handle of the root does not lead to it"},
			"made it again", func() error {
				var have unix.Stat_t
				if unix.Fstatat(c.meta, handle, &have, unix.AT_SYMLINK_NOFOLLOW) == nil {
					if have.Mode&unix.S_IFMT != unix.S_IFLNK || have.Nlink != 1 {
						return syscall.EEXIST
					}
					if err := unix.Unlinkat(c.meta, handle, 0); err != nil {
						return err
					}
				}
				return c.symlink(brickfs.RootTarget, handle)
			})
	}
	return nil
}

func pad16(b []byte) []byte {
	out := make([]byte, 16)
	copy(out, b)
	return out
}

func (c *checker) handleDirs(handle string) error {
	for _, d := range []string{handle[:2], handle[:5]} {
		if err := unix.Mkdirat(c.meta, d, 0o700); err != nil && err != syscall.EEXIST {
			return err
		}
	}
	return nil
}

func (c *checker) symlink(target, handle string) error {
	if err := c.handleDirs(handle); err != nil {
		return err
	}
	return unix.Symlinkat(target, c.meta, handle)
}

func (c *checker) link(dir int, name, handle string) error {
	if err := c.handleDirs(handle); err != nil {
		return err
	}
	return unix.Linkat(dir, name, c.meta, handle, 0)
}

// readDirHandle reads the handle of a directory.
func (c *checker) readDirHandle(g fop.GFID) (parent fop.GFID, name, target string, err error) {
	buf := make([]byte, 4096)
	n, err := unix.Readlinkat(c.meta, brickfs.Handle(g), buf)
	if err != nil {
		return parent, "", "", err
	}
	target = string(buf[:n])
	parent, name, ok := brickfs.ParseDirTarget(target)
	if !ok {
		return parent, "", target, syscall.EINVAL
	}
	return parent, name, target, nil
}

// openDir opens a directory by the handles, however deep it is.
func (c *checker) openDir(g fop.GFID) (int, error) {
	var names []string
	at := g
	for at != fop.RootGFID {
		parent, name, _, err := c.readDirHandle(at)
		if err != nil {
			return -1, err
		}
		if names = append(names, name); len(names) > 1<<16 {
			return -1, syscall.ELOOP
		}
		at = parent
	}
	fd, err := brickfs.Openat(c.root, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	for i := len(names) - 1; i >= 0 && err == nil; i-- {
		var next int
		next, err = brickfs.Openat(fd, names[i], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		unix.Close(fd)
		fd = next
	}
	if err != nil {
		return -1, err
	}
	if have, _, err := c.gfidOf(brickfs.At(fd, ".")); g != fop.RootGFID && (err != nil || have != g) {
		unix.Close(fd)
		return -1, syscall.ENOENT
	}
	return fd, nil
}

// leads reports whether the entry name of the directory parent exists, and if
// so with which attributes and GFID.
func (c *checker) leads(parent fop.GFID, name string, st *unix.Stat_t) (fop.GFID, bool) {
	dir, err := c.openDir(parent)
	if err != nil {
		return fop.GFID{}, false
	}
	defer unix.Close(dir)
	o := brickfs.At(dir, name)
	if unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return fop.GFID{}, false
	}
	g, _, _ := c.gfidOf(o)
	return g, true
}
