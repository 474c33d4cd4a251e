package manage

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

// Our volfiles are glusterd's, byte for byte, but for the timeouts.
func TestVolfilesAreGlusterds(t *testing.T) {
	g := testenv.Gluster(t)
	disks := []string{testenv.LoopFS(t, "xfs", 300), testenv.LoopFS(t, "xfs", 300)}
	for _, c := range []struct {
		volume string
		create string // what stands before the bricks
		shape  Shape
	}{
		{"one", "", Shape{1, 1, 0}},
		{"three", "", Shape{3, 1, 0}},
		{"copy2", "replica 2", Shape{1, 2, 0}},
		{"copy3", "replica 3", Shape{1, 3, 0}},
		{"arb", "replica 2 arbiter 1", Shape{1, 3, 1}},
		{"twobytwo", "replica 2", Shape{2, 2, 0}},
		{"arb2", "replica 3 arbiter 1", Shape{2, 3, 1}},
	} {
		t.Run(c.volume, func(t *testing.T) {
			var dirs []string
			for i := range c.shape.Bricks() {
				dirs = append(dirs, disks[i%2]+"/"+c.volume+strconv.Itoa(i))
			}
			g.Create(t, c.volume, append(strings.Fields(c.create), dirs...)...)
			compareVolfiles(t, g, c.volume, c.shape, dirs, glusterdTimeouts)
			g.MustCLI(t, "volume", "delete", c.volume)
			for _, d := range dirs {
				g.MustRun(t, "rm", "-rf", d)
			}
		})
	}
}

// Options of the volume stand where glusterd writes them.
func TestVolumeOptionsAreGlusterds(t *testing.T) {
	g := testenv.Gluster(t)
	disk := testenv.LoopFS(t, "xfs", 300)
	var dirs []string
	for i := range 4 {
		dirs = append(dirs, disk+"/"+strconv.Itoa(i))
	}
	g.Create(t, "v", append([]string{"replica", "2"}, dirs...)...)
	values := map[string]string{
		"cluster.lookup-unhashed": "auto", "cluster.lookup-optimize": "off", "cluster.min-free-disk": "5%", "cluster.min-free-inodes": "3%",
		"cluster.subvols-per-directory": "1", "cluster.readdir-optimize": "on", "cluster.rsync-hash-regex": "none", "cluster.extra-hash-regex": "x(.*)",
		"cluster.dht-xattr-name": "trusted.glusterfs.dht", "cluster.randomize-hash-range-by-gfid": "on", "cluster.weighted-rebalance": "off",
		"cluster.read-subvolume": "v-client-1", "cluster.read-subvolume-index": "1", "cluster.read-hash-mode": "2",
		"cluster.background-self-heal-count": "4", "cluster.metadata-self-heal": "on", "cluster.data-self-heal": "on", "cluster.entry-self-heal": "on",
		"cluster.self-heal-window-size": "16", "cluster.data-self-heal-algorithm": "full", "cluster.eager-lock": "off",
		"cluster.quorum-type": "fixed", "cluster.quorum-count": "1", "cluster.choose-local": "off", "cluster.post-op-delay-secs": "3",
		"cluster.ensure-durability": "off", "cluster.consistent-metadata": "on", "cluster.heal-wait-queue-length": "64",
		"cluster.favorite-child-policy": "mtime", "cluster.full-lock": "no", "cluster.optimistic-change-log": "off",
		"network.frame-timeout": "600", "network.ping-timeout": "7", "network.remote-dio": "enable",
		"client.tcp-user-timeout": "8", "client.keepalive-time": "9", "client.keepalive-interval": "3", "client.keepalive-count": "4",
		"client.strict-locks": "on", "dht.force-readdirp": "off", "cluster.use-compound-fops": "on", "cluster.use-anonymous-inode": "no",
		"cluster.force-migration":         "on",
		"performance.cache-max-file-size": "2MB", "performance.cache-min-file-size": "1KB", "performance.cache-refresh-timeout": "5",
		"performance.cache-priority": "*.log:1", "performance.io-cache-size": "64MB", "performance.cache-size": "48MB",
		"performance.io-thread-count": "8", "performance.high-prio-threads": "7", "performance.normal-prio-threads": "6",
		"performance.low-prio-threads": "5", "performance.least-prio-threads": "2", "performance.enable-least-priority": "off",
		"performance.iot-watchdog-secs": "3", "performance.iot-cleanup-disconnected-reqs": "on", "performance.iot-pass-through": "on",
		"performance.io-cache-pass-through": "on", "performance.quick-read-cache-size": "32MB", "performance.quick-read-cache-timeout": "5",
		"performance.qr-cache-timeout": "6", "performance.quick-read-cache-invalidation": "on", "performance.ctime-invalidation": "on",
		"performance.flush-behind": "off", "performance.write-behind-window-size": "2MB", "performance.resync-failed-syncs-after-fsync": "on",
		"performance.strict-o-direct": "on", "performance.strict-write-ordering": "on", "performance.write-behind-trickling-writes": "off",
		"performance.aggregate-size": "64KB", "performance.lazy-open": "no", "performance.read-after-open": "no",
		"performance.open-behind-pass-through": "on", "performance.read-ahead-page-count": "8", "performance.read-ahead-pass-through": "on",
		"performance.readdir-ahead-pass-through": "on", "performance.md-cache-pass-through": "on", "performance.write-behind-pass-through": "on",
		"performance.md-cache-timeout": "60", "performance.cache-swift-metadata": "on", "performance.cache-samba-metadata": "on",
		"performance.cache-capability-xattrs": "off", "performance.cache-ima-xattrs": "off", "performance.md-cache-statfs": "on",
		"performance.xattr-cache-list": "user.a,user.b*", "performance.nl-cache-pass-through": "on", "performance.force-readdirp": "off",
		"performance.cache-invalidation": "on", "performance.global-cache-invalidation": "off", "features.cache-invalidation": "on",
		"features.cache-invalidation-timeout": "600", "performance.parallel-readdir": "off", "performance.readdir-ahead": "off", "performance.rda-request-size": "64KB",
		"performance.rda-low-wmark": "8KB", "performance.rda-high-wmark": "256KB", "performance.rda-cache-limit": "20MB",
		"performance.nl-cache-positive-entry": "on", "performance.nl-cache-limit": "5MB", "performance.nl-cache-timeout": "120",
		"features.leases": "on", "features.lease-lock-recall-timeout": "30", "locks.mandatory-locking": "optimal", "features.enforce-mandatory-lock": "on",
	}
	for _, o := range volumeOptions {
		// glusterd wants the heal command for the one, no copies for the other, and
		// has never heard of the third.
		skip := []string{"", "cluster.granular-entry-heal", "cluster.lock-migration", "cluster.hedge-delay"}
		if values[o.key] == "" && !slices.Contains(skip, o.key) {
			t.Errorf("%s is not compared", o.key)
		}
	}
	set := func(values map[string]string) {
		var words []string
		for key, value := range values {
			words = append(words, key, value)
		}
		for part := range slices.Chunk(words, 32) { // more take longer than the command line waits
			g.Set(t, "v", part...)
		}
	}
	listings := map[string]string{"performance.readdir-ahead": "on", "performance.parallel-readdir": "on"}
	set(listings)
	maps.Copy(listings, glusterdTimeouts)
	compareVolfiles(t, g, "v", Shape{2, 2, 0}, dirs, listings)
	set(values)
	compareVolfiles(t, g, "v", Shape{2, 2, 0}, dirs, values)

	// All translators, all but those that are there without being asked for, and
	// listings side by side.
	for _, step := range []map[string]string{
		{"performance.read-ahead": "on", "performance.readdir-ahead": "on", "performance.io-cache": "on", "performance.nl-cache": "on", "performance.client-io-threads": "on"},
		{"performance.write-behind": "off", "performance.open-behind": "off", "performance.quick-read": "off", "performance.stat-prefetch": "off"},
		{"performance.parallel-readdir": "on"},
		{"performance.readdir-ahead": "off"},
	} {
		maps.Copy(values, step)
		set(step)
		compareVolfiles(t, g, "v", Shape{2, 2, 0}, dirs, values)
	}
}

func compareVolfiles(t *testing.T, g *testenv.Glusterd, volume string, shape Shape, dirs []string, options map[string]string) {
	t.Helper()
	theirs := g.Volfile(t, volume, "trusted-"+volume+".tcp-fuse.vol")
	f, err := volfile.Parse(theirs)
	if err != nil {
		t.Fatal(err)
	}
	client := f.Volumes[0]
	host, _ := client.Get("remote-host")
	v := &Volume{Name: volume, Replica: shape.Replica, Arbiter: shape.Arbiter, Options: options}
	for _, d := range dirs {
		v.Bricks = append(v.Bricks, Brick{Host: host, Path: d})
	}
	v.User, _ = client.Get("username")
	v.Password, _ = client.Get("password")
	for i, b := range v.Bricks {
		bf, err := volfile.Parse(g.Volfile(t, volume, volume+"."+host+"."+DashedPath(b.Path)+".vol"))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := bf.Volumes[0].Get("volume-id")
		if v.ID, err = fop.ParseGFID(id); err != nil {
			t.Fatal(err)
		}
		shared, _ := bf.Volumes[0].Get("shared-brick-count")
		v.Bricks[i].Shared, _ = strconv.Atoi(shared)
		// The test's glusterd is bound to one address and says so.
		bf.Top().Delete("transport.socket.bind-address")
		sameText(t, "brick "+strconv.Itoa(i), BrickVolfile(v, i).String(), bf.String())
	}
	if err := v.Check(); err != nil {
		t.Error(err)
	}
	sameText(t, "trusted client", ClientVolfile(v, "", true, nil).String(), theirs)
	sameText(t, "client", ClientVolfile(v, "", false, nil).String(), g.Volfile(t, volume, volume+".tcp-fuse.vol"))
}

func sameText(t *testing.T, what, ours, theirs string) {
	t.Helper()
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Errorf("%s differs at line %d:\nours   %q\ntheirs %q", what, i+1, a[min(i, len(a)):min(i+3, len(a))], b[min(i, len(b)):min(i+3, len(b))])
			return
		}
	}
}
