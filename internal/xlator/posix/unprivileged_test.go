//go:build linux

package posix_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/posix"
)

const envUnprivileged = "WYTHE_UNPRIVILEGED_DIR"

// TestUnprivileged runs the common suite in a process without any privilege,
// which gets rootless bricks without asking for them.
func TestUnprivileged(t *testing.T) {
	if dir := os.Getenv(envUnprivileged); dir != "" {
		unprivileged(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		unprivileged(t, t.TempDir())
		return
	}
	testenv.NeedRoot(t)
	// The test binary and the bricks must be where everybody gets at them.
	base := t.TempDir()
	for dir := base; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program, dir := filepath.Join(base, "test"), filepath.Join(base, "bricks")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign")
	if err := posix.Create(foreign, fop.GFID{15: 7}, posix.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for _, d := range []string{dir, foreign} {
		if err := os.Chown(d, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(program, 0o755)
	cmd := exec.Command(program, "-test.run=^TestUnprivileged$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), envUnprivileged+"="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func unprivileged(t *testing.T, dir string) {
	var n atomic.Int32
	conformance.Run(t, func(t *testing.T) fop.Handler {
		volume := fop.NewGFID()
		brick := filepath.Join(dir, fmt.Sprintf("brick%d", n.Add(1)))
		if err := posix.Create(brick, volume, posix.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		h, err := posix.New(xlator.Config{Name: "posix", Options: xlator.Options{"directory": brick, "volume-id": volume.String(), "reserve": "0"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.(xlator.Closer).Close() })
		return h
	}, conformance.Options{Devices: true})
	foreign := filepath.Join(dir, "foreign")
	if _, err := os.Stat(foreign); err != nil {
		return
	}
	_, err := posix.New(xlator.Config{Name: "posix", Options: xlator.Options{"directory": foreign}})
	if fop.Errno(err) != syscall.EPERM || !strings.Contains(err.Error(), foreign) || !strings.Contains(err.Error(), "root") {
		t.Errorf("a brick of root's: %v", err)
	}
}
