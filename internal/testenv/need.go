package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// All reports whether a missing prerequisite is a failure (WYTHE_TEST_ALL=1).
func All() bool { return os.Getenv("WYTHE_TEST_ALL") == "1" }

// Need ends the test unless all programs are found in PATH or in the
// directories of system programs.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	for _, p := range programs {
		if _, err := Program(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		Missing(t, "program not installed: %s", strings.Join(missing, ", "))
	}
}

// Program finds an executable in PATH or in the directories of system
// programs, which a normal user's PATH lacks.
func Program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin/", "/usr/sbin/", "/sbin/"} {
		if p, e := exec.LookPath(dir + name); e == nil {
			return p, nil
		}
	}
	return "", err
}

// NeedRoot ends the test unless it runs as root.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root")
	}
}

// Missing ends the test for want of something outside of the project: a skip,
// or with WYTHE_TEST_ALL=1 a failure.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	msg := fmt.Sprintf(format, args...)
	if All() {
		t.Fatalf("missing, and WYTHE_TEST_ALL=1 forbids to skip: %s", msg)
	}
	t.Skipf("missing: %s", msg)
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listened on a moment
// ago. Prefer port 0 where the server can tell its port.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
