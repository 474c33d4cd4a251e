package interop

import (
	"bufio"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

// roles are what the test binary does when it is started again, by the value of
// roleVar. They take the arguments behind "--".
const roleVar = "WYTHE_INTEROP_ROLE"

// roleBrickProcess keeps its variable, since a brick starts itself again when it
// goes to the background.
const roleBrickProcess = "glusterfsd"

var roles = map[string]func(args []string) error{
	"worker": workerMain,
	"up":     upMain,
	"brick":  brickMain,

	roleBrickProcess: brickProcessMain,
	roleWythe:        wytheMain,
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleVar)
	if role == "" {
		os.Exit(m.Run())
	}
	if role != roleBrickProcess && role != roleWythe {
		os.Unsetenv(roleVar)
	}
	f := roles[role]
	if f == nil {
		fmt.Fprintf(os.Stderr, "no role %q\n", role)
		os.Exit(2)
	}
	if err := f(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// again returns a command that starts the test binary again inside of a Node.
func again(n *testenv.Node, role string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		exe = "/proc/self/exe"
	}
	words := append([]string{roleVar + "=" + role, exe}, args...)
	return n.Command(context.Background(), "env", words...)
}

// workerMain does the ops that come on standard input in a directory, and
// writes their results. It has no supplementary groups and no umask.
func workerMain(args []string) error {
	runtime.LockOSThread()
	unix.Umask(0)
	if err := unix.Setgroups(nil); err != nil {
		return err
	}
	if err := os.Chdir(args[0]); err != nil {
		return err
	}
	if err := interruptible(unix.SIGUSR1); err != nil {
		return err
	}
	s := newSystem(args[0])
	in, out := gob.NewDecoder(bufio.NewReader(os.Stdin)), gob.NewEncoder(os.Stdout)
	for {
		var o op
		if err := in.Decode(&o); err == io.EOF {
			return s.Close()
		} else if err != nil {
			return err
		}
		if err := out.Encode(s.Do(o)); err != nil {
			return err
		}
	}
}

// worker is a target: a process in a Node that works on a mount point of it.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	enc *gob.Encoder
	dec *gob.Decoder
}

// startWorker starts a worker on a directory as Node.Mount returns it.
func startWorker(t testing.TB, n *testenv.Node, dir string) *worker {
	t.Helper()
	cmd := again(n, "worker", strings.TrimPrefix(dir, n.Path("/")))
	cmd.Stderr = os.Stderr
	in, out := testenv.Talk(t, cmd)
	w := &worker{cmd: cmd, in: in, enc: gob.NewEncoder(in), dec: gob.NewDecoder(out)}
	t.Cleanup(func() { w.Close() })
	return w
}

func (w *worker) Do(o op) result {
	if err := w.enc.Encode(o); err != nil {
		return result{Errno: "worker: " + err.Error()}
	}
	type answer struct {
		r   result
		err error
	}
	c := make(chan answer, 1)
	go func() {
		var a answer
		a.err = w.dec.Decode(&a.r)
		c <- a
	}()
	select {
	case a := <-c:
		if a.err != nil {
			return result{Errno: "worker: " + a.err.Error()}
		}
		return a.r
	case <-time.After(time.Minute):
		w.cmd.Process.Kill()
		return result{Errno: "worker: no answer within a minute"}
	}
}

func (w *worker) Close() error {
	if w.in == nil {
		return nil
	}
	w.in.Close()
	w.in = nil
	return w.cmd.Wait()
}
