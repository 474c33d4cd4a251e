// Package barrier is the translator "features/barrier" of a brick. While the
// barrier is up, the replies of fops after which a client believes that something
// is safe on disk are held back: unlink, rmdir, rename, truncate, fsync,
// removexattr and synchronous writes. A snapshot taken meanwhile holds whatever
// was acknowledged before. The fops themselves are carried out.
//
// The barrier goes up by option barrier or by Raise, and down by either or after
// barrier-timeout.
//
// Lock order: Barrier.mu is the only one; nothing is called under it.
package barrier

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/barrier".
var Type = xlator.Type{
	Name: "features/barrier", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "barrier", Kind: xlator.KindBool, Default: "disable"},
		{Key: "barrier-timeout", Kind: xlator.KindDuration, Default: "120"},
	},
}

// Barrier is the translator.
type Barrier struct {
	next fop.Handler
	log  *slog.Logger
	gate atomic.Pointer[gate] // nil while the barrier is down

	mu      sync.Mutex
	timeout time.Duration
}

// gate is one period with the barrier up.
type gate struct {
	opened chan struct{}
	timer  *time.Timer
}

// New makes a Barrier.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	b := &Barrier{next: c.Children[0], log: c.Log}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	return b, b.Reconfigure(c.Options)
}

// Reconfigure takes new options. A new timeout counts from the next Raise on.
func (b *Barrier) Reconfigure(o xlator.Options) error {
	b.mu.Lock()
	b.timeout = o.Duration("barrier-timeout", 120*time.Second)
	b.mu.Unlock()
	if o.Bool("barrier", false) {
		b.Raise()
	} else {
		b.Lower()
	}
	return nil
}

// Raise puts the barrier up. The error is EALREADY if it is.
func (b *Barrier) Raise() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gate.Load() != nil {
		return fmt.Errorf("the barrier is up: %w", syscall.EALREADY)
	}
	g := &gate{opened: make(chan struct{})}
	g.timer = time.AfterFunc(b.timeout, func() {
		if b.lower(g) {
			b.log.Warn("barrier taken down after its timeout")
		}
	})
	b.gate.Store(g)
	return nil
}

// Lower takes it down and lets the replies go. The error is EALREADY if it is.
func (b *Barrier) Lower() error {
	if g := b.gate.Load(); g == nil || !b.lower(g) {
		return fmt.Errorf("the barrier is down: %w", syscall.EALREADY)
	}
	return nil
}

func (b *Barrier) lower(g *gate) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g == nil || b.gate.Load() != g {
		return false
	}
	b.gate.Store(nil)
	g.timer.Stop()
	close(g.opened)
	return true
}

// Close lets everything go.
func (b *Barrier) Close() error {
	b.Lower()
	return nil
}

// Do carries out one fop.
func (b *Barrier) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	reply, err := b.next.Do(ctx, req)
	if g := b.gate.Load(); g != nil && holds(req) {
		select {
		case <-g.opened:
		case <-ctx.Done(): // nobody is there to be told
		}
	}
	return reply, err
}

// holds reports whether the reply to req promises something.
func holds(req fop.Request) bool {
	switch r := req.(type) {
	case *fop.Unlink, *fop.Rmdir, *fop.Rename, *fop.Truncate, *fop.Ftruncate, *fop.Fsync, *fop.Removexattr, *fop.Fremovexattr:
		return true
	case *fop.Write:
		flags := r.Flags
		if r.Fd != nil {
			flags |= r.Fd.Flags
		}
		return flags&(fop.OSync|fop.ODsync) != 0
	}
	return false
}
