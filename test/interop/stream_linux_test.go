package interop

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/brick/check"
)

var (
	firstSeed = flag.Uint64("stream.seed", 1, "first seed of the operation streams")
	seeds     = flag.Int("stream.seeds", 2, "number of operation streams")
	length    = flag.Int("stream.ops", 400, "operations in a stream")
)

// run does a stream on a target and returns the outcomes.
func run(t target, ops []op) []result {
	rs := make([]result, len(ops))
	for i, o := range ops {
		rs[i] = t.Do(o)
	}
	return rs
}

// outcome is what a stream left: results, and the brick.
type outcome struct {
	name    string
	results []result
	brick   []string
	took    time.Duration
}

// compare reports where two outcomes of one stream differ.
func compare(t *testing.T, seed uint64, ops []op, a, b outcome) {
	t.Helper()
	var out strings.Builder
	n := 0
	for i := range ops {
		if a.results[i] == b.results[i] || b.results[i] == notOffered || alsoRight(ops[i], a.results[i], b.results[i]) {
			continue
		}
		if n++; n > 15 {
			continue
		}
		fmt.Fprintf(&out, "op %d: %v\n    %-28s %v\n    %-28s %v\n", i, ops[i], a.name, a.results[i], b.name, b.results[i])
	}
	if n > 15 {
		fmt.Fprintf(&out, "… and %d more\n", n-15)
	}
	if n > 0 {
		t.Errorf("seed %d: %d operations differ\n%s", seed, n, out.String())
	}
	if d := difference(a.name, b.name, a.brick, b.brick); d != "" {
		t.Errorf("seed %d: bricks differ\n%s", seed, d)
	}
}

// alsoRight tells outcomes that are different reasons for the same refusal. Of a
// caller who may not change the directory the FUSE client says so before it asks
// a brick; ours learns it from the brick, which is asked after it was seen that
// a directory is not empty, or that a name in a sticky directory is another's.
func alsoRight(o op, real, ours result) bool {
	if o.As == 0 || real.Errno != "EACCES" {
		return false
	}
	return o.Do == "rmdir" && ours.Errno == "ENOTEMPTY" || o.Do == "rename" && ours.Errno == "EPERM"
}

// fuseOutcome runs a stream through the real FUSE client.
func fuseOutcome(t *testing.T, s *server, ops []op) outcome {
	t.Helper()
	dir := s.mount(t)
	w := startWorker(t, s.node, dir)
	start := time.Now()
	o := outcome{name: "real client, " + s.name, results: run(w, ops), took: time.Since(start)}
	if err := w.Close(); err != nil {
		t.Errorf("worker: %v", err)
	}
	s.node.Unmount(t, dir)
	o.brick = describe(t, s.brick)
	if bad := faults(o.brick); len(bad) > 0 {
		t.Errorf("%s: wrong on the brick:\n%s", o.name, strings.Join(bad, "\n"))
	}
	return o
}

// libraryOutcome runs a stream through our client.
func libraryOutcome(t *testing.T, s *server, ops []op) outcome {
	t.Helper()
	l := newLibrary(mountLibrary(t, s))
	start := time.Now()
	o := outcome{name: "our client, " + s.name, results: run(l, ops), took: time.Since(start)}
	if err := l.Close(); err != nil {
		t.Errorf("unmount: %v", err)
	}
	o.brick = describe(t, s.brick)
	if bad := faults(o.brick); len(bad) > 0 {
		t.Errorf("%s: wrong on the brick:\n%s", o.name, strings.Join(bad, "\n"))
	}
	return o
}

// mustBeClean lets the checker look at a brick that nobody serves.
func mustBeClean(t *testing.T, brick string) {
	t.Helper()
	sum, err := check.Run(t.Context(), brick, check.Options{Report: func(p check.Problem) { t.Errorf("%v", p) }})
	if err != nil {
		t.Errorf("check: %v", err)
	}
	if sum.Dirs+sum.Files == 0 {
		t.Errorf("the checker saw nothing in %s", brick)
	}
}

// succeeded tells how many ops did, since a stream in which most fail proves little.
func succeeded(rs []result) int {
	n := 0
	for _, r := range rs {
		if r.Errno == "" {
			n++
		}
	}
	return n
}

// The real client on the real brick agrees with itself: what the stream compares
// does not depend on chance.
func TestStreamRealTwice(t *testing.T) {
	seed := *firstSeed
	ops := stream(seed, *length)
	a := fuseOutcome(t, realBrick(t), ops)
	b := fuseOutcome(t, realBrick(t), ops)
	b.name += " again"
	compare(t, seed, ops, a, b)
	n := succeeded(a.results)
	t.Logf("%d of %d succeeded, %v", n, len(ops), a.took)
	if n < len(ops)/3 {
		t.Errorf("only %d of %d operations succeed: the stream is not worth much", n, len(ops))
	}
	if testing.Verbose() {
		kinds := map[string]int{}
		for i, r := range a.results {
			kinds[ops[i].Do+" "+r.Errno]++
		}
		t.Log(kinds)
	}
}

// The same stream has the same outcome whichever client and whichever brick.
func TestStream(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ops := stream(seed, *length)
			want := fuseOutcome(t, realBrick(t), ops)
			t.Logf("%d of %d succeeded, %v", succeeded(want.results), len(ops), want.took)
			for _, try := range []struct {
				name   string
				server func(testing.TB) *server
				run    func(*testing.T, *server, []op) outcome
			}{
				{"real client, our brick", ourBrick, fuseOutcome},
				{"our client, real brick", realBrick, libraryOutcome},
				{"our client, our brick", ourBrick, libraryOutcome},
			} {
				t.Run(try.name, func(t *testing.T) {
					s := try.server(t)
					got := try.run(t, s, ops)
					compare(t, seed, ops, want, got)
					t.Logf("%v", got.took)
					if s.ours {
						s.stop(t)
						mustBeClean(t, s.brick)
					}
				})
			}
		})
	}
}
