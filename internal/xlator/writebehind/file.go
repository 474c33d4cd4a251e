package writebehind

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// ref is a hold on what is known of an object.
type ref = inodes.Ref[file]

// file is what is known of an object that is open for writing, or has writes
// under way.
type file struct {
	mu      sync.Mutex
	q       queue
	rules   *rules    // as the queue was judged by
	flight  []*flight // oldest first; reaping says that somebody waits for them
	reaping bool
	waiters []*waiter
	handles []*handle
	locked  bool  // posix locks were taken: a flush drops them
	lost    error // of a write whose openers are all gone, for the next one
}

// handle is an open file that can be written to; it lives in the slot of its
// Fd.
type handle struct {
	at *ref
	// Under the mutex of the file:
	err     error // for the next fsync or flush
	werr    error // for the next write
	tasks   int   // flushes that are done behind
	closing bool  // released; the release of the child comes with the last task
	cred    fop.Cred
	end     uint64 // where its last write ended, to see that it goes on
}

// flight is a chunk that has been sent.
type flight struct {
	c *chunk
	// part is what is sent: the chunk, or what a short write left of it.
	part fop.Write
	p    fop.Pending
}

// waiter waits until those writes of a file are done that it counted.
type waiter struct {
	span  span
	count int
	room  int // or until so many bytes fit
	// or until this one does, or is done: one of a writer who waits. With sent it
	// is or was set, and the write needs no other try.
	chunk *chunk
	sent  bool
	err   error // of one that failed and is kept
	ch    chan struct{}
	seen  map[*chunk]bool // those that it counted; nil for room
}

// wait waits until all writes that overlap s, and are under way now, are done.
// The error is that of the context, or of a write that failed and is kept to be
// tried again.
func (w *behind) wait(ctx context.Context, at *ref, s span) error {
	f := &at.V
	f.mu.Lock()
	if f.q.count(s) == 0 {
		f.mu.Unlock()
		return nil
	}
	f.q.again()
	f.q.push()
	x := &waiter{span: s, ch: make(chan struct{}), seen: make(map[*chunk]bool)}
	for _, c := range f.q.chunks {
		if c.overlaps(s) {
			x.seen[c] = true
			x.count++
		}
	}
	f.waiters = append(f.waiters, x)
	w.pump(at)
	return w.await(ctx, f, x)
}

// await waits for x, which is in f.waiters.
func (w *behind) await(ctx context.Context, f *file, x *waiter) error {
	select {
	case <-x.ch:
		return x.err
	case <-ctx.Done():
	}
	f.leave(x)
	select {
	case <-x.ch: // just now
		return x.err
	default:
	}
	return context.Cause(ctx)
}

// leave ends a wait early.
func (f *file) leave(x *waiter) {
	f.mu.Lock()
	if i := slices.Index(f.waiters, x); i >= 0 {
		f.waiters = slices.Delete(f.waiters, i, i+1)
		if x.chunk != nil {
			f.unsee(x)
		}
	}
	f.mu.Unlock()
}

// settle tells the waiters that c is done, or with err that it will not be for
// now; with nil, that there is more room. f.mu is held.
func (f *file) settle(c *chunk, err error) {
	rest := f.waiters[:0]
	for _, x := range f.waiters {
		over := false
		if x.chunk != nil {
			over = f.admit(x, c, err)
		} else if x.seen == nil {
			over = f.q.roomy(x.room, f.rules)
		} else if x.seen[c] {
			delete(x.seen, c)
			x.count--
			if x.err == nil {
				x.err = err
			}
			over = x.count == 0
		}
		if over {
			close(x.ch)
		} else {
			rest = append(rest, x)
		}
	}
	clear(f.waiters[len(rest):])
	f.waiters = rest
}

// admit answers a writer who waits with a chunk of his own: when that is done, or
// fits into what may be under way unseen. f.mu is held.
func (f *file) admit(x *waiter, c *chunk, err error) bool {
	switch {
	case x.chunk == c && err != nil: // it is held up by one that failed
		x.err = err
		f.unsee(x)
	case x.chunk == c:
		x.chunk = nil
	case f.q.bytes+len(x.chunk.req.Data) <= f.rules.window:
		f.unsee(x)
	default:
		return false
	}
	return true
}

// unsee counts the chunk of a writer who waits no longer as one that is under way
// unseen. f.mu is held.
func (f *file) unsee(x *waiter) {
	x.chunk.late = nil
	f.q.bytes += len(x.chunk.req.Data)
	x.chunk = nil
}

// pump sends what may be sent. It is called with the mutex of the file held, and
// returns without it.
func (w *behind) pump(at *ref) {
	f := &at.V
	for {
		c := f.q.next()
		if c == nil {
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		w.send(at, c)
		f.mu.Lock()
	}
}

// send starts a chunk and has somebody wait for it.
func (w *behind) send(at *ref, c *chunk) {
	x := flights.Get().(*flight)
	x.c, x.part = c, c.req
	x.part.Offset += uint64(c.written)
	x.part.Data = c.req.Data[c.written:]
	x.p = fop.Start(w.life, w.child, &x.part)
	f := &at.V
	f.mu.Lock()
	f.flight = append(f.flight, x)
	first := !f.reaping
	f.reaping = true
	f.mu.Unlock()
	if first {
		at.Hold()
		w.tasks.begin()
		go w.reap(at)
	}
}

var flights = sync.Pool{New: func() any { return new(flight) }}

// reap waits for what is under way of one file, until nothing is.
func (w *behind) reap(at *ref) {
	defer w.tasks.end()
	defer at.Release()
	f := &at.V
	f.mu.Lock()
	for len(f.flight) > 0 {
		x := f.flight[0]
		f.mu.Unlock()
		reply, err := x.p.Wait()
		f.mu.Lock()
		f.flight[0] = nil
		f.flight = f.flight[1:]
		c := x.c
		*x = flight{}
		flights.Put(x)
		w.landed(at, c, reply, err)
		w.pump(at)
		f.mu.Lock()
	}
	f.flight, f.reaping = nil, false
	f.mu.Unlock()
}

// landed takes note of what became of a chunk. f.mu is held.
func (w *behind) landed(at *ref, c *chunk, reply fop.Reply, err error) {
	f := &at.V
	if err == nil {
		r, ok := reply.(*fop.WriteReply)
		left := len(c.req.Data) - c.written
		switch {
		case !ok:
			err = fmt.Errorf("WRITE answered with %T: %w", reply, syscall.EPROTO)
		case int(r.Size) < left && r.Size > 0:
			c.written += int(r.Size)
			c.sent = false
			f.q.flying--
			f.q.ready++
			return
		case int(r.Size) != left:
			err = fmt.Errorf("WRITE of %d bytes wrote %d: %w: %w", left, r.Size, syscall.EIO, io.ErrShortWrite)
		}
	}
	if err != nil && c.late != nil { // its writer hears of it
		w.counts.failed.Add(1)
		c.late.err = err
		w.drop(at, c)
		return
	}
	if err != nil && w.conf.Load().resync && w.life.Err() == nil && !c.h.closing {
		w.counts.failed.Add(1)
		for _, stuck := range f.q.fail(c, f.rules) {
			f.settle(stuck, err)
		}
		return
	}
	if err != nil {
		w.counts.failed.Add(1)
		f.report(w.log, at.GFID, c, err)
	}
	w.drop(at, c)
}

// drop ends the way of a chunk. f.mu is held.
func (w *behind) drop(at *ref, c *chunk) {
	f := &at.V
	f.q.done(c, f.rules)
	if len(f.q.chunks) == 0 {
		w.dirty.Add(-1)
		w.watch.clean(at.GFID)
	}
	f.settle(c, nil)
	if len(f.waiters) > 0 && f.q.flying == 0 {
		f.q.push() // nothing else would make room
	}
	c.recycle()
}

// report notes the error of a delayed write for all who must hear of it.
func (f *file) report(log *slog.Logger, g fop.GFID, c *chunk, err error) {
	told := false
	for _, h := range f.handles {
		if !h.closing {
			h.err = err
			told = true
		}
	}
	if !c.h.closing {
		c.h.werr = err
	}
	if !told {
		f.lost = err
		log.Error("a write failed after it was answered, and its file was closed", "gfid", g,
			"offset", c.req.Offset, "bytes", len(c.req.Data), "err", err)
	}
}

// giveUp drops the writes that failed and were kept. f.mu is held.
func (w *behind) giveUp(at *ref) {
	f := &at.V
	for {
		var c *chunk
		for _, x := range f.q.chunks {
			if x.failed {
				c = x
				break
			}
		}
		if c == nil {
			return
		}
		w.drop(at, c)
	}
}
