// Package graph turns a volfile into a running stack of translators.
//
//	g, err := graph.Build(ctx, file, clientside.Registry(), env)
//	…
//	err = g.WaitUp(ctx)                     // a brick answered
//	reply, err := fop.Call(ctx, g.Top(), &fop.Lookup{GFID: fop.RootGFID})
//	…
//	g.Close()
//
// Which translators there are is a [Registry], a value: package clientside has
// those of clients and runs everywhere, package brickside those of bricks. They
// are the only packages that import the translators.
//
// # What Build promises
//
//   - A volume whose type is registered becomes a translator. Its options are
//     checked first: a bad value is an error that names volume, option and
//     value; one that nobody knows, or that has no effect here, costs one line
//     in the log.
//   - A volume of a type that GlusterFS 10.3 has and the registry has not is
//     skipped, with one line in the log that names it, if it only tunes or
//     observes, or if what it does is switched off. It costs nothing: its
//     parents call its child. Otherwise it is refused by name (known.go).
//   - A translator is made after its children. When all are made, events that
//     they sent meanwhile are delivered, and then every Run begins, children
//     first.
//   - Events go to the parents: into ChildEvent of those that have one, through
//     those that have none. What leaves the top is heard by the functions given
//     with OnEvent, and decides what WaitUp says.
//   - Close ends every Run and waits for it, that of a translator after those of
//     its parents, and then closes the translators, parents first. It does not
//     wait for fops; who sends fops stops first.
//
// Read next: build.go, then internal/mount, which keeps a graph in step with a
// volume's volfile.
package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// Registry holds the types of translator that a program has, by name.
type Registry map[string]xlator.Type

// NewRegistry returns a registry of these types.
func NewRegistry(types ...xlator.Type) Registry { return Registry{}.With(types...) }

// With returns a registry that has these types too, in place of those of the
// same names.
func (r Registry) With(types ...xlator.Type) Registry {
	all := make(Registry, len(r)+len(types))
	for name, t := range r {
		all[name] = t
	}
	for _, t := range types {
		all[t.Name] = t
	}
	return all
}

// Graph is a running stack of translators.
type Graph struct {
	reg    Registry
	id     string
	env    *xlator.Env
	log    *slog.Logger
	logged *once
	nodes  []*node // children before parents
	byName map[string]*node
	top    *node
	events events

	mu     sync.Mutex // serializes Reconfigure and Close
	file   *volfile.File
	closed bool
}

// node is one volume of the volfile.
type node struct {
	name     string
	typeName string
	vol      *volfile.Volume // under Graph.mu once the graph runs
	typ      xlator.Type
	skipped  bool // passes through: handler is that of its only child
	handler  fop.Handler
	children []*node
	parents  []*node
	// The leaves below it, itself if it is one: the first one's number and how many.
	firstLeaf, leaves int
	rows              int            // see xlator.Config
	options           xlator.Options // as given to New or Reconfigure last; under Graph.mu
	log               *slog.Logger
	// Of its Run, nil without one.
	cancel context.CancelFunc
	ended  chan struct{}
}

// Option changes how Build works.
type Option func(*Graph, *settings)

type settings struct {
	top string
}

// OnEvent has f called with every event that leaves the top, from the first
// one on. f must not block and must not call Close.
func OnEvent(f func(fop.Event)) Option {
	return func(g *Graph, _ *settings) { g.events.listeners = append(g.events.listeners, f) }
}

// WithLog sets where the graph and its translators log; slog.Default() is it
// otherwise.
func WithLog(log *slog.Logger) Option {
	return func(g *Graph, _ *settings) { g.log = log }
}

// WithTop makes the volume of that name the top instead of the last one.
func WithTop(name string) Option {
	return func(_ *Graph, s *settings) { s.top = name }
}

// After says that the new graph takes the place of old, so that what old has
// logged once is not logged again.
func After(old *Graph) Option {
	return func(g *Graph, _ *settings) {
		if old != nil {
			g.logged = old.logged
		}
	}
}

// Top returns the handler at the top.
func (g *Graph) Top() fop.Handler { return g.top.handler }

// Name returns the name of the volume at the top.
func (g *Graph) Name() string { return g.top.name }

// Find returns the handler of the volume of that name; that of a skipped one is
// its child's.
func (g *Graph) Find(name string) (fop.Handler, bool) {
	if n := g.byName[name]; n != nil {
		return n.handler, true
	}
	return nil, false
}

// FindType returns the handlers of all volumes of a type, children first.
func (g *Graph) FindType(typ string) []fop.Handler {
	var all []fop.Handler
	for _, n := range g.nodes {
		if n.typeName == typ && !n.skipped {
			all = append(all, n.handler)
		}
	}
	return all
}

// File returns the volfile that the graph runs. It must not be changed.
func (g *Graph) File() *volfile.File {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.file
}

// Quiesce has done what translators have answered before it was done, from the
// top down, and from then on they do not: for a graph that another one is about
// to replace.
func (g *Graph) Quiesce(ctx context.Context) error {
	var errs []error
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		if q, ok := n.handler.(xlator.Quiescer); ok && !n.skipped {
			if err := q.Quiesce(ctx); err != nil {
				errs = append(errs, fmt.Errorf("volume %q (%s): %w", n.name, n.typeName, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Close takes the graph down. Errors of translators are joined. Closing twice
// does nothing.
func (g *Graph) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.mu.Unlock()
	g.events.mute()
	g.stopRuns()
	return g.closeNodes()
}

// closeNodes closes the translators that exist, parents first.
func (g *Graph) closeNodes() error {
	var errs []error
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		if n.skipped || n.handler == nil {
			continue
		}
		if c, ok := n.handler.(xlator.Closer); ok {
			if err := c.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close volume %q (%s): %w", n.name, n.typeName, err))
			}
		}
	}
	return errors.Join(errs...)
}
