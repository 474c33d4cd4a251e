package replicate

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name:        "cluster/replicate",
	New:         New,
	Options:     options,
	MinChildren: 1,
	MaxChildren: maxChildren,
	Copies:      true,
}

// maxObjects is about how many objects are remembered that nobody uses.
const maxObjects = 1 << 17

type replicate struct {
	name     string
	children []xlator.Child
	n        int
	leaves   int      // of the whole graph
	arbiter  int      // the child that keeps no data, -1 if none
	pending  []string // xattr keys, by child
	dirty    string   // xattr key
	anonDir  string   // name in the root under which healers keep what has no name
	log      *slog.Logger
	notify   func(fop.Event)
	env      *xlator.Env
	conf     atomic.Pointer[config]

	objects *inodes.Table[object]

	state    atomic.Uint64 // see view
	local    atomic.Int32  // a child on this host, plus 1; 0 if none is
	localGen atomic.Uint32 // generation at which it was asked for
	// needHeal: some brick has notes of things to heal, as lookups have seen.
	needHeal atomic.Bool
	meters   [maxChildren]meter
	// Second requests of hedged reads: under way, ever made, and that won.
	hedging, hedges, hedgeWins atomic.Int64
	alarms                     sync.Pool

	mu     sync.Mutex
	events childEvents

	choiceTime atomic.Int64 // how long a choice in split-brain lasts, in nanoseconds

	// Keys that lookups and refreshes ask for.
	askRefresh, askLookup, askDiscover *fop.Dict

	changes changes // transactions
	later   unlocks
	fixed   fixed

	// What goes on behind the fops, and the context that ends it.
	behind xlator.Behind
	life   context.Context
	die    context.CancelFunc
}

var (
	_ xlator.Reconfigurer = (*replicate)(nil)
	_ xlator.Notified     = (*replicate)(nil)
	_ xlator.Runner       = (*replicate)(nil)
	_ xlator.Closer       = (*replicate)(nil)
)

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	n := len(c.Children)
	if n < 1 || n > maxChildren {
		return nil, fmt.Errorf("%d subvolumes: replicate takes 1 to %d: %w", n, maxChildren, syscall.EINVAL)
	}
	if s := c.Options.String("thin-arbiter", ""); s != "" {
		return nil, fmt.Errorf("option thin-arbiter %s: this program has no thin arbiter; use an ordinary arbiter brick or a third copy: %w", s, syscall.ENOTSUP)
	}
	if c.Options.Bool("iam-self-heal-daemon", false) {
		return nil, fmt.Errorf("option iam-self-heal-daemon: this program is no self-heal daemon: %w", syscall.ENOTSUP)
	}
	r := &replicate{name: c.Name, children: c.Children, n: n, leaves: c.Leaves, arbiter: -1, log: c.Log, notify: c.Notify, env: c.Env,
		dirty: c.Options.String("afr-dirty-xattr", "trusted.afr.dirty"), objects: inodes.New[object](maxObjects)}
	if c.Options.Int("arbiter-count", 0) == 1 {
		if n != 3 {
			return nil, fmt.Errorf("option arbiter-count 1 with %d subvolumes: an arbiter is the third of three: %w", n, syscall.EINVAL)
		}
		r.arbiter = n - 1
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.notify == nil {
		r.notify = func(fop.Event) {}
	}
	if r.env == nil {
		r.env = new(xlator.Env)
	}
	names := make([]string, n)
	for i, ch := range c.Children {
		names[i] = ch.Name
	}
	r.pending = pendingKeys(c.Options, names)
	if id := c.Options.String("volume-id", ""); id != "" {
		r.anonDir = anonymousPrefix + "-" + id
	}
	r.changes.idle = make(chan struct{})
	r.later.r = r
	r.fixed = r.makeFixed()
	r.askRefresh = r.refreshKeys()
	r.askDiscover = r.changelogKeys().Set(fop.KeyInodelkCount, fop.Uint(0)).Set(fop.KeyEntrylkCount, fop.Uint(0))
	r.askLookup = r.askDiscover.With(fop.KeyParentEntrylk, fop.Uint(0))
	r.choiceTime.Store(int64(choiceTime))
	r.life, r.die = context.WithCancel(context.Background())
	return r, r.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (r *replicate) Reconfigure(o xlator.Options) error {
	c, err := r.parse(o)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	r.conf.Store(c)
	return nil
}

// Close ends what goes on behind the fops.
func (r *replicate) Close() error {
	r.closeTx()
	r.endChoices()
	r.die()
	r.behind.Wait()
	return nil
}

func (r *replicate) childNamed(name string) int {
	for i := range r.children {
		if r.children[i].Name == name {
			return i
		}
	}
	return -1
}

// Do carries out a fop.
func (r *replicate) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if !r.conf.Load().consistentIO {
		return r.do(ctx, req)
	}
	gen := r.view().gen
	reply, err := r.do(ctx, req)
	if err == nil && r.view().gen != gen {
		return nil, fmt.Errorf("%s: %v: option consistent-io is on and a copy went or came meanwhile: %w", r.name, req.Op(), syscall.ENOTCONN)
	}
	return reply, err
}

// do sends a fop on its way. What changes something is a transaction.
func (r *replicate) do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch q := req.(type) {
	case *fop.Write, *fop.Truncate, *fop.Ftruncate, *fop.Fallocate, *fop.Discard, *fop.Zerofill, *fop.Fsync,
		*fop.Setattr, *fop.Fsetattr, *fop.Removexattr, *fop.Fremovexattr, *fop.Xattrop, *fop.Fxattrop,
		*fop.Create, *fop.Mknod, *fop.Mkdir, *fop.Symlink, *fop.Link, *fop.Unlink, *fop.Rmdir, *fop.Rename:
		if err := r.refusePrivate(req); err != nil {
			return nil, err
		}
		return r.transact(ctx, req)
	case *fop.Setxattr:
		return r.setxattr(ctx, q)
	case *fop.Fsetxattr:
		return r.fsetxattr(ctx, q)
	case *fop.Lookup:
		return r.lookup(ctx, q)
	case *fop.Read, *fop.Stat, *fop.Fstat, *fop.Readlink, *fop.Seek, *fop.Access, *fop.Rchecksum:
		return r.read(ctx, req)
	case *fop.Getxattr:
		return r.getxattr(ctx, q)
	case *fop.Fgetxattr:
		return r.fgetxattr(ctx, q)
	case *fop.Open:
		return r.open(ctx, q)
	case *fop.Opendir:
		return r.opendir(ctx, q)
	case *fop.Readdir:
		return r.readdir(ctx, q)
	case *fop.Readdirp:
		return r.readdirp(ctx, q)
	case *fop.Flush:
		return r.flush(ctx, q)
	case *fop.Fsyncdir:
		return r.fsyncdir(ctx, q)
	case *fop.StatfsReq:
		return r.statfs(ctx, q)
	case *fop.Lk:
		return r.lk(ctx, q)
	case *fop.Inodelk, *fop.Finodelk, *fop.Entrylk, *fop.Fentrylk:
		return r.lockFromAbove(ctx, req)
	case *fop.Lease:
		return r.lease(ctx, q)
	case *fop.Ipc:
		return r.ipc(ctx, q)
	case *fop.Release, *fop.Releasedir:
		return r.release(ctx, req)
	case *fop.Disconnect:
		return &fop.CommonReply{}, nil // is between a server and its bricks
	}
	// GlusterFS does these on the first child alone and so makes the copies
	// differ. Callers do without them.
	return nil, fmt.Errorf("%s: %v is not offered on replicated volumes: %w", r.name, req.Op(), syscall.EOPNOTSUPP)
}
