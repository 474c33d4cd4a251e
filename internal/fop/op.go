package fop

import "strconv"

// Op numbers the fops. The numbers are the procedures of the fop program on
// the wire (program 1298437, versions 330 and 400).
type Op uint32

// All fops. 49 was COMPOUND and has no messages any more.
const (
	OpNull          Op = 0
	OpStat          Op = 1
	OpReadlink      Op = 2
	OpMknod         Op = 3
	OpMkdir         Op = 4
	OpUnlink        Op = 5
	OpRmdir         Op = 6
	OpSymlink       Op = 7
	OpRename        Op = 8
	OpLink          Op = 9
	OpTruncate      Op = 10
	OpOpen          Op = 11
	OpRead          Op = 12
	OpWrite         Op = 13
	OpStatfs        Op = 14
	OpFlush         Op = 15
	OpFsync         Op = 16
	OpSetxattr      Op = 17
	OpGetxattr      Op = 18
	OpRemovexattr   Op = 19
	OpOpendir       Op = 20
	OpFsyncdir      Op = 21
	OpAccess        Op = 22
	OpCreate        Op = 23
	OpFtruncate     Op = 24
	OpFstat         Op = 25
	OpLk            Op = 26
	OpLookup        Op = 27
	OpReaddir       Op = 28
	OpInodelk       Op = 29
	OpFinodelk      Op = 30
	OpEntrylk       Op = 31
	OpFentrylk      Op = 32
	OpXattrop       Op = 33
	OpFxattrop      Op = 34
	OpFgetxattr     Op = 35
	OpFsetxattr     Op = 36
	OpRchecksum     Op = 37
	OpSetattr       Op = 38
	OpFsetattr      Op = 39
	OpReaddirp      Op = 40
	OpRelease       Op = 41
	OpReleasedir    Op = 42
	OpFremovexattr  Op = 43
	OpFallocate     Op = 44
	OpDiscard       Op = 45
	OpZerofill      Op = 46
	OpIpc           Op = 47
	OpSeek          Op = 48
	OpLease         Op = 50
	OpGetactivelk   Op = 51
	OpSetactivelk   Op = 52
	OpIcreate       Op = 53
	OpNamelink      Op = 54
	OpPut           Op = 55
	OpCopyFileRange Op = 56

	// OpCount is one more than the highest number on the wire.
	OpCount = 57

	// OpDisconnect never crosses a wire: see Disconnect.
	OpDisconnect Op = 100
)

var opNames = [OpCount]string{
	"NULL", "STAT", "READLINK", "MKNOD", "MKDIR", "UNLINK", "RMDIR", "SYMLINK",
	"RENAME", "LINK", "TRUNCATE", "OPEN", "READ", "WRITE", "STATFS", "FLUSH",
	"FSYNC", "SETXATTR", "GETXATTR", "REMOVEXATTR", "OPENDIR", "FSYNCDIR",
	"ACCESS", "CREATE", "FTRUNCATE", "FSTAT", "LK", "LOOKUP", "READDIR",
	"INODELK", "FINODELK", "ENTRYLK", "FENTRYLK", "XATTROP", "FXATTROP",
	"FGETXATTR", "FSETXATTR", "RCHECKSUM", "SETATTR", "FSETATTR", "READDIRP",
	"RELEASE", "RELEASEDIR", "FREMOVEXATTR", "FALLOCATE", "DISCARD", "ZEROFILL",
	"IPC", "SEEK", "COMPOUND", "LEASE", "GETACTIVELK", "SETACTIVELK", "ICREATE",
	"NAMELINK", "PUT", "COPY_FILE_RANGE",
}

// String returns the upper-case name that GlusterFS's tools use.
func (o Op) String() string {
	if o < OpCount {
		return opNames[o]
	}
	if o == OpDisconnect {
		return "DISCONNECT"
	}
	return "FOP(" + strconv.Itoa(int(o)) + ")"
}
