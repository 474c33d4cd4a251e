package readdirahead

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAhead(t testing.TB, child fop.Handler, o xlator.Options) *ahead {
	t.Helper()
	h, err := New(xlator.Config{Name: "v-readdir-ahead", Options: o, Log: slog.New(slog.DiscardHandler),
		Children: []xlator.Child{{Name: "below", Handler: child}}})
	if err != nil {
		t.Fatal(err)
	}
	a := h.(*ahead)
	t.Cleanup(a.work.Wait)
	return a
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]xlator.Options{
		"default": nil,
		"small":   {"rda-request-size": "4096", "rda-high-wmark": "8192"},
		"full":    {"rda-cache-limit": "0"},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return newAhead(t, mem.NewFS(nil), o) },
				conformance.Options{Locks: true, Devices: true})
		})
	}
}

// far is a file system a second away, that writes down which listings it gets.
type far struct {
	fop.Handler
	mu    sync.Mutex
	asked []string
	fail  atomic.Bool
}

func (f *far) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if r, ok := req.(*fop.Readdirp); ok {
		f.mu.Lock()
		f.asked = append(f.asked, fmt.Sprint(r.Offset))
		f.mu.Unlock()
		if f.fail.Load() {
			return nil, syscall.EIO
		}
	}
	time.Sleep(time.Second)
	return f.Handler.Do(ctx, req)
}

func (f *far) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := strings.Join(f.asked, " ")
	f.asked = nil
	return s
}

// TestListing: how long a reader waits, what a brick is asked, and that changes
// are seen.
func TestListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.NewFS(nil)
		brick := &far{Handler: m}
		a := newAhead(t, brick, xlator.Options{"rda-request-size": "4096", "rda-high-wmark": "8192", "rda-low-wmark": "2000"})
		for i := range 60 {
			if _, err := m.Do(t.Context(), &fop.Mknod{Parent: fop.RootGFID, Name: fmt.Sprintf("f%02d", i), Mode: fop.ModeRegular | 0o644,
				Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())})}}); err != nil {
				t.Fatal(err)
			}
		}
		fd := &fop.Fd{GFID: fop.RootGFID, Dir: true}
		var last uint64
		var names []string
		var stat fop.Iatt // of what was listed last
		page := func(off uint64, size uint32) time.Duration {
			t.Helper()
			begin := time.Now()
			r, err := fop.Call(t.Context(), a, &fop.Readdirp{GFID: fd.GFID, Fd: fd, Offset: off, Size: size})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range r.Entries {
				last, stat = e.Off, e.Stat
				names = append(names, e.Name)
			}
			return time.Since(begin)
		}
		expect := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		if _, err := a.Do(t.Context(), &fop.Opendir{GFID: fd.GFID, Fd: fd}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		expect("after opendir", brick.take(), "0 19 38") // up to the high mark, 19 entries each
		if d := page(0, 2048); d != 0 {
			t.Errorf("the first page took %v", d)
		}
		expect("the first page", brick.take(), "")
		for range 100 {
			n := len(names)
			if page(last, 4096); len(names) == n {
				break
			}
			time.Sleep(2 * time.Second)
		}
		expect("the rest", brick.take(), "57")
		if len(names) != 62 || !slices.Contains(names, "f59") {
			t.Errorf("%d names: %q", len(names), names)
		}
		// From the middle, and then a file is written that is there already.
		page(20, 4096)
		time.Sleep(5 * time.Second)
		brick.take()
		r, err := fop.Call(t.Context(), a, &fop.Lookup{Parent: fop.RootGFID, Name: "f50"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Do(t.Context(), &fop.Write{GFID: r.Stat.GFID, Data: []byte("new")}); err != nil {
			t.Fatal(err)
		}
		for stat.GFID != r.Stat.GFID {
			page(last, 1)
		}
		if stat.Size != 3 {
			t.Errorf("a file that was written since it was fetched is listed with %d bytes", stat.Size)
		}
		// An error is told once, where it happened, and does not stay.
		brick.fail.Store(true)
		if _, err := a.Do(t.Context(), &fop.Readdirp{GFID: fd.GFID, Fd: fd, Size: 4096}); fop.Errno(err) != syscall.EIO {
			t.Errorf("error %v, want EIO", err)
		}
		brick.fail.Store(false)
		page(0, 4096)
		if _, err := a.Do(t.Context(), &fop.Releasedir{GFID: fd.GFID, Fd: fd}); err != nil {
			t.Fatal(err)
		}
		if n, used := a.open.Load(), a.used.Load(); n != 0 || used != 0 {
			t.Errorf("%d directories are open and %d bytes used after release", n, used)
		}
		a.work.Wait()
	})
}

func BenchmarkPass(b *testing.B) {
	reply := &fop.StatReply{}
	a := newAhead(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }), nil)
	r := &fop.Stat{GFID: fop.RootGFID}
	b.ReportAllocs()
	for b.Loop() {
		a.Do(context.Background(), r)
	}
}
