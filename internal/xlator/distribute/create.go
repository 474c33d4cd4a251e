package distribute

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// birth is the making of one name.
type birth struct {
	parent fop.GFID
	name   string
	pinned *subvol // chosen by the caller, see pin
	layout *layout
	hashed *subvol
}

// pin takes the suffix "@NAME-of-this-volume:SUBVOLUME" off a name, by which a
// file is placed by hand.
func (d *distribute) pin(name string) (string, *subvol) {
	if i := strings.LastIndex(name, "@"+d.name+":"); i > 0 {
		if s := d.subvolume(name[i+len(d.name)+2:]); s != nil {
			return name[:i], s
		}
	}
	return name, nil
}

// bear finds out where a new name belongs.
func (d *distribute) bear(ctx context.Context, parent fop.GFID, name string) (*birth, error) {
	b := &birth{parent: parent}
	b.name, b.pinned = d.pin(name)
	l, err := d.layoutOf(ctx, parent)
	if err != nil {
		return nil, err
	}
	return b, d.settleBirth(b, l)
}

func (d *distribute) settleBirth(b *birth, l *layout) error {
	b.layout, b.hashed = l, d.hashed(l, b.name)
	if b.hashed == nil {
		return fmt.Errorf("%q: no subvolume has its hash; is one down? %w", b.name, syscall.EIO)
	}
	return nil
}

// taken looks for a name that may be somewhere else than on its hashed
// subvolume, so that the brick there would not know that it is taken. Callers
// that looked a moment ago are believed.
func (d *distribute) taken(ctx context.Context, b *birth, h *fop.Header) (*found, error) {
	if d.missIsFinal(b.layout) {
		return nil, nil
	}
	if k, ok := d.names.get(entryName{b.parent, b.name}); ok && k.at == nil {
		return nil, nil
	}
	return d.lookAgain(ctx, b, h)
}

// lookAgain looks a name up on all subvolumes that may have it; nil if it does
// not exist. A linkto that leads nowhere is gone afterwards.
func (d *distribute) lookAgain(ctx context.Context, b *birth, h *fop.Header) (*found, error) {
	f, err := d.lookupName(ctx, &fop.Lookup{Header: fop.Header{Cred: h.Cred}, Parent: b.parent, Name: b.name})
	switch {
	case err == nil:
		return &f, nil
	case !errors.Is(err, syscall.ENOENT):
		return nil, err
	}
	l, err := d.layoutOf(ctx, b.parent)
	if err != nil {
		return nil, err
	}
	return nil, d.settleBirth(b, l)
}

func exists(name string) error { return fmt.Errorf("%q: %w", name, syscall.EEXIST) }

// make makes a new name: mk sends the request to a subvolume, with keys. It is
// called once more where the layout has changed meanwhile, or what was in the
// way was a linkto that led nowhere.
func (d *distribute) make(ctx context.Context, b *birth, h *fop.Header, preop, spread bool, mk func(s *subvol, x *fop.Dict) (fop.Reply, error)) (fop.Reply, error) {
	x := h.XData
	if preop {
		x = x.With(keyPreopParent, fop.Str(fop.XattrDHT)).With(fop.XattrDHT, fop.Bytes(b.layout.disk(b.hashed)))
	}
	if s := d.set.Load(); spread && s.decommissioned[b.hashed.index] {
		return d.makeLocked(ctx, b, h, spread, mk)
	}
	rep, err := d.place(ctx, b, h, x, spread, mk)
	if err != nil && rep != nil && rep.ReplyHead().XData.Has(keyPreopFailed) {
		return d.makeLocked(ctx, b, h, spread, mk)
	}
	if errors.Is(err, syscall.EEXIST) {
		f, lerr := d.lookAgain(ctx, b, h)
		if lerr != nil || f != nil {
			return rep, err
		}
		return d.place(ctx, b, h, h.XData, spread, mk)
	}
	return rep, err
}

// makeLocked makes a new name under a lock on the layout of its directory, after
// reading that again.
func (d *distribute) makeLocked(ctx context.Context, b *birth, h *fop.Header, spread bool, mk func(s *subvol, x *fop.Dict) (fop.Reply, error)) (fop.Reply, error) {
	k := d.newLocks()
	defer k.unlock(ctx)
	if err := k.inodelk(ctx, inodelk{b.hashed, b.parent, domainLayout, fop.LockRead}); err != nil {
		return nil, err
	}
	l, err := d.refreshLayout(withNameLocked(ctx), b.parent) // which must not wait for this lock to heal it
	if err == nil {
		err = d.settleBirth(b, l)
	}
	if err != nil {
		return nil, err
	}
	return d.place(ctx, b, h, h.XData, spread, mk)
}

// place makes a new name on its hashed subvolume, or if that is full on another
// one with a linkto, which comes first.
func (d *distribute) place(ctx context.Context, b *birth, h *fop.Header, x *fop.Dict, spread bool, mk func(s *subvol, x *fop.Dict) (fop.Reply, error)) (fop.Reply, error) {
	data := b.hashed
	switch {
	case b.pinned != nil:
		data = b.pinned
	case spread:
		data = d.place4new(b.layout, b.hashed)
	}
	if data == b.hashed {
		rep, err := mk(data, x)
		if err == nil {
			d.born(b, rep, data)
		}
		return rep, err
	}
	v, _ := h.XData.Get(fop.KeyGFIDReq)
	gfid, ok := v.GFID()
	if !ok {
		return nil, fmt.Errorf("%q: no %s in the request: %w", b.name, fop.KeyGFIDReq, syscall.EPERM)
	}
	_, existed, err := d.linkto(ctx, b.hashed, data, b.parent, b.name, gfid, nil, h.Time)
	switch {
	case err != nil:
		return nil, err
	case existed:
		return nil, exists(b.name)
	}
	rep, err := mk(data, h.XData)
	if err != nil {
		d.unlinkStale(ctx, b.hashed, b.parent, b.name)
		return rep, err
	}
	st := d.born(b, rep, data)
	d.chownLinkto(ctx, b.hashed, gfid, st, h.Time)
	return rep, nil
}

// born remembers a new object.
func (d *distribute) born(b *birth, rep fop.Reply, at *subvol) *fop.Iatt {
	var st *fop.Iatt
	switch r := rep.(type) {
	case *fop.CreateReply:
		st = &r.Stat
		fixDir(&r.PreParent)
		fixDir(&r.PostParent)
	case *fop.EntryReply:
		st = &r.Stat
		fixDir(&r.PreParent)
		fixDir(&r.PostParent)
	default:
		return &fop.Iatt{}
	}
	d.setFile(st.GFID, at)
	d.sawName(b.parent, b.name, st.GFID, at)
	return st
}

// create makes and opens a file: one request if its hashed subvolume has room.
func (d *distribute) create(ctx context.Context, r *fop.Create) (*fop.CreateReply, error) {
	d.refreshUsage(ctx)
	for try := 0; ; try++ {
		rep, err := d.createOnce(ctx, r)
		if !errors.Is(err, errAgain) || try == hops {
			return rep, err
		}
	}
}

func (d *distribute) createOnce(ctx context.Context, r *fop.Create) (*fop.CreateReply, error) {
	b, err := d.bear(ctx, r.Parent, r.Name)
	if err != nil {
		return nil, err
	}
	f, err := d.taken(ctx, b, &r.Header)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return d.openInstead(ctx, r, f)
	}
	rep, err := d.make(ctx, b, &r.Header, true, true, func(s *subvol, x *fop.Dict) (fop.Reply, error) {
		q := *r
		q.Name, q.XData = b.name, x
		rep, err := fop.Call(ctx, s, &q)
		if err == nil {
			d.opened(r.Fd, s)
		}
		return reply(rep, err)
	})
	c, _ := rep.(*fop.CreateReply)
	if err != nil || c == nil {
		return c, err
	}
	v, _ := r.XData.Get(fop.KeyGFIDReq)
	if gfid, _ := v.GFID(); c.Stat.GFID != gfid {
		return d.openedOld(ctx, r, b, c)
	}
	return c, nil
}

// openedOld handles that CREATE, without O_EXCL, opened what was there: perhaps a
// linkto, perhaps a file that is being moved.
func (d *distribute) openedOld(ctx context.Context, r *fop.Create, b *birth, c *fop.CreateReply) (*fop.CreateReply, error) {
	if phaseOf(nil, &c.Stat, 0) == settled {
		return c, nil
	}
	d.release(ctx, &fop.Release{Header: asSu(nil), GFID: c.Stat.GFID, Fd: r.Fd}, r.Fd)
	d.forgetName(b.parent, b.name)
	d.objects.forget(c.Stat.GFID)
	f, err := d.lookAgain(ctx, b, &r.Header)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, errAgain // it was a linkto that led nowhere
	}
	return d.openInstead(ctx, r, f)
}

// openInstead opens what has the name of a file to create.
func (d *distribute) openInstead(ctx context.Context, r *fop.Create, f *found) (*fop.CreateReply, error) {
	switch {
	case r.Flags&fop.OExcl != 0:
		return nil, exists(r.Name)
	case f.layout != nil:
		return nil, fmt.Errorf("create %q: %w", r.Name, syscall.EISDIR)
	}
	gfid := f.reply.Stat.GFID
	if r.Fd != nil {
		r.Fd.GFID = gfid
	}
	flags := r.Flags &^ (fop.OCreate | fop.OExcl)
	if _, err := d.open(ctx, &fop.Open{Header: fop.Header{Cred: r.Cred, Time: r.Time}, GFID: gfid, Flags: flags, Fd: r.Fd}); err != nil {
		return nil, err
	}
	st := f.reply.Stat
	if flags&fop.OTrunc != 0 {
		st.Size, st.Blocks = 0, 0
	}
	return &fop.CreateReply{Stat: st, PreParent: f.reply.Parent, PostParent: f.reply.Parent}, nil
}

// mknod makes a special or an empty regular file.
func (d *distribute) mknod(ctx context.Context, r *fop.Mknod) (*fop.EntryReply, error) {
	d.refreshUsage(ctx)
	return d.makeEntry(ctx, r.Parent, r.Name, &r.Header, true, func(s *subvol, name string, x *fop.Dict) (fop.Reply, error) {
		q := *r
		q.Name, q.XData = name, x
		return reply(fop.Call(ctx, s, &q))
	})
}

// symlink makes a symbolic link, always on its hashed subvolume.
func (d *distribute) symlink(ctx context.Context, r *fop.Symlink) (*fop.EntryReply, error) {
	return d.makeEntry(ctx, r.Parent, r.Name, &r.Header, false, func(s *subvol, name string, x *fop.Dict) (fop.Reply, error) {
		q := *r
		q.Name, q.XData = name, x
		return reply(fop.Call(ctx, s, &q))
	})
}

func (d *distribute) makeEntry(ctx context.Context, parent fop.GFID, name string, h *fop.Header, spread bool, mk func(*subvol, string, *fop.Dict) (fop.Reply, error)) (*fop.EntryReply, error) {
	b, err := d.bear(ctx, parent, name)
	if err != nil {
		return nil, err
	}
	f, err := d.taken(ctx, b, h)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return nil, exists(name)
	}
	rep, err := d.make(ctx, b, h, false, spread, func(s *subvol, x *fop.Dict) (fop.Reply, error) { return mk(s, b.name, x) })
	e, _ := rep.(*fop.EntryReply)
	return e, err
}
