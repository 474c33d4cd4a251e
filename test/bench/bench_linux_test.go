// Package bench compares us with the real GlusterFS: the same work done by
// either client on either brick, side by side in one run, told as ratios, on
// volumes of each of the shapes.
//
//	make bench                            the long form; rewrites docs/benchmarks.md
//	go test ./test/bench                  the short form: every line runs and reads what was written
//	go test ./test/bench -v -bench.long -bench.shape 2x2 -bench.only create,stat -bench.doc ""
//	go test ./test/bench -v -run Mounts -bench.long -bench.shape mount-brick
//
// The drivers are testdata/driver.c (libgfapi) and ./driver (package gfapi); they
// do the same operations with the same names and sizes, each in a process of its
// own that mounts anew, so that no cache of a client outlives a phase.
//
// Mounts are compared as well (mounts_linux_test.go): the driver ./mounted works on
// a directory through the kernel, on a mount of either client.
//
// Each shape's samples are also written in the format of Go benchmarks, for
// benchstat -col /pair.
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
	flagLong  = flag.Bool("bench.long", os.Getenv("WYTHE_BENCH") == "1", "run the long form and write -bench.doc and -bench.raw")
	flagReps  = flag.Int("bench.reps", 5, "repetitions of the long form")
	flagScale = flag.Int("bench.scale", 1, "divide the counts of the long form by this")
	flagDoc   = flag.String("bench.doc", "../../docs/benchmarks.md", "where the long form replaces the tables of a shape; empty: nowhere")
	flagRaw   = flag.String("bench.raw", "testdata/results", "directory for the samples of the long form, a file per shape")
	flagOnly  = flag.String("bench.only", "", "comma-separated phases to run, with those they need")
	flagShape = flag.String("bench.shape", "", "comma-separated shapes of the volume: brick, replica2, 2x2, mount-brick, mount-replica2; all by default")
	flagPairs = flag.String("bench.pairs", "", "comma-separated pairs, client-brick, beside real-real: our-our, our-real, real-our; all by default")
)

// phase is one line of the table.
type phase struct {
	name  string // of the driver's phase
	title string
	count int // files or requests in the long form
	bytes int
	depth int
	meta  bool   // metadata: the target is 2.0 with both ends ours
	short int    // count in the short form
	goal  string // the target if it is another one
}

func (p phase) target() string {
	switch {
	case p.goal != "":
		return p.goal
	case p.meta:
		return "2.0"
	}
	return "1.0"
}

var phases = []phase{
	{"seqwrite", "sequential write, 1 MiB", 512, 1 << 20, 1, false, 16, ""},
	{"seqread", "sequential read, 1 MiB", 512, 1 << 20, 1, false, 16, ""},
	{"randread", "random read, 4 KiB, 1 in flight", 20000, 4096, 1, false, 256, ""},
	{"randread", "random read, 4 KiB, 16 in flight", 64000, 4096, 16, false, 256, ""},
	{"randwrite", "random write, 4 KiB, 1 in flight", 20000, 4096, 1, false, 256, ""},
	{"randwrite", "random write, 4 KiB, 16 in flight", 64000, 4096, 16, false, 256, ""},
	{"create", "create small files (create, write 1 KiB, close)", 10000, 1024, 1, true, 64, ""},
	{"stat", "stat small files", 10000, 0, 1, true, 64, ""},
	{"openread", "open, read 1 KiB, close", 10000, 1024, 1, true, 64, ""},
	{"list", "list 10 000 entries with stat", 10000, 0, 1, true, 64, ""},
	{"rename", "rename small files", 10000, 0, 1, true, 64, ""},
	{"unlink", "unlink small files", 10000, 0, 1, true, 64, ""},
}

// shape is a kind of volume.
type shape struct {
	name   string // of -bench.shape
	title  string
	bricks int
	create []string // words of `gluster volume create`, before the bricks
	up     []string // arguments of `wythe up`
	words  string   // what it is, for the text above the tables
}

var shapes = []shape{
	{"brick", "One brick", 1, nil, []string{"--distribute", "1", "--replica", "1"}, "one brick"},
	{"replica2", "Replica 2", 2, []string{"replica", "2"}, []string{"--distribute", "1", "--replica", "2"}, "two bricks, each with a copy of everything"},
	{"2x2", "2 × 2", 4, []string{"replica", "2"}, []string{"--distribute", "2", "--replica", "2"}, "four bricks, two pairs of copies over which names are spread"},
}

// setup is one client on one volume.
type setup struct {
	name   string // "real client, real brick"
	pair   string // "real-real"
	driver string
	port   int
	server func() []int // processes of the bricks
	// Of a mount: where it is, as the Node sees it, and its process.
	dir    string
	client int
}

// sample is one run of one phase.
type sample struct {
	seconds, cpu, serverCPU float64
	rss, serverRSS          int64 // KiB
	count                   int
	messages                int // to bricks, where they are counted
}

func TestBenchmarks(t *testing.T) {
	testenv.Need(t, "gcc", "pkg-config")
	testenv.NeedRoot(t)
	p := newPrograms(t)
	for _, s := range shapes {
		if listed(*flagShape, s.name) {
			t.Run(s.name, func(t *testing.T) { benchmark(t, p, s) })
		}
	}
}

func benchmark(t *testing.T, prog programs, s shape) {
	newBench(t, prog, s).compare()
}

// compare runs the phases with each of the setups, and writes what came out.
func (b *bench) compare() {
	t, phases, s := b.t, b.phases, b.shape
	reps := 1
	if *flagLong {
		reps = *flagReps
	}
	// samples[phase][setup] lists one sample per repetition.
	samples := make([][][]sample, len(phases))
	for rep := range reps {
		for i, p := range phases {
			if !listed(*flagOnly, p.name) {
				continue
			}
			if samples[i] == nil {
				samples[i] = make([][]sample, len(b.setups))
			}
			sums := map[string]string{}
			for k := range b.setups {
				k = (k + rep) % len(b.setups) // nobody is always first
				s, sum := b.do(b.setups[k], p)
				samples[i][k] = append(samples[i][k], s)
				sums[b.setups[k].name] = sum
			}
			for name, sum := range sums {
				if sum != sums[b.setups[0].name] {
					t.Fatalf("%s: %s read %s and %s read %s", p.title, name, sum, b.setups[0].name, sums[b.setups[0].name])
				}
			}
		}
		if b.sweep != nil {
			b.sweep()
		}
	}
	r := &results{bench: b, samples: samples, reps: reps}
	t.Log("\n" + r.tables())
	if !*flagLong {
		return
	}
	if *flagRaw != "" {
		if err := r.writeRaw(filepath.Join(*flagRaw, s.name+".txt")); err != nil {
			t.Fatal(err)
		}
	}
	if *flagDoc != "" {
		if err := r.writeDoc(*flagDoc); err != nil {
			t.Fatal(err)
		}
	}
}

// listed reports whether name is in a comma-separated list; all are in none.
func listed(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// programs are what was built for the run.
type programs struct{ c, ours, wythe string }

func newPrograms(t *testing.T) programs {
	dir := t.TempDir()
	p := programs{filepath.Join(dir, "driver-c"), filepath.Join(dir, "driver-go"), filepath.Join(dir, "wythe")}
	build(t, "sh", "-c", `gcc -O2 -Wall -o "$0" testdata/driver.c $(pkg-config --cflags --libs glusterfs-api) -lpthread`, p.c)
	build(t, "go", "build", "-o", p.ours, "./driver")
	build(t, "go", "build", "-o", p.wythe, "../../cmd/wythe")
	return p
}

type bench struct {
	t      *testing.T
	g      *testenv.Glusterd
	shape  shape
	setups []setup
	phases []phase
	do     func(setup, phase) (sample, string) // runs one phase and returns what was read
	sweep  func()                              // clears up after a repetition, if set
	last   map[string]time.Time                // when a mount was used last, by pair
}

const ourPort = 24107

// newBench starts both volumes. The bricks of a side share one file system.
func newBench(t *testing.T, prog programs, s shape) *bench {
	b := &bench{t: t, g: testenv.Gluster(t), shape: s, phases: phases}
	b.do = b.run
	size := 2048 * s.bricks
	theirs := testenv.LoopFS(t, "xfs", size)
	words := slices.Clone(s.create)
	var dirs []string
	for i := range s.bricks {
		dirs = append(dirs, filepath.Join(theirs, fmt.Sprint("brick", i)))
	}
	b.g.Volume(t, "data", append(words, dirs...)...)
	var theirPids []int
	for _, dir := range dirs {
		theirPids = append(theirPids, b.g.BrickPid(t, "data", dir))
	}
	their := func() []int { return theirPids }
	b.setups = []setup{{name: "real client, real brick", pair: "real-real", driver: prog.c, port: 24007, server: their}}
	if listed(*flagPairs, "our-real") {
		b.setups = append(b.setups, setup{name: "our client, real brick", pair: "our-real", driver: prog.ours, port: 24007, server: their})
	}
	if !listed(*flagPairs, "our-our") && !listed(*flagPairs, "real-our") {
		return b
	}
	args := append([]string{"up", "--dir", testenv.LoopFS(t, "xfs", size) + "/up", "--listen", b.g.IP, "--port", strconv.Itoa(ourPort), "--allow", "*"}, s.up...)
	up := b.g.Start(t, prog.wythe, args...)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.g.WaitPort(ctx, ourPort); err != nil {
		t.Fatal(err)
	}
	our := func() []int { return []int{up.Pid} }
	if listed(*flagPairs, "real-our") {
		b.setups = append(b.setups, setup{name: "real client, our brick", pair: "real-our", driver: prog.c, port: ourPort, server: our})
	}
	if listed(*flagPairs, "our-our") {
		b.setups = slices.Insert(b.setups, 1, setup{name: "our client, our brick", pair: "our-our", driver: prog.ours, port: ourPort, server: our})
	}
	return b
}

func build(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// amount is how much of a phase there is to do.
func (p phase) amount() int {
	if *flagLong {
		return max(p.count/max(*flagScale, 1)/p.depth, 1) * p.depth
	}
	return p.short
}

// run does one phase and returns the sample and what the driver read.
func (b *bench) run(s setup, p phase) (sample, string) {
	count := p.amount()
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
	r.count = count
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
