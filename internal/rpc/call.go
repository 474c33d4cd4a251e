package rpc

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Call is a call that a server received. It must be answered exactly once:
// by Reply, Fail, Deny or Drop. It and what its fields point to may be used
// until it is answered and, on the goroutine of its handler, until the
// handler returns.
type Call struct {
	Conn             *Conn
	XID              uint32
	Prog, Vers, Proc uint32
	Cred             Cred
	Args             []byte // the arguments and, behind them, the bulk payload

	proc    *Proc
	verf    uint32 // flavor of the caller's verifier
	buf     *Buffer
	exempt  bool
	begun   time.Time // when the reader of the connection began to execute it
	later   bool      // the answer can wait for that to the next call
	replied atomic.Bool
	refs    atomic.Int32 // one for the handler, one for the answer
	msg     message
	owned   []*Buffer
	onSent  func()
	sent    func()     // c.wasSent, kept to spare an allocation
	groups  [16]uint32 // where Cred.Groups begins
}

var callPool sync.Pool

func getCall() *Call {
	if c, _ := callPool.Get().(*Call); c != nil {
		return c
	}
	c := new(Call)
	c.Cred.Groups = c.groups[:0]
	c.sent = c.wasSent
	return c
}

// Buffer returns the memory that Args points into, with a reference of its
// own, for those who keep it longer than the call.
func (c *Call) Buffer() *Buffer { return c.buf.Retain() }

// Own makes the call release a buffer once its answer has been sent (or can
// not be sent any more), for replies whose payload is in that buffer.
func (c *Call) Own(b *Buffer) { c.owned = append(c.owned, b) }

// OnSent makes the call call f once its answer has been sent, or can not be
// sent any more; f must not block. It must be set before the answer is given.
func (c *Call) OnSent(f func()) { c.onSent = f }

// Reply answers with success: the results, nil if there are none, and behind
// them the bulk payload as it is. The payload's memory must not change until
// it is sent (see Own and OnSent); results are encoded before Reply returns.
func (c *Call) Reply(results Appender, payload ...[]byte) error {
	head := NewBuffer(minHead)
	head.B = appendAccepted(append(head.B, 0, 0, 0, 0), c.XID, c.verf, Success)
	if results != nil {
		head.B = results.AppendXDR(head.B)
	}
	return c.answer(head, payload)
}

// Fail answers that the call was not executed.
func (c *Call) Fail(stat AcceptStat) error {
	head := NewBuffer(minHead)
	head.B = appendAccepted(append(head.B, 0, 0, 0, 0), c.XID, c.verf, stat)
	return c.answer(head, nil)
}

// Deny answers that the caller may not make the call.
func (c *Call) Deny(stat AuthStat) error {
	head := NewBuffer(minHead)
	head.B = appendDenied(append(head.B, 0, 0, 0, 0), c.XID, stat)
	return c.answer(head, nil)
}

// Drop ends the call without an answer.
func (c *Call) Drop() {
	if c.replied.Swap(true) {
		panic("rpc: call answered twice")
	}
	c.msg.done.Store(true)
	c.wasSent()
}

func (c *Call) answer(head *Buffer, payload [][]byte) error {
	if c.replied.Swap(true) {
		panic("rpc: call answered twice")
	}
	if !c.begun.IsZero() && time.Since(c.begun) > handoverWorth && inputWaits(c.Conn.raw) {
		c.Conn.lone.overtaken.Store(true)
	}
	c.msg.after = c.sent
	if !c.msg.set(head, nil, payload) {
		size := c.msg.size
		c.msg.finish()
		return fmt.Errorf("rpc: reply of %d bytes: %w", size, syscall.EMSGSIZE)
	}
	if c.later && c.Conn.wr.queue(&c.msg) {
		return nil
	}
	return c.Conn.wr.send(&c.msg)
}

// wasSent runs when the answer has left or was dropped, under the writer's
// lock perhaps.
func (c *Call) wasSent() {
	for i, b := range c.owned {
		b.Release()
		c.owned[i] = nil
	}
	c.owned = c.owned[:0]
	if f := c.onSent; f != nil {
		c.onSent = nil
		f()
	}
	c.Conn.answered(c.exempt)
	c.unref()
}

func (c *Call) handle() {
	c.proc.Handle(c.Conn.ctx, c)
	c.unref()
}

// unref ends one of two uses of the call; after the second it is reused.
func (c *Call) unref() {
	if c.refs.Add(-1) > 0 {
		return
	}
	c.buf.Release()
	c.buf = nil
	c.Conn = nil
	c.Args = nil
	c.proc = nil
	c.begun = time.Time{}
	c.later = false
	c.Cred.LockOwner = nil
	c.replied.Store(false)
	callPool.Put(c)
}
