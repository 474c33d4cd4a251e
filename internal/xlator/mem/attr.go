package mem

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

func (m *FS) stat(h *fop.Header, g fop.GFID, fd *fop.Fd) (*fop.StatReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.object(g, fd)
	if err != nil {
		return nil, err
	}
	return &fop.StatReply{ReplyHeader: fop.ReplyHeader{XData: m.fill(n, h.XData)}, Stat: n.iatt()}, nil
}

func (m *FS) readlink(r *fop.Readlink) (*fop.ReadlinkReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.object(r.GFID, nil)
	if err != nil {
		return nil, err
	}
	if !n.isSymlink() || r.Size == 0 {
		return nil, syscall.EINVAL
	}
	target := n.target
	if uint64(len(target)) > uint64(r.Size) {
		target = target[:r.Size]
	}
	return &fop.ReadlinkReply{Stat: n.iatt(), Target: target}, nil
}

func (m *FS) access(r *fop.Access) (*fop.CommonReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.object(r.GFID, nil)
	if err != nil {
		return nil, err
	}
	if r.Mask&1 != 0 && n.isRegular() && n.mode&0o111 == 0 {
		return nil, syscall.EACCES
	}
	return &fop.CommonReply{}, nil
}

func (m *FS) statfs(r *fop.StatfsReq) (*fop.StatfsReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.object(r.GFID, nil); err != nil {
		return nil, err
	}
	const blocks, files = 1 << 24, 1 << 24
	var used uint64
	for _, n := range m.nodes {
		used += uint64(len(n.data.pages))
	}
	free := blocks - min(used, blocks)
	left := uint64(files - min(len(m.nodes), files))
	return &fop.StatfsReply{Statfs: fop.Statfs{Bsize: pageSize, Frsize: pageSize, Blocks: blocks, Bfree: free,
		Bavail: free, Files: files, Ffree: left, Favail: left, Namemax: 255}}, nil
}

func (m *FS) setattr(h *fop.Header, g fop.GFID, fd *fop.Fd, want fop.Iatt, valid int32) (*fop.AttrReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.object(g, fd)
	if err != nil {
		return nil, err
	}
	reply := &fop.AttrReply{Pre: n.iatt()}
	if valid&(fop.SetUID|fop.SetGID) != 0 || valid == 0 {
		if valid&fop.SetUID != 0 {
			n.uid = want.UID
		}
		if valid&fop.SetGID != 0 {
			n.gid = want.GID
		}
		if !n.isDir() && !n.isSymlink() { // what a kernel does at every chown
			n.mode &^= fop.ModeSetuid
			if n.mode&0o010 != 0 {
				n.mode &^= fop.ModeSetgid
			}
		}
	}
	if valid&fop.SetMode != 0 && !n.isSymlink() {
		n.mode = n.mode&fop.ModeFmt | want.Mode&0o7777
	}
	if valid&(fop.SetAtimeNow|fop.SetMtimeNow|fop.SetAtime|fop.SetMtime) != 0 {
		if valid&fop.SetAtime != 0 {
			n.atime = want.Atime
		} else if valid&fop.SetAtimeNow != 0 {
			n.atime = m.now()
		}
		if valid&fop.SetMtime != 0 {
			n.mtime = want.Mtime
		} else if valid&fop.SetMtimeNow != 0 {
			n.mtime = m.now()
		}
	}
	// A change of times is a change of the ctime too, stamp or not.
	if t := m.now(); h.Time.Flags == 0 {
		n.ctime = t
	} else if s := (fop.Time{Sec: h.Time.Sec, Nsec: h.Time.Nsec}); n.ctime.Less(s) {
		n.ctime = s
	}
	reply.Post = n.iatt()
	return reply, nil
}

// xattr is one extended attribute.
type xattr struct {
	name string
	val  []byte
}

// namespaced reports whether name belongs to a namespace that files have.
func namespaced(name string) bool {
	for _, ns := range []string{"user.", "trusted.", "security.", "system.posix_acl_"} {
		if strings.HasPrefix(name, ns) && len(name) > len(ns) {
			return true
		}
	}
	return false
}

// reserved reports whether name is one that bricks keep to themselves.
func reserved(name string) bool { return name == fop.XattrGFID || name == fop.KeyVolumeID }

func (n *node) find(name string) (int, bool) {
	return slices.BinarySearchFunc(n.xattr, name, func(x xattr, s string) int { return cmp.Compare(x.name, s) })
}

func (n *node) getXattr(name string) ([]byte, bool) {
	if i, ok := n.find(name); ok {
		return n.xattr[i].val, true
	}
	return nil, false
}

func (n *node) setXattr(name string, val []byte) {
	val = append([]byte{}, val...)
	if i, ok := n.find(name); ok {
		n.xattr[i].val = val
	} else {
		n.xattr = slices.Insert(n.xattr, i, xattr{strings.Clone(name), val})
	}
}

func (m *FS) setxattr(h *fop.Header, g fop.GFID, fd *fop.Fd, flags uint32, d *fop.Dict) (*fop.CommonReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.object(g, fd)
	if err != nil {
		return nil, err
	}
	pre := n.iatt()
	for _, p := range d.Pairs() {
		if p.Key == fop.KeySetCtime || p.Key == fop.XattrMdata {
			m.mergeMdata(n, p.Val)
			return &fop.CommonReply{}, nil
		}
		if err := n.checkXattr(p.Key, p.Val.Bytes(), flags); err != nil {
			return nil, err
		}
		if !reserved(p.Key) {
			n.setXattr(p.Key, p.Val.Bytes())
		}
	}
	if h.Time.Flags == 0 {
		n.ctime = m.now()
	}
	return changed(pre, n.iatt()), nil
}

// checkXattr is what stands in the way of setting an attribute.
func (n *node) checkXattr(name string, val []byte, flags uint32) error {
	_, there := n.getXattr(name)
	switch {
	case strings.HasPrefix(name, fop.KeyPathinfo), strings.HasPrefix(name, "glusterfs.pathinfo"):
		return syscall.EACCES
	case strings.HasPrefix(name, fop.XattrGFID2Path), !namespaced(name):
		return syscall.ENOTSUP
	case len(name) > 255:
		return syscall.ERANGE
	case len(val) > 64<<10:
		return syscall.E2BIG
	case strings.HasPrefix(name, "user.") && !n.isRegular() && !n.isDir():
		return syscall.EPERM
	case flags&fop.XattrCreate != 0 && there:
		return syscall.EEXIST
	case flags&fop.XattrReplace != 0 && !there:
		return syscall.ENODATA
	}
	return nil
}

// mergeMdata takes over times from the ctime feature, the newer ones of each.
func (m *FS) mergeMdata(n *node, v fop.Value) {
	md, ok := v.Mdata()
	if !ok {
		md, ok = fop.ParseMdata(v.Bytes())
	}
	if !ok {
		return
	}
	newer := func(t *fop.Time, u fop.Time) {
		if !n.stamped || t.Less(u) {
			*t = u
		}
	}
	newer(&n.atime, md.Atime)
	newer(&n.mtime, md.Mtime)
	newer(&n.ctime, md.Ctime)
	n.stamped = true
}

// changed is the answer to a change of extended attributes.
func changed(pre, post fop.Iatt) *fop.CommonReply {
	return &fop.CommonReply{ReplyHeader: fop.ReplyHeader{XData: fop.NewDict(
		fop.Pair{Key: fop.KeyIattInXattr, Val: fop.IattValue(post)},
		fop.Pair{Key: fop.KeyPreStat, Val: fop.IattValue(pre)},
		fop.Pair{Key: fop.KeyPostStat, Val: fop.IattValue(post)})}}
}

func (m *FS) getxattr(h *fop.Header, g fop.GFID, fd *fop.Fd, name string) (*fop.XattrReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.object(g, fd)
	if err != nil {
		return nil, err
	}
	reply := &fop.XattrReply{Dict: fop.NewDict()}
	reply.XData = m.fill(n, h.XData)
	if name == "" {
		for _, x := range n.xattr {
			reply.Dict.Append(x.name, fop.Bytes(slices.Clone(x.val)))
			reply.Size += int32(len(x.name) + 1)
		}
		return reply, nil
	}
	if reserved(name) {
		reply.Size = 16
		return reply, nil
	}
	if real, ok := strings.CutPrefix(name, "glusterfs.get_real_filename:"); ok {
		return n.realName(reply, name, real)
	}
	val, ok := n.getXattr(name)
	switch {
	case name == fop.KeyOpenFdCount:
		reply.Dict.Set(name, fop.Uint(uint64(min(n.fds, 1))))
		return reply, nil
	case name == fop.XattrMdata && n.stamped && h.Cred.PID < 0:
		val, ok = n.mdata(), true
	}
	if !ok {
		if !namespaced(name) {
			return nil, syscall.ENOTSUP
		}
		return nil, syscall.ENODATA
	}
	reply.Dict.Set(name, fop.Bytes(slices.Clone(val)))
	reply.Size = int32(len(val))
	return reply, nil
}

// realName finds an entry whatever the case of its letters.
func (n *node) realName(reply *fop.XattrReply, key, name string) (*fop.XattrReply, error) {
	if !n.isDir() {
		return nil, syscall.ENOTDIR
	}
	for _, e := range n.dir.order {
		if e.n != nil && strings.EqualFold(e.name, name) {
			reply.Dict.Set(key, fop.Str(e.name))
			reply.Size = int32(len(e.name) + 1)
			return reply, nil
		}
	}
	return nil, syscall.ENODATA
}

func (m *FS) removexattr(h *fop.Header, g fop.GFID, fd *fop.Fd, name string) (*fop.CommonReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.object(g, fd)
	if err != nil {
		return nil, err
	}
	pre := n.iatt()
	names := []string{name}
	if name == "" {
		names = names[:0]
		for _, p := range h.XData.Pairs() {
			names = append(names, p.Key)
		}
	}
	if slices.ContainsFunc(names, reserved) {
		return nil, syscall.EPERM
	}
	for _, key := range names {
		i, ok := n.find(key)
		if ok {
			n.xattr = slices.Delete(n.xattr, i, i+1)
		} else if name != "" {
			if !namespaced(name) {
				return nil, syscall.ENOTSUP
			}
			return nil, syscall.ENODATA
		}
	}
	m.touch(n, h, fop.TimeCtime, ownTimes)
	return changed(pre, n.iatt()), nil
}

func (m *FS) xattrop(h *fop.Header, g fop.GFID, fd *fop.Fd, kind uint32, d *fop.Dict) (*fop.XattrReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.object(g, fd)
	if err != nil {
		return nil, err
	}
	reply := &fop.XattrReply{Dict: fop.NewDict()}
	for _, p := range d.Pairs() {
		old, there := n.getXattr(p.Key)
		ask := p.Val.Bytes()
		if kind == fop.XattropGetAndSet {
			if there {
				reply.Dict.Set(p.Key, fop.Bytes(slices.Clone(old)))
			}
			n.setXattr(p.Key, ask)
			continue
		}
		now, changes, err := operate(kind, old, ask)
		if err != nil {
			return nil, err
		}
		if changes {
			n.setXattr(p.Key, now)
		}
		reply.Dict.Set(p.Key, fop.Bytes(now))
	}
	reply.XData = m.fill(n, h.XData)
	return reply, nil
}

// operate adds what is asked to what is there, element by element. Adding
// nothing but zeroes changes nothing.
func operate(kind uint32, old, ask []byte) (now []byte, changes bool, err error) {
	width := 4
	switch kind {
	case fop.XattropAdd, fop.XattropAddDefault:
	case fop.XattropAdd64, fop.XattropAdd64Default:
		width = 8
	default:
		return nil, false, syscall.EINVAL
	}
	size := len(ask)
	var def []byte
	if kind == fop.XattropAddDefault || kind == fop.XattropAdd64Default {
		size /= 2
		def = ask[size:]
	}
	now = make([]byte, size)
	copy(now, old)
	if !slices.ContainsFunc(ask, func(b byte) bool { return b != 0 }) {
		return now, false, nil
	}
	for i := 0; i+width <= size; i += width {
		if width == 4 {
			v := binary.BigEndian.Uint32(now[i:])
			if v == 0 && def != nil {
				v = binary.BigEndian.Uint32(def[i:])
			}
			binary.BigEndian.PutUint32(now[i:], v+binary.BigEndian.Uint32(ask[i:]))
			continue
		}
		v := binary.BigEndian.Uint64(now[i:])
		if v == 0 && def != nil {
			v = binary.BigEndian.Uint64(def[i:])
		}
		binary.BigEndian.PutUint64(now[i:], v+binary.BigEndian.Uint64(ask[i:]))
	}
	return now, true, nil
}
