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
	"github.com/wythefs/wythe/internal/xlator"
)

// UpOptions say what Up shall run.
type UpOptions struct {
	Dir    string // where state and bricks are kept; made if need be
	Volume string // name; "" means that of Dir, or "data" for a new one
	Bricks int    // how many a new volume gets; 0 means one
	Listen string // address to listen on; "" means all
	Port   int    // of the management service; -1 means any free one
	// BrickPort is the port of the first brick, the next has the next; 0 means
	// free ones.
	BrickPort int
	// Host is how clients reach the bricks; "" means by the address through
	// which they reached the management service.
	Host  string
	Allow string // client addresses, as auth.allow; "" means those of this machine
	Log   *slog.Logger
}

// Cluster is what Up started.
type Cluster struct {
	Volume *Volume
	Addr   string // host:port of the management service, for clients on this machine
	Port   int
	Fresh  bool // the volume was made by this start

	lock    *os.File
	state   *state
	service *Service
	bricks  []*brick.Brick
	cancel  context.CancelFunc
	failed  chan error
	wg      sync.WaitGroup
	once    sync.Once
	err     error
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
	c := &Cluster{failed: make(chan error, 1)}
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
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
	c.Port = l.Addr().(*net.TCPAddr).Port
	c.Addr = net.JoinHostPort(reachable(o.Listen), strconv.Itoa(c.Port))
	c.Volume.Allow = o.Allow
	if o.Allow == "" {
		if c.Volume.Allow, err = ownAddresses(); err != nil {
			l.Close()
			return nil, err
		}
	}
	for i := range c.Volume.Bricks {
		c.Volume.Bricks[i].Host = o.Host
	}
	c.service = NewService(c.Volume, o.Log)
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		if err := c.service.Serve(ctx, l); err != nil && ctx.Err() == nil {
			c.fail(fmt.Errorf("management service: %w", err))
		}
	}()
	for i := range c.Volume.Bricks {
		if err := c.startBrick(ctx, i, o); err != nil {
			return nil, err
		}
	}
	return c, c.keepPorts(dir)
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
		name, n := o.Volume, max(o.Bricks, 1)
		if name == "" {
			name = "data"
		}
		var bricks []Brick
		for i := range n {
			bricks = append(bricks, Brick{Path: filepath.Join(dir, "brick"+strconv.Itoa(i))})
		}
		v, err := NewVolume(name, bricks...)
		if err != nil {
			return err
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
	if o.Bricks != 0 && o.Bricks != len(v.Bricks) {
		return fmt.Errorf("volume %s in %s has %d bricks, not %d: leave --bricks away, or give another --dir: %w", v.Name, dir, len(v.Bricks), o.Bricks, syscall.EINVAL)
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
	if !s.Ready {
		s.Ready = true
		return s.save(dir)
	}
	return nil
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

func (c *Cluster) startBrick(ctx context.Context, i int, o UpOptions) error {
	b := &c.Volume.Bricks[i]
	port := 0
	if o.BrickPort != 0 {
		port = o.BrickPort + i
	}
	var l net.Listener
	err := error(syscall.EADDRINUSE)
	if port == 0 && i < len(c.state.Ports) {
		l, err = listen(o.Listen, c.state.Ports[i], "")
	}
	if err != nil {
		l, err = listen(o.Listen, port, "--brick-port")
	}
	if err != nil {
		return err
	}
	run, err := brick.Start(ctx, brick.Options{
		Volfile:  BrickVolfile(c.Volume, *b, strconv.Itoa(len(c.Volume.Bricks))),
		Listener: l,
		Env:      xlator.Env{ProcessName: "up"},
		Log:      o.Log.With("brick", b.Path),
	})
	if err != nil {
		l.Close()
		return err
	}
	c.bricks = append(c.bricks, run)
	c.service.SignIn(b.Path, l.Addr().(*net.TCPAddr).Port)
	path := b.Path
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		if err := run.Wait(); err != nil && ctx.Err() == nil {
			c.service.SignIn(path, 0)
			c.fail(fmt.Errorf("brick %s: %w", path, err))
		}
	}()
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
		for _, b := range c.bricks {
			errs = append(errs, b.Close())
		}
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
