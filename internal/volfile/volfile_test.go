package volfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cases reads a file of "== name", text, "--", result.
func cases(t testing.TB, name string) (all []struct{ name, text, want string }) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.Split("\n"+string(b), "\n== ")[1:] {
		head, rest, _ := strings.Cut(c, "\n")
		text, want, ok := strings.Cut("\n"+rest, "\n--\n")
		if !ok {
			t.Fatalf("%s: case %q has no result", name, head)
		}
		all = append(all, struct{ name, text, want string }{head, strings.TrimPrefix(text, "\n") + "\n", want})
	}
	return all
}

func TestParseGood(t *testing.T) {
	for _, c := range cases(t, "good.txt") {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimRight(c.want, "\n")+"\n", f.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
			again, err := Parse(f.String())
			if err != nil {
				t.Fatalf("what was printed is refused: %v", err)
			}
			if !Same(f, again) {
				t.Errorf("what was printed means something else:\n%s", again)
			}
		})
	}
}

func TestParseBad(t *testing.T) {
	for _, c := range cases(t, "bad.txt") {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse(c.text)
			if err == nil {
				t.Fatalf("taken for\n%s", f)
			}
			if want := strings.TrimSpace(c.want); err.Error() != want {
				t.Errorf("error %q\nwant  %q", err, want)
			}
			if !errors.Is(err, syscall.EINVAL) {
				t.Error("the error is not EINVAL")
			}
		})
	}
}

func TestLimits(t *testing.T) {
	word := strings.Repeat("x", MaxWord)
	many := strings.Repeat("\nvolume p type t end-volume", 2)
	for _, c := range []struct {
		name, text, want string
	}{
		{"size", strings.Repeat(" ", MaxSize+1), "bytes long"},
		{"word", "volume " + word + "x type t end-volume", "a word of 65537 bytes"},
		{"quoted word", `volume "` + word + `x" type t end-volume`, "a word of 65537 bytes"},
		{"NUL", "volume a\x00b type t end-volume", "NUL"},
		{"twice", many, "defined again"},
	} {
		if _, err := Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
	if _, err := Parse("volume " + word + " type t end-volume"); err != nil {
		t.Errorf("the longest word is refused: %v", err)
	}
	// Many options must not take quadratic time: four times as many, four times
	// as long, not sixteen. On a busy machine one measurement means nothing.
	ratio := 100.0
	for try := 0; try < 5 && ratio > 9; try++ {
		quarter, whole := timeOf(t, MaxSize/16), timeOf(t, MaxSize/4)
		ratio = min(ratio, whole.Seconds()/quarter.Seconds())
	}
	if ratio > 9 {
		t.Errorf("four times as many options take %.1f times as long", ratio)
	}
}

// timeOf parses, copies and compares a file of some size that is all options.
func timeOf(t *testing.T, size int) time.Duration {
	var b strings.Builder
	b.WriteString("volume p type t ")
	for i := 0; b.Len() < size-100; i++ {
		b.WriteString("option k")
		b.WriteString(strings.Repeat("0", i%7))
		b.WriteString(time.Duration(i).String())
		b.WriteString(" v ")
	}
	b.WriteString("end-volume")
	begin := time.Now()
	f, err := Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	if !Same(f, f.Clone()) || len(Changes(f, f.Clone())) != 0 {
		t.Error("a file differs from its copy")
	}
	return time.Since(begin)
}

// TestGlusterd prints what glusterd wrote byte by byte.
func TestGlusterd(t *testing.T) {
	files, err := filepath.Glob("testdata/glusterd/*.vol")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(string(b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(string(b), f.String()); diff != "" {
			t.Errorf("%s (-glusterd +ours):\n%s", name, diff)
		}
	}
}

func read(t *testing.T, name string) *File {
	t.Helper()
	b, err := os.ReadFile("testdata/glusterd/" + name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCompare(t *testing.T) {
	a := read(t, "one.tcp-fuse.vol")
	trusted := read(t, "trusted-one.tcp-fuse.vol")
	b := a.Clone()
	if !Same(a, b) || !SameTopology(a, b) {
		t.Error("a copy is not the same")
	}
	client := b.Volume("one-client-0")
	o := client.Options
	o[0], o[1] = o[1], o[0]
	if !Same(a, b) {
		t.Error("the order of options matters")
	}
	client.Set("ping-timeout", "10")
	client.Set("new", "x")
	client.Delete("send-gids")
	if Same(a, b) || !SameTopology(a, b) {
		t.Error("other options: not the same, but the same topology")
	}
	var got []string
	for _, c := range Changes(a, b) {
		got = append(got, c.String())
	}
	want := []string{"one-client-0: new x added", "one-client-0: ping-timeout 10 instead of 42", "one-client-0: send-gids true removed"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for _, c := range Changes(a, trusted) {
		if c.Key == "password" && strings.Contains(c.String(), c.New) {
			t.Errorf("a password is shown: %s", c)
		}
	}
	for _, change := range []func(*File){
		func(f *File) { f.Volumes = f.Volumes[:len(f.Volumes)-1] },
		func(f *File) { f.Volumes[1].Type = "cluster/nufa" },
		func(f *File) { f.Volumes[1].Name = "x" },
		func(f *File) { f.Volumes[2].Subvolumes = nil },
	} {
		c := a.Clone()
		change(c)
		if SameTopology(a, c) || Same(a, c) {
			t.Errorf("the same topology:\n%s", c)
		}
	}
	if Same(nil, a) || Same(a, nil) {
		t.Error("nothing is the same as something")
	}
}

func TestOverride(t *testing.T) {
	for _, c := range []struct {
		arg  string
		want []string // volumes it changes; nil: it is refused
	}{
		{"*-posix.glusterd-uuid=1-2", []string{"one-posix"}},
		{"one-server.listen-port=49152", []string{"one-server"}},
		{"one-server.transport.socket.listen-port=49152", []string{"one-server"}},
		{"*.x=y=z", []string{"one-posix", "one-server", "/bricks/one"}},
		{"one-*r.x=y", []string{"one-server", "one-marker"}},
		{"/bricks/*.x=y", []string{"/bricks/one"}},
		{"o[a-n]e-[!x]osix.x=y", []string{"one-posix"}},
		{"on[.x=y", []string{}},
		{"??????????.x=y", []string{"one-server", "one-upcall", "one-leases", "one-marker"}},
		{"posix=1", nil}, {".k=v", nil}, {"a.=v", nil}, {"a.b", nil}, {"a.b=", nil},
	} {
		f := read(t, "one.host.bricks-one.vol")
		o, err := ParseOverride(c.arg)
		if c.want == nil {
			if err == nil {
				t.Errorf("%s is taken for %+v", c.arg, o)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
			continue
		}
		n := o.Apply(f)
		changed := map[string]bool{}
		for _, v := range f.Volumes {
			if val, ok := v.Get(o.Key); ok && val == o.Value {
				changed[v.Name] = true
			}
		}
		for _, name := range c.want {
			if !changed[name] {
				t.Errorf("%s does not change %s", c.arg, name)
			}
		}
		if n != len(changed) || len(c.want) == 0 && n != 0 {
			t.Errorf("%s: %d changes counted, %d seen", c.arg, n, len(changed))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"good.txt", "bad.txt"} {
		for _, c := range cases(f, name) {
			f.Add(c.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Msg == "" || e.Remedy == "" || e.Line < 0 || e.Line > 1+strings.Count(text, "\n") {
				t.Fatalf("unhelpful error %+v", err)
			}
			return
		}
		again, err := Parse(file.String())
		if err != nil {
			t.Fatalf("what was printed is refused: %v\n%s", err, file)
		}
		if !Same(file, again) || again.String() != file.String() {
			t.Fatalf("%q became %q", file, again)
		}
	})
}

func FuzzOverride(f *testing.F) {
	f.Add("*-posix.a=b", "x-posix")
	f.Add("[a-.]*[!].a=b", "x[")
	f.Fuzz(func(t *testing.T, arg, name string) {
		if o, err := ParseOverride(arg); err == nil {
			o.Apply(&File{Volumes: []*Volume{{Name: name}}})
		}
	})
}
