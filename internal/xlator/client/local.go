package client

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// doLocal carries out a fop on a brick in this process.
func (c *Client) doLocal(ctx context.Context, l *link, req fop.Request) (fop.Reply, error) {
	if needsOwner(req) {
		h := req.Head()
		req = fop.WithXData(req, h.XData)
		req.Head().Cred.Owner = string(binary.LittleEndian.AppendUint32(nil, uint32(h.Cred.PID)))
	}
	reply, err := l.local.Do(ctx, c.offsetDown(req))
	l.check(err)
	c.offsetsUp(reply)
	return reply, err
}

// needsOwner reports whether a lock owner must be made up, as for the wire.
func needsOwner(req fop.Request) bool {
	switch req.Op() {
	case fop.OpLk, fop.OpInodelk, fop.OpFinodelk, fop.OpEntrylk, fop.OpFentrylk, fop.OpFlush:
		return req.Head().Cred.Owner == ""
	}
	return false
}

// check notices when the brick is gone.
func (l *link) check(err error) {
	if err != nil && errors.Is(err, syscall.ENOTCONN) {
		l.gone.Do(func() { close(l.lost) })
	}
}

type localPending struct {
	c *Client
	l *link
	p fop.Pending
}

func (p *localPending) Wait() (fop.Reply, error) {
	reply, err := p.p.Wait()
	p.l.check(err)
	p.c.offsetsUp(reply)
	return reply, err
}
