package posix

import (
	"time"

	"github.com/wythefs/wythe/internal/xlator"
)

// Type is storage/posix.
var Type = xlator.Type{Name: "storage/posix", New: New, Options: options}

var options = []xlator.Option{
	{Key: "directory", Kind: xlator.KindPath},
	{Key: "volume-id"},
	{Key: "glusterd-uuid"},
	{Key: "hostname"},
	{Key: "shared-brick-count", Kind: xlator.KindInt, Default: "1"},
	{Key: "o-direct", Kind: xlator.KindBool, Default: "off"},
	{Key: "export-statfs-size", Kind: xlator.KindBool, Default: "on"},
	{Key: "mandate-attribute", Kind: xlator.KindBool, Default: "on",
		Ignored: "a brick cannot work without extended attributes, so they are always required"},
	{Key: "background-unlink", Kind: xlator.KindBool, Default: "off"},
	{Key: "janitor-sleep-duration", Kind: xlator.KindDuration, Default: "10"},
	{Key: "linux-aio", Kind: xlator.KindBool, Default: "off",
		Ignored: "reads and writes already run in parallel, one goroutine each"},
	{Key: "linux-io_uring", Kind: xlator.KindBool, Default: "off",
		Ignored: "reads and writes already run in parallel, one goroutine each"},
	{Key: "brick-uid", Kind: xlator.KindInt, Default: "-1", Min: -1},
	{Key: "brick-gid", Kind: xlator.KindInt, Default: "-1", Min: -1},
	{Key: "node-uuid-pathinfo", Kind: xlator.KindBool, Default: "off"},
	{Key: "health-check-interval", Kind: xlator.KindDuration, Default: "30"},
	{Key: "health-check-timeout", Kind: xlator.KindDuration, Default: "20"},
	{Key: "reserve", Default: "1"},
	{Key: "batch-fsync-mode", Default: "reverse-fsync",
		OneOf: []string{"none", "syncfs", "syncfs-single-fsync", "syncfs-reverse-fsync", "reverse-fsync"}},
	{Key: "batch-fsync-delay-usec", Kind: xlator.KindInt, Default: "0"},
	{Key: "update-link-count-parent", Kind: xlator.KindBool, Default: "off"},
	{Key: "gfid2path", Kind: xlator.KindBool, Default: "on"},
	{Key: "gfid2path-separator", Default: ":"},
	{Key: "disable-landfill-purge", Kind: xlator.KindBool, Default: "off"},
	{Key: "force-create-mode", Kind: xlator.KindInt, Default: "0000", Max: 0o777},
	{Key: "force-directory-mode", Kind: xlator.KindInt, Default: "0000", Max: 0o777},
	{Key: "create-mask", Kind: xlator.KindInt, Default: "0777", Max: 0o777},
	{Key: "create-directory-mask", Kind: xlator.KindInt, Default: "0777", Max: 0o777},
	{Key: "max-hardlinks", Kind: xlator.KindInt, Default: "100", Max: 1<<32 - 1},
	{Key: "fips-mode-rchecksum", Kind: xlator.KindBool, Default: "off"},
	{Key: "ctime", Kind: xlator.KindBool, Default: "on"},
	{Key: "wythe-rootless", Kind: xlator.KindBool, Default: "off"},
}

// settings are the options as the fops read them; replaced as a whole.
type settings struct {
	hostname, glusterdUUID string
	nodeUUIDPathinfo       bool
	sharedBricks           uint64
	oDirect, statfsSize    bool
	backgroundUnlink       bool
	janitor                time.Duration
	uid, gid               int
	healthEvery, healthFor time.Duration
	reserve                float64
	reservePercent         bool
	batchMode              string
	batchDelay             time.Duration
	pgfid, gfid2path       bool
	separator              string
	keepLandfill           bool
	forceFile, forceDir    uint32
	maskFile, maskDir      uint32
	maxLinks               int64
	fips, ctime            bool
}

func parseSettings(o xlator.Options, env *xlator.Env) (*settings, error) {
	for _, opt := range options {
		if v, ok := o[opt.Key]; ok {
			if err := opt.Check(v); err != nil {
				return nil, err
			}
		}
	}
	s := &settings{
		hostname:         o.String("hostname", env.Hostname),
		glusterdUUID:     o.String("glusterd-uuid", env.GlusterdUUID),
		nodeUUIDPathinfo: o.Bool("node-uuid-pathinfo", false),
		sharedBricks:     uint64(max(1, o.Int("shared-brick-count", 1))),
		oDirect:          o.Bool("o-direct", false),
		statfsSize:       o.Bool("export-statfs-size", true),
		backgroundUnlink: o.Bool("background-unlink", false),
		janitor:          max(time.Second, o.Duration("janitor-sleep-duration", 10*time.Second)),
		uid:              int(o.Int("brick-uid", -1)),
		gid:              int(o.Int("brick-gid", -1)),
		healthEvery:      o.Duration("health-check-interval", 30*time.Second),
		healthFor:        o.Duration("health-check-timeout", 20*time.Second),
		batchMode:        o.String("batch-fsync-mode", "reverse-fsync"),
		batchDelay:       time.Duration(o.Int("batch-fsync-delay-usec", 0)) * time.Microsecond,
		pgfid:            o.Bool("update-link-count-parent", false),
		gfid2path:        o.Bool("gfid2path", true),
		separator:        o.String("gfid2path-separator", ":"),
		keepLandfill:     o.Bool("disable-landfill-purge", false),
		forceFile:        uint32(o.Int("force-create-mode", 0)),
		forceDir:         uint32(o.Int("force-directory-mode", 0)),
		maskFile:         uint32(o.Int("create-mask", 0o777)),
		maskDir:          uint32(o.Int("create-directory-mask", 0o777)),
		maxLinks:         o.Int("max-hardlinks", 100),
		fips:             o.Bool("fips-mode-rchecksum", false),
		ctime:            o.Bool("ctime", true),
	}
	return s, s.parseReserve(o.String("reserve", "1"))
}
