package rpc

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/xdr"
)

const (
	msgCall  = 0
	msgReply = 1

	rpcVersion = 2

	markSize     = 4
	lastFragment = 1 << 31

	// acceptedSize is the size of the header of an accepted reply with an
	// empty verifier.
	acceptedSize = 24

	// MaxRecord is the size at which a record ends its connection.
	MaxRecord = 1 << 30
)

// An Appender is a message body that can encode itself behind what is in b
// already.
type Appender interface {
	AppendXDR(b []byte) []byte
}

// Raw is a body that is encoded already.
type Raw []byte

// AppendXDR appends the bytes as they are.
func (r Raw) AppendXDR(b []byte) []byte { return append(b, r...) }

// ErrMalformed says that the peer sent something that is no RPC message; the
// connection is closed.
var ErrMalformed = errors.New("rpc: malformed message")

// AcceptStat is the outcome of a call that the server accepted.
type AcceptStat uint32

// Outcomes of accepted calls.
const (
	Success      AcceptStat = 0
	ProgUnavail  AcceptStat = 1 // the server does not have the program
	ProgMismatch AcceptStat = 2 // it has other versions of it
	ProcUnavail  AcceptStat = 3 // the program does not have the procedure
	GarbageArgs  AcceptStat = 4 // arguments do not decode, or a fop came before SETVOLUME
	SystemErr    AcceptStat = 5 // the server failed
)

func (s AcceptStat) String() string {
	switch s {
	case Success:
		return "success"
	case ProgUnavail:
		return "program unavailable"
	case ProgMismatch:
		return "program version mismatch"
	case ProcUnavail:
		return "procedure unavailable"
	case GarbageArgs:
		return "garbage arguments"
	case SystemErr:
		return "system error"
	}
	return fmt.Sprintf("accept_stat %d", uint32(s))
}

// AuthStat says why a call was denied.
type AuthStat uint32

// Reasons for denial that occur in GlusterFS.
const (
	AuthOK           AuthStat = 0 // GlusterFS sends 0 for credentials that it cannot parse
	AuthBadCred      AuthStat = 1
	AuthRejectedCred AuthStat = 2 // also: the peer's port is not privileged
)

// A ReplyError is a reply other than "accepted, success". The call had no
// effect as far as RPC can tell.
type ReplyError struct {
	Denied    bool
	Accept    AcceptStat // if not denied
	Low, High uint32     // versions, with ProgMismatch; GlusterFS sends zeros
	Reject    uint32     // if denied: 0 RPC version mismatch, 1 authentication error
	Auth      AuthStat   // if denied with Reject 1
}

func (e *ReplyError) Error() string {
	switch {
	case !e.Denied:
		return "rpc: server answered: " + e.Accept.String()
	case e.Reject == 1 && e.Auth == AuthRejectedCred:
		return "rpc: server denied the call: credential rejected (does it allow insecure ports?)"
	case e.Reject == 1:
		return fmt.Sprintf("rpc: server denied the call: authentication error %d", e.Auth)
	}
	return "rpc: server denied the call: RPC version mismatch"
}

// Unwrap returns the errno nearest in meaning.
func (e *ReplyError) Unwrap() error {
	switch {
	case e.Denied:
		return syscall.EACCES
	case e.Accept == GarbageArgs:
		return syscall.EINVAL
	case e.Accept == SystemErr:
		return syscall.EIO
	}
	return syscall.EOPNOTSUPP
}

// appendCallHeader appends everything of a call before its arguments.
func appendCallHeader(b []byte, xid, prog, vers, proc uint32, cred *Cred) []byte {
	b = xdr.AppendUint32(b, xid)
	b = xdr.AppendUint32(b, msgCall)
	b = xdr.AppendUint32(b, rpcVersion)
	b = xdr.AppendUint32(b, prog)
	b = xdr.AppendUint32(b, vers)
	b = xdr.AppendUint32(b, proc)
	if cred == nil {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	} else {
		b = cred.AppendXDR(b)
	}
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0) // verifier: AUTH_NONE, empty
}

// A callHeader is a decoded call before its credential has been looked into.
type callHeader struct {
	prog, vers, proc uint32
	flavor           Flavor
	credBody         []byte
	verfFlavor       uint32
}

// errGarbage marks a call header that gets a GARBAGE_ARGS reply with xid 0.
var errGarbage = errors.New("rpc: call header does not decode")

// decode reads a call header after the xid and the message type.
func (h *callHeader) decode(d *xdr.Decoder) error {
	if d.Uint32() != rpcVersion {
		return errGarbage
	}
	h.prog = d.Uint32()
	h.vers = d.Uint32()
	h.proc = d.Uint32()
	h.flavor = Flavor(d.Uint32())
	h.credBody = d.Opaque(maxCredBody)
	h.verfFlavor = d.Uint32()
	d.Opaque(maxCredBody)
	if d.Err() != nil {
		return errGarbage
	}
	return nil
}

// appendAccepted appends the header of an accepted reply.
func appendAccepted(b []byte, xid, verf uint32, stat AcceptStat) []byte {
	b = xdr.AppendUint32(b, xid)
	b = xdr.AppendUint32(b, msgReply)
	b = append(b, 0, 0, 0, 0) // MSG_ACCEPTED
	b = xdr.AppendUint32(b, verf)
	b = append(b, 0, 0, 0, 0)
	b = xdr.AppendUint32(b, uint32(stat))
	if stat == ProgMismatch {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// appendDenied appends a reply that denies a call for its credential.
func appendDenied(b []byte, xid uint32, stat AuthStat) []byte {
	b = xdr.AppendUint32(b, xid)
	b = xdr.AppendUint32(b, msgReply)
	b = xdr.AppendUint32(b, 1) // MSG_DENIED
	b = xdr.AppendUint32(b, 1) // AUTH_ERROR
	return xdr.AppendUint32(b, uint32(stat))
}

// decodeReply reads a whole reply and returns where its results begin. The
// error is a *ReplyError or wraps ErrMalformed.
func decodeReply(msg []byte) (results int, err error) {
	d := xdr.NewDecoder(msg)
	d.Uint32() // xid
	if d.Uint32() != msgReply {
		return 0, ErrMalformed
	}
	var e ReplyError // made only where it is returned: most replies need none
	switch d.Uint32() {
	case 0:
		d.Uint32()
		d.Opaque(maxCredBody)
		e.Accept = AcceptStat(d.Uint32())
		if d.Err() == nil && e.Accept == Success {
			return d.Offset(), nil
		}
		if e.Accept == ProgMismatch {
			e.Low, e.High = d.Uint32(), d.Uint32()
		}
	case 1:
		e.Denied = true
		e.Reject = d.Uint32()
		switch e.Reject {
		case 0:
			e.Low, e.High = d.Uint32(), d.Uint32()
		case 1:
			e.Auth = AuthStat(d.Uint32())
		default:
			return 0, ErrMalformed
		}
	default:
		return 0, ErrMalformed
	}
	if d.Err() != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, d.Err())
	}
	failed := e
	return 0, &failed
}
