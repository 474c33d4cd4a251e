package interop

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/testenv"
)

var traceSelf = flag.Bool("traces.self", false, "compare the real library with itself, which tells whether the traces on volumes depend on chance")

var traceRuns = flag.String("traces.run", "", "only the traces on volumes whose names contain this")

// volumeTrace is an operation whose calls are compared on volumes of several
// bricks. Its steps are commands; see commands for ours, testdata/trace.c for the
// real library's, and stage.prepare for those that set the scene through a mount
// of the real client. "~" stands for a directory that only this trace uses.
//
// A name such as "a@1" is one that begins with a and whose place, by its hash, is
// in subvolume 1. What is renamed to such a name stays where it was, and a linkto
// is left in 1.
type volumeTrace struct {
	name    string
	scene   string   // before anything else
	before  string   // by the client, not recorded
	command string   // recorded
	after   string   // not recorded
	on      []string // shapes
	// plain compares without write-behind and open-behind, which answer
	// applications before they do what these ask for.
	plain bool
	// delayed waits for what comes a second later.
	delayed bool
}

var (
	onAll  = []string{"replica2", "arbiter", "distribute3", "2x2"}
	onSets = []string{"replica2", "arbiter", "2x2"}
	onMany = []string{"distribute3", "2x2"}
	onDist = []string{"distribute3"}
)

var volumeTraces = []volumeTrace{
	{name: "lookup-hit", scene: "file ~/a@0", command: "stat ~/a@0", on: onAll},
	{name: "lookup-miss", command: "miss ~/a@0", on: onAll},
	{name: "lookup-linkto", scene: "file ~/x@0; mv ~/x@0 ~/a@1", command: "stat ~/a@1", on: onMany},
	{name: "lookup-dir", scene: "mkdir ~/d@0", command: "stat ~/d@0", on: onAll},
	{name: "create", command: "create ~/a@0", on: onAll},
	{name: "write-close", command: "write ~/a@0", on: onAll},
	{name: "write-large", command: "writelarge ~/a@0", on: onAll, plain: true},
	{name: "write-open", scene: "file ~/a@0", before: "open ~/a@0", command: "pwrite 0 17", after: "close", on: onSets, plain: true, delayed: true},
	{name: "write-again", scene: "file ~/a@0", before: "open ~/a@0; pwrite 0 17", command: "pwrite 100 17", after: "close", on: onSets, plain: true},
	{name: "fsync", scene: "file ~/a@0", before: "open ~/a@0; pwrite 0 17", command: "fsync", after: "close", on: onAll, plain: true},
	{name: "ftruncate", scene: "file ~/a@0", before: "open ~/a@0", command: "ftruncate 10", after: "close", on: onAll, plain: true},
	{name: "truncate", scene: "file ~/a@0", command: "truncate ~/a@0 10", on: onSets},
	{name: "read", scene: "file ~/a@0 200000", command: "read ~/a@0", on: onAll},
	{name: "chmod", scene: "file ~/a@0", command: "chmod ~/a@0 600", on: onAll},
	{name: "chmod-dir", scene: "mkdir ~/d@0", command: "chmod ~/d@0 700", on: onMany},
	{name: "setxattr", scene: "file ~/a@0", command: "setxattr ~/a@0 user.color red", on: onAll},
	{name: "setxattr-dir", scene: "mkdir ~/d@0", command: "setxattr ~/d@0 user.color red", on: onMany},
	{name: "setxattr-dir-trusted", scene: "mkdir ~/d@0", command: "setxattr ~/d@0 trusted.color red", on: onMany},
	{name: "mkdir", command: "mkdir ~/d@0", on: onAll},
	{name: "rmdir", scene: "mkdir ~/d@0", command: "rmdir ~/d@0", on: onAll},
	{name: "rmdir-stale-linkto", scene: "mkdir ~/d@0; file ~/d@0/x@0; mv ~/d@0/x@0 ~/d@0/y@1; lose ~/d@0/y@1", command: "rmdir ~/d@0", on: onDist},
	{name: "unlink", scene: "file ~/a@0", command: "unlink ~/a@0", on: onAll},
	{name: "unlink-linkto", scene: "file ~/x@0; mv ~/x@0 ~/a@1", command: "unlink ~/a@1", on: onMany},
	{name: "link", scene: "file ~/a@0", command: "link ~/a@0 ~/b@0", on: onAll},
	{name: "link-elsewhere", scene: "file ~/a@0", command: "link ~/a@0 ~/b@1", on: onMany},
	{name: "symlink", command: "symlink target ~/a@0", on: onAll},
	{name: "list", scene: "file ~/a@0; file ~/b@1; file ~/c@0; file ~/e@1; mkdir ~/d@0; mkdir ~/g@1", command: "list ~", on: onAll},
	{name: "rename-A", scene: "file ~/a@0", command: "rename ~/a@0 ~/b@0", on: onAll},
	{name: "rename-B", scene: "file ~/a@0", command: "rename ~/a@0 ~/b@1", on: onMany},
	{name: "rename-C", scene: "file ~/x@0; mv ~/x@0 ~/a@1", command: "rename ~/a@1 ~/b@2", on: onDist},
	{name: "rename-D", scene: "file ~/x@0; mv ~/x@0 ~/a@2", command: "rename ~/a@2 ~/b@0", on: onDist},
	{name: "rename-E", scene: "file ~/a@0; file ~/b@1", command: "rename ~/a@0 ~/b@1", on: onMany},
	{name: "rename-F", scene: "file ~/a@0; file ~/x@0; mv ~/x@0 ~/b@1", command: "rename ~/a@0 ~/b@1", on: onDist},
	{name: "rename-G", scene: "file ~/a@0; file ~/x@2; mv ~/x@2 ~/b@1", command: "rename ~/a@0 ~/b@1", on: onDist},
	{name: "rename-between", scene: "mkdir ~/p@0; mkdir ~/q@0; file ~/p@0/a@0", command: "rename ~/p@0/a@0 ~/q@0/b@0", on: onSets},
	{name: "rename-dir", scene: "mkdir ~/d@0", command: "rename ~/d@0 ~/e@1", on: onAll},
	{name: "rename-dir-onto", scene: "mkdir ~/d@0; mkdir ~/e@1", command: "rename ~/d@0 ~/e@1", on: onMany},
}

// holds are for how long the recorder keeps a reply in the first attempt and in
// those after it: longer than programs take to make their next call, and much
// less than the second after which they write what they delayed. On a busy
// machine calls that belong together come apart.
var holds = []time.Duration{8 * time.Millisecond, 25 * time.Millisecond, 80 * time.Millisecond, 240 * time.Millisecond}

// silence is how long a client that is done makes no calls.
const silence = 25 * time.Millisecond

// TestVolumeTraces compares the calls of our client and of the distribution's
// libgfapi, brick by brick and round by round: cold, in a directory that the
// client has not seen, and warm, after it has stat'ed something else there. The
// files have our calls on the left and the real library's on the right; a number
// before a call is the round that it belongs to, "-" says that nobody waits for
// it, and the numbers behind are subvolumes, as in recorder.where. Ours must be
// as the file says, and the application must not wait for more rounds than with
// the real library.
func TestVolumeTraces(t *testing.T) {
	testenv.Need(t, "gcc", "pkg-config")
	f := realFarm(t)
	volumes := map[string]*server{}
	for _, name := range onAll {
		volumes[name] = f.volume(t, shapeOf(t, name))
	}
	t.Run("on", func(t *testing.T) {
		for _, name := range onAll {
			t.Run(name, func(t *testing.T) {
				t.Parallel() // most of the time is waiting
				traceVolume(t, volumes[name])
			})
		}
	})
}

func traceVolume(t *testing.T, s *server) {
	g, sh := s.gluster, s.shape
	r := startRecorder(t, s)
	vf := r.volfile(t, g.Volfile(t, s.volume, "trusted-"+s.volume+".tcp-fuse.vol"))
	st := newStage(t, s)
	for _, who := range []string{"ours", "ourplain", "theirs", "plain"} {
		st.do(t, "mkdir "+who)
	}
	plain := passThrough(t, vf, "performance/write-behind", "performance/open-behind")
	clients := map[string]commander{"theirs": startTheirs(t, g, s.volume, vf), "plain": startTheirs(t, g, s.volume, plain)}
	for who, vf := range map[string]string{"ours": vf, "ourplain": plain} {
		if *traceSelf {
			clients[who] = startTheirs(t, g, s.volume, vf)
			continue
		}
		ours, err := gfapi.Mount(t.Context(), g.IP, s.volume, gfapi.WithDialer(g.DialContext), gfapi.WithVolfile(vf),
			gfapi.WithEntryTimeout(time.Hour)) // what is warm stays so on a slow machine
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Unmount()
		clients[who] = &commands{vol: ours}
	}
	for who, c := range clients {
		c.do(t, "stat /"+who)
	}
	r.take(t, silence)

	var sum [2]trip
	for _, tr := range volumeTraces {
		if !slices.Contains(tr.on, sh.name) || !strings.Contains(tr.name, *traceRuns) {
			continue
		}
		t.Run(tr.name, func(t *testing.T) {
			var text string
			states := []string{"cold", "warm"}
			if tr.before != "" {
				states = []string{"open"}
			}
			for attempt, hold := range holds {
				if *updateTraces && attempt == 0 {
					continue
				}
				r.hold(hold)
				var bad []string
				var trips [2]trip
				text = ""
				for _, state := range states {
					var pair [2]trip
					pairOf := []string{"ours", "theirs"}
					if tr.plain {
						pairOf = []string{"ourplain", "plain"}
					}
					for i, who := range pairOf {
						pair[i] = st.record(t, r, clients[who], tr, fmt.Sprintf("%s/%s-%s%d", who, tr.name, state, attempt), state == "warm")
						trips[i].rounds += pair[i].rounds
						trips[i].calls += pair[i].calls
					}
					if pair[0].rounds > pair[1].rounds {
						bad = append(bad, fmt.Sprintf("%s: an application waits for %d rounds of ours, and for %d of the real library", state, pair[0].rounds, pair[1].rounds))
					}
					text += sideBySide(state, pair[0], pair[1])
				}
				again := len(bad) > 0 || !*updateTraces && !sameAsGolden(sh.name+"-"+tr.name, text)
				if again && attempt < len(holds)-1 {
					continue
				}
				for i := range sum {
					sum[i].rounds += trips[i].rounds
					sum[i].calls += trips[i].calls
				}
				if len(bad) > 0 {
					t.Errorf("%s\n%s", strings.Join(bad, "\n"), text)
				}
				break
			}
			golden(t, "volumes/"+sh.name+"-"+tr.name, text)
		})
	}
	t.Logf("%s: ours %d rounds and %d calls, the real library %d rounds and %d calls", sh.name, sum[0].rounds, sum[0].calls, sum[1].rounds, sum[1].calls)
}

func sameAsGolden(name, text string) bool {
	b, err := os.ReadFile(filepath.Join("testdata", "traces", "volumes", name+".txt"))
	return err == nil && slices.Equal(column(string(b), 0), column(text, 0))
}

func sideBySide(state string, ours, theirs trip) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", state)
	for i := range max(len(ours.lines), len(theirs.lines)) {
		cell := func(lines []string) string {
			if i < len(lines) {
				return lines[i]
			}
			return ""
		}
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("  %-28s | %s", cell(ours.lines), cell(theirs.lines)), " "))
	}
	return b.String()
}

// commander does commands on a mounted volume.
type commander interface {
	do(t testing.TB, command string)
}

// stage sets scenes through a mount of the real client.
type stage struct {
	s     *server
	mnt   string
	names map[string]string // resolved, by token
}

func newStage(t testing.TB, s *server) *stage {
	return &stage{s: s, mnt: s.mount(t), names: map[string]string{}}
}

// record sets a scene, has a client do what a trace says in dir, and returns what
// that took.
func (st *stage) record(t testing.TB, r *recorder, c commander, tr volumeTrace, dir string, warm bool) trip {
	t.Helper()
	dir += "@0"
	script := func(text string, do func(testing.TB, string)) {
		for step := range strings.SplitSeq(text, ";") {
			if step = strings.TrimSpace(step); step != "" {
				do(t, strings.ReplaceAll(step, "~", dir))
			}
		}
	}
	onClient := func(t testing.TB, step string) { c.do(t, st.resolve(t, step)) }
	script("mkdir ~; file ~/other@0; "+tr.scene, st.do)
	if warm {
		script("stat ~/other@0", onClient)
	}
	script(tr.before, onClient)
	r.take(t, silence)
	script(tr.command, onClient)
	answered := time.Now()
	quiet := silence
	if tr.delayed {
		quiet = 1100 * time.Millisecond
	}
	calls := r.take(t, quiet)
	script(tr.after, onClient)
	r.take(t, silence)
	return r.trace(calls, answered)
}

// do does a step: mkdir P, file P [SIZE], mv P Q, or lose P, which takes a file
// away behind everyone's back.
func (st *stage) do(t testing.TB, step string) {
	t.Helper()
	words := strings.Fields(step)
	var paths []string
	for _, w := range words[1:] {
		paths = append(paths, filepath.Join(st.mnt, st.path(t, w)))
	}
	err := error(unix.EINVAL)
	switch words[0] {
	case "mkdir":
		err = os.Mkdir(paths[0], 0o755)
	case "file":
		size := 17
		if len(words) > 2 {
			size, _ = strconv.Atoi(words[2])
		}
		err = os.WriteFile(paths[0], make([]byte, size), 0o644)
	case "mv":
		err = os.Rename(paths[0], paths[1])
	case "lose":
		err = st.lose(st.path(t, words[1]))
	}
	if err != nil {
		t.Fatalf("%s: %v", step, err)
	}
}

// lose removes a file from the brick that has its contents, and not its linkto.
func (st *stage) lose(name string) error {
	for _, b := range st.s.bricks {
		p := filepath.Join(b, name)
		xattrs, err := allXattrs(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if xattrs[linktoXattr] == nil {
			return errors.Join(os.Remove(p), os.Remove(filepath.Join(b, handleName(gfidOf(xattrs)))))
		}
	}
	return fs.ErrNotExist
}

// resolve puts names in the place of tokens.
func (st *stage) resolve(t testing.TB, step string) string {
	t.Helper()
	words := strings.Fields(step)
	for i, w := range words[1:] {
		if strings.Contains(w, "/") {
			words[i+1] = "/" + st.path(t, w)
		}
	}
	return strings.Join(words, " ")
}

// path resolves tokens in a path, from the top.
func (st *stage) path(t testing.TB, tokens string) string {
	t.Helper()
	dir := ""
	for token := range strings.SplitSeq(strings.Trim(tokens, "/"), "/") {
		prefix, where, ok := strings.Cut(token, "@")
		if !ok {
			dir = path.Join(dir, token)
			continue
		}
		// A volume with fewer subvolumes has what is said to be in others in those
		// that it has.
		n, err := strconv.Atoi(where)
		if err != nil {
			t.Fatalf("%q: no number of a subvolume", token)
		}
		where = fmt.Sprint(n % (st.s.shape.bricks / st.s.shape.replica))
		key := dir + "/" + token
		for i := 0; st.names[key] == ""; i++ {
			name := fmt.Sprintf("%s%d", prefix, i)
			if st.placed(t, dir, name) == where {
				st.names[key] = name
			} else if i == 1000 {
				t.Fatalf("no name in %s that begins with %s belongs to subvolume %s", dir, prefix, where)
			}
		}
		dir = path.Join(dir, st.names[key])
	}
	return dir
}

// placed is the number of the subvolume that a name hashes to.
func (st *stage) placed(t testing.TB, dir, name string) string {
	t.Helper()
	if st.s.shape.bricks == st.s.shape.replica {
		return "0"
	}
	b := make([]byte, 256)
	n, err := unix.Getxattr(filepath.Join(st.mnt, dir), "dht.file.hashed-subvol."+name, b)
	if err != nil {
		t.Fatalf("hashed subvolume of %s in %s: %v", name, dir, err)
	}
	text := strings.TrimRight(string(b[:n]), "\x00")
	return text[strings.LastIndexByte(text, '-')+1:]
}

// commands does commands with our client.
type commands struct {
	vol  *gfapi.Volume
	file *gfapi.File
}

func (c *commands) do(t testing.TB, command string) {
	t.Helper()
	if err := c.run(strings.Fields(command)); err != nil {
		t.Fatalf("ours: %s: %v", command, err)
	}
}

func (c *commands) run(w []string) (err error) {
	arg := func(i int) string { return strings.TrimPrefix(w[i], "/") }
	num := func(i int) int64 { n, _ := strconv.ParseInt(w[i], 10, 64); return n }
	create := func(name string, size int) error {
		f, err := c.vol.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		if size > 0 {
			_, err = f.WriteAt(make([]byte, size), 0)
		}
		return errors.Join(err, f.Close())
	}
	switch w[0] {
	case "stat":
		_, err = c.vol.Stat(arg(1))
	case "miss":
		if _, err = c.vol.Stat(arg(1)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	case "create":
		err = create(arg(1), 0)
	case "write":
		err = create(arg(1), 17)
	case "writelarge":
		err = create(arg(1), 2<<20)
	case "read":
		err = openReadClose(c.vol, arg(1))
	case "list":
		f, err := c.vol.Open(arg(1))
		if err != nil {
			return err
		}
		_, err = f.Readdir(-1)
		return errors.Join(err, f.Close())
	case "mkdir":
		err = c.vol.Mkdir(arg(1), 0o755)
	case "rmdir":
		err = c.vol.Remove(arg(1) + "/") // a directory and nothing else
	case "unlink":
		err = c.vol.Remove(arg(1))
	case "rename":
		err = c.vol.Rename(arg(1), arg(2))
	case "link":
		err = c.vol.Link(arg(1), arg(2))
	case "symlink":
		err = c.vol.Symlink(w[1], arg(2))
	case "chmod":
		mode, _ := strconv.ParseUint(w[2], 8, 32)
		err = c.vol.Chmod(arg(1), fs.FileMode(mode))
	case "setxattr":
		err = c.vol.Setxattr(arg(1), w[2], []byte(w[3]), 0)
	case "truncate":
		err = c.vol.Truncate(arg(1), num(2))
	case "open":
		c.file, err = c.vol.OpenFile(arg(1), os.O_RDWR, 0)
	case "pwrite":
		_, err = c.file.WriteAt(make([]byte, num(2)), num(1))
	case "fsync":
		err = c.file.Sync()
	case "ftruncate":
		err = c.file.Truncate(num(1))
	case "close":
		err = c.file.Close()
	default:
		err = unix.ENOSYS
	}
	if err == io.EOF {
		err = nil
	}
	return err
}
