package server

import "github.com/wythefs/wythe/internal/fop"

// A client that mounts a subdirectory takes it for the root of the volume.
// Its requests name the root's GFID and mean the subdirectory; attributes of
// the subdirectory go out as the root's. The attributes of a parent and the "."
// of a listing keep the real GFID, as GlusterFS has it. This is no
// confinement: any GFID of the brick stays within reach.

// in puts the subdirectory in the place of the root.
func subdirIn(g *fop.GFID, sub fop.GFID) {
	if g.IsRoot() {
		*g = sub
	}
}

// out puts the root in the place of the subdirectory.
func subdirOut(a *fop.Iatt, sub fop.GFID) {
	if a.GFID == sub {
		a.GFID = fop.RootGFID
		a.Ino = 1
	}
}

// requestGFIDs calls f with each GFID by which a request names an object.
func requestGFIDs(req fop.Request, f func(*fop.GFID)) {
	switch q := req.(type) {
	case *fop.Lookup:
		f(&q.GFID)
		f(&q.Parent)
	case *fop.Mknod:
		f(&q.Parent)
	case *fop.Mkdir:
		f(&q.Parent)
	case *fop.Symlink:
		f(&q.Parent)
	case *fop.Create:
		f(&q.Parent)
	case *fop.Unlink:
		f(&q.Parent)
	case *fop.Rmdir:
		f(&q.Parent)
	case *fop.Rename:
		f(&q.OldParent)
		f(&q.NewParent)
	case *fop.Link:
		f(&q.GFID)
		f(&q.Parent)
	case *fop.Put:
		f(&q.Parent)
	case *fop.Namelink:
		f(&q.Parent)
	case *fop.CopyFileRange:
		f(&q.GFID)
		f(&q.Dst)
	default:
		if g := objectGFID(req); g != nil {
			f(g)
		}
	}
}

// replyAttrs calls f with the attributes of the object that a reply is about.
func replyAttrs(rep fop.Reply, f func(*fop.Iatt)) {
	switch r := rep.(type) {
	case *fop.LookupReply:
		f(&r.Stat)
	case *fop.StatReply:
		f(&r.Stat)
	case *fop.ReadlinkReply:
		f(&r.Stat)
	case *fop.AttrReply:
		f(&r.Pre)
		f(&r.Post)
	case *fop.EntryReply:
		f(&r.PreParent)
		f(&r.PostParent)
	case *fop.CreateReply:
		f(&r.PreParent)
		f(&r.PostParent)
	case *fop.RemoveReply:
		f(&r.PreParent)
		f(&r.PostParent)
	case *fop.RenameReply:
		f(&r.PreOldParent)
		f(&r.PostOldParent)
		f(&r.PreNewParent)
		f(&r.PostNewParent)
	}
}
