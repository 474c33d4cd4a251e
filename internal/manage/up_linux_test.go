package manage

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/brickside"
	"github.com/wythefs/wythe/internal/testenv"
)

func up(t *testing.T, o UpOptions) (*Cluster, error) {
	t.Helper()
	if o.Port == 0 {
		o.Port = -1
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1"
	}
	o.Log = slog.New(slog.DiscardHandler)
	c, err := Up(context.Background(), o)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func mount(t *testing.T, c *Cluster) *gfapi.Volume {
	t.Helper()
	v, err := gfapi.MountURL(context.Background(), c.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Unmount() })
	return v
}

// What was written is there after the cluster was started again.
func TestUpKeepsData(t *testing.T) {
	dir := t.TempDir()
	c, err := up(t, UpOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Fresh || c.Volume.Name != "data" {
		t.Errorf("first start: fresh %v, volume %s", c.Fresh, c.Volume.Name)
	}
	if err := mount(t, c).WriteFile("kept", []byte("as it was"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, err = up(t, UpOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if c.Fresh {
		t.Error("the second start made the volume anew")
	}
	if b, err := mount(t, c).ReadFile("kept"); err != nil || string(b) != "as it was" {
		t.Errorf("ReadFile = %q, %v", b, err)
	}
}

// A brick that is cut off, or stopped, is gone at once, and back when it is let.
func TestStopAndCutBrick(t *testing.T) {
	c, err := up(t, UpOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	v := mount(t, c)
	if err := v.WriteFile("f", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A name that no cache knows yet.
	n := 0
	try := func() error {
		n++
		_, err := v.Stat("no" + strconv.Itoa(n))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	port := c.BrickPort(0)
	for _, way := range []struct {
		name    string
		off, on func() error
		runs    bool
	}{
		{"cut", func() error { c.CutBrick(0); return nil }, func() error { c.MendBrick(0); return nil }, true},
		{"stop", func() error { return c.StopBrick(0) }, func() error { return c.StartBrick(0) }, false},
	} {
		if err := try(); err != nil {
			t.Fatalf("before %s: %v", way.name, err)
		}
		if err := way.off(); err != nil {
			t.Fatal(err)
		}
		testenv.Wait(t, 10*time.Second, "failure after "+way.name, func() bool { return errors.Is(try(), syscall.ENOTCONN) })
		if c.BrickRuns(0) != way.runs {
			t.Errorf("%s: the brick runs: %v", way.name, !way.runs)
		}
		if err := way.on(); err != nil {
			t.Fatal(err)
		}
		testenv.Wait(t, 20*time.Second, "success after "+way.name, func() bool { return try() == nil })
		if got := c.BrickPort(0); got != port {
			t.Errorf("%s: port %d became %d", way.name, port, got)
		}
	}
	// Somebody takes its port meanwhile: clients hear of the new one.
	if err := c.StopBrick(0); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := c.StartBrick(0); err != nil {
		t.Fatal(err)
	}
	if got := c.BrickPort(0); got == port || got == 0 {
		t.Errorf("port %d of a brick whose port %d is taken", got, port)
	}
	testenv.Wait(t, 20*time.Second, "success at another port", func() bool { return try() == nil })
	if err := c.StartBrick(0); !errors.Is(err, syscall.EALREADY) {
		t.Errorf("second start: %v", err)
	}
	select {
	case err := <-c.Failed():
		t.Errorf("the cluster ended: %v", err)
	default:
	}
}

// What is wrong is named, with the remedy, and nothing is touched.
func TestUpRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, c := range []struct {
		name  string
		setup func(dir string, o *UpOptions)
		errno error
		says  []string
	}{
		{"port taken", func(_ string, o *UpOptions) { o.Port = busy.Addr().(*net.TCPAddr).Port },
			syscall.EADDRINUSE, []string{strconv.Itoa(busy.Addr().(*net.TCPAddr).Port), "--port"}},
		{"brick port taken", func(_ string, o *UpOptions) { o.BrickPort = busy.Addr().(*net.TCPAddr).Port },
			syscall.EADDRINUSE, []string{"--brick-port"}},
		{"other volume", func(dir string, o *UpOptions) {
			c, err := up(t, UpOptions{Dir: dir, Volume: "red"})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			o.Volume = "blue"
		}, syscall.EEXIST, []string{"red", "blue", "--dir"}},
		{"in use", func(dir string, o *UpOptions) {
			if _, err := up(t, UpOptions{Dir: dir}); err != nil {
				t.Fatal(err)
			}
		}, syscall.EBUSY, []string{"process " + strconv.Itoa(os.Getpid())}},
		{"not empty", func(dir string, o *UpOptions) { os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o644) },
			syscall.ENOTEMPTY, []string{"thesis.tex"}},
		{"brick gone", func(dir string, o *UpOptions) {
			c, err := up(t, UpOptions{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			os.RemoveAll(filepath.Join(dir, "brick0"))
		}, fs.ErrNotExist, []string{"brick0", "not made again"}},
		{"brick of another volume", func(dir string, o *UpOptions) {
			c, err := up(t, UpOptions{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			brick := filepath.Join(dir, "brick0")
			os.RemoveAll(brick)
			if err := brickside.CreateBrick(brick, fop.NewGFID(), false); err != nil {
				t.Fatal(err)
			}
		}, nil, []string{"brick0", "volume"}},
		{"garbled state", func(dir string, o *UpOptions) {
			os.WriteFile(filepath.Join(dir, stateFile), []byte("{half"), 0o644)
		}, syscall.EINVAL, []string{stateFile, "restore it"}},
		{"bad name", func(_ string, o *UpOptions) { o.Volume = "a/b" }, syscall.EINVAL, []string{"a/b"}},
		{"other number of bricks", func(dir string, o *UpOptions) {
			c, err := up(t, UpOptions{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			o.Shape.Distribute = 3
		}, syscall.EINVAL, []string{"has one brick", "--distribute", "--dir"}},
		{"other number of copies", func(dir string, o *UpOptions) {
			c, err := up(t, UpOptions{Dir: dir, Shape: Shape{2, 2, 0}})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			o.Shape.Replica = 3
		}, syscall.EINVAL, []string{"2 sets of 2 bricks", "--replica", "--dir"}},
		{"copies with data, not an arbiter", func(dir string, o *UpOptions) {
			c, err := up(t, UpOptions{Dir: dir, Shape: Shape{1, 3, 1}})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			o.Shape.Replica = 3
		}, syscall.EINVAL, []string{"one set of 3 bricks, one of them an arbiter", "--arbiter"}},
		{"two arbiters", func(_ string, o *UpOptions) { o.Shape = Shape{1, 3, 2} }, syscall.EINVAL, []string{"arbiter"}},
		{"too many copies", func(_ string, o *UpOptions) { o.Shape = Shape{1, 17, 0} }, syscall.EINVAL, []string{"17 copies"}},
		{"too many bricks", func(_ string, o *UpOptions) { o.Shape = Shape{100, 3, 0} }, syscall.EINVAL, []string{"100 × 3"}},
		{"negative", func(_ string, o *UpOptions) { o.Shape = Shape{-1, 3, 0} }, syscall.EINVAL, []string{"-1 sets"}},
		{"unknown option", func(_ string, o *UpOptions) { o.Options = map[string]string{"network.pong": "1"} }, syscall.EINVAL, []string{"network.pong"}},
		{"directory is a file", func(dir string, o *UpOptions) {
			o.Dir = filepath.Join(dir, "file")
			os.WriteFile(o.Dir, nil, 0o644)
		}, syscall.ENOTDIR, []string{"file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := UpOptions{Dir: t.TempDir()}
			c.setup(o.Dir, &o)
			got, err := up(t, o)
			if err == nil {
				got.Close()
				t.Fatal("it started")
			}
			if c.errno != nil && !errors.Is(err, c.errno) {
				t.Errorf("error %v is not %v", err, c.errno)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

// A crash while the volume is made leaves a directory that starts.
func TestUpAfterCrashWhileMaking(t *testing.T) {
	dir := t.TempDir()
	v, err := NewVolume("data", Brick{Path: filepath.Join(dir, "brick0")}, Brick{Path: filepath.Join(dir, "brick1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&state{Format: 1, Volume: v}).save(dir); err != nil {
		t.Fatal(err)
	}
	if err := brickside.CreateBrick(v.Bricks[0].Path, v.ID, false); err != nil {
		t.Fatal(err)
	}
	c, err := up(t, UpOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if c.Volume.ID != v.ID || len(c.Volume.Bricks) != 2 {
		t.Errorf("volume %v with %d bricks, want %v with 2", c.Volume.ID, len(c.Volume.Bricks), v.ID)
	}
}

// The real FUSE client mounts it, from the default port and from another.
func TestRealClientMounts(t *testing.T) {
	testenv.Need(t, "glusterfs")
	testenv.NeedRoot(t)
	wythe := filepath.Join(t.TempDir(), "wythe")
	n := testenv.Namespace(t)
	buildWythe(t, wythe)
	for _, c := range []struct {
		port  int
		shape []string
		opts  []string
	}{
		{DefaultPort, []string{"--distribute", "1", "--replica", "1"}, nil},
		{24117, []string{"--distribute", "2", "--replica", "2"}, []string{"server-port=24117"}},
		{24118, []string{"--distribute", "1", "--arbiter", "1"}, []string{"server-port=24118"}},
	} {
		t.Run(strconv.Itoa(c.port), func(t *testing.T) {
			dir := testenv.LoopFS(t, "xfs", 300) + "/up"
			p := n.Start(t, wythe, append([]string{"up", "--dir", dir, "--port", strconv.Itoa(c.port)}, c.shape...)...)
			if err := n.WaitPort(context.Background(), c.port); err != nil {
				t.Fatal(err)
			}
			mnt := n.Mount(t, "data", c.opts...)
			sub := filepath.Join(mnt, "sub")
			if err := os.Mkdir(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(i)), []byte("written by the real client"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(filepath.Join(sub, "0"), filepath.Join(mnt, "moved")); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(mnt, "moved")); err != nil || string(b) != "written by the real client" {
				t.Errorf("read back %q, %v", b, err)
			}
			if des, err := os.ReadDir(sub); err != nil || len(des) != 19 {
				t.Errorf("%d entries, %v, want 19", len(des), err)
			}
			if err := os.RemoveAll(sub); err != nil {
				t.Error(err)
			}
			n.Unmount(t, mnt)
			p.Signal(syscall.SIGTERM)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := p.Wait(ctx); err != nil {
				t.Errorf("wythe up ended with %v after SIGTERM", err)
			}
		})
	}
}

func buildWythe(t *testing.T, out string) {
	t.Helper()
	if msg, err := exec.Command("go", "build", "-o", out, "../../cmd/wythe").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
}
