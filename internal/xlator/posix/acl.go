//go:build linux

package posix

import (
	"encoding/binary"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

// Keys under which ACLs travel as text.
const (
	keyACLText        = "glusterfs.posix.acl"
	keyDefaultACLText = "glusterfs.posix.default_acl"
)

func isACLText(key string) bool {
	return strings.HasPrefix(key, keyACLText) || strings.HasPrefix(key, keyDefaultACLText)
}

func aclKey(text string) string {
	if strings.HasPrefix(text, keyDefaultACLText) {
		return fop.XattrACLDefault
	}
	return fop.XattrACLAccess
}

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// Tags of ACL entries, as in the kernel's xattr.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
	aclNoID     = 1<<32 - 1
)

// parseACL reads the kernel's form: version 2, then tag, permissions and id of
// each entry, all little-endian.
func parseACL(b []byte) ([]aclEntry, bool) {
	if len(b) < 4 || len(b)%8 != 4 || binary.LittleEndian.Uint32(b) != 2 {
		return nil, false
	}
	var acl []aclEntry
	for b = b[4:]; len(b) > 0; b = b[8:] {
		e := aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
		switch e.tag {
		case aclUserObj, aclUser, aclGroupObj, aclGroup, aclMask, aclOther:
		default:
			return nil, false
		}
		if e.perm > 7 {
			return nil, false
		}
		acl = append(acl, e)
	}
	return acl, true
}

func appendACL(b []byte, acl []aclEntry) []byte {
	b = binary.LittleEndian.AppendUint32(b, 2)
	for _, e := range acl {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

func modeACL(mode uint32) []aclEntry {
	return []aclEntry{
		{aclUserObj, uint16(mode >> 6 & 7), aclNoID},
		{aclGroupObj, uint16(mode >> 3 & 7), aclNoID},
		{aclOther, uint16(mode & 7), aclNoID},
	}
}

// aclMode returns the permission bits that go with an ACL.
func aclMode(acl []aclEntry) (mode uint32) {
	group := uint32(0)
	for _, e := range acl {
		switch e.tag {
		case aclUserObj:
			mode |= uint32(e.perm) << 6
		case aclOther:
			mode |= uint32(e.perm)
		case aclGroupObj:
			group |= uint32(e.perm) << 3
		}
	}
	for _, e := range acl {
		if e.tag == aclMask {
			group = uint32(e.perm) << 3
		}
	}
	return mode | group
}

// formatACL writes the short form with numbers for names.
func formatACL(acl []aclEntry) string {
	var parts []string
	for _, e := range acl {
		id := strconv.FormatUint(uint64(e.id), 10)
		var s string
		switch e.tag {
		case aclUserObj:
			s = "u::"
		case aclUser:
			s = "u:" + id + ":"
		case aclGroupObj:
			s = "g::"
		case aclGroup:
			s = "g:" + id + ":"
		case aclMask:
			s = "m::"
		case aclOther:
			s = "o::"
		}
		perm := []byte("---")
		for i, c := range []byte("rwx") {
			if e.perm&(4>>i) != 0 {
				perm[i] = c
			}
		}
		parts = append(parts, s+string(perm))
	}
	return strings.Join(parts, ",")
}

// scanACL reads the long and the short text form: entries tag:id:permissions,
// separated by commas or newlines, comments after #.
func scanACL(text string) ([]aclEntry, error) {
	var acl []aclEntry
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		f := strings.Split(line, ":")
		if len(f) == 2 { // "o:rwx" and "m:rwx"
			f = []string{f[0], "", f[1]}
		}
		if len(f) != 3 || len(acl) > 1000 {
			return nil, syscall.EINVAL
		}
		e, err := scanEntry(strings.TrimSpace(f[0]), strings.TrimSpace(f[1]), strings.TrimSpace(f[2]))
		if err != nil {
			return nil, err
		}
		acl = append(acl, e)
	}
	slices.SortStableFunc(acl, func(a, b aclEntry) int {
		if a.tag != b.tag {
			return int(a.tag) - int(b.tag)
		}
		return int(int64(a.id) - int64(b.id))
	})
	if !validACL(acl) {
		return nil, syscall.EINVAL
	}
	return acl, nil
}

func scanEntry(tag, who, perm string) (e aclEntry, err error) {
	e.id = aclNoID
	switch tag {
	case "u", "user":
		if e.tag = aclUserObj; who != "" {
			e.tag = aclUser
			e.id, err = idOf(who, func(s string) (string, error) { u, err := user.Lookup(s); return uid(u), err })
		}
	case "g", "group":
		if e.tag = aclGroupObj; who != "" {
			e.tag = aclGroup
			e.id, err = idOf(who, func(s string) (string, error) { g, err := user.LookupGroup(s); return gid(g), err })
		}
	case "m", "mask":
		e.tag = aclMask
	case "o", "other":
		e.tag = aclOther
	default:
		return e, syscall.EINVAL
	}
	for _, c := range perm {
		switch c {
		case 'r':
			e.perm |= 4
		case 'w':
			e.perm |= 2
		case 'x':
			e.perm |= 1
		case '-':
		default:
			return e, syscall.EINVAL
		}
	}
	return e, err
}

func uid(u *user.User) string {
	if u == nil {
		return ""
	}
	return u.Uid
}

func gid(g *user.Group) string {
	if g == nil {
		return ""
	}
	return g.Gid
}

func idOf(who string, lookup func(string) (string, error)) (uint32, error) {
	n, err := strconv.ParseUint(who, 10, 32)
	if err != nil {
		var s string
		if s, err = lookup(who); err == nil {
			n, err = strconv.ParseUint(s, 10, 32)
		}
	}
	if err != nil {
		return 0, syscall.EINVAL
	}
	return uint32(n), nil
}

// validACL checks what acl_valid(3) does: exactly one entry for owner, group
// and others, a mask if there are named ones, none twice.
func validACL(acl []aclEntry) bool {
	var n [0x40]int
	for i, e := range acl {
		n[e.tag]++
		if i > 0 && acl[i-1].tag == e.tag && acl[i-1].id == e.id {
			return false
		}
	}
	named := n[aclUser]+n[aclGroup] > 0
	return n[aclUserObj] == 1 && n[aclGroupObj] == 1 && n[aclOther] == 1 &&
		(n[aclMask] == 1 || n[aclMask] == 0 && !named)
}

// aclText returns an object's ACL as text.
func (b *Brick) aclText(t *target, name string) (string, error) {
	key := aclKey(name)
	if t.stat.IsSymlink() {
		return "", syscall.ENODATA
	}
	v, err := b.attrs.Value(t.Obj, key)
	if err == syscall.ENODATA && key == fop.XattrACLAccess {
		return formatACL(modeACL(t.stat.Mode)), nil
	}
	if err != nil {
		return "", err
	}
	acl, ok := parseACL(v)
	if !ok {
		return "", syscall.EINVAL
	}
	return formatACL(acl), nil
}

// setACLText sets an ACL given as text; the reply tells what it became.
func (b *Brick) setACLText(p *place, name, text string, x *fop.Dict) error {
	key := aclKey(name)
	if isSymlink(&p.st) {
		return syscall.EOPNOTSUPP
	}
	if key == fop.XattrACLDefault && !isDir(&p.st) {
		return syscall.EACCES
	}
	acl, err := scanACL(text)
	if err != nil {
		return err
	}
	v := appendACL(nil, acl)
	if err := b.setACL(p, key, v, 0); err != nil {
		return err
	}
	x.Set(key, fop.Bytes(v))
	return nil
}

// setACL stores an ACL; the mode of the object follows.
func (b *Brick) setACL(p *place, key string, value []byte, flags int) error {
	if !b.attrs.Rootless() {
		return b.attrs.Set(p.Obj, key, value, flags)
	}
	acl, ok := parseACL(value)
	switch {
	case !ok:
		return syscall.EINVAL
	case isSymlink(&p.st):
		return syscall.EOPNOTSUPP
	case key == fop.XattrACLDefault && !isDir(&p.st):
		return syscall.EACCES
	}
	if len(acl) == 0 || key == fop.XattrACLAccess && len(acl) == 3 {
		if err := b.attrs.Remove(p.Obj, key); err != nil && err != syscall.ENODATA {
			return err
		}
	} else if err := b.attrs.Set(p.Obj, key, value, flags&^unix.XATTR_REPLACE); err != nil {
		return err
	}
	if key == fop.XattrACLAccess && len(acl) > 0 {
		return b.changeRecord(p.Obj, func(r *record) { r.mode = r.mode&^0o777 | aclMode(acl) })
	}
	return nil
}
