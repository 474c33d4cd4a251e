// Package volserver is the client of volfile servers: it gets volfiles from
// management daemons, glusterd of GlusterFS or ours, and hears when they change.
//
// A [Client] knows several servers, those that it was given and those that they
// name in their answers. It asks them in turn and keeps the connection to the
// one that answered, for daemons tell over it that some volfile changed
// (callback FETCHSPEC). When the connection is lost it goes on to the next
// server, every three seconds, and then behaves as if the volfile had changed.
//
// The messages are those of the programs Gluster Handshake (14398633 version 2)
// and Gluster Callback (52743234 version 1).
//
// Read next: server.go for how servers are named, fetch.go for the errors that
// users see, internal/mount for the main user.
package volserver

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

const (
	// reconnectInterval is the pause between attempts, as in GlusterFS.
	reconnectInterval = 3 * time.Second
	// serverTimeout is what one server may take while there are others.
	serverTimeout = 10 * time.Second
	// maxAnswer bounds an answer.
	maxAnswer = 20 << 20
)

// Config says whom to ask for what.
type Config struct {
	Servers []Server
	// ID is the volfile id: the name of a volume, or a name by which daemons
	// ask, as in "shd/data" or "data.host.bricks-data".
	ID string
	// Brick is the path of the brick that asks; empty for clients.
	Brick string
	// Dial connects; nil: as GlusterFS does, from a port below 49152.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS, if set, is used with all servers but those on unix sockets.
	TLS *tls.Config
	// OnCall, if set, is told of every call.
	OnCall func(prog, vers, proc uint32)
	// OnDump, if set, is called when a server wants a statedump of this process
	// (gluster volume statedump VOLUME client HOST:PID).
	OnDump func()
	Log    *slog.Logger // nil: slog.Default()
}

// Client gets one volfile. It is safe for concurrent use.
type Client struct {
	cfg     Config
	log     *slog.Logger
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	changed chan struct{}
	work    sync.WaitGroup
	dialing chan struct{} // held by who makes the connection

	mu      sync.Mutex
	servers []Server
	next    int // whom to ask first
	conn    *rpc.Client
	closed  bool
}

// New makes a client. It connects when it is first asked.
func New(cfg Config) *Client {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Client{cfg: cfg, log: cfg.Log, changed: make(chan struct{}, 1), dialing: make(chan struct{}, 1),
		servers: append([]Server(nil), cfg.Servers...)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Changed receives something when the volfile may have changed. Fetch tells
// whether it did.
func (c *Client) Changed() <-chan struct{} { return c.changed }

func (c *Client) poke() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Servers returns the servers that are known by now.
func (c *Client) Servers() []Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Server(nil), c.servers...)
}

// Close ends the connection and all that goes on.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	conn := c.conn
	c.conn = nil
	c.mu.Unlock()
	c.cancel()
	if conn != nil {
		conn.Close()
	}
	c.work.Wait()
	return nil
}

var errClosed = fmt.Errorf("the connection to the volfile server is closed: %w", fs.ErrClosed)

// live returns the connection if there is one.
func (c *Client) live() (*rpc.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if c.conn != nil && c.conn.Err() != nil {
		c.conn = nil
	}
	return c.conn, nil
}

// keep makes conn the connection and watches over it.
func (c *Client) keep(conn *rpc.Client, server Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return errClosed
	}
	c.conn = conn
	for i, s := range c.servers {
		if s == server {
			c.next = i
		}
	}
	c.work.Add(1)
	go c.watch(conn)
	return nil
}

// watch waits for the end of a connection and makes another one.
func (c *Client) watch(conn *rpc.Client) {
	defer c.work.Done()
	select {
	case <-conn.Done():
	case <-c.ctx.Done():
		conn.Close()
		return
	}
	c.mu.Lock()
	lost := c.conn == conn
	if lost {
		c.conn = nil
		c.next++
	}
	c.mu.Unlock()
	if !lost {
		return // somebody was faster
	}
	c.log.Warn("connection to the volfile server is lost", "server", conn.Addr(), "err", conn.Err())
	for first := true; c.ctx.Err() == nil; first = false {
		ctx, cancel := context.WithTimeout(c.ctx, serverTimeout*time.Duration(1+len(c.Servers())))
		now, err := c.connection(ctx, nil)
		cancel()
		if err == nil {
			c.log.Info("connected to a volfile server", "server", now.Addr())
			c.poke()
			return
		}
		if first {
			c.log.Warn("no volfile server is reachable", "err", err)
		}
		select {
		case <-time.After(reconnectInterval):
		case <-c.ctx.Done():
		}
	}
}

// connection returns the connection, made if there is none. Servers are tried in
// turn; try, if given, can refuse one after it is connected.
func (c *Client) connection(ctx context.Context, try func(context.Context, *rpc.Client) error) (*rpc.Client, error) {
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ctx.Done():
		return nil, errClosed
	}
	if conn, err := c.live(); err != nil {
		return nil, err
	} else if conn != nil {
		if try == nil {
			return conn, nil
		}
		err := try(ctx, conn)
		if err == nil || conn.Err() == nil {
			return conn, err
		}
	}
	return c.anyServer(ctx, try)
}

func (c *Client) anyServer(ctx context.Context, try func(context.Context, *rpc.Client) error) (*rpc.Client, error) {
	c.mu.Lock()
	servers, first := append([]Server(nil), c.servers...), c.next
	c.mu.Unlock()
	if len(servers) == 0 {
		return nil, fmt.Errorf("no volfile server is given: %w", syscall.EDESTADDRREQ)
	}
	failed := &ServersError{ID: c.cfg.ID}
	for i := range servers {
		s := servers[(first+i)%len(servers)]
		conn, err := c.tryServer(ctx, s, len(servers)-i, try)
		if err == nil {
			return conn, c.keep(conn, s)
		}
		failed.Failures = append(failed.Failures, Failure{s, reason(err)})
		if ctx.Err() != nil || c.ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// tryServer connects to one server, with its share of the time that is left.
func (c *Client) tryServer(ctx context.Context, s Server, left int, try func(context.Context, *rpc.Client) error) (*rpc.Client, error) {
	limit := serverTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)/time.Duration(left))
		if left == 1 {
			limit = time.Until(end)
		}
	}
	sctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := c.dial(sctx, s)
	if err == nil && try != nil {
		if err = try(sctx, conn); err != nil {
			conn.Close()
		}
	}
	if err != nil && errors.Is(sctx.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("no answer within %v: %w", limit.Round(time.Millisecond), syscall.ETIMEDOUT)
	}
	return conn, err
}

func (c *Client) dial(ctx context.Context, s Server) (*rpc.Client, error) {
	opts := rpc.DialOptions{
		Network: s.Network,
		Address: s.Addr,
		ClientOptions: rpc.ClientOptions{
			MaxRecord:  maxAnswer,
			OnCallback: c.callback,
			OnCall:     c.cfg.OnCall,
			Log:        c.log,
		},
	}
	if s.Network != "unix" && c.cfg.TLS != nil {
		if opts.TLS = c.cfg.TLS; opts.TLS.ServerName == "" && !opts.TLS.InsecureSkipVerify {
			opts.TLS = opts.TLS.Clone()
			opts.TLS.ServerName, _, _ = net.SplitHostPort(s.Addr)
		}
	}
	if c.cfg.Dial == nil {
		return rpc.Dial(ctx, opts)
	}
	conn, err := c.cfg.Dial(ctx, s.Network, s.Addr)
	if err != nil {
		return nil, err
	}
	if opts.TLS != nil {
		secure := tls.Client(conn, opts.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		conn = secure
	}
	return rpc.NewClient(conn, opts.ClientOptions), nil
}

func (c *Client) callback(cb *rpc.Callback) {
	if cb.Prog != proto.ProgCallback {
		return
	}
	switch cb.Proc {
	case proto.CallbackFetchSpec:
		c.poke()
	case proto.CallbackStatedump:
		// The server tells all clients on a machine whose process is meant.
		if c.cfg.OnDump != nil && len(cb.Body) >= 4 && binary.BigEndian.Uint32(cb.Body) == uint32(os.Getpid()) {
			go c.cfg.OnDump()
		}
	}
}

// Call makes a call over the connection, which is made if there is none: a brick
// signs in at the portmapper over the same connection by which it got its
// volfile.
func (c *Client) Call(ctx context.Context, prog, vers, proc uint32, args rpc.Appender) (rpc.Reply, error) {
	conn, err := c.connection(ctx, nil)
	if err != nil {
		return rpc.Reply{}, err
	}
	return conn.Call(ctx, &rpc.Request{Prog: prog, Vers: vers, Proc: proc, Cred: cred(), Args: args})
}

func cred() *rpc.Cred {
	return &rpc.Cred{Flavor: rpc.AuthGlusterV2, PID: int32(os.Getpid()), LockOwner: make([]byte, 8)}
}
