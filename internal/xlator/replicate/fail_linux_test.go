package replicate

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// where tells what a brick does wrong.
type fault struct {
	when string // lock, pre-op, fop, lost (done, but the answer is lost), post-op, short
	who  string // children
}

// inject has bricks do wrong. The pre-op is the first xattrop, the post-op the
// one that takes a dirty mark back or blames.
func (m *mount) inject(f fault, op fop.Op) {
	for i := range children(f.who).each {
		w := m.taps[i]
		switch f.when {
		case "lock":
			w.failOps(syscall.ENOLCK, fop.OpInodelk, fop.OpFinodelk, fop.OpEntrylk)
		case "fop":
			w.failOps(syscall.EIO, op)
		case "full":
			w.failOps(syscall.ENOSPC, op)
		case "lost":
			w.loseReplies(op)
		case "pre-op", "post-op":
			w.setHook(func(req fop.Request) error {
				var d *fop.Dict
				switch q := req.(type) {
				case *fop.Xattrop:
					d = q.Dict
				case *fop.Fxattrop:
					d = q.Dict
				default:
					return nil
				}
				if !d.Has(m.dirty) {
					return nil // the mark on a new object
				}
				c := m.dirtyOf(d)
				if pre := slices.Max(c[:]) > 0; pre == (f.when == "pre-op") {
					return syscall.EIO
				}
				return nil
			})
		}
	}
}

func (m *mount) heal() {
	for _, w := range m.taps {
		w.mu.Lock()
		w.hook, w.after = nil, nil
		w.mu.Unlock()
	}
}

// TestFailures has each phase of each kind of transaction fail on some bricks and
// looks at what the bricks have noted then: it must be what a healer needs.
func TestFailures(t *testing.T) {
	const down = "down" // stopped before, as against failing
	for _, shape := range []struct {
		n, arbiter int
		opts       []string
		cases      []failure
	}{
		{2, 0, nil, []failure{
			{fop: "write", faults: []fault{{"fop", "1"}}, marks: "c1=1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"fop", "0"}}, marks: "d1.0.0 | c0=1.0.0"},
			{fop: "write", faults: []fault{{"lost", "1"}}, marks: "c1=1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"fop", "01"}}, err: syscall.EIO, marks: "- | -"},
			{fop: "write", faults: []fault{{"fop", "0"}, {"full", "1"}}, err: syscall.ENOSPC, marks: "d1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"lost", "01"}}, err: syscall.ENOTCONN, marks: "d1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"pre-op", "1"}}, marks: "c1=1.0.0 | -"},
			{fop: "write", faults: []fault{{"pre-op", "01"}}, err: syscall.EIO, marks: "- | -"},
			{fop: "write", faults: []fault{{"post-op", "1"}}, marks: "- | d1.0.0"},
			{fop: "write", faults: []fault{{"lock", "1"}}, marks: "c1=1.0.0 | -"},
			{fop: "write", faults: []fault{{"lock", "01"}}, err: syscall.ENOLCK, marks: "- | -"},
			{fop: "write", faults: []fault{{"fop", "1"}, {"post-op", "0"}}, err: syscall.EIO, marks: "d1.0.0 | d1.0.0"},
			{fop: "chmod", faults: []fault{{"fop", "1"}}, marks: "c1=0.1.0 | -"},
			{fop: "chmod", faults: []fault{{"lost", "0"}}, marks: "- | c0=0.1.0"},
			{fop: "chmod", faults: []fault{{"lock", "1"}}, marks: "c1=0.1.0 | -"},
			{fop: "chmod", faults: []fault{{"fop", "01"}}, err: syscall.EIO, marks: "- | -"},
			{fop: "truncate", faults: []fault{{"fop", "1"}}, marks: "c1=1.0.0 | d1.0.0"},
			{fop: "create", faults: []fault{{"fop", "1"}}, parent: "c1=0.0.1 | -", marks: "c1=1.1.0 | none", names: "new"},
			{fop: "create", faults: []fault{{"lost", "1"}}, parent: "c1=0.0.1 | -", marks: "c1=1.1.0 | -", names: "new"},
			{fop: "create", faults: []fault{{"fop", "01"}}, err: syscall.EIO, parent: "- | -", marks: "none | none"},
			{fop: "create", faults: []fault{{"lock", "1"}}, parent: "c1=0.0.1 | -", marks: "c1=1.1.0 | none", names: "new"},
			{fop: "create", faults: []fault{{"fop", "1"}, {"post-op", "0"}}, err: syscall.EIO, parent: "- | -", marks: "c1=1.1.0 | none"},
			{fop: "mkdir", faults: []fault{{"fop", "0"}}, parent: "- | c0=0.0.1", marks: "none | c0=1.1.1", names: "new"},
			{fop: "unlink", faults: []fault{{"fop", "1"}}, parent: "c1=0.0.1 | -", marks: "none | -", names: "f"},
			{fop: "rename", faults: []fault{{"fop", "1"}}, parent: "c1=0.0.2 | -", names: "f new"},
		}},
		{2, 0, []string{"quorum-type", "auto"}, []failure{
			{fop: "write", faults: []fault{{"fop", "1"}}, marks: "c1=1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"fop", "0"}}, err: syscall.EIO, marks: "d1.0.0 | d1.0.0"},
			{fop: "create", faults: []fault{{"fop", "0"}}, err: syscall.EIO, parent: "- | d0.0.1", marks: "none | -", names: "new"},
			{fop: "chmod", faults: []fault{{"fop", "0"}}, err: syscall.EIO, marks: "- | d0.1.0"},
			{fop: "write", faults: []fault{{"lock", "0"}}, err: syscall.ENOLCK, marks: "- | -"},
		}},
		{3, 0, nil, []failure{
			{fop: "write", faults: []fault{{"fop", "2"}}, marks: "c2=1.0.0 | c2=1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"fop", "12"}}, err: syscall.EIO, marks: "d1.0.0 | d1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"pre-op", "12"}}, err: syscall.EIO, marks: "- | - | -"},
			{fop: "write", faults: []fault{{"lock", "0"}, {"fop", "1"}}, err: syscall.EIO, marks: "- | d1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{down, "2"}}, marks: "c2=1.0.0 | c2=1.0.0 | -"},
			{fop: "write", faults: []fault{{down, "2"}, {"fop", "1"}}, err: syscall.EIO, marks: "d1.0.0 | d1.0.0 | -"},
			{fop: "write", faults: []fault{{down, "12"}}, err: syscall.ENOTCONN, marks: "- | - | -"},
			{fop: "chmod", faults: []fault{{"fop", "1"}}, marks: "c1=0.1.0 | - | c1=0.1.0"},
			{fop: "chmod", faults: []fault{{"fop", "12"}}, err: syscall.EIO, marks: "d0.1.0 | - | -"},
			{fop: "chmod", faults: []fault{{down, "2"}, {"fop", "1"}}, err: syscall.EIO, marks: "d0.1.0 | d0.1.0 | -"},
			{fop: "create", faults: []fault{{"fop", "2"}}, parent: "c2=0.0.1 | c2=0.0.1 | -", marks: "c2=1.1.0 | c2=1.1.0 | none", names: "new"},
			{fop: "create", faults: []fault{{"fop", "12"}}, err: syscall.EIO, parent: "d0.0.1 | - | -", marks: "- | none | none", names: "new"},
			{fop: "create", faults: []fault{{down, "2"}}, parent: "c2=0.0.1 | c2=0.0.1 | -", marks: "c2=1.1.0 | c2=1.1.0 | none", names: "new"},
			{fop: "create", faults: []fault{{down, "2"}, {"fop", "1"}}, err: syscall.EIO, parent: "d0.0.1 | d0.0.1 | -", marks: "- | none | none", names: "new"},
			{fop: "mkdir", faults: []fault{{"fop", "0"}}, parent: "- | c0=0.0.1 | c0=0.0.1", marks: "none | c0=1.1.1 | c0=1.1.1", names: "new"},
			{fop: "rmdir", faults: []fault{{"fop", "0"}}, parent: "- | c0=0.0.1 | c0=0.0.1", marks: "- | none | none", names: "sub"},
		}},
		{3, 1, nil, []failure{
			{fop: "write", faults: []fault{{"fop", "2"}}, marks: "c2=1.0.0 | c2=1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{"fop", "0"}}, marks: "d1.0.0 | c0=1.0.0 | c0=1.0.0"},
			// The arbiter is no good copy of what it has none of.
			{fop: "write", faults: []fault{{"fop", "01"}}, err: syscall.EIO, marks: "d1.0.0 | d1.0.0 | d1.0.0"},
			{fop: "write", faults: []fault{{down, "1"}}, marks: "c1=1.0.0 | - | c1=1.0.0"},
			{fop: "create", faults: []fault{{"fop", "2"}}, parent: "c2=0.0.1 | c2=0.0.1 | -", marks: "c2=1.1.0 | c2=1.1.0 | none", names: "new"},
		}},
	} {
		t.Run(fmt.Sprintf("%d-%d%s", shape.n, shape.arbiter, strings.Join(shape.opts, "")), func(t *testing.T) {
			d := newDisks(t, shape.n, shape.arbiter)
			m := d.mount(shape.opts...)
			for k, c := range shape.cases {
				c.run(t, m, fmt.Sprintf("d%d", k))
			}
		})
	}
}

// failure is one case of TestFailures. marks are those on the file, or on what
// is made or removed; parent those on its directory.
type failure struct {
	fop    string
	faults []fault
	err    syscall.Errno
	marks  string
	parent string
	names  string // in the directory's list of changed names, on the good brick
}

func (c failure) run(t *testing.T, m *mount, dir string) {
	t.Helper()
	d := m.d
	must(t, m.mkdir(dir))
	fd, err := m.create(dir + "/f")
	must(t, err)
	must(t, m.write(fd, 0, "0123456789"))
	must(t, m.flush(fd))
	must(t, m.mkdir(dir+"/sub"))
	m.quiesce(0)
	downs := set(0)
	object, op := dir+"/f", fop.OpWrite
	switch c.fop {
	case "chmod":
		op = fop.OpSetattr
	case "truncate":
		op = fop.OpFtruncate
	case "create":
		object, op = dir+"/new", fop.OpCreate
	case "mkdir":
		object, op = dir+"/new", fop.OpMkdir
	case "unlink":
		op = fop.OpUnlink
	case "rmdir":
		object, op = dir+"/sub", fop.OpRmdir
	case "rename":
		object, op = dir+"/new", fop.OpRename
	}
	if _, err := m.Do(t.Context(), &fop.Lookup{Header: m.head(), GFID: m.made[dir+"/f"]}); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.faults {
		if f.when == "down" {
			downs |= children(f.who)
			continue
		}
		m.inject(f, op)
	}
	for i := range downs.each {
		must(t, d.up.StopBrick(i))
	}
	m.waitUp(all(d.n) &^ downs)
	err = nil
	switch c.fop {
	case "write":
		err = m.write(fd, 2, "xyz")
	case "truncate":
		_, err = m.Do(t.Context(), &fop.Ftruncate{Header: m.head(), GFID: fd.GFID, Fd: fd, Offset: 5})
	case "chmod":
		err = m.chmod(object, 0o600)
	case "create":
		_, err = m.create(object)
	case "mkdir":
		err = m.mkdir(object)
	case "unlink":
		err = m.unlink(object)
	case "rmdir":
		err = m.rmdir(object)
	case "rename":
		err = m.rename(dir+"/f", object)
	}
	what := fmt.Sprintf("%d: %s with %v", d.n, c.fop, c.faults)
	if !errors.Is(err, c.err) && !(err == nil && c.err == 0) {
		t.Errorf("%s: %v, want %v", what, err, c.err)
	}
	if err := m.flush(fd); err != nil && downs == 0 {
		t.Error(err)
	}
	m.quiesce(0)
	m.heal()
	if c.fop != "rename" {
		if got := d.allMarks(object); got != c.marks {
			t.Errorf("%s: %s has %s, want %s", what, object, got, c.marks)
		}
	}
	if c.parent == "" {
		c.parent = strings.TrimSuffix(strings.Repeat("- | ", d.n), " | ")
	}
	if got := d.allMarks(dir); got != c.parent {
		t.Errorf("%s: the directory has %s, want %s", what, got, c.parent)
	}
	var names []string
	for i := range d.n {
		for _, n := range d.index(i, "entry-changes") {
			if g, name, _ := strings.Cut(n, "/"); g == m.made[dir].String() {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	if got := strings.Join(slices.Compact(names), " "); got != c.names {
		t.Errorf("%s: names %q, want %q", what, got, c.names)
	}
	// The index must name what has marks and nothing else.
	for i := range d.n {
		for kind, key := range map[string]string{"xattrop": "c", "dirty": "d"} {
			list := d.index(i, kind)
			for _, name := range []string{dir, object} {
				if _, err := os.Lstat(d.path(i, name)); err != nil {
					continue
				}
				marked := slices.ContainsFunc(strings.Fields(d.marks(i, name)), func(s string) bool { return s[:1] == key })
				if listed := slices.Contains(list, m.made[name].String()); marked != listed && c.fop != "rename" {
					t.Errorf("%s: brick %d has marks %s on %s, its %s index has it: %t", what, i, d.marks(i, name), name, kind, listed)
				}
			}
		}
	}
	for i := range downs.each {
		must(t, d.up.StartBrick(i))
	}
	m.waitUp(all(d.n))
}
