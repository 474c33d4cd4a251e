package distribute

import (
	"context"
	"encoding/hex"
	"errors"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// below records what comes down and answers xattr requests with dict.
type below struct {
	reqs []fop.Request
	dict *fop.Dict
	err  error
}

func (b *below) Do(_ context.Context, req fop.Request) (fop.Reply, error) {
	b.reqs = append(b.reqs, req)
	if b.err != nil {
		return nil, b.err
	}
	switch req.(type) {
	case *fop.Getxattr, *fop.Fgetxattr:
		return &fop.XattrReply{Dict: b.dict, Size: 7}, nil
	}
	return fop.NewReply(req.Op()), nil
}

func over(t testing.TB, b fop.Handler) fop.Handler {
	t.Helper()
	h, err := New(xlator.Config{Name: "data-dht", Children: []xlator.Child{{Name: "data-client-0", Handler: b}}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSubvolumes(t *testing.T) {
	for _, n := range []int{0} {
		_, err := New(xlator.Config{Children: make([]xlator.Child, n)})
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d subvolumes: %v", n, err)
		}
	}
}

func TestMkdir(t *testing.T) {
	var b below
	h := over(t, &b)
	if _, err := h.Do(t.Context(), &fop.Mkdir{Name: "d"}); !errors.Is(err, syscall.EPERM) || len(b.reqs) > 0 {
		t.Errorf("without gfid-req: %v", err)
	}
	req := &fop.Mkdir{Name: "d", Mode: 0o755, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: "gfid-req", Val: fop.GFIDValue(fop.GFID{1})})}}
	if _, err := h.Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	x := b.reqs[0].Head().XData
	if got := hex.EncodeToString(x.Bytes("trusted.glusterfs.dht")); got != "000000000000000000000000ffffffff" || x.Len() != 2 {
		t.Errorf("layout %s, %d keys", got, x.Len())
	}
	if v, _ := x.Get("trusted.glusterfs.dht"); v.Type != fop.TypePtr {
		t.Errorf("layout of type %d", v.Type)
	}
	if req.XData.Len() != 1 {
		t.Error("the caller's request changed")
	}
}

// TestRename compares with what a GlusterFS 10.3 client was seen to send.
func TestRename(t *testing.T) {
	d, err := fop.ParseGFID("78cdd882-1364-4015-ac05-04bdb6f30aec")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		req  fop.Rename
		want string
	}{
		{fop.Rename{OldParent: fop.RootGFID, OldName: "f", NewParent: fop.RootGFID, NewName: "f2"},
			"00000000000000000000000000000001" + "00000000000000000000000000000001" + "02000000" + "03000000" + "6600663200" + "00000000"},
		{fop.Rename{OldParent: fop.RootGFID, OldName: "f2", NewParent: d, NewName: "f2"},
			"00000000000000000000000000000001" + "78cdd88213644015ac0504bdb6f30aec" + "03000000" + "03000000" + "663200663200" + "00000000"},
		{fop.Rename{OldParent: fop.RootGFID, OldName: "fifo", NewParent: fop.RootGFID, NewName: "fif"},
			"00000000000000000000000000000001" + "00000000000000000000000000000001" + "05000000" + "04000000" + "6669666f0066696600" + "00000000"},
	} {
		var b below
		if _, err := over(t, &b).Do(t.Context(), &c.req); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(b.reqs[0].Head().XData.Bytes("changelog.rename-op")); got != c.want {
			t.Errorf("%s to %s:\n%s, want\n%s", c.req.OldName, c.req.NewName, got, c.want)
		}
		if c.req.XData != nil {
			t.Error("the caller's request changed")
		}
	}
}

func TestXattrs(t *testing.T) {
	all := fop.NewDict(
		fop.Pair{Key: "user.a", Val: fop.Bytes([]byte("1"))},
		fop.Pair{Key: "trusted.glusterfs.dht", Val: fop.Bytes(make([]byte, 16))},
		fop.Pair{Key: "trusted.glusterfs.dht.mds", Val: fop.Bytes(make([]byte, 4))},
		fop.Pair{Key: "trusted.glusterfs.dhtx", Val: fop.Bytes([]byte("2"))},
	)
	shown := fop.NewDict(all.Pairs()[0], all.Pairs()[3])
	one := func(key string) *fop.Dict { return fop.NewDict(fop.Pair{Key: key, Val: fop.Bytes([]byte("x"))}) }
	for _, c := range []struct {
		name       string
		have, want *fop.Dict
		err        error
		down       int
	}{
		{"", all, shown, nil, 1},
		{"user.a", one("user.a"), one("user.a"), nil, 1},
		{"trusted.glusterfs.pathinfo", one("trusted.glusterfs.pathinfo"), one("trusted.glusterfs.pathinfo"), nil, 1},
		{"trusted.glusterfs.dht", one("trusted.glusterfs.dht"), nil, syscall.ENODATA, 1},
		{"trusted.glusterfs.dht.linkto", one("trusted.glusterfs.dht.linkto"), nil, syscall.ENODATA, 1},
		{"dht.subvol.status", nil, fop.NewDict(fop.Pair{Key: "dht.subvol.status", Val: fop.Bytes([]byte("1\x00"))}), nil, 0},
		{"user.none", nil, nil, nil, 1},
	} {
		for _, req := range []fop.Request{&fop.Getxattr{Name: c.name}, &fop.Fgetxattr{Name: c.name}} {
			b := below{dict: c.have}
			reply, err := over(t, &b).Do(t.Context(), req)
			if !errors.Is(err, c.err) || len(b.reqs) != c.down {
				t.Errorf("%v %q: %v, %d requests", req.Op(), c.name, err, len(b.reqs))
				continue
			}
			if err == nil && !reply.(*fop.XattrReply).Dict.Equal(c.want) {
				t.Errorf("%v %q: %v", req.Op(), c.name, reply.(*fop.XattrReply).Dict.Pairs())
			}
		}
	}
	b := below{err: syscall.EACCES}
	if reply, err := over(t, &b).Do(t.Context(), &fop.Getxattr{}); reply != nil || !errors.Is(err, syscall.EACCES) {
		t.Errorf("an error becomes %v, %v", reply, err)
	}
}

// TestPassing: everything else goes down as it is, by Do and by Start.
func TestPassing(t *testing.T) {
	var b below
	h := over(t, &b).(fop.Starter)
	changed := map[fop.Op]bool{fop.OpMkdir: true, fop.OpRename: true, fop.OpReaddirp: true}
	for op := fop.Op(1); op < fop.OpCount; op++ {
		req := fop.NewRequest(op)
		if req == nil {
			continue
		}
		if op == fop.OpMkdir {
			req.Head().XData = fop.NewDict(fop.Pair{Key: "gfid-req", Val: fop.GFIDValue(fop.GFID{1})})
		}
		b.reqs = nil
		reply, err := h.Do(t.Context(), req)
		if err != nil || len(b.reqs) != 1 || (b.reqs[0] == req) == changed[op] {
			t.Errorf("%v: %v, %d requests", op, err, len(b.reqs))
		}
		started, err := h.Start(t.Context(), req).Wait()
		if err != nil || len(b.reqs) != 2 || !cmp.Equal(reply, started, cmp.Comparer((*fop.Dict).Equal)) {
			t.Errorf("%v: Start does not do what Do does: %v", op, err)
		}
	}
}

// TestSingleListing: linktos are left out, and a page of nothing else is not the
// end.
func TestSingleListing(t *testing.T) {
	st := func(mode uint32) fop.Iatt { return fop.Iatt{GFID: fop.GFID{1}, Flags: fop.IattAll, Mode: mode} }
	link := fop.NewDict(fop.Pair{Key: fop.XattrLinkto, Val: fop.Str("data-client-1")})
	pages := map[uint64]*fop.ReaddirReply{
		0: {Entries: []fop.Dirent{{Name: "l1", Off: 1, Stat: st(linktoMode), XData: link}, {Name: "l2", Off: 2, Stat: st(linktoMode), XData: link}}},
		2: {Entries: []fop.Dirent{{Name: "moving", Off: 3, Stat: st(fop.ModeRegular | 0o3644), XData: link}, {Name: "mine", Off: 4, Stat: st(linktoMode)},
			{Name: "l3", Off: 5, Stat: st(linktoMode), XData: link}}},
		5: {EOF: true},
	}
	h := over(t, fop.HandlerFunc(func(_ context.Context, req fop.Request) (fop.Reply, error) {
		r := req.(*fop.Readdirp)
		if !r.XData.Has(fop.XattrLinkto) {
			t.Error("linktos cannot be told")
		}
		return pages[r.Offset], nil
	}))
	r, err := fop.Call(t.Context(), h, &fop.Readdirp{})
	if err != nil || len(r.Entries) != 2 || r.Entries[0].Name != "moving" || r.Entries[0].XData.Len() != 0 || r.Entries[1].Name != "mine" || r.EOF {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = fop.Call(t.Context(), h, &fop.Readdirp{Offset: 5}); err != nil || !r.EOF || len(r.Entries) > 0 {
		t.Errorf("at the end: %+v, %v", r, err)
	}
}
