package acl

import (
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"
)

// Tags of entries.
const (
	UserObj  = 0x01
	User     = 0x02
	GroupObj = 0x04
	Group    = 0x08
	Mask     = 0x10
	Other    = 0x20
)

// Permissions, of entries and wanted ones.
const (
	Read  = 4
	Write = 2
	Exec  = 1
)

// NoID is the id of entries other than User and Group.
const NoID = 0xffffffff

// Entry is one line of an ACL.
type Entry struct {
	Tag, Perm uint16
	ID        uint32
}

// ACL is a POSIX ACL as the kernel keeps it, in the kernel's order.
type ACL []Entry

const version = 2

// Parse reads the form of the xattr. An empty ACL is nil. The error is EINVAL.
func Parse(b []byte) (ACL, error) {
	if len(b) < 4 || (len(b)-4)%8 != 0 || binary.LittleEndian.Uint32(b) != version {
		return nil, fmt.Errorf("ACL of %d bytes is not of version 2: %w", len(b), syscall.EINVAL)
	}
	b = b[4:]
	if len(b) == 0 {
		return nil, nil
	}
	a := make(ACL, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		e := Entry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
		switch e.Tag {
		case UserObj, User, GroupObj, Group, Mask, Other:
		default:
			return nil, fmt.Errorf("ACL entry has unknown tag %#x: %w", e.Tag, syscall.EINVAL)
		}
		if e.Perm > 7 {
			return nil, fmt.Errorf("ACL entry has permissions %#o: %w", e.Perm, syscall.EINVAL)
		}
		a = append(a, e)
	}
	return a, nil
}

// Append appends the form of the xattr.
func (a ACL) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, version)
	for _, e := range a {
		b = binary.LittleEndian.AppendUint16(b, e.Tag)
		b = binary.LittleEndian.AppendUint16(b, e.Perm)
		b = binary.LittleEndian.AppendUint32(b, e.ID)
	}
	return b
}

// Extended reports whether a says more than a mode can.
func (a ACL) Extended() bool {
	return slices.ContainsFunc(a, func(e Entry) bool { return e.Tag&(User|Group|Mask) != 0 })
}

// find returns the entry that carries tag, nil if none.
func (a ACL) find(tag uint16) *Entry {
	for i := range a {
		if a[i].Tag == tag {
			return &a[i]
		}
	}
	return nil
}

// groupClass is the entry that stands for the group bits of the mode: the mask,
// or without one the owning group.
func (a ACL) groupClass() *Entry {
	if e := a.find(Mask); e != nil {
		return e
	}
	return a.find(GroupObj)
}

// setMode makes a agree with the permission bits of a mode, as chmod does.
func (a ACL) setMode(mode uint32) {
	put := func(e *Entry, bits uint32) {
		if e != nil {
			e.Perm = uint16(bits & 7)
		}
	}
	put(a.find(UserObj), mode>>6)
	put(a.groupClass(), mode>>3)
	put(a.find(Other), mode)
}

// Inherit returns the access ACL and the mode of a new object that is made with
// mode in a directory whose default ACL is a.
func (a ACL) Inherit(mode uint32) (ACL, uint32) {
	access := slices.Clone(a)
	limit := func(e *Entry, shift uint) {
		if e != nil {
			e.Perm &= uint16(mode >> shift & 7)
			mode = mode&^(7<<shift) | uint32(e.Perm)<<shift
		}
	}
	limit(access.find(UserObj), 6)
	limit(access.groupClass(), 3)
	limit(access.find(Other), 0)
	return access, mode
}
