package gfapi

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
	"github.com/wythefs/wythe/internal/volume"
)

// readable and writable are what a descriptor's access mode permits; bricks
// check it, too, but not all of GlusterFS's translators.
func (f *File) readable() error {
	if f.flags&fop.OAccmode == fop.OWronly {
		return syscall.EBADF
	}
	return nil
}

func (f *File) writable() error {
	if f.flags&fop.OAccmode == fop.ORdonly {
		return syscall.EBADF
	}
	return nil
}

// Read reads up to len(p) bytes at the file's offset. It returns fewer only at
// the end of the file, and io.EOF there.
func (f *File) Read(p []byte) (n int, err error) {
	err = f.data("read", func(ctx context.Context) error {
		if err := f.readable(); err != nil || len(p) == 0 {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if err = f.locate(ctx); err != nil {
			return err
		}
		n, _, err = f.f.ReadAt(ctx, &f.v.cred, p, uint64(f.pos))
		f.pos += int64(n)
		if n == 0 && err == nil {
			err = io.EOF
		}
		return err
	})
	return n, err
}

// ReadAt reads len(p) bytes at off. It returns fewer only with an error, which
// is io.EOF at the end of the file.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.data("read", func(ctx context.Context) error {
		if off < 0 {
			return errNegative
		}
		if err := f.readable(); err != nil || len(p) == 0 {
			return err
		}
		n, _, err = f.f.ReadAt(ctx, &f.v.cred, p, uint64(off))
		if n < len(p) && err == nil {
			err = io.EOF
		}
		return err
	})
	return n, err
}

var errNegative = errors.New("negative offset")

// Write writes p at the file's offset, at its end if it was opened with
// os.O_APPEND.
func (f *File) Write(p []byte) (n int, err error) {
	err = f.data("write", func(ctx context.Context) error {
		if err := f.writable(); err != nil || len(p) == 0 {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wrote.Store(true)
		if f.flags&fop.OAppend != 0 {
			var end uint64
			if n, end, err = f.f.Append(ctx, &f.v.cred, p); n > 0 {
				if f.pos = int64(end); end == 0 {
					f.pos = atEnd
				}
			}
			return err
		}
		n, err = f.f.WriteAt(ctx, &f.v.cred, p, uint64(f.pos))
		f.pos += int64(n)
		return err
	})
	return n, err
}

// WriteString is Write of a string.
func (f *File) WriteString(s string) (n int, err error) { return f.Write([]byte(s)) }

// WriteAt writes p at off. It fails on a file opened with os.O_APPEND.
func (f *File) WriteAt(p []byte, off int64) (n int, err error) {
	if f != nil && f.flags&fop.OAppend != 0 {
		return 0, errWriteAtInAppendMode
	}
	err = f.data("write", func(ctx context.Context) error {
		if off < 0 {
			return errNegative
		}
		if err := f.writable(); err != nil || len(p) == 0 {
			return err
		}
		f.wrote.Store(true)
		n, err = f.f.WriteAt(ctx, &f.v.cred, p, uint64(off))
		return err
	})
	return n, err
}

// Seek sets the file's offset, relative to whence (io.SeekStart, …), and
// returns the new one. On a directory only Seek(0, io.SeekStart) works: it
// begins the listing anew.
func (f *File) Seek(offset int64, whence int) (pos int64, err error) {
	err = f.do("seek", func(ctx context.Context) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.d != nil {
			if offset != 0 || whence != io.SeekStart {
				return syscall.EINVAL
			}
			f.list = listing{}
			return nil
		}
		from := int64(0)
		var err error
		switch whence {
		case io.SeekStart:
		case io.SeekCurrent:
			if err = f.locate(ctx); err == nil {
				from = f.pos
			}
		case io.SeekEnd:
			var a fop.Iatt
			a, err = f.getattr(ctx)
			from = int64(a.Size)
		default:
			err = syscall.EINVAL
		}
		if err != nil {
			return err
		}
		if pos = from + offset; pos < 0 || offset > 0 && pos < from {
			pos = 0
			return syscall.EINVAL
		}
		f.pos = pos
		return nil
	})
	return pos, err
}

// atEnd stands for the offset behind what was appended: the write was answered
// before the brick knew where that is, and nobody has asked since.
const atEnd = -1

// locate finds out the offset if it is not known. f.mu is held.
func (f *File) locate(ctx context.Context) error {
	if f.pos != atEnd {
		return nil
	}
	a, err := f.getattr(ctx)
	if err == nil {
		f.pos = int64(a.Size)
	}
	return err
}

// at returns the file's offset.
func (f *File) at(ctx context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.locate(ctx)
	return f.pos, err
}

func (f *File) setPos(pos int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pos = pos
}

// ReadFrom writes what r gives to the file until r ends: [io.Copy] into the
// file comes here. Several writes are under way at once. What comes from
// another file of the same mount is copied on the servers, if they can.
func (f *File) ReadFrom(r io.Reader) (n int64, err error) {
	err = f.data("write", func(ctx context.Context) error {
		if err := f.writable(); err != nil {
			return err
		}
		n, err = f.copyFromFile(ctx, r)
		if n > 0 || err != errNotHere {
			return err
		}
		// r may lead back to this file: its lock is not held meanwhile.
		f.wrote.Store(true)
		if f.flags&fop.OAppend != 0 {
			n, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, volume.MaxIO))
			return err
		}
		off, err := f.at(ctx)
		if err != nil {
			return err
		}
		n, err = f.f.CopyFrom(ctx, &f.v.cred, r, uint64(off))
		f.setPos(off + n)
		return err
	})
	return n, err
}

// WriteTo writes the file, from its offset on, to w: [io.Copy] from the file
// comes here. It reads ahead, several reads under way at once.
func (f *File) WriteTo(w io.Writer) (n int64, err error) {
	if dst, ok := w.(*File); ok && dst != nil && dst != f && dst.f != nil { // which can do more
		return dst.ReadFrom(f)
	}
	err = f.data("read", func(ctx context.Context) error {
		if err := f.readable(); err != nil {
			return err
		}
		off, err := f.at(ctx)
		if err != nil {
			return err
		}
		n, err = f.f.CopyTo(ctx, &f.v.cred, w, uint64(off), f.size.Load())
		f.setPos(off + n)
		return err
	})
	return n, err
}

// errNotHere says that the servers cannot do a copy.
var errNotHere = errorString("not a copy for the servers")

// copyFromFile is ReadFrom a *File, or a part of one, without the data coming
// here. n > 0 means that the source's offset has moved.
func (f *File) copyFromFile(ctx context.Context, r io.Reader) (n int64, err error) {
	limited, _ := r.(*io.LimitedReader)
	if limited != nil {
		r = limited.R
	}
	src, ok := r.(*File)
	if !ok || src == nil || src == f || src.f == nil || src.v.m != f.v.m || f.flags&fop.OAppend != 0 || src.readable() != nil {
		return 0, errNotHere
	}
	_, done, err := src.begin()
	if err != nil {
		return 0, errNotHere // the plain way tells
	}
	defer done()
	a, b := f, src
	if a.id > b.id {
		a, b = b, a
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := src.locate(ctx); err != nil {
		return 0, err
	}
	from, to := src.pos, f.pos
	st, err := src.getattr(ctx)
	if err != nil || int64(st.Size) <= from {
		return 0, err
	}
	size := int64(st.Size) - from
	if limited != nil {
		size = min(size, limited.N)
	}
	if size <= 0 {
		return 0, nil
	}
	f.wrote.Store(true)
	got, err := f.f.CopyRange(ctx, &f.v.cred, uint64(to), src.f, uint64(from), uint64(size))
	n = int64(got)
	src.pos += n
	f.pos += n
	if limited != nil {
		limited.N -= n
	}
	if n == 0 && cannotCopy(err) {
		return 0, errNotHere
	}
	return n, err
}

// cannotCopy reports whether the servers cannot copy between two files.
func cannotCopy(err error) bool {
	return is(err, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.ENOTSUP, syscall.EXDEV, syscall.EINVAL)
}

// CopyRange copies size bytes at srcOff of src to off, on the servers if they
// can, and returns how many: fewer only with an error, or where src ends. Both
// files belong to one mount.
func (f *File) CopyRange(off int64, src *File, srcOff, size int64) (n int64, err error) {
	err = f.data("copy", func(ctx context.Context) error {
		if src == nil || src.v.m != f.v.m {
			return syscall.EXDEV
		}
		if err := errors.Join(span(off, size), span(srcOff, size)); size != 0 && err != nil {
			return syscall.EINVAL
		}
		if size == 0 {
			return nil
		}
		_, done, err := src.begin()
		if err != nil {
			return err
		}
		defer done()
		if src.f == nil {
			return syscall.EISDIR
		}
		if err := src.readable(); err != nil {
			return err
		}
		if err := f.writable(); err != nil {
			return err
		}
		f.wrote.Store(true)
		got, err := f.f.CopyRange(ctx, &f.v.cred, uint64(off), src.f, uint64(srcOff), uint64(size))
		n = int64(got)
		overlap := src.gfid == f.gfid && off < srcOff+size && srcOff < off+size
		if n == 0 && cannotCopy(err) && !overlap && f.flags&fop.OAppend == 0 {
			n, err = f.f.CopyFrom(ctx, &f.v.cred, io.NewSectionReader(src, srcOff, size), uint64(off))
		}
		return err
	})
	return n, err
}

// listing is where a directory's listing is.
type listing struct {
	off     uint64
	eof     bool
	pending []fs.DirEntry
}

// listSize is how much a listing asks for at once, the most that GlusterFS's
// bricks give.
const listSize = 128 << 10

// ReadDir returns the next n entries of a directory in the servers' order, and
// io.EOF when none are left. With n <= 0 it returns all that follow. The entries'
// Info costs no round trip.
func (f *File) ReadDir(n int) (list []fs.DirEntry, err error) {
	err = f.do("readdir", func(ctx context.Context) error {
		if f.d == nil {
			return syscall.ENOTDIR
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		l := &f.list
		// A listing ends with the brick that it reads. As long as nothing of it was
		// given out it can begin anew, with another copy.
		again := l.off == 0
		for !l.eof && (n <= 0 || len(l.pending) < n) {
			if err := f.more(ctx, l); err != nil {
				if again && l.off != 0 && errors.Is(err, syscall.ENOTCONN) {
					*l, again = listing{}, false
					continue
				}
				if len(l.pending) > 0 {
					list, l.pending = l.pending, nil
				}
				return err
			}
		}
		if n <= 0 || n > len(l.pending) {
			n = max(n, 0)
			list, l.pending = l.pending, nil
			if n > 0 && len(list) == 0 {
				return io.EOF
			}
			return nil
		}
		list, l.pending = l.pending[:n:n], l.pending[n:]
		return nil
	})
	if list == nil && err == nil {
		list = []fs.DirEntry{}
	}
	return list, err
}

// more gets the next page of a listing.
func (f *File) more(ctx context.Context, l *listing) error {
	cache := f.v.m.cache
	epoch := cache.Epoch()
	page, eof, err := f.d.Readdirp(ctx, &f.v.cred, l.off, listSize)
	if err != nil {
		return err
	}
	l.eof = eof
	for i := range page {
		e := &page[i]
		l.off = e.Off
		if e.Name == "." || e.Name == ".." {
			continue
		}
		if e.Stat.IsDir() && !e.Stat.GFID.IsZero() && f.v.cred.UID == 0 {
			// Who is not root needs the brick's word that it may pass.
			cache.Put(f.gfid, e.Name, f.v.credID, epoch, paths.Entry{GFID: e.Stat.GFID})
		}
		l.pending = append(l.pending, &dirEntry{f: f, e: *e})
	}
	return nil
}

// Readdir is ReadDir that returns attributes.
func (f *File) Readdir(n int) ([]fs.FileInfo, error) {
	list, err := f.ReadDir(n)
	infos := make([]fs.FileInfo, len(list))
	errs := make([]error, len(list))
	// Those that did not come with the listing are asked for side by side.
	var wg sync.WaitGroup
	free := make(chan struct{}, 16)
	for i, e := range list {
		if e.(*dirEntry).complete() {
			infos[i], errs[i] = e.Info()
			continue
		}
		free <- struct{}{}
		wg.Go(func() {
			infos[i], errs[i] = e.Info()
			<-free
		})
	}
	wg.Wait()
	there := infos[:0]
	for i := range list {
		if errors.Is(errs[i], fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if errs[i] != nil {
			return there, errs[i]
		}
		there = append(there, infos[i])
	}
	return there, err
}

// Readdirnames is ReadDir that returns names.
func (f *File) Readdirnames(n int) ([]string, error) {
	list, err := f.ReadDir(n)
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

// dirEntry is one entry of a listing.
type dirEntry struct {
	f *File
	e fop.Dirent
}

func (d *dirEntry) Name() string   { return d.e.Name }
func (d *dirEntry) String() string { return fs.FormatDirEntry(d) }
func (d *dirEntry) IsDir() bool    { return d.Type().IsDir() }

func (d *dirEntry) Type() fs.FileMode {
	if !d.e.Stat.IsZero() {
		return goMode(d.e.Stat.Mode).Type()
	}
	return goMode(d.e.Type << 12).Type()
}

// complete reports whether all attributes came with the listing.
func (d *dirEntry) complete() bool { return d.e.Stat.Full() }

// Info returns the attributes that came with the listing, or asks for them if
// the brick had none.
func (d *dirEntry) Info() (fs.FileInfo, error) {
	if d.complete() {
		return newInfo(d.e.Name, &d.e.Stat), nil
	}
	v := d.f.v
	ctx, done, err := v.begin()
	if err != nil {
		return nil, pathError("lstat", d.e.Name, err)
	}
	defer done()
	a, err := v.m.vol.Lookup(ctx, &v.cred, d.f.gfid, d.e.Name)
	if err != nil {
		return nil, pathError("lstat", d.e.Name, err)
	}
	return newInfo(d.e.Name, &a), nil
}
