package replicate

import (
	"context"
	"slices"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// A copy of a directory that has missed changes may have another object under a
// name than the good copies, or none, or one where they have none. A fop on that
// name can then succeed there and do something else: a rename moves the old object
// on, and nothing in the changelogs says that the new name is wrong. So where the
// answers to a fop that changes names differ, the good copies' count, and a copy
// that did otherwise is blamed with the name, be it that it succeeded. GlusterFS
// looks the name up before, and heals it then.

// outvote settles on which copies an entry fop counts as failed when their
// answers differ. The names are still locked.
func (t *txn) outvote(ctx context.Context) {
	if t.part != entry {
		return
	}
	mixed, other := differ(t.as)
	if !mixed && !other {
		return
	}
	// What is remembered of the directories is no help: another client may have
	// blamed a copy since, and done so before it unlocked the name.
	good := all(t.n)
	var seen [5]fop.GFID // of two parents and three that are locked
	n := 0
	ask := func(g fop.GFID) {
		if slices.Contains(seen[:n], g) {
			return
		}
		seen[n] = g
		n++
		o := t.r.acquire(g)
		defer o.Release()
		var buf [maxChildren]answer
		if f, err := t.r.inspect(ctx, o, &t.req.Head().Cred, nil, t.v, buf[:t.n]); err == nil {
			good &^= f.stale
		}
	}
	for k := range t.nd {
		ask(t.dirs[k].gfid)
	}
	for k := range t.lk.list() { // a directory that goes away, or goes away on some
		if l := &t.lk.lockees[k]; l.name == "" {
			ask(l.gfid)
		}
	}
	t.settleNames(weigh(t.as, good))
}

// settleNames enters a ballot into the ledger.
func (t *txn) settleNames(b ballot) {
	if b.refused && b.overruled == 0 { // nobody did it: it is a matter of why
		for i := range t.as {
			if a := &t.as[i]; a.sent && !lost(fop.Errno(a.err)) {
				a.err = b.err
			}
		}
		return
	}
	for i := range b.overruled.each {
		t.as[i] = answer{sent: true, err: b.err}
	}
	t.failed |= b.overruled | b.left
	if b.refused {
		t.overruled = b.overruled
		t.failed &^= b.right
	}
	if q, ok := t.req.(*fop.Create); ok && q.Fd != nil && b.overruled != 0 {
		t.r.releaseOn(b.overruled, q.Fd) // it is another file's
	}
}

// ballot is what comes of answers that differ.
type ballot struct {
	// right are those whose answers count.
	right set
	// overruled have succeeded, at something else than what was asked for.
	overruled set
	// err is what those get for an answer.
	err error
	// left have not removed a directory that is gone elsewhere, because their
	// copies have names in it that the others have not. Mostly that is no failure.
	left set
	// refused: the good copies all refuse the fop.
	refused bool
}

// weigh decides whose answers count. good are the children whose copies of the
// directories are not blamed.
func weigh(as []answer, good set) (b ballot) {
	var done set
	for i := range as {
		if as[i].ok() {
			done = done.with(i)
		}
	}
	spoke := spoken(as)
	good &= spoke
	if good == 0 {
		return b
	}
	if good&done == 0 {
		b.err = as[good.first()].err
		for i := range good.each {
			if done == 0 && fop.Errno(as[i].err) != fop.Errno(b.err) {
				return ballot{} // good copies disagree: as if nothing were known
			}
		}
		b.right, b.overruled, b.refused = good, done, true
		return b
	}
	want, some := objectOf(as, good&done)
	if !some {
		want, some = objectOf(as, done)
	}
	for i := range as {
		switch {
		case done.has(i):
			if g := subject(as[i].reply); some && !g.IsZero() && g != want {
				b.overruled, b.err = b.overruled.with(i), syscall.EIO
			}
		case spoke.has(i) && fop.Errno(as[i].err) == syscall.ENOTEMPTY:
			b.left = b.left.with(i)
		}
	}
	b.right = done &^ b.overruled
	return b
}

// spoken are the children whose answers say what they know.
func spoken(as []answer) (s set) {
	for i := range as {
		if a := &as[i]; a.ok() || a.sent && !lost(fop.Errno(a.err)) {
			s = s.with(i)
		}
	}
	return s
}

// objectOf is the object that more than half of the children in s name; some
// is false if there is none.
func objectOf(as []answer, s set) (g fop.GFID, some bool) {
	for i := range s.each {
		g = subject(as[i].reply)
		n := 0
		for j := range s.each {
			if subject(as[j].reply) == g {
				n++
			}
		}
		if !g.IsZero() && 2*n > s.count() {
			return g, true
		}
	}
	return fop.GFID{}, false
}

// differ reports how copies disagree in what they know: mixed, some have done a
// fop that others refuse, or they refuse it for different reasons; other, they
// have done it to different objects. A brick that is gone says nothing.
func differ(as []answer) (mixed, other bool) {
	var first fop.GFID
	var refused syscall.Errno
	done := false
	for i := range as {
		a := &as[i]
		switch {
		case !a.sent:
		case a.err != nil:
			if e := fop.Errno(a.err); !lost(e) {
				mixed = mixed || refused != 0 && e != refused
				refused = e
			}
		default:
			done = true
			g := subject(a.reply)
			other = other || !first.IsZero() && !g.IsZero() && g != first
			if first.IsZero() {
				first = g
			}
		}
	}
	return mixed || done && refused != 0, other
}

// subject is the object that a reply to an entry fop or a Lookup is about, zero if
// it does not say.
func subject(reply fop.Reply) fop.GFID {
	switch r := reply.(type) {
	case *fop.CreateReply:
		return r.Stat.GFID
	case *fop.RenameReply:
		return r.Stat.GFID
	case *fop.EntryReply:
		return r.Stat.GFID
	case *fop.LookupReply:
		return r.Stat.GFID
	}
	return fop.GFID{}
}
