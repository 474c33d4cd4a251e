package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scratch is the directory under which this test process mounts things. It is
// a mount of its own with shared propagation, so that Nodes, whose mounts are
// slaves of the test's, see what is mounted here later.
type scratch struct {
	dir     string
	users   int
	serial  int
	janitor *exec.Cmd
	alive   *os.File // the janitor acts when this closes
	loops   []string // loop devices to be gone when the last user leaves
}

var (
	scratchMu  sync.Mutex
	theScratch *scratch
)

// The janitor outlives the test process: when the pipe on its standard input
// closes it detaches all mounts under the scratch directory and removes it.
const janitorScript = `cat >/dev/null
umount -l "$0" 2>/dev/null
rm -rf --one-file-system "$0"`

// enter makes sure that the scratch directory exists until t ends and returns
// a new, empty directory in it.
func enter(t testing.TB, name string) string {
	t.Helper()
	NeedRoot(t)
	scratchMu.Lock()
	defer scratchMu.Unlock()
	if theScratch == nil {
		s, err := newScratch()
		if err != nil {
			t.Fatalf("testenv: scratch directory: %v", err)
		}
		theScratch = s
	}
	s := theScratch
	s.users++
	t.Cleanup(func() { leave(t) })
	s.serial++
	dir := filepath.Join(s.dir, fmt.Sprintf("%s%d", name, s.serial))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return dir
}

func newScratch() (*scratch, error) {
	dir, err := os.MkdirTemp("", "wythe-test-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	j := exec.Command("/bin/sh", "-c", janitorScript, dir)
	j.Stdin = r
	j.Dir = "/"
	j.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C is not for it
	if err := j.Start(); err != nil {
		w.Close()
		os.Remove(dir)
		return nil, err
	}
	s := &scratch{dir: dir, janitor: j, alive: w}
	err = unix.Mount(dir, dir, "", unix.MS_BIND, "")
	if err == nil {
		err = unix.Mount("", dir, "", unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount("", dir, "", unix.MS_SHARED, "")
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("bind %s: %w", dir, err)
	}
	return s, nil
}

// leave gives the scratch directory up; the last one to leave waits until the
// kernel has let go of all loop devices, and has the directory removed.
func leave(t testing.TB) {
	scratchMu.Lock()
	defer scratchMu.Unlock()
	s := theScratch
	if s.users--; s.users > 0 {
		return
	}
	theScratch = nil
	for _, dev := range s.loops {
		if err := waitDetached(dev, s.dir, 3*time.Minute); err != nil {
			t.Errorf("testenv: %v", err)
		}
	}
	if err := s.close(); err != nil {
		t.Errorf("testenv: clean-up of %s: %v", s.dir, err)
	}
}

// close lets the janitor do its work now.
func (s *scratch) close() error {
	s.alive.Close()
	return s.janitor.Wait()
}

// forgetLoop and noteLoop keep the list of loop devices that are in use.
func noteLoop(dev string) {
	scratchMu.Lock()
	defer scratchMu.Unlock()
	theScratch.loops = append(theScratch.loops, dev)
}

func forgetLoop(dev string) {
	scratchMu.Lock()
	defer scratchMu.Unlock()
	for i, d := range theScratch.loops {
		if d == dev {
			theScratch.loops = append(theScratch.loops[:i], theScratch.loops[i+1:]...)
			return
		}
	}
}

// waitDetached waits until the loop device has no backing file below dir: by
// then another test process may have taken it, and until the Nodes of others end
// that began meanwhile, copies of the mount may keep it.
func waitDetached(dev, dir string, limit time.Duration) error {
	file := "/sys/block/" + filepath.Base(dev) + "/loop/backing_file"
	for deadline := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(b), dir+"/") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still attached to %s", dev, strings.TrimSpace(string(b)))
		}
	}
}
