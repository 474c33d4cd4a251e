// Package selinux is the translator "features/selinux": it keeps the security
// label of a client's SELinux, the xattr security.selinux, as
// trusted.glusterfs.selinux on the brick, where it does not mix with the label
// that the server's own SELinux puts on the file.
//
// What it promises on disk: with the option selinux on, labels that clients set
// are stored under trusted.glusterfs.selinux, as GlusterFS 10.3 does it.
//
// It is the smallest translator of all; read next internal/fop.
package selinux

import (
	"context"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name:        "features/selinux",
	New:         New,
	Options:     []xlator.Option{{Key: "selinux", Kind: xlator.KindBool, Default: "on"}},
	MinChildren: 1,
	MaxChildren: 1,
}

const (
	clientKey = "security.selinux"
	brickKey  = "trusted.glusterfs.selinux"
)

type labels struct {
	child fop.Handler
	on    atomic.Bool
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	l := &labels{child: c.Children[0]}
	return l, l.Reconfigure(c.Options)
}

// Reconfigure takes the option selinux.
func (l *labels) Reconfigure(o xlator.Options) error {
	l.on.Store(o.Bool("selinux", true))
	return nil
}

// Do carries out one fop.
func (l *labels) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if !l.on.Load() {
		return l.child.Do(ctx, req)
	}
	switch q := req.(type) {
	case *fop.Setxattr:
		if q.Dict.Has(clientKey) {
			c := *q
			c.Dict = rename(q.Dict, clientKey, brickKey)
			req = &c
		}
	case *fop.Fsetxattr:
		if q.Dict.Has(clientKey) {
			c := *q
			c.Dict = rename(q.Dict, clientKey, brickKey)
			req = &c
		}
	case *fop.Getxattr:
		if q.Name == clientKey {
			c := *q
			c.Name = brickKey
			req = &c
		}
		return show(l.child.Do(ctx, req))
	case *fop.Fgetxattr:
		if q.Name == clientKey {
			c := *q
			c.Name = brickKey
			req = &c
		}
		return show(l.child.Do(ctx, req))
	}
	return l.child.Do(ctx, req)
}

// show gives the label in a reply its name on the client.
func show(reply fop.Reply, err error) (fop.Reply, error) {
	r, ok := reply.(*fop.XattrReply)
	if !ok || r == nil || !r.Dict.Has(brickKey) {
		return reply, err
	}
	c := *r
	c.Dict = rename(r.Dict, brickKey, clientKey)
	return &c, err
}

// rename returns a copy of d in which the value of one key stands under another.
func rename(d *fop.Dict, from, to string) *fop.Dict {
	c := d.Clone()
	v, _ := c.Get(from)
	c.Delete(from)
	return c.Set(to, v)
}
