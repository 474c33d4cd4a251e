package selinux

import (
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func newSELinux(t *testing.T, child fop.Handler, o xlator.Options) fop.Handler {
	h, err := New(xlator.Config{Children: []xlator.Child{{Handler: child}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newSELinux(t, mem.NewFS(nil), nil) },
		conformance.Options{Locks: true, Devices: true})
}

func TestLabel(t *testing.T) {
	fs := mem.NewFS(nil)
	h := newSELinux(t, fs, nil)
	root := fop.RootGFID
	d := fop.NewDict(fop.Pair{Key: clientKey, Val: fop.Str("label")}, fop.Pair{Key: "user.a", Val: fop.Str("1")})
	if _, err := h.Do(t.Context(), &fop.Setxattr{GFID: root, Dict: d}); err != nil {
		t.Fatal(err)
	}
	if !d.Has(clientKey) {
		t.Error("the caller's dictionary was changed")
	}
	get := func(h fop.Handler, name string) (*fop.Dict, syscall.Errno) {
		r, err := fop.Call(t.Context(), h, &fop.Getxattr{GFID: root, Name: name})
		if err != nil {
			return nil, fop.Errno(err)
		}
		return r.Dict, 0
	}
	if d, e := get(fs, brickKey); e != 0 || d.Text(brickKey) != "label" {
		t.Errorf("on the brick: %v %v", d.Pairs(), e)
	}
	if _, e := get(fs, clientKey); e != syscall.ENODATA {
		t.Errorf("the brick's own label: %v", e)
	}
	if d, e := get(h, clientKey); e != 0 || d.Text(clientKey) != "label" {
		t.Errorf("by name: %v %v", d.Pairs(), e)
	}
	if d, e := get(h, ""); e != 0 || !d.Has(clientKey) || d.Has(brickKey) || !d.Has("user.a") {
		t.Errorf("listed: %v %v", d.Pairs(), e)
	}
	off := newSELinux(t, fs, xlator.Options{"selinux": "off"})
	if _, e := get(off, clientKey); e != syscall.ENODATA {
		t.Errorf("off: %v", e)
	}
}
