package mounter

import (
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
)

// parsed is what arguments make of the defaults.
func parsed(change func(*Arguments)) *Arguments {
	a := &Arguments{
		MountPoint: "/mnt", Servers: []volserver.Server{{Network: "tcp", Addr: "n1:24007"}}, VolfileID: "/data",
		AttributeTimeout: time.Second, EntryTimeout: time.Second, GIDTimeout: 300 * time.Second,
		AutoInvalidation: true, Readdirp: true, BackgroundQueue: 64, CongestionThreshold: 48, LRULimit: 65536,
		Transport: "auto", MountTimeout: 30 * time.Second, ProcessName: "fuse",
	}
	if change != nil {
		change(a)
	}
	return a
}

var exported = cmp.FilterPath(func(p cmp.Path) bool {
	f, ok := p.Last().(cmp.StructField)
	return ok && f.Name()[0] >= 'a'
}, cmp.Ignore())

func TestParseArguments(t *testing.T) {
	for _, c := range []struct {
		args   string
		change func(*Arguments)
	}{
		{"", nil},
		{"--process-name fuse --read-only --acl --selinux --capability --worm", func(a *Arguments) { a.ReadOnly, a.ACL, a.SELinux, a.Capability, a.Worm = true, true, true, true, true }},
		{"--aux-gfid-mount --thin-client --enable-ino32 --resolve-gids --no-root-squash", func(a *Arguments) {
			a.AuxGFID, a.ThinClient, a.EnableIno32, a.ResolveGIDs, a.NoRootSquash = true, true, true, true, true
		}},
		{"--enable-ino32=off --no-root-squash=no", nil},
		{"-s n2 -sn3 --volfile-server n4:24008 --volfile-server=[fe80::1] -s fe80::24007 -s /run/gd.socket", func(a *Arguments) {
			for _, s := range []string{"n2:24007", "n3:24007", "n4:24008", "[fe80::1]:24007", "[fe80::24007]:24007"} {
				a.Servers = append(a.Servers, volserver.Server{Network: "tcp", Addr: s})
			}
			a.Servers = append(a.Servers, volserver.Server{Network: "unix", Addr: "/run/gd.socket"})
		}},
		{"--volfile-server-port=24017 -s n2:24007 -s [::1] -s fe80::24007", func(a *Arguments) {
			a.Servers = nil
			for _, s := range []string{"n1:24017", "n2:24007", "[::1]:24017", "[fe80::24007]:24017"} {
				a.Servers = append(a.Servers, volserver.Server{Network: "tcp", Addr: s})
			}
		}},
		{"--attribute-timeout=0.5 --entry-timeout 10 --negative-timeout=3 --gid-timeout=0", func(a *Arguments) {
			a.AttributeTimeout, a.EntryTimeout, a.NegativeTimeout, a.GIDTimeout = 500*time.Millisecond, 10*time.Second, 3*time.Second, 0
		}},
		{"--direct-io-mode", func(a *Arguments) { a.DirectIO = On }},
		{"--direct-io-mode=disable", func(a *Arguments) { a.DirectIO = Off }},
		{"--direct-io-mode=auto", nil},
		{"--fopen-keep-cache --auto-invalidation=off --kernel-writeback-cache=yes --use-readdirp=no", func(a *Arguments) {
			a.KeepCache, a.AutoInvalidation, a.WritebackCache, a.Readdirp = true, false, true, false
		}},
		{"--attr-times-granularity=1000 --background-qlen=100 --congestion-threshold=70", func(a *Arguments) {
			a.AttrTimesGranularity, a.BackgroundQueue, a.CongestionThreshold = 1000, 100, 70
		}},
		{"--lru-limit=0 --invalidate-limit=5 --reader-thread-count=4 --fuse-flush-handle-interrupt=on", func(a *Arguments) {
			a.LRULimit, a.InvalidateLimit, a.ReaderThreads, a.FlushHandleInterrupt = 0, 5, 4, true
		}},
		{"--fuse-transport=uring --dump-fuse=/tmp/d", func(a *Arguments) { a.Transport, a.DumpFuse = "uring", "/tmp/d" }},
		{"--fuse-mountopts=noatime,nosuid,ro --fuse-mountopts=lazyatime,auto_unmount", func(a *Arguments) {
			a.MountOptions, a.ReadOnly, a.AutoUnmount = []string{"noatime", "nosuid", "lazytime"}, true, true
		}},
		{`--fuse-mountopts=context="system_u:object_r:x_t:s0:c1,c2"`, func(a *Arguments) {
			a.MountOptions = []string{`context="system_u:object_r:x_t:s0:c1,c2"`}
		}},
		{"--subdir-mount=/a//b/./ --volume-name=data-client-0", func(a *Arguments) { a.Subdir, a.VolumeName = "/a/b", "data-client-0" }},
		{"--subdir-mount=/", nil},
		{"-l /var/log/x.log -L warning --localtime-logging --logger=syslog", func(a *Arguments) {
			a.LogFile, a.LogLevel, a.LocalTime, a.Syslog = "/var/log/x.log", "WARNING", true, true
		}},
		{"-N --debug -p /run/x.pid --oom-score-adj=-500", func(a *Arguments) {
			n := -500
			a.NoDaemon, a.Debug, a.PidFile, a.OOMScoreAdj = true, true, "/run/x.pid", &n
		}},
		{"--xlator-option=*-dht.lookup-unhashed=on --xlator-option data.a.b=c=d", func(a *Arguments) {
			a.Overrides = []volfile.Override{{Pattern: "*-dht", Key: "lookup-unhashed", Value: "on"}, {Pattern: "data", Key: "a.b", Value: "c=d"}}
		}},
		{"--volfile-max-fetch-attempts=3 --mount-timeout=90 --secure-mgmt", func(a *Arguments) { a.FetchAttempts, a.MountTimeout, a.SecureMgmt = 3, 90*time.Second, true }},
		{"--mem-accounting --io-engine=io_uring --mem-accounting", func(a *Arguments) {
			a.Warnings = []string{"argument --mem-accounting has no effect: " + idleMemory, "argument --io-engine has no effect: " + lookup("io-engine").idle}
		}},
	} {
		args := append([]string{"--volfile-server=n1", "--volfile-id=/data", "/mnt"}, strings.Fields(c.args)...)
		a, err := ParseArguments(args)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if d := cmp.Diff(parsed(c.change), a, exported); d != "" {
			t.Errorf("%s: %s", c.args, d)
		}
	}
}

func TestArgumentErrors(t *testing.T) {
	for _, c := range []struct {
		args  string
		errno syscall.Errno
		word  string
	}{
		{"", syscall.EINVAL, "volfile-server"},
		{"-s n1 --volfile-id=x", syscall.EINVAL, "mount point"},
		{"-s n1 --volfile-id=x /a /b", syscall.EINVAL, "/b"},
		{"-s n1 /mnt", syscall.EINVAL, "volfile-id"},
		{"-s n1 --volfile-id=/ /mnt", syscall.EINVAL, "volfile-id"},
		{"-s n1 -f x --volfile-id=x /mnt", syscall.EINVAL, "exclude"},
		{"--nonsense -s n1 --volfile-id=x /mnt", syscall.EINVAL, "--nonsense"},
		{"-s n1 --volfile-id=x /mnt -Z", syscall.EINVAL, "-Z"},
		{"-s n1 --volfile-id=x /mnt --log-file", syscall.EINVAL, "needs a value"},
		{"-s n1 --volfile-id=x /mnt --log-file=", syscall.EINVAL, "empty"},
		{"-s n1 --volfile-id=x /mnt --acl=on", syscall.EINVAL, "takes no value"},
		{"-s n1 --volfile-id=x /mnt --attribute-timeout=abc", syscall.EINVAL, "attribute-timeout"},
		{"-s n1 --volfile-id=x /mnt --attribute-timeout=NaN", syscall.EINVAL, "attribute-timeout"},
		{"-s n1 --volfile-id=x /mnt --entry-timeout=-1", syscall.EINVAL, "entry-timeout"},
		{"-s n1 --volfile-id=x /mnt --direct-io-mode=bogus", syscall.EINVAL, "bogus"},
		{"-s n1 --volfile-id=x /mnt --log-level=bogus", syscall.EINVAL, "bogus"},
		{"-s n1 --volfile-id=x /mnt --reader-thread-count=0", syscall.EINVAL, "1 to 64"},
		{"-s n1 --volfile-id=x /mnt --reader-thread-count=65", syscall.EINVAL, "1 to 64"},
		{"-s n1 --volfile-id=x /mnt --attr-times-granularity=3", syscall.EINVAL, "power of ten"},
		{"-s n1 --volfile-id=x /mnt --background-qlen=20", syscall.EINVAL, "congestion-threshold"},
		{"-s n1 --volfile-id=x /mnt --xlator-option=nonsense", syscall.EINVAL, "nonsense"},
		{"-s n1 --volfile-id=x /mnt --subdir-mount=a", syscall.EINVAL, "begin with /"},
		{"-s n1 --volfile-id=x /mnt --subdir-mount=/a/../b", syscall.EINVAL, ".."},
		{"-s n1 --volfile-id=x /mnt --fuse-mountopts=foo=bar", syscall.EINVAL, "foo=bar"},
		{"-s n1 --volfile-id=x /mnt --fuse-transport=tcp", syscall.EINVAL, "uring"},
		{"-s n1 --volfile-id=x /mnt --volfile-server-transport=rdma", syscall.EINVAL, "RDMA"},
		{"-s n1 --volfile-id=x /mnt --volfile-server-transport=unix", syscall.EINVAL, "socket"},
		{"-s n1 --volfile-id=x /mnt --oom-score-adj=2000", syscall.EINVAL, "-1000"},
		{"-s n1 --volfile-id=x /mnt --mount-timeout=0", syscall.EINVAL, "mount-timeout"},
		{"-s n1:x --volfile-id=x /mnt", syscall.EINVAL, "n1:x"},
		{"-s n1 --volfile-id=x /mnt --client-pid=-3", syscall.ENOTSUP, "client-pid"},
		{"-s n1 --volfile-id=x --brick-name=/b", syscall.ENOTSUP, "wythe brick"},
	} {
		_, err := ParseArguments(strings.Fields(c.args))
		var wrong *UsageError
		if !errors.Is(err, c.errno) || !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: error %v, want %v about %q", c.args, err, c.errno, c.word)
		}
	}
}

// Each argument does one of three things, and says so.
func TestArgumentTable(t *testing.T) {
	short := map[byte]string{}
	for _, arg := range table {
		n := 0
		for _, yes := range []bool{arg.set != nil, arg.idle != "", arg.refuse != ""} {
			if yes {
				n++
			}
		}
		if n != 1 {
			t.Errorf("--%s does %d things", arg.name, n)
		}
		if (arg.group != unlisted) != (arg.help != "") {
			t.Errorf("--%s: help %q", arg.name, arg.help)
		}
		if arg.kind != argNone && arg.group != unlisted && arg.value == "" {
			t.Errorf("--%s: its value has no name", arg.name)
		}
		if other := short[arg.short]; arg.short != 0 && other != "" {
			t.Errorf("--%s and --%s are both -%c", arg.name, other, arg.short)
		}
		short[arg.short] = arg.name
		if lookup(arg.name).name != arg.name {
			t.Errorf("--%s is there twice", arg.name)
		}
	}
}

// Every argument of GlusterFS 10.3's own help is known, one way or another.
func TestArgumentsOfGlusterFS(t *testing.T) {
	for name := range strings.FieldsSeq(`volfile volfile-server log-file log-level logger log-format log-buf-size log-flush-timeout
		volfile-id volfile-server-port volfile-server-transport volfile-max-fetch-attempts volume-name xlator-option subdir-mount
		read-only acl selinux capability worm aux-gfid-mount thin-client enable-ino32 mac-compat fopen-keep-cache
		global-threading global-timer-wheel pid-file socket-file no-daemon debug volfile-check print-logdir print-statedumpdir
		print-xlatordir print-libexecdir print-netgroups print-exports attribute-timeout entry-timeout negative-timeout gid-timeout
		direct-io-mode use-readdirp auto-invalidation kernel-writeback-cache attr-times-granularity background-qlen
		congestion-threshold lru-limit invalidate-limit reader-thread-count resolve-gids no-root-squash dump-fuse event-history
		oom-score-adj io-engine fuse-flush-handle-interrupt fuse-dev-eperm-ratelimit-ns secure-mgmt localtime-logging brick-mux
		fuse-mountopts process-name client-pid brick-name brick-port user-map-root no-mem-accounting mem-accounting
		version help usage`) {
		if lookup(name) == nil {
			t.Errorf("--%s is not known", name)
		}
	}
}

func FuzzParseArguments(f *testing.F) {
	f.Add("--volfile-server=n1\n--volfile-id=/data\n--subdir-mount=/a\n/mnt")
	f.Add("-s\nn1\n-L\ndebug\n--xlator-option=*.a=b\n--fuse-mountopts=noatime,context=\"a,b\"")
	f.Add("-\n--\n-s")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseArguments(strings.Split(text, "\n"))
		if (a == nil || !reflect.ValueOf(a).Elem().IsValid()) && err == nil {
			t.Fatal("neither arguments nor an error")
		}
		if err != nil || a.Version || a.Help || a.Print != "" {
			return
		}
		if a.Volfile == "" && len(a.Servers) == 0 || a.MountPoint == "" && !a.CheckVolfile {
			t.Errorf("accepted, but what to mount is missing: %+v", a)
		}
		if a.Subdir != "" && (!strings.HasPrefix(a.Subdir, "/") || strings.Contains(a.Subdir+"/", "/../")) {
			t.Errorf("subdirectory %q", a.Subdir)
		}
	})
}
