package gfidaccess

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"
	"testing"

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

func newAccess(t testing.TB) fop.Handler {
	t.Helper()
	h, err := New(xlator.Config{Children: []xlator.Child{{Handler: mem.NewFS(nil)}}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAlias(t *testing.T) {
	for range 1000 {
		g := fop.NewGFID()
		a := alias(g)
		if a == g || !isAlias(a) || isAlias(g) || real(a) != g || real(g) != g {
			t.Fatalf("%v is shown as %v, which stands for %v", g, a, real(a))
		}
	}
	if a := alias(fop.RootGFID); !isAlias(a) || real(a) != fop.RootGFID {
		t.Errorf("the root is shown as %v", a)
	}
	odd := fop.GFID{6: 0xc0, 8: 0x01}
	if !isAlias(odd) || alias(odd) != odd {
		t.Errorf("%v is shown as %v", odd, alias(odd))
	}
}

// tree is /d/sub and /d/f.
type tree struct {
	v              *volume.Volume
	d, sub, f      fop.Iatt
	gfids, virtual fop.Iatt // .gfid and .gfid/<d>
}

func newTree(t *testing.T) *tree {
	t.Helper()
	k := &tree{v: volume.New(newAccess(t))}
	var err error
	must := func(a fop.Iatt, e error) fop.Iatt {
		t.Helper()
		if e != nil {
			t.Fatal(e)
		}
		return a
	}
	k.d = must(k.v.Mkdir(ctx, root, fop.RootGFID, "d", 0o755, 0))
	k.sub = must(k.v.Mkdir(ctx, root, k.d.GFID, "sub", 0o755, 0))
	var file *volume.File
	if file, k.f, err = k.v.Create(ctx, root, k.d.GFID, "f", fop.ORdwr, 0o644, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(ctx, root, []byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	file.Close(ctx, root)
	k.gfids = must(k.v.Lookup(ctx, root, fop.RootGFID, ".gfid"))
	k.virtual = must(k.v.Lookup(ctx, root, k.gfids.GFID, k.d.GFID.String()))
	return k
}

func TestLookups(t *testing.T) {
	k := newTree(t)
	if k.gfids.GFID != DirGFID || k.gfids.Ino != 13 || !k.gfids.IsDir() {
		t.Errorf(".gfid is %+v", k.gfids)
	}
	if k.virtual.GFID == k.d.GFID || k.virtual.Ino == k.d.Ino || k.virtual.Nlink != k.d.Nlink+1 || k.virtual.Mode != k.d.Mode {
		t.Errorf("the virtual directory is %+v, the real one was %+v", k.virtual, k.d)
	}
	f, err := k.v.Lookup(ctx, root, DirGFID, k.f.GFID.String())
	if err != nil || f.GFID != k.f.GFID || f.Size != 5 {
		t.Errorf("the file is %+v, %v", f, err)
	}
	if f, err = k.v.Lookup(ctx, root, k.virtual.GFID, "f"); err != nil || f.GFID != k.f.GFID {
		t.Errorf("the file by name is %+v, %v", f, err)
	}
	if sub, err := k.v.Lookup(ctx, root, k.virtual.GFID, "sub"); err != nil || real(sub.GFID) != k.sub.GFID || sub.GFID == k.sub.GFID {
		t.Errorf("the directory in it is %v, %v", sub.GFID, err)
	}
	if r, err := k.v.Lookup(ctx, root, DirGFID, fop.RootGFID.String()); err != nil || r.GFID != rootAlias {
		t.Errorf("the root is %v, %v", r.GFID, err)
	}
	for _, a := range []fop.Iatt{k.gfids, k.virtual} {
		if b, err := k.v.LookupGFID(ctx, root, a.GFID); err != nil || b.GFID != a.GFID || b.Ino != a.Ino {
			t.Errorf("a lookup of %v finds %v, %v", a.GFID, b.GFID, err)
		}
		if b, err := k.v.Getattr(ctx, root, a.GFID); err != nil || b.GFID != a.GFID || b.Ino != a.Ino {
			t.Errorf("the attributes of %v are those of %v, %v", a.GFID, b.GFID, err)
		}
	}
	for _, name := range []string{"", "x", fop.NewGFID().String(), DirGFID.String(), k.virtual.GFID.String(), ".gfid"} {
		if name == "" {
			continue
		}
		if _, err := k.v.Lookup(ctx, root, DirGFID, name); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("lookup of %q: %v", name, err)
		}
	}
	// The name means nothing elsewhere.
	if _, err := k.v.Lookup(ctx, root, k.d.GFID, ".gfid"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("lookup of d/.gfid: %v", err)
	}
}

// TestChanges changes the directory through the virtual one.
func TestChanges(t *testing.T) {
	k := newTree(t)
	v, dir := k.v, k.virtual.GFID
	check := func(what string, err error, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	made, err := v.Mkdir(ctx, root, dir, "made", 0o755, 0)
	check("mkdir", err, nil)
	if !isAlias(made.GFID) {
		t.Errorf("mkdir made %v", made.GFID)
	}
	file, _, err := v.Create(ctx, root, dir, "new", fop.ORdwr, 0o644, 0)
	check("create", err, nil)
	file.Close(ctx, root)
	_, err = v.Symlink(ctx, root, dir, "sl", "x")
	check("symlink", err, nil)
	_, err = v.Mknod(ctx, root, dir, "fifo", fop.ModeFIFO|0o600, 0, 0)
	check("mknod", err, nil)
	_, err = v.Link(ctx, root, k.f.GFID, dir, "hard")
	check("link", err, nil)
	_, err = v.Rename(ctx, root, dir, "new", dir, "newer")
	check("rename", err, nil)
	check("unlink", v.Unlink(ctx, root, dir, "sl"), nil)
	check("rmdir", v.Rmdir(ctx, root, dir, "made"), nil)
	a, err := v.Setattr(ctx, root, dir, fop.SetMode, fop.Iatt{Mode: 0o700})
	check("chmod", err, nil)
	if a.GFID != dir {
		t.Errorf("chmod tells of %v", a.GFID)
	}
	check("setxattr", v.Setxattr(ctx, root, dir, "user.a", []byte("b"), 0), nil)
	if b, err := v.Getxattr(ctx, root, k.d.GFID, "user.a"); err != nil || string(b) != "b" {
		t.Errorf("user.a is %q, %v", b, err)
	}
	_, err = v.Statfs(ctx, root, dir)
	check("statfs", err, nil)
	check("access", v.Access(ctx, root, dir, 4), nil)

	d, err := v.Opendir(ctx, root, k.d.GFID)
	check("opendir", err, nil)
	es, _, err := d.Readdirp(ctx, root, 0, 1<<16)
	check("readdir", err, nil)
	d.Close(ctx, root)
	names := map[string]bool{}
	for _, e := range es {
		names[e.Name] = true
	}
	for name, want := range map[string]bool{"f": true, "hard": true, "newer": true, "new": false, "sl": false, "made": false, "fifo": true, "sub": true} {
		if names[name] != want {
			t.Errorf("%s is there: %v", name, names[name])
		}
	}
	if now, err := v.Getattr(ctx, root, k.d.GFID); err != nil || now.Mode&0o777 != 0o700 {
		t.Errorf("mode %o, %v", now.Mode, err)
	}
}

func TestRefusals(t *testing.T) {
	k := newTree(t)
	v := k.v
	is := func(what string, err error, want syscall.Errno) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	g := k.f.GFID.String()
	for _, in := range []struct {
		dir  fop.GFID
		name string
	}{{DirGFID, g}, {DirGFID, "x"}, {fop.RootGFID, ".gfid"}} {
		_, err := v.Mkdir(ctx, root, in.dir, in.name, 0o755, 0)
		is("mkdir", err, syscall.EPERM)
		_, _, err = v.Create(ctx, root, in.dir, in.name, fop.ORdwr, 0o644, 0)
		is("create", err, syscall.EPERM)
		_, err = v.Symlink(ctx, root, in.dir, in.name, "x")
		is("symlink", err, syscall.EPERM)
		_, err = v.Mknod(ctx, root, in.dir, in.name, fop.ModeFIFO, 0, 0)
		is("mknod", err, syscall.EPERM)
		_, err = v.Link(ctx, root, k.f.GFID, in.dir, in.name)
		is("link", err, syscall.EPERM)
		is("unlink", v.Unlink(ctx, root, in.dir, in.name), syscall.EPERM)
		is("rmdir", v.Rmdir(ctx, root, in.dir, in.name), syscall.EPERM)
		_, err = v.Rename(ctx, root, in.dir, in.name, k.d.GFID, "y")
		is("rename away", err, syscall.EPERM)
		_, err = v.Rename(ctx, root, k.d.GFID, "f", in.dir, in.name)
		is("rename into", err, syscall.EPERM)
	}
	for _, dir := range []fop.GFID{DirGFID, k.virtual.GFID} {
		_, err := v.Opendir(ctx, root, dir)
		is("opendir", err, syscall.ENOTSUP)
	}
	_, err := v.Listxattr(ctx, root, DirGFID)
	is("listxattr", err, syscall.ENOTSUP)
	_, err = v.Setattr(ctx, root, DirGFID, fop.SetMode, fop.Iatt{})
	is("chmod", err, syscall.EPERM)
}

func value(t *testing.T, uid uint32, g fop.GFID, mode uint32, name string, rest ...any) []byte {
	t.Helper()
	b := binary.BigEndian.AppendUint32(nil, uid)
	b = binary.BigEndian.AppendUint32(b, 7)
	b = append(b, g.String()+"\x00"...)
	b = binary.BigEndian.AppendUint32(b, mode)
	b = append(b, name+"\x00"...)
	for _, r := range rest {
		switch r := r.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(r))
		case string:
			b = append(b, r+"\x00"...)
		}
	}
	return b
}

func TestNewFile(t *testing.T) {
	k := newTree(t)
	set := func(c *fop.Cred, on fop.GFID, key string, b []byte) error { return k.v.Setxattr(ctx, c, on, key, b, 0) }
	for _, c := range []struct {
		name string
		mode uint32
		rest []any
		want uint32
	}{
		{"file", fop.ModeRegular, []any{0o666, 0, 0o22}, fop.ModeRegular | 0o644},
		{"fifo", fop.ModeFIFO, []any{0o600, 0, 0}, fop.ModeFIFO | 0o600},
		{"dir", fop.ModeDir, []any{0o777, 0o22}, fop.ModeDir | 0o755},
		{"link", fop.ModeSymlink, []any{"target"}, fop.ModeSymlink | 0o777},
	} {
		for _, on := range []fop.GFID{k.virtual.GFID, k.d.GFID} {
			g := fop.NewGFID()
			if err := set(root, on, keyNewFile, value(t, 0, g, c.mode|0o700, c.name, c.rest...)); err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			a, err := k.v.Lookup(ctx, root, k.d.GFID, c.name)
			if err != nil || a.GFID != g || a.Mode != c.want || a.GID != 7 {
				t.Errorf("%s is %v, mode %o, gid %d, %v", c.name, a.GFID, a.Mode, a.GID, err)
			}
			if c.mode == fop.ModeDir {
				err = k.v.Rmdir(ctx, root, k.d.GFID, c.name)
			} else {
				err = k.v.Unlink(ctx, root, k.d.GFID, c.name)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	good := value(t, 0, fop.NewGFID(), fop.ModeRegular, "x", 0o600, 0, 0)
	for what, b := range map[string][]byte{
		"nothing": {}, "too short": good[:len(good)-1], "too long": append(good[:len(good):len(good)], 0),
		"no type": value(t, 0, fop.NewGFID(), 0o600, "x", 0o600, 0, 0), "no gfid": value(t, 0, fop.GFID{}, fop.ModeRegular, "x", 0o600, 0, 0),
		"a path": value(t, 0, fop.NewGFID(), fop.ModeRegular, "a/b", 0o600, 0, 0), "dots": value(t, 0, fop.NewGFID(), fop.ModeRegular, "..", 0o600, 0, 0),
	} {
		if err := set(root, k.virtual.GFID, keyNewFile, b); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := set(&fop.Cred{UID: 1000}, k.virtual.GFID, keyNewFile, good); !errors.Is(err, syscall.EPERM) {
		t.Errorf("an ordinary user: %v", err)
	}
	heal := func(g fop.GFID, name string) error {
		return set(root, k.virtual.GFID, keyHeal, []byte(g.String()+"\x00"+name+"\x00"))
	}
	if err := heal(k.f.GFID, "f"); err != nil {
		t.Error(err)
	}
	if err := heal(k.f.GFID, "missing"); !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
		t.Errorf("healing what is not there: %v", err)
	}
	if err := heal(k.f.GFID, "a/b"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("healing a path: %v", err)
	}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newAccess(t) }, conformance.Options{})
}

func FuzzNewFile(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x0200000000-0000-4000-8000-000000000001\x00\x00\x00\x81\xa4name\x00\x00\x00\x01\xa4\x00\x00\x00\x00\x00\x00\x00\x12"))
	f.Add([]byte("00000000-0000-4000-8000-000000000001\x00name\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := parseNewFile(b); ok && (n.name == "" || n.gfid.IsZero()) {
			t.Errorf("%q has no name or GFID", b)
		}
		if g, name, ok := parseHeal(b); ok && (name == "" || g.IsZero() || len(b) != 38+len(name)) {
			t.Errorf("%q names %q", b, name)
		}
	})
}
