package distribute_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/volume"
)

var user = &fop.Cred{PID: 77}

// openVolume opens a volume of a real glusterd by its own volfile.
func openVolume(ctx context.Context, t *testing.T, g *testenv.Glusterd) (*volume.Volume, *mount.Session) {
	t.Helper()
	s, err := mount.Open(ctx, mount.Config{
		Volume:   "data",
		Servers:  []volserver.Server{{Network: "tcp", Addr: g.Addr(24007)}},
		Registry: clientside.Registry(),
		Dial:     g.DialContext,
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	v := volume.New(s)
	if _, err := v.LookupGFID(ctx, user, fop.RootGFID); err != nil {
		t.Fatal(err)
	}
	return v, s
}

// TestRealRebalance writes, makes, renames and removes files while GlusterFS's
// own rebalance process moves files to a brick that was added. Nothing that was
// acknowledged may be lost, for us or for GlusterFS's own client.
func TestRealRebalance(t *testing.T) {
	g := testenv.Gluster(t)
	base := testenv.LoopFS(t, "xfs", 1024)
	g.Volume(t, "data", base+"/b0", base+"/b1")
	g.Set(t, "data", "cluster.min-free-disk", "1%")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	v, s := openVolume(ctx, t, g)
	defer s.Close(context.Background())

	const dirs, perDir, size = 3, 12, 300 << 10
	content := func(d, i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%d/%d;", d, i)), size/4+1)[:size] }
	var ids [dirs]fop.GFID
	for d := range dirs {
		a, err := v.Mkdir(ctx, user, fop.RootGFID, fmt.Sprint("d", d), 0o755, 0)
		if err != nil {
			t.Fatal(err)
		}
		ids[d] = a.GFID
		for i := range perDir {
			f, _, err := v.Create(ctx, user, a.GFID, fmt.Sprint("f", i), fop.ORdwr|fop.OExcl, 0o644, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(ctx, user, content(d, i), 0); err != nil {
				t.Fatal(err)
			}
			f.Close(ctx, user)
		}
	}

	// One of each group goes on writing to a file that is open.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	type log struct {
		d, i   int
		blocks int
	}
	var logs []*log
	const block = 100
	line := func(l *log, n int) []byte {
		return []byte(fmt.Sprintf("%-*s\n", block-1, fmt.Sprintf("writer %d/%d line %d", l.d, l.i, n)))
	}
	for d := range dirs {
		for i := range 4 {
			l := &log{d: d, i: i}
			logs = append(logs, l)
			f, _, err := v.Create(ctx, user, ids[d], fmt.Sprint("log", i), fop.ORdwr|fop.OExcl, 0o644, 0)
			if err != nil {
				t.Fatal(err)
			}
			// Some bulk, so that moving it takes a while.
			if _, err := f.WriteAt(ctx, user, make([]byte, 1<<20), 1<<20); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer f.Close(context.Background(), user)
				for ; ; l.blocks++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(2+l.i) * time.Millisecond):
					}
					if _, err := f.WriteAt(ctx, user, line(l, l.blocks), uint64(l.blocks*block)); err != nil {
						t.Errorf("log %d/%d: %v", l.d, l.i, err)
						return
					}
				}
			})
		}
	}
	// And one makes, renames and removes.
	rounds := 0
	wg.Go(func() {
		for ; ; rounds++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			dir, n := ids[rounds%dirs], rounds
			what := "create"
			f, _, err := v.Create(ctx, user, dir, fmt.Sprint("new", n), fop.ORdwr|fop.OExcl, 0o644, 0)
			if err == nil {
				what = "write"
				_, err = f.WriteAt(ctx, user, []byte(fmt.Sprint("new", n)), 0)
				f.Close(ctx, user)
			}
			if err == nil {
				what = "rename"
				_, err = v.Rename(ctx, user, dir, fmt.Sprint("new", n), dir, fmt.Sprint("kept", n))
			}
			if err == nil && n%2 == 1 {
				what = "unlink"
				err = v.Unlink(ctx, user, dir, fmt.Sprint("kept", n))
			}
			if err != nil {
				t.Errorf("round %d: %s: %v", n, what, err)
				return
			}
		}
	})

	g.MustCLI(t, "volume", "add-brick", "data", g.IP+":"+base+"/b2")
	testenv.Wait(t, 20*time.Second, "the new brick", func() bool { return strings.Contains(s.Volfile(), "data-client-2") })
	g.MustCLI(t, "volume", "rebalance", "data", "start", "force")
	var status string
	testenv.Wait(t, 60*time.Second, "the rebalance", func() bool {
		out, err := g.CLI(ctx, "volume", "rebalance", "data", "status")
		if err != nil { // it says so when the process ends just then
			return false
		}
		status = out
		return !strings.Contains(status, "in progress")
	})
	close(stop)
	wg.Wait()
	if !strings.Contains(status, "completed") {
		t.Errorf("rebalance: %s", status)
	}
	moved := 0
	filepath.WalkDir(base+"/b2", func(p string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !strings.Contains(p, ".glusterfs") {
			if st, err := e.Info(); err == nil && st.Size() > 0 {
				moved++
			}
		}
		return nil
	})
	if moved < 6 {
		t.Errorf("only %d files are on the new brick:\n%s", moved, status)
	}
	t.Logf("%d rounds, %d files on the new brick\n%s", rounds, moved, status)

	check := func(who string, read func(path string) ([]byte, error)) {
		for d := range dirs {
			for i := range perDir {
				if got, err := read(fmt.Sprintf("d%d/f%d", d, i)); err != nil || !bytes.Equal(got, content(d, i)) {
					t.Errorf("%s: d%d/f%d: %d bytes, %v", who, d, i, len(got), err)
				}
			}
		}
		for _, l := range logs {
			got, err := read(fmt.Sprintf("d%d/log%d", l.d, l.i))
			if err != nil {
				t.Errorf("%s: %v", who, err)
				continue
			}
			for n := range l.blocks {
				if end := (n + 1) * block; end > len(got) || !bytes.Equal(got[n*block:end], line(l, n)) {
					t.Errorf("%s: d%d/log%d lost line %d of %d", who, l.d, l.i, n, l.blocks)
					break
				}
			}
		}
		for n := range rounds {
			got, err := read(fmt.Sprintf("d%d/kept%d", n%dirs, n))
			if n%2 == 0 && (err != nil || string(got) != fmt.Sprint("new", n)) || n%2 == 1 && err == nil {
				t.Errorf("%s: kept%d: %q, %v", who, n, got, err)
			}
		}
	}
	fresh, fs := openVolume(ctx, t, g)
	defer fs.Close(context.Background())
	for who, v := range map[string]*volume.Volume{"the writer": v, "a new client": fresh} {
		check(who, func(path string) ([]byte, error) {
			dir, name, _ := strings.Cut(path, "/")
			da, err := v.Lookup(ctx, user, fop.RootGFID, dir)
			if err != nil {
				return nil, err
			}
			a, err := v.Lookup(ctx, user, da.GFID, name)
			if err != nil {
				return nil, err
			}
			f, err := v.Open(ctx, user, a.GFID, fop.ORdonly)
			if err != nil {
				return nil, err
			}
			defer f.Close(ctx, user)
			b := make([]byte, a.Size)
			n, _, err := f.ReadAt(ctx, user, b, 0)
			return b[:n], err
		})
	}
	real := g.Mount(t, "data")
	check("GlusterFS's client", func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(real, path)) })
	for d := range dirs {
		list, err := os.ReadDir(filepath.Join(real, fmt.Sprint("d", d)))
		if err != nil {
			t.Fatal(err)
		}
		var ours int
		h, err := fresh.Opendir(ctx, user, ids[d])
		if err != nil {
			t.Fatal(err)
		}
		var off uint64
		for end := false; !end; {
			var page []fop.Dirent
			if page, end, err = h.Readdirp(ctx, user, off, 1<<16); err != nil {
				t.Fatal(err)
			}
			for _, e := range page {
				off = e.Off
				if e.Name != "." && e.Name != ".." {
					ours++
				}
			}
		}
		h.Close(ctx, user)
		if ours != len(list) {
			t.Errorf("d%d: %d entries, GlusterFS's client sees %d", d, ours, len(list))
		}
	}
}
