package locks

import (
	"context"
	"strings"

	"github.com/wythefs/wythe/internal/fop"
)

// Clients ask along with any fop how many locks there are, to learn about others
// without a round trip of its own. The keys are ours: the child never sees them.

// counts says what a request wants to know.
type counts struct {
	entrylk, inodelk, posix, parentEntrylk bool
	dom                                    bool
	domain                                 string
	prefixes                               []string // whole keys
	rest                                   *fop.Dict
}

const prefixKey = fop.KeyInodelkPrefix + ":"

func countKey(k string) bool {
	if !strings.HasPrefix(k, "glusterfs.") {
		return false
	}
	switch k {
	case fop.KeyEntrylkCount, fop.KeyInodelkCount, fop.KeyPosixlkCount, fop.KeyParentEntrylk,
		fop.KeyInodelkDomCount, fop.KeyMultiDomCount:
		return true
	}
	return strings.HasPrefix(k, prefixKey)
}

// wanted reads the keys; ok is false if there is none.
func wanted(x *fop.Dict) (c counts, ok bool) {
	pairs := x.Pairs()
	n := 0
	for i := range pairs {
		if countKey(pairs[i].Key) {
			n++
		}
	}
	if n == 0 {
		return c, false
	}
	c.rest = &fop.Dict{}
	c.rest.Grow(len(pairs) - n)
	for _, p := range pairs {
		switch p.Key {
		case fop.KeyEntrylkCount:
			c.entrylk = true
		case fop.KeyInodelkCount:
			c.inodelk = true
		case fop.KeyPosixlkCount:
			c.posix = true
		case fop.KeyParentEntrylk:
			c.parentEntrylk = true
		case fop.KeyInodelkDomCount:
			c.dom, c.domain = true, p.Val.Text()
		case fop.KeyMultiDomCount:
		default:
			if strings.HasPrefix(p.Key, prefixKey) {
				c.prefixes = append(c.prefixes, p.Key)
			} else {
				c.rest.Append(p.Key, p.Val)
			}
		}
	}
	return c, true
}

// oldest is the operating version from which on clients understand counts in the
// replies of all fops.
const oldest = 31000

func (l *Locks) mayTell(h *fop.Header, op fop.Op) bool {
	if h.From == nil || h.From.OpVersion >= oldest {
		return true
	}
	switch op {
	case fop.OpLookup, fop.OpFstat, fop.OpReaddirp, fop.OpRead, fop.OpWrite, fop.OpTruncate, fop.OpUnlink,
		fop.OpRename, fop.OpCreate, fop.OpDiscard, fop.OpZerofill, fop.OpOpendir, fop.OpLk:
		return true
	}
	return false
}

// pass gives req to the child and adds the counts that it asks for to the reply.
func (l *Locks) pass(ctx context.Context, req fop.Request) (fop.Reply, error) {
	h := req.Head()
	want, ok := wanted(h.XData)
	if !ok {
		return l.next.Do(ctx, req)
	}
	reply, err := l.next.Do(ctx, fop.WithXData(req, want.rest))
	if err == nil && reply != nil {
		l.answer(&want, req, reply)
	}
	return reply, err
}

// counted adds counts to a reply that was made here.
func (l *Locks) counted(req fop.Request, reply fop.Reply) fop.Reply {
	if want, ok := wanted(req.Head().XData); ok {
		l.answer(&want, req, reply)
	}
	return reply
}

func (l *Locks) answer(want *counts, req fop.Request, reply fop.Reply) {
	if !l.mayTell(req.Head(), req.Op()) {
		return
	}
	g, fd := fop.Target(req)
	g = fdGFID(g, fd)
	head := reply.ReplyHead()
	switch r := req.(type) {
	case *fop.Lookup:
		found, ok := reply.(*fop.LookupReply)
		if !ok {
			return
		}
		head.XData = l.fill(want, found.Stat.GFID, head.XData)
		if want.parentEntrylk && r.Name != "" {
			held := 0
			l.with(r.Parent, false, func(o *object, _ *options) {
				if o.namedEntrylk(r.Name) {
					held = 1
				}
			})
			head.XData.Set(fop.KeyParentEntrylk, fop.Int(int64(held)))
		}
	case *fop.Readdirp:
		list, ok := reply.(*fop.ReaddirReply)
		if !ok {
			return
		}
		for i := range list.Entries {
			if e := &list.Entries[i]; !e.Stat.GFID.IsZero() {
				e.XData = l.fill(want, e.Stat.GFID, e.XData)
			}
		}
	case *fop.Rename:
		head.XData = l.fill(want, r.NewParent, l.fill(want, r.OldParent, head.XData))
	default:
		head.XData = l.fill(want, g, head.XData)
	}
}

// fill returns a copy of d with the counts of g in it, where they are larger than
// those already there.
func (l *Locks) fill(want *counts, g fop.GFID, d *fop.Dict) *fop.Dict {
	d = d.Clone()
	put := func(key string, n int) {
		if old, ok := d.Get(key); ok {
			if m, ok := old.Int(); ok && m >= int64(n) {
				return
			}
		}
		d.Set(key, fop.Int(int64(n)))
	}
	none := &object{}
	tell := func(o *object) {
		if want.entrylk {
			put(fop.KeyEntrylkCount, o.count(entrylk, "", true))
		}
		if want.inodelk {
			put(fop.KeyInodelkCount, o.count(inodelk, "", true))
		}
		if want.dom {
			put(fop.KeyInodelkCount, o.count(inodelk, want.domain, false))
		}
		for _, k := range want.prefixes {
			put(k, o.count(inodelk, k[len(prefixKey):], false))
		}
		if want.posix {
			put(fop.KeyPosixlkCount, len(o.posix.granted)+len(o.posix.blocked))
		}
	}
	found := false
	l.with(g, false, func(o *object, _ *options) { found = true; tell(o) })
	if !found {
		tell(none)
	}
	return d
}
