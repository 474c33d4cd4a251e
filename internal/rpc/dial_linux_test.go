package rpc

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func localPort(t *testing.T, c *Client) int {
	t.Helper()
	return c.LocalAddr().(*net.TCPAddr).Port
}

func TestSourcePorts(t *testing.T) {
	ts := newTestServer(t, nil)
	dial := func(ports PortPolicy) *Client {
		c, err := Dial(t.Context(), DialOptions{Address: ts.addr.String(), Ports: ports, ClientOptions: ClientOptions{Log: quiet}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		mustEcho(t, c, "port")
		return c
	}
	first, second := localPort(t, dial(PortHigh)), localPort(t, dial(PortHigh))
	if first > 49151 || first < 1024 || second >= first {
		t.Errorf("ports %d and %d, want them to count down from 49151", first, second)
	}
	// Without the right to it another port does as well.
	if port := localPort(t, dial(PortPrivileged)); port >= 1024 && syscall.Geteuid() == 0 {
		t.Errorf("port %d, want one below 1024", port)
	}
	dial(PortEphemeral)
}

func TestDialErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	for _, ports := range []PortPolicy{PortHigh, PortPrivileged, PortEphemeral} {
		_, err = Dial(t.Context(), DialOptions{Address: address, Ports: ports})
		if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), address) {
			t.Errorf("refused connection: %v", err)
		}
	}
	if _, err = Dial(t.Context(), DialOptions{Network: "unix", Address: "/nonexistent/socket"}); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), "/nonexistent/socket") {
		t.Errorf("missing socket: %v", err)
	}
	if _, err = Dial(t.Context(), DialOptions{Address: "no-port"}); err == nil {
		t.Error("address without port accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Dial(ctx, DialOptions{Address: address}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDialOptionsAreSet(t *testing.T) {
	ts := newTestServer(t, nil)
	c := ts.dial(t, DialOptions{KeepAliveIdle: 11 * time.Second, KeepAliveInterval: 3 * time.Second, KeepAliveCount: 4,
		UserTimeout: 42 * time.Second, WindowSize: 64 << 10, Delay: true})
	raw, err := c.Conn().(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for _, tc := range []struct{ level, name, want int }{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 11},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 3},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 4},
			{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 0},
			{syscall.IPPROTO_TCP, tcpUserTimeout, 42000},
			{syscall.SOL_SOCKET, syscall.SO_SNDBUF, 128 << 10}, // the kernel doubles it
		} {
			if got, err := syscall.GetsockoptInt(int(fd), tc.level, tc.name); got != tc.want || err != nil {
				t.Errorf("option %d of level %d is %d, want %d (%v)", tc.name, tc.level, got, tc.want, err)
			}
		}
	})
	mustEcho(t, c, "options")
}

func TestParseReservedPorts(t *testing.T) {
	got := parseReservedPorts("8080,9148-9150\n")
	if want := []portRange{{8080, 8080}, {9150, 9148}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := parseReservedPorts("\n"); got != nil {
		t.Errorf("empty list: %v", got)
	}
}
