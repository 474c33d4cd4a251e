// Package clientside is the registry of the translators of clients. It compiles
// on every platform and brings no code of bricks along.
//
// Read next internal/graph, which builds stacks from it.
package clientside

import (
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/xlator/client"
	"github.com/wythefs/wythe/internal/xlator/distribute"
	"github.com/wythefs/wythe/internal/xlator/utime"
)

// Registry returns the translators of clients.
func Registry() graph.Registry {
	return graph.NewRegistry(
		client.Type,
		distribute.Type,
		utime.Type,
	)
}
