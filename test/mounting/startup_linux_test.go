package mounting

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// A program may take startupLimit to say its version where usual takes trueLimit to
// start, and as much longer as that takes longer: other tests run beside this one.
// Scripts call the command line often.
const (
	startupLimit = 15 * time.Millisecond
	usual        = "/bin/true"
	trueLimit    = 1500 * time.Microsecond
)

// TestStartup looks at the best of many starts: what the program itself needs. The
// test binary has all that wythe has in it, and more.
func TestStartup(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func(path, name string, best *time.Duration) {
		cmd := exec.Command(path, "--version")
		cmd.Args[0] = name
		at := time.Now()
		out, err := cmd.CombinedOutput()
		if d := time.Since(at); d < *best {
			*best = d
		}
		if err != nil || len(out) == 0 {
			t.Fatalf("%s --version: %v\n%s", name, err, out)
		}
	}
	for _, name := range []string{"wythe", "glusterfs", "glusterfsd", "mount.glusterfs"} {
		base, best := time.Hour, time.Hour
		limit := startupLimit
		for i := range 50 {
			start(usual, "true", &base)
			start(self, name, &best)
			if limit = time.Duration(float64(startupLimit) * max(1, float64(base)/float64(trueLimit))); i >= 10 && best < limit*3/4 {
				break
			}
		}
		t.Logf("%s --version: %v, %s: %v", name, best, usual, base)
		if best > limit {
			t.Errorf("%s --version takes %v at best, want less than %v", name, best, limit)
		}
	}
}
