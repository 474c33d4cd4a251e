package gfapi

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
)

// File is an open file or directory. Its methods follow those of [os.File], and
// may be called concurrently; those that use the file's offset take turns.
type File struct {
	v     *Volume
	name  string
	flags uint32
	gfid  fop.GFID
	f     *volume.File // of a file
	d     *volume.Dir  // of a directory
	owner string       // of locks
	id    uint64       // counts the files of a mount

	use      use
	deadline atomic.Pointer[time.Time]
	size     atomic.Uint64 // as last seen, a hint
	wrote    atomic.Bool
	locked   atomic.Bool

	mu   sync.Mutex // what follows; of two files the one with the lower id first
	pos  int64
	list listing
}

// use counts operations under way, so that the last one releases a file that
// was closed meanwhile.
type use struct {
	refs   atomic.Int64 // one more while the file is open
	closed atomic.Bool
}

// begin is the start of every operation.
func (f *File) begin() (ctx context.Context, done func(), err error) {
	if f == nil {
		return nil, never, fs.ErrInvalid
	}
	for {
		n := f.use.refs.Load()
		if n == 0 || f.use.closed.Load() {
			return nil, never, fs.ErrClosed
		}
		if f.use.refs.CompareAndSwap(n, n+1) {
			break
		}
	}
	ctx, cancel, err := f.v.begin()
	if err != nil {
		f.end()
		return nil, never, err
	}
	if t := f.deadline.Load(); t != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, *t)
		return ctx, func() { stop(); cancel(); f.end() }, nil
	}
	if f.v.m.timeout > 0 {
		return ctx, func() { cancel(); f.end() }, nil
	}
	return ctx, f.end, nil
}

// end is the end of every operation.
func (f *File) end() {
	if f.use.refs.Add(-1) > 0 {
		return
	}
	// Translators do not wait for the answer. Another goroutine would only make
	// it collide with the next call on the connection.
	ctx := context.WithoutCancel(f.v.ctx)
	switch {
	case f.d != nil:
		f.d.Close(ctx, &f.v.cred)
	default:
		f.f.Release(ctx, &f.v.cred)
	}
}

// do runs an operation on the file and gives its error the usual form.
func (f *File) do(op string, run func(ctx context.Context) error) error {
	ctx, done, err := f.begin()
	if err == nil {
		if err = ctx.Err(); err == nil {
			err = run(ctx)
		}
		if errors.Is(err, context.DeadlineExceeded) && f.deadline.Load() != nil && f.v.ctx.Err() == nil {
			err = os.ErrDeadlineExceeded
		}
		done()
	}
	return f.fail(op, err)
}

func (f *File) fail(op string, err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case f == nil:
		return err
	}
	if pe, ok := err.(*fs.PathError); ok { // of a call that this one is made of
		return pe
	}
	return &fs.PathError{Op: op, Path: f.name, Err: tidy(err)}
}

// data is do for what only regular files can.
func (f *File) data(op string, run func(ctx context.Context) error) error {
	return f.do(op, func(ctx context.Context) error {
		if f.f == nil {
			switch op {
			case "write":
				return syscall.EBADF
			case "truncate":
				return syscall.EINVAL
			}
			return syscall.EISDIR
		}
		return run(ctx)
	})
}

// Close ends the use of the file and reports errors of earlier writes. Locks
// held through it are gone. A second Close fails with fs.ErrClosed.
func (f *File) Close() error {
	if f == nil {
		return fs.ErrInvalid
	}
	if f.use.closed.Swap(true) {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	m := f.v.m
	m.mu.Lock()
	delete(m.files, f)
	m.mu.Unlock()
	var err error
	if f.f != nil && (f.wrote.Load() || f.locked.Load()) {
		c := f.lockCred()
		ctx, stop := f.closing()
		err = f.f.Flush(ctx, &c)
		stop()
	}
	f.end()
	return f.fail("close", err)
}

// closing is the context of a Close, which must reach the servers even when
// that of the file is over.
func (f *File) closing() (context.Context, context.CancelFunc) {
	ctx := f.v.ctx
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	t := f.v.m.timeout
	if f.v.m.closed.Load() && (t <= 0 || t > unmountGrace) {
		t = unmountGrace
	}
	if t > 0 {
		return context.WithTimeout(ctx, t)
	}
	return ctx, never
}

// Name returns the name that the file was opened by.
func (f *File) Name() string { return f.name }

// SetDeadline makes operations on the file that are not done at t fail with
// [os.ErrDeadlineExceeded], also those that begin later. The zero time means
// never.
func (f *File) SetDeadline(t time.Time) error {
	if f == nil {
		return fs.ErrInvalid
	}
	if f.use.closed.Load() {
		return f.fail("set deadline", fs.ErrClosed)
	}
	if t.IsZero() {
		f.deadline.Store(nil)
	} else {
		f.deadline.Store(&t)
	}
	return nil
}

// Stat returns the attributes of the file.
func (f *File) Stat() (fi fs.FileInfo, err error) {
	err = f.do("stat", func(ctx context.Context) error {
		a, err := f.getattr(ctx)
		if err == nil {
			fi = newInfo(f.name, &a)
		}
		return err
	})
	return fi, err
}

func (f *File) getattr(ctx context.Context) (a fop.Iatt, err error) {
	if f.d != nil {
		return f.d.Getattr(ctx, &f.v.cred)
	}
	if a, err = f.f.Getattr(ctx, &f.v.cred); err == nil {
		f.size.Store(a.Size)
	}
	return a, err
}

// Sync makes what was written durable.
func (f *File) Sync() error {
	return f.do("sync", func(ctx context.Context) error {
		if f.d != nil {
			return f.d.Fsync(ctx, &f.v.cred)
		}
		_, err := f.f.Fsync(ctx, &f.v.cred, false)
		return err
	})
}

// Truncate sets the size of the file.
func (f *File) Truncate(size int64) error {
	return f.data("truncate", func(ctx context.Context) error {
		if size < 0 || f.flags&fop.OAccmode == fop.ORdonly {
			return syscall.EINVAL
		}
		f.wrote.Store(true)
		a, err := f.f.Truncate(ctx, &f.v.cred, uint64(size))
		return f.sized(a, err)
	})
}

// sized takes note of the size that a change has left.
func (f *File) sized(a fop.Iatt, err error) error {
	if err == nil {
		f.size.Store(a.Size)
	}
	return err
}

func (f *File) setattr(op string, valid int32, want fop.Iatt) error {
	return f.do(op, func(ctx context.Context) error {
		var err error
		if f.d != nil {
			_, err = f.v.m.vol.Setattr(ctx, &f.v.cred, f.gfid, valid, want)
		} else {
			_, err = f.f.Setattr(ctx, &f.v.cred, valid, want)
		}
		return err
	})
}

// Chmod changes permissions.
func (f *File) Chmod(mode fs.FileMode) error {
	return f.setattr("chmod", fop.SetMode, fop.Iatt{Mode: permBits(mode)})
}

// Chown changes owner and group; -1 leaves one as it is.
func (f *File) Chown(uid, gid int) error {
	valid, want := owner(uid, gid)
	return f.setattr("chown", valid, want)
}

// Chtimes sets the times of access and modification; a zero time.Time leaves one
// as it is.
func (f *File) Chtimes(atime, mtime time.Time) error {
	valid, want := chtimes(atime, mtime)
	return f.setattr("chtimes", valid, want)
}

// span checks a range.
func span(off, size int64) error {
	if off < 0 || size <= 0 || off > math.MaxInt64-size {
		return syscall.EINVAL
	}
	return nil
}

// Allocate reserves space for size bytes at off; the file grows if need be.
func (f *File) Allocate(off, size int64) error {
	return f.space("allocate", off, size, func(ctx context.Context) (fop.Iatt, error) {
		return f.f.Allocate(ctx, &f.v.cred, uint64(off), uint64(size), false)
	})
}

// Punch turns size bytes at off into a hole. The size of the file stays.
func (f *File) Punch(off, size int64) error {
	return f.space("punch", off, size, func(ctx context.Context) (fop.Iatt, error) {
		return f.f.Discard(ctx, &f.v.cred, uint64(off), uint64(size))
	})
}

// Zero zeroes size bytes at off; the file grows if need be.
func (f *File) Zero(off, size int64) error {
	return f.space("zero", off, size, func(ctx context.Context) (fop.Iatt, error) {
		return f.f.Zerofill(ctx, &f.v.cred, uint64(off), uint64(size))
	})
}

func (f *File) space(op string, off, size int64, run func(ctx context.Context) (fop.Iatt, error)) error {
	return f.data(op, func(ctx context.Context) error {
		if err := span(off, size); err != nil {
			return err
		}
		// An arbiter's brick, which has no open file to look at, would not mind.
		if err := f.writable(); err != nil {
			return err
		}
		f.wrote.Store(true)
		return f.sized(run(ctx))
	})
}

// SeekData returns where the next data at or after off is; ENXIO if there is
// none. The offset of the file stays.
func (f *File) SeekData(off int64) (int64, error) { return f.find("seek data", off, fop.SeekData) }

// SeekHole is SeekData for holes. The end of the file is one.
func (f *File) SeekHole(off int64) (int64, error) { return f.find("seek hole", off, fop.SeekHole) }

func (f *File) find(op string, off int64, what int32) (at int64, err error) {
	err = f.data(op, func(ctx context.Context) error {
		if off < 0 {
			return syscall.ENXIO
		}
		n, err := f.f.Seek(ctx, &f.v.cred, uint64(off), what)
		at = int64(n)
		return err
	})
	return at, err
}

// LockKind says what a lock keeps away.
type LockKind uint32

// Kinds of lock.
const (
	ReadLock  LockKind = fop.LockRead  // writers
	WriteLock LockKind = fop.LockWrite // readers and writers
)

// Lock locks size bytes at off, all that follow if size is 0, and waits until
// it can or the context of the file ends. Locks are advisory and as fcntl(2)
// has them; every File is an owner of its own, unless [Cred].LockOwner says
// otherwise. Closing the file drops its locks.
func (f *File) Lock(kind LockKind, off, size int64) error {
	return f.lock("lock", fop.LkSetWait, uint32(kind), off, size)
}

// TryLock is Lock that fails with EAGAIN instead of waiting.
func (f *File) TryLock(kind LockKind, off, size int64) error {
	return f.lock("lock", fop.LkSet, uint32(kind), off, size)
}

// Unlock drops the locks of the file, or the parts of them, that are in size
// bytes at off, or anywhere behind it if size is 0.
func (f *File) Unlock(off, size int64) error {
	return f.lock("unlock", fop.LkSet, fop.LockUnlock, off, size)
}

func (f *File) lockCred() fop.Cred {
	c := f.v.cred
	c.Owner = f.owner
	return c
}

func (f *File) lock(op string, cmd, typ uint32, off, size int64) error {
	return f.data(op, func(ctx context.Context) error {
		if off < 0 || size < 0 || typ > fop.LockUnlock {
			return syscall.EINVAL
		}
		f.locked.Store(true)
		c := f.lockCred()
		if cmd != fop.LkSetWait || ctx.Done() == nil {
			_, err := f.f.Lock(ctx, &c, cmd, typ, uint64(off), uint64(size))
			return err
		}
		return f.lockOrLeave(ctx, &c, typ, uint64(off), uint64(size))
	})
}

// lockOrLeave waits for a lock until ctx ends. The protocol cannot take a
// request back: when the lock is granted after all it is dropped at once.
func (f *File) lockOrLeave(ctx context.Context, c *fop.Cred, typ uint32, off, size uint64) error {
	granted := make(chan error)
	background := context.WithoutCancel(ctx)
	f.use.refs.Add(1) // keep the file until the answer is here
	f.v.m.background(func() {
		defer f.end()
		_, err := f.f.Lock(background, c, fop.LkSetWait, typ, off, size)
		select {
		case granted <- err:
		case <-ctx.Done():
			if err == nil {
				f.f.Lock(background, c, fop.LkSet, fop.LockUnlock, off, size)
			}
		}
	})
	select {
	case err := <-granted:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Getxattr returns the value of an extended attribute; ENODATA if there is
// none.
func (f *File) Getxattr(attr string) (val []byte, err error) {
	err = f.do("getxattr", func(ctx context.Context) (err error) {
		if f.d != nil {
			val, err = f.v.m.vol.Getxattr(ctx, &f.v.cred, f.gfid, attr)
		} else {
			val, err = f.f.Getxattr(ctx, &f.v.cred, attr)
		}
		return err
	})
	return val, err
}

// Listxattr returns the names of all extended attributes.
func (f *File) Listxattr() (attrs []string, err error) {
	err = f.do("listxattr", func(ctx context.Context) (err error) {
		attrs, err = f.v.m.vol.Listxattr(ctx, &f.v.cred, f.gfid)
		return err
	})
	return attrs, err
}

// Setxattr sets an extended attribute; flags are 0, XattrCreate or XattrReplace.
func (f *File) Setxattr(attr string, val []byte, flags int) error {
	return f.do("setxattr", func(ctx context.Context) error {
		if attr == "" || strings.IndexByte(attr, 0) >= 0 {
			return syscall.EINVAL
		}
		if f.d != nil {
			return f.v.m.vol.Setxattr(ctx, &f.v.cred, f.gfid, attr, val, uint32(flags))
		}
		return f.f.Setxattr(ctx, &f.v.cred, attr, val, uint32(flags))
	})
}

// Removexattr removes an extended attribute.
func (f *File) Removexattr(attr string) error {
	return f.do("removexattr", func(ctx context.Context) error {
		if f.d != nil {
			return f.v.m.vol.Removexattr(ctx, &f.v.cred, f.gfid, attr)
		}
		return f.f.Removexattr(ctx, &f.v.cred, attr)
	})
}

var _ interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.ReaderFrom
	io.WriterTo
	io.StringWriter
	io.Closer
	fs.ReadDirFile
} = (*File)(nil)
