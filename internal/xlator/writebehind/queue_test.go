package writebehind

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// TestQueue plays the scripts of testdata/queue: a line is what happens, what
// follows "=>" is what the queue sends then. A chunk shows as from-to, with a
// for one that goes to the end of the file. Commands:
//
//	rules window=N aggregate=N [trickling] [strict]
//	write FROM-TO [append] [fd=N]   => or "full", if there is no room
//	done FROM-TO, fail FROM-TO, again, push
//	recount [strict]
func TestQueue(t *testing.T) {
	files, err := filepath.Glob("testdata/queue/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { playQueue(t, name) })
	}
}

func playQueue(t *testing.T, name string) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := player{r: &rules{window: 100, aggregate: 10}, handles: map[string]*handle{}}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		do, want, _ := strings.Cut(line, "=>")
		words := strings.Fields(do)
		if len(words) == 0 {
			continue
		}
		got := p.play(t, words)
		if got != strings.TrimSpace(want) {
			t.Errorf("%s:%d: %s: sends %q, want %q", name, n, strings.TrimSpace(do), got, strings.TrimSpace(want))
		}
	}
	if len(p.q.chunks) == 0 && (p.q.bytes != 0 || p.q.flying != 0 || p.q.ready != 0 || p.q.kept != 0) {
		t.Errorf("an empty queue counts %+v", p.q)
	}
}

type player struct {
	q       queue
	r       *rules
	handles map[string]*handle
}

func (p *player) play(t *testing.T, words []string) string {
	var s span
	if len(words) > 1 && strings.Contains(words[1], "-") {
		if _, err := fmt.Sscanf(words[1], "%d-%d", &s.off, &s.end); err != nil {
			t.Fatal(err)
		}
	}
	find := func() *chunk {
		for _, c := range p.q.chunks {
			if c.start() == s.off && c.end() == s.end {
				return c
			}
		}
		t.Fatalf("%v: no such chunk", words)
		return nil
	}
	switch words[0] {
	case "rules":
		p.r = &rules{}
		for _, w := range words[1:] {
			key, val, _ := strings.Cut(w, "=")
			n := 0
			fmt.Sscan(val, &n)
			switch key {
			case "window":
				p.r.window = n
			case "aggregate":
				p.r.aggregate = n
			case "trickling":
				p.r.trickling = true
			case "strict":
				p.r.strict = true
			default:
				t.Fatalf("rule %q", key)
			}
		}
	case "write":
		fd, app := "fd=0", false
		for _, w := range words[2:] {
			if w == "append" {
				app = true
			} else {
				fd = w
			}
		}
		if p.handles[fd] == nil {
			p.handles[fd] = new(handle)
		}
		h := p.handles[fd]
		req := fop.Write{Offset: s.off, Data: make([]byte, s.end-s.off)}
		if !p.q.fits(len(req.Data), p.r) {
			return "full"
		}
		p.q.bytes += len(req.Data)
		if c := p.q.joins(&req, h, app, p.r); c != nil {
			c.add(req.Data, p.r.aggregate)
			p.q.joined(c, p.r)
		} else {
			c := &chunk{req: req, h: h, append: app}
			p.q.put(c, p.r)
		}
	case "done":
		p.q.done(find(), p.r)
	case "fail":
		p.q.fail(find(), p.r)
	case "again":
		p.q.again()
	case "push":
		p.q.push()
	case "recount":
		r := *p.r
		r.strict = len(words) > 1
		p.r = &r
		p.q.recount(p.r)
	default:
		t.Fatalf("what is %q?", words)
	}
	var sent []string
	for c := p.q.next(); c != nil; c = p.q.next() {
		text := fmt.Sprintf("%d-%d", c.start(), c.end())
		if c.append {
			text += "a"
		}
		sent = append(sent, text)
	}
	return strings.Join(sent, " ")
}
