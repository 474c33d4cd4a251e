package replicate

import (
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// This file decides what is written down when a fop is done. Nothing here asks
// a child anything.

// ledger is what a transaction knows when its fop has been answered by all
// children that it was sent to.
type ledger struct {
	n      int
	part   part
	quorum quorum
	// locked are the children whose locks were had: those that took part.
	locked set
	// failed are all others, and those on which anything went wrong since.
	failed set
	// optimistic: all children were locked and the option allows to leave the
	// dirty mark out.
	optimistic bool
	// granular: names that changed are listed beside a directory's changelog.
	granular bool
	// overruled are children that have done what all good copies have refused.
	overruled set
	// sent: the fop went to the children at all.
	sent bool
	err  error // what the fop came to
}

// note is what is to be written down, on which children.
type note struct {
	to    set // nobody: nothing is written
	blame set // who is said to have missed the fop
	dirty int32
	name  nameNote
}

// nameNote is what becomes of a name in the list of changed ones.
type nameNote int

const (
	nameKeep nameNote = iota
	nameAdd
	nameDrop
)

// good are the children that took part and did not fail.
func (l *ledger) good() set { return l.locked &^ l.failed }

// clean reports whether no child failed that took part. A child that was away
// from the start does not count: the caller need not wait for its blame.
func (l *ledger) clean() bool { return l.locked&l.failed == 0 }

// inDoubt reports whether a fop that succeeded here and there, on too few
// children, must be marked as such: without a dirty mark nothing would tell.
func (l *ledger) inDoubt() bool {
	return l.quorum.on() && l.optimistic && l.part != data && l.failed != all(l.n) && !l.quorum.met(l.good())
}

// settleQuorum turns success on too few children into failure. why is the error
// that a child gave, nil if none did.
func (l *ledger) settleQuorum(why error) {
	if l.err != nil || l.quorum.met(l.good()) {
		return
	}
	if !l.inDoubt() {
		l.failed |= l.locked
	}
	if why == nil {
		why = syscall.ENOTCONN
	}
	l.err = why
}

// decide returns what to write down. It is called after settleQuorum. owed says
// that a dirty mark on disk is this transaction's to take back.
func (l *ledger) decide(owed bool) (w note) {
	clean := l.clean()
	switch {
	case !l.sent:
		// No child was asked: nobody has missed anything, and what was noted in
		// advance is taken back where it was.
		if owed {
			w = note{to: l.good(), dirty: -1}
		}
		return w
	case l.overruled != 0:
		// Nothing has changed but there, so nobody else has missed anything.
		w = note{to: l.good(), blame: l.overruled, name: l.nameNote()}
		if owed {
			w.dirty = -1
		}
		return w
	case l.leavesMark():
		if l.inDoubt() {
			w = note{to: l.good(), dirty: 1, name: l.nameNote()}
		}
		return w // a dirty mark stays where it is
	case clean && !owed:
		return w
	}
	if l.good() == 0 {
		return w
	}
	w = note{to: l.good(), blame: l.failed, name: l.nameNote()}
	if owed {
		w.dirty = -1
	}
	return w
}

// leavesMark reports whether the dirty mark is all that tells of what went
// wrong, and so must stay.
func (l *ledger) leavesMark() bool { return l.sent && l.err != nil && !l.clean() }

func (l *ledger) nameNote() nameNote {
	switch {
	case !l.granular || l.part != entry:
		return nameKeep
	case l.failed == 0 && l.err == nil:
		return nameDrop
	case !l.clean():
		return nameAdd
	}
	return nameKeep
}

// symmetric reports whether all answers were the same error: nothing has
// changed anywhere, so nobody has missed anything.
func symmetric(as []answer) bool {
	var first syscall.Errno
	for i := range as {
		if !as[i].sent {
			continue
		}
		e := fop.Errno(as[i].err)
		switch {
		case e == 0, lost(e):
			return false
		case first == 0:
			first = e
		case first != e:
			return false
		}
	}
	return first != 0
}

// lost reports whether an error leaves open what the child did.
func lost(e syscall.Errno) bool {
	switch e {
	case syscall.ENOTCONN, syscall.ETIMEDOUT, syscall.ECANCELED, syscall.EPROTO:
		return true
	}
	return false
}

// lostLast reports whether a fop has failed on all copies that were good before
// it. If it succeeded on others, blaming the good ones would lose them: nothing
// is written then, and the fop fails.
func lostLast(goodBefore, failed set) bool {
	return goodBefore != 0 && goodBefore&^failed == 0
}
