// Package selinux is the translator "features/selinux" of a brick: the label that
// clients know as xattr security.selinux is kept in trusted.glusterfs.selinux, so
// that it does not become the label of the brick's own file. GlusterFS 10.3
// renames it when set and read, not when removed or listed in a lookup; so does
// this.
package selinux

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

const (
	clientKey = "security.selinux"
	brickKey  = "trusted.glusterfs.selinux"
)

// Type is "features/selinux".
var Type = xlator.Type{
	Name: "features/selinux", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{{Key: "selinux", Kind: xlator.KindBool, Default: "on"}},
}

// SELinux is the translator.
type SELinux struct {
	next fop.Handler
	on   atomic.Bool
}

// New makes a SELinux.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	s := &SELinux{next: c.Children[0]}
	return s, s.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (s *SELinux) Reconfigure(o xlator.Options) error {
	s.on.Store(o.Bool("selinux", true))
	return nil
}

// Do carries out one fop.
func (s *SELinux) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if !s.on.Load() {
		return s.next.Do(ctx, req)
	}
	switch r := req.(type) {
	case *fop.Setxattr:
		if r.Dict.Has(clientKey) {
			q := *r
			q.Dict = rename(r.Dict, clientKey, brickKey)
			req = &q
		}
	case *fop.Fsetxattr:
		if r.Dict.Has(clientKey) {
			q := *r
			q.Dict = rename(r.Dict, clientKey, brickKey)
			req = &q
		}
	case *fop.Getxattr:
		if r.Name == clientKey {
			q := *r
			q.Name = brickKey
			req = &q
		}
		return s.getxattr(ctx, req)
	case *fop.Fgetxattr:
		if r.Name == clientKey {
			q := *r
			q.Name = brickKey
			req = &q
		}
		return s.getxattr(ctx, req)
	}
	return s.next.Do(ctx, req)
}

func (s *SELinux) getxattr(ctx context.Context, req fop.Request) (fop.Reply, error) {
	reply, err := s.next.Do(ctx, req)
	if r, ok := reply.(*fop.XattrReply); ok && r != nil && r.Dict.Has(brickKey) {
		r.Dict = rename(r.Dict, brickKey, clientKey)
	}
	return reply, err
}

// rename returns a copy of d in which key from is called to.
func rename(d *fop.Dict, from, to string) *fop.Dict {
	out := &fop.Dict{}
	out.Grow(d.Len())
	for _, p := range d.Pairs() {
		if p.Key == from {
			out.Set(to, p.Val)
		} else if p.Key != to {
			out.Append(p.Key, p.Val)
		}
	}
	return out
}
