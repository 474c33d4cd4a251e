package proto

import "syscall"

// ENODATA comes first: it is what the wire's 61 becomes here. macOS itself says
// ENOATTR for the same.
var platformErrnos = []struct {
	wire int32
	here syscall.Errno
}{
	{61, syscall.ENODATA}, {61, syscall.ENOATTR}, {60, syscall.ENOSTR}, {62, syscall.ETIME}, {63, syscall.ENOSR},
	{67, syscall.ENOLINK}, {72, syscall.EMULTIHOP}, {9, syscall.EBADF}, {77, syscall.EBADF},
	{130, syscall.EOWNERDEAD}, {131, syscall.ENOTRECOVERABLE},
}
