package brickside

import (
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/xlator/posix"
)

// Registry returns the translators of bricks.
func Registry() graph.Registry {
	return graph.NewRegistry(
		posix.Type,
	)
}
