package gfapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// counter notes the fops that pass.
type counter struct {
	fop.Handler
	mu  sync.Mutex
	ops []string
}

func (c *counter) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	c.mu.Lock()
	c.ops = append(c.ops, req.Op().String())
	c.mu.Unlock()
	return c.Handler.Do(ctx, req)
}

// take returns what passed since the last take, without the releases that
// nobody waits for.
func (c *counter) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := slices.DeleteFunc(c.ops, func(op string) bool { return strings.HasPrefix(op, "RELEASE") })
	c.ops = nil
	return strings.Join(ops, " ")
}

// TestRoundTrips pins what is sent for each operation, on a path whose
// directories are known ("warm") and on one whose are not. What was seen before is
// in the caches; TestRoundTripsOnVolumes has what is not.
func TestRoundTrips(t *testing.T) {
	c := &counter{Handler: mem.NewFS(nil)}
	fresh := func() *Volume { return mountHandler(t, behindCaches(t, c, "md-cache-timeout 600", "cache-timeout 60")) }
	prepare := fresh()
	must(t, prepare.MkdirAll("a/b/full", 0o755))
	must(t, prepare.WriteFile("a/b/small", []byte("contents"), 0o644))
	must(t, prepare.WriteFile("a/b/big", make([]byte, 100_000), 0o644))
	must(t, prepare.WriteFile("a/b/full/x", nil, 0o644))
	must(t, prepare.Symlink("small", "a/b/link"))
	for i := range 3 {
		must(t, prepare.WriteFile(fmt.Sprintf("a/b/file%d", i), nil, 0o644))
	}
	create := func(v *Volume, name string) error {
		f, err := v.Create(name)
		if err != nil {
			return err
		}
		if _, err = f.WriteString("x"); err != nil {
			return err
		}
		return f.Close()
	}
	cold := "LOOKUP LOOKUP " // of a and b
	for _, op := range []struct {
		what string
		do   func(v *Volume) error
		want string
		keep bool // the volume of the step before
	}{
		{"stat", func(v *Volume) error { _, err := v.Stat("a/b/small"); return err }, cold + "LOOKUP", false},
		{"stat, warm", func(v *Volume) error { _, err := v.Stat("a/b/small"); return err }, "", true},
		{"stat of nothing, warm", func(v *Volume) error { v.Stat("a/b/none"); return nil }, "LOOKUP", true},
		{"stat of a directory, warm", func(v *Volume) error { _, err := v.Stat("a/b"); return err }, "", true},
		{"stat of a link", func(v *Volume) error { _, err := v.Stat("a/b/link"); return err }, "LOOKUP READLINK", true},
		{"stat of a link, warm", func(v *Volume) error { _, err := v.Stat("a/b/link"); return err }, "", true},
		{"lstat of a link", func(v *Volume) error { _, err := v.Lstat("a/b/link"); return err }, "", true},
		{"readlink, warm", func(v *Volume) error { _, err := v.Readlink("a/b/link"); return err }, "", true},
		{"read a small file", func(v *Volume) error { _, err := v.ReadFile("a/b/small"); return err }, "", true},
		{"read a larger file", func(v *Volume) error { _, err := v.ReadFile("a/b/big"); return err }, "LOOKUP OPEN READ", true},
		{"open, read, close", func(v *Volume) error {
			f, err := v.Open("a/b/small")
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(io.Discard, f)
			return err
		}, "", true},
		{"mkdir", func(v *Volume) error { return v.Mkdir("a/b/d", 0o755) }, "MKDIR", true},
		{"create in a new directory", func(v *Volume) error { return create(v, "a/b/d/f") }, "CREATE WRITE FLUSH", true},
		{"create exclusively", func(v *Volume) error {
			f, err := v.OpenFile("a/b/excl", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}, "CREATE", true},
		{"create, write, close", func(v *Volume) error { return create(v, "a/b/f1") }, "LOOKUP CREATE WRITE FLUSH", true},
		{"a second one", func(v *Volume) error { return create(v, "a/b/f2") }, "LOOKUP CREATE WRITE FLUSH", true},
		{"a third one", func(v *Volume) error { return create(v, "a/b/f3") }, "CREATE WRITE FLUSH", true},
		{"create of what is there, after three", func(v *Volume) error { return create(v, "a/b/f3") }, "CREATE LOOKUP OPEN WRITE FLUSH", true},
		{"create of what is there", func(v *Volume) error { return create(v, "a/b/f3") }, "OPEN WRITE FLUSH", true},
		{"rename", func(v *Volume) error { return v.Rename("a/b/f1", "a/b/f4") }, "RENAME", true},
		{"link", func(v *Volume) error { return v.Link("a/b/f4", "a/b/f5") }, "LINK", true},
		{"symlink", func(v *Volume) error { return v.Symlink("x", "a/b/l") }, "SYMLINK", true},
		{"chmod", func(v *Volume) error { return v.Chmod("a/b/f4", 0o600) }, "SETATTR", true},
		{"chmod of a directory", func(v *Volume) error { return v.Chmod("a/b", 0o700) }, "SETATTR", true},
		{"getxattr", func(v *Volume) error { v.Getxattr("a/b/f4", "user.x"); return nil }, "LOOKUP GETXATTR", true},
		{"unlink", func(v *Volume) error { return v.Remove("a/b/f4") }, "UNLINK", true},
		{"rmdir", func(v *Volume) error { must(t, v.Remove("a/b/d/f")); c.take(); return v.Remove("a/b/d") }, "RMDIR", true},
		{"mkdirall of what is there", func(v *Volume) error { return v.MkdirAll("a/b/full", 0o755) }, cold + "MKDIR LOOKUP", false},
		{"mkdirall of what is there, warm", func(v *Volume) error { return v.MkdirAll("a/b/full", 0o755) }, "", true},
		{"mkdirall of three", func(v *Volume) error { return v.MkdirAll("a/x/y/z", 0o755) }, "LOOKUP MKDIR MKDIR MKDIR", true},
		{"readdir and stat", func(v *Volume) error {
			list, err := v.ReadDir("a/b")
			for _, e := range list {
				e.Info()
			}
			return err
		}, "OPENDIR READDIRP", true},
		{"stat below a listed directory", func(v *Volume) error { _, err := v.Stat("a/b/full/x"); return err }, "LOOKUP", true},
		{"write a large file", func(v *Volume) error { return v.WriteFile("a/b/file0", make([]byte, 3<<20), 0o644) }, "OPEN WRITE WRITE WRITE FLUSH", true},
		{"read it", func(v *Volume) error { _, err := v.ReadFile("a/b/file0"); return err }, "LOOKUP OPEN READ READ READ", true},
		{"copy it out", func(v *Volume) error {
			f, err := v.Open("a/b/file0")
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteTo(&bytes.Buffer{})
			return err
		}, "OPEN READ READ READ", true},
	} {
		v := prepare
		if !op.keep {
			prepare = fresh()
			v = prepare
		}
		c.take()
		if err := op.do(v); err != nil {
			t.Errorf("%s: %v", op.what, err)
		}
		if d := cmp.Diff(op.want, c.take()); d != "" {
			t.Errorf("%s (-want +got):\n%s", op.what, d)
		}
	}
}

// TestStaleEntries has two clients of one volume: what one moves, the other's
// cache must not hide for long, and never once the servers say that an object
// is gone.
func TestStaleEntries(t *testing.T) {
	m := mem.NewFS(nil)
	a, b := mountHandler(t, m), mountHandler(t, m)
	now := time.Now()
	b.m.cache.Now = func() time.Time { return now }
	must(t, a.MkdirAll("x/y", 0o755))
	must(t, a.WriteFile("x/y/f", []byte("1"), 0o644))
	read := func(name, want string) {
		t.Helper()
		if got, err := b.ReadFile(name); string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	read("x/y/f", "1")
	// Removed and made anew: the old gfid is gone, the path is walked again.
	must(t, a.RemoveAll("x"))
	must(t, a.MkdirAll("x/y", 0o755))
	must(t, a.WriteFile("x/y/f", []byte("2"), 0o644))
	read("x/y/f", "2")
	must(t, b.Remove("x/y/f"))
	must(t, b.Mkdir("x/y/d", 0o755))
	must(t, a.Remove("x/y/d"))
	must(t, a.WriteFile("x/y/d", []byte("now a file"), 0o644))
	read("x/y/d", "now a file")
	// Moved away: for a second the path may lead to the old paths.Place.
	must(t, a.WriteFile("x/y/f", []byte("3"), 0o644))
	read("x/y/f", "3")
	must(t, a.Rename("x", "z"))
	must(t, a.MkdirAll("x/y", 0o755))
	must(t, a.WriteFile("x/y/f", []byte("4"), 0o644))
	now = now.Add(time.Second)
	read("x/y/f", "4")
	// A notice from the brick forgets at once.
	must(t, a.Rename("x", "w"))
	must(t, a.MkdirAll("x/y", 0o755))
	must(t, a.WriteFile("x/y/f", []byte("5"), 0o644))
	root, err := a.Stat("/")
	must(t, err)
	b.m.upcall(&fop.Upcall{Kind: fop.UpcallInvalidate, GFID: fop.GFID(root.Sys().(*Stat).GFID), Flags: fop.InvalRename})
	read("x/y/f", "5")
	// Other credentials do not profit from what root has seen.
	c := &counter{Handler: m}
	v := mountHandler(t, c)
	_, err = v.Stat("x/y/f")
	must(t, err)
	c.take()
	_, err = v.As(Cred{UID: 1}).Stat("x/y/f")
	must(t, err)
	if got := c.take(); got != "LOOKUP LOOKUP LOOKUP" {
		t.Errorf("another user sent %s", got)
	}
}
