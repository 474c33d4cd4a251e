package meta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

var (
	ctx  = context.Background()
	root = &fop.Cred{}
)

// toyGraph is a graph of two volumes.
type toyGraph struct{ brick *toyBrick }

type toyBrick struct {
	fop.Handler
	up bool
}

func (b *toyBrick) Dump(w io.Writer) {
	fmt.Fprintf(w, "[toy.brick.priv]\nup=%t\nsum=a=b\n\n", b.up)
}

func (b *toyBrick) Calls() []xlator.Call {
	return []xlator.Call{{What: "LOOKUP", Since: time.Unix(12, 5e8)}}
}

func (g toyGraph) Name() string    { return "host-1-now" }
func (g toyGraph) Volfile() string { return "volume brick\nend-volume\n" }
func (g toyGraph) Volumes() []xlator.Volume {
	return []xlator.Volume{
		{Name: "meta-autoload", Type: "meta", Subvolumes: []string{"brick"}},
		{Name: "brick", Type: "toy/brick", Options: []xlator.Setting{{Key: "depth", Value: "3"}}, Handler: g.brick},
	}
}

func newMeta(t testing.TB, env *xlator.Env) (*volume.Volume, *toyBrick) {
	t.Helper()
	b := &toyBrick{Handler: mem.NewFS(nil)}
	h, err := New(xlator.Config{Name: "meta-autoload", Type: "meta", Options: xlator.Options{},
		Children: []xlator.Child{{Name: "brick", Handler: b}}, Graph: toyGraph{b}, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return volume.New(h), b
}

func walk(t testing.TB, v *volume.Volume, path string) fop.Iatt {
	t.Helper()
	a, err := v.LookupGFID(ctx, root, fop.RootGFID)
	for _, name := range strings.Split(path, "/") {
		if err == nil {
			a, err = v.Lookup(ctx, root, a.GFID, name)
		}
		if err == nil && a.IsSymlink() && name == "active" {
			var target string
			if target, err = v.Readlink(ctx, root, a.GFID); err == nil {
				a, err = v.Lookup(ctx, root, gfidOf(".meta/graphs"), target)
			}
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return a
}

func content(t testing.TB, v *volume.Volume, path string) string {
	t.Helper()
	a := walk(t, v, path)
	f, err := v.Open(ctx, root, a.GFID, fop.ORdonly)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	defer f.Close(ctx, root)
	b := make([]byte, 64<<10)
	n, _, err := f.ReadAt(ctx, root, b, 0)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return string(b[:n])
}

func TestContents(t *testing.T) {
	level := new(slog.LevelVar)
	env := &xlator.Env{ProcessUUID: "uuid", LogLevel: level, LogFile: "/var/log/x.log",
		Master: func() xlator.Volume {
			return xlator.Volume{Name: "fuse", Type: "mount/fuse", Options: []xlator.Setting{{Key: "mountpoint", Value: "/mnt"}}}
		}}
	v, b := newMeta(t, env)
	for path, want := range map[string]string{
		".meta/version":                           "{ \n  \"Package Version\": \"10.3\"\n}",
		".meta/process_uuid":                      "uuid\n",
		".meta/measure_latency":                   "0\n",
		".meta/logging/loglevel":                  "7\n",
		".meta/root/type":                         "mount/fuse\n",
		".meta/root/options/mountpoint":           "/mnt\n",
		".meta/graphs/active/volfile":             "volume brick\nend-volume\n",
		".meta/graphs/active/brick/type":          "toy/brick\n",
		".meta/graphs/active/brick/name":          "brick\n",
		".meta/graphs/active/brick/history":       "",
		".meta/graphs/active/brick/profile":       "[brick.latency]\n",
		".meta/graphs/active/brick/private":       "[toy.brick.priv]\nup = false\nsum = a=b\n",
		".meta/graphs/active/brick/options/depth": "3\n",
	} {
		if got := content(t, v, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	b.up = true
	if got := content(t, v, ".meta/graphs/active/brick/private"); !strings.Contains(got, "up = true\n") {
		t.Errorf("private does not change: %q", got)
	}
	if got := content(t, v, ".meta/frames"); !strings.Contains(got, `"Type": "LOOKUP"`) || !strings.Contains(got, `"Call_Count": 1`) || !strings.Contains(got, `"Creation_time": 12.5`) {
		t.Errorf("frames: %s", got)
	}
	for path, target := range map[string]string{
		".meta/graphs/active/top": "brick", ".meta/logging/logfile": "/var/log/x.log", ".meta/graphs/active/meta-autoload/subvolumes/0": "../../brick",
	} {
		a := walk(t, v, path)
		got, err := v.Readlink(ctx, root, a.GFID)
		if path == ".meta/graphs/active/top" {
			target = "meta-autoload"
		}
		if err != nil || got != target || a.Size != uint64(len(target)) {
			t.Errorf("%s -> %q, size %d, %v", path, got, a.Size, err)
		}
	}
}

func TestListings(t *testing.T) {
	v, _ := newMeta(t, nil)
	names := func(g fop.GFID, size uint32) (all []string) {
		t.Helper()
		d, err := v.Opendir(ctx, root, g)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close(ctx, root)
		for off, eof := uint64(0), false; !eof; {
			var es []fop.Dirent
			if es, eof, err = d.Readdirp(ctx, root, off, size); err != nil {
				t.Fatal(err)
			}
			for _, e := range es {
				all = append(all, e.Name)
				off = e.Off
				if e.Name[0] != '.' && e.Stat.Mode>>12 != e.Type {
					t.Errorf("%s: type %d, mode %o", e.Name, e.Type, e.Stat.Mode)
				}
			}
		}
		return all
	}
	if all := names(fop.RootGFID, 4096); strings.Contains(strings.Join(all, " "), ".meta") {
		t.Errorf("the root lists %q", all)
	}
	want := ". .. cmdline frames graphs logging mallinfo measure_latency process_uuid version"
	for _, size := range []uint32{1, 300, 1 << 20} {
		if got := strings.Join(names(walk(t, v, ".meta").GFID, size), " "); got != want {
			t.Errorf("in pieces of %d: %s", size, got)
		}
	}
	if got := strings.Join(names(walk(t, v, ".meta/graphs/active/brick").GFID, 4096), " "); got != ". .. history meminfo name options private profile subvolumes type view" {
		t.Errorf("a volume has %s", got)
	}
}

func TestWriting(t *testing.T) {
	level := new(slog.LevelVar)
	v, _ := newMeta(t, &xlator.Env{LogLevel: level})
	write := func(path, s string) error {
		f, err := v.Open(ctx, root, walk(t, v, path).GFID, fop.ORdwr|fop.OTrunc)
		if err != nil {
			return err
		}
		defer f.Close(ctx, root)
		if _, err := v.Truncate(ctx, root, f.Fd.GFID, 0); err != nil {
			return err
		}
		n, err := f.WriteAt(ctx, root, []byte(s), 0)
		if err == nil && n != len(s) {
			t.Errorf("wrote %d of %q to %s", n, s, path)
		}
		return err
	}
	for _, c := range []struct {
		path, text, then string
		err              error
	}{
		{".meta/logging/loglevel", "8\n", "8\n", nil},
		{".meta/logging/loglevel", "WARNING", "5\n", nil},
		{".meta/logging/loglevel", "0", "0\n", nil},
		{".meta/logging/loglevel", "10\n", "0\n", syscall.EINVAL},
		{".meta/logging/loglevel", strings.Repeat("9", 5000), "0\n", syscall.EFBIG},
		{".meta/measure_latency", "1\n", "1\n", nil},
		{".meta/measure_latency", "perhaps\n", "1\n", syscall.EINVAL},
		{".meta/version", "x", "", syscall.EPERM},
	} {
		if err := write(c.path, c.text); !errors.Is(err, c.err) {
			t.Errorf("%.20q to %s: %v, want %v", c.text, c.path, err, c.err)
		}
		if got := content(t, v, c.path); c.then != "" && got != c.then {
			t.Errorf("%s is %q after %.20q", c.path, got, c.text)
		}
	}
	if level.Level() <= slog.LevelError {
		t.Errorf("level %v after NONE", level.Level())
	}
	if _, err := v.LookupGFID(ctx, root, fop.RootGFID); err != nil {
		t.Fatal(err)
	}
	if got := content(t, v, ".meta/graphs/active/meta-autoload/profile"); !strings.Contains(got, "meta-autoload.latency.LOOKUP = AVG:") {
		t.Errorf("profile: %q", got)
	}
	v, _ = newMeta(t, nil)
	if err := write(".meta/logging/loglevel", "8"); !errors.Is(err, syscall.EPERM) {
		t.Errorf("the log of somebody else: %v", err)
	}
}

// TestRefusals does everything that must not work to .meta.
func TestRefusals(t *testing.T) {
	v, _ := newMeta(t, nil)
	top, file := walk(t, v, ".meta"), walk(t, v, ".meta/version")
	other, err := v.Mkdir(ctx, root, fop.RootGFID, "d", 0o755, 0)
	if err != nil {
		t.Fatal(err)
	}
	is := func(what string, err error, want syscall.Errno) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	_, err = v.Mkdir(ctx, root, fop.RootGFID, ".meta", 0o755, 0)
	is("mkdir", err, syscall.EEXIST)
	_, _, err = v.Create(ctx, root, fop.RootGFID, ".meta", fop.ORdwr, 0o644, 0)
	is("create", err, syscall.EEXIST)
	_, err = v.Symlink(ctx, root, fop.RootGFID, ".meta", "x")
	is("symlink", err, syscall.EEXIST)
	is("rmdir", v.Rmdir(ctx, root, fop.RootGFID, ".meta"), syscall.EPERM)
	is("unlink", v.Unlink(ctx, root, top.GFID, "version"), syscall.EPERM)
	_, err = v.Rename(ctx, root, fop.RootGFID, "d", fop.RootGFID, ".meta")
	is("rename onto", err, syscall.EPERM)
	_, err = v.Rename(ctx, root, fop.RootGFID, "d", top.GFID, "x")
	is("rename into", err, syscall.EPERM)
	_, err = v.Rename(ctx, root, fop.RootGFID, ".meta", fop.RootGFID, "x")
	is("rename away", err, syscall.EPERM)
	_, err = v.Link(ctx, root, file.GFID, fop.RootGFID, "x")
	is("link", err, syscall.EPERM)
	_, err = v.Mkdir(ctx, root, top.GFID, "x", 0o755, 0)
	is("mkdir inside", err, syscall.EPERM)
	_, err = v.Setattr(ctx, root, file.GFID, fop.SetMode, fop.Iatt{Mode: 0o777})
	is("chmod", err, syscall.EPERM)
	is("setxattr", v.Setxattr(ctx, root, file.GFID, "user.a", nil, 0), syscall.EPERM)
	_, err = v.Getxattr(ctx, root, file.GFID, "user.a")
	is("getxattr", err, syscall.ENODATA)
	if names, err := v.Listxattr(ctx, root, top.GFID); err != nil || len(names) > 0 {
		t.Errorf("listxattr: %q, %v", names, err)
	}
	is("access", v.Access(ctx, root, file.GFID, 2), syscall.EACCES)
	_, err = v.Lookup(ctx, root, top.GFID, "nothing")
	is("lookup", err, syscall.ENOENT)
	_, err = v.Lookup(ctx, root, file.GFID, "nothing")
	is("lookup below a file", err, syscall.ENOTDIR)
	_, err = v.Open(ctx, root, top.GFID, fop.ORdonly)
	is("open of a directory", err, syscall.EISDIR)
	_, err = v.Opendir(ctx, root, file.GFID)
	is("opendir of a file", err, syscall.ENOTDIR)
	_, err = v.Getattr(ctx, root, gfidOf(".meta/nothing"))
	is("an object that is not there", err, syscall.ESTALE)
	if _, err := v.Statfs(ctx, root, file.GFID); err != nil {
		t.Errorf("statfs: %v", err)
	}
	// The name means nothing elsewhere.
	a, err := v.Mkdir(ctx, root, other.GFID, ".meta", 0o755, 0)
	if err != nil || isMeta(a.GFID) {
		t.Errorf("mkdir d/.meta: %v", err)
	}
}

// TestEveryFop sends each fop about an object of .meta: none gets through to the
// brick, which does not know it, or does harm.
func TestEveryFop(t *testing.T) {
	b := &toyBrick{Handler: mem.NewFS(nil)}
	through := fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		if g, _ := fop.Target(req); isMeta(g) {
			t.Errorf("%v of .meta reached the brick", req.Op())
		}
		return b.Do(ctx, req)
	})
	h, err := New(xlator.Config{Name: "meta-autoload", Options: xlator.Options{}, Children: []xlator.Child{{Handler: through}}, Graph: toyGraph{b}})
	if err != nil {
		t.Fatal(err)
	}
	m := h.(*meta)
	for g := range m.load().all {
		for op := fop.Op(1); op < fop.OpCount; op++ {
			req := fop.NewRequest(op)
			if req == nil || op == fop.OpLookup || op == fop.OpIpc {
				continue
			}
			aim(req, g)
			if reply, err := fop.Start(ctx, h, req).Wait(); reply == nil && err == nil {
				t.Errorf("%v: no reply and no error", op)
			}
		}
	}
}

// aim has a request be about g.
func aim(req fop.Request, g fop.GFID) {
	switch r := req.(type) {
	case *fop.Stat:
		r.GFID = g
	case *fop.Readlink:
		r.GFID = g
	case *fop.Open:
		r.GFID = g
	case *fop.Opendir:
		r.GFID = g
	case *fop.Read:
		r.GFID, r.Size = g, 10
	case *fop.Write:
		r.GFID, r.Data = g, []byte("1")
	case *fop.Unlink:
		r.Parent, r.Name = g, "x"
	case *fop.Readdirp:
		r.GFID, r.Size, r.Offset = g, 100, 1<<63
	case *fop.Setattr:
		r.GFID = g
	case *fop.Fallocate:
		r.GFID = g
	case *fop.Xattrop:
		r.GFID = g
	case *fop.Lk:
		r.GFID = g
	case *fop.Inodelk:
		r.GFID = g
	case *fop.Seek:
		r.GFID = g
	case *fop.Rename:
		r.OldParent, r.OldName, r.NewName = g, "a", "b"
	case *fop.CopyFileRange:
		r.GFID = g
	}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler {
		h, err := New(xlator.Config{Name: "meta-autoload", Options: xlator.Options{}, Children: []xlator.Child{{Handler: mem.NewFS(nil)}}})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}, conformance.Options{})
}

func BenchmarkPassing(b *testing.B) {
	v := fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, nil })
	h, err := New(xlator.Config{Options: xlator.Options{}, Children: []xlator.Child{{Handler: v}}})
	if err != nil {
		b.Fatal(err)
	}
	req := &fop.Write{GFID: fop.NewGFID()}
	b.ReportAllocs()
	for b.Loop() {
		h.Do(ctx, req)
	}
}
