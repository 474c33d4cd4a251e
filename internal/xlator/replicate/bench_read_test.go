package replicate

import (
	"context"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// BenchmarkStat is a stat of an object that is known to be well, with and without
// the possibility of a second request.
func BenchmarkStat(b *testing.B) {
	for _, delay := range []string{"0", "500ms"} {
		b.Run("hedge-delay="+delay, func(b *testing.B) {
			c := overInstant(b)
			if err := c.Reconfigure(map[string]string{"hedge-delay": delay}); err != nil {
				b.Fatal(err)
			}
			o := c.acquire(fop.GFID{7})
			o.V.learn(maps{7, 7}, c.view().gen)
			o.Release()
			req := &fop.Stat{Header: c.head(), GFID: fop.GFID{7}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Do(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLookup is a lookup of a name on three copies.
func BenchmarkLookup(b *testing.B) {
	c := overInstant(b)
	req := &fop.Lookup{Header: c.head(fop.Pair{Key: fop.XattrMdata, Val: fop.Int(1)}), Parent: fop.RootGFID, Name: "f"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}
