// Package gfidaccess is the translator "features/gfid-access" (GlusterFS 10.3,
// xlators/features/gfid-access): every object by its GFID, as .gfid/GFID in the
// root of a client. The mount option aux-gfid-mount puts it on top of the graph;
// geo-replication works through it.
//
// What it promises:
//
//   - .gfid is not listed in the root, cannot be listed itself, and nothing can be
//     made, renamed or removed in it. A lookup of a GFID in it finds the object.
//   - What is no directory is found as what it is: the kernel sees one more name.
//   - A directory is found under a GFID of its own, since a kernel knows a
//     directory by one place only. Names in it can be looked up, made, renamed,
//     linked and removed, and its attributes are those of the directory; it cannot
//     be listed (GlusterFS cannot either; it also refuses mkdir, create and symlink
//     in it with ESTALE, which work here).
//   - The xattr "glusterfs.gfid.newfile" makes an object of a given GFID in the
//     directory that it is set on, and "glusterfs.gfid.heal" has a name looked up
//     with the GFID that it shall have; newfile.go has their formats.
//
// The GFID of such a virtual directory is that of the directory with two bits
// turned over, which makes it one that nobody generates: no table is needed, and
// a change of graphs leaves it as it is.
package gfidaccess

import (
	"context"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{Name: "features/gfid-access", New: New, MinChildren: 1, MaxChildren: 1}

const dirName = ".gfid"

// DirGFID is the GFID of .gfid, as in GlusterFS.
var DirGFID = fop.GFID{15: 0x0d}

// rootAlias stands for the root, whose GFID is not like others.
var rootAlias = fop.GFID{6: 0x80, 15: 0x0e}

// The bits by which the GFID of a virtual directory differs: version 12 in place
// of 4, and the variant of the Apollo system in place of RFC 4122's. Neither is
// made any more.
const (
	versionByte, versionBit = 6, 0x80
	variantByte, variantBit = 8, 0x80
)

// alias returns the GFID under which directory g is shown. It is g itself if g is
// none that GlusterFS makes.
func alias(g fop.GFID) fop.GFID {
	switch {
	case g == fop.RootGFID:
		return rootAlias
	case g[versionByte]&versionBit != 0 || g[variantByte]&0xc0 != 0x80:
		return g
	}
	g[versionByte] ^= versionBit
	g[variantByte] ^= variantBit
	return g
}

// isAlias reports whether a GFID is one that alias makes.
func isAlias(g fop.GFID) bool {
	return g[versionByte]&versionBit != 0 && g[variantByte]&0xc0 == 0
}

// real returns the GFID of the directory that g stands for.
func real(g fop.GFID) fop.GFID {
	switch {
	case g == rootAlias:
		return fop.RootGFID
	case g == DirGFID:
		return fop.RootGFID
	case !isAlias(g):
		return g
	}
	g[versionByte] ^= versionBit
	g[variantByte] ^= variantBit
	return g
}

type access struct {
	child fop.Handler
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) { return &access{child: c.Children[0].Handler}, nil }

// Start sends off without waiting what passes untouched.
func (a *access) Start(ctx context.Context, req fop.Request) fop.Pending {
	if !concerns(req) {
		return fop.Start(ctx, a.child, req)
	}
	return fop.Start(ctx, fop.HandlerFunc(a.Do), req)
}

// concerns reports whether a request is not just passed on.
func concerns(req fop.Request) bool {
	g, _ := fop.Target(req)
	if isAlias(g) || g == DirGFID || g == fop.RootGFID {
		return true
	}
	switch r := req.(type) {
	case *fop.Rename:
		return isAlias(r.NewParent) || r.NewParent == DirGFID || r.NewParent == fop.RootGFID
	case *fop.Link:
		return isAlias(r.GFID) || r.GFID == DirGFID
	case *fop.Setxattr:
		return r.Dict.Has(keyNewFile) || r.Dict.Has(keyHeal)
	}
	return false
}

// Do carries out one fop.
func (a *access) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if !concerns(req) {
		return a.child.Do(ctx, req)
	}
	if err := refused(req); err != nil {
		return nil, err
	}
	switch r := req.(type) {
	case *fop.Lookup:
		return a.lookup(ctx, r)
	case *fop.Setxattr:
		if r.Dict.Has(keyNewFile) || r.Dict.Has(keyHeal) {
			return a.make(ctx, r)
		}
	case *fop.Mkdir: // in a virtual directory the new one is virtual, too
		reply, err := a.child.Do(ctx, aimed(r))
		if made, ok := reply.(*fop.EntryReply); ok && isAlias(r.Parent) && made != nil {
			reply = &fop.EntryReply{ReplyHeader: made.ReplyHeader, Stat: shown(made.Stat, alias(made.Stat.GFID)), PreParent: made.PreParent, PostParent: made.PostParent}
		}
		return reply, err
	}
	g, _ := fop.Target(req)
	reply, err := a.child.Do(ctx, aimed(req))
	if g == fop.RootGFID {
		return reply, err
	}
	switch r := reply.(type) {
	case *fop.StatReply:
		if r != nil {
			return &fop.StatReply{ReplyHeader: r.ReplyHeader, Stat: shown(r.Stat, g)}, err
		}
	case *fop.AttrReply:
		if r != nil {
			return &fop.AttrReply{ReplyHeader: r.ReplyHeader, Pre: shown(r.Pre, g), Post: shown(r.Post, g)}, err
		}
	}
	return reply, err
}

// shown returns attributes as those of an object of another GFID.
func shown(st fop.Iatt, g fop.GFID) fop.Iatt {
	if !st.IsZero() {
		st.GFID, st.Ino = g, g.Ino()
	}
	return st
}

// refused says why a request cannot be.
func refused(req fop.Request) error {
	no := func(err error) error {
		return fmt.Errorf("%v: in %s there is nothing but what GFIDs stand for: %w", req.Op(), dirName, err)
	}
	g, _ := fop.Target(req)
	taken := func(name string) bool { return g == DirGFID || g == fop.RootGFID && name == dirName }
	switch r := req.(type) {
	case *fop.Opendir, *fop.Getxattr, *fop.Setxattr, *fop.Removexattr:
		if _, list := r.(*fop.Opendir); g == DirGFID || list && isAlias(g) {
			return no(syscall.ENOTSUP)
		}
	case *fop.Setattr:
		if g == DirGFID {
			return no(syscall.EPERM)
		}
	case *fop.Rename:
		if taken(r.OldName) || r.NewParent == DirGFID || r.NewParent == fop.RootGFID && r.NewName == dirName {
			return no(syscall.EPERM)
		}
	case *fop.Mkdir:
		if taken(r.Name) {
			return no(syscall.EPERM)
		}
	case *fop.Mknod:
		if taken(r.Name) {
			return no(syscall.EPERM)
		}
	case *fop.Create:
		if taken(r.Name) {
			return no(syscall.EPERM)
		}
	case *fop.Symlink:
		if taken(r.Name) {
			return no(syscall.EPERM)
		}
	case *fop.Link:
		if taken(r.Name) {
			return no(syscall.EPERM)
		}
	case *fop.Unlink:
		if taken(r.Name) {
			return no(syscall.EPERM)
		}
	case *fop.Rmdir:
		if taken(r.Name) {
			return no(syscall.EPERM)
		}
	}
	return nil
}

// lookup finds .gfid, what is in it, and names in virtual directories.
func (a *access) lookup(ctx context.Context, r *fop.Lookup) (fop.Reply, error) {
	q := *r
	as := func(fop.Iatt) fop.GFID { return fop.GFID{} } // under which GFID it is shown, zero: its own
	virtual := func(st fop.Iatt) (g fop.GFID) {
		if st.IsDir() {
			g = alias(st.GFID)
		}
		return g
	}
	switch {
	case r.Name == "" && r.GFID == DirGFID, r.Name == dirName && r.Parent == fop.RootGFID:
		q.GFID, q.Parent, q.Name = fop.RootGFID, fop.GFID{}, ""
		as = func(fop.Iatt) fop.GFID { return DirGFID }
	case r.Name == "":
		q.GFID = real(r.GFID)
		if isAlias(r.GFID) {
			as = virtual
		}
	case r.Parent == DirGFID:
		g, err := fop.ParseGFID(r.Name)
		if err != nil || isAlias(g) || g == DirGFID {
			return nil, fmt.Errorf("lookup of %q in %s: no GFID of anything: %w", r.Name, dirName, syscall.ENOENT)
		}
		q.GFID, q.Parent, q.Name = g, fop.GFID{}, ""
		as = virtual
	default:
		q.Parent = real(r.Parent)
		if isAlias(r.Parent) {
			as = virtual
		}
	}
	reply, err := fop.Call(ctx, a.child, &q)
	switch {
	case err != nil && r.Parent == DirGFID && fop.Errno(err) == syscall.ESTALE:
		return nil, fmt.Errorf("lookup of %s in %s: %w", r.Name, dirName, syscall.ENOENT)
	case reply == nil:
		return nil, err
	}
	if g := as(reply.Stat); err == nil && !g.IsZero() {
		reply = &fop.LookupReply{ReplyHeader: reply.ReplyHeader, Stat: shown(reply.Stat, g), Parent: reply.Parent}
	}
	return reply, err
}
