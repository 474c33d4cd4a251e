package testenv

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Glusterd is a Node in which the real glusterd runs, at port 24007.
type Glusterd struct {
	*Node
	Daemon *Process
}

const glusterdVol = `volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
    option transport.socket.keepalive-time 10
    option transport.socket.keepalive-interval 2
    option transport.socket.read-fail-log off
    option transport.socket.listen-port 24007
    option transport.socket.bind-address %s
    option ping-timeout 0
    option event-threads 1
    option max-port 60999
end-volume
`

// Gluster starts a GlusterFS of the distribution, private to the test.
func Gluster(t testing.TB, opts ...Option) *Glusterd {
	t.Helper()
	Need(t, "glusterd", "gluster")
	g := &Glusterd{Node: Namespace(t, opts...)}
	// Bound to its own address only, so that a second peer on the same network
	// finds its port free.
	vol := filepath.Join(g.Dir, "glusterd.vol")
	if err := os.WriteFile(vol, fmt.Appendf(nil, glusterdVol, g.IP), 0o644); err != nil {
		t.Fatal(err)
	}
	g.StartDaemon(t)
	return g
}

// StartDaemon starts glusterd (again, after Daemon was ended) and waits until
// it serves.
func (g *Glusterd) StartDaemon(t testing.TB) {
	t.Helper()
	daemon := g.Start(t, "glusterd", "--no-daemon", "-f", filepath.Join(g.Dir, "glusterd.vol"))
	g.Daemon = daemon
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	go func() { // no use to wait for one that ended
		select {
		case <-daemon.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	err := g.WaitPort(ctx, 24007)
	if err == nil {
		_, err = g.CLI(ctx, "volume", "list")
		// The port is there before the socket that the command line uses.
		for err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "Connection failed") {
			time.Sleep(50 * time.Millisecond)
			_, err = g.CLI(ctx, "volume", "list")
		}
	}
	if err != nil {
		t.Fatalf("testenv: glusterd does not start: %v", err)
	}
}

// CLI runs the real gluster command.
func (g *Glusterd) CLI(ctx context.Context, words ...string) (string, error) {
	return g.Run(ctx, "gluster", append([]string{"--mode=script"}, words...)...)
}

// MustCLI runs the real gluster command and ends the test when it fails.
func (g *Glusterd) MustCLI(t testing.TB, words ...string) string {
	t.Helper()
	return g.MustRun(t, "gluster", append([]string{"--mode=script"}, words...)...)
}

// Create creates a volume. The words are those of the command line after the
// name; a brick is given as its directory, which is made if need be:
//
//	g.Create(t, "data", "replica", "2", dir1, dir2)
func (g *Glusterd) Create(t testing.TB, volume string, words ...string) {
	t.Helper()
	args := []string{"volume", "create", volume}
	for _, w := range words {
		if filepath.IsAbs(w) {
			if err := os.MkdirAll(w, 0o755); err != nil {
				t.Fatal(err)
			}
			w = g.IP + ":" + w
		}
		args = append(args, w)
	}
	g.MustCLI(t, append(args, "force")...)
}

// Set sets options of a volume: key, value, key, value …
func (g *Glusterd) Set(t testing.TB, volume string, options ...string) {
	t.Helper()
	g.MustCLI(t, append([]string{"volume", "set", volume}, options...)...)
}

// StartVolume starts a volume and waits until all of its bricks are online.
func (g *Glusterd) StartVolume(t testing.TB, volume string) {
	t.Helper()
	g.MustCLI(t, "volume", "start", volume)
	g.WaitOnline(t, volume)
}

// WaitOnline waits until all bricks of the volume have signed in.
func (g *Glusterd) WaitOnline(t testing.TB, volume string) {
	t.Helper()
	Wait(t, 30*time.Second, "all bricks of "+volume+" online", func() bool {
		bricks, err := g.Bricks(volume)
		for _, b := range bricks {
			if !b.Online || b.Port == 0 {
				return false
			}
		}
		return err == nil && len(bricks) > 0
	})
}

// Volume is Create and StartVolume.
func (g *Glusterd) Volume(t testing.TB, volume string, words ...string) {
	t.Helper()
	g.Create(t, volume, words...)
	g.StartVolume(t, volume)
}

// Brick is a line of `gluster volume status`: a brick or, with a path of
// "localhost", a daemon such as "Self-heal Daemon".
type Brick struct {
	Host   string
	Path   string
	Port   int
	Online bool
	Pid    int // as the test's process namespace counts; 0 unless online
}

type statusXML struct {
	Ret   int    `xml:"opRet"`
	Error string `xml:"opErrstr"`
	Nodes []struct {
		Host   string `xml:"hostname"`
		Path   string `xml:"path"`
		Status int    `xml:"status"`
		Port   string `xml:"port"`
		Pid    int    `xml:"pid"`
	} `xml:"volStatus>volumes>volume>node"`
}

// Bricks asks glusterd for the state of a volume's bricks.
func (g *Glusterd) Bricks(volume string) ([]Brick, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := g.CLI(ctx, "volume", "status", volume, "--xml")
	if err != nil {
		return nil, err
	}
	var st statusXML
	if err := xml.Unmarshal([]byte(out), &st); err != nil {
		return nil, err
	}
	if st.Ret != 0 {
		return nil, fmt.Errorf("volume status %s: %s", volume, st.Error)
	}
	var bricks []Brick
	for _, n := range st.Nodes {
		if !strings.HasPrefix(n.Path, "/") {
			continue
		}
		b := Brick{Host: n.Host, Path: n.Path, Online: n.Status == 1}
		fmt.Sscan(n.Port, &b.Port) // "N/A" while it is down
		if b.Online {
			b.Pid = g.HostPid(n.Pid)
		}
		bricks = append(bricks, b)
	}
	return bricks, nil
}

func (g *Glusterd) brick(t testing.TB, volume, dir string) Brick {
	t.Helper()
	bricks, err := g.Bricks(volume)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bricks {
		if b.Path == dir && b.Host == g.IP {
			return b
		}
	}
	t.Fatalf("volume %s has no brick %s; it has %+v", volume, dir, bricks)
	return Brick{}
}

// BrickPort returns the TCP port of a brick of this node.
func (g *Glusterd) BrickPort(t testing.TB, volume, dir string) int {
	t.Helper()
	return g.brick(t, volume, dir).Port
}

// BrickPid returns the process id of a brick of this node, for syscall.Kill
// from the test.
func (g *Glusterd) BrickPid(t testing.TB, volume, dir string) int {
	t.Helper()
	return g.brick(t, volume, dir).Pid
}

// KillBrick kills a brick of this node with SIGKILL and waits until it is gone.
// `g.MustCLI(t, "volume", "start", volume, "force")` starts it again.
func (g *Glusterd) KillBrick(t testing.TB, volume, dir string) {
	t.Helper()
	pid := g.BrickPid(t, volume, dir)
	if pid == 0 {
		t.Fatalf("brick %s of %s does not run", dir, volume)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	Wait(t, 10*time.Second, "brick process gone", func() bool {
		return syscall.Kill(pid, 0) == syscall.ESRCH
	})
}

// Volfile returns a volfile that glusterd wrote, by its name below
// /var/lib/glusterd/vols/VOLUME, for example "trusted-data.tcp-fuse.vol".
func (g *Glusterd) Volfile(t testing.TB, volume, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.Dir, "lib", "vols", volume, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Info returns a value of the info file that glusterd keeps of a volume, for
// example "volume-id", "username" or "password"; "" if it has none.
func (g *Glusterd) Info(t testing.TB, volume, key string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.Dir, "lib", "vols", volume, "info"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, key+"="); ok {
			return v
		}
	}
	return ""
}

// TakePlace puts the running test binary in the place of glusterfsd: what glusterd
// starts as a brick is that, with variable ("NAME=value") in its environment, as long
// as the file when exists; "" is always. Its TestMain has to see to the rest. The real
// program, which goes by three names, stays where it is called by another.
func (g *Glusterd) TakePlace(t testing.TB, variable, when string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/sbin/glusterfsd"
	dir := filepath.Join(g.Dir, "real")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"glusterfs", "glusterd", "glusterfsd"} {
		if err := os.WriteFile(filepath.Join(dir, name), code, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	test := ""
	if when != "" {
		test = fmt.Sprintf("test -e %s && ", when)
	}
	script := filepath.Join(g.Dir, "glusterfsd")
	text := fmt.Sprintf("#!/bin/sh\ncase $0 in\n*/glusterfsd) %sexec env %s %s \"$@\";;\nesac\nexec %s/${0##*/} \"$@\"\n", test, variable, self, dir)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	g.Bind(t, script, program)
}
