package acl

import (
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newACLs(t, mem.NewFS(nil)) },
		conformance.Options{Locks: true, Devices: true})
}
