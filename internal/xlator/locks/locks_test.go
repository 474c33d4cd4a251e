package locks

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLocks(t testing.TB, child fop.Handler, o xlator.Options) *Locks {
	t.Helper()
	h, err := New(xlator.Config{Name: "v-locks", Children: []xlator.Child{{Name: "below", Handler: child}}, Options: o,
		Env: &xlator.Env{Hostname: "h"}})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*Locks)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newLocks(t, mem.NewFS(nil), nil) },
		conformance.Options{Locks: true, Devices: true})
}

// TestModel plays random requests of a few owners on a few bytes against an array
// that says for each byte who has it, and how.
func TestModel(t *testing.T) {
	const size, owners = 24, 3
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var tab posixTable
		var model [size][owners]uint32 // type+1
		who := make([]owner, owners)
		for i := range who {
			who[i] = owner{client: &fop.Client{}, id: string(rune('a' + i))}
		}
		for step := range 200 {
			o := rnd.IntN(owners)
			first := rnd.Int64N(size)
			last := first + rnd.Int64N(size-first)
			typ := uint32(rnd.IntN(3))
			free := true
			for b := first; b <= last && typ != fop.LockUnlock; b++ {
				for x, have := range model[b] {
					if x != o && have != 0 && (typ == fop.LockWrite || have == fop.LockWrite+1) {
						free = false
					}
				}
			}
			_, no := tab.set(&posixLock{owner: who[o], typ: typ, first: first, last: last}, false)
			if (no == 0) != free {
				t.Fatalf("seed %d step %d: %v, want free %v", seed, step, no, free)
			}
			if free {
				for b := first; b <= last; b++ {
					model[b][o] = typ + 1
					if typ == fop.LockUnlock {
						model[b][o] = 0
					}
				}
			}
			var got [size][owners]uint32
			for _, g := range tab.granted {
				x := slices.IndexFunc(who, func(w owner) bool { return w == g.owner })
				for b := g.first; b <= g.last; b++ {
					if got[b][x] != 0 {
						t.Fatalf("seed %d step %d: byte %d twice", seed, step, b)
					}
					got[b][x] = g.typ + 1
				}
			}
			if got != model {
				t.Fatalf("seed %d step %d: %v, want %v", seed, step, got, model)
			}
		}
	}
}

// TestDomainsAlwaysSettle: whatever happens, no two conflicting domain locks are
// granted, and when all is unlocked nothing is left behind.
func TestDomainsAlwaysSettle(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		o := &object{}
		p := &policy{}
		clients := []*fop.Client{{ID: "a"}, {ID: "b"}, {ID: "c"}}
		var waiting []*domainLock
		now := time.Unix(0, 0)
		for range 300 {
			c := clients[rnd.IntN(3)]
			k := &domainLock{owner: owner{client: c, id: string(rune('0' + rnd.IntN(2)))}, family: family(rnd.IntN(2)), domain: "d",
				typ: uint32(rnd.IntN(2)), wait: rnd.IntN(2) == 0, pid: 1, name: [...]string{"", "x", "y"}[rnd.IntN(3)]}
			k.first = rnd.Int64N(8)
			k.last = k.first + rnd.Int64N(4)
			switch rnd.IntN(10) {
			case 0:
				o.disconnect(c, p, now)
			case 1, 2, 3:
				for _, d := range o.domains {
					if n := len(d.granted); n > 0 {
						if e := o.unlock(d.granted[rnd.IntN(n)], p, now); e != 0 {
							t.Fatalf("seed %d: unlock: %v", seed, e)
						}
						break
					}
				}
			case 4:
				if len(waiting) > 0 {
					o.cancel(waiting[rnd.IntN(len(waiting))].w, p, now)
				}
			default:
				if w, _ := o.lock(k, p, now); w != nil {
					waiting = append(waiting, k)
				}
			}
			waiting = slices.DeleteFunc(waiting, func(k *domainLock) bool { return k.w == nil || len(k.w.verdict) > 0 })
			for _, d := range o.domains {
				for i, g := range d.granted {
					for _, h := range d.granted[:i] {
						if g.conflicts(h) {
							t.Fatalf("seed %d: two owners have the same", seed)
						}
					}
				}
				if len(d.granted) == 0 && len(d.blocked) > 0 {
					t.Fatalf("seed %d: waiters for nothing", seed)
				}
			}
		}
		for _, c := range clients {
			o.disconnect(c, p, now)
		}
		if !o.idle() {
			t.Fatalf("seed %d: left %s", seed, o.dump())
		}
	}
}

var file = fop.GFID{1, 15: 9}

// withFile is a file system with one file.
func withFile(t testing.TB) fop.Handler {
	t.Helper()
	fs := mem.NewFS(nil)
	mk := &fop.Mknod{Parent: fop.RootGFID, Name: "f", Mode: fop.ModeRegular | 0o644}
	mk.XData = fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(file)})
	if _, err := fs.Do(context.Background(), mk); err != nil {
		t.Fatal(err)
	}
	return fs
}

func client(name string) *fop.Client { return &fop.Client{ID: name, OpVersion: 100000} }

func head(c *fop.Client, id string) fop.Header {
	return fop.Header{From: c, Cred: fop.Cred{Owner: id, PID: 7}}
}

func lk(c *fop.Client, id string, fd *fop.Fd, cmd, typ uint32, start, n uint64) *fop.Lk {
	return &fop.Lk{Header: head(c, id), GFID: file, Fd: fd, Cmd: cmd, Type: typ, Flock: fop.Flock{Type: typ, Start: start, Len: n}}
}

func inode(c *fop.Client, id string, cmd, typ uint32) *fop.Inodelk {
	return &fop.Inodelk{Header: head(c, id), GFID: file, Domain: "d", Cmd: cmd, Type: typ, Flock: fop.Flock{Type: typ}}
}

func call(t *testing.T, h fop.Handler, req fop.Request) error {
	t.Helper()
	_, err := h.Do(t.Context(), req)
	return err
}

// goDo runs req and waits until n requests wait in l.
func goDo(t *testing.T, l *Locks, ctx context.Context, req fop.Request, n int) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { _, err := l.Do(ctx, req); done <- err }()
	for deadline := time.Now().Add(5 * time.Second); l.waiters() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v: %d wait, want %d", req.Op(), l.waiters(), n)
		}
	}
	return done
}

// waiters counts requests that wait.
func (l *Locks) waiters() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, o := range s.objects {
			n += len(o.posix.blocked) + len(o.posix.held) + len(o.parked) + len(o.queued) + len(o.io)
			for _, d := range o.domains {
				n += len(d.blocked)
			}
		}
		s.mu.Unlock()
	}
	return n
}

func (l *Locks) objects() (n int) {
	for i := range l.shards {
		n += len(l.shards[i].objects)
	}
	return n
}

func TestWaiting(t *testing.T) {
	nop := fop.HandlerFunc(func(_ context.Context, req fop.Request) (fop.Reply, error) {
		if r := fop.NewReply(req.Op()); r != nil {
			return r, nil
		}
		return nil, nil
	})
	for _, c := range []struct {
		what       string
		take, wait fop.Request
		end        func(t *testing.T, l *Locks, a, b *fop.Client)
		want       syscall.Errno
	}{
		{what: "unlock", end: func(t *testing.T, l *Locks, a, b *fop.Client) {
			call(t, l, lk(a, "1", nil, fop.LkSet, fop.LockUnlock, 0, 0))
			call(t, l, inode(a, "1", fop.LkSet, fop.LockUnlock))
		}, want: 0},
		{what: "holder disconnects", end: func(t *testing.T, l *Locks, a, b *fop.Client) {
			call(t, l, &fop.Disconnect{Header: fop.Header{From: a}})
		}, want: 0},
		{what: "waiter disconnects", end: func(t *testing.T, l *Locks, a, b *fop.Client) {
			call(t, l, &fop.Disconnect{Header: fop.Header{From: b}})
		}, want: syscall.EAGAIN},
	} {
		for _, family := range []string{"posix", "inode"} {
			t.Run(c.what+"/"+family, func(t *testing.T) {
				l := newLocks(t, nop, nil)
				a, b := client("a"), client("b")
				var take, wait fop.Request = lk(a, "1", nil, fop.LkSet, fop.LockWrite, 0, 0), lk(b, "1", nil, fop.LkSetWait, fop.LockRead, 0, 0)
				if family == "inode" {
					take, wait = inode(a, "1", fop.LkSet, fop.LockWrite), inode(b, "1", fop.LkSetWait, fop.LockRead)
				}
				if err := call(t, l, take); err != nil {
					t.Fatal(err)
				}
				done := goDo(t, l, t.Context(), wait, 1)
				c.end(t, l, a, b)
				if err := <-done; fop.Errno(err) != c.want {
					t.Errorf("%v, want %v", err, c.want)
				}
				for _, x := range []*fop.Client{a, b} {
					call(t, l, &fop.Disconnect{Header: fop.Header{From: x}})
				}
				if err := call(t, l, take); fop.Errno(err) != syscall.ENOTCONN {
					t.Errorf("a client that is gone: %v", err)
				}
				if l.objects() != 0 || l.inodelks.Load() != 0 {
					t.Errorf("%d objects, %d with inodelks left", l.objects(), l.inodelks.Load())
				}
			})
		}
	}
	t.Run("context", func(t *testing.T) {
		l := newLocks(t, nop, nil)
		a, b := client("a"), client("b")
		call(t, l, lk(a, "1", nil, fop.LkSet, fop.LockWrite, 0, 0))
		ctx, cancel := context.WithCancel(t.Context())
		done := goDo(t, l, ctx, lk(b, "1", nil, fop.LkSetWait, fop.LockWrite, 0, 0), 1)
		cancel()
		if err := <-done; fop.Errno(err) != syscall.EINTR || l.waiters() != 0 {
			t.Errorf("%v, %d wait", err, l.waiters())
		}
	})
}

func TestBadRequests(t *testing.T) {
	l := newLocks(t, mem.NewFS(nil), nil)
	a := client("a")
	for _, c := range []struct {
		req  fop.Request
		want syscall.Errno
	}{
		{lk(a, "1", nil, fop.LkSet, 7, 0, 1), syscall.EINVAL},
		{lk(a, "1", nil, fop.LkSet, fop.LockEOL, 0, 1), syscall.EINVAL},
		{lk(a, "1", nil, 99, 0, 0, 1), syscall.EINVAL},
		{lk(a, "1", nil, fop.LkSet, 0, 1<<63, 1), syscall.EINVAL},
		{lk(a, "", nil, fop.LkSet, 0, 0, 1), syscall.EINVAL},
		{lk(a, "\x00\x00", nil, fop.LkSet, 0, 0, 1), syscall.EINVAL},
		{lk(a, "1", nil, fop.LkResLck, 0, 0, 1), syscall.ENOTSUP},
		{lk(a, "1", nil, fop.LkGetFd, 0, 0, 1), syscall.EBADF},
		{inode(a, "1", fop.LkGet, 0), syscall.ENOTSUP},
		{inode(a, "1", fop.LkSet, 3), syscall.EINVAL},
		{inode(a, "1", 77, 0), syscall.EINVAL},
		{&fop.Inodelk{Header: head(a, "1"), GFID: file, Cmd: fop.LkSet, Flock: fop.Flock{Start: 9, Len: 1<<64 - 3}}, syscall.EINVAL},
		{&fop.Entrylk{Header: head(a, "1"), GFID: file, Cmd: 3}, syscall.EINVAL},
		{&fop.Entrylk{Header: head(a, "1"), GFID: file, Type: 2}, syscall.EINVAL},
		{&fop.Getxattr{Header: head(a, "1"), GFID: file, Name: "glusterfs.clrlk.tfoo.kall"}, syscall.EINVAL},
		{&fop.Setactivelk{Header: head(a, "1"), GFID: file, Locks: []fop.LockInfo{{Flock: fop.Flock{Type: 9}}}}, syscall.EINVAL},
	} {
		if err := call(t, l, c.req); fop.Errno(err) != c.want {
			t.Errorf("%v %+v: %v, want %v", c.req.Op(), c.req, err, c.want)
		}
	}
	if l.objects() != 0 {
		t.Error("state was left behind")
	}
}

// TestRemoveWaits: an unlink waits for another client's inodelk, tells it so, and
// is done when that goes.
func TestRemoveWaits(t *testing.T) {
	l := newLocks(t, mem.NewFS(nil), nil)
	told := make(chan *fop.Upcall, 1)
	a, b := client("a"), client("b")
	a.Upcall = func(u *fop.Upcall) { told <- u }
	mk := &fop.Mknod{Header: head(b, "1"), Parent: fop.RootGFID, Name: "f", Mode: fop.ModeRegular | 0o644}
	mk.XData = fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(file)})
	if err := call(t, l, mk); err != nil {
		t.Fatal(err)
	}
	if err := call(t, l, inode(a, "1", fop.LkSet, fop.LockWrite)); err != nil {
		t.Fatal(err)
	}
	done := goDo(t, l, t.Context(), &fop.Unlink{Header: head(b, "1"), Parent: fop.RootGFID, Name: "f"}, 1)
	if u := <-told; u.Kind != fop.UpcallInodelk || u.GFID != file || u.Domain != "d" {
		t.Errorf("told %+v", u)
	}
	late := goDo(t, l, t.Context(), inode(client("c"), "1", fop.LkSetWait, fop.LockWrite), 2)
	if err := call(t, l, inode(a, "1", fop.LkSet, fop.LockUnlock)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-late; err != nil {
		t.Errorf("a lock that waited for the removal: %v", err)
	}
	if err := call(t, l, inode(b, "1", fop.LkSet, fop.LockRead)); fop.Errno(err) != syscall.EAGAIN {
		t.Errorf("a lock beside it: %v", err)
	}
	g := inode(b, "1", fop.LkSet, fop.LockRead)
	g.GFID = fop.GFID{7}
	if err := call(t, l, g); fop.Errno(err) != syscall.ESTALE {
		t.Errorf("a lock on what never was: %v", err)
	}
}

func TestCounts(t *testing.T) {
	fs := mem.NewFS(nil)
	var seen *fop.Dict
	l := newLocks(t, fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		seen = req.Head().XData
		return fs.Do(ctx, req)
	}), nil)
	a := client("a")
	root := fop.RootGFID
	for _, domain := range []string{"d", "d", "e"} {
		r := inode(a, "1", fop.LkSet, fop.LockRead)
		r.GFID, r.Domain = root, domain
		if err := call(t, l, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := call(t, l, &fop.Entrylk{Header: head(a, "1"), GFID: root, Domain: "d", Name: "n", Cmd: fop.EntrylkLock}); err != nil {
		t.Fatal(err)
	}
	ask := func(keys ...string) *fop.Dict {
		d := fop.NewDict(fop.Pair{Key: "other", Val: fop.Int(1)})
		for _, k := range keys {
			k, v, _ := strings.Cut(k, "=")
			d.Set(k, fop.Str(v))
		}
		return d
	}
	old := client("old")
	old.OpVersion = 30000
	for _, c := range []struct {
		from *fop.Client
		req  fop.Request
		keys []string
		want string
	}{
		{a, &fop.Lookup{GFID: root}, []string{fop.KeyInodelkCount, fop.KeyEntrylkCount, fop.KeyPosixlkCount},
			"glusterfs.entrylk-count=1 glusterfs.inodelk-count=3 glusterfs.posixlk-count=0"},
		{a, &fop.Stat{GFID: root}, []string{fop.KeyInodelkDomCount + "=e"}, "glusterfs.inodelk-count=1"},
		{a, &fop.Stat{GFID: root}, []string{fop.KeyMultiDomCount, fop.KeyInodelkPrefix + ":d", fop.KeyInodelkPrefix + ":x"},
			"glusterfs.inodelk-dom-prefix:d=2 glusterfs.inodelk-dom-prefix:x=0"},
		{old, &fop.Stat{GFID: root}, []string{fop.KeyInodelkCount}, ""},
		{old, &fop.Lookup{GFID: root}, []string{fop.KeyInodelkCount}, "glusterfs.inodelk-count=3"},
	} {
		h := c.req.Head()
		h.From, h.XData = c.from, ask(c.keys...)
		reply, err := l.Do(t.Context(), c.req)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range reply.ReplyHead().XData.Pairs() {
			if countKey(p.Key) {
				n, _ := p.Val.Int()
				got = append(got, fmt.Sprintf("%s=%d", p.Key, n))
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v %v: %q, want %q", c.req.Op(), c.keys, s, c.want)
		}
		if seen.Len() != 1 || h.XData.Len() != 1+len(c.keys) {
			t.Errorf("%v: the child saw %v, the caller keeps %v", c.req.Op(), seen.Pairs(), h.XData.Pairs())
		}
	}
	// Of a name, whether it is locked by itself.
	mk := &fop.Mkdir{Header: head(a, "1"), Parent: root, Name: "n", Mode: 0o755}
	mk.XData = fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(file)})
	if err := call(t, l, mk); err != nil {
		t.Fatal(err)
	}
	r, err := fop.Call(t.Context(), l, &fop.Lookup{Header: fop.Header{From: a, XData: ask(fop.KeyParentEntrylk)}, Parent: root, Name: "n"})
	if err != nil || r.XData.Int(fop.KeyParentEntrylk) != 1 {
		t.Errorf("parent-entrylk %v %v", r, err)
	}
}

func TestClear(t *testing.T) {
	l := newLocks(t, withFile(t), nil)
	a, b := client("a"), client("b")
	if err := call(t, l, lk(a, "1", nil, fop.LkSet, fop.LockWrite, 0, 10)); err != nil {
		t.Fatal(err)
	}
	waits := goDo(t, l, t.Context(), lk(b, "1", nil, fop.LkSetWait, fop.LockWrite, 0, 10), 1)
	ask := func(name string) string {
		t.Helper()
		r, err := fop.Call(t.Context(), l, &fop.Getxattr{GFID: file, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return r.Dict.Text(name)
	}
	if s := ask("glusterfs.clrlk.tposix.kall.0,50-1"); s != "No locks cleared." {
		t.Error(s)
	}
	if s := ask("glusterfs.clrlk.tposix.kblocked"); !strings.HasSuffix(s, ": posix blocked locks=1 granted locks=0") {
		t.Error(s)
	}
	if err := <-waits; fop.Errno(err) != syscall.EINTR {
		t.Error(err)
	}
	if s := ask("glusterfs.clrlk.tposix.kgranted.0,5-1"); !strings.HasSuffix(s, ": posix blocked locks=0 granted locks=1") {
		t.Error(s)
	}
}

// TestLockinfo moves the locks of an open file to another one, of a new client.
func TestLockinfo(t *testing.T) {
	l := newLocks(t, withFile(t), nil)
	a, b := client("a"), client("b")
	old, now := &fop.Fd{GFID: file, From: a}, &fop.Fd{GFID: file, From: b}
	if err := call(t, l, lk(a, "1", old, fop.LkSet, fop.LockWrite, 0, 10)); err != nil {
		t.Fatal(err)
	}
	r, err := fop.Call(t.Context(), l, &fop.Fgetxattr{Header: head(a, ""), Fd: old, Name: keyLockinfo})
	if err != nil {
		t.Fatal(err)
	}
	info := r.Dict.Bytes(keyLockinfo)
	if len(info) < 12 || binary.BigEndian.Uint32(info) != 1 {
		t.Fatalf("lockinfo %q", info)
	}
	set := &fop.Fsetxattr{Header: head(b, ""), Fd: now, Dict: fop.NewDict(fop.Pair{Key: keyLockinfo, Val: fop.Bytes(info)})}
	if err := call(t, l, set); err != nil {
		t.Fatal(err)
	}
	call(t, l, &fop.Disconnect{Header: fop.Header{From: a}})
	if err := call(t, l, lk(client("c"), "1", nil, fop.LkSet, fop.LockRead, 0, 1)); fop.Errno(err) != syscall.EAGAIN {
		t.Errorf("the lock went with its old client: %v", err)
	}
	g, err := fop.Call(t.Context(), l, lk(b, "1", now, fop.LkGetFd, 0, 0, 0))
	if err != nil || g.Flock.Type != fop.LockWrite || g.Flock.Len != 10 {
		t.Errorf("first of the fd: %+v %v", g, err)
	}
	g, err = fop.Call(t.Context(), l, lk(b, "1", now, fop.LkGetFd, 0, 0, 0))
	if err != nil || g.Flock.Type != fop.LockEOL {
		t.Errorf("after the last: %+v %v", g, err)
	}
	call(t, l, &fop.Release{Fd: now})
	if l.objects() != 0 {
		t.Error("release left locks")
	}
}

func FuzzLockinfo(f *testing.F) {
	f.Add(appendDict1(nil, "k", "12\x00"))
	f.Add([]byte{0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) { findDict1(b, "k") })
}

func FuzzClear(f *testing.F) {
	f.Add("tposix.kall.0,0-0")
	f.Add("tentry.kblocked.name")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := parseClear(s); err == nil && c.first > c.last {
			t.Fatalf("%q: %+v", s, c)
		}
	})
}

func TestActiveLocks(t *testing.T) {
	src, dst := newLocks(t, withFile(t), nil), newLocks(t, withFile(t), nil)
	a, mover := client("a"), client("m")
	if err := call(t, src, lk(a, "1", nil, fop.LkSet, fop.LockWrite, 0, 10)); err != nil {
		t.Fatal(err)
	}
	meta := func(key string) *fop.Setxattr {
		return &fop.Setxattr{Header: fop.Header{From: mover, Cred: fop.Cred{PID: fop.PIDRebalance}}, GFID: file, Dict: fop.NewDict(fop.Pair{Key: key, Val: fop.Int(1)})}
	}
	if err := call(t, src, meta(keyMetaLock)); err != nil {
		t.Fatal(err)
	}
	held := goDo(t, src, t.Context(), lk(a, "2", nil, fop.LkSet, fop.LockWrite, 20, 10), 1)
	list, err := fop.Call(t.Context(), src, &fop.Getactivelk{GFID: file})
	if err != nil || len(list.Locks) != 1 || list.Locks[0].ClientUID != "a" {
		t.Fatalf("%+v %v", list, err)
	}
	if err := call(t, dst, &fop.Setactivelk{GFID: file, Locks: list.Locks}); err != nil {
		t.Fatal(err)
	}
	if err := call(t, src, meta(keyMetaUnlock)); err != nil {
		t.Fatal(err)
	}
	if err := <-held; fop.Errno(err) != syscall.EREMOTE {
		t.Errorf("held back: %v", err)
	}
	if err := call(t, src, &fop.Flush{Header: head(a, "1"), GFID: file}); fop.Errno(err) != syscall.EREMOTE {
		t.Errorf("flush at the old place: %v", err)
	}
	if err := call(t, dst, lk(client("b"), "1", nil, fop.LkSet, fop.LockRead, 0, 1)); fop.Errno(err) != syscall.EAGAIN {
		t.Errorf("the lock did not move: %v", err)
	}
	if err := call(t, dst, lk(a, "1", nil, fop.LkSet, fop.LockUnlock, 0, 0)); err != nil || dst.objects() != 0 {
		t.Errorf("its owner cannot unlock it: %v", err)
	}
}

func TestMandatory(t *testing.T) {
	a, b := client("a"), client("b")
	var rw, nonblock *fop.Fd
	setup := func(t *testing.T, o xlator.Options) *Locks {
		l := newLocks(t, withFile(t), o)
		rw, nonblock = &fop.Fd{GFID: file, Flags: fop.ORdwr}, &fop.Fd{GFID: file, Flags: fop.ORdwr | fop.ONonblock}
		for _, fd := range []*fop.Fd{rw, nonblock} {
			if err := call(t, l, &fop.Open{GFID: file, Flags: fd.Flags, Fd: fd}); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
	write := func(c *fop.Client, fd *fop.Fd) *fop.Write {
		return &fop.Write{Header: head(c, "1"), GFID: file, Fd: fd, Offset: 2, Data: []byte("xy")}
	}
	read := func(c *fop.Client, fd *fop.Fd) *fop.Read {
		return &fop.Read{Header: head(c, "1"), GFID: file, Fd: fd, Size: 10}
	}
	t.Run("forced", func(t *testing.T) {
		l := setup(t, xlator.Options{"mandatory-locking": "forced"})
		if err := call(t, l, lk(a, "1", nil, fop.LkSet, fop.LockRead, 0, 5)); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			req  fop.Request
			want syscall.Errno
		}{
			{write(a, nonblock), 0}, {write(b, nonblock), syscall.EAGAIN}, {read(b, nonblock), 0},
			{&fop.Truncate{Header: head(b, "1"), GFID: file, Offset: 7}, 0},
			{&fop.Truncate{Header: head(b, "1"), GFID: file, Offset: 4}, syscall.EAGAIN},
			{&fop.Open{Header: head(b, "1"), GFID: file, Flags: fop.OTrunc, Fd: &fop.Fd{}}, syscall.EAGAIN},
		} {
			if err := call(t, l, c.req); fop.Errno(err) != c.want {
				t.Errorf("%v: %v, want %v", c.req.Op(), err, c.want)
			}
		}
		done := goDo(t, l, t.Context(), write(b, rw), 1)
		if err := call(t, l, lk(a, "1", nil, fop.LkSet, fop.LockUnlock, 0, 0)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("a write that waited: %v", err)
		}
	})
	t.Run("optimal", func(t *testing.T) {
		l := setup(t, xlator.Options{"mandatory-locking": "optimal"})
		k := lk(a, "1", nil, fop.LkSet, fop.LockWrite, 0, 5)
		if err := call(t, l, k); err != nil || call(t, l, write(b, nonblock)) != nil {
			t.Errorf("an advisory lock stands in the way: %v", err)
		}
		k.XData = fop.NewDict(fop.Pair{Key: "glusterfs.lk.lkmode", Val: fop.Uint(1)})
		if err := call(t, l, k); err != nil || fop.Errno(call(t, l, write(b, nonblock))) != syscall.EAGAIN {
			t.Errorf("a mandatory one does not: %v", err)
		}
	})
	t.Run("enforced", func(t *testing.T) {
		set := &fop.Setxattr{GFID: file, Dict: fop.NewDict(fop.Pair{Key: keyEnforce, Val: fop.Str("1")})}
		if err := call(t, setup(t, nil), set); fop.Errno(err) != syscall.EINVAL {
			t.Errorf("without the options: %v", err)
		}
		l := setup(t, xlator.Options{"mandatory-locking": "forced", "enforce-mandatory-lock": "on"})
		if err := call(t, l, set); err != nil {
			t.Fatal(err)
		}
		if err := call(t, l, write(a, nonblock)); fop.Errno(err) != syscall.EBUSY {
			t.Errorf("write without a lock: %v", err)
		}
		if err := call(t, l, read(a, nonblock)); fop.Errno(err) != syscall.EAGAIN {
			t.Errorf("read without a lock: %v", err)
		}
		if err := call(t, l, lk(a, "1", nil, fop.LkSet, fop.LockWrite, 0, 0)); err != nil || call(t, l, write(a, nonblock)) != nil {
			t.Errorf("with a lock: %v", err)
		}
		if err := call(t, l, lk(b, "1", nil, fop.LkSet, fop.LockWrite, 0, 0)); err != nil {
			t.Errorf("a new lock does not take the place: %v", err)
		}
		if err := call(t, l, write(a, nonblock)); fop.Errno(err) != syscall.EBUSY {
			t.Errorf("who was fenced off writes: %v", err)
		}
	})
}

// TestParallel: many goroutines lock and unlock; the race detector watches, and
// mutual exclusion is checked by a counter.
func TestParallel(t *testing.T) {
	l := newLocks(t, withFile(t), nil)
	var wg sync.WaitGroup
	inside := 0
	for i := range 8 {
		c := client(fmt.Sprint(i))
		wg.Go(func() {
			for range 100 {
				if err := call(t, l, inode(c, "1", fop.LkSetWait, fop.LockWrite)); err != nil {
					t.Error(err)
					return
				}
				inside++ // the race detector sees if two are here
				if err := call(t, l, inode(c, "1", fop.LkSet, fop.LockUnlock)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if inside != 800 || l.objects() != 0 {
		t.Errorf("%d entries, %d objects left", inside, l.objects())
	}
}

func Benchmark(b *testing.B) {
	reply := &fop.WriteReply{}
	l := newLocks(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }), nil)
	a := client("a")
	x := fop.NewDict(fop.Pair{Key: "trusted.x", Val: fop.Int(1)}, fop.Pair{Key: "glusterfs.y", Val: fop.Int(1)})
	w := &fop.Write{Header: fop.Header{From: a, XData: x}, GFID: file}
	b.Run("pass", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.Do(context.Background(), w)
		}
	})
	b.Run("inodelk", func(b *testing.B) {
		b.ReportAllocs()
		lock, unlock := inode(a, "1", fop.LkSet, fop.LockWrite), inode(a, "1", fop.LkSet, fop.LockUnlock)
		for b.Loop() {
			l.Do(context.Background(), lock)
			l.Do(context.Background(), unlock)
		}
	})
}
