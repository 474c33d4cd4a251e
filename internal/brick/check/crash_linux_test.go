package check_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/brick/check"
	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/posix"
)

var (
	kills = flag.Int("crash.kills", 20, "how often TestKill kills a brick at a random moment, and at a random occurrence of each step")
	seed  = flag.Uint64("crash.seed", 0, "first seed of TestKill, 0 for a new one")
)

// Variables that make the test binary the victim of a crash test.
const (
	envDir   = "WYTHE_CRASH_DIR"
	envStep  = "WYTHE_CRASH_STEP" // name to die at, "" for any
	envCount = "WYTHE_CRASH_COUNT"
	envSeed  = "WYTHE_CRASH_SEED"
	envSteps = "WYTHE_CRASH_STEPS" // file for the names of all steps that were met
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		victim(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim does random entry operations on a brick until it is killed, by itself
// at the wanted step or by its parent.
func victim(dir string) {
	count, _ := strconv.Atoi(os.Getenv(envCount))
	s, _ := strconv.ParseUint(os.Getenv(envSeed), 10, 64)
	want := os.Getenv(envStep)
	var mu sync.Mutex
	met := map[string]bool{}
	posix.Step = func(name string) {
		mu.Lock()
		defer mu.Unlock()
		met[name] = true
		if (want == "" || want == name) && count > 0 {
			if count--; count == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	h, err := posix.New(xlator.Config{Name: "posix", Options: xlator.Options{
		"directory": dir, "reserve": "0", "janitor-sleep-duration": "1", "update-link-count-parent": "on",
	}})
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go h.(xlator.Runner).Run(ctx)
	workers := 1
	if want == "" && count == 0 {
		workers = 3 // to be killed from outside
	}
	rounds := 1 << 30
	file := os.Getenv(envSteps)
	if file != "" {
		rounds = 2000
	}
	fmt.Println("ready")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			v := &vandal{h: h, r: rand.New(rand.NewPCG(s, uint64(w)))}
			for range rounds {
				v.step()
			}
		}()
	}
	wg.Wait()
	cancel()
	var names []string
	mu.Lock()
	for n := range met {
		names = append(names, n)
	}
	mu.Unlock()
	os.WriteFile(file, []byte(strings.Join(names, "\n")), 0o644)
}

// vandal does random operations on a small set of names, most of which succeed.
type vandal struct {
	h    fop.Handler
	r    *rand.Rand
	dirs []fop.GFID
	open []*fop.Fd
	now  int64
}

func (v *vandal) head() fop.Header {
	v.now++
	const all = fop.TimeAtime | fop.TimeCtime | fop.TimeMtime | fop.TimeParentCtime | fop.TimeParentMtime
	return fop.Header{
		Cred: fop.Cred{UID: 1000, GID: 1000},
		Time: fop.Stamp{Flags: all, Sec: 1e9 + v.now},
		XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())},
			fop.Pair{Key: "trusted.test", Val: fop.Bytes([]byte("x"))}),
	}
}

func (v *vandal) dir() fop.GFID {
	if len(v.dirs) == 0 {
		return fop.RootGFID
	}
	return v.dirs[v.r.IntN(len(v.dirs))]
}

func (v *vandal) file() string   { return fmt.Sprintf("f%d", v.r.IntN(12)) }
func (v *vandal) subdir() string { return fmt.Sprintf("d%d", v.r.IntN(5)) }

// find refreshes what is known of a name.
func (v *vandal) find(parent fop.GFID, name string) (fop.GFID, bool) {
	l, err := fop.Call(context.Background(), v.h, &fop.Lookup{Header: v.head(), Parent: parent, Name: name})
	if err != nil {
		return fop.GFID{}, false
	}
	return l.Stat.GFID, true
}

func (v *vandal) step() {
	ctx, h := context.Background(), v.head()
	p, q := v.dir(), v.dir()
	switch n := v.r.IntN(100); {
	case n < 20:
		fd := &fop.Fd{Flags: fop.ORdwr}
		if c, err := fop.Call(ctx, v.h, &fop.Create{Header: h, Parent: p, Name: v.file(), Mode: 0o644, Flags: fop.ORdwr | fop.OExcl, Fd: fd}); err == nil {
			v.h.Do(ctx, &fop.Write{Header: v.head(), GFID: c.Stat.GFID, Fd: fd, Data: []byte("data of " + c.Stat.GFID.String())})
			v.open = append(v.open, fd)
		}
	case n < 25:
		v.h.Do(ctx, &fop.Mknod{Header: h, Parent: p, Name: v.file(), Mode: fop.ModeFIFO | 0o600})
	case n < 30:
		v.h.Do(ctx, &fop.Symlink{Header: h, Parent: p, Name: v.file(), Target: "nowhere"})
	case n < 40:
		if m, err := fop.Call(ctx, v.h, &fop.Mkdir{Header: h, Parent: p, Name: v.subdir(), Mode: 0o755}); err == nil && len(v.dirs) < 20 {
			v.dirs = append(v.dirs, m.Stat.GFID)
		}
	case n < 50:
		if g, ok := v.find(p, v.file()); ok {
			v.h.Do(ctx, &fop.Link{Header: h, GFID: g, Parent: q, Name: v.file()})
		}
	case n < 65:
		v.h.Do(ctx, &fop.Unlink{Header: h, Parent: p, Name: v.file()})
	case n < 80:
		v.h.Do(ctx, &fop.Rename{Header: h, OldParent: p, OldName: v.file(), NewParent: q, NewName: v.file()})
	case n < 90:
		v.h.Do(ctx, &fop.Rename{Header: h, OldParent: p, OldName: v.subdir(), NewParent: q, NewName: v.subdir()})
	case n < 95:
		v.h.Do(ctx, &fop.Rmdir{Header: h, Parent: p, Name: v.subdir(), Flags: int32(v.r.IntN(2))})
	case n < 97:
		if g, ok := v.find(p, v.file()); ok {
			d := fop.NewDict(fop.Pair{Key: "user.test", Val: fop.Bytes([]byte("value"))})
			v.h.Do(ctx, &fop.Setxattr{Header: h, GFID: g, Dict: d})
			v.h.Do(ctx, &fop.Xattrop{Header: v.head(), GFID: g, Kind: fop.XattropAdd, Dict: fop.NewDict(fop.Pair{Key: "trusted.afr.dirty", Val: fop.Bytes(make([]byte, 12))})})
			v.h.Do(ctx, &fop.Removexattr{Header: v.head(), GFID: g, Name: "user.test"})
		}
	default:
		if len(v.dirs) > 5 {
			v.dirs = append(v.dirs[:0], v.dirs[v.r.IntN(4):]...)
		}
		for _, fd := range v.open[:len(v.open)/2] {
			v.h.Do(ctx, &fop.Release{Fd: fd})
		}
		v.open = append(v.open[:0], v.open[len(v.open)/2:]...)
	}
}

// crash runs a victim on dir and returns when it is dead.
func crash(t *testing.T, dir string, after time.Duration, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), envDir+"="+dir), env...)
	var out bytes.Buffer
	cmd.Stderr = &out
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer limit.Stop()
	buf := make([]byte, 256)
	n, _ := pipe.Read(buf)
	if strings.HasPrefix(string(buf[:n]), "ready") && after > 0 {
		time.Sleep(after) // the random moment
		cmd.Process.Kill()
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("%v: %s%s", err, buf[:n], out.String())
	}
}

// heal looks everything up, as clients would.
func heal(t *testing.T, dir string) {
	t.Helper()
	h, err := posix.New(xlator.Config{Name: "posix", Options: xlator.Options{"directory": dir, "reserve": "0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.(xlator.Closer).Close()
	healDir(t, h, dir, "", fop.RootGFID)
}

func healDir(t *testing.T, h fop.Handler, dir, at string, g fop.GFID) {
	entries, err := os.ReadDir(filepath.Join(dir, at))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, e := range entries {
		if at == "" && e.Name() == brickfs.Meta {
			continue
		}
		v := vandal{}
		l, err := fop.Call(ctx, h, &fop.Lookup{Header: v.head(), Parent: g, Name: e.Name()})
		for until := time.Now().Add(5 * time.Second); errors.Is(err, syscall.ENOENT) && time.Now().Before(until); {
			time.Sleep(20 * time.Millisecond) // half-made entries are hidden while they are young
			l, err = fop.Call(ctx, h, &fop.Lookup{Header: v.head(), Parent: g, Name: e.Name()})
		}
		if err != nil {
			t.Errorf("lookup of %s/%s after the crash: %v", at, e.Name(), err)
			continue
		}
		if _, err := fop.Call(ctx, h, &fop.Stat{GFID: l.Stat.GFID}); err != nil {
			t.Errorf("stat of %s/%s by gfid after the crash: %v", at, e.Name(), err)
		}
		if l.Stat.IsDir() {
			healDir(t, h, dir, filepath.Join(at, e.Name()), l.Stat.GFID)
		} else if l.Stat.Nlink < 1 {
			t.Errorf("%s/%s has %d links", at, e.Name(), l.Stat.Nlink)
		}
	}
}

// inspect checks a brick after a crash: what the checker finds it can repair;
// on a copy of the state, lookups alone bring back everything that has a name.
func inspect(t *testing.T, dir string) {
	t.Helper()
	quiet := func(o check.Options) (check.Summary, []check.Problem) {
		var all []check.Problem
		o.Report = func(p check.Problem) { all = append(all, p) }
		sum, err := check.Run(context.Background(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return sum, all
	}
	_, before := quiet(check.Options{})
	heal(t, dir)
	_, healed := quiet(check.Options{})
	for _, p := range healed {
		switch p.Kind {
		case check.Orphan, check.BackPointer, check.ExtraPointer, check.StaleHandle, check.Stray:
			// none of them keeps a client from anything
		default:
			t.Errorf("after lookups there is still: %v", p)
		}
	}
	quiet(check.Options{Repair: true})
	if _, left := quiet(check.Options{}); len(left) > 0 {
		t.Errorf("after repair there is still: %v", left[:min(10, len(left))])
	}
	if t.Failed() {
		for _, p := range before[:min(30, len(before))] {
			t.Log("after the crash:", p)
		}
		t.FailNow()
	}
}

func crashBrick(t *testing.T, rootless bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "brick")
	if err := posix.Create(dir, volume, posix.CreateOptions{Rootless: rootless}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func allSteps(t *testing.T, dir string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "steps")
	crash(t, dir, 0, envSteps+"="+file, envSeed+"=1")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// TestKill kills a brick at every step between two changes to the disk, and at
// random moments.
func TestKill(t *testing.T) {
	testenv.NeedRoot(t)
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	t.Logf("-crash.seed=%d", first)
	for _, rootless := range []bool{false, true} {
		t.Run(fmt.Sprintf("rootless=%t", rootless), func(t *testing.T) {
			dir := crashBrick(t, rootless)
			steps := allSteps(t, dir)
			if len(steps) < 40 {
				t.Fatalf("only %d steps were met: %v", len(steps), steps)
			}
			if *kills <= 20 && !testenv.All() { // a sample
				r := rand.New(rand.NewPCG(first, 0))
				r.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
				steps = steps[:8]
			}
			for i, step := range steps {
				if i%3 == 0 {
					dir = crashBrick(t, rootless) // small ones are checked faster
				}
				s := first + uint64(i)
				for _, count := range []int{1 + int(s%7)} {
					crash(t, dir, 0, envStep+"="+step, envCount+"="+strconv.Itoa(count), envSeed+"="+strconv.FormatUint(s, 10))
					if inspect(t, dir); t.Failed() {
						t.Fatalf("killed at %s, occurrence %d, -crash.seed=%d", step, count, s)
					}
				}
			}
			r := rand.New(rand.NewPCG(first, 1))
			times := *kills
			if rootless && times <= 20 {
				times /= 3
			}
			for i := range times {
				if i%3 == 0 {
					dir = crashBrick(t, rootless)
				}
				s := first + uint64(i)
				crash(t, dir, time.Duration(1+r.IntN(150))*time.Millisecond, envSeed+"="+strconv.FormatUint(s, 10))
				if inspect(t, dir); t.Failed() {
					t.Fatalf("killed at a random moment, -crash.seed=%d", s)
				}
			}
		})
	}
}
