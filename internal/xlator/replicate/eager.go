package replicate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// A client that writes to a file over and over does not lock and mark it for
// every write. The first transaction takes the lock for the whole file and marks
// it dirty; those that follow find lock and mark there and need one round trip.
// When the last of them is done, its post-op waits for a moment, in case there is
// more to come. That is the eager lock. There is one for the data and one for the
// attributes of an object; a lane is its state.
//
// All transactions on one object have the same lock owner on the bricks and so
// do not conflict there. It is the lane that keeps those apart that overlap.

// txState is what transactions keep about one object.
type txState struct {
	mu    sync.Mutex
	lanes [2]lane // data, metadata
	owner string  // of the locks
	// unstable: something was written that may not be on disk yet.
	unstable bool
	// openFds is how often the file is open on the brick where it is most.
	openFds int
}

// lane is the eager lock on one part of an object. txState.mu guards it. Its
// methods decide and never wait; what they hand out is done by others, see
// transaction.go.
type lane struct {
	acquired bool
	release  bool   // no more transactions: unlock when those under way are done
	gen      uint32 // event generation at which the lock was taken
	lk       locking
	locked   set
	since    time.Time // when a transaction on attributes first left the lock for others
	hold     *ref      // keeps the object while the lock is held
	after    []func()  // to be called when the lock is gone

	owners  []*txn // between lock and post-op; one that is still locking is there too
	waiting []*txn // overlap with an owner, or the lock is not there yet
	frozen  []*txn // came after release was decided
	posting int    // fop done, post-op to come

	// The post-op that is put off, if any.
	sleeper *txn
	wakeAt  time.Time
	timer   *time.Timer
	armed   bool

	// Transactions share marks on disk: onDisk is how many dirty marks there are
	// by this client, inherited how many transactions rely on somebody else's,
	// marked the children that have them.
	onDisk, inherited int
	marked            set
	marking           chan struct{} // closed when the mark that is on its way is there

	// writable are the children that nobody blamed when the lock was taken,
	// asked whether that is known.
	writable set
	asked    bool
}

// move is what a transaction has to do next.
type move int

const (
	moveRun  move = iota // the lock is there: go on
	moveLock             // take the lock for all
	moveWait             // wait to be told
)

// told is what a transaction that waits is told.
type told struct {
	move move
	err  error
}

// begin lets a transaction in. If it hands out a post-op that was put off, it
// must be done: after the transaction's own pre-op if it may run, else at once.
func (ln *lane) begin(t *txn) (m move, owed *txn) {
	if ln.acquired && ln.gen != t.v.gen {
		// A brick came or went: the lock is not what it was.
		if len(ln.owners) > 0 {
			ln.release = true
		} else if owed = ln.awake(); owed != nil {
			ln.release = true
		}
	}
	switch {
	case ln.release:
		ln.frozen = append(ln.frozen, t)
		return moveWait, owed
	case ln.sleeper != nil:
		ln.owners = append(ln.owners, t)
		return moveRun, ln.awake()
	case len(ln.owners) > 0 && (!ln.acquired || t.overlapsAny(ln.owners) || t.overlapsAny(ln.waiting)):
		ln.waiting = append(ln.waiting, t)
		return moveWait, nil
	case ln.acquired:
		ln.owners = append(ln.owners, t)
		return moveRun, nil
	}
	ln.owners = append(ln.owners, t)
	return moveLock, nil
}

// awake takes the post-op that is put off, nil if there is none.
func (ln *lane) awake() (owed *txn) {
	owed, ln.sleeper = ln.sleeper, nil
	return owed
}

// took notes that the lock is held, and starts those who waited for it.
func (ln *lane) took(t *txn, hold *ref) {
	ln.acquired, ln.gen, ln.lk, ln.locked, ln.hold = true, t.v.gen, t.lk, t.lk.held(), hold
	ln.since = time.Time{}
	ln.wake()
}

// missed notes that t did not get the lock. The others fail like it, unless it
// is only t's caller who gave up: then the next one tries.
func (ln *lane) missed(t *txn, err error, gaveUp bool) {
	ln.owners = ln.owners[:0]
	if gaveUp {
		ln.next()
		return
	}
	for _, w := range ln.waiting {
		w.tell(told{err: err})
	}
	ln.waiting = ln.waiting[:0]
}

// wake starts those who wait and no longer overlap with anybody before them.
func (ln *lane) wake() {
	if ln.release || !ln.acquired {
		return
	}
	kept := ln.waiting[:0]
	for _, w := range ln.waiting {
		if w.overlapsAny(ln.owners) || w.overlapsAny(kept) {
			kept = append(kept, w)
			continue
		}
		ln.owners = append(ln.owners, w)
		w.tell(told{move: moveRun})
	}
	clear(ln.waiting[len(kept):])
	ln.waiting = kept
}

// finish says what becomes of the post-op of t, whose fop is done: put off, or
// done now. hurry: something failed, or somebody else waits for the lock.
func (ln *lane) finish(t *txn, hurry, mayWait bool) (later bool) {
	ln.drop(t)
	ln.posting++
	if hurry {
		ln.release = true
	}
	ln.wake()
	if len(ln.owners) > 0 {
		return false
	}
	if ln.release || !mayWait || ln.sleeper != nil {
		ln.release = true
		return false
	}
	return true
}

func (ln *lane) drop(t *txn) {
	if i := slices.Index(ln.owners, t); i >= 0 {
		ln.owners = slices.Delete(ln.owners, i, i+1)
	}
}

// posted notes that a post-op is done, and reports whether to unlock now.
func (ln *lane) posted() (unlock bool) {
	ln.posting--
	return ln.release && ln.acquired && len(ln.owners) == 0 && ln.posting == 0
}

// unlocked notes that the lock is gone; the next transaction takes it anew.
func (ln *lane) unlocked() {
	ln.acquired, ln.release = false, false
	ln.onDisk, ln.inherited, ln.marked = 0, 0, 0
	ln.asked, ln.writable = false, 0
	ln.waiting = append(ln.waiting, ln.frozen...)
	clear(ln.frozen)
	ln.frozen = ln.frozen[:0]
	ln.next()
}

// next lets the first of those who wait take the lock.
func (ln *lane) next() {
	if len(ln.waiting) == 0 {
		return
	}
	t := ln.waiting[0]
	ln.waiting = slices.Delete(ln.waiting, 0, 1)
	ln.owners = append(ln.owners, t)
	t.tell(told{move: moveLock})
}

// leave takes a transaction that gave up out of those who wait. It reports false
// if it has been told to go on meanwhile.
func (ln *lane) leave(t *txn) bool {
	for _, list := range []*[]*txn{&ln.waiting, &ln.frozen} {
		if i := slices.Index(*list, t); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
			ln.wake() // it may have been in somebody's way
			return true
		}
	}
	return false
}

// inherit lets a transaction that locked these children do without a mark of its
// own.
func (ln *lane) inherit(locked set) bool {
	if ln.onDisk == 0 || locked != ln.marked {
		return false
	}
	ln.inherited++
	return true
}

// mark notes that a transaction has put its mark on all children that it locked,
// and reports whether others may rely on it.
func (ln *lane) mark(locked set) (shared bool) {
	if ln.onDisk == 0 {
		ln.marked = locked
	} else if ln.marked != locked {
		return false
	}
	ln.onDisk++
	return true
}

// unmark reports whether a mark on disk must be taken back now that one of those
// who share the marks is done.
func (ln *lane) unmark() (owed bool) {
	if ln.inherited > 0 {
		ln.inherited--
	} else {
		ln.onDisk--
		owed = true
	}
	if ln.inherited == 0 && ln.onDisk == 0 {
		ln.marked = 0
	}
	return owed
}

// abandon leaves a mark on disk for good, for a transaction that went wrong in a
// way that no other note tells of: none of those who share it takes it back.
func (ln *lane) abandon() {
	if ln.onDisk > 0 {
		ln.onDisk--
	} else {
		ln.inherited--
	}
	if ln.inherited == 0 && ln.onDisk == 0 {
		ln.marked = 0
	}
}

// overlapsAny reports whether t touches bytes that one of these touches, or is
// of a kind that lets nobody beside it.
func (t *txn) overlapsAny(others []*txn) bool {
	for _, o := range others {
		if t.part == metadata || overlap(t.from, t.size, o.from, o.size) {
			return true
		}
	}
	return false
}

// overlap compares byte ranges; a size of 0 is to the end.
func overlap(a, an, b, bn uint64) bool {
	return (an == 0 || a+an < a || b < a+an) && (bn == 0 || b+bn < b || a < b+bn)
}

// sleep puts off the post-op of t. The first time it needs a timer.
func (ln *lane) sleep(t *txn, delay time.Duration) (needsTimer bool) {
	ln.sleeper, ln.wakeAt = t, time.Now().Add(delay)
	switch {
	case ln.armed: // it will find out that it is early
		return false
	case ln.timer != nil:
		ln.timer.Reset(delay)
	}
	ln.armed = true
	return ln.timer == nil
}

// rang says what to do when the timer rings: pay what is put off, or nothing
// yet.
func (ln *lane) rang(now time.Time) (owed *txn) {
	ln.armed = false
	if ln.sleeper == nil {
		return nil
	}
	if early := ln.wakeAt.Sub(now); early > 0 {
		ln.timer.Reset(early)
		ln.armed = true
		return nil
	}
	ln.release = true
	return ln.awake()
}

// outlive has f called as soon as no transaction needs fd any more: what is owed
// is paid, and the lock given back, through the open file; of one that was
// unlinked meanwhile the bricks know nothing else. It reports false if none
// needs it now.
func (r *replicate) outlive(o *object, fd *fop.Fd, f func()) bool {
	tx := &o.tx
	var due [2]*txn
	left := 0
	tx.mu.Lock()
	for part := range tx.lanes {
		if ln := &tx.lanes[part]; ln.acquired && (ln.lk.fd == fd || ln.sleeper != nil && ln.sleeper.lk.fd == fd || ln.posting > 0) {
			left++
		}
	}
	if left == 0 || !r.changes.begin() {
		tx.mu.Unlock()
		return false
	}
	done := func() {
		tx.mu.Lock()
		left--
		last := left == 0
		tx.mu.Unlock()
		if last {
			f()
			r.changes.end()
		}
	}
	for part := range tx.lanes {
		ln := &tx.lanes[part]
		if ln.acquired && (ln.lk.fd == fd || ln.sleeper != nil && ln.sleeper.lk.fd == fd || ln.posting > 0) {
			if due[part] = ln.awake(); due[part] != nil || ln.posting > 0 || len(ln.owners) > 0 {
				ln.release = true
			}
			ln.after = append(ln.after, done)
		}
	}
	tx.mu.Unlock()
	for _, owed := range due {
		if owed != nil {
			go owed.pay(false)
		}
	}
	return true
}

// settle begins what transactions on an object have put off, and does not wait
// for it. A flush calls it: who closes a file need not wait until others can see
// that it is at rest, and the end of the graph does wait.
func (r *replicate) settle(_ context.Context, o *object) {
	for part := range o.tx.lanes {
		ln := &o.tx.lanes[part]
		o.tx.mu.Lock()
		owed := ln.awake()
		if owed != nil {
			ln.release = true
		}
		o.tx.mu.Unlock()
		if owed != nil {
			go owed.pay(false)
		}
	}
}
