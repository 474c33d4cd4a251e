package manage

import (
	"slices"
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

// BrickVolfile is the volfile of brick i of v.
func BrickVolfile(v *Volume, i int) *volfile.File {
	f := &volfile.File{}
	b := v.Bricks[i]
	n, id, p := v.Name, v.ID.String(), b.Path
	node(f, n+"-posix", "storage/posix",
		"shared-brick-count", strconv.Itoa(max(b.Shared, 1)), "fips-mode-rchecksum", "on", "volume-id", id, "directory", p)
	if v.IsArbiter(i) {
		node(f, n+"-arbiter", "features/arbiter")
	}
	node(f, n+"-trash", "features/trash",
		"trash-internal-op", "off", "brick-path", p, "trash-dir", ".trashcan")
	node(f, n+"-changelog", "features/changelog",
		"changelog-barrier-timeout", "120", "changelog-notification", "off",
		"changelog-dir", p+"/.glusterfs/changelogs", "changelog-brick", p)
	node(f, n+"-bitrot-stub", "features/bitrot-stub", "bitrot", "disable", "export", p)
	node(f, n+"-access-control", "features/access-control")
	node(f, n+"-locks", "features/locks")
	v.set(f)
	node(f, n+"-worm", "features/worm",
		"worm-files-deletable", "on", "worm-file-level", "off", "worm", "off")
	node(f, n+"-read-only", "features/read-only", "read-only", "off")
	node(f, n+"-leases", "features/leases", "leases", "off")
	v.set(f)
	node(f, n+"-upcall", "features/upcall")
	v.set(f)
	node(f, n+"-io-threads", "performance/io-threads")
	v.set(f)
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
		at := host
		if b.Host != "" {
			at = b.Host
		}
		family := "inet"
		if strings.Contains(at, ":") {
			family = "inet6"
		}
		var options []string
		if trusted {
			options = append(options, "password", v.Password, "username", v.User)
		}
		options = append(options,
			"transport.address-family", family,
			"transport-type", "tcp")
		if ports != nil {
			options = append(options, "remote-port", strconv.Itoa(ports(b.Path)))
		}
		options = append(options,
			"remote-subvolume", b.Path,
			"remote-host", at,
			"ping-timeout", pingTimeout)
		clients = append(clients, v.ClientName(i))
		node(f, v.ClientName(i), "protocol/client", options...)
		top := f.Top()
		top.Subvolumes = nil
		v.set(f)
		top.Options = slices.Insert(top.Options, 0, volfile.Option{Key: "send-gids", Value: "true"})
	}
	n, shape := v.Name, v.Shape()
	subvolumes := clients
	if shape.Replica > 1 {
		subvolumes = nil
		for set := range shape.Distribute {
			v.replicate(f, set, clients[set*shape.Replica:(set+1)*shape.Replica])
			subvolumes = append(subvolumes, v.SetName(set))
		}
	}
	if v.listsInParallel() {
		subvolumes = v.readdirAheads(f, subvolumes)
	}
	node(f, n+"-dht", "cluster/distribute")
	f.Top().Subvolumes = subvolumes
	v.set(f)
	node(f, n+"-utime", "features/utime", "noatime", "on")
	v.performance(f)
	node(f, n, "debug/io-stats",
		"global-threading", "off", "count-fop-hits", "off", "latency-measurement", "off",
		"threads", "16", "log-level", "INFO")
	return f
}

// replicate appends the node on top of a set of bricks.
func (v *Volume) replicate(f *volfile.File, set int, clients []string) {
	options := []string{"volume-id", v.ID.String(), "afr-pending-xattr", strings.Join(clients, ",")}
	if v.Arbiter > 0 {
		options = append([]string{"arbiter-count", strconv.Itoa(v.Arbiter)}, options...)
	}
	node(f, v.SetName(set), "cluster/replicate", options...)
	f.Top().Subvolumes = clients
	v.set(f)
}
