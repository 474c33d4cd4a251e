package robust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/brick/check"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
)

const nobody = 65534

// TestRootless runs servers and client as an ordinary user, from a directory of
// the user's own.
func TestRootless(t *testing.T) {
	testenv.NeedRoot(t) // to become somebody else
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := testenv.LoopFS(t, kind, 300) + "/home"
			must(t, os.Mkdir(dir, 0o755))
			must(t, os.Chown(dir, nobody, nobody))
			asNobody(t, dir, "all")
			sum, err := check.Run(t.Context(), dir+"/cluster/brick0", check.Options{Report: func(p check.Problem) { t.Errorf("brick: %v", p) }})
			must(t, err)
			if sum.Files < 50 {
				t.Errorf("the brick has %d files", sum.Files)
			}
			// Root serves it as what it is, with the same data.
			c, err := manage.Up(t.Context(), manage.UpOptions{Dir: dir + "/cluster", Listen: "127.0.0.1", Port: -1, Log: quiet})
			must(t, err)
			v := mount(t, c)
			if b, err := v.ReadFile("kept"); err != nil || string(b) != "as it was" {
				t.Errorf("as root: %q, %v", b, err)
			}
			must(t, v.WriteFile("by-root", []byte("x"), 0o644))
			must(t, v.Unmount())
			must(t, c.Close())
			var buf [16]byte
			if _, err := unix.Lgetxattr(dir+"/cluster/brick0/by-root", "trusted.gfid", buf[:]); !errors.Is(err, unix.ENODATA) {
				t.Errorf("a rootless brick has trusted.gfid: %v", err)
			}
		})
	}
}

// TestRootBrickAsUser: a brick made by root is refused to others.
func TestRootBrickAsUser(t *testing.T) {
	c := up(t, func(o *manage.UpOptions) { o.Dir = testenv.LoopFS(t, "ext4", 24) + "/cluster" })
	dir := filepath.Dir(c.Volume.Bricks[0].Path)
	v := mount(t, c)
	must(t, v.WriteFile("file", []byte("text"), 0o644))
	must(t, v.Unmount())
	must(t, c.Close())
	// Even if all of it belongs to the user now.
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, nobody, nobody)
		}
		return err
	}))
	asNobody(t, filepath.Dir(dir), "refused")
}

func asNobody(t testing.TB, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	// The test binary may lie where nobody cannot go.
	exe := filepath.Join(args[0], "robust.test")
	b, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(exe, b, 0o755))
	cmd := again(ctx, "rootless", args...)
	cmd.Path = exe
	cmd.Dir = args[0]
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as uid %d: %v\n%s", nobody, err, out)
	}
	must(t, os.Remove(exe))
}

// rootlessMain is the user's side of the tests above.
func rootlessMain(args []string) error {
	if os.Getuid() != nobody {
		return fmt.Errorf("uid %d", os.Getuid())
	}
	o := manage.UpOptions{Dir: args[0] + "/cluster", Listen: "127.0.0.1", Port: -1, Log: quiet}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if args[1] == "refused" {
		c, err := manage.Up(ctx, o)
		if err == nil {
			c.Close()
			return errors.New("a brick of root is served by an ordinary user")
		}
		if !errors.Is(err, syscall.EPERM) || !bytes.Contains([]byte(err.Error()), []byte("root")) {
			return fmt.Errorf("another error: %w", err)
		}
		return nil
	}
	for round := range 2 {
		if err := userSession(ctx, o, round); err != nil {
			return fmt.Errorf("session %d: %w", round, err)
		}
	}
	return nil
}

func userSession(ctx context.Context, o manage.UpOptions, round int) (err error) {
	c, err := manage.Up(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	// The default credentials: those of this process.
	v, err := gfapi.MountURL(ctx, c.URL(), gfapi.WithLogger(quiet))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Unmount()) }()
	if round == 0 {
		if err := v.WriteFile("kept", []byte("as it was"), 0o640); err != nil {
			return err
		}
		if err := makeTree(v); err != nil {
			return err
		}
	}
	return checkTree(v)
}

// makeTree makes objects of all kinds that an ordinary user can make.
func makeTree(v *gfapi.Volume) error {
	var errs []error
	do := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	for i := range 10 {
		dir := fmt.Sprintf("tree/d%d/sub", i)
		do("mkdir", v.MkdirAll(dir, 0o755))
		for k := range 5 {
			do("write", v.WriteFile(fmt.Sprintf("%s/f%d", dir, k), bytes.Repeat([]byte{byte(i)}, 1000*k), 0o644))
		}
	}
	do("read-only file", v.WriteFile("tree/readonly", []byte("r"), 0o444))
	do("no permissions", v.WriteFile("tree/none", []byte("n"), 0o000))
	do("chmod", v.Chmod("tree/none", 0o000))
	do("read-only directory", v.Mkdir("tree/rodir", 0o555))
	do("symlink", v.Symlink("kept", "tree/link"))
	do("xattr", v.Setxattr("kept", "user.note", []byte("a note"), 0))
	do("xattr of a read-only file", v.Setxattr("tree/d1", "user.note", []byte("dir"), 0))
	do("link", v.Link("kept", "tree/hard"))
	do("pipe", v.Mknod("tree/pipe", fs.ModeNamedPipe|0o600, 0, 0))
	do("times", v.Chtimes("kept", time.Unix(1e9, 5), time.Unix(1.1e9, 7)))
	do("rename", v.Rename("tree/d9", "tree/renamed"))
	do("rename over", v.Rename("tree/d8/sub/f1", "tree/d8/sub/f2"))
	do("remove", v.RemoveAll("tree/d7"))
	return errors.Join(errs...)
}

func checkTree(v *gfapi.Volume) error {
	var errs []error
	ok := func(good bool, format string, args ...any) {
		if !good {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	b, err := v.ReadFile("kept")
	ok(string(b) == "as it was", "kept: %q, %v", b, err)
	for i := range 7 {
		for k := range 5 {
			name := fmt.Sprintf("tree/d%d/sub/f%d", i, k)
			b, err := v.ReadFile(name)
			ok(err == nil && bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 1000*k)), "%s: %d bytes, %v", name, len(b), err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"kept": 0o640, "tree/readonly": 0o444, "tree/none": 0, "tree/rodir": fs.ModeDir | 0o555,
		"tree/link": fs.ModeSymlink | 0o777, "tree/pipe": fs.ModeNamedPipe | 0o600, "tree/renamed": fs.ModeDir | 0o755} {
		fi, err := v.Lstat(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ok(fi.Mode() == mode, "%s: mode %v, want %v", name, fi.Mode(), mode)
		if st := fi.Sys().(*gfapi.Stat); st.UID != nobody || st.GID != nobody {
			ok(false, "%s: owner %d:%d", name, st.UID, st.GID)
		}
	}
	target, err := v.Readlink("tree/link")
	ok(target == "kept", "link: %q, %v", target, err)
	note, err := v.Getxattr("kept", "user.note")
	ok(string(note) == "a note", "xattr: %q, %v", note, err)
	attrs, err := v.Listxattr("kept")
	ok(len(attrs) == 1, "xattrs: %q, %v", attrs, err)
	fi, err := v.Stat("tree/hard")
	ok(err == nil && fi.Sys().(*gfapi.Stat).Nlink == 2 && fi.ModTime().Equal(time.Unix(1.1e9, 7)), "hard: %+v, %v", fi, err)
	_, err = v.Stat("tree/d7")
	ok(errors.Is(err, fs.ErrNotExist), "removed: %v", err)
	_, err = v.ReadFile("tree/none")
	ok(errors.Is(err, fs.ErrPermission), "a file without permissions is read: %v", err)
	err = v.WriteFile("tree/rodir/new", nil, 0o644)
	ok(errors.Is(err, fs.ErrPermission), "a file in a read-only directory: %v", err)
	return errors.Join(errs...)
}
