//go:build linux && cgo

package main

import "sync"

// A handle is what C gets as glfs_t *, glfs_fd_t * and glfs_object_t *. It is no
// address, and no valid one, so that none is ever followed by mistake: what it
// stands for is looked up, and a handle that is closed, made up, or of the
// process before a fork is recognized.
//
//	bit 62         set
//	bits 50 to 61  the engine's generation, which no process before a fork has
//	bits 28 to 49  counts the uses of the slot
//	bits 0 to 27   the slot
type handle = int64

const (
	slotBits = 28
	useBits  = 22
	useMask  = 1<<useBits - 1
	slotMask = 1<<slotBits - 1
)

// handles are all that are valid.
var handles table

type table struct {
	epoch int64 // the bits that all handles have

	mu    sync.RWMutex
	slots []slot
	free  []uint32 // used again in the order in which they were freed
}

type slot struct {
	use uint32
	val any
}

// begin sets what tells the handles of this engine from those of others, before
// there are any.
func (t *table) begin(generation uint32) {
	t.epoch = 1<<62 | int64(generation&0xfff)<<(slotBits+useBits)
}

// add returns a new handle for val; 0 if there are too many.
func (t *table) add(val any) handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	var i uint32
	// A slot that was just freed waits, so that its uses do not count in a circle.
	if len(t.free) > 1024 || len(t.slots) > slotMask && len(t.free) > 0 {
		i, t.free = t.free[0], t.free[1:]
	} else if len(t.slots) <= slotMask {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	} else {
		return 0
	}
	s := &t.slots[i]
	s.val = val
	return t.epoch | int64(s.use&useMask)<<slotBits | int64(i)
}

// slot finds the slot of a handle; t.mu is held.
func (t *table) slot(h handle) *slot {
	i := h & slotMask
	if h&^(slotMask|useMask<<slotBits) != t.epoch || i >= int64(len(t.slots)) {
		return nil
	}
	s := &t.slots[i]
	if s.val == nil || int64(s.use&useMask) != h>>slotBits&useMask {
		return nil
	}
	return s
}

// get returns what h stands for, nil for nothing.
func (t *table) get(h handle) any {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if s := t.slot(h); s != nil {
		return s.val
	}
	return nil
}

// remove makes h invalid and returns what it stood for. Of several callers one
// gets it.
func (t *table) remove(h handle) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slot(h)
	if s == nil {
		return nil
	}
	val := s.val
	s.val = nil
	s.use++
	t.free = append(t.free, uint32(h&slotMask))
	return val
}

// removeIf removes all for which f is true, and returns them.
func (t *table) removeIf(f func(any) bool) (removed []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.slots {
		s := &t.slots[i]
		if s.val != nil && f(s.val) {
			removed = append(removed, s.val)
			s.val = nil
			s.use++
			t.free = append(t.free, uint32(i))
		}
	}
	return removed
}

// each does f with all that handles stand for. f must not use the table.
func (t *table) each(f func(any)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range t.slots {
		if v := t.slots[i].val; v != nil {
			f(v)
		}
	}
}
