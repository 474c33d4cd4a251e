package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

// ignoredXattrs are attributes of brick objects that are not compared.
var ignoredXattrs = map[string]bool{
	"trusted.glusterfs.volume-id": true, // random; the same on both would be wrong
	"security.selinux":            true, // the machine's own
}

// healersDir is what the directory of the self-heal daemon in the root of a brick
// begins with. It comes when the daemon looks at the brick, and clients do not
// see it.
const healersDir = ".glusterfs-anonymous-inode-"

// describe returns everything about a brick that must be the same on two bricks
// after the same work: a line per name, per handle without a name, and per other
// object below .glusterfs. What is wrong in itself is a line that says so.
func describe(t testing.TB, dir string) []string {
	t.Helper()
	d := &description{dir: dir, byGFID: map[fop.GFID][]string{}}
	if err := filepath.WalkDir(dir, d.visit); err != nil {
		t.Fatal(err)
	}
	d.handles(t)
	slices.Sort(d.lines)
	return d.lines
}

type description struct {
	dir    string
	lines  []string
	byGFID map[fop.GFID][]string
}

func (d *description) visit(p string, de fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, _ := filepath.Rel(d.dir, p)
	if rel == ".glusterfs" {
		return fs.SkipDir
	}
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return err
	}
	if strings.HasPrefix(rel, healersDir) {
		b := make([]byte, 16)
		if _, err := unix.Lgetxattr(p, fop.XattrGFID, b); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		d.byGFID[fop.GFID(b)] = []string{rel}
		if des, err := os.ReadDir(p); err != nil || len(des) > 0 {
			d.lines = append(d.lines, fmt.Sprintf("BAD %d things that a heal put aside, %v", len(des), err))
		}
		return fs.SkipDir
	}
	if rel == "." {
		if there, _ := filepath.Glob(filepath.Join(d.dir, healersDir+"*")); len(there) > 0 {
			st.Nlink -= uint64(len(there))
		}
	}
	words := []string{statText(st.Mode, uint32(st.Nlink), st.Uid, st.Gid, st.Size, st.Rdev)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		words = append(words, "data="+digest(b))
	case unix.S_IFLNK:
		to, err := os.Readlink(p)
		if err != nil {
			return err
		}
		words = append(words, "-> "+to)
	}
	xattrs, err := allXattrs(p)
	if err != nil {
		return err
	}
	words = append(words, d.xattrs(rel, xattrs, &st)...)
	d.lines = append(d.lines, fmt.Sprintf("%q %s", rel, strings.Join(words, " ")))
	return nil
}

func allXattrs(p string) (map[string][]byte, error) {
	b := make([]byte, 1<<16)
	n, err := unix.Llistxattr(p, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	m := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(p, name, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p, name, err)
		}
		m[name] = v[:n]
	}
	return m, nil
}

// xattrs puts attributes in a form in which they compare.
func (d *description) xattrs(rel string, m map[string][]byte, st *unix.Stat_t) (words []string) {
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(m)) {
		v := m[name]
		switch {
		case ignoredXattrs[name]:
		case name == fop.XattrGFID:
			if len(v) != 16 {
				say("BAD gfid %x", v)
				break
			}
			g := fop.GFID(v)
			d.byGFID[g] = append(d.byGFID[g], rel)
			say("gfid handle=%s", d.handleOf(g, rel, st))
		case strings.HasPrefix(name, fop.XattrGFID2Path):
			if to := d.backPointer(name, v, gfidOf(m)); to != "" {
				say("%s", to)
			}
		case name == fop.XattrMdata:
			if len(v) != fop.MdataSize {
				say("BAD mdata %x", v)
				break
			}
			say("mdata=%x", v[:9])
		case name == mdsXattr && len(v) == 4 && v[0]&0x80 == 0:
			// A client of 10.3 that looks a directory up while another operation
			// of its own is under way sets the counter back under it, which leaves
			// one that is too high.
			say("mds")
		case name == linktoXattr:
			// The number of the subvolume; before it stands the volume's name.
			say("linkto=%q", v[bytes.LastIndexByte(v, '-')+1:])
		case strings.HasPrefix(name, "trusted.afr."):
			// Zeros say the same as no attribute; which of the two is left depends
			// on what clients had under way at once.
			if len(v) != 12 || strings.Trim(string(v), "\x00") != "" {
				say("BAD %s=%x", name, v)
			}
		default:
			say("%s=%s", name, hex.EncodeToString(v))
		}
	}
	slices.Sort(words)
	return words
}

// backPointer says which name a gfid2path attribute of an object stands for, or
// what is wrong with it. It is "" when the name is not the object's any more:
// a brick of GlusterFS 10.3 leaves such attributes on a file with several names
// when one of them is renamed over. Ours does not, which check.Run sees to.
func (d *description) backPointer(name string, v []byte, self fop.GFID) string {
	sum := binary.BigEndian.AppendUint64(nil, xxhash.Sum64(v))
	if want := fop.XattrGFID2Path + hex.EncodeToString(sum); name != want {
		return fmt.Sprintf("BAD %s for %q", name, v)
	}
	parent, base, ok := bytes.Cut(v, []byte("/"))
	g, err := fop.ParseGFID(string(parent))
	if !ok || err != nil {
		return fmt.Sprintf("BAD gfid2path %q", v)
	}
	dir, err := d.pathOf(g)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return fmt.Sprintf("BAD gfid2path %q: %v", v, err)
	}
	to := path.Join(dir, string(base))
	b := make([]byte, 16)
	if _, err := unix.Lgetxattr(filepath.Join(d.dir, to), fop.XattrGFID, b); err != nil || fop.GFID(b) != self {
		return ""
	}
	return fmt.Sprintf("gfid2path=%q", to)
}

// pathOf finds a directory by its handle.
func (d *description) pathOf(g fop.GFID) (string, error) {
	if g == fop.RootGFID {
		return ".", nil
	}
	p, err := filepath.EvalSymlinks(filepath.Join(d.dir, handleName(g)))
	if err != nil {
		return "", err
	}
	root, err := filepath.EvalSymlinks(d.dir)
	if err != nil {
		return "", err
	}
	return filepath.Rel(root, p)
}

func gfidOf(xattrs map[string][]byte) (g fop.GFID) {
	copy(g[:], xattrs[fop.XattrGFID])
	return g
}

func handleName(g fop.GFID) string {
	s := g.String()
	return ".glusterfs/" + s[:2] + "/" + s[2:4] + "/" + s
}

// handleOf says what the handle of an object is: "dir", "link" or what is wrong.
func (d *description) handleOf(g fop.GFID, rel string, st *unix.Stat_t) string {
	p := filepath.Join(d.dir, handleName(g))
	var h unix.Stat_t
	if err := unix.Lstat(p, &h); err != nil {
		return "BAD " + err.Error()
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if h.Ino != st.Ino {
			return "BAD another object"
		}
		return "link"
	}
	to, err := os.Readlink(p)
	if err != nil {
		return "BAD " + err.Error()
	}
	if rel == "." {
		if to != "../../.." {
			return "BAD " + to
		}
		return "dir"
	}
	parent, err := unix.Lgetxattr(filepath.Join(d.dir, filepath.Dir(rel)), fop.XattrGFID, make([]byte, 16))
	if err != nil || parent != 16 {
		return "BAD parent without gfid"
	}
	b := make([]byte, 16)
	unix.Lgetxattr(filepath.Join(d.dir, filepath.Dir(rel)), fop.XattrGFID, b)
	pg := fop.GFID(b).String()
	if want := "../../" + pg[:2] + "/" + pg[2:4] + "/" + pg + "/" + filepath.Base(rel); to != want {
		return "BAD leads to " + to + ", not " + want
	}
	return "dir"
}

// handles adds what is below .glusterfs: handles that no name leads to, and
// everything that is not a handle.
func (d *description) handles(t testing.TB) {
	for g, names := range d.byGFID {
		if len(names) == 1 {
			continue
		}
		var inos []uint64
		for _, n := range names {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(d.dir, n), &st); err != nil {
				t.Fatal(err)
			}
			inos = append(inos, st.Ino)
		}
		if len(slices.Compact(inos)) != 1 {
			d.lines = append(d.lines, fmt.Sprintf("BAD several objects with gfid %s: %q", g, names))
		}
	}
	top := filepath.Join(d.dir, ".glusterfs")
	err := filepath.WalkDir(top, func(p string, de fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, p)
		base := filepath.Base(rel)
		if index, below, ok := strings.Cut(strings.TrimPrefix(rel, "indices/"), "/"); ok && strings.HasPrefix(rel, "indices/") {
			// The file that all others of an index are links to goes by a random name.
			if !strings.HasPrefix(below, index+"-") {
				d.lines = append(d.lines, fmt.Sprintf("BAD index %s has %s%s", index, below, d.namesOf(below)))
			}
			return nil
		}
		if g, err := fop.ParseGFID(base); err == nil && len(base) == 36 {
			if _, ok := d.byGFID[g]; !ok {
				if to, err := os.Readlink(p); err == nil && strings.HasPrefix(filepath.Base(to), healersDir) {
					return nil // made since the names were read
				}
				area, _, _ := strings.Cut(rel, "/")
				if len(area) == 2 {
					area = "handle"
				}
				d.lines = append(d.lines, fmt.Sprintf(".glusterfs: %s without a name, kind %s", area, modeLetter(de.Type())))
			}
			return nil
		}
		if de.IsDir() && len(base) == 2 && strings.Trim(base, "0123456789abcdef") == "" {
			return nil // of the two levels of handles
		}
		if rel == "health_check" {
			return nil // written half a minute after the start
		}
		if rel == "changelogs" {
			return fs.SkipDir // for features/changelog, which only the real brick has
		}
		d.lines = append(d.lines, ".glusterfs/"+rel+" "+modeLetter(de.Type()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// namesOf tells whose GFID a path below an index begins with.
func (d *description) namesOf(below string) string {
	text, _, _ := strings.Cut(below, "/")
	g, err := fop.ParseGFID(text)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (%q)", d.byGFID[g])
}

// faults are the lines that say that something is wrong.
func faults(lines []string) []string {
	var bad []string
	for _, l := range lines {
		if strings.Contains(l, "BAD") {
			bad = append(bad, l)
		}
	}
	return bad
}

// difference prints what two descriptions do not have in common.
func difference(nameA, nameB string, a, b []string) string {
	var out strings.Builder
	inA, inB := map[string]bool{}, map[string]bool{}
	for _, l := range a {
		inA[l] = true
	}
	for _, l := range b {
		inB[l] = true
	}
	var lines []string
	for _, l := range a {
		if !inB[l] {
			lines = append(lines, l+"\x00"+nameA)
		}
	}
	for _, l := range b {
		if !inA[l] {
			lines = append(lines, l+"\x00"+nameB)
		}
	}
	slices.Sort(lines)
	for i, l := range lines {
		if i == 40 {
			fmt.Fprintf(&out, "… and %d more\n", len(lines)-i)
			break
		}
		l, who, _ := strings.Cut(l, "\x00")
		fmt.Fprintf(&out, "%-10s %s\n", who, l)
	}
	return out.String()
}
