package fuse

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

const (
	// maxIO is the most that one read or write of the kernel's carries.
	maxIO = 1 << 20
	// inputSize holds the largest message: a write with its header.
	inputSize = maxIO + 4096
	// smallSize holds every message and reply but those that carry data. A link's
	// target and two names fit.
	smallSize = 12 << 10
	// headerRoom is more than the fixed part of any reply takes.
	headerRoom = 512

	inHeaderSize = int(unsafe.Sizeof(fuse.InHeader{}))

	// maxIdle is how many goroutines without work are kept.
	maxIdle = 64
	// defaultReaders wait for requests at once: one more than one, so that a
	// request that comes while another is worked on finds somebody.
	defaultReaders = 2
)

// Opcodes that the transports treat themselves.
const (
	opForget      = 2
	opRead        = 15
	opWrite       = 16
	opGetxattr    = 22
	opListxattr   = 23
	opInit        = 26
	opReaddir     = 28
	opInterrupt   = 36
	opIoctl       = 39
	opDestroy     = 38
	opBatchForget = 42
	opReaddirplus = 44
)

// device carries requests by reading and writing /dev/fuse. Goroutines take
// turns: each reads a request, serves it and writes the reply, and as long as
// requests come one after the other they meet no other goroutine.
type device struct {
	fd    int
	serve func(in, out [][]byte) int // the length of the reply; 0 is none
	log   *slog.Logger
	dump  *dumper

	maxReaders int32
	readers    atomic.Int32 // goroutines in read(2)
	idle       chan struct{}
	sleeping   atomic.Int32
	dead       atomic.Bool
	ended      chan struct{} // closed when the kernel is gone
	work       sync.WaitGroup
	inputs     sync.Pool // *input

	lentMu sync.Mutex
	lent   map[uint64]*input // of large writes that are being served, by their numbers
}

// input is the memory of a request that is too large for its worker's own.
type input struct {
	d    *device
	refs atomic.Int32
	b    [inputSize]byte
}

// Hold and Free make it a fop.Memory.
func (i *input) Hold() { i.refs.Add(1) }

func (i *input) Free() {
	if i.refs.Add(-1) == 0 {
		i.d.inputs.Put(i)
	}
}

// lend lets the memory of a write be asked for until it has been served.
func (d *device) lend(in []byte, i *input) {
	d.lentMu.Lock()
	d.lent[unique(in)] = i
	d.lentMu.Unlock()
}

func (d *device) lendNoMore(in []byte) {
	d.lentMu.Lock()
	delete(d.lent, unique(in))
	d.lentMu.Unlock()
}

// memory is that of the data of a write that is being served, nil if it cannot be
// kept beyond that.
func (d *device) memory(unique uint64) fop.Memory {
	d.lentMu.Lock()
	defer d.lentMu.Unlock()
	if i := d.lent[unique]; i != nil {
		return i
	}
	return nil
}

func newDevice(fd int, serve func(in, out [][]byte) int, readers int, log *slog.Logger, dump *dumper) *device {
	if readers == 0 {
		readers = defaultReaders
	}
	d := &device{fd: fd, serve: serve, log: log, dump: dump, maxReaders: int32(readers), idle: make(chan struct{}), ended: make(chan struct{}),
		lent: make(map[uint64]*input)}
	d.inputs.New = func() any { return &input{d: d} }
	return d
}

// start begins to serve; wait waits until the kernel is gone and all requests
// have been served.
func (d *device) start() { d.spawn() }

func (d *device) wait() {
	<-d.ended
	d.work.Wait()
}

// spawn has one more goroutine read.
func (d *device) spawn() {
	select {
	case d.idle <- struct{}{}: // somebody sleeps
	default:
		d.work.Add(1)
		go d.worker()
	}
}

// worker reads and serves requests until there are enough others to do so.
func (d *device) worker() {
	defer d.work.Done()
	var w turn
	for {
		if d.readers.Add(1) > d.maxReaders {
			d.readers.Add(-1)
			if !d.sleep() {
				return
			}
			continue
		}
		large := d.inputs.Get().(*input)
		n, err := d.read(large.b[:])
		if err != nil {
			d.readers.Add(-1)
			d.inputs.Put(large)
			if !d.again(err) {
				d.end()
				return
			}
			continue
		}
		in := large.b[:n]
		op := opcode(in)
		left := d.readers.Add(-1)
		// Forgets are not waited for by anybody: a single goroutine that gets
		// through with them in order is faster.
		if left == 0 && op != opForget && op != opBatchForget {
			d.spawn()
		}
		if n <= len(w.small) { // the large buffer is for others
			in = w.small[:copy(w.small[:], in)]
			d.inputs.Put(large)
			d.handle(&w, in)
			continue
		}
		large.Hold()
		if op == opWrite {
			d.lend(in, large)
			d.handle(&w, in)
			d.lendNoMore(in)
		} else {
			d.handle(&w, in)
		}
		large.Free()
	}
}

// sleep waits until a reader is needed. It is false if that is enough of them.
func (d *device) sleep() bool {
	if d.sleeping.Add(1) > maxIdle {
		d.sleeping.Add(-1)
		return false
	}
	defer d.sleeping.Add(-1)
	select {
	case <-d.idle:
		return true
	case <-d.ended:
		return false
	}
}

func (d *device) read(b []byte) (int, error) {
	for {
		n, err := syscall.Read(d.fd, b)
		switch {
		case err == syscall.EINTR:
			continue
		case err == nil && n < inHeaderSize:
			return 0, syscall.EIO
		}
		return n, err
	}
}

// again reports whether reading goes on after an error.
func (d *device) again(err error) bool {
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EAGAIN): // the request was taken back
		return true
	case !errors.Is(err, syscall.ENODEV): // ENODEV: unmounted
		d.log.Error("reading /dev/fuse", "err", err)
	}
	return false
}

func (d *device) end() {
	if !d.dead.Swap(true) {
		close(d.ended)
	}
}

// turn is what a worker needs for one request after the other.
type turn struct {
	small, reply [smallSize]byte
	in, out      [1][]byte
}

// handle serves one request.
func (d *device) handle(w *turn, in []byte) {
	d.dump.message('R', in)
	out := w.reply[:]
	if size := replySize(in); size > len(out) {
		large := largeReplies(size)
		defer freeReply(large)
		out = (*large)[:size]
	}
	w.in[0], w.out[0] = in, out
	n := d.serve(w.in[:], w.out[:])
	if n == 0 {
		return
	}
	d.dump.message('W', out[:n])
	if err := d.write(out[:n]); err != nil && !errors.Is(err, syscall.ENOENT) && !d.dead.Load() {
		// ENOENT: nobody waits any more.
		d.log.Error("the kernel does not take a reply", "opcode", opcode(in), "length", n, "err", err)
	}
}

func (d *device) write(b []byte) error {
	for {
		_, err := syscall.Write(d.fd, b)
		if err != syscall.EINTR {
			return err
		}
	}
}

func opcode(in []byte) uint32 { return binary.NativeEndian.Uint32(in[4:]) }
func unique(in []byte) uint64 { return binary.NativeEndian.Uint64(in[8:]) }

// replySize is how much room the reply to a request may need.
func replySize(in []byte) int {
	at := 0
	switch opcode(in) {
	case opRead, opReaddir, opReaddirplus:
		at = inHeaderSize + 16
	case opGetxattr, opListxattr:
		at = inHeaderSize
	case opIoctl:
		at = inHeaderSize + 28
	}
	if at == 0 || len(in) < at+4 {
		return smallSize
	}
	return max(smallSize, headerRoom+int(min(binary.NativeEndian.Uint32(in[at:]), maxIO)))
}

// Buffers for replies with data, by size. They are long enough for the header,
// too, so that a reply is one piece.
var replyClasses = [...]int{smallSize, 36 << 10, 132 << 10, 260 << 10, maxIO + headerRoom}

var replyPools [len(replyClasses)]sync.Pool

func replyClass(size int) int {
	for i, s := range replyClasses {
		if size <= s {
			return i
		}
	}
	return len(replyClasses) - 1
}

func largeReplies(size int) *[]byte {
	i := replyClass(size)
	if b, ok := replyPools[i].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, replyClasses[i])
	return &b
}

func freeReply(b *[]byte) { replyPools[replyClass(len(*b))].Put(b) }
