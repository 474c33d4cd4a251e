package writebehind

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// shuffler is a child that takes its time, now longer, now shorter, so that
// what may overtake does.
type shuffler struct{ fop.Handler }

func (s shuffler) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if _, ok := req.(*fop.Write); ok && rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
	return s.Handler.Do(ctx, req)
}

// TestOrder plays random operations on one file, through two descriptors, and
// compares what is read with a model in memory.
func TestOrder(t *testing.T) {
	for name, o := range map[string]xlator.Options{
		"defaults":     nil,
		"small":        {"cache-size": "512KB", "aggregate-size": "8KB"},
		"no trickling": {"trickling-writes": "off"},
		"strict":       {"strict-write-ordering": "on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			x := setup(t, nil)
			x.w = over(t, shuffler{mem.NewFS(nil)}, o)
			playOrder(x, rand.New(rand.NewPCG(seed, 1)), 1000)
		})
	}
}

func playOrder(x *fixture, rnd *rand.Rand, ops int) {
	const limit = 1 << 20
	model := make([]byte, 0, limit)
	fds := []*fop.Fd{x.create("f"), nil, nil}
	fds[1] = x.open(fds[0].GFID, fop.ORdwr)
	fds[2] = x.open(fds[0].GFID, fop.ORdwr|fop.OAppend)
	grow := func(n int) {
		for len(model) < n {
			model = append(model, 0)
		}
	}
	next := 0
	for i := range ops {
		fd := fds[rnd.IntN(2)]
		off, n := rnd.IntN(limit/2), 1+rnd.IntN(20000)
		switch k := rnd.IntN(100); {
		case k < 60:
			if k < 30 { // it goes on
				off, n = next, 1+rnd.IntN(4096)
			} else if k < 40 { // it meets others
				off = next - min(next, rnd.IntN(8192))
			}
			if off+n > limit {
				off = 0
			}
			if len(model) > limit-30000 {
				break
			}
			data := make([]byte, n)
			for j := range data {
				data[j] = byte(rnd.Uint32())
			}
			app := k < 5
			if app {
				fd, off = fds[2], len(model)
			}
			grow(off + n)
			copy(model[off:], data)
			at := off
			if app {
				at = 0
			}
			if err := x.write(fd, uint64(at), string(data)); err != nil {
				x.Fatal(err)
			}
			next = off + n
		case k < 80:
			got := x.read(fd, uint64(off), uint32(n))
			want := model[min(off, len(model)):min(off+n, len(model))]
			if got != string(want) {
				x.Fatalf("op %d: %d bytes at %d differ: %d were read", i, n, off, len(got))
			}
		case k < 85:
			a, err := fop.Call(x.ctx, x.w, &fop.Fstat{GFID: fd.GFID, Fd: fd})
			if err != nil || int(a.Stat.Size) != len(model) {
				x.Fatalf("op %d: size %d, want %d: %v", i, a.Stat.Size, len(model), err)
			}
		case k < 90:
			grow(off)
			model = model[:off]
			x.must(x.do(&fop.Ftruncate{GFID: fd.GFID, Fd: fd, Offset: uint64(off)}))
		case k < 93:
			x.must(x.fsync(fd))
		case k < 96:
			grow(off + n)
			clear(model[off : off+n])
			x.must(x.do(&fop.Zerofill{GFID: fd.GFID, Fd: fd, Offset: uint64(off), Size: uint64(n)}))
		case k < 98:
			a, err := fop.Call(x.ctx, x.w, &fop.Lookup{Parent: fop.RootGFID, Name: "f"})
			if err != nil || int(a.Stat.Size) != len(model) {
				x.Fatalf("op %d: a lookup says size %d, want %d: %v", i, a.Stat.Size, len(model), err)
			}
		default:
			x.must(x.flush(fd))
		}
	}
	for _, fd := range fds[:2] {
		x.must(x.flush(fd))
	}
	r, err := fop.Call(x.ctx, x.w.child, &fop.Read{GFID: fds[0].GFID, Size: limit})
	if err != nil || !bytes.Equal(r.Data, model) {
		x.Errorf("the brick has %d other bytes than the %d of the model: %v", len(r.Data), len(model), err)
	}
	for _, fd := range fds {
		x.must(x.release(fd))
	}
}
