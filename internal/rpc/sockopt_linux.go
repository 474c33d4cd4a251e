package rpc

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h, in milliseconds

func setUserTimeout(conn *net.TCPConn, timeout time.Duration) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt",
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(timeout.Milliseconds())))
	})
	if err != nil {
		return err
	}
	return failed
}

var reservedPorts = sync.OnceValue(func() []portRange {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	if err != nil {
		return nil
	}
	return parseReservedPorts(string(text))
})

// inputWaits reports whether there is something to read on a socket.
func inputWaits(raw syscall.RawConn) (waits bool) {
	if raw == nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		poll := struct {
			fd              int32
			events, revents int16
		}{fd: int32(fd), events: 1} // POLLIN
		var now syscall.Timespec
		n, _, _ := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		waits = n == 1 && poll.revents != 0
	})
	return waits
}
