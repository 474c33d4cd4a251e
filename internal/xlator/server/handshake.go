package server

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
)

// refusal is a SETVOLUME that failed: the errno and the text of the reply.
type refusal struct {
	errno syscall.Errno
	text  string
}

func refuse(errno syscall.Errno, format string, args ...any) *refusal {
	return &refusal{errno, fmt.Sprintf(format, args...)}
}

// setVolume ties a connection to a brick. It checks in GlusterFS's order, for
// clients react to the errno. The reply dictionary is valid with an error too.
func (s *Server) setVolume(ctx context.Context, p *peer, credKey string, req *fop.Dict) (*fop.Dict, syscall.Errno) {
	reply := &fop.Dict{}
	if err := s.bindSession(ctx, p, credKey, req, reply); err != nil {
		reply.Set("ERROR", fop.Str(err.text))
		return reply, err.errno
	}
	reply.Set("ERROR", fop.Str("Success"))
	reply.Set("process-uuid", fop.Str(s.cfg.Env.ProcessUUID))
	reply.Set("clnt-lk-version", fop.Str("0"))
	reply.Set("transport-ptr", fop.Str(strconv.FormatUint(p.conn.ID(), 10)))
	return reply, 0
}

func (s *Server) bindSession(ctx context.Context, p *peer, credKey string, req, reply *fop.Dict) *refusal {
	name := req.Text("remote-subvolume")
	if !req.Has("remote-subvolume") {
		return refuse(syscall.EINVAL, "No remote-subvolume option specified")
	}
	if s.closing.Load() {
		return refuse(syscall.ENOENT, "remote-subvolume %q is not found", name)
	}
	b := s.brick(name)
	if b != nil {
		up := b.up.Load()
		reply.Set("child_up", fop.Str(map[bool]string{true: "1", false: "0"}[up]))
		if !up {
			return refuse(syscall.EAGAIN, "Not received child_up for this xlator")
		}
	}
	uuid := req.Text("process-uuid")
	if !req.Has("process-uuid") {
		return refuse(syscall.EINVAL, "UUID not specified")
	}
	conf := s.conf.Load()
	if id := conf.volumeID(name); id != "" {
		reply.Set("volume-id", fop.Str(id))
		if theirs := req.Text("volume-id"); req.Has("volume-id") && !strings.EqualFold(theirs, id) {
			return refuse(syscall.EINVAL, "Volume-ID different, possible case of same brick re-used in another volume")
		}
	}
	if v := req.Int("fops-version"); v != proto.ProgFop {
		return refuse(syscall.EINVAL, "version mismatch: client(%d) - client-mgmt(%d)", v, req.Int("mgmt-version"))
	}
	c := p.credentials(name)
	c.username, c.password, c.subdir = req.Text("username"), req.Text("password"), req.Text("subdir-mount")
	if b == nil {
		return refuse(syscall.ENOENT, "Brick not found")
	}
	ok, trusted := authenticate(conf.opt, c)
	if !ok {
		s.cfg.Log.Warn("client refused", "client", uuid, "address", p.addrText(), "brick", name)
		return refuse(syscall.EACCES, "Authentication failed")
	}
	var subdir fop.GFID
	if path.Clean("/"+c.subdir) != "/" {
		var err error
		if subdir, err = b.findSubdir(ctx, c.subdir); err != nil {
			return refuse(syscall.ENOENT, "subdirectory for mount %q is not found", c.subdir)
		}
	}
	key := sessionKey{brick: name, uuid: uuid, cred: credKey}
	p.bind(s.sessions.bind(key, b, func(sess *session) {
		sess.Client.Name = req.Text("process-name")
		sess.Client.Addr = p.addrText()
		sess.Client.OpVersion = uint32(req.Int("opversion"))
		sess.Client.Trusted = trusted
		sess.subdir, sess.subdirPath = subdir, c.subdir
	}), c)
	return nil
}

// findSubdir walks down to a directory of the brick.
func (b *brick) findSubdir(ctx context.Context, dir string) (fop.GFID, error) {
	at := fop.RootGFID
	for _, name := range strings.Split(strings.Trim(path.Clean("/"+dir), "/"), "/") {
		xdata := fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())})
		rep, err := fop.Call(ctx, b, &fop.Lookup{Header: fop.Header{XData: xdata}, Parent: at, Name: name})
		if err != nil {
			return at, err
		}
		if !rep.Stat.IsDir() {
			return at, syscall.ENOTDIR
		}
		at = rep.Stat.GFID
	}
	return at, nil
}
