//go:build linux

package posix

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// Attributes of geo-replication that only its own daemon sees.
var geoRep = []string{
	"*.glusterfs.*.stime", "*.glusterfs.*.xtime", "*.glusterfs.*.entry_stime", "*.glusterfs.volume-mark", "*.glusterfs.volume-mark.*",
}

// secret reports whether a client must not read or list an attribute.
func secret(key string, pid int32) bool {
	if strings.HasPrefix(key, fop.XattrGFID2Path) || key == fop.XattrMdata && pid >= 0 {
		return true
	}
	if pid != fop.PIDGsyncd && strings.Contains(key, ".glusterfs.") {
		for _, p := range geoRep {
			if glob(p, key) {
				return true
			}
		}
	}
	return false
}

func isPathinfo(key string) bool {
	return strings.HasPrefix(key, fop.KeyPathinfo) || strings.HasPrefix(key, "glusterfs.pathinfo")
}

// setxattr sets attributes one by one; the first error ends it, and what was
// set before stays.
func (b *Brick) setxattr(h *fop.Header, g fop.GFID, fd *fop.Fd, flags uint32, d *fop.Dict, onFd bool) (*fop.CommonReply, error) {
	if d.Len() == 0 {
		return nil, syscall.EINVAL
	}
	var p place
	if err := b.object(fd, g, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	if v, ok := d.Get(fop.KeySetCtime); ok && h.Cred.PID == fop.PIDSetUtime {
		m, ok := v.Mdata()
		if !ok {
			return nil, syscall.EINVAL
		}
		return &fop.CommonReply{}, b.mergeTimes(p.Obj, p.in, m)
	}
	if err := b.full(h); err != nil {
		return nil, err
	}
	pre := b.iattOf(p.Obj, &p.st, p.in)
	x := fop.NewDict()
	for _, pair := range d.Pairs() {
		b.at("setxattr.set")
		if err := b.setOne(&p, pair, flags, onFd, x); err != nil {
			return nil, err
		}
	}
	if h.XData.Bool("sync_backend_xattrs") {
		if err := b.syncXattrs(&p, d); err != nil {
			return nil, err
		}
	}
	if h.XData.Has("trusted.glusterfs.durable-op") && p.Fd >= 0 {
		if err := unix.Fsync(p.Fd); err != nil {
			return nil, err
		}
	}
	b.touch(p.Obj, p.in, &h.Time, h.Time.Flags&ownTimes)
	return b.xattrReply(&p, &pre, x)
}

// xattrReply brings the attributes of the object before and after.
func (b *Brick) xattrReply(p *place, pre *fop.Iatt, x *fop.Dict) (*fop.CommonReply, error) {
	if err := statObj(p.Obj, &p.st); err != nil {
		return nil, err
	}
	post := b.iattOf(p.Obj, &p.st, p.in)
	x.Set(fop.KeyIattInXattr, fop.IattValue(post))
	x.Set(fop.KeyPreStat, fop.IattValue(*pre))
	x.Set(fop.KeyPostStat, fop.IattValue(post))
	return &fop.CommonReply{ReplyHeader: fop.ReplyHeader{XData: x}}, nil
}

func (b *Brick) setOne(p *place, pair fop.Pair, flags uint32, onFd bool, x *fop.Dict) error {
	key := pair.Key
	switch {
	case key == fop.XattrGFID, key == fop.KeyVolumeID, key == "trusted.io-stats-dump",
		strings.HasPrefix(key, "glusterfs.internal-ctx"), strings.HasPrefix(key, "force-replace"), key == fop.KeySetCtime:
		return nil
	case isPathinfo(key):
		return syscall.EACCES
	case strings.HasPrefix(key, fop.XattrGFID2Path), key == "trusted.glusterfs.csou.complete":
		return syscall.ENOTSUP
	case isACLText(key):
		if isLinkto(&p.st) {
			return nil
		}
		return b.setACLText(p, key, pair.Val.Text(), x)
	case key == brickfs.Marker && p.in.gfid == fop.RootGFID:
		return syscall.EPERM // it would make the brick a rootless one
	case !nameSpace(key):
		return syscall.ENOTSUP
	case key == fop.XattrMdata:
		if !onFd {
			m, ok := fop.ParseMdata(pair.Val.Bytes())
			if !ok {
				return syscall.EINVAL
			}
			return b.mergeTimes(p.Obj, p.in, m)
		}
		defer p.in.forgetTimes()
	case key == fop.XattrACLAccess || key == fop.XattrACLDefault:
		if key == fop.XattrACLAccess && isLinkto(&p.st) {
			return nil
		}
		return b.setACL(p, key, pair.Val.Bytes(), int(flags))
	}
	if pair.Val.Type == fop.TypeIatt || pair.Val.Type == fop.TypeMdata {
		return syscall.EINVAL
	}
	return b.attrs.Set(p.Obj, key, pair.Val.Bytes(), int(flags))
}

func (in *inode) forgetTimes() {
	in.mu.Lock()
	in.known = false
	in.mu.Unlock()
}

// Attributes that self-heal replaces as a whole, besides user.*.
var healable = map[string]bool{
	fop.XattrACLAccess: true, fop.XattrACLDefault: true, "security.selinux": true, fop.XattrMdata: true,
	"trusted.glusterfs.quota.limit-set": true, "trusted.glusterfs.quota.limit-objects": true,
}

// syncXattrs makes the attributes that are subject to heal exactly those of d.
func (b *Brick) syncXattrs(p *place, d *fop.Dict) error {
	names, err := b.attrs.List(p.Obj)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "user.") || healable[name] {
			b.at("setxattr.sync.remove")
			b.attrs.Remove(p.Obj, name)
		}
	}
	defer p.in.forgetTimes()
	for _, pair := range d.Pairs() {
		if !nameSpace(pair.Key) || pair.Key == fop.XattrGFID || pair.Key == fop.KeyVolumeID || strings.HasPrefix(pair.Key, fop.XattrGFID2Path) {
			continue
		}
		b.at("setxattr.sync.set")
		if err := b.attrs.Set(p.Obj, pair.Key, pair.Val.Bytes(), 0); err != nil {
			return err
		}
	}
	return nil
}

func (b *Brick) getxattr(h *fop.Header, g fop.GFID, fd *fop.Fd, name string, onFd bool) (*fop.XattrReply, error) {
	var p place
	if err := b.object(fd, g, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	var reply *fop.XattrReply
	var err error
	if name == "" {
		reply, err = b.listxattr(h, &p)
	} else {
		reply, err = b.getOne(h, &p, name, onFd)
	}
	if err != nil {
		return nil, err
	}
	if h.XData != nil {
		a := b.iattOf(p.Obj, &p.st, p.in)
		reply.XData = b.fill(h.XData, &target{Obj: p.Obj, stat: &a, in: p.in})
	}
	return reply, nil
}

func (b *Brick) listxattr(h *fop.Header, p *place) (*fop.XattrReply, error) {
	names, err := b.attrs.List(p.Obj)
	if err != nil {
		return nil, err
	}
	reply := &fop.XattrReply{Dict: fop.NewDict()}
	for _, name := range names {
		if secret(name, h.Cred.PID) || name == fop.XattrGFID || name == fop.KeyVolumeID || !nameSpace(name) {
			continue
		}
		v, err := b.attrs.Value(p.Obj, name)
		if err != nil {
			continue // removed meanwhile
		}
		reply.Dict.Append(name, fop.Bytes(v))
		reply.Size += int32(len(name) + 1)
	}
	return reply, nil
}

func oneValue(key string, v fop.Value, size int) (*fop.XattrReply, error) {
	return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: key, Val: v}), Size: int32(size)}, nil
}

func (b *Brick) getOne(h *fop.Header, p *place, name string, onFd bool) (*fop.XattrReply, error) {
	if secret(name, h.Cred.PID) && (!onFd || strings.HasPrefix(name, fop.XattrGFID2Path)) {
		return nil, syscall.ENODATA
	}
	if name == fop.XattrGFID || name == fop.KeyVolumeID {
		v, err := b.attrs.Value(p.Obj, name)
		if err != nil {
			return nil, err
		}
		return &fop.XattrReply{Dict: fop.NewDict(), Size: int32(len(v))}, nil
	}
	if reply, err, ok := b.virtual(h, p, name); ok {
		return reply, err
	}
	if !nameSpace(name) {
		return nil, syscall.ENODATA
	}
	v, err := b.attrs.Value(p.Obj, name)
	if err != nil {
		return nil, err
	}
	return oneValue(name, fop.Bytes(v), len(v))
}

func (b *Brick) removexattr(h *fop.Header, g fop.GFID, fd *fop.Fd, name string) (*fop.CommonReply, error) {
	var p place
	if err := b.object(fd, g, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	pre := b.iattOf(p.Obj, &p.st, p.in)
	if name != "" {
		if err := b.removeOne(&p, name); err != nil {
			return nil, err
		}
	} else {
		if h.XData.Len() == 0 {
			return nil, syscall.EINVAL
		}
		for _, pair := range h.XData.Pairs() {
			if pair.Key == fop.XattrGFID || pair.Key == fop.KeyVolumeID {
				return nil, syscall.EPERM
			}
		}
		for _, pair := range h.XData.Pairs() {
			if err := b.removeOne(&p, pair.Key); err != nil && err != syscall.ENODATA {
				return nil, err
			}
		}
	}
	b.touch(p.Obj, p.in, &h.Time, h.Time.Flags&ownTimes)
	return b.xattrReply(&p, &pre, fop.NewDict())
}

func (b *Brick) removeOne(p *place, name string) error {
	switch {
	case name == fop.XattrGFID, name == fop.KeyVolumeID:
		return syscall.EPERM
	case strings.HasPrefix(name, fop.XattrGFID2Path), !nameSpace(name):
		return syscall.ENODATA
	case name == fop.XattrMdata:
		defer p.in.forgetTimes()
	}
	b.at("removexattr.remove")
	return b.attrs.Remove(p.Obj, name)
}
