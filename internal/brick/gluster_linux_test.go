package brick

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

// isOurs tells whether a process runs this test binary.
func isOurs(pid int) bool {
	self, _ := os.Executable()
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return exe == self
}

// TestUnderGlusterd runs a volume of the real glusterd on our brick, mounted by
// the real client.
func TestUnderGlusterd(t *testing.T) {
	testenv.NeedRoot(t)
	g := testenv.Gluster(t)
	g.TakePlace(t, asProcess+"=1", "")
	brick := testenv.LoopFS(t, "xfs", 300) + "/brick"
	g.Create(t, "data", brick)
	g.StartVolume(t, "data")
	bricks, err := g.Bricks("data")
	if err != nil || len(bricks) != 1 || !bricks[0].Online || !isOurs(bricks[0].Pid) {
		t.Fatalf("bricks: %+v, %v", bricks, err)
	}
	pid := bricks[0].Pid

	dir := g.Mount(t, "data")
	useMount(t, dir)

	for _, what := range []string{"clients", "fd", "inode", "callpool", "mem", "detail", "client-list"} {
		out := g.MustCLI(t, "volume", "status", "data", what)
		if !strings.Contains(out, "data") || strings.Contains(out, "offline") {
			t.Errorf("volume status %s: %s", what, out)
		}
	}
	if out := g.MustCLI(t, "volume", "status", "data", "clients"); !strings.Contains(out, "Clients connected : 1") {
		t.Errorf("clients: %s", out)
	}
	g.MustCLI(t, "volume", "profile", "data", "start")
	testenv.Wait(t, 10*time.Second, "latencies in the profile", func() bool {
		os.WriteFile(filepath.Join(dir, "profiled"), make([]byte, 4096), 0o644)
		out := g.MustCLI(t, "volume", "profile", "data", "info")
		for _, line := range strings.Split(out, "\n") {
			if f := strings.Fields(line); len(f) == 9 && f[8] == "WRITE" && f[1] != "0.00" {
				return strings.Contains(out, "Cumulative Stats:") && strings.Contains(out, "4096b+")
			}
		}
		return false
	})
	if out, err := g.CLI(t.Context(), "volume", "top", "data", "open"); err == nil || !strings.Contains(err.Error(), "keeps no statistics by file") {
		t.Errorf("volume top: %s, %v", out, err)
	}
	g.MustCLI(t, "volume", "barrier", "data", "enable")
	g.MustCLI(t, "volume", "barrier", "data", "disable")

	// A subdirectory is the root of its own mount.
	if err := os.MkdirAll(filepath.Join(dir, "sub", "inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	sub := g.Mount(t, "data/sub")
	if err := os.WriteFile(filepath.Join(sub, "inner", "file"), []byte("sub"), 0o644); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "sub", "inner", "file")); string(b) != "sub" {
		t.Errorf("through the whole volume: %q, %v", b, err)
	}
	if list, err := os.ReadDir(sub); err != nil || len(list) != 1 {
		t.Errorf("the subdirectory has %v, %v", list, err)
	}
	g.Unmount(t, sub)
	g.MustCLI(t, "volume", "statedump", "data")
	testenv.Wait(t, 10*time.Second, "statedump", func() bool {
		dumps, _ := filepath.Glob(filepath.Join(g.Dir, "run", "gluster", "*.dump.*"))
		for _, d := range dumps {
			if b, _ := os.ReadFile(d); bytes.HasPrefix(b, []byte("DUMP-START-TIME")) && bytes.Contains(b, []byte("DUMP-END-TIME")) {
				return true
			}
		}
		return false
	})

	// Options reach a running brick.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	g.Set(t, "data", "server.root-squash", "on")
	testenv.Wait(t, 20*time.Second, "root squash", func() bool {
		f := filepath.Join(dir, "squashed")
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		err := unix.Stat(f, &st)
		os.Remove(f)
		return err == nil && st.Uid == 65534 && st.Gid == 65534
	})
	g.Set(t, "data", "server.root-squash", "off")

	// glusterd comes back and finds the brick again.
	g.Daemon.Kill()
	<-g.Daemon.Done()
	g.StartDaemon(t)
	g.WaitOnline(t, "data")
	if got := g.BrickPid(t, "data", brick); got != pid {
		t.Errorf("another brick process after the restart of glusterd: %d, was %d", got, pid)
	}
	if err := os.WriteFile(filepath.Join(dir, "after"), []byte("restart"), 0o644); err != nil {
		t.Error(err)
	}

	// A brick that was killed comes back by force.
	g.KillBrick(t, "data", brick)
	g.MustCLI(t, "volume", "start", "data", "force")
	g.WaitOnline(t, "data")
	testenv.Wait(t, 30*time.Second, "the mount works again", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "after"))
		return err == nil && string(b) == "restart"
	})

	pid = g.BrickPid(t, "data", brick)
	g.Unmount(t, dir)
	g.MustCLI(t, "volume", "stop", "data")
	testenv.Wait(t, 20*time.Second, "brick process gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	if log := g.Log("bricks"); !strings.Contains(log, "brick process ended") {
		t.Errorf("no clean end in the log:\n%s", log)
	}
}

// useMount does on a mount what applications do.
func useMount(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	must(os.WriteFile(filepath.Join(dir, "big"), big, 0o640))
	got, err := os.ReadFile(filepath.Join(dir, "big"))
	must(err)
	if !bytes.Equal(got, big) {
		t.Errorf("read %d bytes, not what was written", len(got))
	}
	must(os.Mkdir(filepath.Join(dir, "d"), 0o755))
	for i := range 100 {
		must(os.WriteFile(filepath.Join(dir, "d", fmt.Sprintf("f%d", i)), []byte{byte(i)}, 0o644))
	}
	list, err := os.ReadDir(filepath.Join(dir, "d"))
	must(err)
	if len(list) != 100 {
		t.Errorf("%d entries", len(list))
	}
	must(os.Rename(filepath.Join(dir, "d", "f0"), filepath.Join(dir, "d", "g0")))
	must(os.Symlink("g0", filepath.Join(dir, "d", "l")))
	must(os.Link(filepath.Join(dir, "d", "g0"), filepath.Join(dir, "d", "h")))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(unix.Setxattr(filepath.Join(dir, "d"), "user.k", []byte("v"), 0))
	buf := make([]byte, 10)
	n, err := unix.Getxattr(filepath.Join(dir, "d"), "user.k", buf)
	must(err)
	if string(buf[:n]) != "v" {
		t.Errorf("xattr %q", buf[:n])
	}
	f, err := os.OpenFile(filepath.Join(dir, "big"), os.O_RDWR, 0)
	must(err)
	defer f.Close()
	must(unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 10}))
	// On the wire flock(2) is a posix lock of the whole file.
	if exec.Command("flock", "-n", filepath.Join(dir, "big"), "true").Run() == nil {
		t.Error("flock beside a posix lock was granted")
	}
	must(unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Len: 10}))
	must(exec.Command("flock", "-n", filepath.Join(dir, "big"), "true").Run())
	// A file that was removed lives on as long as it is open.
	must(os.Remove(filepath.Join(dir, "big")))
	if _, err := f.WriteAt([]byte("still there"), 5); err != nil {
		t.Error(err)
	}
	at := make([]byte, 11)
	if _, err := f.ReadAt(at, 5); err != nil || string(at) != "still there" {
		t.Errorf("%q, %v", at, err)
	}
	must(f.Truncate(3))
	must(f.Sync())
	for _, name := range []string{"l", "h", "g0"} {
		must(os.Remove(filepath.Join(dir, "d", name)))
	}
	must(os.RemoveAll(filepath.Join(dir, "d")))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "df", dir).CombinedOutput(); err != nil {
		t.Errorf("df: %v %s", err, out)
	}
}

// TestReplicaUnderGlusterd kills one of three bricks of ours under writes and
// lets the real self-heal daemon repair it.
func TestReplicaUnderGlusterd(t *testing.T) {
	testenv.NeedRoot(t)
	g := testenv.Gluster(t)
	g.TakePlace(t, asProcess+"=1", "")
	base := testenv.LoopFS(t, "xfs", 300)
	g.Volume(t, "rep", "replica", "3", base+"/a", base+"/b", base+"/c")
	dir := g.Mount(t, "rep")
	useMount(t, dir)
	g.KillBrick(t, "rep", base+"/b")
	data := bytes.Repeat([]byte("heal me "), 20000)
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g.MustCLI(t, "volume", "start", "rep", "force")
	g.WaitOnline(t, "rep")
	testenv.Wait(t, 60*time.Second, "self-heal", func() bool {
		g.CLI(t.Context(), "volume", "heal", "rep")
		out, err := g.CLI(t.Context(), "volume", "heal", "rep", "info")
		return err == nil && strings.Count(out, "Number of entries: 0") == 3
	})
	for i := range 20 {
		name := fmt.Sprint("f", i)
		if b, err := os.ReadFile(filepath.Join(base, "b", name)); err != nil || !bytes.Equal(b, data) {
			t.Errorf("%s on the healed brick: %d bytes, %v", name, len(b), err)
		}
	}
	g.Unmount(t, dir)
	g.MustCLI(t, "volume", "stop", "rep")
}
