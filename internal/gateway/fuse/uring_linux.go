package fuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// FUSE over io_uring (Linux 6.14, Documentation/filesystems/fuse-io-uring.rst).
//
// The kernel has a queue per processor and puts a request into an entry that we
// have registered for that queue: a header and a buffer for the rest. One system
// call then hands in a reply and waits for the next request, where /dev/fuse needs
// a write and a read.
//
// Each worker has a ring of its own with a single entry, so that who waits is who
// serves and nothing is handed from thread to thread. A queue whose workers are
// all busy gets another one: entries that wait for locks must not keep the unlock
// out. Forgets and interrupts still come by /dev/fuse.
const (
	uringSetupCoop   = 1 << 8  // IORING_SETUP_COOP_TASKRUN
	uringSetupSQE128 = 1 << 10 // IORING_SETUP_SQE128
	uringSingleMmap  = 1 << 0  // IORING_FEAT_SINGLE_MMAP
	uringGetEvents   = 1 << 0  // IORING_ENTER_GETEVENTS
	uringOpCmd       = 46      // IORING_OP_URING_CMD
	uringOffSQEs     = 0x10000000

	uringRegister = 1 // FUSE_IO_URING_CMD_REGISTER
	uringCommit   = 2 // FUSE_IO_URING_CMD_COMMIT_AND_FETCH

	// The parts of struct fuse_uring_req_header.
	uringOpIn      = 128
	uringCommitID  = 256 + 8
	uringPayloadSz = 256 + 16
	uringHeader    = 256 + 32

	outHeaderSize = int(unsafe.Sizeof(fuse.OutHeader{}))

	// uringWorkers is how many workers a queue begins with, maxURingWorkers how
	// many it may get.
	uringWorkers    = 2
	maxURingWorkers = 512
)

// uringEnabled says why the kernel offers no FUSE over io_uring, if it does not.
func uringEnabled() error {
	const param = "/sys/module/fuse/parameters/enable_uring"
	b, err := os.ReadFile(param)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("FUSE over io_uring needs Linux 6.14: %w", syscall.ENOTSUP)
	case err != nil:
		return err
	case strings.TrimSpace(string(b)) != "Y":
		return fmt.Errorf("FUSE over io_uring is off; root can write Y to %s: %w", param, syscall.ENOTSUP)
	}
	if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && strings.TrimSpace(string(b)) == "2" {
		return fmt.Errorf("io_uring is off, see sysctl kernel.io_uring_disabled: %w", syscall.ENOTSUP)
	}
	return nil
}

// possibleCPUs is how many queues the kernel has.
func possibleCPUs() int {
	b, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err == nil {
		s := strings.TrimSpace(string(b))
		if n, err := strconv.Atoi(s[strings.LastIndexAny(s, "-,")+1:]); err == nil {
			return n + 1
		}
	}
	return runtime.NumCPU()
}

// uring carries requests by rings.
type uring struct {
	fd    int // of /dev/fuse
	serve func(in, out [][]byte) int
	log   *slog.Logger
	dump  *dumper
	queue []uringQueue
	work  sync.WaitGroup
}

type uringQueue struct {
	workers, busy atomic.Int32
}

func newURing(fd int, serve func(in, out [][]byte) int, log *slog.Logger, dump *dumper) *uring {
	return &uring{fd: fd, serve: serve, log: log, dump: dump, queue: make([]uringQueue, possibleCPUs())}
}

// start registers entries for all queues. The kernel uses them once every queue
// has one.
func (u *uring) start(perQueue int) error {
	if perQueue == 0 {
		perQueue = uringWorkers
	}
	for q := range u.queue {
		for range perQueue {
			if err := u.add(q); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait waits until the kernel has let go of all entries.
func (u *uring) wait() { u.work.Wait() }

// add starts one more worker for a queue.
func (u *uring) add(q int) error {
	w, err := newURingWorker(u, q)
	if err != nil {
		return fmt.Errorf("io_uring for queue %d: %w", q, err)
	}
	u.queue[q].workers.Add(1)
	u.work.Add(1)
	go w.run()
	return nil
}

// uringWorker is a ring with one entry.
type uringWorker struct {
	u       *uring
	q       int
	ring    int // descriptor
	sq, sqe []byte
	tail    *uint32 // of the submission queue
	cqHead  *uint32
	cqTail  *uint32
	cqes    int // offset in sq
	mask    uint32
	memory  []byte // header and payload
	header  []byte
	payload []byte
	iov     [2]unix.Iovec
	in      [3][]byte
	out     [2][]byte
}

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sqHead, sqTail, sqMask, sqRing, sqFlags, sqDropped   uint32
	sqArray, _                                           uint32
	_                                                    uint64
	cqHead, cqTail, cqMask, cqRing, cqOverflow, cqCqes   uint32
	cqFlags, _                                           uint32
	_                                                    uint64
}

const pageSize = 4096

func newURingWorker(u *uring, q int) (_ *uringWorker, err error) {
	p := uringParams{flags: uringSetupSQE128 | uringSetupCoop}
	fd, _, e := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return nil, e
	}
	w := &uringWorker{u: u, q: q, ring: int(fd)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if p.features&uringSingleMmap == 0 {
		return nil, syscall.ENOTSUP
	}
	size := max(int(p.sqArray)+4*int(p.sqEntries), int(p.cqCqes)+16*int(p.cqEntries))
	if w.sq, err = unix.Mmap(w.ring, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, err
	}
	if w.sqe, err = unix.Mmap(w.ring, uringOffSQEs, 128*int(p.sqEntries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, err
	}
	// Not of Go's heap: most of it is never touched.
	if w.memory, err = unix.Mmap(-1, 0, pageSize+maxIO, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
		return nil, err
	}
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&w.sq[off])) }
	w.tail, w.cqHead, w.cqTail = word(p.sqTail), word(p.cqHead), word(p.cqTail)
	w.mask, w.cqes = *word(p.cqMask), int(p.cqCqes)
	*word(p.sqArray) = 0
	w.header, w.payload = w.memory[:uringHeader], w.memory[pageSize:]
	w.iov[0] = unix.Iovec{Base: &w.header[0], Len: uint64(len(w.header))}
	w.iov[1] = unix.Iovec{Base: &w.payload[0], Len: uint64(len(w.payload))}
	return w, nil
}

func (w *uringWorker) close() {
	for _, m := range [][]byte{w.sq, w.sqe, w.memory} {
		if m != nil {
			unix.Munmap(m)
		}
	}
	syscall.Close(w.ring)
}

// prepare writes the one submission.
func (w *uringWorker) prepare(cmd uint32, commit uint64) {
	s := w.sqe[:128]
	clear(s)
	s[0] = uringOpCmd
	binary.NativeEndian.PutUint32(s[4:], uint32(w.u.fd))
	binary.NativeEndian.PutUint32(s[8:], cmd)
	if cmd == uringRegister {
		binary.NativeEndian.PutUint64(s[16:], uint64(uintptr(unsafe.Pointer(&w.iov[0]))))
		binary.NativeEndian.PutUint32(s[24:], uint32(len(w.iov)))
	}
	binary.NativeEndian.PutUint64(s[48+8:], commit)
	binary.NativeEndian.PutUint16(s[48+16:], uint16(w.q))
	atomic.AddUint32(w.tail, 1)
}

// next hands the submission in and waits for its completion.
func (w *uringWorker) next() error {
	submit := uintptr(1)
	for {
		n, _, e := syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(w.ring), submit, 1, uringGetEvents, 0, 0)
		switch {
		case e == 0:
			submit -= min(submit, n)
		case e != syscall.EINTR && e != syscall.EAGAIN && e != syscall.EBUSY:
			return e
		}
		head := *w.cqHead
		if head == atomic.LoadUint32(w.cqTail) {
			continue
		}
		res := int32(binary.NativeEndian.Uint32(w.sq[w.cqes+int(head&w.mask)*16+8:]))
		atomic.StoreUint32(w.cqHead, head+1)
		if res < 0 {
			return syscall.Errno(-res)
		}
		return nil
	}
}

func (w *uringWorker) run() {
	defer w.u.work.Done()
	defer w.close()
	queue := &w.u.queue[w.q]
	cmd, commit := uint32(uringRegister), uint64(0)
	for {
		w.prepare(cmd, commit)
		if err := w.next(); err != nil {
			if !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECANCELED) && !errors.Is(err, syscall.ENODEV) {
				w.u.log.Error("FUSE over io_uring", "queue", w.q, "err", err)
			}
			return
		}
		if busy := queue.busy.Add(1); busy == queue.workers.Load() && busy < maxURingWorkers {
			if err := w.u.add(w.q); err != nil {
				w.u.log.Warn("one more worker", "err", err)
			}
		}
		w.handle()
		queue.busy.Add(-1)
		cmd, commit = uringCommit, binary.NativeEndian.Uint64(w.header[uringCommitID:])
	}
}

// handle serves the request in the entry and leaves the reply there.
func (w *uringWorker) handle() {
	size := int(binary.NativeEndian.Uint32(w.header))
	payload := int(min(binary.NativeEndian.Uint32(w.header[uringPayloadSz:]), uint32(len(w.payload))))
	op := max(0, min(size-inHeaderSize-payload, uringOpIn))
	w.in = [3][]byte{w.header[:inHeaderSize], w.header[uringOpIn : uringOpIn+op], w.payload[:payload]}
	w.out = [2][]byte{w.header[:outHeaderSize], w.payload}
	w.u.dump.message('R', w.in[:]...)
	n := w.u.serve(w.in[:], w.out[:])
	n = max(n, outHeaderSize)
	w.u.dump.message('W', w.header[:outHeaderSize], w.payload[:n-outHeaderSize])
	binary.NativeEndian.PutUint32(w.header[uringPayloadSz:], uint32(n-outHeaderSize))
}
