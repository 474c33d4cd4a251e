package races

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

var (
	flagHistories = flag.Int("races.histories", 0, "histories per test, in place of the short form's number")
	flagSeed      = flag.Uint64("races.seed", 0, "seed of the first history, in place of the time")
)

// client carries out calls in the directory of a history.
type client interface {
	do(dir string, c call) answer
	// prepare makes dir, with a file for the calls on a block.
	prepare(dir string) error
	real() bool // it is GlusterFS's own
}

// mix is what the histories of a test are made of.
type mix struct {
	name  string
	ops   []string
	names int // of which this many are used
	model porcupine.Model
}

// source is the name that links are made of in every history. It is there before
// and stays.
const source = names - 1

var mixes = []mix{
	{"create", []string{"create", "create", "unlink", "stat"}, 2, directoryModel},
	{"rename", []string{"create", "rename", "rename", "rename", "stat"}, 3, directoryModel},
	{"rename-unlink", []string{"create", "rename", "rename", "stat", "unlink"}, 3, directoryModel},
	{"link", []string{"create", "link", "link", "unlink", "stat"}, 2, directoryModel},
	{"mkdir", []string{"mkdir", "mkdir", "rmdir", "stat"}, 2, directoryModel},
	{"move", []string{"mkdir", "rename", "rename", "rmdir", "stat"}, 3, directoryModel},
}

func spread(shape string) bool {
	return strings.HasPrefix(shape, "2x") || strings.HasPrefix(shape, "distribute")
}

// promised tells whether clients of a pair on a volume of a shape promise that the
// calls of a mix are as if one after the other. On distributed volumes GlusterFS
// locks no name in LINK, and in a RENAME of a directory only its subvolumes one after
// the other: two of its own clients break "link" and "move" there. In "rename-unlink"
// two of them may wait for each other for ever. With -races.mix and -races.real they
// can be watched.
func promised(m mix, shape, pair string) bool {
	switch m.name {
	case "link", "move":
		return !spread(shape)
	case "rename-unlink":
		return !spread(shape) || pair == "ours+ours"
	}
	return true
}

// mayWait tells whether clients of a pair may wait for each other for ever. On a
// distributed volume a rename locks the files that it is about, then the names, and a
// brick has a RENAME over a file wait while another client holds a lock on that one. So
// if the name gets another file when the first client has its locks, and a second one
// locks that file and waits for the name, both wait. Two clients of GlusterFS on its
// own bricks did so in 2 of 12 runs of "rename" on 2 × 2, one of each kind in 1 of 16.
// Ours take the same locks in the same order.
func mayWait(m mix, shape, pair string) bool {
	return m.name == "rename" && spread(shape) && pair != "ours+ours"
}

// tolerated is how many of the short form's histories may be bad all the same.
//
// On distributed volumes UNLINK locks no name either, and 3 of 40 histories of two
// clients of ours were bad in "rename-unlink".
//
// A brick of GlusterFS answers EEXIST to a MKDIR when a LOOKUP of the name comes in
// between: in a bad history of "mkdir" one call made a name that nobody else made,
// others only looked, and it got EEXIST. With copies one may undo it and the other
// not. 4 of 300 were bad on 2 × 2 beside the real client, 2 of 12 and 2 of 120 on
// distribute3; on our bricks none.
//
// Without copies a CREATE on GlusterFS's brick said ENOENT in one history of 12,
// probably of a file that was removed at once; one of 12 was bad in "rename" as well,
// which nobody has explained.
func tolerated(m mix, shape string, ourBricks bool) int {
	switch {
	case m.name == "rename-unlink" && spread(shape):
		return 4
	case m.name == "mkdir" && !ourBricks:
		return 4
	case m.name != blocks.name && strings.HasPrefix(shape, "distribute") && !ourBricks:
		return 4
	}
	return 0
}

// each is how many goroutines a client has in a history, and how many calls each
// of them makes.
const (
	each  = 2
	calls = 6
)

func (m mix) call(r *rand.Rand, value *uint64) call {
	c := call{do: m.ops[r.IntN(len(m.ops))], a: r.IntN(m.names)}
	switch c.do {
	case "rename":
		c.b = (c.a + 1 + r.IntN(m.names-1)) % m.names
	case "link":
		c.a, c.b = source, c.a
	case "write":
		*value++
		c.v = *value
	}
	return c
}

// patience is how long a history may take.
const patience = 20 * time.Second

// record makes one history: all clients at work at once in dir, which is empty.
// stuck tells which calls did not come back.
func record(m mix, clients []client, dir string, seed uint64) (history []porcupine.Operation, stuck string) {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		value uint64
		busy  = map[int]call{}
	)
	r := rand.New(rand.NewPCG(seed, 17))
	begin, start := make(chan struct{}), time.Now()
	alone := func(i int, c call) {
		from := time.Since(start)
		out := clients[i].do(dir, c)
		history = append(history, porcupine.Operation{ClientId: i * each, Input: c, Call: from.Nanoseconds(), Output: out, Return: time.Since(start).Nanoseconds()})
	}
	if slices.Contains(m.ops, "link") {
		alone(0, call{do: "create", a: source})
	}
	for i := range clients {
		for g := range each {
			plan := make([]call, calls)
			for k := range plan {
				plan[k] = m.call(r, &value)
				plan[k].real = clients[i].real()
			}
			wg.Go(func() {
				<-begin
				for _, c := range plan {
					mu.Lock()
					busy[i*each+g] = c
					mu.Unlock()
					from := time.Since(start)
					out := clients[i].do(dir, c)
					to := time.Since(start)
					mu.Lock()
					delete(busy, i*each+g)
					history = append(history, porcupine.Operation{ClientId: i*each + g, Input: c, Call: from.Nanoseconds(), Output: out, Return: to.Nanoseconds()})
					mu.Unlock()
				}
			})
		}
	}
	close(begin)
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(history), fmt.Sprintf("no answer within %v: %v\n%s", patience, busy, waiting())
	}
	// What is there in the end, each client's view.
	for i := range clients {
		if slices.Contains(m.ops, "read") {
			alone(i, call{do: "read"})
			continue
		}
		for n := range m.names {
			alone(i, call{do: "stat", a: n})
		}
	}
	return history, ""
}

// waiting tells where in our client goroutines are.
func waiting() string {
	buf := make([]byte, 1<<20)
	var w strings.Builder
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "internal/xlator/") {
			w.WriteString(g + "\n\n")
		}
	}
	return w.String()
}

// check asks the checker about a history; text tells one that is wrong.
func check(m mix, history []porcupine.Operation) (ok bool, text string) {
	result, info := porcupine.CheckOperationsVerbose(m.model, history, 10*time.Second)
	if result == porcupine.Ok {
		return true, ""
	}
	var w strings.Builder
	fmt.Fprintf(&w, "%s: not as if one after the other:\n", result)
	w.WriteString(list(history))
	if dir := os.Getenv("WYTHE_RACES_DIR"); dir != "" {
		name := filepath.Join(dir, fmt.Sprintf("%s-%d.html", m.name, time.Now().UnixNano()))
		if err := porcupine.VisualizePath(m.model, info, name); err == nil {
			fmt.Fprintf(&w, "drawn in %s\n", name)
		}
	}
	return false, w.String()
}

// list writes a history, a line per call: who, from when to when, what, and the
// answer.
func list(history []porcupine.Operation) string {
	var w strings.Builder
	slices.SortStableFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	for _, o := range history {
		fmt.Fprintf(&w, "  %d %8.3f–%8.3f ms  %v: %v\n", o.ClientId, float64(o.Call)/1e6, float64(o.Return)/1e6, o.Input, o.Output)
	}
	return w.String()
}

// overlaps counts the pairs of operations of different clients that were under
// way at once: without any, a history says nothing.
func overlaps(history []porcupine.Operation) (n int) {
	for i, a := range history {
		for _, b := range history[i+1:] {
			if a.ClientId/each != b.ClientId/each && a.Call < b.Return && b.Call < a.Return {
				n++
			}
		}
	}
	return n
}

// run makes and checks many histories and returns what is wrong with the first
// bad ones and how many there were. If renew is not nil, clients may wait for each
// other once; then it makes others.
func run(t *testing.T, m mix, clients []client, histories int, fresh func(i int) string, renew func() []client) (bad int, first string) {
	t.Helper()
	if *flagHistories > 0 {
		histories = *flagHistories
	}
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	together := 0
	for i := range histories {
		h, stuck := record(m, clients, fresh(i), seed+uint64(i))
		if stuck != "" {
			if renew == nil {
				t.Fatalf("%s: history %d, seed %d: %s\n%s", m.name, i, seed+uint64(i), stuck, list(h))
			}
			what, _, _ := strings.Cut(stuck, "\n") // and the goroutines
			t.Logf("%s: history %d, seed %d: %s", m.name, i, seed+uint64(i), what)
			clients, renew = renew(), nil // the others hang
			continue
		}
		together += overlaps(h)
		if ok, text := check(m, h); !ok {
			if bad++; bad == 1 {
				first = fmt.Sprintf("seed %d: %s", seed+uint64(i), text)
			}
		}
	}
	t.Logf("%s: %d histories, %d pairs of calls overlapped, %d not linearizable", m.name, histories, together, bad)
	if together < histories {
		t.Errorf("%s: only %d pairs of calls overlapped in %d histories: the clients did not race", m.name, together, histories)
	}
	return bad, first
}
