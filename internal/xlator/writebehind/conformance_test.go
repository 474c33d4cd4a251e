package writebehind

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// over makes the translator over h. It is drained when the test ends.
func over(t testing.TB, h fop.Handler, o xlator.Options) *behind {
	t.Helper()
	x, err := New(xlator.Config{Name: "v-write-behind", Children: []xlator.Child{{Handler: h}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	w := x.(*behind)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.Quiesce(ctx); err != nil {
			t.Error(err)
		}
		if n := w.dirty.Load(); n != 0 {
			t.Errorf("%d files are dirty at the end", n)
		}
		w.kill()
	})
	return w
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]xlator.Options{
		"defaults":     nil,
		"no trickling": {"trickling-writes": "off"},
		"strict":       {"strict-write-ordering": "on", "flush-behind": "off", "resync-failed-syncs-after-fsync": "on"},
		"pass-through": {"pass-through": "on"},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return over(t, mem.NewFS(nil), o) },
				conformance.Options{Locks: true, Devices: true, WriteBehind: true})
		})
	}
}
