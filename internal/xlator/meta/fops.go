package meta

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// maxWrite bounds what is written to a file of .meta at once: a number or a word.
const maxWrite = 4096

// opened is what an open file of .meta reads.
type opened struct{ text string }

// answer carries out a request about .meta.
func (m *meta) answer(ctx context.Context, req fop.Request) (fop.Reply, error) {
	t := m.load()
	if l, ok := req.(*fop.Lookup); ok {
		return m.lookup(t, l)
	}
	g, fd := fop.Target(req)
	o := t.all[g]
	if o == nil && isMeta(g) {
		return nil, fmt.Errorf("%v %v: no such object in %s: %w", req.Op(), g, m.dir, syscall.ESTALE)
	}
	if o == nil { // names in the root
		return m.refuse(req)
	}
	switch r := req.(type) {
	case *fop.Stat:
		return &fop.StatReply{Stat: m.stat(o)}, nil
	case *fop.Fstat:
		return &fop.StatReply{Stat: m.stat(o)}, nil
	case *fop.Access:
		return m.access(o, r.Mask)
	case *fop.StatfsReq:
		q := *r
		q.GFID = fop.RootGFID
		return m.child.Do(ctx, &q)
	case *fop.Readlink:
		if !isLink(o) {
			return nil, syscall.EINVAL
		}
		return &fop.ReadlinkReply{Stat: m.stat(o), Target: o.text()}, nil
	case *fop.Open:
		return m.open(o, r)
	case *fop.Opendir:
		if !isDir(o) {
			return nil, syscall.ENOTDIR
		}
		return &fop.OpenReply{}, nil
	case *fop.Read:
		return m.read(o, fd, r)
	case *fop.Write:
		return m.write(o, r)
	case *fop.Truncate:
		return m.truncate(o)
	case *fop.Ftruncate:
		return m.truncate(o)
	case *fop.Readdir:
		return m.list(o, r.Offset, r.Size, false)
	case *fop.Readdirp:
		return m.list(o, r.Offset, r.Size, true)
	case *fop.Fsync:
		return &fop.AttrReply{Pre: m.stat(o), Post: m.stat(o)}, nil
	case *fop.Flush, *fop.Fsyncdir, *fop.Releasedir:
		return &fop.CommonReply{}, nil
	case *fop.Release:
		if fd != nil {
			fd.Set(m, nil)
		}
		return &fop.CommonReply{}, nil
	case *fop.Getxattr:
		return noXattrs(r.Name)
	case *fop.Fgetxattr:
		return noXattrs(r.Name)
	}
	return m.refuse(req)
}

func (m *meta) refuse(req fop.Request) (fop.Reply, error) {
	err := syscall.EPERM
	switch req.(type) {
	case *fop.Mkdir, *fop.Create, *fop.Mknod, *fop.Symlink:
		if g, _ := fop.Target(req); !isMeta(g) {
			err = syscall.EEXIST
		}
	}
	return nil, fmt.Errorf("%v: %s shows the client and cannot be changed: %w", req.Op(), m.dir, err)
}

// noXattrs is the answer of an object that has no extended attributes.
func noXattrs(name string) (fop.Reply, error) {
	if name != "" {
		return nil, syscall.ENODATA
	}
	return &fop.XattrReply{Dict: fop.NewDict()}, nil
}

func isDir(o *object) bool  { return o.mode&fop.ModeFmt == fop.ModeDir }
func isLink(o *object) bool { return o.mode&fop.ModeFmt == fop.ModeSymlink }

// stat makes up the attributes of an object.
func (m *meta) stat(o *object) fop.Iatt {
	a := fop.Iatt{GFID: o.gfid, Flags: fop.IattAll, Ino: o.gfid.Ino(), Nlink: 1, Mode: o.mode, Blksize: 4096,
		Atime: now(), Mtime: m.started, Ctime: m.started}
	switch {
	case isDir(o):
		a.Nlink = 2
	case isLink(o):
		a.Size = uint64(len(o.text()))
	}
	return a
}

func (m *meta) lookup(t *tree, l *fop.Lookup) (fop.Reply, error) {
	var o *object
	switch parent := t.all[l.Parent]; {
	case l.Name == "":
		o = t.all[l.GFID]
	case !isMeta(l.Parent):
		o = t.top
	case parent == nil:
	case !isDir(parent):
		return nil, fmt.Errorf("lookup of %q below %s: %w", l.Name, parent.name, syscall.ENOTDIR)
	default:
		if o = parent.index[l.Name]; o == nil {
			return nil, fmt.Errorf("lookup of %q in %s: %w", l.Name, parent.name, syscall.ENOENT)
		}
	}
	if o == nil {
		return nil, fmt.Errorf("lookup in %s: %w", m.dir, syscall.ESTALE)
	}
	reply := &fop.LookupReply{Stat: m.stat(o)}
	if o.parent != nil {
		reply.Parent = m.stat(o.parent)
	}
	return reply, nil
}

func (m *meta) access(o *object, mask uint32) (fop.Reply, error) {
	const write, execute = 2, 1
	if mask&write != 0 && o.mode&0o222 == 0 || mask&execute != 0 && o.mode&0o111 == 0 {
		return nil, syscall.EACCES
	}
	return &fop.CommonReply{}, nil
}

func (m *meta) open(o *object, r *fop.Open) (fop.Reply, error) {
	switch {
	case isDir(o):
		return nil, syscall.EISDIR
	case isLink(o):
		return nil, syscall.ELOOP
	case r.Flags&fop.OAccmode != fop.ORdonly && o.write == nil:
		return nil, fmt.Errorf("open %s for writing: %s shows the client: %w", o.name, m.dir, syscall.EPERM)
	}
	if r.Fd != nil {
		r.Fd.Set(m, &opened{o.text()})
	}
	return &fop.OpenReply{ReplyHeader: fop.ReplyHeader{XData: fop.NewDict(fop.Pair{Key: fop.KeyDirectIO, Val: fop.Int(1)})}}, nil
}

func (m *meta) read(o *object, fd *fop.Fd, r *fop.Read) (fop.Reply, error) {
	if isDir(o) {
		return nil, syscall.EISDIR
	}
	if isLink(o) {
		return nil, syscall.EINVAL
	}
	var text string
	if f, ok := slot(fd, m); ok {
		text = f.text
	} else {
		text = o.text()
	}
	reply := &fop.ReadReply{Stat: m.stat(o)}
	if r.Offset < uint64(len(text)) {
		part := text[r.Offset:min(r.Offset+uint64(r.Size), uint64(len(text)))]
		if len(r.Into) >= len(part) {
			reply.Data = r.Into[:copy(r.Into, part)]
		} else {
			reply.Data = []byte(part)
		}
	}
	reply.EOF = r.Offset+uint64(len(reply.Data)) >= uint64(len(text))
	return reply, nil
}

func slot(fd *fop.Fd, m *meta) (*opened, bool) {
	if fd == nil {
		return nil, false
	}
	f, ok := fd.Get(m).(*opened)
	return f, ok
}

// write takes a value as a whole. What is read through the same file afterwards
// is the value by then.
func (m *meta) write(o *object, r *fop.Write) (fop.Reply, error) {
	if o.write == nil {
		return m.refuse(r)
	}
	if len(r.Data) > maxWrite {
		return nil, fmt.Errorf("write of %d bytes to %s: %w", len(r.Data), o.name, syscall.EFBIG)
	}
	before := m.stat(o)
	if err := o.write(strings.TrimSpace(string(r.Data))); err != nil {
		return nil, err
	}
	if f, ok := slot(r.Fd, m); ok && f != nil {
		r.Fd.Set(m, &opened{o.text()})
	}
	return &fop.WriteReply{Pre: before, Post: m.stat(o), Size: uint32(len(r.Data))}, nil
}

// truncate is what comes before a write that replaces a value.
func (m *meta) truncate(o *object) (fop.Reply, error) {
	if o.write == nil {
		return nil, fmt.Errorf("truncate %s: %s shows the client: %w", o.name, m.dir, syscall.EPERM)
	}
	return &fop.AttrReply{Pre: m.stat(o), Post: m.stat(o)}, nil
}

// list lists a directory. An offset is how many entries were given before, "."
// and ".." among them.
func (m *meta) list(o *object, off uint64, size uint32, plus bool) (fop.Reply, error) {
	if !isDir(o) {
		return nil, syscall.ENOTDIR
	}
	above := o.parent
	if above == nil {
		above = o // whoever asks knows what is above
	}
	const entrySize = 24 // of an entry on the wire, besides the name
	const plusSize = 152
	reply := &fop.ReaddirReply{}
	room := int64(size)
	for i := off; ; i++ {
		var e *object
		name := ""
		switch {
		case i == 0:
			e, name = o, "."
		case i == 1:
			e, name = above, ".."
		case i-2 < uint64(len(o.children)):
			e = o.children[i-2]
			name = e.name
		default:
			reply.EOF = true
			return reply, nil
		}
		room -= entrySize + int64(len(name))
		if plus {
			room -= plusSize
		}
		if room < 0 && len(reply.Entries) > 0 {
			return reply, nil
		}
		d := fop.Dirent{Ino: e.gfid.Ino(), Off: i + 1, Type: e.mode >> 12, Name: name}
		if plus {
			d.Stat = m.stat(e)
		}
		reply.Entries = append(reply.Entries, d)
	}
}
