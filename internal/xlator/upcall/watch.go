package upcall

import (
	"slices"
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// shardMax bounds the objects that a shard remembers.
const shardMax = 16384

// shard is a part of what is known of who looked at what.
type shard struct {
	mu      sync.Mutex
	objects map[fop.GFID][]visit
}

// visit is the last fop of a client on an object.
type visit struct {
	client *fop.Client
	at     time.Time
}

func (u *Upcalls) shard(g fop.GFID) *shard { return &u.shards[(g[15]^g[7]^g[0])&63] }

// note remembers that c touched g and returns those others who did, within the
// timeout, if others is set.
func (u *Upcalls) note(c *fop.Client, g fop.GFID, others bool) (tell []*fop.Client) {
	if g.IsZero() {
		return nil
	}
	now, timeout := u.now(), u.opts.Load().timeout
	s := u.shard(g)
	s.mu.Lock()
	if c.Get(u) == gone {
		c = nil
	}
	if s.objects == nil {
		s.objects = map[fop.GFID][]visit{}
	}
	visits, known := s.objects[g]
	var lost []visit
	var lostGFID fop.GFID
	if !known && c != nil && len(s.objects) >= shardMax {
		for lostGFID, lost = range s.objects {
			delete(s.objects, lostGFID)
			break
		}
	}
	mine := c == nil
	for i := range visits {
		switch v := &visits[i]; {
		case v.client == c:
			v.at, mine = now, true
		case others && now.Sub(v.at) < timeout:
			tell = append(tell, v.client)
		}
	}
	if !mine {
		visits = append(visits, visit{c, now})
	}
	if len(visits) > 0 {
		s.objects[g] = visits
	}
	s.mu.Unlock()
	for _, v := range lost {
		if now.Sub(v.at) < timeout {
			send(v.client, &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: lostGFID,
				Flags: fop.InvalTimes | fop.InvalSize | fop.InvalMode | fop.InvalOwn | fop.InvalAttr | fop.InvalExplicitLookup})
		}
	}
	return tell
}

func send(c *fop.Client, up *fop.Upcall) {
	if c.Upcall != nil {
		c.Upcall(up)
	}
}

// sweep forgets visits that are not younger than before.
func (u *Upcalls) sweep(before time.Time) {
	u.forget(func(v visit) bool { return !v.at.After(before) })
}

func (u *Upcalls) forget(which func(visit) bool) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		for g, visits := range s.objects {
			if visits = slices.DeleteFunc(visits, which); len(visits) == 0 {
				delete(s.objects, g)
			} else {
				s.objects[g] = visits
			}
		}
		s.mu.Unlock()
	}
}

// What a client has in its slot.
type mark int

const (
	seen mark = iota + 1
	gone
)

// greet counts a client that is new.
func (u *Upcalls) greet(c *fop.Client) {
	if c.Get(u) == nil {
		c.GetOrSet(u, func() any { u.clients.Add(1); return seen })
	}
}

// disconnect forgets a client.
func (u *Upcalls) disconnect(c *fop.Client) {
	if c == nil {
		return
	}
	if c.Set(u, gone) == seen {
		u.clients.Add(-1)
	}
	u.forget(func(v visit) bool { return v.client == c })
}
