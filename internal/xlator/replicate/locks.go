package replicate

import (
	"context"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Locks that come from above: those of applications (Lk) and of translators above
// (Inodelk, Entrylk and their kin). Every child that is up must grant them.

// lk is a posix lock. It is acquired on one child after the other from the left,
// so that of several clients that want it one wins, and gives back what it has if
// one child refuses.
func (r *replicate) lk(ctx context.Context, q *fop.Lk) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, "lk"); err != nil {
		return nil, err
	}
	if q.XData.Has(keyLockMode) {
		return nil, fmt.Errorf("%s: lk: mandatory locks that outlive a brick are not offered on replicated volumes: %w", r.name, syscall.EOPNOTSUPP)
	}
	if q.Fd != nil {
		r.fixOpen(q.Fd, v)
	}
	var buf [maxChildren]answer
	as := buf[:r.n]
	if q.Cmd == fop.LkGet || q.Cmd == fop.LkGetFd || q.Flock.Type == fop.LockUnlock {
		return r.lkAll(ctx, q, v, as)
	}
	good, err := r.inTurn(ctx, v.up, q, as)
	switch {
	case err != nil:
	case good == 0 || !r.conf.Load().quorum.met(good):
		err = r.failure("lk", as)
	default:
		return as[good.first()].reply, nil
	}
	if good != 0 && (q.Cmd == fop.LkSet || q.Cmd == fop.LkSetWait) {
		r.fan(context.WithoutCancel(ctx), good, unlocking(q), as)
	}
	return nil, err
}

// keyLockMode asks for a lock that is to be healed to bricks that come back.
const keyLockMode = "glusterfs.lk.lkmode"

// lkAll unlocks, or asks who has a lock: all children at once. A lock that stands
// in the way on any of them does so on all.
func (r *replicate) lkAll(ctx context.Context, q *fop.Lk, v view, as []answer) (fop.Reply, error) {
	to := v.up
	if sets := q.Cmd == fop.LkSet || q.Cmd == fop.LkSetWait; sets {
		// A client whose brick is away must know that it is not to acquire the
		// lock again.
		to = all(r.n)
	}
	good := r.fan(ctx, to, q, as)
	if good == 0 || !r.conf.Load().quorum.met(good) {
		return nil, r.failure("lk", as)
	}
	for i := range good.each {
		if l := replyOf[*fop.LkReply](as, i); l != nil && l.Flock.Type != fop.LockUnlock {
			return l, nil
		}
	}
	return as[good.first()].reply, nil
}

// inTurn sends a request to one child after the other until one says that
// somebody else has the lock, or ctx ends. Other errors are those of a child, not
// of the lock.
func (r *replicate) inTurn(ctx context.Context, to set, req fop.Request, as []answer) (good set, err error) {
	clear(as)
	for i := range to.each {
		a := &as[i]
		a.sent = true
		a.reply, a.err = r.children[i].Do(ctx, req)
		switch {
		case a.err == nil:
			good = good.with(i)
		case fop.Errno(a.err) == syscall.EAGAIN || ctx.Err() != nil || fop.Errno(a.err) == syscall.EDEADLK || fop.Errno(a.err) == syscall.EINTR:
			return good, a.err
		}
	}
	return good, nil
}

// lockFromAbove is an inode or entry lock. It is tried on all children at once
// without waiting. If somebody has it on some of them, then it is asked for from
// the left, as everybody does who waits.
func (r *replicate) lockFromAbove(ctx context.Context, req fop.Request) (fop.Reply, error) {
	v := r.view()
	what := req.Op().String()
	if err := r.gate(v, what); err != nil {
		return nil, err
	}
	var buf [maxChildren]answer
	as := buf[:r.n]
	if isUnlock(req) {
		good := r.fan(ctx, v.up, req, as)
		if good == 0 {
			return nil, r.failure(what, as)
		}
		return as[good.first()].reply, nil
	}
	good := r.fan(ctx, v.up, trying(req), as)
	var err error
	contended := false
	for i := range as {
		contended = contended || as[i].err != nil && fop.Errno(as[i].err) == syscall.EAGAIN
	}
	if contended {
		if good != 0 {
			r.giveBack(ctx, good, req)
		} else if !waits(req) {
			return nil, r.failure(what, as)
		}
		good, err = r.inTurn(ctx, v.up, req, as)
	}
	switch {
	case err != nil:
	case good == 0 || !r.conf.Load().quorum.met(good):
		err = r.failure(what, as)
	default:
		return as[good.first()].reply, nil
	}
	r.giveBack(ctx, good, req)
	return nil, err
}

// giveBack unlocks on the children in s, whatever became of ctx.
func (r *replicate) giveBack(ctx context.Context, s set, req fop.Request) {
	if s == 0 {
		return
	}
	var buf [maxChildren]answer
	r.fan(context.WithoutCancel(ctx), s, unlocking(req), buf[:r.n])
}

func isUnlock(req fop.Request) bool {
	switch q := req.(type) {
	case *fop.Inodelk:
		return q.Flock.Type == fop.LockUnlock
	case *fop.Finodelk:
		return q.Flock.Type == fop.LockUnlock
	case *fop.Entrylk:
		return q.Cmd == fop.EntrylkFree
	case *fop.Fentrylk:
		return q.Cmd == fop.EntrylkFree
	}
	return false
}

// waits reports whether the caller of a lock request wants to wait for it.
func waits(req fop.Request) bool {
	switch q := req.(type) {
	case *fop.Inodelk:
		return q.Cmd == fop.LkSetWait
	case *fop.Finodelk:
		return q.Cmd == fop.LkSetWait
	case *fop.Entrylk:
		return q.Cmd == fop.EntrylkLock
	case *fop.Fentrylk:
		return q.Cmd == fop.EntrylkLock
	}
	return false
}

// trying is the same lock without waiting.
func trying(req fop.Request) fop.Request {
	if !waits(req) {
		return req
	}
	switch q := req.(type) {
	case *fop.Inodelk:
		p := *q
		p.Cmd = fop.LkSet
		return &p
	case *fop.Finodelk:
		p := *q
		p.Cmd = fop.LkSet
		return &p
	case *fop.Entrylk:
		p := *q
		p.Cmd = fop.EntrylkTry
		return &p
	case *fop.Fentrylk:
		p := *q
		p.Cmd = fop.EntrylkTry
		return &p
	}
	return req
}

// unlocking is what undoes a lock.
func unlocking(req fop.Request) fop.Request {
	switch q := req.(type) {
	case *fop.Lk:
		p := *q
		p.Cmd, p.Type, p.Flock.Type = fop.LkSet, fop.LockUnlock, fop.LockUnlock
		return &p
	case *fop.Inodelk:
		p := *q
		p.Cmd, p.Type, p.Flock.Type = fop.LkSet, fop.LockUnlock, fop.LockUnlock
		return &p
	case *fop.Finodelk:
		p := *q
		p.Cmd, p.Type, p.Flock.Type = fop.LkSet, fop.LockUnlock, fop.LockUnlock
		return &p
	case *fop.Entrylk:
		p := *q
		p.Cmd = fop.EntrylkFree
		return &p
	case *fop.Fentrylk:
		p := *q
		p.Cmd = fop.EntrylkFree
		return &p
	}
	return req
}

// Commands of LeaseInfo.
const (
	leaseSet    = 2
	leaseUnlock = 3
)

// lease is asked of one child after the other; quorum must grant it.
func (r *replicate) lease(ctx context.Context, q *fop.Lease) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, "lease"); err != nil {
		return nil, err
	}
	var buf [maxChildren]answer
	as := buf[:r.n]
	good, err := r.inTurn(ctx, v.up, q, as)
	switch {
	case err != nil:
	case good == 0 || !r.conf.Load().quorum.met(good):
		err = r.failure("lease", as)
	default:
		return as[good.first()].reply, nil
	}
	if good != 0 && q.Lease.Cmd == leaseSet {
		p := *q
		p.Lease.Cmd = leaseUnlock
		r.fan(context.WithoutCancel(ctx), good, &p, as)
	}
	return nil, err
}
