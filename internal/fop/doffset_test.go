package fop

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

func TestOffsets(t *testing.T) {
	f, err := os.Open("testdata/doffset.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		var leaves, leaf int
		var x, y, back uint64
		if _, err := fmt.Sscanf(line, "%d %d %x %x %x", &leaves, &leaf, &x, &y, &back); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		n++
		if got := EncodeOffset(x, leaf, leaves); got != y {
			t.Errorf("%s: encoded %x", line, got)
		}
		wantLeaf := leaf
		if y == 0 || y == math.MaxUint64 {
			wantLeaf = 0
		}
		if l, got := DecodeOffset(y, leaves); l != wantLeaf || got != back {
			t.Errorf("%s: decoded leaf %d, %x", line, l, got)
		}
	}
	if n < 15 {
		t.Errorf("only %d vectors", n)
	}
	// A leaf that cannot be, in an offset of an application's own making.
	if l, _ := DecodeOffset(hugeOffset|3, 3); l != 0 {
		t.Errorf("leaf %d of 3", l)
	}
}

// Whatever a brick says, the leaf comes back, and an offset that is not after
// the brick's own; small ones come back whole.
func FuzzOffset(f *testing.F) {
	f.Add(uint64(0x3c52ac41f2f58ada), uint16(2), uint16(3))
	f.Add(uint64(1), uint16(0), uint16(1))
	f.Add(uint64(math.MaxInt64), uint16(999), uint16(1000))
	f.Fuzz(func(t *testing.T, x uint64, leaf, leaves uint16) {
		n := int(leaves)
		if l, _ := DecodeOffset(x, n); l < 0 || l >= max(n, 1) {
			t.Fatalf("%x: leaf %d of %d", x, l, n)
		}
		if x > math.MaxInt64 || leaf >= leaves {
			return
		}
		y := EncodeOffset(x, int(leaf), n)
		l, back := DecodeOffset(y, n)
		if x != 0 && l != int(leaf) {
			t.Errorf("%x of leaf %d of %d: %x is of leaf %d", x, leaf, n, y, l)
		}
		lost := uint64(1)<<(leafBits(n)+1) - 1
		if back > x || x-back > lost || x <= math.MaxInt64>>20 && back != x {
			t.Errorf("%x of leaf %d of %d: %x comes back as %x", x, leaf, n, y, back)
		}
		if y > math.MaxInt64 {
			t.Errorf("%x of leaf %d of %d: %x is negative", x, leaf, n, y)
		}
	})
}
