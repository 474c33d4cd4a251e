package replicate

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
)

// traced has f done and returns what was sent to the bricks, until nothing goes
// on any more. What all bricks got alike stands once.
func (m *mount) traced(putOff int64, f func() error) string {
	m.d.t.Helper()
	for _, w := range m.taps {
		w.take()
		w.mu.Lock()
		w.owners = map[string]string{"appowner": "A"}
		w.mu.Unlock()
	}
	if err := f(); err != nil {
		m.d.t.Fatal(err)
	}
	m.quiesce(putOff)
	var got []string
	for _, w := range m.taps {
		lines := w.take()
		// A flush goes out beside what it wakes.
		slices.SortStableFunc(lines, func(a, b string) int {
			return cmp.Compare(strings.Count(a, "FLUSH"), strings.Count(b, "FLUSH"))
		})
		got = append(got, strings.Join(lines, "\n    "))
	}
	same := true
	for _, s := range got {
		same = same && s == got[0]
	}
	if same {
		return "    " + got[0] + "\n"
	}
	out := ""
	for i, s := range got {
		if s != "" {
			out += "  brick " + string(rune('0'+i)) + ":\n    " + s + "\n"
		}
	}
	return out
}

// TestTraces compares what each fop sends to the bricks with testdata/traces:
// the sequences, locks, owners and changelogs of a GlusterFS 10.3 client.
// WYTHE_REWRITE=1 writes the files anew.
func TestTraces(t *testing.T) {
	for _, c := range []struct {
		file       string
		n, arbiter int
		down       set
		patience   int64 // post-ops that a write puts off
		opts       []string
	}{
		{"healthy", 2, 0, 0, 1, nil},
		{"down", 2, 0, only(1), 1, nil},
		{"arbiter", 3, 1, 0, 1, nil},
		{"pessimistic", 2, 0, 0, 1, []string{"optimistic-change-log", "off"}},
		{"impatient", 2, 0, 0, 0, []string{"post-op-delay-secs", "0"}},
		{"lazy", 2, 0, 0, 0, []string{"eager-lock", "off"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			d := newDisks(t, c.n, c.arbiter)
			m := d.mount(c.opts...)
			got := m.script(c.down, c.patience)
			file := filepath.Join("testdata", "traces", c.file+".txt")
			if os.Getenv("WYTHE_REWRITE") != "" {
				must(t, os.MkdirAll(filepath.Dir(file), 0o755))
				must(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if diff := gocmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// script does one of each fop.
func (m *mount) script(down set, patience int64) string {
	t := m.d.t
	must(t, m.mkdir("old"))
	for _, f := range []string{"old/f", "old/g", "old/h"} {
		fd, err := m.create(f)
		must(t, err)
		must(t, m.write(fd, 0, "0123456789"))
		must(t, m.flush(fd))
	}
	must(t, m.mkdir("old/sub"))
	m.quiesce(0)
	for i := range down.each {
		must(t, m.d.up.StopBrick(i))
	}
	m.waitUp(all(m.d.n) &^ down)
	// What a lookup would have told.
	for _, name := range []string{"/", "old", "old/f", "old/g", "old/h", "old/sub"} {
		if _, err := m.Do(t.Context(), &fop.Lookup{Header: m.head(), GFID: m.made[name]}); err != nil {
			t.Fatal(name, err)
		}
	}
	var out strings.Builder
	do := func(what string, putOff int64, f func() error) {
		out.WriteString(what + "\n" + m.traced(putOff, f))
	}
	ctx := t.Context()
	one := func(req fop.Request) func() error {
		return func() error {
			*req.Head() = m.head(req.Head().XData.Pairs()...)
			_, err := m.Do(ctx, req)
			return err
		}
	}
	old, f, g := m.made["old"], m.made["old/f"], m.made["old/g"]
	var fd *fop.Fd
	do("create", 0, func() (err error) { fd, err = m.create("old/new"); return err })
	do("mkdir", 0, func() error { return m.mkdir("old/dir") })
	do("mknod", 0, one(&fop.Mknod{Header: fop.Header{XData: fop.NewDict(m.newGFID("old/fifo"))}, Parent: old, Name: "fifo", Mode: fop.ModeFIFO | 0o644}))
	do("symlink", 0, one(&fop.Symlink{Header: fop.Header{XData: fop.NewDict(m.newGFID("old/link"))}, Parent: old, Name: "link", Target: "x"}))
	do("link", 0, one(&fop.Link{GFID: f, Parent: old, Name: "hard"}))
	do("unlink", 0, func() error { return m.unlink("old/hard") })
	do("rename within a directory", 0, func() error { return m.rename("old/h", "old/i") })
	do("rename to another one", 0, func() error { return m.rename("old/i", "old/dir/h") })
	do("rename of a directory over another", 0, func() error { return m.rename("old/dir", "old/sub2") })
	do("rmdir", 0, func() error { return m.rmdir("old/sub") })
	do("chmod", 0, func() error { return m.chmod("old/g", 0o600) })
	do("chmod of a directory", 0, func() error { return m.chmod("old", 0o700) })
	do("setxattr", 0, one(&fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: "user.a", Val: fop.Bytes([]byte("b"))})}))
	do("removexattr", 0, one(&fop.Removexattr{GFID: g, Name: "user.a"}))
	do("write", patience, func() error { return m.write(fd, 0, "hello") })
	do("a second write", patience, func() error { return m.write(fd, 5, "world") })
	do("overwrite", patience, func() error { return m.write(fd, 0, "H") })
	do("fsync", patience, one(&fop.Fsync{GFID: fd.GFID, Fd: fd, Datasync: 1}))
	do("flush", 0, func() error { return m.flush(fd) })
	do("write that nothing follows", 0, func() error { return m.write(fd, 0, "again") })
	do("ftruncate", 0, one(&fop.Ftruncate{GFID: fd.GFID, Fd: fd, Offset: 3}))
	do("truncate", 0, one(&fop.Truncate{GFID: g, Offset: 3}))
	do("fallocate", 0, one(&fop.Fallocate{GFID: fd.GFID, Fd: fd, Offset: 3, Size: 100}))
	do("discard", 0, one(&fop.Discard{GFID: fd.GFID, Fd: fd, Offset: 3, Size: 10}))
	do("zerofill", 0, one(&fop.Zerofill{GFID: fd.GFID, Fd: fd, Offset: 3, Size: 10}))
	do("fsetattr", 0, one(&fop.Fsetattr{GFID: fd.GFID, Fd: fd, Stat: fop.Iatt{Mode: 0o640}, Valid: fop.SetMode}))
	do("write, then a change of attributes", 0, func() error {
		if err := m.write(fd, 0, "again"); err != nil {
			return err
		}
		m.quiesce(patience)
		return m.chmod("old/new", 0o644)
	})
	out.WriteString("what the bricks have noted\n")
	for _, name := range []string{"/", "old", "old/f", "old/g", "old/new", "old/sub2", "old/sub2/h", "old/fifo", "old/link"} {
		out.WriteString("    " + name + ": " + m.d.allMarks(name) + "\n")
	}
	for i := range m.d.n {
		n := len(m.d.index(i, "xattrop"))
		var changed []string
		for _, name := range m.d.index(i, "entry-changes") {
			changed = append(changed, filepath.Base(name))
		}
		out.WriteString("    index of brick " + string(rune('0'+i)) + ": " + string(rune('0'+n)) + " to heal, " + string(rune('0'+len(m.d.index(i, "dirty")))) + " dirty, names: " + strings.Join(changed, " ") + "\n")
	}
	return out.String()
}
