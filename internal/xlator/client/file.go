package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
)

// openFile is what we know of an open file or directory; it lives in the slot of
// its fop.Fd, and in Client.files until it is released.
type openFile struct {
	gfid  fop.GFID
	flags uint32
	dir   bool

	at atomic.Pointer[handle] // its number, if the brick has it open

	mu     sync.Mutex
	tries  int   // uses since opening it again failed
	lost   error // why it must not be used any more
	closed bool
	locks  lockTable
}

// handle is the number of an open file, good for one connection. The brick gives
// a released number to the next file, so RELEASE must not overtake a request with
// the number, neither here nor on the brick: a request holds the handle until it
// has been answered, and the last holder releases.
type handle struct {
	f     *openFile
	l     *link
	num   int64
	holds atomic.Int32 // 1 for the openFile's own
}

func newHandle(f *openFile, l *link, num int64) *handle {
	h := &handle{f: f, l: l, num: num}
	h.holds.Store(1)
	return h
}

// hold reports false if the number has been given back.
func (h *handle) hold() bool {
	for {
		n := h.holds.Load()
		if n == 0 {
			return false
		}
		if h.holds.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// held are the handles of a request.
type held [2]*handle

func (c *Client) letGo(hs held) {
	for _, h := range hs {
		if h != nil && h.holds.Add(-1) == 0 {
			c.sendRelease(h.l, h.f.gfid, h.f.dir, h.num)
		}
	}
}

// retryOpen is at which use opening again is tried again after it failed.
const retryOpen = 1024

// ebadfd is EBADFD, which not every platform has.
var ebadfd = proto.ErrnoFromWire(77)

// anonymous tells which fops go on without the number of their file: those that
// mean the same without it.
func anonymous(op fop.Op) bool {
	switch op {
	case fop.OpRead, fop.OpWrite, fop.OpFsync, fop.OpFinodelk, fop.OpFxattrop, fop.OpFstat, fop.OpCopyFileRange:
		return true
	}
	return false
}

// numbers finds what stands for the open files of a request on the wire. What it
// holds must be let go of once the request has been answered.
func (c *Client) numbers(ctx context.Context, l *link, req fop.Request) (refs proto.FdRefs, hs held, err error) {
	a, b, n := proto.Fds(req)
	if n > 0 {
		refs.A, hs[0], err = c.number(ctx, l, req.Op(), a)
	}
	if n > 1 && err == nil {
		refs.B, hs[1], err = c.number(ctx, l, req.Op(), b)
	}
	return refs, hs, err
}

func (c *Client) number(ctx context.Context, l *link, op fop.Op, fd *fop.Fd) (int64, *handle, error) {
	if fd == nil {
		return proto.FdAnonymous, nil, nil
	}
	f, _ := fd.Get(c).(*openFile)
	if f == nil {
		if anonymous(op) {
			return proto.FdAnonymous, nil, nil
		}
		return 0, nil, fmt.Errorf("%v: %v is not open on brick %s: %w", op, fd.GFID, c.set.Load().brick(), ebadfd)
	}
	if h := f.at.Load(); h != nil && h.l == l && h.hold() {
		return h.num, h, nil
	}
	return c.recover(ctx, l, op, f)
}

// recover handles the use of a file that the brick does not have open.
func (c *Client) recover(ctx context.Context, l *link, op fop.Op, f *openFile) (int64, *handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.at.Load(); h != nil && h.l == l && h.hold() {
		return h.num, h, nil
	}
	if f.lost == nil && !f.closed {
		if f.tries%retryOpen == 0 {
			c.reopenOne(ctx, l, f)
		}
		f.tries++
	}
	if h := f.at.Load(); h != nil && h.l == l && h.hold() {
		return h.num, h, nil
	}
	switch {
	case f.lost != nil:
		return 0, nil, fmt.Errorf("%v: %v: %w: %w", op, f.gfid, ebadfd, f.lost)
	case anonymous(op) && (f.closed || len(f.locks) == 0):
		return proto.FdAnonymous, nil, nil
	}
	return 0, nil, fmt.Errorf("%v: %v could not be opened again on brick %s: %w", op, f.gfid, c.set.Load().brick(), ebadfd)
}

// opened remembers an open file.
func (c *Client) opened(l *link, fd *fop.Fd, gfid fop.GFID, flags uint32, dir bool, num int64) {
	if fd == nil { // nobody will ever release it
		c.sendRelease(l, gfid, dir, num)
		return
	}
	f := &openFile{gfid: gfid, flags: flags, dir: dir}
	f.at.Store(newHandle(f, l, num))
	c.mu.Lock()
	c.files[f] = struct{}{}
	c.mu.Unlock()
	if old, _ := fd.Set(c, f).(*openFile); old != nil {
		c.forget(l, old)
	}
}

// forget gives up an open file.
func (c *Client) forget(l *link, f *openFile) {
	c.mu.Lock()
	delete(c.files, f)
	c.mu.Unlock()
	f.mu.Lock()
	f.closed = true
	f.locks = nil
	h := f.at.Swap(nil)
	f.mu.Unlock()
	if h != nil && h.l == l {
		c.letGo(held{h})
	}
}

// release carries out Release and Releasedir, which never fail.
func (c *Client) release(ctx context.Context, l *link, req fop.Request) (*call, fop.Reply, error) {
	if l != nil && l.local != nil {
		reply, err := c.doLocal(ctx, l, req)
		return nil, reply, err
	}
	if fd, _, _ := proto.Fds(req); fd != nil {
		if f, _ := fd.Set(c, nil).(*openFile); f != nil {
			c.forget(l, f)
		}
	}
	return nil, &fop.CommonReply{}, nil
}

// sendRelease tells the brick that a number is not needed any more. Nobody waits
// for the answer.
func (c *Client) sendRelease(l *link, gfid fop.GFID, dir bool, num int64) {
	head := fop.Header{XData: new(fop.Dict)}
	var req fop.Request = &fop.Release{Header: head, GFID: gfid}
	if dir {
		req = &fop.Releasedir{Header: head, GFID: gfid}
	}
	k := c.prepare(context.Background(), l, c.set.Load(), req, proto.FdRefs{A: num})
	l.rpc.Send(&k.rpc)
	*k = call{}
	calls.Put(k)
}

// plain waits for the reply of a call of our own.
func (k *call) plain() (fop.Reply, error) {
	raw, err := k.sent.Wait(k.ctx)
	reply, err := k.decode(&raw, err)
	*k = call{}
	calls.Put(k)
	return reply, err
}

// batch is how many requests are under way at a time when all open files are
// opened again.
const batch = 64

// reopen opens all files again on a new connection, and acquires their locks. It
// fails only if the connection does.
func (c *Client) reopen(ctx context.Context, l *link) error {
	c.mu.Lock()
	files := make([]*openFile, 0, len(c.files))
	for f := range c.files {
		files = append(files, f)
	}
	c.mu.Unlock()
	for len(files) > 0 {
		n := min(batch, len(files))
		var wg sync.WaitGroup
		for _, f := range files[:n] {
			wg.Go(func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				if h := f.at.Load(); f.closed || f.lost != nil || h != nil && h.l == l {
					return
				}
				f.tries = 1
				c.reopenOne(ctx, l, f)
			})
		}
		wg.Wait()
		files = files[n:]
		if err := l.rpc.Err(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// reopenOne opens one file again and acquires its locks. f.mu must be held.
func (c *Client) reopenOne(ctx context.Context, l *link, f *openFile) {
	set := c.set.Load()
	if len(f.locks) > 0 && set.strictLocks {
		c.lose(f, errors.New("locks on it were lost with the connection, and strict-locks is on"))
		return
	}
	head := fop.Header{XData: new(fop.Dict)}
	var req fop.Request = &fop.Open{Header: head, GFID: f.gfid, Flags: f.flags &^ (fop.OTrunc | fop.OCreate | fop.OExcl)}
	if f.dir {
		req = &fop.Opendir{Header: head, GFID: f.gfid}
	}
	reply, err := c.send(ctx, l, set, req, proto.FdRefs{}).plain()
	r, ok := reply.(*fop.OpenReply)
	if err != nil || !ok {
		if errors.Is(err, syscall.ENOTCONN) || ctx.Err() != nil {
			f.tries = 0 // the next connection has a chance
			return
		}
		c.log.Warn("cannot open again", "gfid", f.gfid, "brick", set.brick(), "err", err)
		if len(f.locks) > 0 {
			c.lose(f, fmt.Errorf("locks on it were lost: it could not be opened again: %w", err))
		}
		return
	}
	if err := c.relock(ctx, l, f, r.RemoteFd); err != nil {
		if errors.Is(err, syscall.ENOTCONN) || ctx.Err() != nil {
			f.tries = 0
			return
		}
		c.lose(f, fmt.Errorf("a lock on it was lost with the connection and could not be had again: %w", err))
		c.sendRelease(l, f.gfid, f.dir, r.RemoteFd)
		return
	}
	f.at.Store(newHandle(f, l, r.RemoteFd))
}

// lose makes a file unusable. f.mu must be held.
func (c *Client) lose(f *openFile, why error) {
	f.lost = why
	f.locks = nil
	f.at.Store(nil)
	c.log.Error("open file is unusable from now on; close it and open it again", "gfid", f.gfid, "brick", c.set.Load().brick(), "err", why)
}

// relock acquires the locks on a file again. f.mu must be held.
func (c *Client) relock(ctx context.Context, l *link, f *openFile, num int64) error {
	for _, h := range f.locks {
		req := h.request(f.gfid)
		if _, err := c.send(ctx, l, c.set.Load(), req, proto.FdRefs{A: num}).plain(); err != nil {
			return err
		}
	}
	return nil
}
