package fuse

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

// maxErrno is the largest error number that the kernel takes.
const maxErrno = 511

// status turns an error into what the kernel gets. ENOSYS would have it never
// ask for the operation again.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	switch e := fop.Errno(err); {
	case e == syscall.ENOSYS:
		return fuse.Status(syscall.EOPNOTSUPP)
	case e <= 0 || e > maxErrno:
		return fuse.EIO
	default:
		return fuse.Status(e)
	}
}

// ino is the inode number that an application sees.
func (b *bridge) ino(n uint64) uint64 {
	if b.cfg.EnableIno32 {
		return uint64(uint32(n) ^ uint32(n>>32))
	}
	return n
}

// blockSize is what stat(2) tells as the best size of a read or write.
const blockSize = 128 << 10

// fill turns attributes into the kernel's.
func (b *bridge) fill(out *fuse.Attr, a *fop.Iatt) {
	ino := a.Ino
	if ino == 0 {
		ino = a.GFID.Ino()
	}
	*out = fuse.Attr{
		Ino:       b.ino(ino),
		Size:      a.Size,
		Blocks:    a.Blocks,
		Atime:     uint64(a.Atime.Sec),
		Mtime:     uint64(a.Mtime.Sec),
		Ctime:     uint64(a.Ctime.Sec),
		Atimensec: a.Atime.Nsec,
		Mtimensec: a.Mtime.Nsec,
		Ctimensec: a.Ctime.Nsec,
		Mode:      a.Mode,
		Nlink:     a.Nlink,
		Owner:     fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev:      a.Minor()&0xff | a.Major()<<8 | a.Minor()&^0xff<<12,
		Blksize:   blockSize,
	}
}

// attrOut answers a request for attributes.
func (b *bridge) attrOut(out *fuse.AttrOut, n *node, a *fop.Iatt) {
	n.heard(a)
	b.fill(&out.Attr, a)
	out.SetTimeout(b.cfg.AttrTimeout)
}

// entryOut answers a request that names an object: from here on the kernel
// knows it.
func (b *bridge) entryOut(out *fuse.EntryOut, parent *node, name string, a *fop.Iatt) *node {
	n := b.nodes.lookup(a, parent.id, name)
	out.NodeId = n.id
	b.fill(&out.Attr, a)
	out.SetEntryTimeout(b.cfg.EntryTimeout)
	out.SetAttrTimeout(b.cfg.AttrTimeout)
	return n
}

// left is what remains of a timeout that began some time ago.
func left(timeout, age time.Duration) time.Duration { return max(0, timeout-age) }
