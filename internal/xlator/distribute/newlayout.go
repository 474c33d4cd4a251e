package distribute

import (
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// share is what the layout of a new directory needs to know of a subvolume.
type share struct {
	sub     *subvol
	err     syscall.Errno // of the mkdir or lookup there; errNone and ENOENT are no obstacle
	full    bool          // has less free than it should
	leaving bool          // is being removed from the volume
	chunks  uint32        // its size in MiB, 0 if unknown
}

// division is how a new directory is to be divided.
type division struct {
	start    string // its hash says where the first range goes: the directory's path
	spread   int    // over so many subvolumes, 0 for all
	weighted bool   // by size
	commit   uint32
}

// divide makes the layout of a new directory. shares stand in the order of
// their names. A full subvolume gets a range only if nothing else can have one;
// one that leaves, and one with any other error, gets none.
func (v division) divide(shares []share) *layout {
	l := &layout{entries: make([]entry, len(shares)), commit: v.commit}
	for i, s := range shares {
		l.entries[i] = entry{sub: s.sub, err: s.err, extent: extent{commit: v.commit}}
		if s.err == errNone || s.err == syscall.ENOENT {
			l.entries[i].err = 0
		}
	}
	fit := fits(shares, l.entries)
	count := len(fit)
	if count == 0 {
		return l
	}
	if v.spread > 0 && v.spread <= count {
		count = v.spread
	}
	weights, total := v.weights(shares, fit[:count])
	chunk := 4294967295.0 / float64(total)

	first := 0
	if v.start != "" {
		first = int(fop.NameHash(v.start) % uint32(len(shares)))
	}
	able := make([]bool, len(shares))
	for _, i := range fit {
		able[i] = true
	}
	next, last := uint32(0), -1
	for n := range shares {
		i := (first + n) % len(shares)
		if !able[i] || count == 0 {
			continue
		}
		w := uint32(1)
		if weights {
			w = shares[i].chunks
		}
		size := uint32(chunk * float64(w))
		e := &l.entries[i]
		e.start, e.stop = next, next+size-1
		next += size
		last = i
		count--
	}
	l.entries[last].stop = 0xffffffff
	l.sort()
	return l
}

// fits returns which subvolumes can have a range.
func fits(shares []share, entries []entry) []int {
	var fit []int
	for _, full := range [...]bool{false, true} {
		for i, s := range shares {
			if entries[i].err == 0 && !s.leaving && s.full == full {
				fit = append(fit, i)
			}
		}
		if len(fit) > 0 {
			break
		}
	}
	return fit
}

// weights says whether ranges go by size, and the sum of the sizes or the
// number of those that share.
func (v division) weights(shares []share, fit []int) (bool, uint64) {
	var total uint64
	if v.weighted {
		for _, i := range fit {
			if shares[i].chunks == 0 {
				total = 0
				break
			}
			total += uint64(shares[i].chunks)
		}
	}
	if total == 0 {
		return false, uint64(len(fit))
	}
	return true, total
}
