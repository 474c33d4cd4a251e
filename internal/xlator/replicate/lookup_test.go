package replicate

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
)

// TestLookupKeys compares with what a GlusterFS 10.3 client was seen to send.
func TestLookupKeys(t *testing.T) {
	c := overMemory(t, 2)
	c.plant("f", "12345")
	c.forget()
	req := &fop.Lookup{Header: c.head(
		fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())},
		fop.Pair{Key: fop.XattrMdata, Val: fop.Int(1)},
		fop.Pair{Key: fop.KeyListXattr, Val: fop.Int(1)},
	), Parent: fop.RootGFID, Name: "f"}
	if _, err := fop.Call(t.Context(), c, req); err != nil {
		t.Fatal(err)
	}
	want := fop.NewDict(
		fop.Pair{Key: "trusted.afr.v-client-0", Val: fop.Uint(12)},
		fop.Pair{Key: "trusted.afr.v-client-1", Val: fop.Uint(12)},
		fop.Pair{Key: "trusted.afr.dirty", Val: fop.Uint(12)},
		fop.Pair{Key: "list-xattr", Val: fop.Int(1)},
		fop.Pair{Key: "link-count", Val: fop.Str("glusterfs.xattrop_index_count")},
		fop.Pair{Key: "glusterfs.inodelk-count", Val: fop.Uint(0)},
		fop.Pair{Key: "glusterfs.entrylk-count", Val: fop.Uint(0)},
		fop.Pair{Key: "glusterfs.parent-entrylk", Val: fop.Uint(0)},
		fop.Pair{Key: "trusted.glusterfs.mdata", Val: fop.Int(1)},
	)
	for i, p := range c.taps {
		seen := p.take()
		if len(seen) != 1 || !seen[0].Head().XData.Equal(want) {
			t.Errorf("brick %d: %d requests, %v", i, len(seen), seen[0].Head().XData.Pairs())
		}
	}
	if req.XData.Len() != 3 {
		t.Error("the caller's request changed")
	}
}

func TestLookupPrivate(t *testing.T) {
	id := "6e44bf75-b7f1-4444-9262-a8190643ffae"
	c := overMemory(t, 2, "volume-id", id)
	anon := ".glusterfs-anonymous-inode-" + id
	for _, k := range []struct {
		name string
		pid  int32
		want syscall.Errno
	}{
		{".landfill", 1, syscall.EPERM}, {".landfill", fop.PIDSelfHeal, syscall.EPERM},
		{anon, 1, syscall.EPERM}, {anon, fop.PIDSelfHeal, syscall.ENOENT}, {anon, fop.PIDGlfsHeal, syscall.ENOENT}, {anon, fop.PIDGsyncd, syscall.ENOENT},
		{".glusterfs-anonymous-inode-x", fop.PIDSelfHeal, syscall.EPERM}, {".glusterfs-anonymous-inode", 1, syscall.EPERM},
		{".hidden", 1, syscall.ENOENT}, {"landfill", 1, syscall.ENOENT},
	} {
		req := &fop.Lookup{Parent: fop.RootGFID, Name: k.name}
		req.Cred.PID = k.pid
		if _, err := fop.Call(t.Context(), c, req); !errors.Is(err, k.want) {
			t.Errorf("%s by %d: %v", k.name, k.pid, err)
		}
		refused := k.want == syscall.EPERM
		for _, q := range []fop.Request{
			&fop.Create{Parent: fop.RootGFID, Name: k.name}, &fop.Mkdir{Parent: fop.RootGFID, Name: k.name}, &fop.Unlink{Parent: fop.RootGFID, Name: k.name},
			&fop.Rename{OldParent: fop.RootGFID, OldName: k.name, NewParent: fop.RootGFID, NewName: "x"},
			&fop.Rename{OldParent: fop.RootGFID, OldName: "x", NewParent: fop.RootGFID, NewName: k.name},
		} {
			q.Head().Cred.PID = k.pid
			if err := c.refusePrivate(q); errors.Is(err, syscall.EPERM) != refused {
				t.Errorf("%v %s by %d: %v", q.Op(), k.name, k.pid, err)
			}
		}
	}
}

// TestLookup scripts what the bricks answer and checks what becomes of it.
func TestLookup(t *testing.T) {
	g1, g2 := fop.GFID{1, 15: 1}, fop.GFID{2, 15: 2}
	file := func(r *replicate, g fop.GFID, size uint64, keys ...any) answer {
		return r.says(fop.Iatt{GFID: g, Flags: fop.IattAll, Mode: fop.ModeRegular, Size: size}, append([]any{"link-count", 0}, keys...)...)
	}
	no := func(e syscall.Errno, keys ...any) answer {
		a := (&replicate{}).says(fop.Iatt{}, keys...)
		a.err = e
		return a
	}
	type f = func(*replicate) answer
	ok := func(g fop.GFID, size uint64, keys ...any) f {
		return func(r *replicate) answer { return file(r, g, size, keys...) }
	}
	bad := func(e syscall.Errno, keys ...any) f { return func(*replicate) answer { return no(e, keys...) } }
	const locked = fop.KeyParentEntrylk
	for _, c := range []struct {
		name    string
		opts    string
		answers []f
		parent  *maps // what is known of the directory
		err     syscall.Errno
		size    uint64
	}{
		{"all the same", "", []f{ok(g1, 7), ok(g1, 7), ok(g1, 7)}, nil, 0, 7},
		{"absent", "", []f{bad(enoent), bad(enoent), bad(enoent)}, nil, enoent, 0},
		{"absent or unreachable", "", []f{bad(enoent), bad(errTest), bad(errTest)}, nil, enoent, 0},
		{"unreachable", "", []f{bad(errTest), bad(errTest), bad(errTest)}, nil, errTest, 0},
		{"absent on one", "", []f{bad(enoent), ok(g1, 7), ok(g1, 7)}, nil, 0, 7},
		{"absent on most", "", []f{bad(enoent), bad(enoent), ok(g1, 7)}, nil, errTest, 0},
		{"being made", "", []f{bad(enoent), bad(enoent), ok(g1, 7, locked, 1)}, nil, enoent, 0},
		{"being made, no quorum asked", "quorum-type none", []f{bad(enoent), bad(enoent), ok(g1, 7, locked, 1)}, nil, 0, 7},
		{"no gfid on one", "", []f{bad(enodata), bad(enoent), bad(estale)}, nil, enodata, 0},
		{"gfid changed", "", []f{ok(g1, 7), ok(g1, 7), bad(estale, "gfid-changed", 1)}, nil, estale, 0},
		{"gfids differ", "", []f{ok(g1, 7), ok(g2, 7), ok(g1, 7)}, nil, eio, 0},
		{"gfids differ while locked", "", []f{ok(g1, 7, locked, 1), ok(g2, 8), ok(g1, 7)}, nil, errTest, 0},
		{"the same without quorum", "quorum-type none", []f{ok(g1, 7, locked, 1), ok(g2, 8), ok(g1, 7)}, nil, 0, 7},
		{"gfids differ where the directory is bad", "quorum-type none", []f{ok(g2, 8), ok(g1, 7), ok(g1, 7)}, &maps{data: 0b110, meta: 0b110}, 0, 8},
		{"the larger copy", "", []f{ok(g1, 7), ok(g1, 9), ok(g1, 9)}, nil, 0, 9},
		{"blamed", "", []f{ok(g1, 9), ok(g1, 7, 0, changelog{1, 0, 0}), ok(g1, 7, 0, changelog{1, 0, 0})}, nil, 0, 7},
		{"split-brain", "", []f{ok(g1, 9, 1, changelog{1, 0, 0}, 2, changelog{1, 0, 0}), ok(g1, 7, 0, changelog{1, 0, 0}), ok(g1, 7)}, nil, errTest, 0},
		{"split-brain, no quorum asked", "quorum-type none", []f{ok(g1, 9, 1, changelog{1, 0, 0}, 2, changelog{1, 0, 0}), ok(g1, 7, 0, changelog{1, 0, 0}), ok(g1, 7)}, nil, 0, 9},
		{"only the arbiter", "arbiter-count 1", []f{ok(g1, 9), bad(errTest), ok(g1, 0, 0, changelog{1, 0, 0})}, nil, errTest, 0},
		{"arbiter is no copy", "arbiter-count 1", []f{bad(errTest), ok(g1, 9), ok(g1, 0)}, nil, 0, 9},
		{"only the arbiter, no quorum asked", "arbiter-count 1 quorum-type none", []f{bad(errTest), bad(errTest), ok(g1, 0)}, nil, errTest, 0},
		{"forced child", "read-subvolume-index 2", []f{ok(g1, 7), ok(g1, 7), ok(g1, 7)}, nil, 0, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := overMemory(t, 3, strings.Fields(c.opts)...)
			for i, p := range cl.taps {
				a := c.answers[i](cl.replicate)
				p.intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
					if q, ok := req.(*fop.Lookup); !ok || q.Name == "" { // neither the name can be locked nor its directory asked for
						return nil, syscall.ENOTCONN, true
					}
					return a.reply, a.err, true
				})
			}
			if c.parent != nil {
				o := cl.acquire(fop.RootGFID)
				o.V.learn(*c.parent, cl.view().gen)
				o.Release()
			}
			r, err := cl.lookup("f")
			if !errors.Is(err, c.err) && fop.Errno(err) != c.err || (err == nil) != (c.err == 0) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err == nil && r.Stat.Size != c.size {
				t.Errorf("size %d, want %d", r.Stat.Size, c.size)
			}
		})
	}
}

// TestLookupContent: contents that came along are good only if all copies are.
func TestLookupContent(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	get := func() (*fop.LookupReply, error) {
		return fop.Call(t.Context(), c, &fop.Lookup{Header: c.head(fop.Pair{Key: fop.KeyContent, Val: fop.Uint(100)}), Parent: fop.RootGFID, Name: "f"})
	}
	r, err := get()
	if err != nil || string(r.XData.Bytes(fop.KeyContent)) != "12345" {
		t.Fatalf("%v", err)
	}
	c.blame(0, 1, g, changelog{1, 0, 0})
	if r, err = get(); err != nil || r.XData.Has(fop.KeyContent) {
		t.Errorf("%v", err)
	}
}

// TestRoundTripsDegraded: what a lookup has found out about a copy that lacks
// something need not be found out again.
func TestRoundTripsDegraded(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	c.down(2)
	for i := range 2 {
		c.blame(i, 2, g, changelog{1, 1, 0})
	}
	c.mustLookup("f")
	c.forget()
	if _, err := c.read(g); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.ops(), ""); got != "READ" {
		t.Errorf("%q", got)
	}
}

// TestRoundTrips: what is known to be well costs one message to one brick.
func TestRoundTrips(t *testing.T) {
	c := overMemory(t, 3)
	g := c.plant("f", "12345")
	c.forget()
	stat := &fop.Stat{Header: c.head(), GFID: g}
	if _, err := fop.Call(t.Context(), c, stat); err != nil {
		t.Fatal(err)
	}
	child := int(superFastHash(&g) % 3)
	want := []string{"LOOKUP", "LOOKUP", "LOOKUP"}
	want[child] += " STAT"
	if diff := cmp.Diff(want, c.ops()); diff != "" {
		t.Errorf("of an object nobody looked up (-want +got):\n%s", diff)
	}
	want = []string{"", "", ""}
	want[child] = "STAT READ ACCESS GETXATTR"
	for _, req := range []fop.Request{stat, &fop.Read{Header: c.head(), GFID: g, Size: 10}, &fop.Access{Header: c.head(), GFID: g, Mask: 4},
		&fop.Getxattr{Header: c.head(), GFID: g, Name: "user.none"}} {
		if _, err := c.Do(t.Context(), req); err != nil && !errors.Is(err, enodata) {
			t.Errorf("%v: %v", req.Op(), err)
		}
	}
	if diff := cmp.Diff(want, c.ops()); diff != "" {
		t.Errorf("of a known object (-want +got):\n%s", diff)
	}
	c.mustLookup("f")
	if diff := cmp.Diff([]string{"LOOKUP", "LOOKUP", "LOOKUP"}, c.ops()); diff != "" {
		t.Errorf("lookup (-want +got):\n%s", diff)
	}
	// A child that goes makes everything be looked at again, once.
	c.down((child + 1) % 3)
	for range 2 {
		if _, err := fop.Call(t.Context(), c, stat); err != nil {
			t.Fatal(err)
		}
	}
	want = []string{"LOOKUP", "LOOKUP", "LOOKUP"}
	want[child] = "LOOKUP STAT STAT"
	want[(child+1)%3] = ""
	if diff := cmp.Diff(want, c.ops()); diff != "" {
		t.Errorf("after a child went (-want +got):\n%s", diff)
	}
}

func TestRootOfNewBrick(t *testing.T) {
	c := overMemory(t, 3)
	c.down(0)
	c.down(1)
	req := &fop.Lookup{Header: c.head(), GFID: fop.RootGFID}
	if _, err := fop.Call(t.Context(), c, req); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("without quorum: %v", err)
	}
	req.Cred.PID = fop.PIDAddReplica
	if _, err := fop.Call(t.Context(), c, req); err != nil {
		t.Errorf("a mount that adds a copy: %v", err)
	}
}
