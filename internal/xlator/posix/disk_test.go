//go:build linux

package posix

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

func (r *rig) names(path string) []string {
	r.t.Helper()
	o := brickfs.At(r.root.fd, path)
	names, err := r.attrs.List(o)
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func parse(t testing.TB, s string) fop.GFID {
	g, err := fop.ParseGFID(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestDiskFormat makes the tree of the golden vectors and compares what is on
// disk with what GlusterFS 10.3 was seen to write.
func TestDiskFormat(t *testing.T) {
	r := newRig(t)
	const d1, sub = "127e55bc-decd-48c0-9d90-41cd63453855", "0f344f5e-7846-46a8-bac7-5aacef98c7bb"
	at := func(g string) fop.Header {
		h := r.head(newFlags, gfidReq(parse(t, g)))
		h.Time.Sec, h.Time.Nsec = 1000000000, 123456789
		return h
	}
	must(r, &fop.Mkdir{Header: at(d1), Parent: fop.RootGFID, Name: "dir1", Mode: 0o755})
	must(r, &fop.Mkdir{Header: at(sub), Parent: parse(t, d1), Name: "sub", Mode: 0o755})
	must(r, &fop.Mkdir{Header: at("177705bb-afe5-4d66-99e9-9983fb5263a0"), Parent: parse(t, sub), Name: "d2", Mode: 0o755})
	const f1 = "de00bbb2-0821-4dd6-bb03-375713e7c3a9"
	must(r, &fop.Mknod{Header: at(f1), Parent: parse(t, d1), Name: "file1", Mode: fop.ModeRegular | 0o644})
	must(r, &fop.Link{Header: r.head(rmFlags), GFID: parse(t, f1), Parent: fop.RootGFID, Name: "hard2"})
	must(r, &fop.Link{Header: r.head(rmFlags), GFID: parse(t, f1), Parent: parse(t, sub), Name: "hard1"})
	must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: parse(t, sub), OldName: "hard1", NewParent: parse(t, sub), NewName: "hardren"})
	must(r, &fop.Symlink{Header: at("693f6777-c3e4-4bfd-9abd-53d4ea0ee298"), Parent: parse(t, d1), Name: "sym1", Target: "../target/of/link"})
	must(r, &fop.Mknod{Header: at("6ac34bf3-13ec-475c-9a6f-7876bd23c965"), Parent: parse(t, d1), Name: "cdev", Mode: fop.ModeChar | 0o600, Rdev: unix.Mkdev(12, 34)})

	for g, target := range map[string]string{
		d1:                                     "../../00/00/00000000-0000-0000-0000-000000000001/dir1",
		"177705bb-afe5-4d66-99e9-9983fb5263a0": "../../0f/34/0f344f5e-7846-46a8-bac7-5aacef98c7bb/d2",
	} {
		if got, err := os.Readlink(r.handlePath(parse(t, g))); err != nil || got != target {
			t.Errorf("handle of %s: %q, %v", g, got, err)
		}
	}
	want := []string{"trusted.gfid", "trusted.gfid2path.4600f350aa2f7f8c", "trusted.gfid2path.562dba4d25ee2b28",
		"trusted.gfid2path.58b8d02fd44acba6", "trusted.glusterfs.mdata"}
	if got := r.names("hard2"); !slices.Equal(got, want) {
		t.Errorf("xattrs of the file with three names: %q", got)
	}
	if v := lgetxattr(t, r.dir+"/hard2", "trusted.gfid2path.562dba4d25ee2b28"); v != sub+"/hardren" {
		t.Errorf("back-pointer %q", v)
	}
	if v := lgetxattr(t, r.dir+"/hard2", "trusted.gfid"); hex.EncodeToString([]byte(v)) != strings.ReplaceAll(f1, "-", "") {
		t.Errorf("gfid %x", v)
	}
	var st unix.Stat_t
	if err := unix.Lstat(r.handlePath(parse(t, f1)), &st); err != nil || st.Nlink != 4 {
		t.Errorf("backend links %d, %v", st.Nlink, err)
	}
	if l := r.lookup(fop.RootGFID, "hard2"); l.Stat.Nlink != 3 || l.Stat.Ino != 13475675357158294441 {
		t.Errorf("seen by clients: %+v", l.Stat)
	}
	if v := lgetxattr(t, r.dir+"/dir1/sym1", "trusted.gfid2path.1dfa797479bd24d4"); v != d1+"/sym1" {
		t.Errorf("back-pointer of the symlink %q", v)
	}
	if err := unix.Lstat(r.dir+"/dir1/sym1", &st); err != nil || st.Nlink != 2 {
		t.Errorf("symlink has %d links, %v", st.Nlink, err)
	}
	mdata := "010000000000000000" + strings.Repeat("000000003b9aca0000000000075bcd15", 3)
	if v := lgetxattr(t, r.dir+"/dir1/cdev", fop.XattrMdata); hex.EncodeToString([]byte(v)) != mdata {
		t.Errorf("mdata %x", v)
	}
	if l := r.lookup(parse(t, d1), "cdev"); l.Stat.Major() != 12 || l.Stat.Minor() != 34 {
		t.Errorf("device %d:%d", l.Stat.Major(), l.Stat.Minor())
	}
	if got := r.names("dir1"); !slices.Equal(got, []string{"trusted.gfid", "trusted.glusterfs.mdata"}) {
		t.Errorf("xattrs of a directory: %q", got)
	}
	for path, mode := range map[string]uint32{"": 0o755, ".glusterfs": 0o600, ".glusterfs/5a": 0o700, ".glusterfs/landfill": 0o755, ".glusterfs/unlink": 0o600, ".glusterfs/12/7e": 0o700} {
		if err := unix.Lstat(filepath.Join(r.dir, path), &st); err != nil || st.Mode&0o7777 != mode {
			t.Errorf("%q has mode %o, %v; want %o", path, st.Mode&0o7777, err, mode)
		}
	}
	if got, err := os.Readlink(r.handlePath(fop.RootGFID)); err != nil || got != "../../.." {
		t.Errorf("handle of the root: %q, %v", got, err)
	}
	paths := must(r, &fop.Getxattr{GFID: parse(t, f1), Name: "glusterfs.gfidtopath"}).Dict.Text("glusterfs.gfidtopath")
	if p := strings.Split(paths, ":"); !slices.Contains(p, "/dir1/file1") || !slices.Contains(p, "/hard2") || !slices.Contains(p, "/dir1/sub/hardren") || len(p) != 3 {
		t.Errorf("gfidtopath %q", paths)
	}
}

// TestForeignTree serves a tree that was written by hand, without any of the
// directories that a brick process makes at its start.
func TestForeignTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	d, f := fop.GFID{1, 2, 15: 3}, fop.GFID{4, 5, 15: 6}
	ok(os.MkdirAll(dir+"/d", 0o755))
	ok(os.MkdirAll(dir+"/.glusterfs/01/02", 0o700))
	ok(os.MkdirAll(dir+"/.glusterfs/04/05", 0o700))
	ok(unix.Setxattr(dir, fop.KeyVolumeID, testVolume[:], 0))
	ok(unix.Setxattr(dir+"/d", fop.XattrGFID, d[:], 0))
	ok(os.Symlink(brickfs.DirTarget(fop.RootGFID, "d"), dir+"/.glusterfs/"+brickfs.Handle(d)))
	ok(os.WriteFile(dir+"/d/f", []byte("hello"), 0o644))
	ok(unix.Setxattr(dir+"/d/f", fop.XattrGFID, f[:], 0))
	ok(unix.Setxattr(dir+"/d/f", fop.XattrMdata, fop.AppendMdata(nil, fop.Mdata{Atime: fop.Time{Sec: 1}, Mtime: fop.Time{Sec: 2}, Ctime: fop.Time{Sec: 3}}), 0))
	ok(os.Link(dir+"/d/f", dir+"/.glusterfs/"+brickfs.Handle(f)))
	r := newRigIn(t, dir, nil)
	if l := r.lookup(d, "f"); l.Stat.GFID != f || l.Stat.Mtime.Sec != 2 || l.Stat.Ctime.Sec != 3 {
		t.Fatalf("%+v", l.Stat)
	}
	if got := r.content(f); got != "hello" {
		t.Fatalf("content %q", got)
	}
	must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: fop.RootGFID, OldName: "d", NewParent: fop.RootGFID, NewName: "e"})
	if got, err := os.Readlink(r.handlePath(d)); err != nil || got != brickfs.DirTarget(fop.RootGFID, "e") {
		t.Fatalf("handle after rename: %q, %v", got, err)
	}
	must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "f"})
	must(r, &fop.Rmdir{Header: r.head(rmFlags), Parent: fop.RootGFID, Name: "e"})
	for _, g := range []fop.GFID{d, f} {
		if _, err := os.Lstat(r.handlePath(g)); !os.IsNotExist(err) {
			t.Errorf("handle of %v after removal: %v", g, err)
		}
	}
}

// TestDeep goes far below the depth that path names can reach, and 40 levels of
// symbolic links.
func TestDeep(t *testing.T) {
	r := newRig(t)
	r.dirs.init(64) // most of it must not be open
	at := fop.RootGFID
	name := strings.Repeat("n", 100)
	var chain []fop.GFID
	for range 300 {
		at = r.mkdir(at, name)
		chain = append(chain, at)
	}
	f := r.create(at, "leaf", "deep")
	r.reopen()
	if l := r.lookup(at, "leaf"); l.Stat.GFID != f {
		t.Fatalf("%+v", l.Stat)
	}
	path := must(r, &fop.Getxattr{GFID: f, Name: "glusterfs.gfidtopath"}).Dict.Text("glusterfs.gfidtopath")
	if len(path) != 300*101+5 {
		t.Fatalf("path of %d bytes", len(path))
	}
	must(r, &fop.Setxattr{GFID: at, Dict: fop.NewDict(fop.Pair{Key: "user.a", Val: fop.Str("b")})})
	must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: at, OldName: "leaf", NewParent: fop.RootGFID, NewName: "leaf"})
	// A rename near the root leaves everything below reachable, cached or not.
	must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: fop.RootGFID, OldName: name, NewParent: fop.RootGFID, NewName: "moved"})
	must(r, &fop.Stat{GFID: at})
	r.reopen()
	must(r, &fop.Stat{GFID: at})
	for i := len(chain) - 1; i > 0; i-- {
		must(r, &fop.Rmdir{Header: r.head(rmFlags), Parent: chain[i-1], Name: name})
	}
}

func TestUnlinkWhileOpen(t *testing.T) {
	r := newRig(t)
	g := r.create(fop.RootGFID, "f", "still here")
	one, two := &fop.Fd{}, &fop.Fd{}
	must(r, &fop.Open{GFID: g, Flags: fop.ORdwr, Fd: one})
	if x := must(r, &fop.Stat{Header: r.head(0, fop.Pair{Key: fop.KeyOpenFdCount, Val: fop.Int(0)}), GFID: g}).XData; x.Int(fop.KeyOpenFdCount) != 1 {
		t.Errorf("open files: %d", x.Int(fop.KeyOpenFdCount))
	}
	fails(r, syscall.EBUSY, &fop.Unlink{Header: r.head(rmFlags, fop.Pair{Key: "dont-unlink-for-open-fd", Val: fop.Int(1)}), Parent: fop.RootGFID, Name: "f"})
	must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: fop.RootGFID, Name: "f"})
	kept := filepath.Join(r.dir, brickfs.Meta, brickfs.Unlinked, g.String())
	if _, err := os.Stat(kept); err != nil {
		t.Fatal(err)
	}
	if s := must(r, &fop.Fstat{GFID: g, Fd: one}); s.Stat.Nlink != 0 {
		t.Errorf("links %d", s.Stat.Nlink)
	}
	if got := r.content(g); got != "still here" {
		t.Errorf("read without fd: %q", got)
	}
	must(r, &fop.Open{GFID: g, Flags: fop.ORdonly, Fd: two})
	must(r, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: "user.a", Val: fop.Str("b")})})
	must(r, &fop.Release{Fd: one})
	if got := string(must(r, &fop.Read{GFID: g, Fd: two, Size: 100}).Data); got != "still here" {
		t.Errorf("read: %q", got)
	}
	must(r, &fop.Release{Fd: two})
	if _, err := os.Stat(kept); !os.IsNotExist(err) {
		t.Errorf("after the last release: %v", err)
	}
	fails(r, syscall.ESTALE, &fop.Stat{GFID: g})
	if _, held := r.inodes.count(); held != 0 {
		t.Errorf("%d inodes are still held", held)
	}

	// The next start removes what a crash left.
	g = r.create(fop.RootGFID, "f", "x")
	must(r, &fop.Open{GFID: g, Fd: one})
	must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: fop.RootGFID, Name: "f"})
	r.reopen()
	if left, err := os.ReadDir(filepath.Dir(kept)); err != nil || len(left) != 0 {
		t.Errorf("after restart: %v, %v", left, err)
	}
}

func TestReserveAndStatfs(t *testing.T) {
	r := newRig(t, "reserve", "100%", "shared-brick-count", "2")
	h := r.head(newFlags, gfidReq(fop.NewGFID()))
	h.Cred.PID = 77
	fails(r, syscall.ENOSPC, &fop.Mkdir{Header: h, Parent: fop.RootGFID, Name: "d", Mode: 0o755})
	h.Cred.PID = fop.PIDSelfHeal
	must(r, &fop.Mkdir{Header: h, Parent: fop.RootGFID, Name: "d", Mode: 0o755})
	s := must(r, &fop.StatfsReq{GFID: fop.RootGFID}).Statfs
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		t.Fatal(err)
	}
	if s.Bfree != 0 || s.Bavail != 0 || s.Blocks != st.Blocks/2 || s.Namemax != 255 {
		t.Errorf("%+v", s)
	}
	for text, want := range map[string]uint64{"1": 10, "1%": 10, "0": 0, "99.5": 995, "4096": 1, "1MB": 256} {
		var o settings
		if err := o.parseReserve(text); err != nil || o.reserved(1000, 4096) != want {
			t.Errorf("reserve %q keeps %d of 1000 blocks, %v; want %d", text, o.reserved(1000, 4096), err, want)
		}
	}
	if err := (&settings{}).parseReserve("lots"); err == nil {
		t.Error("reserve lots was accepted")
	}
}

func TestLandfill(t *testing.T) {
	r := newRig(t)
	d := r.mkdir(fop.RootGFID, "d")
	sub := r.mkdir(d, "sub")
	f := r.create(sub, "f", "x")
	hard := r.create(sub, "hard", "kept")
	must(r, &fop.Link{Header: r.head(rmFlags), GFID: hard, Parent: fop.RootGFID, Name: "hard"})
	must(r, &fop.Rmdir{Header: r.head(rmFlags), Parent: fop.RootGFID, Name: "d", Flags: 1})
	fails(r, syscall.ESTALE, &fop.Stat{GFID: d})
	if _, err := os.Stat(filepath.Join(r.dir, brickfs.Meta, brickfs.Landfill, d.String())); err != nil {
		t.Fatal(err)
	}
	r.emptyLandfill(t.Context())
	left, err := os.ReadDir(filepath.Join(r.dir, brickfs.Meta, brickfs.Landfill))
	if err != nil || len(left) != 0 {
		t.Fatalf("left in the landfill: %v, %v", left, err)
	}
	for _, g := range []fop.GFID{d, sub, f} {
		if _, err := os.Lstat(r.handlePath(g)); !os.IsNotExist(err) {
			t.Errorf("handle of %v: %v", g, err)
		}
	}
	if got := r.content(hard); got != "kept" {
		t.Errorf("content of the file with another name: %q", got)
	}
}

func TestHealth(t *testing.T) {
	r := newRig(t)
	if err := r.checkHealth(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(r.dir, brickfs.Meta, brickfs.HealthCheck))
	if err != nil {
		t.Fatal(err)
	}
	when, err := time.Parse("2006-01-02 15:04:05 -0700", string(b))
	if err != nil || len(b) != 25 || time.Since(when) > time.Minute {
		t.Errorf("%q, %v", b, err)
	}
	// A sick brick says so.
	if err := os.Remove(filepath.Join(r.dir, brickfs.Meta, brickfs.HealthCheck)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, brickfs.Meta, brickfs.HealthCheck), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Reconfigure(map[string]string{"health-check-interval": "0"}); err != nil {
		t.Fatal(err)
	}
	opt := *r.opt.Load()
	opt.healthEvery = time.Millisecond
	r.opt.Store(&opt)
	events := make(chan fop.Event, 10)
	r.notify = func(e fop.Event) { events <- e }
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), r.dir) {
		t.Errorf("Run: %v", err)
	}
	if e := <-events; e.Kind != fop.EventChildUp {
		t.Errorf("first event %+v", e)
	}
	if e := <-events; e.Kind != fop.EventChildDown || e.Err == nil {
		t.Errorf("second event %+v", e)
	}
}

func TestDirectIO(t *testing.T) {
	r := newRig(t)
	g := r.create(fop.RootGFID, "f", "")
	fd := &fop.Fd{}
	if _, err := call(r, &fop.Open{GFID: g, Flags: fop.ORdwr | fop.ODirect, Fd: fd}); err != nil {
		t.Skip("no O_DIRECT here:", err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 512)
	must(r, &fop.Write{GFID: g, Fd: fd, Data: data, Flags: fop.ODirect})
	into := make([]byte, 8192)[:8192:8192]
	if got := must(r, &fop.Read{GFID: g, Fd: fd, Size: 8192, Into: into}); !bytes.Equal(got.Data, data) || &got.Data[0] != &into[0] || !got.EOF {
		t.Error("read differs, or did not use the buffer")
	}
	if got := must(r, &fop.Read{GFID: g, Size: 4096, Offset: 4096, Flags: fop.ODirect}); !bytes.Equal(got.Data, data[4096:]) {
		t.Error("anonymous read differs")
	}
	must(r, &fop.Release{Fd: fd})
}
