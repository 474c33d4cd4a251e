package mdcache

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
	"github.com/wythefs/wythe/internal/xlator"
)

// mdCache is the translator.
type mdCache struct {
	child  fop.Handler
	name   string
	notify func(fop.Event)
	conf   atomic.Pointer[config]
	// oneBrick: what a reply tells of a parent is all there is to tell. With copies,
	// oneRow, that is so of a change only: what tells of the parent is then the copy
	// that it is read from, while a lookup's reply is that of the child's copy.
	oneBrick, oneRow bool

	clock   inodes.Clock
	epoch   atomic.Uint64 // counts how often everything was forgotten
	links   atomic.Uint64 // counts how often some object lost a name, nobody knows which
	gens    atomic.Uint64 // see object.dirGen
	objects *inodes.Table[object]
	names   names
	asked   askedNames
	statfs  atomic.Pointer[statfs]
	base    time.Time
	again   chan struct{} // for Run: tell bricks what to tell of

	hits, misses, xhits, xmisses, notices atomic.Uint64
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	m := &mdCache{child: c.Children[0].Handler, name: c.Name, notify: c.Notify, oneBrick: c.Leaves <= 1, oneRow: c.Rows <= 1,
		objects: inodes.New[object](maxObjects), base: time.Now(), again: make(chan struct{}, 1)}
	if m.notify == nil {
		m.notify = func(fop.Event) {}
	}
	m.objects.Dropped = func(o *object) {
		m.clock.Forget(&o.ver)
		m.clock.Forget(&o.xver)
	}
	m.names.init(&m.clock)
	return m, m.Reconfigure(c.Options)
}

// Reconfigure takes new options. What was learned under others is forgotten.
func (m *mdCache) Reconfigure(o xlator.Options) error {
	m.conf.Store(newConfig(o))
	m.forgetAll()
	m.register()
	return nil
}

func (m *mdCache) forgetAll() {
	m.epoch.Add(1)
	m.statfs.Store(nil)
}

func (m *mdCache) now() int64 { return int64(time.Since(m.base)) }

func (m *mdCache) start() start { return start{m.clock.Now(), m.epoch.Load(), m.links.Load(), m.now()} }

// Do carries out one fop.
func (m *mdCache) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	c := m.conf.Load()
	if c.pass {
		return m.child.Do(ctx, req)
	}
	switch r := req.(type) {
	case *fop.Lookup:
		return m.lookup(ctx, c, r)
	case *fop.Stat:
		return m.stat(ctx, c, r, r.GFID, false)
	case *fop.Fstat:
		return m.stat(ctx, c, r, r.GFID, r.Fd != nil)
	case *fop.Read:
		reply, err := m.child.Do(ctx, req)
		return m.read(req, reply, err)
	case *fop.Readdirp:
		return m.readdirp(ctx, c, r)
	case *fop.Readdir:
		if !c.forceReaddirp {
			return m.child.Do(ctx, req)
		}
		return m.readdirp(ctx, c, &fop.Readdirp{Header: r.Header, GFID: r.GFID, Fd: r.Fd, Offset: r.Offset, Size: r.Size})
	case *fop.Releasedir:
		if r.Fd != nil && r.Fd.Get(m) != nil {
			r.Fd.Set(m, nil)
		}
		return m.child.Do(ctx, req)
	case *fop.Getxattr:
		return m.getxattr(ctx, c, r, r.GFID, r.Name)
	case *fop.Fgetxattr:
		return m.getxattr(ctx, c, r, r.GFID, r.Name)
	case *fop.StatfsReq:
		return m.statvfs(ctx, c, r)
	case *fop.Create, *fop.Mknod, *fop.Mkdir, *fop.Symlink, *fop.Put, *fop.Link, *fop.Unlink, *fop.Rmdir, *fop.Rename:
		return m.entry(ctx, c, req)
	}
	if g, w := changes(req); w >= 0 {
		return m.changeOne(ctx, c, req, g, w)
	}
	return m.child.Do(ctx, req)
}

// changes tells which object a request changes, and in what way; -1 for none.
func changes(req fop.Request) (fop.GFID, what) {
	switch r := req.(type) {
	case *fop.Write:
		return r.GFID, aboutData
	case *fop.Truncate:
		return r.GFID, aboutData
	case *fop.Ftruncate:
		return r.GFID, aboutData
	case *fop.Fallocate:
		return r.GFID, aboutData
	case *fop.Discard:
		return r.GFID, aboutData
	case *fop.Zerofill:
		return r.GFID, aboutData
	case *fop.CopyFileRange:
		return r.Dst, aboutData
	case *fop.Open:
		if r.Flags&fop.OTrunc != 0 {
			return r.GFID, aboutData
		}
	case *fop.Setattr:
		return r.GFID, aboutSetattr(r.Valid)
	case *fop.Fsetattr:
		return r.GFID, aboutSetattr(r.Valid)
	case *fop.Setxattr:
		return r.GFID, aboutXattr | aboutNames
	case *fop.Fsetxattr:
		return r.GFID, aboutXattr | aboutNames
	case *fop.Removexattr:
		return r.GFID, aboutXattr | aboutNames
	case *fop.Fremovexattr:
		return r.GFID, aboutXattr | aboutNames
	case *fop.Xattrop:
		return r.GFID, aboutXattr
	case *fop.Fxattrop:
		return r.GFID, aboutXattr
	}
	return fop.GFID{}, -1
}

// aboutSetattr: permissions are in ACLs too, a new owner takes capabilities away.
func aboutSetattr(valid int32) what {
	if valid&(fop.SetMode|fop.SetUID|fop.SetGID) != 0 {
		return aboutXattr | aboutNames
	}
	return 0
}

// changeOne carries out a request that changes one object.
func (m *mdCache) changeOne(ctx context.Context, c *config, req fop.Request, g fop.GFID, w what) (fop.Reply, error) {
	ch := m.begin(target(req, g), w, m.start())
	reply, err := m.child.Do(ctx, req)
	return m.ended(req, c, ch, reply, err)
}

// target is g, or what the open file is of where a request has no gfid.
func target(req fop.Request, g fop.GFID) fop.GFID {
	if !g.IsZero() {
		return g
	}
	if r, ok := req.(*fop.CopyFileRange); ok && r.DstFd != nil {
		return r.DstFd.GFID
	}
	if _, fd := fop.Target(req); fd != nil {
		return fd.GFID
	}
	return g
}

// ended takes the reply to a request that changed one object.
func (m *mdCache) ended(req fop.Request, c *config, ch change, reply fop.Reply, err error) (fop.Reply, error) {
	var post *fop.Iatt
	if err == nil {
		switch a := reply.(type) {
		case *fop.WriteReply:
			post = &a.Post
		case *fop.AttrReply:
			post = &a.Post
		case *fop.CopyFileRangeReply:
			post = &a.PostDst
		}
	}
	ch.end(c, post)
	if err != nil {
		m.failed(req, err)
	}
	return reply, err
}

// failed takes note of an error that says that an object is gone.
func (m *mdCache) failed(req fop.Request, err error) {
	if e := fop.Errno(err); e == syscall.ENOENT || e == syscall.ESTALE {
		g, _ := fop.Target(req)
		m.gone(target(req, g))
	}
}

// stat answers Stat and Fstat.
func (m *mdCache) stat(ctx context.Context, c *config, req fop.Request, g fop.GFID, open bool) (fop.Reply, error) {
	g = target(req, g)
	st := m.start()
	if req.Head().XData.Len() == 0 {
		a := new(fop.StatReply)
		if m.cached(g, st, open, &a.Stat) {
			m.hits.Add(1)
			return a, nil
		}
	}
	m.misses.Add(1)
	reply, err := m.child.Do(ctx, req)
	if a, ok := reply.(*fop.StatReply); ok && err == nil {
		m.learn(c, st, &a.Stat, false)
	} else if err != nil {
		m.failed(req, err)
	}
	return reply, err
}

// Start begins a fop without waiting, where it is one that a caller has several
// of under way: reads and writes.
func (m *mdCache) Start(ctx context.Context, req fop.Request) fop.Pending {
	c := m.conf.Load()
	if c.pass {
		return fop.Start(ctx, m.child, req)
	}
	switch r := req.(type) {
	case *fop.Read:
		return &pending{m, req, c, change{}, fop.Start(ctx, m.child, req)}
	case *fop.Write:
		return &pending{m, req, c, m.begin(target(req, r.GFID), aboutData, m.start()), fop.Start(ctx, m.child, req)}
	}
	return fop.Start(ctx, fop.HandlerFunc(m.Do), req)
}

// pending is a read or write under way.
type pending struct {
	m   *mdCache
	req fop.Request
	c   *config
	ch  change
	p   fop.Pending
}

func (p *pending) Wait() (fop.Reply, error) {
	reply, err := p.p.Wait()
	if p.ch.r != nil {
		return p.m.ended(p.req, p.c, p.ch, reply, err)
	}
	return p.m.read(p.req, reply, err)
}

// read takes the reply to a read.
func (m *mdCache) read(req fop.Request, reply fop.Reply, err error) (fop.Reply, error) {
	if a, ok := reply.(*fop.ReadReply); ok && err == nil {
		m.compare(&a.Stat)
	} else if err != nil {
		m.failed(req, err)
	}
	return reply, err
}

// compare looks whether attributes that came with data differ from what is
// cached. They may be older, from a cache below, so they are not kept.
func (m *mdCache) compare(a *fop.Iatt) {
	if !full(a) {
		return
	}
	r := m.objects.Peek(a.GFID)
	if r == nil {
		return
	}
	o := &r.V
	o.mu.Lock()
	if o.until != 0 && !same(&o.attr, a) {
		o.ver.Void(&m.clock)
		o.until = 0
	}
	o.mu.Unlock()
	r.Release()
}

// Dump writes the state for a statedump.
func (m *mdCache) Dump(w io.Writer) {
	c := m.conf.Load()
	fmt.Fprintf(w, "pass-through=%v\nmd-cache-timeout=%d\nobjects=%d\nnames=%d\nstat-hits=%d\nstat-misses=%d\nxattr-hits=%d\nxattr-misses=%d\ninvalidations=%d\n",
		c.pass, c.timeoutSeconds, m.objects.Len(), m.names.len(), m.hits.Load(), m.misses.Load(), m.xhits.Load(), m.xmisses.Load(), m.notices.Load())
}
