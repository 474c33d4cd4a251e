package gfapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mountHandler is a volume on a handler, for tests.
func mountHandler(t testing.TB, h fop.Handler, opts ...Option) *Volume {
	v := newVolume(h, newOptions(append([]Option{WithCredentials(Cred{})}, opts...)), nil)
	t.Cleanup(func() {
		if err := v.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func memVolume(t testing.TB, opts ...Option) *Volume { return mountHandler(t, mem.NewFS(nil), opts...) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails checks an error's errno and form.
func fails(t testing.TB, err error, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
		return
	}
	var pe *fs.PathError
	var le *os.LinkError
	if !errors.As(err, &pe) && !errors.As(err, &le) {
		t.Errorf("error %v is a %T, want *fs.PathError or *os.LinkError", err, err)
	}
}

func TestTheTalk(t *testing.T) {
	v := memVolume(t)
	must(t, v.Mkdir("north", 0o755))
	f, err := v.Create("north/motto.txt")
	must(t, err)
	_, err = f.WriteString("Winter is coming.")
	must(t, err)
	must(t, f.Close())
	f, err = v.Open("north/motto.txt")
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, err)
	if string(got) != "Winter is coming." {
		t.Errorf("read %q", got)
	}
	must(t, f.Close())
	fails(t, f.Close(), fs.ErrClosed)
	_, err = f.Read(make([]byte, 1))
	fails(t, err, fs.ErrClosed)
	must(t, v.Remove("north/motto.txt"))
	_, err = v.Stat("north/motto.txt")
	fails(t, err, fs.ErrNotExist)
	list, err := v.ReadDir("/")
	must(t, err)
	if len(list) != 1 || list[0].Name() != "north" || !list[0].IsDir() {
		t.Errorf("the root has %v", list)
	}
}

func TestFS(t *testing.T) {
	v := memVolume(t)
	must(t, v.MkdirAll("a/b/c", 0o755))
	must(t, v.WriteFile("hello.txt", []byte("hello"), 0o644))
	must(t, v.WriteFile("a/b/big", bytes.Repeat([]byte("0123456789"), 400), 0o600))
	must(t, v.WriteFile("a/empty", nil, 0o644))
	must(t, v.Symlink("hello.txt", "link"))
	must(t, v.Symlink("b/c", "a/dirlink"))
	if err := fstest.TestFS(v.FS(), "hello.txt", "a/b/big", "a/empty", "link", "a/b/c", "a/dirlink"); err != nil {
		t.Error(err)
	}
	sub, err := fs.Sub(v.FS(), "a")
	must(t, err)
	if err := fstest.TestFS(sub, "b/big", "empty"); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	v := memVolume(t)
	must(t, v.MkdirAll("/a/b", 0o755))
	must(t, v.WriteFile("a/f", []byte("F"), 0o644))
	must(t, v.Symlink("/a/b", "abs"))
	must(t, v.Symlink("../../../../../a", "a/b/up"))
	must(t, v.Symlink("loop2", "loop1"))
	must(t, v.Symlink("loop1", "loop2"))
	must(t, v.Symlink("nowhere", "dangling"))
	must(t, v.Symlink("a/f", "tofile"))
	for _, c := range []struct {
		path string
		want error // nil: exists
	}{
		{"a", nil}, {"/a", nil}, {"//a//b//", nil}, {"./a/./b/.", nil}, {"a/../a/b/..", nil}, {"../../a", nil}, {"..", nil}, {"/", nil}, {".", nil},
		{"abs", nil}, {"abs/../f", nil}, {"a/b/up/f", nil}, {"abs/up/b/up/f", nil}, {"tofile", nil},
		{"", fs.ErrNotExist}, {"a\x00b", syscall.EINVAL}, {"a/f/", syscall.ENOTDIR}, {"a/f/x", syscall.ENOTDIR}, {"a/f/.", syscall.ENOTDIR},
		{"a/f/..", syscall.ENOTDIR}, {"tofile/", syscall.ENOTDIR}, {"loop1", syscall.ELOOP}, {"loop1/x", syscall.ELOOP}, {"dangling", fs.ErrNotExist},
		{"none/..", fs.ErrNotExist}, {strings.Repeat("n", 256), syscall.ENAMETOOLONG},
	} {
		_, err := v.Stat(c.path)
		if c.want == nil {
			if err != nil {
				t.Errorf("stat %q: %v", c.path, err)
			}
		} else {
			fails(t, err, c.want)
		}
	}
	fi, err := v.Lstat("abs")
	must(t, err)
	if fi.Mode().Type() != fs.ModeSymlink || fi.Name() != "abs" {
		t.Errorf("lstat of a link: %v", fi)
	}
	if fi, err = v.Lstat("abs/"); err != nil || !fi.IsDir() {
		t.Errorf("lstat of a link with a slash: %v, %v", fi, err)
	}

	// 40 links are fine, 41 are too many.
	must(t, v.WriteFile("l0", []byte("end"), 0o644))
	for i := 1; i <= 41; i++ {
		must(t, v.Symlink(fmt.Sprintf("l%d", i-1), fmt.Sprintf("l%d", i)))
	}
	if got, err := v.ReadFile("l40"); err != nil || string(got) != "end" {
		t.Errorf("through 40 links: %q, %v", got, err)
	}
	_, err = v.ReadFile("l41")
	fails(t, err, syscall.ELOOP)

	// Any depth: no PATH_MAX.
	deep := strings.Repeat(strings.Repeat("d", 100)+"/", 100) + "end"
	must(t, v.MkdirAll(deep, 0o755))
	must(t, v.WriteFile(deep+"/f", []byte("deep"), 0o644))
	if got, err := v.ReadFile(deep + "/f"); err != nil || string(got) != "deep" {
		t.Errorf("%d bytes deep: %q, %v", len(deep), got, err)
	}
	must(t, v.RemoveAll(strings.Repeat("d", 100)))
}

func TestSub(t *testing.T) {
	v := memVolume(t)
	must(t, v.MkdirAll("home/arya", 0o755))
	must(t, v.WriteFile("secret", []byte("x"), 0o644))
	must(t, v.Symlink("/list", "home/arya/link"))
	home, err := v.Sub("home/arya")
	must(t, err)
	must(t, home.WriteFile("list", []byte("names"), 0o644))
	for _, name := range []string{"list", "/list", "../../list", "link"} {
		if got, err := home.ReadFile(name); err != nil || string(got) != "names" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	_, err = home.Stat("../../secret")
	fails(t, err, fs.ErrNotExist)
	must(t, v.Rename("home", "away"))
	if got, err := home.ReadFile("list"); err != nil || string(got) != "names" {
		t.Errorf("after a rename above: %q, %v", got, err)
	}
	_, err = v.Sub("secret")
	fails(t, err, syscall.ENOTDIR)
}

func TestOpenFlags(t *testing.T) {
	v := memVolume(t)
	must(t, v.Mkdir("d", 0o755))
	must(t, v.WriteFile("f", []byte("0123456789"), 0o640))
	must(t, v.Symlink("f", "l"))
	must(t, v.Symlink("d/made", "tomake"))
	must(t, v.Mknod("pipe", fs.ModeNamedPipe|0o644, 0, 0))
	for _, c := range []struct {
		name string
		flag int
		want error
	}{
		{"f", os.O_RDWR | os.O_CREATE | os.O_EXCL, fs.ErrExist},
		{"l", os.O_RDWR | os.O_CREATE | os.O_EXCL, fs.ErrExist},
		{"d", os.O_RDWR | os.O_CREATE | os.O_EXCL, fs.ErrExist},
		{"d", os.O_RDWR | os.O_CREATE, syscall.EISDIR},
		{"d", os.O_WRONLY, syscall.EISDIR},
		{"new/", os.O_RDWR | os.O_CREATE, syscall.EISDIR},
		{"none", os.O_RDONLY, fs.ErrNotExist},
		{"none/x", os.O_RDWR | os.O_CREATE, fs.ErrNotExist},
		{"f/x", os.O_RDWR | os.O_CREATE, syscall.ENOTDIR},
		{"pipe", os.O_RDONLY, syscall.ENXIO},
	} {
		_, err := v.OpenFile(c.name, c.flag, 0o644)
		fails(t, err, c.want)
	}
	f, err := v.OpenFile("tomake", os.O_WRONLY|os.O_CREATE, 0o666)
	must(t, err)
	_, err = f.Write([]byte("through a dangling link"))
	must(t, err)
	_, err = f.Read(make([]byte, 1))
	fails(t, err, syscall.EBADF)
	must(t, f.Close())
	if fi, err := v.Stat("d/made"); err != nil || fi.Size() != 23 || fi.Mode() != 0o644 {
		t.Errorf("made through a link: %v %v", fi, err)
	}
	f, err = v.OpenFile("l", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	must(t, err)
	must(t, f.Close())
	if fi, err := v.Stat("f"); err != nil || fi.Size() != 0 || fi.Mode() != 0o640 {
		t.Errorf("emptied through a link: %v %v", fi, err)
	}
	f, err = v.Open("f")
	must(t, err)
	_, err = f.Write([]byte("x"))
	fails(t, err, syscall.EBADF)
	fails(t, f.Truncate(1), syscall.EINVAL)
	must(t, f.Close())
}

func TestFileIO(t *testing.T) {
	v := memVolume(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 5<<20+12345)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	f, err := v.Create("f")
	must(t, err)
	n, err := f.Write(data)
	if n != len(data) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(data), err)
	}
	got := make([]byte, len(data))
	if n, err := f.ReadAt(got, 0); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d: %v", n, err)
	}
	if n, err := f.ReadAt(got, 1000); n != len(data)-1000 || err != io.EOF || !bytes.Equal(got[:n], data[1000:]) {
		t.Fatalf("read %d at 1000: %v", n, err)
	}
	if n, err := f.Read(got); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	if pos, err := f.Seek(-100, io.SeekEnd); pos != int64(len(data)-100) || err != nil {
		t.Errorf("seek: %d, %v", pos, err)
	}
	if rest, err := io.ReadAll(f); err != nil || !bytes.Equal(rest, data[len(data)-100:]) {
		t.Errorf("the last 100 bytes: %d, %v", len(rest), err)
	}
	must(t, f.Close())

	if got, err := v.ReadFile("f"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("ReadFile: %d bytes, %v", len(got), err)
	}
	// Both directions of io.Copy.
	f, err = v.Create("copy")
	must(t, err)
	if n, err := io.Copy(f, struct{ io.Reader }{bytes.NewReader(data)}); n != int64(len(data)) || err != nil {
		t.Errorf("copied in %d: %v", n, err)
	}
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	var out bytes.Buffer
	if n, err := io.Copy(struct{ io.Writer }{&out}, f); n != int64(len(data)) || err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("copied out %d: %v", n, err)
	}
	must(t, f.Close())
	// From file to file: the data stays on the servers.
	src, err := v.Open("f")
	must(t, err)
	dst, err := v.Create("copy2")
	must(t, err)
	if n, err := io.Copy(dst, io.LimitReader(src, 2<<20)); n != 2<<20 || err != nil {
		t.Errorf("copied %d: %v", n, err)
	}
	if n, err := io.Copy(dst, src); n != int64(len(data)-2<<20) || err != nil {
		t.Errorf("copied %d: %v", n, err)
	}
	must(t, dst.Close())
	if got, err := v.ReadFile("copy2"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("copy: %d bytes, %v", len(got), err)
	}
	must(t, src.Close())
}

func TestReaderErrors(t *testing.T) {
	v := memVolume(t)
	f, err := v.Create("f")
	must(t, err)
	defer f.Close()
	broken := io.MultiReader(strings.NewReader("some"), errReader{io.ErrUnexpectedEOF})
	if n, err := f.ReadFrom(broken); n != 4 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadFrom a broken reader: %d, %v", n, err)
	}
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	if _, err := f.WriteTo(errWriter{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("WriteTo a broken writer: %v", err)
	}
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	if n, err := io.Copy(f, io.LimitReader(f, 2)); n != 2 || err != nil { // into itself
		t.Errorf("copy of a file into itself: %d, %v", n, err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

type errWriter struct{}

func (errWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAppend(t *testing.T) {
	v := memVolume(t)
	must(t, v.WriteFile("log", []byte("1"), 0o644))
	f, err := v.OpenFile("log", os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("2")
	must(t, err)
	if pos, err := f.Seek(0, io.SeekCurrent); pos != 2 || err != nil {
		t.Errorf("offset after appending: %d, %v", pos, err)
	}
	other, err := v.OpenFile("log", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = other.ReadFrom(strings.NewReader("34"))
	must(t, err)
	must(t, other.Close())
	_, err = f.WriteString("5")
	must(t, err)
	if got, _ := v.ReadFile("log"); string(got) != "12345" {
		t.Errorf("the log has %q", got)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err != errWriteAtInAppendMode {
		t.Errorf("WriteAt: %v", err)
	}
}

func TestSpace(t *testing.T) {
	v := memVolume(t)
	f, err := v.Create("f")
	must(t, err)
	defer f.Close()
	must(t, f.Allocate(0, 1<<20))
	_, err = f.WriteAt(bytes.Repeat([]byte("x"), 1<<16), 1<<19)
	must(t, err)
	if at, err := f.SeekData(0); at != 1<<19 || err != nil {
		t.Errorf("SeekData: %d, %v", at, err)
	}
	if at, err := f.SeekHole(1 << 19); at != 1<<19+1<<16 || err != nil {
		t.Errorf("SeekHole: %d, %v", at, err)
	}
	must(t, f.Punch(1<<19, 1<<16))
	_, err = f.SeekData(0)
	fails(t, err, syscall.ENXIO)
	must(t, f.Zero(1<<20, 10))
	fails(t, f.Punch(-1, 5), syscall.EINVAL)
	fi, err := f.Stat()
	must(t, err)
	if fi.Size() != 1<<20+10 {
		t.Errorf("size %d", fi.Size())
	}
	must(t, f.Truncate(3))
	fails(t, f.Truncate(-1), syscall.EINVAL)
	g, err := v.Create("g")
	must(t, err)
	defer g.Close()
	_, err = f.WriteAt([]byte("abc"), 0)
	must(t, err)
	if n, err := g.CopyRange(5, f, 1, 100); n != 2 || err != nil {
		t.Errorf("CopyRange: %d, %v", n, err)
	}
	if got, _ := v.ReadFile("g"); string(got) != "\x00\x00\x00\x00\x00bc" {
		t.Errorf("copy: %q", got)
	}
}

func TestAttributes(t *testing.T) {
	v := memVolume(t)
	must(t, v.WriteFile("f", []byte("abc"), 0o666))
	must(t, v.Symlink("f", "l"))
	must(t, v.Chmod("l", 0o750|fs.ModeSetuid))
	must(t, v.Chown("l", 5, -1))
	must(t, v.Lchown("l", 7, 8))
	at, mt := time.Unix(1_000_000_000, 123), time.Unix(1_100_000_000, 456)
	must(t, v.Chtimes("f", at, time.Time{}))
	must(t, v.Chtimes("f", time.Time{}, mt))
	fi, err := v.Stat("l")
	must(t, err)
	st := fi.Sys().(*Stat)
	if fi.Name() != "l" || fi.Mode() != 0o750|fs.ModeSetuid && st.UID != 5 || st.GID != 0 || !fi.ModTime().Equal(mt) || !st.Atime.Equal(at) || st.Nlink != 1 || fi.Size() != 3 {
		t.Errorf("attributes: %v %+v", fi, st)
	}
	if len(st.GFID.String()) != 36 || st.Ino == 0 {
		t.Errorf("gfid %v, ino %d", st.GFID, st.Ino)
	}
	lfi, err := v.Lstat("l")
	must(t, err)
	if st := lfi.Sys().(*Stat); st.UID != 7 || st.GID != 8 {
		t.Errorf("the link belongs to %d:%d", st.UID, st.GID)
	}
	must(t, v.Truncate("f", 10))
	if fi, _ = v.Stat("f"); fi.Size() != 10 {
		t.Errorf("size %d", fi.Size())
	}
	must(t, v.Mknod("null", fs.ModeDevice|fs.ModeCharDevice|0o666, 1, 3))
	if fi, _ = v.Stat("null"); fi.Mode() != fs.ModeDevice|fs.ModeCharDevice|0o644 || fi.Sys().(*Stat).Major != 1 || fi.Sys().(*Stat).Minor != 3 {
		t.Errorf("device: %v %+v", fi, fi.Sys())
	}
	s, err := v.Statfs("/")
	must(t, err)
	if s.Namemax != 255 || s.Blocks == 0 {
		t.Errorf("statfs: %+v", s)
	}
}

func TestXattrs(t *testing.T) {
	v := memVolume(t)
	must(t, v.WriteFile("f", nil, 0o666))
	must(t, v.Mkdir("d", 0o755))
	f, err := v.Open("f")
	must(t, err)
	defer f.Close()
	d, err := v.Open("d")
	must(t, err)
	defer d.Close()
	type keeper interface {
		Getxattr(string) ([]byte, error)
		Listxattr() ([]string, error)
		Setxattr(string, []byte, int) error
		Removexattr(string) error
	}
	for i, k := range []keeper{f, d, onPath{v, "f"}} {
		name := fmt.Sprintf("user.x%d", i)
		_, err := k.Getxattr(name)
		fails(t, err, syscall.ENODATA)
		must(t, k.Setxattr(name, []byte("v"), XattrCreate))
		fails(t, k.Setxattr(name, []byte("w"), XattrCreate), fs.ErrExist)
		must(t, k.Setxattr(name, []byte(""), XattrReplace))
		if got, err := k.Getxattr(name); len(got) != 0 || got == nil || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if list, err := k.Listxattr(); !slices.Contains(list, name) || err != nil {
			t.Errorf("%q, %v", list, err)
		}
		must(t, k.Removexattr(name))
		fails(t, k.Removexattr(name), syscall.ENODATA)
		fails(t, k.Setxattr("", nil, 0), syscall.EINVAL)
	}
	must(t, v.Setxattr("f", "trusted.t", []byte("1"), 0))
	if list, err := v.As(Cred{UID: 5}).Listxattr("f"); len(list) != 0 || err != nil {
		t.Errorf("a user sees %q, %v", list, err)
	}
}

type onPath struct {
	v    *Volume
	path string
}

func (p onPath) Getxattr(a string) ([]byte, error)           { return p.v.Getxattr(p.path, a) }
func (p onPath) Listxattr() ([]string, error)                { return p.v.Listxattr(p.path) }
func (p onPath) Setxattr(a string, val []byte, fl int) error { return p.v.Setxattr(p.path, a, val, fl) }
func (p onPath) Removexattr(a string) error                  { return p.v.Removexattr(p.path, a) }

func TestLocks(t *testing.T) {
	v := memVolume(t)
	a, err := v.Create("f")
	must(t, err)
	b, err := v.OpenFile("f", os.O_RDWR, 0)
	must(t, err)
	defer b.Close()
	must(t, a.Lock(WriteLock, 0, 10))
	fails(t, b.TryLock(ReadLock, 5, 1), syscall.EAGAIN)
	must(t, b.TryLock(ReadLock, 10, 0))
	must(t, a.Unlock(0, 0))
	must(t, b.TryLock(WriteLock, 0, 1))
	must(t, b.Unlock(0, 0))
	must(t, a.Lock(WriteLock, 0, 0))

	// Who waits no longer leaves nothing behind.
	ctx, cancel := context.WithCancel(t.Context())
	c, err := v.WithContext(ctx).OpenFile("f", os.O_RDWR, 0)
	must(t, err)
	done := make(chan error)
	go func() { done <- c.Lock(WriteLock, 0, 0) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: %v", err)
	}
	// Closing drops locks; then the one that waits is granted.
	go func() { done <- b.Lock(WriteLock, 0, 0) }()
	must(t, a.Close())
	must(t, <-done)
	// Shared owner.
	w := v.As(Cred{LockOwner: "both of us"})
	d, err := w.OpenFile("f", os.O_RDWR, 0)
	must(t, err)
	defer d.Close()
	e, err := w.OpenFile("f", os.O_RDWR, 0)
	must(t, err)
	defer e.Close()
	must(t, b.Unlock(0, 0))
	must(t, d.TryLock(WriteLock, 0, 0))
	must(t, e.TryLock(WriteLock, 0, 0))
	must(t, c.Close())
}

func TestContexts(t *testing.T) {
	v := memVolume(t)
	must(t, v.WriteFile("f", []byte("x"), 0o644))
	ctx, cancel := context.WithCancel(t.Context())
	w := v.WithContext(ctx)
	f, err := w.Open("f")
	must(t, err)
	cancel()
	_, err = w.Stat("f")
	fails(t, err, context.Canceled)
	_, err = f.Read(make([]byte, 1))
	fails(t, err, context.Canceled)
	must(t, f.Close())
	must(t, v.Chmod("f", 0o600))

	f, err = v.Open("f")
	must(t, err)
	must(t, f.SetDeadline(time.Now().Add(-time.Second)))
	_, err = f.Read(make([]byte, 1))
	fails(t, err, os.ErrDeadlineExceeded)
	must(t, f.SetDeadline(time.Time{}))
	_, err = f.Read(make([]byte, 1))
	must(t, err)
	must(t, v.Unmount())
	_, err = f.Read(make([]byte, 1))
	fails(t, err, fs.ErrClosed)
	_, err = v.Stat("f")
	fails(t, err, fs.ErrClosed)
	_, err = w.Open("f")
	fails(t, err, fs.ErrClosed)
}

func TestReadDir(t *testing.T) {
	v := memVolume(t)
	must(t, v.Mkdir("d", 0o755))
	var want []string
	for i := range 1000 {
		name := fmt.Sprintf("f%04d", i)
		want = append(want, name)
		must(t, v.WriteFile("d/"+name, make([]byte, i), 0o644))
	}
	list, err := v.ReadDir("d")
	must(t, err)
	var got []string
	for i, e := range list {
		got = append(got, e.Name())
		if fi, err := e.Info(); err != nil || fi.Size() != int64(i) || fi.Name() != e.Name() {
			t.Errorf("%v: %v", fi, err)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	f, err := v.Open("d")
	must(t, err)
	defer f.Close()
	got = nil
	for {
		names, err := f.Readdirnames(7)
		got = append(got, names...)
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	if infos, err := f.Readdir(-1); len(infos) != 1000 || err != nil {
		t.Errorf("%d, %v", len(infos), err)
	}
	if rest, err := f.ReadDir(-1); len(rest) != 0 || err != nil {
		t.Errorf("%d, %v", len(rest), err)
	}
	_, err = v.ReadDir("d/f0000")
	fails(t, err, syscall.ENOTDIR)
	_, err = f.Read(make([]byte, 1))
	fails(t, err, syscall.EISDIR)
}

// TestReadDirAnew: a listing whose brick goes away begins anew, unless some of it
// was given out, and does not go on for ever.
func TestReadDirAnew(t *testing.T) {
	disk := mem.NewFS(nil)
	lost := 0 // so many requests to go on with a listing fail from now on
	v := mountHandler(t, fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		if r, ok := req.(*fop.Readdirp); ok && r.Offset != 0 && lost > 0 {
			lost--
			return nil, syscall.ENOTCONN
		}
		return disk.Do(ctx, req)
	}))
	for i := range 1000 {
		must(t, v.WriteFile(fmt.Sprint("f", i), nil, 0o644))
	}
	lost = 1
	if list, err := v.ReadDir("."); len(list) != 1000 || err != nil {
		t.Errorf("%d entries, %v", len(list), err)
	}
	lost = 2
	_, err := v.ReadDir(".")
	fails(t, err, syscall.ENOTCONN)
	f, err := v.Open(".")
	must(t, err)
	defer f.Close()
	first, err := f.ReadDir(10)
	must(t, err)
	lost = 1
	rest, err := f.ReadDir(-1)
	fails(t, err, syscall.ENOTCONN)
	if n := len(first) + len(rest); n >= 1000 {
		t.Errorf("%d entries in spite of that", n)
	}
	more, err := f.ReadDir(-1)
	must(t, err)
	if n := len(first) + len(rest) + len(more); n != 1000 {
		t.Errorf("%d entries in all", n)
	}
}

func TestTrees(t *testing.T) {
	v := memVolume(t)
	must(t, v.MkdirAll("a/b/c/d", 0o755))
	must(t, v.MkdirAll("a/b/c/d/", 0o755))
	must(t, v.WriteFile("a/f", nil, 0o644))
	fails(t, v.MkdirAll("a/f", 0o755), syscall.ENOTDIR)
	fails(t, v.MkdirAll("a/f/x", 0o755), syscall.ENOTDIR)
	must(t, v.Symlink("b/c", "a/l"))
	must(t, v.MkdirAll("a/l/new/dir", 0o755))
	if _, err := v.Stat("a/b/c/new/dir"); err != nil {
		t.Error(err)
	}
	for i := range 300 {
		must(t, v.MkdirAll(fmt.Sprintf("a/b/%d/x", i), 0o755))
		must(t, v.WriteFile(fmt.Sprintf("a/b/%d/y", i), nil, 0o644))
	}
	fails(t, v.Remove("a"), syscall.ENOTEMPTY)
	must(t, v.RemoveAll("a/l")) // the link, not what it leads to
	if _, err := v.Stat("a/b/c/new/dir"); err != nil {
		t.Error(err)
	}
	must(t, v.RemoveAll("a"))
	must(t, v.RemoveAll("a"))
	must(t, v.RemoveAll("a/b/c"))
	must(t, v.RemoveAll(""))
	fails(t, v.RemoveAll("x/."), syscall.EINVAL)
	if list, err := v.ReadDir("/"); len(list) != 0 || err != nil {
		t.Errorf("left: %v, %v", list, err)
	}
	// Many make the same tree at once.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := v.MkdirAll("p/q/r/s/t", 0o755); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, v.MkdirAll("p/q/r/s/t", 0o755))
}
