package where

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// structure is what matters here of a client's graph.
type structure struct {
	hasher     xlator.Hasher // nil if names are not hashed
	subvolumes []subvolume   // of cluster/distribute
}

// subvolume is a child of cluster/distribute.
type subvolume struct {
	name    string
	leaves  []leaf
	pending []string // the changelog attribute that blames each leaf
}

// leaf is the way to one brick.
type leaf struct {
	name    string
	brick   string // host:path
	arbiter bool
	handler fop.Handler
}

// readStructure reads the volfile of a graph: the children of cluster/distribute,
// or all of it where there is none.
func readStructure(g *graph.Graph) (*structure, error) {
	file := g.File()
	t := &structure{}
	names := []string{file.Top().Name}
	for _, v := range file.Volumes {
		if strings.HasPrefix(v.Type, "cluster/") && (v.Type == "cluster/distribute" || v.Type == "cluster/nufa" || v.Type == "cluster/switch") {
			names = v.Subvolumes
			if h, ok := g.Find(v.Name); ok {
				t.hasher, _ = h.(xlator.Hasher)
			}
		}
	}
	for _, name := range names {
		s := subvolume{name: name}
		if err := s.collect(g, file, name, 0); err != nil {
			return nil, err
		}
		t.subvolumes = append(t.subvolumes, s)
	}
	return t, nil
}

// maxDepth bounds a walk through a volfile; graphs have no cycles.
const maxDepth = 100

// collect adds the bricks below a volume of the volfile.
func (s *subvolume) collect(g *graph.Graph, file *volfile.File, name string, depth int) error {
	v := file.Volume(name)
	if v == nil || depth > maxDepth {
		return fmt.Errorf("volume %q of the volfile cannot be followed: %w", name, syscall.EINVAL)
	}
	if v.Type == "protocol/client" {
		h, ok := g.Find(name)
		if !ok {
			return fmt.Errorf("the graph has no volume %q: %w", name, syscall.EINVAL)
		}
		host, _ := v.Get("remote-host")
		path, _ := v.Get("remote-subvolume")
		s.leaves = append(s.leaves, leaf{name: name, brick: host + ":" + path, handler: h})
		return nil
	}
	for _, sub := range v.Subvolumes {
		if err := s.collect(g, file, sub, depth+1); err != nil {
			return err
		}
	}
	if v.Type == "cluster/replicate" {
		// The attributes are named by the list, which outlives the names of
		// translators; see glusterd's brick-id.
		names := v.Subvolumes
		if list, ok := v.Get("afr-pending-xattr"); ok {
			if l := strings.Split(list, ","); len(l) == len(names) {
				names = l
			}
		}
		for _, n := range names {
			s.pending = append(s.pending, "trusted.afr."+strings.TrimSpace(n))
		}
		if n, _ := v.Get("arbiter-count"); n == "1" && len(s.leaves) > 0 {
			s.leaves[len(s.leaves)-1].arbiter = true
		}
	}
	return nil
}
