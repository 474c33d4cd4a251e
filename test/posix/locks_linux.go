package posix

import (
	"io"
	"time"

	"golang.org/x/sys/unix"
)

func rangeLock(kind int16, start, n int64) *unix.Flock_t {
	return &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: start, Len: n}
}

func lockRules(e *env) {
	e.part("posix", func(e *env) {
		c := e.child()
		e.file("f", 0o644, "0123456789")
		fd := e.open("f", unix.O_RDWR)
		there := c.open("f", unix.O_RDWR)
		set := func(kind int16, start, n int64) error {
			return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, rangeLock(kind, start, n))
		}
		e.want(0, set(unix.F_WRLCK, 10, 10), "lock")
		for _, tt := range []struct {
			kind     int16
			start, n int64
			want     unix.Errno
		}{
			{unix.F_WRLCK, 0, 10, 0}, {unix.F_WRLCK, 20, 0, 0}, {unix.F_WRLCK, 10, 1, unix.EAGAIN}, {unix.F_RDLCK, 19, 1, unix.EAGAIN},
			{unix.F_WRLCK, 0, 0, unix.EAGAIN}, {unix.F_RDLCK, 5, 6, unix.EAGAIN}, {unix.F_RDLCK, 0, 10, 0},
		} {
			e.want(tt.want, c.lock(there, unix.F_SETLK, tt.kind, tt.start, tt.n), "lock of another process: type %d, %d+%d", tt.kind, tt.start, tt.n)
			if tt.want == 0 {
				e.want(0, c.lock(there, unix.F_SETLK, unix.F_UNLCK, tt.start, tt.n), "unlock")
			}
		}
		got, err := c.ask(there, unix.F_GETLK, unix.F_RDLCK, 0, 0)
		e.want(0, err, "ask who is in the way")
		e.is(got.Type == unix.F_WRLCK && got.Start == 10 && got.Len == 10, "in the way is type %d, %d+%d", got.Type, got.Start, got.Len)
		e.is(int(got.Pid) == unix.Getpid(), "in the way is process %d, want %d", got.Pid, unix.Getpid())
		got, err = c.ask(there, unix.F_GETLK, unix.F_WRLCK, 30, 5)
		e.want(0, err, "ask where nobody is in the way")
		e.is(got.Type == unix.F_UNLCK, "in the way is type %d", got.Type)
		// A hole in the middle, a change of type, and joining again.
		e.want(0, set(unix.F_UNLCK, 13, 3), "unlock the middle")
		e.want(0, c.lock(there, unix.F_SETLK, unix.F_WRLCK, 13, 3), "lock of another process in the middle")
		e.want(unix.EAGAIN, set(unix.F_WRLCK, 10, 10), "lock over another's")
		e.want(0, c.lock(there, unix.F_SETLK, unix.F_UNLCK, 0, 0), "unlock all")
		e.want(0, set(unix.F_RDLCK, 0, 0), "downgrade")
		e.want(0, c.lock(there, unix.F_SETLK, unix.F_RDLCK, 5, 5), "two readers")
		e.want(unix.EAGAIN, set(unix.F_WRLCK, 0, 0), "upgrade beside another reader")
		e.want(0, c.lock(there, unix.F_SETLK, unix.F_UNLCK, 0, 0), "unlock all")
		e.want(0, set(unix.F_WRLCK, 0, 0), "upgrade")
		// Any descriptor that is closed takes the process's locks along.
		second, err := unix.Open("f", unix.O_RDONLY, 0)
		e.must(err, "open")
		e.must(unix.Close(second), "close")
		e.want(0, c.lock(there, unix.F_SETLK, unix.F_WRLCK, 0, 0), "lock after a close in the other process")
		e.want(unix.EAGAIN, set(unix.F_WRLCK, 0, 1), "lock under another's")
		// Waiting ends when the other lets go.
		waited := make(chan error, 1)
		go func() {
			time.Sleep(50 * time.Millisecond)
			waited <- c.lock(there, unix.F_SETLK, unix.F_UNLCK, 0, 0)
		}()
		start := time.Now()
		e.want(0, unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, rangeLock(unix.F_WRLCK, 0, 0)), "wait for a lock")
		e.is(time.Since(start) > 30*time.Millisecond, "a lock that another had was there after %v", time.Since(start))
		e.want(0, <-waited, "unlock")
		e.want(0, set(unix.F_UNLCK, 0, 0), "unlock")
		// And so do the locks of a process that ends.
		e.want(0, c.lock(there, unix.F_SETLK, unix.F_WRLCK, 0, 0), "lock")
		e.want(unix.EAGAIN, set(unix.F_RDLCK, 0, 1), "lock under another's")
		c.end()
		e.want(0, unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, rangeLock(unix.F_WRLCK, 0, 0)), "lock after the other process has ended")
		r, w := e.open("f", unix.O_RDONLY), e.open("f", unix.O_WRONLY)
		e.want(unix.EBADF, unix.FcntlFlock(uintptr(r), unix.F_SETLK, rangeLock(unix.F_WRLCK, 0, 1)), "write lock of what was opened for reading")
		e.want(unix.EBADF, unix.FcntlFlock(uintptr(w), unix.F_SETLK, rangeLock(unix.F_RDLCK, 0, 1)), "read lock of what was opened for writing")
		e.want(unix.EINVAL, unix.FcntlFlock(uintptr(fd), unix.F_SETLK, rangeLock(77, 0, 1)), "lock of an unknown type")
		e.want(unix.EINVAL, set(unix.F_RDLCK, -1, 1), "lock from -1")
		e.want(0, set(unix.F_RDLCK, 1<<62, 0), "lock far out")
	})
	e.part("flock", func(e *env) {
		c := e.child()
		e.file("f", 0o644, "")
		a, b := e.open("f", unix.O_RDWR), e.open("f", unix.O_RDONLY)
		there := c.open("f", unix.O_RDWR)
		const no = unix.LOCK_NB
		e.want(0, unix.Flock(a, unix.LOCK_EX|no), "flock")
		e.want(unix.EWOULDBLOCK, unix.Flock(b, unix.LOCK_SH|no), "flock by another descriptor")
		e.want(unix.EWOULDBLOCK, c.flock(there, unix.LOCK_EX|no), "flock by another process")
		// Locally a range lock is another thing; over a network both are often one.
		err := c.lock(there, unix.F_SETLK, unix.F_WRLCK, 0, 0)
		e.wantAny([]unix.Errno{0, unix.EAGAIN}, err, "a range lock beside a flock")
		e.want(0, c.lock(there, unix.F_SETLK, unix.F_UNLCK, 0, 0), "unlock")
		e.want(0, unix.Flock(a, unix.LOCK_SH|no), "downgrade")
		e.want(0, unix.Flock(b, unix.LOCK_SH|no), "two readers")
		e.want(0, c.flock(there, unix.LOCK_SH|no), "three readers")
		e.want(unix.EWOULDBLOCK, unix.Flock(a, unix.LOCK_EX|no), "upgrade beside others")
		// A failed upgrade may have lost the lock that there was.
		e.want(0, unix.Flock(a, unix.LOCK_UN), "unlock")
		e.want(0, unix.Flock(b, unix.LOCK_UN), "unlock")
		e.want(0, c.flock(there, unix.LOCK_EX|no), "upgrade alone")
		dup, err := unix.Dup(a)
		e.must(err, "dup")
		done := make(chan error, 1)
		go func() {
			time.Sleep(50 * time.Millisecond)
			done <- c.flock(there, unix.LOCK_UN)
		}()
		e.want(0, unix.Flock(a, unix.LOCK_EX), "wait for a flock")
		e.want(0, <-done, "unlock")
		e.want(0, unix.Flock(dup, unix.LOCK_EX|no), "flock by a copy of the descriptor")
		e.must(unix.Close(dup), "close")
		e.want(unix.EWOULDBLOCK, unix.Flock(b, unix.LOCK_EX|no), "the lock stays while a copy is open")
		e.want(0, unix.Flock(a, unix.LOCK_UN), "unlock")
		e.want(0, unix.Flock(b, unix.LOCK_EX|no), "flock of what was opened for reading")
		e.want(0, unix.Flock(b, unix.LOCK_UN), "unlock")
		e.want(0, c.flock(there, unix.LOCK_EX|no), "flock")
		c.end()
		e.want(0, unix.Flock(a, unix.LOCK_EX), "flock after the other process has ended")
		e.want(unix.EINVAL, unix.Flock(a, 64), "unknown flock")
		d := e.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
		d2 := e.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
		e.want(0, unix.Flock(d, unix.LOCK_EX|no), "flock of a directory")
		e.want(unix.EWOULDBLOCK, unix.Flock(d2, unix.LOCK_EX|no), "flock of a directory that is locked")
	})
	// Locks of open file descriptions: between those of one process, too.
	e.part("description", func(e *env) {
		c := e.child()
		e.file("f", 0o644, "")
		a, b := e.open("f", unix.O_RDWR), e.open("f", unix.O_RDWR)
		there := c.open("f", unix.O_RDWR)
		set := func(fd int, kind int16, start, n int64) error {
			return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, rangeLock(kind, start, n))
		}
		e.want(0, set(a, unix.F_WRLCK, 0, 10), "lock")
		e.want(unix.EAGAIN, set(b, unix.F_WRLCK, 5, 10), "lock by another description")
		e.want(0, set(b, unix.F_WRLCK, 10, 10), "lock beside it")
		e.want(unix.EAGAIN, c.lock(there, unix.F_SETLK, unix.F_WRLCK, 0, 1), "a process's lock under it")
		e.want(unix.EAGAIN, c.lock(there, unix.F_OFD_SETLK, unix.F_RDLCK, 15, 1), "a description's lock of another process")
		lk := rangeLock(unix.F_WRLCK, 0, 0)
		e.want(0, unix.FcntlFlock(uintptr(b), unix.F_OFD_GETLK, lk), "ask")
		e.is(lk.Type == unix.F_WRLCK && lk.Start == 0 && lk.Len == 10, "in the way is type %d, %d+%d", lk.Type, lk.Start, lk.Len)
		other, err := unix.Open("f", unix.O_RDWR, 0)
		e.must(err, "open")
		e.must(unix.Close(other), "close")
		e.want(unix.EAGAIN, set(b, unix.F_WRLCK, 0, 1), "the lock stays when another description is closed")
		e.want(0, set(a, unix.F_UNLCK, 0, 0), "unlock")
		e.want(0, set(b, unix.F_WRLCK, 0, 0), "lock")
	})
}
