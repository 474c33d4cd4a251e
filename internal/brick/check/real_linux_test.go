package check_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/brick/check"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/posix"
)

// TestRealBrick passes a brick directory from GlusterFS to this implementation
// and back; the checker must find nothing in what either of them wrote.
func TestRealBrick(t *testing.T) {
	testenv.Need(t, "glusterd", "setfattr")
	g := testenv.Gluster(t)
	brick := filepath.Join(testenv.LoopFS(t, "xfs", 512), "brick")
	g.Volume(t, "data", brick)
	mnt := g.Mount(t, "data")
	sh := func(script string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Dir = mnt
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	sh(`mkdir -p a/b/c; echo one >a/f; ln a/f a/b/hard; ln -s ../x a/sym; mkfifo a/pipe; echo gone >a/gone; rm a/gone
		mkdir d1; mv d1 a/b/d2; echo over >a/o1; echo under >a/o2; mv a/o1 a/o2; setfattr -n user.k -v v a/f; chmod 2775 a/b; chown 12:34 a/f`)
	stop := func() {
		t.Helper()
		g.MustCLI(t, "volume", "stop", "data", "force")
	}
	stop()
	clean := func(who string) {
		t.Helper()
		if sum, _ := run(t, brick, check.Options{}); sum.Problems != 0 || sum.Files < 5 || sum.Dirs < 4 {
			t.Fatalf("after %s: %+v", who, sum)
		}
	}
	clean("GlusterFS")

	h, err := posix.New(xlator.Config{Name: "posix", Options: xlator.Options{"directory": brick, "volume-id": g.Info(t, "data", "volume-id"), "reserve": "0"}})
	if err != nil {
		t.Fatal(err)
	}
	look := func(parent fop.GFID, name string) fop.Iatt {
		t.Helper()
		return do(t, h, &fop.Lookup{Parent: parent, Name: name}).Stat
	}
	head := func() fop.Header {
		return fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())}),
			Time: fop.Stamp{Flags: 31, Sec: 1234567890, Nsec: 5}}
	}
	a := look(fop.RootGFID, "a").GFID
	f := look(a, "f")
	if f.Nlink != 2 || f.UID != 12 || f.GID != 34 || f.Size != 4 {
		t.Errorf("file of GlusterFS: %+v", f)
	}
	if x := do(t, h, &fop.Getxattr{GFID: f.GFID, Name: "glusterfs.gfidtopath"}).Dict.Text("glusterfs.gfidtopath"); x != "/a/b/hard:/a/f" && x != "/a/f:/a/b/hard" {
		t.Errorf("paths %q", x)
	}
	b := look(a, "b")
	if b.Mode&0o7777 != 0o2775 {
		t.Errorf("mode %o", b.Mode)
	}
	if target := do(t, h, &fop.Readlink{GFID: look(a, "sym").GFID, Size: 100}).Target; target != "../x" {
		t.Errorf("target %q", target)
	}
	do(t, h, &fop.Rename{Header: head(), OldParent: a, OldName: "b", NewParent: fop.RootGFID, NewName: "b2"})
	m := do(t, h, &fop.Mkdir{Header: head(), Parent: b.GFID, Name: "ours", Mode: 0o755}).Stat.GFID
	fd := &fop.Fd{}
	c := do(t, h, &fop.Create{Header: head(), Parent: m, Name: "file", Mode: 0o640, Flags: fop.ORdwr, Fd: fd}).Stat.GFID
	do(t, h, &fop.Write{Header: head(), GFID: c, Fd: fd, Data: []byte("written by us\n")})
	do(t, h, &fop.Release{Fd: fd})
	do(t, h, &fop.Link{Header: head(), GFID: c, Parent: a, Name: "link"})
	do(t, h, &fop.Symlink{Header: head(), Parent: a, Name: "sym2", Target: "link"})
	do(t, h, &fop.Unlink{Header: head(), Parent: a, Name: "o2"})
	do(t, h, &fop.Rename{Header: head(), OldParent: a, OldName: "f", NewParent: m, NewName: "f2"})
	if err := h.(xlator.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	clean("us")

	g.StartVolume(t, "data")
	mnt = g.Mount(t, "data")
	got := sh(`cat b2/ours/file a/sym2 b2/ours/f2 b2/hard; stat -c '%h %u %Y' b2/ours/f2 a/link; getfattr --only-values -n user.k b2/ours/f2; ls a b2
		mv b2 a/b3; mv a/b3/ours/file a/link2; rm a/sym2; rm -r a/b3/c`)
	want := []string{"written by us", "written by us", "one", "one", "2 12 ", "2 0 1234567890", "v"}
	at := 0
	for _, w := range want {
		i := strings.Index(got[at:], w)
		if i < 0 {
			t.Fatalf("GlusterFS shows %q; missing %q", got, w)
		}
		at += i + len(w)
	}
	if strings.Contains(got, "o2") {
		t.Errorf("a removed file is still there: %q", got)
	}
	stop()
	clean("GlusterFS again")
	if _, err := os.Stat(filepath.Join(brick, "a/link2")); err != nil {
		t.Error(err)
	}
}
