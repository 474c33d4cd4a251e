// Package clientside is the registry of the translators of clients. It compiles
// on every platform and brings no code of bricks along.
//
// Read next internal/graph, which builds stacks from it.
package clientside

import (
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/xlator/client"
	"github.com/wythefs/wythe/internal/xlator/distribute"
	"github.com/wythefs/wythe/internal/xlator/gfidaccess"
	"github.com/wythefs/wythe/internal/xlator/iocache"
	"github.com/wythefs/wythe/internal/xlator/mdcache"
	"github.com/wythefs/wythe/internal/xlator/meta"
	"github.com/wythefs/wythe/internal/xlator/nlcache"
	"github.com/wythefs/wythe/internal/xlator/openbehind"
	"github.com/wythefs/wythe/internal/xlator/quickread"
	"github.com/wythefs/wythe/internal/xlator/readahead"
	"github.com/wythefs/wythe/internal/xlator/readdirahead"
	"github.com/wythefs/wythe/internal/xlator/replicate"
	"github.com/wythefs/wythe/internal/xlator/utime"
	"github.com/wythefs/wythe/internal/xlator/worm"
	"github.com/wythefs/wythe/internal/xlator/writebehind"
)

// Registry returns the translators of clients.
func Registry() graph.Registry {
	return graph.NewRegistry(
		client.Type,
		distribute.Type,
		gfidaccess.Type,
		iocache.Type,
		mdcache.Type,
		meta.Type,
		nlcache.Type,
		openbehind.Type,
		quickread.Type,
		readahead.Type,
		readdirahead.Type,
		replicate.Type,
		utime.Type,
		worm.Type,
		writebehind.Type,
	)
}
