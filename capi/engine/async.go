//go:build linux && cgo

package main

/*
#include "engine.h"
*/
import "C"

import (
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
)

// The _async functions check their arguments and copy what is to be written,
// then they are done: the rest happens in a goroutine, which calls back.

// back calls the callback of an _async function, unless the file was closed
// meanwhile, and lets go of it. What it is given ends with it.
type back struct {
	d           *fd
	old         bool
	cbk, data   int64
	pre, post   bool // which attributes it gets
	attr, attr2 fop.Iatt
}

func (b *back) call(ret int64, err error) {
	defer b.d.o.leave()
	if b.d.closed.Load() || b.cbk == 0 {
		return
	}
	e := fop.Errno(err)
	if err != nil {
		ret = -1
	}
	var mem, pre, post unsafe.Pointer
	if !b.old && (b.pre || b.post) && err == nil {
		const size = unsafe.Sizeof(C.struct_glfs_stat{})
		if mem = alloc(2 * size); mem != nil {
			if b.pre {
				pre = mem
				b.d.fs.putGlfsStat(pre, &b.attr)
			}
			if b.post {
				post = unsafe.Add(mem, size)
				b.d.fs.putGlfsStat(post, &b.attr2)
			}
		}
	}
	old := C.int32_t(0)
	if b.old {
		old = 1
	}
	C.wythe_host_io(host, C.int64_t(b.cbk), old, C.int64_t(b.d.h), C.int64_t(ret), C.int32_t(e), pre, post, C.int64_t(b.data))
	release(mem)
}

// detach makes a call that goes on after its caller has returned.
func (c *call) detach() *call {
	return &call{op: c.op, old: c.old, cred: c.cred, id: c.id, ctx: c.ctx}
}

// async is a read or write; cbk is the number of the argument that is the
// callback, its data follows.
func (c *call) async(how form, cbk int) int64 {
	t, err := c.begin(how)
	if err != nil {
		return c.fail(err)
	}
	b := &back{d: t.d, old: c.old, cbk: c.arg(cbk), data: c.arg(cbk + 1), pre: how.write, post: true}
	bg := c.detach()
	if !how.write {
		go func() {
			n, err := int64(0), error(nil)
			if b.old {
				n, err = bg.read(&t, nil)
			} else {
				n, err = bg.read(&t, &b.attr2)
			}
			b.call(n, err)
		}()
		return 0
	}
	data := getBuffer(int(t.size))
	buf := (*data)[:t.size]
	t.gather(buf)
	t.vec = nil // not ours after this
	go func() {
		n, err := int64(0), error(nil)
		if len(buf) > 0 {
			n, err = bg.writeFrom(&t, buf, &b.attr, &b.attr2)
		}
		putBuffer(data)
		b.call(n, err)
	}()
	return 0
}

func (c *call) glfsReadAsync() int64   { return c.async(form{}, 4) }
func (c *call) glfsReadvAsync() int64  { return c.async(form{vector: true}, 4) }
func (c *call) glfsPreadAsync() int64  { return c.async(form{at: true}, 5) }
func (c *call) glfsPreadvAsync() int64 { return c.async(form{vector: true, at: true}, 5) }
func (c *call) glfsWriteAsync() int64  { return c.async(form{write: true}, 4) }
func (c *call) glfsWritevAsync() int64 { return c.async(form{write: true, vector: true}, 4) }
func (c *call) glfsPwritevAsync() int64 {
	return c.async(form{write: true, vector: true, at: true}, 5)
}

func (c *call) glfsPwriteAsync() int64 {
	if int32(c.arg(2)) < 0 { // an int here, alone among its kin
		if d, err := c.file(0); err != nil {
			return c.fail(err)
		} else {
			d.o.leave()
		}
		return c.fail(syscall.EINVAL)
	}
	return c.async(form{write: true, at: true}, 5)
}

// asyncChange is another operation on a file.
func (c *call) asyncChange(do change, cbk int) int64 {
	d, err := c.file(0)
	if err != nil {
		return c.fail(err)
	}
	b := &back{d: d, old: c.old, cbk: c.arg(cbk), data: c.arg(cbk + 1), pre: true, post: true}
	bg := c.detach()
	go func() {
		r, err := do(bg, d)
		if err == nil {
			b.attr, b.attr2 = r.Pre, r.Post
		}
		b.call(0, err)
	}()
	return 0
}

func (c *call) glfsFsyncAsync() int64     { return c.asyncChange(fsync(0), 1) }
func (c *call) glfsFdatasyncAsync() int64 { return c.asyncChange(fsync(1), 1) }
func (c *call) glfsFtruncateAsync() int64 { return c.asyncChange(ftruncate(c.arg(1)), 2) }
func (c *call) glfsDiscardAsync() int64   { return c.asyncChange(discard(c.arg(1), c.arg(2)), 3) }
func (c *call) glfsZerofillAsync() int64  { return c.asyncChange(zerofill(c.arg(1), c.arg(2)), 3) }

// quick are the functions that never wait, or as much of them as does not: done
// is false if there is more to do. Here is what known.go says, too.
var quick = [opCount]func(*call) (ret int64, done bool){
	opNew:             whole((*call).glfsNew),
	opSetVolfile:      whole((*call).glfsSetVolfile),
	opSetXlatorOption: whole((*call).glfsSetXlatorOption),
	opFromGlfd:        whole((*call).glfsFromGlfd),
	opFdSetLkowner:    whole((*call).glfsFdSetLkowner),
	opLseek:           quickLseek,
	opTelldir:         whole((*call).glfsTelldir),
	opSeekdir:         whole((*call).glfsSeekdir),
	opReaddirR:        quickReaddirR,
	opReadAsync:       whole((*call).glfsReadAsync),
	opReadvAsync:      whole((*call).glfsReadvAsync),
	opPreadAsync:      whole((*call).glfsPreadAsync),
	opPreadvAsync:     whole((*call).glfsPreadvAsync),
	opWriteAsync:      whole((*call).glfsWriteAsync),
	opWritevAsync:     whole((*call).glfsWritevAsync),
	opPwriteAsync:     whole((*call).glfsPwriteAsync),
	opPwritevAsync:    whole((*call).glfsPwritevAsync),
	opFsyncAsync:      whole((*call).glfsFsyncAsync),
	opFdatasyncAsync:  whole((*call).glfsFdatasyncAsync),
	opFtruncateAsync:  whole((*call).glfsFtruncateAsync),
	opDiscardAsync:    whole((*call).glfsDiscardAsync),
	opZerofillAsync:   whole((*call).glfsZerofillAsync),
	opHClose:          whole((*call).glfsHClose),
	opObjectCopy:      whole((*call).glfsObjectCopy),
	opHExtractHandle:  whole((*call).glfsHExtractHandle),
	opStat:            atHand((*call).glfsStat),
	opLstat:           atHand((*call).glfsLstat),
	opGetxattr:        atHand((*call).glfsGetxattr),
	opLgetxattr:       atHand((*call).glfsLgetxattr),
	opOpen:            atHand((*call).glfsOpen),
	opHLookupat:       atHand((*call).glfsHLookupat),
	opHOpen:           atHand((*call).glfsHOpen),
	opHStat:           atHand((*call).glfsHStat),
	opHGetattrs:       atHand((*call).glfsHGetattrs),
	opHGetxattrs:      atHand((*call).glfsHGetxattrs),
	opFstat:           quickFstat,
	opRead:            quickRead(form{}),
	opPread:           quickRead(form{at: true}),
	opClose:           quickClose,
}

func whole(f func(*call) int64) func(*call) (int64, bool) {
	return func(c *call) (int64, bool) { return f(c), true }
}
