package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

// TestShapesHandOver has a volume of two pairs go from our bricks to the real
// ones and back, written by our client and by the real one in turn. Each finds
// what the others left as they left it, and has nothing to heal: no brick
// changes by being looked at, nor by the real self-heal daemon crawling it.
func TestShapesHandOver(t *testing.T) {
	f := ourFarm(t)
	s := f.volume(t, shapeOf(t, "2x2"))
	var look []op
	var seen []result
	var left []string
	for turn, who := range []struct{ ourBricks, ourClient bool }{{true, true}, {false, false}, {true, false}, {false, true}, {true, true}} {
		name := fmt.Sprintf("turn %d (our bricks: %v, our client: %v)", turn, who.ourBricks, who.ourClient)
		if turn > 0 {
			s.stop(t)
			f.use(t, who.ourBricks)
			s.start(t)
		}
		var c target
		mnt := ""
		if who.ourClient {
			c = newLibrary(mountLibrary(t, s))
		} else {
			mnt = s.mount(t)
			c = startWorker(t, s.node, mnt)
		}
		for i, r := range run(c, look) {
			if r != seen[i] {
				t.Errorf("%s: %v gives %v, before it gave %v", name, look[i], r, seen[i])
			}
		}
		if left != nil {
			if !who.ourBricks {
				s.nothingToHeal(t, name)
			}
			if d := difference("before", "after", left, describeVolume(t, s)); d != "" {
				t.Errorf("%s: looking changed the bricks:\n%s", name, d)
			}
		}
		seed := *firstSeed + 60 + uint64(turn)
		ops := stream(seed, *shapeOps/2)
		run(c, ops)
		look = look[:0]
		for _, o := range ops[*shapeOps/2:] {
			// The self-heal daemon makes itself a directory in the root.
			if o.Do != "close" && !(o.Do == "lstat" && o.Path == ".") {
				look = append(look, o)
			}
		}
		seen = run(c, look)
		if err := c.Close(); err != nil {
			t.Errorf("%s: client: %v", name, err)
		}
		left = describeVolume(t, s)
		if bad := faults(left); len(bad) > 0 {
			t.Errorf("%s (seed %d): wrong on the bricks:\n%s", name, seed, strings.Join(bad, "\n"))
		}
		if !who.ourBricks {
			s.nothingToHeal(t, name)
		}
		if mnt != "" {
			s.node.Unmount(t, mnt)
		}
		if t.Failed() {
			return
		}
	}
	s.stop(t)
	for _, b := range s.bricks {
		inspect(t, b, "bricks of both", true)
	}
}

// nothingToHeal has the real self-heal daemon and its commands look at a volume,
// every file of it.
func (s *server) nothingToHeal(t testing.TB, name string) {
	t.Helper()
	g := s.gluster
	g.Set(t, s.volume, "cluster.self-heal-daemon", "on")
	testenv.Wait(t, 20*time.Second, "start of a full heal", func() bool {
		_, err := g.CLI(t.Context(), "volume", "heal", s.volume, "full")
		return err == nil
	})
	testenv.Wait(t, 20*time.Second, "end of the full heal", func() bool {
		out, err := g.CLI(t.Context(), "volume", "heal", s.volume, "statistics")
		return err == nil && strings.Contains(out, "Type of crawl: FULL") && !strings.Contains(out, "Crawl is in progress")
	})
	if out := g.MustCLI(t, "volume", "heal", s.volume, "statistics"); strings.Contains(nonzero(out), "entries") {
		t.Errorf("%s: the self-heal daemon found work:\n%s", name, nonzero(out))
	}
	out := g.MustCLI(t, "volume", "heal", s.volume, "info")
	if n := strings.Count(out, "Number of entries: 0"); n != len(s.bricks) {
		t.Errorf("%s: there is something to heal:\n%s", name, out)
	}
	g.Set(t, s.volume, "cluster.self-heal-daemon", "off")
}

// nonzero are the lines of heal statistics that count something.
func nonzero(statistics string) string {
	var out strings.Builder
	for line := range strings.Lines(statistics) {
		if strings.HasPrefix(line, "No. of") && !strings.HasSuffix(strings.TrimSpace(line), ": 0") {
			out.WriteString(line)
		}
	}
	return out.String()
}
