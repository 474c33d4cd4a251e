package brickfs

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Obj says where the kernel finds an object: a name in a directory, or an open
// file. Name "." with Dir is the directory itself, for descriptors opened with
// O_PATH too. Symbolic links are never followed.
type Obj struct {
	Dir  int
	Name string
	Fd   int // -1 for none
}

// At names an entry of the open directory dir.
func At(dir int, name string) Obj { return Obj{Dir: dir, Name: name, Fd: -1} }

// Open names an open file; fd must not have been opened with O_PATH.
func Open(fd int) Obj { return Obj{Dir: -1, Fd: fd} }

// procPath is a path of bounded length to an object, for system calls that know
// no *at form on older kernels.
func (o Obj) procPath() string {
	return "/proc/self/fd/" + strconv.Itoa(o.Dir) + "/" + o.Name
}

// Attrs reads and writes extended attributes of a brick's objects by the names
// that a root brick has them under. It is safe for concurrent use; side files
// are guarded by one lock.
type Attrs struct {
	rootless bool
	meta     int // directory .glusterfs
	side     sync.Mutex
}

// NewAttrs returns the attributes of a brick; meta is its open .glusterfs
// directory, needed for rootless bricks only.
func NewAttrs(rootless bool, meta int) *Attrs { return &Attrs{rootless: rootless, meta: meta} }

// Rootless reports of which kind the brick is.
func (a *Attrs) Rootless() bool { return a.rootless }

const prefix = "user.wythe."

// disk maps a key to the one on disk.
func (a *Attrs) disk(key string) (string, bool) {
	if !a.rootless {
		return key, true
	}
	if strings.HasPrefix(key, "user.") {
		return key, !strings.HasPrefix(key, prefix)
	}
	return prefix + key, true
}

// Get reads the value of key into buf and returns its length. As with
// getxattr(2) an empty buf asks for the length only, and ERANGE means that buf
// is too short.
func (a *Attrs) Get(o Obj, key string, buf []byte) (int, error) {
	k, ok := a.disk(key)
	if !ok {
		return 0, syscall.ENODATA
	}
	n, err := getxattr(o, k, buf)
	if a.rootless && (err == syscall.ENODATA || err == syscall.EPERM || err == syscall.EOPNOTSUPP) {
		if id, special := sideID(o); special {
			a.side.Lock()
			defer a.side.Unlock()
			v, ok := a.readSide(id).get(key)
			switch {
			case !ok:
				return 0, syscall.ENODATA
			case len(buf) == 0:
				return len(v), nil
			case len(buf) < len(v):
				return 0, syscall.ERANGE
			}
			return copy(buf, v), nil
		}
	}
	return n, err
}

// Value returns the value of key, however long it is.
func (a *Attrs) Value(o Obj, key string) ([]byte, error) {
	var small [256]byte
	n, err := a.Get(o, key, small[:])
	if err == nil {
		return append(make([]byte, 0, n), small[:n]...), nil
	}
	for err == syscall.ERANGE {
		if n, err = a.Get(o, key, nil); err != nil {
			break
		}
		buf := make([]byte, n+64)
		if n, err = a.Get(o, key, buf); err == nil {
			return buf[:n], nil
		}
	}
	return nil, err
}

// Set writes a value; flags are XATTR_CREATE and XATTR_REPLACE.
func (a *Attrs) Set(o Obj, key string, value []byte, flags int) error {
	k, ok := a.disk(key)
	if !ok {
		return syscall.EPERM
	}
	err := setxattr(o, k, value, flags)
	if a.rootless && (err == syscall.EPERM || err == syscall.EOPNOTSUPP) && !strings.HasPrefix(key, "user.") {
		if id, special := sideID(o); special {
			a.side.Lock()
			defer a.side.Unlock()
			s := a.readSide(id)
			_, have := s.get(key)
			if have && flags&unix.XATTR_CREATE != 0 {
				return syscall.EEXIST
			} else if !have && flags&unix.XATTR_REPLACE != 0 {
				return syscall.ENODATA
			}
			s.set(key, value)
			return a.writeSide(id, s)
		}
	}
	return err
}

// Remove removes key.
func (a *Attrs) Remove(o Obj, key string) error {
	k, ok := a.disk(key)
	if !ok {
		return syscall.ENODATA
	}
	err := removexattr(o, k)
	if a.rootless && (err == syscall.ENODATA || err == syscall.EPERM || err == syscall.EOPNOTSUPP) {
		if id, special := sideID(o); special {
			a.side.Lock()
			defer a.side.Unlock()
			s := a.readSide(id)
			if !s.remove(key) {
				return syscall.ENODATA
			}
			return a.writeSide(id, s)
		}
	}
	return err
}

var listPool = sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}

// List returns the names of all attributes.
func (a *Attrs) List(o Obj) ([]string, error) {
	p := listPool.Get().(*[]byte)
	defer listPool.Put(p)
	n, err := listxattr(o, *p)
	for err == syscall.ERANGE {
		if n, err = listxattr(o, nil); err == nil {
			*p = make([]byte, n+256)
			n, err = listxattr(o, *p)
		}
	}
	if err != nil && !(a.rootless && (err == syscall.EPERM || err == syscall.EOPNOTSUPP)) {
		return nil, err
	}
	raw := (*p)[:n]
	names := make([]string, 0, bytes.Count(raw, []byte{0}))
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, 0)
		if i < 0 {
			i = len(raw) - 1
		}
		name := string(raw[:i])
		raw = raw[i+1:]
		if a.rootless {
			switch {
			case name == Marker:
				continue
			case strings.HasPrefix(name, prefix):
				name = name[len(prefix):]
			case !strings.HasPrefix(name, "user."):
				continue // not ours: labels and ACLs of the file system below
			}
		}
		names = append(names, name)
	}
	if a.rootless {
		if id, special := sideID(o); special {
			a.side.Lock()
			defer a.side.Unlock()
			for _, r := range a.readSide(id) {
				names = append(names, r.key)
			}
		}
	}
	return names, nil
}

// Forget drops what is kept beside the object. It must be called before the
// last link of a symbolic link or special file goes.
func (a *Attrs) Forget(o Obj) {
	if !a.rootless {
		return
	}
	if id, special := sideID(o); special {
		a.side.Lock()
		defer a.side.Unlock()
		unix.Unlinkat(a.meta, id.path(), 0) // a leftover is recognised by its birth time
	}
}

// inodeID identifies an inode even if its number is used again.
type inodeID struct {
	ino   uint64
	birth int64
}

func (id inodeID) path() string {
	return fmt.Sprintf("%s/%02x/%016x", Side, id.ino&0xff, id.ino)
}

// sideID reports whether the object keeps its attributes in a side file.
func sideID(o Obj) (inodeID, bool) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	dir, name := o.Dir, o.Name
	if o.Fd >= 0 {
		dir, name, flags = o.Fd, "", unix.AT_EMPTY_PATH
	}
	if err := unix.Statx(dir, name, flags, unix.STATX_TYPE|unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return inodeID{}, false
	}
	id := inodeID{ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	t := st.Mode & unix.S_IFMT
	return id, t != unix.S_IFREG && t != unix.S_IFDIR
}

func (a *Attrs) readSide(id inodeID) sideFile {
	fd, err := Openat(a.meta, id.path(), unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	buf := make([]byte, maxSide+1)
	n := 0
	for n < len(buf) {
		m, err := unix.Pread(fd, buf[n:], int64(n))
		if err != nil || m == 0 {
			break
		}
		n += m
	}
	birth, s, err := decodeSide(buf[:n])
	if err != nil || birth != id.birth {
		return nil
	}
	return s
}

func (a *Attrs) writeSide(id inodeID, s sideFile) error {
	data := s.encode(id.birth)
	if len(data) > maxSide {
		return syscall.ENOSPC
	}
	path := id.path()
	temp := path + ".new"
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC | unix.O_NOFOLLOW
	fd, err := Openat(a.meta, temp, flags, 0o600)
	if err == syscall.ENOENT {
		unix.Mkdirat(a.meta, Side, 0o700)
		unix.Mkdirat(a.meta, path[:len(Side)+3], 0o700)
		fd, err = Openat(a.meta, temp, flags, 0o600)
	}
	if err != nil {
		return err
	}
	n, err := unix.Pwrite(fd, data, 0)
	unix.Close(fd)
	if err == nil && n < len(data) {
		err = syscall.ENOSPC
	}
	if err == nil {
		err = unix.Renameat(a.meta, temp, a.meta, path)
	}
	if err != nil {
		unix.Unlinkat(a.meta, temp, 0)
	}
	return err
}

// Openat is openat(2) with O_CLOEXEC, repeated when a signal interrupts it.
func Openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if !errors.Is(err, syscall.EINTR) {
			return fd, err
		}
	}
}

// Linux 6.13 has *at forms of the xattr calls; before, /proc/self/fd helps.
var haveXattrAt = sync.OnceValue(func() bool {
	if unsafe.Sizeof(uintptr(0)) != 8 || slices.Contains([]string{"alpha"}, runtime.GOARCH) {
		return false
	}
	_, err := xattrAt(sysGetxattrat, unix.AT_FDCWD, "/", "user.wythe.probe", nil, 0)
	return err != syscall.ENOSYS && err != syscall.EPERM // seccomp filters answer EPERM
})

// System call numbers, the same on all architectures since 5.1 but alpha.
const (
	sysSetxattrat    = 463
	sysGetxattrat    = 464
	sysListxattrat   = 465
	sysRemovexattrat = 466
)

type xattrArgs struct {
	value unsafe.Pointer
	size  uint32
	flags uint32
}

func xattrAt(call uintptr, dir int, name, key string, value []byte, flags int) (int, error) {
	n, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	k, err := unix.BytePtrFromString(key)
	if err != nil {
		return 0, err
	}
	var args xattrArgs
	if len(value) > 0 {
		args = xattrArgs{unsafe.Pointer(&value[0]), uint32(len(value)), uint32(flags)}
	} else {
		args.flags = uint32(flags)
	}
	r, _, e := unix.Syscall6(call, uintptr(dir), uintptr(unsafe.Pointer(n)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(k)), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	runtime.KeepAlive(value)
	if e != 0 {
		return 0, e
	}
	return int(r), nil
}

func getxattr(o Obj, key string, buf []byte) (int, error) {
	if o.Fd >= 0 {
		return unix.Fgetxattr(o.Fd, key, buf)
	}
	if haveXattrAt() {
		return xattrAt(sysGetxattrat, o.Dir, o.Name, key, buf, 0)
	}
	return unix.Lgetxattr(o.procPath(), key, buf)
}

func setxattr(o Obj, key string, value []byte, flags int) error {
	if o.Fd >= 0 {
		return unix.Fsetxattr(o.Fd, key, value, flags)
	}
	if haveXattrAt() {
		_, err := xattrAt(sysSetxattrat, o.Dir, o.Name, key, value, flags)
		return err
	}
	return unix.Lsetxattr(o.procPath(), key, value, flags)
}

func removexattr(o Obj, key string) error {
	if o.Fd >= 0 {
		return unix.Fremovexattr(o.Fd, key)
	}
	if haveXattrAt() {
		n, err := unix.BytePtrFromString(o.Name)
		if err != nil {
			return err
		}
		k, err := unix.BytePtrFromString(key)
		if err != nil {
			return err
		}
		_, _, e := unix.Syscall6(sysRemovexattrat, uintptr(o.Dir), uintptr(unsafe.Pointer(n)),
			unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(k)), 0, 0)
		if e != 0 {
			return e
		}
		return nil
	}
	return unix.Lremovexattr(o.procPath(), key)
}

func listxattr(o Obj, buf []byte) (int, error) {
	if o.Fd >= 0 {
		return unix.Flistxattr(o.Fd, buf)
	}
	if haveXattrAt() {
		n, err := unix.BytePtrFromString(o.Name)
		if err != nil {
			return 0, err
		}
		var p unsafe.Pointer
		if len(buf) > 0 {
			p = unsafe.Pointer(&buf[0])
		}
		r, _, e := unix.Syscall6(sysListxattrat, uintptr(o.Dir), uintptr(unsafe.Pointer(n)),
			unix.AT_SYMLINK_NOFOLLOW, uintptr(p), uintptr(len(buf)), 0)
		if e != 0 {
			return 0, e
		}
		return int(r), nil
	}
	return unix.Llistxattr(o.procPath(), buf)
}
