package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// maxDepth bounds how many volumes stand one above the other. A volume of
// GlusterFS has about twenty.
const maxDepth = 256

// Build makes the graph that a volfile describes and sets it going. The end of
// ctx ends the building only, not the graph; its values reach the translators'
// Run.
func Build(ctx context.Context, file *volfile.File, reg Registry, env *xlator.Env, opts ...Option) (*Graph, error) {
	g := &Graph{reg: reg, env: env, file: file, byName: make(map[string]*node)}
	var s settings
	for _, o := range opts {
		o(g, &s)
	}
	if g.env == nil {
		g.env = &xlator.Env{}
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.logged == nil {
		g.logged = newOnce()
	}
	g.id = graphID(g.env.Hostname, time.Now())
	g.events.init()
	if err := g.plan(s.top); err != nil {
		return nil, err
	}
	for _, n := range g.nodes {
		if err := g.check(n, n.vol); err != nil {
			return nil, err
		}
	}
	g.countLeaves()
	for _, n := range g.nodes {
		err := ctx.Err()
		if err == nil {
			err = g.make(n)
		}
		if err != nil {
			g.events.mute()
			return nil, errors.Join(err, g.closeNodes())
		}
	}
	g.events.flow(g)
	for _, n := range g.nodes {
		if r, ok := n.handler.(xlator.Runner); ok && !n.skipped {
			n.run(context.WithoutCancel(ctx), r)
		}
	}
	return g, nil
}

// run calls the Run of a translator, until stop.
func (n *node) run(ctx context.Context, r xlator.Runner) {
	ctx, n.cancel = context.WithCancel(ctx)
	n.ended = make(chan struct{})
	go func() {
		defer close(n.ended)
		if err := r.Run(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("translator stopped working", "err", err)
		}
	}()
}

// stopRuns ends every Run and waits for it. That of a translator ends after
// those of its parents, so that at its end it can still use its children; those
// that stand beside each other end at the same time.
func (g *Graph) stopRuns() {
	stopped := make(map[*node]chan struct{}, len(g.nodes))
	for _, n := range g.nodes {
		stopped[n] = make(chan struct{})
	}
	for _, n := range g.nodes {
		go func() {
			defer close(stopped[n])
			for _, p := range n.parents {
				<-stopped[p]
			}
			if n.cancel != nil {
				n.cancel()
				<-n.ended
			}
		}()
	}
	for _, n := range g.nodes {
		<-stopped[n]
	}
}

// plan makes the nodes below and with the top, children before parents.
func (g *Graph) plan(top string) error {
	vols := make(map[string]*volfile.Volume, len(g.file.Volumes))
	for _, v := range g.file.Volumes {
		if vols[v.Name] != nil {
			return bad(v, "is defined twice", "give one of them another name")
		}
		vols[v.Name] = v
	}
	first := g.file.Top()
	if top != "" {
		if first = vols[top]; first == nil {
			return fmt.Errorf("volume %q is not in the volfile; its top is %q: %w", top, nameOf(g.file.Top()), syscall.ENOENT)
		}
	}
	if first == nil {
		return fmt.Errorf("the volfile defines no volume: %w", syscall.EINVAL)
	}
	var err error
	if g.top, err = g.visit(first, vols, make(map[string]bool), 0); err != nil {
		return err
	}
	for _, v := range g.file.Volumes {
		if g.byName[v.Name] == nil && g.logged.first("unreachable", v.Name) {
			g.log.Warn("volume is not below the top and stays out of the graph", "volume", v.Name, "type", v.Type, "top", first.Name)
		}
	}
	return nil
}

func nameOf(v *volfile.Volume) string {
	if v == nil {
		return ""
	}
	return v.Name
}

func (g *Graph) visit(v *volfile.Volume, vols map[string]*volfile.Volume, above map[string]bool, depth int) (*node, error) {
	if n := g.byName[v.Name]; n != nil {
		return n, nil
	}
	if depth == maxDepth {
		return nil, bad(v, fmt.Sprintf("stands below %d others", maxDepth), "no volume needs that many")
	}
	above[v.Name] = true
	defer delete(above, v.Name)
	n := &node{name: v.Name, typeName: v.Type, vol: v, log: g.log.With("volume", v.Name, "type", v.Type)}
	seen := make(map[string]bool, len(v.Subvolumes))
	for _, name := range v.Subvolumes {
		sub := vols[name]
		switch {
		case sub == nil:
			return nil, bad(v, fmt.Sprintf("has a subvolume %q that is not defined", name), "define it or correct the name")
		case above[name]:
			return nil, bad(v, fmt.Sprintf("is above and below %q", name), "a graph must not have cycles")
		case seen[name]:
			return nil, bad(v, fmt.Sprintf("names its subvolume %q twice", name), "name it once")
		}
		seen[name] = true
		child, err := g.visit(sub, vols, above, depth+1)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
		child.parents = append(child.parents, n)
	}
	g.byName[v.Name] = n
	g.nodes = append(g.nodes, n)
	return n, nil
}

// countLeaves numbers the nodes without children from the left, and tells each
// node which of them stand below it.
func (g *Graph) countLeaves() {
	next := 0
	for _, n := range g.nodes { // children first, and from the left
		if len(n.children) == 0 {
			n.firstLeaf, n.leaves, n.rows = next, 1, 1
			next++
			continue
		}
		for _, c := range n.children {
			if n.typ.Copies {
				n.rows = max(n.rows, c.rows)
			} else {
				n.rows += c.rows
			}
		}
		n.firstLeaf = n.children[0].firstLeaf
		last := 0
		for _, c := range n.children {
			n.firstLeaf = min(n.firstLeaf, c.firstLeaf)
			last = max(last, c.firstLeaf+c.leaves)
		}
		n.leaves = last - n.firstLeaf
	}
}

// make brings the translator of a node into being.
func (g *Graph) make(n *node) error {
	if n.skipped {
		n.handler = n.children[0].handler
		return nil
	}
	children := make([]xlator.Child, len(n.children))
	for i, c := range n.children {
		children[i] = xlator.Child{Name: c.name, Handler: c.handler, FirstLeaf: c.firstLeaf, Leaves: c.leaves}
	}
	h, err := n.typ.New(xlator.Config{
		Name:     n.name,
		Type:     n.typeName,
		Options:  n.options,
		Children: children,
		Leaf:     n.firstLeaf,
		Leaves:   g.top.leaves,
		Rows:     n.rows,
		Graph:    inside{g},
		Notify:   func(ev fop.Event) { g.events.post(g, n, ev) },
		Log:      n.log,
		Env:      g.env,
	})
	if err != nil {
		return fmt.Errorf("start volume %q (%s): %w", n.name, n.typeName, err)
	}
	if h == nil {
		return fmt.Errorf("start volume %q (%s): no handler: %w", n.name, n.typeName, syscall.EPROTO)
	}
	n.handler = h
	return nil
}

// bad is an error about a volume.
func bad(v *volfile.Volume, msg, remedy string) error {
	line := ""
	if v.Line > 0 {
		line = fmt.Sprintf(" (line %d of the volfile)", v.Line)
	}
	return fmt.Errorf("volume %q%s %s; %s: %w", v.Name, line, msg, remedy, syscall.EINVAL)
}

// once remembers what has been logged.
type once struct {
	mu   sync.Mutex
	seen map[[2]string]bool
}

func newOnce() *once { return &once{seen: make(map[[2]string]bool)} }

// first reports whether it is asked for the first time.
func (o *once) first(kind, what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := [2]string{kind, what}
	if o.seen[k] {
		return false
	}
	o.seen[k] = true
	return true
}
