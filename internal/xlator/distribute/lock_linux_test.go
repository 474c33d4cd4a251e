package distribute

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// TestAcquire: locks that are free cost one round trip; if one is taken, all are
// waited for in order, and nothing is left behind.
func TestAcquire(t *testing.T) {
	c := newCluster(t, 3)
	m, other := c.mount(0), c.mount(0)
	ctx := t.Context()
	dir := m.mustMkdir(root, "d")
	m.call(dir, "d")
	m.settle()
	names := func(m *mount) []entrylk {
		return []entrylk{{m.subs[2], dir, "a"}, {m.subs[0], dir, "b"}, {m.subs[2], dir, "a"}}
	}
	held := other.newLocks()
	if err := held.protect(ctx, entrylk{other.subs[2], dir, "a"}); err != nil {
		t.Fatal(err)
	}
	m.take()
	got := make(chan error, 1)
	k := m.newLocks()
	go func() { got <- k.acquire(ctx, nil, names(m), nil) }()
	// It tries all, gives back what it got, and waits for the last one.
	testWait(t, func() bool {
		m.mu2().Lock()
		defer m.mu2().Unlock()
		n := 0
		for _, l := range m.tracer.lines {
			if l == "s2 ENTRYLK d a dht.entry.sync lock" {
				n++
			}
		}
		return n == 1
	})
	select {
	case err := <-got:
		t.Fatalf("got locks that are taken: %v", err)
	default:
	}
	held.unlock(ctx)
	select {
	case err := <-got:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the locks do not come")
	}
	if len(k.names) != 2 || len(k.nodes) != 2 {
		t.Errorf("holds %d names, %d nodes", len(k.names), len(k.nodes))
	}
	k.unlock(ctx)
	m.settle()
	// All is free again.
	k = other.newLocks()
	if err := k.acquire(ctx, nil, names(other), nil); err != nil {
		t.Error(err)
	}
	if _, err := other.lockLayout(ctx, dir, nil); err != nil {
		t.Error(err)
	}
	k.unlock(ctx)
	other.settle()

	// An error gives all back.
	m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
		if req.Op() == fop.OpEntrylk && s == "s2" && req.(*fop.Entrylk).Cmd == fop.EntrylkTry {
			return nil, syscall.EIO
		}
		return nil, errPass
	})
	k = m.newLocks()
	if err := k.acquire(ctx, nil, names(m), nil); !errors.Is(err, syscall.EIO) || len(k.names)+len(k.nodes) > 0 {
		t.Errorf("%v, %+v", err, k)
	}
	m.intercept(nil)
	m.settle()
	k = other.newLocks()
	if err := k.acquire(ctx, nil, names(other), nil); err != nil {
		t.Error(err)
	}
	k.unlock(ctx)
}

func (m *mount) mu2() *sync.Mutex { return &m.tracer.mu }

// TestRenameConcurrent: clients that rename in circles never wait for each other
// for ever, and every file keeps exactly one name.
func TestRenameConcurrent(t *testing.T) {
	c := newCluster(t, 3)
	a := c.mount(0)
	dir := a.mustMkdir(root, "d")
	var names []string
	for i := range 3 {
		names = append(names, a.nameFor(dir, i, "n"))
	}
	gfids := map[fop.GFID]bool{}
	for i := range 2 {
		fd := a.mustCreate(dir, names[i])
		gfids[fd.GFID] = true
		a.release(fd)
	}
	clients := []*mount{a, c.mount(0), c.mount(0)}
	var wg sync.WaitGroup
	done := make([]int, len(clients))
	for w, m := range clients {
		wg.Go(func() {
			for i := range 60 {
				// The name that is free moves around; most renames replace.
				err := m.renameName(dir, names[(i+w)%3], dir, names[(i*2+w+1)%3])
				switch {
				case err == nil:
					done[w]++
				case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EBUSY):
				default:
					t.Errorf("client %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	for w := range clients {
		clients[w].settle()
	}
	fresh := c.mount(0)
	left := 0
	for _, n := range names {
		r, err := fresh.lookup(dir, n)
		if err == nil && gfids[r.Stat.GFID] {
			left++
			delete(gfids, r.Stat.GFID)
		} else if !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%s: %v, %v", n, r, err)
		}
	}
	if left == 0 {
		t.Errorf("all files are lost; bricks have %q", c.tree("d"))
	}
	data := 0
	for _, s := range c.tree("d") {
		if containsWord(s, "data") {
			data++
		}
	}
	if data != left {
		t.Errorf("%d names, bricks have %q", left, c.tree("d"))
	}
	t.Log(done)
}

func containsWord(s, w string) bool {
	var name, what string
	fmt.Sscan(s, &name, &what)
	return what == w
}

// TestUpperLocks: locks of upper layers go to one subvolume, and those on a
// directory come back to where they are.
func TestUpperLocks(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	ctx := t.Context()
	dir := m.mustMkdir(root, "d")
	m.call(dir, "d")
	l, _ := m.layoutOf(ctx, dir)
	first := fmt.Sprint("s", l.entries[0].sub.index)
	m.settle()
	m.take()
	lock := func(typ uint32) error {
		_, err := m.Do(ctx, &fop.Inodelk{Header: fop.Header{Cred: fop.Cred{Owner: "12345678"}}, GFID: dir, Cmd: fop.LkSet, Type: typ, Flock: fop.Flock{Type: typ}, Domain: "up"})
		return err
	}
	if err := lock(fop.LockWrite); err != nil {
		t.Fatal(err)
	}
	// The layout turns meanwhile.
	turned := &layout{entries: append(append([]entry{}, l.entries[1:]...), l.entries[0]), gen: l.gen}
	m.setDir(dir, turned, nil)
	if err := lock(fop.LockUnlock); err != nil {
		t.Errorf("unlock: %v", err)
	}
	sameTrace(t, "locks", m.take(), first+" INODELK d up WR", first+" INODELK d up UN")
	if err := lock(fop.LockWrite); err != nil {
		t.Fatal(err)
	}
	if err := lock(fop.LockUnlock); err != nil {
		t.Fatal(err)
	}
	second := fmt.Sprint("s", l.entries[1].sub.index)
	sameTrace(t, "locks after all were given back", m.take(), second+" INODELK d up WR", second+" INODELK d up UN")
	if _, err := m.Do(ctx, &fop.Entrylk{Header: fop.Header{Cred: fop.Cred{Owner: "12345678"}}, GFID: dir, Cmd: fop.EntrylkLock, Type: fop.LockWrite, Name: "x", NameLen: 1, Domain: "up"}); err != nil {
		t.Error(err)
	}
	sameTrace(t, "a lock on a name", m.take(), second+" ENTRYLK d x up lock")
}

func TestVirtualXattrs(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	ctx := t.Context()
	dir := m.mustMkdir(root, "d")
	at := m.nameFor(dir, 1, "at")
	off := m.nameFor(dir, 2, "off")
	atFd := m.mustCreate(dir, at)
	m.release(atFd)
	offID := m.place(dir, off, 2, 0)
	m.mustLookup(dir, off)
	l, _ := m.layoutOf(ctx, dir)
	get := func(g fop.GFID, name string) (string, error) {
		r, err := fop.Call(ctx, m, &fop.Getxattr{GFID: g, Name: name})
		if err != nil {
			return "", err
		}
		if v := r.Dict.Bytes(name); int(r.Size) != len(v) || len(v) == 0 || v[len(v)-1] != 0 {
			t.Errorf("%s: %q, size %d", name, v, r.Size)
		}
		return r.Dict.Text(name), nil
	}
	host := func(i int) string {
		r, err := fop.Call(ctx, m.subs[i], &fop.Getxattr{GFID: dir, Name: fop.KeyPathinfo})
		if err != nil {
			t.Fatal(err)
		}
		return r.Dict.Text(fop.KeyPathinfo)
	}
	for _, v := range []struct {
		g          fop.GFID
		name, want string
		err        error
	}{
		{dir, "dht.subvol.status", "1", nil},
		{dir, "dht.file.hashed-subvol." + at, "v-client-1", nil},
		{dir, "dht.file.hashed-subvol." + off, "v-client-2", nil},
		{offID, "trusted.distribute.linkinfo", "v-client-2", nil},
		{atFd.GFID, "trusted.distribute.linkinfo", "", syscall.EINVAL},
		{dir, "trusted.glusterfs.pathinfo", "((<DISTRIBUTE:v-dht> " + host(0) + " " + host(1) + " " + host(2) + ") " + layoutText("v-dht", l) + ")", nil},
		{dir, "trusted.glusterfs.dht", "", syscall.ENOTSUP},
		{dir, "trusted.glusterfs.dht.mds", "", syscall.ENOTSUP},
		{offID, "trusted.glusterfs.dht.linkto", "", syscall.ENODATA},
		{dir, "trusted.glusterfs.dht.commithash", "", syscall.ENODATA},
	} {
		if got, err := get(v.g, v.name); got != v.want || !errors.Is(err, v.err) {
			t.Errorf("%s: %q, %v; want %q, %v", v.name, got, err, v.want, v.err)
		}
	}
	if got, err := get(offID, "trusted.glusterfs.pathinfo"); err != nil ||
		!strings.HasPrefix(got, "(<DISTRIBUTE:v-dht> <POSIX("+c.bricks[0].dir+"):") || !strings.HasSuffix(got, "/d/"+off+">)") {
		t.Errorf("pathinfo of a file: %q, %v", got, err)
	}
	for _, name := range []string{"trusted.glusterfs.dht", "trusted.glusterfs.dht.linkto", "trusted.glusterfs.dht.mds"} {
		for _, g := range []fop.GFID{dir, offID} {
			if _, err := fop.Call(ctx, m, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: name, Val: fop.Bytes([]byte("x"))})}); !errors.Is(err, syscall.EPERM) {
				t.Errorf("setting %s: %v", name, err)
			}
			if _, err := fop.Call(ctx, m, &fop.Removexattr{GFID: g, Name: name}); !errors.Is(err, syscall.EPERM) {
				t.Errorf("removing %s: %v", name, err)
			}
		}
	}
	for _, g := range []fop.GFID{dir, offID} {
		r, err := fop.Call(ctx, m, &fop.Getxattr{GFID: g})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Dict.Pairs() {
			if concealed(p.Key) {
				t.Errorf("the listing of xattrs shows %s", p.Key)
			}
		}
	}
	c.stop(1)
	m.waitUp(1, false)
	if got, err := get(dir, "dht.subvol.status"); err != nil || got != "0" {
		t.Errorf("with a subvolume down: %q, %v", got, err)
	}
}
