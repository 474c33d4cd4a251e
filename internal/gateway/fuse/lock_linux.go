package fuse

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

// until is a context that ends when a channel is closed. It costs nothing where
// context.WithCancel would want a goroutine.
type until <-chan struct{}

func (u until) Deadline() (time.Time, bool) { return time.Time{}, false }
func (u until) Done() <-chan struct{}       { return u }
func (u until) Value(any) any               { return nil }

func (u until) Err() error {
	select {
	case <-u:
		return context.Canceled
	default:
		return nil
	}
}

// interrupted is the status of a request that a signal may have ended.
func interrupted(ctx context.Context, err error) fuse.Status {
	if err != nil && ctx.Err() != nil {
		return fuse.EINTR
	}
	return status(err)
}

// lockRange turns the kernel's first and last byte into offset and length; 0 is
// the length of all that follow.
func lockRange(l *fuse.FileLock) (off, size uint64) {
	if l.End >= math.MaxInt64 {
		return l.Start, 0
	}
	return l.Start, l.End - l.Start + 1
}

// lk sends a lock command. Whoever is in the way is shown the process, not the
// thread that asks.
func (b *bridge) lk(ctx context.Context, f *file, c *fop.Cred, in *fuse.LkIn, cmd uint32) (fop.Flock, error) {
	off, size := lockRange(&in.Lk)
	if off > math.MaxInt64 || size > math.MaxInt64 || in.Lk.Typ > fop.LockUnlock {
		return fop.Flock{}, syscall.EINVAL
	}
	r, err := fop.Call(ctx, b.h, &fop.Lk{Header: fop.Header{Cred: *c}, GFID: f.n.gfid, Fd: f.vf.Fd, Cmd: cmd, Type: in.Lk.Typ,
		Flock: fop.Flock{Type: in.Lk.Typ, Start: off, Len: size, PID: in.Lk.Pid, Owner: c.Owner}})
	if err != nil {
		return fop.Flock{}, err
	}
	return r.Flock, nil
}

// GetLk asks which lock is in the way.
func (b *bridge) GetLk(_ <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	f := b.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	c := b.owned(&in.InHeader, in.Owner)
	l, err := b.lk(background, f, &c, in, fop.LkGet)
	if err != nil {
		return status(err)
	}
	out.Lk = fuse.FileLock{Start: l.Start, End: math.MaxInt64, Typ: l.Type, Pid: l.PID}
	if l.Len > 0 {
		out.Lk.End = l.Start + l.Len - 1
	}
	return fuse.OK
}

// SetLk sets or frees a lock at once or fails with EAGAIN.
func (b *bridge) SetLk(_ <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return b.lock(background, in, fop.LkSet)
}

// SetLkw waits for a lock. A signal ends the wait, and takes it from the queue
// of the brick.
func (b *bridge) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	if in.Lk.Typ == fop.LockUnlock {
		return b.lock(background, in, fop.LkSet)
	}
	b.waits.add(in.Unique)
	defer b.waits.remove(in.Unique)
	return b.lock(until(cancel), in, fop.LkSetWait)
}

// waits are the requests that only a signal to their callers ends.
type waits struct {
	mu  sync.Mutex
	all map[uint64]bool
}

func (w *waits) add(unique uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[uint64]bool)
	}
	w.all[unique] = true
}

func (w *waits) remove(unique uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, unique)
}

func (w *waits) list() []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.all))
}

func (b *bridge) lock(ctx context.Context, in *fuse.LkIn, cmd uint32) fuse.Status {
	f := b.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	if in.Lk.Typ != fop.LockUnlock {
		// Before the lock is there: a close that comes meanwhile must free it.
		if in.LkFlags&fuse.LK_FLOCK != 0 {
			f.flocked.Store(true)
		} else {
			f.n.locked.Store(true)
		}
	}
	c := b.owned(&in.InHeader, in.Owner)
	_, err := b.lk(ctx, f, &c, in, cmd)
	if fop.Errno(err) == syscall.EACCES {
		err = syscall.EAGAIN // what POSIX allows, too, and Linux never says
	}
	return interrupted(ctx, err)
}
