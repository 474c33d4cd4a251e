package volume

import (
	"context"
	"math"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// File is an open file. Its methods may be called concurrently, Close last.
type File struct {
	Fd *fop.Fd
	// Sizeless says that the size of the file tells nothing of what can be read:
	// it is one of those that are made up, as below .meta. Set by Open.
	Sizeless bool
	v        *Volume
}

// OpenNow is Open that wants the brick's word, whether the file can be opened,
// where [Volume.Open] may be told so without asking.
func (v *Volume) OpenNow(ctx context.Context, c *fop.Cred, g fop.GFID, flags uint32) (*File, error) {
	f := v.Unopened(c, g, flags)
	if _, err := call(ctx, v, &fop.Open{Header: head(c), GFID: g, Flags: flags &^ (fop.OCreate | fop.OExcl), Fd: f.Fd, Now: true}); err != nil {
		return nil, err
	}
	return f, nil
}

// Getattr returns the attributes of the file.
func (f *File) Getattr(ctx context.Context, c *fop.Cred) (fop.Iatt, error) {
	r, err := fop.Call(ctx, f.v.h, &fop.Fstat{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd})
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

// Setattr is Volume.Setattr on the open file.
func (f *File) Setattr(ctx context.Context, c *fop.Cred, valid int32, want fop.Iatt) (fop.Iatt, error) {
	if valid&fop.SetSize != 0 {
		a, err := f.Truncate(ctx, c, want.Size)
		if valid &^= fop.SetSize; err != nil || valid == 0 {
			return a, err
		}
	}
	return attr(fop.Call(ctx, f.v.h, &fop.Fsetattr{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Stat: want, Valid: valid}))
}

func attr(r *fop.AttrReply, err error) (fop.Iatt, error) {
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Post, nil
}

// Truncate sets the size.
func (f *File) Truncate(ctx context.Context, c *fop.Cred, size uint64) (fop.Iatt, error) {
	return attr(fop.Call(ctx, f.v.h, &fop.Ftruncate{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Offset: size}))
}

// Allocate reserves space for a range; the size grows unless keepSize.
func (f *File) Allocate(ctx context.Context, c *fop.Cred, off, size uint64, keepSize bool) (fop.Iatt, error) {
	var flags uint32
	if keepSize {
		flags = 1
	}
	return attr(fop.Call(ctx, f.v.h, &fop.Fallocate{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Flags: flags, Offset: off, Size: size}))
}

// Discard turns a range into a hole; the size stays.
func (f *File) Discard(ctx context.Context, c *fop.Cred, off, size uint64) (fop.Iatt, error) {
	return attr(fop.Call(ctx, f.v.h, &fop.Discard{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Offset: off, Size: size}))
}

// Zerofill zeroes a range; the size grows if the range ends behind it.
func (f *File) Zerofill(ctx context.Context, c *fop.Cred, off, size uint64) (fop.Iatt, error) {
	return attr(fop.Call(ctx, f.v.h, &fop.Zerofill{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Offset: off, Size: size}))
}

// Seek finds the next data (fop.SeekData) or hole (fop.SeekHole) at or after
// off; ENXIO if there is none.
func (f *File) Seek(ctx context.Context, c *fop.Cred, off uint64, what int32) (uint64, error) {
	r, err := fop.Call(ctx, f.v.h, &fop.Seek{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Offset: off, What: what})
	if err != nil {
		return 0, err
	}
	return r.Offset, nil
}

// CopyRange copies size bytes at off of src to dstOff, on the brick, and
// returns how many it copied: fewer where src ends. It is as many fops as the
// brick takes steps.
func (f *File) CopyRange(ctx context.Context, c *fop.Cred, dstOff uint64, src *File, off, size uint64) (uint64, error) {
	var done uint64
	for done < size {
		step := min(size-done, 128<<20)
		r, err := fop.Call(ctx, f.v.h, &fop.CopyFileRange{Header: head(c), GFID: src.Fd.GFID, Fd: src.Fd, Dst: f.Fd.GFID, DstFd: f.Fd,
			Offset: off + done, DstOffset: dstOff + done, Size: uint32(step)})
		if err != nil {
			return done, err
		}
		if r.Size == 0 {
			break
		}
		done += uint64(r.Size)
	}
	return done, nil
}

// Fsync makes the file durable, with dataOnly only what is needed to read its
// contents back.
func (f *File) Fsync(ctx context.Context, c *fop.Cred, dataOnly bool) (fop.Iatt, error) {
	var data uint32
	if dataOnly {
		data = 1
	}
	return attr(fop.Call(ctx, f.v.h, &fop.Fsync{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Datasync: data}))
}

// Getxattr is Volume.Getxattr on the open file.
func (f *File) Getxattr(ctx context.Context, c *fop.Cred, name string) ([]byte, error) {
	if name == "" {
		return nil, syscall.EINVAL
	}
	if b := gfidXattr(f.Fd.GFID, name); b != nil {
		return b, nil
	}
	r, err := fop.Call(ctx, f.v.h, &fop.Fgetxattr{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Name: name})
	return xattrValue(r, name, err)
}

// Listxattr is Volume.Listxattr. It asks by gfid: bricks hide less of what is
// theirs from a listing of an open file.
func (f *File) Listxattr(ctx context.Context, c *fop.Cred) ([]string, error) {
	return f.v.Listxattr(ctx, c, f.Fd.GFID)
}

// Setxattr is Volume.Setxattr on the open file.
func (f *File) Setxattr(ctx context.Context, c *fop.Cred, name string, val []byte, flags uint32) error {
	_, err := fop.Call(ctx, f.v.h, &fop.Fsetxattr{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Flags: flags, Dict: fop.NewDict(fop.Pair{Key: name, Val: fop.Bytes(val)})})
	return err
}

// Removexattr is Volume.Removexattr on the open file.
func (f *File) Removexattr(ctx context.Context, c *fop.Cred, name string) error {
	if name == "" {
		return syscall.EINVAL
	}
	_, err := fop.Call(ctx, f.v.h, &fop.Fremovexattr{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Name: name})
	return err
}

// Lock carries out a lock command (fop.LkSet, fop.LkSetWait, fop.LkGet) of type
// typ (fop.LockRead, …) on size bytes at off, 0 for all that follow. Whose lock
// it is c.Owner says, which must not be empty. LkSet fails with EAGAIN when the
// lock is taken; LkSetWait waits until ctx ends; LkGet returns the lock that is
// in the way, of type fop.LockUnlock if none is.
func (f *File) Lock(ctx context.Context, c *fop.Cred, cmd, typ uint32, off, size uint64) (fop.Flock, error) {
	if c.Owner == "" || off > math.MaxInt64 || size > math.MaxInt64 || typ > fop.LockUnlock {
		return fop.Flock{}, syscall.EINVAL
	}
	r, err := fop.Call(ctx, f.v.h, &fop.Lk{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd, Cmd: cmd, Type: typ,
		Flock: fop.Flock{Type: typ, Start: off, Len: size, PID: uint32(c.PID), Owner: c.Owner}})
	if err != nil {
		return fop.Flock{}, err
	}
	return r.Flock, nil
}

// Flush is what a close(2) of a descriptor does: it reports errors of earlier
// writes and drops the posix locks of c.Owner.
func (f *File) Flush(ctx context.Context, c *fop.Cred) error {
	_, err := fop.Call(ctx, f.v.h, &fop.Flush{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd})
	return err
}

// Release ends the use of the file.
func (f *File) Release(ctx context.Context, c *fop.Cred) error {
	_, err := fop.Call(ctx, f.v.h, &fop.Release{Header: head(c), GFID: f.Fd.GFID, Fd: f.Fd})
	return err
}

// Close is Flush and Release; its error is that of the Flush.
func (f *File) Close(ctx context.Context, c *fop.Cred) error {
	err := f.Flush(ctx, c)
	f.Release(ctx, c)
	return err
}
