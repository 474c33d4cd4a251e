package gfidaccess

import "github.com/wythefs/wythe/internal/fop"

// aimed returns a request in which the GFIDs of virtual directories are those of
// the directories. Fops that no directory takes stay as they are.
func aimed(req fop.Request) fop.Request {
	switch r := req.(type) {
	case *fop.Stat:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Setattr:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Access:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.StatfsReq:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Open:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Truncate:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Getxattr:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Setxattr:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Removexattr:
		q := *r
		q.GFID = real(r.GFID)
		return &q
	case *fop.Mkdir:
		q := *r
		q.Parent = real(r.Parent)
		return &q
	case *fop.Mknod:
		q := *r
		q.Parent = real(r.Parent)
		return &q
	case *fop.Create:
		q := *r
		q.Parent = real(r.Parent)
		return &q
	case *fop.Symlink:
		q := *r
		q.Parent = real(r.Parent)
		return &q
	case *fop.Link:
		q := *r
		q.GFID, q.Parent = real(r.GFID), real(r.Parent)
		return &q
	case *fop.Unlink:
		q := *r
		q.Parent = real(r.Parent)
		return &q
	case *fop.Rmdir:
		q := *r
		q.Parent, q.Dir = real(r.Parent), real(r.Dir)
		return &q
	case *fop.Rename:
		q := *r
		q.OldParent, q.NewParent = real(r.OldParent), real(r.NewParent)
		return &q
	}
	return req
}
