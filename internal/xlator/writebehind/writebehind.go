package writebehind

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "performance/write-behind",
	New:  New,
	Options: []xlator.Option{
		{Key: "cache-size", Kind: xlator.KindSize, Default: "1MB", Min: 512 << 10, Max: 1 << 30},
		{Key: "aggregate-size", Kind: xlator.KindSize, Default: "128KB"},
		{Key: "flush-behind", Kind: xlator.KindBool, Default: "on"},
		{Key: "trickling-writes", Kind: xlator.KindBool, Default: "on"},
		{Key: "strict-O_DIRECT", Kind: xlator.KindBool, Default: "off"},
		{Key: "strict-write-ordering", Kind: xlator.KindBool, Default: "off"},
		{Key: "resync-failed-syncs-after-fsync", Kind: xlator.KindBool, Default: "off"},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "off"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

// maxLost is how many objects are remembered only because nobody was told yet
// that a write to them failed.
const maxLost = 64

// drainTimeout is how long writes may take to be done when the graph goes.
const drainTimeout = 10 * time.Second

type config struct {
	rules
	flushBehind  bool
	strictDirect bool
	resync       bool
	pass         bool
}

type behind struct {
	child fop.Handler
	log   *slog.Logger
	conf  atomic.Pointer[config]
	files *inodes.Table[file]
	dirty atomic.Int64 // files with delayed writes
	watch observers

	life  context.Context // of delayed writes
	kill  context.CancelFunc
	quiet atomic.Bool // Quiesce: nothing is delayed any more
	tasks group       // reapers, and what is done behind

	locking atomic.Bool // posix locks were asked for

	mu   sync.Mutex
	lost []*ref // held because of file.lost, oldest first

	counts struct {
		early, late, joined, failed atomic.Uint64
	}
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	w := &behind{child: c.Children[0].Handler, log: c.Log, files: inodes.New[file](0)}
	if w.log == nil {
		w.log = slog.Default()
	}
	if err := w.Reconfigure(c.Options); err != nil {
		return nil, err
	}
	w.life, w.kill = context.WithCancel(context.Background())
	return w, nil
}

// Reconfigure takes new options. They are good for writes that come from now on;
// those that wait are sent by the new rules, too, with the next write of their
// file.
func (w *behind) Reconfigure(o xlator.Options) error {
	c := &config{
		rules: rules{
			window:    int(o.Size("cache-size", 1<<20)),
			aggregate: int(o.Size("aggregate-size", 128<<10)),
			trickling: o.Bool("trickling-writes", true),
			strict:    o.Bool("strict-write-ordering", false),
		},
		flushBehind:  o.Bool("flush-behind", true),
		strictDirect: o.Bool("strict-O_DIRECT", false),
		resync:       o.Bool("resync-failed-syncs-after-fsync", false),
		pass:         o.Bool("pass-through", false),
	}
	if c.aggregate > c.window {
		return fmt.Errorf("aggregate-size (%d) is larger than cache-size (%d); make performance.aggregate-size smaller or performance.write-behind-window-size larger: %w",
			c.aggregate, c.window, syscall.EINVAL)
	}
	w.conf.Store(c)
	return nil
}

// obey has f judged by the options in force. f.mu is held.
func (f *file) obey(r *rules) {
	old := f.rules
	if old == r {
		return
	}
	f.rules = r
	if old == nil {
		return
	}
	if old.strict != r.strict {
		f.q.recount(r)
	}
	f.q.trickle(r)
}

// Run has what is delayed done when the graph goes.
func (w *behind) Run(ctx context.Context) error {
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := w.Quiesce(limit); err != nil {
		w.log.Error("delayed writes are given up", "files", w.dirty.Load(), "err", err)
	}
	w.kill()
	return w.tasks.wait(context.Background()) // which are over soon
}

// Quiesce has all that was answered done, and from now on nothing is answered
// before it is done.
func (w *behind) Quiesce(ctx context.Context) error {
	w.quiet.Store(true)
	var first error
	w.files.Range(func(at *ref) bool {
		if err := w.wait(ctx, at, everything); err != nil && first == nil {
			first = fmt.Errorf("writes to %v: %w", at.GFID, err)
		}
		return ctx.Err() == nil
	})
	if err := w.tasks.wait(ctx); err != nil {
		return err
	}
	return first
}

// Close ends what Run has left, in a graph that never ran.
func (w *behind) Close() error {
	w.kill()
	return nil
}

// Dump writes the state for a statedump.
func (w *behind) Dump(out io.Writer) {
	c := w.conf.Load()
	fmt.Fprintf(out, "window_size=%d\naggregate_size=%d\nflush_behind=%d\ntrickling_writes=%d\nstrict_write_ordering=%d\npass_through=%d\n",
		c.window, c.aggregate, digit(c.flushBehind), digit(c.trickling), digit(c.strict), digit(c.pass))
	fmt.Fprintf(out, "early=%d\njoined=%d\nlate=%d\nfailed=%d\ndirty_files=%d\n",
		w.counts.early.Load(), w.counts.joined.Load(), w.counts.late.Load(), w.counts.failed.Load(), w.dirty.Load())
	left := 100 // files
	w.files.Range(func(at *ref) bool {
		f := &at.V
		f.mu.Lock()
		if len(f.q.chunks) > 0 {
			fmt.Fprintf(out, "gfid=%v window_current=%d requests=%d transit=%d waiters=%d\n",
				at.GFID, f.q.bytes, len(f.q.chunks), f.q.flying, len(f.waiters))
			left--
		}
		f.mu.Unlock()
		return left > 0
	})
}

// digit is how statedumps show what is on or off.
func digit(on bool) int {
	if on {
		return 1
	}
	return 0
}

// Do carries out one fop.
func (w *behind) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Write:
		return w.write(ctx, r)
	case *fop.Open:
		return w.open(ctx, r)
	case *fop.Create:
		return w.create(ctx, r)
	case *fop.Flush:
		return w.flush(ctx, r)
	case *fop.Fsync:
		return w.fsync(ctx, r)
	case *fop.Release:
		return w.release(ctx, r)
	case *fop.Lk:
		return w.lk(ctx, r)
	}
	if w.dirty.Load() == 0 {
		return w.child.Do(ctx, req)
	}
	return w.depending(ctx, req)
}

// Start begins a fop. What has to wait for delayed writes does so in a
// goroutine.
func (w *behind) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch r := req.(type) {
	case *fop.Write:
		return w.startWrite(ctx, r)
	case *fop.Open, *fop.Create, *fop.Flush, *fop.Fsync, *fop.Release, *fop.Lk:
	default:
		if w.dirty.Load() == 0 {
			return fop.Start(ctx, w.child, req)
		}
	}
	return fop.Start(ctx, fop.HandlerFunc(w.Do), req)
}

// settled is a fop that is done already.
type settled struct {
	reply fop.Reply
	err   error
}

func (s settled) Wait() (fop.Reply, error) { return s.reply, s.err }
