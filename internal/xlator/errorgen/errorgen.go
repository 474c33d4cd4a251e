// Package errorgen is the translator "debug/error-gen" (GlusterFS 10.3,
// xlators/debug/error-gen): it makes fops fail, for tests of what stands above.
// Options as in GlusterFS:
//
//	failure         percent of calls that fail; with 0 none
//	error-no        the errno, by name; without it a fitting one is drawn
//	enable          fops that may fail, by name, separated by commas; without
//	                it all but those that end the life of something
//	random-failure  fail at random; else exactly every so many calls
//
// A fop that fails does not reach the child, but for error-no
// GF_ERROR_SHORT_WRITE: then only the first half of a write does.
//
// Tests in Go that want a certain call to fail write a fop.HandlerFunc instead.
package errorgen

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

const shortWrite = "GF_ERROR_SHORT_WRITE"

// Type is the translator.
var Type = xlator.Type{
	Name: "debug/error-gen",
	New:  New,
	Options: []xlator.Option{
		{Key: "failure", Kind: xlator.KindPercent},
		{Key: "error-no", Kind: xlator.KindString},
		{Key: "enable", Kind: xlator.KindString},
		{Key: "random-failure", Kind: xlator.KindBool, Default: "off"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

var errnos = map[string]syscall.Errno{
	"ENOENT": syscall.ENOENT, "ENOTDIR": syscall.ENOTDIR, "ENAMETOOLONG": syscall.ENAMETOOLONG, "EACCES": syscall.EACCES,
	"EBADF": syscall.EBADF, "EFAULT": syscall.EFAULT, "ENOMEM": syscall.ENOMEM, "EINVAL": syscall.EINVAL, "EIO": syscall.EIO,
	"EEXIST": syscall.EEXIST, "ENOSPC": syscall.ENOSPC, "EPERM": syscall.EPERM, "EROFS": syscall.EROFS, "EBUSY": syscall.EBUSY,
	"EISDIR": syscall.EISDIR, "ENOTEMPTY": syscall.ENOTEMPTY, "EMLINK": syscall.EMLINK, "ENODEV": syscall.ENODEV,
	"EXDEV": syscall.EXDEV, "EMFILE": syscall.EMFILE, "ENFILE": syscall.ENFILE, "ENOSYS": syscall.ENOSYS, "EINTR": syscall.EINTR,
	"EFBIG": syscall.EFBIG, "EAGAIN": syscall.EAGAIN, "ENOTCONN": syscall.ENOTCONN, "ESTALE": syscall.ESTALE,
}

// drawn are the errnos of a failure whose errno nobody chose.
var drawn = []syscall.Errno{syscall.EIO, syscall.ENOMEM, syscall.ENOSPC, syscall.EACCES, syscall.ENOTCONN}

type errorGen struct {
	child fop.Handler
	conf  atomic.Pointer[config]

	mu   sync.Mutex
	rnd  *rand.Rand // the same in every run
	seen float64    // percent points gathered since the last failure
}

type config struct {
	percent float64
	errno   syscall.Errno // 0: drawn
	short   bool
	fops    map[fop.Op]bool // nil: all
	random  bool
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	e := &errorGen{child: c.Children[0].Handler, rnd: rand.New(rand.NewPCG(1, 2))}
	return e, e.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (e *errorGen) Reconfigure(o xlator.Options) error {
	conf := &config{random: o.Bool("random-failure", false)}
	if p := strings.TrimSuffix(strings.TrimSpace(o["failure"]), "%"); p != "" {
		n, err := strconv.ParseFloat(p, 64)
		if err != nil || n < 0 || n > 100 {
			return fmt.Errorf("option failure: %q is no percentage: %w", o["failure"], syscall.EINVAL)
		}
		conf.percent = n
	}
	if name := o["error-no"]; name == shortWrite {
		conf.short = true
	} else if name != "" {
		errno, ok := errnos[name]
		if !ok {
			return fmt.Errorf("option error-no: %q is no errno that is known here: %w", name, syscall.EINVAL)
		}
		conf.errno = errno
	}
	var err error
	if conf.fops, err = xlator.ParseFops(o["enable"]); err != nil {
		return fmt.Errorf("option enable: %w", err)
	}
	e.conf.Store(conf)
	return nil
}

// Do fails a fop or passes it on.
func (e *errorGen) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	conf := e.conf.Load()
	if conf.percent == 0 || !conf.applies(req.Op()) || !e.due(conf) {
		return e.child.Do(ctx, req)
	}
	if conf.short {
		w, ok := req.(*fop.Write)
		if !ok || len(w.Data) < 2 {
			return e.child.Do(ctx, req)
		}
		q := *w
		q.Data = w.Data[:len(w.Data)/2]
		return e.child.Do(ctx, &q)
	}
	if conf.errno != 0 {
		return nil, conf.errno
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return nil, drawn[e.rnd.IntN(len(drawn))]
}

// applies reports whether a fop may fail. What frees things never does, unless
// it is named: nobody above looks at its error.
func (c *config) applies(op fop.Op) bool {
	if c.fops != nil {
		return c.fops[op]
	}
	switch op {
	case fop.OpRelease, fop.OpReleasedir, fop.OpDisconnect:
		return false
	}
	return true
}

// due reports whether it is this call's turn to fail.
func (e *errorGen) due(c *config) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.random {
		return e.rnd.Float64()*100 < c.percent
	}
	if e.seen += c.percent; e.seen < 100 {
		return false
	}
	e.seen -= 100
	return true
}
