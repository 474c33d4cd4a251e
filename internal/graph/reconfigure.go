package graph

import (
	"errors"
	"fmt"
	"maps"
	"syscall"

	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// ErrRebuild says that a graph cannot become that of another volfile while it
// runs: a new graph is needed.
var ErrRebuild = errors.New("the graph must be built anew")

// Reconfigure gives the translators the options of a new volfile. The error is
// ErrRebuild, wrapped, when the volfile has other volumes or a translator cannot
// take new options while running; any other error means that the volfile is
// bad. Either way the graph goes on with the options that it had.
func (g *Graph) Reconfigure(file *volfile.File) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("reconfigure: the graph is closed: %w", syscall.EBADF)
	}
	if !volfile.SameTopology(g.file, file) {
		return fmt.Errorf("other volumes or types: %w", ErrRebuild)
	}
	todo, err := g.compare(file)
	if err != nil {
		return err
	}
	for i, t := range todo {
		err := t.to.Reconfigure(t.options)
		if err == nil {
			continue
		}
		for _, done := range todo[:i] {
			if back := done.to.Reconfigure(done.n.options); back != nil {
				done.n.log.Error("cannot go back to the old options", "err", back)
			}
		}
		return fmt.Errorf("volume %q (%s) does not take its new options while running: %w: %w", t.n.name, t.n.typeName, ErrRebuild, err)
	}
	for _, t := range todo {
		t.n.options = t.options
	}
	for _, n := range g.nodes {
		n.vol = file.Volume(n.name)
	}
	g.file = file
	return nil
}

// update is what one translator must be told.
type update struct {
	n       *node
	to      xlator.Reconfigurer
	options xlator.Options
}

// compare checks the options of file and lists the translators concerned.
func (g *Graph) compare(file *volfile.File) ([]update, error) {
	vols := make(map[string]*volfile.Volume, len(file.Volumes))
	for _, v := range file.Volumes {
		vols[v.Name] = v
	}
	var todo []update
	for _, n := range g.nodes {
		next := &node{log: n.log}
		if err := g.check(next, vols[n.name]); err != nil {
			return nil, err
		}
		if n.skipped || maps.Equal(effective(n.typ, n.options), effective(n.typ, next.options)) {
			continue
		}
		to, ok := n.handler.(xlator.Reconfigurer)
		if !ok {
			return nil, fmt.Errorf("volume %q (%s) takes no new options while running: %w", n.name, n.typeName, ErrRebuild)
		}
		todo = append(todo, update{n, to, next.options})
	}
	return todo, nil
}

// effective leaves out the options that have no effect.
func effective(typ xlator.Type, o xlator.Options) xlator.Options {
	all := make(xlator.Options, len(o))
	for k, v := range o {
		if decl, ok := xlator.Find(typ.Options, k); ok && decl.Ignored == "" {
			all[k] = v
		}
	}
	return all
}
