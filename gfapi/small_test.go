package gfapi

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/paths"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// What a small file held when it was opened is served without asking again, but
// never against what this mount or the passing of time knows better. It takes the
// translators that a volume's clients have unless somebody switches them off.
func TestSmallFiles(t *testing.T) {
	trips := 0
	disk := mem.NewFS(nil)
	counted := fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		if req.Op() != fop.OpRelease {
			trips++
		}
		return disk.Do(ctx, req)
	})
	v := mountHandler(t, behindCaches(t, counted))
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

	must(t, v.Mkdir("d", 0o755))
	f = open("d")
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("a directory is read")
	}
	must(t, v.WriteFile("h", []byte(strings.Repeat("x", paths.ContentLimit+1)), 0o644))
	f = open("h")
	n, err := f.WriteTo(io.Discard)
	if err != nil || n != paths.ContentLimit+1 {
		t.Errorf("WriteTo = %d, %v", n, err)
	}
}

// behindCaches is h behind the caches that a volume has unless somebody switches
// them off. options are of those that know them.
func behindCaches(t testing.TB, h fop.Handler, options ...string) fop.Handler {
	t.Helper()
	typ := xlator.Type{Name: "testing/below", New: func(xlator.Config) (fop.Handler, error) { return h, nil }}
	s, err := mount.Open(t.Context(), mount.Config{Registry: clientside.Registry().With(typ), Log: slog.New(slog.DiscardHandler), Volfile: `
volume v
    type testing/below
end-volume
` + caches("v", options...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// caches are the volumes of a volfile that stand above the one called below.
func caches(below string, options ...string) string {
	var text strings.Builder
	for _, name := range []string{"open-behind", "quick-read", "md-cache"} {
		text.WriteString("volume v-" + name + "\n type performance/" + name + "\n")
		for _, o := range options {
			key, _, _ := strings.Cut(o, " ")
			if _, ok := xlator.Find(clientside.Registry()["performance/"+name].Options, key); ok {
				text.WriteString(" option " + o + "\n")
			}
		}
		text.WriteString(" subvolumes " + below + "\nend-volume\n")
		below = "v-" + name
	}
	return text.String()
}
