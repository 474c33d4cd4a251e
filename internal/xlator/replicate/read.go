package replicate

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// meter measures what one child has to do for readers.
type meter struct {
	outstanding atomic.Int32
	delay       atomic.Int64 // of an answer, in nanoseconds, as a moving average
}

// partOf tells whether a fop reads contents or metadata: it needs a copy that is
// good in that respect.
func partOf(req fop.Request) part {
	switch req.(type) {
	case *fop.Access, *fop.Getxattr, *fop.Fgetxattr:
		return metadata
	}
	return data
}

// final reports whether an error is as good an answer as success: it says
// something about the object, not about one copy of it.
func final(err error) bool {
	switch fop.Errno(err) {
	case syscall.ENODATA, syscall.ERANGE, syscall.EACCES, syscall.EPERM, syscall.EINVAL, syscall.ENXIO,
		syscall.EISDIR, syscall.ENOTDIR, syscall.EOPNOTSUPP, syscall.ENAMETOOLONG, syscall.EAGAIN:
		return true
	}
	return false
}

// read carries out a fop that only reads, on one child. On an object that is
// known and well that takes one message.
func (r *replicate) read(ctx context.Context, req fop.Request) (fop.Reply, error) {
	g, fd := fop.Target(req)
	v := r.view()
	if err := r.gate(v, req.Op().String()); err != nil {
		return nil, err
	}
	if fd != nil {
		r.fixOpen(fd, v)
	}
	t := reading{r: r, req: req, gfid: g, fd: fd, v: v}
	if child, others := r.known(g, v); child >= 0 {
		if reply, err, done := t.try(ctx, child, others); done {
			return reply, err
		}
	}
	return t.carefully(ctx)
}

// known picks the child to read a well-known object from, -1 if the object is not
// known well enough, and the other children that would do.
func (r *replicate) known(g fop.GFID, v view) (child int, others set) {
	o := r.objects.Peek(g)
	if o == nil {
		return -1, 0
	}
	defer o.Release()
	m, ok := o.V.readable(v.gen)
	if !ok {
		return -1, 0
	}
	good := m.both() & v.up
	dir, _ := o.V.isDir()
	if child = r.choose(good, g, dir); child < 0 {
		return -1, 0
	}
	return child, good.without(child)
}

// reading is a fop on its way from child to child.
type reading struct {
	r     *replicate
	req   fop.Request
	gfid  fop.GFID
	fd    *fop.Fd
	v     view
	tried set
	last  error
	// answered is the child whose answer counts.
	answered int
}

// try asks a child, and perhaps one of the others if it takes too long. done says
// that the answer counts.
func (t *reading) try(ctx context.Context, child int, others set) (reply fop.Reply, err error, done bool) {
	t.tried = t.tried.with(child)
	others &^= t.tried
	t.answered = child
	delay := t.r.conf.Load().hedge
	if others != 0 && delay > 0 && hedgeable(t.req) {
		var second int
		reply, second, err = t.r.hedged(ctx, child, others, t.req, delay)
		if second >= 0 {
			t.tried = t.tried.with(second)
		}
	} else {
		reply, err = t.r.from(ctx, child, t.req)
	}
	if err == nil || final(err) || ctx.Err() != nil {
		return reply, err, true
	}
	t.last = err
	return nil, nil, false
}

// from asks one child.
func (r *replicate) from(ctx context.Context, child int, req fop.Request) (fop.Reply, error) {
	m := &r.meters[child]
	timed := r.conf.Load().hashMode >= leastDelay
	var begin time.Time
	if timed {
		begin = time.Now()
	}
	m.outstanding.Add(1)
	reply, err := r.children[child].Do(ctx, req)
	m.outstanding.Add(-1)
	if timed && err == nil {
		old, now := m.delay.Load(), int64(time.Since(begin))
		if old != 0 {
			now = old + (now-old)/8
		}
		m.delay.Store(now)
	}
	return reply, err
}

// carefully looks first which copies are good, and then asks one after the other
// until one answers.
func (t *reading) carefully(ctx context.Context) (fop.Reply, error) {
	r := t.r
	o := r.acquire(t.gfid)
	defer o.Release()
	var buf [maxChildren]answer
	f, err := r.inspect(ctx, o, &t.req.Head().Cred, t.fd, t.v, buf[:r.n])
	if err != nil {
		return nil, err
	}
	dir, _ := o.V.isDir()
	p := partOf(t.req)
	good := f.of(p) & f.good
	if !readAllowed(t.req, dir, f.maps) {
		i := r.despite(o, buf[:r.n])
		if i < 0 {
			return nil, r.splitBrain(t.req.Op(), t.gfid)
		}
		good = only(i)
		t.tried = 0
	} else if good == 0 { // a directory whose entries differ: they still can be listed
		good = f.good
	}
	for good &^= t.tried; good != 0; good &^= t.tried {
		child := r.choose(good, t.gfid, dir)
		if reply, err, done := t.try(ctx, child, good); done {
			return reply, err
		}
	}
	if t.last == nil {
		return nil, r.splitBrain(t.req.Op(), t.gfid)
	}
	return nil, t.last
}

// readAllowed reports whether there is a copy good enough to read from. A
// directory in which names differ can still be listed.
func readAllowed(req fop.Request, dir bool, m maps) bool {
	if !dir {
		return m.data != 0 && m.meta != 0
	}
	switch req.(type) {
	case *fop.Stat, *fop.Fstat, *fop.Access, *fop.Getxattr, *fop.Fgetxattr:
		return m.meta != 0
	}
	return true
}

// despite is the child to read from although no copy is good: the one that
// somebody chose for the object, or the one that favorite-child-policy names; -1
// if there is none. Both need the answers of all children.
func (r *replicate) despite(o *ref, as []answer) int {
	for i := range as {
		if !as[i].ok() {
			return -1
		}
	}
	if i := o.V.chosen(); i >= 0 {
		return i
	}
	if policy := r.conf.Load().favorite; policy != "" {
		return favorite(policy, as, r.arbiter)
	}
	return -1
}
