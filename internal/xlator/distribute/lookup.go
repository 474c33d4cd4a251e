package distribute

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// found is what a lookup found.
type found struct {
	place
	reply *fop.LookupReply
}

// lookupKeys are what every lookup asks of a brick: what makes a linkto, a
// layout and an mds known.
var lookupKeys = fop.NewDict(
	fop.Pair{Key: fop.XattrLinkto, Val: fop.Uint(linktoSize)},
	fop.Pair{Key: fop.XattrDHT, Val: fop.Uint(extentSize)},
	fop.Pair{Key: keyMDS, Val: fop.Uint(4)},
)

// asking returns r with the keys of this translator and without gfid-req: a
// brick that has the object without a gfid would take it, and another brick
// another one.
func asking(r *fop.Lookup, extra ...fop.Pair) *fop.Lookup {
	q := *r
	if r.XData.Len() == 0 && len(extra) == 0 {
		q.XData = lookupKeys
		return &q
	}
	x := r.XData.Clone()
	x.Delete(fop.KeyGFIDReq)
	x.Grow(lookupKeys.Len() + len(extra))
	for _, p := range lookupKeys.Pairs() {
		x.Set(p.Key, p.Val)
	}
	for _, p := range extra {
		x.Set(p.Key, p.Val)
	}
	q.XData = x
	return &q
}

func (d *distribute) lookup(ctx context.Context, r *fop.Lookup) (*fop.LookupReply, error) {
	f, err := d.find(ctx, r)
	return f.reply, err
}

func (d *distribute) find(ctx context.Context, r *fop.Lookup) (found, error) {
	if r.Name == "" || r.Parent.IsZero() {
		return d.findGFID(ctx, r)
	}
	if !r.GFID.IsZero() {
		if p, ok := d.known(r.GFID); ok {
			return d.revalidate(ctx, r, p)
		}
	}
	return d.lookupName(ctx, r)
}

// known is objects.place without layouts from before a subvolume came up.
func (d *distribute) known(gfid fop.GFID) (place, bool) {
	p, ok := d.objects.place(gfid)
	return p, ok && (p.layout == nil || p.layout.gen >= d.ups.Load())
}

// lookupOn asks one subvolume. Modes and sizes are as the brick says.
func lookupOn(ctx context.Context, s *subvol, r *fop.Lookup) (*fop.LookupReply, error) {
	return fop.Call(ctx, s, r)
}

// revalidate looks up a name whose object has been met before: one request for
// a file.
func (d *distribute) revalidate(ctx context.Context, r *fop.Lookup, p place) (found, error) {
	if p.layout != nil {
		q := asking(r)
		return d.settleDir(ctx, q, d.askAll(ctx, q))
	}
	rep, err := lookupOn(ctx, p.file, asking(r))
	switch {
	case err == nil && rep.Stat.GFID != r.GFID:
		return found{}, fmt.Errorf("%q is another object now: %w", r.Name, syscall.ESTALE)
	case err == nil && !rep.Stat.IsDir() && !isLinkto(&rep.Stat, rep.XData):
		return d.foundFile(r, p.file, rep), nil
	case err == nil && rep.Stat.IsDir():
		return found{}, fmt.Errorf("%q was a file and is a directory: %w", r.Name, syscall.EINVAL)
	case err != nil && !errors.Is(err, syscall.ENOENT):
		return found{}, err // ESTALE makes the caller begin anew
	}
	f, err := d.lookupName(ctx, r)
	if err == nil && f.reply.Stat.GFID != r.GFID {
		d.objects.forget(r.GFID)
		return found{}, fmt.Errorf("%q: %w", r.Name, syscall.ENOENT)
	}
	return f, err
}

// lookupName looks up r.Name in r.Parent afresh, whatever memory says, heals
// what is amiss, and remembers what it found. Header and keys are r's.
func (d *distribute) lookupName(ctx context.Context, r *fop.Lookup) (found, error) {
	l, err := d.layoutOf(ctx, r.Parent)
	if err != nil {
		return found{}, err
	}
	hashed := d.hashed(l, r.Name)
	q := asking(r)
	if hashed == nil || d.dirs.has(entryName{r.Parent, r.Name}) {
		return d.settleName(ctx, q, hashed, d.askAll(ctx, q))
	}
	rep, err := lookupOn(ctx, hashed, q)
	switch {
	case err == nil && rep.Stat.IsDir():
		return d.settleName(ctx, q, hashed, d.askOthers(ctx, q, hashed, answer{rep: rep}))
	case err == nil && isLinkto(&rep.Stat, rep.XData):
		return d.follow(ctx, q, hashed, rep)
	case err == nil:
		return d.foundFile(r, hashed, rep), nil
	case errors.Is(err, syscall.ENOENT):
		return d.missed(ctx, q, hashed, l, answer{rep, err})
	case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ENODATA):
		return d.settleName(ctx, q, hashed, d.askOthers(ctx, q, hashed, answer{rep, err}))
	}
	return found{reply: d.shownParent(rep)}, err
}

// settleName makes a result of what all subvolumes answered for a name.
func (d *distribute) settleName(ctx context.Context, q *fop.Lookup, hashed *subvol, answers []answer) (found, error) {
	for i := range answers {
		a := &answers[i]
		if a.err == nil && !a.rep.Stat.IsDir() || errors.Is(a.err, syscall.ENODATA) {
			return d.everywhere(ctx, q, hashed)
		}
	}
	return d.settleDir(ctx, q, answers)
}

// foundFile remembers and returns a file.
func (d *distribute) foundFile(r *fop.Lookup, s *subvol, rep *fop.LookupReply) found {
	d.setFile(rep.Stat.GFID, s)
	if r.Name != "" {
		d.dirs.drop(entryName{r.Parent, r.Name})
		d.sawName(r.Parent, r.Name, rep.Stat.GFID, s)
	}
	shown(&rep.Stat)
	rep.XData = conceal4(rep.XData)
	return found{place: place{file: s}, reply: d.shownParent(rep)}
}

// shownParent gives the directory of a reply the fixed size that all
// directories have.
func (d *distribute) shownParent(rep *fop.LookupReply) *fop.LookupReply {
	if rep != nil {
		fixDir(&rep.Parent)
	}
	return rep
}

// conceal4 takes from the keys of a reply those that this translator asked for.
func conceal4(x *fop.Dict) *fop.Dict {
	for _, p := range x.Pairs() {
		if concealed(p.Key) {
			y := &fop.Dict{}
			y.Grow(x.Len())
			for _, p := range x.Pairs() {
				if !concealed(p.Key) {
					y.Append(p.Key, p.Val)
				}
			}
			return y
		}
	}
	return x
}

// follow goes to the file of a linkto.
func (d *distribute) follow(ctx context.Context, q *fop.Lookup, hashed *subvol, link *fop.LookupReply) (found, error) {
	to := d.linktoTarget(link.XData)
	if to == nil || to == hashed {
		return d.everywhere(ctx, q, hashed)
	}
	rep, err := lookupOn(ctx, to, q)
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return found{}, err
	case err != nil, rep.Stat.IsDir(), rep.Stat.GFID != link.Stat.GFID, isLinkto(&rep.Stat, rep.XData):
		return d.everywhere(ctx, q, hashed)
	}
	return d.foundFile(q, to, rep), nil
}

// freshness is for how long a layout is believed to be the one on disk when a
// name is missing. The answer that a name does not exist rests on it.
const freshness = time.Second

// missIsFinal reports whether ENOENT of the hashed subvolume means that a name
// does not exist.
func (d *distribute) missIsFinal(l *layout) bool {
	s := d.set.Load()
	if s.optimize {
		v, ok := d.volumeCommit()
		return ok && l.commit == v && v != anywhere
	}
	return s.unhashed == "auto" && l.unhashed.Load() == 0
}

// missed decides what it means that the hashed subvolume does not have a name.
func (d *distribute) missed(ctx context.Context, q *fop.Lookup, hashed *subvol, l *layout, a answer) (found, error) {
	final := d.missIsFinal(l)
	if final && !l.isFresh(time.Now()) {
		// Nobody may have looked up the directory, and the root, for a while.
		root := make(chan struct{})
		go func() {
			defer close(root)
			if !q.Parent.IsRoot() {
				d.refreshCommit(ctx)
			}
		}()
		now, err := d.refreshLayout(ctx, q.Parent)
		<-root
		if err != nil {
			return found{}, err
		}
		final = d.missIsFinal(now) && d.hashed(now, q.Name) == hashed
		if h := d.hashed(now, q.Name); h != nil {
			hashed = h
		}
	}
	if final {
		d.dropName(q.Parent, q.Name)
		return found{reply: d.shownParent(a.rep)}, a.err
	}
	return d.everywhere(ctx, q, hashed)
}

// findGFID looks up an object by its gfid alone.
func (d *distribute) findGFID(ctx context.Context, r *fop.Lookup) (found, error) {
	if p, ok := d.known(r.GFID); ok && p.file != nil {
		rep, err := lookupOn(ctx, p.file, asking(r))
		switch {
		case err == nil && !rep.Stat.IsDir() && !likeLinkto(&rep.Stat):
			return d.foundFile(r, p.file, rep), nil
		case err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE):
			return found{reply: rep}, err
		}
	}
	var q *fop.Lookup
	if r.GFID.IsRoot() {
		q = asking(r, fop.Pair{Key: keyCommitHash, Val: fop.Uint(4)})
	} else {
		q = asking(r)
	}
	answers := d.askAll(ctx, q)
	file := -1
	for i := range answers {
		a := &answers[i]
		if a.err != nil || a.rep.Stat.IsDir() || isLinkto(&a.rep.Stat, a.rep.XData) {
			continue
		}
		if file < 0 || likeLinkto(&answers[file].rep.Stat) && !likeLinkto(&a.rep.Stat) {
			file = i
		}
	}
	if file >= 0 {
		for _, b := range answers {
			if b.err == nil && b.rep.Stat.IsDir() {
				return found{}, fmt.Errorf("%v is a file and a directory: %w", r.GFID, syscall.EIO)
			}
		}
		return d.foundFile(r, d.subs[file], answers[file].rep), nil
	}
	return d.settleDir(ctx, q, answers)
}

// discover finds an object by its gfid on all subvolumes.
func (d *distribute) discover(ctx context.Context, gfid fop.GFID) (found, error) {
	r := fop.Lookup{Header: asSu(nil), GFID: gfid}
	d.objects.with(gfid, func(o *object) { o.file = nil })
	return d.findGFID(ctx, &r)
}

// volumeCommit is the commit hash of the volume, if it is known.
func (d *distribute) volumeCommit() (uint32, bool) {
	if s := d.set.Load(); s.haveCommit {
		return s.commit, true
	}
	v := d.commit.Load()
	return uint32(v), v&commitKnown != 0
}

// commitKnown is set in distribute.commit once the root has been looked up and
// all subvolumes said the same.
const commitKnown = 1 << 32

// learnCommit takes the volume's commit hash from a lookup of the root.
func (d *distribute) learnCommit(answers []answer) {
	var v uint32
	seen := false
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		n := uint32(a.rep.XData.Int(keyCommitHash))
		if seen && n != v {
			d.commit.Store(0) // being changed: believe no miss
			return
		}
		v, seen = n, true
	}
	if seen {
		d.commit.Store(commitKnown | uint64(v))
	}
}

// refreshCommit reads the volume's commit hash again if that is a while ago.
func (d *distribute) refreshCommit(ctx context.Context) {
	if p, ok := d.objects.place(fop.RootGFID); ok && p.layout != nil && p.layout.isFresh(time.Now()) {
		return
	}
	if _, err := d.discover(ctx, fop.RootGFID); err != nil {
		d.commit.Store(0)
	}
}

// dotName reports whether a name is one that every directory has.
func dotName(name string) bool { return name == "." || name == ".." }

// quotaSize reports whether the values of a key are summed over subvolumes.
func quotaSize(key string) bool { return strings.HasPrefix(key, "trusted.glusterfs.quota.size") }
