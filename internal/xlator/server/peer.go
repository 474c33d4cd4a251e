package server

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

// A peer is one connection. It may be tied to a session by SETVOLUME.
type peer struct {
	conn    *rpc.Conn
	session atomic.Pointer[session]

	mu    sync.Mutex
	gone  bool
	creds *credentials // of the SETVOLUME that succeeded last
}

// bind ties the connection to a session, of which it holds one count already,
// in place of the one it had.
func (p *peer) bind(s *session, c *credentials) {
	p.mu.Lock()
	gone := p.gone
	var old *session
	if !gone {
		old = p.session.Swap(s)
		p.creds = c
	}
	p.mu.Unlock()
	if gone {
		s.table.unbind(s)
		return
	}
	s.attach(p)
	if old != nil {
		if old != s {
			old.detach(p)
		}
		old.table.unbind(old)
	}
	// The connection may have ended since.
	p.mu.Lock()
	gone = p.gone
	p.mu.Unlock()
	if gone {
		s.detach(p)
	}
}

// end unties a connection that is gone.
func (p *peer) end() {
	p.mu.Lock()
	p.gone = true
	s := p.session.Swap(nil)
	p.mu.Unlock()
	if s != nil {
		s.detach(p)
		s.table.unbind(s)
	}
}

// credentials returns what the connection itself says about the client.
func (p *peer) credentials(brick string) *credentials {
	name := p.conn.PeerName()
	return &credentials{brick: brick, addr: p.conn.RemoteAddr(), tls: name != "", sslName: name}
}

// addrText is the peer's address as GlusterFS prints it.
func (p *peer) addrText() string {
	switch a := p.conn.RemoteAddr().(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
	case *net.UnixAddr:
		return "local"
	}
	return p.conn.RemoteAddr().String()
}

func (p *peer) callback(u *fop.Upcall) {
	body, proc, ok := proto.AppendUpcall(nil, u)
	if ok {
		p.conn.Callback(proto.ProgCallback, proto.VersCallback, proc, rpc.Raw(body))
	}
}
