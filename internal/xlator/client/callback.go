package client

import (
	"bytes"
	"errors"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

// callback handles a call of the brick. It must not wait.
func (c *Client) callback(up chan bool, cb *rpc.Callback) {
	if cb.Prog != proto.ProgCallback {
		c.log.Debug("call of an unknown program from the brick", "program", cb.Prog, "procedure", cb.Proc)
		return
	}
	// What is told on may be kept; the callback's memory may not.
	u, err := proto.DecodeCallback(cb.Proc, bytes.Clone(cb.Body))
	switch {
	case errors.Is(err, proto.ErrNoProc):
		c.log.Debug("unknown callback from the brick", "procedure", cb.Proc)
	case err != nil:
		c.log.Warn("callback that cannot be read", "brick", c.set.Load().brick(), "err", err)
	default:
		c.upcall(up, u)
	}
}

// upcall tells the parents of a notice, or takes it itself.
func (c *Client) upcall(up chan bool, u *fop.Upcall) {
	switch u.Kind {
	case fop.UpcallChildUp, fop.UpcallChildDown:
		select {
		case up <- u.Kind == fop.UpcallChildUp:
		default: // a brick that changes its state faster than we can follow
			c.log.Warn("too many changes of state", "brick", c.set.Load().brick())
		}
	case fop.UpcallFetchSpec:
		c.notify(fop.Event{Kind: fop.EventVolfileModified, From: c.name})
	default:
		c.notify(fop.Event{Kind: fop.EventUpcall, From: c.name, Upcall: u})
	}
}
