package inodes

import "sync/atomic"

// Clock counts what happens to the objects of one cache: changes that begin,
// changes that end, and what is learned. A request that reads notes Now before
// it is sent; its reply may be believed where nothing that matters happened
// since.
//
// The zero Clock is ready. It is safe for concurrent use.
type Clock struct {
	n    atomic.Uint64
	lost atomic.Uint64 // the latest event of a Version that was forgotten
}

// Now is the time of the last event.
func (c *Clock) Now() uint64 { return c.n.Load() }

// Forget takes note of a Version that is thrown away: what began before its last
// event is not believed about an object of which nothing is known.
func (c *Clock) Forget(v *Version) {
	for last := max(v.changed, v.learned); ; {
		old := c.lost.Load()
		if old >= last || c.lost.CompareAndSwap(old, last) {
			return
		}
	}
}

// Version orders the changes of one object and what is learned of it. The zero
// Version is that of an object of which nothing is known. Whoever uses it holds
// the lock of the value that it stands beside.
//
// The rule: what a cache holds is never older than anything that was seen of the
// object before. Where that cannot be told, it holds nothing.
type Version struct {
	changing int32  // changes under way
	known    bool   // the times below count
	changed  uint64 // the last change began or ended, or something came that may not be kept
	learned  uint64 // when what is cached was learned
}

// Verdict says what to do with what a reply tells.
type Verdict int

// Verdicts.
const (
	// Keep: nothing happened since the request began; the cache may have it.
	Keep Verdict = iota
	// Compare: something did. The cache must not take it, and must give up what
	// it has, and call Void, unless that is the very same: nobody knows which of
	// the two is newer.
	Compare
)

func (v *Version) meet(c *Clock) {
	if !v.known {
		v.known = true
		v.changed = max(v.changed, c.lost.Load())
	}
}

// Begin tells of a change through this cache that is about to be sent, and
// returns what End wants. Nothing may be served from the cache until End.
func (v *Version) Begin(c *Clock) (token uint64) {
	v.meet(c)
	v.changing++
	v.changed = c.n.Add(1)
	return v.changed
}

// End tells that a change is done. It reports whether what the reply says may be
// cached: that nothing else happened to the object meanwhile.
func (v *Version) End(c *Clock, token uint64) bool {
	v.changing--
	alone := v.changing == 0 && v.changed == token
	v.changed = c.n.Add(1)
	if alone {
		v.learned = v.changed
	}
	return alone
}

// Void tells of a change that somebody else made.
func (v *Version) Void(c *Clock) {
	v.meet(c)
	v.changed = c.n.Add(1)
}

// Learn judges the reply to a request that began at start.
func (v *Version) Learn(c *Clock, start uint64) Verdict {
	v.meet(c)
	switch {
	case v.changing > 0 || v.changed > start:
		// Somebody sees it now: what the change itself tells may be older.
		v.changed = c.n.Add(1)
		return Compare
	case v.learned > start:
		return Compare
	}
	v.learned = c.n.Add(1)
	return Keep
}

// Unchanged is Learn for a value that holds many facts, learned by many requests
// at once: it reports whether a reply to a request that began at start may be
// added to them. Who sees a reply that contradicts what is cached calls Void.
func (v *Version) Unchanged(c *Clock, start uint64) bool {
	v.meet(c)
	return v.changing == 0 && v.changed <= start
}

// Changing reports whether a change is under way.
func (v *Version) Changing() bool { return v.changing > 0 }
