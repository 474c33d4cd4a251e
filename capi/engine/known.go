//go:build linux && cgo

package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
	"github.com/wythefs/wythe/internal/volume"
)

// A goroutine for a call, and waking its caller, costs more than what the caches
// of the volume answer. So some calls are tried on the thread of the caller first,
// as far as they need no brick and wait for nobody; one that turns out to need
// more is given up without effect, and begun anew in a goroutine.

// errUnknown is what such a call meets where it would have to wait.
var errUnknown = errors.New("only a brick knows")

// knower is the bottom of a volume of calls that do not wait.
type knower struct{ s fop.Knower }

func (k knower) Do(_ context.Context, req fop.Request) (fop.Reply, error) {
	reply, ok, err := k.s.Known(req)
	if !ok {
		return nil, errUnknown
	}
	return reply, err
}

// knower makes the volume of calls that do not wait, beside l.
func (l *live) knower(cache *paths.Cache) *live {
	vol := volume.New(knower{l.s})
	l.all = l
	return &live{s: l.s, asked: l.asked, vol: vol, names: &paths.Resolver{Vol: vol, Cache: cache}, cwd: l.cwd, all: l}
}

// atHand tries a function without waiting.
func atHand(f func(*call) int64) func(*call) (int64, bool) {
	return func(c *call) (int64, bool) {
		if c.ctx != context.Background() { // has a lease, which caches do not ask for
			return 0, false
		}
		c.quick = true
		ret := f(c)
		c.quick = false
		if c.unknown {
			c.unknown, c.err = false, 0
			return 0, false
		}
		return ret, true
	}
}

// quickFstat is glfsFstat of what is cached.
func quickFstat(c *call) (int64, bool) {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err), true
	}
	defer d.o.leave()
	if d.o.f == nil {
		return 0, false
	}
	reply, ok, err := d.o.l.s.Known(&fop.Fstat{Header: c.head(), GFID: d.o.gfid, Fd: d.o.f.Fd})
	switch {
	case !ok:
		return 0, false
	case err != nil:
		return c.fail(err), true
	}
	d.fs.putStat(c.ptr(1), &reply.(*fop.StatReply).Stat)
	return 0, true
}

// quickRead reads what is cached of small files, into one buffer.
func quickRead(how form) func(c *call) (int64, bool) {
	return func(c *call) (int64, bool) {
		if c.arg(2) > volume.MaxIO {
			return 0, false
		}
		t, err := c.begin(how)
		if err != nil {
			return c.fail(err), true
		}
		defer t.d.o.leave()
		if how.at && c.ptr(5) != nil { // wants attributes
			return 0, false
		}
		f := t.d.o.f
		reply, ok, err := t.d.o.l.s.Known(&fop.Read{Header: c.head(), GFID: f.Fd.GFID, Fd: f.Fd, Offset: uint64(t.off), Size: uint32(t.size), Into: t.vec[0]})
		switch {
		case !ok:
			return 0, false
		case err != nil:
			return c.fail(err), true
		}
		data := reply.(*fop.ReadReply).Data
		if len(data) > 0 && &data[0] != &t.vec[0][0] {
			copy(t.vec[0], data)
		}
		t.d.pos.Store(t.off + int64(len(data)))
		return int64(len(data)), true
	}
}

// quickClose closes what bricks have not been told of.
func quickClose(c *call) (int64, bool) {
	d, ok := handles.get(c.arg(0)).(*fd)
	if !ok || d.o.f == nil || d.o.touched.Load() || d.owner() != "" || d.o.refs.Load() != 1 {
		return 0, false
	}
	if handles.remove(c.arg(0)) == nil { // another close was faster
		return c.fail(syscall.EBADF), true
	}
	d.closed.Store(true)
	o := d.o
	if o.refs.CompareAndSwap(1, 0) {
		if _, ok, _ := o.l.s.Known(&fop.Release{Header: c.head(), GFID: o.gfid, Fd: o.f.Fd}); ok {
			return 0, true
		}
		o.refs.Store(1)
	}
	c.closing = d
	return 0, false
}
