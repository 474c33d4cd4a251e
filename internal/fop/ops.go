package fop

// This file ties each request to its Op and its reply.

// Op returns OpStat.
func (*Stat) Op() Op { return OpStat }

func (*Stat) repliedBy(*StatReply) {}

// Op returns OpReadlink.
func (*Readlink) Op() Op { return OpReadlink }

func (*Readlink) repliedBy(*ReadlinkReply) {}

// Op returns OpMknod.
func (*Mknod) Op() Op { return OpMknod }

func (*Mknod) repliedBy(*EntryReply) {}

// Op returns OpMkdir.
func (*Mkdir) Op() Op { return OpMkdir }

func (*Mkdir) repliedBy(*EntryReply) {}

// Op returns OpUnlink.
func (*Unlink) Op() Op { return OpUnlink }

func (*Unlink) repliedBy(*RemoveReply) {}

// Op returns OpRmdir.
func (*Rmdir) Op() Op { return OpRmdir }

func (*Rmdir) repliedBy(*RemoveReply) {}

// Op returns OpSymlink.
func (*Symlink) Op() Op { return OpSymlink }

func (*Symlink) repliedBy(*EntryReply) {}

// Op returns OpRename.
func (*Rename) Op() Op { return OpRename }

func (*Rename) repliedBy(*RenameReply) {}

// Op returns OpLink.
func (*Link) Op() Op { return OpLink }

func (*Link) repliedBy(*EntryReply) {}

// Op returns OpTruncate.
func (*Truncate) Op() Op { return OpTruncate }

func (*Truncate) repliedBy(*AttrReply) {}

// Op returns OpOpen.
func (*Open) Op() Op { return OpOpen }

func (*Open) repliedBy(*OpenReply) {}

// Op returns OpRead.
func (*Read) Op() Op { return OpRead }

func (*Read) repliedBy(*ReadReply) {}

// Op returns OpWrite.
func (*Write) Op() Op { return OpWrite }

func (*Write) repliedBy(*WriteReply) {}

// Op returns OpStatfs.
func (*StatfsReq) Op() Op { return OpStatfs }

func (*StatfsReq) repliedBy(*StatfsReply) {}

// Op returns OpFlush.
func (*Flush) Op() Op { return OpFlush }

func (*Flush) repliedBy(*CommonReply) {}

// Op returns OpFsync.
func (*Fsync) Op() Op { return OpFsync }

func (*Fsync) repliedBy(*AttrReply) {}

// Op returns OpSetxattr.
func (*Setxattr) Op() Op { return OpSetxattr }

func (*Setxattr) repliedBy(*CommonReply) {}

// Op returns OpGetxattr.
func (*Getxattr) Op() Op { return OpGetxattr }

func (*Getxattr) repliedBy(*XattrReply) {}

// Op returns OpRemovexattr.
func (*Removexattr) Op() Op { return OpRemovexattr }

func (*Removexattr) repliedBy(*CommonReply) {}

// Op returns OpOpendir.
func (*Opendir) Op() Op { return OpOpendir }

func (*Opendir) repliedBy(*OpenReply) {}

// Op returns OpFsyncdir.
func (*Fsyncdir) Op() Op { return OpFsyncdir }

func (*Fsyncdir) repliedBy(*CommonReply) {}

// Op returns OpAccess.
func (*Access) Op() Op { return OpAccess }

func (*Access) repliedBy(*CommonReply) {}

// Op returns OpCreate.
func (*Create) Op() Op { return OpCreate }

func (*Create) repliedBy(*CreateReply) {}

// Op returns OpFtruncate.
func (*Ftruncate) Op() Op { return OpFtruncate }

func (*Ftruncate) repliedBy(*AttrReply) {}

// Op returns OpFstat.
func (*Fstat) Op() Op { return OpFstat }

func (*Fstat) repliedBy(*StatReply) {}

// Op returns OpLk.
func (*Lk) Op() Op { return OpLk }

func (*Lk) repliedBy(*LkReply) {}

// Op returns OpLookup.
func (*Lookup) Op() Op { return OpLookup }

func (*Lookup) repliedBy(*LookupReply) {}

// Op returns OpReaddir.
func (*Readdir) Op() Op { return OpReaddir }

func (*Readdir) repliedBy(*ReaddirReply) {}

// Op returns OpInodelk.
func (*Inodelk) Op() Op { return OpInodelk }

func (*Inodelk) repliedBy(*CommonReply) {}

// Op returns OpFinodelk.
func (*Finodelk) Op() Op { return OpFinodelk }

func (*Finodelk) repliedBy(*CommonReply) {}

// Op returns OpEntrylk.
func (*Entrylk) Op() Op { return OpEntrylk }

func (*Entrylk) repliedBy(*CommonReply) {}

// Op returns OpFentrylk.
func (*Fentrylk) Op() Op { return OpFentrylk }

func (*Fentrylk) repliedBy(*CommonReply) {}

// Op returns OpXattrop.
func (*Xattrop) Op() Op { return OpXattrop }

func (*Xattrop) repliedBy(*XattrReply) {}

// Op returns OpFxattrop.
func (*Fxattrop) Op() Op { return OpFxattrop }

func (*Fxattrop) repliedBy(*XattrReply) {}

// Op returns OpFgetxattr.
func (*Fgetxattr) Op() Op { return OpFgetxattr }

func (*Fgetxattr) repliedBy(*XattrReply) {}

// Op returns OpFsetxattr.
func (*Fsetxattr) Op() Op { return OpFsetxattr }

func (*Fsetxattr) repliedBy(*CommonReply) {}

// Op returns OpRchecksum.
func (*Rchecksum) Op() Op { return OpRchecksum }

func (*Rchecksum) repliedBy(*RchecksumReply) {}

// Op returns OpSetattr.
func (*Setattr) Op() Op { return OpSetattr }

func (*Setattr) repliedBy(*AttrReply) {}

// Op returns OpFsetattr.
func (*Fsetattr) Op() Op { return OpFsetattr }

func (*Fsetattr) repliedBy(*AttrReply) {}

// Op returns OpReaddirp.
func (*Readdirp) Op() Op { return OpReaddirp }

func (*Readdirp) repliedBy(*ReaddirReply) {}

// Op returns OpRelease.
func (*Release) Op() Op { return OpRelease }

func (*Release) repliedBy(*CommonReply) {}

// Op returns OpReleasedir.
func (*Releasedir) Op() Op { return OpReleasedir }

func (*Releasedir) repliedBy(*CommonReply) {}

// Op returns OpFremovexattr.
func (*Fremovexattr) Op() Op { return OpFremovexattr }

func (*Fremovexattr) repliedBy(*CommonReply) {}

// Op returns OpFallocate.
func (*Fallocate) Op() Op { return OpFallocate }

func (*Fallocate) repliedBy(*AttrReply) {}

// Op returns OpDiscard.
func (*Discard) Op() Op { return OpDiscard }

func (*Discard) repliedBy(*AttrReply) {}

// Op returns OpZerofill.
func (*Zerofill) Op() Op { return OpZerofill }

func (*Zerofill) repliedBy(*AttrReply) {}

// Op returns OpIpc.
func (*Ipc) Op() Op { return OpIpc }

func (*Ipc) repliedBy(*CommonReply) {}

// Op returns OpSeek.
func (*Seek) Op() Op { return OpSeek }

func (*Seek) repliedBy(*SeekReply) {}

// Op returns OpLease.
func (*Lease) Op() Op { return OpLease }

func (*Lease) repliedBy(*LeaseReply) {}

// Op returns OpGetactivelk.
func (*Getactivelk) Op() Op { return OpGetactivelk }

func (*Getactivelk) repliedBy(*GetactivelkReply) {}

// Op returns OpSetactivelk.
func (*Setactivelk) Op() Op { return OpSetactivelk }

func (*Setactivelk) repliedBy(*CommonReply) {}

// Op returns OpIcreate.
func (*Icreate) Op() Op { return OpIcreate }

func (*Icreate) repliedBy(*StatReply) {}

// Op returns OpNamelink.
func (*Namelink) Op() Op { return OpNamelink }

func (*Namelink) repliedBy(*RemoveReply) {}

// Op returns OpPut.
func (*Put) Op() Op { return OpPut }

func (*Put) repliedBy(*EntryReply) {}

// Op returns OpCopyFileRange.
func (*CopyFileRange) Op() Op { return OpCopyFileRange }

func (*CopyFileRange) repliedBy(*CopyFileRangeReply) {}

// Op returns OpDisconnect.
func (*Disconnect) Op() Op { return OpDisconnect }

func (*Disconnect) repliedBy(*CommonReply) {}

// newRequest makes an empty request of each fop, by procedure number.
var newRequest = [OpCount]func() Request{
	OpStat:          func() Request { return new(Stat) },
	OpReadlink:      func() Request { return new(Readlink) },
	OpMknod:         func() Request { return new(Mknod) },
	OpMkdir:         func() Request { return new(Mkdir) },
	OpUnlink:        func() Request { return new(Unlink) },
	OpRmdir:         func() Request { return new(Rmdir) },
	OpSymlink:       func() Request { return new(Symlink) },
	OpRename:        func() Request { return new(Rename) },
	OpLink:          func() Request { return new(Link) },
	OpTruncate:      func() Request { return new(Truncate) },
	OpOpen:          func() Request { return new(Open) },
	OpRead:          func() Request { return new(Read) },
	OpWrite:         func() Request { return new(Write) },
	OpStatfs:        func() Request { return new(StatfsReq) },
	OpFlush:         func() Request { return new(Flush) },
	OpFsync:         func() Request { return new(Fsync) },
	OpSetxattr:      func() Request { return new(Setxattr) },
	OpGetxattr:      func() Request { return new(Getxattr) },
	OpRemovexattr:   func() Request { return new(Removexattr) },
	OpOpendir:       func() Request { return new(Opendir) },
	OpFsyncdir:      func() Request { return new(Fsyncdir) },
	OpAccess:        func() Request { return new(Access) },
	OpCreate:        func() Request { return new(Create) },
	OpFtruncate:     func() Request { return new(Ftruncate) },
	OpFstat:         func() Request { return new(Fstat) },
	OpLk:            func() Request { return new(Lk) },
	OpLookup:        func() Request { return new(Lookup) },
	OpReaddir:       func() Request { return new(Readdir) },
	OpInodelk:       func() Request { return new(Inodelk) },
	OpFinodelk:      func() Request { return new(Finodelk) },
	OpEntrylk:       func() Request { return new(Entrylk) },
	OpFentrylk:      func() Request { return new(Fentrylk) },
	OpXattrop:       func() Request { return new(Xattrop) },
	OpFxattrop:      func() Request { return new(Fxattrop) },
	OpFgetxattr:     func() Request { return new(Fgetxattr) },
	OpFsetxattr:     func() Request { return new(Fsetxattr) },
	OpRchecksum:     func() Request { return new(Rchecksum) },
	OpSetattr:       func() Request { return new(Setattr) },
	OpFsetattr:      func() Request { return new(Fsetattr) },
	OpReaddirp:      func() Request { return new(Readdirp) },
	OpRelease:       func() Request { return new(Release) },
	OpReleasedir:    func() Request { return new(Releasedir) },
	OpFremovexattr:  func() Request { return new(Fremovexattr) },
	OpFallocate:     func() Request { return new(Fallocate) },
	OpDiscard:       func() Request { return new(Discard) },
	OpZerofill:      func() Request { return new(Zerofill) },
	OpIpc:           func() Request { return new(Ipc) },
	OpSeek:          func() Request { return new(Seek) },
	OpLease:         func() Request { return new(Lease) },
	OpGetactivelk:   func() Request { return new(Getactivelk) },
	OpSetactivelk:   func() Request { return new(Setactivelk) },
	OpIcreate:       func() Request { return new(Icreate) },
	OpNamelink:      func() Request { return new(Namelink) },
	OpPut:           func() Request { return new(Put) },
	OpCopyFileRange: func() Request { return new(CopyFileRange) },
}

// NewRequest returns an empty request of fop o, nil if there is none.
func NewRequest(o Op) Request {
	if o >= OpCount || newRequest[o] == nil {
		return nil
	}
	return newRequest[o]()
}

// NewReply returns an empty reply of the type that answers fop o, nil if there is none.
func NewReply(o Op) Reply {
	switch o {
	case OpStat, OpFstat, OpIcreate:
		return new(StatReply)
	case OpReadlink:
		return new(ReadlinkReply)
	case OpMknod, OpMkdir, OpSymlink, OpLink, OpPut:
		return new(EntryReply)
	case OpUnlink, OpRmdir, OpNamelink:
		return new(RemoveReply)
	case OpRename:
		return new(RenameReply)
	case OpTruncate, OpFsync, OpFtruncate, OpSetattr, OpFsetattr, OpFallocate, OpDiscard, OpZerofill:
		return new(AttrReply)
	case OpOpen, OpOpendir:
		return new(OpenReply)
	case OpRead:
		return new(ReadReply)
	case OpWrite:
		return new(WriteReply)
	case OpStatfs:
		return new(StatfsReply)
	case OpFlush, OpSetxattr, OpRemovexattr, OpFsyncdir, OpAccess, OpInodelk, OpFinodelk, OpEntrylk, OpFentrylk, OpFsetxattr, OpRelease, OpReleasedir, OpFremovexattr, OpIpc, OpSetactivelk, OpDisconnect:
		return new(CommonReply)
	case OpGetxattr, OpXattrop, OpFxattrop, OpFgetxattr:
		return new(XattrReply)
	case OpCreate:
		return new(CreateReply)
	case OpLk:
		return new(LkReply)
	case OpLookup:
		return new(LookupReply)
	case OpReaddir, OpReaddirp:
		return new(ReaddirReply)
	case OpRchecksum:
		return new(RchecksumReply)
	case OpSeek:
		return new(SeekReply)
	case OpLease:
		return new(LeaseReply)
	case OpGetactivelk:
		return new(GetactivelkReply)
	case OpCopyFileRange:
		return new(CopyFileRangeReply)
	}
	return nil
}
