package distribute

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// renaming is one rename of a file.
type renaming struct {
	d        *distribute
	r        *fop.Rename
	places   renamePlaces
	src, dst fop.GFID // dst is zero if nothing has the new name
	srcStat  fop.Iatt // what the lookups under the locks said
	srcDir   fop.Iatt
	dstStat  fop.Iatt
	dstDir   fop.Iatt
	linked   *fop.EntryReply
}

// errAgain says that what was assumed before the locks were taken is not so.
var errAgain = fmt.Errorf("something changed meanwhile: %w", syscall.EAGAIN)

// rename gives a file or directory another name.
func (d *distribute) rename(ctx context.Context, r *fop.Rename) (*fop.RenameReply, error) {
	for try := 0; ; try++ {
		src, ok := d.names.get(entryName{r.OldParent, r.OldName})
		if !ok || src.at == nil {
			f, err := d.lookupName(ctx, &fop.Lookup{Header: fop.Header{Cred: r.Cred}, Parent: r.OldParent, Name: r.OldName})
			if err != nil {
				return nil, err
			}
			if f.layout != nil {
				return d.renameDir(ctx, r, f.reply)
			}
			src = known{gfid: f.reply.Stat.GFID, at: f.file}
		}
		rep, err := d.renameFile(ctx, r, src)
		if !errors.Is(err, errAgain) {
			return rep, err
		}
		if try == 10 {
			return nil, fmt.Errorf("rename %q: others change it all the time: %w", r.OldName, syscall.EBUSY)
		}
		d.forgetName(r.OldParent, r.OldName)
	}
}

// hashedBoth finds the subvolumes to which both names of a rename hash.
func (d *distribute) hashedBoth(ctx context.Context, r *fop.Rename) (sh, dh *subvol, err error) {
	l, err := d.layoutOf(ctx, r.OldParent)
	if err != nil {
		return nil, nil, err
	}
	sh = d.hashed(l, r.OldName)
	if r.NewParent != r.OldParent {
		if l, err = d.layoutOf(ctx, r.NewParent); err != nil {
			return nil, nil, err
		}
	}
	dh = d.hashed(l, r.NewName)
	if sh == nil || dh == nil {
		return nil, nil, fmt.Errorf("rename %q to %q: no subvolume has the hash of a name; is one down? %w", r.OldName, r.NewName, syscall.EINVAL)
	}
	return sh, dh, nil
}

// renameFile renames what src says a file is. errAgain: that is not so.
func (d *distribute) renameFile(ctx context.Context, r *fop.Rename, src known) (*fop.RenameReply, error) {
	sh, dh, err := d.hashedBoth(ctx, r)
	if err != nil {
		return nil, err
	}
	files := []inodelk{{src.at, src.gfid, domainMigrate, fop.LockWrite}}
	dst, ok := d.names.get(entryName{r.NewParent, r.NewName})
	if ok && dst.at != nil && dst.gfid != src.gfid {
		files = append(files, inodelk{dst.at, dst.gfid, domainMigrate, fop.LockWrite})
		sortFiles(files)
	}
	k := d.newLocks()
	defer k.unlock(ctx)
	err = k.acquire(ctx, files, []entrylk{{sh, r.OldParent, r.OldName}, {dh, r.NewParent, r.NewName}}, func(w inodelk, err error) bool {
		return w.domain == domainMigrate && w.gfid != src.gfid &&
			(errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.EIO))
	})
	if err != nil {
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) {
			// It may have moved to another subvolume: the next lookup tells.
			d.objects.forget(src.gfid)
			return nil, errAgain
		}
		return nil, err
	}
	n := &renaming{d: d, r: r, src: src.gfid, places: renamePlaces{sh.index, src.at.index, dh.index, none}}
	// From here on nothing is left half done because the caller lost patience.
	ctx = withNameLocked(context.WithoutCancel(ctx))
	if err := n.look(ctx, src); err != nil {
		return nil, err
	}
	if h, g, err := d.hashedBoth(ctx, r); err != nil || h != sh || g != dh {
		return nil, errAgain
	}
	if n.dst == n.src || r.OldParent == r.NewParent && r.OldName == r.NewName {
		return &fop.RenameReply{Stat: n.srcStat, PreOldParent: n.srcDir, PostOldParent: n.srcDir, PreNewParent: n.dstDir, PostNewParent: n.dstDir}, nil
	}
	if dc := n.places.dstCached; dc != none && !k.holds(n.dst) {
		if err := k.tryFile(ctx, inodelk{d.subs[dc], n.dst, domainMigrate, fop.LockWrite}); errors.Is(err, syscall.EAGAIN) {
			d.sawName(r.NewParent, r.NewName, n.dst, d.subs[dc])
			return nil, errAgain
		} else if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.EIO) {
			return nil, err
		}
	}
	if err := n.permitted(ctx); err != nil {
		return nil, err
	}
	return n.run(ctx)
}

func sortFiles(files []inodelk) {
	if len(files) == 2 && (files[0].on.name > files[1].on.name ||
		files[0].on == files[1].on && string(files[0].gfid[:]) > string(files[1].gfid[:])) {
		files[0], files[1] = files[1], files[0]
	}
}

// holds reports whether there is a lock on a file.
func (k *locks) holds(gfid fop.GFID) bool {
	for _, w := range k.nodes {
		if w.domain == domainMigrate && w.gfid == gfid {
			return true
		}
	}
	return false
}

// look looks both names up under the locks, at the same time.
func (n *renaming) look(ctx context.Context, src known) error {
	d, r := n.d, n.r
	q := &fop.Lookup{Header: asSu(lookupKeys), GFID: src.gfid, Parent: r.OldParent, Name: r.OldName}
	pend := src.at.Start(ctx, q)
	f, derr := d.lookupName(ctx, &fop.Lookup{Header: fop.Header{Cred: r.Cred}, Parent: r.NewParent, Name: r.NewName})
	rep, err := pend.Wait()
	s, _ := rep.(*fop.LookupReply)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ESTALE),
		err == nil && (s.Stat.GFID != src.gfid || s.Stat.IsDir() || isLinkto(&s.Stat, s.XData)):
		// It is another one, or elsewhere, or nothing any more; the next
		// lookup tells.
		d.objects.forget(src.gfid)
		return errAgain
	case err != nil:
		return err
	case derr != nil && !errors.Is(derr, syscall.ENOENT):
		return derr
	}
	n.srcStat, n.srcDir = s.Stat, s.Parent
	shown(&n.srcStat)
	fixDir(&n.srcDir)
	if derr == nil {
		if f.layout != nil {
			return fmt.Errorf("rename %q to %q: %w", r.OldName, r.NewName, syscall.EISDIR)
		}
		n.dst, n.dstStat, n.dstDir = f.reply.Stat.GFID, f.reply.Stat, f.reply.Parent
		n.places.dstCached = f.file.index
	} else if f.reply != nil {
		n.dstDir = f.reply.Parent
	}
	return nil
}

// permitted checks what the bricks cannot when a rename is made of steps that
// we do as root: may the caller remove names in both directories?
func (n *renaming) permitted(ctx context.Context) error {
	uid := n.r.Cred.UID
	p := n.places
	if uid == 0 || p.srcCached == p.dstCached || p.srcCached == p.dstHashed && (p.dstCached == none || p.dstCached == p.dstHashed) {
		return nil // the brick sees all of it
	}
	sticky := func(dir, st *fop.Iatt) error {
		if dir.Mode&fop.ModeSticky != 0 && uid != dir.UID && uid != st.UID {
			return fmt.Errorf("rename %q to %q: the directory is sticky: %w", n.r.OldName, n.r.NewName, syscall.EPERM)
		}
		return nil
	}
	if err := sticky(&n.srcDir, &n.srcStat); err != nil {
		return err
	}
	if n.dst != (fop.GFID{}) {
		if err := sticky(&n.dstDir, &n.dstStat); err != nil {
			return err
		}
	}
	dirs := []fop.GFID{n.r.OldParent}
	if n.r.NewParent != n.r.OldParent {
		dirs = append(dirs, n.r.NewParent)
	}
	for _, g := range dirs {
		const writeAndPass = 2 | 1
		if _, err := n.d.access(ctx, &fop.Access{Header: fop.Header{Cred: n.r.Cred}, GFID: g, Mask: writeAndPass}); err != nil {
			return err
		}
	}
	return nil
}

// run carries the plan out.
func (n *renaming) run(ctx context.Context) (*fop.RenameReply, error) {
	d := n.d
	plan := planRename(n.places)
	for i, s := range plan.before {
		if err := n.step(ctx, s); err != nil {
			n.undo(ctx, &plan, i)
			return nil, err
		}
	}
	rep, err := fop.Call(ctx, d.subs[plan.rename.at], n.request(plan.rename).(*fop.Rename))
	if err != nil {
		switch n.outcome(ctx, &plan, err) {
		case notDone:
			n.undo(ctx, &plan, len(plan.before))
			return rep, err
		case unknown:
			return rep, err
		}
		rep = &fop.RenameReply{Stat: n.srcStat, PreOldParent: n.srcDir, PostOldParent: n.srcDir, PreNewParent: n.dstDir, PostNewParent: n.dstDir}
	}
	n.finish(ctx, &plan)
	for _, p := range [...]*fop.Iatt{&rep.PreOldParent, &rep.PostOldParent, &rep.PreNewParent, &rep.PostNewParent} {
		fixDir(p)
	}
	if plan.rename.at != n.places.srcCached { // that was a linkto
		rep.Stat = n.srcStat
		if n.linked != nil {
			rep.Stat = n.linked.Stat
			rep.Stat.Nlink--
		}
	}
	shown(&rep.Stat)
	d.forgetName(n.r.OldParent, n.r.OldName)
	d.setFile(n.src, d.subs[n.places.srcCached])
	d.sawName(n.r.NewParent, n.r.NewName, n.src, d.subs[n.places.srcCached])
	return rep, nil
}

// finish does what comes after the rename itself, all at once.
func (n *renaming) finish(ctx context.Context, plan *renamePlan) {
	var pend []fop.Pending
	var what []renameStep
	for _, s := range plan.after {
		if s.act == actUnlink {
			pend = append(pend, n.d.subs[s.at].Start(ctx, n.request(s)))
			what = append(what, s)
		}
	}
	for _, s := range plan.after {
		if s.act == actMknod {
			if err := n.step(ctx, s); err != nil {
				n.d.log.Warn("a renamed file has no linkto; a lookup on all subvolumes makes it", "name", n.r.NewName, "subvolume", n.d.subs[s.at].name, "err", err)
			}
		}
	}
	for i, p := range pend {
		_, err := p.Wait()
		if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
			// The caller may: that was asked before anything was done.
			what[i].privileged = true
			_, err = n.d.subs[what[i].at].Do(ctx, n.request(what[i]))
		}
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			n.d.log.Warn("a rename left something behind", "name", n.r.OldName, "new", n.r.NewName, "step", what[i].act.String(), "subvolume", n.d.subs[what[i].at].name, "err", err)
		}
	}
	if plan.newLinkto != none {
		n.d.chownLinkto(ctx, n.d.subs[plan.newLinkto], n.src, &n.srcStat, n.r.Time)
	}
}

// undo takes back the first done steps of before.
func (n *renaming) undo(ctx context.Context, plan *renamePlan, done int) {
	for _, s := range plan.undo(done) {
		if err := n.step(ctx, s); err != nil && !errors.Is(err, syscall.ENOENT) {
			n.d.log.Warn("a rename that failed left something behind", "name", n.r.OldName, "new", n.r.NewName, "step", s.act.String(), "subvolume", n.d.subs[s.at].name, "err", err)
		}
	}
}

type outcome uint8

const (
	notDone outcome = iota
	done
	unknown
)

// outcome finds out whether a rename that failed was done all the same.
func (n *renaming) outcome(ctx context.Context, plan *renamePlan, err error) outcome {
	switch fop.Errno(err) {
	case syscall.ENOTCONN, syscall.ETIMEDOUT, syscall.ECANCELED, syscall.EIO:
	default:
		return notDone
	}
	q := &fop.Lookup{Header: asSu(nil), Parent: n.r.NewParent, Name: n.r.NewName}
	rep, lerr := fop.Call(ctx, n.d.subs[plan.rename.at], q)
	switch {
	case lerr == nil && rep.Stat.GFID == n.src:
		return done
	case lerr == nil, errors.Is(lerr, syscall.ENOENT):
		return notDone
	case plan.rename.at != n.places.srcCached && !plan.inDoubt:
		// At worst a linkto stays that leads nowhere.
		return notDone
	}
	n.d.log.Error("a rename may be done or not; the file keeps its old name, too", "name", n.r.OldName, "new", n.r.NewName, "subvolume", n.d.subs[plan.rename.at].name, "err", err)
	return unknown
}

// step carries out one step.
func (n *renaming) step(ctx context.Context, s renameStep) error {
	on := n.d.subs[s.at]
	switch s.act {
	case actMknod, actMknodBack:
		parent, name, gfid := n.r.OldParent, n.r.OldName, n.src
		if s.onDst {
			parent, name = n.r.NewParent, n.r.NewName
		}
		if s.act == actMknodBack {
			gfid = n.dst
		}
		upper := fop.NewDict(fop.Pair{Key: keyForceReplace, Val: fop.Str("yes")})
		_, existed, err := n.d.linkto(ctx, on, n.d.subs[s.target], parent, name, gfid, upper, n.r.Time)
		if err == nil && existed {
			err = fmt.Errorf("a file %q is in the way on %s: %w", name, on.name, syscall.EEXIST)
		}
		return err
	case actLink:
		rep, err := fop.Call(ctx, on, n.request(s).(*fop.Link))
		n.linked = rep
		return err
	case actUnlink:
		_, err := on.Do(ctx, n.request(s))
		if errors.Is(err, syscall.ENOENT) {
			err = nil
		}
		return err
	}
	return syscall.EINVAL
}

// request is the request of a step that is none to make a linkto.
func (n *renaming) request(s renameStep) fop.Request {
	h := n.r.Header
	if s.privileged {
		h.Cred = su("")
	}
	x := fop.NewDict()
	if s.act == actRename {
		x = n.r.XData.Clone()
	} else {
		x.Set(fop.KeyInternalFop, fop.Str("yes"))
	}
	same := n.r.OldParent == n.r.NewParent
	onData := s.at == n.places.srcCached
	switch {
	case s.act == actRename && !onData, s.act != actRename && (same || !onData):
		x.Set(keyDontAccount, fop.Str("yes"))
	}
	if s.marked {
		x.Set(keyRenameOp, fop.Bytes(renameOp(n.r)))
	}
	parent, name := n.r.OldParent, n.r.OldName
	if s.onDst {
		parent, name = n.r.NewParent, n.r.NewName
	}
	switch s.act {
	case actRename:
		q := *n.r
		h.XData = x
		q.Header, q.File = h, true
		return &q
	case actLink:
		x.Set(keyForceReplace, fop.Str("yes"))
		h.XData = x
		return &fop.Link{Header: h, GFID: n.src, Parent: parent, Name: name}
	}
	if s.privileged && !onData {
		x.Set(keyUnlinkLinkto, fop.Int(1))
	}
	h.XData = x
	return &fop.Unlink{Header: h, Parent: parent, Name: name}
}
