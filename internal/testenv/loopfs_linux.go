package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How each kind of file system is made. The tools refuse or misbehave below
// the minimum size (in MB).
var fsKinds = map[string]struct {
	mkfs  []string
	min   int
	flags string
}{
	"xfs":   {mkfs: []string{"mkfs.xfs", "-q", "-K", "-i", "size=512"}, min: 300},
	"ext4":  {mkfs: []string{"mkfs.ext4", "-q", "-F", "-I", "512", "-E", "nodiscard,lazy_itable_init=1"}, min: 16},
	"btrfs": {mkfs: []string{"mkfs.btrfs", "-q", "-K"}, min: 128},
	"tmpfs": {min: 1},
}

// LoopFS mounts a fresh file system of the kind "xfs", "ext4", "btrfs" or
// "tmpfs" and returns the directory, the same inside of every [Node]. A size
// below the least that mkfs takes (300 MB for xfs, 128 for btrfs) is raised to
// it; the image is sparse. The mount and its loop device are gone when the
// test ends.
func LoopFS(t testing.TB, kind string, sizeMB int) string {
	t.Helper()
	k, ok := fsKinds[kind]
	if !ok {
		t.Fatalf("testenv.LoopFS: unknown kind of file system %q", kind)
	}
	NeedRoot(t)
	if k.mkfs != nil {
		Need(t, k.mkfs[0])
	}
	sizeMB = max(sizeMB, k.min)
	dir := enter(t, kind+"-")
	if kind == "tmpfs" {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", sizeMB)); err != nil {
			t.Fatalf("testenv: mount tmpfs: %v", err)
		}
		t.Cleanup(func() { unmount(t, dir) })
		return dir
	}
	image := dir + ".img"
	if err := makeImage(image, k.mkfs, int64(sizeMB)<<20); err != nil {
		os.Remove(image)
		t.Fatalf("testenv: %v", err)
	}
	dev, err := mountImage(image, dir, kind)
	os.Remove(image) // the loop device holds on to the file itself
	if errors.Is(err, unix.ENODEV) {
		Missing(t, "the kernel has no %s", kind)
	}
	if err != nil {
		t.Fatalf("testenv: mount %s: %v", kind, err)
	}
	noteLoop(dev)
	t.Cleanup(func() {
		// While a Node still runs on it the file system ends only with the
		// Node; the last one to leave the scratch directory waits for it.
		if unmount(t, dir) && waitDetached(dev, filepath.Dir(dir), time.Second) == nil {
			forgetLoop(dev)
		}
	})
	return dir
}

func makeImage(image string, mkfs []string, size int64) error {
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(size), f.Close())
	if err != nil {
		return err
	}
	prog, err := Program(mkfs[0])
	if err != nil {
		return err
	}
	out, err := exec.Command(prog, append(mkfs[1:len(mkfs):len(mkfs)], image)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", mkfs[0], err, out)
	}
	return nil
}

// mountImage attaches the image to a loop device that detaches by itself when
// its last user is gone, and mounts that.
func mountImage(image, dir, kind string) (dev string, err error) {
	img, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer img.Close()
	loop, err := attachLoop(img)
	if err != nil {
		return "", err
	}
	defer loop.Close() // not before the mount holds the device
	return loop.Name(), unix.Mount(loop.Name(), dir, kind, 0, "")
}

func attachLoop(img *os.File) (*os.File, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	conf := unix.LoopConfig{Fd: uint32(img.Fd())}
	conf.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	copy(conf.Info.File_name[:], filepath.Base(img.Name()))
	for range 100 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("LOOP_CTL_GET_FREE: %w", err)
		}
		name := fmt.Sprintf("/dev/loop%d", n)
		loop, err := openLoop(name, n)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &conf)
		if err == nil {
			return loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else was faster: next
			return nil, fmt.Errorf("LOOP_CONFIGURE %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("no free loop device: %w", unix.EBUSY)
}

// openLoop opens loop device n and makes its node where /dev has none, as in
// containers.
func openLoop(name string, n int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	const loopMajor = 7
	err = unix.Mknod(name, unix.S_IFBLK|0o660, int(unix.Mkdev(loopMajor, uint32(n))))
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("mknod %s: %w", name, err)
	}
	return os.OpenFile(name, os.O_RDWR, 0)
}

// unmount takes dir out of the tree in any case, and reports whether nobody
// used it any more.
func unmount(t testing.TB, dir string) bool {
	err := unix.Unmount(dir, 0)
	if errors.Is(err, unix.EBUSY) {
		if err = unix.Unmount(dir, unix.MNT_DETACH); err == nil {
			return false
		}
	}
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: the test did it itself
		t.Errorf("testenv: unmount %s: %v", dir, err)
	}
	return true
}
