package rpc

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of one round of writing.
const (
	maxVectors = 128
	// inlineRounds is how often a caller goes on to write what others queued
	// meanwhile before a goroutine takes that over.
	inlineRounds = 4
	chunkSize    = 64 << 10 // of the copying writer
)

type messageState uint8

const (
	messageIdle messageState = iota
	messageQueued
	messageSending
)

// A message is one record on its way out: a pooled head and the memory of
// callers behind it, which is not copied.
type message struct {
	head  *Buffer
	vec   [][]byte // what is still to be sent; begins with head's bytes
	array [4][]byte
	size  int
	state messageState // guarded by writer.mu
	done  atomic.Bool  // it was sent or dropped: its memory is free again
	// after, if not nil, is called once when done becomes true. It must not
	// block.
	after func()
	next  *message
}

// set makes the message consist of head and payload and writes the record
// mark, for which the first four bytes of head are reserved. It reports false
// if the record would be too large.
func (m *message) set(head *Buffer, payload []byte, more [][]byte) bool {
	m.head = head
	m.vec = append(m.array[:0], head.B)
	m.size = len(head.B)
	if len(payload) > 0 {
		m.vec = append(m.vec, payload)
		m.size += len(payload)
	}
	for _, p := range more {
		if len(p) > 0 {
			m.vec = append(m.vec, p)
			m.size += len(p)
		}
	}
	m.state = messageIdle
	m.done.Store(false)
	binary.BigEndian.PutUint32(head.B, uint32(m.size-markSize)|lastFragment)
	return m.size-markSize < MaxRecord
}

func (m *message) finish() {
	m.head.Release()
	m.head = nil
	m.vec = nil
	m.array = [4][]byte{}
	m.next = nil
	after := m.after
	m.after = nil
	m.done.Store(true)
	if after != nil {
		after()
	}
}

// A writer sends messages over one connection, in order, as many as there are
// in one system call. The goroutine that finds nobody writing writes itself,
// and what others queue meanwhile goes with its next round, so a lone message
// never waits. Where the socket is full or the connection has no plain file
// descriptor (TLS, other systems), a goroutine does the waiting: send never
// blocks.
//
// Lock order: io before mu.
type writer struct {
	conn    net.Conn
	timeout time.Duration   // for a peer that does not read; 0: none
	failed  func(err error) // called once, outside the locks
	sent    atomic.Uint64   // bytes

	mu          sync.Mutex
	first, last *message
	queued      int
	writing     bool // somebody is responsible for the queue
	err         error

	io    sync.Mutex
	batch []*message // taken from the queue, in order
	chunk []byte
	plain plainWriter
}

func (w *writer) init(conn net.Conn, timeout time.Duration, failed func(error)) {
	w.conn = conn
	w.timeout = timeout
	w.failed = failed
	w.plain.init(w)
}

// send queues m and sees to it that it is sent. After an error, now or later,
// m is finished as if it had been sent.
func (w *writer) send(m *message) error {
	w.mu.Lock()
	if err := w.err; err != nil {
		w.mu.Unlock()
		m.finish()
		return err
	}
	w.add(m)
	if w.writing {
		w.mu.Unlock()
		return nil
	}
	w.writing = true
	w.mu.Unlock()
	if !w.plain.try() {
		go w.flush()
	}
	return nil
}

// queue queues m for the next send or push to take along. It reports false,
// and does nothing, if somebody is writing already or the writer has failed.
func (w *writer) queue(m *message) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing || w.err != nil {
		return false
	}
	w.add(m)
	return true
}

// push sends what queue has left, if anything.
func (w *writer) push() {
	w.mu.Lock()
	if w.writing || w.first == nil {
		w.mu.Unlock()
		return
	}
	w.writing = true
	w.mu.Unlock()
	if !w.plain.try() {
		go w.flush()
	}
}

// add puts m at the end of the queue. mu must be held.
func (w *writer) add(m *message) {
	m.state = messageQueued
	m.next = nil
	if w.last == nil {
		w.first = m
	} else {
		w.last.next = m
	}
	w.last = m
	w.queued++
}

// backlog returns the number of messages that wait.
func (w *writer) backlog() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued
}

// take moves the queue to the batch. If both are empty the responsibility for
// the queue ends and take reports false. io must be held.
func (w *writer) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for m := w.first; m != nil; m = m.next {
		m.state = messageSending
		w.batch = append(w.batch, m)
	}
	w.first, w.last, w.queued = nil, nil, 0
	if len(w.batch) == 0 {
		w.writing = false
		return false
	}
	return true
}

// advance takes n bytes off the front of the batch. io must be held.
func (w *writer) advance(n int) {
	w.sent.Add(uint64(n))
	finished := 0
	for _, m := range w.batch {
		for n > 0 && len(m.vec) > 0 {
			k := min(n, len(m.vec[0]))
			n -= k
			if k < len(m.vec[0]) {
				m.vec[0] = m.vec[0][k:]
				break
			}
			m.vec[0] = nil
			m.vec = m.vec[1:]
		}
		if len(m.vec) > 0 {
			break
		}
		m.finish()
		finished++
	}
	rest := copy(w.batch, w.batch[finished:])
	clear(w.batch[rest:])
	w.batch = w.batch[:rest]
}

// flush waits for the socket and writes until the queue is empty.
func (w *writer) flush() {
	var err error
	if w.plain.usable() {
		err = w.plain.flush()
	} else {
		err = w.flushCopy()
	}
	if err != nil {
		w.fail(err)
	}
}

// flushCopy writes through a buffer of its own, so that the memory of callers
// is never in the hands of a Write that blocks.
//
// Over TLS every message begins a TLS record: GlusterFS 10.3 reads one message
// and then waits for the socket to become readable again, which it never does
// for a second message that its TLS library has decrypted already along with
// the first.
func (w *writer) flushCopy() error {
	_, oneByOne := w.conn.(*tls.Conn)
	for {
		w.io.Lock()
		if !w.take() {
			w.io.Unlock()
			return nil
		}
		if w.chunk == nil {
			w.chunk = make([]byte, 0, chunkSize)
		}
		chunk := w.chunk[:0]
	fill:
		for _, m := range w.batch {
			for _, v := range m.vec {
				n := min(len(v), chunkSize-len(chunk))
				chunk = append(chunk, v[:n]...)
				if n < len(v) {
					break fill
				}
			}
			if oneByOne {
				break
			}
		}
		w.advance(len(chunk))
		w.io.Unlock()
		if w.timeout > 0 {
			w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
		}
		n, err := w.conn.Write(chunk)
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return err
		}
	}
}

// fail ends the writer: what is queued and what comes is dropped.
func (w *writer) fail(err error) {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return
	}
	w.err = err
	w.mu.Unlock()
	w.drop()
	if w.failed != nil {
		w.failed(err)
	}
}

// drop finishes all messages after an error has been recorded.
func (w *writer) drop() {
	w.io.Lock()
	defer w.io.Unlock()
	w.mu.Lock()
	for m := w.first; m != nil; m = m.next {
		w.batch = append(w.batch, m)
	}
	w.first, w.last, w.queued = nil, nil, 0
	w.mu.Unlock()
	for _, m := range w.batch {
		m.finish()
	}
	clear(w.batch)
	w.batch = w.batch[:0]
}

// withdraw ends the use of the memory behind m's head before it returns. It
// reports whether m itself is free, too; if not, the rest of m is sent from
// copies.
func (w *writer) withdraw(m *message) bool {
	if m.done.Load() {
		return true
	}
	w.io.Lock()
	defer w.io.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.done.Load() || m.state == messageIdle {
		return true
	}
	if m.state == messageQueued {
		var previous *message
		for q := w.first; q != nil; previous, q = q, q.next {
			if q != m {
				continue
			}
			if previous == nil {
				w.first = m.next
			} else {
				previous.next = m.next
			}
			if w.last == m {
				w.last = previous
			}
			w.queued--
			m.finish()
			return true
		}
	}
	for i, v := range m.vec {
		m.vec[i] = append([]byte(nil), v...)
	}
	return false
}
