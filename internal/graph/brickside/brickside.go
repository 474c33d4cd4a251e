package brickside

import (
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/xlator/acl"
	"github.com/wythefs/wythe/internal/xlator/arbiter"
	"github.com/wythefs/wythe/internal/xlator/barrier"
	"github.com/wythefs/wythe/internal/xlator/index"
	"github.com/wythefs/wythe/internal/xlator/iostats"
	"github.com/wythefs/wythe/internal/xlator/leases"
	"github.com/wythefs/wythe/internal/xlator/locks"
	"github.com/wythefs/wythe/internal/xlator/posix"
	"github.com/wythefs/wythe/internal/xlator/readonly"
	"github.com/wythefs/wythe/internal/xlator/selinux"
	"github.com/wythefs/wythe/internal/xlator/server"
	"github.com/wythefs/wythe/internal/xlator/upcall"
	"github.com/wythefs/wythe/internal/xlator/worm"
)

// Registry returns the translators of bricks.
func Registry() graph.Registry {
	return graph.NewRegistry(
		posix.Type,
		arbiter.Type,
		acl.Type,
		locks.Type,
		worm.Type,
		readonly.Type,
		leases.Type,
		upcall.Type,
		index.Type,
		selinux.Type,
		barrier.Type,
		iostats.Type,
		server.Type,
	)
}
