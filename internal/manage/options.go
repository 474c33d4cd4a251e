package manage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// volumeOption is a volume option, as `gluster volume set` names it, that
// becomes an option of the nodes of one type in the volfiles of clients.
type volumeOption struct {
	key    string // of the volume
	typ    string // of the nodes
	option string // of the nodes
	// always is the value that is written where the volume sets none; "" for
	// nothing.
	always string
}

// The timeouts of clients. GlusterFS has 42 seconds for the first, none for the
// second, and 20, 2 and 9 for keepalives: a node that dies without a word stops
// its clients for most of a minute. Ours go on after ten seconds; who wants
// GlusterFS's patience sets the options of the volume.
const (
	pingTimeout       = "10"
	userTimeout       = "10"
	keepaliveTime     = "5"
	keepaliveInterval = "2"
	keepaliveCount    = "3"
)

// volumeOptions is, for each type of node, in the order of glusterd's table, which
// decides the order in volfiles.
var volumeOptions = append(otherOptions, performanceOptions...)

var otherOptions = []volumeOption{
	{"cluster.lookup-unhashed", "cluster/distribute", "lookup-unhashed", ""},
	{"cluster.lookup-optimize", "cluster/distribute", "lookup-optimize", ""},
	{"cluster.min-free-disk", "cluster/distribute", "min-free-disk", ""},
	{"cluster.min-free-inodes", "cluster/distribute", "min-free-inodes", ""},
	{"cluster.subvols-per-directory", "cluster/distribute", "directory-layout-spread", ""},
	{"cluster.readdir-optimize", "cluster/distribute", "readdir-optimize", ""},
	{"cluster.rsync-hash-regex", "cluster/distribute", "rsync-hash-regex", ""},
	{"cluster.extra-hash-regex", "cluster/distribute", "extra-hash-regex", ""},
	{"cluster.dht-xattr-name", "cluster/distribute", "xattr-name", ""},
	{"cluster.randomize-hash-range-by-gfid", "cluster/distribute", "randomize-hash-range-by-gfid", ""},
	{"cluster.lock-migration", "cluster/distribute", "lock-migration", "off"},
	{"cluster.force-migration", "cluster/distribute", "force-migration", "off"},
	{"cluster.weighted-rebalance", "cluster/distribute", "weighted-rebalance", ""},
	{"cluster.read-subvolume", "cluster/replicate", "read-subvolume", ""},
	{"cluster.read-subvolume-index", "cluster/replicate", "read-subvolume-index", ""},
	{"cluster.read-hash-mode", "cluster/replicate", "read-hash-mode", ""},
	{"cluster.background-self-heal-count", "cluster/replicate", "background-self-heal-count", ""},
	{"cluster.metadata-self-heal", "cluster/replicate", "metadata-self-heal", ""},
	{"cluster.data-self-heal", "cluster/replicate", "data-self-heal", ""},
	{"cluster.entry-self-heal", "cluster/replicate", "entry-self-heal", ""},
	{"cluster.self-heal-window-size", "cluster/replicate", "data-self-heal-window-size", ""},
	{"cluster.data-self-heal-algorithm", "cluster/replicate", "data-self-heal-algorithm", ""},
	{"cluster.eager-lock", "cluster/replicate", "eager-lock", ""},
	{"cluster.quorum-type", "cluster/replicate", "quorum-type", ""},
	{"cluster.quorum-count", "cluster/replicate", "quorum-count", ""},
	{"cluster.choose-local", "cluster/replicate", "choose-local", ""},
	{"cluster.post-op-delay-secs", "cluster/replicate", "post-op-delay-secs", ""},
	{"cluster.ensure-durability", "cluster/replicate", "ensure-durability", ""},
	{"cluster.consistent-metadata", "cluster/replicate", "consistent-metadata", ""},
	{"cluster.heal-wait-queue-length", "cluster/replicate", "heal-wait-queue-length", ""},
	{"cluster.favorite-child-policy", "cluster/replicate", "favorite-child-policy", ""},
	{"cluster.full-lock", "cluster/replicate", "full-lock", ""},
	{"cluster.optimistic-change-log", "cluster/replicate", "optimistic-change-log", ""},
	{"cluster.hedge-delay", "cluster/replicate", "hedge-delay", ""}, // ours; GlusterFS clients ignore it
	{"network.frame-timeout", "protocol/client", "frame-timeout", ""},
	{"network.ping-timeout", "protocol/client", "ping-timeout", pingTimeout},
	{"", "protocol/client", "transport.socket.ssl-enabled", "off"}, // no key: cannot be set
	{"network.remote-dio", "protocol/client", "filter-O_DIRECT", ""},
	{"client.tcp-user-timeout", "protocol/client", "transport.tcp-user-timeout", userTimeout},
	{"client.keepalive-time", "protocol/client", "transport.socket.keepalive-time", keepaliveTime},
	{"client.keepalive-interval", "protocol/client", "transport.socket.keepalive-interval", keepaliveInterval},
	{"client.keepalive-count", "protocol/client", "transport.socket.keepalive-count", keepaliveCount},
	{"client.strict-locks", "protocol/client", "strict-locks", "off"},
	{"dht.force-readdirp", "cluster/distribute", "use-readdirp", ""},
	{"cluster.granular-entry-heal", "cluster/replicate", "granular-entry-heal", "on"},
	{"cluster.use-compound-fops", "cluster/replicate", "use-compound-fops", "off"},
	{"cluster.use-anonymous-inode", "cluster/replicate", "use-anonymous-inode", "yes"},
	{"features.leases", "features/leases", "leases", ""},
	{"features.lease-lock-recall-timeout", "features/leases", "lease-lock-recall-timeout", ""},
	{"locks.mandatory-locking", "features/locks", "mandatory-locking", ""},
	{"features.enforce-mandatory-lock", "features/locks", "enforce-mandatory-lock", "off"},
}

// glusterdTimeouts are the options with which clients wait as long as those of a
// glusterd's volume.
var glusterdTimeouts = map[string]string{
	"network.ping-timeout":      "42",
	"client.tcp-user-timeout":   "0",
	"client.keepalive-time":     "20",
	"client.keepalive-interval": "2",
	"client.keepalive-count":    "9",
}

// checkOptions reports the first option that there is not, or whose value no
// volfile can hold.
func checkOptions(options map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !isSwitch(key) && !slices.ContainsFunc(volumeOptions, func(o volumeOption) bool { return o.key == key && key != "" }) {
			return fmt.Errorf("volume option %q is not known to this program; leave it away: %w", key, syscall.EINVAL)
		}
		if v := options[key]; v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == '"' || r == 0x7f }) {
			return fmt.Errorf("volume option %s: the value %q is empty or has blanks, quotes or control characters: %w", key, v, syscall.EINVAL)
		}
		if isSwitch(key) {
			if _, err := xlator.ParseBool(options[key]); err != nil {
				return fmt.Errorf("volume option %s: %w", key, err)
			}
		}
	}
	return nil
}

// set gives the top of f the options of the volume for nodes of its type. As
// from glusterd, an option that the generator wrote already keeps its place,
// others stand before it, the last of the table first.
func (v *Volume) set(f *volfile.File) {
	n := f.Top()
	for _, o := range volumeOptions {
		if o.typ != n.Type {
			continue
		}
		value, set := v.Options[o.key]
		if !set {
			value = o.always
		}
		if value == "" {
			continue
		}
		if _, ok := n.Get(o.option); ok {
			n.Set(o.option, value)
			continue
		}
		n.Options = slices.Insert(n.Options, 0, volfile.Option{Key: o.option, Value: value})
	}
}
