package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
)

// How long to wait before connecting again: doubled with every failure.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// refusal is a failed connect that tells the parents more than that.
type refusal struct {
	kind fop.EventKind
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// Run keeps the client connected until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	delay := firstRetry
	said := ""
	for ctx.Err() == nil {
		l, up, err := c.connect(ctx)
		if err == nil {
			delay, said = firstRetry, ""
			err = c.serve(ctx, l, up)
			if ctx.Err() != nil {
				return nil
			}
			c.log.Warn("disconnected", "brick", c.set.Load().brick(), "err", err)
		} else if ctx.Err() == nil {
			c.why.Store(&err)
			said = c.report(err, said)
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
		case <-c.moved:
		case <-timer.C:
		}
		timer.Stop()
		delay = min(2*delay, lastRetry)
	}
	return nil
}

// report tells of a failed attempt, but not of the same refusal again.
func (c *Client) report(err error, said string) string {
	text := err.Error()
	var r *refusal
	refused := errors.As(err, &r)
	if text != said {
		c.log.Warn("cannot connect", "err", err)
	}
	switch {
	case refused && text == said:
	case refused:
		c.notify(fop.Event{Kind: r.kind, From: c.name, Err: err})
	default:
		c.notify(fop.Event{Kind: fop.EventChildConnecting, From: c.name, Err: err})
	}
	return text
}

// serve uses a connection until it ends, and returns why it did.
func (c *Client) serve(ctx context.Context, l *link, up chan bool) (err error) {
	defer func() {
		was := c.link.Swap(nil)
		c.why.Store(&err)
		l.close()
		if l.rpc != nil {
			c.mu.Lock()
			c.xid = l.rpc.NextXID()
			c.mu.Unlock()
		}
		if was != nil && ctx.Err() == nil {
			c.notify(fop.Event{Kind: fop.EventNoticesLost, From: c.name, Err: err})
			c.notify(fop.Event{Kind: fop.EventChildDown, From: c.name, Err: err})
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("brick %s: this client is closed: %w", c.set.Load().brick(), syscall.ENOTCONN)
		case <-l.done():
			return l.err(c.set.Load().brick())
		case isUp := <-up:
			if err := c.childState(ctx, l, isUp); err != nil {
				return err
			}
		}
	}
}

// childState follows what the brick's server says of the brick.
func (c *Client) childState(ctx context.Context, l *link, up bool) error {
	brick := c.set.Load().brick()
	switch has := c.link.Load() != nil; {
	case up && !has:
		if l.rpc != nil {
			if err := c.reopen(ctx, l); err != nil {
				return err
			}
		}
		c.link.Store(l)
		c.log.Info("connected", "brick", brick, "fops", uint32(l.vers))
		c.notify(fop.Event{Kind: fop.EventChildUp, From: c.name})
	case !up:
		err := fmt.Errorf("the server of brick %s runs, but the brick is down; look into its log: %w", brick, syscall.ENOTCONN)
		c.why.Store(&err)
		c.link.Store(nil)
		c.notify(fop.Event{Kind: fop.EventChildDown, From: c.name, Err: err})
	}
	return nil
}

func (l *link) done() <-chan struct{} {
	if l.rpc != nil {
		return l.rpc.Done()
	}
	return l.lost
}

func (l *link) err(brick string) error {
	if l.rpc != nil {
		return fmt.Errorf("connection to brick %s: %w", brick, l.rpc.Err())
	}
	return fmt.Errorf("brick %s, in this process, is gone: %w", brick, syscall.ENOTCONN)
}

func (l *link) close() {
	if l.rpc != nil {
		l.rpc.Close()
	} else if cl, ok := l.local.(io.Closer); ok {
		cl.Close()
	}
}

// connect finds the brick and introduces us. What comes through up says whether
// the brick, not only its server, can serve.
func (c *Client) connect(ctx context.Context) (l *link, up chan bool, err error) {
	s := c.set.Load()
	// Room for what may come before serve looks; more than the last state is
	// never needed.
	up = make(chan bool, 64)
	if c.env.Local != nil {
		if h, ok := c.env.Local(s.host, s.path); ok {
			l = &link{local: h, lost: make(chan struct{})}
			if n, ok := h.(xlator.Upcaller); ok {
				n.OnUpcall(func(u *fop.Upcall) { c.upcall(up, u) })
			}
			up <- true
			return l, up, nil
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 3*s.patience(), fmt.Errorf("brick %s does not answer: %w", s.brick(), syscall.ETIMEDOUT))
	defer cancel()
	l = new(link)
	port, secure := s.port, s.tls
	if port == 0 && s.network != "unix" {
		port, secure = managementPort, c.env.ManagementTLS != nil || managementTLS()
	}
	progs, err := c.open(ctx, s, l, port, secure, up)
	if err != nil {
		return nil, nil, err
	}
	if has(progs, proto.ProgPortmap, proto.VersPortmap) && !has(progs, proto.ProgFop, uint64(proto.V400)) {
		port, err = c.askPort(ctx, s, l)
		c.drop(l)
		if err != nil {
			return nil, nil, err
		}
		if progs, err = c.open(ctx, s, l, port, s.tls, up); err != nil {
			return nil, nil, err
		}
	}
	if err := c.introduce(ctx, s, l, progs, up); err != nil {
		c.drop(l)
		return nil, nil, err
	}
	return l, up, nil
}

// drop ends a connection that is not used any further.
func (c *Client) drop(l *link) {
	c.mu.Lock()
	c.xid = l.rpc.NextXID()
	c.mu.Unlock()
	l.rpc.Close()
}

// open connects to a port and asks which programs are there.
func (c *Client) open(ctx context.Context, s *settings, l *link, port int, secure bool, up chan bool) ([]proto.Program, error) {
	what := fmt.Sprintf("brick %s at port %d", s.brick(), port)
	remedy := "check that the brick runs and that no firewall is in the way"
	management := port == managementPort && s.port == 0
	switch {
	case s.network == "unix":
		what = "brick " + s.path + " at socket " + s.socket
	case management:
		what = fmt.Sprintf("management daemon of %s at port %d, for brick %s", s.host, port, s.path)
		remedy = "check the host's name, and that the daemon runs there and port 24007 can be reached"
	}
	d := s.dial(port)
	c.mu.Lock()
	xid := c.xid
	c.mu.Unlock()
	d.ClientOptions = rpc.ClientOptions{
		FirstXID: xid, FrameTimeout: s.frameTimeout, WriteTimeout: s.pingTimeout,
		// A server that dies just after an answer is known to be dead after
		// one and a half times the timeout.
		PingTimeout: s.pingTimeout, PingInterval: s.pingTimeout / 2,
		OnCallback: func(cb *rpc.Callback) { c.callback(up, cb) }, OnCall: c.env.OnCall, Log: c.log,
	}
	switch {
	case !secure || s.network == "unix":
	case management && c.env.ManagementTLS != nil:
		if d.TLS = c.env.ManagementTLS; d.TLS.ServerName == "" && !d.TLS.InsecureSkipVerify {
			d.TLS = d.TLS.Clone()
			d.TLS.ServerName = s.host
		}
	default:
		config, err := rpc.TLSConfig(s.raw, c.log)
		if err != nil {
			return nil, fmt.Errorf("connecting to %s: %w; correct the TLS files or switch client.ssl off", what, err)
		}
		d.TLS = config
	}
	rc, err := c.dial(ctx, d)
	if err != nil {
		if d.TLS != nil && strings.Contains(err.Error(), "TLS handshake") {
			remedy = "check the certificates of both sides, and that both use TLS"
		}
		return nil, fmt.Errorf("connecting to %s: %w; %s", what, causeOf(ctx, err), remedy)
	}
	l.rpc = rc
	var reply proto.DumpReply
	if err := c.ask(ctx, rc, rpc.AuthGlusterV2, proto.ProgDump, proto.VersDump, proto.DumpDump, &proto.DumpRequest{ID: dumpID}, &reply); err != nil {
		c.drop(l)
		remedy = "check that it is a GlusterFS server, and that both sides use TLS or neither does"
		if d.TLS != nil {
			remedy = "check that it is a GlusterFS server that uses TLS, and that it trusts the authority of this host's certificate"
		}
		return nil, fmt.Errorf("%s does not tell what it offers: %w; %s", what, causeOf(ctx, err), remedy)
	}
	return reply.Programs, nil
}

// dumpID is what GlusterFS clients send with DUMP; it means nothing.
const dumpID = 0xcaed

// causeOf prefers the reason for which a context ended to the bare fact.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded)) {
		return context.Cause(ctx)
	}
	return err
}

func (c *Client) dial(ctx context.Context, d rpc.DialOptions) (*rpc.Client, error) {
	if c.env.Dial == nil {
		return rpc.Dial(ctx, d)
	}
	ctx, cancel := context.WithTimeout(ctx, d.ConnectTimeout)
	defer cancel()
	conn, err := c.env.Dial(ctx, d.Network, d.Address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := d.Tune(tcp); err != nil {
			conn.Close()
			return nil, fmt.Errorf("options of the connection: %w", err)
		}
	}
	if d.TLS != nil {
		secure := tls.Client(conn, d.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		conn = net.Conn(secure)
	}
	return rpc.NewClient(conn, d.ClientOptions), nil
}

// message is a reply of package proto.
type message interface{ Decode([]byte) error }

// ask makes a call of our own, as nobody in particular.
func (c *Client) ask(ctx context.Context, rc *rpc.Client, flavor rpc.Flavor, prog, vers, proc uint32, args rpc.Appender, reply message) error {
	ctx, cancel := context.WithTimeout(ctx, c.set.Load().patience())
	defer cancel()
	raw, err := rc.Call(ctx, &rpc.Request{
		Prog: prog, Vers: vers, Proc: proc, Args: args,
		Cred: &rpc.Cred{Flavor: flavor, LockOwner: make([]byte, 4)},
	})
	if err != nil {
		return err
	}
	if err := reply.Decode(raw.Body); err != nil {
		return fmt.Errorf("%w: %w", syscall.EPROTO, err)
	}
	return nil // raw keeps its memory: the reply may refer to it
}

func has(progs []proto.Program, prog, vers uint64) bool {
	for _, p := range progs {
		if p.Prog == prog && p.Vers == vers {
			return true
		}
	}
	return false
}

// askPort asks the management daemon for the brick's port.
func (c *Client) askPort(ctx context.Context, s *settings, l *link) (int, error) {
	var reply proto.PortByBrickReply
	err := c.ask(ctx, l.rpc, rpc.AuthGlusterV2, proto.ProgPortmap, proto.VersPortmap, proto.PortmapPortByBrick, &proto.PortByBrickRequest{Brick: s.path}, &reply)
	if err != nil {
		return 0, fmt.Errorf("asking the management daemon of %s for the port of brick %s: %w", s.host, s.path, causeOf(ctx, err))
	}
	if reply.Ret < 0 || reply.Port <= 0 || reply.Port > 65535 {
		return 0, fmt.Errorf("brick %s does not run, says the management daemon of its host; start it with 'gluster volume start VOLUME force': %w",
			s.brick(), syscall.ENOTCONN)
	}
	return int(reply.Port), nil
}

// introduce chooses the version of the fop program and sends SETVOLUME.
func (c *Client) introduce(ctx context.Context, s *settings, l *link, progs []proto.Program, up chan bool) error {
	flavor := rpc.AuthGlusterV3
	switch {
	case !has(progs, proto.ProgHandshake, proto.VersHandshake):
		return fmt.Errorf("what listens in the place of brick %s is no brick; check remote-host and remote-port: %w", s.brick(), syscall.EPROTO)
	case has(progs, proto.ProgFop, uint64(proto.V400)) && !s.oldProtocol:
		l.vers = proto.V400
	case has(progs, proto.ProgFop, uint64(proto.V330)):
		l.vers, flavor = proto.V330, rpc.AuthGlusterV2
	default:
		return fmt.Errorf("brick %s speaks no version of the fop protocol that we know (400 and 330): %w", s.brick(), syscall.EPROTO)
	}
	var reply proto.SetvolumeReply
	err := c.ask(ctx, l.rpc, flavor, proto.ProgHandshake, proto.VersHandshake, proto.HandshakeSetvolume, &proto.SetvolumeRequest{Dict: c.introduction(s)}, &reply)
	if err != nil {
		return fmt.Errorf("introducing this client to brick %s: %w", s.brick(), causeOf(ctx, err))
	}
	if reply.Ret < 0 {
		return c.refused(s, proto.ErrnoFromWire(reply.Errno), reply.Dict.Text("ERROR"))
	}
	if err := c.checkVolume(s, reply.Dict.Text("volume-id")); err != nil {
		return err
	}
	isUp := true
	if v, ok := reply.Dict.Get("child_up"); ok {
		n, _ := v.Int()
		isUp = n != 0
	}
	select {
	case up <- isUp:
	default:
	}
	return nil
}

// introduction is the dictionary of SETVOLUME: our options, and who we are.
func (c *Client) introduction(s *settings) *fop.Dict {
	d := new(fop.Dict)
	for key, value := range s.raw {
		d.Set(key, fop.Str(value))
	}
	c.mu.Lock()
	n, volumeID := c.connects, c.volumeID
	c.connects++
	c.mu.Unlock()
	host := c.env.Hostname
	if host == "" {
		host, _ = os.Hostname()
	}
	d.Set("process-uuid", fop.Str(fmt.Sprintf("CTX_ID:%s-GRAPH_ID:%d-PID:%d-HOST:%s-PC_NAME:%s-RECON_NO:-%d",
		c.env.ProcessUUID, c.env.GraphID, os.Getpid(), host, c.name, n)))
	d.Set("process-name", fop.Str(c.env.ProcessName))
	d.Set("volfile-key", fop.Str(c.env.VolfileID))
	d.Set("fops-version", fop.Str(strconv.Itoa(proto.ProgFop)))
	d.Set("opversion", fop.Str("100000"))
	d.Set("client-version", fop.Str("10.3"))
	d.Set("clnt-lk-version", fop.Str("1"))
	d.Set("volfile-checksum", fop.Str("0"))
	d.Delete("volume-id")
	if volumeID != "" && !strings.HasPrefix(s.path, "snapd") {
		d.Set("volume-id", fop.Str(volumeID))
	}
	return d
}

// checkVolume makes sure that the brick has not become one of another volume.
func (c *Client) checkVolume(s *settings, id string) error {
	if id == "" || strings.HasPrefix(s.path, "snapd") {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.volumeID == "" {
		c.volumeID = id
	}
	if !strings.EqualFold(c.volumeID, id) {
		return fmt.Errorf("brick %s belongs to volume %s now, not to %s; was its directory or its host given to another volume? %w", s.brick(), id, c.volumeID, syscall.EINVAL)
	}
	return nil
}

// refused says what a failed SETVOLUME means.
func (c *Client) refused(s *settings, errno syscall.Errno, why string) error {
	subdir := s.raw["subdir-mount"]
	err := fmt.Errorf("brick %s refuses this client: %s: %w", s.brick(), why, errno)
	switch {
	case errno == syscall.EACCES:
		return &refusal{fop.EventAuthFailed, fmt.Errorf("%w; check auth.allow, auth.reject and auth.ssl-allow of the volume, and the address and certificate of this host", err)}
	case errno == syscall.ENOENT && subdir != "" && c.env.GraphID == 0:
		return &refusal{fop.EventAuthFailed, fmt.Errorf("%w; check that the directory %s exists in the volume", err, subdir)}
	case errno == syscall.ESTALE:
		return &refusal{fop.EventVolfileModified, fmt.Errorf("%w; the volume has changed", err)}
	case errno == syscall.ENOENT:
		return fmt.Errorf("%w; check that the brick is part of the volume still", err)
	case errno == syscall.EINVAL && strings.HasPrefix(why, "Volume-ID"):
		return fmt.Errorf("%w; check whether its directory or host was given to another volume, and mount again if that is right", err)
	case errno == syscall.EAGAIN:
		return fmt.Errorf("%w; it is starting or stopping", err)
	}
	return err
}
