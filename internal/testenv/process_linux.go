package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Command returns a command that will run inside of the Node. Its Process is
// that of nsenter(1), which waits for the program and ends as it ends; both are
// a process group of their own, and when ctx ends the group is killed. Most
// tests want Run or Start.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	nsenter, err := Program("nsenter")
	if err != nil {
		nsenter = "nsenter"
	}
	argv := []string{"--target", strconv.Itoa(n.Pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--", name}
	cmd := exec.CommandContext(ctx, nsenter, append(argv, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+systemPath())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run runs a program in the Node to its end and returns its standard output.
// The error of one that failed has both of its outputs. Daemons that it leaves
// behind run on until the Node ends.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	// Files, not pipes: a daemon that keeps a pipe open would hold up Wait.
	stdout, err := os.CreateTemp(filepath.Join(n.Dir, "run"), ".stdout")
	if err != nil {
		return "", err
	}
	defer os.Remove(stdout.Name())
	defer stdout.Close()
	stderr, err := os.CreateTemp(filepath.Join(n.Dir, "run"), ".stderr")
	if err != nil {
		return "", err
	}
	defer os.Remove(stderr.Name())
	defer stderr.Close()
	cmd := n.Command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = cmd.Run()
	out, e1 := os.ReadFile(stdout.Name())
	if err != nil {
		words, _ := os.ReadFile(stderr.Name())
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return string(out), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, words)
	}
	return string(out), e1
}

// MustRun is Run with a minute's time that ends the test on failure.
func (n *Node) MustRun(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := n.Run(ctx, name, args...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

// Process is a program that runs in a Node.
type Process struct {
	Pid int // the program itself, as the test's process namespace counts

	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts a program in the Node. Its output goes to the Node's logs under
// the program's name; it is killed at the end of the test.
func (n *Node) Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	log, err := os.Create(filepath.Join(n.Dir, "out", fmt.Sprintf("%s.%d", filepath.Base(name), n.serial.Add(1))))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := n.Command(context.Background(), name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := n.StartCmd(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
	})
	return p
}

// StartCmd starts what Command returned. The caller ends it, or leaves it to
// the end of the Node.
func (n *Node) StartCmd(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	// nsenter forks once to get into the process namespace.
	for p.Pid == 0 {
		p.Pid = onlyChild(cmd.Process.Pid)
		select {
		case <-p.done:
			return p, nil
		case <-time.After(200 * time.Microsecond):
		}
	}
	return p, nil
}

func onlyChild(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) == 0 {
		return 0
	}
	child, _ := strconv.Atoi(fields[0])
	return child
}

// Signal sends a signal to the program.
func (p *Process) Signal(sig syscall.Signal) error {
	if p.Pid == 0 {
		return os.ErrProcessDone
	}
	if sig == syscall.SIGCONT { // nsenter stops together with its child
		return syscall.Kill(-p.cmd.Process.Pid, sig)
	}
	return syscall.Kill(p.Pid, sig)
}

// Kill ends the program at once.
func (p *Process) Kill() {
	select {
	case <-p.done:
	default:
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the program's end and returns its error as [exec.Cmd.Wait]
// does.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// HostPid returns the process id by which the test knows the process that has
// the id pid inside of the Node, or 0.
func (n *Node) HostPid(pid int) int {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", n.Pid))
	if err != nil {
		return 0
	}
	for _, p := range n.processes(space) {
		if p.inner == pid {
			return p.outer
		}
	}
	return 0
}

// Processes lists the processes of the Node but for its first, as command lines
// by the test's process ids.
func (n *Node) Processes() map[int]string {
	list := map[int]string{}
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", n.Pid))
	if err != nil {
		return list
	}
	for _, p := range n.processes(space) {
		if p.outer == n.Pid {
			continue
		}
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.outer))
		list[p.outer] = strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
	}
	return list
}

type pidPair struct{ outer, inner int }

func (n *Node) processes(space string) []pidPair {
	var list []pidPair
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != space {
			continue
		}
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(status), "\n") {
			ids, ok := strings.CutPrefix(line, "NSpid:")
			if !ok {
				continue
			}
			f := strings.Fields(ids)
			outer, _ := strconv.Atoi(filepath.Base(dir))
			inner, _ := strconv.Atoi(f[len(f)-1])
			list = append(list, pidPair{outer, inner})
		}
	}
	return list
}
