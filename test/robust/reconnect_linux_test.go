package robust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
)

// through mounts a cluster whose brick is reached through a proxy.
func through(t testing.TB, opts ...gfapi.Option) (*gfapi.Volume, *gfapi.Volume, *proxy) {
	t.Helper()
	c := up(t)
	p := newProxy(t, func() string { return brickAddr(c) })
	v := mountVolfile(t, clientVolfile(p.addr, c.Volume.Bricks[0].Path), opts...)
	return v, mount(t, c), p
}

// connLost says whether an error is of the kind that a lost connection gives.
func connLost(err error) bool { return errors.Is(err, syscall.ENOTCONN) }

// TestCutUnderLoad cuts the connection in the middle of requests and replies,
// again and again, while files are open and written. What was acknowledged is
// there in the end, and nothing took long to fail.
func TestCutUnderLoad(t *testing.T) {
	noLeaks(t)
	v, direct, p := through(t)
	const workers, blocks, size = 4, 400, 32 << 10
	block := func(w, i int) []byte {
		b := bytes.Repeat([]byte(fmt.Sprintf("worker %d block %4d\n", w, i)), size/20+1)
		return b[:size]
	}
	var failures, slowest atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for w := range workers {
		f, err := v.WithContext(ctx).Create(fmt.Sprintf("file%d", w))
		must(t, err)
		all.Go(func() {
			defer f.Close()
			for i := range blocks {
				for {
					start := time.Now()
					_, err := f.WriteAt(block(w, i), int64(i*size))
					if d := int64(time.Since(start)); err != nil && d > slowest.Load() {
						slowest.Store(d)
					}
					if err == nil {
						break
					}
					if failures.Add(1); !connLost(err) {
						t.Errorf("worker %d, block %d: %v", w, i, err)
						return
					}
					time.Sleep(2 * time.Millisecond) // what a patient application does
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	cuts := 0
	for end := false; !end; {
		p.cutAfter(rand.Int64N(3 << 20))
		cuts++
		select {
		case <-done:
			end = true
		case <-time.After(time.Duration(50+rand.IntN(300)) * time.Millisecond):
		}
	}
	p.cutAt.Store(0)
	t.Logf("%d cuts, %d failed writes, the slowest took %v", cuts, failures.Load(), time.Duration(slowest.Load()))
	if failures.Load() == 0 {
		t.Error("no cut hit a write")
	}
	if slowest.Load() > int64(3*time.Second) {
		t.Errorf("an error takes %v", time.Duration(slowest.Load()))
	}
	for w := range workers {
		got, err := direct.ReadFile(fmt.Sprintf("file%d", w))
		must(t, err)
		sum := crc32.NewIEEE()
		for i := range blocks {
			sum.Write(block(w, i))
		}
		if crc32.ChecksumIEEE(got) != sum.Sum32() {
			t.Errorf("file%d: %d bytes, want %d", w, len(got), blocks*size)
		}
	}
	must(t, v.Unmount())
	must(t, direct.Unmount())
}

// TestOpenFilesSurvive: offsets, appended data, unlinked files and directories
// being read go on after a new connection.
func TestOpenFilesSurvive(t *testing.T) {
	noLeaks(t)
	v, direct, p := through(t)
	must(t, v.WriteFile("read", []byte("first second"), 0o644))
	must(t, v.MkdirAll("dir/sub", 0o755))
	r, err := v.Open("read")
	must(t, err)
	var b [6]byte
	_, err = r.Read(b[:])
	must(t, err)
	a, err := v.OpenFile("append", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	_, err = a.WriteString("one ")
	must(t, err)
	d, err := v.Open("dir")
	must(t, err)
	p.cut()
	testenv.Wait(t, 10*time.Second, "the connection", func() bool { _, err := v.Stat("read"); return err == nil })
	if n, err := r.Read(b[:]); string(b[:n]) != "second" {
		t.Errorf("reading on: %q, %v", b[:n], err)
	}
	if _, err := a.WriteString("two"); err != nil {
		t.Errorf("appending on: %v", err)
	}
	if got, err := direct.ReadFile("append"); string(got) != "one two" {
		t.Errorf("appended: %q, %v", got, err)
	}
	if des, err := d.ReadDir(-1); err != nil || len(des) != 1 || des[0].Name() != "sub" {
		t.Errorf("directory: %v, %v", des, err)
	}
	must(t, r.Close())
	must(t, a.Close())
	must(t, d.Close())
	must(t, v.Unmount())
	must(t, direct.Unmount())
}

// TestLocksOverReconnect: a lock that is held is held again after a reconnect;
// one that is waited for fails or is had, but never hangs or is had twice.
func TestLocksOverReconnect(t *testing.T) {
	noLeaks(t)
	v, direct, p := through(t)
	must(t, direct.WriteFile("file", []byte("text"), 0o644))
	f, err := v.OpenFile("file", os.O_RDWR, 0)
	must(t, err)
	must(t, f.Lock(gfapi.WriteLock, 0, 0))
	other, err := direct.OpenFile("file", os.O_RDWR, 0)
	must(t, err)
	if err := other.TryLock(gfapi.WriteLock, 0, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a lock that is taken: %v", err)
	}
	p.cut()
	testenv.Wait(t, 10*time.Second, "the connection", func() bool { _, err := v.Stat("file"); return err == nil })
	if err := other.TryLock(gfapi.WriteLock, 0, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("the lock is not held after the reconnect: %v", err)
	}
	// Now the other one holds it, and the cut one waits.
	must(t, f.Unlock(0, 0))
	must(t, other.Lock(gfapi.WriteLock, 0, 0))
	waiting := make(chan error, 1)
	go func() { waiting <- f.Lock(gfapi.WriteLock, 0, 0) }()
	select {
	case err := <-waiting:
		t.Fatalf("the lock does not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.cut()
	select {
	case err := <-waiting:
		if !connLost(err) {
			t.Errorf("waiting for a lock when the connection is cut: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the wait for a lock survives its connection for 5 s")
	}
	must(t, other.Unlock(0, 0))
	testenv.Wait(t, 10*time.Second, "the connection", func() bool { _, err := v.Stat("file"); return err == nil })
	// The lost wait must not have become a lock of nobody.
	testenv.Wait(t, 5*time.Second, "the lock", func() bool { return other.TryLock(gfapi.WriteLock, 0, 0) == nil })
	must(t, other.Close())
	must(t, f.Lock(gfapi.WriteLock, 0, 0))
	must(t, f.Close())
	must(t, v.Unmount())
	must(t, direct.Unmount())
}

// TestStall: a peer that stops answering. Deadlines hold, and all goes on when it
// answers again.
func TestStall(t *testing.T) {
	noLeaks(t)
	v, _, p := through(t)
	must(t, v.WriteFile("file", []byte("text"), 0o644))
	p.stall(true)
	for name, do := range map[string]func(*gfapi.Volume) error{
		"stat":  func(v *gfapi.Volume) error { _, err := v.Stat("file"); return err },
		"write": func(v *gfapi.Volume) error { return v.WriteFile("file", []byte("other"), 0o644) },
		"read":  func(v *gfapi.Volume) error { _, err := v.ReadFile("file"); return err },
		"list":  func(v *gfapi.Volume) error { _, err := v.ReadDir("."); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		err := do(v.WithContext(ctx))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
	}
	p.stall(false)
	if _, err := v.Stat("file"); err != nil {
		t.Errorf("after the stall: %v", err)
	}
	p.stall(true)
	start := time.Now()
	if err := v.Unmount(); time.Since(start) > 10*time.Second {
		t.Errorf("unmount takes %v: %v", time.Since(start), err)
	}
}

// TestPing: with a short ping-timeout a stalled connection is given up, and
// operations without a deadline fail.
func TestPing(t *testing.T) {
	noLeaks(t)
	v, _, p := through(t, gfapi.WithXlatorOption("*-client-*", "ping-timeout", "1"))
	must(t, v.WriteFile("file", []byte("text"), 0o644))
	p.stall(true)
	start := time.Now()
	_, err := v.Stat("file")
	if !connLost(err) || time.Since(start) > 5*time.Second {
		t.Errorf("stat: %v after %v", err, time.Since(start))
	}
	p.stall(false)
	testenv.Wait(t, 10*time.Second, "the connection", func() bool { _, err := v.Stat("file"); return err == nil })
	must(t, v.Unmount())
}

// TestHangingCopy: one brick of a pair stops answering, without a word. What was
// under way waits for the ping timeout and then goes on with the other copy; no
// error reaches the program, and what comes later waits no more.
func TestHangingCopy(t *testing.T) {
	noLeaks(t)
	c := up(t, func(o *manage.UpOptions) {
		o.Shape = manage.Shape{Distribute: 1, Replica: 2}
		o.Options = map[string]string{"network.ping-timeout": "2"}
	})
	brick := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.BrickPort(i))) }
	p := newProxy(t, func() string { return brick(1) })
	v := mount(t, c, gfapi.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == brick(1) {
			addr = p.addr
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}))
	must(t, v.Mkdir("dir", 0o755))
	must(t, v.WriteFile("dir/old", []byte("text"), 0o644))
	f, err := v.OpenFile("dir/open", os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	p.stall(true)
	start := time.Now()
	_, err = f.WriteAt([]byte("written while a copy hangs"), 0)
	must(t, err)
	must(t, f.Sync()) // write-behind answers before the bricks do
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("the first write took %v", took)
	}
	start = time.Now()
	must(t, v.WriteFile("dir/new", []byte("text"), 0o644))
	must(t, v.Rename("dir/old", "dir/moved"))
	if b, err := v.ReadFile("dir/moved"); err != nil || string(b) != "text" {
		t.Errorf("read %q, %v", b, err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("what came later took %v", took)
	}
	must(t, f.Close())
	p.stall(false)
	must(t, v.Unmount())
}
