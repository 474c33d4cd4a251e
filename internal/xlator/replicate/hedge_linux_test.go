package replicate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator/client"
)

// stall is a way to a brick on which replies can be held up.
type stall struct {
	t    testing.TB
	l    net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex
	open chan struct{} // closed while replies flow
	all  []net.Conn
}

func newStall(t testing.TB, port int) *stall {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stall{t: t, l: l, open: make(chan struct{})}
	close(s.open)
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				c.Close()
				continue
			}
			s.mu.Lock()
			s.all = append(s.all, c, b)
			s.mu.Unlock()
			s.wg.Go(func() { io.Copy(b, c); b.Close() })
			s.wg.Go(func() { s.replies(c, b); c.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.resume()
		s.mu.Lock()
		for _, c := range s.all {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *stall) replies(to, from net.Conn) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		open := s.open
		s.mu.Unlock()
		<-open
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (s *stall) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = make(chan struct{})
}

func (s *stall) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.open:
	default:
		close(s.open)
	}
}

// TestHedgeBricks: a brick that hangs, connected but mute, delays readers by the
// hedge-delay only; what it says when it wakes up harms nobody's memory.
func TestHedgeBricks(t *testing.T) {
	d := newDisks(t, 3, 0)
	m := d.mount()
	fd, err := m.create("f")
	must(t, err)
	contents := strings.Repeat("0123456789abcdef", 4096)
	must(t, m.write(fd, 0, contents))
	must(t, m.flush(fd))
	m.release(fd)
	m.quiesce(0)

	var text strings.Builder
	var ways []*stall
	for i := range 3 {
		ways = append(ways, newStall(t, d.up.BrickPort(i)))
		fmt.Fprintf(&text, "volume v-client-%d\n type protocol/client\n option remote-host 127.0.0.1\n option remote-port %d\n option remote-subvolume %s\n option ping-timeout 60\nend-volume\n",
			i, ways[i].l.Addr().(*net.TCPAddr).Port, d.up.Volume.Bricks[i].Path)
	}
	text.WriteString("volume v-replicate-0\n type cluster/replicate\n option hedge-delay 50ms\n option choose-local off\n subvolumes v-client-0 v-client-1 v-client-2\nend-volume\n")
	file, err := volfile.Parse(text.String())
	must(t, err)
	g, err := graph.Build(context.Background(), file, graph.NewRegistry(client.Type, Type), nil, graph.WithLog(quiet))
	must(t, err)
	defer g.Close()
	must(t, g.WaitUp(t.Context()))
	r := g.Top().(*replicate)
	head := fop.Header{Cred: fop.Cred{PID: 4711}}
	gfid := fd.GFID
	if _, err := fop.Call(t.Context(), r, &fop.Stat{Header: head, GFID: gfid}); err != nil {
		t.Fatal(err)
	}
	first := int(superFastHash(&gfid) % 3)
	buf := make([]byte, len(contents))
	read := func(ctx context.Context) time.Duration {
		t.Helper()
		begin := time.Now()
		clear(buf)
		reply, err := fop.Call(ctx, r, &fop.Read{Header: head, GFID: gfid, Size: uint32(len(buf)), Into: buf})
		if err != nil {
			t.Fatal(err)
		}
		if string(reply.Data) != contents || &reply.Data[0] != &buf[0] {
			t.Errorf("read %d other bytes", len(reply.Data))
		}
		return time.Since(begin)
	}
	read(t.Context())
	for round := range 3 {
		ways[first].hold()
		before := r.hedgeWins.Load()
		for range 5 {
			// With a context of its own and without.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if took := read(ctx); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			cancel()
			read(context.Background())
		}
		if won := r.hedgeWins.Load() - before; won != 10 {
			t.Errorf("round %d: %d of 10 reads were answered by another brick", round, won)
		}
		// The brick says what it had to say. Nobody waits for it any more.
		for i := range buf {
			buf[i] = '!'
		}
		ways[first].resume()
		if _, err := fop.Call(t.Context(), r.children[first], &fop.Stat{Header: head, GFID: gfid}); err != nil {
			t.Fatal(err)
		}
		if i := bytes.IndexFunc(buf, func(c rune) bool { return c != '!' }); i >= 0 {
			t.Fatalf("a late reply was written to memory at %d", i)
		}
	}
	if r.view().up != all(3) {
		t.Error("a connection was lost")
	}
}
