package readahead

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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

func over(t testing.TB, h fop.Handler, o xlator.Options) *ahead {
	t.Helper()
	x, err := New(xlator.Config{Children: []xlator.Child{{Handler: h}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	a := x.(*ahead)
	t.Cleanup(func() {
		a.Close()
		if n := a.open.Load(); n != 0 {
			t.Errorf("%d files are open at the end", n)
		}
	})
	return a
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]xlator.Options{"defaults": nil, "small": {"page-size": "4KB", "page-count": "16"}} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return over(t, mem.NewFS(nil), o) },
				conformance.Options{Locks: true, Devices: true})
		})
	}
}

// TestPlan: reads in pages of 10 bytes, and what is read ahead for each.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		eof   uint64
		reads string // off+size → what is read ahead, "!" if a run was broken
	}{
		{"in order", 0, "0+10: ; 10+10: 20+10 30+10; 20+10: 40+10 50+10; 30+10: 60+10 70+10; 40+10: 80+10; 50+10: 90+10"},
		{"small steps", 0, "0+4: ; 4+4: 8+10; 8+4: ; 12+4: 18+10; 16+4: 28+10; 20+4: "},
		{"large steps", 0, "0+25: ; 25+25: 50+10 60+10 70+10 80+10; 50+25: 90+10 100+10"},
		{"not in order", 0, "0+10: ; 50+10: !; 60+10: ; 70+10: 80+10 90+10; 10+10: !; 30+10: !"},
		{"to the end", 25, "0+10: ; 10+10: 20+10; 20+10: "},
	} {
		r := run{eof: c.eof}
		for _, step := range strings.Split(c.reads, "; ") {
			read, want, _ := strings.Cut(step, ":")
			var off, size uint64
			fmt.Sscanf(strings.TrimSpace(read), "%d+%d", &off, &size)
			todo, again := r.plan(off, size, &rules{page: 10, most: 4})
			var got []string
			for _, s := range todo {
				got = append(got, fmt.Sprintf("%d+%d", s.off, s.size))
			}
			if again {
				got = append(got, "!")
			}
			if g := strings.Join(got, " "); g != strings.TrimSpace(want) {
				t.Errorf("%s: a read of %s has %q read ahead, want %q", c.name, strings.TrimSpace(read), g, strings.TrimSpace(want))
			}
		}
	}
}

type watched struct {
	fop.Handler
	mu   sync.Mutex
	seen []string
	fail error
}

func (w *watched) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if r, ok := req.(*fop.Read); ok {
		w.mu.Lock()
		w.seen = append(w.seen, fmt.Sprintf("%dK+%dK", r.Offset>>10, r.Size>>10))
		fail := w.fail
		w.mu.Unlock()
		if fail != nil {
			return nil, fail
		}
	}
	return w.Handler.Do(ctx, req)
}

func (w *watched) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

type fixture struct {
	*testing.T
	w    *watched
	a    *ahead
	g    fop.GFID
	data []byte
}

func setup(t *testing.T, o xlator.Options, size int) *fixture {
	x := &fixture{T: t, w: &watched{Handler: mem.NewFS(nil)}, data: make([]byte, size)}
	x.a = over(t, x.w, o)
	for i := range x.data {
		x.data[i] = byte(i >> 3 * 7)
	}
	fd := &fop.Fd{GFID: fop.NewGFID(), Flags: fop.OWronly}
	x.g = fd.GFID
	x.must(x.do(&fop.Create{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fd.GFID)})},
		Parent: fop.RootGFID, Name: "f", Flags: fop.OWronly | fop.OCreate, Mode: 0o644, Fd: fd}))
	x.must(x.do(&fop.Write{GFID: fd.GFID, Fd: fd, Data: x.data}))
	x.must(x.do(&fop.Release{GFID: fd.GFID, Fd: fd}))
	return x
}

func (x *fixture) do(req fop.Request) error {
	_, err := x.a.Do(x.Context(), req)
	return err
}

func (x *fixture) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *fixture) open(flags uint32) *fop.Fd {
	fd := &fop.Fd{GFID: x.g, Flags: flags}
	x.must(x.do(&fop.Open{GFID: x.g, Flags: flags, Fd: fd}))
	return fd
}

func (x *fixture) read(fd *fop.Fd, off, size int) {
	x.Helper()
	r, err := fop.Call(x.Context(), x.a, &fop.Read{GFID: x.g, Fd: fd, Offset: uint64(off), Size: uint32(size), Into: make([]byte, size)})
	if err != nil {
		x.Fatal(err)
	}
	end := min(off+size, len(x.data))
	want := x.data[min(off, end):end]
	if !bytes.Equal(r.Data, want) || r.EOF != (off+size >= len(x.data)) || r.Stat.GFID != x.g {
		x.Fatalf("read of %d at %d gives %d bytes, EOF %v, %v", size, off, len(r.Data), r.EOF, r.Stat.GFID)
	}
}

func (x *fixture) close(fd *fop.Fd) { x.must(x.do(&fop.Release{GFID: x.g, Fd: fd})) }

// TestSequential reads a file in order, by several sizes: the child sees pages,
// and hardly a read more.
func TestSequential(t *testing.T) {
	const size = 2<<20 + 12345
	for _, step := range []int{4 << 10, 64 << 10, 100000, 128 << 10, 1 << 20} {
		x := setup(t, nil, size)
		fd := x.open(fop.ORdonly)
		for off := 0; off < size+step; off += step {
			x.read(fd, off, step)
		}
		x.a.tasks.Wait()
		if n, most := x.w.count(), size/(128<<10)+2+size/step/4+3; n > most {
			t.Errorf("%d reads in steps of %d, want at most %d: %v", n, step, most, x.w.seen)
		}
		x.close(fd)
		if step == 64<<10 && x.a.counts.hits.Load() < 25 {
			t.Errorf("%d hits", x.a.counts.hits.Load())
		}
	}
}

// TestChanges: what was changed through this mount is read as it is.
func TestChanges(t *testing.T) {
	x := setup(t, nil, 1<<20)
	fd := x.open(fop.ORdwr)
	w := x.open(fop.OWronly)
	step := 32 << 10
	for i := range 16 {
		x.read(fd, i*step, step)
		at := (i + 1 + i%3) * step
		switch i % 4 {
		case 0:
			copy(x.data[at:], "written")
			x.must(x.do(&fop.Write{GFID: x.g, Fd: w, Offset: uint64(at), Data: []byte("written")}))
		case 1:
			copy(x.data[at:], "started")
			if _, err := fop.Start(t.Context(), x.a, &fop.Write{GFID: x.g, Fd: w, Offset: uint64(at), Data: []byte("started")}).Wait(); err != nil {
				t.Fatal(err)
			}
		case 2:
			clear(x.data[at : at+100])
			x.must(x.do(&fop.Zerofill{GFID: x.g, Fd: w, Offset: uint64(at), Size: 100}))
		case 3: // somebody else did, and the brick says so
			copy(x.data[at:], "another")
			x.a.child.Do(t.Context(), &fop.Write{GFID: x.g, Offset: uint64(at), Data: []byte("another")})
			x.a.ChildEvent("c", fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: x.g}})
		}
	}
	x.data = x.data[:700000]
	x.must(x.do(&fop.Truncate{GFID: x.g, Offset: 700000}))
	for off := 16 * step; off < 800000; off += step {
		x.read(fd, off, step)
	}
	x.close(fd)
	x.close(w)
}

// TestAge: what was read ahead long ago is not served.
func TestAge(t *testing.T) {
	x := setup(t, nil, 1<<20)
	fd := x.open(fop.ORdonly)
	x.read(fd, 0, 4096)
	x.read(fd, 4096, 4096)
	x.a.tasks.Wait()
	copy(x.data[8192:], "changed by another client")
	x.a.child.Do(t.Context(), &fop.Write{GFID: x.g, Offset: 8192, Data: []byte("changed by another client")})
	x.a.now = func() time.Time { return time.Now().Add(2 * maxAge) }
	x.read(fd, 8192, 4096)
	x.close(fd)
}

func TestErrors(t *testing.T) {
	x := setup(t, nil, 1<<20)
	fd := x.open(fop.ORdonly)
	x.read(fd, 0, 4096)
	x.w.fail = syscall.EIO
	if err := x.do(&fop.Read{GFID: x.g, Fd: fd, Offset: 4096, Size: 4096}); err != syscall.EIO {
		t.Error(err)
	}
	x.a.tasks.Wait()
	x.w.fail = nil
	for off := 8192; off < 100000; off += 4096 {
		x.read(fd, off, 4096)
	}
	x.close(fd)
}

// TestDirect: who wants no cache has none.
func TestDirect(t *testing.T) {
	for _, c := range []struct {
		flags uint32
		o     xlator.Options
	}{{fop.ORdonly | fop.ODirect, nil}, {fop.ORdonly, xlator.Options{"pass-through": "on"}}} {
		x := setup(t, c.o, 1<<20)
		fd := x.open(c.flags)
		for i := range 10 {
			x.read(fd, i*4096, 4096)
		}
		x.close(fd)
		if n := x.w.count(); n != 10 {
			t.Errorf("%#o %v: %d reads", c.flags, c.o, n)
		}
	}
}

// TestRandom reads and writes at random, by several goroutines, each in a part of
// its own.
func TestRandom(t *testing.T) {
	const part = 256 << 10
	x := setup(t, xlator.Options{"page-size": "16KB", "page-count": "8"}, 4*part)
	var wg sync.WaitGroup
	for i := range 4 {
		fd := x.open(fop.ORdwr)
		rnd := rand.New(rand.NewPCG(rand.Uint64(), 1))
		mine := x.data[i*part : (i+1)*part]
		wg.Go(func() {
			defer x.close(fd)
			off := 0
			for range 1500 {
				n := 1 + rnd.IntN(20000)
				if rnd.IntN(20) == 0 || off+n > part {
					off = rnd.IntN(part - 20000)
				}
				if rnd.IntN(5) == 0 {
					for j := range mine[off : off+n] {
						mine[off+j] = byte(rnd.Uint32())
					}
					if _, err := x.a.Do(t.Context(), &fop.Write{GFID: x.g, Fd: fd, Offset: uint64(i*part + off), Data: mine[off : off+n]}); err != nil {
						t.Error(err)
					}
					continue
				}
				r, err := fop.Call(t.Context(), x.a, &fop.Read{GFID: x.g, Fd: fd, Offset: uint64(i*part + off), Size: uint32(n)})
				if err != nil || !bytes.Equal(r.Data, mine[off:off+n]) {
					t.Errorf("read of %d at %d is wrong: %v", n, off, err)
					return
				}
				off += n
			}
		})
	}
	wg.Wait()
}

type still struct{ rep fop.Reply }

func (s *still) Do(context.Context, fop.Request) (fop.Reply, error) { return s.rep, nil }
func (s *still) Start(context.Context, fop.Request) fop.Pending     { return s }
func (s *still) Wait() (fop.Reply, error)                           { return s.rep, nil }

func BenchmarkPassThrough(b *testing.B) {
	a := over(b, &still{&fop.ReadReply{}}, nil)
	ctx := b.Context()
	for name, req := range map[string]fop.Request{
		"write": &fop.Write{GFID: fop.NewGFID(), Data: make([]byte, 4096)}, "lookup": &fop.Lookup{Name: "f"},
		"random": &fop.Read{GFID: fop.NewGFID(), Fd: &fop.Fd{}, Size: 4096},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.Do(ctx, req)
			}
		})
	}
}
