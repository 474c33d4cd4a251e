package distribute

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// Size and blocks of every directory, as GlusterFS shows them.
const (
	dirSize   = 4096
	dirBlocks = 8
)

func fixDir(st *fop.Iatt) {
	if st.IsDir() {
		st.Size, st.Blocks = dirSize, dirBlocks
	}
}

// mergeDir puts the attributes of a directory on one more subvolume into to:
// the greatest owner, group and times, all else as the last one says.
func mergeDir(to, st *fop.Iatt) {
	if st.IsZero() {
		return
	}
	if to.IsZero() {
		*to = *st
		fixDir(to)
		return
	}
	later := func(a, b fop.Time) fop.Time {
		if a.Less(b) {
			return b
		}
		return a
	}
	was := *to
	*to = *st
	to.GFID = was.GFID
	to.UID, to.GID = max(was.UID, st.UID), max(was.GID, st.GID)
	to.Atime, to.Mtime, to.Ctime = later(was.Atime, st.Atime), later(was.Mtime, st.Mtime), later(was.Ctime, st.Ctime)
	if was.Flags&fop.IattBtime != 0 && (to.Flags&fop.IattBtime == 0 || was.Btime.Less(to.Btime)) {
		to.Btime, to.Flags = was.Btime, to.Flags|fop.IattBtime
	}
	fixDir(to)
}

// mergeKeys puts the keys of a further reply into to. Sizes of quota are summed
// and times of geo-replication are the earliest; of all others the last counts.
// Keys of this translator are left out.
func mergeKeys(to, x *fop.Dict) {
	to.Grow(x.Len())
	for _, p := range x.Pairs() {
		if concealed(p.Key) {
			continue
		}
		if have, ok := to.Get(p.Key); ok {
			p.Val = mergeValue(p.Key, have, p.Val)
		}
		to.Set(p.Key, p.Val)
	}
}

func mergeValue(key string, a, b fop.Value) fop.Value {
	x, y := a.Bytes(), b.Bytes()
	switch {
	case quotaSize(key) && len(x) == len(y) && len(x)%8 == 0 && len(x) > 0:
		sum := make([]byte, 0, len(x))
		for i := 0; i < len(x); i += 8 {
			sum = binary.BigEndian.AppendUint64(sum, binary.BigEndian.Uint64(x[i:])+binary.BigEndian.Uint64(y[i:]))
		}
		return fop.Bytes(sum)
	case strings.HasPrefix(key, "trusted.glusterfs.") && strings.HasSuffix(key, ".stime") && len(x) == 8 && len(y) == 8:
		if binary.BigEndian.Uint64(x) < binary.BigEndian.Uint64(y) {
			return a
		}
	}
	return b
}

// scan is what the answers of all subvolumes say about a directory.
type scan struct {
	answers []answer
	gfid    fop.GFID
	layout  *layout
	health  health
	stat    fop.Iatt // merged
	parent  fop.Iatt
	keys    *fop.Dict
	dirs    int
	err     error   // the weightiest, if there is no directory
	mds     *subvol // that has the mds xattr
	mdsStat *fop.Iatt
	pending int32 // value of the mds xattr
	source  *fop.Iatt
	differ  bool // attributes differ between subvolumes
}

// scanDir merges answers. gen is the generation from before they were asked.
func (d *distribute) scanDir(answers []answer, gen uint64, gfid fop.GFID) *scan {
	sc := &scan{answers: answers, gfid: gfid, layout: newLayout(d.subs), keys: &fop.Dict{}}
	sc.layout.gen = gen
	var first *fop.Iatt
	var newest *fop.Iatt
	for i := range answers {
		s, a := d.subs[i], &answers[i]
		err := a.err
		if err == nil && !a.rep.Stat.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil && sc.gfid.IsZero() {
			sc.gfid = a.rep.Stat.GFID
		}
		if err == nil && a.rep.Stat.GFID != sc.gfid {
			d.log.Error("a directory has another gfid on one subvolume", "subvolume", s.name, "gfid", a.rep.Stat.GFID.String(), "elsewhere", sc.gfid.String())
			err = syscall.EIO
		}
		var x *fop.Dict
		if a.rep != nil {
			x = a.rep.XData
		}
		if bad := sc.layout.merge(s, err, x); bad != nil {
			d.log.Warn("a subvolume has a layout that is none", "subvolume", s.name, "gfid", sc.gfid.String(), "err", bad)
		}
		if err != nil {
			sc.err = worse(sc.err, err)
			continue
		}
		sc.dirs++
		st := &a.rep.Stat
		if first == nil {
			first = st
		} else if first.UID != st.UID || first.GID != st.GID || first.Mode != st.Mode {
			sc.differ = true
		}
		if x.Has(fop.XattrDHT) && (newest == nil || newest.Ctime.Less(st.Ctime)) {
			newest = st
		}
		mergeDir(&sc.stat, st)
		mergeDir(&sc.parent, &a.rep.Parent)
		mergeKeys(sc.keys, x)
		if b := x.Bytes(keyMDS); len(b) == 4 && sc.mds == nil {
			sc.mds, sc.mdsStat, sc.pending = s, st, int32(binary.BigEndian.Uint32(b))
		}
	}
	switch {
	case sc.mds != nil:
		sc.source = sc.mdsStat
	case sc.gfid.IsRoot() && newest != nil:
		sc.source = newest
	default:
		sc.source = &sc.stat
	}
	sc.layout.sort()
	sc.health = sc.layout.health()
	if sc.health.down > 0 {
		d.recall(sc)
	}
	return sc
}

// recall gives subvolumes that are down the ranges that they had when this
// client saw the directory last; nobody changes layouts without them. Fops on
// names there fail with ENOTCONN then, for which there is a cure, and not for
// want of a subvolume.
func (d *distribute) recall(sc *scan) {
	p, _ := d.objects.place(sc.gfid)
	if p.layout == nil {
		return
	}
	for i := range sc.layout.entries {
		e := &sc.layout.entries[i]
		if old := p.layout.of(e.sub); e.err == syscall.ENOTCONN && old != nil && e.empty() {
			e.extent = old.extent
		}
	}
	sc.layout.sort()
}

// sick reports whether a healthy set of subvolumes has something to heal.
func (sc *scan) sick() bool {
	return !sc.health.fine() || sc.differ || sc.pending < 0 || sc.mds == nil && !sc.gfid.IsRoot()
}

// settleDir makes a result of what all subvolumes answered for a directory, by
// name or by gfid: it heals what is amiss and remembers the layout.
func (d *distribute) settleDir(ctx context.Context, q *fop.Lookup, answers []answer) (found, error) {
	gen := d.ups.Load()
	sc := d.scanDir(answers, gen, q.GFID)
	if sc.dirs == 0 {
		if q.Name != "" {
			d.dirs.drop(entryName{q.Parent, q.Name})
			d.dropName(q.Parent, q.Name)
		}
		if sc.err == nil {
			sc.err = syscall.ENOENT
		}
		what := q.Name
		if what == "" {
			what = q.GFID.String()
		}
		return found{reply: d.missReply(answers, nil)}, fmt.Errorf("%q: %w", what, sc.err)
	}
	if sc.gfid.IsRoot() && q.XData.Has(keyCommitHash) {
		d.learnCommit(answers)
	}
	at := d.nameOf(sc.gfid, q)
	if sc.sick() && !sc.health.stuck() && !nameLocked(ctx) {
		healed, err := d.heal(ctx, at, sc)
		if errors.Is(err, syscall.ENOENT) {
			return found{}, err
		} else if err != nil {
			d.log.Warn("a directory could not be healed", "gfid", sc.gfid.String(), "name", at.name, "err", err)
		}
		if healed != nil && healed != sc {
			healed.keys = sc.keys // what the caller asked for
			healed.layout.gen = gen
			sc = healed
		}
	}
	return d.foundDir(at, sc), nil
}

// foundDir remembers and returns a directory.
func (d *distribute) foundDir(at entryName, sc *scan) found {
	sc.layout.checked.Store(time.Now().UnixNano())
	d.setDir(sc.gfid, sc.layout, sc.mds)
	if at.name != "" {
		d.setName(sc.gfid, at.parent, at.name)
		d.dirs.set(at)
	}
	st := sc.stat
	if sc.source != &sc.stat {
		st.UID, st.GID, st.Mode = sc.source.UID, sc.source.GID, sc.source.Mode
	}
	mds := sc.mds
	if mds == nil {
		p, _ := d.objects.place(sc.gfid)
		mds = p.mds
	}
	return found{
		place: place{layout: sc.layout, mds: mds},
		reply: &fop.LookupReply{ReplyHeader: fop.ReplyHeader{XData: sc.keys}, Stat: st, Parent: sc.parent},
	}
}

// isFresh reports whether the layout was seen on the subvolumes not long ago.
func (l *layout) isFresh(now time.Time) bool {
	return now.UnixNano()-l.checked.Load() < int64(freshness)
}
