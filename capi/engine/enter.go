//go:build linux && cgo

package main

/*
#cgo CFLAGS: -I${SRCDIR}/../shim -I${SRCDIR}/../include -D_GNU_SOURCE -O2 -Wall
#include "engine.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
)

var host *C.struct_wythe_host

//export wythe_start
func wythe_start(h *C.struct_wythe_host) C.int {
	if C.wythe_host_abi(h) != C.WYTHE_ABI {
		return C.WYTHE_ABI
	}
	host = h
	handles.begin(uint32(C.wythe_host_generation(h)))
	// Nothing of the application's reads this log; a volume has its own.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	go take()
	return 0
}

//export wythe_enter
func wythe_enter(cc *C.struct_wythe_call) C.int {
	c := newCall(cc)
	if q := quick[c.op]; q != nil {
		if ret, done := c.try(q); done {
			cc.ret, cc.err = C.int64_t(ret), C.int32_t(c.err)
			return 1
		}
	}
	go c.run(true)
	return 0
}

// take runs calls of threads that do not enter Go.
func take() {
	for {
		for cc := C.wythe_take(); cc != nil; {
			next := cc.next // cc ends with its call
			go newCall(cc).run(false)
			cc = next
		}
	}
}

// call is a call of a function of the library.
type call struct {
	c    *C.struct_wythe_call
	op   int32
	old  bool
	err  syscall.Errno
	cred fop.Cred
	id   int // of the credentials, for paths.Walk
	ctx  context.Context
	// quick calls do not wait; known.go says how one ends that would have to.
	quick, unknown bool
	closing        *fd // what is left of a close
}

func newCall(cc *C.struct_wythe_call) *call {
	c := &call{c: cc, op: int32(cc.op), old: cc.old != 0, ctx: context.Background()}
	c.identify(cc.who)
	return c
}

// run carries the call out, which was tried or not, and wakes the caller.
func (c *call) run(tried bool) {
	ret := int64(0)
	done := false
	if q := quick[c.op]; q != nil && !tried {
		ret, done = c.try(q)
	}
	if !done {
		ret, _ = c.try(func(c *call) (int64, bool) { return operations[c.op](c), true })
	}
	cc := c.c
	cc.ret, cc.err = C.int64_t(ret), C.int32_t(c.err)
	state := (*int32)(unsafe.Pointer(&cc.state))
	if atomic.SwapInt32(state, C.WYTHE_DONE) == C.WYTHE_WAITED_FOR {
		futexWake(state)
	}
}

// try does f, and makes an error of a panic: the process is not ours.
func (c *call) try(f func(*call) (int64, bool)) (ret int64, done bool) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "libgfapi: call %d failed, please report this: %v\n%s", c.op, r, debug.Stack())
			ret, done = c.fail(syscall.EIO), true
		}
	}()
	return f(c)
}

// fail is what an operation returns that failed.
func (c *call) fail(err error) int64 {
	if c.quick && errors.Is(err, errUnknown) {
		c.unknown = true
	}
	c.err = fop.Errno(err)
	return -1
}

// done is what an operation without a result returns.
func (c *call) done(err error) int64 {
	if err != nil {
		return c.fail(err)
	}
	return 0
}

func futexWake(p *int32) {
	const futexWakePrivate = 1 | 128
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(p)), futexWakePrivate, 1, 0, 0, 0)
}

// Arguments.

func (c *call) arg(i int) int64 { return int64(c.c.arg[i]) }

func (c *call) ptr(i int) unsafe.Pointer { return pointer(int64(c.c.arg[i])) }

// pointer makes an address of C of a number.
func pointer(n int64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&n)) }

// maxString bounds the strings that are believed to be strings.
const maxString = 1 << 20

// text reads a string of C; ok is false for NULL.
func text(p unsafe.Pointer) (s string, ok bool) {
	if p == nil {
		return "", false
	}
	return C.GoString((*C.char)(p)), true
}

// path reads argument i, the path or name of an object.
func (c *call) path(i int) (string, error) {
	s, ok := text(c.ptr(i))
	switch {
	case !ok || s == "":
		return "", syscall.EINVAL
	case len(s) > maxString:
		return "", syscall.ENAMETOOLONG
	}
	return s, nil
}

// bytes is a buffer of C; nil if there is none.
func bytes(p unsafe.Pointer, size int64) []byte {
	if p == nil || size <= 0 {
		return nil
	}
	return unsafe.Slice((*byte)(p), size)
}

// Who calls.

// identity is a set of credentials that was seen.
type identity struct {
	uid, gid uint32
	groups   []uint32
	id       int
}

var identities struct {
	last atomic.Pointer[identity]
	mu   sync.Mutex
	all  map[string]*identity
}

// identify takes the credentials from what the calling thread has.
func (c *call) identify(w *C.struct_wythe_who) {
	uid, gid := uint32(w.uid), uint32(w.gid)
	groups := unsafe.Slice((*uint32)(unsafe.Pointer(w.groups)), int(w.ngroups))
	id := identities.last.Load()
	if id == nil || id.uid != uid || id.gid != gid || !equal(id.groups, groups) {
		id = known(uid, gid, groups)
	}
	c.id = id.id
	c.cred = fop.Cred{UID: uid, GID: gid, PID: int32(w.pid), Groups: id.groups}
	if n := int(w.owner_len); n > 0 {
		c.cred.Owner = string(unsafe.Slice((*byte)(unsafe.Pointer(&w.owner[0])), n))
	}
	if w.has_lease != 0 {
		c.ctx = withLease(c.ctx, *(*[16]byte)(unsafe.Pointer(&w.lease[0])))
	}
}

func equal(a, b []uint32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func known(uid, gid uint32, groups []uint32) *identity {
	key := make([]byte, 0, 64)
	for _, n := range append([]uint32{uid, gid}, groups...) {
		key = append(key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	identities.mu.Lock()
	defer identities.mu.Unlock()
	id := identities.all[string(key)]
	if id == nil {
		if identities.all == nil {
			identities.all = map[string]*identity{}
		}
		id = &identity{uid, gid, append([]uint32(nil), groups...), len(identities.all)}
		identities.all[string(key)] = id
	}
	identities.last.Store(id)
	return id
}

// setOwner makes owner the lock owner of the calling thread, from now on.
func (c *call) setOwner(owner string) {
	c.cred.Owner = owner
	w := c.c.who
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&w.owner[0])), len(w.owner)), owner)
	w.owner_len = C.uint8_t(len(owner))
}
