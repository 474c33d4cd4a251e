//go:build linux

package posix

import (
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
	"github.com/wythefs/wythe/internal/xlator"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAdopt looks up what a crash left without GFID.
func TestAdopt(t *testing.T) {
	r := newRig(t)
	ok(t, os.WriteFile(filepath.Join(r.dir, "half"), nil, 0o644))
	ok(t, os.Mkdir(filepath.Join(r.dir, "halfdir"), 0o755))
	g := fop.NewGFID()
	// Young ones are hidden: their maker may be at work.
	fails(r, syscall.ENOENT, &fop.Lookup{Header: r.head(0, gfidReq(g)), Parent: fop.RootGFID, Name: "half"})
	fails(r, syscall.ENODATA, &fop.Lookup{Parent: fop.RootGFID, Name: "half"})
	must(r, &fop.Lookup{Header: r.head(0, fop.Pair{Key: "gfidless-lookup", Val: fop.Int(1)}), Parent: fop.RootGFID, Name: "half"})
	for _, e := range must(r, &fop.Readdirp{GFID: fop.RootGFID, Size: 4096}).Entries {
		if e.Name == "half" && (!e.Stat.IsZero() || e.Ino != ^uint64(0)) {
			t.Errorf("readdirp of an entry without gfid: %+v", e)
		}
	}
	// It is asked until the object is old enough: that takes a second, of its own clock.
	adopt := func(name string, g fop.GFID) fop.Iatt {
		for until := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			l, err := call(r, &fop.Lookup{Header: r.head(0, gfidReq(g)), Parent: fop.RootGFID, Name: name})
			if err == nil {
				return l.Stat
			}
			if time.Now().After(until) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if st := adopt("half", g); st.GFID != g || st.Nlink != 1 {
		t.Fatalf("%+v", st)
	}
	must(r, &fop.Stat{GFID: g})
	key, value := brickfs.BackPointer(fop.RootGFID, "half")
	if v := lgetxattr(t, r.dir+"/half", key); v != value {
		t.Errorf("back-pointer %q", v)
	}
	d := fop.NewGFID()
	if st := adopt("halfdir", d); st.GFID != d {
		t.Fatalf("%+v", st)
	}
	r.create(d, "f", "x")
}

// TestMend removes or spoils handles; lookup and readdirp make them again.
func TestMend(t *testing.T) {
	for _, how := range []string{"lookup", "readdirp"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			d := r.mkdir(fop.RootGFID, "d")
			e := r.mkdir(fop.RootGFID, "e")
			f := r.create(fop.RootGFID, "f", "x")
			h := r.create(fop.RootGFID, "h", "y")
			must(r, &fop.Link{GFID: h, Parent: fop.RootGFID, Name: "h2"})
			s := fop.NewGFID()
			must(r, &fop.Symlink{Header: r.head(newFlags, gfidReq(s)), Parent: fop.RootGFID, Name: "s", Target: "../../00/00/00000000-0000-0000-0000-000000000001/d"})
			for _, g := range []fop.GFID{d, e, f, h, s} {
				ok(t, os.Remove(r.handlePath(g)))
			}
			// What an interrupted rename leaves: a handle to the old place.
			ok(t, os.Symlink(brickfs.DirTarget(d, "gone"), r.handlePath(e)))
			r.reopen()
			fails(r, syscall.ESTALE, &fop.Stat{GFID: d})
			fails(r, syscall.ESTALE, &fop.Stat{GFID: e})
			fails(r, syscall.ESTALE, &fop.Stat{GFID: f})
			if how == "lookup" {
				for _, n := range []string{"d", "e", "f", "h", "s"} {
					r.lookup(fop.RootGFID, n)
				}
			} else {
				must(r, &fop.Readdirp{GFID: fop.RootGFID, Size: 1 << 16})
			}
			for name, g := range map[string]fop.GFID{"d": d, "e": e, "f": f, "h": h, "s": s} {
				if a := must(r, &fop.Stat{GFID: g}).Stat; a.GFID != g || !a.IsDir() && a.Nlink == 0 || a.IsSymlink() != (name == "s") {
					t.Errorf("%s: %+v", name, a)
				}
			}
			if got, err := os.Readlink(r.handlePath(e)); err != nil || got != brickfs.DirTarget(fop.RootGFID, "e") {
				t.Errorf("handle of e: %q, %v", got, err)
			}
		})
	}
}

// TestStaleHandle looks up by GFID a directory that is not where its handle
// leads; the handle goes, but not one whose way is only blocked for now.
func TestStaleHandle(t *testing.T) {
	r := newRig(t)
	g := fop.NewGFID()
	ok(t, os.MkdirAll(filepath.Dir(r.handlePath(g)), 0o700))
	ok(t, os.Symlink(brickfs.DirTarget(fop.RootGFID, "nothing"), r.handlePath(g)))
	fails(r, syscall.ENOENT, &fop.Lookup{GFID: g})
	if _, err := os.Lstat(r.handlePath(g)); !os.IsNotExist(err) {
		t.Errorf("stale handle: %v", err)
	}
	d := r.mkdir(fop.RootGFID, "d")
	sub := r.mkdir(d, "sub")
	ok(t, os.Remove(r.handlePath(d)))
	r.reopen()
	fails(r, syscall.ENOENT, &fop.Lookup{GFID: sub})
	r.lookup(fop.RootGFID, "d")
	must(r, &fop.Lookup{GFID: sub})

	// Handles that lead in a circle end.
	a, b := fop.GFID{1, 15: 1}, fop.GFID{1, 15: 2}
	ok(t, os.MkdirAll(filepath.Dir(r.handlePath(a)), 0o700))
	ok(t, os.Symlink(brickfs.DirTarget(b, "x"), r.handlePath(a)))
	ok(t, os.Symlink(brickfs.DirTarget(a, "x"), r.handlePath(b)))
	fails(r, syscall.ESTALE, &fop.Stat{GFID: a})
	fails(r, syscall.ESTALE, &fop.Lookup{Parent: a, Name: "x"})
}

// TestNoWayOut checks that neither names nor symbolic links lead out of the
// volume.
func TestNoWayOut(t *testing.T) {
	r := newRig(t)
	f := r.create(fop.RootGFID, "f", "x")
	d := r.mkdir(fop.RootGFID, "d")
	s := fop.NewGFID()
	must(r, &fop.Symlink{Header: r.head(newFlags, gfidReq(s)), Parent: fop.RootGFID, Name: "s", Target: "/"})
	fails(r, syscall.EPERM, &fop.Lookup{Parent: fop.RootGFID, Name: brickfs.Meta})
	fails(r, syscall.EPERM, &fop.Lookup{Parent: fop.RootGFID, Name: "d/x"})
	fails(r, syscall.EPERM, &fop.Lookup{Parent: f, Name: "x"})
	fails(r, syscall.EPERM, &fop.Lookup{Parent: s, Name: "etc"})
	fails(r, syscall.ESTALE, &fop.Lookup{Parent: fop.NewGFID(), Name: "x"})
	fails(r, syscall.ENAMETOOLONG, &fop.Lookup{Parent: d, Name: strings.Repeat("n", 256)})
	fails(r, syscall.EPERM, &fop.Mkdir{Header: r.head(newFlags, gfidReq(fop.NewGFID())), Parent: fop.RootGFID, Name: brickfs.Meta})
	fails(r, syscall.EPERM, &fop.Rmdir{Parent: fop.RootGFID, Name: brickfs.Meta, Flags: 1})
	fails(r, syscall.EPERM, &fop.Rename{OldParent: fop.RootGFID, OldName: brickfs.Meta, NewParent: d, NewName: "x"})
	fails(r, syscall.EPERM, &fop.Rename{OldParent: fop.RootGFID, OldName: "f", NewParent: fop.RootGFID, NewName: brickfs.Meta})
	fails(r, syscall.ELOOP, &fop.Open{GFID: s, Fd: &fop.Fd{}})
	fails(r, syscall.ELOOP, &fop.Read{GFID: s, Size: 1})
	if l := r.lookup(fop.RootGFID, ".."); l.Stat.GFID != fop.RootGFID {
		t.Errorf(".. of the root: %+v", l.Stat)
	}
	if l := r.lookup(d, ".."); l.Stat.GFID != fop.RootGFID {
		t.Errorf(".. of d: %+v", l.Stat)
	}
	if l := r.lookup(d, "."); l.Stat.GFID != d {
		t.Errorf(". of d: %+v", l.Stat)
	}
	for _, e := range must(r, &fop.Readdirp{GFID: fop.RootGFID, Size: 1 << 16}).Entries {
		if e.Name == ".." && !e.Stat.IsZero() {
			t.Errorf(".. of the root is described: %+v", e.Stat)
		}
	}
}

// TestBadBricks opens directories that cannot be served. Each error names the
// directory, what was found and what to do.
func TestBadBricks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	open := func(dir string, extra ...string) error {
		o := xlator.Options{"directory": dir, "volume-id": testVolume.String()}
		for i := 0; i+1 < len(extra); i += 2 {
			o[extra[i]] = extra[i+1]
		}
		h, err := New(xlator.Config{Name: "posix", Options: o})
		if err == nil {
			h.(*Brick).Close()
		}
		return err
	}
	other := fop.GFID{15: 9}
	for _, c := range []struct {
		name  string
		want  syscall.Errno
		words string
		make  func(dir string) []string
	}{
		{"absent", syscall.ENOENT, "mounted?", func(string) []string { return nil }},
		{"a file", syscall.ENOTDIR, "not a directory", func(d string) []string { ok(t, os.WriteFile(d, nil, 0o600)); return nil }},
		{"no volume", syscall.ENODATA, "does not belong to a volume", func(d string) []string { ok(t, os.Mkdir(d, 0o700)); return nil }},
		{"another volume", syscall.EINVAL, "belongs to another volume", func(d string) []string { ok(t, Create(d, other, CreateOptions{})); return nil }},
		{"not a root", syscall.EINVAL, "not the root of a brick", func(d string) []string {
			ok(t, Create(d, testVolume, CreateOptions{}))
			ok(t, unix.Setxattr(d, fop.XattrGFID, other[:], 0))
			return nil
		}},
		{"root handle elsewhere", syscall.EINVAL, "handle of the root", func(d string) []string {
			ok(t, Create(d, testVolume, CreateOptions{}))
			ok(t, os.MkdirAll(d+"/.glusterfs/00/00", 0o700))
			ok(t, os.Symlink("../..", d+"/.glusterfs/"+brickfs.Handle(fop.RootGFID)))
			return nil
		}},
		{"made by root, wanted rootless", syscall.EINVAL, "rootless", func(d string) []string {
			ok(t, Create(d, testVolume, CreateOptions{}))
			return []string{"wythe-rootless", "on"}
		}},
		{"no directory", syscall.EINVAL, "option directory", func(d string) []string { return []string{"directory", ""} }},
		{"bad option", syscall.EINVAL, "reserve", func(d string) []string { return []string{"reserve", "much"} }},
		{"procfs", syscall.EOPNOTSUPP, "extended attributes", func(d string) []string { return []string{"directory", "/proc"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "brick")
			extra := c.make(dir)
			err := open(dir, extra...)
			if fop.Errno(err) != c.want || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want %v and %q", err, c.want, c.words)
			}
			if len(extra) == 0 && !strings.Contains(err.Error(), dir) {
				t.Errorf("%v does not name %s", err, dir)
			}
		})
	}
}

func TestCreateBrick(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	ok(t, Create(dir+"/a", testVolume, CreateOptions{}))
	ok(t, Create(dir+"/a", testVolume, CreateOptions{})) // again is fine
	other := fop.GFID{15: 9}
	for _, d := range []string{"/a", "/a/inside", "/a/b/c"} {
		if err := Create(dir+d, other, CreateOptions{}); fop.Errno(err) != syscall.EBUSY || !strings.Contains(err.Error(), dir+"/a") {
			t.Errorf("%s: %v", d, err)
		}
	}
	ok(t, Create(dir+"/a", other, CreateOptions{Force: true}))
	ok(t, Create(dir+"/r", testVolume, CreateOptions{Rootless: true}))
	if err := Create(dir+"/r/x", other, CreateOptions{}); fop.Errno(err) != syscall.EBUSY {
		t.Errorf("inside a rootless brick: %v", err)
	}
	if err := Create(dir+"/z", fop.GFID{}, CreateOptions{}); fop.Errno(err) != syscall.EINVAL {
		t.Errorf("no volume: %v", err)
	}
	// Two bricks on one directory in one process share it; an open file of the
	// first survives the start of the second.
	r := newRigIn(t, dir+"/two", nil)
	g := r.create(fop.RootGFID, "f", "x")
	fd := &fop.Fd{}
	must(r, &fop.Open{GFID: g, Fd: fd})
	must(r, &fop.Unlink{Parent: fop.RootGFID, Name: "f"})
	s := &rig{t: t, dir: r.dir}
	s.open()
	if got := r.content(g); got != "x" {
		t.Errorf("content %q", got)
	}
	s.Brick.Close()
	must(r, &fop.Release{Fd: fd})
}

// TestHealerRename: a file loses names, one after the other, by being renamed to
// one name in the self-heal daemon's directory. For everybody else a rename
// between two names of a file does nothing.
func TestHealerRename(t *testing.T) {
	r := newRig(t)
	anon := r.mkdir(fop.RootGFID, ".glusterfs-anonymous-inode-x")
	d := r.mkdir(fop.RootGFID, "d")
	f := r.create(d, "a", "x")
	for _, name := range []string{"b", "c"} {
		must(r, &fop.Link{GFID: f, Parent: d, Name: name})
	}
	move := func(pid int32, from fop.GFID, name string) *fop.RenameReply {
		t.Helper()
		h := r.head(0)
		h.Cred.PID = pid
		return must(r, &fop.Rename{Header: h, OldParent: from, OldName: name, NewParent: anon, NewName: f.String()})
	}
	check := func(links uint32, want ...string) {
		t.Helper()
		var got []string
		for _, name := range []string{"a", "b", "c"} {
			if _, err := os.Lstat(filepath.Join(r.dir, "d", name)); err == nil {
				got = append(got, name)
			}
			key, _ := brickfs.BackPointer(d, name)
			var b [256]byte
			n, err := unix.Lgetxattr(r.handlePath(f), key, b[:])
			if (err == nil && n > 0) != slices.Contains(want, name) {
				t.Errorf("back-pointer to %s: %q, %v", name, b[:max(n, 0)], err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("names %q, want %q", got, want)
		}
		if st := must(r, &fop.Stat{GFID: f}).Stat; st.Nlink != links {
			t.Errorf("%d links, want %d", st.Nlink, links)
		}
	}
	move(fop.PIDSelfHeal, d, "a")
	check(3, "b", "c")
	move(1000, d, "b")
	check(3, "b", "c")
	if st := move(fop.PIDSelfHeal, d, "b").Stat; st.Nlink != 2 || st.GFID != f {
		t.Errorf("reply %+v", st)
	}
	check(2, "c")
	move(fop.PIDSelfHeal, d, "c")
	check(1)
	// The very same name is not another one.
	move(fop.PIDSelfHeal, anon, f.String())
	check(1)
}
