package replicate

import (
	"encoding/hex"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

func TestSet(t *testing.T) {
	s := set(0).with(1).with(3)
	var got []int
	for i := range s.each {
		got = append(got, i)
	}
	if len(got) != 2 || got[0] != 1 || got[1] != 3 || s.count() != 2 || s.first() != 1 || s.has(0) || s.has(-1) || !s.has(3) {
		t.Errorf("%b: %v", s, got)
	}
	if set(0).first() != -1 || all(3) != 7 || all(16) != 0xffff || s.without(1) != only(3) {
		t.Error("sets are not what they should be")
	}
}

func TestChangelog(t *testing.T) {
	for _, c := range []struct {
		text string
		want changelog
	}{
		{"000000020000000100000000", changelog{2, 1, 0}},
		{"000000000000000000000008", changelog{0, 0, 8}},
		{"ffffffff0000000000000000", changelog{-1, 0, 0}},
		{"000000000100000000000000", changelog{0, 16777216, 0}},
	} {
		b, _ := hex.DecodeString(c.text)
		got := parseChangelog(b)
		if got != c.want || hex.EncodeToString(got.bytes()) != c.text {
			t.Errorf("%s: %v", c.text, got)
		}
		if got.neg().neg() != got {
			t.Errorf("%s: not undone by its negative", c.text)
		}
	}
	for _, short := range [][]byte{nil, {1}, {0, 0, 0, 1, 0}} {
		if got := parseChangelog(short); got[metadata] != 0 || got[entry] != 0 {
			t.Errorf("%x: %v", short, got)
		}
	}
}

func FuzzChangelog(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := parseChangelog(b)
		if len(b) == changelogSize && string(c.bytes()) != string(b) {
			t.Errorf("%x becomes %x", b, c.bytes())
		}
		if again := parseChangelog(c.bytes()); again != c {
			t.Errorf("%v becomes %v", c, again)
		}
	})
}

func FuzzLockinfo(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02k\x0012"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := fop.NewDict(fop.Pair{Key: keyLockinfo, Val: fop.Bytes(b)})
		one := mergeLockinfo([]*fop.Dict{d, nil}, keyLockinfo)
		if one != nil && string(one) != string(b) {
			t.Errorf("%x alone becomes %x", b, one)
		}
		mergeLockinfo([]*fop.Dict{d, d}, keyLockinfo)
		hostOf(string(b))
	})
}

func TestQuorum(t *testing.T) {
	auto := func(n int) quorum { return quorum{kind: quorumAuto, n: n} }
	fixed := func(n, count int) quorum { return quorum{kind: quorumFixed, n: n, count: count} }
	for _, c := range []struct {
		q    quorum
		s    set
		want bool
	}{
		{quorum{n: 2}, 0, true},
		{auto(2), 0b01, true}, {auto(2), 0b10, false}, {auto(2), 0b11, true}, {auto(2), 0, false},
		{auto(3), 0b001, false}, {auto(3), 0b101, true}, {auto(3), 0b110, true}, {auto(3), 0b100, false},
		{auto(4), 0b0011, true}, {auto(4), 0b1100, false}, {auto(4), 0b1110, true},
		{auto(1), 0b1, true}, {auto(1), 0, false},
		{fixed(2, 2), 0b01, false}, {fixed(2, 2), 0b11, true}, {fixed(3, 1), 0b100, true},
		{fixed(3, 0), 0, true}, // no count was given
	} {
		if got := c.q.met(c.s); got != c.want {
			t.Errorf("%+v met by %b: %v", c.q, c.s, got)
		}
	}
}

// says makes the answer of a child to a lookup.
func (r *replicate) says(st fop.Iatt, pairs ...any) answer {
	d := fop.NewDict()
	for i := 0; i < len(pairs); i += 2 {
		key, val := pairs[i], pairs[i+1]
		if j, ok := key.(int); ok {
			key = r.pending[j]
		}
		switch v := val.(type) {
		case changelog:
			d.Set(key.(string), v.value())
		case int:
			d.Set(key.(string), fop.Int(int64(v)))
		}
	}
	return answer{sent: true, reply: &fop.LookupReply{ReplyHeader: fop.ReplyHeader{XData: d}, Stat: st}}
}

func TestInterpret(t *testing.T) {
	keys := []string{"trusted.afr.v-client-0", "trusted.afr.v-client-1", "trusted.afr.v-client-2"}
	r := &replicate{n: 3, arbiter: -1, pending: keys, dirty: "trusted.afr.dirty"}
	ra := &replicate{n: 3, arbiter: 2, pending: keys, dirty: "trusted.afr.dirty"}
	file := func(size uint64) fop.Iatt { return fop.Iatt{Mode: fop.ModeRegular, Size: size} }
	dir := fop.Iatt{Mode: fop.ModeDir, Size: 4096}
	gone := answer{sent: true, err: errTest}
	type want struct{ data, meta, accused set }
	for _, c := range []struct {
		name string
		r    *replicate
		as   []answer
		want want
	}{
		{"healthy", r, []answer{r.says(file(5)), r.says(file(5)), r.says(file(5))}, want{0b111, 0b111, 0}},
		{"one missing", r, []answer{r.says(file(5)), gone, r.says(file(5))}, want{0b101, 0b101, 0}},
		{"one not asked", r, []answer{r.says(file(5)), {}, r.says(file(5))}, want{0b101, 0b101, 0}},
		{"data blamed", r, []answer{r.says(file(5), 1, changelog{1, 0, 0}), r.says(file(5)), r.says(file(5))}, want{0b101, 0b111, 0b010}},
		{"metadata blamed", r, []answer{r.says(file(5)), r.says(file(5)), r.says(file(5), 0, changelog{0, 7, 0})}, want{0b111, 0b110, 0b001}},
		{"entry counter of a file", r, []answer{r.says(file(5), 1, changelog{0, 0, 1}), r.says(file(5)), r.says(file(5))}, want{0b111, 0b111, 0}},
		{"each other", r, []answer{r.says(file(5), 1, changelog{1, 0, 0}), r.says(file(5), 0, changelog{1, 0, 0}), gone}, want{0, 0b011, 0b011}},
		{"itself", r, []answer{r.says(file(5), 0, changelog{1, 0, 0}), r.says(file(5)), r.says(file(5))}, want{0b110, 0b111, 0b001}},
		{"dirty only", r, []answer{r.says(file(5), "trusted.afr.dirty", changelog{1, 1, 1}), r.says(file(5)), r.says(file(5))}, want{0b111, 0b111, 0}},
		{"smaller", r, []answer{r.says(file(5)), r.says(file(6)), r.says(file(6))}, want{0b110, 0b111, 0b001}},
		{"larger but blamed", r, []answer{r.says(file(5)), r.says(file(9)), r.says(file(5), 1, changelog{1, 0, 0})}, want{0b101, 0b111, 0b010}},
		{"smaller, being written", r, []answer{r.says(file(5), "glusterfs.inodelk-count", 1), r.says(file(6)), r.says(file(6))}, want{0b111, 0b111, 0}},
		{"damaged", r, []answer{r.says(file(9), "glusterfs.bad-inode", 1), r.says(file(6)), r.says(file(6))}, want{0b110, 0b110, 0}},
		{"directories differ in size", r, []answer{r.says(fop.Iatt{Mode: fop.ModeDir, Size: 6}), r.says(dir), r.says(dir)}, want{0b111, 0b111, 0}},
		{"entries blamed", r, []answer{r.says(dir, 2, changelog{0, 0, 3}), r.says(dir, 2, changelog{0, 1, 3}), r.says(dir)}, want{0b011, 0b011, 0b100}},
		{"full crawl marker", r, []answer{r.says(dir, 2, changelog{1, 0, 0}), r.says(dir), r.says(dir)}, want{0b111, 0b111, 0}},
		{"arbiter", ra, []answer{r.says(file(5)), r.says(file(5)), r.says(file(0))}, want{0b011, 0b011, 0}},
		{"arbiter blames", ra, []answer{r.says(file(5)), r.says(file(5)), r.says(file(0), 0, changelog{1, 0, 0})}, want{0b010, 0b011, 0b001}},
		{"only the arbiter is good", ra, []answer{r.says(file(5)), gone, r.says(file(0), 0, changelog{1, 1, 0})}, want{0, 0, 0b001}},
		{"a transaction that one missed the beginning of", r, []answer{r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1), r.says(file(5)), r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1)}, want{0b101, 0b111, 0}},
		{"the same of metadata", r, []answer{r.says(file(5), "trusted.afr.dirty", changelog{0, 1, 0}, "glusterfs.inodelk-count", 1), r.says(file(5)), r.says(file(5))}, want{0b111, 0b001, 0}},
		{"a transaction of all", r, []answer{r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1), r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1), r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1)}, want{0b111, 0b111, 0}},
		{"a transaction that one missed, which has an old mark", r, []answer{r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1), r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}), r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 2)}, want{0b101, 0b111, 0}},
		{"a post-op that has come to all but one, whose metadata are blamed", r, []answer{r.says(file(5), 1, changelog{0, 1, 0}, "glusterfs.inodelk-count", 1), r.says(file(5), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1), r.says(file(5))}, want{0b111, 0b101, 0b010}},
		{"a transaction of the arbiter's", ra, []answer{r.says(file(5)), r.says(file(5)), r.says(file(0), "trusted.afr.dirty", changelog{1, 0, 0}, "glusterfs.inodelk-count", 1)}, want{0b011, 0b011, 0}},
		{"nobody", r, []answer{gone, gone, {}}, want{}},
	} {
		f := c.r.interpret(c.as)
		if got := (want{f.data, f.meta, f.accused}); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestFavorite(t *testing.T) {
	r := &replicate{}
	at := func(size uint64, mtime, ctime int64) answer {
		return r.says(fop.Iatt{Mode: fop.ModeRegular, Size: size, Mtime: fop.Time{Sec: mtime}, Ctime: fop.Time{Sec: ctime}})
	}
	for _, c := range []struct {
		policy  string
		as      []answer
		arbiter int
		want    int
	}{
		{"size", []answer{at(1, 0, 0), at(3, 0, 0), at(2, 0, 0)}, -1, 1},
		{"size", []answer{at(3, 0, 0), at(3, 0, 0), at(2, 0, 0)}, -1, -1},
		{"size", []answer{at(2, 0, 0), at(2, 0, 0), at(3, 0, 0)}, -1, 2},
		{"mtime", []answer{at(1, 5, 9), at(1, 7, 1), at(1, 6, 1)}, -1, 1},
		{"ctime", []answer{at(1, 5, 9), at(1, 7, 1), at(1, 6, 1)}, -1, 0},
		{"majority", []answer{at(1, 5, 0), at(2, 5, 0), at(2, 5, 0)}, -1, 1},
		{"majority", []answer{at(1, 5, 0), at(2, 5, 0), at(2, 6, 0)}, -1, -1},
		{"majority", []answer{at(1, 5, 0), at(2, 5, 0)}, -1, -1},
		{"mtime", []answer{at(1, 5, 0), {sent: true, err: errTest}}, -1, -1},
		{"", []answer{at(1, 5, 0), at(1, 5, 0)}, -1, -1},
	} {
		if got := favorite(c.policy, c.as, c.arbiter); got != c.want {
			t.Errorf("%s of %v: %d, want %d", c.policy, c.as, got, c.want)
		}
	}
}

func TestBestErrno(t *testing.T) {
	for _, c := range []struct {
		in   []error
		want error
	}{
		{[]error{nil, nil}, nil},
		{[]error{enoent, eio}, enoent},
		{[]error{eio, enoent}, enoent},
		{[]error{enoent, enodata}, enodata},
		{[]error{estale, enoent}, enoent},
		{[]error{enospc, estale}, estale},
		{[]error{eio, enospc, eacces}, enospc},
		{[]error{eio, eacces}, eacces},
		{[]error{eacces, nil, eio}, eio},
	} {
		as := make([]answer, len(c.in))
		for i, err := range c.in {
			as[i] = answer{sent: true, err: err}
		}
		if got := best(as); got != c.want {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
	if best([]answer{{err: eio}}) != nil {
		t.Error("the error of one that was not asked counts")
	}
}

func TestHash(t *testing.T) {
	for _, c := range []struct {
		gfid string
		hash uint32
		mod3 int
	}{
		{"7fd9e494-2e20-4358-ab50-f98327871726", 0x32bd15c7, 0},
		{"e9e01c12-5f1e-4d50-85e1-c18157b1c553", 0x71326166, 2},
		{"876aeda1-de44-4482-adff-f51afb47850d", 0x3e650228, 1},
		{"00000000-0000-0000-0000-000000000001", 0xfe513317, -1},
		{"00000000-0000-0000-0000-000000000000", 0x815470d6, -1},
	} {
		g, err := fop.ParseGFID(c.gfid)
		if err != nil {
			t.Fatal(err)
		}
		h := superFastHash(&g)
		if h != c.hash || c.mod3 >= 0 && int(h%3) != c.mod3 {
			t.Errorf("%s: %08x", c.gfid, h)
		}
	}
	g := fop.GFID{0x11, 0x22, 0x33, 0x44, 15: 9}
	x := g
	x[0], x[1] = g[0]^0x39, g[1]^0x30 // 12345, little-endian
	if hashWithPID(g, false, 12345, 16) != int(superFastHash(&x)%16) {
		t.Error("the pid is mixed in in another way")
	}
	if hashWithPID(g, true, 12345, 16) != int(0x815470d6%16) {
		t.Error("directories do not all have the same child")
	}
}

func TestChoose(t *testing.T) {
	g, _ := fop.ParseGFID("e9e01c12-5f1e-4d50-85e1-c18157b1c553") // hash mod 3 = 2
	for _, c := range []struct {
		name     string
		conf     config
		local    int32
		readable set
		want     int
	}{
		{"hash", config{forced: -1, hashMode: 1}, 0, 0b111, 2},
		{"hashed one is bad", config{forced: -1, hashMode: 1}, 0, 0b011, 0},
		{"none", config{forced: -1}, 0, 0b110, 1},
		{"nobody", config{forced: -1, hashMode: 1}, 0, 0, -1},
		{"forced", config{forced: 1, hashMode: 1, chooseLocal: true}, 1, 0b111, 1},
		{"forced is bad", config{forced: 1, hashMode: 1}, 0, 0b101, 2},
		{"local", config{forced: -1, hashMode: 1, chooseLocal: true}, 2, 0b111, 1},
		{"local is bad", config{forced: -1, hashMode: 1, chooseLocal: true}, 2, 0b101, 2},
		{"choose-local off", config{forced: -1, hashMode: 1}, 2, 0b111, 2},
		{"least busy", config{forced: -1, hashMode: 3}, 0, 0b111, 1},
		{"least busy of two", config{forced: -1, hashMode: 3}, 0, 0b101, 2},
		{"least delay", config{forced: -1, hashMode: 4}, 0, 0b111, 2},
		{"least load", config{forced: -1, hashMode: 5}, 0, 0b111, 1},
	} {
		r := &replicate{n: 3, arbiter: -1}
		r.conf.Store(&c.conf)
		r.local.Store(c.local)
		for i, m := range []struct{ n, d int }{{9, 50}, {0, 40}, {4, 20}} {
			r.meters[i].outstanding.Store(int32(m.n))
			r.meters[i].delay.Store(int64(m.d))
		}
		if got := r.choose(c.readable, g, false); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{
		"<POSIX(/bricks/b1):node-1:/bricks/b1/>":        "node-1",
		"(<DISTRIBUTE:v-dht> <POSIX(/b):10.0.0.1:/b/>)": "10.0.0.1",
		"":                 "",
		"<POSIX(":          "",
		"<POSIX(/b):":      "",
		"<POSIX(/b)x:y:z>": "",
	} {
		if got := hostOf(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
