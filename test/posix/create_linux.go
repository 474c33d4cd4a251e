package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

// createRules: what comes into being, in whose name, and what its directory
// notices.
func createRules(e *env) {
	e.part("mode", func(e *env) {
		for _, k := range allKinds {
			if k == symlink {
				continue
			}
			for _, umask := range []int{0, 0o022, 0o077, 0o501, 0o777} {
				for _, mode := range []uint32{0, 0o151, 0o644, 0o755, 0o777, 0o1777, 0o4755} {
					name := e.fresh()
					unix.Umask(umask)
					err := makeKind(k, name, mode)
					unix.Umask(0)
					e.want(0, err, "make a %s with mode %04o and umask %04o", k, mode, umask)
					want := mode &^ uint32(umask)
					if k == directory {
						want &= 0o1777 // mkdir(2) takes no others
					}
					e.hasMode(name, want)
					e.is(e.stat(name).Mode&unix.S_IFMT == k.bits(), "a %s is of type %o", k, e.stat(name).Mode&unix.S_IFMT)
					e.remove(name)
				}
			}
		}
	})
	e.part("attributes", func(e *env) {
		for _, k := range allKinds {
			name := string(k)
			e.make(k, name, 0o644)
			st := e.stat(name)
			links := uint64(1)
			if k == directory {
				links = st.Nlink // file systems differ
			}
			e.is(st.Nlink == links, "a new %s has %d links", k, st.Nlink)
			switch k {
			case regular, fifo, socket:
				e.is(st.Size == 0 && st.Blocks == 0, "a new %s has size %d and %d blocks", k, st.Size, st.Blocks)
			case symlink:
				e.is(st.Size == int64(len("target")), "size of a link is %d", st.Size)
				e.is(st.Mode == unix.S_IFLNK|0o777, "mode of a link is %o", st.Mode)
			case block, char:
				e.is(int(st.Rdev) == device, "device number %x, want %x", st.Rdev, device)
			}
		}
		for _, dev := range []uint64{unix.Mkdev(0, 1), unix.Mkdev(5, 1), unix.Mkdev(255, 255), unix.Mkdev(300, 70000), unix.Mkdev(511, 200000)} {
			for _, k := range []kind{block, char} {
				name := e.fresh()
				e.want(0, unix.Mknod(name, k.bits()|0o600, int(dev)), "mknod of a %s %x", k, dev)
				e.is(e.stat(name).Rdev == dev, "device number %x, want %x", e.stat(name).Rdev, dev)
			}
		}
		e.want(unix.EPERM, unix.Mknod("d", unix.S_IFDIR|0o755, 0), "mknod of a directory")
		e.want(unix.EINVAL, unix.Mknod("l", unix.S_IFLNK|0o755, 0), "mknod of a symbolic link")
		e.mode(".", 0o777)
		e.as(owner, func() {
			e.want(unix.EPERM, unix.Mknod("dev", unix.S_IFCHR|0o600, device), "mknod of a device by a user")
			e.want(0, unix.Mknod("whiteout", unix.S_IFCHR|0o600, 0), "mknod of a whiteout by a user")
			e.want(unix.EPERM, unix.Mknod("dev", unix.S_IFBLK|0o600, device), "mknod of a block device by a user")
			e.want(0, unix.Mknod("fifo2", unix.S_IFIFO|0o600, 0), "mknod of a fifo by a user")
			e.want(0, unix.Mknod("sock2", unix.S_IFSOCK|0o600, 0), "mknod of a socket by a user")
			e.want(0, unix.Mknod("reg2", 0o600, 0), "mknod without a type by a user")
		})
		e.is(e.stat("reg2").Mode == unix.S_IFREG|0o600, "mknod without a type makes %o", e.stat("reg2").Mode)
	})
	e.part("ids", func(e *env) {
		e.mode(".", 0o777)
		e.owned(directory, "plain", 0o777, user{uid: 9, gid: 10})
		e.owned(directory, "setgid", 0o777, user{uid: 9, gid: 10})
		e.mode("setgid", 0o2777)
		for _, k := range allKinds {
			for _, u := range []user{owner, extra, root} {
				if u.uid != 0 && (k == block || k == char) {
					continue
				}
				for _, dir := range []string{"plain", "setgid"} {
					name := dir + "/" + e.fresh()
					e.as(u, func() { e.want(0, makeKind(k, name, 0o755), "make a %s", k) })
					st := e.stat(name)
					gid, mode := u.gid, uint32(0o755)
					if dir == "setgid" {
						gid = 10
						if k == directory {
							mode |= 0o2000
						}
					}
					if k == symlink {
						mode = 0o777
					}
					e.is(int(st.Uid) == u.uid && int(st.Gid) == gid, "a new %s in %s is %d:%d's, want %d:%d", k, dir, st.Uid, st.Gid, u.uid, gid)
					e.is(st.Mode&0o7777 == mode, "a new %s in %s has mode %04o, want %04o", k, dir, st.Mode&0o7777, mode)
				}
			}
		}
		// Setgid of a new file goes where the group is not the caller's.
		e.as(owner, func() {
			e.want(0, makeKind(regular, "setgid/exec", 0o2755), "create with setgid in another's group")
			e.want(0, makeKind(regular, "setgid/noexec", 0o2745), "create with setgid and no x in another's group")
			e.want(0, makeKind(regular, "plain/exec", 0o2755), "create with setgid in one's own group")
		})
		e.hasMode("setgid/exec", 0o755)
		e.hasMode("plain/exec", 0o2755)
		e.as(user{uid: 9, gid: 77, groups: []int{10}}, func() {
			e.want(0, makeKind(regular, "setgid/member", 0o2755), "create with setgid as a member of the group")
		})
		e.hasMode("setgid/member", 0o2755)
	})
	e.part("times", func(e *env) {
		for _, k := range allKinds {
			e.make(directory, "in-"+string(k), 0o755)
		}
		links := map[kind]uint64{}
		all := map[string]string{".": ""}
		for _, k := range allKinds {
			links[k] = e.stat("in-" + string(k)).Nlink
			all["in-"+string(k)] = "mc"
		}
		old := stamp(e.stat(".").Ctim)
		e.times("creating", all, func() {
			for _, k := range allKinds {
				e.make(k, "in-"+string(k)+"/new", 0o644)
			}
		})
		for _, k := range allKinds {
			st := e.stat("in-" + string(k) + "/new")
			e.is(stamp(st.Atim).After(old) && stamp(st.Mtim).After(old) && stamp(st.Ctim).After(old), "a new %s has times of before", k)
			want := links[k]
			if k == directory && want == 2 {
				want = 3
			}
			e.is(e.stat("in-"+string(k)).Nlink == want, "a directory with a new %s in it has %d links, want %d", k, e.stat("in-"+string(k)).Nlink, want)
			all["in-"+string(k)] = ""
			all["in-"+string(k)+"/new"] = ""
		}
		e.times("creating what is there", all, func() {
			for _, k := range allKinds {
				for _, over := range allKinds {
					e.want(unix.EEXIST, makeKind(k, "in-"+string(over)+"/new", 0o644), "make a %s over a %s", k, over)
				}
			}
		})
	})
	e.part("exists", func(e *env) {
		for _, k := range allKinds {
			e.make(k, string(k), 0o755)
		}
		for _, c := range calls() {
			if c.on != "" || c.name == "rename-to" {
				continue
			}
			for _, k := range allKinds {
				e.prepare(c, "x-"+c.name)
				ino := e.stat(string(k)).Ino
				e.want(unix.EEXIST, c.do(string(k)), "%s over a %s", c.name, k)
				e.is(e.stat(string(k)).Ino == ino, "%s replaced a %s", c.name, k)
			}
			for _, dot := range []string{".", "..", "directory/.", "directory/.."} {
				want := []unix.Errno{unix.EEXIST}
				if c.name == "open-create" {
					want = append(want, unix.EISDIR)
				}
				e.wantAny(want, c.do(dot), "%s of %s", c.name, dot)
			}
			e.want(unix.EEXIST, c.do("/"), "%s of /", c.name)
		}
		e.want(0, unix.Mkdir("made/", 0o755), "mkdir with a slash behind the name")
		e.is(e.stat("made").Mode&unix.S_IFMT == unix.S_IFDIR, "mkdir made no directory")
	})
	e.part("symlink", func(e *env) {
		for i, text := range []string{"x", "/", "..", "a b", "\xff", strings.Repeat("l", 59), strings.Repeat("l", 60), strings.Repeat("l", 1023), strings.Repeat("l", pathMax-1), "//../x/./"} {
			name := e.fresh()
			err := unix.Symlink(text, name)
			if len(text) >= xfsLinkMax && err == unix.ENAMETOOLONG {
				continue
			}
			e.want(0, err, "symlink %d", i)
			buf := make([]byte, 2*pathMax)
			n, err := unix.Readlink(name, buf)
			e.want(0, err, "readlink %d", i)
			e.is(string(buf[:max(n, 0)]) == text, "readlink gives %s, want %s", short(string(buf[:max(0, n)])), short(text))
			e.is(e.stat(name).Size == int64(len(text)), "size %d of a link of %d", e.stat(name).Size, len(text))
			n, err = unix.Readlink(name, buf[:1])
			e.want(0, err, "readlink with little room")
			e.is(n == 1 && buf[0] == text[0], "readlink with room for one byte gives %d", n)
		}
		e.want(unix.ENOENT, unix.Symlink("", "empty"), "symlink with an empty text")
		buf := make([]byte, 10)
		for _, k := range realKinds {
			e.make(k, string(k), 0o644)
			_, err := unix.Readlink(string(k), buf)
			e.want(unix.EINVAL, err, "readlink of a %s", k)
		}
		_, err := unix.Readlink("none", buf)
		e.want(unix.ENOENT, err, "readlink of nothing")
		e.want(unix.EFAULT, call6(unix.SYS_READLINKAT, ^uintptr(99), wild, 0, 10, 0, 0), "readlink of a pointer to nowhere")
	})
	e.part("sockets", func(e *env) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.must(err, "socket")
		defer unix.Close(fd)
		e.want(0, unix.Bind(fd, &unix.SockaddrUnix{Name: "sock"}), "bind")
		e.is(e.stat("sock").Mode&unix.S_IFMT == unix.S_IFSOCK, "bind made no socket")
		e.must(unix.Listen(fd, 1), "listen")
		peer, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.must(err, "socket")
		defer unix.Close(peer)
		e.want(0, unix.Connect(peer, &unix.SockaddrUnix{Name: "sock"}), "connect")
		again, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.must(err, "socket")
		defer unix.Close(again)
		e.want(unix.EADDRINUSE, unix.Bind(again, &unix.SockaddrUnix{Name: "sock"}), "bind to what is there")
	})
}
