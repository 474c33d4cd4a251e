package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// A Request is a call to be made. The client keeps nothing of it but the
// memory of Payload, Payloads and Into, and those only until Wait returns.
type Request struct {
	Prog, Vers, Proc uint32
	Cred             *Cred    // nil: AuthNone
	Args             Appender // nil: none
	// Payload and Payloads follow the arguments as they are, without length
	// or padding, and are sent without copying.
	Payload  []byte
	Payloads [][]byte

	// ReplySplit says where the bulk payload of a reply begins: given the
	// first ReplyPrefix bytes of the results it returns the size of the
	// results before the payload, or -1 if there is none. If Into is large
	// enough the payload is read from the socket straight into it. Without
	// ReplySplit all is Reply.Body.
	ReplyPrefix int
	ReplySplit  func(prefix []byte) int
	Into        []byte

	// Timeout replaces the client's FrameTimeout; negative: none, for calls
	// that wait for a lock.
	Timeout time.Duration
}

// A Reply is the results of a successful call.
type Reply struct {
	// Body is the results without the bulk payload. It lives until Release.
	Body []byte
	// Payload is the bulk payload: the front of Request.Into, or memory like
	// Body's if that was too small.
	Payload []byte

	buf *Buffer
}

// Release gives the reply's memory back. It is optional, and good for speed.
func (r *Reply) Release() {
	r.buf.Release()
	*r = Reply{}
}

// Buffer returns the memory of Body with a reference of its own, for those
// who keep parts of Body beyond Release.
func (r *Reply) Buffer() *Buffer { return r.buf.Retain() }

var errCancelled = errors.New("rpc: call cancelled")

type pendingState uint8

const (
	pendingSent    pendingState = iota // in Client.pending
	pendingFilling                     // Client.cur
	pendingDone
)

// A Pending is a call under way. Wait must be called on it exactly once;
// after that it must not be touched.
type Pending struct {
	c         *Client
	xid       uint32
	ping      bool
	oneWay    bool // nobody calls Wait
	prefix    int
	split     func([]byte) int
	into      []byte
	prog      uint32
	proc      uint32
	since     time.Time
	deadline  time.Time
	msg       message
	interrupt func() // c.interruptCall(p), kept to spare an allocation

	// Guarded by c.mu.
	state     pendingState
	cancelled bool // leave the role, or stop filling
	listed    bool // in c.followers
	waited    bool // complete must send on wake though p is not listed
	next      *Pending
	previous  *Pending
	wake      chan struct{} // holds one token after p left the list

	// The outcome, once state is pendingDone.
	buf    *Buffer
	direct []byte
	err    error
}

var pendingPool = sync.Pool{New: func() any { return newPending() }}

func newPending() *Pending {
	p := &Pending{wake: make(chan struct{}, 1)}
	p.interrupt = p.interruptCall
	return p
}

// Start sends a request and returns without waiting for anything: neither for
// the reply nor for room in the socket. Calls of one goroutine are sent in
// the order of their Starts. Errors show in Wait.
func (c *Client) Start(req *Request) *Pending {
	return c.start(pendingPool.Get().(*Pending), req)
}

func (c *Client) start(p *Pending, req *Request) *Pending {
	p.c = c
	p.prefix, p.split, p.into = req.ReplyPrefix, req.ReplySplit, req.Into
	p.state = pendingSent
	if req.Cred != nil {
		if err := req.Cred.Check(); err != nil {
			return p.refuse(fmt.Errorf("%w: %w", syscall.EINVAL, err))
		}
	}
	head := NewBuffer(minHead)
	head.B = appendCallHeader(append(head.B, 0, 0, 0, 0), 0, req.Prog, req.Vers, req.Proc, req.Cred)
	if req.Args != nil {
		head.B = req.Args.AppendXDR(head.B)
	}
	if !p.msg.set(head, req.Payload, req.Payloads) {
		p.msg.finish()
		return p.refuse(fmt.Errorf("rpc: message of %d bytes: %w", p.msg.size, syscall.EMSGSIZE))
	}
	timeout := req.Timeout
	if timeout == 0 {
		timeout = c.opts.FrameTimeout
	}
	p.prog, p.proc, p.since = req.Prog, req.Proc, time.Now()
	if timeout > 0 {
		p.deadline = p.since.Add(timeout)
	}
	if c.opts.OnCall != nil {
		c.opts.OnCall(req.Prog, req.Vers, req.Proc)
	}
	c.calls.Add(1)

	c.mu.Lock()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		p.msg.finish()
		return p.refuse(err)
	}
	for c.pending[c.xid] != nil { // after 2³² calls
		c.xid++
	}
	p.xid = c.xid
	c.xid++
	binary.BigEndian.PutUint32(head.B[markSize:], p.xid)
	c.pending[p.xid] = p
	c.clock.started(timeout)
	if p.oneWay && c.leader == nil && c.wr.queue(&p.msg) {
		c.unsent = true
		c.mu.Unlock()
		return p
	}
	c.unsent = false // goes along
	c.mu.Unlock()
	c.wr.send(&p.msg) // an error reaches p through Client.fail
	return p
}

// minHead is room for the headers, a credential with some groups, and the
// arguments of most calls.
const minHead = 512

// refuse completes a call that was never sent.
func (p *Pending) refuse(err error) *Pending {
	p.err = err
	p.state = pendingDone
	p.msg.done.Store(true)
	return p
}

// complete sets the outcome but for buf and wakes who waits. c.mu must be
// held.
func (p *Pending) complete(err error) {
	p.state = pendingDone
	p.err = err
	switch {
	case p.ping:
		p.c.clock.pong(p)
	case p.oneWay:
		p.buf.Release()
		if p.msg.done.Load() {
			p.recycle()
		}
	case p.listed:
		p.c.followers.remove(p)
		p.c.woken = true
		p.wake <- struct{}{}
	case p.waited:
		p.waited = false
		p.wake <- struct{}{}
	}
}

// interruptCall runs when the context of a call that leads is done.
func (p *Pending) interruptCall() {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	p.cancelled = true
	if c.leader == p {
		c.interruptReader()
	}
}

// Wait waits for the reply. Replies other than success are a *ReplyError, a
// connection that ended is a *ConnError (and ENOTCONN). If ctx is done first,
// Wait returns its cause at once; whatever comes later is dropped, and the
// memory of Payload and Into is the caller's again.
func (p *Pending) Wait(ctx context.Context) (Reply, error) {
	c := p.c
	reusable := true
	c.mu.Lock()
	for p.state != pendingDone {
		switch {
		case ctx.Err() != nil:
			p.cancel()
		case c.leader == nil || c.leader == p:
			c.leader = p
			c.unlockAndPush()
			if ctx.Done() == nil {
				c.lead(p)
			} else {
				stop := context.AfterFunc(ctx, p.interrupt)
				c.lead(p)
				// Once begun, the function may look at p at any time.
				reusable = stop() && reusable
			}
			c.mu.Lock()
		default:
			c.followers.push(p)
			c.mu.Unlock()
			p.follow(ctx)
			c.mu.Lock()
		}
	}
	if c.leader == p { // it was given the role and had no use for it
		c.giveRole()
	}
	c.mu.Unlock()
	if !c.wr.withdraw(&p.msg) {
		reusable = false
	}
	reply, err := p.outcome()
	if err == errCancelled {
		err = fmt.Errorf("rpc: call to %s: %w", c.addr, context.Cause(ctx))
	}
	if reusable {
		p.recycle()
	}
	return reply, err
}

// follow waits until the reply has come, the reader's role has, or ctx is
// done. In the first two cases p has left the list of followers.
func (p *Pending) follow(ctx context.Context) {
	select {
	case <-p.wake:
		return
	case <-ctx.Done():
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.listed {
		p.c.followers.remove(p)
	} else {
		<-p.wake
	}
}

// cancel gives the call up. c.mu must be held; cancel may let go of it.
func (p *Pending) cancel() {
	c := p.c
	if p.state == pendingSent {
		delete(c.pending, p.xid)
		p.complete(errCancelled)
		return
	}
	if c.leader == nil || c.leader == p {
		c.dropCurrent(errCancelled)
		return
	}
	// Another goroutine may be reading into p's memory just now.
	p.cancelled = true
	p.waited = true
	c.interruptReader()
	c.mu.Unlock()
	<-p.wake
	c.mu.Lock()
}

// outcome returns what Wait returns.
func (p *Pending) outcome() (Reply, error) {
	if p.err != nil {
		p.buf.Release()
		return Reply{}, p.err
	}
	results, err := decodeReply(p.buf.B)
	if err != nil {
		p.buf.Release()
		return Reply{}, err
	}
	reply := Reply{Body: p.buf.B[results:], Payload: p.direct, buf: p.buf}
	if p.direct != nil || p.split == nil || len(reply.Body) < p.prefix {
		return reply, nil
	}
	if header := p.split(reply.Body[:p.prefix]); header >= 0 && header < len(reply.Body) {
		reply.Payload = reply.Body[header:]
		reply.Body = reply.Body[:header]
		if len(p.into) >= len(reply.Payload) { // it came in several fragments
			reply.Payload = p.into[:copy(p.into, reply.Payload)]
		}
	}
	return reply, nil
}

func (p *Pending) recycle() {
	p.c = nil
	p.ping = false
	p.oneWay = false
	p.split = nil
	p.into = nil
	p.deadline = time.Time{}
	p.cancelled = false
	p.buf = nil
	p.direct = nil
	p.err = nil
	pendingPool.Put(p)
}

// A followerList holds the calls that wait while another one reads, in the
// order in which they came.
type followerList struct{ first, last *Pending }

func (l *followerList) push(p *Pending) {
	p.listed = true
	p.previous, p.next = l.last, nil
	if l.last == nil {
		l.first = p
	} else {
		l.last.next = p
	}
	l.last = p
}

func (l *followerList) remove(p *Pending) {
	p.listed = false
	if p.previous == nil {
		l.first = p.next
	} else {
		p.previous.next = p.next
	}
	if p.next == nil {
		l.last = p.previous
	} else {
		p.next.previous = p.previous
	}
	p.previous, p.next = nil, nil
}

func (l *followerList) pop() *Pending {
	p := l.first
	if p != nil {
		l.remove(p)
	}
	return p
}
