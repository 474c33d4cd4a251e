//go:build linux

package posix

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestSteps compares the order of the changes that each entry fop makes to the
// disk with testdata/steps.txt. That order is what crash safety rests on.
func TestSteps(t *testing.T) {
	var mu sync.Mutex
	var steps []string
	Step = func(s string) { mu.Lock(); steps = append(steps, s); mu.Unlock() }
	r := newRig(t, "update-link-count-parent", "on")
	Step = nil
	var out strings.Builder
	trace := func(what string, f func()) {
		t.Helper()
		steps = nil
		f()
		fmt.Fprintf(&out, "%s: %s\n", what, strings.Join(steps, " "))
	}
	acl := fop.Pair{Key: fop.XattrACLAccess, Val: fop.Bytes(appendACL(nil, modeACL(0o640)))}
	layout := fop.Pair{Key: fop.XattrDHT, Val: fop.Bytes(make([]byte, 16))}
	var d, e, f fop.GFID
	trace("mkdir", func() { d = r.mkdir(fop.RootGFID, "d", layout) })
	e = r.mkdir(fop.RootGFID, "e")
	trace("create", func() { f = r.create(d, "f", "") })
	trace("create with acl and xattr", func() { r.create(d, "g", "", acl, fop.Pair{Key: "user.a", Val: fop.Str("b")}) })
	trace("mknod", func() {
		must(r, &fop.Mknod{Header: r.head(newFlags, gfidReq(fop.NewGFID())), Parent: d, Name: "p", Mode: fop.ModeFIFO | 0o600})
	})
	trace("symlink", func() {
		must(r, &fop.Symlink{Header: r.head(newFlags, gfidReq(fop.NewGFID())), Parent: d, Name: "s", Target: "x"})
	})
	trace("link", func() { must(r, &fop.Link{Header: r.head(rmFlags), GFID: f, Parent: e, Name: "hard"}) })
	trace("rename file", func() {
		must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: e, OldName: "hard", NewParent: d, NewName: "hard2"})
	})
	trace("rename over file", func() {
		must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: d, OldName: "hard2", NewParent: d, NewName: "g"})
	})
	trace("rename two names of one file", func() {
		must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: d, OldName: "f", NewParent: d, NewName: "g"})
	})
	trace("unlink of two names", func() { must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "g"}) })
	trace("unlink of the last name", func() { must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "f"}) })
	trace("unlink of a symlink", func() { must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "s"}) })
	open := &fop.Fd{}
	must(r, &fop.Create{Header: r.head(newFlags, gfidReq(fop.NewGFID())), Parent: d, Name: "o", Mode: 0o600, Flags: fop.ORdwr | fop.OExcl, Fd: open})
	trace("unlink of an open file", func() { must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "o"}) })
	trace("release of an unlinked file", func() { must(r, &fop.Release{Fd: open}) })
	trace("rename directory", func() {
		must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: fop.RootGFID, OldName: "e", NewParent: d, NewName: "e2"})
	})
	r.mkdir(d, "empty")
	trace("rename over directory", func() {
		must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: d, OldName: "e2", NewParent: d, NewName: "empty"})
	})
	trace("rmdir", func() { must(r, &fop.Rmdir{Header: r.head(rmFlags), Parent: d, Name: "empty"}) })
	trace("rmdir of a tree", func() { must(r, &fop.Rmdir{Header: r.head(rmFlags), Parent: fop.RootGFID, Name: "d", Flags: 1}) })
	const golden = "testdata/steps.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the order of steps changed (-update rewrites %s):\n%s", golden, out.String())
	}
}
