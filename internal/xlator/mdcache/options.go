package mdcache

import (
	"strings"
	"time"

	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "performance/md-cache",
	New:  New,
	Options: []xlator.Option{
		{Key: "md-cache-timeout", Kind: xlator.KindInt, Default: "1", Min: 0, Max: 600},
		{Key: "cache-invalidation", Kind: xlator.KindBool, Default: "false"},
		{Key: "global-cache-invalidation", Kind: xlator.KindBool, Default: "true"},
		{Key: "force-readdirp", Kind: xlator.KindBool, Default: "true"},
		{Key: "md-cache-statfs", Kind: xlator.KindBool, Default: "off"},
		{Key: "cache-posix-acl", Kind: xlator.KindBool, Default: "false"},
		{Key: "cache-glusterfs-acl", Kind: xlator.KindBool, Default: "false"},
		{Key: "cache-selinux", Kind: xlator.KindBool, Default: "false"},
		{Key: "cache-capability-xattrs", Kind: xlator.KindBool, Default: "true"},
		{Key: "cache-ima-xattrs", Kind: xlator.KindBool, Default: "true"},
		{Key: "cache-swift-metadata", Kind: xlator.KindBool, Default: "false"},
		{Key: "cache-samba-metadata", Kind: xlator.KindBool, Default: "false"},
		{Key: "xattr-cache-list"},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "false"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

// xattrOptions are the options that select extended attributes.
var xattrOptions = []struct {
	option string
	on     bool // without the option
	names  []string
}{
	{"cache-posix-acl", false, []string{"system.posix_acl_access", "system.posix_acl_default"}},
	{"cache-glusterfs-acl", false, []string{"glusterfs.posix.acl", "glusterfs.posix.default_acl"}},
	{"cache-selinux", false, []string{"security.selinux"}},
	{"cache-capability-xattrs", true, []string{"security.capability"}},
	{"cache-ima-xattrs", true, []string{"security.ima"}},
	{"cache-swift-metadata", false, []string{"user.swift.metadata"}},
	{"cache-samba-metadata", false, []string{"user.DOSATTRIB", "user.DosStream.*", "user.org.netatalk.Metadata",
		"user.org.netatalk.ResourceFork", "security.NTACL"}},
}

// config is what the options say.
type config struct {
	pass           bool
	timeout        time.Duration
	notices        bool // ask bricks to tell of xattrs
	tell           bool // tell those above of what others changed
	forceReaddirp  bool
	statfs         bool
	xattrs         []string // names, and beginnings of names with * at the end
	timeoutSeconds int64    // for people
}

func newConfig(o xlator.Options) *config {
	c := &config{
		pass:           o.Bool("pass-through", false),
		timeoutSeconds: o.Int("md-cache-timeout", 1),
		notices:        o.Bool("cache-invalidation", false),
		tell:           o.Bool("global-cache-invalidation", true),
		forceReaddirp:  o.Bool("force-readdirp", true),
		statfs:         o.Bool("md-cache-statfs", false),
	}
	c.timeout = time.Duration(c.timeoutSeconds) * time.Second
	for _, x := range xattrOptions {
		if o.Bool(x.option, x.on) {
			c.xattrs = append(c.xattrs, x.names...)
		}
	}
	for name := range strings.SplitSeq(o.String("xattr-cache-list", ""), ",") {
		if name = strings.TrimSpace(name); name != "" {
			c.xattrs = append(c.xattrs, name)
		}
	}
	return c
}

// caches reports whether the options select an extended attribute.
func (c *config) caches(name string) bool {
	for _, n := range c.xattrs {
		if head, any := strings.CutSuffix(n, "*"); n == name || any && strings.HasPrefix(name, head) {
			return true
		}
	}
	return false
}
