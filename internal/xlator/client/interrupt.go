package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// A wait for a posix lock that is given up must not stand in the brick's queue any
// more when its caller hears of that: the lock would be granted to nobody, for
// however short, and whoever tries to have it just then is refused. So the brick is
// asked to end the wait, in the way of GlusterFS's own client: by reading an xattr
// of the open file, whose name tells the range. That ends all waits of the process
// for this range; those that were not meant are sent again.

const (
	interruptXattr = "glusterfs.intrlk.tposix.kblocked.%d,%d-%d"
	// interruptPatience is how long a brick may take to end a wait.
	interruptPatience = time.Second
	// interruptPause is for a brick that began with the request to end a wait
	// before it began with the wait.
	interruptPause = 10 * time.Millisecond
)

// waitKey is how a brick tells waits of one connection apart.
type waitKey struct {
	gfid       fop.GFID
	pid        int32
	start, len uint64
}

// lockWaits are the waits for posix locks.
type lockWaits struct {
	mu  sync.Mutex
	all map[waitKey]*lockWait
}

// lockWait are the waits with one key, and how often any was given up.
type lockWait struct {
	waiting int
	givenUp int
}

// lockWaitOf returns the key of a request that waits for a posix lock.
func lockWaitOf(req fop.Request) (k waitKey, ok bool) {
	r, ok := req.(*fop.Lk)
	if !ok || r.Cmd != fop.LkSetWait || r.Flock.Type == fop.LockUnlock {
		return k, false
	}
	return waitKey{r.GFID, r.Cred.PID, r.Flock.Start, r.Flock.Len}, true
}

// begin counts a wait; end must follow.
func (w *lockWaits) begin(k waitKey) (givenUp int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.all[k]
	if e == nil {
		e = new(lockWait)
		if w.all == nil {
			w.all = make(map[waitKey]*lockWait)
		}
		w.all[k] = e
	}
	e.waiting++
	return e.givenUp
}

// end reports how often waits with this key have been given up by now.
func (w *lockWaits) end(k waitKey) (givenUp int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.all[k]
	if e.waiting--; e.waiting == 0 {
		delete(w.all, k)
	}
	return e.givenUp
}

func (w *lockWaits) giveUp(k waitKey) {
	w.mu.Lock()
	w.all[k].givenUp++
	w.mu.Unlock()
}

// waitForLock is waitOrReturn for a posix lock.
func (k *call) waitForLock(key waitKey) (fop.Reply, error) {
	c, ctx, req := k.c, k.ctx, k.req
	was := c.waits.begin(key)
	reply, err := k.waitOrReturn(&key)
	if now := c.waits.end(key); now != was && errors.Is(err, syscall.EINTR) && ctx.Err() == nil {
		return c.Do(ctx, req)
	}
	return reply, err
}

// interrupt has the brick end a wait, and returns what became of that; ok is false
// if the brick does not say so in time.
func (k *call) interrupt(key waitKey, done <-chan rawReply) (r rawReply, ok bool) {
	c, lk := k.c, k.req.(*fop.Lk)
	c.waits.giveUp(key)
	q := &fop.Fgetxattr{Header: fop.Header{Cred: lk.Cred}, GFID: lk.GFID, Fd: lk.Fd,
		Name: fmt.Sprintf(interruptXattr, lk.Flock.Whence, lk.Flock.Start, lk.Flock.Len)}
	limit := time.NewTimer(interruptPatience)
	defer limit.Stop()
	for {
		asked := make(chan struct{})
		sent := c.send(context.Background(), k.l, c.set.Load(), q, k.fds)
		c.late.Go(func() {
			sent.plain()
			close(asked)
		})
		select {
		case <-asked:
		case <-limit.C:
			return r, false
		}
		select {
		case r := <-done:
			return r, true
		case <-time.After(interruptPause):
		case <-limit.C:
			return r, false
		}
	}
}
