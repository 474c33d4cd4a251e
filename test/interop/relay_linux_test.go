package interop

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/testenv"
)

// relay stands between a client and a brick and notes which fops the client
// calls. It reads record marks and the heads of calls and passes all on.
type relay struct {
	l    net.Listener
	dial func() (net.Conn, error)

	mu    sync.Mutex
	calls []string
	last  time.Time
	conns []net.Conn
	wg    sync.WaitGroup
}

// startRelay opens a relay to a port of the Node, inside of the Node.
func startRelay(t testing.TB, n *testenv.Node, port int) *relay {
	t.Helper()
	l, err := n.Listen("tcp", n.Addr(0))
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, dial: func() (net.Conn, error) { return n.Dial("tcp", n.Addr(port)) }}
	r.wg.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *relay) port() int { return r.l.Addr().(*net.TCPAddr).Port }

func (r *relay) close() {
	r.l.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *relay) accept() {
	for {
		client, err := r.l.Accept()
		if err != nil {
			return
		}
		brick, err := r.dial()
		if err != nil {
			client.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, client, brick)
		r.mu.Unlock()
		r.wg.Go(func() {
			io.Copy(client, brick)
			client.Close()
		})
		r.wg.Go(func() {
			r.forward(brick, client)
			brick.Close()
		})
	}
}

// forward copies what a client sends, record by record.
func (r *relay) forward(brick io.Writer, client io.Reader) error {
	const (
		lastFragment = 1 << 31
		head         = 4 + 6*4 // mark, xid, kind, RPC version, program, version, procedure
	)
	in := bufio.NewReaderSize(client, 1<<16)
	first := true
	for {
		b, err := in.Peek(4)
		if err != nil {
			return err
		}
		mark := binary.BigEndian.Uint32(b)
		if first {
			if b, err = in.Peek(head); err != nil {
				return err
			}
			word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4+4*i:]) }
			if word(1) == 0 && word(3) == proto.ProgFop {
				r.note(fop.Op(word(5)).String())
			}
		}
		first = mark&lastFragment != 0
		if _, err := io.CopyN(brick, in, int64(4+mark&^lastFragment)); err != nil {
			return err
		}
	}
}

func (r *relay) note(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.last = append(r.calls, name), time.Now()
}

// taken returns the calls since the last time, once there have been none for a
// while: clients release files after they answered their caller.
func (r *relay) taken(t testing.TB) []string {
	t.Helper()
	const silence = 60 * time.Millisecond
	start := time.Now()
	testenv.Wait(t, 10*time.Second, "an end of the client's calls", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return time.Since(r.last) > silence && time.Since(start) > silence
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}
