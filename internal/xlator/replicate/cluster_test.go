package replicate

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/locks"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// tap stands between replicate and a child: it counts what goes by, and can be
// told to answer in the child's place.
type tap struct {
	name string
	next fop.Handler

	mu     sync.Mutex
	seen   []fop.Request
	down   bool
	answer func(ctx context.Context, req fop.Request) (fop.Reply, error, bool)
}

func (p *tap) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	p.mu.Lock()
	down, answer := p.down, p.answer
	p.seen = append(p.seen, req)
	p.mu.Unlock()
	if answer != nil {
		if reply, err, ok := answer(ctx, req); ok {
			return reply, err
		}
	}
	if down {
		return nil, fmt.Errorf("%s: %w", p.name, syscall.ENOTCONN)
	}
	return p.next.Do(ctx, req)
}

// intercept has f see every request first; ok says that its answer counts.
func (p *tap) intercept(f func(ctx context.Context, req fop.Request) (reply fop.Reply, err error, ok bool)) {
	p.mu.Lock()
	p.answer = f
	p.mu.Unlock()
}

// fail has the fops in ops fail.
func (p *tap) fail(errno syscall.Errno, ops ...fop.Op) {
	p.intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
		for _, op := range ops {
			if op == req.Op() {
				return nil, errno, true
			}
		}
		return nil, nil, false
	})
}

// take returns the requests since the last time.
func (p *tap) take() []fop.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen
	p.seen = nil
	return s
}

// cluster is replicate over bricks in this process.
type cluster struct {
	*replicate
	t      testing.TB
	taps   []*tap
	events chan fop.Event
	cred   fop.Cred
}

// overMemory is replicate over n bricks in memory, each with locks, all up.
func overMemory(t testing.TB, n int, opts ...string) *cluster {
	t.Helper()
	children := make([]fop.Handler, n)
	for i := range children {
		var err error
		children[i], err = locks.New(xlator.Config{Name: fmt.Sprintf("brick-%d", i), Log: quiet, Env: &xlator.Env{},
			Children: []xlator.Child{{Name: "mem", Handler: mem.NewFS(nil)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := over(t, children, opts...)
	for i := range children {
		c.up(i)
	}
	return c
}

// over is replicate over these children, of which nothing is known yet.
func over(t testing.TB, children []fop.Handler, opts ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, events: make(chan fop.Event, 64), cred: fop.Cred{PID: 4711, Owner: "appowner"}}
	conf := xlator.Config{Name: "v-replicate-0", Log: quiet, Env: &xlator.Env{Hostname: "here"}, Leaves: len(children),
		Notify: func(ev fop.Event) { c.events <- ev }, Options: xlator.Options{"hedge-delay": "0"}}
	for i := 0; i+1 < len(opts); i += 2 {
		conf.Options[opts[i]] = opts[i+1]
	}
	for i, h := range children {
		p := &tap{name: fmt.Sprintf("v-client-%d", i), next: h}
		c.taps = append(c.taps, p)
		conf.Children = append(conf.Children, xlator.Child{Name: p.name, Handler: p, FirstLeaf: i, Leaves: 1})
	}
	h, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	c.replicate = h.(*replicate)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// up and down have a child come and go.
func (c *cluster) up(i int) {
	p := c.taps[i]
	p.mu.Lock()
	p.down = false
	p.mu.Unlock()
	c.ChildEvent(p.name, fop.Event{Kind: fop.EventChildUp, From: p.name})
}

func (c *cluster) down(i int) {
	p := c.taps[i]
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	c.ChildEvent(p.name, fop.Event{Kind: fop.EventChildDown, From: p.name, Err: syscall.ECONNRESET})
}

func (c *cluster) head(pairs ...fop.Pair) fop.Header {
	h := fop.Header{Cred: c.cred}
	if len(pairs) > 0 {
		h.XData = fop.NewDict(pairs...)
	}
	return h
}

// on carries out a request on one brick alone, behind replicate's back.
func (c *cluster) on(i int, req fop.Request) fop.Reply {
	c.t.Helper()
	reply, err := c.taps[i].next.Do(c.t.Context(), req)
	if err != nil {
		c.t.Fatalf("%v on brick %d: %v", req.Op(), i, err)
	}
	return reply
}

// plant makes a file with some contents on all bricks, behind replicate's back.
func (c *cluster) plant(name, contents string) fop.GFID {
	c.t.Helper()
	g := fop.NewGFID()
	for i := range c.taps {
		c.plantOn(i, g, name, contents)
	}
	return g
}

func (c *cluster) plantOn(i int, g fop.GFID, name, contents string) {
	c.t.Helper()
	fd := &fop.Fd{GFID: g, Flags: fop.ORdwr}
	gfid := fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)}
	c.on(i, &fop.Create{Header: c.head(gfid), Parent: fop.RootGFID, Name: name, Flags: fop.ORdwr, Mode: 0o644, Fd: fd})
	if contents != "" {
		c.on(i, &fop.Write{Header: c.head(), GFID: g, Fd: fd, Data: []byte(contents)})
	}
	c.on(i, &fop.Release{Header: c.head(), GFID: g, Fd: fd})
}

// blame has brick i say that child j missed something.
func (c *cluster) blame(i, j int, g fop.GFID, what changelog) {
	c.t.Helper()
	c.on(i, &fop.Xattrop{Header: c.head(), GFID: g, Dict: fop.NewDict(fop.Pair{Key: c.pending[j], Val: what.value()})})
}

func (c *cluster) lookup(name string) (*fop.LookupReply, error) {
	return fop.Call(c.t.Context(), c, &fop.Lookup{Header: c.head(), Parent: fop.RootGFID, Name: name})
}

func (c *cluster) mustLookup(name string) fop.Iatt {
	c.t.Helper()
	r, err := c.lookup(name)
	if err != nil {
		c.t.Fatalf("lookup %s: %v", name, err)
	}
	return r.Stat
}

func (c *cluster) read(g fop.GFID) (string, error) {
	r, err := fop.Call(c.t.Context(), c, &fop.Read{Header: c.head(), GFID: g, Size: 100})
	if err != nil {
		return "", err
	}
	return string(r.Data), nil
}

// forget forgets the requests that the bricks have seen.
func (c *cluster) forget() {
	for _, p := range c.taps {
		p.take()
	}
}

// ops returns the requests that the bricks have seen, one text per brick.
func (c *cluster) ops() (all []string) {
	for _, p := range c.taps {
		s := ""
		for i, req := range p.take() {
			if i > 0 {
				s += " "
			}
			s += req.Op().String()
		}
		all = append(all, s)
	}
	return all
}

const (
	enoent  = syscall.ENOENT
	enodata = syscall.ENODATA
	estale  = syscall.ESTALE
	enospc  = syscall.ENOSPC
	eacces  = syscall.EACCES
	eio     = syscall.EIO
	errTest = syscall.ENOTCONN
)
