package failover

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/testenv"
)

// relay stands between a client and one brick. It passes records on, sees which
// fops go by, and cuts the brick off when its trigger says so. A brick that is
// cut off refuses connections until restore.
type relay struct {
	l    net.Listener
	dial func() (net.Conn, error)
	wg   sync.WaitGroup

	mu      sync.Mutex
	down    bool
	pairs   map[*pair]bool
	trip    *trigger
	last    time.Time // when something went by
	waiting int       // calls without a reply
	silence time.Time // nothing gets through until then; zero: all does

	brick int
	seen  *history // nil: nothing is kept
}

// trigger says at which request to cut.
type trigger struct {
	match func(*call) bool // of fops in order; it may remember what it has seen
	after bool             // the brick does the request and the reply is lost
	// hold is called, without locks, when the request or reply is in the
	// relay's hands, and the cut follows its return.
	hold  func()
	fired chan struct{}
	once  sync.Once
}

// call is a fop as it went by.
type call struct {
	op  fop.Op
	req fop.Request
}

// pair is a connection of a client and the one behind it.
type pair struct {
	client, brick net.Conn
	calls         map[uint32]bool   // fops under way, by their xid
	told          map[uint32]string // of those that the history has, what they are
	lost          uint32            // the reply that is to be lost
	losing        *trigger
}

func (p *pair) close() {
	// What is under way is not to arrive any more.
	for _, c := range []net.Conn{p.client, p.brick} {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}

// newRelay opens a relay to a port of the Node, inside of the Node.
func newRelay(t testing.TB, n *testenv.Node, port func() int) *relay {
	t.Helper()
	l, err := n.Listen("tcp", n.Addr(0))
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, dial: func() (net.Conn, error) { return n.Dial("tcp", n.Addr(port())) }, pairs: map[*pair]bool{}}
	r.wg.Go(r.accept)
	return r
}

func (r *relay) port() int { return r.l.Addr().(*net.TCPAddr).Port }

// watch has what passes about names kept in seen, as of this brick.
func (r *relay) watch(brick int, seen *history) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.brick, r.seen = brick, seen
}

func (r *relay) close() {
	r.l.Close()
	r.cut()
	r.wg.Wait()
}

func (r *relay) accept() {
	for {
		client, err := r.l.Accept()
		if err != nil {
			return
		}
		var brick net.Conn
		r.mu.Lock()
		down := r.down
		r.mu.Unlock()
		if !down {
			brick, err = r.dial()
		}
		r.mu.Lock()
		if r.down || down || err != nil {
			r.mu.Unlock()
			if brick != nil {
				brick.Close()
			}
			client.Close()
			continue
		}
		p := &pair{client: client, brick: brick, calls: map[uint32]bool{}, told: map[uint32]string{}}
		r.seen.add("brick %d: %v connects", r.brick, client.RemoteAddr())
		r.pairs[p] = true
		r.mu.Unlock()
		r.wg.Go(func() { r.copy(p, client, brick, r.request) })
		r.wg.Go(func() { r.copy(p, brick, client, r.reply) })
	}
}

// copy passes records on until one side closes, or look says to stop.
func (r *relay) copy(p *pair, src, dst net.Conn, look func(*pair, []byte) fate) {
	defer func() {
		p.close()
		r.mu.Lock()
		if r.pairs[p] {
			r.seen.add("brick %d: %v is gone", r.brick, p.client.RemoteAddr())
		}
		delete(r.pairs, p)
		r.waiting -= len(p.calls)
		clear(p.calls)
		r.mu.Unlock()
	}()
	for {
		raw, msg, err := readRecord(src)
		if err != nil {
			return
		}
		switch look(p, msg) {
		case lose:
			continue
		case end:
			return
		}
		if _, err := dst.Write(raw); err != nil {
			return
		}
	}
}

// fate is what becomes of a record.
type fate int

const (
	pass fate = iota
	lose
	end // of the connection
)

// readRecord reads a record: as it is on the wire, and without its marks.
func readRecord(src io.Reader) (raw, msg []byte, err error) {
	for {
		var mark [4]byte
		if _, err := io.ReadFull(src, mark[:]); err != nil {
			return nil, nil, err
		}
		m := binary.BigEndian.Uint32(mark[:])
		n := int(m &^ (1 << 31))
		if n > 1<<27 {
			return nil, nil, errors.New("absurd record")
		}
		frag := make([]byte, 4+n)
		copy(frag, mark[:])
		if _, err := io.ReadFull(src, frag[4:]); err != nil {
			return nil, nil, err
		}
		raw, msg = append(raw, frag...), append(msg, frag[4:]...)
		if m>>31 == 1 {
			return raw, msg, nil
		}
	}
}

// parseCall decodes a call of the fop program; nil for all others.
func parseCall(msg []byte) *call {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(msg[4*i:]) }
	if len(msg) < 40 || word(1) != 0 || word(3) != proto.ProgFop {
		return nil
	}
	c := &call{op: fop.Op(word(5))}
	body := msg[24:]
	for range 2 { // credentials and verifier
		if len(body) < 8 {
			return c
		}
		n := int(binary.BigEndian.Uint32(body[4:])+3) &^ 3
		if len(body) < 8+n {
			return c
		}
		body = body[8+n:]
	}
	c.req, _, _ = proto.DecodeRequest(proto.Version(word(4)), word(5), body)
	return c
}

// request sees what a client sends.
func (r *relay) request(p *pair, msg []byte) fate {
	c := parseCall(msg)
	if c == nil || c.op == fop.OpRelease || c.op == fop.OpReleasedir {
		return r.mute()
	}
	xid := binary.BigEndian.Uint32(msg)
	r.mu.Lock()
	r.last = time.Now()
	if r.seen != nil {
		if text := c.describe(); text != "" {
			p.told[xid] = text
			r.seen.add("brick %d %v > %s", r.brick, p.client.RemoteAddr(), text)
		}
	}
	t := r.trip
	if t == nil || !t.match(c) {
		if r.pairs[p] {
			p.calls[xid] = true
			r.waiting++
		}
		r.mu.Unlock()
		return r.mute()
	}
	r.trip = nil
	if t.after {
		p.lost, p.losing = xid, t
		r.mu.Unlock()
		return pass
	}
	r.mu.Unlock()
	r.drain(p)
	r.fire(t)
	return end
}

// drain waits for the replies to what went before: what a brick has not read
// when its connection ends it may do or not. Locks that wait are not waited for.
func (r *relay) drain(p *pair) {
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		r.mu.Lock()
		n := len(p.calls)
		r.mu.Unlock()
		if n == 0 {
			return
		}
	}
}

// reply sees what a brick sends.
func (r *relay) reply(p *pair, msg []byte) fate {
	if len(msg) < 8 {
		return pass
	}
	xid, kind := binary.BigEndian.Uint32(msg), binary.BigEndian.Uint32(msg[4:])
	r.mu.Lock()
	t := p.losing
	if kind == 1 && p.calls[xid] {
		delete(p.calls, xid)
		r.waiting--
		r.last = time.Now()
	}
	if text := p.told[xid]; kind == 1 && text != "" {
		delete(p.told, xid)
		r.seen.add("brick %d %v < %s: %s", r.brick, p.client.RemoteAddr(), text, replyText(msg))
	}
	r.mu.Unlock()
	if kind == 1 && t != nil && xid == p.lost {
		// The replies of others come on this very connection.
		r.wg.Go(func() {
			r.drain(p)
			r.fire(t)
		})
		return lose
	}
	return r.mute()
}

// mute waits while nothing is to get through.
func (r *relay) mute() fate {
	for {
		r.mu.Lock()
		wait, down := time.Until(r.silence), r.down
		r.mu.Unlock()
		switch {
		case wait <= 0:
			return pass
		case down:
			return end
		}
		time.Sleep(min(wait, 5*time.Millisecond))
	}
}

// stall lets nothing through for a while, without ending connections; 0 ends it.
func (r *relay) stall(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silence = time.Now().Add(d)
}

func (r *relay) fire(t *trigger) {
	if t.hold != nil {
		t.once.Do(func() { close(t.fired) })
		t.hold()
		r.cut()
		return
	}
	r.cut()
	t.once.Do(func() { close(t.fired) })
}

// cut ends all connections and takes no new ones.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down, r.last = true, time.Now()
	for p := range r.pairs {
		p.close()
	}
}

// restore takes connections again.
func (r *relay) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down, r.trip = false, nil
}

// arm sets the trigger.
func (r *relay) arm(t *trigger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.fired = make(chan struct{})
	r.trip = t
}

// clients is the number of connections.
func (r *relay) clients() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pairs)
}

// quiet reports whether nothing went by for a while and no call waits.
func (r *relay) quiet(d time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting <= 0 && time.Since(r.last) > d
}
