package gfapi

import (
	"context"
	"crypto/tls"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/wythefs/wythe/internal/volfile"
)

// options are what Options change.
type options struct {
	servers      []string
	volfile      string
	cred         Cred
	log          *slog.Logger
	tls          *tls.Config
	timeout      time.Duration
	entryTimeout time.Duration
	umask        fs.FileMode
	overrides    []volfile.Override
	dial         func(ctx context.Context, network, addr string) (net.Conn, error)
	onCall       func(RoundTrip)
	err          error // what was wrong with an Option
}

// An Option changes how a volume is mounted.
type Option func(*options)

var pid = int32(os.Getpid())

func newOptions(opts []Option) *options {
	o := &options{cred: processCred(), umask: 0o022, entryTimeout: time.Second}
	for _, f := range opts {
		f(o)
	}
	if o.log == nil {
		o.log = slog.New(warnings{slog.Default().Handler()})
	}
	return o
}

// warnings passes on what goes wrong: a library has no business saying more
// unasked.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

// processCred is who this process is.
func processCred() Cred {
	c := Cred{UID: 65534, GID: 65534} // nobody, where there are no ids
	if uid := os.Getuid(); uid >= 0 {
		c.UID, c.GID = uint32(uid), uint32(os.Getgid())
	}
	groups, _ := os.Getgroups()
	for _, g := range groups {
		if g >= 0 {
			c.Groups = append(c.Groups, uint32(g))
		}
	}
	return c
}

// WithServers names further management servers (HOST, HOST:PORT, or the path of
// a unix socket), to be asked when those before them do not answer.
func WithServers(servers ...string) Option {
	return func(o *options) { o.servers = append(o.servers, servers...) }
}

// WithVolfile takes the text of a volfile instead of asking a server for one.
func WithVolfile(text string) Option { return func(o *options) { o.volfile = text } }

// WithCredentials says on whose behalf the volume is used; it is this process's
// user and groups otherwise. See also [Volume.As].
func WithCredentials(c Cred) Option { return func(o *options) { o.cred = c } }

// WithLogger says where to log; otherwise warnings and errors go to slog.Default().
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithTLS uses TLS with the management servers. Whether connections to bricks
// use it is up to the volume (client.ssl).
func WithTLS(conf *tls.Config) Option { return func(o *options) { o.tls = conf } }

// WithTimeout bounds Mount and every operation, in whole, by d. Without it they
// are bounded by contexts alone, and Mount by 30 s.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithEntryTimeout says for how long a directory or symbolic link is believed to
// be where it was seen last; a second otherwise. With 0, every element of every
// path is looked up, be it in the caches of the volume's translators.
func WithEntryTimeout(d time.Duration) Option { return func(o *options) { o.entryTimeout = d } }

// WithUmask sets the permissions that new objects are not given; 022 otherwise.
func WithUmask(mask fs.FileMode) Option { return func(o *options) { o.umask = mask } }

// WithXlatorOption sets an option of those volumes of the volfile whose name
// fits pattern, for example ("*-client-*", "ping-timeout", "10").
func WithXlatorOption(pattern, key, value string) Option {
	return func(o *options) {
		o.overrides = append(o.overrides, volfile.Override{Pattern: pattern, Key: key, Value: value})
	}
}

// WithDialer makes all connections with f.
func WithDialer(f func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = f }
}

// WithLocalAddress makes all TCP connections from this address of the machine,
// for example "10.7.1.5". From which ports they come is the system's choice
// then: bricks that accept privileged ports only refuse them.
func WithLocalAddress(addr string) Option {
	return func(o *options) {
		ip := net.ParseIP(addr)
		if ip == nil {
			o.err = &net.ParseError{Type: "IP address", Text: addr}
			return
		}
		d := &net.Dialer{}
		o.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dd := *d
			if network != "unix" {
				dd.LocalAddr = &net.TCPAddr{IP: ip}
			}
			return dd.DialContext(ctx, network, addr)
		}
	}
}

// RoundTrip is one request to a server.
type RoundTrip struct {
	Program, Version, Procedure uint32 // the numbers of the protocol
	Name                        string // as in "LOOKUP"; "" if it is no file operation
}

// WithRoundTrips has f called for every request that is sent to a brick. f must
// be quick and safe for concurrent use.
func WithRoundTrips(f func(RoundTrip)) Option { return func(o *options) { o.onCall = f } }
