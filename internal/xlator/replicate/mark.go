package replicate

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
)

// newMark is what is counted against a child that has missed the making of an
// object: everything about it is to be healed. On a directory the data counter
// says that all its entries are, where names are listed one by one.
func newMark(mode uint32, granular bool) (c changelog) {
	c[metadata] = 1
	switch mode & fop.ModeFmt {
	case fop.ModeRegular:
		c[data] = 1
	case fop.ModeDir:
		c[entry] = 1
		if granular {
			c[data] = 1
		}
	}
	return c
}

// markNew starts to mark an object that was just made, on the children that have
// it, for those that do not. Without that a healer would find the name, and an
// empty object to go with it, and think that this is all. The mark goes out
// before that of the directory.
func (t *txn) markNew(waits *[maxChildren]fop.Pending) (to set) {
	if t.missing == 0 || t.made.IsZero() || t.err != nil {
		return 0
	}
	r, mark := t.r, newMark(t.madeMode, t.conf.granular).value()
	d := fop.NewDict()
	d.Grow(r.n)
	for i, key := range r.pending {
		if t.missing.has(i) {
			d.Append(key, mark)
		} else {
			d.Append(key, changelog{}.value())
		}
	}
	h := t.lk.head
	h.Cred.Owner = t.owner
	to = t.good()
	r.start(context.Background(), to, &fop.Xattrop{Header: h, GFID: t.made, Kind: fop.XattropAdd, Dict: d}, waits)
	return to
}

// waitNew waits for marks; one that failed was on a child that is gone.
func (t *txn) waitNew(to set, waits *[maxChildren]fop.Pending) {
	for i := range to.each {
		if _, err := waits[i].Wait(); err != nil {
			t.r.log.Warn("a new object could not be marked for healing", "gfid", t.made, "child", t.r.children[i].Name, "missed by", t.missing.count(), "err", err)
		}
	}
}
