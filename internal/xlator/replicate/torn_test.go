package replicate

import (
	"errors"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// TestOutvote looks names up in a directory of which one copy has missed changes.
// What the good copies say counts, whatever is left of old names on that one.
func TestOutvote(t *testing.T) {
	for _, n := range []int{2, 3} {
		cl := overMemory(t, n)
		stale := n - 1
		fresh, old := fop.NewGFID(), fop.NewGFID()
		for i := range stale {
			cl.plantOn(i, fresh, "renamed", "new")
			cl.plantOn(i, fop.NewGFID(), "made", "")
		}
		cl.plantOn(stale, old, "renamed", "old")
		cl.plantOn(stale, fop.NewGFID(), "removed", "old")
		cl.plant("kept", "")
		for i := range stale {
			cl.blame(i, stale, fop.RootGFID, changelog{0, 0, 1})
		}
		if st := cl.mustLookup("renamed"); st.GFID != fresh || st.Size != 3 {
			t.Errorf("%d copies: the name leads to %v of %d bytes, want %v", n, st.GFID, st.Size, fresh)
		}
		if _, err := cl.lookup("removed"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%d copies: what was removed: %v", n, err)
		}
		cl.mustLookup("kept")
		if n == 2 {
			cl.mustLookup("made")
		}
		// With the blame on both sides nobody knows.
		cl.blame(stale, 0, fop.RootGFID, changelog{0, 0, 1})
		if n == 2 {
			if _, err := cl.lookup("renamed"); !errors.Is(err, syscall.EIO) {
				t.Errorf("in split-brain: %v", err)
			}
		}
	}
}
