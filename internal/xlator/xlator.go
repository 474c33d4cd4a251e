// Package xlator is the contract between a translator and the graph that runs
// it: how a translator is made, configured, told of events and taken down. The
// translators themselves live in the folders below, one each, and know neither
// each other nor the graph; only internal/graph knows their names.
//
// A translator package exports
//
//	var Type = xlator.Type{Name: "features/locks", New: New, Options: …}
//
// and its New returns a fop.Handler that may implement any of Reconfigurer,
// Notified, Runner and Dumper.
package xlator

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"

	"github.com/wythefs/wythe/internal/fop"
)

// Type describes one kind of translator.
type Type struct {
	// Name is the type in a volfile, e.g. "storage/posix".
	Name string
	// New makes a translator. It must not block on the network; what takes
	// time belongs in Runner.Run.
	New func(Config) (fop.Handler, error)
	// Options lists every option that GlusterFS 10.3 writes or accepts for
	// this type. The graph rejects bad values before New, logs unknown names
	// once, and logs those marked Ignored once when set to other than Default.
	Options []Option
	// MinChildren and MaxChildren bound the number of subvolumes; a
	// MaxChildren of -1 means any number.
	MinChildren, MaxChildren int
}

// Config is what a translator gets to live on.
type Config struct {
	Name     string // of the volume in the volfile
	Type     string
	Options  Options
	Children []Child
	// Notify tells the parents of an event. Safe for concurrent use; it may be
	// called from New on.
	Notify func(fop.Event)
	Log    *slog.Logger
	Env    *Env
}

// Child is a subvolume.
type Child struct {
	Name string
	fop.Handler
}

// Env is what all translators of a process share.
type Env struct {
	ProcessUUID  string // text UUID of this process
	ProcessName  string // "fuse", "gfapi.<prog>", "brick", …
	Hostname     string
	GraphID      int // counts the graphs of this process from 0
	VolfileID    string
	GlusterdUUID string // of the node, "" if unknown
	// Local finds the Handler of a brick that runs in this process, so that a
	// client can call it without a socket; nil where there is none. The
	// Handler acts for one client. It may be an Upcaller. If it is an io.Closer,
	// Close ends that client's session. Fops on a brick that is gone fail with
	// ENOTCONN.
	Local func(host, brick string) (fop.Handler, bool)
	// Dial, when set, makes the connections of client translators, to
	// portmappers and bricks, in place of the ordinary way.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// ManagementTLS, when set, is used by client translators that ask a
	// management daemon for the port of a brick.
	ManagementTLS *tls.Config
	// OnCall, when set, is called for every request that a client translator
	// sends, with the RPC program, version and procedure.
	OnCall func(prog, vers, proc uint32)
}

// Reconfigurer takes new options while running. The graph has checked them as
// for New. An error leaves the old ones in force.
type Reconfigurer interface {
	Reconfigure(Options) error
}

// Notified hears events of its children. A translator without it has them
// passed to its parents as they are; one with it decides itself what to pass
// on, with Config.Notify.
type Notified interface {
	ChildEvent(child string, ev fop.Event)
}

// Runner has something to do besides fops. The graph calls Run in a goroutine
// once all translators exist, children first; ctx ends when the graph is
// retired, and the graph waits for Run to return.
type Runner interface {
	Run(ctx context.Context) error
}

// Closer releases what New acquired. The graph calls it after all Runs ended,
// parents first.
type Closer interface {
	Close() error
}

// Dumper writes its state as "key=value" lines for a statedump.
type Dumper interface {
	Dump(w io.Writer)
}

// Upcaller is a Handler of Env.Local that has notices for its client.
type Upcaller interface {
	// OnUpcall has f called with every notice. f does not block.
	OnUpcall(f func(*fop.Upcall))
}
