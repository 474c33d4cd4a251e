package acl

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

func TestInheritGolden(t *testing.T) {
	f, err := os.Open("testdata/inherit.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		if s.Text()[0] == '#' {
			continue
		}
		n++
		var dflt, access string
		var mode, want uint32
		fmt.Sscanf(s.Text(), "%s %o %s %o", &dflt, &mode, &access, &want)
		b, _ := hex.DecodeString(dflt)
		a, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(a.Append(nil)); got != dflt {
			t.Errorf("round trip: %s", got)
		}
		got, gotMode := a.Inherit(mode)
		if s := hex.EncodeToString(got.Append(nil)); s != access || gotMode != want {
			t.Errorf("inherited %s %#o, want %s %#o", s, gotMode, access, want)
		}
	}
	if n == 0 {
		t.Fatal("no vectors")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0})
	f.Add(ACL{{UserObj, 7, NoID}, {User, 5, 1001}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err == nil && string(a.Append(nil)) != string(b) {
			t.Fatalf("%x came back as %x", b, a.Append(nil))
		}
		a.Inherit(0o777)
		(&attr{access: a}).permits(&fop.Cred{UID: 1}, 7)
	})
}

func TestPermits(t *testing.T) {
	ext := ACL{
		{UserObj, 7, NoID}, {User, 6, 1001}, {User, 0, 1002}, {GroupObj, 4, NoID},
		{Group, 7, 2001}, {Group, 2, 2002}, {Mask, 5, NoID}, {Other, 1, NoID},
	}
	file := &attr{uid: 1000, gid: 2000, mode: fop.ModeRegular | 0o640}
	acl := &attr{uid: 1000, gid: 2000, mode: fop.ModeRegular | 0o751, access: ext}
	noMask := &attr{uid: 1000, gid: 2000, mode: 0o741, access: ACL{{UserObj, 7, NoID}, {User, 6, 1001}, {GroupObj, 4, NoID}, {Other, 1, NoID}}}
	for _, c := range []struct {
		what   string
		a      *attr
		uid    uint32
		gid    uint32
		groups []uint32
		can    uint32
	}{
		{"owner", file, 1000, 9, nil, 6},
		{"group", file, 9, 2000, nil, 4},
		{"supplementary group", file, 9, 9, []uint32{8, 2000}, 4},
		{"other", file, 9, 9, nil, 0},
		{"owner, not masked", acl, 1000, 9, nil, 7},
		{"named user, masked", acl, 1001, 2000, nil, 4},
		{"named user without rights, in no way by group", acl, 1002, 2001, nil, 0},
		{"owning group", acl, 9, 2000, nil, 4},
		{"named group, masked", acl, 9, 2001, nil, 5},
		{"masked away", acl, 9, 2002, nil, 0},
		{"any group that grants all", acl, 9, 2002, []uint32{2001}, 5},
		{"other", acl, 9, 9, nil, 1},
		{"in a group, so not other", acl, 9, 2002, nil, 0},
		{"no mask", noMask, 1001, 9, nil, 6},
	} {
		cred := &fop.Cred{UID: c.uid, GID: c.gid, Groups: c.groups}
		var can uint32
		for _, bit := range []uint32{Read, Write, Exec} {
			if c.a.permits(cred, bit) {
				can |= bit
			}
		}
		if can != c.can {
			t.Errorf("%s: can %o, want %o", c.what, can, c.can)
		}
		if c.can != 0 && !c.a.permits(cred, c.can) {
			t.Errorf("%s: not all of %o at once", c.what, c.can)
		}
	}
	// One entry must grant everything; two groups do not add up.
	if acl.permits(&fop.Cred{UID: 9, GID: 2000, Groups: []uint32{2002}}, Read|Write) {
		t.Error("permissions of two groups were added up")
	}
}

// disk is a child that keeps objects by GFID and name and counts lookups.
type disk struct {
	mu      sync.Mutex
	objects map[fop.GFID]*fop.LookupReply
	names   map[string]fop.GFID
	lookups int
	last    fop.Request
}

func (d *disk) Do(_ context.Context, req fop.Request) (fop.Reply, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = req
	switch r := req.(type) {
	case *fop.Lookup:
		d.lookups++
		g := r.GFID
		if r.Name != "" {
			g = d.names[r.Name]
		}
		o := d.objects[g]
		if o == nil {
			return nil, syscall.ENOENT
		}
		c := *o
		if !r.XData.Has(fop.XattrACLAccess) {
			c.XData = nil
		}
		return &c, nil
	case *fop.Setattr:
		d.objects[r.GFID].Stat.Mode = r.Stat.Mode
	case *fop.Setxattr:
		d.objects[r.GFID].XData = r.Dict
	}
	return fop.NewReply(req.Op()), nil
}

var (
	dir  = fop.GFID{1: 1, 15: 10}
	file = fop.GFID{1: 1, 15: 11}
)

func newDisk(dirMode, fileMode uint32, dirACL *fop.Dict) *disk {
	return &disk{
		names: map[string]fop.GFID{"f": file},
		objects: map[fop.GFID]*fop.LookupReply{
			dir:  {Stat: fop.Iatt{GFID: dir, Mode: fop.ModeDir | dirMode, UID: 1000, GID: 2000}, ReplyHeader: fop.ReplyHeader{XData: dirACL}},
			file: {Stat: fop.Iatt{GFID: file, Mode: fop.ModeRegular | fileMode, UID: 1001, GID: 2001}},
		},
	}
}

func newACLs(t testing.TB, d fop.Handler) fop.Handler {
	h, err := New(xlator.Config{Children: []xlator.Child{{Name: "disk", Handler: d}}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestFops runs one request of each kind as the owner of the directory, the owner
// of the file, and somebody else.
func TestFops(t *testing.T) {
	const ok = syscall.Errno(0)
	chmod := &fop.Setattr{GFID: file, Valid: fop.SetMode, Stat: fop.Iatt{Mode: 0o644}}
	for _, c := range []struct {
		what              string
		dirMode, fileMode uint32
		req               fop.Request
		want              [3]syscall.Errno // uid 1000, 1001, 1002
	}{
		{"lookup", 0o710, 0, &fop.Lookup{Parent: dir, Name: "f"}, [3]syscall.Errno{ok, syscall.EACCES, syscall.EACCES}},
		{"nameless lookup", 0o700, 0, &fop.Lookup{GFID: file}, [3]syscall.Errno{}},
		{"open to read", 0o755, 0o604, &fop.Open{GFID: file}, [3]syscall.Errno{ok, ok, ok}},
		{"open to write", 0o755, 0o644, &fop.Open{GFID: file, Flags: fop.OWronly}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"open and truncate", 0o755, 0o644, &fop.Open{GFID: file, Flags: fop.OTrunc}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"execute", 0o755, 0o100, &fop.Open{GFID: file, Flags: fop.OExec}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"read after open", 0o755, 0, &fop.Read{GFID: file}, [3]syscall.Errno{}},
		{"truncate", 0o755, 0o444, &fop.Truncate{GFID: file}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"opendir", 0o750, 0, &fop.Opendir{GFID: dir}, [3]syscall.Errno{ok, syscall.EACCES, syscall.EACCES}},
		{"readdir", 0o750, 0, &fop.Readdir{Fd: &fop.Fd{GFID: dir}}, [3]syscall.Errno{ok, syscall.EACCES, syscall.EACCES}},
		{"mkdir", 0o755, 0, &fop.Mkdir{Parent: dir, Name: "x"}, [3]syscall.Errno{ok, syscall.EACCES, syscall.EACCES}},
		{"create needs x", 0o766, 0, &fop.Create{Parent: dir, Name: "x"}, [3]syscall.Errno{ok, syscall.EACCES, syscall.EACCES}},
		{"mkdir where something is", 0o755, 0, &fop.Mkdir{Parent: dir, Name: "f"}, [3]syscall.Errno{ok, syscall.EEXIST, syscall.EEXIST}},
		{"create where something is", 0o755, 0, &fop.Create{Parent: dir, Name: "f", Flags: fop.OExcl}, [3]syscall.Errno{ok, syscall.EEXIST, syscall.EEXIST}},
		{"unlink of nothing", 0o755, 0, &fop.Unlink{Parent: dir, Name: "x"}, [3]syscall.Errno{ok, syscall.ENOENT, syscall.ENOENT}},
		{"rename of nothing", 0o755, 0, &fop.Rename{OldParent: dir, OldName: "x", NewParent: dir, NewName: "g"}, [3]syscall.Errno{ok, syscall.ENOENT, syscall.ENOENT}},
		{"unlink of nothing, no search", 0o766, 0, &fop.Unlink{Parent: dir, Name: "x"}, [3]syscall.Errno{ok, syscall.EACCES, syscall.EACCES}},
		{"symlink", 0o777, 0, &fop.Symlink{Parent: dir, Name: "x"}, [3]syscall.Errno{}},
		{"unlink", 0o777, 0, &fop.Unlink{Parent: dir, Name: "f"}, [3]syscall.Errno{}},
		{"unlink, sticky", 0o1777, 0, &fop.Unlink{Parent: dir, Name: "f"}, [3]syscall.Errno{ok, ok, syscall.EACCES}},
		{"rename, sticky", 0o1777, 0, &fop.Rename{OldParent: dir, OldName: "f", NewParent: dir, NewName: "g"}, [3]syscall.Errno{ok, ok, syscall.EACCES}},
		{"link, sticky", 0o1777, 0, &fop.Link{GFID: file, Parent: dir, Name: "g"}, [3]syscall.Errno{ok, ok, syscall.EACCES}},
		{"chmod", 0o755, 0o666, chmod, [3]syscall.Errno{syscall.EPERM, ok, syscall.EPERM}},
		{"touch", 0o755, 0o666, &fop.Setattr{GFID: file, Valid: fop.SetMtimeNow}, [3]syscall.Errno{}},
		{"touch, not mine", 0o755, 0o644, &fop.Setattr{GFID: file, Valid: fop.SetMtime}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"chown to somebody", 0o755, 0, &fop.Setattr{GFID: file, Valid: fop.SetUID, Stat: fop.Iatt{UID: 5}}, [3]syscall.Errno{syscall.EPERM, syscall.EPERM, syscall.EPERM}},
		{"chown to the owner that it has", 0o755, 0, &fop.Setattr{GFID: file, Valid: fop.SetUID, Stat: fop.Iatt{UID: 1001}}, [3]syscall.Errno{}},
		{"chgrp to own group", 0o755, 0, &fop.Setattr{GFID: file, Valid: fop.SetGID, Stat: fop.Iatt{GID: 3000}}, [3]syscall.Errno{syscall.EPERM, ok, syscall.EPERM}},
		{"chgrp to a strange group", 0o755, 0, &fop.Setattr{GFID: file, Valid: fop.SetGID, Stat: fop.Iatt{GID: 4000}}, [3]syscall.Errno{syscall.EPERM, syscall.EPERM, syscall.EPERM}},
		{"setxattr", 0o755, 0o644, &fop.Setxattr{GFID: file, Dict: fop.NewDict(fop.Pair{Key: "user.a", Val: fop.Str("1")})}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"setfacl", 0o755, 0o666, &fop.Setxattr{GFID: file, Dict: fop.NewDict(fop.Pair{Key: fop.XattrACLAccess, Val: fop.Str("1")})}, [3]syscall.Errno{syscall.EPERM, ok, syscall.EPERM}},
		{"getxattr", 0o755, 0o600, &fop.Getxattr{GFID: file, Name: "user.a"}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"getfacl", 0o755, 0o600, &fop.Getxattr{GFID: file, Name: fop.XattrACLAccess}, [3]syscall.Errno{}},
		{"removexattr of an ACL", 0o755, 0o666, &fop.Removexattr{GFID: file, Name: fop.XattrACLAccess}, [3]syscall.Errno{syscall.EPERM, ok, syscall.EPERM}},
		{"access", 0o755, 0o640, &fop.Access{GFID: file, Mask: 4}, [3]syscall.Errno{syscall.EACCES, ok, syscall.EACCES}},
		{"access 0", 0o755, 0, &fop.Access{GFID: file}, [3]syscall.Errno{}},
		{"access, garbage", 0o755, 0o666, &fop.Access{GFID: file, Mask: 8}, [3]syscall.Errno{syscall.EINVAL, syscall.EINVAL, syscall.EINVAL}},
		{"stale", 0o755, 0, &fop.Open{GFID: fop.GFID{9}}, [3]syscall.Errno{syscall.ESTALE, syscall.ESTALE, syscall.ESTALE}},
	} {
		for i, uid := range []uint32{1000, 1001, 1002} {
			h := newACLs(t, newDisk(c.dirMode, c.fileMode, nil))
			c.req.Head().Cred = fop.Cred{UID: uid, GID: 3000, PID: 77}
			_, err := h.Do(t.Context(), c.req)
			if got := fop.Errno(err); got != c.want[i] {
				t.Errorf("%s by %d: %v, want %v", c.what, uid, err, c.want[i])
			}
			for _, cred := range []fop.Cred{{PID: 77}, {UID: uid, PID: fop.PIDSelfHeal}} {
				c.req.Head().Cred = cred
				if _, err := h.Do(t.Context(), c.req); err != nil && c.what != "stale" {
					t.Errorf("%s by %+v: %v", c.what, cred, err)
				}
			}
		}
	}
}

func TestSetgidDropped(t *testing.T) {
	d := newDisk(0o755, 0o755, nil)
	h := newACLs(t, d)
	req := &fop.Setattr{Header: fop.Header{Cred: fop.Cred{UID: 1001, GID: 1, PID: 7}}, GFID: file,
		Valid: fop.SetMode, Stat: fop.Iatt{Mode: fop.ModeRegular | 0o2755}}
	if _, err := h.Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if m := d.objects[file].Stat.Mode & 0o7777; m != 0o755 {
		t.Errorf("mode is %#o: setgid by an outsider", m)
	}
	if req.Stat.Mode&fop.ModeSetgid == 0 {
		t.Error("the caller's request was changed")
	}
}

func TestCreateMode(t *testing.T) {
	b, _ := hex.DecodeString("0200000001000700ffffffff02000700e903000004000700ffffffff10000700ffffffff20000500ffffffff")
	dflt := fop.NewDict(fop.Pair{Key: fop.XattrACLDefault, Val: fop.Bytes(b)})
	keys := func(umask, mode int64) *fop.Dict {
		return fop.NewDict(fop.Pair{Key: fop.KeyUmask, Val: fop.Int(umask)}, fop.Pair{Key: fop.KeyMode, Val: fop.Int(mode)}, fop.Pair{Key: "k", Val: fop.Int(1)})
	}
	for _, c := range []struct {
		what         string
		dflt         *fop.Dict
		xdata        *fop.Dict
		mode, umask  uint32
		want         uint32
		access, dfl2 bool
	}{
		{"umask of the fop", nil, nil, 0o666, 0o022, 0o644, false, false},
		{"umask of xdata", nil, keys(0o077, 0o666), 0o644, 0, 0o600, false, false},
		{"default ACL: no umask", dflt, keys(0o077, 0o666), 0o644, 0o022, 0o664, true, true},
	} {
		d := newDisk(0o777, 0, c.dflt)
		h := newACLs(t, d)
		req := &fop.Mkdir{Header: fop.Header{XData: c.xdata}, Parent: dir, Name: "x", Mode: c.mode, Umask: c.umask}
		if _, err := h.Do(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		got := d.last.(*fop.Mkdir)
		if got.Mode != c.want || got.XData.Has(fop.XattrACLAccess) != c.access || got.XData.Has(fop.XattrACLDefault) != c.dfl2 {
			t.Errorf("%s: mode %#o, xdata %v", c.what, got.Mode, got.XData.Pairs())
		}
		if got.XData.Has(fop.KeyUmask) || got.XData.Has(fop.KeyMode) || c.xdata != nil && (!got.XData.Has("k") || !c.xdata.Has(fop.KeyMode)) {
			t.Errorf("%s: keys %v", c.what, got.XData.Pairs())
		}
	}
}

// TestCache: one lookup suffices until something changes.
func TestCache(t *testing.T) {
	d := newDisk(0o755, 0o644, nil)
	h := newACLs(t, d)
	user := fop.Header{Cred: fop.Cred{UID: 1002, GID: 9, PID: 7}}
	open := func(flags uint32) syscall.Errno {
		_, err := h.Do(t.Context(), &fop.Open{Header: user, GFID: file, Flags: flags})
		return fop.Errno(err)
	}
	if first, second := open(0), open(0); first != 0 || second != 0 || open(fop.OWronly) != syscall.EACCES || d.lookups != 1 {
		t.Fatalf("%d lookups for three opens", d.lookups)
	}
	root := fop.Header{}
	if _, err := h.Do(t.Context(), &fop.Setattr{Header: root, GFID: file, Valid: fop.SetMode, Stat: fop.Iatt{Mode: fop.ModeRegular | 0o602}}); err != nil {
		t.Fatal(err)
	}
	if open(0) != syscall.EACCES || open(fop.OWronly) != 0 {
		t.Error("chmod was not noticed")
	}
	a := ACL{{UserObj, 6, NoID}, {User, 4, 1002}, {GroupObj, 0, NoID}, {Mask, 4, NoID}, {Other, 2, NoID}}
	d.objects[file].Stat.Mode = fop.ModeRegular | 0o642
	if _, err := h.Do(t.Context(), &fop.Setxattr{Header: root, GFID: file, Dict: fop.NewDict(fop.Pair{Key: fop.XattrACLAccess, Val: fop.Bytes(a.Append(nil))})}); err != nil {
		t.Fatal(err)
	}
	if open(0) != 0 || open(fop.OWronly) != syscall.EACCES {
		t.Error("setfacl was not noticed")
	}
	// Behind our back, then seen by anybody's lookup.
	d.objects[file].Stat.UID = 1002
	if _, err := h.Do(t.Context(), &fop.Lookup{Header: root, GFID: file}); err != nil {
		t.Fatal(err)
	}
	if open(fop.OWronly) != 0 {
		t.Error("a new owner was not noticed")
	}
	// A user's lookup fills the cache.
	n := d.lookups
	h = newACLs(t, d)
	d.objects[dir].Stat.Mode = fop.ModeDir | 0o755
	if _, err := h.Do(t.Context(), &fop.Lookup{Header: user, Parent: dir, Name: "f"}); err != nil {
		t.Fatal(err)
	}
	open(0)
	if d.lookups != n+2 {
		t.Errorf("%d lookups for a lookup and an open, want 2", d.lookups-n)
	}
}

func BenchmarkPass(b *testing.B) {
	d := newDisk(0o755, 0o644, nil)
	reply := &fop.OpenReply{}
	h := newACLs(b, fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		if _, ok := req.(*fop.Lookup); ok {
			return d.Do(ctx, req)
		}
		return reply, nil
	}))
	for _, c := range []struct {
		name string
		uid  uint32
	}{{"root", 0}, {"user", 1002}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			req := &fop.Open{Header: fop.Header{Cred: fop.Cred{UID: c.uid, PID: 7}}, GFID: file}
			for b.Loop() {
				if _, err := h.Do(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
