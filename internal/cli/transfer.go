package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	chunkSize = 1 << 20 // bytes per read and write
	inFlight  = 8       // chunks of one file under way at once
	// rewind is how far before the end of a partial file a resumed copy begins:
	// chunks are written out of order, so that much may have holes (see window).
	rewind = 2 * inFlight * chunkSize
)

// transfer copies files and trees from one side to the other.
//
// A file is written under a temporary name made from the source's size and
// time, then renamed, so that a reader never sees half a file and a repeated
// command goes on where the last one stopped: whole files of the same size and
// time are not copied again, and a partial one is continued.
type transfer struct {
	src, dst tree
	force    bool // copy even what seems to be there already
	sync     bool // make every file durable before it gets its name
	workers  int  // files at once
	meter    *meter
	report   func(error) // one failed file; the copy goes on

	planned bool // the meter knows of all files of this tree
	buffers sync.Pool
}

// counts of a transfer.
type counts struct {
	Files   int64 `json:"files"`
	Dirs    int64 `json:"directories"`
	Links   int64 `json:"symlinks"`
	Skipped int64 `json:"unchanged"`
	Resumed int64 `json:"resumed"`
	Failed  int64 `json:"failed"`
	Bytes   int64 `json:"bytes"`
}

// copy copies from to to. A directory needs recursive.
func (t *transfer) copy(ctx context.Context, from, to string, recursive bool) error {
	info, err := t.src.Stat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		t.meter.plan(1, info.Size())
		return t.file(ctx, from, to, info, false)
	}
	if !recursive {
		return usageError{fmt.Errorf("%s is a directory; give -r to copy it with all that is in it", t.src.Show(from))}
	}
	if _, local := t.src.(localTree); local && t.meter.bar != nil {
		// Walking a local tree is cheap, and a bar that knows its end from the
		// beginning is worth it.
		files, bytes := localTotals(ctx, from)
		t.meter.plan(files, bytes)
		t.planned = true
	} else {
		t.planned = false
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, t.workers))
	err = t.dir(ctx, g, from, to, info)
	return errors.Join(err, g.Wait())
}

// dir copies one directory; files go to g.
func (t *transfer) dir(ctx context.Context, g *errgroup.Group, from, to string, info fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.dst.Mkdir(to, info.Mode().Perm()|0o700)
	fresh := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	atomic.AddInt64(&t.meter.Dirs, 1)
	entries, err := t.src.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		src, dst := t.src.Join(from, e.Name()), t.dst.Join(to, e.Name())
		switch e.Type() {
		case fs.ModeDir:
			info, err := e.Info()
			if err == nil {
				err = t.dir(ctx, g, src, dst, info)
			}
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				t.fail(err)
			}
		case fs.ModeSymlink:
			if err := t.symlink(src, dst); err != nil {
				t.fail(err)
			}
		case 0:
			info, err := e.Info()
			if err != nil {
				t.fail(err)
				continue
			}
			if !t.planned {
				t.meter.plan(1, info.Size())
			}
			g.Go(func() error {
				if err := t.file(ctx, src, dst, info, fresh); err != nil {
					if ctx.Err() != nil {
						return err
					}
					t.fail(err)
				}
				return nil
			})
		default:
			t.fail(fmt.Errorf("%s: is neither file, directory nor symbolic link; left out", t.src.Show(src)))
		}
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		return t.dst.Chmod(to, info.Mode().Perm())
	}
	return nil
}

func (t *transfer) fail(err error) {
	atomic.AddInt64(&t.meter.Failed, 1)
	t.report(err)
}

func (t *transfer) symlink(from, to string) error {
	target, err := t.src.Readlink(from)
	if err != nil {
		return err
	}
	if old, err := t.dst.Readlink(to); err == nil && old == target {
		atomic.AddInt64(&t.meter.Skipped, 1)
		return nil
	}
	err = t.dst.Symlink(target, to)
	if errors.Is(err, fs.ErrExist) {
		if err = t.dst.Remove(to); err == nil {
			err = t.dst.Symlink(target, to)
		}
	}
	if err == nil {
		atomic.AddInt64(&t.meter.Links, 1)
	}
	return err
}

// file copies one regular file. fresh says that the directory was made by this
// copy, so that nothing can be there yet.
func (t *transfer) file(ctx context.Context, from, to string, info fs.FileInfo, fresh bool) error {
	if !t.force && !fresh {
		if old, err := t.dst.Lstat(to); err == nil && old.Mode().IsRegular() && old.Size() == info.Size() && old.ModTime().Equal(info.ModTime()) {
			atomic.AddInt64(&t.meter.Skipped, 1)
			t.meter.skip(info.Size())
			return nil
		}
	}
	in, err := t.src.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	// What one write fills needs no other name meanwhile.
	if fresh && info.Size() < chunkSize {
		done, err := t.small(in, to, info)
		if done || err != nil {
			return err
		}
	}
	part := t.partName(to, info)
	out, start, err := t.openPart(part, info)
	if err != nil {
		// The temporary name means nothing to whoever asked for the other.
		err = &fs.PathError{Op: "create", Path: t.dst.Show(to), Err: plain(err)}
		return err
	}
	n, err := t.chunks(ctx, in, out, start)
	if err == nil {
		err = out.Truncate(n)
	}
	if err = t.finish(out, part, info, err); err != nil {
		if n <= rewind { // too little to go on from
			t.dst.Remove(part)
		}
		return err
	}
	if err := t.dst.Rename(part, to); err != nil {
		return err
	}
	atomic.AddInt64(&t.meter.Files, 1)
	return nil
}

// small copies a file of less than a chunk under its final name. It reports
// false if the name is taken.
func (t *transfer) small(in treeFile, to string, info fs.FileInfo) (bool, error) {
	out, err := t.dst.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o200)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Size() > 0 {
		_, err = t.chunks(context.Background(), in, out, 0)
	}
	if err = t.finish(out, to, info, err); err != nil {
		t.dst.Remove(to)
		return false, err
	}
	atomic.AddInt64(&t.meter.Files, 1)
	return true, nil
}

// openPart opens the temporary file of a copy and says where to begin.
func (t *transfer) openPart(part string, info fs.FileInfo) (out treeFile, start int64, err error) {
	perm := info.Mode().Perm() | 0o200
	out, err = t.dst.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if !errors.Is(err, fs.ErrExist) {
		return out, 0, err
	}
	if out, err = t.dst.OpenFile(part, os.O_WRONLY|os.O_CREATE, perm); err != nil {
		return nil, 0, err
	}
	st, err := out.Stat()
	if err == nil && st.Size() > rewind && !t.force {
		start = (min(st.Size(), info.Size()) - rewind) / chunkSize * chunkSize
		atomic.AddInt64(&t.meter.Resumed, 1)
		t.meter.skip(start)
	}
	return out, max(start, 0), nil
}

// finish gives a written file its permissions and times and closes it, unless
// err says that it failed.
func (t *transfer) finish(out treeFile, name string, info fs.FileInfo, err error) error {
	if err == nil && info.Mode().Perm()&0o200 == 0 {
		err = t.dst.Chmod(name, info.Mode().Perm())
	}
	if err == nil && t.sync {
		err = out.Sync()
	}
	// A volume takes the times from the open file, in one round trip.
	timer, ok := out.(interface {
		Chtimes(atime, mtime time.Time) error
	})
	if ok && err == nil {
		err = timer.Chtimes(info.ModTime(), info.ModTime())
	}
	err = errors.Join(err, out.Close())
	if !ok && err == nil {
		err = t.dst.Chtimes(name, info.ModTime(), info.ModTime())
	}
	return err
}

// partName is the temporary name of a file: the same for the same source.
func (t *transfer) partName(to string, info fs.FileInfo) string {
	h := sha256.New()
	io.WriteString(h, t.dst.Base(to)+"\x00"+strconv.FormatInt(info.Size(), 10)+"\x00"+strconv.FormatInt(info.ModTime().UnixNano(), 10))
	return t.dst.Join(t.dst.Dir(to), ".wythe-"+hex.EncodeToString(h.Sum(nil)[:8])+".part")
}

// chunks copies everything from offset start on, several chunks at once, and
// returns the size of the source.
func (t *transfer) chunks(ctx context.Context, in treeFile, out treeFile, start int64) (int64, error) {
	one := func(off int64) (int, error) {
		buf, _ := t.buffers.Get().(*[]byte)
		if buf == nil {
			buf = new([]byte)
			*buf = make([]byte, chunkSize)
		}
		defer t.buffers.Put(buf)
		n, err := in.ReadAt(*buf, off)
		if err == io.EOF {
			err = nil
		}
		if n > 0 && err == nil {
			_, err = out.WriteAt((*buf)[:n], off)
		}
		t.meter.add(int64(n))
		return n, err
	}
	// The first chunk alone: most files have no more.
	n, err := one(start)
	if err != nil || n < chunkSize {
		return start + int64(n), err
	}
	w := newWindow(start + chunkSize)
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, w.end)
	defer stop()
	for range inFlight {
		g.Go(func() error {
			for {
				off, ok := w.next()
				if !ok {
					return ctx.Err()
				}
				n, err := one(off)
				if err != nil {
					w.end()
					return err
				}
				w.done(off, n)
			}
		})
	}
	err = g.Wait()
	return w.size, err
}

// window hands out the chunks of a file so that none is more than rewind ahead
// of the first that is not written yet, whatever the scheduler does.
type window struct {
	mu      sync.Mutex
	moved   sync.Cond
	from    int64          // everything before it is written
	upto    int64          // the next chunk to hand out
	written map[int64]bool // chunks after from
	size    int64          // end of what is written
	over    bool
}

func newWindow(from int64) *window {
	w := &window{from: from, upto: from, size: from, written: map[int64]bool{}}
	w.moved.L = &w.mu
	return w
}

// next waits for the next chunk; false means that there are no more.
func (w *window) next() (off int64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.over && w.upto-w.from >= rewind {
		w.moved.Wait()
	}
	off = w.upto
	w.upto += chunkSize
	return off, !w.over
}

// done says that n bytes of a chunk are written; a short one is the last.
func (w *window) done(off int64, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.size = max(w.size, off+int64(n))
	}
	w.over = w.over || n < chunkSize
	w.written[off] = true
	for w.written[w.from] {
		delete(w.written, w.from)
		w.from += chunkSize
	}
	w.moved.Broadcast()
}

// end lets nobody have another chunk.
func (w *window) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.moved.Broadcast()
}
