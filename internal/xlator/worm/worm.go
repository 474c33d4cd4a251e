// Package worm is the translator "features/worm" of a brick: write once, read
// many. With option worm on, files can be made and written through the descriptor
// that made them, but no longer opened for writing, truncated, renamed, linked or
// removed: EROFS. GlusterFS's own daemons (negative pids) are exempt.
//
// Retention per file (worm-file-level) is not offered; a brick that is told to
// turn it on refuses, since going without would leave protected files open.
package worm

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

const onlyFileLevel = "it belongs to worm-file-level, which is not offered"

// Type is "features/worm".
var Type = xlator.Type{
	Name: "features/worm", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "worm", Kind: xlator.KindBool, Default: "off"},
		{Key: "worm-file-level", Kind: xlator.KindBool, Default: "off"},
		{Key: "worm-files-deletable", Kind: xlator.KindBool, Default: "on", Ignored: onlyFileLevel},
		{Key: "default-retention-period", Kind: xlator.KindDuration, Default: "120", Ignored: onlyFileLevel},
		{Key: "retention-mode", Default: "relax", Ignored: onlyFileLevel},
		{Key: "auto-commit-period", Kind: xlator.KindDuration, Default: "180", Ignored: onlyFileLevel},
	},
}

// Worm is the translator.
type Worm struct {
	next fop.Handler
	on   atomic.Bool
}

// New makes a Worm.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	w := &Worm{next: c.Children[0]}
	return w, w.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (w *Worm) Reconfigure(o xlator.Options) error {
	if o.Bool("worm-file-level", false) {
		return fmt.Errorf("worm-file-level is not offered: %w", syscall.ENOTSUP)
	}
	w.on.Store(o.Bool("worm", false))
	return nil
}

// Do carries out one fop.
func (w *Worm) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if w.on.Load() && req.Head().Cred.PID >= 0 {
		refuse := false
		switch r := req.(type) {
		case *fop.Link, *fop.Unlink, *fop.Rename, *fop.Truncate, *fop.Ftruncate:
			refuse = true
		case *fop.Open:
			refuse = r.Flags&(fop.OAccmode|fop.OAppend|fop.OTrunc) != 0
		}
		if refuse {
			return nil, fmt.Errorf("%v: the volume is write once, read many: %w", req.Op(), syscall.EROFS)
		}
	}
	return w.next.Do(ctx, req)
}
