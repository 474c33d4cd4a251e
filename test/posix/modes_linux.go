package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

func chmodRules(e *env) {
	e.part("sets", func(e *env) {
		var sf unix.Statfs_t
		e.must(unix.Statfs(".", &sf), "statfs")
		for _, k := range realKinds {
			name := string(k)
			e.make(k, name, 0o644)
			hasMode := func(want uint32) {
				e.Helper()
				// On volumes that are distributed GlusterFS marks files on the move
				// by setgid and sticky bit, and shows them with neither.
				if marks := uint32(0o3000); sf.Type == unix.FUSE_SUPER_MAGIC && k == regular && want&marks == marks && e.stat(name).Mode&marks == 0 {
					want &^= marks
				}
				e.hasMode(name, want)
			}
			for _, mode := range []uint32{0, 0o111, 0o222, 0o444, 0o640, 0o755, 0o777, 0o1755, 0o2711, 0o4711, 0o6777, 0o7777, 0o7000, 0o421, 0o4001} {
				e.want(0, unix.Chmod(name, mode), "chmod %04o of a %s", mode, k)
				hasMode(mode)
				e.want(0, unix.Fchmodat(unix.AT_FDCWD, name, mode^0o7777, 0), "fchmodat %04o of a %s", mode^0o7777, k)
				hasMode(mode ^ 0o7777)
			}
			e.must(unix.Symlink(name, name+"-link"), "symlink")
			e.want(0, unix.Chmod(name+"-link", 0o321), "chmod through a link to a %s", k)
			e.hasMode(name, 0o321)
			e.is(e.stat(name+"-link").Mode == unix.S_IFLNK|0o777, "chmod through a link changed the link")
		}
		fd := e.open("regular", unix.O_RDONLY)
		e.want(0, unix.Fchmod(fd, 0o4750), "fchmod")
		e.hasMode("regular", 0o4750)
		dir := e.open("directory", unix.O_RDONLY|unix.O_DIRECTORY)
		e.want(0, unix.Fchmod(dir, 0o1700), "fchmod of a directory")
		e.hasMode("directory", 0o1700)
		e.want(unix.EBADF, unix.Fchmod(-1, 0o644), "fchmod of no descriptor")
		e.want(0, unix.Chmod("regular", 0o170644), "chmod with bits of the file type")
		e.hasMode("regular", 0o644)
	})
	e.part("times", func(e *env) {
		for _, k := range realKinds {
			e.owned(k, string(k), 0o644, owner)
		}
		all := map[string]string{".": ""}
		for _, k := range realKinds {
			all[string(k)] = "c"
		}
		e.times("chmod", all, func() {
			for _, k := range realKinds {
				e.want(0, unix.Chmod(string(k), 0o600), "chmod of a %s", k)
			}
		})
		for _, k := range realKinds {
			all[string(k)] = ""
		}
		e.times("refused chmod", all, func() {
			for _, k := range realKinds {
				e.as(other, func() { e.want(unix.EPERM, unix.Chmod(string(k), 0o444), "chmod of another's %s", k) })
			}
		})
	})
	e.part("who", func(e *env) {
		for _, k := range realKinds {
			name := string(k)
			e.owned(k, name, 0o666, owner)
			for _, u := range []user{peer, extra, other} {
				e.as(u, func() { e.want(unix.EPERM, unix.Chmod(name, 0o644), "chmod of another's %s", k) })
			}
			e.hasMode(name, 0o666)
			e.as(owner, func() { e.want(0, unix.Chmod(name, 0o1751), "chmod of one's own %s", k) })
			e.hasMode(name, 0o1751)
			e.as(owner, func() { e.want(0, unix.Chmod(name, 0), "chmod of one's own %s", k) })
			e.as(owner, func() { e.want(0, unix.Chmod(name, 0o640), "chmod of one's own %s without rights", k) })
			e.hasMode(name, 0o640)
		}
	})
	// Setgid needs the caller to be in the group of the file.
	e.part("setgid", func(e *env) {
		for _, k := range realKinds {
			for _, tt := range []struct {
				gid  int
				u    user
				kept bool
			}{
				{owner.gid, user{uid: owner.uid, gid: owner.gid}, true},
				{other.gid, user{uid: owner.uid, gid: owner.gid}, false},
				{other.gid, user{uid: 65506, gid: owner.gid, groups: []int{65590, other.gid}}, true},
				{0, user{uid: owner.uid, gid: owner.gid}, false},
			} {
				name := e.fresh()
				e.make(k, name, 0o755)
				e.must(unix.Chown(name, tt.u.uid, tt.gid), "chown")
				e.as(tt.u, func() { e.want(0, unix.Chmod(name, 0o6755), "chmod of a %s with setgid", k) })
				want := uint32(0o6755)
				if !tt.kept {
					want = 0o4755
				}
				e.hasMode(name, want)
				e.want(0, unix.Chmod(name, 0o6711), "chmod by root")
				e.hasMode(name, 0o6711)
			}
		}
	})
	// Writing takes the rights away that the new content should not have.
	e.part("write-clears", func(e *env) {
		for _, tt := range []struct {
			mode, after uint32
		}{{0o4777, 0o777}, {0o2777, 0o777}, {0o6777, 0o777}, {0o2767, 0o2767}, {0o6766, 0o2766}, {0o4666, 0o666}, {0o1777, 0o1777}, {0o755 | 0o6002, 0o757}} {
			for what, f := range map[string]func(name string) error{
				"write": func(name string) error {
					fd, err := unix.Open(name, unix.O_WRONLY, 0)
					if err != nil {
						return err
					}
					defer unix.Close(fd)
					_, err = unix.Write(fd, []byte("x"))
					return err
				},
				"truncate":        func(name string) error { return unix.Truncate(name, 3) },
				"open with trunc": func(name string) error { return openClose(name, unix.O_WRONLY|unix.O_TRUNC, 0) },
				"fallocate": func(name string) error {
					fd, err := unix.Open(name, unix.O_WRONLY, 0)
					if err != nil {
						return err
					}
					defer unix.Close(fd)
					return unix.Fallocate(fd, 0, 0, 4096)
				},
			} {
				name := e.fresh()
				e.file(name, 0o600, "content")
				e.give(name, owner)
				e.mode(name, tt.mode)
				e.as(other, func() { e.want(0, f(name), "%s by another user", what) })
				want := tt.after
				switch got := e.stat(name).Mode & 0o7777; {
				case what == "fallocate" && got == tt.mode:
					want = tt.mode // some file systems do not see to it
				case tt.after&0o2010 == 0o2000 && got == tt.after&^0o2000:
					want = got // the mark of mandatory locks may go or stay
				}
				e.hasMode(name, want)

				e.mode(name, tt.mode)
				e.want(0, f(name), "%s by root", what)
				e.hasMode(name, tt.mode)
			}
		}
	})
}

func chownRules(e *env) {
	e.part("sets", func(e *env) {
		for _, k := range allKinds {
			name := string(k)
			e.make(k, name, 0o644)
			is := func(uid, gid int) {
				e.Helper()
				st := e.stat(name)
				e.is(int(st.Uid) == uid && int(st.Gid) == gid, "%s is %d:%d's, want %d:%d", name, st.Uid, st.Gid, uid, gid)
			}
			for _, ids := range [][2]int{{1, 2}, {65534, 65533}, {1 << 20, 1<<31 - 1}, {0xfffffffe, 0xfffffffd}, {0, 0}} {
				e.want(0, unix.Lchown(name, ids[0], ids[1]), "lchown %v of a %s", ids, k)
				is(ids[0], ids[1])
			}
			e.want(0, unix.Lchown(name, 7, -1), "lchown of the user")
			is(7, 0)
			e.want(0, unix.Lchown(name, -1, 8), "lchown of the group")
			is(7, 8)
			e.want(0, unix.Lchown(name, -1, -1), "lchown of nothing")
			is(7, 8)
			if k != symlink {
				e.must(unix.Symlink(name, name+"-link"), "symlink")
				e.want(0, unix.Chown(name+"-link", 11, 12), "chown through a link")
				is(11, 12)
				st := e.stat(name + "-link")
				e.is(st.Uid == 0 && st.Gid == 0, "chown through a link changed the link: %d:%d", st.Uid, st.Gid)
			}
		}
		fd := e.open("regular", unix.O_RDONLY)
		e.want(0, unix.Fchown(fd, 21, 22), "fchown")
		st := e.stat("regular")
		e.is(st.Uid == 21 && st.Gid == 22, "fchown left %d:%d", st.Uid, st.Gid)
		e.want(unix.EBADF, unix.Fchown(-1, 1, 1), "fchown of no descriptor")
	})
	e.part("times", func(e *env) {
		all := map[string]string{".": ""}
		for _, k := range allKinds {
			e.owned(k, string(k), 0o644, owner)
			all[string(k)] = "c"
		}
		e.times("chown", all, func() {
			for _, k := range allKinds {
				e.want(0, unix.Lchown(string(k), owner.uid, other.gid), "chown of a %s", k)
			}
		})
		e.times("chown to what it is", all, func() {
			for _, k := range allKinds {
				e.want(0, unix.Lchown(string(k), owner.uid, other.gid), "chown of a %s", k)
			}
		})
		for _, k := range allKinds {
			all[string(k)] = ""
		}
		e.times("refused chown", all, func() {
			for _, k := range allKinds {
				e.as(owner, func() { e.want(unix.EPERM, unix.Lchown(string(k), other.uid, -1), "giving a %s away", k) })
			}
		})
	})
	e.part("who", func(e *env) {
		// With groups of its own, and therefore another user: a network file system
		// may remember for a while which groups a process has.
		both := user{uid: 65505, gid: owner.gid, groups: []int{65588, other.gid}}
		for _, k := range allKinds {
			own := string(k) + "-own"
			e.owned(k, own, 0o666, both)
			for _, tt := range []struct {
				uid, gid int
				want     unix.Errno
			}{{-1, other.gid, 0}, {-1, owner.gid, 0}, {both.uid, 65588, 0}, {other.uid, other.gid, unix.EPERM}, {-1, 65599, unix.EPERM}} {
				e.as(both, func() {
					e.want(tt.want, unix.Lchown(own, tt.uid, tt.gid), "chown %d:%d of one's own %s", tt.uid, tt.gid, k)
				})
			}
			name := string(k)
			e.owned(k, name, 0o666, owner)
			for _, tt := range []struct {
				u        user
				uid, gid int
				want     unix.Errno
			}{
				{owner, -1, owner.gid, 0}, {owner, owner.uid, owner.gid, 0}, {owner, owner.uid, -1, 0}, {owner, -1, -1, 0},
				{owner, other.uid, -1, unix.EPERM}, {owner, 0, 0, unix.EPERM}, {owner, -1, other.gid, unix.EPERM}, {owner, -1, 0, unix.EPERM},
				{peer, peer.uid, -1, unix.EPERM}, {peer, -1, peer.gid, unix.EPERM}, {peer, owner.uid, owner.gid, unix.EPERM},
				{other, -1, other.gid, unix.EPERM}, {other, other.uid, other.gid, unix.EPERM}, {extra, -1, 65599, unix.EPERM},
			} {
				e.as(tt.u, func() {
					e.want(tt.want, unix.Lchown(name, tt.uid, tt.gid), "chown %d:%d of owner's %s", tt.uid, tt.gid, k)
				})
				if tt.want != 0 {
					st := e.stat(name)
					e.is(int(st.Uid) == owner.uid && int(st.Gid) == owner.gid, "a refused chown made it %d:%d's", st.Uid, st.Gid)
				}
			}
		}
	})
	e.part("clears", func(e *env) {
		both := user{uid: 65505, gid: owner.gid, groups: []int{other.gid}}
		for _, k := range realKinds {
			for _, tt := range []struct{ mode, after uint32 }{
				{0o6755, 0o755}, {0o4711, 0o711}, {0o2711, 0o711}, {0o4644, 0o644}, {0o2644, 0o2644}, {0o6644, 0o2644}, {0o1755, 0o1755}, {0o7111, 0o1111},
			} {
				for _, who := range []user{both, root} {
					name := e.fresh()
					e.owned(k, name, 0o600, both)
					e.mode(name, tt.mode)
					e.as(who, func() { e.want(0, unix.Chown(name, -1, other.gid), "chown of a %s %04o", k, tt.mode) })
					want := tt.after
					if k == directory {
						want = tt.mode // directories keep them
					}
					e.hasMode(name, want)
					e.remove(name)
				}
			}
		}
		// Nothing is changed, and the bits go all the same, from a plain file.
		e.owned(regular, "same", 0o644, owner)
		e.mode("same", 0o6755)
		e.as(owner, func() { e.want(0, unix.Chown("same", -1, -1), "chown of nothing") })
		got := e.stat("same").Mode & 0o7777
		e.is(got == 0o755 || got == 0o6755, "chown of nothing left mode %04o", got)
	})
}

// permissionRules: what the bits of a file allow, for each class of callers.
func permissionRules(e *env) {
	e.parallel("open", func(e *env) {
		for _, k := range []kind{regular, fifo, directory} {
			e.owned(k, string(k), 0, owner)
			for mode := uint32(0); mode <= 7; mode++ {
				for _, class := range classes {
					// Only the own class counts: the others get the opposite.
					bits := uint32(0)
					for s := uint(0); s <= 6; s += 3 {
						if s == class.shift {
							bits |= mode << s
						} else {
							bits |= (mode ^ 7) << s
						}
					}
					e.mode(string(k), bits)
					allowed := func(need uint32) unix.Errno {
						if mode&need == need {
							return 0
						}
						return unix.EACCES
					}
					e.as(class.u, func() {
						e.Helper()
						e.want(allowed(4), openClose(string(k), unix.O_RDONLY, 0), "open of a %s %04o for reading", k, bits)
						for need := uint32(1); need <= 7; need++ {
							e.want(allowed(need), access(string(k), need), "access %o of a %s %04o", need, k, bits)
						}
						if k == directory {
							e.wantAny([]unix.Errno{unix.EISDIR, allowed(2)}, openClose(string(k), unix.O_WRONLY, 0), "open of a directory for writing")
							return
						}
						e.want(allowed(6), openClose(string(k), unix.O_RDWR, 0), "open of a %s %04o for both", k, bits)
						if k == regular {
							e.want(allowed(2), openClose(string(k), unix.O_WRONLY, 0), "open of a %s %04o for writing", k, bits)
							e.want(allowed(6), openClose(string(k), unix.O_RDONLY|unix.O_TRUNC, 0), "open of a %s %04o with O_TRUNC", k, bits)
							e.want(allowed(2), openClose(string(k), unix.O_WRONLY|unix.O_TRUNC, 0), "open of a %s %04o for writing with O_TRUNC", k, bits)
							e.want(allowed(2), openClose(string(k), unix.O_WRONLY|unix.O_APPEND, 0), "open of a %s %04o for appending", k, bits)
							e.want(allowed(2), unix.Truncate(string(k), 0), "truncate of a %s %04o", k, bits)
							e.want(allowed(4), openClose(string(k), unix.O_RDONLY|unix.O_CREAT, 0o600), "open of a %s %04o with O_CREAT", k, bits)
						}
					})
				}
			}
		}
		e.mode("regular", 0)
		e.want(0, openClose("regular", unix.O_RDWR, 0), "root opens what nobody may")
		e.want(unix.EACCES, access("regular", unix.X_OK), "root executes what nobody may")
		e.mode("regular", 0o001)
		e.want(0, access("regular", unix.X_OK), "root executes what some may")
	})
	e.parallel("list", func(e *env) {
		e.owned(directory, "d", 0o755, owner)
		e.make(regular, "d/f", 0o666)
		for _, class := range classes {
			var st unix.Stat_t
			e.mode("d", 4<<class.shift)
			e.as(class.u, func() {
				names, err := listNames("d")
				e.want(0, err, "list a directory with r only")
				e.is(strings.Join(names, " ") == "f", "a directory with r only lists %q", names)
				e.want(unix.EACCES, unix.Stat("d/f", &st), "stat in a directory with r only")
			})
			e.mode("d", 1<<class.shift)
			e.as(class.u, func() {
				_, err := listNames("d")
				e.want(unix.EACCES, err, "list a directory with x only")
				e.want(0, unix.Stat("d/f", &st), "stat in a directory with x only")
			})
		}
	})
	// Rights are those of the open: what happens to the mode later is of no
	// concern to a descriptor.
	e.parallel("descriptors", func(e *env) {
		e.mode(".", 0o777)
		e.file("f", 0o644, "content")
		e.give("f", owner)
		e.as(owner, func() {
			fd, err := unix.Open("f", unix.O_RDWR, 0)
			e.must(err, "open")
			defer unix.Close(fd)
			e.must(unix.Fchmod(fd, 0), "fchmod")
			_, err = unix.Pwrite(fd, []byte("C"), 0)
			e.want(0, err, "write by a descriptor to what one may no longer open")
			b := make([]byte, 3)
			_, err = unix.Pread(fd, b, 0)
			e.want(0, err, "read by a descriptor of what one may no longer open")
			e.is(string(b) == "Con", "read %q, want Con", b)
			e.want(0, unix.Ftruncate(fd, 3), "ftruncate by a descriptor")
			e.want(unix.EACCES, openClose("f", unix.O_RDONLY, 0), "open again")
			w, err := unix.Open("new", unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0)
			e.want(0, err, "create with mode 0 for both")
			_, err = unix.Write(w, []byte("x"))
			e.want(0, err, "write to what was created with mode 0")
			e.want(0, unix.Ftruncate(w, 100), "ftruncate of what was created with mode 0")
			unix.Close(w)
			e.want(unix.EACCES, openClose("new", unix.O_RDONLY, 0), "open of what was created with mode 0")
		})
	})
}
