package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/xdr"
)

// A Conn is a connection as the server sees it.
type Conn struct {
	server *Server
	socket net.Conn        // as accepted
	conn   net.Conn        // socket, or TLS over it once that is set up
	raw    syscall.RawConn // of socket; nil if it has none
	id     uint64
	ctx    context.Context
	cancel context.CancelCauseFunc
	wr     writer
	rr     recordReader // belongs to whoever reads, like rd
	rd     plainReader
	value  atomic.Value
	peer   string // common name of the peer's certificate
	denied bool   // the peer's port is not privileged and should be

	// Of the goroutine that reads.
	lone   loneliness
	unsent bool // an answer may have been left in wr's queue
	// turn is odd while the goroutine that reads executes a call; whoever
	// makes it even by compare-and-swap reads on.
	turn atomic.Uint64
	seen uint64 // turn as the watchdog saw it last

	received, calls atomic.Uint64
	callbackXID     atomic.Uint32

	mu          sync.Mutex
	room        sync.Cond // signalled when outstanding or exempt falls, or at the end
	outstanding int
	exempt      int
	draining    bool
	drained     chan struct{} // closed when draining and nothing is outstanding
}

func newConn(ctx context.Context, s *Server, conn net.Conn) *Conn {
	c := &Conn{
		server:  s,
		socket:  conn,
		conn:    conn,
		id:      s.nextID.Add(1),
		rr:      newRecordReader(s.MaxRecord),
		drained: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.room.L = &c.mu
	return c
}

// ID is unique among the server's connections.
func (c *Conn) ID() uint64 { return c.id }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// LocalAddr returns our address.
func (c *Conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// PeerName returns the common name of the peer's certificate; "" without TLS.
func (c *Conn) PeerName() string { return c.peer }

// Context is done when the connection has ended.
func (c *Conn) Context() context.Context { return c.ctx }

// Value returns what SetValue stored last, or nil.
func (c *Conn) Value() any {
	v, _ := c.value.Load().(box)
	return v.v
}

// SetValue stores the server's own state of the connection.
func (c *Conn) SetValue(v any) { c.value.Store(box{v}) }

type box struct{ v any }

// ConnStats are counters of a connection.
type ConnStats struct {
	Calls, BytesSent, BytesReceived uint64
	Outstanding                     int
}

// Stats returns the counters.
func (c *Conn) Stats() ConnStats {
	c.mu.Lock()
	outstanding := c.outstanding + c.exempt
	c.mu.Unlock()
	return ConnStats{c.calls.Load(), c.wr.sent.Load(), c.received.Load(), outstanding}
}

// Close ends the connection at once.
func (c *Conn) Close() error {
	c.end(ErrClosed)
	return nil
}

func (c *Conn) end(cause error) {
	c.cancel(&ConnError{Addr: c.socket.RemoteAddr().String(), Cause: cause})
	c.socket.Close()
	c.mu.Lock()
	c.room.Broadcast()
	c.mu.Unlock()
}

// Callback sends a call to the peer, who never answers it. It does not wait.
func (c *Conn) Callback(prog, vers, proc uint32, body Appender) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if c.wr.backlog() >= maxBacklog {
		err := fmt.Errorf("the peer does not read its callbacks: %w", syscall.ENOBUFS)
		c.end(err)
		return err
	}
	head := NewBuffer(minHead)
	head.B = appendCallHeader(append(head.B, 0, 0, 0, 0), c.callbackXID.Add(1), prog, vers, proc, nil)
	if body != nil {
		head.B = body.AppendXDR(head.B)
	}
	m := new(message)
	if !m.set(head, nil, nil) {
		m.finish()
		return syscall.EMSGSIZE
	}
	return c.wr.send(m)
}

// serve runs the connection from beginning to end.
func (c *Conn) serve() {
	s := c.server
	context.AfterFunc(c.ctx, func() { c.end(context.Cause(c.ctx)) })
	if err := c.setUp(); err != nil {
		s.Log.Info("rpc: connection refused", "peer", c.socket.RemoteAddr(), "err", err)
		c.end(err)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	if s.OnConnect != nil {
		s.OnConnect(c)
	}
	c.readOn()
}

// readOn reads until the connection ends or somebody else reads it.
func (c *Conn) readOn() {
	s := c.server
	err := c.read()
	if err == errReadByOther {
		return
	}
	if err != io.EOF && c.ctx.Err() == nil && !errors.Is(err, syscall.ECONNRESET) {
		s.Log.Warn("rpc: closing a connection", "peer", c.socket.RemoteAddr(), "err", err)
	}
	c.end(err)
	c.wr.fail(context.Cause(c.ctx))
	if s.OnDisconnect != nil {
		s.OnDisconnect(c)
	}
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// setUp does the TLS handshake and sets the options of the socket.
func (c *Conn) setUp() error {
	s := c.server
	if conn, ok := c.socket.(*net.TCPConn); ok {
		if err := setKeepAlive(conn, s.KeepAliveIdle, s.KeepAliveInterval, s.KeepAliveCount); err != nil {
			return err
		}
	}
	if addr, ok := c.socket.RemoteAddr().(*net.TCPAddr); ok {
		c.denied = s.PrivilegedOnly && addr.Port >= 1024
	}
	if _, local := c.socket.RemoteAddr().(*net.UnixAddr); s.TLS != nil && !local {
		secure := tls.Server(c.socket, s.TLS)
		ctx, cancel := context.WithTimeout(c.ctx, s.HandshakeTimeout)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
			c.peer = certs[0].Subject.CommonName
		}
		c.conn = secure
	}
	if conn, ok := c.socket.(syscall.Conn); ok {
		c.raw, _ = conn.SyscallConn()
	}
	c.rd.init(c.conn)
	c.wr.init(c.conn, max(s.WriteTimeout, 0), c.end)
	return nil
}

// read reads records and sends calls on their way until the connection ends.
func (c *Conn) read() error {
	for {
		complete, err := c.rr.next()
		if err != nil {
			return err
		}
		if complete {
			buf, _ := c.rr.take()
			if err := c.record(buf); err != nil {
				return err
			}
			continue
		}
		if c.unsent {
			c.unsent = false
			c.wr.push()
		}
		n, err := c.rd.Read(c.rr.space())
		if n > 0 {
			c.received.Add(uint64(n))
			c.rr.filled(n)
		}
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() && c.isDraining() {
				<-c.ctx.Done()
				return context.Cause(c.ctx)
			}
			return err
		}
	}
}

// record handles one record; an error ends the connection.
func (c *Conn) record(buf *Buffer) error {
	d := xdr.NewDecoder(buf.B)
	xid, kind := d.Uint32(), d.Uint32()
	switch {
	case d.Err() != nil:
		defer buf.Release()
		return fmt.Errorf("%w: record of %d bytes", ErrMalformed, len(buf.B))
	case kind == msgReply: // we expect none
		buf.Release()
		return nil
	case kind != msgCall:
		defer buf.Release()
		return fmt.Errorf("%w: message type %d", ErrMalformed, kind)
	}
	c.calls.Add(1)
	call := getCall()
	call.Conn, call.buf, call.XID = c, buf, xid
	call.exempt = true // until we know better: errors are answered at once
	call.refs.Store(2)
	proc, answered := c.admit(call, &d)
	if answered {
		call.unref()
		return nil
	}
	others := c.begin(call, proc)
	more := c.rr.r < c.rr.w
	switch {
	case proc.Inline:
		call.handle()
		return nil
	case proc.Unawaited && !others:
		call.later = more
		c.unsent = more
	case proc.Unawaited || !c.lone.alone(others || more):
		c.server.workers.run(call)
		return nil
	}
	turn := c.turn.Add(1)
	call.begun = time.Now()
	c.server.watchdog.wake()
	call.handle()
	if !c.turn.CompareAndSwap(turn, turn+1) {
		c.wr.push() // the other one may be reading already
		return errReadByOther
	}
	return nil
}

// admit decodes the header of a call and finds its procedure. A call that
// must not be executed is answered.
func (c *Conn) admit(call *Call, d *xdr.Decoder) (proc *Proc, answered bool) {
	var h callHeader
	c.mu.Lock()
	c.exempt++
	c.mu.Unlock()
	if h.decode(d) != nil {
		call.XID = 0
		call.Fail(GarbageArgs)
		return nil, true
	}
	call.Prog, call.Vers, call.Proc, call.verf = h.prog, h.vers, h.proc, h.verfFlavor
	if err := call.Cred.decode(h.flavor, h.credBody); err != nil {
		stat := AuthOK
		if !h.flavor.known() {
			stat = AuthBadCred
		}
		call.Deny(stat)
		return nil, true
	}
	if c.denied {
		call.Deny(AuthRejectedCred)
		return nil, true
	}
	proc, stat := c.server.lookup(h.prog, h.vers, h.proc)
	if proc == nil {
		call.Fail(stat)
		return nil, true
	}
	call.Args = d.Rest()
	call.proc = proc
	if c.server.OnCall != nil {
		c.server.OnCall(c, h.prog, h.vers, h.proc)
	}
	return proc, false
}

// begin counts a call, and waits first if there are too many under way. It
// reports whether there are others.
func (c *Conn) begin(call *Call, proc *Proc) bool {
	limit := c.server.Outstanding
	c.mu.Lock()
	defer c.mu.Unlock()
	if proc.Exempt {
		for c.exempt > maxExempt && c.ctx.Err() == nil {
			c.room.Wait()
		}
		return c.outstanding > 0
	}
	c.exempt--
	call.exempt = false
	for limit > 0 && c.outstanding >= limit && c.ctx.Err() == nil {
		c.room.Wait()
	}
	c.outstanding++
	return c.outstanding > 1
}

// answered is called when a reply has left, or has no place to go.
func (c *Conn) answered(exempt bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if exempt {
		c.exempt--
	} else {
		c.outstanding--
		if c.draining && c.outstanding == 0 {
			c.closeDrained()
		}
	}
	c.room.Signal()
}

func (c *Conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// drain makes the connection read no more calls.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.socket.SetReadDeadline(time.Unix(1, 0))
	if c.outstanding == 0 {
		c.closeDrained()
	}
}

func (c *Conn) closeDrained() {
	select {
	case <-c.drained:
	default:
		close(c.drained)
	}
}
