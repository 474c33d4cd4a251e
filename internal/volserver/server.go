package volserver

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// DefaultPort is where management daemons listen.
const DefaultPort = 24007

// Server is the address of a management daemon.
type Server struct {
	Network string // "tcp" or "unix"
	Addr    string // host:port, or the path of a socket
}

// String returns the address as users write it.
func (s Server) String() string { return s.Addr }

// ParseServer reads HOST, HOST:PORT, [IPv6], [IPv6]:PORT, a bare IPv6 address,
// the absolute path of a unix socket, or any of these after "tcp:" or "unix:".
func ParseServer(text string) (Server, error) {
	s := strings.TrimSpace(text)
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		s = path
		if !strings.HasPrefix(s, "/") {
			return Server{}, badServer(text, "the path of a unix socket begins with /")
		}
	}
	if strings.HasPrefix(s, "/") {
		return Server{"unix", s}, nil
	}
	s = strings.TrimPrefix(s, "tcp:")
	host, port := s, strconv.Itoa(DefaultPort)
	switch {
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		host = s[1 : len(s)-1]
	case strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1:
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return Server{}, badServer(text, "write HOST:PORT")
		}
	}
	if host == "" || strings.ContainsAny(host, " /[]") {
		return Server{}, badServer(text, "the host is missing or misspelled")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Server{}, badServer(text, "the port is a number from 1 to 65535")
	}
	return Server{"tcp", net.JoinHostPort(host, port)}, nil
}

func badServer(text, why string) error {
	return fmt.Errorf("volfile server %q: %s: %w", text, why, syscall.EINVAL)
}

// ParseServers reads several servers.
func ParseServers(texts ...string) ([]Server, error) {
	servers := make([]Server, 0, len(texts))
	for _, t := range texts {
		s, err := ParseServer(t)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}
