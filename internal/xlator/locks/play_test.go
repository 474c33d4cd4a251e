package locks

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

var update = flag.Bool("update", false, "rewrite the expected output of testdata/*.txt")

// TestPlays runs testdata/*.txt against the decisions. A line that starts with
// "> " is what somebody does, the lines below it what comes of it. Owners are
// written client/lock-owner; a client whose name starts with "-" is a daemon.
func TestPlays(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no plays")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStage().play(t, string(script))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(script) {
				t.Errorf("%s went differently; run with -update and look at the diff:\n%s", file, got)
			}
		})
	}
}

// stage is an object and all who act on it.
type stage struct {
	o       *object
	p       policy
	now     time.Time
	clients map[string]*fop.Client
	fds     map[string]*fop.Fd
	waiting []*waiter // by number
	done    []bool
}

func newStage() *stage {
	return &stage{
		o: &object{gfid: fop.GFID{1}}, p: policy{notify: true, notifyDelay: 5 * time.Second},
		now: time.Unix(1000, 0), clients: map[string]*fop.Client{}, fds: map[string]*fop.Fd{},
	}
}

func (s *stage) play(t *testing.T, script string) string {
	var out bytes.Buffer
	for _, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, "#") || line == "" {
			fmt.Fprintln(&out, line)
			continue
		}
		cmd, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue // old output
		}
		fmt.Fprintln(&out, line)
		fmt.Fprint(&out, s.act(t, strings.Fields(cmd)))
		for _, n := range s.o.takeNotices() {
			u := n.up
			if u.Kind == fop.UpcallEntrylk {
				fmt.Fprintf(&out, "  tell %s: entrylk %q of %s\n", n.to.ID, u.Name, u.Domain)
			} else {
				fmt.Fprintf(&out, "  tell %s: inodelk %d+%d of %s\n", n.to.ID, u.Flock.Start, u.Flock.Len, u.Domain)
			}
		}
		for i, w := range s.waiting {
			if s.done[i] {
				continue
			}
			select {
			case e := <-w.verdict:
				s.done[i] = true
				fmt.Fprintf(&out, "  #%d %s\n", i, verdict(e))
			default:
			}
		}
	}
	return out.String()
}

func verdict(e syscall.Errno) string {
	switch e {
	case 0:
		return "granted"
	case syscall.EAGAIN:
		return "EAGAIN"
	case syscall.EINVAL:
		return "EINVAL"
	case syscall.EINTR:
		return "EINTR"
	case syscall.ESTALE:
		return "ESTALE"
	case syscall.EBUSY:
		return "EBUSY"
	case syscall.EREMOTE:
		return "EREMOTE"
	case syscall.ENOTCONN:
		return "ENOTCONN"
	}
	return e.Error()
}

func (s *stage) client(name string) *fop.Client {
	c := s.clients[name]
	if c == nil {
		c = &fop.Client{ID: name, OpVersion: 100000, Upcall: func(*fop.Upcall) {}}
		s.clients[name] = c
	}
	return c
}

func (s *stage) who(name string) (owner, int32) {
	c, id, _ := strings.Cut(name, "/")
	pid := int32(100)
	if strings.HasPrefix(c, "-") {
		pid = -6
	}
	return owner{client: s.client(c), id: id}, pid
}

func (s *stage) fd(name string) *fop.Fd {
	if s.fds[name] == nil {
		s.fds[name] = &fop.Fd{}
	}
	return s.fds[name]
}

func flock(typ, span string) fop.Flock {
	a, b, _ := strings.Cut(span, "+")
	start, _ := strconv.ParseInt(a, 0, 64)
	n, _ := strconv.ParseInt(b, 0, 64)
	return fop.Flock{Type: uint32(strings.Index("RWU", typ)), Start: uint64(start), Len: uint64(n)}
}

func (s *stage) outcome(w *waiter, e syscall.Errno) string {
	if w == nil {
		return "  " + verdict(e) + "\n"
	}
	s.waiting, s.done = append(s.waiting, w), append(s.done, false)
	return fmt.Sprintf("  waits as #%d\n", len(s.waiting)-1)
}

func (s *stage) act(t *testing.T, f []string) string {
	has := func(word string) bool {
		for _, w := range f {
			if w == word {
				return true
			}
		}
		return false
	}
	switch f[0] {
	case "posix", "getlk": // who type start+len [wait] [fd=x] [mandatory]
		who, pid := s.who(f[1])
		fl := flock(f[2], f[3])
		first, last, err := lockRange(fl)
		if err != nil {
			return "  EINVAL\n"
		}
		k := &posixLock{owner: who, typ: fl.Type, first: first, last: last, procPID: pid}
		for _, w := range f {
			if x, ok := strings.CutPrefix(w, "fd="); ok {
				k.fd = s.fd(x)
			}
		}
		if f[0] == "getlk" {
			if c := s.o.posix.conflict(k); c != nil {
				fl := c.flock()
				return fmt.Sprintf("  %s/%s has %c %d+%d\n", c.client.ID, c.id, "RW"[fl.Type], fl.Start, fl.Len)
			}
			return "  free\n"
		}
		if has("mandatory") {
			k.flags, k.mandatory = flagMandatory, true
		}
		if has("preempt") {
			s.o.posix.preempt(k)
		}
		return s.outcome(s.o.posix.set(k, has("wait")))
	case "flush": // who
		who, _ := s.who(f[1])
		s.o.posix.drop(0, func(k *posixLock) bool { return k.owner.is(who) }, nil)
	case "close": // fd
		of := func(k *posixLock) bool { return k.fd == s.fd(f[1]) }
		s.o.posix.drop(syscall.EAGAIN, of, of)
	case "inodelk": // who domain type start+len [wait]
		who, pid := s.who(f[1])
		fl := flock(f[3], f[4])
		first, last, _ := lockRange(fl)
		k := &domainLock{owner: who, family: inodelk, domain: domainName(f[2], fl), typ: fl.Type,
			first: first, last: last, flock: fl, pid: pid, wait: has("wait")}
		if fl.Type == fop.LockUnlock {
			return "  " + verdict(s.o.unlock(k, &s.p, s.now)) + "\n"
		}
		return s.outcome(s.o.lock(k, &s.p, s.now))
	case "entrylk", "entryunlk": // who domain name|* type [wait]
		who, pid := s.who(f[1])
		k := &domainLock{owner: who, family: entrylk, domain: f[2], typ: uint32(strings.Index("RW", f[4])), pid: pid, wait: has("wait")}
		if f[3] != "*" {
			k.name = f[3]
		}
		if f[0] == "entryunlk" {
			return "  " + verdict(s.o.unlock(k, &s.p, s.now)) + "\n"
		}
		return s.outcome(s.o.lock(k, &s.p, s.now))
	case "remove": // client
		return s.outcome(s.o.remove(s.client(f[1]), &s.p, s.now), 0)
	case "removed":
		s.o.removed(&s.p, s.now)
	case "giveup": // number of the waiter, negative from the last one
		n, _ := strconv.Atoi(f[1])
		if n < 0 {
			n += len(s.waiting)
		}
		w := s.waiting[n]
		s.done[n] = s.o.posix.cancel(w) || s.o.cancel(w, &s.p, s.now) || s.o.cancelRemoval(w, &s.p, s.now)
	case "disconnect":
		s.o.disconnect(s.client(f[1]), &s.p, s.now)
	case "meta":
		s.o.posix.meta = s.client(f[1])
	case "sleep":
		n, _ := strconv.Atoi(f[1])
		s.now = s.now.Add(time.Duration(n) * time.Second)
	case "revoke": // seconds blocked all|granted
		n, _ := strconv.Atoi(f[1])
		m, _ := strconv.Atoi(f[2])
		s.p.revokeAfter, s.p.revokeMaxBlocked, s.p.revokeAll = time.Duration(n)*time.Second, m, f[3] == "all"
	case "count": // inodelk|entrylk [domain]
		fam := inodelk
		if f[1] == "entrylk" {
			fam = entrylk
		}
		d := ""
		if len(f) > 2 {
			d = f[2]
		}
		return fmt.Sprintf("  %d\n", s.o.count(fam, d, len(f) < 3))
	case "dump":
		if s.o.idle() {
			return "  idle\n"
		}
		var b strings.Builder
		for _, l := range strings.Split(strings.TrimSpace(s.o.dump()), "\n") {
			b.WriteString("  " + l + "\n")
		}
		return b.String()
	default:
		t.Fatalf("no such command: %v", f)
	}
	return ""
}
