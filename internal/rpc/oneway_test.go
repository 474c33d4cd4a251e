package rpc

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// TestSendGoesAlong: what nobody waits for is sent with the next call, in order,
// in one piece.
func TestSendGoesAlong(t *testing.T) {
	c, peer := pair(t, ClientOptions{})
	// A call that ends leaves nobody reading, until the idle reader comes.
	done := make(chan error, 1)
	call := func(proc uint32) {
		go func() {
			_, err := c.Call(context.Background(), request(proc, nil))
			done <- err
		}()
	}
	procOf := func(b []byte) uint32 { return be32(b[20:]) }
	for round := 0; ; round++ {
		call(1)
		first := peer.receive()
		peer.send(success(be32(first), nil))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c.Send(request(2, nil))
		c.mu.Lock()
		waits := c.unsent
		c.mu.Unlock()
		call(3)
		a, b := peer.receive(), peer.receive()
		if procOf(a) != 2 || procOf(b) != 3 {
			t.Fatalf("procedures %d and %d, want 2 and 3", procOf(a), procOf(b))
		}
		peer.send(append(success(be32(a), nil), success(be32(b), nil)...))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if waits { // the idle reader was not in the way
			break
		}
		if round == 100 {
			t.Fatal("Send never waits for the next call")
		}
	}
	eventually(t, "both replies are taken", func() bool { return c.Stats().Outstanding == 0 })
}

// TestSendAlone: without a next call it goes by itself.
func TestSendAlone(t *testing.T) {
	c, peer := pair(t, ClientOptions{})
	for range 3 {
		c.Send(request(2, nil))
		m := peer.receive()
		peer.send(success(be32(m), nil))
		eventually(t, "the reply is taken", func() bool { return c.Stats().Outstanding == 0 })
	}
	c.Send(request(4, nil))
	c.Close()
	if m := peer.receive(); be32(m[20:]) != 4 {
		t.Fatalf("procedure %d", be32(m[20:]))
	}
	c.Send(request(5, nil)) // too late, and harmless
}

// TestSendDoesNotWaitForAReader: while a call waits for long, what follows is
// sent at once.
func TestSendDoesNotWaitForAReader(t *testing.T) {
	c, peer := pair(t, ClientOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, request(1, nil))
		done <- err
	}()
	slow := peer.receive()
	c.Send(request(2, nil))
	peer.receive()
	peer.send(success(be32(slow), nil))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestUnawaited: calls that nobody waits for, each in one piece with the next
// one, are executed and answered all the same, the last one too.
func TestUnawaited(t *testing.T) {
	var executed [3]atomic.Int64
	note := func(_ context.Context, call *Call) {
		executed[call.Proc].Add(1)
		call.Reply(nil)
	}
	ts := newTestServer(t, func(s *Server) {
		s.Programs[0].Procs = []Proc{1: {Handle: note}, 2: {Handle: note, Unawaited: true, Exempt: true}}
	})
	c := ts.dial(t, DialOptions{})
	const rounds = 200
	for range rounds {
		if _, err := c.Call(context.Background(), request(1, nil)); err != nil {
			t.Fatal(err)
		}
		c.Send(request(2, nil))
	}
	eventually(t, "all is answered", func() bool { return c.Stats().Outstanding == 0 })
	if a, b := executed[1].Load(), executed[2].Load(); a != rounds || b != rounds {
		t.Fatalf("%d and %d calls were executed, want %d of each", a, b, rounds)
	}
	if r := c.Stats().Replies; r != 2*rounds {
		t.Fatalf("%d replies, want %d", r, 2*rounds)
	}
}
