package brick

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/xlator"
)

// Version is what --version prints; the first word is what scripts look for.
var Version = "glusterfs 10.3 (wythe)"

const (
	exitUsage = 255 // as GlusterFS's option parser
	exitError = 1

	// fetchTimeout is for how long the management daemon may not answer when
	// the brick starts.
	fetchTimeout = 60 * time.Second
	callTimeout  = 10 * time.Second
	// secureAccess is the file whose presence puts TLS on the management path.
	secureAccess = "/var/lib/glusterd/secure-access"
)

// Main runs a brick process with the arguments of glusterfsd, without the name
// of the program, and returns its exit status.
func Main(args []string) int {
	a, err := parseArguments(args)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "wythe brick:", err)
		return exitUsage
	case a.version:
		fmt.Println(Version)
		return 0
	case a.help:
		printHelp(os.Stdout)
		return 0
	case a.print != "":
		fmt.Println(a.print)
		return 0
	case a.check:
		return checkVolfile(a)
	}
	if !a.noDaemon && !a.debug && os.Getenv(childEnv) == "" {
		return launch()
	}
	p := &process{args: a, level: new(slog.LevelVar), ready: readyPipe()}
	status := p.run()
	p.tell(status)
	return status
}

func checkVolfile(a *arguments) int {
	text, err := os.ReadFile(a.volfile)
	if err == nil {
		_, err = volfile.Parse(string(text))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wythe brick:", err)
		return exitError
	}
	return 0
}

// process is a brick process.
type process struct {
	args  *arguments
	level *slog.LevelVar
	file  *logFile
	log   *slog.Logger
	ready *os.File // where the launcher waits; nil without one
	pid   *os.File // locked as long as the process lives

	source *volserver.Client // nil with --volfile
	conns  atomic.Int64      // connections made to management daemons
	signed int64             // conns when the bricks were signed in last
	text   string            // of the volfile

	brick  *Brick
	ops    *rpc.Server
	stop   chan string // why to end, from TERMINATE
	signal chan os.Signal
}

func (p *process) run() (status int) {
	if err := p.setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "wythe brick:", err)
		return exitError
	}
	// Listen for signals before anybody can find us.
	p.signal = make(chan os.Signal, 8)
	signal.Notify(p.signal, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(p.signal)
	p.stop = make(chan string, 1)
	defer p.cleanUp()
	if err := p.start(); err != nil {
		p.log.Error("brick does not start", "err", err)
		if p.ready == nil {
			fmt.Fprintln(os.Stderr, "wythe brick:", err)
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return int(syscall.EADDRINUSE)
		}
		return exitError
	}
	p.tell(0)
	return p.loop()
}

// setUp opens the log and takes the pid file.
func (p *process) setUp() error {
	a := p.args
	var out io.Writer = os.Stderr
	if a.logFile != "" && a.logFile != "-" && !a.debug {
		if err := os.MkdirAll(filepath.Dir(a.logFile), 0o755); err != nil {
			return err
		}
		var err error
		if p.file, err = openLog(a.logFile); err != nil {
			return fmt.Errorf("log file: %w", err)
		}
		out = p.file
	}
	p.setLevel("")
	p.log = newLog(out, p.level)
	slog.SetDefault(p.log)
	p.log.Info("brick process", "version", Version, "pid", os.Getpid(), "args", strings.Join(os.Args[1:], " "))
	for _, name := range a.ignored {
		p.log.Info("argument has no effect here", "argument", name)
	}
	return p.takePidFile()
}

// setLevel sets the level of the log: the command line's, else the volfile's.
func (p *process) setLevel(fromVolfile string) {
	name := p.args.logLevel
	if name == "" {
		name = strings.ToUpper(fromVolfile)
	}
	level, ok := logLevels[name]
	if p.args.debug {
		level = slog.LevelDebug
	} else if !ok {
		level = slog.LevelInfo
	}
	p.level.Set(level)
}

// takePidFile writes our pid to the pid file and locks it with a lock of fcntl,
// which glusterd tests.
func (p *process) takePidFile() error {
	if p.args.pidFile == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p.args.pidFile), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(p.args.pidFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err != nil {
		f.Close()
		return fmt.Errorf("pid file %s is locked, the brick runs already: %w", p.args.pidFile, err)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return err
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		f.Close()
		return err
	}
	p.pid = f
	return nil
}

// start brings the brick up and signs it in.
func (p *process) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	stop := p.interruptible(cancel)
	defer stop()
	var err error
	if p.text, err = p.fetch(ctx); err != nil {
		return err
	}
	file, err := volfile.Parse(p.text)
	if err != nil {
		return fmt.Errorf("volfile: %w", err)
	}
	p.setLevel(logLevelOf(file))
	hostname, _ := os.Hostname()
	p.brick, err = Start(context.Background(), Options{
		Volfile: file, Overrides: p.args.overrides, Log: p.log,
		Env: xlator.Env{ProcessName: "brick", Hostname: hostname, VolfileID: p.args.volfileID, GlusterdUUID: p.glusterdUUID()},
	})
	if err != nil {
		return err
	}
	if err := p.serveOps(); err != nil {
		return err
	}
	return p.signIn(ctx)
}

// interruptible lets a signal end the start.
func (p *process) interruptible(cancel func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case sig := <-p.signal:
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				cancel()
				p.stop <- sig.String()
			}
		case <-done:
		}
	}()
	return func() { close(done) }
}

func (p *process) glusterdUUID() string {
	for _, o := range p.args.overrides {
		if o.Key == "glusterd-uuid" {
			return o.Value
		}
	}
	return ""
}

// logLevelOf finds the level that the volume's options ask for.
func logLevelOf(file *volfile.File) string {
	for _, v := range file.Volumes {
		if v.Type == "debug/io-stats" {
			s, _ := v.Get("log-level")
			return s
		}
	}
	return ""
}

// fetch gets the volfile.
func (p *process) fetch(ctx context.Context) (string, error) {
	a := p.args
	if a.volfile != "" {
		text, err := os.ReadFile(a.volfile)
		return string(text), err
	}
	if p.source == nil {
		cfg := volserver.Config{ID: a.volfileID, Brick: a.brickName, Dial: p.dial, Log: p.log}
		for _, host := range a.servers {
			cfg.Servers = append(cfg.Servers, a.server(host))
		}
		why := "--secure-mgmt"
		if _, err := os.Stat(secureAccess); err == nil && !a.secure {
			why, a.secure = secureAccess, true
		}
		if a.secure {
			var err error
			if cfg.TLS, err = rpc.TLSConfig(nil, p.log); err != nil {
				return "", fmt.Errorf("%s asks for TLS: %w", why, err)
			}
		}
		p.source = volserver.New(cfg)
	}
	for {
		text, err := p.source.Fetch(ctx)
		var refusal *volserver.Refusal
		if err == nil || ctx.Err() != nil || errors.As(err, &refusal) {
			return text, err
		}
		p.log.Warn("no volfile yet", "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", err
		}
	}
}

// server is the management daemon on a host.
func (a *arguments) server(host string) volserver.Server {
	if a.transport == "unix" || strings.HasPrefix(host, "/") {
		return volserver.Server{Network: "unix", Addr: host}
	}
	return volserver.Server{Network: "tcp", Addr: net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(a.serverPort))}
}

// dial connects as GlusterFS does and counts: with every new connection the
// bricks must be signed in again.
func (p *process) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := rpc.DialConn(ctx, rpc.DialOptions{Network: network, Address: addr, Ports: rpc.PortHigh})
	if err == nil {
		p.conns.Add(1)
	}
	return conn, err
}

// port is where clients find the bricks.
func (p *process) port() int32 {
	for _, addr := range p.brick.server.Listeners() {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			return int32(tcp.Port)
		}
	}
	return int32(p.args.brickPort)
}

// signIn tells the portmapper where the bricks are, once per connection.
func (p *process) signIn(ctx context.Context) error {
	conns := p.conns.Load()
	if p.source == nil || p.signed == conns {
		return nil
	}
	for _, name := range p.brick.Names() {
		req := &proto.SigninRequest{Brick: name, Port: p.port(), PID: int32(os.Getpid())}
		if err := p.portmap(ctx, proto.PortmapSignin, req); err != nil {
			return fmt.Errorf("sign in brick %s at the portmapper: %w", name, err)
		}
		p.log.Info("signed in at the portmapper", "brick", name, "port", req.Port)
	}
	p.signed = conns
	return nil
}

func (p *process) signOut(name string) {
	if p.source == nil || p.signed == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout/5)
	defer cancel()
	req := &proto.SignoutRequest{Brick: name, Port: p.port()}
	if err := p.portmap(ctx, proto.PortmapSignout, req); err != nil {
		p.log.Warn("sign out", "brick", name, "err", err)
	}
}

func (p *process) portmap(ctx context.Context, proc uint32, req rpc.Appender) error {
	reply, err := p.source.Call(ctx, proto.ProgPortmap, proto.VersPortmap, proc, req)
	if err != nil {
		return err
	}
	var st proto.Status
	if err := st.Decode(reply.Body); err != nil {
		return err
	}
	if st.Ret < 0 {
		return fmt.Errorf("refused: %w", proto.ErrnoFromWire(st.Errno))
	}
	return nil
}

// loop goes on until the brick ends.
func (p *process) loop() int {
	failed := make(chan error, 1)
	go func() { failed <- p.brick.Wait() }()
	var changed <-chan struct{}
	if p.source != nil {
		changed = p.source.Changed()
	}
	for {
		select {
		case <-changed:
			p.follow()
		case why := <-p.stop:
			p.log.Info("brick ends", "why", why)
			return 0
		case err := <-failed:
			if err != nil {
				p.log.Error("brick ended", "err", err)
				return exitError
			}
			return 0
		case sig := <-p.signal:
			switch sig {
			case syscall.SIGHUP:
				if p.file != nil {
					if err := p.file.reopen(); err != nil {
						p.log.Error("log file", "err", err)
					}
				}
			case syscall.SIGUSR1:
				p.statedump()
			case syscall.SIGUSR2:
				p.log.Info("SIGUSR2 has no effect here; metrics come with the statedump")
			default:
				p.log.Info("brick ends", "signal", sig)
				return 0
			}
		}
	}
}

// follow signs in again where needed and takes over a changed volfile.
func (p *process) follow() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	text, err := p.source.Fetch(ctx)
	if err != nil {
		p.log.Warn("volfile", "err", err)
		return
	}
	if err := p.signIn(ctx); err != nil {
		p.log.Error("portmapper", "err", err)
	}
	if text == p.text {
		return
	}
	file, err := volfile.Parse(text)
	if err == nil {
		err = p.brick.Reconfigure(file)
	}
	switch {
	case err == nil:
		p.log.Info("brick has new options")
	case errors.Is(err, graph.ErrRebuild):
		p.log.Warn("the changed volfile takes effect when the brick starts next", "err", err)
	default:
		p.log.Error("the changed volfile is refused", "err", err)
		return
	}
	p.text = text
	p.setLevel(logLevelOf(file))
}

// cleanUp ends what start began.
func (p *process) cleanUp() {
	if p.brick != nil {
		for _, name := range p.brick.Names() {
			p.signOut(name)
		}
		p.brick.Close()
	}
	if p.ops != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		p.ops.Shutdown(ctx) // the answer to TERMINATE may still be on its way
		cancel()
		os.Remove(p.args.socketFile)
	}
	if p.source != nil {
		p.source.Close()
	}
	if p.pid != nil {
		os.Remove(p.args.pidFile)
		p.pid.Close()
	}
	p.log.Info("brick process ended", "pid", os.Getpid())
}
