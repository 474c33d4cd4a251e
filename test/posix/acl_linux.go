package posix

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// acl writes an access control list as the kernel has it, from a text such as
// "u::rwx u:65501:r-- g::r-x m::rwx o::---".
func acl(text string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for entry := range strings.FieldsSeq(text) {
		parts := strings.Split(entry, ":")
		id, tag := uint32(0xffffffff), map[string]uint16{"u": 0x01, "g": 0x04, "m": 0x10, "o": 0x20}[parts[0]]
		if parts[1] != "" {
			tag *= 2 // the named ones
			fmt.Sscan(parts[1], &id)
		}
		var perm uint16
		for i, c := range "rwx" {
			if parts[2][i] == byte(c) {
				perm |= 4 >> i
			}
		}
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

// aclText is the reverse of acl.
func aclText(b []byte) string {
	var words []string
	for b = b[min(4, len(b)):]; len(b) >= 8; b = b[8:] {
		tag, perm, id := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
		name := map[uint16]string{0x01: "u:", 0x02: "u:", 0x04: "g:", 0x08: "g:", 0x10: "m:", 0x20: "o:"}[tag]
		if tag == 0x02 || tag == 0x08 {
			name += fmt.Sprint(id)
		}
		s := ""
		for i, c := range "rwx" {
			if perm&(4>>i) != 0 {
				s += string(c)
			} else {
				s += "-"
			}
		}
		words = append(words, name+":"+s)
	}
	return strings.Join(words, " ")
}

func (e *env) hasACL(name, key, want string) {
	e.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(name, key, buf)
	if want == "" {
		e.want(unix.ENODATA, err, "%s of %s", key, name)
		return
	}
	if e.want(0, err, "%s of %s", key, name) {
		e.is(aclText(buf[:n]) == want, "%s of %s is %q, want %q", key, name, aclText(buf[:n]), want)
	}
}

func aclRules(e *env) {
	e.make(regular, "probe", 0o644)
	if err := unix.Setxattr("probe", aclAccess, acl("u::rw- u:1:r-- g::r-- m::r-- o::r--"), 0); err == unix.EOPNOTSUPP {
		e.is(true, "")
		e.Logf("no access control lists: EOPNOTSUPP")
		return
	}
	set := func(e *env, name, key, text string) {
		e.Helper()
		e.want(0, unix.Setxattr(name, key, acl(text), 0), "set %s of %s to %s", key, name, text)
	}
	e.part("mode", func(e *env) {
		e.make(regular, "f", 0o640)
		e.hasACL("f", aclAccess, "")
		set(e, "f", aclAccess, "u::rw- u:65501:rwx g::r-- m::rwx o::---")
		e.hasMode("f", 0o670) // the mask is the group's place
		e.hasACL("f", aclAccess, "u::rw- u:65501:rwx g::r-- m::rwx o::---")
		e.want(0, unix.Chmod("f", 0o604), "chmod")
		e.hasACL("f", aclAccess, "u::rw- u:65501:rwx g::r-- m::--- o::r--")
		e.hasMode("f", 0o604)
		set(e, "f", aclAccess, "u::rwx g::r-x o::--x")
		e.hasMode("f", 0o751)
		e.hasACL("f", aclAccess, "") // what a mode can say is no list
		set(e, "f", aclAccess, "u::rw- u:1:r-- g::r-- m::r-- o::---")
		e.want(0, unix.Removexattr("f", aclAccess), "remove the list")
		e.hasACL("f", aclAccess, "")
		for _, bad := range []string{"u::rw-", "u::rw- g::r--", "u::rw- u:1:r-- g::r-- o::r--", "u::rw- u::r-- g::r-- o::r--"} {
			e.want(unix.EINVAL, unix.Setxattr("f", aclAccess, acl(bad), 0), "set the list %q", bad)
		}
		e.want(unix.EACCES, unix.Setxattr("f", aclDefault, acl("u::rw- g::r-- o::r--"), 0), "a default list of a file")
		e.wantAny([]unix.Errno{unix.EINVAL, unix.EOPNOTSUPP}, unix.Setxattr("f", aclAccess, []byte{9, 0, 0, 0, 1, 2, 3}, 0), "set rubbish")
	})
	e.part("access", func(e *env) {
		e.file("f", 0o600, "x")
		e.give("f", owner)
		e.file("g", 0o600, "x")
		e.give("g", user{uid: 1, gid: 1})
		for _, tt := range []struct {
			file, list string
			u          user
			r, w       bool
		}{
			{"f", "u::r-- g::--- o::rw-", owner, true, false},
			{"f", "u::r-- u:65503:rw- g::--- m::rw- o::---", other, true, true},
			{"f", "u::r-- u:65503:rw- g::--- m::r-- o::---", other, true, false},
			{"f", "u::r-- u:65503:--- g::--- m::rw- o::rw-", other, false, false},
			{"f", "u::r-- g::--- g:65513:rw- m::rw- o::---", other, true, true},
			{"f", "u::r-- g::--- g:65513:-w- m::rw- o::r--", other, false, true},
			{"f", "u::r-- g::--- g:65599:r-- m::rw- o::---", extra, true, false},
			{"f", "u::r-- g::-w- g:65599:r-- m::rw- o::---", extra, true, true}, // either, though not both at once
			{"f", "u::r-- g::rw- m::-w- o::---", peer, false, true},
			{"f", "u::r-- u:65502:r-- g::rw- m::rw- o::---", peer, true, false},
			{"g", "u::rw- u:65501:rw- u:65502:-w- g::--- m::rw- o::---", owner, true, true},
			{"g", "u::rw- u:65501:rw- u:65502:-w- g::--- m::rw- o::---", peer, false, true},
		} {
			set(e, tt.file, aclAccess, tt.list)
			verdict := func(ok bool) unix.Errno {
				if ok {
					return 0
				}
				return unix.EACCES
			}
			e.as(tt.u, func() {
				e.want(verdict(tt.r), openClose(tt.file, unix.O_RDONLY, 0), "open for reading under %s", tt.list)
				e.want(verdict(tt.w), openClose(tt.file, unix.O_WRONLY, 0), "open for writing under %s", tt.list)
				e.want(verdict(tt.r), access(tt.file, unix.R_OK), "access for reading under %s", tt.list)
				e.want(verdict(tt.w), access(tt.file, unix.W_OK), "access for writing under %s", tt.list)
			})
		}
		e.as(other, func() {
			e.want(unix.EPERM, unix.Setxattr("f", aclAccess, acl("u::rw- g::rw- o::rw-"), 0), "set the list of another's file")
			e.want(unix.EPERM, unix.Removexattr("f", aclAccess), "remove the list of another's file")
		})
		e.as(owner, func() {
			e.want(0, unix.Setxattr("f", aclAccess, acl("u::rw- u:65503:r-- g::--- m::r-- o::---"), 0), "set the list of one's own file")
		})
		e.make(directory, "d", 0o700)
		e.file("d/f", 0o644, "x")
		set(e, "d", aclAccess, "u::rwx u:65503:--x g::--- m::--x o::---")
		e.as(other, func() {
			e.want(0, openClose("d/f", unix.O_RDONLY, 0), "open in a directory that the list lets search")
			_, err := listNames("d")
			e.want(unix.EACCES, err, "list a directory that the list lets search only")
			e.want(unix.EACCES, openClose("d/new", unix.O_CREAT|unix.O_WRONLY, 0o644), "create in a directory that the list lets search only")
		})
		e.as(peer, func() { e.want(unix.EACCES, openClose("d/f", unix.O_RDONLY, 0), "open in a directory without rights") })
	})
	e.part("default", func(e *env) {
		e.make(directory, "d", 0o755)
		list := "u::rwx u:65501:rwx g::r-x m::rwx o::---"
		set(e, "d", aclDefault, list)
		e.hasACL("d", aclDefault, list)
		e.hasMode("d", 0o755)
		e.hasACL("d", aclAccess, "")
		for _, umask := range []int{0, 0o077} {
			name := fmt.Sprintf("%03o", umask)
			unix.Umask(umask)
			e.must(makeKind(regular, "d/f"+name, 0o666), "make")
			e.must(makeKind(directory, "d/d"+name, 0o777), "make")
			e.must(makeKind(fifo, "d/p"+name, 0o620), "make")
			e.must(unix.Mknod("d/n"+name, unix.S_IFREG|0o604, 0), "mknod")
			e.must(unix.Symlink("x", "d/s"+name), "symlink")
			unix.Umask(0)
			// The list takes the umask's place.
			e.hasMode("d/f"+name, 0o660)
			e.hasACL("d/f"+name, aclAccess, "u::rw- u:65501:rwx g::r-x m::rw- o::---")
			e.hasMode("d/d"+name, 0o770)
			e.hasACL("d/d"+name, aclAccess, list)
			e.hasACL("d/d"+name, aclDefault, list)
			e.hasMode("d/p"+name, 0o620)
			e.hasACL("d/p"+name, aclAccess, "u::rw- u:65501:rwx g::r-x m::-w- o::---")
			e.hasMode("d/n"+name, 0o600)
			e.hasACL("d/n"+name, aclAccess, "u::rw- u:65501:rwx g::r-x m::--- o::---")
			e.is(e.stat("d/s"+name).Mode == unix.S_IFLNK|0o777, "a link inherits a mode: %o", e.stat("d/s"+name).Mode)
		}
		e.make(directory, "d/d000/deep", 0o700)
		e.hasACL("d/d000/deep", aclAccess, "u::rwx u:65501:rwx g::r-x m::--- o::---")
		e.hasACL("d/d000/deep", aclDefault, list)
		set(e, "d", aclDefault, "u::rwx g::r-- o::r--")
		e.make(regular, "d/short", 0o777)
		e.hasMode("d/short", 0o744)
		e.hasACL("d/short", aclAccess, "")
		e.want(0, unix.Removexattr("d", aclDefault), "remove the default list")
		e.hasACL("d", aclDefault, "")
		unix.Umask(0o027)
		e.must(makeKind(regular, "d/after", 0o666), "make")
		unix.Umask(0)
		e.hasMode("d/after", 0o640)
		e.must(unix.Rename("d/f000", "moved"), "rename")
		e.hasACL("moved", aclAccess, "u::rw- u:65501:rwx g::r-x m::rw- o::---")
	})
	e.part("setgid", func(e *env) {
		// Who sets the list of a file of a group that is not theirs loses setgid.
		e.make(regular, "f", 0o755)
		e.must(unix.Chown("f", owner.uid, 77), "chown")
		e.mode("f", 0o2755)
		e.as(owner, func() { set(e, "f", aclAccess, "u::rwx u:1:r-x g::r-x m::r-x o::r-x") })
		e.hasMode("f", 0o755)
		e.mode("f", 0o2755)
		set(e, "f", aclAccess, "u::rwx u:1:r-x g::r-x m::r-x o::r-x")
		e.hasMode("f", 0o2755)
	})
	e.part("times", func(e *env) {
		e.make(regular, "f", 0o640)
		e.times("set a list", map[string]string{"f": "c", ".": ""}, func() { set(e, "f", aclAccess, "u::rw- u:1:r-- g::r-- m::r-- o::---") })
	})
}
