package xlator

import "sync"

// Behind is work that goes on behind the answers of a translator. Unlike that of a
// sync.WaitGroup it may begin while somebody waits: children come up whenever they
// like. The zero value is ready.
type Behind struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n is 0 again; nil if nobody waits
}

// Add says that work has begun; Done must follow.
func (b *Behind) Add() {
	b.mu.Lock()
	b.n++
	b.mu.Unlock()
}

// Done says that work has ended.
func (b *Behind) Done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n--; b.n == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// Go does f in a goroutine.
func (b *Behind) Go(f func()) {
	b.Add()
	go func() {
		defer b.Done()
		f()
	}()
}

// Wait returns when no work is under way.
func (b *Behind) Wait() {
	b.mu.Lock()
	if b.n == 0 {
		b.mu.Unlock()
		return
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	<-idle
}
