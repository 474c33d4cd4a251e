package capi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/testenv"
)

var (
	benchDoc    = flag.String("bench.doc", "../docs/benchmarks.md", "document that TestBench writes its tables to")
	benchRounds = flag.Int("bench.rounds", 3, "repetitions of TestBench")
	benchEach   = flag.Float64("bench.each", 1, "seconds for most lines of TestBench")
)

// setup is a library and a volume that it works on.
type setup struct {
	title string
	v     *volume
	ours  bool // our library
}

// command is how a program is run with the library.
func (s *setup) command(t testing.TB, words ...string) []string {
	if s.ours {
		return with(t, words...)
	}
	return words
}

// rates are what a program measured: operations per second by line, in order.
type rates struct {
	lines []string
	per   map[string]float64
}

func (r *rates) add(line string, n float64) {
	if r.per == nil {
		r.per = map[string]float64{}
	}
	r.lines = append(r.lines, line)
	r.per[line] = n
}

// What programs get out of our library and out of the real one on the same real
// volume, and out of ours on a volume of ours, in turns.
func TestBench(t *testing.T) {
	if os.Getenv("WYTHE_BENCH") != "1" {
		return // make bench asks for it
	}
	testenv.Need(t, "glusterd", "fio", "python3")
	for _, part := range []struct {
		name, title string
		run         func(*testing.T, *setup) rates
	}{
		{"calls", "libgfapi: calls of a C program", benchCalls},
		{"fio", "libgfapi: fio", benchFio},
		{"python", "libgfapi: the Python package", benchPython},
	} {
		t.Run(part.name, func(t *testing.T) {
			real, own := theirs(t), ours(t)
			setups := []*setup{{"real library, real volume", real, false}, {"ours, real volume", real, true}, {"ours, our volume", own, true}}
			var all [][]rates
			for range *benchRounds {
				round := make([]rates, len(setups))
				for i, s := range setups {
					round[i] = part.run(t, s)
				}
				all = append(all, round)
			}
			text := benchTable(part.title, setups, all)
			fmt.Print(text)
			if *benchDoc != "" {
				if err := testenv.WriteSection(*benchDoc, "libgfapi-"+part.name, text); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// benchTable is the part of the document: rates of the first setup, and for the
// others the median of the rounds' ratios, with the lowest and highest.
func benchTable(title string, setups []*setup, rounds [][]rates) string {
	var w strings.Builder
	fmt.Fprintf(&w, "## %s\n\n%d rounds.\n\n| per second | %s |", title, len(rounds), setups[0].title)
	for _, s := range setups[1:] {
		fmt.Fprintf(&w, " %s |", s.title)
	}
	fmt.Fprintf(&w, " target |\n|---|---|%s---|\n", strings.Repeat("---|", len(setups)-1))
	median := func(v []float64) float64 {
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	for _, line := range rounds[0][0].lines {
		var base []float64
		for _, r := range rounds {
			base = append(base, r[0].per[line])
		}
		fmt.Fprintf(&w, "| %s | %.0f |", line, median(base))
		for i := 1; i < len(setups); i++ {
			var ratios []float64
			for _, r := range rounds {
				ratios = append(ratios, r[i].per[line]/r[0].per[line])
			}
			fmt.Fprintf(&w, " **%.2f** (%.2f–%.2f) |", median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
		target := "1.0"
		if strings.HasSuffix(line, "*") {
			target = "2.0"
		}
		fmt.Fprintf(&w, " %s |\n", target)
	}
	return w.String()
}

// parseRates reads lines of "name: number".
func parseRates(t *testing.T, out string) (r rates) {
	t.Helper()
	for line := range strings.Lines(out) {
		name, number, ok := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		r.add(name, n)
	}
	return r
}

func each() string { return strconv.FormatFloat(*benchEach, 'f', -1, 64) }

func benchCalls(t *testing.T, s *setup) rates {
	prog := compile(t, "bench")
	return parseRates(t, s.v.run(t, s.command(t, prog, s.v.IP, "24007", s.v.name, each())...))
}

func benchPython(t *testing.T, s *setup) rates {
	script, err := filepath.Abs("testdata/bench.py")
	if err != nil {
		t.Fatal(err)
	}
	lib := "libgfapi.so.0"
	if s.ours {
		lib = filepath.Join(library(t), lib)
	}
	return parseRates(t, s.v.run(t, "env", "PYTHONPATH="+filepath.Join(filepath.Dir(script), "../../python"), "PYTHONDONTWRITEBYTECODE=1", "WYTHE_LIBGFAPI="+lib,
		"python3", script, s.v.IP, "24007", s.v.name, each()))
}

// benchFio runs fio's jobs one after the other in one process, which waits ten
// seconds at its end with the real library.
func benchFio(t *testing.T, s *setup) (r rates) {
	var jobs strings.Builder
	fmt.Fprintf(&jobs, "[global]\nsize=64m\ntime_based=1\nruntime=%s\nthread=1\nfilename=bench.dat\n", each())
	lines := []struct{ title, rw, how string }{
		{"write, 64 KiB", "write", "ioengine=gfapi\nbs=64k"},
		{"read, 64 KiB", "read", "ioengine=gfapi\nbs=64k"},
		{"randwrite, 4 KiB", "randwrite", "ioengine=gfapi\nbs=4k"},
		{"randread, 4 KiB", "randread", "ioengine=gfapi\nbs=4k"},
		{"async write, 1 MiB, 8 in flight", "write", "ioengine=gfapi_async\nbs=1m\niodepth=8"},
		{"async read, 1 MiB, 8 in flight", "read", "ioengine=gfapi_async\nbs=1m\niodepth=8"},
		{"async randwrite, 4 KiB, 16 in flight", "randwrite", "ioengine=gfapi_async\nbs=4k\niodepth=16"},
		{"async randread, 4 KiB, 16 in flight", "randread", "ioengine=gfapi_async\nbs=4k\niodepth=16"},
	}
	for i, l := range lines {
		fmt.Fprintf(&jobs, "[j%d]\nstonewall\nrw=%s\n%s\nvolume=%s\nbrick=%s\nsingle-instance=1\n", i, l.rw, l.how, s.v.name, s.v.IP)
	}
	file := s.v.write(t, "bench.fio", jobs.String())
	out := s.v.run(t, s.command(t, "sh", "-c", `cd "$0" && exec fio --output-format=json "$@"`, s.v.Dir, file)...)
	var report struct {
		Jobs []struct {
			Read, Write struct{ IOPS float64 }
		}
	}
	if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &report); err != nil || len(report.Jobs) != len(lines) {
		t.Fatalf("fio: %v\n%s", err, out)
	}
	for i, l := range lines {
		r.add(l.title, report.Jobs[i].Read.IOPS+report.Jobs[i].Write.IOPS)
	}
	return r
}

// TestBenchDocument holds that the document has a place for the tables.
func TestBenchDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"calls", "fio", "python"} {
		begin, end := testenv.SectionMarks("libgfapi-" + name)
		if i, j := strings.Index(string(text), begin), strings.Index(string(text), end); i < 0 || j < i {
			t.Errorf("docs/benchmarks.md has no %q … %q", begin, end)
		}
	}
}
