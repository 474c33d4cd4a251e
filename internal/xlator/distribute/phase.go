package distribute

import (
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
)

// phase is how far a rebalance process is with moving a file, as the answer of
// the subvolume that had it shows.
type phase uint8

const (
	// settled: the answer stands.
	settled phase = iota
	// copying: the source bears both bits of phase1. Changes must be made on
	// source and destination, in this order.
	copying
	// moved: the file is gone, or what is left of it is a linkto.
	moved
	// unopened: the subvolume does not have the file open.
	unopened
)

// ebadfd and eremote are errnos that not every platform has.
var (
	ebadfd  = proto.ErrnoFromWire(77)
	eremote = proto.ErrnoFromWire(66)
)

// phaseOf tells the phase from the attributes before and after (either may be
// nil) and the error of a fop. A file whose bits went away during the fop, by
// a chmod say, counts as copying: whether it is, the linkto xattr tells.
func phaseOf(pre, post *fop.Iatt, errno syscall.Errno) phase {
	switch errno {
	case 0:
	case syscall.ENOENT, syscall.ESTALE:
		return moved
	case syscall.EBADF, ebadfd:
		return unopened
	case eremote:
		return moved
	default:
		return settled
	}
	switch {
	case post != nil && likeLinkto(post):
		return moved
	case inPhase1(post), inPhase1(pre):
		return copying
	}
	return settled
}

func inPhase1(st *fop.Iatt) bool {
	return st != nil && st.IsRegular() && st.Mode&phase1 == phase1
}

// attributes finds the attributes of the file before and after in a reply.
func attributes(r fop.Reply) (pre, post *fop.Iatt) {
	switch r := r.(type) {
	case *fop.ReadReply:
		return nil, &r.Stat
	case *fop.WriteReply:
		return &r.Pre, &r.Post
	case *fop.AttrReply:
		return &r.Pre, &r.Post
	case *fop.StatReply:
		return nil, &r.Stat
	case *fop.ReadlinkReply:
		return nil, &r.Stat
	case *fop.EntryReply:
		return nil, &r.Stat
	case *fop.CommonReply:
		return nil, iattKey(&r.ReplyHeader)
	case *fop.XattrReply:
		return nil, iattKey(&r.ReplyHeader)
	}
	return nil, nil
}

// iattKey is the file's attributes in the reply of a fop on xattrs, which
// carries them because it was asked to.
func iattKey(h *fop.ReplyHeader) *fop.Iatt {
	if v, ok := h.XData.Get(fop.KeyIattInXattr); ok {
		if a, ok := v.Iatt(); ok {
			return &a
		}
	}
	if v, ok := h.XData.Get(keyModeInXattr); ok {
		if n, ok := v.Int(); ok {
			return &fop.Iatt{Flags: fop.IattMode, Mode: uint32(n)}
		}
	}
	return nil
}

// doubled reports whether a fop on a file that is being copied must be done on
// the destination too. Attributes are not among it: the rebalance process reads
// them at the end.
func doubled(op fop.Op) bool {
	switch op {
	case fop.OpWrite, fop.OpTruncate, fop.OpFtruncate, fop.OpFallocate, fop.OpDiscard, fop.OpZerofill, fop.OpFsync,
		fop.OpSetxattr, fop.OpFsetxattr, fop.OpRemovexattr, fop.OpFremovexattr, fop.OpXattrop, fop.OpFxattrop:
		return true
	}
	return false
}

// tidy takes from a reply what only this translator wants to see.
func tidy(r fop.Reply) {
	switch r := r.(type) {
	case *fop.ReadReply:
		shown(&r.Stat)
	case *fop.WriteReply:
		shown(&r.Pre)
		shown(&r.Post)
	case *fop.AttrReply:
		shown(&r.Pre)
		shown(&r.Post)
	case *fop.StatReply:
		shown(&r.Stat)
	case *fop.EntryReply:
		shown(&r.Stat)
	}
}
