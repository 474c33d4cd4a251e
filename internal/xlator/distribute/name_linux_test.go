package distribute

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// putLinkto makes a linkto on one subvolume to a file on another.
func (m *mount) putLinkto(on, to int, parent fop.GFID, name string, g fop.GFID) {
	m.t.Helper()
	if _, existed, err := m.linkto(m.t.Context(), m.subs[on], m.subs[to], parent, name, g, nil, fop.Stamp{}); err != nil || existed {
		m.t.Fatal(existed, err)
	}
}

// TestNames has files and linktos on disk, what a lookup of the name then says,
// what goes over the wire, and what is on disk afterwards. The name is hashed to
// 0; a place is f (the file), g (another file), lN (a linkto to N), d (a
// directory) or -.
func TestNames(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	settled, moved := m.mustMkdir(root, "settled"), m.mustMkdir(root, "moved")
	for i := range c.bricks { // as if names had been moved about since: D is not V
		x := c.xattr(i, "/moved", fop.XattrDHT)
		c.setXattr(i, "/moved", fop.XattrDHT, "00000001"+x[8:])
	}
	m.mustLookup(root, "moved")
	for _, x := range []struct {
		name    string
		dir     fop.GFID
		before  string
		open    int // the linkto on this subvolume is open; -1: none
		errno   syscall.Errno
		file    int // where it is then
		after   string
		lookups int
		others  string // requests besides lookups, without subvolume
	}{
		{"at its place", settled, "f - -", -1, 0, 0, "f - -", 1, ""},
		{"nothing", settled, "- - -", -1, syscall.ENOENT, 0, "- - -", 1, ""},
		{"nothing, names moved", moved, "- - -", -1, syscall.ENOENT, 0, "- - -", 4, ""},
		{"linkto", settled, "l2 - f", -1, 0, 2, "l2 - f", 2, ""},
		{"no linkto, settled: not found", settled, "- - f", -1, syscall.ENOENT, 0, "- - f", 1, ""},
		{"no linkto", moved, "- - f", -1, 0, 2, "l2 - f", 6, "INODELK ENTRYLK MKNOD ENTRYLK INODELK SETATTR"},
		{"linkto to nothing", settled, "l1 - -", -1, syscall.ENOENT, 0, "- - -", 5, "UNLINK"},
		{"linkto to elsewhere", settled, "l1 - f", -1, 0, 2, "l2 - f", 7, "UNLINK INODELK ENTRYLK MKNOD ENTRYLK INODELK SETATTR"},
		{"linkto to elsewhere, open", settled, "l1 - f", 0, 0, 2, "l1 - f", 5, ""},
		{"linkto of another file", settled, "lx2 - f", -1, syscall.ESTALE, 0, "lx2 - f", 5, ""},
		{"linkto on the wrong subvolume", moved, "- l2 f", -1, 0, 2, "l2 - f", 6, "UNLINK INODELK ENTRYLK MKNOD ENTRYLK INODELK SETATTR"},
		{"linkto on the wrong subvolume, open", moved, "- l2 -", 1, syscall.ENOENT, 0, "- l2 -", 4, ""},
		{"linkto that circles", settled, "l1 l0 -", -1, syscall.ENOENT, 0, "- - -", 5, "UNLINK UNLINK"},
		{"a file on two", moved, "- f f", -1, 0, 1, "l1 f f", 6, "INODELK ENTRYLK MKNOD ENTRYLK INODELK SETATTR"},
		{"file and directory", moved, "- f d", -1, syscall.EIO, 0, "- f d", 4, ""},
		{"file where a directory is hashed", settled, "d f -", -1, syscall.EIO, 0, "d f -", 6, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			m.t = t
			dirName := "settled"
			if x.dir == moved {
				dirName = "moved"
			}
			name := m.nameOn(x.dir, 0, strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' || r == ':' {
					return -1
				}
				return r
			}, x.name))
			gfid := fop.GFID{}
			for i, p := range strings.Fields(x.before) {
				if p == "f" {
					if gfid.IsZero() {
						gfid = m.putFile(i, x.dir, name)
					} else { // the same gfid again
						if _, err := fop.Call(t.Context(), m.subs[i], &fop.Mknod{Parent: x.dir, Name: name, Mode: fop.ModeRegular | 0o644,
							Header: asSu(fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(gfid)}))}); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if gfid.IsZero() {
				gfid = fop.NewGFID()
			}
			for i, p := range strings.Fields(x.before) {
				switch {
				case p == "d":
					if _, err := fop.Call(t.Context(), m.subs[i], &fop.Mkdir{Parent: x.dir, Name: name, Mode: 0o755,
						Header: asSu(fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())}))}); err != nil {
						t.Fatal(err)
					}
				case strings.HasPrefix(p, "lx"):
					m.putLinkto(i, int(p[2]-'0'), x.dir, name, fop.NewGFID())
				case p[0] == 'l':
					m.putLinkto(i, int(p[1]-'0'), x.dir, name, gfid)
				}
			}
			if x.open >= 0 {
				fd := &fop.Fd{GFID: gfid}
				if _, err := fop.Call(t.Context(), m.subs[x.open], &fop.Open{GFID: gfid, Fd: fd, Header: asSu(nil)}); err != nil {
					t.Fatal(err)
				}
				defer fop.Call(t.Context(), m.subs[x.open], &fop.Release{GFID: gfid, Fd: fd, Header: asSu(nil)})
			}
			m.where(t.Context(), x.dir) // and so it is fresh
			m.refreshLayout(t.Context(), x.dir)
			m.take()

			rep, err := m.lookup(x.dir, name)
			m.settle()
			trace := m.take()
			if fop.Errno(err) != x.errno {
				t.Errorf("error %v, want %v", err, x.errno)
			}
			if err == nil {
				if s, cerr := m.cachedOf(t.Context(), gfid, nil); cerr != nil || s.index != x.file || rep.Stat.GFID != gfid {
					t.Errorf("found %v on %v, %v", rep.Stat.GFID, s, cerr)
				}
				if rep.Stat.Mode != fop.ModeRegular|0o644 || rep.Parent.Size != 4096 || rep.XData.Has(fop.XattrLinkto) {
					t.Errorf("reply %+v", rep)
				}
			}
			lookups, others := 0, []string{}
			for _, l := range trace {
				if op := strings.Fields(l)[1]; op == "LOOKUP" {
					lookups++
				} else {
					others = append(others, op)
				}
			}
			if lookups != x.lookups || strings.Join(others, " ") != x.others {
				t.Errorf("%d lookups and %q, want %d and %q:\n%s", lookups, others, x.lookups, x.others, strings.Join(trace, "\n"))
			}
			if got := c.places(dirName, name); got != x.after {
				t.Errorf("afterwards %q, want %q", got, x.after)
			}
		})
	}
}

// places tells what is on the bricks under a name.
func (c *cluster) places(dir, name string) string {
	var all []string
	for i, b := range c.bricks {
		fi, err := os.Lstat(filepath.Join(b.dir, dir, name))
		link := c.xattr(i, filepath.Join(dir, name), fop.XattrLinkto)
		switch {
		case err != nil:
			all = append(all, "-")
		case fi.IsDir():
			all = append(all, "d")
		case link != "":
			to := "l" + string(unhex(c.t, link[len(link)-4:len(link)-2]))
			if c.other(i, dir, name) {
				to = "lx" + to[1:]
			}
			all = append(all, to)
		default:
			all = append(all, "f")
		}
	}
	return strings.Join(all, " ")
}

// other reports whether the gfid under a name differs from that of the data
// file elsewhere.
func (c *cluster) other(i int, dir, name string) bool {
	mine := c.xattr(i, filepath.Join(dir, name), fop.XattrGFID)
	for j := range c.bricks {
		g := c.xattr(j, filepath.Join(dir, name), fop.XattrGFID)
		if j != i && g != "" && g != mine && c.xattr(j, filepath.Join(dir, name), fop.XattrLinkto) == "" {
			return true
		}
	}
	return false
}

// TestGFID: lookups by gfid alone, and revalidation of a file.
func TestGFID(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	d := m.mustMkdir(root, "d")
	name := m.nameOn(d, 0, "n")
	g := m.putFile(2, d, name)
	m.putLinkto(0, 2, d, name, g)
	look := func(gfid, parent fop.GFID, name string) (*fop.LookupReply, error) {
		return fop.Call(t.Context(), m, &fop.Lookup{GFID: gfid, Parent: parent, Name: name})
	}
	m.take()
	rep, err := look(g, fop.GFID{}, "")
	if err != nil || rep.Stat.Mode != fop.ModeRegular|0o644 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if got := m.take(); len(got) != 3 {
		t.Errorf("%q", got)
	}
	if _, err = look(g, fop.GFID{}, ""); err != nil {
		t.Error(err)
	}
	if got := m.take(); len(got) != 1 || !strings.HasPrefix(got[0], "s2 LOOKUP") {
		t.Errorf("known file by gfid: %q", got)
	}
	if _, err = look(g, d, name); err != nil {
		t.Error(err)
	}
	if got := m.take(); len(got) != 1 || !strings.HasPrefix(got[0], "s2 LOOKUP") {
		t.Errorf("revalidation: %q", got)
	}
	if _, err = look(fop.NewGFID(), fop.GFID{}, ""); !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
		t.Error(err)
	}
	// Moved by somebody else: the file is on 0 now.
	if _, err := fop.Call(t.Context(), m.subs[2], &fop.Unlink{Header: asSu(nil), Parent: d, Name: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := fop.Call(t.Context(), m.subs[0], &fop.Removexattr{Header: asSu(nil), GFID: g, Name: fop.XattrLinkto}); err != nil {
		t.Fatal(err)
	}
	if _, err = look(g, d, name); err != nil {
		t.Error(err)
	}
	if s, _ := m.cachedOf(t.Context(), g, nil); s != m.subs[0] {
		t.Errorf("on %v after it was moved", s)
	}
	// Replaced by another file of the name.
	if _, err := fop.Call(t.Context(), m.subs[0], &fop.Unlink{Header: asSu(nil), Parent: d, Name: name}); err != nil {
		t.Fatal(err)
	}
	h := m.putFile(0, d, name)
	if _, err = look(g, d, name); !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	if rep, err = look(fop.GFID{}, d, name); err != nil || rep.Stat.GFID != h {
		t.Errorf("%v, %v", rep, err)
	}
}

// TestRmdirLinktos: rmdir removes what leads nowhere and spares what does not.
func TestRmdirLinktos(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	stale := m.mustMkdir(root, "stale")
	for i := range 40 {
		name := m.nameOn(stale, i%3, "n"+string(rune('A'+i)))
		m.putLinkto(i%3, (i+1)%3, stale, name, fop.NewGFID())
	}
	m.putLinkto(0, 0, stale, "self", fop.NewGFID())
	if err := m.rmdirName(root, "stale"); err != nil {
		t.Errorf("only stale linktos: %v", err)
	}
	c.wantLayouts("/stale", "gone", "gone", "gone")

	live := m.mustMkdir(root, "live")
	name := m.nameOn(live, 0, "n")
	g := m.putFile(1, live, name)
	m.putLinkto(0, 1, live, name, g)
	if err := m.rmdirName(root, "live"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("with a file: %v", err)
	}
	if got := c.places("live", name); got != "l1 f -" {
		t.Errorf("%s", got)
	}
	before := c.layouts("/live")
	// A subvolume refuses in the end: what was removed is there again.
	c.clear(1, "live", name, g)
	c.clear(0, "live", name, g)
	h := m.hashedIn(root, "live")
	m.setx(live, "user.keep", "me")
	for _, refuse := range []int{h, (h + 1) % 3} {
		m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
			if _, ok := req.(*fop.Rmdir); ok && s == "s"+string(rune('0'+refuse)) {
				return nil, syscall.EBUSY
			}
			return nil, errPass
		})
		if err := m.rmdirName(root, "live"); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("%d refuses: %v", refuse, err)
		}
		m.intercept(nil)
		c.wantLayouts("/live", before...)
		for i := range 3 {
			if got := c.xattr(i, "/live", "user.keep"); got != "6d65" {
				t.Errorf("%d refused: user.keep on %d: %q", refuse, i, got)
			}
		}
	}
	if err := m.rmdirName(root, "live"); err != nil {
		t.Error(err)
	}
}

// clear removes a file from a brick by hand, handle and all.
func (c *cluster) clear(brick int, dir, name string, g fop.GFID) {
	c.t.Helper()
	b := c.bricks[brick].dir
	id := g.String()
	if err := errors.Join(os.Remove(filepath.Join(b, dir, name)), os.Remove(filepath.Join(b, ".glusterfs", id[:2], id[2:4], id))); err != nil {
		c.t.Fatal(err)
	}
}
