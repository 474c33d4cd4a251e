package distribute

import (
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// names remembers for a moment which file a name is, and that a name is not
// there, from what was looked up or made. Requests to remove or rename a name
// do not say what it is; with this, what was just looked up is not looked up
// again. It is no older than what kernels keep of GlusterFS's answers.
type names struct {
	shards [nameShards]nameShard
}

type nameShard struct {
	mu  sync.Mutex
	now map[entryName]known
	// old are those from before; they go when now has become large, so that
	// no more than 2*nameLimit are kept.
	old map[entryName]known
}

const (
	nameShards = 16
	nameLimit  = 1 << 12 // per shard
	nameAge    = time.Second
)

// known is what is remembered of a name: a file, or with a nil at nothing.
type known struct {
	gfid  fop.GFID
	at    *subvol // the cached subvolume
	until int64   // Unix nanoseconds
}

func (n *names) shard(k entryName) *nameShard {
	h := uint32(k.parent[15])
	for i := 0; i < len(k.name); i++ {
		h = h*31 + uint32(k.name[i])
	}
	return &n.shards[h%nameShards]
}

func (n *names) put(k entryName, v known) {
	v.until = time.Now().Add(nameAge).UnixNano()
	s := n.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || len(s.now) >= nameLimit {
		s.old, s.now = s.now, make(map[entryName]known)
	}
	s.now[k] = v
	delete(s.old, k)
}

func (n *names) get(k entryName) (known, bool) {
	s := n.shard(k)
	s.mu.Lock()
	v, ok := s.now[k]
	if !ok {
		v, ok = s.old[k]
	}
	s.mu.Unlock()
	return v, ok && time.Now().UnixNano() < v.until
}

func (n *names) forget(k entryName) {
	s := n.shard(k)
	s.mu.Lock()
	delete(s.now, k)
	delete(s.old, k)
	s.mu.Unlock()
}

// sawName remembers that a name is a file and where its data is.
func (d *distribute) sawName(parent fop.GFID, name string, gfid fop.GFID, at *subvol) {
	d.names.put(entryName{parent, name}, known{gfid: gfid, at: at})
}

// dropName remembers that a name was looked for in all places where it could be
// and is not there, which takes all subvolumes.
func (d *distribute) dropName(parent fop.GFID, name string) {
	if d.allUp() {
		d.names.put(entryName{parent, name}, known{})
	} else {
		d.names.forget(entryName{parent, name})
	}
}

// forgetName drops what is known of a name.
func (d *distribute) forgetName(parent fop.GFID, name string) {
	d.names.forget(entryName{parent, name})
}
