package paths

import (
	"fmt"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

func TestCacheBound(t *testing.T) {
	c := NewCache(time.Hour)
	dir := fop.NewGFID()
	for i := range maxEntries + 1000 {
		c.Put(dir, fmt.Sprint(i), 0, 0, Entry{GFID: fop.NewGFID()})
		c.SawNew(fop.NewGFID(), true)
	}
	if c.count > maxEntries || len(c.where) > maxEntries || len(c.dirs) > maxEntries {
		t.Errorf("%d entries, %d places, %d directories", c.count, len(c.where), len(c.dirs))
	}
}
