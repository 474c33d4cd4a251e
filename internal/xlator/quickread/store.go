package quickread

import (
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

// overhead is what an item takes beside its contents.
const overhead = 512

// store has the contents that may be served, by gfid.
type store struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	all   map[fop.GFID]*item
	ring  item // of all, the least recently used one next
}

// item is the contents of one file.
type item struct {
	gfid       fop.GFID
	data       []byte // never changed
	stat       fop.Iatt
	until      int64
	used       bool     // somebody read it
	dir        fop.GFID // where it was looked up by guess; zero if it was asked for
	prev, next *item
}

func (s *store) init() {
	s.all = map[fop.GFID]*item{}
	s.ring.prev, s.ring.next = &s.ring, &s.ring
}

// get returns the contents of a file if they may be served; first says that
// nobody has read them before.
func (s *store) get(g fop.GFID, now int64) (data []byte, stat fop.Iatt, dir fop.GFID, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.all[g]
	if i == nil || now >= i.until {
		return nil, stat, dir, false
	}
	if !i.used {
		i.used, dir = true, i.dir
	}
	s.unlink(i)
	s.link(i)
	return i.data, i.stat, dir, true
}

// put keeps contents, and drops others if there are too many.
func (s *store) put(n item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.all[n.gfid]; i != nil {
		s.remove(i)
	}
	if n.size() > s.limit {
		return
	}
	i := &n
	s.all[i.gfid] = i
	s.bytes += i.size()
	s.link(i)
	s.trim()
}

// same has contents served longer if stat shows that they are what they were;
// false if it shows that they are not. Nothing known counts as the same.
func (s *store) same(c *config, stat *fop.Iatt, until int64, longer bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.all[stat.GFID]
	if i == nil {
		return true
	}
	if !c.same(&i.stat, stat) {
		s.remove(i)
		return false
	}
	if longer {
		i.stat, i.until = *stat, max(i.until, until)
	}
	return true
}

func (s *store) drop(g fop.GFID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.all[g]; i != nil {
		s.remove(i)
	}
}

func (s *store) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.all)
	s.bytes = 0
	s.ring.prev, s.ring.next = &s.ring, &s.ring
}

func (s *store) setLimit(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
	s.trim()
}

func (s *store) figures() (files int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.bytes
}

func (s *store) trim() {
	for s.bytes > s.limit {
		s.remove(s.ring.next)
	}
}

func (s *store) remove(i *item) {
	s.unlink(i)
	delete(s.all, i.gfid)
	s.bytes -= i.size()
}

func (s *store) link(i *item) {
	last := s.ring.prev
	i.prev, i.next = last, &s.ring
	last.next, s.ring.prev = i, i
}

func (s *store) unlink(i *item) { i.prev.next, i.next.prev = i.next, i.prev }

func (i *item) size() int64 { return int64(len(i.data)) + overhead }
