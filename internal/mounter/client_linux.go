package mounter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/gateway/fuse"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
)

// Version is what --version prints; the first words are what scripts look for.
var Version = "glusterfs 10.3 (wythe)"

// Exit statuses. glusterfs ends with 64 when its command line is wrong, with
// ENOENT when there is no such volume and with ENOTCONN when no server is
// reachable; mount.glusterfs ends with the others.
const (
	exitFailed  = 1
	exitPlace   = 2  // the mount point must not be mounted over
	exitMounted = 32 // something is mounted there
	exitUsage   = 64

	// When the process ends, requests and delayed writes may take unmountTimeout
	// while the volume is there and closeTimeout while it is being closed, and
	// all of it endTimeout. If a signal ends it, which ends glusterfs at once, that
	// goes on only while bricks answer: not longer than silence without an answer.
	unmountTimeout = 3 * time.Second
	closeTimeout   = 4 * time.Second
	endTimeout     = 10 * time.Second
	silence        = 2 * time.Second
)

// ClientMain is glusterfs with a mount point: it mounts, goes to the background
// and serves. args are those of the command line without the program's name. It
// returns the exit status.
func ClientMain(args []string) int {
	if watching() {
		return 0
	}
	if fromMountFuse(args) {
		return HelperMain(args)
	}
	a, err := ParseArguments(args)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "glusterfs:", err)
		var wrong *UsageError
		if errors.As(err, &wrong) {
			fmt.Fprintln(os.Stderr, "Try 'glusterfs --help'.")
			return exitUsage
		}
		return exitFailed
	case a.Version:
		fmt.Println(Version)
		return 0
	case a.Help:
		PrintHelp(os.Stdout)
		return 0
	case a.Print != "":
		fmt.Println(a.Print)
		return 0
	}
	p := &process{args: a, log: quiet}
	if !p.child() {
		for _, w := range a.Warnings {
			fmt.Fprintln(os.Stderr, "glusterfs: warning:", w)
		}
		if a.CheckVolfile {
			return p.checkVolfile()
		}
		dir, err := findMountPoint(a.MountPoint)
		if err == nil {
			err = checkPlace(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "glusterfs:", err)
			return failureStatus(err)
		}
		if !a.NoDaemon && !a.Debug {
			return launch(os.Args, "")
		}
	}
	return p.run()
}

// fromMountFuse says whether a command line is one of mount.fuse(8), which calls
// the program that it takes from the type fuse.glusterfs as mount(8) calls a
// helper: SOURCE MOUNT-POINT [-o OPTIONS].
func fromMountFuse(args []string) bool {
	return (len(args) == 2 || len(args) > 2 && args[2] == "-o") && args[0] != "" && args[0][0] != '-' && args[1] != "" && args[1][0] != '-'
}

// process serves a mount.
type process struct {
	args   *Arguments
	source string // as /proc/mounts shows it
	dir    string // the mount point's true path

	ready, alive *os.File // to who waits; see daemon_linux.go

	level       *slog.LevelVar
	volumeLevel string   // the level that the volume asked for last
	file        *logFile // nil where the log is none
	log         *slog.Logger
	pid         *os.File // locked as long as the process lives

	session *mount.Session
	server  atomic.Pointer[fuse.Server]
	watcher *watcher
	signals chan os.Signal
}

// run mounts and serves until the mount is gone, and returns the exit status.
func (p *process) run() int {
	// Listen for signals before anybody can find us.
	p.signals = make(chan os.Signal, 16)
	signal.Notify(p.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	if err := p.setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "glusterfs:", err)
		return exitFailed
	}
	defer p.cleanUp()
	if err := p.mount(); err != nil {
		p.log.Error("volume is not mounted", "err", err)
		if p.file != nil || p.args.Syslog {
			printFailure(os.Stderr, p.args, err)
		}
		p.end()
		return failureStatus(err)
	}
	p.settle()
	p.log.Info("volume is mounted", "source", p.source, "on", p.dir)
	status, signaled := p.loop()
	if signaled {
		defer p.heed()()
	}
	p.end()
	return status
}

// setUp makes the process what others expect of it.
func (p *process) setUp() error {
	a := p.args
	dir, err := findMountPoint(a.MountPoint)
	if err != nil {
		return err
	}
	p.dir = dir
	if p.source == "" {
		p.source = a.defaultSource()
	}
	if err := p.openLogs(); err != nil {
		return err
	}
	// The name by which pgrep and killall know it.
	os.WriteFile("/proc/self/comm", []byte("glusterfs"), 0)
	if a.OOMScoreAdj != nil {
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*a.OOMScoreAdj)), 0); err != nil {
			return fmt.Errorf("oom-score-adj: %w", err)
		}
	}
	p.log.Info("client process", "version", Version, "pid", os.Getpid(), "cmdline", strings.Join(os.Args, " "))
	for _, w := range a.Warnings {
		p.log.Warn(w)
	}
	return p.takePidFile()
}

// defaultSource is what /proc/mounts shows of a mount that was not asked for
// through mount(8).
func (a *Arguments) defaultSource() string {
	if a.Volfile != "" {
		return a.Volfile
	}
	return a.hosts[0] + ":" + a.VolfileID + a.Subdir
}

// takePidFile writes our pid to the pid file and locks it with a lock of fcntl,
// as GlusterFS does.
func (p *process) takePidFile() error {
	path := p.args.PidFile
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err != nil {
		f.Close()
		return fmt.Errorf("pid file %s is locked by another client: %w", path, err)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("pid file: %w", err)
	}
	p.pid = f
	return nil
}

// mount opens the volume and mounts it; it returns when the root answers.
func (p *process) mount() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), p.args.MountTimeout,
		fmt.Errorf("not within %v (mount-timeout): %w", p.args.MountTimeout, context.DeadlineExceeded))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	over, deserted := make(chan struct{}), p.deserted()
	defer close(over)
	go func() {
		for {
			select {
			case <-deserted:
				stop(errors.New("who asked for the mount is gone"))
				return
			case sig := <-p.signals:
				if sig == syscall.SIGTERM || sig == syscall.SIGINT {
					stop(fmt.Errorf("signal: %v: %w", sig, context.Canceled))
					return
				}
			case <-over:
				return
			}
		}
	}()
	var err error
	if p.session, err = p.open(ctx); err != nil {
		return err
	}
	server, err := fuse.Mount(ctx, p.fuseConfig())
	if err != nil {
		return err
	}
	p.server.Store(server)
	if p.args.AutoUnmount {
		if p.watcher, err = watch(p.dir); err != nil {
			return fmt.Errorf("auto_unmount: %w", err)
		}
	}
	return nil
}

func (p *process) fuseConfig() fuse.Config {
	a := p.args
	transport, _ := fuse.ParseTransport(a.Transport) // checked by setFuseTransport
	return fuse.Config{
		Session: p.session, Dir: p.dir, Source: p.source,
		ReadOnly: a.ReadOnly, ACL: a.ACL, SELinux: a.SELinux || a.Capability, EnableIno32: a.EnableIno32, AuxGFID: a.AuxGFID,
		ThinClient: a.ThinClient, ResolveGIDs: a.ResolveGIDs, NoRootSquash: a.NoRootSquash,
		AttrTimeout: a.AttributeTimeout, EntryTimeout: a.EntryTimeout, NegativeTimeout: a.NegativeTimeout, GIDTimeout: a.GIDTimeout,
		LRULimit: a.LRULimit, InvalidateLimit: a.InvalidateLimit, ReaderThreads: a.ReaderThreads,
		BackgroundQueue: a.BackgroundQueue, CongestionThreshold: a.CongestionThreshold,
		DirectIO:  map[Switch]fuse.DirectIO{Auto: fuse.DirectIOAuto, On: fuse.DirectIOOn, Off: fuse.DirectIOOff}[a.DirectIO],
		KeepCache: a.KeepCache, AutoInvalidation: a.AutoInvalidation, WritebackCache: a.WritebackCache, Readdirp: a.Readdirp,
		FlushHandleInterrupt: a.FlushHandleInterrupt, AttrTimesGranularity: a.AttrTimesGranularity,
		MountOptions: a.MountOptions, Transport: transport, DumpFuse: a.DumpFuse, Log: p.log,
	}
}

// loop serves until the mount is gone, or a signal says that it shall go.
func (p *process) loop() (status int, signaled bool) {
	gone := make(chan error, 1)
	go func() { gone <- p.server.Load().Wait() }()
	for {
		select {
		case err := <-gone:
			if err != nil {
				p.log.Error("mount ended", "err", err)
				return exitFailed, false
			}
			p.log.Info("unmounted", "from", p.dir)
			return 0, false
		case sig := <-p.signals:
			switch sig {
			case syscall.SIGHUP:
				if p.file != nil {
					if err := p.file.reopen(); err != nil {
						p.log.Error("log file", "err", err)
					}
				}
				p.log.Info("log file is open anew")
			case syscall.SIGUSR1:
				p.statedump()
			case syscall.SIGUSR2:
				p.log.Info("SIGUSR2 has no effect here; metrics come with the statedump (SIGUSR1)")
			default:
				p.log.Info("mount ends", "signal", sig)
				return 0, true
			}
		}
	}
}

// end takes the mount and the volume down, in bounded time: requests that hang are
// failed by the kernel when the process ends.
func (p *process) end() {
	late := time.AfterFunc(endTimeout, func() { p.giveUp("after", endTimeout) })
	defer late.Stop()
	// A second signal means at once.
	go func() {
		for sig := range p.signals {
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				p.cleanUp()
				os.Exit(exitFailed)
			}
		}
	}()
	if server := p.server.Load(); server != nil {
		p.unmount(server)
	}
	if p.session != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := p.session.Close(ctx); err != nil {
			p.log.Warn("closing the volume", "err", err)
		}
	}
}

// giveUp ends the process with requests under way.
func (p *process) giveUp(why ...any) {
	p.log.Error("the end takes too long, requests under way fail", why...)
	p.cleanUp()
	os.Exit(exitFailed)
}

// heed gives up when no brick has answered anything for a while, until the
// function that it returns is called.
func (p *process) heed() (done func()) {
	var bricks []interface{ Answers() uint64 }
	for _, h := range p.session.Graph().FindType("protocol/client") {
		if b, ok := h.(interface{ Answers() uint64 }); ok {
			bricks = append(bricks, b)
		}
	}
	over := make(chan struct{})
	go func() {
		const often = silence / 8
		tick := time.NewTicker(often)
		defer tick.Stop()
		was, quiet := uint64(0), time.Duration(0)
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			sum := uint64(0)
			for _, b := range bricks {
				sum += b.Answers()
			}
			if quiet += often; sum != was {
				was, quiet = sum, 0
			}
			if quiet >= silence {
				p.giveUp("no answer for", silence)
			}
		}
	}()
	return func() { close(over) }
}

// unmount takes the mount away. Requests that wait for a silent brick hold it up
// only for a while: they fail when the volume is closed.
func (p *process) unmount(server *fuse.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := server.Unmount()
		if errors.Is(err, syscall.EBUSY) {
			p.log.Warn("the mount is in use; what has it open fails from now on")
			err = server.Abort()
		}
		if err != nil {
			p.log.Warn("unmount", "err", err)
		}
	}()
	select {
	case <-done:
	case <-time.After(unmountTimeout):
		p.log.Warn("requests are under way still", "after", unmountTimeout)
	}
}

// cleanUp removes what others find us by.
func (p *process) cleanUp() {
	if p.watcher != nil {
		p.watcher.dismiss()
	}
	if p.pid != nil {
		os.Remove(p.args.PidFile)
	}
	p.log.Info("client process ended", "pid", os.Getpid())
}

// checkVolfile is --volfile-check.
func (p *process) checkVolfile() int {
	text := ""
	var err error
	if p.args.Volfile != "" {
		var b []byte
		b, err = os.ReadFile(p.args.Volfile)
		text = string(b)
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), p.args.MountTimeout)
		defer cancel()
		var cfg mount.Config
		if cfg, err = p.volume(); err == nil {
			source := volserver.New(volserver.Config{Servers: cfg.Servers, ID: cfg.Volume, TLS: cfg.TLS, Log: quiet})
			text, err = source.Fetch(ctx)
			source.Close()
		}
	}
	if err == nil {
		_, err = volfile.Parse(text)
	}
	if err != nil {
		printFailure(os.Stderr, p.args, err)
		return failureStatus(err)
	}
	return 0
}

// failureStatus is glusterfs's exit status for a mount that failed.
func failureStatus(err error) int {
	var place *placeError
	var refusal *volserver.Refusal
	var servers *volserver.ServersError
	switch {
	case errors.As(err, &place):
		return place.code
	case errors.As(err, &refusal) && refusal.Errno == syscall.ENOENT:
		return int(syscall.ENOENT)
	case errors.As(err, &refusal):
		return exitFailed
	case errors.As(err, &servers):
		return int(syscall.ENOTCONN)
	}
	return exitFailed
}

// printFailure says why nothing is mounted, what each server said on a line of its
// own.
func printFailure(w io.Writer, a *Arguments, err error) {
	what := a.VolfileID
	if a.Volfile != "" {
		what = a.Volfile
	}
	var servers *volserver.ServersError
	if !errors.As(err, &servers) {
		fmt.Fprintf(w, "glusterfs: %s is not mounted on %s: %v\n", what, a.MountPoint, err)
		return
	}
	fmt.Fprintf(w, "glusterfs: %s is not mounted on %s: no server gives its volfile:\n", what, a.MountPoint)
	for _, f := range servers.Failures {
		fmt.Fprintf(w, "  %s: %v\n", f.Server, f.Err)
	}
}
