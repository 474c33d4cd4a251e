package openbehind

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
)

// opening is a file whose open was answered, and what has become of it. It lives
// in the slot of its Fd.
type opening struct {
	req fop.Open
	ok  atomic.Bool // the child has it open

	mu     sync.Mutex
	run    chan struct{} // closed when the open under way is over; nil: none is
	err    error         // of the last one
	closed bool
}

func newOpening(r *fop.Open) *opening {
	o := &opening{req: *r}
	o.req.Cred.Groups = slices.Clone(r.Cred.Groups)
	return o
}

// untouched reports whether the open has not begun.
func (o *opening) untouched() bool {
	if o.ok.Load() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.run == nil
}

// finish opens the file if it is not open, and waits until it is. Of several
// callers one does it; an error is that of the next caller, too, who tries
// again.
func (o *opening) finish(ctx context.Context, b *behind) error {
	for !o.ok.Load() {
		o.mu.Lock()
		switch {
		case o.ok.Load() || o.closed:
			o.mu.Unlock()
			return nil
		case o.run != nil:
			run := o.run
			o.mu.Unlock()
			select {
			case <-run:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			o.mu.Lock()
			err := o.err
			o.mu.Unlock()
			if err != nil && ctx.Err() == nil && !o.ok.Load() && fop.Errno(err) != fop.Errno(context.Canceled) {
				return err
			}
			continue
		}
		run := make(chan struct{})
		o.run = run
		o.mu.Unlock()
		q := o.req
		_, err := b.child.Do(ctx, &q)
		o.mu.Lock()
		o.run, o.err = nil, err
		if err == nil {
			o.ok.Store(true)
			b.counts.opened.Add(1)
		} else {
			b.counts.failed.Add(1)
		}
		o.mu.Unlock()
		if err == nil {
			b.done(o)
		}
		close(run)
		return err
	}
	return nil
}

// done takes o off the list of those that wait.
func (b *behind) done(o *opening) {
	b.mu.Lock()
	delete(b.waiting, o)
	b.n.Store(int64(len(b.waiting)))
	b.mu.Unlock()
}

// close ends the life of o and reports whether the child has it open.
func (o *opening) close(ctx context.Context, b *behind) bool {
	o.mu.Lock()
	for o.run != nil { // somebody opens it, for another's sake
		run := o.run
		o.mu.Unlock()
		<-run
		o.mu.Lock()
	}
	o.closed = true
	o.mu.Unlock()
	b.done(o)
	return o.ok.Load()
}

// spare ends the life of o if nobody has begun to open it, and reports whether
// that was so.
func (o *opening) spare(b *behind) bool {
	o.mu.Lock()
	spared := o.run == nil && !o.closed && !o.ok.Load()
	o.closed = o.closed || spared
	o.mu.Unlock()
	if spared {
		b.done(o)
	}
	return spared
}
