package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/xdr"
)

// pair returns a client and the other end of its connection, over real TCP.
func pair(t testing.TB, opts ClientOptions) (*Client, rawPeer) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	far.SetDeadline(time.Now().Add(20 * time.Second))
	opts.Log = quiet
	c := NewClient(near, opts)
	t.Cleanup(func() {
		c.Close()
		far.Close()
	})
	return c, rawPeer{t, far}
}

func success(xid uint32, results []byte) []byte {
	return mark(append(appendAccepted(nil, xid, 0, Success), results...))
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestManyCallersOneConnection(t *testing.T) {
	ts := newTestServer(t, nil)
	c := ts.dial(t, DialOptions{})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(g)))
			for i := range 150 {
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if g%2 == 0 {
					ctx, cancel = context.WithCancel(ctx)
				}
				if rnd.IntN(3) == 0 {
					n := rnd.IntN(60_000)
					reply, err := c.Call(ctx, readRequest(n, rnd.IntN(100)*4, make([]byte, 60_000)))
					if err != nil || !bytes.Equal(reply.Payload, testPattern[:n]) {
						t.Errorf("read of %d: %d bytes, %v", n, len(reply.Payload), err)
					}
					reply.Release()
				} else {
					text := fmt.Appendf(nil, "%d/%d %s", g, i, make([]byte, rnd.IntN(9000)))
					reply, err := c.Call(ctx, request(procEcho, text))
					if err != nil || !bytes.Equal(reply.Body, text) {
						t.Errorf("echo of %d bytes: %d bytes, %v", len(text), len(reply.Body), err)
					}
					reply.Release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Outstanding != 0 || s.Calls != 16*150 || s.Replies != s.Calls || s.Strays != 0 || s.BytesSent == 0 || s.BytesReceived == 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestRepliesInAnyOrder(t *testing.T) {
	c, p := pair(t, ClientOptions{})
	const n = 20
	var pending [n]*Pending
	for i := range pending {
		pending[i] = c.Start(request(procNull, nil))
	}
	for range pending {
		p.receive()
	}
	for _, i := range rand.Perm(n) {
		p.send(success(uint32(2+i), fmt.Appendf(nil, "%04d", i)))
	}
	for i, pending := range pending {
		reply, err := pending.Wait(t.Context())
		if err != nil || string(reply.Body) != fmt.Sprintf("%04d", i) {
			t.Errorf("call %d got %q, %v", i, reply.Body, err)
		}
		reply.Release()
	}
}

func TestStartOnSeveralConnectionsFromOneGoroutine(t *testing.T) {
	var clients []*Client
	for range 3 {
		clients = append(clients, newTestServer(t, nil).dial(t, DialOptions{}))
	}
	for i := range 50 {
		var pending []*Pending
		for j, c := range clients {
			pending = append(pending, c.Start(request(procEcho, fmt.Appendf(nil, "%02d-%d", i, j))))
		}
		for j, p := range pending {
			reply, err := p.Wait(t.Context())
			if err != nil || string(reply.Body) != fmt.Sprintf("%02d-%d", i, j) {
				t.Fatalf("got %q, %v", reply.Body, err)
			}
			reply.Release()
		}
	}
}

// A cancelled call returns at once, whether its goroutine reads the
// connection (the first) or waits for the one that does (the second), and the
// connection goes on.
func TestCancel(t *testing.T) {
	c, p := pair(t, ClientOptions{})
	var wg sync.WaitGroup
	cause := errors.New("changed my mind")
	for _, followers := range []int{0, 3} {
		ctx, cancel := context.WithCancelCause(t.Context())
		for range followers + 1 {
			wg.Go(func() {
				if _, err := c.Call(ctx, request(procNull, nil)); !errors.Is(err, cause) {
					t.Errorf("cancelled call returned %v", err)
				}
			})
		}
		var xids []uint32
		for range followers + 1 {
			xids = append(xids, be32(p.receive()))
		}
		cancel(cause)
		wg.Wait()
		for _, xid := range xids {
			p.send(success(xid, []byte("late")))
		}
		live := c.Start(request(procNull, nil))
		p.send(success(be32(p.receive()), []byte("fine")))
		if reply, err := live.Wait(t.Context()); err != nil || string(reply.Body) != "fine" {
			t.Errorf("call after a cancelled one: %q, %v", reply.Body, err)
		}
	}
	if s := c.Stats(); s.Strays != 5 || s.Outstanding != 0 {
		t.Errorf("stats: %+v", s)
	}
	expired, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Call(expired, request(procNull, nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("call with a deadline returned %v", err)
	}
}

// When the leader is cancelled, a follower must take over reading.
func TestCancelledLeaderHandsOn(t *testing.T) {
	c, p := pair(t, ClientOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	eventually(t, "idle reader leads", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.leader == &c.idle })
	// The first call ends the idle reader's turn.
	first := c.Start(request(procNull, nil))
	p.send(success(be32(p.receive()), nil))
	first.Wait(t.Context())

	led := make(chan error, 1)
	go func() { _, err := c.Call(ctx, request(procNull, nil)); led <- err }()
	p.receive()
	eventually(t, "somebody leads", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.leader != nil })
	followed := make(chan error, 1)
	go func() { _, err := c.Call(t.Context(), request(procNull, nil)); followed <- err }()
	xid := be32(p.receive())
	cancel()
	if err := <-led; !errors.Is(err, context.Canceled) {
		t.Errorf("leader got %v", err)
	}
	p.send(success(xid, nil))
	if err := <-followed; err != nil {
		t.Errorf("follower got %v", err)
	}
}

// After Call has returned, nothing may be written to Into any more, even when
// it was cancelled in the middle of the payload.
func TestCancelWhilePayloadComesIn(t *testing.T) {
	for _, role := range []string{"leader", "follower"} {
		t.Run(role, func(t *testing.T) {
			c, p := pair(t, ClientOptions{})
			var other *Pending
			otherDone := make(chan error, 1)
			if role == "follower" {
				other = c.Start(request(procNull, nil))
				p.receive()
				go func() { _, err := other.Wait(context.Background()); otherDone <- err }()
				eventually(t, "other call leads", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.leader != nil })
			}
			ctx, cancel := context.WithCancel(t.Context())
			into := make([]byte, 1<<20)
			done := make(chan error, 1)
			go func() { _, err := c.Call(ctx, readRequest(len(into), 0, into)); done <- err }()
			xid := be32(p.receive())
			record := success(xid, append(readHeader(0), bytes.Repeat([]byte{0xAA}, len(into))...))
			p.send(record[:len(record)/2])
			eventually(t, "half of the payload is there", func() bool { return c.recv.Load() >= uint64(len(record)/2) })
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			clear(into) // the race detector watches, too
			p.send(record[len(record)/2:])
			if other != nil {
				p.send(success(2, nil))
				if err := <-otherDone; err != nil {
					t.Errorf("other call: %v", err)
				}
			}
			next := c.Start(request(procNull, nil))
			p.send(success(be32(p.receive()), []byte("next")))
			if reply, err := next.Wait(t.Context()); err != nil || string(reply.Body) != "next" {
				t.Errorf("next call: %q, %v", reply.Body, err)
			}
			for i, b := range into {
				if b != 0 {
					t.Fatalf("byte %d was written after Call had returned", i)
				}
			}
		})
	}
}

// A call whose payload is still being sent when it is cancelled gives the
// memory back at once; the server still gets the whole message as it was.
func TestCancelWhilePayloadGoesOut(t *testing.T) {
	c, p := pair(t, ClientOptions{})
	testCancelOut(t, c, p)
}

func testCancelOut(t *testing.T, c *Client, p rawPeer) {
	ctx, cancel := context.WithCancel(t.Context())
	payload := bytes.Repeat([]byte{0xBB}, 32<<20)
	req := request(procCount, nil)
	req.Payload = payload
	pending := c.Start(req)
	queued := request(procCount, nil)
	queued.Payload = payload[:1000]
	second := c.Start(queued)
	eventually(t, "the message is on its way", func() bool { return c.wr.sent.Load() > 0 })
	cancel()
	for _, p := range []*Pending{pending, second} {
		if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	clear(payload)
	third := c.Start(request(procNull, nil))
	got := p.receive()
	if n := bytes.Count(got, []byte{0xBB}); be32(got) != 2 || n < len(payload) {
		t.Errorf("server got %d bytes of payload as they were, of %d", n, len(payload))
	}
	if got = p.receive(); be32(got) == 3 { // the second may have been withdrawn
		got = p.receive()
	}
	p.send(success(be32(got), nil))
	if _, err := third.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDisconnectFailsAllCalls(t *testing.T) {
	gone := make(chan error, 1)
	c, p := pair(t, ClientOptions{OnDisconnect: func(err error) { gone <- err }})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			_, err := c.Call(context.Background(), request(procNull, nil))
			var ce *ConnError
			if !errors.Is(err, syscall.ENOTCONN) || !errors.As(err, &ce) || ce.Addr != c.Addr() {
				t.Errorf("got %v", err)
			}
		})
	}
	for range 5 {
		p.receive()
	}
	p.Close()
	wg.Wait()
	if err := <-gone; !errors.Is(err, syscall.ENOTCONN) || !errors.Is(err, io.EOF) {
		t.Errorf("OnDisconnect got %v", err)
	}
	<-c.Done()
	if _, err := c.Call(context.Background(), request(procNull, nil)); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("call on a dead connection: %v", err)
	}
	if c.Err() == nil {
		t.Error("Err is nil")
	}
}

func TestIdleDisconnectIsNoticed(t *testing.T) {
	c, p := pair(t, ClientOptions{})
	for range 3 {
		pending := c.Start(request(procNull, nil))
		p.send(success(be32(p.receive()), nil))
		if _, err := pending.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("not noticed")
	}
}

func TestMalformedReplyEndsConnection(t *testing.T) {
	for _, in := range [][]byte{mark([]byte("\x00\x00\x00\x02\x00\x00\x00\x02")), mark(nil), {0xff, 0xff, 0xff, 0xff}} {
		c, p := pair(t, ClientOptions{})
		pending := c.Start(request(procNull, nil))
		p.receive()
		p.send(in)
		if _, err := pending.Wait(t.Context()); !errors.Is(err, syscall.ENOTCONN) || !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: got %v", in, err)
		}
	}
	c, p := pair(t, ClientOptions{})
	pending := c.Start(request(procNull, nil))
	p.receive()
	p.send(mark(unhex(t, "00000002 00000001 00000009")))
	if _, err := pending.Wait(t.Context()); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestFragmentedReplies(t *testing.T) {
	c, p := pair(t, ClientOptions{})
	for _, cuts := range [][]int{{0, 4, 24, 30, 136, 136}, {0, 136, 136}, {0, 0, 136}, {0, 1, 2, 135, 136}} {
		into := make([]byte, 200)
		pending := c.Start(readRequest(100, 0, into))
		msg := append(appendAccepted(nil, be32(p.receive()), 0, Success), readHeader(0)...)
		msg = append(msg, pattern(100)...)
		for i := range len(cuts) - 1 {
			word := uint32(cuts[i+1] - cuts[i])
			if i == len(cuts)-2 {
				word |= lastFragment
			}
			p.send(append(xdr.AppendUint32(nil, word), msg[cuts[i]:cuts[i+1]]...))
		}
		reply, err := pending.Wait(t.Context())
		if err != nil || !bytes.Equal(reply.Payload, pattern(100)) || &reply.Payload[0] != &into[0] || !bytes.Equal(reply.Body, readHeader(0)) {
			t.Errorf("cuts %v: %x, %v", cuts, reply.Payload, err)
		}
		reply.Release()
	}
}

func TestCallbacks(t *testing.T) {
	var got []uint32
	busy := make(chan struct{})
	all := make(chan struct{})
	var c *Client
	ready := make(chan struct{})
	const n = 500
	c, p := pair(t, ClientOptions{OnCallback: func(cb *Callback) {
		<-ready
		if cb.Prog != 52743234 || cb.Vers != 1 || string(cb.Body) != "body" || cb.XID != uint32(len(got)+1) {
			t.Errorf("callback %+v", cb)
		}
		got = append(got, cb.Proc)
		switch len(got) {
		case 1:
			<-busy // must not keep replies from coming in
		case 2: // a handler can make calls itself
			if _, err := c.Call(context.Background(), request(procNull, nil)); err != nil {
				t.Errorf("call of a callback's handler: %v", err)
			}
		case n:
			close(all)
		}
	}})
	close(ready)
	for i := range uint32(n) {
		p.send(mark(append(appendCallHeader(nil, i+1, 52743234, 1, i, nil), "body"...)))
	}
	pending := c.Start(request(procNull, nil))
	p.send(success(be32(p.receive()), nil))
	if _, err := pending.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	close(busy)
	p.send(success(be32(p.receive()), nil))
	<-all
	for i, proc := range got {
		if proc != uint32(i) {
			t.Fatalf("callback %d came as number %d", proc, i)
		}
	}
	if s := c.Stats(); s.Callbacks != n {
		t.Errorf("stats: %+v", s)
	}
}

func TestCallbackFloodEndsConnection(t *testing.T) {
	stuck := make(chan struct{})
	c, p := pair(t, ClientOptions{OnCallback: func(*Callback) { <-stuck }})
	defer close(stuck)
	go func() {
		msg := mark(appendCallHeader(nil, 1, 52743234, 1, 1, nil))
		for range 3 * maxCallbacks {
			if _, err := p.Write(msg); err != nil {
				return
			}
		}
	}()
	<-c.Done()
	if err := c.Err(); !errors.Is(err, ErrCallbacks) {
		t.Errorf("got %v", err)
	}
}

func TestFrameTimeout(t *testing.T) {
	c, p := pair(t, ClientOptions{FrameTimeout: 40 * time.Millisecond})
	lock := request(procWait, nil)
	lock.Timeout = -1
	exempt := c.Start(lock)
	xid := be32(p.receive())
	start := time.Now()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := c.Call(context.Background(), request(procNull, nil))
			if !errors.Is(err, syscall.ENOTCONN) || !errors.Is(err, ErrFrameTimeout) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took < 40*time.Millisecond {
		t.Errorf("timed out after %v", took)
	}
	p.send(success(xid, []byte("lock")))
	if reply, err := exempt.Wait(t.Context()); err != nil || string(reply.Body) != "lock" {
		t.Errorf("exempt call: %q, %v", reply.Body, err)
	}
	if c.Err() != nil {
		t.Errorf("connection ended: %v", c.Err())
	}
}

// A server that stops in the middle of a reply blocks all others.
func TestFrameTimeoutInMidReply(t *testing.T) {
	c, p := pair(t, ClientOptions{FrameTimeout: 40 * time.Millisecond})
	pending := c.Start(request(procNull, nil))
	p.send(success(be32(p.receive()), make([]byte, 100))[:50])
	if _, err := pending.Wait(t.Context()); !errors.Is(err, ErrFrameTimeout) {
		t.Errorf("got %v", err)
	}
	<-c.Done()
}

func TestPing(t *testing.T) {
	var pings atomic.Int32
	opts := ClientOptions{PingTimeout: 80 * time.Millisecond, PingInterval: 20 * time.Millisecond,
		OnCall: func(prog, vers, proc uint32) {
			if prog == DumpProgram && vers == DumpVersion && proc == DumpPing {
				pings.Add(1)
			}
		}}
	c, p := pair(t, opts)
	pending := c.Start(request(procWait, nil))
	xid := be32(p.receive())
	for range 8 { // longer than the timeout
		msg := p.receive()
		if binary.BigEndian.Uint32(msg[12:]) != DumpProgram || be32(msg[20:]) != DumpPing {
			t.Fatalf("not a ping: %x", msg)
		}
		p.send(success(be32(msg), make([]byte, 12)))
	}
	p.send(success(xid, nil))
	if _, err := pending.Wait(t.Context()); err != nil {
		t.Fatalf("call while pings were answered: %v", err)
	}
	if c.Stats().Outstanding != 0 {
		t.Errorf("stats: %+v", c.Stats())
	}
	dead := c.Start(request(procWait, nil))
	start := time.Now()
	if _, err := dead.Wait(t.Context()); !errors.Is(err, ErrPingTimeout) || !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took < 80*time.Millisecond || took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if pings.Load() < 9 {
		t.Errorf("OnCall saw %d pings", pings.Load())
	}
}

func TestIdleConnectionSendsNoPings(t *testing.T) {
	c, p := pair(t, ClientOptions{PingTimeout: 20 * time.Millisecond})
	pending := c.Start(request(procNull, nil))
	p.send(success(be32(p.receive()), nil))
	if _, err := pending.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := p.Read(make([]byte, 100)); !errors.Is(err, syscall.EAGAIN) && n != 0 {
		// One ping may have been on its way.
		if n > 76 {
			t.Errorf("idle connection sent %d bytes, %v", n, err)
		}
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

func TestXIDsCountOn(t *testing.T) {
	c, p := pair(t, ClientOptions{FirstXID: 77})
	for want := uint32(77); want < 80; want++ {
		pending := c.Start(request(procNull, nil))
		xid := be32(p.receive())
		if xid != want {
			t.Errorf("xid %d, want %d", xid, want)
		}
		p.send(success(xid, nil))
		pending.Wait(t.Context())
	}
	if c.NextXID() != 80 {
		t.Errorf("next xid %d", c.NextXID())
	}
}

func TestRefusedRequests(t *testing.T) {
	c, _ := pair(t, ClientOptions{})
	req := request(procNull, nil)
	req.Cred = &Cred{Flavor: AuthGlusterV3, LockOwner: make([]byte, 1024)}
	if _, err := c.Call(t.Context(), req); !errors.Is(err, ErrCred) || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("lock owner too long: %v", err)
	}
	huge := make([]byte, 1<<25)
	req = request(procNull, nil)
	for range 32 {
		req.Payloads = append(req.Payloads, huge)
	}
	if _, err := c.Call(t.Context(), req); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("message of 1 GiB: %v", err)
	}
	if s := c.Stats(); s.Calls != 0 || s.BytesSent != 0 {
		t.Errorf("something was sent: %+v", s)
	}
}

func TestStartDoesNotBlock(t *testing.T) {
	c, p := pair(t, ClientOptions{})
	payload := make([]byte, 4<<20)
	var pending []*Pending
	for range 20 { // much more than the socket takes
		req := request(procCount, nil)
		req.Payload = payload
		pending = append(pending, c.Start(req))
	}
	for _, pending := range pending {
		xid := be32(p.receive())
		p.send(success(xid, nil))
		if _, err := pending.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteTimeout(t *testing.T) {
	c, _ := pair(t, ClientOptions{WriteTimeout: 50 * time.Millisecond})
	req := request(procCount, nil)
	req.Payload = make([]byte, 32<<20)
	if _, err := c.Call(t.Context(), req); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("got %v", err)
	}
}

// Random cancellation against a real server, many at once.
func TestCancelStorm(t *testing.T) {
	ts := newTestServer(t, nil)
	c := ts.dial(t, DialOptions{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(2, uint64(g)))
			into := make([]byte, 200_000)
			payload := make([]byte, 200_000)
			for range 150 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(1000))*time.Microsecond)
				n := rnd.IntN(len(into))
				var err error
				var reply Reply
				if rnd.IntN(2) == 0 {
					reply, err = c.Call(ctx, readRequest(n, 0, into))
					if err == nil && !bytes.Equal(reply.Payload, testPattern[:n]) {
						t.Error("wrong payload")
					}
					clear(into)
				} else {
					req := request(procEcho, nil)
					for i := range payload[:n] {
						payload[i] = byte(g)
					}
					req.Payload = payload[:n]
					reply, err = c.Call(ctx, req)
					clear(payload)
					if err == nil && bytes.Count(reply.Body, []byte{byte(g)}) != n {
						t.Error("wrong echo")
					}
				}
				reply.Release()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	mustEcho(t, c, "still there")
	if s := c.Stats(); s.Outstanding != 0 {
		t.Errorf("stats: %+v", s)
	}
}
