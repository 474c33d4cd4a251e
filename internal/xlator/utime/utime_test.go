package utime

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// below records what comes down and answers with what the test says.
type below struct {
	reqs   []fop.Request
	reply  fop.Reply // to lookups
	err    error     // of lookups
	setErr error     // of setxattr
}

func (b *below) Do(_ context.Context, req fop.Request) (fop.Reply, error) {
	b.reqs = append(b.reqs, req)
	switch req.Op() {
	case fop.OpLookup:
		return b.reply, b.err
	case fop.OpSetxattr:
		return &fop.CommonReply{}, b.setErr
	}
	return fop.NewReply(req.Op()), nil
}

var clock = time.Unix(1795356287, 643038946)

func newUtime(t *testing.T, b *below, o xlator.Options) (*utime, *strings.Builder) {
	t.Helper()
	var log strings.Builder
	h, err := New(xlator.Config{Name: "data-utime", Options: o, Children: []xlator.Child{{Name: "c", Handler: b}},
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	u := h.(*utime)
	u.now = func() time.Time { return clock }
	return u, &log
}

// TestFlags is which times each fop is meant for: as POSIX has it, which is more
// than what GlusterFS 10.3 sends.
func TestFlags(t *testing.T) {
	const (
		c, m, a    = fop.TimeCtime, fop.TimeMtime, fop.TimeAtime
		pc, pm     = fop.TimeParentCtime, fop.TimeParentMtime
		unstamped  = ^uint32(0)
		everything = c | m | a | pc | pm
	)
	want := map[fop.Op]uint32{
		fop.OpMknod: everything, fop.OpMkdir: everything, fop.OpSymlink: everything, fop.OpCreate: everything,
		fop.OpUnlink: c | pc | pm, fop.OpRmdir: c | pc | pm, fop.OpLink: c | pc | pm, fop.OpRename: c | pc | pm,
		fop.OpWrite: m | c, fop.OpTruncate: m | c, fop.OpFtruncate: m | c,
		fop.OpFallocate: m | c, fop.OpZerofill: m | c, fop.OpDiscard: m | c, fop.OpCopyFileRange: m | c,
		fop.OpSetxattr: c, fop.OpFsetxattr: c, fop.OpRemovexattr: c, fop.OpFremovexattr: c,
		fop.OpSetattr: c, fop.OpFsetattr: c, // valid is 0
		fop.OpRead: a, fop.OpOpen: a, fop.OpOpendir: a, // without noatime
	}
	for _, noatime := range []string{"on", "off"} {
		for op := fop.Op(1); op < fop.OpCount; op++ {
			req := fop.NewRequest(op)
			if req == nil || op == fop.OpLookup {
				continue
			}
			var b below
			u, _ := newUtime(t, &b, xlator.Options{"noatime": noatime})
			if _, err := u.Do(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*req.Head(), fop.Header{}) {
				t.Errorf("%v: the caller's request changed", op)
			}
			flags, ok := want[op]
			if !ok || noatime == "on" && flags == a {
				flags = unstamped
			}
			got := b.reqs[0].Head().Time
			exp := fop.Stamp{Flags: flags, Sec: clock.Unix(), Nsec: uint32(clock.Nanosecond())}
			if flags == unstamped {
				exp = fop.Stamp{}
			}
			if got != exp {
				t.Errorf("%v, noatime %s: stamp %+v, want %+v", op, noatime, got, exp)
			}
			started, _ := u.Start(t.Context(), req).Wait()
			if started == nil || b.reqs[1].Head().Time != exp {
				t.Errorf("%v: Start does not do what Do does", op)
			}
		}
	}
}

func TestSetattr(t *testing.T) {
	at, mt := fop.Time{Sec: 11, Nsec: 1}, fop.Time{Sec: 22, Nsec: 2}
	now := fop.Time{Sec: clock.Unix(), Nsec: uint32(clock.Nanosecond())}
	for _, c := range []struct {
		name  string
		valid int32
		flags uint32
		time  fop.Time
	}{
		{"nothing", 0, fop.TimeCtime, now},
		{"mode", fop.SetMode, fop.TimeCtime, now},
		{"owner", fop.SetUID | fop.SetGID, fop.TimeCtime, now},
		{"utimes", fop.SetAtime | fop.SetMtime, 0, now},
		{"touch", fop.SetAtime | fop.SetMtime | fop.SetAtimeNow | fop.SetMtimeNow, 0, at},
		{"touch -m", fop.SetMtime | fop.SetMtimeNow, 0, mt},
		{"mode and touch", fop.SetMode | fop.SetAtime | fop.SetAtimeNow, fop.TimeCtime, at},
		{"size", fop.SetSize, 0, now},
	} {
		for _, req := range []fop.Request{
			&fop.Setattr{Valid: c.valid, Stat: fop.Iatt{Atime: at, Mtime: mt}},
			&fop.Fsetattr{Valid: c.valid, Stat: fop.Iatt{Atime: at, Mtime: mt}},
		} {
			var b below
			u, _ := newUtime(t, &b, nil)
			u.Do(t.Context(), req)
			if got, want := b.reqs[0].Head().Time, (fop.Stamp{Flags: c.flags, Sec: c.time.Sec, Nsec: c.time.Nsec}); got != want {
				t.Errorf("%v %s: %+v, want %+v", req.Op(), c.name, got, want)
			}
		}
	}
	var b below
	u, _ := newUtime(t, &b, nil)
	u.Do(t.Context(), &fop.Setattr{Valid: fop.SetAtime | fop.SetAtimeNow})
	if b.reqs[0].Head().Time.Sec != clock.Unix() {
		t.Error("a touch without a time is of the year 1970")
	}
}

// TestLegacy is about lookups, whose replies show whether times are recorded.
func TestLegacy(t *testing.T) {
	gfid := fop.RootGFID
	stat := fop.Iatt{GFID: gfid, Atime: fop.Time{Sec: 1795356287, Nsec: 643038946},
		Mtime: fop.Time{Sec: 1795356260, Nsec: 815216468}, Ctime: fop.Time{Sec: 1795356261, Nsec: 399628022}}
	recorded := fop.NewDict(fop.Pair{Key: fop.XattrMdata, Val: fop.Bytes(make([]byte, fop.MdataSize))})
	asked := fop.NewDict(fop.Pair{Key: "gfid-req", Val: fop.GFIDValue(gfid)}, fop.Pair{Key: fop.XattrMdata, Val: fop.Int(1)})

	var b below
	u, log := newUtime(t, &b, nil)
	req := &fop.Lookup{GFID: gfid, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: "gfid-req", Val: fop.GFIDValue(gfid)})}}
	b.reply = &fop.LookupReply{Stat: stat, ReplyHeader: fop.ReplyHeader{XData: recorded}}
	reply, err := u.Do(t.Context(), req)
	if err != nil || reply != b.reply || len(b.reqs) != 1 {
		t.Fatalf("%v, %v, %d requests", reply, err, len(b.reqs))
	}
	if got := b.reqs[0].Head().XData; !got.Equal(asked) || req.XData.Len() != 1 {
		t.Errorf("asked for %v", got.Pairs())
	}

	b = below{reply: &fop.LookupReply{Stat: stat}}
	if reply, err := u.Do(t.Context(), req); err != nil || reply != b.reply {
		t.Errorf("%v, %v", reply, err)
	}
	want := &fop.Setxattr{
		Header: fop.Header{Cred: fop.Cred{PID: -13, Owner: "\xf3\xff\xff\xff"}},
		GFID:   gfid,
		Dict:   fop.NewDict(fop.Pair{Key: "set-ctime-mdata", Val: fop.MdataValue(fop.Mdata{Atime: stat.Atime, Mtime: stat.Mtime, Ctime: stat.Ctime})}),
	}
	if len(b.reqs) != 2 {
		t.Fatalf("%d requests", len(b.reqs))
	}
	if diff := cmp.Diff(want, b.reqs[1], cmp.Comparer((*fop.Dict).Equal)); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}

	b = below{reply: &fop.LookupReply{Stat: stat}, setErr: syscall.EROFS}
	if _, err := u.Do(t.Context(), req); err != nil || !strings.Contains(log.String(), gfid.String()) {
		t.Errorf("a brick that cannot record: %v, log %q", err, log)
	}
	b = below{err: syscall.ENOENT}
	if _, err := u.Do(t.Context(), req); !errors.Is(err, syscall.ENOENT) || len(b.reqs) != 1 {
		t.Errorf("no such file: %v, %d requests", err, len(b.reqs))
	}
	b = below{reply: (*fop.LookupReply)(nil), err: syscall.ENOTCONN}
	if reply, err := u.Do(t.Context(), req); !errors.Is(err, syscall.ENOTCONN) || reply != nil {
		t.Errorf("no brick: %v, %v", reply, err)
	}
}

func TestReconfigure(t *testing.T) {
	var b below
	u, _ := newUtime(t, &b, nil)
	u.Do(t.Context(), &fop.Read{})
	u.Reconfigure(xlator.Options{"noatime": "off"})
	u.Do(t.Context(), &fop.Read{})
	u.Reconfigure(xlator.Options{"pass-through": "on"})
	u.Do(t.Context(), &fop.Write{})
	u.Do(t.Context(), &fop.Lookup{})
	var got []uint32
	for _, r := range b.reqs {
		got = append(got, r.Head().Time.Flags)
	}
	if diff := cmp.Diff([]uint32{0, fop.TimeAtime, 0, 0}, got); diff != "" || b.reqs[3].Head().XData.Len() != 0 {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func BenchmarkWrite(b *testing.B) {
	child := fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, nil })
	h, _ := New(xlator.Config{Children: []xlator.Child{{Handler: child}}, Log: slog.Default()})
	req := &fop.Write{}
	b.ReportAllocs()
	for b.Loop() {
		h.Do(context.Background(), req)
	}
}
