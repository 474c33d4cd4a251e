// Package readahead is the translator "performance/read-ahead" (GlusterFS 10.3,
// xlators/performance/read-ahead): who reads a file from front to back finds the
// next pages here already.
//
// # What it promises
//
//   - Of a file that is read in order, up to page-count pages of pageSize bytes
//     are read ahead: one after the first two reads, and more the longer it goes
//     on. A read elsewhere drops them and begins anew.
//   - A page is served once, or as often as a read ends within it, for at most
//     maxAge, and not after the file was changed or locked through this mount, or
//     a brick told that another client changed it.
//   - Files opened with O_DIRECT, or for writing only, are left alone, and so are
//     reads without an open file or with XData.
//   - At most (page-count + 1) pages are held per open file.
//   - A page that could not be read is forgotten; the read asks for itself, and
//     gets the error.
//
// # Order of locks
//
// fileState.mu alone, never held during a call of the child. What is read ahead
// is waited for without it.
//
// Read next: plan.go, what is read ahead, which does no I/O.
package readahead

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "performance/read-ahead",
	New:  New,
	Options: []xlator.Option{
		{Key: "page-count", Kind: xlator.KindInt, Default: "4", Min: 1, Max: 16},
		{Key: "page-size", Kind: xlator.KindSize, Default: "128KB", Min: 4096, Max: 64 << 20},
		{Key: "force-atime-update", Kind: xlator.KindBool, Default: "off"},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "off"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

// maxAge is how long a page may have been here when it is served.
const maxAge = time.Second

type config struct {
	rules
	atime bool // reads that find their data here are told to the brick all the same
	pass  bool
}

type ahead struct {
	child  fop.Handler
	notify func(fop.Event)
	conf   atomic.Pointer[config]
	// changes counts what was done to each object that is open for reading.
	changes *inodes.Table[atomic.Uint64]
	open    atomic.Int64 // files with a state
	now     func() time.Time
	buffers sync.Pool // *[]byte of one page

	life  context.Context
	kill  context.CancelFunc
	tasks sync.WaitGroup

	counts struct{ hits, misses, pages, wasted atomic.Uint64 }
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	a := &ahead{child: c.Children[0].Handler, notify: c.Notify, changes: inodes.New[atomic.Uint64](0), now: time.Now}
	a.life, a.kill = context.WithCancel(context.Background())
	return a, a.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (a *ahead) Reconfigure(o xlator.Options) error {
	a.conf.Store(&config{
		rules: rules{page: uint64(o.Size("page-size", 128<<10)), most: int(o.Int("page-count", 4))},
		atime: o.Bool("force-atime-update", false),
		pass:  o.Bool("pass-through", false),
	})
	return nil
}

// ChildEvent hears of changes that other clients made, and passes all on.
func (a *ahead) ChildEvent(_ string, ev fop.Event) {
	if ev.Upcall != nil && ev.Upcall.Kind == fop.UpcallInvalidate {
		a.changed(ev.Upcall.GFID)
	}
	if a.notify != nil {
		a.notify(ev)
	}
}

// Run ends what is read ahead when the graph goes.
func (a *ahead) Run(ctx context.Context) error {
	<-ctx.Done()
	return a.Close()
}

// Close ends what is read ahead.
func (a *ahead) Close() error {
	a.kill()
	a.tasks.Wait()
	return nil
}

// Dump writes the state for a statedump.
func (a *ahead) Dump(w io.Writer) {
	c := a.conf.Load()
	fmt.Fprintf(w, "page_size=%d\npage_count=%d\nforce_atime_update=%t\npass_through=%t\nopen_files=%d\nhits=%d\nmisses=%d\npages=%d\nwasted=%d\n",
		c.page, c.most, c.atime, c.pass, a.open.Load(), a.counts.hits.Load(), a.counts.misses.Load(), a.counts.pages.Load(), a.counts.wasted.Load())
}

// Do carries out one fop.
func (a *ahead) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Read:
		return a.read(ctx, r)
	case *fop.Open:
		reply, err := a.child.Do(ctx, r)
		if err == nil {
			a.opened(r.Fd, r.GFID, r.Flags)
			if r.Flags&fop.OTrunc != 0 {
				a.changed(r.GFID)
			}
		}
		return reply, err
	case *fop.Create:
		reply, err := a.child.Do(ctx, r)
		if c, ok := reply.(*fop.CreateReply); ok && err == nil {
			a.opened(r.Fd, c.Stat.GFID, r.Flags)
			a.changed(c.Stat.GFID)
		}
		return reply, err
	case *fop.Release:
		a.released(r.Fd)
		return a.child.Do(ctx, r)
	}
	g, ok := changes(req)
	if !ok || a.open.Load() == 0 {
		return a.child.Do(ctx, req)
	}
	// What was read ahead before and during the change is no good.
	a.changed(g)
	reply, err := a.child.Do(ctx, req)
	a.changed(g)
	return reply, err
}

// Start begins a fop. Reads that are started have a caller who reads ahead
// himself.
func (a *ahead) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch req.(type) {
	case *fop.Open, *fop.Create, *fop.Release:
		return fop.Start(ctx, fop.HandlerFunc(a.Do), req)
	}
	if g, ok := changes(req); ok && a.open.Load() > 0 {
		a.changed(g)
		return &change{a, g, fop.Start(ctx, a.child, req)}
	}
	return fop.Start(ctx, a.child, req)
}

// change is a change under way.
type change struct {
	a *ahead
	g fop.GFID
	p fop.Pending
}

func (c *change) Wait() (fop.Reply, error) {
	reply, err := c.p.Wait()
	c.a.changed(c.g)
	return reply, err
}

// changes returns the object whose data a fop changes, or makes depend on others
// (locks).
func changes(req fop.Request) (g fop.GFID, ok bool) {
	switch r := req.(type) {
	case *fop.Write, *fop.Truncate, *fop.Ftruncate, *fop.Fallocate, *fop.Discard, *fop.Zerofill, *fop.Lk, *fop.Lease:
		g, _ = fop.Target(req)
		return g, true
	case *fop.CopyFileRange:
		return r.Dst, true
	}
	return g, false
}

// changed makes pages of an object useless.
func (a *ahead) changed(g fop.GFID) {
	if at := a.changes.Peek(g); at != nil {
		at.V.Add(1)
		at.Release()
	}
}

func (a *ahead) opened(fd *fop.Fd, g fop.GFID, flags uint32) {
	if fd == nil || flags&fop.OAccmode == fop.OWronly || flags&fop.ODirect != 0 {
		return
	}
	f := &fileState{at: a.changes.Acquire(g)}
	a.open.Add(1)
	if old, ok := fd.Set(a, f).(*fileState); ok {
		a.end(old)
	}
}

func (a *ahead) released(fd *fop.Fd) {
	if fd == nil {
		return
	}
	if f, ok := fd.Set(a, nil).(*fileState); ok {
		a.end(f)
	}
}

func (a *ahead) end(f *fileState) {
	f.mu.Lock()
	pages := f.pages
	f.pages = nil
	f.mu.Unlock()
	a.drop(pages)
	a.open.Add(-1)
	f.at.Release()
}
