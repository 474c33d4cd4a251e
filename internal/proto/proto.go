// Package proto holds the messages of every RPC program that GlusterFS 10
// speaks: the bodies that stand behind the headers of package rpc.
//
// Fops are the structs of package fop. AppendRequest and DecodeRequest,
// AppendReply and DecodeReply turn them into the messages of the fop program
// and back, in version 400 and in version 330, which is what clients before
// GlusterFS 4 speak. All other messages are structs of this package with the
// methods AppendXDR (which makes them arguments of a rpc.Request) and Decode.
// Callbacks of bricks become a fop.Upcall: AppendUpcall and DecodeCallback.
//
// # Promises
//
// A decoder never panics and allocates in proportion to what it has read, never
// to what a length word claims. What it returns aliases the message where it is
// a slice (payload, values of dictionaries) and copies where it is a string.
// Aliases says whether a reply does. A message with bytes left over is refused,
// as is one with a payload of another length than it says.
//
// # Where the wire is odd
//
//   - op_ret is -1 for failure; else it counts what the reply is about (bytes
//     of READ, WRITE, READLINK, COPY_FILE_RANGE and GETXATTR, entries of
//     READDIR and READDIRP, locks of GETACTIVELK) or is 0. op_errno means
//     something only after a failure, and in READ and READDIR(P), where 2 says
//     that the end is reached. A reply that failed is complete, filled with
//     zeros, and its xdata may matter.
//   - An open file travels as a number: see FdRefs.
//   - The payload of WRITE, PUT and of the reply to READ follows the message
//     without length or padding.
//   - Version 330 has xdata last in replies, shorter attributes and untyped
//     dictionaries.
//
// *_gen.go come from gen, which reads package fop's requests.go and this
// package's messages.go.
//
// Read next: fops.go, then messages.go.
package proto

import "github.com/wythefs/wythe/internal/fop"

//go:generate go run ./gen

// RPC programs.
const (
	ProgDump      = 123451501
	ProgHandshake = 14398633
	ProgFop       = 1298437
	ProgPortmap   = 34123456
	ProgCallback  = 52743234
	ProgCLI       = 1238463
	ProgBrickOp   = 4867634
	ProgQuota     = 29852134
)

// Versions of the programs; that of ProgFop is a Version.
const (
	VersDump      = 1
	VersHandshake = 2
	VersPortmap   = 1
	VersCallback  = 1
	VersCLI       = 2
	VersBrickOp   = 2
	VersQuota     = 1
)

// Version is a version of the fop program.
type Version uint32

// The two versions of the fop program.
const (
	V330 Version = 330
	V400 Version = 400
)

// Procedures of ProgDump.
const (
	DumpDump = 1
	DumpPing = 2
)

// Procedures of ProgHandshake.
const (
	HandshakeSetvolume       = 1
	HandshakeGetspec         = 2
	HandshakePing            = 3
	HandshakeSetLkVer        = 4
	HandshakeEventNotify     = 5
	HandshakeGetVolumeInfo   = 6
	HandshakeGetSnapshotInfo = 7
)

// Procedures of ProgPortmap.
const (
	PortmapPortByBrick = 1
	PortmapBrickByPort = 2
	PortmapSignin      = 4
	PortmapSignout     = 5
)

// Procedures of ProgBrickOp.
const (
	BrickOpTerminate     = 1
	BrickOpXlatorInfo    = 2
	BrickOpXlatorOp      = 3
	BrickOpStatus        = 4
	BrickOpXlatorDefrag  = 6
	BrickOpNodeProfile   = 7
	BrickOpNodeStatus    = 8
	BrickOpVolumeBarrier = 9
	BrickOpBarrier       = 10
	BrickOpNodeBitrot    = 11
	BrickOpAttach        = 12
	BrickOpDumpMetrics   = 13
	BrickOpSvcAttach     = 14
	BrickOpSvcDetach     = 15
)

// Limits of what is decoded.
const (
	maxName    = 64 << 10 // bytes of a name, a path or the name of an xattr
	maxOwner   = 1024     // bytes of a lock owner
	maxDict    = 64 << 10 // pairs of a dictionary in a fop
	maxOldDict = 1 << 20  // pairs of an untyped dictionary
	maxEntries = 1 << 20  // of a directory listing, of programs or of locks
)

// openFlags are those flags of OPEN, CREATE and PUT that have a portable number;
// others do not travel.
const openFlags = fop.OAccmode | fop.OExec | fop.OCreate | fop.OExcl | fop.ONoctty | fop.OTrunc |
	fop.OAppend | fop.ONonblock | fop.ODsync | 0o20000 | fop.ODirect | fop.OLargefile |
	fop.ODirectory | fop.ONofollow | fop.ONoatime | fop.OCloexec
