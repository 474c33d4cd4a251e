package distribute

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// nameFor finds a name that hashes to a subvolume.
func (m *mount) nameFor(dir fop.GFID, on int, prefix string) string {
	m.t.Helper()
	l, err := m.layoutOf(m.t.Context(), dir)
	if err != nil {
		m.t.Fatal(err)
	}
	for i := range 1000 {
		if name := fmt.Sprint(prefix, i); m.hashed(l, name) == m.subs[on] {
			return name
		}
	}
	m.t.Fatalf("no name hashes to subvolume %d", on)
	return ""
}

func gfidReq(g fop.GFID) fop.Header {
	return fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}
}

func (m *mount) tryCreate(dir fop.GFID, name string, flags uint32) (*fop.Fd, error) {
	g := fop.NewGFID()
	fd := &fop.Fd{GFID: g, Flags: fop.ORdwr}
	r, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Create{Header: gfidReq(g), Parent: dir, Name: name, Flags: fop.OCreate | fop.ORdwr | flags, Mode: fop.ModeRegular | 0o644, Fd: fd})
	if err == nil {
		fd.GFID = r.Stat.GFID
	}
	return fd, err
}

func (m *mount) mustCreate(dir fop.GFID, name string) *fop.Fd {
	m.t.Helper()
	fd, err := m.tryCreate(dir, name, fop.OExcl)
	if err != nil {
		m.t.Fatalf("create %s: %v", name, err)
	}
	return fd
}

func (m *mount) mustWrite(fd *fop.Fd, off int, data string) {
	m.t.Helper()
	if _, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Write{GFID: fd.GFID, Fd: fd, Offset: uint64(off), Data: []byte(data)}); err != nil {
		m.t.Fatalf("write: %v", err)
	}
}

func (m *mount) read(fd *fop.Fd) string {
	m.t.Helper()
	r, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Read{GFID: fd.GFID, Fd: fd, Size: 1 << 16})
	if err != nil {
		m.t.Fatalf("read: %v", err)
	}
	return string(r.Data)
}

func (m *mount) release(fd *fop.Fd) {
	fop.Call(m.t.Context(), m.graph.Top(), &fop.Release{GFID: fd.GFID, Fd: fd})
}

func (m *mount) unlinkName(dir fop.GFID, name string) error {
	_, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Unlink{Parent: dir, Name: name})
	return err
}

func (m *mount) renameName(from fop.GFID, old string, to fop.GFID, name string) error {
	_, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Rename{OldParent: from, OldName: old, NewParent: to, NewName: name})
	return err
}

// amnesia lets the client forget all files and names.
func (m *mount) amnesia() {
	for i := range m.distribute.names.shards {
		sh := &m.distribute.names.shards[i]
		sh.now, sh.old = nil, nil
	}
	m.objects.Range(func(r *inodes.Ref[object]) bool {
		r.V.mu.Lock()
		r.V.file, r.V.dest = nil, nil
		r.V.mu.Unlock()
		return true
	})
}

// tree is what the bricks have below a directory: "s0/name data GFID" or
// "s1/name linkto 0 GFID".
func (c *cluster) tree(dir string) []string {
	c.t.Helper()
	var all []string
	for i, b := range c.bricks {
		list, err := os.ReadDir(filepath.Join(b.dir, dir))
		if err != nil {
			continue
		}
		for _, e := range list {
			if e.Name() == ".glusterfs" {
				continue
			}
			path := filepath.Join(dir, e.Name())
			what := "data"
			if st, err := os.Lstat(filepath.Join(b.dir, path)); err != nil {
				continue
			} else if st.IsDir() {
				what = "dir"
			} else if st.Mode()&(os.ModeSticky|0o777) == os.ModeSticky {
				x, _ := hex.DecodeString(c.xattr(i, path, fop.XattrLinkto))
				what = "linkto " + strings.TrimPrefix(string(bytes.TrimSuffix(x, []byte{0})), "v-client-")
			}
			g, _ := hex.DecodeString(c.xattr(i, path, fop.XattrGFID))
			all = append(all, fmt.Sprintf("s%d/%s %s %x", i, e.Name(), what, g[len(g)-3:]))
		}
	}
	return all
}

// TestFileTraces is what goes over the wire for a file's life.
func TestFileTraces(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "x1")
	m.call(dir, "x1")
	ctx := t.Context()
	m.settle()
	m.take()

	name := m.nameFor(dir, 1, "f")
	fd := m.mustCreate(dir, name)
	m.call(fd.GFID, "F")
	sameTrace(t, "create", m.take(), "s1 CREATE x1 "+name)
	m.mustWrite(fd, 0, "hello")
	if got := m.read(fd); got != "hello" {
		t.Errorf("read %q", got)
	}
	for _, req := range []fop.Request{
		&fop.Fsync{GFID: fd.GFID, Fd: fd}, &fop.Stat{GFID: fd.GFID}, &fop.Fstat{GFID: fd.GFID, Fd: fd},
		&fop.Setattr{GFID: fd.GFID, Stat: fop.Iatt{Mode: 0o600}, Valid: fop.SetMode},
		&fop.Ftruncate{GFID: fd.GFID, Fd: fd, Offset: 3}, &fop.Access{GFID: fd.GFID, Mask: 4},
		&fop.Setxattr{GFID: fd.GFID, Dict: fop.NewDict(fop.Pair{Key: "user.k", Val: fop.Bytes([]byte("v"))})},
		&fop.Getxattr{GFID: fd.GFID, Name: "user.k"}, &fop.Fremovexattr{GFID: fd.GFID, Fd: fd, Name: "user.k"},
		&fop.Inodelk{GFID: fd.GFID, Cmd: fop.LkSet, Type: fop.LockWrite, Domain: "up", Header: fop.Header{Cred: fop.Cred{Owner: "12345678"}}},
		&fop.Seek{GFID: fd.GFID, Fd: fd, What: fop.SeekHole},
	} {
		if _, err := m.Do(ctx, req); err != nil {
			t.Errorf("%v: %v", req.Op(), err)
		}
		if _, err := m.Start(ctx, req).Wait(); err != nil && req.Op() != fop.OpFremovexattr {
			t.Errorf("%v started: %v", req.Op(), err)
		}
	}
	for _, l := range m.take() {
		if !strings.HasPrefix(l, "s1 ") || !strings.Contains(l, " F") {
			t.Errorf("a fop on a known file sends %q", l)
		}
	}
	m.release(fd)
	m.settle()
	m.take()

	if err := m.unlinkName(dir, name); err != nil {
		t.Fatal(err)
	}
	sameTrace(t, "unlink", m.take(), "s1 UNLINK x1 "+name)

	// A file off its hashed subvolume, by a link.
	a, b := m.nameFor(dir, 0, "a"), m.nameFor(dir, 2, "b")
	fd = m.mustCreate(dir, a)
	m.call(fd.GFID, "A")
	m.release(fd)
	m.take()
	if _, err := fop.Call(ctx, m, &fop.Link{GFID: fd.GFID, Parent: dir, Name: b}); err != nil {
		t.Fatal(err)
	}
	m.settle()
	sameTrace(t, "link", m.take(), "s2 MKNOD x1 "+b+" 101000", "s0 LINK x1 "+b+" of A", "s2 SETATTR A 0x6")
	want := []string{"s0/" + a + " data", "s0/" + b + " data", "s2/" + b + " linkto 0"}
	if got := c.tree("x1"); len(got) != 3 || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) || !strings.HasPrefix(got[2], want[2]) {
		t.Errorf("bricks have %q", got)
	}
	if _, err := fop.Call(ctx, m, &fop.Link{GFID: fd.GFID, Parent: dir, Name: b}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("link to a name that is taken: %v", err)
	}
	m.take()
	if err := m.unlinkName(dir, b); err != nil {
		t.Fatal(err)
	}
	sameTrace(t, "unlink with linkto", m.take(), "s0 UNLINK x1 "+b, "s2 UNLINK x1 "+b)

	for _, k := range []string{"symlink", "mknod"} {
		n := m.nameFor(dir, 2, k)
		g := fop.NewGFID()
		var req fop.Request = &fop.Symlink{Header: gfidReq(g), Parent: dir, Name: n, Target: "../there"}
		if k == "mknod" {
			req = &fop.Mknod{Header: gfidReq(g), Parent: dir, Name: n, Mode: fop.ModeFIFO | 0o600}
		}
		m.take()
		if _, err := m.Do(ctx, req); err != nil {
			t.Errorf("%s: %v", k, err)
		}
		if got := m.take(); len(got) != 1 || !strings.HasPrefix(got[0], "s2 ") {
			t.Errorf("%s: %q", k, got)
		}
		if _, err := m.Do(ctx, req); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("%s twice: %v", k, err)
		}
	}
	if err := m.unlinkName(dir, "none"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("unlink of nothing: %v", err)
	}
	if err := m.unlinkName(root, "x1"); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("unlink of a directory: %v", err)
	}
}

// TestStaleLinkto: a linkto that leads nowhere is in nobody's way.
func TestStaleLinkto(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "x1")
	for i, make := range []func(name string) error{
		func(name string) error { fd, err := m.tryCreate(dir, name, fop.OExcl); m.release(fd); return err },
		func(name string) error { fd, err := m.tryCreate(dir, name, 0); m.release(fd); return err },
		func(name string) error {
			_, err := m.Do(t.Context(), &fop.Symlink{Header: gfidReq(fop.NewGFID()), Parent: dir, Name: name, Target: "t"})
			return err
		},
		func(name string) error {
			fd := m.mustCreate(dir, m.nameFor(dir, 0, "src"))
			m.release(fd)
			_, err := fop.Call(t.Context(), m, &fop.Link{GFID: fd.GFID, Parent: dir, Name: name})
			return err
		},
	} {
		name := m.nameFor(dir, 1, fmt.Sprint("n", i, "-"))
		if _, _, err := m.linkto(t.Context(), m.subs[1], m.subs[2], dir, name, fop.NewGFID(), nil, fop.Stamp{}); err != nil {
			t.Fatal(err)
		}
		if err := make(name); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		m.amnesia()
		if _, err := m.lookup(dir, name); err != nil {
			t.Errorf("%d: lookup: %v", i, err)
		}
	}
}

// TestCreateOverLinkto: CREATE without O_EXCL opens the file, not the linkto.
func TestCreateOverLinkto(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "x1")
	name := m.nameFor(dir, 1, "n")
	g := m.putFile(2, dir, name)
	if _, _, err := m.linkto(t.Context(), m.subs[1], m.subs[2], dir, name, g, nil, fop.Stamp{}); err != nil {
		t.Fatal(err)
	}
	fd, err := m.tryCreate(dir, name, 0)
	if err != nil || fd.GFID != g {
		t.Fatalf("%v, %v", fd.GFID, err)
	}
	m.mustWrite(fd, 0, "data")
	m.release(fd)
	if b, err := os.ReadFile(filepath.Join(c.bricks[2].dir, "x1", name)); string(b) != "data" {
		t.Errorf("brick has %q, %v", b, err)
	}
	if _, err := m.tryCreate(dir, name, fop.OExcl); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("O_EXCL: %v", err)
	}
	// Off its place without a linkto, in a directory where that can be.
	name = m.nameFor(root, 1, "n")
	g = m.putFile(2, root, name)
	if _, err := m.tryCreate(root, name, fop.OExcl); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("O_EXCL: %v", err)
	}
	fd, err = m.tryCreate(root, name, 0)
	if err != nil || fd.GFID != g {
		t.Errorf("%v, %v", fd.GFID, err)
	}
	m.release(fd)
}

// TestRedirect: a full subvolume gets a linkto, decommissioned ones nothing new.
func TestRedirect(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "x1")
	m.call(dir, "x1")
	m.settle()
	full := &usage{percent: 3, inodes: 90, space: 1 << 20, chunks: 100}
	fill := func(on int) {
		for i, s := range m.subs {
			u := &usage{percent: float64(50 + i), inodes: 90, space: 1 << 40, chunks: 100}
			if i == on {
				u = full
			}
			s.usage.Store(u)
		}
		m.asked.Store(1 << 62)
		set := *m.set.Load()
		set.minPercent, set.minInodes = 10, 5
		m.set.Store(&set)
	}
	fill(0)
	name := m.nameFor(dir, 0, "f")
	m.take()
	fd := m.mustCreate(dir, name)
	m.call(fd.GFID, "F")
	m.settle()
	sameTrace(t, "create on a full subvolume", m.take(), "s0 MKNOD x1 "+name+" 101000", "s2 CREATE x1 "+name, "s0 SETATTR g2 0x6")
	m.mustWrite(fd, 0, "x")
	m.release(fd)
	if got := c.tree("x1"); len(got) != 2 || !strings.HasPrefix(got[0], "s0/"+name+" linkto 2") || !strings.HasPrefix(got[1], "s2/"+name+" data") {
		t.Errorf("bricks have %q", got)
	}
	m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
		if req.Op() == fop.OpCreate {
			return nil, syscall.EDQUOT
		}
		return nil, errPass
	})
	if _, err := m.tryCreate(dir, m.nameFor(dir, 0, "fail"), fop.OExcl); !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("%v", err)
	}
	m.intercept(nil)
	if got := c.tree("x1"); len(got) != 2 {
		t.Errorf("a failed create leaves %q", got)
	}
	// A name may say where it wants to be.
	fd = m.mustCreate(dir, m.nameFor(dir, 1, "p")+"@v-dht:v-client-0")
	m.release(fd)
	got := c.tree("x1")
	if len(got) != 4 || !slices.ContainsFunc(got, func(s string) bool {
		return strings.HasPrefix(s, "s0/"+m.nameFor(dir, 1, "p")+" data")
	}) {
		t.Errorf("bricks have %q", got)
	}
}

// TestLayoutChanged: the brick refuses a CREATE by an old layout, and the client
// reads the new one.
func TestLayoutChanged(t *testing.T) {
	c := newCluster(t, 2)
	m := c.mount(0)
	dir := m.mustMkdir(root, "d")
	m.call(dir, "d")
	name := m.nameFor(dir, 0, "f")
	m.settle()
	x0, x1 := c.xattr(0, "d", fop.XattrDHT), c.xattr(1, "d", fop.XattrDHT)
	c.setXattr(0, "d", fop.XattrDHT, x1)
	c.setXattr(1, "d", fop.XattrDHT, x0)
	m.take()
	fd := m.mustCreate(dir, name)
	m.release(fd)
	m.settle()
	got := m.take()
	if len(got) < 5 || got[0] != "s0 CREATE d "+name || got[1] != "s0 INODELK d dht.layout.heal RD" ||
		!slices.Contains(got, "s1 CREATE d "+name) || !slices.Contains(got, "s0 INODELK d dht.layout.heal UN") {
		t.Errorf("trace %q", got)
	}
	if tree := c.tree("d"); len(tree) != 1 || !strings.HasPrefix(tree[0], "s1/"+name+" data") {
		t.Errorf("bricks have %q", tree)
	}
}

// place puts a file on one subvolume and a linkto on another, past distribute.
func (m *mount) place(dir fop.GFID, name string, hashed, cached int) fop.GFID {
	m.t.Helper()
	g := m.putFile(cached, dir, name)
	if hashed != cached {
		if _, _, err := m.linkto(context.Background(), m.subs[hashed], m.subs[cached], dir, name, g, nil, fop.Stamp{}); err != nil {
			m.t.Fatal(err)
		}
	}
	return g
}
