//go:build linux

package posix

import (
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// TestSyscallsForStrace is not a test of its own: run it under strace to see
// the system calls of each fop, between the writes to descriptor 1000000.
func TestSyscallsForStrace(t *testing.T) {
	r := newRig(t)
	d := r.mkdir(fop.RootGFID, "dir")
	f := r.create(d, "warm", "x")
	r.lookup(d, "warm")
	mark := func(s string) { sysWriteMark(s) }
	mark("lookup warm")
	r.lookup(d, "warm")
	mark("stat")
	must(r, &fop.Stat{GFID: f})
	mark("lookup missing")
	call(r, &fop.Lookup{Parent: d, Name: "no"})
	mark("create")
	fd := &fop.Fd{}
	g := fop.NewGFID()
	must(r, &fop.Create{Header: r.head(newFlags, gfidReq(g)), Parent: d, Name: "new", Mode: 0o644, Flags: fop.ORdwr | fop.OExcl, Fd: fd})
	mark("write")
	must(r, &fop.Write{Header: r.head(fop.TimeMtime | fop.TimeCtime), GFID: g, Fd: fd, Data: []byte("hello")})
	mark("read")
	must(r, &fop.Read{GFID: g, Fd: fd, Size: 4096})
	mark("release")
	must(r, &fop.Release{Fd: fd})
	mark("open")
	fd = &fop.Fd{}
	must(r, &fop.Open{GFID: g, Flags: fop.ORdonly, Fd: fd})
	mark("release ro")
	must(r, &fop.Release{Fd: fd})
	mark("anon read")
	must(r, &fop.Read{GFID: g, Size: 4096})
	mark("anon read 2")
	must(r, &fop.Read{GFID: g, Size: 4096})
	mark("unlink")
	must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "new"})
	mark("mkdir")
	r.mkdir(d, "sub")
	mark("rename")
	must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: d, OldName: "warm", NewParent: d, NewName: "warm2"})
	mark("end")
}
