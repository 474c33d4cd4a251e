package record_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
	"github.com/wythefs/wythe/internal/xlator/mem"
	"github.com/wythefs/wythe/internal/xlator/record"
)

func TestLines(t *testing.T) {
	r := record.New(mem.NewFS(nil))
	v, ctx, c := volume.New(r), context.Background(), &fop.Cred{}
	d, err := v.Mkdir(ctx, c, fop.RootGFID, "d", 0o777, 0o022)
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := v.Create(ctx, c, d.GFID, "motd", fop.ORdwr, 0o666, 0o022)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt(ctx, c, []byte("Winter is coming."), 0)
	f.ReadAt(ctx, c, make([]byte, 100), 0)
	f.Lock(ctx, &fop.Cred{Owner: "x"}, fop.LkSet, fop.LockWrite, 0, 10)
	f.Setxattr(ctx, c, "user.x", nil, 0)
	f.Close(ctx, c)
	v.Symlink(ctx, c, fop.RootGFID, "l", "d/motd")
	v.Rename(ctx, c, d.GFID, "motd", fop.RootGFID, "m")
	v.Lookup(ctx, c, d.GFID, "motd")
	v.Unlink(ctx, c, fop.RootGFID, "m")
	want := `MKDIR / "d" 0755 → g1
CREATE g1 "motd" 0100644 → g2
WRITE g2 (fd) 0+17 → 17
READ g2 (fd) 0+100 → 17
LK g2 (fd) cmd 1 type 1 0+10
FSETXATTR g2 (fd) "user.x"
FLUSH g2 (fd)
RELEASE g2 (fd)
SYMLINK / "l" "d/motd" → g3
RENAME g1 "motd" / "m"
LOOKUP g1 "motd" → ENOENT
UNLINK / "m"
`
	if d := cmp.Diff(want, r.Take()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := r.Take(); got != "" {
		t.Errorf("a second Take gives %q", got)
	}
}
