//go:build linux

package posix

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// TestTogether has several clients do everything to the same few names at once
// and then looks whether every name can still be reached by GFID.
func TestTogether(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	dirs := []fop.GFID{fop.RootGFID, r.mkdir(fop.RootGFID, "a"), r.mkdir(fop.RootGFID, "b")}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 300 {
				h := fop.Header{XData: fop.NewDict(gfidReq(fop.NewGFID())), Time: fop.Stamp{Flags: newFlags, Sec: int64(1000 + i)}}
				p, q := dirs[rnd.IntN(3)], dirs[rnd.IntN(3)]
				n, m := fmt.Sprintf("f%d", rnd.IntN(4)), fmt.Sprintf("f%d", rnd.IntN(4))
				switch rnd.IntN(10) {
				case 0, 1, 2:
					fd := &fop.Fd{}
					if _, err := r.Do(ctx, &fop.Create{Header: h, Parent: p, Name: n, Mode: 0o600, Flags: fop.ORdwr, Fd: fd}); err == nil {
						r.Do(ctx, &fop.Write{Header: h, Fd: fd, Data: []byte("data")})
						r.Do(ctx, &fop.Read{Header: h, Fd: fd, Size: 10})
						r.Do(ctx, &fop.Release{Fd: fd})
					}
				case 3:
					r.Do(ctx, &fop.Unlink{Header: h, Parent: p, Name: n})
				case 4, 5:
					r.Do(ctx, &fop.Rename{Header: h, OldParent: p, OldName: n, NewParent: q, NewName: m})
				case 6:
					if l, err := fop.Call(ctx, r.Brick, &fop.Lookup{Header: h, Parent: p, Name: n}); err == nil {
						r.Do(ctx, &fop.Link{Header: h, GFID: l.Stat.GFID, Parent: q, Name: m})
						r.Do(ctx, &fop.Read{Header: h, GFID: l.Stat.GFID, Size: 10})
					}
				case 7:
					r.Do(ctx, &fop.Readdirp{Header: h, GFID: p, Size: 4096})
				case 8:
					r.Do(ctx, &fop.Rename{Header: h, OldParent: fop.RootGFID, OldName: "a", NewParent: dirs[2], NewName: "a"})
					r.Do(ctx, &fop.Rename{Header: h, OldParent: dirs[2], OldName: "a", NewParent: fop.RootGFID, NewName: "a"})
				case 9:
					r.Do(ctx, &fop.Stat{Header: h, GFID: p})
				}
			}
		}()
	}
	wg.Wait()
	r.closer.wait()
	if _, held := r.inodes.count(); held != 0 {
		t.Errorf("%d inodes are still held", held)
	}
	for _, d := range dirs {
		must(r, &fop.Stat{GFID: d})
		for _, e := range must(r, &fop.Readdir{GFID: d, Size: 1 << 16}).Entries {
			if dotName(e.Name) {
				continue
			}
			// Without going through lookup, which would heal.
			h, err := r.directory(d)
			ok(t, err)
			g, err := r.gfidOf(brickfs.At(h.fd, e.Name))
			h.put()
			if err != nil {
				t.Errorf("%s has no gfid: %v", e.Name, err)
				continue
			}
			if a := must(r, &fop.Stat{GFID: g}).Stat; !a.IsDir() && a.Nlink < 1 {
				t.Errorf("%s: %+v", e.Name, a)
			}
		}
	}
}

// TestCacheBounds checks that the caches keep to their limits and what is held.
func TestCacheBounds(t *testing.T) {
	var table inodeTable
	table.init(32)
	pinned := table.get(fop.GFID{15: 1})
	for i := range 10000 {
		table.put(table.get(fop.GFID{0: byte(i), 1: byte(i >> 8), 15: byte(i % 7)}))
	}
	if all, held := table.count(); all > 33 || held != 1 {
		t.Errorf("%d inodes, %d held", all, held)
	}
	if again := table.get(fop.GFID{15: 1}); again != pinned {
		t.Error("a held inode was forgotten")
	}
	r := newRig(t)
	r.dirs.init(16)
	first := r.mkdir(fop.RootGFID, "first")
	h, err := r.directory(first)
	ok(t, err)
	for i := range 100 {
		r.mkdir(fop.RootGFID, fmt.Sprint(i))
	}
	if n := r.dirs.len(); n > 16 {
		t.Errorf("%d directories are open", n)
	}
	if _, err := r.iattDir(h); err != nil { // its descriptor must still be good
		t.Error(err)
	}
	h.put()
}
