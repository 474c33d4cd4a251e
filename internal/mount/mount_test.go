package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(ctx context.Context, h fop.Handler, fd *fop.Fd, data string) error {
	_, err := fop.Call(ctx, h, &fop.Write{GFID: fd.GFID, Fd: fd, Data: []byte(data)})
	return err
}

// TestSwitch changes the graph again and again while files are made, written,
// read and closed, and expects that nobody notices.
func TestSwitch(t *testing.T) {
	b := newBrick()
	src := newSource(volume(1))
	s := open(t, b, src)

	kept := []*fop.Fd{create(t, s), create(t, s), {GFID: fop.RootGFID, Dir: true}}
	if _, err := fop.Call(t.Context(), s, &fop.Opendir{GFID: fop.RootGFID, Fd: kept[2]}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				fd := create(t, s)
				for range 3 {
					if err := write(t.Context(), s, fd, "x"); err != nil {
						t.Error(err)
					}
				}
				p := s.Start(t.Context(), &fop.Read{GFID: fd.GFID, Fd: fd, Size: 9})
				if r, err := p.Wait(); err != nil || string(r.(*fop.ReadReply).Data) != "xxx" {
					t.Error(r, err)
				}
				if _, err := fop.Call(t.Context(), s, &fop.CopyFileRange{GFID: fd.GFID, Fd: fd, DstFd: kept[0]}); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					release(t, s, fd)
				} else {
					defer release(t, s, fd)
				}
			}
		})
	}
	const changes = 5
	for n := 1; n <= changes; n++ {
		src.set(volume(1+n), nil)
		until(t, "the graph changed", func() bool { return len(b.graphs()) == n+1 && s.Volfile() == volume(1+n) })
		if err := write(t.Context(), s, kept[0], "y"); err != nil {
			t.Error(err)
		}
		until(t, "the new graph has requests", func() bool { return b.graphs()[n].calls.Load() > 20 })
	}
	close(stop)
	wg.Wait()
	if err := write(t.Context(), s, kept[1], "z"); err != nil {
		t.Error(err)
	}
	if _, err := fop.Call(t.Context(), s, &fop.Readdirp{GFID: fop.RootGFID, Fd: kept[2]}); err != nil {
		t.Error(err)
	}
	graphs := b.graphs()
	until(t, "old graphs are closed", func() bool {
		for _, g := range graphs[:changes] {
			if !g.closed.Load() {
				return false
			}
		}
		return true
	})
	for _, fd := range kept {
		for i, g := range graphs {
			if has := fd.Get(g) != nil; has != (i == changes) {
				t.Errorf("graph %d knows the file: %v", i, has)
			}
		}
		release(t, s, fd)
	}
	b.mu.Lock()
	if b.opened != 0 || string(b.files[kept[0].GFID].data) != strings.Repeat("y", changes) {
		t.Errorf("%d files open, data %q", b.opened, b.files[kept[0].GFID].data)
	}
	b.mu.Unlock()
	if n := len(s.files.list()); n != 0 {
		t.Errorf("%d files remembered", n)
	}
	if graphs[changes].conf.Env.GraphID != changes || graphs[0].conf.Env.ProcessUUID != graphs[1].conf.Env.ProcessUUID {
		t.Error("graphs are not numbered, or not of one process")
	}
	s.Close(t.Context())
	if !src.closed.Load() || !graphs[changes].closed.Load() {
		t.Error("left open after Close")
	}
}

// TestStays removes a file while it is open: the new graph cannot open it.
func TestStays(t *testing.T) {
	b := newBrick()
	src := newSource(volume(0))
	s := open(t, b, src)
	fd, other := create(t, s), create(t, s)
	if _, err := fop.Call(t.Context(), s, &fop.Unlink{Parent: fd.GFID}); err != nil {
		t.Fatal(err)
	}
	src.set(volume(1), nil)
	until(t, "the graph changed", func() bool { return s.Volfile() == volume(1) })
	for range 3 {
		if err := write(t.Context(), s, fd, "x"); err != nil {
			t.Error(err)
		}
	}
	if _, err := fop.Call(t.Context(), s, &fop.CopyFileRange{GFID: other.GFID, Fd: other, Dst: fd.GFID, DstFd: fd}); err != nil {
		t.Errorf("between files of two graphs: %v", err)
	}
	src.set(volume(2), nil)
	until(t, "the graph changed again", func() bool { return s.Volfile() == volume(2) })
	until(t, "the middle graph is closed", func() bool { return b.graphs()[1].closed.Load() })
	if err := write(t.Context(), s, fd, "y"); err != nil {
		t.Error(err)
	}
	if b.graphs()[0].closed.Load() {
		t.Fatal("the first graph is closed with a file open in it")
	}
	release(t, s, fd)
	until(t, "the first graph is closed", func() bool { return b.graphs()[0].closed.Load() })
	if err := write(t.Context(), s, fd, "y"); !errors.Is(err, syscall.EBADF) {
		t.Errorf("after release: %v", err)
	}
	release(t, s, other)
}

func TestLocksMove(t *testing.T) {
	b := newBrick()
	src := newSource(volume(0))
	s := open(t, b, src)
	fd, free := create(t, s), create(t, s)
	for _, d := range []*fop.Fd{fd, free} {
		if _, err := fop.Call(t.Context(), s, &fop.Lk{GFID: d.GFID, Fd: d, Cmd: fop.LkSet, Type: fop.LockWrite}); err != nil {
			t.Fatal(err)
		}
	}
	b.mu.Lock()
	b.files[free.GFID].lock = nil // freed meanwhile
	b.mu.Unlock()
	src.set(volume(1), nil)
	until(t, "the old graph is closed", func() bool { return b.graphs()[0].closed.Load() })
	b.mu.Lock()
	held, _ := b.files[fd.GFID].lock.(*toyOpen)
	if held == nil || held.c != b.clients[1] || b.files[free.GFID].lock != nil {
		t.Error("the lock did not move")
	}
	b.mu.Unlock()
	if _, err := fop.Call(t.Context(), s, &fop.Lk{GFID: fd.GFID, Fd: fd, Cmd: fop.LkSet, Type: fop.LockWrite}); err != nil {
		t.Error(err)
	}
	release(t, s, fd)
	release(t, s, free)
}

// TestUpdates is about changes that need no new graph, or are none.
func TestUpdates(t *testing.T) {
	b := newBrick()
	src := newSource(volume(1, "ping-timeout 42"))
	s := open(t, b, src)
	src.set(volume(1, "ping-timeout 10"), nil)
	until(t, "the option is new", func() bool { return s.Volfile() == volume(1, "ping-timeout 10") })
	b.mu.Lock()
	if fmt.Sprint(b.options) != "[10]" {
		t.Errorf("options %v", b.options)
	}
	b.mu.Unlock()

	for _, bad := range []struct {
		text string
		err  error
	}{
		{"volume", nil}, {volume(1, "ping-timeout 0"), nil}, {"", syscall.ENOENT},
		{volume(1) + "volume x\n type cluster/disperse\n subvolumes v-0\nend-volume", nil},
	} {
		src.set(bad.text, bad.err)
		until(t, "the change is looked at", func() bool { return len(src.changed) == 0 })
		if _, err := fop.Call(t.Context(), s, &fop.Lookup{}); err != nil || !s.Up() {
			t.Error(err)
		}
	}
	src.set(volume(1, "ping-timeout 11"), nil)
	until(t, "a good one follows", func() bool { return s.Volfile() == volume(1, "ping-timeout 11") })
	if n := len(b.graphs()); n != 1 {
		t.Errorf("%d graphs", n)
	}

	// A translator hears from its brick that the volfile is old.
	src.mu.Lock()
	src.text = volume(3)
	src.mu.Unlock()
	b.graphs()[0].conf.Notify(fop.Event{Kind: fop.EventVolfileModified})
	until(t, "the brick's word is heard", func() bool { return s.Volfile() == volume(3) })
	src.set(volume(3)+"\n# a comment\n", nil)
	until(t, "a comment is read", func() bool { return strings.Contains(s.Volfile(), "comment") })
	if n := len(b.graphs()); n != 2 {
		t.Errorf("%d graphs", n)
	}
}

func TestUpcalls(t *testing.T) {
	b := newBrick()
	s := open(t, b, newSource(volume(1)))
	var mu sync.Mutex
	var got []string
	sub := func(name string) func() {
		return s.Subscribe(func(u *fop.Upcall) {
			mu.Lock()
			got = append(got, fmt.Sprint(name, u.Flags))
			mu.Unlock()
		})
	}
	cancel := sub("a")
	sub("b")
	tell := func(flags uint32) {
		b.graphs()[0].conf.Notify(fop.Event{Kind: fop.EventUpcall, Upcall: &fop.Upcall{Flags: flags}})
	}
	tell(1)
	cancel()
	cancel()
	tell(2)
	if fmt.Sprint(got) != "[a1 b1 b2]" {
		t.Errorf("heard %v", got)
	}
}

func TestOpenErrors(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	refused := &toyBrick{refuse: fmt.Errorf("h:49152: authentication failed; is auth.allow set? %w", syscall.EACCES)}
	for _, c := range []struct {
		name  string
		cfg   Config
		errno syscall.Errno
		words []string
	}{
		{"nothing", Config{Volume: "v"}, syscall.EINVAL, []string{`open volume "v"`, "no server"}},
		{"bad volfile", Config{Volfile: "volume"}, syscall.EINVAL, []string{"line 1"}},
		{"no server answers", Config{Volume: "v", Servers: []volserver.Server{{Network: "unix", Addr: "/no/such/socket"}}},
			syscall.ENOENT, []string{"/no/such/socket", "is glusterd running there"}},
		{"override fits nothing", Config{Volfile: volume(0), Overrides: []volfile.Override{{Pattern: "x-*", Key: "a", Value: "b"}}},
			syscall.EINVAL, []string{"x-*.a"}},
		{"override has a bad value", Config{Volfile: volume(0), Overrides: []volfile.Override{{Pattern: "*", Key: "ping-timeout", Value: "b"}}, Registry: toyRegistry(newBrick())},
			syscall.EINVAL, []string{"ping-timeout"}},
		{"auth", Config{Volfile: volume(0), Registry: toyRegistry(refused)}, syscall.EACCES, []string{"auth.allow"}},
		{"silence", Config{Volfile: volume(0), Registry: toyRegistry(&toyBrick{silent: true})}, syscall.ETIMEDOUT, []string{"in time"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			c.cfg.Log = quiet
			s, err := Open(ctx, c.cfg)
			if err == nil {
				s.Close(ctx)
				t.Fatal("open")
			}
			if got := fop.Errno(err); got != c.errno {
				t.Errorf("errno %v, want %v: %v", got, c.errno, err)
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("no %q in %q", w, err)
				}
			}
		})
	}
	for _, b := range []*toyBrick{refused} {
		for _, g := range b.graphs() {
			if !g.closed.Load() {
				t.Error("a graph is left open")
			}
		}
	}
}

func TestClose(t *testing.T) {
	b := newBrick()
	src := newSource(volume(0))
	s := open(t, b, src)
	fd := create(t, s)
	// A request waits inside the first graph for ever, and keeps it.
	waiting := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := fop.Call(ctx, s, &fop.Lk{GFID: fd.GFID, Fd: fd, Cmd: fop.LkSetWait})
		waiting <- err
	}()
	until(t, "the request waits", func() bool { return b.graphs()[0].calls.Load() == 2 })
	src.set(volume(1), nil)
	until(t, "the graph changed", func() bool { return s.Volfile() == volume(1) })
	if err := write(t.Context(), s, fd, "x"); err != nil {
		t.Error(err)
	}
	short, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.Close(short); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("the request that waited: %v", err)
	}
	for _, req := range []fop.Request{&fop.Lookup{}, &fop.Write{Fd: fd}, &fop.Release{Fd: fd}} {
		if _, err := s.Do(t.Context(), req); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%v on a closed volume: %v", req.Op(), err)
		}
	}
	for i, g := range b.graphs() {
		if !g.closed.Load() {
			t.Errorf("graph %d is left open", i)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	brick := newBrick()
	s, err := Open(b.Context(), Config{Volfile: volume(3), Registry: toyRegistry(brick), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	r := s.cur.Load()
	r.top = fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, nil })
	req := &fop.Read{Fd: &fop.Fd{}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Do(context.Background(), req)
		}
	})
}
