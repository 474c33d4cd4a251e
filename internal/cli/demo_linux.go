package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/manage"
)

// demo shows the main job: a cluster, a program that uses it, a real tree
// copied in and read back, and what it cost.
type demo struct {
	*app
	source string
	report demoReport
}

// demoReport is what demo --json prints.
type demoReport struct {
	Volume string     `json:"volume"`
	Talk   []string   `json:"talk"`
	Copy   demoFigure `json:"copy"`
	Verify demoFigure `json:"verify"`
}

type demoFigure struct {
	Files        int64   `json:"files"`
	Dirs         int64   `json:"directories"`
	Bytes        int64   `json:"bytes"`
	Seconds      float64 `json:"seconds"`
	FilesPerSec  float64 `json:"files_per_second"`
	BytesPerSec  float64 `json:"bytes_per_second"`
	RoundTrips   int64   `json:"round_trips"`
	TripsPerFile float64 `json:"round_trips_per_file"`
}

func (f *demoFigure) fill(trips int64, d time.Duration) {
	f.Seconds = d.Seconds()
	f.RoundTrips = trips
	if f.Seconds > 0 {
		f.FilesPerSec, f.BytesPerSec = float64(f.Files)/f.Seconds, float64(f.Bytes)/f.Seconds
	}
	if f.Files > 0 {
		f.TripsPerFile = float64(trips) / float64(f.Files)
	}
}

func (a *app) demoCommand() *cobra.Command {
	d := demo{app: a}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way: start a cluster, use it from a program, copy a tree, verify it",
		Long: `Demo starts a temporary cluster (as 'wythe up --temp' does, on free ports), runs
a small program against it over TCP, copies a source tree in, and verifies every
checksum through a second mount. At the end it prints what it cost.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&d.source, "source", "", "tree to copy (default the Go source tree, GOROOT/src)")
	return cmd
}

func (d *demo) say(format string, args ...any) {
	if !d.json && !d.quiet {
		fmt.Fprintf(d.out, format+"\n", args...)
	}
}

func (d *demo) run(ctx context.Context) error {
	if d.source == "" {
		src, err := goSource()
		if err != nil {
			return err
		}
		d.source = src
	}
	if _, err := os.Stat(d.source); err != nil {
		return usageError{err}
	}
	dir, err := os.MkdirTemp("", "wythe-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	d.say("1. A cluster in this process")
	c, err := manage.Up(ctx, manage.UpOptions{
		Dir: dir, Listen: "127.0.0.1", Port: -1,
		Log: d.log(),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	d.report.Volume = c.URL()
	d.say("   volume %s, one brick in %s, listening on %s\n", c.Volume.Name, c.Volume.Bricks[0].Path, c.Addr)

	var trips atomic.Int64
	mount := func() (*gfapi.Volume, error) {
		mctx, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		v, err := gfapi.MountURL(mctx, c.URL(), gfapi.WithUmask(0), gfapi.WithLogger(d.log()), gfapi.WithRoundTrips(func(gfapi.RoundTrip) { trips.Add(1) }))
		if err != nil {
			return nil, unreachableError{err}
		}
		return v.WithContext(ctx), nil
	}
	v, err := mount()
	if err != nil {
		return err
	}
	defer v.Unmount()

	d.say("2. A program that uses it (package gfapi, over TCP)")
	if err := d.talk(v); err != nil {
		return err
	}

	d.say("\n3. A real tree: %s", d.source)
	trips.Store(0)
	meter := newMeter(d.err, "   copying  ", !d.quiet && !d.json)
	t := &transfer{src: localTree{}, dst: volumeTree{v, c.URL()}, workers: 8, meter: meter,
		report: func(err error) { fmt.Fprintf(d.err, "wythe: %v\n", err) }}
	err = t.copy(ctx, d.source, "/src", true)
	took := meter.finish()
	if err == nil && meter.Failed > 0 {
		err = errReported
	}
	if err != nil {
		return err
	}
	cp := &d.report.Copy
	cp.Files, cp.Dirs, cp.Bytes = meter.Files, meter.Dirs, meter.Bytes
	cp.fill(trips.Load(), took)

	v2, err := mount()
	if err != nil {
		return err
	}
	defer v2.Unmount()
	trips.Store(0)
	if err := d.verify(ctx, v2, c.URL()); err != nil {
		return err
	}
	vf := &d.report.Verify
	vf.fill(trips.Load(), time.Duration(vf.Seconds*float64(time.Second)))
	if d.json {
		return d.printJSON(d.report)
	}
	d.say("   every one of the %d files has the right checksum, read through a second mount\n", vf.Files)
	d.say("4. What it cost")
	fmt.Fprintf(d.out, "   %-8s %8s %11s %9s %10s %13s %12s %11s\n", "", "files", "bytes", "seconds", "files/s", "bytes/s", "round trips", "per file")
	for _, r := range []struct {
		name string
		f    *demoFigure
	}{{"copy", cp}, {"verify", vf}} {
		fmt.Fprintf(d.out, "   %-8s %8d %11s %9.2f %10.0f %11s/s %12d %11.2f\n", r.name, r.f.Files, size(r.f.Bytes), r.f.Seconds,
			r.f.FilesPerSec, size(int64(r.f.BytesPerSec)), r.f.RoundTrips, r.f.TripsPerFile)
	}
	return nil
}

// talk is the example of the talk "Python and GlusterFS", in Go.
func (d *demo) talk(v *gfapi.Volume) error {
	step := func(what string, result any) {
		line := fmt.Sprintf("%-46s → %v", what, result)
		d.report.Talk = append(d.report.Talk, line)
		d.say("   %s", line)
	}
	if err := v.Mkdir("testdir", 0o755); err != nil {
		return err
	}
	step(`v.Mkdir("testdir", 0755)`, "ok")
	des, err := v.ReadDir("/")
	if err != nil {
		return err
	}
	step(`v.ReadDir("/")`, names(des))
	f, err := v.Create("testdir/file.txt")
	if err != nil {
		return err
	}
	n, err := f.WriteString("Winter is coming.")
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	step(`f.WriteString("Winter is coming.")`, fmt.Sprint(n, " bytes"))
	if f, err = v.Open("testdir/file.txt"); err != nil {
		return err
	}
	text, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	step(`io.ReadAll(f)`, fmt.Sprintf("%q", text))
	if string(text) != "Winter is coming." {
		return fmt.Errorf("read back %q", text)
	}
	if err := v.Remove("testdir/file.txt"); err != nil {
		return err
	}
	step(`v.Remove("testdir/file.txt")`, "ok")
	if err := v.Remove("testdir"); err != nil {
		return err
	}
	step(`v.Remove("testdir")`, "ok")
	return nil
}

func names(des []fs.DirEntry) []string {
	var s []string
	for _, de := range des {
		s = append(s, de.Name())
	}
	return s
}

// verify compares every file of the source with its copy on v.
func (d *demo) verify(ctx context.Context, v *gfapi.Volume, url string) error {
	type pair struct{ local, remote string }
	var dirs, files []pair
	want := map[string]bool{}
	err := filepath.WalkDir(d.source, func(name string, de fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.source, name)
		if err != nil {
			return err
		}
		p := pair{name, path.Join("/src", filepath.ToSlash(rel))}
		want[p.remote] = true
		switch {
		case de.IsDir():
			dirs = append(dirs, p)
		case de.Type().IsRegular():
			files = append(files, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	meter := newMeter(d.err, "   verifying", !d.quiet && !d.json)
	meter.plan(localTotals(ctx, d.source))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, p := range dirs {
		g.Go(func() error {
			des, err := v.ReadDir(p.remote)
			if err != nil {
				return err
			}
			for _, de := range des {
				if name := path.Join(p.remote, de.Name()); !want[name] {
					return fmt.Errorf("%s%s should not be there", url, name)
				}
			}
			return nil
		})
	}
	for _, p := range files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			a, err := os.ReadFile(p.local)
			if err != nil {
				return err
			}
			b, err := v.ReadFile(p.remote)
			if err != nil {
				return err
			}
			if sha256.Sum256(a) != sha256.Sum256(b) {
				return fmt.Errorf("%s%s differs from %s", url, p.remote, p.local)
			}
			atomic.AddInt64(&meter.Files, 1)
			meter.add(int64(len(b)))
			return nil
		})
	}
	err = g.Wait()
	f := &d.report.Verify
	f.Seconds = meter.finish().Seconds()
	f.Files, f.Dirs, f.Bytes = meter.Files, int64(len(dirs)), meter.Bytes
	return err
}

// goSource finds GOROOT/src.
func goSource() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", usageError{fmt.Errorf("the Go source tree is not found; name a tree with --source DIR")}
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src"), nil
}
