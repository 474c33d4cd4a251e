package iocache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

func over(t testing.TB, h fop.Handler, o xlator.Options) *cache {
	t.Helper()
	x, err := New(xlator.Config{Children: []xlator.Child{{Handler: h}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return x.(*cache)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return over(t, mem.NewFS(nil), nil) },
		conformance.Options{Locks: true, Devices: true})
}

type watched struct {
	fop.Handler
	mu           sync.Mutex
	reads, stats int
	during       func() // something that happens while a read is under way
}

func (w *watched) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	w.mu.Lock()
	during := func() {}
	switch req.(type) {
	case *fop.Read:
		w.reads++
		if w.during != nil {
			during, w.during = w.during, nil
		}
	case *fop.Fstat:
		w.stats++
	}
	w.mu.Unlock()
	reply, err := w.Handler.Do(ctx, req)
	during()
	return reply, err
}

type fixture struct {
	*testing.T
	w   *watched
	x   *cache
	now time.Time
}

func setup(t *testing.T, o xlator.Options) *fixture {
	x := &fixture{T: t, w: &watched{Handler: mem.NewFS(nil)}, now: time.Now()}
	x.x = over(t, x.w, o)
	x.x.now = func() time.Time { return x.now }
	return x
}

func (x *fixture) do(h fop.Handler, req fop.Request) {
	x.Helper()
	if _, err := h.Do(x.Context(), req); err != nil {
		x.Fatal(err)
	}
}

func (x *fixture) file(name string, data []byte) *fop.Fd {
	x.Helper()
	fd := &fop.Fd{GFID: fop.NewGFID(), Flags: fop.ORdwr}
	x.do(x.x, &fop.Create{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fd.GFID)})},
		Parent: fop.RootGFID, Name: name, Flags: fop.ORdwr | fop.OCreate, Mode: 0o644, Fd: fd})
	if len(data) > 0 {
		x.do(x.x, &fop.Write{GFID: fd.GFID, Fd: fd, Data: data})
	}
	x.Cleanup(func() { x.x.Do(context.Background(), &fop.Release{GFID: fd.GFID, Fd: fd}) })
	return fd
}

func (x *fixture) reads(fd *fop.Fd, off, size int, data []byte) {
	x.Helper()
	r, err := fop.Call(x.Context(), x.x, &fop.Read{GFID: fd.GFID, Fd: fd, Offset: uint64(off), Size: uint32(size)})
	if err != nil {
		x.Fatal(err)
	}
	end := min(off+size, len(data))
	if !bytes.Equal(r.Data, data[min(off, end):end]) || r.EOF != (off+size >= len(data)) || r.Stat.GFID != fd.GFID {
		x.Fatalf("read of %d at %d: %d bytes, EOF %v", size, off, len(r.Data), r.EOF)
	}
}

// asked reports how many reads and stats the child has seen since.
func (x *fixture) asked(reads, stats int, what string) {
	x.Helper()
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.w.reads != reads || x.w.stats != stats {
		x.Errorf("%s: the child sees %d reads and %d stats, want %d and %d", what, x.w.reads, x.w.stats, reads, stats)
	}
	x.w.reads, x.w.stats = 0, 0
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{2}).Read(b)
	return b
}

func TestServes(t *testing.T) {
	x := setup(t, nil)
	data := noise(3*pageSize + 1000)
	fd := x.file("f", data)
	x.reads(fd, 0, 4096, data)
	x.asked(1, 0, "the first read")
	x.reads(fd, 4096, 100000, data)
	x.asked(0, 0, "the same page")
	x.reads(fd, 100000, 300000, data)
	x.asked(4, 0, "a read across pages")
	for off := 0; off < len(data); off += 50000 {
		x.reads(fd, off, 70000, data)
	}
	x.asked(0, 0, "all of it")
	x.reads(fd, len(data)+5, 10, data)
	x.asked(1, 0, "behind the end")

	x.now = x.now.Add(1500 * time.Millisecond)
	x.reads(fd, 0, 4096, data)
	x.reads(fd, 10, 4096, data)
	x.asked(0, 1, "after the timeout")

	// Another client changes it: seen after the timeout.
	other := []byte("another")
	copy(data, other)
	x.do(x.w.Handler, &fop.Write{GFID: fd.GFID, Data: other})
	x.now = x.now.Add(1500 * time.Millisecond)
	x.reads(fd, 0, 4096, data)
	x.asked(1, 1, "after a change")

	// At once if the brick tells, or after a lock.
	copy(data, "once more")
	x.do(x.w.Handler, &fop.Write{GFID: fd.GFID, Data: []byte("once more")})
	x.x.ChildEvent("c", fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Kind: fop.UpcallInvalidate, GFID: fd.GFID}})
	x.reads(fd, 0, 4096, data)
	copy(data, "and again")
	x.do(x.w.Handler, &fop.Write{GFID: fd.GFID, Data: []byte("and again")})
	x.do(x.x, &fop.Lk{Header: fop.Header{Cred: fop.Cred{Owner: "me"}}, GFID: fd.GFID, Fd: fd, Cmd: fop.LkSet, Type: fop.LockRead, Flock: fop.Flock{Owner: "me"}})
	x.reads(fd, 0, 4096, data)
}

// TestChanges: whatever is done through this mount shows at once.
func TestChanges(t *testing.T) {
	x := setup(t, nil)
	data := noise(2 * pageSize)
	fd := x.file("f", data)
	x.reads(fd, 0, len(data), data)
	for i, req := range []fop.Request{
		&fop.Write{GFID: fd.GFID, Fd: fd, Offset: 10, Data: make([]byte, 50)},
		&fop.Zerofill{GFID: fd.GFID, Fd: fd, Offset: 100, Size: 50},
		&fop.Discard{GFID: fd.GFID, Fd: fd, Offset: 200, Size: 50},
		&fop.CopyFileRange{GFID: fd.GFID, Fd: fd, Dst: fd.GFID, DstFd: fd, Offset: 10, DstOffset: 300, Size: 50},
	} {
		at := []int{10, 100, 200, 300}[i]
		clear(data[at : at+50])
		if i%2 == 0 {
			x.do(x.x, req)
		} else if _, err := fop.Start(t.Context(), x.x, req).Wait(); err != nil {
			t.Fatal(err)
		}
		x.reads(fd, 0, len(data), data)
	}
	data = data[:1000]
	x.do(x.x, &fop.Truncate{GFID: fd.GFID, Offset: 1000})
	x.reads(fd, 0, 4096, data)

	// A write that comes while a page is being read: the page is not kept.
	x.x.changed(fd.GFID)
	x.w.during = func() { x.do(x.x, &fop.Write{GFID: fd.GFID, Fd: fd, Data: []byte("meanwhile")}) }
	x.reads(fd, 0, 500, data)
	copy(data, "meanwhile")
	x.reads(fd, 0, 500, data)
}

func TestLimits(t *testing.T) {
	x := setup(t, xlator.Options{"cache-size": "4MB", "min-file-size": "100", "max-file-size": "1MB", "priority": "*.keep:5, *.tmp:0"})
	small, large := x.file("s", noise(50)), x.file("l", noise(1<<20+1))
	x.reads(small, 0, 50, noise(50))
	x.reads(large, 0, 10, noise(1<<20+1))
	x.reads(small, 0, 50, noise(50))
	x.reads(large, 0, 10, noise(1<<20+1))
	if n, _, _ := x.x.store.stats(); n != 0 {
		t.Errorf("%d pages of files that are not to be kept", n)
	}
	keep, page := x.file("a.keep", noise(pageSize)), noise(pageSize)
	x.reads(keep, 0, pageSize, page)
	var files []*fop.Fd
	for i := range 60 {
		name := fmt.Sprint("f", i)
		if i == 20 {
			name = "x.tmp"
		}
		fd := x.file(name, page)
		files = append(files, fd)
		x.reads(fd, 0, pageSize, page)
		if _, bytes, most := x.x.store.stats(); bytes > most {
			t.Fatalf("%d bytes are kept, of %d", bytes, most)
		}
		if i == 31 { // the 33rd page: the one with the least priority went
			x.asked(32+1+4, 0, "filling")
			x.reads(files[0], 0, pageSize, page)
			x.asked(0, 0, "the oldest")
		}
	}
	x.w.mu.Lock()
	x.w.reads = 0
	x.w.mu.Unlock()
	x.reads(keep, 0, pageSize, page)
	x.reads(files[59], 0, pageSize, page)
	x.asked(0, 0, "kept ones")
	x.reads(files[20], 0, pageSize, page)
	x.reads(files[3], 0, pageSize, page)
	x.asked(2, 0, "dropped ones")
	if n := x.x.objects.Len(); n > 32+64 {
		t.Errorf("%d objects are remembered", n)
	}
	var dump bytes.Buffer
	x.x.Dump(&dump)
	if !bytes.Contains(dump.Bytes(), []byte("cache_size=4194304\ncache_used=4194304\npages=32\n")) {
		t.Errorf("dump:\n%s", &dump)
	}
}

func TestOptions(t *testing.T) {
	x := over(t, mem.NewFS(nil), nil)
	for _, o := range []xlator.Options{
		{"min-file-size": "2MB", "max-file-size": "1MB"}, {"priority": "*.c"}, {"priority": "/dir/*:3"}, {"priority": "[:3"}, {"priority": "*.c:-1"},
	} {
		if err := x.Reconfigure(o); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", o, err)
		}
	}
}

// TestRandom reads and writes by several goroutines, each in a file of its own,
// with a cache that is too small.
func TestRandom(t *testing.T) {
	x := setup(t, xlator.Options{"cache-size": "4MB"})
	x.x.now = time.Now
	var wg sync.WaitGroup
	for i := range 4 {
		data := make([]byte, 2<<20)
		fd := x.file(fmt.Sprint("f", i), data)
		rnd := rand.New(rand.NewPCG(rand.Uint64(), 1))
		wg.Go(func() {
			for range 400 {
				off, n := rnd.IntN(len(data)-300000), 1+rnd.IntN(300000)
				if rnd.IntN(4) == 0 {
					n = 1 + n/20
					for j := range data[off : off+n] {
						data[off+j] = byte(rnd.Uint32())
					}
					if _, err := x.x.Do(t.Context(), &fop.Write{GFID: fd.GFID, Fd: fd, Offset: uint64(off), Data: data[off : off+n]}); err != nil {
						t.Error(err)
					}
					continue
				}
				r, err := fop.Call(t.Context(), x.x, &fop.Read{GFID: fd.GFID, Fd: fd, Offset: uint64(off), Size: uint32(n)})
				if err != nil || !bytes.Equal(r.Data, data[off:off+n]) {
					t.Errorf("file %d: read of %d at %d is wrong: %v", i, n, off, err)
					return
				}
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
	x := over(b, &still{&fop.ReadReply{}}, nil)
	ctx := b.Context()
	for name, req := range map[string]fop.Request{
		"stat": &fop.Stat{GFID: fop.NewGFID()}, "write": &fop.Write{GFID: fop.NewGFID(), Data: make([]byte, 4096)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Do(ctx, req)
			}
		})
	}
}

func BenchmarkHit(b *testing.B) {
	h := mem.NewFS(nil)
	x := over(b, h, xlator.Options{"cache-timeout": "60"})
	fd := &fop.Fd{GFID: fop.NewGFID(), Flags: fop.ORdwr}
	x.Do(b.Context(), &fop.Create{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fd.GFID)})},
		Parent: fop.RootGFID, Name: "f", Flags: fop.ORdwr | fop.OCreate, Mode: 0o644, Fd: fd})
	x.Do(b.Context(), &fop.Write{GFID: fd.GFID, Fd: fd, Data: make([]byte, pageSize)})
	req := &fop.Read{GFID: fd.GFID, Fd: fd, Size: 4096, Into: make([]byte, 4096)}
	b.ReportAllocs()
	for b.Loop() {
		x.Do(b.Context(), req)
	}
}
