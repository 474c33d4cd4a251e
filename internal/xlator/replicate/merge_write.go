package replicate

import (
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// outcome makes one answer of those of all children, and settles which of them
// count as failed. why is the error to report if the transaction fails later.
func (t *txn) outcome() (reply fop.Reply, why error) {
	if !t.sent {
		return nil, t.err
	}
	why = best(t.as)
	good := t.good()
	for i := range t.as { // of an rmdir, children that had it not empty did not fail
		if t.as[i].sent && t.as[i].err != nil {
			good = good.without(i)
		}
	}
	if q, ok := t.req.(*fop.Write); ok {
		good = t.writeOutcome(q, good)
	}
	if good == 0 {
		t.err = why
		if t.overruled == 0 && symmetric(t.as) {
			t.failed = 0
		}
		reply = t.failedReply()
	} else {
		t.checkLastCopy()
		reply = t.pick(good)
	}
	if bad := t.locked & t.failed; bad != 0 {
		t.distrust(bad)
	}
	t.settleQuorum(why)
	if t.err != nil && reply != nil && good != 0 {
		reply = nil
	}
	if t.err == nil {
		t.learnNew(reply, good)
		t.zeroAttributes(reply)
	}
	return reply, why
}

// writeOutcome looks at what a Write's replies tell besides: children that wrote
// less than others have failed.
func (t *txn) writeOutcome(q *fop.Write, good set) set {
	most := uint32(0)
	size := func(i int) uint32 {
		w := replyOf[*fop.WriteReply](t.as, i)
		switch {
		case w == nil:
			return 0
		case i == t.r.arbiter && len(q.Data) > 0: // it got one byte for all
			return uint32(len(q.Data))
		}
		return w.Size
	}
	t.appended = true
	for i := range good.each {
		if i != t.r.arbiter {
			most = max(most, size(i))
		}
		x := t.as[i].xdata()
		t.appended = t.appended && x.Int(fop.KeyWriteAppend) == 1
		t.openFds = max(t.openFds, int(x.Int(fop.KeyActiveFdCount)))
	}
	for i := range good.each {
		if size(i) < most {
			t.failed, good = t.failed.with(i), good.without(i)
		}
	}
	return good
}

// checkLastCopy fails a fop that has succeeded, but on none of the copies that
// were good before it.
func (t *txn) checkLastCopy() {
	if t.part == entry || !t.knowsGood || !lostLast(t.goodCopy, t.failed) {
		return
	}
	for i := range t.goodCopy.each {
		t.err = better(t.err, t.as[i].err)
	}
	if t.err == nil {
		t.err = syscall.EIO
	}
}

// distrust has what is known of the object looked into again.
func (t *txn) distrust(bad set) {
	if t.part != entry {
		t.obj.V.drop(t.part, bad)
		return
	}
	t.suspect()
}

// suspect has everything that t changed looked into before it is read again.
func (t *txn) suspect() {
	t.obj.V.suspect()
	for k := range t.nd {
		if p := t.r.objects.Peek(t.dirs[k].gfid); p != nil {
			p.V.suspect()
			p.Release()
		}
	}
}

// failedReply returns the reply that came with an error, for its extra keys.
func (t *txn) failedReply() fop.Reply {
	for i := range t.as {
		if t.as[i].sent && t.as[i].err != nil && t.as[i].reply != nil && !lost(fop.Errno(t.as[i].err)) {
			return t.as[i].reply
		}
	}
	return nil
}

// pick returns the reply to pass on: that of the child that the object is read
// from, so that its attributes do not seem to change back and forth.
func (t *txn) pick(good set) fop.Reply {
	r := t.r
	if some := good &^ r.arbiters(); some != 0 {
		good = some
	}
	switch first := t.as[good.first()].reply.(type) {
	case *fop.CreateReply:
		i := r.choose(good, first.Stat.GFID, false)
		c := replyOf[*fop.CreateReply](t.as, i)
		if j := t.reader(t.dirs[0].gfid, good); j != i && c != nil {
			if p := replyOf[*fop.CreateReply](t.as, j); p != nil {
				c.PreParent, c.PostParent = p.PreParent, p.PostParent
			}
		}
		return t.as[i].reply
	case *fop.EntryReply:
		i := r.choose(good, first.Stat.GFID, first.Stat.IsDir())
		if t.op == fop.OpLink {
			i = t.reader(first.Stat.GFID, good)
		}
		c := replyOf[*fop.EntryReply](t.as, i)
		if j := t.reader(t.dirs[0].gfid, good); j != i && c != nil {
			if p := replyOf[*fop.EntryReply](t.as, j); p != nil {
				c.PreParent, c.PostParent = p.PreParent, p.PostParent
			}
		}
		return t.as[i].reply
	case *fop.RemoveReply:
		return t.as[t.reader(t.dirs[0].gfid, good)].reply
	case *fop.RenameReply:
		return t.pickRename(good, first.Stat.GFID)
	}
	return t.as[t.reader(t.obj.GFID, good)].reply
}

func (t *txn) pickRename(good set, moved fop.GFID) fop.Reply {
	i := t.reader(moved, good)
	c := replyOf[*fop.RenameReply](t.as, i)
	if c == nil {
		return t.as[i].reply
	}
	if p := replyOf[*fop.RenameReply](t.as, t.reader(t.dirs[0].gfid, good)); p != nil {
		c.PreNewParent, c.PostNewParent = p.PreNewParent, p.PostNewParent
	}
	if p := replyOf[*fop.RenameReply](t.as, t.reader(t.dirs[1].gfid, good)); p != nil {
		c.PreOldParent, c.PostOldParent = p.PreOldParent, p.PostOldParent
	}
	return c
}

// reader returns the child of good that an object is read from, or else any.
func (t *txn) reader(g fop.GFID, good set) int {
	o := t.obj
	if g != o.GFID {
		if o = t.r.objects.Peek(g); o == nil {
			return good.first()
		}
		defer o.Release()
	}
	if m, ok := o.V.last(); ok && m.both()&good != 0 {
		dir, _ := o.V.isDir()
		return t.r.choose(m.both()&good, g, dir)
	}
	return good.first()
}

// learnNew remembers of an object that was just made that its copies are good.
func (t *txn) learnNew(reply fop.Reply, good set) {
	var st *fop.Iatt
	switch q := reply.(type) {
	case *fop.CreateReply:
		st = &q.Stat
		t.r.openedOn(t.req.(*fop.Create).Fd, good)
	case *fop.EntryReply:
		st = &q.Stat
	}
	if st == nil || t.op == fop.OpLink || st.GFID.IsZero() {
		return
	}
	o := t.r.acquire(st.GFID)
	o.V.setKind(st)
	o.V.learn(maps{data: good &^ t.r.arbiters(), meta: good &^ t.r.arbiters()}, t.v.gen)
	o.Release()
	if t.op != fop.OpSymlink {
		t.made, t.madeMode, t.missing = st.GFID, st.Mode, all(t.n)&^good
	}
}

// zeroAttributes takes the attributes out of a reply where option
// consistent-metadata says that those of one child must not be trusted.
func (t *txn) zeroAttributes(reply fop.Reply) {
	if !t.conf.consistentMetadata || t.part == entry || t.part == metadata && t.optimistic {
		return
	}
	switch q := reply.(type) {
	case *fop.WriteReply:
		q.Pre, q.Post = fop.Iatt{}, fop.Iatt{}
	case *fop.AttrReply:
		q.Pre, q.Post = fop.Iatt{}, fop.Iatt{}
	}
}
