package mdcache

import (
	"hash/maphash"
	"strings"
	"sync"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// maxNames is how many names are remembered.
const maxNames = 1 << 16

const nameShards = 256

// names remembers what names lead to. Changes and what is learned are put in
// order per shard, which costs an answer now and then where two names of one
// shard are used at the same time, and needs no memory per name.
type names struct {
	clock  *inodes.Clock
	seed   maphash.Seed
	shards [nameShards]nameShard
}

type nameShard struct {
	mu   sync.Mutex
	ver  inodes.Version
	all  map[nameKey]*name
	ring name // of all, the least recently used one next
}

type nameKey struct {
	dir  fop.GFID
	name string
}

// name is what is known of a name.
type name struct {
	key        nameKey
	gfid       fop.GFID
	dirGen     uint64 // object.dirGen of the directory, then
	epoch      uint64
	until      int64
	creds      [4]uint64 // who looked it up; 0 for none
	prev, next *name
}

func (n *names) init(clock *inodes.Clock) {
	n.clock, n.seed = clock, maphash.MakeSeed()
	for i := range n.shards {
		s := &n.shards[i]
		s.all = map[nameKey]*name{}
		s.ring.prev, s.ring.next = &s.ring, &s.ring
	}
}

func (n *names) shard(dir fop.GFID, base string) *nameShard {
	h := maphash.String(n.seed, base)
	for _, b := range dir[8:] {
		h = h*31 + uint64(b)
	}
	return &n.shards[h%nameShards]
}

// get returns what is known of a name, if it may be served to cred; the caller
// checks dirGen.
func (n *names) get(dir fop.GFID, base string, cred uint64, now int64, epoch uint64) (g fop.GFID, dirGen uint64, ok bool) {
	s := n.shard(dir, base)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[nameKey{dir, base}]
	if e == nil || now >= e.until || e.epoch != epoch || !e.seenBy(cred) {
		return g, 0, false
	}
	s.touch(e)
	return e.gfid, e.dirGen, true
}

// guess returns what a name led to when it was seen last, however old that is; a
// zero gfid if nothing was there.
func (n *names) guess(dir fop.GFID, base string) (fop.GFID, bool) {
	s := n.shard(dir, base)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.all[nameKey{dir, base}]; e != nil {
		return e.gfid, true
	}
	return fop.GFID{}, false
}

// found takes what a request that began at start has found.
func (n *names) found(dir fop.GFID, base string, g fop.GFID, cred uint64, dirGen uint64, st start, until int64) {
	s := n.shard(dir, base)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[nameKey{dir, base}]
	if s.ver.Learn(n.clock, st.clock) == inodes.Compare {
		if e != nil && e.gfid != g {
			s.ver.Void(n.clock)
			e.until = 0
		}
		return
	}
	s.put(e, dir, base, g, cred, dirGen, st, until)
}

func (s *nameShard) put(e *name, dir fop.GFID, base string, g fop.GFID, cred, dirGen uint64, st start, until int64) {
	if e == nil {
		e = &name{key: nameKey{dir, strings.Clone(base)}}
		if len(s.all) >= maxNames/nameShards {
			s.remove(s.ring.next)
		}
		s.all[e.key] = e
	} else {
		e.prev.next, e.next.prev = e.next, e.prev
	}
	last := s.ring.prev
	e.prev, e.next = last, &s.ring
	last.next, s.ring.prev = e, e
	valid := e.gfid == g && e.dirGen == dirGen && e.epoch == st.epoch && st.at < e.until
	e.gfid, e.dirGen, e.epoch = g, dirGen, st.epoch
	if valid && !e.seenBy(cred) {
		// Those before are not served longer because of this one.
		copy(e.creds[1:], e.creds[:])
		e.creds[0] = cred
		return
	}
	e.until, e.creds = until, [4]uint64{cred}
}

// begin tells that a name is about to be changed; end must follow.
func (n *names) begin(dir fop.GFID, base string) (token uint64) {
	s := n.shard(dir, base)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.all[nameKey{dir, base}]; e != nil {
		e.until = 0
	}
	return s.ver.Begin(n.clock)
}

// end tells that the change is done, and what the name leads to now, if that is
// known: a zero gfid if not, or if it was removed.
func (n *names) end(token uint64, dir fop.GFID, base string, g fop.GFID, removed bool, cred, dirGen uint64, st start, until int64) {
	s := n.shard(dir, base)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[nameKey{dir, base}]
	switch alone := s.ver.End(n.clock, token); {
	case alone && !g.IsZero():
		s.put(e, dir, base, g, cred, dirGen, st, until)
	case alone && removed:
		s.put(e, dir, base, g, 0, 0, st, 0)
	case e != nil:
		e.until = 0
		if !g.IsZero() {
			e.gfid = g
		}
	case !g.IsZero():
		s.put(nil, dir, base, g, cred, dirGen, st, 0) // to know what an unlink is about
	}
}

// missing tells that a request that began at st found nothing there.
func (n *names) missing(dir fop.GFID, base string, st start) {
	s := n.shard(dir, base)
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.ver.Unchanged(n.clock, st.clock)
	s.ver.Void(n.clock)
	e := s.all[nameKey{dir, base}]
	switch {
	case ok: // to know that a rename to it replaces nothing
		s.put(e, dir, base, fop.GFID{}, 0, 0, st, 0)
	case e != nil:
		e.until = 0
	}
}

func (s *nameShard) touch(e *name) {
	e.prev.next, e.next.prev = e.next, e.prev
	last := s.ring.prev
	e.prev, e.next = last, &s.ring
	last.next, s.ring.prev = e, e
}

func (s *nameShard) remove(e *name) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(s.all, e.key)
}

func (n *names) len() (count int) {
	for i := range n.shards {
		n.shards[i].mu.Lock()
		count += len(n.shards[i].all)
		n.shards[i].mu.Unlock()
	}
	return count
}

func (e *name) seenBy(cred uint64) bool {
	return e.creds[0] == cred || e.creds[1] == cred || e.creds[2] == cred || e.creds[3] == cred
}

// credID stands for what bricks look at to permit something: 64 bits that cannot
// be steered from outside, and never 0.
func (n *names) credID(c *fop.Cred) uint64 {
	h := maphash.Comparable(n.seed, [3]uint32{c.UID, c.GID, uint32(len(c.Groups))})
	for i := 0; i < len(c.Groups); i += 2 {
		pair := [4]uint32{uint32(h), uint32(h >> 32), c.Groups[i]}
		if i+1 < len(c.Groups) {
			pair[3] = c.Groups[i+1]
		}
		h = maphash.Comparable(n.seed, pair)
	}
	return h | 1
}
