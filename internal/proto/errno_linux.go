package proto

import "syscall"

// The wire's numbers are those of Linux on x86 and most other processors.

// ErrnoToWire returns the number of e on the wire.
func ErrnoToWire(e syscall.Errno) int32 {
	if e == 0 {
		return int32(syscall.EIO)
	}
	return int32(e)
}

// ErrnoFromWire returns what a number on the wire means; never 0, as it is asked
// only after a failure.
func ErrnoFromWire(n int32) syscall.Errno {
	if n <= 0 {
		return syscall.EIO
	}
	return syscall.Errno(n)
}
