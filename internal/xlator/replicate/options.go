package replicate

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/xlator"
)

const (
	nowhere   = "GlusterFS 10.3 accepts it and does nothing with it either"
	healing   = "this client does not heal; a self-heal daemon does"
	healer    = "only a self-heal daemon heeds it"
	halo      = "children are not chosen by their latency"
	oneXattr  = "the pre-op is always a request of its own"
	wholeSize = "what is read or healed together is a matter of the healer"
)

var onOff = []string{"on", "off", "yes", "no", "true", "false", "enable", "disable", "1", "0", "open"}

// options are those of afr in GlusterFS 10.3, and hedge-delay.
var options = []xlator.Option{
	{Key: "read-subvolume"},
	{Key: "read-subvolume-index", Kind: xlator.KindInt, Default: "-1", Min: -1, Max: maxChildren - 1},
	{Key: "read-hash-mode", Kind: xlator.KindInt, Default: "1", Max: 5},
	{Key: "choose-local", Kind: xlator.KindBool, Default: "true"},
	{Key: "hedge-delay", Kind: xlator.KindDuration, Default: defaultHedge, Max: 3600},
	{Key: "background-self-heal-count", Kind: xlator.KindInt, Default: "8", Max: 256, Ignored: healing},
	{Key: "heal-wait-queue-length", Kind: xlator.KindInt, Default: "128", Max: 10000, Ignored: healing},
	{Key: "data-self-heal", Default: "off", OneOf: onOff, Ignored: healing},
	{Key: "metadata-self-heal", Kind: xlator.KindBool, Default: "off", Ignored: healing},
	{Key: "entry-self-heal", Kind: xlator.KindBool, Default: "off", Ignored: healing},
	{Key: "data-self-heal-algorithm", OneOf: []string{"diff", "full"}, Ignored: healing},
	{Key: "data-self-heal-window-size", Kind: xlator.KindInt, Default: "8", Min: 1, Max: 1024, Ignored: wholeSize},
	{Key: "data-change-log", Kind: xlator.KindBool, Default: "on", Ignored: nowhere},
	{Key: "metadata-change-log", Kind: xlator.KindBool, Default: "on", Ignored: nowhere},
	{Key: "entry-change-log", Kind: xlator.KindBool, Default: "on", Ignored: nowhere},
	{Key: "optimistic-change-log", Kind: xlator.KindBool, Default: "on"},
	{Key: "pre-op-compat", Kind: xlator.KindBool, Default: "on", Ignored: oneXattr},
	{Key: "use-compound-fops", Kind: xlator.KindBool, Default: "off", Ignored: nowhere},
	{Key: "eager-lock", Kind: xlator.KindBool, Default: "on"},
	{Key: "full-lock", Kind: xlator.KindBool, Default: "yes"},
	{Key: "post-op-delay-secs", Kind: xlator.KindInt, Default: "1", Max: 1<<31 - 1},
	{Key: "ensure-durability", Kind: xlator.KindBool, Default: "on"},
	{Key: "quorum-type", Default: "none", OneOf: []string{"none", "auto", "fixed"}},
	{Key: "quorum-count", Kind: xlator.KindInt, Default: "0", Max: maxChildren},
	{Key: "quorum-reads", Kind: xlator.KindBool, Default: "no", Ignored: nowhere},
	{Key: "consistent-metadata", Kind: xlator.KindBool, Default: "no"},
	{Key: "consistent-io", Kind: xlator.KindBool, Default: "no"},
	{Key: "favorite-child-policy", Default: "none", OneOf: []string{"none", "size", "ctime", "mtime", "majority"}},
	{Key: "granular-entry-heal", Kind: xlator.KindBool, Default: "no"},
	{Key: "use-anonymous-inode", Kind: xlator.KindBool, Default: "no"},
	{Key: "volume-id"},
	{Key: "afr-pending-xattr"},
	{Key: "afr-dirty-xattr", Default: "trusted.afr.dirty"},
	{Key: "arbiter-count", Kind: xlator.KindInt, Default: "0", Max: 1},
	{Key: "thin-arbiter"},
	{Key: "locking-scheme", Default: "full", OneOf: []string{"full", "granular"}, Ignored: nowhere},
	{Key: "metadata-splitbrain-forced-heal", Kind: xlator.KindBool, Default: "off", Ignored: healing},
	{Key: "self-heal-daemon", Kind: xlator.KindBool, Default: "on", Ignored: healer},
	{Key: "iam-self-heal-daemon", Kind: xlator.KindBool, Default: "off"},
	{Key: "iam-nfs-daemon", Kind: xlator.KindBool, Default: "off", Ignored: halo},
	{Key: "heal-timeout", Kind: xlator.KindInt, Default: "600", Min: 5, Ignored: healer},
	{Key: "shd-max-threads", Kind: xlator.KindInt, Default: "1", Min: 1, Max: 64, Ignored: healer},
	{Key: "shd-wait-qlength", Kind: xlator.KindInt, Default: "1024", Min: 1, Max: 655536, Ignored: healer},
	{Key: "node-uuid", Ignored: healer},
	{Key: "halo-enabled", Kind: xlator.KindBool, Default: "off", Ignored: halo},
	{Key: "halo-max-latency", Kind: xlator.KindInt, Default: "5", Min: 1, Max: 99999, Ignored: halo},
	{Key: "halo-shd-max-latency", Kind: xlator.KindInt, Default: "99999", Min: 1, Max: 99999, Ignored: halo},
	{Key: "halo-nfsd-max-latency", Kind: xlator.KindInt, Default: "5", Min: 1, Max: 99999, Ignored: halo},
	{Key: "halo-min-replicas", Kind: xlator.KindInt, Default: "2", Min: 1, Max: 99999, Ignored: halo},
	{Key: "halo-max-replicas", Kind: xlator.KindInt, Default: "99999", Min: 1, Max: 99999, Ignored: halo},
	{Key: "pass-through", Kind: xlator.KindBool, Default: "off", Ignored: nowhere},
}

// config is the options that can change while running.
type config struct {
	quorum             quorum
	consistentIO       bool
	consistentMetadata bool

	forced      int // child to read from, -1 for none
	hashMode    int
	chooseLocal bool
	favorite    string // policy, "" for none
	hedge       time.Duration

	optimistic  bool
	eager       bool
	fullLock    bool
	durable     bool
	granular    bool
	postOpDelay time.Duration

	clientHeals bool // some kind of heal is asked of clients
}

func (r *replicate) parse(o xlator.Options) (*config, error) {
	c := &config{
		consistentMetadata: o.Bool("consistent-metadata", false),
		forced:             -1,
		hashMode:           int(o.Int("read-hash-mode", 1)),
		chooseLocal:        o.Bool("choose-local", true),
		favorite:           o.String("favorite-child-policy", "none"),
		optimistic:         o.Bool("optimistic-change-log", true),
		eager:              o.Bool("eager-lock", true),
		fullLock:           o.Bool("full-lock", true),
		durable:            o.Bool("ensure-durability", true),
		granular:           o.Bool("granular-entry-heal", false),
		postOpDelay:        time.Duration(o.Int("post-op-delay-secs", 1)) * time.Second,
	}
	if c.favorite == "none" {
		c.favorite = ""
	}
	for _, key := range []string{"data-self-heal", "metadata-self-heal", "entry-self-heal"} {
		c.clientHeals = c.clientHeals || o.Bool(key, false)
	}
	def, _ := xlator.ParseDuration(defaultHedge)
	c.hedge = o.Duration("hedge-delay", def)
	var err error
	if c.quorum, err = parseQuorum(o, r.n); err != nil {
		return nil, err
	}
	// As in GlusterFS, which cannot have both.
	c.consistentIO = o.Bool("consistent-io", false) && !c.quorum.on()
	if name := o.String("read-subvolume", ""); name != "" {
		if c.forced = r.childNamed(name); c.forced < 0 {
			return nil, fmt.Errorf("option read-subvolume: %q is no subvolume of %s: %w", name, r.name, syscall.EINVAL)
		}
	}
	if i := int(o.Int("read-subvolume-index", -1)); i >= 0 {
		if i >= r.n {
			return nil, fmt.Errorf("option read-subvolume-index: %d, but %s has %d subvolumes: %w", i, r.name, r.n, syscall.EINVAL)
		}
		c.forced = i
	}
	return c, nil
}

func parseQuorum(o xlator.Options, n int) (quorum, error) {
	q := quorum{n: n, count: int(o.Int("quorum-count", 0))}
	kind, set := o["quorum-type"]
	switch {
	case kind == "auto" || !set && n > 2:
		q.kind = quorumAuto
	case kind == "fixed":
		q.kind = quorumFixed
		if q.count > n {
			return q, fmt.Errorf("option quorum-count: %d, but there are %d subvolumes: %w", q.count, n, syscall.EINVAL)
		}
	}
	return q, nil
}

// pendingKeys are the xattrs in which bricks count what each child missed. They
// are named in the volfile, so that a brick that was replaced keeps its key.
func pendingKeys(o xlator.Options, names []string) []string {
	items := strings.Split(o.String("afr-pending-xattr", ""), ",")
	if len(items) != len(names) {
		items = names
	}
	keys := make([]string, len(items))
	for i, s := range items {
		keys[i] = "trusted.afr." + strings.TrimSpace(s)
	}
	return keys
}
