package brick

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

// serveOps answers glusterd's brick operations on the socket of -S. glusterd
// keeps a connection to it: the brick is shown online as long as it stands.
func (p *process) serveOps() error {
	path := p.args.socketFile
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// What a process that was killed left behind. Nobody else listens there:
	// the pid file, which goes with it, is locked by us.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("socket for brick operations: %w", err)
	}
	os.Chmod(path, 0o600)
	p.ops = &rpc.Server{Programs: []*rpc.Program{rpc.Dump(), p.opsProgram()}, Log: p.log}
	go p.ops.Serve(context.Background(), l)
	return nil
}

func (p *process) opsProgram() *rpc.Program {
	procs := make([]rpc.Proc, proto.BrickOpSvcDetach+1)
	procs[0] = rpc.Proc{Name: "NULL", Inline: true, Handle: func(_ context.Context, call *rpc.Call) { call.Reply(nil) }}
	add := func(proc int, name string, f func(*proto.BrickOpRequest) opResult) {
		procs[proc] = rpc.Proc{Name: name, Handle: func(_ context.Context, call *rpc.Call) {
			var req proto.BrickOpRequest
			if err := req.Decode(call.Args); err != nil {
				call.Fail(rpc.GarbageArgs)
				return
			}
			p.log.Debug("brick operation", "name", name, "brick", req.Name, "op", req.Op)
			r := f(&req)
			call.Reply(&r.BrickOpReply)
			if r.then != nil {
				r.then()
			}
		}}
	}
	add(proto.BrickOpTerminate, "TERMINATE", p.opTerminate)
	add(proto.BrickOpXlatorInfo, "XLATOR_INFO", p.opInfo)
	add(proto.BrickOpXlatorOp, "XLATOR_OP", notHere("translator operations are for the self-heal daemon"))
	add(proto.BrickOpStatus, "STATUS", p.opStatus)
	add(proto.BrickOpXlatorDefrag, "XLATOR_DEFRAG", notHere("this process is a brick, not a rebalance"))
	add(proto.BrickOpNodeProfile, "NODE_PROFILE", p.opInfo)
	add(proto.BrickOpNodeStatus, "NODE_STATUS", p.opStatus)
	add(proto.BrickOpVolumeBarrier, "VOLUME_BARRIER_OP", p.opBarrier)
	add(proto.BrickOpBarrier, "BARRIER", p.opBarrier)
	add(proto.BrickOpNodeBitrot, "NODE_BITROT", notHere("this process is a brick, not a scrubber"))
	add(proto.BrickOpAttach, "ATTACH", notHere("this brick process takes no further bricks; set cluster.brick-multiplex off"))
	add(proto.BrickOpDumpMetrics, "DUMP_METRICS", p.opMetrics)
	add(proto.BrickOpSvcAttach, "SVC_ATTACH", notHere("this process is a brick, not a self-heal daemon"))
	add(proto.BrickOpSvcDetach, "SVC_DETACH", notHere("this process is a brick, not a self-heal daemon"))
	return &rpc.Program{Name: "Gluster Brick operations", Number: proto.ProgBrickOp, Version: proto.VersBrickOp, Procs: procs}
}

// opResult is an answer and what is to be done once it is given.
type opResult struct {
	proto.BrickOpReply
	then func()
}

func failOp(errno syscall.Errno, format string, args ...any) opResult {
	return opResult{BrickOpReply: proto.BrickOpReply{Ret: -1, Errno: proto.ErrnoToWire(errno), Errstr: fmt.Sprintf(format, args...)}}
}

func dictOp(d *fop.Dict) opResult {
	return opResult{BrickOpReply: proto.BrickOpReply{Output: appendDict(d)}}
}

// appendDict serializes a dictionary without the length before it, which the
// message has anyway.
func appendDict(d *fop.Dict) []byte {
	b := proto.AppendOldDict(nil, d)
	if len(b) < 4 {
		return nil
	}
	n := int(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
	return b[4 : 4+n]
}

func notHere(why string) func(*proto.BrickOpRequest) opResult {
	return func(*proto.BrickOpRequest) opResult { return failOp(syscall.ENOTSUP, "%s", why) }
}

// opTerminate ends the process. It answers success whatever brick is named, as
// glusterfsd does.
func (p *process) opTerminate(req *proto.BrickOpRequest) opResult {
	r := opResult{}
	for _, name := range p.brick.Names() {
		if name == req.Name {
			r.then = func() {
				select {
				case p.stop <- "TERMINATE by glusterd":
				default:
				}
			}
			return r
		}
	}
	p.log.Warn("TERMINATE names a brick that is not here", "brick", req.Name)
	return r
}

// opBarrier is for volumes whose barrier is off, or has been switched on by the
// volfile: the barrier translator follows its option.
func (p *process) opBarrier(req *proto.BrickOpRequest) opResult {
	input, err := proto.DecodeOldDict(req.Input)
	if err != nil {
		return failOp(syscall.EINVAL, "the request does not decode")
	}
	if !input.Bool("barrier") {
		return opResult{}
	}
	return failOp(syscall.ENOTSUP, "this brick has no barrier; snapshots need one")
}

// opInfo answers `gluster volume profile … info` and `volume top`.
func (p *process) opInfo(req *proto.BrickOpRequest) opResult {
	input, err := proto.DecodeOldDict(req.Input)
	if err != nil {
		return failOp(syscall.EINVAL, "the request does not decode")
	}
	const infoAll, infoIncremental, infoCumulative, infoClear = 1, 2, 3, 4
	d := &fop.Dict{}
	switch op := input.Int("info-op"); op {
	case infoClear:
		d.Set("stats-cleared", fop.Int(1))
		return dictOp(d)
	case infoAll, infoIncremental, infoCumulative:
		up := strconv.FormatInt(int64(p.uptime().Seconds()), 10)
		var in, out uint64
		for _, name := range p.brick.Names() {
			for _, c := range p.brick.server.Clients(name) {
				in, out = in+c.BytesIn, out+c.BytesOut
			}
		}
		if op != infoIncremental {
			d.Set("cumulative", fop.Int(-1))
			d.Set("-1-duration", fop.Str(up))
			d.Set("-1-total-read", fop.Uint(out))
			d.Set("-1-total-write", fop.Uint(in))
		}
		if op != infoCumulative {
			d.Set("interval", fop.Int(0))
			d.Set("0-duration", fop.Str(up))
			d.Set("0-total-read", fop.Uint(out))
			d.Set("0-total-write", fop.Uint(in))
		}
	}
	return dictOp(d)
}
