package posix

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ofUser is what listxattr gives that a user may have put there.
func (e *env) xattrs(name string) []string {
	e.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, buf)
	e.want(0, err, "listxattr")
	var names []string
	for s := range strings.SplitSeq(string(buf[:max(n, 0)]), "\x00") {
		if strings.HasPrefix(s, "user.") || strings.HasPrefix(s, "trusted.suite") || s == "security.suite" {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	return names
}

func (e *env) xattr(name, key string) string {
	e.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(name, key, buf)
	e.want(0, err, "getxattr %s of %s", short(key), name)
	return string(buf[:max(n, 0)])
}

func xattrRules(e *env) {
	e.part("values", func(e *env) {
		for _, k := range []kind{regular, directory} {
			e.make(k, string(k), 0o644)
			for _, value := range [][]byte{{}, {0}, []byte("text"), []byte("with\x00zero\x00"), fill(255, 1), fill(1000, 2), fill(2000, 3)} {
				key := fmt.Sprintf("user.k%d", len(value))
				e.want(0, unix.Setxattr(string(k), key, value, 0), "setxattr of %d bytes on a %s", len(value), k)
				e.is(e.xattr(string(k), key) == string(value), "%s has another value of %d bytes", key, len(value))
				n, err := unix.Getxattr(string(k), key, nil)
				e.want(0, err, "getxattr for the size")
				e.is(n == len(value), "getxattr says %d bytes, want %d", n, len(value))
				if len(value) > 1 {
					_, err = unix.Getxattr(string(k), key, make([]byte, len(value)-1))
					e.want(unix.ERANGE, err, "getxattr with too little room")
				}
				e.want(0, unix.Removexattr(string(k), key), "removexattr")
				_, err = unix.Getxattr(string(k), key, make([]byte, 10))
				e.want(unix.ENODATA, err, "getxattr of what was removed")
				e.want(unix.ENODATA, unix.Removexattr(string(k), key), "removexattr of what was removed")
			}
		}
	})
	e.part("flags", func(e *env) {
		e.make(regular, "f", 0o644)
		e.want(unix.ENODATA, unix.Setxattr("f", "user.x", []byte("1"), unix.XATTR_REPLACE), "replace of what is not there")
		e.want(0, unix.Setxattr("f", "user.x", []byte("1"), unix.XATTR_CREATE), "create")
		e.want(unix.EEXIST, unix.Setxattr("f", "user.x", []byte("2"), unix.XATTR_CREATE), "create of what is there")
		e.is(e.xattr("f", "user.x") == "1", "a refused create changed it")
		e.want(0, unix.Setxattr("f", "user.x", []byte("22"), unix.XATTR_REPLACE), "replace")
		e.is(e.xattr("f", "user.x") == "22", "replace left %q", e.xattr("f", "user.x"))
		e.want(0, unix.Setxattr("f", "user.x", []byte("333"), 0), "set")
		e.is(e.xattr("f", "user.x") == "333", "set left %q", e.xattr("f", "user.x"))
		e.want(unix.EINVAL, unix.Setxattr("f", "user.x", []byte("1"), 77), "unknown flags")
	})
	e.part("names", func(e *env) {
		e.make(regular, "f", 0o644)
		long := "user." + strings.Repeat("n", 250)
		e.want(0, unix.Setxattr("f", long, []byte("v"), 0), "setxattr with a name of %d bytes", len(long))
		e.is(e.xattr("f", long) == "v", "it has another value")
		e.want(unix.ERANGE, unix.Setxattr("f", long+"n", []byte("v"), 0), "setxattr with a name of %d bytes", len(long)+1)
		e.want(unix.ERANGE, unix.Setxattr("f", "", []byte("v"), 0), "setxattr with an empty name")
		e.want(unix.EOPNOTSUPP, unix.Setxattr("f", "none.x", []byte("v"), 0), "setxattr in a space that there is not")
		e.want(unix.EOPNOTSUPP, unix.Setxattr("f", "plain", []byte("v"), 0), "setxattr without a space")
		for _, name := range []string{"user.b", "user.a", "user.ü", "user.with space", "trusted.suite", "security.suite"} {
			e.want(0, unix.Setxattr("f", name, []byte(name), 0), "setxattr %s", name)
		}
		want := []string{"security.suite", "trusted.suite", "user.a", "user.b", long, "user.with space", "user.ü"}
		got := e.xattrs("f")
		e.is(slices.Equal(got, want), "listed are %q, want %q", got, want)
		for _, name := range want {
			if name != long {
				e.is(e.xattr("f", name) == name, "%s has %q", name, e.xattr("f", name))
			}
		}
		size, err := unix.Listxattr("f", nil)
		e.want(0, err, "listxattr for the size")
		n, err := unix.Listxattr("f", make([]byte, size))
		e.want(0, err, "listxattr with room for all")
		e.is(n <= size && n > 300, "listxattr gives %d bytes, said %d", n, size)
		_, err = unix.Listxattr("f", make([]byte, 5))
		e.want(unix.ERANGE, err, "listxattr with too little room")
		e.mode(".", 0o777)
		e.mode("f", 0o666)
		e.as(other, func() {
			for _, name := range e.xattrs("f") {
				e.is(!strings.HasPrefix(name, "trusted."), "a user is shown %s", name)
			}
			buf := make([]byte, 100)
			_, err := unix.Getxattr("f", "trusted.suite", buf)
			e.want(unix.ENODATA, err, "getxattr of a trusted one by a user")
			e.want(unix.EPERM, unix.Setxattr("f", "trusted.suite", []byte("v"), 0), "setxattr of a trusted one by a user")
			e.want(unix.EPERM, unix.Removexattr("f", "trusted.suite"), "removexattr of a trusted one by a user")
			e.want(unix.EPERM, unix.Setxattr("f", "security.suite", []byte("v"), 0), "setxattr of a security one by a user")
			_, err = unix.Getxattr("f", "security.suite", buf)
			e.want(0, err, "getxattr of a security one by a user")
		})
	})
	e.part("kinds", func(e *env) {
		for _, k := range allKinds {
			e.make(k, string(k), 0o644)
			if k == regular || k == directory {
				continue
			}
			e.want(unix.EPERM, unix.Lsetxattr(string(k), "user.x", []byte("v"), 0), "setxattr user. on a %s", k)
			e.want(0, unix.Lsetxattr(string(k), "trusted.suite", []byte("v"), 0), "setxattr trusted. on a %s", k)
			e.is(e.xattr(string(k), "trusted.suite") == "v", "it has another value")
			e.is(slices.Equal(e.xattrs(string(k)), []string{"trusted.suite"}), "a %s lists %q", k, e.xattrs(string(k)))
			e.want(0, unix.Lremovexattr(string(k), "trusted.suite"), "removexattr trusted. on a %s", k)
		}
	})
	e.part("who", func(e *env) {
		e.owned(directory, "d", 0o777, owner)
		e.mode("d", 0o1777)
		e.owned(regular, "f", 0o640, owner)
		for _, u := range []user{owner, peer, extra, other} {
			read, write := unix.Errno(0), unix.Errno(0)
			if u.uid != owner.uid {
				write = unix.EACCES
			}
			if u.uid == other.uid {
				read = unix.EACCES
			}
			e.must(unix.Setxattr("f", "user.x", []byte("v"), 0), "setxattr")
			buf := make([]byte, 100)
			e.as(u, func() {
				_, err := unix.Getxattr("f", "user.x", buf)
				e.want(read, err, "getxattr on a file of mode 0640")
				e.want(write, unix.Setxattr("f", "user.x", []byte("w"), 0), "setxattr on a file of mode 0640")
				e.want(write, unix.Removexattr("f", "user.x"), "removexattr on a file of mode 0640")
				want := unix.Errno(0)
				if u.uid != owner.uid {
					want = unix.EPERM
				}
				e.want(want, unix.Setxattr("d", "user.x", []byte("v"), 0), "setxattr on a sticky directory")
			})
		}
	})
	e.part("times", func(e *env) {
		all := map[string]string{"regular": "c", "directory": "c", ".": ""}
		e.make(regular, "regular", 0o644)
		e.make(directory, "directory", 0o755)
		each := func(f func(name string)) func() { return func() { f("regular"); f("directory") } }
		e.times("setxattr", all, each(func(name string) { e.must(unix.Setxattr(name, "user.x", []byte("v"), 0), "setxattr") }))
		e.times("setxattr again", all, each(func(name string) { e.must(unix.Setxattr(name, "user.x", []byte("w"), 0), "setxattr") }))
		e.times("removexattr", all, each(func(name string) { e.must(unix.Removexattr(name, "user.x"), "removexattr") }))
		all["regular"], all["directory"] = "", ""
		e.times("getxattr", all, each(func(name string) {
			_, err := unix.Getxattr(name, "user.x", nil)
			e.want(unix.ENODATA, err, "getxattr")
		}))
	})
	e.part("descriptors", func(e *env) {
		e.make(regular, "f", 0o644)
		fd := e.open("f", unix.O_RDONLY)
		e.want(0, unix.Fsetxattr(fd, "user.x", []byte("v"), 0), "fsetxattr")
		buf := make([]byte, 100)
		n, err := unix.Fgetxattr(fd, "user.x", buf)
		e.want(0, err, "fgetxattr")
		e.is(string(buf[:max(n, 0)]) == "v", "fgetxattr gives %q", buf[:max(n, 0)])
		n, err = unix.Flistxattr(fd, buf)
		e.want(0, err, "flistxattr")
		e.is(bytes.Contains(buf[:max(n, 0)], []byte("user.x\x00")), "flistxattr gives %q", buf[:max(n, 0)])
		e.want(0, unix.Fremovexattr(fd, "user.x"), "fremovexattr")
		e.want(0, unix.Rename("f", "g"), "rename")
		e.want(0, unix.Fsetxattr(fd, "user.x", []byte("after"), 0), "fsetxattr after a rename")
		e.is(e.xattr("g", "user.x") == "after", "it has %q", e.xattr("g", "user.x"))
	})
}
