package proto

import "github.com/wythefs/wythe/internal/fop"

// The structs below are the messages of all programs but the fop program, field
// by field. Tags: "odict" is an untyped dictionary inside an opaque, "old" the
// shorter attributes of version 330, "text" a string of any length.

// Status is a reply that says no more than how it went.
type Status struct {
	Ret, Errno int32
}

// NullReply answers PING of ProgDump and of ProgHandshake, and NULL of ProgFop.
type NullReply struct {
	Ret, Errno int32
	Spec       []byte
}

// DumpRequest asks for the programs that a server has. GlusterFS sends 0xcaed as
// ID.
type DumpRequest struct {
	ID uint64
}

// Program is one RPC program that a server has.
type Program struct {
	Name       string
	Prog, Vers uint64
}

// DumpReply answers DumpRequest.
type DumpReply struct {
	ID         uint64
	Ret, Errno int32
	Programs   []Program
}

// SetvolumeRequest introduces a client to a brick.
type SetvolumeRequest struct {
	Dict *fop.Dict `wire:"odict"`
}

// SetvolumeReply answers SetvolumeRequest. Errno may be 22 on success.
type SetvolumeReply struct {
	Ret, Errno int32
	Dict       *fop.Dict `wire:"odict"`
}

// GetspecRequest asks for a volfile. Flags 1 asks for the list of servers, too.
type GetspecRequest struct {
	Flags uint32
	Key   string
	XData *fop.Dict `wire:"odict"`
}

// GetspecReply answers GetspecRequest; Ret is the length of Spec.
type GetspecReply struct {
	Ret, Errno int32
	Spec       string    `wire:"text"`
	XData      *fop.Dict `wire:"odict"`
}

// SetLkVerRequest is a relic that GlusterFS 10 answers and does not send.
type SetLkVerRequest struct {
	UID   string
	LkVer int32
}

// SetLkVerReply answers SetLkVerRequest.
type SetLkVerReply struct {
	Ret, Errno int32
	LkVer      int32
}

// EventNotify is a report to the management daemon, which does not answer it.
// As callback of ProgCallback it has the same form.
type EventNotify struct {
	Op   int32
	Dict *fop.Dict `wire:"odict"`
}

// EventNotifyReply would answer EventNotify.
type EventNotifyReply struct {
	Ret, Errno int32
	Dict       *fop.Dict `wire:"odict"`
}

// DictRequest is the request of GET_VOLUME_INFO, of GET_SNAPSHOT_INFO and of most
// procedures of ProgCLI.
type DictRequest struct {
	Dict *fop.Dict `wire:"odict"`
}

// DictReply answers DictRequest.
type DictReply struct {
	Ret, Errno int32
	Errstr     string    `wire:"text"`
	Dict       *fop.Dict `wire:"odict"`
}

// PortByBrickRequest asks on which port a brick listens.
type PortByBrickRequest struct {
	Brick string
}

// PortByBrickReply answers PortByBrickRequest; Ret is -1 if nobody knows.
type PortByBrickReply struct {
	Ret, Errno, Status, Port int32
}

// BrickByPortRequest asks which brick listens on a port.
type BrickByPortRequest struct {
	Port int32
}

// BrickByPortReply answers BrickByPortRequest. GlusterFS 10 never sends it.
type BrickByPortReply struct {
	Ret, Errno, Status int32
	Brick              string
}

// SigninRequest tells the management daemon where a brick listens.
type SigninRequest struct {
	Brick     string
	Port, PID int32
}

// SignoutRequest takes SigninRequest back.
type SignoutRequest struct {
	Brick          string
	Port, RDMAPort int32
}

// CLIPeersRequest is LIST_FRIENDS of ProgCLI. Flags 1 asks for peers, 2 for the
// pool, which includes the server itself.
type CLIPeersRequest struct {
	Flags int32
	Dict  *fop.Dict `wire:"odict"`
}

// CLIPeersReply answers CLIPeersRequest.
type CLIPeersReply struct {
	Ret, Errno int32
	Friends    *fop.Dict `wire:"odict"`
}

// CLIGetwdRequest asks for the working directory of the management daemon.
type CLIGetwdRequest struct {
	Unused int32
}

// CLIGetwdReply answers CLIGetwdRequest.
type CLIGetwdReply struct {
	Ret, Errno int32
	Dir        string
}

// CLIMountRequest is MOUNT of ProgCLI.
type CLIMountRequest struct {
	Label string
	Dict  *fop.Dict `wire:"odict"`
}

// CLIMountReply answers CLIMountRequest.
type CLIMountReply struct {
	Ret, Errno int32
	Path       string
}

// CLIUmountRequest is UMOUNT of ProgCLI.
type CLIUmountRequest struct {
	Lazy int32
	Path string
}

// CLIFsmLogRequest asks for the history of a peer's state.
type CLIFsmLogRequest struct {
	Name string
}

// CLIFsmLogReply answers CLIFsmLogRequest.
type CLIFsmLogReply struct {
	Ret, Errno int32
	Errstr     string    `wire:"text"`
	Log        *fop.Dict `wire:"odict"`
}

// BrickOpRequest is the request of all procedures of ProgBrickOp. Input is an
// untyped dictionary (DecodeOldDict) but for SVC_ATTACH, where it is the text of
// a volfile.
type BrickOpRequest struct {
	Name  string
	Op    int32
	Input []byte
	Dict  *fop.Dict `wire:"odict"`
}

// BrickOpReply answers BrickOpRequest.
type BrickOpReply struct {
	Ret, Errno int32
	Output     []byte
	Errstr     string `wire:"text"`
}

// CacheInvalidation is callback 5.
type CacheInvalidation struct {
	GFID      string
	Event     uint32
	Flags     uint32
	Expire    uint32
	Stat      fop.Iatt  `wire:"old"`
	Parent    fop.Iatt  `wire:"old"`
	OldParent fop.Iatt  `wire:"old"`
	XData     *fop.Dict `wire:"odict"`
}

// RecallLease is callback 8.
type RecallLease struct {
	GFID  fop.GFID
	Type  uint32
	Tid   [16]byte
	XData *fop.Dict `wire:"odict"`
}

// StatedumpCallback is callback 9: the process PID shall write a statedump.
type StatedumpCallback struct {
	PID uint32
}

// InodelkContention is callback 10: somebody waits for the lock Flock that the
// receiver holds.
type InodelkContention struct {
	GFID   fop.GFID
	Flock  fop.Flock
	PID    uint32
	Domain string
	XData  *fop.Dict `wire:"odict"`
}

// EntrylkContention is callback 11.
type EntrylkContention struct {
	GFID         fop.GFID
	Type         uint32
	PID          uint32
	Name, Domain string
	XData        *fop.Dict `wire:"odict"`
}
