package acl

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/access-control".
var Type = xlator.Type{
	Name: "features/access-control", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "super-uid", Kind: xlator.KindInt, Default: "0", Max: 1<<32 - 1},
	},
}

// ACLs is the translator.
type ACLs struct {
	next     fop.Handler
	superUID atomic.Uint32
	shards   [64]shard
}

// New makes an ACLs.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	t := &ACLs{next: c.Children[0]}
	return t, t.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (t *ACLs) Reconfigure(o xlator.Options) error {
	t.superUID.Store(uint32(o.Int("super-uid", 0)))
	return nil
}

// privileged reports whether a request is not to be checked.
func (t *ACLs) privileged(c *fop.Cred) bool {
	return c.PID < 0 || c.UID == 0 || c.UID == t.superUID.Load()
}

// Do carries out one fop.
func (t *ACLs) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	c := &req.Head().Cred
	if !t.privileged(c) {
		q, err := t.check(ctx, c, req)
		if err != nil {
			return nil, err
		}
		req = q
		if r, ok := req.(*fop.Access); ok {
			return t.access(ctx, r, c)
		}
	} else if r, ok := req.(*fop.Access); ok {
		if _, err := t.attr(ctx, r.GFID); err != nil {
			return nil, err
		}
		return &fop.CommonReply{}, nil
	}
	switch r := req.(type) {
	case *fop.Lookup:
		return t.lookup(ctx, r)
	case *fop.Create, *fop.Mkdir, *fop.Mknod:
		return t.create(ctx, req)
	case *fop.Setattr, *fop.Fsetattr, *fop.Removexattr, *fop.Fremovexattr:
		return t.change(ctx, req)
	case *fop.Setxattr:
		if touchesACL(r.Dict) {
			return t.change(ctx, req)
		}
	case *fop.Fsetxattr:
		if touchesACL(r.Dict) {
			return t.change(ctx, req)
		}
	}
	return t.next.Do(ctx, req)
}

// touchesACL reports whether setting d may change an ACL, in binary, as text, or
// along with all that a healing client copies.
func touchesACL(d *fop.Dict) bool {
	for _, p := range d.Pairs() {
		if strings.HasPrefix(p.Key, "system.posix_acl") || strings.HasPrefix(p.Key, "glusterfs.posix.") {
			return true
		}
	}
	return false
}

// change passes on what changes the permissions of its target.
func (t *ACLs) change(ctx context.Context, req fop.Request) (fop.Reply, error) {
	reply, err := t.next.Do(ctx, req)
	g, fd := fop.Target(req)
	t.forget(gfidOf(g, fd)) // even after an error: part of it may be done
	return reply, err
}

func gfidOf(g fop.GFID, fd *fop.Fd) fop.GFID {
	if fd != nil && g.IsZero() {
		return fd.GFID
	}
	return g
}

// lookup learns from the answer what it can.
func (t *ACLs) lookup(ctx context.Context, r *fop.Lookup) (fop.Reply, error) {
	if t.privileged(&r.Cred) {
		reply, err := fop.Call(ctx, t.next, r)
		if err == nil {
			t.compare(&reply.Stat)
		}
		return answer(reply, err)
	}
	if !r.XData.Has(fop.XattrACLAccess) || !r.XData.Has(fop.XattrACLDefault) {
		q := *r
		q.XData = r.XData.Clone()
		q.XData.Set(fop.XattrACLAccess, fop.Int(0)).Set(fop.XattrACLDefault, fop.Int(0))
		r = &q
	}
	// Which shard it will be is known only afterwards.
	var before [len(t.shards)]uint64
	for i := range t.shards {
		before[i] = t.shards[i].changes.Load()
	}
	reply, err := fop.Call(ctx, t.next, r)
	if err == nil && !reply.Stat.GFID.IsZero() {
		g := reply.Stat.GFID
		i := (g[15] ^ g[7] ^ g[0]) & 63
		t.shards[i].put(g, fromReply(&reply.Stat, reply.XData), before[i])
	}
	return answer(reply, err)
}

// answer keeps a nil pointer from becoming a Reply that is not nil.
func answer(r *fop.LookupReply, err error) (fop.Reply, error) {
	if r == nil {
		return nil, err
	}
	return r, err
}

// create gives a new object its mode, and the ACLs that it inherits.
func (t *ACLs) create(ctx context.Context, req fop.Request) (fop.Reply, error) {
	dir, _ := fop.Target(req)
	parent, err := t.attr(ctx, dir)
	if err != nil {
		return nil, err
	}
	var mode, umask *uint32
	isDir := false
	switch r := req.(type) {
	case *fop.Create:
		q := *r
		req, mode, umask = &q, &q.Mode, &q.Umask
	case *fop.Mkdir:
		q := *r
		req, mode, umask, isDir = &q, &q.Mode, &q.Umask, true
	case *fop.Mknod:
		q := *r
		req, mode, umask = &q, &q.Mode, &q.Umask
	}
	h := req.Head()
	if v, ok := h.XData.Get(fop.KeyUmask); ok {
		m, _ := v.Int()
		*umask = uint32(m) & fop.ModePerm
		if v, ok := h.XData.Get(fop.KeyMode); ok {
			m, _ := v.Int()
			*mode = *mode&fop.ModeFmt | uint32(m)&0o7777
		}
	}
	xdata := h.XData
	if h.XData.Has(fop.KeyUmask) || h.XData.Has(fop.KeyMode) || parent.dflt != nil {
		xdata = h.XData.Clone()
		xdata.Delete(fop.KeyUmask)
		xdata.Delete(fop.KeyMode)
	}
	if parent.dflt == nil {
		*mode &^= *umask
	} else {
		var access ACL
		access, *mode = parent.dflt.Inherit(*mode)
		xdata.Set(fop.XattrACLAccess, fop.Bytes(access.Append(nil)))
		if isDir {
			xdata.Set(fop.XattrACLDefault, fop.Bytes(parent.dflt.Append(nil)))
		}
	}
	h.XData = xdata
	return t.next.Do(ctx, req)
}
