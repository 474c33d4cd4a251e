package house

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// levels is the house of docs/architecture.md, ground floor first. A room is a
// directory with all below it, but where a deeper one is named. Product code
// imports its own room and rooms on floors below; two rooms on one floor do not
// know each other. Test code is free within what Go allows.
var levels = [][]string{
	{"internal/fop"},
	{"internal/xdr"},
	{"internal/rpc"},
	{"internal/proto"},
	{"internal/xlator", "internal/volfile", "internal/brickfs", "internal/volserver", "internal/inodes"}, // see docs/architecture.md
	{"internal/xlator/*"}, // the translators, each a room of its own
	{"internal/graph"},
	{"internal/brick", "internal/mount"}, // graphs at work: a brick process, a mounted volume
	{"internal/volume"},                  // handles: GFID in, GFID out
	{"internal/paths"},                   // where a path leads
	{"gfapi", "internal/heal", "internal/rebalance", "internal/where"},
	{"internal/manage"},
	{"internal/gateway/*", "internal/console"},
	{"internal/mounter"}, // the program around a mount
	{"internal/cli", "capi"},
	{"cmd/*"},
}

// testOnly rooms are for tests; no product code imports them.
var testOnly = []string{"internal/testenv", "internal/xdr/vectortest", "internal/xlator/conformance", "test"}

// translators may be imported by graph and by nobody else.
const translators = "internal/xlator/*"

// place finds a package's floor and room; a pattern ending in /* makes each
// directory there a room. The longest match counts.
func place(path string) (floor int, room, pattern string) {
	floor = -1
	best := 0
	for level, rooms := range levels {
		for _, r := range rooms {
			name := r
			if dir, ok := strings.CutSuffix(r, "/*"); ok {
				rest, ok := strings.CutPrefix(path, dir+"/")
				if !ok {
					continue
				}
				child, _, _ := strings.Cut(rest, "/")
				name = dir + "/" + child
			}
			if within(path, name) && len(name) > best {
				floor, room, pattern, best = level, name, r, len(name)
			}
		}
	}
	return floor, room, pattern
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func isTestOnly(path string) bool {
	return slices.ContainsFunc(testOnly, func(dir string) bool { return within(path, dir) })
}

// complaint says what is wrong with an import of product code, or nothing.
func complaint(from, to string) string {
	if isTestOnly(to) {
		return fmt.Sprintf("%s imports %s, which is for tests", from, to)
	}
	fromFloor, fromRoom, fromPattern := place(from)
	toFloor, toRoom, toPattern := place(to)
	switch {
	case toFloor < 0:
		return fmt.Sprintf("%s has no place in the house", to)
	case fromRoom == toRoom:
		return ""
	case fromPattern == translators && toPattern == translators:
		return fmt.Sprintf("translator %s imports translator %s", from, to)
	case toPattern == translators && fromRoom != "internal/graph":
		return fmt.Sprintf("%s imports translator %s; only internal/graph knows their names", from, to)
	case toFloor >= fromFloor:
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d); imports run downward", from, fromFloor, to, toFloor)
	}
	return ""
}

func TestImportsRunDownward(t *testing.T) {
	for _, p := range packages(t) {
		from := p.room()
		if isTestOnly(from) {
			continue
		}
		if floor, _, _ := place(from); floor < 0 {
			t.Errorf("%s has no place in the house: give it a floor in test/house/imports_test.go and docs/architecture.md", from)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			if c := complaint(from, to); c != "" {
				t.Error(c)
			}
		}
	}
}

// The rules themselves, on imports that nobody has made.
func TestComplaint(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/xdr", "internal/fop", true},
		{"internal/fop", "internal/xdr", false},
		{"internal/xlator/posix", "internal/xlator", true},
		{"internal/xlator/posix", "internal/xlator/posix/handle", true},
		{"internal/xlator/posix", "internal/xlator/locks", false},
		{"internal/xlator", "internal/xlator/locks", false},
		{"internal/graph", "internal/xlator/locks", true},
		{"internal/brick", "internal/xlator/locks", false},
		{"internal/brick", "internal/graph", true},
		{"internal/graph", "internal/brick", false},
		{"gfapi", "internal/heal", false},
		{"internal/gateway/nfs", "gfapi", true},
		{"internal/gateway/nfs", "internal/gateway/fuse", false},
		{"cmd/wythe", "internal/cli", true},
		{"internal/cli", "internal/testenv", false},
		{"internal/cli", "internal/attic", false},
	} {
		if c := complaint(tt.from, tt.to); (c == "") != tt.ok {
			t.Errorf("%s imports %s: allowed %v, want %v (%s)", tt.from, tt.to, c == "", tt.ok, c)
		}
	}
}

// What the public library drags into an application stays small: nothing of
// the server side, and no cgo.
func TestClientLibraryIsLean(t *testing.T) {
	byPath := map[string]*pkg{}
	for _, p := range packages(t) {
		byPath[p.ImportPath] = p
	}
	if byPath[module+"/gfapi"] == nil {
		t.Skip("there is no gfapi")
	}
	list, err := goList("-deps", "./gfapi")
	if err != nil {
		t.Fatal(err)
	}
	third := map[string]bool{}
	for _, p := range list {
		if !p.Standard && len(p.CgoFiles) > 0 {
			t.Errorf("gfapi links %s, which uses cgo", p.ImportPath)
		}
		for _, server := range []string{"internal/brick", "internal/manage", "internal/gateway", "internal/cli"} {
			if within(p.room(), server) {
				t.Errorf("gfapi links %s", p.ImportPath)
			}
		}
		if !p.Standard && !within(p.ImportPath, module) {
			third[p.ImportPath] = true
		}
	}
	if len(third) > 12 {
		t.Errorf("gfapi links %d packages of others: %q", len(third), slices.Sorted(maps.Keys(third)))
	}
}
