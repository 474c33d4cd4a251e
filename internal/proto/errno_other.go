//go:build !linux

package proto

import "syscall"

// wireErrnos are the numbers on the wire of the errors that every platform has;
// platformErrnos adds those that only this one has.
var wireErrnos = []struct {
	wire int32
	here syscall.Errno
}{
	{1, syscall.EPERM}, {2, syscall.ENOENT}, {3, syscall.ESRCH}, {4, syscall.EINTR}, {5, syscall.EIO},
	{6, syscall.ENXIO}, {7, syscall.E2BIG}, {8, syscall.ENOEXEC}, {9, syscall.EBADF}, {10, syscall.ECHILD},
	{11, syscall.EAGAIN}, {12, syscall.ENOMEM}, {13, syscall.EACCES}, {14, syscall.EFAULT}, {15, syscall.ENOTBLK},
	{16, syscall.EBUSY}, {17, syscall.EEXIST}, {18, syscall.EXDEV}, {19, syscall.ENODEV}, {20, syscall.ENOTDIR},
	{21, syscall.EISDIR}, {22, syscall.EINVAL}, {23, syscall.ENFILE}, {24, syscall.EMFILE}, {25, syscall.ENOTTY},
	{26, syscall.ETXTBSY}, {27, syscall.EFBIG}, {28, syscall.ENOSPC}, {29, syscall.ESPIPE}, {30, syscall.EROFS},
	{31, syscall.EMLINK}, {32, syscall.EPIPE}, {33, syscall.EDOM}, {34, syscall.ERANGE}, {35, syscall.EDEADLK},
	{36, syscall.ENAMETOOLONG}, {37, syscall.ENOLCK}, {38, syscall.ENOSYS}, {39, syscall.ENOTEMPTY}, {40, syscall.ELOOP},
	{42, syscall.ENOMSG}, {43, syscall.EIDRM}, {66, syscall.EREMOTE}, {71, syscall.EPROTO}, {74, syscall.EBADMSG},
	{75, syscall.EOVERFLOW}, {84, syscall.EILSEQ}, {87, syscall.EUSERS}, {88, syscall.ENOTSOCK},
	{89, syscall.EDESTADDRREQ}, {90, syscall.EMSGSIZE}, {91, syscall.EPROTOTYPE}, {92, syscall.ENOPROTOOPT},
	{93, syscall.EPROTONOSUPPORT}, {94, syscall.ESOCKTNOSUPPORT}, {95, syscall.EOPNOTSUPP}, {95, syscall.ENOTSUP},
	{96, syscall.EPFNOSUPPORT}, {97, syscall.EAFNOSUPPORT}, {98, syscall.EADDRINUSE}, {99, syscall.EADDRNOTAVAIL},
	{100, syscall.ENETDOWN}, {101, syscall.ENETUNREACH}, {102, syscall.ENETRESET}, {103, syscall.ECONNABORTED},
	{104, syscall.ECONNRESET}, {105, syscall.ENOBUFS}, {106, syscall.EISCONN}, {107, syscall.ENOTCONN},
	{108, syscall.ESHUTDOWN}, {109, syscall.ETOOMANYREFS}, {110, syscall.ETIMEDOUT}, {111, syscall.ECONNREFUSED},
	{112, syscall.EHOSTDOWN}, {113, syscall.EHOSTUNREACH}, {114, syscall.EALREADY}, {115, syscall.EINPROGRESS},
	{116, syscall.ESTALE}, {122, syscall.EDQUOT}, {125, syscall.ECANCELED},
}

var (
	toWire   = map[syscall.Errno]int32{}
	fromWire = map[int32]syscall.Errno{}
)

func init() {
	for _, list := range [][]struct {
		wire int32
		here syscall.Errno
	}{platformErrnos, wireErrnos} {
		for _, e := range list {
			if _, ok := toWire[e.here]; !ok {
				toWire[e.here] = e.wire
			}
			if _, ok := fromWire[e.wire]; !ok {
				fromWire[e.wire] = e.here
			}
		}
	}
}

// ErrnoToWire returns the number of e on the wire, that of EIO if it has none.
func ErrnoToWire(e syscall.Errno) int32 {
	if n, ok := toWire[e]; ok {
		return n
	}
	return 5
}

// ErrnoFromWire returns what a number on the wire means here, EIO if nothing.
func ErrnoFromWire(n int32) syscall.Errno {
	if e, ok := fromWire[n]; ok {
		return e
	}
	return syscall.EIO
}
