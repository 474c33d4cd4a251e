package acl

import "github.com/wythefs/wythe/internal/fop"

// attr is what decides about an object.
type attr struct {
	uid, gid uint32
	mode     uint32
	access   ACL // nil: the mode says it all
	dflt     ACL // of a directory
}

// permits decides whether an ordinary user may do all of want to the object.
// GlusterFS 10.3: xlators/system/posix-acl.
func (a *attr) permits(c *fop.Cred, want uint32) bool {
	want &= 7
	if c.UID == a.uid {
		return a.mode>>6&want == want
	}
	if !a.access.Extended() {
		if c.InGroup(a.gid) {
			return a.mode>>3&want == want
		}
		return a.mode&want == want
	}
	mask := uint32(7)
	if e := a.access.find(Mask); e != nil {
		mask = uint32(e.Perm)
	}
	inGroup := false
	for _, e := range a.access {
		perm := uint32(e.Perm)
		switch e.Tag {
		case User:
			if e.ID == c.UID {
				return perm&mask&want == want
			}
		case GroupObj, Group:
			id := e.ID
			if e.Tag == GroupObj {
				id = a.gid
			}
			if c.InGroup(id) {
				inGroup = true
				if perm&want == want {
					return perm&mask&want == want
				}
			}
		case Other:
			return !inGroup && a.mode&want == want
		}
	}
	return false
}

// sticky decides whether an ordinary user may remove object from dir. object is
// asked for only when it matters.
func sticky(c *fop.Cred, dir *attr, object func() (*attr, error)) (bool, error) {
	if dir.mode&fop.ModeSticky == 0 || dir.uid == c.UID {
		return true, nil
	}
	o, err := object()
	if err != nil {
		return false, err
	}
	return o == nil || o.uid == c.UID, nil
}
