package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/xlator"
)

// local is a client of a brick in the same process. Its Fds are the client's
// own structs; each has the number of the brick's open file in a slot.
type local struct {
	server  *Server
	session *session
	ctx     context.Context // ends with the client
	cancel  context.CancelFunc
}

// Local makes a client of a brick. It is trusted as one with the volume's own
// username: whoever is in this process is.
func (s *Server) Local(name, process string) (xlator.LocalBrick, bool) {
	b := s.brick(name)
	if b == nil || s.closing.Load() {
		return nil, false
	}
	id := fmt.Sprintf("CTX_ID:%s-PC_NAME:%s-LOCAL:%d", s.cfg.Env.ProcessUUID, name, s.nextLocal.Add(1))
	l := &local{server: s}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.session = s.sessions.bind(sessionKey{brick: name, uuid: id}, b, func(sess *session) {
		sess.Client.Name = process
		sess.Client.Addr = "local:" + strconv.FormatUint(s.nextLocal.Load(), 10)
		sess.Client.OpVersion = 100000
		sess.Client.Trusted = true
	})
	return l, true
}

// OnUpcall sets who hears the brick's notices.
func (l *local) OnUpcall(f func(*fop.Upcall)) { l.session.upcallLocal.Store(&f) }

// Close ends the client: its locks and open files go.
func (l *local) Close() error {
	if l.ctx.Err() == nil {
		l.cancel()
		l.server.sessions.unbind(l.session)
	}
	return nil
}

// Do carries out a fop as if it had come through a socket.
func (l *local) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	s := l.session
	if l.server.closing.Load() || !s.enter() {
		return nil, syscall.ENOTCONN
	}
	defer s.leave()
	if !s.brick.up.Load() {
		return nil, syscall.ENOTCONN
	}
	numbers, err := l.numbers(req)
	if err != nil {
		return nil, err
	}
	own := fop.WithXData(req, req.Head().XData) // requests are the callers'
	h := own.Head()
	h.From = &s.Client
	conf := l.server.conf.Load()
	if (conf.squash.root || conf.squash.all) && len(h.Cred.Groups) > 0 {
		h.Cred.Groups = append([]uint32(nil), h.Cred.Groups...)
	}
	conf.squash.apply(&h.Cred, true)
	if conf.manageGIDs {
		h.Cred.Groups = l.server.groups.groups(h.Cred.UID, conf.gidTimeout)
	}
	if h.Cred.Owner == "" && mayWait(own.Op()) {
		h.Cred.Owner = string(binary.LittleEndian.AppendUint32(nil, uint32(h.Cred.PID)))
	}
	ctx, stop := l.context(ctx, own.Op())
	defer stop()
	reply, err := s.do(ctx, own, numbers)
	if err == nil {
		l.keep(req, reply)
	}
	return reply, err
}

// context ends the waits of a client that is gone.
func (l *local) context(ctx context.Context, op fop.Op) (context.Context, func()) {
	if !mayWait(op) {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// numbers finds the numbers of a request's Fds. One that this brick has not
// opened is EBADF.
func (l *local) numbers(req fop.Request) (refs proto.FdRefs, err error) {
	a, b, has := proto.Fds(req)
	refs.N = has
	number := func(fd *fop.Fd) int64 {
		if fd == nil {
			return anonymousFd
		}
		n, ok := fd.Get(l).(int64)
		if !ok {
			err = syscall.EBADF
		}
		return n
	}
	if has > 0 {
		refs.A = number(a)
	}
	if has > 1 {
		refs.B = number(b)
	}
	return refs, err
}

// keep remembers the number of a file that was opened, and forgets it with its
// release.
func (l *local) keep(req fop.Request, reply fop.Reply) {
	switch q := req.(type) {
	case *fop.Open:
		l.set(q.Fd, reply.(*fop.OpenReply).RemoteFd)
	case *fop.Opendir:
		l.set(q.Fd, reply.(*fop.OpenReply).RemoteFd)
	case *fop.Create:
		r := reply.(*fop.CreateReply)
		l.set(q.Fd, int64(r.RemoteFd))
	case *fop.Release:
		if q.Fd != nil {
			q.Fd.Set(l, nil)
		}
	case *fop.Releasedir:
		if q.Fd != nil {
			q.Fd.Set(l, nil)
		}
	}
}

func (l *local) set(fd *fop.Fd, n int64) {
	if fd == nil { // nobody will ever release it
		if f, err := l.session.fds.take(n); err == nil {
			l.session.put(f)
		}
		return
	}
	fd.Set(l, n)
}
