package mounting

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

// TestHelper mounts a volume of the real glusterd in all ways, and in those that
// are refused.
func TestHelper(t *testing.T) {
	top := t // what outlives a part of the test hangs on it
	g := testenv.Gluster(t)
	l := newLab(t, g.Node)
	brick := testenv.LoopFS(t, "xfs", 512) + "/brick"
	g.Volume(t, "data", brick)
	vol := g.IP + ":/data"

	t.Run("plain", func(t *testing.T) {
		dir := l.mount(t, vol, "")
		source, fsType, options := l.line(t, dir)
		if source != vol || fsType != "fuse.glusterfs" || options[0] != "rw" || !slices.Contains(options, "allow_other") {
			t.Errorf("/proc/mounts has %s %s %s", source, fsType, options)
		}
		pid := l.client(t, dir)
		if cmd, want := l.clients(dir)[pid], "/usr/sbin/glusterfs --process-name fuse --volfile-server="+g.IP+" --volfile-id=/data "+dir; cmd != want {
			t.Errorf("ps shows %q, want %q", cmd, want)
		}
		if comm, _ := os.ReadFile(filepath.Join("/proc", itoa(pid), "comm")); string(comm) != "glusterfs\n" {
			t.Errorf("pgrep finds it as %q", comm)
		}
		if err := os.MkdirAll(l.Path(dir+"/sub/deep"), 0o755); err != nil {
			t.Fatal(err)
		}
		l.write(t, dir+"/sub/deep/f", "text")
		l.refused(t, 32, vol, "", dir, "already mounted", dir)
		l.umount(t, dir)
		if !strings.Contains(l.log(dir), "unmounted") {
			t.Errorf("the log has no end: %s", l.log(dir))
		}
	})

	t.Run("subdirectory", func(t *testing.T) {
		dir := l.mount(t, vol+"/sub/deep", "ro,noatime,nosuid,acl,log-level=WARNING,attribute-timeout=5,reader-thread-count=2,direct-io-mode=disable,process-name=web,_netdev")
		source, _, options := l.line(t, dir)
		if source != vol+"/sub/deep" || !slices.Contains(options, "ro") || !slices.Contains(options, "noatime") || !slices.Contains(options, "nosuid") {
			t.Errorf("/proc/mounts has %s %s", source, options)
		}
		l.want(t, dir+"/f", "text")
		if err := os.WriteFile(l.Path(dir+"/g"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
			t.Errorf("write on a read-only mount: %v", err)
		}
		if status, said := l.try(t, "mount.glusterfs", vol+"/sub/deep", dir, "-o", "remount,noexec,log-level=INFO"); status != 0 {
			t.Errorf("remount: status %d: %s", status, said)
		}
		if _, _, options := l.line(t, dir); !slices.Contains(options, "ro") || !slices.Contains(options, "noexec") || !slices.Contains(options, "nosuid") {
			t.Errorf("after a remount with noexec: %s", options)
		}
		if log := l.log(dir); strings.Contains(log, "] I [") {
			t.Errorf("with log-level=WARNING the log has %s", log)
		}
		if out := g.MustCLI(t, "volume", "status", "data", "client-list"); !strings.Contains(out, "fuse.web") {
			t.Errorf("servers do not list fuse.web: %s", out)
		}
		l.umount(t, dir)
		l.refused(t, 1, vol+"/none", "", l.dir(t), "/none", "Mounting glusterfs on")
	})

	t.Run("fstab", func(t *testing.T) {
		a, b := l.dir(t), l.dir(t)
		fstab := filepath.Join(l.Dir, "fstab")
		if err := os.WriteFile(fstab, []byte(vol+" "+a+" glusterfs defaults,_netdev,x-systemd.automount 0 0\n"+
			g.IP+":data/sub "+b+" glusterfs ro,noatime,backup-volfile-servers=127.0.0.9:127.0.0.8 0 0\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for range 2 { // mount -a leaves alone what is mounted
			if status, said := l.try(t, "mount", "-a", "-T", fstab); status != 0 {
				t.Fatalf("mount -a: status %d: %s", status, said)
			}
		}
		l.want(t, a+"/sub/deep/f", "text")
		l.want(t, b+"/deep/f", "text")
		l.client(t, a)
		l.client(t, b)
		l.umount(t, a)
		l.umount(t, b)
	})

	t.Run("two mounts", func(t *testing.T) {
		a, b := l.mount(t, vol, "entry-timeout=0,attribute-timeout=0"), l.mount(t, vol, "entry-timeout=0,attribute-timeout=0")
		l.write(t, a+"/both", "one")
		l.want(t, b+"/both", "one")
		l.write(t, b+"/both", "two and more")
		// The volume's own caches hold attributes for a second.
		testenv.Wait(t, 20*time.Second, "what the other mount wrote", func() bool {
			b, err := os.ReadFile(l.Path(a + "/both"))
			return err == nil && string(b) == "two and more"
		})
		l.umount(t, a)
		l.want(t, b+"/both", "two and more")
		l.umount(t, b)
	})

	t.Run("glusterfs and wythe mount", func(t *testing.T) {
		g.Bind(t, l.wythe, "/usr/sbin/glusterfs")
		defer l.MustRun(t, "umount", "/usr/sbin/glusterfs")
		dir, pidFile := l.dir(t), filepath.Join(l.Dir, "pid")
		if status, said := l.try(t, "/usr/sbin/glusterfs", "-s", g.IP, "--volfile-id", "data", "-p", pidFile, "--xlator-option=*-none.x=y", dir); status != 0 {
			t.Fatalf("glusterfs: status %d: %s", status, said)
		}
		l.want(t, dir+"/sub/deep/f", "text")
		if pid, _ := os.ReadFile(pidFile); l.HostPid(atoi(strings.TrimSpace(string(pid)))) != l.client(t, dir) {
			t.Errorf("the pid file has %q", pid)
		}
		if !strings.Contains(l.log(dir), "xlator-option fits no volume") {
			t.Error("an option for a volume that is not there passes in silence")
		}
		if source, _, _ := l.line(t, dir); source != g.IP+":data" {
			t.Errorf("source %q", source)
		}
		// Without a helper for fuse.glusterfs mount(8) comes by mount.fuse and glusterfs.
		if status, said := l.try(t, "mount", "-o", "remount,ro", dir); status != 0 {
			t.Errorf("remount: status %d: %s", status, said)
		}
		if _, _, options := l.line(t, dir); options[0] != "ro" {
			t.Errorf("remounted: %s", options)
		}
		l.umount(t, dir)
		if _, err := os.Stat(pidFile); err == nil {
			t.Error("the pid file is left behind")
		}
		for args, want := range map[string]int{
			"":                                       64,
			"--volfile-server=" + g.IP + " --nosuch": 64,
			"--volfile-server=" + g.IP + " --volfile-id=/nosuch " + dir:                          2,
			"--volfile-server=127.0.0.9 --volfile-max-fetch-attempts=1 --volfile-id=data " + dir: 107,
			"--version": 0,
		} {
			if status, said := l.try(t, append([]string{"/usr/sbin/glusterfs"}, strings.Fields(args)...)...); status != want {
				t.Errorf("glusterfs %s: status %d, want %d: %s", args, status, want, said)
			}
		}
		if status, said := l.try(t, l.wythe, "mount", "gluster://"+g.IP+"/data/sub", dir, "--read-only", "-o", "noatime", "--entry-timeout=3", "--transport=dev"); status != 0 {
			t.Fatalf("wythe mount: status %d: %s", status, said)
		}
		l.want(t, dir+"/deep/f", "text")
		if _, _, options := l.line(t, dir); options[0] != "ro" {
			t.Errorf("wythe mount --read-only: %s", options)
		}
		if status, said := l.try(t, l.wythe, "mount", g.IP+":/data", dir); status != 32 {
			t.Errorf("wythe mount again: status %d: %s", status, said)
		}
		if status, said := l.try(t, l.wythe, "umount", dir); status != 0 {
			t.Fatalf("wythe umount: status %d: %s", status, said)
		}
		l.gone(t, dir)
		if status, _ := l.try(t, l.wythe, "umount", dir); status != 1 {
			t.Errorf("wythe umount of what is not mounted: status %d", status)
		}
		if status, _ := l.try(t, l.wythe, "mount", g.IP+":/data", dir, "--lru-limit=x"); status != 1 {
			t.Errorf("wythe mount --lru-limit=x: status %d", status)
		}
	})

	t.Run("volfile", func(t *testing.T) {
		file := filepath.Join(l.Dir, "data.vol")
		if err := os.WriteFile(file, []byte(g.Volfile(t, "data", "trusted-data.tcp-fuse.vol")), 0o644); err != nil {
			t.Fatal(err)
		}
		dir := l.mount(t, file, "volume-name=data-client-0,worm")
		l.want(t, dir+"/sub/deep/f", "text")
		if source, fsType, _ := l.line(t, dir); source != file || fsType != "fuse.glusterfs" {
			t.Errorf("/proc/mounts has %s %s", source, fsType)
		}
		if err := os.Remove(l.Path(dir + "/sub/deep/f")); !errors.Is(err, syscall.EROFS) {
			t.Errorf("removed on a mount with worm: %v", err)
		}
		l.umount(t, dir)
		l.refused(t, 1, file, "volume-name=none", l.dir(t), "none", "its top is data")
	})

	t.Run("refusals", func(t *testing.T) {
		dir := l.dir(t)
		l.refused(t, 1, g.IP+":/nosuch", "", dir, g.IP+":24007", `knows no volume "nosuch"`, "Mounting glusterfs on")
		l.refused(t, 1, "127.0.0.9,127.0.0.8:/data", "fetch-attempts=1", dir, "127.0.0.9:24007", "127.0.0.8:24007", "refused")
		l.refused(t, 1, vol, "foo=bar", dir, "invalid option foo")
		l.refused(t, 1, vol, "attribute-timeout=abc", dir, "attribute-timeout")
		l.refused(t, 2, vol, "", "/", "root")
		l.refused(t, 2, vol, "", brick, brick, "in use as a brick")
		l.refused(t, 2, vol, "", filepath.Dir(brick), "parent of the brick", brick)
		l.refused(t, 1, vol, "", dir+"/none", "does not exist")
		l.refused(t, 1, vol, "", l.wythe, "not a directory")
		if len(l.clients(dir)) > 0 {
			t.Errorf("processes left: %v", l.clients(dir))
		}
		g.Create(t, "idle", filepath.Join(filepath.Dir(brick), "idle"))
		l.refused(t, 1, g.IP+":/idle", "mount-timeout=3", dir, "idle", "reachable")
		if status, said := l.try(t, "mount.glusterfs", "-h"); status != 0 || !strings.Contains(said, "backup-volfile-servers") {
			t.Errorf("mount.glusterfs -h: status %d: %s", status, said)
		}
	})

	t.Run("auth.allow", func(t *testing.T) {
		g.Set(t, "data", "auth.allow", "10.99.99.99")
		l.refused(t, 1, g.IP+":/data", "volume-id=data.tcp-fuse", l.dir(t), "auth.allow")
		g.MustCLI(t, "volume", "reset", "data", "auth.allow")
		l.umount(t, l.mount(t, vol, ""))
	})

	t.Run("servers", func(t *testing.T) {
		// The first server is dead: the next is asked.
		l.umount(t, l.mount(t, "127.0.0.9:/data", "backup-volfile-servers=127.0.0.8:"+g.IP))
		// None is there yet, as at boot. The helper waits.
		g.Daemon.Kill()
		<-g.Daemon.Done()
		dir := l.dir(t)
		p := g.Start(t, "mount", "-t", "glusterfs", "-o", "backup-volfile-servers=127.0.0.9,mount-timeout=100", vol, dir)
		testenv.Wait(t, 30*time.Second, "a first attempt", func() bool { return strings.Contains(l.log(dir), "no volfile server answers yet") })
		g.StartDaemon(top)
		if err := p.Wait(t.Context()); err != nil {
			t.Fatalf("mount before the servers: %v\n%s", err, l.log(dir))
		}
		l.want(t, dir+"/sub/deep/f", "text")
		l.umount(t, dir)
	})

	t.Run("helper killed", func(t *testing.T) {
		dir := l.dir(t)
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			p := g.Start(t, "mount.glusterfs", "127.0.0.9:/data", dir)
			testenv.Wait(t, 30*time.Second, "a client that waits", func() bool { return len(l.clients(dir)) >= 2 })
			p.Signal(sig)
			p.Wait(t.Context())
			l.gone(t, dir)
		}
	})
}
