package posix

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what a file system is not asked for.
type Options struct {
	// Skip names chapters, or parts of them as chapter/part, that are left out.
	Skip []string
}

// chapters are the parts of the suite. They know nothing of each other.
var chapters = []struct {
	name string
	f    func(*env)
}{
	{"paths", pathRules},
	{"chmod", chmodRules},
	{"chown", chownRules},
	{"create", createRules},
	{"open", openRules},
	{"permissions", permissionRules},
	{"truncate", truncateRules},
	{"fallocate", fallocateRules},
	{"link", linkRules},
	{"rename", renameRules},
	{"remove", removeRules},
	{"sticky", stickyRules},
	{"utimens", utimensRules},
	{"data", dataRules},
	{"unlinked", unlinkedRules},
	{"mmap", mmapRules},
	{"xattr", xattrRules},
	{"acl", aclRules},
	{"locks", lockRules},
	{"readdir", readdirRules},
	{"statfs", statfsRules},
}

// Run checks the file system that dir is on. It works in a directory that it
// makes in dir, and removes it. It needs root, because it acts as other users.
// It returns the number of single checks.
func Run(t *testing.T, dir string, o Options) int64 {
	if os.Getuid() != 0 {
		t.Fatal("posix: the suite acts as several users, so it must be run by root")
	}
	if other := len(dir) > 0 && dir[0] != '/'; other || dir == "" {
		t.Fatalf("posix: %q: give the directory as an absolute path", dir)
	}
	base, err := os.MkdirTemp(dir, "posix-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(base); err != nil {
			t.Errorf("what the suite made does not go away: %v", err)
		}
	}()
	var checks atomic.Int64
	t.Run("suite", func(t *testing.T) {
		for _, c := range chapters {
			if slices.Contains(o.Skip, c.name) {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				e := &env{T: t, name: c.name, dir: filepath.Join(base, c.name), checks: &checks, skip: o.Skip}
				e.enter()
				c.f(e)
			})
		}
	})
	return checks.Load()
}

// env is what a chapter works with: a test, and a thread whose working directory
// is a directory of the test's own.
type env struct {
	*testing.T
	name   string
	dir    string
	checks *atomic.Int64
	skip   []string
	user   string // as whom the thread acts, for messages
	serial int
}

// enter makes the calling goroutine's thread the env's own. The thread ends
// with the goroutine.
func (e *env) enter() {
	e.Helper()
	if err := ownThread(e.dir); err != nil {
		e.Fatalf("posix: a thread in a new directory: %v", err)
	}
}

// ownThread makes the calling goroutine's thread one with its own working
// directory, a new one, and umask, which no signal reaches.
func ownThread(dir string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	// The runtime's signals would interrupt calls on a FUSE mount.
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	for _, s := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT} {
		all.Val[(s-1)/64] &^= 1 << ((s - 1) % 64)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil); err != nil {
		return err
	}
	unix.Umask(0)
	if err := unix.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return unix.Chdir(dir)
}

// part runs f as a subtest in a directory of its own.
func (e *env) part(name string, f func(e *env)) {
	e.Helper()
	full := e.name + "/" + name
	if slices.Contains(e.skip, full) {
		return
	}
	e.Run(name, func(t *testing.T) {
		sub := &env{T: t, name: full, dir: filepath.Join(e.dir, "part-"+name), checks: e.checks, skip: e.skip}
		sub.enter()
		f(sub)
	})
}

// parallel is part, beside the other parallel parts.
func (e *env) parallel(name string, f func(e *env)) {
	e.Helper()
	full := e.name + "/" + name
	if slices.Contains(e.skip, full) {
		return
	}
	e.Run(name, func(t *testing.T) {
		t.Parallel()
		sub := &env{T: t, name: full, dir: filepath.Join(e.dir, "part-"+name), checks: e.checks, skip: e.skip}
		sub.enter()
		f(sub)
	})
}

// want checks the outcome of a call: errno 0 is success.
func (e *env) want(want unix.Errno, err error, format string, args ...any) bool {
	e.Helper()
	return e.wantAny([]unix.Errno{want}, err, format, args...)
}

// wantAny is want where several outcomes are right.
func (e *env) wantAny(want []unix.Errno, err error, format string, args ...any) bool {
	e.Helper()
	e.checks.Add(1)
	got := unix.Errno(0)
	if err != nil && !errors.As(err, &got) {
		e.Errorf("%s%s: %v, which is no errno", fmt.Sprintf(format, args...), e.user, err)
		return false
	}
	if slices.Contains(want, got) {
		return true
	}
	names := make([]string, len(want))
	for i, w := range want {
		names[i] = errnoName(w)
	}
	e.Errorf("%s%s: %s, want %s", fmt.Sprintf(format, args...), e.user, errnoName(got), strings.Join(names, " or "))
	return false
}

// is checks that something holds.
func (e *env) is(ok bool, format string, args ...any) bool {
	e.Helper()
	e.checks.Add(1)
	if !ok {
		e.Errorf("%s%s", fmt.Sprintf(format, args...), e.user)
	}
	return ok
}

// must ends the chapter when the ground for the checks cannot be laid.
func (e *env) must(err error, what string, args ...any) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", fmt.Sprintf(what, args...), err)
	}
}

func errnoName(err unix.Errno) string {
	if err == 0 {
		return "success"
	}
	if name := unix.ErrnoName(err); name != "" {
		return name
	}
	return err.Error()
}

// user is a caller: effective user, group and supplementary groups.
type user struct {
	uid, gid int
	groups   []int
}

var (
	root  = user{}
	owner = user{uid: 65501, gid: 65511}
	peer  = user{uid: 65502, gid: 65511} // another user of the same group
	other = user{uid: 65503, gid: 65513}
	extra = user{uid: 65504, gid: 65514, groups: []int{65599, 65511}} // in owner's group by the list
)

// as runs f as another user: only this thread changes, by bare system calls,
// and keeps the right to come back.
func (e *env) as(u user, f func()) {
	e.Helper()
	old := e.user
	e.must(becomes(u), "become user %d", u.uid)
	e.user = fmt.Sprintf(" (as uid %d gid %d groups %v)", u.uid, u.gid, u.groups)
	defer func() {
		e.user = old
		e.must(becomes(root), "become root again")
	}()
	f()
}

func becomes(u user) error {
	const keep = ^uintptr(0)
	// As root first, who may set the rest.
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); err != 0 {
		return err
	}
	groups := make([]uint32, len(u.groups)+1)
	for i, g := range u.groups {
		groups[i] = uint32(g)
	}
	if err := setGroups(groups[:len(u.groups)]); err != nil {
		return err
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(u.gid), keep); err != 0 {
		return err
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(u.uid), keep); err != 0 {
		return err
	}
	return nil
}

// A kind of file.
type kind string

const (
	regular   kind = "regular"
	directory kind = "directory"
	symlink   kind = "symlink"
	fifo      kind = "fifo"
	socket    kind = "socket"
	block     kind = "block"
	char      kind = "char"
)

var (
	allKinds = []kind{regular, directory, symlink, fifo, socket, block, char}
	// Those that chmod and the like act on by themselves.
	realKinds = []kind{regular, directory, fifo, socket, block, char}
	// What is no directory and no symbolic link.
	leafKinds = []kind{regular, fifo, socket, block, char}
)

func (k kind) bits() uint32 {
	return map[kind]uint32{regular: unix.S_IFREG, directory: unix.S_IFDIR, symlink: unix.S_IFLNK,
		fifo: unix.S_IFIFO, socket: unix.S_IFSOCK, block: unix.S_IFBLK, char: unix.S_IFCHR}[k]
}

var device = int(unix.Mkdev(1, 3)) // /dev/null's number; nobody opens the block device

// make creates a file of the kind; a symbolic link points to "target".
func (e *env) make(k kind, name string, mode uint32) {
	e.Helper()
	e.must(makeKind(k, name, mode), "make %s %s", k, short(name))
}

func makeKind(k kind, name string, mode uint32) error {
	switch k {
	case regular:
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, mode)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	case directory:
		return unix.Mkdir(name, mode)
	case symlink:
		return unix.Symlink("target", name)
	case block, char:
		return unix.Mknod(name, k.bits()|mode, device)
	default:
		return unix.Mknod(name, k.bits()|mode, 0)
	}
}

// remove takes a file or an empty directory away.
func (e *env) remove(name string) {
	e.Helper()
	err := unix.Unlink(name)
	if err == unix.EISDIR || err == unix.EPERM {
		err = unix.Rmdir(name)
	}
	e.must(err, "remove %s", short(name))
}

// file makes a regular file with this content.
func (e *env) file(name string, mode uint32, content string) {
	e.Helper()
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, mode)
	e.must(err, "create %s", short(name))
	if content != "" {
		_, err = unix.Write(fd, []byte(content))
		e.must(err, "write %s", short(name))
	}
	e.must(unix.Close(fd), "close %s", short(name))
}

// give makes name u's.
func (e *env) give(name string, u user) {
	e.Helper()
	e.must(unix.Lchown(name, u.uid, u.gid), "chown %s", short(name))
}

// owned makes a file of the kind that is u's.
func (e *env) owned(k kind, name string, mode uint32, u user) {
	e.Helper()
	e.make(k, name, mode)
	e.give(name, u)
}

// mode sets the mode.
func (e *env) mode(name string, mode uint32) {
	e.Helper()
	e.must(unix.Chmod(name, mode), "chmod %s", short(name))
}

// fresh is a name that the chapter has not used yet.
func (e *env) fresh() string {
	e.serial++
	return fmt.Sprintf("n%d", e.serial)
}

// stat is lstat, which must work.
func (e *env) stat(name string) unix.Stat_t {
	e.Helper()
	var st unix.Stat_t
	e.must(unix.Lstat(name, &st), "lstat %s", short(name))
	return st
}

// gone checks that there is no such name.
func (e *env) gone(name string) {
	e.Helper()
	var st unix.Stat_t
	e.want(unix.ENOENT, unix.Lstat(name, &st), "lstat %s, which is gone", short(name))
}

// hasMode checks the twelve permission bits.
func (e *env) hasMode(name string, want uint32) {
	e.Helper()
	got := e.stat(name).Mode & 0o7777
	e.is(got == want, "%s has mode %04o, want %04o", short(name), got, want)
}

// open opens a file, which must work, until the chapter ends.
func (e *env) open(name string, flags int) int {
	e.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o644)
	e.must(err, "open %s", short(name))
	e.Cleanup(func() { unix.Close(fd) })
	return fd
}

// read returns what a file has.
func (e *env) read(name string) string {
	e.Helper()
	b, err := os.ReadFile(filepath.Join(e.dir, name))
	e.must(err, "read %s", short(name))
	return string(b)
}

// tick waits until the clock of any file system has moved on.
func tick() { time.Sleep(12 * time.Millisecond) }

func stamp(t unix.Timespec) time.Time { return time.Unix(t.Unix()) }

// times checks which times of which files f moves: for each name the letters of
// the times that move, of "amc". Access times are only looked at where they must
// move. A name that is gone afterwards is not looked at.
func (e *env) times(what string, files map[string]string, f func()) {
	e.Helper()
	before := map[string]unix.Stat_t{}
	for name := range files {
		before[name] = e.stat(name)
	}
	tick()
	f()
	for name, moves := range files {
		var after unix.Stat_t
		if unix.Lstat(name, &after) != nil {
			e.is(false, "%s: %s is gone", what, short(name))
			continue
		}
		b := before[name]
		for _, c := range []struct {
			letter string
			was    unix.Timespec
			now    unix.Timespec
		}{{"a", b.Atim, after.Atim}, {"m", b.Mtim, after.Mtim}, {"c", b.Ctim, after.Ctim}} {
			moved := stamp(c.now).After(stamp(c.was))
			want := strings.Contains(moves, c.letter)
			if c.letter == "a" && !want {
				continue
			}
			e.is(moved == want, "%s: %stime of %s moved: %v, want %v (%v, then %v)", what, c.letter, short(name), moved, want,
				stamp(c.was).Format("05.000000000"), stamp(c.now).Format("05.000000000"))
		}
	}
}

// short shortens long names in messages.
func short(name string) string {
	if len(name) <= 60 {
		return name
	}
	return fmt.Sprintf("%s…%s (%d bytes)", name[:20], name[len(name)-10:], len(name))
}
