package rpc

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Waking another goroutine for a call that is alone on its connection costs
// as much as a whole round trip (on a virtual machine 20 µs of 45). So the
// goroutine that reads a connection executes a lone call itself. If the call
// takes its time, a watchdog lets another goroutine read on; and when calls
// come in numbers, they are handed to workers right away.

var errReadByOther = errors.New("rpc: another goroutine reads this connection")

// loneliness is a guess whether calls on a connection come one at a time.
type loneliness struct {
	crowd int // above 0: they do not
	// overtaken is set when a call came in while the reader was busy with
	// another for longer than a hand-over would have taken.
	overtaken atomic.Bool
}

const (
	crowdSeen = 16 // lone calls to see before calls are alone again
	crowdSlow = 64 // the same after a call that the watchdog caught

	// A call is worth handing over from this time on.
	handoverWorth = 40 * time.Microsecond
)

// alone decides about a call, given whether there are others.
func (l *loneliness) alone(others bool) bool {
	switch {
	case others || l.overtaken.Load():
		l.overtaken.Store(false)
		l.crowd = max(l.crowd, crowdSeen)
	case l.crowd > 0:
		l.crowd--
	}
	return l.crowd == 0
}

// patience is how long a call that the reader executes may keep others
// waiting, give or take a factor of two.
const patience = time.Millisecond

// A watchdog looks for connections whose reader is busy with a slow call. It
// ticks only while readers execute calls.
type watchdog struct {
	server *Server
	awake  atomic.Bool
	timer  *time.Timer
}

func (w *watchdog) init(s *Server) {
	w.server = s
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
}

func (w *watchdog) wake() {
	if !w.awake.Load() && w.awake.CompareAndSwap(false, true) {
		w.timer.Reset(patience)
	}
}

func (w *watchdog) stop() { w.timer.Stop() }

func (w *watchdog) look() {
	s := w.server
	s.mu.Lock()
	defer s.mu.Unlock()
	active := false
	for c := range s.conns {
		turn := c.turn.Load()
		if turn != c.seen {
			active = true
			c.seen = turn
			continue
		}
		if turn%2 == 1 && c.turn.CompareAndSwap(turn, turn+1) {
			c.seen = turn + 1
			c.lone.crowd = crowdSlow
			s.running.Add(1)
			go func() {
				defer s.running.Done()
				c.readOn()
			}()
		}
	}
	if active {
		w.timer.Reset(patience)
		return
	}
	w.awake.Store(false)
	// A turn that began between the look and the store has seen awake true.
	for c := range s.conns {
		if c.turn.Load() != c.seen {
			w.wake()
			return
		}
	}
}

// workers are goroutines that execute calls. They are kept for a while
// because their stacks have grown to what the handlers need.
type workers struct {
	mu      sync.Mutex
	idle    []chan *Call
	stopped bool
}

const maxIdleWorkers = 64

func (w *workers) run(call *Call) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		worker := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		worker <- call
		return
	}
	w.mu.Unlock()
	go w.work(call)
}

func (w *workers) work(call *Call) {
	calls := make(chan *Call, 1)
	for call != nil {
		call.handle()
		w.mu.Lock()
		if w.stopped || len(w.idle) >= maxIdleWorkers {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, calls)
		w.mu.Unlock()
		call = <-calls
	}
}

func (w *workers) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	for _, worker := range w.idle {
		worker <- nil
	}
	w.idle = nil
}
