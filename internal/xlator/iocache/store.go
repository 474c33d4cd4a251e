package iocache

import (
	"slices"
	"sync"
)

// store has all pages in the order in which they are dropped: by priority, and
// within one by when they were used last.
type store struct {
	mu    sync.Mutex
	most  int64
	bytes int64
	count int
	rings []*ring // by rising priority
}

// ring has the pages of one priority, the one used longest ago first.
type ring struct {
	level int
	head  page // prev is the one used last, next the one used longest ago
}

func (s *store) init() { s.most = 32 << 20 }

// limit sets how many bytes are kept.
func (s *store) limit(most int64) {
	s.mu.Lock()
	s.most = most
	s.mu.Unlock()
}

func (s *store) stats() (pages int, bytes, most int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.bytes, s.most
}

func (s *store) ring(level int) *ring {
	i, ok := slices.BinarySearchFunc(s.rings, level, func(r *ring, level int) int { return r.level - level })
	if !ok {
		r := &ring{level: level}
		r.head.prev, r.head.next = &r.head, &r.head
		s.rings = slices.Insert(s.rings, i, r)
	}
	return s.rings[i]
}

func (r *ring) push(p *page) {
	last := r.head.prev
	p.prev, p.next = last, &r.head
	last.next, r.head.prev = p, p
}

func (p *page) unlink() {
	p.prev.next, p.next.prev = p.next, p.prev
	p.prev, p.next = nil, nil
}

func (s *store) add(p *page) {
	s.mu.Lock()
	s.ring(p.level).push(p)
	s.bytes += int64(cap(p.data))
	s.count++
	s.mu.Unlock()
}

// use notes that a page was used.
func (s *store) use(p *page) {
	s.mu.Lock()
	if p.next != nil {
		p.unlink()
		s.ring(p.level).push(p)
	}
	s.mu.Unlock()
}

// remove takes a page out and reports whether it was there: of two who drop a
// page one gives its hold on the object back.
func (s *store) remove(p *page) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(p)
}

func (s *store) take(p *page) bool {
	if p.next == nil {
		return false
	}
	p.unlink()
	s.bytes -= int64(cap(p.data))
	s.count--
	return true
}

// victim takes out the page that has to go next, nil if none has to.
func (s *store) victim() *page {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes <= s.most {
		return nil
	}
	for _, r := range s.rings {
		if p := r.head.next; p != &r.head {
			s.take(p)
			return p
		}
	}
	return nil
}
