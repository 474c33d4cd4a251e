package distribute

import (
	"context"
	"fmt"
	"slices"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Setting one of these xattrs on a directory divides it anew over all
// subvolumes of today, as `gluster volume rebalance … fix-layout` does for each.
var fixLayoutKeys = [...]string{"distribute.fix.layout", "trusted.distribute.fix.layout"}

func wantsFixLayout(x *fop.Dict) bool {
	return slices.ContainsFunc(fixLayoutKeys[:], x.Has)
}

// overlap is how many hashes two ranges share.
func overlap(a, b entry) uint32 {
	if a.err != 0 || b.err != 0 || a.empty() || b.empty() {
		return 0
	}
	start, stop := max(a.start, b.start), min(a.stop, b.stop)
	if start > stop {
		return 0
	}
	return stop - start + 1
}

// keepPlaces swaps ranges of a new layout between subvolumes so that as many
// hashes as it can find stay where they are in the old one. Both are in the
// order of names. Ranges must be about equal.
func keepPlaces(now, old []entry) {
	n := len(now)
	ov := make([][]uint32, n)
	for i := range ov {
		ov[i] = make([]uint32, n)
		for j := range ov[i] {
			ov[i][j] = overlap(now[i], old[j])
		}
	}
	for i := range now {
		if now[i].err != 0 {
			continue
		}
		best, most := -1, uint32(0)
		for j := i + 1; j < n; j++ {
			if now[j].err != 0 {
				continue
			}
			if is, could := ov[i][i]+ov[j][j], ov[i][j]+ov[j][i]; could > is && could-is > most {
				best, most = j, could-is
			}
		}
		if best >= 0 {
			now[i].extent, now[best].extent = now[best].extent, now[i].extent
			ov[i], ov[best] = ov[best], ov[i]
		}
	}
}

// byNames is the entries of a layout in the order of the names of subvolumes.
func (d *distribute) byNames(l *layout) []entry {
	all := make([]entry, 0, len(d.byName))
	for _, s := range d.byName {
		all = append(all, *l.of(s))
	}
	return all
}

// fixed is the layout that a directory of that path shall have, given the one
// that it has.
func (d *distribute) fixed(path string, gfid fop.GFID, old *layout) *layout {
	errs := make([]syscall.Errno, len(d.subs))
	for _, e := range old.entries {
		if e.err != syscall.ENOSPC {
			errs[e.sub.index] = e.err
		}
	}
	shares := d.shares(errs, false)
	l := d.division(path, gfid, old.commit).divide(shares)
	equal := !d.set.Load().weighted
	if !equal {
		equal = !slices.ContainsFunc(shares, func(s share) bool { return s.chunks != shares[0].chunks })
	}
	if equal {
		now := d.byNames(l)
		was := slices.Clone(now)
		for i, s := range shares {
			if s.leaving {
				now[i].err = syscall.EINVAL // gets no range by a swap either
			}
		}
		keepPlaces(now, d.byNames(old))
		for i := range now {
			now[i].err = was[i].err
		}
		l.entries = now
		l.sort()
	}
	return l
}

// evenly reports whether the ranges of a layout are of equal size, but for
// rounding.
func (l *layout) evenly() bool {
	var least, most uint32 = 0xffffffff, 0
	for _, e := range l.entries {
		if e.err == 0 && !e.empty() {
			least, most = min(least, e.stop-e.start), max(most, e.stop-e.start)
		}
	}
	return most < least || most-least <= uint32(len(l.entries))
}

// needsFix reports whether a directory with that layout on disk shall get the
// new one: not if all who should have a range have one, and nobody else.
func (d *distribute) needsFix(disk, now *layout) bool {
	h := disk.health()
	switch {
	case h.stuck():
		return false
	case !h.whole(), now.commit != disk.commit:
		return true
	}
	s := d.set.Load()
	with, staying := 0, 0
	for _, e := range disk.entries {
		leaves := s.decommissioned[e.sub.index]
		if !e.empty() {
			if leaves {
				return true
			}
			with++
		}
		if !leaves {
			staying++
		}
	}
	return with != staying || disk.evenly() != now.evenly()
}

// fixLayout divides a directory over all subvolumes, leaving as much as it can
// where it is. ENOTCONN if one is down.
func (d *distribute) fixLayout(ctx context.Context, cred *fop.Cred, dir fop.GFID, x *fop.Dict) (*fop.CommonReply, error) {
	if cred.UID != 0 {
		return nil, fmt.Errorf("layout of directory %v: only root may change it: %w", dir, syscall.EPERM)
	}
	if x.Has("new-commit-hash") {
		return nil, fmt.Errorf("a new commit hash for directory %v: only a rebalance process may set it: %w", dir, syscall.ENOTSUP)
	}
	f, err := d.discover(ctx, dir)
	if err != nil {
		return nil, err
	}
	if f.layout.kind == kindUser {
		return &fop.CommonReply{}, nil
	}
	if !d.allUp() || f.layout.health().down > 0 {
		return nil, fmt.Errorf("layout of directory %v: a subvolume is down: %w", dir, syscall.ENOTCONN)
	}
	path := d.dirPath(ctx, dir, d.nameOf(dir, nil))
	k, err := d.lockLayout(ctx, dir, d.subs)
	if err != nil {
		return nil, err
	}
	defer k.unlock(ctx)
	gen := d.ups.Load()
	sc := d.scanDir(d.askAll(ctx, asking(&fop.Lookup{Header: asSu(nil), GFID: dir})), gen, dir)
	if sc.dirs == 0 {
		return nil, fmt.Errorf("directory %v: %w", dir, worse(sc.err, syscall.ENOENT))
	}
	now := d.fixed(path, dir, sc.layout)
	if d.needsFix(sc.layout, now) {
		sc.layout, now.gen = now, gen
		d.writeLayout(ctx, sc, func(e *entry) bool { return e.err == 0 })
		if h := sc.layout.health(); !h.whole() {
			err = fmt.Errorf("layout of directory %v: not all of it could be written: %w", dir, syscall.EIO)
		}
	}
	d.foundDir(entryName{}, sc)
	if err != nil {
		return nil, err
	}
	return &fop.CommonReply{}, nil
}
