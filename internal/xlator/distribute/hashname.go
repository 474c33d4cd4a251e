package distribute

import "github.com/wythefs/wythe/internal/fop"

// HashName is for tools that tell people where a name lives; see xlator.Hasher.
func (d *distribute) HashName(name string) (part string, h uint32) {
	part = d.munge(name)
	return part, fop.NameHash(part)
}

// HashName says what the hash will be when the volume has grown.
func (d *single) HashName(name string) (part string, h uint32) {
	part = (&settings{rsyncDefault: true}).munge(name)
	return part, fop.NameHash(part)
}
