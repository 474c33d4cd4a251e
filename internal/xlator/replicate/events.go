package replicate

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// firstWait is how long the first event to the parents waits for all children to
// report.
const firstWait = 10 * time.Second

// view is the state of the children at one moment. A fop looks once, at its
// beginning, and goes by that until it ends.
type view struct {
	up  set
	gen uint32 // counts the changes
}

// view returns the state of the children.
func (r *replicate) view() view {
	s := r.state.Load()
	return view{up: set(s), gen: uint32(s >> 32)}
}

// childEvents is what the events of the children have said; replicate.mu guards
// it. The part that fops need is in replicate.state, written under the same
// lock: children that are up in bits 0 to 15, the generation in 32 to 63.
type childEvents struct {
	reported set // said anything at all
	down     set // were up, or said that they are down
	refused  set
	told     fop.EventKind // to the parents: 0, EventChildUp or EventChildDown
	errs     [maxChildren]error
}

// Run waits for the children to report for the first time, and at the end
// finishes what transactions have put off, while the children are still there.
func (r *replicate) Run(ctx context.Context) error {
	defer r.drain()
	t := time.NewTimer(firstWait)
	defer t.Stop()
	select {
	case <-t.C:
		r.tell(fop.Event{Kind: fop.EventChildConnecting}, true)
		<-ctx.Done()
	case <-ctx.Done():
	}
	r.closeTx()
	return nil
}

// ChildEvent hears what a child has to tell.
func (r *replicate) ChildEvent(child string, ev fop.Event) {
	i := r.childNamed(child)
	if i < 0 {
		r.notify(ev)
		return
	}
	switch ev.Kind {
	case fop.EventChildUp:
		r.setUp(i, true, nil)
		r.tell(ev, false)
	case fop.EventChildDown, fop.EventChildConnecting, fop.EventAuthFailed:
		if ev.Kind == fop.EventAuthFailed {
			r.mu.Lock()
			r.events.refused = r.events.refused.with(i)
			r.mu.Unlock()
		}
		r.setUp(i, false, ev.Err)
		r.tell(ev, false)
	case fop.EventUpcall:
		r.notify(r.upcall(ev))
	default:
		r.notify(ev)
	}
}

// setUp notes whether a child is up.
func (r *replicate) setUp(i int, up bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.events
	e.reported = e.reported.with(i)
	e.errs[i] = err
	v := r.view()
	switch {
	case up == v.up.has(i):
		return
	case up:
		v.up, e.down, e.refused = v.up.with(i), e.down.without(i), e.refused.without(i)
	default:
		v.up, e.down = v.up.without(i), e.down.with(i)
	}
	v.gen++
	r.state.Store(uint64(v.gen)<<32 | uint64(v.up))
}

// tell passes on what the parents must know: at first, once all children have
// reported or late says that it was waited long enough, whether any is up; later
// when the first comes and when the last goes.
func (r *replicate) tell(ev fop.Event, late bool) {
	r.mu.Lock()
	e := &r.events
	up := r.view().up
	out := fop.Event{}
	switch {
	case e.told == 0 && e.reported != all(r.n) && !late:
		// Not even that a child still connects: cluster/distribute would take it
		// for the word of all of us, and begin while we know no child.
	case e.refused == all(r.n):
		e.told = fop.EventChildDown
		out = fop.Event{Kind: fop.EventAuthFailed, From: ev.From, Err: ev.Err}
	case up != 0 && e.told != fop.EventChildUp:
		e.told = fop.EventChildUp
		out = fop.Event{Kind: fop.EventChildUp, From: r.name}
	case up == 0 && e.told != fop.EventChildDown:
		e.told = fop.EventChildDown
		out = fop.Event{Kind: fop.EventChildDown, From: r.name, Err: e.why(r)}
	case up == 0 && ev.Kind != fop.EventChildDown:
		out = fop.Event{Kind: fop.EventChildConnecting, From: ev.From, Err: ev.Err}
	}
	r.mu.Unlock()
	if out.Kind != 0 {
		r.notify(out)
	}
}

// why says why no child is up.
func (e *childEvents) why(r *replicate) error {
	for i := range e.errs {
		if e.errs[i] != nil {
			return e.errs[i]
		}
	}
	return fmt.Errorf("%s: none of %d copies is reachable: %w", r.name, r.n, syscall.ENOTCONN)
}

// upcall looks into a notice of a brick: if another client changed what says
// which copies are good, that must be read again.
func (r *replicate) upcall(ev fop.Event) fop.Event {
	u := ev.Upcall
	if u == nil || u.Kind != fop.UpcallInvalidate {
		return ev
	}
	for _, key := range r.pending {
		if !u.XData.Has(key) {
			continue
		}
		if o := r.objects.Peek(u.GFID); o != nil {
			o.V.suspect()
			o.Release()
		}
		more := *u
		more.Flags |= fop.InvalAttr
		ev.Upcall = &more
		break
	}
	return ev
}
