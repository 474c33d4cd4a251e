package brick

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/graph/brickside"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// Options say what to run.
type Options struct {
	// Volfile is the brick's graph with protocol/server at its top.
	Volfile *volfile.File
	// Overrides are applied to the volfile, and to those that Reconfigure gets.
	Overrides []volfile.Override
	// Listener is where clients come, besides what the volfile's options name.
	Listener net.Listener
	// Registry has the translators; nil: brickside.Registry().
	Registry graph.Registry
	// Env is for the translators; what is empty is filled in.
	Env xlator.Env
	Log *slog.Logger // nil: slog.Default()
}

// Brick is a running brick, or several under one server.
type Brick struct {
	opts   Options
	log    *slog.Logger
	graph  *graph.Graph
	server xlator.BrickServer
	cancel context.CancelFunc
	serve  sync.WaitGroup

	once     sync.Once
	closeErr error
	end      chan struct{} // closed when all is over
	failOnce sync.Once
	failed   chan struct{} // closed when the brick cannot go on; failure says why
	failure  error
}

// shutdownGrace is for how long calls under way may take when a brick ends.
const shutdownGrace = 5 * time.Second

// Start runs a brick until Close or the end of ctx. The error wraps EADDRINUSE
// when the volfile asks for a port that is taken. On success the brick owns
// Options.Listener.
func Start(ctx context.Context, o Options) (*Brick, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Registry == nil {
		o.Registry = brickside.Registry()
	}
	fillEnv(&o.Env)
	b := &Brick{opts: o, log: o.Log, end: make(chan struct{}), failed: make(chan struct{})}
	file, err := b.prepare(o.Volfile)
	if err != nil {
		return nil, err
	}
	g, err := graph.Build(ctx, file, o.Registry, &o.Env, graph.WithLog(o.Log), graph.OnEvent(b.event))
	if err != nil {
		return nil, err
	}
	server, ok := g.Top().(xlator.BrickServer)
	if !ok {
		g.Close()
		return nil, fmt.Errorf("the top volume %q of the volfile is no protocol/server, so clients cannot reach the brick: %w", g.Name(), syscall.EINVAL)
	}
	b.graph, b.server = g, server
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.cancel = cancel
	if o.Listener != nil {
		b.serve.Add(1)
		go func() {
			defer b.serve.Done()
			if err := server.Serve(sctx, o.Listener); err != nil {
				b.fail(fmt.Errorf("accepting clients on %s: %w", o.Listener.Addr(), err))
			}
		}()
	}
	b.serve.Add(1)
	go func() {
		defer b.serve.Done()
		select {
		case <-ctx.Done():
			go b.Close()
		case <-b.failed:
			go b.Close()
		case <-sctx.Done():
		}
	}()
	return b, nil
}

// Serve runs a brick until ctx ends or the brick fails.
func Serve(ctx context.Context, o Options) error {
	b, err := Start(ctx, o)
	if err != nil {
		return err
	}
	return b.Wait()
}

func fillEnv(e *xlator.Env) {
	if e.ProcessUUID == "" {
		var g fop.GFID
		rand.Read(g[:])
		g[6], g[8] = g[6]&0x0f|0x40, g[8]&0x3f|0x80
		e.ProcessUUID = g.String()
	}
	if e.Hostname == "" {
		e.Hostname, _ = os.Hostname()
	}
	if e.ProcessName == "" {
		e.ProcessName = "brick"
	}
}

// prepare returns the volfile as this process runs it: with the overrides, and
// with the volume's UUID where the server looks for it, since a volfile has it
// in the translators below only.
func (b *Brick) prepare(file *volfile.File) (*volfile.File, error) {
	if file == nil || file.Top() == nil {
		return nil, fmt.Errorf("the volfile defines no volume: %w", syscall.EINVAL)
	}
	file = file.Clone()
	for _, o := range b.opts.Overrides {
		if o.Apply(file) == 0 {
			b.log.Info("option fits no volume of the volfile", "volume", o.Pattern, "option", o.Key)
		}
	}
	top := file.Top()
	for _, name := range top.Subvolumes {
		if id := findOption(file, name, "volume-id", 0); id != "" {
			top.Set("volume-id."+name, id)
		}
	}
	return file, nil
}

// findOption looks for an option in a volume and those below it.
func findOption(file *volfile.File, name, key string, depth int) string {
	v := file.Volume(name)
	if v == nil || depth > 100 {
		return ""
	}
	if s, ok := v.Get(key); ok {
		return s
	}
	for _, sub := range v.Subvolumes {
		if s := findOption(file, sub, key, depth+1); s != "" {
			return s
		}
	}
	return ""
}

// event hears what leaves the top of the graph.
func (b *Brick) event(ev fop.Event) {
	if ev.Kind != fop.EventChildDown {
		return
	}
	err := ev.Err
	if err == nil {
		err = syscall.EIO
	}
	b.fail(fmt.Errorf("brick is down (%s): %w", ev.From, err))
}

func (b *Brick) fail(err error) {
	b.failOnce.Do(func() {
		b.failure = err
		b.log.Error("brick ends", "err", err)
		close(b.failed)
	})
}

// Wait waits for the brick's end and tells why it ended; nil after Close.
func (b *Brick) Wait() error {
	<-b.end
	select {
	case <-b.failed:
		return b.failure
	default:
		return b.closeErr
	}
}

// Close stops serving and takes the brick down. It may be called more than once.
func (b *Brick) Close() error {
	b.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		defer cancel()
		if err := b.server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			b.log.Warn("shutdown", "err", err)
		}
		b.cancel()
		b.serve.Wait()
		b.closeErr = b.graph.Close()
		close(b.end)
	})
	<-b.end
	return b.closeErr
}

// Reconfigure gives a running brick the options of a new volfile. The error
// wraps graph.ErrRebuild when the brick must be restarted for it.
func (b *Brick) Reconfigure(file *volfile.File) error {
	file, err := b.prepare(file)
	if err != nil {
		return err
	}
	return b.graph.Reconfigure(file)
}

// Names returns the names of the bricks, which are their paths.
func (b *Brick) Names() []string { return b.server.Bricks() }

// Local makes a client of a brick without a socket, for xlator.Env.Local.
func (b *Brick) Local(name, process string) (xlator.LocalBrick, bool) {
	return b.server.Local(name, process)
}

// Dump writes the state of all translators as a statedump has it.
func (b *Brick) Dump(w io.Writer) { b.graph.Dump(w) }
