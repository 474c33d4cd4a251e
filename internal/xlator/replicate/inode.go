package replicate

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// object is what is remembered of one object. It may be forgotten whenever
// nobody holds its ref; then it is learned anew.
type object struct {
	// known is metadata-readable children in bits 0 to 15, data-readable ones in
	// 16 to 31, and in 32 to 63 the event generation at which that was true; 0:
	// nothing is known.
	known atomic.Uint64
	// kind is the file type bits of the mode, 0 while unknown.
	kind atomic.Uint32
	// odd counts how often something was seen that asks for a refresh, heeded
	// how much of that a refresh has looked into.
	odd, heeded atomic.Uint32

	mu     sync.Mutex
	choice splitChoice

	tx txState
}

// ref is a hold on an object; while it is held, the object is not forgotten.
type ref = inodes.Ref[object]

// maps says which children are readable: whose copy is not blamed.
type maps struct {
	data, meta set
}

func (m maps) both() set { return m.data & m.meta }

// of returns the children that are readable for one part.
func (m maps) of(p part) set {
	if p == metadata {
		return m.meta
	}
	return m.data
}

// splitChoice is a child that somebody chose to read from although the object is
// in split-brain (replica.split-brain-choice).
type splitChoice struct {
	child int // plus 1; 0 for none
	timer *time.Timer
}

// acquire returns what is kept about an object. Release it.
func (r *replicate) acquire(g fop.GFID) *ref { return r.objects.Acquire(g) }

// readable returns which children are readable, as of generation gen. ok is false if
// that is not known, or if something was seen since that asks for a refresh.
func (o *object) readable(gen uint32) (m maps, ok bool) {
	k := o.known.Load()
	m = maps{meta: set(k), data: set(k >> 16)}
	return m, k != 0 && uint32(k>>32) == gen && o.odd.Load() == o.heeded.Load()
}

// last returns what was known last, be it old.
func (o *object) last() (m maps, ok bool) {
	k := o.known.Load()
	return maps{meta: set(k), data: set(k >> 16)}, k != 0
}

// learn stores which children are readable. gen is the event generation at which
// the fop that found out began.
func (o *object) learn(m maps, gen uint32) {
	o.known.Store(uint64(gen)<<32 | uint64(m.data)<<16 | uint64(m.meta))
}

// drop takes children out of what is readable, because a fop failed on them, and
// asks for a refresh.
func (o *object) drop(p part, bad set) {
	for {
		k := o.known.Load()
		n := k &^ uint64(bad)
		if p != metadata {
			n = k &^ (uint64(bad) << 16)
		}
		if o.known.CompareAndSwap(k, n) {
			break
		}
	}
	o.suspect()
}

// suspect asks for a refresh before the object is read again.
func (o *object) suspect() { o.odd.Add(1) }

// suspicion is what heed takes after a refresh has succeeded: it must be read
// before the refresh is sent.
func (o *object) suspicion() uint32 { return o.odd.Load() }

func (o *object) heed(n uint32) { o.heeded.Store(n) }

// isDir reports whether the object is a directory; known is false if nobody
// has told yet.
func (o *object) isDir() (dir, known bool) {
	k := o.kind.Load()
	return k == fop.ModeDir, k != 0
}

func (o *object) setKind(a *fop.Iatt) { o.setType(a.Fmt()) }

func (o *object) setType(k uint32) {
	if k != 0 && o.kind.Load() != k {
		o.kind.Store(k)
	}
}

// chosen is the child that somebody chose to read the object from, -1 for none.
func (o *object) chosen() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.choice.child - 1
}
