// Package record writes down the fops that pass, one line each, for golden
// traces: "this call makes these fops". Lines are the same in every run: gfids
// are replaced by the order in which they show up (g1, g2, …; / is the root).
//
//	LOOKUP / "motd" → g1
//	READ g1 0+4096 → 17
//	UNLINK / "motd"
//	LOOKUP / "motd" → ENOENT
package record

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

// Recorder is a handler that passes everything on and remembers it. With calls
// at the same time, lines stand in the order in which the calls returned.
type Recorder struct {
	child fop.Handler

	mu    sync.Mutex
	names map[fop.GFID]string
	lines []string
}

// New makes a recorder over child.
func New(child fop.Handler) *Recorder {
	return &Recorder{child: child, names: map[fop.GFID]string{fop.RootGFID: "/"}}
}

// Do passes a fop on.
func (r *Recorder) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	reply, err := r.child.Do(ctx, req)
	r.mu.Lock()
	defer r.mu.Unlock()
	line := r.describe(req)
	if err != nil {
		line += " → " + errnoName(err)
	} else if got := r.result(reply); got != "" {
		line += " → " + got
	}
	r.lines = append(r.lines, line)
	return reply, err
}

// Take returns the lines since the last Take, each with a newline.
func (r *Recorder) Take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, line := range r.lines {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	r.lines = nil
	return b.String()
}

// name gives a gfid its name; r.mu is held.
func (r *Recorder) name(g fop.GFID) string {
	if g.IsZero() {
		return "-"
	}
	n, ok := r.names[g]
	if !ok {
		n = fmt.Sprintf("g%d", len(r.names))
		r.names[g] = n
	}
	return n
}

// describe is what is asked.
func (r *Recorder) describe(req fop.Request) string {
	g, fd := fop.Target(req)
	s := req.Op().String()
	if !g.IsZero() {
		s += " " + r.name(g)
	}
	if fd != nil {
		s += " (fd)"
	}
	switch q := req.(type) {
	case *fop.Lookup:
		s += quoted(q.Name)
	case *fop.Create:
		s += fmt.Sprintf("%s %#o", quoted(q.Name), q.Mode)
	case *fop.Mkdir:
		s += fmt.Sprintf("%s %#o", quoted(q.Name), q.Mode)
	case *fop.Mknod:
		s += fmt.Sprintf("%s %#o", quoted(q.Name), q.Mode)
	case *fop.Symlink:
		s += quoted(q.Name) + quoted(q.Target)
	case *fop.Unlink:
		s += quoted(q.Name)
	case *fop.Rmdir:
		s += quoted(q.Name)
	case *fop.Link:
		s = "LINK " + r.name(q.GFID) + " " + r.name(q.Parent) + quoted(q.Name)
	case *fop.Rename:
		s += quoted(q.OldName) + " " + r.name(q.NewParent) + quoted(q.NewName)
	case *fop.Read:
		s += fmt.Sprintf(" %d+%d", q.Offset, q.Size)
	case *fop.Write:
		s += fmt.Sprintf(" %d+%d", q.Offset, len(q.Data))
	case *fop.Truncate:
		s += fmt.Sprintf(" %d", q.Offset)
	case *fop.Ftruncate:
		s += fmt.Sprintf(" %d", q.Offset)
	case *fop.Readdir:
		s += fmt.Sprintf(" %d+%d", q.Offset, q.Size)
	case *fop.Readdirp:
		s += fmt.Sprintf(" %d+%d", q.Offset, q.Size)
	case *fop.Getxattr:
		s += quoted(q.Name)
	case *fop.Fgetxattr:
		s += quoted(q.Name)
	case *fop.Removexattr:
		s += quoted(q.Name)
	case *fop.Fremovexattr:
		s += quoted(q.Name)
	case *fop.Setxattr:
		s += keys(q.Dict)
	case *fop.Fsetxattr:
		s += keys(q.Dict)
	case *fop.Xattrop:
		s += keys(q.Dict)
	case *fop.Fxattrop:
		s += keys(q.Dict)
	case *fop.Setattr:
		s += fmt.Sprintf(" %#x", uint32(q.Valid))
	case *fop.Fsetattr:
		s += fmt.Sprintf(" %#x", uint32(q.Valid))
	case *fop.Lk:
		s += lock(q.Cmd, q.Type, q.Flock)
	case *fop.Inodelk:
		s += lock(q.Cmd, q.Type, q.Flock) + quoted(q.Domain)
	case *fop.Finodelk:
		s += lock(q.Cmd, q.Type, q.Flock) + quoted(q.Domain)
	case *fop.Entrylk:
		s += fmt.Sprintf(" cmd %d%s%s", q.Cmd, quoted(q.Name), quoted(q.Domain))
	case *fop.Fentrylk:
		s += fmt.Sprintf(" cmd %d%s%s", q.Cmd, quoted(q.Name), quoted(q.Domain))
	}
	return s
}

// result is what came back, where that is of interest.
func (r *Recorder) result(reply fop.Reply) string {
	switch p := reply.(type) {
	case *fop.LookupReply:
		return r.name(p.Stat.GFID)
	case *fop.CreateReply:
		return r.name(p.Stat.GFID)
	case *fop.EntryReply:
		return r.name(p.Stat.GFID)
	case *fop.ReadReply:
		return fmt.Sprint(len(p.Data))
	case *fop.WriteReply:
		return fmt.Sprint(p.Size)
	case *fop.ReadlinkReply:
		return fmt.Sprintf("%q", p.Target)
	case *fop.ReaddirReply:
		return fmt.Sprintf("%d entries", len(p.Entries))
	case *fop.SeekReply:
		return fmt.Sprint(p.Offset)
	}
	return ""
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(" %q", s)
}

func keys(d *fop.Dict) string {
	var s string
	for _, p := range d.Pairs() {
		s += quoted(p.Key)
	}
	return s
}

func lock(cmd, typ uint32, f fop.Flock) string {
	return fmt.Sprintf(" cmd %d type %d %d+%d", cmd, typ, f.Start, f.Len)
}
