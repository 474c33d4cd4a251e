package mdcache

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// counted counts what comes down.
type counted struct {
	fop.Handler
	n    atomic.Int64
	keys atomic.Pointer[fop.Dict] // of the last lookup
}

func (c *counted) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	c.n.Add(1)
	if r, ok := req.(*fop.Lookup); ok {
		c.keys.Store(r.XData)
	}
	return c.Handler.Do(ctx, req)
}

// stage is a cache over a brick in memory.
type stage struct {
	*testing.T
	brick *mem.FS
	below *counted
	m     *mdCache
	told  []fop.GFID // events that left the cache
}

func newStage(t *testing.T, o xlator.Options) *stage {
	s := &stage{T: t, brick: mem.NewFS(nil)}
	s.below = &counted{Handler: s.brick}
	s.m = newCache(t, s.below, 2, o)
	s.m.notify = func(ev fop.Event) {
		if ev.Upcall != nil {
			s.told = append(s.told, ev.Upcall.GFID)
		}
	}
	return s
}

func (s *stage) fresh() (fop.GFID, fop.Header) {
	g := fop.NewGFID()
	return g, fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}
}

func (s *stage) must(h fop.Handler, req fop.Request) fop.Reply {
	s.Helper()
	r, err := h.Do(s.Context(), req)
	if err != nil {
		s.Fatalf("%v: %v", req.Op(), err)
	}
	return r
}

func (s *stage) file(name string) fop.GFID {
	g, h := s.fresh()
	s.must(s.brick, &fop.Mknod{Header: h, Parent: fop.RootGFID, Name: name, Mode: fop.ModeRegular | 0o644})
	return g
}

// TestPlays: which questions reach the brick, and what is answered. Steps:
//
//	?a      look a up; writes its size, - if it is not there
//	=a      stat a by gfid; writes its size, ! if it is gone
//	n=a     its link count
//	w3      write 3 bytes to a;  W5 another client does
//	m       change a's mode; M another client does
//	a>b     rename; a+b link; -a unlink; with * before it another client
//	~?a     look a up as somebody else
//	x       a notice that a was changed; d that the root was
//	lost    a connection is lost;  t a second passes
//
// A dot follows what was answered without the brick.
func TestPlays(t *testing.T) {
	for _, c := range []struct{ play, want string }{
		{"?a ?a =a", "0 0. 0."},
		{"?a t ?a ?a", "0 0 0."},
		{"=a ?a ?a", "0 0 0."},
		{"?a w3 =a ?a", "0 3. 3."},
		{"?a W5 =a t =a", "0 0. 5"},
		{"?a W5 x =a =a", "0 5 5."},
		{"?a W5 lost =a", "0 5"},
		{"?a ~?a ~?a ?a", "0 0 0. 0."},
		{"?a M x ~?a ?a", "0 0 0."},
		{"?a d ?a", "0 0"},
		{"?a a>b ?a ?b =a", "0 - 0. 0"},
		{"?a ?b a>b ?a ?b =a", "0 - - 0. 0."},
		{"?a *a>b ?a d ?a ?b", "0 0. - 0"},
		{"?a a+b n=a ?b -b n=a", "0 2. 0. 1"},
		{"?a a+b t -b n=a n=a", "0 1 1."}, // the name is too old to serve, not to know
		{"=a *a+b x n=a -b n=a", "0 2 1"}, // nobody knows what b was
		{"?a -a ?a =a", "0 - !"},
		{"?a *-a ?a t ?a", "0 0. -"},
		{"?a m =a ?a", "0 0. 0."},
	} {
		s := newStage(t, nil)
		a := s.file("a")
		var got []string
		for _, step := range strings.Fields(c.play) {
			h, full := fop.Handler(s.m), step
			head := fop.Header{}
			if step[0] == '*' {
				h, step = s.brick, step[1:]
			}
			if step[0] == '~' {
				head.Cred.UID, step = 5, step[1:]
			}
			answer := func(req fop.Request, f func(fop.Reply) any) {
				before := s.below.n.Load()
				r, err := h.Do(t.Context(), req)
				word := ""
				switch e := fop.Errno(err); {
				case e == syscall.ENOENT && req.Op() == fop.OpLookup:
					word = "-"
				case e == syscall.ENOENT || e == syscall.ESTALE:
					word = "!"
				case err != nil:
					t.Fatalf("%s: %s: %v", c.play, full, err)
				default:
					word = fmt.Sprint(f(r))
				}
				if s.below.n.Load() == before {
					word += "."
				}
				got = append(got, word)
			}
			root := fop.RootGFID
			from, to, _ := strings.Cut(strings.NewReplacer(">", " ", "+", " ").Replace(step), " ")
			switch {
			case step == "t":
				s.m.base = s.m.base.Add(-time.Second)
			case step == "x", step == "d":
				g := a
				if step == "d" {
					g = root
				}
				s.m.ChildEvent("below", fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: g, Flags: fop.InvalPerm}})
			case step == "lost":
				s.m.ChildEvent("below", fop.Event{Kind: fop.EventNoticesLost})
			case step[0] == '?':
				answer(&fop.Lookup{Header: head, Parent: root, Name: step[1:]}, func(r fop.Reply) any { return r.(*fop.LookupReply).Stat.Size })
			case step[0] == '=':
				answer(&fop.Stat{GFID: a}, func(r fop.Reply) any { return r.(*fop.StatReply).Stat.Size })
			case step == "n=a":
				answer(&fop.Stat{GFID: a}, func(r fop.Reply) any { return r.(*fop.StatReply).Stat.Nlink })
			case step[0] == 'w':
				s.must(s.m, &fop.Write{GFID: a, Data: make([]byte, step[1]-'0')})
			case step[0] == 'W':
				s.must(s.brick, &fop.Write{GFID: a, Data: make([]byte, step[1]-'0')})
			case step == "m":
				s.must(s.m, &fop.Setattr{GFID: a, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o600}})
			case step == "M":
				s.must(s.brick, &fop.Setattr{GFID: a, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o600}})
			case strings.Contains(step, ">"):
				s.must(h, &fop.Rename{OldParent: root, OldName: from, NewParent: root, NewName: to})
			case strings.Contains(step, "+"):
				s.must(h, &fop.Link{GFID: a, Parent: root, Name: to})
			case step[0] == '-':
				s.must(h, &fop.Unlink{Parent: root, Name: step[1:]})
			}
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %s, want %s", c.play, g, c.want)
		}
	}
}

// TestXattrs: what was asked for once comes along with lookups, an attribute
// that is not there is known too, and writes take file capabilities away.
func TestXattrs(t *testing.T) {
	const capability = "security.capability"
	s := newStage(t, xlator.Options{"xattr-cache-list": "user.c*"})
	a, b := s.file("a"), s.file("b")
	get := func(g fop.GFID, name string) string {
		t.Helper()
		before := s.below.n.Load()
		r, err := fop.Call(t.Context(), s.m, &fop.Getxattr{GFID: g, Name: name})
		word := "none"
		if err == nil {
			word = r.Dict.Text(name)
		} else if fop.Errno(err) != syscall.ENODATA {
			t.Fatal(err)
		}
		if s.below.n.Load() == before {
			word += "."
		}
		return word
	}
	set := func(h fop.Handler, g fop.GFID, name, val string) {
		t.Helper()
		s.must(h, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: name, Val: fop.Bytes([]byte(val))})})
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	s.must(s.m, &fop.Lookup{Parent: fop.RootGFID, Name: "a"})
	if s.below.keys.Load().Has(capability) {
		t.Error("a lookup asks for what nobody wants")
	}
	expect("first", get(a, capability), "none")
	expect("second", get(a, capability), "none.")
	s.must(s.m, &fop.Write{GFID: a, Data: []byte("x")})
	expect("after a write", get(a, capability), "none.")
	s.must(s.m, &fop.Lookup{Parent: fop.RootGFID, Name: "b"})
	if !s.below.keys.Load().Has(capability) {
		t.Error("a lookup does not ask for what somebody wanted")
	}
	expect("after a lookup", get(b, capability), "none.")
	set(s.m, b, capability, "caps")
	expect("after setxattr", get(b, capability), "caps")
	expect("and again", get(b, capability), "caps.")
	s.must(s.m, &fop.Write{GFID: b, Data: []byte("x")})
	expect("after a write to a file with capabilities", get(b, capability), "caps")
	set(s.m, b, "user.colour", "blue")
	get(b, "user.colour")
	expect("of the list", get(b, "user.colour"), "blue.")
	set(s.brick, b, "user.colour", "red")
	s.m.ChildEvent("below", fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: b, Flags: fop.InvalXattr}})
	expect("after a notice", get(b, "user.colour"), "red")
	set(s.m, b, "user.other", "1")
	get(b, "user.other")
	expect("not selected", get(b, "user.other"), "1")
	s.must(s.m, &fop.Removexattr{GFID: b, Name: "user.colour"})
	expect("after removexattr", get(b, "user.colour"), "none")
}

// TestForeign: what others changed is told to those above, what this client did
// is not.
func TestForeign(t *testing.T) {
	s := newStage(t, nil)
	a := s.file("a")
	stat := func() { s.must(s.m, &fop.Stat{GFID: a}); s.m.base = s.m.base.Add(-time.Second) }
	stat()
	s.must(s.m, &fop.Write{GFID: a, Data: []byte("x")})
	s.m.base = s.m.base.Add(-time.Second)
	stat()
	if len(s.told) != 0 {
		t.Errorf("told of its own change: %v", s.told)
	}
	s.must(s.brick, &fop.Write{GFID: a, Data: []byte("xyz")})
	stat()
	if !slices.Equal(s.told, []fop.GFID{a}) {
		t.Errorf("told %v of a foreign change", s.told)
	}
	if err := s.m.Reconfigure(xlator.Options{"global-cache-invalidation": "off"}); err != nil {
		t.Fatal(err)
	}
	s.must(s.brick, &fop.Write{GFID: a, Data: []byte("wxyz")})
	stat()
	if len(s.told) != 1 {
		t.Error("told although that is switched off")
	}
}

// TestListing: a listing brings attributes along, and a change that was done
// since it began is not covered by them.
func TestListing(t *testing.T) {
	s := newStage(t, nil)
	a, b := s.file("a"), s.file("b")
	fd := &fop.Fd{GFID: fop.RootGFID, Dir: true}
	s.must(s.m, &fop.Opendir{GFID: fd.GFID, Fd: fd})
	r := s.must(s.m, &fop.Readdirp{GFID: fd.GFID, Fd: fd, Size: 650}).(*fop.ReaddirReply)
	off := r.Entries[len(r.Entries)-1].Off
	s.must(s.m, &fop.Write{GFID: b, Data: []byte("x")})
	s.m.void(b, false, false) // nothing of it is kept
	s.must(s.m, &fop.Readdirp{GFID: fd.GFID, Fd: fd, Offset: off, Size: 4096})
	before := s.below.n.Load()
	s.must(s.m, &fop.Stat{GFID: a})
	s.must(s.m, &fop.Lookup{Parent: fop.RootGFID, Name: "a"})
	if s.below.n.Load() != before {
		t.Error("what was listed is asked for again")
	}
	s.must(s.m, &fop.Stat{GFID: b})
	if s.below.n.Load() == before {
		t.Error("a listing that began before a change is believed")
	}
	// Without readdirp the brick is asked for names only.
	r = s.must(s.m, &fop.Readdir{GFID: fd.GFID, Fd: fd, Size: 4096}).(*fop.ReaddirReply)
	if r.Entries[2].Stat.IsZero() {
		t.Error("force-readdirp brings no attributes")
	}
	s.must(s.m, &fop.Releasedir{GFID: fd.GFID, Fd: fd})
}

// TestBounds: many objects and names take no more than they may.
func TestBounds(t *testing.T) {
	m := newCache(t, mem.NewFS(nil), 1, nil)
	st, c := m.start(), m.conf.Load()
	for i := range 3 * maxNames / 2 {
		a := fop.Iatt{GFID: fop.NewGFID(), Flags: fop.IattAll, Mode: fop.ModeRegular, Nlink: 1}
		m.learn(c, st, &a, false)
		m.names.found(fop.RootGFID, fmt.Sprint(i), a.GFID, 1, 1, st, 1)
	}
	if n := m.objects.Len(); n > maxObjects+64 {
		t.Errorf("%d objects", n)
	}
	if n := m.names.len(); n > maxNames {
		t.Errorf("%d names", n)
	}
}

func BenchmarkPass(b *testing.B) {
	reply := &fop.CommonReply{}
	child := fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil })
	for _, c := range []struct {
		name string
		o    xlator.Options
	}{{"on", nil}, {"pass-through", xlator.Options{"pass-through": "on"}}} {
		b.Run(c.name, func(b *testing.B) {
			m := newCache(b, child, 1, c.o)
			r := &fop.Flush{GFID: fop.RootGFID}
			b.ReportAllocs()
			for b.Loop() {
				m.Do(context.Background(), r)
			}
		})
	}
}

func BenchmarkHit(b *testing.B) {
	m := newCache(b, mem.NewFS(nil), 1, xlator.Options{"md-cache-timeout": "600"})
	g := fop.NewGFID()
	m.Do(b.Context(), &fop.Mkdir{Parent: fop.RootGFID, Name: "d", Mode: 0o755,
		Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}})
	for _, req := range []fop.Request{&fop.Stat{GFID: g}, &fop.Lookup{Parent: fop.RootGFID, Name: "d"}} {
		b.Run(req.Op().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Do(context.Background(), req)
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	g := fop.NewGFID()
	reply := &fop.WriteReply{Size: 1, Post: fop.Iatt{GFID: g, Flags: fop.IattAll, Mode: fop.ModeRegular}}
	m := newCache(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }), 1, nil)
	r := &fop.Write{GFID: g, Data: []byte("x")}
	b.ReportAllocs()
	for b.Loop() {
		m.Do(context.Background(), r)
	}
}

// TestDirectories: a directory in which names were changed through this client is
// known afterwards, as the replies told it.
func TestDirectories(t *testing.T) {
	brick := mem.NewFS(nil)
	s := &stage{T: t, brick: brick, below: &counted{Handler: brick}}
	s.m = newCache(t, s.below, 1, nil)
	root := fop.RootGFID
	d, h := s.fresh()
	s.must(s.m, &fop.Mkdir{Header: h, Parent: root, Name: "d", Mode: 0o755})
	_, h = s.fresh()
	for _, req := range []fop.Request{
		&fop.Mknod{Header: h, Parent: root, Name: "a", Mode: fop.ModeRegular | 0o644},
		&fop.Rename{OldParent: root, OldName: "a", NewParent: root, NewName: "b"},
		&fop.Rename{OldParent: root, OldName: "b", NewParent: d, NewName: "b"},
		&fop.Rename{OldParent: d, OldName: "b", NewParent: d, NewName: "a"},
		&fop.Unlink{Parent: d, Name: "a"},
	} {
		if r, ok := req.(*fop.Rename); ok {
			// What is replaced is known, as when a kernel asks.
			s.m.Do(t.Context(), &fop.Lookup{Parent: r.NewParent, Name: r.NewName})
		}
		s.must(s.m, req)
		for _, g := range []fop.GFID{root, d} {
			want := s.must(brick, &fop.Stat{GFID: g}).(*fop.StatReply).Stat
			before := s.below.n.Load()
			got := s.must(s.m, &fop.Stat{GFID: g}).(*fop.StatReply).Stat
			if got != want {
				t.Errorf("after %v: %+v, want %+v", req.Op(), got, want)
			}
			if s.below.n.Load() != before {
				t.Errorf("after %v: the brick was asked", req.Op())
			}
		}
	}
}
