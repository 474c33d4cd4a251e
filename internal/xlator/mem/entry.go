package mem

import (
	"bytes"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

func (m *FS) lookup(r *fop.Lookup) (*fop.LookupReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if r.Name == "" || r.Parent.IsZero() {
		n, err := m.object(r.GFID, nil)
		if err == syscall.ENOENT && r.XData.Bool("unlinked-lookup") && m.nodes[r.GFID] != nil {
			n, err = m.nodes[r.GFID], nil
		}
		if err != nil {
			return nil, err
		}
		return &fop.LookupReply{ReplyHeader: fop.ReplyHeader{XData: m.fill(n, r.XData)}, Stat: n.iatt()}, nil
	}
	dir, err := m.parent(r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	var n *node
	switch r.Name {
	case ".":
		n = dir
	case "..":
		n = dir.dir.parent
	default:
		n = dir.dir.get(r.Name)
	}
	if n == nil {
		return &fop.LookupReply{Parent: dir.iatt()}, syscall.ENOENT
	}
	return &fop.LookupReply{ReplyHeader: fop.ReplyHeader{XData: m.fill(n, r.XData)}, Stat: n.iatt(), Parent: dir.iatt()}, nil
}

// add makes a node and enters it, the part that all makers share.
func (m *FS) add(h *fop.Header, parent fop.GFID, name string, mode uint32, fill func(*node)) (*fop.EntryReply, *node, error) {
	v, _ := h.XData.Get(fop.KeyGFIDReq)
	g, ok := v.GFID()
	if !ok || g.IsZero() {
		return nil, nil, syscall.EINVAL
	}
	dir, err := m.parent(parent, name)
	if err != nil {
		return nil, nil, err
	}
	if name == "." || name == ".." || dir.dir.get(name) != nil || m.nodes[g] != nil {
		return nil, nil, syscall.EEXIST
	}
	if err := preop(h.XData, dir); err != nil {
		return &fop.EntryReply{ReplyHeader: fop.ReplyHeader{XData: fop.NewDict(
			fop.Pair{Key: "glusterfs.preop.check.failed", Val: fop.Int(1)})}}, nil, err
	}
	n := m.newNode(g, mode, h)
	if dir.mode&fop.ModeSetgid != 0 {
		n.gid = dir.gid
		if n.isDir() {
			n.mode |= fop.ModeSetgid
		}
	}
	reply := &fop.EntryReply{PreParent: dir.iatt()}
	if fill != nil {
		fill(n)
	}
	expected := h.XData.Text("glusterfs.preop.parent.key")
	for _, p := range h.XData.Pairs() {
		if namespaced(p.Key) && !reserved(p.Key) && p.Key != expected &&
			!strings.HasPrefix(p.Key, fop.XattrGFID2Path) && p.Key != fop.XattrMdata {
			n.setXattr(p.Key, p.Val.Bytes())
		}
	}
	if n.isDir() {
		n.dir = newDirectory(dir)
		n.nlink = 2
		dir.nlink++
	}
	m.nodes[g] = n
	dir.dir.add(name, n)
	m.touchParent(dir, h)
	reply.Stat, reply.PostParent = n.iatt(), dir.iatt()
	return reply, n, nil
}

// preop fails when the parent's xattr is not the one that the client expects.
func preop(x *fop.Dict, dir *node) error {
	key := x.Text("glusterfs.preop.parent.key")
	if key == "" {
		return nil
	}
	have, _ := dir.getXattr(key)
	if !bytes.Equal(have, x.Bytes(key)) {
		return syscall.EIO
	}
	return nil
}

func (m *FS) mknod(r *fop.Mknod) (*fop.EntryReply, error) {
	mode := r.Mode
	switch mode & fop.ModeFmt {
	case 0:
		mode |= fop.ModeRegular
	case fop.ModeRegular, fop.ModeFIFO, fop.ModeSocket, fop.ModeChar, fop.ModeBlock:
	default:
		return nil, syscall.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	reply, _, err := m.add(&r.Header, r.Parent, r.Name, mode, func(n *node) {
		if f := mode & fop.ModeFmt; f == fop.ModeChar || f == fop.ModeBlock {
			n.rdev = splitDev(r.Rdev)
		}
	})
	return reply, err
}

// splitDev turns a dev_t of Linux into the form that Iatt has.
func splitDev(d uint64) uint64 {
	major := d>>8&0xfff | d>>32&^0xfff
	minor := d&0xff | d>>12&^0xff&0xffffffff
	return major<<32 | minor
}

func (m *FS) mkdir(r *fop.Mkdir) (*fop.EntryReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	reply, _, err := m.add(&r.Header, r.Parent, r.Name, fop.ModeDir|r.Mode&0o7777, nil)
	return reply, err
}

func (m *FS) symlink(r *fop.Symlink) (*fop.EntryReply, error) {
	switch {
	case r.Target == "":
		return nil, syscall.ENOENT
	case len(r.Target) > 4095:
		return nil, syscall.ENAMETOOLONG
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	target := strings.Clone(r.Target)
	reply, _, err := m.add(&r.Header, r.Parent, r.Name, fop.ModeSymlink|0o777, func(n *node) { n.target = target })
	return reply, err
}

func (m *FS) create(r *fop.Create) (*fop.CreateReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	flags := r.Flags
	if flags == 0 {
		flags = fop.ORdwr | fop.OExcl
	}
	if dir, err := m.parent(r.Parent, r.Name); err == nil {
		if n := dir.dir.get(r.Name); n != nil {
			return m.createOpen(r, dir, n, flags)
		}
	}
	e, n, err := m.add(&r.Header, r.Parent, r.Name, fop.ModeRegular|r.Mode&0o7777, nil)
	if err != nil {
		if e != nil {
			return &fop.CreateReply{ReplyHeader: e.ReplyHeader}, err
		}
		return nil, err
	}
	m.attach(r.Fd, n)
	return &fop.CreateReply{Stat: e.Stat, PreParent: e.PreParent, PostParent: e.PostParent}, nil
}

// createOpen is a create of what is there already.
func (m *FS) createOpen(r *fop.Create, dir, n *node, flags uint32) (*fop.CreateReply, error) {
	switch {
	case flags&fop.OExcl != 0:
		return nil, syscall.EEXIST
	case n.isDir():
		return nil, syscall.EISDIR
	case n.isSymlink():
		return nil, syscall.ELOOP
	}
	if v, _ := r.XData.Get(fop.KeyGFIDReq); true {
		if g, ok := v.GFID(); !ok || g.IsZero() {
			return nil, syscall.EINVAL
		}
	}
	if flags&fop.OTrunc != 0 && n.isRegular() {
		n.data.truncate(0)
		m.touch(n, &r.Header, fop.TimeCtime|fop.TimeMtime, ownTimes)
	}
	m.attach(r.Fd, n)
	return &fop.CreateReply{Stat: n.iatt(), PreParent: dir.iatt(), PostParent: dir.iatt()}, nil
}

func (m *FS) put(r *fop.Put) (*fop.EntryReply, error) {
	if r.Offset > maxSize-uint64(len(r.Data)) {
		return nil, syscall.EFBIG
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	reply, n, err := m.add(&r.Header, r.Parent, r.Name, fop.ModeRegular|r.Mode&0o7777, nil)
	if err != nil {
		return reply, err
	}
	n.data.writeAt(r.Data, r.Offset)
	for _, p := range r.Xattr.Pairs() {
		n.setXattr(p.Key, p.Val.Bytes())
	}
	reply.Stat = n.iatt()
	return reply, nil
}

// maxHardlinks is the default of the option of that name of storage/posix.
const maxHardlinks = 100

func (m *FS) link(r *fop.Link) (*fop.EntryReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.object(r.GFID, nil)
	if err != nil {
		return nil, err
	}
	dir, err := m.parent(r.Parent, r.Name)
	switch {
	case err != nil:
		return nil, err
	case r.Name == "." || r.Name == ".." || dir.dir.get(r.Name) != nil:
		return nil, syscall.EEXIST
	case n.isDir():
		return nil, syscall.EPERM
	case n.nlink >= maxHardlinks:
		return nil, syscall.EMLINK
	}
	reply := &fop.EntryReply{PreParent: dir.iatt()}
	dir.dir.add(r.Name, n)
	n.nlink++
	m.touch(n, &r.Header, fop.TimeCtime, ownTimes)
	m.touchParent(dir, &r.Header)
	reply.Stat, reply.PostParent = n.iatt(), dir.iatt()
	return reply, nil
}

// unlinkNode takes one name from n, which is no directory.
func (m *FS) unlinkNode(n *node, h *fop.Header) {
	n.nlink--
	m.touch(n, h, fop.TimeCtime, ownTimes)
	m.forget(n)
}

func (m *FS) unlink(r *fop.Unlink) (*fop.RemoveReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.parent(r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	n := dir.dir.get(r.Name)
	switch {
	case r.Name == "." || r.Name == "..":
		return nil, syscall.EISDIR
	case n == nil:
		return nil, syscall.ENOENT
	case n.isDir():
		return nil, syscall.EISDIR
	case r.XData.Bool("dont-unlink-for-open-fd") && n.fds > 0:
		return nil, syscall.EBUSY
	case r.XData.Bool("unlink-only-if-dht-linkto-file"):
		if v, _ := n.getXattr(fop.XattrLinkto); n.mode&0o7777 != fop.ModeSticky || len(v) == 0 {
			return nil, syscall.EBUSY
		}
	}
	reply := &fop.RemoveReply{PreParent: dir.iatt()}
	x := fop.NewDict()
	if r.XData.Bool(fop.KeyLinkCount) && n.nlink > 1 {
		x.Set(fop.KeyLinkCount, fop.Uint(uint64(n.nlink)))
	} else {
		x.Set(fop.KeyLinkCount, fop.Uint(0))
	}
	if r.XData.Has("gf_request_link_count") {
		x.Set("gf_response_link_count", fop.Uint(uint64(n.nlink)))
	}
	dir.dir.remove(r.Name)
	m.unlinkNode(n, &r.Header)
	m.touchParent(dir, &r.Header)
	if r.XData.Has(fop.KeyIattInXattr) && n.isRegular() {
		x.Set(fop.KeyIattInXattr, fop.IattValue(n.iatt()))
		x.Set(fop.KeyPostStat, fop.IattValue(n.iatt()))
	}
	reply.XData, reply.PostParent = x, dir.iatt()
	return reply, nil
}

func (m *FS) rmdir(r *fop.Rmdir) (*fop.RemoveReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.parent(r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	n := dir.dir.get(r.Name)
	switch {
	case r.Name == ".":
		return nil, syscall.EINVAL
	case r.Name == "..":
		return nil, syscall.ENOTEMPTY
	case n == nil:
		return nil, syscall.ENOENT
	case !n.isDir():
		return nil, syscall.ENOTDIR
	case len(n.dir.byName) > 0 && r.Flags == 0:
		return nil, syscall.ENOTEMPTY
	}
	reply := &fop.RemoveReply{PreParent: dir.iatt()}
	m.dropTree(n, &r.Header)
	dir.dir.remove(r.Name)
	dir.nlink--
	m.touchParent(dir, &r.Header)
	reply.PostParent = dir.iatt()
	return reply, nil
}

// dropTree empties and drops a directory.
func (m *FS) dropTree(n *node, h *fop.Header) {
	for _, e := range n.dir.byName {
		if e.n.isDir() {
			m.dropTree(e.n, h)
		} else {
			m.unlinkNode(e.n, h)
		}
	}
	n.dir.byName, n.dir.order = map[string]*entry{}, nil
	n.nlink = 0
	m.forget(n)
}

func (m *FS) rename(r *fop.Rename) (*fop.RenameReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, err := m.parent(r.OldParent, r.OldName)
	if err != nil {
		return nil, err
	}
	to, err := m.parent(r.NewParent, r.NewName)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{r.OldName, r.NewName} {
		if name == "." || name == ".." {
			return nil, syscall.EBUSY
		}
	}
	n, victim := from.dir.get(r.OldName), to.dir.get(r.NewName)
	if n == nil {
		return nil, syscall.ENOENT
	}
	if n.isDir() {
		for d := to; ; d = d.dir.parent {
			if d == n {
				return nil, syscall.EINVAL
			}
			if d == m.root {
				break
			}
		}
	}
	if victim != nil && victim.isDir() { // an ancestor of what is moved is not empty
		for d := from; d != m.root; d = d.dir.parent {
			if d == victim {
				return nil, syscall.ENOTEMPTY
			}
		}
	}
	x := fop.NewDict()
	reply := &fop.RenameReply{PreOldParent: from.iatt(), PreNewParent: to.iatt()}
	reply.XData = x
	if victim != nil {
		switch {
		case victim == n: // two names of one object: nothing happens
			reply.Stat = n.iatt()
			reply.PostOldParent, reply.PostNewParent = reply.PreOldParent, reply.PreNewParent
			return reply, nil
		case n.isDir() && !victim.isDir():
			return nil, syscall.ENOTDIR
		case !n.isDir() && victim.isDir():
			return nil, syscall.EISDIR
		case victim.isDir() && len(victim.dir.byName) > 0:
			return nil, syscall.ENOTEMPTY
		}
		if r.XData.Bool(fop.KeyLinkCount) {
			x.Set(fop.KeyLinkCount, fop.Uint(uint64(victim.nlink)))
		}
		if r.XData.Has("gf_request_link_count") {
			x.Set("gf_response_link_count", fop.Uint(uint64(victim.nlink)))
		}
		to.dir.remove(r.NewName)
		if victim.isDir() {
			to.nlink--
			m.dropTree(victim, &r.Header)
		} else {
			m.unlinkNode(victim, &r.Header)
		}
	}
	from.dir.remove(r.OldName)
	to.dir.add(r.NewName, n)
	if n.isDir() {
		n.dir.parent = to
		from.nlink--
		to.nlink++
	}
	m.touch(n, &r.Header, fop.TimeCtime, ownTimes)
	m.touchParent(from, &r.Header)
	m.touchParent(to, &r.Header)
	reply.Stat = n.iatt()
	reply.PostOldParent, reply.PostNewParent = from.iatt(), to.iatt()
	return reply, nil
}
