//go:build linux

package posix

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

const (
	maxRead   = 64 << 20 // more at once is answered short
	alignment = 4096     // of buffers for O_DIRECT
)

// aligned returns a buffer that O_DIRECT takes.
func aligned(n int) []byte {
	b := make([]byte, n+alignment)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & (alignment - 1))
	return b[off : off+n : off+n]
}

// fstatUse reads the attributes of an open file.
func (b *Brick) fstatUse(u *use) (fop.Iatt, error) {
	var st unix.Stat_t
	if err := unix.Fstat(u.fd, &st); err != nil {
		return fop.Iatt{}, err
	}
	return b.iattOf(brickfs.Open(u.fd), &st, u.in), nil
}

func (b *Brick) read(r *fop.Read) (*fop.ReadReply, error) {
	if r.Size == 0 || r.Offset > 1<<63-1 {
		return nil, syscall.EINVAL
	}
	var u use
	if err := b.use(r.Fd, r.GFID, r.Flags, &u); err != nil {
		return nil, err
	}
	defer b.done(&u)
	buf := r.Into
	size := int64(r.Size)
	if buf != nil {
		size = min(size, int64(len(buf)))
	} else if size > 128<<10 { // do not trust a stranger's numbers
		var st unix.Stat_t
		if err := unix.Fstat(u.fd, &st); err != nil {
			return nil, err
		}
		if isRegular(&st) && !u.direct {
			size = min(size, max(st.Size-int64(r.Offset), 1))
		}
		size = min(size, maxRead)
	}
	if u.direct {
		buf = aligned(int(size))
	} else if buf == nil {
		buf = make([]byte, size)
	}
	n, err := pread(u.fd, buf[:size], int64(r.Offset))
	if err != nil {
		return nil, err
	}
	data := buf[:n]
	if u.direct && r.Into != nil {
		data = r.Into[:copy(r.Into, data)]
	}
	b.touch(brickfs.Open(u.fd), u.in, &r.Time, r.Time.Flags&fop.TimeAtime)
	a, err := b.fstatUse(&u)
	if err != nil {
		return nil, err
	}
	return &fop.ReadReply{Stat: a, Data: data, EOF: a.Size == 0 || r.Offset+uint64(n) >= a.Size}, nil
}

func pread(fd int, buf []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(fd, buf, off)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// pwrite writes all of data; a short count comes with an error.
func pwrite(fd int, data []byte, off int64) (done int, err error) {
	for done < len(data) || len(data) == 0 {
		n, err := unix.Pwrite(fd, data[done:], off+int64(done))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
		if n == 0 {
			break
		}
	}
	return done, nil
}

func (b *Brick) write(r *fop.Write) (*fop.WriteReply, error) {
	if r.Offset > 1<<63-1-uint64(len(r.Data)) {
		return nil, syscall.EFBIG
	}
	var u use
	if err := b.use(r.Fd, r.GFID, r.Flags, &u); err != nil {
		return nil, err
	}
	defer b.done(&u)
	o := brickfs.Open(u.fd)
	wantAppend := r.XData.Has(fop.KeyWriteAppend)
	if wantAppend || r.XData.Has("glusterfs.write-update-atomic") {
		u.in.op.Lock()
		defer u.in.op.Unlock()
	}
	pre, err := b.fstatUse(&u)
	if err != nil {
		return nil, err
	}
	if err := b.mayWrite(&r.Header, o); err != nil {
		return nil, err
	}
	inside := r.Offset+uint64(len(r.Data)) <= pre.Size && pre.Blocks*512 >= pre.Size
	if !inside {
		if err := b.full(&r.Header); err != nil {
			return nil, err
		}
	}
	data := r.Data
	if u.direct {
		data = aligned(len(r.Data))
		copy(data, r.Data)
	}
	n, err := pwrite(u.fd, data, int64(r.Offset))
	if err != nil && n == 0 {
		return nil, err
	}
	if r.Flags&(unix.O_SYNC|unix.O_DSYNC) != 0 {
		if err := unix.Fsync(u.fd); err != nil {
			return nil, err
		}
	}
	b.touch(o, u.in, &r.Time, r.Time.Flags&ownTimes)
	post, err := b.fstatUse(&u)
	if err != nil {
		return nil, err
	}
	reply := &fop.WriteReply{Pre: pre, Post: post, Size: uint32(n)}
	if r.XData.Len() > 0 {
		x := fop.NewDict()
		if wantAppend {
			x.Set(fop.KeyWriteAppend, fop.Uint(boolNum(u.append || pre.Size == r.Offset)))
		}
		b.fdCounts(r.XData, u.in, x)
		reply.XData = x
	}
	return reply, nil
}

func boolNum(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// mayWrite minds the attributes with which rebalance keeps clients from writing
// to a file that it is about to move.
func (b *Brick) mayWrite(h *fop.Header, o brickfs.Obj) error {
	if v, ok := h.XData.Get("trusted.glusterfs.protect.writes"); ok {
		if err := b.attrs.Set(o, "trusted.glusterfs.protect.writes", v.Bytes(), 0); err != nil {
			return err
		}
	}
	if h.XData.Has("glusterfs.avoid.overwrite") {
		if _, err := b.attrs.Get(o, "trusted.glusterfs.protect.writes", nil); err == nil {
			return syscall.EBUSY
		}
	}
	return nil
}

func (b *Brick) truncate(h *fop.Header, g fop.GFID, fd *fop.Fd, size uint64) (*fop.AttrReply, error) {
	if size > 1<<63-1 {
		return nil, syscall.EINVAL
	}
	var u use
	if err := b.use(fd, g, 0, &u); err != nil {
		return nil, err
	}
	defer b.done(&u)
	pre, err := b.fstatUse(&u)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Ftruncate(u.fd, int64(size)); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	b.touch(brickfs.Open(u.fd), u.in, &h.Time, h.Time.Flags&ownTimes)
	post, err := b.fstatUse(&u)
	return &fop.AttrReply{Pre: pre, Post: post}, err
}

func (b *Brick) fsync(r *fop.Fsync) (*fop.AttrReply, error) {
	var u use
	if err := b.use(r.Fd, r.GFID, 0, &u); err != nil {
		return nil, err
	}
	defer b.done(&u)
	if r.XData.Has("batch-fsync") && b.opt.Load().batchMode != "none" {
		return &fop.AttrReply{}, b.batch.sync(u.fd)
	}
	pre, err := b.fstatUse(&u)
	if err != nil {
		return nil, err
	}
	if r.Datasync != 0 {
		err = unix.Fdatasync(u.fd)
	} else {
		err = unix.Fsync(u.fd)
	}
	if err != nil {
		return nil, err
	}
	post, err := b.fstatUse(&u)
	return &fop.AttrReply{Pre: pre, Post: post}, err
}

// batcher syncs many files at once for clients that ask for it.
type batcher struct {
	b       *Brick
	mu      sync.Mutex
	waiting []syncReq
	running bool
}

type syncReq struct {
	fd   int
	done chan error
}

func (q *batcher) sync(fd int) error {
	r := syncReq{fd, make(chan error, 1)}
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	if !q.running {
		q.running = true
		go q.run()
	}
	q.mu.Unlock()
	return <-r.done
}

func (q *batcher) run() {
	for {
		opt := q.b.opt.Load()
		pause(opt.batchDelay)
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		if len(batch) == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		var all error
		if opt.batchMode != "reverse-fsync" {
			all = unix.Syncfs(q.b.root.fd)
		}
		for i := len(batch) - 1; i >= 0; i-- {
			err := all
			if opt.batchMode == "reverse-fsync" || opt.batchMode == "syncfs-reverse-fsync" ||
				opt.batchMode == "syncfs-single-fsync" && i == len(batch)-1 {
				if e := unix.Fsync(batch[i].fd); err == nil {
					err = e
				}
			}
			batch[i].done <- err
		}
	}
}
