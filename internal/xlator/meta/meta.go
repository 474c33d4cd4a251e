// Package meta is the translator "meta" (GlusterFS 10.3, xlators/meta): the
// directory .meta in the root of a client, which shows the client from within.
//
//	.meta/version, process_uuid, cmdline, mallinfo, frames, measure_latency
//	.meta/logging/{loglevel,logfile}
//	.meta/root/…                       what stands above the graph, such as the mount
//	.meta/graphs/active -> the name of the graph that serves
//	.meta/graphs/NAME/{top,volfile}
//	.meta/graphs/NAME/VOLUME/{type,name,private,profile,meminfo,history,options/*,subvolumes/N,view}
//
// It stands at the top of every client's graph, under the name meta-autoload,
// without a line in the volfile. Paths and texts are GlusterFS's, so that what
// reads them there reads them here.
//
// What it promises:
//
//   - The root's listing does not have .meta; only who asks for the name finds
//     it. A file of that name on the bricks is hidden. .meta in other
//     directories is a name like others.
//   - What is not about .meta passes untouched, at the price of a look at which
//     object it is about.
//   - Sizes are 0 whatever can be read, as in /proc; the reply to an Open says so
//     in its xdata ("direct-io-mode"), for those that would believe a size. What
//     is read through one open file is of one moment.
//   - loglevel and measure_latency can be written. All else fails with EPERM.
//   - An object has the same GFID in every graph of a process, so that a change
//     of graphs leaves what is in use alone. The GFID is a hash of its path.
//
// Read next: tree.go for what there is, content.go for what it says.
package meta

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "meta",
	New:  New,
	Options: []xlator.Option{
		// The name of the directory; GlusterFS has this option too.
		{Key: "meta-dir-name", Default: defaultName},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

const defaultName = ".meta"

type meta struct {
	name    string // of the volume
	dir     string // of the directory
	child   fop.Handler
	graph   xlator.Graph
	env     *xlator.Env
	started fop.Time

	measure atomic.Bool
	fops    [fop.OpCount]latency

	once sync.Once
	tree *tree // after load
}

// latency is what was measured of a kind of fop, in nanoseconds.
type latency struct{ count, total, least, most atomic.Int64 }

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	m := &meta{name: c.Name, dir: c.Options.String("meta-dir-name", defaultName), child: c.Children[0].Handler, graph: c.Graph, env: c.Env}
	if m.env == nil {
		m.env = new(xlator.Env)
	}
	now := time.Now()
	m.started = fop.Time{Sec: now.Unix(), Nsec: uint32(now.Nanosecond())}
	return m, nil
}

// load makes the tree when it is asked for first: the graph is not complete
// before.
func (m *meta) load() *tree {
	m.once.Do(func() { m.tree = m.plant() })
	return m.tree
}

// mine reports whether a request is about .meta.
func (m *meta) mine(req fop.Request) bool {
	if l, ok := req.(*fop.Lookup); ok && l.Name == m.dir && l.Parent == fop.RootGFID {
		return true
	}
	g, _ := fop.Target(req)
	if isMeta(g) {
		return true
	}
	switch r := req.(type) {
	case *fop.Rename:
		return isMeta(r.NewParent) || r.OldParent == fop.RootGFID && r.OldName == m.dir || r.NewParent == fop.RootGFID && r.NewName == m.dir
	case *fop.Link:
		return isMeta(r.GFID) || m.isDir(r.Parent, r.Name)
	case *fop.Mkdir:
		return m.isDir(r.Parent, r.Name)
	case *fop.Create:
		return m.isDir(r.Parent, r.Name)
	case *fop.Mknod:
		return m.isDir(r.Parent, r.Name)
	case *fop.Symlink:
		return m.isDir(r.Parent, r.Name)
	case *fop.Unlink:
		return m.isDir(r.Parent, r.Name)
	case *fop.Rmdir:
		return m.isDir(r.Parent, r.Name)
	}
	return false
}

// isDir reports whether a name is that of the directory itself.
func (m *meta) isDir(parent fop.GFID, name string) bool {
	return parent == fop.RootGFID && name == m.dir
}

// Do answers what is about .meta and passes on all else.
func (m *meta) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if m.mine(req) {
		return m.answer(ctx, req)
	}
	if !m.measure.Load() {
		return m.child.Do(ctx, req)
	}
	begin := time.Now()
	reply, err := m.child.Do(ctx, req)
	m.measured(req, time.Since(begin))
	return reply, err
}

// Start sends a request off without waiting, if it is not about .meta.
func (m *meta) Start(ctx context.Context, req fop.Request) fop.Pending {
	if m.mine(req) || m.measure.Load() {
		return fop.Start(ctx, fop.HandlerFunc(m.Do), req)
	}
	return fop.Start(ctx, m.child, req)
}

// measured adds to what is known of a kind of fop.
func (m *meta) measured(req fop.Request, d time.Duration) {
	op := req.Op()
	if op >= fop.OpCount {
		return
	}
	l := &m.fops[op]
	n := int64(d)
	l.count.Add(1)
	l.total.Add(n)
	for v := l.most.Load(); n > v && !l.most.CompareAndSwap(v, n); v = l.most.Load() {
	}
	for v := l.least.Load(); (v == 0 || n < v) && !l.least.CompareAndSwap(v, n); v = l.least.Load() {
	}
}
