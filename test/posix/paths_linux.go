package posix

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	nameMax = 255
	pathMax = 4096 // with the byte of value 0 behind it

	xfsLinkMax = 1024 // XFS has no longer texts of symbolic links
)

// pathRules are what all calls that take a path have in common.
func pathRules(e *env) {
	e.parallel("missing", missingRules)
	e.parallel("not-a-directory", notDirectoryRules)
	e.parallel("loops", loopRules)
	e.parallel("links", linkedPathRules)
	e.parallel("lengths", lengthRules)
	e.parallel("long-paths", longPathRules)
	e.parallel("search", searchRules)
	e.parallel("write-permission", writePermissionRules)
	e.parallel("pointers", pointerRules)
	e.parallel("read-only", readOnlyRules)
	e.parallel("busy", busyRules)
}

func missingRules(e *env) {
	e.make(directory, "d", 0o755)
	for _, c := range calls() {
		e.prepare(c, "there")
		e.want(unix.ENOENT, c.do("none/there"), "%s: a directory of the path is missing", c.name)
		e.want(unix.ENOENT, c.do("d/none/there"), "%s: a directory in a directory is missing", c.name)
		e.want(unix.ENOENT, c.do(""), "%s: empty path", c.name)
		if c.on != "" && c.name != "rename-over" {
			e.want(unix.ENOENT, c.do("none"), "%s: missing", c.name)
			e.want(unix.ENOENT, c.do("d/none"), "%s: missing in a directory", c.name)
		}
		e.must(unix.Symlink("nowhere", "dangling"), "symlink")
		switch {
		case c.on != "" && c.follows:
			e.want(unix.ENOENT, c.do("dangling"), "%s: through a link that leads nowhere", c.name)
		case c.on == "" && !strings.HasPrefix(c.name, "rename"):
			e.want(unix.EEXIST, c.do("dangling"), "%s: where a link is that leads nowhere", c.name)
			e.gone("nowhere")
		}
		e.want(unix.ENOENT, c.do("dangling/there"), "%s: below a link that leads nowhere", c.name)
		e.clear("dangling")
		e.want(0, c.do("there"), "%s: what is there", c.name)
		e.clear("there")
	}
}

func notDirectoryRules(e *env) {
	for _, k := range leafKinds {
		e.make(k, "leaf-"+string(k), 0o777)
	}
	e.must(unix.Symlink("leaf-regular", "to-leaf"), "symlink")
	for _, c := range calls() {
		e.prepare(c, "there")
		for _, k := range leafKinds {
			e.want(unix.ENOTDIR, c.do("leaf-"+string(k)+"/there"), "%s below a %s", c.name, k)
			e.want(unix.ENOTDIR, c.do("leaf-"+string(k)+"/a/b"), "%s deep below a %s", c.name, k)
			if c.on == directory && !c.fits {
				e.want(unix.ENOTDIR, c.do("leaf-"+string(k)), "%s on a %s", c.name, k)
			}
		}
		e.want(unix.ENOTDIR, c.do("to-leaf/there"), "%s below a link to a file", c.name)
		e.want(unix.ENOTDIR, c.do("leaf-regular/."), "%s on a file's .", c.name)
		e.want(c.slash, c.do("there/"), "%s with a slash behind the name", c.name)
		e.clear("there")
	}
}

func loopRules(e *env) {
	e.must(unix.Symlink("self", "self"), "symlink")
	e.must(unix.Symlink("pong", "ping"), "symlink")
	e.must(unix.Symlink("ping", "pong"), "symlink")
	// The kernel follows forty links in one path.
	e.make(directory, "end", 0o755)
	e.must(unix.Symlink("end", "link1"), "symlink")
	for i := 2; i <= 41; i++ {
		e.must(unix.Symlink(fmt.Sprintf("link%d", i-1), fmt.Sprintf("link%d", i)), "symlink")
	}
	for _, c := range calls() {
		e.prepare(c, "end/there")
		for _, loop := range []string{"self", "ping", "pong"} {
			e.want(unix.ELOOP, c.do(loop+"/there"), "%s below the loop %s", c.name, loop)
			if c.follows {
				e.want(unix.ELOOP, c.do(loop), "%s on the loop %s", c.name, loop)
			}
		}
		e.want(unix.ELOOP, c.do("link41/there"), "%s through 41 links", c.name)
		e.want(0, c.do("link40/there"), "%s through 40 links", c.name)
		e.clear("end/there")
	}
}

// Calls through symbolic links reach what these lead to, absolute or not.
func linkedPathRules(e *env) {
	e.make(directory, "real", 0o755)
	e.make(directory, "real/sub", 0o755)
	e.must(unix.Symlink("real", "relative"), "symlink")
	e.must(unix.Symlink(e.dir+"/real", "absolute"), "symlink")
	e.must(unix.Symlink("../real/./sub/..", "real/winding"), "symlink")
	for _, c := range calls() {
		for _, dir := range []string{"relative", "absolute", "real/winding", "real/winding/sub/..", ".//real///.", e.dir + "/real"} {
			e.prepare(c, "real/there")
			e.want(0, c.do(dir+"/there"), "%s through %s", c.name, short(dir))
			e.clear("real/there")
		}
		if c.follows {
			e.prepare(c, "real/there")
			e.must(unix.Symlink("real/there", "last"), "symlink")
			e.want(0, c.do("last"), "%s through a link at the end", c.name)
			e.is(e.stat("last").Mode&unix.S_IFMT == unix.S_IFLNK, "%s left no link", c.name)
			e.clear("last")
			e.clear("real/there")
		}
	}
}

func lengthRules(e *env) {
	fits := strings.Repeat("n", nameMax)
	long := strings.Repeat("n", nameMax+1)
	wide := strings.Repeat("名", nameMax/3) // 255 bytes in characters of three
	for _, c := range calls() {
		for _, name := range []string{fits, wide, "\xff\xfe", " ", "\n", "-", "...", "a\\b", "\"'"} {
			e.prepare(c, name)
			e.want(0, c.do(name), "%s on the name %s", c.name, short(name))
			e.clear(name)
		}
		e.prepare(c, "there")
		e.want(unix.ENAMETOOLONG, c.do(long), "%s on a name of 256 bytes", c.name)
		e.want(unix.ENAMETOOLONG, c.do(long+"/there"), "%s below a name of 256 bytes", c.name)
		e.clear("there")
	}
	var sf unix.Statfs_t
	e.must(unix.Statfs(".", &sf), "statfs")
	e.is(sf.Namelen == nameMax, "statfs says that names have up to %d bytes, want %d", sf.Namelen, nameMax)
}

// Paths of up to PATH_MAX bytes, and objects that are deeper than that.
func longPathRules(e *env) {
	deep := ""
	for range 15 {
		deep += strings.Repeat("x", nameMax) + "/"
		e.make(directory, deep, 0o755)
	}
	deep += strings.Repeat("y", 100) + "/"
	e.make(directory, deep, 0o755)
	fits := deep + strings.Repeat("n", pathMax-1-len(deep))
	for _, c := range calls() {
		e.prepare(c, fits)
		e.want(0, c.do(fits), "%s on a path of %d bytes", c.name, len(fits))
		e.want(unix.ENAMETOOLONG, c.do(fits+"n"), "%s on a path of %d bytes", c.name, len(fits)+1)
		e.clear(fits)
	}
	target := strings.Repeat("t/", pathMax/2-1) + "t"
	err := unix.Symlink(target, "far")
	e.wantAny([]unix.Errno{0, unix.ENAMETOOLONG}, err, "symlink with a text of %d bytes", len(target))
	if err != nil {
		target = target[:xfsLinkMax-1]
		e.want(0, unix.Symlink(target, "far"), "symlink with a text of %d bytes", len(target))
	}
	buf := make([]byte, 2*pathMax)
	n, err := unix.Readlink("far", buf)
	e.want(0, err, "readlink of %d bytes", len(target))
	e.is(string(buf[:max(n, 0)]) == target, "readlink gives %d bytes, want the %d of the text", n, len(target))
	e.is(e.stat("far").Size == int64(len(target)), "size of a link of %d bytes is %d", len(target), e.stat("far").Size)
	target = strings.Repeat("t", pathMax-1)
	e.want(unix.ENAMETOOLONG, unix.Symlink(target+"t", "farther"), "symlink with a text of %d bytes", len(target)+1)

	for range 2 { // twice as deep again
		e.want(0, unix.Chdir(deep), "chdir by a path of %d bytes", len(deep))
		for i := range deep {
			if deep[i] == '/' {
				e.make(directory, deep[:i], 0o755)
			}
		}
	}
	for _, c := range calls() {
		e.prepare(c, deep+"there")
		e.want(0, c.do(deep+"there"), "%s deeper than PATH_MAX", c.name)
		e.clear(deep + "there")
	}
	e.must(unix.Chdir(e.dir), "chdir")
	for range 300 {
		e.make(directory, "d", 0o755)
		e.must(unix.Chdir("d"), "chdir")
	}
	e.make(regular, "f", 0o644)
	e.must(unix.Chdir(e.dir), "chdir")
	e.is(e.stat(strings.Repeat("d/", 300)+"f").Mode&unix.S_IFMT == unix.S_IFREG, "a file below 300 directories is none")
}

// classes are callers with the bits that the mode of owner's files has for them.
var classes = []struct {
	u     user
	shift uint
}{{owner, 6}, {peer, 3}, {extra, 3}, {other, 0}}

func searchRules(e *env) {
	e.mode(".", 0o777)
	e.owned(directory, "d", 0o755, owner)
	e.owned(directory, "d/in", 0o777, owner)
	for _, c := range calls() {
		for _, class := range classes {
			for _, path := range []string{"d/there", "d/in/there"} {
				e.prepare(c, path)
				e.giveBoth(c, path, class.u)
				e.mode("d", 0o777&^(1<<class.shift))
				e.as(class.u, func() {
					e.want(unix.EACCES, c.do(path), "%s on %s, which may not be searched", c.name, path)
				})
				rights := uint32(1)
				if c.entry && path == "d/there" {
					rights = 3
				}
				e.mode("d", rights<<class.shift)
				e.as(class.u, func() {
					e.want(0, c.do(path), "%s on %s with nothing but these rights: %o", c.name, path, rights)
				})
				e.mode("d", 0o755)
				e.clear(path)
			}
		}
	}
}

// giveBoth makes a call's objects the caller's, so that only directories matter.
func (e *env) giveBoth(c call, path string, u user) {
	e.Helper()
	if c.on != "" {
		e.give(path, u)
	}
	e.give(aside, u)
}

func writePermissionRules(e *env) {
	e.mode(".", 0o777)
	e.owned(directory, "d", 0o755, owner)
	for _, c := range calls() {
		if !c.entry {
			continue
		}
		for _, class := range classes {
			e.prepare(c, "d/there")
			e.giveBoth(c, "d/there", class.u)
			e.mode("d", 0o777&^(2<<class.shift))
			e.as(class.u, func() {
				e.want(unix.EACCES, c.do("d/there"), "%s in a directory that may not be written", c.name)
			})
			e.mode("d", 0)
			e.want(0, c.do("d/there"), "%s by root in a directory that nobody may write", c.name)
			e.mode("d", 0o755)
			e.clear("d/there")
		}
	}
}

func pointerRules(e *env) {
	for _, c := range calls() {
		e.prepare(c, "there")
		e.want(unix.EFAULT, c.wild(), "%s with a pointer to nowhere", c.name)
		e.clear("there")
	}
}

// ownMounts gives the thread a mount namespace, in which it may mount.
func (e *env) ownMounts() {
	e.Helper()
	e.must(unix.Unshare(unix.CLONE_NEWNS), "unshare mounts")
	e.must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), "make mounts private")
	e.must(unix.Chdir(e.dir), "chdir")
}

func readOnlyRules(e *env) {
	e.make(directory, "ro", 0o777)
	e.must(unix.Chdir("ro"), "chdir")
	for _, c := range calls() {
		e.prepare(c, "on-"+c.name)
	}
	for _, k := range allKinds {
		e.make(k, string(k), 0o777)
	}
	e.ownMounts()
	ro := e.dir + "/ro"
	e.must(unix.Mount(ro, ro, "", unix.MS_BIND, ""), "bind mount")
	e.must(unix.Mount("", ro, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""), "remount read-only")
	e.must(unix.Chdir(ro), "chdir")
	for _, c := range calls() {
		want := unix.Errno(0)
		if c.writes {
			want = unix.EROFS
		}
		e.want(want, c.do("on-"+c.name), "%s on a read-only mount", c.name)
		if c.on == "" && c.name != "rename-to" {
			for _, k := range allKinds {
				e.want(unix.EEXIST, c.do(string(k)), "%s over a %s on a read-only mount", c.name, k)
			}
		}
	}
	for _, k := range allKinds {
		e.want(unix.EROFS, unix.Lchown(string(k), 1, 1), "chown of a %s on a read-only mount", k)
		e.want(unix.EROFS, unix.Rename(string(k), "new"), "rename of a %s on a read-only mount", k)
		if k != directory {
			e.want(unix.EROFS, unix.Unlink(string(k)), "unlink of a %s on a read-only mount", k)
		}
		e.want(unix.EROFS, access2(k), "may a %s be written on a read-only mount", k)
	}
	e.want(unix.EROFS, openClose("regular", unix.O_RDONLY|unix.O_TRUNC, 0), "open with O_TRUNC on a read-only mount")
	e.want(unix.EROFS, openClose("regular", unix.O_RDWR, 0), "open with O_RDWR on a read-only mount")
	e.want(0, openClose("regular", unix.O_RDONLY|unix.O_CREAT, 0o644), "open with O_CREAT of what is there on a read-only mount")
	e.want(unix.EROFS, openClose("none", unix.O_RDONLY|unix.O_CREAT, 0o644), "open with O_CREAT on a read-only mount")
}

// access2 asks for write access where a read-only mount matters: it does not for
// devices, pipes and sockets.
func access2(k kind) error {
	err := access(string(k), unix.W_OK)
	switch k {
	case fifo, socket, block, char:
		if err == nil {
			return unix.EROFS
		}
	case symlink:
		if err == unix.ENOENT { // its target
			return unix.EROFS
		}
	}
	return err
}

// Mount points are not removed, renamed or linked over, and nothing moves from
// one mount to another.
func busyRules(e *env) {
	e.make(directory, "bound", 0o755)
	e.make(directory, "other", 0o755)
	e.make(directory, "source", 0o755)
	e.file("file", 0o644, "x")
	e.make(regular, "bound-file", 0o644)
	for _, k := range allKinds {
		e.make(k, string(k), 0o644)
	}
	e.ownMounts()
	at := func(name string) string { return e.dir + "/" + name }
	e.must(unix.Mount("tmpfs", at("other"), "tmpfs", 0, "size=1m"), "mount tmpfs")
	e.must(unix.Mount(at("source"), at("bound"), "", unix.MS_BIND, ""), "bind mount")
	e.must(unix.Mount(at("file"), at("bound-file"), "", unix.MS_BIND, ""), "bind mount of a file")
	for _, m := range []string{"bound", "other"} {
		e.want(unix.EBUSY, unix.Rmdir(m), "rmdir of the mount point %s", m)
		e.want(unix.EBUSY, unix.Rename(m, "moved"), "rename of the mount point %s", m)
		e.want(unix.EBUSY, unix.Rename("directory", m), "rename of a directory over the mount point %s", m)
		e.want(unix.EISDIR, unix.Rename("regular", m), "rename of a file over the mount point %s", m)
		for _, k := range allKinds {
			e.want(unix.EXDEV, unix.Rename(string(k), m+"/new"), "rename of a %s to another mount, %s", k, m)
			if k != directory {
				e.want(unix.EXDEV, unix.Link(string(k), m+"/new"), "link of a %s to another mount, %s", k, m)
			}
		}
		e.make(regular, m+"/there", 0o644)
		e.want(unix.EXDEV, unix.Rename(m+"/there", "new"), "rename from another mount, %s", m)
		e.want(unix.EXDEV, unix.Link(m+"/there", "new"), "link from another mount, %s", m)
		e.remove(m + "/there")
	}
	e.want(unix.EBUSY, unix.Unlink("bound-file"), "unlink of a file that is a mount point")
	e.want(unix.EBUSY, unix.Rename("bound-file", "new"), "rename of a file that is a mount point")
	e.want(unix.EBUSY, unix.Rename("regular", "bound-file"), "rename over a file that is a mount point")
	e.gone("new")
	e.gone("moved")
}
