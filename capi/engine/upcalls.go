//go:build linux && cgo

package main

/*
#include "engine.h"
*/
import "C"

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
)

// Events of glfs_upcall_register, and what glfs_upcall_get_reason says.
const (
	eventInvalidate = C.GLFS_EVENT_INODE_INVALIDATE
	eventRecall     = C.GLFS_EVENT_RECALL_LEASE
	eventAny        = uint32(C.GLFS_EVENT_ANY)

	reasonInvalidate = C.GLFS_UPCALL_INODE_INVALIDATE
	reasonRecall     = C.GLFS_UPCALL_RECALL_LEASE

	updateFlags = 0x3f // GFAPI_INODE_UPDATE_FLAGS
)

// upcalls are the notices that a glfs_t has for its program: those that
// glfs_h_poll_upcall takes, once it was called, and those for the function of
// glfs_upcall_register.
type upcalls struct {
	fs *fsys

	mu        sync.Mutex
	polled    bool
	queue     []*fop.Upcall
	events    uint32
	cbk, data int64
	calls     []*fop.Upcall // for the callback
	calling   bool          // a goroutine works on calls
	ended     bool
}

// maxQueue bounds what nobody fetches; the oldest go first.
const maxQueue = 1 << 16

// hear takes a notice from a brick.
func (f *fsys) hear(l *live, u *fop.Upcall) {
	var event uint32
	switch u.Kind {
	case fop.UpcallInvalidate:
		event = eventInvalidate
		for _, g := range []fop.GFID{u.GFID, u.Parent.GFID, u.OldParent.GFID} {
			if !g.IsZero() {
				l.names.Cache.Changed(g)
			}
		}
	case fop.UpcallRecallLease:
		event = eventRecall
		go f.recallLeases(u)
	default:
		return
	}
	up := &f.up
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.ended {
		return
	}
	if up.polled && event == eventInvalidate {
		up.queue = push(up.queue, u)
	}
	if up.events&event != 0 {
		up.calls = push(up.calls, u)
		if !up.calling {
			up.calling = true
			go up.run()
		}
	}
}

func push(q []*fop.Upcall, u *fop.Upcall) []*fop.Upcall {
	if len(q) >= maxQueue {
		q = q[1:]
	}
	return append(q, u)
}

// run calls the callback, once for each notice and in their order.
func (up *upcalls) run() {
	for {
		up.mu.Lock()
		if len(up.calls) == 0 || up.ended || up.cbk == 0 {
			up.calls, up.calling = nil, false
			up.mu.Unlock()
			return
		}
		u, cbk, data := up.calls[0], up.cbk, up.data
		up.calls = up.calls[1:]
		up.mu.Unlock()
		if p := up.fs.record(u); p != nil {
			C.wythe_host_upcall(host, C.int64_t(cbk), p, C.int64_t(data))
		}
	}
}

func (up *upcalls) end() {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.ended, up.queue = true, nil
}

// record makes a glfs_upcall_t.
func (f *fsys) record(u *fop.Upcall) unsafe.Pointer {
	p := alloc(C.sizeof_struct_wythe_upcall)
	if p == nil {
		return nil
	}
	r := (*C.struct_wythe_upcall)(p)
	r.head.magic, r.head.kind = C.WYTHE_RECORD, C.WYTHE_UPCALL
	r.fs = C.int64_t(f.h)
	event := unsafe.Pointer(&r.anon0[0])
	object := func(a *fop.Iatt) C.int64_t {
		if a.GFID.IsZero() {
			return 0
		}
		return C.int64_t(handles.add(&object{fs: f, gfid: a.GFID, mode: a.Mode}))
	}
	if u.Kind == fop.UpcallRecallLease {
		r.reason = reasonRecall
		l := (*C.struct_wythe_upcall_lease)(event)
		l.head.magic, l.head.kind = C.WYTHE_RECORD, C.WYTHE_UPCALL_LEASE
		l.object = object(&fop.Iatt{GFID: u.GFID, Mode: fop.ModeRegular})
		l._type = C.uint32_t(u.LeaseType)
		return p
	}
	r.reason = reasonInvalidate
	i := (*C.struct_wythe_upcall_inode)(event)
	i.head.magic, i.head.kind = C.WYTHE_RECORD, C.WYTHE_UPCALL_INODE
	i.flags, i.expire = C.uint64_t(u.Flags), C.uint64_t(u.Expire)
	a := u.Stat
	a.GFID = u.GFID
	if a.Ino == 0 {
		a.Ino = u.GFID.Ino()
	}
	i.object = object(&a)
	if u.Flags&updateFlags != 0 {
		f.putStat(unsafe.Pointer(&i.stat), &a)
	}
	if u.Flags&fop.InvalParentTimes != 0 {
		i.pobject = object(&u.Parent)
		f.putStat(unsafe.Pointer(&i.pstat), &u.Parent)
	}
	if u.Flags&fop.InvalRename != 0 {
		i.oldpobject = object(&u.OldParent)
		f.putStat(unsafe.Pointer(&i.oldpstat), &u.OldParent)
	}
	return p
}

func (c *call) glfsHPollUpcall() int64 {
	f, _, err := c.mounted()
	if err != nil {
		return c.fail(err)
	}
	out := (*unsafe.Pointer)(c.ptr(1))
	if out == nil {
		return c.fail(syscall.EINVAL)
	}
	*out = nil
	up := &f.up
	up.mu.Lock()
	up.polled = true
	var u *fop.Upcall
	if len(up.queue) > 0 {
		u, up.queue = up.queue[0], up.queue[1:]
	}
	up.mu.Unlock()
	if u == nil {
		c.err = syscall.ENOENT
		return 0
	}
	if *out = f.record(u); *out == nil {
		return c.fail(syscall.ENOMEM)
	}
	return 0
}

// events reads the bits of argument 1.
func (c *call) events() (uint32, error) {
	bits := uint32(c.arg(1))
	if bits == eventAny {
		return eventInvalidate | eventRecall, nil
	}
	if bits&^(eventInvalidate|eventRecall) != 0 {
		return 0, syscall.EINVAL
	}
	return bits, nil
}

func (c *call) glfsUpcallRegister() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	if c.arg(2) == 0 {
		c.err = syscall.EINVAL
		return 0
	}
	bits, err := c.events()
	if err != nil {
		return c.fail(err)
	}
	f.up.mu.Lock()
	defer f.up.mu.Unlock()
	f.up.events |= bits
	f.up.cbk, f.up.data = c.arg(2), c.arg(3)
	return int64(bits)
}

func (c *call) glfsUpcallUnregister() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	bits, err := c.events()
	if err != nil {
		return c.fail(err)
	}
	f.up.mu.Lock()
	defer f.up.mu.Unlock()
	if f.up.events &^= bits; f.up.events == 0 {
		f.up.cbk, f.up.calls = 0, nil
	}
	return int64(bits)
}
