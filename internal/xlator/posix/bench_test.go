//go:build linux

package posix

import (
	"context"
	"fmt"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

func benchRig(b *testing.B) *rig {
	b.Helper()
	r := newRig(b)
	b.ReportAllocs()
	return r
}

func BenchmarkLookup(b *testing.B) {
	r := benchRig(b)
	d := r.mkdir(fop.RootGFID, "d")
	r.create(d, "f", "x")
	q := &fop.Lookup{Parent: d, Name: "f"}
	for b.Loop() {
		if _, err := r.Do(context.Background(), q); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookupKeys asks for what the real FUSE client asks for.
func BenchmarkLookupKeys(b *testing.B) {
	r := benchRig(b)
	d := r.mkdir(fop.RootGFID, "d")
	r.create(d, "f", "x")
	q := &fop.Lookup{Parent: d, Name: "f", Header: r.head(0, key("trusted.afr.dirty"), key("trusted.afr.vol-client-0"), key(fop.KeyInodelkCount),
		key(fop.KeyListXattr), key(fop.XattrMdata), key(fop.XattrDHT), key(fop.XattrACLAccess), key(fop.XattrACLDefault), key("security.capability"), key("security.ima"))}
	for b.Loop() {
		if _, err := r.Do(context.Background(), q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStat(b *testing.B) {
	r := benchRig(b)
	q := &fop.Stat{GFID: r.create(fop.RootGFID, "f", "x")}
	for b.Loop() {
		if _, err := r.Do(context.Background(), q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateUnlink(b *testing.B) {
	r := benchRig(b)
	d := r.mkdir(fop.RootGFID, "d")
	for b.Loop() {
		fd := &fop.Fd{}
		must(r, &fop.Create{Header: r.head(newFlags, gfidReq(fop.NewGFID())), Parent: d, Name: "f", Mode: 0o644, Flags: fop.ORdwr | fop.OExcl, Fd: fd})
		must(r, &fop.Release{Fd: fd})
		must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "f"})
	}
}

func BenchmarkRead4K(b *testing.B)  { benchIO(b, false) }
func BenchmarkWrite4K(b *testing.B) { benchIO(b, true) }

func benchIO(b *testing.B, write bool) {
	r := benchRig(b)
	g := r.create(fop.RootGFID, "f", "x")
	fd := &fop.Fd{}
	must(r, &fop.Open{GFID: g, Flags: fop.ORdwr, Fd: fd})
	data := make([]byte, 4096)
	must(r, &fop.Write{GFID: g, Fd: fd, Data: data})
	var q fop.Request = &fop.Read{GFID: g, Fd: fd, Size: 4096, Into: data}
	w := &fop.Write{Header: r.head(fop.TimeMtime | fop.TimeCtime), GFID: g, Fd: fd, Data: data}
	if write {
		q = w
	}
	b.SetBytes(4096)
	for b.Loop() {
		w.Time.Sec++
		if _, err := r.Do(context.Background(), q); err != nil {
			b.Fatal(err)
		}
	}
	must(r, &fop.Release{Fd: fd})
}

// BenchmarkReaddirp lists a directory of 1000 files; the figures are per
// directory.
func BenchmarkReaddirp(b *testing.B) {
	r := benchRig(b)
	for i := range 1000 {
		r.create(fop.RootGFID, fmt.Sprint("file", i), "")
	}
	fd := &fop.Fd{Dir: true}
	must(r, &fop.Opendir{GFID: fop.RootGFID, Fd: fd})
	for b.Loop() {
		for off, eof := uint64(0), false; !eof; {
			d := must(r, &fop.Readdirp{GFID: fop.RootGFID, Fd: fd, Offset: off, Size: 128 << 10})
			if eof = d.EOF; len(d.Entries) > 0 {
				off = d.Entries[len(d.Entries)-1].Off
			}
		}
	}
	must(r, &fop.Releasedir{Fd: fd})
}
