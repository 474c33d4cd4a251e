package barrier

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newBarrier(t *testing.T, child fop.Handler) *Barrier {
	h, err := New(xlator.Config{Children: []xlator.Child{{Handler: child}}, Options: xlator.Options{"barrier-timeout": "10"}})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*Barrier)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newBarrier(t, mem.NewFS(nil)) },
		conformance.Options{Locks: true, Devices: true})
}

func TestBarrier(t *testing.T) {
	nop := fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, syscall.ENOENT })
	for _, c := range []struct {
		req  fop.Request
		held bool
	}{
		{&fop.Unlink{}, true}, {&fop.Rmdir{}, true}, {&fop.Rename{}, true}, {&fop.Truncate{}, true}, {&fop.Ftruncate{}, true},
		{&fop.Fsync{}, true}, {&fop.Removexattr{}, true}, {&fop.Fremovexattr{}, true},
		{&fop.Write{Flags: fop.OSync}, true}, {&fop.Write{Fd: &fop.Fd{Flags: fop.ODsync}}, true},
		{&fop.Write{}, false}, {&fop.Read{}, false}, {&fop.Mkdir{}, false}, {&fop.Create{}, false}, {&fop.Setxattr{}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBarrier(t, nop)
			if b.Raise() != nil || fop.Errno(b.Raise()) != syscall.EALREADY {
				t.Error("raised twice")
			}
			run := func() chan error {
				done := make(chan error, 1)
				go func() { _, err := b.Do(t.Context(), c.req); done <- err }()
				synctest.Wait()
				return done
			}
			done := run()
			if held := len(done) == 0; held != c.held {
				t.Errorf("%v: held %v", c.req.Op(), held)
			}
			if b.Lower() != nil || fop.Errno(b.Lower()) != syscall.EALREADY {
				t.Error("lowered twice")
			}
			if err := <-done; err != syscall.ENOENT {
				t.Errorf("%v: %v", c.req.Op(), err)
			}
			// Again, until the timeout.
			if err := b.Reconfigure(xlator.Options{"barrier": "enable", "barrier-timeout": "10"}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			done = run()
			<-done
			if d := time.Since(start); c.held != (d == 10*time.Second) {
				t.Errorf("%v: held for %v", c.req.Op(), d)
			}
			b.Close()
		})
	}
}
