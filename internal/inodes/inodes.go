// Package inodes keeps what a translator on the client side remembers about
// objects: a bounded table of one value per GFID.
//
//	ref := table.Acquire(gfid)      // makes the value if there is none
//	defer ref.Release()
//	ref.V.mu.Lock()
//
// A value stays while a Ref of it is held, however many others come and go, so
// two holders of one GFID always share one value. Values that nobody holds are
// dropped, those least recently used first, once there are more than the
// table's limit; what they knew is asked of the bricks again. A value that must
// not be lost, a held lock say, is kept by holding on to its Ref.
//
// Every translator has a table of its own.
//
// What is remembered of an object is learned from replies and made void by
// changes, and both are under way at the same time: a [Clock] and a [Version]
// per object tell which reply may still be believed.
package inodes

import (
	"encoding/binary"
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

const shards = 64

// Table remembers a *T per GFID. It is safe for concurrent use.
type Table[T any] struct {
	// Dropped, if set before the table is used, is called with every value that
	// leaves the table. It runs under a lock of the table and must not use it.
	Dropped func(*T)

	limit  int // per shard
	shards [shards]shard[T]
}

type shard[T any] struct {
	mu   sync.Mutex
	refs map[fop.GFID]*Ref[T]
	idle Ref[T] // head of the ring of those that nobody holds, oldest next
	free int    // how many are in it
}

// Ref is a hold on the value of one object.
type Ref[T any] struct {
	V    T
	GFID fop.GFID

	home       *shard[T]
	table      *Table[T]
	held       int     // how often Acquire gave it out
	gone       bool    // forgotten: no longer in the table
	prev, next *Ref[T] // in the ring of idle ones while held is 0
}

// New returns a table that keeps at most about limit values that nobody holds.
func New[T any](limit int) *Table[T] {
	t := &Table[T]{limit: max(1, (limit+shards-1)/shards)}
	for i := range t.shards {
		s := &t.shards[i]
		s.refs = make(map[fop.GFID]*Ref[T])
		s.idle.prev, s.idle.next = &s.idle, &s.idle
	}
	return t
}

func (t *Table[T]) shard(g fop.GFID) *shard[T] {
	return &t.shards[binary.LittleEndian.Uint64(g[8:])%shards]
}

// Acquire returns the value of g, a zero one if it is new. One Release must
// follow.
func (t *Table[T]) Acquire(g fop.GFID) *Ref[T] {
	s := t.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refs[g]
	if r == nil {
		r = &Ref[T]{GFID: g, home: s, table: t}
		s.refs[g] = r
	} else if r.held == 0 {
		s.take(r)
	}
	r.held++
	return r
}

// Peek is Acquire for a value that exists; nil if there is none.
func (t *Table[T]) Peek(g fop.GFID) *Ref[T] {
	s := t.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refs[g]
	if r == nil {
		return nil
	}
	if r.held == 0 {
		s.take(r)
	}
	r.held++
	return r
}

// Hold is a further Acquire of the same value.
func (r *Ref[T]) Hold() *Ref[T] {
	r.home.mu.Lock()
	defer r.home.mu.Unlock()
	r.held++
	return r
}

// Release gives the hold back.
func (r *Ref[T]) Release() {
	s := r.home
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.held--; r.held < 0 {
		panic("inodes: released more often than acquired")
	}
	if r.held > 0 || r.gone {
		return
	}
	last := s.idle.prev
	r.prev, r.next = last, &s.idle
	last.next, s.idle.prev = r, r
	if s.free++; s.free > r.table.limit {
		old := s.idle.next
		s.take(old)
		delete(s.refs, old.GFID)
		r.table.dropped(old)
	}
}

// Forget drops the value of g: the next Acquire makes a new one. Those who hold
// the old one keep it, so forget only what carries no state that the next one
// must share.
func (t *Table[T]) Forget(g fop.GFID) {
	s := t.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refs[g]
	if r == nil {
		return
	}
	if r.held == 0 {
		s.take(r)
	}
	r.gone = true
	delete(s.refs, g)
	t.dropped(r)
}

func (t *Table[T]) dropped(r *Ref[T]) {
	if t.Dropped != nil {
		t.Dropped(&r.V)
	}
}

// Range calls f with every value, in no order, until f returns false. The
// value is held during the call.
func (t *Table[T]) Range(f func(*Ref[T]) bool) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		all := make([]*Ref[T], 0, len(s.refs))
		for _, r := range s.refs {
			if r.held == 0 {
				s.take(r)
			}
			r.held++
			all = append(all, r)
		}
		s.mu.Unlock()
		on := true
		for _, r := range all {
			if on {
				on = f(r)
			}
			r.Release()
		}
		if !on {
			return
		}
	}
}

// Len returns the number of values, held or not.
func (t *Table[T]) Len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += len(t.shards[i].refs)
		t.shards[i].mu.Unlock()
	}
	return n
}

// take removes r from the ring of idle ones.
func (s *shard[T]) take(r *Ref[T]) {
	r.prev.next, r.next.prev = r.next, r.prev
	r.prev, r.next = nil, nil
	s.free--
}
