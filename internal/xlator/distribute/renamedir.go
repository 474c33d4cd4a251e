package distribute

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// renameDir renames a directory on all subvolumes: on the one to which the new
// name hashes first, for that decides, then on the others. If any fails, the
// others are taken back.
func (d *distribute) renameDir(ctx context.Context, r *fop.Rename, src *fop.LookupReply) (*fop.RenameReply, error) {
	for _, s := range d.subs {
		if !s.isUp() {
			return nil, fmt.Errorf("rename of directory %q: %s is down: %w", r.OldName, s.name, syscall.ENOTCONN)
		}
	}
	sh, dh, err := d.hashedBoth(ctx, r)
	if err != nil {
		return nil, err
	}
	k := d.newLocks()
	defer k.unlock(ctx)
	if err := k.acquire(ctx, nil, []entrylk{{sh, r.OldParent, r.OldName}, {dh, r.NewParent, r.NewName}}, nil); err != nil {
		return nil, err
	}
	ctx = withNameLocked(context.WithoutCancel(ctx))
	f, err := d.lookupName(ctx, &fop.Lookup{Header: fop.Header{Cred: r.Cred}, Parent: r.NewParent, Name: r.NewName})
	switch {
	case errors.Is(err, syscall.ENOENT):
	case err != nil:
		return nil, err
	case f.layout == nil:
		return nil, fmt.Errorf("rename %q to %q: %w", r.OldName, r.NewName, syscall.ENOTDIR)
	case f.reply.Stat.GFID == src.Stat.GFID:
		return &fop.RenameReply{Stat: src.Stat, PreOldParent: src.Parent, PostOldParent: src.Parent, PreNewParent: f.reply.Parent, PostNewParent: f.reply.Parent}, nil
	default:
		if err := d.empty(ctx, &r.Cred, f.reply.Stat.GFID); err != nil {
			return nil, err
		}
	}
	q := *r
	q.File = false // whoever said so was wrong
	rep, err := d.renameAll(ctx, &q, dh)
	if err != nil {
		return rep, err
	}
	if f.layout != nil {
		d.objects.forget(f.reply.Stat.GFID)
	}
	d.dirs.drop(entryName{r.OldParent, r.OldName})
	d.forgetName(r.OldParent, r.OldName)
	d.forgetName(r.NewParent, r.NewName)
	d.setName(src.Stat.GFID, r.NewParent, r.NewName)
	d.dirs.set(entryName{r.NewParent, r.NewName})
	return rep, nil
}

// renameAll renames on all subvolumes, first on the one given.
func (d *distribute) renameAll(ctx context.Context, r *fop.Rename, first *subvol) (*fop.RenameReply, error) {
	total := &fop.RenameReply{}
	var done []*subvol
	var failed error
	got := func(s *subvol, rep *fop.RenameReply, err error) {
		if err != nil {
			if failed == nil {
				failed = fmt.Errorf("on %s: %w", s.name, err)
			}
			return
		}
		done = append(done, s)
		mergeDir(&total.Stat, &rep.Stat)
		mergeDir(&total.PreOldParent, &rep.PreOldParent)
		mergeDir(&total.PostOldParent, &rep.PostOldParent)
		mergeDir(&total.PreNewParent, &rep.PreNewParent)
		mergeDir(&total.PostNewParent, &rep.PostNewParent)
		if rep.XData != nil {
			total.XData = rep.XData
		}
	}
	rep, err := fop.Call(ctx, first, r)
	got(first, rep, err)
	if failed != nil {
		return nil, failed
	}
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.RenameReply] {
		if s == first {
			return nil
		}
		return r
	}, got)
	if failed == nil {
		return total, nil
	}
	back := &fop.Rename{Header: r.Header, OldParent: r.NewParent, OldName: r.NewName, NewParent: r.OldParent, NewName: r.OldName}
	each(ctx, done, func(*subvol) fop.RequestFor[*fop.RenameReply] { return back }, func(s *subvol, _ *fop.RenameReply, err error) {
		if err != nil {
			d.log.Error("a directory has two names, on one subvolume the new one", "name", r.OldName, "new", r.NewName, "subvolume", s.name, "err", err)
		}
	})
	return nil, failed
}
