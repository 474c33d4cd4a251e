package fuse

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

// groups finds the supplementary groups of those who ask, and remembers them
// for a while. The kernel's requests name the process, its user and its group.
type groups struct {
	timeout time.Duration
	resolve bool // from the system's database, not from the process

	mu   sync.RWMutex
	seen map[groupKey]groupEntry
}

type groupKey struct {
	pid uint32 // 0 with resolve
	fuse.Owner
}

type groupEntry struct {
	at  time.Time
	ids []uint32
}

// groupEntries bounds what is remembered.
const groupEntries = 4096

func newGroups(timeout time.Duration, resolve bool) *groups {
	return &groups{timeout: timeout, resolve: resolve, seen: make(map[groupKey]groupEntry)}
}

// of returns the groups of a caller. Root needs none: bricks ask for them only
// where modes and ACLs decide. Neither has the kernel itself, as pid 0.
func (g *groups) of(c *fuse.Caller) []uint32 {
	if c.Uid == 0 || c.Pid == 0 && !g.resolve {
		return nil
	}
	key := groupKey{pid: c.Pid, Owner: c.Owner}
	if g.resolve {
		key.pid = 0
	}
	now := time.Now()
	g.mu.RLock()
	e, ok := g.seen[key]
	g.mu.RUnlock()
	if ok && now.Sub(e.at) < g.timeout {
		return e.ids
	}
	var ids []uint32
	if g.resolve {
		ids, ok = resolveGroups(c.Uid)
	} else {
		ids, ok = processGroups(c.Pid)
	}
	if !ok || g.timeout == 0 {
		return ids
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.seen) >= groupEntries {
		for k, e := range g.seen {
			if now.Sub(e.at) >= g.timeout || len(g.seen) >= groupEntries {
				delete(g.seen, k)
			}
		}
	}
	g.seen[key] = groupEntry{at: now, ids: ids}
	return ids
}

// drop has the groups of a caller read anew.
func (g *groups) drop(c *fuse.Caller) {
	key := groupKey{pid: c.Pid, Owner: c.Owner}
	if g.resolve {
		key.pid = 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.seen, key)
}

// regroup repeats a fop that was refused if the caller is in other groups by
// now than those that were remembered: a process changes them when it likes. That
// it may do too much with old ones the kernel prevents, which checks permissions
// itself.
type regroup struct {
	next   fop.Handler
	groups *groups
}

func (r regroup) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	reply, err := r.next.Do(ctx, req)
	if err == nil {
		return reply, nil
	}
	c := &req.Head().Cred
	if c.UID == 0 || c.PID <= 0 {
		return reply, err
	}
	if e := fop.Errno(err); e != syscall.EACCES && e != syscall.EPERM {
		return reply, err
	}
	caller := fuse.Caller{Owner: fuse.Owner{Uid: c.UID, Gid: c.GID}, Pid: uint32(c.PID)}
	r.groups.drop(&caller)
	now := r.groups.of(&caller)
	if slices.Equal(now, c.Groups) {
		return reply, err
	}
	c.Groups = now
	return r.next.Do(ctx, req)
}

// Start is for those who send several fops at once; none of them is repeated.
func (r regroup) Start(ctx context.Context, req fop.Request) fop.Pending {
	return fop.Start(ctx, r.next, req)
}

// processGroups reads the groups of a thread from /proc. It is not ok if the
// thread is gone.
func processGroups(pid uint32) (ids []uint32, ok bool) {
	var buf [4096]byte
	f, err := os.Open("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b := buf[:0]
	for {
		n, err := f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if n == 0 || err != nil {
			break
		}
		if len(b) == cap(b) {
			b = slices.Grow(b, cap(b))
		}
	}
	return parseGroups(b)
}

// parseGroups finds the line "Groups:" of /proc/PID/status.
func parseGroups(status []byte) (ids []uint32, ok bool) {
	_, rest, ok := bytes.Cut(status, []byte("\nGroups:"))
	if !ok {
		return nil, false
	}
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	return parseIDs(line), true
}

func parseIDs(line []byte) (ids []uint32) {
	for w := range bytes.FieldsSeq(line) {
		if id, err := strconv.ParseUint(string(w), 10, 32); err == nil {
			ids = append(ids, uint32(id))
		}
	}
	return ids
}

// resolveGroups asks id(1), which knows every source of groups that the system
// is set up for, and where there is none, /etc/group.
func resolveGroups(uid uint32) (ids []uint32, ok bool) {
	name := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(name)
	if err == nil {
		name = u.Username
	}
	if out, err := exec.Command("id", "-G", "--", name).Output(); err == nil {
		return parseIDs(out), true
	}
	if u == nil {
		return nil, false
	}
	all, err := u.GroupIds()
	if err != nil {
		return nil, false
	}
	for _, s := range all {
		ids = append(ids, parseIDs([]byte(s))...)
	}
	return ids, true
}
