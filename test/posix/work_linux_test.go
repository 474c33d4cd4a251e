package posix

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

var long = flag.Bool("long", false, "workloads in full: the whole module, 200000 files, ten rounds")

func itoa(n int) string { return strconv.Itoa(n) }

// in runs a shell script in the Node, with $DIR the mount.
func (l *lab) in(t testing.TB, limit time.Duration, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := l.node.Run(ctx, "env", append(env, "sh", "-euc", script)...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

// module is the root of this module.
func module(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	t.Fatalf("no go.mod above the tests: %v", err)
	return ""
}

// repository makes a git repository of some of this module's sources, which is
// what the workloads work on.
func repository(t testing.TB) string {
	t.Helper()
	testenv.Need(t, "git", "tar")
	dir := t.TempDir()
	what := "internal/fop internal/xdr internal/rpc internal/volfile internal/inodes go.mod go.sum LICENSE"
	if *long {
		what = "."
	}
	script := fmt.Sprintf(`cd %s && tar cf - --exclude=.git --exclude=./bin --exclude=./build %s | tar xf - -C %s
		cd %s && git init -q . && git add . && git -c user.name=t -c user.email=t@example.com commit -qm one`, module(t), what, dir, dir)
	if out, err := exec.Command("sh", "-euc", script).CombinedOutput(); err != nil {
		t.Fatalf("make a repository: %v\n%s", err, out)
	}
	return dir
}

// sums are the digests of all files below dir, by name, and the texts of links.
func sums(t testing.TB, dir string, skip ...string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		for _, s := range skip {
			if d.IsDir() && rel == s {
				return filepath.SkipDir
			}
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			m[rel], err = os.Readlink(path)
		case d.Type().IsRegular():
			var b []byte
			b, err = os.ReadFile(path)
			sum := sha256.Sum256(b)
			m[rel] = hex.EncodeToString(sum[:])
		default:
			m[rel] = d.Type().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// same checks that two trees are alike.
func same(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if g, ok := got[name]; !ok {
			t.Errorf("%s: %s is missing", what, name)
		} else if g != w {
			t.Errorf("%s: %s differs", what, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s should not be there", what, name)
		}
	}
}

// What people do: git, go build, tar, dbench, SQLite.
func TestWorkloads(t *testing.T) {
	repo := repository(t)
	want := sums(t, repo, ".git")
	for _, s := range shapes {
		if s.name == "replica" && !*long {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			l := ourVolume(t, s, 2048)
			dir := l.mount(t)
			workloads(t, l, dir, repo, want)
		})
	}
}

func workloads(t *testing.T, l *lab, dir, repo string, want map[string]string) {
	env := []string{"DIR=" + dir, "REPO=" + repo, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
	t.Run("git", func(t *testing.T) {
		l.in(t, 3*time.Minute, `cd $DIR
			pids=
			for i in 1 2 3; do git clone -q --no-hardlinks $REPO clone$i & pids="$pids $!"; done
			for p in $pids; do wait $p; done
			for i in 1 2 3; do git -C clone$i fsck --strict >/dev/null; test -z "$(git -C clone$i status --porcelain)"; done`, env...)
		for i := 1; i <= 3; i++ {
			same(t, "a clone", sums(t, l.node.Path(dir+"/clone"+itoa(i)), ".git"), want)
		}
	})
	t.Run("tar", func(t *testing.T) {
		l.in(t, 2*time.Minute, `mkdir $DIR/tar; cd $REPO; tar cf $DIR/tree.tar --exclude=.git .; cd $DIR/tar; tar xf ../tree.tar
			tar df ../tree.tar; tar cf ../again.tar .; mkdir ../third; cd ../third; tar xf ../again.tar`, env...)
		same(t, "out of a tar of a tar", sums(t, l.node.Path(dir+"/third")), want)
	})
	t.Run("go build", func(t *testing.T) {
		testenv.Need(t, "go")
		pkg, mod := "./internal/volfile", "-mod=mod" // parts of the module need less than go.mod says
		if *long {
			pkg, mod = "./...", "-mod=readonly"
		}
		l.in(t, 10*time.Minute, `export GOFLAGS=`+mod+` GOPROXY=off HOME=/root PATH=$PATH:/usr/local/go/bin:`+goDir()+`
			cd $DIR/clone1; go build `+pkg+`; go vet ./internal/volfile; test -z "$(git status --porcelain)"`, env...)
	})
	t.Run("dbench", func(t *testing.T) {
		testenv.Need(t, "dbench")
		seconds := "5"
		if *long {
			seconds = "60"
		}
		out := l.in(t, 3*time.Minute, `mkdir $DIR/dbench; dbench -D $DIR/dbench -t `+seconds+` 4 2>&1; rm -r $DIR/dbench/clients; rmdir $DIR/dbench`, env...)
		if !strings.Contains(out, "Throughput") || strings.Contains(strings.ReplaceAll(out, "failed to create barrier semaphore", ""), "failed") {
			t.Errorf("dbench says\n%s", out)
		}
	})
	t.Run("sqlite", func(t *testing.T) {
		testenv.Need(t, "python3")
		rounds := "60"
		if *long {
			rounds = "2000"
		}
		out := l.in(t, 5*time.Minute, `cat >$DIR/work.py <<'E'
`+sqliteWork+`
E
			python3 $DIR/work.py $DIR/db init
			python3 $DIR/work.py $DIR/db a `+rounds+` & A=$!
			python3 $DIR/work.py $DIR/db b `+rounds+` & B=$!
			wait $A; wait $B
			python3 $DIR/work.py $DIR/db check `+rounds, env...)
		if strings.TrimSpace(out) != "good" {
			t.Errorf("SQLite says %s", out)
		}
	})
}

// goDir is where the go program is that runs this test.
func goDir() string {
	p, err := exec.LookPath("go")
	if err != nil {
		return "/usr/local/bin"
	}
	return filepath.Dir(p)
}

// Two processes transfer between accounts in one database in WAL mode, and each
// adds to a counter of its own.
const sqliteWork = `import sqlite3, sys, random
path, role = sys.argv[1], sys.argv[2]
db = sqlite3.connect(path, timeout=60, isolation_level=None)
mode = db.execute("pragma journal_mode=wal").fetchone()[0]
assert mode == "wal", mode
if role == "init":
    db.execute("create table account(id integer primary key, n integer)")
    db.execute("create table log(who text, i integer, pad blob)")
    db.executemany("insert into account values(?, 1000)", [(i,) for i in range(50)])
elif role == "check":
    n = int(sys.argv[3])
    assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
    assert db.execute("select sum(n) from account").fetchone()[0] == 50000
    for who in "ab":
        rows = [r[0] for r in db.execute("select i from log where who=? order by rowid", (who,))]
        assert rows == list(range(n)), (who, len(rows))
    db.execute("pragma wal_checkpoint(truncate)")
    print("good")
else:
    r = random.Random(role)
    for i in range(int(sys.argv[3])):
        a, b, k = r.randrange(50), r.randrange(50), r.randrange(100)
        db.execute("begin immediate")
        db.execute("update account set n=n-? where id=?", (k, a))
        db.execute("update account set n=n+? where id=?", (k, b))
        db.execute("insert into log values(?,?,?)", (role, i, bytes(r.randrange(3000))))
        db.execute("commit")
        assert db.execute("select sum(n) from account").fetchone()[0] == 50000`

// A brick is killed and comes back, then the server of volfiles: no error
// reaches who works on the mount, and nothing differs.
func TestServersGoAway(t *testing.T) {
	ops := 3 * *fsxOps
	t.Run("our bricks", func(t *testing.T) {
		l := &lab{node: testenv.Namespace(t), shape: shapes[2], ours: true, dir: testenv.LoopFS(t, "xfs", 512)}
		tell := l.startCluster(t)
		dir := l.mount(t)
		done := l.working(t, dir, ops)
		for i := range 2 {
			time.Sleep(500 * time.Millisecond)
			tell("stop", 2*i)
			time.Sleep(500 * time.Millisecond)
			tell("start", 2*i)
			time.Sleep(time.Second)
		}
		done()
	})
	t.Run("GlusterFS bricks", func(t *testing.T) {
		l := realVolume(t, shapes[2], 512)
		dir := l.mount(t)
		done := l.working(t, dir, ops)
		for i := range 2 {
			time.Sleep(500 * time.Millisecond)
			l.real.KillBrick(t, "data", l.brick(2*i))
			time.Sleep(500 * time.Millisecond)
			l.real.MustCLI(t, "volume", "start", "data", "force")
			l.real.WaitOnline(t, "data")
		}
		l.real.Daemon.Kill()
		<-l.real.Daemon.Done()
		time.Sleep(500 * time.Millisecond)
		l.real.StartDaemon(t)
		done()
	})
}

// working starts fsx on two files; the returned function waits for both.
func (l *lab) working(t *testing.T, dir string, ops int) func() {
	var wg sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		wg.Go(func() { l.fsx(t, name, ops, []string{dir}) })
	}
	return wg.Wait
}

// memoryBound is what a client may take with everything forgotten that need not
// be kept.
const memoryBound = 200 << 20

// The memory of a client does not grow with what has come and gone.
func TestMemory(t *testing.T) {
	files, rounds := 2000, 3
	if *long {
		files, rounds = 200000, 10
	}
	l := ourVolume(t, shapes[0], 1024)
	dir := l.mount(t)
	pid := l.clientPid(t, dir)
	script := filepath.Join(t.TempDir(), "churn.py")
	if err := os.WriteFile(script, []byte(churn), 0o644); err != nil {
		t.Fatal(err)
	}
	var after []int
	for range rounds {
		l.in(t, 30*time.Minute, `python3 $SCRIPT $DIR/many `+itoa(files), "DIR="+dir, "SCRIPT="+script)
		after = append(after, residentBytes(t, pid))
	}
	t.Logf("resident after each round of %d files: %d MiB", files, mib(after))
	for i, n := range after {
		if n > memoryBound {
			t.Errorf("after round %d the client has %d MiB, want at most %d", i+1, n>>20, memoryBound>>20)
		}
	}
	first, last := after[min(1, len(after)-1)], after[len(after)-1]
	if last > first+first/4+16<<20 {
		t.Errorf("the client grows: %d MiB", mib(after))
	}
}

// churn makes files, lists, reads, stats and removes them.
const churn = `import os, sys
d, n = sys.argv[1], int(sys.argv[2])
os.mkdir(d)
for i in range(n):
    with open(f"{d}/f{i}", "wb") as f:
        f.write(b"%d" % i)
assert len(os.listdir(d)) == n
for i in range(n):
    with open(f"{d}/f{i}", "rb") as f:
        assert f.read() == b"%d" % i
for e in list(os.scandir(d)):
    os.stat(e.path)
    os.unlink(e.path)
os.rmdir(d)
`

func mib(n []int) (out []int) {
	for _, b := range n {
		out = append(out, b>>20)
	}
	return out
}

func residentBytes(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "VmRSS:")
	var kb int
	if _, err := fmt.Sscan(rest, &kb); !ok || err != nil {
		t.Fatalf("no VmRSS of process %d", pid)
	}
	return kb << 10
}
