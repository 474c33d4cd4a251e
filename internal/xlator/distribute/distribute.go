package distribute

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name:        "cluster/distribute",
	New:         New,
	Options:     options,
	MinChildren: 1,
	MaxChildren: -1,
}

// Keys of xattrs and of xdata.
const (
	keyMDS          = "trusted.glusterfs.dht.mds"
	keyCommitHash   = "trusted.glusterfs.dht.commithash"
	keyProtect      = "trusted.glusterfs.protect.writes"
	keyPreopParent  = "glusterfs.preop.parent.key"
	keyPreopFailed  = "glusterfs.preop.check.failed"
	keyUnlinkLinkto = "unlink-only-if-dht-linkto-file"
	keyUnlinkOpenFd = "dont-unlink-for-open-fd"
	keyDontAccount  = "glusters.marker.dont-account"
	keyForceReplace = "force-replace"
	keyModeInXattr  = "dht-get-mode-in-xattr"
	keyNoDirs       = "readdir-filter-directories"
	keyInternalCtx  = "glusterfs.internal-ctx"
	keySyncXattrs   = "sync_backend_xattrs"
	keyDeemStatfs   = "ignore-deem-statfs"
	keySubvolStatus = "dht.subvol.status"
	keyRenameOp     = "changelog.rename-op"
)

// distribute is the translator over two or more subvolumes.
type distribute struct {
	name   string
	log    *slog.Logger
	tell   func(fop.Event)
	subs   []*subvol // in the order of the volfile
	byName []*subvol // in the order of their names
	leaves int       // of the graph
	set    atomic.Pointer[settings]

	objects objects
	ups     atomic.Uint64 // counts CHILD_UP; a layout from before is looked up again
	commit  atomic.Uint64 // the volume's commit hash, as a lookup of the root said last; see commitKnown
	asked   atomic.Int64  // when the subvolumes were last asked how full they are, Unix nanoseconds
	dirs    dirNames
	names   names
	opens   atomic.Uint64 // counts opens of files and new destinations, see openFile
	changes atomic.Uint64 // counts changes that begin and end; see page
	late    xlator.Behind

	mu    sync.Mutex
	heard int   // subvolumes that said whether they are up
	rank  int64 // of the subvolume that came up last
	up    bool  // what the parents were told
}

// subvol is one subvolume.
type subvol struct {
	fop.Handler
	index             int    // in the order of the volfile
	name              string // part of the format on disk
	firstLeaf, leaves int
	heard             bool         // under distribute.mu
	rank              atomic.Int64 // when it came up, among the others; 0 while it is down
	usage             atomic.Pointer[usage]
}

func (s *subvol) isUp() bool { return s.rank.Load() != 0 }

func (s *subvol) String() string { return s.name }

// Start begins a fop on the subvolume.
func (s *subvol) Start(ctx context.Context, req fop.Request) fop.Pending {
	return fop.Start(ctx, s.Handler, req)
}

var (
	_ fop.Starter         = (*distribute)(nil)
	_ xlator.Notified     = (*distribute)(nil)
	_ xlator.Reconfigurer = (*distribute)(nil)
	_ xlator.Closer       = (*distribute)(nil)
	_ xlator.Dumper       = (*distribute)(nil)
)

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	switch len(c.Children) {
	case 0:
		return nil, fmt.Errorf("%s: no subvolumes: %w", c.Name, syscall.EINVAL)
	case 1:
		return &single{name: c.Name, below: c.Children[0].Name, child: c.Children[0].Handler}, nil
	}
	d := &distribute{name: c.Name, log: c.Log, tell: c.Notify, leaves: c.Leaves}
	if d.log == nil {
		d.log = slog.Default()
	}
	if d.tell == nil {
		d.tell = func(fop.Event) {}
	}
	for i, ch := range c.Children {
		d.subs = append(d.subs, &subvol{Handler: ch.Handler, index: i, name: ch.Name, firstLeaf: ch.FirstLeaf, leaves: ch.Leaves})
	}
	d.byName = slices.Clone(d.subs)
	slices.SortFunc(d.byName, func(a, b *subvol) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(d.byName); i++ {
		if d.byName[i].name == d.byName[i-1].name {
			return nil, fmt.Errorf("%s: subvolume %s stands there twice: %w", c.Name, d.byName[i].name, syscall.EINVAL)
		}
	}
	d.objects.init()
	return d, d.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (d *distribute) Reconfigure(o xlator.Options) error {
	s, err := d.parse(o)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	d.set.Store(s)
	return nil
}

// Close waits for what answers did not wait for.
func (d *distribute) Close() error {
	d.late.Wait()
	return nil
}

// ChildEvent hears that a subvolume came or went. The parents hear that this
// one is up when all subvolumes have said what they are, so that the first
// lookup of the root does not take one that still connects for one that is
// down.
func (d *distribute) ChildEvent(child string, ev fop.Event) {
	s := d.subvolume(child)
	if s == nil {
		d.tell(ev)
		return
	}
	switch ev.Kind {
	case fop.EventChildUp, fop.EventChildDown, fop.EventChildConnecting, fop.EventAuthFailed:
	default:
		d.tell(ev)
		return
	}
	d.mu.Lock()
	was := d.up
	if !s.heard {
		s.heard = true
		d.heard++
	}
	if ev.Kind == fop.EventChildUp {
		d.rank++
		s.rank.CompareAndSwap(0, d.rank)
		d.ups.Add(1)
	} else {
		s.rank.Store(0)
	}
	any := slices.ContainsFunc(d.subs, (*subvol).isUp)
	d.up = any && d.heard == len(d.subs)
	now := d.up
	d.mu.Unlock()

	if ev.Kind == fop.EventChildUp {
		d.learnUsage(context.Background(), s)
	}
	switch {
	case now && (!was || ev.Kind == fop.EventChildUp):
		d.tell(fop.Event{Kind: fop.EventChildUp, From: d.name})
	case was && !now, ev.Kind == fop.EventAuthFailed, ev.Kind == fop.EventChildConnecting && !now:
		d.tell(ev)
	}
}

// subvolume finds a subvolume by name, nil if there is none.
func (d *distribute) subvolume(name string) *subvol {
	for _, s := range d.subs {
		if s.name == name {
			return s
		}
	}
	return nil
}

// leaf finds the subvolume above a leaf of the graph, nil if there is none.
func (d *distribute) leaf(n int) *subvol {
	for _, s := range d.subs {
		if n >= s.firstLeaf && n < s.firstLeaf+s.leaves {
			return s
		}
	}
	return nil
}

// firstUp is the subvolume that has been up for longest, nil if none is.
func (d *distribute) firstUp() *subvol {
	var first *subvol
	var least int64
	for _, s := range d.subs {
		if r := s.rank.Load(); r != 0 && (first == nil || r < least) {
			first, least = s, r
		}
	}
	return first
}

// allUp reports whether no subvolume is down.
func (d *distribute) allUp() bool {
	for _, s := range d.subs {
		if !s.isUp() {
			return false
		}
	}
	return true
}

// Do carries out a fop.
func (d *distribute) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if fop.Changes(req) {
		d.changes.Add(1)
		defer d.changes.Add(1)
	}
	switch r := req.(type) {
	case *fop.Lookup:
		return reply(d.lookup(ctx, r))
	case *fop.Mkdir:
		return reply(d.mkdir(ctx, r))
	case *fop.Rmdir:
		return reply(d.rmdir(ctx, r))
	}
	return d.fileFop(ctx, req)
}

// reply makes an interface of a typed reply without making a non-nil one of
// nil.
func reply[R any, P interface {
	*R
	fop.Reply
}](r P, err error) (fop.Reply, error) {
	if r == nil {
		return nil, err
	}
	return r, err
}

// su are the credentials of what this translator does on its own behalf, with
// an owner of locks or none.
func su(owner string) fop.Cred {
	return fop.Cred{PID: fop.PIDNoRootSquash, Owner: owner}
}

// asSu is a header of su with these extra keys.
func asSu(x *fop.Dict) fop.Header { return fop.Header{Cred: su(""), XData: x} }

// behind runs f after the answer; Close waits for it.
func (d *distribute) behind(ctx context.Context, f func(context.Context)) {
	d.late.Go(func() { f(context.WithoutCancel(ctx)) })
}

// each begins the request that mk makes for every one of subs and waits for
// all. mk may return nil to leave one out; got is called for the others, in
// their order.
func each[R fop.Reply](ctx context.Context, subs []*subvol, mk func(*subvol) fop.RequestFor[R], got func(*subvol, R, error)) {
	var few [8]fop.Pending
	pend := few[:0]
	for _, s := range subs {
		var p fop.Pending
		if req := mk(s); req != nil {
			p = s.Start(ctx, req)
		}
		pend = append(pend, p)
	}
	for i, p := range pend {
		if p == nil {
			continue
		}
		rep, err := p.Wait()
		r, ok := rep.(R)
		if !ok && err == nil {
			err = fmt.Errorf("%s answered with %T: %w", subs[i].name, rep, syscall.EPROTO)
		}
		got(subs[i], r, err)
	}
}
