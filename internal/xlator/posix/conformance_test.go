//go:build linux

package posix_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/posix"
)

// TestConformance runs the common suite on a brick of each kind on each file
// system.
func TestConformance(t *testing.T) {
	for _, fs := range []string{"", "xfs", "ext4", "btrfs", "tmpfs"} {
		for _, rootless := range []bool{false, true} {
			name := fs
			if fs == "" {
				name = "tempdir"
			}
			if rootless {
				name += "-rootless"
			}
			t.Run(name, func(t *testing.T) {
				testenv.NeedRoot(t)
				dir := ""
				if fs == "" {
					dir = t.TempDir()
				} else {
					dir = testenv.LoopFS(t, fs, 512)
				}
				var n atomic.Int32
				conformance.Run(t, func(t *testing.T) fop.Handler {
					volume := fop.NewGFID()
					brick := filepath.Join(dir, fmt.Sprintf("brick%d", n.Add(1)))
					if err := posix.Create(brick, volume, posix.CreateOptions{Rootless: rootless}); err != nil {
						t.Fatal(err)
					}
					h, err := posix.New(xlator.Config{Name: "posix", Options: xlator.Options{"directory": brick, "volume-id": volume.String(), "reserve": "0"}})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { h.(xlator.Closer).Close() })
					return h
				}, conformance.Options{Devices: true})
			})
		}
	}
}
