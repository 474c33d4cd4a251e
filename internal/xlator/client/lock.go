package client

import (
	"context"
	"errors"
	"math"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

// heldLock is a posix lock that the brick has granted. last is inclusive.
type heldLock struct {
	cred        fop.Cred // without groups
	owner       string   // of the flock
	pid         uint32   // of the flock
	typ         uint32
	first, last uint64
}

// end is the last byte there can be.
const end = math.MaxInt64

// lockTable holds the locks on one open file: those of one owner do not overlap.
type lockTable []heldLock

func (h *heldLock) sameOwner(o *heldLock) bool {
	return h.owner == o.owner && h.cred.Owner == o.cred.Owner && (h.cred.Owner != "" || h.cred.PID == o.cred.PID)
}

// set replaces what the owner of h held in the range of h.
func (t lockTable) set(h heldLock) lockTable {
	var out lockTable
	for _, o := range t {
		if !o.sameOwner(&h) || o.last < h.first || h.last < o.first {
			out = append(out, o)
			continue
		}
		if o.first < h.first {
			left := o
			left.last = h.first - 1
			out = append(out, left)
		}
		if o.last > h.last {
			right := o
			right.first = h.last + 1
			out = append(out, right)
		}
	}
	if h.typ != fop.LockUnlock {
		out = append(out, h)
	}
	return out
}

// drop forgets all locks of an owner, as a flush does.
func (t lockTable) drop(cred *fop.Cred) lockTable {
	var out lockTable
	for _, o := range t {
		if o.cred.Owner != cred.Owner || cred.Owner == "" && o.cred.PID != cred.PID {
			out = append(out, o)
		}
	}
	return out
}

// heldBy makes a table entry of a request to set or remove a lock.
func heldBy(r *fop.Lk) heldLock {
	h := heldLock{cred: r.Cred, owner: r.Flock.Owner, pid: r.Flock.PID, typ: r.Flock.Type, first: min(r.Flock.Start, end), last: end}
	h.cred.Groups = nil
	if n := r.Flock.Len; n > 0 && n <= end-h.first {
		h.last = h.first + n - 1
	}
	return h
}

// request is how the lock is acquired again.
func (h *heldLock) request(gfid fop.GFID) *fop.Lk {
	r := &fop.Lk{GFID: gfid, Cmd: fop.LkSet, Type: h.typ, Flock: fop.Flock{Type: h.typ, Start: h.first, PID: h.pid, Owner: h.owner}}
	r.Cred = h.cred
	if h.last < end {
		r.Flock.Len = h.last - h.first + 1
	}
	return r
}

// sets reports whether a lock request changes locks.
func sets(r *fop.Lk) bool { return r.Cmd == fop.LkSet || r.Cmd == fop.LkSetWait }

// acquires reports whether a fop gets something that must be given back.
func acquires(req fop.Request) bool {
	switch r := req.(type) {
	case *fop.Open, *fop.Create, *fop.Opendir:
		return true
	case *fop.Lk:
		return sets(r) && r.Flock.Type != fop.LockUnlock
	case *fop.Inodelk:
		return r.Flock.Type != fop.LockUnlock
	case *fop.Finodelk:
		return r.Flock.Type != fop.LockUnlock
	case *fop.Entrylk:
		return r.Cmd != fop.EntrylkFree
	case *fop.Fentrylk:
		return r.Cmd != fop.EntrylkFree
	}
	return false
}

// after keeps account of open files and locks when a fop has ended.
func (c *Client) after(k *call, reply fop.Reply, err error) error {
	switch r := k.req.(type) {
	case *fop.Open:
		if o, ok := reply.(*fop.OpenReply); ok && err == nil {
			c.opened(k.l, r.Fd, r.GFID, r.Flags, false, o.RemoteFd)
		}
	case *fop.Opendir:
		if o, ok := reply.(*fop.OpenReply); ok && err == nil {
			c.opened(k.l, r.Fd, r.GFID, fop.ODirectory, true, o.RemoteFd)
		}
	case *fop.Create:
		if o, ok := reply.(*fop.CreateReply); ok && err == nil {
			c.opened(k.l, r.Fd, o.Stat.GFID, r.Flags, false, int64(o.RemoteFd))
		}
	case *fop.Flush:
		if f := c.file(r.Fd); f != nil {
			f.mu.Lock()
			f.locks = f.locks.drop(&r.Cred)
			c.unlockAnew(k.ctx, k.l, f, r)
			f.mu.Unlock()
		}
	case *fop.Lk:
		return c.afterLk(k, r, err)
	}
	return err
}

func (c *Client) file(fd *fop.Fd) *openFile {
	if fd == nil {
		return nil
	}
	f, _ := fd.Get(c).(*openFile)
	return f
}

// afterLk enters a lock into the file's table. An unlock counts even if it
// failed: what the brick may have kept goes with the connection.
func (c *Client) afterLk(k *call, r *fop.Lk, err error) error {
	f := c.file(r.Fd)
	if f == nil || !sets(r) || err != nil && r.Flock.Type != fop.LockUnlock {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.lost != nil {
		return err
	}
	f.locks = f.locks.set(heldBy(r))
	if r.Flock.Type == fop.LockUnlock {
		c.unlockAnew(k.ctx, k.l, f, r)
		return err
	}
	h := f.at.Load()
	if h == nil || h.l == k.l {
		return err
	}
	// Granted by a connection that has ended since, and the file has been
	// opened again without this lock.
	if err := c.relock(k.ctx, h.l, f, h.num); err != nil {
		c.lose(f, err)
		return ebadfd
	}
	return nil
}

// unheard keeps account of locks that are given up while the brick is away: they
// are not acquired again. Whoever has the file on other bricks too is told that
// the lock is gone, and nobody would ever unlock it here.
func (c *Client) unheard(ctx context.Context, req fop.Request) {
	switch r := req.(type) {
	case *fop.Lk:
		if f := c.file(r.Fd); f != nil && sets(r) && r.Flock.Type == fop.LockUnlock {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.locks = f.locks.set(heldBy(r))
			c.unlockAnew(ctx, nil, f, r)
		}
	case *fop.Flush:
		if f := c.file(r.Fd); f != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.locks = f.locks.drop(&r.Cred)
			c.unlockAnew(ctx, nil, f, r)
		}
	}
}

// unlockAnew repeats an unlock or a flush that was meant for the connection l if
// the file has been opened on a later one by now, and its locks acquired there.
// f.mu must be held.
func (c *Client) unlockAnew(ctx context.Context, l *link, f *openFile, req fop.Request) {
	h := f.at.Load()
	if h == nil || h.l == l || h.l.rpc.Err() != nil || !h.hold() {
		return
	}
	defer c.letGo(held{h})
	if _, err := c.send(ctx, h.l, c.set.Load(), req, proto.FdRefs{A: h.num}).plain(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		c.log.Warn("cannot give up a lock that was acquired again", "fop", req.Op(), "gfid", f.gfid, "brick", c.set.Load().brick(), "err", err)
	}
}

// rawReply is a reply that has not been decoded, or why there is none.
type rawReply struct {
	raw rpc.Reply
	err error
}

// waitOrReturn waits for a fop that acquires something. If its context ends
// first, what the brick grants later is given back. The wait for a posix lock has
// a key; the brick is asked to end it.
func (k *call) waitOrReturn(key *waitKey) (fop.Reply, error) {
	c := k.c
	done := make(chan rawReply, 1)
	sent, ctx := k.sent, k.ctx
	c.late.Add(1)
	go func() {
		defer c.late.Done()
		raw, err := sent.Wait(context.Background())
		done <- rawReply{raw, err}
	}()
	select {
	case r := <-done:
		return k.finish(r.raw, r.err)
	case <-ctx.Done():
	}
	op := k.req.Op()
	if key != nil {
		if r, ok := k.interrupt(*key, done); ok {
			reply, err := k.finish(r.raw, r.err)
			if err != nil {
				return nil, c.failed(op, context.Cause(ctx))
			}
			return reply, nil // it was granted just before
		}
	}
	k.req = fop.WithXData(k.req, nil) // the request is the caller's again
	k.req.Head().Cred.Groups = nil
	k.ctx = context.Background()
	c.late.Add(1)
	go func() {
		defer c.late.Done()
		r := <-done
		l, req, refs, hs := k.l, k.req, k.fds, k.held
		reply, err := k.decode(&r.raw, r.err)
		*k = call{}
		calls.Put(k)
		if err == nil {
			c.giveBack(l, req, refs, reply)
		}
		c.letGo(hs)
	}()
	return nil, c.failed(op, context.Cause(ctx))
}

// giveBack undoes a fop that succeeded after its caller had left.
func (c *Client) giveBack(l *link, req fop.Request, refs proto.FdRefs, reply fop.Reply) {
	switch r := req.(type) {
	case *fop.Open:
		c.sendRelease(l, r.GFID, false, reply.(*fop.OpenReply).RemoteFd)
		return
	case *fop.Opendir:
		c.sendRelease(l, r.GFID, true, reply.(*fop.OpenReply).RemoteFd)
		return
	case *fop.Create:
		o := reply.(*fop.CreateReply)
		c.sendRelease(l, o.Stat.GFID, false, int64(o.RemoteFd))
		return
	case *fop.Lk:
		r.Cmd, r.Type, r.Flock.Type = fop.LkSet, fop.LockUnlock, fop.LockUnlock
	case *fop.Inodelk:
		r.Cmd, r.Type, r.Flock.Type = fop.LkSet, fop.LockUnlock, fop.LockUnlock
	case *fop.Finodelk:
		r.Cmd, r.Type, r.Flock.Type = fop.LkSet, fop.LockUnlock, fop.LockUnlock
	case *fop.Entrylk:
		r.Cmd = fop.EntrylkFree
	case *fop.Fentrylk:
		r.Cmd = fop.EntrylkFree
	}
	if _, err := c.send(context.Background(), l, c.set.Load(), req, refs).plain(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		c.log.Warn("cannot give back a lock that was granted too late", "fop", req.Op(), "brick", c.set.Load().brick(), "err", err)
	}
}
