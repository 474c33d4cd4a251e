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

// listSize is how much a listing asks for at once, the most that GlusterFS's
// bricks give.
const listSize = 128 << 10

// listing is where the listing of an open directory is, as far as the engine
// knows: the shim has been given entries that it has not handed out yet.
type listing struct {
	mu      sync.Mutex
	entries []fop.Dirent // that bricks have sent
	next    int          // among them
	off     uint64       // of the next entry
	eof     bool         // none follow entries
}

// directory finds the open directory of argument 0.
func (c *call) directory() (*fd, error) {
	d, err := c.file(0)
	if err != nil {
		return nil, err
	}
	if d.o.d == nil {
		d.o.leave()
		return nil, syscall.EBADF
	}
	return d, nil
}

// ready reports whether the next entry is here, with attributes if they are
// asked for.
func (l *listing) ready(plus bool) bool {
	if l.next < len(l.entries) {
		return !plus || complete(&l.entries[l.next])
	}
	return l.eof
}

func complete(e *fop.Dirent) bool {
	return !e.Stat.GFID.IsZero() && (e.Stat.Ctime != fop.Time{}) && e.Name != "." && e.Name != ".."
}

// next returns the next entry, nil at the end. d.dir.mu is held.
func (c *call) next(d *fd, plus bool) (*fop.Dirent, error) {
	l := &d.dir
	if l.next == len(l.entries) {
		if l.eof {
			return nil, nil
		}
		var err error
		l.entries, l.next = nil, 0
		if plus {
			l.entries, l.eof, err = d.o.d.Readdirp(c.ctx, &c.cred, l.off, listSize)
		} else {
			l.entries, l.eof, err = d.o.d.Readdir(c.ctx, &c.cred, l.off, listSize)
		}
		if err != nil || len(l.entries) == 0 {
			return nil, err
		}
	}
	e := &l.entries[l.next]
	if plus && !complete(e) {
		if err := c.look(d, e); err != nil {
			return nil, err
		}
	}
	l.next++
	l.off = e.Off
	return e, nil
}

// look gets the attributes of an entry that came without. An entry that is gone
// keeps what it has.
func (c *call) look(d *fd, e *fop.Dirent) error {
	var a fop.Iatt
	var err error
	switch {
	case e.Name == ".":
		a, err = d.o.d.Getattr(c.ctx, &c.cred)
	case e.Name == "..":
		up := d.o.gfid
		if n := len(d.o.chain); n > 1 {
			up = d.o.chain[n-2].GFID
		}
		a, err = d.o.l.vol.Getattr(c.ctx, &c.cred, up)
	default:
		a, err = d.o.l.vol.Lookup(c.ctx, &c.cred, d.o.gfid, e.Name)
	}
	switch {
	case err == nil:
		e.Stat = a
	case fop.Errno(err) != syscall.ENOENT && fop.Errno(err) != syscall.ESTALE:
		return err
	default:
		e.Stat.Ino, e.Stat.Mode = e.Ino, e.Type<<12
	}
	return nil
}

// glfsReaddirR fills a buffer with entries that are at hand; the first may be
// asked for.
func (c *call) glfsReaddirR() int64 {
	d, err := c.directory()
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	c.c.arg[4] = C.int64_t(d.fs.h)
	plus, buf := c.arg(1) != 0, bytes(c.ptr(2), c.arg(3))
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	n := 0
	for {
		e, err := c.next(d, plus)
		switch {
		case err != nil:
			return c.fail(err)
		case e == nil:
			return int64(n)
		}
		n += d.fs.putEntry(buf[n:], e, plus)
		if len(buf)-n < maxEntry || d.dir.next == len(d.dir.entries) || !d.dir.ready(plus) {
			return int64(n)
		}
	}
}

const (
	entryHead = int(C.sizeof_struct_wythe_entry)
	statSize  = int(C.sizeof_struct_stat)
	maxEntry  = entryHead + statSize + nameMax + 8 // the most that one takes
)

// putEntry puts an entry into a buffer that has room for it, and tells its size.
func (f *fsys) putEntry(buf []byte, e *fop.Dirent, plus bool) int {
	p := unsafe.Pointer(&buf[0])
	h := (*C.struct_wythe_entry)(p)
	n := entryHead
	if h.plus = 0; plus {
		h.plus = 1
		f.putStat(unsafe.Add(p, n), &e.Stat)
		n += statSize
	}
	name := e.Name[:min(len(e.Name), nameMax)]
	h.name_len, h._type, h.ino, h.off = C.uint16_t(len(name)), C.uint8_t(e.Type), C.uint64_t(e.Ino), C.uint64_t(e.Off)
	n += copy(buf[n:], name)
	buf[n] = 0
	n = (n + 8) &^ 7
	h.size = C.uint32_t(n)
	return n
}

// quickReaddirR answers from what is here already.
func quickReaddirR(c *call) (int64, bool) {
	d, ok := handles.get(c.arg(0)).(*fd)
	if !ok || d.o.d == nil {
		return c.glfsReaddirR(), true
	}
	if !d.dir.mu.TryLock() {
		return 0, false
	}
	ready := d.dir.ready(c.arg(1) != 0)
	d.dir.mu.Unlock()
	if !ready {
		return 0, false
	}
	// Somebody else may take the entry now; then this one waits where it should
	// not, as long as a round trip takes.
	return c.glfsReaddirR(), true
}

func (c *call) glfsTelldir() int64 {
	d, err := c.directory()
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	return int64(d.dir.off)
}

func (c *call) glfsSeekdir() int64 {
	d, err := c.directory()
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	l := &d.dir
	l.mu.Lock()
	defer l.mu.Unlock()
	off := uint64(c.arg(1))
	if off == l.off {
		return 0
	}
	for i := range l.entries {
		if l.entries[i].Off == off {
			l.next, l.off = i+1, off
			return 0
		}
	}
	l.entries, l.next, l.eof, l.off = nil, 0, false, off
	return 0
}

// What glfs_xreaddirplus_r can give.
const (
	xstatStat   = C.GFAPI_XREADDIRP_STAT
	xstatHandle = C.GFAPI_XREADDIRP_HANDLE
)

func (c *call) glfsXreaddirplusR() int64 {
	want := uint32(c.arg(1))
	xstat, result := (*unsafe.Pointer)(c.ptr(2)), (*unsafe.Pointer)(c.ptr(4))
	if xstat == nil || result == nil || want&^(xstatStat|xstatHandle) != 0 {
		return c.fail(syscall.EINVAL)
	}
	*xstat, *result = nil, nil
	d, err := c.directory()
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	d.dir.mu.Lock()
	defer d.dir.mu.Unlock()
	c.c.arg[5] = C.int64_t(d.fs.h) // for the shim
	e, err := c.next(d, true)
	if err != nil {
		return c.fail(err)
	}
	if e == nil {
		return 0
	}
	x := (*C.struct_wythe_xstat)(alloc(C.sizeof_struct_wythe_xstat))
	p := c.ptr(3)
	if x == nil {
		return c.fail(syscall.ENOMEM)
	}
	x.head.magic, x.head.kind = C.WYTHE_RECORD, C.WYTHE_XSTAT
	if want&xstatStat != 0 {
		d.fs.putStat(unsafe.Pointer(&x.stat), &e.Stat)
		x.flags |= xstatStat
	}
	if want&xstatHandle != 0 && e.Name != "." && e.Name != ".." && !e.Stat.GFID.IsZero() {
		if h := handles.add(&object{fs: d.fs, gfid: e.Stat.GFID, mode: e.Stat.Mode, parent: d.o.gfid}); h != 0 {
			x.object = C.int64_t(h)
			x.flags |= xstatHandle
		}
	}
	putDirent(p, e)
	*xstat, *result = unsafe.Pointer(x), p
	return int64(x.flags)
}
