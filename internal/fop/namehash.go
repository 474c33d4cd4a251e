package fop

import "encoding/binary"

// NameHash is the Davies-Meyer hash that GlusterFS gives to names (dht-hashfn.c,
// libglusterfs/src/hashfn.c): cluster/distribute finds bricks by it, and libgfapi
// numbers volumes with it. It is a block cipher of the TEA family, run over the
// name in blocks of 16 bytes that serve as keys.
func NameHash(name string) uint32 {
	h0, h1 := uint32(0x9464a485), uint32(0x542e1a94)
	mix := func(n int, k *[4]uint32) {
		b0, b1, s := h0, h1, uint32(0)
		for range n {
			s += 0x9E3779B9
			b0 += ((b1 << 4) + k[0]) ^ (b1 + s) ^ ((b1 >> 5) + k[1])
			b1 += ((b0 << 4) + k[2]) ^ (b0 + s) ^ ((b0 >> 5) + k[3])
		}
		h0 += b0
		h1 += b1
	}
	pad := uint32(len(name))
	pad |= pad << 8
	pad |= pad << 16
	var k [4]uint32
	for ; len(name) >= 16; name = name[16:] {
		for i := range k {
			k[i] = hashWord(name[4*i:])
		}
		mix(6, &k)
	}
	i := 0
	for ; len(name) >= 4; name = name[4:] {
		k[i] = hashWord(name)
		i++
	}
	for j := i; j < 4; j++ {
		k[j] = pad
	}
	// What is left over is taken as C's signed char: bytes from 0x80 on set all
	// bits above them.
	for j := range len(name) {
		k[i] = k[i]<<8 | uint32(int32(int8(name[j])))
	}
	mix(10, &k)
	return h0 ^ h1
}

func hashWord(s string) uint32 { return binary.LittleEndian.Uint32([]byte(s[:4])) }
