package interop

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMountLocks has processes lock a file through our mount and through the real
// client's: what one has, the other waits for, asks about and gets. On bricks of
// either kind, each client once the one that has the lock.
func TestMountLocks(t *testing.T) {
	f := ourFarm(t)
	for _, on := range []struct {
		shape string
		ours  bool
	}{{"2x2", true}, {"2x2", false}, {"distribute3", true}, {"distribute3", false}} {
		sh := shapeOf(t, on.shape)
		if on.shape != "2x2" && !on.ours && !*shapeLong {
			continue
		}
		f.use(t, on.ours)
		s := f.volume(t, sh)
		t.Run(sh.name+", "+s.name, func(t *testing.T) {
			their := s.node.Mount(t, s.volume)
			our, _ := s.mountOurs(t)
			for _, to := range []struct{ name, holder, other string }{{"ours has it", our, their}, {"theirs has it", their, our}} {
				for _, kind := range []string{"process", "description", "flock"} {
					t.Run(to.name+", "+kind, func(t *testing.T) {
						t.Parallel()
						p := &lockPlay{t: t, s: s, kind: kind, path: strings.ReplaceAll(kind+" "+to.name, " ", "-")}
						p.a, p.b = p.start(to.holder), p.start(to.other)
						p.share()
						p.wait()
						// A client of 10.3 that gives up the wait for a lock of several copies
						// goes on to wait on the next copy.
						if to.other == our || sh.replica == 1 {
							p.giveUp(to.other)
						}
						p.end(to.other)
					})
				}
			}
		})
	}
}

// lockPlay is two processes, each on a mount of its own, with one file open.
type lockPlay struct {
	t          *testing.T
	s          *server
	kind, path string
	a, b       *worker
}

// start starts a process that has the file open.
func (p *lockPlay) start(dir string) *worker {
	p.t.Helper()
	w := startWorker(p.t, p.s.node, dir)
	if r := w.Do(op{Do: "open", H: 1, Path: p.path, Flags: unix.O_RDWR | unix.O_CREAT, Mode: 0o644}); r.Errno != "" {
		p.t.Fatalf("open: %v", r)
	}
	return w
}

func (p *lockPlay) op(what string, kind int, off, size int64) op {
	return op{Do: what, H: 1, Name: p.kind, Flags: kind, Off: off, Len: size}
}

// want does something and says what must come of it: "ok", what GETLK finds, or an
// errno.
func (p *lockPlay) want(want string, w *worker, o op) {
	p.t.Helper()
	r := w.Do(o)
	got := r.Errno + r.Text
	if got == "" {
		got = "ok"
	}
	if got != want {
		who := "the holder"
		if w == p.b {
			who = "the other"
		}
		p.t.Errorf("%s: %v: %s, want %s", who, o, got, want)
	}
}

// waits begins a lock that has to wait; the returned function says how it ended.
func (p *lockPlay) waits(w *worker, o op) func() result {
	p.t.Helper()
	c := make(chan result, 1)
	go func() { c <- w.Do(o) }()
	select {
	case r := <-c:
		p.t.Errorf("%v does not wait: %v", o, r)
		c <- r
	case <-time.After(150 * time.Millisecond):
	}
	return func() result {
		select {
		case r := <-c:
			return r
		case <-time.After(20 * time.Second):
			p.t.Fatalf("%v waits though the lock is free", o)
			panic("unreachable")
		}
	}
}

const r, w, u = unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK

// share: what excludes, and what does not. The holder has the lock at the end.
func (p *lockPlay) share() {
	a, b := p.a, p.b
	all := p.op("lock", u, 0, 0)
	p.want("ok", a, p.op("lock", w, 10, 10))
	p.want("EAGAIN", b, p.op("lock", w, 15, 10))
	p.want("EAGAIN", b, p.op("lock", r, 0, 0))
	if p.kind != "flock" {
		p.want("write 10+10", b, p.op("getlk", r, 0, 0))
		p.want("free", b, p.op("getlk", w, 20, 5))
		p.want("ok", b, p.op("lock", w, 20, 5))
		p.want("write 20+5", a, p.op("getlk", w, 19, 0))
		p.want("ok", a, p.op("lock", u, 12, 2)) // a hole
		p.want("ok", b, p.op("lock", r, 12, 2))
		p.want("EAGAIN", b, p.op("lock", r, 11, 2))
		p.want("read 12+2", a, p.op("getlk", w, 0, 19))
		p.want("EAGAIN", a, p.op("lock", w, 10, 10))
		p.want("ok", b, all)
	}
	// Readers share.
	p.want("ok", a, all)
	p.want("ok", a, p.op("lock", r, 10, 10))
	p.want("ok", b, p.op("lock", r, 10, 10))
	p.want("EAGAIN", b, p.op("lock", w, 10, 10))
	p.want("ok", b, all)
	p.want("ok", a, p.op("lock", w, 10, 10))
}

// wait: who waits gets the lock when it is free. Nobody has it at the end.
func (p *lockPlay) wait() {
	a, b := p.a, p.b
	all := p.op("lock", u, 0, 0)
	got := p.waits(b, p.op("lockwait", w, 0, 0))
	p.want("ok", a, all)
	if r := got(); r.Errno != "" {
		p.t.Errorf("the lock that was waited for: %v", r)
	}
	p.want("EAGAIN", a, p.op("lock", r, 10, 1))
	p.want("ok", b, all)
}

// giveUp: a signal ends the wait, and so does the end of who waits. Nothing is
// left of it.
func (p *lockPlay) giveUp(otherDir string) {
	a, b := p.a, p.b
	all := p.op("lock", u, 0, 0)
	p.want("ok", a, p.op("lock", w, 0, 0))
	o := p.op("lockwait", w, 0, 0)
	o.Mode, o.UID = 200, int(unix.SIGUSR1)
	if r := p.waits(b, o)(); r.Errno != "EINTR" {
		p.t.Errorf("a wait that a signal ends: %v", r)
	}
	p.want("ok", a, all)
	p.want("ok", a, p.op("lock", w, 0, 0))
	victim := p.start(otherDir)
	o.UID = int(unix.SIGKILL)
	if r := p.waits(victim, o)(); !strings.HasPrefix(r.Errno, "worker: ") {
		p.t.Errorf("a process that is killed: %v", r)
	}
	p.want("ok", a, all)
	p.want("ok", a, p.op("lock", w, 0, 0))
	p.want("ok", a, all)
}

// end: what a process had is free when it has ended.
func (p *lockPlay) end(otherDir string) {
	a, b := p.a, p.b
	victim := p.start(otherDir)
	p.want("ok", victim, p.op("lock", w, 0, 0))
	got := p.waits(a, p.op("lockwait", w, 0, 0))
	victim.Do(op{Do: "die", H: 1})
	if r := got(); r.Errno != "" {
		p.t.Errorf("the lock of a process that has ended: %v", r)
	}
	p.want("ok", a, p.op("lock", u, 0, 0))
	p.want("ok", b, p.op("lock", w, 0, 0))
}
