package races

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/anishathalye/porcupine"
)

// op is an operation that ran from one time to another.
func op(from, to int64, c call, a answer) porcupine.Operation {
	return porcupine.Operation{Call: from, Return: to, Input: c, Output: a}
}

// TestChecker has histories whose verdict is known.
func TestChecker(t *testing.T) {
	const f, g = 100, 200 // files
	ok := answer{}
	made := func(ino uint64) answer { return answer{v: ino} }
	no := func(e syscall.Errno) answer { return answer{errno: e} }
	create, stat := call{do: "create"}, call{do: "stat"}
	statB, rename := call{do: "stat", a: 1}, call{do: "rename", a: 0, b: 1}
	for _, c := range []struct {
		what    string
		good    bool
		history []porcupine.Operation
	}{
		{"one of two exclusive creates wins", true, []porcupine.Operation{
			op(0, 10, create, made(f)), op(1, 9, create, no(syscall.EEXIST))}},
		{"two exclusive creates win", false, []porcupine.Operation{
			op(0, 10, create, made(f)), op(1, 9, create, made(g))}},
		{"none of two exclusive creates wins", false, []porcupine.Operation{
			op(0, 10, create, no(syscall.EEXIST)), op(1, 9, create, no(syscall.EEXIST))}},
		{"one of two renames of a name wins", true, []porcupine.Operation{
			op(0, 1, create, made(f)), op(2, 10, rename, ok), op(3, 9, call{do: "rename", a: 0, b: 2}, no(syscall.ENOENT)), op(11, 12, statB, made(f))}},
		{"both renames of a name win", false, []porcupine.Operation{
			op(0, 1, create, made(f)), op(2, 10, rename, ok), op(3, 9, call{do: "rename", a: 0, b: 2}, ok)}},
		{"a file is under both names during a rename", false, []porcupine.Operation{
			op(0, 1, create, made(f)), op(2, 20, rename, ok), op(3, 5, statB, made(f)), op(6, 8, stat, made(f))}},
		{"a file is under no name during a rename", false, []porcupine.Operation{
			op(0, 1, create, made(f)), op(2, 20, rename, ok), op(3, 5, stat, no(syscall.ENOENT)), op(6, 8, statB, no(syscall.ENOENT))}},
		{"a file that is replaced is missing for a while", false, []porcupine.Operation{
			op(0, 1, create, made(f)), op(0, 1, call{do: "create", a: 1}, made(g)), op(2, 20, rename, ok), op(3, 5, statB, no(syscall.ENOENT))}},
		{"an unlinked file comes back", false, []porcupine.Operation{
			op(0, 1, create, made(f)), op(2, 3, call{do: "unlink"}, ok), op(4, 5, stat, made(f))}},
		{"a stat beside an unlink sees either", true, []porcupine.Operation{
			op(0, 1, create, made(f)), op(2, 9, call{do: "unlink"}, ok), op(3, 4, stat, made(f)), op(5, 6, stat, no(syscall.ENOENT))}},
		{"a link that replaced something", false, []porcupine.Operation{
			op(0, 1, create, made(f)), op(0, 1, call{do: "create", a: 1}, made(g)), op(2, 3, call{do: "link", a: 0, b: 1}, ok)}},
		{"a rename onto another name of the same file does nothing", true, []porcupine.Operation{
			op(0, 1, create, made(f)), op(2, 3, call{do: "link", a: 0, b: 1}, ok), op(4, 5, rename, ok), op(6, 7, stat, made(f))}},
		{"two removals of one directory", false, []porcupine.Operation{
			op(0, 1, call{do: "mkdir"}, ok), op(2, 9, call{do: "rmdir"}, ok), op(3, 8, call{do: "rmdir"}, ok)}},
	} {
		if got, text := check(mix{model: directoryModel}, c.history); got != c.good {
			t.Errorf("%s: the checker says %v, want %v\n%s", c.what, got, c.good, text)
		}
	}
	write, read := func(v uint64) call { return call{do: "write", v: v} }, call{do: "read"}
	for _, c := range []struct {
		what    string
		good    bool
		history []porcupine.Operation
	}{
		{"a read beside a write sees either", true, []porcupine.Operation{
			op(0, 1, write(1), ok), op(2, 9, write(2), ok), op(3, 4, read, answer{v: 1}), op(5, 6, read, answer{v: 2})}},
		{"a read goes back in time", false, []porcupine.Operation{
			op(0, 1, write(1), ok), op(2, 9, write(2), ok), op(3, 4, read, answer{v: 2}), op(5, 6, read, answer{v: 1})}},
		{"a write is lost", false, []porcupine.Operation{
			op(0, 1, write(1), ok), op(2, 3, write(2), ok), op(4, 5, read, answer{v: 1})}},
	} {
		if got, text := check(mix{model: blockModel}, c.history); got != c.good {
			t.Errorf("%s: the checker says %v, want %v\n%s", c.what, got, c.good, text)
		}
	}
}

// memory is a directory, or a block, in memory: a client of it is sound unless
// one of its faults is on.
type memory struct {
	mu    sync.Mutex
	s     entries
	v     uint64
	ino   uint64
	fault string
}

// yield lets others come in between.
func (m *memory) yield() {
	m.mu.Unlock()
	for range 20 {
		runtime.Gosched()
	}
	m.mu.Lock()
}

func (m *memory) real() bool           { return false }
func (m *memory) prepare(string) error { return nil }

func (m *memory) do(_ string, c call) answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.yield()
	defer m.yield()
	switch c.do {
	case "write":
		if m.fault == "late write" {
			go func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				for range 5 {
					m.yield()
				}
				m.v = c.v
			}()
			return answer{}
		}
		m.v = c.v
		return answer{}
	case "read":
		return answer{v: m.v}
	}
	m.ino++
	next, out := m.s.step(c, m.ino+1000)
	if out.errno != 0 {
		return out
	}
	switch {
	case m.fault == "create is two steps" && c.do == "create":
		m.yield()
	case m.fault == "rename is two steps" && c.do == "rename":
		m.s[c.b] = m.s[c.a]
		m.yield()
		next = m.s
		next[c.a] = absent
	case m.fault == "unlink is forgotten" && c.do == "unlink" && m.ino%4 == 0:
		return out
	case m.fault == "link replaces" && c.do == "link":
		m.yield()
		next = m.s
		next[c.b] = next[c.a]
	}
	m.s = next
	return out
}

var blocks = mix{"block", []string{"write", "read", "read"}, 1, blockModel}

func named(name string) mix {
	return mixes[slices.IndexFunc(mixes, func(m mix) bool { return m.name == name })]
}

// TestHarness runs the tests' own harness on a sound directory and on broken
// ones: it passes the one and finds the others out.
func TestHarness(t *testing.T) {
	for _, c := range []struct {
		fault string
		m     mix
	}{
		{"", named("create")}, {"", named("rename")}, {"", named("rename-unlink")}, {"", named("link")}, {"", named("mkdir")}, {"", named("move")}, {"", blocks},
		{"create is two steps", named("create")},
		{"rename is two steps", named("rename")},
		{"unlink is forgotten", named("create")},
		{"link replaces", named("link")},
		{"late write", blocks},
	} {
		t.Run(fmt.Sprintf("%s/%s", c.m.name, c.fault), func(t *testing.T) {
			dir := &memory{fault: c.fault}
			bad, first := run(t, c.m, []client{dir, dir}, 200, func(int) string {
				dir.mu.Lock()
				defer dir.mu.Unlock()
				dir.s, dir.v = entries{}, 0
				return ""
			}, nil)
			if c.fault == "" && bad > 0 {
				t.Errorf("%d bad histories of a sound directory: %s", bad, first)
			}
			if c.fault != "" && bad == 0 {
				t.Errorf("the checker did not notice that %s", c.fault)
			}
		})
	}
}
