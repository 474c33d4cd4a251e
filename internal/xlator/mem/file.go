package mem

import (
	"crypto/sha256"
	"math"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// attach makes fd an open file of n; without an Fd the caller only wanted to
// know whether it could.
func (m *FS) attach(fd *fop.Fd, n *node) {
	if fd != nil && fd.Set(m, &openFile{n}) == nil {
		n.fds++
	}
}

func (m *FS) open(r *fop.Open) (*fop.OpenReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.anonymous(r.GFID, nil)
	if err != nil {
		return nil, err
	}
	writes := r.Flags&fop.OAccmode != fop.ORdonly
	switch {
	case n.isSymlink():
		return nil, syscall.ELOOP
	case n.isDir() && (writes || r.Flags&fop.OTrunc != 0):
		return nil, syscall.EISDIR
	case n.mode&fop.ModeFmt == fop.ModeBlock || n.mode&fop.ModeFmt == fop.ModeChar:
		return nil, syscall.EINVAL
	}
	if r.Flags&fop.OTrunc != 0 && n.isRegular() {
		n.data.truncate(0)
		m.touch(n, &r.Header, fop.TimeCtime|fop.TimeMtime, ownTimes)
	}
	m.attach(r.Fd, n)
	return &fop.OpenReply{}, nil
}

func (m *FS) release(fd *fop.Fd) (*fop.CommonReply, error) {
	if fd == nil {
		return &fop.CommonReply{}, nil
	}
	m.mu.Lock()
	of, ok := fd.Set(m, nil).(*openFile)
	if ok {
		of.n.fds--
		m.forget(of.n)
	}
	m.mu.Unlock()
	if ok {
		m.locks.dropFd(fd)
	}
	return &fop.CommonReply{}, nil
}

func (m *FS) flush(r *fop.Flush) (*fop.CommonReply, error) {
	m.mu.RLock()
	n, err := m.anonymous(r.GFID, r.Fd)
	m.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	if r.Cred.Owner != "" {
		m.locks.dropOwner(n.gfid, holder{r.From, r.Cred.Owner})
	} else if r.Fd != nil {
		m.locks.dropFd(r.Fd)
	}
	return &fop.CommonReply{}, nil
}

func (m *FS) fsync(r *fop.Fsync) (*fop.AttrReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.anonymous(r.GFID, r.Fd)
	if err != nil {
		return nil, err
	}
	return &fop.AttrReply{Pre: n.iatt(), Post: n.iatt()}, nil
}

func (m *FS) fsyncdir(r *fop.Fsyncdir) (*fop.CommonReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.anonymous(r.GFID, r.Fd); err != nil {
		return nil, err
	}
	return &fop.CommonReply{}, nil
}

func (m *FS) read(r *fop.Read) (*fop.ReadReply, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.regular(r.GFID, r.Fd)
	switch {
	case err != nil:
		return nil, err
	case r.Fd != nil && r.Fd.Flags&fop.OAccmode == fop.OWronly:
		return nil, syscall.EBADF
	case r.Size == 0 || r.Offset > maxSize:
		return nil, syscall.EINVAL
	}
	b := r.Into
	if b == nil {
		size := uint64(r.Size)
		if r.Offset < n.data.size {
			size = min(size, n.data.size-r.Offset)
		} else {
			size = 0
		}
		b = make([]byte, size)
	} else {
		b = b[:min(len(b), int(r.Size))]
	}
	got := n.data.readAt(b, r.Offset)
	return &fop.ReadReply{Stat: n.iatt(), Data: b[:got], EOF: r.Offset+uint64(r.Size) >= n.data.size}, nil
}

func (m *FS) write(r *fop.Write) (*fop.WriteReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.writable(r.GFID, r.Fd)
	if err != nil {
		return nil, err
	}
	if r.XData.Has("glusterfs.avoid.overwrite") {
		if _, ok := n.getXattr("trusted.glusterfs.protect.writes"); ok {
			return nil, syscall.EBUSY
		}
	}
	off := r.Offset
	appends := r.Fd != nil && r.Fd.Flags&fop.OAppend != 0
	if appends {
		off = n.data.size
	}
	switch {
	case r.Offset > maxSize:
		return nil, syscall.EINVAL
	case off > maxSize-uint64(len(r.Data)):
		return nil, syscall.EFBIG
	}
	reply := &fop.WriteReply{Pre: n.iatt(), Size: uint32(len(r.Data))}
	if r.XData != nil {
		reply.XData = fop.NewDict()
		if r.XData.Has(fop.KeyWriteAppend) {
			last := uint64(0)
			if appends || r.Offset == n.data.size {
				last = 1
			}
			reply.XData.Set(fop.KeyWriteAppend, fop.Uint(last))
		}
		for _, key := range []string{fop.KeyOpenFdCount, fop.KeyActiveFdCount} {
			if r.XData.Has(key) {
				reply.XData.Set(key, fop.Uint(uint64(n.fds)))
			}
		}
	}
	if len(r.Data) > 0 {
		n.data.writeAt(r.Data, off)
		m.touch(n, &r.Header, fop.TimeCtime|fop.TimeMtime, ownTimes)
	}
	reply.Post = n.iatt()
	return reply, nil
}

// change carries out a change of contents and reports attributes around it.
func (m *FS) change(h *fop.Header, g fop.GFID, fd *fop.Fd, f func(n *node) error) (*fop.AttrReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.writable(g, fd)
	if err != nil {
		return nil, err
	}
	reply := &fop.AttrReply{Pre: n.iatt()}
	if err := f(n); err != nil {
		return nil, err
	}
	m.touch(n, h, fop.TimeCtime|fop.TimeMtime, ownTimes)
	reply.Post = n.iatt()
	return reply, nil
}

func (m *FS) truncate(h *fop.Header, g fop.GFID, fd *fop.Fd, size uint64) (*fop.AttrReply, error) {
	if size > maxSize {
		return nil, syscall.EINVAL
	}
	if fd != nil && fd.Flags&fop.OAccmode == fop.ORdonly {
		return nil, syscall.EINVAL // as ftruncate(2)
	}
	return m.change(h, g, fd, func(n *node) error {
		n.data.truncate(size)
		return nil
	})
}

// span checks a range as fallocate(2) does.
func span(off, size uint64) error {
	switch {
	case size == 0 || size > maxSize || off > maxSize:
		return syscall.EINVAL
	case off+size > maxSize:
		return syscall.EFBIG
	}
	return nil
}

func (m *FS) fallocate(r *fop.Fallocate) (*fop.AttrReply, error) {
	if err := span(r.Offset, r.Size); err != nil {
		return nil, err
	}
	return m.change(&r.Header, r.GFID, r.Fd, func(n *node) error {
		if r.Flags == 0 {
			n.data.size = max(n.data.size, r.Offset+r.Size)
		}
		return nil
	})
}

func (m *FS) discard(r *fop.Discard) (*fop.AttrReply, error) {
	if err := span(r.Offset, r.Size); err != nil {
		return nil, err
	}
	return m.change(&r.Header, r.GFID, r.Fd, func(n *node) error {
		n.data.punch(r.Offset, r.Size)
		return nil
	})
}

func (m *FS) zerofill(r *fop.Zerofill) (*fop.AttrReply, error) {
	if err := span(r.Offset, r.Size); err != nil {
		return nil, err
	}
	return m.change(&r.Header, r.GFID, r.Fd, func(n *node) error {
		n.data.punch(r.Offset, r.Size)
		n.data.size = max(n.data.size, r.Offset+r.Size)
		return nil
	})
}

func (m *FS) seek(r *fop.Seek) (*fop.SeekReply, error) {
	if r.What != fop.SeekData && r.What != fop.SeekHole {
		return nil, syscall.ENOTSUP
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.regular(r.GFID, r.Fd)
	if err != nil {
		return nil, err
	}
	off, ok := n.data.next(r.Offset, r.What == fop.SeekData)
	if !ok {
		return nil, syscall.ENXIO
	}
	return &fop.SeekReply{Offset: off}, nil
}

func (m *FS) copyRange(r *fop.CopyFileRange) (*fop.CopyFileRangeReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	src, err := m.regular(r.GFID, r.Fd)
	if err != nil {
		return nil, err
	}
	dst, err := m.writable(r.Dst, r.DstFd)
	size := uint64(r.Size)
	switch {
	case err != nil:
		return nil, err
	case r.Flags != 0 || r.Offset > maxSize || r.DstOffset > maxSize:
		return nil, syscall.EINVAL
	case r.DstFd != nil && r.DstFd.Flags&fop.OAppend != 0:
		return nil, syscall.EBADF
	case r.DstOffset+size > maxSize:
		return nil, syscall.EFBIG
	case src == dst && r.Offset < r.DstOffset+size && r.DstOffset < r.Offset+size:
		return nil, syscall.EINVAL
	}
	reply := &fop.CopyFileRangeReply{PreDst: dst.iatt()}
	if r.Offset < src.data.size {
		b := make([]byte, min(size, src.data.size-r.Offset))
		src.data.readAt(b, r.Offset)
		dst.data.writeAt(b, r.DstOffset)
		reply.Size = uint32(len(b))
		if len(b) > 0 {
			m.touch(dst, &r.Header, fop.TimeCtime|fop.TimeMtime, ownTimes)
		}
	}
	reply.Stat, reply.PostDst = src.iatt(), dst.iatt()
	return reply, nil
}

func (m *FS) rchecksum(r *fop.Rchecksum) (*fop.RchecksumReply, error) {
	if r.Offset > math.MaxInt64 || r.Len > 16<<20 {
		return nil, syscall.EINVAL
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.regular(r.GFID, r.Fd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, r.Len)
	b = b[:n.data.readAt(b, r.Offset)]
	strong := sha256.Sum256(b)
	reply := &fop.RchecksumReply{Flags: 1, Weak: adler0(b), Strong: strong[:]}
	reply.XData = fop.NewDict(fop.Pair{Key: "fips-mode-rchecksum", Val: fop.Int(1)})
	if r.XData.Has("check-zero-filled") {
		zero := uint64(1)
		for _, c := range b {
			if c != 0 {
				zero = 0
			}
		}
		reply.XData.Set("buf-has-zeroes", fop.Uint(zero))
	}
	return reply, nil
}

// adler0 is Adler-32 begun at 0 instead of 1.
func adler0(b []byte) uint32 {
	const mod = 65521
	var lo, hi uint32
	for _, c := range b {
		lo = (lo + uint32(c)) % mod
		hi = (hi + lo) % mod
	}
	return hi<<16 | lo
}
