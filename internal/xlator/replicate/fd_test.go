package replicate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
)

func (c *cluster) open(g fop.GFID, flags uint32) (*fop.Fd, error) {
	fd := &fop.Fd{GFID: g, Flags: flags, PID: c.cred.PID}
	_, err := fop.Call(c.t.Context(), c, &fop.Open{Header: c.head(), GFID: g, Flags: flags, Fd: fd})
	return fd, err
}

func (c *cluster) release(fd *fop.Fd) {
	c.t.Helper()
	if _, err := fop.Call(c.t.Context(), c, &fop.Release{GFID: fd.GFID, Fd: fd}); err != nil {
		c.t.Error(err)
	}
}

// TestOpen: a file is opened everywhere, and on a brick that comes back later.
func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overMemory(t, 3)
		g := c.plant("f", "12345")
		c.down(1)
		c.mustLookup("f")
		c.forget()
		fd, err := c.open(g, fop.ORdwr|fop.OTrunc)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"OPEN", "", "OPEN"} {
			seen := c.taps[i].take()
			if want == "" && len(seen) > 0 || want != "" && seen[0].Op().String() != want {
				t.Errorf("brick %d: %v", i, seen)
			}
			if want != "" && seen[0].(*fop.Open).Flags != fop.ORdwr {
				t.Errorf("flags %o", seen[0].(*fop.Open).Flags)
			}
		}
		if r, err := fop.Call(t.Context(), c, &fop.Fstat{Header: c.head(), GFID: g, Fd: fd}); err != nil || r.Stat.Size != 0 {
			t.Errorf("after an open that truncates: %+v, %v", r, err)
		}
		c.up(1)
		c.forget()
		for range 3 {
			if _, err := fop.Call(t.Context(), c, &fop.Read{Header: c.head(), GFID: g, Fd: fd, Size: 5}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		opens := 0
		for _, req := range c.taps[1].take() {
			if o, ok := req.(*fop.Open); ok {
				opens++
				if o.Flags != fop.ORdwr || o.Fd != fd {
					t.Errorf("opened again as %+v", o)
				}
			}
		}
		if opens != 1 {
			t.Errorf("opened %d times on the brick that came back", opens)
		}
		c.release(fd)
		if fd.Get(c.replicate) != nil {
			t.Error("something is left in the Fd")
		}
	})
}

// TestOpenLate: a file that is released while it is being opened on a brick that
// came back is not left open there.
func TestOpenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overMemory(t, 3)
		g := c.plant("f", "12345")
		c.down(1)
		fd, err := c.open(g, fop.ORdonly)
		if err != nil {
			t.Fatal(err)
		}
		c.up(1)
		c.taps[1].intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
			if req.Op() == fop.OpOpen {
				time.Sleep(time.Minute)
			}
			return nil, nil, false
		})
		if _, err := fop.Call(t.Context(), c, &fop.Read{Header: c.head(), GFID: g, Fd: fd, Size: 5}); err != nil {
			t.Fatal(err)
		}
		c.release(fd)
		c.forget()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := c.ops()[1]; got != "RELEASE" {
			t.Errorf("after the late open: %q", got)
		}
	})
}

// TestOpenQuorum: a file that too few bricks open is closed again on those.
func TestOpenQuorum(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	c.mustLookup("f")
	c.taps[0].fail(eacces, fop.OpOpen)
	fd, err := c.open(g, fop.ORdonly)
	if err != nil {
		t.Errorf("one refuses: %v", err)
	}
	c.release(fd)
	c.taps[1].fail(syscall.EMFILE, fop.OpOpen)
	c.forget()
	if _, err := c.open(g, fop.ORdonly); fop.Errno(err) != syscall.EMFILE {
		t.Errorf("two refuse: %v", err)
	}
	if got := c.ops()[2]; got != "OPEN RELEASE" {
		t.Errorf("on the one that opened it: %q", got)
	}
}

// names lists a directory through c, n bytes at a time.
func (c *cluster) names(fd *fop.Fd, size uint32) (names []string, stats int, err error) {
	for off := uint64(0); ; {
		r, err := fop.Call(c.t.Context(), c, &fop.Readdirp{Header: c.head(), GFID: fd.GFID, Fd: fd, Offset: off, Size: size})
		if err != nil {
			return names, stats, err
		}
		for _, e := range r.Entries {
			if e.Name != "." && e.Name != ".." {
				names = append(names, e.Name)
				if !e.Stat.IsZero() {
					stats++
				}
			}
			off = e.Off
		}
		if r.EOF || len(r.Entries) == 0 {
			slices.Sort(names)
			return names, stats, nil
		}
	}
}

func (c *cluster) opendir(g fop.GFID) *fop.Fd {
	c.t.Helper()
	fd := &fop.Fd{GFID: g, Dir: true}
	if _, err := fop.Call(c.t.Context(), c, &fop.Opendir{Header: c.head(), GFID: g, Fd: fd}); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if _, err := c.Do(context.Background(), &fop.Releasedir{GFID: g, Fd: fd}); err != nil {
			c.t.Error(err)
		}
	})
	return fd
}

// TestReaddir: one brick lists the directory from the beginning to the end.
func TestReaddir(t *testing.T) {
	c := overMemory(t, 3)
	want := []string{}
	for i := range 60 {
		want = append(want, fmt.Sprintf("file%02d", i))
		c.plant(want[i], "")
	}
	c.plant(".landfill", "")
	c.plant(".glusterfs-anonymous-inode-6e44bf75-b7f1-4444-9262-a8190643ffae", "")
	fd := c.opendir(fop.RootGFID)
	c.forget()
	got, _, err := c.names(fd, 400)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	listers := 0
	for i, ops := range c.ops() {
		if strings.Contains(ops, "READDIRP") {
			listers++
			if n := strings.Count(ops, "READDIRP"); n < 5 {
				t.Errorf("brick %d listed in %d steps", i, n)
			}
		}
	}
	if listers != 1 {
		t.Errorf("%d bricks listed the directory", listers)
	}
	// At the beginning another brick can step in, later none can.
	child := int(superFastHash(&fop.RootGFID) % 3)
	c.taps[child].fail(syscall.ENOTCONN, fop.OpReaddirp)
	if got, _, err := c.names(fd, 1<<20); err != nil || len(got) != len(want) {
		t.Errorf("%d names, %v", len(got), err)
	}
	other := int(c.fdOf(fd).reading.Load()) - 1
	if other == child || other < 0 {
		t.Fatalf("child %d, then %d", child, other)
	}
	c.taps[other].fail(syscall.ENOTCONN, fop.OpReaddirp)
	if _, err := fop.Call(t.Context(), c, &fop.Readdirp{Header: c.head(), GFID: fop.RootGFID, Fd: fd, Offset: 77, Size: 400}); fop.Errno(err) != syscall.ENOTCONN {
		t.Errorf("in the middle: %v", err)
	}
}

// TestReaddirpStrip: attributes that may be those of a bad copy are not shown.
func TestReaddirpStrip(t *testing.T) {
	c := overMemory(t, 3)
	for i := range 5 {
		c.plant(fmt.Sprint(i), "")
	}
	fd := c.opendir(fop.RootGFID)
	c.needHeal.Store(false)
	if _, stats, err := c.names(fd, 4096); err != nil || stats != 5 {
		t.Errorf("nothing to heal: %d of 5, %v", stats, err)
	}
	c.needHeal.Store(true)
	if _, stats, err := c.names(fd, 4096); err != nil || stats != 0 {
		t.Errorf("something to heal, nothing known: %d of 5, %v", stats, err)
	}
	c.mustLookup("2")
	c.mustLookup("3")
	c.needHeal.Store(true)
	if _, stats, err := c.names(fd, 4096); err != nil || stats != 2 {
		t.Errorf("two are known to be well: %d of 5, %v", stats, err)
	}
	c.down(int(superFastHash(&fop.RootGFID)+1) % 3)
	if _, stats, err := c.names(fd, 4096); err != nil || stats != 0 {
		t.Errorf("a brick went: %d of 5, %v", stats, err)
	}
}

func TestStatfs(t *testing.T) {
	c := overMemory(t, 3, "arbiter-count", "1")
	for i, p := range c.taps {
		p.intercept(func(context.Context, fop.Request) (fop.Reply, error, bool) {
			return &fop.StatfsReply{Statfs: fop.Statfs{Bavail: []uint64{900, 300, 1}[i], Blocks: uint64(i)}}, nil, true
		})
	}
	r, err := fop.Call(t.Context(), c, &fop.StatfsReq{Header: c.head(), GFID: fop.RootGFID})
	if err != nil || r.Statfs.Bavail != 300 || r.Statfs.Blocks != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// lock is a request for a lock on the whole file.
func (c *cluster) lock(fd *fop.Fd, owner string, cmd, typ uint32) error {
	h := c.head()
	h.Cred.Owner = owner
	_, err := fop.Call(c.t.Context(), c, &fop.Lk{Header: h, GFID: fd.GFID, Fd: fd, Cmd: cmd, Type: typ, Flock: fop.Flock{Type: typ, Owner: owner}})
	return err
}

func TestLk(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	fd, err := c.open(g, fop.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.release(fd)
	if err := c.lock(fd, "A", fop.LkSet, fop.LockWrite); err != nil {
		t.Fatal(err)
	}
	if err := c.lock(fd, "B", fop.LkSet, fop.LockWrite); fop.Errno(err) != syscall.EAGAIN {
		t.Errorf("held by another: %v", err)
	}
	r, err := fop.Call(t.Context(), c, &fop.Lk{Header: c.head(), GFID: g, Fd: fd, Cmd: fop.LkGet, Flock: fop.Flock{Type: fop.LockWrite, Owner: c.cred.Owner}})
	if err != nil || r.Flock.Type != fop.LockWrite {
		t.Errorf("who has it: %+v, %v", r, err)
	}
	waiting := make(chan error)
	go func() { waiting <- c.lock(fd, "B", fop.LkSetWait, fop.LockWrite) }()
	if err := c.lock(fd, "A", fop.LkSet, fop.LockUnlock); err != nil {
		t.Error(err)
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if err := c.lock(fd, "B", fop.LkSet, fop.LockUnlock); err != nil {
		t.Error(err)
	}
	// One brick says no: nothing stays locked.
	c.taps[2].intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
		q, ok := req.(*fop.Lk)
		return nil, syscall.EAGAIN, ok && q.Flock.Type != fop.LockUnlock
	})
	if err := c.lock(fd, "A", fop.LkSet, fop.LockWrite); fop.Errno(err) != syscall.EAGAIN {
		t.Errorf("refused by one brick: %v", err)
	}
	c.taps[2].intercept(nil)
	if err := c.lock(fd, "B", fop.LkSet, fop.LockWrite); err != nil {
		t.Errorf("something stayed locked: %v", err)
	}
	// Too few bricks.
	for _, p := range c.taps[:2] {
		p.fail(syscall.ENOTCONN, fop.OpLk)
	}
	if err := c.lock(fd, "B", fop.LkSet, fop.LockRead); fop.Errno(err) != syscall.ENOTCONN {
		t.Errorf("without quorum: %v", err)
	}
	h := c.head(fop.Pair{Key: keyLockMode, Val: fop.Int(1)})
	if _, err := c.Do(t.Context(), &fop.Lk{Header: h, GFID: g, Fd: fd}); fop.Errno(err) != syscall.EOPNOTSUPP {
		t.Errorf("a lock to be healed: %v", err)
	}
}

// TestLockFromAbove: of several that want a lock one gets it, on all bricks.
func TestLockFromAbove(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	inode := func(owner string, cmd, typ uint32) fop.Request {
		h := c.head()
		h.Cred.Owner = owner
		return &fop.Inodelk{Header: h, GFID: g, Cmd: cmd, Type: typ, Flock: fop.Flock{Type: typ}, Domain: "above"}
	}
	entry := func(owner string, cmd, _ uint32) fop.Request {
		h := c.head()
		h.Cred.Owner = owner
		cmds := map[uint32]uint32{fop.LkSet: fop.EntrylkTry, fop.LkSetWait: fop.EntrylkLock}
		return &fop.Entrylk{Header: h, GFID: fop.RootGFID, Cmd: cmds[cmd], Type: fop.LockWrite, Name: "f", NameLen: 1, Domain: "above"}
	}
	for name, lock := range map[string]func(string, uint32, uint32) fop.Request{"inode": inode, "entry": entry} {
		do := func(req fop.Request) error { _, err := c.Do(t.Context(), req); return err }
		if err := do(lock("A", fop.LkSet, fop.LockWrite)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := do(lock("B", fop.LkSet, fop.LockWrite)); fop.Errno(err) != syscall.EAGAIN {
			t.Errorf("%s: held by another: %v", name, err)
		}
		waiting := make(chan error)
		go func() { waiting <- do(lock("B", fop.LkSetWait, fop.LockWrite)) }()
		if err := do(unlocking(lock("A", fop.LkSet, fop.LockWrite))); err != nil {
			t.Error(err)
		}
		if err := <-waiting; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := do(unlocking(lock("B", fop.LkSet, fop.LockWrite))); err != nil {
			t.Error(err)
		}
		// Many at once, each for a moment: never two at a time, and all in the end.
		var holders atomic.Int32
		done := make(chan error)
		for i := range 20 {
			go func() {
				owner := fmt.Sprint("owner", i)
				err := do(lock(owner, fop.LkSetWait, fop.LockWrite))
				if err == nil && holders.Add(1) != 1 {
					err = fmt.Errorf("two have it")
				}
				holders.Add(-1)
				if err2 := do(unlocking(lock(owner, fop.LkSet, fop.LockWrite))); err == nil {
					err = err2
				}
				done <- err
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// One brick is contended, two grant: what was granted is given back.
		c.on(2, lock("other", fop.LkSet, fop.LockWrite))
		if err := do(lock("A", fop.LkSet, fop.LockWrite)); fop.Errno(err) != syscall.EAGAIN {
			t.Errorf("%s: held on one brick: %v", name, err)
		}
		c.on(2, unlocking(lock("other", fop.LkSet, fop.LockWrite)))
		for i := range 3 {
			c.on(i, lock("B", fop.LkSet, fop.LockWrite))
			c.on(i, unlocking(lock("B", fop.LkSet, fop.LockWrite)))
		}
	}
}

// TestGetxattr: what all bricks have a say in, and what nobody is shown.
func TestGetxattr(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	values := map[string][3]string{
		"trusted.glusterfs.pathinfo":        {"<POSIX(/b0):h0:/b0/f>\x00", "<POSIX(/b1):h1:/b1/f>\x00", "<POSIX(/b2):h2:/b2/f>\x00"},
		"trusted.glusterfs.node-uuid":       {"", "uuid1\x00", "uuid2\x00"},
		"trusted.glusterfs.quota.size":      {"\x00\x01", "\x00\x03", "\x00\x02"},
		"trusted.glusterfs.abc.xtime":       {"\x05", "\x07", "\x06"},
		"glusterfs.clrlk.tinode.kall":       {"one\x00", "", "three\x00"},
		"trusted.glusterfs.lockinfo":        {"\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02a\x0012", "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02b\x0034", "junk"},
		"trusted.glusterfs.list-node-uuids": {},
	}
	for i, p := range c.taps {
		p.intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
			q, ok := req.(*fop.Getxattr)
			if !ok || values[q.Name] == ([3]string{}) {
				return nil, nil, false
			}
			if values[q.Name][i] == "" {
				return nil, syscall.ENOTCONN, true
			}
			return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: q.Name, Val: fop.Bytes([]byte(values[q.Name][i]))})}, nil, true
		})
	}
	for name, want := range map[string]string{
		"trusted.glusterfs.pathinfo":        "(<REPLICATE:v-replicate-0> <POSIX(/b0):h0:/b0/f> <POSIX(/b1):h1:/b1/f> <POSIX(/b2):h2:/b2/f>)\x00",
		"trusted.glusterfs.node-uuid":       "uuid1\x00",
		"trusted.glusterfs.list-node-uuids": "00000000-0000-0000-0000-000000000000 uuid1 uuid2\x00",
		"trusted.glusterfs.quota.size":      "\x00\x03",
		"trusted.glusterfs.abc.xtime":       "\x07",
		"glusterfs.clrlk.tinode.kall":       "one\nthree\x00",
		"trusted.glusterfs.lockinfo":        "\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02a\x0012\x00\x00\x00\x01\x00\x00\x00\x02b\x0034",
	} {
		r, err := fop.Call(t.Context(), c, &fop.Getxattr{Header: c.head(), GFID: g, Name: name})
		if err != nil || string(r.Dict.Bytes(name)) != want {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	for name, want := range map[string]syscall.Errno{
		"trusted.afr.v-client-0": enodata, "trusted.afr.dirty": enodata, "glusterfs.heal-info": syscall.ENOTSUP, "glusterfs.heal-sbrain": syscall.ENOTSUP,
	} {
		if _, err := c.Do(t.Context(), &fop.Getxattr{Header: c.head(), GFID: g, Name: name}); fop.Errno(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range 3 {
		c.blame(i, 1, g, changelog{0, 0, 1})
		c.on(i, &fop.Setxattr{Header: c.head(), GFID: g, Dict: fop.NewDict(fop.Pair{Key: "user.a", Val: fop.Bytes([]byte("1"))})})
	}
	r, err := fop.Call(t.Context(), c, &fop.Getxattr{Header: c.head(), GFID: g})
	if err != nil || r.Dict.Has("trusted.afr.v-client-1") || !r.Dict.Has("user.a") {
		t.Errorf("list: %v, %v", r, err)
	}
	for _, key := range []string{"trusted.afr.v-client-0", "trusted.glusterfs.afr.x", "trusted.add-brick", "trusted.replace-brick"} {
		d := fop.NewDict(fop.Pair{Key: key, Val: fop.Str("v-client-0")})
		if _, err := c.Do(t.Context(), &fop.Setxattr{Header: c.head(), GFID: g, Dict: d}); fop.Errno(err) != syscall.EPERM {
			t.Errorf("setxattr %s: %v", key, err)
		}
	}
}

// TestIpc: whoever wants to hear of xattrs hears of the changelogs.
func TestIpc(t *testing.T) {
	c := overMemory(t, 2)
	if _, err := c.Do(t.Context(), &fop.Ipc{Header: c.head(fop.Pair{Key: "user.*", Val: fop.Int(0)}), Target: 2}); err != nil && fop.Errno(err) != syscall.EOPNOTSUPP {
		t.Log(err)
	}
	for i, p := range c.taps {
		x := p.take()[0].Head().XData
		if x.Len() != 3 || !x.Has("user.*") || !x.Has("trusted.afr.v-client-0") || !x.Has("trusted.afr.v-client-1") {
			t.Errorf("brick %d: %v", i, x.Pairs())
		}
	}
	// And when it does, the object is looked at again.
	g := c.plant("f", "12345")
	c.mustLookup("f")
	c.events = make(chan fop.Event, 9)
	c.notify = func(ev fop.Event) { c.events <- ev }
	c.ChildEvent("v-client-0", fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: g, Flags: fop.InvalXattr,
		XData: fop.NewDict(fop.Pair{Key: "trusted.afr.v-client-1", Val: fop.Int(0)})}})
	if ev := <-c.events; ev.Upcall.Flags != fop.InvalXattr|fop.InvalAttr {
		t.Errorf("%+v", ev.Upcall)
	}
	c.forget()
	if _, err := c.read(g); err != nil {
		t.Error(err)
	}
	if got := strings.Join(c.ops(), " "); !strings.Contains(got, "LOOKUP") {
		t.Errorf("%q", got)
	}
}
