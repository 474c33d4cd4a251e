package distribute

import (
	"errors"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// TestFixLayoutOnDisk grows a volume from two bricks to three.
func TestFixLayoutOnDisk(t *testing.T) {
	c := newCluster(t, 3)
	two := c.mount(2)
	g := two.mustMkdir(root, "dirA")
	before := c.layouts("/dirA")
	three := c.mount(0)
	three.mustLookup(root, "dirA")
	c.wantLayouts("/dirA", before[0], before[1], "0 0-0")
	fix := &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: "trusted.distribute.fix.layout", Val: fop.Str("yes")})}
	user := *fix
	user.Cred.UID = 1000
	if _, err := three.Do(t.Context(), &user); !errors.Is(err, syscall.EPERM) {
		t.Errorf("by a user: %v", err)
	}
	three.call(g, "d")
	three.take()
	if _, err := three.Do(t.Context(), fix); err != nil {
		t.Fatal(err)
	}
	three.settle()
	if got := three.take(); len(got) != 3+3+3+3+3 || got[3] != "s0 INODELK d dht.layout.heal WR" {
		t.Errorf("%q", got)
	}
	after := c.layouts("/dirA")
	l, err := three.refreshLayout(t.Context(), g)
	if err != nil || !l.health().fine() || l.entries[0].empty() {
		t.Errorf("%v, %v", l, err)
	}
	// Once is enough.
	three.take()
	if _, err := three.Do(t.Context(), fix); err != nil {
		t.Error(err)
	}
	c.wantLayouts("/dirA", after...)
	c.stop(1)
	three.waitUp(1, false)
	if _, err := three.Do(t.Context(), fix); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("with a brick down: %v", err)
	}
}
