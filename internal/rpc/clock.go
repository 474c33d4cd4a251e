package rpc

import "time"

// A clock looks after the deadlines of all calls of a connection and after
// its pings, by one coarse timer that runs only while calls are outstanding.
// Its fields are guarded by Client.mu.
type clock struct {
	c     *Client
	timer *time.Timer
	armed bool
	every time.Duration // 0: there is nothing to look after

	pings            uint64 // sent so far
	pinging          bool
	pingSent         time.Time
	nextPing         time.Time
	bytes            uint64 // sent and received when last looked at
	active           time.Time
	interval, expiry time.Duration
}

const (
	minTick = 2 * time.Millisecond
	maxTick = time.Second
)

func (k *clock) init(c *Client) {
	k.c = c
	k.expiry = c.opts.PingTimeout
	k.interval = c.opts.PingInterval
	if k.interval == 0 {
		k.interval = k.expiry
	}
	k.active = time.Now()
	if k.expiry > 0 {
		k.need(min(k.expiry, k.interval))
	}
	k.timer = time.AfterFunc(time.Hour, k.tick)
	k.timer.Stop()
}

// need makes the clock tick often enough for a span of time.
func (k *clock) need(span time.Duration) bool {
	tick := min(max(span/4, minTick), maxTick)
	if k.every != 0 && k.every <= tick {
		return false
	}
	k.every = tick
	return true
}

// started is called for every call.
func (k *clock) started(timeout time.Duration) {
	faster := timeout > 0 && k.need(timeout)
	if k.every != 0 && (!k.armed || faster) {
		k.armed = true
		k.timer.Reset(k.every)
	}
}

func (k *clock) stop() { k.timer.Stop() }

// tick runs on the timer's goroutine.
func (k *clock) tick() {
	c := k.c
	now := time.Now()
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if bytes := c.recv.Load() + c.wr.sent.Load(); bytes != k.bytes {
		k.bytes = bytes
		k.active = now
	}
	stalled := c.cur != nil && c.cur.expired(now)
	for xid, p := range c.pending {
		if p.expired(now) {
			delete(c.pending, xid)
			p.complete(&ConnError{Addr: c.addr, Cause: ErrFrameTimeout})
			if c.leader == p {
				c.interruptReader()
			}
		}
	}
	var cause error
	ping := false
	switch {
	case stalled: // in the middle of its reply: no other can come any more
		cause = ErrFrameTimeout
	case k.expiry == 0:
	case k.pinging:
		if now.Sub(k.pingSent) >= k.expiry && now.Sub(k.active) >= k.expiry {
			cause = ErrPingTimeout
		}
	case c.outstanding() > 0 && !now.Before(k.nextPing):
		ping = true
		k.pinging = true
		k.pingSent = now
		k.pings++
	}
	if k.armed = len(c.pending) > 0 || c.cur != nil || ping; k.armed {
		k.timer.Reset(k.every)
	}
	c.mu.Unlock()
	if cause != nil {
		c.fail(cause)
	}
	if ping {
		p := newPending()
		p.ping = true
		c.start(p, &Request{Prog: DumpProgram, Vers: DumpVersion, Proc: DumpPing, Cred: c.pingCred(), Timeout: -1})
	}
}

// pong is called when a ping has been answered or has failed.
func (k *clock) pong(p *Pending) {
	k.pinging = false
	k.nextPing = time.Now().Add(k.interval)
	p.buf.Release()
}

func (p *Pending) expired(now time.Time) bool {
	return !p.deadline.IsZero() && now.After(p.deadline)
}

func (c *Client) pingCred() *Cred {
	if c.opts.PingCred != nil {
		return c.opts.PingCred
	}
	return &Cred{Flavor: AuthGlusterV2, LockOwner: make([]byte, 4)}
}
