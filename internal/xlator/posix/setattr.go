//go:build linux

package posix

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// object finds what a fop works on: an open file, or the object g.
func (b *Brick) object(fd *fop.Fd, g fop.GFID, p *place) error {
	if fd == nil {
		return b.find(g, p)
	}
	f, err := b.fileOf(fd)
	if err != nil {
		return err
	}
	p.Obj = brickfs.Open(f.fd)
	if err := unix.Fstat(f.fd, &p.st); err != nil {
		return err
	}
	p.in = b.inodes.get(f.in.gfid)
	return nil
}

func (b *Brick) stat(r *fop.Stat) (*fop.StatReply, error) {
	return b.statAny(&r.Header, r.GFID, nil)
}

func (b *Brick) fstat(r *fop.Fstat) (*fop.StatReply, error) {
	return b.statAny(&r.Header, r.GFID, r.Fd)
}

func (b *Brick) statAny(h *fop.Header, g fop.GFID, fd *fop.Fd) (*fop.StatReply, error) {
	var p place
	if err := b.object(fd, g, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	r := &fop.StatReply{Stat: b.iattOf(p.Obj, &p.st, p.in)}
	r.XData = b.fill(h.XData, &target{Obj: p.Obj, stat: &r.Stat, in: p.in})
	return r, nil
}

func (b *Brick) readlink(r *fop.Readlink) (*fop.ReadlinkReply, error) {
	var p place
	if err := b.find(r.GFID, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	if !isSymlink(&p.st) {
		return nil, syscall.EINVAL
	}
	buf := make([]byte, min(max(int(min(r.Size, 1<<16)), 1), 4096))
	n, err := unix.Readlinkat(p.Dir, p.Name, buf)
	if err != nil {
		return nil, err
	}
	return &fop.ReadlinkReply{Stat: b.iattOf(p.Obj, &p.st, p.in), Target: string(buf[:n])}, nil
}

func (b *Brick) access(r *fop.Access) (*fop.CommonReply, error) {
	var p place
	if err := b.find(r.GFID, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	if isSymlink(&p.st) { // permissions are for the translator above
		return &fop.CommonReply{}, nil
	}
	if b.attrs.Rootless() {
		a := b.iattOf(p.Obj, &p.st, p.in)
		if r.Mask&1 != 0 && !a.IsDir() && a.Mode&0o111 == 0 {
			return nil, syscall.EACCES
		}
		return &fop.CommonReply{}, nil
	}
	if err := unix.Faccessat(p.Dir, p.Name, r.Mask&7, 0); err != nil {
		return nil, err
	}
	return &fop.CommonReply{}, nil
}

func (b *Brick) setattr(h *fop.Header, g fop.GFID, fd *fop.Fd, want *fop.Iatt, valid int32) (*fop.AttrReply, error) {
	var p place
	if err := b.object(fd, g, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	reply := &fop.AttrReply{Pre: b.iattOf(p.Obj, &p.st, p.in)}
	if err := b.apply(&p, want, valid, &reply.Pre); err != nil {
		return nil, err
	}
	b.setTimes(h, &p, want, valid)
	if err := statObj(p.Obj, &p.st); err != nil {
		return nil, err
	}
	reply.Post = b.iattOf(p.Obj, &p.st, p.in)
	reply.XData = b.fill(h.XData, &target{Obj: p.Obj, stat: &reply.Post, in: p.in})
	return reply, nil
}

// apply changes owner, mode and times on disk, in this order: chown(2) clears
// bits that a mode given in the same request has to keep.
func (b *Brick) apply(p *place, want *fop.Iatt, valid int32, pre *fop.Iatt) error {
	if valid&(fop.SetUID|fop.SetGID) != 0 || valid == 0 {
		uid, gid := -1, -1
		if valid&fop.SetUID != 0 {
			uid = int(want.UID)
		}
		if valid&fop.SetGID != 0 {
			gid = int(want.GID)
		}
		if err := b.setOwner(p.Obj, uid, gid); err != nil {
			return err
		}
	}
	if valid&fop.SetMode != 0 && !isSymlink(&p.st) {
		mode := b.opt.Load().modeFor(want.Mode&0o7777, isDir(&p.st))
		if err := b.setMode(p.Obj, mode); err != nil {
			return err
		}
	}
	if valid&(fop.SetAtime|fop.SetMtime) == 0 {
		return nil
	}
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	if valid&fop.SetAtime != 0 {
		setTimespec(&ts[0].Sec, &ts[0].Nsec, want.Atime)
	}
	if valid&fop.SetMtime != 0 {
		setTimespec(&ts[1].Sec, &ts[1].Nsec, want.Mtime)
	}
	if p.Fd >= 0 {
		return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+itoa(p.Fd), ts[:], 0)
	}
	return unix.UtimesNanoAt(p.Dir, p.Name, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

// setTimespec fills the parts of a unix.Timespec, whose types differ.
func setTimespec[T int32 | int64](sec, nsec *T, t fop.Time) {
	*sec, *nsec = T(t.Sec), T(t.Nsec)
}

// setTimes brings the recorded times in line with what a setattr did.
func (b *Brick) setTimes(h *fop.Header, p *place, want *fop.Iatt, valid int32) {
	if !b.opt.Load().ctime {
		return
	}
	if valid&(fop.SetAtime|fop.SetMtime|fop.SetCtime) != 0 {
		p.in.mu.Lock()
		// Times are never begun here: a file without any has those of the disk.
		if b.loadTimes(p.Obj, p.in); p.in.hasTimes {
			t := &p.in.times
			if valid&fop.SetAtime != 0 {
				t.Atime = want.Atime
			}
			if valid&fop.SetMtime != 0 {
				t.Mtime = want.Mtime
			}
			when := fop.Time{Sec: h.Time.Sec, Nsec: h.Time.Nsec}
			if valid&(fop.SetAtime|fop.SetMtime) != 0 && t.Ctime.Less(when) {
				t.Ctime = when
			}
			if valid&fop.SetCtime != 0 && t.Ctime.Less(want.Ctime) {
				t.Ctime = want.Ctime
			}
			b.storeTimes(p.Obj, p.in)
		}
		p.in.mu.Unlock()
	}
	b.touch(p.Obj, p.in, &h.Time, h.Time.Flags&ownTimes)
}
