package failover

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// barrier holds scenarios at their phases until the bricks are killed.
type barrier struct {
	all  sync.WaitGroup
	over chan struct{} // closed when the bricks are gone
}

func (b *barrier) arrive() { b.all.Done() }

// TestKill is TestPhases with brick processes killed: transactions of all kinds
// wait at the same phase when that happens. What they leave is the same.
func TestKill(t *testing.T) {
	l := newLab(t, true)
	v := l.volume(t, "r3", 3, "replica", "3")
	m := &matrix{volume: v, kind: "ours", want: readGolden(t, goldenFile("r3")), better: readGolden(t, oursFile("r3"))}

	m.prefix = "whole"
	for _, tx := range txns {
		m.list = append(m.list, &scenario{txn: tx})
	}
	m.prepare(t)
	m.learn(true)
	m.runAll(t)
	m.learn(false)

	type death struct {
		phase string
		lost  bool
		cut   []int
		dirty bool
	}
	deaths := []death{
		{phase: "fop", lost: true, cut: []int{1, 2}},
		{phase: "fop", cut: []int{1}},
		{phase: "post-op", cut: []int{1}, dirty: true},
	}
	if *long {
		for _, set := range [][]int{{1}, {1, 2}} {
			for _, ph := range []string{"lock", "unlock", "pre-op", "fop", "post-op", "delay"} {
				dirty := ph == "pre-op" || ph == "post-op"
				deaths = append(deaths, death{ph, false, set, dirty}, death{ph, true, set, dirty})
			}
		}
	}
	for i, d := range deaths {
		m.list = nil
		for _, s := range scenarios([][]int{d.cut}, nil) {
			if s.phase == d.phase && s.lost == d.lost && (s.dirty == d.dirty || s.kind == data) {
				m.list = append(m.list, s)
			}
		}
		m.list = chosen(m.list)
		if len(m.list) == 0 {
			continue
		}
		t.Run(m.list[0].String(), func(t *testing.T) {
			m.prefix = fmt.Sprintf("k%d-", i)
			m.prepare(t)
			m.killAt(t, d.cut)
			v.revive(t)
			v.healed(t)
			for i, o := range m.out {
				o.healed = m.judge(i)
			}
			m.compare(t, "r3")
		})
	}
	t.Run("names", v.loseNames)
}

// loseNames takes several names of a file away while a brick is down. The
// self-heal daemon renames what must go to one and the same name in a directory
// of its own, and believes what the brick answers: nobody looks at a name again
// that the brick has not taken away. (On bricks of the distribution all names but
// the first stay for good.)
func (v *volume) loseNames(t *testing.T) {
	c, err := v.connect("ours", v.volfile(t, nil, true, nil), "names")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := func(commands ...string) {
		t.Helper()
		for _, x := range commands {
			if _, err := c.Do(x); err != nil {
				t.Fatalf("%s: %v", x, err)
			}
		}
	}
	all("mkdir names", "creat 1 names/a", "fill 1 0 1000 7", "close 1", "link names/a names/b", "link names/a names/c")
	v.kill(t, 1)
	all("rename names/a names/d", "unlink names/b", "unlink names/c")
	v.revive(t)
	v.healed(t)
	if lines := v.state("names", true); !v.alike(lines) {
		t.Errorf("the copies differ:\n%s", strings.Join(lines, "\n"))
	}
}

// killAt runs all scenarios up to their phase, kills bricks, and lets them go on.
func (m *matrix) killAt(t *testing.T, bricks []int) {
	t.Helper()
	m.out = make([]*outcome, len(m.list))
	b := &barrier{over: make(chan struct{})}
	b.all.Add(len(m.list))
	var wg sync.WaitGroup
	for i := range m.list {
		wg.Go(func() { m.out[i] = m.run(t, i, b) })
	}
	there := make(chan struct{})
	go func() {
		b.all.Wait()
		close(there)
	}()
	select {
	case <-there:
	case <-time.After(time.Minute):
		t.Error("after a minute the phase is not reached everywhere")
	}
	m.kill(t, bricks...)
	close(b.over)
	wg.Wait()
}
