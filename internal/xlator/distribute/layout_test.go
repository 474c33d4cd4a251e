package distribute

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExtent(t *testing.T) {
	for _, c := range []struct {
		disk string
		want extent
	}{
		{"00000000 00000000 00000000 55555554", extent{0, 0, 0, 0x55555554}},
		{"00000001 00000000 aaaaaaaa ffffffff", extent{1, 0, 0xaaaaaaaa, 0xffffffff}},
		{"5817de52 00000000 00000000 00000000", extent{0x5817de52, 0, 0, 0}},
		{"00000000 00000001 00000000 ffffffff", extent{0, 1, 0, 0xffffffff}},
	} {
		b := unhex(t, c.disk)
		got, err := parseExtent(b)
		if err != nil || got != c.want || !bytes.Equal(got.bytes(), b) {
			t.Errorf("%s: %v, %v", c.disk, got, err)
		}
	}
	for _, bad := range []string{"", "00", "00000000 00000002 00000000 ffffffff", "00000000 00000000 00000000 ffffffff 00"} {
		if _, err := parseExtent(unhex(t, bad)); fop.Errno(err) != syscall.EINVAL {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestLayout merges answers and examines the result. An answer is "-" for keys
// without a layout, "commit/start-stop", or an error.
func TestLayout(t *testing.T) {
	const down, gone, io = "ENOTCONN", "ENOENT", "EIO"
	errnos := map[string]syscall.Errno{down: syscall.ENOTCONN, gone: syscall.ENOENT, io: syscall.EIO, "ESTALE": syscall.ESTALE, "ENOSPC": syscall.ENOSPC}
	for _, c := range []struct {
		name    string
		answers string
		order   string
		health  health
		commit  uint32
		at      map[uint32]int // hash → subvolume, -1 for none
	}{
		{"healthy", "0/55555555-aaaaaaa9 0/aaaaaaaa-ffffffff 0/0-55555554", "201", health{}, 0,
			map[uint32]int{0: 2, 0x55555554: 2, 0x55555555: 0, 0xffffffff: 1}},
		{"fresh root", "- - -", "012", health{holes: 1}, 0, map[uint32]int{0: 0, 1: -1}},
		{"new brick without a range", "0/0-7ffffffe 0/7fffffff-ffffffff 0/0-0", "201", health{}, 0, map[uint32]int{1: 0}},
		{"new brick without a layout", "7/0-7ffffffe 7/7fffffff-ffffffff -", "201", health{}, 7, nil},
		{"one has it all", "0/0-ffffffff ENOENT", "10", health{missing: 1}, 0, map[uint32]int{1: 0}},
		{"removed on one", "0/0-55555554 ENOENT 0/aaaaaaaa-ffffffff", "102", health{missing: 1, holes: 1}, 0,
			map[uint32]int{0x55555555: -1}},
		{"stale on the last", "0/0-55555554 0/55555555-aaaaaaa9 ESTALE", "201", health{missing: 1, holes: 1}, 0, nil},
		{"down", "0/0-55555554 ENOTCONN 0/aaaaaaaa-ffffffff", "102", health{down: 1, holes: 1}, 0, nil},
		{"down without a range", "0/0-7ffffffe ENOTCONN 0/7fffffff-ffffffff", "102", health{down: 1}, 0, nil},
		{"odd error", "0/0-ffffffff EIO", "10", health{misc: 1}, 0, nil},
		{"full", "0/0-ffffffff ENOSPC", "10", health{}, 0, nil},
		{"overlap", "0/0-80000000 0/7fffffff-ffffffff", "01", health{overlap: 1}, 0, map[uint32]int{0x80000000: 0}},
		{"both have all: GlusterFS sees no overlap behind the last hash", "0/0-ffffffff 0/0-ffffffff", "01", health{}, 0, nil},
		{"does not begin at 0", "0/10-7ffffffe 0/7fffffff-ffffffff", "01", health{holes: 1}, 0, map[uint32]int{5: -1}},
		{"shifted ring", "0/10-7ffffffe 0/7fffffff-f", "01", health{}, 0, nil},
		{"one hash", "0/5-5 0/0-ffffffff", "10", health{}, 0, map[uint32]int{5: 1}},
		{"commits differ", "5/0-7ffffffe 6/7fffffff-ffffffff", "01", health{}, 1, nil},
		{"commit and none", "0/0-7ffffffe 6/7fffffff-ffffffff", "01", health{}, 6, nil},
		{"commit hash 1", "1/0-7ffffffe 1/7fffffff-ffffffff", "01", health{}, 1, nil},
		{"garbage", "0/0-ffffffff bad", "10", health{missing: 1}, 0, nil},
	} {
		answers := strings.Fields(c.answers)
		d := bare(t, len(answers), nil)
		l := newLayout(d.subs)
		for i, a := range answers {
			var x *fop.Dict
			var err error
			switch e, isErr := errnos[a]; {
			case isErr:
				err = fmt.Errorf("lookup: %w", e)
			case a == "bad":
				x = fop.NewDict(fop.Pair{Key: fop.XattrDHT, Val: fop.Bytes([]byte("xx"))})
			case a != "-":
				var e extent
				if _, err := fmt.Sscanf(a, "%x/%x-%x", &e.commit, &e.start, &e.stop); err != nil {
					t.Fatal(a, err)
				}
				x = fop.NewDict(fop.Pair{Key: fop.XattrDHT, Val: fop.Bytes(e.bytes())})
			}
			if bad := l.merge(d.subs[i], err, x); (bad != nil) != (a == "bad") {
				t.Errorf("%s: %v", c.name, bad)
			}
		}
		l.sort()
		order := ""
		for _, e := range l.entries {
			order += strconv.Itoa(e.sub.index)
		}
		if h := l.health(); order != c.order || h != c.health || l.commit != c.commit {
			t.Errorf("%s: order %s, %+v, commit %x, want %s, %+v, %x", c.name, order, h, l.commit, c.order, c.health, c.commit)
		}
		for hash, want := range c.at {
			if e := l.find(hash); (e == nil) != (want < 0) || e != nil && e.sub.index != want {
				t.Errorf("%s: %x is on %v, want %d", c.name, hash, e, want)
			}
		}
	}
}

// TestDivide has the layouts of new directories that GlusterFS 10.3 was seen to
// make. A layout is written in the order of the names of the subvolumes.
func TestDivide(t *testing.T) {
	golden(t, "divisions", func(line string) {
		f := strings.Split(line, "|")
		if len(f) != 4 {
			t.Fatalf("%q", line)
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		path, err := strconv.Unquote(f[0])
		if err != nil {
			t.Fatal(err)
		}
		v := division{start: path, weighted: true}
		if f[2] != "" {
			if v.spread, err = strconv.Atoi(f[2]); err != nil {
				t.Fatal(err)
			}
		}
		var shares []share
		for i, w := range strings.Fields(f[1]) {
			s := share{sub: &subvol{name: fmt.Sprint("c", i), index: i}, err: errNone}
			w, full := strings.CutSuffix(w, "!")
			if full {
				s.full = true
			}
			w, out := strings.CutSuffix(w, "x")
			if out {
				s.err = syscall.ENOTCONN
			}
			n, err := strconv.ParseUint(w, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			s.chunks = uint32(n)
			shares = append(shares, s)
		}
		l := v.divide(shares)
		var got []string
		for _, s := range shares {
			e := l.of(s.sub)
			if e.empty() {
				got = append(got, "-")
			} else {
				got = append(got, fmt.Sprintf("%x-%x", e.start, e.stop))
			}
		}
		if g := strings.Join(got, " "); g != f[3] {
			t.Errorf("%s:\n%s, want\n%s", line, g, f[3])
		}
		if h := l.health(); f[3] != strings.TrimSpace(strings.Repeat("- ", len(shares))) && !h.whole() {
			t.Errorf("%s: %+v", line, h)
		}
	})
}

// TestPlacement: names land where a GlusterFS client was seen to put them.
func TestPlacement(t *testing.T) {
	d := bare(t, 3, nil)
	l := newLayout(d.subs)
	for i, e := range []extent{{stop: 0x55555554}, {start: 0x55555555, stop: 0xaaaaaaa9}, {start: 0xaaaaaaaa, stop: 0xffffffff}} {
		if err := l.merge(d.subs[i], nil, fop.NewDict(fop.Pair{Key: fop.XattrDHT, Val: fop.Bytes(e.bytes())})); err != nil {
			t.Fatal(err)
		}
	}
	l.sort()
	for i, names := range []string{
		"0 11 13 15 17 21 23 25 26 27 28 32 39 40",
		"1 3 4 8 9 10 12 14 18 19 22 29 31 35",
		"2 5 6 7 16 20 24 30 33 34 37 38 41 42",
	} {
		for _, n := range strings.Fields(names) {
			if s := d.hashed(l, "n"+n); s != d.subs[i] {
				t.Errorf("n%s is on %v, want %d", n, s, i)
			}
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), uint32(0))
	f.Add(whole.bytes(), uint32(7))
	f.Fuzz(func(t *testing.T, b []byte, hash uint32) {
		n := max(1, min(len(b)/extentSize, 64))
		d := bare(t, n+1, nil)
		l := newLayout(d.subs)
		for i := range n {
			l.merge(d.subs[i], nil, fop.NewDict(fop.Pair{Key: fop.XattrDHT, Val: fop.Bytes(b[min(len(b), i*extentSize):min(len(b), (i+1)*extentSize)])}))
		}
		l.sort()
		h := l.health()
		if e := l.find(hash); e == nil && h.whole() && l.find(hash-1) != nil && l.find(hash+1) != nil {
			t.Errorf("%v is called whole, but has no place for %x", l, hash)
		}
		_ = l.String()
		for _, s := range d.subs {
			if len(l.disk(s)) != extentSize {
				t.Error("disk form of another length")
			}
		}
	})
}

func TestOptions(t *testing.T) {
	d := bare(t, 3, nil)
	for _, c := range []struct {
		o    xlator.Options
		want func(*settings) bool
	}{
		{nil, func(s *settings) bool {
			return s.minPercent == 10 && s.minBytes == 0 && s.minInodes == 5 && s.optimize && s.weighted
		}},
		{xlator.Options{"min-free-disk": "7.5%"}, func(s *settings) bool { return s.minPercent == 7.5 && s.minBytes == 0 }},
		{xlator.Options{"min-free-disk": "20"}, func(s *settings) bool { return s.minPercent == 20 && s.minBytes == 0 }},
		{xlator.Options{"min-free-disk": "100"}, func(s *settings) bool { return s.minBytes == 100 }},
		{xlator.Options{"min-free-disk": "3GB"}, func(s *settings) bool { return s.minBytes == 3<<30 }},
		{xlator.Options{"min-free-inodes": "2%"}, func(s *settings) bool { return s.minInodes == 2 }},
		{xlator.Options{"decommissioned-bricks": "v-client-2,v-client-9"}, func(s *settings) bool { return s.anyDecommissioned && s.decommissioned[2] && !s.decommissioned[0] }},
		{xlator.Options{"commit-hash": "1477957210"}, func(s *settings) bool { return s.haveCommit && s.commit == 0x5817d65a }},
		{xlator.Options{"lookup-unhashed": "auto", "lookup-optimize": "off"}, func(s *settings) bool { return s.unhashed == "auto" && !s.optimize }},
	} {
		if err := d.Reconfigure(c.o); err != nil || !c.want(d.set.Load()) {
			t.Errorf("%v: %v, %+v", c.o, err, d.set.Load())
		}
	}
	for _, o := range []xlator.Options{{"min-free-disk": "much"}, {"min-free-disk": "-1%"}, {"min-free-inodes": "few"}, {"commit-hash": "x"}} {
		if err := d.Reconfigure(o); fop.Errno(err) != syscall.EINVAL {
			t.Errorf("%v: %v", o, err)
		}
	}
}
