package distribute

import "encoding/binary"

// extent is the part of the ring of hashes that one subvolume has in one
// directory, as the xattr trusted.glusterfs.dht says it: four big-endian 32-bit
// numbers.
type extent struct {
	commit      uint32 // hash of the last rebalance; 1: names may be anywhere
	kind        uint32 // 0: by Davies-Meyer hash
	start, stop uint32 // stop is part of it; 0 to 0 is no hash at all
}

// whole is all of the ring.
var whole = extent{stop: 0xffffffff}

func (e extent) append(b []byte) []byte {
	for _, n := range [...]uint32{e.commit, e.kind, e.start, e.stop} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}
