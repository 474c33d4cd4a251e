package iostats

import (
	"strconv"

	"github.com/wythefs/wythe/internal/fop"
)

// What Profile is asked for; the numbers are those of the management protocol.
const (
	profileAll         = 1
	profileIncremental = 2
	profileCumulative  = 3
	profileClear       = 4
)

// Profile answers `gluster volume profile … info` in the keys that the
// management daemon of GlusterFS 10.3 expects of a brick: for a period N, -1 for
// the total, N-duration, N-total-read, N-total-write, N-read-SIZE and
// N-write-SIZE per used block size, and per used fop F N-F-hits and the
// latencies in nanoseconds. It implements xlator.Profiler.
func (s *IOStats) Profile(op int64, peek bool) *fop.Dict {
	d := &fop.Dict{}
	if op == profileClear {
		s.Clear()
		return d.Set("stats-cleared", fop.Int(1))
	}
	if op == profileAll || op == profileCumulative {
		d.Set("cumulative", fop.Int(-1))
		s.Snapshot().appendTo(d)
	}
	if op == profileAll || op == profileIncremental {
		t := s.Interval(peek)
		d.Set("interval", fop.Int(int64(t.Number)))
		t.appendTo(d)
	}
	return d
}

func (t *Stats) appendTo(d *fop.Dict) {
	at := strconv.Itoa(t.Number) + "-"
	d.Append(at+"duration", fop.Uint(uint64(t.End.Sub(t.Start).Seconds())))
	d.Append(at+"total-read", fop.Uint(t.ReadBytes))
	d.Append(at+"total-write", fop.Uint(t.WrittenBytes))
	for i := range Blocks {
		size := strconv.FormatUint(1<<i, 10)
		if n := t.ReadBlocks[i]; n > 0 {
			d.Append(at+"read-"+size, fop.Uint(n))
		}
		if n := t.WriteBlocks[i]; n > 0 {
			d.Append(at+"write-"+size, fop.Uint(n))
		}
	}
	for op := range t.Fops {
		f := &t.Fops[op]
		if f.Count == 0 {
			continue
		}
		key := at + strconv.Itoa(number(fop.Op(op))) + "-"
		d.Append(key+"hits", fop.Uint(f.Count))
		if f.Timed > 0 {
			d.Append(key+"avglatency", fop.Double(float64(f.Total)/float64(f.Timed)))
			d.Append(key+"minlatency", fop.Double(float64(f.Min)))
			d.Append(key+"maxlatency", fop.Double(float64(f.Max)))
		}
	}
	if t.Upcalls > 0 {
		d.Append(at+"0-upcall-hits", fop.Uint(t.Upcalls))
	}
}

// number is GlusterFS's own number of a fop, which above 40 is not that of the
// wire.
func number(op fop.Op) int {
	switch op {
	case fop.OpRelease, fop.OpReleasedir:
		return int(op) + 1
	case fop.OpFremovexattr, fop.OpFallocate, fop.OpDiscard, fop.OpZerofill, fop.OpIpc, fop.OpSeek,
		fop.OpGetactivelk, fop.OpSetactivelk, fop.OpCopyFileRange:
		return int(op) + 2
	case fop.OpLease:
		return 51
	case fop.OpIcreate, fop.OpNamelink:
		return int(op) + 3
	}
	return int(op)
}
