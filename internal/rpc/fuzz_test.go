package rpc

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/wythefs/wythe/internal/xdr"
	"github.com/wythefs/wythe/internal/xdr/vectortest"
)

// FuzzRecords reads a stream in pieces of any size, with any plan, and
// compares the records with what a plain reader finds in it.
func FuzzRecords(f *testing.F) {
	for _, v := range vectortest.Load(f, "testdata/vectors") {
		f.Add(mark(v.Data), uint8(7), uint8(0))
		f.Add(slices.Concat(mark(v.Data), xdr.AppendUint32(nil, 5), []byte("abcde"), xdr.AppendUint32(nil, lastFragment)), uint8(1), uint8(3))
	}
	f.Add(xdr.AppendUint32(nil, 1<<29|lastFragment), uint8(9), uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, piece, planned uint8) {
		const limit = 1 << 16
		want, wantErr := plainRecords(stream, limit)
		rr := newRecordReader(limit)
		var fed *bytes.Reader
		rr.plan = func(front []byte, size int) (plan, error) {
			switch planned % 4 {
			case 1:
				if len(front) < int(planned) && size >= int(planned) {
					return plan{more: int(planned)}, nil
				}
			case 2:
				if head := min(int(planned), size); head < size {
					return plan{head: head, payload: make([]byte, size-head)}, nil
				}
			case 3:
				return plan{skip: size%2 == 1}, nil
			}
			return plan{}, nil
		}
		if planned == 0 {
			rr.plan = nil
		}
		fed = bytes.NewReader(stream)
		var got [][]byte
		for {
			complete, err := rr.next()
			if err != nil {
				if !errors.Is(err, ErrMalformed) || !wantErr {
					t.Fatalf("error %v, expected one: %v", err, wantErr)
				}
				break
			}
			if complete {
				buf, payload := rr.take()
				if buf == nil {
					got = append(got, nil)
					continue
				}
				got = append(got, append(slices.Clone(buf.B), payload...))
				buf.Release()
				continue
			}
			space := rr.space()
			if len(space) == 0 {
				t.Fatal("no space to read to")
			}
			if rr.buf != nil && cap(rr.buf.B) > 2*max(wholeStep, 8*len(stream)) {
				t.Fatalf("%d bytes of memory for a stream of %d", cap(rr.buf.B), len(stream))
			}
			n, err := fed.Read(space[:min(len(space), int(piece)+1)])
			if err != nil {
				if wantErr {
					t.Fatal("error expected")
				}
				break
			}
			rr.filled(n)
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != nil && !bytes.Equal(got[i], want[i]) {
				t.Fatalf("record %d: %s", i, vectortest.Diff(got[i], want[i]))
			}
		}
	})
}

// plainRecords is record marking written down as simply as possible.
func plainRecords(b []byte, limit int) (records [][]byte, failed bool) {
	record := []byte{}
	for len(b) >= 4 {
		word := be32(b)
		n := int(word &^ lastFragment)
		if len(record)+n >= limit {
			return records, true
		}
		if n > len(b)-4 {
			return records, false
		}
		record = append(record, b[4:4+n]...)
		b = b[4+n:]
		if word&lastFragment != 0 {
			records = append(records, record)
			record = []byte{}
		}
	}
	return records, false
}

func FuzzCallHeader(f *testing.F) {
	for _, v := range vectortest.Load(f, "testdata/vectors") {
		f.Add(v.Data)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		d := xdr.NewDecoder(msg)
		xid := d.Uint32()
		d.Uint32()
		var h callHeader
		if h.decode(&d) != nil {
			return
		}
		if _, err := decodeCallback(msg); err != nil {
			t.Fatalf("callback: %v", err)
		}
		var cred Cred
		if cred.decode(h.flavor, h.credBody) != nil {
			return
		}
		again := appendCallHeader(nil, xid, h.prog, h.vers, h.proc, &cred)
		d.Reset(again)
		d.Skip(8)
		var h2 callHeader
		if err := h2.decode(&d); err != nil || h2.prog != h.prog || h2.vers != h.vers || h2.proc != h.proc || h2.flavor != h.flavor {
			t.Fatalf("%+v became %+v (%v)", h, h2, err)
		}
	})
}

func FuzzReplyHeader(f *testing.F) {
	for _, v := range vectortest.Load(f, "testdata/vectors") {
		f.Add(v.Data)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		n, err := decodeReply(msg)
		var e *ReplyError
		switch {
		case err == nil:
			if n < acceptedSize || n > len(msg) {
				t.Fatalf("results at %d of %d", n, len(msg))
			}
		case errors.As(err, &e):
			if e.Error() == "" || e.Unwrap() == nil {
				t.Fatal("error without words")
			}
		case !errors.Is(err, ErrMalformed):
			t.Fatal(err)
		}
	})
}

func fuzzCred(f *testing.F, flavor Flavor) {
	groups := []uint32{1, 2, 3}
	for _, c := range []Cred{
		{Flavor: flavor}, {Flavor: flavor, PID: -6, UID: 1, GID: 2, Groups: groups, LockOwner: []byte("12345678")},
		{Flavor: flavor, Groups: make([]uint32, 83), LockOwner: []byte("12345678"), TimeFlags: 31, CTimeSec: 1 << 40},
	} {
		f.Add(c.AppendXDR(nil)[8:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var c Cred
		if err := c.decode(flavor, body); err != nil {
			if !errors.Is(err, ErrCred) {
				t.Fatal(err)
			}
			return
		}
		if err := c.Check(); err != nil {
			t.Fatalf("decoded what cannot be encoded: %v", err)
		}
		if n := flavor.MaxGroups(len(c.LockOwner)); len(c.Groups) > n {
			t.Fatalf("%d groups, limit %d", len(c.Groups), n)
		}
		b := c.AppendXDR(nil)
		if len(b) > 8+maxCredBody {
			t.Fatalf("body of %d bytes", len(b)-8)
		}
		var again Cred
		if err := again.decode(flavor, b[8:]); err != nil || !bytes.Equal(again.AppendXDR(nil), b) {
			t.Fatalf("%+v became %+v (%v)", c, again, err)
		}
	})
}

func FuzzCredUnix(f *testing.F) { fuzzCred(f, AuthUnix) }
func FuzzCredV1(f *testing.F)   { fuzzCred(f, AuthGlusterV1) }
func FuzzCredV2(f *testing.F)   { fuzzCred(f, AuthGlusterV2) }
func FuzzCredV3(f *testing.F)   { fuzzCred(f, AuthGlusterV3) }
