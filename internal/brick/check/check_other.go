//go:build !linux

package check

import (
	"context"
	"fmt"
	"syscall"
)

// Run fails: there are bricks on Linux only.
func Run(ctx context.Context, dir string, o Options) (Summary, error) {
	return Summary{}, fmt.Errorf("check brick %s: only possible on Linux: %w", dir, syscall.ENOSYS)
}
