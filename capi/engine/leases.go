//go:build linux && cgo

package main

/*
#include "engine.h"
*/
import "C"

import (
	"context"
	"syscall"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
)

// keyLeaseID is the key in xdata of every request of a thread that has set a
// lease id (GlusterFS 10.3, features/leases).
const keyLeaseID = "lease-id"

type leaseKey struct{}

func withLease(ctx context.Context, id [16]byte) context.Context {
	return context.WithValue(ctx, leaseKey{}, id)
}

// leases puts the lease id of the calling thread into its requests.
type leases struct{ fop.Starter }

func (l leases) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	return l.Starter.Do(ctx, withID(ctx, req))
}

func (l leases) Start(ctx context.Context, req fop.Request) fop.Pending {
	return l.Starter.Start(ctx, withID(ctx, req))
}

func withID(ctx context.Context, req fop.Request) fop.Request {
	if ctx == context.Background() {
		return req
	}
	id, ok := ctx.Value(leaseKey{}).([16]byte)
	if !ok {
		return req
	}
	h := req.Head()
	if h.XData == nil {
		h.XData = fop.NewDict()
	}
	h.XData.Set(keyLeaseID, fop.Bytes(id[:]))
	return req
}

// recall is the function that wants to hear when a lease is recalled.
type recall struct{ cbk, data int64 }

// Commands and types of leases.
const (
	getLease  = C.GLFS_GET_LEASE
	setLease  = C.GLFS_SET_LEASE
	unlkLease = C.GLFS_UNLK_LEASE

	noLease = C.GLFS_LEASE_NONE
	rdLease = C.GLFS_RD_LEASE
	rwLease = C.GLFS_RW_LEASE
)

// lease carries out what a struct glfs_lease says and puts the reply there.
func (c *call) lease(l *live, g fop.GFID, p unsafe.Pointer) error {
	s := (*C.struct_glfs_lease)(p)
	req := &fop.Lease{Header: c.head(), GFID: g, Lease: fop.LeaseInfo{Cmd: uint32(s.cmd), Type: uint32(s.lease_type), Flags: uint32(s.lease_flags)}}
	copy(req.Lease.ID[:], unsafe.Slice((*byte)(unsafe.Pointer(&s.lease_id[0])), len(req.Lease.ID)))
	switch {
	case req.Lease.Cmd < getLease || req.Lease.Cmd > unlkLease, req.Lease.ID == [16]byte{}:
		return syscall.EINVAL
	}
	r, err := fop.Call(c.ctx, l.vol.Handler(), req)
	if err != nil {
		return err
	}
	putLease(p, &r.Lease)
	return nil
}

func putLease(p unsafe.Pointer, i *fop.LeaseInfo) {
	s := (*C.struct_glfs_lease)(p)
	s.cmd, s.lease_type, s.lease_flags = C.glfs_lease_cmds_t(i.Cmd), C.glfs_lease_types_t(i.Type), C.uint(i.Flags)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&s.lease_id[0])), len(i.ID)), i.ID[:])
}

func (c *call) glfsLease() int64 {
	d, err := c.regular(0)
	if err != nil {
		return c.fail(err)
	}
	defer d.o.leave()
	p := c.ptr(1)
	if p == nil {
		return c.fail(syscall.EINVAL)
	}
	s := (*C.struct_glfs_lease)(p)
	cmd := s.cmd
	switch {
	case s.lease_type == rdLease && d.o.readable():
	case s.lease_type == rwLease && d.o.writable():
	case s.lease_type == noLease && cmd == getLease:
	default:
		return c.fail(syscall.EINVAL)
	}
	if err := c.lease(d.o.l, d.o.gfid, p); err != nil {
		return c.fail(err)
	}
	switch cmd {
	case setLease:
		d.recall.Store(&recall{c.arg(2), c.arg(3)})
	case unlkLease:
		d.recall.Store(nil)
	}
	return 0
}

func (c *call) glfsHLease() int64 {
	p := c.ptr(2)
	if p == nil {
		return c.fail(syscall.EINVAL)
	}
	return c.by(func(_ *fsys, l *live, o *object) error { return c.lease(l, o.gfid, p) })
}

// recallLeases tells who has a lease on a file that somebody else wants it.
func (f *fsys) recallLeases(u *fop.Upcall) {
	var told []*recall
	handles.each(func(v any) {
		if d, ok := v.(*fd); ok && d.fs == f && d.o.gfid == u.GFID {
			if r := d.recall.Load(); r != nil && r.cbk != 0 {
				told = append(told, r)
			}
		}
	})
	if len(told) == 0 {
		return
	}
	mem := alloc(C.sizeof_struct_glfs_lease)
	defer release(mem)
	putLease(mem, &fop.LeaseInfo{Type: u.LeaseType, ID: u.LeaseID})
	for _, r := range told {
		C.wythe_host_recall(host, C.int64_t(r.cbk), mem, C.int64_t(r.data))
	}
}
