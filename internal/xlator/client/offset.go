package client

import "github.com/wythefs/wythe/internal/fop"

// offsetDown gives a request for entries of a directory the brick's own offset,
// on a copy if there is a difference.
func (c *Client) offsetDown(req fop.Request) fop.Request {
	if c.leaves <= 1 {
		return req
	}
	switch r := req.(type) {
	case *fop.Readdir:
		if _, x := fop.DecodeOffset(r.Offset, c.leaves); x != r.Offset {
			q := *r
			q.Offset = x
			return &q
		}
	case *fop.Readdirp:
		if _, x := fop.DecodeOffset(r.Offset, c.leaves); x != r.Offset {
			q := *r
			q.Offset = x
			return &q
		}
	}
	return req
}

// offsetsUp puts the number of this leaf into the offsets of entries.
func (c *Client) offsetsUp(reply fop.Reply) {
	if c.leaves <= 1 {
		return
	}
	if r, ok := reply.(*fop.ReaddirReply); ok && r != nil {
		for i := range r.Entries {
			e := &r.Entries[i]
			e.Off = fop.EncodeOffset(e.Off, c.leaf, c.leaves)
		}
	}
}
