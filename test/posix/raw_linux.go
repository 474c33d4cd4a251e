package posix

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls that the libraries of Go dress up, or do for all threads.

func setGroups(groups []uint32) error {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0); err != 0 {
		return err
	}
	return nil
}

// access asks with the effective ids, as an open would.
func access(name string, mode uint32) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	at := unix.AT_FDCWD
	_, _, errno := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(at), uintptr(unsafe.Pointer(p)), uintptr(mode), unix.AT_EACCESS, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// wild is an address at which there never is anything.
const wild = 8

// call3 is a system call with arguments as they are, for pointers that lead
// nowhere.
func call3(trap, a, b, c uintptr) error {
	if _, _, err := unix.Syscall(trap, a, b, c); err != 0 {
		return err
	}
	return nil
}

func call6(trap, a, b, c, d, f, g uintptr) error {
	if _, _, err := unix.Syscall6(trap, a, b, c, d, f, g); err != 0 {
		return err
	}
	return nil
}

func timespec(sec, nsec int64) unix.Timespec { return unix.Timespec{Sec: sec, Nsec: nsec} }

// openClose opens and closes, and keeps only the outcome.
func openClose(name string, flags int, mode uint32) error {
	fd, err := unix.Open(name, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
