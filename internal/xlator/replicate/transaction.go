package replicate

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// A transaction goes through these steps:
//
//	gate     quorum of children that are up, forbidden names, for attributes a
//	         copy that is known to be good
//	lock     on all children that are up (lock.go), or shared with others under
//	         the eager lock (eager.go)
//	pre-op   a dirty mark on each, where the outcome could be unclear
//	fop      on all that have lock and mark, at once
//	answer   the caller has it as soon as no child has failed
//	post-op  the mark goes, children that missed the fop are blamed (postop.go)
//	unlock
//
// Up to the fop a caller whose context ends gets out, and leaves nothing behind.
// From the moment the fop is sent a transaction is carried through, whatever
// happens to its caller: the children that it reached and those that it did not
// must not be left different without a mark that says so. Locks, marks and the
// steps after the fop have no deadline of their own; a child that does not answer
// is given up with its connection.

// txn is a transaction.
type txn struct {
	ledger
	r    *replicate
	conf *config
	v    view
	op   fop.Op
	req  fop.Request // as it came; nil once its caller has been answered
	lk   locking
	dirs [2]dirChange // of an entry fop: where names change
	nd   int
	obj  *ref // what changes, or its directory

	from, size uint64 // bytes that a data fop touches, size 0 is to the end
	delayable  bool   // the post-op may be put off
	stable     bool   // a write that is on disk when it is answered
	appended   bool   // a write that all children took for one to the end of the file

	dirtied   bool // put a mark on disk
	inherited bool // relies on that of another one under the same eager lock
	shared    bool // others may rely on its mark

	accused   set // by changelogs that the pre-op has read
	goodCopy  set // copies that were good before the fop, where that is known
	knowsGood bool
	contended int // how many locks there were on the object, as the fop saw it
	openFds   int
	missing   set      // of an entry fop that made something: where it is not
	made      fop.GFID // that something
	madeMode  uint32

	owner       string    // the application's lock owner
	lockedSince time.Time // of a lock that was handed on
	lockErr     error     // why some child could not be locked

	find func() (fop.GFID, bool) // finds one more thing to lock
	wake chan told
	as   []answer
}

// dirChange is a name that changes in a directory.
type dirChange struct {
	gfid fop.GFID
	name string
}

var txns = sync.Pool{New: func() any { return &txn{wake: make(chan told, 1)} }}

func (t *txn) free() {
	if t.obj != nil {
		t.obj.Release()
	}
	clear(t.as)
	*t = txn{wake: t.wake, as: t.as[:0]}
	txns.Put(t)
}

// tell wakes a transaction that waits. It is told once.
func (t *txn) tell(m told) { t.wake <- m }

// eager reports whether t runs under the eager lock of its object.
func (t *txn) eager() bool { return t.part != entry && t.conf.eager }

// lane returns the eager lock that t runs under.
func (t *txn) lane() (*txState, *lane) {
	tx := &t.obj.V.tx
	return tx, &tx.lanes[t.part]
}

// transact carries out a fop that changes something.
func (r *replicate) transact(ctx context.Context, req fop.Request) (fop.Reply, error) {
	t := txns.Get().(*txn)
	t.r, t.conf, t.v, t.op, t.req = r, r.conf.Load(), r.view(), req.Op(), req
	t.n, t.quorum = r.n, t.conf.quorum
	if cap(t.as) < r.n {
		t.as = make([]answer, r.n)
	}
	t.as = t.as[:r.n]
	err := r.gate(t.v, t.op.String())
	if err == nil {
		err = t.classify()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && !r.changes.begin() {
		err = fmt.Errorf("%s: %v: this volume is being closed: %w", r.name, t.op, syscall.ENOTCONN)
	}
	if err != nil {
		t.free()
		return nil, err
	}
	return t.run(ctx)
}

// run is transact from where something may be left to do behind. t must not be
// used after it returns.
func (t *txn) run(ctx context.Context) (fop.Reply, error) {
	if err := t.enter(ctx); err != nil {
		t.end()
		return nil, err
	}
	if err := t.preOp(); err != nil {
		t.err = err
	} else {
		t.wind(ctx)
	}
	reply, why := t.outcome()
	return t.complete(reply, why)
}

// enter passes the gates that cost a round trip, and locks.
func (t *txn) enter(ctx context.Context) error {
	if t.part == metadata {
		if err := t.needGoodCopy(ctx); err != nil {
			return err
		}
	}
	if t.lk.fd != nil {
		t.r.fixOpen(t.lk.fd, t.v)
	}
	if t.eager() {
		return t.join(ctx)
	}
	if t.part != entry || !t.r.later.adopt(t) {
		t.lk.head.Cred.Owner = newOwner()
	}
	var err error
	if t.lockErr, err = t.r.lock(ctx, &t.lk, t.v.up, t.find); err != nil {
		return err
	}
	t.locked = t.lk.held()
	return nil
}

// needGoodCopy makes sure that some copy of the attributes is good: with all of
// them blamed, no change could be healed.
func (t *txn) needGoodCopy(ctx context.Context) error {
	m, ok := t.obj.V.readable(t.v.gen)
	if !ok {
		var err error
		if m, err = t.r.refresh(ctx, t.obj, &t.req.Head().Cred, t.lk.fd, t.v); err != nil {
			return err
		}
	}
	// Of a file in split-brain GlusterFS changes no attributes either, whichever
	// half of it is.
	if dir, _ := t.obj.V.isDir(); m.meta == 0 || m.data == 0 && !dir {
		return t.r.splitBrain(t.op, t.obj.GFID)
	}
	t.goodCopy, t.knowsGood = m.meta, true
	return nil
}

// join gets t the eager lock: by taking it, or by going along with those who
// have it.
func (t *txn) join(ctx context.Context) error {
	tx, ln := t.lane()
	tx.mu.Lock()
	if tx.owner == "" {
		tx.owner = newOwner()
	}
	t.lk.head.Cred.Owner = tx.owner
	m, owed := ln.begin(t)
	if m == moveRun {
		t.share(ln)
	}
	tx.mu.Unlock()
	if owed != nil {
		owed.pay(false)
	}
	if m == moveWait {
		got, err := t.await(ctx, tx, ln)
		if err != nil {
			return err
		}
		m = got.move
		if m == moveRun {
			tx.mu.Lock()
			t.share(ln)
			tx.mu.Unlock()
		}
	}
	if m == moveRun {
		return nil
	}
	var err error
	t.lockErr, err = t.r.lock(ctx, &t.lk, t.v.up, nil)
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err != nil {
		ln.missed(t, err, ctx.Err() != nil)
		return err
	}
	t.locked = t.lk.held()
	ln.took(t, t.obj.Hold())
	return nil
}

// share takes over what the eager lock knows: lock, marks, good copies. It
// comes before the post-op of a transaction that was put off, so that its mark
// stays.
func (t *txn) share(ln *lane) {
	t.locked = ln.locked
	if t.part != data {
		return
	}
	t.inherited = ln.inherit(t.locked)
	if t.inherited && ln.asked {
		t.goodCopy, t.knowsGood = ln.writable, true
	}
}

// await waits until t is told what to do, or until its caller gives up.
func (t *txn) await(ctx context.Context, tx *txState, ln *lane) (told, error) {
	select {
	case got := <-t.wake:
		return got, got.err
	case <-ctx.Done():
	}
	tx.mu.Lock()
	left := ln.leave(t)
	tx.mu.Unlock()
	if left {
		return told{}, fmt.Errorf("%s: wait for another change: %w", t.r.name, context.Cause(ctx))
	}
	got := <-t.wake
	return got, got.err
}

// preOp notes on the children that something is about to happen, if need be.
func (t *txn) preOp() error {
	r := t.r
	t.failed = all(t.n) &^ t.locked
	t.optimistic = t.conf.optimistic && t.locked == all(t.n)
	if !t.quorum.met(t.locked) {
		if t.lockErr != nil {
			return t.lockErr
		}
		return fmt.Errorf("%s: %v: locks on %d of %d copies, quorum asks for more: %w", r.name, t.op, t.locked.count(), t.n, syscall.ENOTCONN)
	}
	var why error
	if t.part == data && t.eager() && !t.inherited {
		t.inherited = t.awaitMark()
	}
	if !t.inherited && (t.part == data || !t.optimistic) {
		t.dirtied = true
		why = t.mark()
	}
	good := t.good()
	if good == 0 || !t.quorum.met(good) {
		if why != nil {
			return why
		}
		return fmt.Errorf("%s: %v: %d of %d copies could be marked, quorum asks for more: %w", r.name, t.op, good.count(), t.n, syscall.ENOTCONN)
	}
	if r.arbiter >= 0 && good&^t.accused == only(r.arbiter) {
		return fmt.Errorf("%s: %v: no good copy but the arbiter's is reachable: %w", r.name, t.op, syscall.ENOTCONN)
	}
	if t.knowsGood && t.goodCopy&good == 0 {
		return r.splitBrain(t.op, t.obj.GFID)
	}
	return nil
}

// awaitMark lets one transaction put its mark on disk for all who begin at the
// same time. It returns true to the others, when they may rely on it.
func (t *txn) awaitMark() (inherited bool) {
	tx, ln := t.lane()
	tx.mu.Lock()
	defer tx.mu.Unlock()
	for {
		t.share(ln)
		if t.inherited {
			return true
		}
		other := ln.marking
		if other == nil {
			ln.marking = make(chan struct{})
			return false
		}
		tx.mu.Unlock()
		<-other
		tx.mu.Lock()
	}
}

// mark puts the dirty mark on disk, and learns whom the changelogs accuse.
func (t *txn) mark() error {
	note := note{to: t.locked, dirty: 1}
	if t.granular {
		note.name = nameAdd
	}
	good, why := t.writeNote(note, true)
	t.failed |= t.locked &^ good
	if t.part != data {
		return why
	}
	t.goodCopy, t.knowsGood = all(t.n)&^t.accused&^t.r.arbiters(), true
	if t.eager() {
		tx, ln := t.lane()
		tx.mu.Lock()
		if !ln.asked {
			ln.asked, ln.writable = true, t.goodCopy
		}
		t.goodCopy = ln.writable
		if t.clean() {
			t.shared = ln.mark(t.locked)
		}
		close(ln.marking)
		ln.marking = nil
		tx.mu.Unlock()
	}
	return why
}

// writeNote adds to the changelogs on the children of a note. It returns those
// where that worked and an error that another one gave. With accused, it gathers
// whom the changelogs accuse.
func (t *txn) writeNote(w note, learn bool) (good set, why error) {
	r := t.r
	good = w.to
	var waits [2][maxChildren]fop.Pending
	if t.part != entry {
		r.start(context.Background(), w.to, t.xattrop(t.lk.lockees[0].gfid, r.changelogDict(t.part, w), r.fixed.none), &waits[0])
	}
	for k := range t.nd {
		x := r.fixed.none
		if t.op == fop.OpRename && k == 0 {
			x = nil // as in GlusterFS, for the new directory alone
		}
		switch w.name {
		case nameAdd:
			x = fop.NewDict(fop.Pair{Key: keyEntryCreate, Val: fop.Str(t.dirs[k].name)})
		case nameDrop:
			x = fop.NewDict(fop.Pair{Key: keyEntryDelete, Val: fop.Str(t.dirs[k].name)})
		}
		r.start(context.Background(), w.to, t.xattrop(t.dirs[k].gfid, r.changelogDict(t.part, w), x), &waits[k])
	}
	for k := range waits {
		for i := range w.to.each {
			if waits[k][i] == nil {
				continue
			}
			reply, err := waits[k][i].Wait()
			if err != nil {
				good = good.without(i)
				why = better(why, err)
				continue
			}
			if x, ok := reply.(*fop.XattrReply); ok && learn {
				t.accused |= r.blamed(x.Dict)[t.part]
			}
		}
	}
	return good, why
}

const (
	keyEntryCreate = "glusterfs.xattrop-entry-create"
	keyEntryDelete = "glusterfs.xattrop-entry-delete"
)

func (t *txn) xattrop(g fop.GFID, d, xdata *fop.Dict) fop.Request {
	h := t.lk.head
	h.XData = xdata
	if t.part == entry || t.lk.loc {
		return &fop.Xattrop{Header: h, GFID: g, Kind: fop.XattropAdd, Dict: d}
	}
	return &fop.Fxattrop{Header: h, GFID: g, Fd: t.lk.fd, Kind: fop.XattropAdd, Dict: d}
}

// changelogDict makes what is added to the changelogs: all keys are always
// there, and adding 0 reads what the brick has.
func (r *replicate) changelogDict(p part, w note) *fop.Dict {
	if w.blame == 0 {
		switch w.dirty {
		case 1:
			return r.fixed.mark[p]
		case -1:
			return r.fixed.unmark[p]
		}
	}
	return r.makeChangelogs(p, w.blame, w.dirty)
}

func (r *replicate) makeChangelogs(p part, blame set, dirty int32) *fop.Dict {
	var missed, mark changelog
	missed[p], mark[p] = 1, dirty
	d := fop.NewDict()
	d.Grow(r.n + 1)
	d.Append(r.dirty, mark.value())
	for i, key := range r.pending {
		if blame.has(i) {
			d.Append(key, missed.value())
		} else {
			d.Append(key, changelog{}.value())
		}
	}
	return d
}

// fixed are dictionaries that never change.
type fixed struct {
	mark, unmark [parts]*fop.Dict
	write, fsync *fop.Dict // what goes along with a Write and an Fsync
	flush        *fop.Dict // with an Fsync of our own
	// none is empty, and goes along with changelogs: where there is no xdata at
	// all, bricks of GlusterFS forget the names that changed in a directory.
	none *fop.Dict
}

func (r *replicate) makeFixed() (f fixed) {
	for p := range parts {
		f.mark[p], f.unmark[p] = r.makeChangelogs(p, 0, 1), r.makeChangelogs(p, 0, -1)
	}
	f.none = fop.NewDict()
	f.write = r.writeKeys(nil)
	f.fsync = fop.NewDict(fop.Pair{Key: fop.KeyInodelkDomCount, Val: fop.Str(r.name)})
	f.flush = fop.NewDict(fop.Pair{Key: "batch-fsync", Val: fop.Int(1)}, fop.Pair{Key: fop.KeyInternalFop, Val: fop.Str("yes")})
	return f
}
