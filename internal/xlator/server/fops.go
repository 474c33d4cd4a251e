package server

import (
	"context"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
)

// do carries out a fop of the client. The request is the session's to change.
func (s *session) do(ctx context.Context, req fop.Request, fd proto.FdRefs) (fop.Reply, error) {
	if err := check(req); err != nil {
		return nil, err
	}
	if !s.subdir.IsZero() {
		requestGFIDs(req, func(g *fop.GFID) { subdirIn(g, s.subdir) })
		if q, ok := req.(*fop.Lookup); ok && q.Name == ".." && q.Parent == s.subdir {
			*q = fop.Lookup{Header: q.Header, GFID: s.subdir, Flags: q.Flags}
		}
	}
	switch req.(type) {
	case *fop.Release, *fop.Releasedir:
		if f, err := s.fds.take(fd.A); err == nil {
			s.put(f)
		}
		return &fop.CommonReply{ReplyHeader: fop.ReplyHeader{XData: &fop.Dict{}}}, nil
	}
	if fd.N > 0 {
		done, err := s.resolve(req, fd)
		if err != nil {
			return nil, err
		}
		defer done.put(s)
	}
	reply, err := s.dispatch(ctx, req)
	if err == nil && !s.subdir.IsZero() && reply != nil {
		replyAttrs(reply, func(a *fop.Iatt) { subdirOut(a, s.subdir) })
	}
	return reply, err
}

// held are the open files that a fop in flight refers to.
type held struct{ a, b *openFile }

func (h held) put(s *session) {
	if h.a != nil {
		s.put(h.a)
	}
	if h.b != nil {
		s.put(h.b)
	}
}

// resolve puts open files in the place of their numbers. The anonymous number
// leaves the Fd nil: the fop then goes by its GFID.
func (s *session) resolve(req fop.Request, fd proto.FdRefs) (h held, err error) {
	var a, b *fop.Fd
	if fd.A != anonymousFd {
		if h.a, err = s.fds.get(fd.A); err != nil {
			return h, err
		}
		a = &h.a.Fd
	}
	if fd.N > 1 && fd.B != anonymousFd {
		if h.b, err = s.fds.get(fd.B); err != nil {
			h.put(s)
			return held{}, err
		}
		b = &h.b.Fd
	}
	proto.SetFds(req, a, b)
	// An open file is what it was opened as. In version 330 some messages have
	// no GFID; one that names another object comes late, to a number that has
	// been given to another file since. Not so with directories: to see whether
	// the one that a rename would replace is empty, a client of 10.3 opens that and
	// lists it in the name of the one that is renamed.
	if g, _ := object(req); g != nil && a != nil {
		if !g.IsZero() && *g != a.GFID && !a.Dir {
			h.put(s)
			return held{}, syscall.EBADF
		}
		*g = a.GFID
	}
	if q, ok := req.(*fop.CopyFileRange); ok {
		if a != nil {
			q.GFID = a.GFID
		}
		if b != nil {
			q.Dst = b.GFID
		}
	}
	if g, _ := object(req); g != nil && g.IsZero() {
		h.put(s)
		return held{}, syscall.EINVAL
	}
	return h, nil
}

// dispatch sends a fop down to the brick, and does what only the server can.
func (s *session) dispatch(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch q := req.(type) {
	case *fop.Read:
		return s.brick.Do(ctx, q)
	case *fop.Open:
		f := s.newFile(q.GFID, q.Flags, false, &q.Header)
		q.Fd = &f.Fd
		r, err := fop.Call(ctx, s.brick, q)
		return s.opened(f, r, err)
	case *fop.Opendir:
		f := s.newFile(q.GFID, fop.ORdonly|fop.ODirectory, true, &q.Header)
		q.Fd = &f.Fd
		r, err := fop.Call(ctx, s.brick, q)
		return s.opened(f, r, err)
	case *fop.Create:
		return s.create(ctx, q)
	case *fop.Lookup:
		r, err := fop.Call(ctx, s.brick, q)
		if r == nil {
			return nil, err
		}
		if err == nil && q.Name == "" && q.GFID.IsRoot() {
			r.Stat.Ino = 1
		}
		return r, err
	case *fop.Readdir:
		q.Size = min(q.Size, maxListing)
	case *fop.Readdirp:
		q.Size = min(q.Size, maxListing)
	case *fop.Inodelk, *fop.Finodelk, *fop.Entrylk, *fop.Fentrylk:
		s.tagLock(req.Head())
	}
	return s.brick.Do(ctx, req)
}

// maxListing bounds a listing as GlusterFS's bricks do.
const maxListing = 128 << 10

// tagLock says to the locks translator, in the words of GlusterFS, whose lock
// it is.
func (s *session) tagLock(h *fop.Header) {
	if h.XData.Len() == 0 {
		h.XData = s.lockXData
		return
	}
	h.XData = h.XData.With(fop.KeyConnectionID, fop.Str(s.Client.ID))
}

func (s *session) newFile(g fop.GFID, flags uint32, dir bool, h *fop.Header) *openFile {
	f := &openFile{}
	f.Fd.GFID, f.Fd.Flags, f.Fd.Dir, f.Fd.PID, f.Fd.From = g, flags, dir, h.Cred.PID, &s.Client
	f.refs.Store(1)
	return f
}

func (s *session) opened(f *openFile, r *fop.OpenReply, err error) (fop.Reply, error) {
	if r == nil {
		return nil, err
	}
	if err != nil {
		return r, err
	}
	n, err := s.fds.add(f)
	if err != nil {
		s.put(f)
		return nil, err
	}
	out := *r
	out.RemoteFd = n
	return &out, nil
}

func (s *session) create(ctx context.Context, q *fop.Create) (fop.Reply, error) {
	var g fop.GFID
	if v, ok := q.XData.Get(fop.KeyGFIDReq); ok {
		g, _ = v.GFID()
	}
	f := s.newFile(g, q.Flags, false, &q.Header)
	q.Fd = &f.Fd
	r, err := fop.Call(ctx, s.brick, q)
	if r == nil {
		return nil, err
	}
	if err != nil {
		return r, err
	}
	f.Fd.GFID = r.Stat.GFID
	n, err := s.fds.add(f)
	if err != nil {
		s.put(f)
		return nil, err
	}
	out := *r
	out.RemoteFd = uint64(n)
	return &out, nil
}

// check refuses requests that no translator should have to understand.
func check(req fop.Request) error {
	switch q := req.(type) {
	case *fop.Lookup:
		if q.Name == "" {
			return object1(q.GFID)
		}
		return entry(q.Parent, q.Name, 0)
	case *fop.Mknod:
		return entry(q.Parent, q.Name, syscall.EEXIST)
	case *fop.Mkdir:
		return entry(q.Parent, q.Name, syscall.EEXIST)
	case *fop.Symlink:
		return entry(q.Parent, q.Name, syscall.EEXIST)
	case *fop.Create:
		return entry(q.Parent, q.Name, syscall.EEXIST)
	case *fop.Link:
		if err := object1(q.GFID); err != nil {
			return err
		}
		return entry(q.Parent, q.Name, syscall.EEXIST)
	case *fop.Unlink:
		return entry(q.Parent, q.Name, syscall.EINVAL)
	case *fop.Rmdir:
		return entry(q.Parent, q.Name, syscall.EINVAL)
	case *fop.Namelink:
		return entry(q.Parent, q.Name, syscall.EEXIST)
	case *fop.Rename:
		if err := entry(q.OldParent, q.OldName, syscall.EBUSY); err != nil {
			return err
		}
		return entry(q.NewParent, q.NewName, syscall.EBUSY)
	case *fop.Lk:
		if q.Cmd > fop.LkGetFd || q.Type > fop.LockEOL {
			return syscall.EINVAL
		}
		q.Flock.Type = q.Type // the message has it twice; this one counts
	case *fop.Inodelk:
		return lockWords(q.Cmd, q.Type, &q.Flock)
	case *fop.Finodelk:
		return lockWords(q.Cmd, q.Type, &q.Flock)
	case *fop.Entrylk:
		return entrylkWords(q.Cmd, q.Type)
	case *fop.Fentrylk:
		return entrylkWords(q.Cmd, q.Type)
	default:
		if g, fd := object(req); g != nil && fd == nil {
			return object1(*g)
		}
	}
	return nil
}

func object1(g fop.GFID) error {
	if g.IsZero() {
		return syscall.EINVAL
	}
	return nil
}

// entry checks a directory and a name in it. dots is the error of the names
// "." and "..", 0 where they are fine.
func entry(parent fop.GFID, name string, dots syscall.Errno) error {
	switch {
	case parent.IsZero() || name == "":
		return syscall.EINVAL
	case (name == "." || name == "..") && dots != 0:
		return dots
	case strings.IndexByte(name, '/') >= 0:
		return syscall.EPERM
	case strings.IndexByte(name, 0) >= 0:
		return syscall.EINVAL
	}
	return nil
}

func lockWords(cmd, typ uint32, l *fop.Flock) error {
	if cmd > fop.LkSetWait || typ > fop.LockUnlock {
		return syscall.EINVAL
	}
	l.Type = typ
	return nil
}

func entrylkWords(cmd, typ uint32) error {
	if cmd > fop.EntrylkTry || typ > fop.LockWrite {
		return syscall.EINVAL
	}
	return nil
}
