package replicate

import (
	"encoding/binary"

	"github.com/wythefs/wythe/internal/fop"
)

// part is a kind of change, and the place of its counter in a changelog.
type part int

const (
	data part = iota
	metadata
	entry
	parts
)

// changelog is the value of a pending or dirty xattr: one counter of operations
// for each part. On a directory the data counter is the marker "heal all
// entries", never an operation.
type changelog [parts]int32

// changelogSize is its length on disk: big-endian signed 32-bit numbers.
const changelogSize = 12

// bytes returns the stored form.
func (c changelog) bytes() []byte {
	b := make([]byte, 0, changelogSize)
	for _, n := range c {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b
}

func (c changelog) value() fop.Value { return fop.Bytes(c.bytes()) }

// parseChangelog reads the stored form. What is missing or cut off is 0.
func parseChangelog(b []byte) (c changelog) {
	for i := range c {
		if len(b) < 4 {
			break
		}
		c[i] = int32(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	return c
}

func (c changelog) isZero() bool { return c == changelog{} }

// neg is what undoes c.
func (c changelog) neg() changelog {
	for i := range c {
		c[i] = -c[i]
	}
	return c
}

// blame tells, for each part, which children are blamed.
type blame [parts]set

func (b blame) or(o blame) blame {
	for i := range b {
		b[i] |= o[i]
	}
	return b
}

// blamed reads the pending xattrs in a dictionary that one child replied.
func (r *replicate) blamed(d *fop.Dict) (b blame) {
	for j, key := range r.pending {
		v, ok := d.Get(key)
		if !ok {
			continue
		}
		c := parseChangelog(v.Bytes())
		for p := range c {
			if c[p] != 0 {
				b[p] = b[p].with(j)
			}
		}
	}
	return b
}

// dirtyOf reads what one child says about itself.
func (r *replicate) dirtyOf(d *fop.Dict) changelog { return parseChangelog(d.Bytes(r.dirty)) }
