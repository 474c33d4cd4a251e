package distribute

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// lockFop passes a lock of an upper layer on. Locks on a file go to its cached
// subvolume; those on a directory to the first one of its layout, and to the
// same one as long as any is held; locks on names always to the first one.
func (d *distribute) lockFop(ctx context.Context, req fop.Request) (fop.Reply, error) {
	gfid, fd := target(req)
	p, err := d.whereOpen(ctx, gfid, fd)
	if err != nil {
		return nil, err
	}
	switch req.(type) {
	case *fop.Entrylk, *fop.Fentrylk, *fop.Lease:
		if p.layout != nil {
			return p.layout.entries[0].sub.Do(ctx, req)
		}
	default:
		if p.layout != nil {
			return d.lockDir(ctx, req, gfid, p.layout)
		}
	}
	return d.onFile(ctx, req)
}

// lockDir locks a directory, or unlocks it where it was locked. The object is
// held while there are locks, so that it is not forgotten where.
func (d *distribute) lockDir(ctx context.Context, req fop.Request, gfid fop.GFID, l *layout) (fop.Reply, error) {
	ref := d.objects.Acquire(gfid)
	defer ref.Release()
	o := &ref.V
	o.mu.Lock()
	on := o.lockOn
	if on == nil {
		on = l.entries[0].sub
	}
	takes := lockType(req)
	if takes == fop.LockRead || takes == fop.LockWrite {
		if o.locks == 0 {
			o.lockOn = on
			ref.Hold()
		}
		o.locks++
	}
	o.mu.Unlock()
	rep, err := on.Do(ctx, req)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.locks > 0 && (takes == fop.LockUnlock && err == nil || (takes == fop.LockRead || takes == fop.LockWrite) && err != nil) {
		if o.locks--; o.locks == 0 {
			o.lockOn = nil
			ref.Release()
		}
	}
	return rep, err
}

// lockType is what a request wants of a lock; one that only asks wants none.
func lockType(req fop.Request) uint32 {
	switch r := req.(type) {
	case *fop.Lk:
		if r.Cmd == fop.LkSet || r.Cmd == fop.LkSetWait {
			return r.Type
		}
	case *fop.Inodelk:
		return r.Type
	case *fop.Finodelk:
		return r.Type
	}
	return fop.LockEOL
}

// access asks one subvolume of a directory, and the next ones where that has
// not got it.
func (d *distribute) access(ctx context.Context, r *fop.Access) (fop.Reply, error) {
	p, err := d.where(ctx, r.GFID)
	if err != nil {
		return nil, err
	}
	if p.layout == nil {
		return d.onFile(ctx, r)
	}
	var rep fop.Reply
	for i := range p.layout.entries {
		rep, err = p.layout.entries[i].sub.Do(ctx, r)
		if !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
			break
		}
	}
	return rep, err
}

// fsyncdir syncs a directory on all subvolumes that have it open.
func (d *distribute) fsyncdir(ctx context.Context, r *fop.Fsyncdir) (fop.Reply, error) {
	return d.toAll(ctx, r, func(s *subvol) bool { return d.isOpen(r.Fd, s) })
}

// ipc asks all subvolumes.
func (d *distribute) ipc(ctx context.Context, r *fop.Ipc) (fop.Reply, error) {
	return d.toAll(ctx, r, func(*subvol) bool { return true })
}

// toAll sends a fop to all subvolumes that want it; one success is success.
func (d *distribute) toAll(ctx context.Context, req fop.Request, wants func(*subvol) bool) (fop.Reply, error) {
	pend := make([]fop.Pending, 0, len(d.subs))
	for _, s := range d.subs {
		if wants(s) {
			pend = append(pend, s.Start(ctx, req))
		}
	}
	if len(pend) == 0 {
		return nil, fmt.Errorf("%v: no subvolume can: %w", req.Op(), syscall.ENOTCONN)
	}
	var good fop.Reply
	var bad error
	for _, p := range pend {
		rep, err := p.Wait()
		if err == nil && good == nil {
			good = rep
		} else if err != nil {
			bad = worse(bad, err)
		}
	}
	if good != nil {
		return good, nil
	}
	return nil, bad
}
