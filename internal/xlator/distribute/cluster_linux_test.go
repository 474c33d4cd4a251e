package distribute

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/graph/brickside"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// cluster is a volume of several bricks, each with a server on a socket.
type cluster struct {
	t      testing.TB
	name   string // of the volume; the subvolumes are name-client-0 and so on
	volume fop.GFID
	bricks []*testBrick
	dial   func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the ordinary way
}

type testBrick struct {
	dir   string
	addr  string
	brick *brick.Brick // nil while it is down
}

const brickVolfile = `
volume v-posix
    type storage/posix
    option directory %[1]s
    option volume-id %[2]s
    option reserve 0
end-volume
volume v-acl
    type features/access-control
    subvolumes v-posix
end-volume
volume v-locks
    type features/locks
    subvolumes v-acl
end-volume
volume v-index
    type features/index
    option index-base %[1]s/.glusterfs/indices
    subvolumes v-locks
end-volume
volume %[1]s
    type debug/io-stats
    option volume-id %[2]s
    subvolumes v-index
end-volume
volume v-server
    type protocol/server
    option auth.addr.%[1]s.allow *
    option transport.address-family inet
    subvolumes %[1]s
end-volume
`

// newCluster makes a volume of n bricks, all up.
func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	testenv.NeedRoot(t)
	c := &cluster{t: t, name: "v", volume: fop.NewGFID()}
	base := t.TempDir()
	for i := range n {
		b := &testBrick{dir: filepath.Join(base, fmt.Sprint("b", i)), addr: "127.0.0.1:0"}
		if err := brickside.CreateBrick(b.dir, c.volume, true); err != nil {
			t.Fatal(err)
		}
		c.bricks = append(c.bricks, b)
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.bricks {
			c.stop(i)
		}
	})
	return c
}

// start starts a brick, on the port that it had.
func (c *cluster) start(i int) {
	c.t.Helper()
	b := c.bricks[i]
	file, err := volfile.Parse(fmt.Sprintf(brickVolfile, b.dir, c.volume))
	if err != nil {
		c.t.Fatal(err)
	}
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	if b.brick, err = brick.Start(context.Background(), brick.Options{Volfile: file, Listener: l, Log: quiet}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) stop(i int) {
	b := c.bricks[i]
	if b.brick != nil {
		b.brick.Close()
		b.brick.Wait()
		b.brick = nil
	}
}

// mount is a client of a cluster.
type mount struct {
	*distribute
	t     testing.TB
	c     *cluster
	graph *graph.Graph
	*tracer
}

// mount makes a client over the first n bricks (0: all) with these options of
// distribute, and waits until it is up.
func (c *cluster) mount(n int, o ...string) *mount {
	c.t.Helper()
	if n == 0 {
		n = len(c.bricks)
	}
	tr := &tracer{names: map[fop.GFID]string{fop.RootGFID: "/"}}
	var text, subs strings.Builder
	for i, b := range c.bricks[:n] {
		host, port, _ := net.SplitHostPort(b.addr)
		fmt.Fprintf(&text, "volume c-client-%d\n type protocol/client\n option remote-host %s\n option remote-subvolume %s\n option ping-timeout 5\n", i, host, b.dir)
		if port != "0" {
			fmt.Fprintf(&text, " option remote-port %s\n", port)
		}
		fmt.Fprintf(&text, "end-volume\nvolume %s-client-%d\n type testing/tracer\n subvolumes c-client-%d\nend-volume\n", c.name, i, i)
		fmt.Fprintf(&subs, " %s-client-%d", c.name, i)
	}
	fmt.Fprintf(&text, "volume %s-dht\n type cluster/distribute\n option min-free-disk 0%%\n option min-free-inodes 0\n", c.name)
	for i := 0; i < len(o); i += 2 {
		fmt.Fprintf(&text, " option %s %s\n", o[i], o[i+1])
	}
	fmt.Fprintf(&text, " subvolumes%s\nend-volume\n", &subs)
	file, err := volfile.Parse(text.String())
	if err != nil {
		c.t.Fatal(err)
	}
	types := graph.NewRegistry(client.Type, Type, xlator.Type{Name: "testing/tracer", MinChildren: 1, MaxChildren: 1,
		New: func(cfg xlator.Config) (fop.Handler, error) {
			return &traced{tr, "s" + cfg.Name[strings.LastIndexByte(cfg.Name, '-')+1:], cfg.Children[0].Handler}, nil
		}})
	g, err := graph.Build(context.Background(), file, types, &xlator.Env{ProcessName: "test", ProcessUUID: fop.NewGFID().String(), Dial: c.dial}, graph.WithLog(quiet))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { g.Close() })
	m := &mount{t: c.t, c: c, graph: g, tracer: tr}
	if n > 1 {
		m.distribute = g.Top().(*distribute)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.WaitUp(ctx); err != nil {
		c.t.Fatal(err)
	}
	// As every client does.
	if _, err := fop.Call(ctx, g.Top(), &fop.Lookup{GFID: fop.RootGFID}); err != nil {
		c.t.Fatal(err)
	}
	m.settle()
	tr.take()
	return m
}

// settle waits for what answers did not wait for.
func (m *mount) settle() {
	if m.distribute != nil {
		m.late.Wait()
	}
}

// waitUp waits until a subvolume is up, or down.
func (m *mount) waitUp(i int, up bool) {
	m.t.Helper()
	testenv.Wait(m.t, 20*time.Second, fmt.Sprintf("subvolume %d is up=%v", i, up), func() bool { return m.subs[i].isUp() == up })
}

func (m *mount) lookup(parent fop.GFID, name string) (*fop.LookupReply, error) {
	return fop.Call(m.t.Context(), m.graph.Top(), &fop.Lookup{Parent: parent, Name: name})
}

func (m *mount) mustLookup(parent fop.GFID, name string) fop.Iatt {
	m.t.Helper()
	r, err := m.lookup(parent, name)
	if err != nil {
		m.t.Fatalf("lookup %s: %v", name, err)
	}
	return r.Stat
}

func (m *mount) tryMkdir(parent fop.GFID, name string) (fop.GFID, error) {
	g := fop.NewGFID()
	_, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Mkdir{Parent: parent, Name: name, Mode: 0o755,
		Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}})
	return g, err
}

func (m *mount) mustMkdir(parent fop.GFID, name string) fop.GFID {
	m.t.Helper()
	g, err := m.tryMkdir(parent, name)
	if err != nil {
		m.t.Fatalf("mkdir %s: %v", name, err)
	}
	return g
}

func (m *mount) rmdirName(parent fop.GFID, name string) error {
	_, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Rmdir{Parent: parent, Name: name})
	return err
}

// putFile makes a file on one subvolume, past distribute.
func (m *mount) putFile(on int, parent fop.GFID, name string) fop.GFID {
	m.t.Helper()
	g := fop.NewGFID()
	_, err := fop.Call(m.t.Context(), m.subs[on], &fop.Mknod{Parent: parent, Name: name, Mode: fop.ModeRegular | 0o644,
		Header: asSu(fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)}))})
	if err != nil {
		m.t.Fatal(err)
	}
	return g
}

// xattr reads an xattr of a brick's directory, in hex; "" if there is none.
func (c *cluster) xattr(brick int, path, key string) string {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(filepath.Join(c.bricks[brick].dir, path), key, buf)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(buf[:n])
}

// layouts is trusted.glusterfs.dht of a directory on all bricks: "commit
// start-stop" each, "none" without, "gone" without the directory.
func (c *cluster) layouts(path string) []string {
	var all []string
	for i := range c.bricks {
		x := c.xattr(i, path, "trusted.glusterfs.dht")
		switch {
		case !c.exists(i, path):
			x = "gone"
		case x == "":
			x = "none"
		default:
			b, _ := hex.DecodeString(x)
			e, err := parseExtent(b)
			if err != nil {
				c.t.Errorf("brick %d: %v", i, err)
			}
			x = fmt.Sprintf("%x %x-%x", e.commit, e.start, e.stop)
		}
		all = append(all, x)
	}
	return all
}

func (c *cluster) exists(i int, path string) bool {
	_, err := os.Lstat(filepath.Join(c.bricks[i].dir, path))
	return err == nil
}

func (c *cluster) setXattr(brick int, path, key, value string) {
	c.t.Helper()
	if err := unix.Lsetxattr(filepath.Join(c.bricks[brick].dir, path), key, unhex(c.t, value), 0); err != nil {
		c.t.Fatal(err)
	}
}

// remove removes a directory and its handle from a brick by hand.
func (c *cluster) remove(brick int, path string) {
	c.t.Helper()
	dir := c.bricks[brick].dir
	g := c.xattr(brick, path, "trusted.gfid")
	if err := unix.Rmdir(filepath.Join(dir, path)); err != nil {
		c.t.Fatal(err)
	}
	id := fop.GFID(unhex(c.t, g)).String()
	if err := os.Remove(filepath.Join(dir, ".glusterfs", id[:2], id[2:4], id)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) wantLayouts(path string, want ...string) {
	c.t.Helper()
	if got := c.layouts(path); !slices.Equal(got, want) {
		c.t.Errorf("layouts of %s: %q, want %q", path, got, want)
	}
}

// tracer notes what goes down to the subvolumes, in the order in which it was
// sent.
type tracer struct {
	mu    sync.Mutex
	names map[fop.GFID]string
	lines []string
	// before, if set, sees every request first; with errPass the subvolume
	// does it.
	before func(s string, req fop.Request) (fop.Reply, error)
}

var errPass = syscall.Errno(4711)

type traced struct {
	*tracer
	name  string
	child fop.Handler
}

func (h *traced) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if rep, err := h.note(req); err != errPass {
		return rep, err
	}
	return h.child.Do(ctx, req)
}

type answered struct {
	rep fop.Reply
	err error
}

func (a answered) Wait() (fop.Reply, error) { return a.rep, a.err }

func (h *traced) Start(ctx context.Context, req fop.Request) fop.Pending {
	if rep, err := h.note(req); err != errPass {
		return answered{rep, err}
	}
	return fop.Start(ctx, h.child, req)
}

func (h *traced) note(req fop.Request) (fop.Reply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, h.name+" "+h.describe(req))
	if h.before != nil {
		return h.before(h.name, req)
	}
	return nil, errPass
}

// take returns the lines since the last take; usage is left out.
func (t *tracer) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	t.lines = nil
	return slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "STATFS") })
}

func (t *tracer) intercept(f func(s string, req fop.Request) (fop.Reply, error)) {
	t.mu.Lock()
	t.before = f
	t.mu.Unlock()
}

func (t *tracer) call(g fop.GFID, name string) {
	t.mu.Lock()
	t.names[g] = name
	t.mu.Unlock()
}

func (t *tracer) gfid(g fop.GFID) string {
	if n, ok := t.names[g]; ok {
		return n
	}
	if g.IsZero() {
		return "-"
	}
	t.names[g] = fmt.Sprint("g", len(t.names))
	return t.names[g]
}

func (t *tracer) describe(req fop.Request) string {
	g, _ := fop.Target(req)
	s := req.Op().String() + " " + t.gfid(g)
	lock := func(typ uint32) string { return [...]string{"RD", "WR", "UN"}[typ] }
	switch r := req.(type) {
	case *fop.Lookup:
		if r.Name != "" {
			s += " " + r.Name
		}
	case *fop.Mkdir:
		s += " " + r.Name
	case *fop.Mknod:
		s += fmt.Sprintf(" %s %o", r.Name, r.Mode)
	case *fop.Create:
		s += " " + r.Name
	case *fop.Symlink:
		s += " " + r.Name
	case *fop.Rmdir:
		s += " " + r.Name
	case *fop.Unlink:
		s += " " + r.Name
	case *fop.Rename:
		s += " " + r.OldName + " " + t.gfid(r.NewParent) + " " + r.NewName
	case *fop.Link:
		s += " " + r.Name + " of " + t.gfid(r.GFID)
	case *fop.Inodelk:
		s += " " + r.Domain + " " + lock(r.Type)
	case *fop.Entrylk:
		s += " " + r.Name + " " + r.Domain + " " + [...]string{"lock", "unlock", "try"}[r.Cmd]
	case *fop.Setxattr:
		for _, p := range r.Dict.Pairs() {
			s += " " + p.Key + "=" + hex.EncodeToString(p.Val.Bytes())
		}
	case *fop.Xattrop:
		for _, p := range r.Dict.Pairs() {
			s += " " + p.Key + "+" + hex.EncodeToString(p.Val.Bytes())
		}
	case *fop.Getxattr:
		s += " " + r.Name
	case *fop.Removexattr:
		s += " " + r.Name
	case *fop.Setattr:
		s += fmt.Sprintf(" %#x", r.Valid)
	}
	return s
}

func sameTrace(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
