package replicate

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// When an entry fop has gone well on all children, nothing is left to do but to
// unlock the name, and nobody waits for that. So it is put off: it goes along
// with the first request of the next transaction, which saves messages of its
// own; and if the next transaction is about the same name, it goes on with the
// lock. Without that it would run into it, as unlock and lock overtake each
// other on their way, and have to wait in turn on each child.

// unlockDelay is how long a name stays locked for that at most.
const unlockDelay = time.Millisecond

// adoptFor bounds how long a lock is handed on within this process, so that
// other clients get their turn.
const adoptFor = 5 * time.Millisecond

// unlocks are locks that wait to be given back.
type unlocks struct {
	r *replicate

	some  atomic.Bool // all is not empty
	mu    sync.Mutex
	all   []heldName
	timer *time.Timer
	armed bool
}

// heldName is a name that is still locked.
type heldName struct {
	lk    locking
	gen   uint32
	since time.Time // when the lock was had at first
	until time.Time // when it is given back
}

// put takes over the lock of t. It refuses what cannot be given back without
// waiting for the answer.
func (u *unlocks) put(t *txn) bool {
	r := u.r
	if t.part != entry || r.changes.closing() {
		return false
	}
	for i := range r.children {
		if _, ok := r.children[i].Handler.(fop.Poster); !ok {
			return false
		}
	}
	now := time.Now()
	if t.lockedSince.IsZero() {
		t.lockedSince = now
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = append(u.all, heldName{lk: t.lk, gen: t.v.gen, since: t.lockedSince, until: now.Add(unlockDelay)})
	u.some.Store(true)
	if !u.armed {
		u.armed = true
		if u.timer == nil {
			u.timer = time.AfterFunc(unlockDelay, u.ring)
		} else {
			u.timer.Reset(unlockDelay)
		}
	}
	return true
}

// adopt gives t a lock on a name that it needs and that is still held, and
// unlocks all others: that goes along with what t sends next.
func (u *unlocks) adopt(t *txn) (adopted bool) {
	if !u.some.Load() {
		return false
	}
	u.mu.Lock()
	all := u.all
	u.all = nil
	u.some.Store(false)
	u.mu.Unlock()
	now := time.Now()
	for k := range all {
		h := &all[k]
		if !adopted && h.gen == t.v.gen && now.Sub(h.since) < adoptFor && t.lk.take(&h.lk, t.v.up) {
			t.lk.head.Cred.Owner, t.lockedSince, adopted = h.lk.head.Cred.Owner, h.since, true
		}
		u.r.postUnlock(&h.lk)
	}
	return adopted
}

// take moves what old has locked on all of up over to l, if l needs it.
func (l *locking) take(old *locking, up set) (took bool) {
	for k := range old.list() {
		if old.lockees[k].on != up {
			return false
		}
	}
	for i := range l.list() {
		for k := range old.list() {
			a, b := &l.lockees[i], &old.lockees[k]
			if a.gfid == b.gfid && a.name == b.name {
				a.on, b.on, took = b.on, 0, true
			}
		}
	}
	return took
}

// ring gives back what has waited long enough.
func (u *unlocks) ring() {
	now := time.Now()
	u.mu.Lock()
	var due, kept []heldName
	for _, h := range u.all {
		if h.until.After(now) {
			kept = append(kept, h)
		} else {
			due = append(due, h)
		}
	}
	u.all = kept
	u.some.Store(len(kept) > 0)
	if u.armed = len(kept) > 0; u.armed {
		u.timer.Reset(kept[0].until.Sub(now))
	}
	u.mu.Unlock()
	for i := range due {
		u.r.postUnlock(&due[i].lk)
	}
}

// flush gives back everything.
func (u *unlocks) flush() {
	u.mu.Lock()
	all := u.all
	u.all = nil
	u.some.Store(false)
	u.mu.Unlock()
	for i := range all {
		u.r.postUnlock(&all[i].lk)
	}
}

// postUnlock is unlock for names, whose end nobody waits for: each transaction
// has an owner of its own, so that a late unlock cannot hit the next one's lock.
func (r *replicate) postUnlock(l *locking) {
	for k := range l.list() {
		e := &l.lockees[k]
		if e.on == 0 {
			continue
		}
		req := r.lockRequest(l, e, lockFree)
		for i := range e.on.each {
			r.children[i].Handler.(fop.Poster).Post(req)
		}
		e.on = 0
	}
}
