package replicate

import (
	"context"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// instant answers everything at once: what is measured is replicate.
type instant struct{}

type done struct{ reply fop.Reply }

func (d done) Wait() (fop.Reply, error) { return d.reply, nil }

func (h *instant) Do(_ context.Context, req fop.Request) (fop.Reply, error) { return h.reply(req), nil }

func (h *instant) Start(_ context.Context, req fop.Request) fop.Pending { return done{h.reply(req)} }

var (
	wrote   = &fop.WriteReply{Size: 4096}
	created = &fop.CreateReply{Stat: fop.Iatt{GFID: fop.GFID{7}, Mode: fop.ModeRegular}}
)

func (h *instant) reply(req fop.Request) fop.Reply {
	switch req.(type) {
	case *fop.Write:
		return wrote
	case *fop.Create:
		return created
	}
	return fop.NewReply(req.Op())
}

func overInstant(b *testing.B) *cluster {
	c := over(b, []fop.Handler{&instant{}, &instant{}, &instant{}})
	for i := range c.children {
		c.children[i].Handler = &instant{}
		c.up(i)
	}
	return c
}

// BenchmarkWrite is a write under the eager lock on three copies.
func BenchmarkWrite(b *testing.B) {
	c := overInstant(b)
	fd := &fop.Fd{GFID: fop.GFID{7}}
	c.openedOn(fd, 7)
	req := &fop.Write{Header: c.head(), GFID: fd.GFID, Fd: fd, Data: make([]byte, 4096)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreate is the making of a file on three copies.
func BenchmarkCreate(b *testing.B) {
	c := overInstant(b)
	req := &fop.Create{Header: c.head(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.GFID{7})}), Parent: fop.RootGFID, Name: "f"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}
