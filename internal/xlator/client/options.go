package client

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator protocol/client.
var Type = xlator.Type{Name: "protocol/client", New: New, Options: optionTable}

const (
	noThreads    = "goroutines need no number of threads"
	oneTransport = "only TCP and unix sockets exist"
)

var optionTable = []xlator.Option{
	{Key: "remote-host"},
	{Key: "remote-port", Kind: xlator.KindInt, Max: 65535},
	{Key: "remote-subvolume"},
	{Key: "subdir-mount"},
	{Key: "username"},
	{Key: "password"},
	{Key: "volume-id"},
	{Key: "volfile-key"},
	{Key: "process-name"},
	{Key: "ping-timeout", Kind: xlator.KindDuration, Default: "10", Max: 1013}, // GlusterFS: 42
	{Key: "frame-timeout", Kind: xlator.KindDuration, Default: "1800", Max: 86400},
	{Key: "send-gids", Kind: xlator.KindBool, Default: "on"},
	{Key: "strict-locks", Kind: xlator.KindBool, Default: "off"},
	{Key: "filter-O_DIRECT", Kind: xlator.KindBool, Default: "disable"},
	{Key: "client-bind-insecure", Kind: xlator.KindBool, Default: "on"},
	{Key: "testing.old-protocol", Kind: xlator.KindBool, Default: "off"},
	{Key: "tcp-window-size", Kind: xlator.KindSize, Max: 1048576},
	{Key: "transport-type", Default: "tcp", OneOf: []string{"tcp", "socket", "unix", "tcp,rdma"}},
	{Key: "transport.address-family", OneOf: []string{"inet", "inet6", "inet/inet6", "unix"}},
	{Key: "transport.tcp-user-timeout", Kind: xlator.KindDuration, Default: "10", Max: 1013}, // GlusterFS: 42; 0: the system's
	{Key: "transport.socket.connect-path", Kind: xlator.KindPath},
	{Key: "transport.socket.keepalive", Kind: xlator.KindBool, Default: "on"},
	{Key: "transport.socket.keepalive-time", Kind: xlator.KindDuration, Default: "5"}, // GlusterFS: 20
	{Key: "transport.socket.keepalive-interval", Kind: xlator.KindDuration, Default: "2"},
	{Key: "transport.socket.keepalive-count", Kind: xlator.KindInt, Default: "3"}, // GlusterFS: 9
	{Key: "transport.socket.nodelay", Kind: xlator.KindBool, Default: "on"},
	{Key: "transport.window-size", Kind: xlator.KindSize},
	{Key: "transport.socket.ssl-enabled", Kind: xlator.KindBool, Default: "off"},
	{Key: "transport.socket.ssl-own-cert", Kind: xlator.KindPath},
	{Key: "transport.socket.ssl-private-key", Kind: xlator.KindPath},
	{Key: "transport.socket.ssl-ca-list", Kind: xlator.KindPath},
	{Key: "transport.socket.ssl-crl-path"},
	{Key: "transport.socket.ssl-dh-param"},
	{Key: "transport.socket.ssl-ec-curve"},
	{Key: "transport.socket.ssl-cipher-list"},
	{Key: "transport.socket.ssl-cert-depth", Kind: xlator.KindInt, Default: "1"},

	{Key: "event-threads", Kind: xlator.KindInt, Default: "2", Ignored: noThreads},
	{Key: "transport.socket.own-thread", Ignored: noThreads},
	{Key: "transport.socket.read-fail-log", Ignored: "failures are always logged"},
	{Key: "transport.socket.lowlat", Ignored: "the kernel decides"},
	{Key: "transport.socket.bind-address", Ignored: "the system chooses our own address"},
	{Key: "transport.socket.source-addr", Ignored: "the system chooses our own address"},
	{Key: "transport.socket.listen-backlog", Ignored: "a client does not listen"},
	{Key: "transport.listen-backlog", Ignored: "a client does not listen"},
	{Key: "transport.bind-insecure", Ignored: "client-bind-insecure decides"},
	{Key: "transport.*", Ignored: oneTransport},
	{Key: "non-blocking-io", Ignored: "all input and output is"},
	{Key: "ta-remote-port", Ignored: "the thin-arbiter's port comes with remote-port"},
	{Key: "log-level", Ignored: "the program's log level counts"},
	{Key: "lk-heal", Ignored: "locks are always acquired again, see strict-locks"},
	{Key: "grace-timeout", Ignored: "the brick gives locks up when the connection is lost"},
}

// settings are the options in force.
type settings struct {
	raw  xlator.Options
	host string
	path string // of the brick: remote-subvolume
	port int    // 0: ask the portmapper

	network     string // "tcp", "tcp4", "tcp6" or "unix"
	socket      string // with network "unix"
	tls         bool
	privileged  bool
	oldProtocol bool

	pingTimeout  time.Duration // 0: no pings
	frameTimeout time.Duration // 0: none
	sendGIDs     bool
	strictLocks  bool
	noDirect     bool // filter-O_DIRECT

	keepIdle, keepInterval time.Duration
	keepCount              int
	userTimeout            time.Duration
	window                 int
	delay                  bool
}

func parse(o xlator.Options) (*settings, error) {
	s := &settings{
		raw: o, host: o.String("remote-host", ""), path: o.String("remote-subvolume", ""), port: int(o.Int("remote-port", 0)),
		network:      "tcp",
		tls:          o.Bool("transport.socket.ssl-enabled", false),
		privileged:   !o.Bool("client-bind-insecure", true),
		oldProtocol:  o.Bool("testing.old-protocol", false),
		pingTimeout:  o.Duration("ping-timeout", rpc.DefaultPingTimeout),
		frameTimeout: o.Duration("frame-timeout", rpc.DefaultFrameTimeout),
		sendGIDs:     o.Bool("send-gids", true),
		strictLocks:  o.Bool("strict-locks", false),
		noDirect:     o.Bool("filter-O_DIRECT", false),
		keepIdle:     o.Duration("transport.socket.keepalive-time", 0),
		keepInterval: o.Duration("transport.socket.keepalive-interval", 0),
		keepCount:    int(o.Int("transport.socket.keepalive-count", 0)),
		userTimeout:  o.Duration("transport.tcp-user-timeout", rpc.DefaultUserTimeout),
		window:       int(o.Size("tcp-window-size", o.Size("transport.window-size", 0))),
		delay:        !o.Bool("transport.socket.nodelay", true),
	}
	if !o.Bool("transport.socket.keepalive", true) {
		s.keepIdle = -1
	}
	switch o.String("transport.address-family", "") {
	case "inet":
		s.network = "tcp4"
	case "inet6":
		s.network = "tcp6"
	case "unix":
		s.network = "unix"
	}
	if o.String("transport-type", "tcp") == "unix" {
		s.network = "unix"
	}
	if s.network == "unix" {
		s.socket = o.String("transport.socket.connect-path", "")
		if s.socket == "" {
			return nil, fmt.Errorf("a unix socket needs option transport.socket.connect-path")
		}
		if s.host == "" {
			s.host = s.socket
		}
	}
	if s.path == "" {
		return nil, fmt.Errorf("option remote-subvolume, the path of the brick, is missing")
	}
	if s.host == "" {
		return nil, fmt.Errorf("option remote-host, the server of brick %s, is missing", s.path)
	}
	return s, nil
}

// brick names the brick for people.
func (s *settings) brick() string { return s.host + ":" + s.path }

// patience is how long a server may take to answer while we connect.
func (s *settings) patience() time.Duration {
	if s.pingTimeout > 0 {
		return s.pingTimeout
	}
	return rpc.DefaultPingTimeout
}

// managementPort is where the management daemon listens.
const managementPort = 24007

// secureAccess exists on hosts where connections to management daemons use TLS.
const secureAccess = "/var/lib/glusterd/secure-access"

func managementTLS() bool {
	_, err := os.Stat(secureAccess)
	return err == nil
}

// dial returns how to connect to a port of the brick's host.
func (s *settings) dial(port int) rpc.DialOptions {
	d := rpc.DialOptions{
		Network: s.network, Address: s.socket,
		ConnectTimeout: s.patience(),
		KeepAliveIdle:  s.keepIdle, KeepAliveInterval: s.keepInterval, KeepAliveCount: s.keepCount,
		UserTimeout: s.userTimeout, WindowSize: s.window, Delay: s.delay,
	}
	if s.network != "unix" {
		d.Address = net.JoinHostPort(s.host, strconv.Itoa(port))
	}
	if s.privileged {
		d.Ports = rpc.PortPrivileged
	}
	return d
}

// lasting reports whether what a connection is made of is the same in both, so
// that a change of the rest needs no new connection. The port is not among it: a
// brick that was started again may have another, where the connection is made
// anew, with files and locks, when the old one is lost.
func (s *settings) lasting(t *settings) bool {
	a, b := s, t
	if a.brick() != b.brick() || a.network != b.network || a.socket != b.socket || a.tls != b.tls ||
		a.privileged != b.privileged || a.oldProtocol != b.oldProtocol || a.pingTimeout != b.pingTimeout ||
		a.keepIdle != b.keepIdle || a.keepInterval != b.keepInterval || a.keepCount != b.keepCount ||
		a.userTimeout != b.userTimeout || a.window != b.window || a.delay != b.delay {
		return false
	}
	for _, key := range []string{"username", "password", "subdir-mount", "volume-id",
		"transport.socket.ssl-own-cert", "transport.socket.ssl-private-key", "transport.socket.ssl-ca-list", "transport.socket.ssl-crl-path",
		"transport.socket.ssl-ec-curve", "transport.socket.ssl-cipher-list", "transport.socket.ssl-cert-depth"} {
		if s.raw[key] != t.raw[key] {
			return false
		}
	}
	return true
}
