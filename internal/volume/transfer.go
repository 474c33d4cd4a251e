package volume

import (
	"context"
	"io"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

const (
	// MaxIO is the most that one READ or WRITE carries.
	MaxIO = 1 << 20
	// window is how many requests of one transfer are under way at once.
	window = 8
)

// ReadAt reads len(p) bytes at off straight into p. It returns fewer only where
// the file ends; eof says that it read up to there.
func (f *File) ReadAt(ctx context.Context, c *fop.Cred, p []byte, off uint64) (n int, eof bool, err error) {
	if len(p) == 0 {
		return 0, false, nil
	}
	if len(p) <= MaxIO {
		return f.read1(ctx, c, p, off)
	}
	var flight queue
	defer flight.drain()
	sent := 0
	for n < len(p) {
		for ; sent < len(p) && flight.len() < window; sent += min(MaxIO, len(p)-sent) {
			flight.push(f.startRead(ctx, c, p[sent:min(sent+MaxIO, len(p))], off+uint64(sent)))
		}
		part := flight.pop() // valid until the next push
		got, end, err := part.read()
		n += got
		if err != nil || end {
			return n, end, err
		}
		if got < len(part.buf) {
			// Short, and not at the end: what was read ahead does not fit on.
			flight.drain()
			got, eof, err := f.read1(ctx, c, p[n:min(len(p), n+MaxIO)], off+uint64(n))
			n += got
			if err != nil || eof || got == 0 {
				return n, true, err
			}
			sent = n
		}
	}
	return n, false, nil
}

// read1 reads with as few requests as it takes to fill p, at most MaxIO bytes,
// or to reach the end of the file.
func (f *File) read1(ctx context.Context, c *fop.Cred, p []byte, off uint64) (n int, eof bool, err error) {
	for n < len(p) {
		r, err := fop.Call(ctx, f.v.h, &fop.Read{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Offset: off + uint64(n),
			Size: uint32(len(p) - n), Flags: f.Fd.Flags & fop.ODirect, Into: p[n:]})
		if err != nil {
			return n, false, err
		}
		n += into(p[n:], r.Data)
		if len(r.Data) == 0 || r.EOF {
			return n, true, nil
		}
	}
	return n, false, nil
}

// into makes sure that data, which usually is a prefix of p already, is there.
func into(p, data []byte) int {
	if len(data) > 0 && len(p) > 0 && &data[0] == &p[0] {
		return len(data)
	}
	return copy(p, data)
}

// WriteAt writes p at off and returns how much of it, from its beginning, is
// written for sure. A file opened with fop.OAppend wants Append.
func (f *File) WriteAt(ctx context.Context, c *fop.Cred, p []byte, off uint64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(p) <= MaxIO {
		return f.startWrite(ctx, c, p, off, false).write()
	}
	var flight queue
	defer flight.drain()
	sent := 0
	for n < len(p) {
		for ; sent < len(p) && flight.len() < window; sent += min(MaxIO, len(p)-sent) {
			flight.push(f.startWrite(ctx, c, p[sent:min(sent+MaxIO, len(p))], off+uint64(sent), true))
		}
		m, err := flight.pop().write()
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Append writes p at the end of a file that was opened with fop.OAppend, where
// the brick knows it to be, and returns how much it wrote and where the file
// ended then, 0 if nobody knows yet: the write may have been answered before the
// brick did it. p goes out in requests of at most MaxIO bytes, one after another:
// what others append may come between them.
func (f *File) Append(ctx context.Context, c *fop.Cred, p []byte) (n int, end uint64, err error) {
	for n < len(p) {
		r, err := fop.Call(ctx, f.v.h, f.writeRequest(c, p[n:min(n+MaxIO, len(p))], end))
		switch {
		case err != nil:
			return n, end, err
		case r.Size == 0 || int(r.Size) > len(p)-n:
			return n, end, io.ErrShortWrite
		}
		n += int(r.Size)
		end = r.Post.Size
	}
	return n, end, nil
}

// part is one request of a transfer.
type part struct {
	f   *File
	ctx context.Context
	c   *fop.Cred
	req fop.Request
	p   fop.Pending // nil: not sent yet
	buf []byte
	off uint64
}

func (f *File) startRead(ctx context.Context, c *fop.Cred, p []byte, off uint64) part {
	req := &fop.Read{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Offset: off, Size: uint32(len(p)), Flags: f.Fd.Flags & fop.ODirect, Into: p}
	return part{f: f, ctx: ctx, c: c, req: req, p: fop.Start(ctx, f.v.h, req), buf: p, off: off}
}

// startWrite begins a write, or only prepares it if it is the only one.
func (f *File) startWrite(ctx context.Context, c *fop.Cred, p []byte, off uint64, start bool) part {
	req := f.writeRequest(c, p, off)
	t := part{f: f, ctx: ctx, c: c, req: req, buf: p, off: off}
	if start {
		t.p = fop.Start(ctx, f.v.h, req)
	}
	return t
}

func (f *File) writeRequest(c *fop.Cred, p []byte, off uint64) *fop.Write {
	return &fop.Write{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Offset: off,
		Flags: f.Fd.Flags & (fop.OSync | fop.ODsync | fop.ODirect | fop.OAppend | fop.OAccmode), Data: p}
}

func (t *part) wait() (fop.Reply, error) {
	if t.p == nil {
		return t.f.v.h.Do(t.ctx, t.req)
	}
	return t.p.Wait()
}

// read ends a read.
func (t *part) read() (n int, eof bool, err error) {
	reply, err := t.wait()
	if err != nil {
		return 0, false, err
	}
	r, ok := reply.(*fop.ReadReply)
	if !ok {
		return 0, false, syscall.EPROTO
	}
	return into(t.buf, r.Data), r.EOF || len(r.Data) == 0, nil
}

// write ends a write; what a short one left over it writes itself.
func (t part) write() (n int, err error) {
	for {
		reply, err := t.wait()
		if err != nil {
			return n, err
		}
		r, ok := reply.(*fop.WriteReply)
		switch {
		case !ok:
			return n, syscall.EPROTO
		case r.Size == 0 || int(r.Size) > len(t.buf)-n:
			return n, io.ErrShortWrite
		}
		if n += int(r.Size); n == len(t.buf) {
			return n, nil
		}
		next := t.f.startWrite(t.ctx, t.c, t.buf[n:], t.off+uint64(n), false)
		t.p, t.req = nil, next.req
	}
}

// queue has the requests under way, oldest first.
type queue struct {
	parts []part
	first int
}

func (q *queue) len() int { return len(q.parts) - q.first }

func (q *queue) push(t part) {
	if len(q.parts) == cap(q.parts) && q.first > 0 {
		q.parts = q.parts[:copy(q.parts, q.parts[q.first:])]
		q.first = 0
	}
	q.parts = append(q.parts, t)
}

func (q *queue) pop() *part {
	t := &q.parts[q.first]
	q.first++
	return t
}

// drain waits for all that is under way: their buffers must not be touched
// after the transfer returns.
func (q *queue) drain() {
	for q.len() > 0 {
		if t := q.pop(); t.p != nil {
			t.p.Wait()
		}
	}
	q.parts, q.first = q.parts[:0], 0
}

var buffers = sync.Pool{New: func() any { return new([MaxIO]byte) }}

// CopyTo writes the file from off on to its end to w, reading ahead. hint is
// the size that the file is believed to have; it only spares requests.
func (f *File) CopyTo(ctx context.Context, c *fop.Cred, w io.Writer, off, hint uint64) (n int64, err error) {
	var flight queue
	free := make([]*[MaxIO]byte, 0, window)
	var held []*[MaxIO]byte // of the parts in flight, oldest first
	defer func() {
		flight.drain()
		for _, b := range append(free, held...) {
			buffers.Put(b)
		}
	}()
	next, ahead := off, 1
	for {
		for flight.len() < ahead && (flight.len() == 0 || next < hint) {
			var b *[MaxIO]byte
			if len(free) > 0 {
				b, free = free[len(free)-1], free[:len(free)-1]
			} else {
				b = buffers.Get().(*[MaxIO]byte)
			}
			held = append(held, b)
			size := uint64(MaxIO)
			if next < hint { // the last request is no longer than needed to see the end
				size = min(size, hint-next)
			}
			flight.push(f.startRead(ctx, c, b[:size], next))
			next += size
		}
		t := flight.pop()
		got, eof, err := t.read()
		if err != nil {
			return n, err
		}
		if got > 0 {
			m, err := w.Write(t.buf[:got])
			n += int64(m)
			if err == nil && m < got {
				err = io.ErrShortWrite
			}
			if err != nil {
				return n, err
			}
		}
		off += uint64(got)
		short := got < len(t.buf)
		free, held = append(free, held[0]), held[1:]
		if eof {
			return n, nil
		}
		if short { // what was read ahead does not fit on
			flight.drain()
			free, held = append(free, held...), held[:0]
			next, ahead = off, 1
			continue
		}
		ahead = min(2*ahead, window)
	}
}

// CopyFrom writes what r gives at off until its end, several writes at once. A
// file opened with fop.OAppend wants Append.
func (f *File) CopyFrom(ctx context.Context, c *fop.Cred, r io.Reader, off uint64) (n int64, err error) {
	var flight queue
	var held []*[MaxIO]byte
	defer func() {
		flight.drain()
		for _, b := range held {
			buffers.Put(b)
		}
	}()
	settle := func() error {
		m, err := flight.pop().write()
		n += int64(m)
		return err
	}
	for {
		var b *[MaxIO]byte
		if flight.len() == window {
			if err := settle(); err != nil {
				return n, err
			}
			b, held = held[0], held[1:]
		} else {
			b = buffers.Get().(*[MaxIO]byte)
		}
		got, rerr := fill(r, b[:])
		held = append(held, b)
		if got > 0 {
			flight.push(f.startWrite(ctx, c, b[:got], off, true))
			off += uint64(got)
		}
		if rerr == nil {
			continue
		}
		for flight.len() > 0 {
			if err := settle(); err != nil {
				return n, err
			}
		}
		if rerr == io.EOF {
			rerr = nil
		}
		return n, rerr
	}
}

// fill is io.ReadFull that leaves the reader's errors as they are.
func fill(r io.Reader, b []byte) (n int, err error) {
	for idle := 0; n < len(b) && err == nil; {
		var m int
		m, err = r.Read(b[n:])
		n += m
		if m > 0 {
			idle = 0
		} else if idle++; idle > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}
