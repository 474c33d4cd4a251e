package xdr

import (
	"encoding/binary"
	"errors"
	"math"
)

// Errors of a Decoder.
var (
	// ErrShort says that the message ends before the value does.
	ErrShort = errors.New("xdr: message too short")
	// ErrLimit says that a length or a count exceeds the caller's limit.
	ErrLimit = errors.New("xdr: length over limit")
	// ErrInvalid says that a value cannot stand where it stands.
	ErrInvalid = errors.New("xdr: invalid value")
	// ErrTrailing says that bytes are left after the last value.
	ErrTrailing = errors.New("xdr: trailing bytes")
)

// NoLimit is the limit of values that only the size of the message bounds.
const NoLimit = math.MaxInt32

// A Decoder reads values from the front of one message. The zero Decoder
// reads an empty message. It is a plain struct to be kept on the stack: one
// goroutine, no clean-up.
type Decoder struct {
	buf []byte
	off int
	err error
}

// NewDecoder returns a decoder that reads b. It does not copy b.
func NewDecoder(b []byte) Decoder { return Decoder{buf: b} }

// Reset makes the decoder read b from its start and forgets an error.
func (d *Decoder) Reset(b []byte) { *d = Decoder{buf: b} }

// Err returns the first error, or nil.
func (d *Decoder) Err() error { return d.err }

// Fail records err unless an earlier error stuck already. Decoders of
// structures use it to refuse values.
func (d *Decoder) Fail(err error) {
	if d.err == nil {
		d.err = err
		d.off = len(d.buf)
	}
}

// Finish returns the first error, or ErrTrailing if bytes are left.
func (d *Decoder) Finish() error {
	if d.err == nil && d.off != len(d.buf) {
		d.err = ErrTrailing
	}
	return d.err
}

// Len returns the number of bytes left; 0 after an error.
func (d *Decoder) Len() int { return len(d.buf) - d.off }

// Offset returns the number of bytes read so far.
func (d *Decoder) Offset() int { return d.off }

// Rest returns all bytes that are left, without consuming them.
func (d *Decoder) Rest() []byte { return d.buf[d.off:] }

// take returns the next n bytes, n ≥ 0, or nil after recording ErrShort.
func (d *Decoder) take(n int) []byte {
	if n > len(d.buf)-d.off {
		d.Fail(ErrShort)
		return nil
	}
	b := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}

// Uint32 reads a 32-bit unsigned integer.
func (d *Decoder) Uint32() uint32 {
	if len(d.buf)-d.off < 4 {
		d.Fail(ErrShort)
		return 0
	}
	v := binary.BigEndian.Uint32(d.buf[d.off:])
	d.off += 4
	return v
}

// Int32 reads a 32-bit signed integer.
func (d *Decoder) Int32() int32 { return int32(d.Uint32()) }

// Uint64 reads a 64-bit unsigned integer.
func (d *Decoder) Uint64() uint64 {
	if len(d.buf)-d.off < 8 {
		d.Fail(ErrShort)
		return 0
	}
	v := binary.BigEndian.Uint64(d.buf[d.off:])
	d.off += 8
	return v
}

// Int64 reads a 64-bit signed integer.
func (d *Decoder) Int64() int64 { return int64(d.Uint64()) }

// Float64 reads an IEEE 754 double.
func (d *Decoder) Float64() float64 { return math.Float64frombits(d.Uint64()) }

// Bool reads a boolean; values other than 0 and 1 are ErrInvalid.
func (d *Decoder) Bool() bool {
	v := d.Uint32()
	if v > 1 {
		d.Fail(ErrInvalid)
		return false
	}
	return v == 1
}

// Count reads an element count. It fails with ErrLimit above max, and with
// ErrShort if the message cannot hold that many elements of at least minSize
// bytes, so that a caller may allocate by the result.
func (d *Decoder) Count(max, minSize int) int {
	n := d.Uint32()
	if uint64(n) > uint64(max) {
		d.Fail(ErrLimit)
		return 0
	}
	if minSize > 0 && int64(n)*int64(minSize) > int64(d.Len()) {
		d.Fail(ErrShort)
		return 0
	}
	return int(n)
}

// Opaque reads variable-length opaque data of at most max bytes and its
// padding. The result aliases the message; nil after an error, and empty
// when the length is 0.
func (d *Decoder) Opaque(max int) []byte {
	n := d.Uint32()
	if d.err != nil {
		return nil
	}
	if uint64(n) > uint64(max) {
		d.Fail(ErrLimit)
		return nil
	}
	return d.Fixed(int(n))
}

// String reads a string of at most max bytes as a copy.
func (d *Decoder) String(max int) string { return string(d.Opaque(max)) }

// StringNUL reads a string of at most max bytes before a NUL that its length
// counts, and returns it without the NUL as a slice of the message. A string
// without a NUL at its end is ErrInvalid.
func (d *Decoder) StringNUL(max int) []byte {
	b := d.Opaque(max + 1)
	if d.err != nil {
		return nil
	}
	if len(b) == 0 || b[len(b)-1] != 0 {
		d.Fail(ErrInvalid)
		return nil
	}
	return b[:len(b)-1]
}

// Fixed reads n bytes of fixed-length opaque data and their padding. The
// result aliases the message.
func (d *Decoder) Fixed(n int) []byte {
	if n < 0 || n > d.Len() {
		d.Fail(ErrShort)
		return nil
	}
	b := d.take(n + Pad(n))
	if b == nil {
		return nil
	}
	return b[:n:n]
}

// FixedInto reads len(dst) bytes of fixed-length opaque data and their
// padding into dst.
func (d *Decoder) FixedInto(dst []byte) { copy(dst, d.Fixed(len(dst))) }

// Bytes reads n raw bytes without padding. The result aliases the message.
func (d *Decoder) Bytes(n int) []byte {
	if n < 0 {
		d.Fail(ErrShort)
		return nil
	}
	return d.take(n)
}

// Skip passes over n bytes.
func (d *Decoder) Skip(n int) { d.Bytes(n) }
