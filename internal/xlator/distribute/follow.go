package distribute

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// A rebalance process moves a file while clients use it. It copies from the
// source, the cached subvolume, to the destination, which has a linkto
// meanwhile. This is what the answers of the source show of it:
//
//	phase 1  the bits 03000 in the mode, the name of the destination in the
//	         linkto xattr. A part that was copied is not copied again: changes
//	         are made on the source, then on the destination.
//	phase 2  mode 01000, the same xattr, or no file any more. The destination has
//	         it now.
//
// A user may set the bits 03000, or the mode 01000, on a file of his own: then
// there is no xattr, and the answer is taken as it is.

// destFor is for how long the destination of a migration is remembered.
const destFor = time.Second

// hops bounds how often a fop follows a file that moves.
const hops = 8

// settle makes the reply of a fop on a file of what its subvolume answered.
func (d *distribute) settle(ctx context.Context, req fop.Request, gfid fop.GFID, fd *fop.Fd, s *subvol, rep fop.Reply, err error) (fop.Reply, error) {
	for hop := range hops {
		var errno syscall.Errno
		if err != nil {
			errno = fop.Errno(err)
		}
		pre, post := attributes(rep)
		cause, again := err, false
		switch phaseOf(pre, post, errno) {
		case settled:
			tidy(rep)
			return rep, err
		case copying:
			if !inPhase1(post) {
				going, rerr := d.restoreBits(ctx, gfid, s, req, post)
				if rerr != nil {
					return nil, rerr
				}
				if !going {
					tidy(rep)
					return rep, err
				}
			}
			if !doubled(req.Op()) {
				tidy(rep)
				return rep, err
			}
			var derr error
			if again, derr = d.double(ctx, req, gfid, fd, s); derr != nil {
				return nil, derr
			}
			if !again {
				tidy(rep)
				return rep, err
			}
			cause = errMoved
		case unopened:
			if fd == nil || d.openedOn(fd, s) || d.reopen(ctx, fd, s) != nil {
				return rep, err
			}
			rep, err = s.Do(ctx, req)
			continue
		case moved:
		}
		to, merr := d.follow2(ctx, gfid, s, cause)
		if merr != nil {
			return nil, merr
		}
		if to == nil || to == s && !again {
			if err != nil || fd == nil || hop > 0 || !d.cameBack(ctx, gfid, s) {
				tidy(rep)
				return rep, err
			}
			to = s
		}
		d.closeOn(ctx, fd, s, math.MaxUint64)
		s = to
		rep, err = d.send(ctx, s, req, fd)
	}
	return nil, fmt.Errorf("%v: %v moves faster than it can be followed: %w", req.Op(), gfid, syscall.EIO)
}

// cameBack reports whether a file that looks like a linkto through an open file is
// none by its gfid: then what is open is what was left when it moved away once.
func (d *distribute) cameBack(ctx context.Context, gfid fop.GFID, s *subvol) bool {
	st, err := fop.Call(ctx, s, &fop.Stat{Header: asSu(nil), GFID: gfid})
	return err == nil && phaseOf(nil, &st.Stat, 0) != moved
}

// openedOn reports whether fd was opened on s through here.
func (d *distribute) openedOn(fd *fop.Fd, s *subvol) bool {
	f, _ := fd.Get(d).(*openFile)
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on[s.index] != 0
}

// double does on the destination of a migration what was done on its source s.
// again says that the file is elsewhere by now.
func (d *distribute) double(ctx context.Context, req fop.Request, gfid fop.GFID, fd *fop.Fd, s *subvol) (again bool, err error) {
	for range 2 {
		to, since, err := d.destination(ctx, gfid, s)
		if err != nil || to == nil {
			return errors.Is(err, errMoved), ignoreMoved(err)
		}
		d.closeOn(ctx, fd, to, since)
		q := req
		if w, ok := req.(*fop.Write); ok {
			x := *w
			x.XData = w.XData.With(keyProtect, fop.Int(1))
			q = &x
		}
		rep, err := d.send(ctx, to, q, fd)
		switch {
		case err == nil:
			// It may itself be on its way to somewhere else by now, or be gone:
			// what is open then has no name and looks like a linkto.
			_, post := attributes(rep)
			gone := post != nil && fd != nil && post.Flags&fop.IattNlink != 0 && post.Nlink == 0
			if gone {
				d.closeOn(ctx, fd, to, math.MaxUint64)
			}
			return gone || inPhase1(post), nil
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ESTALE):
			// The migration was given up, or is done and goes on to another.
			d.objects.with(gfid, func(o *object) { o.dest = nil })
			continue
		default:
			return false, err
		}
	}
	return true, nil
}

// errMoved says that a file is not where a migration began any more.
var errMoved = errors.New("the file has been moved")

func ignoreMoved(err error) error {
	if errors.Is(err, errMoved) {
		return nil
	}
	return err
}

// destination is where a file that is being copied from s goes, nil if it is
// not. What was opened there before since is not what is there now.
func (d *distribute) destination(ctx context.Context, gfid fop.GFID, s *subvol) (to *subvol, since uint64, err error) {
	d.objects.with(gfid, func(o *object) {
		if o.file == s && o.dest != nil && time.Now().Before(o.destUntil) {
			to, since = o.dest, o.destSince
		}
	})
	if to != nil {
		return to, since, nil
	}
	name, err := d.linktoOn(ctx, gfid, s)
	if err != nil {
		return nil, 0, err
	}
	if to = d.subvolume(name); to == nil || to == s {
		return nil, 0, nil
	}
	since = d.opens.Add(1)
	d.objects.with(gfid, func(o *object) {
		if o.file == s || o.file == nil && o.layout == nil {
			o.file, o.dest, o.destUntil, o.destSince = s, to, time.Now().Add(destFor), since
		}
	})
	return to, since, nil
}

// linktoOn reads the linkto xattr of a file; "" if it has none.
func (d *distribute) linktoOn(ctx context.Context, gfid fop.GFID, s *subvol) (string, error) {
	rep, err := fop.Call(ctx, s, &fop.Getxattr{Header: asSu(nil), GFID: gfid, Name: fop.XattrLinkto})
	switch {
	case err == nil:
		return rep.Dict.Text(fop.XattrLinkto), nil
	case errors.Is(err, syscall.ENODATA):
		return "", nil
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ESTALE):
		return "", errMoved
	}
	return "", fmt.Errorf("is %v being moved: %w", gfid, err)
}

// restoreBits gives a file the bits of phase 1 back which a change of its mode
// took away: without them other clients would write to the source only. It
// reports whether the file is being copied; if that cannot be found out, what was
// changed on s alone must not be taken for done.
func (d *distribute) restoreBits(ctx context.Context, gfid fop.GFID, s *subvol, req fop.Request, post *fop.Iatt) (bool, error) {
	name, err := d.linktoOn(ctx, gfid, s)
	if err != nil || d.subvolume(name) == nil {
		return false, ignoreMoved(err)
	}
	if post != nil && post.Mode&modeBits != fop.ModeSticky {
		st := fop.Iatt{Mode: post.Mode&modeBits | phase1}
		if _, err := fop.Call(ctx, s, &fop.Setattr{Header: asSu(nil), GFID: gfid, Stat: st, Valid: fop.SetMode}); err != nil {
			d.log.Warn("a file that is being moved lost the mark of it", "gfid", gfid.String(), "subvolume", s.name, "after", req.Op().String(), "err", err)
		}
	}
	return true, nil
}

// follow2 finds out where a file is that s does not have any more, or has only a
// linkto of. It returns nil, or s, if the answer of s is what there is to say.
func (d *distribute) follow2(ctx context.Context, gfid fop.GFID, s *subvol, cause error) (*subvol, error) {
	was := false // a linkto, just now
	if cause == nil {
		name, err := d.linktoOn(ctx, gfid, s)
		if err == nil && name == "" {
			return nil, nil // a file of mode 01000
		}
		was = true
	}
	for try := 1; ; try++ {
		f, err := d.discover(ctx, gfid)
		gone := errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE)
		// Subvolumes are not asked at one moment: while the file turns around, none
		// may say that it has it, or s that what was a linkto is a file.
		if was && try < hops && (gone || err == nil && f.file == s && likeLinkto(&f.reply.Stat)) {
			continue
		}
		switch {
		case err == nil && f.file == nil:
			return nil, fmt.Errorf("%v was a file and is a directory: %w", gfid, syscall.EIO)
		case err == nil:
			return f.file, nil
		case cause != nil && gone:
			return nil, nil // it is gone, and cause says so
		}
		return nil, err
	}
}
