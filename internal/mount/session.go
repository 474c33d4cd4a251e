package mount

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
)

// running is a graph in use, with the number of requests inside it.
type running struct {
	g   *graph.Graph
	top fop.Handler
	gen uint64 // 0 for the first graph of a session

	inside   [16]counter
	files    atomic.Int64 // open files that stay here; see follow.go
	draining atomic.Bool
	moved    chan struct{} // something left while draining

	mu   sync.Mutex
	gone []*openFile // opened here, and now in a later graph
}

// counter has a cache line of its own, so that processors do not fight over it.
type counter struct {
	n atomic.Int64
	_ [56]byte
}

func newRunning() *running { return &running{moved: make(chan struct{}, 1)} }

// closedRunning answers for a session that is closed.
var closedRunning = func() *running {
	r := newRunning()
	r.top = fop.HandlerFunc(func(_ context.Context, req fop.Request) (fop.Reply, error) {
		return nil, fmt.Errorf("%v: the volume is closed: %w", req.Op(), fs.ErrClosed)
	})
	return r
}()

// enter takes the graph that serves now and counts the caller in. A graph is
// left alone only after it stopped being the current one and all counters are
// zero; whoever counted himself in too late sees that it is not the current one
// any more and tries again.
func (s *Session) enter() (*running, *counter) {
	for {
		r := s.cur.Load()
		c := &r.inside[rand.Uint32()%uint32(len(r.inside))]
		c.n.Add(1)
		if s.cur.Load() == r {
			return r, c
		}
		r.leave(c)
	}
}

func (r *running) leave(c *counter) {
	c.n.Add(-1)
	if r.draining.Load() {
		r.wake()
	}
}

func (r *running) wake() {
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// empty reports whether no request is inside.
func (r *running) empty() bool {
	for i := range r.inside {
		if r.inside[i].n.Load() != 0 {
			return false
		}
	}
	return true
}

// drain waits until no request is inside, and with files until no file is open
// here any more, or ctx ends. The graph must not be the current one.
func (r *running) drain(ctx context.Context, files bool) error {
	r.draining.Store(true)
	for !r.empty() || files && r.files.Load() > 0 {
		select {
		case <-r.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Do carries out one fop on the volume.
func (s *Session) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	r, c := s.enter()
	if r.gen > 0 && !s.openHere(r, req) {
		r.leave(c)
		return s.doFollowing(ctx, req)
	}
	reply, err := r.top.Do(ctx, req)
	s.note(r, req, reply, err)
	r.leave(c)
	return reply, err
}

// Use calls f with the graph that serves now. It stays open until f returns, so
// that single translators of it can be asked.
func (s *Session) Use(f func(*graph.Graph) error) error {
	r, c := s.enter()
	defer r.leave(c)
	if r.g == nil {
		return fmt.Errorf("the volume is closed: %w", fs.ErrClosed)
	}
	return f(r.g)
}

// Start begins a fop without waiting for it.
func (s *Session) Start(ctx context.Context, req fop.Request) fop.Pending {
	r, c := s.enter()
	if r.gen > 0 && !s.openHere(r, req) {
		r.leave(c)
		return fop.Start(ctx, fop.HandlerFunc(s.doFollowing), req)
	}
	return &pending{s, r, c, req, fop.Start(ctx, r.top, req)}
}

type pending struct {
	s   *Session
	r   *running
	c   *counter
	req fop.Request
	p   fop.Pending
}

func (p *pending) Wait() (fop.Reply, error) {
	reply, err := p.p.Wait()
	p.s.note(p.r, p.req, reply, err)
	p.r.leave(p.c)
	return reply, err
}
