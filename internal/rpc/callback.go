package rpc

import (
	"fmt"
	"sync"

	"github.com/wythefs/wythe/internal/xdr"
)

// Limits of callbacks that wait for their handler. Dropping one could leave a
// cache stale for ever, so the connection ends instead: a reconnect begins
// with empty caches.
const (
	maxCallbacks     = 8192
	maxCallbackBytes = 64 << 20
)

// A callbackQueue hands the server's calls to the handler in order, on a
// goroutine that exists only while there are any.
type callbackQueue struct {
	c *Client

	mu      sync.Mutex
	queue   []*Buffer
	bytes   int
	running bool
}

func (q *callbackQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue)
}

// add takes over the record of a call.
func (q *callbackQueue) add(buf *Buffer) error {
	if q.c.opts.OnCallback == nil {
		buf.Release()
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) >= maxCallbacks || q.bytes+len(buf.B) > maxCallbackBytes {
		buf.Release()
		return ErrCallbacks
	}
	q.queue = append(q.queue, buf)
	q.bytes += len(buf.B)
	if !q.running {
		q.running = true
		go q.run()
	}
	return nil
}

func (q *callbackQueue) run() {
	for {
		q.mu.Lock()
		batch := q.queue
		q.queue = nil
		q.bytes = 0
		q.running = len(batch) > 0
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, buf := range batch {
			cb, err := decodeCallback(buf.B)
			if err != nil {
				q.c.opts.Log.Warn("rpc: closing a connection", "server", q.c.addr, "err", err)
				q.c.fail(err)
			} else {
				q.c.opts.OnCallback(&cb)
			}
			buf.Release()
		}
	}
}

// decodeCallback reads a call whose credential does not matter.
func decodeCallback(msg []byte) (Callback, error) {
	d := xdr.NewDecoder(msg)
	cb := Callback{XID: d.Uint32()}
	d.Uint32()
	var h callHeader
	if err := h.decode(&d); err != nil {
		return cb, fmt.Errorf("%w: callback: %w", ErrMalformed, err)
	}
	cb.Prog, cb.Vers, cb.Proc, cb.Body = h.prog, h.vers, h.proc, d.Rest()
	return cb, nil
}
