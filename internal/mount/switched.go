package mount

import "sync"

// hooks are functions that hear that the ways to the bricks are others now.
type hooks struct {
	mu  sync.Mutex
	all map[*func()]bool
}

// OnSwitch has f called when a new graph has taken over, and when bricks are
// back that were away: notices may have been missed until then. f must be quick.
func (s *Session) OnSwitch(f func()) (cancel func()) {
	h := &s.switched
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = make(map[*func()]bool)
	}
	h.all[&f] = true
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.all, &f)
	}
}

func (h *hooks) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.all {
		(*f)()
	}
}
