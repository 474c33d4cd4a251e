package upcall

import (
	"context"
	"strings"

	"github.com/wythefs/wythe/internal/fop"
)

// ipcTarget is the Target of Ipc that means this translator.
const ipcTarget = 2

// Do carries out one fop.
func (u *Upcalls) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if r, ok := req.(*fop.Disconnect); ok {
		u.disconnect(r.From)
		return u.next.Do(ctx, req)
	}
	c := req.Head().From
	if c == nil || !u.opts.Load().on {
		return u.next.Do(ctx, req)
	}
	u.greet(c)
	if r, ok := req.(*fop.Ipc); ok {
		if r.Target != ipcTarget {
			return u.next.Do(ctx, req)
		}
		u.register(r.XData)
		return &fop.CommonReply{}, nil
	}
	victim := u.victim(ctx, req)
	reply, err := u.next.Do(ctx, req)
	if err == nil && reply != nil {
		u.after(c, req, reply, victim)
	}
	return reply, err
}

// victim is the object that an unlink or rmdir is about, zero if nobody else can
// know of it.
func (u *Upcalls) victim(ctx context.Context, req fop.Request) fop.GFID {
	var dir fop.GFID
	var name string
	switch r := req.(type) {
	case *fop.Unlink:
		dir, name = r.Parent, r.Name
	case *fop.Rmdir:
		dir, name = r.Parent, r.Name
	default:
		return fop.GFID{}
	}
	if u.clients.Load() < 2 {
		return fop.GFID{}
	}
	r, err := fop.Call(ctx, u.next, &fop.Lookup{Header: fop.Header{Cred: fop.Cred{PID: fop.PIDSelfHeal}}, Parent: dir, Name: name})
	if err != nil {
		return fop.GFID{}
	}
	return r.Stat.GFID
}

// after notes who did what, and tells the others.
func (u *Upcalls) after(c *fop.Client, req fop.Request, reply fop.Reply, victim fop.GFID) {
	g, fd := fop.Target(req)
	if fd != nil && g.IsZero() {
		g = fd.GFID
	}
	const data = fop.InvalSize | fop.InvalTimes
	const links = fop.InvalNlink | fop.InvalTimes | fop.InvalParentTimes
	switch r := req.(type) {
	case *fop.Write:
		if w, ok := reply.(*fop.WriteReply); ok {
			u.tell(c, g, fop.Upcall{Flags: data, Stat: w.Post})
		}
	case *fop.Truncate, *fop.Ftruncate, *fop.Fallocate, *fop.Discard, *fop.Zerofill:
		if a, ok := reply.(*fop.AttrReply); ok {
			u.tell(c, g, fop.Upcall{Flags: data, Stat: a.Post})
		}
	case *fop.CopyFileRange:
		u.note(c, g, false)
		if a, ok := reply.(*fop.CopyFileRangeReply); ok {
			u.tell(c, a.PostDst.GFID, fop.Upcall{Flags: data, Stat: a.PostDst})
		}
	case *fop.Setattr:
		u.setattr(c, g, reply)
	case *fop.Fsetattr:
		u.setattr(c, g, reply)
	case *fop.Rename:
		if a, ok := reply.(*fop.RenameReply); ok {
			u.tell(c, a.Stat.GFID, fop.Upcall{Flags: fop.InvalRename | fop.InvalParentTimes, Stat: a.Stat, Parent: a.PostNewParent, OldParent: a.PostOldParent})
		}
		u.note(c, r.OldParent, false)
		if r.NewParent != r.OldParent {
			u.note(c, r.NewParent, false)
		}
	case *fop.Unlink, *fop.Rmdir:
		if a, ok := reply.(*fop.RemoveReply); ok && !victim.IsZero() {
			u.tell(c, victim, fop.Upcall{Flags: links, Parent: a.PostParent})
		}
		u.note(c, g, false)
	case *fop.Link:
		if a, ok := reply.(*fop.EntryReply); ok {
			u.tell(c, r.GFID, fop.Upcall{Flags: links, Stat: a.Stat, Parent: a.PostParent})
		}
		u.note(c, g, false)
	case *fop.Create:
		if a, ok := reply.(*fop.CreateReply); ok {
			u.made(c, g, a.Stat.GFID, a.PostParent)
		}
	case *fop.Mkdir, *fop.Mknod, *fop.Symlink, *fop.Put:
		if a, ok := reply.(*fop.EntryReply); ok {
			u.made(c, g, a.Stat.GFID, a.PostParent)
		}
	case *fop.Setxattr:
		u.xattrs(c, g, fop.InvalXattr, r.Dict, reply)
	case *fop.Fsetxattr:
		u.xattrs(c, g, fop.InvalXattr, r.Dict, reply)
	case *fop.Removexattr:
		u.xattrs(c, g, fop.InvalXattrRm, removed(r.Name, r.XData), reply)
	case *fop.Fremovexattr:
		u.xattrs(c, g, fop.InvalXattrRm, removed(r.Name, r.XData), reply)
	case *fop.Xattrop:
		u.xattrop(c, g, r.Dict)
	case *fop.Fxattrop:
		u.xattrop(c, g, r.Dict)
	case *fop.Lookup:
		if a, ok := reply.(*fop.LookupReply); ok {
			u.note(c, a.Stat.GFID, false)
		}
	case *fop.Readdirp:
		u.note(c, g, false)
		if a, ok := reply.(*fop.ReaddirReply); ok {
			for i := range a.Entries {
				if e := &a.Entries[i]; e.Name != "." && e.Name != ".." {
					u.note(c, e.Stat.GFID, false)
				}
			}
		}
	case *fop.Flush, *fop.Release, *fop.Releasedir, *fop.Inodelk, *fop.Finodelk, *fop.Entrylk, *fop.Fentrylk:
		// These leave nothing in a client's cache.
	default:
		u.note(c, g, false)
	}
}

// tell notes that c touched g and sends up, completed, to the others.
func (u *Upcalls) tell(c *fop.Client, g fop.GFID, up fop.Upcall) {
	others := u.note(c, g, true)
	if len(others) == 0 {
		return
	}
	up.Kind, up.GFID = fop.UpcallInvalidate, g
	up.Expire = uint32(u.opts.Load().timeout.Seconds())
	for _, o := range others {
		msg := up
		send(o, &msg)
	}
}

func (u *Upcalls) setattr(c *fop.Client, g fop.GFID, reply fop.Reply) {
	a, ok := reply.(*fop.AttrReply)
	if !ok {
		return
	}
	flags := uint32(fop.InvalSize | fop.InvalTimes | fop.InvalOwn | fop.InvalMode | fop.InvalPerm)
	if a.Pre.Mode != a.Post.Mode {
		flags |= fop.InvalXattr // an ACL follows the mode
	}
	u.tell(c, g, fop.Upcall{Flags: flags, Stat: a.Post})
}

// made is about a new object in directory dir.
func (u *Upcalls) made(c *fop.Client, dir, g fop.GFID, post fop.Iatt) {
	u.tell(c, dir, fop.Upcall{Flags: fop.InvalTimes, Stat: post})
	u.note(c, g, false)
}

// removed lists the names that a removexattr is about.
func removed(name string, x *fop.Dict) *fop.Dict {
	if name == "" {
		return x
	}
	return fop.NewDict(fop.Pair{Key: name, Val: fop.Str("")})
}

func (u *Upcalls) xattrs(c *fop.Client, g fop.GFID, flags uint32, d *fop.Dict, reply fop.Reply) {
	d = u.wanted(d)
	if d.Len() == 0 {
		u.note(c, g, false)
		return
	}
	up := fop.Upcall{Flags: flags, XData: d}
	if v, ok := reply.ReplyHead().XData.Get(fop.KeyPostStat); ok {
		if st, ok := v.Iatt(); ok {
			up.Stat = st
			up.Flags |= fop.InvalTimes
		}
	}
	u.tell(c, g, up)
}

// xattrop tells of counters of replication that really change.
func (u *Upcalls) xattrop(c *fop.Client, g fop.GFID, d *fop.Dict) {
	changes := false
	d = u.wanted(d)
	for _, p := range d.Pairs() {
		if !strings.HasPrefix(p.Key, "trusted.afr") {
			continue
		}
		for _, b := range p.Val.Bytes() {
			changes = changes || b != 0
		}
	}
	if !changes {
		u.note(c, g, false)
		return
	}
	u.tell(c, g, fop.Upcall{Flags: fop.InvalXattr, XData: d})
}
