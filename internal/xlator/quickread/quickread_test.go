package quickread

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// brick is a file system that writes down what it is asked: L a lookup, C one
// that asks for contents, R a read.
type brick struct {
	fop.Handler
	asked []string
}

func (b *brick) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Lookup:
		if b.asked = append(b.asked, "L"); r.XData.Has(fop.KeyContent) {
			b.asked[len(b.asked)-1] = "C"
		}
	case *fop.Read:
		b.asked = append(b.asked, "R")
	}
	return b.Handler.Do(ctx, req)
}

type stage struct {
	*testing.T
	brick *brick
	q     *quickRead
	fds   map[string]*fop.Fd
}

func newStage(t *testing.T, o xlator.Options, names ...string) *stage {
	s := &stage{T: t, brick: &brick{Handler: mem.NewFS(nil)}, fds: map[string]*fop.Fd{}}
	s.q = newQuickRead(t, s.brick, o)
	for _, n := range names {
		g := fop.NewGFID()
		s.do(s.brick, &fop.Mknod{Parent: fop.RootGFID, Name: n, Mode: fop.ModeRegular | 0o644,
			Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}})
		s.do(s.brick, &fop.Write{GFID: g, Data: []byte("v0 of " + n)})
		s.fds[n] = &fop.Fd{GFID: g, Flags: fop.ORdwr}
		s.do(s.brick, &fop.Open{GFID: g, Flags: fop.ORdwr, Fd: s.fds[n]})
	}
	return s
}

func (s *stage) do(h fop.Handler, req fop.Request) fop.Reply {
	s.Helper()
	r, err := h.Do(s.Context(), req)
	if err != nil {
		s.Fatalf("%v: %v", req.Op(), err)
	}
	return r
}

// TestPlays: ?a looks a up, !a with the hint that it will be read; a reads it; w
// writes a through this client, W by another one; x is a notice about a, t a
// second that passes, s a stat of a. Expected are the version read, and what the
// brick was asked.
func TestPlays(t *testing.T) {
	for _, c := range []struct{ play, read, asked string }{
		{"?a a a", "v0 v0", "C"},
		{"!a a", "v0", "C"},
		{"a", "v0", "R"},
		{"!a w a", "v1", "C R"},
		{"!a W a t a a", "v0 v1 v1", "C R R"},
		{"!a W x a", "v1", "C R"},
		{"!a t a", "v0", "C R"},
		{"!a t s a", "v0", "C"}, // the attributes are what they were
		{"!a W s a", "v1", "C R"},
		{"!a W !a a", "v1", "C C"},
	} {
		s := newStage(t, nil, "a")
		fd := s.fds["a"]
		version := 0
		var read []string
		for _, step := range strings.Fields(c.play) {
			l := &fop.Lookup{Parent: fop.RootGFID, Name: step[1:]}
			write := func(h fop.Handler) {
				version++
				s.do(h, &fop.Write{GFID: fd.GFID, Data: fmt.Appendf(nil, "v%d of a", version)})
			}
			switch {
			case step[0] == '!':
				l.XData = fop.NewDict(fop.Pair{Key: fop.KeyContent, Val: fop.Uint(1 << 20)})
				fallthrough
			case step[0] == '?':
				s.do(s.q, l)
			case step == "w":
				write(s.q)
			case step == "W":
				write(s.brick)
			case step == "x":
				s.q.ChildEvent("", fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: fd.GFID}})
			case step == "t":
				s.q.base = s.q.base.Add(-time.Second)
			case step == "s":
				s.do(s.q, &fop.Stat{GFID: fd.GFID})
			default:
				r := s.do(s.q, &fop.Read{GFID: fd.GFID, Fd: fd, Size: 100}).(*fop.ReadReply)
				if string(r.Data[2:]) != " of a" || !r.EOF {
					t.Errorf("%s: read %q", c.play, r.Data)
				}
				read = append(read, string(r.Data[:2]))
			}
		}
		if got := strings.Join(read, " "); got != c.read {
			t.Errorf("%s: read %s, want %s", c.play, got, c.read)
		}
		if got := strings.Join(s.brick.asked, " "); got != c.asked {
			t.Errorf("%s: asked %s, want %s", c.play, got, c.asked)
		}
	}
}

// TestWorth: files that are only looked at soon come without their contents, and
// with them again once they are read.
func TestWorth(t *testing.T) {
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprint("f", i))
	}
	s := newStage(t, nil, names...)
	look := func() {
		for _, n := range names {
			s.do(s.q, &fop.Lookup{Parent: fop.RootGFID, Name: n})
		}
	}
	look()
	look()
	if n := strings.Count(strings.Join(s.brick.asked, ""), "C"); n != firstCredit {
		t.Errorf("contents came with %d lookups, want %d", n, firstCredit)
	}
	s.q.store.clear()
	for _, n := range names {
		s.do(s.q, &fop.Read{GFID: s.fds[n].GFID, Fd: s.fds[n], Size: 100})
	}
	s.brick.asked = nil
	look()
	if slices.Contains(s.brick.asked, "L") {
		t.Errorf("after files were read, lookups ask %s", s.brick.asked)
	}
}

// TestBounds: cache-size bounds the contents, max-file-size the files.
func TestBounds(t *testing.T) {
	s := newStage(t, xlator.Options{"cache-size": "3KB", "max-file-size": "8"}, "a", "b", "c", "d", "e", "f", "longer")
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "longer"} {
		s.do(s.q, &fop.Lookup{Parent: fop.RootGFID, Name: n, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyContent, Val: fop.Uint(1 << 20)})}})
	}
	files, size := s.q.store.figures()
	if files != 5 || size > 3<<10 {
		t.Errorf("%d files, %d bytes", files, size)
	}
	if _, _, _, ok := s.q.store.get(s.fds["longer"].GFID, 0); ok {
		t.Error("a file larger than max-file-size is kept")
	}
	if err := s.q.Reconfigure(xlator.Options{"max-file-size": "0"}); err != nil {
		t.Fatal(err)
	}
	s.brick.asked = nil
	s.do(s.q, &fop.Lookup{Parent: fop.RootGFID, Name: "a", Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyContent, Val: fop.Uint(1 << 20)})}})
	if s.brick.asked[0] != "L" {
		t.Error("with max-file-size 0 contents are asked for")
	}
	var dump strings.Builder
	s.q.Dump(&dump)
	if !strings.Contains(dump.String(), "max_file_size=0\n") {
		t.Errorf("dump:\n%s", &dump)
	}
}

func BenchmarkHit(b *testing.B) {
	g := fop.NewGFID()
	q := newQuickRead(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { panic("asked") }), nil)
	q.store.put(item{gfid: g, data: make([]byte, 4096), until: 1 << 62, stat: fop.Iatt{GFID: g, Size: 4096}})
	r := &fop.Read{GFID: g, Fd: &fop.Fd{GFID: g}, Size: 4096, Into: make([]byte, 4096)}
	b.ReportAllocs()
	for b.Loop() {
		q.Do(context.Background(), r)
	}
}

func BenchmarkPass(b *testing.B) {
	reply := &fop.CommonReply{}
	q := newQuickRead(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }), nil)
	r := &fop.Flush{GFID: fop.RootGFID}
	b.ReportAllocs()
	for b.Loop() {
		q.Do(context.Background(), r)
	}
}
