package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is what toys did, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
	j.mu.Unlock()
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// toy is a translator that writes down what happens to it. Option "fail" makes
// New fail, "refuse" Reconfigure, "early" sends an event from New.
type toy struct {
	j    *journal
	name string
	next []xlator.Child
	conf xlator.Config
}

func (t *toy) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	t.j.add("%s %v", t.name, req.Op())
	if len(t.next) > 0 {
		return t.next[0].Do(ctx, req)
	}
	return fop.NewReply(req.Op()), nil
}

func (t *toy) Run(ctx context.Context) error {
	t.j.add("run %s", t.name)
	<-ctx.Done()
	time.Sleep(time.Millisecond) // Close must wait
	t.j.add("ran %s", t.name)
	return nil
}

func (t *toy) Close() error {
	t.j.add("close %s", t.name)
	return nil
}

func (t *toy) Dump(w io.Writer) { fmt.Fprintf(w, "children=%d\n", len(t.next)) }

// plain is a toy that does not run, for deterministic journals.
type plain struct{ t *toy }

func (p plain) Do(ctx context.Context, req fop.Request) (fop.Reply, error) { return p.t.Do(ctx, req) }
func (p plain) Close() error                                               { return p.t.Close() }

// tunable can be reconfigured and hears events.
type tunable struct{ plain }

func (t *tunable) Reconfigure(o xlator.Options) error {
	if o["refuse"] == "on" {
		return syscall.EBUSY
	}
	t.t.j.add("reconfigure %s: %s", t.t.name, o["knob"])
	return nil
}

func (t *tunable) ChildEvent(child string, ev fop.Event) {
	t.t.j.add("%s hears %d of %s from %s", t.t.name, ev.Kind, child, ev.From)
	if ev.Kind == fop.EventChildUp {
		t.t.conf.Notify(fop.Event{Kind: fop.EventChildUp})
	}
}

var toyOptions = []xlator.Option{
	{Key: "fail", Kind: xlator.KindBool}, {Key: "refuse", Kind: xlator.KindBool},
	{Key: "early", Kind: xlator.KindBool}, {Key: "knob", Kind: xlator.KindInt, Min: 1, Max: 9},
	{Key: "moot", Kind: xlator.KindBool, Default: "off", Ignored: "toys do not care"},
	{Key: "size", Kind: xlator.KindSize, Default: "1MB", Ignored: "nor for sizes"},
	{Key: "auth.*.allow"},
}

func registry(j *journal) Registry {
	mk := func(name string, lo, hi int, wrap func(*toy) fop.Handler) xlator.Type {
		return xlator.Type{Name: name, MinChildren: lo, MaxChildren: hi, Options: toyOptions, New: func(c xlator.Config) (fop.Handler, error) {
			if c.Options.Bool("fail", false) {
				return nil, syscall.ENOSPC
			}
			t := &toy{j: j, name: c.Name, next: c.Children, conf: c}
			j.add("new %s", c.Name)
			if c.Options.Bool("early", false) {
				c.Notify(fop.Event{Kind: fop.EventChildUp})
			}
			return wrap(t), nil
		}}
	}
	return NewRegistry(
		mk("toy/leaf", 0, 0, func(t *toy) fop.Handler { return plain{t} }),
		mk("toy/runner", 0, 1, func(t *toy) fop.Handler { return t }),
		mk("toy/one", 1, 1, func(t *toy) fop.Handler { return plain{t} }),
		mk("toy/tunable", 1, -1, func(t *toy) fop.Handler { return &tunable{plain: plain{t}} }),
	)
}

func parse(t testing.TB, text string) *volfile.File {
	t.Helper()
	f, err := volfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// stack is a volfile of volumes "name type [options…] : children".
func stack(t testing.TB, lines ...string) *volfile.File {
	var b strings.Builder
	for _, l := range lines {
		head, subs, _ := strings.Cut(l, ":")
		w := strings.Fields(head)
		fmt.Fprintf(&b, "volume %s\ntype %s\n", w[0], w[1])
		for _, o := range w[2:] {
			k, v, _ := strings.Cut(o, "=")
			fmt.Fprintf(&b, "option %s %s\n", k, v)
		}
		if strings.TrimSpace(subs) != "" {
			fmt.Fprintf(&b, "subvolumes %s\n", subs)
		}
		b.WriteString("end-volume\n")
	}
	return parse(t, b.String())
}

// lines is where a graph logs in tests: message and volume of each record.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (l *lines) count(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range strings.Split(l.buf.String(), "\n") {
		all := line != ""
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

func TestBuild(t *testing.T) {
	var j journal
	var l lines
	g, err := Build(t.Context(), stack(t,
		"a toy/leaf early=on",
		"b toy/leaf",
		"ab toy/tunable moot=on size=1024KB auth.x.allow=y : a b",
		"wb performance/io-threads nonsense=1 : ab",
		"top toy/one unknown=1 : wb",
	), registry(&j), nil, WithLog(l.log()))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.WaitUp(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := fop.Call(t.Context(), g.Top(), &fop.Lookup{}); err != nil {
		t.Error(err)
	}
	want := []string{
		"new a", "new b", "new ab", "new top", // children first
		"ab hears 1 of a from a", // held until all were there
		"top LOOKUP", "ab LOOKUP", "a LOOKUP",
	}
	if diff := cmp.Diff(want, j.take()); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	top, _ := g.Find("top")
	wb, _ := g.Find("wb")
	ab, _ := g.Find("ab")
	if top != g.Top() || wb != ab {
		t.Error("Find finds something else")
	}
	if _, ok := g.Find("x"); ok {
		t.Error("Find finds what is not there")
	}
	if n := len(g.FindType("toy/leaf")); n != 2 {
		t.Errorf("%d leaves", n)
	}
	for _, c := range []struct {
		n     int
		words []string
	}{
		{1, []string{"left out", "wb", "performance/io-threads"}},
		{1, []string{"has no effect", "volume=ab", "moot", "toys do not care"}},
		{1, []string{"has no effect"}}, // size is its default, written otherwise
		{1, []string{"unknown", "volume=top"}},
		{1, []string{"unknown"}},
	} {
		if n := l.count(c.words...); n != c.n {
			t.Errorf("%d log lines with %q, want %d", n, c.words, c.n)
		}
	}
	var dump strings.Builder
	g.Dump(&dump)
	if want := "[toy/one.top]\n\n[performance/io-threads.wb]\nskipped=yes\n\n[toy/tunable.ab]\n\n[toy/leaf.b]\n\n[toy/leaf.a]\n\n"; dump.String() != want {
		t.Errorf("dump %q", dump.String())
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"close top", "close ab", "close b", "close a"}, j.take()); diff != "" {
		t.Errorf("closed (-want +got):\n%s", diff)
	}
	if err := g.Close(); err != nil || len(j.take()) > 0 {
		t.Error("closed twice")
	}
}

// TestLeaves: leaves are numbered from the left over the whole graph.
func TestLeaves(t *testing.T) {
	var j journal
	g, err := Build(t.Context(), stack(t,
		"a toy/leaf", "b toy/leaf", "c toy/leaf", "d toy/leaf",
		"ab toy/tunable : a b",
		"cd toy/tunable : c d",
		"wb performance/io-threads : cd",
		"all toy/tunable : ab wb",
		"top toy/one : all",
	), registry(&j), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for name, want := range map[string]string{
		"a": "0/4", "b": "1/4", "c": "2/4", "d": "3/4",
		"ab": "0/4 a:0+1 b:1+1", "cd": "2/4 c:2+1 d:3+1", "all": "0/4 ab:0+2 wb:2+2", "top": "0/4 all:0+4",
	} {
		var c xlator.Config
		switch h, _ := g.Find(name); h := h.(type) {
		case *toy:
			c = h.conf
		case *tunable:
			c = h.t.conf
		case plain:
			c = h.t.conf
		}
		got := fmt.Sprintf("%d/%d", c.Leaf, c.Leaves)
		for _, ch := range c.Children {
			got += fmt.Sprintf(" %s:%d+%d", ch.Name, ch.FirstLeaf, ch.Leaves)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestRun(t *testing.T) {
	var j journal
	g, err := Build(t.Context(), stack(t, "r toy/runner", "s toy/runner : r"), registry(&j), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fop.Call(t.Context(), g.Top(), &fop.Lookup{}); err != nil {
		t.Error(err)
	}
	g.Close()
	at := map[string]int{}
	for i, l := range j.take() {
		at[l] = i + 1
	}
	for _, pair := range [][2]string{{"new s", "run r"}, {"new s", "run s"}, {"ran s", "ran r"}, {"ran r", "close s"}, {"close s", "close r"}} {
		if at[pair[0]] == 0 || at[pair[1]] == 0 || at[pair[0]] > at[pair[1]] {
			t.Errorf("%q is not before %q: %v", pair[0], pair[1], at)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	bad := func(vols ...*volfile.Volume) *volfile.File { return &volfile.File{Volumes: vols} }
	for _, c := range []struct {
		name  string
		file  *volfile.File
		errno syscall.Errno
		words []string
	}{
		{"unknown type", stack(t, "a no/such"), syscall.EINVAL, []string{`"a"`, `"no/such"`, "unknown"}},
		{"missing type", stack(t, "a toy/leaf", "b cluster/replicate : a"), syscall.ENOTSUP, []string{`"b"`, "cluster/replicate", "copies"}},
		{"feature on", stack(t, "a toy/leaf", "b features/trash trash=on : a"), syscall.ENOTSUP, []string{"features/trash", "option trash on", "gluster volume set VOLNAME features.trash off"}},
		{"feature on, inverted", stack(t, "a toy/leaf", "b features/sdfs pass-through=false : a"), syscall.ENOTSUP, []string{"features/sdfs"}},
		{"feature neither", stack(t, "a toy/leaf", "b features/quota server-quota=maybe : a"), syscall.EINVAL, []string{"server-quota", "maybe"}},
		{"bad value", stack(t, "a toy/leaf knob=10"), syscall.ERANGE, []string{`"a"`, "knob", `"10"`, "between 1 and 9", "line 3"}},
		{"too few", stack(t, "a toy/one"), syscall.EINVAL, []string{`"a"`, "0 subvolumes", "needs 1"}},
		{"too many", stack(t, "a toy/leaf", "b toy/leaf", "c toy/one : a b"), syscall.EINVAL, []string{`"c"`, "2 subvolumes", "takes 1"}},
		{"skipped with two", stack(t, "a toy/leaf", "b toy/leaf", "c debug/io-stats : a b"), syscall.EINVAL, []string{`"c"`, "exactly one"}},
		{"New fails", stack(t, "a toy/leaf", "b toy/one fail=on : a"), syscall.ENOSPC, []string{`start volume "b"`}},
		{"empty", bad(), syscall.EINVAL, []string{"no volume"}},
		{"twice", bad(&volfile.Volume{Name: "a", Type: "toy/leaf"}, &volfile.Volume{Name: "a", Type: "toy/leaf"}), syscall.EINVAL, []string{"twice"}},
		{"cycle", bad(&volfile.Volume{Name: "a", Type: "toy/one", Subvolumes: []string{"b"}}, &volfile.Volume{Name: "b", Type: "toy/one", Subvolumes: []string{"a"}}), syscall.EINVAL, []string{"cycle"}},
		{"undefined", bad(&volfile.Volume{Name: "a", Type: "toy/one", Subvolumes: []string{"b"}}), syscall.EINVAL, []string{`"b"`, "not defined"}},
		{"the same twice", bad(&volfile.Volume{Name: "b", Type: "toy/leaf"}, &volfile.Volume{Name: "a", Type: "toy/tunable", Subvolumes: []string{"b", "b"}}), syscall.EINVAL, []string{`"b"`, "twice"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var j journal
			g, err := Build(t.Context(), c.file, registry(&j), nil, WithLog(new(lines).log()))
			if err == nil {
				g.Close()
				t.Fatal("built")
			}
			if got := fop.Errno(err); got != c.errno {
				t.Errorf("errno %v, want %v: %v", got, c.errno, err)
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("no %q in %q", w, err)
				}
			}
			made := map[string]bool{}
			for _, l := range j.take() {
				if n, ok := strings.CutPrefix(l, "new "); ok {
					made[n] = true
				} else if n, ok := strings.CutPrefix(l, "close "); ok {
					delete(made, n)
				}
			}
			if len(made) > 0 {
				t.Errorf("left open: %v", made)
			}
		})
	}
	deep := []string{"v0 toy/leaf"}
	for i := 1; i <= maxDepth; i++ {
		deep = append(deep, fmt.Sprintf("v%d toy/one : v%d", i, i-1))
	}
	if _, err := Build(t.Context(), stack(t, deep...), registry(new(journal)), nil); err == nil {
		t.Error("a stack without end is built")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, stack(t, "a toy/leaf"), registry(new(journal)), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("building with a dead context: %v", err)
	}
}

func TestReconfigure(t *testing.T) {
	var j journal
	var l lines
	text := []string{"a toy/leaf", "x toy/tunable knob=1 : a", "y toy/tunable knob=1 : x", "io performance/io-threads : y", "w features/worm worm=off : io"}
	with := func(i int, line string) *volfile.File {
		changed := append([]string(nil), text...)
		changed[i] = line
		return stack(t, changed...)
	}
	g, err := Build(t.Context(), stack(t, text...), registry(&j), nil, WithLog(l.log()))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	j.take()
	for _, c := range []struct {
		name    string
		file    *volfile.File
		err     error
		rebuild bool
		want    []string
	}{
		{"nothing", stack(t, text...), nil, false, nil},
		{"one", with(1, "x toy/tunable knob=2 : a"), nil, false, []string{"reconfigure x: 2"}},
		{"no effect", with(1, "x toy/tunable knob=2 moot=on what=1 : a"), nil, false, nil},
		{"skipped", with(3, "io performance/io-threads threads=3 : y"), nil, false, []string{"reconfigure x: 1"}},
		{"bad value", with(2, "y toy/tunable knob=0 : x"), syscall.ERANGE, false, nil},
		{"switched on", with(4, "w features/worm worm=on : io"), syscall.ENOTSUP, false, nil},
		{"not tunable", with(0, "a toy/leaf knob=2"), ErrRebuild, true, nil},
		{"other type", with(1, "x toy/one : a"), ErrRebuild, true, nil},
		{"refused, taken back", stack(t, "a toy/leaf", "x toy/tunable knob=5 : a", "y toy/tunable refuse=on : x", text[3], text[4]), ErrRebuild, true,
			[]string{"reconfigure x: 5", "reconfigure x: 1"}},
	} {
		err := g.Reconfigure(c.file)
		if !errors.Is(err, c.err) || errors.Is(err, ErrRebuild) != c.rebuild {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, j.take()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if (g.File() == c.file) != (err == nil) {
			t.Errorf("%s: the wrong volfile is in force", c.name)
		}
	}
	if n := l.count("has no effect"); n != 1 {
		t.Errorf("%d lines about moot", n)
	}
	g.Close()
	if err := g.Reconfigure(stack(t, text...)); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a closed graph: %v", err)
	}
}

func TestWaitUp(t *testing.T) {
	var child xlator.Config
	reg := NewRegistry(
		xlator.Type{Name: "toy/child", New: func(c xlator.Config) (fop.Handler, error) {
			child = c
			return fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, nil }), nil
		}})
	var heard []fop.EventKind
	g, err := Build(t.Context(), stack(t, "c toy/child", "top debug/io-stats : c"), reg, nil,
		WithLog(new(lines).log()), OnEvent(func(ev fop.Event) { heard = append(heard, ev.Kind) }))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if err := g.WaitUp(short()); !errors.Is(err, syscall.ETIMEDOUT) || g.Up() {
		t.Errorf("nothing happened: %v", err)
	}
	child.Notify(fop.Event{Kind: fop.EventChildConnecting, Err: fmt.Errorf("10.7.1.99:49152: %w", syscall.ECONNREFUSED)})
	if err := g.WaitUp(short()); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "10.7.1.99:49152") {
		t.Errorf("refused: %v", err)
	}
	child.Notify(fop.Event{Kind: fop.EventAuthFailed, Err: syscall.EACCES})
	if err := g.WaitUp(t.Context()); !errors.Is(err, syscall.EACCES) {
		t.Errorf("auth: %v", err)
	}
	done := make(chan error)
	child.Notify(fop.Event{Kind: fop.EventChildDown})
	go func() { done <- nil }()
	<-done
	go func() {
		g.events.mu.Lock()
		g.events.auth = nil
		g.events.mu.Unlock()
		done <- g.WaitUp(t.Context())
	}()
	child.Notify(fop.Event{Kind: fop.EventChildUp})
	if err := <-done; err != nil || !g.Up() {
		t.Errorf("up: %v", err)
	}
	child.Notify(fop.Event{Kind: fop.EventChildDown})
	if g.Up() {
		t.Error("down, and up")
	}
	want := []fop.EventKind{fop.EventChildConnecting, fop.EventAuthFailed, fop.EventChildDown, fop.EventChildUp, fop.EventChildDown}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	g.Close()
	child.Notify(fop.Event{Kind: fop.EventChildUp})
	if len(heard) != len(want) {
		t.Error("a closed graph tells events")
	}
}

// TestKnownTypes holds what glusterd writes against the table: every type is
// known, and every feature of a fresh volume is off.
func TestKnownTypes(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.vol")
	if len(files) < 10 {
		t.Fatal("no volfiles")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		refused := map[string]bool{}
		for _, v := range parse(t, string(b)).Volumes {
			if err := canSkip(v); err != nil {
				refused[v.Type] = true
				if !errors.Is(err, syscall.ENOTSUP) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, typ := range []string{"features/changelog", "features/trash", "features/marker", "features/quota", "features/bitrot-stub", "features/worm",
			"features/sdfs", "features/cdc", "features/shard", "features/snapview-client", "features/namespace", "features/read-only", "features/upcall"} {
			on := strings.Contains(name, "many") && typ != "features/marker" && typ != "features/quota" && typ != "features/bitrot-stub" && typ != "features/worm"
			present := strings.Contains(string(b), "type "+typ+"\n")
			if present && refused[typ] != on {
				t.Errorf("%s: %s refused: %v", name, typ, refused[typ])
			}
		}
	}
}

func FuzzBuild(f *testing.F) {
	f.Add("volume a\ntype toy/leaf\noption knob 3\nend-volume\nvolume b\ntype features/worm\noption worm off\nsubvolumes a\nend-volume")
	f.Add("volume a\ntype toy/leaf\nend-volume\nvolume b\ntype toy/tunable\nsubvolumes a\nend-volume\nvolume c\ntype toy/tunable\nsubvolumes a b\nend-volume")
	quiet := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := volfile.Parse(text)
		if err != nil {
			return
		}
		g, err := Build(t.Context(), file, registry(new(journal)), nil, WithLog(quiet))
		if err != nil {
			return
		}
		if err := g.Reconfigure(file.Clone()); err != nil {
			t.Errorf("a graph does not take its own volfile: %v", err)
		}
		g.Dump(io.Discard)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestManyWays: an event does not multiply on the ways up.
func TestManyWays(t *testing.T) {
	const depth = 60
	text := []string{"a0 toy/leaf early=on"}
	for i := 1; i <= depth; i++ {
		below := fmt.Sprintf("a%d", i-1)
		if i > 1 {
			below += fmt.Sprintf(" b%d", i-1)
		}
		text = append(text, fmt.Sprintf("a%d toy/many : %s", i, below), fmt.Sprintf("b%d toy/many : %s", i, below))
	}
	text = append(text, fmt.Sprintf("top toy/many : a%d b%d", depth, depth))
	var j journal
	reg := registry(&j).With(xlator.Type{Name: "toy/many", MinChildren: 1, MaxChildren: -1, New: func(c xlator.Config) (fop.Handler, error) {
		return fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, nil }), nil
	}})
	heard := 0
	g, err := Build(t.Context(), stack(t, text...), reg, nil, OnEvent(func(fop.Event) { heard++ }))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if heard != 1 || !g.Up() {
		t.Errorf("heard %d times", heard)
	}
}
