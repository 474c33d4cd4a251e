package writebehind

import (
	"context"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// still answers at once.
type still struct {
	fop.Handler
	rep fop.Reply
}

func (s *still) Do(_ context.Context, req fop.Request) (fop.Reply, error) {
	if r, ok := req.(*fop.Write); ok {
		return &fop.WriteReply{Size: uint32(len(r.Data))}, nil
	}
	return s.rep, nil
}
func (s *still) Start(ctx context.Context, req fop.Request) fop.Pending {
	reply, err := s.Do(ctx, req)
	return settled{reply, err}
}

func overStill(t testing.TB, o xlator.Options) (*behind, *fop.Fd) {
	w := over(t, &still{rep: &fop.OpenReply{}}, o)
	fd := &fop.Fd{GFID: fop.NewGFID(), Flags: fop.ORdwr}
	if _, err := w.Do(context.Background(), &fop.Open{GFID: fd.GFID, Flags: fop.ORdwr, Fd: fd}); err != nil {
		t.Fatal(err)
	}
	return w, fd
}

// TestPassThroughAllocates nothing.
func TestPassThroughAllocates(t *testing.T) {
	w, fd := overStill(t, nil)
	ctx := t.Context()
	for _, req := range []fop.Request{&fop.Read{GFID: fd.GFID, Fd: fd, Size: 4096}, &fop.Lookup{Parent: fop.RootGFID, Name: "f"}, &fop.Stat{GFID: fd.GFID}} {
		if n := testing.AllocsPerRun(100, func() { w.Do(ctx, req) }); n != 0 {
			t.Errorf("%v allocates %v times", req.Op(), n)
		}
	}
}

func BenchmarkPassThrough(b *testing.B) {
	w, fd := overStill(b, nil)
	ctx := b.Context()
	b.Run("read", func(b *testing.B) {
		req := &fop.Read{GFID: fd.GFID, Fd: fd, Size: 4096}
		b.ReportAllocs()
		for b.Loop() {
			w.Do(ctx, req)
		}
	})
	b.Run("lookup", func(b *testing.B) {
		req := &fop.Lookup{Parent: fop.RootGFID, Name: "f"}
		b.ReportAllocs()
		for b.Loop() {
			w.Do(ctx, req)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	for name, o := range map[string]xlator.Options{"behind": nil, "pass": {"pass-through": "on"}} {
		b.Run(name+"/random4k", func(b *testing.B) {
			w, fd := overStill(b, o)
			req := &fop.Write{GFID: fd.GFID, Fd: fd, Data: make([]byte, 4096)}
			b.ReportAllocs()
			for b.Loop() {
				req.Offset = (req.Offset*1103515245 + 12345) &^ 4095 % (1 << 30)
				w.Do(b.Context(), req)
			}
		})
		b.Run(name+"/sequential4k", func(b *testing.B) {
			w, fd := overStill(b, o)
			req := &fop.Write{GFID: fd.GFID, Fd: fd, Data: make([]byte, 4096)}
			b.ReportAllocs()
			for b.Loop() {
				w.Do(b.Context(), req)
				req.Offset += 4096
			}
		})
		b.Run(name+"/1m", func(b *testing.B) {
			w, fd := overStill(b, o)
			req := &fop.Write{GFID: fd.GFID, Fd: fd, Data: make([]byte, 1<<20)}
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				w.Do(b.Context(), req)
				req.Offset += 1 << 20
			}
		})
	}
}
