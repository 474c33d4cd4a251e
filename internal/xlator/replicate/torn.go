package replicate

import (
	"context"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// The answers to a lookup are torn when copies differ in whether, or as what, a
// name exists. Mostly somebody is making, moving or removing it at this moment:
// the lookup has overtaken the change on one brick and not on another. The one
// who changes a name has it locked, so a lookup that locks it too, and asks
// again, sees it before the change or after it. GlusterFS does the same on the
// way to healing the name. If the answers are torn even then, a copy of the
// directory has missed a change, and does not count: GlusterFS would heal the name
// on it and find what the others say.

// torn reports whether the answers to a lookup of a name ask for another one
// under a lock.
func (l *looking) torn() bool {
	if l.q.Name == "" {
		return false
	}
	var gfid fop.GFID
	var missing set
	for i := range l.as {
		a := &l.as[i]
		switch {
		case !a.sent:
		case a.err == nil:
			g := l.reply(i).Stat.GFID
			if !gfid.IsZero() && g != gfid {
				return true
			}
			gfid = g
		case fop.Errno(a.err) == syscall.ENODATA: // made, and not yet given its GFID
			return true
		case !lost(fop.Errno(a.err)):
			missing = missing.with(i)
		}
	}
	if l.good == 0 || missing == 0 {
		return false
	}
	return missing&l.parentReadable() != 0 || !l.r.allows(l.good, l.q)
}

// again asks once more, with the name locked. If it cannot be locked, the first
// answers count.
func (l *looking) again(ctx context.Context, req *fop.Lookup) {
	r := l.r
	lk := locking{entry: true}
	lk.head.Cred = fop.Cred{UID: l.q.Cred.UID, GID: l.q.Cred.GID, PID: l.q.Cred.PID, Owner: newOwner()}
	lk.add(l.q.Parent, l.q.Name)
	if _, err := r.lock(ctx, &lk, l.v.up, nil); err != nil {
		r.log.Debug("a name on which copies differ could not be locked", "parent", l.q.Parent, "name", l.q.Name, "err", err)
		return
	}
	l.good, l.mine = r.fan(ctx, l.v.up, req, l.as), true
	if !r.changes.begin() {
		r.unlock(&lk)
		return
	}
	go func() {
		r.unlock(&lk)
		r.changes.end()
	}()
}

// outvote takes the answers of children whose copy of the directory is not good
// for failures, where they contradict those whose copy is.
func (l *looking) outvote(ctx context.Context) {
	r := l.r
	o := r.acquire(l.q.Parent)
	defer o.Release()
	m, err := r.refresh(ctx, o, &l.q.Cred, nil, l.v)
	if err != nil {
		return
	}
	var gfid fop.GFID // what they found, zero for nothing
	known := false
	for i := range m.data.each {
		switch a := &l.as[i]; {
		case !a.sent:
		case a.err == nil:
			gfid, known = l.reply(i).Stat.GFID, true
		case fop.Errno(a.err) == syscall.ENOENT:
			known = true
		}
	}
	if !known {
		return
	}
	for i := range (l.good &^ m.data).each {
		if l.reply(i).Stat.GFID != gfid {
			l.as[i].reply, l.as[i].err = nil, syscall.ESTALE
			l.good = l.good.without(i)
		}
	}
}
