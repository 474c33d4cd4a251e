package gfapi

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"

	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/locks"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

var updateTrips = flag.Bool("trips.update", false, "rewrite testdata/trips")

// round is how long a farBrick is away, there and back.
const round = time.Millisecond

// farBrick is a brick in memory that is a round trip away, and writes down what
// it is asked. The clock of the test stands still but for these trips, so that the
// time an operation takes is the number of its round trips in a row.
type farBrick struct {
	next   fop.Handler
	notify func(fop.Event)
	name   string

	mu    sync.Mutex
	asked []question
}

// question is what a farBrick was asked, and when.
type question struct {
	at time.Time
	op string
}

func (b *farBrick) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch q := req.(type) {
	case *fop.Entrylk:
		typ := q.Type
		if q.Cmd == fop.EntrylkFree {
			typ = fop.LockUnlock
		}
		b.note(lockName("ENTRYLK", typ))
	case *fop.Inodelk:
		b.note(lockName("INODELK", q.Flock.Type))
	case *fop.Finodelk:
		b.note(lockName("FINODELK", q.Flock.Type))
	case *fop.Release, *fop.Releasedir:
		return b.next.Do(ctx, req) // goes along with the next message
	case *fop.Flush:
		return &fop.CommonReply{}, nil // the client translator answers it
	default:
		b.note(req.Op().String())
	}
	time.Sleep(round) // on the clock of the test
	return b.next.Do(ctx, req)
}

// lockName writes what gives a lock back in small letters.
func lockName(name string, typ uint32) string {
	if typ == fop.LockUnlock {
		return strings.ToLower(name)
	}
	return name
}

func (b *farBrick) note(op string) {
	b.mu.Lock()
	b.asked = append(b.asked, question{time.Now(), op})
	b.mu.Unlock()
}

// take returns what the brick was asked since the last take.
func (b *farBrick) take() []question {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = nil
	return asked
}

// pairText tells what a pair of bricks was asked. What was asked at the same time
// stands in brackets, in the order of the alphabet; a star is on what only one of
// the two was asked, whichever it was.
func pairText(a, b []question) string {
	type moment struct{ a, b map[string]int }
	moments := map[time.Time]*moment{}
	for i, list := range [][]question{a, b} {
		for _, q := range list {
			m := moments[q.at]
			if m == nil {
				m = &moment{map[string]int{}, map[string]int{}}
				moments[q.at] = m
			}
			if i == 0 {
				m.a[q.op]++
			} else {
				m.b[q.op]++
			}
		}
	}
	var words []string
	for _, at := range slices.SortedFunc(maps.Keys(moments), time.Time.Compare) {
		m := moments[at]
		all := maps.Clone(m.a)
		maps.Copy(all, m.b)
		var together []string
		for _, op := range slices.Sorted(maps.Keys(all)) {
			both, most := min(m.a[op], m.b[op]), max(m.a[op], m.b[op])
			for n := range most {
				if n < both {
					together = append(together, op)
				} else {
					together = append(together, op+"*")
				}
			}
		}
		word := strings.Join(together, " ")
		if len(together) > 1 {
			word = "(" + word + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (b *farBrick) Run(ctx context.Context) error {
	b.notify(fop.Event{Kind: fop.EventChildUp, From: b.name})
	<-ctx.Done()
	return nil
}

// farVolume is a volume of such bricks, under the translators of a client.
type farVolume struct {
	t      *testing.T
	bricks []*farBrick
}

func newFarVolume(t *testing.T, pairs int) (*farVolume, *Volume, func()) {
	v := &farVolume{t: t}
	quiet := slog.New(slog.DiscardHandler)
	typ := xlator.Type{Name: "protocol/client", New: func(c xlator.Config) (fop.Handler, error) {
		h, err := locks.New(xlator.Config{Name: c.Name + "-locks", Log: quiet, Env: &xlator.Env{},
			Children: []xlator.Child{{Name: "mem", Handler: mem.NewFS(nil)}}})
		b := &farBrick{next: h, notify: c.Notify, name: c.Name}
		v.bricks = append(v.bricks, b)
		return b, err
	}}
	var text strings.Builder
	var subs []string
	for p := range pairs {
		for i := range 2 {
			fmt.Fprintf(&text, "volume v-client-%d\n type protocol/client\nend-volume\n", 2*p+i)
		}
		fmt.Fprintf(&text, "volume v-replicate-%d\n type cluster/replicate\n option afr-pending-xattr v-client-%d,v-client-%d\n option granular-entry-heal on\n subvolumes v-client-%d v-client-%d\nend-volume\n",
			p, 2*p, 2*p+1, 2*p, 2*p+1)
		subs = append(subs, fmt.Sprint("v-replicate-", p))
	}
	fmt.Fprintf(&text, "volume v-dht\n type cluster/distribute\n subvolumes %s\nend-volume\n", strings.Join(subs, " "))
	fmt.Fprintf(&text, "volume v-utime\n type features/utime\n subvolumes v-dht\nend-volume\n%s", caches("v-utime"))
	s, err := mount.Open(t.Context(), mount.Config{Volfile: text.String(), Registry: clientside.Registry().With(typ), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	vol := newVolume(s, newOptions([]Option{WithCredentials(Cred{}), WithLogger(quiet)}), nil)
	return v, vol, func() {
		vol.Unmount()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// measure does an operation and tells its round trips in a row, and what
// each pair was asked until nothing was left to do.
func (v *farVolume) measure(what string, do func() error) string {
	v.t.Helper()
	begin := time.Now()
	if err := do(); err != nil {
		v.t.Errorf("%s: %v", what, err)
	}
	rounds := time.Since(begin).Round(round/10).Seconds() / round.Seconds()
	afterwards()
	synctest.Wait()
	var w strings.Builder
	fmt.Fprintf(&w, "%s: %.4g in a row\n", what, rounds)
	for i := 0; i < len(v.bricks); i += 2 {
		if asked := pairText(v.bricks[i].take(), v.bricks[i+1].take()); asked != "" {
			fmt.Fprintf(&w, "  pair %d: %s\n", i/2, asked)
		}
	}
	return w.String()
}

// TestRoundTripsOnVolumes pins how many round trips in a row everyday operations
// take on replicated and distributed volumes, and what each pair of bricks is
// asked (see pairText), be it while the caller waits or behind. Directories on the
// way are known. Small letters give a lock back.
func TestRoundTripsOnVolumes(t *testing.T) {
	// What is pooled has channels that must not leave the bubble.
	pools := func() { runtime.GC(); runtime.GC() }
	pools()
	defer pools()
	synctest.Test(t, func(t *testing.T) {
		for _, shape := range []struct {
			name  string
			pairs int
		}{{"replica2", 1}, {"2x2", 2}} {
			got := tripsOf(t, shape.pairs)
			file := filepath.Join("testdata", "trips", shape.name+".txt")
			if *updateTrips {
				must(t, os.MkdirAll(filepath.Dir(file), 0o755))
				must(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s: go test ./gfapi -run TripsOnVolumes -trips.update, if that is meant (-want +got):\n%s", shape.name, d)
			}
		}
	})
}

// afterwards lets pass, on the clock of the test, what clients put off: the end of
// a transaction, or of a lock that is kept.
func afterwards() { time.Sleep(5 * time.Second) }

func tripsOf(t *testing.T, pairs int) string {
	far, v, end := newFarVolume(t, pairs)
	defer end()
	must(t, v.MkdirAll("d/sub", 0o755))
	must(t, v.WriteFile("d/small", []byte("contents"), 0o644))
	must(t, v.WriteFile("d/big", make([]byte, 100_000), 0o644))
	for i := range 8 {
		must(t, v.WriteFile(fmt.Sprint("d/f", i), nil, 0o644))
	}
	var w strings.Builder
	do := func(what string, f func() error) {
		v.Stat("d/sub")
		afterwards()
		v.Stat("d/sub") // the directory is known
		v.Stat("d/dir2")
		synctest.Wait()
		for _, b := range far.bricks {
			b.take()
		}
		w.WriteString(far.measure(what, f))
	}
	// On 2 x 2 these names are on the same pair and on different ones.
	same, other := far.pairNames(v)
	do("stat", func() error { _, err := v.Stat("d/small"); return err })
	do("stat of nothing", func() error { v.Stat("d/none"); return nil })
	do("stat of a directory", func() error { _, err := v.Stat("d/sub"); return err })
	do("open, read, close", func() error {
		f, err := v.Open("d/small")
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.ReadAll(f)
		return err
	})
	do("open, read, close of a larger file", func() error {
		f, err := v.Open("d/big")
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.ReadAt(make([]byte, 4096), 0)
		return err
	})
	var f *File
	do("create", func() (err error) {
		f, err = v.OpenFile("d/new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	})
	do("first write", func() error { _, err := f.WriteAt([]byte("x"), 0); return err })
	do("two writes", func() error {
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			return err
		}
		_, err := f.WriteAt([]byte("y"), 1)
		return err
	})
	do("sync", func() error { return f.Sync() })
	do("close", func() error { return f.Close() })
	do("create, write, close", func() error {
		f, err := v.OpenFile("d/new2", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			return err
		}
		return f.Close()
	})
	do("rename", func() error { return v.Rename("d/f1", same) })
	if pairs > 1 {
		do("rename to a name of the other pair", func() error { return v.Rename("d/f2", other) })
		do("stat of it", func() error { _, err := v.Stat(other); return err })
		do("unlink of it", func() error { return v.Remove(other) })
	}
	do("rename onto another", func() error { return v.Rename("d/f3", "d/f4") })
	do("link", func() error { return v.Link("d/f5", "d/l5") })
	do("symlink", func() error { return v.Symlink("f5", "d/s5") })
	do("chmod", func() error { return v.Chmod("d/f5", 0o600) })
	do("setxattr", func() error { return v.Setxattr("d/f5", "user.x", []byte("1"), 0) })
	do("getxattr", func() error { _, err := v.Getxattr("d/f5", "user.x"); return err })
	do("truncate", func() error { return v.Truncate("d/big", 10) })
	do("unlink", func() error { return v.Remove("d/f6") })
	do("mkdir", func() error { return v.Mkdir("d/dir", 0o755) })
	do("rename of a directory", func() error { return v.Rename("d/dir", "d/dir2") })
	do("rmdir", func() error { return v.Remove("d/dir2") })
	do("list with stat", func() error {
		list, err := v.ReadDir("d")
		for _, e := range list {
			e.Info()
		}
		return err
	})
	return w.String()
}

// pairNames finds a new name on the pair of d/f1, and one that is not on that of
// d/f2.
func (v *farVolume) pairNames(vol *Volume) (same, other string) {
	where := func(name string) int {
		f, err := vol.Create(name)
		must(v.t, err)
		f.Close()
		afterwards()
		for _, b := range v.bricks {
			b.take()
		}
		must(v.t, vol.Remove(name))
		afterwards()
		return v.pair("UNLINK")
	}
	at := func(name string) int { // by what its unlink would be asked of
		for _, b := range v.bricks {
			b.take()
		}
		vol.Chmod(name, 0o644)
		afterwards()
		return v.pair("SETATTR")
	}
	f1, f2 := at("d/f1"), at("d/f2")
	for i := 0; same == "" || other == "" && len(v.bricks) > 2; i++ {
		name := fmt.Sprint("d/n", i)
		switch p := where(name); {
		case same == "" && p == f1:
			same = name
		case other == "" && p != f2:
			other = name
		}
	}
	return same, other
}

// pair is the pair that was asked op.
func (v *farVolume) pair(op string) int {
	return slices.IndexFunc(v.bricks, func(b *farBrick) bool {
		return slices.ContainsFunc(b.take(), func(q question) bool { return q.op == op })
	}) / 2
}
