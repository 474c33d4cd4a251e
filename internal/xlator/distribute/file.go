package distribute

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// fileFop carries out the fops that Do does not name.
func (d *distribute) fileFop(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Create:
		return reply(d.create(ctx, r))
	case *fop.Mknod:
		return reply(d.mknod(ctx, r))
	case *fop.Symlink:
		return reply(d.symlink(ctx, r))
	case *fop.Unlink:
		return reply(d.unlink(ctx, r))
	case *fop.Link:
		return reply(d.link(ctx, r))
	case *fop.Rename:
		return reply(d.rename(ctx, r))
	case *fop.Open:
		return d.open(ctx, r)
	case *fop.Opendir:
		return reply(d.opendir(ctx, r))
	case *fop.Release:
		return d.release(ctx, r, r.Fd)
	case *fop.Releasedir:
		return d.release(ctx, r, r.Fd)
	case *fop.Flush:
		return d.flush(ctx, r)
	case *fop.Readdir:
		return reply(d.readdir(ctx, r))
	case *fop.Readdirp:
		return reply(d.readdirp(ctx, r))
	case *fop.StatfsReq:
		return reply(d.statfs(ctx, r))
	case *fop.Ipc:
		return d.ipc(ctx, r)
	case *fop.Access:
		return d.access(ctx, r)
	case *fop.Fsyncdir:
		return d.fsyncdir(ctx, r)
	case *fop.Lk, *fop.Inodelk, *fop.Finodelk, *fop.Entrylk, *fop.Fentrylk, *fop.Lease:
		return d.lockFop(ctx, req)
	case *fop.Getxattr:
		return d.getxattr(ctx, r)
	case *fop.Fgetxattr:
		return d.fgetxattr(ctx, r)
	case *fop.Setxattr:
		if err := mayChange(r.Dict); err != nil {
			return nil, err
		}
	case *fop.Fsetxattr:
		if err := mayChange(r.Dict); err != nil {
			return nil, err
		}
	case *fop.Removexattr:
		if concealed(r.Name) {
			return nil, own(r.Name)
		}
	case *fop.Fremovexattr:
		if concealed(r.Name) {
			return nil, own(r.Name)
		}
	case *fop.CopyFileRange:
		return d.copyRange(ctx, r)
	case *fop.Put, *fop.Icreate, *fop.Namelink, *fop.Setactivelk:
		return nil, fmt.Errorf("%v: bricks do not offer it: %w", req.Op(), syscall.ENOTSUP)
	case *fop.Disconnect:
		return &fop.CommonReply{}, nil
	}
	return d.onFile(ctx, req)
}

// onFile carries out a fop on an object: on a directory as dirFop does, on a
// file on its cached subvolume, and wherever a migration takes it.
func (d *distribute) onFile(ctx context.Context, req fop.Request) (fop.Reply, error) {
	gfid, fd := target(req)
	p, err := d.whereOpen(ctx, gfid, fd)
	if err != nil {
		return nil, err
	}
	if p.layout != nil {
		return d.dirFop(ctx, req, p)
	}
	q := telling(req)
	rep, err := d.send(ctx, p.file, q, fd)
	return d.settle(ctx, q, gfid, fd, p.file, rep, err)
}

// target is fop.Target; a fop on an open file may leave the gfid out.
func target(req fop.Request) (fop.GFID, *fop.Fd) {
	gfid, fd := fop.Target(req)
	switch r := req.(type) {
	case *fop.Open:
		fd = r.Fd
	case *fop.Link:
		gfid = r.GFID
	}
	if gfid.IsZero() && fd != nil {
		gfid = fd.GFID
	}
	return gfid, fd
}

// send carries out a fop on one subvolume, where its file is opened first if it
// was opened somewhere else.
func (d *distribute) send(ctx context.Context, s *subvol, req fop.Request, fd *fop.Fd) (fop.Reply, error) {
	if r, ok := req.(*fop.Open); ok {
		rep, err := s.Do(ctx, r)
		if err == nil {
			d.opened(fd, s)
		}
		return rep, err
	}
	if err := d.ensureOpen(ctx, fd, s); err != nil {
		return nil, err
	}
	return s.Do(ctx, req)
}

// telling adds the keys that make the answer of a fop on xattrs tell whether
// the file is being moved.
func telling(req fop.Request) fop.Request {
	switch req.(type) {
	case *fop.Setxattr, *fop.Fsetxattr, *fop.Removexattr, *fop.Fremovexattr:
		return fop.WithXData(req, req.Head().XData.With(fop.KeyIattInXattr, fop.Int(1)))
	case *fop.Xattrop, *fop.Fxattrop:
		return fop.WithXData(req, req.Head().XData.With(fop.KeyIattInXattr, fop.Int(1)).With(keyModeInXattr, fop.Int(1)))
	}
	return req
}

// Start begins a fop. Those on a file that is known go off at once.
func (d *distribute) Start(ctx context.Context, req fop.Request) fop.Pending {
	switch req.(type) {
	case *fop.Read, *fop.Write, *fop.Fsync, *fop.Fstat, *fop.Stat, *fop.Setattr, *fop.Fsetattr, *fop.Ftruncate, *fop.Truncate,
		*fop.Xattrop, *fop.Fxattrop, *fop.Fallocate, *fop.Discard, *fop.Zerofill, *fop.Seek, *fop.Readlink, *fop.Rchecksum:
		gfid, fd := target(req)
		if p, ok := d.objects.place(gfid); ok && p.file != nil && d.isOpen(fd, p.file) {
			f := flights.Get().(*flight)
			*f = flight{d, ctx, telling(req), gfid, fd, p.file, nil}
			if fop.Changes(req) {
				d.changes.Add(1)
			}
			f.below = p.file.Start(ctx, f.req)
			return f
		}
	}
	return fop.Start(ctx, fop.HandlerFunc(d.Do), req)
}

// flight is a fop on a file that is under way.
type flight struct {
	d     *distribute
	ctx   context.Context
	req   fop.Request
	gfid  fop.GFID
	fd    *fop.Fd
	on    *subvol
	below fop.Pending
}

var flights = sync.Pool{New: func() any { return new(flight) }}

func (f *flight) Wait() (fop.Reply, error) {
	k := *f
	*f = flight{}
	flights.Put(f)
	rep, err := k.below.Wait()
	if fop.Changes(k.req) {
		k.d.changes.Add(1)
	}
	return k.d.settle(k.ctx, k.req, k.gfid, k.fd, k.on, rep, err)
}

// mayChange refuses to let applications change what distribute keeps in xattrs.
func mayChange(x *fop.Dict) error {
	for _, p := range x.Pairs() {
		switch {
		case concealed(p.Key):
			return own(p.Key)
		case p.Key == "distribute.migrate-data", p.Key == "trusted.distribute.migrate-data":
			return fmt.Errorf("setxattr %s: that is for rebalance processes: %w", p.Key, syscall.ENOTSUP)
		}
	}
	return nil
}

func own(key string) error {
	return fmt.Errorf("xattr %s belongs to the volume: %w", key, syscall.EPERM)
}

// copyRange copies within one subvolume; between two nobody but the caller can.
func (d *distribute) copyRange(ctx context.Context, r *fop.CopyFileRange) (fop.Reply, error) {
	from, err := d.cachedOf(ctx, r.GFID, r.Fd)
	if err != nil {
		return nil, err
	}
	to, err := d.cachedOf(ctx, r.Dst, r.DstFd)
	switch {
	case err != nil:
		return nil, err
	case from != to:
		return nil, fmt.Errorf("copy within the volume from %s to %s: %w", from, to, syscall.EXDEV)
	}
	for _, fd := range [...]*fop.Fd{r.Fd, r.DstFd} {
		if err := d.ensureOpen(ctx, fd, from); err != nil {
			return nil, err
		}
	}
	// The bricks do not tell the phase of a migration here; what is copied
	// while the destination is being moved might be missing there.
	st, err := fop.Call(ctx, from, &fop.Stat{Header: asSu(nil), GFID: r.Dst})
	if err == nil && phaseOf(nil, &st.Stat, 0) != settled {
		return nil, fmt.Errorf("copy into a file that is being moved: %w", syscall.EXDEV)
	}
	rep, err := fop.Call(ctx, from, r)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) {
		return nil, fmt.Errorf("copy of a file that is being moved: %w", syscall.EXDEV)
	}
	return reply(rep, err)
}
