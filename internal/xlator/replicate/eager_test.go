package replicate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestLane plays the scripts of testdata/lane: each line starting with ">" is
// what happens, the lines after it what the lane makes of it.
//
//	> begin A 0 4096        a transaction on bytes 0 to 4095 (gen N for a generation)
//	> took A                A has the lock
//	> missed A EIO          A did not get it (gaveup: its caller left)
//	> pre A                 A marks, or inherits
//	> finish A              A's fop is done (hurry: at once; final: may not wait)
//	> post A                A's post-op is done
//	> abandon B             its post-op, but the mark must stay
//	> rang | awake          the timer rings, a flush comes
//	> leave A               A's caller gives up waiting
//	> unlocked              the lock is gone
func TestLane(t *testing.T) {
	files, err := filepath.Glob("testdata/lane/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			p := play{txns: map[string]*txn{}, names: map[*txn]string{}, ln: &lane{}, out: &got}
			for line := range strings.Lines(string(b)) {
				if !strings.HasPrefix(line, ">") {
					if strings.HasPrefix(line, "#") {
						got.WriteString(line)
					}
					continue
				}
				got.WriteString(line)
				p.step(t, strings.Fields(line[1:]))
			}
			if os.Getenv("WYTHE_REWRITE") != "" {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(b), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

type play struct {
	ln    *lane
	txns  map[string]*txn
	names map[*txn]string
	order []*txn
	out   *strings.Builder
}

func (p *play) say(format string, args ...any) { fmt.Fprintf(p.out, "  "+format+"\n", args...) }

func (p *play) step(t *testing.T, w []string) {
	var x *txn
	if len(w) > 1 {
		x = p.txns[w[1]]
	}
	switch w[0] {
	case "begin":
		x = &txn{wake: make(chan told, 1), conf: &config{}}
		p.txns[w[1]], p.names[x] = x, w[1]
		p.order = append(p.order, x)
		x.from, _ = strconv.ParseUint(w[2], 10, 64)
		x.size, _ = strconv.ParseUint(w[3], 10, 64)
		if len(w) > 5 && w[4] == "gen" {
			n, _ := strconv.Atoi(w[5])
			x.v.gen = uint32(n)
		}
		m, owed := p.ln.begin(x)
		p.say("%s %s", w[1], [...]string{"runs", "locks", "waits"}[m])
		p.owed(owed)
	case "took":
		x.lk.add([16]byte{1}, "")
		x.lk.lockees[0].on = 3
		x.locked = 3
		p.ln.took(x, nil)
	case "missed":
		p.ln.missed(x, map[string]error{"EIO": syscall.EIO, "gaveup": syscall.ECANCELED}[w[2]], w[2] == "gaveup")
	case "pre":
		x.locked = p.ln.locked
		if x.inherited = p.ln.inherit(x.locked); x.inherited {
			p.say("%s inherits", w[1])
		} else {
			x.dirtied, x.shared = true, p.ln.mark(x.locked)
			p.say("%s marks", w[1])
		}
	case "finish":
		if p.ln.finish(x, has(w, "hurry"), !has(w, "final")) {
			if p.ln.sleep(x, time.Hour) {
				p.ln.timer = time.NewTimer(time.Hour)
			}
			p.say("%s's post-op is put off", w[1])
		} else {
			p.say("%s posts now", w[1])
		}
	case "post":
		if (x.inherited || x.shared) && p.ln.unmark() {
			p.say("%s takes a mark back", w[1])
		}
		if p.ln.posted() {
			p.say("unlock")
		}
	case "abandon":
		p.ln.abandon()
		x.inherited, x.shared = false, false
		p.ln.posted()
	case "rang":
		p.owed(p.ln.rang(time.Now().Add(2 * time.Hour)))
	case "early":
		p.owed(p.ln.rang(time.Now()))
	case "awake":
		owed := p.ln.awake()
		if owed != nil {
			p.ln.release = true
		}
		p.owed(owed)
	case "leave":
		p.say("%s %s", w[1], map[bool]string{true: "left", false: "must stay"}[p.ln.leave(x)])
	case "unlocked":
		p.ln.unlocked()
	default:
		t.Fatalf("no step %q", w)
	}
	for _, x := range p.order {
		select {
		case m := <-x.wake:
			if m.err != nil {
				p.say("%s is told: %v", p.names[x], map[bool]string{true: "EIO"}[errors.Is(m.err, syscall.EIO)])
			} else {
				p.say("%s is told: %s", p.names[x], [...]string{"run", "lock"}[m.move])
			}
		default:
		}
	}
	ln := p.ln
	p.say("owners %s, waiting %s, frozen %s, posting %d, acquired %t, release %t, on disk %d, inherited %d",
		p.list(ln.owners), p.list(ln.waiting), p.list(ln.frozen), ln.posting, ln.acquired, ln.release, ln.onDisk, ln.inherited)
}

func has(w []string, s string) bool {
	for _, x := range w {
		if x == s {
			return true
		}
	}
	return false
}

func (p *play) owed(x *txn) {
	if x != nil {
		p.say("post-op of %s is due", p.names[x])
	}
}

func (p *play) list(xs []*txn) string {
	if len(xs) == 0 {
		return "-"
	}
	var s []string
	for _, x := range xs {
		s = append(s, p.names[x])
	}
	return strings.Join(s, "+")
}

func TestOverlap(t *testing.T) {
	const top = ^uint64(0)
	for _, c := range []struct {
		a, an, b, bn uint64
		want         bool
	}{
		{0, 10, 10, 10, false}, {0, 11, 10, 10, true}, {10, 10, 0, 10, false}, {5, 1, 0, 10, true},
		{0, 0, 100, 1, true}, {100, 0, 0, 100, false}, {100, 0, 0, 101, true}, {0, 1, 0, 0, true}, {0, 0, 0, 0, true},
		{top - 1, 10, 0, 1, false}, {top - 1, 10, top, 1, true},
	} {
		if got := overlap(c.a, c.an, c.b, c.bn); got != c.want {
			t.Errorf("%d+%d and %d+%d: %v", c.a, c.an, c.b, c.bn, got)
		}
		if got := overlap(c.b, c.bn, c.a, c.an); got != c.want {
			t.Errorf("%d+%d and %d+%d the other way: %v", c.a, c.an, c.b, c.bn, got)
		}
	}
}
