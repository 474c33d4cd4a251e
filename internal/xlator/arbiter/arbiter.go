// Package arbiter is the translator "features/arbiter" of a brick that holds the
// names, attributes and pending marks of its set's files, but none of their
// data: it stands directly above storage/posix on the last brick of an arbiter
// set and makes it a voter that costs next to no space.
//
// What would change data (WRITE, TRUNCATE, FTRUNCATE, FALLOCATE, DISCARD,
// ZEROFILL) succeeds and changes nothing, so files stay as empty as they were
// made; a WRITE reports all that was sent as written, whatever its place. Reply
// attributes are those of the file here, before and after alike. READ and SEEK
// end with ENOSYS: nobody may take the emptiness for the file's contents. All
// else (entries, attributes, xattrs, pending marks, opening, syncing) passes.
//
// cluster/replicate is its other half: it sends one byte in place of the data of
// a WRITE, never reads here, and never lets the arbiter be the only good copy.
package arbiter

import (
	"context"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/arbiter".
var Type = xlator.Type{Name: "features/arbiter", New: New, MinChildren: 1, MaxChildren: 1}

// Arbiter is the translator.
type Arbiter struct {
	next fop.Handler
}

// New makes an Arbiter.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	return &Arbiter{next: c.Children[0]}, nil
}

// Do carries out one fop.
func (a *Arbiter) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Write:
		return a.write(ctx, r)
	case *fop.Truncate:
		return a.unchanged(ctx, req, r.GFID, nil)
	case *fop.Ftruncate:
		return a.unchanged(ctx, req, r.GFID, r.Fd)
	case *fop.Fallocate:
		return a.unchanged(ctx, req, r.GFID, r.Fd)
	case *fop.Discard:
		return a.unchanged(ctx, req, r.GFID, r.Fd)
	case *fop.Zerofill:
		return a.unchanged(ctx, req, r.GFID, r.Fd)
	case *fop.Put:
		// GlusterFS's lets the data through; nothing reads them there.
		q := *r
		q.Data, q.Offset = nil, 0
		return a.next.Do(ctx, &q)
	case *fop.Read, *fop.Seek:
		return nil, fmt.Errorf("%v: an arbiter has no data: %w", req.Op(), syscall.ENOSYS)
	}
	return a.next.Do(ctx, req)
}

// write answers a WRITE with what a brick says that wrote all of it.
func (a *Arbiter) write(ctx context.Context, r *fop.Write) (fop.Reply, error) {
	st, err := a.stat(ctx, r, r.GFID, r.Fd)
	if err != nil {
		return nil, err
	}
	reply := &fop.WriteReply{Pre: st, Post: st, Size: uint32(len(r.Data))}
	if r.XData.Has(fop.KeyWriteAppend) {
		// The file is empty: nothing that a write could go into stands behind it.
		reply.XData = fop.NewDict(fop.Pair{Key: fop.KeyWriteAppend, Val: fop.Uint(1)})
	}
	return reply, nil
}

// unchanged answers a fop that changes a file's data with the file as it is.
func (a *Arbiter) unchanged(ctx context.Context, req fop.Request, gfid fop.GFID, fd *fop.Fd) (fop.Reply, error) {
	st, err := a.stat(ctx, req, gfid, fd)
	if err != nil {
		return nil, err
	}
	return &fop.AttrReply{Pre: st, Post: st}, nil
}

// stat finds the attributes of the file that req is for, and whether it exists.
func (a *Arbiter) stat(ctx context.Context, req fop.Request, gfid fop.GFID, fd *fop.Fd) (fop.Iatt, error) {
	head := *req.Head()
	head.XData = nil
	var reply *fop.StatReply
	var err error
	if fd != nil {
		reply, err = fop.Call(ctx, a.next, &fop.Fstat{Header: head, GFID: gfid, Fd: fd})
	} else {
		reply, err = fop.Call(ctx, a.next, &fop.Stat{Header: head, GFID: gfid})
	}
	if err != nil {
		return fop.Iatt{}, fmt.Errorf("%v: %w", req.Op(), err)
	}
	return reply.Stat, nil
}
