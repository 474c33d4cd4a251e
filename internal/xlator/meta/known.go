package meta

import "github.com/wythefs/wythe/internal/fop"

// Known passes on what is not about .meta.
func (m *meta) Known(req fop.Request) (fop.Reply, bool, error) {
	if m.mine(req) || m.measure.Load() {
		return nil, false, nil
	}
	return fop.Known(m.child, req)
}
