package distribute

import (
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		st   fop.Statfs
		want usage
	}{
		{fop.Statfs{}, usage{inodes: 100}},
		{fop.Statfs{Bsize: 4096, Frsize: 4096, Blocks: 25600, Bfree: 3000, Bavail: 2560, Files: 1000, Favail: 50},
			usage{percent: 10, inodes: 5, space: 2560 * 4096, chunks: 100}},
		{fop.Statfs{Bsize: 4096, Frsize: 4096, Blocks: 25601, Bavail: 25601}, usage{percent: 100, inodes: 100, space: 25601 * 4096, chunks: 101}},
		{fop.Statfs{Bsize: 1 << 21, Frsize: 1 << 21, Blocks: 10, Bavail: 5}, usage{percent: 50, inodes: 100, space: 10 << 20}},
	} {
		if got := *usageOf(&c.st); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.st, got, c.want)
		}
	}
}

// TestChoose: where the data of a new file goes. The hashed subvolume is 0.
func TestChoose(t *testing.T) {
	const gb = 1 << 30
	for _, c := range []struct {
		name string
		o    xlator.Options
		u    [4]*usage
		err  map[int]syscall.Errno
		want int
	}{
		{"nothing is known", nil, [4]*usage{}, nil, 0},
		{"room at its place", nil, [4]*usage{{percent: 10, inodes: 5}, {percent: 90, inodes: 90}}, nil, 0},
		{"full", nil, [4]*usage{{percent: 9.9, inodes: 90}, {percent: 20, inodes: 50}, {percent: 30, inodes: 50}, {percent: 25, inodes: 50}}, nil, 2},
		{"no inodes", nil, [4]*usage{{percent: 50, inodes: 4}, {percent: 20, inodes: 50}}, nil, 1},
		{"better by inodes alone", nil, [4]*usage{{percent: 1}, {percent: 80, inodes: 50}, {percent: 20, inodes: 60}}, nil, 2},
		{"at the minimum is not above it", nil, [4]*usage{{percent: 1}, {percent: 10, inodes: 50}, {percent: 11, inodes: 50}}, nil, 2},
		{"all full: most room", nil, [4]*usage{{percent: 1, inodes: 50}, {percent: 3, inodes: 50}, {percent: 2, inodes: 50}}, nil, 1},
		{"all full: not without inodes", nil, [4]*usage{{percent: 1, inodes: 50}, {percent: 3}, {percent: 2, inodes: 1}}, nil, 2},
		{"the roomier is down", nil, [4]*usage{{percent: 1}, {percent: 90, inodes: 50}, {percent: 20, inodes: 50}}, map[int]syscall.Errno{1: syscall.ENOTCONN}, 2},
		{"the roomier leaves", xlator.Options{"decommissioned-bricks": "v-client-1"},
			[4]*usage{{percent: 1}, {percent: 90, inodes: 50}, {percent: 20, inodes: 50}}, nil, 2},
		{"bytes", xlator.Options{"min-free-disk": "2GB"},
			[4]*usage{{percent: 50, inodes: 50, space: gb}, {percent: 90, inodes: 50, space: 3 * gb}, {percent: 1, inodes: 50, space: 9 * gb}}, nil, 2},
		{"nobody else", nil, [4]*usage{{percent: 1, inodes: 1}}, nil, 0},
	} {
		d := bare(t, 4, c.o)
		l := newLayout(d.subs)
		for i, s := range d.subs {
			s.usage.Store(c.u[i])
			l.entries[i].err = c.err[i]
		}
		if got := d.place4new(l, d.subs[0]); got != d.subs[c.want] {
			t.Errorf("%s: %v, want %d", c.name, got, c.want)
		}
	}
}

// FuzzScan: whatever bricks answer, a lookup of a directory comes to an end.
func FuzzScan(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0}, whole.bytes(), "v-client-1\x00", uint8(0), uint32(fop.ModeDir))
	f.Add([]byte{255}, []byte("x"), "v-client-9", uint8(1), uint32(linktoMode))
	d := bare(f, 3, nil)
	errs := []error{nil, syscall.ENOENT, syscall.ENOTCONN, syscall.EIO}
	f.Fuzz(func(t *testing.T, mds, dht []byte, linkto string, e uint8, mode uint32) {
		x := fop.NewDict(
			fop.Pair{Key: keyMDS, Val: fop.Bytes(mds)},
			fop.Pair{Key: fop.XattrDHT, Val: fop.Bytes(dht)},
			fop.Pair{Key: fop.XattrLinkto, Val: fop.Raw(fop.TypePtr, []byte(linkto))},
			fop.Pair{Key: keyCommitHash, Val: fop.Bytes(dht)},
			fop.Pair{Key: "trusted.glusterfs.quota.size", Val: fop.Bytes(mds)},
			fop.Pair{Key: "trusted.glusterfs.a.stime", Val: fop.Bytes(dht)})
		answers := make([]answer, 3)
		for i := range answers {
			st := fop.Iatt{GFID: fop.GFID{byte(mode >> i & 1)}, Flags: fop.IattAll, Mode: mode}
			answers[i] = answer{rep: &fop.LookupReply{ReplyHeader: fop.ReplyHeader{XData: x}, Stat: st}, err: errs[e>>(2*i)&3]}
			if answers[i].err != nil && e&64 != 0 {
				answers[i].rep = nil
			}
			isLinkto(&st, x)
		}
		d.linktoTarget(x)
		d.learnCommit(answers)
		sc := d.scanDir(answers, 0, fop.GFID{})
		if sc.dirs > 0 {
			found := d.foundDir(entryName{}, sc)
			for _, p := range found.reply.XData.Pairs() {
				if concealed(p.Key) {
					t.Errorf("%s is shown", p.Key)
				}
			}
		}
		if sc.mds != nil && len(mds) != 4 {
			t.Error("an mds by a value that is none")
		}
	})
}
