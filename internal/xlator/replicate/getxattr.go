package replicate

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

const (
	afrPrefix         = "trusted.afr"
	keyUserPathinfo   = "glusterfs.pathinfo"
	keyListNodeUUIDs  = "trusted.glusterfs.list-node-uuids"
	keyLockinfo       = "trusted.glusterfs.lockinfo"
	keyQuotaSize      = "trusted.glusterfs.quota.size"
	prefixClearLocks  = "glusterfs.clrlk"
	keyHealInfo       = "glusterfs.heal-info"
	keyHealSplitBrain = "glusterfs.heal-sbrain"
	keySplitStatus    = "replica.split-brain-status"
	patternXtime      = "trusted.glusterfs.*.xtime"
	patternStime      = "trusted.glusterfs.*.stime"
)

func (r *replicate) getxattr(ctx context.Context, q *fop.Getxattr) (fop.Reply, error) {
	return r.getxattrs(ctx, q, q.GFID, q.Name)
}

func (r *replicate) fgetxattr(ctx context.Context, q *fop.Fgetxattr) (fop.Reply, error) {
	return r.getxattrs(ctx, q, q.GFID, q.Name)
}

// getxattrs reads xattrs from a good copy. The changelogs are nobody's business,
// and there are names that all children have a say in.
func (r *replicate) getxattrs(ctx context.Context, req fop.Request, g fop.GFID, name string) (fop.Reply, error) {
	switch {
	case name == "":
		reply, err := r.read(ctx, req)
		return conceal(reply), err
	case strings.HasPrefix(name, afrPrefix):
		return nil, fmt.Errorf("%s: getxattr %s: kept for the volume itself: %w", r.name, name, syscall.ENODATA)
	case name == keySplitStatus:
		return r.splitStatus(ctx, req, g)
	case name == keyHealInfo, name == keyHealSplitBrain:
		return nil, fmt.Errorf("%s: getxattr %s: this client does not heal; use the heal commands of a node that does: %w", r.name, name, syscall.ENOTSUP)
	case name == fop.KeyNodeUUID:
		return r.firstOf(ctx, req)
	}
	if merge := r.merger(name); merge != nil {
		return r.merged(ctx, req, name, merge)
	}
	return r.read(ctx, req)
}

// conceal takes the changelogs out of a list of xattrs.
func conceal(reply fop.Reply) fop.Reply {
	x, ok := reply.(*fop.XattrReply)
	if !ok {
		return reply
	}
	hide := false
	for _, p := range x.Dict.Pairs() {
		hide = hide || strings.HasPrefix(p.Key, afrPrefix)
	}
	if !hide {
		return reply
	}
	q := *x
	q.Dict = fop.NewDict()
	for _, p := range x.Dict.Pairs() {
		if !strings.HasPrefix(p.Key, afrPrefix) {
			q.Dict.Append(p.Key, p.Val)
		}
	}
	return &q
}

// merger returns how the values of all children under a name become one, nil if
// one good copy tells it all. It gets one dictionary per child, nil for those
// that failed.
func (r *replicate) merger(name string) func([]*fop.Dict, string) []byte {
	switch {
	case strings.HasPrefix(name, fop.KeyPathinfo), strings.HasPrefix(name, keyUserPathinfo):
		return r.mergePathinfo
	case name == keyListNodeUUIDs:
		return mergeNodeUUIDs
	case name == keyLockinfo:
		return mergeLockinfo
	case strings.HasPrefix(name, prefixClearLocks):
		return r.mergeCleared
	case name == keyQuotaSize:
		return mergeLargest
	}
	if ok, _ := path.Match(patternXtime, name); ok {
		return mergeLargest
	}
	if ok, _ := path.Match(patternStime, name); ok {
		return mergeLargest
	}
	return nil
}

// merged asks all children that are up and merges what they say.
func (r *replicate) merged(ctx context.Context, req fop.Request, name string, merge func([]*fop.Dict, string) []byte) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, "getxattr "+name); err != nil {
		return nil, err
	}
	ask, key := req, name
	if name == keyListNodeUUIDs {
		key = fop.KeyNodeUUID
		ask = renamed(req, key)
	}
	var buf [maxChildren]answer
	as := buf[:r.n]
	if r.fan(ctx, v.up, ask, as) == 0 {
		return nil, r.failure("getxattr "+name, as)
	}
	dicts := make([]*fop.Dict, r.n)
	for i := range as {
		if x := replyOf[*fop.XattrReply](as, i); x != nil {
			dicts[i] = x.Dict
		}
	}
	b := merge(dicts, key)
	if b == nil {
		return &fop.XattrReply{Dict: fop.NewDict()}, nil
	}
	return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: name, Val: fop.Bytes(b)}), Size: int32(len(b))}, nil
}

func renamed(req fop.Request, name string) fop.Request {
	switch q := req.(type) {
	case *fop.Getxattr:
		p := *q
		p.Name = name
		return &p
	case *fop.Fgetxattr:
		p := *q
		p.Name = name
		return &p
	}
	return req
}

// firstOf asks one child after the other until one answers.
func (r *replicate) firstOf(ctx context.Context, req fop.Request) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, req.Op().String()); err != nil {
		return nil, err
	}
	var last error
	for i := range v.up.each {
		reply, err := r.from(ctx, i, req)
		if err == nil || ctx.Err() != nil {
			return reply, err
		}
		last = err
	}
	return nil, last
}

// mergePathinfo tells where all copies are.
func (r *replicate) mergePathinfo(ds []*fop.Dict, key string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "(<REPLICATE:%s>", r.name)
	for _, d := range ds {
		if s := d.Text(key); s != "" {
			b.WriteByte(' ')
			b.WriteString(s)
		}
	}
	b.WriteString(")\x00")
	return []byte(b.String())
}

// mergeNodeUUIDs tells the nodes of all children, of one that does not answer the
// zero UUID.
func mergeNodeUUIDs(ds []*fop.Dict, key string) []byte {
	words := make([]string, len(ds))
	for i, d := range ds {
		words[i] = d.Text(key)
		if words[i] == "" {
			words[i] = fop.GFID{}.String()
		}
	}
	return []byte(strings.Join(words, " ") + "\x00")
}

// mergeCleared tells what each child has cleared of locks.
func (r *replicate) mergeCleared(ds []*fop.Dict, key string) []byte {
	var parts []string
	for _, d := range ds {
		if s := d.Text(key); s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return []byte("No locks cleared.\x00")
	}
	return []byte(strings.Join(parts, "\n") + "\x00")
}

// mergeLargest takes the largest value of big-endian numbers: of times the
// latest.
func mergeLargest(ds []*fop.Dict, key string) (most []byte) {
	for _, d := range ds {
		if b := d.Bytes(key); most == nil || bytes.Compare(b, most) > 0 {
			most = b
		}
	}
	return most
}

// mergeLockinfo joins dictionaries of the old serialization, in which each brick
// says under which number it keeps the locks of an open file: a count, then
// pairs, all as big-endian 32-bit numbers and bytes.
func mergeLockinfo(ds []*fop.Dict, key string) []byte {
	var count uint32
	out := make([]byte, 4)
	for _, d := range ds {
		b := d.Bytes(key)
		if len(b) < 4 {
			continue
		}
		n, pairs := binary.BigEndian.Uint32(b), b[4:]
		if !wholePairs(n, pairs) {
			continue
		}
		count += n
		out = append(out, pairs...)
	}
	if count == 0 {
		return nil
	}
	binary.BigEndian.PutUint32(out, count)
	return out
}

// wholePairs reports whether b holds n pairs of the old serialization and
// nothing else.
func wholePairs(n uint32, b []byte) bool {
	for ; n > 0; n-- {
		if len(b) < 8 {
			return false
		}
		size := uint64(binary.BigEndian.Uint32(b)) + 1 + uint64(binary.BigEndian.Uint32(b[4:]))
		if uint64(len(b)-8) < size {
			return false
		}
		b = b[8+size:]
	}
	return len(b) == 0
}

// ipcUpcall is the target of an Ipc in which a client says which xattrs it wants
// to hear about.
const ipcUpcall = 2

// ipc goes to all children. Whoever wants to hear of changes to xattrs hears of
// the changelogs too, so that replicate knows when another client has found a
// copy to be bad.
func (r *replicate) ipc(ctx context.Context, q *fop.Ipc) (fop.Reply, error) {
	v := r.view()
	if err := r.gate(v, "ipc"); err != nil {
		return nil, err
	}
	if q.Target != ipcUpcall {
		return r.anyOf(ctx, q, v.up)
	}
	p := *q
	p.XData = q.XData.Clone()
	for _, key := range r.pending {
		p.XData.Set(key, fop.Int(0))
	}
	return r.anyOf(ctx, &p, v.up)
}
