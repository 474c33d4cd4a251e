// Package brickfs knows how a brick directory is laid out: the names below
// .glusterfs, the extended attributes that carry an object's identity, and how
// both are read and written. It is shared by the translator storage/posix,
// which serves a brick, and by the checker, which inspects one at rest.
//
// # What is on a brick
//
// Every object has its GFID in the xattr trusted.gfid and a handle, which finds
// the object by GFID: .glusterfs/aa/bb/GFID, where aa and bb are the first two
// bytes. The handle of a directory is a symbolic link to its name in the handle
// of its parent; the handle of anything else is a hard link. Hence a symlink
// handle with a link count of 1 means a directory, and a user's own symbolic
// link always has at least two links. Objects that are not directories also
// carry one back-pointer per name, trusted.gfid2path.HASH = "PARENT-GFID/name".
//
// # Bricks without root
//
// Setting trusted.* needs privilege. A rootless brick keeps those attributes
// (and system.* and security.*) under the prefix user.wythe., and those of
// objects that cannot bear user attributes, symbolic links and special files,
// in side files .glusterfs/wythe/INODE. Its root carries user.wythe.brick. A
// brick is of one kind for its whole life. See Attrs.
//
// The formats are those of GlusterFS 10.3 (xlators/storage/posix); the rootless
// ones are ours.
package brickfs

import (
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/wythefs/wythe/internal/fop"
)

// Names below the brick's root.
const (
	Meta        = ".glusterfs"
	Landfill    = "landfill"     // in Meta: trees on their way out
	Unlinked    = "unlink"       // in Meta: files without names that are still open
	Indices     = "indices"      // in Meta: what self-heal has to look at
	Side        = "wythe"        // in Meta: attributes of a rootless brick's symlinks
	HealthCheck = "health_check" // in Meta
	// RootTarget is where the handle of the root points.
	RootTarget = "../../.."
	// Marker is the xattr on the root of a rootless brick.
	Marker = "user.wythe.brick"
)

// HandleLen is the length of a handle's name below Meta.
const HandleLen = 2 + 1 + 2 + 1 + 36

// AppendHandle appends the handle of g below Meta: aa/bb/GFID.
func AppendHandle(b []byte, g fop.GFID) []byte {
	const hex = "0123456789abcdef"
	b = append(b, hex[g[0]>>4], hex[g[0]&15], '/', hex[g[1]>>4], hex[g[1]&15], '/')
	b, _ = g.AppendText(b)
	return b
}

// Handle returns the handle of g below Meta.
func Handle(g fop.GFID) string {
	var b [HandleLen]byte
	return string(AppendHandle(b[:0], g))
}

// DirTarget returns the target of the handle of the directory name in parent.
func DirTarget(parent fop.GFID, name string) string {
	b := make([]byte, 0, 6+HandleLen+1+len(name))
	b = append(b, "../../"...)
	b = AppendHandle(b, parent)
	b = append(b, '/')
	return string(append(b, name...))
}

// ParseDirTarget takes apart the target of a directory's handle. It is false
// for the root's target and for anything that is not the exact form.
func ParseDirTarget(target string) (parent fop.GFID, name string, ok bool) {
	const head = 6 + HandleLen + 1
	if len(target) <= head {
		return parent, "", false
	}
	parent, err := fop.ParseGFID(target[head-37 : head-1])
	if err != nil {
		return parent, "", false
	}
	name = target[head:]
	return parent, name, ValidName(name) && DirTarget(parent, name) == target
}

// ValidName reports whether name can be the name of an entry.
func ValidName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 255 {
		return false
	}
	for i := 0; i < len(name); i++ {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return true
}

// BackPointer returns the gfid2path xattr of the name in parent.
func BackPointer(parent fop.GFID, name string) (key, value string) {
	b := make([]byte, 0, 37+len(name))
	b, _ = parent.AppendText(b)
	b = append(b, '/')
	b = append(b, name...)
	return backPointerKey(b), string(b)
}

func backPointerKey(value []byte) string {
	key := make([]byte, 0, len(fop.XattrGFID2Path)+16)
	key = append(key, fop.XattrGFID2Path...)
	h := strconv.FormatUint(xxhash.Sum64(value), 16)
	for i := len(h); i < 16; i++ {
		key = append(key, '0')
	}
	return string(append(key, h...))
}

// ParseBackPointer takes apart a gfid2path xattr; it is false unless key and
// value fit each other.
func ParseBackPointer(key string, value []byte) (parent fop.GFID, name string, ok bool) {
	if len(value) < 38 || value[36] != '/' || backPointerKey(value) != key {
		return parent, "", false
	}
	parent, err := fop.ParseGFID(string(value[:36]))
	name = string(value[37:])
	return parent, name, err == nil && ValidName(name)
}
