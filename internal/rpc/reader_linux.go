package rpc

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// quickSize is up to where a system call on a socket is made without a word to
// the scheduler. Sockets here never block, and a copy of this size takes some ten
// microseconds. The word would cost more: in a program that has just been idle,
// which between two messages it mostly is, it wakes the scheduler's watchdog
// thread, and that takes a processor away from whoever works on the answer.
const quickSize = 64 << 10

// A plainReader reads a plain socket. It belongs to whoever reads.
type plainReader struct {
	raw  syscall.RawConn // nil: use the connection
	conn net.Conn
	step func(fd uintptr) bool // kept, so that no call allocates a closure
	buf  []byte
	n    int
	err  error
}

func (p *plainReader) init(conn net.Conn) {
	p.conn = conn
	switch c := conn.(type) {
	case *net.TCPConn:
		p.raw, _ = c.SyscallConn()
	case *net.UnixConn:
		p.raw, _ = c.SyscallConn()
	}
	p.step = p.once
}

// Read is that of the connection.
func (p *plainReader) Read(buf []byte) (int, error) {
	if p.raw == nil || len(buf) == 0 || len(buf) > quickSize {
		return p.conn.Read(buf)
	}
	p.buf, p.n, p.err = buf, 0, nil
	err := p.raw.Read(p.step)
	p.buf = nil
	if err != nil {
		return 0, err
	}
	return p.n, p.err
}

// once reads what is there; false means to wait for something.
func (p *plainReader) once(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)))
		switch errno {
		case 0:
			if p.n = int(n); n == 0 {
				p.err = io.EOF
			}
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			p.err = os.NewSyscallError("read", errno)
			return true
		}
	}
}
