package server

import (
	"context"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

// null answers at once, so that what is measured is the way to it.
type null struct{ block []byte }

func (n *null) Do(_ context.Context, req fop.Request) (fop.Reply, error) {
	switch q := req.(type) {
	case *fop.Read:
		return &fop.ReadReply{Data: q.Into[:copy(q.Into, n.block)]}, nil
	case *fop.Write:
		return &fop.WriteReply{Size: uint32(len(q.Data))}, nil
	case *fop.Open:
		return &fop.OpenReply{}, nil
	case *fop.Stat:
		return &fop.StatReply{}, nil
	}
	return fop.NewReply(req.Op()), nil
}

func nullFixture(b *testing.B) *fixture {
	n := &null{block: make([]byte, 4096)}
	return newFixtureWith(b, nil, n, func(fop.Handler) fop.Handler { return n })
}

// benchmark measures calls over loopback, all of client, kernel and server; the
// client sends prepared bytes and looks at nothing.
func benchmark(b *testing.B, parallel bool, req fop.Request) {
	f := nullFixture(b)
	w := f.client("bench")
	if _, err := w.fop(&fop.Open{GFID: fop.GFID{1}, Flags: fop.ORdwr}); err != nil {
		b.Fatal(err)
	}
	head, payload, err := proto.AppendRequest(nil, proto.V400, req, proto.FdRefs{A: 0})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(4096)
	call := func() {
		_, err := w.Call(context.Background(), &rpc.Request{Prog: proto.ProgFop, Vers: 400, Proc: uint32(req.Op()), Cred: &w.cred, Args: rpc.Raw(head), Payload: payload})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	if parallel {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call()
			}
		})
		return
	}
	for b.Loop() {
		call()
	}
}

func BenchmarkRead4K(b *testing.B) { benchmark(b, false, &fop.Read{GFID: fop.GFID{1}, Size: 4096}) }
func BenchmarkWrite4K(b *testing.B) {
	benchmark(b, false, &fop.Write{GFID: fop.GFID{1}, Data: make([]byte, 4096)})
}
func BenchmarkRead4KParallel(b *testing.B) {
	benchmark(b, true, &fop.Read{GFID: fop.GFID{1}, Size: 4096})
}
func BenchmarkWrite4KParallel(b *testing.B) {
	benchmark(b, true, &fop.Write{GFID: fop.GFID{1}, Data: make([]byte, 4096)})
}

// BenchmarkLocalWrite4K is the way without socket and codec.
func BenchmarkLocalWrite4K(b *testing.B) {
	f := nullFixture(b)
	h, _ := f.Local(brickName, "bench")
	defer h.Close()
	fd := &fop.Fd{GFID: fop.GFID{1}}
	if _, err := h.Do(b.Context(), &fop.Open{GFID: fd.GFID, Fd: fd}); err != nil {
		b.Fatal(err)
	}
	req := &fop.Write{GFID: fd.GFID, Fd: fd, Data: make([]byte, 4096)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Do(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
