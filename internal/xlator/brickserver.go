package xlator

import (
	"context"
	"net"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// BrickServer is what the translator protocol/server offers to the process in
// which it runs, which knows translators only as Handlers.
type BrickServer interface {
	fop.Handler
	// Serve accepts clients from l, which it closes in the end, until ctx is
	// done or the server is shut down. It may serve several listeners.
	Serve(ctx context.Context, l net.Listener) error
	// Shutdown stops listening, lets calls under way end while ctx lasts, and
	// takes down what clients leave behind.
	Shutdown(ctx context.Context) error
	// Local makes a client of the brick without a socket; false if there is
	// no such brick.
	Local(brick, process string) (LocalBrick, bool)
	// Listeners returns the addresses that the options made it listen on.
	Listeners() []net.Addr
	// Bricks names the bricks served, whether up or not.
	Bricks() []string
	// Clients describes the clients of one brick.
	Clients(brick string) []ClientInfo
}

// LocalBrick is a brick as a client in the same process sees it: its own files
// and locks are the client's as long as it does not Close.
type LocalBrick interface {
	fop.Handler
	Closer
	Upcaller
}

// ClientInfo describes a client of a brick.
type ClientInfo struct {
	ID, Name, Addr string
	OpVersion      uint32
	Since          time.Time
	BytesIn        uint64
	BytesOut       uint64
	InFlight       int
	Subdir         string
	Fds            []FdInfo
	FdSlots        int // size of the fd table
	FirstFree      int
}

// FdInfo describes an open file of a client.
type FdInfo struct {
	Number int
	Refs   int
	Flags  uint32
	GFID   fop.GFID
	Dir    bool
}

// Profiler is a translator that counts fops: debug/io-stats.
type Profiler interface {
	// Profile answers a request for statistics (1 all, 2 of the current
	// interval, 3 since the start, 4 forget them) in the keys of the management
	// protocol. Without peek a new interval begins.
	Profile(op int64, peek bool) *fop.Dict
}

// Gate is a translator that holds replies back: features/barrier.
type Gate interface {
	Raise() error
	Lower() error
}
