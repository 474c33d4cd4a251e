package posix

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// TestLinktoComesWhole: a linkto that comes and goes is never shown without its
// xattr, by which clients tell it from a file. A client of ours took one for the
// file once that had just moved away, and lost what it wrote there.
func TestLinktoComesWhole(t *testing.T) {
	r := newRig(t)
	g := fop.NewGFID()
	ask := fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.XattrLinkto, Val: fop.Uint(256)})}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	seen, bare := make([]int, 3), make([]int, 3)
	for i, q := range []fop.Request{
		&fop.Lookup{Header: ask, GFID: g},
		&fop.Lookup{Header: ask, Parent: fop.RootGFID, Name: "l"},
		&fop.Readdirp{Header: ask, GFID: fop.RootGFID, Size: 4096},
	} {
		look := func(st *fop.Iatt, x *fop.Dict) {
			if st.Flags != 0 && st.GFID == g {
				seen[i]++
				if !x.Has(fop.XattrLinkto) {
					bare[i]++
				}
			}
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				rep, err := r.Brick.Do(context.Background(), q)
				if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
					t.Errorf("%v: %v", q.Op(), err)
					return
				}
				switch rep := rep.(type) {
				case *fop.LookupReply:
					if err == nil {
						look(&rep.Stat, rep.XData)
					}
				case *fop.ReaddirReply:
					for k := range rep.Entries {
						look(&rep.Entries[k].Stat, rep.Entries[k].XData)
					}
				}
			}
		})
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		x := fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)}, fop.Pair{Key: fop.KeyInternalFop, Val: fop.Str("yes")},
			fop.Pair{Key: fop.XattrLinkto, Val: fop.Str("s1")})
		must(r, &fop.Mknod{Header: fop.Header{XData: x}, Parent: fop.RootGFID, Name: "l", Mode: fop.ModeRegular | fop.ModeSticky})
		must(r, &fop.Unlink{Parent: fop.RootGFID, Name: "l"})
	}
	close(stop)
	wg.Wait()
	for i, what := range []string{"lookup by gfid", "lookup by name", "listing"} {
		if seen[i] == 0 || bare[i] > 0 {
			t.Errorf("%s: seen %d times, %d times without its xattr", what, seen[i], bare[i])
		}
	}
}
