package manage

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

// maxVolfileID is the length at which glusterd refuses a volfile-id.
const maxVolfileID = 255

// DefaultPort is the port of the management service.
const DefaultPort = 24007

// Service is the management service of one volume: what clients and bricks ask
// on port 24007.
type Service struct {
	server *rpc.Server
	log    *slog.Logger

	mu     sync.Mutex
	volume *Volume
	ports  map[string]signedIn // by brick path
	last   map[string]int      // where each brick listened last
}

type signedIn struct {
	port int
	conn *rpc.Conn // nil for bricks of this process
}

// NewService makes the service of a volume, whose bricks are not signed in yet.
func NewService(v *Volume, log *slog.Logger) *Service {
	s := &Service{log: log, volume: v, ports: map[string]signedIn{}, last: map[string]int{}}
	s.server = &rpc.Server{
		Programs: []*rpc.Program{
			rpc.Dump(),
			{Name: "Gluster Portmap", Number: proto.ProgPortmap, Version: proto.VersPortmap, Procs: []rpc.Proc{
				proto.PortmapPortByBrick: {Name: "PORTBYBRICK", Handle: s.portByBrick},
				proto.PortmapSignin:      {Name: "SIGNIN", Handle: s.signin},
				proto.PortmapSignout:     {Name: "SIGNOUT", Handle: s.signout},
			}},
			{Name: "Gluster Handshake", Number: proto.ProgHandshake, Version: proto.VersHandshake, Procs: []rpc.Proc{
				proto.HandshakeGetspec:         {Name: "GETSPEC", Handle: s.getspec},
				proto.HandshakeEventNotify:     {Name: "EVENT_NOTIFY", Handle: s.eventNotify},
				proto.HandshakeGetVolumeInfo:   {Name: "GET_VOLUME_INFO", Handle: s.volumeInfo},
				proto.HandshakeGetSnapshotInfo: {Name: "GET_SNAPSHOT_INFO", Handle: s.snapshotInfo},
			}},
		},
		MaxRecord:    4 << 20, // strangers may send what they like; nothing here is large
		OnDisconnect: s.disconnected,
		Log:          log,
	}
	return s
}

// Serve answers connections of l until ctx ends or Close is called.
func (s *Service) Serve(ctx context.Context, l net.Listener) error {
	err := s.server.Serve(ctx, l)
	if errors.Is(err, rpc.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends the service and all its connections.
func (s *Service) Close() error { return s.server.Close() }

// SignIn says on which port a brick of this process listens; 0 takes it back.
func (s *Service) SignIn(brick string, port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if port == 0 {
		delete(s.ports, brick)
	} else {
		s.ports[brick] = signedIn{port: port}
		s.last[brick] = port
	}
}

// SetVolume replaces the volume and tells all clients to fetch their volfiles
// again.
func (s *Service) SetVolume(v *Volume) {
	s.mu.Lock()
	s.volume = v
	s.mu.Unlock()
	for _, c := range s.server.Conns() {
		if err := c.Callback(proto.ProgCallback, proto.VersCallback, proto.CallbackFetchSpec, nil); err != nil {
			s.log.Debug("client is not told of the new volfile", "client", c.RemoteAddr(), "err", err)
		}
	}
}

// decode reads the arguments of a call, and answers it if they are none.
func decode(call *rpc.Call, req interface{ Decode(body []byte) error }) bool {
	if req.Decode(call.Args) != nil {
		call.Fail(rpc.GarbageArgs)
		return false
	}
	return true
}

func (s *Service) portByBrick(_ context.Context, call *rpc.Call) {
	var req proto.PortByBrickRequest
	if !decode(call, &req) {
		return
	}
	s.mu.Lock()
	in, ok := s.ports[req.Brick]
	s.mu.Unlock()
	reply := proto.PortByBrickReply{Port: int32(in.port)}
	if !ok {
		reply.Ret = -1
	}
	call.Reply(&reply)
}

func (s *Service) signin(_ context.Context, call *rpc.Call) {
	var req proto.SigninRequest
	if !decode(call, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := proto.Status{}
	switch b := s.find(req.Brick); {
	case b == nil:
		s.log.Warn("a brick that is none of the volume's wants to sign in", "brick", req.Brick, "peer", call.Conn.RemoteAddr())
		reply = proto.Status{Ret: -1, Errno: proto.ErrnoToWire(syscall.ENOENT)}
	case !isLocal(call.Conn) || s.ours(req.Brick):
		// Whoever could move a brick to a port of his own would be given
		// everybody's data.
		s.log.Warn("sign-in refused: the brick runs elsewhere", "brick", req.Brick, "peer", call.Conn.RemoteAddr())
		reply = proto.Status{Ret: -1, Errno: proto.ErrnoToWire(syscall.EPERM)}
	default:
		s.ports[req.Brick] = signedIn{int(req.Port), call.Conn}
		s.last[req.Brick] = int(req.Port)
	}
	call.Reply(&reply)
}

func (s *Service) signout(_ context.Context, call *rpc.Call) {
	var req proto.SignoutRequest
	if !decode(call, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if in, ok := s.ports[req.Brick]; ok && in.conn == call.Conn {
		delete(s.ports, req.Brick)
	}
	call.Reply(&proto.Status{})
}

// ours reports whether a brick runs in this process; s.mu is held.
func (s *Service) ours(path string) bool {
	in, ok := s.ports[path]
	return ok && in.conn == nil
}

// disconnected drops the bricks that signed in over a connection.
func (s *Service) disconnected(c *rpc.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, in := range s.ports {
		if in.conn == c {
			delete(s.ports, path)
		}
	}
}

// find returns the brick of that path; s.mu is held.
func (s *Service) find(path string) *Brick {
	for i := range s.volume.Bricks {
		if s.volume.Bricks[i].Path == path {
			return &s.volume.Bricks[i]
		}
	}
	return nil
}

func (s *Service) getspec(_ context.Context, call *rpc.Call) {
	var req proto.GetspecRequest
	if !decode(call, &req) {
		return
	}
	spec, err := s.spec(&req, call.Conn)
	if err != nil {
		s.log.Info("volfile refused", "volfile-id", req.Key, "client", call.Conn.RemoteAddr(), "err", err)
		call.Reply(&proto.GetspecReply{Ret: -1, Errno: proto.ErrnoToWire(fop.Errno(err))})
		return
	}
	call.Reply(&proto.GetspecReply{Ret: int32(len(spec)), Spec: spec})
}

// spec finds the volfile of a volfile-id: the name of the volume, with or
// without a slash before it and a transport behind it, or one of a brick.
func (s *Service) spec(req *proto.GetspecRequest, conn *rpc.Conn) (string, error) {
	key := strings.TrimPrefix(req.Key, "/")
	if len(req.Key) >= maxVolfileID {
		return "", syscall.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volume
	if key == v.Name && req.XData.Len() > 0 {
		// Op-version 1 is all that this volume asks of a client.
		if req.XData.Int("min-op-version") > 1 || req.XData.Int("max-op-version") < 1 {
			return "", syscall.ENOTSUP
		}
	}
	host, trusted := hostOf(conn.LocalAddr()), isLocal(conn)
	var ports func(string) int
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok && a.Port != DefaultPort {
		// A brick that is away comes back at the port that it had, most likely,
		// and whoever looks for it there does not go astray meanwhile.
		ports = func(brick string) int { return s.last[brick] }
	}
	switch key {
	case v.Name, v.Name + ".tcp":
		return ClientVolfile(v, host, trusted, ports).String(), nil
	case v.Name + ".tcp-fuse":
		return ClientVolfile(v, host, false, ports).String(), nil
	case "trusted-" + v.Name + ".tcp-fuse":
		if trusted {
			return ClientVolfile(v, host, true, ports).String(), nil
		}
	}
	for i, b := range v.Bricks {
		rest, ok := strings.CutPrefix(key, v.Name+".")
		if ok && trusted && strings.HasSuffix(rest, "."+DashedPath(b.Path)) {
			return BrickVolfile(v, i).String(), nil
		}
	}
	return "", syscall.ENOENT
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// isLocal reports whether the peer is on this machine: then, as with glusterd,
// it gets the volfile with the volume's password.
func isLocal(c *rpc.Conn) bool {
	peer, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return true // a unix socket
	}
	if peer.IP.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(peer.IP) {
			return true
		}
	}
	return false
}

func (s *Service) volumeInfo(_ context.Context, call *rpc.Call) {
	var req proto.DictRequest
	if !decode(call, &req) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const wantUUID = 1
	switch {
	case req.Dict.Text("volname") != s.volume.Name:
		call.Reply(&proto.DictReply{Ret: -1, Errno: proto.ErrnoToWire(syscall.ENOENT), Errstr: "Volume " + req.Dict.Text("volname") + " does not exist"})
	case req.Dict.Int("flags")&wantUUID == 0:
		call.Reply(&proto.DictReply{Ret: -1, Errno: proto.ErrnoToWire(syscall.EINVAL), Errstr: "nothing was asked for: flags has no known bit"})
	default:
		call.Reply(&proto.DictReply{Dict: fop.NewDict(fop.Pair{Key: "volume_id", Val: fop.Str(s.volume.ID.String())})})
	}
}

func (s *Service) snapshotInfo(_ context.Context, call *rpc.Call) {
	var req proto.DictRequest
	if !decode(call, &req) {
		return
	}
	call.Reply(&proto.DictReply{Dict: fop.NewDict(fop.Pair{Key: "snap-count", Val: fop.Str("0")})})
}

// eventNotify takes note of a report. glusterd does not answer it, and clients
// do not wait.
func (s *Service) eventNotify(_ context.Context, call *rpc.Call) {
	var req proto.EventNotify
	if !decode(call, &req) {
		return
	}
	s.log.Info("event", "op", req.Op, "volume", req.Dict.Text("volname"), "peer", call.Conn.RemoteAddr())
	call.Drop()
}

func (s *Service) port(brick string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ports[brick].port
}
