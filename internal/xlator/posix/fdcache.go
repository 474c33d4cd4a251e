//go:build linux

package posix

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

// fdCache keeps descriptors of objects by GFID, the most recently used ones. A
// descriptor stays right when its object is renamed; it has to be dropped when
// the object is removed or its GFID goes to another.
type fdCache struct {
	shards [inodeShards]fdShard
}

type fdShard struct {
	mu    sync.Mutex
	all   map[fop.GFID]*held
	ring  held
	limit int
}

// held is a descriptor in use; put ends the use.
type held struct {
	fd         int
	gfid       fop.GFID
	dev, ino   uint64
	shard      *fdShard // nil: not in a cache, never closed by put
	refs       int
	cached     bool
	prev, next *held
}

func (c *fdCache) init(limit int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.all = make(map[fop.GFID]*held)
		s.ring.prev, s.ring.next = &s.ring, &s.ring
		s.limit = max(1, limit/inodeShards)
	}
}

func (c *fdCache) shard(g fop.GFID) *fdShard { return &c.shards[g[15]%inodeShards] }

func (c *fdCache) get(g fop.GFID) *held {
	s := c.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.all[g]
	if h != nil {
		h.refs++
		if s.ring.next != h {
			h.out()
			s.front(h)
		}
	}
	return h
}

// add caches fd, which the cache owns from now on, in place of what it had.
func (c *fdCache) add(g fop.GFID, fd int, st *unix.Stat_t) *held {
	s := c.shard(g)
	h := &held{fd: fd, gfid: g, shard: s, refs: 1, cached: true}
	if st != nil {
		h.dev, h.ino = uint64(st.Dev), st.Ino
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[g]; old != nil {
		s.remove(old)
	}
	s.all[g] = h
	s.front(h)
	for len(s.all) > s.limit && s.ring.prev != h {
		s.remove(s.ring.prev)
	}
	return h
}

func (c *fdCache) drop(g fop.GFID) {
	s := c.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.all[g]; h != nil {
		s.remove(h)
	}
}

func (c *fdCache) close() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, h := range s.all {
			s.remove(h)
		}
		s.mu.Unlock()
	}
}

func (c *fdCache) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.all)
		s.mu.Unlock()
	}
	return n
}

func (s *fdShard) front(h *held) {
	h.next, h.prev = s.ring.next, &s.ring
	h.next.prev, h.prev.next = h, h
}

func (h *held) out() {
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
}

func (s *fdShard) remove(h *held) {
	h.out()
	h.cached = false
	delete(s.all, h.gfid)
	if h.refs == 0 {
		unix.Close(h.fd)
	}
}

// put ends the use of h; nil is fine.
func (h *held) put() {
	if h == nil || h.shard == nil {
		return
	}
	h.shard.mu.Lock()
	defer h.shard.mu.Unlock()
	if h.refs--; h.refs == 0 && !h.cached {
		unix.Close(h.fd)
	}
}
