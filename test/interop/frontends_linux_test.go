package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/cli"
	"github.com/wythefs/wythe/internal/testenv"
)

var (
	frontSeeds = flag.Int("fronts.seeds", 1, "number of operation streams through the front ends")
	frontOps   = flag.Int("fronts.ops", 300, "operations in a stream through the front ends")
)

// TestFrontEnds has one stream of operations have the same outcome through all
// front ends of ours, each on a new volume of `wythe up`: our FUSE mount, the Go
// package, a C program over libgfapi.so.0, and the Python package. Outcomes are
// the errno of each operation and what it returns, the tree as it is seen through
// the Go package, and what is on the bricks.
func TestFrontEnds(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.Need(t, "gcc", "make", "python3")
	library := testenv.Libgfapi(t)
	prog := filepath.Join(t.TempDir(), "frontend")
	out, err := exec.Command("gcc", "-O1", "-Wall", "-Werror", "-D_FILE_OFFSET_BITS=64", "-I../../capi/include", "-o", prog,
		"testdata/frontend.c", "-L"+library, "-lgfapi").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	fronts := []struct {
		name string
		open func(testing.TB, *server) target
	}{
		{"FUSE mount", startMounted},
		{"Go", func(t testing.TB, s *server) target { return newLibrary(mountLibrary(t, s)) }},
		{"C", func(t testing.TB, s *server) target {
			return startRemote(t, s, "LD_LIBRARY_PATH="+library, prog)
		}},
		{"Python", func(t testing.TB, s *server) target {
			return startRemote(t, s, "WYTHE_LIBGFAPI="+library+"/libgfapi.so.0", "PYTHONPATH="+absolute(t, "../../python"),
				"PYTHONDONTWRITEBYTECODE=1", "python3", absolute(t, "testdata/frontend.py"))
		}},
	}
	for seed := *firstSeed; seed < *firstSeed+uint64(*frontSeeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ops := frontStream(seed)
			got := make([]outcome, len(fronts))
			t.Run("run", func(t *testing.T) {
				for i, front := range fronts {
					t.Run(front.name, func(t *testing.T) {
						t.Parallel()
						s := upVolume(t)
						c := front.open(t, s)
						start := time.Now()
						o := outcome{name: front.name, results: run(c, ops), took: time.Since(start)}
						if err := c.Close(); err != nil {
							t.Errorf("close: %v", err)
						}
						o.brick = append(treeOf(t, s), describeVolume(t, s)...)
						if bad := faults(o.brick); len(bad) > 0 {
							t.Errorf("wrong on the bricks:\n%s", strings.Join(bad[:min(len(bad), 30)], "\n"))
						}
						t.Logf("%d of %d succeeded, %v", succeeded(o.results), len(ops), o.took)
						got[i] = o
					})
				}
			})
			want := got[0]
			if n := succeeded(want.results); n < len(ops)/3 {
				t.Errorf("only %d of %d operations succeed: the stream is not worth much", n, len(ops))
			}
			for _, o := range got[1:] {
				if o.results != nil {
					compare(t, seed, ops, want, o)
				}
			}
		})
	}
}

// frontStream is a stream for a volume of ours. As on other volumes of several
// bricks the times of directories are set and not asked for. Some operations are
// root's here, because with -o acl the kernel decides about others, and in other
// ways than bricks: those permit a change of the owner to who it is, times of their
// choice to all who may write, attributes of a sticky directory to others than its
// owner, and a directory to be moved by who may not write in it. A change of neither
// owner nor group libgfapi does not look at, as GlusterFS's.
func frontStream(seed uint64) []op {
	ops := stream(seed, *frontOps)
	for i := range ops {
		o := &ops[i]
		switch o.Do {
		case "utimes":
			o.As = 0
			if path.Base(o.Path)[0] == 'd' {
				o.Flags = 1
			}
		case "setxattr", "removexattr", "rename":
			if path.Base(o.Path)[0] == 'd' {
				o.As = 0
			}
		case "chown":
			o.As = 0
			if o.UID == -1 && o.GID == -1 {
				o.GID = 0
			}
		}
	}
	return ops
}

func absolute(t testing.TB, name string) string {
	t.Helper()
	p, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// roleWythe keeps its variable, as roleBrickProcess: a mount starts itself again.
const roleWythe = "wythe"

// wytheMain is the program wythe, or the one of GlusterFS by whose name it is
// called. It does not return.
func wytheMain(args []string) error {
	if program, ok := cli.Programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(program(args))
	}
	os.Exit(cli.Main(args))
	return nil
}

// upVolume starts `wythe up` with two pairs of bricks.
func upVolume(t testing.TB) *server {
	t.Helper()
	n := testenv.Namespace(t)
	dir := testenv.LoopFS(t, "xfs", 512) + "/up"
	s := &server{name: "wythe up", ours: true, node: n, volume: "data", shape: shapeOf(t, "2x2")}
	for i := range s.shape.bricks {
		s.bricks = append(s.bricks, fmt.Sprintf("%s/brick%d", dir, i))
	}
	startAgain(t, n, roleWythe, "up", "--dir", dir, "--volume", "data", "--distribute", "2", "--replica", "2", "--listen", n.IP, "--allow", "*")
	waitPort(t, n, 24007)
	return s
}

// mounted is a target: a worker on a mount of ours.
type mounted struct {
	*worker
	unmount func() error
}

func (m mounted) Close() error {
	if err := m.worker.Close(); err != nil {
		return err
	}
	return m.unmount()
}

// startMounted mounts a volume with our client and starts a worker there.
func startMounted(t testing.TB, s *server) target {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(s.node.Dir, "mnt"), "ours")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.node.Dir, "log", "mount.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// What the kernel keeps it gives to callers whom a brick would refuse.
	cmd := again(s.node, roleWythe, "mount", "-o", "acl,attribute-timeout=0,entry-timeout=0", s.node.IP+":/"+s.volume, dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		t.Fatalf("wythe mount: %v\n%s", err, s.node.Log("mount"))
	}
	return mounted{startWorker(t, s.node, s.node.Path(dir)), func() error {
		_, err := s.node.Run(context.Background(), "umount", dir)
		return err
	}}
}

// remote is a target: a program as testdata/frontend.c describes it.
type remote struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startRemote starts a program, which words without the server and the volume
// stand for, in a Node.
func startRemote(t testing.TB, s *server, words ...string) *remote {
	t.Helper()
	words = append(words, s.node.IP, "24007", s.volume)
	cmd := s.node.Command(t.Context(), "env", words...)
	cmd.Stderr = os.Stderr
	in, out := testenv.Talk(t, cmd)
	r := &remote{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<20)}
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *remote) Close() error {
	if r.in == nil {
		return nil
	}
	r.in.Close()
	r.in = nil
	return r.cmd.Wait()
}

func (r *remote) Do(o op) result {
	if o.Do == "open" { // which closes what the slot has, whether it succeeds or not
		r.call(op{Do: "close", H: o.H})
	}
	if err := looksFirst(o, func(p string) error { _, err := r.lstat(op{Path: p, As: o.As}); return err }); err != nil {
		return failed(err)
	}
	if o.Do == "rename" {
		if res, skip := r.leaveOut(o); skip {
			return res
		}
	}
	if o.Do == "write" || o.Do == "append" {
		o.Value = data(o)
	}
	n, b, err := r.call(o)
	if err != nil {
		return failed(err)
	}
	switch o.Do {
	case "lstat", "stat", "fstat":
		st, err := parseAttributes(b)
		if err != nil {
			return failed(err)
		}
		return result{Text: statText(st.mode, st.nlink, st.uid, st.gid, st.size, st.rdev)}
	case "utimes":
		if o.Flags != 0 {
			return result{}
		}
		_, b, err := r.call(op{Do: "stat", Path: o.Path, As: o.As})
		if err != nil {
			return failed(err)
		}
		st, err := parseAttributes(b)
		return text(timesText(st.atime, st.mtime), err)
	case "read":
		return result{N: n, Text: digest(b)}
	case "readfile", "getxattr":
		return result{Text: digest(b)}
	case "readlink":
		return result{Text: string(b)}
	case "readdir":
		return entryNames(strings.FieldsFunc(string(b), func(r rune) bool { return r == '/' }))
	case "listxattr":
		return result{Text: xattrNames(strings.FieldsFunc(string(b), func(r rune) bool { return r == 0 }))}
	case "getlk":
		var kind int
		var start, length int64
		if _, err := fmt.Sscan(string(b), &kind, &start, &length); err != nil {
			return failed(err)
		}
		return result{Text: lockText(kind, start, length)}
	}
	return result{N: n}
}

// call has the program do an operation.
func (r *remote) call(o op) (n int64, b []byte, err error) {
	h := func(s string) string { return "x" + hex.EncodeToString([]byte(s)) }
	_, err = fmt.Fprintln(r.in, o.Do, o.H, o.As, o.Flags, o.Mode, o.Off, o.Len, o.UID, o.GID, h(o.Path), h(o.To), h(o.Name), h(string(o.Value)))
	if err != nil {
		return 0, nil, err
	}
	line, err := r.out.ReadString('\n')
	if err != nil {
		return 0, nil, fmt.Errorf("no answer: %w", err)
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		return 0, nil, fmt.Errorf("answer %q", line)
	}
	var code int
	if _, err := fmt.Sscan(words[0]+" "+words[1], &code, &n); err != nil {
		return 0, nil, err
	}
	switch {
	case code == -1:
		return 0, nil, errNothingOpen
	case code == -3:
		return 0, nil, unsupported(o.Do)
	case code < 0:
		return 0, nil, fmt.Errorf("answer %d", code)
	case code > 0:
		return 0, nil, syscall.Errno(code)
	}
	b, err = hex.DecodeString(words[2][1:])
	return n, b, err
}

// unsupported is the errno for what Python's io stack refuses before it asks the
// volume: files that were not opened for that.
func unsupported(do string) error {
	if do == "ftruncate" {
		return syscall.EINVAL
	}
	return syscall.EBADF
}

// attributes are those that a remote sends.
type attributes struct {
	ino                   uint64
	mode, nlink, uid, gid uint32
	size                  int64
	rdev                  uint64
	atime, mtime          int64
}

func parseAttributes(b []byte) (a attributes, err error) {
	var at, mt [2]int64
	_, err = fmt.Fscan(bytes.NewReader(b), &a.ino, &a.mode, &a.nlink, &a.uid, &a.gid, &a.size, &a.rdev, &at[0], &at[1], &mt[0], &mt[1])
	a.atime, a.mtime = at[0]*1e9+at[1], mt[0]*1e9+mt[1]
	return a, err
}

func (r *remote) lstat(o op) (attributes, error) {
	o.Do = "lstat"
	_, b, err := r.call(o)
	if err != nil {
		return attributes{}, err
	}
	return parseAttributes(b)
}

// leaveOut is system.leaveOut, and library.leaveOut.
func (r *remote) leaveOut(o op) (result, bool) {
	a, err1 := r.lstat(op{Path: o.Path})
	b, err2 := r.lstat(op{Path: o.To})
	switch {
	case err1 != nil || err2 != nil:
		return result{}, false
	case a.ino == b.ino:
		return sameObject, true
	case a.mode&unix.S_IFMT != unix.S_IFDIR:
		return result{}, false
	case b.mode&unix.S_IFMT != unix.S_IFDIR:
		return failed(syscall.ENOTDIR), true
	}
	return ontoFull, r.Do(op{Do: "readdir", Path: o.To}).N > 0
}

// treeOf describes everything in a volume as our Go package shows it to root.
func treeOf(t testing.TB, s *server) (lines []string) {
	t.Helper()
	l := newLibrary(mountLibrary(t, s))
	defer l.Close()
	must := func(o op) result {
		r := l.Do(o)
		if r.Errno != "" {
			t.Errorf("the tree afterwards: %v: %v", o, r)
		}
		return r
	}
	var walk func(p, kind string)
	walk = func(p, kind string) {
		line := []string{"tree", fmt.Sprintf("%q", p), must(op{Do: "lstat", Path: p}).Text}
		if kind == "d" || kind == "f" {
			names := must(op{Do: "listxattr", Path: p}).Text
			for name := range strings.FieldsSeq(names) {
				line = append(line, name+"="+must(op{Do: "getxattr", Path: p, Name: name}).Text)
			}
		}
		switch kind {
		case "f":
			line = append(line, must(op{Do: "readfile", Path: p}).Text)
		case "l":
			line = append(line, "->", must(op{Do: "readlink", Path: p}).Text)
		}
		lines = append(lines, strings.Join(line, " "))
		if kind != "d" {
			return
		}
		r := must(op{Do: "readdir", Path: p})
		for _, e := range strings.FieldsFunc(r.Text, func(r rune) bool { return r == '/' }) {
			kind, name, _ := strings.Cut(e, ":")
			walk(path.Join(p, name), kind)
		}
	}
	walk(".", "d")
	slices.Sort(lines)
	return lines
}
