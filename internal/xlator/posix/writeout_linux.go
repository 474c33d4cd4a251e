package posix

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// writeOuts are those under way.
type writeOuts struct {
	n     atomic.Int32
	wg    sync.WaitGroup
	begun atomic.Uint64 // so far
}

// begin has the kernel begin to write out what in has, if it is time.
func (o *writeOuts) begin(u *use, off, n uint64) {
	in := u.in
	in.mu.Lock()
	var from, size uint64
	if !in.unlinked {
		from, size = in.out.wrote(off, n)
	}
	in.mu.Unlock()
	if size == 0 {
		return
	}
	fd := -1
	if o.n.Add(1) <= maxWriteOuts {
		fd, _ = unix.FcntlInt(uintptr(u.fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	if fd < 0 { // the kernel will do it in time
		o.n.Add(-1)
		in.mu.Lock()
		in.out.busy = false
		in.mu.Unlock()
		return
	}
	o.begun.Add(1)
	o.wg.Go(func() {
		// It is no fsync: an error shows in the next one.
		unix.SyncFileRange(fd, int64(from), int64(size), unix.SYNC_FILE_RANGE_WRITE)
		unix.Close(fd)
		o.n.Add(-1)
		in.mu.Lock()
		in.out.busy = false
		in.mu.Unlock()
	})
}
