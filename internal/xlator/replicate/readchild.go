package replicate

import (
	"encoding/binary"
	"os"

	"github.com/wythefs/wythe/internal/fop"
)

// Values of the option read-hash-mode: how the child is found that an object is
// read from.
const (
	hashNone    = iota // the first readable one
	hashGFID           // by GFID: all clients read an object from the same child
	hashGFIDPID        // by GFID and process
	leastBusy          // the one with the fewest reads outstanding
	leastDelay         // the one that answers fastest
	leastLoad          // the one with the least of (outstanding+1) * delay
)

// choose picks one of the readable children for an object, -1 if there is none:
// the one that an option or its being on this host makes the first choice, else
// the one that read-hash-mode says, else the first.
func (r *replicate) choose(readable set, gfid fop.GFID, dir bool) int {
	if readable&(readable-1) == 0 { // one or none
		return readable.first()
	}
	c := r.conf.Load()
	if readable.has(c.forced) {
		return c.forced
	}
	if c.forced < 0 && c.chooseLocal {
		if i := int(r.local.Load()) - 1; readable.has(i) {
			return i
		}
	}
	i := -1
	switch c.hashMode {
	case hashGFID:
		i = int(superFastHash(&gfid) % uint32(r.n))
	case hashGFIDPID:
		i = hashWithPID(gfid, dir, os.Getpid(), r.n)
	case leastBusy, leastDelay, leastLoad:
		i = r.least(readable, c.hashMode)
	}
	if readable.has(i) {
		return i
	}
	return readable.first()
}

// hashWithPID spreads clients over the children: each process reads a file from
// a child of its own choice, and all directories from the same one.
func hashWithPID(gfid fop.GFID, dir bool, pid, n int) int {
	if dir {
		gfid = fop.GFID{}
	} else {
		binary.LittleEndian.PutUint32(gfid[:], binary.LittleEndian.Uint32(gfid[:])^uint32(pid))
	}
	return int(superFastHash(&gfid) % uint32(n))
}

// least returns the child with the least to do.
func (r *replicate) least(readable set, mode int) int {
	best, least := -1, int64(0)
	for i := range readable.each {
		var load int64
		switch mode {
		case leastBusy:
			load = int64(r.meters[i].outstanding.Load())
		case leastDelay:
			load = r.meters[i].delay.Load()
		case leastLoad:
			load = int64(r.meters[i].outstanding.Load()+1) * r.meters[i].delay.Load()
		}
		if best < 0 || load < least {
			best, least = i, load
		}
	}
	return best
}

// superFastHash is the hash of that name by Paul Hsieh, over the 16 bytes of a
// GFID: GlusterFS clients choose the same child by it.
func superFastHash(g *fop.GFID) uint32 {
	h := uint32(len(g))
	for i := 0; i < len(g); i += 4 {
		h += uint32(binary.LittleEndian.Uint16(g[i:]))
		t := uint32(binary.LittleEndian.Uint16(g[i+2:]))<<11 ^ h
		h = h<<16 ^ t
		h += h >> 11
	}
	h ^= h << 3
	h += h >> 5
	h ^= h << 4
	h += h >> 17
	h ^= h << 25
	h += h >> 6
	return h
}
