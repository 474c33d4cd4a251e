package replicate

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// metadataStart is where the lock of a change of attributes begins; it goes to
// the end. A lock on the data from 0 to the end covers it.
const metadataStart = math.MaxInt64 - 1

// lockee is one thing to lock: the bytes of an object, a name in a directory, or
// with an empty name the whole directory.
type lockee struct {
	gfid fop.GFID
	name string
	on   set // where the lock is held
}

// sortLockees brings lockees into the order in which every client locks: by GFID,
// and a whole directory before its names.
func sortLockees(all []lockee) {
	slices.SortFunc(all, func(a, b lockee) int {
		if c := bytes.Compare(a.gfid[:], b.gfid[:]); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
}

// locking is what a transaction locks, and on whose behalf.
type locking struct {
	head  fop.Header // with the owner of the locks
	fd    *fop.Fd
	entry bool // entrylks, otherwise inodelks
	loc   bool // inodelks by GFID and not by open file
	// The range of an inodelk; a length of 0 is to the end.
	start, length uint64

	lockees  [3]lockee
	nlockees int
}

// list returns the things to lock.
func (l *locking) list() []lockee { return l.lockees[:l.nlockees] }

func (l *locking) add(g fop.GFID, name string) {
	l.lockees[l.nlockees] = lockee{gfid: g, name: name}
	l.nlockees++
}

// held are the children on which everything is locked.
func (l *locking) held() set {
	s := ^set(0)
	for i := range l.list() {
		s &= l.lockees[i].on
	}
	return s
}

// owners counts the lock owners of this process.
var owners atomic.Uint64

// newOwner makes an owner of locks: 8 bytes that no other transaction on the
// same connections has.
func newOwner() string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], 1<<46|owners.Add(1)<<4)
	return string(b[:])
}

type lockCmd int

const (
	lockTry lockCmd = iota
	lockWait
	lockFree
)

// request makes the request that locks or unlocks one thing.
func (r *replicate) lockRequest(l *locking, e *lockee, cmd lockCmd) fop.Request {
	if l.entry {
		q := &fop.Entrylk{Header: l.head, GFID: e.gfid, Type: fop.LockWrite, Name: e.name, Domain: r.name}
		q.Cmd = [...]uint32{fop.EntrylkTry, fop.EntrylkLock, fop.EntrylkFree}[cmd]
		if e.name != "" {
			q.NameLen = 1
		}
		return q
	}
	f := fop.Flock{Type: fop.LockWrite, Start: l.start, Len: l.length}
	c := uint32(fop.LkSet)
	switch cmd {
	case lockWait:
		c = fop.LkSetWait
	case lockFree:
		f.Type = fop.LockUnlock
	}
	if l.loc {
		return &fop.Inodelk{Header: l.head, GFID: e.gfid, Cmd: c, Type: f.Type, Flock: f, Domain: r.name}
	}
	return &fop.Finodelk{Header: l.head, GFID: e.gfid, Fd: l.fd, Cmd: c, Type: f.Type, Flock: f, Domain: r.name}
}

// maxLockTries bounds how often what a name stands for may change under a fop.
const maxLockTries = 8

// lock locks everything on all children of up that can: first all at once
// without waiting; if somebody else is there, one after the other in the common
// order, waiting. find, if set, finds one more thing to lock; it runs while the
// first locks are under way. Where only some children could be locked, why is
// what another one said.
func (r *replicate) lock(ctx context.Context, l *locking, up set, find func() (fop.GFID, bool)) (why, err error) {
	named := 0
	for k := range l.list() {
		if l.lockees[k].name != "" {
			named++
		}
	}
	first := find
	if named < l.nlockees {
		first = nil // the caller knew
	}
	busy, err := r.lockAtOnce(l, up, first)
	for try := 0; ; try++ {
		if busy {
			r.unlock(l)
			err = r.lockInTurn(ctx, l, up)
			if cause := context.Cause(ctx); cause != nil && err != nil {
				r.unlock(l)
				return nil, fmt.Errorf("%s: wait for a lock: %w", r.name, cause)
			}
		}
		if find == nil || try == maxLockTries || !busy && !gone(err) {
			break
		}
		// What was found was gone by the time it could be locked, or may have
		// been. The name is locked now: what it stands for stays.
		if busy = r.relock(l, named, up, find, &err); !busy {
			break
		}
	}
	if l.held() != 0 {
		return err, nil
	}
	r.unlock(l)
	if err == nil {
		err = fmt.Errorf("%s: lock: no copy is reachable: %w", r.name, syscall.ENOTCONN)
	}
	return nil, err
}

func gone(err error) bool {
	e := fop.Errno(err)
	return e == syscall.ENOENT || e == syscall.ESTALE
}

// lockAtOnce tries to lock everything without waiting, and reports whether
// somebody has some of it.
func (r *replicate) lockAtOnce(l *locking, up set, find func() (fop.GFID, bool)) (busy bool, err error) {
	sortLockees(l.list())
	var waits [3][maxChildren]fop.Pending
	for k := range l.list() {
		if e := &l.lockees[k]; e.on == 0 { // not adopted
			r.start(context.Background(), up, r.lockRequest(l, e, lockTry), &waits[k])
		}
	}
	var more fop.GFID
	var found bool
	if find != nil {
		more, found = find()
	}
	for k := range l.list() {
		busy = r.gotLocks(&l.lockees[k], up, &waits[k], &err) || busy
	}
	if found {
		busy = r.addLock(l, more, up, busy, &err)
	}
	return busy, err
}

// addLock adds a directory to what is locked. Unless somebody is in the way
// already, it tries to lock it.
func (r *replicate) addLock(l *locking, g fop.GFID, up set, busy bool, err *error) bool {
	l.add(g, "")
	if k := l.nlockees - 1; !busy {
		var waits [maxChildren]fop.Pending
		r.start(context.Background(), up, r.lockRequest(l, &l.lockees[k], lockTry), &waits)
		busy = r.gotLocks(&l.lockees[k], up, &waits, err)
	}
	sortLockees(l.list())
	return busy
}

// relock looks again what the locked name stands for, and locks that instead of
// what was found before. It reports whether somebody has it.
func (r *replicate) relock(l *locking, named int, up set, find func() (fop.GFID, bool), err *error) (busy bool) {
	g, found := find()
	extra := -1
	for k := range l.list() {
		if l.lockees[k].name == "" {
			extra = k
		}
	}
	if extra < 0 && !found || extra >= 0 && found && l.lockees[extra].gfid == g {
		return false
	}
	if extra >= 0 {
		*err = nil
		old := locking{head: l.head, entry: true, nlockees: 1}
		old.lockees[0] = l.lockees[extra]
		r.unlock(&old)
		copy(l.lockees[extra:], l.lockees[extra+1:])
		l.nlockees = named
	}
	if found {
		return r.addLock(l, g, up, false, err)
	}
	return false
}

// start sends one request to the children of a set.
func (r *replicate) start(ctx context.Context, to set, req fop.Request, waits *[maxChildren]fop.Pending) {
	for i := range to.each {
		waits[i] = fop.Start(ctx, r.children[i].Handler, req)
	}
}

// gotLocks waits for locks on one thing and reports whether somebody has it.
func (r *replicate) gotLocks(e *lockee, up set, waits *[maxChildren]fop.Pending, err *error) (busy bool) {
	for i := range up.each {
		if waits[i] == nil {
			continue
		}
		_, e2 := waits[i].Wait()
		switch {
		case e2 == nil:
			e.on = e.on.with(i)
		case fop.Errno(e2) == syscall.EAGAIN:
			busy = true
		default:
			*err = e2
		}
	}
	return busy
}

// lockInTurn locks one thing after the other, each on one child after the other,
// and waits wherever somebody else is. As all clients do so in the same order,
// nobody waits in a circle.
func (r *replicate) lockInTurn(ctx context.Context, l *locking, up set) (err error) {
	for k := range l.list() {
		e := &l.lockees[k]
		req := r.lockRequest(l, e, lockWait)
		for i := range up.each {
			_, e2 := r.children[i].Handler.Do(ctx, req)
			if e2 == nil {
				e.on = e.on.with(i)
				continue
			}
			err = e2
			if ctx.Err() != nil || fop.Errno(e2) == syscall.ENOSYS {
				r.unlock(l)
				return err
			}
		}
	}
	return err
}

// unlock gives back what is locked. A child that does not answer drops the locks
// with the connection.
func (r *replicate) unlock(l *locking) {
	var waits [3][maxChildren]fop.Pending
	for k := range l.list() {
		if e := &l.lockees[k]; e.on != 0 {
			r.start(context.Background(), e.on, r.lockRequest(l, e, lockFree), &waits[k])
		}
	}
	for k := range l.list() {
		e := &l.lockees[k]
		for i := range e.on.each {
			if _, err := waits[k][i].Wait(); err != nil && !lost(fop.Errno(err)) {
				r.log.Debug("unlock failed", "child", r.children[i].Name, "gfid", e.gfid, "name", e.name, "err", err)
			}
		}
		e.on = 0
	}
}
