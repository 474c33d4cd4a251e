package mounter

import (
	"io"

	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/xlator"
)

// statedump writes the state of the process to a file, in GlusterFS's form.
func (p *process) statedump() {
	path, err := graph.Statedump(dumpDir, "glusterdump", func(w io.Writer) {
		err := p.session.Dump(w, func(w io.Writer) { graph.DumpVolume(w, p.master()) })
		if err != nil {
			p.log.Error("statedump", "err", err)
		}
	})
	if err != nil {
		p.log.Error("statedump", "err", err)
		return
	}
	p.log.Info("statedump", "file", path)
}

// master is the mount as a statedump and .meta show it, above the graph.
func (p *process) master() xlator.Volume {
	v := xlator.Volume{Name: "fuse", Type: "mount/fuse"}
	if p.args.AuxGFID {
		v.Options = append(v.Options, xlator.Setting{Key: "virtual-gfid-access", Value: "on"})
	}
	if server := p.server.Load(); server != nil {
		v.Handler = server
	}
	return v
}
