package fop

// The structs below are the fops. Field order is the order on the wire
// (version 400); the codecs in internal/proto are generated from it. On the
// wire, XData of the embedded header follows the fields of a request and
// precedes those of a reply; an Fd travels as a number. The tag wire tells what
// the type of a field does not: "-" is not on the wire, "ret" is op_ret, "oflags"
// are open flags, "payload" stands behind the message with its length in place,
// "name" has a word before it that says whether there is one, "namelen" is that
// word, "v400" is left out in version 330.

// Stat asks for the attributes of an object.
type Stat struct {
	Header
	GFID GFID
}

// StatReply answers Stat.
type StatReply struct {
	ReplyHeader
	Stat Iatt
}

// Readlink asks for the target of a symbolic link, at most Size bytes of it.
type Readlink struct {
	Header
	GFID GFID
	Size uint32
}

// ReadlinkReply answers Readlink.
type ReadlinkReply struct {
	ReplyHeader
	Stat   Iatt
	Target string
}

// Mknod makes a node of any type but directory and symlink. XData must carry
// KeyGFIDReq.
type Mknod struct {
	Header
	Parent GFID
	Rdev   uint64 // dev_t as the client's kernel packs it
	Mode   uint32 // with file type
	Umask  uint32
	Name   string
}

// EntryReply answers Mknod, Mkdir, Symlink, Link and Put.
type EntryReply struct {
	ReplyHeader
	Stat       Iatt // the new object
	PreParent  Iatt
	PostParent Iatt
}

// Mkdir makes a directory. XData must carry KeyGFIDReq.
type Mkdir struct {
	Header
	Parent GFID
	Mode   uint32
	Umask  uint32
	Name   string
}

// Unlink removes a name that is not a directory.
type Unlink struct {
	Header
	Parent GFID
	Name   string
	Flags  uint32
}

// RemoveReply answers Unlink and Rmdir.
type RemoveReply struct {
	ReplyHeader
	PreParent  Iatt
	PostParent Iatt
}

// Rmdir removes an empty directory, or with Flags != 0 a whole tree. Dir is the
// directory itself if whoever asks has just seen it, else zero: a translator that
// has to lock it then need not look first.
type Rmdir struct {
	Header
	Parent GFID
	Flags  int32
	Name   string
	Dir    GFID `wire:"-"`
}

// Symlink makes a symbolic link. XData must carry KeyGFIDReq.
type Symlink struct {
	Header
	Parent GFID
	Name   string
	Umask  uint32
	Target string
}

// Rename gives an object another name, replacing what has it. File says that the
// object is not a directory, if whoever asks has just seen that: then none can be
// replaced, and a translator that would have to lock one need not look for it.
type Rename struct {
	Header
	OldParent GFID
	NewParent GFID
	OldName   string
	NewName   string
	File      bool `wire:"-"`
}

// RenameReply answers Rename.
type RenameReply struct {
	ReplyHeader
	Stat          Iatt
	PreOldParent  Iatt
	PostOldParent Iatt
	PreNewParent  Iatt
	PostNewParent Iatt
}

// Link gives the object GFID one more name.
type Link struct {
	Header
	GFID   GFID
	Parent GFID
	Name   string
}

// Truncate sets the size of a file.
type Truncate struct {
	Header
	GFID   GFID
	Offset uint64
}

// AttrReply answers every fop that changes a file and reports its attributes
// before and after.
type AttrReply struct {
	ReplyHeader
	Pre  Iatt
	Post Iatt
}

// Open opens a file. Fd is the caller's; its Flags should equal Flags. Now asks
// for the brick's word: no translator may answer in its place, and open the file
// later.
type Open struct {
	Header
	GFID  GFID
	Flags uint32 `wire:"oflags"` // O… constants
	Fd    *Fd    `wire:"-"`
	Now   bool   `wire:"-"`
}

// OpenReply answers Open and Opendir.
type OpenReply struct {
	ReplyHeader
	RemoteFd int64 // meaningful at the server and client translators only
}

// Read reads Size bytes at Offset. With Into, its length is Size and the reply's
// Data is a prefix of it.
type Read struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
	Size   uint32
	Flags  uint32 // open flags of the reader, O_DIRECT matters
	Into   []byte `wire:"-"`
}

// ReadReply answers Read.
type ReadReply struct {
	ReplyHeader
	Stat Iatt
	Data []byte `wire:"payload"`
	// EOF says that Data reaches the end of the file (op_errno ENOENT).
	EOF bool `wire:"-"`
}

// Memory is what keeps the data of a request. Who answers the request and needs
// the data for longer holds it, and frees it once for each Hold.
type Memory interface {
	Hold()
	Free()
}

// Write writes Data at Offset. Data is the caller's again when the write has been
// answered; if Memory is not nil, not before that is free, too.
type Write struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
	Data   []byte `wire:"payload"`
	Flags  uint32 // open flags of the writer; O_SYNC, O_DSYNC, O_DIRECT, O_APPEND matter
	Memory Memory `wire:"-"`
}

// WriteReply answers Write.
type WriteReply struct {
	ReplyHeader
	Pre  Iatt
	Post Iatt
	Size uint32 `wire:"ret"` // bytes written
}

// StatfsReq asks for the figures of the file system below.
type StatfsReq struct {
	Header
	GFID GFID
}

// StatfsReply answers StatfsReq.
type StatfsReply struct {
	ReplyHeader
	Statfs Statfs
}

// Flush comes with every close(2) of a descriptor of the open file.
type Flush struct {
	Header
	GFID GFID
	Fd   *Fd
}

// CommonReply answers every fop that reports nothing.
type CommonReply struct {
	ReplyHeader
}

// Fsync makes a file durable; with Datasync not 0 the data only.
type Fsync struct {
	Header
	GFID     GFID
	Fd       *Fd
	Datasync uint32
}

// Setxattr sets extended attributes.
type Setxattr struct {
	Header
	GFID  GFID
	Flags uint32 // XattrCreate, XattrReplace
	Dict  *Dict
}

// Flags of Setxattr and Fsetxattr.
const (
	XattrCreate  = 1
	XattrReplace = 2
)

// Getxattr asks for one extended attribute, or with an empty Name for all.
type Getxattr struct {
	Header
	GFID GFID
	Name string `wire:"name"`
}

// XattrReply answers Getxattr, Fgetxattr, Xattrop and Fxattrop.
type XattrReply struct {
	ReplyHeader
	Dict *Dict
	// Size is op_ret: the length of a single value, or of the listing.
	Size int32 `wire:"ret"`
}

// Removexattr removes one attribute, or with an empty Name all keys of XData.
type Removexattr struct {
	Header
	GFID GFID
	Name string
}

// Opendir opens a directory.
type Opendir struct {
	Header
	GFID GFID
	Fd   *Fd `wire:"-"`
}

// Fsyncdir makes a directory durable.
type Fsyncdir struct {
	Header
	GFID     GFID
	Fd       *Fd
	Datasync int32
}

// Access checks permissions: Mask of R 4, W 2, X 1.
type Access struct {
	Header
	GFID GFID
	Mask uint32
}

// Create makes and opens a file. XData must carry KeyGFIDReq.
type Create struct {
	Header
	Parent GFID
	Flags  uint32 `wire:"oflags"` // O… constants
	Mode   uint32
	Umask  uint32
	Name   string
	Fd     *Fd `wire:"-"`
}

// CreateReply answers Create.
type CreateReply struct {
	ReplyHeader
	Stat       Iatt
	RemoteFd   uint64 // meaningful at the server and client translators only
	PreParent  Iatt
	PostParent Iatt
}

// Ftruncate sets the size of an open file.
type Ftruncate struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
}

// Fstat asks for the attributes of an open file.
type Fstat struct {
	Header
	GFID GFID
	Fd   *Fd
}

// Lk sets, removes or asks for a posix lock. LkSetWait blocks.
type Lk struct {
	Header
	GFID  GFID
	Fd    *Fd
	Cmd   uint32
	Type  uint32
	Flock Flock
}

// LkReply answers Lk.
type LkReply struct {
	ReplyHeader
	Flock Flock
}

// Lookup finds an object: by Parent and Name when Name is not empty, else by
// GFID.
type Lookup struct {
	Header
	GFID   GFID
	Parent GFID
	Flags  uint32
	Name   string
}

// LookupReply answers Lookup. Parent is zero when looked up by GFID.
type LookupReply struct {
	ReplyHeader
	Stat   Iatt
	Parent Iatt
}

// Readdir lists entries after the cookie Offset, about Size bytes of them.
type Readdir struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
	Size   uint32
}

// ReaddirReply answers Readdir and Readdirp.
type ReaddirReply struct {
	ReplyHeader
	Entries []Dirent
	// EOF says that no entries follow (op_errno ENOENT).
	EOF bool `wire:"-"`
}

// Inodelk locks a byte range of an object for a translator. LkSetWait blocks.
type Inodelk struct {
	Header
	GFID   GFID
	Cmd    uint32
	Type   uint32
	Flock  Flock
	Domain string
}

// Finodelk is Inodelk on an open file.
type Finodelk struct {
	Header
	GFID   GFID
	Fd     *Fd
	Cmd    uint32
	Type   uint32
	Flock  Flock
	Domain string
}

// Entrylk locks a name in a directory, or with an empty Name all of them.
// NameLen is 1 with a name and 0 without, whatever its length.
type Entrylk struct {
	Header
	GFID    GFID
	Cmd     uint32
	Type    uint32
	NameLen uint64 `wire:"namelen"`
	Name    string
	Domain  string
}

// Fentrylk is Entrylk on an open directory.
type Fentrylk struct {
	Header
	GFID    GFID
	Fd      *Fd
	Cmd     uint32
	Type    uint32
	NameLen uint64 `wire:"namelen"`
	Name    string
	Domain  string
}

// Operations of Xattrop and Fxattrop.
const (
	XattropAdd          = 0 // arrays of big-endian int32
	XattropAdd64        = 1 // arrays of big-endian int64
	XattropOr           = 2
	XattropAnd          = 3
	XattropGetAndSet    = 4
	XattropAddDefault   = 5
	XattropAdd64Default = 6
)

// Xattrop reads, changes and writes extended attributes in one step.
type Xattrop struct {
	Header
	GFID GFID
	Kind uint32 // Xattrop… constant
	Dict *Dict
}

// Fxattrop is Xattrop on an open file.
type Fxattrop struct {
	Header
	GFID GFID
	Fd   *Fd
	Kind uint32
	Dict *Dict
}

// Fgetxattr is Getxattr on an open file.
type Fgetxattr struct {
	Header
	GFID GFID
	Fd   *Fd
	Name string `wire:"name"`
}

// Fsetxattr is Setxattr on an open file.
type Fsetxattr struct {
	Header
	GFID  GFID
	Fd    *Fd
	Flags uint32
	Dict  *Dict
}

// Rchecksum asks for checksums of Len bytes at Offset.
type Rchecksum struct {
	Header
	GFID   GFID `wire:"v400"`
	Fd     *Fd
	Offset uint64
	Len    uint32
	Flags  uint32 `wire:"v400"`
}

// RchecksumReply answers Rchecksum: Weak is Adler-32 begun at 0; Strong is
// SHA-256 (Flags 1) or MD5 (Flags 0).
type RchecksumReply struct {
	ReplyHeader
	Flags  uint32 `wire:"v400"`
	Weak   uint32
	Strong []byte
}

// Bits of Setattr.Valid.
const (
	SetMode     = 0x1
	SetUID      = 0x2
	SetGID      = 0x4
	SetSize     = 0x8
	SetAtime    = 0x10
	SetMtime    = 0x20
	SetCtime    = 0x40
	SetAtimeNow = 0x80
	SetMtimeNow = 0x100
)

// Setattr changes those attributes that Valid names.
type Setattr struct {
	Header
	GFID  GFID
	Stat  Iatt
	Valid int32 // Set… bits
}

// Fsetattr is Setattr on an open file.
type Fsetattr struct {
	Header
	GFID  GFID `wire:"v400"`
	Fd    *Fd
	Stat  Iatt
	Valid int32
}

// Readdirp is Readdir with attributes. XData names xattrs wanted per entry.
type Readdirp struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
	Size   uint32
}

// Release ends the life of an open file.
type Release struct {
	Header
	GFID GFID
	Fd   *Fd
}

// Releasedir ends the life of an open directory.
type Releasedir struct {
	Header
	GFID GFID
	Fd   *Fd
}

// Fremovexattr is Removexattr on an open file.
type Fremovexattr struct {
	Header
	GFID GFID
	Fd   *Fd
	Name string
}

// Fallocate reserves space; Flags 1 keeps the size.
type Fallocate struct {
	Header
	GFID   GFID
	Fd     *Fd
	Flags  uint32
	Offset uint64
	Size   uint64
}

// Discard punches a hole.
type Discard struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
	Size   uint64
}

// Zerofill zeroes a range.
type Zerofill struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
	Size   uint64
}

// Ipc reaches one translator by name: Target 0 changelog, 1 ctr, 2 upcall.
type Ipc struct {
	Header
	Target int32
}

// Kinds of Seek.
const (
	SeekData = 0
	SeekHole = 1
)

// Seek finds the next data or hole at or after Offset; ENXIO past the end.
type Seek struct {
	Header
	GFID   GFID
	Fd     *Fd
	Offset uint64
	What   int32
}

// SeekReply answers Seek.
type SeekReply struct {
	ReplyHeader
	Offset uint64
}

// Lease asks for, drops or shows a lease.
type Lease struct {
	Header
	GFID  GFID
	Lease LeaseInfo
}

// LeaseReply answers Lease.
type LeaseReply struct {
	ReplyHeader
	Lease LeaseInfo
}

// Getactivelk lists the posix locks of an object.
type Getactivelk struct {
	Header
	GFID GFID
}

// GetactivelkReply answers Getactivelk.
type GetactivelkReply struct {
	ReplyHeader
	Locks []LockInfo
}

// Setactivelk installs posix locks.
type Setactivelk struct {
	Header
	GFID  GFID
	Locks []LockInfo
}

// Icreate makes an object without a name. No brick offers it.
type Icreate struct {
	Header
	GFID GFID
	Mode uint32
}

// Namelink gives the object of Icreate a name. No brick offers it.
type Namelink struct {
	Header
	Parent GFID
	Name   string
}

// Put makes a file with its contents. GlusterFS's bricks do not offer it.
type Put struct {
	Header
	Parent GFID
	Name   string
	Mode   uint32
	Umask  uint32
	Flags  uint32 `wire:"oflags"`
	Offset uint64
	Data   []byte `wire:"payload"`
	Xattr  *Dict
}

// CopyFileRange copies Size bytes between two files of one brick.
type CopyFileRange struct {
	Header
	GFID      GFID // source
	Dst       GFID
	Fd        *Fd // source
	DstFd     *Fd
	Offset    uint64
	DstOffset uint64
	Size      uint32
	Flags     uint32
}

// CopyFileRangeReply answers CopyFileRange.
type CopyFileRangeReply struct {
	ReplyHeader
	Stat    Iatt // of the source
	PreDst  Iatt
	PostDst Iatt
	Size    uint32 `wire:"ret"` // bytes copied
}

// Disconnect is not a fop of the wire: the server sends it down a brick's graph
// when the client From is gone, after flushing and releasing its open files.
// Translators drop what they keep for that client and pass it on.
type Disconnect struct {
	Header
}
