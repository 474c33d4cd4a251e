package posix

import (
	"strings"

	"golang.org/x/sys/unix"
)

func linkRules(e *env) {
	e.part("names", func(e *env) {
		e.make(directory, "d", 0o755)
		for _, k := range allKinds {
			if k == directory {
				continue
			}
			a, b, c := "a-"+string(k), "d/b-"+string(k), "c-"+string(k)
			e.make(k, a, 0o644)
			first := e.stat(a)
			e.is(first.Nlink == 1, "a new %s has %d links", k, first.Nlink)
			e.want(0, unix.Link(a, b), "link of a %s", k)
			e.want(0, unix.Link(b, c), "link of a link of a %s", k)
			for _, name := range []string{a, b, c} {
				st := e.stat(name)
				e.is(st.Nlink == 3, "%s has %d links, want 3", name, st.Nlink)
				e.is(st.Ino == first.Ino && st.Mode == first.Mode && st.Rdev == first.Rdev, "%s is another file than %s", name, a)
			}
			if k != symlink {
				e.want(0, unix.Chmod(b, 0o201), "chmod by one name")
				e.want(0, unix.Chown(c, 55, 66), "chown by another name")
				for _, name := range []string{a, b, c} {
					st := e.stat(name)
					e.is(st.Mode&0o7777 == 0o201 && st.Uid == 55 && st.Gid == 66, "%s: mode %04o, %d:%d", name, st.Mode&0o7777, st.Uid, st.Gid)
				}
			}
			e.want(unix.EEXIST, unix.Link(a, b), "link to a name that is there")
			e.want(0, unix.Unlink(a), "unlink of the first name")
			e.gone(a)
			e.is(e.stat(b).Nlink == 2, "two names are left, nlink is %d", e.stat(b).Nlink)
			e.want(0, unix.Unlink(c), "unlink of the last name")
			e.is(e.stat(b).Nlink == 1, "one name is left, nlink is %d", e.stat(b).Nlink)
			e.want(0, unix.Unlink(b), "unlink")
			e.gone(b)
		}
	})
	e.part("content", func(e *env) {
		e.file("a", 0o644, "content")
		e.must(unix.Link("a", "b"), "link")
		fd := e.open("b", unix.O_WRONLY)
		_, err := unix.Pwrite(fd, []byte("CONTENT+"), 0)
		e.must(err, "write")
		e.is(e.read("a") == "CONTENT+", "by the other name: %q", e.read("a"))
		e.is(e.stat("a").Size == 8, "by the other name: size %d", e.stat("a").Size)
		e.want(0, unix.Setxattr("a", "user.x", []byte("1"), 0), "setxattr")
		buf := make([]byte, 10)
		n, err := unix.Getxattr("b", "user.x", buf)
		e.want(0, err, "getxattr by the other name")
		e.is(n == 1, "getxattr gives %d bytes", n)
	})
	e.part("times", func(e *env) {
		all := map[string]string{".": "", "from": "", "to": "mc"}
		e.make(directory, "from", 0o755)
		e.make(directory, "to", 0o755)
		for _, k := range allKinds {
			if k != directory {
				e.make(k, "from/"+string(k), 0o644)
				all["from/"+string(k)] = "c"
			}
		}
		e.times("link", all, func() {
			for _, k := range allKinds {
				if k != directory {
					e.want(0, unix.Link("from/"+string(k), "to/"+string(k)), "link of a %s", k)
				}
			}
		})
		for name := range all {
			all[name] = ""
		}
		e.times("failing link", all, func() {
			for _, k := range allKinds {
				if k != directory {
					e.want(unix.EEXIST, unix.Link("from/"+string(k), "to/regular"), "link of a %s to what is there", k)
				}
			}
		})
	})
	e.part("refused", func(e *env) {
		e.make(directory, "d", 0o755)
		e.make(regular, "f", 0o644)
		e.want(unix.EPERM, unix.Link("d", "l"), "link of a directory")
		e.want(unix.EPERM, unix.Link(".", "l"), "link of .")
		e.as(owner, func() {
			err := unix.Link("d", "l")
			e.wantAny([]unix.Errno{unix.EPERM, unix.EACCES}, err, "link of a directory")
		})
		for _, k := range allKinds {
			e.make(k, string(k), 0o644)
			e.want(unix.EEXIST, unix.Link("f", string(k)), "link to a %s that is there", k)
		}
		e.want(unix.ENOENT, unix.Link("none", "l"), "link of nothing")
		e.want(unix.EEXIST, unix.Link("f", "f"), "link to itself")
		e.gone("l")
		e.must(unix.Symlink("f", "s"), "symlink")
		e.want(0, unix.Linkat(unix.AT_FDCWD, "s", unix.AT_FDCWD, "s2", 0), "link of a symbolic link")
		e.is(e.stat("s2").Mode&unix.S_IFMT == unix.S_IFLNK, "link followed a symbolic link")
		e.want(0, unix.Linkat(unix.AT_FDCWD, "s", unix.AT_FDCWD, "f2", unix.AT_SYMLINK_FOLLOW), "link through a symbolic link")
		e.is(e.stat("f2").Ino == e.stat("f").Ino && e.stat("f").Nlink == 2, "link did not follow a symbolic link")
	})
	e.part("many", func(e *env) {
		e.make(regular, "f", 0o644)
		for i := range 90 { // GlusterFS allows 100 by default
			e.must(unix.Link("f", "l"+e.fresh()), "link %d", i)
		}
		e.is(e.stat("f").Nlink == 91, "%d links, want 91", e.stat("f").Nlink)
	})
}

func renameRules(e *env) {
	e.part("kinds", func(e *env) {
		e.make(directory, "d", 0o755)
		for _, k := range allKinds {
			for _, to := range []string{"to", "d/to"} {
				e.make(k, "from", 0o751)
				e.must(unix.Lchown("from", 31, 32), "chown")
				before := e.stat("from")
				e.want(0, unix.Rename("from", to), "rename of a %s to %s", k, to)
				e.gone("from")
				st := e.stat(to)
				e.is(st.Ino == before.Ino && st.Mode == before.Mode && st.Uid == 31 && st.Gid == 32 && st.Size == before.Size && st.Nlink == before.Nlink && st.Rdev == before.Rdev, "a renamed %s is not what it was: %+v, was %+v", k, st, before)
				if k != directory {
					e.want(0, unix.Link(to, "second"), "link of a renamed %s", k)
					e.want(0, unix.Rename(to, "third"), "rename of one name of two")
					e.is(e.stat("second").Nlink == 2 && e.stat("third").Ino == before.Ino, "the names of a %s after a rename", k)
					e.want(0, unix.Rename("second", "third"), "rename of a file over another of its names")
					e.is(e.stat("second").Nlink == 2, "which does nothing; %d links", e.stat("second").Nlink)
					e.remove("second")
					e.remove("third")
				} else {
					e.remove(to)
				}
			}
			e.make(k, "same", 0o644)
			e.want(0, unix.Rename("same", "same"), "rename of a %s to itself", k)
			e.stat("same")
			e.remove("same")
		}
	})
	e.part("over", func(e *env) {
		for _, from := range allKinds {
			for _, to := range allKinds {
				e.make(from, "from", 0o644)
				e.make(to, "to", 0o644)
				ino := e.stat("from").Ino
				want := unix.Errno(0)
				switch {
				case from == directory && to != directory:
					want = unix.ENOTDIR
				case from != directory && to == directory:
					want = unix.EISDIR
				}
				e.want(want, unix.Rename("from", "to"), "rename of a %s over a %s", from, to)
				if want == 0 {
					e.gone("from")
					e.is(e.stat("to").Ino == ino, "rename of a %s over a %s left another file", from, to)
				} else {
					e.is(e.stat("from").Ino == ino, "the %s has changed", from)
					e.is(e.stat("to").Mode&unix.S_IFMT == to.bits(), "the %s has changed", to)
					e.remove("from")
				}
				e.remove("to")
			}
		}
	})
	// A file that loses a name to a rename keeps the others.
	e.part("over-linked", func(e *env) {
		for _, k := range allKinds {
			if k == directory {
				continue
			}
			e.make(k, "from", 0o644)
			e.make(k, "to", 0o644)
			e.must(unix.Link("to", "keep"), "link")
			ino := e.stat("from").Ino
			e.times("rename over one name of two", map[string]string{".": "mc", "keep": "c"}, func() {
				e.want(0, unix.Rename("from", "to"), "rename of a %s over a linked one", k)
			})
			e.is(e.stat("to").Ino == ino && e.stat("to").Nlink == 1, "the new one has %d links", e.stat("to").Nlink)
			e.is(e.stat("keep").Nlink == 1, "one name is left of two; nlink is %d", e.stat("keep").Nlink)
			e.want(0, unix.Link("keep", "again"), "link")
			e.is(e.stat("keep").Nlink == 2, "nlink is %d, want 2", e.stat("keep").Nlink)
			e.remove("to")
			e.remove("keep")
			e.remove("again")
		}
	})
	e.part("times", func(e *env) {
		e.make(directory, "from", 0o755)
		e.make(directory, "to", 0o755)
		for _, k := range allKinds {
			e.make(k, "from/"+string(k), 0o644)
		}
		ctimes := map[kind]unix.Timespec{}
		for _, k := range allKinds {
			ctimes[k] = e.stat("from/" + string(k)).Ctim
		}
		e.times("rename", map[string]string{".": "", "from": "mc", "to": "mc"}, func() {
			for _, k := range allKinds {
				e.want(0, unix.Rename("from/"+string(k), "to/"+string(k)), "rename of a %s", k)
			}
		})
		for _, k := range allKinds {
			e.is(stamp(e.stat("to/"+string(k)).Ctim).After(stamp(ctimes[k])), "rename of a %s left its ctime", k)
		}
		all := map[string]string{".": "", "from": "", "to": ""}
		for _, k := range allKinds {
			all["to/"+string(k)] = ""
		}
		e.times("failing rename", all, func() {
			for _, k := range allKinds {
				e.want(unix.ENOENT, unix.Rename("to/"+string(k), "to/none/x"), "rename of a %s to nowhere", k)
				if k != directory {
					e.want(unix.EISDIR, unix.Rename("to/"+string(k), "from"), "rename of a %s over a directory", k)
				}
			}
		})
	})
	e.part("directories", func(e *env) {
		e.make(directory, "a", 0o755)
		e.make(directory, "a/sub", 0o755)
		e.file("a/sub/f", 0o644, "content")
		e.make(directory, "b", 0o755)
		an, bn := e.stat("a").Nlink, e.stat("b").Nlink
		e.want(0, unix.Rename("a/sub", "b/moved"), "rename of a full directory")
		e.is(e.read("b/moved/f") == "content", "what is in a renamed directory: %q", e.read("b/moved/f"))
		if an > 2 { // file systems that count directories
			e.is(e.stat("a").Nlink == an-1 && e.stat("b").Nlink == bn+1, "links %d and %d after a rename, were %d and %d", e.stat("a").Nlink, e.stat("b").Nlink, an, bn)
		}
		e.is(e.stat("b/moved/..").Ino == e.stat("b").Ino, "the .. of a moved directory is not where it is")
		e.gone("a/sub/f")
		e.want(unix.EINVAL, unix.Rename("b", "b/moved/x"), "rename of a directory into itself")
		e.want(unix.EINVAL, unix.Rename("b", "b/x"), "rename of a directory below itself")
		e.wantAny([]unix.Errno{unix.ENOTEMPTY, unix.EEXIST}, unix.Rename("b/moved", "b"), "rename of a directory over its parent")
		for _, k := range allKinds {
			e.make(directory, "full", 0o755)
			e.make(k, "full/"+string(k), 0o644)
			e.make(directory, "empty", 0o755)
			e.wantAny([]unix.Errno{unix.ENOTEMPTY, unix.EEXIST}, unix.Rename("empty", "full"), "rename over a directory with a %s in it", k)
			e.want(0, unix.Rename("full", "empty"), "rename over an empty directory")
			e.remove("empty/" + string(k))
			e.remove("empty")
		}
		for _, tt := range [][2]string{{".", "x"}, {"b/.", "x"}, {"..", "x"}, {"b/..", "x"}, {"b", "."}, {"b", "a/."}, {"b", ".."}, {"b", "a/.."}} {
			e.wantAny([]unix.Errno{unix.EINVAL, unix.EBUSY, unix.EEXIST}, unix.Rename(tt[0], tt[1]), "rename of %s to %s", tt[0], tt[1])
		}
		e.want(0, unix.Rename("b/", "c/"), "rename of a directory with slashes behind the names")
		e.file("f", 0o644, "")
		e.want(unix.ENOTDIR, unix.Rename("f", "g/"), "rename of a file with a slash behind the new name")
		// Who moves a directory changes it: its .. is another.
		e.mode(".", 0o777)
		e.owned(directory, "p", 0o777, owner)
		e.owned(directory, "q", 0o777, owner)
		e.owned(directory, "p/d", 0o755, other)
		e.as(owner, func() {
			e.want(unix.EACCES, unix.Rename("p/d", "q/d"), "move of a directory that may not be written")
			e.want(0, unix.Rename("p/d", "p/e"), "rename in place of a directory that may not be written")
		})
		e.as(other, func() { e.want(0, unix.Rename("p/e", "q/e"), "move of one's own directory") })
		// A deep tree goes along.
		e.must(unix.Mkdir("deep", 0o755), "mkdir")
		path := "deep"
		for range 30 {
			path += "/d"
			e.make(directory, path, 0o755)
		}
		fd := e.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
		e.want(0, unix.Rename("deep", "deeper"), "rename of a deep tree")
		made, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_WRONLY, 0o644)
		e.want(0, err, "create in an open directory of a moved tree")
		unix.Close(made)
		e.is(e.stat("deeper"+strings.TrimPrefix(path, "deep")+"/f").Nlink == 1, "what was made there is not found")
	})
	e.part("flags", func(e *env) {
		for _, k := range allKinds {
			e.make(k, "from", 0o644)
			for _, to := range allKinds {
				e.make(to, "to", 0o644)
				e.want(unix.EEXIST, unix.Renameat2(unix.AT_FDCWD, "from", unix.AT_FDCWD, "to", unix.RENAME_NOREPLACE), "rename of a %s over a %s with NOREPLACE", k, to)
				e.remove("to")
			}
			err := unix.Renameat2(unix.AT_FDCWD, "from", unix.AT_FDCWD, "to", unix.RENAME_NOREPLACE)
			if e.wantAny([]unix.Errno{0, unix.EINVAL}, err, "rename of a %s with NOREPLACE", k) && err != nil {
				e.Logf("no RENAME_NOREPLACE: EINVAL")
				e.must(unix.Rename("from", "to"), "rename")
			}
			for _, with := range allKinds {
				e.make(with, "with", 0o644)
				a, b := e.stat("to").Ino, e.stat("with").Ino
				err := unix.Renameat2(unix.AT_FDCWD, "to", unix.AT_FDCWD, "with", unix.RENAME_EXCHANGE)
				if e.wantAny([]unix.Errno{0, unix.EINVAL}, err, "exchange of a %s and a %s", k, with) && err == nil {
					e.is(e.stat("with").Ino == a && e.stat("to").Ino == b, "an exchange of a %s and a %s left them", k, with)
					e.must(unix.Renameat2(unix.AT_FDCWD, "to", unix.AT_FDCWD, "with", unix.RENAME_EXCHANGE), "back")
				} else {
					e.is(e.stat("to").Ino == a && e.stat("with").Ino == b, "a refused exchange did something")
				}
				e.remove("with")
			}
			e.remove("to")
		}
		e.make(regular, "f", 0o644)
		e.want(unix.EINVAL, unix.Renameat2(unix.AT_FDCWD, "f", unix.AT_FDCWD, "g", 1<<20), "rename with an unknown flag")
		e.want(unix.EINVAL, unix.Renameat2(unix.AT_FDCWD, "f", unix.AT_FDCWD, "g", unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE), "rename with flags that do not go together")
		err := unix.Renameat2(unix.AT_FDCWD, "f", unix.AT_FDCWD, "none", unix.RENAME_EXCHANGE)
		e.wantAny([]unix.Errno{unix.ENOENT}, err, "exchange with nothing")
	})
}

func removeRules(e *env) {
	e.part("unlink", func(e *env) {
		for _, k := range allKinds {
			e.make(k, string(k), 0o644)
			if k == directory {
				e.wantAny([]unix.Errno{unix.EISDIR, unix.EPERM}, unix.Unlink(string(k)), "unlink of a directory")
				e.want(0, unix.Rmdir(string(k)), "rmdir of a directory")
			} else {
				e.want(unix.ENOTDIR, unix.Rmdir(string(k)), "rmdir of a %s", k)
				e.want(0, unix.Unlink(string(k)), "unlink of a %s", k)
			}
			e.gone(string(k))
		}
		e.file("f", 0o644, "")
		e.must(unix.Symlink("f", "s"), "symlink")
		e.want(0, unix.Unlink("s"), "unlink of a link")
		e.is(e.stat("f").Nlink == 1, "unlink of a link took the target")
	})
	e.part("rmdir", func(e *env) {
		for _, k := range allKinds {
			e.make(directory, "d", 0o755)
			e.make(k, "d/"+string(k), 0o644)
			e.wantAny([]unix.Errno{unix.ENOTEMPTY, unix.EEXIST}, unix.Rmdir("d"), "rmdir of a directory with a %s in it", k)
			e.want(unix.EINVAL, unix.Rmdir("d/."), "rmdir of a directory's .")
			e.wantAny([]unix.Errno{unix.ENOTEMPTY, unix.EEXIST}, unix.Rmdir("d/.."), "rmdir of a directory's ..")
			e.remove("d/" + string(k))
			e.want(0, unix.Rmdir("d/"), "rmdir with a slash behind the name")
			e.gone("d")
		}
		e.make(directory, "d", 0o755)
		e.must(unix.Symlink("d", "s"), "symlink")
		e.want(unix.ENOTDIR, unix.Rmdir("s"), "rmdir of a link to a directory")
		e.want(unix.ENOTDIR, unix.Rmdir("s/"), "rmdir of a link to a directory with a slash")
		e.make(directory, "d/cwd", 0o755)
		e.must(unix.Chdir("d/cwd"), "chdir")
		e.want(0, unix.Rmdir("../cwd"), "rmdir of the working directory")
		e.want(unix.ENOENT, openClose("f", unix.O_CREAT|unix.O_WRONLY, 0o644), "create in a working directory that is gone")
		e.want(unix.ENOENT, unix.Mkdir("f", 0o755), "mkdir in a working directory that is gone")
		e.must(unix.Chdir(e.dir), "chdir")
		n := e.stat("d").Nlink
		e.make(directory, "d/x", 0o755)
		e.want(0, unix.Rmdir("d/x"), "rmdir")
		e.is(e.stat("d").Nlink == n, "after mkdir and rmdir: %d links, were %d", e.stat("d").Nlink, n)
	})
	e.part("times", func(e *env) {
		all := map[string]string{".": ""}
		for _, k := range allKinds {
			dir := "d-" + string(k)
			e.make(directory, dir, 0o755)
			e.make(k, dir+"/x", 0o644)
			all[dir] = "mc"
			if k != directory {
				e.must(unix.Link(dir+"/x", "keep-"+string(k)), "link")
				all["keep-"+string(k)] = "c"
			}
		}
		e.times("removing", all, func() {
			for _, k := range allKinds {
				e.remove("d-" + string(k) + "/x")
			}
		})
		for _, k := range allKinds {
			if k != directory {
				e.is(e.stat("keep-"+string(k)).Nlink == 1, "one name of a %s is left; nlink is %d", k, e.stat("keep-"+string(k)).Nlink)
			}
			e.make(directory, "d-"+string(k)+"/full", 0o755)
			e.make(k, "d-"+string(k)+"/full/x", 0o755)
			all["d-"+string(k)] = ""
			all["d-"+string(k)+"/full"] = ""
			delete(all, "keep-"+string(k))
		}
		e.times("failing rmdir", all, func() {
			for _, k := range allKinds {
				e.wantAny([]unix.Errno{unix.ENOTEMPTY, unix.EEXIST}, unix.Rmdir("d-"+string(k)+"/full"), "rmdir of a full directory")
			}
		})
		e.times("failing unlink", map[string]string{".": ""}, func() { e.want(unix.ENOENT, unix.Unlink("none"), "unlink") })
	})
}

// stickyRules: in a sticky directory only the owners of a file and of the
// directory, and root, remove or rename it.
func stickyRules(e *env) {
	e.mode(".", 0o777)
	for _, k := range allKinds {
		e.parallel(string(k), func(e *env) {
			e.mode(".", 0o777)
			for _, dirOwner := range []user{owner, root, other} {
				e.owned(directory, "d", 0o777, dirOwner)
				e.mode("d", 0o1777)
				e.owned(directory, "plain", 0o777, root)
				for _, fileOwner := range []user{owner, root, other} {
					for _, who := range []user{owner, root, other, peer} {
						free := who.uid == 0 || who.uid == dirOwner.uid || who.uid == fileOwner.uid
						want := []unix.Errno{0}
						if !free {
							want = []unix.Errno{unix.EPERM, unix.EACCES}
						}
						what := "of " + string(k) + " in a sticky directory"
						e.make(k, "d/x", 0o777)
						e.give("d/x", fileOwner)
						e.as(who, func() {
							e.wantAny(want, unix.Rename("d/x", "d/y"), "rename %s: directory %d's, file %d's", what, dirOwner.uid, fileOwner.uid)
							if free {
								e.must(unix.Rename("d/y", "d/x"), "rename back")
							}
							e.wantAny(want, unix.Rename("d/x", "plain/x"), "move out %s: directory %d's, file %d's", what, dirOwner.uid, fileOwner.uid)
							if free {
								e.must(unix.Rename("plain/x", "d/x"), "move back")
							}
							if who.uid != 0 && (k == block || k == char) {
								return // root makes it below
							}
							e.must(makeKind(k, "plain/new", 0o777), "make")
						})
						if k == block || k == char {
							e.clear("plain/new")
							e.owned(k, "plain/new", 0o777, who)
						}
						e.as(who, func() {
							e.wantAny(want, unix.Rename("plain/new", "d/x"), "rename over a %s in a sticky directory: directory %d's, file %d's", k, dirOwner.uid, fileOwner.uid)
						})
						if free {
							e.remove("d/x")
							e.owned(k, "d/x", 0o777, fileOwner)
						} else {
							e.remove("plain/new")
						}
						e.as(who, func() {
							var err error
							if k == directory {
								err = unix.Rmdir("d/x")
							} else {
								err = unix.Unlink("d/x")
							}
							e.wantAny(want, err, "removal %s: directory %d's, file %d's", what, dirOwner.uid, fileOwner.uid)
						})
						if !free {
							e.remove("d/x")
						} else {
							e.gone("d/x")
						}
					}
				}
				e.remove("d")
				e.remove("plain")
			}
		})
	}
}
