package interop

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/gfapi"
)

// library is a target: our client.
type library struct {
	vol   *gfapi.Volume
	files map[int]*gfapi.File
}

// notOffered is the outcome of an op for which gfapi has no call. It is not
// compared, and the op has no effect that the bricks would show.
var notOffered = result{Errno: "not offered"}

// mountLibrary mounts a server's volume with our client, in the test's process.
func mountLibrary(t testing.TB, s *server, opts ...gfapi.Option) *gfapi.Volume {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	opts = append([]gfapi.Option{
		gfapi.WithDialer(s.node.DialContext),
		gfapi.WithCredentials(gfapi.Cred{}),
		gfapi.WithUmask(0),
	}, opts...)
	vol, err := gfapi.Mount(ctx, s.node.IP, s.volume, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vol.Unmount() })
	return vol
}

func newLibrary(vol *gfapi.Volume) *library {
	return &library{vol: vol, files: map[int]*gfapi.File{}}
}

func (l *library) Close() error {
	for _, f := range l.files {
		f.Close()
	}
	return l.vol.Unmount()
}

// fileMode turns a mode of Linux into Go's.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	for _, b := range []struct {
		linux uint32
		ours  fs.FileMode
	}{{unix.S_ISUID, fs.ModeSetuid}, {unix.S_ISGID, fs.ModeSetgid}, {unix.S_ISVTX, fs.ModeSticky}} {
		if m&b.linux != 0 {
			mode |= b.ours
		}
	}
	switch m & unix.S_IFMT {
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	}
	return mode
}

func infoText(fi fs.FileInfo, err error) result {
	if err != nil {
		return failed(err)
	}
	st := fi.Sys().(*gfapi.Stat)
	return result{Text: statText(st.Mode, st.Nlink, st.UID, st.GID, int64(st.Size), unix.Mkdev(st.Major, st.Minor))}
}

func (l *library) Do(o op) result {
	v := l.vol
	if o.As != 0 {
		v = v.As(gfapi.Cred{UID: o.As, GID: o.As})
	}
	if o.Do == "rename" {
		if r, skip := l.leaveOut(v, o); skip {
			return r
		}
	}
	if o.H != 0 {
		return l.onFile(v, o)
	}
	if err := mayLook(v, o); err != nil {
		return failed(err)
	}
	switch o.Do {
	case "mkdir":
		return done(0, v.Mkdir(o.Path, fileMode(o.Mode)))
	case "mknod":
		return done(0, v.Mknod(o.Path, fileMode(o.Mode), unix.Major(uint64(o.Len)), unix.Minor(uint64(o.Len))))
	case "symlink":
		return done(0, v.Symlink(o.To, o.Path))
	case "link":
		return done(0, v.Link(o.Path, o.To))
	case "rename":
		return done(0, v.Rename(o.Path, o.To))
	case "unlink", "rmdir":
		// Remove is for both; which one it is to be the kernel decides for FUSE.
		if fi, err := l.vol.Lstat(o.Path); err == nil && fi.IsDir() != (o.Do == "rmdir") {
			if fi.IsDir() {
				return failed(syscall.EISDIR)
			}
			return failed(syscall.ENOTDIR)
		}
		return done(0, v.Remove(o.Path))
	case "chmod":
		return done(0, v.Chmod(o.Path, fileMode(o.Mode)))
	case "chown":
		return done(0, v.Lchown(o.Path, o.UID, o.GID))
	case "truncate":
		return done(0, v.Truncate(o.Path, o.Len))
	case "utimes":
		if err := v.Chtimes(o.Path, time.Unix(0, o.Off), time.Unix(0, o.Len)); err != nil {
			return failed(err)
		}
		if o.Flags != 0 {
			return result{}
		}
		fi, err := v.Stat(o.Path)
		if err != nil {
			return failed(err)
		}
		st := fi.Sys().(*gfapi.Stat)
		return result{Text: timesText(st.Atime.UnixNano(), st.Mtime.UnixNano())}
	case "lstat":
		return infoText(v.Lstat(o.Path))
	case "stat":
		return infoText(v.Stat(o.Path))
	case "readlink":
		return text(v.Readlink(o.Path))
	case "readdir":
		return libraryReaddir(v, o.Path)
	case "readfile":
		b, err := v.ReadFile(o.Path)
		return text(digest(b), err)
	case "setxattr":
		return done(0, v.Setxattr(o.Path, o.Name, o.Value, o.Flags))
	case "removexattr":
		err := v.Removexattr(o.Path, o.Name)
		if strings.HasPrefix(o.Name, "system.posix_acl") {
			// A brick of 10.3 goes on with a removed ACL until the next lookup,
			// which a FUSE client sends with whatever comes next.
			l.vol.Lstat(o.Path)
		}
		return done(0, err)
	case "getxattr":
		b, err := v.Getxattr(o.Path, o.Name)
		return text(digest(b), err)
	case "listxattr":
		names, err := v.Listxattr(o.Path)
		return text(xattrNames(names), err)
	}
	return result{Errno: "no such operation"}
}

// mayLook is looksFirst for our library.
func mayLook(v *gfapi.Volume, o op) error {
	return looksFirst(o, func(p string) error { _, err := v.Lstat(p); return err })
}

// looksFirst looks the names of an op up on behalf of its caller, as the kernel
// does before anything else. Libraries send one request, and what is wrong with it
// first, the name or the permission, is for the brick to choose.
func looksFirst(o op, lstat func(path string) error) error {
	if o.As == 0 || !slices.Contains([]string{"unlink", "rmdir", "rename", "mkdir", "symlink", "open"}, o.Do) {
		return nil
	}
	names := []string{o.Path}
	if o.Do == "rename" {
		names = append(names, o.To)
	}
	for i, p := range names {
		err := lstat(p)
		if errors.Is(err, syscall.EACCES) {
			return err
		}
		if i == 0 && o.Do == "rename" && errors.Is(err, syscall.ENOENT) {
			return err // before the new name is looked at
		}
	}
	return nil
}

func libraryReaddir(v *gfapi.Volume, dir string) result {
	des, err := v.ReadDir(dir)
	if err != nil {
		return failed(err)
	}
	var names []string
	for _, de := range des {
		names = append(names, modeLetter(de.Type())+":"+de.Name())
	}
	return entryNames(names)
}

// leaveOut is system.leaveOut.
func (l *library) leaveOut(v *gfapi.Volume, o op) (result, bool) {
	a, err1 := l.vol.Lstat(o.Path)
	b, err2 := l.vol.Lstat(o.To)
	if err1 != nil || err2 != nil {
		return result{}, false
	}
	if a.Sys().(*gfapi.Stat).GFID == b.Sys().(*gfapi.Stat).GFID {
		return sameObject, true
	}
	if !a.IsDir() {
		return result{}, false
	}
	if !b.IsDir() {
		if err := mayLook(v, o); err != nil {
			return failed(err), true
		}
		// For FUSE the kernel says so. A brick of 10.3 that has to say so loses
		// the handle of the directory, see ontoFull.
		return failed(syscall.ENOTDIR), true
	}
	return ontoFull, libraryReaddir(l.vol, o.To).N > 0
}

func (l *library) onFile(v *gfapi.Volume, o op) result {
	f := l.files[o.H]
	if o.Do == "open" {
		if f != nil {
			f.Close()
			delete(l.files, o.H)
		}
		if err := mayLook(v, o); err != nil {
			return failed(err)
		}
		f, err := v.OpenFile(o.Path, o.Flags, fileMode(o.Mode))
		if err != nil {
			return failed(err)
		}
		l.files[o.H] = f
		return result{}
	}
	if f == nil {
		return result{Errno: "nothing open"}
	}
	switch o.Do {
	case "close":
		delete(l.files, o.H)
		return done(0, f.Close())
	case "read":
		b := make([]byte, o.Len)
		n, err := f.ReadAt(b, o.Off)
		if err != nil && err != io.EOF {
			return failed(err)
		}
		return result{N: int64(n), Text: digest(b[:n])}
	case "write":
		n, err := f.WriteAt(data(o), o.Off)
		return done(int64(n), err)
	case "append":
		n, err := f.Write(data(o))
		return done(int64(n), err)
	case "ftruncate":
		return done(0, f.Truncate(o.Len))
	case "fallocate":
		switch o.Flags {
		case 0:
			return done(0, f.Allocate(o.Off, o.Len))
		case unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE:
			return done(0, f.Punch(o.Off, o.Len))
		}
		return notOffered
	case "fsync":
		return done(0, f.Sync())
	case "fstat":
		return infoText(f.Stat())
	case "lock":
		switch o.Flags {
		case unix.F_RDLCK:
			return done(0, f.TryLock(gfapi.ReadLock, o.Off, o.Len))
		case unix.F_WRLCK:
			return done(0, f.TryLock(gfapi.WriteLock, o.Off, o.Len))
		}
		return done(0, f.Unlock(o.Off, o.Len))
	case "getlk":
		return notOffered
	}
	return result{Errno: "no such operation"}
}
