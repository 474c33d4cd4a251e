//go:build linux

package index

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Keys of requests and replies.
const (
	keyEntryCreate = "glusterfs.xattrop-entry-create"
	keyEntryDelete = "glusterfs.xattrop-entry-delete"
	keyPurge       = "glusterfs.xattrop-purge-index"
	keyLinkCount   = "link-count"
	keyIndexCount  = "glusterfs.xattrop_index_count"
	keyDirtyCount  = "glusterfs.xattrop_dirty_count"
	keyTypeReq     = "glusterfs.index-ia-type-get-req"
	keyTypeRsp     = "glusterfs.index-ia-type-get-rsp"
	keyGFIDType    = "get-gfid-type"
)

// gfidKeys are the virtual xattrs that tell the gfids of the lists.
var gfidKeys = [kinds]string{"glusterfs.xattrop_index_gfid", "glusterfs.xattrop_dirty_gfid", "glusterfs.xattrop_entry_changes_gfid"}

// Type is "features/index".
var Type = xlator.Type{
	Name: "features/index", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "index-base", Kind: xlator.KindPath},
		{Key: "xattrop64-watchlist", Default: "trusted.ec.dirty"},
		{Key: "xattrop-dirty-watchlist", Default: "trusted.afr.dirty"},
		{Key: "xattrop-pending-watchlist", Default: ""},
	},
}

// Index is the translator.
type Index struct {
	next  fop.Handler
	log   *slog.Logger
	store *store
	watch atomic.Pointer[watchlists]
	roots [kinds]fop.GFID // of the virtual directories

	locks [32]struct {
		sync.Mutex
		held map[fop.GFID]*objectLock
	}

	mu   sync.RWMutex
	subs map[fop.GFID]fop.GFID // virtual gfid of entry-changes/<gfid> to that gfid
	virt map[fop.GFID]fop.GFID // and back
	any  atomic.Bool           // subs is not empty, to be asked without mu
}

type watchlists struct{ dirty, pending, pending64 []string }

func matches(list []string, key string) bool {
	for _, w := range list {
		if strings.HasPrefix(key, w) {
			return true
		}
	}
	return false
}

func splitList(s string) (out []string) {
	for _, w := range strings.Split(s, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// New makes an Index.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	base := c.Options.String("index-base", "")
	if base == "" {
		return nil, fmt.Errorf("%s: option index-base is missing: %w", c.Name, syscall.EINVAL)
	}
	s, err := openStore(base)
	if err != nil {
		return nil, fmt.Errorf("%s: index-base: %w", c.Name, err)
	}
	t := &Index{next: c.Children[0], log: c.Log, store: s, subs: map[fop.GFID]fop.GFID{}, virt: map[fop.GFID]fop.GFID{}}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	for k := range t.roots {
		t.roots[k] = fop.NewGFID()
	}
	return t, t.Reconfigure(c.Options)
}

// Reconfigure takes new watch lists; index-base stays as it was.
func (t *Index) Reconfigure(o xlator.Options) error {
	w := &watchlists{
		dirty:     splitList(o.String("xattrop-dirty-watchlist", "trusted.afr.dirty")),
		pending:   splitList(o.String("xattrop-pending-watchlist", "")),
		pending64: splitList(o.String("xattrop64-watchlist", "trusted.ec.dirty")),
	}
	w.pending = append(w.pending, w.pending64...)
	t.watch.Store(w)
	return nil
}

// Do carries out one fop.
func (t *Index) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Xattrop:
		return t.xattrop(ctx, req, r.GFID, r.Kind, r.Dict)
	case *fop.Fxattrop:
		return t.xattrop(ctx, req, gfidOf(r.GFID, r.Fd), r.Kind, r.Dict)
	case *fop.Lookup:
		if reply, err, done := t.lookup(r); done {
			return reply, err
		}
		return t.linkCount(ctx, req)
	case *fop.Fstat:
		if _, _, ok := t.virtual(gfidOf(r.GFID, r.Fd)); !ok {
			return t.linkCount(ctx, req)
		}
	case *fop.Getxattr:
		if reply, err, done := t.getxattr(r); done {
			return reply, err
		}
	case *fop.Write, *fop.Read:
		return t.next.Do(ctx, req) // never on a virtual directory
	}
	if reply, err, done := t.onVirtual(ctx, req); done {
		return reply, err
	}
	return t.next.Do(ctx, req)
}

func gfidOf(g fop.GFID, fd *fop.Fd) fop.GFID {
	if fd != nil && g.IsZero() {
		return fd.GFID
	}
	return g
}

// linkCount passes on a lookup or fstat and says, if asked, whether anything is
// pending on this brick, also when the object does not exist.
func (t *Index) linkCount(ctx context.Context, req fop.Request) (fop.Reply, error) {
	x := req.Head().XData
	v, ok := x.Get(keyLinkCount)
	if !ok || v.Text() != keyIndexCount {
		return t.next.Do(ctx, req)
	}
	reply, err := t.next.Do(ctx, req)
	if reply == nil {
		reply = fop.NewReply(req.Op())
	}
	n := int64(0)
	if t.store.anyPending() {
		n = 1
	}
	h := reply.ReplyHead()
	h.XData = h.XData.With(keyLinkCount, fop.Int(n))
	return reply, err
}

// objectLock serializes the counter changes of one object.
type objectLock struct {
	sync.Mutex
	users int
}

func (t *Index) lock(g fop.GFID) *objectLock {
	s := &t.locks[(g[15]^g[7])&31]
	s.Lock()
	if s.held == nil {
		s.held = map[fop.GFID]*objectLock{}
	}
	l := s.held[g]
	if l == nil {
		l = &objectLock{}
		s.held[g] = l
	}
	l.users++
	s.Unlock()
	l.Lock()
	return l
}

func (t *Index) unlock(g fop.GFID, l *objectLock) {
	l.Unlock()
	s := &t.locks[(g[15]^g[7])&31]
	s.Lock()
	if l.users--; l.users == 0 {
		delete(s.held, g)
	}
	s.Unlock()
}

// state is what the values of a dictionary say about a list.
type state int8

const (
	absent state = iota
	allZero
	nonZero
)

// states looks at the counters in d.
func (w *watchlists) states(d *fop.Dict) (s [2]state) {
	note := func(k kind, b []byte) {
		if s[k] == absent {
			s[k] = allZero
		}
		for _, c := range b {
			if c != 0 {
				s[k] = nonZero
				return
			}
		}
	}
	for _, p := range d.Pairs() {
		if matches(w.dirty, p.Key) {
			note(dirty, p.Val.Bytes())
		} else if matches(w.pending, p.Key) {
			note(pending, p.Val.Bytes())
		}
	}
	return s
}

// concerns reports whether an xattrop of this kind changes counters.
func (w *watchlists) concerns(op uint32, d *fop.Dict) bool {
	switch op {
	case fop.XattropAdd:
		return true
	case fop.XattropAdd64:
		for _, p := range d.Pairs() {
			if matches(w.pending, p.Key) {
				return true
			}
		}
	}
	return false
}

func (t *Index) xattrop(ctx context.Context, req fop.Request, g fop.GFID, op uint32, d *fop.Dict) (fop.Reply, error) {
	w := t.watch.Load()
	if !w.concerns(op, d) {
		return t.next.Do(ctx, req)
	}
	l := t.lock(g)
	defer t.unlock(g, l)
	x := req.Head().XData
	for k, s := range w.states(d) {
		if s == nonZero {
			if err := t.store.add(kind(k), g); err != nil {
				return nil, fmt.Errorf("%v of %v: %w", req.Op(), g, err)
			}
		}
	}
	if v, ok := x.Get(keyEntryCreate); ok {
		if err := t.store.addName(g, v.Text()); err != nil {
			return nil, fmt.Errorf("%v of %v: %w", req.Op(), g, err)
		}
	}
	reply, err := t.next.Do(ctx, req)
	if err != nil {
		return reply, err
	}
	r, ok := reply.(*fop.XattrReply)
	if !ok {
		return reply, nil
	}
	after := w.states(r.Dict)
	for k, s := range after {
		var err error
		switch s {
		case nonZero:
			err = t.store.add(kind(k), g)
		case allZero:
			err = t.store.remove(kind(k), g)
		}
		if err != nil {
			t.log.Warn("index not updated", "gfid", g, "err", err)
		}
	}
	if v, ok := x.Get(keyEntryDelete); ok {
		if err := t.store.removeName(g, v.Text()); err != nil && fop.Errno(err) != syscall.ENOENT {
			t.log.Warn("index not updated", "gfid", g, "name", v.Text(), "err", err)
		}
	}
	if after[pending] == allZero && flag(x, keyPurge) {
		if err := t.store.purge(g); err != nil {
			t.log.Warn("index not updated", "gfid", g, "err", err)
		}
	}
	return reply, nil
}

// flag reads a small number that may come as a number or as one byte.
func flag(x *fop.Dict, key string) bool {
	if x.Bool(key) {
		return true
	}
	v, ok := x.Get(key)
	b := v.Bytes()
	return ok && v.Type == fop.TypePtr && len(b) == 1 && b[0] != 0 && b[0] != '0'
}

func (t *Index) getxattr(r *fop.Getxattr) (fop.Reply, error, bool) {
	if !strings.HasPrefix(r.Name, "glusterfs.xattrop_") {
		return nil, nil, false
	}
	for k, key := range gfidKeys {
		if r.Name == key {
			g := t.roots[k]
			return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: key, Val: fop.Bytes(g[:])}), Size: int32(len(g))}, nil, true
		}
	}
	k := pending
	switch r.Name {
	case keyIndexCount:
	case keyDirtyCount:
		k = dirty
	default:
		return nil, nil, false
	}
	n, err := t.store.entries(k)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, err), true
	}
	return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: r.Name, Val: fop.Uint(uint64(n))}), Size: 8}, nil, true
}
