package interop

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

// describeVolume returns what must be the same on the bricks of two volumes
// after the same work, a line for each thing on each brick: where every name
// lies, layouts, links to other subvolumes, and all that describe has of one
// brick. What bricks do not agree in, but should, is a line that says so.
func describeVolume(t testing.TB, s *server) []string {
	t.Helper()
	rest(s)
	var lines []string
	for i, dir := range s.bricks {
		for _, l := range describe(t, dir) {
			lines = append(lines, fmt.Sprintf("brick%d %s", i, l))
		}
	}
	return append(lines, disagreements(t, s)...)
}

// copyOf is a name on one brick.
type copyOf struct {
	brick  int
	st     unix.Stat_t
	xattrs map[string][]byte
	data   string
}

func (c copyOf) gfid() fop.GFID { return gfidOf(c.xattrs) }
func (c copyOf) isDir() bool    { return c.st.Mode&unix.S_IFMT == unix.S_IFDIR }
func (c copyOf) isLink() bool   { return c.xattrs[linktoXattr] != nil }

const (
	layoutXattr = "trusted.glusterfs.dht"
	mdsXattr    = "trusted.glusterfs.dht.mds"
	linktoXattr = "trusted.glusterfs.dht.linkto"
)

// disagreements compares the bricks of a volume with each other: GFIDs, which two
// volumes do not have in common, and all else that copies of one thing share.
func disagreements(t testing.TB, s *server) (bad []string) {
	t.Helper()
	say := func(format string, args ...any) { bad = append(bad, "BAD "+fmt.Sprintf(format, args...)) }
	names := map[string][]copyOf{}
	for i, dir := range s.bricks {
		err := filepath.WalkDir(dir, func(p string, de fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(dir, p)
			if rel == ".glusterfs" || strings.HasPrefix(rel, healersDir) {
				return fs.SkipDir
			}
			c := copyOf{brick: i}
			if err := unix.Lstat(p, &c.st); err != nil {
				return err
			}
			if c.xattrs, err = allXattrs(p); err != nil {
				return err
			}
			if de.Type().IsRegular() {
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				c.data = digest(b)
			}
			names[rel] = append(names[rel], c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, rel := range slices.Sorted(maps.Keys(names)) {
		copies := names[rel]
		first := copies[0]
		for _, c := range copies[1:] {
			if c.gfid() != first.gfid() {
				say("%q has gfid %s on brick %d and %s on brick %d", rel, first.gfid(), first.brick, c.gfid(), c.brick)
			}
		}
		if first.isDir() && len(copies) != len(s.bricks) {
			say("directory %q is on %d bricks only", rel, len(copies))
		}
		sets := map[int][]copyOf{}
		for _, c := range copies {
			sets[c.brick/s.shape.replica] = append(sets[c.brick/s.shape.replica], c)
		}
		for n, set := range sets {
			if len(set) != s.shape.replica {
				say("%q is on %d of %d bricks of set %d", rel, len(set), s.shape.replica, n)
			}
			for _, c := range set[1:] {
				if d := unlike(set[0], c, s.shape.arbiterBrick(c.brick)); d != "" {
					say("%q on bricks %d and %d: %s", rel, set[0].brick, c.brick, d)
				}
			}
		}
		if !first.isDir() {
			files := 0
			for _, set := range sets {
				if !set[0].isLink() {
					files++
				}
			}
			if files != 1 {
				say("%q is a file in %d subvolumes", rel, files)
			}
		}
	}
	return bad
}

// unlike tells how two copies of one thing differ, "" if they do not.
func unlike(a, b copyOf, arbiter bool) string {
	if x, y := a.text(arbiter), b.text(arbiter); x != y {
		return x + " and " + y
	}
	for _, name := range slices.Sorted(maps.Keys(a.xattrs)) {
		if name == fop.XattrMdata && (arbiter || a.isDir()) {
			// An arbiter answers writes without writing the times down, and of two
			// times that reach a directory at once the later stays on one brick of
			// 10.3 and the earlier on the other.
			continue
		}
		if !ownXattr(name) && !bytes.Equal(a.xattrs[name], b.xattrs[name]) {
			return fmt.Sprintf("%s is %x and %x", name, a.xattrs[name], b.xattrs[name])
		}
	}
	for name := range b.xattrs {
		if _, ok := a.xattrs[name]; !ok && !ownXattr(name) {
			return fmt.Sprintf("%s is on the second only", name)
		}
	}
	return ""
}

// ownXattr tells attributes that a brick has of its own.
func ownXattr(name string) bool {
	return strings.HasPrefix(name, "trusted.afr.") || strings.HasPrefix(name, fop.XattrGFID2Path) || ignoredXattrs[name]
}

func (c copyOf) text(arbiter bool) string {
	size, data := c.st.Size, c.data
	if arbiter {
		size, data = 0, ""
	}
	return statText(c.st.Mode, uint32(c.st.Nlink), c.st.Uid, c.st.Gid, size, c.st.Rdev) + " " + data
}
