//go:build linux

package posix

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// open checks the brick's directory and completes its layout.
func (b *Brick) open(o xlator.Options) (err error) {
	if b.dir == "" {
		return fmt.Errorf("translator %s: option directory is missing: %w", b.name, syscall.EINVAL)
	}
	if id, ok := o["volume-id"]; ok {
		if b.volume, err = fop.ParseGFID(id); err != nil {
			return fmt.Errorf("brick %s: option volume-id: %w", b.dir, err)
		}
	}
	root, st, err := openBrickDir(b.dir)
	if err != nil {
		return err
	}
	b.root = &held{fd: root, gfid: fop.RootGFID, dev: uint64(st.Dev), ino: st.Ino}
	b.meta = -1
	first := false
	if b.lock, first, err = lockBrick(b.dir, root, &st); err == nil {
		err = b.prepare(o.Bool("wythe-rootless", false), first)
	}
	if err != nil {
		if b.meta >= 0 {
			unix.Close(b.meta)
		}
		unix.Close(root)
		b.lock.release()
	}
	return err
}

func openBrickDir(dir string) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := brickfs.Openat(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	switch err {
	case nil:
	case syscall.ENOENT:
		return -1, st, fmt.Errorf("brick %s does not exist; is its file system mounted? %w", dir, err)
	case syscall.ENOTDIR:
		return -1, st, fmt.Errorf("brick %s is not a directory: %w", dir, err)
	default:
		return -1, st, fmt.Errorf("open brick %s: %w", dir, err)
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, st, fmt.Errorf("stat brick %s: %w", dir, err)
	}
	return fd, st, nil
}

// kind finds out whether the open directory is, or has to become, a brick of
// the rootless kind.
func kind(dir string, root int, wanted bool) (rootless bool, err error) {
	here := brickfs.Open(root)
	var buf [64]byte
	asRoot := brickfs.NewAttrs(false, -1)
	_, err = asRoot.Get(here, brickfs.Marker, buf[:])
	switch {
	case err == nil:
		return true, nil
	case err == syscall.EOPNOTSUPP && wanted:
		return false, noXattrs(dir, "user", err)
	}
	_, e1 := asRoot.Get(here, fop.XattrGFID, buf[:])
	_, e2 := asRoot.Get(here, fop.KeyVolumeID, buf[:])
	if e1 == syscall.EOPNOTSUPP {
		return false, noXattrs(dir, "trusted", e1)
	}
	if e1 == nil || e2 == nil {
		if wanted {
			return false, fmt.Errorf("brick %s was made with root's privileges (it carries trusted.* attributes) and cannot be served as a rootless one; drop the option wythe-rootless or take another directory: %w", dir, syscall.EINVAL)
		}
	}
	err = asRoot.Set(here, "trusted.glusterfs.test", []byte("working\x00"), 0)
	if err == nil {
		asRoot.Remove(here, "trusted.glusterfs.test")
		return wanted, nil
	}
	if err != syscall.EPERM {
		return false, explain(dir, "trusted", err)
	}
	var st unix.Stat_t
	if unix.Fstatat(root, brickfs.Meta, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return false, fmt.Errorf("brick %s was made with root's privileges (it has a %s but no mark of a rootless brick) and can only be served by root: %w", dir, brickfs.Meta, syscall.EPERM)
	}
	return true, nil
}

func noXattrs(dir, space string, err error) error {
	return fmt.Errorf("brick %s: its file system has no %s.* extended attributes; use XFS, ext4 or btrfs, mounted with them: %w", dir, space, err)
}

func explain(dir, space string, err error) error {
	switch err {
	case syscall.EOPNOTSUPP:
		return noXattrs(dir, space, err)
	case syscall.EROFS:
		return fmt.Errorf("brick %s: its file system is mounted read-only; check it and mount it read-write: %w", dir, err)
	case syscall.EACCES, syscall.EPERM:
		return fmt.Errorf("brick %s: not allowed to write there; the directory must belong to the user of this process: %w", dir, err)
	}
	return fmt.Errorf("brick %s: set extended attribute: %w", dir, err)
}

// prepare checks identity and completes the layout. first means that no other
// brick of this process has the directory open.
func (b *Brick) prepare(wanted, first bool) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(b.root.fd, &fs); err != nil {
		return fmt.Errorf("brick %s: statfs: %w", b.dir, err)
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return explain(b.dir, "", syscall.EROFS)
	}
	rootless, err := kind(b.dir, b.root.fd, wanted)
	if err != nil {
		return err
	}
	b.attrs = brickfs.NewAttrs(rootless, -1)
	here := brickfs.Open(b.root.fd)
	if err := b.checkIdentity(here); err != nil {
		return err
	}
	if rootless {
		if err := brickfs.NewAttrs(false, -1).Set(here, brickfs.Marker, []byte("1"), 0); err != nil {
			return explain(b.dir, "user", err)
		}
	}
	if err := mkdirAt(b.root.fd, brickfs.Meta, 0o700); err != nil {
		return fmt.Errorf("brick %s: make %s: %w", b.dir, brickfs.Meta, err)
	}
	if b.meta, err = brickfs.Openat(b.root.fd, brickfs.Meta, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
		return fmt.Errorf("brick %s: open %s: %w", b.dir, brickfs.Meta, err)
	}
	if err := unix.Fstat(b.meta, &b.metaStat); err != nil {
		return err
	}
	b.attrs = brickfs.NewAttrs(rootless, b.meta)
	if err := b.layout(first); err != nil {
		return fmt.Errorf("brick %s: %w", b.dir, err)
	}
	return b.chownRoot(b.opt.Load())
}

func (b *Brick) checkIdentity(here brickfs.Obj) error {
	if !b.volume.IsZero() {
		id, err := b.attrs.Value(here, fop.KeyVolumeID)
		switch {
		case err == syscall.ENODATA:
			return fmt.Errorf("brick %s does not belong to a volume (no %s); is its file system mounted? If the directory is right, it has to be prepared as a brick of volume %v first: %w", b.dir, fop.KeyVolumeID, b.volume, err)
		case err != nil:
			return fmt.Errorf("brick %s: read %s: %w", b.dir, fop.KeyVolumeID, err)
		case len(id) != 16 || fop.GFID(id) != b.volume:
			return fmt.Errorf("brick %s belongs to another volume: its %s is %x, expected was %v; take the directory of the right volume: %w", b.dir, fop.KeyVolumeID, id, b.volume, syscall.EINVAL)
		}
	}
	id, err := b.attrs.Value(here, fop.XattrGFID)
	switch {
	case err == syscall.ENODATA:
		if err := b.attrs.Set(here, fop.XattrGFID, fop.RootGFID[:], unix.XATTR_CREATE); err != nil {
			return explain(b.dir, "trusted", err)
		}
	case err != nil:
		return fmt.Errorf("brick %s: read %s: %w", b.dir, fop.XattrGFID, err)
	case len(id) != 16 || fop.GFID(id) != fop.RootGFID:
		return fmt.Errorf("brick %s is not the root of a brick: its %s is %x; it lies inside another brick or was one of its directories, take another directory: %w", b.dir, fop.XattrGFID, id, syscall.EINVAL)
	}
	return nil
}

func mkdirAt(dir int, name string, mode uint32) error {
	err := unix.Mkdirat(dir, name, mode)
	if err == syscall.EEXIST {
		var st unix.Stat_t
		if err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			err = syscall.ENOTDIR
		}
		return err
	}
	if err == nil {
		unix.Fchmodat(dir, name, mode, 0) // whatever our umask is
	}
	return err
}

// layout completes what is below .glusterfs.
func (b *Brick) layout(first bool) error {
	private := uint32(0o600)
	if b.attrs.Rootless() {
		private = 0o700
	}
	for i := range 256 {
		if err := mkdirAt(b.meta, fmt.Sprintf("%02x", i), 0o700); err != nil {
			return fmt.Errorf("make %s/%02x: %w", brickfs.Meta, i, err)
		}
	}
	if err := b.rootHandle(); err != nil {
		return err
	}
	if err := mkdirAt(b.meta, brickfs.Landfill, 0o755); err != nil {
		return fmt.Errorf("make %s/%s: %w", brickfs.Meta, brickfs.Landfill, err)
	}
	b.migrateLandfill()
	err := unix.Mkdirat(b.meta, brickfs.Unlinked, private)
	if err != nil && err != syscall.EEXIST {
		return fmt.Errorf("make %s/%s: %w", brickfs.Meta, brickfs.Unlinked, err)
	}
	if err == syscall.EEXIST && first {
		b.wipeUnlinked()
	}
	return nil
}

func (b *Brick) rootHandle() error {
	name := brickfs.Handle(fop.RootGFID)
	if err := mkdirAt(b.meta, name[:5], 0o700); err != nil {
		return fmt.Errorf("make %s/%s: %w", brickfs.Meta, name[:5], err)
	}
	if err := unix.Symlinkat(brickfs.RootTarget, b.meta, name); err == nil {
		return nil
	} else if err != syscall.EEXIST {
		return fmt.Errorf("make handle of the root: %w", err)
	}
	var st unix.Stat_t
	err := unix.Fstatat(b.meta, name, &st, 0)
	if err != nil || uint64(st.Dev) != b.root.dev || st.Ino != b.root.ino {
		return fmt.Errorf("%s/%s, the handle of the root, does not lead to the brick; was the directory copied without its links? Remove that file to have it made again: %w", brickfs.Meta, name, syscall.EINVAL)
	}
	return nil
}

// migrateLandfill moves the landfill of very old servers to where it is now.
func (b *Brick) migrateLandfill() {
	const old = ".landfill"
	var st unix.Stat_t
	if unix.Fstatat(b.root.fd, old, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	if _, err := b.attrs.Value(brickfs.At(b.root.fd, old), fop.XattrGFID); err == syscall.ENODATA {
		unix.Renameat(b.root.fd, old, b.meta, brickfs.Landfill+"/"+fop.NewGFID().String())
	}
}

// wipeUnlinked removes the files that were still open when the server ended.
func (b *Brick) wipeUnlinked() {
	dir, err := brickfs.Openat(b.meta, brickfs.Unlinked, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(dir), brickfs.Unlinked)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, n := range names {
			b.attrs.Forget(brickfs.At(dir, n))
			if unix.Unlinkat(dir, n, 0) == syscall.EISDIR {
				b.log.Warn("a directory does not belong there", "brick", b.dir, "name", brickfs.Meta+"/"+brickfs.Unlinked+"/"+n)
			}
		}
		if err != nil {
			return
		}
	}
}

func (b *Brick) chownRoot(o *settings) error {
	if o.uid < 0 && o.gid < 0 {
		return nil
	}
	if err := b.setOwner(brickfs.Open(b.root.fd), o.uid, o.gid); err != nil {
		return fmt.Errorf("brick %s: change its owner to %d:%d: %w", b.dir, o.uid, o.gid, err)
	}
	return nil
}

// brickLock keeps two processes from serving one brick; within a process the
// graph that replaces another one opens the brick before the old is closed.
type brickLock struct {
	id   [2]uint64
	fd   int
	uses int
}

var (
	locksMu sync.Mutex
	locks   = map[[2]uint64]*brickLock{}
)

func lockBrick(dir string, root int, st *unix.Stat_t) (l *brickLock, first bool, err error) {
	locksMu.Lock()
	defer locksMu.Unlock()
	id := [2]uint64{uint64(st.Dev), st.Ino}
	if l = locks[id]; l != nil {
		l.uses++
		return l, false, nil
	}
	fd, err := brickfs.Openat(root, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, false, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		unix.Close(fd)
		return nil, false, fmt.Errorf("brick %s is being served by another process; end that one first: %w", dir, syscall.EBUSY)
	}
	l = &brickLock{id: id, fd: fd, uses: 1}
	locks[id] = l
	return l, true, nil
}

func (l *brickLock) release() {
	if l == nil {
		return
	}
	locksMu.Lock()
	defer locksMu.Unlock()
	if l.uses--; l.uses == 0 {
		unix.Close(l.fd)
		delete(locks, l.id)
	}
}

// CreateOptions says how Create makes a brick.
type CreateOptions struct {
	Rootless bool // even if trusted.* attributes could be set
	Force    bool // take over a directory that belonged to another volume
}

// Create makes dir, which need not exist, a brick of a volume. A directory that
// already is one of that volume stays as it is; one that belongs to another
// volume, or lies inside a brick, is refused with EBUSY.
func Create(dir string, volume fop.GFID, o CreateOptions) error {
	if volume.IsZero() {
		return fmt.Errorf("make brick %s: the volume has no id: %w", dir, syscall.EINVAL)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("make brick %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make brick %s: %w", dir, err)
	}
	root, _, err := openBrickDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	rootless, err := kind(dir, root, o.Rootless)
	if err != nil {
		return err
	}
	attrs := brickfs.NewAttrs(rootless, -1)
	here := brickfs.Open(root)
	id, err := attrs.Value(here, fop.KeyVolumeID)
	if err == nil && len(id) == 16 && fop.GFID(id) == volume {
		return nil
	}
	if !o.Force {
		if err := refuseBrick(dir, volume); err != nil {
			return err
		}
	}
	if rootless {
		if err := brickfs.NewAttrs(false, -1).Set(here, brickfs.Marker, []byte("1"), 0); err != nil {
			return explain(dir, "user", err)
		}
	}
	flags := unix.XATTR_CREATE
	if o.Force {
		flags = 0
	}
	if err := attrs.Set(here, fop.KeyVolumeID, volume[:], flags); err != nil {
		return explain(dir, "trusted", err)
	}
	mode := uint32(0o600)
	if rootless {
		mode = 0o700
	}
	if err := mkdirAt(root, brickfs.Meta, mode); err != nil {
		return fmt.Errorf("make brick %s: make %s: %w", dir, brickfs.Meta, err)
	}
	return nil
}

// refuseBrick reports that dir or a directory above it is part of a volume.
func refuseBrick(dir string, volume fop.GFID) error {
	for at := dir; ; at = filepath.Dir(at) {
		for _, key := range []string{fop.KeyVolumeID, fop.XattrGFID, "user.wythe." + fop.KeyVolumeID, "user.wythe." + fop.XattrGFID} {
			buf := make([]byte, 256)
			n, err := unix.Lgetxattr(at, key, buf)
			if err != nil {
				continue
			}
			what := fmt.Sprintf("%s is already part of a volume: it carries %s = %x", at, key, buf[:n])
			if at != dir {
				what = fmt.Sprintf("%s lies inside of a brick: %s carries %s = %x", dir, at, key, buf[:n])
			}
			return fmt.Errorf("make brick of volume %v: %s; take another directory, or remove that attribute and %s if its data is no longer needed: %w", volume, what, brickfs.Meta, syscall.EBUSY)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}
