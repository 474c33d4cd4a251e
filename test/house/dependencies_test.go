package house

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite dependencies.txt")

const preface = `# What Wythe is made of besides the standard library. A test compares this list
# with the truth; after a change that earns its place rewrite the file with
#	go test ./test/house -update
# Versions are in go.mod. Linux/amd64, without cgo.
`

// The list of what our code imports and of what each binary links does not
// change unseen.
func TestDependencies(t *testing.T) {
	got := preface + section("modules that the product imports", modules(t, false)) +
		section("modules that only tests import", modules(t, true)) +
		section("tools", tools(t))
	for _, p := range packages(t) {
		if p.Name == "main" && within(p.room(), "cmd") {
			got += section("packages that "+p.room()+" links", linked(t, p.ImportPath))
		}
	}
	const file = "dependencies.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := lineDiff(string(want), got); diff != "" {
		t.Errorf("dependencies differ from %s (+ is new, - is gone); if that is meant, go test ./test/house -update\n%s", file, diff)
	}
}

func section(title string, lines []string) string {
	return fmt.Sprintf("\n[%s]\n%s", title, strings.Join(append(lines, ""), "\n"))
}

// goMod returns the modules and tools that go.mod names.
func goMod(t *testing.T) (require, tool []string) {
	t.Helper()
	cmd := exec.Command(goCommand(), "mod", "edit", "-json")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require, Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, m := range mod.Require {
		require = append(require, m.Path)
	}
	for _, m := range mod.Tool {
		tool = append(tool, m.Path)
	}
	return require, tool
}

// modules lists the modules of others that our product code imports by itself,
// or those that only our tests do.
func modules(t *testing.T, tests bool) []string {
	require, _ := goMod(t)
	product, test := map[string]bool{}, map[string]bool{}
	add := func(set map[string]bool, imports []string) {
		for _, imp := range imports {
			best := ""
			for _, m := range require {
				if within(imp, m) && len(m) > len(best) {
					best = m
				}
			}
			if best != "" {
				set[best] = true
			}
		}
	}
	for _, p := range packages(t) {
		if isTestOnly(p.room()) {
			add(test, p.Imports)
		} else {
			add(product, p.Imports)
		}
		add(test, p.TestImports)
		add(test, p.XTestImports)
	}
	if !tests {
		return slices.Sorted(maps.Keys(product))
	}
	maps.DeleteFunc(test, func(m string, _ bool) bool { return product[m] })
	return slices.Sorted(maps.Keys(test))
}

func tools(t *testing.T) []string {
	_, tool := goMod(t)
	slices.Sort(tool)
	return tool
}

// linked lists the packages of others in a binary.
func linked(t *testing.T, path string) []string {
	t.Helper()
	cmd := exec.Command(goCommand(), "list", "-e", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", path)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", path, err)
	}
	var list []string
	for p := range strings.FieldsSeq(string(out)) {
		if !within(p, module) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

// lineDiff tells which lines are only in one of two texts, with the sections
// that they are in.
func lineDiff(want, got string) string {
	a, b := bySection(want), bySection(got)
	var out strings.Builder
	for _, line := range slices.Sorted(maps.Keys(b)) {
		if !a[line] {
			fmt.Fprintf(&out, "+ %s\n", line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(a)) {
		if !b[line] {
			fmt.Fprintf(&out, "- %s\n", line)
		}
	}
	return out.String()
}

func bySection(text string) map[string]bool {
	set := map[string]bool{}
	title := ""
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			title = line
			set[title] = true
		default:
			set[title+" "+line] = true
		}
	}
	return set
}
