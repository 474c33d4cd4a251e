package mdcache

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
)

// ipcUpcall is the Target of an Ipc that tells bricks which extended attributes
// this client wants to hear of.
const ipcUpcall = 2

// ChildEvent hears what bricks tell, and passes it on.
func (m *mdCache) ChildEvent(_ string, ev fop.Event) {
	switch ev.Kind {
	case fop.EventUpcall:
		if ev.Upcall != nil && ev.Upcall.Kind == fop.UpcallInvalidate {
			m.invalidate(ev.Upcall)
		}
	case fop.EventChildUp:
		m.forgetAll()
		m.register()
	case fop.EventChildDown, fop.EventNoticesLost:
		m.forgetAll()
	}
	m.notify(ev)
}

// invalidate makes void what a notice is about. The object need not be known:
// an older reply about it may be on its way.
func (m *mdCache) invalidate(u *fop.Upcall) {
	m.notices.Add(1)
	const dataOnly = fop.InvalSize | fop.InvalTimes | fop.InvalAtime | fop.InvalNlink | fop.InvalParentTimes | fop.InvalRename
	const passing = fop.InvalMode | fop.InvalOwn | fop.InvalPerm | fop.InvalAttr | fop.InvalExplicitLookup | fop.InvalForget
	m.void(u.GFID, u.Flags&^uint32(dataOnly) != 0, u.Flags&(passing|fop.InvalXattr|fop.InvalXattrRm) != 0)
	m.void(u.Parent.GFID, false, true)
	m.void(u.OldParent.GFID, false, true)
}

// register has Run tell bricks what to tell of.
func (m *mdCache) register() {
	select {
	case m.again <- struct{}{}:
	default:
	}
}

// Run tells bricks which extended attributes to tell of, whenever they came up
// or the options changed.
func (m *mdCache) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.again:
		}
		c := m.conf.Load()
		if c.pass || !c.notices || len(c.xattrs) == 0 {
			continue
		}
		d := fop.NewDict()
		for _, n := range c.xattrs {
			d.Set(n, fop.Str(""))
		}
		short, cancel := context.WithTimeout(ctx, noticesTimeout)
		// Bricks that do not tell, or do not answer, leave the timeout to rely on.
		m.child.Do(short, &fop.Ipc{Header: fop.Header{XData: d}, Target: ipcUpcall})
		cancel()
	}
}
