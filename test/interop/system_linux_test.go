package interop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// system is a target that does system calls in the working directory. One
// thread does all of them, because the caller's identity is the thread's.
type system struct {
	root  string
	slots map[int]int
}

func newSystem(root string) *system { return &system{root: root, slots: map[int]int{}} }

func (s *system) Close() error {
	for _, fd := range s.slots {
		unix.Close(fd)
	}
	return nil
}

func become(id uint32) {
	// Group first: it needs the user's rights. setfsuid has no error to return.
	if id == 0 {
		unix.SetfsuidRetUid(0)
		unix.SetfsgidRetGid(0)
		return
	}
	unix.SetfsgidRetGid(int(id))
	unix.SetfsuidRetUid(int(id))
}

func (s *system) Do(o op) result {
	if o.As != 0 {
		become(o.As)
		defer become(0)
	}
	if o.H != 0 {
		return s.onFile(o)
	}
	switch o.Do {
	case "mkdir":
		return done(0, unix.Mkdir(o.Path, o.Mode))
	case "mknod":
		return done(0, unix.Mknod(o.Path, o.Mode, int(o.Len)))
	case "symlink":
		return done(0, unix.Symlink(o.To, o.Path))
	case "link":
		return done(0, unix.Link(o.Path, o.To))
	case "rename":
		if r, skip := s.leaveOut(o); skip {
			return r
		}
		return done(0, unix.Rename(o.Path, o.To))
	case "unlink":
		return done(0, unix.Unlink(o.Path))
	case "rmdir":
		return done(0, unix.Rmdir(o.Path))
	case "chmod":
		return done(0, unix.Chmod(o.Path, o.Mode))
	case "chown":
		return done(0, unix.Lchown(o.Path, o.UID, o.GID))
	case "truncate":
		return done(0, unix.Truncate(o.Path, o.Len))
	case "utimes":
		err := unix.UtimesNanoAt(unix.AT_FDCWD, o.Path, []unix.Timespec{unix.NsecToTimespec(o.Off), unix.NsecToTimespec(o.Len)}, 0)
		if err != nil {
			return failed(err)
		}
		if o.Flags != 0 {
			return result{}
		}
		var st unix.Stat_t
		if err := unix.Stat(o.Path, &st); err != nil {
			return failed(err)
		}
		return result{Text: timesText(st.Atim.Nano(), st.Mtim.Nano())}
	case "lstat":
		return s.stat(o.Path, unix.Lstat)
	case "stat":
		return s.stat(o.Path, unix.Stat)
	case "readlink":
		return text(os.Readlink(o.Path))
	case "readdir":
		return s.readdir(o.Path)
	case "readfile":
		return s.readfile(o)
	case "setxattr":
		return done(0, unix.Lsetxattr(o.Path, o.Name, o.Value, o.Flags))
	case "removexattr":
		return done(0, unix.Lremovexattr(o.Path, o.Name))
	case "getxattr":
		b := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(o.Path, o.Name, b)
		if err != nil {
			return failed(err)
		}
		return result{Text: digest(b[:n])}
	case "listxattr":
		b := make([]byte, 1<<16)
		n, err := unix.Llistxattr(o.Path, b)
		if err != nil {
			return failed(err)
		}
		return result{Text: xattrNames(strings.FieldsFunc(string(b[:n]), func(r rune) bool { return r == 0 }))}
	}
	return result{Errno: "no such operation"}
}

// sameObject is the outcome of a rename between two names of one object, which
// is not tried: the kernel does not pass it on.
var sameObject = result{Text: "names of the same object"}

// ontoFull is the outcome of a rename of a directory onto one that is not empty,
// which is not tried: a brick of GlusterFS 10.3 that refuses it has removed the
// handle of the source already, and cannot find it by its gfid any more.
var ontoFull = result{Text: "onto a directory that is not empty"}

// leaveOut tells renames that are not tried.
func (s *system) leaveOut(o op) (result, bool) {
	become(0)
	defer become(o.As)
	var a, b unix.Stat_t
	if unix.Lstat(o.Path, &a) != nil || unix.Lstat(o.To, &b) != nil {
		return result{}, false
	}
	if a.Ino == b.Ino {
		return sameObject, true
	}
	if a.Mode&unix.S_IFMT != unix.S_IFDIR || b.Mode&unix.S_IFMT != unix.S_IFDIR {
		return result{}, false
	}
	return ontoFull, s.readdir(o.To).N > 0
}

func timesText(atime, mtime int64) string {
	const layout = "2006-01-02T15:04:05.000000000"
	return time.Unix(0, atime).UTC().Format(layout) + " " + time.Unix(0, mtime).UTC().Format(layout)
}

// xattrNames keeps the names that users gave: what else a client lists differs
// between FUSE and libraries.
func xattrNames(names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, "user.") })
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (s *system) stat(path string, call func(string, *unix.Stat_t) error) result {
	var st unix.Stat_t
	if err := call(path, &st); err != nil {
		return failed(err)
	}
	return result{Text: statText(st.Mode, uint32(st.Nlink), st.Uid, st.Gid, st.Size, st.Rdev)}
}

func (s *system) readdir(path string) result {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	des, err := f.ReadDir(-1)
	if err != nil {
		return failed(err)
	}
	var names []string
	for _, de := range des {
		names = append(names, modeLetter(de.Type())+":"+de.Name())
	}
	return entryNames(names)
}

// nameBreak is what stands between the names of a directory in a result: what no
// name has.
const nameBreak = "/"

func entryNames(names []string) result {
	slices.Sort(names)
	return result{N: int64(len(names)), Text: strings.Join(names, nameBreak)}
}

func modeLetter(m os.FileMode) string {
	switch {
	case m&os.ModeDir != 0:
		return "d"
	case m&os.ModeSymlink != 0:
		return "l"
	case m&os.ModeNamedPipe != 0:
		return "p"
	case m&os.ModeSocket != 0:
		return "s"
	case m&os.ModeCharDevice != 0:
		return "c"
	case m&os.ModeDevice != 0:
		return "b"
	}
	return "f"
}

func (s *system) readfile(o op) result {
	fd, err := unix.Open(o.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return failed(err)
	}
	f := os.NewFile(uintptr(fd), o.Path)
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return failed(err)
	}
	return result{Text: digest(b)}
}

// onFile does what needs an open file.
func (s *system) onFile(o op) result {
	fd, open := s.slots[o.H]
	if o.Do == "open" {
		if open {
			unix.Close(fd)
			delete(s.slots, o.H)
		}
		fd, err := unix.Open(o.Path, o.Flags|unix.O_CLOEXEC, o.Mode)
		if err != nil {
			return failed(err)
		}
		s.slots[o.H] = fd
		return result{}
	}
	if !open {
		return result{Errno: "nothing open"}
	}
	switch o.Do {
	case "close":
		delete(s.slots, o.H)
		return done(0, unix.Close(fd))
	case "read":
		b := make([]byte, o.Len)
		n, err := preadFull(fd, b, o.Off)
		if err != nil {
			return failed(err)
		}
		return result{N: int64(n), Text: digest(b[:n])}
	case "write":
		n, err := unix.Pwrite(fd, data(o), o.Off)
		return done(int64(n), err)
	case "append":
		n, err := unix.Write(fd, data(o))
		return done(int64(n), err)
	case "ftruncate":
		return done(0, unix.Ftruncate(fd, o.Len))
	case "fallocate":
		return done(0, unix.Fallocate(fd, uint32(o.Flags), o.Off, o.Len))
	case "fsync":
		return done(0, unix.Fsync(fd))
	case "fstat":
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return failed(err)
		}
		return result{Text: statText(st.Mode, uint32(st.Nlink), st.Uid, st.Gid, st.Size, st.Rdev)}
	case "count":
		return done(0, s.count(fd))
	case "record":
		return done(0, s.record(fd, o.Value))
	case "lock", "lockwait", "getlk":
		return s.lock(fd, o)
	case "die":
		return done(0, unix.Kill(unix.Getpid(), unix.SIGKILL))
	}
	return result{Errno: "no such operation"}
}

func preadFull(fd int, b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], off+int64(n))
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

// The "open file description" kind of posix lock: its owner is the open file,
// as with a lock of our library, and not the whole process.
const (
	ofdGetlk = 36
	ofdSetlk = 37
	ofdSetlw = 38
)

// lock sets or asks for a lock: of the open file, or with Name "process" of the
// process, or with "flock" one of flock(2). A wait gets the signal UID after Mode
// milliseconds if there is a Mode; without, it goes on whatever signals come.
func (s *system) lock(fd int, o op) result {
	call := func() error {
		lk := unix.Flock_t{Type: int16(o.Flags), Start: o.Off, Len: o.Len}
		cmds := map[string]int{"lock": ofdSetlk, "lockwait": ofdSetlw, "getlk": ofdGetlk}
		switch o.Name {
		case "flock":
			how := map[int]int{unix.F_RDLCK: unix.LOCK_SH, unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}[o.Flags]
			if o.Do == "lock" {
				how |= unix.LOCK_NB
			}
			return unix.Flock(fd, how)
		case "process":
			cmds = map[string]int{"lock": unix.F_SETLK, "lockwait": unix.F_SETLKW, "getlk": unix.F_GETLK}
		}
		err := unix.FcntlFlock(uintptr(fd), cmds[o.Do], &lk)
		if err == nil && o.Do == "getlk" {
			return found(lockText(int(lk.Type), lk.Start, lk.Len))
		}
		return err
	}
	if o.Mode != 0 {
		pid, tid := unix.Getpid(), unix.Gettid()
		alarm := time.AfterFunc(time.Duration(o.Mode)*time.Millisecond, func() { unix.Tgkill(pid, tid, unix.Signal(o.UID)) })
		defer alarm.Stop()
	}
	for {
		err := call()
		if got, ok := err.(found); ok {
			return result{Text: string(got)}
		}
		if o.Mode == 0 && errors.Is(err, unix.EINTR) {
			continue
		}
		return done(0, err)
	}
}

// found is what GETLK found, in place of an error.
type found string

func (f found) Error() string { return string(f) }

// interruptible has a signal end system calls with EINTR, which handlers that the
// runtime sets have the kernel begin again.
func interruptible(sig unix.Signal) error {
	signal.Notify(make(chan os.Signal, 1), sig)
	var act struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	const restart, maskSize = 0x10000000, 8
	for _, args := range [][2]uintptr{{0, uintptr(unsafe.Pointer(&act))}, {uintptr(unsafe.Pointer(&act)), 0}} {
		if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), args[0], args[1], maskSize, 0, 0); e != 0 {
			return e
		}
		act.flags &^= restart
	}
	return nil
}

func lockText(kind int, start, length int64) string {
	switch kind {
	case unix.F_UNLCK:
		return "free"
	case unix.F_RDLCK:
		return fmt.Sprintf("read %d+%d", start, length)
	}
	return fmt.Sprintf("write %d+%d", start, length)
}
