package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// listen opens the sockets that the options ask for, if any.
func (s *Server) listen() error {
	opt := s.cfg.Options
	first := func(keys ...string) string {
		for _, k := range keys {
			if v := opt[k]; v != "" {
				return v
			}
		}
		return ""
	}
	path := first("transport.socket.listen-path", "listen-path")
	port := first("transport.socket.listen-port", "listen-port")
	family := opt.String("transport.address-family", "inet")
	var network, addr string
	switch {
	case family == "unix" || path != "" && port == "":
		if path == "" {
			return fmt.Errorf("option transport.socket.listen-path is missing: %w", syscall.EINVAL)
		}
		// What is left of a process that was killed does not listen.
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return fmt.Errorf("listen on %s: %w", path, syscall.EADDRINUSE)
		}
		os.Remove(path)
		network, addr = "unix", path
	case port == "":
		return nil
	default:
		n, err := strconv.ParseUint(port, 0, 16)
		if err != nil {
			return fmt.Errorf("option transport.socket.listen-port: %q is no port: %w", port, syscall.EINVAL)
		}
		network = "tcp"
		if family == "inet" {
			network = "tcp4"
		}
		host := strings.Trim(first("transport.socket.bind-address", "bind-address"), "[]")
		addr = net.JoinHostPort(host, strconv.FormatUint(n, 10))
	}
	timeout := opt.Duration("transport.tcp-user-timeout", opt.Duration("transport.socket.tcp-user-timeout", 42*time.Second))
	lc := net.ListenConfig{KeepAlive: -1} // package rpc sets it
	if network != "unix" {
		lc.Control = func(_, _ string, c syscall.RawConn) error { return setUserTimeout(c, timeout) }
	}
	l, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	s.listeners = append(s.listeners, l)
	return nil
}
