package fop

import (
	"math"
	"math/bits"
)

// A client of several bricks lists their directories one after the other, and
// an application's offset must tell which brick to go on with. So protocol/client
// puts the number of its leaf into every offset that goes up, and takes it out of
// every offset that comes down; whoever merges listings looks the leaf up in the
// same way. Offset 0, where a directory begins, and the offset of all ones mean
// the same everywhere and stay what they are.
//
// The form is that of GlusterFS 10.3 (xlators/protocol/client): small offsets are multiplied, those with high bits,
// which are hashes on most file systems, lose their lowest bits to the leaf.

// hugeOffset marks an offset whose low bits gave way to the leaf.
const hugeOffset = 1 << 62

// EncodeOffset puts the number of a leaf, below leaves, into the offset x of a
// brick's directory.
func EncodeOffset(x uint64, leaf, leaves int) uint64 {
	if x == 0 || x == math.MaxUint64 || leaves <= 1 {
		return x
	}
	n := leafBits(leaves)
	if x > math.MaxInt64>>(n+1) {
		return hugeOffset | x>>1&^(1<<n-1) | uint64(leaf)
	}
	return x*uint64(leaves) + uint64(leaf)
}

// DecodeOffset takes apart what EncodeOffset made. Of large offsets the lowest
// bits are lost: x is a little less than it was, which makes a brick repeat
// entries only where it counts in steps of one up to there. The leaf of an
// offset without one, or of one that EncodeOffset never made, is 0.
func DecodeOffset(y uint64, leaves int) (leaf int, x uint64) {
	if y == 0 || y == math.MaxUint64 || leaves <= 1 {
		return 0, y
	}
	if y&hugeOffset == 0 {
		return int(y % uint64(leaves)), y / uint64(leaves)
	}
	low := uint64(1)<<leafBits(leaves) - 1
	leaf, x = int(y&low), (y&^hugeOffset&^low)<<1
	if leaf >= leaves {
		leaf = 0
	}
	return leaf, x
}

// leafBits is how many bits the number of a leaf takes.
func leafBits(leaves int) int { return bits.Len(uint(leaves - 1)) }
