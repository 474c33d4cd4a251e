package locks

import (
	"slices"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// posixLock is one granted or waiting posix lock.
type posixLock struct {
	owner
	fd          *fop.Fd
	typ         uint32 // fop.LockRead, LockWrite; LockUnlock only while it is applied
	first, last int64
	flags       uint32 // lock flags; flagMandatory is the only known one
	mandatory   bool
	pid         uint32 // as the client said it
	procPID     int32  // of the credential
	at          time.Time
	w           *waiter
}

const flagMandatory = 1

func (l *posixLock) overlaps(m *posixLock) bool { return l.first <= m.last && m.first <= l.last }

func (l *posixLock) conflicts(m *posixLock) bool {
	return l.overlaps(m) && (l.typ == fop.LockWrite || m.typ == fop.LockWrite) && !l.owner.is(m.owner)
}

func (l *posixLock) flock() fop.Flock {
	f := fop.Flock{Type: l.typ, PID: l.pid, Owner: l.id}
	f.Start, f.Len = flockRange(l.first, l.last)
	return f
}

// posixTable holds the posix locks of an object. Granted locks of one owner
// never overlap; their order is that of insertion, and of the answers to LkGet.
type posixTable struct {
	granted []*posixLock
	blocked []*posixLock // first come first
	rev     uint64       // grows whenever granted changes

	// While meta is set the locks move to another brick: new ones are held back.
	meta     *fop.Client
	held     []*posixLock
	exported bool // the locks were listed while meta was set
	migrated bool // the locks live elsewhere now
}

// conflict returns the first granted lock in conflict with l.
func (t *posixTable) conflict(l *posixLock) *posixLock {
	for _, g := range t.granted {
		if g.conflicts(l) {
			return g
		}
	}
	return nil
}

// set is LkSet and LkSetWait. It returns 0 when l is granted or the unlock done,
// EAGAIN when it is refused, or a waiter when wait is true and it must wait.
func (t *posixTable) set(l *posixLock, wait bool) (*waiter, syscall.Errno) {
	if t.migrated {
		return nil, syscall.EREMOTE
	}
	if l.typ == fop.LockUnlock {
		t.insert(l)
		t.grant()
		return nil, 0
	}
	if t.meta != nil {
		l.w = newWaiter()
		t.held = append(t.held, l)
		return l.w, 0
	}
	if t.conflict(l) == nil {
		t.insert(l)
		t.grant() // a downgrade lets others in
		return nil, 0
	}
	if !wait {
		return nil, syscall.EAGAIN
	}
	// Own locks in the way of a waiter are given up, so that two owners that
	// both want to upgrade do not wait for each other for ever.
	t.insert(&posixLock{owner: l.owner, fd: l.fd, typ: fop.LockUnlock, first: l.first, last: l.last})
	t.grant()
	if t.conflict(l) == nil {
		t.insert(l)
		return nil, 0
	}
	l.w = newWaiter()
	t.blocked = append(t.blocked, l)
	return l.w, 0
}

// insert merges l into the granted locks, splitting others of the same owner. A
// LockUnlock only takes away. Neighbours that merely touch stay apart.
func (t *posixTable) insert(l *posixLock) {
	t.rev++
	for i := 0; i < len(t.granted); i++ {
		g := t.granted[i]
		if !g.overlaps(l) || !g.owner.is(l.owner) {
			continue
		}
		t.granted = slices.Delete(t.granted, i, i+1)
		if g.typ == l.typ && g.flags == l.flags {
			l.first, l.last = min(l.first, g.first), max(l.last, g.last)
			i = -1
			continue
		}
		if g.first < l.first {
			left := *g
			left.last = l.first - 1
			t.granted = append(t.granted, &left)
		}
		var right *posixLock
		if g.last > l.last {
			c := *g
			c.first, right = l.last+1, &c
		}
		t.insert(l)
		if right != nil {
			t.granted = append(t.granted, right)
		}
		return
	}
	if l.typ != fop.LockUnlock {
		t.granted = append(t.granted, l)
	}
}

// grant lets in the waiters that can be, first come first.
func (t *posixTable) grant() {
	if len(t.blocked) == 0 {
		return
	}
	waiting := t.blocked
	t.blocked = nil
	for _, l := range waiting {
		if t.conflict(l) != nil {
			t.blocked = append(t.blocked, l)
			continue
		}
		w := l.w
		l.w = nil
		t.insert(l)
		w.answer(0)
	}
}

// preempt takes away every lock of others in conflict with l.
func (t *posixTable) preempt(l *posixLock) {
	t.rev++
	t.granted = slices.DeleteFunc(t.granted, func(g *posixLock) bool { return g.conflicts(l) })
	t.blocked = slices.DeleteFunc(t.blocked, func(b *posixLock) bool {
		if !b.conflicts(l) {
			return false
		}
		b.w.answer(syscall.EBUSY)
		return true
	})
}

// drop removes the granted locks that match without a word, and the waiting ones
// with verdict e. It reports how many of each.
func (t *posixTable) drop(e syscall.Errno, granted, blocked func(*posixLock) bool) (ng, nb int) {
	n := len(t.granted)
	t.rev++
	if granted != nil {
		t.granted = slices.DeleteFunc(t.granted, granted)
	}
	ng = n - len(t.granted)
	if blocked != nil {
		refuse := func(l *posixLock) bool {
			if !blocked(l) {
				return false
			}
			l.w.answer(e)
			nb++
			return true
		}
		t.blocked = slices.DeleteFunc(t.blocked, refuse)
		t.held = slices.DeleteFunc(t.held, refuse)
	}
	if ng+nb > 0 {
		t.grant()
	}
	return ng, nb
}

// cancel forgets a waiter that gave up. It reports false if its verdict came
// first.
func (t *posixTable) cancel(w *waiter) bool {
	mine := func(l *posixLock) bool { return l.w == w }
	n := len(t.blocked) + len(t.held)
	t.blocked = slices.DeleteFunc(t.blocked, mine)
	t.held = slices.DeleteFunc(t.held, mine)
	return len(t.blocked)+len(t.held) < n
}

// replay tries the locks that were held back during a migration that came to
// nothing.
func (t *posixTable) replay() {
	held := t.held
	t.held, t.meta, t.exported = nil, nil, false
	for _, l := range held {
		if t.conflict(l) == nil {
			w := l.w
			l.w = nil
			t.insert(l)
			w.answer(0)
		} else {
			t.blocked = append(t.blocked, l)
		}
	}
}
