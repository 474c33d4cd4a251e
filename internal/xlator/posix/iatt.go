//go:build linux

package posix

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// iattOf builds the attributes that clients see from those on disk. in is the
// inode of the object, held.
func (b *Brick) iattOf(o brickfs.Obj, st *unix.Stat_t, in *inode) fop.Iatt {
	a := fop.Iatt{
		GFID: in.gfid, Flags: fop.IattAll, Ino: in.gfid.Ino(),
		Dev: uint64(st.Dev), Rdev: packRdev(uint64(st.Rdev)),
		Size: uint64(st.Size), Blksize: uint32(st.Blksize),
		// XFS preallocates; what is beyond the size is nobody's business.
		Blocks: min(uint64(st.Blocks), (uint64(st.Size)+511)/512),
		Atime:  fop.Time{Sec: int64(st.Atim.Sec), Nsec: uint32(st.Atim.Nsec)},
		Mtime:  fop.Time{Sec: int64(st.Mtim.Sec), Nsec: uint32(st.Mtim.Nsec)},
		Ctime:  fop.Time{Sec: int64(st.Ctim.Sec), Nsec: uint32(st.Ctim.Nsec)},
		Nlink:  uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Mode: st.Mode,
	}
	if !isDir(st) && a.Nlink > 0 {
		a.Nlink-- // the handle
	}
	if b.attrs.Rootless() {
		if r, ok := b.record(o); ok {
			a.UID, a.GID, a.Rdev, a.Mode = r.uid, r.gid, packRdev(r.rdev), r.mode
		}
	}
	if b.opt.Load().ctime && !in.gfid.IsZero() {
		in.mu.Lock()
		if b.loadTimes(o, in); in.hasTimes {
			a.Atime, a.Mtime, a.Ctime = in.times.Atime, in.times.Mtime, in.times.Ctime
		}
		in.mu.Unlock()
	}
	return a
}

// packRdev turns the kernel's device number into GlusterFS's.
func packRdev(dev uint64) uint64 {
	return uint64(unix.Major(dev))<<32 | uint64(unix.Minor(dev))
}

// iattAt is iattOf of an object whose inode is not at hand.
func (b *Brick) iattAt(o brickfs.Obj, st *unix.Stat_t, g fop.GFID) fop.Iatt {
	in := b.inodes.get(g)
	defer b.inodes.put(in)
	return b.iattOf(o, st, in)
}

// iattDir reads the attributes of an open directory; a removed one is ESTALE.
func (b *Brick) iattDir(h *held) (fop.Iatt, error) {
	var st unix.Stat_t
	if err := b.statDir(h, &st); err != nil {
		if err == syscall.ENOENT {
			err = syscall.ESTALE
		}
		return fop.Iatt{}, err
	}
	return b.iattAt(brickfs.At(h.fd, "."), &st, h.gfid), nil
}

// loadTimes makes in.times known; in.mu is held.
func (b *Brick) loadTimes(o brickfs.Obj, in *inode) {
	if in.known {
		return
	}
	var buf [fop.MdataSize + 1]byte
	n, err := b.attrs.Get(o, fop.XattrMdata, buf[:])
	if err == nil {
		in.times, in.hasTimes = fop.ParseMdata(buf[:n])
	} else {
		in.hasTimes = false
	}
	in.known = err == nil || err == syscall.ENODATA || err == syscall.ERANGE
}

// storeTimes writes in.times; in.mu is held.
func (b *Brick) storeTimes(o brickfs.Obj, in *inode) error {
	var buf [fop.MdataSize]byte
	err := b.attrs.Set(o, fop.XattrMdata, fop.AppendMdata(buf[:0], in.times), 0)
	if err != nil {
		in.known = false
		b.warn("cannot store times", in.gfid, o.Name, err)
		return err
	}
	in.known, in.hasTimes = true, true
	return nil
}

// Bits for touch: the low three of Stamp.Flags are those of the object itself,
// the next three those of its parent.
const ownTimes = fop.TimeCtime | fop.TimeMtime | fop.TimeAtime

func parentTimes(flags uint32) uint32 { return flags >> 3 & ownTimes }

// touch records the time of a request in the given times of an object, where
// it is newer.
func (b *Brick) touch(o brickfs.Obj, in *inode, t *fop.Stamp, bits uint32) {
	if bits == 0 || in.gfid.IsZero() || !b.opt.Load().ctime {
		return
	}
	when := fop.Time{Sec: t.Sec, Nsec: t.Nsec}
	in.mu.Lock()
	defer in.mu.Unlock()
	b.loadTimes(o, in)
	if !in.hasTimes {
		in.times = fop.Mdata{Atime: when, Mtime: when, Ctime: when}
	} else {
		changed := false
		for _, f := range [3]struct {
			bit uint32
			t   *fop.Time
		}{{fop.TimeAtime, &in.times.Atime}, {fop.TimeMtime, &in.times.Mtime}, {fop.TimeCtime, &in.times.Ctime}} {
			if bits&f.bit != 0 && f.t.Less(when) {
				*f.t, changed = when, true
			}
		}
		if !changed {
			return
		}
	}
	b.storeTimes(o, in)
}

// mergeTimes raises an object's times to m, or gives it m if it has none.
func (b *Brick) mergeTimes(o brickfs.Obj, in *inode, m fop.Mdata) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if b.loadTimes(o, in); in.hasTimes {
		old := in.times
		for _, f := range [3]struct{ have, want *fop.Time }{
			{&old.Atime, &m.Atime}, {&old.Mtime, &m.Mtime}, {&old.Ctime, &m.Ctime},
		} {
			if f.want.Less(*f.have) {
				*f.want = *f.have
			}
		}
		if m == in.times {
			return nil
		}
	}
	in.times = m
	return b.storeTimes(o, in)
}

// touchDir records the time of an entry fop in its directory.
func (b *Brick) touchDir(h *held, t *fop.Stamp) {
	if bits := parentTimes(t.Flags); bits != 0 {
		in := b.inodes.get(h.gfid)
		b.touch(brickfs.At(h.fd, "."), in, t, bits)
		b.inodes.put(in)
	}
}

// record is who owns an object of a rootless brick, what its mode is (with the
// type that the user sees), and its device number.
type record struct {
	uid, gid, mode uint32
	rdev           uint64
}

const recordKey = "owner" // outside of all name spaces, so never seen by clients

func (b *Brick) record(o brickfs.Obj) (r record, ok bool) {
	var buf [32]byte
	n, err := b.attrs.Get(o, recordKey, buf[:])
	if err != nil || n != 20 {
		return r, false
	}
	return record{
		uid: binary.BigEndian.Uint32(buf[0:]), gid: binary.BigEndian.Uint32(buf[4:]),
		mode: binary.BigEndian.Uint32(buf[8:]), rdev: binary.BigEndian.Uint64(buf[12:]),
	}, true
}

func (b *Brick) setRecord(o brickfs.Obj, r record) error {
	var buf [20]byte
	binary.BigEndian.PutUint32(buf[0:], r.uid)
	binary.BigEndian.PutUint32(buf[4:], r.gid)
	binary.BigEndian.PutUint32(buf[8:], r.mode)
	binary.BigEndian.PutUint64(buf[12:], r.rdev)
	return b.attrs.Set(o, recordKey, buf[:], 0)
}

// changeRecord applies f to the record of an object, made from its attributes
// if it has none.
func (b *Brick) changeRecord(o brickfs.Obj, f func(*record)) error {
	r, ok := b.record(o)
	if !ok {
		var st unix.Stat_t
		if err := statObj(o, &st); err != nil {
			return err
		}
		r = record{st.Uid, st.Gid, st.Mode, uint64(st.Rdev)}
	}
	f(&r)
	return b.setRecord(o, r)
}

// setOwner changes owner and group; -1 leaves one as it is.
func (b *Brick) setOwner(o brickfs.Obj, uid, gid int) error {
	if b.attrs.Rootless() {
		return b.changeRecord(o, func(r *record) {
			if uid >= 0 {
				r.uid = uint32(uid)
			}
			if gid >= 0 {
				r.gid = uint32(gid)
			}
			if r.mode&unix.S_IFMT == unix.S_IFREG { // as the kernel does
				r.mode &^= unix.S_ISUID
				if r.mode&unix.S_IXGRP != 0 {
					r.mode &^= unix.S_ISGID
				}
			}
		})
	}
	if o.Fd >= 0 {
		return unix.Fchown(o.Fd, uid, gid)
	}
	return unix.Fchownat(o.Dir, o.Name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// setMode changes the permission bits of an object that is no symbolic link.
func (b *Brick) setMode(o brickfs.Obj, mode uint32) error {
	mode &= 0o7777
	if b.attrs.Rootless() {
		return b.changeRecord(o, func(r *record) { r.mode = r.mode&unix.S_IFMT | mode })
	}
	if o.Fd >= 0 {
		return unix.Fchmod(o.Fd, mode)
	}
	return unix.Fchmodat(o.Dir, o.Name, mode, 0)
}

// diskMode is the mode with which an object is made on disk: a rootless server
// must always let itself in.
func (b *Brick) diskMode(mode uint32, dir bool) uint32 {
	if !b.attrs.Rootless() {
		return mode
	}
	if dir {
		return 0o700
	}
	return 0o600
}

// modeFor applies the masks that options put on new modes.
func (o *settings) modeFor(mode uint32, dir bool) uint32 {
	mask, force := o.maskFile, o.forceFile
	if dir {
		mask, force = o.maskDir, o.forceDir
	}
	return mode&^0o777 | mode&0o777&mask | force
}
