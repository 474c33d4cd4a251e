package distribute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// rmdir removes a directory on all subvolumes but the hashed one, then there.
// Before, all must be empty but for linktos whose files are gone; those are
// removed. If a subvolume refuses, what was removed on others is made again.
func (d *distribute) rmdir(ctx context.Context, r *fop.Rmdir) (*fop.RemoveReply, error) {
	l, err := d.layoutOf(ctx, r.Parent)
	if err != nil {
		return nil, err
	}
	hashed := d.hashed(l, r.Name)
	k := d.newLocks()
	locked := make(chan error, 1)
	if hashed == nil {
		locked <- nil
	} else {
		go func() { locked <- k.acquire(ctx, nil, []entrylk{{hashed, r.Parent, r.Name}}, nil) }()
	}
	sc, err := d.beforeRmdir(ctx, r, hashed)
	if lerr := <-locked; err == nil {
		err = lerr
	}
	defer k.unlock(ctx)
	if err == nil && hashed != nil && (k.waited || !sc.whole()) {
		// Somebody was just making or removing it: what was seen is not what
		// there is now.
		sc, err = d.beforeRmdir(ctx, r, hashed)
	}
	if err != nil {
		return nil, err
	}
	rep, err := d.rmdirAll(context.WithoutCancel(ctx), r, hashed, sc)
	if err != nil {
		return rep, err
	}
	d.objects.forget(sc.gfid)
	d.dirs.drop(entryName{r.Parent, r.Name})
	d.dropName(r.Parent, r.Name)
	return rep, nil
}

// whole reports whether the same directory is on all subvolumes.
func (sc *scan) whole() bool {
	for _, a := range sc.answers {
		if a.err != nil || a.rep.Stat.GFID != sc.gfid {
			return false
		}
	}
	return true
}

// beforeRmdir finds the directory and sees that nothing is in it.
func (d *distribute) beforeRmdir(ctx context.Context, r *fop.Rmdir, hashed *subvol) (*scan, error) {
	q := asking(&fop.Lookup{Header: fop.Header{Cred: r.Cred}, Parent: r.Parent, Name: r.Name})
	sc := d.scanDir(d.askAll(ctx, q), d.ups.Load(), fop.GFID{})
	for i, a := range sc.answers {
		switch {
		case errors.Is(a.err, syscall.ENOTCONN):
			return sc, fmt.Errorf("rmdir %q: %s is down: %w", r.Name, d.subs[i].name, a.err)
		case a.err == nil && !a.rep.Stat.IsDir():
			return sc, fmt.Errorf("rmdir %q: %w", r.Name, syscall.ENOTDIR)
		case a.err != nil && !a.missing():
			return sc, fmt.Errorf("rmdir %q on %s: %w", r.Name, d.subs[i].name, a.err)
		}
	}
	if sc.dirs == 0 {
		return sc, fmt.Errorf("rmdir %q: %w", r.Name, worse(sc.err, syscall.ENOENT))
	}
	if r.Flags != 0 {
		return sc, nil
	}
	return sc, d.empty(ctx, &r.Cred, sc.gfid)
}

// rmdirAll removes the directory, on the hashed subvolume last.
func (d *distribute) rmdirAll(ctx context.Context, r *fop.Rmdir, hashed *subvol, sc *scan) (*fop.RemoveReply, error) {
	known := *r
	known.Dir, r = sc.gfid, &known
	total := &fop.RemoveReply{}
	var removed []*subvol
	var failed error
	got := func(s *subvol, rep *fop.RemoveReply, err error) {
		switch {
		case err == nil:
			removed = append(removed, s)
			mergeDir(&total.PreParent, &rep.PreParent)
			mergeDir(&total.PostParent, &rep.PostParent)
			if rep.XData != nil {
				total.XData = rep.XData
			}
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ESTALE):
		case failed == nil:
			failed = err
		}
	}
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.RemoveReply] {
		if s == hashed {
			return nil
		}
		return r // even where there was none: it may have been in the making
	}, got)
	if failed == nil && hashed != nil {
		rep, err := fop.Call(ctx, hashed, r)
		got(hashed, rep, err)
	}
	switch {
	case failed == nil && len(removed) == 0:
		return nil, fmt.Errorf("rmdir %q: %w", r.Name, syscall.ENOENT)
	case failed == nil:
		return total, nil
	case !errors.Is(failed, syscall.EACCES):
		at := entryName{r.Parent, r.Name}
		// sc is from before the lock: the name may be another directory's now.
		left := d.scanDir(d.askAll(ctx, asking(&fop.Lookup{Header: asSu(nil), Parent: at.parent, Name: at.name})), d.ups.Load(), fop.GFID{})
		if left.dirs > 0 && left.gfid != sc.gfid {
			sc = left
		}
		d.restore(ctx, at, sc, removed)
	}
	return nil, failed
}

// restore makes a directory again, as the scan found it, where it was removed.
// The locks of its name are held.
func (d *distribute) restore(ctx context.Context, at entryName, sc *scan, where []*subvol) {
	each(ctx, where, func(s *subvol) fop.RequestFor[*fop.EntryReply] {
		x := fop.NewDict(
			fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(sc.gfid)},
			fop.Pair{Key: keyInternalCtx, Val: fop.Bytes(healCtx)})
		if a := sc.answers[s.index]; a.err == nil && a.rep.XData.Has(fop.XattrDHT) {
			x.Append(fop.XattrDHT, fop.Bytes(sc.layout.disk(s)))
		}
		if s == sc.mds {
			x.Append(keyMDS, fop.Bytes(sc.answers[s.index].rep.XData.Bytes(keyMDS)))
		}
		return &fop.Mkdir{Header: asSu(x), Parent: at.parent, Name: at.name, Mode: sc.source.Mode}
	}, func(s *subvol, _ *fop.EntryReply, err error) {
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			d.log.Warn("a directory is gone on one subvolume", "name", at.name, "parent", at.parent.String(), "subvolume", s.name, "err", err)
		}
	})
	if len(where) > 0 {
		d.setAttributes(ctx, sc)
		if sc.mds != nil && !slices.Contains(where, sc.mds) {
			sc.pending = -1
			d.count(ctx, sc.gfid, sc.mds, -1)
			d.healXattrs(ctx, sc)
		}
	}
}

// listSize is how many bytes of entries are asked for at once.
const listSize = 4096

// empty reports ENOTEMPTY unless nothing but stale linktos is in a directory;
// it removes those. As in GlusterFS a directory that the caller may not list
// cannot be seen to be empty.
func (d *distribute) empty(ctx context.Context, caller *fop.Cred, dir fop.GFID) error {
	fd := &fop.Fd{GFID: dir, Dir: true, Flags: fop.ODirectory}
	open := make([]bool, len(d.subs))
	var failed error
	linkto := fop.NewDict(fop.Pair{Key: fop.XattrLinkto, Val: fop.Uint(linktoSize)})
	each(ctx, d.subs, func(*subvol) fop.RequestFor[*fop.OpenReply] {
		return &fop.Opendir{Header: fop.Header{Cred: *caller, XData: linkto}, GFID: dir, Fd: fd}
	}, func(s *subvol, _ *fop.OpenReply, err error) {
		if open[s.index] = err == nil; err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
			failed = fmt.Errorf("opendir %v on %s: %w", dir, s.name, err)
		}
	})
	defer d.releaseDir(ctx, fd, open)
	if failed != nil {
		return failed
	}
	busy := slices.Clone(open)
	for slices.Contains(busy, true) {
		lists := make([][]fop.Dirent, len(d.subs))
		each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.ReaddirReply] {
			if !busy[s.index] {
				return nil
			}
			return &fop.Readdirp{Header: asSu(linkto), GFID: dir, Fd: fd, Size: listSize}
		}, func(s *subvol, rep *fop.ReaddirReply, err error) {
			if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
				failed = fmt.Errorf("list %v on %s: %w", dir, s.name, err)
			} else if err == nil {
				lists[s.index] = rep.Entries
			}
		})
		if failed != nil {
			return failed
		}
		for _, s := range d.subs {
			more, err := d.purge(ctx, s, dir, lists[s.index])
			if err != nil {
				return err
			}
			busy[s.index] = more
		}
	}
	return nil
}

func (d *distribute) releaseDir(ctx context.Context, fd *fop.Fd, open []bool) {
	ctx = context.WithoutCancel(ctx)
	var pend []fop.Pending
	for _, s := range d.subs {
		if open[s.index] {
			pend = append(pend, s.Start(ctx, &fop.Releasedir{Header: asSu(nil), GFID: fd.GFID, Fd: fd}))
		}
	}
	d.behind(ctx, func(context.Context) {
		for _, p := range pend {
			p.Wait()
		}
	})
}

// purge removes the stale linktos among the entries of a directory on one
// subvolume. more says that there were some, and so may be others.
func (d *distribute) purge(ctx context.Context, on *subvol, dir fop.GFID, entries []fop.Dirent) (more bool, err error) {
	full := fmt.Errorf("directory %v on %s: %w", dir, on.name, syscall.ENOTEMPTY)
	for i := range entries {
		if e := &entries[i]; !dotName(e.Name) && !e.Stat.IsZero() && !isLinkto(&e.Stat, e.XData) {
			return false, full
		}
	}
	for i := range entries {
		e := &entries[i]
		if dotName(e.Name) {
			continue
		}
		look := asking(&fop.Lookup{Header: asSu(nil), Parent: dir, Name: e.Name})
		if to := d.linktoTarget(e.XData); to != nil && to != on {
			_, err := fop.Call(ctx, to, look)
			switch {
			case err == nil:
				return false, full
			case !errors.Is(err, syscall.ENOENT):
				return false, err
			}
		}
		rep, err := fop.Call(ctx, on, look)
		switch {
		case errors.Is(err, syscall.ENOENT):
		case err != nil:
			return false, err
		case !isLinkto(&rep.Stat, rep.XData):
			return false, full
		default:
			_, err = fop.Call(ctx, on, &fop.Unlink{
				Header: asSu(fop.NewDict(fop.Pair{Key: keyUnlinkLinkto, Val: fop.Int(1)})), Parent: dir, Name: e.Name})
			if err != nil && !errors.Is(err, syscall.ENOENT) {
				return false, err
			}
		}
		more = true
	}
	return more, nil
}
