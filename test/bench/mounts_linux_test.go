package bench

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

// mountPrefix begins the names of the shapes of mounts.
const mountPrefix = "mount-"

// mountShapes are the volumes that are mounted.
var mountShapes = []shape{mounted(shapes[0]), mounted(shapes[1])}

func mounted(s shape) shape {
	s.name = mountPrefix + s.name
	s.title = "Mounted: " + strings.ToLower(s.title[:1]) + s.title[1:]
	return s
}

// mountPhases are done by ./mounted on a mount of either client. Between two of
// them the kernel forgets names and attributes, but where a line says warm.
var mountPhases = []phase{
	{"seqwrite", "sequential write, 1 MiB, then fsync", 640, 1 << 20, 1, false, 8, "1.5"},
	{"seqread", "sequential read, 1 MiB, cold", 640, 1 << 20, 1, false, 8, "1.5"},
	{"reread", "sequential read, 1 MiB, warm", 640, 1 << 20, 1, false, 8, "1.5"},
	{"randread", "random read, 4 KiB, direct, 1 in flight", 8000, 4096, 1, false, 64, ""},
	{"randread", "random read, 4 KiB, direct, 16 in flight", 16000, 4096, 16, false, 64, ""},
	{"randwrite", "random write, 4 KiB, direct, 1 in flight", 8000, 4096, 1, false, 64, ""},
	{"randwrite", "random write, 4 KiB, direct, 16 in flight", 16000, 4096, 16, false, 64, ""},
	{"syncwrite", "write 4 KiB and fsync", 1000, 4096, 1, false, 16, ""},
	{"create", "create, write 1 KiB, close", 10000, 1024, 1, true, 32, ""},
	{"stat", "stat", 10000, 0, 1, true, 32, ""},
	{"openread", "open, read 1 KiB, close", 10000, 1024, 1, false, 32, ""},
	{"list", "ls -l of 10 000 entries", 10000, 0, 1, true, 32, ""},
	{"relist", "ls -l of 10 000 entries, warm", 10000, 0, 1, true, 32, ""},
	{"rename", "rename", 10000, 0, 1, true, 32, ""},
	{"unlink", "unlink", 10000, 0, 1, true, 32, ""},
	{"untar", "untar a source tree of 1000 files", 1000, 0, 1, true, 32, ""},
}

func TestMounts(t *testing.T) {
	testenv.Need(t, "glusterfs", "glusterd", "tar", "ls")
	testenv.NeedRoot(t)
	dir := t.TempDir()
	prog := programs{c: "real", ours: "ours", wythe: filepath.Join(dir, "wythe")}
	build(t, "go", "build", "-o", prog.wythe, "../../cmd/wythe")
	driver := filepath.Join(dir, "mounted")
	build(t, "go", "build", "-o", driver, "./mounted")
	if err := os.Symlink("wythe", filepath.Join(dir, "glusterfs")); err != nil {
		t.Fatal(err)
	}
	all := mountShapes
	if !*flagLong {
		all = all[:1]
	}
	for _, s := range all {
		if listed(*flagShape, s.name) {
			t.Run(s.name, func(t *testing.T) {
				b := newBench(t, prog, s)
				b.phases, b.last = mountPhases, map[string]time.Time{}
				for i := range b.setups {
					b.mount(&b.setups[i], filepath.Join(dir, "glusterfs"))
				}
				archive(t, filepath.Join(dir, "source.tar"), b.phases[len(b.phases)-1].amount())
				b.do = func(s setup, p phase) (sample, string) { return b.onMount(driver, s, p) }
				b.sweep = func() {
					for _, s := range b.setups {
						b.onMount(driver, s, phase{name: "sweep", title: "sweep", count: 1, short: 1, depth: 1})
					}
				}
				b.compare()
			})
		}
	}
}

// mount mounts the volume of a setup with its client.
func (b *bench) mount(s *setup, ours string) {
	b.t.Helper()
	program, side := "glusterfs", "real"
	if s.driver == "ours" {
		program, side = ours, "ours"
	}
	s.dir = filepath.Join(b.g.Dir, "mnt", s.pair)
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	p := b.g.Start(b.t, program, "--no-daemon", "--log-file=/var/log/glusterfs/"+s.pair+".log", "--process-name", "fuse",
		"--volfile-server="+b.g.IP, "--volfile-server-port="+strconv.Itoa(s.port), "--volfile-id=/data", s.dir)
	s.client = p.Pid
	testenv.Wait(b.t, 30*time.Second, "a mount by "+program, func() bool {
		var st syscall.Statfs_t
		err := syscall.Statfs(b.g.Path(s.dir), &st)
		const fuse = 0x65735546
		return err == nil && st.Type == fuse
	})
	// The clients share a volume, not files.
	s.dir = filepath.Join(s.dir, side)
	if err := os.Mkdir(b.g.Path(s.dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		b.t.Fatal(err)
	}
}

// kernelTimeout is for how long the kernel keeps names and attributes, and the
// real client's caches do, and some more.
const kernelTimeout = 1100 * time.Millisecond

// onMount does one phase on a mount.
func (b *bench) onMount(driver string, s setup, p phase) (sample, string) {
	if *flagLong {
		time.Sleep(kernelTimeout - time.Since(b.last[s.pair]))
	}
	defer func() { b.last[s.pair] = time.Now() }()
	pids := s.server()
	messages := b.messages(s)
	client, server := cpuOf(b.t, []int{s.client}), cpuOf(b.t, pids)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	r := sample{count: p.amount()}
	cmd := b.g.Command(ctx, driver, s.dir, p.name, strconv.Itoa(r.count), strconv.Itoa(p.bytes), strconv.Itoa(p.depth))
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%s: %s: %v\n%s", s.name, p.title, err, errs.String())
	}
	var sum string
	if _, err := fmt.Sscan(out.String(), &r.seconds, &sum); err != nil {
		b.t.Fatalf("%s: %s: driver printed %q", s.name, p.title, out.String())
	}
	r.cpu, r.serverCPU = cpuOf(b.t, []int{s.client})-client, cpuOf(b.t, pids)-server
	r.messages = b.messages(s) - messages
	r.rss, r.serverRSS = peakOf(b.t, []int{s.client}), peakOf(b.t, pids)
	return r, sum
}

// messages is how many messages a client has sent to bricks so far, as .meta tells.
func (b *bench) messages(s setup) int {
	all, err := filepath.Glob(filepath.Join(filepath.Dir(b.g.Path(s.dir)), ".meta/graphs/active/*-client-*/private"))
	if err != nil || len(all) != b.shape.bricks {
		b.t.Fatalf("%s: .meta has %d clients of bricks (%v)", s.name, len(all), err)
	}
	sum := 0
	for _, name := range all {
		text, err := os.ReadFile(name)
		if err != nil {
			b.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(line, "msgs_sent = "); ok {
				n, _ := strconv.Atoi(strings.TrimSpace(v))
				sum += n
			}
		}
	}
	return sum
}

// archive packs some of Go's own source.
func archive(t *testing.T, name string, files int) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	n := 0
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env GOROOT: %v", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	err = filepath.WalkDir(filepath.Join(src, "cmd"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		head, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		if head.Name, err = filepath.Rel(src, path); err != nil {
			return err
		}
		if err := w.WriteHeader(head); err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		if n++; n == files {
			return fs.SkipAll
		}
		return nil
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if n < files {
		t.Fatalf("%s has %d files, want %d", src, n, files)
	}
}
