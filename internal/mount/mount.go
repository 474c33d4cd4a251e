// Package mount opens a volume: it gets the volfile, builds the graph, waits
// until a brick answers, and from then on keeps the graph in step with the
// volfile. What it returns, a [Session], is what gfapi, FUSE, NFS and the C
// library stand on.
//
//	s, err := mount.Open(ctx, mount.Config{Volume: "data", Servers: servers})
//	if err != nil { … says which server said what, and what to do … }
//	defer s.Close(ctx)
//	reply, err := fop.Call(ctx, s, &fop.Lookup{GFID: fop.RootGFID})
//
// # What a Session promises
//
//   - It is a fop.Handler, safe for concurrent use, that costs two atomic loads
//     and a counter on top of its graph.
//   - When the volfile changes in options only, translators take them while
//     running. When it changes otherwise, a new graph is built beside the old.
//     Once its bricks are up, new requests go there, open files are opened there
//     with the same *fop.Fd, with their posix locks, and the old graph is closed
//     after its last request. Callers notice nothing.
//   - A file that the new graph cannot open, because its last name is gone,
//     stays with the old graph until it is released.
//   - A volfile that is bad, or asks for what we lack, changes nothing but the
//     log.
//   - Close ends everything, goroutines included.
//
// # Duties of the caller
//
// Every Fd that was opened is released (Release, Releasedir) once, after the
// last request with it. Requests end before Close, or fail.
//
// Read next: session.go for the way of a request, follow.go for open files,
// update.go for changes; internal/volserver for where volfiles come from.
package mount

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/xlator"
)

// DefaultTimeout bounds Open when its context has no deadline.
const DefaultTimeout = 30 * time.Second

// Source tells what the volfile is, and when to ask again.
type Source interface {
	// Fetch returns the text of the volfile.
	Fetch(ctx context.Context) (string, error)
	// Changed receives something when the volfile may have changed.
	Changed() <-chan struct{}
	Close() error
}

// Config says what to open. One of Servers, Volfile and Source is set.
type Config struct {
	// Volume is the name of the volume, or another volfile id. Servers are
	// asked for it in turn.
	Volume  string
	Servers []volserver.Server
	// Volfile is the text of a volfile, which then never changes.
	Volfile string
	// Source is anything else that knows the volfile; Close closes it.
	Source Source

	// Overrides are applied to every volfile. Each must fit a volume.
	Overrides []volfile.Override
	// Edit, if set, may change every volfile, after the overrides. An error
	// refuses it.
	Edit func(*volfile.File) error
	// Registry has the translators, usually clientside.Registry().
	Registry graph.Registry
	// Env is for the translators; what is empty is filled in.
	Env xlator.Env
	// Dial connects to volfile servers, and to bricks unless Env has a Dial of
	// its own; nil: the ordinary way.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is used with management daemons, if set: for volfiles and for the ports
	// of bricks. Bricks have options for it.
	TLS *tls.Config
	Log *slog.Logger // nil: slog.Default()
}

// Session is an open volume.
type Session struct {
	cfg     Config
	log     *slog.Logger
	cur     atomic.Pointer[running]
	files   openFiles
	upcalls subscribers
	// switched hears of new graphs, see OnSwitch.
	switched hooks

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	poke   chan struct{} // a translator says that the volfile is old
	work   sync.WaitGroup

	mu    sync.Mutex // what follows, and who may change cur
	text  string     // the volfile as fetched
	old   map[*running]bool
	count int // graphs built so far
	done  chan struct{}
}

// Open opens a volume and waits until it can be used. Its context bounds the
// opening only.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	fillEnv(&cfg)
	s := &Session{cfg: cfg, log: cfg.Log.With("volume", cfg.Volume), poke: make(chan struct{}, 1), old: make(map[*running]bool)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.files.init()
	if err := s.open(ctx); err != nil {
		s.cancel()
		if s.cfg.Source != nil {
			s.cfg.Source.Close()
		}
		return nil, fmt.Errorf("open volume %q: %w", cfg.Volume, err)
	}
	if s.cfg.Source != nil {
		s.work.Add(1)
		go s.watch()
	}
	return s, nil
}

func fillEnv(cfg *Config) {
	e := &cfg.Env
	if e.ProcessUUID == "" {
		e.ProcessUUID = newUUID()
	}
	if e.ProcessName == "" {
		e.ProcessName = "gfapi." + filepath.Base(os.Args[0])
	}
	if e.Hostname == "" {
		e.Hostname, _ = os.Hostname()
	}
	if e.VolfileID == "" {
		e.VolfileID = cfg.Volume
	}
	if e.Dial == nil {
		e.Dial = cfg.Dial
	}
	if e.ManagementTLS == nil {
		e.ManagementTLS = cfg.TLS
	}
}

func newUUID() string {
	var g fop.GFID
	rand.Read(g[:])
	g[6] = g[6]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g.String()
}

func (s *Session) open(ctx context.Context) error {
	text := s.cfg.Volfile
	switch {
	case s.cfg.Source != nil:
	case text != "":
	case len(s.cfg.Servers) > 0:
		s.cfg.Source = volserver.New(volserver.Config{
			Servers: s.cfg.Servers, ID: s.cfg.Volume, Dial: s.cfg.Dial, TLS: s.cfg.TLS, OnCall: s.cfg.Env.OnCall, Log: s.log,
		})
	default:
		return fmt.Errorf("no server and no volfile is given: %w", syscall.EINVAL)
	}
	if s.cfg.Source != nil {
		var err error
		if text, err = s.cfg.Source.Fetch(ctx); err != nil {
			return err
		}
	}
	file, err := s.parse(text)
	if err != nil {
		return err
	}
	r, err := s.build(ctx, file, nil)
	if err != nil {
		return err
	}
	s.text = text
	s.cur.Store(r)
	return nil
}

// parse reads a volfile and applies the overrides.
func (s *Session) parse(text string) (*volfile.File, error) {
	file, err := volfile.Parse(text)
	if err != nil {
		return nil, err
	}
	for _, o := range s.cfg.Overrides {
		if o.Apply(file) == 0 {
			return nil, fmt.Errorf("translator option %s.%s: no volume of the volfile has such a name; its volumes are called like %q: %w",
				o.Pattern, o.Key, file.Top().Name, syscall.EINVAL)
		}
	}
	if s.cfg.Edit != nil {
		if err := s.cfg.Edit(file); err != nil {
			return nil, err
		}
	}
	s.autoload(file)
	return file, nil
}

// autoload puts on top of the graph what every client of GlusterFS has there.
func (s *Session) autoload(file *volfile.File) {
	const meta, name = "meta", "meta-autoload"
	if _, ok := s.cfg.Registry[meta]; !ok || file.Top().Type == meta || file.Volume(name) != nil {
		return
	}
	file.Volumes = append(file.Volumes, &volfile.Volume{Name: name, Type: meta, Subvolumes: []string{file.Top().Name}})
}

// build makes a graph and waits until it can serve.
func (s *Session) build(ctx context.Context, file *volfile.File, before *running) (*running, error) {
	env := s.cfg.Env
	env.GraphID += s.count
	s.count++
	r := newRunning()
	opts := []graph.Option{graph.WithLog(s.cfg.Log), graph.OnEvent(func(ev fop.Event) { s.event(r, ev) })}
	if before != nil {
		r.gen = before.gen + 1
		opts = append(opts, graph.After(before.g))
	}
	g, err := graph.Build(ctx, file, s.cfg.Registry, &env, opts...)
	if err != nil {
		return nil, err
	}
	r.g, r.top = g, g.Top()
	if !hears(file) {
		return r, nil
	}
	if err := g.WaitUp(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return r, nil
}

// hears reports whether a graph has anything that could tell that it is up: a
// client of a brick. A graph over a local directory serves at once.
func hears(file *volfile.File) bool {
	for _, v := range file.Volumes {
		if v.Type == "protocol/client" {
			return true
		}
	}
	return false
}

func (s *Session) event(r *running, ev fop.Event) {
	switch ev.Kind {
	case fop.EventUpcall:
		if ev.Upcall != nil {
			s.upcalls.tell(ev.Upcall)
		}
	case fop.EventVolfileModified:
		select {
		case s.poke <- struct{}{}:
		default:
		}
	case fop.EventChildUp:
		if s.cur.Load() == r {
			s.switched.tell()
		}
	case fop.EventChildDown:
		if s.cur.Load() == r {
			s.log.Warn("volume is not reachable", "err", ev.Err)
		}
	case fop.EventAuthFailed:
		s.log.Error("a brick refuses this client", "from", ev.From, "err", ev.Err)
	}
}

// Graph returns the graph that serves at present. It may be closed any time
// the volfile changes; it is for looking at, not for sending fops to: see Use.
func (s *Session) Graph() *graph.Graph { return s.cur.Load().g }

// Volfile returns the text of the volfile in force, as it was fetched.
func (s *Session) Volfile() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// Up reports whether the volume can serve just now.
func (s *Session) Up() bool { g := s.Graph(); return g != nil && g.Up() }

// Subscribe has f called for every notice from a brick until cancel is called.
// f must be quick.
func (s *Session) Subscribe(f func(*fop.Upcall)) (cancel func()) { return s.upcalls.add(f) }

// closeTimeout is what requests have to end when Close has no deadline.
const closeTimeout = 10 * time.Second

// Close ends the session. Requests under way have until the end of ctx, then
// they fail. Closing twice does nothing.
func (s *Session) Close(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, closeTimeout)
		defer cancel()
	}
	s.mu.Lock()
	if s.done != nil {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.done = make(chan struct{})
	defer close(s.done)
	s.cancel()
	last := s.cur.Swap(closedRunning)
	olds := make([]*running, 0, len(s.old))
	for r := range s.old {
		olds = append(olds, r)
	}
	s.mu.Unlock()

	var errs []error
	for _, r := range append(olds, last) {
		r.drain(ctx, false)
		errs = append(errs, r.g.Close())
	}
	if s.cfg.Source != nil {
		errs = append(errs, s.cfg.Source.Close())
	}
	s.work.Wait()
	return errors.Join(errs...)
}

// subscribers are the functions that hear upcalls.
type subscribers struct {
	mu  sync.Mutex
	all atomic.Pointer[[]*func(*fop.Upcall)]
}

func (s *subscribers) add(f func(*fop.Upcall)) (cancel func()) {
	p := &f
	s.change(func(all []*func(*fop.Upcall)) []*func(*fop.Upcall) { return append(all, p) })
	return func() {
		s.change(func(all []*func(*fop.Upcall)) []*func(*fop.Upcall) {
			var rest []*func(*fop.Upcall)
			for _, q := range all {
				if q != p {
					rest = append(rest, q)
				}
			}
			return rest
		})
	}
}

func (s *subscribers) change(f func([]*func(*fop.Upcall)) []*func(*fop.Upcall)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*func(*fop.Upcall)
	if p := s.all.Load(); p != nil {
		all = append(all, *p...)
	}
	all = f(all)
	s.all.Store(&all)
}

func (s *subscribers) tell(u *fop.Upcall) {
	if p := s.all.Load(); p != nil {
		for _, f := range *p {
			(*f)(u)
		}
	}
}
