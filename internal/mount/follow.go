package mount

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// Open files and the change of graphs.
//
// A Session knows every open Fd and in which graph it is open. The Fd itself
// stays the same for its whole life: translators keep what they know in slots
// of it under their own pointers, so that what two graphs know fits beside each
// other.
//
// As long as there has been one graph only, a request needs none of this. After
// a change, a request on a file that is open in an older graph first opens it in
// the current one (follow), if that is not already done: the change itself goes
// through all files, too.

const keyLockinfo = "trusted.glusterfs.lockinfo"

// reopenTimeout bounds the opening of one file in a new graph.
const reopenTimeout = 30 * time.Second

// openFile is what a Session knows about an Fd.
type openFile struct {
	fd   *fop.Fd
	gfid fop.GFID                // as the brick said; who made the Fd may fill it in late
	run  atomic.Pointer[running] // where it is open

	locked atomic.Bool // posix locks were taken through it

	mu     sync.Mutex // who moves it
	stays  bool       // run holds on for it (running.files)
	closed bool
}

// openFiles are all open files of a session.
type openFiles [16]struct {
	mu  sync.Mutex
	all map[*openFile]struct{}
}

func (o *openFiles) init() {
	for i := range o {
		o[i].all = make(map[*openFile]struct{})
	}
}

func (o *openFiles) add(f *openFile) {
	p := &o[f.gfid[15]%16]
	p.mu.Lock()
	p.all[f] = struct{}{}
	p.mu.Unlock()
}

func (o *openFiles) remove(f *openFile) {
	p := &o[f.gfid[15]%16]
	p.mu.Lock()
	delete(p.all, f)
	p.mu.Unlock()
}

func (o *openFiles) list() []*openFile {
	var all []*openFile
	for i := range o {
		o[i].mu.Lock()
		for f := range o[i].all {
			all = append(all, f)
		}
		o[i].mu.Unlock()
	}
	return all
}

// openFd returns the open files that a request works on. other is the second
// one of a CopyFileRange.
func openFd(req fop.Request) (fd, other *fop.Fd) {
	switch r := req.(type) {
	case *fop.Open, *fop.Opendir, *fop.Create:
		return nil, nil // it is about to be opened
	case *fop.CopyFileRange:
		return r.Fd, r.DstFd
	}
	_, fd = fop.Target(req)
	return fd, nil
}

// note keeps the books after a request was done in graph r.
func (s *Session) note(r *running, req fop.Request, reply fop.Reply, err error) {
	var fd *fop.Fd
	var gfid fop.GFID
	switch q := req.(type) {
	case *fop.Open:
		fd, gfid = q.Fd, q.GFID
	case *fop.Opendir:
		fd, gfid = q.Fd, q.GFID
	case *fop.Create:
		if created, ok := reply.(*fop.CreateReply); ok && created != nil {
			fd, gfid = q.Fd, created.Stat.GFID
		}
	case *fop.Release:
		s.forget(r, q.Fd)
		return
	case *fop.Releasedir:
		s.forget(r, q.Fd)
		return
	case *fop.Lk:
		if f := s.file(q.Fd); f != nil && err == nil && q.Cmd != fop.LkGet && q.Cmd != fop.LkGetFd {
			f.locked.Store(true)
		}
		return
	}
	if fd == nil || err != nil {
		return
	}
	f := &openFile{fd: fd, gfid: gfid}
	f.run.Store(r)
	fd.Set(s, f)
	s.files.add(f)
}

func (s *Session) file(fd *fop.Fd) *openFile {
	if fd == nil {
		return nil
	}
	f, _ := fd.Get(s).(*openFile)
	return f
}

// forget ends the books about a file that was released in graph r.
func (s *Session) forget(r *running, fd *fop.Fd) {
	f := s.file(fd)
	if f == nil {
		return
	}
	fd.Set(s, nil)
	s.files.remove(f)
	f.mu.Lock()
	f.closed = true
	f.letGo()
	now := f.run.Load()
	f.mu.Unlock()
	if now != r && now.g != nil {
		// It was opened there while it was being released here.
		c := &now.inside[0]
		c.n.Add(1)
		now.release(f)
		now.leave(c)
	}
}

// letGo ends that run holds on for f. f.mu must be held.
func (f *openFile) letGo() {
	if f.stays {
		f.stays = false
		r := f.run.Load()
		r.files.Add(-1)
		r.wake()
	}
}

// openHere reports whether the open files of a request are open in graph r.
func (s *Session) openHere(r *running, req fop.Request) bool {
	fd, other := openFd(req)
	for _, d := range [...]*fop.Fd{fd, other} {
		if f := s.file(d); f != nil && f.run.Load() != r {
			return false
		}
	}
	return true
}

// doFollowing is Do for requests on open files after a change of graphs.
func (s *Session) doFollowing(ctx context.Context, req fop.Request) (fop.Reply, error) {
	fd, other := openFd(req)
	var r *running
	var c *counter
	for {
		r, c = s.enter()
		if r == closedRunning {
			break
		}
		here, ok := r, true
		for _, d := range [...]*fop.Fd{fd, other} {
			if f := s.file(d); f != nil && f.run.Load() != r {
				ok = false
				here = s.follow(ctx, f, r)
			}
		}
		if here == nil {
			r.leave(c)
			return nil, fmt.Errorf("%v: the file was released: %w", req.Op(), syscall.EBADF)
		}
		if ok {
			break
		}
		if here == r {
			r.leave(c) // opened; once more, for the graph may have changed again
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			continue
		}
		// The file stays with an older graph, which therefore is not closed.
		hc := &here.inside[0]
		hc.n.Add(1)
		r.leave(c)
		r, c = here, hc
		if other != nil {
			req = apart(req, s, r)
		}
		break
	}
	reply, err := r.top.Do(ctx, req)
	s.note(r, req, reply, err)
	r.leave(c)
	return reply, err
}

// apart makes a CopyFileRange between files of two graphs work on GFIDs where
// the file is not open in graph r.
func apart(req fop.Request, s *Session, r *running) fop.Request {
	q, ok := req.(*fop.CopyFileRange)
	if !ok {
		return req
	}
	p := *q
	if f := s.file(p.Fd); f != nil && f.run.Load() != r {
		p.Fd = nil
	}
	if f := s.file(p.DstFd); f != nil && f.run.Load() != r {
		p.DstFd = nil
	}
	return &p
}

// follow opens f in graph to and returns to. If that fails f stays in its old
// graph for good, which follow returns then. It returns nil if f was released.
// The caller is inside to.
func (s *Session) follow(ctx context.Context, f *openFile, to *running) *running {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := f.run.Load()
	switch {
	case f.closed:
		return nil
	case f.stays:
		return from
	case from.gen >= to.gen:
		return to // it is where we go, or further: the caller will see
	}
	// The request's own end must not leave the file half open.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reopenTimeout)
	defer cancel()
	if err := f.reopen(ctx, from, to); err != nil {
		if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
			s.log.Warn("open file stays with the old graph", "gfid", f.gfid, "err", err)
		}
		f.stays = true
		from.files.Add(1)
		return from
	}
	f.run.Store(to)
	from.mu.Lock()
	from.gone = append(from.gone, f)
	from.mu.Unlock()
	return to
}

// reopen opens f's Fd in graph to as it was opened in from, and takes its locks
// along.
func (f *openFile) reopen(ctx context.Context, from, to *running) error {
	fd := f.fd
	cred := fop.Cred{PID: fd.PID}
	if fd.Dir {
		_, err := fop.Call(ctx, to.top, &fop.Opendir{Header: fop.Header{Cred: cred}, GFID: f.gfid, Fd: fd})
		return err
	}
	if fd.Flags&fop.OAccmode != fop.ORdonly {
		// Whatever the old graph has not written yet. An error stays there, for
		// the application: this fsync is not its own.
		head := fop.Header{Cred: cred, XData: fop.NewDict(fop.Pair{Key: fop.KeyInternalFop, Val: fop.Str("yes")})}
		_, err := fop.Call(ctx, from.top, &fop.Fsync{Header: head, GFID: f.gfid, Fd: fd, Datasync: 1})
		if err != nil {
			return fmt.Errorf("fsync: %w", err)
		}
	}
	flags := fd.Flags &^ (fop.OCreate | fop.OExcl | fop.OTrunc)
	if _, err := fop.Call(ctx, to.top, &fop.Open{Header: fop.Header{Cred: cred}, GFID: f.gfid, Flags: flags, Fd: fd, Now: true}); err != nil {
		return err
	}
	if !f.locked.Load() {
		return nil
	}
	info, err := fop.Call(ctx, from.top, &fop.Fgetxattr{Header: fop.Header{Cred: cred}, GFID: f.gfid, Fd: fd, Name: keyLockinfo})
	if errors.Is(err, syscall.ENODATA) || err == nil && !info.Dict.Has(keyLockinfo) {
		return nil // all were freed
	}
	if err == nil {
		v, _ := info.Dict.Get(keyLockinfo)
		_, err = fop.Call(ctx, to.top, &fop.Fsetxattr{Header: fop.Header{Cred: cred}, GFID: f.gfid, Fd: fd,
			Dict: fop.NewDict(fop.Pair{Key: keyLockinfo, Val: v})})
	}
	if err != nil {
		to.top.Do(ctx, &fop.Release{Header: fop.Header{Cred: cred}, GFID: f.gfid, Fd: fd})
		return fmt.Errorf("take locks along: %w", err)
	}
	return nil
}
