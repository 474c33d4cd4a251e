package worm

import (
	"context"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

func TestWorm(t *testing.T) {
	child := []xlator.Child{{Handler: fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, nil })}}
	if _, err := New(xlator.Config{Children: child, Options: xlator.Options{"worm-file-level": "on"}}); fop.Errno(err) != syscall.ENOTSUP {
		t.Errorf("worm-file-level: %v", err)
	}
	for _, on := range []string{"off", "on"} {
		h, err := New(xlator.Config{Children: child, Options: xlator.Options{"worm": on}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			req     fop.Request
			refused bool
		}{
			{&fop.Create{}, false}, {&fop.Mkdir{}, false}, {&fop.Write{}, false}, {&fop.Open{}, false}, {&fop.Rmdir{}, false},
			{&fop.Link{}, true}, {&fop.Unlink{}, true}, {&fop.Rename{}, true}, {&fop.Truncate{}, true}, {&fop.Ftruncate{}, true},
			{&fop.Open{Flags: fop.OWronly}, true}, {&fop.Open{Flags: fop.ORdwr}, true},
			{&fop.Open{Flags: fop.OAppend}, true}, {&fop.Open{Flags: fop.OTrunc}, true},
		} {
			want := syscall.Errno(0)
			if c.refused && on == "on" {
				want = syscall.EROFS
			}
			if _, err := h.Do(t.Context(), c.req); fop.Errno(err) != want {
				t.Errorf("worm %s: %v %+v: %v", on, c.req.Op(), c.req, err)
			}
			c.req.Head().Cred.PID = fop.PIDRebalance
			if _, err := h.Do(t.Context(), c.req); err != nil {
				t.Errorf("%v by a daemon: %v", c.req.Op(), err)
			}
		}
	}
}
