package mem

import (
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// node is an object. All its fields are guarded by FS.mu.
type node struct {
	gfid                       fop.GFID
	mode                       uint32
	uid, gid                   uint32
	nlink                      uint32
	rdev                       uint64
	atime, mtime, ctime, btime fop.Time
	target                     string     // of a symlink
	xattr                      []xattr    // sorted by name
	data                       sparse     // of a regular file
	dir                        *directory // of a directory
	fds                        int        // open Fds
	stamped                    bool       // a client's clock made its times
}

// openFile is what mem keeps in the slot of an Fd.
type openFile struct {
	n *node
}

func (m *FS) newNode(g fop.GFID, mode uint32, h *fop.Header) *node {
	n := &node{gfid: g, mode: mode, uid: h.Cred.UID, gid: h.Cred.GID, nlink: 1}
	t := m.now()
	if h.Time.Flags != 0 {
		t = fop.Time{Sec: h.Time.Sec, Nsec: h.Time.Nsec}
		n.stamped = true
	}
	n.atime, n.mtime, n.ctime, n.btime = t, t, t, t
	return n
}

func (m *FS) now() fop.Time {
	t := m.clock()
	return fop.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// touch sets the times of n that bits (fop.TimeCtime, …) name: to the client's
// clock where the request brings it for them, never back then, else to ours.
func (m *FS) touch(n *node, h *fop.Header, bits, stampBits uint32) {
	now := m.now()
	set := func(t *fop.Time, bit, stampBit uint32) {
		if bits&bit == 0 {
			return
		}
		if h.Time.Flags == 0 {
			*t = now
			return
		}
		stamp := fop.Time{Sec: h.Time.Sec, Nsec: h.Time.Nsec}
		if stampBits&h.Time.Flags&stampBit != 0 && t.Less(stamp) {
			*t = stamp
			n.stamped = true
		}
	}
	parent := stampBits > 7
	shift := 0
	if parent {
		shift = 3
	}
	set(&n.ctime, fop.TimeCtime, fop.TimeCtime<<shift)
	set(&n.mtime, fop.TimeMtime, fop.TimeMtime<<shift)
	set(&n.atime, fop.TimeAtime, fop.TimeAtime<<shift)
}

const (
	ownTimes    = fop.TimeCtime | fop.TimeMtime | fop.TimeAtime
	parentTimes = ownTimes << 3
)

// touchParent marks a change of a directory's entries.
func (m *FS) touchParent(n *node, h *fop.Header) {
	m.touch(n, h, fop.TimeCtime|fop.TimeMtime, parentTimes)
}

func (n *node) isDir() bool     { return n.mode&fop.ModeFmt == fop.ModeDir }
func (n *node) isRegular() bool { return n.mode&fop.ModeFmt == fop.ModeRegular }
func (n *node) isSymlink() bool { return n.mode&fop.ModeFmt == fop.ModeSymlink }

func (n *node) size() uint64 {
	switch {
	case n.isRegular():
		return n.data.size
	case n.isSymlink():
		return uint64(len(n.target))
	case n.isDir():
		return 4096
	}
	return 0
}

func (n *node) iatt() fop.Iatt {
	size := n.size()
	a := fop.Iatt{
		GFID: n.gfid, Flags: fop.IattAll, Ino: n.gfid.Ino(), Dev: 0x6d656d, Rdev: n.rdev,
		Size: size, Blksize: 4096, Mode: n.mode, Nlink: n.nlink, UID: n.uid, GID: n.gid,
		Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime,
	}
	if n.isRegular() {
		a.Blocks = min(uint64(len(n.data.pages))*(pageSize/512), (size+511)/512)
	}
	return a
}

// object finds what a fop works on.
func (m *FS) object(g fop.GFID, fd *fop.Fd) (*node, error) {
	if fd != nil {
		of, ok := fd.Get(m).(*openFile)
		if !ok {
			return nil, syscall.EINVAL
		}
		return of.n, nil
	}
	if g.IsZero() {
		return nil, syscall.ESTALE
	}
	n := m.nodes[g]
	if n == nil || n.nlink == 0 {
		return nil, syscall.ENOENT
	}
	return n, nil
}

// anonymous is object for the fops that take a file without an open Fd; these
// also reach a file that has no name any more while somebody has it open.
func (m *FS) anonymous(g fop.GFID, fd *fop.Fd) (*node, error) {
	n, err := m.object(g, fd)
	if err == syscall.ENOENT && m.nodes[g] != nil {
		return m.nodes[g], nil
	}
	return n, err
}

// regular is anonymous for fops that only regular files can do.
func (m *FS) regular(g fop.GFID, fd *fop.Fd) (*node, error) {
	n, err := m.anonymous(g, fd)
	switch {
	case err != nil:
		return nil, err
	case n.isDir():
		return nil, syscall.EISDIR
	case n.isSymlink():
		return nil, syscall.ELOOP
	case !n.isRegular():
		return nil, syscall.EINVAL
	}
	return n, nil
}

// writable is regular for fops that change contents.
func (m *FS) writable(g fop.GFID, fd *fop.Fd) (*node, error) {
	n, err := m.regular(g, fd)
	if err == nil && fd != nil && fd.Flags&fop.OAccmode == fop.ORdonly {
		return nil, syscall.EBADF
	}
	return n, err
}

// parent finds the directory of an entry fop and refuses bad names.
func (m *FS) parent(g fop.GFID, name string) (*node, error) {
	if g.IsZero() || name == "" || strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0 {
		return nil, syscall.ESTALE
	}
	n := m.nodes[g]
	switch {
	case n == nil || n.nlink == 0:
		return nil, syscall.ESTALE
	case !n.isDir():
		return nil, syscall.ENOTDIR
	case len(name) > 255:
		return nil, syscall.ENAMETOOLONG
	case g.IsRoot() && name == ".glusterfs":
		return nil, syscall.EPERM
	}
	return n, nil
}

// forget drops n once nothing refers to it any more.
func (m *FS) forget(n *node) {
	if n.nlink == 0 && n.fds == 0 && m.nodes[n.gfid] == n {
		delete(m.nodes, n.gfid)
	}
}

// fill answers the keys of a request's XData that ask for something about n.
func (m *FS) fill(n *node, want *fop.Dict) *fop.Dict {
	if want == nil {
		return nil
	}
	out := fop.NewDict()
	for _, p := range want.Pairs() {
		switch p.Key {
		case fop.KeyGFIDReq, fop.KeyInternalFop, "gfidless-lookup", fop.KeyListXattr:
		case fop.KeyContent:
			if limit, _ := p.Val.Int(); n.isRegular() && limit >= 0 && uint64(limit) >= n.data.size {
				b := make([]byte, n.data.size)
				n.data.readAt(b, 0)
				out.Set(p.Key, fop.Bytes(b))
			}
		case fop.KeyOpenFdCount, fop.KeyActiveFdCount:
			out.Set(p.Key, fop.Uint(uint64(n.fds)))
		case "get-size":
			if n.isRegular() {
				out.Set(p.Key, fop.Uint(n.data.size))
			}
		case "gf_request_link_count":
			out.Set(p.Key, p.Val)
		case fop.XattrMdata:
			if n.stamped {
				out.Set(p.Key, fop.Bytes(n.mdata()))
			}
		default:
			if !namespaced(p.Key) {
				continue
			}
			for _, x := range n.xattr {
				if ok, _ := path.Match(p.Key, x.name); ok {
					out.Set(x.name, fop.Bytes(slices.Clone(x.val)))
				}
			}
		}
	}
	if want.Has(fop.KeyListXattr) {
		for _, x := range n.xattr {
			if !out.Has(x.name) {
				out.Set(x.name, fop.Bytes(slices.Clone(x.val)))
			}
		}
	}
	return out
}

func (n *node) mdata() []byte {
	return fop.AppendMdata(nil, fop.Mdata{Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime})
}
