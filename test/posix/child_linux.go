package posix

import (
	"encoding/gob"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// childVar makes a test binary with this package in it a child of a chapter, as
// another process with locks of its own.
const childVar = "WYTHE_POSIX_CHILD"

func init() {
	if os.Getenv(childVar) != "" {
		childMain()
		os.Exit(0)
	}
	// A thread ends with the goroutine that has it for itself, but for the first
	// of a process, which would keep a chapter's directory and mounts. It stays
	// with main.
	runtime.LockOSThread()
}

// order is what a child is told; answer is what came of it.
type order struct {
	What     string // "open", "lock", "flock"
	Path     string
	Fd, Cmd  int
	Kind     int16
	Start, N int64
}

type answer struct {
	Errno unix.Errno
	Fd    int
	Lock  unix.Flock_t
}

func childMain() {
	in, out := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	for {
		var o order
		if in.Decode(&o) != nil {
			return
		}
		var a answer
		var err error
		switch o.What {
		case "open":
			a.Fd, err = unix.Open(o.Path, o.Cmd, 0o644)
		case "flock":
			err = unix.Flock(o.Fd, o.Cmd)
		case "lock":
			a.Lock = *rangeLock(o.Kind, o.Start, o.N)
			err = unix.FcntlFlock(uintptr(o.Fd), o.Cmd, &a.Lock)
		}
		a.Errno, _ = err.(unix.Errno)
		if out.Encode(a) != nil {
			return
		}
	}
}

// child is another process in the chapter's directory.
type child struct {
	e   *env
	cmd *exec.Cmd
	in  *gob.Encoder
	out *gob.Decoder
	end func()
}

func (e *env) child() *child {
	e.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVar+"=1")
	cmd.Dir = e.dir
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	e.must(err, "pipe")
	out, err := cmd.StdoutPipe()
	e.must(err, "pipe")
	e.must(cmd.Start(), "start a child")
	c := &child{e: e, cmd: cmd, in: gob.NewEncoder(in), out: gob.NewDecoder(out)}
	ended := false
	c.end = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	e.Cleanup(c.end)
	return c
}

// do tells the child and waits for what it says.
func (c *child) do(o order) (answer, error) {
	var a answer
	if err := c.in.Encode(o); err != nil {
		return a, fmt.Errorf("the child of %s: %w", c.e.name, err)
	}
	if err := c.out.Decode(&a); err != nil {
		return a, fmt.Errorf("the child of %s: %w", c.e.name, err)
	}
	if a.Errno != 0 {
		return a, a.Errno
	}
	return a, nil
}

func (c *child) open(path string, flags int) int {
	c.e.Helper()
	a, err := c.do(order{What: "open", Path: path, Cmd: flags})
	c.e.must(err, "open %s in a child", path)
	return a.Fd
}

func (c *child) lock(fd, cmd int, kind int16, start, n int64) error {
	_, err := c.do(order{What: "lock", Fd: fd, Cmd: cmd, Kind: kind, Start: start, N: n})
	return err
}

func (c *child) ask(fd, cmd int, kind int16, start, n int64) (unix.Flock_t, error) {
	a, err := c.do(order{What: "lock", Fd: fd, Cmd: cmd, Kind: kind, Start: start, N: n})
	return a.Lock, err
}

func (c *child) flock(fd, how int) error {
	_, err := c.do(order{What: "flock", Fd: fd, Cmd: how})
	return err
}
