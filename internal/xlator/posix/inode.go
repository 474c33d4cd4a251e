package posix

import (
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

// inode is what we remember of one object. Losing it costs system calls, not
// correctness, except while it is held (refs > 0).
type inode struct {
	gfid fop.GFID

	handle sync.Mutex
	op     sync.Mutex

	mu       sync.Mutex
	times    fop.Mdata
	known    bool // times and hasTimes are what is on disk
	hasTimes bool
	handled  bool // the handle was seen in its place
	unlinked bool // its data is in .glusterfs/unlink
	fds      int  // open files of clients

	refs       int // guarded by the shard
	prev, next *inode
}

const inodeShards = 16

// inodeTable keeps the inodes that are held, and of the others the most
// recently used ones.
type inodeTable struct {
	shards [inodeShards]inodeShard
}

type inodeShard struct {
	mu    sync.Mutex
	all   map[fop.GFID]*inode
	idle  inode // ring of those with refs 0, most recent first
	nidle int
	limit int
}

func (t *inodeTable) init(limit int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.all = make(map[fop.GFID]*inode)
		s.idle.prev, s.idle.next = &s.idle, &s.idle
		s.limit = max(1, limit/inodeShards)
	}
}

func (t *inodeTable) shard(g fop.GFID) *inodeShard { return &t.shards[g[15]%inodeShards] }

// get returns the inode of g, held until put.
func (t *inodeTable) get(g fop.GFID) *inode {
	s := t.shard(g)
	s.mu.Lock()
	in := s.all[g]
	if in == nil {
		in = &inode{gfid: g}
		s.all[g] = in
	} else if in.refs == 0 {
		in.unlink()
		s.nidle--
	}
	in.refs++
	s.mu.Unlock()
	return in
}

// peek returns the inode of g, held until put, or nil if it is not in memory.
func (t *inodeTable) peek(g fop.GFID) *inode {
	s := t.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.all[g]
	if in != nil {
		if in.refs == 0 {
			in.unlink()
			s.nidle--
		}
		in.refs++
	}
	return in
}

func (in *inode) unlink() {
	in.prev.next, in.next.prev = in.next, in.prev
	in.prev, in.next = nil, nil
}

// put ends a get; nil is fine.
func (t *inodeTable) put(in *inode) {
	if in == nil {
		return
	}
	s := t.shard(in.gfid)
	s.mu.Lock()
	defer s.mu.Unlock()
	in.refs--
	if in.refs > 0 {
		return
	}
	in.next, in.prev = s.idle.next, &s.idle
	in.next.prev, in.prev.next = in, in
	s.nidle++
	for s.nidle > s.limit {
		old := s.idle.prev
		old.unlink()
		s.nidle--
		delete(s.all, old.gfid)
	}
}

// count returns the numbers of inodes in memory and of those held.
func (t *inodeTable) count() (all, held int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		all += len(s.all)
		held += len(s.all) - s.nidle
		s.mu.Unlock()
	}
	return all, held
}

// reset forgets what was known of an object that is gone or new.
func (in *inode) reset() {
	in.mu.Lock()
	in.known, in.hasTimes, in.handled = false, false, false
	in.mu.Unlock()
}

// fresh notes that the object has just been made: it has no times yet.
func (in *inode) fresh() {
	in.mu.Lock()
	in.known, in.hasTimes, in.handled = true, false, false
	in.mu.Unlock()
}
