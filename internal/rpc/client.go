package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What a client uses unless its options say otherwise. GlusterFS's clients wait
// 42 seconds for an answer to a ping, let the system decide how long sent data
// may stay unacknowledged, and begin to probe idle connections after 20 seconds,
// 9 times every 2 seconds: whoever works with a node that goes away without a
// word waits for it most of a minute. Ours know after some ten seconds. A server
// answers pings and its kernel acknowledges data whatever its disks do, so that
// a busy one is not taken for a dead one.
const (
	DefaultPingTimeout  = 10 * time.Second
	DefaultFrameTimeout = 1800 * time.Second
	DefaultUserTimeout  = 10 * time.Second

	DefaultKeepAliveIdle     = 5 * time.Second
	DefaultKeepAliveInterval = 2 * time.Second
	DefaultKeepAliveCount    = 3
)

// Why a connection can end, besides what the operating system reports.
// Every error of a call on a dead connection also is syscall.ENOTCONN.
var (
	ErrClosed       = errors.New("connection closed by us")
	ErrPingTimeout  = errors.New("the server does not answer pings")
	ErrFrameTimeout = errors.New("no reply in time")
	ErrCallbacks    = errors.New("callbacks come faster than they are handled")
)

// A ConnError is the failure of a connection, or of a call because of it.
type ConnError struct {
	Addr  string // of the server
	Cause error
}

func (e *ConnError) Error() string { return "rpc: " + e.Addr + ": " + e.Cause.Error() }

// Unwrap makes errors.Is(err, syscall.ENOTCONN) true whatever the cause.
func (e *ConnError) Unwrap() []error { return []error{syscall.ENOTCONN, e.Cause} }

// ClientOptions are the options of a connection that do not concern dialing.
// The zero value is usable: no ping, no timeouts, callbacks dropped.
type ClientOptions struct {
	// FirstXID is the xid of the first call; 0 means 2, what GlusterFS sends
	// first. To count on after a reconnect, give the old client's NextXID.
	FirstXID uint32
	// FrameTimeout fails calls that have no reply by then, within about a
	// quarter of it; 0: never. A Request can have its own.
	FrameTimeout time.Duration
	// PingTimeout ends the connection if a ping sent while calls are
	// outstanding stays unanswered for so long and nothing else went over
	// the connection either; 0: no pings. PingInterval is the time between
	// an answer and the next ping; 0: PingTimeout.
	PingTimeout, PingInterval time.Duration
	// PingCred is the credential of pings; nil: AuthGlusterV2 of nobody.
	PingCred *Cred
	// MaxRecord is the size at which an incoming record ends the connection;
	// 0: MaxRecord.
	MaxRecord int
	// WriteTimeout ends the connection if the server does not read for so
	// long; 0: never.
	WriteTimeout time.Duration
	// OnCallback handles calls of the server. They are handled one at a time,
	// in order, beside everything else, and never answered. The callback's
	// memory is free for reuse when OnCallback returns.
	OnCallback func(*Callback)
	// OnCall is told of every call that is sent, pings included, before it is.
	OnCall func(prog, vers, proc uint32)
	// OnDisconnect is told once why the connection ended, on its own
	// goroutine.
	OnDisconnect func(err error)
	Log          *slog.Logger // nil: slog.Default()
}

// A Callback is a call that the server made.
type Callback struct {
	XID, Prog, Vers, Proc uint32
	Body                  []byte
}

// ClientStats are counters of a connection.
type ClientStats struct {
	Calls, Replies, Callbacks    uint64
	Pings                        uint64
	Strays                       uint64 // replies to no call, or to one that was given up
	BytesSent, BytesReceived     uint64
	Outstanding, CallbacksQueued int
}

// A Client is one connection to a server. It is safe for concurrent use.
//
// No goroutine belongs to reading: a caller that waits for its reply reads
// the connection itself, delivers the replies of others on the way, and hands
// the reader's role to another waiter when its own has come. When nobody
// waits, a goroutine takes the role over within some milliseconds, so that
// callbacks and a disconnect are noticed on an idle connection, too.
//
// Lock order: mu before writer.mu, and before nothing else; it is never held
// while writing or reading.
type Client struct {
	conn net.Conn
	addr string
	opts ClientOptions
	wr   writer
	cb   callbackQueue
	done chan struct{}

	recv, calls, replies, strays, callbacks atomic.Uint64

	rr recordReader // belongs to whoever has the reader's role, like rd
	rd plainReader

	mu        sync.Mutex
	err       *ConnError
	xid       uint32
	pending   map[uint32]*Pending
	cur       *Pending // whose reply is coming in just now; not in pending
	leader    *Pending // who has the reader's role; &c.idle: the idle reader
	followers followerList
	idle      Pending // stands for the idle reader
	unsent    bool    // Send has left something in wr's queue
	woken     bool    // a follower got its reply since the role was handed on
	handovers uint64  // how often the role was given up
	seen      uint64  // handovers when idleTimer was set
	idleTimer *time.Timer
	idleArmed bool
	clock     clock
}

// NewClient makes a client of a connection that is established, TLS included.
// The client owns conn from now on.
func NewClient(conn net.Conn, opts ClientOptions) *Client {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	if opts.FirstXID == 0 {
		opts.FirstXID = 2
	}
	c := &Client{
		conn:    conn,
		addr:    conn.RemoteAddr().String(),
		opts:    opts,
		done:    make(chan struct{}),
		xid:     opts.FirstXID,
		pending: make(map[uint32]*Pending),
		rr:      newRecordReader(opts.MaxRecord),
	}
	if c.addr == "" || c.addr == "@" {
		c.addr = conn.LocalAddr().String()
	}
	c.rr.plan = c.plan
	c.idle.c = c
	c.cb.c = c
	c.rd.init(conn)
	c.wr.init(conn, opts.WriteTimeout, c.fail)
	c.clock.init(c)
	c.mu.Lock() // the timer may run at once
	c.idleArmed = true
	c.idleTimer = time.AfterFunc(0, c.idleRead)
	c.mu.Unlock()
	return c
}

// Addr returns the address of the server.
func (c *Client) Addr() string { return c.addr }

// LocalAddr returns our end of the connection.
func (c *Client) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// Conn returns the connection, for its addresses and its TLS state. Reading
// from it, writing to it or setting deadlines breaks the client.
func (c *Client) Conn() net.Conn { return c.conn }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended, a *ConnError, or nil.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return c.err
}

// NextXID returns the xid that the next call will have.
func (c *Client) NextXID() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.xid
}

// Stats returns the counters.
func (c *Client) Stats() ClientStats {
	c.mu.Lock()
	outstanding, pings := c.outstanding(), c.clock.pings
	c.mu.Unlock()
	return ClientStats{
		Pings: pings, Calls: c.calls.Load(), Replies: c.replies.Load(), Callbacks: c.callbacks.Load(), Strays: c.strays.Load(),
		BytesSent: c.wr.sent.Load(), BytesReceived: c.recv.Load(),
		Outstanding: outstanding, CallbacksQueued: c.cb.len(),
	}
}

// outstanding counts calls without a reply, pings aside. mu must be held.
func (c *Client) outstanding() int {
	n := len(c.pending)
	if c.cur != nil {
		n++
	}
	if c.clock.pinging {
		n--
	}
	return n
}

// Waiting is a call that has no reply yet.
type Waiting struct {
	Prog, Proc uint32
	Since      time.Time
}

// Waiting lists the calls that have no reply yet, the oldest first, pings aside.
func (c *Client) Waiting() []Waiting {
	c.mu.Lock()
	all := make([]Waiting, 0, len(c.pending)+1)
	for _, p := range c.pending {
		if !p.ping {
			all = append(all, Waiting{p.prog, p.proc, p.since})
		}
	}
	if p := c.cur; p != nil && !p.ping {
		all = append(all, Waiting{p.prog, p.proc, p.since})
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b Waiting) int { return a.Since.Compare(b.Since) })
	return all
}

// Close ends the connection; outstanding calls fail.
func (c *Client) Close() error {
	c.wr.push() // what Send has left
	c.fail(ErrClosed)
	return nil
}

// fail ends the connection for a reason; only the first counts.
func (c *Client) fail(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = &ConnError{Addr: c.addr, Cause: cause}
	err := c.err
	for xid, p := range c.pending {
		delete(c.pending, xid)
		p.complete(err)
	}
	if c.leader == nil {
		c.dropCurrent(err)
	}
	c.idleTimer.Stop()
	c.clock.stop()
	c.mu.Unlock()

	c.conn.Close()
	c.wr.fail(err)
	close(c.done)
	if c.opts.OnDisconnect != nil {
		go c.opts.OnDisconnect(err)
	}
}

// dropCurrent stops the delivery of a reply that is coming in. mu must be
// held, and the caller must have the reader's role or nobody.
func (c *Client) dropCurrent(err error) {
	p := c.cur
	if p == nil {
		return
	}
	c.rr.abandon()
	c.cur = nil
	p.complete(err)
}

// interruptReader makes a Read that is going on, or the next one, return. mu
// must be held.
func (c *Client) interruptReader() { c.conn.SetReadDeadline(time.Unix(1, 0)) }

// plan decides where a record goes when its front has come. It runs in the
// reader's role.
func (c *Client) plan(front []byte, size int) (plan, error) {
	if size < 8 {
		return plan{}, fmt.Errorf("%w: record of %d bytes", ErrMalformed, size)
	}
	switch be32(front[4:]) {
	case msgCall:
		return plan{}, nil
	case msgReply:
	default:
		return plan{}, fmt.Errorf("%w: message type %d", ErrMalformed, be32(front[4:]))
	}
	p := c.cur
	if p == nil {
		if p = c.claim(be32(front)); p == nil {
			return plan{skip: true}, nil
		}
	}
	if p.split == nil || len(front) < acceptedSize || !plainSuccess(front) || size < acceptedSize+p.prefix {
		return plan{}, nil
	}
	if len(front) < acceptedSize+p.prefix {
		return plan{more: acceptedSize + p.prefix}, nil
	}
	header := p.split(front[acceptedSize:])
	payload := size - acceptedSize - header
	if header < 0 || payload <= 0 {
		return plan{}, nil
	}
	if payload > len(p.into) {
		return plan{}, nil // goes to the buffer with the rest
	}
	return plan{head: acceptedSize + header, payload: p.into[:payload]}, nil
}

// plainSuccess reports whether a reply header with an empty verifier says
// "accepted, success".
func plainSuccess(front []byte) bool {
	return be32(front[8:]) == 0 && be32(front[16:]) == 0 && be32(front[20:]) == 0
}

// claim finds whom a reply is for and makes it the current one.
func (c *Client) claim(xid uint32) *Pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending[xid]
	if p == nil {
		c.strays.Add(1)
		return nil
	}
	delete(c.pending, xid)
	p.state = pendingFilling
	c.cur = p
	return p
}

// deliver hands on the record that has just become complete.
func (c *Client) deliver() error {
	buf, payload := c.rr.take()
	if buf == nil {
		return nil // skipped
	}
	p := c.cur
	if p == nil { // a call, or a reply in several fragments
		if len(buf.B) < 8 {
			buf.Release()
			return fmt.Errorf("%w: record of %d bytes", ErrMalformed, len(buf.B))
		}
		switch be32(buf.B[4:]) {
		case msgCall:
			c.callbacks.Add(1)
			return c.cb.add(buf)
		case msgReply:
		default:
			defer buf.Release()
			return fmt.Errorf("%w: message type %d", ErrMalformed, be32(buf.B[4:]))
		}
		if p = c.claim(be32(buf.B)); p == nil {
			buf.Release()
			return nil
		}
	}
	c.replies.Add(1)
	c.mu.Lock()
	c.cur = nil
	p.buf = buf
	p.direct = payload
	p.complete(nil)
	c.mu.Unlock()
	return nil
}

// lead reads the connection until p's reply has come, p is cancelled or the
// connection has ended. The caller has made p the leader; on return the role
// has been handed on. With the idle reader as p, it reads until somebody
// waits for a reply.
func (c *Client) lead(p *Pending) {
	for {
		complete, err := c.rr.next()
		if complete && err == nil {
			err = c.deliver()
			if err == nil {
				continue
			}
		}
		if err != nil {
			c.opts.Log.Warn("rpc: closing a connection", "server", c.addr, "err", err)
			c.fail(err)
		}
		if c.leaveRole(p) {
			return
		}
		n, err := c.rd.Read(c.rr.space())
		if n > 0 {
			c.recv.Add(uint64(n))
			c.rr.filled(n)
		}
		if err != nil {
			c.readError(err)
		}
	}
}

// leaveRole gives the reader's role to the next waiter or to nobody if p has
// no use for it any more.
func (c *Client) leaveRole(p *Pending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		c.giveRole()
		return true
	case c.cur != nil && c.cur.cancelled:
		c.dropCurrent(errCancelled)
	}
	if p == &c.idle {
		// Once calls are under way their waiters do better by themselves.
		if c.followers.first == nil && !c.woken {
			return false
		}
	} else if p.state != pendingDone && !p.cancelled {
		return false
	}
	c.giveRole()
	return true
}

// giveRole hands the reader's role to the next waiter or to nobody. mu must
// be held by the leader.
func (c *Client) giveRole() {
	if c.err != nil {
		c.dropCurrent(c.err)
		c.leader = nil
		return
	}
	c.handovers++
	c.woken = false
	c.leader = c.followers.pop()
	if c.leader != nil {
		c.leader.wake <- struct{}{}
	} else if !c.idleArmed {
		c.armIdle()
	}
}

// readError ends the connection, or only clears an interrupt.
func (c *Client) readError(err error) {
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.mu.Lock()
		if c.err == nil {
			c.conn.SetReadDeadline(time.Time{})
		}
		c.mu.Unlock()
		return
	}
	c.fail(err)
}

// idleDelay is how long nobody waits for a reply before the idle reader takes
// the role. Taking it costs the next call a goroutine switch.
const idleDelay = 5 * time.Millisecond

func (c *Client) armIdle() {
	c.idleArmed = true
	c.seen = c.handovers
	c.idleTimer.Reset(idleDelay)
}

// idleRead runs on the timer's goroutine and reads while nobody waits.
func (c *Client) idleRead() {
	c.mu.Lock()
	c.idleArmed = false
	switch {
	case c.err != nil || c.leader != nil:
		c.mu.Unlock()
		return
	case c.seen != c.handovers: // calls went by: not idle yet
		c.armIdle()
		c.mu.Unlock()
		return
	}
	c.leader = &c.idle
	c.unlockAndPush()
	c.lead(&c.idle)
}

// unlockAndPush is mu.Unlock for who is about to read, which may take long:
// what Send has left must not wait for that.
func (c *Client) unlockAndPush() {
	unsent := c.unsent
	c.unsent = false
	c.mu.Unlock()
	if unsent {
		c.wr.push()
	}
}

// Send sends a request without a payload, whose reply interests nobody. While
// no other call is under way it goes along with the next one, or by itself
// within two idleDelays; a system call here and a wake-up there are saved so.
// Errors are dropped.
func (c *Client) Send(req *Request) {
	p := pendingPool.Get().(*Pending)
	p.oneWay = true
	c.start(p, req)
}

// Call sends a request and waits for its reply. It is Start and Wait.
func (c *Client) Call(ctx context.Context, req *Request) (Reply, error) {
	return c.Start(req).Wait(ctx)
}
