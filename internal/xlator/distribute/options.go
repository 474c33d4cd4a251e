package distribute

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/xlator"
)

const (
	noRebalance = "only a rebalance process heeds it"
)

// options are those of dht in GlusterFS 10.3.
var options = []xlator.Option{
	{Key: "lookup-unhashed", OneOf: []string{"on", "off", "yes", "no", "true", "false", "enable", "disable", "1", "0", "auto"}, Default: "on"},
	{Key: "lookup-optimize", Kind: xlator.KindBool, Default: "on"},
	{Key: "min-free-disk", Default: "10%"},
	{Key: "min-free-inodes", Kind: xlator.KindPercent, Default: "5%"},
	{Key: "directory-layout-spread", Kind: xlator.KindInt, Default: "0"},
	{Key: "readdir-optimize", Kind: xlator.KindBool, Default: "off"},
	{Key: "rsync-hash-regex"},
	{Key: "extra-hash-regex"},
	{Key: "xattr-name", Default: "trusted.glusterfs.dht", OneOf: []string{"trusted.glusterfs.dht"}},
	{Key: "randomize-hash-range-by-gfid", Kind: xlator.KindBool, Default: "off"},
	{Key: "weighted-rebalance", Kind: xlator.KindBool, Default: "on"},
	{Key: "rebal-throttle", Default: "normal", Ignored: noRebalance},
	{Key: "lock-migration", Kind: xlator.KindBool, Default: "off", Ignored: noRebalance},
	{Key: "force-migration", Kind: xlator.KindBool, Default: "off", Ignored: noRebalance},
	{Key: "rebalance-stats", Kind: xlator.KindBool, Default: "off", Ignored: noRebalance},
	{Key: "ensure-durability", Kind: xlator.KindBool, Default: "on", Ignored: noRebalance},
	{Key: "use-readdirp", Kind: xlator.KindBool, Default: "on", Ignored: "whoever lists a directory chooses"},
	{Key: "decommissioned-bricks"},
	{Key: "unhashed-sticky-bit", Kind: xlator.KindBool, Default: "off", Ignored: "GlusterFS has dropped it"},
	{Key: "rebalance-filter", Ignored: noRebalance},
	{Key: "rebalance-cmd", Kind: xlator.KindInt, Default: "0", Ignored: noRebalance},
	{Key: "node-uuid", Ignored: noRebalance},
	{Key: "commit-hash"},
	{Key: "assert-no-child-down", Kind: xlator.KindBool, Default: "off", Ignored: noRebalance},
	{Key: "pass-through", Kind: xlator.KindBool, Default: "off", Ignored: "a volume of more than one subvolume cannot do without"},
}

// settings are the options in force.
type settings struct {
	extraRegex, rsyncRegex *regexp.Regexp // nil: none
	rsyncDefault           bool           // in place of rsyncRegex
	unhashed               string         // "auto" or anything else
	optimize               bool           // lookup-optimize
	minPercent             float64        // min-free-disk, if minBytes is 0
	minBytes               uint64
	minInodes              float64 // percent
	spread                 int     // 0: over all subvolumes
	readdirOptimize        bool
	byGFID                 bool // rotate layouts by gfid, not by path
	weighted               bool
	decommissioned         []bool // by index of the subvolume
	anyDecommissioned      bool
	commit                 uint32 // overrides the volume's commit hash
	haveCommit             bool
}

func (d *distribute) parse(o xlator.Options) (*settings, error) {
	s := &settings{
		unhashed:        strings.ToLower(o.String("lookup-unhashed", "on")),
		optimize:        o.Bool("lookup-optimize", true),
		minInodes:       5,
		spread:          int(o.Int("directory-layout-spread", 0)),
		readdirOptimize: o.Bool("readdir-optimize", false),
		byGFID:          o.Bool("randomize-hash-range-by-gfid", false),
		weighted:        o.Bool("weighted-rebalance", true),
		decommissioned:  make([]bool, len(d.subs)),
	}
	if err := s.parseFree(o); err != nil {
		return nil, err
	}
	if text := o.String("rsync-hash-regex", rsyncRegex); text == rsyncRegex {
		s.rsyncDefault = true
	} else {
		s.rsyncRegex = d.regex("rsync-hash-regex", text)
	}
	s.extraRegex = d.regex("extra-hash-regex", o.String("extra-hash-regex", ""))
	for _, name := range strings.FieldsFunc(o.String("decommissioned-bricks", ""), func(r rune) bool { return r == ',' || r == ' ' }) {
		sub := d.subvolume(name)
		if sub == nil {
			d.log.Warn("decommissioned-bricks names what is no subvolume", "subvolume", name)
			continue
		}
		s.decommissioned[sub.index], s.anyDecommissioned = true, true
	}
	if v, ok := o["commit-hash"]; ok {
		n, err := xlator.ParseInt(v)
		if err != nil {
			return nil, fmt.Errorf("option commit-hash: %w", err)
		}
		s.commit, s.haveCommit = uint32(n), true
	}
	return s, nil
}

// parseFree reads the minima of free space. A min-free-disk with a % sign, or a
// bare number below 100, is a percentage; anything else is bytes.
func (s *settings) parseFree(o xlator.Options) error {
	text := strings.TrimSpace(o.String("min-free-disk", "10%"))
	num, percent := strings.CutSuffix(text, "%")
	var f float64
	if _, err := fmt.Sscanf(num+"\n", "%g\n", &f); percent || err == nil && f < 100 {
		if err != nil || f < 0 {
			return fmt.Errorf("option min-free-disk: %q is neither a percentage nor a size: %w", text, syscall.EINVAL)
		}
		if f < 100 {
			s.minPercent = f
		} else {
			s.minBytes = uint64(f)
		}
	} else {
		n, err := xlator.ParseSize(text)
		if err != nil {
			return fmt.Errorf("option min-free-disk: %w", err)
		}
		s.minBytes = uint64(n)
	}
	if v, ok := o["min-free-inodes"]; ok {
		if _, err := fmt.Sscanf(strings.TrimSuffix(strings.TrimSpace(v), "%")+"\n", "%g\n", &s.minInodes); err != nil {
			return fmt.Errorf("option min-free-inodes: %q is not a percentage: %w", v, syscall.EINVAL)
		}
	}
	return nil
}
