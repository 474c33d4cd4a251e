package delaygen_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/delaygen"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := delaygen.New(xlator.Config{Options: xlator.Options{"delay-percentage": "50", "delay-duration": "1000000", "enable": "lookup"},
			Children: []xlator.Child{{Handler: mem.NewFS(nil)}}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 100 {
			if _, err := fop.Call(t.Context(), h, &fop.Lookup{GFID: fop.RootGFID}); err != nil {
				t.Fatal(err)
			}
			if _, err := fop.Call(t.Context(), h, &fop.Stat{GFID: fop.RootGFID}); err != nil {
				t.Fatal(err)
			}
		}
		if s := time.Since(start).Seconds(); s < 30 || s > 70 {
			t.Errorf("100 lookups took %v s, want about 50", s)
		}
		if err := h.(xlator.Reconfigurer).Reconfigure(xlator.Options{"delay-percentage": "100"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := fop.Call(ctx, h, &fop.Stat{GFID: fop.RootGFID}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that is over while it waits: %v", err)
		}
	})
	for _, o := range []xlator.Options{{"delay-percentage": "x"}, {"delay-duration": "-1"}, {"enable": "frobnicate"}} {
		if _, err := delaygen.New(xlator.Config{Options: o, Children: []xlator.Child{{Handler: mem.NewFS(nil)}}}); err == nil {
			t.Errorf("%v is taken", o)
		}
	}
}
