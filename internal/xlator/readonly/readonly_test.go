package readonly

import (
	"context"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func newReadOnly(t *testing.T, child fop.Handler, on string) fop.Handler {
	h, err := New(xlator.Config{Children: []xlator.Child{{Handler: child}}, Options: xlator.Options{"read-only": on}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newReadOnly(t, mem.NewFS(nil), "off") },
		conformance.Options{Locks: true, Devices: true})
}

// TestEveryFop: with the option on each fop is either refused or passed on, as
// listed; a daemon is never refused.
func TestEveryFop(t *testing.T) {
	refused := map[fop.Op]bool{}
	for _, o := range []fop.Op{
		fop.OpSetattr, fop.OpFsetattr, fop.OpTruncate, fop.OpFtruncate, fop.OpFallocate, fop.OpDiscard, fop.OpZerofill,
		fop.OpMknod, fop.OpMkdir, fop.OpUnlink, fop.OpRmdir, fop.OpSymlink, fop.OpRename, fop.OpLink, fop.OpCreate, fop.OpPut,
		fop.OpSetxattr, fop.OpFsetxattr, fop.OpRemovexattr, fop.OpFremovexattr, fop.OpFsyncdir, fop.OpWrite,
		fop.OpCopyFileRange, fop.OpIcreate, fop.OpNamelink,
	} {
		refused[o] = true
	}
	h := newReadOnly(t, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, nil }), "on")
	for o := range fop.Op(fop.OpCount) {
		req := fop.NewRequest(o)
		if req == nil {
			continue
		}
		_, err := h.Do(t.Context(), req)
		if (fop.Errno(err) == syscall.EROFS) != refused[o] {
			t.Errorf("%v: %v", o, err)
		}
		req.Head().Cred.PID = fop.PIDSelfHeal
		if _, err := h.Do(t.Context(), req); err != nil {
			t.Errorf("%v by a daemon: %v", o, err)
		}
	}
	one := fop.NewDict(fop.Pair{Key: "k", Val: fop.Bytes([]byte{0, 0, 0, 1})})
	zero := fop.NewDict(fop.Pair{Key: "k", Val: fop.Bytes([]byte{0, 0, 0, 0})})
	for _, c := range []struct {
		req  fop.Request
		want syscall.Errno
	}{
		{&fop.Open{Flags: fop.ORdwr}, syscall.EROFS}, {&fop.Open{Flags: fop.OTrunc}, syscall.EROFS}, {&fop.Open{}, 0},
		{&fop.Xattrop{Dict: one}, syscall.EROFS}, {&fop.Xattrop{Dict: zero}, 0}, {&fop.Fxattrop{Dict: one}, syscall.EROFS},
	} {
		if _, err := h.Do(t.Context(), c.req); fop.Errno(err) != c.want {
			t.Errorf("%v: %v, want %v", c.req.Op(), err, c.want)
		}
	}
	if err := h.(*ReadOnly).Reconfigure(xlator.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Do(t.Context(), &fop.Write{}); err != nil {
		t.Errorf("after it was turned off: %v", err)
	}
}
