package writebehind

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
)

// handleOf returns the handle of an open file, nil if it cannot be written to or
// was not opened here.
func (w *behind) handleOf(fd *fop.Fd) *handle {
	if fd == nil {
		return nil
	}
	h, _ := fd.Get(w).(*handle)
	return h
}

// opened makes the handle of a file that was opened for writing.
func (w *behind) opened(fd *fop.Fd, g fop.GFID, flags uint32) {
	if fd == nil || flags&fop.OAccmode == fop.ORdonly {
		return
	}
	h := &handle{at: w.files.Acquire(g)}
	f := &h.at.V
	f.mu.Lock()
	f.handles = append(f.handles, h)
	h.err, f.lost = f.lost, nil
	f.mu.Unlock()
	if h.err != nil {
		w.found(h.at)
	}
	if old, _ := fd.Set(w, h).(*handle); old != nil {
		w.closed(old) // opened twice, by a caller that forgot to release it
	}
}

// closed forgets a handle that nothing needs any more.
func (w *behind) closed(h *handle) {
	f := &h.at.V
	f.mu.Lock()
	for i, x := range f.handles {
		if x == h {
			f.handles = append(f.handles[:i], f.handles[i+1:]...)
			break
		}
	}
	if len(f.handles) == 0 {
		f.locked = false
	}
	if h.err != nil && f.lost == nil && len(f.handles) == 0 {
		f.lost = h.err
		w.log.Error("a write failed after it was answered, and its file was closed without a flush", "gfid", h.at.GFID, "err", h.err)
	}
	lost := f.lost != nil && len(f.handles) == 0
	f.mu.Unlock()
	if lost {
		w.remember(h.at)
	}
	h.at.Release()
}

// remember holds on to an object because of its lost error.
func (w *behind) remember(at *ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.lost {
		if x == at {
			return
		}
	}
	w.lost = append(w.lost, at.Hold())
	if len(w.lost) > maxLost {
		w.lost[0].Release()
		w.lost = append(w.lost[:0], w.lost[1:]...)
	}
}

// found undoes remember.
func (w *behind) found(at *ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, x := range w.lost {
		if x == at {
			w.lost = append(w.lost[:i], w.lost[i+1:]...)
			at.Release()
			return
		}
	}
}

func (w *behind) open(ctx context.Context, r *fop.Open) (fop.Reply, error) {
	if r.Flags&fop.OTrunc != 0 {
		if err := w.waitFor(ctx, r.GFID); err != nil {
			return nil, err
		}
	}
	reply, err := w.child.Do(ctx, r)
	if err == nil {
		w.opened(r.Fd, r.GFID, r.Flags)
	}
	return reply, err
}

func (w *behind) create(ctx context.Context, r *fop.Create) (fop.Reply, error) {
	if r.Flags&fop.OTrunc != 0 && r.Flags&fop.OExcl == 0 && w.dirty.Load() > 0 {
		// It may be one of them.
		var err error
		w.files.Range(func(at *ref) bool {
			err = w.wait(ctx, at, everything)
			return ctx.Err() == nil
		})
		if ctx.Err() != nil {
			return nil, err
		}
	}
	o := w.watch.begin(w)
	defer w.watch.end(o)
	reply, err := w.child.Do(ctx, r)
	if c, ok := reply.(*fop.CreateReply); ok && err == nil {
		w.opened(r.Fd, c.Stat.GFID, r.Flags)
		w.refresh(ctx, o, &r.Header, &c.Stat)
	}
	return reply, err
}

// waitFor waits for all writes to an object.
func (w *behind) waitFor(ctx context.Context, g fop.GFID) error {
	if w.dirty.Load() == 0 {
		return nil
	}
	at := w.files.Peek(g)
	if at == nil {
		return nil
	}
	defer at.Release()
	return w.wait(ctx, at, everything)
}

// takeSyncError returns what an fsync or flush reports. With peek it stays.
func (w *behind) takeSyncError(h *handle, peek bool) error {
	f := &h.at.V
	f.mu.Lock()
	defer f.mu.Unlock()
	err := h.err
	if !peek {
		h.err, h.werr = nil, nil
	}
	return err
}

// fsync waits for the writes and reports what went wrong with them. One that
// comes from a layer of ours, not from the application, which would not hear of
// it, leaves the error to the next.
func (w *behind) fsync(ctx context.Context, r *fop.Fsync) (fop.Reply, error) {
	h := w.handleOf(r.Fd)
	if h == nil {
		if err := w.waitFor(ctx, r.GFID); err != nil {
			return nil, err
		}
		return w.child.Do(ctx, r)
	}
	err := w.wait(ctx, h.at, everything)
	reply, err2 := w.child.Do(ctx, r)
	if err3 := w.takeSyncError(h, r.XData.Has(fop.KeyInternalFop)); err3 != nil {
		return nil, err3
	}
	if err != nil {
		return nil, err
	}
	return reply, err2
}

func (w *behind) flush(ctx context.Context, r *fop.Flush) (fop.Reply, error) {
	h := w.handleOf(r.Fd)
	if h == nil {
		return w.child.Do(ctx, r)
	}
	err := w.wait(ctx, h.at, everything)
	f := &h.at.V
	f.mu.Lock()
	for err2 := err; err2 != nil && ctx.Err() == nil; {
		// Those that failed are not kept beyond a flush; those that they held up
		// are done now.
		w.giveUp(h.at)
		w.pump(h.at)
		err2 = w.wait(ctx, h.at, everything)
		f.mu.Lock()
	}
	if h.err != nil {
		err = h.err
	}
	h.err, h.werr = nil, nil
	// While nobody asked for locks, a client has nothing to send.
	behind := w.conf.Load().flushBehind && w.locking.Load() && !f.locked && !h.closing && !w.quiet.Load() && ctx.Err() == nil
	if behind {
		h.tasks++
		w.tasks.begin()
	}
	f.mu.Unlock()
	if behind {
		w.flushLater(h, r)
		if err != nil {
			return nil, err
		}
		return &fop.CommonReply{}, nil
	}
	reply, err2 := w.child.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	return reply, err2
}

// flushLater has the child flush, and release if that was asked for meanwhile.
func (w *behind) flushLater(h *handle, r *fop.Flush) {
	q := &fop.Flush{Header: fop.Header{Cred: r.Cred, Time: r.Time}, GFID: r.GFID, Fd: r.Fd}
	q.Cred.Groups = append([]uint32(nil), r.Cred.Groups...)
	if r.XData.Len() > 0 {
		q.XData = r.XData.Clone()
	}
	p := fop.Start(w.life, w.child, q)
	go func() {
		defer w.tasks.end()
		p.Wait()
		f := &h.at.V
		f.mu.Lock()
		h.tasks--
		last := h.closing && h.tasks == 0
		f.mu.Unlock()
		if last {
			w.releaseNow(w.life, h, &fop.Release{Header: fop.Header{Cred: q.Cred}, GFID: q.GFID, Fd: q.Fd})
		}
	}()
}

// release releases a file after its writes and flushes.
func (w *behind) release(ctx context.Context, r *fop.Release) (fop.Reply, error) {
	h := w.handleOf(r.Fd)
	if h == nil {
		return w.child.Do(ctx, r)
	}
	f := &h.at.V
	f.mu.Lock()
	if h.closing {
		f.mu.Unlock()
		return &fop.CommonReply{}, nil
	}
	h.closing = true
	writes := false
	for _, c := range f.q.chunks {
		writes = writes || c.h == h
	}
	if writes {
		h.tasks++
		w.tasks.begin()
	}
	now := h.tasks == 0
	f.mu.Unlock()
	if now {
		return w.releaseNow(ctx, h, r)
	}
	if writes {
		q := &fop.Release{Header: fop.Header{Cred: r.Cred}, GFID: r.GFID, Fd: r.Fd}
		q.Cred.Groups = append([]uint32(nil), r.Cred.Groups...)
		go func() {
			defer w.tasks.end()
			w.wait(w.life, h.at, everything)
			f.mu.Lock()
			h.tasks--
			last := h.tasks == 0
			f.mu.Unlock()
			if last {
				w.releaseNow(w.life, h, q)
			}
		}()
	}
	return &fop.CommonReply{}, nil
}

func (w *behind) releaseNow(ctx context.Context, h *handle, r *fop.Release) (fop.Reply, error) {
	r.Fd.Set(w, nil)
	reply, err := w.child.Do(ctx, r)
	w.closed(h)
	return reply, err
}

// lk waits for all writes: who gets the lock next shall find them.
func (w *behind) lk(ctx context.Context, r *fop.Lk) (fop.Reply, error) {
	if r.Cmd == fop.LkGet || r.Cmd == fop.LkGetFd {
		return w.child.Do(ctx, r)
	}
	if err := w.waitFor(ctx, r.GFID); err != nil {
		return nil, err
	}
	w.locking.Store(true)
	if h := w.handleOf(r.Fd); h != nil {
		h.at.V.mu.Lock()
		h.at.V.locked = true
		h.at.V.mu.Unlock()
	}
	return w.child.Do(ctx, r)
}
