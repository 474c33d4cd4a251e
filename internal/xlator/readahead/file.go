package readahead

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// fileState is what is kept of a file that is open for reading.
type fileState struct {
	at *inodes.Ref[atomic.Uint64]

	mu    sync.Mutex
	run   run
	pages []*page // in order of their offsets
}

// page is a range that is being read ahead, or was.
type page struct {
	span
	change uint64 // of the object when it was asked for
	buf    *[]byte
	done   chan struct{}
	users  atomic.Int32 // readers, the list, and who fetches it
	// Set before done is closed:
	data []byte
	stat fop.Iatt
	eof  bool
	err  error
	when time.Time
}

func (a *ahead) buffer(size uint64) *[]byte {
	if b, ok := a.buffers.Get().(*[]byte); ok && uint64(len(*b)) == size {
		return b
	}
	b := make([]byte, size)
	return &b
}

func (a *ahead) letGo(p *page) {
	if p.users.Add(-1) == 0 {
		a.buffers.Put(p.buf)
	}
}

func (a *ahead) drop(pages []*page) {
	for _, p := range pages {
		a.counts.wasted.Add(1)
		a.letGo(p)
	}
}

func (a *ahead) read(ctx context.Context, r *fop.Read) (fop.Reply, error) {
	var f *fileState
	c := a.conf.Load()
	if r.Fd != nil && !c.pass && r.Size > 0 && r.Flags&fop.ODirect == 0 && r.XData.Len() == 0 {
		f, _ = r.Fd.Get(a).(*fileState)
	}
	if f == nil {
		return a.child.Do(ctx, r)
	}
	now := f.at.V.Load()
	f.mu.Lock()
	todo, again := f.run.plan(r.Offset, uint64(r.Size), &c.rules)
	var useless []*page
	keep := f.pages[:0]
	var mine []*page
	for _, p := range f.pages {
		switch {
		case again || p.change != now || p.off+p.size <= r.Offset:
			useless = append(useless, p)
		default:
			keep = append(keep, p)
			if p.off < r.Offset+uint64(r.Size) {
				p.users.Add(1)
				mine = append(mine, p)
			}
		}
	}
	clear(f.pages[len(keep):])
	f.pages = keep
	for _, s := range todo {
		p := &page{span: s, change: now, buf: a.buffer(s.size), done: make(chan struct{})}
		p.users.Store(2)
		f.pages = append(f.pages, p)
		a.fetch(r, p)
	}
	f.mu.Unlock()
	a.drop(useless)
	reply := a.fromPages(ctx, f, r, mine)
	for _, p := range mine {
		a.letGo(p)
	}
	if reply == nil {
		a.counts.misses.Add(1)
		x, err := a.child.Do(ctx, r)
		if d, ok := x.(*fop.ReadReply); ok && err == nil {
			f.ends(r.Offset+uint64(len(d.Data)), d.EOF)
		}
		return x, err
	}
	a.counts.hits.Add(1)
	if c.atime {
		// The brick records the time of a read of one byte.
		q := *r
		q.Size, q.Into = 1, nil
		if _, err := a.child.Do(ctx, &q); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

// ends notes whether the file ends at a place, so that nothing behind it is asked
// for.
func (f *fileState) ends(at uint64, eof bool) {
	f.mu.Lock()
	switch {
	case eof:
		f.run.eof = max(at, 1)
	case at > f.run.eof:
		f.run.eof = 0
	}
	f.mu.Unlock()
}

// fetch begins to read a page.
func (a *ahead) fetch(r *fop.Read, p *page) {
	a.counts.pages.Add(1)
	q := &fop.Read{Header: fop.Header{Cred: r.Cred}, GFID: r.GFID, Fd: r.Fd, Offset: p.off, Size: uint32(p.size), Flags: r.Flags, Into: *p.buf}
	q.Cred.Groups = append([]uint32(nil), r.Cred.Groups...)
	pending := fop.Start(a.life, a.child, q)
	a.tasks.Go(func() {
		reply, err := pending.Wait()
		p.err = err
		if d, ok := reply.(*fop.ReadReply); ok && err == nil {
			p.data, p.stat, p.eof = d.Data, d.Stat, d.EOF
		}
		p.when = a.now()
		close(p.done)
		a.letGo(p)
	})
}

// fromPages answers a read from what was read ahead; nil if it is not all there.
func (a *ahead) fromPages(ctx context.Context, f *fileState, r *fop.Read, pages []*page) fop.Reply {
	if len(pages) == 0 || pages[0].off > r.Offset {
		return nil
	}
	out := r.Into
	if uint32(len(out)) < r.Size {
		out = make([]byte, r.Size)
	}
	reply := &fop.ReadReply{}
	n := 0
	for _, p := range pages {
		select {
		case <-p.done:
		case <-ctx.Done():
			return nil
		}
		at := r.Offset + uint64(n)
		if p.err != nil || p.off > at || a.now().Sub(p.when) > maxAge || p.change != f.at.V.Load() {
			f.forget(a, p)
			return nil
		}
		if skip := at - p.off; skip < uint64(len(p.data)) {
			n += copy(out[n:r.Size], p.data[skip:])
		}
		reply.Stat = p.stat
		ended := p.eof || uint64(len(p.data)) < p.size
		if ended {
			f.ends(p.off+uint64(len(p.data)), true)
		}
		if n == int(r.Size) || ended {
			reply.EOF = p.eof && r.Offset+uint64(n) >= p.off+uint64(len(p.data))
			if n < int(r.Size) && !p.eof {
				return nil // a short read, not at the end
			}
			reply.Data = out[:n]
			return reply
		}
	}
	return nil
}

// forget takes a page that is of no use off the list, and those behind it.
func (f *fileState) forget(a *ahead, bad *page) {
	f.mu.Lock()
	var drop []*page
	for i, p := range f.pages {
		if p == bad {
			drop = append(drop, f.pages[i:]...)
			f.pages = f.pages[:i]
			f.run.have = f.run.next
			f.run.eof = 0
			break
		}
	}
	f.mu.Unlock()
	a.drop(drop)
}
