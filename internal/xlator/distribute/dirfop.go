package distribute

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// dirFop carries out the fops on a directory that are about its attributes and
// xattrs. p is where the directory is.
func (d *distribute) dirFop(ctx context.Context, req fop.Request, p place) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Stat:
		return reply(statDir(ctx, d, r, p))
	case *fop.Fstat:
		return reply(statDir(ctx, d, r, p))
	case *fop.Setattr:
		return reply(d.setattrDir(ctx, r, p))
	case *fop.Fsetattr:
		return reply(d.attrOnAll(ctx, r, p))
	case *fop.Setxattr:
		return reply(d.setxattrDir(ctx, r, r.GFID, r.Dict, p))
	case *fop.Fsetxattr:
		return reply(d.setxattrDir(ctx, r, r.GFID, r.Dict, p))
	case *fop.Removexattr:
		return reply(d.removexattrDir(ctx, r, r.GFID, r.Name, r.XData, p))
	case *fop.Fremovexattr:
		return reply(d.removexattrDir(ctx, r, r.GFID, r.Name, r.XData, p))
	case *fop.Getxattr:
		return reply(d.getxattrDir(ctx, r, r.Name, p))
	case *fop.Fgetxattr:
		return reply(d.getxattrDir(ctx, r, r.Name, p))
	case *fop.Xattrop, *fop.Fxattrop:
		return p.layout.entries[0].sub.Do(ctx, req)
	}
	return nil, fmt.Errorf("%v on a directory: %w", req.Op(), syscall.EISDIR)
}

// dirStat gathers the attributes of a directory from several subvolumes. Owner
// and mode are those of the mds.
type dirStat struct {
	st, mds fop.Iatt
}

func (m *dirStat) add(s *subvol, st *fop.Iatt, p place) {
	mergeDir(&m.st, st)
	if s == p.mds {
		m.mds = *st
	}
}

func (m *dirStat) result() fop.Iatt {
	if !m.mds.IsZero() {
		m.st.UID, m.st.GID, m.st.Mode = m.mds.UID, m.mds.GID, m.mds.Mode
	}
	return m.st
}

func statDir(ctx context.Context, d *distribute, req fop.RequestFor[*fop.StatReply], p place) (*fop.StatReply, error) {
	var m dirStat
	rep, err := onAll(ctx, d, req, func(s *subvol, r *fop.StatReply) { m.add(s, &r.Stat, p) })
	if err != nil {
		return rep, err
	}
	rep.Stat = m.result()
	return rep, nil
}

// setattrDir changes the mds first, whose answer counts, then all others.
func (d *distribute) setattrDir(ctx context.Context, r *fop.Setattr, p place) (*fop.AttrReply, error) {
	if r.GFID.IsRoot() {
		return d.attrOnAll(ctx, r, p)
	}
	mds := d.needMDS(ctx, r.GFID, p)
	if mds == nil {
		return nil, fmt.Errorf("attributes of directory %v: no subvolume that answers is its mds: %w", r.GFID, syscall.EINVAL)
	}
	rep, err := fop.Call(ctx, mds, r)
	if err != nil {
		return rep, err
	}
	var pre, post dirStat
	at := place{mds: mds}
	pre.add(mds, &rep.Pre, at)
	post.add(mds, &rep.Post, at)
	each(ctx, d.subs, func(s *subvol) fop.RequestFor[*fop.AttrReply] {
		if s == mds {
			return nil
		}
		return r
	}, func(s *subvol, o *fop.AttrReply, err error) {
		if err == nil {
			pre.add(s, &o.Pre, at)
			post.add(s, &o.Post, at)
		}
	})
	rep.Pre, rep.Post = pre.result(), post.result()
	return rep, nil
}

// attrOnAll changes all subvolumes at once.
func (d *distribute) attrOnAll(ctx context.Context, req fop.RequestFor[*fop.AttrReply], p place) (*fop.AttrReply, error) {
	var pre, post dirStat
	rep, err := onAll(ctx, d, req, func(s *subvol, r *fop.AttrReply) {
		pre.add(s, &r.Pre, p)
		post.add(s, &r.Post, p)
	})
	if err != nil {
		return rep, err
	}
	rep.Pre, rep.Post = pre.result(), post.result()
	return rep, nil
}

func (d *distribute) setxattrDir(ctx context.Context, req fop.RequestFor[*fop.CommonReply], dir fop.GFID, x *fop.Dict, p place) (*fop.CommonReply, error) {
	if wantsFixLayout(x) {
		return d.fixLayout(ctx, &req.Head().Cred, dir, x)
	}
	heal := false
	for _, kv := range x.Pairs() {
		if concealed(kv.Key) {
			return nil, fmt.Errorf("setxattr %s: kept by the volume itself: %w", kv.Key, syscall.EPERM)
		}
		heal = heal || healed(kv.Key)
	}
	if heal && !dir.IsRoot() {
		return d.byMDS(ctx, dir, d.needMDS(ctx, dir, p), req)
	}
	return onAll(ctx, d, req, nil)
}

func (d *distribute) removexattrDir(ctx context.Context, req fop.RequestFor[*fop.CommonReply], dir fop.GFID, name string, x *fop.Dict, p place) (*fop.CommonReply, error) {
	if concealed(name) {
		return nil, fmt.Errorf("removexattr %s: kept by the volume itself: %w", name, syscall.EPERM)
	}
	heal := healedRemove(name)
	if name == "" {
		for _, kv := range x.Pairs() {
			heal = heal || healedRemove(kv.Key)
		}
	}
	if heal && !dir.IsRoot() {
		return d.byMDS(ctx, dir, d.needMDS(ctx, dir, p), req)
	}
	return onAll(ctx, d, req, nil)
}

// getxattrDir asks the mds for what it is the authority for, and otherwise all
// subvolumes; of several values of one xattr the last counts.
func (d *distribute) getxattrDir(ctx context.Context, req fop.RequestFor[*fop.XattrReply], name string, p place) (*fop.XattrReply, error) {
	if concealed(name) {
		errno := syscall.ENODATA
		if name == fop.XattrDHT || name == keyMDS {
			errno = syscall.ENOTSUP
		}
		return nil, fmt.Errorf("getxattr %s: kept for the volume itself: %w", name, errno)
	}
	if ofMDS(name) && p.mds != nil && p.mds.isUp() {
		rep, err := fop.Call(ctx, p.mds, req)
		if !errors.Is(err, syscall.ENOTCONN) {
			return rep, err
		}
	}
	all := &fop.Dict{}
	size := int32(0)
	rep, err := onAll(ctx, d, req, func(_ *subvol, r *fop.XattrReply) {
		mergeKeys(all, r.Dict)
		size = max(size, r.Size)
	})
	if err != nil {
		return rep, err
	}
	q := *rep
	q.Dict, q.Size = all, size
	if v, ok := all.Get(name); ok && name != "" {
		q.Size = int32(len(v.Bytes()))
	}
	return &q, nil
}
