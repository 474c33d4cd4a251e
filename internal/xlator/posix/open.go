//go:build linux

package posix

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// file is what we keep in the slot of an open fop.Fd.
type file struct {
	fd    int
	flags int
	in    *inode // held
	dir   bool

	mu   sync.Mutex // guards what follows, for directories
	at   int64      // where the next getdents64 would begin
	buf  []byte     // entries read but not yet returned
	next int64      // cookie of the first one in buf
}

// keep makes fd known as the descriptor of an open file; in stays held until
// its release.
func (b *Brick) keep(f *fop.Fd, fd, flags int, in *inode, dir bool) {
	if f == nil {
		unix.Close(fd)
		return
	}
	in = b.inodes.get(in.gfid)
	in.mu.Lock()
	in.fds++
	in.mu.Unlock()
	if old, ok := f.Set(b, &file{fd: fd, flags: flags, in: in, dir: dir}).(*file); ok {
		b.closeFile(old)
	}
}

func (b *Brick) openFile(r *fop.Open) (*fop.OpenReply, error) {
	flags := int(r.Flags) &^ (unix.O_CREAT | unix.O_EXCL | fop.OExec | unix.O_NOCTTY | unix.O_DIRECTORY)
	if r.Flags&unix.O_CREAT != 0 {
		if err := b.full(&r.Header); err != nil {
			return nil, err
		}
	}
	if b.opt.Load().oDirect {
		flags |= unix.O_DIRECT
	}
	if r.GFID.IsZero() {
		return nil, syscall.EINVAL
	}
	// Count the open file before its handle is used: from then on unlink keeps
	// the data.
	in := b.inodes.get(r.GFID)
	defer b.inodes.put(in)
	in.mu.Lock()
	in.fds++
	in.mu.Unlock()
	defer b.dropFd(in)
	var p place
	if err := b.find(r.GFID, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	if err := b.openable(&p); err != nil {
		return nil, err
	}
	fd, err := brickfs.Openat(p.Dir, p.Name, flags|unix.O_NOFOLLOW, 0)
	if err == syscall.ENOENT {
		err = syscall.ESTALE
	}
	if err != nil {
		return nil, err
	}
	b.touch(p.Obj, in, &r.Time, r.Time.Flags&ownTimes)
	b.keep(r.Fd, fd, flags, in, false)
	return &fop.OpenReply{}, nil
}

// openable refuses what is not to be opened on a brick: opening a device or
// fifo would act on this machine's own.
func (b *Brick) openable(p *place) error {
	mode := p.st.Mode
	if b.attrs.Rootless() {
		if r, ok := b.record(p.Obj); ok {
			mode = r.mode
		}
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		return nil
	case unix.S_IFLNK:
		return syscall.ELOOP
	case unix.S_IFSOCK:
		return syscall.ENXIO
	}
	return syscall.EINVAL
}

func (b *Brick) openDir(r *fop.Opendir) (*fop.OpenReply, error) {
	fd, err := b.openList(r.GFID)
	if err != nil {
		return nil, err
	}
	in := b.inodes.get(r.GFID)
	defer b.inodes.put(in)
	b.touch(brickfs.Open(fd), in, &r.Time, r.Time.Flags&ownTimes)
	b.keep(r.Fd, fd, unix.O_RDONLY, in, true)
	return &fop.OpenReply{}, nil
}

// openList opens a directory for listing.
func (b *Brick) openList(g fop.GFID) (int, error) {
	if g.IsZero() {
		return -1, syscall.EINVAL
	}
	h, err := b.directory(g)
	if err == nil {
		defer h.put()
		var st unix.Stat_t
		if err = b.statDir(h, &st); err == nil {
			var fd int
			if fd, err = brickfs.Openat(h.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
				return fd, nil
			}
		}
	}
	if err == syscall.ENOENT || err == syscall.ELOOP {
		err = syscall.ESTALE
	}
	return -1, err
}

// flush checks that the descriptor is an open one; there is nothing to flush.
func (b *Brick) flush(g fop.GFID, fd *fop.Fd) (*fop.CommonReply, error) {
	if fd != nil {
		if _, err := b.fileOf(fd); err != nil {
			return nil, err
		}
	}
	return &fop.CommonReply{}, nil
}

func (b *Brick) release(fd *fop.Fd) (*fop.CommonReply, error) {
	if fd != nil {
		if f, ok := fd.Set(b, nil).(*file); ok {
			b.closeFile(f)
		}
	}
	return &fop.CommonReply{}, nil
}

// dropFd counts one open file less; with the last one goes what only open files
// kept alive.
func (b *Brick) dropFd(in *inode) (gone bool) {
	in.mu.Lock()
	in.fds--
	if gone = in.fds == 0 && in.unlinked; gone {
		in.unlinked, in.known, in.hasTimes = false, false, false
		b.at("release.unlinked")
		o := brickfs.At(b.meta, brickfs.Unlinked+"/"+in.gfid.String())
		b.attrs.Forget(o)
		unix.Unlinkat(o.Dir, o.Name, 0)
	}
	in.mu.Unlock()
	if gone {
		b.files.drop(in.gfid)
	}
	return gone
}

func (b *Brick) closeFile(f *file) {
	in := f.in
	if gone := b.dropFd(in); gone || f.flags&unix.O_ACCMODE != unix.O_RDONLY {
		b.closer.close(f.fd)
	} else {
		unix.Close(f.fd)
	}
	b.inodes.put(in)
}

func (b *Brick) fileOf(fd *fop.Fd) (*file, error) {
	f, ok := fd.Get(b).(*file)
	if !ok {
		return nil, syscall.EINVAL // never opened here
	}
	return f, nil
}

// use is a descriptor for the time of one fop.
type use struct {
	fd     int
	in     *inode
	append bool
	sync   bool
	direct bool
	h      *held
	close  bool
	hold   bool // in is to be put back
}

func (b *Brick) done(u *use) {
	u.h.put()
	if u.close {
		unix.Close(u.fd)
	}
	if u.hold {
		b.inodes.put(u.in)
	}
}

// use finds the descriptor of fd, or of the object g when fd is nil. flags are
// those of a reader or writer without an open file.
func (b *Brick) use(fd *fop.Fd, g fop.GFID, flags uint32, u *use) error {
	if fd != nil {
		f, err := b.fileOf(fd)
		if err != nil {
			return err
		}
		u.fd, u.in = f.fd, f.in
		u.append = f.flags&unix.O_APPEND != 0
		u.sync = f.flags&(unix.O_SYNC|unix.O_DSYNC) != 0
		u.direct = f.flags&unix.O_DIRECT != 0
		return nil
	}
	if g.IsZero() {
		return syscall.EINVAL
	}
	if flags&unix.O_DIRECT == 0 {
		if h := b.files.get(g); h != nil {
			u.fd, u.h, u.in, u.hold = h.fd, h, b.inodes.get(g), true
			return nil
		}
	}
	var p place
	if err := b.find(g, &p); err != nil {
		return err
	}
	defer b.leave(&p)
	if isDir(&p.st) {
		return syscall.EISDIR
	}
	if err := b.openable(&p); err != nil {
		return err
	}
	direct := int(flags) & unix.O_DIRECT
	k, err := brickfs.Openat(p.Dir, p.Name, unix.O_RDWR|unix.O_NOFOLLOW|direct, 0)
	if err == syscall.EROFS || err == syscall.ETXTBSY || err == syscall.EPERM {
		k, err = brickfs.Openat(p.Dir, p.Name, unix.O_RDONLY|unix.O_NOFOLLOW|direct, 0)
	}
	if err == syscall.ENOENT {
		err = syscall.ESTALE
	}
	if err != nil {
		return err
	}
	u.fd, u.in, u.hold, u.direct = k, b.inodes.get(g), true, direct != 0
	if p.st.Nlink < 2 || u.direct {
		u.close = true // without names, or of a special kind: not kept
	} else {
		u.h = b.files.add(g, k, nil)
		var st unix.Stat_t
		if unix.Fstat(k, &st) != nil || st.Nlink < 2 { // unlink was faster
			b.files.drop(g)
		}
	}
	return nil
}
