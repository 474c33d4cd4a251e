package gfapi

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// What a small file held when it was opened is served without asking again, but
// never against what this mount or the passing of time knows better.
func TestLate(t *testing.T) {
	trips := 0
	disk := mem.NewFS(nil)
	counted := fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		trips++
		return disk.Do(ctx, req)
	})
	v := mountHandler(t, counted)
	other := mountHandler(t, disk)
	read := func(f *File) string {
		t.Helper()
		b := make([]byte, 100)
		n, err := f.ReadAt(b, 0)
		if err != io.EOF {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	open := func(name string) *File {
		t.Helper()
		f, err := v.Open(name)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: read %q, want %q", what, got, want)
		}
	}

	must(t, v.WriteFile("f", []byte("one"), 0o644))
	before := trips
	f := open("f")
	is("at once", read(f), "one")
	fi, err := f.Stat()
	must(t, err)
	must(t, f.Close())
	if fi.Size() != 3 || trips != before+1 {
		t.Errorf("size %d, %d round trips, want 1", fi.Size(), trips-before)
	}

	f = open("f")
	must(t, v.WriteFile("f", []byte("another"), 0o644))
	is("after a write of this mount", read(f), "another")

	f = open("f")
	must(t, other.WriteFile("f", []byte("by another client"), 0o644))
	for deadline := time.Now().Add(10 * time.Second); read(f) != "by another client"; {
		if time.Now().After(deadline) {
			t.Fatalf("still reads %q", read(f))
		}
	}

	f = open("f")
	must(t, v.Remove("f"))
	is("after its name was removed by this mount", read(f), "by another client")
	must(t, f.Sync())

	must(t, v.WriteFile("g", []byte("held"), 0o644))
	f = open("g")
	must(t, other.Remove("g"))
	must(t, v.Mkdir("d", 0o755)) // what was held is no longer trusted without a look
	is("after its name was removed by another client", read(f), "held")
	fi, err = f.Stat()
	must(t, err)
	if st := fi.Sys().(*Stat); st.Nlink != 0 {
		t.Errorf("%d links of a removed file", st.Nlink)
	}

	f = open("d")
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("a directory is read")
	}
	must(t, v.WriteFile("h", []byte(strings.Repeat("x", contentLimit+1)), 0o644))
	f = open("h")
	n, err := f.WriteTo(io.Discard)
	if err != nil || n != contentLimit+1 {
		t.Errorf("WriteTo = %d, %v", n, err)
	}
	if n := v.m.lateFiles.Load(); n != 1 {
		t.Errorf("%d files count as late, want the removed one", n)
	}
}
