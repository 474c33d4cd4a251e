package mounter

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
)

// Arguments say what to mount and how: the command line of GlusterFS's glusterfs
// with a mount point, read and checked.
type Arguments struct {
	MountPoint string

	// Where the volfile comes from: Servers are asked for VolfileID, or Volfile is
	// a file.
	Servers    []volserver.Server
	VolfileID  string
	Volfile    string
	VolumeName string // the volume of the volfile to mount, "" for its top
	Subdir     string // the directory of the volume to mount, beginning with /, or ""
	// FetchAttempts is how often all servers are asked, 0 for as often as
	// MountTimeout allows, which bounds the whole of mounting.
	FetchAttempts int
	MountTimeout  time.Duration
	SecureMgmt    bool // TLS to the servers
	Overrides     []volfile.Override

	ReadOnly, ACL, SELinux, Capability, Worm, AuxGFID, ThinClient bool
	EnableIno32, ResolveGIDs, NoRootSquash                        bool

	AttributeTimeout, EntryTimeout, NegativeTimeout, GIDTimeout time.Duration

	DirectIO             Switch
	KeepCache            bool
	AutoInvalidation     bool
	WritebackCache       bool
	Readdirp             bool
	FlushHandleInterrupt bool
	AttrTimesGranularity int // nanoseconds
	BackgroundQueue      int
	CongestionThreshold  int
	LRULimit             int
	InvalidateLimit      int
	ReaderThreads        int
	Transport            string // of FUSE: auto, dev or uring
	DumpFuse             string
	// MountOptions are for the kernel, such as noatime.
	MountOptions []string
	// AutoUnmount has the mount point freed when the process dies.
	AutoUnmount bool

	ProcessName string
	PidFile     string
	OOMScoreAdj *int
	LogFile     string
	LogLevel    string // "" for the volume's own
	Syslog      bool
	LocalTime   bool
	NoDaemon    bool
	Debug       bool

	// What to do instead of mounting.
	CheckVolfile, Version, Help bool
	Print                       string // the text that a --print-… argument asks for

	// Warnings are about what was accepted and has no effect.
	Warnings []string

	hosts      []string // -s, before the port is known
	serverPort int
	transport  string // of the volfile
}

// Switch is a setting that can be left to the program.
type Switch int

// The settings of a Switch.
const (
	Auto Switch = iota
	On
	Off
)

// Defaults, GlusterFS 10.3's but for MountTimeout, which it lacks.
const (
	defaultLRULimit     = 65536
	defaultBackground   = 64
	defaultCongestion   = 48
	defaultGIDTimeout   = 300 * time.Second
	defaultAttrTimeout  = time.Second
	defaultMountTimeout = 30 * time.Second

	logDir  = "/var/log/glusterfs"
	dumpDir = "/var/run/gluster"
)

// argKind says whether an argument has a value.
type argKind int

const (
	argNone     argKind = iota
	argRequired         // --key=value or --key value
	argOptional         // --key or --key=value
)

// argument is a line of the table. Exactly one of set, idle and refuse is there.
type argument struct {
	name  string
	short byte
	kind  argKind
	value string // what the value is called in the help
	help  string
	set   func(a *Arguments, v string) error
	// idle says why an argument that is accepted has no effect.
	idle string
	// refuse says why an argument cannot be honoured, and what to do.
	refuse string
	group  group
}

type group int

const (
	basic group = iota
	fuseGroup
	logging
	advanced
	unlisted // for compatibility; not in the help
)

func text(p func(*Arguments) *string) func(*Arguments, string) error {
	return func(a *Arguments, v string) error {
		if v == "" {
			return errors.New("the value is empty")
		}
		*p(a) = v
		return nil
	}
}

func flag(p func(*Arguments) *bool) func(*Arguments, string) error {
	return func(a *Arguments, v string) error {
		on, err := parseBool(v)
		*p(a) = on
		return err
	}
}

// parseBool takes GlusterFS's words; an argument without a value means yes.
func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "", "yes", "on", "true", "enable", "1":
		return true, nil
	case "no", "off", "false", "disable", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", v)
}

func number(lo, hi int, p func(*Arguments) *int) func(*Arguments, string) error {
	return func(a *Arguments, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < lo || n > hi {
			return fmt.Errorf("%q is no number from %d to %d", v, lo, hi)
		}
		*p(a) = n
		return nil
	}
}

// maxSeconds bounds timeouts: what the kernel is told must fit its clock.
const maxSeconds = 1 << 31

func seconds(p func(*Arguments) *time.Duration) func(*Arguments, string) error {
	return func(a *Arguments, v string) error {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || !(f >= 0 && f <= maxSeconds) {
			return fmt.Errorf("%q is no number of seconds, such as 1 or 0.5", v)
		}
		*p(a) = time.Duration(f * float64(time.Second))
		return nil
	}
}

// show is the setter of an argument that only asks for a directory.
func show(dir string) func(*Arguments, string) error {
	return func(a *Arguments, _ string) error { a.Print = dir; return nil }
}

const (
	idleMemory = "memory is the Go runtime's, and counted in the statedump"
	idleThread = "requests are served by as many threads as the machine has processors"
	idleLog    = "lines are written at once and none is held back"
)

// table has every argument of GlusterFS 10.3's glusterfs, and three of ours.
var table = []argument{
	{name: "volfile-server", short: 's', kind: argRequired, value: "HOST", help: "ask this management server for the volfile; may be repeated, the next is asked when one fails", group: basic,
		set: func(a *Arguments, v string) error { a.hosts = append(a.hosts, v); return nil }},
	{name: "volfile-id", kind: argRequired, value: "VOLUME", help: "name of the volume", group: basic, set: text(func(a *Arguments) *string { return &a.VolfileID })},
	{name: "volfile", short: 'f', kind: argRequired, value: "FILE", help: "read the volfile from a file in place of a server", group: basic, set: text(func(a *Arguments) *string { return &a.Volfile })},
	{name: "subdir-mount", kind: argRequired, value: "/DIR", help: "mount this directory of the volume in place of its root", group: basic, set: setSubdir},
	{name: "read-only", help: "nothing can be changed through the mount", group: basic, set: flag(func(a *Arguments) *bool { return &a.ReadOnly })},
	{name: "no-daemon", short: 'N', help: "stay in the foreground", group: basic, set: flag(func(a *Arguments) *bool { return &a.NoDaemon })},
	{name: "pid-file", short: 'p', kind: argRequired, value: "FILE", help: "write the process id there, and lock the file", group: basic, set: text(func(a *Arguments) *string { return &a.PidFile })},
	{name: "mount-timeout", kind: argRequired, value: "SECONDS", help: "for how long to wait for a first server and for bricks (default 30)", group: basic, set: setMountTimeout},
	{name: "volfile-max-fetch-attempts", kind: argRequired, value: "N", help: "ask all servers at most so many times, within mount-timeout", group: basic, set: number(0, 1<<20, func(a *Arguments) *int { return &a.FetchAttempts })},

	{name: "acl", help: "POSIX access control lists", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.ACL })},
	{name: "selinux", help: "security labels are stored on the volume", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.SELinux })},
	{name: "capability", help: "file capabilities are stored on the volume", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.Capability })},
	{name: "worm", help: "files can be written once and not be changed or removed afterwards", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.Worm })},
	{name: "aux-gfid-mount", help: "files can be reached as .gfid/GFID, too", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.AuxGFID })},
	{name: "thin-client", help: "mount through the volume's proxy (volume option config.gfproxyd)", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.ThinClient })},
	{name: "enable-ino32", kind: argOptional, value: "BOOL", help: "inode numbers fit 32 bits, for old programs", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.EnableIno32 })},
	{name: "resolve-gids", help: "groups are looked up on this machine, not taken from the process, which lifts the limit of 32", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.ResolveGIDs })},
	{name: "no-root-squash", kind: argOptional, value: "BOOL", help: "root stays root although the volume squashes it, for a trusted client", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.NoRootSquash })},
	{name: "attribute-timeout", kind: argRequired, value: "SECONDS", help: "for how long the kernel keeps attributes (default 1)", group: fuseGroup, set: seconds(func(a *Arguments) *time.Duration { return &a.AttributeTimeout })},
	{name: "entry-timeout", kind: argRequired, value: "SECONDS", help: "for how long the kernel keeps names (default 1)", group: fuseGroup, set: seconds(func(a *Arguments) *time.Duration { return &a.EntryTimeout })},
	{name: "negative-timeout", kind: argRequired, value: "SECONDS", help: "for how long the kernel remembers that a name is not there (default 0)", group: fuseGroup, set: seconds(func(a *Arguments) *time.Duration { return &a.NegativeTimeout })},
	{name: "gid-timeout", kind: argRequired, value: "SECONDS", help: "for how long groups of a process are remembered (default 300)", group: fuseGroup, set: seconds(func(a *Arguments) *time.Duration { return &a.GIDTimeout })},
	{name: "direct-io-mode", kind: argOptional, value: "BOOL|auto", help: "files are read and written past the page cache (default auto: as each is opened)", group: fuseGroup, set: setDirectIO},
	{name: "fopen-keep-cache", kind: argOptional, value: "BOOL", help: "pages stay cached when a file is opened again (default off)", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.KeepCache })},
	{name: "auto-invalidation", kind: argOptional, value: "BOOL", help: "the kernel drops pages when attributes show a change (default on)", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.AutoInvalidation })},
	{name: "kernel-writeback-cache", kind: argOptional, value: "BOOL", help: "the kernel gathers writes in the page cache (default off)", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.WritebackCache })},
	{name: "attr-times-granularity", kind: argOptional, value: "NS", help: "granularity of times in nanoseconds, for kernel-writeback-cache", group: fuseGroup, set: setGranularity},
	{name: "use-readdirp", kind: argOptional, value: "BOOL", help: "directories are listed with attributes (default on)", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.Readdirp })},
	{name: "fuse-flush-handle-interrupt", kind: argRequired, value: "BOOL", help: "a close that waits can be interrupted (default off)", group: fuseGroup, set: flag(func(a *Arguments) *bool { return &a.FlushHandleInterrupt })},
	{name: "background-qlen", kind: argRequired, value: "N", help: "how many background requests the kernel may have under way (default 64)", group: fuseGroup, set: number(16, 65535, func(a *Arguments) *int { return &a.BackgroundQueue })},
	{name: "congestion-threshold", kind: argRequired, value: "N", help: "of them, from how many on the kernel holds back (default 48)", group: fuseGroup, set: number(1, 65535, func(a *Arguments) *int { return &a.CongestionThreshold })},
	{name: "lru-limit", kind: argRequired, value: "N", help: "how many unused objects the client remembers, 0 for any number (default 65536)", group: fuseGroup, set: number(0, 1<<31-1, func(a *Arguments) *int { return &a.LRULimit })},
	{name: "invalidate-limit", kind: argRequired, value: "N", help: "how many invalidations may wait for the kernel, 0 for any number (default 0)", group: fuseGroup, set: number(0, 1<<31-1, func(a *Arguments) *int { return &a.InvalidateLimit })},
	{name: "reader-thread-count", kind: argOptional, value: "N", help: "how many threads read requests from the kernel, 1 to 64 (default 1, or as many as pay off)", group: fuseGroup, set: number(1, 64, func(a *Arguments) *int { return &a.ReaderThreads })},
	{name: "fuse-transport", kind: argRequired, value: "auto|dev|uring", help: "how requests come from the kernel: by /dev/fuse or by io_uring (default auto)", group: fuseGroup, set: setFuseTransport},
	{name: "fuse-mountopts", kind: argRequired, value: "OPTIONS", help: "options for the kernel, such as noatime,nosuid", group: fuseGroup, set: setMountOptions},
	{name: "dump-fuse", kind: argRequired, value: "FILE", help: "write all traffic with the kernel to a file, in the format of GlusterFS", group: fuseGroup, set: text(func(a *Arguments) *string { return &a.DumpFuse })},

	{name: "log-file", short: 'l', kind: argRequired, value: "FILE", help: "where to log, - for standard error (default " + logDir + "/MOUNT-POINT.log)", group: logging, set: text(func(a *Arguments) *string { return &a.LogFile })},
	{name: "log-level", short: 'L', kind: argRequired, value: "LEVEL", help: "TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL or NONE (default the volume's diagnostics.client-log-level, else INFO)", group: logging, set: setLogLevel},
	{name: "logger", kind: argRequired, value: "NAME", help: "gluster-log for the log file, or syslog", group: logging, set: setLogger},
	{name: "localtime-logging", help: "times of the log are local, not UTC", group: logging, set: flag(func(a *Arguments) *bool { return &a.LocalTime })},
	{name: "debug", help: "stay in the foreground and log everything to standard error", group: logging, set: flag(func(a *Arguments) *bool { return &a.Debug })},

	{name: "volume-name", kind: argRequired, value: "NAME", help: "mount this volume of the volfile in place of its top", group: advanced, set: text(func(a *Arguments) *string { return &a.VolumeName })},
	{name: "xlator-option", kind: argRequired, value: "VOLUME.KEY=VALUE", help: "set an option of a translator, by the name of its volume, * fits anything; may be repeated", group: advanced, set: setOverride},
	{name: "process-name", kind: argRequired, value: "NAME", help: "how servers list this client", group: advanced, set: text(func(a *Arguments) *string { return &a.ProcessName })},
	{name: "volfile-server-port", kind: argRequired, value: "PORT", help: "port of the management servers (default 24007)", group: advanced, set: number(1, 65535, func(a *Arguments) *int { return &a.serverPort })},
	{name: "volfile-server-transport", kind: argRequired, value: "tcp|unix", help: "how the management servers are reached; with unix, HOST is the path of a socket", group: advanced, set: setTransport},
	{name: "secure-mgmt", kind: argOptional, value: "BOOL", help: "TLS to the management servers (default: if /var/lib/glusterd/secure-access exists)", group: advanced, set: flag(func(a *Arguments) *bool { return &a.SecureMgmt })},
	{name: "oom-score-adj", kind: argRequired, value: "N", help: "how likely the kernel kills this process when memory is short, -1000 to 1000", group: advanced, set: setOOM},
	{name: "volfile-check", help: "only check the volfile", group: advanced, set: flag(func(a *Arguments) *bool { return &a.CheckVolfile })},
	{name: "version", short: 'V', help: "print the version", group: advanced, set: flag(func(a *Arguments) *bool { return &a.Version })},
	{name: "help", short: '?', help: "print this", group: advanced, set: flag(func(a *Arguments) *bool { return &a.Help })},

	{name: "usage", group: unlisted, set: flag(func(a *Arguments) *bool { return &a.Help })},
	{name: "print-logdir", group: unlisted, set: show(logDir)},
	{name: "print-statedumpdir", group: unlisted, set: show(dumpDir)},
	{name: "print-xlatordir", group: unlisted, refuse: "translators are part of the program, there is no directory of them"},
	{name: "print-libexecdir", group: unlisted, refuse: "there is no directory of auxiliary programs"},
	{name: "print-netgroups", short: 'n', kind: argRequired, group: unlisted, refuse: "it is for GlusterFS's own NFS server"},
	{name: "print-exports", short: 'e', kind: argRequired, group: unlisted, refuse: "it is for GlusterFS's own NFS server"},

	{name: "mem-accounting", group: unlisted, idle: idleMemory},
	{name: "no-mem-accounting", group: unlisted, idle: idleMemory},
	{name: "global-threading", kind: argOptional, group: unlisted, idle: idleThread},
	{name: "global-timer-wheel", kind: argOptional, group: unlisted, idle: "timers are the Go runtime's"},
	{name: "io-engine", kind: argOptional, group: unlisted, idle: "it chooses how GlusterFS does I/O inside; see fuse-transport"},
	{name: "event-history", kind: argOptional, group: unlisted, idle: "no history is kept; use dump-fuse"},
	{name: "fuse-dev-eperm-ratelimit-ns", kind: argRequired, group: unlisted, idle: "no such message is written more than once"},
	{name: "mac-compat", kind: argOptional, group: unlisted, idle: "it is for clients on macOS"},
	{name: "log-format", kind: argRequired, group: unlisted, idle: "messages have no numbers"},
	{name: "log-buf-size", kind: argRequired, group: unlisted, idle: idleLog},
	{name: "log-flush-timeout", kind: argRequired, group: unlisted, idle: idleLog},

	{name: "client-pid", kind: argRequired, group: unlisted, refuse: "it marks GlusterFS's own daemons, which may do to bricks what no client may"},
	{name: "user-map-root", kind: argRequired, group: unlisted, refuse: "no user is mapped to root; mount for that user's own files"},
	{name: "socket-file", short: 'S', kind: argRequired, group: unlisted, refuse: "a client is not managed through a socket; use signals"},
	{name: "brick-name", kind: argRequired, group: unlisted, refuse: "it starts a brick, not a mount: call the program as glusterfsd, or use 'wythe brick'"},
	{name: "brick-port", kind: argRequired, group: unlisted, refuse: "it starts a brick, not a mount: call the program as glusterfsd, or use 'wythe brick'"},
	{name: "brick-mux", group: unlisted, refuse: "it starts bricks, not a mount: call the program as glusterfsd, or use 'wythe brick'"},
}

func setSubdir(a *Arguments, v string) error {
	if !strings.HasPrefix(v, "/") {
		return fmt.Errorf("%q does not begin with /", v)
	}
	clean, err := cleanSubdir(v)
	a.Subdir = clean
	return err
}

// cleanSubdir takes superfluous slashes out; "" is the root. Bricks walk the
// components one by one and know no "..".
func cleanSubdir(dir string) (string, error) {
	var b strings.Builder
	for part := range strings.SplitSeq(dir, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", fmt.Errorf("subdirectory %q: .. leads nowhere there; write the way from the root of the volume", dir)
		default:
			b.WriteString("/" + part)
		}
	}
	return b.String(), nil
}

func setMountTimeout(a *Arguments, v string) error {
	err := seconds(func(a *Arguments) *time.Duration { return &a.MountTimeout })(a, v)
	if err == nil && a.MountTimeout == 0 {
		err = errors.New("it takes longer than that")
	}
	return err
}

func setDirectIO(a *Arguments, v string) error {
	if strings.EqualFold(v, "auto") {
		a.DirectIO = Auto
		return nil
	}
	on, err := parseBool(v)
	if err != nil {
		return fmt.Errorf("%q is none of enable, disable and auto", v)
	}
	if a.DirectIO = Off; on {
		a.DirectIO = On
	}
	return nil
}

func setFuseTransport(a *Arguments, v string) error {
	switch v {
	case "auto", "dev", "uring":
		a.Transport = v
		return nil
	}
	return fmt.Errorf("%q is none of auto, dev and uring", v)
}

func setOverride(a *Arguments, v string) error {
	o, err := volfile.ParseOverride(v)
	if err == nil {
		a.Overrides = append(a.Overrides, o)
	}
	return err
}

func setOOM(a *Arguments, v string) error {
	n := 0
	if err := number(-1000, 1000, func(*Arguments) *int { return &n })(a, v); err != nil {
		return err
	}
	a.OOMScoreAdj = &n
	return nil
}

func setGranularity(a *Arguments, v string) error {
	for n := 1; n <= 1e9; n *= 10 {
		if v == strconv.Itoa(n) {
			a.AttrTimesGranularity = n
			return nil
		}
	}
	return fmt.Errorf("%q is no power of ten from 1 to 1000000000 (nanoseconds)", v)
}

// kernelOptions are the options of a mount that the kernel itself obeys, with
// those that only say that it shall not.
var kernelOptions = []string{
	"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
	"lazytime", "nolazytime", "dev", "nodev", "exec", "noexec", "suid", "nosuid", "ro", "rw",
}

var contextOptions = []string{"context", "fscontext", "defcontext", "rootcontext"}

func setMountOptions(a *Arguments, v string) error {
	for _, o := range splitOptions(v) {
		switch key, _, given := strings.Cut(o, "="); {
		case o == "":
		case o == "lazyatime", o == "nolazyatime": // as mount.glusterfs has them
			a.MountOptions = append(a.MountOptions, strings.Replace(o, "lazyatime", "lazytime", 1))
		case o == "ro":
			a.ReadOnly = true
		case o == "auto_unmount":
			a.AutoUnmount = true
		case slices.Contains(kernelOptions, o), given && slices.Contains(contextOptions, key):
			a.MountOptions = append(a.MountOptions, o)
		default:
			return fmt.Errorf("%q is no option that the kernel knows for a FUSE mount; it knows %s and %s", o,
				strings.Join(kernelOptions, ", "), strings.Join(contextOptions, "=, ")+"=")
		}
	}
	return nil
}

func setLogger(a *Arguments, v string) error {
	switch strings.ToLower(v) {
	case "gluster-log":
		a.Syslog = false
	case "syslog":
		a.Syslog = true
	default:
		return fmt.Errorf("%q is neither gluster-log nor syslog", v)
	}
	return nil
}

func setTransport(a *Arguments, v string) error {
	for _, t := range strings.Split(v, ",") {
		switch t {
		case "socket", "tcp", "inet":
			a.transport = "tcp"
		case "unix":
			a.transport = "unix"
		case "rdma":
			return errors.New("RDMA is no more, as in GlusterFS since version 8; use tcp")
		default:
			return fmt.Errorf("%q is no transport; use tcp or unix", t)
		}
	}
	return nil
}

// ParseArguments reads a command line of glusterfs without the name of the
// program, in the forms of getopt_long: --key=value, --key value, -k value,
// -kvalue, mount point anywhere.
func ParseArguments(args []string) (*Arguments, error) {
	a := &Arguments{
		AttributeTimeout: defaultAttrTimeout, EntryTimeout: defaultAttrTimeout, GIDTimeout: defaultGIDTimeout,
		AutoInvalidation: true, Readdirp: true,
		BackgroundQueue: defaultBackground, CongestionThreshold: defaultCongestion, LRULimit: defaultLRULimit,
		Transport: "auto", MountTimeout: defaultMountTimeout, ProcessName: "fuse",
		serverPort: volserver.DefaultPort, transport: "tcp",
	}
	var places []string
	for i := 0; i < len(args); i++ {
		word := args[i]
		if word == "--" {
			places = append(places, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(word, "-") || word == "-" {
			places = append(places, word)
			continue
		}
		arg, value, hasValue, err := splitArgument(word)
		if err != nil {
			return nil, err
		}
		if arg.kind == argRequired && !hasValue {
			if i++; i == len(args) {
				return nil, usage("argument --%s needs a value", arg.name)
			}
			value = args[i]
		}
		if err := arg.apply(a, value, arg.kind == argNone && hasValue); err != nil {
			return nil, err
		}
	}
	if a.Version || a.Help || a.Print != "" {
		return a, nil
	}
	return a, a.finish(places)
}

// UsageError is an error of a command line.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the error with its errno.
func (e *UsageError) Unwrap() error { return e.Err }

func usage(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format+": %w", append(args, syscall.EINVAL)...)}
}

// apply takes one argument. stray: there is a value that does not belong.
func (arg *argument) apply(a *Arguments, value string, stray bool) error {
	switch {
	case stray:
		return usage("argument --%s takes no value", arg.name)
	case arg.refuse != "":
		return &UsageError{fmt.Errorf("argument --%s is not supported: %s: %w", arg.name, arg.refuse, syscall.ENOTSUP)}
	case arg.set == nil:
		w := fmt.Sprintf("argument --%s has no effect: %s", arg.name, arg.idle)
		if !slices.Contains(a.Warnings, w) {
			a.Warnings = append(a.Warnings, w)
		}
		return nil
	}
	if err := arg.set(a, value); err != nil {
		var e *UsageError
		if errors.As(err, &e) {
			return err
		}
		return usage("argument --%s: %w", arg.name, err)
	}
	return nil
}

// finish checks how the arguments fit together.
func (a *Arguments) finish(places []string) error {
	switch {
	case a.Volfile == "" && len(a.hosts) == 0:
		return usage("where the volume comes from is missing: give --volfile-server=HOST and --volfile-id=VOLUME, or --volfile=FILE")
	case a.Volfile != "" && len(a.hosts) > 0:
		return usage("--volfile=%s and --volfile-server=%s exclude each other", a.Volfile, a.hosts[0])
	case a.Volfile == "" && strings.Trim(a.VolfileID, "/") == "":
		return usage("which volume is missing: give --volfile-id=VOLUME")
	case a.CheckVolfile:
	case len(places) == 0:
		return usage("the mount point is missing; without one GlusterFS runs a daemon of its own (such as the self-heal daemon), which this program is not")
	case len(places) > 1:
		return usage("there is one mount point too many: %q", places[1])
	case places[0] == "":
		return usage("the mount point is empty")
	}
	if len(places) == 1 {
		a.MountPoint = places[0]
	}
	if a.CongestionThreshold > a.BackgroundQueue {
		return usage("congestion-threshold %d is above background-qlen %d; the kernel never gets that far", a.CongestionThreshold, a.BackgroundQueue)
	}
	for _, host := range a.hosts {
		s, err := a.server(host)
		if err != nil {
			return &UsageError{err}
		}
		a.Servers = append(a.Servers, s)
	}
	return nil
}

// server is the management server on a host.
func (a *Arguments) server(host string) (volserver.Server, error) {
	if a.transport == "unix" && !strings.HasPrefix(host, "/") {
		return volserver.Server{}, fmt.Errorf("volfile server %q: with transport unix it is the path of a socket: %w", host, syscall.EINVAL)
	}
	s, err := volserver.ParseServer(host)
	if err != nil || s.Network == "unix" {
		return s, err
	}
	// A port that the host brings along stays.
	if _, _, err := net.SplitHostPort(strings.TrimPrefix(host, "tcp:")); err != nil {
		h, _, _ := net.SplitHostPort(s.Addr)
		s.Addr = net.JoinHostPort(h, strconv.Itoa(a.serverPort))
	}
	return s, nil
}

func splitArgument(s string) (arg *argument, value string, hasValue bool, err error) {
	if long, ok := strings.CutPrefix(s, "--"); ok {
		long, value, hasValue = strings.Cut(long, "=")
		for i := range table {
			if table[i].name == long {
				return &table[i], value, hasValue, nil
			}
		}
		return nil, "", false, usage("argument --%s is not known", long)
	}
	for i := range table {
		if table[i].short == s[1] && s[1] != 0 {
			return &table[i], s[2:], len(s) > 2, nil
		}
	}
	return nil, "", false, usage("argument %s is not known", s)
}

// lookup finds an argument by its long name.
func lookup(name string) *argument {
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}
