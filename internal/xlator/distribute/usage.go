package distribute

import (
	"context"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// usage is how full a subvolume is.
type usage struct {
	percent, inodes float64 // available, in percent
	space           uint64  // available, in bytes
	chunks          uint32  // size in MiB
}

// usageOf reads the answer to a statfs.
func usageOf(s *fop.Statfs) *usage {
	u := &usage{inodes: 100, space: s.Bavail * s.Frsize}
	if s.Blocks != 0 {
		u.percent = float64(s.Bavail) * 100 / float64(s.Blocks)
	}
	if s.Files != 0 {
		u.inodes = float64(s.Favail) * 100 / float64(s.Files)
	}
	if per := uint64(1<<20) / max(s.Bsize, 1); per > 0 {
		u.chunks = uint32((s.Blocks + per - 1) / per)
	}
	return u
}

// filled reports whether a subvolume has less free than the options want. One
// of which nothing is known is not.
func (u *usage) filled(s *settings) bool {
	if u == nil {
		return false
	}
	if s.minBytes > 0 && u.space < s.minBytes || s.minBytes == 0 && u.percent < s.minPercent {
		return true
	}
	return u.inodes < s.minInodes
}

// room is what subvolumes are compared by: percent, or bytes if that is what
// the options speak of.
func (u *usage) room(s *settings) float64 {
	if s.minBytes > 0 {
		return float64(u.space)
	}
	return u.percent
}

func (s *settings) minRoom() float64 {
	if s.minBytes > 0 {
		return float64(s.minBytes)
	}
	return s.minPercent
}

// usageAge is how old what is known of usage may be when something is created.
const usageAge = time.Second

// refreshUsage asks all subvolumes how full they are if the last time was a
// while ago. It does not wait for the answers.
func (d *distribute) refreshUsage(ctx context.Context) {
	now := time.Now().UnixNano()
	last := d.asked.Load()
	if now-last < int64(usageAge) || !d.asked.CompareAndSwap(last, now) {
		return
	}
	for _, s := range d.subs {
		d.learnUsage(ctx, s)
	}
}

// learnUsage asks a subvolume how full it is and does not wait for the answer.
func (d *distribute) learnUsage(ctx context.Context, s *subvol) {
	ctx = context.WithoutCancel(ctx)
	p := s.Start(ctx, &fop.StatfsReq{
		Header: asSu(fop.NewDict(fop.Pair{Key: keyDeemStatfs, Val: fop.Int(1)})), GFID: fop.RootGFID})
	d.behind(ctx, func(context.Context) {
		rep, err := p.Wait()
		if r, ok := rep.(*fop.StatfsReply); ok && err == nil {
			s.usage.Store(usageOf(&r.Statfs))
		}
	})
}

// place4new is where the data of a new file goes: to its hashed subvolume, or
// if that is full, to the one with most room. A linkto on the hashed one is
// needed then.
func (d *distribute) place4new(l *layout, hashed *subvol) *subvol {
	return d.set.Load().choose(d.subs, l, hashed)
}

func (s *settings) choose(subs []*subvol, l *layout, hashed *subvol) *subvol {
	if !hashed.usage.Load().filled(s) {
		return hashed
	}
	var best, roomiest *subvol
	var bu usage
	var most float64
	for _, sub := range subs {
		u := sub.usage.Load()
		if e := l.of(sub); u == nil || e == nil || e.err != 0 || s.decommissioned[sub.index] {
			continue
		}
		if room := u.room(s); room > s.minRoom() && u.inodes > s.minInodes &&
			(best == nil || u.inodes > bu.inodes || room > bu.room(s)) {
			best, bu = sub, *u
		}
		if room := u.room(s); room > most && u.inodes > 0 {
			roomiest, most = sub, room
		}
	}
	switch {
	case best != nil:
		return best
	case roomiest != nil:
		return roomiest
	}
	return hashed
}
