package client

import (
	"fmt"
	"io"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
)

// Dump writes the state of the connection: what GlusterFS writes too, then what
// is ours.
func (c *Client) Dump(w io.Writer) {
	s := c.set.Load()
	c.mu.Lock()
	files, connects := len(c.files), c.connects
	c.mu.Unlock()
	l := c.link.Load()
	connected := 0
	var st rpc.ClientStats
	if l != nil {
		connected = 1
		if l.rpc != nil {
			st = l.rpc.Stats()
		}
	}
	fmt.Fprintf(w, "[xlator.protocol.client.%s.priv]\nconnected=%d\ntotal_bytes_read=%d\nping_timeout=%d\ntotal_bytes_written=%d\nping_msgs_sent=%d\nmsgs_sent=%d\n",
		c.name, connected, st.BytesReceived, int(s.pingTimeout/time.Second), st.BytesSent, st.Pings, st.Calls)
	fmt.Fprintf(w, "brick=%s\nconnects=%d\nopen_files=%d\n", s.brick(), connects, files)
	if l != nil && l.rpc != nil {
		fmt.Fprintf(w, "fop_version=%d\nreplies=%d\noutstanding=%d\n", l.vers, st.Replies, st.Outstanding)
	}
}

// Answers counts what the brick has answered on the present connection, pings
// too: who sees the number stand still hears nothing from the brick.
func (c *Client) Answers() uint64 {
	if l := c.link.Load(); l != nil && l.rpc != nil {
		return l.rpc.Stats().Replies
	}
	return 0
}

// Calls lists the calls that the brick has not answered.
func (c *Client) Calls() []xlator.Call {
	l := c.link.Load()
	if l == nil || l.rpc == nil {
		return nil
	}
	waiting := l.rpc.Waiting()
	all := make([]xlator.Call, len(waiting))
	for i, p := range waiting {
		what := fmt.Sprintf("program %d procedure %d", p.Prog, p.Proc)
		if p.Prog == proto.ProgFop {
			what = fop.Op(p.Proc).String()
		}
		all[i] = xlator.Call{What: what, Since: p.Since}
	}
	return all
}
