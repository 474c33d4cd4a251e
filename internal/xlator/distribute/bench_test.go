package distribute

import (
	"context"
	"log/slog"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// still answers writes at once.
type still struct{ rep fop.WriteReply }

func (s *still) Do(context.Context, fop.Request) (fop.Reply, error) { return &s.rep, nil }
func (s *still) Start(context.Context, fop.Request) fop.Pending     { return s }
func (s *still) Wait() (fop.Reply, error)                           { return &s.rep, nil }

func overStill(t testing.TB) (*distribute, *fop.Write) {
	s := &still{}
	s.rep.Post.Mode = fop.ModeRegular | 0o644
	h, err := New(xlator.Config{Name: "v-dht", Log: slog.New(slog.DiscardHandler), Leaves: 2, Children: []xlator.Child{
		{Name: "v-client-0", Handler: s, Leaves: 1}, {Name: "v-client-1", Handler: s, FirstLeaf: 1, Leaves: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	d := h.(*distribute)
	g := fop.NewGFID()
	fd := &fop.Fd{GFID: g, Flags: fop.ORdwr}
	d.setFile(g, d.subs[1])
	d.opened(fd, d.subs[1])
	return d, &fop.Write{GFID: g, Fd: fd, Data: []byte("x")}
}

// TestNoAllocations: a fop on a known file costs nothing but its own request.
func TestNoAllocations(t *testing.T) {
	d, req := overStill(t)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { d.Do(ctx, req) }); n > 0 {
		t.Errorf("Do allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() { d.Start(ctx, req).Wait() }); n > 0 {
		t.Errorf("Start allocates %v times", n)
	}
}

func BenchmarkKnownFile(b *testing.B) {
	d, req := overStill(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		d.Do(ctx, req)
	}
}

func BenchmarkKnownFileStart(b *testing.B) {
	d, req := overStill(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		d.Start(ctx, req).Wait()
	}
}
