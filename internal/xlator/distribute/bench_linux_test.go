package distribute

import (
	"context"
	"fmt"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// BenchmarkLookup measures over bricks in this process, each behind a socket.
func BenchmarkLookup(b *testing.B) {
	c := newCluster(b, 3)
	m := c.mount(0)
	dir := m.mustMkdir(root, "dir")
	file := m.nameOn(dir, 0, "f")
	m.putFile(0, dir, file)
	linked := m.nameOn(dir, 1, "l")
	m.putLinkto(1, 2, dir, linked, m.putFile(2, dir, linked))
	for _, x := range []struct {
		name   string
		parent fop.GFID
		entry  string
	}{{"file", dir, file}, {"linkto", dir, linked}, {"directory", root, "dir"}, {"nothing", dir, "none"}} {
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fop.Call(b.Context(), m, &fop.Lookup{Parent: x.parent, Name: x.entry})
			}
		})
	}
	b.Run("file, the brick alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fop.Call(b.Context(), m.subs[0], &fop.Lookup{Parent: dir, Name: file})
		}
	})
}

func BenchmarkMkdirRmdir(b *testing.B) {
	m := newCluster(b, 3).mount(0)
	dir := m.mustMkdir(root, "dir")
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprint("d", i)
		m.mustMkdir(dir, name)
		if err := m.rmdirName(dir, name); err != nil {
			b.Fatal(err)
		}
		m.take()
	}
}

// instant answers everything at once, so that what is measured is this package.
type instant struct{ rep fop.LookupReply }

func (n *instant) Do(_ context.Context, req fop.Request) (fop.Reply, error) { return &n.rep, nil }

func BenchmarkLookupAlone(b *testing.B) {
	d := bare(b, 3, nil)
	g := fop.NewGFID()
	for _, s := range d.subs {
		s.Handler = &instant{fop.LookupReply{Stat: fop.Iatt{GFID: g, Flags: fop.IattAll, Mode: fop.ModeRegular | 0o644}}}
	}
	l := newLayout(d.subs)
	for i := range l.entries {
		l.entries[i].err = 0
	}
	l.entries[0].extent = whole
	d.setDir(fop.RootGFID, l, nil)
	b.ReportAllocs()
	for b.Loop() {
		d.Do(b.Context(), &fop.Lookup{Parent: root, Name: "motd"})
	}
}
