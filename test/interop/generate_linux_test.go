package interop

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// generator makes a stream of ops from a seed alone. It keeps a rough idea of
// the tree, so that most ops find something to work on; where the idea is wrong
// (an op was refused) the op fails, on all targets alike.
//
// Names tell kinds: f* regular files, d* directories, l* symbolic links, s*
// special files. The stream has no ops that the kernel decides by itself, since
// those say nothing about GlusterFS and a library decides them in its own way:
//
//   - special files are not opened: the kernel serves them,
//   - a file is not renamed to another name of the same file: to the kernel that
//     is nothing to do, so a FUSE client never hears of it,
//   - neither is a directory to one that is not empty, see ontoFull,
//   - hard links, device nodes and fifos are made by root only (sysctl
//     fs.protected_hardlinks; CAP_MKNOD),
//   - no sticky directories that all may write (fs.protected_regular), and no
//     setuid or setgid files (the kernel clears those bits by extra requests),
//   - directories are opened as files by root only: the kernel asks for
//     permission to list them first and says EISDIR later,
//   - directories are not opened for reading as files: writes to such a file
//     fail with EBADF or EISDIR,
//   - what is renamed has no name that is too long: the kernel hears of that
//     when it looks the name up, a brick of 10.3 says ENOENT to the rename; nor
//     does a directory get such a name, see ontoFull,
//   - no ".." and no absolute targets in symbolic links: a library like os.Root
//     refuses to leave its tree,
//   - no user.* attributes on what is neither file nor directory, and no
//     malformed ACLs (the kernel refuses both),
//   - locks only through files that are open for reading and writing,
//   - directories have no times before 1970, which a client of 10.3 does not show
//     on volumes of several subvolumes,
//   - no directory is moved below itself, and "." is not removed.
type generator struct {
	r     *rand.Rand
	kinds map[string]byte // path → first letter of its name
	slots [slots + 1]struct {
		path  string
		flags int
	}
}

const slots = 6

// stream returns the ops of a seed.
func stream(seed uint64, n int) []op {
	g := &generator{r: rand.New(rand.NewPCG(seed, 0x5eed)), kinds: map[string]byte{".": 'd'}}
	ops := make([]op, 0, n+slots)
	ops = append(ops, op{Do: "chmod", Path: ".", Mode: 0o777})
	for i := range 4 {
		d, f := fmt.Sprintf("d%d", i), fmt.Sprintf("f%d", i)
		g.add(d)
		g.add(f)
		g.slots[i+1].path, g.slots[i+1].flags = f, unix.O_RDWR
		ops = append(ops, op{Do: "mkdir", Path: d, Mode: 0o777},
			op{Do: "open", H: i + 1, Path: f, Flags: unix.O_RDWR | unix.O_CREAT, Mode: 0o666})
	}
	for len(ops) < n {
		ops = append(ops, g.next())
	}
	for h := 1; h <= slots; h++ {
		ops = append(ops, op{Do: "close", H: h})
	}
	return append(ops, g.survey()...)
}

// survey looks at everything that should be there.
func (g *generator) survey() []op {
	var ops []op
	for _, p := range slices.Sorted(maps.Keys(g.kinds)) {
		ops = append(ops, op{Do: "lstat", Path: p})
		switch g.kinds[p] {
		case 'd':
			ops = append(ops, op{Do: "readdir", Path: p}, op{Do: "listxattr", Path: p})
		case 'f':
			ops = append(ops, op{Do: "readfile", Path: p}, op{Do: "listxattr", Path: p})
		case 'l':
			ops = append(ops, op{Do: "readlink", Path: p})
		}
	}
	return ops
}

// some picks a path of one of the kinds, one that should be there if any is.
func (g *generator) some(kinds string) string {
	var list []string
	for _, p := range slices.Sorted(maps.Keys(g.kinds)) {
		if p != "." && strings.IndexByte(kinds, g.kinds[p]) >= 0 {
			list = append(list, p)
		}
	}
	if len(list) == 0 || g.r.IntN(12) == 0 {
		return g.fresh(kinds)
	}
	return list[g.r.IntN(len(list))]
}

// fresh picks a name, taken or not, in some directory.
func (g *generator) fresh(kinds string) string {
	kind := kinds[g.r.IntN(len(kinds))]
	name := fmt.Sprintf("%c%d", kind, g.r.IntN(6))
	switch g.r.IntN(150) {
	case 0:
		name = fmt.Sprintf("%c%s", kind, strings.Repeat("x", 254)) // as long as can be
	case 1:
		name = fmt.Sprintf("%c%s", kind, strings.Repeat("x", 255)) // too long
	case 2:
		name = string(kind) + "-ü ñ\n\x01\xff"
	}
	return path.Join(g.dir(), name)
}

// legal makes a name that is too long one that is not.
func legal(p string) string {
	if dir, base := path.Split(p); len(base) > 255 {
		return dir + base[:255]
	}
	return p
}

func (g *generator) dir() string {
	if g.r.IntN(3) == 0 {
		return "."
	}
	var list []string
	for _, p := range slices.Sorted(maps.Keys(g.kinds)) {
		if g.kinds[p] == 'd' && strings.Count(p, "/") < 3 {
			list = append(list, p)
		}
	}
	return list[g.r.IntN(len(list))]
}

func (g *generator) add(p string) {
	if len(path.Base(p)) > 255 || strings.HasPrefix(p, "..") {
		return
	}
	if d := path.Dir(p); g.kinds[d] != 'd' {
		return
	}
	if _, ok := g.kinds[p]; !ok {
		g.kinds[p] = path.Base(p)[0]
	}
}

func (g *generator) empty(dir string) bool {
	for p := range g.kinds {
		if strings.HasPrefix(p, dir+"/") {
			return false
		}
	}
	return true
}

func (g *generator) move(from, to string) {
	if _, ok := g.kinds[from]; !ok || g.kinds[path.Dir(to)] != 'd' || from == to {
		return
	}
	if path.Base(from)[0] != path.Base(to)[0] || g.kinds[to] == 'd' && !g.empty(to) {
		return
	}
	for _, p := range slices.Sorted(maps.Keys(g.kinds)) {
		if p == from || strings.HasPrefix(p, from+"/") {
			g.kinds[to+p[len(from):]] = g.kinds[p]
			delete(g.kinds, p)
		}
	}
}

// user picks a caller: mostly root.
func (g *generator) user() uint32 {
	if g.r.IntN(8) == 0 {
		return uint32(1000 + g.r.IntN(2))
	}
	return 0
}

func (g *generator) pick(modes ...uint32) uint32 { return modes[g.r.IntN(len(modes))] }

func (g *generator) fileMode() uint32 { return g.pick(0o644, 0o666, 0o600, 0o640, 0o755, 0o400, 0) }
func (g *generator) dirMode() uint32 {
	return g.pick(0o755, 0o777, 0o777, 0o700, 0o2755, 0o1755, 0o711)
}

func (g *generator) next() op {
	n := g.r.IntN(100)
	switch {
	case n < 42:
		return g.onFile()
	case n < 66:
		return g.onEntry()
	case n < 80:
		return g.onAttributes()
	case n < 90:
		return g.onXattrs()
	}
	switch g.r.IntN(7) {
	case 0:
		return op{Do: "lstat", Path: g.some("fdls"), As: g.user()}
	case 1:
		return op{Do: "stat", Path: g.some("fdl"), As: g.user()}
	case 2:
		return op{Do: "readlink", Path: g.some("lllfd")}
	case 3, 4:
		return op{Do: "readdir", Path: g.dir(), As: g.user()}
	}
	if g.r.IntN(3) == 0 {
		return op{Do: "readfile", Path: g.some("ld")}
	}
	return op{Do: "readfile", Path: g.some("f"), As: g.user()}
}

// onFile is an op that opens a file or uses an open one.
func (g *generator) onFile() op {
	h := 1 + g.r.IntN(slots)
	s := &g.slots[h]
	if s.path == "" || g.r.IntN(6) == 0 {
		o := op{Do: "open", H: h, Path: g.some("f"), Mode: g.fileMode(), As: g.user()}
		o.Flags = []int{unix.O_RDWR, unix.O_RDWR, unix.O_RDWR, unix.O_RDONLY, unix.O_WRONLY}[g.r.IntN(5)]
		if g.r.IntN(2) == 0 {
			o.Flags |= unix.O_CREAT
			o.Path = g.fresh("f")
			if g.r.IntN(3) == 0 {
				o.Flags |= unix.O_EXCL
			}
			g.add(o.Path)
		}
		if g.r.IntN(8) == 0 && o.Flags&unix.O_ACCMODE != unix.O_RDONLY {
			o.Flags |= unix.O_TRUNC
		}
		if g.r.IntN(8) == 0 {
			o.Flags |= unix.O_APPEND
		}
		switch g.r.IntN(20) {
		case 0:
			o.Flags |= unix.O_NOFOLLOW
		case 1:
			o.Path = g.some("ld")
			o.Flags |= unix.O_RDWR
			o.Flags &^= unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL
		}
		s.path, s.flags = o.Path, o.Flags
		return o
	}
	o := op{H: h, Off: g.r.Int64N(200_000), Len: 1 + g.r.Int64N(70_000), Seed: byte(g.r.Uint32())}
	if g.r.IntN(2) == 0 {
		o.Off, o.Len = g.r.Int64N(9000), 1+g.r.Int64N(300)
	}
	switch g.r.IntN(20) {
	case 0, 1, 2, 3, 4:
		o.Do = "write"
		if s.flags&unix.O_APPEND != 0 {
			o.Do, o.Off = "append", 0
		}
	case 5, 6, 7, 8:
		o.Do = "read"
	case 9:
		o.Do, o.Off = "append", 0
		if s.flags&unix.O_APPEND == 0 {
			o.Do = "write"
		}
	case 10, 11:
		o = op{Do: "ftruncate", H: h, Len: g.r.Int64N(100_000)}
	case 12:
		o.Do = "fallocate"
		o.Flags = int(g.pick(0, unix.FALLOC_FL_KEEP_SIZE))
	case 13:
		o.Do, o.Flags = "fallocate", unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE
	case 14:
		o = op{Do: "fstat", H: h}
	case 15:
		o = op{Do: "fsync", H: h}
	case 16:
		// Unlinked while open, more often than chance would have it.
		if g.kinds[s.path] == 'f' {
			delete(g.kinds, s.path)
			return op{Do: "unlink", Path: s.path}
		}
		o = op{Do: "fstat", H: h}
	case 17, 18:
		if s.flags&unix.O_ACCMODE == unix.O_RDWR {
			o.Do, o.Flags = "lock", g.r.IntN(3)
			if g.r.IntN(3) == 0 {
				o.Do, o.Flags = "getlk", g.r.IntN(2)
			}
			if g.r.IntN(5) == 0 {
				o.Len = 0 // to the end of the file, wherever that is
			}
			return o
		}
		o.Do = "read"
	default:
		s.path = ""
		o = op{Do: "close", H: h}
	}
	return o
}

// onEntry is an op that changes names.
func (g *generator) onEntry() op {
	as := g.user()
	switch g.r.IntN(14) {
	case 0, 1:
		o := op{Do: "mkdir", Path: g.fresh("d"), Mode: g.dirMode(), As: as}
		if as == 0 {
			g.add(o.Path)
		}
		return o
	case 2:
		o := op{Do: "symlink", Path: g.fresh("l"), To: fmt.Sprintf("%c%d", "fd"[g.r.IntN(2)], g.r.IntN(6)), As: as}
		g.add(o.Path)
		return o
	case 3:
		o := op{Do: "mknod", Path: g.fresh("s"), Mode: g.pick(unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK) | g.fileMode()}
		if o.Mode&unix.S_IFMT == unix.S_IFCHR || o.Mode&unix.S_IFMT == unix.S_IFBLK {
			o.Len = int64(unix.Mkdev(uint32(g.r.IntN(300)), uint32(g.r.IntN(70000))))
		}
		g.add(o.Path)
		return o
	case 4, 5:
		o := op{Do: "link", Path: g.some("fffls"), To: ""}
		o.To = g.fresh(path.Base(o.Path)[:1])
		if _, ok := g.kinds[o.Path]; ok {
			g.add(o.To)
		}
		return o
	case 6, 7:
		o := op{Do: "rename", Path: legal(g.some("fffls")), As: as}
		kind := path.Base(o.Path)[:1]
		o.To = g.fresh(kind)
		if g.r.IntN(2) == 0 {
			o.To = g.some(kind)
		}
		if as == 0 {
			g.move(o.Path, o.To)
		}
		return o
	case 8, 9:
		o := op{Do: "rename", Path: legal(g.some("d")), To: legal(g.fresh("d")), As: as}
		switch g.r.IntN(4) {
		case 0:
			o.To = legal(g.some("d"))
		case 1:
			o.To = legal(g.some("f")) // ENOTDIR, if there is one
			if _, ok := g.kinds[o.To]; !ok {
				o.To = legal(g.some("d"))
			}
		}
		if strings.HasPrefix(o.To+"/", o.Path+"/") || strings.HasPrefix(o.Path+"/", o.To+"/") {
			return op{Do: "lstat", Path: o.Path}
		}
		if as == 0 {
			g.move(o.Path, o.To)
		}
		return o
	case 10, 11:
		o := op{Do: "rmdir", Path: g.some("d"), As: as}
		if as == 0 && g.empty(o.Path) {
			delete(g.kinds, o.Path)
		}
		return o
	}
	o := op{Do: "unlink", Path: g.some("fffls"), As: as}
	delete(g.kinds, o.Path)
	return o
}

// onAttributes is an op that changes mode, owner, times or size.
func (g *generator) onAttributes() op {
	as := g.user()
	switch g.r.IntN(7) {
	case 0:
		return op{Do: "chmod", Path: g.some("f"), Mode: g.fileMode(), As: as}
	case 1:
		return op{Do: "chmod", Path: g.some("d"), Mode: g.dirMode(), As: as}
	case 2, 3:
		ids := []int{0, 1000, 1001, 4_000_000_000, -1}
		return op{Do: "chown", Path: g.some("fdls"), UID: ids[g.r.IntN(5)], GID: ids[g.r.IntN(5)], As: as}
	case 4, 5:
		at := g.r.Int64N(4_000_000_000_000_000_000) - 1_000_000_000_000_000_000
		o := op{Do: "utimes", Path: g.some("fd"), Off: at, Len: at + g.r.Int64N(1e15), As: as}
		if path.Base(o.Path)[0] == 'd' && at < 0 {
			o.Off, o.Len = o.Off+1e18, o.Len+1e18
		}
		return o
	}
	return op{Do: "truncate", Path: g.some("ffffd"), Len: g.r.Int64N(150_000), As: as}
}

// onXattrs is an op on extended attributes, ACLs among them.
func (g *generator) onXattrs() op {
	as := g.user()
	o := op{Path: g.some("fd"), As: as, Name: []string{"user.a", "user.b", "user.long-name.with.dots", "trusted.x"}[g.r.IntN(4)]}
	if o.Name == "trusted.x" {
		o.As = 0
	}
	switch g.r.IntN(12) {
	case 0, 1, 2, 3:
		o.Do, o.Flags = "setxattr", int(g.pick(0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE))
		o.Value = make([]byte, g.r.IntN(40))
		if g.r.IntN(5) == 0 {
			o.Value = make([]byte, g.r.IntN(3000))
		}
		for i := range o.Value {
			o.Value[i] = byte(g.r.Uint32())
		}
	case 4, 5:
		o.Do = "getxattr"
	case 6, 7:
		o.Do = "removexattr"
	case 8:
		o.Do, o.Name = "listxattr", ""
	case 9:
		o.Do, o.Name, o.Value = "setxattr", "system.posix_acl_access", g.acl()
	case 10:
		o.Do, o.Name, o.Value = "setxattr", "system.posix_acl_default", g.acl()
		o.Path = g.some("d")
	default:
		o.Do, o.Name = []string{"getxattr", "removexattr"}[g.r.IntN(2)], "system.posix_acl_access"
		if g.r.IntN(2) == 0 {
			o.Path, o.Name = g.some("d"), "system.posix_acl_default"
		}
	}
	return o
}

// acl makes an access control list with a named user, in the kernel's form.
func (g *generator) acl() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	entry := func(tag uint16, id uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, uint16(g.r.IntN(8)))
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	const nobody = 0xffffffff
	entry(0x01, nobody)                   // owner
	entry(0x02, uint32(1000+g.r.IntN(2))) // user
	entry(0x04, nobody)                   // owning group
	if g.r.IntN(2) == 0 {
		entry(0x08, uint32(1000+g.r.IntN(2))) // group
	}
	entry(0x10, nobody) // mask
	entry(0x20, nobody) // others
	return b
}
