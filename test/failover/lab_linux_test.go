package failover

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

var (
	record   = flag.Bool("failover.record", false, "write the files below testdata with the real client")
	accept   = flag.Bool("failover.accept", false, "take what our client does otherwise than the real one for right")
	only     = flag.String("failover.only", "", "regular expression of the scenarios to run")
	long     = flag.Bool("failover.long", os.Getenv("WYTHE_FAILOVER") == "long", "run all scenarios, and the long form of the torture")
	workers  = flag.Int("failover.workers", 8, "scenarios at a time")
	verbose  = flag.Bool("failover.verbose", false, "print the log of our client")
	ourBrick = flag.Bool("failover.ourbricks", false, "run our bricks under the real glusterd everywhere")
)

// brickVar makes the test binary be a brick.
const brickVar = "WYTHE_FAILOVER_BRICK"

func TestMain(m *testing.M) {
	if os.Getenv(brickVar) != "" {
		os.Exit(brick.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// lab is a real glusterd with volumes, its self-heal daemon, and clients of
// either kind.
type lab struct {
	g   *testenv.Glusterd
	exe string // the real client's program
	fs  string // where bricks are
}

// newLab starts a glusterd. With ours set the bricks are our program, which
// glusterd starts in the place of its own.
func newLab(t testing.TB, ours bool) *lab {
	t.Helper()
	testenv.NeedRoot(t)
	g := testenv.Gluster(t)
	l := &lab{g: g, fs: testenv.LoopFS(t, "xfs", 2048)}
	if ours || *ourBrick {
		g.TakePlace(t, brickVar+"=1", "")
	}
	l.exe = buildTheirs(t, l.fs)
	return l
}

// forgetful is for volumes with the distribution's bricks under a self-heal daemon
// that is at work beside clients. By default it leaves a second name that a file
// has lost where it is, and forgets it: see loseNames.
func forgetful(t testing.TB, l *lab, volume string) {
	l.g.Set(t, volume, "cluster.use-anonymous-inode", "off")
}

// volume is a volume of a lab.
type volume struct {
	*lab
	name   string
	words  []string       // of "volume create"
	bricks []string       // directories
	text   string         // the client volfile as glusterd made it
	ports  []atomic.Int32 // of the bricks, as last known
}

// volume creates and starts a volume: words are those of the command line
// before the bricks.
func (l *lab) volume(t testing.TB, name string, n int, words ...string) *volume {
	t.Helper()
	v := l.create(t, name, n, words...)
	v.start(t)
	return v
}

// create is volume without the start.
func (l *lab) create(t testing.TB, name string, n int, words ...string) *volume {
	t.Helper()
	v := &volume{lab: l, name: name, words: words, ports: make([]atomic.Int32, n)}
	args := slices.Clone(words)
	for i := range n {
		dir := fmt.Sprintf("%s/%s-%d", l.fs, name, i)
		v.bricks, args = append(v.bricks, dir), append(args, dir)
	}
	l.g.Create(t, name, args...)
	// The daemon must not heal while marks are looked at: it crawls when it
	// starts, when it is told to, and every so often.
	l.g.Set(t, name, "cluster.shd-max-threads", "8", "cluster.heal-timeout", "100000")
	return v
}

func (v *volume) start(t testing.TB) {
	t.Helper()
	v.g.StartVolume(t, v.name)
	v.text = v.g.Volfile(t, v.name, "trusted-"+v.name+".tcp-fuse.vol")
	v.learnPorts(t)
}

// learnPorts asks where the bricks are.
func (v *volume) learnPorts(t testing.TB) {
	t.Helper()
	list, err := v.g.Bricks(v.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if i := slices.Index(v.bricks, b.Path); i >= 0 && b.Online {
			v.ports[i].Store(int32(b.Port))
		}
	}
}

// route is a way to the bricks with a relay before each.
type route []*relay

func (v *volume) route(t testing.TB) route {
	t.Helper()
	var r route
	for i := range v.bricks {
		r = append(r, newRelay(t, v.g.Node, func() int { return int(v.ports[i].Load()) }))
	}
	return r
}

func (r route) close() {
	for _, x := range r {
		x.close()
	}
}

// settle waits until nothing has gone by for d.
func (r route) settle(d, limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(r, func(x *relay) bool { return !x.quiet(d) }) {
			return true
		}
	}
	return false
}

// volfile is the client's volfile with the bricks at the relays. What stands
// above replicate is left out unless whole is set, so that one operation is one
// transaction: caches that answer by themselves and distribute, which locks and
// looks around on its own. set are options of translator types, as
// "cluster/replicate" → "eager-lock" → "off".
func (v *volume) volfile(t testing.TB, r route, whole bool, set map[string]map[string]string) string {
	t.Helper()
	f, err := volfile.Parse(v.text)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	instead := map[string]string{}
	kept := f.Volumes[:0]
	for _, x := range f.Volumes {
		for i, s := range x.Subvolumes {
			if to := instead[s]; to != "" {
				x.Subvolumes[i] = to
			}
		}
		for key, value := range set[x.Type] {
			x.Set(key, value)
		}
		switch {
		case x.Type == "protocol/client":
			if r != nil {
				x.Set("remote-host", v.g.IP)
				x.Set("remote-port", fmt.Sprint(r[n].port()))
			}
			n++
		case whole:
		case strings.HasPrefix(x.Type, "performance/"), x.Type == "cluster/distribute" && len(x.Subvolumes) == 1:
			instead[x.Name] = x.Subvolumes[0]
			continue
		}
		kept = append(kept, x)
	}
	f.Volumes = kept
	return f.String()
}

// connect mounts: kind is "ours" or "theirs".
func (v *volume) connect(kind, volfile, name string) (client, error) {
	if kind == "theirs" {
		return startTheirs(v.lab, v.name, volfile, name)
	}
	return startOurs(v.lab, v.name, volfile, name)
}

// kill kills brick processes with SIGKILL and waits until they are gone.
func (v *volume) kill(t testing.TB, bricks ...int) {
	t.Helper()
	list, err := v.g.Bricks(v.name)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, b := range list {
		if i := slices.Index(v.bricks, b.Path); slices.Contains(bricks, i) && b.Pid != 0 {
			pids = append(pids, b.Pid)
		}
	}
	if len(pids) != len(bricks) {
		t.Fatalf("bricks %v to kill, but these processes: %v", bricks, list)
	}
	for _, p := range pids {
		syscall.Kill(p, syscall.SIGKILL)
	}
	for _, p := range pids {
		testenv.Wait(t, 10*time.Second, "brick process gone", func() bool { return syscall.Kill(p, 0) == syscall.ESRCH })
	}
}

// revive starts the bricks that are down.
func (v *volume) revive(t testing.TB) {
	t.Helper()
	v.g.MustCLI(t, "volume", "start", v.name, "force")
	v.g.WaitOnline(t, v.name)
	v.learnPorts(t)
}

// pending lists what the bricks' indices say is to be healed.
func (v *volume) pending() (list []string) {
	for i, b := range v.bricks {
		for _, kind := range []string{"xattrop", "dirty"} {
			des, _ := os.ReadDir(filepath.Join(b, ".glusterfs/indices", kind))
			for _, de := range des {
				if !strings.HasPrefix(de.Name(), kind) {
					list = append(list, fmt.Sprintf("%d %s %s", i, kind, de.Name()))
				}
			}
		}
	}
	return list
}

// heal has the real self-heal daemon heal, and returns what is pending after
// that for good.
func (v *volume) heal(t testing.TB) []string {
	t.Helper()
	var last []string
	same, empty := 0, 0
	begin := time.Now()
	launch := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		// Until the daemon has found all bricks it says no.
		v.g.CLI(ctx, "volume", "heal", v.name)
	}
	launch()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); {
		p := v.pending()
		// The bricks are read one after the other: what is noted on the first when
		// the last one's note has gone is seen the second time.
		if len(p) > 0 {
			empty = 0
		} else if empty++; empty == 2 {
			break
		}
		if *verbose && len(p) != len(last) {
			t.Logf("%v pending: %d %q", time.Since(begin).Round(time.Millisecond), len(p), p[:min(len(p), 8)])
		}
		if slices.Equal(p, last) {
			same++
		} else {
			same = 0
		}
		last = p
		if same > 0 && same%8 == 0 {
			launch()
		}
		if same > 60 { // nothing moves
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	p := v.pending()
	t.Logf("heal of %s: %v, %d pending", v.name, time.Since(begin).Round(10*time.Millisecond), len(p))
	return p
}

// healed heals and fails the test unless nothing is left.
func (v *volume) healed(t testing.TB) {
	t.Helper()
	if p := v.heal(t); len(p) > 0 {
		out, _ := v.g.CLI(t.Context(), "volume", "heal", v.name, "info")
		t.Fatalf("not healed: %q\n%s\n%s", p, out, v.g.Log("glustershd"))
	}
	out := v.g.MustCLI(t, "volume", "heal", v.name, "info")
	if n := strings.Count(out, "Number of entries: 0"); n != len(v.bricks) {
		t.Fatalf("heal info:\n%s", out)
	}
}
