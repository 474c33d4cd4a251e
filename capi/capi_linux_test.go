package capi_test

import (
	"context"
	"debug/elf"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
)

// The test program is also a server of a volume, for a Node of its own.
func TestMain(m *testing.M) {
	if len(os.Args) >= 4 && os.Args[1] == "serve-volume" {
		serve(os.Args[2], os.Args[3], os.Args[4:])
		return
	}
	os.Exit(m.Run())
}

// serve runs a volume of ours until it is killed.
func serve(dir, listen string, options []string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	quiet := slog.New(slog.DiscardHandler)
	set := map[string]string{}
	for i := 0; i+1 < len(options); i += 2 {
		set[options[i]] = options[i+1]
	}
	c, err := manage.Up(ctx, manage.UpOptions{Dir: dir, Volume: "data", Listen: listen, Allow: "*", Options: set, Log: quiet})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-ctx.Done()
	c.Close()
}

var (
	prebuilt    = flag.String("lib", "", "a directory with the libraries, built before (make libgfapi libgfapi-stubs LIBOUT=...)")
	realLibrary = flag.Bool("real", false, "run the programs with GlusterFS's library instead, to see what that does")
)

// library returns the directory of our library.
func library(t testing.TB) string {
	t.Helper()
	if *prebuilt == "" {
		return testenv.Libgfapi(t)
	}
	dir, err := filepath.Abs(*prebuilt)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compile makes a program of C files under testdata.
func compile(t testing.TB, name string, flags ...string) string {
	t.Helper()
	lib := library(t)
	out := filepath.Join(t.TempDir(), name)
	args := append([]string{"-O1", "-g", "-Wall", "-Werror", "-pthread", "-Iinclude", "-o", out, "testdata/" + name + ".c"}, flags...)
	args = append(args, "-L"+lib, "-lgfapi", "-ldl")
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return out
}

// a volume to work on, in a Node.
type volume struct {
	*testenv.Node
	name string
	real bool // run by GlusterFS
	g    *testenv.Glusterd
}

// always are options of all volumes here: their bricks tell a client what others
// change.
var always = []string{"features.cache-invalidation", "on"}

// ours starts a volume of ours: one brick. Options are names and values, in turn.
func ours(t testing.TB, options ...string) *volume {
	t.Helper()
	n := testenv.Namespace(t)
	dir := testenv.LoopFS(t, "xfs", 512)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n.Start(t, exe, append(append([]string{"serve-volume", filepath.Join(dir, "up"), n.IP}, always...), options...)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.WaitPort(ctx, manage.DefaultPort); err != nil {
		t.Fatal(err)
	}
	return &volume{Node: n, name: "data"}
}

// theirs starts a volume of GlusterFS: one brick.
func theirs(t testing.TB, options ...string) *volume {
	t.Helper()
	g := testenv.Gluster(t)
	g.Create(t, "data", filepath.Join(testenv.LoopFS(t, "xfs", 512), "brick"))
	g.Set(t, "data", append(slices.Clone(always), options...)...)
	g.StartVolume(t, "data")
	return &volume{Node: g.Node, name: "data", real: true, g: g}
}

// both runs a test on a volume of ours and on one of GlusterFS.
func both(t *testing.T, f func(t *testing.T, v *volume), options ...string) {
	library(t)
	t.Run("our volume", func(t *testing.T) { f(t, ours(t, options...)) })
	t.Run("GlusterFS's volume", func(t *testing.T) { f(t, theirs(t, options...)) })
}

// with is how a program is run with our library.
func with(t testing.TB, words ...string) []string {
	if *realLibrary {
		return words
	}
	return append([]string{"env", "LD_LIBRARY_PATH=" + library(t)}, words...)
}

// run runs a program in the volume's Node and returns its output.
func (v *volume) run(t testing.TB, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := v.Run(ctx, words[0], words[1:]...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// symbols lists the functions of a library as name@version, name@@version for
// those that new programs get.
func symbols(t *testing.T, path string) []string {
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		if s.Section == elf.SHN_UNDEF || elf.ST_TYPE(s.Info) != elf.STT_FUNC {
			continue
		}
		at := "@@"
		if s.VersionIndex.IsHidden() {
			at = "@"
		}
		names = append(names, s.Name+at+s.Version)
	}
	slices.Sort(names)
	return names
}

// The library has the names, versions and flags that programs look for, those of
// the table and those of the real one.
func TestSymbols(t *testing.T) {
	table, err := os.ReadFile("symbols.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	version := ""
	for line := range strings.Lines(string(table)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(line, "#"):
		case len(words) == 1:
			version = words[0]
		default:
			name, _, _ := strings.Cut(line, "(")
			name = name[strings.LastIndexAny(name, " *")+1:]
			at := "@@"
			if words[0] == "old" {
				at = "@"
			}
			want = append(want, name+at+version)
		}
	}
	slices.Sort(want)
	if len(want) != 186 {
		t.Errorf("the table has %d functions, want 186", len(want))
	}
	ourPath := filepath.Join(library(t), "libgfapi.so.0")
	if got := symbols(t, ourPath); !slices.Equal(got, want) {
		t.Errorf("the library has\n%q\nwant\n%q", got, want)
	}
	f, err := elf.Open(ourPath)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if name, _ := f.DynString(elf.DT_SONAME); !slices.Equal(name, []string{"libgfapi.so.0"}) {
		t.Errorf("soname %q", name)
	}
	if flags, _ := f.DynValue(elf.DT_FLAGS_1); len(flags) != 1 || elf.DynFlag1(flags[0])&elf.DF_1_NODELETE == 0 {
		t.Errorf("flags %v, want NODELETE: its threads outlive a dlclose", flags)
	}
	libs, _ := f.ImportedLibraries()
	for _, lib := range libs {
		if lib != "libc.so.6" && !strings.HasPrefix(lib, "ld-linux") {
			t.Errorf("it needs %s, want the C library alone", lib)
		}
	}
	if real, err := filepath.EvalSymlinks("/usr/lib/x86_64-linux-gnu/libgfapi.so.0"); err == nil {
		if got := symbols(t, real); !slices.Equal(got, want) {
			t.Errorf("the real library has\n%q", got)
		}
	}
}

// Calls and what they return: on both kinds of volume, and next to the real
// library.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	prog := compile(t, "golden")
	both(t, func(t *testing.T, v *volume) {
		got := v.run(t, with(t, prog, v.IP, "24007", v.name)...)
		if d := diff(string(want), got); d != "" {
			t.Errorf("differs from testdata/golden.txt:\n%s", d)
		}
	})
}

// diff lists lines that differ.
func diff(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out strings.Builder
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			fmt.Fprintf(&out, "line %d: want %q\n     got %q\n", i+1, x, y)
		}
	}
	return out.String()
}

// What make install puts in place is found by pkg-config and by programs, and what
// is somebody else's stays.
func TestInstall(t *testing.T) {
	testenv.Need(t, "gcc", "pkg-config", "install")
	root := t.TempDir()
	sh := func(env []string, words ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	put := func(env ...string) string {
		t.Helper()
		out, err := sh(append(env, "DESTDIR="+root, "PREFIX=/usr", "LIBDIR=/usr/lib"), "../scripts/install", "--libgfapi", library(t))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}
	put()
	pkg := []string{"PKG_CONFIG_LIBDIR=" + root + "/usr/lib/pkgconfig", "PKG_CONFIG_SYSROOT_DIR=" + root,
		"PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS=1"}
	flags, err := sh(pkg, "pkg-config", "--cflags", "--libs", "glusterfs-api")
	if err != nil {
		t.Fatalf("pkg-config: %v\n%s", err, flags)
	}
	prog := filepath.Join(root, "golden")
	args := append([]string{"gcc", "-o", prog, "testdata/golden.c"}, strings.Fields(flags)...)
	if out, err := sh(nil, append(args, "-pthread", "-ldl")...); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	if out, err := sh([]string{"LD_LIBRARY_PATH=" + root + "/usr/lib"}, "ldd", prog); err != nil || !strings.Contains(out, root+"/usr/lib/libgfapi.so.0") {
		t.Errorf("the program does not find the library: %v\n%s", err, out)
	}
	header := root + "/usr/include/glusterfs/api/glfs.h"
	if err := os.WriteFile(header, []byte("/* theirs */\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	theirs := func() bool { b, err := os.ReadFile(header); return err == nil && string(b) == "/* theirs */\n" }
	if out := put(); !theirs() || !strings.Contains(out, header+" is another header and stays") {
		t.Errorf("the header of others is not left alone:\n%s", out)
	}
	if out := put("FORCE=1"); theirs() || strings.Contains(out, "stays") {
		t.Errorf("FORCE=1 does not replace it:\n%s", out)
	}
}
