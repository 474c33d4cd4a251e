package mdcache

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

func newCache(t testing.TB, child fop.Handler, leaves int, o xlator.Options) *mdCache {
	t.Helper()
	h, err := New(xlator.Config{Name: "v-md-cache", Leaves: leaves, Rows: leaves, Options: o, Log: slog.New(slog.DiscardHandler),
		Children: []xlator.Child{{Name: "below", Handler: child}}})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*mdCache)
}

// TestConformance runs the suite of all stacks with the longest timeout, so that
// nothing is right because it has expired.
func TestConformance(t *testing.T) {
	for name, c := range map[string]struct {
		leaves int
		o      xlator.Options
	}{
		"default": {1, nil},
		"long":    {1, xlator.Options{"md-cache-timeout": "600", "xattr-cache-list": "*", "cache-posix-acl": "on"}},
		"bricks":  {2, xlator.Options{"md-cache-timeout": "600"}},
		"plain":   {1, xlator.Options{"md-cache-timeout": "600", "force-readdirp": "off"}},
		"off":     {1, xlator.Options{"md-cache-timeout": "0"}},
		"pass":    {1, xlator.Options{"pass-through": "on"}},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return newCache(t, mem.NewFS(nil), c.leaves, c.o) },
				conformance.Options{Locks: true, Devices: true})
		})
	}
}
