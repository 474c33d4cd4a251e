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
			o.Bricks = 3
		}, syscall.EINVAL, []string{"1 bricks, not 3"}},
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
		count string
		opts  []string
	}{{DefaultPort, "1", nil}, {24117, "2", []string{"server-port=24117"}}} {
		t.Run(strconv.Itoa(c.port), func(t *testing.T) {
			dir := testenv.LoopFS(t, "xfs", 300) + "/up"
			p := n.Start(t, wythe, "up", "--dir", dir, "--port", strconv.Itoa(c.port), "--bricks", c.count)
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
