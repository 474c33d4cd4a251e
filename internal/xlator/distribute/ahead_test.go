package distribute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/wythefs/wythe/internal/fop"
)

// shelf is a directory of three pages; it notes which offsets it was asked for.
type shelf struct {
	mu    sync.Mutex
	asked []uint64
	fail  int // so many requests from now on fail
	size  uint64
}

func (s *shelf) Do(_ context.Context, req fop.Request) (fop.Reply, error) {
	r, ok := req.(*fop.Readdirp)
	if !ok {
		return fop.NewReply(req.Op()), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Offset)
	if s.fail > 0 {
		s.fail--
		return nil, errors.New("not now")
	}
	if r.Offset == 3 {
		return &fop.ReaddirReply{EOF: true}, nil
	}
	st := fop.Iatt{GFID: fop.GFID{byte(r.Offset + 1)}, Mode: fop.ModeRegular | 0o644, Size: s.size, Flags: fop.IattAll}
	e := fop.Dirent{Name: fmt.Sprint("f", r.Offset), Off: r.Offset + 1, Stat: st}
	return &fop.ReaddirReply{Entries: []fop.Dirent{e}, EOF: r.Offset == 2}, nil
}

func (s *shelf) saw(t *testing.T, want ...uint64) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked for %v, want %v", s.asked, want)
	}
	s.asked = nil
}

// TestAhead: what comes next in a listing is asked for once, before the caller
// does; but never shown if anything has changed since.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var below shelf
		h := over(t, &below)
		fd := &fop.Fd{GFID: fop.GFID{9}}
		list := func(off uint64) fop.Dirent {
			t.Helper()
			rep, err := fop.Call(t.Context(), h, &fop.Readdirp{GFID: fd.GFID, Fd: fd, Offset: off, Size: 4096})
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.Entries) != 1 || rep.Entries[0].Off != off+1 || rep.EOF != (off == 2) {
				t.Fatalf("from %d: %+v", off, rep)
			}
			return rep.Entries[0]
		}
		list(0)
		below.saw(t, 0, 1)
		list(1)
		below.saw(t, 2)
		list(2)
		below.saw(t) // it is the last
		list(0)
		below.saw(t, 0, 1)
		below.size = 7
		if _, err := h.Do(t.Context(), &fop.Setattr{GFID: fop.GFID{2}}); err != nil {
			t.Fatal(err)
		}
		if e := list(1); e.Stat.Size != 7 {
			t.Error("a listing shows what was before a change")
		}
		below.saw(t, 1, 2)
		list(0) // 2 is dropped
		below.saw(t, 0, 1)
		fop.Start(t.Context(), h, &fop.Write{GFID: fop.GFID{2}}).Wait()
		list(1)
		below.saw(t, 1, 2)
		list(0)
		below.saw(t, 0, 1)
		below.fail = 1
		list(1) // what was fetched is there; the request for what comes next fails
		below.saw(t, 2)
		list(2) // so it is sent again
		below.saw(t, 2)
		list(0)
		if _, err := h.Do(t.Context(), &fop.Releasedir{GFID: fd.GFID, Fd: fd}); err != nil {
			t.Fatal(err)
		}
		if fd.Get(h) != nil {
			t.Error("a closed directory keeps what was fetched ahead")
		}
	})
}
