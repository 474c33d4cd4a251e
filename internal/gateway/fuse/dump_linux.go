package fuse

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"
)

// dumper keeps a copy of all messages in the form of GlusterFS 10.3's client: a
// letter, R for one from the kernel and W for one to it; the number of parts that
// follow, 3; and these, each with its length, itself included, in front: the time
// in seconds (64 bits) and nanoseconds (32), a mark, and the message, which begins
// with its length anyway. A nil dumper keeps none.
type dumper struct {
	mu  sync.Mutex
	f   *os.File
	w   *bufio.Writer
	err error
}

func newDumper(path string) (*dumper, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("dump-fuse: %w", err)
	}
	return &dumper{f: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

func (d *dumper) message(letter byte, parts ...[]byte) {
	if d == nil {
		return
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return
	}
	head := append(make([]byte, 0, 40), letter)
	for _, part := range []any{uint32(3), uint32(16), now.Unix(), uint32(now.Nanosecond()), uint32(12), []byte("GLUSTER\xf5")} {
		head, _ = binary.Append(head, binary.NativeEndian, part) // fails for other types only
	}
	_, d.err = d.w.Write(head)
	for _, m := range parts {
		if d.err == nil {
			_, d.err = d.w.Write(m)
		}
	}
}

func (d *dumper) close() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.w.Flush(); d.err == nil {
		d.err = err
	}
	if err := d.f.Close(); d.err == nil {
		d.err = err
	}
	if d.err != nil {
		return fmt.Errorf("dump-fuse: %w", d.err)
	}
	return nil
}
