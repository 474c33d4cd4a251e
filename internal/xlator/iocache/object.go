package iocache

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// ref is a hold on an object; each of its pages has one.
type ref = inodes.Ref[object]

// object is a file of which pages are here, or are being read.
type object struct {
	mu      sync.Mutex
	pages   map[uint64]*page // by number
	stat    fop.Iatt         // as of checked; valid while there are pages
	checked time.Time        // when that was true
	changes uint64           // what was done to it here
}

// page is a part of a file.
type page struct {
	at   *ref
	num  uint64
	data []byte // pageSize bytes, fewer at the end of the file

	// In the store:
	level      int
	prev, next *page
}

// changed drops what is here of an object, and what is on its way.
func (x *cache) changed(g fop.GFID) {
	at := x.objects.Peek(g)
	if at == nil {
		return
	}
	defer at.Release()
	at.V.mu.Lock()
	at.V.changes++
	x.drop(&at.V)
	at.V.mu.Unlock()
}

// doubt has the next read ask whether the object was changed.
func (x *cache) doubt(g fop.GFID) {
	at := x.objects.Peek(g)
	if at == nil {
		return
	}
	defer at.Release()
	at.V.mu.Lock()
	at.V.checked = time.Time{}
	at.V.mu.Unlock()
}

// drop forgets all pages of o. o.mu is held.
func (x *cache) drop(o *object) {
	for num, p := range o.pages {
		delete(o.pages, num)
		x.counts.drops.Add(1)
		if x.store.remove(p) {
			p.at.Release()
		}
	}
}

func (x *cache) read(ctx context.Context, r *fop.Read) (fop.Reply, error) {
	c := x.conf.Load()
	if r.Fd == nil || c.pass || r.Size == 0 || r.XData.Len() > 0 || (r.Flags|r.Fd.Flags)&fop.ODirect != 0 || r.Fd.Flags&fop.OAccmode == fop.OWronly {
		return x.child.Do(ctx, r)
	}
	if skip, _ := r.Fd.Get(x).(*config); skip == c {
		return x.child.Do(ctx, r) // a file of a size that is not kept
	}
	at := x.objects.Acquire(r.GFID)
	defer at.Release()
	o := &at.V
	o.mu.Lock()
	if len(o.pages) > 0 && x.now().Sub(o.checked) > c.timeout {
		o.mu.Unlock()
		if err := x.check(ctx, o, r); err != nil {
			return nil, err
		}
		o.mu.Lock()
	}
	if reply := x.serve(o, r); reply != nil {
		o.mu.Unlock()
		x.counts.hits.Add(1)
		return reply, nil
	}
	changes := o.changes
	o.mu.Unlock()
	x.counts.misses.Add(1)
	return x.fault(ctx, c, at, r, changes)
}

// keeps reports whether files of a size are kept.
func (c *config) keeps(size uint64) bool {
	return size >= c.minSize && (c.maxSize == 0 || size <= c.maxSize)
}

// check asks for the time of the last change of an object.
func (x *cache) check(ctx context.Context, o *object, r *fop.Read) error {
	x.counts.checks.Add(1)
	asked := x.now()
	s, err := fop.Call(ctx, x.child, &fop.Fstat{Header: fop.Header{Cred: r.Cred}, GFID: r.GFID, Fd: r.Fd})
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil || !same(&o.stat, &s.Stat) {
		o.changes++
		x.drop(o)
		return err
	}
	o.stat, o.checked = s.Stat, asked
	return nil
}

// same reports whether the data of a file is the same as of both.
func same(a, b *fop.Iatt) bool {
	return a.GFID == b.GFID && a.Mtime == b.Mtime && a.Size == b.Size
}

// serve answers a read from the pages that are here, nil if one is missing. o.mu
// is held.
func (x *cache) serve(o *object, r *fop.Read) *fop.ReadReply {
	if len(o.pages) == 0 || r.Offset >= o.stat.Size { // which may have grown
		return nil
	}
	end := min(r.Offset+uint64(r.Size), o.stat.Size)
	first, last := r.Offset/pageSize, (max(end, r.Offset+1)-1)/pageSize
	for num := first; num <= last && num*pageSize < end; num++ {
		if p := o.pages[num]; p == nil || num*pageSize+uint64(len(p.data)) < min(end, (num+1)*pageSize) {
			return nil
		}
	}
	out := r.Into
	if uint32(len(out)) < r.Size {
		out = make([]byte, max(end, r.Offset)-r.Offset)
	}
	n := 0
	for at := r.Offset; at < end; at = r.Offset + uint64(n) {
		p := o.pages[at/pageSize]
		stop := min(uint64(len(p.data)), end-p.num*pageSize)
		n += copy(out[n:], p.data[at%pageSize:stop])
		x.store.use(p)
	}
	return &fop.ReadReply{Stat: o.stat, Data: out[:n], EOF: r.Offset+uint64(r.Size) >= o.stat.Size}
}

// fault reads the pages of a read, and keeps them if nothing changed meanwhile.
func (x *cache) fault(ctx context.Context, c *config, at *ref, r *fop.Read, changes uint64) (fop.Reply, error) {
	first, last := r.Offset/pageSize, (r.Offset+uint64(r.Size)-1)/pageSize
	type part struct {
		buf []byte
		p   fop.Pending
		got *fop.ReadReply
	}
	parts := make([]part, last-first+1)
	asked := x.now()
	for i := range parts {
		buf := make([]byte, pageSize)
		q := &fop.Read{Header: r.Header, GFID: r.GFID, Fd: r.Fd, Offset: (first + uint64(i)) * pageSize, Size: pageSize, Flags: r.Flags, Into: buf}
		parts[i] = part{buf: buf, p: fop.Start(ctx, x.child, q)}
	}
	var failed error
	for i := range parts {
		reply, err := parts[i].p.Wait()
		d, ok := reply.(*fop.ReadReply)
		switch {
		case failed != nil:
		case err != nil:
			failed = err
		case !ok:
			failed = syscall.EPROTO
		default:
			parts[i].got = d
		}
	}
	if failed != nil {
		return nil, failed
	}
	// The answer, up to where the first short page ends.
	out := r.Into
	if uint32(len(out)) < r.Size {
		out = make([]byte, r.Size)
	}
	answer := &fop.ReadReply{}
	n := 0
	for i := range parts {
		d := parts[i].got
		pos := r.Offset + uint64(n) - (first+uint64(i))*pageSize
		if pos < uint64(len(d.Data)) {
			n += copy(out[n:r.Size], d.Data[pos:])
		}
		answer.Stat = d.Stat
		short := len(d.Data) < pageSize
		if short && !d.EOF {
			// The child gave less than it has; it is not for us to guess why.
			return x.child.Do(ctx, r)
		}
		ended := d.EOF && r.Offset+uint64(n) >= (first+uint64(i))*pageSize+uint64(len(d.Data))
		if ended || short || n == int(r.Size) {
			answer.EOF = ended
			break
		}
	}
	answer.Data = out[:n]

	if s := &answer.Stat; !s.IsZero() && !c.keeps(s.Size) {
		r.Fd.Set(x, c)
	}
	level := x.level(r.GFID)
	o := &at.V
	o.mu.Lock()
	for i := range parts {
		d := parts[i].got
		if o.changes != changes || d.Stat.IsZero() || len(d.Data) == 0 || !c.keeps(d.Stat.Size) {
			break
		}
		if len(o.pages) > 0 && !same(&o.stat, &d.Stat) {
			x.drop(o)
		}
		if o.pages == nil {
			o.pages = make(map[uint64]*page)
		}
		if len(o.pages) == 0 {
			o.checked = asked
		}
		o.stat = d.Stat
		num := first + uint64(i)
		if old := o.pages[num]; old != nil && x.store.remove(old) {
			old.at.Release()
		}
		data := d.Data
		if len(data) < pageSize/2 { // a small file need not hold a whole page
			data = append([]byte(nil), data...)
		}
		p := &page{at: at.Hold(), num: num, data: data, level: level}
		o.pages[num] = p
		x.store.add(p)
	}
	o.mu.Unlock()
	x.evict()
	return answer, nil
}

// evict drops pages until the rest is no more than it may be.
func (x *cache) evict() {
	for {
		p := x.store.victim()
		if p == nil {
			return
		}
		o := &p.at.V
		o.mu.Lock()
		if o.pages[p.num] == p {
			delete(o.pages, p.num)
		}
		o.mu.Unlock()
		p.at.Release()
	}
}
