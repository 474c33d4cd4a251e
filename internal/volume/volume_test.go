package volume_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

var (
	ctx  = context.Background()
	root = &fop.Cred{}
)

// stingy answers reads and writes in part only, as a brick may, and never in the
// buffer that was given to it.
type stingy struct {
	fop.Handler
}

func (s stingy) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Read:
		q := *r
		q.Into = nil
		if q.Size > 10 {
			q.Size = q.Size/3 + 1
		}
		return s.Handler.Do(ctx, &q)
	case *fop.Write:
		q := *r
		if len(q.Data) > 10 {
			q.Data = q.Data[:len(q.Data)/3+1]
		}
		return s.Handler.Do(ctx, &q)
	}
	return s.Handler.Do(ctx, req)
}

func newFile(t *testing.T, h fop.Handler, flags uint32) *volume.File {
	t.Helper()
	f, _, err := volume.New(h).Create(ctx, root, fop.RootGFID, "f", flags|fop.OExcl, 0o644, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(ctx, root) })
	return f
}

var noise = func() []byte {
	b := make([]byte, 12*volume.MaxIO)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

// testData returns n bytes that repeat nowhere.
func testData(n int) []byte { return noise[:n] }

func TestTransfers(t *testing.T) {
	for name, h := range map[string]func() fop.Handler{
		"whole": func() fop.Handler { return mem.NewFS(nil) },
		"parts": func() fop.Handler { return stingy{Handler: mem.NewFS(nil)} },
	} {
		for _, size := range []int{0, 1, 4096, volume.MaxIO - 1, volume.MaxIO, volume.MaxIO + 1, 9*volume.MaxIO + 777} {
			data := testData(size)
			f := newFile(t, h(), fop.ORdwr)
			if n, err := f.WriteAt(ctx, root, data, 3); n != size || err != nil {
				t.Fatalf("%s: wrote %d of %d: %v", name, n, size, err)
			}
			got := make([]byte, size+100)
			n, eof, err := f.ReadAt(ctx, root, got, 3)
			if n != size || !eof || err != nil || !bytes.Equal(got[:n], data) {
				t.Errorf("%s: read %d of %d, eof %v: %v", name, n, size, eof, err)
			}
			for _, hint := range []uint64{0, uint64(size) + 3, uint64(size) * 2} {
				var out bytes.Buffer
				if n, err := f.CopyTo(ctx, root, &out, 3, hint); int(n) != size || err != nil || !bytes.Equal(out.Bytes(), data) {
					t.Errorf("%s: copied out %d of %d with hint %d: %v", name, n, size, hint, err)
				}
			}
			g := newFile(t, h(), fop.ORdwr)
			if n, err := g.CopyFrom(ctx, root, bytes.NewReader(data), 7); int(n) != size || err != nil {
				t.Errorf("%s: copied in %d of %d: %v", name, n, size, err)
			}
			if n, _, err := g.ReadAt(ctx, root, got[:size], 7); n != size || err != nil || !bytes.Equal(got[:n], data) {
				t.Errorf("%s: read %d of %d back: %v", name, n, size, err)
			}
		}
	}
}

// TestBrokenTransfers has the seventh request fail: what is reported is what was
// done before it, whatever came after.
func TestBrokenTransfers(t *testing.T) {
	const at = 6 * volume.MaxIO
	m := mem.NewFS(nil)
	h := fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		switch r := req.(type) {
		case *fop.Read:
			if r.Offset == at {
				return nil, syscall.EIO
			}
		case *fop.Write:
			if r.Offset == at {
				return nil, syscall.ENOSPC
			}
		}
		return m.Do(ctx, req)
	})
	f := newFile(t, h, fop.ORdwr)
	data := testData(12 * volume.MaxIO)
	if n, err := f.WriteAt(ctx, root, data, 0); n != at || err != syscall.ENOSPC {
		t.Errorf("wrote %d: %v", n, err)
	}
	if n, err := f.CopyFrom(ctx, root, bytes.NewReader(data), 0); n != at || err != syscall.ENOSPC {
		t.Errorf("copied in %d: %v", n, err)
	}
	if n, _, err := f.ReadAt(ctx, root, make([]byte, len(data)), 0); n != at || err != syscall.EIO {
		t.Errorf("read %d: %v", n, err)
	}
	if n, err := f.CopyTo(ctx, root, io.Discard, 0, uint64(len(data))); n != at || err != syscall.EIO {
		t.Errorf("copied out %d: %v", n, err)
	}
}

func TestAppend(t *testing.T) {
	f := newFile(t, mem.NewFS(nil), fop.ORdwr|fop.OAppend)
	for want := uint64(5); want <= 15; want += 5 {
		if n, end, err := f.Append(ctx, root, []byte("hello")); n != 5 || end != want || err != nil {
			t.Errorf("appended %d, up to %d: %v", n, end, err)
		}
	}
}

// TestTeach has a translator that knows no gfid until it was looked up.
func TestTeach(t *testing.T) {
	m := mem.NewFS(nil)
	known := map[fop.GFID]bool{}
	h := fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		if l, ok := req.(*fop.Lookup); ok && l.Name == "" {
			known[l.GFID] = true
		} else if g, _ := fop.Target(req); !known[g] {
			return nil, syscall.ESTALE
		}
		return m.Do(ctx, req)
	})
	v := volume.New(h)
	d, err := v.Mkdir(ctx, root, fop.RootGFID, "d", 0o755, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Rename(ctx, root, fop.RootGFID, "d", fop.RootGFID, "e"); err != nil {
		t.Error(err)
	}
	if a, err := v.Getattr(ctx, root, d.GFID); err != nil || a.GFID != d.GFID {
		t.Error(err)
	}
	if _, err := v.Getattr(ctx, root, fop.NewGFID()); !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.ENOENT) {
		t.Errorf("an object that is not there: %v", err)
	}
}
