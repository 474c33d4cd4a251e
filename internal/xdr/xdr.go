// Package xdr encodes and decodes the XDR (RFC 4506) that GlusterFS speaks.
//
// Encoding is append-style: every Append function takes a buffer, appends the
// value to it and returns the longer buffer, as the built-in append does. A
// caller that reuses its buffer encodes without allocating.
//
// Decoding goes through a [Decoder], a cursor over one message in memory. Its
// methods never panic and never allocate for what a length word merely
// claims: all lengths are checked against the bytes that are there and
// against the caller's limit. The first error sticks; every later method
// returns a zero value, so a decoder of a structure reads all fields in a row
// and asks Err once. Opaque returns slices of the message itself: they live
// as long as its buffer.
//
// All values are big-endian in units of four bytes. Padding bytes are
// written as zeros and ignored when read, as GlusterFS does.
//
// Read next: package rpc for the message headers, package proto for the
// messages.
package xdr

import (
	"encoding/binary"
	"math"
)

// Pad returns the number of zero bytes (0 to 3) that follow n opaque bytes.
func Pad(n int) int { return -n & 3 }

// OpaqueSize returns the encoded size in bytes of an opaque or a string of n
// bytes: length word, bytes and padding.
func OpaqueSize(n int) int { return 4 + n + Pad(n) }

// AppendUint32 appends a 32-bit unsigned integer.
func AppendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendInt32 appends a 32-bit signed integer.
func AppendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// AppendUint64 appends a 64-bit unsigned integer (an XDR unsigned hyper).
func AppendUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// AppendInt64 appends a 64-bit signed integer (an XDR hyper).
func AppendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// AppendFloat64 appends an IEEE 754 double.
func AppendFloat64(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(v))
}

// AppendBool appends a boolean, one word holding 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0, 0, 0, 1)
	}
	return append(b, 0, 0, 0, 0)
}

// AppendOpaque appends variable-length opaque data: length, bytes, padding.
func AppendOpaque(b, v []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	b = append(b, v...)
	return AppendPad(b, len(v))
}

// AppendString appends a string: length, bytes (without a NUL), padding.
func AppendString(b []byte, v string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	b = append(b, v...)
	return AppendPad(b, len(v))
}

// AppendStringNUL appends a string and a NUL that its length counts, which is
// how GlusterFS writes dictionary keys.
func AppendStringNUL(b []byte, v string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)+1))
	b = append(b, v...)
	b = append(b, 0)
	return AppendPad(b, len(v)+1)
}

// AppendFixed appends fixed-length opaque data: bytes and padding, no length.
func AppendFixed(b, v []byte) []byte {
	b = append(b, v...)
	return AppendPad(b, len(v))
}

// AppendPad appends the padding that follows n opaque bytes.
func AppendPad(b []byte, n int) []byte {
	var zero [3]byte
	return append(b, zero[:Pad(n)]...)
}

// PutUint32At overwrites the word at offset off, for lengths that are known
// only after the body has been appended. The word must be inside b.
func PutUint32At(b []byte, off int, v uint32) { binary.BigEndian.PutUint32(b[off:], v) }
