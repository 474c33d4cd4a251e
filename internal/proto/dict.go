package proto

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xdr"
)

// AppendDict appends a dictionary as messages of version v carry it. A nil d
// becomes the NULL dictionary.
func AppendDict(b []byte, v Version, d *fop.Dict) []byte { return appendDict(b, v, d) }

// DecodeDict reads what AppendDict wrote and nothing else; values alias body.
func DecodeDict(v Version, body []byte) (*fop.Dict, error) {
	d := newDecoder(v, body)
	dict := d.dict()
	return dict, d.Finish()
}

func appendDict(b []byte, v Version, d *fop.Dict) []byte {
	if v < V400 {
		return AppendOldDict(b, d)
	}
	if d == nil {
		return append(b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
	}
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	n := uint32(0)
	for i := range d.Pairs() {
		p := &d.Pairs()[i]
		switch t := p.Val.Type; t {
		case fop.TypeStrOld, fop.TypeStr, fop.TypePtr:
			b = appendKey(b, p)
			b = xdr.AppendOpaque(b, p.Val.Bytes())
		case fop.TypeInt, fop.TypeUint, fop.TypeDouble:
			b = appendKey(b, p)
			b = xdr.AppendUint64(b, p.Val.Number())
		case fop.TypeGFID:
			g, ok := p.Val.GFID()
			if !ok {
				continue
			}
			b = appendKey(b, p)
			b = append(b, g[:]...)
		case fop.TypeIatt:
			a, ok := p.Val.Iatt()
			if !ok {
				continue
			}
			b = appendKey(b, p)
			b = appendNewIatt(b, &a)
		case fop.TypeMdata:
			m, ok := p.Val.Mdata()
			if !ok {
				continue
			}
			b = appendKey(b, p)
			b = appendMdata(b, m)
		default: // has no form on the wire
			continue
		}
		n++
	}
	xdr.PutUint32At(b, at, uint32(len(b)-at-12))
	xdr.PutUint32At(b, at+4, n)
	xdr.PutUint32At(b, at+8, n)
	return b
}

func appendKey(b []byte, p *fop.Pair) []byte {
	b = xdr.AppendStringNUL(b, p.Key)
	return xdr.AppendInt32(b, int32(p.Val.Type))
}

func appendMdata(b []byte, m fop.Mdata) []byte {
	b = xdr.AppendInt64(b, m.Atime.Sec)
	b = xdr.AppendInt64(b, m.Mtime.Sec)
	b = xdr.AppendInt64(b, m.Ctime.Sec)
	b = xdr.AppendUint32(b, m.Atime.Nsec)
	b = xdr.AppendUint32(b, m.Mtime.Nsec)
	return xdr.AppendUint32(b, m.Ctime.Nsec)
}

// dict reads a dictionary in the version's form.
func (d *decoder) dict() *fop.Dict {
	if d.v < V400 {
		return d.oldDict()
	}
	d.Uint32() // size: what it measures follows and measures itself
	count := d.Int32()
	n := d.Count(maxDict, 16)
	if d.Err() != nil || count < 0 && n == 0 {
		return nil
	}
	set := pairs(n)
	for range n {
		key := intern(d.key())
		t := fop.DictType(d.Int32())
		var val fop.Value
		switch t {
		case fop.TypeStrOld, fop.TypeStr, fop.TypePtr:
			val = fop.Raw(t, d.Opaque(xdr.NoLimit))
		case fop.TypeInt:
			val = fop.Int(d.Int64())
		case fop.TypeUint:
			val = fop.Uint(d.Uint64())
		case fop.TypeDouble:
			val = fop.Double(math.Float64frombits(d.Uint64()))
		case fop.TypeGFID:
			val = fop.Raw(t, d.Fixed(16))
		case fop.TypeIatt:
			var a fop.Iatt
			d.newIatt(&a)
			val = fop.IattValue(a)
		case fop.TypeMdata:
			val = fop.MdataValue(d.mdata())
		default:
			d.Fail(xdr.ErrInvalid)
		}
		if d.Err() != nil {
			return nil
		}
		set.add(key, val)
	}
	return set.d
}

// key reads a dictionary's key, whose NUL the wire counts.
func (d *decoder) key() []byte {
	k := d.Opaque(maxName)
	if n := len(k); n > 0 && k[n-1] == 0 {
		k = k[:n-1]
	}
	return k
}

func (d *decoder) mdata() (m fop.Mdata) {
	m.Atime.Sec = d.Int64()
	m.Mtime.Sec = d.Int64()
	m.Ctime.Sec = d.Int64()
	m.Atime.Nsec = d.Uint32()
	m.Mtime.Nsec = d.Uint32()
	m.Ctime.Nsec = d.Uint32()
	return m
}

// pairSet builds a dictionary in which the last of several values of one key
// wins, in time proportional to the number of pairs.
type pairSet struct {
	d     *fop.Dict
	index map[string]struct{}
}

// few is up to how many pairs a scan of the dictionary beats a map.
const few = 32

func pairs(n int) pairSet {
	s := pairSet{d: new(fop.Dict)}
	if n > 0 {
		s.d.Grow(n)
	}
	if n > few {
		s.index = make(map[string]struct{}, n)
	}
	return s
}

func (s *pairSet) add(key string, v fop.Value) {
	if s.index != nil {
		if _, again := s.index[key]; !again {
			s.index[key] = struct{}{}
			s.d.Append(key, v)
			return
		}
	}
	s.d.Set(key, v)
}

// AppendOldDict appends an untyped dictionary inside an opaque, length 0 for a
// nil d. Attributes and ctime values have no untyped form and are left out.
func AppendOldDict(b []byte, d *fop.Dict) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	if d == nil {
		return b
	}
	b = AppendOldPairs(b, d)
	n := len(b) - at - 4
	xdr.PutUint32At(b, at, uint32(n))
	return xdr.AppendPad(b, n)
}

// AppendOldPairs appends an untyped dictionary without the opaque around it, as
// in BrickOpRequest.Input.
func AppendOldPairs(b []byte, d *fop.Dict) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	n := uint32(0)
	for i := range d.Pairs() {
		p := &d.Pairs()[i]
		if t := p.Val.Type; t == fop.TypeIatt || t == fop.TypeMdata {
			continue
		}
		val := p.Val.Bytes()
		b = xdr.AppendUint32(b, uint32(len(p.Key)))
		b = xdr.AppendUint32(b, uint32(len(val)))
		b = append(b, p.Key...)
		b = append(b, 0)
		b = append(b, val...)
		n++
	}
	xdr.PutUint32At(b, at, n)
	return b
}

// DecodeOldDict reads an untyped dictionary without the opaque around it. No
// bytes at all are the NULL dictionary; values alias body.
func DecodeOldDict(body []byte) (*fop.Dict, error) {
	if len(body) == 0 {
		return nil, nil
	}
	d := xdr.NewDecoder(body)
	n := d.Count(maxOldDict, 9)
	if d.Err() != nil {
		return nil, d.Err()
	}
	set := pairs(n)
	for range n {
		keyLen, valLen := d.Uint32(), d.Uint32()
		if keyLen == 0 || keyLen > maxName || valLen > math.MaxInt32 {
			d.Fail(xdr.ErrInvalid)
		}
		key := d.Bytes(int(keyLen))
		nul := d.Bytes(1)
		val := d.Bytes(int(valLen))
		if d.Err() == nil && nul[0] != 0 {
			d.Fail(xdr.ErrInvalid)
		}
		if d.Err() != nil {
			return nil, d.Err()
		}
		set.add(intern(key), fop.Raw(fop.TypeStrOld, val))
	}
	return set.d, nil
}

func (d *decoder) oldDict() *fop.Dict {
	body := d.Opaque(xdr.NoLimit)
	if d.Err() != nil {
		return nil
	}
	dict, err := DecodeOldDict(body)
	if err != nil {
		d.Fail(err)
	}
	return dict
}

// The same few keys come with nearly every message. A small table keeps those
// seen last, so that reading them allocates nothing; who sends others gains
// nothing but allocations.
var (
	internSeed  = maphash.MakeSeed()
	internTable [1024]atomic.Pointer[string]
)

func intern(key []byte) string {
	if len(key) == 0 || len(key) > 96 {
		return string(key)
	}
	slot := &internTable[maphash.Bytes(internSeed, key)%uint64(len(internTable))]
	if s := slot.Load(); s != nil && *s == string(key) {
		return *s
	}
	s := string(key)
	slot.Store(&s)
	return s
}

// dictSize returns the size of a typed dictionary's pairs from its header.
func dictSize(b []byte) int { return int(int32(binary.BigEndian.Uint32(b))) }
