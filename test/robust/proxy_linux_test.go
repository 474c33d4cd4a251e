package robust

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes connections on to a target, and cuts or stalls them on
// request. The kernel here has no netem.
type proxy struct {
	addr   string
	target func() string
	l      net.Listener
	work   sync.WaitGroup

	mu      sync.Mutex
	pairs   map[*pair]bool
	stalled chan struct{} // not nil: nothing moves until it is closed
	bytes   atomic.Int64
	cutAt   atomic.Int64 // cut all when so many bytes have passed; 0 never
}

type pair struct{ a, b net.Conn }

func (p *pair) close() { p.a.Close(); p.b.Close() }

func newProxy(t testing.TB, target func() string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target, l: l, pairs: make(map[*pair]bool)}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.stall(false)
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		a, err := p.l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", p.target())
		if err != nil {
			a.Close()
			continue
		}
		pr := &pair{a, b}
		p.mu.Lock()
		p.pairs[pr] = true
		p.mu.Unlock()
		p.work.Go(func() { p.copy(pr, a, b) })
		p.work.Go(func() { p.copy(pr, b, a) })
	}
}

func (p *proxy) copy(pr *pair, dst, src net.Conn) {
	defer func() {
		pr.close()
		p.mu.Lock()
		delete(p.pairs, pr)
		p.mu.Unlock()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		p.mu.Lock()
		wait := p.stalled
		p.mu.Unlock()
		if wait != nil {
			<-wait
		}
		if at := p.cutAt.Load(); at > 0 && p.bytes.Add(int64(n)) >= at && p.cutAt.CompareAndSwap(at, 0) {
			dst.Write(buf[:n/2]) // in the middle of a record
			p.cut()
			return
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pr := range p.pairs {
		pr.close()
	}
}

// cutAfter ends all connections once n more bytes have passed.
func (p *proxy) cutAfter(n int64) {
	p.bytes.Store(0)
	p.cutAt.Store(n)
}

// stall holds everything back, without ending connections.
func (p *proxy) stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.stalled == nil:
		p.stalled = make(chan struct{})
	case !on && p.stalled != nil:
		close(p.stalled)
		p.stalled = nil
	}
}
