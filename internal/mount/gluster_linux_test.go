package mount

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volserver"
)

// TestGlusterd opens a volume of the real GlusterFS and has its options changed
// while files are open.
func TestGlusterd(t *testing.T) {
	g := testenv.Gluster(t)
	brick := testenv.LoopFS(t, "xfs", 512) + "/brick"
	g.Volume(t, "data", brick)
	cfg := Config{
		Volume:   "data",
		Servers:  []volserver.Server{{Network: "tcp", Addr: g.Addr(24007)}},
		Registry: clientside.Registry(),
		Dial:     g.DialContext,
		Log:      slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	root, err := fop.Call(ctx, s, &fop.Lookup{GFID: fop.RootGFID})
	if err != nil || root.Stat.GFID != fop.RootGFID {
		t.Fatalf("lookup of the root: %+v, %v", root, err)
	}
	fd := makeFile(ctx, t, s, "file")
	gone := makeFile(ctx, t, s, "gone")
	if _, err := fop.Call(ctx, s, &fop.Unlink{Parent: fop.RootGFID, Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	lock := &fop.Lk{GFID: fd.GFID, Fd: fd, Cmd: fop.LkSet, Type: fop.LockWrite,
		Flock: fop.Flock{Type: fop.LockWrite, Owner: "12345678"}, Header: fop.Header{Cred: fop.Cred{PID: 77, Owner: "12345678"}}}
	if _, err := fop.Call(ctx, s, lock); err != nil {
		t.Fatalf("lock: %v", err)
	}

	// Somebody writes all the time, one byte after the other.
	var written atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for off := int64(0); ; off++ {
			select {
			case <-stop:
				return
			default:
			}
			for _, d := range []*fop.Fd{fd, gone} {
				if _, err := fop.Call(ctx, s, &fop.Write{GFID: d.GFID, Fd: d, Offset: uint64(off), Data: []byte{'a' + byte(off%26)}}); err != nil {
					t.Errorf("write at %d: %v", off, err)
					return
				}
			}
			written.Store(off + 1)
		}
	})
	progress := func() {
		t.Helper()
		n := written.Load()
		testenv.Wait(t, 20*time.Second, "writes", func() bool { return written.Load() > n+20 })
	}
	graphs := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.count }
	set := func(key, value string, seen func(string) bool) {
		t.Helper()
		g.Set(t, "data", key, value)
		testenv.Wait(t, 20*time.Second, key+" "+value, func() bool { return seen(s.Volfile()) })
		progress()
	}
	progress()
	set("performance.write-behind", "off", func(v string) bool { return !strings.Contains(v, "write-behind") })
	if n := graphs(); n != 2 {
		t.Errorf("%d graphs after a new topology", n)
	}
	set("network.frame-timeout", "170", func(v string) bool { return strings.Contains(v, "frame-timeout 170") })
	if n := graphs(); n != 2 {
		t.Errorf("%d graphs after a new option", n)
	}
	// A feature that we do not have leaves the volume as it is.
	g.Set(t, "data", "features.shard", "on")
	progress()
	set("features.shard", "off", func(v string) bool { return !strings.Contains(v, "shard") })
	set("performance.read-ahead", "on", func(v string) bool { return strings.Contains(v, "read-ahead") })

	// The daemon goes and comes; the volume works meanwhile, and changes are
	// heard of again.
	g.Daemon.Kill()
	progress()
	g.StartDaemon(t)
	set("network.ping-timeout", "18", func(v string) bool { return strings.Contains(v, "ping-timeout 18") })
	close(stop)
	wg.Wait()

	// The lock of the file moved with it: another client cannot have it.
	other, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(ctx)
	ofd := &fop.Fd{GFID: fd.GFID, Flags: fop.ORdwr}
	if _, err := fop.Call(ctx, other, &fop.Lookup{Parent: fop.RootGFID, Name: "file"}); err != nil {
		t.Error(err)
	}
	if _, err := fop.Call(ctx, other, &fop.Open{GFID: fd.GFID, Flags: ofd.Flags, Fd: ofd}); err != nil {
		t.Error(err)
	}
	theirs := *lock
	theirs.Fd, theirs.Cred.Owner, theirs.Flock.Owner = ofd, "87654321", "87654321"
	if _, err := fop.Call(ctx, other, &theirs); fop.Errno(err) != syscall.EAGAIN {
		t.Errorf("the lock is free for others after the graph changed: %v", err)
	}

	for _, d := range []*fop.Fd{fd, gone} {
		if _, err := fop.Call(ctx, s, &fop.Flush{GFID: d.GFID, Fd: d, Header: fop.Header{Cred: fop.Cred{Owner: "12345678"}}}); err != nil {
			t.Error(err)
		}
		release(t, s, d)
	}
	if _, err := fop.Call(ctx, other, &theirs); err != nil {
		t.Errorf("the lock is held after close: %v", err)
	}
	release(t, other, ofd)
	b, err := os.ReadFile(g.Mount(t, "data") + "/file")
	if err != nil || int64(len(b)) != written.Load() {
		t.Errorf("%d bytes, %d were written: %v", len(b), written.Load(), err)
	}
	for i, c := range b {
		if c != 'a'+byte(i%26) {
			t.Fatalf("byte %d is %q", i, c)
		}
	}
}

// TestGlusterdErrors is what users get to see when something is wrong.
func TestGlusterdErrors(t *testing.T) {
	g := testenv.Gluster(t)
	g.Create(t, "data", testenv.LoopFS(t, "xfs", 512)+"/brick")
	open := func(volume string, port int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s, err := Open(ctx, Config{Volume: volume, Servers: []volserver.Server{{Network: "tcp", Addr: g.Addr(port)}},
			Registry: clientside.Registry(), Dial: g.DialContext, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			s.Close(ctx)
		}
		return err
	}
	expect := func(err error, words ...string) {
		t.Helper()
		if err == nil {
			t.Errorf("opened, want an error with %q", words)
			return
		}
		t.Log(err)
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("no %q in %q", w, err)
			}
		}
	}
	expect(open("none", 24007), `"none"`, g.Addr(24007), "gluster volume list")
	expect(open("data", 24008), g.Addr(24008), "connection refused", "is glusterd running")
	expect(open("data", 24007), "data") // it is not started
	g.StartVolume(t, "data")
	g.WaitOnline(t, "data")
	if err := open("data", 24007); err != nil {
		t.Error(err)
	}
	g.Set(t, "data", "auth.reject", "*")
	var refused error
	testenv.Wait(t, 20*time.Second, "the brick refuses us", func() bool { refused = open("data", 24007); return refused != nil })
	expect(refused, "data", "auth.")
}

func makeFile(ctx context.Context, t *testing.T, s *Session, name string) *fop.Fd {
	t.Helper()
	var id fop.GFID
	rand.Read(id[:])
	fd := &fop.Fd{GFID: id, Flags: fop.OCreate | fop.OExcl | fop.ORdwr}
	req := &fop.Create{Parent: fop.RootGFID, Name: name, Flags: fd.Flags, Mode: 0o100644, Fd: fd,
		Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(id)})}}
	r, err := fop.Call(ctx, s, req)
	if err != nil || r.Stat.GFID != id {
		t.Fatalf("create %s: %+v, %v", name, r, err)
	}
	return fd
}

// testLog is the log of a test.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}
