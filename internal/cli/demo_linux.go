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

// demo shows the main job: a cluster of two pairs of bricks, a program that uses
// it, a real tree copied in while a brick is cut off, read back and compared, and
// what it cost.
type demo struct {
	*app
	source string
	report demoReport
}

// demoReport is what demo --json prints.
type demoReport struct {
	Volume string       `json:"volume"`
	Shape  string       `json:"shape"`
	Talk   []string     `json:"talk"`
	Copy   demoFigure   `json:"copy"`
	Cut    demoCut      `json:"cut"`
	Spread []demoSpread `json:"spread"`
	Verify demoFigure   `json:"verify"`
}

// demoCut is what became of the brick that was cut off.
type demoCut struct {
	Brick  int    `json:"brick"`
	Path   string `json:"path"`
	AtFile int64  `json:"at_file"`
	// Errors are those that reached the copying program, Missed the objects of
	// which the partner has noted that the brick misses changes.
	Errors int64 `json:"errors"`
	Missed int   `json:"missed"`
}

// demoSpread is what one pair of bricks has.
type demoSpread struct {
	Pair  int   `json:"pair"`
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
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
		Long: `Demo starts a temporary cluster of two pairs of bricks (as 'wythe up --temp'
does, on free ports), runs a small program against it over TCP and copies a
source tree in. Halfway it cuts a brick off from its clients and goes on. Then it
shows how the files are spread over the pairs, verifies every checksum through a
second mount, and prints what all of it cost.`,
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
		Dir: dir, Listen: "127.0.0.1", Port: -1, Shape: upDefault,
		Log: d.log(),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	d.report.Volume, d.report.Shape = c.URL(), c.Volume.Shape().String()
	d.say("   volume %s, listening on %s", c.Volume.Name, c.Addr)
	if !d.json && !d.quiet {
		drawVolume(d.out, "   ", c.Volume, c.BrickPort)
	}
	d.say("")

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
	if err := d.copyAndCut(ctx, c, v, trips.Load); err != nil {
		return err
	}
	if err := d.spread(c.Volume); err != nil {
		return err
	}

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
	cp := &d.report.Copy
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

// victim is the brick that is cut off: one of the first pair.
const victim = 1

// copyAndCut copies the tree, and cuts a brick off halfway.
func (d *demo) copyAndCut(ctx context.Context, c *manage.Cluster, v *gfapi.Volume, trips func() int64) error {
	files, _ := localTotals(ctx, d.source)
	cut := &d.report.Cut
	cut.Brick, cut.Path, cut.AtFile = victim, c.Volume.Bricks[victim].Path, max(1, files/2)
	meter := newMeter(d.err, "   copying  ", !d.quiet && !d.json)
	dst := &countingTree{tree: volumeTree{v, c.URL()}, at: cut.AtFile, then: func() {
		c.CutBrick(victim)
		if meter.bar == nil {
			d.say("   at file %d of %d: brick %d loses all its connections", cut.AtFile, files, victim)
		}
	}}
	t := &transfer{src: localTree{}, dst: dst, workers: 8, meter: meter,
		report: func(err error) { fmt.Fprintf(d.err, "wythe: %v\n", err) }}
	err := t.copy(ctx, d.source, "/src", true)
	took := meter.finish()
	cut.Errors = meter.Failed
	if err == nil && meter.Failed > 0 {
		err = errReported
	}
	if err != nil {
		return err
	}
	cp := &d.report.Copy
	cp.Files, cp.Dirs, cp.Bytes = meter.Files, meter.Dirs, meter.Bytes
	cp.fill(trips(), took)
	if meter.bar != nil {
		d.say("   at file %d of %d: brick %d lost all its connections", cut.AtFile, files, victim)
	}
	d.say("   all %d files were copied; the brick stayed cut off and no error reached the program", cp.Files)
	partner := c.Volume.Bricks[victim^1].Path
	if cut.Missed, err = notes(partner); err != nil {
		return err
	}
	d.say("   its partner, brick %d, noted %d objects of which it misses changes;", victim^1, cut.Missed)
	d.say("   healing it comes with Wythe's healer, until then GlusterFS's self-heal daemon does it\n")
	return nil
}

// countingTree does something when the n-th file is made.
type countingTree struct {
	tree
	n, at int64
	then  func()
}

func (t *countingTree) OpenFile(name string, flag int, perm fs.FileMode) (treeFile, error) {
	if flag&os.O_CREATE != 0 && atomic.AddInt64(&t.n, 1) == t.at {
		t.then()
	}
	return t.tree.OpenFile(name, flag, perm)
}

// notes counts the objects of which a brick knows that others miss changes: the
// index translator keeps a name for each.
func notes(brick string) (int, error) {
	des, err := os.ReadDir(filepath.Join(brick, ".glusterfs/indices/xattrop"))
	n := 0
	for _, de := range des {
		if !strings.HasPrefix(de.Name(), "xattrop-") {
			n++
		}
	}
	return n, err
}

// spread shows how many files each pair has, on its brick that was never away.
func (d *demo) spread(v *manage.Volume) error {
	d.say("   the files by the pairs that their names' hashes belong to")
	for set := range v.Shape().Distribute {
		s := demoSpread{Pair: set}
		root := v.Bricks[set*v.Shape().Replica].Path
		err := filepath.WalkDir(root, func(name string, de fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case de.IsDir() && name == filepath.Join(root, ".glusterfs"):
				return fs.SkipDir
			case !de.Type().IsRegular():
				return nil
			}
			info, err := de.Info()
			if err != nil {
				return err
			}
			if info.Size() == 0 && info.Mode()&fs.ModeSticky != 0 {
				return nil // a link file
			}
			s.Files++
			s.Bytes += info.Size()
			return nil
		})
		if err != nil {
			return err
		}
		d.report.Spread = append(d.report.Spread, s)
		share := 40 * s.Files / max(1, d.report.Copy.Files)
		d.say("     pair %d %6d files %10s  %s", set, s.Files, size(s.Bytes), strings.Repeat("█", int(share)))
	}
	d.say("")
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
