// Package nlcache is the translator "performance/nl-cache" (GlusterFS 10.3,
// xlators/performance/nl-cache): it answers LOOKUP of names that are known not to
// exist. Compilers and loaders that search a path, and programs that look before
// they create, ask for many of those.
//
// What is remembered of a directory, for nl-cache-timeout:
//
//   - names that a brick said are not there, for the credentials with which it
//     was asked;
//   - with nl-cache-positive-entry, of a directory that was made through this
//     client, all names that are there: what was not put in is not there.
//
// # What it promises
//
//   - What is created through this client is found at once, and what was on its
//     way while a name was made or moved is not believed (inodes.Version decides,
//     per directory).
//   - What others create is found when the brick tells of it (EventUpcall): this
//     needs features.cache-invalidation, without which names of others stay
//     hidden for nl-cache-timeout. Hence the translator is off unless somebody
//     asks for it. When notices may have been lost all is forgotten.
//   - About nl-cache-limit bytes are used; directories not used for longest are
//     forgotten first.
//
// # Locks
//
// Each directory has a mutex, the list of directories another, which is taken
// after it. None is held while a child or a parent is called.
package nlcache

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
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
	Name: "performance/nl-cache",
	New:  New,
	Options: []xlator.Option{
		{Key: "nl-cache-positive-entry", Kind: xlator.KindBool, Default: "false"},
		{Key: "nl-cache-limit", Kind: xlator.KindSize, Default: "10MB"},
		{Key: "nl-cache-timeout", Kind: xlator.KindDuration, Default: "60", Max: 600},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "false"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

// What names and directories take in memory, about.
const (
	nameCost = 96
	dirCost  = 512
)

// maxDirs is how many directories are remembered at most, whatever the limit.
const maxDirs = 1 << 14

// nlCache is the translator.
type nlCache struct {
	child  fop.Handler
	notify func(fop.Event)
	conf   atomic.Pointer[config]
	seed   maphash.Seed
	clock  inodes.Clock
	epoch  atomic.Uint64
	dirs   *inodes.Table[dir]
	used   atomic.Int64 // bytes
	base   time.Time

	mu   sync.Mutex // the order in which directories are forgotten
	ring dir

	hits, misses, notices atomic.Uint64
}

type config struct {
	pass     bool
	positive bool
	limit    int64
	timeout  time.Duration
}

// dir is what is known of a directory.
type dir struct {
	mu    sync.Mutex
	ver   inodes.Version
	epoch uint64
	until int64
	// missing has names that are not there, and who asked for each.
	missing map[string]creds
	// complete: what is not in present is not there, as far as maker is concerned.
	complete bool
	maker    uint64
	present  map[string]struct{}
	cost     int64

	prev, next *dir // in nlCache.ring, while cost is not 0
}

// creds are the credentials that asked for a name last; 0 is nobody.
type creds [2]uint64

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	n := &nlCache{child: c.Children[0].Handler, notify: c.Notify, seed: maphash.MakeSeed(), dirs: inodes.New[dir](maxDirs), base: time.Now()}
	if n.notify == nil {
		n.notify = func(fop.Event) {}
	}
	n.ring.prev, n.ring.next = &n.ring, &n.ring
	n.dirs.Dropped = func(d *dir) {
		n.clock.Forget(&d.ver)
		d.mu.Lock()
		n.reset(d)
		d.mu.Unlock()
	}
	return n, n.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (n *nlCache) Reconfigure(o xlator.Options) error {
	n.conf.Store(&config{
		pass:     o.Bool("pass-through", false),
		positive: o.Bool("nl-cache-positive-entry", false),
		limit:    o.Size("nl-cache-limit", 10<<20),
		timeout:  o.Duration("nl-cache-timeout", time.Minute),
	})
	n.epoch.Add(1)
	n.shrink()
	return nil
}

func (n *nlCache) now() int64 { return int64(time.Since(n.base)) }

// Do carries out one fop.
func (n *nlCache) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	c := n.conf.Load()
	if c.pass {
		return n.child.Do(ctx, req)
	}
	switch r := req.(type) {
	case *fop.Lookup:
		if r.Name != "" {
			return n.lookup(ctx, c, r)
		}
	case *fop.Create:
		return n.change(ctx, c, req, r.Parent, r.Name, true)
	case *fop.Mknod:
		return n.change(ctx, c, req, r.Parent, r.Name, true)
	case *fop.Mkdir:
		return n.change(ctx, c, req, r.Parent, r.Name, true)
	case *fop.Symlink:
		return n.change(ctx, c, req, r.Parent, r.Name, true)
	case *fop.Link:
		return n.change(ctx, c, req, r.Parent, r.Name, true)
	case *fop.Put:
		return n.change(ctx, c, req, r.Parent, r.Name, true)
	case *fop.Unlink:
		return n.change(ctx, c, req, r.Parent, r.Name, false)
	case *fop.Rmdir:
		return n.change(ctx, c, req, r.Parent, r.Name, false)
	case *fop.Rename:
		from := n.begin(r.OldParent, r.OldName, false)
		reply, err := n.change(ctx, c, req, r.NewParent, r.NewName, true)
		// The old name stays where both are names of one file already.
		n.end(c, from, r.OldName, true, &r.Cred, err)
		return reply, err
	case *fop.Setattr:
		n.forget(r.GFID)
	case *fop.Fsetattr:
		n.forget(r.GFID)
	case *fop.Setxattr:
		n.forget(r.GFID)
	case *fop.Fsetxattr:
		n.forget(r.GFID)
	case *fop.Removexattr:
		n.forget(r.GFID)
	case *fop.Fremovexattr:
		n.forget(r.GFID)
	}
	return n.child.Do(ctx, req)
}

// Start begins a fop without waiting, where nothing here concerns it.
func (n *nlCache) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch req.(type) {
	case *fop.Read, *fop.Write:
		return fop.Start(ctx, n.child, req)
	}
	return fop.Start(ctx, fop.HandlerFunc(n.Do), req)
}

// lookup answers a lookup by name if the name is known not to be there.
func (n *nlCache) lookup(ctx context.Context, c *config, r *fop.Lookup) (fop.Reply, error) {
	cred := n.credID(&r.Cred)
	start, at, epoch := n.clock.Now(), n.now(), n.epoch.Load()
	if ref := n.dirs.Peek(r.Parent); ref != nil {
		d := &ref.V
		d.mu.Lock()
		hit := at < d.until && d.epoch == epoch && !d.ver.Changing() && d.lacks(r.Name, cred)
		if hit {
			n.charge(d, 0)
		}
		d.mu.Unlock()
		ref.Release()
		if hit {
			n.hits.Add(1)
			return nil, syscall.ENOENT
		}
	}
	n.misses.Add(1)
	reply, err := n.child.Do(ctx, r)
	switch {
	case err == nil:
		n.found(r.Parent, r.Name)
	case fop.Errno(err) == syscall.ENOENT && c.timeout > 0 && c.limit > 0:
		ref := n.dirs.Acquire(r.Parent)
		d := &ref.V
		d.mu.Lock()
		if d.ver.Unchanged(&n.clock, start) {
			n.renew(c, d, at, epoch)
			n.lack(d, r.Name, cred)
		}
		d.mu.Unlock()
		ref.Release()
		n.shrink()
	}
	return reply, err
}

// lacks reports whether a name is known not to be there. d.mu is held.
func (d *dir) lacks(name string, cred uint64) bool {
	if who, ok := d.missing[name]; ok && (who[0] == cred || who[1] == cred) {
		return true
	}
	if !d.complete || d.maker != cred {
		return false
	}
	_, there := d.present[name]
	return !there
}

// lack remembers that a name is not there. d.mu is held.
func (n *nlCache) lack(d *dir, name string, cred uint64) {
	who, known := d.missing[name]
	if who[0] == cred || who[1] == cred {
		return
	}
	if d.missing == nil {
		d.missing = map[string]creds{}
	}
	d.missing[strings.Clone(name)] = creds{cred, who[0]}
	if !known {
		n.charge(d, int64(nameCost+len(name)))
	}
}

// renew makes d fit to learn something at the time at. What is known is good for
// one timeout from when the first of it was learned. d.mu is held.
func (n *nlCache) renew(c *config, d *dir, at int64, epoch uint64) {
	if at < d.until && d.epoch == epoch {
		return
	}
	n.reset(d)
	d.until, d.epoch = at+int64(c.timeout), epoch
	n.charge(d, dirCost)
}

// found takes note that a name is there.
func (n *nlCache) found(g fop.GFID, name string) {
	ref := n.dirs.Peek(g)
	if ref == nil {
		return
	}
	d := &ref.V
	d.mu.Lock()
	if d.until != 0 {
		d.ver.Void(&n.clock) // who still says that it is missing is late
		delete(d.missing, name)
		n.put(d, name)
	}
	d.mu.Unlock()
	ref.Release()
	n.shrink()
}

// put takes note that a name may be there. d.mu is held.
func (n *nlCache) put(d *dir, name string) {
	if !d.complete {
		return
	}
	if _, ok := d.present[name]; !ok {
		d.present[strings.Clone(name)] = struct{}{}
		n.charge(d, int64(nameCost+len(name)))
	}
}

// change carries out a request that makes or removes a name.
func (n *nlCache) change(ctx context.Context, c *config, req fop.Request, g fop.GFID, name string, makes bool) (fop.Reply, error) {
	ch := n.begin(g, name, makes)
	reply, err := n.child.Do(ctx, req)
	n.end(c, ch, name, makes, &req.Head().Cred, err)
	if r, ok := reply.(*fop.EntryReply); ok && err == nil && req.Op() == fop.OpMkdir && c.positive {
		n.made(c, req, r.Stat.GFID)
	}
	return reply, err
}

// changing is a change under way.
type changing struct {
	ref   *inodes.Ref[dir]
	token uint64
}

func (n *nlCache) begin(g fop.GFID, name string, makes bool) changing {
	ch := changing{ref: n.dirs.Acquire(g)}
	d := &ch.ref.V
	d.mu.Lock()
	ch.token = d.ver.Begin(&n.clock)
	delete(d.missing, name)
	if makes { // even if it fails, who knows
		n.put(d, name)
	}
	d.mu.Unlock()
	return ch
}

func (n *nlCache) end(c *config, ch changing, name string, makes bool, cred *fop.Cred, err error) {
	d := &ch.ref.V
	d.mu.Lock()
	alone := d.ver.End(&n.clock, ch.token)
	if !makes && err == nil && alone && c.timeout > 0 && c.limit > 0 {
		// The directory let these credentials remove it: they may look, too.
		n.renew(c, d, n.now(), n.epoch.Load())
		n.lack(d, name, n.credID(cred))
		delete(d.present, name)
	}
	d.mu.Unlock()
	ch.ref.Release()
	n.shrink()
}

// made takes note of a new directory, which is empty.
func (n *nlCache) made(c *config, req fop.Request, g fop.GFID) {
	v, _ := req.Head().XData.Get(fop.KeyGFIDReq)
	if want, ok := v.GFID(); !ok || want != g || c.timeout == 0 || c.limit == 0 {
		return
	}
	ref := n.dirs.Acquire(g)
	d := &ref.V
	d.mu.Lock()
	if d.until == 0 && !d.ver.Changing() {
		n.renew(c, d, n.now(), n.epoch.Load())
		d.complete, d.maker, d.present = true, n.credID(&req.Head().Cred), map[string]struct{}{}
	}
	d.mu.Unlock()
	ref.Release()
	n.shrink()
}

// forget drops what is known of a directory.
func (n *nlCache) forget(g fop.GFID) {
	if g.IsZero() {
		return
	}
	ref := n.dirs.Acquire(g) // what is under way about it is void, known or not
	d := &ref.V
	d.mu.Lock()
	d.ver.Void(&n.clock)
	n.reset(d)
	d.mu.Unlock()
	ref.Release()
}

// charge adds to what a directory takes, and makes it the one used last. d.mu is
// held.
func (n *nlCache) charge(d *dir, bytes int64) {
	d.cost += bytes
	n.used.Add(bytes)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unlink(d)
	if d.cost > 0 {
		last := n.ring.prev
		d.prev, d.next = last, &n.ring
		last.next, n.ring.prev = d, d
	}
}

// unlink takes a directory out of the ring. n.mu is held.
func (n *nlCache) unlink(d *dir) {
	if d.next != nil {
		d.prev.next, d.next.prev = d.next, d.prev
		d.prev, d.next = nil, nil
	}
}

// reset empties a directory. d.mu is held.
func (n *nlCache) reset(d *dir) {
	n.charge(d, -d.cost)
	d.missing, d.present, d.complete, d.until = nil, nil, false, 0
}

// shrink forgets directories while too much is used. No lock is held.
func (n *nlCache) shrink() {
	for n.used.Load() > n.conf.Load().limit {
		n.mu.Lock()
		d := n.ring.next
		n.mu.Unlock()
		if d == &n.ring {
			return
		}
		d.mu.Lock()
		n.reset(d)
		d.mu.Unlock()
	}
}

// credID stands for what bricks look at to permit something; it is never 0.
func (n *nlCache) credID(c *fop.Cred) uint64 {
	h := maphash.Comparable(n.seed, [3]uint32{c.UID, c.GID, uint32(len(c.Groups))})
	for _, g := range c.Groups {
		h = maphash.Comparable(n.seed, [3]uint32{uint32(h), uint32(h >> 32), g})
	}
	return h | 1
}

// ChildEvent hears what bricks tell, and passes it on.
func (n *nlCache) ChildEvent(_ string, ev fop.Event) {
	switch ev.Kind {
	case fop.EventUpcall:
		if u := ev.Upcall; u != nil && u.Kind == fop.UpcallInvalidate {
			n.notices.Add(1)
			n.forget(u.GFID)
			n.forget(u.Parent.GFID)
			n.forget(u.OldParent.GFID)
		}
	case fop.EventChildUp, fop.EventChildDown, fop.EventNoticesLost:
		n.epoch.Add(1)
	}
	n.notify(ev)
}

// Dump writes the state for a statedump.
func (n *nlCache) Dump(w io.Writer) {
	c := n.conf.Load()
	fmt.Fprintf(w, "pass-through=%v\ncache-time=%d\ncache-size=%d\nlimit=%d\ndirectories=%d\nnegative-hits=%d\nmisses=%d\ninvalidations=%d\n",
		c.pass, int(c.timeout.Seconds()), n.used.Load(), c.limit, n.dirs.Len(), n.hits.Load(), n.misses.Load(), n.notices.Load())
}
