package interop

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
)

// server is a volume of one brick, served by one side or the other.
type server struct {
	name   string // "real brick" or "our brick"
	ours   bool
	node   *testenv.Node
	volume string
	brick  string // directory, the same path for test and Node
	stop   func(t testing.TB)
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
// kernel, which would spare the brick's permission checks. Two translators pass
// through: open-behind answers an open before the brick was asked, so that a
// refusal comes with the first read or never; md-cache shows the link counts of
// a second ago.
func (s *server) mount(t testing.TB, opts ...string) string {
	opts = append([]string{"acl", "attribute-timeout=0", "entry-timeout=0"}, opts...)
	for _, x := range []string{"open-behind", "md-cache"} {
		opts = append(opts, s.passThrough(x))
	}
	return s.node.Mount(t, s.volume, opts...)
}

// passThrough is the mount option that switches a translator off.
func (s *server) passThrough(xlator string) string {
	return "xlator-option=" + s.volume + "-" + xlator + ".pass-through=true"
}
