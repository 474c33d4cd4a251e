package locks

import (
	"slices"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// Removing an object under the feet of a client that holds an inodelk on it would
// make that client's transaction fail half way, and the next one heal what is
// gone. So a removal waits until no other client holds one, and new inodelks wait
// until the removal is through.

// removal is an unlink, rmdir or rename that would remove the object.
type removal struct {
	client *fop.Client
	w      *waiter
}

// heldByOthers reports whether a client other than c, and no daemon of ours,
// holds an inodelk; if tell, its holders get to know that somebody waits.
func (o *object) heldByOthers(c *fop.Client, tell bool, p *policy, now time.Time) bool {
	held := false
	for _, d := range o.domains {
		if d.family != inodelk {
			continue
		}
		for _, g := range d.granted {
			if g.client != c && g.pid >= 0 {
				held = true
				if tell && p.notify {
					o.notify(g, p, now)
				}
			}
		}
	}
	return held
}

// remove begins a removal; it can go on when there is no waiter.
func (o *object) remove(c *fop.Client, p *policy, now time.Time) *waiter {
	if !o.heldByOthers(c, true, p, now) {
		o.removing++
		return nil
	}
	r := &removal{c, newWaiter()}
	o.parked = append(o.parked, r)
	return r.w
}

// removed ends a removal. Who waited for it gets the lock even if nothing is left
// of the object, as in GlusterFS 10.3, and learns that from its next fop.
func (o *object) removed(p *policy, now time.Time) {
	o.removing--
	o.settle(p, now)
}

// heldBack reports whether a new inodelk must wait for a removal.
func (o *object) heldBack(l *domainLock) bool {
	if o.removing == 0 && len(o.parked) == 0 || l.pid < 0 {
		return false
	}
	for _, d := range o.domains {
		if d.family == inodelk && slices.ContainsFunc(d.granted, func(g *domainLock) bool { return g.client == l.client }) {
			return false
		}
	}
	return true
}

// settle lets parked removals go on when nothing holds them any more, and tries
// the inodelks that waited for removals when there are none.
func (o *object) settle(p *policy, now time.Time) {
	o.parked = slices.DeleteFunc(o.parked, func(r *removal) bool {
		if o.heldByOthers(r.client, false, p, now) {
			return false
		}
		o.removing++
		r.w.answer(0)
		return true
	})
	if o.removing == 0 && len(o.parked) == 0 && len(o.queued) > 0 {
		queued := o.queued
		o.queued = nil
		for _, l := range queued {
			d := o.domainFor(l.family, l.domain)
			if !o.try(d, l, p, now) {
				d.blocked = append(d.blocked, l)
				continue
			}
			w := l.w
			l.w = nil
			w.answer(0)
		}
	}
	o.sweep()
}

// cancelRemoval forgets a parked removal whose fop was given up. It reports false
// if it was already let go on.
func (o *object) cancelRemoval(w *waiter, p *policy, now time.Time) bool {
	n := len(o.parked)
	o.parked = slices.DeleteFunc(o.parked, func(r *removal) bool { return r.w == w })
	if len(o.parked) == n {
		return false
	}
	o.settle(p, now)
	return true
}
