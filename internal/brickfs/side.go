package brickfs

import (
	"encoding/binary"
	"errors"
)

// sideFile holds the attributes of one object: a line that names the format,
// the inode's birth time in nanoseconds, then per attribute the lengths of key
// and value as 32-bit numbers followed by both. Numbers are big-endian.
type sideFile []sideAttr

type sideAttr struct {
	key   string
	value []byte
}

const (
	sideMagic = "wythe attributes 1\n"
	maxSide   = 128 << 10
)

var errSide = errors.New("not a side file")

func (s sideFile) get(key string) ([]byte, bool) {
	for _, r := range s {
		if r.key == key {
			return r.value, true
		}
	}
	return nil, false
}

func (s *sideFile) set(key string, value []byte) {
	for i := range *s {
		if (*s)[i].key == key {
			(*s)[i].value = value
			return
		}
	}
	*s = append(*s, sideAttr{key, value})
}

func (s *sideFile) remove(key string) bool {
	for i := range *s {
		if (*s)[i].key == key {
			*s = append((*s)[:i:i], (*s)[i+1:]...)
			return true
		}
	}
	return false
}

func (s sideFile) encode(birth int64) []byte {
	b := binary.BigEndian.AppendUint64([]byte(sideMagic), uint64(birth))
	for _, r := range s {
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.key)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.value)))
		b = append(b, r.key...)
		b = append(b, r.value...)
	}
	return b
}

func decodeSide(b []byte) (birth int64, s sideFile, err error) {
	if len(b) < len(sideMagic)+8 || len(b) > maxSide || string(b[:len(sideMagic)]) != sideMagic {
		return 0, nil, errSide
	}
	b = b[len(sideMagic):]
	birth = int64(binary.BigEndian.Uint64(b))
	for b = b[8:]; len(b) > 0; {
		if len(b) < 8 {
			return 0, nil, errSide
		}
		k, v := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
		if b = b[8:]; k == 0 || k+v > uint64(len(b)) {
			return 0, nil, errSide
		}
		s = append(s, sideAttr{string(b[:k]), append([]byte(nil), b[k:k+v]...)})
		b = b[k+v:]
	}
	return birth, s, nil
}
