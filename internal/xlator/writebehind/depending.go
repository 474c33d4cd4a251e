package writebehind

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
)

// depending carries out a fop that may depend on delayed writes, of which there
// are some.
func (w *behind) depending(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Read:
		return w.read(ctx, r)
	case *fop.Lookup:
		return w.lookup(ctx, r)
	case *fop.Readdirp:
		return w.readdirp(ctx, r)
	case *fop.Rename:
		o := w.watch.begin(w)
		defer w.watch.end(o)
		reply, err := w.child.Do(ctx, r)
		if x, ok := reply.(*fop.RenameReply); ok && err == nil {
			w.refresh(ctx, o, &r.Header, &x.Stat)
		}
		return reply, err
	case *fop.CopyFileRange:
		if err := w.waitFor(ctx, r.GFID); err != nil {
			return nil, err
		}
		if err := w.waitFor(ctx, r.Dst); err != nil {
			return nil, err
		}
	case *fop.Link:
		if err := w.waitFor(ctx, r.GFID); err != nil {
			return nil, err
		}
	case *fop.Stat, *fop.Fstat, *fop.Truncate, *fop.Ftruncate, *fop.Setattr, *fop.Fsetattr, *fop.Fallocate,
		*fop.Discard, *fop.Zerofill, *fop.Seek, *fop.Rchecksum, *fop.Lease, *fop.Setactivelk,
		*fop.Setxattr, *fop.Fsetxattr, *fop.Removexattr, *fop.Fremovexattr: // bricks report attributes with these, too
		g, _ := fop.Target(req)
		if err := w.waitFor(ctx, g); err != nil {
			return nil, err
		}
	}
	return w.child.Do(ctx, req)
}

// read waits for writes to its range. When it ends before it should, a delayed
// write behind the range may have moved the end of the file.
func (w *behind) read(ctx context.Context, r *fop.Read) (fop.Reply, error) {
	at := w.files.Peek(r.GFID)
	if at == nil {
		return w.child.Do(ctx, r)
	}
	defer at.Release()
	if err := w.wait(ctx, at, span{r.Offset, r.Offset + uint64(r.Size)}); err != nil {
		return nil, err
	}
	before := w.pendingIn(r.GFID, everything)
	reply, err := w.child.Do(ctx, r)
	a, ok := reply.(*fop.ReadReply)
	if err != nil || !ok {
		return reply, err
	}
	if before && (a.EOF || len(a.Data) < int(r.Size)) {
		if err := w.wait(ctx, at, everything); err != nil {
			return nil, err
		}
		before = false
		reply, err = w.child.Do(ctx, r)
		if a, ok = reply.(*fop.ReadReply); err != nil || !ok {
			return reply, err
		}
	}
	if before || w.pendingIn(r.GFID, everything) {
		a.Stat = fop.Iatt{}
	}
	return reply, nil
}

func (w *behind) lookup(ctx context.Context, r *fop.Lookup) (fop.Reply, error) {
	if r.Name == "" {
		if err := w.waitFor(ctx, r.GFID); err != nil {
			return nil, err
		}
		return w.child.Do(ctx, r)
	}
	o := w.watch.begin(w)
	defer w.watch.end(o)
	reply, err := w.child.Do(ctx, r)
	a, ok := reply.(*fop.LookupReply)
	if err != nil || !ok || !w.stale(o, a.Stat.GFID) {
		return reply, err
	}
	// What was answered before this lookup began must show in it; what comes
	// now need not.
	if err := w.waitFor(ctx, a.Stat.GFID); err != nil {
		return nil, err
	}
	return w.child.Do(ctx, r)
}

// refresh replaces attributes that came with a reply and do not show all that
// was written. What cannot be had is left out.
func (w *behind) refresh(ctx context.Context, o *observer, h *fop.Header, a *fop.Iatt) {
	if a.IsZero() || !w.stale(o, a.GFID) {
		return
	}
	g := a.GFID
	*a = fop.Iatt{}
	if w.waitFor(ctx, g) != nil {
		return
	}
	if s, err := fop.Call(ctx, w.child, &fop.Stat{Header: fop.Header{Cred: h.Cred}, GFID: g}); err == nil {
		*a = s.Stat
	}
}

func (w *behind) readdirp(ctx context.Context, r *fop.Readdirp) (fop.Reply, error) {
	o := w.watch.begin(w)
	defer w.watch.end(o)
	reply, err := w.child.Do(ctx, r)
	a, ok := reply.(*fop.ReaddirReply)
	if err != nil || !ok || o == nil {
		return reply, err
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Stat.IsRegular() && w.stale(o, e.Stat.GFID) {
			e.Stat = fop.Iatt{}
			e.XData = nil
		}
	}
	return reply, nil
}

// stale reports whether attributes of g in a reply may lack what was written
// before the request.
func (w *behind) stale(o *observer, g fop.GFID) bool {
	return o != nil && (w.pendingIn(g, everything) || o.saw(g))
}

// observers are the fops under way of which only the reply says what objects it
// is about. They are told which files have become clean meanwhile.
type observers struct {
	n   atomic.Int32
	mu  sync.Mutex
	all []*observer
}

type observer struct {
	mu      sync.Mutex
	cleaned []fop.GFID
}

// begin returns nil when there is nothing to observe.
func (s *observers) begin(w *behind) *observer {
	if w.dirty.Load() == 0 {
		return nil
	}
	o := new(observer)
	s.mu.Lock()
	s.all = append(s.all, o)
	s.n.Store(int32(len(s.all)))
	s.mu.Unlock()
	return o
}

func (s *observers) end(o *observer) {
	if o == nil {
		return
	}
	s.mu.Lock()
	if i := slices.Index(s.all, o); i >= 0 {
		s.all = slices.Delete(s.all, i, i+1)
	}
	s.n.Store(int32(len(s.all)))
	s.mu.Unlock()
}

// clean tells that all writes to g are done.
func (s *observers) clean(g fop.GFID) {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	for _, o := range s.all {
		o.mu.Lock()
		o.cleaned = append(o.cleaned, g)
		o.mu.Unlock()
	}
	s.mu.Unlock()
}

func (o *observer) saw(g fop.GFID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.cleaned, g)
}
