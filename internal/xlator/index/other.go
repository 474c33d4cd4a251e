//go:build !linux

package index

import (
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/index", which needs the hard links of Linux file systems.
var Type = xlator.Type{
	Name: "features/index", MinChildren: 1, MaxChildren: 1,
	New: func(c xlator.Config) (fop.Handler, error) {
		return nil, fmt.Errorf("%s: bricks run on Linux only: %w", c.Name, syscall.ENOTSUP)
	},
}
