package writebehind

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// loan is memory that shows when it is used after it was given back.
type loan struct {
	b    []byte
	refs atomic.Int32
}

func lend(b []byte) *loan {
	l := &loan{b: b}
	l.refs.Store(1)
	return l
}

func (l *loan) Hold() { l.refs.Add(1) }

func (l *loan) Free() {
	switch n := l.refs.Add(-1); {
	case n == 0:
		for i := range l.b {
			l.b[i] = '!'
		}
	case n < 0:
		panic("freed more often than held")
	}
}

// writeLent writes memory that may be held.
func (x *fixture) writeLent(fd *fop.Fd, off uint64, l *loan) error {
	_, err := x.w.Do(x.ctx, &fop.Write{GFID: fd.GFID, Fd: fd, Offset: off, Data: l.b, Memory: l})
	l.Free()
	return err
}

// TestLent: large writes are sent from where they are, also one that does not fit
// into the window; it is answered as soon as the one before it is done.
func TestLent(t *testing.T) {
	const size = 400 << 10
	x := setup(t, xlator.Options{"cache-size": "512KB"})
	fd := x.create("f")
	x.g.trace()
	first, second := lend(bytes.Repeat([]byte("1"), size)), lend(bytes.Repeat([]byte("2"), size))
	openFirst := x.g.shut()
	x.must(x.writeLent(fd, 0, first))
	x.until(func() bool { return len(x.g.peek()) >= 1 })
	openSecond := x.g.shut()
	answered := make(chan error, 1)
	go func() { answered <- x.writeLent(fd, size, second) }()
	x.until(func() bool { return len(x.g.peek()) >= 2 })
	select {
	case err := <-answered:
		t.Fatalf("more than the window is under way unseen: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	openFirst()
	x.must(<-answered)
	if first.refs.Load() != 0 || second.refs.Load() != 1 {
		t.Errorf("of the memory that is done %d are held, of what is under way %d", first.refs.Load(), second.refs.Load())
	}
	openSecond()
	x.must(x.fsync(fd))
	if second.refs.Load() != 0 {
		t.Error("memory is held after an fsync")
	}
	if got := x.read(fd, size-2, 4); got != "1122" {
		t.Errorf("the file has %q", got)
	}
	if got := strings.Count(x.g.trace(), "WRITE"); got != 2 {
		t.Errorf("%d writes were sent, want 2", got)
	}
	x.must(x.flush(fd))
	x.must(x.release(fd))
}

// TestLentErrors: who is still waiting when his write fails gets the error, and
// nobody else does.
func TestLentErrors(t *testing.T) {
	x := setup(t, xlator.Options{"cache-size": "512KB"})
	fd := x.create("f")
	x.g.trace()
	first, second := lend(make([]byte, 400<<10)), lend(make([]byte, 500<<10))
	openFirst := x.g.shut()
	x.must(x.writeLent(fd, 0, first))
	x.until(func() bool { return len(x.g.peek()) >= 1 })
	x.g.failing(syscall.ENOSPC)
	openSecond := x.g.shut()
	answered := make(chan error, 1)
	go func() { answered <- x.writeLent(fd, 1<<20, second) }()
	x.until(func() bool { return len(x.g.peek()) >= 2 })
	x.g.failing(nil)
	openThird := x.g.shut()
	x.must(x.write(fd, 2<<20, strings.Repeat("x", 100<<10))) // so that the second does not fit
	openFirst()
	x.until(func() bool { return first.refs.Load() == 0 })
	openSecond()
	x.fails(<-answered, syscall.ENOSPC, "a write that is waited for")
	openThird()
	x.must(x.fsync(fd))
	if second.refs.Load() != 0 {
		t.Error("memory is held after an fsync")
	}
	// Who gives up waiting leaves a write behind that is carried through.
	openFirst = x.g.shut()
	first, second = lend(bytes.Repeat([]byte("1"), 400<<10)), lend(bytes.Repeat([]byte("2"), 400<<10))
	x.must(x.writeLent(fd, 0, first))
	ctx, cancel := context.WithTimeout(x.ctx, 20*time.Millisecond)
	defer cancel()
	_, err := x.w.Do(ctx, &fop.Write{GFID: fd.GFID, Fd: fd, Offset: 400 << 10, Data: second.b, Memory: second})
	x.fails(err, context.DeadlineExceeded, "a write of an impatient caller")
	second.Free()
	openFirst()
	x.must(x.flush(fd))
	if got := x.read(fd, 400<<10-1, 2); got != "12" || second.refs.Load() != 0 {
		t.Errorf("the file has %q, and the memory is held %d times", got, second.refs.Load())
	}
	x.must(x.release(fd))
}

// TestLentByMany: writers of all sizes beside each other, with what they write
// overwritten as soon as it is free.
func TestLentByMany(t *testing.T) {
	x := setup(t, nil)
	x.w = over(t, shuffler{x.g.Handler}, xlator.Options{"cache-size": "512KB"})
	fd := x.create("f")
	var wg sync.WaitGroup
	const area = 4 << 20
	want := make([]byte, 4*area)
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), rand.Uint64()))
			mine := want[i*area : (i+1)*area]
			for range 60 {
				n := 1 + r.IntN(700<<10)
				off := r.IntN(area - n)
				data := bytes.Repeat([]byte{byte(r.Uint32())}, n)
				copy(mine[off:], data)
				if r.IntN(4) == 0 {
					x.must(x.write(fd, uint64(i*area+off), string(data)))
				} else {
					x.must(x.writeLent(fd, uint64(i*area+off), lend(data)))
				}
				if got := x.read(fd, uint64(i*area+off), uint32(n)); got != string(mine[off:off+n]) {
					t.Errorf("%d bytes that were just written are not read at %d", n, off)
				}
			}
		})
	}
	wg.Wait()
	x.must(x.fsync(fd))
	r, err := fop.Call(x.ctx, x.w.child, &fop.Read{GFID: fd.GFID, Fd: fd, Size: 4 * area})
	x.must(err)
	if got := append(r.Data, make([]byte, 4*area-len(r.Data))...); !bytes.Equal(got, want) {
		t.Error("the child has something else than was written")
	}
	x.must(x.flush(fd))
	x.must(x.release(fd))
}

func BenchmarkLent(b *testing.B) {
	w, fd := overStill(b, nil)
	req := &fop.Write{GFID: fd.GFID, Fd: fd, Data: make([]byte, 1<<20), Memory: new(loan)}
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		w.Do(b.Context(), req)
		req.Offset += 1 << 20
	}
}
