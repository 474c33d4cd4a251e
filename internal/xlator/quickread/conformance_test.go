package quickread

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newQuickRead(t testing.TB, child fop.Handler, o xlator.Options) *quickRead {
	t.Helper()
	h, err := New(xlator.Config{Name: "v-quick-read", Options: o, Log: slog.New(slog.DiscardHandler),
		Children: []xlator.Child{{Name: "below", Handler: child}}})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*quickRead)
}

// TestConformance runs the suite of all stacks, also with a cache that is too
// small for anything.
func TestConformance(t *testing.T) {
	for name, o := range map[string]xlator.Options{
		"long": {"cache-timeout": "60", "ctime-invalidation": "on"},
		"tiny": {"cache-timeout": "60", "cache-size": "1KB"},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return newQuickRead(t, mem.NewFS(nil), o) },
				conformance.Options{Locks: true, Devices: true})
		})
	}
}
