package distribute

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// maxTries bounds how often a fop begins anew because the layout of the parent
// has changed.
const maxTries = 10

// making is a mkdir under way.
type making struct {
	*distribute
	r      *fop.Mkdir
	gfid   fop.GFID
	hashed *subvol
	reply  *fop.EntryReply // merged
	layout *layout
	made   []*subvol // where the directory was made, besides hashed
	clash  bool      // some subvolume had the name already
}

// mkdir makes a directory on its hashed subvolume first, which decides whether
// it can be made, then on all others.
//
// GlusterFS makes it on all and then, under its layout lock, reads and writes
// the layout. Here the layout comes with the directory: on the hashed
// subvolume before the others have the directory at all, on the others in the
// mkdir itself. Whoever sees the directory on some subvolumes only waits for
// the lock of the name, and whoever sees it on all of them sees a whole layout.
// If anything is not as planned, it is done GlusterFS's way (relayout).
func (d *distribute) mkdir(ctx context.Context, r *fop.Mkdir) (*fop.EntryReply, error) {
	v, _ := r.XData.Get(fop.KeyGFIDReq)
	gfid, ok := v.GFID()
	if !ok {
		return nil, fmt.Errorf("mkdir %q: no %s in the request: %w", r.Name, fop.KeyGFIDReq, syscall.EPERM)
	}
	d.refreshUsage(ctx)
	d.keepCommit(ctx)
	l, err := d.layoutOf(ctx, r.Parent)
	if err != nil {
		return nil, err
	}
	for range maxTries {
		m := &making{distribute: d, r: r, gfid: gfid, hashed: d.hashed(l, r.Name)}
		if m.hashed == nil {
			return nil, fmt.Errorf("mkdir %q: no subvolume for its hash: %w", r.Name, syscall.EIO)
		}
		rep, stale, err := m.begin(ctx, l)
		if !stale {
			return rep, err
		}
		now, rerr := d.refreshLayout(ctx, r.Parent)
		if rerr != nil {
			return nil, rerr
		}
		if d.hashed(now, r.Name) == m.hashed && bytes.Equal(now.disk(m.hashed), l.disk(m.hashed)) {
			return nil, err
		}
		l = now
	}
	return nil, fmt.Errorf("mkdir %q: the layout of its parent keeps changing: %w", r.Name, syscall.EIO)
}

// begin makes the directory by the layout of the parent. stale: that layout is
// not the one on disk.
func (m *making) begin(ctx context.Context, parent *layout) (rep *fop.EntryReply, stale bool, err error) {
	r := m.r
	k := m.newLocks()
	if err := k.protect(ctx, entrylk{m.hashed, r.Parent, r.Name}); err != nil {
		return nil, false, err
	}
	defer k.unlock(ctx)

	q := *r
	q.XData = r.XData.Clone().
		Set(keyMDS, fop.Bytes(make([]byte, 4))).
		Set(fop.XattrDHT, fop.Bytes(parent.disk(m.hashed))).
		Set(keyPreopParent, fop.Str(fop.XattrDHT))
	rep, err = fop.Call(ctx, m.hashed, &q)
	if err != nil {
		return rep, rep != nil && rep.XData.Has(keyPreopFailed), err
	}
	m.reply = rep
	ctx = context.WithoutCancel(ctx) // it is there; now it shall be everywhere
	if !m.plant(ctx) {
		if m.clash && m.taken(ctx) {
			k.unlock(ctx)
			m.settleClash(ctx)
			return nil, false, fmt.Errorf("mkdir %q: %w", r.Name, syscall.EEXIST)
		}
		k.unlock(ctx)
		m.relayout(ctx)
	}
	m.layout.gen = m.ups.Load()
	at := entryName{r.Parent, r.Name}
	m.foundDir(at, &scan{gfid: m.gfid, layout: m.layout, mds: m.hashed, stat: rep.Stat, source: &rep.Stat})
	for _, st := range [...]*fop.Iatt{&rep.Stat, &rep.PreParent, &rep.PostParent} {
		fixDir(st)
	}
	return rep, false, nil
}

// keepCommit sees to it that the volume's commit hash, which new directories
// get, is known and not very old.
func (d *distribute) keepCommit(ctx context.Context) {
	if !d.set.Load().optimize {
		return
	}
	p, _ := d.objects.place(fop.RootGFID)
	if _, ok := d.volumeCommit(); !ok {
		d.refreshCommit(ctx)
	} else if p.layout != nil && time.Now().UnixNano()-p.layout.checked.Load() > int64(commitAge) {
		p.layout.checked.Store(time.Now().UnixNano() - int64(freshness)) // let one do it
		d.behind(ctx, d.refreshCommit)
	}
}

const commitAge = 10 * time.Second

// commitNow is the commit hash of a new directory: all that will be in it is
// where it belongs, or has a linkto there.
func (d *distribute) commitNow() uint32 {
	if v, ok := d.volumeCommit(); ok && d.set.Load().optimize {
		return v
	}
	return anywhere
}

// plant divides the directory, writes the range of the hashed subvolume, and
// makes the directory with their ranges on all others. It reports whether all
// went as planned.
func (m *making) plant(ctx context.Context) bool {
	errs := make([]syscall.Errno, len(m.subs))
	for _, s := range m.subs {
		if errs[s.index] = errNone; !s.isUp() {
			errs[s.index] = syscall.ENOTCONN
		}
	}
	m.layout = m.division(m.path(ctx, m.r.Parent, m.r.Name), m.gfid, m.commitNow()).divide(m.shares(errs, true))
	_, err := fop.Call(ctx, m.hashed, m.setLayout(m.gfid, m.layout, m.hashed))
	good := err == nil && errs[m.hashed.index] == errNone
	each(ctx, m.subs, func(s *subvol) fop.RequestFor[*fop.EntryReply] {
		if s == m.hashed {
			return nil
		}
		q := *m.r
		q.XData = m.r.XData.With(fop.XattrDHT, fop.Bytes(m.layout.disk(s)))
		return &q
	}, func(s *subvol, rep *fop.EntryReply, err error) {
		m.clash = m.clash || errors.Is(err, syscall.EEXIST)
		if err == nil {
			m.made = append(m.made, s)
			mergeDir(&m.reply.Stat, &rep.Stat)
			mergeDir(&m.reply.PreParent, &rep.PreParent)
			mergeDir(&m.reply.PostParent, &rep.PostParent)
		}
		if fop.Errno(err) != m.layout.of(s).err {
			good = false
		}
	})
	return good
}

// taken reports whether a subvolume has something else under the name: a
// directory that the hashed subvolume lacks, or a file off its place. What was
// made is removed again then. Nobody needs to have looked the name up before.
func (m *making) taken(ctx context.Context) bool {
	look := &fop.Lookup{Header: asSu(nil), Parent: m.r.Parent, Name: m.r.Name}
	answers := m.askAll(ctx, look)
	if !slices.ContainsFunc(answers, func(a answer) bool { return a.err == nil && a.rep.Stat.GFID != m.gfid }) {
		return false // it was healed there meanwhile
	}
	undo := &fop.Rmdir{Header: asSu(nil), Parent: m.r.Parent, Name: m.r.Name}
	each(ctx, append(m.made, m.hashed), func(*subvol) fop.RequestFor[*fop.RemoveReply] { return undo },
		func(s *subvol, _ *fop.RemoveReply, err error) {
			if err != nil {
				m.log.Warn("a directory that cannot be is not removed", "name", m.r.Name, "subvolume", s.name, "err", err)
			}
		})
	return true
}

// settleClash looks the name up, which heals what hid it.
func (m *making) settleClash(ctx context.Context) {
	m.lookupName(ctx, &fop.Lookup{Header: asSu(nil), Parent: m.r.Parent, Name: m.r.Name})
}

// relayout writes a layout over those subvolumes that have the directory, under
// the lock of its layout at the hashed one.
func (m *making) relayout(ctx context.Context) {
	k, err := m.lockLayout(ctx, m.gfid, []*subvol{m.hashed})
	if err != nil {
		m.log.Warn("a new directory has no layout yet", "gfid", m.gfid.String(), "name", m.r.Name, "err", err)
		return
	}
	defer k.unlock(ctx)
	q := asking(&fop.Lookup{Header: asSu(nil), GFID: m.gfid, Parent: m.r.Parent, Name: m.r.Name})
	sc := m.scanDir(m.askAll(ctx, q), m.ups.Load(), m.gfid)
	if sc.health.whole() && sc.health.missing == 0 && sc.covers() {
		m.layout = sc.layout
		return
	}
	errs := make([]syscall.Errno, len(m.subs))
	for _, e := range sc.layout.entries {
		if errs[e.sub.index] = e.err; e.err == syscall.ENOENT {
			errs[e.sub.index] = syscall.ESTALE // no directory there, so no range
		}
	}
	sc.layout = m.division(m.path(ctx, m.r.Parent, m.r.Name), m.gfid, m.commitNow()).divide(m.shares(errs, true))
	m.writeLayout(ctx, sc, func(e *entry) bool { return e.err == 0 })
	m.layout = sc.layout
}

// covers reports whether those who answered have all of the ring between them.
func (sc *scan) covers() bool {
	return slices.ContainsFunc(sc.layout.entries, func(e entry) bool { return e.err == 0 && !e.empty() })
}
