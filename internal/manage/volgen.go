package manage

import (
	"strconv"
	"strings"

	"github.com/wythefs/wythe/internal/volfile"
)

// The generators below write the nodes, options and order that glusterd 10.3
// writes for a volume with default options (xlators/mgmt/glusterd/src/
// glusterd-volgen.c; compared with its files), so that a client which moves
// between the two sees no change.

// node appends a volume to f, above what is on top of it now.
func node(f *volfile.File, name, typ string, options ...string) {
	v := &volfile.Volume{Name: name, Type: typ}
	for i := 0; i < len(options); i += 2 {
		v.Options = append(v.Options, volfile.Option{Key: options[i], Value: options[i+1]})
	}
	if top := f.Top(); top != nil {
		v.Subvolumes = []string{top.Name}
	}
	f.Volumes = append(f.Volumes, v)
}

// DashedPath is how the path of a brick appears in volfile-ids and file names.
func DashedPath(p string) string { return strings.ReplaceAll(strings.TrimPrefix(p, "/"), "/", "-") }

// BrickVolfile is the volfile of one brick of v. shared is the number of bricks
// of v on the same file system, by which statfs is divided.
func BrickVolfile(v *Volume, b Brick, shared string) *volfile.File {
	f := &volfile.File{}
	n, id, p := v.Name, v.ID.String(), b.Path
	node(f, n+"-posix", "storage/posix",
		"shared-brick-count", shared, "fips-mode-rchecksum", "on", "volume-id", id, "directory", p)
	node(f, n+"-trash", "features/trash",
		"trash-internal-op", "off", "brick-path", p, "trash-dir", ".trashcan")
	node(f, n+"-changelog", "features/changelog",
		"changelog-barrier-timeout", "120", "changelog-notification", "off",
		"changelog-dir", p+"/.glusterfs/changelogs", "changelog-brick", p)
	node(f, n+"-bitrot-stub", "features/bitrot-stub", "bitrot", "disable", "export", p)
	node(f, n+"-access-control", "features/access-control")
	node(f, n+"-locks", "features/locks", "enforce-mandatory-lock", "off")
	node(f, n+"-worm", "features/worm",
		"worm-files-deletable", "on", "worm-file-level", "off", "worm", "off")
	node(f, n+"-read-only", "features/read-only", "read-only", "off")
	node(f, n+"-leases", "features/leases", "leases", "off")
	node(f, n+"-upcall", "features/upcall", "cache-invalidation", "off")
	node(f, n+"-io-threads", "performance/io-threads")
	node(f, n+"-selinux", "features/selinux", "selinux", "on")
	node(f, n+"-marker", "features/marker",
		"inode-quota", "off", "quota", "off", "gsync-force-xtime", "off", "xtime", "off",
		"quota-version", "0", "timestamp-file", "/var/lib/glusterd/vols/"+n+"/marker.tstamp",
		"volume-uuid", id)
	node(f, n+"-barrier", "features/barrier", "barrier-timeout", "120", "barrier", "disable")
	node(f, n+"-index", "features/index",
		"xattrop-pending-watchlist", "trusted.afr."+n+"-",
		"xattrop-dirty-watchlist", "trusted.afr.dirty",
		"index-base", p+"/.glusterfs/indices")
	node(f, n+"-quota", "features/quota",
		"deem-statfs", "off", "server-quota", "off", "volume-uuid", n)
	node(f, p, "debug/io-stats",
		"global-threading", "off", "count-fop-hits", "off", "latency-measurement", "off",
		"threads", "16", "log-level", "INFO", "volume-id", id, "unique-id", p)
	allow := v.Allow
	if allow == "" {
		allow = "*"
	}
	node(f, n+"-server", "protocol/server",
		"transport.listen-backlog", "1024",
		"transport.socket.keepalive-count", "9",
		"transport.socket.keepalive-interval", "2",
		"transport.socket.keepalive-time", "20",
		"transport.socket.ssl-enabled", "off",
		"transport.socket.keepalive", "1",
		"auth.addr."+p+".allow", allow,
		"auth-path", p,
		"auth.login."+v.User+".password", v.Password,
		"auth.login."+p+".allow", v.User,
		"transport.address-family", "inet",
		"transport-type", "tcp")
	return f
}

// ClientVolfile is the volfile of a client of v. host stands in for bricks
// without a host of their own. A trusted client gets the volume's username and
// password. Clients ask for the port of a brick at port 24007; where the
// management listens elsewhere, ports tells it in the volfile.
func ClientVolfile(v *Volume, host string, trusted bool, ports func(brick string) int) *volfile.File {
	f := &volfile.File{}
	var clients []string
	for i, b := range v.Bricks {
		if b.Host != "" {
			host = b.Host
		}
		options := []string{
			"send-gids", "true",
			"strict-locks", "off",
			"transport.socket.keepalive-count", "9",
			"transport.socket.keepalive-interval", "2",
			"transport.socket.keepalive-time", "20",
			"transport.tcp-user-timeout", "0",
			"transport.socket.ssl-enabled", "off",
		}
		if trusted {
			options = append(options, "password", v.Password, "username", v.User)
		}
		family := "inet"
		if strings.Contains(host, ":") {
			family = "inet6"
		}
		options = append(options,
			"transport.address-family", family,
			"transport-type", "tcp")
		if ports != nil {
			options = append(options, "remote-port", strconv.Itoa(ports(b.Path)))
		}
		options = append(options,
			"remote-subvolume", b.Path,
			"remote-host", host,
			"ping-timeout", "42")
		clients = append(clients, v.ClientName(i))
		node(f, v.ClientName(i), "protocol/client", options...)
		f.Top().Subvolumes = nil
	}
	n := v.Name
	node(f, n+"-dht", "cluster/distribute", "force-migration", "off", "lock-migration", "off")
	f.Top().Subvolumes = clients
	node(f, n+"-utime", "features/utime", "noatime", "on")
	node(f, n+"-write-behind", "performance/write-behind")
	node(f, n+"-open-behind", "performance/open-behind")
	node(f, n+"-quick-read", "performance/quick-read")
	node(f, n+"-md-cache", "performance/md-cache")
	// glusterd switches client-io-threads off only where there are replicas.
	node(f, n+"-io-threads", "performance/io-threads")
	node(f, n, "debug/io-stats",
		"global-threading", "off", "count-fop-hits", "off", "latency-measurement", "off",
		"threads", "16", "log-level", "INFO")
	return f
}
