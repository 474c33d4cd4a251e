package fop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Handler is a translator, or anything else that can carry out fops.
type Handler interface {
	// Do carries out one fop. The dynamic type of the reply is the one that
	// belongs to the request: *LookupReply for *Lookup, and so on.
	Do(ctx context.Context, req Request) (Reply, error)
}

// HandlerFunc lets a function be a Handler.
type HandlerFunc func(ctx context.Context, req Request) (Reply, error)

// Do calls f.
func (f HandlerFunc) Do(ctx context.Context, req Request) (Reply, error) { return f(ctx, req) }

// Starter is a Handler that can begin a fop without waiting for it. A caller
// with several children starts all and then waits for each, in one goroutine.
type Starter interface {
	Handler
	// Start sends the request off. Exactly one Wait must follow.
	Start(ctx context.Context, req Request) Pending
}

// Pending is a fop that has been started.
type Pending interface {
	// Wait returns what Do would have returned.
	Wait() (Reply, error)
}

// Start begins req on h: at once if h is a Starter, else in a goroutine.
func Start(ctx context.Context, h Handler, req Request) Pending {
	if s, ok := h.(Starter); ok {
		return s.Start(ctx, req)
	}
	p := &goPending{done: make(chan struct{})}
	go func() {
		p.reply, p.err = h.Do(ctx, req)
		close(p.done)
	}()
	return p
}

type goPending struct {
	done  chan struct{}
	reply Reply
	err   error
}

func (p *goPending) Wait() (Reply, error) {
	<-p.done
	return p.reply, p.err
}

// Poster is a Handler that can be told of a fop whose outcome interests nobody,
// such as an unlock. It may be done somewhat later.
type Poster interface {
	Handler
	// Post keeps nothing of req after it returns.
	Post(req Request)
}

// Request is one of the request structs of this package, by pointer.
type Request interface {
	// Op tells which fop it is.
	Op() Op
	// Head returns the header that all requests carry.
	Head() *Header
}

// Reply is one of the reply structs of this package, by pointer.
type Reply interface {
	// ReplyHead returns the header that all replies carry.
	ReplyHead() *ReplyHeader
}

// RequestFor is a request whose reply has type R.
type RequestFor[R Reply] interface {
	Request
	repliedBy(R)
}

// Call carries out req on h and returns the reply with its type. The reply
// can be nil when the error is not.
func Call[R Reply](ctx context.Context, h Handler, req RequestFor[R]) (R, error) {
	reply, err := h.Do(ctx, req)
	r, ok := reply.(R)
	if !ok && err == nil {
		return r, fmt.Errorf("%v answered with %T: %w", req.Op(), reply, syscall.EPROTO)
	}
	return r, err
}

// Header is the part that all requests share. On the wire it travels in the
// RPC credential, except for XData, which is part of the message.
type Header struct {
	Cred  Cred
	Time  Stamp   // what the utime translator wants recorded
	XData *Dict   // extra keys, nil for none
	From  *Client // on a brick: the client that asks; nil elsewhere
}

// Head makes every struct that embeds a Header a Request in part.
func (h *Header) Head() *Header { return h }

// ReplyHeader is the part that all replies share.
type ReplyHeader struct {
	XData *Dict
}

// ReplyHead makes every struct that embeds a ReplyHeader a Reply in part.
func (h *ReplyHeader) ReplyHead() *ReplyHeader { return h }

// Cred says on whose behalf a fop is done.
type Cred struct {
	UID, GID uint32
	PID      int32 // negative ones are GlusterFS's own daemons, see PID constants
	Groups   []uint32
	// Owner is the lock owner, an opaque byte string compared as a whole. The
	// client translator sends the pid in its place when it is empty.
	Owner string
}

// Special pids by which GlusterFS's own processes are known.
const (
	PIDGsyncd       = -1
	PIDRebalance    = -3
	PIDNoRootSquash = -4
	PIDQuotaMount   = -5
	PIDSelfHeal     = -6
	PIDGlfsHeal     = -7
	PIDBitd         = -8
	PIDScrub        = -9
	PIDTrash        = -11
	PIDAddReplica   = -12
	PIDSetUtime     = -13
)

// InGroup reports whether gid is the primary or a supplementary group.
func (c *Cred) InGroup(gid uint32) bool {
	if c.GID == gid {
		return true
	}
	for _, g := range c.Groups {
		if g == gid {
			return true
		}
	}
	return false
}

// Stamp is the client's clock at the time of the fop and the bits that say
// which times of which object it is meant for (Time… constants). Zero means
// that nothing is to be recorded.
type Stamp struct {
	Flags uint32
	Sec   int64
	Nsec  uint32
}

// Bits of Stamp.Flags.
const (
	TimeCtime       = 1
	TimeMtime       = 2
	TimeAtime       = 4
	TimeParentCtime = 8
	TimeParentMtime = 16
	TimeParentAtime = 32
)

// Errno finds the errno in err: 0 for nil, the wrapped syscall.Errno if there
// is one, a fitting one for context and io/fs errors, else EIO.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var e syscall.Errno
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return syscall.ECANCELED
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, fs.ErrExist):
		return syscall.EEXIST
	case errors.Is(err, fs.ErrPermission):
		return syscall.EACCES
	case errors.Is(err, fs.ErrInvalid):
		return syscall.EINVAL
	case errors.Is(err, fs.ErrClosed):
		return syscall.EBADF
	}
	return syscall.EIO
}
