package quickread

import "github.com/wythefs/wythe/internal/fop"

// Known reads contents that are here, and passes opens and releases on.
func (q *quickRead) Known(req fop.Request) (fop.Reply, bool, error) {
	if q.conf.Load().pass {
		return fop.Known(q.child, req)
	}
	switch r := req.(type) {
	case *fop.Read:
		if reply := q.serve(r); reply != nil {
			return reply, true, nil
		}
	case *fop.Open:
		if r.Flags&fop.OTrunc == 0 {
			return fop.Known(q.child, req)
		}
	case *fop.Release:
		return fop.Known(q.child, req)
	}
	return nil, false, nil
}
