package writebehind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// gate is a child whose writes wait, fail, or are short, as a test wants it.
type gate struct {
	fop.Handler
	mu     sync.Mutex
	closed chan struct{} // writes wait for it; nil: they do not
	fail   error
	short  bool
	seen   []string
}

func (g *gate) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ch := make(chan struct{})
	g.closed = ch
	var once sync.Once
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.closed == ch {
			g.closed = nil
		}
		once.Do(func() { close(ch) })
	}
}

func (g *gate) failing(err error) {
	g.mu.Lock()
	g.fail = err
	g.mu.Unlock()
}

func (g *gate) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	g.mu.Lock()
	closed, fail, short := g.closed, g.fail, g.short
	switch r := req.(type) {
	case *fop.Write:
		g.seen = append(g.seen, fmt.Sprintf("WRITE %d+%d", r.Offset, len(r.Data)))
	default:
		g.seen = append(g.seen, req.Op().String())
	}
	g.mu.Unlock()
	if r, ok := req.(*fop.Write); ok {
		if closed != nil {
			select {
			case <-closed:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if fail != nil {
			return nil, fail
		}
		if short && len(r.Data) > 1 {
			q := *r
			q.Data = q.Data[:len(q.Data)/2]
			return g.Handler.Do(ctx, &q)
		}
	}
	return g.Handler.Do(ctx, req)
}

// peek returns what trace will.
func (g *gate) peek() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

func (g *gate) trace() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := strings.Join(g.seen, ", ")
	g.seen = nil
	return s
}

type fixture struct {
	testing.TB
	ctx context.Context
	g   *gate
	w   *behind
	log bytes.Buffer
}

func setup(t testing.TB, o xlator.Options) *fixture {
	x := &fixture{TB: t, g: &gate{Handler: mem.NewFS(nil)}}
	x.w = over(t, x.g, o)
	x.w.log = slog.New(slog.NewTextHandler(&x.log, nil))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	x.ctx = ctx
	return x
}

func (x *fixture) create(name string) *fop.Fd {
	x.Helper()
	fd := &fop.Fd{GFID: fop.NewGFID(), Flags: fop.ORdwr}
	_, err := x.w.Do(x.ctx, &fop.Create{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fd.GFID)})},
		Parent: fop.RootGFID, Name: name, Flags: fop.ORdwr | fop.OCreate | fop.OExcl, Mode: 0o644, Fd: fd})
	if err != nil {
		x.Fatal(err)
	}
	return fd
}

func (x *fixture) open(g fop.GFID, flags uint32) *fop.Fd {
	x.Helper()
	fd := &fop.Fd{GFID: g, Flags: flags}
	if _, err := x.w.Do(x.ctx, &fop.Open{GFID: g, Flags: flags, Fd: fd}); err != nil {
		x.Fatal(err)
	}
	return fd
}

func (x *fixture) write(fd *fop.Fd, off uint64, data string) error {
	b := []byte(data)
	_, err := x.w.Do(x.ctx, &fop.Write{GFID: fd.GFID, Fd: fd, Offset: off, Data: b})
	for i := range b { // it is the caller's
		b[i] = '!'
	}
	return err
}

func (x *fixture) must(err error) {
	x.Helper()
	if err != nil {
		x.Error(err)
	}
}

func (x *fixture) fails(err, want error, what string) {
	x.Helper()
	if !errors.Is(err, want) {
		x.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func (x *fixture) read(fd *fop.Fd, off uint64, n uint32) string {
	x.Helper()
	r, err := fop.Call(x.ctx, x.w, &fop.Read{GFID: fd.GFID, Fd: fd, Offset: off, Size: n})
	if err != nil {
		x.Error(err)
		return ""
	}
	return string(r.Data)
}

func (x *fixture) do(req fop.Request) error {
	_, err := x.w.Do(x.ctx, req)
	return err
}

func (x *fixture) flush(fd *fop.Fd) error   { return x.do(&fop.Flush{GFID: fd.GFID, Fd: fd}) }
func (x *fixture) fsync(fd *fop.Fd) error   { return x.do(&fop.Fsync{GFID: fd.GFID, Fd: fd}) }
func (x *fixture) release(fd *fop.Fd) error { return x.do(&fop.Release{GFID: fd.GFID, Fd: fd}) }

// idle waits until nothing is under way.
func (x *fixture) idle() {
	x.Helper()
	x.until(func() bool { return x.w.dirty.Load() == 0 })
}

// until waits for what another goroutine is about to do, as long as the test lasts:
// nothing tells when a request has come to the gate, or memory was given back.
func (x *fixture) until(done func() bool) {
	x.Helper()
	for !done() {
		if x.ctx.Err() != nil {
			x.Fatal("it never happens")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestEarly has a child that answers no write: writes are answered all the same,
// up to the window, and whatever depends on them waits.
func TestEarly(t *testing.T) {
	x := setup(t, xlator.Options{"cache-size": "512KB"})
	fd := x.create("f")
	x.must(x.do(&fop.Link{GFID: fd.GFID, Parent: fop.RootGFID, Name: "another name"}))
	open := x.g.shut()
	x.must(x.write(fd, 0, "hello"))
	x.must(x.write(fd, 5, " you"))
	x.must(x.write(fd, 1000, "there"))

	other := x.create("other") // does not wait
	x.must(x.write(other, 0, "x"))

	waits := map[string]fop.Request{
		"stat":      &fop.Stat{GFID: fd.GFID},
		"fstat":     &fop.Fstat{GFID: fd.GFID, Fd: fd},
		"read":      &fop.Read{GFID: fd.GFID, Fd: fd, Offset: 0, Size: 4},
		"read hole": &fop.Read{GFID: fd.GFID, Fd: fd, Offset: 500, Size: 4},
		"anonymous": &fop.Read{GFID: fd.GFID, Offset: 1002, Size: 1},
		"lookup":    &fop.Lookup{Parent: fop.RootGFID, Name: "f"},
		"gfid":      &fop.Lookup{GFID: fd.GFID},
		"fsync":     &fop.Fsync{GFID: fd.GFID, Fd: fd},
		"flush":     &fop.Flush{GFID: fd.GFID, Fd: fd},
		"setattr":   &fop.Setattr{GFID: fd.GFID, Stat: fop.Iatt{Mode: 0o600}, Valid: fop.SetMode},
		"truncate":  &fop.Truncate{GFID: fd.GFID, Offset: 1005},
		"fallocate": &fop.Fallocate{GFID: fd.GFID, Fd: fd, Size: 10},
		"link":      &fop.Link{GFID: fd.GFID, Parent: fop.RootGFID, Name: "g"},
		"lk":        &fop.Lk{Header: fop.Header{Cred: fop.Cred{Owner: "me"}}, GFID: fd.GFID, Fd: fd, Cmd: fop.LkSet, Type: fop.LockWrite, Flock: fop.Flock{Type: fop.LockWrite, Owner: "me"}},
		"overwrite": &fop.Write{GFID: fd.GFID, Offset: 0, Data: []byte("H")},
		"seek":      &fop.Seek{GFID: fd.GFID, Fd: fd, What: fop.SeekHole},
		"rename":    &fop.Rename{OldParent: fop.RootGFID, OldName: "another name", NewParent: fop.RootGFID, NewName: "f2"},
	}
	type result struct {
		what  string
		reply fop.Reply
		err   error
	}
	results := make(chan result, len(waits))
	for what, req := range waits {
		if what == "rename" {
			continue
		}
		go func() {
			reply, err := fop.Start(x.ctx, x.w, req).Wait()
			results <- result{what, reply, err}
		}()
	}
	select {
	case r := <-results:
		t.Errorf("%s did not wait: %+v, %v", r.what, r.reply, r.err)
	case <-time.After(100 * time.Millisecond):
	}
	// The rename itself goes through at once, its attributes wait.
	go func() {
		reply, err := x.w.Do(x.ctx, waits["rename"])
		results <- result{"rename", reply, err}
	}()
	// A listing does not wait, and knows nothing of the attributes.
	list, err := fop.Call(x.ctx, x.w, &fop.Readdirp{GFID: fop.RootGFID, Fd: x.opendir(), Size: 4096})
	x.must(err)
	for _, e := range list.Entries {
		if e.Name[0] != '.' && !e.Stat.IsZero() {
			t.Errorf("%s is being written and listed with attributes", e.Name)
		}
	}
	open()
	for range len(waits) {
		r := <-results
		if r.err != nil {
			t.Errorf("%s: %v", r.what, r.err)
		}
		var a fop.Iatt
		switch p := r.reply.(type) {
		case *fop.StatReply:
			a = p.Stat
		case *fop.LookupReply:
			a = p.Stat
		case *fop.RenameReply:
			a = p.Stat
		case *fop.EntryReply:
			a = p.Stat
		case *fop.ReadReply:
			want := map[string]string{"read": "hell", "read hole": "\x00\x00\x00\x00", "anonymous": "e"}[r.what]
			if got := string(p.Data); got != want && !strings.HasPrefix(got, "H") {
				t.Errorf("%s gives %q", r.what, got)
			}
			continue
		default:
			continue
		}
		if a.Size != 1005 {
			t.Errorf("%s reports a size of %d", r.what, a.Size)
		}
	}
	if got := x.read(fd, 1, 8); got != "ello you" {
		t.Errorf("the file has %q", got)
	}
	x.must(x.flush(fd))
	x.must(x.release(fd))
	x.must(x.release(other))
	if n := x.w.files.Len(); n > shardsIdle {
		t.Errorf("%d files are remembered", n)
	}
}

// shardsIdle is how many files a table may keep that nobody holds.
const shardsIdle = 64

func (x *fixture) opendir() *fop.Fd {
	fd := &fop.Fd{GFID: fop.RootGFID, Dir: true}
	x.must(x.do(&fop.Opendir{GFID: fop.RootGFID, Fd: fd}))
	return fd
}

func TestWindow(t *testing.T) {
	x := setup(t, xlator.Options{"cache-size": "512KB", "aggregate-size": "64KB"})
	fd := x.create("f")
	open := x.g.shut()
	piece := strings.Repeat("x", 16<<10)
	var n atomic.Int32
	done := make(chan error)
	go func() {
		for i := range 40 {
			if err := x.write(fd, uint64(i)<<20, piece); err != nil {
				done <- err
				return
			}
			n.Add(1)
		}
		done <- nil
	}()
	for n.Load() < 32 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-done:
		t.Errorf("640 KiB were answered early: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if n.Load() != 32 {
		t.Errorf("%d writes of 16 KiB were answered early, want 32", n.Load())
	}
	// Nobody waits longer than he wants to.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	_, err := x.w.Do(ctx, &fop.Write{GFID: fd.GFID, Fd: fd, Offset: 1 << 30, Data: []byte("x")})
	cancel()
	x.fails(err, context.DeadlineExceeded, "write without room")
	open()
	x.must(<-done)
	x.must(x.flush(fd))
	x.must(x.release(fd))
}

// TestDirect: those who want an answer get one.
func TestDirect(t *testing.T) {
	for _, c := range []struct {
		flags uint32
		o     xlator.Options
		late  bool
	}{
		{fop.ORdwr, nil, false},
		{fop.ORdwr | fop.OSync, nil, true},
		{fop.OWronly | fop.ODsync, nil, true},
		{fop.ORdwr | fop.ODirect, nil, false},
		{fop.ORdwr | fop.ODirect, xlator.Options{"strict-O_DIRECT": "on"}, true},
		{fop.ORdwr, xlator.Options{"pass-through": "on"}, true},
	} {
		x := setup(t, c.o)
		g := x.create("f")
		fd := x.open(g.GFID, c.flags)
		r, err := fop.Call(x.ctx, x.w, &fop.Write{GFID: fd.GFID, Fd: fd, Data: []byte("x")})
		x.must(err)
		if late := !r.Post.IsZero(); late != c.late {
			t.Errorf("flags %#o, %v: answered late: %v", c.flags, c.o, late)
		}
		x.must(x.release(fd))
		x.must(x.release(g))
	}
}

// TestErrors: the error of a delayed write is told to everybody who must know.
func TestErrors(t *testing.T) {
	x := setup(t, nil)
	fd := x.create("f")
	second := x.open(fd.GFID, fop.OWronly)
	reader := x.open(fd.GFID, fop.ORdonly)
	x.g.failing(syscall.ENOSPC)
	x.must(x.write(fd, 0, "lost"))
	x.idle()
	x.fails(x.write(fd, 0, "next"), syscall.ENOSPC, "the next write")
	x.g.failing(nil)
	x.must(x.write(fd, 10, "kept"))
	x.must(x.write(second, 20, "kept"))
	// A layer that syncs for reasons of its own does not take the error away.
	internal := fop.NewDict(fop.Pair{Key: fop.KeyInternalFop, Val: fop.Str("yes")})
	x.fails(x.do(&fop.Fsync{Header: fop.Header{XData: internal}, GFID: fd.GFID, Fd: fd}), syscall.ENOSPC, "an internal fsync")
	x.fails(x.fsync(fd), syscall.ENOSPC, "fsync")
	x.must(x.fsync(fd))
	x.must(x.flush(fd))
	x.fails(x.flush(second), syscall.ENOSPC, "flush of another that writes")
	x.must(x.flush(second))
	x.must(x.flush(reader))
	if got := x.read(reader, 10, 4); got != "kept" {
		t.Errorf("read %q", got)
	}

	// A flush reports what a write has not.
	x.g.failing(syscall.EDQUOT)
	x.must(x.write(fd, 0, "lost"))
	x.fails(x.flush(fd), syscall.EDQUOT, "flush")
	x.must(x.flush(fd))
	x.fails(x.flush(second), syscall.EDQUOT, "flush of the other")
	x.must(x.release(second))

	// Released without a flush: the next opener hears of it.
	open := x.g.shut()
	x.must(x.write(fd, 0, "lost"))
	x.must(x.release(fd))
	x.must(x.release(reader))
	open()
	x.idle()
	x.g.failing(nil)
	if got := x.log.String(); !strings.Contains(got, "its file was closed") || !strings.Contains(got, fd.GFID.String()) {
		t.Errorf("the log says %q", got)
	}
	late := x.open(fd.GFID, fop.OWronly)
	x.must(x.write(late, 0, "x"))
	x.fails(x.fsync(late), syscall.EDQUOT, "fsync of the next opener")
	x.must(x.flush(late))
	x.must(x.release(late))
	if len(x.w.lost) != 0 {
		t.Error("the error is still remembered")
	}
}

// TestLostIsBounded: errors that nobody asks for cost a bounded amount.
func TestLostIsBounded(t *testing.T) {
	x := setup(t, nil)
	x.g.failing(syscall.EIO)
	for i := range 3 * maxLost {
		fd := x.create(fmt.Sprint("f", i))
		x.must(x.write(fd, 0, "x"))
		x.must(x.release(fd))
	}
	x.idle()
	for x.w.tasks.wait(x.ctx) != nil {
		t.Fatal("releases are never done")
	}
	if n := len(x.w.lost); n != maxLost {
		t.Errorf("%d files are remembered, want %d", n, maxLost)
	}
	if n := x.w.files.Len(); n > maxLost+shardsIdle {
		t.Errorf("%d files are in the table", n)
	}
}

// TestResync keeps what failed, tries again with each fsync, and gives up at a
// flush.
func TestResync(t *testing.T) {
	x := setup(t, xlator.Options{"resync-failed-syncs-after-fsync": "on"})
	fd := x.create("f")
	x.g.failing(syscall.ENOSPC)
	x.must(x.write(fd, 0, "hello"))
	x.fails(x.fsync(fd), syscall.ENOSPC, "fsync")
	x.fails(x.fsync(fd), syscall.ENOSPC, "fsync")
	x.must(x.write(fd, 2, "LL")) // waits for the other
	_, err := x.w.Do(x.ctx, &fop.Read{GFID: fd.GFID, Fd: fd, Size: 5})
	x.fails(err, syscall.ENOSPC, "read of what could not be written")
	x.g.failing(nil)
	x.must(x.fsync(fd))
	if got := x.read(fd, 0, 10); got != "heLLo" {
		t.Errorf("the file has %q", got)
	}
	x.must(x.flush(fd))

	x.g.failing(syscall.EIO)
	x.must(x.write(fd, 0, "12345"))
	x.must(x.write(fd, 3, "67"))
	x.fails(x.flush(fd), syscall.EIO, "flush")
	if n := x.w.dirty.Load(); n != 0 {
		t.Errorf("%d files are dirty after a flush", n)
	}
	x.must(x.flush(fd))
	// Kept, and then released without a flush.
	x.must(x.write(fd, 0, "12345"))
	x.fails(x.fsync(fd), syscall.EIO, "fsync")
	x.must(x.release(fd))
	x.idle()
}

func TestShortWrites(t *testing.T) {
	x := setup(t, nil)
	x.g.short = true
	fd := x.create("f")
	x.must(x.write(fd, 0, "0123456789"))
	x.must(x.write(fd, 10, "abcdef"))
	x.must(x.flush(fd))
	if got := x.read(fd, 0, 100); got != "0123456789abcdef" {
		t.Errorf("the file has %q", got)
	}
	x.must(x.release(fd))
}

// TestRelease: the child hears of it after the writes, and the caller does not
// wait.
func TestRelease(t *testing.T) {
	x := setup(t, nil)
	fd := x.create("f")
	x.g.trace()
	open := x.g.shut()
	x.must(x.write(fd, 0, "abc"))
	x.must(x.release(fd))
	open()
	x.idle()
	x.must(x.w.tasks.wait(x.ctx))
	if got := x.g.trace(); got != "WRITE 0+3, RELEASE" {
		t.Errorf("the child sees %s", got)
	}
}

// TestFlushBehind: a flush waits for the writes only, unless it drops locks.
func TestFlushBehind(t *testing.T) {
	x := setup(t, nil)
	fd, other := x.create("f"), x.create("g")
	lock := &fop.Lk{Header: fop.Header{Cred: fop.Cred{Owner: "me"}}, GFID: other.GFID, Fd: other, Cmd: fop.LkSet, Type: fop.LockWrite,
		Flock: fop.Flock{Type: fop.LockWrite, Owner: "me"}}
	x.must(x.do(lock))
	x.g.trace()
	x.must(x.write(fd, 0, "abc"))
	x.must(x.flush(fd))
	x.must(x.release(fd))
	x.must(x.w.tasks.wait(x.ctx))
	if got := x.g.trace(); got != "WRITE 0+3, FLUSH, RELEASE" {
		t.Errorf("the child sees %s", got)
	}
	x.must(x.flush(other))
	if got := x.g.trace(); got != "FLUSH" {
		t.Errorf("the child sees %s before the flush of a locked file is answered", got)
	}
	x.must(x.release(other))
}

// TestQuiesce: from then on nothing is answered early, while others write.
func TestQuiesce(t *testing.T) {
	x := setup(t, nil)
	fd := x.create("f")
	var wg sync.WaitGroup
	var stop atomic.Bool
	for i := range 4 {
		wg.Go(func() {
			for n := uint64(0); !stop.Load(); n++ {
				size := 100 + rand.IntN(200<<10)
				quiet := x.w.quiet.Load()
				r, err := fop.Call(x.ctx, x.w, &fop.Write{GFID: fd.GFID, Fd: fd, Offset: uint64(i)<<30 + n%16*(200<<10), Data: make([]byte, size)})
				x.must(err)
				if err == nil && quiet && r.Post.IsZero() {
					t.Error("answered early after Quiesce had begun")
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	x.must(x.w.Quiesce(x.ctx))
	if n := x.w.dirty.Load(); n != 0 {
		t.Errorf("%d files are dirty", n)
	}
	stop.Store(true)
	wg.Wait()
	x.must(x.release(fd))
}

// TestRun: a graph that goes takes its writes along, also those of files that
// nobody released.
func TestRun(t *testing.T) {
	x := setup(t, nil)
	fd := x.create("f")
	open := x.g.shut()
	x.must(x.write(fd, 0, "abc"))
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	ended := make(chan error)
	go func() { ended <- x.w.Run(ctx) }()
	select {
	case <-ended:
		t.Error("Run did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	open()
	x.must(<-ended)
	r, err := fop.Call(x.ctx, x.g, &fop.Read{GFID: fd.GFID, Fd: fd, Size: 10})
	x.must(err)
	if string(r.Data) != "abc" {
		t.Errorf("the brick has %q", r.Data)
	}
	x.must(x.release(fd))
}

func TestOptions(t *testing.T) {
	x := setup(t, nil)
	x.fails(x.w.Reconfigure(xlator.Options{"aggregate-size": "2MB"}), syscall.EINVAL, "chunks larger than the window")
	// While writes wait.
	fd := x.create("f")
	open := x.g.shut()
	x.must(x.write(fd, 0, "a"))
	x.must(x.write(fd, 1, "b"))
	x.must(x.w.Reconfigure(xlator.Options{"strict-write-ordering": "on", "trickling-writes": "off"}))
	x.must(x.write(fd, 100, "c"))
	x.must(x.w.Reconfigure(xlator.Options{}))
	x.must(x.write(fd, 50, "d"))
	var out bytes.Buffer
	x.w.Dump(&out)
	if !strings.Contains(out.String(), "gfid="+fd.GFID.String()+" window_current=4") || !strings.Contains(out.String(), "window_size=1048576") {
		t.Errorf("the dump says\n%s", &out)
	}
	open()
	x.must(x.flush(fd))
	if got := strings.ReplaceAll(x.read(fd, 0, 200), "\x00", ""); got != "abdc" {
		t.Errorf("the file has %q", got)
	}
	x.must(x.release(fd))
}

// TestRoomWithoutTrickling: who waits for room is not left waiting for a chunk
// that waits for more itself.
func TestRoomWithoutTrickling(t *testing.T) {
	x := setup(t, xlator.Options{"cache-size": "512KB", "aggregate-size": "512KB", "trickling-writes": "off"})
	fd := x.create("f")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 30 {
				x.must(x.write(fd, uint64(i)<<24+uint64(n)<<18, strings.Repeat("x", 1+rand.IntN(200<<10))))
			}
		})
	}
	wg.Wait()
	x.must(x.flush(fd))
	x.must(x.release(fd))
}
