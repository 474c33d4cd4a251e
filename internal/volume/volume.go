// Package volume is the handle layer: file operations on a volume by gfid, for
// a caller given per call. FUSE, NFS, S3, the C library and gfapi stand on it.
// It knows no paths and caches nothing.
//
//	v := volume.New(session)                       // any fop.Handler
//	dir, err := v.Lookup(ctx, cred, fop.RootGFID, "home")
//	f, attr, err := v.Create(ctx, cred, dir.GFID, "motd", fop.ORdwr|fop.OExcl, 0o644, 0o022)
//	n, err := f.WriteAt(ctx, cred, data, 0)
//	err = f.Close(ctx, cred)
//
// What it promises:
//
//   - One method is one fop, but where its comment says otherwise. Objects come
//     and go as gfids, attributes as fop.Iatt; new objects get a fresh gfid.
//   - ReadAt and WriteAt take any length: they send requests of at most MaxIO
//     bytes, several at once, and never copy what they send or receive.
//   - ESTALE means that some translator does not know a gfid. The object is
//     looked up by its gfid then, which teaches them, and the fop is sent once
//     more. Who gets ESTALE from here knows that the object is gone.
//   - Errors are errnos, perhaps wrapped (fop.Errno), and context errors.
//
// Modes that callers give are those before the umask, which they give beside
// them: entries are made with mode &^ umask, and the brick gets both, because
// a default ACL of the directory takes the umask's place.
//
// Read next: entry.go, file.go, transfer.go.
package volume

import (
	"context"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Volume is a volume by its handles. It is safe for concurrent use.
type Volume struct {
	h fop.Handler
	// umask has requests that make objects carry mode and umask one by one.
	umask bool
}

// New returns the handle layer over h.
func New(h fop.Handler) *Volume { return &Volume{h: h} }

// WithUmask returns the volume for callers whose umask a default ACL of the
// directory is to replace: what it makes has modes as POSIX.1e says.
func (v *Volume) WithUmask() *Volume { return &Volume{h: v.h, umask: true} }

// Handler returns what the volume stands on.
func (v *Volume) Handler() fop.Handler { return v.h }

// call carries out a fop, once more if a translator had to be taught the gfid.
func call[R fop.Reply](ctx context.Context, v *Volume, req fop.RequestFor[R]) (R, error) {
	r, err := fop.Call(ctx, v.h, req)
	if err != nil && fop.Errno(err) == syscall.ESTALE && v.teach(ctx, req) {
		return fop.Call(ctx, v.h, req)
	}
	return r, err
}

// teach looks up what req works on, by gfid, and reports whether it is there.
func (v *Volume) teach(ctx context.Context, req fop.Request) bool {
	g, fd := fop.Target(req)
	if g.IsZero() || fd != nil {
		return false
	}
	ids := []fop.GFID{g}
	switch r := req.(type) {
	case *fop.Lookup:
		if r.Name == "" {
			return false
		}
	case *fop.Rename:
		ids = append(ids, r.NewParent)
	case *fop.Link:
		ids = []fop.GFID{r.GFID, r.Parent}
	}
	for _, g := range ids {
		q := &fop.Lookup{Header: fop.Header{Cred: req.Head().Cred}, GFID: g}
		if _, err := fop.Call(ctx, v.h, q); err != nil {
			return false
		}
	}
	return true
}

func head(c *fop.Cred) fop.Header { return fop.Header{Cred: *c} }

// newHead is the header of a request that makes an object.
func newHead(c *fop.Cred) (fop.Header, fop.GFID) {
	g := fop.NewGFID()
	return fop.Header{Cred: *c, XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}, g
}

// maskedHead is newHead for an object with a mode.
func (v *Volume) maskedHead(c *fop.Cred, mode, umask uint32) (fop.Header, fop.GFID) {
	h, g := newHead(c)
	if v.umask {
		h.XData.Append(fop.KeyUmask, fop.Int(int64(umask)))
		h.XData.Append(fop.KeyMode, fop.Int(int64(mode)))
	}
	return h, g
}

// Lookup finds name in a directory.
func (v *Volume) Lookup(ctx context.Context, c *fop.Cred, dir fop.GFID, name string) (fop.Iatt, error) {
	r, err := v.LookupX(ctx, c, dir, name, nil)
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

// LookupX is Lookup that also asks for the keys of want; the answers are in the
// reply's XData. want may change hands: the caller must not use it again.
func (v *Volume) LookupX(ctx context.Context, c *fop.Cred, dir fop.GFID, name string, want *fop.Dict) (*fop.LookupReply, error) {
	// A file that somebody put on the brick by hand gets this gfid.
	if want == nil {
		want = fop.NewDict()
	}
	want.Append(fop.KeyGFIDReq, fop.GFIDValue(fop.NewGFID()))
	return call(ctx, v, &fop.Lookup{Header: fop.Header{Cred: *c, XData: want}, Parent: dir, Name: name})
}

// LookupGFID finds an object by its gfid.
func (v *Volume) LookupGFID(ctx context.Context, c *fop.Cred, g fop.GFID) (fop.Iatt, error) {
	h := head(c)
	if g.IsRoot() {
		h.XData = fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})
	}
	r, err := fop.Call(ctx, v.h, &fop.Lookup{Header: h, GFID: g})
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

// Getattr returns the attributes of an object.
func (v *Volume) Getattr(ctx context.Context, c *fop.Cred, g fop.GFID) (fop.Iatt, error) {
	r, err := call(ctx, v, &fop.Stat{Header: head(c), GFID: g})
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

// Setattr changes the attributes that valid names (fop.SetMode, …) and returns
// all. With fop.SetSize it is two fops, TRUNCATE first.
func (v *Volume) Setattr(ctx context.Context, c *fop.Cred, g fop.GFID, valid int32, want fop.Iatt) (fop.Iatt, error) {
	if valid&fop.SetSize != 0 {
		a, err := v.Truncate(ctx, c, g, want.Size)
		if valid &^= fop.SetSize; err != nil || valid == 0 {
			return a, err
		}
	}
	r, err := call(ctx, v, &fop.Setattr{Header: head(c), GFID: g, Stat: want, Valid: valid})
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Post, nil
}

// Truncate sets the size of a file and returns its attributes.
func (v *Volume) Truncate(ctx context.Context, c *fop.Cred, g fop.GFID, size uint64) (fop.Iatt, error) {
	r, err := call(ctx, v, &fop.Truncate{Header: head(c), GFID: g, Offset: size})
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Post, nil
}

// Access checks permissions: mask of R 4, W 2, X 1. The error is EACCES if one
// is missing.
func (v *Volume) Access(ctx context.Context, c *fop.Cred, g fop.GFID, mask uint32) error {
	_, err := call(ctx, v, &fop.Access{Header: head(c), GFID: g, Mask: mask})
	return err
}

// Readlink returns the target of a symbolic link.
func (v *Volume) Readlink(ctx context.Context, c *fop.Cred, g fop.GFID) (string, error) {
	r, err := call(ctx, v, &fop.Readlink{Header: head(c), GFID: g, Size: 64 << 10})
	if err != nil {
		return "", err
	}
	return r.Target, nil
}

// Statfs returns the figures of the file system that has g.
func (v *Volume) Statfs(ctx context.Context, c *fop.Cred, g fop.GFID) (fop.Statfs, error) {
	r, err := call(ctx, v, &fop.StatfsReq{Header: head(c), GFID: g})
	if err != nil {
		return fop.Statfs{}, err
	}
	return r.Statfs, nil
}

// Getxattr returns the value of an extended attribute; ENODATA if there is none.
func (v *Volume) Getxattr(ctx context.Context, c *fop.Cred, g fop.GFID, name string) ([]byte, error) {
	if name == "" {
		return nil, syscall.EINVAL
	}
	if b := gfidXattr(g, name); b != nil {
		return b, nil
	}
	r, err := call(ctx, v, &fop.Getxattr{Header: head(c), GFID: g, Name: name})
	return xattrValue(r, name, err)
}

// gfidXattr is the value of the attributes by which GlusterFS's clients tell the
// GFID of an object, nil for others.
func gfidXattr(g fop.GFID, name string) []byte {
	switch name {
	case "glusterfs.gfid":
		return g[:]
	case "glusterfs.gfid.string":
		return []byte(g.String())
	}
	return nil
}

func xattrValue(r *fop.XattrReply, name string, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	val, ok := r.Dict.Get(name)
	if !ok { // a key that the brick keeps to itself
		return nil, syscall.ENODATA
	}
	if b := val.Bytes(); b != nil {
		return b, nil
	}
	return []byte{}, nil
}

// Listxattr returns the names of all extended attributes.
func (v *Volume) Listxattr(ctx context.Context, c *fop.Cred, g fop.GFID) ([]string, error) {
	r, err := call(ctx, v, &fop.Getxattr{Header: head(c), GFID: g})
	return xattrNames(r, c, err)
}

func xattrNames(r *fop.XattrReply, c *fop.Cred, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, r.Dict.Len())
	for _, p := range r.Dict.Pairs() {
		if c.UID != 0 && len(p.Key) > 8 && p.Key[:8] == "trusted." {
			continue // as a kernel does
		}
		names = append(names, p.Key)
	}
	return names, nil
}

// Setxattr sets an extended attribute; flags are fop.XattrCreate and
// fop.XattrReplace.
func (v *Volume) Setxattr(ctx context.Context, c *fop.Cred, g fop.GFID, name string, val []byte, flags uint32) error {
	_, err := call(ctx, v, &fop.Setxattr{Header: head(c), GFID: g, Flags: flags, Dict: fop.NewDict(fop.Pair{Key: name, Val: fop.Bytes(val)})})
	return err
}

// Removexattr removes an extended attribute.
func (v *Volume) Removexattr(ctx context.Context, c *fop.Cred, g fop.GFID, name string) error {
	if name == "" {
		return syscall.EINVAL
	}
	_, err := call(ctx, v, &fop.Removexattr{Header: head(c), GFID: g, Name: name})
	return err
}
