package gfapi

import (
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// systemFlags are those flags of OpenFile that only package syscall has.
func systemFlags(flag int) (flags uint32) {
	for _, f := range [...]struct {
		sys int
		fop uint32
	}{{syscall.O_DIRECT, fop.ODirect}, {syscall.O_DSYNC, fop.ODsync}, {syscall.O_NOFOLLOW, fop.ONofollow}, {syscall.O_DIRECTORY, fop.ODirectory}} {
		if flag&f.sys == f.sys {
			flags |= f.fop
		}
	}
	return flags
}
