package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/locks"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const brickName = "/bricks/one"

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// spy records what reaches the brick, and can answer in its place.
type spy struct {
	fop.Handler
	mu     sync.Mutex
	seen   []fop.Request
	answer func(ctx context.Context, req fop.Request) (fop.Reply, error, bool)
}

func (s *spy) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	s.mu.Lock()
	s.seen = append(s.seen, req)
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if rep, err, ok := answer(ctx, req); ok {
			return rep, err
		}
	}
	return s.Handler.Do(ctx, req)
}

func (s *spy) intercept(answer func(context.Context, fop.Request) (fop.Reply, error, bool)) {
	s.mu.Lock()
	s.answer = answer
	s.mu.Unlock()
}

func (s *spy) ops() (ops []fop.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen {
		ops = append(ops, r.Op())
	}
	return ops
}

func (s *spy) last() fop.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[len(s.seen)-1]
}

func (s *spy) forget() {
	s.mu.Lock()
	s.seen = nil
	s.mu.Unlock()
}

// fixture is a server on a loopback socket over a file system in memory.
type fixture struct {
	*Server
	t    testing.TB
	disk *spy
	addr string
}

func newFixture(t testing.TB, opt xlator.Options) *fixture {
	t.Helper()
	return newFixtureOver(t, opt, mem.NewFS(nil))
}

func newFixtureOver(t testing.TB, opt xlator.Options, disk fop.Handler) *fixture {
	t.Helper()
	return newFixtureWith(t, opt, disk, func(h fop.Handler) fop.Handler { return h })
}

// newFixtureWith has wrap put something between the server and the locks.
func newFixtureWith(t testing.TB, opt xlator.Options, disk fop.Handler, wrap func(fop.Handler) fop.Handler) *fixture {
	t.Helper()
	f := &fixture{t: t, disk: &spy{Handler: disk}}
	all := xlator.Options{"auth.addr." + brickName + ".allow": "*", "volume-id." + brickName: "8ce336f6-94d2-4181-a3bb-d33f3e12a289"}
	for k, v := range opt {
		all[k] = v
	}
	lk, err := locks.New(xlator.Config{Name: "locks", Children: []xlator.Child{{Name: "disk", Handler: f.disk}}, Log: quiet, Notify: func(fop.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(xlator.Config{
		Name: "server", Options: all, Log: quiet, Notify: func(fop.Event) {},
		Children: []xlator.Child{{Name: brickName, Handler: wrap(lk)}},
		Env:      &xlator.Env{ProcessUUID: "server-uuid"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = h.(*Server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- f.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		f.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if c, ok := lk.(xlator.Closer); ok {
			c.Close()
		}
	})
	return f
}

// wire is a client that speaks the messages themselves.
type wire struct {
	*rpc.Client
	t      testing.TB
	cred   rpc.Cred
	upcall chan *rpc.Callback
}

func (f *fixture) dial() *wire {
	f.t.Helper()
	w := &wire{t: f.t, cred: rpc.Cred{Flavor: rpc.AuthGlusterV3, LockOwner: []byte("owner001")}, upcall: make(chan *rpc.Callback, 16)}
	opts := rpc.DialOptions{Address: f.addr}
	opts.Log = quiet
	opts.OnCallback = func(cb *rpc.Callback) {
		c := *cb
		c.Body = append([]byte(nil), cb.Body...)
		w.upcall <- &c
	}
	c, err := rpc.Dial(context.Background(), opts)
	if err != nil {
		f.t.Fatal(err)
	}
	w.Client = c
	f.t.Cleanup(func() { c.Close() })
	return w
}

// hello returns a SETVOLUME dictionary that is accepted.
func hello(uuid string, pairs ...string) *fop.Dict {
	d := fop.NewDict()
	d.Set("remote-subvolume", fop.Str(brickName))
	d.Set("process-uuid", fop.Str(uuid))
	d.Set("fops-version", fop.Str("1298437"))
	d.Set("opversion", fop.Str("100000"))
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			d.Delete(pairs[i])
		} else {
			d.Set(pairs[i], fop.Str(pairs[i+1]))
		}
	}
	return d
}

func (w *wire) setvolume(d *fop.Dict) proto.SetvolumeReply {
	w.t.Helper()
	cred := rpc.Cred{Flavor: rpc.AuthGlusterV2}
	rep, err := w.Call(context.Background(), &rpc.Request{Prog: proto.ProgHandshake, Vers: proto.VersHandshake,
		Proc: proto.HandshakeSetvolume, Cred: &cred, Args: &proto.SetvolumeRequest{Dict: d}})
	if err != nil {
		w.t.Fatal(err)
	}
	var r proto.SetvolumeReply
	if err := r.Decode(rep.Body); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// client dials and introduces itself.
func (f *fixture) client(uuid string, pairs ...string) *wire {
	f.t.Helper()
	w := f.dial()
	if r := w.setvolume(hello(uuid, pairs...)); r.Ret != 0 {
		f.t.Fatalf("SETVOLUME: %d %s", r.Errno, r.Dict.Text("ERROR"))
	}
	return w
}

// raw sends a fop's message and returns the bare results.
func (w *wire) raw(v proto.Version, op fop.Op, body []byte) ([]byte, error) {
	rep, err := w.Call(context.Background(), &rpc.Request{Prog: proto.ProgFop, Vers: uint32(v), Proc: uint32(op), Cred: &w.cred, Args: rpc.Raw(body)})
	return rep.Body, err
}

func (w *wire) fop(req fop.Request, fds ...int64) (fop.Reply, error) {
	return w.fopV(proto.V400, req, fds...)
}

func (w *wire) fopV(v proto.Version, req fop.Request, fds ...int64) (fop.Reply, error) {
	w.t.Helper()
	var refs proto.FdRefs
	if len(fds) > 0 {
		refs.A = fds[0]
	}
	if len(fds) > 1 {
		refs.B = fds[1]
	}
	head, payload, err := proto.AppendRequest(nil, v, req, refs)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := w.raw(v, req.Op(), append(head, payload...))
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	rep, opErr, err := proto.DecodeReply(v, req.Op(), body)
	if err != nil {
		w.t.Fatalf("%v: %v", req.Op(), err)
	}
	return rep, opErr
}

// create makes a file and returns its GFID and number.
func (w *wire) create(name string) (fop.GFID, int64) {
	w.t.Helper()
	g := fop.NewGFID()
	x := fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})
	rep, err := w.fop(&fop.Create{Header: fop.Header{XData: x}, Parent: fop.RootGFID, Flags: fop.ORdwr | fop.OCreate, Mode: 0o644, Name: name})
	if err != nil {
		w.t.Fatalf("create %s: %v", name, err)
	}
	return g, int64(rep.(*fop.CreateReply).RemoteFd)
}
