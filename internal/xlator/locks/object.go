package locks

import (
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// owner is the identity that decides whether two locks are in conflict.
type owner struct {
	client *fop.Client
	id     string
	// uid stands for client in a lock that came by Setactivelk, until the
	// client uses it.
	uid string
}

func (a owner) is(b owner) bool {
	if a.id != b.id {
		return false
	}
	if a.client == b.client {
		return a.client != nil || a.uid == b.uid
	}
	return a.client == nil && a.uid != "" && a.uid == b.client.ID ||
		b.client == nil && b.uid != "" && b.uid == a.client.ID
}

// waiter is a request that waits. Its verdict is given once, under the lock of
// the shard, and never blocks.
type waiter struct{ verdict chan syscall.Errno }

func newWaiter() *waiter { return &waiter{make(chan syscall.Errno, 1)} }

func (w *waiter) answer(e syscall.Errno) {
	if w != nil {
		w.verdict <- e
	}
}

// notice tells the holder of a lock that somebody waits for it. It is sent after
// the lock of the shard is given up.
type notice struct {
	to *fop.Client
	up *fop.Upcall
}

// object is everything that is locked, or waits, on one object. Its methods are
// the decisions: they run under the lock of the shard, do no I/O and do not block.
type object struct {
	gfid    fop.GFID
	posix   posixTable
	domains []*domain // in order of first use

	// Removal, see remove.go.
	removing int           // removals under way
	parked   []*removal    // removals that wait for inodelks of others
	queued   []*domainLock // inodelks that wait for removals

	// Fops that wait for a mandatory lock to go, see mandatory.go.
	io []*waiter

	notices []notice // to be sent once unlocked
}

// idle reports whether nothing is known of the object any more.
func (o *object) idle() bool {
	return len(o.posix.granted) == 0 && len(o.posix.blocked) == 0 && o.posix.meta == nil &&
		len(o.posix.held) == 0 && !o.posix.migrated &&
		len(o.domains) == 0 && o.removing == 0 && len(o.parked) == 0 && len(o.queued) == 0 && len(o.io) == 0
}

func (o *object) takeNotices() []notice {
	n := o.notices
	o.notices = nil
	return n
}

// policy is what the options say, as far as decisions need it.
type policy struct {
	notify           bool
	notifyDelay      time.Duration
	revokeAfter      time.Duration // 0: never
	revokeMaxBlocked int           // 0: any number
	revokeAll        bool
}

// lockRange turns start and length of the wire into first and last byte. A
// length of 0 reaches to the end of all offsets, a negative one back from start.
func lockRange(f fop.Flock) (first, last int64, err error) {
	const end = 1<<63 - 1
	first, n := int64(f.Start), int64(f.Len)
	switch {
	case first < 0:
		return 0, 0, syscall.EINVAL
	case n == 0:
		return first, end, nil
	case n > 0:
		if first > end-(n-1) {
			return first, end, nil
		}
		return first, first + n - 1, nil
	}
	if first == 0 || first+n < 0 {
		return 0, 0, syscall.EINVAL
	}
	return first + n, first - 1, nil
}

// flockRange is the way back.
func flockRange(first, last int64) (start, length uint64) {
	if last == 1<<63-1 {
		return uint64(first), 0
	}
	return uint64(first), uint64(last - first + 1)
}
