package failover

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

var (
	kills        = flag.Int("failover.kills", 2, "how often the torture kills a brick; 50 with -failover.long")
	kinds        = flag.String("failover.clients", "ours,theirs,ours,theirs", "the clients that work in the torture")
	partitioned  = flag.String("failover.partitioned", "ours", "the clients that are cut off from a brick in TestPartition")
	partitions   = flag.Int("failover.partitions", 1, "how often, each")
	partitionFor = flag.Duration("failover.partition", 5*time.Second, "for how long")
	seed         = flag.Uint64("failover.seed", 1, "of the torture")
)

// TestTorture kills bricks again and again, and cuts all bricks of a node off at
// once, while two clients of ours and two of the distribution's write and verify.
// Nobody sees an error, nothing that was acknowledged is lost, and in the end all
// copies are alike.
func TestTorture(t *testing.T) {
	for _, x := range []struct {
		name  string
		n     int
		words []string
		nodes [][]int // bricks that a node has
		ours  bool    // our bricks
	}{
		{"replica3", 3, []string{"replica", "3"}, [][]int{{0}, {1}, {2}}, false},
		{"2x2", 4, []string{"replica", "2"}, [][]int{{0, 2}, {1, 3}}, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := newLab(t, x.ours)
			v := l.create(t, "data", x.n, x.words...)
			// A node that just goes silent is given up after this many seconds.
			l.g.Set(t, "data", "network.ping-timeout", "3")
			if !x.ours && !*ourBrick {
				forgetful(t, l, "data")
			}
			v.start(t)
			n := *kills
			if *long && n == 2 {
				n = 50
			}
			v.torture(t, n, x.nodes)
		})
	}
}

func (v *volume) torture(t *testing.T, n int, nodes [][]int) {
	r := v.route(t)
	defer r.close()
	seen := newHistory()
	for i := range r {
		r[i].watch(i, seen)
	}
	defer seen.write(t)
	vf := v.volfile(t, r, true, nil)
	var stop atomic.Bool
	var writers []*writer
	var wg sync.WaitGroup
	for i, kind := range strings.Split(*kinds, ",") {
		// For the log of our clients, too.
		c, err := v.connect(kind, vf, fmt.Sprintf("torture%d", i))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w := &writer{
			client: c, name: fmt.Sprintf("%s%d", kind, i), dir: fmt.Sprintf("w%d", i),
			rnd: rand.New(rand.NewPCG(*seed, uint64(i))), files: map[string][]byte{}, dirs: map[string]bool{},
		}
		writers = append(writers, w)
		wg.Go(func() {
			if w.err = w.work(&stop); w.err != nil {
				seen.add("%s fails: %v", w.name, w.err)
				stop.Store(true)
				w.scene = v.state(w.dir, true)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(*seed, 99))
	for i := 0; i < n && !stop.Load(); i++ {
		brick := rnd.IntN(len(v.bricks))
		t.Logf("kill %d: brick %d", i+1, brick)
		seen.add("kill %d: brick %d", i+1, brick)
		v.kill(t, brick)
		time.Sleep(time.Duration(300+rnd.IntN(1200)) * time.Millisecond)
		v.revive(t)
		v.calm(t, r, len(writers), &stop)
		seen.add("calm")
	}
	// A node that dies says so; one whose cable is pulled does not.
	for i, silent := range []bool{false, true} {
		if stop.Load() {
			break
		}
		node := nodes[(int(*seed)+i)%len(nodes)]
		t.Logf("bricks %v cut off, silent: %v", node, silent)
		for _, b := range node {
			if silent {
				r[b].stall(time.Hour)
			} else {
				r[b].cut()
			}
		}
		if silent {
			time.Sleep(4 * time.Second)
		}
		time.Sleep(time.Second)
		for _, b := range node {
			r[b].cut()
			r[b].stall(0)
			r[b].restore()
		}
		v.calm(t, r, len(writers), &stop)
	}
	stop.Store(true)
	wg.Wait()
	for _, w := range writers {
		t.Logf("%s: %d operations, %d files, the longest took %v (%s)", w.name, w.ops, len(w.files), w.slowest.Round(time.Millisecond), w.slowestOp)
		if w.err != nil {
			t.Errorf("%s: %v\nthe bricks then:\n%s", w.name, w.err, strings.Join(w.scene, "\n"))
		}
		w.client.Close()
	}
	v.healed(t)
	for _, kind := range []string{"ours", "theirs"} {
		c, err := v.connect(kind, v.volfile(t, nil, true, nil), "verify-"+kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range writers {
			w.client = c
			if w.err != nil {
				continue // what it knows is not what it did
			}
			if err := w.verify(); err != nil {
				t.Errorf("%s, seen by a client of %s: %v", w.name, kind, err)
			}
		}
		c.Close()
	}
	v.copiesAlike(t)
}

// copiesAlike compares the bricks of each set.
func (v *volume) copiesAlike(t testing.TB) {
	t.Helper()
	copies := 2
	if len(v.bricks) == 3 {
		copies = 3
	}
	for i := 0; i < len(v.bricks); i += copies {
		set := *v
		set.bricks = v.bricks[i : i+copies]
		if lines := set.state(".", true); !set.alike(lines) {
			for _, l := range lines {
				if strings.Contains(l, " | ") {
					t.Errorf("bricks from %d on differ: %s", i, l)
				}
			}
		}
	}
}

// calm waits until all clients are connected to all bricks, and no copy has been
// blamed for a while: before that, one more brick may be one too many.
func (v *volume) calm(t testing.TB, r route, clients int, stop *atomic.Bool) {
	t.Helper()
	begin := time.Now()
	good, launched := 0, time.Now()
	testenv.Wait(t, 2*time.Minute, "all is healed", func() bool {
		if stop.Load() {
			return true
		}
		time.Sleep(90 * time.Millisecond)
		for _, x := range r {
			if x.clients() < clients {
				good = 0
				return false
			}
		}
		if v.blamed() {
			good = 0
			if time.Since(launched) > 2*time.Second {
				v.g.CLI(t.Context(), "volume", "heal", v.name)
				launched = time.Now()
			}
			return false
		}
		good++
		return good >= 12
	})
	t.Logf("calm after %v", time.Since(begin).Round(10*time.Millisecond))
}

// blamed reports whether some brick says that another missed something.
func (v *volume) blamed() bool {
	return slices.ContainsFunc(v.pending(), func(p string) bool { return strings.Contains(p, " xattrop ") })
}

// writer works in a directory of its own and knows what must be in it.
type writer struct {
	client client
	name   string
	dir    string
	rnd    *rand.Rand
	files  map[string][]byte
	dirs   map[string]bool
	serial int
	few    bool // names, which come again and again
	err    error
	scene  []string // what the bricks had when it failed

	ops       int
	slowest   time.Duration
	slowestOp string
}

// do does a command, which must succeed.
func (w *writer) do(format string, args ...any) (string, error) {
	cmd := fmt.Sprintf(format, args...)
	begin := time.Now()
	text, err := w.client.Do(cmd)
	if d := time.Since(begin); d > w.slowest {
		w.slowest, w.slowestOp = d, cmd
	}
	w.ops++
	if err != nil {
		return "", fmt.Errorf("%s: %w (%s, after %v)", cmd, err, result("", err), time.Since(begin))
	}
	return text, nil
}

// all does commands one after the other.
func (w *writer) all(commands ...string) error {
	for _, c := range commands {
		if _, err := w.do("%s", c); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) path(name string) string { return w.dir + "/" + name }

// work goes on until it is told to stop.
func (w *writer) work(stop *atomic.Bool) error {
	if err := w.all("mkdir " + w.dir); err != nil {
		return err
	}
	for !stop.Load() {
		if err := w.step(); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// some returns one of the names.
func some[V any](w *writer, m map[string]V) string {
	names := slices.Sorted(maps.Keys(m))
	if len(names) == 0 {
		return ""
	}
	return names[w.rnd.IntN(len(names))]
}

func (w *writer) step() error {
	name := some(w, w.files)
	what := w.rnd.IntN(100)
	switch {
	case name == "" || what < 20 && len(w.files) < w.most():
		return w.createFile()
	case what < 40:
		return w.write(name, len(w.files[name])) // at its end
	case what < 55:
		return w.write(name, w.rnd.IntN(len(w.files[name])+1))
	case what < 60:
		size := w.rnd.IntN(len(w.files[name]) + 1)
		err := w.all(fmt.Sprintf("truncate %s %d", w.path(name), size))
		w.files[name] = w.files[name][:size:size]
		return err
	case what < 70:
		return w.rename(name)
	case what < 78:
		err := w.all("unlink " + w.path(name))
		delete(w.files, name)
		return err
	case what < 84:
		return w.directory()
	case what < 97:
		return w.check(name)
	}
	return w.list(false)
}

// most is how many files there are at most.
func (w *writer) most() int {
	if w.few {
		return 8
	}
	return 40
}

func (w *writer) newName() string {
	if w.few {
		for {
			name := fmt.Sprintf("f%d", w.rnd.IntN(12))
			if _, taken := w.files[name]; !taken {
				return name
			}
		}
	}
	w.serial++
	return fmt.Sprintf("f%d", w.serial)
}

func (w *writer) createFile() error {
	name := w.newName()
	size := 1 + w.rnd.IntN(100_000)
	s := w.rnd.Uint64N(1 << 30)
	w.files[name] = pattern(0, size, s)
	return w.all("creat 1 "+w.path(name), fmt.Sprintf("fill 1 0 %d %d", size, s), "close 1")
}

// write overwrites part of a file in a few pieces, and sometimes makes it durable.
func (w *writer) write(name string, off int) error {
	commands := []string{fmt.Sprintf("open 1 %s %d", w.path(name), os.O_RDWR)}
	for range 1 + w.rnd.IntN(3) {
		size := 1 + w.rnd.IntN(30_000)
		s := w.rnd.Uint64N(1 << 30)
		commands = append(commands, fmt.Sprintf("fill 1 %d %d %d", off, size, s))
		b := w.files[name]
		if end := off + size; end > len(b) {
			b = append(b[:len(b):len(b)], make([]byte, end-len(b))...)
		}
		copy(b[off:], pattern(off, size, s))
		w.files[name] = b
		off += size
	}
	if w.rnd.IntN(3) == 0 {
		commands = append(commands, "fsync 1")
	}
	if len(w.files[name]) > 500_000 {
		commands = append(commands, "ftruncate 1 1000")
		w.files[name] = w.files[name][:1000:1000]
	}
	return w.all(append(commands, "close 1")...)
}

// rename gives a file another name, which may be another's.
func (w *writer) rename(name string) error {
	to := w.newName()
	if w.rnd.IntN(3) == 0 {
		to = some(w, w.files)
	}
	if to == name {
		return nil
	}
	err := w.all("rename " + w.path(name) + " " + w.path(to))
	w.files[to] = w.files[name]
	delete(w.files, name)
	return err
}

func (w *writer) directory() error {
	if len(w.dirs) > 3 {
		name := some(w, w.dirs)
		delete(w.dirs, name)
		return w.all("rmdir " + w.path(name))
	}
	w.serial++
	name := fmt.Sprintf("d%d", w.serial)
	w.dirs[name] = true
	return w.all("mkdir " + w.path(name))
}

func (w *writer) check(name string) error {
	got, err := w.do("sum %s", w.path(name))
	if want := sumText(w.files[name]); err == nil && got != want {
		err = fmt.Errorf("%s has size and sum %s, and must have %s", w.path(name), got, want)
	}
	return err
}

// list compares the names. While copies are healed a name may be there twice: the
// self-heal daemon makes a file that only points to another subvolume first, and
// says that it is one only afterwards. GlusterFS's own clients show it, too.
//
// A listing of GlusterFS's client ends with the brick that it reads, so it is begun
// anew then; ours has to bring it to its end.
func (w *writer) list(once bool) error {
	got, err := w.do("list %s", w.dir)
	for range 2 {
		if err == nil || !strings.HasPrefix(w.name, "theirs") || !strings.Contains(err.Error(), "ENOTCONN") {
			break
		}
		got, err = w.do("list %s", w.dir)
	}
	if err != nil {
		return err
	}
	names := strings.Fields(got)
	slices.Sort(names)
	if !once {
		names = slices.Compact(names)
	}
	want := slices.Concat(slices.Collect(maps.Keys(w.files)), slices.Collect(maps.Keys(w.dirs)))
	slices.Sort(want)
	if !slices.Equal(names, want) {
		less := func(a, b []string) (list []string) {
			for _, n := range a {
				if i := slices.Index(b, n); i >= 0 {
					b = slices.Delete(slices.Clone(b), i, i+1)
				} else {
					list = append(list, n)
				}
			}
			return list
		}
		return fmt.Errorf("the listing of %s has %q too much and lacks %q", w.dir, less(names, want), less(want, names))
	}
	return nil
}

// verify looks at everything.
func (w *writer) verify() error {
	if err := w.list(true); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		if err := w.check(name); err != nil {
			return err
		}
	}
	return nil
}
