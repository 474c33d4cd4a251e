package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenFile has what the real client does, oursFile where we do otherwise, and
// better.
func goldenFile(name string) string { return filepath.Join("testdata", "marks", name+".txt") }
func oursFile(name string) string   { return filepath.Join("testdata", "marks", name+".ours.txt") }

// readGolden reads the outcomes that the real client had, by scenario. A
// scenario that came out differently from run to run has several.
func readGolden(t testing.TB, file string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		if *record || strings.HasSuffix(file, ".ours.txt") {
			return map[string][]string{}
		}
		t.Fatal(err)
	}
	want := map[string][]string{}
	var key, text string
	flush := func() {
		if key != "" {
			want[key] = append(want[key], text)
		}
		text = ""
	}
	for line := range strings.Lines(string(b)) {
		switch {
		case strings.HasPrefix(line, "#"), line == "\n":
		case line == "or\n":
			flush()
		case strings.HasPrefix(line, "  "):
			text += line
		default:
			flush()
			key = strings.TrimSpace(line)
		}
	}
	flush()
	return want
}

const goldenHead = `# What the client of GlusterFS 10.3 answers and leaves on the bricks when they are
# cut off from it; written by -failover.record. A line per name: the bricks, what
# they have, the counters that are not zero, and the entries of the indices.
`

const oursHead = `# Where our client leaves other marks than that of GlusterFS 10.3, see there; written
# by -failover.accept. A change of attributes that reached only a minority of the
# bricks, and so failed, is marked as dirty: the original leaves nothing, and the
# bricks stay different for good.
`

// writeGolden writes outcomes by scenario, in the order of the scenarios.
func writeGolden(t testing.TB, file, head, shape string, all map[string][]string) {
	t.Helper()
	var out strings.Builder
	out.WriteString(head)
	for _, sh := range shapes {
		if sh.name != shape {
			continue
		}
		for _, s := range scenarios(sh.sets, sh.downs) {
			if texts := all[s.String()]; len(texts) > 0 {
				slices.Sort(texts)
				fmt.Fprintf(&out, "\n%v\n%s", s, strings.Join(texts, "or\n"))
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// recorded adds what the real client did to what the file has.
func (m *matrix) recorded(t testing.TB) {
	t.Helper()
	for i, s := range m.list {
		key, text := s.String(), m.out[i].text(true)
		if m.out[i].trouble != nil || slices.Contains(m.want[key], text) {
			continue
		}
		if len(m.want[key]) > 0 {
			t.Logf("%v came out in another way:\n%s", s, text)
		}
		m.want[key] = append(m.want[key], text)
	}
}

// compare judges all scenarios by the files and by what replication promises.
func (m *matrix) compare(t testing.TB, shape string) {
	t.Helper()
	if *record {
		m.recorded(t)
		writeGolden(t, goldenFile(shape), goldenHead, shape, m.want)
	}
	bad := 0
	say := func(format string, args ...any) {
		if bad++; bad <= 40 {
			t.Errorf(format, args...)
		}
	}
	for i, s := range m.list {
		o := m.out[i]
		if err := m.verdict(i); err != nil {
			say("%v: %v\n%s", s, err, o.text(true))
			continue
		}
		key, got := s.String(), o.text(true)
		switch {
		case *record, slices.Contains(m.want[key], got), slices.Contains(m.better[key], got):
		case *accept:
			m.better[key] = append(m.better[key], got)
		default:
			say("%v:\n%sthe real client:\n%s", s, got, strings.Join(m.want[key], "or\n"))
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d scenarios on %s are wrong", bad, len(m.list), m.name)
	}
	if *accept {
		writeGolden(t, oursFile(shape), oursHead, shape, m.better)
	}
}
