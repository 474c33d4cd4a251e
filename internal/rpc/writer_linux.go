package rpc

import (
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// A plainWriter writes a writer's batch to a plain socket with writev. The
// system call never blocks and is made under the writer's io lock, which is
// what lets withdraw take back memory at any time.
type plainWriter struct {
	w   *writer
	raw syscall.RawConn

	turn     sync.Mutex // held by try and flush; guards all below
	iov      []syscall.Iovec
	step     func(fd uintptr) bool // kept, so that no call allocates a closure
	waiting  bool                  // step may report that it must be called again
	rounds   int
	finished bool
	err      error
}

func (p *plainWriter) init(w *writer) {
	p.w = w
	switch conn := w.conn.(type) {
	case *net.TCPConn:
		p.raw, _ = conn.SyscallConn()
	case *net.UnixConn:
		p.raw, _ = conn.SyscallConn()
	}
	p.step = p.write
}

func (p *plainWriter) usable() bool { return p.raw != nil }

// try writes as much as the socket takes at once. It reports false if a
// goroutine has to call flush.
func (p *plainWriter) try() bool {
	if p.raw == nil {
		return false
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	p.waiting = false
	p.rounds = inlineRounds
	if err := p.run(); err != nil {
		p.w.fail(err)
		return true
	}
	return p.finished
}

// flush writes until the queue is empty, waiting for the socket.
func (p *plainWriter) flush() error {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.waiting = true
	p.deadline()
	return p.run()
}

func (p *plainWriter) run() error {
	p.finished = false
	p.err = nil
	if err := p.raw.Write(p.step); err != nil {
		return err
	}
	return p.err
}

func (p *plainWriter) deadline() {
	if p.w.timeout > 0 {
		p.w.conn.SetWriteDeadline(time.Now().Add(p.w.timeout))
	}
}

// write is one turn with the socket; false means to wait until it is
// writable.
func (p *plainWriter) write(fd uintptr) bool {
	w := p.w
	w.io.Lock()
	defer w.io.Unlock()
	progress := false
	for {
		// More may have been queued since the batch was taken; it goes along.
		if !w.take() {
			p.finished = true
			if p.waiting && w.timeout > 0 {
				w.conn.SetWriteDeadline(time.Time{})
			}
			return true
		}
		if !p.waiting {
			if p.rounds == 0 {
				return true
			}
			p.rounds--
		}
		n, err := p.writev(fd)
		switch err {
		case 0:
			w.advance(n)
			progress = true
		case syscall.EINTR:
		case syscall.EAGAIN:
			if p.waiting && progress {
				p.deadline()
			}
			return !p.waiting
		default:
			p.err = os.NewSyscallError("writev", err)
			return true
		}
	}
}

func (p *plainWriter) writev(fd uintptr) (int, syscall.Errno) {
	iov := p.iov[:0]
	size := 0
collect:
	for _, m := range p.w.batch {
		for _, v := range m.vec {
			if len(iov) == maxVectors {
				break collect
			}
			vector := syscall.Iovec{Base: &v[0]}
			vector.SetLen(len(v))
			size += len(v)
			iov = append(iov, vector)
		}
	}
	var n uintptr
	var err syscall.Errno
	if size <= quickSize {
		n, _, err = syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
	} else {
		n, _, err = syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
	}
	runtime.KeepAlive(iov)
	clear(iov)
	p.iov = iov[:0]
	return int(n), err
}
