package distribute

import (
	"context"
	"strings"
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

// entryName is the name of a directory in its parent; "" if it is unknown, and
// for the root.
type entryName struct {
	parent fop.GFID
	name   string
}

// nameOf is the name of a directory: the one that it was just looked up by, or
// the last one known.
func (d *distribute) nameOf(gfid fop.GFID, q *fop.Lookup) (at entryName) {
	if q != nil && q.Name != "" && !dotName(q.Name) {
		return entryName{q.Parent, q.Name}
	}
	if gfid.IsRoot() {
		return at
	}
	if r := d.objects.Peek(gfid); r != nil {
		r.V.mu.Lock()
		at = entryName{r.V.parent, r.V.name}
		r.V.mu.Unlock()
		r.Release()
	}
	return at
}

// maxDepth bounds the way from a directory up to the root.
const maxDepth = 4096

// path is the full path of name in the directory parent, which the rotation of
// a new layout depends on; "" if it cannot be found out. It is a hint: another
// client may have renamed a directory above.
func (d *distribute) path(ctx context.Context, parent fop.GFID, name string) string {
	parts := []string{name}
	for range maxDepth {
		if parent.IsRoot() {
			return join("", parts)
		}
		at := d.nameOf(parent, nil)
		if at.name == "" {
			up := d.ancestry(ctx, parent)
			if up == "" {
				return ""
			}
			return join(up, parts)
		}
		parts = append(parts, at.name)
		parent = at.parent
	}
	return ""
}

// join puts a path together whose last elements stand in reverse.
func join(up string, parts []string) string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(up, "/"))
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(parts[i])
	}
	return b.String()
}

// dirPath is the full path of a directory.
func (d *distribute) dirPath(ctx context.Context, gfid fop.GFID, at entryName) string {
	switch {
	case gfid.IsRoot():
		return "/"
	case at.name != "":
		return d.path(ctx, at.parent, at.name)
	}
	return d.ancestry(ctx, gfid)
}

const keyAncestry = "glusterfs.ancestry.path"

// ancestry asks a subvolume for the path of a directory, "" if none tells.
func (d *distribute) ancestry(ctx context.Context, gfid fop.GFID) string {
	for _, s := range d.subs {
		if !s.isUp() {
			continue
		}
		rep, err := fop.Call(ctx, s, &fop.Getxattr{Header: asSu(nil), GFID: gfid, Name: keyAncestry})
		if err != nil {
			continue
		}
		if p := rep.Dict.Text(keyAncestry); strings.HasPrefix(p, "/") {
			return p
		}
	}
	return ""
}

// dirNames remembers which names were those of directories when they were last
// looked up: such a name is looked up on all subvolumes at once. The zero value
// is empty.
type dirNames struct {
	mu sync.Mutex
	m  map[entryName]struct{}
}

const maxDirNames = 1 << 14

func (n *dirNames) set(at entryName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil || len(n.m) >= maxDirNames {
		n.m = make(map[entryName]struct{})
	}
	n.m[at] = struct{}{}
}

func (n *dirNames) drop(at entryName) {
	n.mu.Lock()
	delete(n.m, at)
	n.mu.Unlock()
}

func (n *dirNames) has(at entryName) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.m[at]
	return ok
}
