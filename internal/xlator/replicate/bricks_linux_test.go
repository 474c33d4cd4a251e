package replicate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator/conformance"
)

// TestConformanceBricks runs the suite of all stacks over real bricks, each
// behind a socket: over three, and where time does not matter over two.
func TestConformanceBricks(t *testing.T) {
	sizes := []int{3}
	if testenv.All() {
		sizes = append(sizes, 2)
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return newDisks(t, n, 0).mount() }, conformance.Options{Locks: true, Devices: true, Skip: notHere})
		})
	}
}

func (m *mount) lookup(name string) (*fop.LookupReply, error) {
	dir, base := split(m, name)
	return fop.Call(context.Background(), m, &fop.Lookup{Header: m.head(), Parent: dir, Name: base})
}

func (m *mount) readAll(g fop.GFID) (string, error) {
	r, err := fop.Call(context.Background(), m, &fop.Read{Header: m.head(), GFID: g, Size: 1 << 17})
	if err != nil {
		return "", err
	}
	return string(r.Data), nil
}

func (m *mount) release(fd *fop.Fd) {
	m.d.t.Helper()
	var req fop.Request = &fop.Release{GFID: fd.GFID, Fd: fd}
	if fd.Dir {
		req = &fop.Releasedir{GFID: fd.GFID, Fd: fd}
	}
	if _, err := m.Do(context.Background(), req); err != nil {
		m.d.t.Error(err)
	}
}

// TestStaleCopy: whichever brick misses a write, nobody reads from it when it is
// back: neither the client that wrote, nor one that comes anew.
func TestStaleCopy(t *testing.T) {
	for child := range 3 {
		t.Run(fmt.Sprint(child), func(t *testing.T) {
			d := newDisks(t, 3, 0)
			m := d.mount()
			fd, err := m.create("f")
			must(t, err)
			must(t, m.write(fd, 0, "old contents"))
			must(t, m.flush(fd))
			must(t, d.up.StopBrick(child))
			m.waitUp(all(3).without(child))
			must(t, m.write(fd, 0, "new contents"))
			must(t, m.chmod("f", 0o600))
			if _, err := m.create("later"); err != nil {
				t.Fatal(err)
			}
			must(t, d.up.StartBrick(child))
			m.waitUp(all(3))
			fresh := d.mount("read-hash-mode", "0")
			for round := range 3 {
				for k, c := range []*mount{m, fresh} {
					if got, err := c.readAll(fd.GFID); err != nil || got != "new contents" {
						t.Errorf("round %d, client %d: %q, %v", round, k, got, err)
					}
					r, err := fop.Call(t.Context(), c, &fop.Stat{Header: c.head(), GFID: fd.GFID})
					if err != nil || r.Stat.Mode&0o777 != 0o600 {
						t.Errorf("round %d, client %d: mode %o, %v", round, k, r.Stat.Mode, err)
					}
					if l, err := c.lookup("f"); err != nil || l.Stat.Mode&0o777 != 0o600 {
						t.Errorf("round %d, client %d: lookup %v", round, k, err)
					}
					if _, err := c.lookup("later"); err != nil {
						t.Errorf("round %d, client %d: a name that one brick lacks: %v", round, k, err)
					}
					if names := c.list(t, fop.RootGFID, 4096); strings.Join(names, " ") != "f later" {
						t.Errorf("round %d, client %d: %q", round, k, names)
					}
				}
			}
			m.release(fd)
		})
	}
}

// list lists a directory.
func (m *mount) list(t *testing.T, g fop.GFID, size uint32) (names []string) {
	t.Helper()
	fd := &fop.Fd{GFID: g, Dir: true}
	if _, err := m.Do(t.Context(), &fop.Opendir{Header: m.head(), GFID: g, Fd: fd}); err != nil {
		t.Fatal(err)
	}
	defer m.release(fd)
	for off := uint64(0); ; {
		r, err := fop.Call(t.Context(), m, &fop.Readdir{Header: m.head(), GFID: g, Fd: fd, Offset: off, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Entries {
			if e.Name != "." && e.Name != ".." && e.Name != ".glusterfs" {
				names = append(names, e.Name)
			}
			off = e.Off
		}
		if r.EOF || len(r.Entries) == 0 {
			return names
		}
	}
}

// TestListBig lists a directory of many names: every one once, in whatever steps.
func TestListBig(t *testing.T) {
	d := newDisks(t, 3, 0)
	m := d.mount()
	must(t, m.mkdir("d"))
	const n = 1000
	for i := range n {
		fd, err := m.create(fmt.Sprintf("d/name-%04d", i))
		must(t, err)
		m.release(fd)
	}
	for _, size := range []uint32{300, 4096, 1 << 17} {
		seen := map[string]int{}
		for _, name := range m.list(t, m.made["d"], size) {
			seen[name]++
		}
		for name, times := range seen {
			if times != 1 {
				t.Errorf("%s comes %d times in steps of %d", name, times, size)
			}
		}
		if len(seen) != n {
			t.Errorf("%d names of %d in steps of %d", len(seen), n, size)
		}
	}
}

// TestBricksComeAndGo: while bricks are cut off and mended one after the other,
// readers always get an answer, and the right one.
func TestBricksComeAndGo(t *testing.T) {
	d := newDisks(t, 3, 0)
	m := d.mount()
	fd, err := m.create("f")
	must(t, err)
	must(t, m.write(fd, 0, "contents"))
	must(t, m.flush(fd))
	ctx, cancel := context.WithCancel(t.Context())
	var reads [4]atomic.Int64
	var wg sync.WaitGroup
	for k := range reads {
		wg.Go(func() {
			for ctx.Err() == nil {
				var err error
				switch k {
				case 0:
					var got string
					if got, err = m.readAll(fd.GFID); err == nil && got != "contents" {
						err = fmt.Errorf("read %q", got)
					}
				case 1:
					_, err = m.lookup("f")
				case 2:
					_, err = fop.Call(ctx, m, &fop.Fstat{Header: m.head(), GFID: fd.GFID, Fd: fd})
				case 3:
					_, err = fop.Call(ctx, m, &fop.Getxattr{Header: m.head(), GFID: fd.GFID})
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("reader %d: %v", k, err)
					cancel()
					return
				}
				reads[k].Add(1)
			}
		})
	}
	goOn := func(n int64) {
		t.Helper()
		var before [len(reads)]int64
		for k := range reads {
			before[k] = reads[k].Load()
		}
		testenv.Wait(t, 10*time.Second, "reads go on", func() bool {
			for k := range reads {
				if reads[k].Load() < before[k]+n && ctx.Err() == nil {
					return false
				}
			}
			return true
		})
	}
	for round := range 6 {
		i := round % 3
		must(t, d.up.StopBrick(i))
		m.waitUp(all(3).without(i))
		goOn(25)
		must(t, d.up.StartBrick(i))
		m.waitUp(all(3))
		// What has begun without this brick must not lose the next one, too: nobody
		// can read with one of three.
		goOn(1)
	}
	cancel()
	wg.Wait()
	m.release(fd)
}

// TestOpenReturned: a file that was opened while a brick was down is opened there
// when it is back, and locks on it hold.
func TestOpenReturned(t *testing.T) {
	d := newDisks(t, 3, 0)
	m := d.mount()
	fd, err := m.create("f")
	must(t, err)
	must(t, m.write(fd, 0, "contents"))
	must(t, m.flush(fd))
	m.release(fd)
	must(t, d.up.StopBrick(1))
	m.waitUp(0b101)
	fd = m.open(m.made["f"])
	must(t, d.up.StartBrick(1))
	m.waitUp(all(3))
	m.taps[1].take()
	read := func() {
		t.Helper()
		r, err := fop.Call(t.Context(), m, &fop.Read{Header: m.head(), GFID: fd.GFID, Fd: fd, Size: 100})
		if err != nil || string(r.Data) != "contents" {
			t.Errorf("%v", err)
		}
	}
	read()
	testenv.Wait(t, 10*time.Second, "the file is open on all bricks", func() bool { return set(m.fdOf(fd).opened.Load()) == all(3) })
	read()
	opens := 0
	for _, line := range m.taps[1].take() {
		if strings.HasPrefix(line, "OPEN") {
			opens++
		}
	}
	if opens != 1 {
		t.Errorf("opened %d times", opens)
	}
	m.release(fd)
}

// TestLocksReturned: an application's lock outlives the restart of a brick on all
// bricks but that one, and comes back there too.
func TestLocksReturned(t *testing.T) {
	d := newDisks(t, 3, 0)
	a, b := d.mount(), d.mount()
	b.cred.Owner = "other"
	fa, err := a.create("f")
	must(t, err)
	fb := b.open(a.made["f"])
	lock := func(m *mount, fd *fop.Fd, cmd, typ uint32) error {
		_, err := m.Do(context.Background(), &fop.Lk{Header: m.head(), GFID: fd.GFID, Fd: fd, Cmd: cmd, Type: typ, Flock: fop.Flock{Type: typ, Owner: m.cred.Owner}})
		return err
	}
	must(t, lock(a, fa, fop.LkSet, fop.LockWrite))
	for i := range 3 {
		must(t, d.up.StopBrick(i))
		a.waitUp(all(3).without(i))
		b.waitUp(all(3).without(i))
		if err := lock(b, fb, fop.LkSet, fop.LockWrite); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("brick %d is down: %v", i, err)
		}
		must(t, d.up.StartBrick(i))
		a.waitUp(all(3))
		b.waitUp(all(3))
		if err := lock(b, fb, fop.LkSet, fop.LockWrite); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("brick %d is back: %v", i, err)
		}
	}
	must(t, lock(a, fa, fop.LkSet, fop.LockUnlock))
	must(t, lock(b, fb, fop.LkSet, fop.LockWrite))
	a.release(fa)
	b.release(fb)
}

// TestUnlockUnheard: a lock that is given up while a brick is away, by unlocking
// or with the file, does not come back there and stand in the way for ever.
func TestUnlockUnheard(t *testing.T) {
	d := newDisks(t, 3, 0)
	a, b := d.mount(), d.mount()
	b.cred.Owner = "other"
	fa, err := a.create("f")
	must(t, err)
	fb := b.open(a.made["f"])
	lock := func(m *mount, fd *fop.Fd, typ uint32) error {
		_, err := m.Do(context.Background(), &fop.Lk{Header: m.head(), GFID: fd.GFID, Fd: fd, Cmd: fop.LkSet, Type: typ, Flock: fop.Flock{Type: typ, Owner: m.cred.Owner}})
		return err
	}
	for what, unlock := range map[string]func() error{
		"unlock": func() error { return lock(a, fa, fop.LockUnlock) },
		"flush":  func() error { return a.flush(fa) },
	} {
		must(t, lock(a, fa, fop.LockWrite))
		must(t, d.up.StopBrick(1))
		a.waitUp(0b101)
		b.waitUp(0b101)
		if err := unlock(); err != nil {
			t.Errorf("%s while brick 1 is away: %v", what, err)
		}
		must(t, d.up.StartBrick(1))
		a.waitUp(all(3))
		b.waitUp(all(3))
		if err := lock(b, fb, fop.LockWrite); err != nil {
			t.Errorf("%s while brick 1 was away: nobody else gets the lock: %v", what, err)
			must(t, lock(a, fa, fop.LockUnlock))
			continue
		}
		must(t, lock(b, fb, fop.LockUnlock))
	}
	a.release(fa)
	b.release(fb)
}

// TestPathinfo tells where the copies are, and who is local.
func TestPathinfo(t *testing.T) {
	d := newDisks(t, 2, 0)
	m := d.mount("choose-local", "on")
	r, err := fop.Call(t.Context(), m, &fop.Getxattr{Header: m.head(), GFID: fop.RootGFID, Name: fop.KeyPathinfo})
	must(t, err)
	got := r.Dict.Text(fop.KeyPathinfo)
	for i := range 2 {
		if !strings.Contains(got, "<POSIX("+filepath.Clean(d.up.Volume.Bricks[i].Path)+"):") {
			t.Errorf("no brick %d in %q", i, got)
		}
	}
	if !strings.HasPrefix(got, "(<REPLICATE:v-replicate-0> <POSIX(") || !strings.HasSuffix(got, ")") {
		t.Errorf("%q", got)
	}
	if _, err := fop.Call(t.Context(), m, &fop.Lookup{Header: m.head(), GFID: fop.RootGFID}); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, 10*time.Second, "the local copy", func() bool { return m.local.Load() != 0 })
}

// TestGFIDMismatch: a name that means different files on different bricks.
func TestGFIDMismatch(t *testing.T) {
	d := newDisks(t, 3, 0)
	m := d.mount()
	fd, err := m.create("f")
	must(t, err)
	must(t, m.flush(fd))
	m.release(fd)
	m.quiesce(0) // while the name is locked, nothing about it is certain
	// Behind everybody's back: the name is another file on brick 2.
	other := fop.NewGFID()
	gfid := fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(other)}
	if _, err := m.taps[2].Do(t.Context(), &fop.Unlink{Header: m.head(), Parent: fop.RootGFID, Name: "f"}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.taps[2].Do(t.Context(), &fop.Mknod{Header: m.head(gfid), Parent: fop.RootGFID, Name: "f", Mode: 0o100644}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.lookup("f"); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	// If the directory is known to be bad there, the others decide.
	c := changelog{0, 0, 1}
	for i := range 2 {
		must(t, unix.Setxattr(d.path(i, "."), "trusted.afr.v-client-2", c.bytes(), 0))
	}
	fresh := d.mount()
	fresh.made["f"] = m.made["f"]
	if _, err := fop.Call(t.Context(), fresh, &fop.Lookup{Header: m.head(), GFID: fop.RootGFID}); err != nil {
		t.Fatal(err)
	}
	if l, err := fresh.lookup("f"); err != nil || l.Stat.GFID != m.made["f"] {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestNeedHeal: whether any brick has something to heal is known from every
// lookup, of what is not there too.
func TestNeedHeal(t *testing.T) {
	d := newDisks(t, 3, 0)
	m := d.mount()
	fd, err := m.create("f")
	must(t, err)
	m.quiesce(0)
	check := func(want bool, names ...string) {
		t.Helper()
		for _, name := range names {
			m.needHeal.Store(!want)
			if _, err := m.lookup(name); err != nil && !errors.Is(err, syscall.ENOENT) {
				t.Error(err)
			}
			if m.needHeal.Load() != want {
				t.Errorf("after a lookup of %s: %v", name, !want)
			}
		}
	}
	check(false, "f", "none")
	must(t, d.up.StopBrick(1))
	m.waitUp(0b101)
	must(t, m.write(fd, 0, "x"))
	must(t, m.flush(fd))
	m.quiesce(0)
	check(true, "f", "none")
	m.release(fd)
}
