//go:build !linux && !darwin && !windows

package proto

import "syscall"

var platformErrnos []struct {
	wire int32
	here syscall.Errno
}
