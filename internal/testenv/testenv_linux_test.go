package testenv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

// leftovers lists mounts and loop devices of this test process.
func leftovers(t *testing.T, dirs ...string) []string {
	t.Helper()
	var found []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	loops := ""
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		loops += string(b)
	}
	for _, d := range dirs {
		if strings.Contains(string(mounts), d) {
			found = append(found, "mount "+d)
		}
		if strings.Contains(loops, d) {
			found = append(found, "loop device "+d)
		}
		if _, err := os.Lstat(d); err == nil {
			found = append(found, "directory "+d)
		}
	}
	return found
}

func TestLoopFS(t *testing.T) {
	var dirs []string
	for _, kind := range []string{"xfs", "ext4", "btrfs", "tmpfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := testenv.LoopFS(t, kind, 64)
			dirs = append(dirs, dir)
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			magic := map[string]int64{"xfs": unix.XFS_SUPER_MAGIC, "ext4": unix.EXT4_SUPER_MAGIC,
				"btrfs": unix.BTRFS_SUPER_MAGIC, "tmpfs": unix.TMPFS_MAGIC}
			if st.Type != magic[kind] {
				t.Errorf("file system of type %#x, want %#x", st.Type, magic[kind])
			}
			if size := st.Blocks * uint64(st.Bsize) >> 20; size > 400 {
				t.Errorf("%d MB large", size)
			}
			f := dir + "/file"
			if err := os.WriteFile(f, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := unix.Setxattr(f, "trusted.test", []byte("y"), 0); err != nil {
				t.Errorf("trusted xattr: %v", err)
			}
		})
	}
	if left := leftovers(t, dirs...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// More file systems at once than a machine has loop devices to begin with.
func TestManyLoopFS(t *testing.T) {
	var dirs []string
	t.Run("mounted", func(t *testing.T) {
		for range 12 {
			dirs = append(dirs, testenv.LoopFS(t, "ext4", 16))
		}
		for i, d := range dirs {
			if err := os.WriteFile(d+"/n", fmt.Append(nil, i), 0o644); err != nil {
				t.Error(err)
			}
		}
		for i, d := range dirs {
			if b, err := os.ReadFile(d + "/n"); string(b) != fmt.Sprint(i) {
				t.Errorf("%s/n: %q, %v", d, b, err)
			}
		}
	})
	if left := leftovers(t, dirs...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Two instances at once, each with a volume that the real client mounts; then
// nothing is left of either.
func TestGluster(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.Need(t, "glusterd", "mount.glusterfs", "mkfs.xfs")
	var mu sync.Mutex
	var dirs []string
	pids := map[int]string{}
	t.Run("instances", func(t *testing.T) {
		for i := range 2 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				begin := time.Now()
				g := testenv.Gluster(t)
				t.Logf("glusterd served after %v", time.Since(begin))
				fs := testenv.LoopFS(t, "xfs", 300) // mounted after the Node began
				brick := fs + "/brick"
				g.Volume(t, "data", brick)
				dir := g.Mount(t, "data", "acl")
				text := fmt.Sprintf("Winter is coming to %d.", i)
				if err := os.WriteFile(dir+"/file", []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(brick + "/file")
				if err != nil || string(got) != text {
					t.Errorf("on the brick: %q, %v", got, err)
				}
				gfid := make([]byte, 16)
				if n, err := unix.Getxattr(brick+"/file", "trusted.gfid", gfid); n != 16 || err != nil {
					t.Errorf("trusted.gfid: %d, %v", n, err)
				}
				c, err := g.Dial("tcp", g.Addr(g.BrickPort(t, "data", brick)))
				if err != nil {
					t.Fatalf("dial the brick: %v", err)
				}
				c.Close()
				pid := g.BrickPid(t, "data", brick)
				if link, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); filepath.Base(link) != "glusterfsd" {
					t.Errorf("process %d of the brick is %q", pid, link)
				}
				if !strings.Contains(g.Volfile(t, "data", "trusted-data.tcp-fuse.vol"), g.IP) {
					t.Error("volfile does not name the node's address")
				}
				g.KillBrick(t, "data", brick)
				if _, err := os.ReadFile(dir + "/file"); !errors.Is(err, syscall.ENOTCONN) {
					t.Errorf("read without the brick: %v, want ENOTCONN", err)
				}
				g.MustCLI(t, "volume", "start", "data", "force")
				g.WaitOnline(t, "data")
				testenv.Wait(t, 30*time.Second, "client reconnected", func() bool {
					got, err := os.ReadFile(dir + "/file")
					return err == nil && string(got) == text
				})
				mu.Lock()
				defer mu.Unlock()
				dirs = append(dirs, fs, g.Dir)
				for pid, cmd := range g.Processes() {
					pids[pid] = cmd
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	if len(pids) < 6 { // glusterd, brick and client of each
		t.Errorf("only saw the processes %v", pids)
	}
	for pid, cmd := range pids {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("process %d still runs: %s", pid, cmd)
		}
	}
	if left := leftovers(t, dirs...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if scratch := filepath.Dir(dirs[0]); len(leftovers(t, scratch)) > 0 {
		t.Errorf("left behind: %s", scratch)
	}
}

// What tests of our own brick need: another program in the place of glusterfsd,
// a restart of glusterd, a mount without it, a mount that fails with words.
func TestGlusterOddJobs(t *testing.T) {
	g := testenv.Gluster(t)
	brick := testenv.LoopFS(t, "tmpfs", 64) + "/brick"
	g.Create(t, "data", brick)
	g.Set(t, "data", "performance.write-behind", "off", "features.shard", "off")

	script := filepath.Join(g.Dir, "fake")
	seen := filepath.Join(g.Dir, "seen")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$@\" >"+seen+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	g.Bind(t, script, "/usr/sbin/glusterfsd")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := g.CLI(ctx, "volume", "start", "data"); err == nil {
		t.Error("volume started without a brick program")
	}
	if args, err := os.ReadFile(seen); !strings.Contains(string(args), "--brick-port") {
		t.Errorf("glusterd called ours with %q, %v", args, err)
	}
	g.MustRun(t, "umount", "/usr/sbin/glusterfsd")
	g.StartVolume(t, "data")
	port := g.BrickPort(t, "data", brick)

	if err := g.Daemon.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-g.Daemon.Done()
	dir := g.MountVolfile(t, fmt.Sprintf(`volume c
  type protocol/client
  option remote-host %s
  option remote-port %d
  option remote-subvolume %s
  option transport-type tcp
  option username %s
  option password %s
end-volume
`, g.IP, port, brick, g.Info(t, "data", "username"), g.Info(t, "data", "password")))
	if err := os.WriteFile(dir+"/f", nil, 0o644); err != nil {
		t.Errorf("create through the brick alone: %v", err)
	}
	g.Unmount(t, dir)
	g.StartDaemon(t)
	g.WaitOnline(t, "data")
	if !strings.Contains(g.Log("glusterd.log"), "glusterd") {
		t.Error("glusterd's log is not found")
	}
}

// Two peers on one network make a cluster.
func TestBeside(t *testing.T) {
	a := testenv.Gluster(t)
	b := testenv.Gluster(t, testenv.Beside(a.Node))
	a.MustCLI(t, "peer", "probe", b.IP)
	testenv.Wait(t, 30*time.Second, "peers connected", func() bool {
		out, err := b.CLI(context.Background(), "pool", "list")
		return err == nil && strings.Count(out, "Connected") == 2
	})
	tmp := testenv.LoopFS(t, "tmpfs", 64)
	for _, d := range []string{"/a", "/b"} {
		if err := os.Mkdir(tmp+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a.MustCLI(t, "volume", "create", "pair", "replica", "2", a.IP+":"+tmp+"/a", b.IP+":"+tmp+"/b", "force")
	a.StartVolume(t, "pair")
	dir := b.Mount(t, "pair")
	if err := os.WriteFile(dir+"/f", []byte("twice"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"/a/f", "/b/f"} {
		if got, err := os.ReadFile(tmp + d); string(got) != "twice" {
			t.Errorf("%s: %q, %v", d, got, err)
		}
	}
}

// The test process and a Node's programs reach each other's servers.
func TestNamespaceNetwork(t *testing.T) {
	testenv.Need(t, "bash")
	n := testenv.Namespace(t)
	l, err := n.Listen("tcp", n.Addr(0))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	c, err := n.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("ping"))
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "ping" || err != nil {
		t.Errorf("test to test: %q, %v", got, err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	out := n.MustRun(t, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d; echo pong >&3; head -n1 <&3", n.Host, port))
	if out != "pong\n" {
		t.Errorf("program to test: %q", out)
	}
	if c, err := net.DialTimeout("tcp", l.Addr().String(), 100*time.Millisecond); err == nil {
		c.Close()
		t.Error("the Node's address can be reached from the machine's own network")
	}
	if out := n.MustRun(t, "hostname"); out != n.Host+"\n" {
		t.Errorf("host name %q", out)
	}
	if host, _ := os.Hostname(); host == n.Host {
		t.Error("the machine's own host name changed")
	}
}

func TestProcess(t *testing.T) {
	n := testenv.Namespace(t)
	p := n.Start(t, "sleep", "1000")
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.Pid))
	own, _ := os.Readlink("/proc/self/ns/pid")
	if err != nil || link == own {
		t.Errorf("process namespace %q (own %q), %v", link, own, err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGTERM} {
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var exit *exec.ExitError
	if err := p.Wait(ctx); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want SIGTERM", err)
	}

	// A program that takes too long is gone when Run returns, children and all.
	short, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := n.Run(short, "sh", "-c", "sleep 1000; true"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run past its deadline: %v", err)
	}
	testenv.Wait(t, 5*time.Second, "all processes gone", func() bool { return len(n.Processes()) == 0 })

	_, err = n.Run(ctx, "sh", "-c", "echo words >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "words") {
		t.Errorf("error %v lacks what the program said", err)
	}
}

// A test process that is killed leaves nothing: this test runs itself a second
// time and kills that one in the middle.
func TestKilledTestLeavesNothing(t *testing.T) {
	if os.Getenv("TESTENV_VICTIM") != "" {
		n := testenv.Namespace(t)
		dir := testenv.LoopFS(t, "ext4", 16)
		p := n.Start(t, "sleep", "1000")
		n.Run(context.Background(), "sh", "-c", "cd "+dir+"; setsid sleep 1000 & true")
		fmt.Printf("VICTIM %s %d %d\n", filepath.Dir(dir), p.Pid, n.Pid)
		select {}
	}
	testenv.NeedRoot(t)
	testenv.Need(t, "mkfs.ext4", "nsenter", "ip")
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledTestLeavesNothing$", "-test.v")
	cmd.Env = append(os.Environ(), "TESTENV_VICTIM=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var seen bytes.Buffer
	var dir string
	var pid, first int
	buf := make([]byte, 4096)
	for first == 0 {
		n, err := out.Read(buf)
		seen.Write(buf[:n])
		if _, line, ok := strings.Cut(seen.String(), "VICTIM "); ok && strings.Contains(line, "\n") {
			fmt.Sscan(line, &dir, &pid, &first)
			break
		}
		if err != nil {
			t.Fatalf("victim: %v\n%s", err, seen.String())
		}
	}
	if len(leftovers(t, dir)) < 2 {
		t.Fatalf("victim has no mount or directory %s\n%s", dir, seen.String())
	}
	cmd.Process.Kill()
	testenv.Wait(t, 10*time.Second, "all of the killed test gone", func() bool {
		return syscall.Kill(pid, 0) != nil && syscall.Kill(first, 0) != nil && len(leftovers(t, dir)) == 0
	})
}

func TestNeed(t *testing.T) {
	for _, all := range []string{"", "1"} {
		t.Setenv("WYTHE_TEST_ALL", all)
		f := &fake{TB: t}
		func() {
			defer func() { recover() }()
			testenv.Need(f, "sh", "no-such-program")
		}()
		if f.failed != (all == "1") || f.skipped == f.failed || !strings.Contains(f.words, "no-such-program") {
			t.Errorf("WYTHE_TEST_ALL=%q: failed %v, skipped %v: %s", all, f.failed, f.skipped, f.words)
		}
	}
	testenv.Need(t, "sh") // there: goes on
}

// fake notes how a helper ended its test.
type fake struct {
	testing.TB
	failed, skipped bool
	words           string
}

func (f *fake) Helper() {}
func (f *fake) Fatalf(format string, args ...any) {
	f.failed, f.words = true, fmt.Sprintf(format, args...)
	panic("end")
}
func (f *fake) Skipf(format string, args ...any) {
	f.skipped, f.words = true, fmt.Sprintf(format, args...)
	panic("end")
}
