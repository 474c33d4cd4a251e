package replicate

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// children makes a set of what is written as "012"; "-" is none.
func children(s string) (c set) {
	for _, r := range strings.Trim(s, "-") {
		c = c.with(int(r - '0'))
	}
	return c
}

func (s set) String() string {
	var b strings.Builder
	for i := range s.each {
		fmt.Fprint(&b, i)
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}

func (n note) String() string {
	if n.to == 0 {
		return "nothing"
	}
	name := [...]string{"", " name+", " name-"}[n.name]
	return fmt.Sprintf("to %v blame %v dirty %+d%s", n.to, n.blame, n.dirty, name)
}

// TestDecide goes through what GlusterFS 10.3 leaves on its bricks, phase by
// phase: who is told what when a fop went wrong in one way or another.
func TestDecide(t *testing.T) {
	two, three := quorum{n: 2}, quorum{kind: quorumAuto, n: 3}
	auto2 := quorum{kind: quorumAuto, n: 2}
	fixed1 := quorum{kind: quorumFixed, n: 3, count: 1}
	for _, c := range []struct {
		what    string
		q       quorum
		part    part
		locked  string
		failed  string // of those locked, at the fop
		dirtied bool
		option  bool // optimistic-change-log
		gran    bool
		err     syscall.Errno // of the fop, 0 if it succeeded somewhere
		unsent  bool
		want    string // what is written
		result  syscall.Errno
	}{
		// Nothing goes wrong.
		{"healthy write", two, data, "01", "-", true, true, true, 0, false, "to 01 blame - dirty -1", 0},
		{"healthy write that inherited its mark", two, data, "01", "-", false, true, true, 0, false, "nothing", 0},
		{"healthy chmod", two, metadata, "01", "-", false, true, true, 0, false, "nothing", 0},
		{"healthy create", two, entry, "01", "-", false, true, true, 0, false, "nothing", 0},
		{"healthy create without the option", two, entry, "01", "-", true, false, true, 0, false, "to 01 blame - dirty -1 name-", 0},
		{"healthy create without the option, no granular heal", two, entry, "01", "-", true, false, false, 0, false, "to 01 blame - dirty -1", 0},
		{"healthy chmod without the option", three, metadata, "012", "-", true, false, true, 0, false, "to 012 blame - dirty -1", 0},
		// A brick was down before.
		{"write, brick 1 down", two, data, "0", "-", true, true, true, 0, false, "to 0 blame 1 dirty -1", 0},
		{"second write of a burst, brick 1 down", two, data, "0", "-", false, true, true, 0, false, "nothing", 0},
		{"chmod, brick 1 down", two, metadata, "0", "-", true, true, true, 0, false, "to 0 blame 1 dirty -1", 0},
		{"create, brick 1 down: no name key", two, entry, "0", "-", true, true, true, 0, false, "to 0 blame 1 dirty -1", 0},
		{"write, brick 2 of 3 down", three, data, "01", "-", true, true, true, 0, false, "to 01 blame 2 dirty -1", 0},
		{"create, brick 0 of 3 down", three, entry, "12", "-", true, true, true, 0, false, "to 12 blame 0 dirty -1", 0},
		// The fop fails on a minority.
		{"write fails on 1", two, data, "01", "1", true, true, true, 0, false, "to 0 blame 1 dirty -1", 0},
		{"write that inherited fails on 1", two, data, "01", "1", false, true, true, 0, false, "to 0 blame 1 dirty +0", 0},
		{"write fails on 2 of 3", three, data, "012", "2", true, true, true, 0, false, "to 01 blame 2 dirty -1", 0},
		{"chmod fails on 0 of 3", three, metadata, "012", "0", false, true, true, 0, false, "to 12 blame 0 dirty +0", 0},
		{"mkdir fails on 2 of 3: the name is noted", three, entry, "012", "2", false, true, true, 0, false, "to 01 blame 2 dirty +0 name+", 0},
		{"mkdir fails on 2 of 3, no granular heal", three, entry, "012", "2", false, true, false, 0, false, "to 01 blame 2 dirty +0", 0},
		{"write fails on 1 of 3 and 2 was down, fixed quorum of 1", fixed1, data, "01", "1", true, true, true, 0, false, "to 0 blame 12 dirty -1", 0},
		{"write fails on 1, the other half has the first brick", auto2, data, "01", "1", true, true, true, 0, false, "to 0 blame 1 dirty -1", 0},
		// It fails on a majority: nobody is blamed, the mark stays.
		{"write fails on 0, the rest is no quorum", auto2, data, "01", "0", true, true, true, 0, false, "nothing", syscall.EIO},
		{"write fails on 1 and 2 of 3", three, data, "012", "12", true, true, true, 0, false, "nothing", syscall.EIO},
		{"write fails on 1 of 3 and 2 was down", three, data, "01", "1", true, true, true, 0, false, "nothing", syscall.EIO},
		{"chmod fails on 1 and 2 of 3: in doubt", three, metadata, "012", "12", false, true, true, 0, false, "to 0 blame - dirty +1", syscall.EIO},
		{"chmod fails on 1 of 3 and 2 was down", three, metadata, "01", "1", true, true, true, 0, false, "nothing", syscall.EIO},
		{"create on 0 of 3 alone: in doubt", three, entry, "012", "12", false, true, true, 0, false, "to 0 blame - dirty +1 name+", syscall.EIO},
		{"create on 0 of 3 alone, no granular heal", three, entry, "012", "12", false, true, false, 0, false, "to 0 blame - dirty +1", syscall.EIO},
		{"create on 0 of 3 alone, marked before", three, entry, "01", "1", true, true, true, 0, false, "nothing", syscall.EIO},
		{"create on 1 of 2, no quorum wanted", two, entry, "01", "0", false, true, true, 0, false, "to 1 blame 0 dirty +0 name+", 0},
		// It fails everywhere.
		{"write fails everywhere in different ways", two, data, "01", "01", true, true, true, syscall.ENOSPC, false, "nothing", syscall.ENOSPC},
		{"mkdir fails everywhere in different ways", three, entry, "012", "012", false, true, true, syscall.ENOSPC, false, "nothing", syscall.ENOSPC},
		// The pre-op failed on too many: the fop was not sent.
		{"write, marked on 0 of 3 alone", three, data, "012", "12", true, true, true, syscall.ENOTCONN, true, "to 0 blame - dirty -1", syscall.ENOTCONN},
		{"create with 2 down, marked on 0 alone", three, entry, "01", "1", true, true, true, syscall.ENOTCONN, true, "to 0 blame - dirty -1", syscall.ENOTCONN},
		{"chmod refused without a mark", three, metadata, "012", "-", false, true, true, syscall.EIO, true, "nothing", syscall.EIO},
	} {
		l := ledger{n: c.q.n, part: c.part, quorum: c.q, locked: children(c.locked), granular: c.gran, sent: !c.unsent}
		l.failed = all(l.n)&^l.locked | children(c.failed)
		l.optimistic = c.option && l.locked == all(l.n)
		var why error
		if children(c.failed) != 0 {
			why = syscall.EIO
		}
		if c.err != 0 {
			l.err = c.err
		}
		if !c.unsent {
			l.settleQuorum(why)
		}
		w := l.decide(c.dirtied)
		if got := w.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if !errors.Is(l.err, c.result) && !(l.err == nil && c.result == 0) {
			t.Errorf("%s: result %v, want %v", c.what, l.err, c.result)
		}
		if w.blame&w.to != 0 {
			t.Errorf("%s: %v blames those it is written on", c.what, w)
		}
	}
}

// TestDecideNeverBlamesTheLast goes through everything that can happen to up to
// four copies and holds what must never be written.
func TestDecideNeverBlamesTheLast(t *testing.T) {
	for n := 1; n <= 4; n++ {
		for _, q := range []quorum{{n: n}, {n: n, kind: quorumAuto}, {n: n, kind: quorumFixed, count: 2}} {
			for locked := range all(n) + 1 {
				for bad := range all(n) + 1 {
					for _, p := range []part{data, metadata, entry} {
						for bits := range 16 {
							l := ledger{n: n, part: p, quorum: q, locked: locked, failed: all(n)&^locked | bad, granular: bits&1 != 0, sent: bits&2 != 0}
							l.optimistic = bits&4 != 0 && locked == all(n)
							if l.good() == 0 || !l.sent {
								l.err = syscall.EIO
							}
							if l.sent {
								l.settleQuorum(syscall.EIO)
							}
							w := l.decide(bits&8 != 0)
							switch {
							case w.blame&l.good() != 0:
								t.Fatalf("%+v blames a child that has the fop: %v", l, w)
							case w.blame != 0 && !q.met(w.to):
								t.Fatalf("%+v blames without quorum: %v", l, w)
							case w.blame != 0 && w.to == 0:
								t.Fatalf("%+v blames and nobody has it", l)
							case w.blame != 0 && !l.sent:
								t.Fatalf("%+v blames for what nobody was asked", l)
							case l.err == nil && l.failed != 0 && l.failed&^w.blame != 0 && bits&8 != 0:
								t.Fatalf("%+v forgets who missed it: %v", l, w)
							case w.to&^locked != 0:
								t.Fatalf("%+v writes where it has no lock: %v", l, w)
							}
						}
					}
				}
			}
		}
	}
}

func TestSymmetric(t *testing.T) {
	ok, sent := answer{sent: true}, func(e error) answer { return answer{sent: true, err: e} }
	for _, c := range []struct {
		as   []answer
		want bool
	}{
		{[]answer{ok, ok}, false},
		{[]answer{{}, {}}, false},
		{[]answer{sent(syscall.EEXIST), sent(fmt.Errorf("x: %w", syscall.EEXIST))}, true},
		{[]answer{sent(syscall.EEXIST), {}, sent(syscall.EEXIST)}, true},
		{[]answer{sent(syscall.EEXIST), ok}, false},
		{[]answer{sent(syscall.EEXIST), sent(syscall.ENOSPC)}, false},
		{[]answer{sent(syscall.ENOTCONN), sent(syscall.ENOTCONN)}, false},
		{[]answer{sent(syscall.ETIMEDOUT), sent(syscall.ETIMEDOUT)}, false},
	} {
		if got := symmetric(c.as); got != c.want {
			t.Errorf("%v: %v", c.as, got)
		}
	}
}

func TestLostLast(t *testing.T) {
	for _, c := range []struct {
		good, failed string
		want         bool
	}{
		{"0", "0", true}, {"0", "1", false}, {"-", "01", false}, {"01", "0", false}, {"01", "01", true}, {"01", "012", true}, {"012", "-", false},
	} {
		if got := lostLast(children(c.good), children(c.failed)); got != c.want {
			t.Errorf("good %s failed %s: %v", c.good, c.failed, got)
		}
	}
}

func TestNewMark(t *testing.T) {
	for _, c := range []struct {
		mode     uint32
		granular bool
		want     changelog
	}{
		{0o100644, true, changelog{1, 1, 0}}, {0o100644, false, changelog{1, 1, 0}},
		{0o040755, true, changelog{1, 1, 1}}, {0o040755, false, changelog{0, 1, 1}},
		{0o010644, true, changelog{0, 1, 0}}, {0o140644, true, changelog{0, 1, 0}}, {0o020644, false, changelog{0, 1, 0}},
	} {
		if got := newMark(c.mode, c.granular); got != c.want {
			t.Errorf("%o: %v, want %v", c.mode, got, c.want)
		}
	}
}
