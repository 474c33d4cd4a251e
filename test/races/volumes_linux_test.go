package races

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/testenv"
)

var (
	flagReal  = flag.Bool("races.real", false, "also race GlusterFS's own clients with each other")
	flagShape = flag.String("races.shape", "", "of the volumes only this one")
	flagOurs  = flag.Bool("races.ourbricks", false, "all volumes on our bricks")
	flagMix   = flag.String("races.mix", "", "of the mixes only this one")
)

// brickVar makes the test binary be a brick.
const brickVar = "WYTHE_RACES_BRICK"

func TestMain(m *testing.M) {
	if os.Getenv(brickVar) != "" {
		os.Exit(brick.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// volume is a volume with clients of both kinds.
type volume struct {
	name string
	g    *testenv.Glusterd
}

// uncached are the options under which GlusterFS's own client asks the bricks
// every time. With its defaults it answers a stat from what it saw up to a second
// ago, a read from a small file's old contents, and a write before any brick heard
// of it: no history with it would be linearizable, on one brick even.
var uncached = []string{
	"performance.stat-prefetch", "off",
	"performance.quick-read", "off",
	"performance.open-behind", "off",
	"performance.write-behind", "off",
	"performance.read-ahead", "off",
	"performance.readdir-ahead", "off",
	"performance.io-cache", "off",
	"performance.client-io-threads", "off",
	"cluster.choose-local", "off",
}

func newVolume(t *testing.T, name string, ours bool, bricks int, words ...string) *volume {
	v := &volume{name: name, g: testenv.Gluster(t)}
	if ours {
		v.g.TakePlace(t, brickVar+"=1", "")
	}
	fs := testenv.LoopFS(t, "xfs", 512*bricks)
	for i := range bricks {
		words = append(words, filepath.Join(fs, fmt.Sprint("brick", i)))
	}
	v.g.Create(t, "data", words...)
	v.g.Set(t, "data", uncached...)
	v.g.StartVolume(t, "data")
	return v
}

// ours mounts the volume with our client.
func (v *volume) ours(t *testing.T) client {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	vol, err := gfapi.Mount(ctx, v.g.IP, "data", gfapi.WithDialer(v.g.DialContext), gfapi.WithUmask(0),
		gfapi.WithLogger(slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vol.Unmount() })
	return &library{vol: vol}
}

// real mounts the volume with the real FUSE client.
func (v *volume) real(t *testing.T) client {
	return &system{dir: v.g.Mount(t, "data", "attribute-timeout=0", "entry-timeout=0", "direct-io-mode=enable")}
}

// pairs are who races with whom.
var pairs = []struct {
	name string
	make func(t *testing.T, v *volume) []client
}{
	{"ours+ours", func(t *testing.T, v *volume) []client { return []client{v.ours(t), v.ours(t)} }},
	{"ours+real", func(t *testing.T, v *volume) []client { return []client{v.ours(t), v.real(t)} }},
	{"real+real", func(t *testing.T, v *volume) []client { return []client{v.real(t), v.real(t)} }},
}

// TestRaces has two clients of a healthy volume at work on the same names, and
// on the same block of a file.
func TestRaces(t *testing.T) {
	testenv.NeedRoot(t)
	for _, s := range []struct {
		name   string
		ours   bool // its bricks
		bricks int
		words  []string
	}{
		{"2x2", false, 4, []string{"replica", "2"}},
		{"2x2-ours", true, 4, []string{"replica", "2"}},
		{"replica3", false, 3, []string{"replica", "3"}},
		{"replica2", false, 2, []string{"replica", "2"}},
		{"distribute3", false, 3, nil},
		{"distribute3-ours", true, 3, nil},
	} {
		if *flagShape != "" && *flagShape != s.name {
			continue
		}
		ours := s.ours || *flagOurs
		v := newVolume(t, s.name, ours, s.bricks, s.words...)
		for _, p := range pairs {
			if p.name == "real+real" && !*flagReal {
				continue
			}
			t.Run(v.name+"/"+p.name, func(t *testing.T) {
				clients := p.make(t, v)
				for _, m := range append(slices.Clip(mixes), blocks) {
					if *flagMix != "" && *flagMix != m.name || *flagMix == "" && !promised(m, s.name, p.name) {
						continue
					}
					var renew func() []client
					if mayWait(m, s.name, p.name) {
						renew = func() []client { clients = p.make(t, v); return clients }
					}
					bad, first := run(t, m, clients, 12, func(i int) string {
						dir := fmt.Sprintf("%s-%s-%d", p.name, m.name, i)
						if err := clients[0].prepare(dir); err != nil {
							t.Fatal(err)
						}
						return dir
					}, renew)
					if allowed := tolerated(m, s.name, ours); bad > allowed {
						t.Errorf("%s: %d bad histories, %d are allowed; the first: %s", m.name, bad, allowed, first)
					}
				}
			})
		}
	}
}
