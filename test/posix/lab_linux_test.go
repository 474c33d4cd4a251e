package posix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/cli"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
)

// roleVar makes the test binary the program `wythe`, for bricks and mounts in
// processes of their own: a program that waits for a page of a mount cannot
// serve it.
const roleVar = "WYTHE_POSIX_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "cluster":
		if err := clusterMain(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "1":
		if program, ok := cli.Programs[filepath.Base(os.Args[0])]; ok { // as cmd/wythe
			os.Exit(program(os.Args[1:]))
		}
		os.Exit(cli.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// clusterMain runs a 2 x 2 volume of ours whose bricks stop and start as
// standard input says.
func clusterMain(dir, ip string) error {
	c, err := manage.Up(context.Background(), manage.UpOptions{Dir: dir, Volume: "data", Shape: manage.Shape{Distribute: 2, Replica: 2},
		Listen: ip, Allow: "*"})
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("ready")
	for {
		var what string
		var i int
		if _, err := fmt.Scanln(&what, &i); err != nil {
			return nil // the test has ended
		}
		switch what {
		case "stop":
			err = c.StopBrick(i)
		case "start":
			err = c.StartBrick(i)
		}
		if err != nil {
			return err
		}
		fmt.Println(what)
	}
}

// startCluster starts clusterMain; the returned function gives it an order and
// waits until it is done.
func (l *lab) startCluster(t *testing.T) func(what string, brick int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.node.Command(context.Background(), "env", roleVar+"=cluster", exe, filepath.Join(l.dir, "up"), l.node.IP)
	cmd.Stderr = l.log(t, "cluster")
	in, out := testenv.Talk(t, cmd)
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	answers := bufio.NewScanner(out)
	wait := func(want string) {
		t.Helper()
		if !answers.Scan() || answers.Text() != want {
			t.Fatalf("the cluster says %q, want %q\n%s", answers.Text(), want, l.node.Log("cluster"))
		}
	}
	wait("ready")
	return func(what string, brick int) {
		t.Helper()
		fmt.Fprintln(in, what, brick)
		wait(what)
	}
}

// shape is what a volume is made of.
type shape struct {
	name                string
	distribute, replica int
}

var shapes = []shape{{"single", 1, 1}, {"replica", 1, 2}, {"2x2", 2, 2}}

func (s shape) bricks() int { return s.distribute * s.replica }

// lab is a volume named data with its servers, ours or GlusterFS's, in a Node.
type lab struct {
	node  *testenv.Node
	shape shape
	ours  bool
	dir   string            // where the bricks are
	up    *testenv.Process  // ours
	real  *testenv.Glusterd // GlusterFS's
}

// wythe returns a command of ours in the Node.
func wythe(n *testenv.Node, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		exe = "/proc/self/exe"
	}
	return n.Command(context.Background(), "env", append([]string{roleVar + "=1", exe}, args...)...)
}

// ourVolume starts `wythe up`.
func ourVolume(t testing.TB, s shape, sizeMB int, set ...string) *lab {
	t.Helper()
	l := &lab{node: testenv.Namespace(t), shape: s, ours: true, dir: testenv.LoopFS(t, "xfs", sizeMB)}
	l.startUp(t, set...)
	return l
}

func (l *lab) startUp(t testing.TB, set ...string) {
	t.Helper()
	args := []string{"up", "--dir", filepath.Join(l.dir, "up"), "--listen", l.node.IP, "--allow", "*", "--brick-port", "49152",
		"--distribute", strconv.Itoa(l.shape.distribute), "--replica", strconv.Itoa(l.shape.replica)}
	for _, kv := range set {
		args = append(args, "--set", kv)
	}
	args = append(args, "--volume", "data")
	cmd := wythe(l.node, args...)
	log := l.log(t, "up")
	cmd.Stdout, cmd.Stderr = log, log
	p, err := l.node.StartCmd(cmd)
	if err != nil {
		t.Fatal(err)
	}
	l.up = p
	t.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	go func() {
		select {
		case <-p.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := l.node.WaitPort(ctx, 24007); err != nil {
		t.Fatalf("wythe up does not start: %v\n%s", err, l.node.Log("up"))
	}
}

// log opens a file that the Node's dump shows.
func (l *lab) log(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(l.node.Dir, "log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// realVolume starts a volume of GlusterFS.
func realVolume(t testing.TB, s shape, sizeMB int, set ...string) *lab {
	t.Helper()
	g := testenv.Gluster(t)
	l := &lab{node: g.Node, shape: s, real: g, dir: testenv.LoopFS(t, "xfs", sizeMB)}
	var words []string
	if s.replica > 1 {
		words = append(words, "replica", strconv.Itoa(s.replica))
	}
	for i := range s.bricks() {
		words = append(words, l.brick(i))
	}
	g.Create(t, "data", words...)
	if len(set) > 0 {
		g.Set(t, "data", set...)
	}
	g.StartVolume(t, "data")
	return l
}

func (l *lab) brick(i int) string { return filepath.Join(l.dir, fmt.Sprintf("brick%d", i)) }

// mount mounts the volume with our client and returns the directory inside of
// the Node; opts are flags of `wythe mount`.
func (l *lab) mount(t testing.TB, opts ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(l.node.Dir, "mnt"), "ours")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(dir)
	args := append([]string{"mount", l.node.IP + ":/data", dir, "--log-file", filepath.Join("/var/log/glusterfs", name+".log"),
		"--pid-file", filepath.Join(l.node.Dir, "run", name+".pid")}, opts...)
	cmd := wythe(l.node, args...)
	// A daemon that keeps the output open would hold Wait up.
	f := l.log(t, name+".out")
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Run(); err != nil {
		b, _ := os.ReadFile(f.Name())
		t.Fatalf("wythe mount: %v\n%s%s", err, b, l.node.Log(name))
	}
	return dir
}

// realMount mounts the volume with GlusterFS's client and returns the directory
// inside of the Node.
func (l *lab) realMount(t testing.TB, opts ...string) string {
	t.Helper()
	return "/" + strings.TrimPrefix(l.node.Mount(t, "data", opts...), l.node.Path("/"))
}

// clientPid is the process of a mount, as the test counts.
func (l *lab) clientPid(t testing.TB, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.node.Dir, "run", filepath.Base(dir)+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return l.node.HostPid(pid)
}

// again runs a test of this binary inside of the Node and returns what it
// wrote.
func (l *lab) again(t testing.TB, test string, args ...string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := l.log(t, strings.Trim(test, "^$")+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	cmd := l.node.Command(context.Background(), exe, append([]string{"-test.run=" + test, "-test.v"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	b, e := os.ReadFile(out.Name())
	os.Remove(out.Name())
	return string(b), errors.Join(err, e)
}

var checksLine = regexp.MustCompile(`(\d+) checks`)

// How many checks the suite makes, at least, with all chapters and without
// longChapters.
const manyChecks, fewerChecks = 5000, 500

// suite runs the suite on a mount of the Node.
func (l *lab) suite(t *testing.T, least int, dir string, args ...string) {
	t.Helper()
	out, err := l.again(t, "^TestMount$", append([]string{"-dir", dir}, args...)...)
	n := 0
	if m := checksLine.FindStringSubmatch(out); m != nil {
		n, _ = strconv.Atoi(m[1])
	}
	if err != nil || n < least {
		t.Errorf("the suite on %s: %v, %d checks\n%s", dir, err, n, failures(out))
		return
	}
	t.Logf("%d checks", n)
}

// failures leaves what failed of the output of a test.
func failures(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "=== ") && !strings.Contains(line, "--- PASS") {
			b.WriteString(line)
		}
	}
	return b.String()
}
