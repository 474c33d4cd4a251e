package distribute

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// unlink removes a file: its data first, then its linkto, if it has one.
func (d *distribute) unlink(ctx context.Context, r *fop.Unlink) (*fop.RemoveReply, error) {
	key := entryName{r.Parent, r.Name}
	k, remembered := d.names.get(key)
	remembered = remembered && k.at != nil
	for try := 0; ; try++ {
		if !remembered {
			f, err := d.lookupName(ctx, &fop.Lookup{Header: fop.Header{Cred: r.Cred}, Parent: r.Parent, Name: r.Name})
			if err != nil {
				return nil, err
			}
			if f.layout != nil {
				return nil, fmt.Errorf("unlink %q: %w", r.Name, syscall.EISDIR)
			}
			k = known{gfid: f.reply.Stat.GFID, at: f.file}
		}
		d.names.forget(key)
		rep, err := fop.Call(ctx, k.at, r)
		if err != nil {
			if (errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE)) && (remembered || try < 3) {
				// It may have moved to another subvolume, after a lookup even.
				remembered = false
				continue
			}
			return rep, err
		}
		fixDir(&rep.PreParent)
		fixDir(&rep.PostParent)
		l, lerr := d.layoutOf(ctx, r.Parent)
		if lerr != nil {
			return rep, nil
		}
		if h := d.hashed(l, r.Name); h != nil && h != k.at {
			// The file is gone; a linkto that stays is removed by the next lookup.
			q := *r
			q.XData = r.XData.With(keyUnlinkLinkto, fop.Int(1))
			fop.Call(ctx, h, &q)
		}
		return rep, nil
	}
}

// link gives a file one more name: on the subvolume that has the file, with a
// linkto if the name hashes elsewhere.
func (d *distribute) link(ctx context.Context, r *fop.Link) (*fop.EntryReply, error) {
	s, err := d.cachedOf(ctx, r.GFID, nil)
	if errors.Is(err, syscall.EISDIR) {
		err = fmt.Errorf("link to a directory: %w", syscall.EPERM)
	}
	if err != nil {
		return nil, err
	}
	b, err := d.bear(ctx, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	b.name = r.Name
	f, err := d.taken(ctx, b, &r.Header)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return nil, exists(r.Name)
	}
	for hop := 0; ; hop++ {
		rep, err := d.linkOn(ctx, r, b, s)
		var errno syscall.Errno
		var post *fop.Iatt
		if err != nil {
			errno = fop.Errno(err)
		} else {
			post = &rep.Stat
		}
		ph := phaseOf(nil, post, errno)
		if ph == moved && hop < hops {
			to, merr := d.follow2(ctx, r.GFID, s, err)
			if merr != nil {
				return nil, merr
			}
			if to != nil && to != s {
				if err == nil { // it was the linkto that got the name
					fop.Call(ctx, s, &fop.Unlink{Header: asSu(nil), Parent: r.Parent, Name: r.Name})
				}
				s = to
				continue
			}
		}
		if err != nil {
			return rep, err
		}
		if ph == copying {
			if err := d.linkCopy(ctx, r, s); err != nil {
				return nil, err
			}
		}
		shown(&rep.Stat)
		d.born(b, rep, s)
		return rep, nil
	}
}

// linkOn makes the name on s, where the data is.
func (d *distribute) linkOn(ctx context.Context, r *fop.Link, b *birth, s *subvol) (*fop.EntryReply, error) {
	for again := false; ; again = true {
		if b.hashed == s {
			rep, err := fop.Call(ctx, s, r)
			if errors.Is(err, syscall.EEXIST) && !again {
				if f, lerr := d.lookAgain(ctx, b, &r.Header); lerr == nil && f == nil {
					continue
				}
			}
			return rep, err
		}
		_, existed, err := d.linkto(ctx, b.hashed, s, r.Parent, r.Name, r.GFID, nil, r.Time)
		if err != nil {
			return nil, err
		}
		if existed {
			if f, lerr := d.lookAgain(ctx, b, &r.Header); lerr == nil && f == nil && !again {
				continue
			}
			return nil, exists(r.Name)
		}
		rep, err := fop.Call(ctx, s, r)
		if err != nil {
			d.unlinkStale(ctx, b.hashed, r.Parent, r.Name)
			return rep, err
		}
		d.chownLinkto(ctx, b.hashed, r.GFID, &rep.Stat, r.Time)
		return rep, nil
	}
}

// linkCopy gives the name to the copy of a file that is being moved, too.
func (d *distribute) linkCopy(ctx context.Context, r *fop.Link, s *subvol) error {
	to, _, err := d.destination(ctx, r.GFID, s)
	if err != nil || to == nil {
		return ignoreMoved(err)
	}
	q := *r
	q.XData = r.XData.With(keyForceReplace, fop.Str("yes"))
	_, err = fop.Call(ctx, to, &q)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}
