package openbehind

import "github.com/wythefs/wythe/internal/fop"

// Known puts opens off, and ends the use of files that were never opened.
func (b *behind) Known(req fop.Request) (fop.Reply, bool, error) {
	switch r := req.(type) {
	case *fop.Open:
		if c := b.conf.Load(); b.mayPutOff(c, r) && b.putOff(c, r) {
			return &fop.OpenReply{}, true, nil
		}
	case *fop.Release:
		if r.Fd == nil {
			return nil, false, nil
		}
		if o, ok := r.Fd.Get(b).(*opening); ok && o.spare(b) {
			r.Fd.Set(b, nil)
			b.forget(o.req.GFID)
			b.counts.spared.Add(1)
			return &fop.CommonReply{}, true, nil
		}
	}
	return nil, false, nil
}
