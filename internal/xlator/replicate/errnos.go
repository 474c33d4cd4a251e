package replicate

import (
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// urgent are the errors that win over all others, the first over the rest.
var urgent = [...]syscall.Errno{syscall.ENODATA, syscall.ENOENT, syscall.ESTALE, syscall.ENOSPC}

// better returns which of two errors to report: an urgent one, else the later.
func better(old, now error) error {
	if old == nil {
		return now
	}
	if now == nil {
		return old
	}
	o, n := fop.Errno(old), fop.Errno(now)
	for _, e := range urgent {
		if o == e {
			return old
		}
		if n == e {
			return now
		}
	}
	return now
}

// best is the error to report for what all children answered, nil if none
// failed.
func best(as []answer) (err error) {
	for i := range as {
		if as[i].sent && as[i].err != nil {
			err = better(err, as[i].err)
		}
	}
	return err
}
