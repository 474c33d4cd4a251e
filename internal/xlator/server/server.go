package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
)

// Server is the translator.
type Server struct {
	cfg       xlator.Config
	conf      atomic.Pointer[settings]
	bricks    []*brick
	sessions  sessionTable
	groups    groupCache
	rpc       *rpc.Server
	listeners []net.Listener // made by New, until Run serves them
	closing   atomic.Bool
	nextLocal atomic.Uint64

	closeOnce sync.Once
	closeErr  error
}

var _ xlator.BrickServer = (*Server)(nil)

// brick is a child.
type brick struct {
	fop.Handler
	name string
	up   atomic.Bool
}

// New makes the translator. It listens at once where the options name a port or
// a path, so that an address in use fails here, and serves in Run.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) == 0 {
		return nil, fmt.Errorf("protocol/server %s has no brick below it: %w", c.Name, syscall.EINVAL)
	}
	if c.Env == nil {
		c.Env = &xlator.Env{}
	}
	s := &Server{cfg: c}
	s.sessions.gone = (*session).end
	for _, child := range c.Children {
		b := &brick{Handler: child.Handler, name: child.Name}
		b.up.Store(true) // until it says otherwise
		s.bricks = append(s.bricks, b)
	}
	s.conf.Store(newSettings(c.Options))
	if err := s.initRPC(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) initRPC() error {
	opt := s.cfg.Options
	limit := int(opt.Int("rpc.outstanding-rpc-limit", 64))
	if limit == 0 {
		limit = -1
	}
	keep := func(key string, def time.Duration) time.Duration {
		if !opt.Bool("transport.socket.keepalive", true) {
			return -1
		}
		return opt.Duration("transport.socket.keepalive-"+key, def)
	}
	s.rpc = &rpc.Server{
		Programs:          s.programs(),
		PrivilegedOnly:    !opt.Bool("rpc-auth-allow-insecure", true),
		Outstanding:       limit,
		KeepAliveIdle:     keep("time", 20*time.Second),
		KeepAliveInterval: keep("interval", 2*time.Second),
		KeepAliveCount:    int(opt.Int("transport.socket.keepalive-count", 9)),
		OnConnect:         func(c *rpc.Conn) { c.SetValue(&peer{conn: c}) },
		OnDisconnect:      func(c *rpc.Conn) { c.Value().(*peer).end() },
		Log:               s.cfg.Log,
	}
	if opt.Bool("transport.socket.ssl-enabled", false) {
		config, err := rpc.TLSConfig(opt, s.cfg.Log)
		if err != nil {
			return fmt.Errorf("transport.socket.ssl-enabled: %w", err)
		}
		s.rpc.TLS = config
	}
	return nil
}

// brick returns the child of that name, nil if there is none.
func (s *Server) brick(name string) *brick {
	for _, b := range s.bricks {
		if b.name == name {
			return b
		}
	}
	return nil
}

// Do passes a fop of the process itself to its only brick.
func (s *Server) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if len(s.bricks) != 1 {
		return nil, fmt.Errorf("%v: %d bricks below %s: %w", req.Op(), len(s.bricks), s.cfg.Name, syscall.ENXIO)
	}
	return s.bricks[0].Do(ctx, req)
}

// ChildEvent keeps who is up, tells the clients of a brick when that changes,
// and passes the event on.
func (s *Server) ChildEvent(child string, ev fop.Event) {
	kind := fop.UpcallChildUp
	switch ev.Kind {
	case fop.EventChildUp:
	case fop.EventChildDown:
		kind = fop.UpcallChildDown
	default:
		s.cfg.Notify(ev)
		return
	}
	if b := s.brick(child); b != nil {
		up := kind == fop.UpcallChildUp
		if b.up.Swap(up) != up {
			for _, sess := range s.sessions.list(b) {
				sess.upcall(&fop.Upcall{Kind: kind})
			}
		}
	}
	s.cfg.Notify(ev)
}

// Run serves the listeners that New made.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.listeners))
	for i, l := range s.listeners {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = s.Serve(ctx, l)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Serve accepts clients from l until ctx is done or the server is shut down.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	err := s.rpc.Serve(ctx, l)
	if errors.Is(err, rpc.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

// Listeners returns the addresses that the options made the server listen on.
func (s *Server) Listeners() []net.Addr {
	var all []net.Addr
	for _, l := range s.listeners {
		all = append(all, l.Addr())
	}
	return all
}

// Bricks names the bricks.
func (s *Server) Bricks() []string {
	var all []string
	for _, b := range s.bricks {
		all = append(all, b.name)
	}
	return all
}

// Shutdown stops serving: no new clients, calls under way end while ctx lasts,
// then all sessions are taken down.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.closing.Store(true)
		s.closeErr = s.rpc.Shutdown(ctx)
		for _, l := range s.listeners {
			l.Close() // those that Run never got to
		}
		s.sessions.stop(ctx)
	})
	return s.closeErr
}

// closeGrace is for how long Close lets calls under way end.
const closeGrace = 2 * time.Second

// Close shuts down without much ado.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	s.Shutdown(ctx)
	return nil
}

// Reconfigure takes new options. Those of the listening socket, of TLS and the
// limit of outstanding calls take effect when the process starts next.
func (s *Server) Reconfigure(opt xlator.Options) error {
	old := s.conf.Swap(newSettings(opt)).opt
	for key, v := range opt {
		if old[key] == v {
			continue
		}
		switch o, _ := xlator.Find(options, key); {
		case key == "rpc.outstanding-rpc-limit", key == "rpc-auth-allow-insecure",
			len(key) > 10 && key[:10] == "transport.":
			if o.Ignored == "" {
				s.cfg.Log.Info("option takes effect when the brick starts next", "option", key, "value", v)
			}
		}
	}
	if !opt.Bool("dynamic-auth", true) {
		return nil
	}
	for _, conn := range s.rpc.Conns() {
		p, _ := conn.Value().(*peer)
		if p == nil || p.session.Load() == nil {
			continue
		}
		p.mu.Lock()
		c := p.creds
		p.mu.Unlock()
		if ok, _ := authenticate(opt, c); !ok {
			s.cfg.Log.Info("client is no longer allowed", "address", p.addrText(), "brick", c.brick)
			conn.Close()
		}
	}
	return nil
}

// Clients describes the clients of one brick.
func (s *Server) Clients(name string) []xlator.ClientInfo {
	b := s.brick(name)
	if b == nil {
		return nil
	}
	var all []xlator.ClientInfo
	for _, sess := range s.sessions.list(b) {
		info := xlator.ClientInfo{
			ID: sess.Client.ID, Name: sess.Client.Name, Addr: sess.Client.Addr,
			OpVersion: sess.Client.OpVersion, Since: sess.since, Subdir: sess.subdirPath,
			InFlight: int(sess.inflight.Load()) - 1,
		}
		info.Fds, info.FdSlots, info.FirstFree = sess.fds.list()
		sess.mu.Lock()
		for p := range sess.conns {
			st := p.conn.Stats()
			info.BytesIn += st.BytesReceived
			info.BytesOut += st.BytesSent
		}
		sess.mu.Unlock()
		all = append(all, info)
	}
	return all
}

// Dump writes the clients and their open files.
func (s *Server) Dump(w io.Writer) {
	for _, b := range s.bricks {
		clients := s.Clients(b.name)
		fmt.Fprintf(w, "brick=%s\nup=%v\nclients=%d\n", b.name, b.up.Load(), len(clients))
		for i, c := range clients {
			fmt.Fprintf(w, "conn.%d.id=%s\nconn.%d.address=%s\nconn.%d.fds=%d\nconn.%d.in-flight=%d\n",
				i, c.ID, i, c.Addr, i, len(c.Fds), i, c.InFlight)
			for _, f := range c.Fds {
				fmt.Fprintf(w, "conn.%d.fd.%d=gfid=%s,flags=%#o,refcount=%d\n", i, f.Number, f.GFID, f.Flags, f.Refs)
			}
		}
	}
}

// programs are listed in the order in which GlusterFS's bricks have them.
func (s *Server) programs() []*rpc.Program {
	return []*rpc.Program{
		s.fopProgram("GlusterFS 4.x v1", proto.V400),
		s.fopProgram("GlusterFS 3.3", proto.V330),
		rpc.Dump(),
		s.handshakeProgram(),
	}
}
