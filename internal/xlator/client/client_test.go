package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
)

var bg = context.Background()

func TestConformance(t *testing.T) {
	fresh := func(options ...string) func(t *testing.T) fop.Handler {
		return func(t *testing.T) fop.Handler { return newBrick(t).connect(t, options...) }
	}
	t.Run("400", func(t *testing.T) { conformance.Run(t, fresh(), conformance.Options{Devices: true}) })
	t.Run("330", func(t *testing.T) {
		conformance.Run(t, fresh("testing.old-protocol", "on"), conformance.Options{Devices: true,
			Skip: map[string]string{"xattrReply": "version 330 has no form for attributes in a dictionary"}})
	})
}

// TestIntroduction looks at what a brick is told, at first and after a reconnect.
func TestIntroduction(t *testing.T) {
	b := newBrick(t)
	c := b.connect(t, "username", "u", "password", "p", "subdir-mount", "/a")
	b.kill()
	c.wait(fop.EventChildDown)
	b.start()
	c.wait(fop.EventChildUp)
	b.mu.Lock()
	hellos := b.hellos
	b.mu.Unlock()
	if len(hellos) != 2 {
		t.Fatalf("%d SETVOLUMEs", len(hellos))
	}
	for i, want := range []map[string]string{
		{"volume-id": "", "remote-subvolume": "/brick", "username": "u", "password": "p", "subdir-mount": "/a", "fops-version": "1298437",
			"process-name": "test", "volfile-key": "/vol", "opversion": "100000", "clnt-lk-version": "1"},
		{"volume-id": volumeID},
	} {
		for k, v := range want {
			if got := hellos[i].Text(k); got != v {
				t.Errorf("SETVOLUME %d: %s is %q, want %q", i, k, got, v)
			}
		}
		id := hellos[i].Text("process-uuid")
		if !strings.HasPrefix(id, "CTX_ID:c0ffee00-0000-4000-8000-000000000001-GRAPH_ID:0-PID:") ||
			!strings.HasSuffix(id, "-HOST:here-PC_NAME:vol-client-0-RECON_NO:-"+string(rune('0'+i))) {
			t.Errorf("process-uuid %q", id)
		}
	}
	if cr := b.cred("SETVOLUME"); cr.Flavor != rpc.AuthGlusterV3 || cr.PID != 0 || string(cr.LockOwner) != "\x00\x00\x00\x00" {
		t.Errorf("credential of SETVOLUME: %+v", cr)
	}
}

// TestCredentials looks at the credentials of fops in both versions.
func TestCredentials(t *testing.T) {
	groups := make([]uint32, 120)
	for i := range groups {
		groups[i] = uint32(1000 + i)
	}
	req := &fop.Stat{GFID: fop.RootGFID}
	req.Cred = fop.Cred{UID: 7, GID: 8, PID: -13, Groups: groups}
	req.Time = fop.Stamp{Flags: 3, Sec: 5, Nsec: 6}
	for _, tt := range []struct {
		options []string
		owner   string
		flavor  rpc.Flavor
		groups  int
		wire    string
	}{
		{nil, "", rpc.AuthGlusterV3, 87, "\xf3\xff\xff\xff"},
		{nil, "12345678", rpc.AuthGlusterV3, 83, "12345678"},
		{[]string{"testing.old-protocol", "on"}, "12345678", rpc.AuthGlusterV2, 87, "12345678"},
		{[]string{"send-gids", "off"}, strings.Repeat("x", 20), rpc.AuthGlusterV3, 1, strings.Repeat("x", 20)},
	} {
		b := newBrick(t)
		c := b.connect(t, tt.options...)
		req.Cred.Owner = tt.owner
		if _, err := c.Do(bg, req); err != nil {
			t.Fatal(err)
		}
		got := b.cred("STAT")
		if got.Flavor != tt.flavor || got.UID != 7 || got.GID != 8 || got.PID != -13 || len(got.Groups) != tt.groups || string(got.LockOwner) != tt.wire {
			t.Errorf("%v: %+v", tt, got)
		}
		if tt.flavor == rpc.AuthGlusterV3 && (got.TimeFlags != 3 || got.CTimeSec != 5 || got.CTimeNsec != 6) {
			t.Errorf("stamp: %+v", got)
		}
		c.stop()
	}
}

// TestRefusals is the table of what a brick can say to SETVOLUME.
func TestRefusals(t *testing.T) {
	fail := func(errno int32, why string) func(*fop.Dict) proto.SetvolumeReply {
		return func(*fop.Dict) proto.SetvolumeReply {
			return proto.SetvolumeReply{Ret: -1, Errno: errno, Dict: fop.NewDict(fop.Pair{Key: "ERROR", Val: fop.Str(why)})}
		}
	}
	for _, tt := range []struct {
		name    string
		reply   func(*fop.Dict) proto.SetvolumeReply
		options []string
		kind    fop.EventKind
		errno   syscall.Errno
		says    string
	}{
		{"auth", fail(13, "Authentication failed"), nil, fop.EventAuthFailed, syscall.EACCES, "auth.allow"},
		{"no brick", fail(2, "Brick not found"), nil, fop.EventChildConnecting, syscall.ENOENT, "Brick not found"},
		{"subdir", fail(2, `subdirectory for mount "/a" is not found`), []string{"subdir-mount", "/a"}, fop.EventAuthFailed, syscall.ENOENT, "/a"},
		{"not yet", fail(11, "xlator graph in server is not initialised yet"), nil, fop.EventChildConnecting, syscall.EAGAIN, "starting"},
		{"volume id", fail(22, "Volume-ID different"), nil, fop.EventChildConnecting, syscall.EINVAL, "Volume-ID different"},
		{"stale", fail(116, "old"), nil, fop.EventVolfileModified, syscall.ESTALE, "changed"},
		{"other volume", nil, []string{"volume-id", "11111111-94d2-4181-a3bb-d33f3e12a289"}, fop.EventChildConnecting, syscall.EINVAL, "11111111"},
		{"unknown number", fail(0, "x"), nil, fop.EventChildConnecting, syscall.EIO, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBrick(t)
			b.answer(tt.reply)
			c := b.client(t, tt.options...)
			ev := c.wait(tt.kind)
			if !errors.Is(ev.Err, tt.errno) || !strings.Contains(ev.Err.Error(), tt.says) || !strings.Contains(ev.Err.Error(), "brickhost:/brick") {
				t.Errorf("error %v", ev.Err)
			}
			if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); fop.Errno(err) != syscall.ENOTCONN || !strings.Contains(err.Error(), "brickhost:/brick") {
				t.Errorf("fop without a brick: %v", err)
			}
			// The client does not give up.
			b.answer(nil)
			if tt.name != "other volume" {
				c.wait(fop.EventChildUp)
			}
		})
	}
}

// TestNotReady covers bricks that are not there, or only half.
func TestNotReady(t *testing.T) {
	t.Run("not running", func(t *testing.T) {
		b := newBrick(t)
		b.kill()
		c := b.client(t)
		if ev := c.wait(fop.EventChildConnecting); !strings.Contains(ev.Err.Error(), "does not run") {
			t.Error(ev.Err)
		}
		b.start()
		c.wait(fop.EventChildUp)
	})
	t.Run("child down", func(t *testing.T) {
		b := newBrick(t)
		b.answer(func(*fop.Dict) proto.SetvolumeReply {
			return proto.SetvolumeReply{Dict: fop.NewDict(fop.Pair{Key: "child_up", Val: fop.Str("0")})}
		})
		c := b.client(t)
		c.wait(fop.EventChildDown)
		if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); fop.Errno(err) != syscall.ENOTCONN {
			t.Error(err)
		}
		b.server.Conns()[0].Callback(proto.ProgCallback, 1, proto.CallbackChildUp, nil)
		c.wait(fop.EventChildUp)
		b.server.Conns()[0].Callback(proto.ProgCallback, 1, proto.CallbackChildDown, nil)
		c.wait(fop.EventChildDown)
	})
	t.Run("only version 330", func(t *testing.T) {
		b := newBrick(t)
		b.kill()
		b.only330 = true
		b.start()
		c := b.connect(t)
		if v := c.link.Load().vers; v != proto.V330 {
			t.Error(v)
		}
	})
	t.Run("no portmapper, no management daemon", func(t *testing.T) {
		b := newBrick(t)
		b.mgmt.Close()
		c := b.client(t)
		if ev := c.wait(fop.EventChildConnecting); !errors.Is(ev.Err, syscall.ECONNREFUSED) || !strings.Contains(ev.Err.Error(), "24007") {
			t.Error(ev.Err)
		}
	})
	t.Run("remote-port", func(t *testing.T) {
		b := newBrick(t)
		_, port, _ := net.SplitHostPort(b.port.Addr().String())
		b.mgmt.Close()
		b.connect(t, "remote-port", port)
	})
	t.Run("remote-port is no brick", func(t *testing.T) {
		l := listen(t)
		serve(t, &rpc.Server{Log: quiet, Programs: []*rpc.Program{rpc.Dump()}}, l)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		c := newBrick(t).client(t, "remote-port", port)
		if ev := c.wait(fop.EventChildConnecting); !strings.Contains(ev.Err.Error(), "is no brick") {
			t.Error(ev.Err)
		}
	})
}

// TestBadPeers meets servers that are silent or talk nonsense.
func TestBadPeers(t *testing.T) {
	for _, tt := range []struct{ name, says string }{{"silent", ""}, {"nonsense\n\n\n\n\n", "offer"}, {"\x80\x00\x00\x0c\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00", "offer"}} {
		t.Run(tt.name[:6], func(t *testing.T) {
			l := listen(t)
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						if tt.name != "silent" {
							io.WriteString(conn, tt.name)
						}
						io.Copy(io.Discard, conn)
					}()
				}
			}()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			c := newBrick(t).client(t, "remote-port", port, "ping-timeout", "1")
			ev := c.wait(fop.EventChildConnecting)
			if !strings.Contains(ev.Err.Error(), "brickhost:/brick") || !strings.Contains(ev.Err.Error(), tt.says) {
				t.Error(ev.Err)
			}
		})
	}
}

// TestSilence is a brick that stops answering while a fop is under way.
func TestSilence(t *testing.T) {
	b := newBrick(t)
	block := make(chan struct{})
	b.intercept(func(req fop.Request) (fop.Reply, error) {
		if req.Op() == fop.OpStat {
			<-block
		}
		return nil, errPass
	})
	c := b.connect(t)
	// A context ends the wait.
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, &fop.Stat{GFID: fop.RootGFID}); fop.Errno(err) != syscall.ETIMEDOUT {
		t.Errorf("after its deadline: %v", err)
	}
	// The end of the connection ends it, too.
	p := c.Start(bg, &fop.Stat{GFID: fop.RootGFID})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		b.kill()
	}()
	if _, err := p.Wait(); fop.Errno(err) != syscall.ENOTCONN || !strings.Contains(err.Error(), "brickhost:/brick") {
		t.Errorf("after a disconnect: %v", err)
	}
	close(block)
	<-killed
}

// TestReopen checks that open files survive the loss of the brick, with their
// locks.
func TestReopen(t *testing.T) {
	b := newBrick(t)
	c := b.connect(t)
	file := c.create("f")
	if _, err := c.Do(bg, &fop.Write{GFID: file.GFID, Fd: file, Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	dir := &fop.Fd{GFID: fop.RootGFID, Dir: true}
	if _, err := c.Do(bg, &fop.Opendir{GFID: fop.RootGFID, Fd: dir}); err != nil {
		t.Fatal(err)
	}
	gone := c.create("gone")
	c.Do(bg, &fop.Release{GFID: gone.GFID, Fd: gone})
	eventually(t, "RELEASE", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.fds) == 2 })

	lock := &fop.Lk{GFID: file.GFID, Fd: file, Cmd: fop.LkSet, Type: fop.LockWrite, Flock: fop.Flock{Type: fop.LockWrite, Start: 10, Len: 5, PID: 9}}
	lock.Cred.Owner = "me"
	if _, err := c.Do(bg, lock); err != nil {
		t.Fatal(err)
	}
	b.kill()
	c.wait(fop.EventChildDown)
	b.seen()
	var flags atomic.Uint32
	b.intercept(func(req fop.Request) (fop.Reply, error) {
		if r, ok := req.(*fop.Open); ok {
			flags.Store(r.Flags)
		}
		return nil, errPass
	})
	b.start()
	c.wait(fop.EventChildUp)
	calls := b.seen()
	if !strings.HasPrefix(calls, "SETVOLUME") || strings.Count(calls, "OPEN") != 2 || !strings.Contains(calls, "OPENDIR") || strings.Count(calls, "LK") != 1 {
		t.Errorf("after the reconnect the brick saw %s", calls)
	}
	if flags.Load() != fop.ORdwr|fop.OAppend {
		t.Errorf("opened again with flags %#o", flags.Load())
	}
	b.mu.Lock()
	locks := maps.Clone(b.locks)
	b.mu.Unlock()
	if len(locks) != 1 || b.cred("LK").PID != 0 || string(b.cred("LK").LockOwner) != "me" {
		t.Errorf("locks %v of %+v", locks, b.cred("LK"))
	}
	read, err := fop.Call(bg, c.Client, &fop.Read{GFID: file.GFID, Fd: file, Size: 100})
	if err != nil || string(read.Data) != "hello" || !read.EOF {
		t.Errorf("%q, %v", read.Data, err)
	}
	if _, err := c.Do(bg, &fop.Fsyncdir{GFID: dir.GFID, Fd: dir}); err != nil {
		t.Error(err)
	}

	// An unlocked lock is not acquired again.
	lock.Flock.Type = fop.LockUnlock
	if _, err := c.Do(bg, lock); err != nil {
		t.Fatal(err)
	}
	b.kill()
	c.wait(fop.EventChildDown)
	b.seen()
	b.start()
	c.wait(fop.EventChildUp)
	if calls := b.seen(); strings.Contains(calls, "LK") {
		t.Errorf("after the second reconnect: %s", calls)
	}
}

// TestLostLock checks that a file whose lock somebody else has got is unusable.
func TestLostLock(t *testing.T) {
	for _, strict := range []string{"off", "on"} {
		t.Run("strict-locks "+strict, func(t *testing.T) {
			b := newBrick(t)
			c := b.connect(t, "strict-locks", strict)
			file := c.create("f")
			lock := &fop.Lk{GFID: file.GFID, Fd: file, Cmd: fop.LkSet, Flock: fop.Flock{Type: fop.LockWrite}}
			if _, err := c.Do(bg, lock); err != nil {
				t.Fatal(err)
			}
			b.kill()
			c.wait(fop.EventChildDown)
			b.intercept(func(req fop.Request) (fop.Reply, error) {
				if req.Op() == fop.OpLk {
					if strict == "on" {
						t.Error("strict-locks is on and a lock was asked for again")
					}
					return nil, syscall.EAGAIN
				}
				return nil, errPass
			})
			b.start()
			c.wait(fop.EventChildUp)
			for _, req := range []fop.Request{
				&fop.Write{GFID: file.GFID, Fd: file, Data: []byte("x")},
				&fop.Read{GFID: file.GFID, Fd: file, Size: 1},
				&fop.Flush{GFID: file.GFID, Fd: file},
			} {
				if _, err := c.Do(bg, req); fop.Errno(err) != ebadfd {
					t.Errorf("%v: %v", req.Op(), err)
				}
			}
			// Without the file, the object works on.
			if _, err := c.Do(bg, &fop.Read{GFID: file.GFID, Size: 1}); err != nil {
				t.Error(err)
			}
			c.Do(bg, &fop.Release{GFID: file.GFID, Fd: file})
			eventually(t, "nothing open", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.fds) == 0 })
		})
	}
}

// TestUnknownFd covers files that this brick does not have open.
func TestUnknownFd(t *testing.T) {
	b := newBrick(t)
	c := b.connect(t)
	file := c.create("f")
	other := &fop.Fd{GFID: file.GFID}
	if _, err := c.Do(bg, &fop.Write{GFID: file.GFID, Fd: other, Data: []byte("x")}); err != nil {
		t.Errorf("write without open: %v", err)
	}
	if _, err := c.Do(bg, &fop.Flush{GFID: file.GFID, Fd: other}); fop.Errno(err) != ebadfd {
		t.Errorf("flush without open: %v", err)
	}
	if _, err := c.Do(bg, &fop.Release{GFID: file.GFID, Fd: other}); err != nil {
		t.Errorf("release without open: %v", err)
	}
	// A file that cannot be opened again is used by its GFID where that does.
	b.kill()
	c.wait(fop.EventChildDown)
	b.intercept(func(req fop.Request) (fop.Reply, error) {
		if req.Op() == fop.OpOpen {
			return nil, syscall.EMFILE
		}
		return nil, errPass
	})
	b.start()
	c.wait(fop.EventChildUp)
	if _, err := c.Do(bg, &fop.Read{GFID: file.GFID, Fd: file, Size: 1}); err != nil {
		t.Error(err)
	}
	if _, err := c.Do(bg, &fop.Ftruncate{GFID: file.GFID, Fd: file}); fop.Errno(err) != ebadfd {
		t.Error(err)
	}
	b.intercept(nil)
	for range retryOpen {
		if _, err := c.Do(bg, &fop.Ftruncate{GFID: file.GFID, Fd: file}); err == nil {
			return
		}
	}
	t.Error("opening again was not tried again")
}

// TestGivenBack checks that what is granted to somebody who has left is returned.
func TestGivenBack(t *testing.T) {
	b := newBrick(t)
	c := b.connect(t)
	file := c.create("f")
	let := make(chan struct{})
	arrived := make(chan fop.Request, 10)
	b.intercept(func(req fop.Request) (fop.Reply, error) {
		switch r := req.(type) {
		case *fop.Inodelk:
			arrived <- req
			if r.Flock.Type != fop.LockUnlock {
				<-let
			}
			return &fop.CommonReply{}, nil
		case *fop.Open:
			arrived <- req
			<-let
		case *fop.Release:
			arrived <- req
		}
		return nil, errPass
	})
	for _, req := range []fop.Request{
		&fop.Inodelk{GFID: file.GFID, Cmd: fop.LkSetWait, Type: fop.LockWrite, Flock: fop.Flock{Type: fop.LockWrite, Start: 3, Len: 4}, Domain: "d"},
		&fop.Open{GFID: file.GFID, Fd: &fop.Fd{GFID: file.GFID}},
	} {
		ctx, cancel := context.WithCancel(bg)
		go func() { <-arrived; cancel() }()
		if _, err := c.Do(ctx, req); fop.Errno(err) != syscall.ECANCELED {
			t.Errorf("%v: %v", req.Op(), err)
		}
		let <- struct{}{}
		switch r := (<-arrived).(type) {
		case *fop.Inodelk:
			if r.Flock != (fop.Flock{Type: fop.LockUnlock, Start: 3, Len: 4}) || r.Domain != "d" {
				t.Errorf("undone by %+v", r)
			}
		case *fop.Release:
		default:
			t.Errorf("undone by %v", r.Op())
		}
	}
}

// TestCallbacks checks what the parents hear of a brick's notices.
func TestCallbacks(t *testing.T) {
	b := newBrick(t)
	c := b.connect(t)
	conn := b.server.Conns()[0]
	want := &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: fop.NewGFID(), Flags: fop.InvalSize, XData: fop.NewDict(fop.Pair{Key: "k", Val: fop.Str("v")})}
	body, proc, _ := proto.AppendUpcall(nil, want)
	conn.Callback(proto.ProgCallback, 1, proc, rpc.Raw(body))
	conn.Callback(proto.ProgCallback, 1, proc, rpc.Raw("no callback"))
	conn.Callback(proto.ProgCallback, 1, 99, nil)
	ev := c.wait(fop.EventUpcall)
	if u := ev.Upcall; u.GFID != want.GFID || u.Flags != want.Flags || u.XData.Text("k") != "v" || ev.From != "vol-client-0" {
		t.Errorf("%+v", u)
	}
	conn.Callback(proto.ProgCallback, 1, proto.CallbackFetchSpec, nil)
	c.wait(fop.EventVolfileModified)
}

// TestReadInto checks where the bytes of a read arrive.
func TestReadInto(t *testing.T) {
	for _, version := range []string{"off", "on"} {
		b := newBrick(t)
		c := b.connect(t, "testing.old-protocol", version)
		file := c.create("f")
		data := bytes.Repeat([]byte("0123456789"), 20000)
		if _, err := c.Do(bg, &fop.Write{GFID: file.GFID, Fd: file, Data: data}); err != nil {
			t.Fatal(err)
		}
		into := make([]byte, len(data)+100)
		read, err := fop.Call(bg, c.Client, &fop.Read{GFID: file.GFID, Fd: file, Size: uint32(len(into)), Into: into})
		if err != nil || !bytes.Equal(read.Data, data) || &read.Data[0] != &into[0] || !read.EOF {
			t.Errorf("%d bytes, %v", len(read.Data), err)
		}
		read, err = fop.Call(bg, c.Client, &fop.Read{GFID: file.GFID, Fd: file, Offset: uint64(len(data)), Size: 10, Into: into[:10]})
		if err != nil || len(read.Data) != 0 || !read.EOF {
			t.Errorf("at the end: %q, %v", read.Data, err)
		}
		// A brick that sends too much does not overrun anything.
		b.intercept(func(req fop.Request) (fop.Reply, error) {
			if req.Op() == fop.OpRead {
				return &fop.ReadReply{Data: data}, nil
			}
			return nil, errPass
		})
		if _, err = fop.Call(bg, c.Client, &fop.Read{GFID: file.GFID, Size: 10, Into: into[:10]}); fop.Errno(err) != syscall.EPROTO {
			t.Errorf("too much: %v", err)
		}
		c.stop()
	}
}

func TestFilterDirect(t *testing.T) {
	b := newBrick(t)
	c := b.connect(t, "filter-O_DIRECT", "on")
	file := c.create("f")
	seen := make(chan uint32, 10)
	b.intercept(func(req fop.Request) (fop.Reply, error) {
		switch r := req.(type) {
		case *fop.Open:
			seen <- r.Flags
		case *fop.Write:
			seen <- r.Flags
		}
		return nil, errPass
	})
	fd := &fop.Fd{GFID: file.GFID, Flags: fop.ODirect | fop.OWronly}
	open := &fop.Open{GFID: file.GFID, Fd: fd, Flags: fd.Flags}
	c.Do(bg, open)
	c.Do(bg, &fop.Write{GFID: file.GFID, Fd: fd, Flags: fd.Flags, Data: []byte("x")})
	if o, w := <-seen, <-seen; o != fop.OWronly || w != fop.OWronly {
		t.Errorf("flags %o and %o", o, w)
	}
	if open.Flags != fd.Flags {
		t.Error("the caller's request was changed")
	}
	if err := c.Reconfigure(xlator.Options{"remote-host": "brickhost", "remote-subvolume": "/brick", "send-gids": "off"}); err != nil {
		t.Error(err)
	}
	if err := c.Reconfigure(xlator.Options{"remote-host": "elsewhere", "remote-subvolume": "/brick"}); err == nil {
		t.Error("moved to another host while running")
	}
}

// TestLocal covers a brick in the same process.
func TestLocal(t *testing.T) {
	b := newBrick(t)
	l := &localBrick{Handler: b.disk, closed: make(chan struct{})}
	c := startClient(t, &xlator.Env{Local: func(host, path string) (fop.Handler, bool) {
		return l, host == "brickhost" && path == "/brick" && !l.away
	}}, "remote-host", "brickhost", "remote-subvolume", "/brick")
	c.wait(fop.EventChildUp)
	if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); err != nil {
		t.Error(err)
	}
	l.upcall(&fop.Upcall{Kind: fop.UpcallInvalidate})
	c.wait(fop.EventUpcall)
	req := &fop.Inodelk{GFID: fop.RootGFID, Cmd: fop.LkSet}
	req.Cred.PID = 3
	c.Do(bg, req)
	if l.owner != "\x03\x00\x00\x00" || req.Cred.Owner != "" {
		t.Errorf("lock owner %q", l.owner)
	}
	if _, err := c.Start(bg, &fop.Stat{GFID: fop.RootGFID}).Wait(); err != nil {
		t.Error(err)
	}
	l.err = syscall.ENOTCONN
	if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); fop.Errno(err) != syscall.ENOTCONN {
		t.Error(err)
	}
	c.wait(fop.EventChildDown)
	<-l.closed
}

type localBrick struct {
	fop.Handler
	err    error
	away   bool
	owner  string
	upcall func(*fop.Upcall)
	closed chan struct{}
}

func (l *localBrick) OnUpcall(f func(*fop.Upcall)) { l.upcall = f }

func (l *localBrick) Close() error {
	l.away = true
	close(l.closed)
	return nil
}

func (l *localBrick) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if l.err != nil {
		return nil, l.err
	}
	if r, ok := req.(*fop.Inodelk); ok {
		l.owner = r.Cred.Owner
		return &fop.CommonReply{}, nil
	}
	return l.Handler.Do(ctx, req)
}

func TestLockTable(t *testing.T) {
	var table lockTable
	set := func(owner string, typ uint32, start, length uint64) {
		r := &fop.Lk{Flock: fop.Flock{Type: typ, Start: start, Len: length, Owner: owner}}
		r.Cred.Owner = owner
		table = table.set(heldBy(r))
	}
	set("a", fop.LockWrite, 0, 0)
	set("b", fop.LockRead, 5, 5)
	set("a", fop.LockUnlock, 10, 10)
	set("a", fop.LockRead, 30, 0)
	type lock struct {
		owner       string
		typ         uint32
		start, size uint64
	}
	var got []lock
	for i := range table {
		r := table[i].request(fop.RootGFID)
		got = append(got, lock{r.Cred.Owner, r.Type, r.Flock.Start, r.Flock.Len})
	}
	want := []lock{{"b", 0, 5, 5}, {"a", 1, 0, 10}, {"a", 1, 20, 10}, {"a", 0, 30, 0}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || g == w
		}
		if !found {
			t.Errorf("no %+v in %+v", w, got)
		}
	}
	table = table.drop(&fop.Cred{Owner: "a"})
	if len(table) != 1 || table[0].owner != "b" {
		t.Errorf("after the flush: %+v", table)
	}
}

// echo serves reads and writes of 4 KiB from memory, so that what is measured is
// the client, package rpc and package proto.
func echo(b testing.TB) *side {
	br := newBrick(b)
	head, payload := proto.AppendReply(nil, proto.V400, fop.OpRead, &fop.ReadReply{Data: make([]byte, 4096)}, nil)
	written, _ := proto.AppendReply(nil, proto.V400, fop.OpWrite, &fop.WriteReply{Size: 4096}, nil)
	br.kill()
	br.canned = map[uint32]canned{uint32(fop.OpRead): {results(head), payload}, uint32(fop.OpWrite): {results(written), nil}}
	br.start()
	return br.connect(b)
}

var hot = []struct {
	name string
	req  fop.Request
}{
	{"read", &fop.Read{GFID: fop.RootGFID, Size: 4096, Into: make([]byte, 4096)}},
	{"write", &fop.Write{GFID: fop.RootGFID, Data: make([]byte, 4096)}},
}

// TestAllocations holds the budget of the hot path: 10 for the client, server
// included here.
func TestAllocations(t *testing.T) {
	c := echo(t)
	for _, h := range hot {
		n := testing.AllocsPerRun(500, func() {
			if _, err := c.Do(bg, h.req); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v allocations", h.name, n)
		if n > 10 {
			t.Errorf("%s: %v allocations", h.name, n)
		}
	}
}

func Benchmark4K(b *testing.B) {
	c := echo(b)
	for _, h := range hot {
		b.Run(h.name, func(b *testing.B) {
			b.SetBytes(4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Do(bg, h.req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestReleaseOvertakesNothing: the number of an open file is given back only
// when all requests that carry it are on their way.
func TestReleaseOvertakesNothing(t *testing.T) {
	l := &link{}
	f := &openFile{}
	h := newHandle(f, l, 7)
	f.at.Store(h)
	c := &Client{files: map[*openFile]struct{}{f: {}}}
	fd := &fop.Fd{}
	fd.Set(c, f)
	num, got, err := c.number(t.Context(), l, fop.OpWrite, fd)
	if num != 7 || got != h || err != nil {
		t.Fatalf("number: %d, %v, %v", num, got, err)
	}
	c.forget(nil, f) // of another connection: sends nothing
	if n := h.holds.Load(); n != 2 {
		t.Fatalf("%d holds on a number of another connection, want both", n)
	}
	if !h.hold() {
		t.Error("a number that is in use cannot be held")
	}
	for h.holds.Add(-1) > 0 {
	}
	if h.hold() {
		t.Error("a number that was given back can be used again")
	}
	num, got, err = c.number(t.Context(), l, fop.OpWrite, fd)
	if num != -2 || got != nil || err != nil {
		t.Errorf("a write behind the release goes to %d, %v, %v; want it without a number", num, got, err)
	}
}
