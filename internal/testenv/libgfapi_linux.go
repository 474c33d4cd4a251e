package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Libgfapi returns a directory with our libgfapi.so.0 and its engine, and the
// empty libraries that some programs want beside it. They are built once for all
// tests of a process, and removed when it has ended.
func Libgfapi(t testing.TB) string {
	t.Helper()
	Need(t, "gcc", "make")
	dir, err := libgfapi()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var libgfapi = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "wythe-libgfapi-")
	if err != nil {
		return "", err
	}
	if err := removeAtExit(dir); err != nil {
		return "", err
	}
	out, err := exec.Command("make", "-s", "-C", root, "libgfapi", "libgfapi-stubs", "LIBOUT="+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make libgfapi: %v\n%s", err, out)
	}
	return dir, nil
})

// moduleRoot is the directory above the tests that has the go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the tests")
		}
		dir = up
	}
}

// removeAtExit has a directory removed when this process is gone, however it ends.
func removeAtExit(dir string) error {
	r, w, err := os.Pipe() // w stays open as long as we live
	if err != nil {
		return err
	}
	defer r.Close()
	j := exec.Command("/bin/sh", "-c", `cat >/dev/null; rm -rf "$0"`, dir)
	j.Stdin, j.Dir = r, "/"
	j.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C is not for it
	if err := j.Start(); err != nil {
		w.Close()
		return err
	}
	keepOpen = append(keepOpen, w)
	return nil
}

var keepOpen []*os.File // or a finalizer would close them
