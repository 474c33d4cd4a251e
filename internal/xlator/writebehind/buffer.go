package writebehind

import (
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

// Buffers come in a few sizes, so that a chunk which grows is copied seldom.
var sizes = [...]int{4 << 10, 32 << 10, 128 << 10, 1 << 20}

var pools [len(sizes)]sync.Pool

// buffer is memory that goes back to its pool.
type buffer struct{ b []byte }

// getBuffer returns a buffer of at least n bytes.
func getBuffer(n int) *buffer {
	for i, size := range sizes {
		if n <= size {
			if p, ok := pools[i].Get().(*buffer); ok {
				return p
			}
			return &buffer{make([]byte, size)}
		}
	}
	return &buffer{make([]byte, n)}
}

// free gives a buffer back; nil is none.
func (b *buffer) free() {
	if b == nil {
		return
	}
	for i, size := range sizes {
		if cap(b.b) == size {
			pools[i].Put(b)
			return
		}
	}
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// recycle gives a chunk and its buffer back.
func (c *chunk) recycle() {
	c.buf.free()
	if c.mem != nil {
		c.mem.Free()
	}
	*c = chunk{}
	chunks.Put(c)
}

// grow makes room for n bytes behind the data.
func (c *chunk) grow(n, aggregate int) {
	have := len(c.req.Data)
	if c.buf != nil && have+n <= len(c.buf.b) {
		return
	}
	// What grew twice is likely to grow on.
	want := have + n
	if have > sizes[0] {
		want = max(want, aggregate)
	}
	b := getBuffer(want)
	copy(b.b, c.req.Data)
	c.buf.free()
	c.buf, c.req.Data = b, b.b[:have]
	if c.mem != nil {
		c.mem.Free()
		c.mem = nil
	}
}

// keep has the chunk hold the data of a write where it is.
func (c *chunk) keep(r *fop.Write) {
	c.mem = r.Memory
	c.mem.Hold()
	c.req.Data = r.Data[:len(r.Data):len(r.Data)]
}

// add appends data.
func (c *chunk) add(data []byte, aggregate int) {
	have := len(c.req.Data)
	c.grow(len(data), aggregate)
	copy(c.buf.b[have:], data)
	c.req.Data = c.buf.b[:have+len(data)]
}
