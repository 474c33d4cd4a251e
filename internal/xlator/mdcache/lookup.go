package mdcache

import (
	"context"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// lookup answers a lookup, or takes what a brick answers. A request for a key
// that is not kept, as "glusterfs.skip-cache", gets the brick's own word.
func (m *mdCache) lookup(ctx context.Context, c *config, r *fop.Lookup) (fop.Reply, error) {
	st := m.start()
	cred := uint64(0)
	dirGen := uint64(0)
	g := r.GFID
	known := r.Name == ""
	if r.Name != "" {
		cred = m.names.credID(&r.Cred)
		dirGen = m.dirGen(r.Parent)
		var gen uint64
		if g, gen, known = m.names.get(r.Parent, r.Name, cred, st.at, st.epoch); known {
			known = gen == dirGen
		}
	}
	if known {
		if reply := m.serveLookup(c, r, g, st); reply != nil {
			m.hits.Add(1)
			return reply, nil
		}
	}
	m.misses.Add(1)
	q := r
	asked := m.asked.with(c, r.XData)
	if asked != r.XData {
		p := *r
		p.XData = asked
		q = &p
	}
	reply, err := fop.Call(ctx, m.child, q)
	switch {
	case err != nil:
		e := fop.Errno(err)
		switch {
		case r.Name == "":
			m.failed(r, err)
		case e == syscall.ENOENT:
			m.names.missing(r.Parent, r.Name, st)
		case e == syscall.ESTALE:
			m.gone(r.Parent)
		}
		if reply == nil {
			return nil, err
		}
		return reply, err
	case reply == nil:
		return nil, syscall.EPROTO
	}
	m.learnXattrs(c, st, reply.Stat.GFID, asked, reply.XData)
	m.learn(c, st, &reply.Stat, reply.XData.Has(fop.KeyContent))
	if r.Name != "" && full(&reply.Stat) {
		m.names.found(r.Parent, r.Name, reply.Stat.GFID, cred, dirGen, st, st.at+int64(c.timeout))
	}
	if m.oneBrick && r.Name != "" {
		m.learn(c, st, &reply.Parent, false)
	}
	return reply, nil
}

// dirGen returns the number that names in a directory are good for.
func (m *mdCache) dirGen(dir fop.GFID) uint64 {
	r := m.object(dir)
	defer r.Release()
	return r.V.dirGen.Load()
}

// serveLookup answers from what is known of g; nil if that is not enough.
func (m *mdCache) serveLookup(c *config, r *fop.Lookup, g fop.GFID, st start) *fop.LookupReply {
	ref := m.objects.Peek(g)
	if ref == nil {
		return nil
	}
	defer ref.Release()
	reply := new(fop.LookupReply)
	o := &ref.V
	o.mu.Lock()
	ok := o.serve(st, r.Name != "") && o.attr.Nlink > 0
	for _, p := range r.XData.Pairs() {
		if !ok {
			break
		}
		switch p.Key {
		case fop.KeyGFIDReq:
		case fop.KeyContent:
			// Who asks wants to read the file. If its contents came along before,
			// quick-read still has them; a reply without is as good then.
			n, _ := p.Val.Int()
			ok = o.content || o.attr.Size == 0 || !o.attr.IsRegular() || n >= 0 && o.attr.Size > uint64(n)
		default:
			ok = m.xattrInto(c, o, p.Key, st, reply)
		}
	}
	if ok {
		reply.Stat = o.attr
	}
	o.mu.Unlock()
	if !ok {
		return nil
	}
	if r.Name != "" && !m.cached(r.Parent, st, false, &reply.Parent) {
		reply.Parent = fop.Iatt{GFID: r.Parent, Mode: fop.ModeDir, Flags: fop.IattType | fop.IattGFID}
	}
	return reply
}

// readdirp lists a directory and takes the attributes that come along.
//
// Translators below may have fetched entries before they were asked for, so what
// they tell is taken to be as old as the listing.
func (m *mdCache) readdirp(ctx context.Context, c *config, r *fop.Readdirp) (fop.Reply, error) {
	st := m.start()
	if r.Fd != nil {
		if first, ok := r.Fd.Get(m).(start); ok && r.Offset != 0 {
			st = first
		} else if r.Offset == 0 {
			r.Fd.Set(m, st)
		}
	}
	q := r
	asked := m.asked.with(c, r.XData)
	if asked != r.XData {
		p := *r
		p.XData = asked
		q = &p
	}
	dir := target(r, r.GFID)
	gen := m.dirGen(dir)
	reply, err := fop.Call(ctx, m.child, q)
	if err != nil || reply == nil {
		if err != nil {
			m.failed(r, err)
		}
		if reply == nil {
			return nil, err
		}
		return reply, err
	}
	if c.timeout == 0 {
		return reply, nil
	}
	cred := m.names.credID(&r.Cred)
	for i := range reply.Entries {
		e := &reply.Entries[i]
		if e.Name == "." || e.Name == ".." || !full(&e.Stat) {
			continue
		}
		m.learn(c, st, &e.Stat, false)
		m.learnXattrs(c, st, e.Stat.GFID, asked, e.XData)
		if r.Cred.UID == 0 { // others need the brick's word that they may pass
			m.names.found(dir, e.Name, e.Stat.GFID, cred, gen, st, st.at+int64(c.timeout))
		}
	}
	return reply, nil
}

// statfs is the last answer to a StatfsReq.
type statfs struct {
	gfid  fop.GFID
	reply fop.Statfs
	until int64
}

func (m *mdCache) statvfs(ctx context.Context, c *config, r *fop.StatfsReq) (fop.Reply, error) {
	if !c.statfs {
		return m.child.Do(ctx, r)
	}
	now := m.now()
	if s := m.statfs.Load(); s != nil && s.gfid == r.GFID && now < s.until {
		m.hits.Add(1)
		return &fop.StatfsReply{Statfs: s.reply}, nil
	}
	m.misses.Add(1)
	reply, err := m.child.Do(ctx, r)
	if a, ok := reply.(*fop.StatfsReply); ok && err == nil {
		m.statfs.Store(&statfs{r.GFID, a.Statfs, now + int64(c.timeout)})
	}
	return reply, err
}

// noticesTimeout bounds the request that tells bricks what to tell of.
const noticesTimeout = 30 * time.Second
