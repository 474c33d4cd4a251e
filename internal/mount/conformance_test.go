package mount

import (
	"context"
	"log/slog"
	"strings"
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
	conformance.Run(t, func(t *testing.T) fop.Handler {
		s, err := Open(t.Context(), Config{Volfile: strings.Clone(text), Registry: graph.Registry(clientside.Registry()).With(mem.Type),
			Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(context.Background()) })
		return s
	}, conformance.Options{Locks: true, Devices: true, Skip: map[string]string{
		"createXattrs": "it reads back trusted.glusterfs.dht.*, which distribute hides",
	}})
}
