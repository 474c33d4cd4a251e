package replicate

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

// TestUnlockLater: the unlock of a name goes along with the next transaction; one
// about the same name goes on with the lock; and if nothing follows it is given
// back by itself.
func TestUnlockLater(t *testing.T) {
	d := newDisks(t, 2, 0)
	d.posts = true
	m := d.mount()
	tap := m.taps[0]
	lines := func() string {
		s := strings.NewReplacer(" v-replicate-0", "", "ENTRYLK ", "", " {gfid-req} A", "", " A", "")
		return s.Replace(strings.Join(tap.take(), "\n"))
	}
	held := func() int {
		m.later.mu.Lock()
		defer m.later.mu.Unlock()
		return len(m.later.all)
	}
	idle := func() { testenv.Wait(t, 10*time.Second, "the unlock", func() bool { return held() == 0 }) }
	must(t, m.mkdir("x"))
	idle()
	if got, want := lines(), "TRY / \"x\"/1 O1\nMKDIR\nalong: UNLOCK / \"x\"/1 O1"; got != want {
		t.Errorf("alone:\n%s\nwant\n%s", got, want)
	}
	// What follows must follow fast; a busy machine may take several tries.
	testenv.Wait(t, 20*time.Second, "two transactions one after the other", func() bool {
		idle()
		tap.take()
		tap.owners = map[string]string{"appowner": "A"}
		must(t, m.mkdir("y"))
		must(t, m.mkdir("z"))
		idle()
		got := lines()
		must(t, m.rmdir("y"))
		must(t, m.rmdir("z"))
		return got == "TRY / \"y\"/1 O1\nMKDIR\nalong: UNLOCK / \"y\"/1 O1\nTRY / \"z\"/1 O2\nMKDIR\nalong: UNLOCK / \"z\"/1 O2"
	})
	testenv.Wait(t, 20*time.Second, "a lock that is handed on", func() bool {
		idle()
		tap.take()
		tap.owners = map[string]string{"appowner": "A"}
		must(t, m.mkdir("y"))
		must(t, m.rename("y", "z"))
		idle()
		got := lines()
		must(t, m.rmdir("z"))
		return got == "TRY / \"y\"/1 O1\nMKDIR\nTRY / \"z\"/1 O1\nLOOKUP\nRENAME\nalong: UNLOCK / \"y\"/1 O1\nalong: UNLOCK / \"z\"/1 O1"
	})
	m.close()
	d.unmarked(t)
}

// TestSameNames has two clients make, move and remove the same few names. One of
// them always wins, on all bricks the same one.
func TestSameNames(t *testing.T) {
	d := newDisks(t, 3, 0)
	d.bare = true
	a, b := d.mount(), d.mount()
	var wg sync.WaitGroup
	for k, m := range []*mount{a, b, a, b} {
		wg.Go(func() {
			for i := range 150 {
				x, y := fmt.Sprintf("n%d", (i+k)%3), fmt.Sprintf("n%d", (i*k)%3)
				var err error
				switch i % 3 {
				case 0:
					_, gfid := m.freshGFID()
					err = m.mkdirAs(x, gfid)
				case 1:
					err = m.rename(x, y)
				case 2:
					err = m.rmdir(x)
				}
				switch {
				case err == nil, errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ESTALE):
				default:
					t.Errorf("client %d, %d: %v", k%2, i, err)
				}
			}
		})
	}
	wg.Wait()
	a.close()
	b.close()
	d.alike(t, 0, 1)
	d.alike(t, 0, 2)
	d.unmarked(t)
}
