package interop

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

// server is a volume, served by one side or the other.
type server struct {
	name   string // "real brick" or "our brick"
	ours   bool
	node   *testenv.Node
	volume string
	brick  string // directory of the first brick, the same path for test and Node
	stop   func(t testing.TB)
	// What volumes of several bricks have.
	shape  shape
	bricks []string
	start  func(t testing.TB)
	renew  func(t testing.TB) // makes the volume anew, with other bricks
	// gluster is set for a real brick.
	gluster *testenv.Glusterd
}

// realBrick starts a volume of the distribution's GlusterFS on XFS.
func realBrick(t testing.TB) *server {
	g := testenv.Gluster(t)
	s := &server{name: "real brick", node: g.Node, gluster: g, volume: "data", brick: testenv.LoopFS(t, "xfs", 512) + "/brick"}
	g.Create(t, s.volume, s.brick)
	s.stop = func(t testing.TB) { g.MustCLI(t, "volume", "stop", s.volume) }
	g.StartVolume(t, s.volume)
	return s
}

// ourBrick starts an embedded cluster in a process of its own, in a Node.
func ourBrick(t testing.TB) *server {
	testenv.NeedRoot(t)
	n := testenv.Namespace(t)
	dir := testenv.LoopFS(t, "xfs", 512) + "/cluster"
	s := &server{name: "our brick", ours: true, node: n, volume: "data", brick: dir + "/brick0"}
	up := startAgain(t, n, "up", dir, n.IP)
	s.stop = func(t testing.TB) { terminate(t, up) }
	waitPort(t, n, manage.DefaultPort)
	return s
}

// startAgain starts the test binary in another role and leaves it running until
// the end of the test; what it writes goes to the Node's logs.
func startAgain(t testing.TB, n *testenv.Node, role string, args ...string) *testenv.Process {
	t.Helper()
	cmd := again(n, role, args...)
	log, err := os.Create(filepath.Join(n.Dir, "log", role+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := n.StartCmd(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// terminate ends a program in the ordinary way.
func terminate(t testing.TB, p *testenv.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func waitPort(t testing.TB, n *testenv.Node, port int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.WaitPort(ctx, port); err != nil {
		t.Fatalf("nobody listens on port %d: %v", port, err)
	}
}

// upMain runs an embedded cluster until it is killed: arguments are its
// directory and the address.
func upMain(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := manage.Up(ctx, manage.UpOptions{Dir: args[0], Volume: "data", Listen: args[1]})
	if err != nil {
		return err
	}
	select {
	case err = <-c.Failed():
	case <-ctx.Done():
	}
	return errors.Join(err, c.Close())
}

// mount mounts the volume with the real FUSE client. Nothing is cached by the
// kernel, which would spare the brick's permission checks, and md-cache passes
// through, which shows the link counts of a second ago. (mount.glusterfs takes
// one xlator-option.)
func (s *server) mount(t testing.TB, opts ...string) string {
	opts = append([]string{"acl", "attribute-timeout=0", "entry-timeout=0",
		"xlator-option=" + s.volume + "-md-cache.pass-through=true"}, opts...)
	return s.node.Mount(t, s.volume, opts...)
}

// mountPlain is mount without anything that caches or puts off what applications
// do, so that other clients see it at once.
func (s *server) mountPlain(t testing.TB) string {
	t.Helper()
	return s.node.MountVolfile(t, s.plainVolfile(t), plainMount...)
}

// plainMount are the arguments of such a mount.
var plainMount = []string{"--acl", "--attribute-timeout=0", "--entry-timeout=0", "--direct-io-mode=enable"}

// plainVolfile is a client volfile whose translators keep nothing and put nothing
// off.
func (s *server) plainVolfile(t testing.TB) string {
	t.Helper()
	return passThrough(t, s.gluster.Volfile(t, s.volume, "trusted-"+s.volume+".tcp-fuse.vol"),
		"performance/write-behind", "performance/open-behind", "performance/quick-read", "performance/md-cache")
}

// passThrough is a volfile in which translators of these types do nothing.
func passThrough(t testing.TB, text string, types ...string) string {
	t.Helper()
	f, err := volfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range f.Volumes {
		if slices.Contains(types, v.Type) {
			v.Set("pass-through", "true")
		}
	}
	return f.String()
}
