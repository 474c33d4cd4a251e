package paths

import (
	"slices"
	"sync"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// Cache remembers for a short time where directories and symbolic links
// are, so that a path does not cost a round trip per element. It forgets by
// time, by our own changes, by notices from bricks and when something turns out
// to be gone. Who may pass a directory is the servers' decision: an entry counts
// only for those credentials with which it was looked up.
type Cache struct {
	ttl time.Duration
	// Now tells the time; tests set it.
	Now func() time.Time

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
	entries map[string]Entry
	// fresh counts how often in a row a name that was to be created was new.
	fresh int
}

// Entry is where a directory or symbolic link is.
type Entry struct {
	GFID    fop.GFID
	Link    bool   // a symbolic link
	Target  string // of a link
	expires time.Time
	creds   []int // who has looked it up
}

// NewCache returns a cache that believes what it knows for ttl; 0: not at all.
func NewCache(ttl time.Duration) *Cache {
	return &Cache{ttl: ttl, Now: time.Now, dirs: map[fop.GFID]*knownDir{}, where: map[fop.GFID]spot{}}
}

// On reports whether the cache remembers anything.
func (c *Cache) On() bool { return c.ttl > 0 }

// Get returns what is known, and the epoch to give to Put.
func (c *Cache) Get(dir fop.GFID, name string, cred int) (e Entry, ok bool, epoch uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if d := c.dirs[dir]; d != nil {
		e, ok = d.entries[name]
		ok = ok && slices.Contains(e.creds, cred) && c.Now().Before(e.expires)
	}
	return e, ok, c.epoch
}

// Put remembers an entry unless anything was dropped since epoch.
func (c *Cache) Put(dir fop.GFID, name string, cred int, epoch uint64, e Entry) {
	if c.ttl <= 0 {
		return
	}
	now := c.Now()
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
	} else if old.GFID == e.GFID && now.Before(old.expires) && !slices.Contains(old.creds, cred) {
		e.expires, e.creds = old.expires, append(slices.Clip(old.creds), cred)
	}
	d.entries[name] = e
	c.where[e.GFID] = spot{dir, name}
}

// dir returns the record of a directory; c.mu is held.
func (c *Cache) dir(g fop.GFID) *knownDir {
	d := c.dirs[g]
	if d == nil {
		if len(c.dirs) >= maxEntries {
			clear(c.dirs)
			clear(c.where)
			c.count = 0
		}
		d = &knownDir{entries: map[string]Entry{}}
		c.dirs[g] = d
	}
	return d
}

// Epoch is what to give to Put for something that is going to be asked now.
func (c *Cache) Epoch() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

// Drop forgets a name.
func (c *Cache) Drop(dir fop.GFID, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.dropLocked(dir, name)
}

func (c *Cache) dropLocked(dir fop.GFID, name string) {
	if d := c.dirs[dir]; d != nil {
		if e, ok := d.entries[name]; ok {
			delete(d.entries, name)
			delete(c.where, e.GFID)
			c.count--
		}
	}
}

// Changed hears that somebody else changed an object.
func (c *Cache) Changed(g fop.GFID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	if s, ok := c.where[g]; ok {
		c.dropLocked(s.dir, s.name)
	}
	if d := c.dirs[g]; d != nil {
		for _, e := range d.entries {
			delete(c.where, e.GFID)
		}
		c.count -= len(d.entries)
		delete(c.dirs, g)
	}
}

// ExpectNew reports whether a name that is about to be created in dir is most
// likely new. It is a guess from what happened there lately: with it, creating
// many files in one directory costs no LOOKUP each.
func (c *Cache) ExpectNew(dir fop.GFID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.dirs[dir]
	return d != nil && d.fresh >= 2
}

// SawNew tells whether a name that was created was new.
func (c *Cache) SawNew(dir fop.GFID, isNew bool) {
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

// IsEmpty tells that a directory was just made: what is created in it is new.
func (c *Cache) IsEmpty(dir fop.GFID) {
	c.SawNew(dir, true)
	c.SawNew(dir, true)
}
