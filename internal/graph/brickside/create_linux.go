package brickside

import (
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/posix"
)

// CreateBrick makes dir a brick of a volume; see posix.Create.
func CreateBrick(dir string, volume fop.GFID, force bool) error {
	return posix.Create(dir, volume, posix.CreateOptions{Force: force})
}
