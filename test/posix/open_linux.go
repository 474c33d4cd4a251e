package posix

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func openRules(e *env) {
	e.part("flags", func(e *env) {
		for _, k := range allKinds {
			e.make(k, string(k), 0o644)
			e.want(unix.EEXIST, openClose(string(k), unix.O_CREAT|unix.O_EXCL, 0o644), "open of a %s with O_CREAT and O_EXCL", k)
			if k != directory && k != symlink {
				e.want(unix.ENOTDIR, openClose(string(k), unix.O_DIRECTORY, 0), "open of a %s with O_DIRECTORY", k)
			}
			if k != symlink {
				e.must(unix.Symlink(string(k), "to-"+string(k)), "symlink")
				e.want(unix.ELOOP, openClose("to-"+string(k), unix.O_NOFOLLOW, 0), "open of a link to a %s with O_NOFOLLOW", k)
				e.want(unix.ELOOP, openClose("to-"+string(k), unix.O_NOFOLLOW|unix.O_WRONLY|unix.O_CREAT, 0o644), "open of a link to a %s with O_NOFOLLOW and O_CREAT", k)
				e.want(unix.EEXIST, openClose("to-"+string(k), unix.O_CREAT|unix.O_EXCL, 0o644), "open of a link to a %s with O_CREAT and O_EXCL", k)
			}
		}
		e.want(unix.ENOENT, openClose("symlink", unix.O_RDONLY, 0), "open of a link to nothing")
		e.want(0, openClose("symlink", unix.O_CREAT|unix.O_WRONLY, 0o640), "open of a link to nothing with O_CREAT")
		e.hasMode("target", 0o640)
		for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_CREAT, unix.O_WRONLY | unix.O_TRUNC, unix.O_RDONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_CREAT} {
			e.want(unix.EISDIR, openClose("directory", flags, 0o644), "open of a directory with flags %o", flags)
		}
		e.want(unix.ENXIO, openClose("fifo", unix.O_WRONLY, 0), "open of a fifo that nobody reads for writing")
		e.want(0, openClose("fifo", unix.O_RDONLY, 0), "open of a fifo for reading without waiting")
		e.want(0, openClose("fifo", unix.O_RDWR, 0), "open of a fifo for both")
		for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
			e.want(unix.ENXIO, openClose("socket", flags, 0), "open of a socket with flags %o", flags)
		}
		e.want(0, openClose("socket", unix.O_PATH, 0), "open of a socket with O_PATH")
		fd, err := unix.Open("symlink", unix.O_PATH|unix.O_NOFOLLOW, 0)
		e.want(0, err, "open of a link with O_PATH and O_NOFOLLOW")
		var st unix.Stat_t
		e.want(0, unix.Fstat(fd, &st), "fstat of a link")
		e.is(st.Mode&unix.S_IFMT == unix.S_IFLNK, "fstat of a link says %o", st.Mode)
		unix.Close(fd)
		e.want(0, openClose("char", unix.O_RDWR, 0), "open of a device")
		e.want(unix.EINVAL, openClose("new", unix.O_CREAT|unix.O_DIRECTORY|unix.O_RDONLY, 0o755), "open with O_CREAT and O_DIRECTORY")
		e.gone("new")
	})
	e.part("truncates", func(e *env) {
		e.file("f", 0o644, "content")
		e.times("open with O_TRUNC", map[string]string{"f": "mc", ".": ""}, func() {
			e.want(0, openClose("f", unix.O_WRONLY|unix.O_TRUNC, 0), "open with O_TRUNC")
		})
		e.is(e.stat("f").Size == 0, "O_TRUNC left %d bytes", e.stat("f").Size)
		e.times("open", map[string]string{"f": "", ".": ""}, func() {
			e.want(0, openClose("f", unix.O_RDWR|unix.O_CREAT, 0), "open with O_CREAT")
		})
		e.must(os.WriteFile(filepath.Join(e.dir, "f"), []byte("content"), 0), "write")
		e.want(0, openClose("f", unix.O_RDONLY|unix.O_TRUNC, 0), "open for reading with O_TRUNC")
		e.is(e.stat("f").Size == 0, "O_TRUNC left %d bytes", e.stat("f").Size)
		e.want(unix.EEXIST, openClose("f", unix.O_WRONLY|unix.O_TRUNC|unix.O_CREAT|unix.O_EXCL, 0), "open with O_EXCL and O_TRUNC")
	})
	// What a descriptor may do is what it was opened for.
	e.part("directions", func(e *env) {
		e.file("f", 0o644, "content")
		r, w := e.open("f", unix.O_RDONLY), e.open("f", unix.O_WRONLY)
		b := []byte("x")
		_, err := unix.Write(r, b)
		e.want(unix.EBADF, err, "write to what was opened for reading")
		_, err = unix.Read(w, b)
		e.want(unix.EBADF, err, "read of what was opened for writing")
		e.want(unix.EINVAL, unix.Ftruncate(r, 0), "ftruncate of what was opened for reading")
		e.want(unix.EBADF, unix.Fallocate(r, 0, 0, 10), "fallocate of what was opened for reading")
		e.make(directory, "d", 0o755)
		d := e.open("d", unix.O_RDONLY)
		_, err = unix.Read(d, b)
		e.want(unix.EISDIR, err, "read of a directory")
		e.want(unix.EINVAL, unix.Ftruncate(d, 0), "ftruncate of a directory")
		_, err = unix.Write(d, b)
		e.want(unix.EBADF, err, "write to a directory")
		e.want(0, unix.Fsync(d), "fsync of a directory")
		e.want(0, unix.Fsync(r), "fsync of what was opened for reading")
		e.want(0, unix.Fdatasync(w), "fdatasync")
		p := e.open("f", unix.O_PATH)
		_, err = unix.Read(p, b)
		e.want(unix.EBADF, err, "read by O_PATH")
		e.want(unix.EBADF, unix.Fchmod(p, 0), "fchmod by O_PATH")
		var st unix.Stat_t
		e.want(0, unix.Fstat(p, &st), "fstat by O_PATH")
		a, err := unix.Openat(d, "made", unix.O_CREAT|unix.O_RDWR, 0o600)
		e.want(0, err, "openat")
		unix.Close(a)
		e.hasMode("d/made", 0o600)
		e.want(unix.ENOTDIR, unix.Mkdirat(r, "x", 0o755), "mkdirat below a file")
	})
	e.part("executed", func(e *env) {
		e.program("prog")
		stop := e.running("prog")
		for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC, unix.O_RDONLY | unix.O_TRUNC} {
			e.want(unix.ETXTBSY, openClose("prog", flags, 0), "open of a running program with flags %o", flags)
		}
		e.want(unix.ETXTBSY, unix.Truncate("prog", 1), "truncate of a running program")
		e.want(0, openClose("prog", unix.O_RDONLY, 0), "open of a running program for reading")
		e.want(0, unix.Rename("prog", "moved"), "rename of a running program")
		e.want(0, unix.Unlink("moved"), "unlink of a running program")
		stop()
		e.program("prog2")
		w, err := unix.Open("prog2", unix.O_WRONLY, 0)
		e.must(err, "open")
		cmd := exec.Command(filepath.Join(e.dir, "prog2"), "0")
		e.want(unix.ETXTBSY, cmd.Run(), "execution of what is open for writing")
		unix.Close(w)
		e.want(0, exec.Command(filepath.Join(e.dir, "prog2"), "0").Run(), "execution")
		e.mode("prog2", 0o644)
		e.want(unix.EACCES, exec.Command(filepath.Join(e.dir, "prog2"), "0").Run(), "execution without x")
	})
	e.part("append", func(e *env) {
		e.file("f", 0o644, "")
		a, b := e.open("f", unix.O_WRONLY|unix.O_APPEND), e.open("f", unix.O_WRONLY|unix.O_APPEND)
		want := ""
		for i := range 20 {
			fd, text := a, "from a;"
			if i%3 == 1 {
				fd, text = b, "b!"
			}
			n, err := unix.Write(fd, []byte(text))
			e.want(0, err, "append")
			e.is(n == len(text), "append of %d wrote %d", len(text), n)
			want += text
			at, err := unix.Seek(fd, 0, io.SeekCurrent)
			e.want(0, err, "seek")
			e.is(at == int64(len(want)), "after an append the descriptor is at %d, want %d", at, len(want))
		}
		e.is(e.read("f") == want, "appends by two descriptors gave %q", e.read("f"))
		e.must(unix.Ftruncate(a, 3), "ftruncate")
		_, err := unix.Write(b, []byte("END"))
		e.want(0, err, "append after truncation")
		e.is(e.read("f") == "froEND", "append after truncation gave %q", e.read("f"))
		_, err = unix.Pwrite(a, []byte("!"), 0) // Linux appends here, too
		e.want(0, err, "pwrite to what is opened for appending")
		e.is(e.read("f") == "froEND!", "pwrite to what is opened for appending gave %q", e.read("f"))
	})
	e.part("tmpfile", tmpfileRules)
}

// tmpfileRules: files without a name. A file system may refuse them all.
func tmpfileRules(e *env) {
	fd, err := unix.Open(".", unix.O_TMPFILE|unix.O_RDWR, 0o640)
	if err == unix.EOPNOTSUPP {
		e.is(true, "")
		e.Logf("no O_TMPFILE: EOPNOTSUPP")
		return
	}
	e.want(0, err, "open with O_TMPFILE")
	e.must(err, "open")
	defer unix.Close(fd)
	names, err := listNames(".")
	e.must(err, "list")
	e.is(len(names) == 0, "a file without a name is listed: %q", names)
	var st unix.Stat_t
	e.want(0, unix.Fstat(fd, &st), "fstat of a file without a name")
	e.is(st.Nlink == 0 && st.Mode == unix.S_IFREG|0o640, "a file without a name has %d links and mode %o", st.Nlink, st.Mode)
	_, err = unix.Write(fd, []byte("content"))
	e.want(0, err, "write to a file without a name")
	e.want(0, unix.Linkat(fd, "", unix.AT_FDCWD, "named", unix.AT_EMPTY_PATH), "give it a name")
	e.is(e.read("named") == "content", "it has %q", e.read("named"))
	e.is(e.stat("named").Nlink == 1, "it has %d links", e.stat("named").Nlink)
	never, err := unix.Open(".", unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL, 0o640)
	e.want(0, err, "open with O_TMPFILE and O_EXCL")
	e.want(unix.ENOENT, unix.Linkat(never, "", unix.AT_FDCWD, "never", unix.AT_EMPTY_PATH), "give a name to what shall have none")
	unix.Close(never)
	e.want(unix.EINVAL, openClose(".", unix.O_TMPFILE|unix.O_RDONLY, 0o640), "open with O_TMPFILE for reading")
	e.want(unix.ENOTDIR, openClose("named", unix.O_TMPFILE|unix.O_RDWR, 0o640), "open with O_TMPFILE in a file")
	e.want(unix.ENOENT, openClose("none", unix.O_TMPFILE|unix.O_RDWR, 0o640), "open with O_TMPFILE in nothing")
	e.make(directory, "closed", 0o555)
	e.as(other, func() {
		e.want(unix.EACCES, openClose("closed", unix.O_TMPFILE|unix.O_RDWR, 0o640), "open with O_TMPFILE in a directory that may not be written")
	})
}

// program copies /bin/sleep.
func (e *env) program(name string) {
	e.Helper()
	path, err := exec.LookPath("sleep")
	e.must(err, "a program to copy")
	b, err := os.ReadFile(path)
	e.must(err, "read %s", path)
	e.must(os.WriteFile(filepath.Join(e.dir, name), b, 0o755), "write a program")
}

// running starts a program of the chapter's directory; the returned function
// ends it.
func (e *env) running(name string) func() {
	e.Helper()
	cmd := exec.Command(filepath.Join(e.dir, name), "60")
	e.must(cmd.Start(), "start %s", name)
	return func() {
		_ = cmd.Process.Kill()
		err := cmd.Wait()
		e.is(err != nil && strings.Contains(err.Error(), "killed"), "the program ended with %v", err)
	}
}

// unlinkedRules: open files whose names are gone.
func unlinkedRules(e *env) {
	for _, how := range []string{"unlinked", "replaced"} {
		name := "f-" + how
		e.file(name, 0o644, "content")
		fd := e.open(name, unix.O_RDWR)
		second := e.open(name, unix.O_RDONLY)
		if how == "unlinked" {
			e.want(0, unix.Unlink(name), "unlink of an open file")
			e.gone(name)
		} else {
			e.file("new", 0o644, "other")
			e.want(0, unix.Rename("new", name), "rename over an open file")
			e.is(e.read(name) == "other", "the name has %q", e.read(name))
		}
		var st unix.Stat_t
		e.want(0, unix.Fstat(fd, &st), "fstat of a file that was %s", how)
		e.is(st.Nlink == 0, "a file that was %s has %d links", how, st.Nlink)
		e.is(st.Size == 7, "a file that was %s has size %d", how, st.Size)
		b := make([]byte, 20)
		n, err := unix.Pread(second, b, 0)
		e.want(0, err, "read of a file that was %s", how)
		e.is(string(b[:max(n, 0)]) == "content", "a file that was %s has %q", how, b[:max(n, 0)])
		_, err = unix.Pwrite(fd, []byte("CON"), 0)
		e.want(0, err, "write to a file that was %s", how)
		n, err = unix.Pread(second, b, 0)
		e.want(0, err, "read again")
		e.is(string(b[:max(n, 0)]) == "CONtent", "a file that was %s has %q", how, b[:max(n, 0)])
		e.want(0, unix.Ftruncate(fd, 100000), "ftruncate of a file that was %s", how)
		e.want(0, unix.Fchmod(fd, 0o600), "fchmod of a file that was %s", how)
		e.want(0, unix.Fchown(fd, 3, 4), "fchown of a file that was %s", how)
		e.want(0, unix.Fsync(fd), "fsync of a file that was %s", how)
		e.want(0, unix.Fsetxattr(fd, "user.x", []byte("v"), 0), "fsetxattr of a file that was %s", how)
		n, err = unix.Fgetxattr(fd, "user.x", b)
		e.want(0, err, "fgetxattr of a file that was %s", how)
		e.is(string(b[:max(n, 0)]) == "v", "xattr %q", b[:max(n, 0)])
		e.want(0, unix.Fstat(second, &st), "fstat")
		e.is(st.Size == 100000 && st.Mode == unix.S_IFREG|0o600 && st.Uid == 3 && st.Gid == 4, "a file that was %s: size %d, mode %o, %d:%d", how, st.Size, st.Mode, st.Uid, st.Gid)
		e.want(unix.ENOENT, unix.Linkat(fd, "", unix.AT_FDCWD, "back", unix.AT_EMPTY_PATH), "a name for a file that was %s", how)
	}
	// A name that is left keeps the file.
	e.file("one", 0o644, "content")
	e.must(unix.Link("one", "two"), "link")
	fd := e.open("one", unix.O_RDWR)
	e.want(0, unix.Unlink("one"), "unlink")
	var st unix.Stat_t
	e.want(0, unix.Fstat(fd, &st), "fstat")
	e.is(st.Nlink == 1, "one of two names is left, nlink is %d", st.Nlink)
	_, err := unix.Pwrite(fd, []byte("C"), 0)
	e.want(0, err, "write")
	e.is(e.read("two") == "Content", "the other name has %q", e.read("two"))
	// Directories, too.
	e.make(directory, "d", 0o755)
	d := e.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
	e.want(0, unix.Rmdir("d"), "rmdir of an open directory")
	e.want(0, unix.Fstat(d, &st), "fstat of a directory that is gone")
	e.is(st.Nlink == 0, "a directory that is gone has %d links", st.Nlink)
	_, err = unix.Openat(d, "f", unix.O_CREAT|unix.O_WRONLY, 0o644)
	e.want(unix.ENOENT, err, "create in a directory that is gone")
	e.want(unix.ENOENT, unix.Mkdirat(d, "f", 0o755), "mkdir in a directory that is gone")
	e.want(unix.ENOENT, unix.Linkat(unix.AT_FDCWD, "two", d, "f", 0), "link into a directory that is gone")
	e.want(unix.ENOENT, unix.Renameat(unix.AT_FDCWD, "two", d, "f"), "rename into a directory that is gone")
	got, err := readNames(d)
	e.wantAny([]unix.Errno{unix.ENOENT, 0}, err, "list a directory that is gone")
	e.is(len(got) == 0, "a directory that is gone lists %q", got)
}
