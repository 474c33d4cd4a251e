package fuse

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

// node is an inode that the kernel knows.
type node struct {
	id   uint64
	gfid fop.GFID

	// mode is the last that a brick told, with the type of the file.
	mode atomic.Uint32
	// changed is the number of the last change through this mount, see
	// bridge.changes.
	changed atomic.Uint64
	// writes counts what close(2) must ask the bricks about.
	writes atomic.Uint64
	// attr is, of a directory, what was last heard of it; removed says that it
	// was removed through this mount. Who still is in it sees that.
	attr    atomic.Pointer[fop.Iatt]
	removed atomic.Bool
	// locked says that a posix lock was taken through this mount.
	locked atomic.Bool

	home *nodeShard

	// Below here home.mu guards.
	lookups    uint64 // replies that named the node, less what was forgotten
	open       []*file
	dirs       []*dir
	parent     uint64 // a name of it that the kernel knows, the last one
	name       string
	prev, next *node // by last lookup, while it is in the table
	asked      bool  // the kernel has been asked to forget it
}

const nodeShards = 64

// nodes is the table of inodes. A node is there from the first reply that names
// it to the last FORGET. The low bits of its number are those of its shard.
type nodes struct {
	root  *node
	next  atomic.Uint64
	count atomic.Int64
	// limit is how many nodes a shard may have before spare hears of old ones.
	limit  int
	spare  func(*node)
	shards [nodeShards]nodeShard

	// dirs finds directories by their names.
	dirsMu sync.Mutex
	dirs   map[dirName]*node
}

type dirName struct {
	parent uint64
	name   string
}

type nodeShard struct {
	mu     sync.Mutex
	byID   map[uint64]*node
	byGFID map[fop.GFID]*node
	ring   node // head of the ring of nodes, longest unused next
	asked  int  // nodes with asked set
}

func newNodes(root fop.GFID, limit int, spare func(*node)) *nodes {
	t := &nodes{spare: spare, dirs: make(map[dirName]*node)}
	if limit > 0 {
		t.limit = max(1, limit/nodeShards)
	}
	for i := range t.shards {
		s := &t.shards[i]
		s.byID = make(map[uint64]*node)
		s.byGFID = make(map[fop.GFID]*node)
		s.ring.prev, s.ring.next = &s.ring, &s.ring
	}
	s := t.shard(root)
	t.root = &node{id: fuse.FUSE_ROOT_ID, gfid: root, home: s, lookups: 1}
	s.byGFID[root] = t.root
	t.root.mode.Store(fop.ModeDir)
	return t
}

func shardOf(g fop.GFID) uint64 { return binary.LittleEndian.Uint64(g[8:]) % nodeShards }

func (t *nodes) shard(g fop.GFID) *nodeShard { return &t.shards[shardOf(g)] }

// get returns the node with a number, nil if there is none.
func (t *nodes) get(id uint64) *node {
	if id == fuse.FUSE_ROOT_ID {
		return t.root
	}
	s := &t.shards[id%nodeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// find returns the node of an object, nil if the kernel does not know it.
func (t *nodes) find(g fop.GFID) *node {
	s := t.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byGFID[g]
}

// lookup returns the node of an object that is named to the kernel now, and
// counts that.
func (t *nodes) lookup(a *fop.Iatt, parent uint64, name string) *node {
	s := t.shard(a.GFID)
	s.mu.Lock()
	n := s.byGFID[a.GFID]
	if n == t.root {
		n.lookups++
		s.mu.Unlock()
		n.heard(a)
		return n
	}
	if n == nil {
		n = &node{id: t.next.Add(1)*nodeShards + shardOf(a.GFID), gfid: a.GFID, home: s}
		s.byID[n.id], s.byGFID[n.gfid] = n, n
		t.count.Add(1)
	} else {
		n.unlink()
	}
	n.link()
	n.lookups++
	if n.parent != parent || n.name != name {
		t.unname(n)
		n.parent, n.name = parent, name
	}
	if n.asked {
		n.asked = false
		s.asked--
	}
	var old *node
	if t.limit > 0 && len(s.byID)-s.asked > t.limit {
		old = s.oldest()
	}
	s.mu.Unlock()
	n.heard(a)
	if a.IsDir() {
		t.dirsMu.Lock()
		t.dirs[dirName{parent, name}] = n
		t.dirsMu.Unlock()
	}
	if old != nil {
		t.spare(old)
	}
	return n
}

// heard notes what a brick says of an object.
func (n *node) heard(a *fop.Iatt) {
	n.mode.Store(a.Mode)
	if a.IsDir() {
		kept := *a
		n.attr.Store(&kept)
	}
}

// dir returns the directory with a name, if the kernel knows it by that.
func (t *nodes) dir(parent uint64, name string) *node {
	t.dirsMu.Lock()
	defer t.dirsMu.Unlock()
	return t.dirs[dirName{parent, name}]
}

// renamed notes the name that an object has now, and returns its node, if any.
func (t *nodes) renamed(g fop.GFID, parent uint64, name string) *node {
	s := t.shard(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byGFID[g]
	if n != nil {
		t.unname(n)
		n.parent, n.name = parent, name
		if n.mode.Load()&fop.ModeFmt == fop.ModeDir {
			t.dirsMu.Lock()
			t.dirs[dirName{parent, name}] = n
			t.dirsMu.Unlock()
		}
	}
	return n
}

// unname takes a directory from the names. home.mu must be held.
func (t *nodes) unname(n *node) {
	if n.mode.Load()&fop.ModeFmt != fop.ModeDir {
		return
	}
	t.dirsMu.Lock()
	defer t.dirsMu.Unlock()
	if key := (dirName{n.parent, n.name}); t.dirs[key] == n {
		delete(t.dirs, key)
	}
}

// forget takes count replies back. What is left of the count is impossible,
// should the kernel forget too much, and drops the node as well.
func (t *nodes) forget(id, count uint64) {
	if id == fuse.FUSE_ROOT_ID {
		return
	}
	s := &t.shards[id%nodeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byID[id]
	if n == nil {
		return
	}
	if n.lookups > count {
		n.lookups -= count
		return
	}
	n.lookups = 0
	n.unlink()
	if n.asked {
		s.asked--
	}
	t.unname(n)
	delete(s.byID, id)
	delete(s.byGFID, n.gfid)
	t.count.Add(-1)
}

// len returns the number of nodes without the root.
func (t *nodes) len() int { return int(t.count.Load()) }

// outstanding is how many nodes the kernel was asked to forget and has not.
func (t *nodes) outstanding() int {
	sum := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		sum += s.asked
		s.mu.Unlock()
	}
	return sum
}

// each calls f with every node but the root, a shard at a time.
func (t *nodes) each(f func(*node)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		all := make([]*node, 0, len(s.byID))
		for _, n := range s.byID {
			all = append(all, n)
		}
		s.mu.Unlock()
		for _, n := range all {
			f(n)
		}
	}
}

// oldest finds the node that the kernel shall be asked to forget next, marks it,
// and moves it to the end. Few are looked at: those in use are many only if
// there is little to win.
func (s *nodeShard) oldest() *node {
	for range 8 {
		n := s.ring.next
		if n == &s.ring {
			return nil
		}
		n.unlink()
		n.link()
		if n.asked || len(n.open)+len(n.dirs) > 0 {
			continue
		}
		n.asked = true
		s.asked++
		return n
	}
	return nil
}

// unask takes back that the kernel was asked to forget n.
func (n *node) unask() {
	n.home.mu.Lock()
	defer n.home.mu.Unlock()
	if n.asked {
		n.asked = false
		n.home.asked--
	}
}

func (n *node) unlink() {
	if n.prev != nil {
		n.prev.next, n.next.prev = n.next, n.prev
		n.prev, n.next = nil, nil
	}
}

func (n *node) link() {
	last := n.home.ring.prev
	n.prev, n.next = last, &n.home.ring
	last.next, n.home.ring.prev = n, n
}

// entry returns a name of the node that the kernel knows.
func (n *node) entry() (parent uint64, name string) {
	n.home.mu.Lock()
	defer n.home.mu.Unlock()
	return n.parent, n.name
}

// addOpen and dropOpen keep the open files of a node, addDir and dropDir the open
// directories.
func (n *node) addOpen(f *file) {
	n.home.mu.Lock()
	defer n.home.mu.Unlock()
	n.open = append(n.open, f)
}

func (n *node) dropOpen(f *file) {
	n.home.mu.Lock()
	defer n.home.mu.Unlock()
	n.open = without(n.open, f)
}

func (n *node) addDir(d *dir) {
	n.home.mu.Lock()
	defer n.home.mu.Unlock()
	n.dirs = append(n.dirs, d)
}

func (n *node) dropDir(d *dir) {
	n.home.mu.Lock()
	defer n.home.mu.Unlock()
	n.dirs = without(n.dirs, d)
}

func without[T comparable](all []T, x T) []T {
	if i := slices.Index(all, x); i >= 0 {
		return slices.Delete(all, i, i+1)
	}
	return all
}

// anyOpen returns an open file of the node, nil if there is none. It is held
// until let go.
func (n *node) anyOpen() *file {
	n.home.mu.Lock()
	defer n.home.mu.Unlock()
	for _, f := range n.open {
		if f.hold() {
			return f
		}
	}
	return nil
}
