package distribute

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestFixLayout has layouts that fix-layout of GlusterFS 10.3 was seen to make
// when a fourth subvolume was added.
func TestFixLayout(t *testing.T) {
	ranges := map[string]extent{
		"-":  {},
		"t0": {start: 0, stop: 0x55555554}, "t1": {start: 0x55555555, stop: 0xaaaaaaa9}, "t2": {start: 0xaaaaaaaa, stop: 0xffffffff},
		"h0": {start: 0, stop: 0x7ffffffe}, "h1": {start: 0x7fffffff, stop: 0xffffffff},
		"q0": {start: 0, stop: 0x3ffffffe}, "q1": {start: 0x3fffffff, stop: 0x7ffffffd},
		"q2": {start: 0x7ffffffe, stop: 0xbffffffc}, "q3": {start: 0xbffffffd, stop: 0xffffffff},
	}
	d := bare(t, 4, nil)
	layoutOf := func(s string, commit uint32) *layout {
		l := newLayout(d.subs)
		l.commit = commit
		for i, r := range strings.Fields(s) {
			l.entries[i].err, l.entries[i].extent = 0, ranges[r]
			l.entries[i].commit = commit
		}
		l.sort()
		return l
	}
	golden(t, "fixlayouts", func(line string) {
		f := strings.Split(line, "|")
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		old := layoutOf(f[1], 7)
		now := d.fixed(f[0], root, old)
		var got []string
		for _, e := range d.byNames(now) {
			name := fmt.Sprintf("%x-%x", e.start, e.stop)
			for n, r := range ranges {
				if r.start == e.start && r.stop == e.stop {
					name = n
				}
			}
			if e.commit != 7 {
				t.Errorf("%s: commit hash %x", f[0], e.commit)
			}
			got = append(got, name)
		}
		if g := strings.Join(got, " "); g != f[2] {
			t.Errorf("%s: %s becomes %s, want %s", f[0], f[1], g, f[2])
		}
		if !d.needsFix(old, now) {
			t.Errorf("%s is left as it is", f[0])
		}
		if d.needsFix(now, now) {
			t.Errorf("%s would be written again", f[0])
		}
	})

	// A directory that all have a part of stays, wherever the parts are.
	spread := layoutOf("q3 q1 q0 q2", 7)
	if d.needsFix(spread, d.fixed("/x", root, spread)) {
		t.Error("a whole directory would be divided anew")
	}
	hole := layoutOf("q3 q1 q0 -", 7)
	if !d.needsFix(hole, d.fixed("/x", root, hole)) {
		t.Error("a hole stays")
	}
	down := layoutOf("t0 t1 t2 -", 7)
	down.of(d.subs[3]).err = syscall.ENOTCONN
	if d.needsFix(down, d.fixed("/x", root, down)) {
		t.Error("divided with a subvolume down")
	}
	s := *d.set.Load()
	s.decommissioned = []bool{false, false, false, true}
	d.set.Store(&s)
	leaves := layoutOf("q0 q1 q2 q3", 7)
	now := d.fixed("/x", root, leaves)
	if !d.needsFix(leaves, now) || !now.of(d.subs[3]).empty() || !now.health().whole() {
		t.Errorf("one leaves: %v", now)
	}
	if back := layoutOf("t0 t1 t2 -", 7); d.needsFix(back, d.fixed("/x", root, back)) {
		t.Error("divided again though the one that leaves has nothing")
	}
}
