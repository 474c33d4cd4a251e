package fop

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"syscall"
)

// GFID is the identity of a file-system object, the same on every brick: 16
// bytes in the order of RFC 4122. The zero GFID means none.
type GFID [16]byte

// GFIDs with a meaning of their own.
var (
	RootGFID          = GFID{15: 1}
	TrashGFID         = GFID{15: 5}
	TrashInternalGFID = GFID{15: 6}
	BadObjectsGFID    = GFID{15: 8}
)

// NewGFID returns a random (version 4) GFID.
func NewGFID() GFID {
	var g GFID
	rand.Read(g[:]) // never fails, see crypto/rand
	g[6] = g[6]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}

// IsZero reports whether g means none.
func (g GFID) IsZero() bool { return g == GFID{} }

// IsRoot reports whether g is the root of the volume.
func (g GFID) IsRoot() bool { return g == RootGFID }

// Ino is the inode number that goes with g: its last 8 bytes, big-endian.
func (g GFID) Ino() uint64 {
	var n uint64
	for _, b := range g[8:] {
		n = n<<8 | uint64(b)
	}
	return n
}

// AppendText appends the canonical lower-case 36-character form.
func (g GFID) AppendText(b []byte) ([]byte, error) { return g.append(b), nil }

func (g GFID) append(b []byte) []byte {
	for i, part := range [5][]byte{g[0:4], g[4:6], g[6:8], g[8:10], g[10:16]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// String returns the canonical lower-case 36-character form.
func (g GFID) String() string {
	var b [36]byte
	return string(g.append(b[:0]))
}

// MarshalText returns String.
func (g GFID) MarshalText() ([]byte, error) { return g.append(nil), nil }

// UnmarshalText parses the 36-character form.
func (g *GFID) UnmarshalText(b []byte) (err error) {
	*g, err = ParseGFID(string(b))
	return err
}

// ParseGFID parses the 36-character form in either case. The error is EINVAL.
func ParseGFID(s string) (GFID, error) {
	var g GFID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("gfid %q is not of the form 8-4-4-4-12: %w", s, syscall.EINVAL)
	}
	var packed [32]byte
	n := 0
	for i := 0; i < len(s); i++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		packed[n] = s[i]
		n++
	}
	if _, err := hex.Decode(g[:], packed[:]); err != nil {
		return GFID{}, fmt.Errorf("gfid %q is not hexadecimal: %w", s, syscall.EINVAL)
	}
	return g, nil
}
