package replicate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/client"
)

// disks are real bricks: whole stacks over directories, each behind a socket.
type disks struct {
	t       testing.TB
	n       int
	arbiter int
	up      *manage.Cluster
	serial  atomic.Uint32
	bare    bool // mounts have no wiretaps
	posts   bool // wiretaps let unlocks go along with what follows
}

func newDisks(t testing.TB, n, arbiter int) *disks {
	t.Helper()
	testenv.NeedRoot(t)
	up, err := manage.Up(context.Background(), manage.UpOptions{Dir: t.TempDir(), Volume: "v", Port: -1, Listen: "127.0.0.1", Log: quiet,
		Shape: manage.Shape{Distribute: 1, Replica: n, Arbiter: arbiter}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := up.Close(); err != nil {
			t.Error(err)
		}
	})
	return &disks{t: t, n: n, arbiter: arbiter, up: up}
}

// path is where brick i keeps something.
func (d *disks) path(i int, name string) string {
	return filepath.Join(d.up.Volume.Bricks[i].Path, name)
}

// marks says what brick i has noted about an object: "d1.0.0" for dirty, "c1=…"
// for what child 1 missed, "-" for nothing but zeros.
func (d *disks) marks(i int, name string) string {
	d.t.Helper()
	var words []string
	get := func(key, short string) {
		buf := make([]byte, 64)
		n, err := unix.Lgetxattr(d.path(i, name), key, buf)
		if errors.Is(err, unix.ENODATA) {
			return
		}
		if err != nil || n != changelogSize {
			d.t.Fatalf("%s of %s on brick %d: %d bytes, %v", key, name, i, n, err)
		}
		if c := parseChangelog(buf[:n]); !c.isZero() {
			words = append(words, fmt.Sprintf("%s%d.%d.%d", short, c[0], c[1], c[2]))
		}
	}
	get("trusted.afr.dirty", "d")
	for j := range d.n {
		get(fmt.Sprintf("trusted.afr.v-client-%d", j), fmt.Sprintf("c%d=", j))
	}
	if words == nil {
		return "-"
	}
	return strings.Join(words, " ")
}

// allMarks is marks on all bricks; a brick that lacks the object says "none".
func (d *disks) allMarks(name string) string {
	var all []string
	for i := range d.n {
		if _, err := os.Lstat(d.path(i, name)); err != nil {
			all = append(all, "none")
			continue
		}
		all = append(all, d.marks(i, name))
	}
	return strings.Join(all, " | ")
}

// index lists the notes in an index of brick i: xattrop, dirty, or the names in
// entry-changes.
func (d *disks) index(i int, kind string) (names []string) {
	d.t.Helper()
	dir := d.path(i, ".glusterfs/indices/"+kind)
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), kind+"-") {
			rel, _ := filepath.Rel(dir, p)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// mount is a client of the bricks, of one replicate.
type mount struct {
	*replicate
	d       *disks
	g       *graph.Graph
	taps    []*wiretap
	cred    fop.Cred
	namesMu sync.Mutex
	names   map[fop.GFID]string
	made    map[string]fop.GFID
}

// wiretap stands between replicate and a client translator. It writes down what
// goes by when it is sent, and can be told to answer in the brick's place.
type wiretap struct {
	i    int
	next fop.Handler
	v    *mount

	mu     sync.Mutex
	lines  []string
	owners map[string]string
	hook   func(req fop.Request) error // an error: the brick's answer, nothing is sent
	after  func(req fop.Request, reply fop.Reply) error
}

func (w *wiretap) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	return w.Start(ctx, req).Wait()
}

// tapped is a request under way whose answer may be replaced.
type tapped struct {
	p   fop.Pending
	w   *wiretap
	req fop.Request
}

func (p tapped) Wait() (fop.Reply, error) {
	reply, err := p.p.Wait()
	p.w.mu.Lock()
	after := p.w.after
	p.w.mu.Unlock()
	if err == nil && after != nil {
		if err := after(p.req, reply); err != nil {
			return nil, err
		}
	}
	return reply, err
}

type failed struct{ err error }

func (f failed) Wait() (fop.Reply, error) { return nil, f.err }

func (w *wiretap) Start(ctx context.Context, req fop.Request) fop.Pending {
	w.mu.Lock()
	w.lines = append(w.lines, w.describe(req))
	hook := w.hook
	w.mu.Unlock()
	if hook != nil {
		if err := hook(req); err != nil {
			return failed{err}
		}
	}
	return tapped{fop.Start(ctx, w.next, req), w, req}
}

// failOps has ops fail before they reach the brick.
func (w *wiretap) failOps(errno syscall.Errno, ops ...fop.Op) {
	w.setHook(func(req fop.Request) error {
		if slices.Contains(ops, req.Op()) {
			return errno
		}
		return nil
	})
}

func (w *wiretap) setHook(f func(fop.Request) error) {
	w.mu.Lock()
	w.hook = f
	w.mu.Unlock()
}

// loseReplies has ops succeed on the brick, and their answers get lost.
func (w *wiretap) loseReplies(ops ...fop.Op) {
	w.mu.Lock()
	w.after = func(req fop.Request, _ fop.Reply) error {
		if slices.Contains(ops, req.Op()) {
			return fmt.Errorf("connection lost: %w", syscall.ENOTCONN)
		}
		return nil
	}
	w.mu.Unlock()
}

// posting is a wiretap over what goes along with the next request.
type posting struct{ *wiretap }

func (p posting) Post(req fop.Request) {
	p.mu.Lock()
	p.lines = append(p.lines, "along: "+p.describe(req))
	p.mu.Unlock()
	p.next.(fop.Poster).Post(req)
}

// take returns what was sent since the last time.
func (w *wiretap) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.lines
	w.lines = nil
	return s
}

// describe is one line about a request, with the parts that other clients see.
func (w *wiretap) describe(req fop.Request) string {
	h := req.Head()
	owner, ok := w.owners[h.Cred.Owner]
	if !ok {
		owner = fmt.Sprintf("O%d", len(w.owners))
		w.owners[h.Cred.Owner] = owner
	}
	s := req.Op().String()
	lock := func(f fop.Flock, cmd uint32, dom string) string {
		return fmt.Sprintf("%s %s %d/%d %s", map[uint32]string{fop.LkSet: "SETLK", fop.LkSetWait: "SETLKW"}[cmd],
			map[uint32]string{fop.LockWrite: "WR", fop.LockUnlock: "UN"}[f.Type], f.Start, f.Len, dom)
	}
	entrylk := func(g fop.GFID, cmd, typ uint32, n uint64, name, dom string) string {
		return fmt.Sprintf("%s %s %q/%d %s", map[uint32]string{fop.EntrylkLock: "LOCK", fop.EntrylkTry: "TRY", fop.EntrylkFree: "UNLOCK"}[cmd], w.v.name(g), name, n, dom)
	}
	switch q := req.(type) {
	case *fop.Inodelk:
		s += " " + w.v.name(q.GFID) + " " + lock(q.Flock, q.Cmd, q.Domain)
	case *fop.Finodelk:
		s += " " + w.v.name(q.GFID) + " " + lock(q.Flock, q.Cmd, q.Domain)
	case *fop.Entrylk:
		s += " " + entrylk(q.GFID, q.Cmd, q.Type, q.NameLen, q.Name, q.Domain)
	case *fop.Xattrop:
		s += " " + w.v.name(q.GFID) + " " + w.v.changelogs(q.Dict)
	case *fop.Fxattrop:
		s += " " + w.v.name(q.GFID) + " " + w.v.changelogs(q.Dict)
	case *fop.Write:
		s += fmt.Sprintf(" %d+%d", q.Offset, len(q.Data))
	case *fop.Fsync:
		s += fmt.Sprintf(" datasync=%d", q.Datasync)
	}
	var keys []string
	for _, p := range h.XData.Pairs() {
		if n, ok := p.Val.Int(); ok {
			keys = append(keys, fmt.Sprintf("%s=%d", p.Key, n))
		} else if p.Key == fop.KeyGFIDReq {
			keys = append(keys, p.Key)
		} else {
			keys = append(keys, fmt.Sprintf("%s=%s", p.Key, p.Val.Text()))
		}
	}
	slices.Sort(keys)
	if len(keys) > 0 {
		s += " {" + strings.Join(keys, " ") + "}"
	}
	return s + " " + owner
}

func (m *mount) name(g fop.GFID) string {
	m.namesMu.Lock()
	defer m.namesMu.Unlock()
	if n, ok := m.names[g]; ok {
		return n
	}
	return "new"
}

// changelogs shows the operand of an xattrop; all keys must be there.
func (m *mount) changelogs(d *fop.Dict) string {
	var s []string
	for _, p := range d.Pairs() {
		b := p.Val.Bytes()
		if len(b) != changelogSize {
			s = append(s, p.Key+"?")
			continue
		}
		var c [3]int32
		for i := range c {
			c[i] = int32(binary.BigEndian.Uint32(b[4*i:]))
		}
		s = append(s, fmt.Sprintf("%s=%d.%d.%d", strings.TrimPrefix(p.Key, "trusted.afr."), c[0], c[1], c[2]))
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

// mount makes a client. Options are replicate's.
func (d *disks) mount(opts ...string) *mount {
	d.t.Helper()
	m := &mount{d: d, cred: fop.Cred{PID: 4711, Owner: "appowner"}, names: map[fop.GFID]string{fop.RootGFID: "/"}, made: map[string]fop.GFID{"/": fop.RootGFID}}
	var text strings.Builder
	var names, keys []string
	for i := range d.n {
		b := d.up.Volume.Bricks[i]
		fmt.Fprintf(&text, "volume v-client-%d\n type protocol/client\n option remote-host 127.0.0.1\n option remote-port %d\n option remote-subvolume %s\n option ping-timeout 10\nend-volume\n",
			i, d.up.BrickPort(i), b.Path)
		fmt.Fprintf(&text, "volume tap-%d\n type testing/tap\n subvolumes v-client-%d\nend-volume\n", i, i)
		if name := fmt.Sprintf("tap-%d", i); !d.bare {
			names = append(names, name)
		} else {
			names = append(names, fmt.Sprintf("v-client-%d", i))
		}
		keys = append(keys, fmt.Sprintf("v-client-%d", i))
	}
	fmt.Fprintf(&text, "volume v-replicate-0\n type cluster/replicate\n option afr-pending-xattr %s\n option hedge-delay 0\n option choose-local off\n option granular-entry-heal on\n", strings.Join(keys, ","))
	if d.arbiter > 0 {
		fmt.Fprintln(&text, " option arbiter-count 1")
	}
	for i := 0; i < len(opts); i += 2 {
		fmt.Fprintf(&text, " option %s %s\n", opts[i], opts[i+1])
	}
	fmt.Fprintf(&text, " subvolumes %s\nend-volume\n", strings.Join(names, " "))
	file, err := volfile.Parse(text.String())
	if err != nil {
		d.t.Fatal(err)
	}
	tap := xlator.Type{Name: "testing/tap", MinChildren: 1, MaxChildren: 1, New: func(c xlator.Config) (fop.Handler, error) {
		w := &wiretap{i: len(m.taps), next: c.Children[0].Handler, v: m, owners: map[string]string{"appowner": "A"}}
		m.taps = append(m.taps, w)
		if d.posts {
			return posting{w}, nil
		}
		return w, nil
	}}
	m.g, err = graph.Build(context.Background(), file, graph.NewRegistry(client.Type, Type, tap), nil, graph.WithLog(quiet), graph.WithTop("v-replicate-0"))
	if err != nil {
		d.t.Fatal(err)
	}
	top, _ := m.g.Find("v-replicate-0")
	m.replicate = top.(*replicate)
	d.t.Cleanup(func() { m.close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.g.WaitUp(ctx); err != nil {
		d.t.Fatal(err)
	}
	m.waitUp(all(d.n))
	return m
}

func (m *mount) close() {
	if err := m.g.Close(); err != nil {
		m.d.t.Error(err)
	}
}

// waitUp waits until exactly these children are up.
func (m *mount) waitUp(s set) {
	m.d.t.Helper()
	testenv.Wait(m.d.t, 20*time.Second, fmt.Sprintf("children %v", s), func() bool { return m.view().up == s })
}

// quiesce waits until nothing goes on behind the callers' backs but post-ops that
// are put off.
func (m *mount) quiesce(putOff int64) {
	m.d.t.Helper()
	testenv.Wait(m.d.t, 10*time.Second, "the end of what goes on behind", func() bool { return m.changes.n.Load()&^changesClosed <= putOff })
}

func (m *mount) head(pairs ...fop.Pair) fop.Header {
	h := fop.Header{Cred: m.cred}
	if len(pairs) > 0 {
		h.XData = fop.NewDict(pairs...)
	}
	return h
}

func (m *mount) newGFID(name string) fop.Pair {
	g := fop.GFID{0: 0x77} // in the order in which they are made, for the order of locks
	binary.BigEndian.PutUint32(g[12:], 1000+m.d.serial.Add(1))
	m.namesMu.Lock()
	defer m.namesMu.Unlock()
	m.names[g], m.made[name] = name, g
	return fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)}
}

func split(m *mount, p string) (fop.GFID, string) {
	dir, name := filepath.Split("/" + p)
	if dir = filepath.Clean(dir); dir == "/" {
		return fop.RootGFID, name
	}
	return m.made[dir[1:]], name
}

func (m *mount) create(name string) (*fop.Fd, error) {
	dir, base := split(m, name)
	gfid := m.newGFID(name)
	fd := &fop.Fd{GFID: m.made[name], Flags: fop.ORdwr}
	_, err := m.Do(context.Background(), &fop.Create{Header: m.head(gfid), Parent: dir, Name: base, Flags: fop.ORdwr, Mode: 0o644, Fd: fd})
	return fd, err
}

// freshGFID is newGFID for what has no lasting name.
func (m *mount) freshGFID() (fop.GFID, fop.Pair) {
	g := fop.NewGFID()
	return g, fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)}
}

func (m *mount) mkdirAs(name string, gfid fop.Pair) error {
	_, err := m.Do(context.Background(), &fop.Mkdir{Header: m.head(gfid), Parent: fop.RootGFID, Name: name, Mode: 0o755})
	return err
}

func (m *mount) mkdir(name string) error {
	dir, base := split(m, name)
	gfid := m.newGFID(name)
	_, err := m.Do(context.Background(), &fop.Mkdir{Header: m.head(gfid), Parent: dir, Name: base, Mode: 0o755})
	return err
}

func (m *mount) write(fd *fop.Fd, off int, s string) error {
	r, err := fop.Call(context.Background(), m, &fop.Write{Header: m.head(), GFID: fd.GFID, Fd: fd, Offset: uint64(off), Data: []byte(s)})
	if err == nil && int(r.Size) != len(s) {
		return fmt.Errorf("wrote %d bytes of %d", r.Size, len(s))
	}
	return err
}

func (m *mount) flush(fd *fop.Fd) error {
	_, err := m.Do(context.Background(), &fop.Flush{Header: m.head(), GFID: fd.GFID, Fd: fd})
	return err
}

func (m *mount) chmod(name string, mode uint32) error {
	_, err := m.Do(context.Background(), &fop.Setattr{Header: m.head(), GFID: m.made[name], Stat: fop.Iatt{Mode: mode}, Valid: fop.SetMode})
	return err
}

func (m *mount) unlink(name string) error {
	dir, base := split(m, name)
	_, err := m.Do(context.Background(), &fop.Unlink{Header: m.head(), Parent: dir, Name: base})
	return err
}

func (m *mount) rmdir(name string) error {
	dir, base := split(m, name)
	_, err := m.Do(context.Background(), &fop.Rmdir{Header: m.head(), Parent: dir, Name: base})
	return err
}

func (m *mount) rename(from, to string) error {
	a, an := split(m, from)
	b, bn := split(m, to)
	_, err := m.Do(context.Background(), &fop.Rename{Header: m.head(), OldParent: a, OldName: an, NewParent: b, NewName: bn})
	return err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contents checks what the bricks hold.
func (d *disks) contents(name string, want ...string) {
	d.t.Helper()
	for i := range want {
		b, err := os.ReadFile(d.path(i, name))
		got := string(b)
		if err != nil {
			got = "none"
		}
		if got != want[i] {
			d.t.Errorf("%s on brick %d: %q, want %q", name, i, bytes.ToValidUTF8(b, nil), want[i])
		}
	}
}
