// Package utime is the translator "features/utime" (GlusterFS 10.3,
// xlators/features/utime): the client's half of consistent times.
//
// All copies and fragments of a file shall show the same times, though their
// bricks' clocks differ. So the client stamps each fop that changes times with
// its own clock and with flags that say which times of which object are meant
// (fop.Stamp, which travels in the RPC credential), and bricks record that in
// the xattr trusted.glusterfs.mdata.
//
// Files from before that feature have no such xattr. Each lookup asks for it;
// when the reply has none, this translator has the brick make one from the
// times that it replied (Setxattr of "set-ctime-mdata" as pid -13).
//
// A time that a caller put into a request's Header is replaced.
//
// GlusterFS 10.3's client stamps fewer fops: no setxattr, no discard, no
// copy_file_range and no open that truncates, and a fallocate for atime in place
// of ctime, so that files keep times which POSIX has move. Its bricks record what
// they are told.
package utime

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "features/utime",
	New:  New,
	Options: []xlator.Option{
		{Key: "noatime", Kind: xlator.KindBool, Default: "on"},
		{Key: "pass-through", Kind: xlator.KindBool, Default: "off"},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

type utime struct {
	child   fop.Handler
	conf    atomic.Pointer[config]
	now     func() time.Time
	name    string
	onError func(gfid fop.GFID, err error)
}

type config struct {
	noatime bool
	pass    bool
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	u := &utime{child: c.Children[0].Handler, name: c.Name, now: time.Now}
	u.onError = func(gfid fop.GFID, err error) {
		c.Log.Warn("cannot record the times of a file from before features.ctime", "gfid", gfid, "err", err)
	}
	return u, u.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (u *utime) Reconfigure(o xlator.Options) error {
	u.conf.Store(&config{noatime: o.Bool("noatime", true), pass: o.Bool("pass-through", false)})
	return nil
}

// What each fop does to times.
const (
	made    = fop.TimeAtime | fop.TimeCtime | fop.TimeMtime | fop.TimeParentCtime | fop.TimeParentMtime
	moved   = fop.TimeCtime | fop.TimeParentCtime | fop.TimeParentMtime
	written = fop.TimeMtime | fop.TimeCtime
)

func (u *utime) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	if r, ok := req.(*fop.Lookup); ok && !u.conf.Load().pass {
		return u.lookup(ctx, r)
	}
	return u.child.Do(ctx, u.stamp(req))
}

// Start sends the request off without waiting, except for lookups.
func (u *utime) Start(ctx context.Context, req fop.Request) fop.Pending {
	if _, ok := req.(*fop.Lookup); ok {
		return fop.Start(ctx, fop.HandlerFunc(u.Do), req)
	}
	return fop.Start(ctx, u.child, u.stamp(req))
}

// stamp returns a copy of req with the time of now, or req itself if bricks
// need not know the time.
func (u *utime) stamp(req fop.Request) fop.Request {
	conf := u.conf.Load()
	if conf.pass {
		return req
	}
	switch r := req.(type) {
	case *fop.Write:
		q := *r
		q.Time = u.at(written)
		return &q
	case *fop.Read:
		if conf.noatime {
			return req
		}
		q := *r
		q.Time = u.at(fop.TimeAtime)
		return &q
	case *fop.Open:
		var flags uint32
		if !conf.noatime {
			flags = fop.TimeAtime
		}
		if r.Flags&fop.OTrunc != 0 {
			flags |= written
		}
		if flags == 0 {
			return req
		}
		q := *r
		q.Time = u.at(flags)
		return &q
	case *fop.Opendir:
		if conf.noatime {
			return req
		}
		q := *r
		q.Time = u.at(fop.TimeAtime)
		return &q
	case *fop.Setattr:
		q := *r
		q.Time = u.setattr(r.Valid, &r.Stat)
		return &q
	case *fop.Fsetattr:
		q := *r
		q.Time = u.setattr(r.Valid, &r.Stat)
		return &q
	}
	return u.stampOther(req)
}

// stampOther is for the fops whose flags are always the same.
func (u *utime) stampOther(req fop.Request) fop.Request {
	switch r := req.(type) {
	case *fop.Create:
		q := *r
		q.Time = u.at(made)
		return &q
	case *fop.Mknod:
		q := *r
		q.Time = u.at(made)
		return &q
	case *fop.Mkdir:
		q := *r
		q.Time = u.at(made)
		return &q
	case *fop.Symlink:
		q := *r
		q.Time = u.at(made)
		return &q
	case *fop.Unlink:
		q := *r
		q.Time = u.at(moved)
		return &q
	case *fop.Rmdir:
		q := *r
		q.Time = u.at(moved)
		return &q
	case *fop.Link:
		q := *r
		q.Time = u.at(moved)
		return &q
	case *fop.Rename:
		q := *r
		q.Time = u.at(moved)
		return &q
	case *fop.Truncate:
		q := *r
		q.Time = u.at(written)
		return &q
	case *fop.Ftruncate:
		q := *r
		q.Time = u.at(written)
		return &q
	case *fop.Fallocate:
		q := *r
		q.Time = u.at(written)
		return &q
	case *fop.Zerofill:
		q := *r
		q.Time = u.at(written)
		return &q
	case *fop.Discard:
		q := *r
		q.Time = u.at(written)
		return &q
	case *fop.CopyFileRange:
		q := *r
		q.Time = u.at(written)
		return &q
	case *fop.Setxattr:
		q := *r
		q.Time = u.at(fop.TimeCtime)
		return &q
	case *fop.Fsetxattr:
		q := *r
		q.Time = u.at(fop.TimeCtime)
		return &q
	case *fop.Removexattr:
		q := *r
		q.Time = u.at(fop.TimeCtime)
		return &q
	case *fop.Fremovexattr:
		q := *r
		q.Time = u.at(fop.TimeCtime)
		return &q
	}
	return req
}

func (u *utime) at(flags uint32) fop.Stamp {
	t := u.now()
	return fop.Stamp{Flags: flags, Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// setattr is the stamp of a Setattr. Explicit times carry no flags, but the
// clock all the same, for the ctime; a touch to the present takes the time that
// it sets, so that both are equal.
func (u *utime) setattr(valid int32, stat *fop.Iatt) fop.Stamp {
	s := u.at(0)
	if valid == 0 || valid&(fop.SetUID|fop.SetGID|fop.SetMode) != 0 {
		s.Flags = fop.TimeCtime
	}
	var touch fop.Time
	switch {
	case valid&fop.SetAtimeNow != 0:
		touch = stat.Atime
	case valid&fop.SetMtimeNow != 0:
		touch = stat.Mtime
	}
	if touch != (fop.Time{}) {
		s.Sec, s.Nsec = touch.Sec, touch.Nsec
	}
	return s
}

// lookup asks for the recorded times, and has them recorded where they are not.
func (u *utime) lookup(ctx context.Context, r *fop.Lookup) (fop.Reply, error) {
	q := *r
	q.XData = r.XData.With(fop.XattrMdata, fop.Int(1))
	reply, err := fop.Call(ctx, u.child, &q)
	if err != nil || reply == nil {
		if reply == nil {
			return nil, err
		}
		return reply, err
	}
	if reply.XData.Has(fop.XattrMdata) {
		return reply, nil
	}
	st := &reply.Stat
	set := &fop.Setxattr{
		Header: fop.Header{Cred: fop.Cred{PID: fop.PIDSetUtime, Owner: setOwner}},
		GFID:   st.GFID,
		Dict: fop.NewDict(fop.Pair{Key: fop.KeySetCtime,
			Val: fop.MdataValue(fop.Mdata{Atime: st.Atime, Mtime: st.Mtime, Ctime: st.Ctime})}),
	}
	if _, err := fop.Call(ctx, u.child, set); err != nil {
		u.onError(st.GFID, err) // the lookup is good without it
	}
	return reply, nil
}

// setOwner is the lock owner that GlusterFS sends along: the pid in four bytes.
const setOwner = "\xf3\xff\xff\xff"
