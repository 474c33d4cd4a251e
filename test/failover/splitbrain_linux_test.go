package failover

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	settleTime  = 1300 * time.Millisecond // longer than a post-op is put off
	settleLimit = 20 * time.Second
)

// split is a kind of split-brain: each side of it does its commands while the
// others are away.
type split struct {
	name  string
	sides [][]string // by brick
}

var splits = []split{
	{"data", [][]string{{"open 1 DIR/f 2", "puts 1 0 one", "close 1"}, {"open 1 DIR/f 2", "puts 1 0 two", "close 1"}}},
	{"metadata", [][]string{{"chmod DIR/f 600"}, {"chmod DIR/f 640"}}},
	{"metadata of a directory", [][]string{{"chmod DIR 700"}, {"chmod DIR 750"}}},
	{"entries", [][]string{{"mkdir DIR/one"}, {"mkdir DIR/two"}}},
	{"gfid", [][]string{{"unlink DIR/f", "creat 1 DIR/f", "puts 1 0 one", "close 1"}, {"unlink DIR/f", "creat 1 DIR/f", "puts 1 0 two", "close 1"}}},
	{"type", [][]string{{"unlink DIR/f", "mkdir DIR/f"}, {"unlink DIR/f", "creat 1 DIR/f", "close 1"}}},
}

// TestSplitBrain has copies changed while they do not see each other, and asks
// a client that sees all: it must not answer with one of them.
func TestSplitBrain(t *testing.T) {
	l := newLab(t, false)
	var a answers
	volumes := []*volume{l.volume(t, "r2", 2, "replica", "2"), l.volume(t, "r3", 3, "replica", "3")}
	seen := make([][]string, len(volumes)*len(splits))
	var wg sync.WaitGroup
	for i := range seen {
		wg.Go(func() {
			v, sp, dir := volumes[i/len(splits)], splits[i%len(splits)], fmt.Sprintf("b%d", i)
			if v.split(t, dir, sp) {
				seen[i] = v.seeSplit(t, dir, sp)
			}
		})
	}
	wg.Wait()
	for i, lines := range seen {
		a.add(volumes[i/len(splits)].name+", "+splits[i%len(splits)].name, lines)
	}
	v := l.volume(t, "arb", 3, "replica", "3", "arbiter", "1")
	a.add("arbiter, the good copy is away", v.goodCopyAway(t))
	a.compare(t, "splitbrain")
}

// split makes a split-brain; with three bricks the third goes with the second.
func (v *volume) split(t *testing.T, dir string, sp split) bool {
	t.Helper()
	none := map[string]map[string]string{"cluster/replicate": {"quorum-type": "none"}}
	do := func(without []int, commands []string) bool {
		r := v.route(t)
		defer r.close()
		for _, i := range without {
			r[i].cut()
		}
		c, err := v.connect(kindOfClient(), v.volfile(t, r, false, none), v.name+"-"+dir)
		if err != nil {
			t.Error(err)
			return false
		}
		defer c.Close()
		for _, cmd := range in(dir, commands) {
			if _, err := c.Do(cmd); err != nil {
				t.Errorf("%s on %s: %s: %v", sp.name, v.name, cmd, err)
				return false
			}
		}
		r.settle(200*time.Millisecond, settleLimit)
		return true
	}
	rest := []int{1, 2}[:len(v.bricks)-1]
	return do(nil, setQuestions) && do(rest, sp.sides[0]) && do([]int{0}, sp.sides[1])
}

// seeSplit asks a client of its own for each question: what one changes is not
// to matter to the next.
func (v *volume) seeSplit(t *testing.T, dir string, sp split) []string {
	t.Helper()
	c, err := v.connect(kindOfClient(), v.volfile(t, nil, false, nil), v.name+"-see-"+dir)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer c.Close()
	var questions []string
	for _, q := range slices.Concat([]string{"stat DIR", "open 2 DIR/f 2"}, reading, changing) {
		switch {
		case q == "statfs DIR":
		case sp.name == "type" && strings.HasPrefix(q, "open"):
		default:
			questions = append(questions, q)
		}
	}
	lines := ask(c, dir, questions)
	for i, l := range lines {
		// Which copy answers where that may be is a matter of chance.
		if cmd, answer, _ := strings.Cut(l, ": "); strings.HasPrefix(answer, "ok ") && !strings.HasPrefix(cmd, "getxattr") {
			lines[i] = cmd + ": ok"
		}
	}
	return lines
}

// goodCopyAway: brick 0 has an old copy, brick 1 the good one, and is gone. The
// arbiter knows, and nothing else may answer.
func (v *volume) goodCopyAway(t *testing.T) []string {
	t.Helper()
	const dir = "away"
	do := func(without int, commands []string) []string {
		r := v.route(t)
		defer r.close()
		if without >= 0 {
			r[without].cut()
		}
		c, err := v.connect(kindOfClient(), v.volfile(t, r, false, nil), "away")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		lines := ask(c, dir, commands)
		r.settle(200*time.Millisecond, settleLimit)
		return lines
	}
	do(-1, setQuestions)
	do(0, []string{"open 1 DIR/f 2", "puts 1 0 new", "close 1"})
	before := v.state(dir, true)
	lines := do(1, []string{"stat DIR/f", "cat DIR/f", "open 1 DIR/f 2", "truncate DIR/f 3", "chmod DIR/f 600", "getxattr DIR/f user.k", "stat DIR/g", "cat DIR/g"})
	return append(lines, unchanged(before, v.state(dir, true)))
}
