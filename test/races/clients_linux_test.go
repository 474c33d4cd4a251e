package races

import (
	"bytes"
	"encoding/binary"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/fop"
)

// What a history about a block works on.
const (
	blockFile = "block"
	blockSize = 4096
)

// block is a block that says v all over.
func block(v uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return bytes.Repeat(b[:], blockSize/8)
}

// said is what a block says; one that was not written as a whole is an error.
func said(b []byte) answer {
	v := binary.BigEndian.Uint64(b)
	if len(b) != blockSize || !bytes.Equal(b, block(v)) {
		return answer{errno: syscall.EILSEQ}
	}
	return answer{v: v}
}

func failed(err error) answer {
	if err == nil {
		return answer{}
	}
	return answer{errno: fop.Errno(err)}
}

// library is our client.
type library struct {
	vol *gfapi.Volume

	mu  sync.Mutex
	dir string // that file is in
	f   *gfapi.File
}

func (l *library) real() bool { return false }

func (l *library) prepare(dir string) error {
	if err := l.vol.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return l.vol.WriteFile(path.Join(dir, blockFile), block(0), 0o644)
}

// open gives the file with the block, which stays open as long as dir is in use.
func (l *library) open(dir string) (*gfapi.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil && l.dir == dir {
		return l.f, nil
	}
	if l.f != nil {
		l.f.Close()
	}
	var err error
	l.dir = dir
	l.f, err = l.vol.OpenFile(path.Join(dir, blockFile), os.O_RDWR, 0)
	return l.f, err
}

func (l *library) do(dir string, c call) answer {
	a, b := path.Join(dir, string(rune('a'+c.a))), path.Join(dir, string(rune('a'+c.b)))
	switch c.do {
	case "create":
		f, err := l.vol.OpenFile(a, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return failed(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			return failed(err)
		}
		return answer{v: fi.Sys().(*gfapi.Stat).Ino}
	case "stat":
		fi, err := l.vol.Lstat(a)
		switch {
		case err != nil:
			return failed(err)
		case fi.IsDir():
			return answer{v: directory}
		}
		return answer{v: fi.Sys().(*gfapi.Stat).Ino}
	case "rename":
		return failed(l.vol.Rename(a, b))
	case "link":
		return failed(l.vol.Link(a, b))
	case "unlink", "rmdir":
		return failed(l.vol.Remove(a))
	case "mkdir":
		return failed(l.vol.Mkdir(a, 0o755))
	}
	f, err := l.open(dir)
	if err != nil {
		return failed(err)
	}
	if c.do == "write" {
		_, err := f.WriteAt(block(c.v), 0)
		return failed(err)
	}
	buf := make([]byte, blockSize)
	if _, err := f.ReadAt(buf, 0); err != nil {
		return failed(err)
	}
	return said(buf)
}

// system is a client that is mounted.
type system struct {
	dir string

	mu sync.Mutex
	in string // that fd's file is in
	fd int
}

func (s *system) real() bool { return true }

func (s *system) prepare(dir string) error {
	if err := os.Mkdir(filepath.Join(s.dir, dir), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, dir, blockFile), block(0), 0o644)
}

func (s *system) open(dir string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == dir {
		return s.fd, nil
	}
	if s.in != "" {
		unix.Close(s.fd)
	}
	var err error
	s.fd, err = unix.Open(filepath.Join(s.dir, dir, blockFile), unix.O_RDWR|unix.O_CLOEXEC, 0)
	s.in = dir
	return s.fd, err
}

// do does c, again when the kernel says that what it knew is stale: that is
// about its own memory and not about the volume.
func (s *system) do(dir string, c call) answer {
	for tries := 0; ; tries++ {
		if a := s.once(dir, c); a.errno != syscall.ESTALE || tries == 5 {
			return a
		}
	}
}

func (s *system) once(dir string, c call) answer {
	a, b := filepath.Join(s.dir, dir, string(rune('a'+c.a))), filepath.Join(s.dir, dir, string(rune('a'+c.b)))
	var st unix.Stat_t
	switch c.do {
	case "create":
		fd, err := unix.Open(a, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return failed(err)
		}
		defer unix.Close(fd)
		if err := unix.Fstat(fd, &st); err != nil {
			return failed(err)
		}
		return answer{v: st.Ino}
	case "stat":
		if err := unix.Lstat(a, &st); err != nil {
			return failed(err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return answer{v: directory}
		}
		return answer{v: st.Ino}
	case "rename":
		return failed(unix.Rename(a, b))
	case "link":
		return failed(unix.Link(a, b))
	case "unlink":
		return failed(unix.Unlink(a))
	case "rmdir":
		return failed(unix.Rmdir(a))
	case "mkdir":
		return failed(unix.Mkdir(a, 0o755))
	}
	fd, err := s.open(dir)
	if err != nil {
		return failed(err)
	}
	if c.do == "write" {
		_, err := unix.Pwrite(fd, block(c.v), 0)
		return failed(err)
	}
	buf := make([]byte, blockSize)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return failed(err)
	}
	return said(buf[:n])
}
