package replicate

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
)

// TestReadBlamed: a read never goes to a copy that is known to be bad.
func TestReadBlamed(t *testing.T) {
	for child := range 3 {
		c := overMemory(t, 3)
		g := fop.NewGFID()
		for i := range 3 {
			contents := "good!"
			if i == child {
				contents = "stale"
			}
			c.plantOn(i, g, "f", contents)
		}
		c.blame((child+1)%3, child, g, changelog{1, 0, 0})
		for range 3 {
			if got, err := c.read(g); err != nil || got != "good!" {
				t.Errorf("child %d is blamed: %q, %v", child, got, err)
			}
			c.mustLookup("f")
		}
	}
}

// TestReadFailover: in the middle of everything a child fails, and then the next.
func TestReadFailover(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	c.mustLookup("f")
	c.forget()
	first := int(superFastHash(&g) % 3)
	c.taps[first].fail(eio, fop.OpRead)
	if got, err := c.read(g); err != nil || got != "12345" {
		t.Fatalf("%q, %v", got, err)
	}
	want := []string{"LOOKUP", "LOOKUP", "LOOKUP"}
	want[first] = "READ LOOKUP"
	second := 0
	if first == 0 {
		second = 1
	}
	want[second] += " READ"
	if diff := cmp.Diff(want, c.ops()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.taps[second].fail(syscall.ENOTCONN, fop.OpRead)
	if got, err := c.read(g); err != nil || got != "12345" {
		t.Errorf("two fail: %q, %v", got, err)
	}
	c.taps[3-first-second].fail(syscall.EIO, fop.OpRead)
	if _, err := c.read(g); err == nil {
		t.Error("a read succeeds that all children fail")
	}
}

// TestReadFinal: what an error says of the object no other copy is asked again.
func TestReadFinal(t *testing.T) {
	c := overMemory(t, 2)
	g := c.plant("f", "")
	c.mustLookup("f")
	c.forget()
	if _, err := fop.Call(t.Context(), c, &fop.Getxattr{Header: c.head(), GFID: g, Name: "user.none"}); !errors.Is(err, enodata) {
		t.Error(err)
	}
	ops := c.ops()
	if ops[0]+ops[1] != "GETXATTR" {
		t.Errorf("%q", ops)
	}
}

// TestQuorumGate is the table of what works with how many copies up.
func TestQuorumGate(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int
		opts []string
		down []int
		want syscall.Errno
	}{
		{"2, no quorum", 2, nil, []int{0}, 0},
		{"2 auto, second down", 2, []string{"quorum-type", "auto"}, []int{1}, 0},
		{"2 auto, first down", 2, []string{"quorum-type", "auto"}, []int{0}, syscall.ENOTCONN},
		{"2 fixed 2", 2, []string{"quorum-type", "fixed", "quorum-count", "2"}, []int{1}, syscall.ENOTCONN},
		{"3", 3, nil, []int{0}, 0},
		{"3, two down", 3, nil, []int{0, 2}, syscall.ENOTCONN},
		{"3 none, two down", 3, []string{"quorum-type", "none"}, []int{0, 2}, 0},
		{"consistent-io", 2, []string{"consistent-io", "on"}, []int{1}, syscall.ENOTCONN},
		{"consistent-io, all up", 2, []string{"consistent-io", "on"}, nil, 0},
		{"consistent-io with quorum", 3, []string{"consistent-io", "on"}, []int{1}, 0},
	} {
		cl := overMemory(t, c.n, c.opts...)
		g := cl.plant("f", "12345")
		fd := &fop.Fd{GFID: g}
		for _, i := range c.down {
			cl.down(i)
		}
		for _, req := range []fop.Request{
			&fop.Lookup{GFID: g}, &fop.Stat{GFID: g}, &fop.Read{GFID: g, Size: 5}, &fop.StatfsReq{GFID: g}, &fop.Open{GFID: g, Fd: fd},
			&fop.Readdir{GFID: fop.RootGFID, Size: 4096}, &fop.Getxattr{GFID: g}, &fop.Access{GFID: g, Mask: 4},
			&fop.Lk{Header: cl.head(), GFID: g, Fd: fd, Cmd: fop.LkSet, Flock: fop.Flock{Type: fop.LockRead}},
		} {
			if _, ok := req.(*fop.Lookup); ok && len(c.opts) > 0 && c.opts[0] == "consistent-io" {
				continue // lookups go by the answers
			}
			if _, err := cl.Do(t.Context(), req); fop.Errno(err) != c.want {
				t.Errorf("%s: %v: %v, want %v", c.name, req.Op(), err, c.want)
			}
		}
		if _, err := cl.Do(t.Context(), &fop.Release{GFID: g, Fd: fd}); err != nil {
			t.Error(err)
		}
	}
}

// TestSplitBrain is what is refused and what is not when no copy is good.
func TestSplitBrain(t *testing.T) {
	c := overMemory(t, 2)
	g := fop.NewGFID()
	c.plantOn(0, g, "f", "zero")
	c.plantOn(1, g, "f", "one!")
	c.blame(0, 1, g, changelog{1, 0, 0})
	c.blame(1, 0, g, changelog{1, 0, 0})
	c.mustLookup("f") // works without quorum
	fd := &fop.Fd{GFID: g}
	for _, req := range []fop.Request{
		&fop.Read{GFID: g, Size: 5}, &fop.Open{GFID: g, Fd: fd}, &fop.Getxattr{GFID: g, Name: "user.x"}, &fop.Stat{GFID: g},
		&fop.Setattr{GFID: g, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o600}},
	} {
		if _, err := c.Do(t.Context(), req); fop.Errno(err) != eio {
			t.Errorf("%v: %v", req.Op(), err)
		}
	}
	status := func(g fop.GFID) string {
		r, err := fop.Call(t.Context(), c, &fop.Getxattr{Header: c.head(), GFID: g, Name: "replica.split-brain-status"})
		if err != nil {
			t.Fatal(err)
		}
		return string(r.Dict.Bytes("replica.split-brain-status"))
	}
	if got := status(g); got != "data-split-brain:yes    metadata-split-brain:no    Choices:v-client-0,v-client-1\x00" {
		t.Errorf("%q", got)
	}
	if got := status(fop.RootGFID); got != "The file is not under data or metadata split-brain\x00" {
		t.Errorf("%q", got)
	}
	set := func(g fop.GFID, key, value string) error {
		_, err := fop.Call(t.Context(), c, &fop.Setxattr{Header: c.head(), GFID: g, Dict: fop.NewDict(fop.Pair{Key: key, Val: fop.Bytes([]byte(value))})})
		return err
	}
	for _, k := range []struct {
		g     fop.GFID
		child string
		want  syscall.Errno
		read  string
	}{
		{g, "v-client-1", 0, "one!"}, {g, "v-client-0", 0, "zero"}, {g, "nobody", syscall.EINVAL, "zero"},
		{fop.RootGFID, "v-client-0", syscall.EINVAL, "zero"}, {g, "none", 0, ""},
	} {
		if err := set(k.g, "replica.split-brain-choice", k.child); fop.Errno(err) != k.want {
			t.Errorf("choice %s: %v", k.child, err)
		}
		if got, err := c.read(g); got != k.read || (err == nil) != (k.read != "") {
			t.Errorf("after choice %s: %q, %v", k.child, got, err)
		}
	}
	if err := set(g, "replica.split-brain-heal-finalize", "v-client-0"); err != nil {
		t.Error(err)
	}
	if err := set(g, "replica.split-brain-heal-finalize", "nobody"); fop.Errno(err) != syscall.EINVAL {
		t.Error(err)
	}
	if err := c.Reconfigure(map[string]string{"favorite-child-policy": "mtime", "hedge-delay": "0"}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.read(g); got != "one!" || err != nil {
		t.Errorf("by policy: %q, %v", got, err)
	}
}

// TestChoiceExpires: a choice ends by itself.
func TestChoiceExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overMemory(t, 2)
		g := fop.NewGFID()
		c.plantOn(0, g, "f", "zero")
		c.plantOn(1, g, "f", "one!")
		c.blame(0, 1, g, changelog{1, 0, 0})
		c.blame(1, 0, g, changelog{1, 0, 0})
		for _, kv := range [][2]string{{"replica.split-brain-choice-timeout", "1"}, {"replica.split-brain-choice", "v-client-1"}} {
			if _, err := fop.Call(t.Context(), c, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: kv[0], Val: fop.Str(kv[1])})}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(59 * time.Second)
		if got, err := c.read(g); got != "one!" {
			t.Errorf("before it ends: %q, %v", got, err)
		}
		time.Sleep(2 * time.Second)
		if _, err := c.read(g); fop.Errno(err) != eio {
			t.Errorf("after it has ended: %v", err)
		}
	})
}

// TestHedge: when the chosen child does not answer, another one does.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overMemory(t, 3, "hedge-delay", "100ms")
		g := c.plant("f", "12345")
		c.mustLookup("f")
		first := int(superFastHash(&g) % 3)
		var cancelled atomic.Int32
		c.taps[first].intercept(func(ctx context.Context, req fop.Request) (fop.Reply, error, bool) {
			select {
			case <-ctx.Done():
				cancelled.Add(1)
			case <-time.After(42 * time.Second):
			}
			return nil, syscall.ENOTCONN, true
		})
		buf := make([]byte, 10)
		for i, req := range []fop.Request{
			&fop.Read{Header: c.head(), GFID: g, Size: 10, Into: buf}, &fop.Stat{Header: c.head(), GFID: g},
			&fop.Getxattr{Header: c.head(), GFID: g}, &fop.Access{Header: c.head(), GFID: g, Mask: 4},
		} {
			begin := time.Now()
			reply, err := c.Do(t.Context(), req)
			if took := time.Since(begin); err != nil || took != 100*time.Millisecond {
				t.Errorf("%v: %v after %v", req.Op(), err, took)
			}
			if r, ok := reply.(*fop.ReadReply); ok && (string(r.Data) != "12345" || &r.Data[0] != &buf[0]) {
				t.Errorf("read %q", r.Data)
			}
			if n := int(cancelled.Load()); n != i+1 {
				t.Errorf("%d first requests were given up", n)
			}
		}
		// Both fail: the error of the first, and the third is asked.
		second := c.taps[c.choose(all(3).without(first), g, false)]
		second.intercept(func(ctx context.Context, req fop.Request) (fop.Reply, error, bool) {
			if req.Op() == fop.OpLookup {
				return nil, nil, false
			}
			return nil, syscall.ENOTCONN, true
		})
		c.taps[first].intercept(func(ctx context.Context, req fop.Request) (fop.Reply, error, bool) {
			if req.Op() == fop.OpLookup {
				return nil, nil, false
			}
			time.Sleep(time.Second)
			return nil, syscall.EIO, true
		})
		c.forget()
		if got, err := c.read(g); err != nil || got != "12345" {
			t.Errorf("%q, %v", got, err)
		}
		if c.hedging.Load() != 0 || c.hedgeWins.Load() != 4 || c.hedges.Load() != 5 {
			t.Errorf("%d under way, %d won of %d", c.hedging.Load(), c.hedgeWins.Load(), c.hedges.Load())
		}
	})
}

// TestHedgeLateFirst: the first may still win after the second has been asked,
// and then the second is given up.
func TestHedgeLateFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overMemory(t, 2, "hedge-delay", "100ms")
		g := c.plant("f", "12345")
		c.mustLookup("f")
		first := int(superFastHash(&g) % 2)
		c.taps[first].intercept(func(ctx context.Context, req fop.Request) (fop.Reply, error, bool) {
			time.Sleep(150 * time.Millisecond)
			return nil, nil, false
		})
		gaveUp := make(chan struct{})
		c.taps[1-first].intercept(func(ctx context.Context, req fop.Request) (fop.Reply, error, bool) {
			<-ctx.Done()
			close(gaveUp)
			return nil, ctx.Err(), true
		})
		begin := time.Now()
		if got, err := c.read(g); err != nil || got != "12345" || time.Since(begin) != 150*time.Millisecond {
			t.Errorf("%q, %v after %v", got, err, time.Since(begin))
		}
		<-gaveUp
		synctest.Wait()
	})
}

// TestHedgeBounded: when everything is slow, it is not made slower by asking for
// all of it twice.
func TestHedgeBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overMemory(t, 2, "hedge-delay", "100ms")
		g := c.plant("f", "12345")
		c.mustLookup("f")
		var calls, most atomic.Int32
		for _, p := range c.taps {
			p.intercept(func(ctx context.Context, req fop.Request) (fop.Reply, error, bool) {
				n := calls.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(time.Second)
				calls.Add(-1)
				return nil, nil, false
			})
		}
		done := make(chan error)
		const readers = 100
		for range readers {
			go func() {
				_, err := c.read(g)
				done <- err
			}()
		}
		for range readers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if most.Load() > readers+maxHedges {
			t.Errorf("%d requests at once for %d readers", most.Load(), readers)
		}
		if most.Load() <= readers {
			t.Errorf("nothing was hedged: %d requests at once", most.Load())
		}
	})
}

// TestConsistentIO: what began before a child went or came does not count.
func TestConsistentIO(t *testing.T) {
	c := overMemory(t, 2, "consistent-io", "on")
	g := c.plant("f", "12345")
	c.mustLookup("f")
	if _, err := c.read(g); err != nil {
		t.Fatal(err)
	}
	once := false
	for _, p := range c.taps {
		p.intercept(func(context.Context, fop.Request) (fop.Reply, error, bool) {
			if !once {
				once = true
				c.ChildEvent("v-client-0", fop.Event{Kind: fop.EventChildDown})
				c.ChildEvent("v-client-0", fop.Event{Kind: fop.EventChildUp})
			}
			return nil, nil, false
		})
	}
	if _, err := c.read(g); fop.Errno(err) != syscall.ENOTCONN {
		t.Error(err)
	}
	if _, err := c.read(g); err != nil {
		t.Error(err)
	}
}

// TestReadReturned: a copy that missed the beginning of a transaction, and has
// come back before its post-op could blame it, is not read from.
func TestReadReturned(t *testing.T) {
	for child := range 3 {
		c := overMemory(t, 3)
		g := fop.NewGFID()
		for i := range 3 {
			contents := "new!!"
			if i == child {
				contents = "stale"
			}
			c.plantOn(i, g, "f", contents)
		}
		lock := &fop.Inodelk{Header: c.head(), GFID: g, Cmd: fop.LkSet, Flock: fop.Flock{Type: fop.LockWrite}, Domain: c.name}
		for i := range 3 {
			if i != child {
				c.on(i, lock)
				c.on(i, &fop.Xattrop{Header: c.head(), GFID: g, Dict: fop.NewDict(fop.Pair{Key: c.dirty, Val: changelog{1, 0, 0}.value()})})
			}
		}
		for range 3 {
			if got, err := c.read(g); err != nil || got != "new!!" {
				t.Errorf("child %d: %q, %v", child, got, err)
			}
			c.mustLookup("f")
		}
		// Now the post-op is done, and the child blamed.
		for i := range 3 {
			if i != child {
				c.on(i, &fop.Xattrop{Header: c.head(), GFID: g, Dict: fop.NewDict(
					fop.Pair{Key: c.dirty, Val: changelog{-1, 0, 0}.value()}, fop.Pair{Key: c.pending[child], Val: changelog{1, 0, 0}.value()})})
				c.on(i, unlocking(lock))
			}
		}
		if got, err := c.read(g); err != nil || got != "new!!" {
			t.Errorf("child %d, later: %q, %v", child, got, err)
		}
	}
}
