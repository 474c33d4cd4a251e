package mdcache

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
)

// entry carries out a request that changes names.
func (m *mdCache) entry(ctx context.Context, c *config, req fop.Request) (fop.Reply, error) {
	e := entryChange{m: m, c: c, st: m.start(), cred: m.names.credID(&req.Head().Cred)}
	switch r := req.(type) {
	case *fop.Create:
		e.name(r.Parent, r.Name)
		if r.Flags&fop.OExcl == 0 {
			e.victim(r.Parent, r.Name, false)
		}
	case *fop.Mknod:
		e.name(r.Parent, r.Name)
	case *fop.Mkdir:
		e.name(r.Parent, r.Name)
	case *fop.Symlink:
		e.name(r.Parent, r.Name)
	case *fop.Put:
		e.name(r.Parent, r.Name)
		e.victim(r.Parent, r.Name, false)
	case *fop.Link:
		e.name(r.Parent, r.Name)
		e.object(r.GFID, 0)
	case *fop.Unlink:
		e.name(r.Parent, r.Name)
		e.victim(r.Parent, r.Name, true)
	case *fop.Rmdir:
		e.name(r.Parent, r.Name)
		e.victim(r.Parent, r.Name, false)
	case *fop.Rename:
		e.name(r.OldParent, r.OldName)
		e.victim(r.OldParent, r.OldName, false)
		e.name(r.NewParent, r.NewName)
		e.victim(r.NewParent, r.NewName, true)
	}
	reply, err := m.child.Do(ctx, req)
	switch a := reply.(type) {
	case *fop.CreateReply:
		e.made(req, a.Stat, err)
		e.parent(0, &a.PostParent, err)
	case *fop.EntryReply:
		e.made(req, a.Stat, err)
		e.parent(0, &a.PostParent, err)
	case *fop.RemoveReply:
		e.names[0].removed = err == nil
		e.parent(0, &a.PostParent, err)
	case *fop.RenameReply:
		e.moved(&a.Stat, err)
		e.parent(0, &a.PostOldParent, err)
		e.parent(1, &a.PostNewParent, err)
	}
	e.end()
	return reply, err
}

// entryChange is a change of one or two names under way, and of the objects that
// it changes with them.
type entryChange struct {
	m    *mdCache
	c    *config
	st   start
	cred uint64

	names   [2]changedName
	count   int
	objects [3]change // victims, and the object of a link
	posts   [3]fop.Iatt
	nobj    int
	unknown bool // some object was changed, and nobody knows which
}

type changedName struct {
	dir     fop.GFID
	name    string
	token   uint64
	dirGen  uint64
	change  change // of the directory
	shared  bool   // the change of the directory is that of the first name
	post    fop.Iatt
	leads   fop.GFID // to what it leads now, if that is known
	removed bool     // it leads nowhere now
}

// name tells that a name is about to be changed, and its directory with it.
func (e *entryChange) name(dir fop.GFID, name string) {
	n := &e.names[e.count]
	e.count++
	*n = changedName{dir: dir, name: name, dirGen: e.m.dirGen(dir), token: e.m.names.begin(dir, name)}
	// A rename within a directory changes that once: two changes at once would
	// leave its attributes unknown.
	if n.shared = e.count == 2 && e.names[0].dir == dir; !n.shared {
		n.change = e.m.begin(dir, 0, e.st)
	}
}

// victim tells that what a name leads to is about to be changed. If that is not
// known, what may have been it is not served any more; see mdCache.links.
func (e *entryChange) victim(dir fop.GFID, name string, must bool) {
	g, ok := e.m.names.guess(dir, name)
	if !ok {
		e.unknown = e.unknown || must
		return
	}
	if !g.IsZero() {
		e.object(g, aboutXattr) // it may be gone
	}
}

func (e *entryChange) object(g fop.GFID, w what) {
	e.objects[e.nobj] = e.m.begin(g, w, e.st)
	e.nobj++
}

// made takes what a request made, or gave a name.
func (e *entryChange) made(req fop.Request, a fop.Iatt, err error) {
	if err != nil || !full(&a) {
		return
	}
	e.names[0].leads = a.GFID
	if l, ok := req.(*fop.Link); ok && l.GFID == a.GFID {
		e.posts[0] = a
		return
	}
	if v, ok := req.Head().XData.Get(fop.KeyGFIDReq); ok {
		if g, ok := v.GFID(); ok && g == a.GFID {
			e.m.learn(e.c, e.st, &a, false)
			return
		}
	}
	e.m.void(a.GFID, true, false) // it was there before
}

// moved takes what a rename moved.
func (e *entryChange) moved(a *fop.Iatt, err error) {
	if err != nil || !full(a) {
		return
	}
	e.names[1].leads = a.GFID
	for i := range e.nobj {
		if e.objects[i].r.GFID == a.GFID {
			e.posts[i] = *a
			return
		}
	}
	e.m.void(a.GFID, false, false)
}

// parent takes the attributes of the directory of a name. Where names are spread
// over bricks each tells its own.
func (e *entryChange) parent(i int, a *fop.Iatt, err error) {
	if e.names[i].shared {
		i = 0
	}
	if err == nil && e.m.oneRow {
		e.names[i].post = *a
	}
}

// end tells that all is done.
func (e *entryChange) end() {
	m := e.m
	for i := range e.nobj {
		e.objects[i].end(e.c, &e.posts[i])
	}
	for i := range e.count {
		n := &e.names[i]
		m.names.end(n.token, n.dir, n.name, n.leads, n.removed, e.cred, n.dirGen, e.st, e.st.at+int64(e.c.timeout))
		if !n.shared {
			n.change.end(e.c, &n.post)
		}
	}
	if e.unknown {
		m.links.Add(1)
	}
}
