package client

import (
	"context"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// TestOffsets lists a directory through the last of three leaves: upward the
// offsets carry the leaf, the brick gets its own back.
func TestOffsets(t *testing.T) {
	const brickOff, upOff, backOff = 0x3c52ac41f2f58ada, 0x5e295620f97ac56e, 0x3c52ac41f2f58ad8
	asked := make(chan uint64, 1)
	list := func(req fop.Request) (fop.Reply, error) {
		switch r := req.(type) {
		case *fop.Readdir:
			asked <- r.Offset
		case *fop.Readdirp:
			asked <- r.Offset
		default:
			return nil, errPass
		}
		return &fop.ReaddirReply{Entries: []fop.Dirent{{Name: "a", Off: 7}, {Name: "b", Off: brickOff}}}, nil
	}
	b := newBrick(t)
	b.intercept(list)
	far := b.connect(t)
	near := startClient(t, &xlator.Env{Local: func(host, path string) (fop.Handler, bool) {
		return fop.HandlerFunc(func(_ context.Context, req fop.Request) (fop.Reply, error) { return list(req) }), true
	}}, "remote-host", "brickhost", "remote-subvolume", "/brick")
	near.wait(fop.EventChildUp)
	for name, c := range map[string]*side{"far": far, "near": near} {
		c.leaf, c.leaves = 2, 3
		for _, plus := range []bool{false, true} {
			for off, want := range map[uint64]uint64{0: 0, upOff: backOff, 7*3 + 2: 7} {
				var req fop.Request = &fop.Readdir{GFID: fop.RootGFID, Offset: off, Size: 4096}
				if plus {
					req = &fop.Readdirp{GFID: fop.RootGFID, Offset: off, Size: 4096}
				}
				reply, err := c.Do(bg, req)
				if err != nil {
					t.Fatal(err)
				}
				if got := <-asked; got != want {
					t.Errorf("%s: %v from %x asks the brick for %x, want %x", name, req.Op(), off, got, want)
				}
				es := reply.(*fop.ReaddirReply).Entries
				if len(es) != 2 || es[0].Off != 7*3+2 || es[1].Off != upOff {
					t.Errorf("%s: entries %+v", name, es)
				}
				if r, ok := req.(*fop.Readdir); ok && r.Offset != off {
					t.Errorf("%s: the caller's request was changed", name)
				}
			}
		}
	}
}
