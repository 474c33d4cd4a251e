package rpc

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Buffers come from one pool per power of two between these sizes; larger
// ones are left to the garbage collector.
const (
	minClass = 9  // 512 B
	maxClass = 22 // 4 MiB
)

var pools [maxClass + 1]sync.Pool

// A Buffer is a pooled, reference-counted piece of memory. It begins with one
// reference; Release of the last one returns it to its pool, after which
// nobody may touch B. Releasing is never required for correctness, only for
// reuse.
type Buffer struct {
	B    []byte
	refs atomic.Int32
}

// NewBuffer returns a buffer with len(B) = 0 and a capacity of at least n.
func NewBuffer(n int) *Buffer {
	class := max(minClass, bits.Len(uint(max(n, 1)-1)))
	if class > maxClass {
		b := &Buffer{B: make([]byte, 0, n)}
		b.refs.Store(1)
		return b
	}
	b, _ := pools[class].Get().(*Buffer)
	if b == nil {
		b = &Buffer{B: make([]byte, 0, 1<<class)}
	}
	b.B = b.B[:0]
	b.refs.Store(1)
	return b
}

// Retain adds a reference and returns b.
func (b *Buffer) Retain() *Buffer {
	b.refs.Add(1)
	return b
}

// Release gives one reference back. A nil Buffer is fine.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	switch n := b.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("rpc: Buffer released more often than retained")
	}
	// Appending may have moved B to another size: file it where every buffer
	// is at least as large as the class promises.
	class := bits.Len(uint(cap(b.B))) - 1
	if class >= minClass && class <= maxClass {
		pools[class].Put(b)
	}
}

// grow makes room for n bytes in all, keeping the contents.
func (b *Buffer) grow(n int) {
	if n <= cap(b.B) {
		return
	}
	bigger := NewBuffer(n)
	old := b.B
	b.B = append(bigger.B, old...)
	bigger.B = old[:0]
	bigger.Release()
}
