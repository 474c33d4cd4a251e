package mdcache

import (
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// maxObjects is how many objects are remembered.
const maxObjects = 1 << 16

// object is what is known of one object.
type object struct {
	mu sync.Mutex

	// Attributes. attr is what was seen last, though it may be void.
	ver   inodes.Version
	attr  fop.Iatt
	epoch uint64
	links uint64 // mdCache.links, then
	until int64  // 0: void
	mine  bool   // changed through this client since attr was seen
	// content: the file's contents came along with a lookup, and are good as
	// long as the attributes.
	content bool

	// dirGen changes when names in this directory, or who may pass it, can have
	// changed without a name of it being named. Numbers are never used twice.
	dirGen atomic.Uint64

	xver   inodes.Version
	xattrs []xattr
}

// xattr is what is known of one extended attribute.
type xattr struct {
	name  string
	val   fop.Value
	there bool
	until int64
	epoch uint64
	links uint64
}

// maxXattrs bounds the extended attributes of one object, maxXattr the size of one.
const (
	maxXattrs = 32
	maxXattr  = 4096
)

// start is the beginning of a request.
type start struct {
	clock, epoch, links uint64
	at                  int64 // see mdCache.now
}

// full reports whether a reply has all attributes of an object.
func full(a *fop.Iatt) bool {
	const need = fop.IattType | fop.IattMode | fop.IattNlink | fop.IattUID | fop.IattGID | fop.IattMtime | fop.IattCtime | fop.IattSize
	return a.Flags&need == need && !a.GFID.IsZero()
}

// same reports whether two sets of attributes are of one moment, as far as that
// can be told. A read may change the time of access at any time.
func same(a, b *fop.Iatt) bool {
	return a.Mtime == b.Mtime && a.Ctime == b.Ctime && a.Size == b.Size && a.Mode == b.Mode && a.Nlink == b.Nlink &&
		a.UID == b.UID && a.GID == b.GID && a.Atime == b.Atime && a.Blocks == b.Blocks
}

// object returns what is known of g; Release must follow.
func (m *mdCache) object(g fop.GFID) *inodes.Ref[object] {
	r := m.objects.Acquire(g)
	if r.V.dirGen.Load() == 0 {
		r.V.dirGen.CompareAndSwap(0, m.gens.Add(1))
	}
	return r
}

// learn takes attributes of a reply to a request that began at st.
func (m *mdCache) learn(c *config, st start, a *fop.Iatt, content bool) {
	if !full(a) {
		return
	}
	r := m.object(a.GFID)
	o := &r.V
	o.mu.Lock()
	var tell bool
	switch o.ver.Learn(&m.clock, st.clock) {
	case inodes.Keep:
		tell = o.foreign(a)
		o.keep(a, st, c)
		o.content = content
	case inodes.Compare:
		if o.until != 0 && !same(&o.attr, a) {
			o.ver.Void(&m.clock)
			tell = o.foreign(a)
			o.until = 0
		}
	}
	o.mu.Unlock()
	r.Release()
	if tell && c.tell {
		m.tellOfChange(a)
	}
}

// keep has the cache serve a.
func (o *object) keep(a *fop.Iatt, st start, c *config) {
	o.attr, o.epoch, o.links, o.mine = *a, st.epoch, st.links, false
	if o.until = st.at + int64(c.timeout); c.timeout == 0 {
		o.until = 0
	}
}

// foreign reports whether a shows that somebody else changed the contents.
func (o *object) foreign(a *fop.Iatt) bool {
	return !o.mine && !o.attr.GFID.IsZero() && a.IsRegular() && (o.attr.Mtime != a.Mtime || o.attr.Size != a.Size)
}

// tellOfChange tells those above, who may cache contents, that an object was
// changed by somebody else.
func (m *mdCache) tellOfChange(a *fop.Iatt) {
	m.notify(fop.Event{Kind: fop.EventUpcall, From: m.name, Upcall: &fop.Upcall{
		Kind: fop.UpcallInvalidate, GFID: a.GFID, Flags: fop.InvalSize | fop.InvalTimes, Stat: *a}})
}

// serve reports whether the attributes may be served. After a name was removed
// that led nobody knows where, those of an object with one name may be served to
// who found it by a name: it was not that one.
func (o *object) serve(st start, named bool) bool {
	return st.at < o.until && o.epoch == st.epoch && !o.ver.Changing() &&
		(o.links == st.links || named && (o.attr.Nlink == 1 || o.attr.IsDir()))
}

// cached returns the attributes of g if they may be served; with open those of an
// object, too, that has no name any more and lives as long as it is open.
func (m *mdCache) cached(g fop.GFID, st start, open bool, to *fop.Iatt) bool {
	r := m.objects.Peek(g)
	if r == nil {
		return false
	}
	o := &r.V
	o.mu.Lock()
	ok := o.serve(st, false) && (open || o.attr.Nlink > 0)
	if ok {
		*to = o.attr
	}
	o.mu.Unlock()
	r.Release()
	return ok
}

// gone makes void what is known of an object that a brick does not know.
func (m *mdCache) gone(g fop.GFID) { m.void(g, true, false) }

// void tells of a change to g that was made elsewhere, or is not known closely:
// its attributes, with all also its extended attributes, with names what names
// it has in it.
func (m *mdCache) void(g fop.GFID, all, names bool) {
	if g.IsZero() {
		return
	}
	r := m.object(g)
	o := &r.V
	o.mu.Lock()
	o.ver.Void(&m.clock)
	o.until = 0
	if all {
		o.xver.Void(&m.clock)
		o.xattrs = nil
	}
	if names {
		o.dirGen.Store(m.gens.Add(1))
	}
	o.mu.Unlock()
	r.Release()
}

// What a change is about.
type what int

const (
	aboutData  what = 1 << iota // contents and size: file capabilities may go
	aboutXattr                  // extended attributes
	aboutNames                  // who may pass a directory
)

// change is a change under way.
type change struct {
	m        *mdCache
	r        *inodes.Ref[object]
	st       start
	token    uint64
	xtoken   uint64
	what     what
	xchanges bool
}

// begin tells that g is about to be changed; end must follow.
func (m *mdCache) begin(g fop.GFID, w what, st start) change {
	c := change{m: m, r: m.object(g), st: st, what: w}
	o := &c.r.V
	o.mu.Lock()
	c.token = o.ver.Begin(&m.clock)
	o.until, o.mine = 0, true
	// A write takes capabilities away, but makes none.
	c.xchanges = w&aboutXattr != 0 || w&aboutData != 0 && o.hasXattr("security.")
	if c.xchanges {
		c.xtoken = o.xver.Begin(&m.clock)
		o.xattrs = nil
	}
	if w&aboutNames != 0 {
		o.dirGen.Store(m.gens.Add(1))
	}
	o.mu.Unlock()
	return c
}

// hasXattr reports whether an extended attribute that begins so is there.
func (o *object) hasXattr(head string) bool {
	for i := range o.xattrs {
		if x := &o.xattrs[i]; x.there && len(x.name) > len(head) && x.name[:len(head)] == head {
			return true
		}
	}
	return false
}

// end tells that the change is done; post, if all of it came, is what it left.
func (c *change) end(conf *config, post *fop.Iatt) {
	m, o := c.m, &c.r.V
	o.mu.Lock()
	alone := o.ver.End(&m.clock, c.token)
	switch {
	case alone && post != nil && post.GFID == c.r.GFID && full(post):
		o.keep(post, c.st, conf)
		o.content = false
	default:
		o.until = 0
	}
	if c.xchanges {
		o.xver.End(&m.clock, c.xtoken)
		o.xattrs = nil
	}
	if c.what&aboutNames != 0 {
		o.dirGen.Store(m.gens.Add(1))
	}
	o.mu.Unlock()
	c.r.Release()
}
