package client

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brick is a host with a management daemon and a brick, scripted: real servers
// on real sockets, over a file system in memory.
type brick struct {
	t    testing.TB
	disk fop.Handler
	mgmt net.Listener
	from func(network, addr string) (net.Listener, error) // net.Listen, or in another network

	mu        sync.Mutex
	port      net.Listener // of the brick, nil while it does not run
	server    *rpc.Server
	fds       map[int64]*fop.Fd
	next      int64
	calls     []string    // fops and SETVOLUMEs, in order
	hellos    []*fop.Dict // of SETVOLUME
	creds     map[string]rpc.Cred
	locks     map[string]string // owner → lock, dropped with the brick
	setvolume func(*fop.Dict) proto.SetvolumeReply
	before    func(fop.Request) (fop.Reply, error) // errPass: the disk does it
	only330   bool
	canned    map[uint32]canned
}

// canned is an answer made beforehand.
type canned struct {
	head    rpc.Appender
	payload []byte
}

var errPass = syscall.Errno(4711)

const volumeID = "8ce336f6-94d2-4181-a3bb-d33f3e12a289"

func newBrick(t testing.TB) *brick { return newBrickAt(t, net.Listen) }

func newBrickAt(t testing.TB, from func(network, addr string) (net.Listener, error)) *brick {
	b := &brick{t: t, from: from, disk: mem.NewFS(nil), creds: map[string]rpc.Cred{}}
	b.mgmt = b.listen()
	portmap := &rpc.Program{Name: "Gluster Portmap", Number: proto.ProgPortmap, Version: proto.VersPortmap, Procs: []rpc.Proc{
		proto.PortmapPortByBrick: {Handle: b.portByBrick},
	}}
	serve(t, &rpc.Server{Programs: []*rpc.Program{rpc.Dump(), portmap}, Log: quiet}, b.mgmt)
	b.start()
	return b
}

var quiet = slog.New(slog.DiscardHandler)

func (b *brick) listen() net.Listener {
	l, err := b.from("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

func listen(t testing.TB) net.Listener { return (&brick{t: t, from: net.Listen}).listen() }

func serve(t testing.TB, s *rpc.Server, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(context.Background(), l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
}

func (b *brick) portByBrick(_ context.Context, call *rpc.Call) {
	var req proto.PortByBrickRequest
	if req.Decode(call.Args) != nil {
		call.Fail(rpc.GarbageArgs)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.port == nil || req.Brick != "/brick" {
		call.Reply(&proto.PortByBrickReply{Ret: -1})
		return
	}
	call.Reply(&proto.PortByBrickReply{Port: int32(b.port.Addr().(*net.TCPAddr).Port)})
}

// answer decides what SETVOLUME says; nil: success.
func (b *brick) answer(f func(*fop.Dict) proto.SetvolumeReply) {
	b.mu.Lock()
	b.setvolume = f
	b.mu.Unlock()
}

// intercept has f see every fop first.
func (b *brick) intercept(f func(fop.Request) (fop.Reply, error)) {
	b.mu.Lock()
	b.before = f
	b.mu.Unlock()
}

// start starts the brick, on a port of its own each time and without any fds.
func (b *brick) start() {
	l := b.listen()
	procs := make([]rpc.Proc, fop.OpCount)
	for op := range procs {
		procs[op] = rpc.Proc{Handle: b.fop}
	}
	versions := []*rpc.Program{
		{Name: "GlusterFS 4.x v1", Number: proto.ProgFop, Version: uint32(proto.V400), Procs: procs},
		{Name: "GlusterFS 3.3", Number: proto.ProgFop, Version: uint32(proto.V330), Procs: procs},
	}
	if b.only330 {
		versions = versions[1:]
	}
	handshake := &rpc.Program{Name: "GlusterFS Handshake", Number: proto.ProgHandshake, Version: proto.VersHandshake, Procs: []rpc.Proc{
		proto.HandshakeSetvolume: {Handle: b.hello},
	}}
	s := &rpc.Server{Programs: append(versions, rpc.Dump(), handshake), Outstanding: -1, Log: quiet}
	b.mu.Lock()
	b.port, b.server, b.fds, b.next, b.locks = l, s, map[int64]*fop.Fd{}, 0, map[string]string{}
	b.mu.Unlock()
	serve(b.t, s, l)
}

// kill ends the brick and all its connections.
func (b *brick) kill() {
	b.mu.Lock()
	s := b.server
	b.port = nil
	b.mu.Unlock()
	s.Close()
}

func (b *brick) hello(_ context.Context, call *rpc.Call) {
	var req proto.SetvolumeRequest
	if req.Decode(call.Args) != nil {
		call.Fail(rpc.GarbageArgs)
		return
	}
	d := new(fop.Dict)
	for _, p := range req.Dict.Pairs() {
		d.Set(p.Key, fop.Str(p.Val.Text()))
	}
	b.mu.Lock()
	b.hellos = append(b.hellos, d)
	b.calls = append(b.calls, "SETVOLUME")
	b.creds["SETVOLUME"] = *call.Cred.Clone()
	f := b.setvolume
	b.mu.Unlock()
	reply := proto.SetvolumeReply{Errno: 22, Dict: fop.NewDict(fop.Pair{Key: "volume-id", Val: fop.Str(volumeID)}, fop.Pair{Key: "child_up", Val: fop.Str("1")})}
	if f != nil {
		reply = f(d)
	}
	call.Reply(&reply)
}

type results []byte

func (r results) AppendXDR(b []byte) []byte { return append(b, r...) }

func (b *brick) fop(_ context.Context, call *rpc.Call) {
	if c, ok := b.canned[call.Proc]; ok {
		call.Reply(c.head, c.payload)
		return
	}
	v, op := proto.Version(call.Vers), fop.Op(call.Proc)
	req, refs, err := proto.DecodeRequest(v, call.Proc, call.Args)
	if err != nil {
		b.t.Errorf("brick got %v that it cannot read: %v", op, err)
		call.Fail(rpc.GarbageArgs)
		return
	}
	req.Head().Cred = fop.Cred{UID: call.Cred.UID, GID: call.Cred.GID, PID: call.Cred.PID, Owner: string(call.Cred.LockOwner)}
	b.mu.Lock()
	b.calls = append(b.calls, op.String())
	b.creds[op.String()] = *call.Cred.Clone()
	before := b.before
	resolve := func(n int64) *fop.Fd {
		fd := b.fds[n]
		if fd == nil && n != proto.FdAnonymous {
			err = syscall.EBADF
		}
		return fd
	}
	var a, z *fop.Fd
	if refs.N > 0 {
		a = resolve(refs.A)
	}
	if refs.N > 1 {
		z = resolve(refs.B)
	}
	proto.SetFds(req, a, z)
	b.mu.Unlock()
	var reply fop.Reply
	if err == nil {
		reply, err = nil, errPass
		if before != nil {
			reply, err = before(req)
		}
		if err == errPass {
			reply, err = b.do(req, refs)
		}
	}
	head, payload := proto.AppendReply(nil, v, op, reply, err)
	call.Reply(results(head), payload)
}

// do is what the server translator of a brick does: it keeps the table of open
// files, and here also the posix locks, which mem need not have.
func (b *brick) do(req fop.Request, refs proto.FdRefs) (fop.Reply, error) {
	ctx := context.Background()
	add := func(fd *fop.Fd) int64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.next++
		b.fds[b.next-1] = fd
		return b.next - 1
	}
	switch r := req.(type) {
	case *fop.Open:
		r.Fd = &fop.Fd{GFID: r.GFID, Flags: r.Flags}
		reply, err := fop.Call(ctx, b.disk, r)
		if err == nil {
			reply.RemoteFd = add(r.Fd)
		}
		return reply, err
	case *fop.Opendir:
		r.Fd = &fop.Fd{GFID: r.GFID, Dir: true}
		reply, err := fop.Call(ctx, b.disk, r)
		if err == nil {
			reply.RemoteFd = add(r.Fd)
		}
		return reply, err
	case *fop.Create:
		r.Fd = &fop.Fd{Flags: r.Flags}
		reply, err := fop.Call(ctx, b.disk, r)
		if err == nil {
			r.Fd.GFID = reply.Stat.GFID
			reply.RemoteFd = uint64(add(r.Fd))
		}
		return reply, err
	case *fop.Release, *fop.Releasedir:
		b.mu.Lock()
		delete(b.fds, refs.A)
		b.mu.Unlock()
	case *fop.Lk:
		b.mu.Lock()
		defer b.mu.Unlock()
		key := fmt.Sprintf("%v %d+%d", r.GFID, r.Flock.Start, r.Flock.Len)
		switch holder := b.locks[key]; {
		case r.Cmd == fop.LkGet:
		case r.Flock.Type == fop.LockUnlock:
			delete(b.locks, key)
		case holder != "" && holder != r.Cred.Owner:
			return nil, syscall.EAGAIN
		default:
			b.locks[key] = r.Cred.Owner
		}
		return &fop.LkReply{Flock: r.Flock}, nil
	}
	return b.disk.Do(ctx, req)
}

// cred returns the credential with which a fop came last.
func (b *brick) cred(op string) rpc.Cred {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.creds[op]
}

// seen returns and forgets what was called.
func (b *brick) seen() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.calls, " ")
	b.calls = nil
	return s
}

// side is a client under test and what it tells its parents.
type side struct {
	*Client
	t      testing.TB
	events chan fop.Event
	stop   func()
}

// connect starts a client of the brick.
func (b *brick) connect(t testing.TB, options ...string) *side {
	s := b.client(t, options...)
	s.wait(fop.EventChildUp)
	return s
}

func (b *brick) client(t testing.TB, options ...string) *side {
	mgmt := b.mgmt.Addr().String()
	return startClient(t, &xlator.Env{
		ProcessUUID: "c0ffee00-0000-4000-8000-000000000001", ProcessName: "test", Hostname: "here", VolfileID: "/vol",
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(addr)
			if host != "brickhost" {
				return nil, fmt.Errorf("unexpected host %q", host)
			}
			addr = mgmt
			if port != "24007" {
				addr = "127.0.0.1:" + port
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}, append([]string{"remote-host", "brickhost", "remote-subvolume", "/brick"}, options...)...)
}

func startClient(t testing.TB, env *xlator.Env, options ...string) *side {
	s := &side{t: t, events: make(chan fop.Event, 1000)}
	o := xlator.Options{}
	for i := 0; i < len(options); i += 2 {
		o[options[i]] = options[i+1]
		if opt, ok := xlator.Find(Type.Options, options[i]); !ok {
			t.Fatalf("option %s is not declared", options[i])
		} else if err := opt.Check(options[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	h, err := New(xlator.Config{Name: "vol-client-0", Options: o, Env: env, Log: quiet, Notify: func(ev fop.Event) { s.events <- ev }})
	if err != nil {
		t.Fatal(err)
	}
	s.Client = h.(*Client)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		s.Close()
	})
	t.Cleanup(s.stop)
	return s
}

// wait returns the next event of a kind.
func (s *side) wait(kind fop.EventKind) fop.Event {
	s.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case ev := <-s.events:
			if ev.Kind == kind {
				return ev
			}
		case <-limit:
			s.t.Fatalf("no event %d came; last error: %v", kind, *s.why.Load())
		}
	}
}

// create makes an open file.
func (s *side) create(name string) *fop.Fd {
	s.t.Helper()
	fd := &fop.Fd{Flags: fop.ORdwr | fop.OCreate | fop.OTrunc | fop.OAppend}
	req := &fop.Create{Parent: fop.RootGFID, Name: name, Mode: 0o644, Flags: fd.Flags, Fd: fd}
	req.XData = fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())})
	reply, err := fop.Call(context.Background(), s.Client, req)
	if err != nil {
		s.t.Fatal(err)
	}
	fd.GFID = reply.Stat.GFID
	return fd
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
