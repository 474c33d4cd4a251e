package server

import (
	"time"

	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name:        "protocol/server",
	New:         New,
	Options:     options,
	MinChildren: 1,
	MaxChildren: -1,
}

const (
	noSuchMemory = "the kernel sizes its own tables"
	noRDMA       = "there is no RDMA transport"
	noDir        = "certificates and volfiles are named one by one"
)

// options lists what volfiles of GlusterFS 10.3 hold for this type.
var options = []xlator.Option{
	{Key: "transport-type", Default: "tcp", Ignored: "the listening socket follows transport.address-family"},
	{Key: "transport.address-family", Default: "inet", OneOf: []string{"inet", "inet6", "inet/inet6", "unix", "unspec"}},
	{Key: "transport.listen-backlog", Kind: xlator.KindInt, Default: "1024", Ignored: "the kernel's net.core.somaxconn is the length of the queue"},
	{Key: "transport.socket.listen-backlog", Kind: xlator.KindInt, Default: "1024", Ignored: "the kernel's net.core.somaxconn is the length of the queue"},
	{Key: "transport.socket.listen-port", Kind: xlator.KindInt, Max: 65535},
	{Key: "listen-port", Kind: xlator.KindInt, Max: 65535},
	{Key: "transport.socket.listen-path", Kind: xlator.KindPath},
	{Key: "listen-path", Kind: xlator.KindPath},
	{Key: "transport.socket.bind-address"},
	{Key: "bind-address"},
	{Key: "transport.socket.keepalive", Kind: xlator.KindBool, Default: "on"},
	{Key: "transport.socket.keepalive-time", Kind: xlator.KindDuration, Default: "20"},
	{Key: "transport.socket.keepalive-interval", Kind: xlator.KindDuration, Default: "2"},
	{Key: "transport.socket.keepalive-count", Kind: xlator.KindInt, Default: "9"},
	{Key: "transport.tcp-user-timeout", Kind: xlator.KindDuration, Default: "42", Max: 1013},
	{Key: "transport.socket.tcp-user-timeout", Kind: xlator.KindDuration, Default: "42", Max: 1013},
	{Key: "transport.socket.nodelay", Kind: xlator.KindBool, Default: "on", Ignored: "replies are never held back"},
	{Key: "transport.socket.read-fail-log", Kind: xlator.KindBool, Default: "on", Ignored: "failed reads are always logged"},
	{Key: "transport.socket.own-thread", Kind: xlator.KindBool, Default: "off", Ignored: "each connection has a goroutine of its own anyway"},
	{Key: "transport.socket.ssl-enabled", Kind: xlator.KindBool, Default: "off"},
	{Key: "transport.socket.ssl-own-cert"},
	{Key: "transport.socket.ssl-private-key"},
	{Key: "transport.socket.ssl-ca-list"},
	{Key: "transport.socket.ssl-crl-path"},
	{Key: "transport.socket.ssl-cert-depth", Kind: xlator.KindInt, Default: "1"},
	{Key: "transport.socket.ssl-cipher-list"},
	{Key: "transport.socket.ssl-ec-curve"},
	{Key: "transport.socket.ssl-dh-param"},
	{Key: "transport.rdma.*", Ignored: noRDMA},
	{Key: "tcp-window-size", Kind: xlator.KindSize, Ignored: "the kernel tunes socket buffers by itself"},
	{Key: "transport.tcp-window-size", Kind: xlator.KindSize, Ignored: "the kernel tunes socket buffers by itself"},
	{Key: "inode-lru-limit", Kind: xlator.KindInt, Default: "16384", Ignored: "the server keeps no inode table; caches below have their own bounds"},
	{Key: "rpc-auth-allow-insecure", Kind: xlator.KindBool, Default: "on"},
	{Key: "rpc-auth.*", Ignored: "every credential that GlusterFS clients send is understood"},
	{Key: "root-squash", Kind: xlator.KindBool, Default: "off"},
	{Key: "all-squash", Kind: xlator.KindBool, Default: "off"},
	{Key: "anonuid", Kind: xlator.KindInt, Default: "65534", Max: 1<<32 - 1},
	{Key: "anongid", Kind: xlator.KindInt, Default: "65534", Max: 1<<32 - 1},
	{Key: "statedump-path", Kind: xlator.KindPath, Default: "/var/run/gluster"},
	{Key: "auth-path"}, // of the brick whose auth options these are; the options name it, too
	{Key: "auth.*"},
	{Key: "rpc.outstanding-rpc-limit", Kind: xlator.KindInt, Default: "64", Max: 65536},
	{Key: "manage-gids", Kind: xlator.KindBool, Default: "off"},
	{Key: "gid-timeout", Kind: xlator.KindInt, Default: "300"},
	{Key: "event-threads", Kind: xlator.KindInt, Default: "2", Min: 1, Max: 1024, Ignored: "the Go runtime polls sockets and runs as many threads as there are processors"},
	{Key: "dynamic-auth", Kind: xlator.KindBool, Default: "on"},
	{Key: "strict-auth-accept", Kind: xlator.KindBool, Default: "off"},
	{Key: "trace", Kind: xlator.KindBool, Default: "off", Ignored: "put debug/trace above the brick instead"},
	{Key: "config-directory", Ignored: noDir},
	{Key: "volfile*", Ignored: noDir},
	{Key: "global-threading", Kind: xlator.KindBool, Default: "off", Ignored: noSuchMemory},
	{Key: "ping-timeout", Kind: xlator.KindDuration, Ignored: "clients send the pings"},
	// Ours: the program that runs the graph says which volume a brick belongs
	// to, for the server's options in a volfile do not.
	{Key: "volume-id"},
	{Key: "volume-id.*"},
}

// settings are the options in the form in which requests need them.
type settings struct {
	opt        xlator.Options
	squash     squash
	manageGIDs bool
	gidTimeout time.Duration
}

func newSettings(opt xlator.Options) *settings {
	return &settings{
		opt:        opt,
		squash:     newSquash(opt),
		manageGIDs: opt.Bool("manage-gids", false),
		gidTimeout: time.Duration(opt.Int("gid-timeout", 300)) * time.Second,
	}
}

// volumeID returns the UUID of the volume that a brick is of, "" if unknown.
func (c *settings) volumeID(brick string) string {
	if id := c.opt["volume-id."+brick]; id != "" {
		return id
	}
	return c.opt["volume-id"]
}
