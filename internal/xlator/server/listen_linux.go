package server

import (
	"os"
	"syscall"
	"time"
)

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h, in milliseconds

// setUserTimeout bounds for how long sent data may stay unacknowledged.
// Connections inherit it from the listening socket.
func setUserTimeout(c syscall.RawConn, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	var err error
	if e := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds())))
	}); e != nil {
		return e
	}
	return err
}
