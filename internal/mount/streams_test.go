package mount

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/graph/clientside"
	handles "github.com/wythefs/wythe/internal/volume"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

var (
	streamSeeds = flag.Int("streams.seeds", 8, "how many streams to run through all sets of translators")
	streamSeed  = flag.Uint64("streams.seed", 1, "the first of them")
	streamOps   = flag.Int("streams.ops", 300, "how many operations each has")
)

// sets are the sets of performance translators that streams run through, from the
// bottom, with options that make them remember as much as they can.
var sets = func() map[string][]string {
	long := []string{
		"write-behind", "read-ahead", "readdir-ahead", "io-cache cache-timeout=60", "open-behind",
		"quick-read cache-timeout=60", "nl-cache nl-cache-timeout=600 nl-cache-positive-entry=on", "md-cache md-cache-timeout=600 xattr-cache-list=*",
	}
	all := map[string][]string{
		"none":    nil,
		"all":     long,
		"default": {"write-behind", "open-behind", "quick-read", "md-cache"},
		"small": {"write-behind cache-size=512KB", "read-ahead page-count=1", "readdir-ahead rda-request-size=4096 rda-cache-limit=4096",
			"io-cache cache-size=4MB", "quick-read cache-size=100KB max-file-size=1KB", "nl-cache nl-cache-limit=2KB", "md-cache"},
	}
	for _, s := range long {
		name, _, _ := strings.Cut(s, " ")
		all["only "+name] = []string{s}
	}
	return all
}()

// TestStreams runs streams of operations, the same through each set of
// performance translators: outcomes and what is left must be the same.
//
//	go test ./internal/mount -run Streams -streams.seeds 1000 -streams.ops 2000
func TestStreams(t *testing.T) {
	for i := range *streamSeeds {
		seed := *streamSeed + uint64(i)
		want := runStream(t, seed, nil)
		for _, name := range slices.Sorted(maps.Keys(sets)) {
			got := runStream(t, seed, sets[name])
			for n := range min(len(got), len(want)) {
				if got[n] != want[n] {
					t.Errorf("seed %d, %s: step %d:\n%s\nwithout translators:\n%s\nbefore:\n  %s", seed, name, n, got[n], want[n], strings.Join(want[max(0, n-12):n], "\n  "))
					break
				}
			}
			if t.Failed() {
				return
			}
		}
	}
}

// stream is a random user of a volume.
type stream struct {
	*rand.Rand
	t     *testing.T
	v     *handles.Volume
	c     fop.Cred
	dirs  []fop.GFID // the first is the root; those that are gone stay
	files []fop.GFID
	open  []*handles.File
	said  []string
}

func runStream(t *testing.T, seed uint64, stack []string) []string {
	var text strings.Builder
	text.WriteString("volume v\n type testing/below\nend-volume\n")
	below := "v"
	for _, s := range stack {
		words := strings.Fields(s)
		fmt.Fprintf(&text, "volume v-%s\n type performance/%[1]s\n", words[0])
		for _, o := range words[1:] {
			fmt.Fprintf(&text, " option %s\n", strings.Replace(o, "=", " ", 1))
		}
		fmt.Fprintf(&text, " subvolumes %s\nend-volume\n", below)
		below = "v-" + words[0]
	}
	disk := mem.NewFS(nil)
	typ := xlator.Type{Name: "testing/below", New: func(xlator.Config) (fop.Handler, error) { return disk, nil }}
	s, err := Open(t.Context(), Config{Volfile: text.String(), Registry: graph.Registry(clientside.Registry()).With(typ), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	u := &stream{Rand: rand.New(rand.NewPCG(seed, 7)), t: t, v: handles.New(s), c: fop.Cred{PID: 77, Owner: "stream"}, dirs: []fop.GFID{fop.RootGFID}}
	for range *streamOps {
		u.step()
	}
	for _, f := range u.open {
		u.say("close", f.Close(t.Context(), &u.c), "")
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	v := handles.New(disk)
	u.tree(v, fop.RootGFID, "")
	return u.said
}

func (u *stream) say(what string, err error, got string) {
	if err != nil {
		got = fop.Errno(err).Error()
		if fop.Errno(err) == syscall.ESTALE { // of a directory that is gone, nothing is known to be in it
			got = syscall.ENOENT.Error()
		}
	}
	u.said = append(u.said, what+": "+got)
}

// attrs are what a stream looks at; times are what they are.
func attrs(a fop.Iatt) string {
	if a.IsDir() {
		return fmt.Sprintf("dir %o", a.Mode)
	}
	return fmt.Sprintf("%o size %d nlink %d", a.Mode, a.Size, a.Nlink)
}

func digest(b []byte) string { return fmt.Sprintf("%d bytes %x", len(b), sha256.Sum256(b))[:24] }

func pick[T any](u *stream, from []T) (int, T) {
	i := u.IntN(len(from))
	return i, from[i]
}

// step does one operation.
func (u *stream) step() {
	ctx := u.t.Context()
	di, dir := pick(u, u.dirs)
	name := string(rune('a' + u.IntN(6)))
	at := fmt.Sprintf("%d/%s", di, name)
	n := u.IntN(26)
	if len(u.files) == 0 {
		n %= 4
	}
	size := []int{0, 1, 17, 500, 4096, 5000, 70_000}[u.IntN(7)]
	off := uint64([]int{0, 0, 1, 100, 4096, 70_000}[u.IntN(6)])
	data := []byte(strings.Repeat(string(rune('A'+u.IntN(26))), size))
	switch n {
	case 0:
		a, err := u.v.Mkdir(ctx, &u.c, dir, name, 0o755, 0)
		if err == nil {
			u.dirs = append(u.dirs, a.GFID)
		}
		u.say("mkdir "+at, err, attrs(a))
	case 1, 2, 3:
		f, a, err := u.v.Create(ctx, &u.c, dir, name, fop.ORdwr|fop.OExcl, 0o644, 0)
		if err == nil {
			u.files = append(u.files, a.GFID)
			u.keep(f)
		}
		u.say("create "+at, err, attrs(a))
	case 4:
		u.say("unlink "+at, u.v.Unlink(ctx, &u.c, dir, name), "")
	case 5:
		u.say("rmdir "+at, u.v.Rmdir(ctx, &u.c, dir, name), "")
	case 6, 7:
		dj, to := pick(u, u.dirs)
		other := string(rune('a' + u.IntN(6)))
		a, err := u.v.Rename(ctx, &u.c, dir, name, to, other)
		u.say(fmt.Sprintf("rename %s %d/%s", at, dj, other), err, attrs(a))
	case 8:
		i, g := pick(u, u.files)
		a, err := u.v.Link(ctx, &u.c, g, dir, name)
		u.say(fmt.Sprintf("link %d %s", i, at), err, attrs(a))
	case 9, 10, 11:
		var want *fop.Dict
		if n == 9 {
			want = fop.NewDict(fop.Pair{Key: fop.KeyContent, Val: fop.Uint(64 << 10)})
		}
		r, err := u.v.LookupX(ctx, &u.c, dir, name, want)
		got := ""
		if err == nil {
			got = attrs(r.Stat)
		}
		u.say("lookup "+at, err, got)
	case 12:
		i, g := pick(u, u.files)
		a, err := u.v.Getattr(ctx, &u.c, g)
		u.say(fmt.Sprint("stat ", i), err, attrs(a))
	case 13:
		i, g := pick(u, u.files)
		a, err := u.v.Setattr(ctx, &u.c, g, fop.SetMode, fop.Iatt{Mode: uint32(0o600 + u.IntN(8))})
		u.say(fmt.Sprint("chmod ", i), err, attrs(a))
	case 14:
		i, g := pick(u, u.files)
		a, err := u.v.Truncate(ctx, &u.c, g, off)
		u.say(fmt.Sprint("truncate ", i), err, attrs(a))
	case 15:
		i, g := pick(u, u.files)
		key := "user." + name
		switch u.IntN(3) {
		case 0:
			u.say(fmt.Sprint("setxattr ", i, " ", key), u.v.Setxattr(ctx, &u.c, g, key, data[:min(size, 30)], 0), "")
		case 1:
			val, err := u.v.Getxattr(ctx, &u.c, g, key)
			u.say(fmt.Sprint("getxattr ", i, " ", key), err, digest(val))
		case 2:
			u.say(fmt.Sprint("removexattr ", i, " ", key), u.v.Removexattr(ctx, &u.c, g, key), "")
		}
	case 16:
		i, g := pick(u, u.files)
		flags := []uint32{fop.ORdonly, fop.ORdwr, fop.ORdwr | fop.OTrunc, fop.ORdwr | fop.OAppend}[u.IntN(4)]
		f, err := u.v.OpenNow(ctx, &u.c, g, flags)
		if err == nil {
			u.keep(f)
		}
		u.say(fmt.Sprint("open ", i, " ", flags), err, "")
	case 17:
		u.list(di, dir)
	default:
		u.onFile(n, data, off)
	}
}

// onFile does an operation on an open file.
func (u *stream) onFile(n int, data []byte, off uint64) {
	ctx := u.t.Context()
	if len(u.open) == 0 {
		return
	}
	i, f := pick(u, u.open)
	writes := f.Fd.Flags&fop.OAccmode == fop.ORdwr
	switch {
	case n < 21 && writes && f.Fd.Flags&fop.OAppend != 0:
		_, _, err := f.Append(ctx, &u.c, data)
		u.say(fmt.Sprint("append ", i, " ", len(data)), err, "")
	case n < 21 && writes:
		w, err := f.WriteAt(ctx, &u.c, data, off)
		u.say(fmt.Sprint("write ", i, " ", off, "+", len(data)), err, fmt.Sprint(w))
	case n < 23:
		p := make([]byte, 100_000)
		r, _, err := f.ReadAt(ctx, &u.c, p[:1+len(data)], off)
		u.say(fmt.Sprint("read ", i, " ", off, "+", len(data)), err, digest(p[:r]))
	case n == 23:
		a, err := f.Getattr(ctx, &u.c)
		u.say(fmt.Sprint("fstat ", i), err, attrs(a))
	case n == 24:
		_, err := f.Fsync(ctx, &u.c, false)
		u.say(fmt.Sprint("fsync ", i), err, "")
	default:
		u.say(fmt.Sprint("close ", i), f.Close(ctx, &u.c), "")
		u.open = slices.Delete(u.open, i, i+1)
	}
}

// keep keeps a file open, and closes the oldest one if there are too many.
func (u *stream) keep(f *handles.File) {
	if u.open = append(u.open, f); len(u.open) > 6 {
		u.say("close 0", u.open[0].Close(u.t.Context(), &u.c), "")
		u.open = u.open[1:]
	}
}

// list lists a directory in pages, the attributes too.
func (u *stream) list(i int, g fop.GFID) {
	ctx := u.t.Context()
	d, err := u.v.Opendir(ctx, &u.c, g)
	if err != nil {
		u.say(fmt.Sprint("opendir ", i), err, "")
		return
	}
	defer d.Close(ctx, &u.c)
	var all []string
	var off uint64
	for eof := false; !eof; {
		var page []fop.Dirent
		if page, eof, err = d.Readdirp(ctx, &u.c, off, 700); err != nil {
			break
		}
		for _, e := range page {
			off = e.Off
			if e.Name == "." || e.Name == ".." {
				continue
			}
			a := e.Stat
			if a.IsZero() { // it is to be looked up
				if a, err = u.v.Lookup(ctx, &u.c, g, e.Name); err != nil {
					break
				}
			}
			all = append(all, e.Name+" "+attrs(a))
		}
	}
	slices.Sort(all)
	u.say(fmt.Sprint("list ", i), err, strings.Join(all, ", "))
}

// tree tells all that is on the disk below a directory.
func (u *stream) tree(v *handles.Volume, g fop.GFID, path string) {
	ctx := u.t.Context()
	d, err := v.Opendir(ctx, &u.c, g)
	if err != nil {
		u.t.Fatal(err)
	}
	defer d.Close(ctx, &u.c)
	list, _, err := d.Readdirp(ctx, &u.c, 0, 1<<20)
	if err != nil {
		u.t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b fop.Dirent) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range list {
		if e.Name == "." || e.Name == ".." {
			continue
		}
		name := path + "/" + e.Name
		if e.Stat.IsDir() {
			u.say(name, nil, attrs(e.Stat))
			u.tree(v, e.Stat.GFID, name)
			continue
		}
		f, err := v.Open(ctx, &u.c, e.Stat.GFID, fop.ORdonly)
		if err != nil {
			u.t.Fatal(err)
		}
		p := make([]byte, e.Stat.Size+1)
		n, _, err := f.ReadAt(ctx, &u.c, p, 0)
		f.Close(ctx, &u.c)
		keys, _ := v.Listxattr(ctx, &u.c, e.Stat.GFID)
		slices.Sort(keys)
		u.say(name, err, attrs(e.Stat)+" "+digest(p[:n])+" "+strings.Join(keys, " "))
	}
}
