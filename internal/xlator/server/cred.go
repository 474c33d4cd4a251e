package server

import (
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// squash says which identities of clients are replaced by an anonymous one.
type squash struct {
	root, all        bool
	anonUID, anonGID uint32
}

const defaultAnon = 65534

func newSquash(opt xlator.Options) squash {
	return squash{
		root:    opt.Bool("root-squash", false),
		all:     opt.Bool("all-squash", false),
		anonUID: uint32(opt.Int("anonuid", defaultAnon)),
		anonGID: uint32(opt.Int("anongid", defaultAnon)),
	}
}

// exempt reports whether a trusted client's process is one of the cluster's
// own, which keep their identity.
func exempt(pid int32) bool {
	switch pid {
	case fop.PIDNoRootSquash, fop.PIDGsyncd, fop.PIDRebalance, fop.PIDSelfHeal, fop.PIDQuotaMount:
		return true
	}
	return false
}

// pidNFS is the pid under which GlusterFS's own NFS server sends requests.
const pidNFS = 1

// apply replaces what is to be replaced in c, which belongs to the caller.
func (q *squash) apply(c *fop.Cred, trusted bool) {
	if !q.root && !q.all {
		return
	}
	if trusted && c.PID != pidNFS && exempt(c.PID) {
		return
	}
	if q.all || c.UID == 0 {
		c.UID = q.anonUID
	}
	if q.all || c.GID == 0 {
		c.GID = q.anonGID
	}
	for i, g := range c.Groups {
		if g == 0 {
			c.Groups[i] = q.anonGID
		}
	}
}

// groupCache resolves the supplementary groups of a uid on this machine, for
// manage-gids. The zero groupCache is ready.
type groupCache struct {
	mu      sync.Mutex
	entries map[uint32]groupEntry
	lookup  func(uid uint32) []uint32 // nil: the system's own
}

type groupEntry struct {
	gids    []uint32
	expires time.Time
}

// maxGroupEntries bounds the cache; a flood of uids empties it.
const maxGroupEntries = 8192

// groups returns the groups of uid, none when the system does not know it. The
// caller must not change the result.
func (g *groupCache) groups(uid uint32, ttl time.Duration) []uint32 {
	now := time.Now()
	g.mu.Lock()
	e, ok := g.entries[uid]
	find := g.lookup
	g.mu.Unlock()
	if ok && now.Before(e.expires) {
		return e.gids
	}
	if find == nil {
		find = systemGroups
	}
	e = groupEntry{gids: find(uid), expires: now.Add(ttl)}
	g.mu.Lock()
	if g.entries == nil || len(g.entries) >= maxGroupEntries {
		g.entries = map[uint32]groupEntry{}
	}
	g.entries[uid] = e
	g.mu.Unlock()
	return e.gids
}

// systemGroups asks the system's user database: without cgo that is /etc/passwd
// and /etc/group.
func systemGroups(uid uint32) []uint32 {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	gids := make([]uint32, 0, len(ids))
	for _, s := range ids {
		if n, err := strconv.ParseUint(s, 10, 32); err == nil {
			gids = append(gids, uint32(n))
		}
	}
	return gids
}
