package brick

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// childEnv tells the process that goes to the background that it is it. Go
// cannot fork; the program is executed once more instead, with one end of a
// pipe, to which it writes one byte when it serves.
const childEnv = "WYTHE_BRICK_CHILD"

const readyFd = 3

// launch starts the process that stays, waits until it serves or ends, and
// returns the exit status that tells which.
func launch() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wythe brick:", err)
		return exitError
	}
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wythe brick:", err)
		return exitError
	}
	cmd := exec.Command(self)
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = os.Stderr // for what goes wrong before the log is open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wythe brick:", err)
		return exitError
	}
	var status [1]byte
	if _, err := io.ReadFull(r, status[:]); err == nil && status[0] == 0 {
		return 0
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code > 0 {
		return code
	}
	return exitError
}

// readyPipe returns the pipe on which the launcher waits, nil if there is none.
func readyPipe() *os.File {
	if os.Getenv(childEnv) == "" {
		return nil
	}
	os.Unsetenv(childEnv)
	syscall.CloseOnExec(readyFd)
	return os.NewFile(readyFd, "ready")
}

// tell lets the launcher go on, and lets go of what it gave us.
func (p *process) tell(status int) {
	if p.ready == nil {
		return
	}
	p.ready.Write([]byte{byte(status)})
	p.ready.Close()
	p.ready = nil
	if status != 0 {
		return
	}
	os.Chdir("/")
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			syscall.Dup3(int(null.Fd()), fd, 0)
		}
		null.Close()
	}
}
