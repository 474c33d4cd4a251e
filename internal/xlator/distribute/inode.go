package distribute

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/inodes"
)

// place is where an object is.
type place struct {
	file   *subvol // of a file: the cached subvolume, which has the data
	layout *layout // of a directory
	mds    *subvol // of a directory: nil while unknown and for the root
}

// object is what this translator remembers of one file or directory.
type object struct {
	mu sync.Mutex
	place
	// Of a file that is being moved: where writes must go too, and until when
	// that is believed.
	dest      *subvol
	destUntil time.Time
	destSince uint64 // value of distribute.opens when it was learnt

	// The name of a directory, for its path.
	parent fop.GFID
	name   string

	// Where locks of upper layers on a directory go while there are any.
	lockOn *subvol
	locks  int
}

// objects is the table of them.
type objects struct{ *inodes.Table[object] }

// maxObjects is how many objects are remembered without need.
const maxObjects = 1 << 16

func (t *objects) init() { t.Table = inodes.New[object](maxObjects) }

// with calls f with the object of gfid, made if need be, under its lock.
func (t *objects) with(gfid fop.GFID, f func(*object)) {
	r := t.Acquire(gfid)
	defer r.Release()
	r.V.mu.Lock()
	defer r.V.mu.Unlock()
	f(&r.V)
}

// place returns what is known of where gfid is; ok is false if nothing is.
func (t *objects) place(gfid fop.GFID) (p place, ok bool) {
	r := t.Peek(gfid)
	if r == nil {
		return p, false
	}
	r.V.mu.Lock()
	p = r.V.place
	r.V.mu.Unlock()
	r.Release()
	return p, p.file != nil || p.layout != nil
}

// forget drops what is known of gfid.
func (t *objects) forget(gfid fop.GFID) {
	t.with(gfid, func(o *object) { o.place, o.dest = place{}, nil })
}

// setFile remembers where the data of a file is.
func (d *distribute) setFile(gfid fop.GFID, s *subvol) {
	d.objects.with(gfid, func(o *object) {
		if o.file != s {
			o.dest = nil
		}
		o.place = place{file: s}
	})
}

// setDir remembers the layout of a directory and its mds; a nil mds keeps the
// one that is known.
func (d *distribute) setDir(gfid fop.GFID, l *layout, mds *subvol) {
	d.objects.with(gfid, func(o *object) {
		if mds == nil {
			mds = o.mds
		}
		o.place = place{layout: l, mds: mds}
	})
}

// setName remembers the name of a directory.
func (d *distribute) setName(gfid, parent fop.GFID, name string) {
	d.objects.with(gfid, func(o *object) { o.parent, o.name = parent, name })
}

// where finds out where an object is: from memory, or by asking all
// subvolumes.
func (d *distribute) where(ctx context.Context, gfid fop.GFID) (place, error) {
	if p, ok := d.objects.place(gfid); ok && (p.layout == nil || p.layout.gen >= d.ups.Load()) {
		return p, nil
	}
	f, err := d.discover(ctx, gfid)
	if err != nil {
		return place{}, err
	}
	return f.place, nil
}

// whereOpen is where for a fop on an open file. What is open is known even if
// the file is not: one without a name is found by no lookup.
func (d *distribute) whereOpen(ctx context.Context, gfid fop.GFID, fd *fop.Fd) (place, error) {
	if fd != nil && !fd.Dir {
		if _, ok := d.objects.place(gfid); !ok {
			if f, _ := fd.Get(d).(*openFile); f != nil {
				if s := f.last.Load(); s != nil {
					d.objects.with(gfid, func(o *object) {
						if o.file == nil && o.layout == nil {
							o.file = s
						}
					})
					return place{file: s}, nil
				}
			}
		}
	}
	return d.where(ctx, gfid)
}

// layoutOf returns the layout of a directory, from memory or from the
// subvolumes. ENOTDIR if the object is a file.
func (d *distribute) layoutOf(ctx context.Context, dir fop.GFID) (*layout, error) {
	p, err := d.where(ctx, dir)
	if err == nil && p.layout == nil {
		err = fmt.Errorf("%v: %w", dir, syscall.ENOTDIR)
	}
	return p.layout, err
}

// refreshLayout reads the layout of a directory from the subvolumes, whatever
// memory says.
func (d *distribute) refreshLayout(ctx context.Context, dir fop.GFID) (*layout, error) {
	f, err := d.discover(ctx, dir)
	if err == nil && f.layout == nil {
		err = fmt.Errorf("%v: %w", dir, syscall.ENOTDIR)
	}
	return f.layout, err
}

// cachedOf returns the subvolume that has the data of a file, from memory or
// from the subvolumes; fd, which may be nil, is open on it. EISDIR if the object
// is a directory.
func (d *distribute) cachedOf(ctx context.Context, gfid fop.GFID, fd *fop.Fd) (*subvol, error) {
	p, err := d.whereOpen(ctx, gfid, fd)
	if err == nil && p.file == nil {
		err = fmt.Errorf("%v: %w", gfid, syscall.EISDIR)
	}
	return p.file, err
}
