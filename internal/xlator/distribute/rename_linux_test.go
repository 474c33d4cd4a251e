package distribute

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// inner leaves the locks out of a trace, and the lookups that come before the
// first change.
func inner(lines []string) []string {
	var all []string
	for _, l := range lines {
		if !strings.Contains(l, "INODELK") && !strings.Contains(l, "ENTRYLK") && !strings.Contains(l, "LOOKUP") {
			all = append(all, l)
		}
	}
	return all
}

// TestRenameTraces are the cases that were watched on GlusterFS 10.3, with what
// was seen after the locks; what is sent at once is in an order of ours.
func TestRenameTraces(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	for i, v := range []struct {
		name           string
		sh, sc, dh, dc int
		want           []string
	}{
		{"A", 0, 0, 0, none, []string{"s0 RENAME D old D new"}},
		{"B", 0, 0, 1, none, []string{"s1 MKNOD D old 101000", "s0 LINK D new of F", "s1 RENAME D old D new", "s0 UNLINK D old", "s1 SETATTR F 0x6"}},
		{"C", 1, 0, 2, none, []string{"s2 MKNOD D old 101000", "s0 LINK D new of F", "s2 RENAME D old D new", "s0 UNLINK D old", "s1 UNLINK D old", "s2 SETATTR F 0x6"}},
		{"D", 2, 0, 0, none, []string{"s0 RENAME D old D new", "s2 UNLINK D old"}},
		{"E", 0, 0, 1, 1, []string{"s1 MKNOD D old 101000", "s0 LINK D new of F", "s1 RENAME D old D new", "s0 UNLINK D old", "s1 SETATTR F 0x6"}},
		{"F", 0, 0, 1, 0, []string{"s1 UNLINK D new", "s0 RENAME D old D new", "s1 MKNOD D new 101000", "s1 SETATTR F 0x6"}},
		{"G", 0, 0, 1, 2, []string{"s1 MKNOD D old 101000", "s0 LINK D new of F", "s1 RENAME D old D new", "s0 UNLINK D old", "s2 UNLINK D new", "s1 SETATTR F 0x6"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			dir := m.mustMkdir(root, fmt.Sprint("d", i))
			m.call(dir, "D")
			old, name := m.nameFor(dir, v.sh, "o"), m.nameFor(dir, v.dh, "n")
			m.call(m.place(dir, old, v.sh, v.sc), "F")
			if v.dc != none {
				m.place(dir, name, v.dh, v.dc)
			}
			m.mustLookup(dir, old)
			m.lookup(dir, name)
			m.settle()
			m.take()
			if err := m.renameName(dir, old, dir, name); err != nil {
				t.Fatal(err)
			}
			m.settle()
			got := m.take()
			for i := range got {
				got[i] = strings.ReplaceAll(strings.ReplaceAll(got[i]+" ", " "+old+" ", " old "), " "+name+" ", " new ")
				got[i] = strings.TrimSuffix(strings.ReplaceAll(got[i], " "+old+" ", " old "), " ")
			}
			sameTrace(t, "steps", inner(got), v.want...)
			if v.name == "A" {
				slices.Sort(got[:4])
				slices.Sort(got[4:6])
				sameTrace(t, "with locks", got,
					"s0 ENTRYLK D new dht.entry.sync try", "s0 ENTRYLK D old dht.entry.sync try",
					"s0 INODELK D dht.layout.heal RD", "s0 INODELK F dht.file.migrate WR",
					"s0 LOOKUP D new", "s0 LOOKUP D old",
					"s0 RENAME D old D new",
					"s0 ENTRYLK D new dht.entry.sync unlock", "s0 ENTRYLK D old dht.entry.sync unlock",
					"s0 INODELK F dht.file.migrate UN", "s0 INODELK D dht.layout.heal UN")
			}
		})
	}
}

// TestRenameAll renames between all places of three subvolumes on real bricks,
// once as it goes and once with each step failing.
func TestRenameAll(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	n := 0
	for sh := range 3 {
		for sc := range 3 {
			for dh := range 3 {
				for dc := -1; dc < 3; dc++ {
					n++
					playOnBricks(t, c, m, fmt.Sprint("d", n), renamePlaces{sh, sc, dh, dc})
				}
			}
		}
	}
}

// canonical picks one of the combinations that differ only in which subvolume
// is which.
func canonical(p renamePlaces) bool {
	next := 0
	for _, at := range []int{p.srcCached, p.srcHashed, p.dstHashed, p.dstCached} {
		if at > next {
			return false
		}
		next = max(next, at+1)
	}
	return true
}

func playOnBricks(t *testing.T, c *cluster, m *mount, name string, at renamePlaces) {
	t.Helper()
	plan := planRename(at)
	steps := len(plan.before) + 1 + len(plan.after)
	if !canonical(at) {
		steps = 0
	}
	for fail := -1; fail < steps; fail++ {
		dirName := fmt.Sprint(name, "-", fail+1)
		dir := m.mustMkdir(root, dirName)
		old, now := m.nameFor(dir, at.srcHashed, "o"), m.nameFor(dir, at.dstHashed, "n")
		src := m.place(dir, old, at.srcHashed, at.srcCached)
		var dst fop.GFID
		if at.dstCached != none {
			dst = m.place(dir, now, at.dstHashed, at.dstCached)
		}
		before := c.tree(dirName)
		if fail%2 == 0 {
			m.mustLookup(dir, old)
			m.lookup(dir, now)
		} else {
			m.amnesia()
		}
		sent := -1
		m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
			switch req.Op() {
			case fop.OpMknod, fop.OpLink, fop.OpRename, fop.OpUnlink:
				if sent++; sent == fail {
					return nil, syscall.ENOSPC
				}
			}
			return nil, errPass
		})
		err := m.renameName(dir, old, dir, now)
		m.intercept(nil)
		m.settle()
		if want := len(plan.before) + 1 + len(plan.after); sent+1 < want && err == nil {
			t.Errorf("%v: %d steps, want %d", at, sent+1, want)
		}
		tree := c.tree(dirName)
		if fail >= 0 && fail <= len(plan.before) {
			if !errors.Is(err, syscall.ENOSPC) || !slices.Equal(tree, before) {
				t.Errorf("%v, failure of step %d: %v, bricks have %q, had %q", at, fail, err, tree, before)
			}
		} else if err != nil {
			t.Errorf("%v, failure of step %d: %v", at, fail, err)
		} else if fail < 0 {
			want := []string{fmt.Sprintf("s%d/%s data %x", at.srcCached, now, src[13:])}
			if at.dstHashed != at.srcCached {
				want = append(want, fmt.Sprintf("s%d/%s linkto %d %x", at.dstHashed, now, at.srcCached, src[13:]))
				slices.Sort(want)
			}
			if !slices.Equal(tree, want) {
				t.Errorf("%v: bricks have %q, want %q", at, tree, want)
			}
		}
		// Whatever failed: who comes fresh finds the one or the other. In a
		// directory where a miss is final a linkto must not be wanting.
		m.amnesia()
		newStat, newErr := m.lookup(dir, now)
		oldStat, oldErr := m.lookup(dir, old)
		lostLinkto := fail > len(plan.before) && at.srcCached == at.dstCached && at.dstHashed != at.srcCached
		switch {
		case err == nil && !lostLinkto && (newErr != nil || newStat.Stat.GFID != src):
			t.Errorf("%v, failure of step %d: the new name is %v, %v", at, fail, newStat, newErr)
		case err == nil && fail < 0 && !errors.Is(oldErr, syscall.ENOENT):
			t.Errorf("%v: the old name is still there: %v", at, oldErr)
		case err != nil && (oldErr != nil || oldStat.Stat.GFID != src):
			t.Errorf("%v, failure of step %d: the old name is %v, %v", at, fail, oldStat, oldErr)
		case err != nil && dst != fop.GFID{} && (newErr != nil || newStat.Stat.GFID != dst):
			t.Errorf("%v, failure of step %d: what was to be replaced is %v, %v", at, fail, newStat, newErr)
		}
	}
}

// TestRenameOutcome: the answer to RENAME is lost on the subvolume that had to
// replace other data. Nothing may be lost, whether it was done or not.
func TestRenameOutcome(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	for i, carriedOut := range []bool{true, false} {
		for _, reachable := range []bool{true, false} {
			dir := m.mustMkdir(root, fmt.Sprint("d", i, reachable))
			old, now := m.nameFor(dir, 0, "o"), m.nameFor(dir, 1, "n")
			src, dst := m.place(dir, old, 0, 0), m.place(dir, now, 1, 1)
			m.mustLookup(dir, old)
			m.mustLookup(dir, now)
			lost := false
			m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
				if r, ok := req.(*fop.Rename); ok {
					lost = true
					if carriedOut {
						if _, err := m.c.direct(m, 1).Do(t.Context(), r); err != nil {
							t.Error(err)
						}
					}
					return nil, syscall.ENOTCONN
				}
				if lost && !reachable && s == "s1" {
					return nil, syscall.ENOTCONN
				}
				return nil, errPass
			})
			err := m.renameName(dir, old, dir, now)
			m.intercept(nil)
			m.settle()
			m.amnesia()
			o, oerr := m.lookup(dir, old)
			n, nerr := m.lookup(dir, now)
			switch {
			case carriedOut && reachable:
				if err != nil || nerr != nil || n.Stat.GFID != src || !errors.Is(oerr, syscall.ENOENT) {
					t.Errorf("done: %v; old %v, new %v", err, oerr, nerr)
				}
			case carriedOut:
				if err == nil || nerr != nil || n.Stat.GFID != src || oerr != nil || o.Stat.GFID != src {
					t.Errorf("done, nobody knows: %v; old %v, new %v", err, oerr, nerr)
				}
			default:
				if err == nil || oerr != nil || o.Stat.GFID != src || nerr != nil || n.Stat.GFID != dst {
					t.Errorf("not done: %v; old %v, new %v", err, oerr, nerr)
				}
			}
		}
	}
}

// direct is a subvolume below the tracer.
func (c *cluster) direct(m *mount, i int) fop.Handler { return m.subs[i].Handler.(*traced).child }

func TestRenameSame(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "d")
	a, b := m.nameFor(dir, 0, "a"), m.nameFor(dir, 2, "b")
	fd := m.mustCreate(dir, a)
	m.release(fd)
	if _, err := fop.Call(t.Context(), m, &fop.Link{GFID: fd.GFID, Parent: dir, Name: b}); err != nil {
		t.Fatal(err)
	}
	m.settle()
	before := c.tree("d")
	for _, to := range []string{a, b} {
		if err := m.renameName(dir, a, dir, to); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
	}
	if got := c.tree("d"); !slices.Equal(got, before) {
		t.Errorf("bricks have %q, had %q", got, before)
	}
	if err := m.renameName(dir, "none", dir, "x"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("nothing: %v", err)
	}
	m.mustMkdir(dir, "sub")
	if err := m.renameName(dir, a, dir, "sub"); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("file over directory: %v", err)
	}
	if err := m.renameName(dir, "sub", dir, a); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("directory over file: %v", err)
	}
}

func TestRenameDir(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "d")
	m.call(dir, "d")
	old, now := m.nameFor(dir, 2, "o"), m.nameFor(dir, 1, "n")
	sub := m.mustMkdir(dir, old)
	m.settle()
	layouts := c.layouts("d/" + old)
	m.take()
	if err := m.renameName(dir, old, dir, now); err != nil {
		t.Fatal(err)
	}
	m.settle()
	sameTrace(t, "rename of a directory", inner(m.take()), "s1 RENAME d "+old+" d "+now, "s0 RENAME d "+old+" d "+now, "s2 RENAME d "+old+" d "+now)
	c.wantLayouts("d/"+now, layouts...)
	if got := m.mustLookup(dir, now); got.GFID != sub {
		t.Errorf("%v, want %v", got.GFID, sub)
	}

	// A subvolume that fails makes all as it was.
	for _, bad := range []string{"s0", "s1", "s2"} {
		before := c.tree("d")
		m.intercept(func(s string, req fop.Request) (fop.Reply, error) {
			if r, ok := req.(*fop.Rename); ok && s == bad && r.OldName == now {
				return nil, syscall.EIO
			}
			return nil, errPass
		})
		if err := m.renameName(dir, now, dir, m.nameFor(dir, 0, "x")); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s fails: %v", bad, err)
		}
		m.intercept(nil)
		m.settle()
		if got := c.tree("d"); !slices.Equal(got, before) {
			t.Errorf("%s failed: bricks have %q, had %q", bad, got, before)
		}
	}

	// Over another directory: only if that is empty.
	full := m.mustMkdir(dir, "full")
	m.release(m.mustCreate(full, "f"))
	if err := m.renameName(dir, now, dir, "full"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("over a full directory: %v", err)
	}
	stale := m.mustMkdir(dir, "stale")
	if _, _, err := m.linkto(t.Context(), m.subs[0], m.subs[1], stale, m.nameFor(stale, 0, "l"), fop.NewGFID(), nil, fop.Stamp{}); err != nil {
		t.Fatal(err)
	}
	if err := m.renameName(dir, now, dir, "stale"); err != nil {
		t.Errorf("over a directory of stale linktos: %v", err)
	}
	if got := m.mustLookup(dir, "stale"); got.GFID != sub {
		t.Errorf("%v, want %v", got.GFID, sub)
	}
	c.stop(0)
	m.waitUp(0, false)
	if err := m.renameName(dir, "stale", dir, "other"); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("with a subvolume down: %v", err)
	}
}

// TestRenamePermission: a caller that may not remove the old name does not get
// a second one by way of what is done as root.
func TestRenamePermission(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	user := fop.Cred{UID: 1000, GID: 1000, PID: 1}
	for _, v := range []struct {
		mode  uint32
		owner int // of the file
		want  error
	}{
		{0o755, 1000, syscall.EACCES}, {0o777, 0, nil}, {0o1777, 0, syscall.EPERM}, {0o1777, 1000, nil},
	} {
		name := fmt.Sprintf("d%o-%d", v.mode, v.owner)
		dir := m.mustMkdir(root, name)
		to := m.mustMkdir(root, name+"-to")
		old, now := m.nameFor(dir, 0, "o"), m.nameFor(to, 1, "n")
		m.place(dir, old, 0, 0)
		for g, mode := range map[fop.GFID]uint32{dir: v.mode, to: 0o777} {
			if _, err := fop.Call(t.Context(), m, &fop.Setattr{GFID: g, Stat: fop.Iatt{Mode: mode}, Valid: fop.SetMode}); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(filepath.Join(c.bricks[0].dir, name, old), v.owner, v.owner); err != nil {
			t.Fatal(err)
		}
		_, err := fop.Call(t.Context(), m, &fop.Rename{Header: fop.Header{Cred: user}, OldParent: dir, OldName: old, NewParent: to, NewName: now})
		m.settle()
		if !errors.Is(err, v.want) || err != nil && v.want == nil {
			t.Errorf("%s: %v, want %v", name, err, v.want)
		}
		m.amnesia()
		_, oerr := m.lookup(dir, old)
		_, nerr := m.lookup(to, now)
		if (oerr == nil) == (err == nil) || (nerr == nil) != (err == nil) {
			t.Errorf("%s: old %v, new %v after %v", name, oerr, nerr, err)
		}
	}
}
