package client

import (
	"context"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
)

var _ fop.Poster = (*Client)(nil)

// Post sends a fop whose outcome interests nobody. On a connection where nothing
// is under way it goes along with the next request, or by itself a moment later.
// It must not be one that works on an open file.
func (c *Client) Post(req fop.Request) {
	l := c.link.Load()
	switch {
	case l == nil:
	case l.local != nil:
		c.doLocal(context.Background(), l, req)
	default:
		k := c.prepare(context.Background(), l, c.set.Load(), req, proto.FdRefs{A: proto.FdAnonymous})
		l.rpc.Send(&k.rpc)
		*k = call{}
		calls.Put(k)
	}
}
