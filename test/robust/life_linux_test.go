package robust

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/brick/check"
	"github.com/wythefs/wythe/internal/testenv"
)

// process is a cluster in a process of its own.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	end    chan error
}

// start runs a cluster and waits until it serves.
func start(t testing.TB, dir string, port int, more ...string) (*process, error) {
	t.Helper()
	p := &process{end: make(chan error, 1)}
	p.cmd = again(context.Background(), "up", append([]string{dir, "127.0.0.1", strconv.Itoa(port)}, more...)...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	line, _ := bufio.NewReader(out).ReadString('\n')
	if !strings.HasPrefix(line, "serving") {
		p.cmd.Wait()
		return nil, errors.New(p.stderr.String())
	}
	go func() { p.end <- p.cmd.Wait() }()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p, nil
}

// stop sends a signal and returns how the process ended.
func (p *process) stop(t testing.TB, sig syscall.Signal) error {
	t.Helper()
	must(t, p.cmd.Process.Signal(sig))
	select {
	case err := <-p.end:
		return err
	case <-time.After(15 * time.Second):
		t.Fatalf("the process does not end after %v", sig)
		return nil
	}
}

func TestSIGTERM(t *testing.T) {
	noLeaks(t)
	testenv.NeedRoot(t)
	dir, port := t.TempDir(), testenv.FreePort(t)
	p, err := start(t, dir, port)
	must(t, err)
	url := fmt.Sprintf("gluster://127.0.0.1:%d/data", port)
	v := mountURL(t, url)
	must(t, v.WriteFile("file", []byte("text"), 0o644))
	// A second process on the directory, or on the port, is told so.
	if _, err := start(t, dir, testenv.FreePort(t)); err == nil {
		t.Error("two processes serve one directory")
	} else {
		hasWords(t, err, dir, "in use by process "+strconv.Itoa(p.cmd.Process.Pid))
	}
	if _, err := start(t, t.TempDir(), port); err == nil {
		t.Error("two processes have one port")
	} else {
		hasWords(t, err, strconv.Itoa(port), "taken", "--port")
	}
	// With a client connected and a file open.
	f, err := v.Open("file")
	must(t, err)
	began := time.Now()
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("after SIGTERM: %v, %s", err, p.stderr.String())
	}
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("SIGTERM takes %v", d)
	}
	checkBrick(t, filepath.Join(dir, "brick0"))
	p, err = start(t, dir, port)
	must(t, err)
	testenv.Wait(t, 15*time.Second, "the client to come back", func() bool {
		var b [4]byte
		n, _ := f.ReadAt(b[:], 0)
		return string(b[:n]) == "text"
	})
	must(t, f.Close())
	must(t, v.Unmount())
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// TestKillUnderLoad kills the servers again and again while a client works. The
// client comes back by itself, what was acknowledged is there, and the brick is
// in order.
func TestKillUnderLoad(t *testing.T) {
	noLeaks(t)
	testenv.NeedRoot(t)
	dir, port := t.TempDir(), testenv.FreePort(t)
	p, err := start(t, dir, port)
	must(t, err)
	v := mountURL(t, fmt.Sprintf("gluster://127.0.0.1:%d/data", port))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	v = v.WithContext(ctx)
	must(t, v.WriteFile("locked", nil, 0o644))
	locked, err := v.OpenFile("locked", os.O_RDWR, 0)
	must(t, err)
	must(t, locked.Lock(gfapi.WriteLock, 0, 0))

	var stop atomic.Bool
	var all sync.WaitGroup
	const workers = 4
	kept := make([]map[string]string, workers)
	var errs, ops atomic.Int64
	for w := range workers {
		kept[w] = make(map[string]string)
		all.Go(func() { work(t, v, w, kept[w], &stop, &ops, &errs) })
	}
	for round := range 6 {
		time.Sleep(time.Duration(100+rand.IntN(500)) * time.Millisecond)
		p.stop(t, syscall.SIGKILL)
		if round%3 == 2 {
			forgetPorts(t, dir)
		}
		if p, err = start(t, dir, port); err != nil {
			t.Fatalf("start after SIGKILL: %v", err)
		}
		n := ops.Load()
		testenv.Wait(t, 20*time.Second, "the client to come back", func() bool { return ops.Load() > n+20 })
	}
	stop.Store(true)
	all.Wait()
	t.Logf("%d operations, %d errors", ops.Load(), errs.Load())
	w := mountURL(t, fmt.Sprintf("gluster://127.0.0.1:%d/data", port))
	for _, files := range kept {
		for name, text := range files {
			if b, err := w.ReadFile(name); err != nil || string(b) != text {
				t.Errorf("%s: %d bytes, want %d; %v", name, len(b), len(text), err)
			}
		}
	}
	other, err := w.OpenFile("locked", os.O_RDWR, 0)
	must(t, err)
	if err := other.TryLock(gfapi.WriteLock, 0, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("the lock is not held any more: %v", err)
	}
	must(t, other.Close())
	must(t, locked.Close())
	must(t, w.Unmount())
	must(t, v.Unmount())
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("after SIGTERM: %v, %s", err, p.stderr.String())
	}
	brick := filepath.Join(dir, "brick0")
	_, err = check.Run(t.Context(), brick, check.Options{Repair: true, NewGFIDs: true, Report: func(p check.Problem) { t.Logf("after the kills: %v", p) }})
	must(t, err)
	checkBrick(t, brick)
}

// forgetPorts has the bricks listen on other ports after the next start.
func forgetPorts(t testing.TB, dir string) {
	t.Helper()
	name := filepath.Join(dir, "wythe.json")
	b, err := os.ReadFile(name)
	must(t, err)
	var state map[string]any
	must(t, json.Unmarshal(b, &state))
	if _, ok := state["ports"]; !ok {
		t.Error("no ports are remembered")
	}
	delete(state, "ports")
	b, err = json.Marshal(state)
	must(t, err)
	must(t, os.WriteFile(name, b, 0o600))
}

// work makes, renames and deletes files until stop. What is acknowledged goes to
// kept; a name whose last operation failed is in doubt and is not used again.
func work(t testing.TB, v *gfapi.Volume, w int, kept map[string]string, stop *atomic.Bool, ops, errs *atomic.Int64) {
	dir := fmt.Sprintf("worker%d", w)
	for v.MkdirAll(dir, 0o755) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	failed := func(err error) bool {
		if err == nil {
			ops.Add(1)
			return false
		}
		errs.Add(1)
		if !connLost(err) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESTALE) {
			t.Errorf("worker %d: %v", w, err)
		}
		time.Sleep(5 * time.Millisecond)
		return true
	}
	for i := 0; !stop.Load(); i++ {
		name := fmt.Sprintf("%s/f%d", dir, i)
		text := strings.Repeat(name+"\n", 1+i%500)
		if failed(v.WriteFile(name, []byte(text), 0o644)) {
			continue
		}
		switch i % 4 {
		case 0:
			if !failed(v.Remove(name)) {
				continue
			}
		case 1:
			if !failed(v.Rename(name, name+".new")) {
				kept[name+".new"] = text
			}
		case 2:
			if !failed(v.Link(name, name+".link")) {
				kept[name], kept[name+".link"] = text, text
			}
		default:
			kept[name] = text
		}
	}
}

// TestRealClientOverRestart has the distribution's FUSE client mount a cluster
// that is killed and started again under it, at the default port and another.
func TestRealClientOverRestart(t *testing.T) {
	n := testenv.Namespace(t)
	testenv.Need(t, "glusterfs", "mount.glusterfs")
	for _, port := range []int{24007, 25555} {
		t.Run(strconv.Itoa(port), func(t *testing.T) {
			dir := testenv.LoopFS(t, "xfs", 300) + "/cluster"
			serve := func() *testenv.Process {
				exe, err := os.Executable()
				must(t, err)
				cmd := n.Command(context.Background(), exe, dir, n.IP, strconv.Itoa(port))
				cmd.Env = append(os.Environ(), roleEnv+"=up")
				p, err := n.StartCmd(cmd)
				must(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				must(t, n.WaitPort(ctx, port))
				return p
			}
			p := serve()
			var opts []string
			if port != 24007 {
				opts = append(opts, "server-port="+strconv.Itoa(port))
			}
			m := n.Mount(t, "data", opts...)
			must(t, os.WriteFile(m+"/file", []byte("text"), 0o644))
			must(t, os.Mkdir(m+"/dir", 0o755))
			must(t, os.Rename(m+"/file", m+"/dir/moved"))
			f, err := os.OpenFile(m+"/dir/moved", os.O_RDWR|os.O_APPEND, 0)
			must(t, err)
			defer f.Close()
			lk := syscall.Flock_t{Type: syscall.F_WRLCK}
			must(t, syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lk))
			for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
				must(t, p.Signal(sig))
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				if err := p.Wait(ctx); sig == syscall.SIGTERM && err != nil {
					t.Errorf("after %v: %v", sig, err)
				}
				cancel()
				if _, err := os.Stat(m + "/dir/none"); err == nil {
					t.Error("a file without servers")
				}
				p = serve()
				testenv.Wait(t, 25*time.Second, "the real client to come back", func() bool {
					b, err := os.ReadFile(m + "/dir/moved")
					return err == nil && strings.HasPrefix(string(b), "text")
				})
				if _, err := f.WriteString("+"); err != nil {
					t.Errorf("writing to the open file after %v: %v", sig, err)
				}
				must(t, f.Sync()) // the real client writes behind
			}
			if b, err := os.ReadFile(m + "/dir/moved"); err != nil || string(b) != "text++" {
				t.Errorf("%q, %v", b, err)
			}
			des, err := os.ReadDir(m + "/dir")
			if err != nil || len(des) != 1 {
				t.Errorf("%v, %v", des, err)
			}
			f.Close()
			n.Unmount(t, m)
			p.Signal(syscall.SIGTERM)
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			if err := p.Wait(ctx); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
			checkBrick(t, dir+"/brick0")
		})
	}
}
