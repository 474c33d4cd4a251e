package distribute

import (
	"math"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

func TestPhaseOf(t *testing.T) {
	reg := func(mode uint32) *fop.Iatt { return &fop.Iatt{Mode: fop.ModeRegular | mode} }
	for _, c := range []struct {
		name      string
		pre, post *fop.Iatt
		errno     syscall.Errno
		want      phase
	}{
		{"plain", reg(0o644), reg(0o644), 0, settled},
		{"no attributes", nil, nil, 0, settled},
		{"phase 1", reg(0o3644), reg(0o3644), 0, copying},
		{"read in phase 1", nil, reg(0o3644), 0, copying},
		{"the bits went away", reg(0o3644), reg(0o600), 0, copying},
		{"it turned during the fop", reg(0o3644), reg(0o1000), 0, moved},
		{"phase 2", reg(0o1000), reg(0o1000), 0, moved},
		{"sticky with more", nil, reg(0o1644), 0, settled},
		{"setgid only", nil, reg(0o2644), 0, settled},
		{"with setuid", nil, reg(0o7755), 0, copying},
		{"sticky directory", nil, &fop.Iatt{Mode: fop.ModeDir | 0o1000}, 0, settled},
		{"directory with both bits", nil, &fop.Iatt{Mode: fop.ModeDir | 0o3777}, 0, settled},
		{"fifo with both bits", nil, &fop.Iatt{Mode: fop.ModeFIFO | 0o3644}, 0, settled},
		{"gone", nil, nil, syscall.ENOENT, moved},
		{"unknown", nil, nil, syscall.ESTALE, moved},
		{"lock migration", nil, nil, eremote, moved},
		{"not open", nil, nil, syscall.EBADF, unopened},
		{"not open in that state", nil, nil, ebadfd, unopened},
		{"down", reg(0o3644), reg(0o3644), syscall.ENOTCONN, settled},
		{"full", nil, nil, syscall.ENOSPC, settled},
	} {
		if got := phaseOf(c.pre, c.post, c.errno); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	// Every fop that changes contents or xattrs of a file is among doubled.
	for op, want := range map[fop.Op]bool{fop.OpWrite: true, fop.OpFtruncate: true, fop.OpZerofill: true, fop.OpFsync: true, fop.OpFxattrop: true,
		fop.OpRead: false, fop.OpSetattr: false, fop.OpFsetattr: false, fop.OpStat: false, fop.OpGetxattr: false, fop.OpFlush: false} {
		if doubled(op) != want {
			t.Errorf("doubled(%v) = %v", op, !want)
		}
	}
}

func TestAttributesOfReplies(t *testing.T) {
	st := fop.Iatt{Mode: fop.ModeRegular | 0o3644}
	x := fop.NewDict(fop.Pair{Key: fop.KeyIattInXattr, Val: fop.IattValue(st)})
	for _, r := range []fop.Reply{
		&fop.ReadReply{Stat: st}, &fop.WriteReply{Post: st}, &fop.AttrReply{Post: st}, &fop.StatReply{Stat: st}, &fop.EntryReply{Stat: st},
		&fop.CommonReply{ReplyHeader: fop.ReplyHeader{XData: x}}, &fop.XattrReply{ReplyHeader: fop.ReplyHeader{XData: x}},
		&fop.XattrReply{ReplyHeader: fop.ReplyHeader{XData: fop.NewDict(fop.Pair{Key: keyModeInXattr, Val: fop.Int(int64(st.Mode))})}},
	} {
		if pre, post := attributes(r); phaseOf(pre, post, 0) != copying {
			t.Errorf("%T does not tell", r)
		}
		tidy(r)
		if _, post := attributes(r); post.Mode&phase1 == phase1 {
			switch r.(type) {
			case *fop.CommonReply, *fop.XattrReply: // nobody but us sees these
			default:
				t.Errorf("%T shows the bits of a migration", r)
			}
		}
	}
	if pre, post := attributes(&fop.LkReply{}); pre != nil || post != nil {
		t.Error("a reply without attributes has some")
	}
}

func TestShownBy(t *testing.T) {
	a, b, c := &subvol{name: "a"}, &subvol{name: "b"}, &subvol{name: "c"}
	a.rank.Store(2)
	b.rank.Store(1)
	for _, v := range []struct {
		name             string
		s, hashed, first *subvol
		optimize         bool
		want             bool
	}{
		{"on its hashed one", a, a, b, false, true},
		{"on another one", b, a, b, false, false},
		{"hashed unknown, first", b, nil, b, false, true},
		{"hashed unknown, not first", a, nil, b, false, false},
		{"hashed down, first", b, c, b, false, true},
		{"hashed down, not first", a, c, b, false, false},
		{"optimize, first", b, a, b, true, true},
		{"optimize, hashed", a, a, b, true, false},
	} {
		if got := shownBy(v.s, v.hashed, v.first, v.optimize); got != v.want {
			t.Errorf("%s: %v", v.name, got)
		}
	}
}

func TestStatfsSum(t *testing.T) {
	fs := func(bsize, blocks, free, files uint64) fop.Statfs {
		return fop.Statfs{Bsize: bsize, Frsize: bsize, Blocks: blocks, Bfree: free, Bavail: free, Files: files, Ffree: files / 2, Favail: files / 2, Namemax: 255}
	}
	type part struct {
		fop.Statfs
		quota bool
	}
	for _, c := range []struct {
		name  string
		parts []part
		want  fop.Statfs
	}{
		{"one", []part{{fs(4096, 100, 50, 10), false}}, fs(4096, 100, 50, 10)},
		{"three alike", []part{{fs(4096, 100, 50, 10), false}, {fs(4096, 200, 20, 30), false}, {fs(4096, 1, 1, 2), false}}, fs(4096, 301, 71, 42)},
		{"a larger block later", []part{{fs(1024, 400, 200, 10), false}, {fs(4096, 100, 50, 10), false}}, fs(4096, 200, 100, 20)},
		{"a larger block first", []part{{fs(4096, 100, 50, 10), false}, {fs(1024, 400, 200, 10), false}}, fs(4096, 200, 100, 20)},
		{"quota replaces", []part{{fs(4096, 100, 50, 10), false}, {fs(4096, 10, 5, 1), true}, {fs(4096, 1000, 50, 10), false}}, fs(4096, 10, 5, 1)},
		{"more in use", []part{{fs(4096, 10, 5, 1), true}, {fs(4096, 10, 4, 2), true}, {fs(4096, 10, 6, 3), true}}, fs(4096, 10, 4, 2)},
	} {
		var sum statfsSum
		for _, p := range c.parts {
			sum.add(&p.Statfs, p.quota)
		}
		if sum.all != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, sum.all, c.want)
		}
	}
	var sum statfsSum // whatever a brick says
	for _, v := range []uint64{0, 1, math.MaxUint64} {
		sum.add(&fop.Statfs{Bsize: v, Frsize: v, Blocks: v, Bfree: v}, false)
	}
}

func TestRememberedNames(t *testing.T) {
	d := &distribute{subs: []*subvol{{name: "a"}}}
	d.subs[0].rank.Store(1)
	dir := fop.NewGFID()
	d.sawName(dir, "f", fop.GFID{7}, d.subs[0])
	if k, ok := d.names.get(entryName{dir, "f"}); !ok || k.gfid != (fop.GFID{7}) || k.at != d.subs[0] {
		t.Errorf("%+v, %v", k, ok)
	}
	d.dropName(dir, "f")
	if k, ok := d.names.get(entryName{dir, "f"}); !ok || k.at != nil {
		t.Errorf("dropped: %+v, %v", k, ok)
	}
	d.forgetName(dir, "f")
	if _, ok := d.names.get(entryName{dir, "f"}); ok {
		t.Error("still known")
	}
	d.subs[0].rank.Store(0)
	d.dropName(dir, "f")
	if _, ok := d.names.get(entryName{dir, "f"}); ok {
		t.Error("a name counts as absent that a subvolume that is down may have")
	}
	for i := range 40 * nameShards * nameLimit / 10 {
		d.sawName(fop.GFID{15: byte(i)}, string(rune(i)), fop.GFID{}, d.subs[0])
	}
	total := 0
	for i := range d.names.shards {
		total += len(d.names.shards[i].now) + len(d.names.shards[i].old)
	}
	if total > 2*nameShards*nameLimit {
		t.Errorf("%d names are remembered", total)
	}
}

func TestPin(t *testing.T) {
	d := &distribute{name: "v-dht", subs: []*subvol{{name: "v-client-0"}, {name: "v-client-1"}}}
	for in, want := range map[string]string{
		"f@v-dht:v-client-1": "f v-client-1", "f@v-dht:v-client-9": "f@v-dht:v-client-9 ", "f": "f ", "@v-dht:v-client-1": "@v-dht:v-client-1 ",
		"a@v-dht:x@v-dht:v-client-0": "a@v-dht:x v-client-0", "f@w-dht:v-client-1": "f@w-dht:v-client-1 ",
	} {
		name, s := d.pin(in)
		got := name + " "
		if s != nil {
			got += s.name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
