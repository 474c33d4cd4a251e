package interop

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/client"
	"github.com/wythefs/wythe/internal/xlator/locks"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

var updateLocks = flag.Bool("locks.update", false, "rewrite testdata/locks/*.txt from what the real brick does")

// TestLocks plays testdata/locks/*.txt with several clients against a real brick
// and against our locks. A line that starts with "> " is what somebody does, the
// lines below it what both make of it. Where ours differ on purpose, a line that
// ends in notReal is expected of ours only, one that ends in onlyReal of the real
// brick only.
func TestLocks(t *testing.T) {
	const notReal, onlyReal = " (not in 10.3)", " (10.3 only)"
	files, _ := filepath.Glob("testdata/locks/*.txt")
	if len(files) == 0 {
		t.Fatal("no plays")
	}
	var once sync.Once
	var node *testenv.Glusterd
	var brick string
	backends := []struct {
		name string
		open func(t *testing.T) *lockStage
	}{
		{"real", func(t *testing.T) *lockStage {
			return newLockStage(t, func(name string, s *lockStage) fop.Handler {
				env := &xlator.Env{ProcessUUID: fop.NewGFID().String(), ProcessName: name, Dial: node.DialContext}
				return s.connect(name, xlator.Options{"remote-host": node.IP, "remote-subvolume": brick}, env)
			})
		}},
		{"ours", func(t *testing.T) *lockStage {
			h, err := locks.New(xlator.Config{Name: "locks", Children: []xlator.Child{{Name: "mem", Handler: mem.NewFS(nil)}}})
			if err != nil {
				t.Fatal(err)
			}
			return newLockStage(t, func(name string, s *lockStage) fop.Handler { return s.direct(name, h) })
		}},
	}
	t.Run("start", func(t *testing.T) {}) // so that -run TestLocks/ours needs no GlusterFS
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			if b.name == "real" {
				once.Do(func() {
					node = testenv.Gluster(t)
					brick = testenv.LoopFS(t, "xfs", 512) + "/brick"
					node.Create(t, "data", brick)
					node.StartVolume(t, "data")
				})
			}
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
					script, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					mine, other := onlyReal, notReal
					if b.name == "ours" {
						mine, other = notReal, onlyReal
					}
					var want strings.Builder
					for line := range strings.Lines(string(script)) {
						if line = strings.TrimSuffix(line, "\n"); !strings.HasSuffix(line, other) {
							want.WriteString(strings.TrimSuffix(line, mine) + "\n")
						}
					}
					got := b.open(t).play(string(script), want.String())
					switch {
					case *updateLocks && b.name == "real":
						if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
							t.Fatal(err)
						}
					case got != want.String():
						t.Errorf("%s went differently:\n%s", file, diffLines(want.String(), got))
					}
				})
			}
		})
	}
}

func diffLines(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		var x, y string
		if i < len(w) {
			x = w[i]
		}
		if i < len(g) {
			y = g[i]
		}
		if x != y {
			fmt.Fprintf(&b, "line %d:\n  want %q\n  got  %q\n", i+1, x, y)
		}
	}
	return b.String()
}

// lockStage is a file, a directory, and clients that lock them.
type lockStage struct {
	t       *testing.T
	dial    func(name string, s *lockStage) fop.Handler
	ctx     context.Context
	clients map[string]*lockClient
	file    fop.GFID
	dir     fop.GFID
	name    string // they are called name.f and name.d

	mu      sync.Mutex
	told    []string
	waiting map[int]*waiting
	number  int
}

// waiting is a request that waits.
type waiting struct {
	client *lockClient
	req    fop.Request
	reply  fop.Reply // before done
	done   chan error
}

type lockClient struct {
	fop.Handler
	from *fop.Client // of a direct client
	fds  map[string]*fop.Fd
	stop func()
}

func newLockStage(t *testing.T, dial func(string, *lockStage) fop.Handler) *lockStage {
	s := &lockStage{t: t, dial: dial, clients: map[string]*lockClient{}, waiting: map[int]*waiting{}}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(context.Background())
	s.file, s.dir = fop.NewGFID(), fop.NewGFID()
	setup := s.client("setup")
	mk := func(g fop.GFID) fop.Header {
		return fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}
	}
	s.name = t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
	for _, req := range []fop.Request{
		&fop.Mknod{Header: mk(s.file), Parent: fop.RootGFID, Name: s.name + ".f", Mode: fop.ModeRegular | 0o644},
		&fop.Mkdir{Header: mk(s.dir), Parent: fop.RootGFID, Name: s.name + ".d", Mode: 0o755},
	} {
		req.Head().From = setup.from
		if _, err := setup.Do(s.ctx, req); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		cancel()
		for _, c := range s.clients {
			c.stop()
		}
	})
	return s
}

func (s *lockStage) tell(name string, u *fop.Upcall) {
	if u.Kind == fop.UpcallInodelk { // 10.3 has no other
		s.mu.Lock()
		s.told = append(s.told, fmt.Sprintf("  tell %s: inodelk %d+%d of %s\n", name, u.Flock.Start, u.Flock.Len, u.Domain))
		s.mu.Unlock()
	}
}

// connect makes a client of a brick behind a network.
func (s *lockStage) connect(name string, o xlator.Options, env *xlator.Env) fop.Handler {
	up := make(chan struct{}, 16)
	h, err := client.New(xlator.Config{Name: "data-client-0", Options: o, Env: env, Log: slog.New(slog.DiscardHandler), Notify: func(ev fop.Event) {
		switch ev.Kind {
		case fop.EventChildUp:
			up <- struct{}{}
		case fop.EventUpcall:
			s.tell(name, ev.Upcall)
		}
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.(xlator.Runner).Run(ctx)
	}()
	s.clients[name].stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if c, ok := h.(xlator.Closer); ok {
			c.Close()
		}
	})
	select {
	case <-up:
	case <-time.After(20 * time.Second):
		s.t.Fatal("no connection to the brick")
	}
	return h
}

// direct makes a client of a handler in this process.
func (s *lockStage) direct(name string, h fop.Handler) fop.Handler {
	c := &fop.Client{ID: name, OpVersion: 100000, Upcall: func(u *fop.Upcall) { s.tell(name, u) }}
	s.clients[name].from = c
	s.clients[name].stop = sync.OnceFunc(func() {
		h.Do(context.Background(), &fop.Disconnect{Header: fop.Header{From: c}})
	})
	return h
}

func (s *lockStage) client(name string) *lockClient {
	c := s.clients[name]
	if c == nil {
		c = &lockClient{fds: map[string]*fop.Fd{}}
		s.clients[name] = c
		c.Handler = s.dial(name, s)
	}
	return c
}

// fd opens the file once per client and name.
func (s *lockStage) fd(c *lockClient, name string) *fop.Fd {
	if c.fds[name] == nil {
		fd := &fop.Fd{GFID: s.file, Flags: fop.ORdwr, From: c.from}
		if _, err := c.Do(s.ctx, &fop.Open{Header: fop.Header{From: c.from}, GFID: s.file, Flags: fop.ORdwr, Fd: fd}); err != nil {
			s.t.Fatal(err)
		}
		c.fds[name] = fd
	}
	return c.fds[name]
}

// play does what the script says and returns the script with what came of it. It
// waits for what want says; that nothing more happens is seen by a short wait.
func (s *lockStage) play(script, want string) string {
	expected := map[int]string{} // by number of the command
	n := 0
	for line := range strings.Lines(want) {
		if strings.HasPrefix(line, "> ") {
			n++
		} else if strings.HasPrefix(line, "  ") {
			expected[n] += line
		}
	}
	var out bytes.Buffer
	n = 0
	for line := range strings.Lines(script) {
		cmd, ok := strings.CutPrefix(line, "> ")
		if !ok {
			if !strings.HasPrefix(line, "  ") {
				out.WriteString(line)
			}
			continue
		}
		n++
		out.WriteString(line)
		out.WriteString(s.step(strings.Fields(cmd), expected[n]))
	}
	return out.String()
}

const (
	settle   = 100 * time.Millisecond // in which nothing more may happen
	patience = 10 * time.Second       // for what is expected
)

// step does one thing and returns what comes of it, for the one who did it and
// for those who waited.
func (s *lockStage) step(f []string, want string) string {
	head, p := s.act(f)
	limit := time.Now().Add(patience)
	if *updateLocks {
		limit = time.Now().Add(3 * settle)
	}
	var told string
	var ended []string
	end := func() string {
		if p != nil {
			select {
			case err := <-p.done:
				head, p = p.outcome(err), nil
			default:
			}
		}
		s.mu.Lock()
		slices.Sort(s.told)
		told = strings.Join(s.told, "")
		s.mu.Unlock()
		for n := range s.number {
			w := s.waiting[n]
			if w == nil {
				continue
			}
			select {
			case err := <-w.done:
				delete(s.waiting, n)
				ended = append(ended, fmt.Sprintf("  #%d %s\n", n, lockVerdict(err)))
				slices.Sort(ended) // replies of two connections come in any order
			default:
			}
		}
		if p != nil {
			return fmt.Sprintf("  waits as #%d\n", s.number) + told + strings.Join(ended, "")
		}
		return head + told + strings.Join(ended, "")
	}
	for time.Now().Before(limit) {
		if end() == want && !*updateLocks {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(settle)
	out := end()
	s.mu.Lock()
	s.told = nil
	s.mu.Unlock()
	if p != nil {
		s.waiting[s.number] = p
		s.number++
	}
	return out
}

// act does one thing. It returns what came of it, or the request that it began.
func (s *lockStage) act(f []string) (out string, p *waiting) {
	name, owner, _ := strings.Cut(f[1], "/")
	c := s.client(name)
	head := fop.Header{From: c.from, Cred: fop.Cred{PID: 4242, Owner: owner}}
	wait := slices.Contains(f, "wait")
	cmd := uint32(fop.LkSet)
	if wait {
		cmd = fop.LkSetWait
	}
	switch f[0] {
	case "posix", "getlk": // who type start+len [wait] [fd=x]
		fl := lockFlock(f[2], f[3], owner)
		if f[0] == "getlk" {
			cmd = fop.LkGet
		}
		fd := "x"
		for _, w := range f {
			if n, ok := strings.CutPrefix(w, "fd="); ok {
				fd = n
			}
		}
		p = s.run(c, &fop.Lk{Header: head, GFID: s.file, Fd: s.fd(c, fd), Cmd: cmd, Type: fl.Type, Flock: fl})
	case "inodelk": // who domain type start+len [wait]
		fl := lockFlock(f[3], f[4], "")
		p = s.run(c, &fop.Inodelk{Header: head, GFID: s.file, Domain: f[2], Cmd: cmd, Type: fl.Type, Flock: fl})
	case "entrylk", "entryunlk": // who domain name|* type [wait]
		cmd = fop.EntrylkTry
		if wait {
			cmd = fop.EntrylkLock
		}
		if f[0] == "entryunlk" {
			cmd = fop.EntrylkFree
		}
		r := &fop.Entrylk{Header: head, GFID: s.dir, Domain: f[2], Cmd: cmd, Type: uint32(strings.Index("RW", f[4]))}
		if f[3] != "*" {
			r.Name, r.NameLen = f[3], 1
		}
		p = s.run(c, r)
	case "count": // who domain
		d := fop.NewDict(fop.Pair{Key: fop.KeyInodelkDomCount, Val: fop.Str(f[2])}, fop.Pair{Key: fop.KeyPosixlkCount, Val: fop.Int(1)})
		r, err := fop.Call(s.ctx, c, &fop.Lookup{Header: fop.Header{From: c.from, XData: d}, GFID: s.file})
		if err != nil {
			return fmt.Sprintf("  %v\n", err), nil
		}
		out = fmt.Sprintf("  inodelk %d posix %d\n", r.XData.Int(fop.KeyInodelkCount), r.XData.Int(fop.KeyPosixlkCount))
	case "flush": // who
		p = s.run(c, &fop.Flush{Header: head, GFID: s.file, Fd: s.fd(c, "x")})
	case "list": // who
		r, err := fop.Call(s.ctx, c, &fop.Getactivelk{Header: head, GFID: s.file})
		if err != nil {
			return fmt.Sprintf("  %v\n", err), nil
		}
		for _, l := range r.Locks {
			out += fmt.Sprintf("  %c %d+%d of %s\n", "RWU"[l.Flock.Type], l.Flock.Start, l.Flock.Len, l.Flock.Owner)
		}
	case "unlink": // who
		p = s.run(c, &fop.Unlink{Header: head, Parent: fop.RootGFID, Name: s.name + ".f"})
	case "disconnect": // client
		for n, w := range s.waiting {
			if w.client == c {
				delete(s.waiting, n) // nobody is there to hear of it
			}
		}
		c.stop()
		delete(s.clients, name)
	default:
		s.t.Fatalf("no such command: %v", f)
	}
	return out, p
}

func lockFlock(typ, span, owner string) fop.Flock {
	a, b, _ := strings.Cut(span, "+")
	start, _ := strconv.ParseInt(a, 0, 64)
	n, _ := strconv.ParseInt(b, 0, 64)
	return fop.Flock{Type: uint32(strings.Index("RWU", typ)), Start: uint64(start), Len: uint64(n), PID: 4242, Owner: owner}
}

// run begins a request.
func (s *lockStage) run(c *lockClient, req fop.Request) *waiting {
	p := &waiting{client: c, req: req, done: make(chan error, 1)}
	go func() {
		var err error
		p.reply, err = c.Do(s.ctx, req)
		p.done <- err
	}()
	return p
}

// outcome words how a request ended.
func (p *waiting) outcome(err error) string {
	if l, ok := p.reply.(*fop.LkReply); ok && err == nil && p.req.(*fop.Lk).Cmd == fop.LkGet {
		if l.Flock.Type == fop.LockUnlock {
			return "  free\n"
		}
		return fmt.Sprintf("  %s has %c %d+%d\n", l.Flock.Owner, "RW"[l.Flock.Type], l.Flock.Start, l.Flock.Len)
	}
	return "  " + lockVerdict(err) + "\n"
}

func lockVerdict(err error) string {
	switch e := fop.Errno(err); e {
	case 0:
		return "ok"
	case syscall.EAGAIN:
		return "EAGAIN"
	case syscall.EINVAL:
		return "EINVAL"
	case syscall.ENOTCONN:
		return "ENOTCONN"
	default:
		return e.Error()
	}
}
