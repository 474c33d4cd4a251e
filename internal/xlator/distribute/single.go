package distribute

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// single is distribute over one subvolume. What is left to do there, so that
// bricks look the same and a volume can grow later:
//
//   - A new directory gets the layout xattr trusted.glusterfs.dht that gives
//     all hashes to the one subvolume. The root gets none, and no directory
//     gets trusted.glusterfs.dht.mds.
//   - Getxattr and Fgetxattr never show trusted.glusterfs.dht and its kin. They
//     can be set and removed, as in GlusterFS on one subvolume.
//   - "dht.subvol.status" is answered here.
//   - A rename carries both names in changelog.rename-op for a brick's change
//     log. GlusterFS leaves that out for directories; a request does not say
//     what it renames, and bricks make nothing of it there.
//   - Listings with attributes leave out linktos, which stay behind when all
//     other subvolumes have been removed. What comes next in a listing is on its
//     way while the caller deals with what came before.
//   - Offsets of directories, pathinfo and node-uuid pass untouched.
type single struct {
	name  string
	below string // the name of the subvolume
	child fop.Handler

	changes atomic.Uint64 // counts changes that begin and end; see page
}

// Reconfigure takes any options: on one subvolume none has an effect.
func (d *single) Reconfigure(xlator.Options) error { return nil }

func (d *single) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if fop.Changes(req) {
		d.changes.Add(1)
		defer d.changes.Add(1)
	}
	switch r := req.(type) {
	case *fop.Mkdir:
		return d.mkdir(ctx, r)
	case *fop.Rename:
		return d.rename(ctx, r)
	case *fop.Readdirp:
		return reply(d.readdirp(ctx, r))
	case *fop.Releasedir:
		if r.Fd != nil {
			if a, ok := r.Fd.Set(d, nil).(*ahead); ok {
				a.drop(drain)
			}
		}
	case *fop.Getxattr:
		if r.Name == keySubvolStatus {
			return subvolStatus(), nil
		}
		reply, err := fop.Call(ctx, d.child, r)
		return conceal(reply, r.Name, err)
	case *fop.Fgetxattr:
		if r.Name == keySubvolStatus {
			return subvolStatus(), nil
		}
		reply, err := fop.Call(ctx, d.child, r)
		return conceal(reply, r.Name, err)
	}
	return d.child.Do(ctx, req)
}

// Start passes on what needs nothing done to its reply, so that a caller can
// have many requests in flight.
func (d *single) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch req.(type) {
	case *fop.Mkdir, *fop.Rename, *fop.Readdirp, *fop.Releasedir, *fop.Getxattr, *fop.Fgetxattr:
		return fop.Start(ctx, fop.HandlerFunc(d.Do), req)
	}
	if fop.Changes(req) {
		d.changes.Add(1)
		return change{d, fop.Start(ctx, d.child, req)}
	}
	return fop.Start(ctx, d.child, req)
}

// change is a change that is under way.
type change struct {
	d     *single
	below fop.Pending
}

func (c change) Wait() (fop.Reply, error) {
	defer c.d.changes.Add(1)
	return c.below.Wait()
}

// drain lets an answer come that nobody wants.
func drain(p fop.Pending) { go p.Wait() }

func (d *single) readdirp(ctx context.Context, r *fop.Readdirp) (*fop.ReaddirReply, error) {
	a := new(ahead)
	if r.Fd != nil {
		a = r.Fd.GetOrSet(d, func() any { return a }).(*ahead)
	}
	if r.Offset == 0 {
		a.drop(drain)
	}
	ask := func(off uint64) *fop.Readdirp {
		q := *r
		q.Offset = off
		q.XData = r.XData.With(fop.XattrLinkto, fop.Uint(linktoSize))
		return &q
	}
	for off := r.Offset; ; {
		rep, err := a.page(0, r, off, d.changes.Load(), drain, func() fop.Pending { return fop.Start(ctx, d.child, ask(off)) })()
		if err != nil || rep == nil || len(rep.Entries) == 0 {
			return rep, err
		}
		last := rep.Entries[len(rep.Entries)-1].Off
		if r.Fd != nil && !rep.EOF {
			a.begin(ctx, 0, d.child, r, ask(last), d.changes.Load())
		}
		kept := rep.Entries[:0]
		for _, e := range rep.Entries {
			if !isLinkto(&e.Stat, e.XData) {
				e.XData = conceal4(e.XData)
				kept = append(kept, e)
			}
		}
		rep.Entries = kept
		if len(kept) > 0 || rep.EOF {
			return rep, nil
		}
		off = last
	}
}

func (d *single) mkdir(ctx context.Context, r *fop.Mkdir) (fop.Reply, error) {
	if !r.XData.Has(fop.KeyGFIDReq) {
		return nil, fmt.Errorf("mkdir %q: no %s in the request: %w", r.Name, fop.KeyGFIDReq, syscall.EPERM)
	}
	q := *r
	q.XData = r.XData.With(fop.XattrDHT, fop.Bytes(whole.append(nil)))
	return d.child.Do(ctx, &q)
}

func (d *single) rename(ctx context.Context, r *fop.Rename) (fop.Reply, error) {
	q := *r
	q.XData = r.XData.With(keyRenameOp, fop.Bytes(renameOp(r)))
	return d.child.Do(ctx, &q)
}

// renameOp is the value of changelog.rename-op as a C struct on x86: both
// parents, both lengths with NUL, the names with NUL. It is as long as the
// struct, padded to 44 bytes, and the names together; so four NULs follow.
func renameOp(r *fop.Rename) []byte {
	b := make([]byte, 0, 44+len(r.OldName)+len(r.NewName)+2)
	b = append(b, r.OldParent[:]...)
	b = append(b, r.NewParent[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.OldName)+1))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.NewName)+1))
	b = append(b, r.OldName...)
	b = append(b, 0)
	b = append(b, r.NewName...)
	return b[:cap(b)]
}

func subvolStatus() fop.Reply {
	d := fop.NewDict(fop.Pair{Key: keySubvolStatus, Val: fop.Bytes([]byte("1\x00"))})
	return &fop.XattrReply{Dict: d, Size: 2}
}

// concealed are the xattrs in which a volume keeps its layout.
func concealed(key string) bool {
	return key == fop.XattrDHT || strings.HasPrefix(key, fop.XattrDHT+".")
}

// conceal takes the layout's xattrs out of a reply.
func conceal(reply *fop.XattrReply, name string, err error) (fop.Reply, error) {
	if err != nil || reply == nil {
		if reply == nil {
			return nil, err
		}
		return reply, err
	}
	hide := false
	for _, p := range reply.Dict.Pairs() {
		hide = hide || concealed(p.Key)
	}
	if !hide {
		return reply, nil
	}
	if concealed(name) {
		return nil, fmt.Errorf("getxattr %s: kept for the volume itself: %w", name, syscall.ENODATA)
	}
	q := *reply
	q.Dict = fop.NewDict()
	for _, p := range reply.Dict.Pairs() {
		if !concealed(p.Key) {
			q.Dict.Append(p.Key, p.Val)
		}
	}
	return &q, nil
}
