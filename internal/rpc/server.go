package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Program is a set of procedures under one number and version.
type Program struct {
	Name            string // as listed by DUMP
	Number, Version uint32
	Procs           []Proc // by procedure number; without Handle: unavailable
}

// A Proc is one procedure.
type Proc struct {
	Name string
	// Handle executes a call. It may block: if it is executed by the goroutine
	// that reads the connection, another one reads on after a millisecond or
	// two (see workers.go). The call must be answered exactly once, with one of Call's
	// methods, by Handle or later by anybody. ctx is done when the caller's
	// connection has ended.
	Handle func(ctx context.Context, call *Call)
	// Exempt calls do not count against the connection's limit: those that
	// may wait for long, for a lock say, and pings.
	Exempt bool
	// Unawaited calls are those whose callers go on without the answer: one
	// before another does not mean that calls come several at a time. Handle
	// must answer them before it returns.
	Unawaited bool
	// Inline calls are executed by the goroutine that reads the connection.
	// Handle must not block.
	Inline bool
}

// Defaults of a Server.
const (
	DefaultOutstanding      = 64
	DefaultWriteTimeout     = 60 * time.Second
	DefaultHandshakeTimeout = 20 * time.Second

	// maxExempt bounds the exempt calls of one connection all the same.
	maxExempt = 1 << 16
	// maxBacklog is the number of messages that may wait for a peer that does
	// not read before callbacks to it end its connection.
	maxBacklog = 4096
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("rpc: server closed")

// A Server answers calls. Its exported fields must be set before Serve and
// left alone after.
type Server struct {
	// Programs in the order in which DUMP lists them.
	Programs []*Program
	// TLS, if not nil, is spoken on all TCP connections; see TLSConfig.
	TLS *tls.Config
	// PrivilegedOnly denies all calls of TCP peers whose port is 1024 or
	// higher.
	PrivilegedOnly bool
	// Outstanding is the number of calls of one connection under way above
	// which the server reads no more of them; 0: DefaultOutstanding,
	// negative: no limit.
	Outstanding int
	// MaxRecord is the size at which a record ends its connection; 0:
	// MaxRecord.
	MaxRecord int
	// WriteTimeout ends connections whose peer does not read for so long;
	// 0: DefaultWriteTimeout, negative: never.
	WriteTimeout time.Duration
	// HandshakeTimeout limits the TLS handshake; 0: DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// KeepAlive of TCP connections, as in DialOptions.
	KeepAliveIdle     time.Duration
	KeepAliveInterval time.Duration
	KeepAliveCount    int
	// OnConnect is called before the first call of a connection is read, and
	// OnDisconnect after the last one was handed to its handler (which may
	// still be busy with it). Each connection that had one has the other.
	OnConnect    func(*Conn)
	OnDisconnect func(*Conn)
	// OnCall is told of every call to an existing procedure.
	OnCall func(conn *Conn, prog, vers, proc uint32)
	Log    *slog.Logger // nil: slog.Default()

	start    sync.Once
	programs programList
	workers  workers
	watchdog watchdog
	running  sync.WaitGroup // connections and Serve loops
	nextID   atomic.Uint64

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*Conn]bool // true: set up
}

func (s *Server) init() {
	s.programs = s.Programs
	s.watchdog.init(s)
	if s.lookupProgram(DumpProgram) == nil {
		s.programs = append(programList{Dump()}, s.Programs...)
	}
	s.listeners = make(map[net.Listener]struct{})
	s.conns = make(map[*Conn]bool)
	if s.Log == nil {
		s.Log = slog.Default()
	}
	if s.Outstanding == 0 {
		s.Outstanding = DefaultOutstanding
	}
	if s.WriteTimeout == 0 {
		s.WriteTimeout = DefaultWriteTimeout
	}
	if s.HandshakeTimeout == 0 {
		s.HandshakeTimeout = DefaultHandshakeTimeout
	}
}

func (s *Server) lookupProgram(number uint32) *Program {
	for _, p := range s.programs {
		if p.Number == number {
			return p
		}
	}
	return nil
}

// lookup finds a procedure, or says why there is none.
func (s *Server) lookup(prog, vers, proc uint32) (*Proc, AcceptStat) {
	stat := ProgUnavail
	for _, p := range s.programs {
		if p.Number != prog {
			continue
		}
		if p.Version != vers {
			stat = ProgMismatch
			continue
		}
		if proc >= uint32(len(p.Procs)) || p.Procs[proc].Handle == nil {
			return nil, ProcUnavail
		}
		return &p.Procs[proc], Success
	}
	return nil, stat
}

// Serve accepts connections of ln, which it closes in the end, and answers
// their calls until ctx is done (then connections end at once) or the server
// is shut down. One server can serve several listeners.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.start.Do(s.init)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		ln.Close()
		return ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer func() {
		stop()
		ln.Close()
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()
	delay := time.Duration(0)
	for {
		conn, err := ln.Accept()
		if err == nil {
			delay = 0
			s.ServeConn(ctx, conn)
			continue
		}
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return ErrServerClosed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("rpc: accepting connections: %w", err)
		}
		// Out of file descriptors, most likely: others must close theirs.
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.Log.Warn("rpc: accepting a connection failed", "listener", ln.Addr(), "err", err, "retry", delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// ServeConn answers the calls of one connection, on goroutines of its own,
// and returns at once.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	s.start.Do(s.init)
	c := newConn(ctx, s, conn)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		c.Close()
		return
	}
	s.conns[c] = false
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		c.serve()
	}()
}

// Conns returns the connections whose set-up is over.
func (s *Server) Conns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c, ready := range s.conns {
		if ready {
			conns = append(conns, c)
		}
	}
	return conns
}

// Shutdown stops listening and reading, waits until the calls under way are
// answered, exempt ones aside, and ends all connections. When ctx is done it
// waits no longer.
func (s *Server) Shutdown(ctx context.Context) error {
	conns := s.stopListening()
	for _, c := range conns {
		c.drain()
	}
	var err error
	for _, c := range conns {
		select {
		case <-c.drained:
		case <-c.ctx.Done():
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		c.Close()
	}
	s.running.Wait()
	s.watchdog.stop()
	s.workers.stop()
	return err
}

// Close ends listeners and connections at once.
func (s *Server) Close() error {
	for _, c := range s.stopListening() {
		c.Close()
	}
	s.running.Wait()
	s.watchdog.stop()
	s.workers.stop()
	return nil
}

func (s *Server) stopListening() []*Conn {
	s.start.Do(s.init)
	s.mu.Lock()
	s.closed = true
	for ln := range s.listeners {
		ln.Close()
	}
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}
