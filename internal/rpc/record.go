package rpc

import (
	"encoding/binary"
	"fmt"
)

const (
	inputSize = 16 << 10 // of a connection's input buffer
	// directSize is the number of missing bytes from which on a read goes
	// straight to where the bytes belong, past the input buffer.
	directSize = 4 << 10

	// A record up to wholeStep gets its memory at once. A larger one must
	// send firstStep bytes first, then gets secondStep, then eight times what
	// has come: a length word alone never costs much memory.
	wholeStep  = 256 << 10
	firstStep  = 64 << 10
	secondStep = 2 << 20
)

// A plan says where the bytes of a record go.
type plan struct {
	more    int    // ask again when the first more bytes have come; 0: decided
	head    int    // this many bytes go to the buffer …
	payload []byte // … and the rest here; both cover the record exactly
	skip    bool   // or all of it is thrown away
}

type recordState uint8

const (
	readMark recordState = iota
	readBody
	readPayload
	readSkip
)

// A recordReader puts records together from the bytes of a stream. It does
// not read: its user asks where the next bytes shall go (space), reads, says
// how many came (filled), and asks whether a record is complete (next). So
// one goroutine can stop in the middle of a record and another go on.
type recordReader struct {
	limit int
	// plan, if not nil, is asked with the first bytes of every record that
	// comes in one fragment.
	plan func(front []byte, size int) (plan, error)

	in   []byte
	r, w int // in[r:w] has been read and not yet used

	state   recordState
	direct  bool // space returned memory of the record, not of in
	open    bool // some fragment of the record has come
	last    bool // the current fragment is the last
	size    int  // of the record if it is one fragment, else -1
	planned bool
	want    int // length of buf.B to reach in readBody
	buf     *Buffer
	payload []byte
	got     int // bytes of payload that have come
	skip    int // bytes still to throw away
}

func newRecordReader(limit int) recordReader {
	if limit <= 0 || limit > MaxRecord {
		limit = MaxRecord
	}
	return recordReader{limit: limit, in: make([]byte, inputSize)}
}

// next uses up what has been read and reports whether a record is complete:
// then buf and payload are the caller's (buf is nil if it was skipped) until
// it calls take.
func (rr *recordReader) next() (bool, error) {
	for {
		have := rr.in[rr.r:rr.w]
		switch rr.state {
		case readMark:
			if len(have) < markSize {
				return false, nil
			}
			rr.r += markSize
			if err := rr.begin(binary.BigEndian.Uint32(have)); err != nil {
				return false, err
			}
		case readBody:
			n := min(rr.want-len(rr.buf.B), len(have))
			if n > 0 {
				rr.makeRoom(n)
				rr.buf.B = append(rr.buf.B, have[:n]...)
				rr.r += n
			}
			if len(rr.buf.B) < rr.want {
				return false, nil
			}
			done, err := rr.bodyReached()
			if done || err != nil {
				return done, err
			}
		case readPayload:
			n := copy(rr.payload[rr.got:], have)
			rr.got += n
			rr.r += n
			return rr.got == len(rr.payload), nil
		case readSkip:
			n := min(rr.skip, len(have))
			rr.skip -= n
			rr.r += n
			return rr.skip == 0, nil
		}
	}
}

// begin starts a fragment.
func (rr *recordReader) begin(mark uint32) error {
	rr.last = mark&lastFragment != 0
	size := int(mark &^ lastFragment)
	sofar := 0
	if rr.open {
		sofar = len(rr.buf.B)
	}
	if sofar+size >= rr.limit {
		return fmt.Errorf("%w: record of %d bytes or more, limit %d", ErrMalformed, sofar+size, rr.limit)
	}
	rr.state = readBody
	rr.want = sofar + size
	switch {
	case rr.open:
		rr.size = -1
	case rr.last:
		rr.size = size
		if rr.plan != nil {
			rr.want = min(size, acceptedSize)
		}
	default:
		rr.size = -1
	}
	if !rr.open {
		rr.open = true
		rr.planned = false
		rr.got = 0
		first := rr.want
		if first > wholeStep {
			first = firstStep
		}
		rr.buf = NewBuffer(first)
	}
	return nil
}

// bodyReached decides what follows when the buffer holds what it should.
func (rr *recordReader) bodyReached() (done bool, err error) {
	if rr.size < 0 {
		if !rr.last {
			rr.state = readMark
		}
		return rr.last, nil
	}
	if rr.plan == nil || rr.planned {
		return rr.bodyDone(), nil
	}
	p, err := rr.plan(rr.buf.B, rr.size)
	if err != nil {
		return false, err
	}
	if p.more > len(rr.buf.B) && p.more <= rr.size {
		rr.want = p.more
		return false, nil
	}
	rr.planned = true
	switch {
	case p.skip:
		rr.skip = rr.size - len(rr.buf.B)
		rr.dropBuffer()
		rr.state = readSkip
		return rr.skip == 0, nil
	case len(p.payload) > 0 && p.head+len(p.payload) == rr.size:
		rr.payload = p.payload
		if p.head < len(rr.buf.B) { // the look ahead went into the payload
			rr.got = copy(p.payload, rr.buf.B[p.head:])
			rr.buf.B = rr.buf.B[:p.head]
		}
		rr.want = p.head
	default:
		rr.want = rr.size
	}
	if len(rr.buf.B) < rr.want {
		return false, nil
	}
	return rr.bodyDone(), nil
}

// bodyDone goes on to the payload, if there is one.
func (rr *recordReader) bodyDone() bool {
	if rr.got == len(rr.payload) {
		return true
	}
	rr.state = readPayload
	return false
}

// makeRoom lets the buffer hold n more bytes, in steps.
func (rr *recordReader) makeRoom(n int) {
	need := len(rr.buf.B) + n
	if need <= cap(rr.buf.B) {
		return
	}
	step := rr.want
	switch {
	case rr.want <= wholeStep:
	case len(rr.buf.B) < firstStep:
		step = max(need, firstStep)
	default:
		step = max(need, min(rr.want, max(secondStep, 8*len(rr.buf.B))))
	}
	rr.buf.grow(step)
}

// space returns where the next bytes of the stream shall be read to. It must
// be called only when next has reported that no record is complete.
func (rr *recordReader) space() []byte {
	if rr.r == rr.w {
		rr.r, rr.w = 0, 0
		rr.direct = true
		switch rr.state {
		case readBody:
			if missing := rr.want - len(rr.buf.B); missing >= directSize {
				if len(rr.buf.B) == cap(rr.buf.B) {
					rr.makeRoom(1)
				}
				return rr.buf.B[len(rr.buf.B):min(rr.want, cap(rr.buf.B))]
			}
		case readPayload:
			if len(rr.payload)-rr.got >= directSize {
				return rr.payload[rr.got:]
			}
		}
	} else if rr.r > 0 {
		rr.w = copy(rr.in, rr.in[rr.r:rr.w])
		rr.r = 0
	}
	rr.direct = false
	return rr.in[rr.w:]
}

// filled says that n bytes were read to what space returned last.
func (rr *recordReader) filled(n int) {
	switch {
	case !rr.direct:
		rr.w += n
	case rr.state == readPayload:
		rr.got += n
	default:
		rr.buf.B = rr.buf.B[:len(rr.buf.B)+n]
	}
}

// take hands the complete record over and makes the reader ready for the
// next.
func (rr *recordReader) take() (buf *Buffer, payload []byte) {
	buf, payload = rr.buf, rr.payload
	rr.buf, rr.payload = nil, nil
	rr.open = false
	rr.state = readMark
	return buf, payload
}

// abandon makes the rest of a one-fragment record go nowhere, so that its
// buffer and payload can be used for something else at once.
func (rr *recordReader) abandon() {
	switch rr.state {
	case readBody:
		rr.skip = rr.size - len(rr.buf.B) - rr.got
	case readPayload:
		rr.skip = len(rr.payload) - rr.got
	default:
		return
	}
	rr.dropBuffer()
	rr.payload = nil
	rr.state = readSkip
}

func (rr *recordReader) dropBuffer() {
	rr.buf.Release()
	rr.buf = nil
}
