package brick

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
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

// opBarrier raises and lowers the barrier for snapshots.
func (p *process) opBarrier(req *proto.BrickOpRequest) opResult {
	input, err := proto.DecodeOldDict(req.Input)
	if err != nil {
		return failOp(syscall.EINVAL, "the request does not decode")
	}
	// The request names the brick or its volume; a process has one of each.
	up := input.Bool("barrier")
	for _, h := range p.brick.graph.FindType("features/barrier") {
		gate, ok := h.(xlator.Gate)
		if !ok {
			continue
		}
		if up {
			err = gate.Raise()
		} else {
			err = gate.Lower()
		}
		if err != nil {
			return failOp(fop.Errno(err), "%v", err)
		}
		return opResult{}
	}
	if up {
		return failOp(syscall.ENOTSUP, "the brick's volfile has no features/barrier")
	}
	return opResult{}
}

// opInfo answers `gluster volume profile … info`. It keeps no statistics by file,
// so it refuses `volume top`.
func (p *process) opInfo(req *proto.BrickOpRequest) opResult {
	input, err := proto.DecodeOldDict(req.Input)
	if err != nil {
		return failOp(syscall.EINVAL, "the request does not decode")
	}
	if !input.Has("info-op") {
		return failOp(syscall.ENOTSUP, "volume top: this brick keeps no statistics by file; see volume profile")
	}
	h, _ := p.brick.graph.Find(req.Name)
	counter, ok := h.(xlator.Profiler)
	if !ok {
		return failOp(syscall.ENOENT, "brick %s counts no fops here", req.Name)
	}
	return dictOp(counter.Profile(input.Int("info-op"), input.Bool("peek")))
}
