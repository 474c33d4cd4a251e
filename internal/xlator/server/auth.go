package server

import (
	"context"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/wythefs/wythe/internal/xlator"
)

// vote is what one authentication module says about a client.
type vote int

const (
	dontCare vote = iota
	accept
	reject
)

// credentials are what a client has to show for itself.
type credentials struct {
	brick              string
	addr               net.Addr
	tls                bool
	sslName            string // subject CN of the client's certificate
	username, password string
	subdir             string // "" means the whole volume
}

// authenticate asks the modules that the options name: "addr" (by network
// address) and "login" (by certificate or by name and password). One that
// rejects wins; otherwise one has to accept. trusted says that the client
// showed the volume's own name and password.
func authenticate(opt xlator.Options, c *credentials) (ok, trusted bool) {
	var useAddr, useLogin bool
	for key := range opt {
		rest, found := strings.CutPrefix(key, "auth.")
		if !found {
			continue
		}
		switch mod, _, _ := strings.Cut(rest, "."); mod {
		case "addr", "ip":
			useAddr = true
		case "login":
			useLogin = true
		}
	}
	result := dontCare
	if useAddr {
		result = max(result, authAddr(opt, c))
	}
	if useLogin {
		v, t := authLogin(opt, c)
		result = max(result, v)
		trusted = t
	}
	return result == accept, trusted && result == accept
}

func authAddr(opt xlator.Options, c *credentials) vote {
	list := func(kind string) (string, bool) {
		for _, mod := range []string{"addr", "ip"} {
			if v, ok := opt["auth."+mod+"."+c.brick+"."+kind]; ok {
				return v, true
			}
		}
		return "", false
	}
	allow, hasAllow := list("allow")
	deny, hasDeny := list("reject")
	if !hasAllow && !hasDeny {
		return dontCare
	}
	if tcp, ok := c.addr.(*net.TCPAddr); ok && tcp.Port >= 1024 && !opt.Bool("rpc-auth-allow-insecure", true) {
		return reject
	}
	if hasDeny && matchAddrList(deny, c) {
		return reject
	}
	if hasAllow && matchAddrList(allow, c) {
		return accept
	}
	return dontCare
}

// matchAddrList matches the client against either form of an address list:
// "addr,addr" or "/subdir(addr|addr),/other(addr)", where only the entry of
// the client's own subdirectory counts.
func matchAddrList(list string, c *credentials) bool {
	list = strings.TrimSpace(list)
	if !strings.HasPrefix(list, "/") && !strings.Contains(list, "(") {
		return matchAddrs(strings.Split(list, ","), c.addr)
	}
	want := path.Clean("/" + c.subdir)
	for _, entry := range splitSubdirs(list) {
		dir, addrs, restricted := strings.Cut(entry, "(")
		dir = strings.TrimSpace(dir)
		if dir != "*" && path.Clean("/"+dir) != want {
			continue
		}
		if !restricted { // "/subdir" alone is for everybody
			return true
		}
		addrs, _, _ = strings.Cut(addrs, ")")
		if matchAddrs(strings.Split(addrs, "|"), c.addr) {
			return true
		}
	}
	return false
}

// splitSubdirs cuts at the commas that are outside of parentheses.
func splitSubdirs(list string) (entries []string) {
	depth, start := 0, 0
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth <= 0 {
				entries = append(entries, list[start:i])
				start = i + 1
			}
		}
	}
	return append(entries, list[start:])
}

// matchAddrs matches an address against patterns. As in GlusterFS, a "!"
// turns the meaning of its pattern and of all that follow.
func matchAddrs(patterns []string, addr net.Addr) bool {
	text, ip := peerHost(addr)
	negate := false
	for _, p := range patterns {
		p = strings.TrimSpace(p)
		if rest, ok := strings.CutPrefix(p, "!"); ok {
			negate = true
			p = rest
		}
		if p == "" {
			continue
		}
		if matchAddr(p, text, ip) != negate {
			return true
		}
	}
	return false
}

// resolveTimeout bounds a look-up of a host name of an address list: a client
// waits for it.
const resolveTimeout = 5 * time.Second

func matchAddr(pattern, text string, ip netip.Addr) bool {
	if pattern == text {
		return true
	}
	if ip.IsValid() {
		if want, err := netip.ParseAddr(pattern); err == nil {
			return want.Unmap() == ip
		}
		if prefix, err := netip.ParsePrefix(pattern); err == nil {
			return prefix.Contains(ip)
		}
		if isHostName(pattern) {
			ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
			defer cancel()
			addrs, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", pattern)
			return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap() == ip })
		}
	}
	return fnmatch(pattern, text)
}

// isHostName tells a name that is worth asking the resolver for from a pattern.
func isHostName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	letter := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			letter = true
		case c >= '0' && c <= '9', c == '.', c == '-':
		default:
			return false
		}
	}
	return letter && s[0] != '-' && s[0] != '.'
}

// peerHost returns a peer's address as text and, on a network, as a number. A
// unix socket has neither; "*" matches it.
func peerHost(addr net.Addr) (string, netip.Addr) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return "", netip.Addr{}
	}
	ip, ok := netip.AddrFromSlice(tcp.IP)
	if !ok {
		return "", netip.Addr{}
	}
	ip = ip.Unmap()
	return ip.String(), ip
}

func authLogin(opt xlator.Options, c *credentials) (v vote, trusted bool) {
	if c.tls && c.sslName != "" {
		list, ok := opt["auth.login."+c.brick+".ssl-allow"]
		switch {
		case !ok:
			return dontCare, false
		case matchNames(list, c.sslName):
			return accept, false
		}
		return reject, false
	}
	unknown := dontCare
	if opt.Bool("strict-auth-accept", false) {
		unknown = reject
	}
	if c.username == "" || c.password == "" {
		return unknown, false
	}
	if !matchNames(opt["auth.login."+c.brick+".allow"], c.username) {
		return unknown, false
	}
	if want, ok := opt["auth.login."+c.username+".password"]; !ok || want != c.password {
		return reject, false
	}
	return accept, true
}

// matchNames matches a name against a list of patterns between blanks or commas.
func matchNames(list, name string) bool {
	for _, p := range strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' }) {
		if fnmatch(p, name) {
			return true
		}
	}
	return false
}

// fnmatch is fnmatch(3) without flags: unlike path.Match its * also matches a
// slash, and a malformed pattern matches itself only.
func fnmatch(pattern, s string) bool {
	if pattern == "*" {
		return true
	}
	if !strings.ContainsAny(pattern, `*?[\`) {
		return pattern == s
	}
	const slash = "\x01" // path.Match treats the slash specially
	pattern = strings.ReplaceAll(pattern, "[!", "[^")
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(s, "/", slash))
	if err != nil {
		return pattern == s
	}
	return ok
}
