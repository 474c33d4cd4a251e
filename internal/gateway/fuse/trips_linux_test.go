package fuse

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/xlator"
)

const fopProgram = 1298437

// calls counts what goes over the wire.
type calls struct {
	mu  sync.Mutex
	ops []string
}

func (c *calls) note(prog, _, proc uint32) {
	if prog != fopProgram {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops = append(c.ops, fop.Op(proc).String())
}

// take returns what was sent since the last take, without what nobody waits for.
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := slices.DeleteFunc(c.ops, func(op string) bool { return strings.HasPrefix(op, "RELEASE") })
	c.ops = nil
	return strings.Join(ops, " ")
}

// TestRoundTrips pins what system calls cost on the wire, with the translators
// that keep things off: what this package asks for is what goes out. The comments
// say what GlusterFS 10.3's client sends beyond that.
func TestRoundTrips(t *testing.T) {
	off := map[string]string{}
	for _, o := range []string{"write-behind", "read-ahead", "readdir-ahead", "quick-read", "open-behind", "stat-prefetch", "nl-cache", "io-cache"} {
		off["performance."+o] = "off"
	}
	c := cluster(t, shapes["brick"], off)
	var n calls
	s, err := mount.Open(context.Background(), mount.Config{Volume: c.Volume.Name, Registry: graph.Registry(clientside.Registry()), Log: quiet,
		Servers: []volserver.Server{{Network: "tcp", Addr: c.Addr}}, Env: xlator.Env{OnCall: n.note}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	_, dir := mounted(t, s, func(c *Config) {
		// Long enough that names and attributes stay for the whole test.
		c.AttrTimeout, c.EntryTimeout = time.Hour, time.Hour
	})
	p := func(name string) string { return filepath.Join(dir, name) }
	data := make([]byte, 8192)
	var f *os.File
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"create", func() { f, err = os.OpenFile(p("f"), os.O_CREATE|os.O_RDWR, 0o644); must(err) }, "LOOKUP CREATE"},
		{"write", func() { _, err := f.Write(data); must(err) }, "WRITE"}, // and GETXATTR before each
		{"write again", func() { _, err := f.Write(data); must(err) }, "WRITE"},
		{"fsync", func() { must(f.Sync()) }, "FSYNC"},
		{"close after writes", func() { must(f.Close()) }, ""}, // and FLUSH, which client spares us without locks
		// A change has the kernel ask anew: for the directory's mode after a
		// create, for the number of blocks after a write. With md-cache neither
		// goes out.
		{"stat after writes", func() { _, err := os.Stat(p("f")); must(err) }, "STAT STAT"},
		{"stat", func() { _, err := os.Stat(p("f")); must(err) }, ""},
		{"open for reading", func() { f, err = os.Open(p("f")); must(err) }, "OPEN"},
		{"read", func() { _, err := f.Read(data); must(err) }, "READ"},
		{"close after reads", func() { must(f.Close()) }, ""}, // and FLUSH
		{"truncating open", func() { f, err = os.OpenFile(p("f"), os.O_WRONLY|os.O_TRUNC, 0); must(err) }, "OPEN TRUNCATE"},
		{"close", func() { must(f.Close()) }, ""},
		{"chmod", func() { must(os.Chmod(p("f"), 0o600)) }, "SETATTR"},
		{"mkdir", func() { must(os.Mkdir(p("d"), 0o755)) }, "LOOKUP MKDIR"},
		{"rename", func() { must(syscall.Rename(p("f"), p("g"))) }, "STAT LOOKUP RENAME"},
		{"link", func() { must(os.Link(p("g"), p("h"))) }, "STAT LOOKUP LINK"},
		{"unlink", func() { must(syscall.Unlink(p("h"))) }, "STAT UNLINK"},
		{"symlink", func() { must(os.Symlink("g", p("s"))) }, "STAT LOOKUP SYMLINK"},
		{"readlink", func() { _, err := os.Readlink(p("s")); must(err) }, "STAT READLINK"},
		{"readlink again", func() { _, err := os.Readlink(p("s")); must(err) }, ""},
		{"rmdir", func() { must(syscall.Rmdir(p("d"))) }, "RMDIR"},
		{"statfs", func() { var st syscall.Statfs_t; must(syscall.Statfs(dir, &st)) }, "STATFS"},
	} {
		n.take()
		step.do()
		if got := n.take(); got != step.want {
			t.Errorf("%s: %q, want %q", step.what, got, step.want)
		}
	}
	// A listing costs a request per 128 KiB of entries, with all attributes.
	must(os.Mkdir(p("many"), 0o755))
	for i := range 300 {
		must(os.WriteFile(filepath.Join(p("many"), fmt.Sprint("file", i)), nil, 0o644))
	}
	_, fresh := mounted(t, s)
	n.take()
	entries, err := os.ReadDir(filepath.Join(fresh, "many"))
	must(err)
	for _, e := range entries {
		_, err := e.Info()
		must(err)
	}
	if got := n.take(); len(entries) != 300 || got != "LOOKUP OPENDIR READDIRP" && got != "LOOKUP OPENDIR READDIRP READDIRP" {
		t.Errorf("%d entries listed by %q", len(entries), got)
	}
}

// TestLabels: a mount without the option selinux has no labels of files, and says
// so in a way that ls asks once, not for each file.
func TestLabels(t *testing.T) {
	testenv.Need(t, "ls")
	c := cluster(t, shapes["brick"], nil)
	dump := filepath.Join(t.TempDir(), "dump")
	const files = 50
	t.Run("mount", func(t *testing.T) {
		_, dir := mounted(t, open(t, c), func(c *Config) { c.DumpFuse = dump })
		for i := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := unix.Lgetxattr(filepath.Join(dir, "f0"), "security.selinux", nil); err != unix.EOPNOTSUPP {
			t.Errorf("a label: %v", err)
		}
		dir = strings.Replace(dir, "/proc/self/", fmt.Sprintf("/proc/%d/", os.Getpid()), 1)
		if out, err := exec.Command("ls", "-l", dir).CombinedOutput(); err != nil || strings.Count(string(out), "\n") < files {
			t.Errorf("ls -l: %v\n%s", err, out)
		}
	})
	b, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	const head = 33 // what the dumper puts before each message
	for len(b) > head+inHeaderSize {
		m := b[head:]
		if b[0] == 'R' && opcode(m) == opGetxattr {
			asked++
		}
		b = m[binary.NativeEndian.Uint32(m):]
	}
	if asked == 0 || asked > files/2 {
		t.Errorf("%d extended attributes were asked for, of %d files", asked, files)
	}
}

// A signal ends the wait for a lock, and the brick does not give it to the one
// who has gone.
func TestInterruptedLock(t *testing.T) {
	transports(t, func(t *testing.T, edit func(*Config)) {
		testenv.Need(t, "flock")
		c := cluster(t, shapes["brick"], nil)
		_, dir := served(t, c, edit)
		p := filepath.Join(dir, "f")
		f, err := os.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := run("flock", "-x", "-w", "0.3", p, "true"); err == nil || time.Since(start) > 5*time.Second {
			t.Fatalf("a lock that another has: %v after %v", err, time.Since(start))
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_UN); err != nil {
			t.Fatal(err)
		}
		testenv.Wait(t, 10*time.Second, "the lock", func() bool { return run("flock", "-x", "-n", p, "true") == nil })
	})
}
