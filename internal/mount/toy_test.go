package mount

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/xlator"
)

// toyBrick is what toy clients connect to: files by GFID, as many graphs see
// them.
type toyBrick struct {
	mu      sync.Mutex
	files   map[fop.GFID]*toyFile
	opened  int // opens minus releases
	options []string
	clients []*toyClient // in the order of graphs
	hold    chan struct{}
	silent  bool  // clients never come up
	refuse  error // clients are refused for good
}

type toyFile struct {
	data []byte
	gone bool // its last name is
	lock any  // the toyOpen that holds the lock
}

// toyClient stands for protocol/client: it knows only those Fds that were opened
// through it.
type toyClient struct {
	b      *toyBrick
	conf   xlator.Config
	closed atomic.Bool
	calls  atomic.Int64
}

type toyOpen struct{ c *toyClient }

func toyRegistry(b *toyBrick) graph.Registry {
	return graph.NewRegistry(
		xlator.Type{Name: "protocol/client", New: b.connect, Options: []xlator.Option{
			{Key: "remote-host"}, {Key: "ping-timeout", Kind: xlator.KindInt, Min: 1, Max: 100}}},
	)
}

func (b *toyBrick) connect(c xlator.Config) (fop.Handler, error) {
	t := &toyClient{b: b, conf: c}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clients = append(b.clients, t)
	switch {
	case b.refuse != nil:
		go c.Notify(fop.Event{Kind: fop.EventAuthFailed, Err: b.refuse})
	case !b.silent:
		c.Notify(fop.Event{Kind: fop.EventChildUp})
	}
	return t, nil
}

func (b *toyBrick) graphs() []*toyClient {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*toyClient(nil), b.clients...)
}

func (t *toyClient) Reconfigure(o xlator.Options) error {
	t.b.mu.Lock()
	t.b.options = append(t.b.options, o["ping-timeout"])
	t.b.mu.Unlock()
	return nil
}

func (t *toyClient) Close() error {
	t.closed.Store(true)
	return nil
}

func (t *toyClient) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	t.calls.Add(1)
	if t.closed.Load() {
		return nil, fmt.Errorf("%v on a closed graph: %w", req.Op(), syscall.ENOTCONN)
	}
	if lk, ok := req.(*fop.Lk); ok && lk.Cmd == fop.LkSetWait {
		select {
		case <-t.b.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	return t.do(req)
}

func (t *toyClient) do(req fop.Request) (fop.Reply, error) {
	b := t.b
	switch r := req.(type) {
	case *fop.Create:
		b.files[r.Fd.GFID] = &toyFile{}
		return &fop.CreateReply{Stat: fop.Iatt{GFID: r.Fd.GFID}}, t.open(r.Fd)
	case *fop.Open:
		if r.Flags&(fop.OCreate|fop.OExcl|fop.OTrunc) != 0 {
			return nil, syscall.EINVAL
		}
		return fop.NewReply(r.Op()), t.open(r.Fd)
	case *fop.Opendir:
		return fop.NewReply(r.Op()), t.open(r.Fd)
	case *fop.Release:
		return fop.NewReply(r.Op()), t.release(r.Fd)
	case *fop.Releasedir:
		return fop.NewReply(r.Op()), t.release(r.Fd)
	case *fop.Unlink:
		b.files[r.Parent].gone = true // the toy's name of a file is its GFID
	}
	fd, other := openFd(req)
	for _, d := range [...]*fop.Fd{fd, other} {
		if d != nil && d.Get(t) == nil {
			return nil, fmt.Errorf("%v on an Fd that is not open in this graph: %w", req.Op(), syscall.EBADF)
		}
	}
	switch r := req.(type) {
	case *fop.Write:
		f := b.files[r.Fd.GFID]
		f.data = append(f.data, r.Data...)
		return &fop.WriteReply{Size: uint32(len(r.Data))}, nil
	case *fop.Read:
		return &fop.ReadReply{Data: append([]byte(nil), b.files[r.Fd.GFID].data...)}, nil
	case *fop.Lk:
		f := b.files[r.Fd.GFID]
		if f.lock != nil && f.lock != r.Fd.Get(t) {
			return nil, syscall.EAGAIN
		}
		f.lock = r.Fd.Get(t)
	case *fop.Fgetxattr:
		f := b.files[r.Fd.GFID]
		if r.Name != keyLockinfo || f.lock == nil || f.lock != r.Fd.Get(t) {
			return nil, syscall.ENODATA
		}
		return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: keyLockinfo, Val: fop.Bytes([]byte("lock"))})}, nil
	case *fop.Fsetxattr:
		b.files[r.Fd.GFID].lock = r.Fd.Get(t)
	}
	return fop.NewReply(req.Op()), nil
}

func (t *toyClient) open(fd *fop.Fd) error {
	if f := t.b.files[fd.GFID]; !fd.Dir && (f == nil || f.gone) {
		return syscall.ENOENT
	}
	fd.Set(t, &toyOpen{t})
	t.b.opened++
	return nil
}

func (t *toyClient) release(fd *fop.Fd) error {
	o := fd.Set(t, nil)
	if o == nil {
		return syscall.EBADF
	}
	if f := t.b.files[fd.GFID]; f != nil && f.lock == o {
		f.lock = nil
	}
	t.b.opened--
	return nil
}

// source is a volfile that the test changes.
type source struct {
	mu      sync.Mutex
	text    string
	err     error
	changed chan struct{}
	closed  atomic.Bool
}

func newSource(text string) *source { return &source{text: text, changed: make(chan struct{}, 1)} }

func (s *source) Fetch(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text, s.err
}

func (s *source) Changed() <-chan struct{} { return s.changed }
func (s *source) Close() error             { s.closed.Store(true); return nil }

func (s *source) set(text string, err error) {
	s.mu.Lock()
	s.text, s.err = text, err
	s.mu.Unlock()
	s.changed <- struct{}{}
}

// volume is a volfile with a client and n layers above it that are left out.
func volume(n int, options ...string) string {
	var b strings.Builder
	b.WriteString("volume v-client-0\n    type protocol/client\n    option remote-host h\n")
	for _, o := range options {
		fmt.Fprintf(&b, "    option %s\n", o)
	}
	b.WriteString("end-volume\n")
	below := "v-client-0"
	for i := range n {
		name := fmt.Sprintf("v-%d", i)
		fmt.Fprintf(&b, "\nvolume %s\n    type performance/io-threads\n    subvolumes %s\nend-volume\n", name, below)
		below = name
	}
	return b.String()
}

func newBrick() *toyBrick {
	return &toyBrick{files: make(map[fop.GFID]*toyFile), hold: make(chan struct{})}
}

func open(t *testing.T, b *toyBrick, src Source) *Session {
	t.Helper()
	s, err := Open(t.Context(), Config{Volume: "v", Source: src, Registry: toyRegistry(b), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// until waits for something that happens in another goroutine.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

var lastGFID atomic.Uint64

func create(t *testing.T, s *Session) *fop.Fd {
	t.Helper()
	n := lastGFID.Add(1)
	fd := &fop.Fd{GFID: fop.GFID{1, 14: byte(n >> 8), 15: byte(n)}, Flags: fop.ORdwr | fop.OCreate | fop.OExcl | fop.OTrunc}
	if _, err := fop.Call(t.Context(), s, &fop.Create{Fd: fd, Flags: fd.Flags}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func release(t *testing.T, s *Session, fd *fop.Fd) {
	t.Helper()
	var err error
	if fd.Dir {
		_, err = fop.Call(t.Context(), s, &fop.Releasedir{GFID: fd.GFID, Fd: fd})
	} else {
		_, err = fop.Call(t.Context(), s, &fop.Release{GFID: fd.GFID, Fd: fd})
	}
	if err != nil {
		t.Error(err)
	}
}
