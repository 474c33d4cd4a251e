package fop

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
)

// DictType is the type of a dictionary value; the numbers are the wire's.
type DictType int32

// Types of dictionary values.
const (
	TypeStrOld DictType = 1 // untyped bytes of the old serialization
	TypeInt    DictType = 2
	TypeUint   DictType = 3
	TypeDouble DictType = 4
	TypeStr    DictType = 5 // bytes end in NUL
	TypePtr    DictType = 6 // any bytes
	TypeGFID   DictType = 7
	TypeIatt   DictType = 8
	TypeMdata  DictType = 9
)

// Mdata is the value of the ctime feature: the three times of an object.
type Mdata struct {
	Atime, Mtime, Ctime Time
}

// Value is one value of a Dict. Readers convert leniently, as GlusterFS does:
// a number may arrive as INT, UINT or as decimal text.
type Value struct {
	Type DictType
	num  uint64
	raw  []byte
	obj  any // *Iatt or *Mdata, never changed once here
}

// Constructors of values. Bytes are not copied.

// Int makes an INT.
func Int(n int64) Value { return Value{Type: TypeInt, num: uint64(n)} }

// Uint makes a UINT.
func Uint(n uint64) Value { return Value{Type: TypeUint, num: n} }

// Double makes a DOUBLE.
func Double(f float64) Value { return Value{Type: TypeDouble, num: math.Float64bits(f)} }

// Str makes a STR; the NUL that the wire wants is added here.
func Str(s string) Value { return Value{Type: TypeStr, raw: append([]byte(s), 0)} }

// Bytes makes a PTR.
func Bytes(b []byte) Value { return Value{Type: TypePtr, raw: b} }

// Raw makes a STR_OLD, STR or PTR of exactly these bytes.
func Raw(t DictType, b []byte) Value { return Value{Type: t, raw: b} }

// GFIDValue makes a GFUUID.
func GFIDValue(g GFID) Value { return Value{Type: TypeGFID, raw: g[:]} }

// IattValue makes an IATT.
func IattValue(a Iatt) Value { return Value{Type: TypeIatt, obj: &a} }

// MdataValue makes an MDATA.
func MdataValue(m Mdata) Value { return Value{Type: TypeMdata, obj: &m} }

// Number returns the bits of an INT, UINT or DOUBLE, for codecs.
func (v Value) Number() uint64 { return v.num }

// Bytes returns what would be stored if the value were an extended attribute:
// the bytes as they came (a STR keeps its NUL), numbers as decimal text with
// NUL. It is nil for IATT and MDATA.
func (v Value) Bytes() []byte {
	switch v.Type {
	case TypeInt:
		return append(strconv.AppendInt(nil, int64(v.num), 10), 0)
	case TypeUint:
		return append(strconv.AppendUint(nil, v.num, 10), 0)
	case TypeDouble:
		return append(strconv.AppendFloat(nil, math.Float64frombits(v.num), 'f', 6, 64), 0)
	}
	return v.raw
}

// Text returns the value as text without the trailing NUL.
func (v Value) Text() string {
	b := v.Bytes()
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b)
}

// Int returns the value as a number; ok is false if it is none. Big-endian
// binary is not a number.
func (v Value) Int() (n int64, ok bool) {
	switch v.Type {
	case TypeInt, TypeUint:
		return int64(v.num), true
	case TypeDouble:
		return int64(math.Float64frombits(v.num)), true
	case TypeStr, TypeStrOld, TypePtr:
		s := v.Text()
		if n, err := strconv.ParseInt(s, 0, 64); err == nil {
			return n, true
		}
		if u, err := strconv.ParseUint(s, 0, 64); err == nil {
			return int64(u), true
		}
	}
	return 0, false
}

// GFID returns the value as a GFID: 16 bytes of any type, or 36 characters.
func (v Value) GFID() (g GFID, ok bool) {
	switch v.Type {
	case TypeGFID, TypePtr, TypeStrOld, TypeStr:
		if len(v.raw) == 16 {
			return GFID(v.raw), true
		}
		g, err := ParseGFID(v.Text())
		return g, err == nil
	}
	return g, false
}

// Iatt returns the value as attributes.
func (v Value) Iatt() (Iatt, bool) {
	if a, ok := v.obj.(*Iatt); ok {
		return *a, true
	}
	return Iatt{}, false
}

// Mdata returns the value as times.
func (v Value) Mdata() (Mdata, bool) {
	if m, ok := v.obj.(*Mdata); ok {
		return *m, true
	}
	return Mdata{}, false
}

// Equal reports whether two values have the same type and contents.
func (v Value) Equal(w Value) bool {
	if v.Type != w.Type || v.num != w.num || !bytes.Equal(v.raw, w.raw) {
		return false
	}
	switch a := v.obj.(type) {
	case *Iatt:
		b, ok := w.obj.(*Iatt)
		return ok && *a == *b
	case *Mdata:
		b, ok := w.obj.(*Mdata)
		return ok && *a == *b
	}
	return w.obj == nil
}

// Pair is one entry of a Dict.
type Pair struct {
	Key string
	Val Value
}

// Dict is GlusterFS's dictionary: few pairs, in the order in which they were
// set. A nil *Dict is the NULL dictionary of the wire; reading it is fine.
// A Dict is not safe for concurrent change; who passes one on no longer
// changes it.
type Dict struct {
	pairs []Pair
}

// NewDict returns a dictionary of the given pairs.
func NewDict(pairs ...Pair) *Dict { return &Dict{pairs: pairs} }

// Len returns the number of pairs.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.pairs)
}

// Pairs returns the pairs in order; the caller must not change them.
func (d *Dict) Pairs() []Pair {
	if d == nil {
		return nil
	}
	return d.pairs
}

// Grow makes room for n more pairs.
func (d *Dict) Grow(n int) { d.pairs = slices.Grow(d.pairs, n) }

func (d *Dict) index(key string) int {
	if d != nil {
		for i := range d.pairs {
			if d.pairs[i].Key == key {
				return i
			}
		}
	}
	return -1
}

// Get returns the value of key.
func (d *Dict) Get(key string) (Value, bool) {
	if i := d.index(key); i >= 0 {
		return d.pairs[i].Val, true
	}
	return Value{}, false
}

// Has reports whether key is there; for many request keys presence is all.
func (d *Dict) Has(key string) bool { return d.index(key) >= 0 }

// Bool reports whether key is there with a value that is a number other than 0
// or one of the words that GlusterFS takes for true.
func (d *Dict) Bool(key string) bool {
	v, ok := d.Get(key)
	if !ok {
		return false
	}
	if n, ok := v.Int(); ok {
		return n != 0
	}
	switch v.Text() {
	case "yes", "on", "true", "enable":
		return true
	}
	return false
}

// Int returns the value of key as a number, 0 if there is none.
func (d *Dict) Int(key string) int64 {
	v, _ := d.Get(key)
	n, _ := v.Int()
	return n
}

// Text returns the value of key as text, "" if there is none.
func (d *Dict) Text(key string) string {
	if v, ok := d.Get(key); ok {
		return v.Text()
	}
	return ""
}

// Bytes returns the value of key as bytes, nil if there is none.
func (d *Dict) Bytes(key string) []byte {
	if v, ok := d.Get(key); ok {
		return v.Bytes()
	}
	return nil
}

// Set stores a value, replacing what key had.
func (d *Dict) Set(key string, v Value) *Dict {
	if i := d.index(key); i >= 0 {
		d.pairs[i].Val = v
	} else {
		d.pairs = append(d.pairs, Pair{key, v})
	}
	return d
}

// Append stores a value under a key that the caller knows to be new.
func (d *Dict) Append(key string, v Value) { d.pairs = append(d.pairs, Pair{key, v}) }

// Delete removes key and reports whether it was there.
func (d *Dict) Delete(key string) bool {
	i := d.index(key)
	if i < 0 {
		return false
	}
	d.pairs = slices.Delete(d.pairs, i, i+1)
	return true
}

// Clone returns a copy that can be changed; never nil. Values are shared.
func (d *Dict) Clone() *Dict {
	if d == nil {
		return &Dict{}
	}
	return &Dict{pairs: slices.Clone(d.pairs)}
}

// With returns a copy of d, which may be nil, with one more pair.
func (d *Dict) With(key string, v Value) *Dict { return d.Clone().Set(key, v) }

// Equal reports whether both hold the same pairs, in any order. NULL and empty
// are equal.
func (d *Dict) Equal(e *Dict) bool {
	if d.Len() != e.Len() {
		return false
	}
	for _, p := range d.Pairs() {
		if v, ok := e.Get(p.Key); !ok || !v.Equal(p.Val) {
			return false
		}
	}
	return true
}

// MdataSize is the length of Mdata as it is stored in an xattr.
const MdataSize = 57

// AppendMdata appends the stored form: a version byte 1, eight zero bytes of
// flags, then ctime, mtime and atime as two big-endian 64-bit numbers each.
func AppendMdata(b []byte, m Mdata) []byte {
	b = append(b, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, t := range [3]Time{m.Ctime, m.Mtime, m.Atime} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.Sec))
		b = binary.BigEndian.AppendUint64(b, uint64(t.Nsec))
	}
	return b
}

// ParseMdata reads the stored form; ok is false if b does not have its length.
func ParseMdata(b []byte) (m Mdata, ok bool) {
	if len(b) != MdataSize {
		return m, false
	}
	at := func(off int) Time {
		return Time{int64(binary.BigEndian.Uint64(b[off:])), uint32(binary.BigEndian.Uint64(b[off+8:]))}
	}
	return Mdata{Ctime: at(9), Mtime: at(25), Atime: at(41)}, true
}
