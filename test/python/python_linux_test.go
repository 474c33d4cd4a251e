package python

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
)

var long = flag.Bool("python.long", false, "run every test on both libraries and both kinds of volume")

// modules are what the tests import, with their Debian packages.
var modules = map[string]string{
	"pytest": "python3-pytest", "fsspec": "python3-fsspec", "pandas": "python3-pandas",
	"dask": "python3-dask", "mypy": "mypy", "pip": "python3-pip", "setuptools": "python3-setuptools", "wheel": "python3-wheel",
}

const python = "/usr/bin/python3"

var needModules = sync.OnceValue(func() error {
	for module, pkg := range modules {
		if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
			return fmt.Errorf("no Python module %s (package %s)", module, pkg)
		}
	}
	return nil
})

func need(t testing.TB) {
	t.Helper()
	testenv.Need(t, "gcc", "make", python)
	if err := needModules(); err != nil {
		testenv.Missing(t, "%v", err)
	}
}

// ourLibrary is the path of our libgfapi.so.0.
func ourLibrary(t testing.TB) string {
	t.Helper()
	return filepath.Join(testenv.Libgfapi(t), "libgfapi.so.0")
}

// place is a volume and how to run a program where it can be reached.
type place struct {
	url     string
	command func(ctx context.Context, name string, args ...string) *exec.Cmd
}

// ours is a volume of two pairs in this process.
func ours(t testing.TB) place {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	c, err := manage.Up(t.Context(), manage.UpOptions{Dir: t.TempDir(), Volume: "data", Listen: "127.0.0.1", Port: -1, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return place{"gluster://" + c.Addr + "/data", exec.CommandContext}
}

// theirs is a replicated volume of the distribution's GlusterFS.
func theirs(t testing.TB) place {
	t.Helper()
	g := testenv.Gluster(t)
	fs := testenv.LoopFS(t, "xfs", 512)
	g.Volume(t, "data", "replica", "2", filepath.Join(fs, "b1"), filepath.Join(fs, "b2"))
	return place{fmt.Sprintf("gluster://%s/data", g.Addr(24007)), g.Command}
}

// pytest runs tests of python/tests.
func pytest(t *testing.T, p place, library string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir, err := filepath.Abs("../../python")
	if err != nil {
		t.Fatal(err)
	}
	// A Node's programs begin in its root directory.
	cmd := p.command(ctx, "/bin/sh", append([]string{"-c", `cd "$0" && exec "$@"`, dir, python, "-B", "-X", "faulthandler", "-m", "pytest", "-q", "-p", "no:cacheprovider",
		"-o", "faulthandler_timeout=240", "-rs", "-W", "error::pytest.PytestUnhandledThreadExceptionWarning"}, args...)...)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "WYTHE_TEST_URL="+p.url, "WYTHE_LIBGFAPI="+library, "PYTHONPATH="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if strings.Contains(out.String(), "skipped") {
		testenv.Missing(t, "Python tests were skipped:\n%s", &out)
	}
	t.Log(strings.TrimSpace(out.String()))
}

// TestPython is every test with our library on our volume, and with ours on
// GlusterFS's.
func TestPython(t *testing.T) {
	need(t)
	testenv.NeedRoot(t)
	t.Run("ours", func(t *testing.T) { pytest(t, ours(t), ourLibrary(t), "tests") })
	t.Run("theirs", func(t *testing.T) {
		testenv.Need(t, "glusterd")
		// The package itself is the same here.
		pytest(t, theirs(t), ourLibrary(t), "tests", "--ignore=tests/test_package.py", "--ignore=tests/test_gfapi_calls.py")
	})
}

// TestTheirLibrary is the same with GlusterFS's own library, whose unmounting takes
// ten seconds each time: in the short form what is peculiar to it.
func TestTheirLibrary(t *testing.T) {
	need(t)
	testenv.NeedRoot(t)
	testenv.Need(t, "glusterd")
	// Its glfs_rename crashes in the middle of the random stream.
	what := []string{"tests/test_gfapi.py", "tests/test_trees.py", "-k", "not test_volume and not slide and not random_stream"}
	if *long {
		what = []string{"tests", "-k", "not random_stream"}
	}
	p := theirs(t)
	pytest(t, p, "libgfapi.so.0", what...)
	if *long {
		pytest(t, ours(t), "libgfapi.so.0", what...)
	}
}
