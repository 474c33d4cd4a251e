package server

import (
	"context"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xdr"
)

const opCompound = 49 // has no messages any more

// fopProgram serves the fops in one version.
func (s *Server) fopProgram(name string, v proto.Version) *rpc.Program {
	procs := make([]rpc.Proc, fop.OpCount)
	procs[fop.OpNull] = rpc.Proc{Name: "NULL", Inline: true, Handle: func(_ context.Context, call *rpc.Call) {
		call.Reply(&proto.NullReply{})
	}}
	for op := fop.Op(1); op < fop.OpCount; op++ {
		switch op {
		case fop.OpPut: // no brick has it
			continue
		case opCompound:
			procs[op] = rpc.Proc{Name: op.String(), Inline: true, Handle: func(_ context.Context, call *rpc.Call) {
				call.Fail(rpc.GarbageArgs)
			}}
			continue
		}
		procs[op] = rpc.Proc{
			Name: op.String(),
			Handle: func(ctx context.Context, call *rpc.Call) {
				s.serveFop(ctx, call, v, op)
			},
			Exempt:    mayWait(op) || unawaited(op),
			Unawaited: unawaited(op),
		}
	}
	return &rpc.Program{Name: name, Number: proto.ProgFop, Version: uint32(v), Procs: procs}
}

// mayWait tells the fops that wait for other clients: they must not keep those
// from being served that would end the wait.
func mayWait(op fop.Op) bool {
	switch op {
	case fop.OpLk, fop.OpInodelk, fop.OpFinodelk, fop.OpEntrylk, fop.OpFentrylk, fop.OpLease:
		return true
	}
	return false
}

// unawaited tells the fops that end the use of a file: a client does not wait
// for them, and they do not count against what it may have under way.
func unawaited(op fop.Op) bool { return op == fop.OpRelease || op == fop.OpReleasedir }

// fopReply encodes the answer to a fop. It is pooled: it crosses an interface.
type fopReply struct {
	v     proto.Version
	op    fop.Op
	reply fop.Reply
	err   error
}

// AppendXDR appends the message without its payload.
func (r *fopReply) AppendXDR(b []byte) []byte {
	b, _ = proto.AppendReply(b, r.v, r.op, r.reply, r.err)
	return b
}

var fopReplies = sync.Pool{New: func() any { return new(fopReply) }}

// serveFop is the way of one fop from the wire and back.
func (s *Server) serveFop(ctx context.Context, call *rpc.Call, v proto.Version, op fop.Op) {
	p := call.Conn.Value().(*peer)
	sess := p.session.Load()
	if sess == nil || !sess.enter() {
		call.Fail(rpc.GarbageArgs)
		return
	}
	defer sess.leave()
	req, fd, err := proto.DecodeRequest(v, uint32(op), call.Args)
	if err != nil {
		s.cfg.Log.Warn("arguments do not decode", "client", sess.Client.ID, "address", sess.Client.Addr, "err", err)
		call.Fail(rpc.GarbageArgs)
		return
	}
	s.fillHeader(req.Head(), &call.Cred, sess)
	var pinned *rpc.Buffer
	if q, ok := req.(*fop.Read); ok {
		pinned = s.prepareRead(ctx, sess, q, fd.A)
	}
	reply, err := sess.do(ctx, req, fd)
	out := fopReplies.Get().(*fopReply)
	*out = fopReply{v, op, reply, err}
	if pinned != nil {
		call.Own(pinned)
	}
	if r, ok := reply.(*fop.ReadReply); ok && err == nil {
		call.Reply(out, r.Data)
	} else {
		call.Reply(out)
	}
	*out = fopReply{}
	fopReplies.Put(out)
}

// maxWholeRead is the size up to which a READ gets a buffer on its word; for a
// larger one the file is asked first how much there is to read.
const maxWholeRead = 1 << 20

// prepareRead gives a READ the memory it reads into.
func (s *Server) prepareRead(ctx context.Context, sess *session, q *fop.Read, fd int64) *rpc.Buffer {
	if q.Size > maxWholeRead {
		probe := &fop.Fstat{Header: q.Header, GFID: q.GFID}
		probe.XData = nil
		have := uint64(0)
		if rep, err := sess.do(ctx, probe, proto.FdRefs{A: fd, N: 1}); err == nil {
			if r := rep.(*fop.StatReply); r.Stat.Size > q.Offset {
				have = r.Stat.Size - q.Offset
			}
		}
		q.Size = uint32(min(uint64(q.Size), max(have, maxWholeRead)))
	}
	if q.Size == 0 {
		return nil
	}
	buf := rpc.NewBuffer(int(q.Size))
	q.Into = buf.B[:q.Size]
	return buf
}

// fillHeader says on whose behalf a fop is done.
func (s *Server) fillHeader(h *fop.Header, c *rpc.Cred, sess *session) {
	h.From = &sess.Client
	h.Cred = fop.Cred{UID: c.UID, GID: c.GID, PID: c.PID, Groups: c.Groups, Owner: sess.owner(c.LockOwner)}
	if c.Flavor == rpc.AuthGlusterV3 {
		h.Time = fop.Stamp{Flags: c.TimeFlags, Sec: int64(c.CTimeSec), Nsec: c.CTimeNsec}
	}
	conf := s.conf.Load()
	conf.squash.apply(&h.Cred, sess.Client.Trusted)
	if conf.manageGIDs {
		h.Cred.Groups = s.groups.groups(h.Cred.UID, conf.gidTimeout)
	}
}

// owner makes a string of a lock owner. Most calls of a client have the same
// one as the call before: its pid.
func (s *session) owner(b []byte) string {
	if p := s.lastOwner.Load(); p != nil && *p == string(b) {
		return *p
	}
	o := string(b)
	s.lastOwner.Store(&o)
	return o
}

// handshakeProgram serves what a client says before it may send fops.
func (s *Server) handshakeProgram() *rpc.Program {
	pong := func(_ context.Context, call *rpc.Call) { call.Reply(&proto.NullReply{}) }
	return &rpc.Program{
		Name: "GlusterFS Handshake", Number: proto.ProgHandshake, Version: proto.VersHandshake,
		Procs: []rpc.Proc{
			0:                        {Name: "NULL", Handle: pong, Inline: true, Exempt: true},
			proto.HandshakeSetvolume: {Name: "SETVOLUME", Handle: s.serveSetvolume},
			proto.HandshakeGetspec:   {Name: "GETSPEC", Handle: serveGetspec, Inline: true},
			proto.HandshakePing:      {Name: "PING", Handle: pong, Inline: true, Exempt: true},
			proto.HandshakeSetLkVer:  {Name: "SET_LK_VER", Handle: serveSetLkVer, Inline: true},
		},
	}
}

func (s *Server) serveSetvolume(ctx context.Context, call *rpc.Call) {
	d := xdr.NewDecoder(call.Args)
	body := d.Opaque(xdr.NoLimit)
	if d.Finish() != nil {
		call.Fail(rpc.GarbageArgs)
		return
	}
	dict, err := proto.DecodeOldDict(body)
	if err != nil {
		reply := fop.NewDict(fop.Pair{Key: "ERROR", Val: fop.Str("Internal error: failed to unserialize request dictionary")})
		call.Reply(&proto.SetvolumeReply{Ret: -1, Errno: proto.ErrnoToWire(syscall.EINVAL), Dict: reply})
		return
	}
	p := call.Conn.Value().(*peer)
	reply, errno := s.setVolume(ctx, p, string(call.Cred.AppendXDR(nil)), dict)
	if errno != 0 {
		call.Reply(&proto.SetvolumeReply{Ret: -1, Errno: proto.ErrnoToWire(errno), Dict: reply})
		return
	}
	call.Reply(&proto.SetvolumeReply{Dict: reply})
}

// serveGetspec tells who mistakes a brick for a management daemon.
func serveGetspec(_ context.Context, call *rpc.Call) {
	var req proto.GetspecRequest
	if req.Decode(call.Args) != nil {
		call.Fail(rpc.GarbageArgs)
		return
	}
	call.Reply(&proto.GetspecReply{Ret: -1, Errno: proto.ErrnoToWire(syscall.ENOSYS), Spec: "volfiles are served by the management daemon, not by bricks"})
}

func serveSetLkVer(_ context.Context, call *rpc.Call) {
	var req proto.SetLkVerRequest
	if req.Decode(call.Args) != nil {
		call.Fail(rpc.GarbageArgs)
		return
	}
	call.Reply(&proto.SetLkVerReply{LkVer: req.LkVer})
}
