package writebehind

import (
	"math"
	"slices"

	"github.com/wythefs/wythe/internal/fop"
)

// maxChunks bounds the pieces of one file that are under way unseen, and with
// them the time that a write takes to find those that it overlaps.
const maxChunks = 512

// chunk is a write to be sent, made of one or several requests.
type chunk struct {
	req    fop.Write // as it is sent; Data is a prefix of buf, or in mem
	buf    *buffer
	mem    fop.Memory
	h      *handle
	late   *waiter // its writer, who waits for room
	append bool    // its offset is the end of the file

	written int  // of it, by a child that takes less than it is given
	open    bool // takes more
	sent    bool
	failed  bool // was sent, and is kept to be tried again
	blocked int  // earlier ones, not done yet, that it must not overtake
}

func (c *chunk) start() uint64 { return c.req.Offset }
func (c *chunk) end() uint64   { return c.req.Offset + uint64(len(c.req.Data)) }

// span is a range of bytes, end excluded.
type span struct{ off, end uint64 }

// everything overlaps every range.
var everything = span{0, math.MaxUint64}

// overlaps reports whether a chunk and a range have bytes in common.
func (c *chunk) overlaps(s span) bool {
	return c.append || s == everything || c.start() < s.end && s.off < c.end()
}

// conflict reports whether the later of two chunks must wait for the earlier.
func conflict(a, b *chunk, strict bool) bool {
	return strict || a.append || b.append || a.start() < b.end() && b.start() < a.end()
}

// rules are the options that decide what is sent when.
type rules struct {
	window    int  // bytes that may be under way unseen
	aggregate int  // chunks grow up to this size
	trickling bool // what is there is sent when nothing else is under way
	strict    bool // no write overtakes another
}

// queue has the delayed writes of one file, oldest first. It does no I/O: put
// says how a write joins, next what is to be sent, done and failed what became
// of it. Its invariants:
//
//   - A chunk is sent only after all earlier ones that it conflicts with are
//     done.
//   - Only the youngest chunk is open, and only while it has not been sent. What
//     joins it overlaps no other chunk, so that it may take that chunk's place
//     in the order.
type queue struct {
	chunks []*chunk
	bytes  int // in chunks, and promised to some, but for those whose writers wait
	flying int // sent, and not done
	ready  int // may be sent: closed, not sent, not blocked
	kept   int // failed, to be tried again
}

// fits reports whether n bytes more may be answered early.
func (q *queue) fits(n int, r *rules) bool {
	return q.bytes+n <= r.window && len(q.chunks) < maxChunks
}

// roomy reports whether it is time to wake those who wait until n bytes fit: not
// for every piece that is done, so that they need not wake for each write.
func (q *queue) roomy(n int, r *rules) bool {
	return q.fits(n, r) && (q.bytes <= r.window/4*3 && len(q.chunks) <= maxChunks/4*3 || q.flying == 0)
}

// tail returns the open chunk, nil if there is none.
func (q *queue) tail() *chunk {
	if n := len(q.chunks); n > 0 && q.chunks[n-1].open {
		return q.chunks[n-1]
	}
	return nil
}

// joins returns the chunk that a write can become a part of, nil if none. The
// write is req, through h.
func (q *queue) joins(req *fop.Write, h *handle, appends bool, r *rules) *chunk {
	t := q.tail()
	switch {
	case t == nil, t.h != h, t.append != appends, len(t.req.Data)+len(req.Data) > r.aggregate, !sameSender(&t.req.Header, &req.Header):
		return nil
	case appends:
		return t
	case t.end() != req.Offset:
		return nil
	}
	s := span{req.Offset, req.Offset + uint64(len(req.Data))}
	for _, c := range q.chunks {
		if c != t && c.overlaps(s) {
			return nil
		}
	}
	return t
}

func sameSender(a, b *fop.Header) bool {
	return a.Cred.UID == b.Cred.UID && a.Cred.GID == b.Cred.GID && a.Cred.PID == b.Cred.PID &&
		a.Cred.Owner == b.Cred.Owner && slices.Equal(a.Cred.Groups, b.Cred.Groups)
}

// joined is called after data was appended to chunk c.
func (q *queue) joined(c *chunk, r *rules) {
	if len(c.req.Data) >= r.aggregate {
		q.close(c)
	}
	q.trickle(r)
}

// put adds a chunk of its own.
func (q *queue) put(c *chunk, r *rules) {
	if t := q.tail(); t != nil {
		q.close(t)
	}
	for _, e := range q.chunks {
		if conflict(e, c, r.strict) {
			c.blocked++
		}
	}
	c.open = true
	q.chunks = append(q.chunks, c)
	if len(c.req.Data) >= r.aggregate {
		q.close(c)
	}
	q.trickle(r)
}

// trickle lets what is there go if nothing is under way.
func (q *queue) trickle(r *rules) {
	if r.trickling && q.flying == 0 && q.ready == 0 {
		q.push()
	}
}

// push lets what is there go: somebody waits for it.
func (q *queue) push() {
	if t := q.tail(); t != nil {
		q.close(t)
	}
}

func (q *queue) close(c *chunk) {
	c.open = false
	if c.blocked == 0 {
		q.ready++
	}
}

// next returns a chunk to send now, nil if there is none.
func (q *queue) next() *chunk {
	if q.ready == 0 {
		return nil
	}
	for _, c := range q.chunks {
		if !c.open && !c.sent && !c.failed && c.blocked == 0 {
			c.sent = true
			q.ready--
			q.flying++
			return c
		}
	}
	return nil
}

// done removes a chunk that was sent, or is given up, and frees those that
// waited for it.
func (q *queue) done(c *chunk, r *rules) {
	i := slices.Index(q.chunks, c)
	if c.sent {
		q.flying--
	} else if c.failed {
		q.kept--
	}
	for _, later := range q.chunks[i+1:] {
		if later.blocked == 0 || !conflict(c, later, r.strict) {
			continue
		}
		if later.blocked--; later.blocked == 0 && !later.open && !later.sent && !later.failed {
			q.ready++
		}
	}
	q.chunks = slices.Delete(q.chunks, i, i+1)
	if c.late == nil {
		q.bytes -= len(c.req.Data)
	}
	q.trickle(r)
}

// recount judges all anew, after strict has changed.
func (q *queue) recount(r *rules) {
	q.ready = 0
	for i, c := range q.chunks {
		if c.sent {
			continue
		}
		c.blocked = 0
		for _, e := range q.chunks[:i] {
			if conflict(e, c, r.strict) {
				c.blocked++
			}
		}
		if !c.open && !c.failed && c.blocked == 0 {
			q.ready++
		}
	}
}

// fail keeps a chunk that was sent in vain, to be tried again. It returns all
// that will not be done before that.
func (q *queue) fail(c *chunk, r *rules) (stuck []*chunk) {
	c.sent, c.failed = false, true
	q.flying--
	q.kept++
	stuck = append(stuck, c)
	for _, later := range q.chunks[slices.Index(q.chunks, c)+1:] {
		if later.blocked > 0 && slices.ContainsFunc(stuck, func(e *chunk) bool { return conflict(e, later, r.strict) }) {
			stuck = append(stuck, later)
		}
	}
	return stuck
}

// again has those that failed sent once more.
func (q *queue) again() {
	if q.kept == 0 {
		return
	}
	q.kept = 0
	for _, c := range q.chunks {
		if c.failed {
			c.failed = false
			if c.blocked == 0 {
				q.ready++
			}
		}
	}
}

// count returns how many chunks overlap s.
func (q *queue) count(s span) int {
	if s == everything {
		return len(q.chunks)
	}
	n := 0
	for _, c := range q.chunks {
		if c.overlaps(s) {
			n++
		}
	}
	return n
}
