package brick

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/graph/brickside"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const volumeID = "8ce336f6-94d2-4181-a3bb-d33f3e12a289"

// memVolfile is a brick named /b whose bottom is of a type of the test's.
const memVolfile = `
volume data-disk
    type %s
end-volume

volume /b
    type debug/io-stats
    option volume-id ` + volumeID + `
    option log-level DEBUG
    subvolumes data-disk
end-volume

volume data-server
    type protocol/server
    option auth.addr./b.allow *
    option transport.address-family inet
    subvolumes /b
end-volume
`

func parse(t *testing.T, text string) *volfile.File {
	t.Helper()
	f, err := volfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// setvolume introduces a client to the brick at addr.
func setvolume(ctx context.Context, addr, brick string) (*rpc.Client, *fop.Dict, error) {
	opts := rpc.DialOptions{Address: addr}
	opts.Log = quiet
	c, err := rpc.Dial(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	d := fop.NewDict(fop.Pair{Key: "remote-subvolume", Val: fop.Str(brick)}, fop.Pair{Key: "process-uuid", Val: fop.Str("client")},
		fop.Pair{Key: "fops-version", Val: fop.Str("1298437")})
	rep, err := c.Call(ctx, &rpc.Request{Prog: proto.ProgHandshake, Vers: proto.VersHandshake, Proc: proto.HandshakeSetvolume, Args: &proto.SetvolumeRequest{Dict: d}})
	var r proto.SetvolumeReply
	if err == nil {
		err = r.Decode(rep.Body)
	}
	if err == nil && r.Ret < 0 {
		err = fmt.Errorf("SETVOLUME: %s: %w", r.Dict.Text("ERROR"), syscall.Errno(r.Errno))
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, r.Dict, nil
}

// failing is a brick that goes down when told.
type failing struct {
	fop.Handler
	notify func(fop.Event)
}

func TestStart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var disk *failing
	typ := xlator.Type{Name: "testing/failing", New: func(c xlator.Config) (fop.Handler, error) {
		disk = &failing{mem.NewFS(nil), c.Notify}
		return disk, nil
	}}
	file := parse(t, fmt.Sprintf(memVolfile, "testing/failing"))
	start := func(ctx context.Context) (*Brick, string) {
		l := listen(t)
		b, err := Start(ctx, Options{Volfile: file, Listener: l, Registry: brickside.Registry().With(typ), Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return b, l.Addr().String()
	}

	// Closed by its owner; its clients see it go.
	b, addr := start(t.Context())
	if got := b.Names(); !reflect.DeepEqual(got, []string{"/b"}) {
		t.Errorf("bricks %q", got)
	}
	c, d, err := setvolume(t.Context(), addr, "/b")
	if err != nil {
		t.Fatal(err)
	}
	if d.Text("volume-id") != volumeID {
		t.Errorf("volume-id %q", d.Text("volume-id"))
	}
	h, ok := b.Local("/b", "test")
	if !ok {
		t.Fatal("no local client")
	}
	if _, err := fop.Call(t.Context(), h, &fop.Lookup{GFID: fop.RootGFID}); err != nil {
		t.Error(err)
	}
	h.Close()
	var dump bytes.Buffer
	b.Dump(&dump)
	if !strings.Contains(dump.String(), "[protocol/server.data-server]") || !strings.Contains(dump.String(), "conn.0.id=client") {
		t.Errorf("dump:\n%s", &dump)
	}
	next := file.Clone()
	next.Top().Set("auth.addr./b.allow", "10.0.0.1")
	if err := b.Reconfigure(next); err != nil {
		t.Error(err)
	}
	<-c.Done()
	if _, _, err := setvolume(t.Context(), addr, "/b"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("after auth.allow changed: %v", err)
	}
	other := parse(t, strings.Replace(fmt.Sprintf(memVolfile, "testing/failing"), "debug/io-stats", "debug/trace", 1))
	if err := b.Reconfigure(other); !errors.Is(err, graph.ErrRebuild) {
		t.Errorf("another graph: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Wait(); err != nil {
		t.Errorf("Wait after Close: %v", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the port is still open")
	}

	// Ended with its context.
	ctx, cancel := context.WithCancel(t.Context())
	b, _ = start(ctx)
	cancel()
	if err := b.Wait(); err != nil {
		t.Error(err)
	}

	// Its disk fails.
	b, addr = start(t.Context())
	if c, _, err = setvolume(t.Context(), addr, "/b"); err != nil {
		t.Fatal(err)
	}
	disk.notify(fop.Event{Kind: fop.EventChildDown, Err: syscall.EROFS})
	if err := b.Wait(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Wait: %v", err)
	}
	<-c.Done()
	c.Close()
}

func TestStartErrors(t *testing.T) {
	l := listen(t)
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	good := fmt.Sprintf(memVolfile, "testing/mem")
	reg := brickside.Registry().With(mem.Type)
	taken := parse(t, good)
	for _, tc := range []struct {
		name string
		o    Options
		want syscall.Errno
	}{
		{"port taken", Options{Volfile: taken, Overrides: []volfile.Override{{Pattern: "data-server", Key: "listen-port", Value: port}, {Pattern: "*", Key: "transport.socket.bind-address", Value: "127.0.0.1"}}}, syscall.EADDRINUSE},
		{"no volfile", Options{}, syscall.EINVAL},
		{"no server on top", Options{Volfile: parse(t, "volume a\n type testing/mem\nend-volume\n")}, syscall.EINVAL},
		{"unknown type", Options{Volfile: parse(t, fmt.Sprintf(memVolfile, "testing/none"))}, syscall.EINVAL},
	} {
		tc.o.Registry, tc.o.Log = reg, quiet
		if b, err := Start(t.Context(), tc.o); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
			if b != nil {
				b.Close()
			}
		}
	}
}

func TestArguments(t *testing.T) {
	// As glusterd 10.3 starts a brick, with all that it may add.
	args := strings.Fields(`-s n1 --volfile-id drep.n1.srv-dr1 -p /run/x.pid -S /run/31de2fe8777689ea.socket
		--brick-name /srv/dr1 -l /var/log/b.log --xlator-option *-posix.glusterd-uuid=c68e2ccf-b7ec-4251-b944-9adb66b1620e
		--process-name brick --localtime-logging --brick-port 59102,59103 --xlator-option drep-server.listen-port=59102
		--logger=syslog --xlator-option transport.socket.bind-address=10.0.0.1 --volfile-server-transport=socket,rdma --mem-accounting
		--global-threading --io-engine io_uring --brick-mux -LDEBUG -N`)
	a, err := parseArguments(args)
	if err != nil {
		t.Fatal(err)
	}
	want := &arguments{
		servers: []string{"n1"}, serverPort: 24007, transport: "socket", volfileID: "drep.n1.srv-dr1", pidFile: "/run/x.pid",
		socketFile: "/run/31de2fe8777689ea.socket", logFile: "/var/log/b.log", logLevel: "DEBUG", brickName: "/srv/dr1", brickPort: 59102,
		processName: "brick", noDaemon: true,
		overrides: []volfile.Override{{Pattern: "*-posix", Key: "glusterd-uuid", Value: "c68e2ccf-b7ec-4251-b944-9adb66b1620e"},
			{Pattern: "drep-server", Key: "listen-port", Value: "59102"}, {Pattern: "transport", Key: "socket.bind-address", Value: "10.0.0.1"}},
		ignored: []string{"--localtime-logging", "--brick-port 59103 (RDMA)", "--logger", "--volfile-server-transport rdma", "--mem-accounting",
			"--global-threading", "--io-engine", "--brick-mux"},
	}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("got  %+v\nwant %+v", a, want)
	}
	for _, tc := range []struct{ args, want string }{
		{"--volfile-id x", "volfile comes from"},
		{"-s h", "--volfile-id is missing"},
		{"-s h --volfile-id x --acl", "--acl is not known"},
		{"-s h --volfile-id x -q", "-q is not known"},
		{"-s h --volfile-id x --pid-file", "--pid-file needs a value"},
		{"-s h --volfile-id x --no-daemon=yes", "takes no value"},
		{"-s h --volfile-id x /mnt", "out of place"},
		{"-f v --xlator-option nonsense", "--xlator-option"},
		{"-f v --brick-port many", "--brick-port"},
		{"-f v -L LOUD", "no log level"},
		{"-f v --volfile-server-transport carrier-pigeon", "no transport"},
	} {
		if _, err := parseArguments(strings.Fields(tc.args)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.args, err)
		}
	}
	for s, want := range map[string]bool{"": false, "--secure-mgmt": true, "--secure-mgmt=on": true, "--secure-mgmt=no": false} {
		if a, err := parseArguments(strings.Fields("-f v " + s)); err != nil || a.secure != want {
			t.Errorf("%s: TLS %v, %v", s, a.secure, err)
		}
	}
	if _, err := parseArguments([]string{"-f", "v", "--secure-mgmt=perhaps"}); err == nil {
		t.Error("--secure-mgmt=perhaps is accepted")
	}
	if a, err := parseArguments([]string{"--print-logdir"}); err != nil || a.print != "/var/log/glusterfs" {
		t.Errorf("--print-logdir: %+v, %v", a, err)
	}
	for _, s := range []string{"--version", "-V", "--help", "--usage"} {
		if _, err := parseArguments([]string{s}); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// running is a brick process.
type running struct {
	t                   *testing.T
	dir, log, pid, sock string
	port                int
	args                []string
	brick               string
}

// newProcess prepares a brick process over a fresh directory.
func newProcess(t *testing.T) *running {
	t.Helper()
	testenv.NeedRoot(t)
	dir := t.TempDir()
	r := &running{t: t, dir: dir, log: dir + "/log", pid: dir + "/pid", sock: dir + "/ops.socket", brick: dir + "/brick", port: testenv.FreePort(t)}
	if err := os.Mkdir(r.brick, 0o755); err != nil {
		t.Fatal(err)
	}
	id, _ := fop.ParseGFID(volumeID)
	if err := brickside.CreateBrick(r.brick, id, true); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
volume data-posix
    type storage/posix
    option directory %[1]s
    option volume-id `+volumeID+`
end-volume

volume data-locks
    type features/locks
    subvolumes data-posix
end-volume

volume %[1]s
    type debug/io-stats
    subvolumes data-locks
end-volume

volume data-server
    type protocol/server
    option auth.addr.%[1]s.allow *
    option transport.address-family inet
    option statedump-path %[2]s
    subvolumes %[1]s
end-volume
`, r.brick, dir)
	if err := os.WriteFile(dir+"/vol", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r.args = []string{"-f", dir + "/vol", "-p", r.pid, "-S", r.sock, "--brick-name", r.brick, "-l", r.log,
		"--xlator-option", "data-server.listen-port=" + strconv.Itoa(r.port), "--xlator-option", "data-server.transport.socket.bind-address=127.0.0.1"}
	t.Cleanup(func() {
		if pid := r.process(); pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return r
}

// start runs the launcher and returns its exit status.
func (r *running) start(more ...string) int {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, append(r.args, more...)...)
	cmd.Env = append(os.Environ(), asProcess+"=1")
	out, err := os.CreateTemp(r.t.TempDir(), "out")
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Run()
	if text, _ := os.ReadFile(out.Name()); len(text) > 0 {
		r.t.Logf("output: %s", text)
	}
	return cmd.ProcessState.ExitCode()
}

// process returns the pid in the pid file, 0 without one.
func (r *running) process() int {
	b, _ := os.ReadFile(r.pid)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func (r *running) addr() string { return "127.0.0.1:" + strconv.Itoa(r.port) }

func (r *running) waitGone(pid int) {
	r.t.Helper()
	testenv.Wait(r.t, 15*time.Second, "the process ended", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(b, []byte(") Z "))
	})
}

func (r *running) op(proc int, name string, input *fop.Dict) proto.BrickOpReply {
	r.t.Helper()
	opts := rpc.DialOptions{Network: "unix", Address: r.sock}
	opts.Log = quiet
	c, err := rpc.Dial(r.t.Context(), opts)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	rep, err := c.Call(r.t.Context(), &rpc.Request{Prog: proto.ProgBrickOp, Vers: proto.VersBrickOp, Proc: uint32(proc),
		Args: &proto.BrickOpRequest{Name: name, Input: appendDict(input)}})
	if err != nil {
		r.t.Fatalf("brick operation %d: %v", proc, err)
	}
	var out proto.BrickOpReply
	if err := out.Decode(rep.Body); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// TestProcess is the life of a brick process, as far as it needs no glusterd.
func TestProcess(t *testing.T) {
	r := newProcess(t)
	if code := r.start(); code != 0 {
		log, _ := os.ReadFile(r.log)
		t.Fatalf("exit status %d; log:\n%s", code, log)
	}
	// When the launcher has returned the brick serves.
	c, _, err := setvolume(t.Context(), r.addr(), r.brick)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pid := r.process()
	if sid, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); len(sid) == 0 {
		t.Fatalf("pid file names %d", pid)
	}
	// The pid file is locked for others, and a second brick refuses to start.
	f, err := os.OpenFile(r.pid, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err == nil {
		t.Error("the pid file is not locked")
	}
	if code := r.start(); code != exitError {
		t.Errorf("a second process: exit status %d", code)
	}
	// Another brick on the same port has the status that glusterd knows.
	second := newProcess(t)
	second.args = append(second.args, "--xlator-option", "data-server.listen-port="+strconv.Itoa(r.port))
	if code := second.start(); code != int(syscall.EADDRINUSE) {
		t.Errorf("port taken: exit status %d, want %d", code, int(syscall.EADDRINUSE))
	}

	if err := os.Rename(r.log, r.log+".1"); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGHUP)
	testenv.Wait(t, 5*time.Second, "a new log file", func() bool { _, err := os.Stat(r.log); return err == nil })
	syscall.Kill(pid, syscall.SIGUSR1)
	testenv.Wait(t, 5*time.Second, "a statedump", func() bool {
		names, _ := filepath.Glob(r.dir + "/*.dump.*")
		for _, n := range names {
			b, _ := os.ReadFile(n)
			if bytes.HasPrefix(b, []byte("DUMP-START-TIME: 20")) && bytes.Contains(b, []byte("[storage/posix.data-posix]")) && bytes.Contains(b, []byte("\nDUMP-END-TIME: ")) {
				return true
			}
		}
		return false
	})
	syscall.Kill(pid, syscall.SIGTERM)
	r.waitGone(pid)
	<-c.Done()
	for _, left := range []string{r.pid, r.sock} {
		if _, err := os.Lstat(left); err == nil {
			t.Errorf("%s is left", left)
		}
	}
	if b, _ := os.ReadFile(r.log); !bytes.Contains(b, []byte("brick process ended")) {
		t.Errorf("log:\n%s", b)
	}
}

func TestBrickOps(t *testing.T) {
	r := newProcess(t)
	if code := r.start(); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	c, _, err := setvolume(t.Context(), r.addr(), r.brick)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	head, _, _ := proto.AppendRequest(nil, proto.V400, &fop.Opendir{GFID: fop.RootGFID}, proto.FdRefs{})
	if _, err := c.Call(t.Context(), &rpc.Request{Prog: proto.ProgFop, Vers: 400, Proc: uint32(fop.OpOpendir), Args: rpc.Raw(head)}); err != nil {
		t.Fatal(err)
	}
	status := func(cmd int, brick string) (proto.BrickOpReply, *fop.Dict) {
		in := fop.NewDict(fop.Pair{Key: "cmd", Val: fop.Int(int64(cmd))}, fop.Pair{Key: "volname", Val: fop.Str("data")})
		if brick != "" {
			in.Set("brick-name", fop.Str(brick))
		}
		out := r.op(proto.BrickOpStatus, brick, in)
		d, err := proto.DecodeOldDict(out.Output)
		if err != nil {
			t.Fatal(err)
		}
		return out, d
	}
	for _, tc := range []struct {
		cmd  int
		keys map[string]string
	}{
		{statusClients, map[string]string{"clientcount": "1", "client0.opversion": "0", "client0.hostname": c.LocalAddr().String()}},
		{statusClientList, map[string]string{"clientcount": "1"}},
		{statusFd, map[string]string{"conncount": "1", "conn0.fdtable.openfds": "1", "conn0.fdtable.firstfree": "1", "conn0.fdtable.fdentry0.refcount": "1"}},
		{statusInode, map[string]string{"conncount": "1", "conn0.itable.active_size": "1", "conn0.itable.active0.gfid": fop.RootGFID.String(), "conn0.itable.active0.ia_type": "2"}},
		{statusCallpool, map[string]string{"callpool.count": "0"}},
		{statusMem, map[string]string{"mempool-count": "0", "mallinfo.hblks": "0"}},
	} {
		out, d := status(tc.cmd, r.brick)
		if out.Ret != 0 {
			t.Errorf("cmd %#x: %+v", tc.cmd, out)
		}
		for k, want := range tc.keys {
			if got := d.Text(k); got != want {
				t.Errorf("cmd %#x: %s = %q, want %q", tc.cmd, k, got, want)
			}
		}
	}
	if out, _ := status(0x20, r.brick); out.Ret != -1 || out.Errstr != "Unknown status op" {
		t.Errorf("unknown command: %+v", out)
	}
	if out, _ := status(statusMem, ""); out.Ret != -1 {
		t.Errorf("no brick-name: %+v", out)
	}
	info := r.op(proto.BrickOpXlatorInfo, r.brick, fop.NewDict(fop.Pair{Key: "info-op", Val: fop.Int(1)}))
	if d, err := proto.DecodeOldDict(info.Output); err != nil || d.Text("cumulative") != "-1" || !d.Has("-1-duration") || !d.Has("interval") {
		t.Errorf("profile: %+v %v", info, err)
	}
	for _, proc := range []int{proto.BrickOpAttach, proto.BrickOpXlatorOp, proto.BrickOpSvcAttach, proto.BrickOpNodeBitrot} {
		if out := r.op(proc, r.brick, nil); out.Ret != -1 || out.Errstr == "" {
			t.Errorf("operation %d: %+v", proc, out)
		}
	}
	if out := r.op(proto.BrickOpDumpMetrics, r.brick, nil); out.Ret != 0 {
		t.Errorf("metrics: %+v", out)
	}
	pid := r.process()
	// An unknown brick is answered with success and nothing ends.
	if out := r.op(proto.BrickOpTerminate, "/elsewhere", nil); out.Ret != 0 {
		t.Errorf("terminate another: %+v", out)
	}
	if out, _ := status(statusMem, r.brick); out.Ret != 0 {
		t.Errorf("%+v", out)
	}
	if out := r.op(proto.BrickOpTerminate, r.brick, nil); out.Ret != 0 {
		t.Errorf("terminate: %+v", out)
	}
	r.waitGone(pid)
}
