//go:build linux

package index

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

// entryCost is what an entry counts against the size of a readdir request,
// besides its name and a NUL.
const entryCost = 208

// maxSize bounds the size of a readdir request.
const maxSize = 128 << 10

// list reads entries of the directory path after the cookie off, at most size
// bytes of them by entryCost. Base files of list k are left out, and removed when
// they are of an earlier process and without links.
func (s *store) list(path string, k kind, off uint64, size uint32) (out []fop.Dirent, eof bool, err error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer d.Close()
	fd := int(d.Fd())
	if off != 0 {
		if _, err := unix.Seek(fd, int64(off), 0); err != nil {
			return nil, false, err
		}
	}
	left := int(min(size, maxSize))
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			return nil, false, fmt.Errorf("index directory: %w", err)
		}
		if n == 0 {
			return out, true, nil
		}
		for b := buf[:n]; len(b) >= 19; {
			reclen := int(binary.NativeEndian.Uint16(b[16:]))
			if reclen < 19 || reclen > len(b) {
				return out, false, syscall.EIO
			}
			name := string(b[19:reclen])
			if i := strings.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			e := fop.Dirent{Ino: binary.NativeEndian.Uint64(b), Off: binary.NativeEndian.Uint64(b[8:]), Type: uint32(b[18]), Name: name}
			b = b[reclen:]
			if s.isBase(k, name) && path == s.dir(k) {
				s.sweep(k, name)
				continue
			}
			if cost := entryCost + len(name) + 1; cost > left && len(out) > 0 {
				return out, false, nil
			} else {
				left -= cost
			}
			out = append(out, e)
		}
	}
}

// sweep removes a base file of an earlier process that nothing links to.
func (s *store) sweep(k kind, name string) {
	s.mu.RLock()
	ours := name == dirNames[k]+"-"+s.uuid[k]
	s.mu.RUnlock()
	path := s.dir(k) + "/" + name
	var st syscall.Stat_t
	if !ours && syscall.Lstat(path, &st) == nil && st.Nlink == 1 {
		syscall.Unlink(path) // an entry more is no harm
	}
}

// stat returns the attributes of a directory below the base as those of g.
func stat(path string, g fop.GFID) (fop.Iatt, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return fop.Iatt{}, err
	}
	at := func(t syscall.Timespec) fop.Time { return fop.Time{Sec: int64(t.Sec), Nsec: uint32(t.Nsec)} }
	return fop.Iatt{
		GFID: g, Flags: fop.IattAll, Ino: 1<<64 - 1, Dev: uint64(st.Dev), Size: uint64(st.Size),
		Blocks: uint64(st.Blocks), Blksize: uint32(st.Blksize), Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid,
		Mode: st.Mode, Atime: at(st.Atim), Mtime: at(st.Mtim), Ctime: at(st.Ctim),
	}, nil
}
