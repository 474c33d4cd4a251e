package rpc

import (
	"context"

	"github.com/wythefs/wythe/internal/xdr"
)

// The GF-DUMP program, which every GlusterFS server has: it lists the
// server's programs and answers pings.
const (
	DumpProgram = 123451501
	DumpVersion = 1
	DumpNull    = 0
	DumpDump    = 1
	DumpPing    = 2
)

// Dump returns the GF-DUMP program. A server that does not have it among its
// Programs gets it as the first; put it elsewhere to get GlusterFS's order.
func Dump() *Program {
	return &Program{
		Name: "GF-DUMP", Number: DumpProgram, Version: DumpVersion,
		Procs: []Proc{
			DumpNull: {Name: "NULL", Handle: dumpNull, Inline: true, Exempt: true},
			DumpDump: {Name: "DUMP", Handle: dumpDump, Inline: true},
			DumpPing: {Name: "PING", Handle: dumpPing, Inline: true, Exempt: true},
		},
	}
}

func dumpNull(_ context.Context, call *Call) { call.Reply(nil) }

// pong is op_ret 0, op_errno 0 and an empty xdata.
var pong = Appender(Raw(make([]byte, 12)))

func dumpPing(_ context.Context, call *Call) { call.Reply(pong) }

func dumpDump(_ context.Context, call *Call) {
	d := xdr.NewDecoder(call.Args)
	d.Uint64() // gfs_id: the sender's, means nothing
	if d.Err() != nil {
		call.Fail(GarbageArgs)
		return
	}
	call.Reply(programList(call.Conn.server.programs))
}

type programList []*Program

func (l programList) AppendXDR(b []byte) []byte {
	b = xdr.AppendUint64(b, 0) // gfs_id
	b = xdr.AppendInt32(b, 0)  // op_ret
	b = xdr.AppendInt32(b, 0)  // op_errno
	for _, p := range l {
		b = xdr.AppendUint32(b, 1)
		b = xdr.AppendString(b, p.Name)
		b = xdr.AppendUint64(b, uint64(p.Number))
		b = xdr.AppendUint64(b, uint64(p.Version))
	}
	return xdr.AppendUint32(b, 0)
}
