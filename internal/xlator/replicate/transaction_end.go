package replicate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// complete answers the caller and does, before or behind that, what is left to
// do. t must not be used after it returns.
func (t *txn) complete(reply fop.Reply, why error) (fop.Reply, error) {
	if t.eager() {
		return t.completeEager(reply, why)
	}
	w := t.decide(t.dirtied)
	if t.clean() {
		err := t.err
		t.req = nil
		if w.to == 0 && t.missing == 0 && t.r.later.put(t) {
			t.end()
			return reply, err
		}
		go func() {
			t.post(w)
			t.r.unlock(&t.lk)
			t.end()
		}()
		return reply, err
	}
	t.checkPosted(w, t.post(w), why)
	if t.err != nil && t.good() != 0 {
		reply = nil
	}
	err := t.err
	t.req = nil
	go func() {
		t.r.unlock(&t.lk)
		t.end()
	}()
	return reply, err
}

// checkPosted fails a fop whose post-op did not reach enough children: nothing
// would tell that some copies are old.
func (t *txn) checkPosted(w note, done set, why error) {
	if w.to == 0 || t.err != nil || t.quorum.met(done) && (done != 0 || w.blame == 0) {
		return
	}
	if t.err = why; why == nil {
		t.err = fmt.Errorf("%s: %v: its outcome could not be noted on enough copies: %w", t.r.name, t.op, syscall.ENOTCONN)
	}
}

func (t *txn) completeEager(reply fop.Reply, why error) (fop.Reply, error) {
	r := t.r
	tx, ln := t.lane()
	clean, err := t.clean(), t.err
	if clean {
		t.req = nil
	}
	tx.mu.Lock()
	t.observe(tx)
	hurry := err != nil || !clean || t.part == data && t.contended > 1 || t.part == metadata && tx.openFds > 1
	delay := t.conf.postOpDelay
	mayWait := t.delayable && delay > 0 && !r.changes.closing()
	if t.part == metadata && !t.delayable {
		// Changes of attributes come in a row: whoever asked for one goes on with
		// the next as soon as it has the answer, and finds the lock still there.
		if ln.since.IsZero() {
			ln.since = time.Now()
		}
		delay = unlockDelay
		mayWait = !r.changes.closing() && time.Since(ln.since) < adoptFor
	}
	if ln.finish(t, hurry, mayWait) {
		if ln.sleep(t, delay) {
			ln.timer = time.AfterFunc(delay, func() { r.alarm(tx, ln) })
		}
		tx.mu.Unlock()
		return reply, err
	}
	if !clean {
		ln.writable &^= t.failed
	}
	w := t.decide(t.owes(ln))
	if w.to == 0 {
		t.posted(tx, ln)
		return reply, err
	}
	tx.mu.Unlock()
	if clean {
		go t.postEager(w, true, nil)
		return reply, err
	}
	t.postEager(w, true, func(done set) {
		t.checkPosted(w, done, why)
		if t.err != nil && t.good() != 0 {
			reply = nil
		}
		err = t.err
	})
	return reply, err
}

// observe keeps what a fop told about its object. txState.mu is held.
func (t *txn) observe(tx *txState) {
	for i := range t.as {
		t.contended = max(t.contended, int(t.as[i].xdata().Int(fop.KeyInodelkCount)))
	}
	switch {
	case t.op == fop.OpWrite && t.sent:
		tx.openFds = t.openFds
		if t.err == nil && !t.stable && !t.appended {
			tx.unstable = true
		}
	case t.op == fop.OpFsync && t.err == nil:
		tx.unstable = false
	}
}

// owes reports whether a mark on disk is t's to take back. txState.mu is held.
func (t *txn) owes(ln *lane) bool {
	if !t.inherited && !t.shared {
		return t.dirtied
	}
	t.inherited, t.shared = false, false
	if t.leavesMark() {
		ln.abandon()
		return false
	}
	return ln.unmark()
}

// pay does a post-op that was put off.
func (t *txn) pay(mayFsync bool) {
	tx, ln := t.lane()
	tx.mu.Lock()
	w := t.decide(t.owes(ln))
	if w.to == 0 {
		t.posted(tx, ln)
		return
	}
	tx.mu.Unlock()
	t.postEager(w, mayFsync, nil)
}

// alarm is called when a post-op has waited long enough.
func (r *replicate) alarm(tx *txState, ln *lane) {
	tx.mu.Lock()
	owed := ln.rang(time.Now())
	tx.mu.Unlock()
	if owed != nil {
		owed.pay(false)
	}
}

// postEager does the post-op under an eager lock. then, if set, is told where it
// worked.
func (t *txn) postEager(w note, mayFsync bool, then func(set)) {
	tx, ln := t.lane()
	if mayFsync && t.part == data && !t.lk.loc && t.conf.durable && t.err == nil {
		w = t.makeDurable(tx, w)
	}
	done := t.post(w)
	if then != nil {
		then(done)
	}
	tx.mu.Lock()
	t.posted(tx, ln)
}

// makeDurable has data written to disk on all children before they say that it
// is there. A child that cannot is blamed.
func (t *txn) makeDurable(tx *txState, w note) note {
	tx.mu.Lock()
	unstable := tx.unstable
	tx.unstable = false
	tx.mu.Unlock()
	if !unstable {
		return w
	}
	h := t.lk.head
	h.XData = t.r.fixed.flush
	as := make([]answer, t.n)
	to := t.good()
	good := t.r.fan(context.Background(), to, &fop.Fsync{Header: h, GFID: t.obj.GFID, Fd: t.lk.fd, Datasync: 1}, as)
	if good == to {
		return w
	}
	t.failed |= to &^ good
	t.settleQuorum(best(as))
	return t.decide(w.dirty < 0)
}

// post writes down what became of the fop.
func (t *txn) post(w note) (done set) {
	var waits [maxChildren]fop.Pending
	marked := t.markNew(&waits)
	if w.to != 0 {
		var err error
		if done, err = t.writeNote(w, false); err != nil && done == 0 {
			t.r.log.Warn("the outcome of a change could not be noted anywhere", "fop", t.op, "gfid", t.obj.GFID, "err", err)
		}
		if w.blame != 0 && (!t.clean() || t.r.view().gen != t.v.gen) {
			// A refresh between the fop and now has not seen that.
			t.suspect()
		}
	}
	t.waitNew(marked, &waits)
	return done
}

// posted ends t, and unlocks behind if it was the last that needed the lock.
// txState.mu is held at first and not afterwards.
func (t *txn) posted(tx *txState, ln *lane) {
	unlock := ln.posted()
	tx.mu.Unlock()
	if !unlock {
		t.end()
		return
	}
	t.req = nil
	go func() {
		t.r.unlock(&ln.lk)
		tx.mu.Lock()
		hold, after := ln.hold, ln.after
		ln.hold, ln.after = nil, nil
		ln.unlocked()
		tx.mu.Unlock()
		for _, f := range after {
			f()
		}
		hold.Release()
		t.end()
	}()
}

// end is the end of a transaction.
func (t *txn) end() {
	r := t.r
	t.free()
	r.changes.end()
}

// changes counts transactions that are not over, be it that their caller has long
// been answered.
type changes struct {
	n    atomic.Int64 // and closed
	once sync.Once
	idle chan struct{}
}

// changesClosed in changes.n says that no more may begin.
const changesClosed = 1 << 62

func (b *changes) begin() bool {
	if b.n.Add(1) < changesClosed {
		return true
	}
	b.end()
	return false
}

func (b *changes) end() {
	if b.n.Add(-1) == changesClosed {
		b.once.Do(func() { close(b.idle) })
	}
}

func (b *changes) closing() bool { return b.n.Load() >= changesClosed }

// close lets no more begin and returns what is closed when all are over.
func (b *changes) close() <-chan struct{} {
	for {
		n := b.n.Load()
		if n >= changesClosed {
			return b.idle
		}
		if b.n.CompareAndSwap(n, n|changesClosed) {
			if n == 0 {
				b.once.Do(func() { close(b.idle) })
			}
			return b.idle
		}
	}
}

// drainLimit is how long the end of a graph waits for bricks that do not answer.
const drainLimit = 5 * time.Second

// drain finishes what transactions have put off or do behind, so that nothing
// stays locked or marked. The children must still be there. Transactions that
// come later are refused.
func (r *replicate) drain() {
	idle := r.changes.close()
	r.later.flush()
	r.objects.Range(func(o *ref) bool {
		r.settle(context.Background(), &o.V)
		return true
	})
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-idle:
	case <-limit.C:
		r.log.Warn("changes are still under way on a brick that does not answer", "count", r.changes.n.Load()&^changesClosed)
	}
}

// closeTx waits for what transactions have running. The children have ended, so
// that whatever is sent to them fails at once.
func (r *replicate) closeTx() { r.drain() }
