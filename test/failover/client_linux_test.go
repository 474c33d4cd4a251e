package failover

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/testenv"
)

// client does the commands of testdata/client.c on a volume, through either
// library. The text of an answer means something only without an error.
type client interface {
	Do(command string) (text string, err error)
	// Close ends the client at once, with all of its connections.
	Close()
}

// mountLimit is how long a mount may take on a busy machine.
const mountLimit = 60 * time.Second

// commandLimit is how long a command may take. A client that does not answer by
// then hangs.
const commandLimit = 90 * time.Second

var errHangs = errors.New("no answer within a minute and a half")

// result is what a command came to, for comparing: "ok", with the text if there
// is one, or the name of the errno.
func result(text string, err error) string {
	if err == nil {
		return strings.TrimSpace("ok " + text)
	}
	// An error of a connection has two numbers: what happened to it, and the
	// one that the application is to see.
	var e syscall.Errno
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return "ENOTCONN"
	case errors.As(err, &e):
		return unix.ErrnoName(e)
	}
	return err.Error()
}

// pattern is what the command fill writes.
func pattern(off, size int, seed uint64) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte((uint64(off+i)*2654435761 + seed*40503) >> 13)
	}
	return b
}

func sumText(b []byte) string {
	h := fnv.New64a()
	h.Write(b)
	return fmt.Sprintf("%d %016x", len(b), h.Sum64())
}

// theirs is the distribution's client library in a process of its own.
type theirs struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

var built struct {
	sync.Mutex
	exe string
}

// buildTheirs compiles the C program once, into a directory that outlives t.
func buildTheirs(t testing.TB, dir string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if _, err := os.Stat(built.exe); built.exe != "" && err == nil {
		return built.exe
	}
	testenv.Need(t, "gcc", "pkg-config")
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "glusterfs-api").Output()
	if err != nil {
		testenv.Missing(t, "the headers of libgfapi: %v", err)
	}
	exe := filepath.Join(dir, "client")
	args := append([]string{"-O1", "-Wall", "-Wextra", "-o", exe, "testdata/client.c"}, strings.Fields(string(flags))...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	built.exe = exe
	return exe
}

// startTheirs mounts a volfile with the distribution's library.
func startTheirs(l *lab, volume, volfile, name string) (client, error) {
	file := filepath.Join(l.g.Dir, name+".vol")
	if err := os.WriteFile(file, []byte(volfile), 0o644); err != nil {
		return nil, err
	}
	cmd := l.g.Command(context.Background(), l.exe, volume, file, "/var/log/glusterfs/"+name+".log")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &theirs{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if _, err := c.answer(); err != nil {
		c.Close()
		return nil, fmt.Errorf("mount with the real library: %w", err)
	}
	return c, nil
}

func (c *theirs) Do(command string) (string, error) {
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		return "", err
	}
	return c.answer()
}

func (c *theirs) answer() (string, error) {
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := c.out.ReadString('\n')
		got <- line{text, err}
	}()
	var l line
	select {
	case l = <-got:
	case <-time.After(commandLimit):
		return "", errHangs
	}
	if l.err != nil {
		return "", fmt.Errorf("the real library's process: %w", l.err)
	}
	l.text = strings.TrimSpace(l.text)
	if n, bad := strings.CutPrefix(l.text, "errno "); bad {
		e, _ := strconv.Atoi(n)
		return "", syscall.Errno(e)
	}
	return strings.TrimSpace(strings.TrimPrefix(l.text, "ok")), nil
}

func (c *theirs) Close() {
	c.cmd.Cancel()
	c.in.Close()
	c.cmd.Wait()
}

// ours is our client, in this process.
type ours struct {
	vol   *gfapi.Volume
	files map[string]*gfapi.File
}

// quiet drops what our client logs about bricks that go away.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func startOurs(l *lab, volume, volfile, name string) (client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), mountLimit)
	defer cancel()
	log := quiet
	if *verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("mount", name)
	}
	vol, err := gfapi.Mount(ctx, l.g.IP, volume,
		gfapi.WithDialer(l.g.DialContext), gfapi.WithVolfile(volfile), gfapi.WithLogger(log),
		gfapi.WithCredentials(gfapi.Cred{}), gfapi.WithUmask(0), gfapi.WithEntryTimeout(time.Hour))
	if err != nil {
		return nil, err
	}
	return &ours{vol: vol, files: map[string]*gfapi.File{}}, nil
}

func (c *ours) Close() {
	done := make(chan struct{})
	go func() {
		for _, f := range c.files {
			f.Close()
		}
		c.vol.Unmount()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
	}
}

func (c *ours) Do(command string) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := c.do(strings.Fields(command))
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-time.After(commandLimit):
		return "", errHangs
	}
}

func (c *ours) do(w []string) (string, error) {
	w = append(w, "", "", "", "")
	cmd, a, b := w[0], w[1], w[2]
	switch cmd {
	case "open":
		flags, _ := strconv.Atoi(w[3])
		f, err := c.vol.OpenFile(b, flags, 0o644)
		return "", c.keep(a, f, err)
	case "creat":
		f, err := c.vol.OpenFile(b, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		return "", c.keep(a, f, err)
	case "close", "puts", "gets", "fill", "ftruncate", "fsync", "fallocate", "discard", "zerofill", "lock", "fstat":
		f := c.files[a]
		if f == nil {
			return "", syscall.EBADF
		}
		if cmd == "close" {
			delete(c.files, a)
		}
		return onFile(f, cmd, w[2:])
	}
	return c.onPath(cmd, a, b, w[3])
}

func (c *ours) keep(h string, f *gfapi.File, err error) error {
	if err != nil {
		return err
	}
	if old := c.files[h]; old != nil {
		old.Close()
	}
	c.files[h] = f
	return nil
}

func onFile(f *gfapi.File, cmd string, w []string) (string, error) {
	off, _ := strconv.ParseInt(w[0], 10, 64)
	size, _ := strconv.ParseInt(w[1], 10, 64)
	switch cmd {
	case "close":
		return "", f.Close()
	case "puts":
		_, err := f.WriteAt([]byte(w[1]), off)
		return "", err
	case "gets":
		b := make([]byte, size)
		n, err := f.ReadAt(b, off)
		if err == io.EOF {
			err = nil
		}
		return string(b[:n]), err
	case "fill":
		seed, _ := strconv.ParseUint(w[2], 10, 64)
		_, err := f.WriteAt(pattern(int(off), int(size), seed), off)
		return "", err
	case "ftruncate":
		return "", f.Truncate(off)
	case "fsync":
		return "", f.Sync()
	case "fallocate":
		return "", f.Allocate(off, size)
	case "discard":
		return "", f.Punch(off, size)
	case "zerofill":
		return "", f.Zero(off, size)
	case "lock":
		return "", f.TryLock(gfapi.WriteLock, 0, 0)
	}
	fi, err := f.Stat()
	return infoText(fi, err)
}

func infoText(fi fs.FileInfo, err error) (string, error) {
	if err != nil {
		return "", err
	}
	st := fi.Sys().(*gfapi.Stat)
	return fmt.Sprintf("%d %o", st.Size, st.Mode&0o7777), nil
}

func (c *ours) onPath(cmd, a, b, d string) (string, error) {
	v := c.vol
	switch cmd {
	case "stat":
		return infoText(v.Lstat(a))
	case "cat":
		text, err := v.ReadFile(a)
		return string(text), err
	case "sum":
		text, err := v.ReadFile(a)
		return sumText(text), err
	case "list":
		var names []string
		des, err := v.ReadDir(a)
		for _, de := range des {
			names = append(names, de.Name())
		}
		return strings.Join(names, " "), err
	case "statfs":
		_, err := v.Statfs(a)
		return "", err
	case "readlink":
		return v.Readlink(a)
	case "truncate":
		n, _ := strconv.ParseInt(b, 10, 64)
		return "", v.Truncate(a, n)
	case "chmod":
		m, _ := strconv.ParseUint(b, 8, 32)
		return "", v.Chmod(a, fs.FileMode(m))
	case "setxattr":
		return "", v.Setxattr(a, b, []byte(d), 0)
	case "getxattr":
		x, err := v.Getxattr(a, b)
		return string(bytes.TrimRight(x, "\x00")), err
	case "removexattr":
		return "", v.Removexattr(a, b)
	case "mkdir":
		return "", v.Mkdir(a, 0o755)
	case "rmdir":
		return "", v.Remove(a + "/")
	case "unlink":
		return "", v.Remove(a)
	case "mkfifo":
		return "", v.Mknod(a, fs.ModeNamedPipe|0o644, 0, 0)
	case "symlink":
		return "", v.Symlink(b, a)
	case "link":
		return "", v.Link(a, b)
	case "rename":
		return "", v.Rename(a, b)
	}
	return "", fmt.Errorf("no command %q", cmd)
}
