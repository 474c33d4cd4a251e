package brickfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

// TestAttrs does the same to every type of object on both kinds of brick, with
// and without the system calls of Linux 6.13.
func TestAttrs(t *testing.T) {
	testenv.NeedRoot(t)
	old := haveXattrAt
	defer func() { haveXattrAt = old }()
	for _, at := range []bool{true, false} {
		if at && !old() {
			continue
		}
		haveXattrAt = func() bool { return at }
		for _, rootless := range []bool{false, true} {
			dir := t.TempDir()
			fd, err := Openat(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
			if err != nil {
				t.Fatal(err)
			}
			a := NewAttrs(rootless, fd)
			for name, mk := range map[string]func(string) error{
				"file":    func(p string) error { return os.WriteFile(p, nil, 0o600) },
				"dir":     func(p string) error { return os.Mkdir(p, 0o700) },
				"symlink": func(p string) error { return os.Symlink("/nowhere", p) },
				"fifo":    func(p string) error { return unix.Mkfifo(p, 0o600) },
			} {
				if err := mk(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				testAttrs(t, a, At(fd, name))
			}
			unix.Close(fd)
		}
	}
}

func testAttrs(t *testing.T, a *Attrs, o Obj) {
	t.Helper()
	want := func(err error, wanted syscall.Errno) {
		t.Helper()
		if err != wanted && !(err == nil && wanted == 0) {
			t.Fatalf("%s, rootless %t: got %v, want %v", o.Name, a.Rootless(), err, wanted)
		}
	}
	_, err := a.Value(o, "trusted.x")
	want(err, syscall.ENODATA)
	want(a.Remove(o, "trusted.x"), syscall.ENODATA)
	want(a.Set(o, "trusted.x", []byte("1"), unix.XATTR_REPLACE), syscall.ENODATA)
	want(a.Set(o, "trusted.x", []byte("1"), unix.XATTR_CREATE), 0)
	want(a.Set(o, "trusted.x", []byte("2"), unix.XATTR_CREATE), syscall.EEXIST)
	long := strings.Repeat("long", 200)
	want(a.Set(o, "trusted.y", []byte(long), 0), 0)
	want(a.Set(o, "trusted.empty", nil, 0), 0)
	v, err := a.Value(o, "trusted.y")
	want(err, 0)
	if string(v) != long {
		t.Fatalf("%s: read %q", o.Name, v)
	}
	n, err := a.Get(o, "trusted.y", nil)
	want(err, 0)
	if n != len(long) {
		t.Fatalf("%s: length %d", o.Name, n)
	}
	_, err = a.Get(o, "trusted.y", make([]byte, 3))
	want(err, syscall.ERANGE)
	names, err := a.List(o)
	want(err, 0)
	slices.Sort(names)
	if !slices.Equal(names, []string{"trusted.empty", "trusted.x", "trusted.y"}) {
		t.Fatalf("%s, rootless %t: names %q", o.Name, a.Rootless(), names)
	}
	want(a.Remove(o, "trusted.x"), 0)
	_, err = a.Value(o, "trusted.x")
	want(err, syscall.ENODATA)
	if o.Name == "symlink" || o.Name == "fifo" {
		want(a.Set(o, "user.x", nil, 0), syscall.EPERM)
	}
	if a.Rootless() {
		want(a.Set(o, Marker, nil, 0), syscall.EPERM)
	}
}

// TestSideFileOfAnother checks that attributes never pass to an inode that got
// the number of one that is gone.
func TestSideFileOfAnother(t *testing.T) {
	dir := t.TempDir()
	fd, err := Openat(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	a := NewAttrs(true, fd)
	if err := os.Symlink("x", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	o := At(fd, "link")
	if err := a.Set(o, "trusted.x", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	id, _ := sideID(o)
	other := id
	other.birth++
	if err := a.writeSide(other, sideFile{{"trusted.x", []byte("stranger")}}); err != nil {
		t.Fatal(err)
	}
	if v, err := a.Value(o, "trusted.x"); err != syscall.ENODATA {
		t.Fatalf("read %q, %v", v, err)
	}
	a.Forget(o)
	if _, err := os.Stat(filepath.Join(dir, id.path())); !os.IsNotExist(err) {
		t.Fatalf("after Forget: %v", err)
	}
}
