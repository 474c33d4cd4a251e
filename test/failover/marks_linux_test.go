package failover

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

// object is what one brick has of one name.
type object struct {
	gfid  string
	text  string            // kind, permissions, contents
	marks map[string]string // "c1", "dirty": the counters, those that are not zero
	size  int64
}

// xattr returns an extended attribute, or nil.
func xattr(p, name string) []byte {
	b := make([]byte, 4096)
	n, err := unix.Lgetxattr(p, name, b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// objects reads what a brick has below a directory, by path.
func (v *volume) objects(brick int, dir string) map[string]*object {
	found := map[string]*object{}
	top := filepath.Join(v.bricks[brick], dir)
	filepath.WalkDir(top, func(p string, de fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		rel, _ := filepath.Rel(top, p)
		if rel == ".glusterfs" || strings.HasPrefix(rel, ".glusterfs-anonymous-inode") {
			return fs.SkipDir
		}
		if o := v.object(v.bricks[brick], p); o != nil {
			found[rel] = o
		}
		return nil
	})
	return found
}

// object reads one object of the brick at top.
func (v *volume) object(top, p string) *object {
	var st unix.Stat_t
	if unix.Lstat(p, &st) != nil {
		return nil
	}
	o := &object{marks: map[string]string{}}
	if g := xattr(p, "trusted.gfid"); len(g) == 16 {
		o.gfid = fop.GFID(g).String()
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		o.text = fmt.Sprintf("d %04o", st.Mode&0o7777)
	case unix.S_IFLNK:
		to, _ := os.Readlink(p)
		o.text = "l " + to
	case unix.S_IFIFO:
		o.text = fmt.Sprintf("p %04o", st.Mode&0o7777)
	default:
		b, _ := os.ReadFile(p)
		text := fmt.Sprintf("%q", b)
		if len(b) > 64 {
			text = sumText(b)
		}
		o.size = st.Size
		// Less the handle, and the name that a heal leaves until its next round.
		links := int(st.Nlink) - 1
		if aside, _ := filepath.Glob(filepath.Join(top, ".glusterfs-anonymous-inode-*", o.gfid)); o.gfid != "" {
			links -= len(aside)
		}
		o.text = fmt.Sprintf("f %04o nlink %d %s", st.Mode&0o7777, links, text)
	}
	names := make([]byte, 1<<16)
	n, _ := unix.Llistxattr(p, names)
	for name := range strings.SplitSeq(string(names[:max(n, 0)]), "\x00") {
		switch {
		case strings.HasPrefix(name, "user."):
			o.text += fmt.Sprintf(" %s=%s", name, xattr(p, name))
		case strings.HasPrefix(name, "trusted.afr."):
			if m := counters(xattr(p, name)); m != "" {
				key := strings.TrimPrefix(name, "trusted.afr.")
				if i := strings.LastIndex(key, "-client-"); i >= 0 {
					key = "c" + key[i+len("-client-"):]
				}
				o.marks[key] = m
			}
		}
	}
	return o
}

// counters is a changelog as data.metadata.entry; "" if all are zero.
func counters(b []byte) string {
	if len(b) != 12 {
		return fmt.Sprintf("?%x", b)
	}
	w := func(i int) int32 { return int32(binary.BigEndian.Uint32(b[4*i:])) }
	if w(0) == 0 && w(1) == 0 && w(2) == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", w(0), w(1), w(2))
}

// index is what a brick's indices have of an object.
func (v *volume) index(brick int, gfid string) (words []string) {
	top := filepath.Join(v.bricks[brick], ".glusterfs/indices")
	for _, kind := range []string{"xattrop", "dirty"} {
		if _, err := os.Lstat(filepath.Join(top, kind, gfid)); err == nil {
			words = append(words, "@"+kind)
		}
	}
	des, err := os.ReadDir(filepath.Join(top, "entry-changes", gfid))
	if err == nil && len(des) > 0 {
		var names []string
		for _, de := range des {
			names = append(names, de.Name())
		}
		slices.Sort(names)
		words = append(words, "@names("+strings.Join(names, ",")+")")
	}
	return words
}

// state describes a directory of the volume, a line per name, with the bricks
// that have the same together. With marks it has the changelogs and indices too.
func (v *volume) state(dir string, marks bool) []string {
	all := make([]map[string]*object, len(v.bricks))
	names := map[string]bool{}
	gfids := map[string]map[string]bool{} // of a name, on any brick
	for i := range v.bricks {
		all[i] = v.objects(i, dir)
		for name, o := range all[i] {
			names[name] = true
			if gfids[name] == nil {
				gfids[name] = map[string]bool{}
			}
			gfids[name][o.gfid] = true
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		groups := map[string][]string{}
		var order []string
		first := ""
		for i := range v.bricks {
			text := "-"
			if o := all[i][name]; o != nil {
				text = o.text
				if v.arbiter(i) {
					text = withoutData(o)
				}
				if first == "" {
					first = o.gfid
				}
				if o.gfid != first {
					text += " other gfid"
				}
				if marks {
					for _, k := range slices.Sorted(maps.Keys(o.marks)) {
						text += " " + k + "=" + o.marks[k]
					}
				}
			}
			if marks {
				for g := range gfids[name] {
					for _, w := range v.index(i, g) {
						text += " " + w
					}
				}
			}
			if groups[text] == nil {
				order = append(order, text)
			}
			groups[text] = append(groups[text], fmt.Sprint(i))
		}
		var parts []string
		for _, text := range order {
			parts = append(parts, strings.Join(groups[text], "")+" "+text)
		}
		lines = append(lines, name+": "+strings.Join(parts, " | "))
	}
	return lines
}

// arbiter reports whether a brick has no data.
func (v *volume) arbiter(brick int) bool {
	return slices.Contains(v.words, "arbiter") && brick%3 == 2
}

// withoutData describes a file of an arbiter.
func withoutData(o *object) string {
	w := strings.Fields(o.text)
	if w[0] != "f" {
		return o.text
	}
	return strings.Join(slices.Concat(w[:4], []string{"size", fmt.Sprint(o.size)}, w[5:]), " ")
}

// alike reports whether all bricks have the same: every line of a state is about
// one group, or two where the second is the arbiter's.
func (v *volume) alike(lines []string) bool {
	for _, l := range lines {
		_, rest, _ := strings.Cut(l, ": ")
		parts := strings.Split(rest, " | ")
		if len(parts) == 2 && v.arbiter(2) && strings.HasPrefix(parts[1], "2 ") && sameButData(parts[0], parts[1]) {
			continue
		}
		if len(parts) != 1 {
			return false
		}
	}
	return true
}

func sameButData(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return len(x) > 5 && len(y) > 6 && x[1] == "f" && slices.Equal(x[1:5], y[1:5]) && y[6] == "0" && slices.Equal(x[6:], y[7:])
}
