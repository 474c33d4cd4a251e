package gfapi

import (
	"encoding/hex"
	"io/fs"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// GFID is the identity of an object, the same on all servers and for as long
// as the object lives.
type GFID [16]byte

// String returns the form 8-4-4-4-12 of a UUID.
func (g GFID) String() string { return fop.GFID(g).String() }

// MarshalText returns String.
func (g GFID) MarshalText() ([]byte, error) { return fop.GFID(g).MarshalText() }

// GoString returns the bytes in hexadecimal.
func (g GFID) GoString() string { return "gfapi.GFID(" + hex.EncodeToString(g[:]) + ")" }

// Stat has all attributes of an object. [fs.FileInfo]'s Sys returns a *Stat.
type Stat struct {
	GFID    GFID
	Ino     uint64 // inode number, made from the GFID
	Mode    uint32 // type and permissions as Linux has them
	Nlink   uint32
	UID     uint32
	GID     uint32
	Size    uint64 // bytes
	Blocks  uint64 // units of 512 bytes
	Blksize uint32
	Major   uint32 // of a device
	Minor   uint32
	Atime   time.Time
	Mtime   time.Time
	Ctime   time.Time
}

// Statfs describes the file system behind a volume, as statvfs(3) does. Counts
// of blocks are in units of Frsize bytes.
type Statfs struct {
	Bsize, Frsize, Blocks, Bfree, Bavail, Files, Ffree, Favail, Fsid, Flag, Namemax uint64
}

func goTime(t fop.Time) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

func fopTime(t time.Time) fop.Time {
	return fop.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// info is the fs.FileInfo of an object.
type info struct {
	name string
	st   Stat
}

func newInfo(name string, a *fop.Iatt) *info {
	return &info{base(name), Stat{
		GFID: GFID(a.GFID), Ino: a.Ino, Mode: a.Mode, Nlink: a.Nlink, UID: a.UID, GID: a.GID,
		Size: a.Size, Blocks: a.Blocks, Blksize: a.Blksize, Major: a.Major(), Minor: a.Minor(),
		Atime: goTime(a.Atime), Mtime: goTime(a.Mtime), Ctime: goTime(a.Ctime),
	}}
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return int64(i.st.Size) }
func (i *info) Mode() fs.FileMode  { return goMode(i.st.Mode) }
func (i *info) ModTime() time.Time { return i.st.Mtime }
func (i *info) IsDir() bool        { return i.st.Mode&fop.ModeFmt == fop.ModeDir }
func (i *info) Sys() any           { return &i.st }
func (i *info) String() string     { return fs.FormatFileInfo(i) }

// base is the last element of a path, as os has it.
func base(name string) string {
	for len(name) > 1 && name[len(name)-1] == '/' {
		name = name[:len(name)-1]
	}
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' && len(name) > 1 {
			return name[i+1:]
		}
	}
	return name
}

// goMode turns a mode of Linux into Go's.
func goMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & fop.ModePerm)
	switch m & fop.ModeFmt {
	case fop.ModeDir:
		mode |= fs.ModeDir
	case fop.ModeSymlink:
		mode |= fs.ModeSymlink
	case fop.ModeFIFO:
		mode |= fs.ModeNamedPipe
	case fop.ModeSocket:
		mode |= fs.ModeSocket
	case fop.ModeBlock:
		mode |= fs.ModeDevice
	case fop.ModeChar:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case fop.ModeRegular:
	default:
		mode |= fs.ModeIrregular
	}
	if m&fop.ModeSetuid != 0 {
		mode |= fs.ModeSetuid
	}
	if m&fop.ModeSetgid != 0 {
		mode |= fs.ModeSetgid
	}
	if m&fop.ModeSticky != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// permBits turns the permissions of Go's mode into Linux's.
func permBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= fop.ModeSetuid
	}
	if m&fs.ModeSetgid != 0 {
		bits |= fop.ModeSetgid
	}
	if m&fs.ModeSticky != 0 {
		bits |= fop.ModeSticky
	}
	return bits
}

// typeBits turns the type of Go's mode into Linux's; 0 if there is none.
func typeBits(m fs.FileMode) uint32 {
	switch m.Type() {
	case 0:
		return fop.ModeRegular
	case fs.ModeNamedPipe:
		return fop.ModeFIFO
	case fs.ModeSocket:
		return fop.ModeSocket
	case fs.ModeDevice:
		return fop.ModeBlock
	case fs.ModeDevice | fs.ModeCharDevice, fs.ModeCharDevice:
		return fop.ModeChar
	}
	return 0
}
