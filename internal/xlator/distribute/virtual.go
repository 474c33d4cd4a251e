package distribute

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Xattrs that are made up here, or made of what several subvolumes say.
const (
	keyPathinfoUser  = "glusterfs.pathinfo"
	keyListNodeUUIDs = "glusterfs.list-node-uuids"
	keyLinkinfo      = "trusted.distribute.linkinfo"
	prefixHashed     = "dht.file.hashed-subvol."
	prefixRealName   = "glusterfs.get_real_filename:"
)

func (d *distribute) getxattr(ctx context.Context, r *fop.Getxattr) (fop.Reply, error) {
	p, err := d.where(ctx, r.GFID)
	if err != nil {
		return nil, err
	}
	if rep, mine, err := d.virtual(ctx, r, p); mine {
		return reply(rep, err)
	}
	return d.concealed(ctx, r, r.Name)
}

func (d *distribute) fgetxattr(ctx context.Context, r *fop.Fgetxattr) (fop.Reply, error) {
	gfid, fd := target(r)
	p, err := d.whereOpen(ctx, gfid, fd)
	if err != nil {
		return nil, err
	}
	if rep, mine, err := d.virtual(ctx, &fop.Getxattr{Header: r.Header, GFID: gfid, Name: r.Name}, p); mine {
		return reply(rep, err)
	}
	return d.concealed(ctx, r, r.Name)
}

// concealed carries out req and takes from its answer what belongs to the volume.
func (d *distribute) concealed(ctx context.Context, req fop.Request, name string) (fop.Reply, error) {
	rep, err := d.onFile(ctx, req)
	x, _ := rep.(*fop.XattrReply)
	return conceal(x, name, err)
}

// virtual answers for the xattrs that distribute makes up; mine is false if name
// is none of them.
func (d *distribute) virtual(ctx context.Context, r *fop.Getxattr, p place) (rep *fop.XattrReply, mine bool, err error) {
	dir := p.layout != nil
	switch {
	case r.Name == "":
		return nil, false, nil
	case concealed(r.Name):
		err := syscall.ENODATA
		if r.Name == fop.XattrDHT || dir && r.Name == keyMDS {
			err = syscall.ENOTSUP
		}
		return nil, true, fmt.Errorf("getxattr %s: kept for the volume itself: %w", r.Name, err)
	case r.Name == keySubvolStatus:
		up := "0\x00"
		if d.allUp() {
			up = "1\x00"
		}
		rep = oneXattr(r.Name, fop.Bytes([]byte(up)))
	case r.Name == fop.KeyPathinfo, r.Name == keyPathinfoUser:
		rep, err = d.pathinfo(ctx, r, p)
	case dir && (r.Name == fop.KeyNodeUUID || r.Name == keyListNodeUUIDs):
		var all []string
		all, err = d.texts(ctx, r)
		rep = oneXattr(r.Name, fop.Str(strings.Join(all, " ")))
	case r.Name == keyLinkinfo:
		rep, err = d.linkinfo(ctx, r, p)
	case !dir && strings.HasPrefix(r.Name, prefixHashed):
		return nil, true, fmt.Errorf("getxattr %s: of what is no directory: %w", r.Name, syscall.ENODATA)
	case strings.HasPrefix(r.Name, prefixHashed):
		s := d.hashed(p.layout, r.Name[len(prefixHashed):])
		if s == nil {
			return nil, true, fmt.Errorf("getxattr %s: no subvolume has its hash: %w", r.Name, syscall.ENODATA)
		}
		rep = oneXattr(r.Name, fop.Str(s.name))
	case dir && strings.HasPrefix(r.Name, prefixRealName):
		rep, err = d.firstOf(ctx, r)
	default:
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	return rep, true, nil
}

// oneXattr is the answer of one value.
func oneXattr(key string, v fop.Value) *fop.XattrReply {
	return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: key, Val: v}), Size: int32(len(v.Bytes()))}
}

// texts asks all subvolumes and returns the values that came, in their order.
func (d *distribute) texts(ctx context.Context, r *fop.Getxattr) ([]string, error) {
	var all []string
	var last error
	each(ctx, d.subs, func(*subvol) fop.RequestFor[*fop.XattrReply] { return r }, func(_ *subvol, rep *fop.XattrReply, err error) {
		if err != nil {
			last = worse(last, err)
		} else if t := rep.Dict.Text(r.Name); t != "" {
			all = append(all, t)
		}
	})
	if len(all) == 0 {
		if last == nil {
			last = syscall.ENODATA
		}
		return nil, last
	}
	return all, nil
}

// firstOf asks all subvolumes and takes the first value.
func (d *distribute) firstOf(ctx context.Context, r *fop.Getxattr) (*fop.XattrReply, error) {
	var got *fop.XattrReply
	var last error
	each(ctx, d.subs, func(*subvol) fop.RequestFor[*fop.XattrReply] { return r }, func(_ *subvol, rep *fop.XattrReply, err error) {
		if err != nil {
			last = worse(last, err)
		} else if got == nil {
			got = rep
		}
	})
	if got == nil {
		return nil, last
	}
	return got, nil
}

// pathinfo tells where an object is on the bricks; of a directory, also how it
// is laid out.
func (d *distribute) pathinfo(ctx context.Context, r *fop.Getxattr, p place) (*fop.XattrReply, error) {
	if p.layout == nil {
		rep, err := d.onFile(ctx, r)
		x, ok := rep.(*fop.XattrReply)
		if err != nil || !ok {
			return nil, err
		}
		return oneXattr(r.Name, fop.Str("(<DISTRIBUTE:"+d.name+"> "+x.Dict.Text(r.Name)+")")), nil
	}
	all, err := d.texts(ctx, r)
	if err != nil {
		return nil, err
	}
	return oneXattr(r.Name, fop.Str("((<DISTRIBUTE:"+d.name+"> "+strings.Join(all, " ")+") "+layoutText(d.name, p.layout)+")")), nil
}

func layoutText(name string, l *layout) string {
	var b strings.Builder
	fmt.Fprintf(&b, "(%s-layout", name)
	for i := range l.entries {
		e := &l.entries[i]
		fmt.Fprintf(&b, " (%s %d %d)", e.sub.name, e.start, e.stop)
	}
	b.WriteString(")")
	return b.String()
}

// linkinfo names the subvolume that has a linkto of the file.
func (d *distribute) linkinfo(ctx context.Context, r *fop.Getxattr, p place) (*fop.XattrReply, error) {
	if p.layout != nil {
		return nil, fmt.Errorf("getxattr %s: of a directory: %w", r.Name, syscall.EINVAL)
	}
	var on *subvol
	q := &fop.Lookup{Header: asSu(lookupKeys), GFID: r.GFID}
	each(ctx, d.subs, func(*subvol) fop.RequestFor[*fop.LookupReply] { return q }, func(s *subvol, rep *fop.LookupReply, err error) {
		if err == nil && on == nil && s != p.file && isLinkto(&rep.Stat, rep.XData) {
			on = s
		}
	})
	if on == nil {
		return nil, fmt.Errorf("getxattr %s: the file is where its name hashes to: %w", r.Name, syscall.EINVAL)
	}
	return oneXattr(r.Name, fop.Str(on.name)), nil
}
