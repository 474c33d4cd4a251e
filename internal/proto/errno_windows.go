package proto

import "syscall"

// What Windows itself reports comes after the names of POSIX, so that the wire's
// numbers become the latter.
var platformErrnos = []struct {
	wire int32
	here syscall.Errno
}{
	{61, syscall.ENODATA}, {77, syscall.EBADFD}, {62, syscall.ETIME}, {67, syscall.ENOLINK},
	{2, syscall.ENOENT}, {2, syscall.ERROR_FILE_NOT_FOUND}, {2, syscall.ERROR_PATH_NOT_FOUND},
	{13, syscall.EACCES}, {13, syscall.ERROR_ACCESS_DENIED}, {17, syscall.EEXIST}, {17, syscall.ERROR_FILE_EXISTS},
	{17, syscall.ERROR_ALREADY_EXISTS}, {39, syscall.ENOTEMPTY}, {39, syscall.ERROR_DIR_NOT_EMPTY},
	{32, syscall.EPIPE}, {32, syscall.ERROR_BROKEN_PIPE},
}
