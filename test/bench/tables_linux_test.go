package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/testenv"
)

// results are the samples of one shape: samples[phase][setup][repetition]; those
// of a phase that did not run are nil. The first setup is what the others are
// compared with.
type results struct {
	*bench
	samples [][][]sample
	reps    int
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// tables are the results as they stand in the document: ratios first, then what
// they cost.
func (r *results) tables() string {
	var w strings.Builder
	fmt.Fprintf(&w, "## %s\n\nVolumes of %s. %s %s %s.%s\n\n", r.shape.title, r.shape.words, "GlusterFS", glusterVersion(),
		plural(r.reps, "repetition"), scaled())
	header := func(first string, names []string) {
		fmt.Fprintf(&w, "| %s | %s |\n|---%s|\n", first, strings.Join(names, " | "), strings.Repeat("|---", len(names)))
	}
	var names []string
	for _, s := range r.setups[1:] {
		names = append(names, s.name)
	}
	header("", append(append([]string{"GlusterFS, µs each"}, names...), "target"))
	for i, p := range r.phases {
		if r.samples[i] == nil {
			continue
		}
		title, target := p.title, p.target()
		if p.meta {
			title += " *"
		}
		var each []float64
		for _, x := range r.samples[i][0] {
			each = append(each, x.seconds*1e6/float64(max(x.count, 1)))
		}
		fmt.Fprintf(&w, "| %s | %.0f |", title, median(each))
		for k := 1; k < len(r.setups); k++ {
			ratios := r.ratios(i, k)
			fmt.Fprintf(&w, " **%.2f** (%.2f–%.2f) |", median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
		fmt.Fprintf(&w, " %s |\n", target)
	}
	fmt.Fprintf(&w, "\nProcessor seconds of the client + of the bricks, and the client's largest resident size:\n\n")
	names = nil
	for _, s := range r.setups {
		names = append(names, s.name)
	}
	header("", names)
	for i, p := range r.phases {
		if r.samples[i] == nil {
			continue
		}
		fmt.Fprintf(&w, "| %s |", p.title)
		for k := range r.setups {
			var c, s, m []float64
			for _, x := range r.samples[i][k] {
				c, s, m = append(c, x.cpu), append(s, x.serverCPU), append(m, float64(x.rss)/1024)
			}
			fmt.Fprintf(&w, " %.2f + %.2f s, %.0f MiB |", median(c), median(s), slices.Max(m))
		}
		fmt.Fprintln(&w)
	}
	r.messages(&w, header)
	fmt.Fprintf(&w, "\nLargest resident size of all brick processes together: ")
	for n, k := range r.sides() {
		if n > 0 {
			w.WriteString(", ")
		}
		_, side, _ := strings.Cut(r.setups[k].name, ", ")
		fmt.Fprintf(&w, "%ss %d MiB", side, r.serverPeak(k))
	}
	w.WriteString(".\n")
	return w.String()
}

// messages tells how many messages to bricks an operation takes, where that was
// counted.
func (r *results) messages(w *strings.Builder, header func(string, []string)) {
	if r.shape.kind() != "Mount" {
		return
	}
	fmt.Fprintf(w, "\nMessages of the client to all bricks, for each operation:\n\n")
	var names []string
	for _, s := range r.setups {
		names = append(names, s.name)
	}
	header("", names)
	for i, p := range r.phases {
		if r.samples[i] == nil {
			continue
		}
		fmt.Fprintf(w, "| %s |", p.title)
		for k := range r.setups {
			var per []float64
			for _, x := range r.samples[i][k] {
				per = append(per, float64(x.messages)/float64(max(x.count, 1)))
			}
			fmt.Fprintf(w, " %.2f |", median(per))
		}
		fmt.Fprintln(w)
	}
}

func (r *results) ratios(phase, setup int) (ratios []float64) {
	for rep, base := range r.samples[phase][0] {
		ratios = append(ratios, base.seconds/r.samples[phase][setup][rep].seconds)
	}
	return ratios
}

// sides gives one setup per kind of brick.
func (r *results) sides() (setups []int) {
	seen := map[int]bool{}
	for k, s := range r.setups {
		if !seen[s.port] {
			seen[s.port] = true
			setups = append(setups, k)
		}
	}
	return setups
}

// serverPeak is the largest resident size of a setup's bricks, in MiB.
func (r *results) serverPeak(setup int) int64 {
	var m int64
	for i := range r.samples {
		for k, samples := range r.samples[i] {
			if r.setups[k].port != r.setups[setup].port {
				continue
			}
			for _, x := range samples {
				m = max(m, x.serverRSS)
			}
		}
	}
	return m / 1024
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// scaled says that there was less to do than the titles of the lines say.
func scaled() string {
	if *flagScale <= 1 {
		return ""
	}
	return fmt.Sprintf(" All counts were divided by %d.", *flagScale)
}

func glusterVersion() string {
	out, err := exec.Command("glusterfs", "--version").Output()
	if f := strings.Fields(string(out)); err == nil && len(f) > 1 {
		return f[1] + ","
	}
	return "of the distribution,"
}

// raw is the samples in the format of Go benchmarks.
func (r *results) raw() string {
	var w strings.Builder
	fmt.Fprintf(&w, "goos: linux\nshape: %s\n", r.shape.name)
	for i, p := range r.phases {
		for k, samples := range r.samples[i] {
			for _, x := range samples {
				per := func(seconds float64) float64 { return seconds * 1e9 / float64(max(x.count, 1)) }
				fmt.Fprintf(&w, "Benchmark%s/%s/depth=%d/pair=%s %d %.0f ns/op %.0f client-cpu-ns/op %.0f brick-cpu-ns/op %d client-rss-bytes\n",
					r.shape.kind(), p.name, p.depth, r.setups[k].pair, x.count, per(x.seconds), per(x.cpu), per(x.serverCPU), x.rss*1024)
			}
		}
	}
	return w.String()
}

func (r *results) writeRaw(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(r.raw()), 0o644)
}

// kind is what benchstat calls a shape's benchmarks.
func (s shape) kind() string {
	if strings.HasPrefix(s.name, mountPrefix) {
		return "Mount"
	}
	return "Volume"
}

// marks of a shape's part of the document.
func (s shape) marks() (begin, end string) { return testenv.SectionMarks(s.name) }

// writeDoc replaces the shape's tables in the document.
func (r *results) writeDoc(name string) error {
	return testenv.WriteSection(name, r.shape.name, r.tables())
}

// TestDocument holds that the document has a place for every shape.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(slices.Clone(shapes), mountShapes...) {
		begin, end := s.marks()
		i, j := bytes.Index(text, []byte(begin)), bytes.Index(text, []byte(end))
		if i < 0 || j < i {
			t.Errorf("docs/benchmarks.md has no %q … %q", begin, end)
		}
	}
}
