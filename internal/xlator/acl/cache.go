package acl

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// shardMax bounds the objects that a shard remembers.
const shardMax = 1024

type shard struct {
	mu    sync.Mutex
	known map[fop.GFID]*attr // values are never changed
	// changes counts fops that changed, or may have changed, an object here. Who
	// fills the cache compares it before and after.
	changes atomic.Uint64
}

func (t *ACLs) shard(g fop.GFID) *shard { return &t.shards[(g[15]^g[7]^g[0])&63] }

func (s *shard) get(g fop.GFID) *attr {
	s.mu.Lock()
	a := s.known[g]
	s.mu.Unlock()
	return a
}

// put remembers a unless something changed since changes was read.
func (s *shard) put(g fop.GFID, a *attr, changes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes.Load() != changes {
		return
	}
	if s.known == nil {
		s.known = map[fop.GFID]*attr{}
	}
	if _, ok := s.known[g]; !ok && len(s.known) >= shardMax {
		for k := range s.known {
			delete(s.known, k)
			break
		}
	}
	s.known[g] = a
}

// forget drops what is known of g. It is called after the change.
func (t *ACLs) forget(g fop.GFID) {
	s := t.shard(g)
	s.mu.Lock()
	s.changes.Add(1)
	delete(s.known, g)
	s.mu.Unlock()
}

// compare drops what is known of an object that turns out to be different.
func (t *ACLs) compare(st *fop.Iatt) {
	if st.GFID.IsZero() {
		return
	}
	s := t.shard(st.GFID)
	s.mu.Lock()
	if a := s.known[st.GFID]; a != nil && (a.uid != st.UID || a.gid != st.GID || a.mode != st.Mode) {
		s.changes.Add(1)
		delete(s.known, st.GFID)
	}
	s.mu.Unlock()
}

// fromReply makes an attr of a lookup's answer to a request with both ACL keys.
func fromReply(st *fop.Iatt, x *fop.Dict) *attr {
	a := &attr{uid: st.UID, gid: st.GID, mode: st.Mode}
	if b := x.Bytes(fop.XattrACLAccess); b != nil {
		a.access, _ = Parse(b) // storage has no others; the mode decides then
		a.access.setMode(st.Mode)
	}
	if b := x.Bytes(fop.XattrACLDefault); b != nil && st.IsDir() {
		a.dflt, _ = Parse(b)
	}
	return a
}

// internal is on whose behalf this translator asks its child.
var internal = fop.Cred{PID: fop.PIDSelfHeal}

var aclKeys = fop.NewDict(
	fop.Pair{Key: fop.XattrACLAccess, Val: fop.Int(0)},
	fop.Pair{Key: fop.XattrACLDefault, Val: fop.Int(0)},
)

// attr returns what is to be known of g, ESTALE if it does not exist.
func (t *ACLs) attr(ctx context.Context, g fop.GFID) (*attr, error) {
	s := t.shard(g)
	if a := s.get(g); a != nil {
		return a, nil
	}
	changes := s.changes.Load()
	r, err := fop.Call(ctx, t.next, &fop.Lookup{Header: fop.Header{Cred: internal, XData: aclKeys}, GFID: g})
	if err != nil {
		if fop.Errno(err) == syscall.ENOENT {
			err = syscall.ESTALE
		}
		return nil, fmt.Errorf("permissions of %v: %w", g, err)
	}
	a := fromReply(&r.Stat, r.XData)
	s.put(g, a, changes)
	return a, nil
}

// entry returns what is to be known of a name, nil if it does not exist.
func (t *ACLs) entry(ctx context.Context, dir fop.GFID, name string) (*attr, error) {
	r, err := fop.Call(ctx, t.next, &fop.Lookup{Header: fop.Header{Cred: internal}, Parent: dir, Name: name})
	if err != nil {
		if fop.Errno(err) == syscall.ENOENT {
			return nil, nil
		}
		return nil, fmt.Errorf("permissions of %v/%s: %w", dir, name, err)
	}
	return &attr{uid: r.Stat.UID, gid: r.Stat.GID, mode: r.Stat.Mode}, nil
}
