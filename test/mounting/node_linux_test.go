package mounting

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/cli"
	"github.com/wythefs/wythe/internal/testenv"
)

// TestMain makes the test binary the program under test where it is called so.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	if program, ok := cli.Programs[name]; ok {
		os.Exit(program(os.Args[1:]))
	}
	if name == "wythe" {
		os.Exit(cli.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// lab is a Node with our program in the place of mount.glusterfs.
type lab struct {
	*testenv.Node
	wythe string // the program as a path in the Node
	n     int
}

func newLab(t *testing.T, n *testenv.Node) *lab {
	t.Helper()
	testenv.Need(t, "mount.glusterfs", "pgrep")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Node: n, wythe: filepath.Join(n.Dir, "wythe")}
	if err := os.Symlink(self, l.wythe); err != nil {
		t.Fatal(err)
	}
	n.Bind(t, self, "/sbin/mount.glusterfs")
	return l
}

// dir makes a mount point.
func (l *lab) dir(t *testing.T) string {
	t.Helper()
	l.n++
	dir := filepath.Join(l.Dir, "mnt", fmt.Sprintf("v%d", l.n))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// try runs a program and returns its exit status and what it said.
func (l *lab) try(t *testing.T, words ...string) (status int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := l.Run(ctx, words[0], words[1:]...)
	if err == nil {
		return 0, out
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatal(err)
	}
	return exit.ExitCode(), err.Error()
}

// mount mounts through mount(8) and returns the mount point in the Node.
func (l *lab) mount(t *testing.T, source, opts string) string {
	t.Helper()
	dir := l.dir(t)
	l.mountAt(t, source, opts, dir)
	return dir
}

func (l *lab) mountAt(t *testing.T, source, opts, dir string) {
	t.Helper()
	words := []string{"mount", "-t", "glusterfs", source, dir}
	if opts != "" {
		words = append(words, "-o", opts)
	}
	if status, said := l.try(t, words...); status != 0 {
		t.Fatalf("mount %s: status %d: %s\n%s", source, status, said, l.log(dir))
	}
}

// log is the log of a mount.
func (l *lab) log(dir string) string {
	b, _ := os.ReadFile(filepath.Join(l.Dir, "log", strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")+".log"))
	return string(b)
}

// line is what /proc/mounts has for a mount point: source, type and options.
func (l *lab) line(t *testing.T, dir string) (source, fsType string, options []string) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", l.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == dir {
			source, fsType, options = f[0], f[2], strings.Split(f[3], ",")
		}
	}
	return source, fsType, options
}

func (l *lab) mounted(t *testing.T, dir string) bool {
	t.Helper()
	source, _, _ := l.line(t, dir)
	return source != ""
}

// clients are the processes that serve a mount point, or are about to, as command
// lines by process id.
func (l *lab) clients(dir string) map[int]string {
	all := map[int]string{}
	for pid, cmd := range l.Processes() {
		if words := strings.Fields(cmd); len(words) > 1 && strings.HasSuffix(words[0], "glusterfs") && slices.Contains(words, dir) {
			all[pid] = cmd
		}
	}
	return all
}

// client is the one process that serves a mount point.
func (l *lab) client(t *testing.T, dir string) int {
	t.Helper()
	all := l.clients(dir)
	if len(all) != 1 {
		t.Fatalf("%d processes serve %s: %v", len(all), dir, all)
	}
	for pid := range all {
		return pid
	}
	return 0
}

// gone waits until nothing is left of a mount.
func (l *lab) gone(t *testing.T, dir string) {
	t.Helper()
	testenv.Wait(t, 30*time.Second, "no process and no mount left of "+dir, func() bool {
		return len(l.clients(dir)) == 0 && !l.mounted(t, dir)
	})
}

func (l *lab) umount(t *testing.T, dir string) {
	t.Helper()
	l.MustRun(t, "umount", dir)
	l.gone(t, dir)
}

func (l *lab) kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(l.Path(path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) want(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(l.Path(path))
	if err != nil || string(b) != text {
		t.Fatalf("%s: %q, %v; want %q", path, b, err, text)
	}
}

// refused checks that a mount fails with a status and words, and leaves nothing.
func (l *lab) refused(t *testing.T, status int, source, opts, dir string, words ...string) {
	t.Helper()
	cmd := []string{"mount", "-t", "glusterfs", source, dir}
	if opts != "" {
		cmd = append(cmd, "-o", opts)
	}
	before, _, _ := l.line(t, dir)
	got, said := l.try(t, cmd...)
	if got != status {
		t.Errorf("mount %s %s -o %s: status %d, want %d: %s", source, dir, opts, got, status, said)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("mount %s %s -o %s says nothing of %q: %s", source, dir, opts, w, said)
		}
	}
	if after, _, _ := l.line(t, dir); after != before {
		t.Errorf("mount %s %s -o %s failed, and %q is mounted", source, dir, opts, after)
	}
}
