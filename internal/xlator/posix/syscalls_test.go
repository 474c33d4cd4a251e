//go:build linux

package posix

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
)

const envStraced = "WYTHE_STRACED"

// TestSyscalls compares the system calls of the most frequent fops with
// testdata/syscalls.txt: none may come to them unnoticed. It runs itself under
// strace(1).
func TestSyscalls(t *testing.T) {
	if os.Getenv(envStraced) != "" {
		straced(t)
		return
	}
	testenv.NeedRoot(t)
	testenv.Need(t, "strace")
	out := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", "-f", "-qq", "-o", out, os.Args[0], "-test.run=^TestSyscalls$")
	cmd.Env = append(os.Environ(), envStraced+"=1")
	if msg, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(msg), "ptrace") {
			testenv.Missing(t, "strace may not trace here: %s", msg)
		}
		t.Fatalf("%v\n%s", err, msg)
	}
	f, err := os.Open(out)
	ok(t, err)
	defer f.Close()
	call := regexp.MustCompile(`^\d+ +(\w+)\((.*)`)
	names := map[string]string{"syscall_0x1cf": "setxattr", "syscall_0x1d0": "getxattr", "syscall_0x1d1": "listxattr", "syscall_0x1d2": "removexattr",
		"setxattrat": "setxattr", "getxattrat": "getxattr", "listxattrat": "listxattr", "removexattrat": "removexattr",
		"lgetxattr": "getxattr", "lsetxattr": "setxattr", "fsetxattr": "setxattr", "fgetxattr": "getxattr", "newfstatat": "stat", "fstat": "stat"}
	ours := regexp.MustCompile(`^(setxattr|getxattr|listxattr|removexattr|stat|statx|openat|pread64|pwrite64|linkat|unlinkat|renameat|renameat2|mkdirat|symlinkat|mknodat|fchown|fchownat|fchmodat|getdents64|lseek|readlinkat|ftruncate)$`)
	var got strings.Builder
	on := false
	for s := bufio.NewScanner(f); s.Scan(); {
		m := call.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		if m[1] == "write" && strings.HasPrefix(m[2], "1000000, ") {
			what, _, _ := strings.Cut(m[2][len(`1000000, "`):], `"`)
			if on {
				got.WriteString("\n")
			}
			if on = what != "end"; on {
				fmt.Fprintf(&got, "%s:", what)
			}
			continue
		}
		name := m[1]
		if n := names[name]; n != "" {
			name = n
		}
		if on && ours.MatchString(name) {
			got.WriteString(" " + name)
		}
	}
	const golden = "testdata/syscalls.txt"
	if *update {
		ok(t, os.WriteFile(golden, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	ok(t, err)
	if got.String() != string(want) {
		t.Errorf("system calls changed (-update rewrites %s):\n%s", golden, got.String())
	}
}

func straced(t *testing.T) {
	r := newRig(t)
	mark := func(s string) { unix.Write(1000000, []byte(s)) }
	d := r.mkdir(fop.RootGFID, "dir")
	warm := r.create(d, "warm", "x")
	r.lookup(d, "warm")
	one, two := fop.GFID{0xaa, 0xaa, 15: 1}, fop.GFID{0xaa, 0xaa, 15: 2}
	must(r, &fop.Mkdir{Header: r.head(newFlags, gfidReq(fop.GFID{0xaa, 0xaa, 15: 3})), Parent: d, Name: "bucket", Mode: 0o755})
	mark("lookup")
	r.lookup(d, "warm")
	mark("lookup of nothing")
	call(r, &fop.Lookup{Parent: d, Name: "no"})
	mark("lookup with ten keys")
	r.lookup(d, "warm", key("trusted.afr.dirty"), key("trusted.afr.vol-client-0"), key(fop.KeyListXattr), key(fop.XattrMdata), key(fop.XattrDHT),
		key(fop.XattrACLAccess), key(fop.XattrACLDefault), key("security.capability"), key("security.ima"), key(fop.KeyInodelkCount))
	mark("stat")
	must(r, &fop.Stat{GFID: warm})
	mark("create")
	fd := &fop.Fd{}
	must(r, &fop.Create{Header: r.head(newFlags, gfidReq(one)), Parent: d, Name: "new", Mode: 0o644, Flags: fop.ORdwr | fop.OExcl, Fd: fd})
	mark("write")
	must(r, &fop.Write{Header: r.head(fop.TimeMtime | fop.TimeCtime), GFID: one, Fd: fd, Data: []byte("hello")})
	mark("read")
	must(r, &fop.Read{GFID: one, Fd: fd, Size: 4096})
	mark("release")
	must(r, &fop.Release{Fd: fd})
	mark("open")
	fd = &fop.Fd{}
	must(r, &fop.Open{GFID: one, Flags: fop.ORdonly, Fd: fd})
	must(r, &fop.Release{Fd: fd})
	mark("first read without open")
	must(r, &fop.Read{GFID: one, Size: 4096})
	mark("second read without open")
	must(r, &fop.Read{GFID: one, Size: 4096})
	mark("setattr of mode")
	must(r, &fop.Setattr{Header: r.head(fop.TimeCtime), GFID: one, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o600}})
	mark("rename")
	must(r, &fop.Rename{Header: r.head(rmFlags), OldParent: d, OldName: "new", NewParent: d, NewName: "newer"})
	mark("unlink")
	must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "newer"})
	mark("mkdir")
	must(r, &fop.Mkdir{Header: r.head(newFlags, gfidReq(two)), Parent: d, Name: "sub", Mode: 0o755})
	mark("rmdir")
	must(r, &fop.Rmdir{Header: r.head(rmFlags), Parent: d, Name: "sub"})
	mark("end")
}
