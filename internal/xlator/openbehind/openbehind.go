// Package openbehind is the translator "performance/open-behind" (GlusterFS
// 10.3, xlators/performance/open-behind): the open of a file that nobody else
// has open here is answered at once, and done when the first fop needs the open
// file, if one does. A file that is opened and closed, or whose contents a cache
// above has, then costs no round trip.
//
// # What it promises
//
//   - An open file is opened before the child gets a fop on it; while that goes
//     on, others wait. With read-after-open off, or use-anonymous-fd on, reads go
//     ahead without the open file.
//   - A file stays readable when its last name is removed through this mount:
//     before an Unlink, a Rename that may replace a name, or a Setattr or change
//     of an ACL (which may take the right to open away), what was not opened yet
//     is opened. Unlink and
//     Rename tell a name, not a file: they open all, and there are at most
//     maxWaiting of them. If that fails, the fop goes on.
//   - What the brick says to a late open is what the first fop on the file gets,
//     and each after it, until an open succeeds. A Flush or Release of a file that
//     never was opened succeeds without it.
//   - Opened at once are files for which O_TRUNC or O_DIRECT is asked, those of an
//     object that is open already, and those of a caller that wants the brick's
//     word (Open.Now); with lazy-open off, all of them are, but the caller does
//     not wait.
//
// # Order of locks
//
// opening.mu, then behind.mu. Neither is held during a call of the child.
//
// Read next: opening.go, what is kept of a file that is not open yet.
package openbehind

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "performance/open-behind",
	New:  New,
	Options: []xlator.Option{
		{Key: "lazy-open", Kind: xlator.KindBool, Default: "yes"},
		{Key: "read-after-open", Kind: xlator.KindBool, Default: "yes"},
		{Key: "use-anonymous-fd", Kind: xlator.KindBool, Default: "no"},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "off"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

// maxWaiting bounds the files that are not open yet. The next one is opened at
// once.
const maxWaiting = 1024

type config struct {
	lazy      bool
	anonymous bool // reads do not wait for the open
	pass      bool
}

type behind struct {
	child fop.Handler
	conf  atomic.Pointer[config]
	quiet atomic.Bool // Quiesce: nothing is put off any more

	n  atomic.Int64 // len(waiting)
	mu sync.Mutex
	// waiting are the files that are not open yet.
	waiting map[*opening]struct{}
	// open counts the open files per object, those that wait and those that do not.
	open map[fop.GFID]int

	background sync.WaitGroup
	life       context.Context
	kill       context.CancelFunc

	counts struct{ putOff, opened, spared, failed atomic.Uint64 }
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	b := &behind{child: c.Children[0].Handler, waiting: make(map[*opening]struct{}), open: make(map[fop.GFID]int)}
	b.life, b.kill = context.WithCancel(context.Background())
	return b, b.Reconfigure(c.Options)
}

// Reconfigure takes new options, good for files that are opened from now on.
func (b *behind) Reconfigure(o xlator.Options) error {
	b.conf.Store(&config{
		lazy:      o.Bool("lazy-open", true),
		anonymous: o.Bool("use-anonymous-fd", false) || !o.Bool("read-after-open", true),
		pass:      o.Bool("pass-through", false),
	})
	return nil
}

// Run ends the opens in the background when the graph goes.
func (b *behind) Run(ctx context.Context) error {
	<-ctx.Done()
	return b.Close()
}

// Close ends the opens in the background.
func (b *behind) Close() error {
	b.kill()
	b.background.Wait()
	return nil
}

// Quiesce opens what is not open yet, and from now on every file when it is
// asked for.
func (b *behind) Quiesce(ctx context.Context) error {
	b.quiet.Store(true)
	b.openAll(ctx)
	return ctx.Err()
}

// Dump writes the state for a statedump.
func (b *behind) Dump(w io.Writer) {
	c := b.conf.Load()
	b.mu.Lock()
	waiting, objects := len(b.waiting), len(b.open)
	b.mu.Unlock()
	fmt.Fprintf(w, "lazy_open=%t\nreads_wait_for_open=%t\npass_through=%t\nopen_objects=%d\nnot_opened_yet=%d\nput_off=%d\nopened_late=%d\nnever_opened=%d\nfailed=%d\n",
		c.lazy, !c.anonymous, c.pass, objects, waiting, b.counts.putOff.Load(), b.counts.opened.Load(), b.counts.spared.Load(), b.counts.failed.Load())
}

// Do carries out one fop.
func (b *behind) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Open:
		return b.doOpen(ctx, r)
	case *fop.Create:
		reply, err := b.child.Do(ctx, r)
		if c, ok := reply.(*fop.CreateReply); ok && err == nil {
			b.noteOpen(r.Fd, c.Stat.GFID)
		}
		return reply, err
	case *fop.Release:
		return b.release(ctx, r)
	}
	if b.n.Load() == 0 {
		return b.child.Do(ctx, req)
	}
	return b.whileWaiting(ctx, req)
}

// Start begins a fop.
func (b *behind) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch req.(type) {
	case *fop.Open, *fop.Create, *fop.Release:
	default:
		if b.n.Load() == 0 || !b.concerns(req) {
			return fop.Start(ctx, b.child, req)
		}
	}
	return fop.Start(ctx, fop.HandlerFunc(b.Do), req)
}

// concerns reports whether a fop may need a file that is not open yet.
func (b *behind) concerns(req fop.Request) bool {
	switch req.(type) {
	case *fop.Unlink, *fop.Rename, *fop.Setattr, *fop.Setxattr, *fop.Removexattr, *fop.CopyFileRange:
		return true
	}
	_, fd := fop.Target(req)
	return b.openingOf(fd) != nil
}

// whileWaiting carries out a fop while some files are not open yet.
func (b *behind) whileWaiting(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Unlink, *fop.Rename:
		b.openAll(ctx)
	case *fop.Setattr, *fop.Setxattr, *fop.Removexattr: // which may change an ACL
		g, _ := fop.Target(r)
		b.openObject(ctx, g)
	case *fop.Flush:
		if o := b.openingOf(r.Fd); o != nil && o.untouched() {
			return &fop.CommonReply{}, nil // nothing to flush, no lock to drop
		}
	case *fop.Read:
		if o := b.openingOf(r.Fd); o != nil && b.conf.Load().anonymous && o.untouched() {
			q := *r
			q.Fd = nil
			return b.child.Do(ctx, &q)
		}
	case *fop.Fstat:
		if o := b.openingOf(r.Fd); o != nil && o.untouched() {
			// It needs the file's name no more than its number, and no right to
			// open it.
			s, err := fop.Call(ctx, b.child, &fop.Stat{Header: r.Header, GFID: r.GFID})
			if err == nil {
				return s, nil
			}
		}
	case *fop.CopyFileRange:
		if o := b.openingOf(r.DstFd); o != nil {
			if err := o.finish(ctx, b); err != nil {
				return nil, err
			}
		}
	}
	_, fd := fop.Target(req)
	if o := b.openingOf(fd); o != nil {
		if err := o.finish(ctx, b); err != nil {
			return nil, err
		}
	}
	return b.child.Do(ctx, req)
}

func (b *behind) doOpen(ctx context.Context, r *fop.Open) (fop.Reply, error) {
	c := b.conf.Load()
	if !b.mayPutOff(c, r) {
		return b.openNow(ctx, r)
	}
	if b.putOff(c, r) {
		return &fop.OpenReply{}, nil
	}
	// Whoever has the object open first shall have it open first.
	b.openObject(ctx, r.GFID)
	return b.openNow(ctx, r)
}

func (b *behind) mayPutOff(c *config, r *fop.Open) bool {
	return r.Fd != nil && !c.pass && !r.Now && !b.quiet.Load() && r.Flags&(fop.OTrunc|fop.ODirect|fop.OCreate) == 0 && r.XData.Len() == 0
}

// putOff answers an open, unless somebody has the object open or too many wait.
func (b *behind) putOff(c *config, r *fop.Open) bool {
	o := newOpening(r)
	b.mu.Lock()
	if b.open[r.GFID] > 0 || len(b.waiting) >= maxWaiting || b.quiet.Load() {
		b.mu.Unlock()
		return false
	}
	b.open[r.GFID]++
	b.waiting[o] = struct{}{}
	b.n.Store(int64(len(b.waiting)))
	b.mu.Unlock()
	r.Fd.Set(b, o)
	b.counts.putOff.Add(1)
	if !c.lazy {
		b.background.Go(func() { o.finish(b.life, b) })
	}
	return true
}

func (b *behind) openNow(ctx context.Context, r *fop.Open) (fop.Reply, error) {
	reply, err := b.child.Do(ctx, r)
	if err == nil {
		b.noteOpen(r.Fd, r.GFID)
	}
	return reply, err
}

// noteOpen counts a file that the child has open.
func (b *behind) noteOpen(fd *fop.Fd, g fop.GFID) {
	if fd == nil {
		return
	}
	if fd.Set(b, opened{g}) != nil {
		return // a caller that opened it twice
	}
	b.mu.Lock()
	b.open[g]++
	b.mu.Unlock()
}

// opened stands in the slot of a file that was opened at once.
type opened struct{ g fop.GFID }

func (b *behind) forget(g fop.GFID) {
	b.mu.Lock()
	if b.open[g]--; b.open[g] <= 0 {
		delete(b.open, g)
	}
	b.mu.Unlock()
}

func (b *behind) release(ctx context.Context, r *fop.Release) (fop.Reply, error) {
	if r.Fd == nil {
		return b.child.Do(ctx, r)
	}
	switch x := r.Fd.Set(b, nil).(type) {
	case opened:
		b.forget(x.g)
	case *opening:
		isOpen := x.close(ctx, b)
		b.forget(x.req.GFID)
		if !isOpen {
			b.counts.spared.Add(1)
			return &fop.CommonReply{}, nil
		}
	}
	return b.child.Do(ctx, r)
}

// openingOf returns what is known of a file that was opened late or not yet, nil
// for others.
func (b *behind) openingOf(fd *fop.Fd) *opening {
	if fd == nil {
		return nil
	}
	o, _ := fd.Get(b).(*opening)
	return o
}

// openAll opens what is not open yet. Errors stay with the files.
func (b *behind) openAll(ctx context.Context) {
	b.openSome(ctx, func(*opening) bool { return true })
}

// openObject is openAll for one object.
func (b *behind) openObject(ctx context.Context, g fop.GFID) {
	b.openSome(ctx, func(o *opening) bool { return o.req.GFID == g })
}

func (b *behind) openSome(ctx context.Context, which func(*opening) bool) {
	b.mu.Lock()
	var some []*opening
	for o := range b.waiting {
		if which(o) {
			some = append(some, o)
		}
	}
	b.mu.Unlock()
	var all sync.WaitGroup
	for i, o := range some {
		if i == len(some)-1 {
			o.finish(ctx, b)
			break
		}
		all.Go(func() { o.finish(ctx, b) })
	}
	all.Wait()
}
