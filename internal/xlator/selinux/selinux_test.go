package selinux

import (
	"context"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestLabel(t *testing.T) {
	ctx := context.Background()
	below := mem.NewFS(nil)
	h, err := New(xlator.Config{Children: []xlator.Child{{Name: "below", Handler: below}}})
	if err != nil {
		t.Fatal(err)
	}
	label := fop.Bytes([]byte("system_u:object_r:etc_t:s0\x00"))
	dict := fop.NewDict(fop.Pair{Key: clientKey, Val: label})
	if _, err := h.Do(ctx, &fop.Setxattr{GFID: fop.RootGFID, Dict: dict}); err != nil {
		t.Fatal(err)
	}
	if !dict.Has(clientKey) || dict.Has(brickKey) {
		t.Error("the caller's dictionary was changed")
	}
	get := func(h fop.Handler, name string) (string, error) {
		r, err := fop.Call(ctx, h, &fop.Getxattr{GFID: fop.RootGFID, Name: name})
		if err != nil {
			return "", err
		}
		return string(r.Dict.Bytes(name)), nil
	}
	want := string(label.Bytes())
	if s, err := get(below, brickKey); s != want {
		t.Errorf("on the brick: %q, %v", s, err)
	}
	if s, err := get(h, clientKey); s != want {
		t.Errorf("for the client: %q, %v", s, err)
	}
	if err := h.(xlator.Reconfigurer).Reconfigure(xlator.Options{"selinux": "off"}); err != nil {
		t.Fatal(err)
	}
	if s, err := get(h, clientKey); fop.Errno(err) != syscall.ENODATA {
		t.Errorf("switched off: %q, %v", s, err)
	}
}
