package iostats

import (
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestProfile(t *testing.T) {
	s := newIOStats(t, mem.NewFS(nil), xlator.Options{"latency-measurement": "on"})
	x := fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.GFID{9})})
	fd := &fop.Fd{GFID: fop.GFID{9}, Flags: fop.ORdwr}
	if _, err := s.Do(t.Context(), &fop.Create{Header: fop.Header{XData: x}, Parent: fop.RootGFID, Name: "f", Mode: 0o644, Flags: fop.ORdwr | fop.OCreate, Fd: fd}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{5, 7, 4096} {
		if _, err := s.Do(t.Context(), &fop.Write{GFID: fop.GFID{9}, Fd: fd, Data: make([]byte, n)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Do(t.Context(), &fop.Release{GFID: fop.GFID{9}, Fd: fd})
	check := func(d *fop.Dict, want map[string]string) {
		t.Helper()
		for k, v := range want {
			if got := d.Text(k); d.Has(k) != (v != "-") || v != "-" && v != "*" && got != v {
				t.Errorf("%s = %q, want %q", k, got, v)
			}
		}
	}
	check(s.Profile(profileAll, true), map[string]string{
		"cumulative": "-1", "-1-total-write": "4108", "-1-total-read": "0", "-1-write-4": "2", "-1-write-4096": "1", "-1-read-4": "-",
		"-1-13-hits": "3", "-1-13-avglatency": "*", "-1-23-hits": "1", "-1-42-hits": "1", // RELEASE is 42 here
		"interval": "0", "0-13-hits": "3", "0-duration": "0",
	})
	check(s.Profile(profileIncremental, false), map[string]string{"cumulative": "-", "interval": "0", "0-13-hits": "3"})
	check(s.Profile(profileIncremental, false), map[string]string{"interval": "1", "1-13-hits": "-"})
	check(s.Profile(profileClear, false), map[string]string{"stats-cleared": "1"})
	check(s.Profile(profileCumulative, false), map[string]string{"cumulative": "-1", "interval": "-", "-1-13-hits": "-", "-1-total-write": "0"})
	seen := map[int]fop.Op{}
	for op := fop.Op(1); op < fop.OpCount; op++ {
		n := number(op)
		if other, ok := seen[n]; ok && op != 49 && other != 49 {
			t.Errorf("%v and %v have number %d", op, other, n)
		}
		seen[n] = op
	}
	if number(fop.OpCopyFileRange) != 58 || number(fop.OpPut) != 55 || number(fop.OpSeek) != 50 {
		t.Error("numbers differ from GlusterFS's")
	}
}
