//go:build linux

package index

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

const (
	keyPending = "trusted.afr.v-client-1"
	keyDirty   = "trusted.afr.dirty"
)

func newIndex(t testing.TB, base string, child fop.Handler) *Index {
	t.Helper()
	h, err := New(xlator.Config{
		Name: "v-index", Children: []xlator.Child{{Name: "below", Handler: child}},
		Options: xlator.Options{"index-base": base, "xattrop-pending-watchlist": "trusted.afr.v-", "xattrop-dirty-watchlist": keyDirty},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*Index)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler {
		return newIndex(t, t.TempDir()+"/indices", mem.NewFS(nil))
	}, conformance.Options{Locks: true, Devices: true})
}

// names lists a directory of the indices, without base files.
func names(t *testing.T, base, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(filepath.Join(base, dir))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range es {
		if !strings.HasPrefix(e.Name(), strings.Split(dir, "/")[0]+"-") {
			out = append(out, e.Name())
		}
	}
	return out
}

func counters(vals ...string) *fop.Dict {
	d := fop.NewDict()
	for i, key := range []string{keyDirty, keyPending} {
		if i < len(vals) && vals[i] != "" {
			b, _ := hex.DecodeString(vals[i])
			d.Set(key, fop.Bytes(b))
		}
	}
	return d
}

const (
	zero  = "000000000000000000000000"
	one   = "000000010000000000000000"
	minus = "ffffffff0000000000000000"
)

func do[R fop.Reply](t *testing.T, h fop.Handler, req fop.RequestFor[R]) R {
	t.Helper()
	r, err := fop.Call(t.Context(), h, req)
	if err != nil {
		t.Fatalf("%v: %v", req.Op(), err)
	}
	return r
}

func TestCounters(t *testing.T) {
	base := t.TempDir() + "/indices"
	var seen []string // what the lists held when the child got the xattrop
	fs := mem.NewFS(nil)
	ix := newIndex(t, base, fop.HandlerFunc(func(ctx context.Context, req fop.Request) (fop.Reply, error) {
		if req.Op() == fop.OpXattrop {
			seen = nil
			for _, dir := range dirNames[:2] {
				if len(names(t, base, dir)) > 0 {
					seen = append(seen, dir)
				}
			}
		}
		return fs.Do(ctx, req)
	}))
	root := fop.RootGFID.String()
	for i, c := range []struct {
		d               *fop.Dict
		during          []string
		pending, dirty  bool
		create, deleted string
		purge           bool
		changes         []string
	}{
		{counters(zero, zero), nil, false, false, "", "", false, []string{}},
		{counters(one, zero), []string{"dirty"}, false, true, "f", "", false, []string{"f"}},
		{counters(zero, one), []string{"xattrop", "dirty"}, true, true, "g", "", false, []string{"f", "g"}},
		{counters(minus), []string{"xattrop", "dirty"}, true, false, "", "f", false, []string{"g"}},
		{counters("", zero), []string{"xattrop"}, true, false, "", "", true, []string{"g"}}, // not purged while pending
		{counters("", minus), []string{"xattrop"}, false, false, "", "", true, []string{}},
	} {
		req := &fop.Xattrop{GFID: fop.RootGFID, Kind: fop.XattropAdd, Dict: c.d}
		req.XData = fop.NewDict()
		if c.create != "" {
			req.XData.Set(keyEntryCreate, fop.Str(c.create))
		}
		if c.deleted != "" {
			req.XData.Set(keyEntryDelete, fop.Str(c.deleted))
		}
		if c.purge {
			req.XData.Set(keyPurge, fop.Int(1))
		}
		do(t, ix, req)
		if !slices.Equal(seen, c.during) {
			t.Errorf("step %d: during the fop %v, want %v", i, seen, c.during)
		}
		if got := len(names(t, base, "xattrop")) == 1; got != c.pending {
			t.Errorf("step %d: pending %v", i, got)
		}
		if got := len(names(t, base, "dirty")) == 1; got != c.dirty {
			t.Errorf("step %d: dirty %v", i, got)
		}
		if got := names(t, base, "entry-changes/"+root); !slices.Equal(got, c.changes) {
			t.Errorf("step %d: changes %v, want %v", i, got, c.changes)
		}
		st := do(t, ix, &fop.Lookup{GFID: fop.RootGFID, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: keyLinkCount, Val: fop.Str(keyIndexCount)})}})
		if v, ok := st.XData.Get(keyLinkCount); !ok || (st.XData.Int(keyLinkCount) == 1) != c.pending {
			t.Errorf("step %d: link-count %v", i, v)
		}
	}
	// The base files stay: one inode of mode 0, linked to by nothing else.
	fi, err := os.Stat(filepath.Join(base, "xattrop", "xattrop-"+ix.store.uuid[pending]))
	if err != nil || fi.Mode().Perm() != 0 || fi.Size() != 0 || fi.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("base file: %v %v", fi, err)
	}
	// A name with a slash fails the fop.
	bad := &fop.Xattrop{GFID: fop.RootGFID, Dict: counters(one), Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: keyEntryCreate, Val: fop.Str("../x")})}}
	if _, err := ix.Do(t.Context(), bad); fop.Errno(err) != syscall.EINVAL {
		t.Errorf("name with a slash: %v", err)
	}
	// Also for an object that does not exist there is a link-count.
	reply, err := ix.Do(t.Context(), &fop.Lookup{Parent: fop.RootGFID, Name: "no", Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: keyLinkCount, Val: fop.Str(keyIndexCount)})}})
	if fop.Errno(err) != syscall.ENOENT || reply == nil || !reply.ReplyHead().XData.Has(keyLinkCount) {
		t.Errorf("ENOENT without link-count: %v %v", reply, err)
	}
}

func TestVirtualDirectories(t *testing.T) {
	base := t.TempDir() + "/indices"
	old := newIndex(t, base, mem.NewFS(nil))
	old.store.add(pending, fop.GFID{9})
	old.store.remove(pending, fop.GFID{9}) // leaves a base file behind
	fs := mem.NewFS(nil)
	ix := newIndex(t, base, fs)
	made := do(t, fs, &fop.Mkdir{Parent: fop.RootGFID, Name: "d", Mode: 0o755, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.GFID{1, 15: 2})})}})
	want := []string{}
	for i := range 300 {
		g := fop.GFID{1, 14: byte(i >> 8), 15: byte(i)}
		want = append(want, g.String())
		if err := ix.store.add(pending, g); err != nil {
			t.Fatal(err)
		}
	}
	if err := ix.store.addName(made.Stat.GFID, "x"); err != nil {
		t.Fatal(err)
	}
	gfid := func(key string) fop.GFID {
		r := do(t, ix, &fop.Getxattr{GFID: fop.RootGFID, Name: key})
		g, ok := valueGFID(r.Dict, key)
		if !ok {
			t.Fatalf("%s: %v", key, r.Dict.Pairs())
		}
		return g
	}
	top := gfid("glusterfs.xattrop_index_gfid")
	st := do(t, ix, &fop.Lookup{GFID: top, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: keyTypeReq, Val: fop.Int(1)})}})
	if !st.Stat.IsDir() || st.Stat.GFID != top || st.XData.Int(keyTypeRsp) != 1 {
		t.Errorf("lookup: %+v %v", st.Stat, st.XData.Pairs())
	}
	fd := &fop.Fd{GFID: top, Dir: true}
	do(t, ix, &fop.Opendir{GFID: top, Fd: fd})
	var got []string
	types := map[string]uint32{}
	off := uint64(0)
	for eof := false; !eof; {
		r := do(t, ix, &fop.Readdir{GFID: top, Fd: fd, Offset: off, Size: 4096, Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: keyGFIDType, Val: fop.Int(1)})}})
		if len(r.Entries) > 4096/(entryCost+2) {
			t.Fatalf("%d entries in 4096 bytes", len(r.Entries))
		}
		for _, e := range r.Entries {
			off = e.Off
			if e.Name != "." && e.Name != ".." {
				got = append(got, e.Name)
				types[e.Name] = e.Type
			}
		}
		eof = r.EOF
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	if types[made.Stat.GFID.String()] != syscall.DT_DIR || types[want[9]] != syscall.DT_UNKNOWN {
		t.Errorf("types %v", types)
	}
	if _, err := os.Stat(filepath.Join(base, "xattrop", "xattrop-"+old.store.uuid[pending])); !os.IsNotExist(err) {
		t.Errorf("base file of an earlier process is still there: %v", err)
	}
	if n := do(t, ix, &fop.Getxattr{GFID: fop.RootGFID, Name: keyIndexCount}).Dict.Int(keyIndexCount); n != 300 {
		t.Errorf("count %d", n)
	}
	do(t, ix, &fop.Unlink{Parent: top, Name: want[0]})
	if _, err := ix.Do(t.Context(), &fop.Unlink{Parent: top, Name: want[0]}); fop.Errno(err) != syscall.ENOENT {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := ix.Do(t.Context(), &fop.Unlink{Parent: top, Name: "../x"}); fop.Errno(err) != syscall.EINVAL {
		t.Errorf("strange name: %v", err)
	}

	ec := gfid("glusterfs.xattrop_entry_changes_gfid")
	sub := do(t, ix, &fop.Lookup{Parent: ec, Name: made.Stat.GFID.String()}).Stat.GFID
	if _, err := ix.Do(t.Context(), &fop.Lookup{Parent: ec, Name: fop.GFID{7}.String()}); fop.Errno(err) != syscall.ENOENT {
		t.Errorf("no such directory: %v", err)
	}
	r := do(t, ix, &fop.Readdir{GFID: sub, Size: 4096})
	if !slices.ContainsFunc(r.Entries, func(e fop.Dirent) bool { return e.Name == "x" }) || !r.EOF {
		t.Errorf("changed names: %v", r.Entries)
	}
	do(t, ix, &fop.Unlink{Parent: sub, Name: "x"})
	if err := ix.store.addName(made.Stat.GFID, "y"); err != nil {
		t.Fatal(err)
	}
	if _, err := ix.Do(t.Context(), &fop.Rmdir{Parent: ec, Name: made.Stat.GFID.String()}); fop.Errno(err) != syscall.ENOTEMPTY {
		t.Errorf("rmdir of a full one: %v", err)
	}
	do(t, ix, &fop.Rmdir{Parent: ec, Name: made.Stat.GFID.String(), Flags: 1})
	if got := names(t, base, "entry-changes"); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

func valueGFID(d *fop.Dict, key string) (fop.GFID, bool) {
	v, _ := d.Get(key)
	return v.GFID()
}

// TestParallel: adds and removes of many objects at once end where they should.
func TestParallel(t *testing.T) {
	base := t.TempDir() + "/indices"
	fs := mem.NewFS(nil)
	ix := newIndex(t, base, fs)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, v := range []string{one, minus} {
					if _, err := ix.Do(t.Context(), &fop.Xattrop{GFID: fop.RootGFID, Dict: counters(v, v)}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if p, d := names(t, base, "xattrop"), names(t, base, "dirty"); len(p)+len(d) != 0 || ix.store.anyPending() {
		t.Errorf("left %v %v %v", p, d, ix.store.anyPending())
	}
}

func BenchmarkPass(b *testing.B) {
	reply := &fop.StatReply{}
	ix := newIndex(b, b.TempDir()+"/indices", fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return reply, nil }))
	req := &fop.Stat{GFID: fop.RootGFID}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ix.Do(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
