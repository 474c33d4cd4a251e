package replicate

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// classify says what kind of transaction a fop is, and what it locks.
func (t *txn) classify() error {
	g, fd := fop.Target(t.req)
	if g.IsZero() && fd != nil {
		g = fd.GFID
	}
	t.lk.fd = fd
	h := t.req.Head()
	// Not the groups: they are the caller's memory, and the bricks check nothing
	// of locks and changelogs by them.
	t.lk.head.Cred = fop.Cred{UID: h.Cred.UID, GID: h.Cred.GID, PID: h.Cred.PID}
	t.owner = h.Cred.Owner
	var err error
	if err = t.classifyData(); err == errOther {
		if err = t.classifyMetadata(); err == errOther {
			err = t.classifyEntry()
		}
	}
	if err != nil {
		return err
	}
	if t.part != entry {
		t.lk.add(g, "")
	}
	t.obj = t.r.acquire(g)
	return nil
}

// errOther says that a fop is of another kind.
var errOther = fmt.Errorf("not a transaction of this kind: %w", syscall.EINVAL)

func (t *txn) classifyData() error {
	switch q := t.req.(type) {
	case *fop.Write:
		flags := q.Flags
		if q.Fd != nil {
			flags |= q.Fd.Flags
		}
		t.stable = flags&(fop.OSync|fop.ODsync) != 0
		if flags&fop.OAppend == 0 {
			t.from, t.size = q.Offset, uint64(len(q.Data))
		}
		t.delayable = true
	case *fop.Fsync:
		t.delayable = q.XData.Int("last-fsync") != 1
	case *fop.Truncate:
		t.from, t.lk.loc = q.Offset, true
	case *fop.Ftruncate:
		t.from = q.Offset
	case *fop.Fallocate:
		t.from = q.Offset
	case *fop.Discard:
		t.from = q.Offset
	case *fop.Zerofill:
		t.from, t.size = q.Offset, q.Size
	default:
		return errOther
	}
	t.part = data
	if !t.conf.eager && !t.conf.fullLock && t.r.arbiter < 0 {
		t.lk.start, t.lk.length = t.from, t.size
	}
	return nil
}

func (t *txn) classifyMetadata() error {
	switch q := t.req.(type) {
	case *fop.Fsetattr, *fop.Fsetxattr:
	case *fop.Setattr, *fop.Setxattr, *fop.Xattrop:
		t.lk.loc = true
	case *fop.Fremovexattr:
		return t.attribute(q.Name)
	case *fop.Removexattr:
		t.lk.loc = true
		return t.attribute(q.Name)
	case *fop.Fxattrop:
		t.delayable = true
	default:
		return errOther
	}
	return t.attribute("")
}

func (t *txn) attribute(name string) error {
	if strings.HasPrefix(name, "trusted.afr.") || strings.HasPrefix(name, "trusted.glusterfs.afr.") {
		return fmt.Errorf("%s: %s is kept by replicate alone: %w", t.r.name, name, syscall.EPERM)
	}
	t.part = metadata
	t.lk.start = metadataStart
	return nil
}

func (t *txn) classifyEntry() error {
	t.part, t.granular, t.lk.entry = entry, t.conf.granular, true
	switch q := t.req.(type) {
	case *fop.Create:
		t.change(q.Parent, q.Name)
	case *fop.Mknod:
		t.change(q.Parent, q.Name)
	case *fop.Mkdir:
		if !q.XData.Has(fop.KeyGFIDReq) {
			return fmt.Errorf("%s: a new directory without a GFID: %w", t.r.name, syscall.EPERM)
		}
		t.change(q.Parent, q.Name)
	case *fop.Symlink:
		t.change(q.Parent, q.Name)
	case *fop.Link:
		t.change(q.Parent, q.Name)
	case *fop.Unlink:
		t.change(q.Parent, q.Name)
	case *fop.Rmdir:
		t.change(q.Parent, q.Name)
		t.find = t.directory(q.Parent, q.Name)
		if !q.Dir.IsZero() {
			t.lk.add(q.Dir, "")
		}
	case *fop.Rename:
		// The new name first, as it is marked first.
		t.change(q.NewParent, q.NewName)
		t.change(q.OldParent, q.OldName)
		if !q.File {
			t.find = t.directory(q.NewParent, q.NewName)
		}
		if t.dirs[0] == t.dirs[1] { // a lock of our own would be in our way
			t.lk.nlockees = 1
		}
	default:
		return fmt.Errorf("%s: %v: %w", t.r.name, t.op, syscall.EOPNOTSUPP)
	}
	t.lk.fd = nil
	return nil
}

// change notes that a name changes, and that it is to be locked.
func (t *txn) change(parent fop.GFID, name string) {
	t.dirs[t.nd] = dirChange{parent, name}
	t.nd++
	t.lk.add(parent, name)
}

// directory finds out whether a name is a directory, whose names must be locked
// too before it goes away. A request does not say so.
func (t *txn) directory(parent fop.GFID, name string) func() (fop.GFID, bool) {
	return func() (g fop.GFID, ok bool) {
		q := &fop.Lookup{Header: fop.Header{Cred: t.req.Head().Cred}, Parent: parent, Name: name}
		as := make([]answer, t.n)
		good := t.r.fan(context.Background(), t.v.up, q, as)
		if mixed, other := differ(as); mixed || other {
			// One that is locked on a stale copy alone would be removed there alone,
			// and the good copy be blamed for having it.
			o := t.r.acquire(parent)
			m, err := t.r.refresh(context.Background(), o, &q.Cred, nil, t.v)
			o.Release()
			if err == nil && m.data&spoken(as) != 0 {
				good &= m.data
			}
		}
		l := replyOf[*fop.LookupReply](as, good.first())
		if l == nil || !l.Stat.IsDir() {
			return g, false
		}
		return l.Stat.GFID, true
	}
}

// wind sends the fop to the children that are locked and marked, on behalf of
// the caller, and waits for all of them.
func (t *txn) wind(ctx context.Context) {
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	t.sent = true
	to := t.good()
	switch q := t.req.(type) {
	case *fop.Write:
		t.windWrite(ctx, to, q)
	case *fop.Fsync:
		w := *q
		w.XData = t.r.fixed.fsync
		if q.XData.Len() > 0 {
			w.XData = q.XData.With(fop.KeyInodelkDomCount, fop.Str(t.r.name))
		}
		t.r.fan(ctx, to, &w, t.as)
	default:
		t.r.fan(ctx, to, t.req, t.as)
	}
	for i := range to.each {
		if err := t.as[i].err; err != nil && !(t.part == entry && fop.Errno(err) == syscall.ENOTEMPTY) {
			t.failed = t.failed.with(i)
		}
	}
	t.outvote(ctx)
}

// arbiters is the set of the arbiter, if there is one.
func (r *replicate) arbiters() set {
	if r.arbiter < 0 {
		return 0
	}
	return only(r.arbiter)
}

// arbiterByte is what an arbiter gets in place of data.
var arbiterByte = []byte{0xff}

func (t *txn) windWrite(ctx context.Context, to set, q *fop.Write) {
	w := *q
	w.XData = t.r.fixed.write
	if q.XData.Len() > 0 {
		w.XData = t.r.writeKeys(q.XData)
	}
	if !to.has(t.r.arbiter) || len(q.Data) == 0 {
		t.r.fan(ctx, to, &w, t.as)
		return
	}
	a := w
	a.Data = arbiterByte
	t.r.fanEach(ctx, to, func(i int) fop.Request {
		if i == t.r.arbiter {
			return &a
		}
		return &w
	}, t.as)
}

// writeKeys adds to the keys of a Write what its transaction wants to know.
func (r *replicate) writeKeys(d *fop.Dict) *fop.Dict {
	d = d.Clone()
	d.Grow(3)
	d.Set(fop.KeyWriteAppend, fop.Uint(4))
	d.Set(fop.KeyActiveFdCount, fop.Uint(4))
	d.Set(fop.KeyInodelkDomCount, fop.Str(r.name))
	return d
}
