package replicate

import (
	"fmt"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/conformance"
)

// TestConformance runs the suite of all stacks over two and three copies in
// memory.
func TestConformance(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) fop.Handler { return overMemory(t, n) },
				conformance.Options{Locks: true, Devices: true, Skip: notHere})
		})
	}
}

var notHere = map[string]string{
	"xattrop":     "it reads back a changelog, which nobody above is shown",
	"lookupXData": "lookups ask bricks for all xattrs, as in GlusterFS",
	"copyRange":   "the copies would have to be made on each brick; GlusterFS makes one",
}
