package replicate

import (
	"context"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// A directory is listed from one child: bricks have offsets of their own. The
// child is chosen when the listing begins and noted in the Fd; a listing that is
// under way does not survive the loss of that child.

func (r *replicate) readdir(ctx context.Context, q *fop.Readdir) (fop.Reply, error) {
	for p := *q; ; {
		reply, _, err := r.list(ctx, &p, p.GFID, p.Fd, p.Offset)
		if err != nil {
			return nil, err
		}
		next, hidden := r.hide(reply, q.GFID, q.Cred.PID)
		if !hidden {
			return reply, nil
		}
		p.Offset = next
	}
}

func (r *replicate) readdirp(ctx context.Context, q *fop.Readdirp) (fop.Reply, error) {
	for p := *q; ; {
		reply, child, err := r.list(ctx, &p, p.GFID, p.Fd, p.Offset)
		if err != nil {
			return nil, err
		}
		next, hidden := r.hide(reply, q.GFID, q.Cred.PID)
		if !hidden {
			r.strip(reply, child)
			return reply, nil
		}
		p.Offset = next
	}
}

// list asks the child that the directory is listed from.
func (r *replicate) list(ctx context.Context, req fop.Request, g fop.GFID, fd *fop.Fd, offset uint64) (reply *fop.ReaddirReply, child int, err error) {
	var got fop.Reply
	if offset == 0 {
		got, child, err = r.listAnew(ctx, req, g, fd)
	} else {
		got, child, err = r.listOn(ctx, req, fd, offset)
	}
	if err != nil {
		return nil, child, err
	}
	reply, ok := got.(*fop.ReaddirReply)
	if !ok {
		return nil, child, fmt.Errorf("%s: %v answered with %T: %w", r.name, req.Op(), got, syscall.EPROTO)
	}
	return reply, child, nil
}

// listAnew begins a listing with any child whose copy is good.
func (r *replicate) listAnew(ctx context.Context, req fop.Request, g fop.GFID, fd *fop.Fd) (fop.Reply, int, error) {
	v := r.view()
	if err := r.gate(v, req.Op().String()); err != nil {
		return nil, -1, err
	}
	if fd != nil {
		r.fixOpen(fd, v)
	}
	t := reading{r: r, req: req, gfid: g, fd: fd, v: v, answered: -1}
	var reply fop.Reply
	var err error
	done := false
	if child, others := r.known(g, v); child >= 0 {
		reply, err, done = t.try(ctx, child, others)
	}
	if !done {
		reply, err = t.carefully(ctx)
	}
	if err == nil && fd != nil {
		r.fdOf(fd).reading.Store(int32(t.answered + 1))
	}
	return reply, t.answered, err
}

// listOn goes on with a listing, on the child where it began. Without an Fd that
// knows, the offset tells which child that was.
func (r *replicate) listOn(ctx context.Context, req fop.Request, fd *fop.Fd, offset uint64) (fop.Reply, int, error) {
	v := r.view()
	if err := r.gate(v, req.Op().String()); err != nil {
		return nil, -1, err
	}
	child := -1
	if fd != nil {
		r.fixOpen(fd, v)
		child = int(r.fdOf(fd).reading.Load()) - 1
	}
	if child < 0 {
		leaf, _ := fop.DecodeOffset(offset, r.leaves)
		for i, c := range r.children {
			if leaf >= c.FirstLeaf && leaf < c.FirstLeaf+c.Leaves {
				child = i
			}
		}
		if child < 0 {
			return nil, -1, fmt.Errorf("%s: %v at offset %d: no copy has given out this offset: %w", r.name, req.Op(), offset, syscall.EINVAL)
		}
	}
	reply, err := r.from(ctx, child, req)
	return reply, child, err
}

// hide takes the names out of a listing of the root that are none of the
// caller's business. all says that nothing is left though the directory goes on
// at offset next: an empty listing would be taken for its end.
func (r *replicate) hide(reply *fop.ReaddirReply, dir fop.GFID, pid int32) (next uint64, all bool) {
	if !dir.IsRoot() || len(reply.Entries) == 0 {
		return 0, false
	}
	next = reply.Entries[len(reply.Entries)-1].Off
	kept := reply.Entries[:0]
	for _, e := range reply.Entries {
		if !r.private(dir, e.Name, pid) {
			kept = append(kept, e)
		}
	}
	reply.Entries = kept
	return next, len(kept) == 0 && !reply.EOF
}

// strip takes the attributes off those entries of which the child that listed
// them may not have a good copy, so that whoever wants to know looks them up. If
// no brick has anything to heal, all are good.
func (r *replicate) strip(reply *fop.ReaddirReply, child int) {
	consistent := r.conf.Load().consistentMetadata
	if !consistent && !r.needHeal.Load() {
		return
	}
	v := r.view()
	for i := range reply.Entries {
		e := &reply.Entries[i]
		if e.Stat.IsZero() || isLinkto(e) || r.goodEntry(e, child, v, consistent) {
			continue
		}
		e.Stat = fop.Iatt{}
	}
}

// isLinkto reports whether an entry is no file but points to one. That must be
// seen above, where such entries are left out, and does not change as long as the
// name leads to the same object.
func isLinkto(e *fop.Dirent) bool {
	return e.Stat.IsRegular() && e.Stat.Mode&0o7777 == fop.ModeSticky && e.XData.Has(fop.XattrLinkto)
}

// goodEntry reports whether what child says about an entry can be relied on.
func (r *replicate) goodEntry(e *fop.Dirent, child int, v view, consistent bool) bool {
	o := r.objects.Peek(e.Stat.GFID)
	if o == nil {
		return false
	}
	defer o.Release()
	m, ok := o.V.readable(v.gen)
	if !ok || !m.both().has(child) {
		return false
	}
	return !consistent || r.choose(m.both()&v.up, e.Stat.GFID, e.Stat.IsDir()) == child
}
