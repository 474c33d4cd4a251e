package replicate

import (
	"errors"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// TestWeigh: whose answers count when copies answer differently.
func TestWeigh(t *testing.T) {
	x, y := fop.GFID{1}, fop.GFID{2}
	moved := func(g fop.GFID) answer {
		return answer{sent: true, reply: &fop.RenameReply{Stat: fop.Iatt{GFID: g}}}
	}
	gone := answer{sent: true, reply: &fop.RemoveReply{}}
	no := func(e syscall.Errno) answer { return answer{sent: true, err: e} }
	for _, c := range []struct {
		name                   string
		as                     []answer
		good                   set
		mixed, other           bool
		right, overruled, left set
		refused                bool
		err                    error
	}{
		{name: "all the same", as: []answer{moved(x), moved(x), moved(x)}, good: 7, right: 7},
		{name: "a brick that is gone", as: []answer{moved(x), no(syscall.ENOTCONN), {}}, good: 7, right: 1},
		{name: "stale copy moved another object", as: []answer{moved(x), moved(x), moved(y)}, good: 3, other: true, right: 3, overruled: 4, err: syscall.EIO},
		{name: "the stale copies are the majority", as: []answer{moved(x), moved(y), moved(y)}, good: 1, other: true, right: 1, overruled: 6, err: syscall.EIO},
		{name: "nobody is accused: the majority", as: []answer{moved(y), moved(x), moved(x)}, good: 7, other: true, right: 6, overruled: 1, err: syscall.EIO},
		{name: "nobody is accused, one against one", as: []answer{moved(y), moved(x)}, good: 3, other: true, right: 3},
		{name: "stale copy has no such name", as: []answer{gone, gone, no(syscall.ENOENT)}, good: 3, mixed: true, right: 3},
		{name: "only the stale copy has the name", as: []answer{no(syscall.ENOENT), gone}, good: 1, mixed: true, right: 1, overruled: 2, refused: true, err: syscall.ENOENT},
		{name: "only a stale copy could make the name", as: []answer{no(syscall.EEXIST), moved(x), no(syscall.EEXIST)}, good: 5, mixed: true, right: 5, overruled: 2, refused: true, err: syscall.EEXIST},
		{name: "the good copy is gone", as: []answer{no(syscall.ENOTCONN), gone}, good: 1, mixed: false},
		{name: "one good copy is full", as: []answer{gone, no(syscall.ENOSPC), gone}, good: 7, mixed: true, right: 5},
		{name: "directory not empty on a stale copy", as: []answer{gone, gone, no(syscall.ENOTEMPTY)}, good: 3, mixed: true, right: 3, left: 4},
		{name: "refused for different reasons", as: []answer{no(syscall.ENOENT), no(syscall.EISDIR)}, good: 2, mixed: true, right: 2, refused: true, err: syscall.EISDIR},
		{name: "refused for different reasons by good copies", as: []answer{no(syscall.ENOSPC), no(syscall.EACCES)}, good: 3, mixed: true},
		{name: "directory empty on a stale copy only", as: []answer{no(syscall.ENOTEMPTY), no(syscall.ENOTEMPTY), gone}, good: 3, mixed: true, right: 3, overruled: 4, refused: true, err: syscall.ENOTEMPTY},
	} {
		mixed, other := differ(c.as)
		if mixed != c.mixed || other != c.other {
			t.Errorf("%s: mixed %v, other %v", c.name, mixed, other)
		}
		b := weigh(c.as, c.good)
		if b.right != c.right || b.overruled != c.overruled || b.left != c.left || b.refused != c.refused || !errors.Is(b.err, c.err) {
			t.Errorf("%s: %+v", c.name, b)
		}
	}
}

// TestRenameOfStale: a brick was away while a name came to stand for another
// file. The name is changed again before the brick is healed: what the brick has
// under it is the old file, and so is what it renames. It must be blamed, or
// nobody would ever find out.
func TestRenameOfStale(t *testing.T) {
	for _, n := range []int{2, 3} {
		d := newDisks(t, n, 0)
		m := d.mount()
		must(t, m.mkdir("d"))
		make := func(name string) {
			fd, err := m.create(name)
			must(t, err)
			must(t, m.write(fd, 0, name))
			must(t, m.flush(fd))
			m.release(fd)
		}
		away := n - 1
		names := func(want ...string) {
			t.Helper()
			for i := range n - 1 {
				has := map[string]bool{}
				for _, x := range d.index(i, "entry-changes") {
					has[x[len(fop.GFID{}.String())+1:]] = true
				}
				for _, w := range want {
					if !has[w] {
						t.Errorf("%d bricks: brick %d does not list %q to be healed: %v", n, i, w, has)
					}
				}
			}
		}
		make("d/a")
		make("d/gone")
		must(t, m.mkdir("d/full"))
		must(t, m.mkdir("d/empty"))
		make("d/full/x")
		must(t, d.up.StopBrick(away))
		m.waitUp(all(n).without(away))
		must(t, m.unlink("d/a"))
		make("d/a") // another one
		must(t, m.unlink("d/gone"))
		must(t, m.unlink("d/full/x"))
		make("d/empty/y")
		m.quiesce(0)
		must(t, d.up.StartBrick(away))
		m.waitUp(all(n))

		must(t, m.rename("d/a", "d/b"))
		m.quiesce(0)
		names("a", "b")
		if r, err := m.lookup("d/b"); err != nil || r.Stat.GFID != m.made["d/a"] {
			t.Errorf("%d bricks: b is %+v, %v", n, r, err)
		}
		// Only the old copy has it.
		if err := m.unlink("d/gone"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%d bricks: unlink of what is gone: %v", n, err)
		}
		// Only the old copy is empty.
		if err := m.rmdir("d/empty"); !errors.Is(err, syscall.ENOTEMPTY) {
			t.Errorf("%d bricks: rmdir of what is not empty: %v", n, err)
		}
		if _, err := m.lookup("d/empty"); err != nil {
			t.Error(err)
		}
		// Only the old copy is not.
		if err := m.rmdir("d/full"); err != nil {
			t.Errorf("%d bricks: rmdir of what is empty: %v", n, err)
		}
		m.quiesce(0)
		names("empty", "full")
		for i := range n {
			if c := d.marks(i, "d"); i == away && c != "-" || i != away && c == "-" {
				t.Errorf("%d bricks: brick %d says %s", n, i, c)
			}
		}
	}
}

// TestStaleKnowledge: another client has made a directory that one brick did not
// take, and blamed that brick. This client remembers both copies of the parent as
// good, and must not answer from the stale one what the good one denies.
// Bricks of GlusterFS refuse a MKDIR with EEXIST, and undo it, when a LOOKUP comes
// in between.
func TestStaleKnowledge(t *testing.T) {
	for _, stale := range []int{0, 1} {
		good := 1 - stale
		c := overMemory(t, 2)
		if _, err := c.Do(t.Context(), &fop.Lookup{Header: c.head(), GFID: fop.RootGFID}); err != nil {
			t.Fatal(err)
		}
		mkdir := func(name string) fop.Request {
			gfid := fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())}
			return &fop.Mkdir{Header: c.head(gfid), Parent: fop.RootGFID, Name: name, Mode: 0o755}
		}
		has := func(want ...bool) {
			t.Helper()
			for i, p := range c.taps {
				_, err := p.next.Do(t.Context(), &fop.Lookup{Header: c.head(), Parent: fop.RootGFID, Name: "d"})
				if (err == nil) != want[i] {
					t.Errorf("stale copy %d: d on brick %d: %v", stale, i, err)
				}
			}
		}
		c.on(good, mkdir("d"))
		c.blame(good, stale, fop.RootGFID, changelog{entry: 1})

		if _, err := c.Do(t.Context(), &fop.Unlink{Header: c.head(), Parent: fop.RootGFID, Name: "d"}); !errors.Is(err, syscall.EISDIR) {
			t.Errorf("stale copy %d: unlink of a directory that one copy has not: %v", stale, err)
		}
		if _, err := c.Do(t.Context(), mkdir("d")); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("stale copy %d: mkdir of what is there: %v", stale, err)
		}
		has(true, true) // another one on the stale copy
		if _, err := c.Do(t.Context(), &fop.Rmdir{Header: c.head(), Parent: fop.RootGFID, Name: "d"}); err != nil {
			t.Errorf("stale copy %d: rmdir: %v", stale, err)
		}
		has(good != 0, good != 1)
		if _, err := c.lookup("d"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("stale copy %d: lookup of what is removed: %v", stale, err)
		}
		if _, err := c.Do(t.Context(), mkdir("d")); err != nil {
			t.Errorf("stale copy %d: mkdir of what was removed: %v", stale, err)
		}
		has(true, true)
	}
}
