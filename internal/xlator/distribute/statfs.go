package distribute

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
)

// keyQuotaStatfs in a reply says that the figures are those of a quota on the
// directory, which are about the whole volume.
const keyQuotaStatfs = "quota-deem-statfs"

// statfs adds up the file systems of all subvolumes that answer.
func (d *distribute) statfs(ctx context.Context, r *fop.StatfsReq) (*fop.StatfsReply, error) {
	q := *r
	if p, err := d.where(ctx, r.GFID); err != nil || p.layout == nil {
		q.GFID = fop.RootGFID
	}
	var sum statfsSum
	var last error
	each(ctx, d.subs, func(*subvol) fop.RequestFor[*fop.StatfsReply] { return &q }, func(_ *subvol, rep *fop.StatfsReply, err error) {
		if err != nil {
			last = worse(last, err)
			return
		}
		sum.add(&rep.Statfs, rep.XData.Bool(keyQuotaStatfs))
		if sum.reply == nil {
			sum.reply = rep
		}
	})
	if sum.reply == nil {
		return nil, last
	}
	rep := *sum.reply
	rep.Statfs = sum.all
	return &rep, nil
}

// statfsSum is the sum of several file systems.
type statfsSum struct {
	all   fop.Statfs
	n     int
	quota bool // all is what a quota allows
	reply *fop.StatfsReply
}

// add adds one file system. Counts are in units of the greatest block size;
// figures of a quota replace others, and each other if more is in use.
func (t *statfsSum) add(s *fop.Statfs, quota bool) {
	defer func() { t.n++ }()
	switch {
	case quota:
		if !t.quota || s.Blocks-s.Bfree >= t.all.Blocks-t.all.Bfree {
			t.all = *s
		}
		t.quota = true
		return
	case t.quota:
		return
	case t.n == 0:
		t.all = *s
		return
	}
	a := &t.all
	bsize, frsize := max(a.Bsize, s.Bsize), max(a.Frsize, s.Frsize)
	scale := func(n, from, to uint64) uint64 {
		if from == to || to == 0 {
			return n
		}
		return uint64(float64(n) * float64(from) / float64(to))
	}
	a.Blocks = scale(a.Blocks, a.Frsize, frsize) + scale(s.Blocks, s.Frsize, frsize)
	a.Bfree = scale(a.Bfree, a.Frsize, frsize) + scale(s.Bfree, s.Frsize, frsize)
	a.Bavail = scale(a.Bavail, a.Frsize, frsize) + scale(s.Bavail, s.Frsize, frsize)
	a.Files += s.Files
	a.Ffree += s.Ffree
	a.Favail += s.Favail
	a.Bsize, a.Frsize = bsize, frsize
	a.Fsid, a.Flag, a.Namemax = s.Fsid, s.Flag, s.Namemax
}
