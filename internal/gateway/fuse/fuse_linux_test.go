package fuse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volserver"
)

var shapes = map[string]manage.Shape{
	"brick":   {Distribute: 1, Replica: 1},
	"replica": {Distribute: 1, Replica: 2},
	"2x2":     {Distribute: 2, Replica: 2},
}

var quiet = slog.New(slog.DiscardHandler)

// cluster starts a volume in this process.
func cluster(t testing.TB, shape manage.Shape, options map[string]string) *manage.Cluster {
	t.Helper()
	testenv.NeedRoot(t)
	c, err := manage.Up(context.Background(), manage.UpOptions{Dir: t.TempDir(), Shape: shape, Options: options,
		Port: -1, Listen: "127.0.0.1", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func open(t testing.TB, c *manage.Cluster) *mount.Session {
	t.Helper()
	s, err := mount.Open(context.Background(), mount.Config{Volume: c.Volume.Name, Registry: graph.Registry(clientside.Registry()), Log: quiet,
		Servers: []volserver.Server{{Network: "tcp", Addr: c.Addr}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// usual is what a mount gets by default.
func usual(c Config) Config {
	c.Source, c.Log = "localhost:/data", quiet
	c.AttrTimeout, c.EntryTimeout, c.GIDTimeout = time.Second, time.Second, 300*time.Second
	c.LRULimit = 65536
	c.AutoInvalidation, c.Readdirp = true, true
	return c
}

// private is a thread with mounts of its own.
type private struct {
	root string // its root directory, for others
	do   chan func()
}

func newPrivate(t testing.TB) *private {
	t.Helper()
	testenv.NeedRoot(t)
	p := &private{do: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		p.root = fmt.Sprintf("/proc/self/task/%d/root", unix.Gettid())
		made <- err
		for f := range p.do {
			f()
		}
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(p.do) })
	return p
}

// Do runs f on the thread.
func (p *private) Do(f func() error) (err error) {
	done := make(chan struct{})
	p.do <- func() {
		defer close(done)
		err = f()
	}
	<-done
	return err
}

// mounted mounts a session where no other process sees it, and returns the
// directory.
func mounted(t testing.TB, s *mount.Session, edit ...func(*Config)) (*Server, string) {
	t.Helper()
	room := newPrivate(t)
	dir := t.TempDir()
	cfg := usual(Config{Session: s, Dir: dir})
	for _, f := range edit {
		f(&cfg)
	}
	var srv *Server
	err := room.Do(func() (err error) {
		srv, err = Mount(context.Background(), cfg)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := room.Do(srv.Unmount); err != nil {
			t.Error(err)
			room.Do(srv.Abort)
		}
	})
	dir = room.root + dir
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.FUSE_SUPER_MAGIC {
		t.Fatalf("%s has a file system of type %#x: %v", dir, st.Type, err)
	}
	return srv, dir
}

// serveVar has the test binary be the server of a mount, so that what uses the
// mount is another process, as it should be, and the server can be killed.
const serveVar = "WYTHE_TEST_FUSE_SERVE"

// remote is the configuration of such a server.
type remote struct {
	Addr, Volume string
	Config       Config
}

// serveRemote mounts, says so, and unmounts when standard input ends.
func serveRemote(text string) error {
	var r remote
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := mount.Open(context.Background(), mount.Config{Volume: r.Volume, Registry: graph.Registry(clientside.Registry()), Log: log,
		Servers: []volserver.Server{{Network: "tcp", Addr: r.Addr}}})
	if err != nil {
		return err
	}
	r.Config.Session, r.Config.Log = s, log
	srv, err := Mount(context.Background(), r.Config)
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	io.Copy(io.Discard, os.Stdin)
	// Other tests' namespaces may have copies of the mount.
	if err := srv.Abort(); err != nil {
		return err
	}
	return s.Close(context.Background())
}

// served mounts a cluster's volume from a process of its own and returns that
// and the directory.
func served(t testing.TB, c *manage.Cluster, edit ...func(*Config)) (*exec.Cmd, string) {
	t.Helper()
	testenv.NeedRoot(t)
	r := remote{Addr: c.Addr, Volume: c.Volume.Name, Config: usual(Config{Dir: t.TempDir()})}
	r.Config.Log = nil
	for _, f := range edit {
		f(&r.Config)
	}
	text, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), serveVar+"="+string(text))
	cmd.Stderr = os.Stderr
	in, out := testenv.Talk(t, cmd)
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		unix.Unmount(r.Config.Dir, unix.MNT_DETACH)
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return cmd, r.Config.Dir
}

func TestMain(m *testing.M) {
	if text := os.Getenv(serveVar); text != "" {
		if err := serveRemote(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// withURing has the kernel offer FUSE over io_uring to the test.
func withURing(t testing.TB) {
	t.Helper()
	testenv.NeedRoot(t)
	const param = "/sys/module/fuse/parameters/enable_uring"
	old, err := os.ReadFile(param)
	if err != nil {
		t.Skipf("FUSE over io_uring needs Linux 6.14: %v", err)
	}
	if err := os.WriteFile(param, []byte("Y"), 0); err != nil {
		testenv.Missing(t, "FUSE over io_uring cannot be switched on: %v", err)
	}
	t.Cleanup(func() { os.WriteFile(param, old, 0) })
}

// Without being told, a mount takes io_uring where it is switched on.
func TestTransportAuto(t *testing.T) {
	s := open(t, cluster(t, shapes["brick"], nil))
	if uringEnabled() != nil {
		srv, _ := mounted(t, s)
		if got := srv.transport(); got != TransportDev {
			t.Errorf("without io_uring: %v", got)
		}
		room := newPrivate(t)
		cfg := usual(Config{Session: s, Dir: t.TempDir(), Transport: TransportURing})
		if err := room.Do(func() error { _, err := Mount(t.Context(), cfg); return err }); !errors.Is(err, syscall.ENOTSUP) {
			t.Errorf("io_uring where there is none: %v", err)
		}
	}
	withURing(t)
	srv, _ := mounted(t, s)
	if got := srv.transport(); got != TransportURing {
		t.Errorf("with io_uring: %v", got)
	}
}

// transports runs a test on each.
func transports(t *testing.T, f func(t *testing.T, edit func(*Config))) {
	for _, tr := range []Transport{TransportDev, TransportURing} {
		t.Run(tr.String(), func(t *testing.T) {
			if tr == TransportURing {
				withURing(t)
			}
			f(t, func(c *Config) { c.Transport = tr })
		})
	}
}

// TestFirst is the shortest tour.
func TestFirst(t *testing.T) {
	transports(t, testFirst)
}

func testFirst(t *testing.T, edit func(*Config)) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, dir := mounted(t, open(t, cluster(t, shape, nil)), edit)
			data := bytes.Repeat([]byte("winter is coming "), 100_000)
			if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
				t.Fatal(err)
			}
			p := filepath.Join(dir, "a/b/c")
			if err := os.WriteFile(p, data, 0o640); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read %d bytes of %d: %v", len(got), len(data), err)
			}
			if fi, err := os.Stat(p); err != nil || fi.Size() != int64(len(data)) || fi.Mode() != 0o640 {
				t.Errorf("stat: %v %v", fi, err)
			}
			for i := range 100 {
				if err := os.WriteFile(filepath.Join(dir, "a", fmt.Sprint("file", i)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			entries, err := os.ReadDir(filepath.Join(dir, "a"))
			if err != nil || len(entries) != 101 {
				t.Fatalf("%d entries: %v", len(entries), err)
			}
			if err := os.Rename(p, filepath.Join(dir, "d")); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("renamed file: %v", err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
		})
	}
}
