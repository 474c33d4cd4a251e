package graph

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// events carries events up the graph and keeps what they say about the top.
//
// No lock is held while an event is delivered, so translators may notify from
// within ChildEvent, and from any goroutine.
type events struct {
	listeners []func(fop.Event)

	mu      sync.Mutex
	held    []held // while holding: until all translators exist
	holding bool
	muted   bool
	up      bool
	auth    error
	last    error // why it is not up
	change  chan struct{}
}

type held struct {
	n  *node
	ev fop.Event
}

func (e *events) init() {
	e.holding = true
	e.change = make(chan struct{})
}

// post takes an event that node n tells its parents.
func (e *events) post(g *Graph, n *node, ev fop.Event) {
	e.mu.Lock()
	if e.muted {
		e.mu.Unlock()
		return
	}
	if e.holding {
		e.held = append(e.held, held{n, ev})
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	e.raise(g, n, ev)
}

// flow delivers what was held, in order, and from then on everything at once.
func (e *events) flow(g *Graph) {
	for {
		e.mu.Lock()
		held := e.held
		e.held = nil
		if len(held) == 0 {
			e.holding = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		for _, h := range held {
			e.raise(g, h.n, h.ev)
		}
	}
}

// mute ends the delivery; a graph that goes down has nothing to tell.
func (e *events) mute() {
	e.mu.Lock()
	e.muted = true
	e.mu.Unlock()
}

// raise tells an event of node n to those that hear it. A volume that does not
// passes it on once, by however many ways it comes.
func (e *events) raise(g *Graph, n *node, ev fop.Event) {
	if ev.From == "" {
		ev.From = n.name
	}
	seen := map[*node]bool{n: true}
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, p := range from.parents {
			if hears, ok := p.handler.(xlator.Notified); ok && !p.skipped {
				hears.ChildEvent(from.name, ev)
			} else if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
		if from == g.top {
			e.leave(ev)
		}
	}
}

// leave is for events at the top.
func (e *events) leave(ev fop.Event) {
	e.mu.Lock()
	switch ev.Kind {
	case fop.EventChildUp:
		e.up, e.last, e.auth = true, nil, nil
	case fop.EventChildDown:
		e.up, e.last = false, ev.Err
	case fop.EventChildConnecting:
		e.last = ev.Err
	case fop.EventAuthFailed:
		e.up, e.auth = false, ev.Err
		if e.auth == nil {
			e.auth = fmt.Errorf("%s: the brick refuses this client: %w", ev.From, syscall.EACCES)
		}
	}
	close(e.change)
	e.change = make(chan struct{})
	listeners := e.listeners
	e.mu.Unlock()
	for _, f := range listeners {
		f(ev)
	}
}

// Up reports whether the top said last that it can serve.
func (g *Graph) Up() bool {
	g.events.mu.Lock()
	defer g.events.mu.Unlock()
	return g.events.up
}

// WaitUp waits until the top can serve. It gives up when the bricks refuse this
// client for good, and when ctx ends; the error then tells what was in the way
// last.
func (g *Graph) WaitUp(ctx context.Context) error {
	e := &g.events
	for {
		e.mu.Lock()
		up, auth, last, change := e.up, e.auth, e.last, e.change
		e.mu.Unlock()
		switch {
		case up:
			return nil
		case auth != nil:
			return auth
		}
		select {
		case <-change:
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("no brick of %q is reachable: %w", g.volume(), last)
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("no brick of %q answered in time: %s; check that the addresses are those of bricks, and that no firewall is in the way: %w", g.volume(), g.peers(), syscall.ETIMEDOUT)
			}
			return ctx.Err()
		}
	}
}

// volume is the name of the volume that the graph is of, for errors: that of the
// top, but for what is put above every client.
func (g *Graph) volume() string {
	n := g.top
	for n.typeName == "meta" && len(n.children) == 1 {
		n = n.children[0]
	}
	return n.name
}

// peers lists the bricks that clients of the graph connect to, for errors.
func (g *Graph) peers() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, v := range g.file.Volumes {
		if v.Type == "protocol/client" {
			host, _ := v.Get("remote-host")
			at, _ := v.Get("remote-subvolume")
			at = host + ":" + at
			if p, ok := v.Get("remote-port"); ok {
				at += " at port " + p
			}
			all = append(all, at)
		}
	}
	return strings.Join(all, ", ")
}
