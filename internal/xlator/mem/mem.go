// Package mem is the translator "testing/mem": a whole file system in memory,
// for tests that need a brick without disks, root or processes. It offers what
// storage/posix offers, with the errnos of GlusterFS 10.3's bricks, and simple
// posix locks; put features/locks above it for inodelk and entrylk.
//
// What it promises:
//
//   - Everything is deterministic but for the clock, which NewFS lets a test
//     set. Entries of a directory are listed in the order in which they were
//     made, and an entry's cookie never changes: listing while others create
//     and remove shows every entry that was there all the time exactly once.
//   - Like posix it checks no permissions: that is access-control's task.
//   - Contents are sparse, in pages of 4096 bytes; a page never written is a
//     hole to Seek.
//   - It is safe for concurrent use; one lock guards all.
//
// What it does not have: handles on disk, gfid2path, quota and the other
// back-ends of posix's virtual xattrs.
//
// Read next: node.go, then entry.go.
package mem

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{Name: "testing/mem", New: New}

// New makes an empty file system and says at once that it is up.
func New(c xlator.Config) (fop.Handler, error) {
	m := NewFS(nil)
	if c.Notify != nil {
		c.Notify(fop.Event{Kind: fop.EventChildUp, From: c.Name})
	}
	return m, nil
}

// FS is a file system in memory. It is a fop.Handler.
type FS struct {
	mu    sync.RWMutex
	nodes map[fop.GFID]*node
	root  *node
	clock func() time.Time

	locks lockTable
}

// NewFS makes an empty file system whose times come from clock, from time.Now
// if it is nil. clock is called with a lock held and must not block.
func NewFS(clock func() time.Time) *FS {
	if clock == nil {
		clock = time.Now
	}
	m := &FS{nodes: map[fop.GFID]*node{}, clock: clock}
	m.locks.init()
	m.root = m.newNode(fop.RootGFID, fop.ModeDir|0o755, &fop.Header{})
	m.root.dir = newDirectory(m.root)
	m.root.nlink = 2
	m.nodes[fop.RootGFID] = m.root
	return m
}

// Do carries out one fop.
func (m *FS) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch r := req.(type) {
	case *fop.Lookup:
		return wrap(m.lookup(r))
	case *fop.Stat:
		return wrap(m.stat(&r.Header, r.GFID, nil))
	case *fop.Fstat:
		return wrap(m.stat(&r.Header, r.GFID, r.Fd))
	case *fop.Readlink:
		return wrap(m.readlink(r))
	case *fop.Access:
		return wrap(m.access(r))
	case *fop.StatfsReq:
		return wrap(m.statfs(r))
	case *fop.Setattr:
		return wrap(m.setattr(&r.Header, r.GFID, nil, r.Stat, r.Valid))
	case *fop.Fsetattr:
		return wrap(m.setattr(&r.Header, r.GFID, r.Fd, r.Stat, r.Valid))

	case *fop.Mknod:
		return wrap(m.mknod(r))
	case *fop.Mkdir:
		return wrap(m.mkdir(r))
	case *fop.Symlink:
		return wrap(m.symlink(r))
	case *fop.Create:
		return wrap(m.create(r))
	case *fop.Put:
		return wrap(m.put(r))
	case *fop.Link:
		return wrap(m.link(r))
	case *fop.Unlink:
		return wrap(m.unlink(r))
	case *fop.Rmdir:
		return wrap(m.rmdir(r))
	case *fop.Rename:
		return wrap(m.rename(r))

	case *fop.Open:
		return wrap(m.open(r))
	case *fop.Opendir:
		return wrap(m.opendir(r))
	case *fop.Read:
		return wrap(m.read(r))
	case *fop.Write:
		return wrap(m.write(r))
	case *fop.Truncate:
		return wrap(m.truncate(&r.Header, r.GFID, nil, r.Offset))
	case *fop.Ftruncate:
		return wrap(m.truncate(&r.Header, r.GFID, r.Fd, r.Offset))
	case *fop.Fallocate:
		return wrap(m.fallocate(r))
	case *fop.Discard:
		return wrap(m.discard(r))
	case *fop.Zerofill:
		return wrap(m.zerofill(r))
	case *fop.Seek:
		return wrap(m.seek(r))
	case *fop.CopyFileRange:
		return wrap(m.copyRange(r))
	case *fop.Rchecksum:
		return wrap(m.rchecksum(r))
	case *fop.Fsync:
		return wrap(m.fsync(r))
	case *fop.Fsyncdir:
		return wrap(m.fsyncdir(r))
	case *fop.Flush:
		return wrap(m.flush(r))
	case *fop.Release:
		return wrap(m.release(r.Fd))
	case *fop.Releasedir:
		return wrap(m.release(r.Fd))
	case *fop.Readdir:
		return wrap(m.readdir(&r.Header, r.GFID, r.Fd, r.Offset, r.Size, false))
	case *fop.Readdirp:
		return wrap(m.readdir(&r.Header, r.GFID, r.Fd, r.Offset, r.Size, true))

	case *fop.Setxattr:
		return wrap(m.setxattr(&r.Header, r.GFID, nil, r.Flags, r.Dict))
	case *fop.Fsetxattr:
		return wrap(m.setxattr(&r.Header, r.GFID, r.Fd, r.Flags, r.Dict))
	case *fop.Getxattr:
		return wrap(m.getxattr(&r.Header, r.GFID, nil, r.Name))
	case *fop.Fgetxattr:
		return wrap(m.getxattr(&r.Header, r.GFID, r.Fd, r.Name))
	case *fop.Removexattr:
		return wrap(m.removexattr(&r.Header, r.GFID, nil, r.Name))
	case *fop.Fremovexattr:
		return wrap(m.removexattr(&r.Header, r.GFID, r.Fd, r.Name))
	case *fop.Xattrop:
		return wrap(m.xattrop(&r.Header, r.GFID, nil, r.Kind, r.Dict))
	case *fop.Fxattrop:
		return wrap(m.xattrop(&r.Header, r.GFID, r.Fd, r.Kind, r.Dict))

	case *fop.Lk:
		return wrap(m.lk(ctx, r))
	case *fop.Getactivelk:
		return wrap(m.getactivelk(r))
	case *fop.Disconnect:
		m.locks.disconnect(r.From)
		return &fop.CommonReply{}, nil
	case *fop.Ipc:
		return nil, syscall.EOPNOTSUPP
	}
	return nil, syscall.ENOSYS
}

// wrap keeps a nil pointer from becoming a Reply that is not nil.
func wrap[R any, P interface {
	*R
	fop.Reply
}](r P, err error) (fop.Reply, error) {
	if r == nil {
		return nil, err
	}
	return r, err
}
