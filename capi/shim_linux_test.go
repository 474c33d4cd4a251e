package capi_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

// The shim alone, over an engine without Go, watched by tools that do not get
// along with Go.
func TestShim(t *testing.T) {
	testenv.Need(t, "gcc", "valgrind")
	dir := t.TempDir()
	gcc := func(args ...string) {
		t.Helper()
		args = append([]string{"-g", "-O1", "-Wall", "-Werror", "-Iinclude", "-pthread"}, args...)
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			t.Fatalf("gcc %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	sources, err := filepath.Glob("shim/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatal(err, sources)
	}
	engine := filepath.Join(dir, "engine.so")
	gcc("-shared", "-fPIC", "-o", engine, "testdata/fakeengine.c")
	build := func(name string, flags ...string) string {
		lib, prog := filepath.Join(dir, name, "libgfapi.so.0"), filepath.Join(dir, name, "prog")
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		gcc(append(append(append([]string{}, flags...), "-D_GNU_SOURCE", "-shared", "-fPIC", "-Wl,-soname,libgfapi.so.0", "-Wl,--version-script=shim/gfapi.map", "-o", lib), append(sources, "-ldl")...)...)
		gcc(append(append([]string{}, flags...), "-o", prog, "testdata/shim.c", lib, "-ldl", "-Wl,-rpath,"+filepath.Dir(lib))...)
		return prog
	}
	for _, c := range []struct {
		name  string
		flags []string
		with  []string
	}{
		{"plain", nil, nil},
		{"valgrind", nil, []string{"valgrind", "-q", "--error-exitcode=9", "--leak-check=no"}},
		{"sanitizers", // which look for leaks, too
			[]string{"-fsanitize=address,undefined", "-fno-sanitize-recover=all"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			prog := build(c.name, c.flags...)
			for _, mode := range []string{"enter", "queue"} {
				if c.name == "valgrind" && mode == "queue" {
					continue // which has one thread run at a time, and takes minutes
				}
				words := append(append([]string{}, c.with...), prog)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, words[0], words[1:]...)
				cmd.Env = append(os.Environ(), "WYTHE_GFAPI_ENGINE="+engine, "WYTHE_GFAPI_MODE="+mode)
				cmd.WaitDelay = 10 * time.Second // a child that hangs holds the pipe
				out, err := cmd.CombinedOutput()
				// LeakSanitizer says so of a thread of Go's that ended while it looked.
				said := regexp.MustCompile(`(?m)^==\d+==Running thread \d+ was not suspended\. False leaks are possible\.\n`).ReplaceAllString(string(out), "")
				if err != nil || strings.TrimSpace(said) != "ok" {
					t.Errorf("mode %s: %v\n%s", mode, err, out)
				}
			}
		})
	}
}
