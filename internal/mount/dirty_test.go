package mount

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
	"github.com/wythefs/wythe/internal/xlator/writebehind"
)

// slowClient is one client of a file system in memory, with open files of its
// own. Its writes take their time; data that begins with "full" finds no space.
type slowClient struct{ fs *mem.FS }

// own returns the client's own file for one that several graphs share.
func (c *slowClient) own(fd *fop.Fd) *fop.Fd {
	if fd == nil {
		return nil
	}
	return fd.GetOrSet(c, func() any { return &fop.Fd{GFID: fd.GFID, Flags: fd.Flags} }).(*fop.Fd)
}

func (c *slowClient) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Create:
		q := *r
		q.Fd = c.own(r.Fd)
		req = &q
	case *fop.Open:
		q := *r
		q.Fd = c.own(r.Fd)
		req = &q
	case *fop.Release:
		q := *r
		q.Fd = c.own(r.Fd)
		r.Fd.Set(c, nil)
		req = &q
	case *fop.Read:
		q := *r
		q.Fd = c.own(r.Fd)
		req = &q
	case *fop.Fsync:
		q := *r
		q.Fd = c.own(r.Fd)
		req = &q
	case *fop.Flush:
		q := *r
		q.Fd = c.own(r.Fd)
		req = &q
	case *fop.Write:
		q := *r
		q.Fd = c.own(r.Fd)
		req = &q
		// A brick takes its time, each write another, so that some are under way
		// whenever the graph changes.
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		if bytes.HasPrefix(r.Data, []byte("full")) {
			return nil, syscall.ENOSPC
		}
	}
	return c.fs.Do(ctx, req)
}

// dirtyVolume is a volfile with n write-behinds.
func dirtyVolume(n int) string {
	return strings.ReplaceAll(volume(n), "performance/io-threads", "performance/write-behind")
}

func openDirty(t *testing.T, src Source) *Session {
	fs := mem.NewFS(nil)
	reg := graph.NewRegistry(writebehind.Type, xlator.Type{Name: "protocol/client",
		Options: []xlator.Option{{Key: "remote-host"}},
		New: func(c xlator.Config) (fop.Handler, error) {
			c.Notify(fop.Event{Kind: fop.EventChildUp})
			return &slowClient{fs}, nil
		}})
	s, err := Open(t.Context(), Config{Volume: "v", Source: src, Registry: reg, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func newFile(t *testing.T, s *Session, name string) *fop.Fd {
	t.Helper()
	fd := &fop.Fd{GFID: fop.NewGFID(), Flags: fop.ORdwr}
	if _, err := fop.Call(t.Context(), s, &fop.Create{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fd.GFID)})},
		Parent: fop.RootGFID, Name: name, Flags: fop.ORdwr | fop.OCreate | fop.OExcl, Mode: 0o644, Fd: fd}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestSwitchWhileDirty switches write-behind on and off, and graphs with it,
// while files are written: whoever wrote reads what he wrote, in whatever graph,
// with his open file or without it.
func TestSwitchWhileDirty(t *testing.T) {
	src := newSource(dirtyVolume(1))
	s := openDirty(t, src)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			fd := newFile(t, s, fmt.Sprint("f", i))
			defer release(t, s, fd)
			for n := uint64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				off := n % 4 * 8
				word := binary.BigEndian.AppendUint64(nil, n)
				if err := fopErr(fop.Call(t.Context(), s, &fop.Write{GFID: fd.GFID, Fd: fd, Offset: off, Data: word})); err != nil {
					t.Error(err)
					return
				}
				switch n % 3 {
				case 0:
					continue
				case 1: // without the open file: through the new graph at once
					r, err := fop.Call(t.Context(), s, &fop.Read{GFID: fd.GFID, Offset: off, Size: 8})
					if err != nil || !bytes.Equal(r.Data, word) {
						t.Errorf("file %d: read %+v after %x was written: %v", i, r, word, err)
						return
					}
				case 2:
					r, err := fop.Call(t.Context(), s, &fop.Lookup{Parent: fop.RootGFID, Name: fmt.Sprint("f", i)})
					if want := min(n*8+8, 32); err != nil || n > 4 && r.Stat.Size != want {
						t.Errorf("file %d: %+v after %d writes: %v", i, r, n, err)
						return
					}
				}
			}
		})
	}
	for n := 1; n <= 12; n++ {
		text := dirtyVolume(n % 3)
		src.set(text, nil)
		until(t, "the graph changed", func() bool { return s.Volfile() == text })
		time.Sleep(10 * time.Millisecond) // for some writes through this graph
	}
	close(stop)
	wg.Wait()
}

func fopErr[R any](_ R, err error) error { return err }

// TestSwitchKeepsErrors has a delayed write fail before the graph changes: the
// application hears of it afterwards.
func TestSwitchKeepsErrors(t *testing.T) {
	src := newSource(dirtyVolume(1))
	s := openDirty(t, src)
	fd := newFile(t, s, "f")
	if err := write(t.Context(), s, fd, "full"); err != nil {
		t.Fatal(err)
	}
	src.set(dirtyVolume(2), nil)
	until(t, "the graph changed", func() bool { return s.Volfile() == dirtyVolume(2) })
	if err := fopErr(fop.Call(t.Context(), s, &fop.Flush{GFID: fd.GFID, Fd: fd})); err != syscall.ENOSPC {
		t.Errorf("a flush after the change says %v", err)
	}
	release(t, s, fd)
}
