//go:build linux

package posix

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// direntCost is what GlusterFS reckons for an entry besides its name.
const direntCost = 208

func itoa(n int) string { return strconv.Itoa(n) }

// readdir lists a directory from the cookie off on. Cookies are those of the
// file system, as getdents64(2) gives them.
func (b *Brick) readdir(h *fop.Header, g fop.GFID, fd *fop.Fd, off uint64, size uint32, plus bool) (*fop.ReaddirReply, error) {
	if off > 1<<63-1 {
		return nil, syscall.EINVAL
	}
	f := &file{dir: true}
	if fd != nil {
		var err error
		if f, err = b.fileOf(fd); err != nil {
			return nil, err
		}
		if !f.dir {
			return nil, syscall.EINVAL
		}
		g = f.in.gfid
	} else {
		k, err := b.openList(g)
		if err != nil {
			return nil, err
		}
		defer unix.Close(k)
		f.fd = k
	}
	if plus && h.XData.Has("glusterfs.ancestry.dentry") {
		return b.ancestors(h, g)
	}
	l := listing{
		b: b, f: f, gfid: g, plus: plus, xdata: h.XData, left: int(min(size, 8<<20)),
		noDirs: h.XData.Bool("readdir-filter-directories"),
		reply:  &fop.ReaddirReply{},
	}
	f.mu.Lock()
	err := l.read(int64(off))
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if plus {
		for i := range l.reply.Entries {
			b.describe(&l, &l.reply.Entries[i])
		}
	}
	return l.reply, nil
}

// listing is one answer to readdir in the making.
type listing struct {
	b      *Brick
	f      *file
	gfid   fop.GFID
	plus   bool
	noDirs bool
	xdata  *fop.Dict
	left   int // of the client's budget
	reply  *fop.ReaddirReply
}

// read collects entries; f.mu is held.
func (l *listing) read(off int64) error {
	f := l.f
	if len(f.buf) == 0 || f.next != off || off == 0 {
		f.buf = f.buf[:0]
		if f.at != off || off == 0 {
			if _, err := unix.Seek(f.fd, off, unix.SEEK_SET); err != nil {
				return err
			}
			f.at = off
		}
	}
	f.next = off
	for {
		if len(f.buf) == 0 {
			// The kernel's entries are a lot smaller than what the client is
			// charged for one.
			buf := make([]byte, min(max(l.left/4, 1024), 32<<10))
			n, err := unix.Getdents(f.fd, buf)
			if err == syscall.EINVAL { // not even one fits
				buf = make([]byte, 4096)
				n, err = unix.Getdents(f.fd, buf)
			}
			if err != nil {
				if err == syscall.ENOENT { // removed meanwhile
					n = 0
				} else {
					return err
				}
			}
			if n == 0 {
				l.reply.EOF = true
				return nil
			}
			f.buf = buf[:n]
		}
		e, n, ok := parseDirent(f.buf)
		if !ok {
			return syscall.EIO
		}
		if !l.hidden(&e) {
			cost := direntCost + len(e.Name) + 1
			if cost > l.left {
				return nil
			}
			l.left -= cost
			l.reply.Entries = append(l.reply.Entries, e)
		}
		f.buf = f.buf[n:]
		f.next = int64(e.Off)
		f.at = f.next
		if len(f.buf) > 0 {
			f.at = -1 // the kernel is ahead
		}
	}
}

// hidden reports whether the client must not see an entry. It completes the
// entry's type.
func (l *listing) hidden(e *fop.Dirent) bool {
	if l.gfid == fop.RootGFID && e.Name == brickfs.Meta {
		return true
	}
	if e.Type == unix.DT_UNKNOWN || l.b.attrs.Rootless() && e.Type == unix.DT_REG {
		var st unix.Stat_t
		o := brickfs.At(l.f.fd, e.Name)
		if e.Type != unix.DT_UNKNOWN || unix.Fstatat(l.f.fd, e.Name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			if e.Type == unix.DT_UNKNOWN {
				e.Type = st.Mode >> 12 & 15
			}
			if r, ok := l.b.record(o); l.b.attrs.Rootless() && ok {
				e.Type = r.mode >> 12 & 15
			}
		}
	}
	return l.noDirs && e.Type == unix.DT_DIR
}

// parseDirent takes the first entry off a buffer of getdents64(2).
func parseDirent(b []byte) (e fop.Dirent, size int, ok bool) {
	const head = 19
	if len(b) < head {
		return e, 0, false
	}
	size = int(binary.NativeEndian.Uint16(b[16:]))
	if size < head || size > len(b) {
		return e, 0, false
	}
	name := b[head:size]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return fop.Dirent{
		Ino: binary.NativeEndian.Uint64(b), Off: binary.NativeEndian.Uint64(b[8:]),
		Type: uint32(b[18]), Name: string(name),
	}, size, true
}

// describe adds the attributes that READDIRP brings. What cannot be described
// keeps a zero Stat; the client has to look it up.
func (b *Brick) describe(l *listing, e *fop.Dirent) {
	o := brickfs.At(l.f.fd, e.Name)
	e.Ino = ^uint64(0)
	if e.Name == ".." {
		if l.gfid == fop.RootGFID {
			return // what is above the brick concerns nobody
		}
	}
	var st unix.Stat_t
	if statObj(o, &st) != nil || b.isMeta(&st) {
		return
	}
	g := l.gfid
	if e.Name != "." {
		var err error
		if g, err = b.gfidOf(o); err != nil {
			return
		}
	}
	in := b.inodes.get(g)
	defer b.inodes.put(in)
	if !dotName(e.Name) {
		dir := &held{fd: l.f.fd, gfid: l.gfid}
		if !isDir(&st) || b.needsHandle(in, &st) {
			if b.mend(dir, e.Name, in, &st, false) {
				statObj(o, &st)
			}
		}
	}
	e.Stat = b.iattOf(o, &st, in)
	e.Ino = e.Stat.Ino
	t := target{Obj: o, stat: &e.Stat, in: in}
	if e.XData = b.fill(l.xdata, &t); t.gone {
		e.Stat, e.XData, e.Ino = fop.Iatt{}, nil, ^uint64(0)
	}
}

// needsHandle reports whether a directory's handle has to be looked at. Unlike
// lookup, a listing does not open every directory that it meets.
func (b *Brick) needsHandle(in *inode, st *unix.Stat_t) bool {
	in.mu.Lock()
	known := in.handled
	in.handled = true
	in.mu.Unlock()
	return !known
}
