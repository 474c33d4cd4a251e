package fop

// File type bits of Iatt.Mode, the same on every platform as on Linux.
const (
	ModeFmt     = 0o170000
	ModeSocket  = 0o140000
	ModeSymlink = 0o120000
	ModeRegular = 0o100000
	ModeBlock   = 0o060000
	ModeDir     = 0o040000
	ModeChar    = 0o020000
	ModeFIFO    = 0o010000
	ModeSetuid  = 0o4000
	ModeSetgid  = 0o2000
	ModeSticky  = 0o1000
	ModePerm    = 0o777
)

// Bits of Iatt.Flags: which fields are valid.
const (
	IattType  = 0x1
	IattMode  = 0x2
	IattNlink = 0x4
	IattUID   = 0x8
	IattGID   = 0x10
	IattAtime = 0x20
	IattMtime = 0x40
	IattCtime = 0x80
	IattIno   = 0x100
	IattSize  = 0x200
	IattBlks  = 0x400
	IattBtime = 0x800
	IattGFID  = 0x1000
	// IattAll is what a brick fills in: everything but the birth time.
	IattAll = 0x17ff
)

// Time is a point in time as GlusterFS stores it: seconds and nanoseconds
// since the Unix epoch.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Less reports whether t is before u.
func (t Time) Less(u Time) bool {
	return t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec
}

// Iatt holds the attributes of an object. The zero Iatt means "not available".
type Iatt struct {
	GFID           GFID
	Flags          uint64 // Iatt… bits: which fields are valid
	Ino            uint64 // GFID.Ino(); 1 for the root
	Dev            uint64 // st_dev of the brick's file system
	Rdev           uint64 // major<<32 | minor
	Size           uint64 // bytes
	Blocks         uint64 // units of 512 bytes
	Attributes     uint64
	AttributesMask uint64
	Atime          Time
	Mtime          Time
	Ctime          Time
	Btime          Time
	Nlink          uint32
	UID            uint32
	GID            uint32
	Blksize        uint32
	Mode           uint32 // file type and permission bits, values of Linux
}

// IsZero reports whether the attributes are not available.
func (a *Iatt) IsZero() bool { return a.Flags == 0 && a.GFID.IsZero() }

// Full reports whether all is there that stat(2) tells. A listing may know less:
// of a directory on several subvolumes no more than gfid and type.
func (a *Iatt) Full() bool {
	const need = IattType | IattMode | IattNlink | IattUID | IattGID | IattMtime | IattCtime | IattSize
	return a.Flags&need == need && !a.GFID.IsZero()
}

// Fmt returns the file type bits of Mode.
func (a *Iatt) Fmt() uint32 { return a.Mode & ModeFmt }

// IsDir, IsRegular and IsSymlink tell the type of the object.
func (a *Iatt) IsDir() bool { return a.Mode&ModeFmt == ModeDir }

// IsRegular reports whether the object is a regular file.
func (a *Iatt) IsRegular() bool { return a.Mode&ModeFmt == ModeRegular }

// IsSymlink reports whether the object is a symbolic link.
func (a *Iatt) IsSymlink() bool { return a.Mode&ModeFmt == ModeSymlink }

// Major and minor number of Iatt.Rdev.
func (a *Iatt) Major() uint32 { return uint32(a.Rdev >> 32) }

// Minor returns the minor number of Iatt.Rdev.
func (a *Iatt) Minor() uint32 { return uint32(a.Rdev) }

// Statfs describes the file system that backs a volume; counts as statvfs(3).
type Statfs struct {
	Bsize, Frsize, Blocks, Bfree, Bavail, Files, Ffree, Favail, Fsid, Flag, Namemax uint64
}

// Dirent is one entry of a directory.
type Dirent struct {
	Ino  uint64
	Off  uint64 // opaque: where to go on after this entry
	Type uint32 // DT_* value: mode >> 12
	Name string
	// Stat and XData come with READDIRP only. A zero Stat means that the entry
	// must be looked up.
	Stat  Iatt
	XData *Dict
}
