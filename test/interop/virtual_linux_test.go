package interop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/mounter"
	"github.com/wythefs/wythe/internal/testenv"
)

// roleClient is our glusterfs.
const roleClient = "client"

func init() {
	roles[roleClient] = func(args []string) error {
		os.Exit(mounter.ClientMain(args))
		return nil
	}
}

// mountOurs mounts a volume with our client and returns a directory for the test.
func (s *server) mountOurs(t testing.TB, args ...string) (dir string, p *testenv.Process) {
	t.Helper()
	return s.serveOurs(t, "ours-"+s.volume, append([]string{"--volfile-server=" + s.node.IP, "--volfile-id=/" + s.volume}, args...)...)
}

// mountOursPlain is mountPlain with our client.
func (s *server) mountOursPlain(t testing.TB) string {
	t.Helper()
	name := "plain-" + s.volume
	file := filepath.Join(s.node.Dir, name+".vol")
	if err := os.WriteFile(file, []byte(s.plainVolfile(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, _ := s.serveOurs(t, name, append([]string{"--volfile=" + file}, plainMount...)...)
	return dir
}

// serveOurs runs our glusterfs with these arguments until the end of the test.
func (s *server) serveOurs(t testing.TB, name string, args ...string) (dir string, p *testenv.Process) {
	t.Helper()
	dir = filepath.Join(s.node.Dir, "mnt", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--no-daemon", "--process-name", "fuse", "--log-file=" + filepath.Join("/var/log/glusterfs", name+".log")}, args...)
	p = startAgain(t, s.node, roleClient, append(args, dir)...)
	testenv.Wait(t, 20*time.Second, "our mount", func() bool {
		var st unix.Statfs_t
		err := unix.Statfs(s.node.Path(dir), &st)
		return err == nil && st.Type == unix.FUSE_SUPER_MAGIC
	})
	return s.node.Path(dir), p
}

// virtualNames are attributes that no brick stores, and some that it does not
// show.
var virtualNames = []string{
	"glusterfs.pathinfo", "trusted.glusterfs.pathinfo", "glusterfs.gfid", "glusterfs.gfid.string", "glusterfs.gfidtopath",
	"glusterfs.gfid2path", "glusterfs.ancestry.path", "glusterfs.get_real_filename:fileone", "glusterfs.get_real_filename:nosuch",
	"trusted.glusterfs.node-uuid", "trusted.glusterfs.list-node-uuids", "dht.file.hashed-subvol.FileOne", "trusted.glusterfs.dht",
	"trusted.glusterfs.dht.linkto", "trusted.afr.dirty", "trusted.gfid", "trusted.glusterfs.volume-id", "trusted.glusterfs.mdata",
	"replica.split-brain-status", "system.posix_acl_access", "security.capability", "security.selinux", "user.none", "glusterfs.open-fd-count",
	"trusted.glusterfs.subvol.status", "glusterfs.no.such.thing", "trusted.no.such.thing",
}

// notCompared are answers that are not the same, each with the reason.
var notCompared = map[string]string{
	"security.selinux": "10.3 says of each file that it has none, ours that the mount has none; so ls -l asks once",

	"glusterfs.gfidtopath of a file with two names":  "10.3 gives a value with rubbish at its end",
	"trusted.glusterfs.list-node-uuids of /":         "10.3 adds up what came twice",
	"trusted.glusterfs.list-node-uuids of dir":       "10.3 adds up what came twice",
	"trusted.glusterfs.node-uuid of /":               "10.3 gives only one of equal ones",
	"glusterfs.get_real_filename:fileone of dir/sym": "a brick of 10.3 says ENOENT or ENOTDIR, and its client may make ESTALE of it",
	"glusterfs.get_real_filename:nosuch of dir/sym":  "as with the other name",
}

func getxattr(path, name string) string {
	b := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, name, b)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b[:n])
}

var posixPart = regexp.MustCompile(`<POSIX\([^>]*>`)

// ordered brings what children said, in the order in which they answered, in an
// order.
func ordered(name, value string) string {
	if !strings.Contains(name, "pathinfo") {
		return value
	}
	var all []string
	rest := posixPart.ReplaceAllStringFunc(value, func(s string) string { all = append(all, s); return "" })
	words := append(strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(rest)), all...)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// TestVirtual asks both clients, on volumes of either kind of brick, for what is
// made up: attributes, .gfid and .meta.
func TestVirtual(t *testing.T) {
	f := ourFarm(t)
	for _, ours := range []bool{false, true} {
		f.use(t, ours)
		s := f.volume(t, shapeOf(t, "2x2"))
		t.Run(s.name, func(t *testing.T) {
			their := s.node.Mount(t, s.volume, "aux-gfid-mount")
			our, process := s.mountOurs(t, "--aux-gfid-mount")
			makeObjects(t, their)
			t.Run("xattrs", func(t *testing.T) { compareXattrs(t, their, our) })
			t.Run("gfid", func(t *testing.T) { compareGFIDAccess(t, their, our) })
			t.Run("meta", func(t *testing.T) { compareMeta(t, s, their, our) })
			t.Run("statedump", func(t *testing.T) { checkStatedump(t, s, process) })
		})
	}
}

func makeObjects(t *testing.T, dir string) {
	t.Helper()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "dir/sub"), 0o777), os.Chmod(filepath.Join(dir, "dir"), 0o777),
		os.WriteFile(filepath.Join(dir, "dir/FileOne"), []byte("hello"), 0o644), os.Symlink("FileOne", filepath.Join(dir, "dir/sym")),
		os.WriteFile(filepath.Join(dir, "two"), nil, 0o644), os.Link(filepath.Join(dir, "two"), filepath.Join(dir, "names")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compareXattrs(t *testing.T, their, our string) {
	for _, path := range []string{"", "dir", "dir/sub", "dir/FileOne", "dir/sym", "two"} {
		for _, name := range virtualNames {
			label := name + " of " + path
			switch path {
			case "":
				label = name + " of /"
			case "two":
				label = name + " of a file with two names"
			}
			if notCompared[name] != "" || notCompared[label] != "" || strings.HasSuffix(name, "node-uuid") && path != "dir/FileOne" || strings.HasSuffix(name, "list-node-uuids") && path != "dir/FileOne" {
				continue
			}
			a, b := getxattr(filepath.Join(their, path), name), getxattr(filepath.Join(our, path), name)
			if ordered(name, a) != ordered(name, b) {
				t.Errorf("%s:\n  real client %q\n  our client  %q", label, a, b)
			}
		}
	}
}

// errno is the word for an error.
func errno(err error) string {
	var e syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return unix.ErrnoName(e)
	}
	return err.Error()
}

// compareGFIDAccess works through .gfid.
func compareGFIDAccess(t *testing.T, their, our string) {
	do := func(root string) (log []string) {
		note := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
		gfids := filepath.Join(root, ".gfid")
		dir := filepath.Join(gfids, getxattr(filepath.Join(root, "dir"), "glusterfs.gfid.string"))
		file := filepath.Join(gfids, getxattr(filepath.Join(root, "dir/FileOne"), "glusterfs.gfid.string"))
		var st, real unix.Stat_t
		note("stat .gfid %v ino %d", errno(unix.Lstat(gfids, &st)), st.Ino)
		note("stat of the directory %s", errno(unix.Lstat(dir, &st)))
		unix.Lstat(filepath.Join(root, "dir"), &real)
		note("is another one: %v, same mode %v, same nlink %v", st.Ino != real.Ino, st.Mode == real.Mode, st.Nlink == real.Nlink)
		note("stat of the file %s", errno(unix.Lstat(file, &st)))
		unix.Lstat(filepath.Join(root, "dir/FileOne"), &real)
		note("is the same: %v", st.Ino == real.Ino)
		b, err := os.ReadFile(file)
		note("contents %q %s", b, errno(err))
		b, err = os.ReadFile(filepath.Join(dir, "FileOne"))
		note("contents by name %q %s", b, errno(err))
		for _, path := range []string{gfids, dir} {
			_, err = os.ReadDir(path)
			note("list %s", errno(err))
		}
		for _, name := range []string{"x", "00000000-0000-0000-0000-000000000001", "11111111-1111-4111-8111-111111111111"} {
			note("stat .gfid/%s %s", name, errno(unix.Lstat(filepath.Join(gfids, name), &st)))
		}
		note("mkdir in .gfid %s", errno(unix.Mkdir(filepath.Join(gfids, "q"), 0o755)))
		note("unlink %s", errno(unix.Unlink(file)))
		note("rmdir %s", errno(unix.Rmdir(dir)))
		note("rename away %s", errno(unix.Rename(file, filepath.Join(root, "a"))))
		note("link %s", errno(unix.Link(file, filepath.Join(dir, "hard"))))
		note("rename %s", errno(unix.Rename(filepath.Join(dir, "hard"), filepath.Join(dir, "hard2"))))
		note("unlink by name %s", errno(unix.Unlink(filepath.Join(dir, "hard2"))))
		note("setxattr %s", errno(unix.Setxattr(dir, "user.k", []byte("v"), 0)))
		note("getxattr %s", getxattr(dir, "user.k"))
		note("chmod %s", errno(unix.Chmod(dir, 0o777)))
		note("not below a directory: %s", errno(unix.Lstat(filepath.Join(root, "dir/.gfid"), &st)))
		return log
	}
	a, b := do(their), do(our)
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Errorf("real client %q, our client %q", a[min(i, len(a)-1)], b[min(i, len(b)-1)])
		}
	}
	names, err := os.ReadDir(our)
	for _, n := range names {
		if n.Name() == ".gfid" || n.Name() == ".meta" || err != nil {
			t.Errorf("the root lists %s (%v)", n.Name(), err)
		}
	}
}

// metaTree lists all paths below .meta/graphs/active and beside graphs.
func metaTree(t *testing.T, root string) (all map[string]fs.FileMode) {
	t.Helper()
	all = make(map[string]fs.FileMode)
	for _, top := range []string{".meta", ".meta/logging", ".meta/root", ".meta/graphs/active/"} {
		dir := filepath.Join(root, top) + "/"
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel := strings.TrimPrefix(path, root+"/")
			if top == ".meta" && strings.HasPrefix(rel, ".meta/graphs/") {
				return nil
			}
			all[rel] = d.Type()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// compareMeta walks .meta of both.
func compareMeta(t *testing.T, s *server, their, our string) {
	a, b := metaTree(t, their), metaTree(t, our)
	// What the graph adds while it runs is the business of each.
	grown := regexp.MustCompile(`/options/(client-version|clnt-lk-version|fops-version|opversion|process-name|process-uuid|volfile-checksum|volfile-key|volume-id|subdir-mount|auto-invalidation|invalidate-limit|lru-limit|negative-timeout|no-root-squash|sync-to-mount|mountpoint|noatime|meta-dir-name)$`)
	for path, typ := range a {
		if got, ok := b[path]; !grown.MatchString(path) && (!ok || got != typ) {
			t.Errorf("%s: %v in the real client's, there %v and %v in ours", path, typ, ok, got)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok && !grown.MatchString(path) {
			t.Errorf("%s is in ours only", path)
		}
	}
	read := func(root, path string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Errorf("read %s: %v", path, err)
		}
		return string(text)
	}
	for path, typ := range b {
		if typ.IsRegular() && (strings.HasSuffix(path, "/name") || strings.HasSuffix(path, "/type") || strings.HasSuffix(path, "version") && !strings.Contains(path, "/options/")) {
			if x, y := read(their, path), read(our, path); x != y {
				t.Errorf("%s: %q and %q", path, x, y)
			}
		}
		if typ&fs.ModeSymlink != 0 && !strings.HasSuffix(path, "logfile") && !strings.HasSuffix(path, "active") {
			x, _ := os.Readlink(filepath.Join(their, path))
			if y, err := os.Readlink(filepath.Join(our, path)); x != y {
				t.Errorf("%s -> %q and %q (%v)", path, x, y, err)
			}
		}
	}
	// The private state: the section, and the keys that scripts look for.
	for volume, keys := range map[string][]string{
		s.volume + "-client-0":    {"connected = 1", "ping_timeout = ", "msgs_sent = ", "total_bytes_read = "},
		s.volume + "-replicate-1": {"child_count = 2", "child_up[0] = 1", "child_up[1] = 1", "quorum-type = none", "pending_key[0] = trusted.afr." + s.volume + "-client-2", "up = 1"},
		s.volume + "-dht":         {"subvol_cnt = 2", "subvolume_status[0] = 1", "subvolume_status[1] = 1", "search_unhashed = 1"},
	} {
		path := ".meta/graphs/active/" + volume + "/private"
		x, y := read(their, path), read(our, path)
		first := func(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }
		if first(x) != first(y) {
			t.Errorf("%s begins with %q and %q", path, first(x), first(y))
		}
		for _, key := range keys {
			if !strings.Contains(x, key) || !strings.Contains(y, key) {
				t.Errorf("%s: %q is there %v and %v", path, key, strings.Contains(x, key), strings.Contains(y, key))
			}
		}
	}
	level := filepath.Join(our, ".meta/logging/loglevel")
	if err := os.WriteFile(level, []byte("8\n"), 0o644); err != nil {
		t.Errorf("loglevel: %v", err)
	}
	if got := read(our, ".meta/logging/loglevel"); got != "8\n" {
		t.Errorf("loglevel is %q after 8", got)
	}
	if err := os.WriteFile(filepath.Join(our, ".meta/version"), []byte("x"), 0o644); err == nil {
		t.Error("version was written")
	}
}

// checkStatedump asks our client for a statedump.
func checkStatedump(t *testing.T, s *server, p *testenv.Process) {
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	var text []byte
	testenv.Wait(t, 10*time.Second, "a statedump", func() bool {
		all, _ := filepath.Glob(filepath.Join(s.node.Dir, "run/gluster/glusterdump.*.dump.*"))
		for _, name := range all {
			if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), "DUMP-END-TIME: ") && strings.Contains(string(b), s.volume+"-client-0") {
				text = b
			}
		}
		return text != nil
	})
	for _, want := range []string{"DUMP-START-TIME: ", "\n[mallinfo]\nmallinfo_arena=", "\n[global.callpool]\ncallpool.cnt=", "\n[xlator.mount.fuse.priv]\n",
		"\n[active graph - 1]\n", "\n[xlator.protocol.client." + s.volume + "-client-0.priv]\nconnected=1\n", "\n[cluster/replicate." + s.volume + "-replicate-0]\nchild_count=2\n",
		"\n[xlator.cluster.dht." + s.volume + "-dht.priv]\nsubvol_cnt=2\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in the statedump:\n%.2000s", want, text)
		}
	}
}
