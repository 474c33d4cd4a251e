package interop

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

var updateTraces = flag.Bool("traces.update", false, "rewrite testdata/traces/*.txt")

// traces are the operations whose calls are golden, and how each is set up: DIR
// stands for a directory that only this operation uses.
var traces = []struct {
	name, command string
	does          func(v *gfapi.Volume, dir string) error
}{
	{"stat", "stat DIR/old", func(v *gfapi.Volume, dir string) error {
		_, err := v.Stat(dir + "/old")
		return err
	}},
	{"read-small-file", "read DIR/old", func(v *gfapi.Volume, dir string) error {
		_, err := v.ReadFile(dir + "/old")
		return err
	}},
	{"open-read-close-small", "read DIR/old", func(v *gfapi.Volume, dir string) error {
		return openReadClose(v, dir+"/old")
	}},
	{"open-read-close", "read DIR/large", func(v *gfapi.Volume, dir string) error {
		return openReadClose(v, dir+"/large")
	}},
	{"create-write-close", "write DIR/new", func(v *gfapi.Volume, dir string) error {
		f, err := v.OpenFile(dir+"/new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("Winter is coming."), 0)
		return errors.Join(err, f.Close())
	}},
	{"mkdir", "mkdir DIR/new", func(v *gfapi.Volume, dir string) error { return v.Mkdir(dir+"/new", 0o755) }},
	{"rename", "rename DIR/old DIR/new", func(v *gfapi.Volume, dir string) error { return v.Rename(dir+"/old", dir+"/new") }},
	{"unlink", "unlink DIR/old", func(v *gfapi.Volume, dir string) error { return v.Remove(dir + "/old") }},
	{"readdir-stat", "list DIR", func(v *gfapi.Volume, dir string) error {
		f, err := v.Open(dir)
		if err != nil {
			return err
		}
		_, err = f.Readdir(-1)
		return errors.Join(err, f.Close())
	}},
}

func openReadClose(v *gfapi.Volume, name string) error {
	f, err := v.Open(name)
	if err != nil {
		return err
	}
	if _, err = f.ReadAt(make([]byte, 4096), 0); err == io.EOF {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// TestTraces compares, call by call, what our client and the distribution's
// libgfapi send to a real brick for the same operation: cold, in a directory that
// the client has not seen, and warm, after it has stat'ed something else there.
// The files have our calls on the left and the real library's on the right.
// Ours must be as the file says, and no more than the real library's.
func TestTraces(t *testing.T) {
	testenv.Need(t, "gcc", "pkg-config")
	s := realBrick(t)
	g := s.gluster
	relay := startRelay(t, g.Node, g.BrickPort(t, s.volume, s.brick))
	vf := relayed(t, g.Volfile(t, s.volume, "trusted-"+s.volume+".tcp-fuse.vol"), g.IP, relay.port())
	theirs := startTheirs(t, g, s.volume, vf)

	prepare := mountLibrary(t, s)
	for _, who := range []string{"ours", "theirs"} {
		for _, tr := range traces {
			for _, state := range []string{"cold", "warm"} {
				dir := traceDir(who, tr.name, state)
				if err := prepare.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				for _, f := range []string{"old", "other"} {
					if err := prepare.WriteFile(dir+"/"+f, []byte("The cold never bothered me anyway."), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				// More than quick-read takes along with a lookup.
				if err := prepare.WriteFile(dir+"/large", make([]byte, 200_000), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}

	ours, err := gfapi.Mount(t.Context(), g.IP, s.volume, gfapi.WithDialer(g.DialContext), gfapi.WithVolfile(vf),
		gfapi.WithEntryTimeout(time.Hour)) // what is warm stays so on a slow machine
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Unmount()
	// Both have seen the directories above those of the operations.
	for _, who := range []string{"ours", "theirs"} {
		if _, err := ours.Stat(who); err != nil {
			t.Fatal(err)
		}
		theirs.do(t, "stat /"+who)
	}
	relay.taken(t)

	for _, tr := range traces {
		t.Run(tr.name, func(t *testing.T) {
			var text strings.Builder
			for _, state := range []string{"cold", "warm"} {
				dir := traceDir("ours", tr.name, state)
				if state == "warm" {
					if _, err := ours.Stat(dir + "/other"); err != nil {
						t.Fatal(err)
					}
					relay.taken(t)
				}
				if err := tr.does(ours, dir); err != nil {
					t.Fatal(err)
				}
				left := relay.taken(t)

				dir = "/" + traceDir("theirs", tr.name, state)
				if state == "warm" {
					theirs.do(t, "stat "+dir+"/other")
					relay.taken(t)
				}
				theirs.do(t, strings.ReplaceAll(tr.command, "DIR", dir))
				right := relay.taken(t)
				if len(left) > len(right) {
					t.Errorf("%s: ours sends %d calls, the real library %d\nours   %v\ntheirs %v", state, len(left), len(right), left, right)
				}
				writeTrace(&text, state, left, right)
			}
			golden(t, tr.name, text.String())
		})
	}
}

func traceDir(who, name, state string) string { return who + "/" + name + "-" + state }

func writeTrace(w io.Writer, state string, ours, theirs []string) {
	fmt.Fprintf(w, "%s\n", state)
	for i := range max(len(ours), len(theirs)) {
		cell := func(calls []string) string {
			if i < len(calls) {
				return calls[i]
			}
			return ""
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-10s | %s", cell(ours), cell(theirs)), " "))
	}
}

// golden compares the left side with the file; the right one is the real
// library's affair, and a difference there is only told.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "traces", name+".txt")
	if *updateTraces {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	if a, b := column(want, 0), column(got, 0); !slices.Equal(a, b) {
		t.Errorf("our calls are not those of %s (-traces.update rewrites it):\n%s", file, got)
	} else if want != got {
		t.Logf("the real library does not send what %s says:\n%s", file, got)
	}
}

func column(text string, i int) (calls []string) {
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); i < len(cells) {
			if c := strings.TrimSpace(cells[i]); c != "" {
				calls = append(calls, c)
			}
		}
	}
	return calls
}

// relayed is a client volfile whose bricks are at the relay.
func relayed(t testing.TB, text, host string, port int) string {
	t.Helper()
	f, err := volfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range f.Volumes {
		if v.Type == "protocol/client" {
			v.Set("remote-host", host)
			v.Set("remote-port", strconv.Itoa(port))
		}
	}
	return f.String()
}

// program is the C program on the real library.
type program struct {
	in  io.WriteCloser
	out *bufio.Reader
}

var traceSerial atomic.Int32

func startTheirs(t testing.TB, g *testenv.Glusterd, volume, vf string) *program {
	t.Helper()
	name := fmt.Sprintf("trace%d", traceSerial.Add(1))
	exe := filepath.Join(g.Dir, name)
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "glusterfs-api").Output()
	if err != nil {
		testenv.Missing(t, "the headers of libgfapi: %v", err)
	}
	args := append([]string{"-Wall", "-Wextra", "-o", exe, "testdata/trace.c"}, strings.Fields(string(flags))...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	file := filepath.Join(g.Dir, name+".vol")
	if err := os.WriteFile(file, []byte(vf), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := g.Command(context.Background(), exe, volume, file, "/var/log/glusterfs/"+name+".log")
	cmd.Stderr = os.Stderr
	in, out := testenv.Talk(t, cmd)
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	p := &program{in: in, out: bufio.NewReader(out)}
	p.answer(t, "mount")
	return p
}

func (p *program) do(t testing.TB, command string) {
	t.Helper()
	fmt.Fprintln(p.in, command)
	p.answer(t, command)
}

func (p *program) answer(t testing.TB, command string) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || line != "ok\n" {
		t.Fatalf("real library: %s: %q %v", command, line, err)
	}
}
