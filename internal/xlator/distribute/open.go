package distribute

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
)

// openFile is what this translator knows of an open file or directory: the
// subvolumes on which it is open. It lives in the slot of its fop.Fd.
type openFile struct {
	last atomic.Pointer[subvol] // one of on: mostly the one that is asked for

	mu sync.Mutex
	// on says, by index of the subvolume, whether it is open there, and when
	// that was by distribute.opens. A file that moves away and comes back is
	// another one on the brick: what was opened before is open on what is left.
	on []uint64

	list listing // of a directory
}

func (d *distribute) newOpen(fd *fop.Fd) *openFile {
	if fd == nil {
		return nil
	}
	return fd.GetOrSet(d, func() any { return &openFile{on: make([]uint64, len(d.subs))} }).(*openFile)
}

// opened remembers that a file is open on a subvolume.
func (d *distribute) opened(fd *fop.Fd, s *subvol) {
	if f := d.newOpen(fd); f != nil {
		f.mu.Lock()
		f.on[s.index] = d.opens.Add(1)
		f.mu.Unlock()
		f.last.Store(s)
	}
}

// isOpen reports whether fd may be used on a subvolume as it is. One that was
// never opened through here is the caller's business.
func (d *distribute) isOpen(fd *fop.Fd, s *subvol) bool {
	if fd == nil {
		return true
	}
	f, _ := fd.Get(d).(*openFile)
	if f == nil || f.last.Load() == s {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on[s.index] != 0
}

// ensureOpen opens fd on a subvolume to which the file has been moved.
func (d *distribute) ensureOpen(ctx context.Context, fd *fop.Fd, s *subvol) error {
	if d.isOpen(fd, s) {
		return nil
	}
	return d.reopen(ctx, fd, s)
}

// reopen opens fd on one more subvolume, as root: the one who has it open has
// been checked.
func (d *distribute) reopen(ctx context.Context, fd *fop.Fd, s *subvol) error {
	f := d.newOpen(fd)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on[s.index] != 0 {
		return nil
	}
	flags := fd.Flags &^ (fop.OCreate | fop.OExcl | fop.OTrunc)
	if _, err := fop.Call(ctx, s, &fop.Open{Header: asSu(nil), GFID: fd.GFID, Flags: flags, Fd: fd}); err != nil {
		return err
	}
	f.on[s.index] = d.opens.Add(1)
	f.last.Store(s)
	return nil
}

// closeOn gives up fd on a subvolume from which the file has gone, if it was
// opened there before since.
func (d *distribute) closeOn(ctx context.Context, fd *fop.Fd, s *subvol, since uint64) {
	if fd == nil {
		return
	}
	f, _ := fd.Get(d).(*openFile)
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := f.on[s.index]; at == 0 || at >= since {
		return
	}
	f.on[s.index] = 0
	f.last.CompareAndSwap(s, nil)
	s.Do(ctx, &fop.Release{Header: asSu(nil), GFID: fd.GFID, Fd: fd})
}

// open opens a file where its data is. With O_TRUNC it looks afterwards whether
// the file is being moved: the answer to OPEN does not tell, and what was cut
// off must not come back from the copy.
func (d *distribute) open(ctx context.Context, r *fop.Open) (fop.Reply, error) {
	rep, err := d.onFile(ctx, r)
	if err != nil || r.Flags&fop.OTrunc == 0 {
		return rep, err
	}
	s, err := d.cachedOf(ctx, r.GFID, r.Fd)
	if err != nil {
		return rep, nil
	}
	st, err := fop.Call(ctx, s, &fop.Fstat{Header: asSu(nil), GFID: r.GFID, Fd: r.Fd})
	if err != nil {
		return rep, nil
	}
	if phaseOf(nil, &st.Stat, 0) != settled {
		if _, err := d.onFile(ctx, &fop.Ftruncate{Header: asSu(nil), GFID: r.GFID, Fd: r.Fd}); err != nil {
			d.release(ctx, &fop.Release{Header: asSu(nil), GFID: r.GFID, Fd: r.Fd}, r.Fd)
			return nil, err
		}
	}
	return rep, nil
}

// release ends the life of an open file or directory on all subvolumes that have
// it open.
func (d *distribute) release(ctx context.Context, req fop.Request, fd *fop.Fd) (fop.Reply, error) {
	var f *openFile
	if fd != nil {
		f, _ = fd.Set(d, nil).(*openFile)
	}
	if f == nil {
		for _, s := range d.subs {
			s.Do(ctx, req)
		}
		return &fop.CommonReply{}, nil
	}
	f.list.ahead.drop(d.drain)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range d.subs {
		if f.on[i] != 0 {
			s.Do(ctx, req)
		}
	}
	return &fop.CommonReply{}, nil
}

// opendir opens a directory on all subvolumes. One that cannot is left out.
func (d *distribute) opendir(ctx context.Context, r *fop.Opendir) (*fop.OpenReply, error) {
	if _, err := d.layoutOf(ctx, r.GFID); err != nil {
		return nil, err
	}
	q := *r
	q.XData = r.XData.With(fop.XattrLinkto, fop.Uint(linktoSize))
	var got *fop.OpenReply
	var last error
	each(ctx, d.subs, func(*subvol) fop.RequestFor[*fop.OpenReply] { return &q }, func(s *subvol, rep *fop.OpenReply, err error) {
		if err != nil {
			last = worse(last, err)
			return
		}
		if got == nil {
			got = rep
		}
		d.opened(r.Fd, s)
	})
	if got != nil {
		return got, nil
	}
	return nil, last
}

// flush goes where the file is, and where it is being copied to.
func (d *distribute) flush(ctx context.Context, r *fop.Flush) (fop.Reply, error) {
	rep, err := d.onFile(ctx, r)
	if err != nil {
		return rep, err
	}
	var to *subvol
	if o := d.objects.Peek(r.GFID); o != nil {
		o.V.mu.Lock()
		to = o.V.dest
		o.V.mu.Unlock()
		o.Release()
	}
	if to != nil && r.Fd != nil && d.isOpen(r.Fd, to) {
		return to.Do(ctx, r)
	}
	return rep, nil
}
