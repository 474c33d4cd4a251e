package distribute

import (
	"context"
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// A listing goes through the subvolumes in the order of the volfile; the offset
// of an entry says which one it came from (fop.EncodeOffset), so that it can go
// on from any offset. While the caller deals with some entries of one subvolume,
// those behind them and the first ones of the next subvolumes are on their way
// already.

// Bounds of what is fetched before it is asked for.
const (
	aheadSubvols = 4
	aheadAge     = time.Second // older entries are asked for again
)

const dtDir = fop.ModeDir >> 12

// listing is what is known of the listing of one open directory.
type listing struct {
	ahead ahead
	mu    sync.Mutex
	// The offset of the last entry that was returned, and whether it was the
	// last one of its subvolume.
	last uint64
	end  bool
}

// ahead are the requests for entries that nobody has asked for yet, one for each
// subvolume at most.
type ahead struct {
	mu    sync.Mutex
	pages map[int]*page // by index of the subvolume
}

// page is a request for entries of a subvolume. It is of no use once anything was
// changed through this client: its attributes may be from before.
type page struct {
	below fop.Pending
	off   uint64
	size  uint32
	keys  *fop.Dict
	cred  uint32
	at    time.Time

	changes uint64 // the count of changes when it was sent
}

// take returns the request for entries of subvolume i that r asks for from off
// on, nil if none fits. It leaves the one that does not fit to drain.
func (a *ahead) take(i int, r *fop.Readdirp, off, changes uint64, drain func(fop.Pending)) fop.Pending {
	a.mu.Lock()
	p := a.pages[i]
	delete(a.pages, i)
	a.mu.Unlock()
	if p == nil {
		return nil
	}
	if p.off != off || p.changes != changes || p.size != r.Size || p.cred != r.Cred.UID || time.Since(p.at) >= aheadAge || !p.keys.Equal(r.XData) {
		drain(p.below)
		return nil
	}
	return p.below
}

// page is the entries of subvolume i from off on: those that were asked for
// already, or those that send asks for. The result waits for them.
func (a *ahead) page(i int, r *fop.Readdirp, off, changes uint64, drain func(fop.Pending), send func() fop.Pending) func() (*fop.ReaddirReply, error) {
	early := a.take(i, r, off, changes, drain)
	p := early
	if early == nil {
		p = send()
	}
	return func() (*fop.ReaddirReply, error) {
		rep, err := p.Wait()
		if err != nil && early != nil { // may be over by now
			rep, err = send().Wait()
		}
		entries, _ := rep.(*fop.ReaddirReply)
		if err == nil && entries == nil {
			entries = &fop.ReaddirReply{EOF: true}
		}
		return entries, err
	}
}

// begin sends q to subvolume i, for whoever asks for r from q's offset on later,
// unless there is such a request already.
func (a *ahead) begin(ctx context.Context, i int, h fop.Handler, r, q *fop.Readdirp, changes uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pages[i] != nil {
		return
	}
	if a.pages == nil {
		a.pages = make(map[int]*page)
	}
	a.pages[i] = &page{
		below: fop.Start(context.WithoutCancel(ctx), h, q), off: q.Offset, size: r.Size, keys: r.XData, cred: r.Cred.UID,
		at: time.Now(), changes: changes,
	}
}

// drop leaves all requests to drain.
func (a *ahead) drop(drain func(fop.Pending)) {
	a.mu.Lock()
	pages := a.pages
	a.pages = nil
	a.mu.Unlock()
	for _, p := range pages {
		drain(p.below)
	}
}

// fetch begins to fetch the first entries of the subvolumes behind i.
func (d *distribute) fetch(ctx context.Context, i int, r *fop.Readdirp, f *openFile) {
	for j := i + 1; j < len(d.subs) && j <= i+aheadSubvols; j++ {
		if s := d.subs[j]; f.has(s) {
			f.list.ahead.begin(ctx, j, s, r, d.listRequest(r, s, 0), d.changes.Load())
		}
	}
}

// reset drops what was fetched ahead: the listing begins anew.
func (l *listing) reset(d *distribute) {
	l.mu.Lock()
	l.end = false
	l.mu.Unlock()
	l.ahead.drop(d.drain)
}

// drain waits for an answer that nobody wants, behind the present one.
func (d *distribute) drain(p fop.Pending) {
	d.behind(context.Background(), func(context.Context) { p.Wait() })
}

// has reports whether the directory is open on a subvolume.
func (f *openFile) has(s *subvol) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on[s.index] != 0
}

// listRequest is what a subvolume is asked for, from off on.
func (d *distribute) listRequest(r *fop.Readdirp, s *subvol, off uint64) *fop.Readdirp {
	q := *r
	q.Offset = off
	q.XData = r.XData.With(fop.XattrLinkto, fop.Uint(linktoSize))
	if d.set.Load().readdirOptimize && s != d.firstUp() {
		q.XData.Set(keyNoDirs, fop.Int(1))
	}
	return &q
}

// readdir lists names. Bricks are asked for attributes all the same, as GlusterFS
// does: without them a file could not be told from a linkto.
func (d *distribute) readdir(ctx context.Context, r *fop.Readdir) (*fop.ReaddirReply, error) {
	rep, err := d.readdirp(ctx, &fop.Readdirp{Header: r.Header, GFID: r.GFID, Fd: r.Fd, Offset: r.Offset, Size: r.Size})
	if rep != nil {
		for i := range rep.Entries {
			rep.Entries[i].Stat, rep.Entries[i].XData = fop.Iatt{}, nil
		}
	}
	return rep, err
}

// readdirp lists names with attributes.
func (d *distribute) readdirp(ctx context.Context, r *fop.Readdirp) (*fop.ReaddirReply, error) {
	gfid, _ := target(r)
	lay, err := d.layoutOf(ctx, gfid)
	if err != nil {
		return nil, err
	}
	f := d.newOpen(r.Fd)
	if f == nil {
		f = &openFile{on: make([]uint64, len(d.subs))}
		for i := range f.on {
			f.on[i] = 1
		}
	}
	l := &f.list
	i, off := 0, r.Offset
	if off == 0 {
		l.reset(d)
	} else {
		leaf, _ := fop.DecodeOffset(off, d.leaves)
		if s := d.leaf(leaf); s != nil {
			i = s.index
		}
		l.mu.Lock()
		if l.end && l.last == off {
			i, off = i+1, 0
		}
		l.mu.Unlock()
	}
	var last error
	heard := false
	for ; i < len(d.subs); i, off = i+1, 0 {
		s := d.subs[i]
		if !f.has(s) {
			continue
		}
		for {
			rep, err := d.listPage(ctx, r, s, off, f)
			if err != nil {
				last = err
				if ctx.Err() != nil {
					return nil, err
				}
				break // a subvolume that is down hides its files
			}
			heard = true
			var raw uint64
			n := len(rep.Entries)
			if n > 0 {
				raw = rep.Entries[n-1].Off
			}
			end := rep.EOF || n == 0
			if !end && r.Fd != nil {
				l.ahead.begin(ctx, i, s, r, d.listRequest(r, s, raw), d.changes.Load())
			}
			rep.Entries = d.filter(rep.Entries, lay, s)
			if k := len(rep.Entries); k > 0 {
				rep.EOF = end && !f.hasBehind(d, i)
				l.mu.Lock()
				l.end, l.last = end, rep.Entries[k-1].Off
				l.mu.Unlock()
				if !rep.Entries[0].Stat.IsZero() {
					d.learnEntries(gfid, rep.Entries, s, lay)
				}
				return rep, nil
			}
			if end {
				break
			}
			off = raw
		}
	}
	if !heard && last != nil {
		return nil, last
	}
	return &fop.ReaddirReply{EOF: true}, nil
}

// hasBehind reports whether the directory is open on any subvolume behind i.
func (f *openFile) hasBehind(d *distribute, i int) bool {
	for _, s := range d.subs[i+1:] {
		if f.has(s) {
			return true
		}
	}
	return false
}

// listPage asks a subvolume, or takes what was fetched ahead.
func (d *distribute) listPage(ctx context.Context, r *fop.Readdirp, s *subvol, off uint64, f *openFile) (*fop.ReaddirReply, error) {
	wait := f.list.ahead.page(s.index, r, off, d.changes.Load(), d.drain, func() fop.Pending { return s.Start(ctx, d.listRequest(r, s, off)) })
	if r.Fd != nil {
		d.fetch(ctx, s.index, r, f)
	}
	return wait()
}

// filter leaves of a subvolume's entries those that are shown as its own. The
// attributes of a directory are left out but for type and gfid: its times are the
// latest of all subvolumes, so that it is to be looked up.
func (d *distribute) filter(entries []fop.Dirent, l *layout, s *subvol) []fop.Dirent {
	kept := entries[:0]
	first := d.firstUp()
	optimize := d.set.Load().readdirOptimize
	for i := range entries {
		e := &entries[i]
		dir := e.Stat.IsDir() || e.Stat.IsZero() && e.Type == dtDir
		if !dir && isLinkto(&e.Stat, e.XData) {
			continue
		}
		if dir && !shownBy(s, d.hashed(l, e.Name), first, optimize) {
			continue
		}
		if dir && !e.Stat.IsZero() {
			e.Stat = fop.Iatt{GFID: e.Stat.GFID, Ino: e.Stat.Ino, Mode: e.Stat.Fmt(), Flags: fop.IattGFID | fop.IattIno | fop.IattType}
		}
		shown(&e.Stat)
		e.XData = conceal4(e.XData)
		kept = append(kept, *e)
	}
	return kept
}

// shownBy decides whether a directory, which is on all subvolumes, is shown as
// an entry of s: of the one that its name hashes to, or of the one that is up
// for longest if that one is unknown or down.
func shownBy(s, hashed, first *subvol, optimize bool) bool {
	if optimize || hashed == nil || !hashed.isUp() {
		return s == first
	}
	return s == hashed
}

// learnEntries remembers where the files of a listing are.
func (d *distribute) learnEntries(dir fop.GFID, entries []fop.Dirent, s *subvol, l *layout) {
	for i := range entries {
		e := &entries[i]
		if e.Stat.IsZero() || e.Stat.IsDir() {
			continue
		}
		d.setFile(e.Stat.GFID, s)
		d.sawName(dir, e.Name, e.Stat.GFID, s)
		if d.hashed(l, e.Name) != s {
			l.unhashed.Add(1)
		}
	}
}
