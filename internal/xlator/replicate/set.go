package replicate

import "math/bits"

// maxChildren is how many copies there can be: sets of children are 16 bits wide
// here as in GlusterFS.
const maxChildren = 16

// set is a set of children by number.
type set uint16

func all(n int) set { return set(1<<n - 1) }

func only(i int) set { return 1 << i }

func (s set) has(i int) bool { return i >= 0 && s>>i&1 != 0 }

func (s set) with(i int) set { return s | 1<<i }

func (s set) without(i int) set { return s &^ (1 << i) }

func (s set) count() int { return bits.OnesCount16(uint16(s)) }

// first returns the lowest member, -1 of an empty set.
func (s set) first() int {
	if s == 0 {
		return -1
	}
	return bits.TrailingZeros16(uint16(s))
}

// each goes through the members from the left:
//
//	for i := range s.each { … }
func (s set) each(yield func(int) bool) {
	for ; s != 0; s &= s - 1 {
		if !yield(bits.TrailingZeros16(uint16(s))) {
			return
		}
	}
}
