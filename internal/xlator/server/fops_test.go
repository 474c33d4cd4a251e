package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// wait waits for a condition.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	testenv.Wait(t, 10*time.Second, what, done)
}

func TestOpenFiles(t *testing.T) {
	for _, v := range []proto.Version{proto.V400, proto.V330} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			f := newFixture(t, nil)
			w := f.client("a")
			g, n := w.create("file")
			if n != 0 {
				t.Errorf("first number %d", n)
			}
			rep, err := w.fopV(v, &fop.Open{GFID: g, Flags: fop.ORdwr})
			if err != nil || rep.(*fop.OpenReply).RemoteFd != 1 {
				t.Fatalf("second open: %+v %v", rep, err)
			}
			if rep, err = w.fopV(v, &fop.Write{GFID: g, Data: []byte("hello"), Flags: fop.ORdwr}, 1); err != nil || rep.(*fop.WriteReply).Size != 5 {
				t.Fatalf("write: %+v %v", rep, err)
			}
			if q := f.disk.last().(*fop.Write); q.Fd == nil || q.Fd.From != q.From || q.Fd.GFID != g {
				t.Errorf("the brick saw fd %+v", q.Fd)
			}
			for _, fd := range []int64{0, 1, anonymousFd} {
				rep, err := w.fopV(v, &fop.Read{GFID: g, Size: 100}, fd)
				if err != nil {
					t.Fatalf("read through %d: %v", fd, err)
				}
				r := rep.(*fop.ReadReply)
				if string(r.Data) != "hello" || !r.EOF {
					t.Errorf("read through %d: %q %v", fd, r.Data, r.EOF)
				}
				if q := f.disk.last().(*fop.Read); (q.Fd == nil) != (fd == anonymousFd) {
					t.Errorf("the brick saw fd %+v for %d", q.Fd, fd)
				}
			}
			// These name the file by number only in version 330.
			if _, err := w.fopV(v, &fop.Fsetattr{GFID: g, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o600}}, 1); err != nil {
				t.Errorf("fsetattr: %v", err)
			}
			if q := f.disk.last().(*fop.Fsetattr); q.GFID != g {
				t.Errorf("fsetattr of %v", q.GFID)
			}
			for _, fd := range []int64{-1, 2, 1 << 40} {
				if _, err := w.fopV(v, &fop.Flush{GFID: g}, fd); err != syscall.EBADF {
					t.Errorf("number %d: %v", fd, err)
				}
			}
			f.disk.forget()
			if _, err := w.fopV(v, &fop.Release{GFID: g}, 0); err != nil {
				t.Error(err)
			}
			if ops := f.disk.ops(); !slices.Equal(ops, []fop.Op{fop.OpRelease}) {
				t.Errorf("release made %v", ops)
			}
			if _, err := w.fopV(v, &fop.Release{GFID: g}, 0); err != nil {
				t.Errorf("releasing twice: %v", err)
			}
			rep, err = w.fopV(v, &fop.Opendir{GFID: fop.RootGFID})
			if err != nil || rep.(*fop.OpenReply).RemoteFd != 0 {
				t.Errorf("the free number is not used: %+v %v", rep, err)
			}
			rep, err = w.fopV(v, &fop.Readdirp{GFID: fop.RootGFID, Size: math.MaxUint32}, 0)
			if err != nil || len(rep.(*fop.ReaddirReply).Entries) != 3 {
				t.Errorf("readdirp: %+v %v", rep, err)
			}
			// A number that is another object's by now, and a directory that is
			// listed in the name of another.
			if _, err := w.fopV(v, &fop.Read{GFID: fop.NewGFID(), Size: 100}, 1); err != syscall.EBADF && v == proto.V400 {
				t.Errorf("read in the name of another file: %v", err)
			}
			rep, err = w.fopV(v, &fop.Readdir{GFID: g, Size: math.MaxUint32}, 0)
			if err != nil || len(rep.(*fop.ReaddirReply).Entries) != 3 {
				t.Errorf("readdir in the name of another object: %+v %v", rep, err)
			}
			if q := f.disk.last().(*fop.Readdir); !q.GFID.IsRoot() {
				t.Errorf("the brick was asked to list %v", q.GFID)
			}
		})
	}
}

// TestReleaseWaits: a file is released on the brick after the last fop on it.
func TestReleaseWaits(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	g, n := w.create("file")
	begun, goOn := make(chan struct{}), make(chan struct{})
	f.disk.intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
		if req.Op() == fop.OpFsync {
			close(begun)
			<-goOn
		}
		return nil, nil, false
	})
	done := make(chan error, 1)
	go func() {
		_, err := w.fop(&fop.Fsync{GFID: g}, n)
		done <- err
	}()
	<-begun
	f.disk.forget()
	if _, err := w.fop(&fop.Release{GFID: g}, n); err != nil {
		t.Fatal(err)
	}
	if ops := f.disk.ops(); len(ops) != 0 {
		t.Errorf("the brick saw %v beside a fop on the file", ops)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	wait(t, "the release", func() bool { return slices.Equal(f.disk.ops(), []fop.Op{fop.OpRelease}) })
}

// TestDisconnect: what a client leaves behind is flushed, released and
// reported, in this order, and its waiting locks end.
func TestDisconnect(t *testing.T) {
	f := newFixture(t, nil)
	a, b := f.client("a"), f.client("b")
	g, n := a.create("file")
	if _, err := a.fop(&fop.Opendir{GFID: fop.RootGFID}); err != nil {
		t.Fatal(err)
	}
	lock := &fop.Finodelk{GFID: g, Cmd: fop.LkSet, Type: fop.LockWrite, Domain: "d"}
	if _, err := a.fop(lock, n); err != nil {
		t.Fatal(err)
	}
	rep, err := b.fop(&fop.Open{GFID: g, Flags: fop.ORdwr})
	if err != nil || rep.(*fop.OpenReply).RemoteFd != 0 {
		t.Fatalf("another client's first number: %+v %v", rep, err)
	}
	try := *lock
	if _, err := b.fop(&try, 0); err != syscall.EAGAIN {
		t.Fatalf("lock of another client: %v", err)
	}
	granted := make(chan error, 1)
	go func() {
		q := *lock
		q.Cmd = fop.LkSetWait
		_, err := b.fop(&q, 0)
		granted <- err
	}()
	f.disk.forget()
	a.Close()
	if err := <-granted; err != nil {
		t.Errorf("the lock that was waited for: %v", err)
	}
	wait(t, "Disconnect", func() bool { return slices.Contains(f.disk.ops(), fop.OpDisconnect) })
	ops := f.disk.ops()
	if want := []fop.Op{fop.OpFlush, fop.OpRelease, fop.OpReleasedir, fop.OpDisconnect}; !slices.Equal(ops, want) {
		t.Errorf("the brick saw %v, want %v", ops, want)
	}
	if q := f.disk.last(); q.Head().From == nil || q.Head().From.ID != "a" {
		t.Errorf("Disconnect of %+v", q.Head().From)
	}
	// Locks that b waits for end with b.
	c := f.client("c")
	if _, err := c.fop(&fop.Inodelk{GFID: g, Cmd: fop.LkSet, Type: fop.LockRead, Domain: "other"}); err != nil {
		t.Fatal(err)
	}
	f.disk.forget()
	b.Close()
	wait(t, "Disconnect of b", func() bool { return slices.Contains(f.disk.ops(), fop.OpDisconnect) })
	if clients := f.Clients(brickName); len(clients) != 1 || clients[0].ID != "c" {
		t.Errorf("clients left: %+v", clients)
	}
}

// TestHungFop: a fop that does not come back does not keep the locks of a client
// that is gone; when it comes back the brick hears again.
func TestHungFop(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	begun, goOn := make(chan struct{}), make(chan struct{})
	f.disk.intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
		if req.Op() == fop.OpStat {
			close(begun)
			<-goOn
		}
		return nil, nil, false
	})
	go w.fop(&fop.Stat{GFID: fop.RootGFID})
	<-begun
	f.disk.forget()
	w.Close()
	count := func() int {
		n := 0
		for _, op := range f.disk.ops() {
			if op == fop.OpDisconnect {
				n++
			}
		}
		return n
	}
	wait(t, "the first Disconnect", func() bool { return count() == 1 })
	close(goOn)
	wait(t, "the second Disconnect", func() bool { return count() == 2 })
}

// TestSameIdentity: connections with the same uuid share files; the session ends
// with the last.
func TestSameIdentity(t *testing.T) {
	f := newFixture(t, nil)
	a, b := f.client("same"), f.client("same")
	g, n := a.create("file")
	if _, err := b.fop(&fop.Write{GFID: g, Data: []byte("x")}, n); err != nil {
		t.Errorf("the other connection: %v", err)
	}
	if c := f.Clients(brickName); len(c) != 1 || len(c[0].Fds) != 1 {
		t.Errorf("%+v", c)
	}
	// Introducing itself once more changes nothing.
	if r := b.setvolume(hello("same")); r.Ret != 0 {
		t.Errorf("second SETVOLUME: %+v", r)
	}
	a.Close()
	wait(t, "one connection", func() bool { return len(f.rpc.Conns()) == 1 })
	if _, err := b.fop(&fop.Read{GFID: g, Size: 1}, n); err != nil {
		t.Errorf("after the first connection ended: %v", err)
	}
	f.disk.forget()
	b.Close()
	wait(t, "the end", func() bool { return slices.Contains(f.disk.ops(), fop.OpDisconnect) })
	if len(f.Clients(brickName)) != 0 {
		t.Error("session left")
	}
}

func TestCredentials(t *testing.T) {
	f := newFixture(t, xlator.Options{"manage-gids": "on"})
	f.groups.mu.Lock()
	f.groups.lookup = func(uid uint32) []uint32 { return []uint32{uid * 2} }
	f.groups.mu.Unlock()
	w := f.client("a", "process-name", "fuse")
	w.cred = rpc.Cred{Flavor: rpc.AuthGlusterV3, PID: -6, UID: 7, GID: 8, Groups: []uint32{9}, LockOwner: []byte{1, 0, 2},
		TimeFlags: 3, CTimeSec: 11, CTimeNsec: 12}
	if _, err := w.fop(&fop.Stat{GFID: fop.RootGFID}); err != nil {
		t.Fatal(err)
	}
	h := f.disk.last().Head()
	if h.Cred.PID != -6 || h.Cred.UID != 7 || h.Cred.GID != 8 || !slices.Equal(h.Cred.Groups, []uint32{14}) || h.Cred.Owner != "\x01\x00\x02" {
		t.Errorf("%+v", h.Cred)
	}
	if h.Time != (fop.Stamp{Flags: 3, Sec: 11, Nsec: 12}) {
		t.Errorf("%+v", h.Time)
	}
	if h.From.ID != "a" || h.From.Name != "fuse" || h.From.OpVersion != 100000 || h.From.Trusted {
		t.Errorf("%+v", h.From)
	}
}

func TestRefusedRequests(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	g, n := w.create("file")
	x := fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())})}
	f.disk.forget()
	for _, tc := range []struct {
		req  fop.Request
		want syscall.Errno
	}{
		{&fop.Stat{}, syscall.EINVAL},
		{&fop.Lookup{}, syscall.EINVAL},
		{&fop.Lookup{Name: "x"}, syscall.EINVAL},
		{&fop.Lookup{Parent: fop.RootGFID, Name: "a/b"}, syscall.EPERM},
		{&fop.Mkdir{Header: x, Parent: fop.RootGFID, Name: ""}, syscall.EINVAL},
		{&fop.Mkdir{Header: x, Parent: fop.RootGFID, Name: ".."}, syscall.EEXIST},
		{&fop.Mkdir{Header: x, Parent: fop.RootGFID, Name: "a\x00b"}, syscall.EINVAL},
		{&fop.Unlink{Parent: fop.RootGFID, Name: ".."}, syscall.EINVAL},
		{&fop.Unlink{Parent: fop.RootGFID, Name: "../x"}, syscall.EPERM},
		{&fop.Rename{OldParent: fop.RootGFID, NewParent: fop.RootGFID, OldName: "file", NewName: "."}, syscall.EBUSY},
		{&fop.Link{Parent: fop.RootGFID, Name: "l"}, syscall.EINVAL},
		{&fop.Lk{GFID: g, Cmd: 7, Type: fop.LockRead}, syscall.EINVAL},
		{&fop.Lk{GFID: g, Cmd: fop.LkSet, Type: 9}, syscall.EINVAL},
		{&fop.Finodelk{GFID: g, Cmd: fop.LkSet, Type: 3}, syscall.EINVAL},
		{&fop.Entrylk{GFID: fop.RootGFID, Cmd: 3, Domain: "d"}, syscall.EINVAL},
	} {
		if _, err := w.fop(tc.req, n); err != tc.want {
			t.Errorf("%v %+v: %v, want %v", tc.req.Op(), tc.req, err, tc.want)
		}
	}
	if ops := f.disk.ops(); len(ops) != 0 {
		t.Errorf("the brick saw %v", ops)
	}
	// The outer type of a lock counts, the inner one is made equal.
	if _, err := w.fop(&fop.Lk{GFID: g, Cmd: fop.LkSet, Type: fop.LockWrite, Flock: fop.Flock{Type: fop.LockRead, Owner: "o"}}, n); err != nil {
		t.Error(err)
	}
	if _, err := w.fop(&fop.Inodelk{GFID: g, Cmd: fop.LkSet, Type: fop.LockWrite, Domain: "d"}); err != nil {
		t.Error(err)
	}
	// A body that is too short or too long is garbage, and the connection lives.
	head, _, _ := proto.AppendRequest(nil, proto.V400, &fop.Stat{GFID: g}, proto.FdRefs{})
	for _, body := range [][]byte{head[:10], append(slices.Clone(head), 0, 0, 0, 0), nil} {
		if _, err := w.raw(proto.V400, fop.OpStat, body); !isReply(err, rpc.GarbageArgs) {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	}
	// A failure is a complete reply.
	body, err := w.raw(proto.V400, fop.OpRename, mustEncode(t, &fop.Rename{OldParent: fop.RootGFID, NewParent: fop.RootGFID, OldName: "none", NewName: "x"}))
	if err != nil || len(body) < 8+12+5*148 {
		t.Errorf("a failed rename is %d bytes, %v", len(body), err)
	}
}

func mustEncode(t *testing.T, req fop.Request) []byte {
	head, payload, err := proto.AppendRequest(nil, proto.V400, req, proto.FdRefs{})
	if err != nil {
		t.Fatal(err)
	}
	return append(head, payload...)
}

// TestLockXData: the locks translator learns whose lock it is.
func TestLockXData(t *testing.T) {
	seen := &spy{}
	f := newFixtureWith(t, nil, mem.NewFS(nil), func(h fop.Handler) fop.Handler {
		seen.Handler = h
		return seen
	})
	w := f.client("CTX_ID:me")
	for _, x := range []*fop.Dict{nil, fop.NewDict(fop.Pair{Key: "k", Val: fop.Int(1)})} {
		if _, err := w.fop(&fop.Inodelk{Header: fop.Header{XData: x}, GFID: fop.RootGFID, Cmd: fop.LkSet, Type: fop.LockRead, Domain: "d"}); err != nil {
			t.Fatal(err)
		}
		if got := seen.last().Head().XData; got.Text(fop.KeyConnectionID) != "CTX_ID:me" || got.Has("k") != x.Has("k") {
			t.Errorf("%+v", got.Pairs())
		}
	}
}

func TestSubdir(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	mkdir := func(w *wire, parent fop.GFID, name string) fop.GFID {
		t.Helper()
		g := fop.NewGFID()
		x := fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})
		if _, err := w.fop(&fop.Mkdir{Header: fop.Header{XData: x}, Parent: parent, Name: name, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		return g
	}
	sub := mkdir(w, mkdir(w, fop.RootGFID, "a"), "b")
	s := f.client("s", "subdir-mount", "/a/b")
	stat := func(req fop.Request) fop.Iatt {
		t.Helper()
		rep, err := s.fop(req)
		if err != nil {
			t.Fatalf("%v: %v", req.Op(), err)
		}
		switch r := rep.(type) {
		case *fop.LookupReply:
			return r.Stat
		case *fop.StatReply:
			return r.Stat
		}
		return fop.Iatt{}
	}
	for _, req := range []fop.Request{&fop.Lookup{GFID: fop.RootGFID}, &fop.Stat{GFID: fop.RootGFID}, &fop.Stat{GFID: sub}, &fop.Lookup{Parent: fop.RootGFID, Name: ".."}} {
		if a := stat(req); !a.GFID.IsRoot() || a.Ino != 1 {
			t.Errorf("%v: gfid %v ino %d", req.Op(), a.GFID, a.Ino)
		}
	}
	inner := mkdir(s, fop.RootGFID, "inside")
	rep, err := w.fop(&fop.Lookup{Parent: sub, Name: "inside"})
	if err != nil || rep.(*fop.LookupReply).Stat.GFID != inner {
		t.Errorf("the directory is elsewhere: %v", err)
	}
	// The parent in the reply of a child's lookup keeps its own GFID.
	rep, err = s.fop(&fop.Lookup{Parent: fop.RootGFID, Name: "inside"})
	if err != nil || rep.(*fop.LookupReply).Parent.GFID != sub {
		t.Errorf("parent %+v %v", rep, err)
	}
}

func TestUpcall(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	other := f.client("b")
	g, _ := w.create("file")
	from := f.disk.last().Head().From
	from.Upcall(&fop.Upcall{Kind: fop.UpcallInvalidate, GFID: g, Flags: fop.InvalSize | fop.InvalTimes, Expire: 600})
	cb := <-w.upcall
	u, err := proto.DecodeCallback(cb.Proc, cb.Body)
	if err != nil || cb.Prog != proto.ProgCallback || u.Kind != fop.UpcallInvalidate || u.GFID != g || u.Flags != 0x18 || u.Expire != 600 {
		t.Errorf("%+v %+v %v", cb, u, err)
	}
	select {
	case cb := <-other.upcall:
		t.Errorf("another client heard %+v", cb)
	default:
	}
}

// TestBigReads: a READ cannot make the server allocate what the file does not
// hold; what the file holds is read in one.
func TestBigReads(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	g, n := w.create("file")
	data := bytes.Repeat([]byte("abcdefgh"), 3<<17)
	if _, err := w.fop(&fop.Write{GFID: g, Data: data}, n); err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint32{uint32(len(data)), math.MaxUint32} {
		rep, err := w.fop(&fop.Read{GFID: g, Size: size}, n)
		if err != nil || !bytes.Equal(rep.(*fop.ReadReply).Data, data) {
			t.Errorf("read of %d: %v", size, err)
		}
		if q := f.disk.last().(*fop.Read); len(q.Into) != len(data) {
			t.Errorf("read of %d got a buffer of %d", size, len(q.Into))
		}
	}
}

// TestSlowPeers: a peer that sends nothing, half a message, or reads nothing
// disturbs nobody else.
func TestSlowPeers(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("good")
	g, n := w.create("file")
	if _, err := w.fop(&fop.Write{GFID: g, Data: make([]byte, 1<<20)}, n); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	half, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	half.Write([]byte{0x80, 0x10, 0, 0, 1, 2, 3})
	bad, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	bad.Write(bytes.Repeat([]byte{0xff}, 4096))
	if _, err := io.ReadAll(bad); err != nil && !isReset(err) {
		t.Errorf("garbage: %v", err)
	}
	// A client that asks for much and reads none of it.
	greedy := f.client("greedy")
	var wg sync.WaitGroup
	for range 200 {
		wg.Add(1)
		p := greedy.Start(&rpc.Request{Prog: proto.ProgFop, Vers: 400, Proc: uint32(fop.OpRead), Cred: &greedy.cred,
			Args: rpc.Raw(mustEncodeFd(t, &fop.Read{GFID: g, Size: 1 << 20}, anonymousFd))})
		go func() {
			defer wg.Done()
			p.Wait(context.Background())
		}()
	}
	start := time.Now()
	for range 100 {
		if _, err := w.fop(&fop.Stat{GFID: g}); err != nil {
			t.Fatal(err)
		}
	}
	// The greedy one never reads: who waits for it, waits for ever.
	if d := time.Since(start); d > 2*time.Minute {
		t.Errorf("100 calls beside slow peers took %v", d)
	}
	greedy.Close()
	wg.Wait()
}

func isReset(err error) bool { return fop.Errno(err) == syscall.ECONNRESET }

func mustEncodeFd(t testing.TB, req fop.Request, fd int64) []byte {
	head, payload, err := proto.AppendRequest(nil, proto.V400, req, proto.FdRefs{A: fd})
	if err != nil {
		t.Fatal(err)
	}
	return append(head, payload...)
}

// TestManyClients: clients come and go beside each other.
func TestManyClients(t *testing.T) {
	f := newFixture(t, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Add(1)
		w := f.client(fmt.Sprint("c", i))
		go func() {
			defer wg.Done()
			g, n := w.create(fmt.Sprint("file", i))
			for k := range 20 {
				if _, err := w.fop(&fop.Write{GFID: g, Offset: uint64(k), Data: []byte{byte(k)}}, n); err != nil {
					t.Error(err)
				}
				if _, err := w.fop(&fop.Lookup{Parent: fop.RootGFID, Name: fmt.Sprint("file", i)}); err != nil {
					t.Error(err)
				}
			}
			w.Close()
		}()
	}
	wg.Wait()
	wait(t, "all gone", func() bool { return len(f.Clients(brickName)) == 0 })
}

// TestShutdown answers what is under way.
func TestShutdown(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	begun, goOn := make(chan struct{}), make(chan struct{})
	f.disk.intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
		if req.Op() == fop.OpStatfs {
			close(begun)
			<-goOn
		}
		return nil, nil, false
	})
	done := make(chan error, 1)
	go func() {
		_, err := w.fop(&fop.StatfsReq{GFID: fop.RootGFID})
		done <- err
	}()
	<-begun
	down := make(chan error, 1)
	go func() { down <- f.Shutdown(t.Context()) }()
	wait(t, "closing", func() bool { return f.closing.Load() })
	close(goOn)
	if err := <-done; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if ops := f.disk.ops(); ops[len(ops)-1] != fop.OpDisconnect {
		t.Errorf("%v", ops)
	}
	if _, ok := f.Local(brickName, "x"); ok {
		t.Error("a new client after the end")
	}
}

// FuzzFop sends arbitrary messages of all procedures.
func FuzzFop(f *testing.F) {
	seed := func(req fop.Request, fd int64) { f.Add(uint32(req.Op()), false, mustEncodeFd(f, req, fd)) }
	seed(&fop.Lookup{Parent: fop.RootGFID, Name: "x"}, 0)
	seed(&fop.Read{GFID: fop.RootGFID, Size: math.MaxUint32}, anonymousFd)
	seed(&fop.Write{GFID: fop.RootGFID, Data: []byte("x")}, 0)
	seed(&fop.Open{GFID: fop.RootGFID}, 0)
	seed(&fop.Opendir{GFID: fop.RootGFID}, 0)
	seed(&fop.Readdirp{GFID: fop.RootGFID, Size: 4096}, 0)
	seed(&fop.Release{GFID: fop.RootGFID}, 0)
	seed(&fop.Lk{GFID: fop.RootGFID, Cmd: 1, Type: 1}, 0)
	fix := newFixture(f, nil)
	l, _ := fix.Local(brickName, "fuzz")
	f.Cleanup(func() { l.Close() })
	sess := l.(*local).session
	f.Fuzz(func(t *testing.T, op uint32, old bool, body []byte) {
		v := proto.V400
		if old {
			v = proto.V330
		}
		req, fd, err := proto.DecodeRequest(v, op, body)
		if err != nil || mayWait(req.Op()) {
			return
		}
		req.Head().From = &sess.Client
		var buf *rpc.Buffer
		if q, ok := req.(*fop.Read); ok {
			buf = fix.prepareRead(t.Context(), sess, q, fd.A)
		}
		reply, err := sess.do(t.Context(), req, fd)
		proto.AppendReply(nil, v, req.Op(), reply, err)
		buf.Release()
	})
}
