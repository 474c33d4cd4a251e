// Package leases is the translator "features/leases" of a brick. A lease lets an
// application cache a file's data: a read lease until somebody writes, a
// read-write lease until somebody else so much as opens it. It is off by default;
// then Lease ends as without this translator.
//
// # Terms
//
// An application is named by its lease id, 16 bytes that it chose; fops carry it
// in xdata "lease-id". Leases belong to a client and a lease id.
//
// # Promises
//
//   - A lease is granted only if nobody else has the file open in a way that it
//     excludes, and no recall is under way; otherwise Lease ends with EAGAIN.
//   - A fop in conflict with a lease recalls it by an upcall to its holders, and
//     waits until it is given back, or taken after lease-lock-recall-timeout. An
//     open with O_NONBLOCK ends with EINVAL instead, as in GlusterFS 10.3, other
//     fops on such a file with EAGAIN. Requests of GlusterFS's own daemons
//     (negative pids) are never in conflict.
//   - Leases and open files of a client that disconnects are forgotten.
//
// State exists for files that are open or leased while the option is on; what was
// opened before it was turned on is not known.
//
// Lock order: Leases.mu is the only one; nothing is called under it.
//
// Read next: rules.go (the decisions), then Do below.
package leases

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/leases".
var Type = xlator.Type{
	Name: "features/leases", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "leases", Kind: xlator.KindBool, Default: "off"},
		{Key: "lease-lock-recall-timeout", Kind: xlator.KindInt, Default: "60"},
	},
}

// Leases is the translator.
type Leases struct {
	next    fop.Handler
	on      atomic.Bool
	timeout atomic.Int64

	mu    sync.Mutex
	files map[fop.GFID]*file
}

// New makes a Leases.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	l := &Leases{next: c.Children[0], files: map[fop.GFID]*file{}}
	return l, l.Reconfigure(c.Options)
}

// Reconfigure takes new options. Turning it off lets everybody go on.
func (l *Leases) Reconfigure(o xlator.Options) error {
	t := o.Int("lease-lock-recall-timeout", 60)
	if t < 0 {
		return fmt.Errorf("lease-lock-recall-timeout is negative: %w", syscall.EINVAL)
	}
	l.timeout.Store(int64(time.Duration(t) * time.Second))
	l.on.Store(o.Bool("leases", false))
	if !l.on.Load() {
		l.mu.Lock()
		for g, f := range l.files {
			f.leases = nil
			f.settled()
			delete(l.files, g)
		}
		l.mu.Unlock()
	}
	return nil
}

// Do carries out one fop.
func (l *Leases) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if !l.on.Load() {
		return l.next.Do(ctx, req)
	}
	switch r := req.(type) {
	case *fop.Lease:
		return l.lease(r)
	case *fop.Disconnect:
		l.forget(func(c *fop.Client, _ *fop.Fd) bool { return c == r.From })
	case *fop.Release:
		if r.Fd != nil {
			l.forget1(gfidOf(r.GFID, r.Fd), func(_ *fop.Client, fd *fop.Fd) bool { return fd == r.Fd })
		}
	case *fop.Open:
		if err := l.clear(ctx, req, r.GFID, access(r.Flags), r.Flags&fop.ONonblock != 0, syscall.EINVAL); err != nil {
			return nil, err
		}
		reply, err := l.next.Do(ctx, req)
		if err == nil {
			l.opened(r.GFID, &r.Header, r.Fd, r.Flags)
		}
		return reply, err
	case *fop.Create:
		reply, err := l.next.Do(ctx, req)
		if c, ok := reply.(*fop.CreateReply); ok && err == nil {
			l.opened(c.Stat.GFID, &r.Header, r.Fd, r.Flags)
		}
		return reply, err
	default:
		if err := l.fop(ctx, req); err != nil {
			return nil, err
		}
	}
	return l.next.Do(ctx, req)
}

func gfidOf(g fop.GFID, fd *fop.Fd) fop.GFID {
	if fd != nil && g.IsZero() {
		return fd.GFID
	}
	return g
}

// fop waits for what a fop other than an open is in conflict with.
func (l *Leases) fop(ctx context.Context, req fop.Request) error {
	how := reads
	var dir fop.GFID
	var name string
	switch r := req.(type) {
	case *fop.Read, *fop.Lk:
	case *fop.Write, *fop.Truncate, *fop.Ftruncate, *fop.Setattr, *fop.Fsetattr, *fop.Fallocate, *fop.Discard, *fop.Zerofill:
		how = writes
	case *fop.Link:
		return l.clear(ctx, req, r.GFID, writes, false, 0)
	case *fop.Unlink:
		how, dir, name = removes, r.Parent, r.Name
	case *fop.Rename:
		how, dir, name = removes, r.OldParent, r.OldName
	default:
		return nil
	}
	if how != removes {
		g, fd := fop.Target(req)
		return l.clear(ctx, req, gfidOf(g, fd), how, fd != nil && fd.Flags&fop.ONonblock != 0, syscall.EAGAIN)
	}
	l.mu.Lock()
	none := len(l.files) == 0
	l.mu.Unlock()
	if none {
		return nil
	}
	r, err := fop.Call(ctx, l.next, &fop.Lookup{Header: fop.Header{Cred: fop.Cred{PID: fop.PIDSelfHeal}}, Parent: dir, Name: name})
	if err != nil {
		return nil // the fop itself will find out
	}
	return l.clear(ctx, req, r.Stat.GFID, removes, false, 0)
}

// clear returns when no lease is in conflict with using g like this.
func (l *Leases) clear(ctx context.Context, req fop.Request, g fop.GFID, how use, nonblock bool, refuse syscall.Errno) error {
	h := req.Head()
	if h.Cred.PID < 0 {
		return nil
	}
	id := leaseID(h.XData)
	for {
		l.mu.Lock()
		f := l.files[g]
		if f == nil || !f.conflicts(h.From, id, how) {
			l.mu.Unlock()
			return nil
		}
		tell := f.recall()
		done, since := f.recalled, f.since
		l.mu.Unlock()
		for _, c := range tell {
			if c.Upcall != nil {
				c.Upcall(&fop.Upcall{Kind: fop.UpcallRecallLease, GFID: g})
			}
		}
		if nonblock {
			return fmt.Errorf("%v of %v: somebody has a lease: %w", req.Op(), g, refuse)
		}
		timer := time.NewTimer(time.Until(since.Add(time.Duration(l.timeout.Load()))))
		select {
		case <-done:
		case <-timer.C:
			l.revoke(g, done)
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%v of %v: waiting for a lease: %w: %w", req.Op(), g, syscall.EINTR, ctx.Err())
		}
		timer.Stop()
	}
}

// revoke takes the leases that were recalled away, unless they are gone.
func (l *Leases) revoke(g fop.GFID, recall chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.files[g]; f != nil && f.recalled == recall {
		f.leases = nil
		f.settled()
		l.tidy(g, f)
	}
}

func (l *Leases) tidy(g fop.GFID, f *file) {
	if len(f.leases) == 0 && len(f.opens) == 0 {
		delete(l.files, g)
	}
}

func (l *Leases) file(g fop.GFID) *file {
	f := l.files[g]
	if f == nil {
		f = &file{}
		l.files[g] = f
	}
	return f
}

func (l *Leases) opened(g fop.GFID, h *fop.Header, fd *fop.Fd, flags uint32) {
	if fd == nil {
		return
	}
	l.mu.Lock()
	f := l.file(g)
	f.opens = append(f.opens, opening{h.From, fd, leaseID(h.XData), access(flags) == writes})
	l.mu.Unlock()
}

// forget drops open files, and leases whose holder has none left.
func (l *Leases) forget(gone func(*fop.Client, *fop.Fd) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for g, f := range l.files {
		f.drop(gone)
		l.tidy(g, f)
	}
}

func (l *Leases) forget1(g fop.GFID, gone func(*fop.Client, *fop.Fd) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.files[g]; f != nil {
		f.drop(gone)
		l.tidy(g, f)
	}
}

func (l *Leases) lease(r *fop.Lease) (fop.Reply, error) {
	id := r.Lease.ID
	if x := leaseID(r.XData); x != ([16]byte{}) {
		id = x
	}
	if id == ([16]byte{}) {
		return nil, fmt.Errorf("lease without an id: %w", syscall.EINVAL)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[r.GFID]
	out := r.Lease
	switch r.Lease.Cmd {
	case getLease:
		out.Type = 0
		if f != nil {
			out.Type = f.typ()
		}
	case setLease:
		if r.Lease.Type != readLease && r.Lease.Type != writeLease {
			return nil, fmt.Errorf("lease type %d: %w", r.Lease.Type, syscall.EINVAL)
		}
		if f == nil {
			f = &file{}
		}
		if !f.grant(r.From, id, r.Lease.Type) {
			return nil, fmt.Errorf("lease on %v: %w", r.GFID, syscall.EAGAIN)
		}
		l.files[r.GFID] = f
	case unlockLease:
		if f == nil || !f.giveBack(r.From, id) {
			return nil, fmt.Errorf("no such lease on %v: %w", r.GFID, syscall.EINVAL)
		}
		l.tidy(r.GFID, f)
	default:
		return nil, fmt.Errorf("lease command %d: %w", r.Lease.Cmd, syscall.EINVAL)
	}
	return &fop.LeaseReply{Lease: out}, nil
}
