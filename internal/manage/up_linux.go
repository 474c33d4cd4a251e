package manage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/graph/brickside"
)

// UpOptions say what Up shall run.
type UpOptions struct {
	Dir    string // where state and bricks are kept; made if need be
	Volume string // name; "" means that of Dir, or "data" for a new one
	// Shape is what the volume must look like. Where it is 0 a volume keeps what
	// it has, and a new one gets what Default says: 1 and no arbiter where that
	// is 0, too.
	Shape, Default Shape
	// Options are volume options to set, by GlusterFS's names; the volume keeps
	// them.
	Options map[string]string
	Listen  string // address to listen on; "" means all
	Port    int    // of the management service; -1 means any free one
	// BrickPort is the port of the first brick, the next has the next; 0 means
	// free ones.
	BrickPort int
	// Host is how clients reach the bricks; "" means by the address through
	// which they reached the management service.
	Host  string
	Allow string // client addresses, as auth.allow; "" means those of this machine
	Log   *slog.Logger
	// EditBrick, if not nil, may change how brick i runs, before each start of
	// it: tests put translators into its volfile that fail, wait or record.
	EditBrick func(i int, o *brick.Options)
}

// Cluster is what Up started.
type Cluster struct {
	Volume *Volume
	Addr   string // host:port of the management service, for clients on this machine
	Port   int
	Fresh  bool // the volume was made by this start

	opts    UpOptions
	ctx     context.Context
	lock    *os.File
	state   *state
	service *Service
	cancel  context.CancelFunc

	mu     sync.Mutex
	bricks []*member // by number; nil before its first start

	failed chan error
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

// Up starts a cluster of one node in this process: a volume, its bricks, each
// with a TCP listener, and the management service. The cluster runs until Close.
//
// Errors name the port, directory or volume in the way and what to do.
func Up(ctx context.Context, o UpOptions) (_ *Cluster, err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c := &Cluster{opts: o, failed: make(chan error, 1)}
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.ctx = ctx
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := c.prepare(dir, o); err != nil {
		return nil, err
	}
	// The service has its port before any brick runs: a second cluster on the
	// same port is the commonest mistake and shall touch nothing.
	port := o.Port
	if port == 0 {
		port = DefaultPort
	}
	l, err := listen(o.Listen, max(port, 0), "--port")
	if err != nil {
		return nil, err
	}
	serving := false
	defer func() {
		if !serving {
			l.Close()
		}
	}()
	c.Port = l.Addr().(*net.TCPAddr).Port
	c.Addr = net.JoinHostPort(reachable(o.Listen), strconv.Itoa(c.Port))
	c.Volume.Allow = o.Allow
	if o.Allow == "" {
		if c.Volume.Allow, err = ownAddresses(); err != nil {
			return nil, err
		}
	}
	for i := range c.Volume.Bricks {
		c.Volume.Bricks[i].Host = o.Host
	}
	if err := countShared(c.Volume.Bricks); err != nil {
		return nil, err
	}
	c.service = NewService(c.Volume, o.Log)
	c.bricks = make([]*member, len(c.Volume.Bricks))
	for i := range c.Volume.Bricks {
		if err := c.StartBrick(i); err != nil {
			return nil, err
		}
	}
	// Clients that come before have waited: a volfile names the bricks' ports.
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		if err := c.service.Serve(ctx, l); err != nil && ctx.Err() == nil {
			c.fail(fmt.Errorf("management service: %w", err))
		}
	}()
	serving = true
	return c, c.keepPorts(dir)
}

// countShared finds out which bricks are on the same file system.
func countShared(bricks []Brick) error {
	devices := make([]uint64, len(bricks))
	count := map[uint64]int{}
	for i, b := range bricks {
		var st syscall.Stat_t
		if err := syscall.Stat(b.Path, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: b.Path, Err: err}
		}
		devices[i] = st.Dev
		count[st.Dev]++
	}
	for i := range bricks {
		bricks[i].Shared = count[devices[i]]
	}
	return nil
}

// keepPorts remembers where the bricks listen.
func (c *Cluster) keepPorts(dir string) error {
	ports := make([]int, len(c.Volume.Bricks))
	for i := range ports {
		ports[i] = c.BrickPort(i)
	}
	if slices.Equal(ports, c.state.Ports) {
		return nil
	}
	c.state.Ports = ports
	return c.state.save(dir)
}

// prepare finds or makes the volume and its brick directories.
func (c *Cluster) prepare(dir string, o UpOptions) error {
	s, err := loadState(dir)
	if err != nil {
		return err
	}
	if s == nil {
		if err := emptyEnough(dir); err != nil {
			return err
		}
		name, shape := o.Volume, o.newShape()
		if name == "" {
			name = "data"
		}
		if err := shape.Check(); err != nil {
			return err
		}
		var bricks []Brick
		for i := range shape.Bricks() {
			bricks = append(bricks, Brick{Path: filepath.Join(dir, "brick"+strconv.Itoa(i))})
		}
		v, err := NewShapedVolume(name, shape, bricks...)
		if err != nil {
			return err
		}
		if v.Options = o.Options; v.Check() != nil {
			return v.Check()
		}
		s = &state{Format: 1, Volume: v}
		if err := s.save(dir); err != nil {
			return err
		}
		c.Fresh = true
	}
	v := s.Volume
	if o.Volume != "" && o.Volume != v.Name {
		return fmt.Errorf("%s belongs to volume %s, not %s: give another --dir, or --volume %s: %w", dir, v.Name, o.Volume, v.Name, syscall.EEXIST)
	}
	if want := o.Shape; !want.matches(v.Shape()) {
		return fmt.Errorf("volume %s in %s has %s: leave --distribute, --replica and --arbiter away to start it as it is, or give another --dir for a new volume: %w",
			v.Name, dir, v.Shape().words(), syscall.EINVAL)
	}
	changed := false
	for key, value := range o.Options {
		if v.Options[key] != value {
			if v.Options == nil {
				v.Options = map[string]string{}
			}
			v.Options[key], changed = value, true
		}
	}
	if err := v.Check(); err != nil {
		return err
	}
	for _, b := range v.Bricks {
		_, err := os.Stat(b.Path)
		if s.Ready {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("brick %s of volume %s is missing: bring it back (is its disk mounted?); it is not made again, because what it held would seem to be deleted: %w", b.Path, v.Name, err)
			}
			continue
		}
		if err := brickside.CreateBrick(b.Path, v.ID, false); err != nil {
			return err
		}
	}
	c.Volume, c.state = v, s
	if !s.Ready || changed {
		s.Ready = true
		return s.save(dir)
	}
	return nil
}

// newShape is the shape of a new volume.
func (o *UpOptions) newShape() Shape {
	s := o.Shape
	if s.Replica == 0 {
		switch {
		case s.Arbiter > 0:
			s.Replica = 3
		default:
			s.Replica, s.Arbiter = max(o.Default.Replica, 1), o.Default.Arbiter
		}
	}
	if s.Distribute == 0 {
		s.Distribute = max(o.Default.Distribute, 1)
	}
	return s
}

// matches reports whether a volume of shape has is what s asks for, where 0 asks
// for nothing. Who asks for a number of copies means copies with data, but for
// the arbiter that he names.
func (s Shape) matches(has Shape) bool {
	return (s.Distribute == 0 || s.Distribute == has.Distribute) &&
		(s.Replica == 0 || s.Replica == has.Replica && s.Arbiter == has.Arbiter) &&
		(s.Arbiter == 0 || s.Arbiter == has.Arbiter)
}

// words describes the shape.
func (s Shape) words() string {
	sets := fmt.Sprintf("%d sets of ", s.Distribute)
	if s.Distribute == 1 {
		sets = "one set of "
	}
	switch {
	case s.Arbiter > 0:
		return fmt.Sprintf("%s%d bricks, one of them an arbiter", sets, s.Replica)
	case s.Replica > 1:
		return fmt.Sprintf("%s%d bricks", sets, s.Replica)
	case s.Distribute == 1:
		return "one brick"
	}
	return fmt.Sprintf("%d bricks without copies", s.Distribute)
}

// emptyEnough refuses a directory that has anything in it but our own files.
func emptyEnough(dir string) error {
	des, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, de := range des {
		if de.Name() != lockFile && !strings.HasPrefix(de.Name(), stateFile+".") && de.Name() != "lost+found" {
			return fmt.Errorf("%s is neither empty nor the directory of a cluster (it has %s): give an empty one: %w", dir, de.Name(), syscall.ENOTEMPTY)
		}
	}
	return nil
}

func (c *Cluster) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// Failed receives the error of a part that ended by itself.
func (c *Cluster) Failed() <-chan error { return c.failed }

// Close stops the service and the bricks, after the requests under way, and
// waits for them. It may be called more than once.
func (c *Cluster) Close() error {
	c.once.Do(func() {
		var errs []error
		// Clients hear of the end by their connections; a request under way
		// has a moment to finish.
		c.mu.Lock()
		for _, n := range c.bricks {
			if n != nil && n.run != nil {
				n.stopping = true
				errs = append(errs, n.run.Close())
			}
		}
		c.mu.Unlock()
		c.cancel()
		if c.service != nil {
			errs = append(errs, c.service.Close())
		}
		c.wg.Wait()
		if c.lock != nil {
			errs = append(errs, c.lock.Close())
		}
		c.err = errors.Join(errs...)
	})
	return c.err
}

func listen(host string, port int, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken, perhaps by a glusterd or another wythe up: stop that, or give another port with %s: %w", port, flag, err)
	}
	if errors.Is(err, syscall.EACCES) {
		return nil, fmt.Errorf("port %d needs root: give one above 1023 with %s: %w", port, flag, err)
	}
	return l, err
}

// reachable is the host by which this machine reaches a listener on host.
func reachable(host string) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

// ownAddresses lists the addresses of this machine in the form of auth.allow.
func ownAddresses() (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	allow := []string{"127.*", "::1"}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
			allow = append(allow, n.IP.String())
		}
	}
	return strings.Join(allow, ","), nil
}

// URL is the address of the volume for programs on this machine.
func (c *Cluster) URL() string {
	host, port, _ := net.SplitHostPort(c.Addr)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != strconv.Itoa(DefaultPort) {
		host += ":" + port
	}
	return "gluster://" + host + "/" + c.Volume.Name
}

// BrickPort is the port that brick i listens on.
func (c *Cluster) BrickPort(i int) int { return c.service.port(c.Volume.Bricks[i].Path) }
