package locks

import (
	"context"
	"fmt"
	"slices"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// mandatoryMode says which posix locks stand in the way of reads and writes.
type mandatoryMode uint8

const (
	mandatoryOff     mandatoryMode = iota
	mandatoryFile                  // those of files marked so, of which there are none
	mandatoryForced                // all
	mandatoryOptimal               // those taken as mandatory locks
)

// keyEnforce is the xattr of a file whose data only the holder of a lock may
// touch, and on which a new lock takes away older ones in conflict.
const keyEnforce = "trusted.glusterfs.enforce-mandatory-lock"

// enforcedMax bounds what a shard remembers about keyEnforce.
const enforcedMax = 1024

// ioRange is what a fop would touch.
type ioRange struct {
	posixLock
	nonblock bool // do not wait
	open     bool
}

func (l *Locks) ioRange(req fop.Request) (r ioRange, g fop.GFID, ok bool) {
	h := req.Head()
	r.owner = owner{client: h.From, id: h.Cred.Owner}
	r.typ = fop.LockWrite
	span := func(off, n uint64, fd *fop.Fd) {
		r.first, r.last = int64(off), 1<<63-1
		if n > 0 && off+n-1 < 1<<63 {
			r.last = int64(off + n - 1)
		}
		r.nonblock = fd == nil || fd.Flags&fop.ONonblock != 0
	}
	switch q := req.(type) {
	case *fop.Read:
		r.typ = fop.LockRead
		span(q.Offset, uint64(q.Size), q.Fd)
		return r, fdGFID(q.GFID, q.Fd), q.Size > 0
	case *fop.Write:
		span(q.Offset, uint64(len(q.Data)), q.Fd)
		return r, fdGFID(q.GFID, q.Fd), len(q.Data) > 0
	case *fop.Truncate:
		span(q.Offset, 0, nil)
		return r, q.GFID, true
	case *fop.Ftruncate:
		span(q.Offset, 0, q.Fd)
		return r, fdGFID(q.GFID, q.Fd), true
	case *fop.Discard:
		span(q.Offset, q.Size, q.Fd)
		return r, fdGFID(q.GFID, q.Fd), true
	case *fop.Zerofill:
		span(q.Offset, q.Size, q.Fd)
		return r, fdGFID(q.GFID, q.Fd), true
	case *fop.Open:
		if q.Flags&fop.OTrunc == 0 {
			return r, g, false
		}
		span(0, 0, nil)
		r.open = true
		return r, q.GFID, true
	}
	return r, g, false
}

// mayIO waits until the mandatory locks allow req, or refuses it.
func (l *Locks) mayIO(ctx context.Context, req fop.Request, opt *options) error {
	r, g, ok := l.ioRange(req)
	if !ok {
		return nil
	}
	enforced := false
	if opt.enforce {
		var err error
		if enforced, err = l.isEnforced(ctx, g); err != nil {
			return err
		}
	}
	for {
		var w *waiter
		no := syscall.Errno(0)
		if enforced {
			no = refusal(&r)
		}
		l.with(g, false, func(o *object, _ *options) {
			if no = o.judgeIO(&r, opt.mandatory, enforced); no == syscall.EAGAIN && !enforced && !r.nonblock {
				w = newWaiter()
				o.io = append(o.io, w)
			}
		})
		if w == nil {
			if no != 0 {
				return fmt.Errorf("%v of %v against a mandatory lock: %w", req.Op(), g, no)
			}
			return nil
		}
		if err := l.await(ctx, g, w, func(o *object, _ *options) bool {
			n := len(o.io)
			o.io = slices.DeleteFunc(o.io, func(x *waiter) bool { return x == w })
			return len(o.io) < n
		}); err != nil {
			return err
		}
	}
}

// refusal is how I/O on an enforced file without a lock ends.
func refusal(r *ioRange) syscall.Errno {
	if r.typ == fop.LockWrite && !r.open {
		return syscall.EBUSY
	}
	return syscall.EAGAIN
}

// judgeIO returns 0 if r may go on.
func (o *object) judgeIO(r *ioRange, mode mandatoryMode, enforced bool) syscall.Errno {
	own := false
	for _, g := range o.posix.granted {
		if mode == mandatoryOptimal && !g.mandatory {
			continue
		}
		if g.conflicts(&r.posixLock) {
			if enforced {
				return refusal(r)
			}
			return syscall.EAGAIN
		}
		own = own || g.overlaps(&r.posixLock) && g.owner.is(r.owner) && (r.typ == fop.LockRead || g.typ == fop.LockWrite)
	}
	if enforced && !own {
		return refusal(r)
	}
	return 0
}

// wakeIO lets waiting reads and writes look again.
func (o *object) wakeIO() {
	for _, w := range o.io {
		w.answer(0)
	}
	o.io = nil
}

// isEnforced reports whether g bears keyEnforce.
func (l *Locks) isEnforced(ctx context.Context, g fop.GFID) (bool, error) {
	s := l.shard(g)
	s.mu.Lock()
	v, ok := s.enforced[g]
	s.mu.Unlock()
	if ok {
		return v, nil
	}
	reply, err := fop.Call(ctx, l.next, &fop.Getxattr{Header: fop.Header{Cred: internal}, GFID: g, Name: keyEnforce})
	switch fop.Errno(err) {
	case 0:
		v = reply.Dict.Has(keyEnforce)
	case syscall.ENODATA, syscall.ENOTSUP:
	default:
		return false, fmt.Errorf("reading %s of %v: %w", keyEnforce, g, err)
	}
	s.mu.Lock()
	if s.enforced == nil {
		s.enforced = map[fop.GFID]bool{}
	}
	if len(s.enforced) >= enforcedMax {
		for k := range s.enforced {
			delete(s.enforced, k)
			break
		}
	}
	s.enforced[g] = v
	s.mu.Unlock()
	return v, nil
}

func (l *Locks) forgetEnforced(g fop.GFID) {
	s := l.shard(g)
	s.mu.Lock()
	delete(s.enforced, g)
	s.mu.Unlock()
}

// xattr looks after the extended attributes that mean something here.
func (l *Locks) xattr(ctx context.Context, req fop.Request) (reply fop.Reply, err error, done bool) {
	var (
		g    fop.GFID
		fd   *fop.Fd
		dict *fop.Dict
		name string
	)
	switch r := req.(type) {
	case *fop.Setxattr:
		g, dict = r.GFID, r.Dict
	case *fop.Fsetxattr:
		g, fd, dict = fdGFID(r.GFID, r.Fd), r.Fd, r.Dict
	case *fop.Removexattr:
		g, name = r.GFID, r.Name
	case *fop.Fremovexattr:
		g, fd, name = fdGFID(r.GFID, r.Fd), r.Fd, r.Name
	}
	if name == keyEnforce {
		reply, err = l.pass(ctx, req)
		l.forgetEnforced(g)
		return reply, err, true
	}
	for _, p := range dict.Pairs() {
		switch p.Key {
		case keyEnforce:
			if o := l.opts.Load(); !o.enforce || o.mandatory == mandatoryOff {
				return nil, fmt.Errorf("%s needs mandatory-locking and enforce-mandatory-lock: %w", keyEnforce, syscall.EINVAL), true
			}
			reply, err = l.pass(ctx, req)
			l.forgetEnforced(g)
			return reply, err, true
		case keyLockinfo:
			if fd != nil {
				err = l.adopt(ctx, g, fd, req.Head().From, p.Val.Bytes())
				return &fop.CommonReply{}, err, true
			}
		case keyMetaLock:
			if fd == nil {
				err = l.metaLock(g, req.Head())
				return &fop.CommonReply{}, err, true
			}
		case keyMetaUnlock:
			if fd == nil {
				err = l.metaUnlock(g, req.Head())
				return &fop.CommonReply{}, err, true
			}
		}
	}
	return nil, nil, false
}
