package failover

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// txn is a kind of transaction: DIR in its commands is the scenario's directory.
type txn struct {
	name   string
	op     fop.Op
	kind   kind
	setup  []string // by another client, long before
	before []string // by the client, before the transaction
	do     []string
	after  []string // what ends the use of the file
	acked  bool     // before has changed something already
}

type kind int

const (
	data kind = iota
	metadata
	entry
)

var (
	makeFile = []string{"creat 1 DIR/f", "puts 1 0 oldoldoldold", "close 1"}
	openFile = []string{"stat DIR", "open 1 DIR/f 2"}
	closeIt  = []string{"close 1"}
	look     = []string{"stat DIR", "stat DIR/f"}
	lookDir  = []string{"stat DIR"}
)

var txns = []txn{
	{name: "write", op: fop.OpWrite, kind: data, setup: makeFile, before: openFile, do: []string{"puts 1 0 new"}, after: closeIt},
	{name: "write-fsync", op: fop.OpFsync, kind: data, setup: makeFile, before: append(openFile[:2:2], "puts 1 0 new"), do: []string{"fsync 1"}, after: closeIt, acked: true},
	{name: "fsync", op: fop.OpFsync, kind: data, setup: makeFile, before: openFile, do: []string{"fsync 1"}, after: closeIt},
	{name: "truncate", op: fop.OpTruncate, kind: data, setup: makeFile, before: look, do: []string{"truncate DIR/f 3"}},
	{name: "setattr", op: fop.OpSetattr, kind: metadata, setup: makeFile, before: look, do: []string{"chmod DIR/f 600"}},
	{name: "setxattr", op: fop.OpSetxattr, kind: metadata, setup: makeFile, before: look, do: []string{"setxattr DIR/f user.k new"}},
	{name: "create", op: fop.OpCreate, kind: entry, before: lookDir, do: []string{"creat 1 DIR/f"}, after: closeIt},
	{name: "mkdir", op: fop.OpMkdir, kind: entry, before: lookDir, do: []string{"mkdir DIR/d"}},
	{name: "mknod", op: fop.OpMknod, kind: entry, before: lookDir, do: []string{"mkfifo DIR/p"}},
	{name: "symlink", op: fop.OpSymlink, kind: entry, before: lookDir, do: []string{"symlink DIR/l f"}},
	{name: "link", op: fop.OpLink, kind: entry, setup: makeFile, before: look, do: []string{"link DIR/f DIR/g"}},
	{name: "unlink", op: fop.OpUnlink, kind: entry, setup: makeFile, before: look, do: []string{"unlink DIR/f"}},
	{name: "rmdir", op: fop.OpRmdir, kind: entry, setup: []string{"mkdir DIR/d"}, before: []string{"stat DIR", "stat DIR/d"}, do: []string{"rmdir DIR/d"}},
	{name: "rename", op: fop.OpRename, kind: entry, setup: makeFile, before: look, do: []string{"rename DIR/f DIR/g"}},
	{
		name: "rename-dirs", op: fop.OpRename, kind: entry,
		setup:  []string{"mkdir DIR/a", "mkdir DIR/b", "creat 1 DIR/a/f", "puts 1 0 oldoldoldold", "close 1"},
		before: []string{"stat DIR", "stat DIR/a", "stat DIR/b", "stat DIR/a/f"},
		do:     []string{"rename DIR/a/f DIR/b/g"},
	},
}

// scenario is a transaction that bricks are cut off from at a phase.
type scenario struct {
	txn
	phase string // "" for none: the transaction is left alone
	lost  bool   // the brick does the request, its reply is lost
	cut   []int
	down  []int // bricks that are cut off before the client begins
	// dirty switches the optimistic changelog off: all transactions mark.
	dirty bool
}

func (s *scenario) String() string {
	text := s.name
	if s.dirty {
		text += " (dirty)"
	}
	if len(s.down) > 0 {
		text += fmt.Sprintf(", without %s", digits(s.down))
	}
	if s.phase != "" {
		text += ", cut " + digits(s.cut)
		switch {
		case s.phase == "delay" || s.phase == "again":
			text += " in the delay"
			if s.phase == "again" {
				text += ", write again"
			}
		case s.lost:
			text += " after " + s.phase
		default:
			text += " before " + s.phase
		}
	}
	return text
}

func digits(list []int) string {
	text := ""
	for _, n := range list {
		text += fmt.Sprint(n)
	}
	return text
}

// scenarios of a volume of n bricks: sets are the bricks to cut off together,
// downs those that one more brick's loss is tried without.
func scenarios(sets [][]int, downs [][]int) (list []*scenario) {
	for _, tx := range txns {
		list = append(list, &scenario{txn: tx})
		for _, set := range sets {
			for _, ph := range tx.phases(false) {
				list = append(list, &scenario{txn: tx, phase: ph, cut: set}, &scenario{txn: tx, phase: ph, cut: set, lost: true})
			}
			if tx.name == "write" || tx.name == "fsync" {
				list = append(list, &scenario{txn: tx, phase: "delay", cut: set})
			}
			if tx.name == "write" {
				list = append(list, &scenario{txn: tx, phase: "again", cut: set})
			}
			if tx.kind == data {
				continue
			}
			for _, ph := range tx.phases(true) {
				list = append(list, &scenario{txn: tx, phase: ph, cut: set, dirty: true}, &scenario{txn: tx, phase: ph, cut: set, lost: true, dirty: true})
			}
		}
		for _, down := range downs {
			list = append(list, &scenario{txn: tx, down: down})
			if len(down) > 1 || down[0] == 0 {
				continue
			}
			for _, ph := range tx.phases(true) {
				list = append(list, &scenario{txn: tx, phase: ph, cut: []int{0}, down: down}, &scenario{txn: tx, phase: ph, cut: []int{0}, lost: true, down: down})
			}
		}
	}
	return list
}

// phases of a transaction that go over the wire by themselves.
func (tx *txn) phases(marked bool) []string {
	switch {
	case tx.acked: // the lock and the marks are the write's
		return []string{"fop", "post-op"}
	case tx.kind == data:
		return []string{"lock", "pre-op", "fop", "post-op", "unlock"}
	case marked:
		return []string{"pre-op", "fop", "post-op"}
	}
	return []string{"lock", "fop", "unlock"}
}

// trigger finds the request of a phase among those of one client to one brick.
func (s *scenario) trigger(domain string) *trigger {
	done := false // the fop itself was seen
	marks := map[string]int{}
	locked := map[fop.GFID]bool{}
	return &trigger{after: s.lost, match: func(c *call) bool {
		if c.op == s.op {
			done = true
			return s.phase == "fop"
		}
		phase := ""
		switch r := c.req.(type) {
		case *fop.Inodelk:
			phase = lockPhase(r.Domain == domain, r.Flock.Type == fop.LockUnlock)
			locked[r.GFID] = true
		case *fop.Finodelk:
			phase = lockPhase(r.Domain == domain, r.Flock.Type == fop.LockUnlock)
			locked[r.GFID] = true
		case *fop.Entrylk:
			phase = lockPhase(r.Domain == domain, r.Cmd == fop.EntrylkFree)
			locked[r.GFID] = true
		case *fop.Fentrylk:
			phase = lockPhase(r.Domain == domain, r.Cmd == fop.EntrylkFree)
			locked[r.GFID] = true
		case *fop.Xattrop:
			phase = markPhase(done, s.acked || locked[r.GFID])
		case *fop.Fxattrop:
			phase = markPhase(done, s.acked || locked[r.GFID])
		}
		if phase == "" || phase != s.phase {
			return false
		}
		// A rename marks two directories, at once.
		marks[phase]++
		return s.op != fop.OpRename || phase == "lock" || phase == "unlock" || marks[phase] == 2
	}}
}

func lockPhase(ours, unlock bool) string {
	switch {
	case !ours:
		return ""
	case unlock:
		return "unlock"
	}
	return "lock"
}

// markPhase leaves out the marks of a new object, which no lock was taken on.
func markPhase(done, locked bool) string {
	switch {
	case !locked:
		return ""
	case done:
		return "post-op"
	}
	return "pre-op"
}

// outcome is what a scenario came to.
type outcome struct {
	answers []string // of the commands of the transaction
	missed  []int    // bricks at which the phase never came
	marks   []string
	healed  string
	trouble error
}

func (o *outcome) text(healed bool) string {
	var out strings.Builder
	fmt.Fprintf(&out, "  %s\n", strings.Join(o.answers, ", "))
	if len(o.missed) > 0 {
		fmt.Fprintf(&out, "  never came to it: %s\n", digits(o.missed))
	}
	for _, l := range o.marks {
		fmt.Fprintf(&out, "  %s\n", l)
	}
	if healed {
		fmt.Fprintf(&out, "  healed: %s\n", o.healed)
	}
	return out.String()
}

// matrix is the run of many scenarios on one volume.
type matrix struct {
	*volume
	kind   string // of the client: "ours" or "theirs"
	prefix string // of the scenarios' directories
	list   []*scenario
	out    []*outcome

	want   map[string][]string // the real client's outcomes, by scenario
	better map[string][]string // ours, where they are others

	old, new map[string][]string // state of a transaction's directory
}

func (m *matrix) dir(i int) string { return fmt.Sprintf("%s%d", m.prefix, i) }

func in(dir string, commands []string) (list []string) {
	for _, c := range commands {
		list = append(list, strings.ReplaceAll(c, "DIR", dir))
	}
	return list
}

// prepare makes the directories of all scenarios.
func (m *matrix) prepare(t testing.TB) {
	t.Helper()
	begin := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for w := range errs {
		wg.Go(func() {
			c, err := m.connect(m.kind, m.volfile(t, nil, false, nil), fmt.Sprintf("%s-prepare%d", m.name, w))
			if err != nil {
				errs[w] = err
				return
			}
			defer c.Close()
			for i := w; i < len(m.list); i += len(errs) {
				for _, cmd := range append([]string{"mkdir " + m.dir(i)}, in(m.dir(i), m.list[i].setup)...) {
					if _, err := c.Do(cmd); err != nil {
						errs[w] = fmt.Errorf("%s: %w", cmd, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatalf("preparing: %v", err)
		}
	}
	t.Logf("%d scenarios on %s prepared in %v", len(m.list), m.name, time.Since(begin).Round(time.Millisecond))
}

// run runs one scenario. The barrier is nil when connections are cut and else
// what stands between the phase and the end of the bricks.
func (m *matrix) run(t testing.TB, i int, b *barrier) *outcome {
	s, o := m.list[i], &outcome{}
	dir := m.dir(i)
	r := m.route(t)
	defer r.close()
	for _, x := range s.down {
		r[x].cut()
	}
	arrived := sync.OnceFunc(func() {
		if b != nil {
			b.arrive()
		}
	})
	defer arrived()
	set := map[string]map[string]string{"cluster/replicate": {}}
	if s.dirty {
		set["cluster/replicate"]["optimistic-change-log"] = "off"
	}
	c, err := m.connect(m.kind, m.volfile(t, r, false, set), fmt.Sprintf("%s-%d", m.name, i))
	if err != nil {
		o.trouble = fmt.Errorf("mount: %w", err)
		return o
	}
	defer c.Close()
	for _, cmd := range in(dir, s.before) {
		if _, err := c.Do(cmd); err != nil {
			o.trouble = fmt.Errorf("%s: %w", cmd, err)
			return o
		}
	}

	trips := map[int]*trigger{}
	if s.phase != "" && s.phase != "delay" && s.phase != "again" {
		waiting := len(s.cut)
		var mu sync.Mutex
		for _, x := range s.cut {
			tr := s.trigger(m.name + "-replicate-0")
			if b != nil {
				tr.hold = func() {
					mu.Lock()
					waiting--
					last := waiting == 0
					mu.Unlock()
					if last {
						arrived()
					}
					<-b.over
				}
			}
			trips[x] = tr
			r[x].arm(tr)
		}
	}
	do := func(commands []string) {
		for _, cmd := range in(dir, commands) {
			verb, _, _ := strings.Cut(cmd, " ")
			answer := verb + " " + result(c.Do(cmd))
			if verb == "close" && s.alone(len(r)) {
				// A matter of chance: the last brick goes beside it.
				answer = "close"
			}
			o.answers = append(o.answers, answer)
		}
	}
	do(s.do)
	silence := 80 * time.Millisecond
	switch s.phase {
	case "delay", "again":
		arrived()
		if b != nil {
			<-b.over
		}
		for _, x := range s.cut {
			r[x].cut()
		}
		silence = 1300 * time.Millisecond // the delay is a second
		if s.phase == "again" {
			// Until the client has seen that bricks are gone.
			time.Sleep(200 * time.Millisecond)
			do([]string{"puts 1 4 NEW"})
		}
	default:
		do(s.after)
	}
	if b != nil && s.kind == data {
		silence = 1300 * time.Millisecond
	}
	if *record {
		silence += 200 * time.Millisecond
		if s.kind == data { // a close that comes at the wrong moment leaves it to the delay
			silence = 1500 * time.Millisecond
		}
	}
	r.settle(silence, 20*time.Second)
	if b != nil {
		arrived()
		<-b.over
		r.settle(silence, 20*time.Second)
	}
	see := func() {
		o.missed = nil
		for _, x := range s.cut {
			if tr := trips[x]; tr != nil {
				select {
				case <-tr.fired:
				default:
					o.missed = append(o.missed, x)
				}
			}
		}
		o.marks = m.state(dir, true)
	}
	see()
	// On a busy machine the client may not be through yet.
	for end := time.Now().Add(4 * time.Second); !*record && !m.expected(s, o) && time.Now().Before(end); see() {
		time.Sleep(50 * time.Millisecond)
	}
	return o
}

// expected reports whether the marks are those of the file.
func (m *matrix) expected(s *scenario, o *outcome) bool {
	text := o.text(false)
	ends := func(w string) bool { return strings.HasPrefix(w, text) }
	return slices.ContainsFunc(m.want[s.String()], ends) || slices.ContainsFunc(m.better[s.String()], ends)
}

// runAll runs all scenarios, several at a time.
func (m *matrix) runAll(t testing.TB) {
	begin := time.Now()
	m.out = make([]*outcome, len(m.list))
	next := make(chan int)
	var wg sync.WaitGroup
	for range *workers {
		wg.Go(func() {
			for i := range next {
				m.out[i] = m.run(t, i, nil)
			}
		})
	}
	for i := range m.list {
		next <- i
	}
	close(next)
	wg.Wait()
	t.Logf("%d scenarios on %s run in %v", len(m.list), m.name, time.Since(begin).Round(time.Millisecond))
}

// learn notes what directories look like before and after each transaction.
func (m *matrix) learn(before bool) {
	if m.old == nil {
		m.old, m.new = map[string][]string{}, map[string][]string{}
	}
	for i, s := range m.list {
		if s.phase != "" || len(s.down) > 0 {
			continue
		}
		if before {
			m.old[s.name] = m.state(m.dir(i), false)
		} else {
			m.new[s.name] = m.state(m.dir(i), false)
		}
	}
}

// judge says what became of a scenario in the heal.
func (m *matrix) judge(i int) string {
	s := m.list[i]
	now := m.state(m.dir(i), false)
	switch {
	case slices.Equal(now, m.new[s.name]):
		return "new"
	case slices.Equal(now, m.old[s.name]):
		return "old"
	case m.alike(now):
		return "alike, " + strings.Join(now, "; ")
	}
	return "differs, " + strings.Join(now, "; ")
}

// acknowledged reports whether the client was told that all was done.
func (o *outcome) acknowledged() bool {
	return !slices.ContainsFunc(o.answers, func(a string) bool { return !strings.HasSuffix(a, " ok") && a != "close" })
}

// verdict judges a scenario by what replication promises, whatever the file
// says of the marks: after the heal bricks are alike, and what was acknowledged
// is there. The original's daemon has limits, which are accepted where the file
// shows them: a name that was taken away comes back when a brick went down with
// its directory dirty, since such directories are merged; nothing is certain when
// no brick was there throughout; and a change of attributes of which nobody was
// told may stay on some bricks.
func (m *matrix) verdict(i int) error {
	s, o := m.list[i], m.out[i]
	switch {
	case o.trouble != nil:
		return o.trouble
	case o.healed == "new":
		return nil
	case s.phase == "again" && strings.HasPrefix(o.healed, "alike, ") && strings.Contains(o.healed, "newoNEWldold"):
		return nil
	}
	acknowledged := o.acknowledged() || s.acked
	if !acknowledged && o.healed == "old" {
		return nil
	}
	asOriginal := slices.ContainsFunc(m.want[s.String()], func(w string) bool {
		return strings.HasSuffix(w, "  healed: "+o.healed+"\n")
	})
	if asOriginal && (!acknowledged || s.alone(len(m.bricks)) || m.merged(i)) {
		return nil
	}
	return fmt.Errorf("%s, but after the heal it is %s", strings.Join(o.answers, ", "), o.healed)
}

// alone reports whether no brick was there throughout.
func (s *scenario) alone(n int) bool {
	for i := range n {
		if !slices.Contains(s.cut, i) && !slices.Contains(s.down, i) {
			return false
		}
	}
	return true
}

// merged reports whether all that should be there is, and the names that are too
// many were there before.
func (m *matrix) merged(i int) bool {
	links := regexp.MustCompile(`nlink [0-9]+`)
	byName := func(lines []string) map[string]string {
		list := map[string]string{}
		for _, l := range lines {
			name, what, _ := strings.Cut(links.ReplaceAllString(l, ""), ": ")
			list[name] = what
		}
		return list
	}
	name := m.list[i].name
	now, before, after := byName(m.state(m.dir(i), false)), byName(m.old[name]), byName(m.new[name])
	for n, what := range after {
		if now[n] != what {
			return false
		}
	}
	for n := range now {
		if after[n] == "" && before[n] == "" {
			return false
		}
	}
	return true
}

func chosen(list []*scenario) []*scenario {
	if *only == "" {
		return list
	}
	re := regexp.MustCompile(*only)
	return slices.DeleteFunc(list, func(s *scenario) bool {
		// Those without a fault are what all others are measured by.
		return !re.MatchString(s.String()) && (s.phase != "" || len(s.down) > 0)
	})
}

var shapes = []struct {
	name  string
	n     int
	words []string
	sets  [][]int
	downs [][]int
}{
	{"r3", 3, []string{"replica", "3"}, [][]int{{1}, {1, 2}, {0, 1, 2}}, [][]int{{2}, {0}}},
	{"r2", 2, []string{"replica", "2"}, [][]int{{0}, {1}, {0, 1}}, [][]int{{1}, {0}}},
	{"arb", 3, []string{"replica", "3", "arbiter", "1"}, [][]int{{1}, {2}, {0, 1}, {1, 2}}, [][]int{{2}, {1}, {0}}},
}

// TestPhases interrupts every transaction at every phase.
func TestPhases(t *testing.T) {
	l := newLab(t, false)
	for _, sh := range shapes {
		t.Run(sh.name, func(t *testing.T) {
			v := l.volume(t, sh.name, sh.n, sh.words...)
			m := &matrix{volume: v, kind: "ours", prefix: "s", list: chosen(scenarios(sh.sets, sh.downs))}
			if *record {
				m.kind = "theirs"
			}
			m.want, m.better = readGolden(t, goldenFile(sh.name)), readGolden(t, oursFile(sh.name))
			m.prepare(t)
			m.learn(true)
			m.runAll(t)
			m.learn(false)
			left := v.heal(t)
			for i, o := range m.out {
				o.healed = m.judge(i)
			}
			if len(left) > 0 {
				t.Logf("left: %d", len(left))
			}
			m.compare(t, sh.name)
		})
	}
}
