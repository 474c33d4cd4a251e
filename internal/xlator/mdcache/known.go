package mdcache

import (
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Known answers what is cached.
func (m *mdCache) Known(req fop.Request) (reply fop.Reply, ok bool, err error) {
	c := m.conf.Load()
	if c.pass {
		return fop.Known(m.child, req)
	}
	switch r := req.(type) {
	case *fop.Lookup:
		if reply := m.knownLookup(c, r); reply != nil {
			return reply, true, nil
		}
	case *fop.Stat:
		return m.knownStat(req, r.GFID, false)
	case *fop.Fstat:
		return m.knownStat(req, r.GFID, r.Fd != nil)
	case *fop.Getxattr:
		return m.knownXattr(c, req, r.GFID, r.Name)
	case *fop.Fgetxattr:
		return m.knownXattr(c, req, r.GFID, r.Name)
	case *fop.Open:
		if r.Flags&fop.OTrunc == 0 {
			return fop.Known(m.child, req)
		}
	case *fop.Read:
		if reply, ok, err = fop.Known(m.child, req); ok {
			reply, err = m.read(req, reply, err)
		}
		return reply, ok, err
	case *fop.Release:
		return fop.Known(m.child, req)
	}
	return nil, false, nil
}

func (m *mdCache) knownLookup(c *config, r *fop.Lookup) *fop.LookupReply {
	st, g := m.start(), r.GFID
	if r.Name != "" {
		var gen uint64
		var ok bool
		if g, gen, ok = m.names.get(r.Parent, r.Name, m.names.credID(&r.Cred), st.at, st.epoch); !ok || gen != m.dirGen(r.Parent) {
			return nil
		}
	}
	reply := m.serveLookup(c, r, g, st)
	if reply != nil {
		m.hits.Add(1)
	}
	return reply
}

func (m *mdCache) knownStat(req fop.Request, g fop.GFID, open bool) (fop.Reply, bool, error) {
	if req.Head().XData.Len() > 0 {
		return nil, false, nil
	}
	a := new(fop.StatReply)
	if !m.cached(target(req, g), m.start(), open, &a.Stat) {
		return nil, false, nil
	}
	m.hits.Add(1)
	return a, true, nil
}

func (m *mdCache) knownXattr(c *config, req fop.Request, g fop.GFID, name string) (fop.Reply, bool, error) {
	if name == "" || req.Head().XData.Len() > 0 || !c.caches(name) {
		return nil, false, nil
	}
	st := m.start()
	r := m.objects.Peek(target(req, g))
	if r == nil {
		return nil, false, nil
	}
	defer r.Release()
	o := &r.V
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.find(name)
	if x == nil || !x.serve(o, st) || !m.mayAsk(o, x, &req.Head().Cred, st) {
		return nil, false, nil
	}
	m.xhits.Add(1)
	if !x.there {
		return nil, true, syscall.ENODATA
	}
	return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: x.name, Val: x.val}), Size: int32(len(x.val.Bytes()))}, true, nil
}
