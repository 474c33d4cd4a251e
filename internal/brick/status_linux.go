package brick

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/xlator"
)

// Bits of the status command.
const (
	statusMem        = 0x1
	statusClients    = 0x2
	statusInode      = 0x4
	statusFd         = 0x8
	statusCallpool   = 0x10
	statusClientList = 0x80
	statusMask       = 0xff
)

// opStatus answers `gluster volume status VOLUME BRICK clients|fd|inode|
// callpool|mem` with the keys that the command line prints.
func (p *process) opStatus(req *proto.BrickOpRequest) opResult {
	input, err := proto.DecodeOldDict(req.Input)
	if err != nil || !input.Has("cmd") {
		return failOp(syscall.EINVAL, "the request does not decode")
	}
	name := input.Text("brick-name")
	if name == "" {
		return failOp(syscall.EINVAL, "brick-name is missing")
	}
	// glusterd gives host and path here, and the path alone in the name.
	if !slices.Contains(p.brick.Names(), name) {
		name = req.Name
	}
	if !slices.Contains(p.brick.Names(), name) {
		return failOp(syscall.ENOENT, "brick %s is not in this process", name)
	}
	d := &fop.Dict{}
	switch input.Int("cmd") & statusMask {
	case statusMem:
		memStatus(d)
	case statusClients, statusClientList:
		p.clientStatus(d, name)
	case statusFd:
		p.fdStatus(d, name)
	case statusInode:
		p.inodeStatus(d, name)
	case statusCallpool:
		p.callpoolStatus(d, name)
	default:
		return failOp(syscall.EINVAL, "Unknown status op")
	}
	return dictOp(d)
}

// memStatus reports the Go heap in the words of mallinfo(3).
func memStatus(d *fop.Dict) {
	for _, m := range xlator.Mallinfo() {
		d.Set("mallinfo."+m.Key, fop.Int(int64(min(m.N, 1<<31-1))))
	}
	d.Set("mempool-count", fop.Int(0))
}

func (p *process) clientStatus(d *fop.Dict, brick string) {
	clients := p.brick.server.Clients(brick)
	for i, c := range clients {
		at := fmt.Sprintf("client%d.", i)
		d.Set(at+"hostname", fop.Str(c.Addr))
		d.Set(at+"bytesread", fop.Uint(c.BytesIn))
		d.Set(at+"byteswrite", fop.Uint(c.BytesOut))
		d.Set(at+"opversion", fop.Uint(uint64(c.OpVersion)))
		d.Set(at+"name", fop.Str(c.Name))
	}
	d.Set("clientcount", fop.Int(int64(len(clients))))
}

func (p *process) fdStatus(d *fop.Dict, brick string) {
	clients := p.brick.server.Clients(brick)
	d.Set("conncount", fop.Int(int64(len(clients))))
	for i, c := range clients {
		at := fmt.Sprintf("conn%d.fdtable.", i)
		d.Set(at+"refcount", fop.Int(1))
		d.Set(at+"maxfds", fop.Uint(uint64(c.FdSlots)))
		d.Set(at+"firstfree", fop.Int(int64(c.FirstFree)))
		d.Set(at+"openfds", fop.Int(int64(len(c.Fds))))
		for _, f := range c.Fds {
			entry := fmt.Sprintf("%sfdentry%d.", at, f.Number)
			d.Set(entry+"pid", fop.Int(0))
			d.Set(entry+"refcount", fop.Int(int64(f.Refs)))
			d.Set(entry+"flags", fop.Int(int64(f.Flags)))
		}
	}
}

// inodeStatus lists the objects that clients have open. The brick has no inode
// table; what is not open is not counted.
func (p *process) inodeStatus(d *fop.Dict, brick string) {
	clients := p.brick.server.Clients(brick)
	d.Set("conncount", fop.Int(int64(len(clients))))
	for i, c := range clients {
		at := fmt.Sprintf("conn%d.itable.", i)
		refs := map[fop.GFID]int{}
		dirs := map[fop.GFID]bool{}
		var order []fop.GFID
		for _, f := range c.Fds {
			if refs[f.GFID] == 0 {
				order = append(order, f.GFID)
			}
			refs[f.GFID]++
			dirs[f.GFID] = f.Dir
		}
		d.Set(at+"lru_limit", fop.Uint(0))
		d.Set(at+"active_size", fop.Uint(uint64(len(order))))
		d.Set(at+"lru_size", fop.Uint(0))
		d.Set(at+"purge_size", fop.Uint(0))
		const regular, directory = 1, 2
		for k, g := range order {
			entry := fmt.Sprintf("%sactive%d.", at, k)
			kind := int64(regular)
			if dirs[g] {
				kind = directory
			}
			d.Set(entry+"gfid", fop.Str(g.String()))
			d.Set(entry+"nlookup", fop.Uint(1))
			d.Set(entry+"ref", fop.Uint(uint64(refs[g])))
			d.Set(entry+"ia_type", fop.Int(kind))
		}
	}
}

// callpoolStatus says how many fops are under way.
func (p *process) callpoolStatus(d *fop.Dict, brick string) {
	n := 0
	for _, c := range p.brick.server.Clients(brick) {
		for range c.InFlight {
			at := fmt.Sprintf("callpool.stack%d.", n)
			for _, key := range []string{"uid", "gid", "pid", "unique", "count"} {
				d.Set(at+key, fop.Int(0))
			}
			n++
		}
	}
	d.Set("callpool.count", fop.Int(int64(n)))
}

// opMetrics returns the name of a file with the state of the process, which is
// what DUMP_METRICS is for.
func (p *process) opMetrics(*proto.BrickOpRequest) opResult {
	file, err := p.statedump()
	if err != nil {
		return failOp(fop.Errno(err), "%v", err)
	}
	return dictOp(fop.NewDict(fop.Pair{Key: "file", Val: fop.Str(file)}))
}

// statedump writes the state of the process to a file, in GlusterFS's form.
func (p *process) statedump() (string, error) {
	dir := "/var/run/gluster"
	if file, err := p.brick.prepare(p.brick.graph.File()); err == nil {
		if s, ok := file.Top().Get("statedump-path"); ok {
			dir = s
		}
	}
	name := "glusterdump"
	if p.args.brickName != "" {
		name = strings.ReplaceAll(strings.TrimPrefix(p.args.brickName, "/"), "/", "-")
	}
	path, err := graph.Statedump(dir, name, func(w io.Writer) {
		calls := 0
		for _, name := range p.brick.Names() {
			for _, c := range p.brick.server.Clients(name) {
				calls += c.InFlight
			}
		}
		p.brick.graph.DumpCalls(w, calls)
		fmt.Fprint(w, "[active graph - 0]\n\n")
		p.brick.Dump(w)
	})
	if err != nil {
		p.log.Error("statedump", "err", err)
	} else {
		p.log.Info("statedump", "file", path)
	}
	return path, err
}
