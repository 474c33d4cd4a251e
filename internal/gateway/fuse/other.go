//go:build !linux

package fuse

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"syscall"
)

// Server is a mounted volume; there is none on this system.
type Server struct{}

// Mount fails: FUSE mounts need Linux.
func Mount(_ context.Context, cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("mount %s: FUSE mounts need Linux, this is %s; gfapi and the command line work here: %w", cfg.Dir, runtime.GOOS, syscall.ENOTSUP)
}

// Wait returns at once.
func (*Server) Wait() error { return nil }

// Unmount does nothing.
func (*Server) Unmount() error { return nil }

// Dump writes nothing.
func (*Server) Dump(io.Writer) {}
