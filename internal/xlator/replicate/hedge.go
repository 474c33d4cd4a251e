package replicate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// Hedged reads. A brick that has stopped answering keeps its readers waiting
// until the connection counts as dead, 42 s by default, though another good copy
// is at hand. So when a child has not answered a small read for hedge-delay, one
// more child is asked, and the first good answer counts. It is an option of our
// own and cannot be seen by anybody else, but for the second request. The price: while
// a write is on its way, a reader that was helped by the second brick may see it
// and one after that, answered by the first brick, not yet; GlusterFS has that only
// when a reader moves to another brick because one has failed.
const (
	// defaultHedge is longer than a disk that is merely busy takes, and much
	// shorter than the time after which a brick counts as gone.
	defaultHedge = "500ms"
	// maxHedges bounds the second requests under way: when all bricks are slow,
	// asking them for everything twice makes it worse.
	maxHedges = 32
)

// hedgeable reports whether a fop may be asked of two children at once.
func hedgeable(req fop.Request) bool {
	switch req.(type) {
	case *fop.Read, *fop.Stat, *fop.Fstat, *fop.Getxattr, *fop.Fgetxattr, *fop.Readlink, *fop.Access, *fop.Seek:
		return true
	}
	return false
}

// hedge is a read that may be asked of a second child. It is the context of the
// first request too: one that only fire ends, for what a context of the standard
// library and a timer cost would be felt by every read.
type hedge struct {
	context.Context // the caller's
	done            chan struct{}

	r      *replicate
	req    fop.Request
	others set

	mu     sync.Mutex
	ended  bool // as a context
	afters map[int]func()
	serial int

	over     bool // the first has answered
	second   int  // the child that was asked too, -1 if none was
	stop     context.CancelFunc
	reply    fop.Reply // of the second
	err      error
	answered chan struct{} // closed when the second has answered
}

// Done, Err and AfterFunc are for those who carry out the first request.

func (h *hedge) Done() <-chan struct{} { return h.done }

func (h *hedge) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.Context.Err(); err != nil || !h.ended {
		return err
	}
	return context.Canceled
}

// AfterFunc spares package context a goroutine for each of its contexts that
// descend from this one.
func (h *hedge) AfterFunc(f func()) (stop func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		go f()
		return func() bool { return false }
	}
	if h.afters == nil {
		h.afters = make(map[int]func(), 1)
	}
	h.serial++
	n := h.serial
	h.afters[n] = f
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		_, ok := h.afters[n]
		delete(h.afters, n)
		return ok
	}
}

// end ends the first request.
func (h *hedge) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.ended = true
	close(h.done)
	for _, f := range h.afters {
		go f()
	}
	h.afters = nil
}

// alarm is a timer that is used again and again.
type alarm struct {
	timer *time.Timer
	h     *hedge
}

func newAlarm(h *hedge, delay time.Duration) *alarm {
	a := &alarm{h: h}
	a.timer = time.AfterFunc(delay, func() { a.h.fire() })
	return a
}

// hedged asks child, and one of the others when that takes longer than delay.
// second is the one that was asked too, or -1.
func (r *replicate) hedged(ctx context.Context, child int, others set, req fop.Request, delay time.Duration) (reply fop.Reply, second int, err error) {
	h := &hedge{Context: ctx, done: make(chan struct{}), r: r, req: req, others: others, second: -1}
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, h.end)()
	}
	a, _ := r.alarms.Get().(*alarm)
	if a == nil {
		a = newAlarm(h, delay)
	} else {
		a.h = h
		a.timer.Reset(delay)
	}
	reply, err = r.from(h, child, req)
	if a.timer.Stop() {
		a.h = nil
		r.alarms.Put(a)
		return reply, -1, err
	}
	h.mu.Lock()
	second = h.second
	h.over = err == nil || second < 0 || final(err) && h.reply == nil
	if h.over && h.stop != nil {
		h.stop()
	}
	h.mu.Unlock()
	if h.over {
		return reply, second, err
	}
	// The second one has won, or is all that is left.
	select {
	case <-h.answered:
	case <-ctx.Done():
		return nil, second, err
	}
	if h.err != nil {
		return nil, second, err
	}
	r.hedgeWins.Add(1)
	return into(req, h.reply), second, nil
}

// fire asks the second child.
func (h *hedge) fire() {
	r := h.r
	h.mu.Lock()
	if h.over || r.hedging.Load() >= maxHedges {
		h.mu.Unlock()
		return
	}
	r.behind.Add()
	defer r.behind.Done()
	r.hedging.Add(1)
	defer r.hedging.Add(-1)
	r.hedges.Add(1)
	g, _ := fop.Target(h.req)
	child := r.choose(h.others, g, false)
	ctx, stop := context.WithCancel(h.Context)
	defer stop()
	h.second, h.stop, h.answered = child, stop, make(chan struct{})
	req := detached(h.req)
	h.mu.Unlock()

	reply, err := r.from(ctx, child, req)

	h.mu.Lock()
	h.reply, h.err = reply, err
	won := err == nil && !h.over
	h.mu.Unlock()
	if won {
		h.end()
	}
	close(h.answered)
}

// detached returns a copy of a request that shares no memory with the caller's
// that may change once the first request has been answered.
func detached(req fop.Request) fop.Request {
	q := fop.WithXData(req, nil)
	if x := req.Head().XData; x != nil {
		q.Head().XData = x.Clone()
	}
	q.Head().Cred.Groups = slices.Clone(q.Head().Cred.Groups)
	if rd, ok := q.(*fop.Read); ok {
		rd.Into = nil
	}
	return q
}

// into puts what a detached read got where the caller wants to have it.
func into(req fop.Request, reply fop.Reply) fop.Reply {
	want, ok := req.(*fop.Read)
	if !ok || want.Into == nil {
		return reply
	}
	if got, ok := reply.(*fop.ReadReply); ok {
		n := copy(want.Into, got.Data)
		got.Data = want.Into[:n]
	}
	return reply
}
