package gfapi

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// errWriteAtInAppendMode is what os has for it, too.
var errWriteAtInAppendMode = errors.New("gfapi: invalid use of WriteAt on file opened with O_APPEND")

// tidy makes an error of the layers below fit for users.
func tidy(err error) error {
	if err == nil {
		return nil
	}
	if fop.Errno(err) == syscall.ESTALE { // the object is gone
		return syscall.ENOENT
	}
	return err
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: tidy(err)}
}

func linkError(op, oldname, newname string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: oldname, New: newname, Err: tidy(err)}
}

// is reports whether err is one of these errnos.
func is(err error, errnos ...syscall.Errno) bool {
	if err == nil {
		return false
	}
	e := fop.Errno(err)
	for _, x := range errnos {
		if e == x {
			return true
		}
	}
	return false
}
