package mount

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// TestConformance runs the suite of all stacks over a session on a client's
// usual graph, with memory for a brick.
func TestConformance(t *testing.T) {
	text := `volume v-client-0
    type testing/mem
end-volume

volume v-dht
    type cluster/distribute
    subvolumes v-client-0
end-volume

volume v-utime
    type features/utime
    option noatime on
    subvolumes v-dht
end-volume

volume v-md-cache
    type performance/md-cache
    subvolumes v-utime
end-volume
`
	options := conformance.Options{Locks: true, Devices: true, Skip: map[string]string{
		"createXattrs": "it reads back trusted.glusterfs.dht.*, which distribute hides",
	}}
	open := func(t *testing.T, text string) *Session {
		s, err := Open(t.Context(), Config{Volfile: text, Registry: graph.Registry(clientside.Registry()).With(mem.Type),
			Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(context.Background()) })
		return s
	}
	conformance.Run(t, func(t *testing.T) fop.Handler { return open(t, strings.Clone(text)) }, options)
	t.Run("what is known", func(t *testing.T) {
		below, top, _ := strings.Cut(text, "volume v-md-cache")
		text := below + `volume v-open-behind
    type performance/open-behind
    subvolumes v-utime
end-volume

volume v-quick-read
    type performance/quick-read
    subvolumes v-open-behind
end-volume

volume v-md-cache` + strings.Replace(top, "v-utime", "v-quick-read", 1)
		var known atomic.Int64
		t.Cleanup(func() {
			if n := known.Load(); n < 50 {
				t.Errorf("%d fops were known, too few to prove anything", n)
			}
		})
		conformance.Run(t, func(t *testing.T) fop.Handler { return &knownFirst{open(t, text), &known} }, options)
	})
}

// knownFirst is a session of which it is asked first what it knows.
type knownFirst struct {
	s *Session
	n *atomic.Int64
}

func (k *knownFirst) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if reply, ok, err := k.s.Known(req); ok {
		k.n.Add(1)
		return reply, err
	}
	return k.s.Do(ctx, req)
}
