package quickread

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "performance/quick-read",
	New:  New,
	Options: []xlator.Option{
		{Key: "max-file-size", Kind: xlator.KindSize, Default: "64KB", Min: 0, Max: 1000 << 10},
		{Key: "cache-size", Kind: xlator.KindSize, Default: "128MB"},
		{Key: "cache-timeout", Kind: xlator.KindInt, Default: "1", Min: 1, Max: 60},
		{Key: "quick-read-cache-invalidation", Kind: xlator.KindBool, Default: "false",
			Ignored: "notices of bricks are always heeded"},
		{Key: "ctime-invalidation", Kind: xlator.KindBool, Default: "false"},
		{Key: "priority", Ignored: "what is dropped first is what was not used for longest"},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "false"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

// maxFiles is how many files are remembered beside the contents.
const maxFiles = 1 << 15

// quickRead is the translator.
type quickRead struct {
	child  fop.Handler
	notify func(fop.Event)
	conf   atomic.Pointer[config]
	clock  inodes.Clock
	files  *inodes.Table[file]
	store  store
	worth  worth
	base   time.Time

	hits, misses, notices atomic.Uint64
}

// file is what is known of a file beside its contents.
type file struct {
	mu  sync.Mutex
	ver inodes.Version
	dir fop.GFID // where it was looked up last
}

type config struct {
	pass    bool
	max     uint64
	timeout time.Duration
	ctime   bool
}

// same reports whether the contents are the same, going by attributes.
func (c *config) same(a, b *fop.Iatt) bool {
	if c.ctime {
		return a.Size == b.Size && a.Ctime == b.Ctime
	}
	return a.Size == b.Size && a.Mtime == b.Mtime
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	q := &quickRead{child: c.Children[0].Handler, notify: c.Notify, files: inodes.New[file](maxFiles), base: time.Now()}
	if q.notify == nil {
		q.notify = func(fop.Event) {}
	}
	q.files.Dropped = func(f *file) { q.clock.Forget(&f.ver) }
	q.store.init()
	return q, q.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (q *quickRead) Reconfigure(o xlator.Options) error {
	q.conf.Store(&config{
		pass:    o.Bool("pass-through", false),
		max:     uint64(o.Size("max-file-size", 64<<10)),
		timeout: time.Duration(o.Int("cache-timeout", 1)) * time.Second,
		ctime:   o.Bool("ctime-invalidation", false),
	})
	q.store.setLimit(o.Size("cache-size", 128<<20))
	q.store.clear()
	return nil
}

func (q *quickRead) now() int64 { return int64(time.Since(q.base)) }

// Do carries out one fop.
func (q *quickRead) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	c := q.conf.Load()
	if c.pass {
		return q.child.Do(ctx, req)
	}
	switch r := req.(type) {
	case *fop.Lookup:
		return q.lookup(ctx, c, r)
	case *fop.Read:
		if reply := q.serve(r); reply != nil {
			return reply, nil
		}
		start, at := q.clock.Now(), q.now()
		reply, err := q.child.Do(ctx, req)
		return q.readDone(c, r, start, at, reply, err)
	case *fop.Stat, *fop.Fstat, *fop.Setattr, *fop.Fsetattr:
		start, at := q.clock.Now(), q.now()
		reply, err := q.child.Do(ctx, req)
		if err == nil {
			switch a := reply.(type) {
			case *fop.StatReply:
				q.check(c, start, at, &a.Stat)
			case *fop.AttrReply:
				q.check(c, start, at, &a.Post)
			}
		}
		return reply, err
	}
	if g, ok := changed(req); ok {
		f := q.files.Acquire(g)
		token := q.begin(f)
		reply, err := q.child.Do(ctx, req)
		q.end(f, token)
		return reply, err
	}
	reply, err := q.child.Do(ctx, req)
	if a, ok := reply.(*fop.CreateReply); ok && req.(*fop.Create).Flags&fop.OTrunc != 0 {
		q.void(a.Stat.GFID)
	}
	return reply, err
}

// changed tells which file's contents a request changes.
func changed(req fop.Request) (g fop.GFID, ok bool) {
	var fd *fop.Fd
	switch r := req.(type) {
	case *fop.Write:
		g, fd = r.GFID, r.Fd
	case *fop.Truncate:
		g = r.GFID
	case *fop.Ftruncate:
		g, fd = r.GFID, r.Fd
	case *fop.Fallocate:
		g, fd = r.GFID, r.Fd
	case *fop.Discard:
		g, fd = r.GFID, r.Fd
	case *fop.Zerofill:
		g, fd = r.GFID, r.Fd
	case *fop.CopyFileRange:
		g, fd = r.Dst, r.DstFd
	case *fop.Open:
		if r.Flags&fop.OTrunc == 0 {
			return g, false
		}
		g = r.GFID
	default:
		return g, false
	}
	if g.IsZero() && fd != nil {
		g = fd.GFID
	}
	return g, true
}

// Start begins a fop without waiting, where it is a read or a write.
func (q *quickRead) Start(ctx context.Context, req fop.Request) fop.Pending {
	c := q.conf.Load()
	if c.pass {
		return fop.Start(ctx, q.child, req)
	}
	switch r := req.(type) {
	case *fop.Read:
		if reply := q.serve(r); reply != nil {
			return done{reply}
		}
		return &reading{q, c, r, q.clock.Now(), q.now(), fop.Start(ctx, q.child, req)}
	case *fop.Write:
		g, _ := changed(req)
		f := q.files.Acquire(g)
		return &writing{q, f, q.begin(f), fop.Start(ctx, q.child, req)}
	}
	return fop.Start(ctx, fop.HandlerFunc(q.Do), req)
}

// done is an answer that is there.
type done struct{ reply fop.Reply }

func (d done) Wait() (fop.Reply, error) { return d.reply, nil }

// reading is a read under way.
type reading struct {
	q     *quickRead
	c     *config
	r     *fop.Read
	start uint64
	at    int64
	p     fop.Pending
}

func (w *reading) Wait() (fop.Reply, error) {
	reply, err := w.p.Wait()
	return w.q.readDone(w.c, w.r, w.start, w.at, reply, err)
}

// writing is a write under way.
type writing struct {
	q     *quickRead
	f     *inodes.Ref[file]
	token uint64
	p     fop.Pending
}

func (w *writing) Wait() (fop.Reply, error) {
	reply, err := w.p.Wait()
	w.q.end(w.f, w.token)
	return reply, err
}

// begin tells that a file is about to be changed.
func (q *quickRead) begin(f *inodes.Ref[file]) (token uint64) {
	f.V.mu.Lock()
	token = f.V.ver.Begin(&q.clock)
	q.store.drop(f.GFID)
	f.V.mu.Unlock()
	return token
}

// end tells that the change is done.
func (q *quickRead) end(f *inodes.Ref[file], token uint64) {
	f.V.mu.Lock()
	f.V.ver.End(&q.clock, token)
	f.V.mu.Unlock()
	f.Release()
}

// void drops the contents of a file that was changed elsewhere.
func (q *quickRead) void(g fop.GFID) {
	if g.IsZero() {
		return
	}
	f := q.files.Acquire(g)
	f.V.mu.Lock()
	f.V.ver.Void(&q.clock)
	q.store.drop(g)
	f.V.mu.Unlock()
	f.Release()
}

// lookup has the contents come along.
func (q *quickRead) lookup(ctx context.Context, c *config, r *fop.Lookup) (fop.Reply, error) {
	req := r
	hint := r.XData.Has(fop.KeyContent)
	guess := !hint && c.max > 0 && r.Name != "" && q.worth.spend(r.Parent)
	if want := uint64(r.XData.Int(fop.KeyContent)); guess || want > c.max {
		p := *r
		p.XData = r.XData.Clone()
		if p.XData.Set(fop.KeyContent, fop.Uint(c.max)); c.max == 0 {
			p.XData.Delete(fop.KeyContent)
		}
		req = &p
	}
	start, at := q.clock.Now(), q.now()
	reply, err := fop.Call(ctx, q.child, req)
	if err != nil || reply == nil {
		if guess {
			q.worth.earn(r.Parent, 1)
		}
		if reply == nil {
			return nil, err
		}
		return reply, err
	}
	a := &reply.Stat
	var data []byte
	v, has := reply.XData.Get(fop.KeyContent)
	if has {
		data = v.Bytes()
		has = a.IsRegular() && uint64(len(data)) == a.Size && a.Size <= c.max && len(data) > 0
	}
	if guess && !has {
		q.worth.earn(r.Parent, 1)
	}
	if !a.IsRegular() {
		return reply, nil
	}
	if !has {
		q.check(c, start, at, a)
		q.note(a.GFID, r.Parent)
		return reply, nil
	}
	i := item{gfid: a.GFID, stat: *a, until: at + int64(c.timeout)}
	if guess {
		i.dir = r.Parent
	}
	f := q.files.Acquire(a.GFID)
	f.V.mu.Lock()
	f.V.dir = r.Parent
	if f.V.ver.Learn(&q.clock, start) == inodes.Keep {
		i.data = bytes.Clone(data) // the reply is the caller's
		q.store.put(i)
	} else if !q.store.same(c, a, 0, false) {
		f.V.ver.Void(&q.clock)
	}
	f.V.mu.Unlock()
	f.Release()
	return reply, nil
}

// note remembers where a file was looked up.
func (q *quickRead) note(g, dir fop.GFID) {
	if dir.IsZero() {
		return
	}
	f := q.files.Acquire(g)
	f.V.mu.Lock()
	f.V.dir = dir
	f.V.mu.Unlock()
	f.Release()
}

// check compares attributes of a reply to a request that began at start with
// those that the contents came with.
func (q *quickRead) check(c *config, start uint64, at int64, a *fop.Iatt) {
	if a.IsZero() || !a.IsRegular() {
		return
	}
	f := q.files.Peek(a.GFID)
	if f == nil {
		return
	}
	f.V.mu.Lock()
	keep := f.V.ver.Learn(&q.clock, start) == inodes.Keep
	if !q.store.same(c, a, at+int64(c.timeout), keep) {
		f.V.ver.Void(&q.clock)
	}
	f.V.mu.Unlock()
	f.Release()
}

// serve answers a read from what is kept, nil if that is not enough.
func (q *quickRead) serve(r *fop.Read) *fop.ReadReply {
	if r.Fd == nil || r.Fd.Flags&fop.OAccmode == fop.OWronly || (r.Fd.Flags|r.Flags)&fop.ODirect != 0 || r.XData.Len() > 0 {
		return nil
	}
	g := r.GFID
	if g.IsZero() {
		g = r.Fd.GFID
	}
	data, stat, dir, ok := q.store.get(g, q.now())
	if !ok {
		return nil
	}
	q.hits.Add(1)
	q.worth.earn(dir, 2)
	reply := &fop.ReadReply{Stat: stat, EOF: true}
	if r.Offset < uint64(len(data)) {
		data = data[r.Offset:]
		reply.EOF = len(data) <= int(r.Size)
		data = data[:min(len(data), int(r.Size))]
		if r.Into != nil {
			reply.Data = r.Into[:copy(r.Into, data)]
		} else {
			reply.Data = bytes.Clone(data)
		}
	}
	return reply
}

// readDone takes the reply to a read that was not answered here.
func (q *quickRead) readDone(c *config, r *fop.Read, start uint64, at int64, reply fop.Reply, err error) (fop.Reply, error) {
	a, ok := reply.(*fop.ReadReply)
	if !ok || err != nil {
		return reply, err
	}
	q.misses.Add(1)
	q.check(c, start, at, &a.Stat)
	if r.Offset == 0 && a.EOF && len(a.Data) > 0 && uint64(len(a.Data)) <= c.max {
		if f := q.files.Peek(r.GFID); f != nil {
			f.V.mu.Lock()
			dir := f.V.dir
			f.V.mu.Unlock()
			f.Release()
			q.worth.earn(dir, 2)
		}
	}
	return reply, err
}

// ChildEvent hears what bricks tell, and passes it on.
func (q *quickRead) ChildEvent(_ string, ev fop.Event) {
	switch ev.Kind {
	case fop.EventUpcall:
		if u := ev.Upcall; u != nil && u.Kind == fop.UpcallInvalidate {
			q.notices.Add(1)
			q.void(u.GFID)
		}
	case fop.EventChildUp, fop.EventChildDown, fop.EventNoticesLost:
		q.store.clear()
	}
	q.notify(ev)
}

// Dump writes the state for a statedump.
func (q *quickRead) Dump(w io.Writer) {
	c := q.conf.Load()
	files, size := q.store.figures()
	fmt.Fprintf(w, "pass-through=%v\nmax_file_size=%d\ncache_timeout=%d\ntotal_files_cached=%d\ntotal_cache_used=%d\ncache-hit=%d\ncache-miss=%d\ncache-invalidations=%d\n",
		c.pass, c.max, int(c.timeout.Seconds()), files, size, q.hits.Load(), q.misses.Load(), q.notices.Load())
}
