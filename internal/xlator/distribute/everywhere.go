package distribute

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// answer is what one subvolume answered to a lookup.
type answer struct {
	rep *fop.LookupReply
	err error
}

func (a *answer) missing() bool {
	return errors.Is(a.err, syscall.ENOENT) || errors.Is(a.err, syscall.ESTALE)
}

// askAll looks up on all subvolumes at once; answers stand in the order of the
// volfile.
func (d *distribute) askAll(ctx context.Context, q *fop.Lookup) []answer {
	return d.askOthers(ctx, q, nil, answer{})
}

// askOthers is askAll without one whose answer is there.
func (d *distribute) askOthers(ctx context.Context, q *fop.Lookup, but *subvol, have answer) []answer {
	answers := make([]answer, len(d.subs))
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.LookupReply] {
		if s == but {
			return nil
		}
		return q
	}, func(s *subvol, rep *fop.LookupReply, err error) { answers[s.index] = answer{rep, err} })
	if but != nil {
		answers[but.index] = have
	}
	return answers
}

// everywhere looks for a name on all subvolumes. What hashed has is a linkto,
// nothing, or not to be trusted; it gets a linkto to the file if need be. hashed
// is nil when no subvolume has the hash.
func (d *distribute) everywhere(ctx context.Context, q *fop.Lookup, hashed *subvol) (f found, err error) {
	for try := 0; ; try++ {
		var moves bool
		if f, moves, err = d.everywhereOnce(ctx, q, hashed); !moves || try == 2 {
			return f, err
		}
	}
}

// everywhereOnce tells with moves that a file was found nowhere because it may be
// about to move.
func (d *distribute) everywhereOnce(ctx context.Context, q *fop.Lookup, hashed *subvol) (f found, moves bool, err error) {
	r := asking(q, fop.Pair{Key: fop.KeyOpenFdCount, Val: fop.Uint(4)})
	answers := d.askAll(ctx, r)
	var cached *subvol
	var file, link *fop.LookupReply // on cached, on hashed
	dirs, files := 0, 0
	var stale []*subvol
	var worst error
	for i := range answers {
		s, a := d.subs[i], &answers[i]
		switch {
		case a.err != nil:
			worst = worse(worst, a.err)
		case a.rep.Stat.IsDir():
			dirs++
		case !isLinkto(&a.rep.Stat, a.rep.XData):
			files++
			if cached == nil {
				cached, file = s, a.rep
			} else {
				d.log.Warn("a file stands on two subvolumes", "name", q.Name, "parent", q.Parent.String(), "subvolume", s.name, "other", cached.name)
			}
		case s == hashed:
			link = a.rep
		case a.rep.XData.Int(fop.KeyOpenFdCount) == 0:
			stale = append(stale, s)
		}
	}
	if files > 0 && dirs > 0 {
		return found{}, false, fmt.Errorf("%q is a file and a directory: %w", q.Name, syscall.EIO)
	}
	for _, s := range stale {
		if err := d.unlinkStale(ctx, s, q.Parent, q.Name); err == nil {
			d.log.Info("removed a stale linkto", "name", q.Name, "parent", q.Parent.String(), "subvolume", s.name)
		}
	}
	switch {
	case dirs > 0:
		f, err = d.settleDir(ctx, q, answers)
		return f, false, err
	case cached == nil:
		if link != nil {
			// EBUSY: a rebalance is at work on it, or has made it the file itself after
			// it answered, and before the subvolume that it leads to did.
			moves = errors.Is(d.unlinkStale(ctx, hashed, q.Parent, q.Name), syscall.EBUSY)
			worst = worse(worst, syscall.ENOENT)
		}
		d.dropName(q.Parent, q.Name)
		rep := d.missReply(answers, hashed)
		if hashed != nil && !errors.Is(answers[hashed.index].err, syscall.ENOTCONN) && errors.Is(worst, syscall.ENOTCONN) {
			// The subvolume where the name belongs says that it is not there.
			worst = syscall.ENOENT
		}
		return found{reply: rep}, moves, fmt.Errorf("%q: %w", q.Name, worst)
	case hashed == nil, cached == hashed:
		return d.foundFile(q, cached, file), false, nil
	case link != nil && d.linktoTarget(link.XData) == cached:
		if link.Stat.GFID != file.Stat.GFID {
			return found{}, false, fmt.Errorf("%q: its linkto is of another file: %w", q.Name, syscall.ESTALE)
		}
		return d.foundFile(q, cached, file), false, nil
	case link != nil && link.XData.Int(fop.KeyOpenFdCount) != 0:
		return d.foundFile(q, cached, file), false, nil
	case link != nil:
		if err := d.unlinkStale(ctx, hashed, q.Parent, q.Name); errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTCONN) {
			return found{}, false, fmt.Errorf("%q: its linkto leads elsewhere and cannot be removed: %w", q.Name, syscall.EIO)
		}
	}
	d.relink(ctx, q, hashed, cached, file)
	return d.foundFile(q, cached, file), false, nil
}

// worse chooses what a lookup that found nothing answers: that a subvolume is
// down weighs more than that others have nothing, and any other error more than
// both.
func worse(a, b error) error {
	rank := func(err error) int {
		switch {
		case err == nil:
			return 0
		case errors.Is(err, syscall.ENOENT):
			return 2
		case errors.Is(err, syscall.ESTALE):
			return 1
		case errors.Is(err, syscall.ENOTCONN):
			return 3
		}
		return 4
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// missReply is the reply that goes with ENOENT: the parent's attributes.
func (d *distribute) missReply(answers []answer, hashed *subvol) *fop.LookupReply {
	if hashed != nil {
		if a := answers[hashed.index]; a.err != nil && a.rep != nil {
			return d.shownParent(a.rep)
		}
	}
	for _, a := range answers {
		if a.err != nil && a.rep != nil {
			return d.shownParent(a.rep)
		}
	}
	return nil
}

// relink makes the linkto that a file off its hashed subvolume lacks. Both are
// looked at again under the locks of the name; a file that has moved meanwhile
// gets none. Failing is no harm: the next lookup looks everywhere again.
func (d *distribute) relink(ctx context.Context, q *fop.Lookup, hashed, cached *subvol, file *fop.LookupReply) {
	k := d.newLocks()
	var err error
	if !nameLocked(ctx) {
		err = k.protect(ctx, entrylk{hashed, q.Parent, q.Name})
	}
	if err == nil {
		look := &fop.Lookup{Header: asSu(nil), Parent: q.Parent, Name: q.Name}
		var on [2]answer
		each(ctx, []*subvol{hashed, cached}, func(*subvol) fop.RequestFor[*fop.LookupReply] { return look },
			func(s *subvol, rep *fop.LookupReply, err error) {
				if s == hashed {
					on[0] = answer{rep, err}
				} else {
					on[1] = answer{rep, err}
				}
			})
		made := false
		if errors.Is(on[0].err, syscall.ENOENT) && on[1].err == nil && on[1].rep.Stat.GFID == file.Stat.GFID {
			var existed bool
			_, existed, err = d.linkto(ctx, hashed, cached, q.Parent, q.Name, file.Stat.GFID, nil, fop.Stamp{})
			made = err == nil && !existed
		}
		k.unlock(ctx)
		if made {
			d.chownLinkto(ctx, hashed, file.Stat.GFID, &file.Stat, fop.Stamp{})
		}
	}
	if err != nil {
		d.log.Warn("a file off its place gets no linkto", "name", q.Name, "parent", q.Parent.String(), "subvolume", hashed.name, "err", err)
	}
}
