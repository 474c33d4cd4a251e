package mounter

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// The process that stays is the same program once more. Its environment says so
// and what the source is called, and it has two pipes: into one it writes a byte
// when the root has answered, the other closes when who waits for that is gone, so
// that it does not go on mounting for nobody.
const (
	childEnv  = "WYTHE_MOUNT_CHILD"
	sourceEnv = "WYTHE_MOUNT_SOURCE"

	readyFd = 3
	aliveFd = 4
)

// startGrace is for how long a process that was told to stop may clean up.
const startGrace = 15 * time.Second

// launch starts the process that serves the mount, with the given command line,
// waits until the root answers or the process ends, and returns its exit status.
func launch(argv []string, source string) int {
	status, err := start(argv, source)
	if err != nil {
		fmt.Fprintln(os.Stderr, "glusterfs:", err)
		return exitFailed
	}
	return status
}

func start(argv []string, source string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	ready, readyW, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ready.Close()
	aliveR, alive, err := os.Pipe()
	if err != nil {
		readyW.Close()
		return 0, err
	}
	defer alive.Close()
	cmd := exec.Command(self)
	cmd.Args = argv
	cmd.Env = append(os.Environ(), childEnv+"=1", sourceEnv+"="+source)
	cmd.ExtraFiles = []*os.File{readyW, aliveR}
	cmd.Stderr = os.Stderr // until the root answers
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	err = cmd.Start()
	readyW.Close()
	aliveR.Close()
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-signals:
			cmd.Process.Signal(syscall.SIGTERM)
		case <-done:
			return
		}
		select {
		case <-time.After(startGrace):
			cmd.Process.Kill()
		case <-done:
		}
	}()
	var b [1]byte
	if _, err := io.ReadFull(ready, b[:]); err == nil && b[0] == 0 {
		return 0, nil
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code > 0 {
		return code, nil
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 0, fmt.Errorf("the process that mounts was killed (%v)", ws.Signal())
	}
	return exitFailed, nil
}

// child says whether this process is one that launch started, and takes its pipes.
func (p *process) child() bool {
	if os.Getenv(childEnv) == "" {
		return false
	}
	p.source = os.Getenv(sourceEnv)
	os.Unsetenv(childEnv)
	os.Unsetenv(sourceEnv)
	syscall.CloseOnExec(readyFd)
	syscall.CloseOnExec(aliveFd)
	p.ready = os.NewFile(readyFd, "ready")
	p.alive = os.NewFile(aliveFd, "alive")
	return true
}

// deserted is closed when who waits for the mount is gone before it is there.
func (p *process) deserted() <-chan struct{} {
	gone := make(chan struct{})
	if p.alive != nil {
		go func() {
			io.Copy(io.Discard, p.alive)
			close(gone)
		}()
	}
	return gone
}

// settle lets who waits go on, and lets go of what it gave us.
func (p *process) settle() {
	if p.ready == nil {
		return
	}
	p.ready.Write([]byte{0})
	p.ready.Close()
	p.ready = nil
	os.Chdir("/")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	for fd := range 3 {
		if fd == 2 && p.file == nil && !p.args.Syslog {
			continue // it is the log
		}
		syscall.Dup3(int(null.Fd()), fd, 0)
	}
}
