package distribute

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// healedKeys are the xattrs of directories that the mds is the authority for,
// besides those that begin with "user.".
var healedKeys = [...]string{
	fop.XattrACLAccess,
	fop.XattrACLDefault,
	"trusted.glusterfs.quota.limit-set",
	"trusted.glusterfs.quota.limit-objects",
	"security.selinux",
	fop.XattrMdata,
}

// ofMDS reports whether an xattr is one that only the mds is asked for.
func ofMDS(key string) bool {
	for _, k := range healedKeys {
		if key == k {
			return true
		}
	}
	return false
}

// healed reports whether an xattr is kept the same on all subvolumes by way of
// the mds.
func healed(key string) bool { return strings.HasPrefix(key, "user") || ofMDS(key) }

// healedRemove is healed for the key of a removal, which GlusterFS takes more
// broadly.
func healedRemove(key string) bool {
	for _, k := range healedKeys {
		if strings.Contains(key, k) {
			return true
		}
	}
	return strings.Contains(key, "user.")
}

// needMDS returns the mds of a directory, which it finds or makes if it can.
// nil if there is none, as for the root.
func (d *distribute) needMDS(ctx context.Context, dir fop.GFID, p place) *subvol {
	if p.mds != nil || dir.IsRoot() {
		return p.mds
	}
	if f, err := d.discover(ctx, dir); err != nil || f.mds != nil {
		return f.mds
	}
	// It has none on disk: a lookup by name gives it one.
	q := &fop.Lookup{Header: asSu(nil), GFID: dir}
	sc := d.scanDir(d.askAll(ctx, asking(q)), d.ups.Load(), dir)
	at := d.nameOf(dir, nil)
	if at.name == "" {
		d.healByPath(ctx, at, sc)
	} else if !sc.health.stuck() {
		d.lookupName(ctx, &fop.Lookup{Header: asSu(nil), Parent: at.parent, Name: at.name})
	}
	now, _ := d.objects.place(dir)
	return now.mds
}

// byMDS changes xattrs of a directory so that a failure on any subvolume but
// the mds is healed later: the counter of the mds is negative while they may
// differ.
func (d *distribute) byMDS(ctx context.Context, dir fop.GFID, mds *subvol, change fop.RequestFor[*fop.CommonReply]) (*fop.CommonReply, error) {
	if mds == nil {
		return nil, fmt.Errorf("xattrs of directory %v: no subvolume that answers is its mds: %w", dir, syscall.ESTALE)
	}
	if err := d.count(ctx, dir, mds, -1); err != nil {
		return nil, err
	}
	rep, err := fop.Call(ctx, mds, change)
	if err != nil {
		d.count(context.WithoutCancel(ctx), dir, mds, 1)
		return rep, err
	}
	all := true
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.CommonReply] {
		if s == mds {
			return nil
		}
		return change
	}, func(s *subvol, _ *fop.CommonReply, err error) { all = all && err == nil })
	if all {
		d.count(context.WithoutCancel(ctx), dir, mds, 1)
	}
	return rep, nil
}

// count adds to the counter of the mds.
func (d *distribute) count(ctx context.Context, dir fop.GFID, mds *subvol, n int32) error {
	_, err := fop.Call(ctx, mds, &fop.Xattrop{Header: asSu(nil), GFID: dir, Kind: fop.XattropAdd,
		Dict: fop.NewDict(fop.Pair{Key: keyMDS, Val: fop.Bytes(binary.BigEndian.AppendUint32(nil, uint32(n)))})})
	return err
}

// healXattrs copies the xattrs of a directory from the mds to all others and
// clears its counter.
func (d *distribute) healXattrs(ctx context.Context, sc *scan) {
	log := d.log.With("gfid", sc.gfid.String(), "mds", sc.mds.name)
	have, err := fop.Call(ctx, sc.mds, &fop.Getxattr{Header: asSu(nil), GFID: sc.gfid})
	if err != nil {
		log.Warn("xattrs of a directory are not healed", "err", err)
		return
	}
	if b := have.Dict.Bytes(keyMDS); len(b) == 4 && b[0]&0x80 == 0 {
		return // whoever was at it is done
	}
	put := &fop.Dict{}
	for _, p := range have.Dict.Pairs() {
		if healed(p.Key) {
			put.Append(p.Key, fop.Bytes(p.Val.Bytes()))
		}
	}
	req := &fop.Setxattr{Header: asSu(fop.NewDict(fop.Pair{Key: keySyncXattrs, Val: fop.Int(1)})), GFID: sc.gfid, Dict: put}
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.CommonReply] {
		if s == sc.mds {
			return nil
		}
		return req
	}, func(s *subvol, _ *fop.CommonReply, e error) {
		if e != nil {
			err = fmt.Errorf("%s: %w", s.name, e)
		}
	})
	if err == nil {
		_, err = fop.Call(ctx, sc.mds, &fop.Setxattr{Header: asSu(nil), GFID: sc.gfid,
			Dict: fop.NewDict(fop.Pair{Key: keyMDS, Val: fop.Bytes(make([]byte, 4))})})
	}
	if err != nil {
		log.Warn("xattrs of a directory are not healed", "err", err)
		return
	}
	sc.pending = 0
}

// onAll carries out a fop on a directory on all subvolumes; it succeeded if it
// did on any. Otherwise the error of one that is up counts.
func onAll[R fop.Reply](ctx context.Context, d *distribute, req fop.RequestFor[R], got func(*subvol, R)) (R, error) {
	var first R
	var fail error
	any := false
	each(ctx, d.subs, func(*subvol) fop.RequestFor[R] { return req }, func(s *subvol, r R, err error) {
		switch {
		case err == nil:
			if !any {
				first, any = r, true
			}
			if got != nil {
				got(s, r)
			}
		case fail == nil || errors.Is(fail, syscall.ENOTCONN):
			fail = err
		}
	})
	if any {
		fail = nil
	}
	return first, fail
}
