package distribute

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// heal repairs a directory that a lookup found amiss, with the locks under
// which GlusterFS does it. All subvolumes have answered, none is down. The
// result is the directory as it is afterwards, nil if nothing has changed.
// ENOENT: it has been removed meanwhile.
func (d *distribute) heal(ctx context.Context, at entryName, sc *scan) (*scan, error) {
	var hashed *subvol
	if at.name != "" {
		if l, err := d.layoutOf(ctx, at.parent); err == nil {
			hashed = d.hashed(l, at.name)
		}
	}
	var created []*subvol
	if sc.health.missing > 0 {
		if at.name == "" || hashed == nil {
			return d.healByPath(ctx, at, sc)
		}
		var err error
		if sc, created, err = d.recreate(ctx, at, hashed, sc); err != nil {
			return nil, err
		}
	}
	if len(created) > 0 || !sc.health.whole() {
		now, err := d.healLayout(ctx, at, sc, created)
		if err != nil {
			return sc, err
		}
		sc = now
	}
	if sc.mds == nil && hashed != nil {
		if err := d.markMDS(ctx, hashed, sc); err != nil {
			return sc, err
		}
	}
	if sc.differ {
		d.setAttributes(ctx, sc)
	}
	if sc.pending < 0 {
		d.healXattrs(ctx, sc)
	}
	return sc, nil
}

// healByPath is for a directory met by gfid of which neither name nor place of
// the name is known: every directory on the way to it is looked up by name, and
// healed thereby.
func (d *distribute) healByPath(ctx context.Context, at entryName, sc *scan) (*scan, error) {
	if sc.gfid.IsRoot() {
		return nil, nil
	}
	path := d.ancestry(ctx, sc.gfid)
	if path == "" || at.name != "" {
		return nil, nil
	}
	parent := fop.GFID(fop.RootGFID)
	for rest := path; rest != ""; {
		var name string
		name, rest = cutPath(rest)
		if name == "" {
			continue
		}
		f, err := d.lookupName(ctx, &fop.Lookup{Header: asSu(nil), Parent: parent, Name: name})
		if err != nil {
			return nil, err
		}
		parent = f.reply.Stat.GFID
		if parent == sc.gfid && f.layout != nil {
			answers := d.askAll(ctx, asking(&fop.Lookup{Header: asSu(nil), GFID: sc.gfid}))
			return d.scanDir(answers, sc.layout.gen, sc.gfid), nil
		}
	}
	return nil, nil
}

func cutPath(p string) (name, rest string) {
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i], p[i+1:]
		}
	}
	return p, ""
}

// healCtx marks a mkdir as part of a heal.
var healCtx = func() []byte {
	b := make([]byte, 32)
	b[0] = 1
	return b
}()

// recreate makes a directory where it is missing, like its mds or, without one,
// like what the others say.
func (d *distribute) recreate(ctx context.Context, at entryName, hashed *subvol, sc *scan) (*scan, []*subvol, error) {
	k := d.newLocks()
	if err := k.protect(ctx, entrylk{hashed, at.parent, at.name}); err != nil {
		return sc, nil, err
	}
	q := asking(&fop.Lookup{Header: asSu(nil), GFID: sc.gfid, Parent: at.parent, Name: at.name},
		fop.Pair{Key: fop.KeyListXattr, Val: fop.Int(1)},
		fop.Pair{Key: fop.XattrACLAccess, Val: fop.Uint(0)},
		fop.Pair{Key: fop.XattrACLDefault, Val: fop.Uint(0)})
	answers := d.askAll(ctx, q)
	now := d.scanDir(answers, sc.layout.gen, sc.gfid)
	if now.dirs == 0 {
		k.unlock(ctx)
		return sc, nil, fmt.Errorf("%q: removed meanwhile: %w", at.name, syscall.ENOENT)
	}
	var made []*subvol
	var failed error
	if now.health.missing > 0 && !now.health.stuck() {
		made, failed = d.mkdirMissing(ctx, at, now)
	}
	k.unlock(ctx)
	if len(made) > 0 {
		d.setAttributes(ctx, now)
	}
	return now, made, failed
}

// mkdirMissing makes a directory where the answers of a scan, which brought all
// xattrs, say that there is none.
func (d *distribute) mkdirMissing(ctx context.Context, at entryName, sc *scan) (made []*subvol, failed error) {
	x := fop.NewDict(
		fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(sc.gfid)},
		fop.Pair{Key: keyInternalCtx, Val: fop.Bytes(healCtx)})
	keep := func(from *fop.Dict) {
		for _, p := range from.Pairs() {
			if healed(p.Key) && !x.Has(p.Key) && len(p.Val.Bytes()) > 0 {
				x.Append(p.Key, fop.Bytes(p.Val.Bytes()))
			}
		}
	}
	if sc.mds != nil {
		keep(sc.answers[sc.mds.index].rep.XData)
	} else {
		keep(sc.keys)
	}
	req := &fop.Mkdir{Header: asSu(x), Parent: at.parent, Name: at.name, Mode: sc.source.Mode}
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.EntryReply] {
		if !sc.answers[s.index].missing() {
			return nil
		}
		return req
	}, func(s *subvol, _ *fop.EntryReply, err error) {
		switch {
		case err == nil, errors.Is(err, syscall.EEXIST):
			made = append(made, s)
		default:
			failed = fmt.Errorf("mkdir %q on %s: %w", at.name, s.name, err)
		}
	})
	return made, failed
}

// setAttributes gives a directory the owner and mode of the source everywhere.
func (d *distribute) setAttributes(ctx context.Context, sc *scan) {
	req := &fop.Setattr{Header: asSu(nil), GFID: sc.gfid, Stat: *sc.source, Valid: fop.SetMode | fop.SetUID | fop.SetGID}
	each(ctx, d.subs, func(*subvol) fop.RequestFor[*fop.AttrReply] { return req }, func(s *subvol, _ *fop.AttrReply, err error) {
		if err != nil {
			d.log.Warn("attributes of a directory are not healed", "gfid", sc.gfid.String(), "subvolume", s.name, "err", err)
		}
	})
	sc.differ = false
	sc.stat.UID, sc.stat.GID, sc.stat.Mode = sc.source.UID, sc.source.GID, sc.source.Mode
}

// healLayout writes what the layout of a directory lacks, under its lock on all
// subvolumes. created are those where the directory was just made: if the others
// have all of the ring between them they get no range; else the directory is
// divided anew, and its names may be anywhere from then on.
func (d *distribute) healLayout(ctx context.Context, at entryName, sc *scan, created []*subvol) (*scan, error) {
	k, err := d.lockLayout(ctx, sc.gfid, d.subs)
	if err != nil {
		return sc, err
	}
	defer k.unlock(ctx)
	q := asking(&fop.Lookup{Header: asSu(nil), GFID: sc.gfid, Parent: at.parent, Name: at.name})
	now := d.scanDir(d.askAll(ctx, q), sc.layout.gen, sc.gfid)
	switch {
	case now.dirs == 0:
		return sc, fmt.Errorf("%v: removed meanwhile: %w", sc.gfid, syscall.ENOENT)
	case now.health.stuck():
		return now, nil
	case now.health.whole():
		d.writeLayout(ctx, now, func(e *entry) bool { return slices.Contains(created, e.sub) && e.err == 0 && e.empty() })
		return now, nil
	}
	now.layout = d.divideAgain(ctx, at, now)
	now.layout.gen = sc.layout.gen
	d.writeLayout(ctx, now, func(e *entry) bool { return e.err == 0 })
	now.health = now.layout.health()
	return now, nil
}

// divideAgain is a new layout for a directory that is there.
func (d *distribute) divideAgain(ctx context.Context, at entryName, sc *scan) *layout {
	errs := make([]syscall.Errno, len(d.subs))
	for _, e := range sc.layout.entries {
		if errs[e.sub.index] = e.err; e.err == errNone {
			errs[e.sub.index] = 0 // its layout was none
		} else if e.err == syscall.ENOENT || e.err == syscall.ESTALE {
			errs[e.sub.index] = syscall.ESTALE // still not there
		}
	}
	return d.division(d.dirPath(ctx, sc.gfid, at), sc.gfid, anywhere).divide(d.shares(errs, false))
}

// division says how a directory of that path is divided.
func (d *distribute) division(path string, gfid fop.GFID, commit uint32) division {
	s := d.set.Load()
	if s.byGFID {
		path = gfid.String()
	} else {
		path = s.munge(path)
	}
	return division{start: path, spread: s.spread, weighted: s.weighted, commit: commit}
}

// shares are the subvolumes for divide, with the error of each, in the order of
// the volfile. With full, those below the minimum of free space count as full.
func (d *distribute) shares(errs []syscall.Errno, full bool) []share {
	s := d.set.Load()
	shares := make([]share, len(d.byName))
	for i, sub := range d.byName {
		sh := share{sub: sub, err: errs[sub.index]}
		u := sub.usage.Load()
		if u != nil {
			sh.chunks = u.chunks
		}
		sh.leaving = s.decommissioned[sub.index]
		sh.full = full && u.filled(s)
		shares[i] = sh
	}
	return shares
}

// writeLayout writes to disk those entries that which chooses. What cannot be
// written is left to the next lookup.
func (d *distribute) writeLayout(ctx context.Context, sc *scan, which func(*entry) bool) {
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.CommonReply] {
		e := sc.layout.of(s)
		if !which(e) {
			return nil
		}
		return d.setLayout(sc.gfid, sc.layout, s)
	}, func(s *subvol, _ *fop.CommonReply, err error) {
		if err != nil {
			d.log.Warn("the layout of a directory is not written", "gfid", sc.gfid.String(), "subvolume", s.name, "err", err)
			e := sc.layout.of(s)
			e.err = fop.Errno(err)
			e.start, e.stop = 0, 0
		}
	})
	sc.layout.sort()
}

// setLayout is the request that writes the entry of s.
func (d *distribute) setLayout(dir fop.GFID, l *layout, s *subvol) *fop.Setxattr {
	return &fop.Setxattr{
		Header: asSu(fop.NewDict(
			fop.Pair{Key: fop.KeyIattInXattr, Val: fop.Str("yes")},
			fop.Pair{Key: fop.KeyInternalFop, Val: fop.Str("yes")})),
		GFID: dir,
		Dict: fop.NewDict(fop.Pair{Key: fop.XattrDHT, Val: fop.Bytes(l.disk(s))}),
	}
}

// markMDS makes the hashed subvolume the mds of a directory that has none, as
// those from before the volume had several subvolumes.
func (d *distribute) markMDS(ctx context.Context, hashed *subvol, sc *scan) error {
	if sc.answers[hashed.index].err != nil && sc.layout.of(hashed).err != 0 {
		return nil
	}
	_, err := fop.Call(ctx, hashed, &fop.Setxattr{Header: asSu(nil), GFID: sc.gfid,
		Dict: fop.NewDict(fop.Pair{Key: keyMDS, Val: fop.Bytes(binary.BigEndian.AppendUint32(nil, 0))})})
	if err == nil {
		sc.mds = hashed
	}
	return err
}
