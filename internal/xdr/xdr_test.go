package xdr

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	var b []byte
	b = AppendUint32(b, 0xdeadbeef)
	b = AppendInt32(b, -13)
	b = AppendUint64(b, 1<<63|5)
	b = AppendInt64(b, -2)
	b = AppendFloat64(b, math.Pi)
	b = AppendBool(b, true)
	b = AppendBool(b, false)
	b = AppendOpaque(b, []byte("abcde"))
	b = AppendString(b, "name")
	b = AppendString(b, "")
	b = AppendStringNUL(b, "user.k")
	b = AppendFixed(b, []byte("0123456789abcdef"))
	b = AppendFixed(b, []byte("xyz"))
	b = AppendUint32(b, 7)
	if len(b)%4 != 0 {
		t.Fatalf("encoded length %d is no multiple of 4", len(b))
	}
	d := NewDecoder(b)
	check := func(name string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	check("uint32", d.Uint32(), uint32(0xdeadbeef))
	check("int32", d.Int32(), int32(-13))
	check("uint64", d.Uint64(), uint64(1<<63|5))
	check("int64", d.Int64(), int64(-2))
	check("float64", d.Float64(), math.Pi)
	check("bool", d.Bool(), true)
	check("bool", d.Bool(), false)
	check("opaque", string(d.Opaque(5)), "abcde")
	check("string", d.String(4), "name")
	check("empty string", d.String(0), "")
	check("string NUL", string(d.StringNUL(6)), "user.k")
	var gfid [16]byte
	d.FixedInto(gfid[:])
	check("fixed", string(gfid[:]), "0123456789abcdef")
	check("fixed padded", string(d.Fixed(3)), "xyz")
	check("count", d.Count(7, 0), 7)
	if err := d.Finish(); err != nil {
		t.Errorf("Finish: %v", err)
	}
}

func TestGoldenBytes(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  []byte
		want string
	}{
		{"string padded", AppendString(nil, "tv1"), "\x00\x00\x00\x03tv1\x00"},
		{"string with NUL", AppendStringNUL(nil, "user.k"), "\x00\x00\x00\x07user.k\x00\x00"},
		{"int32", AppendInt32(nil, -13), "\xff\xff\xff\xf3"},
		{"opaque of 8", AppendOpaque(nil, []byte("\x11\x22\x33\x44\x55\x66\x77\x88")), "\x00\x00\x00\x08\x11\x22\x33\x44\x55\x66\x77\x88"},
	} {
		if string(tc.got) != tc.want {
			t.Errorf("%s: got %x, want %x", tc.name, tc.got, tc.want)
		}
	}
	b := []byte{0, 0, 0, 0, 9}
	PutUint32At(b, 0, 0x01020304)
	if !bytes.Equal(b, []byte{1, 2, 3, 4, 9}) {
		t.Errorf("PutUint32At: got %x", b)
	}
}

func TestDecoderErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		read func(*Decoder)
		want error
	}{
		{"short word", "\x00\x00\x00", func(d *Decoder) { d.Uint32() }, ErrShort},
		{"short double word", "\x00\x00\x00\x00\x00", func(d *Decoder) { d.Uint64() }, ErrShort},
		{"opaque longer than message", "\x00\x00\x00\x09abcd", func(d *Decoder) { d.Opaque(NoLimit) }, ErrShort},
		{"opaque claims 4 GiB", "\xff\xff\xff\xffabcd", func(d *Decoder) { d.Opaque(NoLimit) }, ErrLimit},
		{"opaque over limit", "\x00\x00\x00\x04abcd", func(d *Decoder) { d.Opaque(3) }, ErrLimit},
		{"missing padding", "\x00\x00\x00\x03abc", func(d *Decoder) { d.Opaque(3) }, ErrShort},
		{"bool 2", "\x00\x00\x00\x02", func(d *Decoder) { d.Bool() }, ErrInvalid},
		{"count over limit", "\x00\x00\x00\x05", func(d *Decoder) { d.Count(4, 0) }, ErrLimit},
		{"count without elements", "\x00\x00\x00\x05abcd", func(d *Decoder) { d.Count(100, 4) }, ErrShort},
		{"string without NUL", "\x00\x00\x00\x04abcd", func(d *Decoder) { d.StringNUL(8) }, ErrInvalid},
		{"empty string without NUL", "\x00\x00\x00\x00", func(d *Decoder) { d.StringNUL(8) }, ErrInvalid},
		{"negative skip", "abcd", func(d *Decoder) { d.Skip(-1) }, ErrShort},
		{"negative fixed", "abcd", func(d *Decoder) { d.Fixed(-5) }, ErrShort},
		{"huge fixed", "abcd", func(d *Decoder) { d.Fixed(math.MaxInt) }, ErrShort},
		{"trailing", "abcdefgh", func(d *Decoder) { d.Uint32(); d.Finish() }, ErrTrailing},
	} {
		d := NewDecoder([]byte(tc.in))
		tc.read(&d)
		if !errors.Is(d.Err(), tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, d.Err(), tc.want)
		}
	}
}

func TestErrorSticks(t *testing.T) {
	d := NewDecoder([]byte("\xff\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x01"))
	d.Opaque(10)
	if v := d.Uint32(); v != 0 {
		t.Errorf("Uint32 after an error returned %d", v)
	}
	if v := d.Uint64(); v != 0 {
		t.Errorf("Uint64 after an error returned %d", v)
	}
	if d.Len() != 0 {
		t.Errorf("Len after an error is %d", d.Len())
	}
	d.Fail(ErrInvalid)
	if d.Err() != ErrLimit {
		t.Errorf("the first error was replaced by %v", d.Err())
	}
	d.Reset([]byte("\x00\x00\x00\x05"))
	if v := d.Uint32(); v != 5 || d.Err() != nil {
		t.Errorf("after Reset: %d, %v", v, d.Err())
	}
}

func TestOpaqueAliasesAndIsCapped(t *testing.T) {
	msg := AppendUint32(AppendOpaque(nil, []byte("abcd")), 5)
	d := NewDecoder(msg)
	b := d.Opaque(4)
	if &b[0] != &msg[4] {
		t.Error("Opaque copied")
	}
	_ = append(b, 'X')
	if d.Uint32() != 5 {
		t.Error("appending to an opaque overwrote the message behind it")
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03abc\x00\x00\x00\x00\x07"), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{}, []byte{2, 2, 2})
	f.Fuzz(func(t *testing.T, msg, ops []byte) {
		d := NewDecoder(msg)
		for _, op := range ops {
			before := d.Offset()
			var got []byte
			arg := int(op >> 4)
			switch op & 15 {
			case 0:
				d.Uint32()
			case 1:
				d.Uint64()
			case 2:
				got = d.Opaque(NoLimit)
			case 3:
				got = d.Opaque(arg)
				if len(got) > arg {
					t.Fatalf("Opaque(%d) returned %d bytes", arg, len(got))
				}
			case 4:
				got = d.Fixed(arg)
			case 5:
				got = d.Bytes(arg)
			case 6:
				d.Skip(arg - 3)
			case 7:
				if n := d.Count(NoLimit, 4); n*4 > d.Len() {
					t.Fatalf("Count allows %d elements in %d bytes", n, d.Len())
				}
			case 8:
				got = d.StringNUL(NoLimit - 1)
			case 9:
				d.Bool()
			case 10:
				d.FixedInto(make([]byte, arg))
			default:
				_ = d.String(arg)
			}
			if d.Offset() < before || d.Offset() > len(msg) || d.Len() < 0 {
				t.Fatalf("offset %d after %d of %d", d.Offset(), before, len(msg))
			}
			if len(got) > len(msg) {
				t.Fatal("more bytes than the message has")
			}
		}
	})
}

var sinkU uint64

func BenchmarkAppend(b *testing.B) {
	buf := make([]byte, 0, 256)
	gfid := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendFixed(buf[:0], gfid)
		buf = AppendUint64(buf, 1)
		buf = AppendUint64(buf, 4096)
		buf = AppendUint32(buf, 4096)
		buf = AppendUint32(buf, 0)
		buf = AppendString(buf, "a-file-name")
		buf = AppendOpaque(buf, gfid)
	}
}

func BenchmarkDecode(b *testing.B) {
	gfid := make([]byte, 16)
	buf := AppendFixed(nil, gfid)
	buf = AppendUint64(buf, 1)
	buf = AppendUint64(buf, 4096)
	buf = AppendUint32(buf, 4096)
	buf = AppendUint32(buf, 0)
	buf = AppendString(buf, "a-file-name")
	buf = AppendOpaque(buf, gfid)
	b.ReportAllocs()
	for b.Loop() {
		d := NewDecoder(buf)
		d.FixedInto(gfid)
		sinkU += d.Uint64() + d.Uint64() + uint64(d.Uint32()+d.Uint32())
		sinkU += uint64(len(d.Opaque(255)) + len(d.Opaque(255)))
		if d.Finish() != nil {
			b.Fatal(d.Err())
		}
	}
}
