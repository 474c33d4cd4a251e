package mounting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

// TestLife is about the process of a mount: what ends it, what it outlives.
func TestLife(t *testing.T) {
	top := t // what outlives a part of the test hangs on it
	g := testenv.Gluster(t)
	l := newLab(t, g.Node)
	fs := testenv.LoopFS(t, "xfs", 512)
	brick := fs + "/brick"
	g.Volume(t, "data", brick)
	vol := g.IP + ":/data"

	t.Run("signals", func(t *testing.T) {
		dir := l.mount(t, vol, "")
		pid := l.client(t, dir)
		log := filepath.Join(l.Dir, "log", strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")+".log")
		if err := os.Rename(log, log+".1"); err != nil {
			t.Fatal(err)
		}
		l.kill(t, pid, syscall.SIGHUP)
		testenv.Wait(t, 20*time.Second, "a new log", func() bool { _, err := os.Stat(log); return err == nil })

		l.kill(t, pid, syscall.SIGUSR1)
		var dump []byte
		testenv.Wait(t, 20*time.Second, "a statedump", func() bool {
			names, _ := filepath.Glob(filepath.Join(l.Dir, "run/gluster/glusterdump.*.dump.*"))
			for _, name := range names {
				dump, _ = os.ReadFile(name)
			}
			return bytes.Contains(dump, []byte("DUMP-END-TIME"))
		})
		for _, w := range []string{"DUMP-START-TIME: ", "[mallinfo]", "[active graph - ", "data-client-0", dir} {
			if !bytes.Contains(dump, []byte(w)) {
				t.Errorf("the statedump has no %q", w)
			}
		}
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			if !l.mounted(t, dir) {
				l.mountAt(t, vol, "", dir)
			}
			f, err := os.Create(l.Path(dir + "/open"))
			if err != nil {
				t.Fatal(err)
			}
			l.kill(t, l.client(t, dir), sig)
			l.gone(t, dir)
			if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("write after %v: %v", sig, err)
			}
			f.Close()
		}
	})

	t.Run("kill -9", func(t *testing.T) {
		dir := l.mount(t, vol, "")
		f, err := os.Create(l.Path(dir + "/killed"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		l.kill(t, l.client(t, dir), syscall.SIGKILL)
		testenv.Wait(t, 20*time.Second, "no process left", func() bool { return len(l.clients(dir)) == 0 })
		if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.ENOTCONN) {
			t.Errorf("write: %v", err)
		}
		l.refused(t, 32, vol, "", dir, "its process is gone")
		l.MustRun(t, "umount", "-l", dir)
		l.gone(t, dir)

		l.mountAt(t, vol, "auto_unmount", dir)
		for pid := range l.clients(dir) {
			if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); len(l.clients(dir)) == 2 && !isChildOf(string(status), l.clients(dir)) {
				l.kill(t, pid, syscall.SIGKILL)
				break
			}
		}
		l.gone(t, dir)
	})

	t.Run("umount -l", func(t *testing.T) {
		dir := l.mount(t, vol, "")
		f, err := os.Create(l.Path(dir + "/lazy"))
		if err != nil {
			t.Fatal(err)
		}
		pid := l.client(t, dir)
		l.MustRun(t, "umount", "-l", dir)
		if l.mounted(t, dir) {
			t.Error("it is mounted still")
		}
		if _, err := f.Write([]byte("still here")); err != nil {
			t.Errorf("an open file: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		l.gone(t, dir)
		testenv.Wait(t, 10*time.Second, "the end of the process", func() bool { return syscall.Kill(pid, 0) != nil })
		l.mountAt(t, vol, "", dir)
		l.want(t, dir+"/lazy", "still here")
		l.umount(t, dir)
	})

	t.Run("volume set", func(t *testing.T) {
		dir := l.mount(t, vol, "")
		f, err := os.Create(l.Path(dir + "/switched"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var want bytes.Buffer
		put := func(n int) {
			for i := range n {
				line := fmt.Sprintf("%d of %d\n", i, n)
				if _, err := f.WriteString(line); err != nil {
					t.Fatal(err)
				}
				want.WriteString(line)
			}
		}
		put(100)
		for _, on := range []string{"off", "on"} {
			count := strings.Count(l.log(dir), "volume changed to a new graph")
			g.Set(t, "data", "performance.write-behind", on)
			testenv.Wait(t, 60*time.Second, "a new graph", func() bool {
				put(1)
				return strings.Count(l.log(dir), "volume changed to a new graph") > count
			})
			put(100)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		l.want(t, dir+"/switched", want.String())
		if b, err := os.ReadFile(filepath.Join(brick, "switched")); err != nil || !bytes.Equal(b, want.Bytes()) {
			t.Errorf("on the brick: %d bytes, %v; want %d", len(b), err, want.Len())
		}
		// An option that changes no graph: the level of the log.
		g.Set(t, "data", "diagnostics.client-log-level", "DEBUG")
		testenv.Wait(t, 60*time.Second, "debug messages", func() bool {
			os.Stat(l.Path(dir + "/none"))
			return strings.Contains(l.log(dir), "option changed")
		})
		g.MustCLI(t, "volume", "reset", "data", "diagnostics.client-log-level")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		l.umount(t, dir)
	})

	t.Run("servers gone and back", func(t *testing.T) {
		dir := l.mount(t, vol, "")
		l.write(t, dir+"/before", "text")
		stop := make(chan struct{})
		done := make(chan [2]int)
		go func() { done <- load(l.Path(dir), stop) }()
		time.Sleep(200 * time.Millisecond)
		g.Daemon.Kill()
		<-g.Daemon.Done()
		// glusterd is gone; the brick is not, and the mount goes on.
		l.want(t, dir+"/before", "text")
		var pids []int
		for pid, cmd := range l.Processes() {
			if strings.Contains(cmd, "--brick-name "+brick) {
				pids = append(pids, pid)
				l.kill(t, pid, syscall.SIGKILL)
			}
		}
		if len(pids) != 1 {
			t.Fatalf("%d brick processes", len(pids))
		}
		testenv.Wait(t, 60*time.Second, "an error", func() bool {
			err := os.WriteFile(l.Path(dir+"/while"), []byte("x"), 0o644)
			return errors.Is(err, syscall.ENOTCONN)
		})
		g.StartDaemon(top) // starts the brick, too
		testenv.Wait(t, 60*time.Second, "the mount works again", func() bool {
			return os.WriteFile(l.Path(dir+"/after"), []byte("back"), 0o644) == nil
		})
		l.want(t, dir+"/before", "text")
		l.want(t, dir+"/after", "back")
		close(stop)
		n := <-done
		if n[0] == 0 || n[1] == 0 {
			t.Errorf("the load wrote %d files and met %d errors", n[0], n[1])
		}
		l.umount(t, dir)
	})

	t.Run("signal while the servers are gone", func(t *testing.T) {
		dir := l.mount(t, vol, "")
		l.write(t, dir+"/x", "text")
		stopped := g.BrickPid(t, "data", brick)
		l.kill(t, stopped, syscall.SIGSTOP) // it does not answer, and its connection stands
		hung := make(chan error, 1)
		go func() {
			_, err := os.Stat(l.Path(dir + "/hangs"))
			hung <- err
		}()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		l.kill(t, l.client(t, dir), syscall.SIGTERM)
		l.gone(t, dir)
		// Two seconds without an answer are enough; some more for a busy machine.
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it takes %v to end", d)
		}
		l.kill(t, stopped, syscall.SIGCONT)
		select {
		case <-hung:
		case <-time.After(20 * time.Second):
			t.Error("who used the mount hangs")
		}
	})
}

// isChildOf says whether a line of /proc/PID/stat is of a child of one of them.
func isChildOf(stat string, all map[int]string) bool {
	_, rest, _ := strings.Cut(stat, ") ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return false
	}
	_, ok := all[atoi(f[1])]
	return ok
}

// load writes files and reads them back until it is told to stop, and returns how
// many it wrote and how many errors it met. What was written and synced is there.
func load(dir string, stop chan struct{}) (n [2]int) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return n
		default:
		}
		text := []byte(strings.Repeat(itoa(i)+" ", 100))
		name := filepath.Join(dir, "load"+itoa(i%50))
		err := func() error {
			f, err := os.Create(name)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.Write(text); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
			b := make([]byte, len(text)+1)
			if k, err := f.ReadAt(b, 0); err != io.EOF || !bytes.Equal(b[:k], text) {
				return fmt.Errorf("read back: %d bytes, %v", k, err)
			}
			return nil
		}()
		if err == nil {
			n[0]++
		} else {
			n[1]++
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// TestUp mounts a volume of wythe up, whose process ends and starts anew under
// load.
func TestUp(t *testing.T) {
	n := testenv.Namespace(t)
	l := newLab(t, n)
	store := testenv.LoopFS(t, "xfs", 512)
	up := func() *testenv.Process {
		p := n.Start(t, l.wythe, "up", "--dir", store+"/up", "--listen", n.IP, "--allow", "*")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.WaitPort(ctx, 24007); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := up()
	a, b := l.mount(t, n.IP+":/data", ""), l.mount(t, n.IP+":/data", "acl")
	l.write(t, a+"/f", "text")
	l.want(t, b+"/f", "text")
	stop := make(chan struct{})
	done := make(chan [2]int)
	go func() { done <- load(l.Path(a), stop) }()
	time.Sleep(200 * time.Millisecond)
	p.Kill()
	<-p.Done()
	testenv.Wait(t, 60*time.Second, "an error", func() bool {
		return os.WriteFile(l.Path(b+"/while"), []byte("x"), 0o644) != nil
	})
	up()
	for _, dir := range []string{a, b} {
		testenv.Wait(t, 60*time.Second, dir+" works again", func() bool {
			return os.WriteFile(l.Path(dir+"/after"), []byte("back"), 0o644) == nil
		})
		testenv.Wait(t, 60*time.Second, dir+"/f is readable again", func() bool { // maybe on the other pair
			_, err := os.ReadFile(l.Path(dir + "/f"))
			return err == nil
		})
		l.want(t, dir+"/f", "text")
	}
	close(stop)
	if k := <-done; k[0] == 0 || k[1] == 0 {
		t.Errorf("the load wrote %d files and met %d errors", k[0], k[1])
	}
	l.umount(t, a)
	l.umount(t, b)
}
