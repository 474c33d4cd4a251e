package distribute

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// TestDirTorture makes and removes the same few directories from two clients
// while bricks go down and come back. In the end, after a lookup, each is
// everywhere, once, with all of the ring, or nowhere.
func TestDirTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := newCluster(t, 3)
	clients := []*mount{c.mount(0), c.mount(0)}
	top := clients[0].mustMkdir(root, "top")
	end := time.Now().Add(5 * time.Second)
	fine := []syscall.Errno{syscall.EEXIST, syscall.ENOENT, syscall.ESTALE, syscall.ENOTCONN, syscall.EIO, syscall.ENOTEMPTY}
	var wg sync.WaitGroup
	for w := range 6 {
		m := clients[w%2]
		wg.Go(func() {
			for time.Now().Before(end) {
				name := fmt.Sprint("d", rand.IntN(5))
				var err error
				switch rand.IntN(4) {
				case 0, 1:
					_, err = m.tryMkdir(top, name)
				case 2:
					err = m.rmdirName(top, name)
				case 3:
					_, err = m.lookup(top, name)
				}
				if err != nil && !slices.Contains(fine, fop.Errno(err)) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for time.Now().Before(end) {
		i := rand.IntN(3)
		time.Sleep(200 * time.Millisecond) // some work with all up, and some without one
		c.stop(i)
		time.Sleep(200 * time.Millisecond)
		c.start(i)
		for _, m := range clients {
			m.waitUp(i, true)
		}
	}
	wg.Wait()
	last := c.mount(0)
	for i := range 5 {
		name := fmt.Sprint("d", i)
		_, err := last.lookup(top, name)
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%s: %v; layouts %q", name, err, c.layouts("/top/"+name))
			continue
		}
		all := c.layouts("/top/" + name)
		gfid := c.xattr(0, "/top/"+name, fop.XattrGFID)
		for k, l := range all {
			if (l == "gone") != (err != nil) || c.xattr(k, "/top/"+name, fop.XattrGFID) != gfid {
				t.Errorf("%s: %v, brick %d: %s, layouts %q", name, err, k, l, all)
			}
		}
		if err == nil {
			l, err := last.layoutOf(t.Context(), last.mustLookup(top, name).GFID)
			if err != nil || !l.health().fine() {
				t.Errorf("%s: %v, %v", name, l, err)
			}
		}
	}
}
