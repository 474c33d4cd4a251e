package gfapi

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// late is what a small file that was opened for reading has before the brick is
// told to open it: the contents and attributes that came with the lookup. Most
// such files are read once and closed, and then the lookup was all it took. It
// is what GlusterFS's clients do with open-behind and quick-read, but more
// careful: what came along is good for lateFor only, and not after anything was
// changed through this mount.
//
// The brick opens the file with the first operation that needs it. When the
// file has no name any more by then, which this mount takes care of and another
// client may cause, the contents are those that it had when it was opened.
type late struct {
	data  []byte
	attr  fop.Iatt
	until time.Time
	epoch uint64 // mounted.changes before the lookup
	gone  atomic.Bool
	mu    sync.Mutex // one opener
}

// lateFor is for how long a lookup's contents are served.
const lateFor = 100 * time.Millisecond

// serves reports whether l is enough for an operation.
func (l *late) serves(op string, m *mounted) bool {
	switch op {
	case "seek": // the offset is ours
		return true
	case "read", "stat":
	default:
		return false
	}
	return l.gone.Load() || l.epoch == m.changes.Load() && time.Now().Before(l.until)
}

// openLate opens a file as far as a lookup goes; nil if that is not enough.
func (v *Volume) openLate(name string, flags uint32, p place, epoch uint64) *File {
	c, ok := p.x.Get(fop.KeyContent)
	if !ok || !p.attr.IsRegular() || p.target != "" || !v.mayRead(&p.attr) {
		return nil
	}
	data := c.Bytes()
	if uint64(len(data)) != p.attr.Size {
		return nil
	}
	f := v.newFile(name, flags, v.m.vol.Unopened(&v.cred, p.gfid, flags), nil, &p.attr,
		&late{data: data, attr: p.attr, until: time.Now().Add(lateFor), epoch: epoch})
	return f
}

// ready has the brick open a file, if that is needed for op.
func (f *File) ready(ctx context.Context, op string) error {
	l := f.late.Load()
	if l == nil || l.serves(op, f.v.m) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.late.Load() == nil {
		return nil
	}
	err := syscall.ESTALE
	if !l.gone.Load() {
		err := f.f.Open(ctx, &f.v.cred)
		if err == nil {
			f.late.Store(nil)
			f.v.m.lateFiles.Add(-1)
			return nil
		}
		if !is(err, syscall.ESTALE, syscall.ENOENT) {
			return err
		}
		l.gone.Store(true)
	}
	if l.serves(op, f.v.m) {
		return nil
	}
	return err
}

// openAll has the bricks open all files that are not yet: their names may be
// about to go.
func (m *mounted) openAll() {
	if m.lateFiles.Load() == 0 {
		return
	}
	m.mu.Lock()
	var files []*File
	for f := range m.files {
		if f.late.Load() != nil {
			files = append(files, f)
		}
	}
	m.mu.Unlock()
	for _, f := range files {
		// An error shows again in the operation that needs the file.
		f.do("open", func(context.Context) error { return nil })
	}
}

// readAt reads from the file or from what came with its lookup.
func (f *File) readAt(ctx context.Context, p []byte, off uint64) (n int, eof bool, err error) {
	if l := f.late.Load(); l != nil {
		if off < uint64(len(l.data)) {
			n = copy(p, l.data[off:])
		}
		return n, off+uint64(n) >= uint64(len(l.data)), nil
	}
	return f.f.ReadAt(ctx, &f.v.cred, p, off)
}

// copyTo is readAt for all that follows off.
func (f *File) copyTo(ctx context.Context, w io.Writer, off uint64) (int64, error) {
	if l := f.late.Load(); l != nil {
		if off >= uint64(len(l.data)) {
			return 0, nil
		}
		n, err := w.Write(l.data[off:])
		return int64(n), err
	}
	return f.f.CopyTo(ctx, &f.v.cred, w, off, f.size.Load())
}

// changed takes note of an operation that may have changed what lookups before
// it brought along.
func (m *mounted) changed(op string) {
	switch op {
	case "read", "stat", "lstat", "open", "readdir", "readlink", "seek", "seek data", "seek hole",
		"getxattr", "listxattr", "statfs", "sync":
		return
	}
	m.changes.Add(1)
}
