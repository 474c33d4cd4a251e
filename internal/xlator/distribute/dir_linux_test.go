package distribute

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

var root = fop.GFID(fop.RootGFID)

// TestDirTraces is what goes over the wire for a directory's life.
func TestDirTraces(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	c.wantLayouts("/", "1 aaaaaaaa-ffffffff", "1 0-55555554", "1 55555555-aaaaaaa9")
	x1 := m.mustMkdir(root, "x1")
	m.settle()
	sameTrace(t, "mkdir", m.take(),
		"s1 INODELK / dht.layout.heal RD",
		"s1 ENTRYLK / x1 dht.entry.sync lock",
		"s1 MKDIR / x1",
		"s1 SETXATTR g1 trusted.glusterfs.dht=0000000000000000aaaaaaaaffffffff",
		"s0 MKDIR / x1",
		"s2 MKDIR / x1",
		"s1 ENTRYLK / x1 dht.entry.sync unlock",
		"s1 INODELK / dht.layout.heal UN")
	m.call(x1, "x1")
	c.wantLayouts("/x1", "0 55555555-aaaaaaa9", "0 aaaaaaaa-ffffffff", "0 0-55555554")
	for i, want := range []string{"", "00000000", ""} {
		if got := c.xattr(i, "/x1", keyMDS); got != want {
			t.Errorf("mds on %d: %q", i, got)
		}
	}

	m.mustLookup(root, "x1")
	sameTrace(t, "lookup of a known directory", m.take(), "s0 LOOKUP / x1", "s1 LOOKUP / x1", "s2 LOOKUP / x1")
	m2 := c.mount(0)
	m2.call(x1, "x1")
	m2.mustLookup(root, "x1")
	sameTrace(t, "lookup of a new directory", m2.take(), "s1 LOOKUP / x1", "s0 LOOKUP / x1", "s2 LOOKUP / x1")
	if _, err := fop.Call(t.Context(), m2, &fop.Lookup{GFID: x1, Parent: root, Name: "x1"}); err != nil {
		t.Error(err)
	}
	sameTrace(t, "revalidation", m2.take(), "s0 LOOKUP / x1", "s1 LOOKUP / x1", "s2 LOOKUP / x1")
	if _, err := m2.lookup(x1, "none"); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	if got := m2.take(); len(got) != 1 {
		t.Errorf("a miss in a settled directory: %q", got)
	}

	if err := m.rmdirName(root, "x1"); err != nil {
		t.Fatal(err)
	}
	m.settle()
	got := m.take()
	// The locks go along with looking.
	locks, got := slices.Clone(got), slices.Clone(got)
	isLock := func(l string) bool {
		return strings.Contains(l, "LK / ") && !strings.Contains(l, "UN") && !strings.Contains(l, "unlock")
	}
	locks = slices.DeleteFunc(locks, func(l string) bool { return !isLock(l) })
	got = slices.DeleteFunc(got, isLock)
	sameTrace(t, "locks of rmdir", locks, "s1 INODELK / dht.layout.heal RD", "s1 ENTRYLK / x1 dht.entry.sync try")
	sameTrace(t, "rmdir", got,
		"s0 LOOKUP / x1", "s1 LOOKUP / x1", "s2 LOOKUP / x1",
		"s0 OPENDIR x1", "s1 OPENDIR x1", "s2 OPENDIR x1",
		"s0 READDIRP x1", "s1 READDIRP x1", "s2 READDIRP x1",
		"s0 RELEASEDIR x1", "s1 RELEASEDIR x1", "s2 RELEASEDIR x1",
		"s0 RMDIR / x1", "s2 RMDIR / x1",
		"s1 RMDIR / x1",
		"s1 ENTRYLK / x1 dht.entry.sync unlock",
		"s1 INODELK / dht.layout.heal UN")
	c.wantLayouts("/x1", "gone", "gone", "gone")
	if _, err := m.lookup(root, "x1"); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	sameTrace(t, "a miss in the root", m.take(), "s1 LOOKUP / x1", "s0 LOOKUP / x1", "s1 LOOKUP / x1", "s2 LOOKUP / x1")
}

// TestMkdirErrors: what the hashed subvolume says counts.
func TestMkdirErrors(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	d := m.mustMkdir(root, "d")
	if _, err := m.tryMkdir(root, "d"); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("again: %v", err)
	}
	if _, err := m.tryMkdir(fop.NewGFID(), "d"); !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.ENOENT) {
		t.Errorf("in nothing: %v", err)
	}
	if _, err := fop.Call(t.Context(), m, &fop.Mkdir{Parent: root, Name: "e"}); !errors.Is(err, syscall.EPERM) {
		t.Errorf("without gfid-req: %v", err)
	}
	f := m.putFile(m.hashedIn(d, "f"), d, "f")
	if _, err := m.tryMkdir(f, "x"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("in a file: %v", err)
	}
	if err := m.rmdirName(root, "d"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("rmdir of a full directory: %v", err)
	}
	if err := m.rmdirName(d, "f"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("rmdir of a file: %v", err)
	}
	if err := m.rmdirName(d, "none"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("rmdir of nothing: %v", err)
	}
}

func (m *mount) hashedIn(dir fop.GFID, name string) int {
	m.t.Helper()
	l, err := m.layoutOf(m.t.Context(), dir)
	if err != nil {
		m.t.Fatal(err)
	}
	if s := m.hashed(l, name); s != nil {
		return s.index
	}
	return -1
}

// nameOn is a name that the directory has on that subvolume.
func (m *mount) nameOn(dir fop.GFID, on int, prefix string) string {
	m.t.Helper()
	for i := range 1000 {
		if name := prefix + string(rune('a'+i%26)) + strings.Repeat("x", i/26); m.hashedIn(dir, name) == on {
			return name
		}
	}
	m.t.Fatal("no name")
	return ""
}

// TestStaleParent: another client has given the parent a new layout.
func TestStaleParent(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	d := m.mustMkdir(root, "d")
	name := m.nameOn(d, 0, "n")
	// What 0 had is now with 1, and the other way round.
	a, b := c.xattr(0, "/d", fop.XattrDHT), c.xattr(1, "/d", fop.XattrDHT)
	c.setXattr(0, "/d", fop.XattrDHT, b)
	c.setXattr(1, "/d", fop.XattrDHT, a)
	m.take()
	m.mustMkdir(d, name)
	if got := strings.Join(m.take(), "\n"); !strings.Contains(got, "s0 MKDIR") || !strings.Contains(got, "s1 SETXATTR") {
		t.Errorf("not made anew on s1:\n%s", got)
	}
	if c.xattr(1, "/d/"+name, keyMDS) == "" || c.xattr(0, "/d/"+name, keyMDS) != "" {
		t.Error("the mds is not the new hashed subvolume")
	}
	// A layout on disk that the one in memory agrees with, but the brick does
	// not: no endless loop.
	m.intercept(func(_ string, req fop.Request) (fop.Reply, error) {
		if _, ok := req.(*fop.Mkdir); ok {
			return &fop.EntryReply{ReplyHeader: fop.ReplyHeader{XData: fop.NewDict(fop.Pair{Key: keyPreopFailed, Val: fop.Str("yes")})}}, syscall.EIO
		}
		return nil, errPass
	})
	if _, err := m.tryMkdir(d, "loop"); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	m.intercept(nil)
}

// TestMkdirRace: a subvolume does not do what was planned; the layout is
// written again without it.
func TestMkdirRace(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	name := m.nameOn(root, 0, "n")
	m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
		if _, ok := req.(*fop.Mkdir); ok && s == "s2" {
			return nil, syscall.ENOSPC
		}
		return nil, errPass
	})
	m.take()
	g := m.mustMkdir(root, name)
	m.intercept(nil)
	m.settle()
	got := m.take()
	if len(got) != 15 || got[6] != "s0 ENTRYLK / "+name+" dht.entry.sync unlock" || !slices.Contains(got, "s0 INODELK g1 dht.layout.heal WR") {
		t.Errorf("trace:\n%s", strings.Join(got, "\n"))
	}
	all := c.layouts("/" + name)
	slices.Sort(all)
	if !slices.Equal(all, []string{"0 0-7ffffffe", "0 7fffffff-ffffffff", "gone"}) {
		t.Errorf("layouts %q", all)
	}
	// The next lookup makes it there, without a range.
	m.mustLookup(root, name)
	if c.layouts("/" + name)[2] != "0 0-0" {
		t.Errorf("layouts %q", c.layouts("/"+name))
	}
	if h := m.hashedIn(g, "whatever"); h == 2 {
		t.Error("hashed to a subvolume without a range")
	}
}

// TestMkdirTaken: the name is taken where its hashed subvolume does not see it,
// and nobody has looked it up.
func TestMkdirTaken(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	g := m.mustMkdir(root, "dir")
	h := m.hashedIn(root, "dir")
	c.remove(h, "/dir")
	if _, err := c.mount(0).tryMkdir(root, "dir"); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("over a directory: %v", err)
	}
	for i := range 3 {
		if got := c.xattr(i, "/dir", fop.XattrGFID); got != hex.EncodeToString(g[:]) {
			t.Errorf("gfid on %d: %s", i, got)
		}
	}
	name := m.nameOn(root, 0, "f")
	m.putFile(2, root, name)
	if _, err := m.tryMkdir(root, name); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("over a file: %v", err)
	}
	if got := c.places("", name); got != "l2 - f" {
		t.Errorf("%s", got)
	}
}

// TestHealMissing: a directory was removed from one brick by hand.
func TestHealMissing(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	g := m.mustMkdir(root, "dirA")
	m.call(g, "d")
	h := m.hashedIn(root, "dirA")
	victim := (h + 1) % 3
	if err := m.setx(g, "user.colour", "red"); err != nil {
		t.Fatal(err)
	}
	_, err := fop.Call(t.Context(), m.subs[h], &fop.Setattr{Header: asSu(nil), GFID: g, Stat: fop.Iatt{Mode: 0o700, UID: 7, GID: 8}, Valid: 7})
	if err != nil {
		t.Fatal(err)
	}
	mdata := c.xattr(h, "/dirA", fop.XattrMdata)
	c.remove(victim, "/dirA")

	f := c.mount(0)
	f.call(g, "d")
	st := f.mustLookup(root, "dirA")
	if st.Mode != fop.ModeDir|0o700 || st.UID != 7 || st.GID != 8 || st.GFID != g || st.Size != 4096 {
		t.Errorf("after the heal: %+v", st)
	}
	f.settle()
	H, others := f.subs[h], []string{}
	for _, s := range f.subs {
		if s != H {
			others = append(others, "s"+string(rune('0'+s.index)))
		}
	}
	hs, vs := "s"+string(rune('0'+h)), "s"+string(rune('0'+victim))
	layout := func(i int) string {
		return "s" + string(rune('0'+i)) + " SETXATTR d trusted.glusterfs.dht=" + c.xattr(i, "/dirA", fop.XattrDHT)
	}
	sameTrace(t, "heal", f.take(),
		hs+" LOOKUP / dirA", others[0]+" LOOKUP / dirA", others[1]+" LOOKUP / dirA",
		hs+" INODELK / dht.layout.heal RD", hs+" ENTRYLK / dirA dht.entry.sync lock",
		"s0 LOOKUP / dirA", "s1 LOOKUP / dirA", "s2 LOOKUP / dirA",
		vs+" MKDIR / dirA",
		hs+" ENTRYLK / dirA dht.entry.sync unlock", hs+" INODELK / dht.layout.heal UN",
		"s0 SETATTR d 0x7", "s1 SETATTR d 0x7", "s2 SETATTR d 0x7",
		"s0 INODELK d dht.layout.heal WR", "s1 INODELK d dht.layout.heal WR", "s2 INODELK d dht.layout.heal WR",
		"s0 LOOKUP / dirA", "s1 LOOKUP / dirA", "s2 LOOKUP / dirA",
		layout(0), layout(1), layout(2),
		"s0 INODELK d dht.layout.heal UN", "s1 INODELK d dht.layout.heal UN", "s2 INODELK d dht.layout.heal UN")
	c.wantLayouts("/dirA", "1 0-55555554", "1 55555555-aaaaaaa9", "1 aaaaaaaa-ffffffff")
	if got := c.xattr(victim, "/dirA", "user.colour"); got != hex.EncodeToString([]byte("red")) {
		t.Errorf("user.colour %q", got)
	}
	if got := c.xattr(victim, "/dirA", fop.XattrMdata); mdata != "" && got == "" {
		t.Errorf("mdata %q, was %q", got, mdata)
	}
	fi, err := os.Lstat(filepath.Join(c.bricks[victim].dir, "dirA"))
	if err != nil || fi.Mode().Perm() != 0o700 || fi.Sys().(*syscall.Stat_t).Uid != 7 {
		t.Errorf("%v, %v", fi, err)
	}

	// And once it is whole, lookups do nothing but look.
	f.mustLookup(root, "dirA")
	if got := f.take(); len(got) != 3 {
		t.Errorf("healed again:\n%s", strings.Join(got, "\n"))
	}
	// Met by gfid first: the path tells where it must be.
	c.remove(victim, "/dirA")
	lean := c.mount(0)
	if _, err := fop.Call(t.Context(), lean, &fop.Lookup{GFID: g}); err != nil {
		t.Error(err)
	}
	if !c.exists(victim, "/dirA") {
		t.Error("not healed by way of its path")
	}
}

func (m *mount) setx(g fop.GFID, key, value string) error {
	_, err := m.dirFop(m.t.Context(), &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: key, Val: fop.Bytes([]byte(value))})}, m.placeOf(g))
	return err
}

func (m *mount) placeOf(g fop.GFID) place {
	m.t.Helper()
	p, err := m.where(m.t.Context(), g)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// TestHealLayout has layouts on disk and what a lookup makes of them.
func TestHealLayout(t *testing.T) {
	const none = "none"
	fresh := []string{"1 0-55555554", "1 55555555-aaaaaaa9", "1 aaaaaaaa-ffffffff"} // of "/dirA"
	for _, c := range []struct {
		name       string
		disk, want []string
	}{
		{"healthy", []string{"5 55555555-ffffffff", "5 0-55555554", "5 0-0"}, nil},
		{"no layout on one that needs none", []string{"0 0-7ffffffe", none, "0 7fffffff-ffffffff"}, nil},
		{"no layouts", []string{none, none, none}, fresh},
		{"hole", []string{"0 0-55555554", none, "0 aaaaaaaa-ffffffff"}, fresh},
		{"zero where a range was", []string{"0 0-55555554", "0 0-0", "0 aaaaaaaa-ffffffff"}, fresh},
		{"overlap", []string{"0 0-7fffffff", "0 7fffffff-aaaaaaa9", "0 aaaaaaaa-ffffffff"}, fresh},
		{"garbage", []string{"garbage", "0 0-7ffffffe", "0 7fffffff-ffffffff"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newCluster(t, 3)
			cl.mount(0).mustMkdir(root, "dirA")
			for i, x := range c.disk {
				path := filepath.Join(cl.bricks[i].dir, "dirA")
				switch x {
				case none:
					if err := unix.Lremovexattr(path, fop.XattrDHT); err != nil {
						t.Fatal(err)
					}
				case "garbage":
					cl.setXattr(i, "/dirA", fop.XattrDHT, "0000000000000009")
				default:
					cl.setXattr(i, "/dirA", fop.XattrDHT, hexExtent(t, x))
				}
			}
			m := cl.mount(0)
			m.mustLookup(root, "dirA")
			m.settle()
			if c.name == "garbage" {
				if got := cl.xattr(0, "/dirA", fop.XattrDHT); got != "0000000000000009" {
					t.Errorf("rewritten: %s", got)
				}
				return
			}
			if c.want == nil {
				c.want = c.disk
			}
			cl.wantLayouts("/dirA", c.want...)
			m.take()
			m.mustLookup(root, "dirA")
			if got := m.take(); len(got) != 3 {
				t.Errorf("healed again:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

func hexExtent(t *testing.T, s string) string {
	t.Helper()
	var e extent
	f := strings.Fields(strings.ReplaceAll(s, "-", " "))
	for i, p := range []*uint32{&e.commit, &e.start, &e.stop} {
		n, err := hex.DecodeString(strings.Repeat("0", 8-len(f[i])) + f[i])
		if err != nil {
			t.Fatal(err)
		}
		*p = uint32(n[0])<<24 | uint32(n[1])<<16 | uint32(n[2])<<8 | uint32(n[3])
	}
	return hex.EncodeToString(e.bytes())
}

// TestHealAttributes: owner and mode are those of the mds.
func TestHealAttributes(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	g := m.mustMkdir(root, "d")
	mds := m.hashedIn(root, "d")
	other := (mds + 1) % 3
	os.Chmod(filepath.Join(c.bricks[other].dir, "d"), 0o777)
	os.Chown(filepath.Join(c.bricks[other].dir, "d"), 1000, 1000)
	m.take()
	m.call(g, "d")
	st := m.mustLookup(root, "d")
	if st.Mode != fop.ModeDir|0o755 || st.UID != 0 {
		t.Errorf("mode %o, owner %d", st.Mode, st.UID)
	}
	if got := m.take(); len(got) != 6 || got[3] != "s0 SETATTR d 0x7" {
		t.Errorf("%q", got)
	}
	fi, err := os.Lstat(filepath.Join(c.bricks[other].dir, "d"))
	if err != nil || fi.Mode().Perm() != 0o755 || fi.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("%v, %v", fi, err)
	}
}

// TestMDS: xattrs of directories, their counter and its heal.
func TestMDS(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	g := m.mustMkdir(root, "d")
	m.call(g, "d")
	mds := m.hashedIn(root, "d")
	ms := "s" + string(rune('0'+mds))
	m.settle()
	m.take()
	if err := m.setx(g, "user.a", "1"); err != nil {
		t.Fatal(err)
	}
	var others []string
	for i := range 3 {
		if i != mds {
			others = append(others, "s"+string(rune('0'+i))+" SETXATTR d user.a=31")
		}
	}
	sameTrace(t, "setxattr", m.take(), append(append([]string{
		ms + " XATTROP d trusted.glusterfs.dht.mds+ffffffff", ms + " SETXATTR d user.a=31"}, others...),
		ms+" XATTROP d trusted.glusterfs.dht.mds+00000001")...)

	// A failure beside the mds leaves the counter negative; the next lookup
	// heals.
	bad := (mds + 1) % 3
	m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
		if _, ok := req.(*fop.Setxattr); ok && s == m.subs[bad].name[len("v-client-"):] || ok && s == "s"+string(rune('0'+bad)) {
			return nil, syscall.EIO
		}
		return nil, errPass
	})
	if err := m.setx(g, "user.b", "2"); err != nil {
		t.Errorf("the mds has it, so it is done: %v", err)
	}
	m.intercept(nil)
	if got := c.xattr(mds, "/d", keyMDS); got != "ffffffff" {
		t.Errorf("counter %s", got)
	}
	if got := c.xattr(bad, "/d", "user.b"); got != "" {
		t.Errorf("user.b %q", got)
	}
	// What the mds no longer has shall go.
	c.setXattr(bad, "/d", "user.old", "31")
	m.take()
	m.mustLookup(root, "d")
	if got := c.xattr(bad, "/d", "user.b"); got != "32" {
		t.Errorf("user.b after the heal: %q\n%s", got, strings.Join(m.take(), "\n"))
	}
	if got := c.xattr(bad, "/d", "user.old"); got != "" {
		t.Errorf("user.old after the heal: %q", got)
	}
	if got := c.xattr(mds, "/d", keyMDS); got != "00000000" {
		t.Errorf("counter %s", got)
	}

	// The mds refuses: nobody else is asked.
	m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
		if _, ok := req.(*fop.Setxattr); ok && s == ms {
			return nil, syscall.EDQUOT
		}
		return nil, errPass
	})
	if err := m.setx(g, "user.c", "3"); !errors.Is(err, syscall.EDQUOT) {
		t.Error(err)
	}
	m.intercept(nil)
	if got := c.xattr(bad, "/d", "user.c") + c.xattr(mds, "/d", keyMDS); got != "00000000" {
		t.Errorf("user.c and counter %q", got)
	}

	// Other keys, and the root: everywhere at once.
	m.take()
	if err := m.setx(g, "trusted.foo", "1"); err != nil {
		t.Error(err)
	}
	if err := m.setx(root, "user.r", "1"); err != nil {
		t.Error(err)
	}
	if got := m.take(); len(got) != 6 {
		t.Errorf("%q", got)
	}
	for _, key := range []string{"trusted.glusterfs.dht", "trusted.glusterfs.dht.mds", "trusted.glusterfs.dht.linkto"} {
		if err := m.setx(g, key, "x"); !errors.Is(err, syscall.EPERM) {
			t.Errorf("setxattr %s: %v", key, err)
		}
	}
	// Reading: the last answer counts, of all keys at once too.
	rep, err := m.dirFop(t.Context(), &fop.Getxattr{GFID: g}, m.placeOf(g))
	if err != nil {
		t.Fatal(err)
	}
	x := rep.(*fop.XattrReply)
	if x.Dict.Text("user.a") != "1" || x.Dict.Text("trusted.foo") != "1" || x.Dict.Has(fop.XattrDHT) || x.Dict.Has(keyMDS) {
		t.Errorf("%v", x.Dict.Pairs())
	}
	if _, err := m.dirFop(t.Context(), &fop.Getxattr{GFID: g, Name: "user.none"}, m.placeOf(g)); !errors.Is(err, syscall.ENODATA) {
		t.Error(err)
	}
	if _, err := m.dirFop(t.Context(), &fop.Removexattr{GFID: g, Name: "user.a"}, m.placeOf(g)); err != nil {
		t.Error(err)
	}
	for i := range 3 {
		if got := c.xattr(i, "/d", "user.a"); got != "" {
			t.Errorf("user.a on %d: %s", i, got)
		}
	}
	// Attributes: the mds first.
	m.take()
	if _, err := m.dirFop(t.Context(), &fop.Setattr{GFID: g, Stat: fop.Iatt{Mode: 0o711}, Valid: fop.SetMode}, m.placeOf(g)); err != nil {
		t.Error(err)
	}
	if got := m.take(); len(got) != 3 || got[0] != ms+" SETATTR d 0x1" {
		t.Errorf("%q", got)
	}
	st, err := m.dirFop(t.Context(), &fop.Stat{GFID: g}, m.placeOf(g))
	if err != nil || st.(*fop.StatReply).Stat.Mode != fop.ModeDir|0o711 || st.(*fop.StatReply).Stat.Size != 4096 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestGrown: directories of a volume of one brick get a place on the second,
// and an mds, when they are looked up.
func TestGrown(t *testing.T) {
	c := newCluster(t, 2)
	one := c.mount(1)
	g := fop.NewGFID()
	_, err := fop.Call(t.Context(), one.graph.Top(), &fop.Mkdir{Parent: root, Name: "d", Mode: 0o755,
		Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}})
	if err != nil {
		t.Fatal(err)
	}
	m := c.mount(0)
	if st := m.mustLookup(root, "d"); st.GFID != g {
		t.Error("another directory")
	}
	c.wantLayouts("/d", "0 0-ffffffff", "0 0-0")
	h := m.hashedIn(root, "d")
	if got := c.xattr(h, "/d", keyMDS); got != "00000000" {
		t.Errorf("mds %q", got)
	}
}

// TestPath: the division of a directory goes by its path, known or not.
func TestPath(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dirA := m.mustMkdir(root, "dirA")
	sub := m.mustMkdir(dirA, "sub")
	want := []string{"0 0-55555554", "0 55555555-aaaaaaa9", "0 aaaaaaaa-ffffffff"}
	m.mustMkdir(sub, "subsub")
	c.wantLayouts("/dirA/sub/subsub", want...)
	if err := m.rmdirName(sub, "subsub"); err != nil {
		t.Fatal(err)
	}
	lean := c.mount(0) // knows nothing but the gfid
	if got := lean.path(t.Context(), sub, "subsub"); got != "/dirA/sub/subsub" {
		t.Errorf("path %q", got)
	}
	lean.mustMkdir(sub, "subsub")
	c.wantLayouts("/dirA/sub/subsub", want...)
	if got := lean.path(t.Context(), fop.NewGFID(), "x"); got != "" {
		t.Errorf("path %q in what does not exist", got)
	}
	// By gfid instead.
	m = c.mount(0, "randomize-hash-range-by-gfid", "on")
	for gfid, want := range map[string]string{
		"1b170e1b-c216-411f-898c-e833d434de67": "0 55555555-aaaaaaa9",
		"57ac4a9c-4014-4cc0-abf2-e9ed3978a288": "0 0-55555554",
	} {
		g, err := fop.ParseGFID(gfid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fop.Call(t.Context(), m, &fop.Mkdir{Parent: dirA, Name: gfid, Mode: 0o755,
			Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}}); err != nil {
			t.Fatal(err)
		}
		if got := c.layouts("/dirA/" + gfid)[0]; got != want {
			t.Errorf("%s: %s, want %s", gfid, got, want)
		}
	}
}

// TestCommitHash: a client believes a miss only where the directory has the
// volume's commit hash, and new directories get that.
func TestCommitHash(t *testing.T) {
	c := newCluster(t, 2)
	for i := range 2 {
		c.setXattr(i, "/", keyCommitHash, hex.EncodeToString([]byte("1477957210\x00")))
	}
	m := c.mount(0)
	d := m.mustMkdir(root, "d")
	for _, l := range c.layouts("/d") {
		if !strings.HasPrefix(l, "5817d65a ") {
			t.Errorf("layout %q", l)
		}
	}
	misses := func(m *mount) int {
		t.Helper()
		m.refreshLayout(t.Context(), d)
		m.take()
		if _, err := m.lookup(d, "none"); !errors.Is(err, syscall.ENOENT) {
			t.Error(err)
		}
		return len(m.take())
	}
	if n := misses(m); n != 1 {
		t.Errorf("%d requests", n)
	}
	for _, o := range []struct {
		key, value string
		want       int
	}{
		{"lookup-optimize", "off", 3}, {"commit-hash", "1477957211", 3}, {"commit-hash", "1477957210", 1},
	} {
		if n := misses(c.mount(0, o.key, o.value)); n != o.want {
			t.Errorf("with %s %s: %d requests", o.key, o.value, n)
		}
	}
	if n := misses(c.mount(0, "lookup-optimize", "off", "lookup-unhashed", "auto")); n != 1 {
		t.Errorf("lookup-unhashed auto: %d requests", n)
	}
	// A rebalance begins: one brick has the new hash already.
	c.setXattr(0, "/", keyCommitHash, hex.EncodeToString([]byte("1477957999\x00")))
	m = c.mount(0)
	if n := misses(m); n != 3 {
		t.Errorf("while it changes: %d requests", n)
	}
	m.mustMkdir(root, "e")
	if l := c.layouts("/e")[0]; !strings.HasPrefix(l, "1 ") {
		t.Errorf("a directory made meanwhile: %s", l)
	}
}

// TestSpread: fewer subvolumes per directory, and one that leaves.
func TestSpread(t *testing.T) {
	c := newCluster(t, 3)
	c.mount(0, "directory-layout-spread", "2").mustMkdir(root, "sp1")
	c.wantLayouts("/sp1", "0 7fffffff-ffffffff", "0 0-0", "0 0-7ffffffe")
	m := c.mount(0, "decommissioned-bricks", "v-client-1")
	g := m.mustMkdir(root, "left")
	got := c.layouts("/left")
	if got[1] != "0 0-0" || got[0] == "0 0-0" || got[2] == "0 0-0" {
		t.Errorf("%q", got)
	}
	f := c.mount(0)
	f.placeOf(g)
	f.mustLookup(root, "left")
	if now := c.layouts("/left"); !slices.Equal(got, now) {
		t.Errorf("healed to %q", now)
	}
}
