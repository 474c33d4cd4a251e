package iostats

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func newIOStats(t testing.TB, child fop.Handler, o xlator.Options) *IOStats {
	h, err := New(xlator.Config{Children: []xlator.Child{{Handler: child}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*IOStats)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler {
		return newIOStats(t, mem.NewFS(nil), xlator.Options{"latency-measurement": "on"})
	}, conformance.Options{Locks: true, Devices: true})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newIOStats(t, fop.HandlerFunc(func(_ context.Context, req fop.Request) (fop.Reply, error) {
			switch r := req.(type) {
			case *fop.Read:
				time.Sleep(time.Duration(r.Size))
				return &fop.ReadReply{Data: make([]byte, r.Size)}, nil
			case *fop.Write:
				return &fop.WriteReply{Size: uint32(len(r.Data))}, nil
			}
			return nil, syscall.ENOENT
		}), xlator.Options{"latency-measurement": "on"})
		for _, n := range []uint32{1, 5, 4096, 0} {
			s.Do(t.Context(), &fop.Read{Size: n})
		}
		s.Do(t.Context(), &fop.Write{Data: make([]byte, 65537)})
		s.Do(t.Context(), &fop.Lookup{})
		s.Do(t.Context(), &fop.Disconnect{})
		if p := s.Interval(true); p.Number != 0 || p.Fops[fop.OpRead].Count != 4 {
			t.Errorf("peek: %+v", p)
		}
		i := s.Interval(false)
		f := i.Fops[fop.OpRead]
		if f != (Fop{Count: 4, Timed: 4, Total: 4102, Min: 0, Max: 4096}) {
			t.Errorf("reads: %+v", f)
		}
		if i.ReadBytes != 4102 || i.ReadBlocks[0] != 1 || i.ReadBlocks[2] != 1 || i.ReadBlocks[12] != 1 ||
			i.WrittenBytes != 65537 || i.WriteBlocks[16] != 1 || i.Fops[fop.OpLookup].Count != 1 {
			t.Errorf("interval: %+v", i)
		}
		s.Do(t.Context(), &fop.Read{Size: 8192})
		if i := s.Interval(true); i.Number != 1 || i.Fops[fop.OpRead] != (Fop{1, 1, 8192, 8192, 8192}) {
			t.Errorf("second interval: %+v", i)
		}
		if c := s.Snapshot(); c.Fops[fop.OpRead] != (Fop{5, 5, 4102 + 8192, 0, 8192}) || c.ReadBytes != 4102+8192 {
			t.Errorf("total: %+v", c)
		}
		s.Clear()
		if c := s.Snapshot(); c.Fops[fop.OpRead].Count != 0 || c.ReadBytes != 0 {
			t.Errorf("after Clear: %+v", c)
		}
	})
}

func TestDump(t *testing.T) {
	s := newIOStats(t, mem.NewFS(nil), nil)
	s.dir = filepath.Join(t.TempDir(), "stats")
	s.Do(t.Context(), &fop.Setxattr{GFID: fop.RootGFID, Dict: fop.NewDict(fop.Pair{Key: dumpKey, Val: fop.Str("/../a/b")})})
	b, err := os.ReadFile(filepath.Join(s.dir, "..-a-b"))
	var st Stats
	if err != nil || json.Unmarshal(b, &st) != nil {
		t.Errorf("%s: %v", b, err)
	}
}

func Benchmark(b *testing.B) {
	reply := &fop.StatReply{}
	for _, latency := range []string{"off", "on"} {
		b.Run("latency="+latency, func(b *testing.B) {
			s := newIOStats(b, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }),
				xlator.Options{"latency-measurement": latency})
			req := &fop.Stat{}
			b.ReportAllocs()
			for b.Loop() {
				s.Do(context.Background(), req)
			}
		})
	}
}
