package distribute

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// bare is the translator over n subvolumes of that handler, v-client-0 and so on.
func bare(t testing.TB, n int, o xlator.Options) *distribute {
	t.Helper()
	c := xlator.Config{Name: "v-dht", Options: o}
	for i := range n {
		c.Children = append(c.Children, xlator.Child{Name: "v-client-" + strconv.Itoa(i), FirstLeaf: i, Leaves: 1,
			Handler: fop.HandlerFunc(nil)})
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h.(*distribute)
}

// golden calls f with the fields of every line of a file of testdata.
func golden(t *testing.T, file string, f func(line string)) {
	t.Helper()
	r, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for s := bufio.NewScanner(r); s.Scan(); {
		if line := s.Text(); line != "" && line[0] != '#' {
			f(line)
			n++
		}
	}
	if n == 0 {
		t.Fatalf("nothing in %s", file)
	}
}

func TestHash(t *testing.T) {
	d := bare(t, 2, nil)
	golden(t, "hashes", func(line string) {
		want, quoted, _ := strings.Cut(line, " ")
		name, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		h, err := strconv.ParseUint(want, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := fop.NameHash(d.munge(name)); got != uint32(h) {
			t.Errorf("%q: %08x, want %08x", name, got, h)
		}
	})
}

func TestMunge(t *testing.T) {
	for _, c := range []struct{ extra, rsync, name, want string }{
		{"", rsyncRegex, ".file1.X3aB9z", "file1"},
		{"", "none", ".file1.X3aB9z", ".file1.X3aB9z"},
		{"", "NONE", ".file1.X3aB9z", ".file1.X3aB9z"},
		{"^(.+)[.]tmp$", rsyncRegex, "zz3.tmp", "zz3"},
		{"^(.+)[.]tmp$", rsyncRegex, ".foo.tmp", ".foo"},
		{"^(.+)[.]tmp$", rsyncRegex, ".foo.bar", "foo"},
		{"^.+[.]tmp$", rsyncRegex, ".foo.tmp", "foo"},                        // no group: the next one is tried
		{"^(.*)[.]tmp$", "none", ".tmp", ""},                                 // an empty group is one
		{"(", rsyncRegex, ".foo.bar", "foo"},                                 // not a regex: as if it were not set
		{"a|ab(c)", "none", "abc", "c"},                                      // the longest match, not the first
		{`^(.+)[\.]x$`, "none", `foo\x`, "foo"},                              // within brackets a backslash is itself
		{`^([^]]+)]x$`, "none", "foo]x", "foo"},                              // a first ] is itself
		{"^(.+)~$", "none", "a\nb~", "a\nb"},                                 // lines mean nothing
		{"", rsyncRegex, ".a\nb.c\nd", "a\nb"},                               //
		{"^(.+)[[:digit:]]$", "none", "abc7", "abc"},                         //
		{"^(.+)~$", "none", "\xff~", "\xff~"},                                // not UTF-8: never matches
		{"^(zz)y$|^(zz)x$", "none", "zzx", "zzx"},                            // only the first group counts
		{"", `^\.(.+)\.[^.]{6}$`, ".foo.abcdef", "foo"},                      //
		{"", `^\.(.+)\.[^.]{6}$`, ".foo.abcde", ".foo.abcde"},                //
		{"", "", ".foo.bar", ".foo.bar"},                                     // an empty one matches, but has no group
		{"^/(.+)$", rsyncRegex, "/dirA", "dirA"},                             // paths, for rotation
		{"", rsyncRegex, "/.a.b", "/.a.b"},                                   //
		{"", rsyncRegex, strings.Repeat(".", 255), strings.Repeat(".", 255)}, //
	} {
		d := bare(t, 2, xlator.Options{"extra-hash-regex": c.extra, "rsync-hash-regex": c.rsync})
		if got := d.munge(c.name); got != c.want {
			t.Errorf("extra %q, rsync %q: %q becomes %q, want %q", c.extra, c.rsync, c.name, got, c.want)
		}
	}
}

// FuzzMunge compares the shortcut for the default with the regular expression.
func FuzzMunge(f *testing.F) {
	for _, s := range []string{"", ".", "..", ".a.b", ".a.", "a.b", "..a.b", ".a\n.b", ".\xff.x"} {
		f.Add(s)
	}
	d := bare(f, 2, nil)
	re, err := compileRegex(rsyncRegex)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		want := name
		if utf8.ValidString(name) {
			if m := re.FindStringSubmatch(name); m != nil {
				want = m[1]
			}
		}
		got := d.munge(name)
		if got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
		fop.NameHash(got)
	})
}

// FuzzRegex: no text of an option makes a name hash to what is not part of it.
func FuzzRegex(f *testing.F) {
	f.Add("^(.+)[.]tmp$", "a.tmp")
	f.Add(`[\`, "a")
	f.Add(`[[:alpha:]-]`, "-")
	f.Fuzz(func(t *testing.T, text, name string) {
		re, err := compileRegex(text)
		if err != nil {
			return
		}
		s := settings{extraRegex: re}
		if got := s.munge(name); !strings.Contains(name, got) {
			t.Errorf("%q: %q becomes %q", text, name, got)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	d := bare(b, 2, nil)
	b.ReportAllocs()
	for b.Loop() {
		fop.NameHash(d.munge("IMG_20260101_123456.jpg"))
	}
}
