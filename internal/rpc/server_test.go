package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestRepliesLater(t *testing.T) {
	ts := newTestServer(t, nil)
	c := ts.dial(t, DialOptions{})
	var pending []*Pending
	for i := range 100 { // more than the limit, which does not hold for them
		pending = append(pending, c.Start(request(procWait, fmt.Appendf(nil, "%04d", i))))
	}
	var calls []*Call
	for range pending {
		calls = append(calls, <-ts.wait)
	}
	mustEcho(t, c, "others go on")
	for _, call := range calls {
		go call.Reply(Raw(call.Args))
	}
	for i, p := range pending {
		reply, err := p.Wait(t.Context())
		if err != nil || string(reply.Body) != fmt.Sprintf("%04d", i) {
			t.Errorf("call %d: %q, %v", i, reply.Body, err)
		}
	}
}

func TestOutstandingLimit(t *testing.T) {
	const limit = 8
	ts := newTestServer(t, func(s *Server) { s.Outstanding = limit })
	c := ts.dial(t, DialOptions{})
	other := ts.dial(t, DialOptions{})
	var pending []*Pending
	for range 3 * limit {
		pending = append(pending, c.Start(request(procHold, nil)))
	}
	for left := len(pending); left > 0; left -= limit {
		var held []*Call
		for range limit {
			held = append(held, <-ts.hold)
		}
		mustEcho(t, other, "other connections go on ")
		if n := len(ts.hold); n > 0 {
			t.Errorf("%d calls beyond the limit", n)
		}
		for _, call := range held {
			call.Reply(nil)
		}
	}
	for _, p := range pending {
		if _, err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	dropped := c.Start(request(procHold, nil))
	(<-ts.hold).Drop()
	mustEcho(t, c, "no answer to a dropped call ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dropped.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("dropped call: %v", err)
	}
}

// A call that blocks its goroutine must not keep the connection from being
// read, although lone calls are executed by the goroutine that reads.
func TestSlowCallDoesNotStopItsConnection(t *testing.T) {
	release := make(chan struct{})
	ts := newTestServer(t, func(s *Server) {
		s.Programs[0].Procs[procNull].Handle = func(_ context.Context, call *Call) {
			<-release
			call.Reply(nil)
		}
	})
	c := ts.dial(t, DialOptions{})
	for range 20 {
		slow := c.Start(request(procNull, nil))
		mustEcho(t, c, "meanwhile   ")
		release <- struct{}{}
		if _, err := slow.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 70 { // until calls are thought to be alone again
			mustEcho(t, c, "alone   ")
		}
	}
}

func TestReplyMemory(t *testing.T) {
	var sent atomic.Int32
	ts := newTestServer(t, func(s *Server) {
		s.Programs[0].Procs[procNull].Handle = func(_ context.Context, call *Call) {
			buf := NewBuffer(1 << 20)
			buf.B = append(buf.B, testPattern[:1<<20]...)
			call.Own(buf)
			call.OnSent(func() { sent.Add(1) })
			kept := call.Buffer()
			call.Reply(nil, buf.B)
			kept.Release()
		}
	})
	c := ts.dial(t, DialOptions{})
	for range 20 {
		reply, err := c.Call(t.Context(), request(procNull, nil))
		if err != nil || string(reply.Body) != string(testPattern[:1<<20]) {
			t.Fatalf("%d bytes, %v", len(reply.Body), err)
		}
		reply.Release()
	}
	eventually(t, "all sent", func() bool { return sent.Load() == 20 })
}

func TestServerCallbacksAndConnState(t *testing.T) {
	connected := make(chan *Conn, 1)
	disconnected := make(chan *Conn, 1)
	ts := newTestServer(t, func(s *Server) {
		s.OnConnect = func(c *Conn) {
			c.SetValue("state")
			connected <- c
		}
		s.OnDisconnect = func(c *Conn) { disconnected <- c }
	})
	type seen struct {
		xid, proc uint32
		body      string
	}
	callbacks := make(chan seen, 10)
	c := ts.dial(t, DialOptions{ClientOptions: ClientOptions{OnCallback: func(cb *Callback) {
		callbacks <- seen{cb.XID, cb.Proc, string(cb.Body)}
	}}})
	conn := <-connected
	if conn.Value() != "state" || conn.RemoteAddr().String() != c.LocalAddr().String() || conn.PeerName() != "" {
		t.Errorf("value %v, address %v, name %q", conn.Value(), conn.RemoteAddr(), conn.PeerName())
	}
	if got := ts.Conns(); len(got) != 1 || got[0] != conn {
		t.Errorf("Conns: %v", got)
	}
	for i := range uint32(3) {
		if err := conn.Callback(52743234, 1, i, Raw("body")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(3) {
		if got := <-callbacks; got != (seen{i + 1, i, "body"}) {
			t.Errorf("callback %d: %+v", i, got)
		}
	}
	waiting := c.Start(request(procWait, nil))
	call := <-ts.wait
	c.Close()
	if _, err := waiting.Wait(t.Context()); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("call got %v", err)
	}
	<-conn.Context().Done()
	if got := <-disconnected; got != conn {
		t.Error("OnDisconnect for another connection")
	}
	call.Reply(nil) // must be harmless
	if err := conn.Callback(1, 1, 1, nil); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("callback on a dead connection: %v", err)
	}
	if err := context.Cause(conn.Context()); !errors.Is(err, syscall.ENOTCONN) || !errors.Is(err, io.EOF) {
		t.Errorf("cause %v", err)
	}
}

func TestHandlerContextEndsWithConnection(t *testing.T) {
	ended := make(chan error, 1)
	ts := newTestServer(t, func(s *Server) {
		s.Programs[0].Procs[procNull].Handle = func(ctx context.Context, call *Call) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			call.Drop()
		}
	})
	c := ts.dial(t, DialOptions{})
	c.Start(request(procNull, nil))
	mustEcho(t, c, "it has begun")
	c.Close()
	if err := <-ended; !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("cause %v", err)
	}
}

func TestShutdownWaitsForCalls(t *testing.T) {
	ts := newTestServer(t, nil)
	c := ts.dial(t, DialOptions{})
	held := c.Start(request(procHold, nil))
	lock := c.Start(request(procWait, nil))
	call := <-ts.hold
	blocked := <-ts.wait
	down := make(chan error, 1)
	go func() { down <- ts.Shutdown(t.Context()) }()
	eventually(t, "listener closed", func() bool {
		conn, err := net.Dial("tcp", ts.addr.String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-down:
		t.Fatalf("Shutdown returned %v with a call under way", err)
	case <-time.After(20 * time.Millisecond):
	}
	call.Reply(Raw("done"))
	if reply, err := held.Wait(t.Context()); err != nil || string(reply.Body) != "done" {
		t.Errorf("call under way: %q, %v", reply.Body, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if _, err := lock.Wait(t.Context()); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("exempt call: %v", err)
	}
	blocked.Drop()
	if err := ts.Serve(t.Context(), &net.TCPListener{}); err != ErrServerClosed {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	ts := newTestServer(t, nil)
	c := ts.dial(t, DialOptions{})
	held := c.Start(request(procHold, nil))
	call := <-ts.hold
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := ts.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := held.Wait(t.Context()); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("call: %v", err)
	}
	call.Drop()
}

func TestServeEndsWithContext(t *testing.T) {
	s := &Server{Log: quiet}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, ln) }()
	c, err := Dial(t.Context(), DialOptions{Address: ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), &Request{Prog: DumpProgram, Vers: DumpVersion, Proc: DumpPing}); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-served; err != context.Canceled {
		t.Errorf("Serve returned %v", err)
	}
	<-c.Done()
	s.Close()
}

// A peer that sends calls and never reads replies must cost no more than its
// own connection, and that not for ever.
func TestPeerThatDoesNotRead(t *testing.T) {
	gone := make(chan struct{}, 10)
	ts := newTestServer(t, func(s *Server) {
		s.WriteTimeout = 100 * time.Millisecond
		s.OnDisconnect = func(*Conn) { gone <- struct{}{} }
	})
	good := ts.dial(t, DialOptions{})
	p := ts.rawPeer(t)
	msg := mark(append(appendCallHeader(nil, 7, testProg, testVers, procRead, nil), 0, 0x40, 0, 0, 0, 0, 0, 0))
	go func() {
		for {
			if _, err := p.Write(msg); err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-gone:
			mustEcho(t, good, "good")
			return
		case <-time.After(time.Millisecond):
			mustEcho(t, good, "good")
		}
	}
}

func TestPeerThatDoesNotReadCallbacks(t *testing.T) {
	connected := make(chan *Conn, 1)
	ts := newTestServer(t, func(s *Server) {
		s.WriteTimeout = -1
		s.OnConnect = func(c *Conn) { connected <- c }
	})
	ts.rawPeer(t)
	conn := <-connected
	body := Raw(make([]byte, 16<<10))
	for range 100_000 {
		if err := conn.Callback(1, 1, 1, body); err != nil {
			if !errors.Is(err, syscall.ENOBUFS) {
				t.Errorf("got %v", err)
			}
			<-conn.Context().Done()
			return
		}
	}
	t.Error("no limit")
}

func TestServeManyConnections(t *testing.T) {
	var calls atomic.Int32
	ts := newTestServer(t, func(s *Server) {
		s.OnCall = func(*Conn, uint32, uint32, uint32) { calls.Add(1) }
	})
	var wg sync.WaitGroup
	for range 20 {
		c := ts.dial(t, DialOptions{})
		wg.Go(func() {
			for i := range 50 {
				mustEcho(t, c, fmt.Sprintf("%04d", i))
			}
		})
	}
	wg.Wait()
	if calls.Load() != 20*50 {
		t.Errorf("OnCall saw %d calls", calls.Load())
	}
	var received uint64
	for _, c := range ts.Conns() {
		received += c.Stats().Calls
	}
	if received != 20*50 {
		t.Errorf("connections counted %d calls", received)
	}
}
