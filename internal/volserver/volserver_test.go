package volserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a volfile server whose answers the test decides.
type daemon struct {
	*rpc.Server
	server Server
	ln     net.Listener

	mu    sync.Mutex
	specs map[string]string
	list  string
	reqs  []proto.GetspecRequest
	mute  bool
}

func startDaemon(t *testing.T, network, addr string) *daemon {
	t.Helper()
	d := &daemon{specs: map[string]string{}}
	d.Server = &rpc.Server{Log: slog.New(slog.DiscardHandler), Programs: []*rpc.Program{{
		Number: proto.ProgHandshake, Version: proto.VersHandshake,
		Procs: []rpc.Proc{
			proto.HandshakeGetspec:       {Handle: d.getspec},
			proto.HandshakeGetVolumeInfo: {Handle: d.info},
		},
	}}}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	d.ln = ln
	d.server = Server{network, ln.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Serve(context.Background(), ln)
	}()
	t.Cleanup(func() { d.Close(); <-done })
	return d
}

func (d *daemon) set(id, text string) {
	d.mu.Lock()
	d.specs[id] = text
	d.mu.Unlock()
}

func (d *daemon) requests() []proto.GetspecRequest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]proto.GetspecRequest(nil), d.reqs...)
}

func (d *daemon) getspec(_ context.Context, call *rpc.Call) {
	var req proto.GetspecRequest
	if err := req.Decode(append([]byte(nil), call.Args...)); err != nil {
		call.Fail(rpc.GarbageArgs)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mute {
		call.Drop()
		return
	}
	d.reqs = append(d.reqs, req)
	text, ok := d.specs[req.Key]
	switch {
	case !ok:
		call.Reply(&proto.GetspecReply{Ret: -1, Errno: 2})
	case text == "too new":
		call.Reply(&proto.GetspecReply{Ret: -1, Errno: 95})
	case text == "garbage":
		call.Reply(rpc.Raw("12345"))
	default:
		r := &proto.GetspecReply{Ret: int32(len(text)), Spec: text}
		if d.list != "" {
			r.XData = fop.NewDict(fop.Pair{Key: "cluster.brick-vol-servers", Val: fop.Str(d.list)})
		}
		call.Reply(r)
	}
}

func (d *daemon) info(_ context.Context, call *rpc.Call) {
	var req proto.DictRequest
	if err := req.Decode(append([]byte(nil), call.Args...)); err != nil || req.Dict.Text("volname") != "data" {
		call.Reply(&proto.DictReply{Ret: -1, Errno: 2})
		return
	}
	call.Reply(&proto.DictReply{Errno: 2, Dict: fop.NewDict(fop.Pair{Key: "volume_id", Val: fop.Str("8ce336f6-94d2-4181-a3bb-d33f3e12a289")})})
}

// changed tells all clients that some volfile changed.
func (d *daemon) changed() {
	for _, c := range d.Conns() {
		c.Callback(proto.ProgCallback, proto.VersCallback, proto.CallbackFetchSpec, rpc.Raw(nil))
	}
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	c := New(cfg)
	t.Cleanup(func() { c.Close() })
	return c
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// refusing is an address where nobody listens.
func refusing(t *testing.T) Server {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return Server{"tcp", ln.Addr().String()}
}

// silent is a server that takes connections and says nothing.
func silent(t *testing.T) Server {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return Server{"tcp", ln.Addr().String()}
}

func TestFetch(t *testing.T) {
	d := startDaemon(t, "tcp", "127.0.0.1:0")
	d.set("data", "volume x")
	c := newClient(t, Config{Servers: []Server{d.server}, ID: "data"})
	for range 2 {
		text, err := c.Fetch(t.Context())
		if err != nil || text != "volume x" {
			t.Fatalf("%q, %v", text, err)
		}
	}
	if n := len(d.Conns()); n != 1 {
		t.Errorf("%d connections", n)
	}
	req := d.requests()[0]
	if req.Key != "data" || req.Flags != 1 || req.XData.Text("min-op-version") != "1" || req.XData.Text("max-op-version") != "100000" || req.XData.Has("brick_name") {
		t.Errorf("request %+v", req)
	}
	id, err := c.VolumeID(t.Context(), "data")
	if err != nil || id.String() != "8ce336f6-94d2-4181-a3bb-d33f3e12a289" {
		t.Errorf("volume id %v, %v", id, err)
	}
	if _, err := c.VolumeID(t.Context(), "other"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("volume id of no volume: %v", err)
	}

	path := filepath.Join(t.TempDir(), "s")
	u := startDaemon(t, "unix", path)
	u.set("data.h.b", "brick")
	b := newClient(t, Config{Servers: []Server{{"unix", path}}, ID: "data.h.b", Brick: "/b"})
	if text, err := b.Fetch(t.Context()); err != nil || text != "brick" {
		t.Errorf("over a unix socket: %q, %v", text, err)
	}
	if req := u.requests()[0]; req.Flags != 0 || req.XData.Text("brick_name") != "/b" {
		t.Errorf("request of a brick %+v", req)
	}
}

func TestServersInTurn(t *testing.T) {
	none, mute := refusing(t), silent(t)
	wrong := startDaemon(t, "tcp", "127.0.0.1:0")
	garbage := startDaemon(t, "tcp", "127.0.0.1:0")
	garbage.set("data", "garbage")
	newer := startDaemon(t, "tcp", "127.0.0.1:0")
	newer.set("data", "too new")
	good := startDaemon(t, "tcp", "127.0.0.1:0")
	good.set("data", "volume x")

	all := []Server{none, mute, wrong.server, garbage.server, newer.server}
	c := newClient(t, Config{Servers: append(all, good.server), ID: "data"})
	if text, err := c.Fetch(timeout(t, 3*time.Second)); err != nil || text != "volume x" {
		t.Fatalf("%q, %v", text, err)
	}

	c = newClient(t, Config{Servers: all, ID: "data"})
	_, err := c.Fetch(timeout(t, 2*time.Second))
	var failed *ServersError
	if !errors.As(err, &failed) || len(failed.Failures) != len(all) {
		t.Fatalf("%v", err)
	}
	if fop.Errno(err) != syscall.ENOENT {
		t.Errorf("errno %v: who answered counts before who did not", fop.Errno(err))
	}
	for i, words := range [][]string{
		{"connection refused", "is glusterd running there"},
		{"no answer within"},
		{`no volume "data"`, "gluster volume list"},
		{"answer is not GlusterFS's"},
		{"op-version"},
	} {
		for _, w := range words {
			if s := failed.Failures[i].Err.Error(); !strings.Contains(s, w) {
				t.Errorf("server %d: no %q in %q", i, w, s)
			}
		}
		if !strings.Contains(err.Error(), all[i].String()) {
			t.Errorf("%s is not named in %q", all[i], err)
		}
	}
	if _, err := newClient(t, Config{ID: "data"}).Fetch(t.Context()); !errors.Is(err, syscall.EDESTADDRREQ) {
		t.Errorf("no server: %v", err)
	}
}

func wait(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
}

func TestChanged(t *testing.T) {
	d := startDaemon(t, "tcp", "127.0.0.1:0")
	d.set("data", "1")
	c := newClient(t, Config{Servers: []Server{d.server}, ID: "data"})
	if _, err := c.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Changed():
		t.Error("changed already")
	default:
	}
	d.changed()
	wait(t, "FETCHSPEC", c.Changed())
	// Any number of callbacks is one piece of news.
	for range 100 {
		d.changed()
	}
	wait(t, "FETCHSPEC", c.Changed())
}

// A statedump is asked of all clients, and is for the process that is named.
func TestDump(t *testing.T) {
	d := startDaemon(t, "tcp", "127.0.0.1:0")
	d.set("data", "1")
	dumps := make(chan struct{}, 10)
	c := newClient(t, Config{Servers: []Server{d.server}, ID: "data", OnDump: func() { dumps <- struct{}{} }})
	if _, err := c.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{os.Getpid() + 1, os.Getpid()} {
		for _, conn := range d.Conns() {
			conn.Callback(proto.ProgCallback, proto.VersCallback, proto.CallbackStatedump, rpc.Raw(binary.BigEndian.AppendUint32(nil, uint32(pid))))
		}
	}
	wait(t, "the dump", dumps)
	if len(dumps) > 0 {
		t.Error("it was asked of another process, too")
	}
}

func TestFailover(t *testing.T) {
	a := startDaemon(t, "tcp", "127.0.0.1:0")
	b := startDaemon(t, "tcp", "127.0.0.1:0")
	a.list = b.server.String() + " nonsense 10.0.0.1:1 "
	a.set("data", "from a")
	b.set("data", "from b")
	c := newClient(t, Config{Servers: []Server{a.server}, ID: "data"})
	if text, err := c.Fetch(t.Context()); err != nil || text != "from a" {
		t.Fatalf("%q, %v", text, err)
	}
	// b is known from a's answer; what stands behind nonsense is not read.
	if s := c.Servers(); len(s) != 2 || s[1] != b.server {
		t.Fatalf("servers %v", s)
	}
	a.Close()
	wait(t, "the other server", c.Changed())
	if text, err := c.Fetch(t.Context()); err != nil || text != "from b" {
		t.Errorf("%q, %v", text, err)
	}
	b.changed()
	wait(t, "FETCHSPEC of the other server", c.Changed())
}

func TestReconnect(t *testing.T) {
	a := startDaemon(t, "tcp", "127.0.0.1:0")
	a.set("data", "1")
	c := newClient(t, Config{Servers: []Server{a.server}, ID: "data"})
	if _, err := c.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Close()
	again := startDaemon(t, "tcp", a.server.Addr)
	again.set("data", "2")
	wait(t, "the connection", c.Changed())
	if text, err := c.Fetch(t.Context()); err != nil || text != "2" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestClose(t *testing.T) {
	mute := silent(t)
	c := newClient(t, Config{Servers: []Server{mute}, ID: "data"})
	failed := make(chan error)
	go func() {
		_, err := c.Fetch(timeout(t, 200*time.Millisecond))
		failed <- err
	}()
	if err := <-failed; !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v", err)
	}
	c.Close()
	c.Close()
	if _, err := c.Fetch(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("fetch after close: %v", err)
	}
}

func TestParseServer(t *testing.T) {
	for _, c := range []struct{ in, network, addr string }{
		{"h1", "tcp", "h1:24007"}, {"h1:1", "tcp", "h1:1"}, {"10.7.1.99", "tcp", "10.7.1.99:24007"},
		{"::1", "tcp", "[::1]:24007"}, {"[fe80::1%eth0]:9", "tcp", "[fe80::1%eth0]:9"}, {"[::1]", "tcp", "[::1]:24007"},
		{"tcp:h1:5", "tcp", "h1:5"}, {"unix:/run/s", "unix", "/run/s"}, {"/var/run/glusterd.socket", "unix", "/var/run/glusterd.socket"},
		{" h1 ", "tcp", "h1:24007"},
		{"", "", ""}, {":1", "", ""}, {"h:0", "", ""}, {"h:70000", "", ""}, {"h:x", "", ""}, {"[::1", "", ""}, {"unix:s", "", ""}, {"a b", "", ""},
	} {
		s, err := ParseServer(c.in)
		if c.addr == "" {
			if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), c.in) {
				t.Errorf("%q: %v, %v", c.in, s, err)
			}
			continue
		}
		if err != nil || s != (Server{c.network, c.addr}) {
			t.Errorf("%q: %+v, %v", c.in, s, err)
		}
	}
	if _, err := ParseServers("a", "b:c"); err == nil {
		t.Error("a bad server among good ones")
	}
}

func FuzzParseServer(f *testing.F) {
	f.Add("h1:24007")
	f.Add("[::1]:1")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseServer(text)
		if err != nil {
			return
		}
		if again, err := ParseServer(s.String()); err != nil || again != s {
			t.Errorf("%q is %+v, and that is %+v, %v", text, s, again, err)
		}
	})
}
