package graph

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// A known type is one that GlusterFS 10.3 has. What canSkip does with one that
// is not registered:
type known struct {
	// skip: it only tunes or observes, whatever its options are.
	skip bool
	// off lists options that switch on what it does. If all of them are off it
	// is skipped, else refused. The volume option by which a user switches it
	// off stands beside.
	off []feature
	// Otherwise it is refused; does says what it does.
	does string
}

type feature struct {
	option string // of the translator
	key    string // of the volume
	// inverted: the feature is on while the option is off.
	inverted bool
}

var knownTypes = map[string]known{
	"performance/write-behind":  {does: "answers writes before they are done (volume option performance.write-behind)"},
	"performance/read-ahead":    {does: "reads files ahead (volume option performance.read-ahead)"},
	"performance/readdir-ahead": {does: "lists directories ahead (volume option performance.readdir-ahead)"},
	"performance/io-cache":      {does: "caches what is read (volume option performance.io-cache)"},
	"performance/open-behind":   {does: "puts the opening of files off (volume option performance.open-behind)"},
	"performance/nl-cache":      {does: "caches names that are not there (volume option performance.nl-cache)"},
	"performance/quick-read":    {does: "has small files come with their lookups (volume option performance.quick-read)"},
	"performance/md-cache":      {does: "caches attributes (volume option performance.stat-prefetch)"},
	"performance/io-threads":    {skip: true},
	"debug/io-stats":            {skip: true},
	"debug/trace":               {skip: true},
	"debug/error-gen":           {skip: true},
	"debug/delay-gen":           {skip: true},
	"debug/sink":                {does: "a brick that holds nothing"},
	"meta":                      {skip: true},

	"features/changelog":      {off: []feature{{option: "changelog", key: "changelog.changelog"}}},
	"features/bitrot-stub":    {off: []feature{{option: "bitrot", key: "features.bitrot"}}},
	"features/marker":         {off: []feature{{option: "quota", key: "features.quota"}, {option: "inode-quota", key: "features.inode-quota"}, {option: "xtime", key: "geo-replication.indexing"}, {option: "gsync-force-xtime", key: "geo-replication.ignore-pid-check"}}},
	"features/quota":          {off: []feature{{option: "server-quota", key: "features.quota"}}},
	"features/trash":          {off: []feature{{option: "trash", key: "features.trash"}}},
	"features/worm":           {off: []feature{{option: "worm", key: "features.worm"}, {option: "worm-file-level", key: "features.worm-file-level"}}},
	"features/read-only":      {off: []feature{{option: "read-only", key: "features.read-only"}}},
	"features/leases":         {off: []feature{{option: "leases", key: "features.leases"}}},
	"features/upcall":         {off: []feature{{option: "cache-invalidation", key: "features.cache-invalidation"}}},
	"features/barrier":        {off: []feature{{option: "barrier", key: "features.barrier"}}},
	"features/namespace":      {off: []feature{{option: "tag-namespaces", key: "features.tag-namespaces"}}},
	"features/sdfs":           {off: []feature{{option: "pass-through", key: "features.sdfs", inverted: true}}},
	"features/cloudsync":      {off: []feature{{option: "cloudsync", key: "features.cloudsync"}}},
	"features/selinux":        {off: []feature{{option: "selinux", key: "features.selinux"}}},
	"features/utime":          {does: "records times on behalf of clients"},
	"features/cdc":            {does: "compresses what goes over the network (volume option network.compression)"},
	"features/shard":          {does: "stripes files over blocks (volume option features.shard)"},
	"features/arbiter":        {does: "makes a brick that holds no data"},
	"features/thin-arbiter":   {does: "makes a brick that only decides"},
	"features/access-control": {does: "checks permissions"},
	"features/locks":          {does: "keeps locks"},
	"features/index":          {does: "notes what must be healed"},
	"features/snapview-client": {
		does: "shows snapshots (volume option features.uss)"},
	"features/snapview-server": {does: "serves snapshots"},
	"features/gfid-access":     {does: "shows objects by gfid (mount option aux-gfid-mount)"},
	"features/quiesce":         {does: "holds requests back while a proxy is changed"},
	"features/quotad":          {does: "sums up quotas"},
	"features/bit-rot":         {does: "signs and scrubs files"},
	"features/simple-quota":    {does: "limits how much a directory may hold"},
	"cluster/replicate":        {does: "keeps copies on several bricks"},
	"cluster/disperse":         {does: "spreads files over bricks with redundancy"},
	"cluster/distribute":       {does: "distributes files over bricks"},
	"cluster/nufa":             {does: "prefers the local brick (volume option cluster.nufa)"},
	"cluster/switch":           {does: "chooses bricks by file name (volume option cluster.switch)"},
	"storage/posix":            {does: "keeps files in a brick's directory"},
	"protocol/client":          {does: "speaks to a brick"},
	"protocol/server":          {does: "serves bricks to clients"},
	"mount/fuse":               {does: "mounts a volume"},
	"mount/api":                {does: "is the top of a gfapi client"},
	"mgmt/glusterd":            {does: "manages a node"},
	"nfs/server":               {does: "serves NFS"},
	"encryption/rot-13":        {does: "pretends to encrypt"},
	"playground/template":      {does: "is an example"},
}

// canSkip says whether a volume whose type is not registered may be left out;
// the error is the refusal.
func canSkip(v *volfile.Volume) error {
	k, ok := knownTypes[v.Type]
	switch {
	case !ok:
		return fmt.Errorf("volume %q: type %q is unknown; correct the type (as in protocol/client) or leave the volume out of the volfile: %w",
			v.Name, v.Type, syscall.EINVAL)
	case k.skip:
		return nil
	case len(k.off) == 0:
		return fmt.Errorf("volume %q: this program has no translator %s, which %s; switch the feature off, or use a program that has it: %w",
			v.Name, v.Type, k.does, syscall.ENOTSUP)
	}
	for _, f := range k.off {
		value, set := v.Get(f.option)
		on, err := xlator.ParseBool(value)
		if err != nil && set && value != "" {
			return fmt.Errorf("volume %q (%s): option %s: %w", v.Name, v.Type, f.option, err)
		}
		if on != f.inverted {
			off := "off"
			if strings.HasPrefix(v.Type, "features/barrier") {
				off = "disable"
			}
			return fmt.Errorf("volume %q: %s is switched on (option %s %s) and this program does not have it; switch it off with: gluster volume set VOLNAME %s %s: %w",
				v.Name, v.Type, f.option, value, f.key, off, syscall.ENOTSUP)
		}
	}
	return nil
}
