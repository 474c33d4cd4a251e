package replicate

import (
	"context"
	"fmt"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// BenchmarkBricks is what an application waits for on three copies, each behind
// a socket of its own on this machine.
func BenchmarkBricks(b *testing.B) {
	d := newDisks(b, 3, 0)
	d.bare = true
	m := d.mount()
	fd, err := m.create("f")
	must(b, err)
	page := make([]byte, 4096)
	b.Run("create", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			f, err := m.create(fmt.Sprintf("c%d-%d", b.N, i))
			must(b, err)
			b.StopTimer()
			m.Do(context.Background(), &fop.Release{GFID: f.GFID, Fd: f})
			b.StartTimer()
		}
	})
	b.Run("mkdir", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			must(b, m.mkdir(fmt.Sprintf("d%d-%d", b.N, i)))
		}
	})
	b.Run("write", func(b *testing.B) {
		b.SetBytes(4096)
		for b.Loop() {
			_, err := m.Do(context.Background(), &fop.Write{Header: m.head(), GFID: fd.GFID, Fd: fd, Data: page})
			must(b, err)
		}
	})
	b.Run("chmod", func(b *testing.B) {
		m.made["f"] = fd.GFID
		for b.Loop() {
			must(b, m.chmod("f", 0o600))
		}
	})
	b.Run("rename", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			must(b, m.rename([]string{"f", "g"}[i%2], []string{"g", "f"}[i%2]))
		}
	})
}
