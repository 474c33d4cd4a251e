package interop

import (
	"errors"
	"flag"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/gfapi"
)

var (
	shapeNames = flag.String("shapes", "2x2,replica3,arbiter,distribute3", "shapes of volumes that streams run on, with commas between")
	shapeSeeds = flag.Int("shapes.seeds", 1, "number of operation streams on each shape")
	shapeLong  = flag.Bool("shapes.long", false, "have the real client agree with itself, and mount with both clients at once, on all shapes, not on one")
	shapeOps   = flag.Int("shapes.ops", 200, "operations in a stream on a shape")
)

// chosen are the shapes that the flag names.
func chosen(t testing.TB) []shape {
	var list []shape
	for name := range strings.SplitSeq(*shapeNames, ",") {
		list = append(list, shapeOf(t, name))
	}
	return list
}

// through runs a stream on a volume through a client, and has the client remove
// everything again.
func through(t *testing.T, s *server, who string, ops []op) outcome {
	t.Helper()
	o := outcome{name: who + ", " + s.name}
	t.Run(o.name, func(t *testing.T) {
		var c target
		var mounts []string
		switch who {
		case "real client":
			mounts = []string{s.mount(t)}
			c = startWorker(t, s.node, mounts[0])
		case "our client":
			c = newLibrary(mountLibrary(t, s))
		case "both clients":
			mounts = []string{s.mountPlain(t)}
			c = newBoth(startWorker(t, s.node, mounts[0]), newLibrary(mountLibrary(t, s, gfapi.WithEntryTimeout(0), gfapi.WithVolfile(s.plainVolfile(t)))))
		case "both mounts":
			mounts = []string{s.mountPlain(t), s.mountOursPlain(t)}
			c = newBoth(startWorker(t, s.node, mounts[0]), startWorker(t, s.node, mounts[1]))
		default:
			t.Fatalf("no client %q", who)
		}
		start := time.Now()
		o.results = run(c, ops)
		o.took = time.Since(start)
		o.brick = describeVolume(t, s)
		if bad := faults(o.brick); len(bad) > 0 {
			t.Errorf("wrong on the bricks:\n%s", strings.Join(bad[:min(len(bad), 30)], "\n"))
		}
		t.Logf("%d of %d succeeded, %v", succeeded(o.results), len(ops), o.took)
		s.removeAll(t, c)
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		for _, mnt := range mounts {
			s.node.Unmount(t, mnt)
		}
		if left := describeVolume(t, s); slices.ContainsFunc(left, func(l string) bool {
			return strings.Contains(l, " nlink=") && !strings.Contains(l, ` "." `) || strings.Contains(l, "handle") && strings.Contains(l, "without")
		}) {
			t.Errorf("after everything was removed the bricks have\n%s", strings.Join(left, "\n"))
			s.renew(t)
		}
	})
	return o
}

// removeAll removes everything that is in the volume.
func (s *server) removeAll(t testing.TB, c target) {
	t.Helper()
	var remove func(dir string)
	remove = func(dir string) {
		r := c.Do(op{Do: "readdir", Path: dir})
		if r.Errno != "" {
			t.Errorf("remove everything: readdir of %s: %v", dir, r)
		}
		for name := range strings.SplitSeq(r.Text, nameBreak) {
			kind, name, ok := strings.Cut(name, ":")
			if !ok {
				continue
			}
			o := op{Do: "unlink", Path: path.Join(dir, name)}
			if kind == "d" {
				o.Do = "rmdir"
				remove(o.Path)
			}
			if r := c.Do(o); r.Errno != "" {
				t.Errorf("remove everything: %v: %v", o, r)
			}
		}
	}
	remove(".")
}

// TestShapesRealTwice has the real client on real bricks agree with itself: what
// the streams on volumes of several bricks compare does not depend on chance.
func TestShapesRealTwice(t *testing.T) {
	f := realFarm(t)
	list := chosen(t)
	if !*shapeLong {
		list = list[:1]
	}
	for _, sh := range list {
		t.Run(sh.name, func(t *testing.T) {
			s := f.volume(t, sh)
			for seed := *firstSeed; seed < *firstSeed+uint64(*shapeSeeds); seed++ {
				ops := shapeStream(seed)
				a, b := through(t, s, "real client", ops), through(t, s, "real client", ops)
				b.name += " again"
				compare(t, seed, ops, a, b)
				if n := succeeded(a.results); n < len(ops)/3 {
					t.Errorf("only %d of %d operations succeed: the stream is not worth much", n, len(ops))
				}
				if sh.bricks > sh.replica && !slices.ContainsFunc(a.brick, func(l string) bool { return strings.Contains(l, " linkto=") }) {
					t.Errorf("no file lies elsewhere than its name says: the stream has no linkto to compare")
				}
			}
		})
	}
}

// shapeStream is a stream for volumes of several bricks. It does not ask for the
// times of directories: a client of 10.3 shows the newest of what subvolumes have,
// and they do not all have the one that was set. Root alone sets owners, times and
// xattrs: what others may, the kernel decides for our mount, and by its rules; bricks
// of 10.3 allow more.
func shapeStream(seed uint64) []op {
	ops := stream(seed, *shapeOps)
	for i := range ops {
		o := &ops[i]
		if o.Do == "utimes" && path.Base(o.Path)[0] == 'd' {
			o.Flags = 1
		}
		switch o.Do {
		case "chown", "utimes", "setxattr", "removexattr":
			o.As = 0
		}
	}
	return ops
}

// both is a target: two clients of one volume that take turns by chance. A file
// stays with the client that opened it.
type both struct {
	clients [2]target
	slots   map[int]target
	r       *rand.Rand
}

// newBoth makes a target of the real client and ours, both of which cache
// nothing, so that one sees at once what the other did.
func newBoth(real, ours target) *both {
	return &both{clients: [2]target{real, ours}, slots: map[int]target{}, r: rand.New(rand.NewPCG(*firstSeed, 0xb07))}
}

func (b *both) Do(o op) result {
	c := b.clients[b.r.IntN(2)]
	if o.H == 0 {
		return c.Do(o)
	}
	if old := b.slots[o.H]; o.Do != "open" && old != nil {
		return old.Do(o)
	} else if old != nil && old != c {
		old.Do(op{Do: "close", H: o.H})
	}
	b.slots[o.H] = c
	return c.Do(o)
}

func (b *both) Close() error { return errors.Join(b.clients[0].Close(), b.clients[1].Close()) }

// TestShapes has the same stream have the same outcome on volumes of several
// bricks, whichever client and whichever bricks, and with both clients at once.
func TestShapes(t *testing.T) {
	theirs, ours := realFarm(t), ourFarm(t)
	for i, sh := range chosen(t) {
		t.Run(sh.name, func(t *testing.T) {
			real, our := theirs.volume(t, sh), ours.volume(t, sh)
			for seed := *firstSeed; seed < *firstSeed+uint64(*shapeSeeds); seed++ {
				ops := shapeStream(seed)
				want := through(t, real, "real client", ops)
				type try struct {
					who string
					on  *server
				}
				tries := []try{
					{"real client", our}, {"our client", real}, {"our client", our},
					{"both clients", real}, {"both clients", our},
				}
				if i == 0 || *shapeLong {
					tries = append(tries, try{"both mounts", real}, try{"both mounts", our})
				}
				for _, try := range tries {
					got := through(t, try.on, try.who, ops)
					if want.results != nil && got.results != nil { // none with -run
						compare(t, seed, ops, want, got)
					}
				}
			}
		})
	}
}
