package nlcache

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newNL(t testing.TB, child fop.Handler, o xlator.Options) *nlCache {
	t.Helper()
	h, err := New(xlator.Config{Name: "v-nl-cache", Options: o, Log: slog.New(slog.DiscardHandler),
		Children: []xlator.Child{{Name: "below", Handler: child}}})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*nlCache)
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]xlator.Options{
		"positive": {"nl-cache-timeout": "600", "nl-cache-positive-entry": "on"},
		"tiny":     {"nl-cache-timeout": "600", "nl-cache-limit": "1KB", "nl-cache-positive-entry": "on"},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return newNL(t, mem.NewFS(nil), o) },
				conformance.Options{Locks: true, Devices: true})
		})
	}
}

// counted counts the lookups that come down.
type counted struct {
	fop.Handler
	lookups int
}

func (c *counted) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if req.Op() == fop.OpLookup {
		c.lookups++
	}
	return c.Handler.Do(ctx, req)
}

// TestPlays: which lookups reach the brick. "?a" looks for a, "+a" makes it,
// "-a" removes it, "a>b" moves it; "!" is a notice that another client changed
// the directory, "t" a minute that passes, "c" a change of permissions, "~?a"
// looks as somebody else, and "*+a" is another client making a. A lookup writes
// "a" if it was found, "-" if not, with a "." if the brick was not asked.
func TestPlays(t *testing.T) {
	for _, c := range []struct{ play, want string }{
		{"?a ?a", "- -."},
		{"?a +a ?a -a ?a", "- a -."},
		{"?a ~?a ~?a ?a", "- - -. -."},
		{"+a a>b ?a ?b", "- b"}, // two changes of one directory at a time
		{"?b +a a>b ?b", "- b"},
		{"?a *+a ?a ! ?a", "- -. a"},
		{"?a *+a t ?a", "- a"},
		{"?a c ?a", "- -"},
		{"?a ?b +a ?b", "- - -."},
		{"+d/ ?d/x ?d/y +d/x ?d/x -d/x ?d/x ~?d/x", "-. -. d/x -. -"},
		{"+d/ *+d/x ?d/x ! ?d/x", "-. d/x"},
	} {
		m := mem.NewFS(nil)
		below := &counted{Handler: m}
		n := newNL(t, below, xlator.Options{"nl-cache-positive-entry": "on"})
		dirs := map[string]fop.GFID{"": fop.RootGFID}
		split := func(p string) (fop.GFID, string) {
			i := strings.LastIndex(p, "/")
			return dirs[p[:max(i, 0)]], p[i+1:]
		}
		var got []string
		for _, step := range strings.Fields(c.play) {
			h := fop.Handler(n)
			head := fop.Header{}
			full := step
			if step[0] == '*' {
				h, step = m, step[1:]
			}
			if step[0] == '~' {
				head.Cred.UID, step = 7, step[1:]
			}
			g := fop.NewGFID()
			fresh := head
			fresh.XData = fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})
			dir, name := split(strings.Trim(step[1:], "/"))
			var err error
			switch from, to, moves := strings.Cut(step, ">"); {
			case moves:
				_, err = h.Do(t.Context(), &fop.Rename{OldParent: fop.RootGFID, OldName: from, NewParent: fop.RootGFID, NewName: to})
			case step == "!":
				for _, d := range dirs {
					n.ChildEvent("below", fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: d}})
				}
			case step == "t":
				n.base = n.base.Add(-time.Minute)
			case step == "c":
				_, err = h.Do(t.Context(), &fop.Setattr{GFID: fop.RootGFID, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o755}})
			case step[0] == '+' && step[len(step)-1] == '/':
				dirs[step[1:len(step)-1]] = g
				_, err = h.Do(t.Context(), &fop.Mkdir{Header: fresh, Parent: dir, Name: name, Mode: 0o755})
			case step[0] == '+':
				_, err = h.Do(t.Context(), &fop.Mknod{Header: fresh, Parent: dir, Name: name, Mode: fop.ModeRegular | 0o644})
			case step[0] == '-':
				_, err = h.Do(t.Context(), &fop.Unlink{Parent: dir, Name: name})
			case step[0] == '?':
				before := below.lookups
				_, e := h.Do(t.Context(), &fop.Lookup{Header: head, Parent: dir, Name: name})
				word := step[1:]
				if e != nil {
					if word = "-"; fop.Errno(e) != syscall.ENOENT {
						err = e
					}
				}
				if below.lookups == before {
					word += "."
				}
				got = append(got, word)
			}
			if err != nil {
				t.Fatalf("%s: %s: %v", c.play, full, err)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.play, s, c.want)
		}
	}
}

// TestLimit: many names and directories do not take more than they may.
func TestLimit(t *testing.T) {
	n := newNL(t, mem.NewFS(nil), xlator.Options{"nl-cache-limit": "64KB"})
	for d := range 20 {
		g := fop.NewGFID()
		n.Do(t.Context(), &fop.Mkdir{Parent: fop.RootGFID, Name: fmt.Sprint("d", d), Mode: 0o755,
			Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}})
		for i := range 100 {
			n.Do(t.Context(), &fop.Lookup{Parent: g, Name: fmt.Sprint("none", i)})
		}
	}
	if used := n.used.Load(); used > 64<<10 || used < 16<<10 {
		t.Errorf("%d bytes are used of 64 KiB", used)
	}
	var dump strings.Builder
	n.Dump(&dump)
	if !strings.Contains(dump.String(), "limit=65536\n") {
		t.Errorf("dump:\n%s", &dump)
	}
}

func BenchmarkHit(b *testing.B) {
	n := newNL(b, mem.NewFS(nil), nil)
	r := &fop.Lookup{Parent: fop.RootGFID, Name: "none"}
	n.Do(b.Context(), r)
	b.ReportAllocs()
	for b.Loop() {
		n.Do(context.Background(), r)
	}
}

func BenchmarkPass(b *testing.B) {
	reply := &fop.StatReply{}
	n := newNL(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }), nil)
	r := &fop.Stat{GFID: fop.RootGFID}
	b.ReportAllocs()
	for b.Loop() {
		n.Do(context.Background(), r)
	}
}
