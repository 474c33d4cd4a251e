package distribute

import (
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/conformance"
)

// TestConformance runs the common suite over three bricks.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	conformance.Run(t, func(t *testing.T) fop.Handler {
		return newCluster(t, 3).mount(0).graph.Top()
	}, conformance.Options{Locks: true, Devices: true, Distributed: true, Skip: map[string]string{
		"copyRange": "a brick copies within itself only; the answer is EXDEV, and callers copy otherwise",
	}})
}
