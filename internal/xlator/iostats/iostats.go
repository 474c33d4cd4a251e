// Package iostats is the translator "debug/io-stats": it counts fops, bytes and
// block sizes, and with option latency-measurement how long fops take. It stands
// at the top of a brick's or client's graph.
//
// Counting is always on: an atomic addition or two per fop. Snapshot returns what
// was counted since the start, and Interval what was counted since the last
// Interval, as "volume profile" shows them. Setting the xattr
// trusted.io-stats-dump writes a Snapshot as JSON to a file of that name in
// /var/lib/glusterd/stats.
package iostats

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

const (
	logging = "logging is set up for the process, not by volume"
	dumping = "there are no periodic dumps; ask for a snapshot or the metrics"
	threads = "goroutines need no pool"
)

// Type is "debug/io-stats".
var Type = xlator.Type{
	Name: "debug/io-stats", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "latency-measurement", Kind: xlator.KindBool, Default: "off"},
		{Key: "count-fop-hits", Kind: xlator.KindBool, Default: "off"}, // fops are always counted
		{Key: "unique-id", Default: "/no/such/path"},
		{Key: "volume-id"},
		{Key: "dump-fd-stats", Kind: xlator.KindBool, Default: "off", Ignored: "statistics are not kept by open file"},
		{Key: "ios-dump-interval", Kind: xlator.KindInt, Default: "0", Max: 3600, Ignored: dumping},
		{Key: "ios-sample-interval", Kind: xlator.KindInt, Default: "0", Max: 65535, Ignored: dumping},
		{Key: "ios-dump-format", Default: "json", OneOf: []string{"text", "json", "dict", "samples"}, Ignored: dumping},
		{Key: "ios-sample-buf-size", Kind: xlator.KindInt, Default: "65535", Min: 1024, Max: 1048576, Ignored: dumping},
		{Key: "ios-dnscache-ttl-sec", Kind: xlator.KindInt, Default: "86400", Min: 1, Max: 259200, Ignored: dumping},
		{Key: "log-level", Default: "INFO", Ignored: logging},
		{Key: "client-log-level", Default: "INFO", Ignored: logging},
		{Key: "brick-log-level", Default: "INFO", Ignored: logging},
		{Key: "sys-log-level", Default: "CRITICAL", Ignored: logging},
		{Key: "logger", Default: "gluster-log", OneOf: []string{"gluster-log", "syslog"}, Ignored: logging},
		{Key: "client-logger", Default: "gluster-log", OneOf: []string{"gluster-log", "syslog"}, Ignored: logging},
		{Key: "brick-logger", Default: "gluster-log", OneOf: []string{"gluster-log", "syslog"}, Ignored: logging},
		{Key: "log-format", Default: "with-msg-id", Ignored: logging},
		{Key: "client-log-format", Default: "with-msg-id", Ignored: logging},
		{Key: "brick-log-format", Default: "with-msg-id", Ignored: logging},
		{Key: "log-buf-size", Kind: xlator.KindInt, Default: "5", Max: 20, Ignored: logging},
		{Key: "client-log-buf-size", Kind: xlator.KindInt, Default: "5", Max: 20, Ignored: logging},
		{Key: "brick-log-buf-size", Kind: xlator.KindInt, Default: "5", Max: 20, Ignored: logging},
		{Key: "log-flush-timeout", Kind: xlator.KindDuration, Default: "120", Ignored: logging},
		{Key: "client-log-flush-timeout", Kind: xlator.KindDuration, Default: "120", Ignored: logging},
		{Key: "brick-log-flush-timeout", Kind: xlator.KindDuration, Default: "120", Ignored: logging},
		{Key: "global-threading", Kind: xlator.KindBool, Default: "off", Ignored: threads},
		{Key: "threads", Kind: xlator.KindInt, Default: "16", Ignored: threads},
		{Key: "brick-threads", Kind: xlator.KindInt, Default: "16", Min: 1, Max: 128, Ignored: threads},
		{Key: "client-threads", Kind: xlator.KindInt, Default: "16", Min: 1, Max: 128, Ignored: threads},
	},
}

// Blocks is the number of block sizes that are told apart: powers of two, each
// counting reads and writes of at least its size and less than the next.
const Blocks = 32

// Fop is what was counted of one kind of fop. Times are nanoseconds; they cover
// Timed of the Count fops.
type Fop struct {
	Count, Timed, Total uint64
	Min, Max            uint64
}

// Stats is what was counted in a period.
type Stats struct {
	Start, End              time.Time
	Fops                    [fop.OpCount]Fop // by number on the wire
	Upcalls                 uint64
	ReadBytes, WrittenBytes uint64
	ReadBlocks, WriteBlocks [Blocks]uint64
	Number                  int // of the interval, from 0; the total has -1
}

// counters is Stats while it is being counted.
type counters struct {
	start   time.Time
	number  int
	fops    [fop.OpCount]fopCounters
	upcalls atomic.Uint64
	read    [2]atomic.Uint64 // bytes: of reads, of writes
	blocks  [2][Blocks]atomic.Uint64
}

type fopCounters struct {
	count, timed, total, min, max atomic.Uint64
	_                             [3]uint64 // a cache line each
}

// IOStats is the translator.
type IOStats struct {
	next    fop.Handler
	log     *slog.Logger
	name    string
	notify  func(fop.Event)
	latency atomic.Bool
	dir     string // of dumps

	interval atomic.Pointer[counters]
	mu       sync.Mutex
	before   Stats // the sum of all finished intervals
}

// New makes an IOStats.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	s := &IOStats{next: c.Children[0], log: c.Log, name: c.Name, notify: c.Notify, dir: "/var/lib/glusterd/stats"}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	s.before = Stats{Start: now, Number: -1}
	s.interval.Store(&counters{start: now})
	return s, s.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (s *IOStats) Reconfigure(o xlator.Options) error {
	s.latency.Store(o.Bool("latency-measurement", false))
	return nil
}

// ChildEvent counts upcalls and passes all events on.
func (s *IOStats) ChildEvent(_ string, ev fop.Event) {
	if ev.Kind == fop.EventUpcall {
		s.interval.Load().upcalls.Add(1)
	}
	if s.notify != nil {
		s.notify(ev)
	}
}

// Do carries out one fop.
func (s *IOStats) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	op := req.Op()
	if op >= fop.OpCount {
		return s.next.Do(ctx, req)
	}
	if r, ok := req.(*fop.Setxattr); ok && r.Dict.Has(dumpKey) {
		s.dump(r.Dict.Text(dumpKey))
	}
	f := &s.interval.Load().fops[op]
	f.count.Add(1)
	var reply fop.Reply
	var err error
	if s.latency.Load() {
		start := time.Now()
		reply, err = s.next.Do(ctx, req)
		f.took(uint64(time.Since(start)))
	} else {
		reply, err = s.next.Do(ctx, req)
	}
	if err == nil {
		switch r := reply.(type) {
		case *fop.ReadReply:
			s.moved(0, len(r.Data))
		case *fop.WriteReply:
			s.moved(1, int(r.Size))
		}
	}
	return reply, err
}

func (f *fopCounters) took(ns uint64) {
	f.timed.Add(1)
	f.total.Add(ns)
	for old := f.max.Load(); ns > old && !f.max.CompareAndSwap(old, ns); old = f.max.Load() {
	}
	// The minimum is kept plus one, so that 0 means none.
	for old := f.min.Load(); (old == 0 || ns+1 < old) && !f.min.CompareAndSwap(old, ns+1); old = f.min.Load() {
	}
}

func (s *IOStats) moved(dir, n int) {
	if n <= 0 {
		return
	}
	c := s.interval.Load()
	c.read[dir].Add(uint64(n))
	c.blocks[dir][min(bits.Len(uint(n))-1, Blocks-1)].Add(1)
}

func (c *counters) stats() *Stats {
	out := &Stats{Start: c.start, End: time.Now(), Number: c.number, Upcalls: c.upcalls.Load(),
		ReadBytes: c.read[0].Load(), WrittenBytes: c.read[1].Load()}
	for i := range c.fops {
		f := &c.fops[i]
		out.Fops[i] = Fop{Count: f.count.Load(), Timed: f.timed.Load(), Total: f.total.Load(), Max: f.max.Load()}
		if m := f.min.Load(); m > 0 {
			out.Fops[i].Min = m - 1
		}
	}
	for i := range Blocks {
		out.ReadBlocks[i], out.WriteBlocks[i] = c.blocks[0][i].Load(), c.blocks[1][i].Load()
	}
	return out
}

// add adds a later period to t.
func (t *Stats) add(u *Stats) {
	t.End = u.End
	t.Upcalls += u.Upcalls
	t.ReadBytes += u.ReadBytes
	t.WrittenBytes += u.WrittenBytes
	for i := range u.Fops {
		a, b := &t.Fops[i], &u.Fops[i]
		if b.Timed > 0 && (a.Timed == 0 || b.Min < a.Min) {
			a.Min = b.Min
		}
		a.Max = max(a.Max, b.Max)
		a.Count += b.Count
		a.Timed += b.Timed
		a.Total += b.Total
	}
	for i := range Blocks {
		t.ReadBlocks[i] += u.ReadBlocks[i]
		t.WriteBlocks[i] += u.WriteBlocks[i]
	}
}

// Snapshot returns what was counted since the start or Clear.
func (s *IOStats) Snapshot() *Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.before
	t.add(s.interval.Load().stats())
	return &t
}

// Interval returns what was counted since the last Interval. Unless peek is set a
// new one begins. Fops under way just then may be counted in neither.
func (s *IOStats) Interval(peek bool) *Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.interval.Load()
	if !peek {
		s.interval.Store(&counters{start: time.Now(), number: c.number + 1})
	}
	t := c.stats()
	if !peek {
		s.before.add(t)
	}
	return t
}

// Clear forgets everything.
func (s *IOStats) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.before = Stats{Start: now, Number: -1}
	s.interval.Store(&counters{start: now})
}

const dumpKey = "trusted.io-stats-dump"

// dump writes a snapshot. The name is a mere name: slashes become dashes.
func (s *IOStats) dump(name string) {
	name = strings.ReplaceAll(strings.TrimLeft(name, "/"), "/", "-")
	if name == "" || name == "." || name == ".." || len(name) > 200 {
		s.log.Warn("statistics not written: bad name", "volume", s.name)
		return
	}
	err := os.MkdirAll(s.dir, 0o755)
	if err == nil {
		var b []byte
		if b, err = json.MarshalIndent(s.Snapshot(), "", "  "); err == nil {
			err = os.WriteFile(filepath.Join(s.dir, name), append(b, '\n'), 0o600)
		}
	}
	if err != nil {
		s.log.Warn("statistics not written", "volume", s.name, "err", err)
	}
}
