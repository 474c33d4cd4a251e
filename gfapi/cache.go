package gfapi

import (
	"slices"
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// entryCache remembers for a short time where directories and symbolic links
// are, so that a path does not cost a round trip per element. It forgets by
// time, by our own changes, by notices from bricks and when something turns out
// to be gone. Who may pass a directory is the servers' decision: an entry counts
// only for those credentials with which it was looked up.
type entryCache struct {
	ttl time.Duration
	now func() time.Time

	mu    sync.RWMutex
	epoch uint64 // counts what was dropped
	dirs  map[fop.GFID]*knownDir
	where map[fop.GFID]spot // the entry of a directory or link
	count int
}

// maxEntries bounds the cache; beyond it, it starts anew.
const maxEntries = 1 << 16

type spot struct {
	dir  fop.GFID
	name string
}

// knownDir is what is known of one directory.
type knownDir struct {
	entries map[string]entry
	// fresh counts how often in a row a name that was to be created was new.
	fresh int
}

type entry struct {
	gfid    fop.GFID
	link    bool
	target  string // of a link
	expires time.Time
	creds   []int // who has looked it up
}

func newEntryCache(ttl time.Duration) *entryCache {
	return &entryCache{ttl: ttl, now: time.Now, dirs: map[fop.GFID]*knownDir{}, where: map[fop.GFID]spot{}}
}

// get returns what is known, and the epoch to give to put.
func (c *entryCache) get(dir fop.GFID, name string, cred int) (e entry, ok bool, epoch uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if d := c.dirs[dir]; d != nil {
		e, ok = d.entries[name]
		ok = ok && slices.Contains(e.creds, cred) && c.now().Before(e.expires)
	}
	return e, ok, c.epoch
}

// put remembers an entry unless anything was dropped since epoch.
func (c *entryCache) put(dir fop.GFID, name string, cred int, epoch uint64, e entry) {
	if c.ttl <= 0 {
		return
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if c.count >= maxEntries {
		clear(c.dirs)
		clear(c.where)
		c.count = 0
	}
	d := c.dir(dir)
	old, there := d.entries[name]
	e.expires, e.creds = now.Add(c.ttl), []int{cred}
	if !there {
		c.count++
	} else if old.gfid == e.gfid && now.Before(old.expires) && !slices.Contains(old.creds, cred) {
		e.expires, e.creds = old.expires, append(slices.Clip(old.creds), cred)
	}
	d.entries[name] = e
	c.where[e.gfid] = spot{dir, name}
}

// dir returns the record of a directory; c.mu is held.
func (c *entryCache) dir(g fop.GFID) *knownDir {
	d := c.dirs[g]
	if d == nil {
		if len(c.dirs) >= maxEntries {
			clear(c.dirs)
			clear(c.where)
			c.count = 0
		}
		d = &knownDir{entries: map[string]entry{}}
		c.dirs[g] = d
	}
	return d
}

func (c *entryCache) currentEpoch() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

// drop forgets a name.
func (c *entryCache) drop(dir fop.GFID, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.dropLocked(dir, name)
}

func (c *entryCache) dropLocked(dir fop.GFID, name string) {
	if d := c.dirs[dir]; d != nil {
		if e, ok := d.entries[name]; ok {
			delete(d.entries, name)
			delete(c.where, e.gfid)
			c.count--
		}
	}
}

// changed hears that somebody else changed an object.
func (c *entryCache) changed(g fop.GFID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	if s, ok := c.where[g]; ok {
		c.dropLocked(s.dir, s.name)
	}
	if d := c.dirs[g]; d != nil {
		for _, e := range d.entries {
			delete(c.where, e.gfid)
		}
		c.count -= len(d.entries)
		delete(c.dirs, g)
	}
}

// expectNew reports whether a name that is about to be created in dir is most
// likely new. It is a guess from what happened there lately: with it, creating
// many files in one directory costs no LOOKUP each.
func (c *entryCache) expectNew(dir fop.GFID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.dirs[dir]
	return d != nil && d.fresh >= 2
}

// sawNew tells whether a name that was created was new.
func (c *entryCache) sawNew(dir fop.GFID, isNew bool) {
	if c.ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dir(dir)
	if !isNew {
		d.fresh = 0
	} else if d.fresh < 2 {
		d.fresh++
	}
}

// isEmpty tells that a directory was just made: what is created in it is new.
func (c *entryCache) isEmpty(dir fop.GFID) {
	c.sawNew(dir, true)
	c.sawNew(dir, true)
}
