package replicate

import "github.com/wythefs/wythe/internal/fop"

// keyBadInode marks an object that bit-rot detection has found damaged.
const keyBadInode = "glusterfs.bad-inode"

// found is what lookups or fstats of one object on all children say about it.
type found struct {
	maps
	accused set // children some of whose copy is not good
	stale   set // of those, the ones that have missed data, or names of a directory
	good    set // children that answered
	kind    uint32
	// passing: what was found may be otherwise in a moment.
	passing bool
}

// iatt returns the attributes in the answer to a Lookup or Fstat, nil if there
// are none.
func (a *answer) iatt() *fop.Iatt {
	if !a.ok() {
		return nil
	}
	switch r := a.reply.(type) {
	case *fop.LookupReply:
		return &r.Stat
	case *fop.StatReply:
		return &r.Stat
	}
	return nil
}

// interpret finds out from what all children say which of them are readable. A
// child is not, for one part, if any child (itself too) has a pending counter of
// that part against it; nor is a file smaller than the largest good copy, unless
// somebody has it locked and may be in the middle of making it larger. The
// dirty counter says nothing about that.
func (r *replicate) interpret(as []answer) (f found) {
	var b blame
	locked := false
	for i := range as {
		st := as[i].iatt()
		if st == nil {
			continue
		}
		f.good = f.good.with(i)
		if f.kind == 0 {
			f.kind = st.Fmt()
		}
		x := as[i].xdata()
		b = b.or(r.blamed(x))
		locked = locked || x.Int(fop.KeyInodelkCount) > 0
	}
	usable := f.good
	for i := range usable.each {
		if as[i].xdata().Has(keyBadInode) {
			usable = usable.without(i)
		}
	}
	accused := b[data]
	if f.kind == fop.ModeDir {
		accused = b[entry]
	} else if !locked {
		less := r.smaller(as, usable&^accused)
		accused |= less
		f.passing = less != 0
	}
	if r.arbiter >= 0 {
		usable = usable.without(r.arbiter)
	}
	f.data, f.meta = usable&^accused, usable&^b[metadata]
	f.accused, f.stale = accused|b[metadata], accused
	if locked && f.kind != fop.ModeDir {
		r.underWay(as, &f)
	}
	return f
}

// underWay takes out of f those children that missed the beginning of a
// transaction that has not come to its post-op: they were down when it began,
// will be blamed in a moment, and until then only the dirty counters of those that
// are locked tell. A dirty counter without a lock is an old story. GlusterFS
// reads from them.
func (r *replicate) underWay(as []answer, f *found) {
	var marked [2]set
	for i := range f.good.each {
		x := as[i].xdata()
		c := r.dirtyOf(x)
		for p := range marked {
			if c[p] != 0 && x.Int(fop.KeyInodelkCount) > 0 {
				marked[p] = marked[p].with(i)
			}
		}
	}
	some := f.maps
	if s := f.data & marked[data]; s != 0 {
		some.data = s
	}
	if s := f.meta & marked[metadata]; s != 0 {
		some.meta = s
	}
	if some == f.maps {
		return
	}
	f.passing = true
	// The bricks are not seen at one moment: on the slowest the mark may stand yet
	// while all others have done their post-op, and it may be the very one that
	// somebody blames for the other part.
	if some.both() != 0 || f.both() == 0 {
		f.maps = some
	}
}

// smaller returns those of s whose copy is smaller than the largest one. The
// arbiter, whose files are empty, is never one of them.
func (r *replicate) smaller(as []answer, s set) (less set) {
	var most uint64
	for i := range s.each {
		most = max(most, as[i].iatt().Size)
	}
	for i := range s.each {
		if i != r.arbiter && as[i].iatt().Size < most {
			less = less.with(i)
		}
	}
	return less
}

// favorite is the copy that the policy (size, ctime, mtime, majority) takes for
// the good one where nothing else tells, -1 if it cannot say. All children must
// have answered.
func favorite(policy string, as []answer, arbiter int) int {
	var st [maxChildren]*fop.Iatt
	for i := range as {
		if st[i] = as[i].iatt(); st[i] == nil {
			return -1
		}
	}
	best, tie := -1, false
	for i := range as {
		if i == arbiter && policy == "size" {
			continue
		}
		switch policy {
		case "size":
			switch {
			case best < 0 || st[i].Size > st[best].Size:
				best, tie = i, false
			case st[i].Size == st[best].Size:
				tie = true
			}
		case "ctime":
			if best < 0 || st[best].Ctime.Less(st[i].Ctime) {
				best = i
			}
		case "mtime":
			if best < 0 || st[best].Mtime.Less(st[i].Mtime) {
				best = i
			}
		case "majority":
			same := 0
			for j := range as {
				if st[j].Mtime == st[i].Mtime && st[j].Size == st[i].Size {
					same++
				}
			}
			if best < 0 && same > len(as)/2 {
				best = i
			}
		}
	}
	if tie {
		return -1
	}
	return best
}
