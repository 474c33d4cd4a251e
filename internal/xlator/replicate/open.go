package replicate

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
)

// open opens a file on all children. Truncating is a transaction of its own,
// afterwards.
func (r *replicate) open(ctx context.Context, q *fop.Open) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, "open"); err != nil {
		return nil, err
	}
	if err := r.openAllowed(ctx, q, v); err != nil {
		return nil, err
	}
	p := *q
	p.Flags &^= fop.OTrunc
	reply, err := r.openOn(ctx, &p, q.Fd, v)
	if err != nil || q.Flags&fop.OTrunc == 0 {
		return reply, err
	}
	cut := &fop.Ftruncate{Header: fop.Header{Cred: q.Cred, Time: q.Time}, GFID: q.GFID, Fd: q.Fd}
	if _, err := r.transact(ctx, cut); err != nil {
		r.releaseAll(q.Fd)
		return nil, err
	}
	return reply, nil
}

// openAllowed refuses a file of which no copy is good.
func (r *replicate) openAllowed(ctx context.Context, q *fop.Open, v view) error {
	o := r.acquire(q.GFID)
	defer o.Release()
	if m, ok := o.V.readable(v.gen); ok && m.data != 0 && m.meta != 0 {
		return nil
	}
	var buf [maxChildren]answer
	f, err := r.inspect(ctx, o, &q.Cred, nil, v, buf[:r.n])
	if err != nil {
		return err
	}
	dir, _ := o.V.isDir()
	if !readAllowed(q, dir, f.maps) && r.despite(o, buf[:r.n]) < 0 {
		return r.splitBrain(fop.OpOpen, q.GFID)
	}
	return nil
}

func (r *replicate) opendir(ctx context.Context, q *fop.Opendir) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, "opendir"); err != nil {
		return nil, err
	}
	return r.openOn(ctx, q, q.Fd, v)
}

// openOn opens a file or directory on all children that are up. It is open if
// quorum has it.
func (r *replicate) openOn(ctx context.Context, req fop.Request, fd *fop.Fd, v view) (fop.Reply, error) {
	var buf [maxChildren]answer
	as := buf[:r.n]
	good := r.fan(ctx, v.up, req, as)
	r.openedOn(fd, good)
	if good == 0 || !r.conf.Load().quorum.met(good) {
		r.releaseAll(fd)
		return nil, r.failure(req.Op().String(), as)
	}
	return as[good.first()].reply, nil
}

// release gives up an open file everywhere.
func (r *replicate) release(ctx context.Context, req fop.Request) (fop.Reply, error) {
	_, fd := fop.Target(req)
	r.closed(fd)
	if fd != nil && !fd.Dir {
		if o := r.objects.Peek(fd.GFID); o != nil {
			defer o.Release()
			if r.outlive(&o.V, fd, func() { r.releaseOn(all(r.n), fd) }) {
				return &fop.CommonReply{}, nil
			}
		}
	}
	var buf [maxChildren]answer
	r.fan(ctx, all(r.n), req, buf[:r.n])
	return &fop.CommonReply{}, nil
}

// closed ends the state of an open file. What is being opened again right now
// is given back when that is done.
func (r *replicate) closed(fd *fop.Fd) {
	if fd == nil {
		return
	}
	if s, ok := fd.Set(r, nil).(*fdState); ok {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	}
}

// releaseAll gives up a file whose opening failed in the end.
func (r *replicate) releaseAll(fd *fop.Fd) {
	if fd == nil {
		return
	}
	r.closed(fd)
	r.releaseOn(all(r.n), fd)
}

// flush tells all children, also those that are away, which are not to acquire the
// owner's locks again; one that takes it is enough, with a quorum or not. What
// transactions have put off is done first.
func (r *replicate) flush(ctx context.Context, q *fop.Flush) (fop.Reply, error) {
	v := r.view()
	if err := r.reach(v, "flush"); err != nil {
		return nil, err
	}
	if o := r.objects.Peek(q.GFID); o != nil {
		r.settle(ctx, &o.V)
		o.Release()
	}
	return r.anyOf(ctx, q, all(r.n))
}

// fsyncdir is for all children; one that does it is enough, with a quorum or not.
func (r *replicate) fsyncdir(ctx context.Context, q *fop.Fsyncdir) (fop.Reply, error) {
	v := r.view()
	if err := r.reach(v, "fsyncdir"); err != nil {
		return nil, err
	}
	return r.anyOf(ctx, q, v.up)
}

func (r *replicate) anyOf(ctx context.Context, req fop.Request, to set) (fop.Reply, error) {
	var buf [maxChildren]answer
	as := buf[:r.n]
	good := r.fan(ctx, to, req, as)
	if good == 0 {
		return nil, r.failure(req.Op().String(), as)
	}
	return as[good.first()].reply, nil
}

// statfs asks all children that hold data; the fullest one counts.
func (r *replicate) statfs(ctx context.Context, q *fop.StatfsReq) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, "statfs"); err != nil {
		return nil, err
	}
	to := v.up
	if r.arbiter >= 0 {
		to = to.without(r.arbiter)
	}
	var buf [maxChildren]answer
	as := buf[:r.n]
	var least *fop.StatfsReply
	for i := range r.fan(ctx, to, q, as).each {
		if s := replyOf[*fop.StatfsReply](as, i); s != nil && (least == nil || s.Statfs.Bavail < least.Statfs.Bavail) {
			least = s
		}
	}
	if least == nil {
		return nil, r.failure("statfs", as)
	}
	return least, nil
}
