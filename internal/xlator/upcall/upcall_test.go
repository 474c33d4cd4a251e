package upcall

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newUpcalls(t testing.TB, child fop.Handler, o xlator.Options) *Upcalls {
	t.Helper()
	h, err := New(xlator.Config{Children: []xlator.Child{{Name: "below", Handler: child}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*Upcalls)
}

var on = xlator.Options{"cache-invalidation": "on", "cache-invalidation-timeout": "10"}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newUpcalls(t, mem.NewFS(nil), on) },
		conformance.Options{Locks: true, Devices: true})
}

// inbox is a client that keeps what it is told.
func inbox(name string) (*fop.Client, func() []string) {
	var got []string
	c := &fop.Client{ID: name, Upcall: func(u *fop.Upcall) {
		s := fmt.Sprintf("%x %#x", u.GFID[15], u.Flags)
		for what, st := range map[string]fop.Iatt{"stat": u.Stat, "parent": u.Parent, "old": u.OldParent} {
			if !st.GFID.IsZero() {
				s += " " + what
			}
		}
		for _, p := range u.XData.Pairs() {
			s += " " + p.Key
		}
		f := strings.Fields(s)
		slices.Sort(f[2:])
		got = append(got, strings.Join(f, " "))
	}}
	return c, func() []string { g := got; got = nil; return g }
}

// TestWhoHearsWhat runs each fop as client a while b knows all objects.
func TestWhoHearsWhat(t *testing.T) {
	a, heardA := inbox("a")
	b, heardB := inbox("b")
	u := newUpcalls(t, mem.NewFS(nil), on)
	do := func(c *fop.Client, req fop.Request) fop.Reply {
		t.Helper()
		h := req.Head()
		h.From = c
		if h.XData == nil {
			h.XData = fop.NewDict()
		}
		r, err := u.Do(t.Context(), req)
		if err != nil {
			t.Fatalf("%v: %v", req.Op(), err)
		}
		return r
	}
	gfid := func(n byte) fop.GFID { return fop.GFID{1, 15: n} }
	req := func(n byte) fop.Header {
		return fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(gfid(n))})}
	}
	root := fop.RootGFID
	do(b, &fop.Lookup{GFID: root})
	do(b, &fop.Ipc{Target: ipcTarget, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: "user.*", Val: fop.Str("")}, fop.Pair{Key: "trusted.afr.v-client-0", Val: fop.Str("")})}})
	nonzero, zero := make([]byte, 12), make([]byte, 12)
	nonzero[3] = 1
	for _, c := range []struct {
		req  fop.Request
		want []string
	}{
		{&fop.Create{Header: req(0x20), Parent: root, Name: "f", Mode: 0o644, Fd: &fop.Fd{}}, []string{"1 0x10 stat"}},
		{&fop.Mkdir{Header: req(0x21), Parent: root, Name: "d", Mode: 0o755}, []string{"1 0x10 stat"}},
		{&fop.Write{GFID: gfid(0x20), Data: []byte("x")}, []string{"20 0x18 stat"}},
		{&fop.Truncate{GFID: gfid(0x20)}, []string{"20 0x18 stat"}},
		{&fop.Setattr{GFID: gfid(0x20), Valid: fop.SetMtime}, []string{"20 0x5e stat"}},
		{&fop.Setattr{GFID: gfid(0x20), Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o600}}, []string{"20 0x45e stat"}},
		{&fop.Link{GFID: gfid(0x20), Parent: root, Name: "g"}, []string{"20 0x211 parent stat"}},
		{&fop.Rename{OldParent: root, OldName: "g", NewParent: gfid(0x21), NewName: "h"}, []string{"20 0x280 old parent stat"}},
		{&fop.Unlink{Parent: gfid(0x21), Name: "h"}, []string{"20 0x211 parent"}},
		{&fop.Setxattr{GFID: gfid(0x20), Dict: fop.NewDict(fop.Pair{Key: "user.a", Val: fop.Str("1")}, fop.Pair{Key: "trusted.b", Val: fop.Str("1")})}, []string{"20 0x410 stat user.a"}},
		{&fop.Setxattr{GFID: gfid(0x20), Dict: fop.NewDict(fop.Pair{Key: "trusted.b", Val: fop.Str("2")})}, nil},
		{&fop.Removexattr{GFID: gfid(0x20), Name: "user.a"}, []string{"20 0x810 stat user.a"}},
		{&fop.Xattrop{GFID: gfid(0x20), Dict: fop.NewDict(fop.Pair{Key: "trusted.afr.v-client-0", Val: fop.Bytes(zero)})}, nil},
		{&fop.Xattrop{GFID: gfid(0x20), Dict: fop.NewDict(fop.Pair{Key: "trusted.afr.v-client-0", Val: fop.Bytes(nonzero)})}, []string{"20 0x400 trusted.afr.v-client-0"}},
		{&fop.Stat{GFID: gfid(0x20)}, nil},
		{&fop.Rmdir{Parent: root, Name: "d"}, []string{"21 0x211 parent"}},
	} {
		do(a, c.req)
		if got := heardB(); !slices.Equal(got, c.want) {
			// Removexattr's and setxattr's stat depends on the child.
			if len(got) != 1 || len(c.want) != 1 || strings.Replace(c.want[0], " stat", "", 1) != strings.Replace(got[0], " stat", "", 1) {
				t.Errorf("%v: told %q, want %q", c.req.Op(), got, c.want)
			}
		}
		if got := heardA(); len(got) > 0 {
			t.Errorf("%v: its own client was told %q", c.req.Op(), got)
		}
		// b looks again at everything there is.
		do(b, &fop.Lookup{GFID: root})
		if _, err := u.Do(t.Context(), &fop.Lookup{GFID: gfid(0x20), Header: fop.Header{From: b}}); err != nil {
			t.Fatal(err)
		}
		u.Do(t.Context(), &fop.Lookup{GFID: gfid(0x21), Header: fop.Header{From: b}})
	}
}

// TestTime: after the timeout nobody is told, after twice of it nothing is known,
// after a disconnect nothing either.
func TestTime(t *testing.T) {
	a, _ := inbox("a")
	b, heard := inbox("b")
	u := newUpcalls(t, mem.NewFS(nil), on)
	now := time.Unix(1000, 0)
	u.now = func() time.Time { return now }
	look := func(c *fop.Client) {
		u.Do(context.Background(), &fop.Lookup{GFID: fop.RootGFID, Header: fop.Header{From: c}})
	}
	change := func() {
		u.Do(context.Background(), &fop.Setattr{GFID: fop.RootGFID, Valid: fop.SetMtime, Header: fop.Header{From: a}})
	}
	look(b)
	now = now.Add(9 * time.Second)
	change()
	if n := len(heard()); n != 1 {
		t.Errorf("told %d times within the timeout", n)
	}
	now = now.Add(time.Second)
	change()
	if n := len(heard()); n != 0 {
		t.Errorf("told %d times after the timeout", n)
	}
	u.sweep(now.Add(-20 * time.Second))
	if n := len(u.shard(fop.RootGFID).objects[fop.RootGFID]); n != 2 {
		t.Errorf("%d visits before twice the timeout", n)
	}
	now = now.Add(10 * time.Second)
	u.sweep(now.Add(-20 * time.Second))
	if n := len(u.shard(fop.RootGFID).objects[fop.RootGFID]); n != 1 {
		t.Errorf("%d visits after twice the timeout", n)
	}
	look(b)
	u.Do(context.Background(), &fop.Disconnect{Header: fop.Header{From: b}})
	look(b) // a late one
	change()
	if n := len(heard()); n != 0 || u.clients.Load() != 1 {
		t.Errorf("a client that is gone was told %d times, %d left", n, u.clients.Load())
	}
}

func TestRun(t *testing.T) {
	u := newUpcalls(t, mem.NewFS(nil), on)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- u.Run(ctx) }()
	if err := u.Reconfigure(xlator.Options{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func BenchmarkPass(b *testing.B) {
	reply := &fop.StatReply{}
	for _, c := range []struct {
		name string
		o    xlator.Options
	}{{"off", nil}, {"on", on}} {
		b.Run(c.name, func(b *testing.B) {
			u := newUpcalls(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }), c.o)
			req := &fop.Stat{GFID: fop.RootGFID, Header: fop.Header{From: &fop.Client{}}}
			b.ReportAllocs()
			for b.Loop() {
				u.Do(context.Background(), req)
			}
		})
	}
}
