package fuse

import "sync"

// handles numbers what is open.
type handles[T any] struct {
	mu   sync.RWMutex
	all  []*T
	free []uint64
}

// add returns the number of v, which is not 0.
func (h *handles[T]) add(v *T) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.free); n > 0 {
		i := h.free[n-1]
		h.free = h.free[:n-1]
		h.all[i] = v
		return i
	}
	if len(h.all) == 0 {
		h.all = append(h.all, nil)
	}
	h.all = append(h.all, v)
	return uint64(len(h.all) - 1)
}

// get returns what has number i, or nil.
func (h *handles[T]) get(i uint64) *T {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if i >= uint64(len(h.all)) {
		return nil
	}
	return h.all[i]
}

// take is get that gives the number back.
func (h *handles[T]) take(i uint64) *T {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i >= uint64(len(h.all)) || h.all[i] == nil {
		return nil
	}
	v := h.all[i]
	h.all[i] = nil
	h.free = append(h.free, i)
	return v
}

// len returns how much is open.
func (h *handles[T]) len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return max(0, len(h.all)-1-len(h.free))
}
