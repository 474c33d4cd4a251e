package failover

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestQuorum takes bricks away from volumes with every kind of quorum. What then
// works and what fails, and with which errno, is as with the real client; what
// fails changes nothing on any brick; and when the bricks are back all works
// again, without a mount.
func TestQuorum(t *testing.T) {
	l := newLab(t, false)
	volumes := map[string]*volume{
		"replica 2": l.volume(t, "r2", 2, "replica", "2"),
		"replica 3": l.volume(t, "r3", 3, "replica", "3"),
		"arbiter":   l.volume(t, "arb", 3, "replica", "3", "arbiter", "1"),
	}
	type loss struct {
		volume, kind, count string
		down                []int
	}
	losses := []loss{
		{"replica 2", "", "", []int{0}},
		{"replica 2", "", "", []int{1}},
		{"replica 2", "auto", "", []int{0}},
		{"replica 2", "auto", "", []int{1}},
		{"replica 2", "fixed", "1", []int{0}},
		{"replica 2", "fixed", "2", []int{1}},
		{"replica 3", "", "", []int{1}},
		{"replica 3", "", "", []int{1, 2}},
		{"replica 3", "auto", "", []int{0, 1}},
		{"replica 3", "none", "", []int{1, 2}},
		{"replica 3", "fixed", "1", []int{0, 2}},
		{"replica 3", "fixed", "3", []int{0}},
		{"replica 3", "", "", []int{0, 1, 2}},
		{"arbiter", "", "", []int{2}},
		{"arbiter", "", "", []int{0}},
		{"arbiter", "", "", []int{0, 1}},
		{"arbiter", "", "", []int{1, 2}},
	}
	all := make([][]string, len(losses))
	heads := make([]string, len(losses))
	var wg sync.WaitGroup
	for i, x := range losses {
		heads[i] = fmt.Sprintf("%s, quorum-type %q, quorum-count %q, without %s", x.volume, x.kind, x.count, digits(x.down))
		v := volumes[x.volume]
		wg.Go(func() {
			opts := map[string]string{}
			if x.kind != "" {
				opts["quorum-type"] = x.kind
			}
			if x.count != "" {
				opts["quorum-count"] = x.count
			}
			all[i] = v.lose(t, heads[i], fmt.Sprintf("q%d", i), opts, x.down)
		})
	}
	wg.Wait()
	var a answers
	for i, lines := range all {
		a.add(heads[i], lines)
	}
	a.compare(t, "quorum")
	for _, v := range volumes {
		v.healed(t)
	}
}

// lose runs one client that loses bricks.
func (v *volume) lose(t testing.TB, head, dir string, opts map[string]string, down []int) (lines []string) {
	r := v.route(t)
	defer r.close()
	c, err := v.connect(kindOfClient(), v.volfile(t, r, false, map[string]map[string]string{"cluster/replicate": opts}), v.name+"-"+dir)
	if err != nil {
		t.Errorf("%s: %v", head, err)
		return nil
	}
	defer c.Close()
	for _, cmd := range in(dir, append(setQuestions[:len(setQuestions):len(setQuestions)], "open 2 DIR/f 2")) {
		if _, err := c.Do(cmd); err != nil {
			t.Errorf("%s: before: %s: %v", head, cmd, err)
			return nil
		}
	}
	r.settle(settleTime, settleLimit)
	before := v.state(dir, true)
	r.cutAll(down)
	lines = ask(c, dir, reading)
	lines = append(lines, ask(c, dir, changing)...)
	r.settle(settleTime, settleLimit)
	after := v.state(dir, true)
	lines = append(lines, unchanged(before, after))
	lost := false
	for _, l := range ask(c, dir, []string{"mkdir DIR/again"}) {
		lost = strings.HasSuffix(l, "ENOTCONN")
	}
	if now := v.state(dir, true); lost && unchanged(after, now) != "the bricks: unchanged" {
		t.Errorf("%s: a mkdir without a quorum leaves\n%s\nbefore\n%s", head, strings.Join(now, "\n"), strings.Join(after, "\n"))
	}

	for _, i := range down {
		r[i].restore()
	}
	again(t, c, "stat "+dir)
	again(t, c, "mkdir "+dir+"/back")
	if lost {
		again(t, c, "puts 2 0 NEW")
	}
	return lines
}
