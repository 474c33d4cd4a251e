package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/testenv"
)

// shape is how a volume of several bricks is put together.
type shape struct {
	name    string
	bricks  int
	replica int // bricks in a replica set; the last of them is the arbiter's, if any
	arbiter bool
}

// shapes are those that the tests of this package go through.
var shapes = []shape{
	{name: "2x2", bricks: 4, replica: 2},
	{name: "replica3", bricks: 3, replica: 3},
	{name: "arbiter", bricks: 3, replica: 3, arbiter: true},
	{name: "distribute3", bricks: 3, replica: 1},
	{name: "replica2", bricks: 2, replica: 2},
}

func shapeOf(t testing.TB, name string) shape {
	t.Helper()
	i := slices.IndexFunc(shapes, func(sh shape) bool { return sh.name == name })
	if i < 0 {
		t.Fatalf("no shape %q", name)
	}
	return shapes[i]
}

// words are those of `gluster volume create`, before the bricks.
func (sh shape) words() []string {
	switch {
	case sh.arbiter:
		return []string{"replica", "3", "arbiter", "1"}
	case sh.replica > 1:
		return []string{"replica", fmt.Sprint(sh.replica)}
	}
	return nil
}

// arbiterBrick tells whether brick i has no contents.
func (sh shape) arbiterBrick(i int) bool { return sh.arbiter && i%sh.replica == sh.replica-1 }

// A farm is a real glusterd on which volumes follow each other, since to start a
// daemon for each takes longer than the tests.
type farm struct {
	gluster *testenv.Glusterd
	ours    bool // bricks are our program, see use
	mark    string
	serial  int
}

// realFarm is a farm with the distribution's bricks.
func realFarm(t testing.TB) *farm { return &farm{gluster: testenv.Gluster(t)} }

// ourFarm is a farm whose glusterd starts our bricks, with its volfiles.
func ourFarm(t testing.TB) *farm {
	f := realFarm(t)
	f.mark = filepath.Join(f.gluster.Dir, "ours")
	f.gluster.TakePlace(t, roleVar+"="+roleBrickProcess, f.mark)
	f.use(t, true)
	return f
}

// use says whose bricks a farm that has both starts from now on.
func (f *farm) use(t testing.TB, ours bool) {
	t.Helper()
	err := os.Remove(f.mark)
	if ours {
		err = os.WriteFile(f.mark, nil, 0o644)
	}
	if f.ours = ours; err != nil {
		t.Fatal(err)
	}
}

// brickProcessMain is our brick as glusterd starts it. It does not return.
func brickProcessMain(args []string) error {
	os.Exit(brick.Main(args))
	return nil
}

// volume makes and starts a volume on new bricks, which lasts until the test
// ends. glusterd takes a second for each brick that it has to stop, so it is not
// asked to: bricks are killed, and no volume has the name of another.
func (f *farm) volume(t testing.TB, sh shape, options ...string) *server {
	t.Helper()
	g := f.gluster
	s := &server{name: "real bricks", ours: f.ours, node: g.Node, gluster: g, shape: sh}
	if f.ours {
		s.name = "our bricks"
	}
	if sh.replica > 1 {
		// What a client leaves to be healed shall be seen, and not be gone.
		options = append([]string{"cluster.self-heal-daemon", "off"}, options...)
	}
	s.start = func(t testing.TB) { g.StartVolume(t, s.volume) }
	s.stop = func(t testing.TB) { g.MustCLI(t, "volume", "stop", s.volume) }
	s.renew = func(testing.TB) {
		f.serial++
		s.volume = fmt.Sprintf("data%d", f.serial)
		top := testenv.LoopFS(t, "xfs", 512)
		s.bricks = nil
		for i := range sh.bricks {
			s.bricks = append(s.bricks, fmt.Sprintf("%s/brick%d", top, i))
		}
		s.brick = s.bricks[0]
		volume := s.volume
		t.Cleanup(func() { f.killBricks(volume) })
		g.Create(t, s.volume, append(sh.words(), s.bricks...)...)
		if len(options) > 0 {
			g.Set(t, s.volume, options...)
		}
		s.start(t)
	}
	s.renew(t)
	return s
}

func (f *farm) killBricks(volume string) {
	bricks, err := f.gluster.Bricks(volume)
	if err != nil {
		return // not started
	}
	for _, b := range bricks {
		if b.Pid > 0 {
			syscall.Kill(b.Pid, syscall.SIGKILL)
		}
	}
}

// rest waits until clients have nothing to write any more of what they delay,
// as post-ops are for a second. It goes by the bricks' indices; what stays there
// is for describeVolume to tell.
func rest(s *server) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		busy := false
		for _, b := range s.bricks {
			for _, index := range []string{"dirty", "xattrop"} {
				names, _ := os.ReadDir(filepath.Join(b, ".glusterfs/indices", index))
				busy = busy || slices.ContainsFunc(names, func(de os.DirEntry) bool { return !strings.HasPrefix(de.Name(), index) })
			}
		}
		if !busy {
			return
		}
	}
}
