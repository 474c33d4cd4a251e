package mem

import (
	"context"
	"slices"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// lockTable has the posix locks of all files. Its lock is never held together
// with FS.mu.
type lockTable struct {
	mu      sync.Mutex
	locks   map[fop.GFID][]held
	changed chan struct{} // closed and replaced whenever a lock goes
}

// holder is whose a lock is.
type holder struct {
	from  *fop.Client
	owner string
}

// held is one lock on [start, end].
type held struct {
	holder
	fd         *fop.Fd
	typ        uint32
	start, end uint64
	pid        uint32
}

func (t *lockTable) init() {
	t.locks = map[fop.GFID][]held{}
	t.changed = make(chan struct{})
}

// wake lets those who wait look again. t.mu is held.
func (t *lockTable) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *lockTable) drop(match func(held) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for g, list := range t.locks {
		t.put(g, slices.DeleteFunc(list, match))
	}
	t.wake()
}

func (t *lockTable) put(g fop.GFID, list []held) {
	if len(list) == 0 {
		delete(t.locks, g)
	} else {
		t.locks[g] = list
	}
}

func (t *lockTable) dropFd(fd *fop.Fd) { t.drop(func(l held) bool { return l.fd == fd }) }

func (t *lockTable) disconnect(c *fop.Client) { t.drop(func(l held) bool { return l.from == c }) }

func (t *lockTable) dropOwner(g fop.GFID, h holder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(g, slices.DeleteFunc(t.locks[g], func(l held) bool { return l.holder == h }))
	t.wake()
}

// conflict finds a lock that stands in the way of l.
func (t *lockTable) conflict(g fop.GFID, l held) (held, bool) {
	for _, o := range t.locks[g] {
		if o.holder != l.holder && o.start <= l.end && l.start <= o.end && (o.typ == fop.LockWrite || l.typ == fop.LockWrite) {
			return o, true
		}
	}
	return held{}, false
}

// set replaces what the holder of l has of its range.
func (t *lockTable) set(g fop.GFID, l held) {
	var out []held
	for _, o := range t.locks[g] {
		if o.holder != l.holder || o.end < l.start || l.end < o.start {
			out = append(out, o)
			continue
		}
		if o.typ == l.typ {
			l.start, l.end = min(l.start, o.start), max(l.end, o.end)
			continue
		}
		if o.start < l.start {
			left := o
			left.end = l.start - 1
			out = append(out, left)
		}
		if l.end < o.end {
			right := o
			right.start = l.end + 1
			out = append(out, right)
		}
	}
	if l.typ != fop.LockUnlock {
		out = append(out, l)
	}
	t.put(g, out)
	t.wake()
}

func (l held) flock() fop.Flock {
	f := fop.Flock{Type: l.typ, Start: l.start, Len: l.end - l.start + 1, PID: l.pid, Owner: l.owner}
	if l.end == maxSize {
		f.Len = 0
	}
	return f
}

func (m *FS) lk(ctx context.Context, r *fop.Lk) (*fop.LkReply, error) {
	m.mu.RLock()
	n, err := m.anonymous(r.GFID, r.Fd)
	m.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	f := r.Flock
	owner := r.Cred.Owner
	if owner == "" {
		owner = f.Owner
	}
	switch {
	case f.Type > fop.LockUnlock || f.Start > maxSize:
		return nil, syscall.EINVAL
	case int64(f.Len) < 0:
		size := uint64(-int64(f.Len))
		if size > f.Start {
			return nil, syscall.EINVAL
		}
		f.Start, f.Len = f.Start-size, size
	}
	l := held{holder{r.From, owner}, r.Fd, f.Type, f.Start, maxSize, f.PID}
	if f.Len != 0 && f.Len-1 <= maxSize-f.Start {
		l.end = f.Start + f.Len - 1
	}
	t := &m.locks
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r.Cmd {
	case fop.LkGet:
		reply := &fop.LkReply{Flock: r.Flock}
		reply.Flock.Type = fop.LockUnlock
		if o, ok := t.conflict(n.gfid, l); ok {
			reply.Flock = o.flock()
		}
		return reply, nil
	case fop.LkSet, fop.LkSetWait:
	default:
		return nil, syscall.ENOTSUP
	}
	for l.typ != fop.LockUnlock {
		if _, ok := t.conflict(n.gfid, l); !ok {
			break
		}
		if r.Cmd == fop.LkSet {
			return nil, syscall.EAGAIN
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
			t.mu.Lock()
		case <-ctx.Done():
			t.mu.Lock()
			return nil, ctx.Err()
		}
	}
	t.set(n.gfid, l)
	return &fop.LkReply{Flock: r.Flock}, nil
}

func (m *FS) getactivelk(r *fop.Getactivelk) (*fop.GetactivelkReply, error) {
	m.mu.RLock()
	_, err := m.anonymous(r.GFID, nil)
	m.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	m.locks.mu.Lock()
	defer m.locks.mu.Unlock()
	reply := &fop.GetactivelkReply{}
	for _, l := range m.locks.locks[r.GFID] {
		info := fop.LockInfo{Flock: l.flock()}
		if l.from != nil {
			info.ClientUID = l.from.ID
		}
		reply.Locks = append(reply.Locks, info)
	}
	return reply, nil
}
