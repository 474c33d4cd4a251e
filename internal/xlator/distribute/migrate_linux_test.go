package distribute

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// mover does by hand what a rebalance process does with one file, through a
// client of its own.
type mover struct {
	*mount
	dir      fop.GFID
	path     string
	gfid     fop.GFID
	name     string
	from, to int
	mode     uint32
}

func (v *mover) on(i int, req fop.Request) fop.Reply {
	v.t.Helper()
	req.Head().Cred = fop.Cred{PID: fop.PIDRebalance}
	rep, err := v.c.direct(v.mount, i).Do(v.t.Context(), req)
	if err != nil {
		v.t.Errorf("rebalance: %v on %d: %v", req.Op(), i, err)
	}
	return rep
}

// begin makes the linkto at the destination and marks the source: phase 1.
func (v *mover) begin() {
	v.t.Helper()
	src := v.on(v.from, &fop.Stat{GFID: v.gfid}).(*fop.StatReply).Stat
	v.mode = src.Mode & modeBits
	if !v.c.exists(v.to, filepath.Join(v.path, v.name)) {
		if _, _, err := v.linkto(v.t.Context(), v.subs[v.to], v.subs[v.from], v.dir, v.name, v.gfid, nil, fop.Stamp{}); err != nil {
			v.t.Error(err)
		}
	}
	v.on(v.to, &fop.Truncate{GFID: v.gfid, Offset: src.Size})
	v.on(v.from, &fop.Setxattr{GFID: v.gfid, Dict: fop.NewDict(fop.Pair{Key: fop.XattrLinkto, Val: fop.Str(v.subs[v.to].name)})})
	v.on(v.from, &fop.Setattr{GFID: v.gfid, Stat: fop.Iatt{Mode: v.mode | phase1}, Valid: fop.SetMode})
}

// copy copies a part.
func (v *mover) copy(off, size int) {
	v.t.Helper()
	r := v.on(v.from, &fop.Read{GFID: v.gfid, Fd: &fop.Fd{GFID: v.gfid}, Offset: uint64(off), Size: uint32(size)}).(*fop.ReadReply)
	if len(r.Data) > 0 {
		v.on(v.to, &fop.Write{GFID: v.gfid, Fd: &fop.Fd{GFID: v.gfid}, Offset: uint64(off), Data: r.Data})
	}
}

// turn makes the destination the file: phase 2.
func (v *mover) turn() {
	v.t.Helper()
	v.on(v.to, &fop.Setattr{GFID: v.gfid, Stat: fop.Iatt{Mode: v.mode}, Valid: fop.SetMode})
	v.on(v.from, &fop.Setattr{GFID: v.gfid, Stat: fop.Iatt{Mode: fop.ModeSticky}, Valid: fop.SetMode})
	v.on(v.from, &fop.Truncate{GFID: v.gfid})
	v.on(v.to, &fop.Removexattr{GFID: v.gfid, Name: fop.XattrLinkto})
}

// remove removes what is left at the source.
func (v *mover) remove() {
	v.t.Helper()
	v.on(v.from, &fop.Unlink{Parent: v.dir, Name: v.name})
}

// giveUp ends a migration that failed.
func (v *mover) giveUp() {
	v.t.Helper()
	v.on(v.from, &fop.Setattr{GFID: v.gfid, Stat: fop.Iatt{Mode: v.mode}, Valid: fop.SetMode})
	v.on(v.from, &fop.Removexattr{GFID: v.gfid, Name: fop.XattrLinkto})
	v.on(v.to, &fop.Truncate{GFID: v.gfid})
}

func (v *mover) disk(i int) string {
	b, err := os.ReadFile(filepath.Join(v.c.bricks[i].dir, v.path, v.name))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// moving makes a file of "0123456789" that is open, off its hashed subvolume, and
// a mover for it.
func moving(t *testing.T, c *cluster, m, rebalance *mount, dirName string) (*fop.Fd, *mover) {
	t.Helper()
	dir := m.mustMkdir(root, dirName)
	v := &mover{mount: rebalance, dir: dir, path: dirName, from: 0, to: 2}
	v.name = m.nameFor(dir, v.to, "f")
	v.gfid = m.place(dir, v.name, v.to, v.from)
	if _, err := m.lookup(dir, v.name); err != nil {
		t.Fatal(err)
	}
	fd := &fop.Fd{GFID: v.gfid, Flags: fop.ORdwr}
	if _, err := fop.Call(t.Context(), m, &fop.Open{GFID: v.gfid, Fd: fd, Flags: fop.ORdwr}); err != nil {
		t.Fatal(err)
	}
	m.mustWrite(fd, 0, "0123456789")
	m.call(v.gfid, "F")
	m.call(dir, "d")
	m.settle()
	m.take()
	return fd, v
}

// TestMigrationWire is what GlusterFS 10.3 was seen to send while a file moved.
func TestMigrationWire(t *testing.T) {
	c := newCluster(t, 3)
	m, r := c.mount(0), c.mount(0)
	fd, v := moving(t, c, m, r, "d")
	v.begin()
	v.copy(0, 10)
	m.mustWrite(fd, 2, "xx")
	sameTrace(t, "first write in phase 1", m.take(), "s0 WRITE F", "s0 GETXATTR F "+fop.XattrLinkto, "s2 OPEN F", "s2 WRITE F")
	m.mustWrite(fd, 4, "y")
	sameTrace(t, "second write in phase 1", m.take(), "s0 WRITE F", "s2 WRITE F")
	if c.xattr(2, "d/"+v.name, keyProtect) == "" {
		t.Error("the destination is not protected from being overwritten")
	}
	if got := m.read(fd); got != "01xxy56789" {
		t.Errorf("read %q", got)
	}
	sameTrace(t, "read in phase 1", m.take(), "s0 READ F")
	st, err := fop.Call(t.Context(), m, &fop.Stat{GFID: v.gfid})
	if err != nil || st.Stat.Mode&modeBits != 0o644 {
		t.Errorf("mode %o, %v", st.Stat.Mode, err)
	}
	m.take()
	v.turn()
	if got := m.read(fd); got != "01xxy56789" {
		t.Errorf("read %q in phase 2", got)
	}
	sameTrace(t, "read in phase 2", m.take(), "s0 READ F", "s0 GETXATTR F "+fop.XattrLinkto,
		"s0 LOOKUP F", "s1 LOOKUP F", "s2 LOOKUP F", "s0 RELEASE F", "s2 READ F")
	v.remove()
	m.mustWrite(fd, 9, "zz")
	sameTrace(t, "write after", m.take(), "s2 WRITE F")
	if got := v.disk(2); got != "01xxy5678zz" {
		t.Errorf("brick has %q", got)
	}
	m.release(fd)
	sameTrace(t, "release", m.take(), "s2 RELEASE F")
}

// TestMigrationFops does each fop in each phase and looks at what the bricks
// have.
func TestMigrationFops(t *testing.T) {
	c := newCluster(t, 3)
	m, r := c.mount(0), c.mount(0)
	user := fop.NewDict(fop.Pair{Key: "user.k", Val: fop.Bytes([]byte("v"))})
	for i, f := range []struct {
		name string
		mk   func(fd *fop.Fd) fop.Request
		want string // contents
		key  bool   // user.k must be there
	}{
		{"write", func(fd *fop.Fd) fop.Request {
			return &fop.Write{GFID: fd.GFID, Fd: fd, Offset: 8, Data: []byte("ABCD")}
		}, "01234567ABCD", false},
		{"truncate", func(fd *fop.Fd) fop.Request { return &fop.Truncate{GFID: fd.GFID, Offset: 4} }, "0123", false},
		{"ftruncate", func(fd *fop.Fd) fop.Request { return &fop.Ftruncate{GFID: fd.GFID, Fd: fd, Offset: 4} }, "0123", false},
		{"fallocate", func(fd *fop.Fd) fop.Request {
			return &fop.Fallocate{GFID: fd.GFID, Fd: fd, Offset: 10, Size: 2}
		}, "0123456789\x00\x00", false},
		{"zerofill", func(fd *fop.Fd) fop.Request { return &fop.Zerofill{GFID: fd.GFID, Fd: fd, Offset: 2, Size: 2} }, "01\x00\x00456789", false},
		{"fsync", func(fd *fop.Fd) fop.Request { return &fop.Fsync{GFID: fd.GFID, Fd: fd} }, "0123456789", false},
		{"setxattr", func(fd *fop.Fd) fop.Request { return &fop.Setxattr{GFID: fd.GFID, Dict: user} }, "0123456789", true},
		{"fsetxattr", func(fd *fop.Fd) fop.Request { return &fop.Fsetxattr{GFID: fd.GFID, Fd: fd, Dict: user} }, "0123456789", true},
		{"xattrop", func(fd *fop.Fd) fop.Request {
			return &fop.Xattrop{GFID: fd.GFID, Dict: fop.NewDict(fop.Pair{Key: "user.k", Val: fop.Bytes([]byte{0, 0, 0, 1})})}
		}, "0123456789", true},
		{"open with O_TRUNC", func(fd *fop.Fd) fop.Request {
			return &fop.Open{GFID: fd.GFID, Fd: &fop.Fd{GFID: fd.GFID, Flags: fop.ORdwr}, Flags: fop.ORdwr | fop.OTrunc}
		}, "", false},
	} {
		for phase := range 5 {
			fd, v := moving(t, c, m, r, fmt.Sprintf("d%d-%d", i, phase))
			at := v.from
			switch phase {
			case 1: // copied already
				v.begin()
				v.copy(0, 10)
			case 2: // known to be in phase 1, turned meanwhile
				v.begin()
				m.mustWrite(fd, 0, "0")
				v.copy(0, 10)
				v.turn()
				at = v.to
			case 3: // turned and removed
				v.begin()
				v.copy(0, 10)
				v.turn()
				v.remove()
				at = v.to
			case 4: // given up after the client heard of it
				v.begin()
				m.mustWrite(fd, 0, "0")
				v.giveUp()
			}
			if _, err := m.Do(t.Context(), f.mk(fd)); err != nil {
				t.Errorf("%s, case %d: %v", f.name, phase, err)
				continue
			}
			m.settle()
			bricks := []int{at}
			if phase == 1 {
				bricks = []int{v.from, v.to}
			}
			for _, b := range bricks {
				if got := v.disk(b); got != f.want {
					t.Errorf("%s, case %d: brick %d has %q, want %q", f.name, phase, b, got, f.want)
				}
				if x := c.xattr(b, v.path+"/"+v.name, "user.k"); (x != "") != f.key {
					t.Errorf("%s, case %d: brick %d has user.k %q", f.name, phase, b, x)
				}
			}
			m.release(fd)
		}
	}
}

// TestMigrationMode: chmod in phase 1 must not take the mark of it away.
func TestMigrationMode(t *testing.T) {
	c := newCluster(t, 3)
	m, r := c.mount(0), c.mount(0)
	fd, v := moving(t, c, m, r, "d")
	v.begin()
	v.copy(0, 10)
	rep, err := fop.Call(t.Context(), m, &fop.Setattr{GFID: v.gfid, Stat: fop.Iatt{Mode: 0o600}, Valid: fop.SetMode})
	if err != nil || rep.Post.Mode&modeBits != 0o600 {
		t.Errorf("%o, %v", rep.Post.Mode, err)
	}
	other := c.mount(0)
	if _, err := other.lookup(v.dir, v.name); err != nil {
		t.Fatal(err)
	}
	if _, err := fop.Call(t.Context(), other, &fop.Write{GFID: v.gfid, Fd: &fop.Fd{GFID: v.gfid}, Data: []byte("Z")}); err != nil {
		t.Fatal(err)
	}
	if got := v.disk(2); got != "Z123456789" {
		t.Errorf("the destination has %q: it missed a write", got)
	}
	m.release(fd)
}

// TestMigrationBack: a client that did nothing while a file moved away and came
// back must not write to what it had opened before.
func TestMigrationBack(t *testing.T) {
	c := newCluster(t, 3)
	m, r := c.mount(0), c.mount(0)
	for _, copying := range []bool{false, true} {
		fd, v := moving(t, c, m, r, fmt.Sprint("d", copying))
		for range 2 {
			v.begin()
			v.copy(0, 10)
			v.turn()
			v.remove()
			v.from, v.to = v.to, v.from
		}
		if copying { // it goes again, to where nobody has it open
			v.begin()
			v.copy(0, 10)
		}
		m.mustWrite(fd, 0, "ABC")
		m.mustWrite(fd, 3, "D")
		if got := v.disk(v.from); got != "ABCD456789" {
			t.Errorf("copying %v: brick has %q", copying, got)
		}
		if copying {
			if got := v.disk(v.to); got != "ABCD456789" {
				t.Errorf("the destination has %q", got)
			}
		}
		if got := m.read(fd); got != "ABCD456789" {
			t.Errorf("copying %v: read %q", copying, got)
		}
		m.release(fd)
	}
}

// TestOwnBits: files whose modes only look like those of a migration.
func TestOwnBits(t *testing.T) {
	c := newCluster(t, 2)
	m := c.mount(0)
	dir := m.mustMkdir(root, "d")
	for _, mode := range []uint32{phase1 | 0o755, fop.ModeSticky} {
		fd := m.mustCreate(dir, fmt.Sprint("f", mode))
		if _, err := fop.Call(t.Context(), m, &fop.Setattr{GFID: fd.GFID, Stat: fop.Iatt{Mode: mode}, Valid: fop.SetMode}); err != nil {
			t.Errorf("%o: %v", mode, err)
		}
		m.mustWrite(fd, 0, "mine")
		if got := m.read(fd); got != "mine" {
			t.Errorf("%o: read %q", mode, got)
		}
		if err := m.unlinkName(dir, fmt.Sprint("f", mode)); err != nil {
			t.Errorf("%o: %v", mode, err)
		}
		m.release(fd)
	}
}

// TestMigrationEntries: names of a file that has moved or is moving.
func TestMigrationEntries(t *testing.T) {
	c := newCluster(t, 3)
	m, r := c.mount(0), c.mount(0)
	for _, turned := range []bool{false, true} {
		fd, v := moving(t, c, m, r, fmt.Sprint("d", turned))
		v.begin()
		v.copy(0, 10)
		if turned {
			v.turn()
			v.remove()
		}
		for on := range 3 {
			name := m.nameFor(v.dir, on, "link")
			if _, err := fop.Call(t.Context(), m, &fop.Link{GFID: v.gfid, Parent: v.dir, Name: name}); err != nil {
				t.Errorf("turned %v: link: %v", turned, err)
				continue
			}
			m.settle()
			m.amnesia()
			if st, err := m.lookup(v.dir, name); err != nil || st.Stat.GFID != v.gfid {
				t.Errorf("turned %v: link to %d: %v, %v", turned, on, st, err)
			}
		}
		if turned {
			if err := m.renameName(v.dir, v.name, v.dir, "other"); err != nil {
				t.Errorf("rename: %v", err)
			}
			m.amnesia()
			m.mustLookup(v.dir, "other")
			if err := m.unlinkName(v.dir, "other"); err != nil {
				t.Errorf("unlink: %v", err)
			}
		}
		m.release(fd)
	}
}

// TestMigrationConcurrent moves a file to and fro while several clients write
// it. Every byte that was acknowledged must be there in the end.
func TestMigrationConcurrent(t *testing.T) {
	c := newCluster(t, 3)
	m, r := c.mount(0), c.mount(0)
	fd, v := moving(t, c, m, r, "d")
	const writers, block = 3, 512
	var wg sync.WaitGroup
	stop := make(chan struct{})
	counts := make([]int, writers)
	for w := range writers {
		mw := m
		if w > 0 {
			mw = c.mount(0)
			if _, err := mw.lookup(v.dir, v.name); err != nil {
				t.Fatal(err)
			}
		}
		f := &fop.Fd{GFID: v.gfid, Flags: fop.ORdwr}
		if _, err := fop.Call(t.Context(), mw, &fop.Open{GFID: v.gfid, Fd: f, Flags: fop.ORdwr}); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer mw.release(f)
			for i := 0; ; i++ {
				select {
				case <-stop:
					counts[w] = i
					return
				default:
				}
				data := strings.Repeat(string(rune('a'+(i+w)%26)), block)
				if _, err := fop.Call(t.Context(), mw, &fop.Write{GFID: v.gfid, Fd: f, Offset: uint64((i*writers + w) * block), Data: []byte(data)}); err != nil {
					t.Errorf("writer %d, block %d: %v", w, i, err)
					counts[w] = i
					return
				}
			}
		})
	}
	for round := range 6 {
		v.begin()
		// One pass over what was there when it began, in steps.
		size := int(v.on(v.from, &fop.Stat{GFID: v.gfid}).(*fop.StatReply).Stat.Size)
		for off := 0; off < size; off += 1 << 16 {
			v.copyGuarded(off, min(1<<16, size-off))
		}
		if round%3 == 2 {
			v.giveUp()
			continue
		}
		v.turn()
		v.remove()
		v.from, v.to = v.to, v.from
	}
	close(stop)
	wg.Wait()
	got := v.disk(v.from)
	total := 0
	for w, n := range counts {
		total += n
		for i := range n {
			off := (i*writers + w) * block
			want := strings.Repeat(string(rune('a'+(i+w)%26)), block)
			if off+block > len(got) || got[off:off+block] != want {
				t.Fatalf("writer %d lost block %d", w, i)
			}
		}
	}
	if total < 20 {
		t.Errorf("only %d writes", total)
	}
	m.release(fd)
	if !slices.Contains(c.tree("d"), fmt.Sprintf("s%d/%s data %x", v.from, v.name, v.gfid[13:])) {
		t.Errorf("bricks have %q", c.tree("d"))
	}
}

// copyGuarded copies a part as rebalance does, which must not overwrite what a
// client has written there since: here the write is repeated until what was read
// is what is there.
func (v *mover) copyGuarded(off, size int) {
	v.t.Helper()
	for range 200 {
		r := v.on(v.from, &fop.Read{GFID: v.gfid, Fd: &fop.Fd{GFID: v.gfid}, Offset: uint64(off), Size: uint32(size)}).(*fop.ReadReply)
		before := string(r.Data)
		v.on(v.to, &fop.Write{GFID: v.gfid, Fd: &fop.Fd{GFID: v.gfid}, Offset: uint64(off), Data: r.Data})
		r = v.on(v.from, &fop.Read{GFID: v.gfid, Fd: &fop.Fd{GFID: v.gfid}, Offset: uint64(off), Size: uint32(size)}).(*fop.ReadReply)
		if string(r.Data) == before {
			return
		}
	}
	v.t.Error("the file does not stand still")
}
