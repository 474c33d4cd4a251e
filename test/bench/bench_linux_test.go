// Package bench compares us with the real GlusterFS: the same work done by
// either client on either brick, side by side in one run, told as ratios.
//
//	make bench                            the long form; rewrites docs/benchmarks.md
//	go test ./test/bench                  the short form: every line runs and reads what was written
//
// The drivers are testdata/driver.c (libgfapi) and ./driver (package gfapi); they
// do the same operations with the same names and sizes, each in a process of its
// own that mounts anew, so that no cache of a client outlives a phase.
package bench

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

var (
	flagLong  = flag.Bool("bench.long", os.Getenv("WYTHE_BENCH") == "1", "run the long form and write -bench.out")
	flagReps  = flag.Int("bench.reps", 5, "repetitions of the long form")
	flagScale = flag.Int("bench.scale", 1, "divide the counts of the long form by this")
	flagOut   = flag.String("bench.out", "../../docs/benchmarks.md", "where the long form writes its table")
	flagOnly  = flag.String("bench.only", "", "comma-separated phases to run, with those they need")
)

// phase is one line of the table.
type phase struct {
	name  string // of the driver's phase
	title string
	count int // files or requests in the long form
	bytes int
	depth int
	meta  bool // metadata: the target is 2.0 with both ends ours
	short int  // count in the short form
}

var phases = []phase{
	{"seqwrite", "sequential write, 1 MiB", 512, 1 << 20, 1, false, 16},
	{"seqread", "sequential read, 1 MiB", 512, 1 << 20, 1, false, 16},
	{"randread", "random read, 4 KiB, 1 in flight", 20000, 4096, 1, false, 256},
	{"randread", "random read, 4 KiB, 16 in flight", 64000, 4096, 16, false, 256},
	{"randwrite", "random write, 4 KiB, 1 in flight", 20000, 4096, 1, false, 256},
	{"randwrite", "random write, 4 KiB, 16 in flight", 64000, 4096, 16, false, 256},
	{"create", "create small files (create, write 1 KiB, close)", 10000, 1024, 1, true, 64},
	{"stat", "stat small files", 10000, 0, 1, true, 64},
	{"openread", "open, read 1 KiB, close", 10000, 1024, 1, true, 64},
	{"list", "list 10 000 entries with stat", 10000, 0, 1, true, 64},
	{"rename", "rename small files", 10000, 0, 1, true, 64},
	{"unlink", "unlink small files", 10000, 0, 1, true, 64},
}

// setup is one client on one brick.
type setup struct {
	name   string // "client/brick"
	driver string
	port   int
	server func() []int // processes of the brick
}

// sample is one run of one phase.
type sample struct {
	seconds, cpu, serverCPU float64
	rss, serverRSS          int64 // KiB
}

func TestBenchmarks(t *testing.T) {
	testenv.Need(t, "gcc", "pkg-config")
	testenv.NeedRoot(t)
	b := newBench(t)
	reps := 1
	if *flagLong {
		reps = *flagReps
	}
	// samples[phase][setup] lists one sample per repetition.
	samples := make([][][]sample, len(phases))
	for rep := range reps {
		for i, p := range phases {
			if !wanted(p.name) {
				continue
			}
			if samples[i] == nil {
				samples[i] = make([][]sample, len(b.setups))
			}
			sums := map[string]string{}
			for k := range b.setups {
				k = (k + rep) % len(b.setups) // nobody is always first
				s, sum := b.run(b.setups[k], p)
				samples[i][k] = append(samples[i][k], s)
				sums[b.setups[k].name] = sum
			}
			for name, sum := range sums {
				if sum != sums[b.setups[0].name] {
					t.Fatalf("%s: %s read %s and %s read %s", p.title, name, sum, b.setups[0].name, sums[b.setups[0].name])
				}
			}
		}
	}
	table := b.table(samples, reps)
	t.Log("\n" + table)
	if *flagLong {
		if err := os.WriteFile(*flagOut, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func wanted(name string) bool {
	return *flagOnly == "" || slices.Contains(strings.Split(*flagOnly, ","), name)
}

type bench struct {
	t      *testing.T
	g      *testenv.Glusterd
	setups []setup
}

const ourPort = 24107

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	c := filepath.Join(dir, "driver-c")
	build(t, "sh", "-c", `gcc -O2 -Wall -o "$0" testdata/driver.c $(pkg-config --cflags --libs glusterfs-api) -lpthread`, c)
	ours := filepath.Join(dir, "driver-go")
	build(t, "go", "build", "-o", ours, "./driver")
	wythe := filepath.Join(dir, "wythe")
	build(t, "go", "build", "-o", wythe, "../../cmd/wythe")

	g := testenv.Gluster(t)
	size := 2048
	theirDir := testenv.LoopFS(t, "xfs", size) + "/brick"
	ourDir := testenv.LoopFS(t, "xfs", size) + "/up"
	g.Volume(t, "data", theirDir)
	up := g.Start(t, wythe, "up", "--dir", ourDir, "--listen", g.IP, "--port", strconv.Itoa(ourPort), "--allow", "*")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.WaitPort(ctx, ourPort); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, g: g}
	theirs := func() []int { return []int{g.BrickPid(t, "data", theirDir)} }
	mine := func() []int { return []int{up.Pid} }
	theirPid := theirs()
	b.setups = []setup{
		{"real client, real brick", c, 24007, func() []int { return theirPid }},
		{"our client, our brick", ours, ourPort, mine},
		{"our client, real brick", ours, 24007, func() []int { return theirPid }},
		{"real client, our brick", c, ourPort, mine},
	}
	return b
}

func build(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// run does one phase and returns the sample and what the driver read.
func (b *bench) run(s setup, p phase) (sample, string) {
	count := p.short
	if *flagLong {
		count = p.count / max(*flagScale, 1) / p.depth * p.depth
	}
	dir := "/real"
	if strings.HasSuffix(s.driver, "-go") {
		dir = "/ours"
	}
	pids := s.server()
	before := cpuOf(b.t, pids)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := b.g.Command(ctx, s.driver, b.g.IP, strconv.Itoa(s.port), "data", dir, p.name,
		strconv.Itoa(count), strconv.Itoa(p.bytes), strconv.Itoa(p.depth))
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%s: %s: %v\n%s", s.name, p.title, err, errs.String())
	}
	var r sample
	var sum string
	if _, err := fmt.Sscan(out.String(), &r.seconds, &r.cpu, &r.rss, &sum); err != nil {
		b.t.Fatalf("%s: %s: driver printed %q", s.name, p.title, out.String())
	}
	r.serverCPU = cpuOf(b.t, pids) - before
	r.serverRSS = peakOf(b.t, pids)
	return r, sum
}

// cpuOf is the processor time that processes have used so far, in seconds.
func cpuOf(t *testing.T, pids []int) float64 {
	total := 0.0
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.ParseFloat(f[11], 64)
		system, _ := strconv.ParseFloat(f[12], 64)
		total += (user + system) / 100 // USER_HZ
	}
	return total
}

// peakOf is the largest resident size that processes had so far, in KiB.
func peakOf(t *testing.T, pids []int) int64 {
	var total int64
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
				total += n
			}
		}
	}
	return total
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// table writes the results: ratios first, then what they cost.
func (b *bench) table(samples [][][]sample, reps int) string {
	var w strings.Builder
	fmt.Fprintf(&w, `# Benchmarks

Every number in the first table is a ratio: the rate of the named pair divided by
the rate of GlusterFS's own client library (libgfapi %s) on GlusterFS's own
brick, in the same run. Pairs take turns within each of the %d repetitions; the
ratio is the median of the repetitions' ratios, with the lowest and highest in
parentheses. Above 1 we are faster. The targets are 1.0 on every line, and 2.0 on
metadata lines (marked *) with both ends ours.

One machine with 2 cores runs client and brick, over loopback TCP; bricks are on
XFS in loop files, volumes have one brick and default options (so the real client
runs with its write-behind, quick-read, open-behind and md-cache). Nothing is
synced. Every phase is a process of its own. %sReproduce with:

    make bench

| | our client, our brick | our client, real brick | real client, our brick | target |
|---|---|---|---|---|
`, glusterVersion(), reps, scaled())
	for i, p := range phases {
		if samples[i] == nil {
			continue
		}
		title, target := p.title, "1.0"
		if p.meta {
			title, target = title+" *", "2.0"
		}
		fmt.Fprintf(&w, "| %s |", title)
		for k := 1; k < len(b.setups); k++ {
			var ratios []float64
			for rep := range samples[i][0] {
				ratios = append(ratios, samples[i][0][rep].seconds/samples[i][k][rep].seconds)
			}
			fmt.Fprintf(&w, " **%.2f** (%.2f–%.2f) |", median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
		fmt.Fprintf(&w, " %s |\n", target)
	}
	fmt.Fprintf(&w, `
What it cost: processor seconds of the client + of the brick, median of the
repetitions, and the largest resident size of the client process in MiB.

| | real, real | ours, ours | ours, real | real, ours |
|---|---|---|---|---|
`)
	for i, p := range phases {
		if samples[i] == nil {
			continue
		}
		fmt.Fprintf(&w, "| %s |", p.title)
		for k := range b.setups {
			var c, s, r []float64
			for _, x := range samples[i][k] {
				c, s, r = append(c, x.cpu), append(s, x.serverCPU), append(r, float64(x.rss)/1024)
			}
			fmt.Fprintf(&w, " %.2f + %.2f s, %.0f MiB |", median(c), median(s), slices.Max(r))
		}
		fmt.Fprintln(&w)
	}
	last := func(k int) int64 {
		var m int64
		for i := range samples {
			if samples[i] != nil {
				for _, x := range samples[i][k] {
					m = max(m, x.serverRSS)
				}
			}
		}
		return m / 1024
	}
	fmt.Fprintf(&w, "\nLargest resident size of the brick process over the whole run: real %d MiB, ours %d MiB\n(ours is the whole of `wythe up`, management included).\n", last(0), last(1))
	if notes, err := os.ReadFile("testdata/notes.md"); err == nil {
		fmt.Fprintf(&w, "\n%s", notes)
	}
	return w.String()
}

// scaled says that there was less to do than the titles of the lines say.
func scaled() string {
	if *flagScale <= 1 {
		return ""
	}
	return fmt.Sprintf("All counts were divided by\n%d in this run. ", *flagScale)
}

func glusterVersion() string {
	out, err := exec.Command("glusterfs", "--version").Output()
	if f := strings.Fields(string(out)); err == nil && len(f) > 1 {
		return f[1]
	}
	return "of the distribution"
}
