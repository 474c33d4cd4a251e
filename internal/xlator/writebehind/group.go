package writebehind

import (
	"context"
	"sync"
)

// group counts what goes on behind the back of callers. Unlike with a
// sync.WaitGroup, something may begin while somebody waits, and the wait can be
// given up.
type group struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n is 0 again; nil if nobody waits
}

func (g *group) begin() {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
}

func (g *group) end() {
	g.mu.Lock()
	if g.n--; g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
	g.mu.Unlock()
}

func (g *group) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
