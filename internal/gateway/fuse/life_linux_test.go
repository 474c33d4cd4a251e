package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

func run(name string, args ...string) error { return exec.Command(name, args...).Run() }

// asUser runs a shell line as an ordinary user in some groups.
func asUser(line string, groups ...uint32) ([]byte, error) {
	cmd := exec.Command("sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4711, Groups: groups}}
	return cmd.CombinedOutput()
}

// What the kernel is asked to forget it forgets, so that a mount stays small.
func TestLRULimit(t *testing.T) {
	transports(t, func(t *testing.T, edit func(*Config)) {
		s := open(t, cluster(t, shapes["brick"], nil))
		srv, dir := mounted(t, s, edit, func(c *Config) { c.LRULimit = nodeShards })
		for i := range 400 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Wait(t, 10*time.Second, "the kernel to forget", func() bool { return srv.bridge.nodes.len() <= 3*nodeShards })
		var dump bytes.Buffer
		srv.Dump(&dump)
		if !strings.Contains(dump.String(), "lru_limit=64\n") || !strings.Contains(dump.String(), "transport="+srv.cfg.Transport.String()) {
			t.Errorf("dump:\n%s", &dump)
		}
		// What was forgotten is found again.
		for i := range 400 {
			if _, err := os.Stat(filepath.Join(dir, fmt.Sprint("f", i))); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// When the mount ends nothing is left of it, whoever used it.
func TestAbort(t *testing.T) {
	transports(t, func(t *testing.T, edit func(*Config)) {
		s := open(t, cluster(t, shapes["brick"], nil))
		node := newPrivate(t)
		cfg := usual(Config{Session: s, Dir: t.TempDir()})
		edit(&cfg)
		var srv *Server
		if err := node.Do(func() (err error) { srv, err = Mount(context.Background(), cfg); return err }); err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(node.root, cfg.Dir, "f")
		a, err := os.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := node.Do(srv.Unmount); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("unmount of what is in use: %v", err)
		}
		if err := syscall.Flock(int(a.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 1)
		go func() { waited <- syscall.Flock(int(b.Fd()), syscall.LOCK_EX) }()
		testenv.Wait(t, 10*time.Second, "somebody to wait for the lock", func() bool { return len(srv.bridge.waits.list()) == 1 })
		if err := node.Do(srv.Abort); err != nil {
			t.Fatal(err)
		}
		if err := <-waited; err == nil {
			t.Error("the lock was granted")
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.EIO) {
			t.Errorf("write to a mount that is gone: %v", err)
		}
		if n := srv.bridge.files.len(); n != 0 {
			t.Errorf("%d files are open still", n)
		}
	})
}

// A server that is killed leaves errors, and nobody who waits.
func TestKilled(t *testing.T) {
	c := cluster(t, shapes["brick"], nil)
	cmd, dir := served(t, c)
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, 10*time.Second, "an error", func() bool {
		var st unix.Stat_t
		return unix.Stat(dir, &st) == unix.ENOTCONN
	})
	if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("write: %v", err)
	}
}

// Without bricks there are errors, with them there is a volume again.
func TestBricksAway(t *testing.T) {
	c := cluster(t, shapes["replica"], nil)
	_, dir := mounted(t, open(t, c))
	p := filepath.Join(dir, "f")
	if err := os.WriteFile(p, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	kept, err := os.OpenFile(p, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	for i := range 2 {
		if err := c.StopBrick(i); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Wait(t, 10*time.Second, "ENOTCONN", func() bool {
		_, err := os.Stat(filepath.Join(dir, "other"))
		return errors.Is(err, syscall.ENOTCONN)
	})
	for i := range 2 {
		if err := c.StartBrick(i); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Wait(t, 30*time.Second, "the volume", func() bool { return os.WriteFile(filepath.Join(dir, "after"), nil, 0o644) == nil })
	testenv.Wait(t, 30*time.Second, "the open file", func() bool { _, err := kept.WriteAt([]byte("AFTER "), 0); return err == nil })
	if got, err := os.ReadFile(p); err != nil || string(got) != "AFTER " {
		t.Errorf("%q, %v", got, err)
	}
}

// A write by an ordinary user takes setuid and setgid bits, one by root does not;
// groups count, new ones at once.
func TestUsers(t *testing.T) {
	c := cluster(t, shapes["brick"], nil)
	_, dir := served(t, c)
	p := filepath.Join(dir, "f")
	if err := os.WriteFile(p, []byte("#!/bin/sh\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	mode := func() uint32 {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil {
			t.Fatal(err)
		}
		return st.Mode & 0o7777
	}
	if err := unix.Chmod(p, 0o6777); err != nil {
		t.Fatal(err)
	}
	if f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0); err != nil {
		t.Fatal(err)
	} else {
		f.Write([]byte("x"))
		f.Close()
	}
	if m := mode(); m != 0o6777 {
		t.Errorf("after a write by root: %04o", m)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // the test's own directory
		t.Fatal(err)
	}
	if out, err := asUser("echo x >> " + p); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if m := mode(); m != 0o777 {
		t.Errorf("after a write by a user: %04o", m)
	}
	if err := unix.Chown(p, 0, 4712); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(p, 0o060); err != nil {
		t.Fatal(err)
	}
	if out, err := asUser("cat " + p); err == nil {
		t.Errorf("read by one who is not in the group: %s", out)
	}
	if out, err := asUser("cat "+p, 9, 4712); err != nil {
		t.Errorf("read by one of the group: %v: %s", err, out)
	}
}

// Attributes that were fetched ahead give way to what this mount changes while a
// directory is being listed.
func TestListingBesideChanges(t *testing.T) {
	s := open(t, cluster(t, shapes["brick"], nil))
	_, dir := mounted(t, s, func(c *Config) { c.AttrTimeout = time.Hour })
	const files = 800
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("file-%04d", i)) }
	for i := range files {
		if err := os.WriteFile(name(i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	first, err := d.Readdirnames(10)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < files; i += 10 {
		f, err := os.OpenFile(name(i), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("written since"))
		f.Close()
	}
	rest, err := d.Readdirnames(-1)
	if err != nil || len(first)+len(rest) != files {
		t.Fatalf("%d and %d names: %v", len(first), len(rest), err)
	}
	for i := 0; i < files; i += 10 {
		if fi, err := os.Stat(name(i)); err != nil || fi.Size() != 13 {
			t.Fatalf("%s: %v, %v", name(i), fi, err)
		}
	}
}

// Notices of bricks make up for long timeouts.
func TestUpcalls(t *testing.T) {
	c := cluster(t, shapes["brick"], map[string]string{"features.cache-invalidation": "on", "features.cache-invalidation-timeout": "600",
		"performance.stat-prefetch": "off"})
	long := func(c *Config) {
		c.AttrTimeout, c.EntryTimeout, c.NegativeTimeout, c.KeepCache = time.Hour, time.Hour, time.Hour, true
	}
	_, a := mounted(t, open(t, c), long)
	_, b := mounted(t, open(t, c), long)
	pa, pb := filepath.Join(a, "f"), filepath.Join(b, "f")
	if err := os.WriteFile(pa, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(pb); err != nil || string(got) != "one" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(b, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := os.ReadDir(b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pa, []byte("two!"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, 5*time.Second, "the new contents", func() bool { got, _ := os.ReadFile(pb); return string(got) == "two!" })
	testenv.Wait(t, 5*time.Second, "the new name", func() bool { _, err := os.Stat(filepath.Join(b, "new")); return err == nil })
	if err := os.Remove(pa); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, 5*time.Second, "the name to go", func() bool { _, err := os.Stat(pb); return errors.Is(err, os.ErrNotExist) })
}
