package server

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// anonymousFd is the number that stands for "no open file, go by the GFID".
const anonymousFd = -2

// maxFds bounds the open files of one client, far above what a process of any
// sane configuration opens.
const maxFds = 1 << 20

// openFile is an entry of a client's fd table. The table holds one reference,
// every fop in flight one more; who drops the last one releases the file on
// the brick, so that no translator sees a Release while it works on the Fd.
type openFile struct {
	fop.Fd
	refs atomic.Int32
}

// fdTable maps the numbers of one client to its open files. A new file gets
// the lowest free number.
type fdTable struct {
	mu     sync.RWMutex
	files  []*openFile
	low    int // no free number is below this one
	open   int
	closed bool
}

// add puts f into the table, which takes over one reference.
func (t *fdTable) add(f *openFile) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return -1, syscall.ENOTCONN
	}
	n := t.low
	for n < len(t.files) && t.files[n] != nil {
		n++
	}
	switch {
	case n >= maxFds:
		return -1, syscall.EMFILE
	case n == len(t.files):
		t.files = append(t.files, f)
	default:
		t.files[n] = f
	}
	t.low = n + 1
	t.open++
	return int64(n), nil
}

// get returns the open file of a number with one more reference, which the
// caller gives back with session.put.
func (t *fdTable) get(n int64) (*openFile, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n < 0 || n >= int64(len(t.files)) || t.files[n] == nil {
		return nil, syscall.EBADF
	}
	f := t.files[n]
	f.refs.Add(1)
	return f, nil
}

// take removes a number from the table and hands its reference to the caller.
func (t *fdTable) take(n int64) (*openFile, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < 0 || n >= int64(len(t.files)) || t.files[n] == nil {
		return nil, syscall.EBADF
	}
	f := t.files[n]
	t.files[n] = nil
	t.open--
	t.low = min(t.low, int(n))
	return f, nil
}

// close empties the table for good; its references go to the caller.
func (t *fdTable) close() []*openFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	var all []*openFile
	for _, f := range t.files {
		if f != nil {
			all = append(all, f)
		}
	}
	t.files, t.low, t.open = nil, 0, 0
	return all
}

// list describes all entries and tells the size of the table.
func (t *fdTable) list() (all []xlator.FdInfo, size, firstFree int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for n, f := range t.files {
		if f != nil {
			all = append(all, xlator.FdInfo{Number: n, Refs: int(f.refs.Load()), Flags: f.Flags, GFID: f.GFID, Dir: f.Dir})
		}
	}
	firstFree = t.low
	for firstFree < len(t.files) && t.files[firstFree] != nil {
		firstFree++
	}
	return all, max(len(t.files), 128), firstFree
}
