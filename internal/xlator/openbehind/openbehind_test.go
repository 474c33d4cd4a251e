package openbehind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func over(t testing.TB, h fop.Handler, o xlator.Options) *behind {
	t.Helper()
	x, err := New(xlator.Config{Children: []xlator.Child{{Handler: h}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	b := x.(*behind)
	t.Cleanup(func() {
		b.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.waiting) != 0 || len(b.open) != 0 || b.n.Load() != 0 {
			t.Errorf("%d files wait, %d are open at the end", len(b.waiting), len(b.open))
		}
	})
	return b
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]xlator.Options{
		"defaults":   nil,
		"background": {"lazy-open": "off"},
		"anonymous":  {"read-after-open": "off"},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return over(t, mem.NewFS(nil), o) },
				conformance.Options{Locks: true, Devices: true})
		})
	}
}

// watched is a child that tells what it sees, and whose opens may fail.
type watched struct {
	fop.Handler
	mu   sync.Mutex
	seen []string
	fail error
}

func (w *watched) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	w.mu.Lock()
	text := req.Op().String()
	if r, ok := req.(*fop.Read); ok && r.Fd == nil {
		text += " anonymous"
	}
	w.seen = append(w.seen, text)
	fail := w.fail
	w.mu.Unlock()
	if _, ok := req.(*fop.Open); ok && fail != nil {
		return nil, fail
	}
	return w.Handler.Do(ctx, req)
}

type fixture struct {
	*testing.T
	w *watched
	b *behind
	g fop.GFID // of the file "f"
}

func setup(t *testing.T, o xlator.Options) *fixture {
	x := &fixture{T: t, w: &watched{Handler: mem.NewFS(nil)}}
	x.b = over(t, x.w, o)
	x.g = x.file("f")
	x.sees("CREATE, WRITE, RELEASE")
	return x
}

func (x *fixture) do(req fop.Request) error {
	_, err := x.b.Do(x.Context(), req)
	return err
}

func (x *fixture) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *fixture) file(name string) fop.GFID {
	fd := &fop.Fd{GFID: fop.NewGFID(), Flags: fop.ORdwr}
	x.must(x.do(&fop.Create{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fd.GFID)})},
		Parent: fop.RootGFID, Name: name, Flags: fop.ORdwr | fop.OCreate | fop.OExcl, Mode: 0o644, Fd: fd}))
	x.must(x.do(&fop.Write{GFID: fd.GFID, Fd: fd, Data: []byte("hello")}))
	x.must(x.do(&fop.Release{GFID: fd.GFID, Fd: fd}))
	return fd.GFID
}

func (x *fixture) open(flags uint32) *fop.Fd {
	x.Helper()
	fd := &fop.Fd{GFID: x.g, Flags: flags}
	x.must(x.do(&fop.Open{GFID: x.g, Flags: flags, Fd: fd}))
	return fd
}

func (x *fixture) read(fd *fop.Fd) (string, error) {
	r, err := fop.Call(x.Context(), x.b, &fop.Read{GFID: x.g, Fd: fd, Size: 100})
	if err != nil {
		return "", err
	}
	return string(r.Data), nil
}

func (x *fixture) reads(fd *fop.Fd, want string) {
	x.Helper()
	if got, err := x.read(fd); got != want || err != nil {
		x.Errorf("read %q, %v", got, err)
	}
}

func (x *fixture) close(fd *fop.Fd) {
	x.Helper()
	x.must(x.do(&fop.Flush{GFID: x.g, Fd: fd}))
	x.must(x.do(&fop.Release{GFID: x.g, Fd: fd}))
}

func (x *fixture) sees(want string) {
	x.Helper()
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if got := strings.Join(x.w.seen, ", "); got != want {
		x.Errorf("the child sees %q, want %q", got, want)
	}
	x.w.seen = nil
}

func TestLazy(t *testing.T) {
	x := setup(t, nil)
	fd := x.open(fop.ORdonly)
	x.close(fd)
	x.sees("")

	fd = x.open(fop.ORdonly)
	x.reads(fd, "hello")
	x.reads(fd, "hello")
	x.close(fd)
	x.sees("OPEN, READ, READ, FLUSH, RELEASE")

	fd = x.open(fop.ORdwr)
	x.must(x.do(&fop.Fstat{GFID: x.g, Fd: fd}))
	x.sees("STAT")
	x.must(x.do(&fop.Write{GFID: x.g, Fd: fd, Data: []byte("H")}))
	second := x.open(fop.ORdonly)
	x.close(second)
	x.close(fd)
	x.sees("OPEN, WRITE, OPEN, FLUSH, RELEASE, FLUSH, RELEASE")

	// A second opener has the first one's open done.
	fd, second = x.open(fop.ORdonly), x.open(fop.ORdonly)
	x.sees("OPEN, OPEN")
	x.close(fd)
	x.close(second)
	x.sees("FLUSH, RELEASE, FLUSH, RELEASE")

	x.close(x.open(fop.ORdwr | fop.OTrunc))
	x.sees("OPEN, FLUSH, RELEASE")
	fd = &fop.Fd{GFID: x.g}
	x.must(x.do(&fop.Open{GFID: x.g, Fd: fd, Now: true}))
	x.sees("OPEN")
	x.close(fd)
}

func TestAnonymous(t *testing.T) {
	for _, o := range []xlator.Options{{"use-anonymous-fd": "on"}, {"read-after-open": "off"}} {
		x := setup(t, o)
		fd := x.open(fop.ORdonly)
		x.reads(fd, "hello")
		x.close(fd)
		x.sees("READ anonymous")
	}
}

// TestUnlinked: what is open stays readable when its name goes, whatever takes
// it.
func TestUnlinked(t *testing.T) {
	for _, o := range []xlator.Options{nil, {"read-after-open": "off"}, {"lazy-open": "off"}} {
		for name, req := range map[string]fop.Request{
			"unlink": &fop.Unlink{Parent: fop.RootGFID, Name: "f"},
			"rename": &fop.Rename{OldParent: fop.RootGFID, OldName: "g", NewParent: fop.RootGFID, NewName: "f"},
		} {
			t.Run(name, func(t *testing.T) {
				x := setup(t, o)
				x.file("g")
				fd := x.open(fop.ORdonly)
				x.must(fopStart(x, req))
				x.reads(fd, "hello")
				if a, err := fop.Call(t.Context(), x.b, &fop.Fstat{GFID: x.g, Fd: fd}); err != nil || a.Stat.Nlink != 0 {
					t.Errorf("%+v, %v", a, err)
				}
				x.close(fd)
			})
		}
	}
	// A graph that goes leaves nothing unopened behind.
	x := setup(t, nil)
	fd := x.open(fop.ORdonly)
	x.sees("")
	x.must(x.b.Quiesce(t.Context()))
	x.sees("OPEN")
	late := x.open(fop.ORdonly)
	x.sees("OPEN")
	x.close(fd)
	x.close(late)
}

func fopStart(x *fixture, req fop.Request) error {
	_, err := fop.Start(x.Context(), x.b, req).Wait()
	return err
}

// TestErrors: what the brick says shows with the first use, and again.
func TestErrors(t *testing.T) {
	x := setup(t, nil)
	x.w.fail = syscall.EACCES
	fd := x.open(fop.ORdonly)
	for range 2 {
		if _, err := x.read(fd); !errors.Is(err, syscall.EACCES) {
			t.Errorf("read: %v", err)
		}
	}
	x.w.fail = nil
	x.reads(fd, "hello")
	x.close(fd)

	x.w.fail = syscall.EACCES
	fd = x.open(fop.ORdwr)
	if err := x.do(&fop.Unlink{Parent: fop.RootGFID, Name: "nothing"}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("an unlink fails with %v because of a file that cannot be opened", err)
	}
	if err := x.do(&fop.Write{GFID: x.g, Fd: fd, Data: []byte("x")}); !errors.Is(err, syscall.EACCES) {
		t.Errorf("write: %v", err)
	}
	x.must(x.do(&fop.Release{GFID: x.g, Fd: fd}))
	x.w.fail = nil

	ro := x.open(fop.ORdonly)
	if err := x.do(&fop.Write{GFID: x.g, Fd: ro, Data: []byte("x")}); !errors.Is(err, syscall.EBADF) {
		t.Errorf("write to a file open for reading: %v", err)
	}
	x.close(ro)
}

// TestBounded: no more than maxWaiting files wait, and many may use one at once.
func TestBounded(t *testing.T) {
	x := setup(t, nil)
	var fds []*fop.Fd
	for i := range maxWaiting + 10 {
		g := x.file(fmt.Sprint("file", i))
		fd := &fop.Fd{GFID: g}
		x.must(x.do(&fop.Open{GFID: g, Fd: fd}))
		fds = append(fds, fd)
	}
	var dump bytes.Buffer
	x.b.Dump(&dump)
	if n := x.b.n.Load(); n != maxWaiting || !strings.Contains(dump.String(), "not_opened_yet=1024") {
		t.Errorf("%d files wait\n%s", n, &dump)
	}
	var wg sync.WaitGroup
	x.w.mu.Lock()
	x.w.seen = nil
	x.w.mu.Unlock()
	for range 8 {
		wg.Go(func() {
			if _, err := fop.Call(t.Context(), x.b, &fop.Read{GFID: fds[0].GFID, Fd: fds[0], Size: 5}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	x.w.mu.Lock()
	if got := strings.Join(x.w.seen, ", "); strings.Count(got, "OPEN") != 1 {
		t.Errorf("the child sees %s", got)
	}
	x.w.mu.Unlock()
	for _, fd := range fds {
		x.must(x.do(&fop.Release{GFID: fd.GFID, Fd: fd}))
	}
}

type still struct{ rep fop.Reply }

func (s *still) Do(context.Context, fop.Request) (fop.Reply, error) { return s.rep, nil }
func (s *still) Start(context.Context, fop.Request) fop.Pending     { return s }
func (s *still) Wait() (fop.Reply, error)                           { return s.rep, nil }

func TestPassThroughAllocates(t *testing.T) {
	b := over(t, &still{&fop.OpenReply{}}, nil)
	fd := &fop.Fd{GFID: fop.NewGFID()}
	ctx := t.Context()
	b.Do(ctx, &fop.Open{GFID: fd.GFID, Fd: fd})
	req := &fop.Read{GFID: fd.GFID, Fd: fd, Size: 1}
	for range 2 {
		if n := testing.AllocsPerRun(100, func() { b.Do(ctx, req); b.Start(ctx, req).Wait() }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	b.Do(ctx, &fop.Release{GFID: fd.GFID, Fd: fd})
}

func BenchmarkPassThrough(b *testing.B) {
	h := over(b, &still{&fop.OpenReply{}}, nil)
	fd := &fop.Fd{GFID: fop.NewGFID()}
	h.Do(b.Context(), &fop.Open{GFID: fd.GFID, Fd: fd})
	req := &fop.Read{GFID: fd.GFID, Fd: fd, Size: 1}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		h.Do(ctx, req)
	}
	h.Do(ctx, &fop.Release{GFID: fd.GFID, Fd: fd})
}
