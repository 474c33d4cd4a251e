// Package readdirahead is the translator "performance/readdir-ahead" (GlusterFS
// 10.3, xlators/performance/readdir-ahead): entries of an open directory are
// fetched before they are asked for.
//
// Fetching begins when a directory is opened, goes on until rda-high-wmark bytes
// of entries are there, and again when fewer than rda-low-wmark are left, in
// requests of rda-request-size. With volume option performance.parallel-readdir
// there is one of these translators below each subvolume of cluster/distribute,
// which opens a directory on all of them at once: so they fetch side by side.
//
// # What it promises
//
//   - A listing is what it would be without: same entries, order and offsets.
//     Who reads on from another offset, wants other keys, or begins anew gets
//     entries that were fetched after that.
//   - Attributes are never older than a change through this client that is done:
//     after one, what was fetched before is fetched again. GlusterFS tracks
//     changes per object; this is coarser, and needs no memory per object.
//   - All listings together keep no more than rda-cache-limit bytes, but for one
//     request each that is under way.
//   - An error of a request ahead is returned where the listing comes to it.
//
// # Locks
//
// Each open directory has a mutex; nothing is called while it is held.
package readdirahead

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "performance/readdir-ahead",
	New:  New,
	Options: []xlator.Option{
		{Key: "rda-request-size", Kind: xlator.KindSize, Default: "131072", Min: 4096, Max: 131072},
		{Key: "rda-low-wmark", Kind: xlator.KindSize, Default: "4096", Max: 10 << 20},
		{Key: "rda-high-wmark", Kind: xlator.KindSize, Default: "128KB", Max: 100 << 20},
		{Key: "rda-cache-limit", Kind: xlator.KindSize, Default: "10MB"},
		// These two decide where the management puts the translator.
		{Key: "parallel-readdir", Kind: xlator.KindBool, Default: "off"},
		{Key: "performance.readdir-ahead", Kind: xlator.KindBool, Default: "off"},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "false"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

// entryCost is what a brick takes an entry to need of the size of a listing,
// besides its name.
const entryCost = 209

// ahead is the translator.
type ahead struct {
	child   fop.Handler
	conf    atomic.Pointer[config]
	changes atomic.Uint64 // counts changes that begin and end
	used    atomic.Int64  // bytes of entries kept
	open    atomic.Int64
	wanted  atomic.Pointer[fop.Dict] // the keys of the last listing: the next one wants them too
	work    sync.WaitGroup

	hits, misses, stale atomic.Uint64
}

type config struct {
	pass                  bool
	size                  uint32
	low, high, cacheLimit int64
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	a := &ahead{child: c.Children[0].Handler}
	return a, a.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (a *ahead) Reconfigure(o xlator.Options) error {
	a.conf.Store(&config{
		pass:       o.Bool("pass-through", false),
		size:       uint32(o.Size("rda-request-size", 128<<10)),
		low:        o.Size("rda-low-wmark", 4096),
		high:       o.Size("rda-high-wmark", 128<<10),
		cacheLimit: o.Size("rda-cache-limit", 10<<20),
	})
	return nil
}

// Run waits, at the end, for requests that nobody wants any more.
func (a *ahead) Run(ctx context.Context) error {
	<-ctx.Done()
	a.work.Wait()
	return nil
}

// Do carries out one fop.
func (a *ahead) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Opendir:
		return a.opendir(ctx, r)
	case *fop.Readdirp:
		if l := a.listing(r.Fd); l != nil {
			return l.read(ctx, r)
		}
	case *fop.Releasedir:
		if l := a.listing(r.Fd); l != nil {
			r.Fd.Set(a, nil)
			l.close()
		}
	}
	if fop.Changes(req) {
		a.changes.Add(1)
		defer a.changes.Add(1)
	}
	return a.child.Do(ctx, req)
}

// Start begins a fop without waiting, where it is a read or a write.
func (a *ahead) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch req.(type) {
	case *fop.Read:
		return fop.Start(ctx, a.child, req)
	case *fop.Write:
		a.changes.Add(1)
		return writing{a, fop.Start(ctx, a.child, req)}
	}
	return fop.Start(ctx, fop.HandlerFunc(a.Do), req)
}

// writing is a write under way.
type writing struct {
	a *ahead
	p fop.Pending
}

func (w writing) Wait() (fop.Reply, error) {
	defer w.a.changes.Add(1)
	return w.p.Wait()
}

func (a *ahead) listing(fd *fop.Fd) *listing {
	if fd == nil {
		return nil
	}
	l, _ := fd.Get(a).(*listing)
	return l
}

func (a *ahead) opendir(ctx context.Context, r *fop.Opendir) (fop.Reply, error) {
	reply, err := a.child.Do(ctx, r)
	if c := a.conf.Load(); err != nil || c.pass || r.Fd == nil {
		return reply, err
	}
	l := &listing{a: a, fd: r.Fd, gfid: r.GFID, cred: r.Cred, keys: a.wanted.Load()}
	r.Fd.Set(a, l)
	a.open.Add(1)
	l.mu.Lock()
	l.fetch(ctx)
	l.mu.Unlock()
	return reply, nil
}

// listing is an open directory.
type listing struct {
	a    *ahead
	fd   *fop.Fd
	gfid fop.GFID
	cred fop.Cred

	mu      sync.Mutex
	keys    *fop.Dict // XData of the requests
	at      uint64    // the offset at which entries begins
	entries []fop.Dirent
	bytes   int64
	next    uint64 // the offset of what is fetched next
	eof     bool   // nothing is there
	err     error  // what the last request came to
	changes uint64 // ahead.changes, when the first of entries was asked for
	round   uint64 // counts how often all was thrown away
	closed  bool
	busy    chan struct{} // closed when the request under way is done; nil without one
}

// fetch begins to fetch, if there is room and nothing under way. mu is held.
func (l *listing) fetch(ctx context.Context) {
	c := l.a.conf.Load()
	if l.busy != nil || l.eof || l.err != nil || l.closed || c.pass || l.bytes >= c.high || l.a.used.Load() >= c.cacheLimit {
		return
	}
	if len(l.entries) == 0 {
		l.changes = l.a.changes.Load()
	} else if l.changes != l.a.changes.Load() {
		return // it will be thrown away
	}
	done := make(chan struct{})
	l.busy = done
	round := l.round
	req := &fop.Readdirp{Header: fop.Header{Cred: l.cred, XData: l.keys}, GFID: l.gfid, Fd: l.fd, Offset: l.next, Size: c.size}
	ctx = context.WithoutCancel(ctx)
	l.a.work.Go(func() {
		reply, err := fop.Call(ctx, l.a.child, req)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busy = nil
		close(done)
		if round != l.round || l.closed {
			return
		}
		if l.take(reply, err); l.err == nil {
			l.fetch(ctx)
		}
	})
}

// take adds what a request came to. mu is held.
func (l *listing) take(reply *fop.ReaddirReply, err error) {
	if l.err = err; err != nil {
		return
	}
	l.eof = reply.EOF || len(reply.Entries) == 0
	for i := range reply.Entries {
		e := &reply.Entries[i]
		l.next = e.Off
		l.keep(cost(e))
	}
	l.entries = append(l.entries, reply.Entries...)
}

func cost(e *fop.Dirent) int64 { return int64(entryCost + len(e.Name)) }

func (l *listing) keep(n int64) {
	l.bytes += n
	l.a.used.Add(n)
}

// restart throws away what was fetched, and goes on at off. mu is held.
func (l *listing) restart(off uint64) {
	l.keep(-l.bytes)
	l.entries, l.eof, l.err = nil, false, nil
	l.at, l.next = off, off
	l.round++
}

// read answers a request.
func (l *listing) read(ctx context.Context, r *fop.Readdirp) (fop.Reply, error) {
	a := l.a
	began := a.changes.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		// What is fetched from now on is as good as what a brick would answer.
		old := l.changes < began && (len(l.entries) > 0 || l.busy != nil || l.eof)
		same := l.keys.Equal(r.XData) && l.cred.UID == r.Cred.UID
		if old {
			a.stale.Add(1)
		}
		if !same {
			l.keys, l.cred = nil, r.Cred
			if r.XData.Len() > 0 {
				l.keys = r.XData.Clone()
			}
			a.wanted.Store(l.keys)
		}
		if old || !same || r.Offset != l.at {
			l.restart(r.Offset)
		}
		switch {
		case len(l.entries) > 0:
			a.hits.Add(1)
			return l.give(ctx, int64(r.Size)), nil
		case l.err != nil:
			err := l.err
			l.err = nil
			return nil, err
		case l.eof:
			l.restart(l.at) // who asks again wants to know whether that is still so
			return &fop.ReaddirReply{EOF: true}, nil
		}
		if l.busy == nil {
			a.misses.Add(1)
			if l.fetch(ctx); l.busy == nil { // there is no room, or it is switched off
				l.mu.Unlock()
				reply, err := a.child.Do(ctx, r)
				l.mu.Lock()
				if p, ok := reply.(*fop.ReaddirReply); ok && err == nil && len(p.Entries) > 0 {
					l.restart(p.Entries[len(p.Entries)-1].Off)
				}
				return reply, err
			}
		}
		done := l.busy
		l.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// give returns entries for size bytes, one at least. mu is held.
func (l *listing) give(ctx context.Context, size int64) *fop.ReaddirReply {
	n := 0
	for ; n < len(l.entries); n++ {
		c := cost(&l.entries[n])
		if size -= c; size < 0 && n > 0 {
			break
		}
		l.keep(-c)
	}
	reply := &fop.ReaddirReply{Entries: l.entries[:n:n]}
	l.at = l.entries[n-1].Off
	l.entries = l.entries[n:]
	reply.EOF = l.eof && len(l.entries) == 0
	if l.bytes <= l.a.conf.Load().low {
		l.fetch(ctx)
	}
	return reply
}

// close ends a listing: nothing may use the open directory any more.
func (l *listing) close() {
	l.mu.Lock()
	l.closed = true
	l.restart(0)
	busy := l.busy
	l.mu.Unlock()
	if busy != nil {
		<-busy
	}
	l.a.open.Add(-1)
}

// Dump writes the state for a statedump.
func (a *ahead) Dump(w io.Writer) {
	c := a.conf.Load()
	fmt.Fprintf(w, "pass-through=%v\nrda-request-size=%d\nrda-low-wmark=%d\nrda-high-wmark=%d\nrda-cache-limit=%d\nrda-cache-size=%d\nopen-directories=%d\nhits=%d\nmisses=%d\nstale=%d\n",
		c.pass, c.size, c.low, c.high, c.cacheLimit, a.used.Load(), a.open.Load(), a.hits.Load(), a.misses.Load(), a.stale.Load())
}
