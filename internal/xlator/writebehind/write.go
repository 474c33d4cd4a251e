package writebehind

import (
	"context"
	"slices"

	"github.com/wythefs/wythe/internal/fop"
)

// delayable returns the handle of a write that may be answered early, nil if it
// must not.
func (w *behind) delayable(c *config, r *fop.Write) *handle {
	if r.Fd == nil || len(r.Data) == 0 || len(r.Data) > c.window || r.XData.Len() > 0 || c.pass || w.quiet.Load() {
		return nil
	}
	flags := r.Fd.Flags | r.Flags
	if flags&fop.OSync == fop.OSync || flags&fop.ODsync != 0 || c.strictDirect && flags&fop.ODirect != 0 {
		return nil
	}
	h, _ := r.Fd.Get(w).(*handle)
	return h
}

func (w *behind) write(ctx context.Context, r *fop.Write) (fop.Reply, error) {
	c := w.conf.Load()
	h := w.delayable(c, r)
	if h == nil {
		return w.writeLate(ctx, c, r)
	}
	for {
		early, x, err := w.tryEarly(c, h, r)
		switch {
		case err != nil:
			return nil, err
		case early:
			return &fop.WriteReply{Size: uint32(len(r.Data))}, nil
		case x == nil:
			return w.writeLate(ctx, c, r)
		}
		if err := w.await(ctx, &h.at.V, x); err != nil {
			return nil, err
		}
		if x.sent {
			return &fop.WriteReply{Size: uint32(len(r.Data))}, nil
		}
	}
}

// writeLate has the child answer a write, after those that it must not overtake.
func (w *behind) writeLate(ctx context.Context, c *config, r *fop.Write) (fop.Reply, error) {
	w.counts.late.Add(1)
	if err := w.takeError(r.Fd); err != nil {
		return nil, err
	}
	if w.dirty.Load() > 0 {
		if at := w.files.Peek(r.GFID); at != nil {
			err := w.wait(ctx, at, w.spanOf(c, r))
			at.Release()
			if err != nil {
				return nil, err
			}
		}
	}
	return w.child.Do(ctx, r)
}

// spanOf is what a write must not overtake.
func (w *behind) spanOf(c *config, r *fop.Write) span {
	if c.strict || appends(r) {
		return everything
	}
	return span{r.Offset, r.Offset + uint64(len(r.Data))}
}

func appends(r *fop.Write) bool {
	return r.Flags&fop.OAppend != 0 || r.Fd != nil && r.Fd.Flags&fop.OAppend != 0
}

// startWrite is write for a caller that does not wait. What is large is not
// delayed.
func (w *behind) startWrite(ctx context.Context, r *fop.Write) fop.Pending {
	c := w.conf.Load()
	if len(r.Data) >= c.aggregate || w.delayable(c, r) == nil {
		if err := w.takeError(r.Fd); err != nil {
			return settled{err: err}
		}
		if w.dirty.Load() == 0 || !w.pendingIn(r.GFID, w.spanOf(c, r)) {
			w.counts.late.Add(1)
			return fop.Start(ctx, w.child, r)
		}
		return fop.Start(ctx, fop.HandlerFunc(func(ctx context.Context, _ fop.Request) (fop.Reply, error) { return w.writeLate(ctx, c, r) }), r)
	}
	h := w.delayable(c, r)
	if h != nil {
		early, x, err := w.tryEarly(c, h, r)
		if early || err != nil {
			return settled{&fop.WriteReply{Size: uint32(len(r.Data))}, err}
		}
		if x != nil {
			h.at.V.leave(x)
		}
	}
	return fop.Start(ctx, fop.HandlerFunc(w.Do), r)
}

// pendingIn reports whether writes that overlap s are under way.
func (w *behind) pendingIn(g fop.GFID, s span) bool {
	at := w.files.Peek(g)
	if at == nil {
		return false
	}
	defer at.Release()
	at.V.mu.Lock()
	defer at.V.mu.Unlock()
	return at.V.q.count(s) > 0
}

// tryEarly answers a write early. If there is no room for now it returns a
// waiter for it, unless the write is large: then it is sent as it is, which
// spares a copy. If its memory can be held, it is sent as well, and the waiter is
// for room or for its end, whichever comes first: so one that is large goes out
// while the one before it is under way, and the next while it is itself.
func (w *behind) tryEarly(c *config, h *handle, r *fop.Write) (early bool, room *waiter, err error) {
	f := &h.at.V
	n := len(r.Data)
	f.mu.Lock()
	f.obey(&c.rules)
	switch {
	case h.werr != nil:
		err, h.werr = h.werr, nil
		f.mu.Unlock()
		return false, nil, err
	case w.quiet.Load() || h.closing:
		f.mu.Unlock()
		return false, nil, nil
	case !f.q.fits(n, f.rules):
		if n >= c.aggregate && (r.Memory == nil || c.resync) {
			f.mu.Unlock()
			return false, nil, nil
		}
		x := &waiter{room: n, ch: make(chan struct{})}
		if n >= c.aggregate {
			w.counts.late.Add(1)
			x.sent, x.chunk = true, h.chunk(r)
			x.chunk.keep(r)
			x.chunk.late = x
			f.waiters = append(f.waiters, x)
			w.enqueue(h, x.chunk)
			return false, x, nil
		}
		f.waiters = append(f.waiters, x)
		f.q.again()
		f.q.push()
		w.pump(h.at)
		return false, x, nil
	}
	w.counts.early.Add(1)
	f.q.bytes += n
	app := appends(r)
	if t := f.q.joins(r, h, app, f.rules); t != nil {
		w.counts.joined.Add(1)
		t.add(r.Data, c.aggregate)
		h.end = t.end()
		f.q.joined(t, f.rules)
		f.q.again()
		w.pump(h.at)
		return true, nil, nil
	}
	k := h.chunk(r)
	switch {
	case n < c.aggregate:
		if r.Offset == h.end { // it goes on, and will
			k.buf = getBuffer(c.aggregate)
		}
		k.add(r.Data, c.aggregate)
	case r.Memory != nil:
		k.keep(r)
	default:
		// Nobody else needs to wait for the copy.
		f.mu.Unlock()
		k.add(r.Data, c.aggregate)
		f.mu.Lock()
		if w.quiet.Load() || h.closing {
			f.q.bytes -= n
			f.settle(nil, nil) // there is room again
			f.mu.Unlock()
			k.recycle()
			return false, nil, nil
		}
	}
	w.enqueue(h, k)
	return true, nil, nil
}

// chunk makes a chunk of a write, without its data. The mutex of the file is held.
func (h *handle) chunk(r *fop.Write) *chunk {
	k := chunks.Get().(*chunk)
	k.req = fop.Write{Header: fop.Header{Cred: h.credOf(&r.Cred), Time: r.Time}, GFID: r.GFID, Fd: r.Fd, Offset: r.Offset, Flags: r.Flags}
	k.h, k.append = h, appends(r)
	return k
}

// enqueue has a chunk sent when it may be. The mutex of the file is held, and not
// afterwards.
func (w *behind) enqueue(h *handle, k *chunk) {
	f := &h.at.V
	if len(f.q.chunks) == 0 {
		w.dirty.Add(1)
	}
	h.end = k.end()
	f.q.put(k, f.rules)
	f.q.again()
	w.pump(h.at)
}

// credOf returns a credential that lasts: the groups of a request belong to its
// caller. The mutex of the file is held.
func (h *handle) credOf(c *fop.Cred) fop.Cred {
	keep := *c
	if len(c.Groups) > 0 {
		if !slices.Equal(h.cred.Groups, c.Groups) {
			h.cred.Groups = slices.Clone(c.Groups)
		}
		keep.Groups = h.cred.Groups
	}
	return keep
}

// takeError returns the error of a delayed write that the next write reports.
func (w *behind) takeError(fd *fop.Fd) error {
	if fd == nil {
		return nil
	}
	h, _ := fd.Get(w).(*handle)
	if h == nil {
		return nil
	}
	f := &h.at.V
	f.mu.Lock()
	defer f.mu.Unlock()
	err := h.werr
	h.werr = nil
	return err
}
