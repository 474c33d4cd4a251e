//go:build !linux

package posix

import (
	"fmt"
	"runtime"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// New fails: bricks are served on Linux only.
func New(c xlator.Config) (fop.Handler, error) {
	return nil, fmt.Errorf("brick %s: bricks are served on Linux only, not on %s: %w",
		c.Options["directory"], runtime.GOOS, syscall.ENOSYS)
}
