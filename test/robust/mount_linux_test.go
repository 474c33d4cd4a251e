package robust

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/testenv"
)

// clientVolfile is a volfile of one brick at an address.
func clientVolfile(addr, brick string, options ...string) string {
	host, port, _ := net.SplitHostPort(addr)
	more := ""
	for i := 0; i < len(options); i += 2 {
		more += "    option " + options[i] + " " + options[i+1] + "\n"
	}
	return fmt.Sprintf(`volume data-client-0
    type protocol/client
    option remote-host %s
    option remote-port %s
    option remote-subvolume %s
    option transport-type tcp
    option transport.address-family inet
%send-volume
`, host, port, brick, more)
}

// garbage answers whatever comes with noise.
func garbage(c net.Conn) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	var b [64]byte
	if _, err := c.Read(b[:]); err != nil {
		return
	}
	rand.Read(b[:])
	c.Write(b[:])
	io.Copy(io.Discard, c)
}

// web answers as a web server does.
func web(c net.Conn) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	var b [64]byte
	c.Read(b[:])
	io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request")
}

func closedPort(t testing.TB) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testenv.FreePort(t)))
}

// glusterdWith is a management daemon that answers GETSPEC in one way.
func glusterdWith(t testing.TB, answer proto.GetspecReply) string {
	s := &rpc.Server{Log: quiet, Programs: []*rpc.Program{rpc.Dump(),
		{Name: "Gluster Handshake", Number: proto.ProgHandshake, Version: proto.VersHandshake, Procs: []rpc.Proc{
			proto.HandshakeGetspec: {Name: "GETSPEC", Handle: func(_ context.Context, call *rpc.Call) { call.Reply(&answer) }},
		}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// TestNoSuchServer mounts from servers that are none.
func TestNoSuchServer(t *testing.T) {
	noLeaks(t)
	const limit = 3 * time.Second
	closed := closedPort(t)
	silentAddr, garbageAddr, webAddr := peer(t, silent), peer(t, garbage), peer(t, web)
	tooNew := glusterdWith(t, proto.GetspecReply{Ret: -1, Errno: proto.ErrnoToWire(syscall.ENOTSUP)})
	badText := glusterdWith(t, proto.GetspecReply{Ret: 20, Spec: "volume data\ntype what\n"})
	unknownType := glusterdWith(t, proto.GetspecReply{Ret: 20, Spec: "volume data\n type cluster/future\nend-volume\n"})
	bin := make([]byte, 3000)
	rand.Read(bin)
	noise := glusterdWith(t, proto.GetspecReply{Ret: 3000, Spec: string(bin)})
	for _, tt := range []struct {
		name, server, volume string
		want                 error
		words                []string
	}{
		{"no host", "nowhere.invalid", "data", nil, []string{"data", "nowhere.invalid", "check the host name"}},
		{"refused", closed, "data", syscall.ECONNREFUSED, []string{closed, "is glusterd running"}},
		{"silent", silentAddr, "data", context.DeadlineExceeded, []string{silentAddr}},
		{"garbage", garbageAddr, "data", nil, []string{garbageAddr}},
		{"web server", webAddr, "data", nil, []string{webAddr}},
		{"too new", tooNew, "data", syscall.ENOTSUP, []string{`"data"`, "newer or older client", "op-version"}},
		{"bad volfile", badText, "data", syscall.EINVAL, []string{"data"}},
		{"unknown translator", unknownType, "data", nil, []string{"cluster/future"}},
		{"noise for a volfile", noise, "data", syscall.EINVAL, nil},
		{"no server", "", "data", syscall.EINVAL, []string{"no server is given"}},
		{"bad port", "localhost:99999", "data", syscall.EINVAL, []string{"99999", "from 1 to 65535"}},
		{"no socket", filepath.Join(t.TempDir(), "none.socket"), "data", fs.ErrNotExist, []string{"none.socket", "is glusterd running"}},
		{"several", closed + "," + silentAddr, "data", nil, []string{closed, silentAddr}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refused(t, limit, tt.server, tt.volume, tt.want, tt.words)
		})
	}
}

// TestNoSuchBrick has a volfile, but what it names is no brick that serves us.
func TestNoSuchBrick(t *testing.T) {
	noLeaks(t)
	c := up(t)
	brick := c.Volume.Bricks[0].Path
	good := net.JoinHostPort("127.0.0.1", strconv.Itoa(c.BrickPort(0)))
	closed := closedPort(t)
	silentAddr, garbageAddr, webAddr := peer(t, silent), peer(t, garbage), peer(t, web)
	for _, tt := range []struct {
		name, text string
		want       error
		words      []string
	}{
		{"nothing", "\n", syscall.EINVAL, nil},
		{"half", "volume x\n  type protocol/client\n", syscall.EINVAL, nil},
		{"loop", "volume x\n type debug/io-stats\n subvolumes x\nend-volume\n", syscall.EINVAL, nil},
		{"no host", clientVolfile("nowhere.invalid:1", brick), nil, []string{"nowhere.invalid", "check"}},
		{"refused", clientVolfile(closed, brick), syscall.ECONNREFUSED, []string{brick, "check that the brick runs"}},
		{"silent", clientVolfile(silentAddr, brick), nil, []string{brick}},
		{"garbage", clientVolfile(garbageAddr, brick), nil, []string{brick}},
		{"web server", clientVolfile(webAddr, brick), nil, []string{brick}},
		{"another brick", clientVolfile(good, "/no/such/brick"), syscall.ENOENT, []string{"/no/such/brick", "check"}},
		{"wrong password", clientVolfile(good, brick, "username", c.Volume.User, "password", "wrong"), syscall.EACCES, []string{brick, "auth"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refused(t, 3*time.Second, "", "data", tt.want, tt.words, gfapi.WithVolfile(tt.text))
		})
	}
}

// TestRefusals of a server that works.
func TestRefusals(t *testing.T) {
	noLeaks(t)
	c := up(t)
	refused(t, 3*time.Second, c.Addr, "other", syscall.ENOENT, []string{`"other"`, "gluster volume list"})
	refused(t, 3*time.Second, c.Addr, strings.Repeat("x", 5000), nil, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, url := range []string{"", "gluster://", "gluster:///data", "http://x/y", "gluster://h/%zz", "gluster+unix:///data"} {
		if v, err := gfapi.MountURL(ctx, url); err == nil {
			v.Unmount()
			t.Errorf("%q is mounted", url)
		} else if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if v, err := gfapi.MountURL(ctx, c.URL()+"/no/such/directory", options(nil)...); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
		if err == nil {
			v.Unmount()
		}
	} else {
		hasWords(t, err, "no/such/directory")
	}

	// Others may not connect.
	other := up(t, func(o *manage.UpOptions) { o.Allow = "10.9.9.9" })
	refused(t, 3*time.Second, other.Addr, "data", syscall.EACCES, []string{other.Volume.Bricks[0].Path, "auth.allow"},
		gfapi.WithVolfile(clientVolfile(net.JoinHostPort("127.0.0.1", strconv.Itoa(other.BrickPort(0))), other.Volume.Bricks[0].Path)))
}

// TestWrongVolumeID: the brick directory is given to another volume while its
// client is away.
func TestWrongVolumeID(t *testing.T) {
	noLeaks(t)
	c := up(t)
	dir := filepath.Dir(c.Volume.Bricks[0].Path)
	var port atomic.Int64
	port.Store(int64(c.BrickPort(0)))
	p := newProxy(t, func() string { return fmt.Sprintf("127.0.0.1:%d", port.Load()) })
	v := mountVolfile(t, clientVolfile(p.addr, dir+"/brick0"))
	must(t, v.WriteFile("file", []byte("text"), 0o644))
	must(t, c.Close())
	for _, name := range []string{"wythe.json", "brick0"} {
		must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	d := up(t, func(o *manage.UpOptions) { o.Dir = dir })
	port.Store(int64(d.BrickPort(0)))
	w := mount(t, d)
	must(t, w.WriteFile("file", []byte("other"), 0o644))
	var said error
	testenv.Wait(t, 10*time.Second, "the refusal", func() bool {
		_, err := v.ReadFile("file")
		if err == nil {
			t.Fatal("the client reads from another volume")
		}
		said = err
		return strings.Contains(err.Error(), "belongs to volume") || errors.Is(err, syscall.EINVAL)
	})
	t.Logf("error: %v", said)
}

func mountVolfile(t testing.TB, text string, opts ...gfapi.Option) *gfapi.Volume {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := gfapi.Mount(ctx, "", "data", options(append(opts, gfapi.WithVolfile(text)))...)
	must(t, err)
	t.Cleanup(func() {
		if err := v.Unmount(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Errorf("unmount: %v", err)
		}
	})
	return v
}

// TestGlusterdRefusals asks the real one for what it refuses.
func TestGlusterdRefusals(t *testing.T) {
	noLeaks(t)
	g := testenv.Gluster(t)
	brick := testenv.LoopFS(t, "xfs", 300) + "/brick"
	g.Create(t, "data", brick)
	server, dial := g.Addr(24007), gfapi.WithDialer(g.DialContext)
	const limit = 2 * time.Second
	refused(t, limit, server, "other", syscall.ENOENT, []string{`"other"`, "gluster volume list"}, dial)
	refused(t, limit, server, "data", nil, []string{"data"}, dial) // not started
	g.Set(t, "data", "auth.reject", "*")
	g.StartVolume(t, "data")
	refused(t, limit, server, "data", syscall.EACCES, []string{brick, "auth.reject"}, dial)
	// The real brick keeps what it rejects until it is started anew.
	g.MustCLI(t, "volume", "stop", "data")
	g.MustCLI(t, "volume", "reset", "data", "auth.reject")
	g.Set(t, "data", "server.allow-insecure", "off")
	g.StartVolume(t, "data")
	// The dialer of the Node takes no privileged port.
	refused(t, limit, server, "data", nil, []string{brick, "port"}, dial)
	g.MustCLI(t, "volume", "stop", "data")
	g.Set(t, "data", "server.allow-insecure", "on")
	g.StartVolume(t, "data")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var v *gfapi.Volume
	testenv.Wait(t, 20*time.Second, "mount", func() bool {
		var err error
		v, err = gfapi.Mount(ctx, server, "data", options([]gfapi.Option{dial})...)
		return err == nil
	})
	must(t, v.WriteFile("file", []byte("text"), 0o644))

	// The brick dies under the mount: prompt errors; it comes back: all is well.
	g.KillBrick(t, "data", brick)
	testenv.Wait(t, 5*time.Second, "an error", func() bool { _, err := v.Stat("file"); return err != nil })
	start := time.Now()
	_, err := v.Stat("file")
	if !errors.Is(err, syscall.ENOTCONN) || time.Since(start) > time.Second {
		t.Errorf("brick dead: %v after %v", err, time.Since(start))
	}
	refused(t, limit, server, "data", nil, []string{brick}, dial)
	g.MustCLI(t, "volume", "start", "data", "force")
	testenv.Wait(t, 20*time.Second, "the brick", func() bool {
		b, err := v.ReadFile("file")
		return err == nil && string(b) == "text"
	})
	must(t, v.Unmount())
}

// TestFullDisk: an error to the application, nothing lost, and all goes on when
// there is room again.
func TestFullDisk(t *testing.T) {
	noLeaks(t)
	dir := testenv.LoopFS(t, "ext4", 24)
	c := up(t, func(o *manage.UpOptions) { o.Dir = dir + "/cluster" })
	v := mount(t, c)
	keep := bytes.Repeat([]byte("keep this\n"), 10000)
	must(t, v.WriteFile("keep", keep, 0o644))
	block := bytes.Repeat([]byte{'x'}, 1<<20)
	var err error
	n := 0
	for ; n < 100; n++ {
		if err = v.WriteFile(fmt.Sprintf("fill%d", n), block, 0o644); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk gives: %v", err)
	}
	hasWords(t, err, "fill")
	got, err := v.ReadFile("keep")
	if err != nil || !bytes.Equal(got, keep) {
		t.Errorf("what was there before: %d bytes, %v", len(got), err)
	}
	for i := range n {
		if got, err := v.ReadFile(fmt.Sprintf("fill%d", i)); err != nil || !bytes.Equal(got, block) {
			t.Errorf("fill%d, written without error: %d bytes, %v", i, len(got), err)
		}
	}
	// Names and attributes without room: an error or success, both whole.
	for i := range 200 {
		name := fmt.Sprintf("small%d", i)
		err := v.WriteFile(name, []byte(strings.Repeat("s", 5000)), 0o644)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for i := range 50 {
		if err := v.Mkdir(fmt.Sprintf("dir%d", i), 0o755); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	for i := range n + 1 {
		if err := v.Remove(fmt.Sprintf("fill%d", i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("deleting on a full disk: %v", err)
		}
	}
	testenv.Wait(t, 10*time.Second, "room", func() bool { return v.WriteFile("after", block, 0o644) == nil })
	if got, err := v.ReadFile("after"); err != nil || !bytes.Equal(got, block) {
		t.Errorf("after: %d bytes, %v", len(got), err)
	}
	must(t, v.Unmount())
	must(t, c.Close())
	checkBrick(t, c.Volume.Bricks[0].Path)
}

func TestReadOnlyDisk(t *testing.T) {
	noLeaks(t)
	disk, cluster := testenv.LoopFS(t, "ext4", 24), t.TempDir()
	// The state stays on a disk that can be written: what is open for writing
	// there would keep the brick's from becoming read-only.
	v0, err := manage.NewVolume("data", manage.Brick{Path: disk + "/brick"})
	must(t, err)
	state, err := json.Marshal(map[string]any{"format": 1, "ready": false, "volume": v0})
	must(t, err)
	must(t, os.WriteFile(cluster+"/wythe.json", state, 0o600))
	dir := disk
	opts := func(o *manage.UpOptions) { o.Dir = cluster }
	c := up(t, opts)
	v := mount(t, c)
	must(t, v.WriteFile("keep", []byte("text"), 0o644))
	// The file is let go of a moment after Close.
	testenv.Wait(t, 5*time.Second, "the disk to become read-only", func() bool {
		return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") == nil
	})
	for name, f := range map[string]func() error{
		"write":  func() error { return v.WriteFile("new", []byte("text"), 0o644) },
		"mkdir":  func() error { return v.Mkdir("dir", 0o755) },
		"remove": func() error { return v.Remove("keep") },
		"rename": func() error { return v.Rename("keep", "kept") },
		"chmod":  func() error { return v.Chmod("keep", 0o600) },
		"xattr":  func() error { return v.Setxattr("keep", "user.x", []byte("y"), 0) },
	} {
		if err := f(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := v.ReadFile("keep"); err != nil || string(b) != "text" {
		t.Errorf("reading: %q, %v", b, err)
	}
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	must(t, v.WriteFile("new", []byte("text"), 0o644))
	must(t, v.Unmount())
	must(t, c.Close())

	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	defer unix.Mount("", dir, "", unix.MS_REMOUNT, "")
	c, err = manage.Up(t.Context(), manage.UpOptions{Dir: cluster, Listen: "127.0.0.1", Port: -1, Log: quiet})
	if err == nil {
		c.Close()
		t.Fatal("a cluster starts on a read-only disk")
	}
	t.Logf("error: %v", err)
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("error is not EROFS: %v", err)
	}
	hasWords(t, err, dir)
}

// TestNoXattrs: procfs-like places have no xattrs; ramfs is one that can be made.
func TestNoXattrs(t *testing.T) {
	noLeaks(t)
	testenv.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("ramfs", dir, "ramfs", 0, ""); err != nil {
		testenv.Missing(t, "ramfs: %v", err)
	}
	defer unix.Unmount(dir, 0)
	c, err := manage.Up(t.Context(), manage.UpOptions{Dir: dir + "/cluster", Listen: "127.0.0.1", Port: -1, Log: quiet})
	if err == nil {
		c.Close()
		t.Fatal("a cluster starts without extended attributes")
	}
	t.Logf("error: %v", err)
	if !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("error is not ENOTSUP: %v", err)
	}
	hasWords(t, err, dir, "attributes")
}

// TestForeignBrick: the brick directory has another volume's id.
func TestForeignBrick(t *testing.T) {
	noLeaks(t)
	c := up(t)
	brick := c.Volume.Bricks[0].Path
	must(t, c.Close())
	other := fop.GFID{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89}
	must(t, unix.Setxattr(brick, "trusted.glusterfs.volume-id", other[:], 0))
	d, err := manage.Up(t.Context(), manage.UpOptions{Dir: filepath.Dir(brick), Listen: "127.0.0.1", Port: -1, Log: quiet})
	if err == nil {
		d.Close()
		t.Fatal("a cluster serves the brick of another volume")
	}
	t.Logf("error: %v", err)
	hasWords(t, err, brick, "another volume")
}
