package errorgen_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/errorgen"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func over(t *testing.T, o xlator.Options) fop.Handler {
	h, err := errorgen.New(xlator.Config{Options: o, Children: []xlator.Child{{Handler: mem.NewFS(nil)}}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return over(t, nil) }, conformance.Options{Locks: true, Devices: true})
}

func TestFailures(t *testing.T) {
	h := over(t, xlator.Options{"failure": "25%", "error-no": "ENOSPC", "enable": "stat, writev"})
	failed := 0
	for range 100 {
		_, err := fop.Call(context.Background(), h, &fop.Stat{GFID: fop.RootGFID})
		if err == syscall.ENOSPC {
			failed++
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := fop.Call(context.Background(), h, &fop.Lookup{GFID: fop.RootGFID}); err != nil {
			t.Fatalf("a fop that is not named fails: %v", err)
		}
	}
	if failed != 25 {
		t.Errorf("%d of 100 calls failed, want 25", failed)
	}
	if err := h.(xlator.Reconfigurer).Reconfigure(xlator.Options{"failure": "100", "random-failure": "on"}); err != nil {
		t.Fatal(err)
	}
	if _, err := fop.Call(context.Background(), h, &fop.Lookup{GFID: fop.RootGFID}); err == nil {
		t.Error("a call succeeded of which all shall fail")
	}
	if _, err := fop.Call(context.Background(), h, &fop.Release{}); err != nil {
		t.Error("RELEASE failed")
	}
}

func TestShortWrite(t *testing.T) {
	h := over(t, xlator.Options{"failure": "100", "error-no": "GF_ERROR_SHORT_WRITE"})
	g := fop.NewGFID()
	_, err := fop.Call(context.Background(), h, &fop.Mknod{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})},
		Parent: fop.RootGFID, Name: "f", Mode: fop.ModeRegular | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	r, err := fop.Call(context.Background(), h, &fop.Write{GFID: g, Data: []byte("1234567")})
	if err != nil || r.Size != 3 {
		t.Errorf("wrote %+v, %v", r, err)
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []xlator.Options{{"failure": "x"}, {"failure": "101"}, {"error-no": "EWHAT"}, {"enable": "frobnicate"}} {
		if _, err := errorgen.New(xlator.Config{Options: o, Children: []xlator.Child{{Handler: mem.NewFS(nil)}}}); err == nil {
			t.Errorf("%v is taken", o)
		}
	}
}
