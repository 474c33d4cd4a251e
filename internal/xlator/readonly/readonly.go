// Package readonly is the translator "features/read-only" of a brick: with option
// read-only on, whatever would change the volume ends with EROFS, locks excepted.
// GlusterFS's own daemons (negative pids) may still write. The option can be
// changed while in use.
package readonly

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/read-only".
var Type = xlator.Type{
	Name: "features/read-only", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{{Key: "read-only", Kind: xlator.KindBool, Default: "off"}},
}

// ReadOnly is the translator.
type ReadOnly struct {
	next fop.Handler
	on   atomic.Bool
}

// New makes a ReadOnly.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	r := &ReadOnly{next: c.Children[0]}
	return r, r.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (r *ReadOnly) Reconfigure(o xlator.Options) error {
	r.on.Store(o.Bool("read-only", false))
	return nil
}

// Do carries out one fop.
func (r *ReadOnly) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if r.on.Load() && req.Head().Cred.PID >= 0 && changes(req) {
		return nil, fmt.Errorf("%v: the volume is read-only: %w", req.Op(), syscall.EROFS)
	}
	return r.next.Do(ctx, req)
}

// changes reports whether req may change what the volume holds.
func changes(req fop.Request) bool {
	switch q := req.(type) {
	case *fop.Setattr, *fop.Fsetattr, *fop.Truncate, *fop.Ftruncate, *fop.Fallocate, *fop.Discard, *fop.Zerofill,
		*fop.Mknod, *fop.Mkdir, *fop.Unlink, *fop.Rmdir, *fop.Symlink, *fop.Rename, *fop.Link, *fop.Create, *fop.Put,
		*fop.Setxattr, *fop.Fsetxattr, *fop.Removexattr, *fop.Fremovexattr, *fop.Fsyncdir, *fop.Write,
		*fop.CopyFileRange, *fop.Icreate, *fop.Namelink:
		return true
	case *fop.Open:
		return q.Flags&fop.OAccmode != fop.ORdonly || q.Flags&fop.OTrunc != 0
	case *fop.Xattrop:
		return nonZero(q.Dict)
	case *fop.Fxattrop:
		return nonZero(q.Dict)
	}
	return false
}

// nonZero tells a change from a mere question, which has operands of zero.
func nonZero(d *fop.Dict) bool {
	for _, p := range d.Pairs() {
		for _, b := range p.Val.Bytes() {
			if b != 0 {
				return true
			}
		}
	}
	return false
}
