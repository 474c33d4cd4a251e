package acl

import (
	"context"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// pidNFS is how GlusterFS's NFS server calls itself. It opens no files.
const pidNFS = 1

// check decides about a request of an ordinary user. It returns the request to be
// passed on, which can be a changed copy.
func (t *ACLs) check(ctx context.Context, c *fop.Cred, req fop.Request) (fop.Request, error) {
	switch r := req.(type) {
	case *fop.Lookup:
		if r.Name == "" || r.Parent.IsZero() {
			return req, nil
		}
		return req, t.permit(ctx, c, req, r.Parent, Exec)
	case *fop.Open:
		return req, t.permit(ctx, c, req, r.GFID, openMask(r.Flags))
	case *fop.Read:
		return req, t.nfs(ctx, c, req, Read)
	case *fop.Write:
		return req, t.nfs(ctx, c, req, Write)
	case *fop.Ftruncate:
		return req, t.nfs(ctx, c, req, Write)
	case *fop.Truncate:
		a, err := t.attr(ctx, r.GFID)
		if err != nil || a.uid == c.UID || a.permits(c, Write) {
			return req, err
		}
		return nil, denied(req, syscall.EACCES)
	case *fop.Opendir:
		return req, t.permit(ctx, c, req, r.GFID, Read)
	case *fop.Readdir:
		return req, t.permit(ctx, c, req, gfidOf(r.GFID, r.Fd), Read)
	case *fop.Readdirp:
		return req, t.permit(ctx, c, req, gfidOf(r.GFID, r.Fd), Read)
	case *fop.Mkdir:
		return req, t.nameFirst(ctx, c, r.Parent, r.Name, syscall.EEXIST, t.permit(ctx, c, req, r.Parent, Write|Exec))
	case *fop.Mknod:
		return req, t.nameFirst(ctx, c, r.Parent, r.Name, syscall.EEXIST, t.permit(ctx, c, req, r.Parent, Write|Exec))
	case *fop.Create:
		err := t.permit(ctx, c, req, r.Parent, Write|Exec)
		if r.Flags&fop.OExcl != 0 {
			err = t.nameFirst(ctx, c, r.Parent, r.Name, syscall.EEXIST, err)
		}
		return req, err
	case *fop.Put:
		return req, t.permit(ctx, c, req, r.Parent, Write|Exec)
	case *fop.Symlink:
		return req, t.nameFirst(ctx, c, r.Parent, r.Name, syscall.EEXIST, t.permit(ctx, c, req, r.Parent, Write|Exec))
	case *fop.Unlink:
		return req, t.nameFirst(ctx, c, r.Parent, r.Name, syscall.ENOENT, t.mayRemove(ctx, c, req, r.Parent, r.Name, Write|Exec))
	case *fop.Rmdir:
		return req, t.nameFirst(ctx, c, r.Parent, r.Name, syscall.ENOENT, t.mayRemove(ctx, c, req, r.Parent, r.Name, Write|Exec))
	case *fop.Rename:
		if err := t.mayRemove(ctx, c, req, r.OldParent, r.OldName, Write); err != nil {
			return nil, t.nameFirst(ctx, c, r.OldParent, r.OldName, syscall.ENOENT, err)
		}
		err := t.mayRemove(ctx, c, req, r.NewParent, r.NewName, Write)
		return req, t.nameFirst(ctx, c, r.OldParent, r.OldName, syscall.ENOENT, err)
	case *fop.Link:
		return req, t.mayLink(ctx, c, r)
	case *fop.Setattr:
		a, err := t.attr(ctx, r.GFID)
		if err != nil {
			return nil, err
		}
		q := *r
		if err := maySetattr(c, a, &q.Stat, q.Valid); err != nil {
			return nil, denied(req, err)
		}
		return &q, nil
	case *fop.Fsetattr:
		a, err := t.attr(ctx, gfidOf(r.GFID, r.Fd))
		if err != nil {
			return nil, err
		}
		q := *r
		if err := maySetattr(c, a, &q.Stat, q.Valid); err != nil {
			return nil, denied(req, err)
		}
		return &q, nil
	case *fop.Setxattr:
		return req, t.maySetxattr(ctx, c, req, r.GFID, r.Dict)
	case *fop.Fsetxattr:
		return req, t.maySetxattr(ctx, c, req, gfidOf(r.GFID, r.Fd), r.Dict)
	case *fop.Getxattr:
		return req, t.mayGetxattr(ctx, c, req, r.GFID, r.Name)
	case *fop.Fgetxattr:
		return req, t.mayGetxattr(ctx, c, req, gfidOf(r.GFID, r.Fd), r.Name)
	case *fop.Removexattr:
		return req, t.mayRemovexattr(ctx, c, req, r.GFID, r.Name, r.XData)
	case *fop.Fremovexattr:
		return req, t.mayRemovexattr(ctx, c, req, gfidOf(r.GFID, r.Fd), r.Name, r.XData)
	}
	return req, nil
}

// nameFirst turns a refusal into e where the name is not as the request needs it
// (ENOENT: it is not there; EEXIST: it is). Clients that look names up before they
// send anything learn that first, as with any file system, and a brick of
// GlusterFS 10.3 says it first too. Who may not search the directory is refused.
func (t *ACLs) nameFirst(ctx context.Context, c *fop.Cred, dir fop.GFID, name string, e syscall.Errno, refusal error) error {
	if fop.Errno(refusal) != syscall.EACCES {
		return refusal
	}
	d, err := t.attr(ctx, dir)
	if err != nil || !d.permits(c, Exec) {
		return refusal
	}
	a, err := t.entry(ctx, dir, name)
	if err != nil || (a == nil) != (e == syscall.ENOENT) {
		return refusal
	}
	return fmt.Errorf("%s: %w", name, e)
}

func denied(req fop.Request, e error) error {
	g, _ := fop.Target(req)
	c := &req.Head().Cred
	return fmt.Errorf("%v of %v by uid %d gid %d: %w", req.Op(), g, c.UID, c.GID, e)
}

// openMask is what opening with flags needs.
func openMask(flags uint32) uint32 {
	var want uint32
	switch flags & fop.OAccmode {
	case fop.ORdonly:
		want = Read
		if flags&fop.OExec != 0 {
			want = Exec
		}
	case fop.OWronly:
		want = Write
	default:
		want = Read | Write
	}
	if flags&(fop.OTrunc|fop.OAppend) != 0 {
		want |= Write
	}
	return want
}

func (t *ACLs) permit(ctx context.Context, c *fop.Cred, req fop.Request, g fop.GFID, want uint32) error {
	a, err := t.attr(ctx, g)
	if err != nil {
		return err
	}
	if !a.permits(c, want) {
		return denied(req, syscall.EACCES)
	}
	return nil
}

// nfs checks what other clients proved when they opened the file.
func (t *ACLs) nfs(ctx context.Context, c *fop.Cred, req fop.Request, want uint32) error {
	if c.PID != pidNFS {
		return nil
	}
	g, fd := fop.Target(req)
	return t.permit(ctx, c, req, gfidOf(g, fd), want)
}

// access answers Access for an ordinary user.
func (t *ACLs) access(ctx context.Context, r *fop.Access, c *fop.Cred) (fop.Reply, error) {
	if r.Mask&^7 != 0 {
		return nil, fmt.Errorf("access mask %#o: %w", r.Mask, syscall.EINVAL)
	}
	if err := t.permit(ctx, c, r, r.GFID, r.Mask); err != nil {
		return nil, err
	}
	return &fop.CommonReply{}, nil
}

// mayRemove decides about taking a name out of dir, if it is there.
func (t *ACLs) mayRemove(ctx context.Context, c *fop.Cred, req fop.Request, dir fop.GFID, name string, want uint32) error {
	d, err := t.attr(ctx, dir)
	if err != nil {
		return err
	}
	ok, err := sticky(c, d, func() (*attr, error) { return t.entry(ctx, dir, name) })
	if err != nil {
		return err
	}
	if !ok || !d.permits(c, want) {
		return denied(req, syscall.EACCES)
	}
	return nil
}

func (t *ACLs) mayLink(ctx context.Context, c *fop.Cred, r *fop.Link) error {
	d, err := t.attr(ctx, r.Parent)
	if err != nil {
		return err
	}
	ok, err := sticky(c, d, func() (*attr, error) { return t.attr(ctx, r.GFID) })
	if err != nil {
		return err
	}
	if !ok || !d.permits(c, Write) {
		return denied(r, syscall.EACCES)
	}
	return nil
}

// maySetattr decides about changing attributes. It takes the setgid bit out of a
// mode that an outsider to the file's group sets.
func maySetattr(c *fop.Cred, a *attr, st *fop.Iatt, valid int32) error {
	owner := c.UID == a.uid
	if valid&fop.SetMode != 0 {
		if !owner {
			return syscall.EPERM
		}
		if !c.InGroup(a.gid) {
			st.Mode &^= fop.ModeSetgid
		}
	}
	if valid&(fop.SetAtime|fop.SetMtime|fop.SetAtimeNow|fop.SetMtimeNow) != 0 && !owner && !a.permits(c, Write) {
		return syscall.EACCES
	}
	// Anybody may "change" the owner to who it is; so does GlusterFS 10.3.
	if valid&fop.SetUID != 0 && st.UID != a.uid {
		return syscall.EPERM
	}
	if valid&fop.SetGID != 0 && (!owner || !c.InGroup(st.GID)) {
		return syscall.EPERM
	}
	return nil
}

func isACL(name string) bool { return name == fop.XattrACLAccess || name == fop.XattrACLDefault }

func (t *ACLs) maySetxattr(ctx context.Context, c *fop.Cred, req fop.Request, g fop.GFID, d *fop.Dict) error {
	a, err := t.attr(ctx, g)
	if err != nil {
		return err
	}
	if touchesACL(d) {
		if c.UID != a.uid {
			return denied(req, syscall.EPERM)
		}
		if !hasOthers(d) {
			return nil
		}
	}
	if !a.permits(c, Write) {
		return denied(req, syscall.EACCES)
	}
	return nil
}

// hasOthers reports whether d has a key besides ACLs.
func hasOthers(d *fop.Dict) bool {
	for _, p := range d.Pairs() {
		if !isACL(p.Key) {
			return true
		}
	}
	return false
}

func (t *ACLs) mayGetxattr(ctx context.Context, c *fop.Cred, req fop.Request, g fop.GFID, name string) error {
	if isACL(name) {
		return nil // ls shows to everybody who sees the name that there is one
	}
	return t.permit(ctx, c, req, g, Read)
}

func (t *ACLs) mayRemovexattr(ctx context.Context, c *fop.Cred, req fop.Request, g fop.GFID, name string, x *fop.Dict) error {
	a, err := t.attr(ctx, g)
	if err != nil {
		return err
	}
	if (isACL(name) || name == "" && touchesACL(x)) && c.UID != a.uid {
		return denied(req, syscall.EPERM)
	}
	if !a.permits(c, Write) {
		return denied(req, syscall.EACCES)
	}
	return nil
}
