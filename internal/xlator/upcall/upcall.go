// Package upcall is the translator "features/upcall" of a brick: clients that
// cached something about an object hear when another client changes it.
//
// With option cache-invalidation on, every successful fop notes its client and
// the time with the object (and with those that a listing shows). A fop that
// changes the object sends a notice to every other client that was there within
// cache-invalidation-timeout; the notice says what changed (fop.Inval… bits), the
// new attributes where the fop tells them, and changed xattrs of the names that
// clients registered by Ipc. What is older than twice the timeout is forgotten.
// GlusterFS 10.3: xlators/features/upcall.
//
// The memory is bounded: who is forgotten early for lack of space is told that
// all he knows of the object is void.
//
// Lock order: the mutex of a shard is the only one; notices are sent after it is
// given up.
//
// Read next: fops.go, which fop tells what; watch.go, who is told.
package upcall

import (
	"context"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/upcall".
var Type = xlator.Type{
	Name: "features/upcall", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "cache-invalidation", Kind: xlator.KindBool, Default: "off"},
		{Key: "cache-invalidation-timeout", Kind: xlator.KindInt, Default: "60"},
	},
}

// Upcalls is the translator.
type Upcalls struct {
	next    fop.Handler
	opts    atomic.Pointer[options]
	changed chan struct{} // options changed, for Run
	now     func() time.Time
	clients atomic.Int64 // seen since they connected
	shards  [64]shard

	namesMu sync.Mutex
	names   atomic.Pointer[[]string] // xattrs that clients want to hear of
}

type options struct {
	on      bool
	timeout time.Duration
}

// New makes an Upcalls.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	u := &Upcalls{next: c.Children[0], changed: make(chan struct{}, 1), now: time.Now}
	u.names.Store(&[]string{})
	return u, u.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (u *Upcalls) Reconfigure(o xlator.Options) error {
	p := &options{on: o.Bool("cache-invalidation", false), timeout: time.Duration(o.Int("cache-invalidation-timeout", 60)) * time.Second}
	if p.timeout < 0 {
		return fmt.Errorf("cache-invalidation-timeout is negative: %w", syscall.EINVAL)
	}
	u.opts.Store(p)
	if !p.on {
		u.sweep(u.now()) // all
	}
	select {
	case u.changed <- struct{}{}:
	default:
	}
	return nil
}

// Run forgets clients that have not touched an object for long.
func (u *Upcalls) Run(ctx context.Context) error {
	for {
		o := u.opts.Load()
		wait := max(o.timeout/2, time.Second)
		if !o.on {
			wait = 1 << 62
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-u.changed:
			t.Stop()
		case now := <-t.C:
			u.sweep(now.Add(-2 * o.timeout))
		}
	}
}

// register adds names of xattrs that a client wants to hear of; patterns too.
func (u *Upcalls) register(d *fop.Dict) {
	u.namesMu.Lock()
	defer u.namesMu.Unlock()
	names := *u.names.Load()
	for _, p := range d.Pairs() {
		if len(names) >= maxNames {
			break
		}
		if !contains(names, p.Key) {
			names = append(names[:len(names):len(names)], p.Key)
		}
	}
	u.names.Store(&names)
}

// maxNames bounds the registered names.
const maxNames = 4096

func contains(s []string, x string) bool {
	for _, y := range s {
		if x == y {
			return true
		}
	}
	return false
}

// wanted returns those pairs of d that clients want to hear of.
func (u *Upcalls) wanted(d *fop.Dict) *fop.Dict {
	out := fop.NewDict()
	names := *u.names.Load()
	for _, p := range d.Pairs() {
		for _, n := range names {
			if ok, _ := path.Match(n, p.Key); ok || n == p.Key {
				out.Append(p.Key, p.Val)
				break
			}
		}
	}
	return out
}
