package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xdr"
)

// ErrNoProc says that a fop is not part of the fop program.
var ErrNoProc = errors.New("proto: no such procedure")

// Numbers that stand for open files on the wire but name none.
const (
	FdNone      = -1
	FdAnonymous = -2 // the brick uses the object named by the GFID
)

// FdRefs are the numbers by which a request names open files, which only client
// and server can tie to a fop.Fd.
type FdRefs struct {
	A int64 // Fd
	B int64 // DstFd of CopyFileRange
	N int   // when decoded: how many of the two the request has
}

// AppendRequest appends the message of req to b. The payload has to follow the
// message on the wire; it is the request's own memory. fd gives the numbers of
// the files in Fds(req).
func AppendRequest(b []byte, v Version, req fop.Request, fd FdRefs) (head, payload []byte, err error) {
	head, payload, ok := appendRequest(b, v, req, fd)
	if !ok {
		return b, nil, fmt.Errorf("proto: %v does not travel: %w", req.Op(), syscall.EOPNOTSUPP)
	}
	return head, payload, nil
}

// DecodeRequest reads the message of procedure proc with its payload. The
// request's Fd fields are nil; fd says which numbers go there, for SetFds. It
// returns ErrNoProc if there is no such fop.
func DecodeRequest(v Version, proc uint32, body []byte) (req fop.Request, fd FdRefs, err error) {
	d := newDecoder(v, body)
	return d.finishRequest(proc)
}

// DecodeRequestPayload is DecodeRequest for a payload that was received apart
// from its message.
func DecodeRequestPayload(v Version, proc uint32, body, payload []byte) (req fop.Request, fd FdRefs, err error) {
	d := newDecoder(v, body)
	d.split, d.apart = payload, true
	return d.finishRequest(proc)
}

func (d *decoder) finishRequest(proc uint32) (fop.Request, FdRefs, error) {
	req := d.request(fop.Op(proc))
	if req == nil {
		return nil, FdRefs{}, fmt.Errorf("%w: %d", ErrNoProc, proc)
	}
	if err := d.Finish(); err != nil {
		return nil, FdRefs{}, fmt.Errorf("proto: %v request: %w", fop.Op(proc), err)
	}
	return req, d.fd, nil
}

// AppendReply appends the message that answers fop op: the reply, or with err
// its failure. The payload has to follow the message on the wire; it is the
// reply's own memory. On failure only the XData of reply travels; reply may be
// nil.
func AppendReply(b []byte, v Version, op fop.Op, reply fop.Reply, err error) (head, payload []byte) {
	if !present(reply) {
		reply = nil
	}
	if err == nil {
		if reply != nil {
			ret, errno := success(reply)
			if head, payload, ok := appendReply(b, v, op, ret, errno, reply); ok {
				return head, payload
			}
		}
		err = syscall.EIO
	}
	var xdata *fop.Dict
	if reply != nil {
		xdata = reply.ReplyHead().XData
	}
	errno := ErrnoToWire(fop.Errno(err))
	empty := fop.NewReply(op)
	if empty == nil {
		empty = new(fop.CommonReply)
	}
	if x, ok := empty.(*fop.XattrReply); ok {
		x.Dict = new(fop.Dict) // zeros, too, which are not NULL
	}
	empty.ReplyHead().XData = xdata
	head, _, _ = appendReply(b, v, op, -1, errno, empty)
	return head, nil
}

// success returns op_ret and op_errno of a reply that did not fail.
func success(reply fop.Reply) (ret, errno int32) {
	eof := false
	switch r := reply.(type) {
	case *fop.ReadReply:
		ret, eof = int32(len(r.Data)), r.EOF
	case *fop.ReaddirReply:
		ret, eof = int32(len(r.Entries)), r.EOF
	case *fop.WriteReply:
		ret = int32(r.Size)
	case *fop.CopyFileRangeReply:
		ret = int32(r.Size)
	case *fop.ReadlinkReply:
		ret = int32(len(r.Target))
	case *fop.XattrReply:
		ret = r.Size
	case *fop.GetactivelkReply:
		ret = int32(len(r.Locks))
	}
	if eof {
		errno = wireENOENT
	}
	return max(ret, 0), errno
}

const wireENOENT = 2

// DecodeReply reads the reply to fop op. opErr is the failure that it reports, a
// syscall.Errno; reply is nil then unless it has XData. decodeErr says that the
// message is not what it should be. For READ, body includes the payload.
func DecodeReply(v Version, op fop.Op, body []byte) (reply fop.Reply, opErr, decodeErr error) {
	d := newDecoder(v, body)
	return d.finishReply(op)
}

// DecodeReadReply is DecodeReply of READ for a payload that was received apart
// from its message.
func DecodeReadReply(v Version, body, payload []byte) (reply fop.Reply, opErr, decodeErr error) {
	d := newDecoder(v, body)
	d.split, d.apart = payload, true
	return d.finishReply(fop.OpRead)
}

func (d *decoder) finishReply(op fop.Op) (reply fop.Reply, opErr, decodeErr error) {
	reply = d.reply(op)
	if reply == nil {
		return nil, nil, fmt.Errorf("%w: %d", ErrNoProc, op)
	}
	if err := d.Finish(); err != nil {
		return nil, nil, fmt.Errorf("proto: %v reply: %w", op, err)
	}
	if d.ret >= 0 {
		return reply, nil, nil
	}
	if reply.ReplyHead().XData == nil {
		reply = nil
	}
	return reply, ErrnoFromWire(d.errno), nil
}

// Aliases reports whether a decoded reply refers to the memory of its message.
func Aliases(reply fop.Reply) bool {
	if reply == nil {
		return false
	}
	if reply.ReplyHead().XData.Len() > 0 {
		return true
	}
	switch r := reply.(type) {
	case *fop.ReadReply:
		return len(r.Data) > 0
	case *fop.XattrReply:
		return r.Dict.Len() > 0
	case *fop.RchecksumReply:
		return len(r.Strong) > 0
	case *fop.ReaddirReply:
		for i := range r.Entries {
			if r.Entries[i].XData.Len() > 0 {
				return true
			}
		}
	}
	return false
}

// appendStatus appends what each reply begins with.
func appendStatus(b []byte, v Version, ret, errno int32, xdata *fop.Dict) []byte {
	b = xdr.AppendInt32(b, ret)
	b = xdr.AppendInt32(b, errno)
	if v >= V400 {
		b = appendDict(b, v, xdata)
	}
	return b
}

// appendLateXData appends xdata where version 330 has it.
func appendLateXData(b []byte, v Version, xdata *fop.Dict) []byte {
	if v < V400 {
		b = AppendOldDict(b, xdata)
	}
	return b
}

func (d *decoder) status() (xdata *fop.Dict) {
	d.ret = d.Int32()
	d.errno = d.Int32()
	if d.v >= V400 {
		xdata = d.dict()
	}
	return xdata
}

func (d *decoder) lateXData(xdata **fop.Dict) {
	if d.v < V400 {
		*xdata = d.oldDict()
	}
}

// READ: xdata comes last in both versions, and a payload behind it.

func appendReadReply(b []byte, v Version, ret, errno int32, m *fop.ReadReply) []byte {
	b = xdr.AppendInt32(b, ret)
	b = xdr.AppendInt32(b, errno)
	b = appendIatt(b, v, &m.Stat)
	b = xdr.AppendUint32(b, uint32(len(m.Data)))
	return appendDict(b, v, m.XData)
}

func (d *decoder) decodeReadReply(m *fop.ReadReply) {
	d.ret = d.Int32()
	d.errno = d.Int32()
	d.iatt(&m.Stat)
	d.Uint32() // the same as op_ret
	m.XData = d.dict()
	d.payload = uint32(max(d.ret, 0))
	m.Data = d.takePayload()
	m.EOF = d.ret >= 0 && d.errno == wireENOENT
}

// ReadReplyPrefix is how many bytes of a READ reply ReadReplySplit wants to see.
func ReadReplyPrefix(v Version) int {
	if v < V400 {
		return 4 + 4 + oldIattSize + 4 + 4
	}
	return 4 + 4 + iattSize + 4 + 12
}

// ReadReplySplit returns the size of a READ reply before its payload, given its
// first ReadReplyPrefix bytes, or -1 if it has none.
func ReadReplySplit(v Version, prefix []byte) int {
	if len(prefix) < ReadReplyPrefix(v) || int32(binary.BigEndian.Uint32(prefix)) <= 0 {
		return -1
	}
	return split(v, prefix[:ReadReplyPrefix(v)])
}

// PayloadPrefix is how many bytes of the request PayloadSplit wants to see, 0 if
// procedure proc has no payload or one that comes too late to be split off.
func PayloadPrefix(v Version, proc uint32) int {
	if fop.Op(proc) != fop.OpWrite {
		return 0
	}
	if v < V400 {
		return 16 + 8 + 8 + 4 + 4 + 4
	}
	return 16 + 8 + 8 + 4 + 4 + 12
}

// PayloadSplit returns the size of a WRITE request before its payload, given its
// first PayloadPrefix bytes, or -1 if they are no such request.
func PayloadSplit(v Version, prefix []byte) int {
	n := PayloadPrefix(v, uint32(fop.OpWrite))
	if len(prefix) < n {
		return -1
	}
	return split(v, prefix[:n])
}

// split computes where the xdata ends whose header ends prefix.
func split(v Version, prefix []byte) int {
	if v < V400 {
		n := binary.BigEndian.Uint32(prefix[len(prefix)-4:])
		if n > 1<<30 {
			return -1
		}
		return len(prefix) + int(n) + xdr.Pad(int(n))
	}
	n := dictSize(prefix[len(prefix)-12:])
	if n < 0 || n > 1<<30 {
		return -1
	}
	return len(prefix) + n
}

// READDIR and READDIRP: a linked list of entries, with or without attributes.

func appendReaddirReply(b []byte, v Version, op fop.Op, ret, errno int32, m *fop.ReaddirReply) []byte {
	b = appendStatus(b, v, ret, errno, m.XData)
	for i := range m.Entries {
		e := &m.Entries[i]
		b = xdr.AppendUint32(b, 1)
		b = xdr.AppendUint64(b, e.Ino)
		b = xdr.AppendUint64(b, e.Off)
		b = xdr.AppendUint32(b, uint32(len(e.Name)))
		b = xdr.AppendUint32(b, e.Type)
		b = xdr.AppendString(b, e.Name)
		if op == fop.OpReaddirp {
			b = appendIatt(b, v, &e.Stat)
			b = appendDict(b, v, e.XData)
		}
	}
	b = xdr.AppendUint32(b, 0)
	return appendLateXData(b, v, m.XData)
}

func (d *decoder) decodeReaddirReply(op fop.Op, m *fop.ReaddirReply) {
	m.XData = d.status()
	least := 32
	if op == fop.OpReaddirp {
		least += oldIattSize + 4
		if d.v >= V400 {
			least += iattSize - oldIattSize + 8
		}
	}
	// op_ret is a hint of how many come; what it claims must fit the message.
	if n := min(int(d.ret), d.Len()/least); n > 0 {
		m.Entries = make([]fop.Dirent, 0, n)
	}
	for d.more(len(m.Entries)) {
		m.Entries = append(m.Entries, fop.Dirent{})
		e := &m.Entries[len(m.Entries)-1]
		e.Ino = d.Uint64()
		e.Off = d.Uint64()
		d.Uint32() // length of the name
		e.Type = d.Uint32()
		e.Name = d.String(maxName)
		if op == fop.OpReaddirp {
			d.iatt(&e.Stat)
			e.XData = d.dict()
		}
	}
	d.lateXData(&m.XData)
	m.EOF = d.ret >= 0 && d.errno == wireENOENT
}

// EntrySize returns about how many bytes an entry of READDIR or, with plus, of
// READDIRP takes in a message, for those who fill a listing of limited size.
func EntrySize(e *fop.Dirent, plus bool) int {
	n := 28 + xdr.OpaqueSize(len(e.Name))
	if plus {
		n += iattSize + 12
		for _, p := range e.XData.Pairs() {
			n += xdr.OpaqueSize(len(p.Key)+1) + 4 + xdr.OpaqueSize(len(p.Val.Bytes()))
		}
	}
	return n
}
