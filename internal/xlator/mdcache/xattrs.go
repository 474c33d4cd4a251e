package mdcache

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// maxAsked bounds the names that lookups ask for.
const maxAsked = 16

// askedNames are the extended attributes that somebody asked for: who asks for
// one, as a kernel does for security.capability before each write, will ask for
// it of other objects too.
type askedNames struct {
	mu    sync.Mutex
	names atomic.Pointer[[]string]
}

func (a *askedNames) list() []string {
	if p := a.names.Load(); p != nil {
		return *p
	}
	return nil
}

func (a *askedNames) add(name string) {
	if slices.Contains(a.list(), name) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	names := a.list()
	if len(names) >= maxAsked || slices.Contains(names, name) {
		return
	}
	names = append(names[:len(names):len(names)], strings.Clone(name))
	a.names.Store(&names)
}

// with returns d with what lookups ask for besides, d itself if that is nothing.
func (a *askedNames) with(c *config, d *fop.Dict) *fop.Dict {
	all := d
	for _, n := range a.list() {
		if !c.caches(n) || all.Has(n) {
			continue
		}
		if all == d {
			all = d.Clone()
		}
		all.Append(n, fop.Int(0))
	}
	return all
}

// find returns what is known of an extended attribute, nil if that is nothing.
func (o *object) find(name string) *xattr {
	for i := range o.xattrs {
		if o.xattrs[i].name == name {
			return &o.xattrs[i]
		}
	}
	return nil
}

// serve reports whether x may be served. o.mu is held.
func (x *xattr) serve(o *object, st start) bool {
	return st.at < x.until && x.epoch == st.epoch && x.links == st.links && !o.xver.Changing()
}

// xattrInto puts what is known of an extended attribute into a reply to a
// lookup; false if nothing may be served. o.mu is held.
func (m *mdCache) xattrInto(c *config, o *object, name string, st start, reply *fop.LookupReply) bool {
	x := o.find(name)
	if x == nil || !x.serve(o, st) || !c.caches(name) {
		return false
	}
	if x.there {
		if reply.XData == nil {
			reply.XData = fop.NewDict()
		}
		reply.XData.Append(x.name, x.val)
	}
	return true
}

// learnXattrs takes what a reply tells of the extended attributes of g that were
// asked for.
func (m *mdCache) learnXattrs(c *config, st start, g fop.GFID, asked, got *fop.Dict) {
	any := false
	for _, p := range asked.Pairs() {
		any = any || c.caches(p.Key)
	}
	if !any || g.IsZero() {
		return
	}
	r := m.object(g)
	o := &r.V
	o.mu.Lock()
	if o.xver.Learn(&m.clock, st.clock) == inodes.Keep {
		for _, p := range asked.Pairs() {
			if c.caches(p.Key) {
				val, there := got.Get(p.Key)
				o.setXattr(p.Key, val, there, st, c)
			}
		}
	} else {
		o.xver.Void(&m.clock)
		o.xattrs = nil
	}
	o.mu.Unlock()
	r.Release()
}

// setXattr has the cache serve an extended attribute. o.mu is held.
func (o *object) setXattr(name string, val fop.Value, there bool, st start, c *config) {
	x := o.find(name)
	if x == nil {
		if len(o.xattrs) >= maxXattrs {
			return
		}
		o.xattrs = append(o.xattrs, xattr{name: strings.Clone(name)})
		x = &o.xattrs[len(o.xattrs)-1]
	}
	x.there, x.val, x.epoch, x.links, x.until = there, fop.Value{}, st.epoch, st.links, st.at+int64(c.timeout)
	if there {
		b := val.Bytes()
		if len(b) > maxXattr {
			x.until = 0
			return
		}
		x.val = fop.Raw(val.Type, slices.Clone(b))
	}
}

// getxattr answers a question for one extended attribute.
func (m *mdCache) getxattr(ctx context.Context, c *config, req fop.Request, g fop.GFID, name string) (fop.Reply, error) {
	if name == "" || req.Head().XData.Len() > 0 || !c.caches(name) {
		return m.child.Do(ctx, req)
	}
	g = target(req, g)
	m.asked.add(name)
	st := m.start()
	r := m.object(g)
	defer r.Release()
	o := &r.V
	o.mu.Lock()
	if x := o.find(name); x != nil && x.serve(o, st) && m.mayAsk(o, x, &req.Head().Cred, st) {
		there, val := x.there, x.val
		o.mu.Unlock()
		m.xhits.Add(1)
		if !there {
			return nil, syscall.ENODATA
		}
		return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: x.name, Val: val}), Size: int32(len(val.Bytes()))}, nil
	}
	o.mu.Unlock()
	m.xmisses.Add(1)
	reply, err := m.child.Do(ctx, req)
	var val fop.Value
	there := false
	if a, ok := reply.(*fop.XattrReply); ok && err == nil {
		val, there = a.Dict.Get(name)
	}
	if err != nil && fop.Errno(err) != syscall.ENODATA {
		m.failed(req, err)
		return reply, err
	}
	o.mu.Lock()
	if o.xver.Learn(&m.clock, st.clock) == inodes.Keep {
		o.setXattr(name, val, there, st, c)
	} else {
		o.xver.Void(&m.clock)
		o.xattrs = nil
	}
	o.mu.Unlock()
	return reply, err
}

// mayAsk reports whether a caller may read an extended attribute for sure. Those
// of "user." can be read by who can read the file, all others by everybody, as
// far as bricks are concerned. o.mu is held.
func (m *mdCache) mayAsk(o *object, x *xattr, cred *fop.Cred, st start) bool {
	if !strings.HasPrefix(x.name, "user.") || cred.UID == 0 {
		return true
	}
	return o.serve(st, false) && cred.UID == o.attr.UID && o.attr.Mode&0o400 != 0
}
