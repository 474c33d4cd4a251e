package manage

import (
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/xlator"
)

// member is a brick of a Cluster.
type member struct {
	run      *brick.Brick // nil while it does not run
	gate     *gate
	port     int  // of the last start
	started  bool // once at least
	stopping bool // it ends because somebody wants it
}

// StartBrick starts brick i again after StopBrick, on the port that it had.
func (c *Cluster) StartBrick(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, b := &c.opts, &c.Volume.Bricks[i]
	n := c.bricks[i]
	if n == nil {
		n = &member{}
		if o.BrickPort != 0 {
			n.port = o.BrickPort + i
		} else if i < len(c.state.Ports) {
			n.port = c.state.Ports[i]
		}
		c.bricks[i] = n
	}
	if n.run != nil {
		return fmt.Errorf("brick %s runs already: %w", b.Path, syscall.EALREADY)
	}
	l, err := listen(o.Listen, n.port, "--brick-port")
	if err != nil && o.BrickPort == 0 {
		l, err = listen(o.Listen, 0, "--brick-port")
	}
	if err != nil {
		return err
	}
	n.gate = &gate{Listener: l}
	opts := brick.Options{
		Volfile:  BrickVolfile(c.Volume, i),
		Listener: n.gate,
		Env:      xlator.Env{ProcessName: "up"},
		Log:      o.Log.With("brick", b.Path),
	}
	if o.EditBrick != nil {
		o.EditBrick(i, &opts)
	}
	run, err := brick.Start(c.ctx, opts)
	if err != nil {
		l.Close()
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	moved := n.started && n.port != port
	n.run, n.stopping, n.started, n.port = run, false, true, port
	c.service.SignIn(b.Path, n.port)
	if moved { // volfiles may name the port
		c.service.SetVolume(c.Volume)
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.ended(i, run, run.Wait())
	}()
	return nil
}

// ended notes the end of a brick. One that ends by itself ends the cluster only
// if no copy of its files is left.
func (c *Cluster) ended(i int, run *brick.Brick, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.bricks[i]
	if n.run != run {
		return
	}
	n.run = nil
	c.service.SignIn(c.Volume.Bricks[i].Path, 0)
	if err == nil || n.stopping || c.ctx.Err() != nil {
		return
	}
	err = fmt.Errorf("brick %s: %w", c.Volume.Bricks[i].Path, err)
	set, _ := c.Volume.Set(i)
	for j, other := range c.bricks {
		if s, _ := c.Volume.Set(j); s == set && other != nil && other.run != nil && !c.Volume.IsArbiter(j) {
			c.opts.Log.Error("a brick ended; its copies go on", "err", err)
			return
		}
	}
	c.fail(err)
}

// StopBrick ends brick i as if its process had been killed: clients lose their
// connections at once and find nobody there.
func (c *Cluster) StopBrick(i int) error {
	c.mu.Lock()
	n := c.bricks[i]
	run := n.run
	if run == nil {
		c.mu.Unlock()
		return fmt.Errorf("brick %s does not run: %w", c.Volume.Bricks[i].Path, syscall.EALREADY)
	}
	n.stopping = true
	n.gate.shut()
	c.mu.Unlock()
	err := run.Close()
	c.ended(i, run, nil)
	return err
}

// CutBrick ends the connections of all clients to brick i and lets no new ones
// in, until MendBrick. The brick runs on.
func (c *Cluster) CutBrick(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.bricks[i]; n.run != nil {
		n.gate.shut()
	}
}

// MendBrick lets clients reach brick i again.
func (c *Cluster) MendBrick(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.bricks[i]; n.run != nil {
		n.gate.open()
	}
}

// BrickRuns reports whether brick i runs, cut off or not.
func (c *Cluster) BrickRuns(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bricks[i] != nil && c.bricks[i].run != nil
}

// gate is a listener that can be shut. It keeps the connections it let in as
// they are, not wrapped, because package rpc writes to TCP sockets directly.
type gate struct {
	net.Listener

	mu    sync.Mutex
	isOff bool
	conns []net.Conn
	prune int // look for ended connections when there are so many
}

// Accept returns the next connection that came while the gate was open.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.enter(conn) {
			return conn, nil
		}
		conn.Close()
	}
}

func (g *gate) enter(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOff {
		return false
	}
	if len(g.conns) >= g.prune {
		left := g.conns[:0]
		for _, c := range g.conns {
			if isOpen(c) {
				left = append(left, c)
			}
		}
		clear(g.conns[len(left):])
		g.conns = left
		g.prune = max(16, 2*len(left))
	}
	g.conns = append(g.conns, conn)
	return true
}

// isOpen reports whether Close of conn has not been called.
func isOpen(conn net.Conn) bool {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	return err == nil && raw.Control(func(uintptr) {}) == nil
}

// shut ends all connections: both sides read their end.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isOff = true
	for _, c := range g.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.CloseRead()
			tcp.CloseWrite()
		}
	}
	g.conns = nil
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isOff = false
}
