package gfapi

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
	"github.com/wythefs/wythe/internal/volume"
)

// Create makes a file, or empties the one that is there, and opens it for
// reading and writing.
func (v *Volume) Create(name string) (*File, error) {
	return v.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// Open opens a file or directory for reading.
func (v *Volume) Open(name string) (*File, error) { return v.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile opens a file with flags of package os; perm (before umask) is for a
// file that is made.
func (v *Volume) OpenFile(name string, flag int, perm fs.FileMode) (f *File, err error) {
	flags := openFlags(flag)
	err = v.do("open", name, func(ctx context.Context) (err error) {
		switch {
		case flags&fop.OCreate == 0:
			f, err = v.openExisting(ctx, name, flags)
		case flags&fop.OExcl != 0:
			err = v.entry(ctx, name, func(p paths.Place) (err error) {
				f, err = v.createAt(ctx, name, p, flags, perm)
				return err
			})
		default:
			f, err = v.openOrCreate(ctx, name, flags, perm)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openFlags turns flags of package os, which differ between systems, into those
// of the protocol.
func openFlags(flag int) uint32 {
	var flags uint32
	switch {
	case flag&os.O_RDWR != 0:
		flags = fop.ORdwr
	case flag&os.O_WRONLY != 0:
		flags = fop.OWronly
	}
	for _, f := range [...]struct {
		os  int
		fop uint32
	}{{os.O_APPEND, fop.OAppend}, {os.O_CREATE, fop.OCreate}, {os.O_EXCL, fop.OExcl}, {os.O_SYNC, fop.OSync}, {os.O_TRUNC, fop.OTrunc}} {
		if flag&f.os == f.os {
			flags |= f.fop
		}
	}
	return flags | systemFlags(flag)
}

// createAt makes a file where p leads, which must not exist.
func (v *Volume) createAt(ctx context.Context, name string, p paths.Place, flags uint32, perm fs.FileMode) (*File, error) {
	switch {
	case p.Name == "":
		return nil, syscall.EEXIST
	case p.Slash:
		return nil, syscall.EISDIR
	}
	vf, a, err := v.m.vol.Create(ctx, &v.cred, p.Dir, p.Name, flags|fop.OExcl, permBits(perm), v.m.umask)
	if err != nil {
		return nil, err
	}
	return v.newFile(name, flags, vf, nil, &a), nil
}

func (v *Volume) openExisting(ctx context.Context, name string, flags uint32) (f *File, err error) {
	to := paths.ToTarget
	if flags&fop.ONofollow != 0 {
		to = paths.ToLink
	}
	// A hint for performance/quick-read. Directories come from the cache all the same.
	setup := func(w *paths.Walk) { w.Content = flags&^fop.ONofollow == fop.ORdonly }
	err = v.at(ctx, name, to, setup, func(p paths.Place) (err error) {
		if !p.Found {
			return syscall.ENOENT
		}
		f, err = v.openAt(ctx, name, p, flags)
		return err
	})
	return f, err
}

// openAt opens what p found.
func (v *Volume) openAt(ctx context.Context, name string, p paths.Place, flags uint32) (*File, error) {
	writes := flags&fop.OAccmode != fop.ORdonly || flags&fop.OTrunc != 0
	switch {
	case p.IsDir && (writes || flags&fop.OCreate != 0):
		return nil, syscall.EISDIR
	case p.IsDir:
		d, err := v.m.vol.Opendir(ctx, &v.cred, p.GFID)
		if err != nil {
			return nil, err
		}
		return v.newFile(name, flags, nil, d, &fop.Iatt{GFID: p.GFID, Mode: fop.ModeDir}), nil
	case p.Target != "" || p.Attr.IsSymlink():
		return nil, syscall.ELOOP
	case flags&fop.ODirectory != 0:
		return nil, syscall.ENOTDIR
	case !p.Attr.IsRegular(): // there is nobody to talk to at the other end
		return nil, syscall.ENXIO
	}
	open := v.m.vol.OpenNow
	if v.cred.UID == 0 || !writes && v.mayRead(&p.Attr) {
		open = v.m.vol.Open // nobody needs to ask
	}
	vf, err := open(ctx, &v.cred, p.GFID, flags)
	if err != nil {
		return nil, err
	}
	a := p.Attr
	if flags&fop.OTrunc != 0 {
		a.Size = 0
	}
	return v.newFile(name, flags, vf, nil, &a), nil
}

// openOrCreate opens a file and makes it if need be.
func (v *Volume) openOrCreate(ctx context.Context, name string, flags uint32, perm fs.FileMode) (f *File, err error) {
	err = v.m.names.OpenOrCreate(ctx, v.walk(), name,
		func(p paths.Place) (err error) { f, err = v.openAt(ctx, name, p, flags); return err },
		func(p paths.Place) (err error) { f, err = v.createAt(ctx, name, p, flags, perm); return err })
	return f, err
}

type errorString string

func (e errorString) Error() string { return string(e) }

func (v *Volume) newFile(name string, flags uint32, vf *volume.File, d *volume.Dir, a *fop.Iatt) *File {
	f := &File{v: v, name: name, flags: flags, f: vf, d: d, gfid: a.GFID, id: v.m.opened.Add(1)}
	f.size.Store(a.Size)
	f.owner = v.owned
	if n := f.id; f.owner == "" {
		f.owner = string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32), byte(n >> 40), byte(n >> 48), byte(n >> 56)})
	}
	f.use.refs.Store(1)
	v.m.mu.Lock()
	v.m.files[f] = struct{}{}
	v.m.mu.Unlock()
	if v.m.closed.Load() { // Unmount may have missed it
		f.Close()
	}
	return f
}

// ReadFile returns the contents of a file.
func (v *Volume) ReadFile(name string) (data []byte, err error) {
	err = v.do("open", name, func(ctx context.Context) error {
		setup := func(w *paths.Walk) { w.Content, w.NeedAll = true, true }
		return v.at(ctx, name, paths.ToTarget, setup, func(p paths.Place) (err error) {
			if !p.Found {
				return syscall.ENOENT
			}
			if c, ok := p.X.Get(fop.KeyContent); ok && p.Attr.IsRegular() && v.mayRead(&p.Attr) {
				if b := c.Bytes(); uint64(len(b)) == p.Attr.Size {
					data = slices.Clip(b)
					return nil
				}
			}
			if p.IsDir {
				return syscall.EISDIR
			}
			f, err := v.openAt(ctx, name, p, fop.ORdonly)
			if err != nil {
				return err
			}
			defer f.Close()
			data, err = readAll(ctx, f, p.Attr.Size)
			return err
		})
	})
	if err == nil && data == nil {
		data = []byte{}
	}
	return data, err
}

// mayRead reports whether the caller may read a file for sure. Others than root
// and the owner may, too, but only the brick knows.
func (v *Volume) mayRead(a *fop.Iatt) bool {
	return v.cred.UID == 0 || v.cred.UID == a.UID && a.Mode&0o400 != 0
}

func readAll(ctx context.Context, f *File, size uint64) ([]byte, error) {
	data := make([]byte, 0, max(size, 512))
	for {
		n, eof, err := f.f.ReadAt(ctx, &f.v.cred, data[len(data):cap(data)], uint64(len(data)))
		data = data[:len(data)+n]
		if err != nil || eof {
			return data, err
		}
		data = slices.Grow(data, max(512, len(data)/4))
	}
}

// WriteFile makes a file with the given contents, or replaces the contents of
// the one that is there.
func (v *Volume) WriteFile(name string, data []byte, perm fs.FileMode) error {
	f, err := v.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}

// ReadDir returns the entries of a directory, sorted by name. Their Info costs
// no round trip.
func (v *Volume) ReadDir(name string) ([]fs.DirEntry, error) {
	var f *File
	err := v.do("open", name, func(ctx context.Context) (err error) {
		f, err = v.openExisting(ctx, name, fop.ODirectory)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}
