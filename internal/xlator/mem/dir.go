package mem

import (
	"slices"
	"sort"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Cookies of the two entries that every directory has; its own begin after.
const (
	cookieDot    = 1
	cookieDotdot = 2
)

// directory is the contents of a directory.
type directory struct {
	parent *node
	byName map[string]*entry
	order  []*entry // by cookie; removed ones have a nil node until compacted
	dead   int
	last   uint64 // cookie of the youngest entry
}

type entry struct {
	name   string
	n      *node
	cookie uint64
}

func newDirectory(parent *node) *directory {
	return &directory{parent: parent, byName: map[string]*entry{}, last: cookieDotdot}
}

func (d *directory) get(name string) *node {
	if e := d.byName[name]; e != nil {
		return e.n
	}
	return nil
}

func (d *directory) add(name string, n *node) {
	d.last++
	name = strings.Clone(name)
	e := &entry{name, n, d.last}
	d.byName[name] = e
	d.order = append(d.order, e)
}

func (d *directory) remove(name string) {
	e := d.byName[name]
	delete(d.byName, name)
	e.n = nil
	if d.dead++; d.dead > 16 && d.dead > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(e *entry) bool { return e.n == nil })
		d.dead = 0
	}
}

// direntCost is what GlusterFS's brick takes an entry to need of the size that
// a listing may have, besides its name.
const direntCost = 208 + 1

func (m *FS) opendir(r *fop.Opendir) (*fop.OpenReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.object(r.GFID, nil)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, syscall.ENOTDIR
	}
	m.attach(r.Fd, n)
	return &fop.OpenReply{}, nil
}

func (m *FS) readdir(h *fop.Header, g fop.GFID, fd *fop.Fd, off uint64, size uint32, plus bool) (*fop.ReaddirReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.object(g, fd)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, syscall.EINVAL
	}
	reply := &fop.ReaddirReply{}
	budget := int64(size)
	add := func(name string, of *node, cookie uint64) bool {
		if budget -= int64(direntCost + len(name)); budget < 0 && len(reply.Entries) > 0 {
			return false
		}
		e := fop.Dirent{Ino: of.gfid.Ino(), Off: cookie, Type: of.mode >> 12, Name: name}
		if plus {
			e.Stat = of.iatt()
			if h.XData.Len() > 0 {
				e.XData = m.fill(of, h.XData)
			}
		}
		reply.Entries = append(reply.Entries, e)
		return true
	}
	if n.nlink == 0 { // removed while open
		reply.EOF = true
		return reply, nil
	}
	if off < cookieDot && !add(".", n, cookieDot) {
		return reply, nil
	}
	if off < cookieDotdot && !add("..", n.dir.parent, cookieDotdot) {
		return reply, nil
	}
	order := n.dir.order
	for _, e := range order[sort.Search(len(order), func(i int) bool { return order[i].cookie > off }):] {
		if e.n != nil && !add(e.name, e.n, e.cookie) {
			return reply, nil
		}
	}
	reply.EOF = true
	return reply, nil
}
