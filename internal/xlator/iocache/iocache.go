// Package iocache is the translator "performance/io-cache" (GlusterFS 10.3,
// xlators/performance/io-cache): what was read of a file is kept and served
// again. A volume has it only when performance.io-cache is on.
//
// # What it promises
//
//   - Files are kept in pages of pageSize bytes, all together at most cache-size
//     bytes of them; a read that misses reads whole pages. What was used longest
//     ago goes first, of the files with the lowest priority.
//   - What is served was true at most cache-timeout ago: after that the time of
//     the file's last change is asked for (Fstat), and if it is another, all pages
//     of the file are dropped. They are dropped, too, by whatever changes its data
//     through this mount, and by a brick's notice that another client changed it.
//     After a lock was taken the time is asked for before the next page is served.
//   - A page is kept only if nothing changed the file here while it was read.
//   - Reads without an open file, of files opened with O_DIRECT, with XData, and
//     of files outside min-file-size and max-file-size go through untouched.
//
// priority is a list "PATTERN:NUMBER, …", where GlusterFS matches the path of the
// file. Objects have no paths here, so patterns are matched with the name by which
// a file was looked up or made last; one with a slash is refused.
//
// # Order of locks
//
// object.mu, then store.mu; object.mu, then those inside a table of inodes. None is
// held during a call of the child.
//
// Read next: object.go, the pages of one file; store.go, which page has to go.
package iocache

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "performance/io-cache",
	New:  New,
	Options: []xlator.Option{
		{Key: "cache-size", Kind: xlator.KindSize, Default: "32MB", Min: 4 << 20},
		{Key: "cache-timeout", Kind: xlator.KindInt, Default: "1", Max: 60},
		{Key: "min-file-size", Kind: xlator.KindSize, Default: "0"},
		{Key: "max-file-size", Kind: xlator.KindSize, Default: "0"},
		{Key: "priority", Kind: xlator.KindString},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "off"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

const pageSize = 128 << 10

// maxNames is of how many files that are not open the priority is remembered.
const maxNames = 16384

type config struct {
	timeout    time.Duration
	minSize    uint64
	maxSize    uint64 // 0: no bound
	priorities []priority
	pass       bool
}

type priority struct {
	pattern string
	level   int
}

type cache struct {
	child   fop.Handler
	notify  func(fop.Event)
	conf    atomic.Pointer[config]
	objects *inodes.Table[object]
	names   *inodes.Table[atomic.Int32] // priorities
	store   store
	now     func() time.Time

	counts struct{ hits, misses, checks, drops atomic.Uint64 }
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	x := &cache{child: c.Children[0].Handler, notify: c.Notify, objects: inodes.New[object](0), names: inodes.New[atomic.Int32](maxNames), now: time.Now}
	x.store.init()
	return x, x.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (x *cache) Reconfigure(o xlator.Options) error {
	c := &config{
		timeout: time.Duration(o.Int("cache-timeout", 1)) * time.Second,
		minSize: uint64(o.Size("min-file-size", 0)),
		maxSize: uint64(o.Size("max-file-size", 0)),
		pass:    o.Bool("pass-through", false),
	}
	if c.maxSize > 0 && c.minSize > c.maxSize {
		return fmt.Errorf("min-file-size (%d) is larger than max-file-size (%d); set performance.cache-min-file-size or performance.cache-max-file-size to something else: %w",
			c.minSize, c.maxSize, syscall.EINVAL)
	}
	var err error
	if c.priorities, err = parsePriorities(o["priority"]); err != nil {
		return err
	}
	x.conf.Store(c)
	x.store.limit(o.Size("cache-size", 32<<20))
	return nil
}

// parsePriorities reads "*.c:3,*.iso:0".
func parsePriorities(text string) ([]priority, error) {
	var all []priority
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		pattern, number, _ := strings.Cut(item, ":")
		level, err := strconv.Atoi(strings.TrimSpace(number))
		pattern = strings.TrimSpace(pattern)
		_, bad := path.Match(pattern, "")
		if err != nil || level < 0 || level > 1000 || bad != nil || pattern == "" || strings.Contains(pattern, "/") {
			return nil, fmt.Errorf("priority %q is not PATTERN:NUMBER with a pattern for names, without slashes, and a number up to 1000; set performance.cache-priority to something like *.jpg:3,*.tmp:0: %w", item, syscall.EINVAL)
		}
		all = append(all, priority{pattern, level})
	}
	return all, nil
}

// levelOf returns the priority of a name; 1 if there is none for it.
func (c *config) levelOf(name string) int {
	for _, p := range c.priorities {
		if ok, _ := path.Match(p.pattern, name); ok {
			return p.level
		}
	}
	return 1
}

// ChildEvent hears of changes that other clients made, and passes all on.
func (x *cache) ChildEvent(_ string, ev fop.Event) {
	if ev.Upcall != nil && ev.Upcall.Kind == fop.UpcallInvalidate {
		x.changed(ev.Upcall.GFID)
	}
	if x.notify != nil {
		x.notify(ev)
	}
}

// Dump writes the state for a statedump.
func (x *cache) Dump(w io.Writer) {
	c := x.conf.Load()
	pages, bytes, most := x.store.stats()
	fmt.Fprintf(w, "page_size=%d\ncache_size=%d\ncache_used=%d\npages=%d\ncache_timeout=%d\nmin-file-size=%d\nmax-file-size=%d\npass_through=%t\nhits=%d\nmisses=%d\nrevalidations=%d\ndropped=%d\n",
		pageSize, most, bytes, pages, c.timeout/time.Second, c.minSize, c.maxSize, c.pass,
		x.counts.hits.Load(), x.counts.misses.Load(), x.counts.checks.Load(), x.counts.drops.Load())
}

// Do carries out one fop.
func (x *cache) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Read:
		return x.read(ctx, r)
	case *fop.Lookup:
		reply, err := x.child.Do(ctx, r)
		if a, ok := reply.(*fop.LookupReply); ok && err == nil && r.Name != "" {
			x.named(a.Stat.GFID, r.Name)
		}
		return reply, err
	case *fop.Create:
		reply, err := x.child.Do(ctx, r)
		if a, ok := reply.(*fop.CreateReply); ok && err == nil {
			x.named(a.Stat.GFID, r.Name)
			x.changed(a.Stat.GFID) // it may have been there, and longer
		}
		return reply, err
	case *fop.Release:
		if r.Fd != nil && r.Fd.Get(x) != nil {
			r.Fd.Set(x, nil)
		}
		return x.child.Do(ctx, r)
	case *fop.Lk, *fop.Lease:
		reply, err := x.child.Do(ctx, req)
		g, _ := fop.Target(req)
		x.doubt(g)
		return reply, err
	}
	g, ok := changes(req)
	if !ok {
		return x.child.Do(ctx, req)
	}
	x.changed(g)
	reply, err := x.child.Do(ctx, req)
	x.changed(g)
	return reply, err
}

// Start begins a fop. Reads that are started go through: they are parts of large
// transfers.
func (x *cache) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch req.(type) {
	case *fop.Lookup, *fop.Create, *fop.Release, *fop.Lk, *fop.Lease:
		return fop.Start(ctx, fop.HandlerFunc(x.Do), req)
	}
	if g, ok := changes(req); ok {
		x.changed(g)
		return &change{x, g, fop.Start(ctx, x.child, req)}
	}
	return fop.Start(ctx, x.child, req)
}

// change is a change under way.
type change struct {
	x *cache
	g fop.GFID
	p fop.Pending
}

func (c *change) Wait() (fop.Reply, error) {
	reply, err := c.p.Wait()
	c.x.changed(c.g)
	return reply, err
}

// changes returns the object whose data a fop changes.
func changes(req fop.Request) (g fop.GFID, ok bool) {
	switch r := req.(type) {
	case *fop.Open:
		return r.GFID, r.Flags&fop.OTrunc != 0
	case *fop.Write, *fop.Truncate, *fop.Ftruncate, *fop.Fallocate, *fop.Discard, *fop.Zerofill:
		g, _ = fop.Target(req)
		return g, true
	case *fop.CopyFileRange:
		return r.Dst, true
	}
	return g, false
}

// named notes the priority of a file by its name.
func (x *cache) named(g fop.GFID, name string) {
	c := x.conf.Load()
	if len(c.priorities) == 0 {
		return
	}
	at := x.names.Acquire(g)
	at.V.Store(int32(c.levelOf(name)) + 1)
	at.Release()
}

// level returns the priority of an object.
func (x *cache) level(g fop.GFID) int {
	if at := x.names.Peek(g); at != nil {
		defer at.Release()
		if n := at.V.Load(); n > 0 {
			return int(n) - 1
		}
	}
	return 1
}
