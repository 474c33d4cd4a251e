package distribute

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// list reads a directory to its end and returns what came, in order, and how
// many calls it took.
func (m *mount) list(dir fop.GFID, size uint32) (entries []fop.Dirent, calls int) {
	m.t.Helper()
	fd := m.opendir(dir)
	defer fop.Call(m.t.Context(), m.graph.Top(), &fop.Releasedir{GFID: dir, Fd: fd})
	var off uint64
	for {
		r, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Readdirp{GFID: dir, Fd: fd, Offset: off, Size: size})
		if err != nil {
			m.t.Fatalf("readdirp: %v", err)
		}
		calls++
		entries = append(entries, r.Entries...)
		if r.EOF {
			return entries, calls
		}
		if len(r.Entries) == 0 {
			m.t.Fatal("an empty page that is not the end")
		}
		off = r.Entries[len(r.Entries)-1].Off
	}
}

func (m *mount) opendir(dir fop.GFID) *fop.Fd {
	m.t.Helper()
	fd := &fop.Fd{GFID: dir, Dir: true}
	if _, err := fop.Call(m.t.Context(), m.graph.Top(), &fop.Opendir{GFID: dir, Fd: fd}); err != nil {
		m.t.Fatalf("opendir: %v", err)
	}
	return fd
}

func sortedNames(entries []fop.Dirent) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name)
	}
	slices.Sort(all)
	return all
}

func TestListing(t *testing.T) {
	c := newCluster(t, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "d")
	m.call(dir, "d")
	want := []string{".", ".."}
	gfids := map[string]fop.GFID{}
	for i := range 40 {
		name := fmt.Sprint("f", i)
		fd := m.mustCreate(dir, name)
		gfids[name] = fd.GFID
		m.release(fd)
		want = append(want, name)
	}
	for i := range 8 {
		name := fmt.Sprint("sub", i)
		gfids[name] = m.mustMkdir(dir, name)
		want = append(want, name)
	}
	away := m.nameFor(dir, 0, "away")
	gfids[away] = m.place(dir, away, 0, 2)
	want = append(want, away)
	slices.Sort(want)
	for _, size := range []uint32{600, 1000, 4096, 1 << 17} {
		m.amnesia()
		entries, _ := m.list(dir, size)
		if got := sortedNames(entries); !slices.Equal(got, want) {
			t.Errorf("size %d: %q, want %q", size, got, want)
		}
		for _, e := range entries {
			if g, ok := gfids[e.Name]; ok && e.Stat.GFID != g {
				t.Errorf("%s has gfid %v, want %v", e.Name, e.Stat.GFID, g)
			}
			if e.XData.Has(fop.XattrLinkto) {
				t.Errorf("%s shows its linkto", e.Name)
			}
			if strings.HasPrefix(e.Name, "sub") && (!e.Stat.IsDir() || e.Stat.Flags&fop.IattMtime != 0 || e.Type != dtDir) {
				t.Errorf("%s: %+v", e.Name, e.Stat)
			}
		}
	}

	// Every offset is a place to go on from, also for another open directory.
	entries, _ := m.list(dir, 4096)
	fd := m.opendir(dir)
	defer fop.Call(t.Context(), m, &fop.Releasedir{GFID: dir, Fd: fd})
	for i, e := range entries[:len(entries)-1] {
		r, err := fop.Call(t.Context(), m, &fop.Readdirp{GFID: dir, Fd: fd, Offset: e.Off, Size: 1 << 17})
		if err != nil || len(r.Entries) == 0 || r.Entries[0].Name != entries[i+1].Name {
			t.Fatalf("after %s (%x): %v, %v; want %s", e.Name, e.Off, r, err, entries[i+1].Name)
		}
	}
	r, err := fop.Call(t.Context(), m, &fop.Readdirp{GFID: dir, Fd: fd, Offset: entries[len(entries)-1].Off, Size: 1 << 17})
	if err != nil || len(r.Entries) != 0 || !r.EOF {
		t.Errorf("at the end: %+v, %v", r, err)
	}

	// Plain listings have the same names and nothing else.
	var off uint64
	var plain []fop.Dirent
	for end := false; !end; {
		r, err := fop.Call(t.Context(), m, &fop.Readdir{GFID: dir, Fd: fd, Offset: off, Size: 4096})
		if err != nil {
			t.Fatal(err)
		}
		if end = r.EOF; len(r.Entries) > 0 {
			off = r.Entries[len(r.Entries)-1].Off
		}
		plain = append(plain, r.Entries...)
	}
	if got := sortedNames(plain); !slices.Equal(got, want) || !plain[0].Stat.IsZero() {
		t.Errorf("plain: %q, want %q", got, want)
	}

	// What was listed is known: no lookup is needed to remove it.
	m.amnesia()
	m.list(dir, 1<<17)
	m.settle()
	m.take()
	if err := m.unlinkName(dir, away); err != nil {
		t.Fatal(err)
	}
	sameTrace(t, "unlink of what was listed", m.take(), "s2 UNLINK d "+away, "s0 UNLINK d "+away)
}

// TestListingTrips: each subvolume is asked once for a small directory, the later
// ones at the same time as the first.
func TestListingTrips(t *testing.T) {
	c := newCluster(t, 4)
	m := c.mount(0)
	dir := m.mustMkdir(root, "d")
	m.call(dir, "d")
	for i := range 4 {
		m.release(m.mustCreate(dir, m.nameFor(dir, i, "f")))
	}
	fd := m.opendir(dir)
	m.settle()
	m.take()
	first, err := fop.Call(t.Context(), m, &fop.Readdirp{GFID: dir, Fd: fd, Size: 4096})
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"s0 READDIRP d", "s1 READDIRP d", "s2 READDIRP d", "s3 READDIRP d"}
	got := m.take()
	slices.Sort(got)
	sameTrace(t, "the first call", got, all...)
	n := len(first.Entries)
	for r := first; !r.EOF; {
		if r, err = fop.Call(t.Context(), m, &fop.Readdirp{GFID: dir, Fd: fd, Offset: r.Entries[len(r.Entries)-1].Off, Size: 4096}); err != nil {
			t.Fatal(err)
		}
		n += len(r.Entries)
	}
	sameTrace(t, "the others", m.take())
	if n != 6 {
		t.Errorf("%d entries", n)
	}
	// From the start again everything is asked again.
	if _, err := fop.Call(t.Context(), m, &fop.Readdirp{GFID: dir, Fd: fd, Size: 4096}); err != nil {
		t.Fatal(err)
	}
	if got := m.take(); len(got) != 4 {
		t.Errorf("after rewinding: %q", got)
	}
	fop.Call(t.Context(), m, &fop.Releasedir{GFID: dir, Fd: fd})
}

func TestListingDown(t *testing.T) {
	for _, optimize := range []string{"off", "on"} {
		c := newCluster(t, 3)
		m := c.mount(0, "readdir-optimize", optimize)
		dir := m.mustMkdir(root, "d")
		var files, dirs []string
		for i := range 3 {
			name := m.nameFor(dir, i, "f")
			m.release(m.mustCreate(dir, name))
			files = append(files, name)
			name = m.nameFor(dir, i, "sub")
			m.mustMkdir(dir, name)
			dirs = append(dirs, name)
		}
		dirs = append(dirs, ".", "..")
		entries, _ := m.list(dir, 4096)
		want := append(slices.Clone(files), dirs...)
		slices.Sort(want)
		if got := sortedNames(entries); !slices.Equal(got, want) {
			t.Errorf("optimize %s: %q, want %q", optimize, got, want)
		}
		for down := range 3 {
			c.stop(down)
			m.waitUp(down, false)
			entries, _ := m.list(dir, 4096)
			want := append(slices.Delete(slices.Clone(files), down, down+1), dirs...)
			slices.Sort(want)
			if got := sortedNames(entries); !slices.Equal(got, want) {
				t.Errorf("optimize %s, %d down: %q, want %q", optimize, down, got, want)
			}
			c.start(down)
			m.waitUp(down, true)
		}
		for i := range 3 {
			c.stop(i)
			m.waitUp(i, false)
		}
		_, err := fop.Call(t.Context(), m, &fop.Opendir{GFID: dir, Fd: &fop.Fd{GFID: dir, Dir: true}})
		if !errors.Is(err, syscall.ENOTCONN) {
			t.Errorf("all down: %v", err)
		}
	}
}
