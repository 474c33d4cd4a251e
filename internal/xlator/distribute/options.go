package distribute

import "github.com/wythefs/wythe/internal/xlator"

const (
	oneSubvolume = "a volume of one subvolume has nothing to distribute"
	noRebalance  = "only a rebalance process heeds it"
)

// options are those of dht in GlusterFS 10.3.
var options = []xlator.Option{
	{Key: "lookup-unhashed", OneOf: []string{"on", "off", "yes", "no", "true", "false", "enable", "disable", "1", "0", "auto"}, Default: "on", Ignored: oneSubvolume},
	{Key: "lookup-optimize", Kind: xlator.KindBool, Default: "on", Ignored: oneSubvolume},
	{Key: "min-free-disk", Default: "10%", Ignored: oneSubvolume},
	{Key: "min-free-inodes", Kind: xlator.KindPercent, Default: "5%", Ignored: oneSubvolume},
	{Key: "directory-layout-spread", Kind: xlator.KindInt, Default: "0", Ignored: oneSubvolume},
	{Key: "readdir-optimize", Kind: xlator.KindBool, Default: "off", Ignored: oneSubvolume},
	{Key: "rsync-hash-regex", Ignored: oneSubvolume},
	{Key: "extra-hash-regex", Ignored: oneSubvolume},
	{Key: "xattr-name", Default: "trusted.glusterfs.dht", OneOf: []string{"trusted.glusterfs.dht"}},
	{Key: "randomize-hash-range-by-gfid", Kind: xlator.KindBool, Default: "off", Ignored: oneSubvolume},
	{Key: "weighted-rebalance", Kind: xlator.KindBool, Default: "on", Ignored: noRebalance},
	{Key: "rebal-throttle", Default: "normal", Ignored: noRebalance},
	{Key: "lock-migration", Kind: xlator.KindBool, Default: "off", Ignored: noRebalance},
	{Key: "force-migration", Kind: xlator.KindBool, Default: "off", Ignored: noRebalance},
	{Key: "rebalance-stats", Kind: xlator.KindBool, Default: "off", Ignored: noRebalance},
	{Key: "ensure-durability", Kind: xlator.KindBool, Default: "on", Ignored: noRebalance},
	{Key: "use-readdirp", Kind: xlator.KindBool, Default: "on", Ignored: "whoever lists a directory chooses"},
	{Key: "decommissioned-bricks", Ignored: oneSubvolume},
	{Key: "unhashed-sticky-bit", Kind: xlator.KindBool, Default: "off", Ignored: oneSubvolume},
	{Key: "rebalance-filter", Ignored: noRebalance},
	{Key: "rebalance-cmd", Kind: xlator.KindInt, Default: "0", Ignored: noRebalance},
	{Key: "node-uuid", Ignored: noRebalance},
	{Key: "commit-hash", Ignored: noRebalance},
	{Key: "assert-no-child-down", Kind: xlator.KindBool, Default: "off", Ignored: oneSubvolume},
	{Key: "pass-through", Kind: xlator.KindBool, Default: "off", Ignored: oneSubvolume},
}
