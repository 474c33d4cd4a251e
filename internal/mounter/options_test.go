package mounter

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func isVol(path string) bool { return path == "/etc/data.vol" }

// The command lines are those that GlusterFS 10.3's helper makes of the same
// options, but that it gives fuse-mountopts twice.
func TestOptions(t *testing.T) {
	const end = "--process-name fuse --volfile-server=n1 --volfile-id=/rep"
	for _, c := range []struct{ source, opts, want string }{
		{"n1:/rep", "", end},
		{"n1:rep", "", "--process-name fuse --volfile-server=n1 --volfile-id=rep"},
		{"n1:/rep/", "rw,_netdev,auto,noauto,x-systemd.automount,x-systemd.requires=a.service,defaults", end},
		{"n1:/rep/d", "ro,acl,log-level=WARNING,log-file=/var/log/glusterfs/x.log,backup-volfile-servers=n2:n3,direct-io-mode=disable,attribute-timeout=5,entry-timeout=5,fetch-attempts=3,reader-thread-count=2,xlator-option=*-dht.lookup-unhashed=on,noatime,_netdev",
			"--read-only --acl --volfile-max-fetch-attempts=3 --log-level=WARNING --log-file=/var/log/glusterfs/x.log --direct-io-mode=disable --reader-thread-count=2 --attribute-timeout=5 --entry-timeout=5 --fuse-mountopts=noatime --xlator-option=*-dht.lookup-unhashed=on --process-name fuse --volfile-server=n1 --volfile-server=n2 --volfile-server=n3 --volfile-id=/rep --subdir-mount=/d"},
		{"n1,n2:/rep/a//b/", "", "--process-name fuse --volfile-server=n1 --volfile-server=n2 --volfile-id=/rep --subdir-mount=/a/b"},
		{"fe80::1:/rep", "", "--process-name fuse --volfile-server=fe80::1 --volfile-id=/rep"},
		{"[fe80::1]:/rep", "backup-volfile-servers=n2:[fe80::2]:n3", "--process-name fuse --volfile-server=[fe80::1] --volfile-server=n2 --volfile-server=[fe80::2] --volfile-server=n3 --volfile-id=/rep"},
		{"n1:24017:/rep/x:y", "", "--process-name fuse --volfile-server=n1:24017 --volfile-id=/rep --subdir-mount=/x:y"},
		{"n1:/rep", "backupvolfile-server=n2", "--process-name fuse --volfile-server=n1 --volfile-server=n2 --volfile-id=/rep"},
		{"n1:/rep", "backupvolfile-server=n4,backup-volfile-servers=n2", "--process-name fuse --volfile-server=n1 --volfile-server=n2 --volfile-id=/rep"},
		{"n1:/snaps/s1/rep", "", "--read-only --process-name fuse --volfile-server=n1 --volfile-id=/snaps/s1/rep"},
		{"n1:snaps/s1/rep/sub", "rw", "--read-only --process-name fuse --volfile-server=n1 --volfile-id=/snaps/s1/rep --subdir-mount=/sub"},
		{"/etc/data.vol", "acl", "--acl --process-name fuse --volfile=/etc/data.vol"},
		{"n1:/rep", "transport=tcp", "--volfile-server-transport=tcp --process-name fuse --volfile-server=n1 --volfile-id=/rep.tcp"},
		{"n1:/rep", "volume-id=other,volume-name=other-dht", "--volume-name=other-dht --process-name fuse --volfile-server=n1 --volfile-id=other"},
		{"n1:/rep", "subdir-mount=a/b", end + " --subdir-mount=/a/b"},
		{"n1:/rep", "server-port=24017", "--volfile-server-port=24017 " + end},
		{"n1:/rep", "log-level=debug", "--log-level=DEBUG " + end},
		{"n1:/rep", "root-squash=no", "--no-root-squash " + end},
		{"n1:/rep", "root-squash=yes", end},
		{"n1:/rep", "no-root-squash=enable", "--no-root-squash " + end},
		{"n1:/rep", "no-root-squash=yes,no-root-squash=no", end},
		{"n1:/rep", "fopen-keep-cache", "--fopen-keep-cache=on " + end},
		{"n1:/rep", "fopen-keep-cache=off", "--fopen-keep-cache=off " + end},
		{"n1:/rep", "process-name=web", "--process-name fuse.web --volfile-server=n1 --volfile-id=/rep"},
		{"n1:/rep", "halo-max-latency=10,halo-min-replicas=2", "--xlator-option=*replicate*.halo-max-latency=10 --xlator-option=*replicate*.halo-min-replicas=2 " + end},
		{"n1:/rep", "xlator-option=a.b=c,xlator-option=d.e=f", "--xlator-option=a.b=c --xlator-option=d.e=f " + end},
		{"n1:/rep", `context="system_u:object_r:x_t:s0:c1,c2",nosuid`, `--fuse-mountopts=context="system_u:object_r:x_t:s0:c1,c2",nosuid ` + end},
		{"n1:/rep", "fuse-mountopts=noatime,nodev,noexec", "--fuse-mountopts=noatime,nodev,noexec " + end},
		{"n1:/rep", "attribute-timeout=1,attribute-timeout=2", "--attribute-timeout=2 " + end},
		{"n1:/rep", "lru-limit=1,invalidate-limit=2,background-qlen=70,congestion-threshold=60,oom-score-adj=3,gid-timeout=4,negative-timeout=5",
			"--negative-timeout=5 --gid-timeout=4 --lru-limit=1 --invalidate-limit=2 --background-qlen=70 --congestion-threshold=60 --oom-score-adj=3 " + end},
		{"n1:/rep", "selinux,worm,enable-ino32,mem-accounting,aux-gfid-mount,thin-client,resolve-gids,global-threading,localtime-logging",
			"--selinux --worm --enable-ino32 --mem-accounting --aux-gfid-mount --thin-client --resolve-gids --global-threading --localtime-logging " + end},
		{"n1:/rep", "use-readdirp=no,event-history=on,auto-invalidation=off,kernel-writeback-cache=on,attr-times-granularity=1000,dump-fuse=/tmp/d,fuse-flush-handle-interrupt=yes,fuse-dev-eperm-ratelimit-ns=5,io-engine=legacy",
			"--use-readdirp=no --event-history=on --auto-invalidation=off --kernel-writeback-cache=on --attr-times-granularity=1000 --dump-fuse=/tmp/d --fuse-flush-handle-interrupt=yes --fuse-dev-eperm-ratelimit-ns=5 --io-engine=legacy " + end},
		{"n1:/rep", "ro,rw", end},
	} {
		r, err := ParseOptions(c.source, "/mnt", []string{c.opts}, isVol)
		if err != nil {
			t.Errorf("%s -o %s: %v", c.source, c.opts, err)
			continue
		}
		if d := cmp.Diff(c.want+" /mnt", strings.Join(r.Args, " ")); d != "" {
			t.Errorf("%s -o %s: %s", c.source, c.opts, d)
		}
		if r.Source != c.source {
			t.Errorf("%s: source %s", c.source, r.Source)
		}
		if len(r.Warnings) > 0 {
			t.Errorf("%s -o %s: warnings %q", c.source, c.opts, r.Warnings)
		}
		if _, err := ParseArguments(r.Args); err != nil {
			t.Errorf("%s -o %s: its arguments: %v", c.source, c.opts, err)
		}
	}
}

func TestOptionWarnings(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, c := range []struct{ source, opts, want string }{
		{"n1:/rep", "log-level=bogus", "invalid log level bogus, using INFO"},
		{"n1," + long + ":/rep", "", long},
		{"n1:/rep", "backup-volfile-servers=" + long, long},
		{"n1:/rep", "sync,sync", "mount option 'sync' is not handled"},
		{"n1:/rep", "nofail", "'nofail'"},
	} {
		r, err := ParseOptions(c.source, "/mnt", []string{c.opts}, isVol)
		if err != nil {
			t.Errorf("-o %s: %v", c.opts, err)
			continue
		}
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], c.want) {
			t.Errorf("-o %s: warnings %q, want one with %q", c.opts, r.Warnings, c.want)
		}
		if n := strings.Count(strings.Join(r.Args, " "), "--volfile-server="); n != 1 {
			t.Errorf("-o %s: %d servers in %q", c.opts, n, r.Args)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct{ source, opts, word string }{
		{"n1:/rep", "foo", "invalid option foo"},
		{"n1:/rep", "foo=bar", "invalid option foo"},
		{"n1:/rep", "volfile-max-fetch-attempts=3", "volfile-max-fetch-attempts"},
		{"n1:/rep", "acl=on", "takes no value"},
		{"n1:/rep", "allow_other", "the client sees to it"},
		{"n1:/rep", "attribute-timeout", "attribute-timeout=VALUE"},
		{"n1:/rep", "log-level=", "log-level=VALUE"},
		{"n1:/rep", "transport=rdma", "RDMA"},
		{"n1:/rep", "transport=bogus", "bogus"},
		{"n1:/rep", "no-root-squash=maybe", "maybe"},
		{"n1:/rep", "subdir-mount=../x", ".."},
		{"n1:/rep/../x", "", ".."},
		{"rep", "", "SERVER:/VOLUME"},
		{":/rep", "", "server"},
		{",:/rep", "", "server"},
		{strings.Repeat("a", 65) + ":/rep", "", "server"},
		{"n1:", "", "volume"},
		{"n1:/", "", "volume"},
		{"n1:/snaps/s1", "", "snapshot"},
		{"/etc/none.vol", "", "volfile"},
	} {
		_, err := ParseOptions(c.source, "/mnt", []string{c.opts}, isVol)
		var wrong *UsageError
		if !errors.Is(err, syscall.EINVAL) || !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s -o %s: error %v, want one about %q", c.source, c.opts, err, c.word)
		}
	}
}

// Every option of GlusterFS 10.3's helper is known, and what it becomes is an
// argument that there is.
func TestOptionsOfGlusterFS(t *testing.T) {
	for name := range strings.FieldsSeq(`ro rw auto noauto _netdev acl selinux worm enable-ino32 mem-accounting aux-gfid-mount
		thin-client resolve-gids global-threading localtime-logging fopen-keep-cache atime noatime diratime nodiratime relatime
		norelatime strictatime nostrictatime lazyatime nolazyatime dev nodev exec noexec suid nosuid auto_unmount async sync
		dirsync mand nomand silent loud iversion noiversion nofail log-level log-file transport direct-io-mode volume-name
		volume-id subdir-mount volfile-check server-port attribute-timeout entry-timeout negative-timeout gid-timeout lru-limit
		invalidate-limit background-qlen congestion-threshold oom-score-adj backup-volfile-servers backupvolfile-server
		fetch-attempts xlator-option fuse-mountopts use-readdirp event-history reader-thread-count auto-invalidation root-squash
		no-root-squash kernel-writeback-cache attr-times-granularity dump-fuse fuse-flush-handle-interrupt
		fuse-dev-eperm-ratelimit-ns context fscontext defcontext rootcontext halo-max-latency halo-max-replicas
		halo-min-replicas process-name io-engine`) {
		if _, ok := mountOptions[name]; !ok {
			t.Errorf("option %s is not known", name)
		}
	}
	for name, o := range mountOptions {
		arg := o.arg
		if arg == "" {
			arg = name
		}
		switch o.kind {
		case optFlag, optValue, optMaybe:
			if lookup(arg) == nil {
				t.Errorf("option %s becomes argument --%s, which is not known", name, arg)
			}
		}
	}
	for _, arg := range leading {
		if lookup(arg) == nil {
			t.Errorf("argument --%s is not known", arg)
		}
	}
}

func TestRemountOptions(t *testing.T) {
	r, err := ParseOptions("n1:/rep", "/mnt", []string{"acl,log-level=INFO,noatime", "remount,ro,user_id=0,allow_other"}, isVol)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Remount || !slices.Equal(r.Kernel, []string{"noatime", "ro"}) || !slices.Equal(r.Other, []string{"acl", "log-level"}) {
		t.Errorf("%+v", r)
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("n1:/rep/d", "ro,acl,backup-volfile-servers=n2:[::1],noatime")
	f.Add("[::1]:rep", `context="a,b",xlator-option=a.b=c,root-squash=no`)
	f.Add("/etc/data.vol", "remount,rw,process-name=x")
	f.Fuzz(func(t *testing.T, source, opts string) {
		r, err := ParseOptions(source, "/mnt", []string{opts}, isVol)
		if err != nil {
			if r != nil {
				t.Error("both a request and an error")
			}
			return
		}
		// What comes out is a command line for this mount point or is refused.
		a, err := ParseArguments(r.Args)
		if err != nil {
			return
		}
		if a.MountPoint != "/mnt" && !a.Version && !a.Help && a.Print == "" {
			t.Errorf("%q -o %q mounts on %q: %q", source, opts, a.MountPoint, r.Args)
		}
	})
}
