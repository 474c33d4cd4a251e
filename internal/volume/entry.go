package volume

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
)

// Mkdir makes a directory.
func (v *Volume) Mkdir(ctx context.Context, c *fop.Cred, dir fop.GFID, name string, mode, umask uint32) (fop.Iatt, error) {
	h, _ := v.maskedHead(c, mode, umask)
	r, err := call(ctx, v, &fop.Mkdir{Header: h, Parent: dir, Name: name, Mode: mode &^ umask, Umask: umask})
	return made(r, err)
}

// Mknod makes a node of any type but directory and symlink; rdev is a dev_t of
// Linux.
func (v *Volume) Mknod(ctx context.Context, c *fop.Cred, dir fop.GFID, name string, mode, umask uint32, rdev uint64) (fop.Iatt, error) {
	h, _ := v.maskedHead(c, mode, umask)
	r, err := call(ctx, v, &fop.Mknod{Header: h, Parent: dir, Name: name, Mode: mode &^ umask, Umask: umask, Rdev: rdev})
	return made(r, err)
}

// Symlink makes a symbolic link.
func (v *Volume) Symlink(ctx context.Context, c *fop.Cred, dir fop.GFID, name, target string) (fop.Iatt, error) {
	h, _ := newHead(c)
	r, err := call(ctx, v, &fop.Symlink{Header: h, Parent: dir, Name: name, Target: target})
	return made(r, err)
}

// Link gives g one more name.
func (v *Volume) Link(ctx context.Context, c *fop.Cred, g, dir fop.GFID, name string) (fop.Iatt, error) {
	r, err := call(ctx, v, &fop.Link{Header: head(c), GFID: g, Parent: dir, Name: name})
	return made(r, err)
}

func made(r *fop.EntryReply, err error) (fop.Iatt, error) {
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

// Unlink removes a name that is no directory's.
func (v *Volume) Unlink(ctx context.Context, c *fop.Cred, dir fop.GFID, name string) error {
	_, err := call(ctx, v, &fop.Unlink{Header: head(c), Parent: dir, Name: name})
	return err
}

// Rmdir removes an empty directory.
func (v *Volume) Rmdir(ctx context.Context, c *fop.Cred, dir fop.GFID, name string) error {
	_, err := call(ctx, v, &fop.Rmdir{Header: head(c), Parent: dir, Name: name})
	return err
}

// Remove is Rmdir of a caller who fills in the request, with the directory if he
// knows it.
func (v *Volume) Remove(ctx context.Context, q *fop.Rmdir) error {
	_, err := call(ctx, v, q)
	return err
}

// Rename moves a name; what has the new one is replaced. It returns the
// attributes of what was moved.
func (v *Volume) Rename(ctx context.Context, c *fop.Cred, dir fop.GFID, name string, newDir fop.GFID, newName string) (fop.Iatt, error) {
	return v.Move(ctx, &fop.Rename{Header: head(c), OldParent: dir, OldName: name, NewParent: newDir, NewName: newName})
}

// Move is Rename of a caller who fills in the request, with what he knows of the
// object.
func (v *Volume) Move(ctx context.Context, q *fop.Rename) (fop.Iatt, error) {
	r, err := call(ctx, v, q)
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

// Create makes and opens a file. Without fop.OExcl in flags it opens what is
// there, as the brick finds it: the permissions of a file that exists are not
// checked then, so callers look it up and Open it instead.
func (v *Volume) Create(ctx context.Context, c *fop.Cred, dir fop.GFID, name string, flags, mode, umask uint32) (*File, fop.Iatt, error) {
	h, g := v.maskedHead(c, fop.ModeRegular|mode&0o7777, umask)
	f := v.newFile(g, flags, c)
	r, err := call(ctx, v, &fop.Create{Header: h, Parent: dir, Name: name, Flags: flags | fop.OCreate,
		Mode: fop.ModeRegular | mode&0o7777&^umask, Umask: umask, Fd: f.Fd})
	if err != nil {
		return nil, fop.Iatt{}, err
	}
	f.Fd.GFID = r.Stat.GFID
	return f, r.Stat, nil
}

// Open opens a file.
func (v *Volume) Open(ctx context.Context, c *fop.Cred, g fop.GFID, flags uint32) (*File, error) {
	f := v.Unopened(c, g, flags)
	if err := f.open(ctx, c, flags&^(fop.OCreate|fop.OExcl)); err != nil {
		return nil, err
	}
	return f, nil
}

// Unopened returns a file that its Open will open.
func (v *Volume) Unopened(c *fop.Cred, g fop.GFID, flags uint32) *File { return v.newFile(g, flags, c) }

// Open opens what Unopened returned. Neither truncates it.
func (f *File) Open(ctx context.Context, c *fop.Cred) error { return f.open(ctx, c, f.Fd.Flags) }

func (f *File) open(ctx context.Context, c *fop.Cred, flags uint32) error {
	r, err := call(ctx, f.v, &fop.Open{Header: head(c), GFID: f.Fd.GFID, Flags: flags, Fd: f.Fd})
	if r != nil && r.XData.Has(fop.KeyDirectIO) {
		f.Sizeless = true
	}
	return err
}

func (v *Volume) newFile(g fop.GFID, flags uint32, c *fop.Cred) *File {
	return &File{v: v, Fd: &fop.Fd{GFID: g, Flags: flags &^ (fop.OCreate | fop.OExcl | fop.OTrunc), PID: c.PID}}
}

// Opendir opens a directory.
func (v *Volume) Opendir(ctx context.Context, c *fop.Cred, g fop.GFID) (*Dir, error) {
	d := &Dir{v: v, Fd: &fop.Fd{GFID: g, Dir: true, PID: c.PID}}
	if _, err := call(ctx, v, &fop.Opendir{Header: head(c), GFID: g, Fd: d.Fd}); err != nil {
		return nil, err
	}
	return d, nil
}

// Dir is an open directory.
type Dir struct {
	Fd *fop.Fd
	v  *Volume
}

// Readdirp lists entries with their attributes, after the cookie off (0: from
// the beginning), about size bytes of them. eof says that none follow. The
// directory itself and its parent come along as "." and "..", with attributes
// that mean nothing.
func (d *Dir) Readdirp(ctx context.Context, c *fop.Cred, off uint64, size uint32) (entries []fop.Dirent, eof bool, err error) {
	r, err := fop.Call(ctx, d.v.h, &fop.Readdirp{Header: head(c), GFID: d.Fd.GFID, Fd: d.Fd, Offset: off, Size: size})
	if err != nil {
		return nil, false, err
	}
	return r.Entries, r.EOF || len(r.Entries) == 0, nil
}

// Readdir is Readdirp without attributes.
func (d *Dir) Readdir(ctx context.Context, c *fop.Cred, off uint64, size uint32) (entries []fop.Dirent, eof bool, err error) {
	r, err := fop.Call(ctx, d.v.h, &fop.Readdir{Header: head(c), GFID: d.Fd.GFID, Fd: d.Fd, Offset: off, Size: size})
	if err != nil {
		return nil, false, err
	}
	return r.Entries, r.EOF || len(r.Entries) == 0, nil
}

// Getattr returns the attributes of the directory.
func (d *Dir) Getattr(ctx context.Context, c *fop.Cred) (fop.Iatt, error) {
	r, err := fop.Call(ctx, d.v.h, &fop.Fstat{Header: head(c), GFID: d.Fd.GFID, Fd: d.Fd})
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

// Fsync makes the directory durable.
func (d *Dir) Fsync(ctx context.Context, c *fop.Cred) error {
	_, err := fop.Call(ctx, d.v.h, &fop.Fsyncdir{Header: head(c), GFID: d.Fd.GFID, Fd: d.Fd})
	return err
}

// Close ends the use of the directory.
func (d *Dir) Close(ctx context.Context, c *fop.Cred) error {
	_, err := fop.Call(ctx, d.v.h, &fop.Releasedir{Header: head(c), GFID: d.Fd.GFID, Fd: d.Fd})
	return err
}
