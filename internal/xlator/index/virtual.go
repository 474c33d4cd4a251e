//go:build linux

package index

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// maxSubs bounds the directories of changed names that have a virtual gfid.
const maxSubs = 1 << 16

// virtual says what a gfid stands for: list k, or with sub not zero the directory
// of changed names of sub.
func (t *Index) virtual(g fop.GFID) (k kind, sub fop.GFID, ok bool) {
	for k := range t.roots {
		if g == t.roots[k] {
			return kind(k), sub, true
		}
	}
	if t.any.Load() {
		t.mu.RLock()
		sub, ok = t.subs[g]
		t.mu.RUnlock()
	}
	return changes, sub, ok
}

// subGFID returns the virtual gfid of a directory of changed names.
func (t *Index) subGFID(g fop.GFID) fop.GFID {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v, ok := t.virt[g]; ok {
		return v
	}
	if len(t.subs) >= maxSubs {
		for v, g := range t.subs {
			delete(t.subs, v)
			delete(t.virt, g)
			break
		}
	}
	v := fop.NewGFID()
	t.virt[g], t.subs[v] = v, g
	t.any.Store(true)
	return v
}

func (t *Index) forget(g fop.GFID) {
	t.mu.Lock()
	delete(t.subs, t.virt[g])
	delete(t.virt, g)
	t.any.Store(len(t.subs) > 0)
	t.mu.Unlock()
}

// path is where a virtual directory is.
func (t *Index) path(k kind, sub fop.GFID) string {
	if !sub.IsZero() {
		return t.store.changesDir(sub)
	}
	return t.store.dir(k)
}

// lookup answers for virtual directories.
func (t *Index) lookup(r *fop.Lookup) (fop.Reply, error, bool) {
	if r.Name != "" {
		k, sub, ok := t.virtual(r.Parent)
		if !ok {
			return nil, nil, false
		}
		g, err := fop.ParseGFID(r.Name)
		if k != changes || !sub.IsZero() || err != nil {
			return nil, fmt.Errorf("index entry %q: %w", r.Name, syscall.ENOENT), true
		}
		reply, err := t.stat(r, changes, g, fop.GFID{})
		return reply, err, true
	}
	k, sub, ok := t.virtual(r.GFID)
	if !ok {
		return nil, nil, false
	}
	reply, err := t.stat(r, k, sub, r.GFID)
	return reply, err, true
}

func (t *Index) stat(r *fop.Lookup, k kind, sub, g fop.GFID) (fop.Reply, error) {
	st, err := stat(t.path(k, sub), g)
	if err != nil {
		if !sub.IsZero() {
			t.forget(sub)
		}
		return nil, fmt.Errorf("index directory: %w", err)
	}
	if g.IsZero() {
		st.GFID = t.subGFID(sub)
	}
	reply := &fop.LookupReply{Stat: st}
	if r.Name != "" {
		reply.Parent, _ = stat(t.path(k, fop.GFID{}), t.roots[k])
	}
	if r.XData.Has(keyTypeReq) && sub.IsZero() {
		typ := uint64(1) // the entries stand for objects of any type
		if k == changes {
			typ = 2 // for directories
		}
		reply.XData = fop.NewDict(fop.Pair{Key: keyTypeRsp, Val: fop.Uint(typ)})
	}
	return reply, nil
}

// onVirtual answers the other fops that work on virtual directories.
func (t *Index) onVirtual(ctx context.Context, req fop.Request) (fop.Reply, error, bool) {
	g, fd := fop.Target(req)
	g = gfidOf(g, fd)
	k, sub, ok := t.virtual(g)
	if !ok {
		return nil, nil, false
	}
	switch r := req.(type) {
	case *fop.Opendir:
		if _, err := os.Lstat(t.path(k, sub)); err != nil {
			return nil, fmt.Errorf("index directory: %w", err), true
		}
		if k == pending {
			t.store.recount()
		}
		return &fop.OpenReply{}, nil, true
	case *fop.Readdir:
		reply, err := t.readdir(ctx, k, sub, r.Offset, r.Size, r.XData)
		return reply, err, true
	case *fop.Readdirp:
		reply, err := t.readdir(ctx, k, sub, r.Offset, r.Size, r.XData)
		return reply, err, true
	case *fop.Releasedir, *fop.Flush, *fop.Fsyncdir:
		return &fop.CommonReply{}, nil, true
	case *fop.Stat:
		st, err := stat(t.path(k, sub), g)
		return &fop.StatReply{Stat: st}, err, true
	case *fop.Fstat:
		st, err := stat(t.path(k, sub), g)
		return &fop.StatReply{Stat: st}, err, true
	case *fop.Access:
		return &fop.CommonReply{}, nil, true
	case *fop.Unlink:
		reply, err := t.remove(k, sub, g, r.Name, false)
		return reply, err, true
	case *fop.Rmdir:
		reply, err := t.remove(k, sub, g, r.Name, r.Flags != 0)
		return reply, err, true
	}
	return nil, nil, false
}

func (t *Index) readdir(ctx context.Context, k kind, sub fop.GFID, off uint64, size uint32, x *fop.Dict) (fop.Reply, error) {
	entries, eof, err := t.store.list(t.path(k, sub), k, off, size)
	if err != nil {
		return nil, fmt.Errorf("index directory: %w", err)
	}
	if x.Has(keyGFIDType) && sub.IsZero() {
		for i := range entries {
			entries[i].Type = t.typeOf(ctx, entries[i].Name)
		}
	}
	return &fop.ReaddirReply{Entries: entries, EOF: eof}, nil
}

// typeOf is the DT_* value of the object that an entry stands for, 0 if unknown.
func (t *Index) typeOf(ctx context.Context, name string) uint32 {
	g, err := fop.ParseGFID(name)
	if err != nil {
		return 0
	}
	r, err := fop.Call(ctx, t.next, &fop.Lookup{Header: fop.Header{Cred: fop.Cred{PID: fop.PIDSelfHeal}}, GFID: g})
	if err != nil {
		return 0
	}
	return r.Stat.Fmt() >> 12
}

// remove takes an entry out of a virtual directory; all takes what is in it too.
func (t *Index) remove(k kind, sub, dir fop.GFID, name string, all bool) (fop.Reply, error) {
	reply := &fop.RemoveReply{}
	reply.PreParent, _ = stat(t.path(k, sub), dir)
	var err error
	if !sub.IsZero() {
		err = t.store.removeName(sub, name)
	} else {
		err = t.removeEntry(k, name, all)
	}
	if err != nil {
		return nil, fmt.Errorf("index entry %q: %w", name, err)
	}
	reply.PostParent, _ = stat(t.path(k, sub), dir)
	return reply, nil
}

func (t *Index) removeEntry(k kind, name string, all bool) error {
	g, err := fop.ParseGFID(name)
	if err != nil {
		return err
	}
	if k != changes {
		if _, err := os.Lstat(filepath.Join(t.store.dir(k), g.String())); err != nil {
			return err
		}
		return t.store.remove(k, g)
	}
	if all {
		err = t.store.purge(g)
	} else {
		err = syscall.Rmdir(t.store.changesDir(g))
	}
	if err == nil {
		t.forget(g)
	}
	return err
}
