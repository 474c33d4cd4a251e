package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Node is a machine within the machine: namespaces of its own for mounts,
// processes, network, host name and IPC. See the package comment.
type Node struct {
	Host string // host name, which resolves to IP inside of the Node
	IP   string // its address, on the loopback device; IP/24 is local as a whole
	Dir  string // scratch space; run, lib and log in it are the Node's own
	Pid  int    // first process, as the test's process namespace counts

	t      testing.TB
	init   *exec.Cmd
	alive  *os.File // the Node ends when this closes
	netns  *os.File
	serial atomic.Int32
	closed atomic.Bool
}

// Option changes what Namespace or Gluster start.
type Option func(*config)

type config struct {
	beside *Node
}

// Beside puts the new Node on the network of another, with an address of its
// own there. The other must outlive it.
func Beside(other *Node) Option { return func(c *config) { c.beside = other } }

// The first process of a Node. It sets the stage, says so, and then only waits
// for its standard input to close. It ignores SIGCHLD so that the kernel buries
// the daemons that it inherits; glusterd takes a zombie for a running brick.
const initScript = `set -eu
dir=$1 host=$2 ip=$3
mount --make-rslave /
mount -t proc proc /proc
for pair in run:/run lib:/var/lib/glusterd log:/var/log/glusterfs; do
	if [ -d "${pair#*:}" ]; then mount --bind "$dir/${pair%%:*}" "${pair#*:}"; fi
done
mount --bind "$dir/hosts" /etc/hosts
for gsyncd in /usr/lib/*/glusterfs/gsyncd /usr/libexec/glusterfs/gsyncd; do
	if [ -e "$gsyncd" ]; then mount --bind "$dir/gsyncd" "$gsyncd"; fi
done
echo "$host" >/proc/sys/kernel/hostname
ip link set lo up
ip addr add "$ip/24" dev lo
echo ready
exec env --ignore-signal=CHLD cat >/dev/null`

var nodeSerial atomic.Int32

// Namespace starts a Node with nothing running in it, for servers of ours and
// real clients. It ends with the test.
func Namespace(t testing.TB, opts ...Option) *Node {
	t.Helper()
	NeedRoot(t)
	Need(t, "ip", "nsenter", "mount", "umount")
	var c config
	for _, o := range opts {
		o(&c)
	}
	serial := int(nodeSerial.Add(1))
	n := &Node{
		Host: fmt.Sprintf("node%d-%d", serial, os.Getpid()),
		IP:   fmt.Sprintf("10.71.%d.%d", serial%250+1, serial/250+1),
		Dir:  enter(t, "node-"),
		t:    t,
	}
	if err := n.furnish(); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() { unmount(t, n.Dir) })
	start := n.start
	if c.beside != nil {
		start = func(flags uintptr) error {
			return c.beside.Do(func() error { return n.start(flags &^ unix.CLONE_NEWNET) })
		}
	}
	err := start(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC)
	if err != nil {
		t.Fatalf("testenv: start of a namespace: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			n.Dump()
		}
		n.Close()
	})
	return n
}

// furnish fills Node.Dir.
func (n *Node) furnish() error {
	if err := unix.Mount("tmpfs", n.Dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, d := range []string{"run/gluster", "run/lock", "lib", "log/bricks", "mnt", "out"} {
		if err := os.MkdirAll(filepath.Join(n.Dir, d), 0o755); err != nil {
			return err
		}
	}
	// glusterd runs the program of geo-replication, in Python, some twenty times
	// when it starts. Nobody here replicates to another continent.
	if err := os.WriteFile(filepath.Join(n.Dir, "gsyncd"), []byte("#!/bin/sh\ncase $* in *--version*) echo gsyncd; esac\n"), 0o755); err != nil {
		return err
	}
	hosts := fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%s %s\n", n.IP, n.Host)
	return os.WriteFile(filepath.Join(n.Dir, "hosts"), []byte(hosts), 0o644)
}

func (n *Node) start(flags uintptr) error {
	in, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	n.alive = alive
	out, say, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	errLog, err := os.Create(filepath.Join(n.Dir, "out", "init"))
	if err != nil {
		return err
	}
	defer errLog.Close()
	n.init = exec.Command("/bin/sh", "-c", initScript, "sh", n.Dir, n.Host, n.IP)
	n.init.Dir = "/"
	n.init.Env = append(os.Environ(), "PATH="+systemPath())
	n.init.Stdin, n.init.Stdout, n.init.Stderr = in, say, errLog
	n.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Setsid: true}
	err = n.init.Start()
	say.Close()
	if err != nil {
		alive.Close()
		return err
	}
	n.Pid = n.init.Process.Pid
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		n.Close()
		why, _ := os.ReadFile(errLog.Name())
		return fmt.Errorf("first process failed: %s", why)
	}
	n.netns, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", n.Pid))
	return err
}

// systemPath is PATH with the directories of system programs in it.
func systemPath() string {
	return os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
}

// Close kills all processes of the Node and returns when they are gone. It runs
// by itself at the end of the test.
func (n *Node) Close() {
	if n.closed.Swap(true) {
		return
	}
	n.alive.Close()
	n.init.Process.Kill()
	// The kernel reports the first process dead only after all others.
	n.init.Wait()
	if n.netns != nil {
		n.netns.Close()
	}
}

// Path turns a path of the Node into one that the test can open while the Node
// lives. Absolute symbolic links on the way lead into the test's own tree.
func (n *Node) Path(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", n.Pid, filepath.Join("/", path))
}

// Addr is the Node's address with a port; port 0 is for Listen.
func (n *Node) Addr(port int) string { return net.JoinHostPort(n.IP, strconv.Itoa(port)) }

// Do runs f on a thread that is in the Node's network. Sockets that f makes
// stay in that network for good; goroutines that f starts are not in it. The
// rest (mounts, processes, host names) is the test's own.
func (n *Node) Do(f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	if err := unix.Setns(int(n.netns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of %s: %w", n.Host, err)
	}
	defer func() {
		// A thread that cannot go home must not run anything else. To leave it
		// locked would end it, and with it children whose parent-death signal
		// hangs on it.
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("testenv: cannot leave the network of %s: %v", n.Host, err))
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// Dial connects to a server in the Node.
func (n *Node) Dial(network, addr string) (net.Conn, error) {
	return n.DialContext(context.Background(), network, addr)
}

// DialContext is Dial with a deadline; it fits wherever a dial function is
// taken. Host names other than the Node's own do not work.
func (n *Node) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	if host, port, e := net.SplitHostPort(addr); e == nil && (host == n.Host || host == "localhost") {
		addr = net.JoinHostPort(n.IP, port)
	}
	var d net.Dialer
	err = n.Do(func() error {
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Listen opens a server socket in the Node, for a server in the test process.
func (n *Node) Listen(network, addr string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// WaitPort waits until somebody accepts connections at the port of Node.IP.
func (n *Node) WaitPort(ctx context.Context, port int) error {
	for {
		c, err := n.DialContext(ctx, "tcp", n.Addr(port))
		if err == nil {
			return c.Close()
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("port %d of %s does not answer: %w", port, n.Host, err)
		}
	}
}

// Wait calls done until it returns true, and fails the test when that takes
// longer than limit. The words say what was waited for.
func Wait(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for !done() {
		if pause(ctx) != nil {
			t.Fatalf("after %v still not: %s", limit, what)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

// Bind puts the file or directory src in the place of dst, inside of the Node
// only: our own program where the distribution's is looked for, for example.
// Programs that run already keep what they have.
func (n *Node) Bind(t testing.TB, src, dst string) {
	t.Helper()
	n.MustRun(t, "mount", "--bind", src, dst)
}

// Mount mounts a volume with the real GlusterFS client through mount(8) and
// returns a directory that the test can use. The server is Node.IP, glusterd's
// or one of ours; opts are options of mount.glusterfs such as "acl".
func (n *Node) Mount(t testing.TB, volume string, opts ...string) string {
	t.Helper()
	Need(t, "mount.glusterfs", "glusterfs")
	dir := n.mountPoint(t)
	log := fmt.Sprintf("/var/log/glusterfs/%s.log", filepath.Base(dir))
	opts = append([]string{"log-file=" + log}, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	_, err := n.Run(ctx, "mount", "-t", "glusterfs", "-o", strings.Join(opts, ","), n.IP+":/"+volume, dir)
	return n.mounted(t, dir, err)
}

// MountVolfile mounts a client volfile with the real GlusterFS client.
func (n *Node) MountVolfile(t testing.TB, volfile string, args ...string) string {
	t.Helper()
	Need(t, "glusterfs")
	dir := n.mountPoint(t)
	file := filepath.Join(n.Dir, filepath.Base(dir)+".vol")
	if err := os.WriteFile(file, []byte(volfile), 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-f", file, "-l", fmt.Sprintf("/var/log/glusterfs/%s.log", filepath.Base(dir))}, args...)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	_, err := n.Run(ctx, "glusterfs", append(args, dir)...)
	return n.mounted(t, dir, err)
}

func (n *Node) mountPoint(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(n.Dir, "mnt", fmt.Sprintf("m%d", n.serial.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (n *Node) mounted(t testing.TB, dir string, err error) string {
	t.Helper()
	if err == nil {
		var st unix.Statfs_t
		err = unix.Statfs(n.Path(dir), &st)
		if err == nil && st.Type != unix.FUSE_SUPER_MAGIC {
			err = errors.New("the command succeeded but nothing is mounted")
		}
	}
	if err != nil {
		t.Fatalf("testenv: mount: %v\n%s", err, n.Log(filepath.Base(dir)))
	}
	return n.Path(dir)
}

// Unmount ends a mount that Mount or MountVolfile made.
func (n *Node) Unmount(t testing.TB, dir string) {
	t.Helper()
	inside := strings.TrimPrefix(dir, n.Path("/"))
	n.MustRun(t, "umount", filepath.Join("/", inside))
}

// Log returns the last part of the Node's log files whose names contain name.
func (n *Node) Log(name string) string {
	var out strings.Builder
	for _, top := range []string{"log", "out"} {
		filepath.WalkDir(filepath.Join(n.Dir, top), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.Contains(path, name) {
				if text := tail(path, 16<<10); text != "" {
					fmt.Fprintf(&out, "---- %s: %s\n%s\n", n.Host, strings.TrimPrefix(path, n.Dir+"/"), text)
				}
			}
			return nil
		})
	}
	return out.String()
}

// Dump writes the Node's logs to the test's output; a failed test does so by
// itself.
func (n *Node) Dump() {
	n.t.Helper()
	n.t.Logf("logs of %s (%s):\n%s", n.Host, n.IP, n.Log(""))
}

func tail(path string, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > limit {
		f.Seek(-limit, io.SeekEnd)
	}
	b, _ := io.ReadAll(io.LimitReader(f, limit))
	return strings.TrimSpace(string(b))
}
