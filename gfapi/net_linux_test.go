package gfapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/manage"
)

var quiet = slog.New(slog.DiscardHandler)

// cluster starts an embedded cluster of one brick in a temporary directory.
func cluster(t testing.TB) *manage.Cluster {
	t.Helper()
	return clusterOf(t, manage.Shape{})
}

func clusterOf(t testing.TB, shape manage.Shape) *manage.Cluster {
	t.Helper()
	c, err := manage.Up(context.Background(), manage.UpOptions{Dir: t.TempDir(), Shape: shape, Port: -1, Listen: "127.0.0.1", Log: quiet})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// overTCP mounts a volume over sockets, with all the protocol between.
func overTCP(t testing.TB, c *manage.Cluster, opts ...Option) *Volume {
	t.Helper()
	v, err := MountURL(context.Background(), c.URL(), append([]Option{WithLogger(quiet)}, opts...)...)
	must(t, err)
	t.Cleanup(func() { must(t, v.Unmount()) })
	return v
}

func TestNetFS(t *testing.T) { testFS(t, overTCP(t, cluster(t))) }

func testFS(t *testing.T, v *Volume) {
	must(t, v.MkdirAll("a/b", 0o755))
	must(t, v.WriteFile("hello.txt", []byte("hello"), 0o644))
	must(t, v.WriteFile("a/b/f", []byte("0123456789"), 0o600))
	must(t, v.Symlink("b/f", "a/link"))
	if err := fstest.TestFS(v.FS(), "hello.txt", "a/b/f", "a/link"); err != nil {
		t.Error(err)
	}
}

func TestNetLikeALocalDirectory(t *testing.T) { testLikeALocalDirectory(t, overTCP(t, cluster(t)), 8) }

func testLikeALocalDirectory(t *testing.T, v *Volume, streams uint64) {
	for seed := range streams {
		dir := fmt.Sprintf("run%d", seed)
		must(t, v.Mkdir(dir, 0o755))
		sub, err := v.Sub(dir)
		must(t, err)
		t.Run(fmt.Sprint(seed), func(t *testing.T) { compareStreams(t, sub, seed, 300) })
	}
}

func TestNetTransfers(t *testing.T) {
	c := cluster(t)
	testTransfers(t, overTCP(t, c), overTCP(t, c))
}

func testTransfers(t *testing.T, v, w *Volume) {
	data := bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog.\n"), 500_000) // 22 MB
	f, err := v.Create("big")
	must(t, err)
	n, err := f.ReadFrom(bytes.NewReader(data))
	if n != int64(len(data)) || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	must(t, f.Sync())
	must(t, f.Close())
	got, err := w.ReadFile("big")
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes: %v", len(got), err)
	}
	f, err = w.Open("big")
	must(t, err)
	var out bytes.Buffer
	if _, err := f.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("copied %d bytes: %v", out.Len(), err)
	}
	must(t, f.Close())
	must(t, v.WriteFile("big2", data, 0o644))
	if got, err := w.ReadFile("big2"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
}

// TestNetShapes does on volumes of several bricks what the tests above do on one.
func TestNetShapes(t *testing.T) {
	if testing.Short() {
		t.Skip("four clusters")
	}
	for _, shape := range []manage.Shape{
		{Distribute: 2, Replica: 2},
		{Distribute: 1, Replica: 3},
		{Distribute: 1, Replica: 3, Arbiter: 1},
		{Distribute: 3, Replica: 1},
	} {
		t.Run(fmt.Sprintf("%dx%d-%d", shape.Distribute, shape.Replica, shape.Arbiter), func(t *testing.T) {
			c := clusterOf(t, shape)
			v, w := overTCP(t, c), overTCP(t, c)
			t.Run("LikeALocalDirectory", func(t *testing.T) { testLikeALocalDirectory(t, v, 4) })
			must(t, removeEverything(v))
			t.Run("FS", func(t *testing.T) { testFS(t, v) })
			t.Run("Transfers", func(t *testing.T) { testTransfers(t, v, w) })
			must(t, removeEverything(w))
			t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, v) })
		})
	}
}

func removeEverything(v *Volume) error {
	list, err := v.ReadDir("/")
	for _, e := range list {
		err = errors.Join(err, v.RemoveAll(e.Name()))
	}
	return err
}

// TestNetRoundTrips pins the requests of the protocol for what programs do
// most, those that nobody waits for left out.
func TestNetRoundTrips(t *testing.T) {
	var mu sync.Mutex
	var ops []string
	v := overTCP(t, cluster(t), WithXlatorOption("*-md-cache", "md-cache-timeout", "600"), WithXlatorOption("*-quick-read", "cache-timeout", "60"), WithRoundTrips(func(r RoundTrip) {
		mu.Lock()
		defer mu.Unlock()
		if r.Name != "" && !strings.HasPrefix(r.Name, "RELEASE") {
			ops = append(ops, r.Name)
		}
	}))
	must(t, v.MkdirAll("a/b", 0o755))
	for _, step := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"create, write, close", func() error { return v.WriteFile("a/b/f", []byte("x"), 0o644) }, []string{"CREATE", "WRITE"}},
		// A write that write-behind answers has no attributes: they are asked for
		// once, and the contents come along.
		{"stat", func() error { _, err := v.Stat("a/b/f"); return err }, []string{"LOOKUP"}},
		{"read a small file", func() error { _, err := v.ReadFile("a/b/f"); return err }, nil},
		{"open, read, close", func() error {
			f, err := v.Open("a/b/f")
			if err == nil {
				_, err = f.Read(make([]byte, 10))
				f.Close()
			}
			return err
		}, nil},
		{"mkdir", func() error { return v.Mkdir("a/b/d", 0o755) }, []string{"MKDIR"}},
		{"rename", func() error { return v.Rename("a/b/f", "a/b/g") }, []string{"RENAME"}},
		{"readdir and stat", func() error { _, err := v.ReadDir("a/b"); return err }, []string{"OPENDIR", "READDIRP"}},
		{"unlink", func() error { return v.Remove("a/b/g") }, []string{"UNLINK"}},
	} {
		mu.Lock()
		ops = nil
		mu.Unlock()
		must(t, step.do())
		mu.Lock()
		if d := cmp.Diff(step.want, ops); d != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, d)
		}
		mu.Unlock()
	}
}

func TestNetPermissions(t *testing.T) {
	v := overTCP(t, cluster(t), WithCredentials(Cred{}))
	must(t, v.Mkdir("private", 0o700))
	must(t, v.WriteFile("private/f", []byte("x"), 0o600))
	must(t, v.WriteFile("secret", []byte("x"), 0o600))
	must(t, v.Mkdir("open", 0o755))
	must(t, v.Chmod("open", 0o777))
	u := v.As(Cred{UID: 1000, GID: 1000})
	must(t, v.Mkdir("roots", 0o755))
	fails(t, u.Rename("open/nothing", "roots/x"), fs.ErrNotExist) // and not the permission
	_, err := v.Stat("private/f")                                 // now the way is known, but not to everybody
	must(t, err)
	_, err = u.Stat("private/f")
	fails(t, err, fs.ErrPermission)
	_, err = u.ReadFile("secret")
	fails(t, err, fs.ErrPermission)
	_, err = u.Open("secret")
	fails(t, err, fs.ErrPermission)
	fails(t, u.WriteFile("new", nil, 0o644), fs.ErrPermission)
	must(t, u.WriteFile("open/mine", []byte("mine"), 0o600))
	fi, err := v.Stat("open/mine")
	must(t, err)
	if st := fi.Sys().(*Stat); st.UID != 1000 || st.GID != 1000 {
		t.Errorf("the file belongs to %d:%d", st.UID, st.GID)
	}
	if got, err := u.ReadFile("open/mine"); string(got) != "mine" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	must(t, u.MkdirAll("open/a/b", 0o755))
	fails(t, u.Chmod("secret", 0o777), fs.ErrPermission)
	fails(t, u.Chown("open/mine", 0, 0), fs.ErrPermission)
}

func TestNetLocksBetweenClients(t *testing.T) {
	c := cluster(t)
	v, w := overTCP(t, c), overTCP(t, c)
	a, err := v.Create("f")
	must(t, err)
	b, err := w.OpenFile("f", 2, 0)
	must(t, err)
	must(t, a.Lock(WriteLock, 0, 0))
	fails(t, b.TryLock(ReadLock, 0, 1), syscall.EAGAIN)
	ctx, cancel := context.WithCancel(t.Context())
	d, err := w.WithContext(ctx).OpenFile("f", 2, 0)
	must(t, err)
	done := make(chan error)
	go func() { done <- d.Lock(WriteLock, 0, 0) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: %v", err)
	}
	go func() { done <- b.Lock(WriteLock, 0, 0) }()
	must(t, v.Unmount()) // locks go with their client
	must(t, <-done)
}

func TestNetErrors(t *testing.T) {
	c := cluster(t)
	addr := strings.Split(strings.TrimPrefix(c.URL(), "gluster://"), "/")[0]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	refused := l.Addr().String()
	l.Close()
	for _, x := range []struct {
		server, volume string
		words          []string
	}{
		{addr, "wrong", []string{"wrong"}},
		{refused, "data", []string{refused, "refused"}},
		{"no-such-host.invalid", "data", []string{"no-such-host.invalid"}},
		{"", "data", []string{"no server"}},
		{"host:port:x", "data", []string{"host:port:x"}},
	} {
		start := time.Now()
		_, err := Mount(t.Context(), x.server, x.volume, WithLogger(quiet), WithTimeout(5*time.Second))
		if err == nil {
			t.Errorf("mount of %s on %q succeeded", x.volume, x.server)
			continue
		}
		for _, w := range x.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("no %q in %q", w, err)
			}
		}
		if time.Since(start) > 8*time.Second {
			t.Errorf("%s took %v", err, time.Since(start))
		}
	}
	// The first of several servers is gone: the next one answers.
	v, err := Mount(t.Context(), refused+","+addr, "data", WithLogger(quiet))
	must(t, err)
	must(t, v.Mkdir("d", 0o755))
	must(t, v.Unmount())
	v, err = Mount(t.Context(), refused, "data", WithServers(addr), WithLogger(quiet), WithLocalAddress("127.0.0.1"))
	must(t, err)
	defer v.Unmount()
	if list, err := v.ReadDir("/"); err != nil || !slices.ContainsFunc(list, func(e fs.DirEntry) bool { return e.Name() == "d" }) {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := Mount(t.Context(), addr, "data", WithLocalAddress("here")); err == nil {
		t.Error("a bad local address is taken")
	}
	sub, err := MountURL(t.Context(), "gluster://"+addr+"/data/d", WithLogger(quiet))
	must(t, err)
	must(t, sub.WriteFile("in d", nil, 0o644))
	must(t, sub.Unmount())
	if _, err := v.Stat("d/in d"); err != nil {
		t.Error(err)
	}
	if _, err := MountURL(t.Context(), "gluster://"+addr+"/data/none", WithLogger(quiet)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("mount of a directory that is not there: %v", err)
	}
}

func TestNetConcurrent(t *testing.T) { testConcurrent(t, overTCP(t, cluster(t))) }

func testConcurrent(t *testing.T, v *Volume) {
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			dir := fmt.Sprintf("w%d/x/y", w)
			if err := v.MkdirAll(dir, 0o755); err != nil {
				t.Error(err)
				return
			}
			for i := range 30 {
				name := fmt.Sprintf("%s/f%d", dir, i)
				want := strings.Repeat(name, 50)
				if err := v.WriteFile(name, []byte(want), 0o644); err != nil {
					t.Error(err)
				}
				if got, err := v.ReadFile(name); string(got) != want {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				if i%3 == 0 {
					if err := v.Rename(name, name+".new"); err != nil {
						t.Error(err)
					}
				}
			}
			if list, err := v.ReadDir(dir); len(list) != 30 || err != nil {
				t.Errorf("%d entries, %v", len(list), err)
			}
		})
	}
	wg.Wait()
	for w := range 16 {
		must(t, v.RemoveAll(fmt.Sprintf("w%d", w)))
	}
	if list, err := v.ReadDir("/"); len(list) != 0 || err != nil {
		t.Errorf("left: %v, %v", list, err)
	}
}
