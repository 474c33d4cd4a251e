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
// Notified, Runner, Quiescer and Dumper.
package xlator

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

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
	// Copies says that each child has all that the others have.
	Copies bool
}

// Config is what a translator gets to live on.
type Config struct {
	Name     string // of the volume in the volfile
	Type     string
	Options  Options
	Children []Child
	// Leaves is the number of translators without children in the graph, on a
	// client its protocol/client volumes; Leaf is the number, from 0 and from
	// the left, of the first one below this translator, or its own. Offsets of
	// directories carry them, see fop.EncodeOffset.
	Leaf, Leaves int
	// Rows is over how many sets of copies below this translator names are spread:
	// 1 if one of them tells all about a directory.
	Rows int
	// Graph is the whole that the translator is a part of. It is complete when
	// Run begins.
	Graph Graph
	// Notify tells the parents of an event. Safe for concurrent use; it may be
	// called from New on.
	Notify func(fop.Event)
	Log    *slog.Logger
	Env    *Env
}

// Child is a subvolume. Translators keep its Handler: Child itself hides what else
// that can do, such as to start a fop without waiting.
type Child struct {
	Name string
	fop.Handler
	// The leaves of the graph that stand below it: the number of the first and
	// how many there are.
	FirstLeaf, Leaves int
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
	// Log files and levels, for those who look at the process from within; nil and
	// empty where the program that uses us has a log of its own.
	LogLevel *slog.LevelVar
	LogFile  string
	// Master describes what stands above the graph and is no translator of ours,
	// such as the FUSE mount; nil: nothing.
	Master func() Volume
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
// retired, parents first, and the graph waits for Run to return before it ends
// those of its children: until then they can be called.
type Runner interface {
	Run(ctx context.Context) error
}

// Closer releases what New acquired. The graph calls it after all Runs ended,
// parents first.
type Closer interface {
	Close() error
}

// Quiescer answers some fops before they are done. Quiesce has those done, and
// from then on none is answered early: another graph is about to take over, and
// what comes through that one must find everything. It returns when ctx ends.
type Quiescer interface {
	Quiesce(ctx context.Context) error
}

// Dumper writes its state for a statedump and for .meta: lines "key=value", after
// a line "[section]" if GlusterFS gives the section of this translator another
// name than "type.name".
type Dumper interface {
	Dump(w io.Writer)
}

// Caller knows the calls that it waits for.
type Caller interface {
	// Calls lists them, the oldest first.
	Calls() []Call
}

// Call is a request to a peer that has not been answered.
type Call struct {
	What  string // the procedure, a fop in upper case
	Since time.Time
}

// Graph is what can be seen of a graph from within.
type Graph interface {
	// Name is the name of this graph among those of all processes:
	// HOST-PID-DATE.
	Name() string
	// Volumes lists the translators, the top first.
	Volumes() []Volume
	// Volfile is the text of the volfile in force.
	Volfile() string
}

// Volume is one translator of a running graph as it shows to others.
type Volume struct {
	Name, Type string
	Options    []Setting // in the order of the volfile
	Subvolumes []string
	// Handler is nil if the translator is left out and its child called instead.
	Handler any
}

// Setting is an option in force.
type Setting struct{ Key, Value string }

// Upcaller is a Handler of Env.Local that has notices for its client.
type Upcaller interface {
	// OnUpcall has f called with every notice. f does not block.
	OnUpcall(f func(*fop.Upcall))
}

// Hasher is a translator that finds the place of a name by a hash of it.
type Hasher interface {
	// HashName returns the part of name that is hashed, and its hash.
	HashName(name string) (part string, hash uint32)
}
