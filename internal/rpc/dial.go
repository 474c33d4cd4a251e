package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A PortPolicy says from which local port a TCP connection is made.
type PortPolicy int

const (
	// PortHigh counts down from 49151, as GlusterFS clients do by default.
	PortHigh PortPolicy = iota
	// PortPrivileged counts down from 1023, for servers that refuse others.
	PortPrivileged
	// PortEphemeral leaves the choice to the system.
	PortEphemeral
)

// DialOptions say how to connect.
type DialOptions struct {
	ClientOptions

	Network string // "tcp" (the default), "tcp4", "tcp6" or "unix"
	Address string // host:port, or the path of the socket
	// TLS, if not nil, makes the connection use TLS from its first byte; see
	// TLSConfig. It is not for unix sockets.
	TLS *tls.Config
	// Ports chooses the local port. If none of the wanted range can be had,
	// the system chooses.
	Ports PortPolicy
	// ConnectTimeout limits connecting and the TLS handshake together; 0:
	// only the context does.
	ConnectTimeout time.Duration
	// KeepAlive; zero values: DefaultKeepAliveIdle and its kin.
	KeepAliveIdle     time.Duration // negative: no keep-alive
	KeepAliveInterval time.Duration
	KeepAliveCount    int
	// UserTimeout is how long sent data may stay unacknowledged before the
	// connection ends (TCP_USER_TIMEOUT, on Linux only); 0: the system's.
	UserTimeout time.Duration
	// WindowSize is the size of the socket buffers; 0: the system's.
	WindowSize int
	// Delay switches Nagle's algorithm on.
	Delay bool
}

// Dial connects to a server. Its errors name the address and carry the errno.
func Dial(ctx context.Context, opts DialOptions) (*Client, error) {
	conn, err := DialConn(ctx, opts)
	if err != nil {
		return nil, err
	}
	return NewClient(conn, opts.ClientOptions), nil
}

// DialConn connects as Dial does, but leaves the connection to the caller.
func DialConn(ctx context.Context, opts DialOptions) (net.Conn, error) {
	if opts.Network == "" {
		opts.Network = "tcp"
	}
	if opts.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opts.ConnectTimeout)
		defer cancel()
	}
	if opts.Network == "unix" {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", opts.Address)
		if err != nil {
			return nil, fmt.Errorf("rpc: connecting to %s: %w", opts.Address, err)
		}
		return conn, nil
	}
	conn, err := opts.dialTCP(ctx)
	if err != nil {
		return nil, fmt.Errorf("rpc: connecting to %s: %w", opts.Address, err)
	}
	if err := opts.Tune(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("rpc: connecting to %s: %w", opts.Address, err)
	}
	if opts.TLS == nil {
		return conn, nil
	}
	secure := tls.Client(conn, opts.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("rpc: TLS handshake with %s: %w", opts.Address, err)
	}
	return secure, nil
}

// Tune gives a TCP connection that was made elsewhere what opts says of sockets.
func (opts *DialOptions) Tune(conn *net.TCPConn) error {
	if opts.WindowSize > 0 {
		if err := errors.Join(conn.SetReadBuffer(opts.WindowSize), conn.SetWriteBuffer(opts.WindowSize)); err != nil {
			return err
		}
	}
	if opts.Delay {
		if err := conn.SetNoDelay(false); err != nil {
			return err
		}
	}
	if opts.UserTimeout > 0 {
		if err := setUserTimeout(conn, opts.UserTimeout); err != nil {
			return err
		}
	}
	return setKeepAlive(conn, opts.KeepAliveIdle, opts.KeepAliveInterval, opts.KeepAliveCount)
}

func setKeepAlive(conn *net.TCPConn, idle, interval time.Duration, count int) error {
	if idle < 0 {
		return conn.SetKeepAlive(false)
	}
	config := net.KeepAliveConfig{Enable: true, Idle: DefaultKeepAliveIdle, Interval: DefaultKeepAliveInterval, Count: DefaultKeepAliveCount}
	if idle > 0 {
		config.Idle = idle
	}
	if interval > 0 {
		config.Interval = interval
	}
	if count > 0 {
		config.Count = count
	}
	return conn.SetKeepAliveConfig(config)
}

func (opts *DialOptions) dialTCP(ctx context.Context) (*net.TCPConn, error) {
	host, port, err := net.SplitHostPort(opts.Address)
	if err != nil {
		return nil, err
	}
	family := strings.Replace(opts.Network, "tcp", "ip", 1)
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, family, host)
	if err != nil {
		return nil, err
	}
	for i, address := range addresses {
		var conn *net.TCPConn
		conn, err = opts.dialAddress(ctx, len(addresses)-i, net.JoinHostPort(address.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// dialAddress connects to one of the addresses that are left to be tried,
// which share the time that there is.
func (opts *DialOptions) dialAddress(ctx context.Context, left int, address string) (*net.TCPConn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	ports := portRange{0, 1}
	switch opts.Ports {
	case PortHigh:
		ports = portRange{49151, 1024}
	case PortPrivileged:
		ports = portRange{1023, 1}
	}
	dialer := net.Dialer{KeepAlive: -1}
	for port := ports.first; port >= ports.last; port-- {
		if reservedPort(port) {
			continue
		}
		dialer.LocalAddr = &net.TCPAddr{Port: port}
		conn, err := dialer.DialContext(ctx, opts.Network, address)
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) && !bindFailed(err) {
			continue // taken, or left over from an earlier connection
		}
		if bindFailed(err) {
			break // no right to such ports
		}
		return nil, err
	}
	dialer.LocalAddr = nil
	conn, err := dialer.DialContext(ctx, opts.Network, address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

type portRange struct{ first, last int }

// bindFailed reports whether it was bind that failed, not connect.
func bindFailed(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && call.Syscall == "bind"
}

// reservedPort reports whether the administrator keeps the port for somebody.
func reservedPort(port int) bool {
	for _, r := range reservedPorts() {
		if port <= r.first && port >= r.last {
			return true
		}
	}
	return false
}

// parseReservedPorts reads the kernel's list: "8080,9148-9150".
func parseReservedPorts(text string) []portRange {
	var ranges []portRange
	for _, field := range strings.Split(strings.TrimSpace(text), ",") {
		low, high, isRange := strings.Cut(field, "-")
		if !isRange {
			high = low
		}
		last, err := strconv.Atoi(low)
		first, err2 := strconv.Atoi(high)
		if err == nil && err2 == nil {
			ranges = append(ranges, portRange{first, last})
		}
	}
	return ranges
}
