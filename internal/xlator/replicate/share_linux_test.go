package replicate

import (
	"context"
	"errors"
	"fmt"
	stdmaps "maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
)

// open opens what another client has made.
func (m *mount) open(g fop.GFID) *fop.Fd {
	m.d.t.Helper()
	fd := &fop.Fd{GFID: g, Flags: fop.ORdwr}
	if _, err := m.Do(context.Background(), &fop.Open{Header: m.head(), GFID: g, Flags: fop.ORdwr, Fd: fd}); err != nil {
		m.d.t.Fatal(err)
	}
	return fd
}

// TestHandOver: of two clients that write to one file each gets its turn, long
// before the other one's post-op would have been due, as long as that one goes on
// writing; what is written in the end is the same on all bricks, and unmarked.
func TestHandOver(t *testing.T) {
	d := newDisks(t, 3, 0)
	a := d.mount("post-op-delay-secs", "30")
	b := d.mount("post-op-delay-secs", "30")
	fa, err := a.create("f")
	must(t, err)
	must(t, a.write(fa, 0, strings.Repeat("-", 4096)))
	fb := b.open(a.made["f"])

	const rounds = 200
	var turns [2]atomic.Int32
	var wg sync.WaitGroup
	start := time.Now()
	for k, m := range []*mount{a, b} {
		fd := []*fop.Fd{fa, fb}[k]
		wg.Go(func() {
			for i := range rounds {
				if err := m.write(fd, i*8%4096, fmt.Sprintf("%d:%05d;", k, i)); err != nil {
					t.Error(err)
					return
				}
				turns[k].Add(1)
			}
			// The last one to write holds the lock until somebody tells it.
			must(t, m.flush(fd))
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the lock was not handed over: %v", took)
	}
	a.quiesce(0)
	b.quiesce(0)
	first, err := os.ReadFile(d.path(0, "f"))
	must(t, err)
	d.contents("f", string(first), string(first), string(first))
	if got := d.allMarks("f"); got != "- | - | -" {
		t.Errorf("marks %s", got)
	}
	// The one who waited was seen: data went to disk before the mark was taken back.
	syncs := 0
	for _, line := range append(a.taps[0].take(), b.taps[0].take()...) {
		if strings.HasPrefix(line, "FSYNC datasync=1 {batch-fsync=1") {
			syncs++
		}
	}
	if syncs == 0 {
		t.Error("no lock was handed over because somebody waited")
	}
}

// TestManyWriters has goroutines of two clients write, truncate, change
// attributes and names side by side. All bricks must end up alike.
func TestManyWriters(t *testing.T) {
	d := newDisks(t, 3, 0)
	a, b := d.mount(), d.mount()
	const files = 3
	var gfids []fop.GFID
	fds := map[*mount][]*fop.Fd{}
	for i := range files {
		fd, err := a.create(fmt.Sprintf("f%d", i))
		must(t, err)
		gfids = append(gfids, fd.GFID)
		fds[a] = append(fds[a], fd)
		fds[b] = append(fds[b], b.open(fd.GFID))
	}
	must(t, a.mkdir("dir"))
	b.made["dir"] = a.made["dir"]
	var wg sync.WaitGroup
	for k, m := range []*mount{a, b, a, b, a, b} {
		rnd := rand.New(rand.NewPCG(uint64(k), 7))
		wg.Go(func() {
			for i := range 60 {
				f := rnd.IntN(files)
				fd := fds[m][f]
				var err error
				switch n := rnd.IntN(10); {
				case n < 5:
					err = m.write(fd, rnd.IntN(5000), strings.Repeat(fmt.Sprint(k), 1+rnd.IntN(300)))
				case n < 6:
					_, err = m.Do(t.Context(), &fop.Ftruncate{Header: m.head(), GFID: fd.GFID, Fd: fd, Offset: uint64(rnd.IntN(5000))})
				case n < 7:
					_, err = m.Do(t.Context(), &fop.Setattr{Header: m.head(), GFID: gfids[f], Stat: fop.Iatt{Mode: uint32(0o600 + rnd.IntN(64))}, Valid: fop.SetMode})
				case n < 8:
					_, err = m.Do(t.Context(), &fop.Fsync{Header: m.head(), GFID: fd.GFID, Fd: fd})
				case n < 9:
					name := fmt.Sprintf("n%d", rnd.IntN(4))
					_, err = m.Do(t.Context(), &fop.Link{Header: m.head(), GFID: gfids[f], Parent: m.made["dir"], Name: name})
					if errors.Is(err, syscall.EEXIST) {
						_, err = m.Do(t.Context(), &fop.Unlink{Header: m.head(), Parent: m.made["dir"], Name: name})
					}
					if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) {
						err = nil
					}
				default:
					from, to := fmt.Sprintf("n%d", rnd.IntN(4)), fmt.Sprintf("n%d", rnd.IntN(4))
					_, err = m.Do(t.Context(), &fop.Rename{Header: m.head(), OldParent: m.made["dir"], OldName: from, NewParent: m.made["dir"], NewName: to})
					if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) {
						err = nil
					}
				}
				if err != nil {
					t.Errorf("%d of %d: %v", i, k, err)
				}
			}
		})
	}
	wg.Wait()
	for _, m := range []*mount{a, b} {
		for _, fd := range fds[m] {
			must(t, m.flush(fd))
		}
	}
	a.close()
	b.close()
	d.alike(t, 0, 1)
	d.alike(t, 0, 2)
	d.unmarked(t)
}

// alike compares two bricks, name by name and byte by byte.
func (d *disks) alike(t *testing.T, i, j int) {
	t.Helper()
	a, b := d.tree(i), d.tree(j)
	for name, x := range a {
		if y, ok := b[name]; !ok || x != y {
			t.Errorf("%s: brick %d has %.60q, brick %d %.60q (%t)", name, i, x, j, y, ok)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			t.Errorf("%s is only on brick %d", name, j)
		}
	}
}

// tree is what a brick holds: mode and contents by name.
func (d *disks) tree(i int) map[string]string {
	all := map[string]string{}
	var walk func(string)
	walk = func(dir string) {
		list, err := os.ReadDir(d.path(i, dir))
		must(d.t, err)
		for _, e := range list {
			if e.Name() == ".glusterfs" {
				continue
			}
			name := strings.TrimPrefix(dir+"/"+e.Name(), "/")
			fi, err := e.Info()
			must(d.t, err)
			s := fi.Mode().String()
			if fi.Mode().IsRegular() && i != d.n-d.arbiter {
				b, err := os.ReadFile(d.path(i, name))
				must(d.t, err)
				s += " " + string(b)
			}
			all[name] = s
			if e.IsDir() {
				walk(name)
			}
		}
	}
	walk("")
	return all
}

// unmarked checks that no brick has any mark or note.
func (d *disks) unmarked(t *testing.T) {
	t.Helper()
	for i := range d.n {
		for _, kind := range []string{"xattrop", "dirty", "entry-changes"} {
			if list := d.index(i, kind); len(list) > 0 {
				t.Errorf("brick %d: index %s has %v", i, kind, list)
			}
		}
		for name := range d.tree(i) {
			if got := d.marks(i, name); got != "-" {
				t.Errorf("brick %d: %s has marks %s", i, name, got)
			}
		}
	}
}

// TestClose: closing a graph finishes what was put off. Nothing stays locked or
// marked, and another client finds the file free at once.
func TestClose(t *testing.T) {
	d := newDisks(t, 2, 0)
	a := d.mount("post-op-delay-secs", "600")
	fd, err := a.create("f")
	must(t, err)
	must(t, a.write(fd, 0, "hello"))
	if got := d.allMarks("f"); got != "d1.0.0 | d1.0.0" {
		t.Fatalf("while it is written to: %s", got)
	}
	a.close()
	d.unmarked(t)
	if err := a.write(fd, 0, "late"); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("a write after the end: %v", err)
	}
	b := d.mount()
	fb := b.open(a.made["f"])
	b.taps[0].take()
	must(t, b.write(fb, 0, "there"))
	if lines := strings.Join(b.taps[0].take(), "\n"); strings.Contains(lines, "SETLKW") {
		t.Errorf("the file was still locked:\n%s", lines)
	}
}

// TestFlush: a flush and the closing of a file leave no mark behind.
func TestFlushUnmarks(t *testing.T) {
	d := newDisks(t, 2, 0)
	a := d.mount("post-op-delay-secs", "600")
	fd, err := a.create("f")
	must(t, err)
	for i := range 10 {
		must(t, a.write(fd, i, "x"))
	}
	must(t, a.flush(fd))
	a.quiesce(0)
	d.unmarked(t)
}

// TestUnlinkedFile: a file that was unlinked while it was open, written to and
// closed leaves nothing behind; the other way round too.
func TestUnlinkedFile(t *testing.T) {
	d := newDisks(t, 2, 0)
	a := d.mount("post-op-delay-secs", "600")
	for i := range 20 {
		name := fmt.Sprintf("f%d", i)
		fd, err := a.create(name)
		must(t, err)
		other := a.open(fd.GFID)
		must(t, a.write(fd, 0, "x"))
		if i%2 == 0 {
			must(t, a.unlink(name))
		}
		if i%4 < 2 {
			must(t, a.write(other, 1, "y"))
		}
		must(t, a.flush(fd))
		a.release(fd)
		if i%2 != 0 {
			must(t, a.unlink(name))
		}
		must(t, a.write(other, 1, "y"))
		must(t, a.flush(other))
		a.release(other)
	}
	a.quiesce(0)
	d.unmarked(t)
	a.close()
}

// TestOneMark: writes that begin side by side share one mark.
func TestOneMark(t *testing.T) {
	d := newDisks(t, 2, 0)
	a := d.mount("post-op-delay-secs", "600")
	fd, err := a.create("f")
	must(t, err)
	a.quiesce(0)
	a.taps[0].take()
	a.taps[1].setHook(func(req fop.Request) error {
		if req.Op() == fop.OpFxattrop { // until all have begun
			testenv.Wait(t, 10*time.Second, "all writers", func() bool {
				tx := &a.peek(fd.GFID).tx
				tx.mu.Lock()
				defer tx.mu.Unlock()
				return len(tx.lanes[data].owners) == 4
			})
		}
		return nil
	})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { must(t, a.write(fd, i*100, strings.Repeat("x", 100))) })
	}
	wg.Wait()
	a.taps[1].setHook(nil)
	a.quiesce(1)
	got := map[string]int{}
	for _, line := range a.taps[0].take() {
		got[strings.Fields(line)[0]]++
	}
	if want := (map[string]int{"FINODELK": 1, "FXATTROP": 1, "WRITE": 4}); !stdmaps.Equal(got, want) {
		t.Errorf("sent %v, want %v", got, want)
	}
	must(t, a.flush(fd))
	a.quiesce(0)
	d.unmarked(t)
}

// peek returns what is kept of an object.
func (m *mount) peek(g fop.GFID) *object {
	o := m.acquire(g)
	defer o.Release()
	return &o.V
}

// TestGenerations: a brick goes after a write, while its post-op is put off.
func TestGenerations(t *testing.T) {
	d := newDisks(t, 3, 0)
	a := d.mount("post-op-delay-secs", "600")
	fd, err := a.create("f")
	must(t, err)
	must(t, a.write(fd, 0, "one"))

	// Nothing follows: the others take back their marks, nobody is blamed.
	must(t, d.up.StopBrick(2))
	a.waitUp(3)
	must(t, a.flush(fd))
	a.quiesce(0)
	if got := d.allMarks("f"); got != "- | - | d1.0.0" {
		t.Errorf("brick 2 gone, nothing follows: %s", got)
	}
	must(t, d.up.StartBrick(2))
	a.waitUp(7)
	// Another write follows: a new lock, without the brick that is gone.
	must(t, a.write(fd, 0, "two"))
	must(t, d.up.StopBrick(2))
	a.waitUp(3)
	must(t, a.write(fd, 0, "tre"))
	must(t, a.flush(fd))
	a.quiesce(0)
	if got := d.allMarks("f"); got != "c2=1.0.0 | c2=1.0.0 | d2.0.0" {
		t.Errorf("brick 2 gone, a write follows: %s", got)
	}
	d.contents("f", "tre", "tre", "two")
	// Two are gone: no write, no blame.
	must(t, d.up.StopBrick(1))
	a.waitUp(1)
	if err := a.write(fd, 0, "fou"); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("a write without quorum: %v", err)
	}
	if got := d.marks(0, "f"); got != "c2=1.0.0" {
		t.Errorf("after a write without quorum: %s", got)
	}
}

// TestCancel: a caller that gives up while it waits for a lock gets out and
// leaves nothing behind; one that gives up later is carried through.
func TestCancel(t *testing.T) {
	d := newDisks(t, 2, 0)
	a, b := d.mount("post-op-delay-secs", "600"), d.mount()
	fa, err := a.create("f")
	must(t, err)
	must(t, a.write(fa, 0, "mine"))
	fb := b.open(fa.GFID)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 { // one waits on the bricks, the other for the first
		go func() {
			_, err := b.Do(ctx, &fop.Write{Header: b.head(), GFID: fa.GFID, Fd: fb, Data: []byte("yours")})
			done <- err
		}()
	}
	testenv.Wait(t, 10*time.Second, "a lock that is waited for", func() bool {
		b.taps[0].mu.Lock()
		defer b.taps[0].mu.Unlock()
		return strings.Contains(strings.Join(b.taps[0].lines, "\n"), "SETLKW")
	})
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	}
	b.quiesce(0)
	must(t, a.flush(fa))
	must(t, b.write(fb, 0, "free"))
	must(t, b.flush(fb))
	d.contents("f", "free", "free")

	// In the middle of the fop: everything is finished as if nobody had left.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	a.taps[1].setHook(func(req fop.Request) error {
		if req.Op() == fop.OpMkdir {
			cancel()
		}
		return nil
	})
	gfid := a.newGFID("dir")
	_, err = a.Do(ctx, &fop.Mkdir{Header: a.head(gfid), Parent: fop.RootGFID, Name: "dir", Mode: 0o755})
	if err != nil {
		t.Errorf("mkdir: %v", err)
	}
	a.close()
	b.close()
	d.alike(t, 0, 1)
	d.unmarked(t)
}
