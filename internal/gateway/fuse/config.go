package fuse

import (
	"fmt"
	"log/slog"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/mount"
)

// Config says what to mount, where and how. The zero value of an option is
// GlusterFS's default unless its comment says otherwise; of the timeouts the
// zero value means that nothing is remembered.
type Config struct {
	// Session is the open volume. It stays the caller's, who closes it after
	// Wait has returned.
	Session *mount.Session
	// Dir is the mount point, an existing directory.
	Dir string
	// Source is what /proc/mounts shows, usually "host:/volume".
	Source string
	// Subdir is a directory of what Session shows that becomes the root of the
	// mount, looked up as root when mounting. Leave it empty where the bricks
	// were told of the directory (option subdir-mount of protocol/client).
	Subdir string

	ReadOnly bool
	// ACL has POSIX ACLs decide, and lets them be read and changed.
	ACL bool
	// SELinux passes security.* attributes on; without, files have none.
	SELinux bool
	// EnableIno32 folds inode numbers to 32 bits.
	EnableIno32 bool
	// AuxGFID gives access to every object as .gfid/GFID in the root.
	AuxGFID bool
	// ThinClient says that Session's volfile is that of a thin client
	// (gfproxy). It changes nothing here and is shown in dumps.
	ThinClient bool
	// ResolveGIDs takes the groups of a user from the system's database, not
	// from the process that asks.
	ResolveGIDs bool
	// NoRootSquash marks requests as those of GlusterFS's own, which bricks
	// exempt from root squashing.
	NoRootSquash bool

	// For how long the kernel keeps attributes, names, and names that do not
	// exist; GlusterFS's defaults are 1s, 1s and 0.
	AttrTimeout, EntryTimeout, NegativeTimeout time.Duration
	// GIDTimeout is for how long the groups of a process are believed in;
	// GlusterFS's default is 300s.
	GIDTimeout time.Duration

	// LRULimit is how many inodes the kernel may keep for us beyond those in
	// use, 0 for any number. InvalidateLimit stops asking for more of them back
	// while so many wait to be forgotten, 0 for no limit.
	LRULimit, InvalidateLimit int
	// ReaderThreads is how many threads wait for requests; 0 lets the transport
	// choose.
	ReaderThreads int
	// BackgroundQueue and CongestionThreshold limit what the kernel has under
	// way in the background (readahead, direct I/O in the background, write
	// back); 0: 64 and three quarters of the queue.
	BackgroundQueue, CongestionThreshold int

	// DirectIO bypasses the kernel's page cache.
	DirectIO DirectIO
	// KeepCache keeps the pages of a file from one open to the next.
	KeepCache bool
	// AutoInvalidation drops pages when attributes show that the file changed.
	AutoInvalidation bool
	// WritebackCache lets the kernel delay and combine writes. Other clients see
	// them late, and appends of several clients to one file overwrite each other.
	WritebackCache bool
	// Readdirp lists directories with attributes.
	Readdirp bool
	// FlushHandleInterrupt lets a signal end a close(2) that waits for a brick.
	FlushHandleInterrupt bool
	// AttrTimesGranularity is the resolution of times in nanoseconds, a power of
	// ten up to a second; 0 means 1.
	AttrTimesGranularity int
	// MountOptions are those of mount(8) that go to the kernel: noatime, nodev,
	// nosuid, noexec, context=…, and their opposites.
	MountOptions []string
	Transport    Transport
	// DumpFuse names a file that gets a copy of all messages.
	DumpFuse string
	Log      *slog.Logger // nil: slog.Default()
}

// DirectIO says when the page cache is bypassed.
type DirectIO int

// Values of DirectIO. With auto that is up to the application's O_DIRECT.
const (
	DirectIOAuto DirectIO = iota
	DirectIOOn
	DirectIOOff // O_DIRECT is ignored
)

var directIONames = []string{"auto", "on", "off"}

// String returns auto, on or off.
func (d DirectIO) String() string { return name(directIONames, int(d)) }

// Transport is how requests come from the kernel.
type Transport int

// Values of Transport.
const (
	TransportAuto  Transport = iota // what is faster, of what the kernel offers
	TransportDev                    // /dev/fuse
	TransportURing                  // io_uring; an error if the kernel does not offer it
)

var transportNames = []string{"auto", "dev", "uring"}

// String returns auto, dev or uring.
func (t Transport) String() string { return name(transportNames, int(t)) }

// ParseTransport is the opposite of String.
func ParseTransport(s string) (Transport, error) {
	for i, n := range transportNames {
		if s == n {
			return Transport(i), nil
		}
	}
	return 0, fmt.Errorf("transport %q is none of %s: %w", s, strings.Join(transportNames, ", "), syscall.EINVAL)
}

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprint(i)
	}
	return names[i]
}

const (
	defaultBackground = 64
	maxBackground     = 64 << 10
	maxReaderThreads  = 64
)

// check fills in defaults and refuses what makes no sense.
func (c *Config) check() error {
	bad := func(what string, v any, remedy string) error {
		return fmt.Errorf("%s %v %s: %w", what, v, remedy, syscall.EINVAL)
	}
	switch {
	case c.Session == nil:
		return bad("volume", "(none)", "is not open")
	case c.Dir == "":
		return bad("mount point", `""`, "must be a directory")
	case c.DirectIO < DirectIOAuto || c.DirectIO > DirectIOOff:
		return bad("direct I/O mode", c.DirectIO, "is none of auto, on, off")
	case c.Transport < TransportAuto || c.Transport > TransportURing:
		return bad("transport", c.Transport, "is none of auto, dev, uring")
	case c.ReaderThreads < 0 || c.ReaderThreads > maxReaderThreads:
		return bad("reader-thread-count", c.ReaderThreads, fmt.Sprintf("must be from 1 to %d", maxReaderThreads))
	case c.BackgroundQueue < 0 || c.BackgroundQueue >= maxBackground:
		return bad("background-qlen", c.BackgroundQueue, fmt.Sprintf("must be from 1 to %d", maxBackground-1))
	case c.CongestionThreshold < 0 || c.CongestionThreshold >= maxBackground:
		return bad("congestion-threshold", c.CongestionThreshold, fmt.Sprintf("must be from 1 to %d", maxBackground-1))
	case c.LRULimit < 0:
		return bad("lru-limit", c.LRULimit, "must not be negative; 0 means no limit")
	case c.InvalidateLimit < 0:
		return bad("invalidate-limit", c.InvalidateLimit, "must not be negative; 0 means no limit")
	}
	for _, t := range []struct {
		name string
		v    time.Duration
	}{{"attribute-timeout", c.AttrTimeout}, {"entry-timeout", c.EntryTimeout}, {"negative-timeout", c.NegativeTimeout}, {"gid-timeout", c.GIDTimeout}} {
		if t.v < 0 {
			return bad(t.name, t.v, "must not be negative")
		}
	}
	if g := c.AttrTimesGranularity; g != 0 {
		n := 1
		for n < g && n < 1e9 {
			n *= 10
		}
		if n != g {
			return bad("attr-times-granularity", g, "must be a power of ten from 1 to 1000000000 (nanoseconds)")
		}
	}
	if c.BackgroundQueue == 0 {
		c.BackgroundQueue = defaultBackground
	}
	if c.CongestionThreshold == 0 {
		c.CongestionThreshold = c.BackgroundQueue * 3 / 4
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Subdir = strings.TrimPrefix(path.Clean("/"+c.Subdir), "/")
	return nil
}
