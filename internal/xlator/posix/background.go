//go:build linux

package posix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// Run says that the brick can serve, empties the landfill and watches the
// health of the file system. A sick brick is reported to the parents as
// EventChildDown and ends Run with the error; ending the process is up to them.
func (b *Brick) Run(ctx context.Context) error {
	b.notify(fop.Event{Kind: fop.EventChildUp, From: b.name})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var janitor sync.WaitGroup
	janitor.Add(1)
	go func() {
		defer janitor.Done()
		for wait(ctx, b.opt.Load().janitor) {
			if !b.opt.Load().keepLandfill {
				b.emptyLandfill(ctx)
			}
		}
	}()
	defer janitor.Wait()
	defer cancel()
	for {
		opt := b.opt.Load()
		every := opt.healthEvery
		if every <= 0 {
			every = time.Second // it may be switched on
		}
		if !wait(ctx, every) {
			return nil
		}
		if opt.healthEvery <= 0 {
			continue
		}
		if err := b.checkHealth(ctx, opt.healthFor); err != nil {
			err = fmt.Errorf("brick %s: health check failed, the file system below is sick: %w", b.dir, err)
			b.log.Error("health check failed; the brick goes down", "brick", b.dir, "err", err)
			b.notify(fop.Event{Kind: fop.EventChildDown, From: b.name, Err: err})
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// checkHealth writes the time to a file and reads it back.
func (b *Brick) checkHealth(ctx context.Context, limit time.Duration) error {
	if limit <= 0 {
		limit = 20 * time.Second
	}
	done := make(chan error, 1)
	go func() { done <- b.probe() }() // a dead disk can hold it for good
	t := time.NewTimer(2 * limit)
	defer t.Stop()
	select {
	case err := <-done:
		if errors.Is(err, syscall.EAGAIN) {
			return nil
		}
		return err
	case <-t.C:
		return fmt.Errorf("no answer from the disk in %v: %w", 2*limit, syscall.ETIMEDOUT)
	case <-ctx.Done():
		return nil
	}
}

func (b *Brick) probe() error {
	fd, err := brickfs.Openat(b.meta, brickfs.HealthCheck, unix.O_CREAT|unix.O_RDWR|unix.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return fmt.Errorf("open %s/%s: %w", brickfs.Meta, brickfs.HealthCheck, err)
	}
	defer unix.Close(fd)
	text := time.Now().UTC().Format("2006-01-02 15:04:05 -0700")
	if n, err := pwrite(fd, []byte(text), 0); err != nil || n != len(text) {
		return fmt.Errorf("write %s/%s: %w", brickfs.Meta, brickfs.HealthCheck, errors.Join(err))
	}
	buf := make([]byte, len(text))
	n, err := pread(fd, buf, 0)
	if err != nil {
		return fmt.Errorf("read %s/%s: %w", brickfs.Meta, brickfs.HealthCheck, err)
	}
	if string(buf[:n]) != text {
		return fmt.Errorf("%s/%s does not hold what was written: %w", brickfs.Meta, brickfs.HealthCheck, syscall.EIO)
	}
	return nil
}

// emptyLandfill removes the trees that rmdir has put there.
func (b *Brick) emptyLandfill(ctx context.Context) {
	fd, err := brickfs.Openat(b.meta, brickfs.Landfill, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	b.clear(ctx, os.NewFile(uintptr(fd), brickfs.Landfill))
}

// clear removes everything in dir, depth first, and closes it.
func (b *Brick) clear(ctx context.Context, dir *os.File) {
	defer dir.Close()
	for ctx.Err() == nil {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			if ctx.Err() != nil {
				return
			}
			b.clearEntry(ctx, int(dir.Fd()), name)
		}
		if err != nil || len(names) == 0 {
			return
		}
	}
}

func (b *Brick) clearEntry(ctx context.Context, dir int, name string) {
	o := brickfs.At(dir, name)
	var st unix.Stat_t
	if statObj(o, &st) != nil {
		return
	}
	g, err := b.gfidOf(o)
	known := err == nil
	if isDir(&st) {
		fd, err := brickfs.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return
		}
		b.clear(ctx, os.NewFile(uintptr(fd), name))
		b.at("janitor.dir")
		if unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) != nil || !known {
			return
		}
		b.at("janitor.dirhandle")
		if h := b.dirs.get(g); h != nil {
			var st unix.Stat_t
			b.statDir(h, &st) // drops it if it was this one
			h.put()
		}
		b.dropStaleHandle(g, true)
		return
	}
	in := b.inodes.get(g)
	defer b.inodes.put(in)
	if known && st.Nlink == 2 {
		b.at("janitor.handle")
		b.attrs.Forget(o)
		b.files.drop(g)
		b.dropHandle(in)
		in.forget()
	}
	b.at("janitor.entry")
	unix.Unlinkat(dir, name, 0)
}
