package record

import (
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// names are the errnos that fops usually fail with, by the names that are the
// same on every system.
var names = map[syscall.Errno]string{
	syscall.EPERM: "EPERM", syscall.ENOENT: "ENOENT", syscall.EIO: "EIO", syscall.EBADF: "EBADF", syscall.EAGAIN: "EAGAIN",
	syscall.ENOMEM: "ENOMEM", syscall.EACCES: "EACCES", syscall.EBUSY: "EBUSY", syscall.EEXIST: "EEXIST", syscall.EXDEV: "EXDEV",
	syscall.ENOTDIR: "ENOTDIR", syscall.EISDIR: "EISDIR", syscall.EINVAL: "EINVAL", syscall.EFBIG: "EFBIG", syscall.ENOSPC: "ENOSPC",
	syscall.EROFS: "EROFS", syscall.EMLINK: "EMLINK", syscall.ENAMETOOLONG: "ENAMETOOLONG", syscall.ENOTEMPTY: "ENOTEMPTY",
	syscall.ELOOP: "ELOOP", syscall.ENODATA: "ENODATA", syscall.ENOTCONN: "ENOTCONN", syscall.ESTALE: "ESTALE",
	syscall.ENXIO: "ENXIO", syscall.ENOSYS: "ENOSYS", syscall.EOPNOTSUPP: "EOPNOTSUPP", syscall.EINTR: "EINTR",
	syscall.ETIMEDOUT: "ETIMEDOUT", syscall.ECANCELED: "ECANCELED",
}

func errnoName(err error) string {
	e := fop.Errno(err)
	if n, ok := names[e]; ok {
		return n
	}
	return strings.ReplaceAll(e.Error(), " ", "-")
}
