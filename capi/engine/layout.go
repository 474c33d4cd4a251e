//go:build linux && cgo

package main

/*
#include "engine.h"
*/
import "C"

import (
	"time"
	"unsafe"

	"github.com/wythefs/wythe/internal/fop"
)

// blksize is what programs should read and write at once, as FUSE mounts say.
const blksize = 128 << 10

// devOf makes a dev_t of the C library.
func devOf(major, minor uint32) uint64 {
	ma, mi := uint64(major), uint64(minor)
	return ma&0xfff<<8 | ma&^0xfff<<32 | mi&0xff | mi&^0xff<<12
}

func majorOf(dev uint64) uint32 { return uint32(dev>>8&0xfff | dev>>32&^0xfff) }
func minorOf(dev uint64) uint32 { return uint32(dev&0xff | dev>>12&^0xff) }

// putStat fills in a struct stat, if there is one.
func (f *fsys) putStat(p unsafe.Pointer, a *fop.Iatt) {
	if p == nil {
		return
	}
	st := (*C.struct_stat)(p)
	*st = C.struct_stat{}
	st.st_dev = C.dev_t(f.dev)
	st.st_ino = C.ino_t(a.Ino)
	st.st_nlink = C.nlink_t(a.Nlink)
	st.st_mode = C.mode_t(a.Mode)
	st.st_uid = C.uid_t(a.UID)
	st.st_gid = C.gid_t(a.GID)
	st.st_rdev = C.dev_t(devOf(a.Major(), a.Minor()))
	st.st_size = C.off_t(a.Size)
	st.st_blksize = blksize
	st.st_blocks = C.blkcnt_t(a.Blocks)
	st.st_atim = timespec(a.Atime)
	st.st_mtim = timespec(a.Mtime)
	st.st_ctim = timespec(a.Ctime)
}

func timespec(t fop.Time) C.struct_timespec {
	return C.struct_timespec{tv_sec: C.time_t(t.Sec), tv_nsec: C.long(t.Nsec)}
}

// putGlfsStat fills in a struct glfs_stat, if there is one. Attributes that are
// not known leave its mask empty.
func (f *fsys) putGlfsStat(p unsafe.Pointer, a *fop.Iatt) {
	if p == nil {
		return
	}
	st := (*C.struct_glfs_stat)(p)
	*st = C.struct_glfs_stat{}
	if a.IsZero() {
		return
	}
	st.glfs_st_mask = C.uint64_t(a.Flags & 0xfff)
	st.glfs_st_atime = timespec(a.Atime)
	st.glfs_st_btime = timespec(a.Btime)
	st.glfs_st_ctime = timespec(a.Ctime)
	st.glfs_st_mtime = timespec(a.Mtime)
	st.glfs_st_ino = C.ino_t(a.Ino)
	st.glfs_st_size = C.off_t(a.Size)
	st.glfs_st_blocks = C.blkcnt_t(a.Blocks)
	st.glfs_st_rdev_major = C.uint32_t(a.Major())
	st.glfs_st_rdev_minor = C.uint32_t(a.Minor())
	st.glfs_st_dev_major = C.uint32_t(majorOf(uint64(f.dev)))
	st.glfs_st_dev_minor = C.uint32_t(minorOf(uint64(f.dev)))
	st.glfs_st_blksize = blksize
	st.glfs_st_nlink = C.nlink_t(a.Nlink)
	st.glfs_st_uid = C.uid_t(a.UID)
	st.glfs_st_gid = C.gid_t(a.GID)
	st.glfs_st_mode = C.mode_t(a.Mode)
}

// wanted reads what a struct glfs_stat asks to be set.
func wanted(p unsafe.Pointer) (valid int32, want fop.Iatt) {
	st := (*C.struct_glfs_stat)(p)
	mask := uint64(st.glfs_st_mask)
	if mask&fop.IattMode != 0 {
		valid, want.Mode = valid|fop.SetMode, uint32(st.glfs_st_mode)&0o7777
	}
	if mask&fop.IattUID != 0 {
		valid, want.UID = valid|fop.SetUID, uint32(st.glfs_st_uid)
	}
	if mask&fop.IattGID != 0 {
		valid, want.GID = valid|fop.SetGID, uint32(st.glfs_st_gid)
	}
	if mask&fop.IattAtime != 0 {
		valid, want.Atime = valid|fop.SetAtime, fopTime(st.glfs_st_atime)
	}
	if mask&fop.IattMtime != 0 {
		valid, want.Mtime = valid|fop.SetMtime, fopTime(st.glfs_st_mtime)
	}
	return valid, want
}

// Bits of glfs_h_setattrs.
const (
	setMode  = C.GFAPI_SET_ATTR_MODE
	setUID   = C.GFAPI_SET_ATTR_UID
	setGID   = C.GFAPI_SET_ATTR_GID
	setAtime = C.GFAPI_SET_ATTR_ATIME
	setMtime = C.GFAPI_SET_ATTR_MTIME
)

// wantedStat reads what glfs_h_setattrs asks for. The size is not among it.
func wantedStat(p unsafe.Pointer, bits int64) (valid int32, want fop.Iatt) {
	st := (*C.struct_stat)(p)
	if bits&setMode != 0 {
		valid, want.Mode = valid|fop.SetMode, uint32(st.st_mode)&0o7777
	}
	if bits&setUID != 0 {
		valid, want.UID = valid|fop.SetUID, uint32(st.st_uid)
	}
	if bits&setGID != 0 {
		valid, want.GID = valid|fop.SetGID, uint32(st.st_gid)
	}
	if bits&setAtime != 0 {
		valid, want.Atime = valid|fop.SetAtime, fopTime(st.st_atim)
	}
	if bits&setMtime != 0 {
		valid, want.Mtime = valid|fop.SetMtime, fopTime(st.st_mtim)
	}
	return valid, want
}

func fopTime(t C.struct_timespec) fop.Time {
	return fop.Time{Sec: int64(t.tv_sec), Nsec: uint32(t.tv_nsec)}
}

// times reads the two times of utimens; NULL means now.
func times(p unsafe.Pointer) (valid int32, want fop.Iatt, ok bool) {
	now := time.Now()
	present := fop.Time{Sec: now.Unix(), Nsec: uint32(now.Nanosecond())}
	both := [2]fop.Time{present, present}
	set := [2]bool{true, true}
	if p != nil {
		ts := (*[2]C.struct_timespec)(p)
		for i := range ts {
			switch n := ts[i].tv_nsec; {
			case n == C.UTIME_NOW:
			case n == C.UTIME_OMIT:
				set[i] = false
			case n < 0 || n > 999999999:
				return 0, want, false
			default:
				both[i] = fopTime(ts[i])
			}
		}
	}
	if set[0] {
		valid, want.Atime = valid|fop.SetAtime, both[0]
	}
	if set[1] {
		valid, want.Mtime = valid|fop.SetMtime, both[1]
	}
	return valid, want, true
}

func putStatvfs(p unsafe.Pointer, s *fop.Statfs) {
	st := (*C.struct_statvfs)(p)
	*st = C.struct_statvfs{}
	st.f_bsize = C.ulong(s.Bsize)
	st.f_frsize = C.ulong(s.Frsize)
	st.f_blocks = C.fsblkcnt_t(s.Blocks)
	st.f_bfree = C.fsblkcnt_t(s.Bfree)
	st.f_bavail = C.fsblkcnt_t(s.Bavail)
	st.f_files = C.fsfilcnt_t(s.Files)
	st.f_ffree = C.fsfilcnt_t(s.Ffree)
	st.f_favail = C.fsfilcnt_t(s.Favail)
	st.f_fsid = C.ulong(s.Fsid)
	st.f_flag = C.ulong(s.Flag)
	st.f_namemax = C.ulong(s.Namemax)
}

// nameMax is the longest name that a struct dirent has room for.
const nameMax = 255

// putDirent fills in a struct dirent.
func putDirent(p unsafe.Pointer, e *fop.Dirent) {
	d := (*C.struct_dirent)(p)
	name := e.Name[:min(len(e.Name), nameMax)]
	d.d_ino = C.ino_t(e.Ino)
	d.d_off = C.off_t(e.Off)
	d.d_type = C.uchar(e.Type)
	d.d_reclen = C.ushort(direntSize)
	n := copy(unsafe.Slice((*byte)(unsafe.Pointer(&d.d_name[0])), nameMax), name)
	d.d_name[n] = 0
}

const direntSize = C.sizeof_struct_dirent

// alloc returns zeroed memory of C.
func alloc(size uintptr) unsafe.Pointer { return C.calloc(1, C.size_t(size)) }

func release(p unsafe.Pointer) { C.free(p) }

// newText returns a string of C that goes to glfs_free.
func newText(s string) unsafe.Pointer {
	p := alloc(unsafe.Sizeof(C.struct_wythe_record{}) + uintptr(len(s)) + 1)
	if p == nil {
		return nil
	}
	r := (*C.struct_wythe_record)(p)
	r.magic, r.kind = C.WYTHE_RECORD, C.WYTHE_TEXT
	p = unsafe.Add(p, unsafe.Sizeof(*r))
	copy(unsafe.Slice((*byte)(p), len(s)+1), s)
	return p
}

// vectors reads an array of struct iovec.
func vectors(p unsafe.Pointer, count int64) ([][]byte, int64, bool) {
	const maxCount = 1024
	if count < 0 || count > maxCount || p == nil && count > 0 {
		return nil, 0, false
	}
	var total int64
	list := make([][]byte, 0, count)
	for _, v := range unsafe.Slice((*C.struct_iovec)(p), count) {
		size := int64(v.iov_len)
		if size < 0 || size > maxIO-total || v.iov_base == nil && size > 0 {
			return nil, 0, false
		}
		if size > 0 {
			list = append(list, unsafe.Slice((*byte)(v.iov_base), size))
			total += size
		}
	}
	return list, total, true
}

// flock is a struct flock.
type flock struct {
	typ, whence int16
	start, size int64
	pid         int32
}

func readFlock(p unsafe.Pointer) flock {
	f := (*C.struct_flock)(p)
	return flock{int16(f.l_type), int16(f.l_whence), int64(f.l_start), int64(f.l_len), int32(f.l_pid)}
}

func writeFlock(p unsafe.Pointer, l flock) {
	f := (*C.struct_flock)(p)
	f.l_type, f.l_whence, f.l_start, f.l_len, f.l_pid = C.short(l.typ), C.short(l.whence), C.off_t(l.start), C.off_t(l.size), C.pid_t(l.pid)
}

// Commands and types of fcntl locks.
const (
	getLock     = C.F_GETLK
	setLock     = C.F_SETLK
	setLockWait = C.F_SETLKW
	readLock    = C.F_RDLCK
	writeLock   = C.F_WRLCK
	noLock      = C.F_UNLCK
)
