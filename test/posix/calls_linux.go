package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A call is a system call on a path, with all but the path fixed.
type call struct {
	name string
	// on is the kind of file that must be there for the call to succeed: regular
	// or directory, symlink where any will do that is none, "" where there must be
	// nothing.
	on kind
	// follows says that a symbolic link at the end of the path is followed.
	follows bool
	// writes says that the call changes the file system.
	writes bool
	// entry says that it changes the directory that the name is in.
	entry bool
	// fits says that it takes any kind of file.
	fits bool
	// slash is what it says about a regular file's name with a slash behind it,
	// or a new name with one; 0 is success.
	slash unix.Errno
	do    func(path string) error
	// wild is the call with a path that cannot be read.
	wild func() error
}

// aside is a file that link and rename use as the other end. It is made in the
// chapter's directory before the call, and may be gone after it.
const aside = "aside"

var asideBytes = []byte(aside + "\x00")

func calls() []call {
	cwd := unix.AT_FDCWD
	at := uintptr(cwd)
	bad := func(trap uintptr, pos int) func() error { // path at position pos
		return func() error {
			args := [6]uintptr{}
			if pos == 1 {
				args[0] = at
			}
			args[pos] = wild
			return call6(trap, args[0], args[1], args[2], args[3], args[4], args[5])
		}
	}
	name := uintptr(unsafe.Pointer(&asideBytes[0]))
	value := []byte("value")
	list := make([]byte, 4096)
	var st unix.Stat_t
	var sx unix.Statx_t
	var sf unix.Statfs_t
	now := []unix.Timespec{timespec(1e9, 5), timespec(1e9, 7)}
	return []call{
		{name: "stat", on: regular, follows: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.Stat(p, &st) }, wild: bad(unix.SYS_NEWFSTATAT, 1)},
		{name: "lstat", on: regular, slash: unix.ENOTDIR,
			do:   func(p string) error { return unix.Lstat(p, &st) },
			wild: func() error { return call6(unix.SYS_NEWFSTATAT, at, wild, 0, unix.AT_SYMLINK_NOFOLLOW, 0, 0) }},
		{name: "statx", on: regular, follows: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.Statx(unix.AT_FDCWD, p, 0, unix.STATX_BASIC_STATS, &sx) }, wild: bad(unix.SYS_STATX, 1)},
		{name: "access", on: regular, follows: true, slash: unix.ENOTDIR,
			do: func(p string) error { return access(p, unix.F_OK) }, wild: bad(unix.SYS_FACCESSAT, 1)},
		{name: "statfs", on: regular, follows: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.Statfs(p, &sf) }, wild: bad(unix.SYS_STATFS, 0)},
		{name: "chmod", on: regular, follows: true, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.Chmod(p, 0o644) }, wild: bad(unix.SYS_FCHMODAT, 1)},
		{name: "chown", on: regular, follows: true, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.Chown(p, -1, -1) }, wild: bad(unix.SYS_FCHOWNAT, 1)},
		{name: "lchown", on: regular, writes: true, slash: unix.ENOTDIR,
			do:   func(p string) error { return unix.Lchown(p, -1, -1) },
			wild: func() error { return call6(unix.SYS_FCHOWNAT, at, wild, 0, 0, unix.AT_SYMLINK_NOFOLLOW, 0) }},
		{name: "truncate", on: regular, follows: true, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.Truncate(p, 7) }, wild: bad(unix.SYS_TRUNCATE, 0)},
		{name: "utimensat", on: regular, follows: true, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, p, now, 0) }, wild: bad(unix.SYS_UTIMENSAT, 1)},
		{name: "utimensat-nofollow", on: regular, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, p, now, unix.AT_SYMLINK_NOFOLLOW) },
			// Without a path it is about the descriptor; with times that cannot be
			// read it fails as well.
			wild: func() error {
				return call6(unix.SYS_UTIMENSAT, at, wild, uintptr(unsafe.Pointer(&now[0])), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
			}},
		{name: "open-read", on: regular, follows: true, slash: unix.ENOTDIR,
			do: func(p string) error { return openClose(p, unix.O_RDONLY, 0) }, wild: bad(unix.SYS_OPENAT, 1)},
		{name: "open-write", on: regular, follows: true, writes: true, slash: unix.ENOTDIR,
			do:   func(p string) error { return openClose(p, unix.O_WRONLY, 0) },
			wild: func() error { return call6(unix.SYS_OPENAT, at, wild, unix.O_WRONLY, 0, 0, 0) }},
		{name: "open-directory", on: directory, follows: true,
			do:   func(p string) error { return openClose(p, unix.O_RDONLY|unix.O_DIRECTORY, 0) },
			wild: func() error { return call6(unix.SYS_OPENAT, at, wild, unix.O_DIRECTORY, 0, 0, 0) }},
		{name: "chdir", on: directory, follows: true,
			do: func(p string) error {
				back, err := unix.Open(".", unix.O_PATH|unix.O_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(back)
				if err := unix.Chdir(p); err != nil {
					return err
				}
				return unix.Fchdir(back)
			}, wild: bad(unix.SYS_CHDIR, 0)},
		{name: "getxattr", on: regular, follows: true, slash: unix.ENOTDIR,
			do: func(p string) error {
				if _, err := unix.Getxattr(p, "user.none", list); err != unix.ENODATA {
					return err
				}
				return nil
			},
			wild: func() error { return call6(unix.SYS_GETXATTR, wild, name, 0, 0, 0, 0) }},
		{name: "setxattr", on: regular, follows: true, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error { return unix.Setxattr(p, "user.suite", value, 0) },
			wild: func() error {
				return call6(unix.SYS_SETXATTR, wild, name, uintptr(unsafe.Pointer(&value[0])), 5, 0, 0)
			}},
		{name: "listxattr", on: regular, follows: true, slash: unix.ENOTDIR,
			do: func(p string) error { _, err := unix.Listxattr(p, list); return err }, wild: bad(unix.SYS_LISTXATTR, 0)},
		{name: "removexattr", on: regular, follows: true, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error {
				if err := unix.Removexattr(p, "user.none"); err != unix.ENODATA {
					return err
				}
				return nil
			}, wild: func() error { return call6(unix.SYS_REMOVEXATTR, wild, name, 0, 0, 0, 0) }},
		{name: "unlink", on: regular, writes: true, entry: true, slash: unix.ENOTDIR,
			do: unix.Unlink, wild: bad(unix.SYS_UNLINKAT, 1)},
		{name: "rmdir", on: directory, writes: true, entry: true,
			do:   unix.Rmdir,
			wild: func() error { return call6(unix.SYS_UNLINKAT, at, wild, unix.AT_REMOVEDIR, 0, 0, 0) }},
		{name: "rename-from", on: regular, writes: true, entry: true, slash: unix.ENOTDIR,
			do:   func(p string) error { return unix.Rename(p, aside) },
			wild: func() error { return call6(unix.SYS_RENAMEAT2, at, wild, at, name, 0, 0) }},
		{name: "rename-directory", on: directory, fits: true, writes: true, entry: true,
			do: func(p string) error {
				err := unix.Rename(p, "aside-d")
				if err == nil {
					_ = unix.Rmdir("aside-d")
				}
				return err
			},
			wild: func() error { return call6(unix.SYS_RENAMEAT2, at, wild, at, name, 0, 0) }},
		{name: "rename-to", writes: true, entry: true, slash: unix.ENOTDIR,
			do:   func(p string) error { return unix.Rename(aside, p) },
			wild: func() error { return call6(unix.SYS_RENAMEAT2, at, name, at, wild, 0, 0) }},
		{name: "rename-over", on: regular, fits: true, writes: true, entry: true, slash: unix.ENOTDIR,
			do:   func(p string) error { return unix.Rename(aside, p) },
			wild: func() error { return call6(unix.SYS_RENAMEAT2, at, wild, at, wild, 0, 0) }},
		{name: "link-from", on: regular, writes: true, slash: unix.ENOTDIR,
			do: func(p string) error {
				_ = unix.Unlink(aside + "-link")
				return unix.Link(p, aside+"-link")
			},
			wild: func() error { return call6(unix.SYS_LINKAT, at, wild, at, name, 0, 0) }},
		{name: "link-to", writes: true, entry: true, slash: unix.ENOENT,
			do:   func(p string) error { return unix.Link(aside, p) },
			wild: func() error { return call6(unix.SYS_LINKAT, at, name, at, wild, 0, 0) }},
		{name: "mkdir", writes: true, entry: true,
			do: func(p string) error { return unix.Mkdir(p, 0o755) }, wild: bad(unix.SYS_MKDIRAT, 1)},
		{name: "mkfifo", writes: true, entry: true, slash: unix.ENOENT,
			do:   func(p string) error { return unix.Mkfifo(p, 0o644) },
			wild: func() error { return call6(unix.SYS_MKNODAT, at, wild, unix.S_IFIFO, 0, 0, 0) }},
		{name: "mknod-regular", writes: true, entry: true, slash: unix.ENOENT,
			do:   func(p string) error { return unix.Mknod(p, unix.S_IFREG|0o644, 0) },
			wild: func() error { return call6(unix.SYS_MKNODAT, at, wild, unix.S_IFREG, 0, 0, 0) }},
		{name: "mknod-socket", writes: true, entry: true, slash: unix.ENOENT,
			do:   func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) },
			wild: func() error { return call6(unix.SYS_MKNODAT, at, wild, unix.S_IFSOCK, 0, 0, 0) }},
		{name: "symlink", writes: true, entry: true, slash: unix.ENOENT,
			do:   func(p string) error { return unix.Symlink("target", p) },
			wild: func() error { return call6(unix.SYS_SYMLINKAT, name, at, wild, 0, 0, 0) }},
		{name: "symlink-text", writes: true, entry: true, slash: unix.ENOENT,
			do:   func(p string) error { return unix.Symlink("../"+aside, p) },
			wild: func() error { return call6(unix.SYS_SYMLINKAT, wild, at, name, 0, 0, 0) }},
		{name: "open-create", writes: true, entry: true, slash: unix.EISDIR,
			do:   func(p string) error { return openClose(p, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644) },
			wild: func() error { return call6(unix.SYS_OPENAT, at, wild, unix.O_CREAT|unix.O_WRONLY, 0, 0, 0) }},
	}
}

// prepare makes what the call needs at path, for the owner of the directory to
// use.
func (e *env) prepare(c call, path string) {
	e.Helper()
	if c.on != "" {
		e.make(c.on, path, 0o777)
	}
	if err := makeKind(regular, aside, 0o666); err != nil && err != unix.EEXIST {
		e.must(err, "make %s", aside)
	}
}

// clear takes away what the call left.
func (e *env) clear(path string) {
	e.Helper()
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil {
		e.remove(path)
	}
}
