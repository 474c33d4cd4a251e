// Package fops measures fops between our client translator and our brick, each
// in a process of its own, over TCP on loopback, the brick on XFS in a loop file:
//
//	go test -run '^$' -bench . -benchmem ./test/bench/fops
//
// What a benchmark reports as allocations is the client's; server-µs/op is the
// processor time of the brick. WYTHE_BRICK_PROFILE names a file for a CPU profile
// of the brick; -cpuprofile is the client's.
package fops

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volume"
)

const brickDir = "WYTHE_FOPS_BRICK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(brickDir); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const clientVolfile = `
volume data-client-0
    type protocol/client
    option remote-host 127.0.0.1
    option remote-port PORT
    option remote-subvolume DIR
    option send-gids true
    option ping-timeout 42
end-volume
volume data-dht
    type cluster/distribute
    subvolumes data-client-0
end-volume
volume data-utime
    type features/utime
    option noatime on
    subvolumes data-dht
end-volume
`

// serve is the process of the brick: it serves dir until its standard input ends.
func serve(dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := manage.Up(context.Background(), manage.UpOptions{Dir: dir, Port: -1, Listen: "127.0.0.1", Log: log})
	if err != nil {
		return err
	}
	defer c.Close()
	if name := os.Getenv("WYTHE_BRICK_PROFILE"); name != "" {
		p, err := os.Create(name)
		if err != nil {
			return err
		}
		defer p.Close()
		if err := pprof.StartCPUProfile(p); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println(c.BrickPort(0), c.Volume.Bricks[0].Path, c.URL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// brick starts the process of a brick.
func brick(t testing.TB) (pid int, port, path, url string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brickDir+"="+filepath.Join(testenv.LoopFS(t, "xfs", 4096), "up"))
	cmd.Stderr = os.Stderr
	in, out := testenv.Talk(t, cmd)
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if _, err := fmt.Fscan(out, &port, &path, &url); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, port, path, url
}

// stack is a client on a brick process.
type stack struct {
	*volume.Volume
	pid  int
	cred *fop.Cred
}

func newStack(b *testing.B) *stack {
	pid, port, path, _ := brick(b)
	text := strings.NewReplacer("DIR", path, "PORT", port).Replace(clientVolfile)
	s, err := mount.Open(context.Background(), mount.Config{
		Volfile: text, Registry: clientside.Registry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close(context.Background()) })
	return &stack{volume.New(s), pid, &fop.Cred{PID: int32(os.Getpid())}}
}

// cpu is the processor time of the brick, in seconds.
func (s *stack) cpu(b *testing.B) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100
}

// each runs f for every operation, depth at once.
func (s *stack) each(b *testing.B, depth int, f func(i int) error) {
	b.ReportAllocs()
	before := s.cpu(b)
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range depth {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1) - 1)
				if i >= b.N {
					return
				}
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric((s.cpu(b)-before)*1e6/float64(b.N), "server-µs/op")
}

// must is for what has to work before the measuring.
func must[T any](b *testing.B) func(T, error) T {
	return func(v T, err error) T {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
}

var ctx = context.Background()

func (s *stack) mkdir(b *testing.B) fop.GFID {
	made.Add(1)
	return must[fop.Iatt](b)(s.Mkdir(ctx, s.cred, fop.RootGFID, "d"+strconv.Itoa(int(made.Load())), 0o755, 0)).GFID
}

var made atomic.Int64

// fill makes n small files in a new directory.
func (s *stack) fill(b *testing.B, n int) (dir fop.GFID, files []fop.GFID) {
	dir = s.mkdir(b)
	for i := range n {
		files = append(files, s.small(b, dir, name(i)))
	}
	return dir, files
}

func (s *stack) small(b *testing.B, dir fop.GFID, name string) fop.GFID {
	f, a, err := s.Create(ctx, s.cred, dir, name, fop.OWronly|fop.OExcl, 0o644, 0)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, s.cred, make([]byte, 1024), 0); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(ctx, s.cred); err != nil {
		b.Fatal(err)
	}
	return a.GFID
}

func name(i int) string { return fmt.Sprintf("f%06d", i) }

var depths = []int{1, 16}

func BenchmarkMetadata(b *testing.B) {
	s := newStack(b)
	dir, files := s.fill(b, 1000)
	at := func(title string, f func(b *testing.B, depth int)) {
		for _, d := range depths {
			b.Run(fmt.Sprintf("%s/%d", title, d), func(b *testing.B) { f(b, d) })
		}
	}
	at("lookup", func(b *testing.B, d int) {
		s.each(b, d, func(i int) error {
			_, err := s.Lookup(ctx, s.cred, dir, name(i%1000))
			return err
		})
	})
	at("stat", func(b *testing.B, d int) {
		s.each(b, d, func(i int) error {
			_, err := s.Getattr(ctx, s.cred, files[i%1000])
			return err
		})
	})
	at("openclose", func(b *testing.B, d int) {
		s.each(b, d, func(i int) error {
			f, err := s.Open(ctx, s.cred, files[i%1000], fop.ORdonly)
			if err != nil {
				return err
			}
			return f.Close(ctx, s.cred)
		})
	})
	at("create1k", func(b *testing.B, d int) {
		dir := s.mkdir(b)
		data := make([]byte, 1024)
		s.each(b, d, func(i int) error {
			f, _, err := s.Create(ctx, s.cred, dir, name(i), fop.OWronly|fop.OExcl, 0o644, 0)
			if err != nil {
				return err
			}
			if _, err := f.WriteAt(ctx, s.cred, data, 0); err != nil {
				return err
			}
			return f.Close(ctx, s.cred)
		})
	})
	at("rename", func(b *testing.B, d int) {
		dir, _ := s.fill(b, b.N)
		s.each(b, d, func(i int) error {
			_, err := s.Rename(ctx, s.cred, dir, name(i), dir, "r"+name(i))
			return err
		})
	})
	at("unlink", func(b *testing.B, d int) {
		dir, _ := s.fill(b, b.N)
		s.each(b, d, func(i int) error { return s.Unlink(ctx, s.cred, dir, name(i)) })
	})
	at("readdirp", func(b *testing.B, d int) { // one entry each
		s.each(b, d, func(i int) error {
			if i%1000 != 0 {
				return nil
			}
			list, err := s.Opendir(ctx, s.cred, dir)
			if err != nil {
				return err
			}
			for off, eof := uint64(0), false; !eof; {
				var entries []fop.Dirent
				if entries, eof, err = list.Readdirp(ctx, s.cred, off, 128<<10); err != nil || len(entries) == 0 {
					break
				}
				off = entries[len(entries)-1].Off
			}
			list.Close(ctx, s.cred)
			return err
		})
	})
}

func BenchmarkData(b *testing.B) {
	s := newStack(b)
	dir := s.mkdir(b)
	f, _, err := s.Create(ctx, s.cred, dir, "data", fop.ORdwr, 0o644, 0)
	if err != nil {
		b.Fatal(err)
	}
	const size = 64 << 20
	must[int](b)(f.WriteAt(ctx, s.cred, make([]byte, size), 0))
	for _, n := range []int{4096, 1 << 20} {
		for _, d := range depths {
			b.Run(fmt.Sprintf("read%d/%d", n, d), func(b *testing.B) {
				b.SetBytes(int64(n))
				pool := sync.Pool{New: func() any { p := make([]byte, n); return &p }}
				s.each(b, d, func(i int) error {
					p := pool.Get().(*[]byte)
					_, _, err := f.ReadAt(ctx, s.cred, *p, uint64(i)*7919*4096%(size-uint64(n)))
					pool.Put(p)
					return err
				})
			})
			b.Run(fmt.Sprintf("write%d/%d", n, d), func(b *testing.B) {
				b.SetBytes(int64(n))
				data := make([]byte, n)
				s.each(b, d, func(i int) error {
					_, err := f.WriteAt(ctx, s.cred, data, uint64(i)*7919*4096%(size-uint64(n)))
					return err
				})
			})
		}
	}
}

// TestAllocations holds what a 4 KiB read or write allocates in a program that
// uses gfapi, everything down to the socket included: 10 are allowed.
func TestAllocations(t *testing.T) {
	testenv.NeedRoot(t)
	_, _, _, url := brick(t)
	v, err := gfapi.MountURL(ctx, url, gfapi.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Unmount()
	f, err := v.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 4096)
	for _, op := range []struct {
		name string
		do   func([]byte, int64) (int, error)
	}{{"write", f.WriteAt}, {"read", f.ReadAt}} {
		n := testing.AllocsPerRun(1000, func() {
			if _, err := op.do(buf, 4096); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("a %s of 4 KiB: %.0f allocations", op.name, n)
		if n > 10 {
			t.Errorf("a %s of 4 KiB allocates %.0f times, more than 10", op.name, n)
		}
	}
}
