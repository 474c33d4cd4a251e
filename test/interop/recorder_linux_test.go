package interop

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

// recorder stands between clients and all bricks of a volume. It notes when each
// fop is called and when its reply goes back, which it holds up for a while: so
// one sees which calls a client has under way at once, and which it makes only
// after it has the answer to others.
type recorder struct {
	server *server
	relays []net.Listener
	wg     sync.WaitGroup

	mu    sync.Mutex
	delay time.Duration
	calls []*call
	conns []net.Conn
}

// hold changes for how long replies are held up.
func (r *recorder) hold(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// call is one fop on its way.
type call struct {
	brick         int
	name          string
	sent, replied time.Time
	due           time.Time // replied is not before
}

// startRecorder opens a port for each brick.
func startRecorder(t testing.TB, s *server) *recorder {
	t.Helper()
	r := &recorder{server: s}
	for i, b := range s.bricks {
		l, err := s.node.Listen("tcp", s.node.Addr(0))
		if err != nil {
			t.Fatal(err)
		}
		port := s.gluster.BrickPort(t, s.volume, b)
		r.relays = append(r.relays, l)
		r.wg.Go(func() { r.accept(l, i, port) })
	}
	t.Cleanup(r.close)
	return r
}

func (r *recorder) close() {
	for _, l := range r.relays {
		l.Close()
	}
	r.mu.Lock()
	for _, c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// volfile is a client volfile whose bricks are at the recorder.
func (r *recorder) volfile(t testing.TB, text string) string {
	t.Helper()
	f, err := volfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range f.Volumes {
		if v.Type == "protocol/client" {
			v.Set("remote-host", r.server.node.IP)
			v.Set("remote-port", fmt.Sprint(r.relays[n].Addr().(*net.TCPAddr).Port))
			n++
		}
	}
	if n != len(r.relays) {
		t.Fatalf("%d clients in the volfile, %d bricks", n, len(r.relays))
	}
	return f.String()
}

func (r *recorder) accept(l net.Listener, brick, port int) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		to, err := r.server.node.Dial("tcp", r.server.node.Addr(port))
		if err != nil {
			client.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, client, to)
		r.mu.Unlock()
		c := &recorded{r: r, brick: brick, open: map[uint32]*call{}}
		r.wg.Go(func() {
			records(client, func(rec []byte) error { c.called(rec); _, err := to.Write(rec); return err })
			to.Close()
		})
		r.wg.Go(func() {
			c.back(to, client)
			client.Close()
		})
	}
}

// recorded is one connection.
type recorded struct {
	r     *recorder
	brick int
	mu    sync.Mutex
	open  map[uint32]*call
}

const recordMark = 4

// records reads RPC records, each in one piece, and hands them on.
func records(from io.Reader, f func([]byte) error) error {
	in := bufio.NewReaderSize(from, 1<<16)
	for {
		var rec []byte
		for last := false; !last; {
			var mark [recordMark]byte
			if _, err := io.ReadFull(in, mark[:]); err != nil {
				return err
			}
			m := binary.BigEndian.Uint32(mark[:])
			last = m&(1<<31) != 0
			n := len(rec)
			rec = append(append(rec, mark[:]...), make([]byte, m&^(1<<31))...)
			if _, err := io.ReadFull(in, rec[n+recordMark:]); err != nil {
				return err
			}
		}
		if err := f(rec); err != nil {
			return err
		}
	}
}

// called notes a call, if it is of a fop.
func (c *recorded) called(rec []byte) {
	const header = recordMark + 6*4
	if len(rec) < header+8 {
		return
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(rec[recordMark+4*i:]) }
	if word(1) != 0 || word(3) != proto.ProgFop {
		return
	}
	// The credential and the verifier: flavor, length and that many bytes.
	body := rec[header:]
	for range 2 {
		if len(body) < 8 {
			return
		}
		n := 8 + int(binary.BigEndian.Uint32(body[4:])+3)&^3
		if n < 8 || len(body) < n {
			return
		}
		body = body[n:]
	}
	k := &call{brick: c.brick, name: callName(proto.Version(word(4)), word(5), body), sent: time.Now()}
	c.r.mu.Lock()
	k.due = k.sent.Add(c.r.delay)
	c.r.mu.Unlock()
	c.mu.Lock()
	c.open[word(0)] = k
	c.mu.Unlock()
	c.r.mu.Lock()
	c.r.calls = append(c.r.calls, k)
	c.r.mu.Unlock()
}

// rootLookup is the name of a lookup of the root as such.
const rootLookup = "LOOKUP /"

// callName is the name of a fop, with what tells those of a transaction apart.
func callName(v proto.Version, proc uint32, body []byte) string {
	name := fop.Op(proc).String()
	req, _, err := proto.DecodeRequest(v, proc, body)
	if err != nil {
		return name
	}
	unlock := false
	switch r := req.(type) {
	case *fop.Lookup:
		if r.GFID.IsRoot() && r.Name == "" {
			return rootLookup
		}
	case *fop.Inodelk:
		unlock = r.Flock.Type == fop.LockUnlock
	case *fop.Finodelk:
		unlock = r.Flock.Type == fop.LockUnlock
	case *fop.Entrylk:
		unlock = r.Cmd == fop.EntrylkFree
	case *fop.Fentrylk:
		unlock = r.Cmd == fop.EntrylkFree
	}
	if unlock {
		name += "-unlock"
	}
	return name
}

// back sends replies, each when its time has come.
func (c *recorded) back(from io.Reader, to io.WriteCloser) {
	type late struct {
		at  time.Time
		rec []byte
	}
	queue := make(chan late, 1024)
	c.r.wg.Go(func() {
		for l := range queue {
			time.Sleep(time.Until(l.at))
			c.mu.Lock()
			xid := binary.BigEndian.Uint32(l.rec[recordMark:])
			k := c.open[xid]
			delete(c.open, xid)
			c.mu.Unlock()
			c.r.mu.Lock()
			if k != nil {
				k.replied = time.Now()
			}
			c.r.mu.Unlock()
			to.Write(l.rec)
		}
		to.Close()
	})
	records(from, func(rec []byte) error {
		if len(rec) < recordMark+8 {
			return io.ErrUnexpectedEOF
		}
		l := late{rec: rec}
		c.mu.Lock()
		if k := c.open[binary.BigEndian.Uint32(rec[recordMark:])]; k != nil {
			l.at = k.due
		}
		c.mu.Unlock()
		queue <- l
		return nil
	})
	close(queue)
}

// take returns the calls since the last time, once all have their replies and
// for a while there have been no others.
func (r *recorder) take(t testing.TB, silence time.Duration) []*call {
	t.Helper()
	start := time.Now()
	testenv.Wait(t, 20*time.Second, "an end of the client's calls", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		last := start
		for _, c := range r.calls {
			if c.replied.IsZero() {
				return false
			}
			if c.replied.After(last) {
				last = c.replied
			}
		}
		return time.Since(last) > silence
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// trip is what a client did for one operation.
type trip struct {
	lines  []string // calls by rounds, those that nobody waits for at the end
	rounds int      // calls in a row until the answer
	calls  int
}

// trace puts calls in rounds: a call belongs to the round after that of all
// calls whose replies were there when it was made.
func (r *recorder) trace(calls []*call, answered time.Time) trip {
	// Clients ask for free space once in a second, and ours for the layout of the
	// root once in ten; they do not wait for the answers.
	calls = slices.DeleteFunc(calls, func(c *call) bool { return c.name == fop.OpStatfs.String() || c.name == rootLookup })
	slices.SortStableFunc(calls, func(a, b *call) int { return a.sent.Compare(b.sent) })
	round := make([]int, len(calls))
	tr := trip{calls: len(calls)}
	type key struct {
		behind bool
		round  int
		name   string
	}
	bricks := map[key][]int{}
	var keys []key
	for i, c := range calls {
		round[i] = 1
		for j, d := range calls[:i] {
			if d.replied.Before(c.sent) {
				round[i] = max(round[i], round[j]+1)
			}
		}
		behind := c.replied.After(answered)
		if !behind {
			tr.rounds = max(tr.rounds, round[i])
		}
		k := key{behind, round[i], c.name}
		if behind {
			k.round = 0 // in which one is chance
		}
		if bricks[k] == nil {
			keys = append(keys, k)
		}
		bricks[k] = append(bricks[k], c.brick)
	}
	slices.SortFunc(keys, func(a, b key) int {
		switch {
		case a.behind != b.behind && a.behind:
			return 1
		case a.behind != b.behind:
			return -1
		case a.round != b.round:
			return a.round - b.round
		}
		return strings.Compare(a.name, b.name)
	})
	for _, k := range keys {
		number := fmt.Sprint(k.round)
		if k.behind {
			number = "-"
		}
		tr.lines = append(tr.lines, fmt.Sprintf("%s %s %s", number, k.name, r.where(bricks[k])))
	}
	return tr
}

// where names the subvolumes of bricks: "0" is the first, in all of its bricks,
// "0/1" one brick of it, whichever.
func (r *recorder) where(bricks []int) string {
	sh := r.server.shape
	count := make([]int, sh.bricks/sh.replica)
	for _, b := range bricks {
		count[b/sh.replica]++
	}
	var words []string
	for i, n := range count {
		switch {
		case n == 0:
		case n%sh.replica == 0:
			words = append(words, strings.Fields(strings.Repeat(fmt.Sprint(i)+" ", n/sh.replica))...)
		default:
			words = append(words, fmt.Sprintf("%d/%d", i, n))
		}
	}
	return strings.Join(words, " ")
}
